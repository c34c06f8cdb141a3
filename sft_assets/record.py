"""What a row is: messages, conversations, their hashes (arrow.py has them as columns).

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
from typing import Any, Literal, NamedTuple

import orjson

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

MESSAGES_SQL = (
    "STRUCT(role VARCHAR, content VARCHAR, name VARCHAR, tool_calls VARCHAR, tool_call_id VARCHAR, "
    "reasoning VARCHAR, weight DOUBLE)[]"
)


def messages_of(value: Iterable[dict[str, Any]] | None) -> list[Message] | None:
    """A list<struct> value as it comes out of Arrow or DuckDB, as Messages."""
    return None if value is None else [Message(**turn) for turn in value]
