"""The versions of each asset: what they were made from, and which of them stay."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson


@dataclass(frozen=True)
class Version:
    """One version of an asset. `built_on` maps each parent to the version number that was read."""

    asset: str
    number: int
    data_version: str
    code_version: str
    inputs: dict[str, str]
    built_on: dict[str, int]
    report: dict[str, Any]
    seconds: float

    @property
    def table(self) -> str:
        return f"store.{self.asset}_{self.number}"

    def files_stand(self, root: Path) -> bool:
        """Whether the files that this version wrote are still there (an export that was deleted is made again), and `links`
        lead where they led (a newer export has another report, though every row is the same)."""
        links = self.report.get("links", {}).items()
        stand = all((root / path).exists() for path in self.report.get("files", []))
        return stand and all(os.path.islink(root / path) and os.readlink(root / path) == to for path, to in links)

    @property
    def rows(self) -> str:
        """The view of whole rows of this version."""
        return f"{self.table}_rows"


def read_versions(con: duckdb.DuckDBPyConnection, current: bool = True, reports: bool = True) -> list[Version]:
    """The versions in the database, oldest first; only the current one of each asset unless told otherwise. reports: False
    leaves them out, as they may be large."""
    try:
        rows = con.execute(f"""
            SELECT asset, version, data_version, code_version, inputs, built_on, {"report" if reports else "'{}'"}, seconds
            FROM store.versions ORDER BY asset, version
        """).fetchall()
    except duckdb.CatalogException:
        return []  # a database whose first writer was killed before it wrote anything
    if current:
        rows = list({row[0]: row for row in rows}.values())  # the last of each
    return [Version(a, n, d, c, orjson.loads(i), orjson.loads(b), orjson.loads(r), s) for a, n, d, c, i, b, r, s in rows]


def prune(con: duckdb.DuckDBPyConnection, keep: int) -> None:
    """Drop the versions that are `superfluous`."""
    for version in superfluous(read_versions(con, current=False, reports=False), keep):
        con.execute(f"DROP VIEW IF EXISTS {version.rows}")
        con.execute(f"DROP TABLE IF EXISTS {version.table}")
        for table in ("dropped", "edits", "quarantine", "reviewed", "versions"):
            con.execute(f"DELETE FROM store.{table} WHERE asset = ? AND version = ?", [version.asset, version.number])


def superfluous(known: Iterable[Version], keep: int) -> list[Version]:
    """Those that are neither among the last `keep` of their asset nor built upon by one that stays."""
    versions = {(v.asset, v.number): v for v in known}
    latest: dict[str, list[int]] = {}
    for asset, number in versions:
        latest.setdefault(asset, []).append(number)
    todo = [(asset, n) for asset, numbers in latest.items() for n in sorted(numbers)[-keep:]]
    stay: set[tuple[str, int]] = set()
    while todo:
        key = todo.pop()
        if key in stay or key not in versions:
            continue
        stay.add(key)
        todo += list(versions[key].built_on.items())
    return [versions[key] for key in sorted(versions.keys() - stay)]
