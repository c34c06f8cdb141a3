"""Files that are one JSON object around their records.

{"version": 2, "data": [{"instruction": "Say hi", "output": "hi"}, ...]}        one list
{"instruction": ["Say hi", ...], "output": ["hi", ...]}                         columns, as pandas' to_dict("list")
{"instruction": {"0": "Say hi", ...}, "output": {"0": "hi", ...}}               columns, as pandas' to_json()
{"0": {"instruction": "Say hi", "output": "hi"}, "1": {...}}                    rows by their names
{"features": [...], "rows": [{"row_idx": 0, "row": {...}}, ...]}                as the hub's viewer answers
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from sft_assets.raw.batches import Batch
from sft_assets.raw.made_records import add
from sft_assets.raw.split import Spans, split_values
from sft_assets.raw.strict_json import is_json

TURNS = ("messages", "conversations", "conversation")  # a list that is no list of records
STRING = rb'"(?:[^"\\]|\\.)*"'
FIELD = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
HEAD = 1 << 16  # bytes in which the list is looked for


def list_inside(text: bytes, value: dict[str, Any]) -> bytes | None:
    """The list, as it stands, of an object around one list of objects; None where it is not that."""
    key = _key_of_list(value)
    if key is None:
        return None
    fields, s = text[1:-1] + b"]", Spans()
    n, *_ = split_values(np.frombuffer(fields, np.uint8), 0, 1, s.starts, s.ends, s.pairs, s.long_numbers)
    for start, end, *_ in s.first(n):
        field = orjson.loads(b"{" + fields[start:end] + b"}")
        if key in field:
            after = re.compile(STRING).match(fields, start)
            assert after is not None
            return fields[fields.index(b"[", after.end()) : end]
    return None


def _key_of_list(value: dict[str, Any]) -> str | None:
    if any(k in value for k in TURNS):
        return None
    lists = [k for k, v in value.items() if _is_list_of_objects(v)]
    return lists[0] if len(lists) == 1 else None


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


def list_begins(data: bytes, lines: list[bytes], fits: Callable[[Any], bool]) -> int | None:
    """Where the bracket of the list stands in the beginning of an object that cannot be read as a whole.

    lines: its first lines. None where they may be JSON lines of which the first is broken, or the object is a record itself.
    """
    whole = any(line[:1] == b"{" and is_json(line) for line in lines[1:])
    goes_on = any(line[:1] in b"]}" or (line.endswith(b",") and is_json(line[:-1])) for line in lines[1:])
    if whole and not goes_on:
        return None
    text = data[:HEAD].decode("utf-8", "surrogateescape")
    fields: dict[str, Any] = {}
    at, decode = 1, json.JSONDecoder().raw_decode
    while match := FIELD.match(text, at):
        at = match.end()
        try:
            key = json.loads(match[1])
            if text[at : at + 1] == "[" and text[at + 1 :].lstrip()[:1] == "{":
                first = text.index("{", at)
                if key in TURNS or any(map(_is_list_of_objects, fields.values())) or fits({**fields, key: _first(text, first)}):
                    return None
                return len(text[:at].encode("utf-8", "surrogateescape"))
            fields[key], at = decode(text, at)
        except (ValueError, RecursionError):
            return None
        at = text.find(",", at) + 1 or len(text)
    return None


def _first(text: str, at: int) -> list[Any]:
    try:
        return [json.JSONDecoder().raw_decode(text, at)[0]]
    except (ValueError, RecursionError):
        return []


def closes(rest: bytes) -> bool:
    """Whether what follows the list ends the object around it, and no other list of records is in it."""
    try:
        value = orjson.loads(b'{"":[]' + rest)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and not any(map(_is_list_of_objects, value.values()))


def rows_inside(value: dict[str, Any], fits: Callable[[Any], bool]) -> list[dict[str, Any]] | None:
    """The records of an object of columns, or of rows by name; None where it is neither."""
    inner = list(value.values())
    listed: Any = value.get("rows")
    if _is_list_of_objects(listed) and all(isinstance(e.get("row"), dict) for e in listed):
        return [e["row"] for e in listed]
    if len(value) > 1 and all(isinstance(v, list) and len(v) == len(inner[0]) for v in inner):
        if not inner[0] or any(isinstance(cell, list | dict) for column in inner for cell in column):
            return None
        return [dict(zip(value, cells, strict=True)) for cells in zip(*inner, strict=True)]
    if not (inner and inner[0] and all(isinstance(v, dict) and v.keys() == inner[0].keys() for v in inner)):
        return None
    by_column = [{name: column[row] for name, column in value.items()} for row in inner[0]]
    by_row = [row if "key" in row else {**row, "key": name} for name, row in value.items()]
    numbered = all(name.isdigit() for name in inner[0])
    if numbered or (not all(name.isdigit() for name in value) and fits(by_column[0]) and not fits(by_row[0])):
        return by_column
    return by_row if len(by_row) > 1 else None


def batch_of(rows: list[dict[str, Any]], limit: int) -> Batch:
    """Records that were taken out of their object."""
    batch = Batch()
    for position, row in enumerate(rows, 1):
        add(batch, position, row, limit)  # no part is larger than the whole, which was read
    return batch
