"""What an export can say about itself: numbers and names, counted once for the card, the manifest and Dagster.

counts {"sft": {"train": 95, "test": 5}}     sources [Source("questions", "cc-by-4.0", "en", 100)]
funnel {"raw": {"in": 120, "kept": 118, "quarantined": {"not_json": 2}}, ..., "exported": {...}}
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sft_assets.augmented.candidate import PEOPLE
from sft_assets.exported.licenses import Licensing, licensing
from sft_assets.exported.splits import SPLITS
from sft_assets.exported.tokens import Counter
from sft_assets.exported.writers import FORMATS, Config
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Version
from sft_assets.warehouse.build import Build
from sft_assets.warehouse.versions import read_versions

GENERATED = "generated:"  # how the sources of rows begin that models made
OF_PEOPLE = GENERATED + PEOPLE  # but for this: pairs of rows that people compared


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
    not_written: kind -> rows whose format the recipe does not name. repeated: source -> rows, times, written, in train.
    came_from: hub datasets, and "original" for what is in none. edited: rows with an answer that people wrote. tokens: of each
    split, by the tokenizer of the recipe.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]]
    funnel: Mapping[str, Mapping[str, Any]]
    sources: Sequence[Source]
    configs: Sequence[Config]
    files: Mapping[str, tuple[int, int]]
    not_written: Mapping[str, int]
    licensing: Licensing = field(default_factory=lambda: licensing(()))
    repeated: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    came_from: Sequence[str] = ()
    edited: int = 0
    tokens: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(n for splits in self.counts.values() for n in splits.values())

    @property
    def by_split(self) -> dict[str, int]:
        total: collections.Counter[str] = collections.Counter()
        for of_kind in self.counts.values():
            total.update(of_kind)
        return {split: total[split] for split in SPLITS if split in total}


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


def sources_of(build: Build) -> list[Source]:
    """The sources of the exported rows, by name, licence and language."""
    found = build.con.execute(f"SELECT source, license, language, count(*) FROM {_rows(build)} GROUP BY ALL ORDER BY ALL")
    return [Source(*row) for row in found.fetchall()]


def facts_of(
    build: Build,
    recipe: Recipe,
    configs: list[Config],
    files: dict[str, tuple[int, int]],
    sources: Sequence[Source],
    repeated: Mapping[str, Mapping[str, Any]],
    counter: Counter | None,
) -> Facts:
    """Everything that the card and the manifest say, counted in the version that is being written.

    files: path -> (rows, bytes) of the data files.
    """
    states = lineage(build.con, build.parents["augmented"])
    found = build.con.execute(f"SELECT kind, split, count(*) FROM {_rows(build)} GROUP BY ALL").fetchall()
    numbers = {(kind, split): n for kind, split, n in found}
    of_kind = {kind: {side: numbers[kind, side] for side in SPLITS if (kind, side) in numbers} for kind in FORMATS}
    counts = {kind: by_split for kind, by_split in of_kind.items() if by_split}
    dropped = build.con.execute(f"SELECT reason, count(*) FROM {build.ledger('dropped')} GROUP BY ALL ORDER BY ALL").fetchall()
    funnel = {v.asset: v.report for v in states if "in" in v.report}
    kept = sum(n for by_split in counts.values() for n in by_split.values())
    funnel["exported"] = {"in": kept + sum(n for _, n in dropped), "kept": kept, "dropped": dict(dropped)}
    formats = set(recipe.exported.formats)
    return Facts(
        name=recipe.exported.name,
        counts=counts,
        funnel=funnel,
        sources=sources,
        configs=configs,
        files=files,
        not_written={kind: sum(n.values()) for kind, n in counts.items() if not FORMATS[kind] & formats},
        licensing=licensing((s.name, s.license, s.rows) for s in sources),
        repeated=repeated,
        came_from=_came_from(recipe, sources),
        edited=_edited(build, states),
        tokens=_tokens(build, counter) if counter else {},
    )


def _rows(build: Build) -> str:
    """The exported rows, as a FROM clause."""
    return f"(SELECT row_id, split FROM {build.table}) JOIN {build.parents['augmented'].rows} USING (row_id)"


def _came_from(recipe: Recipe, sources: Sequence[Source]) -> list[str]:
    """The hub's ids of sources that are hub datasets, and "original" for the others."""
    ids = {recipe.source(s.name).hub or "original" for s in sources}
    return sorted(ids, key=lambda id: (id == "original", id))


def _edited(build: Build, states: Sequence[Version]) -> int:
    """How many of the exported rows have an answer that people wrote."""
    numbers = {v.asset: v.number for v in states}
    return int(
        build.con.execute(
            f"""
            SELECT count(DISTINCT row_id) FROM store.reviewed SEMI JOIN {build.table} USING (row_id)
            WHERE (asset, version) IN (('combined', ?), ('augmented', ?)) AND decision = 'edit'
            """,
            [numbers.get("combined"), numbers.get("augmented")],
        ).fetchall()[0][0]
    )


def _tokens(build: Build, counter: Counter) -> dict[str, Any]:
    """Of each split: all tokens, and those of a row in the middle, of one of the longest twentieth, and of the longest."""
    found = build.con.execute(f"""
        SELECT split, sum(tokens)::BIGINT, quantile_disc(tokens, 0.5), quantile_disc(tokens, 0.95), max(tokens)
        FROM {build.table} GROUP BY split
    """).fetchall()
    of = {split: dict(zip(("all", "median", "p95", "longest"), numbers, strict=True)) for split, *numbers in found}
    return {**counter.about(), "splits": {split: of[split] for split in SPLITS if split in of}}
