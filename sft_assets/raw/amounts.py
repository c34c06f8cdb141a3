"""How much is in files, from the beginning of each: what a run will take on disk is told by it before anything is read.

    chats.jsonl.gz   31 MB, unpacked 120 MB; some 84,000 records; the database would pack their texts into 38 MB

Nothing is parsed with the readers' rigour, so that `sft plan` stays fast: a file's first SAMPLE bytes stand for all of it.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sft_assets.raw.containers import Damaged, Limits, Meter, blocks, unpacked

SAMPLE = 1 << 18  # bytes that are looked at of each file
UNPACKED = (
    1 << 20
)  # bytes that are unpacked: an unpacker takes more than it gives, by so much that it would tell in a shorter piece
MOST = 48  # files that are looked at, the largest first; the others are taken to be like these
PLAIN_RECORD = 1000  # bytes of a record where a text does not show its records
LIMITS = Limits(max_unpacked_bytes=1 << 62)
TABLES = (".csv", ".tsv", ".tab")


@dataclass(frozen=True)
class Amount:
    """text: bytes, unpacked. packed: of them, as zstd packs them."""

    records: float = 0.0
    text: float = 0.0
    packed: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.records + other.records, self.text + other.text, self.packed + other.packed)

    def times(self, factor: float) -> Amount:
        return Amount(self.records * factor, self.text * factor, self.packed * factor)


def amount(paths: Iterable[Path]) -> Amount:
    """What is in all these files. Files that are not there, or cannot be read, hold nothing."""
    sizes: list[tuple[int, Path]] = []
    for path in paths:
        with suppress(OSError):
            sizes.append((path.stat().st_size, path))
    sizes.sort(key=lambda entry: -entry[0])
    found, seen = Amount(), 0
    for size, path in sizes[:MOST]:
        found += amount_of(path, size)
        seen += size
    rest = sum(size for size, _ in sizes[MOST:])
    return found + found.times(rest / seen) if rest and seen else found


def amount_of(path: Path, size: int) -> Amount:
    """What is in a file of so many bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(0)
            if head.startswith(b"PK"):
                return _of_zip(path)
            if head.startswith(b"PAR1"):
                return _of_parquet(path)
            meter = Meter(LIMITS)
            sample, is_whole = _beginning(unpacked(meter.taking(blocks(file)), meter))
            unpacks_to = len(sample) * (1.0 if is_whole else size / max(meter.taken, 1))
            return _scaled(sample, max(unpacks_to, len(sample)), path.name)
    except Exception:  # of a dozen decoders: it will be refused, and said why, where it is read
        return Amount()


def _beginning(stream: Iterator[bytes]) -> tuple[bytes, bool]:
    """All that was unpacked to have UNPACKED bytes, and whether that is the whole."""
    held, size = [], 0
    try:
        for block in stream:
            held.append(block)
            size += len(block)
            if size >= UNPACKED:
                return b"".join(held), False
    except Damaged:
        pass
    return b"".join(held), True


def _scaled(sample: bytes, text: float, name: str) -> Amount:
    """What a file holds that begins so and has so many bytes."""
    if not sample:
        return Amount()
    looked_at = sample[:SAMPLE]
    seen = looked_at.replace(b"\0", b"")  # of UTF-16 what it is in UTF-8
    share = len(seen) / len(looked_at)
    packed = len(pa.compress(seen, codec="zstd", asbytes=True)) if seen else 0
    return Amount(_records(seen, name), len(seen), packed).times(text * share / max(len(seen), 1))


def _records(seen: bytes, name: str) -> float:
    """So many records are in a text; the last may be cut."""
    text = seen.decode("utf-8", "replace")
    ends = re.split(r"[. ]", name.lower())
    if any(ending[1:] in ends for ending in TABLES):
        return max(text.count("\n"), 1)
    decode, at, found, done = json.JSONDecoder().raw_decode, text.find("{"), 0, 0
    while at >= 0:
        try:
            _, end = decode(text, at)
        except (ValueError, RecursionError):
            if found:
                break
            end = at + 1  # the bracket around all records
            if end > 4096:
                break
        else:
            found, done = found + 1, end
        at = text.find("{", end)
    if not found:
        return max(len(seen) / PLAIN_RECORD, 1)
    return found * len(seen) / max(done, 1)


def _of_zip(path: Path) -> Amount:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        found, seen = Amount(), 0
        for member in sorted(members, key=lambda one: -one.file_size)[:4]:
            with archive.open(member) as file:
                sample = file.read(SAMPLE)
            found += _scaled(sample, member.file_size, member.filename)
            seen += member.file_size
        return found.times(sum(member.file_size for member in members) / seen) if seen else found


def _of_parquet(path: Path) -> Amount:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        batch = next(file.iter_batches(batch_size=500), None)
        if not rows or batch is None or not len(batch):
            return Amount()
        sample = json.dumps(batch.to_pylist(), default=str, ensure_ascii=False).encode("utf-8", "replace")
        packed = len(pa.compress(sample, codec="zstd", asbytes=True))
        return Amount(len(batch), len(sample), packed).times(rows / len(batch))


def changed_after(path: Path, moment: float) -> bool:
    """Whether a file was written, renamed or put in place of another since then; one that cannot be looked at was."""
    try:
        return max(os.stat(path).st_ctime, os.stat(path).st_mtime) > moment
    except OSError:
        return True
