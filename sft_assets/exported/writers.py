"""One writer per config of an export: batches of rows in, files out, memory bounded by a row group.

    Sft        data/train-00000-of-00001.parquet        messages, tools, source, license, language, row_id
    Alpaca     alpaca/train.json                        [{"instruction": ..., "input": "", "output": ..., ...}, ...]
    Answers    preference/train-00000-of-00001.parquet  prompt, chosen, rejected, tools, source, ...
               preference/train.jsonl                   the same rows, tool calls as objects
               unpaired/...                             prompt, completion, label, ...

`load_dataset` reads all configs of a folder by the type of the first one's files: hence every config has parquet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.exported.files import BySplit, ParquetShards, Part, RecordFile
from sft_assets.formats import alpaca, messages
from sft_assets.record import MESSAGE, Conversation, Message, messages_array

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


# ---------------------------------------------------------------------------------------------------------- writers


class Sft:
    """The config `default`: conversations as TRL and the hub know them."""

    def __init__(self, root: Path, fields: Sequence[str]):
        self.schema = pa.schema([("messages", turns_type(fields)), *COMMON])
        self.fields = fields
        self.shards = BySplit(lambda split: ParquetShards(root, "data", split, self.schema))

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        columns = [narrow(rows.column("messages"), self.fields), *(rows.column(name) for name in COMMON.names)]
        self.shards[split].write(pa.RecordBatch.from_arrays(columns, schema=self.schema))

    def close(self) -> Config:
        return Config("default", self.schema, self.shards.close())


class Alpaca:
    """Single answers and plain chats for the trainers that read Alpaca; the rest is counted."""

    def __init__(self, root: Path) -> None:
        self.files = BySplit(lambda split: RecordFile(root, f"alpaca/{split}.json", array=True))
        self.left_out: Counter[str] = Counter()

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        for row in conversations(rows):
            if reason := alpaca.cannot_hold(row):
                self.left_out[reason] += 1
            else:
                self.files[split].write(alpaca.write(row))

    def close(self) -> Config:
        parts = self.files.close()
        extra = {path: n for part in parts.values() for path, n in part.files.items()}
        return Config("alpaca", None, extra_files=extra, left_out=self.left_out)


class Answers:
    """Rows about good and bad answers. `parts` gives a row's columns of turns; `label` says whether they have one."""

    def __init__(
        self,
        root: Path,
        name: str,
        fields: Sequence[str],
        parts: Callable[[Conversation], dict[str, list[Message]]],
        label: bool,
    ) -> None:
        self.name, self.fields, self.parts, self.label = name, fields, parts, label
        self.columns = ("prompt", "completion") if label else ("prompt", "chosen", "rejected")
        kinds = [(c, turns_type(fields)) for c in self.columns] + ([("label", pa.bool_())] if label else [])
        self.schema = pa.schema([*kinds, *COMMON])
        self.shards = BySplit(lambda split: ParquetShards(root, name, split, self.schema))
        self.files = BySplit(lambda split: RecordFile(root, f"{name}/{split}.jsonl"))

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        made = [self.parts(conversation) for conversation in conversations(rows)]
        others = self.schema.names[len(self.columns) :]
        for turns, rest in zip(made, rows.select(others).to_pylist(), strict=True):
            self.files[split].write({c: messages.write(turns[c]) for c in self.columns} | rest)
        columns = [narrow(messages_array([turns[c] for turns in made]), self.fields) for c in self.columns]
        columns += [rows.column(name) for name in others]
        self.shards[split].write(pa.RecordBatch.from_arrays(columns, schema=self.schema))

    def close(self) -> Config:
        extra = {path: n for part in self.files.close().values() for path, n in part.files.items()}
        return Config(self.name, self.schema, self.shards.close(), extra)


def prompt_and_completion(row: Conversation) -> dict[str, list[Message]]:
    """An unpaired row in TRL's form: the last turn is what the label judges."""
    return {"prompt": row.messages[:-1], "completion": row.messages[-1:]}


# ------------------------------------------------------------------------------------------------------------ turns


def turns_type(fields: Sequence[str]) -> pa.DataType:
    return pa.list_(pa.struct([MESSAGE.field(name) for name in fields]))


def turns_of(column: pa.ListArray) -> list[list[Message] | None]:
    """Arrow's turns as Messages, by column (no dict a message)."""
    flat = column.flatten()
    found = map(Message._make, zip(*(flat.field(f.name).to_pylist() for f in MESSAGE), strict=True))
    return [None if n is None else list(islice(found, n)) for n in pc.list_value_length(column).to_pylist()]


def narrow(turns: pa.ListArray, fields: Sequence[str]) -> pa.ListArray:
    """Turns with the given fields only. Tool calls come out as JSON that can be parsed."""
    flat = turns.flatten()
    arrays = []
    for name in fields:
        array = flat.field(name)
        if name == "tool_calls" and array.null_count < len(array):
            array = pa.array([None if t is None else messages.calls_json(t) for t in array.to_pylist()], pa.string())
        arrays.append(array)
    offsets = turns.offsets.to_numpy()
    values = pa.StructArray.from_arrays(arrays, fields=[MESSAGE.field(name) for name in fields])
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), values, type=turns_type(fields))
