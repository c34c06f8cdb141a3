"""What all writers share: the config that each makes, and rows as conversations and back as columns.

Config("default", schema, {"train": Part(95, 81920, {"data/train-00000-of-00001.parquet": 95})})
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import MESSAGE
from sft_assets.exported.files import Part
from sft_assets.formats import messages
from sft_assets.record import Conversation, Message

COMMON = pa.schema([(name, pa.string()) for name in ("tools", "source", "license", "language", "row_id")])


@dataclass
class Config:
    """What a writer wrote. `schema` None: files that `load_dataset` is not told about. `left_out`: rows by reason."""

    name: str
    schema: pa.Schema | None
    parts: dict[str, Part] = field(default_factory=dict)
    extra_files: dict[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> dict[str, int]:
        """Every file with its rows."""
        return {path: n for part in self.parts.values() for path, n in part.files.items()} | self.extra_files


class Writer(Protocol):
    """`write` takes rows of one split, in order; `close` finishes the files and says what they are."""

    def write(self, split: str, rows: pa.RecordBatch) -> None: ...

    def close(self) -> Config: ...


def conversations(rows: pa.RecordBatch) -> list[Conversation]:
    """The rows as conversations."""
    names = ("kind", "tools", "label", "input_at")
    turns, rejected = turns_of(rows.column("messages")), turns_of(rows.column("rejected"))
    return [
        Conversation(messages or [], kind, losing, tools, label, meta={} if input_at is None else {"input_at": input_at})
        for messages, losing, kind, tools, label, input_at in zip(
            turns, rejected, *(rows.column(name).to_pylist() for name in names), strict=True
        )
    ]


def turns_type(fields: Sequence[str]) -> pa.DataType:
    return pa.list_(pa.struct([MESSAGE.field(name) for name in fields]))


def turns_of(column: pa.ListArray) -> list[list[Message] | None]:
    """Arrow's turns as Messages, by column (no dict a message)."""
    flat = column.flatten()
    found = map(Message._make, zip(*(flat.field(f.name).to_pylist() for f in MESSAGE), strict=True))
    return [None if n is None else list(islice(found, n)) for n in pc.list_value_length(column).to_pylist()]


def narrow(turns: pa.ListArray, fields: Sequence[str]) -> pa.ListArray:
    """Turns with the given fields only. Tool calls come out as JSON that chat templates can take."""
    flat = turns.flatten()
    arrays = []
    for name in fields:
        array = flat.field(name)
        if name == "tool_calls" and array.null_count < len(array):
            array = pa.array([None if t is None else messages.calls_for_templates(t) for t in array.to_pylist()], pa.string())
        arrays.append(array)
    offsets = turns.offsets.to_numpy()
    values = pa.StructArray.from_arrays(arrays, fields=[MESSAGE.field(name) for name in fields])
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), values, type=turns_type(fields))
