"""raw: every record of every source file, as it was read.

    row_id 5f0c...  source questions  source_file questions.json  source_row 17  format alpaca
    record {"instruction": "Name three primary colours.", "input": "", "output": "Red, yellow and blue."}

Nothing is thrown away: a record is kept or quarantined, a file read or refused, each with its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from sft_assets import formats
from sft_assets.asset import state
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.batches import Batch, ahead
from sft_assets.raw.containers import Limits, Refused, chunks
from sft_assets.raw.quarantine import stop_if_too_many
from sft_assets.raw.sources import SourceFile, source_files
from sft_assets.recipe import Recipe
from sft_assets.record import digest, utf8_strings, uuids
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "raw",
    columns={
        "row_id": "UUID",
        "source": "VARCHAR",
        "source_file": "VARCHAR",
        "source_row": "BIGINT",
        "format": "VARCHAR",
        "occurrence": "INTEGER",
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
OTHER_ENCODING = 0.2  # share of records that are no UTF-8, and most of those beyond ASCII: the file is of another encoding
UNFIT = 1000  # so many records that fit no format, and none that does: the file is refused without reading on


@state(TABLE, deps=("source_files",), code=1)
def raw(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Every record of every source file, as it was read; `quarantine` holds what could not be."""
    if not folder.sources.is_dir():
        raise SftError(
            f"{folder.sources} is not there (a disk that is not mounted?); the old tables stand. Make it, empty if need be"
        )
    limits = Limits(recipe.raw.max_record_bytes, recipe.raw.max_unpacked_ratio, recipe.raw.max_unpacked_bytes)
    build.con.execute("""
        CREATE OR REPLACE TEMP TABLE positions
            (record_hash UUID, canonical_hash UUID, source VARCHAR, source_file VARCHAR, source_row BIGINT, format VARCHAR)
    """)
    found: Counter[str] = Counter()
    files = []
    for file in source_files(folder, recipe):
        try:
            if file.refused:
                raise file.refused
            n = 0
            for batch, names in ahead(fitting(file, limits)):
                _keep(build, file, batch, names)
                n += len(batch)
                build.progress(build.records_in + n, None)
            build.records_in += n
            found[file.source] += n
            files.append({"file": file.name, "records": n})
        except Refused as refusal:
            _forget(build, file)
            sha = hashlib.sha256(file.name.encode(errors="replace")).hexdigest()
            sentence = f"{file.name} {refusal.detail}"
            build.quarantine(file.source, file.name, None, None, refusal.reason, sentence, sha, "")
            files.append({"file": file.name, "refused": refusal.detail})
    build.insert_sql("""
        SELECT md5(concat_ws(chr(0), source, canonical_hash::VARCHAR, occurrence))::UUID AS row_id, * EXCLUDE (canonical_hash)
        FROM (
            SELECT *, (row_number() OVER (PARTITION BY source, canonical_hash ORDER BY source_file, source_row) - 1)::INTEGER
                AS occurrence
            FROM positions
        )
    """)
    build.con.execute("DROP TABLE positions")
    stop_if_too_many(build, folder, recipe, found)
    build.notes |= {"read": files, "sample_refused": [f for f in files if "refused" in f][:10]}


def fitting(file: SourceFile, limits: Limits) -> Iterator[tuple[Batch, list[str]]]:
    """A file's records with the format of each. Records that fit none are moved to `bad`.

    Raises:
        Refused: nothing in the file is a record of a known format, or its encoding is another.
    """
    from sft_assets.raw.json_records import records  # compiled code: loaded by whoever reads, not by whoever plans

    known: dict[tuple[str, ...], str] = {}
    held: list[Batch] = []  # batches before the first record that fits: the file may still be refused
    any_fits, seen = False, 0
    not_utf8, beyond_ascii, encoding_fault = 0, 0, ""
    for batch in records(chunks(file.path, file.encoding, limits), limits, lambda value: formats.detect(value) is not None):
        names: list[str] = []
        unfit = []
        for i, value in enumerate(batch.values):
            name = file.format or known.get(shape := tuple(value)) or formats.detect(value)
            if name is None:
                fields = ", ".join(value)[:200]
                unfit.append((i, "no_format", f"fits no format (fields: {fields}); name columns in the recipe"))
                continue
            if not file.format and formats.TELLING.isdisjoint(shape):
                known[shape] = name
            names.append(name)
        beyond_ascii += sum(not text.isascii() for text in batch.texts)
        for bad in batch.bad:
            if bad.reason == "invalid_utf8":
                not_utf8 += 1
                encoding_fault = encoding_fault or f"position {bad.position}: {bad.detail}"
        batch.set_aside(unfit)
        seen += len(batch)
        if names or any_fits:
            any_fits = True
            yield from ((b, []) for b in held)
            held.clear()
            yield batch, names
            continue
        held.append(batch)
        if seen >= UNFIT:
            break
    if not_utf8 > max(OTHER_ENCODING * seen, beyond_ascii):
        raise Refused("encoding", f"is not UTF-8; {encoding_fault}")
    if not any_fits:
        unread = sorted((b for batch in held for b in batch.bad), key=lambda b: b.position)
        if not unread:
            raise Refused("empty", "holds no record")
        first = next((b for b in unread if b.reason == "no_format"), unread[0])
        if first.reason == "no_format":
            tried = ", ".join(formats.FORMATS)
            raise Refused("no_format", f"fits no format (tried {tried}); its first record: {' '.join(first.excerpt.split())}")
        raise Refused("not_json", f"holds no JSON record; position {first.position}: {first.detail}")


def _keep(build: Build, file: SourceFile, batch: Batch, names: list[str]) -> None:
    """Store a batch: texts by their hash, positions for the numbering at the end, the rest to quarantine."""
    for b in batch.bad:
        build.quarantine(file.source, file.name, b.position, None, b.reason, b.detail, b.sha256, b.excerpt)
    if not batch.values:
        return
    record_hash = uuids([digest(text) for text in batch.texts])
    build.store("records", "record_hash", pa.table({"record_hash": record_hash, "record": utf8_strings(batch.texts)}))
    positions = pa.table(
        {
            "record_hash": record_hash,
            "canonical_hash": uuids(batch.hashes),
            "source_row": pa.array(batch.positions, pa.int64()),
            "format": pa.array(names).dictionary_encode(),
        }
    )
    build.con.register("batch", positions)
    build.con.execute(
        "INSERT INTO positions SELECT record_hash, canonical_hash, ?, ?, source_row, format FROM batch",
        [file.source, file.name],
    )
    build.con.unregister("batch")


def _forget(build: Build, file: SourceFile) -> None:
    """A file that is refused after some of it was read counts as not read at all."""
    build.con.execute("DELETE FROM positions WHERE source_file = ?", [file.name])
    build.flush()
    build.con.execute(
        "DELETE FROM store.quarantine WHERE asset = 'raw' AND version = ? AND source_file = ?", [build.number, file.name]
    )
