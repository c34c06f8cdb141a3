"""What an export can say about itself: numbers and names, counted once for the card, the manifest and Dagster.

counts {"sft": {"train": 95, "test": 5}}     sources [Source("questions", "cc-by-4.0", "en", 100)]
funnel {"raw": {"in": 120, "kept": 118, "quarantined": {"not_json": 2}}, ..., "exported": {...}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from sft_assets.exported.writers import Config
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Build, Version
from sft_assets.warehouse.versions import read_versions

# the formats of the recipe that hold the rows of a kind
FORMATS = {"sft": {"messages", "alpaca"}, "preference": {"preference"}, "unpaired": {"preference"}}


@dataclass(frozen=True)
class Source:
    """Rows of one source under one licence."""

    name: str
    license: str | None
    language: str | None
    rows: int


@dataclass(frozen=True)
class Facts:
    """What the card says.

    counts: kind -> split -> rows. funnel: each state's report, first to last. files: path -> (rows, bytes).
    not_written: kind -> rows whose format the recipe does not name.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]]
    funnel: Mapping[str, Mapping[str, Any]]
    sources: Sequence[Source]
    configs: Sequence[Config]
    files: Mapping[str, tuple[int, int]]
    not_written: Mapping[str, int]

    @property
    def rows(self) -> int:
        return sum(n for splits in self.counts.values() for n in splits.values())

    @property
    def by_split(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for of_kind in self.counts.values():
            total.update(of_kind)
        return dict(total)


def lineage(con: duckdb.DuckDBPyConnection, version: Version) -> list[Version]:
    """The version and all that it was built on, each after what it was made from."""
    known = {(v.asset, v.number): v for v in read_versions(con, current=False)}
    found: dict[tuple[str, int], Version] = {}

    def visit(v: Version) -> None:
        for key in v.built_on.items():
            if key in known and key not in found:
                visit(known[key])
        found[v.asset, v.number] = v

    visit(version)
    return list(found.values())


def facts_of(build: Build, recipe: Recipe, configs: list[Config], files: dict[str, tuple[int, int]]) -> Facts:
    """Everything that the card and the manifest say, counted in the version that is being written.

    files: path -> (rows, bytes) of the data files.
    """
    rows = f"(SELECT row_id, split FROM {build.table}) JOIN {build.parents['augmented'].rows} USING (row_id)"
    found = build.con.execute(f"SELECT kind, split, count(*) FROM {rows} GROUP BY ALL ORDER BY ALL DESC").fetchall()
    counts = {kind: by_split for kind in FORMATS if (by_split := {side: n for k, side, n in found if k == kind})}
    sources = build.con.execute(f"SELECT source, license, language, count(*) FROM {rows} GROUP BY ALL ORDER BY ALL").fetchall()
    dropped = build.con.execute(f"SELECT reason, count(*) FROM {build.ledger('dropped')} GROUP BY ALL ORDER BY ALL").fetchall()
    funnel = {v.asset: v.report for v in lineage(build.con, build.parents["augmented"]) if "in" in v.report}
    kept = sum(n for by_split in counts.values() for n in by_split.values())
    funnel["exported"] = {"in": kept + sum(n for _, n in dropped), "kept": kept, "dropped": dict(dropped)}
    formats = set(recipe.exported.formats)
    return Facts(
        name=recipe.exported.name,
        counts=counts,
        funnel=funnel,
        sources=[Source(*row) for row in sources],
        configs=configs,
        files=files,
        not_written={kind: sum(n.values()) for kind, n in counts.items() if not FORMATS[kind] & formats},
    )
