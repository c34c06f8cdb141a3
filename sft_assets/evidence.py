"""Evidence that models give: gathered while no connection to the database is open, then stored in one transaction.

    @model_evidence(TABLE, deps=("decontaminated", "rule_hits"), code=1, estimate=estimated)
    def judgements(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
        with evidence.reading() as con:
            chosen = select(con, ...)
        for batch in evidence.contents(chosen.contents):
            evidence.insert(scores_of(batch))

A model may take hours; `sft status` and the UI read meanwhile. What was computed or paid for is in the caches as it comes, so a
gathering that is killed has lost nothing: the next one takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from sft_assets.warehouse import Build, Version, Warehouse

CHUNK = 4096  # contents that are read at a time


@dataclass(frozen=True)
class Estimate:
    """What gathering would take: `contents` would carry a score, `new` of them for the first time. None: nobody knows yet.

    bound: something upstream is still to run, so these are upper bounds, else estimates. local: no calls are made.
    """

    model: str
    contents: int | None
    new: int | None
    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    bound: bool = False
    local: bool = False


def least(*numbers: int | None) -> int | None:
    """The least of what is known."""
    return min((n for n in numbers if n is not None), default=None)


@dataclass
class Evidence:
    """What an asset reads of its parents, and the rows that it makes of it."""

    house: Warehouse
    parents: Mapping[str, Version]
    progress: Callable[[int, int | None], None] = lambda done, total: None
    say: Callable[[str], None] = lambda text: None
    notes: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    _tables: list[pa.Table] = field(default_factory=list)

    def of(self, parent: str) -> str:
        """The narrow table of a parent."""
        return self.parents[parent].table

    def rows(self, parent: str) -> str:
        """The view of a parent's whole rows."""
        return self.parents[parent].rows

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection: for SQL, never around a model call."""
        with self.house.reading() as con:
            yield con

    def contents(self, chosen: pa.Table, size: int = CHUNK) -> Iterator[pa.Table]:
        """The texts of contents: content_hash, messages, rejected, tools, `size` at a time, in the order of `chosen`.

        chosen: content_hash (UUID), each once.
        """
        for first in range(0, len(chosen), size):
            chunk = chosen.slice(first, size).select(["content_hash"])
            chunk = chunk.append_column("place", pa.array(range(len(chunk)), pa.int64()))
            with self.reading() as con:
                con.register("chunk", chunk)
                texts = con.sql("""
                    SELECT content_hash, messages, rejected, tools
                    FROM store.contents JOIN chunk USING (content_hash) ORDER BY place
                """).to_arrow_table()
            yield texts

    def insert(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows of the asset's table; columns by name."""
        self._tables.append(rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows]))

    def store(self, build: Build) -> None:
        """Write what was gathered."""
        for table in self._tables:
            build.insert(table)
        build.notes |= self.notes
