"""Parquet and Arrow files to records: columns of any type as JSON has them.

    question: string | Who swims?      asked: timestamp | 2024-05-01 12:00      scores: map | [("a", 0.5), ("b", nan)]

    ->  row 1  {"question":"Who swims?","asked":"2024-05-01T12:00:00","scores":{"a":0.5,"b":null}}

Decimals are texts, times are ISO texts, durations are seconds, bytes are texts where they are UTF-8 and else {"base64": ...}.
What is damaged in a row group costs that row group.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sft_assets.raw.batches import Bad, Batch
from sft_assets.raw.containers import Limits, Meter, Refused
from sft_assets.raw.made_records import add, as_json, why_not

AT_ONCE = 256  # rows turned into Python values
STEP = 4 << 20  # bytes of such rows
MOST = 4096  # records in a batch
FOOTER = 64 << 20
PARQUET, PARQUET_ENCRYPTED, ARROW_FILE = b"PAR1", b"PARE", b"ARROW1"


def records(path: Path, head: bytes, limits: Limits) -> Iterator[Batch]:
    """Batches of a file's rows; positions count rows from 1. `head`: its first bytes, which tell its kind.

    Raises:
        Refused: it is cut off, damaged or encrypted, or unpacks to too much.
    """
    try:
        if head.startswith(PARQUET_ENCRYPTED):
            raise Refused("encrypted", "is encrypted parquet; decrypt it first")
        batch = Batch()
        for found in _parquet(path, limits) if head.startswith(PARQUET) else _arrow(path, limits):
            if isinstance(found, Bad):
                batch.bad.append(found)
            else:
                _take(batch, *found, limits.max_record_bytes)
            if len(batch) >= MOST:
                yield batch
                batch = Batch()
        yield batch
    except Refused:
        raise
    except Exception as error:  # the library lets many kinds out for damaged files
        raise _refusal(error) from None


def _refusal(error: Exception) -> Refused:
    said = " ".join(str(error).split())[:200]
    if "crypt" in said:
        return Refused("encrypted", f"is encrypted parquet ({said}); decrypt it first")
    return Refused("damaged", f"cannot be read: it is cut off or damaged ({said}); fetch it again")


def _parquet(path: Path, limits: Limits) -> Iterator[tuple[int, pa.RecordBatch] | Bad]:
    """Rows with the position of the first, and row groups that cannot be read."""
    with pq.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=1 << 20,
        thrift_string_size_limit=FOOTER,
        thrift_container_size_limit=1 << 20,
        page_checksum_verification=True,
    ) as file:
        _check_names(file.schema_arrow)
        # what a footer says of its column chunks is not asked: the library ends the process where that is damaged
        meter, given = Meter(limits, path.stat().st_size), 0
        first, failed = 1, None
        any_read = False
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            given += group.total_byte_size
            meter.check(given)
            if not 0 <= first + group.num_rows <= meter.taken * limits.max_unpacked_ratio * 8:  # eight booleans are a byte
                detail = f"says that {group.num_rows:,} rows stand in {meter.taken:,} bytes; raise raw.max_unpacked_ratio"
                raise Refused("bomb", detail)
            step = max(1, min(AT_ONCE, STEP * group.num_rows // max(group.total_byte_size, 1)))
            position = first
            try:
                for rows in file.iter_batches(step, [number], use_threads=False):
                    yield position, rows
                    position += rows.num_rows
                    any_read = True
            except Exception as error:
                failed = _refusal(error)
                detail = f"rows {position:,} to {first + group.num_rows - 1:,} of the file: {failed.detail}"
                yield Bad.of(position, b"", "truncated", detail)
            first += group.num_rows
        if failed and not any_read:
            raise failed


def _arrow(path: Path, limits: Limits) -> Iterator[tuple[int, pa.RecordBatch] | Bad]:
    """Rows with the position of the first. Both kinds of Arrow files: one is the other between a magic word and a footer."""
    with pa.memory_map(str(path)) as file:
        if file.read(len(ARROW_FILE)) == ARROW_FILE:
            file.seek(8)
        else:
            file.seek(0)
        _check_sizes(file, limits)
        position = 1
        with pa.ipc.open_stream(file) as stream:
            _check_names(stream.schema)
            try:
                for rows in stream:
                    for start in range(0, rows.num_rows, AT_ONCE):
                        yield position, rows.slice(start, AT_ONCE)
                        position += min(AT_ONCE, rows.num_rows - start)
            except Exception as error:
                refusal = _refusal(error)
                if position == 1:
                    raise refusal from None
                yield Bad.of(position, b"", "truncated", f"from row {position:,} on: {refusal.detail}")


def _check_sizes(file: pa.MemoryMappedFile, limits: Limits) -> None:
    """Refuse a file whose compressed buffers say that they are too large, before the library makes room for them."""
    start, meter, given = file.tell(), Meter(limits), 0
    try:
        for message in pa.ipc.MessageReader.open_stream(file):
            meter.taken += message.metadata.size + (message.body.size if message.body else 0)
            given += _unpacked_size(message)
            meter.check(given)
    except (pa.ArrowException, struct.error, OSError):
        pass  # it is damaged from here on, which the reader says
    file.seek(start)


def _unpacked_size(message: pa.ipc.Message) -> int:
    """What the buffers of a message unpack to, after https://arrow.apache.org/docs/format/Columnar.html: each begins with its
    length. The message itself is a flatbuffer."""
    data, body = memoryview(message.metadata), memoryview(message.body or b"")

    def at(form: str, place: int) -> int:
        return int(struct.unpack_from(form, data, place)[0])

    def field(table: int, number: int) -> int | None:
        """Where a field of a table lies."""
        vtable = table - at("<i", table)
        offset = at("<H", vtable + 4 + 2 * number) if at("<H", vtable) > 4 + 2 * number else 0
        return table + offset if offset else None

    def follow(place: int) -> int:
        return place + at("<I", place)

    batch = field(follow(0), 2)
    if message.type == "dictionary batch" and batch is not None:
        batch = field(follow(batch), 1)
    if message.type not in ("dictionary batch", "record batch") or batch is None:
        return 0
    table = follow(batch)
    buffers, compression = field(table, 2), field(table, 3)
    if buffers is None or compression is None:
        return 0
    first = follow(buffers)
    places = [struct.unpack_from("<qq", data, first + 4 + 16 * i) for i in range(at("<I", first))]
    return sum(max(0, struct.unpack_from("<q", body, offset)[0]) for offset, length in places if length >= 8)


def _check_names(schema: pa.Schema) -> None:
    if twice := next((name for name in schema.names if schema.names.count(name) > 1), None):
        raise Refused("header", f"names a column twice ({twice!r}); rename one")


def _take(batch: Batch, first: int, rows: pa.RecordBatch, limit: int) -> None:
    try:
        rows.validate(full=True)  # offsets of a damaged file may point anywhere
        values = rows.to_pylist(maps_as_pydicts="strict")
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError):
        values = [_one(rows.slice(i, 1)) for i in range(rows.num_rows)]
    for position, value in enumerate(values, first):
        try:
            if isinstance(value, Exception):
                raise value
            why = add(batch, position, as_json(value, _plain), limit)
        except (ValueError, TypeError, KeyError, OverflowError, pa.ArrowException) as error:
            why = _why_not(error)
        if why:
            batch.bad.append(Bad.of(position, repr(value).encode("utf-8", "backslashreplace"), *why))


def _one(row: pa.RecordBatch) -> Any:
    try:
        row.validate(full=True)
        return row.to_pylist(maps_as_pydicts="strict")[0]
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as error:
        return error


def _why_not(error: Exception) -> tuple[str, str]:
    said = str(error)
    if "UTF8" in said or isinstance(error, UnicodeDecodeError):
        return "invalid_utf8", "a text in it is not UTF-8; write the column as binary, or mend it"
    if "uplicate" in said:
        return "duplicate_key", f"a key stands twice in a map ({said})"
    return why_not(error)


def _plain(value: Any) -> Any:
    """How JSON has what it does not know."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime):  # of pandas: nanoseconds
        return value.isoformat()
    return str(value)
