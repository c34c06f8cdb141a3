"""What a report is about: one export, and the version of every asset that it was built on.

    Scope(versions={"raw": raw 3, "combined": combined 2, ..., "exported": exported 7}, examples=3)

    gone    state deduped  row_id 9f3c...  reason near_duplicate  source questions

The database may hold newer versions of some states than those the export was made from: a report of both would not add up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Version
from sft_assets.warehouse.versions import read_versions

LEDGERS = ("dropped", "edits", "quarantine", "reviewed")


@dataclass(frozen=True)
class Scope:
    """The versions, and a connection on which the ledger of just these can be read: `told_dropped`, `told_edits`,
    `told_quarantine`, `told_reviewed`, and `gone`, every row that was dropped and every record that could not be used.

    examples: rows that may be shown for each reason; 0: no text of the data.
    """

    con: duckdb.DuckDBPyConnection
    versions: Mapping[str, Version]
    folder: Folder
    recipe: Recipe
    examples: int

    def table(self, asset: str) -> str:
        """The narrow table of an asset."""
        return self.versions[asset].table

    def report(self, asset: str) -> dict[str, Any]:
        """What the version says of itself; empty where there is none."""
        return self.versions[asset].report if asset in self.versions else {}

    def part(self, asset: str) -> dict[str, Any]:
        """The part of the recipe that the version was made with."""
        return self.report(asset).get("recipe") or self.recipe.part(asset)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def dicts(self, sql: str) -> list[dict[str, Any]]:
        """Rows by the names of their columns."""
        result = self.con.execute(sql)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    @contextmanager
    def given(self, name: str, table: pa.Table) -> Iterator[None]:
        """A table that queries of this block can name."""
        self.con.register(name, table)
        try:
            yield
        finally:
            self.con.unregister(name)

    @property
    def made(self) -> str:
        """Generated rows, with the text that people gave them if they did, and pairs that people made: row_id, content_hash,
        source, kind, license, language and draft, as a FROM clause."""
        generations, augmented = self.table("generations"), self.table("augmented")
        return f"""(
            SELECT row_id, coalesce(a.content_hash, g.content_hash) AS content_hash, source, kind, license, language, draft
            FROM {generations} AS g LEFT JOIN {augmented} AS a USING (row_id)
            UNION ALL
            SELECT row_id, content_hash, 'generated:' || generated_method, generated_by ->> 'kind', generated_by ->> 'license',
                generated_by ->> 'language', NULL
            FROM {augmented} ANTI JOIN {generations} USING (row_id) WHERE generated_method IS NOT NULL
        )"""

    @property
    def names(self) -> str:
        """Row ids and sources of all rows, those of the sources and generated ones, as a FROM clause."""
        made = f" UNION ALL SELECT row_id, source FROM {self.made}" if "generations" in self.versions else ""
        return f"(SELECT row_id, source FROM {self.table('combined')}{made})"


def scope_of(con: duckdb.DuckDBPyConnection, folder: Folder, recipe: Recipe) -> Scope:
    """The scope of the latest export."""
    scope = Scope(con, lineage_of(con, "exported"), folder, recipe, recipe.report.examples)
    versions = pa.table({"asset": list(scope.versions), "version": [v.number for v in scope.versions.values()]})
    with scope.given("batch", versions):
        con.execute("CREATE OR REPLACE TEMP TABLE told_versions AS SELECT * FROM batch")
    for ledger in LEDGERS:
        con.execute(f"""
            CREATE OR REPLACE TEMP VIEW told_{ledger} AS
            SELECT * EXCLUDE (asset, version), asset AS state
            FROM store.{ledger} SEMI JOIN told_versions USING (asset, version)
        """)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE gone AS
        SELECT state, d.row_id, reason, coalesce(s.source, r.source, '') AS source
        FROM told_dropped AS d
        LEFT JOIN {scope.names} AS s ON s.row_id = d.row_id
        LEFT JOIN {scope.table("raw")} AS r ON r.row_id = d.row_id
        UNION ALL
        SELECT state, record_id, reason, source FROM told_quarantine WHERE position IS NOT NULL
    """)
    return scope


def left_out(scope: Scope) -> dict[tuple[str, str], Counter[str]]:
    """What went, by state and reason: how many of each source.

    A row that combined dropped, one of several of its record, is in no table any more: its source is known from what combined
    counted by file, as long as that names every file.
    """
    result: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for state, reason, source, n in scope.rows("SELECT state, reason, source, count(*) FROM gone GROUP BY ALL"):
        result[state, reason][source] += n
    files = scope.report("combined").get("source_files", [])
    for (state, reason), counts in result.items():
        if state != "combined" or not counts[""] or any(not entry["source"] for entry in files):
            continue
        told = Counter[str]()
        for entry in files:
            told[entry["source"]] += entry["dropped"].get(reason, 0)
        missing = told - counts
        if missing.total() == counts[""]:
            counts.update(missing)
            del counts[""]
    return result


def lineage_of(con: duckdb.DuckDBPyConnection, asset: str) -> dict[str, Version]:
    """The current version of an asset and of each other one that which it was built on; the current one of all others.

    A newer version with the same data stands for the one that was read: it may know of more that could not be used.
    """
    current = {v.asset: v for v in read_versions(con)}
    known = {(v.asset, v.number): v for v in read_versions(con, current=False)}
    newest = {(v.asset, v.data_version): v for _, v in sorted(known.items())}
    found: dict[str, Version] = {}
    todo = [current[asset]]
    while todo:  # by breadth: of two versions of one asset the nearer to the export counts
        version = todo.pop(0)
        version = newest[version.asset, version.data_version]
        if version.asset not in found:
            found[version.asset] = version
            todo += [known[key] for key in version.built_on.items() if key in known]
    return {name: found.get(name, version) for name, version in current.items()}
