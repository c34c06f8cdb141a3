"""Personal data and secrets in a conversation, masked; the log keeps kind, place and hash of what stood there.

    {"kind": "email", "place": "turn 1", "span": [12, 33], "sha256": "3f0a..."}
    {"kind": "email", "place": "turn 2 tool_calls/0/function/arguments/to", "span": [0, 21], "sha256": "3f0a..."}

JSON (tool calls, tools, meta) is masked value by value: it stays JSON, and an escape in it hides nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from sft_assets.combined.repairs import Edit
from sft_assets.masks import mask, worth_a_look
from sft_assets.record import BadRecord, Message

DEEPEST = 254  # levels of objects and lists within each other: what orjson writes


def mask_text(text: str, kinds: Collection[str], place: str, edits: list[Edit]) -> str:
    """The masked text; what was found is added to `edits`."""
    masked, found = mask(text, kinds)
    for hit in found:
        before = orjson.dumps({"kind": hit.kind, "place": place, "span": [hit.start, hit.stop], "sha256": hit.sha256})
        edits.append(Edit(f"masked_{hit.kind}", before.decode(), f"<{hit.kind.upper()}>"))
    return masked


def mask_json(text: str, kinds: Collection[str], place: str, edits: list[Edit], level: int = 0) -> str:
    """JSON text with its keys, strings and numbers masked; text that is no JSON is masked as it stands. level: of objects and
    lists around it.

    Raises:
        BadRecord: too_deep.
    """
    if not (worth_a_look(text) or "\\u" in text):
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return mask_text(text, kinds, place, edits)
    before = len(edits)
    masked = _mask_value(value, kinds, place, edits, level)
    return orjson.dumps(masked).decode() if len(edits) > before else text


def _mask_value(value: Any, kinds: Collection[str], place: str, edits: list[Edit], level: int) -> Any:
    if isinstance(value, str):
        if value[:1] in ("{", "["):  # a call's arguments are JSON in a string
            return mask_json(value, kinds, place, edits, level)
        return mask_text(value, kinds, place, edits)
    if isinstance(value, list | dict):
        level += 1
        if level > DEEPEST:
            raise BadRecord("too_deep", f"{place.partition('/')[0]}: too many objects and lists within each other")
    if isinstance(value, list):
        return [_mask_value(v, kinds, f"{place}/{i}", edits, level) for i, v in enumerate(value)]
    if isinstance(value, dict):
        result: dict[str, Any] = {}
        for name, v in value.items():
            key = masked = mask_text(name, kinds, place, edits)
            while key in result:  # of two addresses, say
                key += "'"
            result[key] = _mask_value(v, kinds, f"{place}/{masked}", edits, level)
        return result
    if isinstance(value, int) and not isinstance(value, bool):
        text = mask_text(digits := str(value), kinds, place, edits)
        return value if text == digits else text
    return value


def mask_turns(turns: list[Message], kinds: Collection[str], place: str, edits: list[Edit]) -> list[Message]:
    """Turns with every text in them masked."""
    result = []
    for number, turn in enumerate(turns, 1):
        at, before = f"{place} {number}", len(edits)
        content = mask_text(turn.content, kinds, at, edits)
        reasoning = turn.reasoning and mask_text(turn.reasoning, kinds, f"{at} reasoning", edits)
        calls = turn.tool_calls and mask_json(turn.tool_calls, kinds, f"{at} tool_calls", edits)
        name = turn.name and mask_text(turn.name, kinds, f"{at} name", edits)
        call_id = turn.tool_call_id and mask_text(turn.tool_call_id, kinds, f"{at} tool_call_id", edits)
        changed = len(edits) > before
        result.append(Message(turn.role, content, name, calls, call_id, reasoning, turn.weight) if changed else turn)
    return result
