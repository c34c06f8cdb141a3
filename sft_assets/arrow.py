"""Rows in Arrow: ids, texts and messages as columns.

uuids([b"...16 bytes...", None])                     ->  arrow.uuid, null
messages_array([[Message("user", "Hi")], None])      ->  list<struct<role, content, ...>>, null
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.record import Message

MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("name", pa.string()),
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        ("reasoning", pa.string()),
        ("weight", pa.float64()),
    ]
)
MESSAGES = pa.list_(MESSAGE)


def uuids(values: Iterable[bytes | None]) -> pa.Array:
    """16-byte values, or None, as an Arrow UUID array."""
    values = list(values)
    if None not in values:
        joined = pa.py_buffer(b"".join(values))  # type: ignore[arg-type]
        return pa.ExtensionArray.from_storage(
            pa.uuid(), pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), [None, joined])
        )
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))


def uuid_array(values: npt.NDArray[np.void], missing: npt.NDArray[np.bool_]) -> pa.Array:
    """16-byte values of a numpy array as an Arrow UUID array, null where `missing`."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    valid = pa.array(~missing).buffers()[1] if missing.any() else None
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), [valid, data])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def uuid_bytes(column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """A column of UUIDs as 16 bytes each."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [value for chunk in chunks for value in chunk.storage.to_pylist()]


def utf8_strings(texts: Sequence[bytes]) -> pa.StringArray:
    """Texts that are known to be UTF-8 as an Arrow string array, without looking at them again."""
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([len(t) for t in texts], out=offsets[1:])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def messages_array(conversations: Sequence[Sequence[Message] | None]) -> pa.ListArray:
    """Conversations as list<struct>, built by column (no Python dict a message)."""
    offsets: list[int | None] = [0]
    end = 0
    for turns in conversations:
        if turns is None:
            offsets[-1] = None
        else:
            end += len(turns)
        offsets.append(end)
    # a None offset marks a null list; its successor repeats the true position
    flat = list(chain.from_iterable(turns for turns in conversations if turns is not None))
    columns = list(zip(*flat, strict=True)) if flat else [()] * len(MESSAGE)
    arrays = [pa.array(column, MESSAGE.field(i).type) for i, column in enumerate(columns)]
    values = pa.StructArray.from_arrays(arrays, fields=list(MESSAGE))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=MESSAGES)
