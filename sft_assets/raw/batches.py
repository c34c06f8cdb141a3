"""What the reader hands over: records, and what could not be read with the reason why not.

line 3   {"instruction": "Say hi", "output": "hi", "output": "ho"}      duplicate_key: the key 'output' stands twice
line 4   {"instruction": "Say hi", "outp                                truncated: the file ends within the record
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from sft_assets.masks import mask
from sft_assets.raw.strict_json import remedy

EXCERPT = 300  # characters shown of a record
LOOKED_AT = 1 << 14  # bytes that are masked before the excerpt is cut: a secret may be longer than what is shown
ESCAPE = re.compile(r"\\(?:[bfnrt]|u00([0-7][0-9a-fA-F]))")


@dataclass(slots=True)
class Bad:
    """A record that was not read. `position`: line number, or element number in an array (from 1)."""

    position: int
    reason: str
    detail: str
    sha256: str
    excerpt: str

    @classmethod
    def of(cls, position: int, text: bytes, reason: str, detail: str) -> Bad:
        return cls(position, reason, mask(detail)[0], hashlib.sha256(text).hexdigest(), excerpt(text))


@dataclass(slots=True)
class Batch:
    """Records of one window: parallel lists, and what could not be read."""

    positions: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)  # as they stand in the file
    values: list[Any] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)  # 128 bits, the same for records that are equal as JSON
    bad: list[Bad] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values) + len(self.bad)

    def set_aside(self, bad: Iterable[tuple[int, str, str]]) -> None:
        """Move records to `bad`: (index, reason, detail) of each, in ascending order."""
        for i, reason, detail in reversed(list(bad)):
            self.bad.append(Bad.of(self.positions[i], self.texts[i], reason, detail))
            for column in (self.positions, self.texts, self.values, self.hashes):
                del column[i]


def excerpt(text: bytes) -> str:
    """The beginning of a record for people, masked; bytes that are no UTF-8 show as \\x.. ."""
    shown = text[:LOOKED_AT].decode("utf-8", "backslashreplace")
    # in JSON a line break is written \n: its n must not hide the number or address that it stands before
    return mask(ESCAPE.sub(lambda m: chr(max(32, int(m[1], 16))) if m[1] else " ", shown))[0][:EXCERPT]


def repeated_key(text: bytes) -> str | None:
    """The first key that stands twice in one object of a JSON text."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=look, parse_int=str)  # int() refuses thousands of digits
    return found[0] if found else None


def why(text: bytes, error: orjson.JSONDecodeError, last: bool = False, damage: str = "") -> tuple[str, str]:
    """Reason and sentence for a text that is not JSON. `last`: nothing follows it; `damage`: of the file, if it has any."""
    ends = "unexpected end" in error.msg
    try:
        decoded = text.decode()
    except UnicodeDecodeError as bad:
        if not (last and bad.reason == "unexpected end of data"):
            return (
                "invalid_utf8",
                f"byte 0x{text[bad.start]:02x} at {bad.start} is not UTF-8; if the file is latin-1 or cp1252, say `encoding:` "
                "in its recipe entry",
            )
        ends = True  # in the middle of a character
        decoded = ""
    if last and (damage or ends):
        return "truncated", damage or "the file ends within the record"
    said = f"{error.msg.split(': line')[0]} at character {error.pos}"
    if "surrogate" in error.msg:
        return "lone_surrogate", f"{said}: half of a character that cannot be encoded"
    if "depth limit" in error.msg:
        return "too_deep", said
    if number := re.match(r"-?(NaN|Infinity)\b", decoded[max(0, error.pos - 1) :].lstrip(" \t\r\n:,[")):
        return "invalid_json", f"{number[1]} is not a JSON value ({said})"
    return "invalid_json", remedy(decoded, error) + said
