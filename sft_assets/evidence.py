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

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pyarrow as pa

from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.build import Build, Table

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
    """What an asset reads of its parents, and the rows that it makes of it.

    types: SQL types of columns that only the model knows (how many dimensions a vector has); the others are as declared.
    """

    house: Warehouse
    parents: Mapping[str, Version]
    progress: Callable[[int, int | None], None] = lambda done, total: None
    say: Callable[[str], None] = lambda text: None
    notes: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    types: dict[str, str] = field(default_factory=dict)
    _tables: list[Iterable[pa.Table]] = field(default_factory=list)
    _contents: list[pa.Table] = field(default_factory=list)

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
        self._tables.append([rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])])

    def keep(self, contents: pa.Table) -> None:
        """Put texts that were made into the content store: content_hash, messages, rejected, tools."""
        self._contents.append(contents)

    def insert_as_stored(self, tables: Iterable[pa.Table]) -> None:
        """Add rows that are made while they are stored, as together they would fill the memory. Nobody can read the database
        meanwhile: they come out of a cache, never out of a model."""
        self._tables.append(tables)

    def table(self, declared: Table) -> Table:
        """The asset's table with the types that are known by now."""
        return replace(declared, columns={**declared.columns, **self.types})

    def store(self, build: Build) -> None:
        """Write what was gathered."""
        for contents in self._contents:
            build.store("contents", "content_hash", contents)
        for tables in self._tables:
            for table in tables:
                build.insert(table)
        build.notes |= self.notes
