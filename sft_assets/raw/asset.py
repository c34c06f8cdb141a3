"""raw: every record of every source file, as it was read.

    row_id 5f0c...  source questions  source_file questions.json  source_row 17  format alpaca  hints NULL
    record {"instruction": "Name three primary colours.", "input": "", "output": "Red, yellow and blue."}

Nothing is thrown away: a record is kept or quarantined, a file read or refused, each with its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
from xxhash import xxh3_128_digest

from sft_assets.arrow import utf8_strings, uuids
from sft_assets.asset import state
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.batches import Bad
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.quarantine import stop_if_too_many
from sft_assets.raw.reading import Piece, read_files
from sft_assets.raw.sources import all_sources
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "raw",
    columns={
        "row_id": "UUID",
        "source": "VARCHAR",
        "source_file": "VARCHAR",
        "source_row": "BIGINT",
        "format": "VARCHAR",
        "occurrence": "INTEGER",
        "hints": "VARCHAR",
        "record_hash": "UUID",
    },
    # where a record stands is no part of what it says: a re-ordered file is the same data; row_id covers the other two.
    # row_id is made of the record as JSON, record_hash of its text: the order of a tool's parameters counts too
    unversioned=frozenset({"source_file", "source_row", "source", "occurrence"}),
    laws=(
        Law(
            "records_stored",
            "every row's record is in the record store",
            "SELECT count(*) FROM {table} ANTI JOIN store.records USING (record_hash)",
        ),
    ),
)
CHUNK = 1_000_000  # records stored by one statement
FAULTS = 10_000  # ... or fewer, where so many of them could not be read
TEXTS = pa.schema([("record_hash", pa.uuid()), ("record", pa.string())])


@state(TABLE, deps=("source_files",), code=2)
def raw(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Every record of every source file, as it was read; `quarantine` holds what could not be."""
    if not folder.sources.is_dir():
        raise SftError(
            f"{folder.sources} is not there (a disk that is not mounted?); the old tables stand. Make it, empty if need be"
        )
    limits = Limits(recipe.raw.max_record_bytes, recipe.raw.max_unpacked_ratio, recipe.raw.max_unpacked_bytes)
    found: Counter[str] = Counter()
    sources = all_sources(folder, recipe)
    read: list[dict[str, Any]] = [{"file": name, "describes": sentence} for name, sentence in sources.describing.items()]
    read += [{"source": name, "note": sentence} for name, sentence in sources.notes]
    for end in _store(build, read_files(sources.files, limits)):
        found[end.file.source] += end.records
        outcome = {"refused": end.refused.detail} if end.refused else {"records": end.records}
        read.append({"file": end.name, **outcome})
    build.records_in = found.total()
    build.insert_sql("""
        SELECT md5(concat_ws(chr(0), source, canonical_hash::VARCHAR, occurrence))::UUID AS row_id, * EXCLUDE (canonical_hash)
        FROM (
            SELECT source, source_file, hints, p.* EXCLUDE (part),
                (row_number() OVER (PARTITION BY source, canonical_hash ORDER BY source_file, source_row) - 1)::INTEGER
                AS occurrence
            FROM positions AS p JOIN read_parts USING (part)
        )
    """)
    build.con.execute("DROP TABLE positions; DROP TABLE read_parts")
    stop_if_too_many(build, folder, recipe, found)
    build.notes |= {"read": read, "sample_refused": [entry for entry in read if "refused" in entry][:10]}


@dataclass
class _Chunk:
    """What one statement stores: beside the texts that it streams, where they stood and what could not be read."""

    positions: list[pa.RecordBatch] = field(default_factory=list)
    bad: list[tuple[Piece, Bad]] = field(default_factory=list)
    ends: list[Piece] = field(default_factory=list)
    parts: dict[str, Piece] = field(default_factory=dict)
    records: int = 0
    over: bool = False


def _store(build: Build, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Store records as they are read, and give the ends of files back.

    Texts go to the store in one statement for many batches: DuckDB compresses them on every core while Python reads on.
    """
    build.con.execute("""
        CREATE OR REPLACE TEMP TABLE positions
            (part VARCHAR, record_hash UUID, canonical_hash UUID, source_row BIGINT, format VARCHAR);
        CREATE OR REPLACE TEMP TABLE read_parts (part VARCHAR PRIMARY KEY, source VARCHAR, source_file VARCHAR, hints VARCHAR)
    """)
    chunk, seen = _Chunk(), 0
    while not chunk.over:
        chunk = _Chunk()
        build.store_stream("records", "record_hash", TEXTS, _texts(pieces, chunk, partial(_tell, build, seen)))
        seen += chunk.records
        if chunk.positions:
            build.insert_into("positions", pa.Table.from_batches(chunk.positions))
        for key, piece in chunk.parts.items():
            values = [key, piece.file.source, piece.name, piece.file.hints.text]
            build.con.execute("INSERT OR IGNORE INTO read_parts VALUES (?, ?, ?, ?)", values)
        for piece, bad in chunk.bad:
            build.quarantine(piece.file.source, piece.name, bad.position, None, bad.reason, bad.detail, bad.sha256, bad.excerpt)
        for end in chunk.ends:
            if end.refused:
                _refuse(build, end, end.refused)
        yield from chunk.ends


def _key(piece: Piece) -> str:
    """What a file is joined by: two sources may hold a file of the same name."""
    return f"{piece.file.source}\x1f{piece.name}"


def _tell(build: Build, before: int, n: int) -> None:
    build.progress(before + n, None)


def _texts(pieces: Iterator[Piece], chunk: _Chunk, progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """The texts of the next pieces; what else is known of them goes to `chunk`."""
    for piece in pieces:
        if piece.batch is None:
            chunk.ends.append(piece)
            continue
        batch = piece.batch
        chunk.records += len(batch)
        chunk.parts[_key(piece)] = piece
        chunk.bad += ((piece, bad) for bad in batch.bad)
        progress(chunk.records)
        if batch.values:
            record_hash = uuids(list(map(xxh3_128_digest, batch.texts)))
            columns = {
                "part": pa.repeat(_key(piece), len(batch.values)),
                "record_hash": record_hash,
                "canonical_hash": uuids(batch.hashes),
                "source_row": pa.array(batch.positions, pa.int64()),
                "format": pa.array(piece.formats, pa.string()),
            }
            chunk.positions.append(pa.RecordBatch.from_pydict(columns))
            yield pa.RecordBatch.from_arrays([record_hash, utf8_strings(batch.texts)], schema=TEXTS)
        if chunk.records >= CHUNK or len(chunk.bad) >= FAULTS:
            return
    chunk.over = True


def _refuse(build: Build, end: Piece, refusal: Refused) -> None:
    """What was read of a file that is refused later counts as not read at all."""
    build.con.execute("DELETE FROM positions WHERE part = ?", [_key(end)])
    build.flush()
    build.con.execute(
        "DELETE FROM store.quarantine WHERE asset = 'raw' AND version = ? AND source = ? AND source_file = ?",
        [build.number, end.file.source, end.name],
    )
    sha = hashlib.sha256(end.name.encode(errors="replace")).hexdigest()
    sentence = f"{end.name} {refusal.detail}"
    build.quarantine(end.file.source, end.name, None, None, refusal.reason, sentence, sha, "")
