"""What a row is: messages, conversations, their hashes, and their shape in Arrow.

One conversation, as every state after `raw` holds it:

    kind      sft
    messages  [{role: user, content: "What is 6 x 7?"}, {role: assistant, content: "42"}]
    tools     NULL
    meta      {"topic": "arithmetic"}

Content is kept byte for byte. `content_hash` covers messages, rejected and tools as they now stand: the key of the content
store and of every cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, md5
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

Kind = Literal["sft", "preference", "unpaired", "prompt"]


class Message(NamedTuple):
    """One turn. `tool_calls` is JSON in OpenAI's shape; `weight` 0 takes a turn out of the training loss."""

    role: str
    content: str
    name: str | None = None
    tool_calls: str | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    weight: float | None = None


@dataclass(slots=True)
class Conversation:
    """What a format makes of a record. `path` names the row among several that one record gives."""

    messages: list[Message]
    kind: Kind = "sft"
    rejected: list[Message] | None = None
    tools: str | None = None
    label: bool | None = None
    language: str | None = None
    license: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    path: str = ""


class BadRecord(ValueError):
    """A record that cannot become a conversation.

    `reason` is a short code that the quarantine counts by, `detail` a sentence for people.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def digest(*parts: bytes) -> bytes:
    """128-bit BLAKE2b of the parts (16 bytes)."""
    return blake2b(parts[0] if len(parts) == 1 else b"".join(parts), digest_size=16).digest()


def content_hash(messages: Sequence[Message], rejected: Sequence[Message] | None, tools: str | None) -> bytes:
    """128-bit hash over messages, rejected answer and tools (16 bytes)."""
    return digest(
        orjson.dumps([[tuple(m) for m in messages], None if rejected is None else [tuple(m) for m in rejected], tools])
    )


def row_id(record_id: bytes, path: str) -> bytes:
    """The id of a row made from a raw record: the record's own, or its hash with the row's path in it."""
    return record_id if not path else md5(record_id + path.encode(), usedforsecurity=False).digest()


# ---------------------------------------------------------------------------------------------------------- Arrow

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
MESSAGES_SQL = (
    "STRUCT(role VARCHAR, content VARCHAR, name VARCHAR, tool_calls VARCHAR, tool_call_id VARCHAR, "
    "reasoning VARCHAR, weight DOUBLE)[]"
)


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


def messages_of(value: Iterable[dict[str, Any]] | None) -> list[Message] | None:
    """A list<struct> value as it comes out of Arrow or DuckDB, as Messages."""
    return None if value is None else [Message(**turn) for turn in value]
