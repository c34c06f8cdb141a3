"""What `sft gaps` shows: the cells, those that lack most first, why they do, and what it would take to fill them.

Gap(Cell(3, "court, appeal", "hard", "short", "en", "single"), rows=3, target=11.2, missing=8, why=("tail", "bar_exam"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from sft_assets.augmented.candidate import Cell
from sft_assets.warehouse import Version

if TYPE_CHECKING:
    from sft_assets.augmented.generations.asset import MethodCost


class Gap(NamedTuple):
    """A cell. why: what its target is raised by: 'tail' (its topic is small), 'target' (a share of the recipe), or tasks."""

    cell: Cell
    rows: int
    target: float
    missing: int
    why: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """cells: those that lack most first. lack: rows short of the targets, before `gaps.share` is looked at. stale: rows, recipe
    or evaluations are others by now. costs: of each method; no_costs: why there are none."""

    cells: Sequence[Gap]
    rows: int
    missing: int
    lack: float
    stale: bool
    tasks_without_topic: Sequence[str]
    costs: Sequence[MethodCost]
    no_costs: str


def read_gaps(con: duckdb.DuckDBPyConnection, version: Version) -> list[Gap]:
    """The cells of a version of `gaps`, those that lack most first."""
    tail, targets = version.report["tail_rows"], version.report["targets"]
    found = con.execute(f"""
        SELECT topic_id, topic_name, difficulty, length, language, turns, rows, target, missing, tasks,
            sum(rows) OVER (PARTITION BY topic_id) AS of_topic
        FROM {version.table}
        ORDER BY missing DESC, target - rows DESC, topic_id, difficulty, length, language, turns
    """).fetchall()
    gaps = []
    for *cell, rows, target, missing, tasks, of_topic in found:
        why = [*(["tail"] if of_topic < tail else []), *(["target"] if targets else []), *tasks]
        gaps.append(Gap(Cell(*cell), rows, target, missing, tuple(why) if missing else ()))
    return gaps
