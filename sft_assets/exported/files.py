"""The files of one split: parquet in shards, or JSON records. Each is synced to the disk when it is closed.

    data/train-00000-of-00002.parquet, data/train-00001-of-00002.parquet
    alpaca/train.json, preference/train.jsonl

A split's file is opened when its first row comes: `load_dataset` refuses a split without rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sft_assets.exported.splits import SPLITS
from sft_assets.files import sync

SHARD_BYTES = 500_000_000  # of text, as `datasets` shards what it uploads
ROW_GROUP_BYTES = 64_000_000
ROW_GROUP_ROWS = 20_000


@dataclass
class Part:
    """One split of one config as written. `num_bytes`: in Arrow. `files`: path in the export -> rows."""

    rows: int
    num_bytes: int
    files: dict[str, int]


class PartWriter(Protocol):
    """Writes one split."""

    def close(self) -> Part: ...


W = TypeVar("W", bound=PartWriter)


class BySplit(Generic[W]):
    """A writer for each split that has rows."""

    def __init__(self, begin: Callable[[str], W]) -> None:
        self._begin = begin
        self._writers: dict[str, W] = {}

    def __getitem__(self, split: str) -> W:
        if split not in self._writers:
            self._writers[split] = self._begin(split)
        return self._writers[split]

    def close(self) -> dict[str, Part]:
        """What was written of each split, train first."""
        return {split: self._writers[split].close() for split in SPLITS if split in self._writers}


class ParquetShards:
    """FOLDER/SPLIT-00000-of-00003.parquet ...: a new shard after 500 MB of text."""

    def __init__(self, root: Path, folder: str, split: str, schema: pa.Schema):
        self.root, self.folder, self.split, self.schema = root, root / folder, split, schema
        self.rows = self.num_bytes = 0
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        self._shards: list[int] = []  # rows of each
        self._shard_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self.folder.mkdir(exist_ok=True)

    def write(self, rows: pa.RecordBatch) -> None:
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        if self._held_rows >= ROW_GROUP_ROWS or self._held_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> Part:
        self._flush()
        self._end_shard()
        files = {}
        for i, rows in enumerate(self._shards):
            path = self.folder / f"{self.split}-{i:05d}-of-{len(self._shards):05d}.parquet"
            self._unfinished(i).rename(path)
            files[path.relative_to(self.root).as_posix()] = rows
        return Part(self.rows, self.num_bytes, files)

    def _unfinished(self, shard: int) -> Path:
        return self.folder / f".{self.split}-{shard:05d}"

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._unfinished(len(self._shards)), self.schema, compression="zstd")
            self._shards.append(0)
        self._writer.write_table(pa.Table.from_batches(self._held), row_group_size=self._held_rows)
        self._shards[-1] += self._held_rows
        self._shard_bytes += self._held_bytes
        self.rows += self._held_rows
        self.num_bytes += self._held_bytes
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        if self._shard_bytes >= SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._shard_bytes = 0
            sync(self._unfinished(len(self._shards) - 1))


class RecordFile:
    """A file of JSON records: one a line, or one a line inside one array."""

    def __init__(self, root: Path, name: str, array: bool = False):
        self.name, self.array = name, array
        self.path = root / name
        self.rows = 0
        self.path.parent.mkdir(exist_ok=True)
        self._file: BinaryIO = self.path.open("wb")

    def write(self, record: dict[str, Any]) -> None:
        if self.array:
            self._file.write(b",\n" if self.rows else b"[\n")
        self._file.write(orjson.dumps(record))
        if not self.array:
            self._file.write(b"\n")
        self.rows += 1

    def close(self) -> Part:
        if self.array:
            self._file.write(b"\n]\n" if self.rows else b"[]\n")
        self._file.close()
        sync(self.path)
        return Part(self.rows, self.path.stat().st_size, {self.name: self.rows})
