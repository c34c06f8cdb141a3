"""Batches of records to columns of rows: what becomes of each, wherever it is worked on.

row_id, source, ..., record     ->  contents  content_hash, messages, rejected, tools
a batch, or a group of records      rows      row_id, record_id, content_hash, source, ...
that belong together                and for the ledger: edits, what goes to quarantine, what is a part of another record
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from sft_assets.arrow import messages_array, uuids
from sft_assets.combined.repairs import Edit
from sft_assets.combined.rows import Outcome, Row, Rules, rows_of, rows_of_group, with_answers
from sft_assets.formats import Hints
from sft_assets.masks import mask
from sft_assets.raw.batches import excerpt
from sft_assets.recipe import MaskKind
from sft_assets.record import BadRecord, content_hash, row_id
from sft_assets.reviews import Decision

RECORD = "row_id, source, source_file, source_row, format, hints, record"  # of the table raw


class Record(NamedTuple):
    """A row of raw."""

    id: bytes
    source: str
    file: str
    position: int
    format: str
    hints: str | None
    text: str


class Mapped(NamedTuple):
    """What became of some records.

    sources: how many there were of each. contents, rows: as the content store and the state have them. edits: (row_id, change).
    quarantined: as `Build.quarantine` takes it. dropped: (row_id, reason). applied: the decisions of people that the rows now
    have.
    """

    sources: Counter[str]
    contents: pa.Table
    rows: pa.Table
    edits: list[tuple[bytes, Edit]]
    quarantined: list[tuple[str, str, int, bytes, str, str, str, str]]
    dropped: list[tuple[bytes, str]]
    applied: list[Decision]

    @property
    def created(self) -> int:
        """Rows beyond one for each record."""
        return len(self.rows) + len(self.quarantined) + len(self.dropped) - self.sources.total()


@dataclass(frozen=True)
class Mapper:
    """rules: by source. answers: what people wrote anew or prefer, by row. kinds: what is masked in what they wrote."""

    rules: Mapping[str, Rules]
    answers: Mapping[bytes, Sequence[Decision]]
    kinds: Sequence[MaskKind]

    def load(self) -> Callable[[pa.RecordBatch], Mapped]:
        return self.batch

    def batch(self, batch: pa.RecordBatch) -> Mapped:
        """Of records that each stand for themselves."""
        records = records_of(batch)
        return self._mapped(
            records, [rows_of(orjson.loads(r.text), r.format, Hints.of(r.hints), self.rules[r.source]) for r in records]
        )

    def group(self, records: Sequence[Record]) -> Mapped:
        """Of records of one source that only make sense together."""
        first, values = records[0], [orjson.loads(record.text) for record in records]
        outcomes = rows_of_group(values, first.format, Hints.of(first.hints), self.rules[first.source])
        return self._mapped(records, outcomes)

    def _mapped(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> Mapped:
        made: list[tuple[Record, bytes, Row]] = []
        quarantined, dropped, applied = [], [], list[Decision]()
        for record, outcome in zip(records, outcomes, strict=True):
            outcome = self._with_answers(record, outcome, applied)
            if isinstance(outcome, BadRecord):
                data = record.text.encode()
                told = (outcome.reason, mask(outcome.detail)[0], hashlib.sha256(data).hexdigest(), excerpt(data))
                quarantined.append((record.source, record.file, record.position, record.id, *told))
            elif isinstance(outcome, str):
                dropped.append((record.id, outcome))
            else:
                made += [(record, row_id(record.id, row.conversation.path), row) for row in outcome]
        sources = Counter(record.source for record in records)
        edits = [(own_id, edit) for _, own_id, row in made for edit in row.edits]
        return Mapped(sources, *_columns(made), edits, quarantined, dropped, applied)

    def _with_answers(self, record: Record, outcome: Outcome, applied: list[Decision]) -> Outcome:
        """The rows of a record with the answers that they were given, or why they can be none with them."""
        if not self.answers or not isinstance(outcome, list):
            return outcome
        put: list[Decision] = []
        try:
            for row in outcome:
                if decisions := self.answers.get(row_id(record.id, row.conversation.path)):
                    put += with_answers(row, decisions, self.kinds)
        except BadRecord as bad:
            return bad
        applied += put
        return outcome


def records_of(batch: pa.RecordBatch) -> list[Record]:
    """The rows of a batch whose first columns are RECORD."""
    columns: list[list[Any]] = [
        batch.column(0).storage.to_pylist(),
        *(c.to_pylist() for c in batch.columns[1 : len(Record._fields)]),
    ]
    return list(map(Record._make, zip(*columns, strict=True)))


def _columns(rows: Sequence[tuple[Record, bytes, Row]]) -> tuple[pa.Table, pa.Table]:
    """The contents, and the rows."""
    made = [row.conversation for _, _, row in rows]
    hashes = uuids([content_hash(c.messages, c.rejected, c.tools) for c in made])
    contents = {
        "content_hash": hashes,
        "messages": messages_array([c.messages for c in made]),
        "rejected": messages_array([c.rejected for c in made]),
        "tools": pa.array([c.tools for c in made], pa.string()),
    }
    columns = {
        "row_id": uuids([own_id for _, own_id, _ in rows]),
        "record_id": uuids([record.id for record, _, _ in rows]),
        "content_hash": hashes,
        "source": pa.array([record.source for record, _, _ in rows], pa.string()),
        "origin": pa.array(["source"] * len(rows), pa.string()),
        "kind": pa.array([c.kind for c in made], pa.string()),
        "label": pa.array([c.label for c in made], pa.bool_()),
        "license": pa.array([c.license for c in made], pa.string()),
        "language": pa.array([c.language for c in made], pa.string()),
        "meta": pa.array([row.meta for _, _, row in rows], pa.string()),
    }
    return pa.table(contents), pa.table(columns)
