"""Turns of a conversation, whatever their keys and roles are called.

{"from": "human", "value": "Hi"}      {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sft_assets.record import BadRecord, Message

ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "function_call",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
ALTERNATIVES = tuple(
    tuple(names.split())
    for names in (
        "role from",
        "content value",
        "tool_calls function_call",
        "reasoning reasoning_content thinking",
        "weight loss_weight loss",
    )
)
KNOWN = frozenset(("name", "tool_call_id", *(name for names in ALTERNATIVES for name in names)))
LABELS = ("language", "lang", "license")


def read_turns(value: Any, meta: dict[str, Any], place: str = "messages") -> list[Message]:
    """A list of turns as Messages. What a turn says beyond a Message goes to `meta[place]` by turn number.

    Raises:
        BadRecord: no_turns, wrong_type, unknown_role.
    """
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise BadRecord("wrong_type", f"{place} is a text, not a list of turns") from None
    if not isinstance(value, list):
        raise BadRecord("wrong_type", f"{place} is {kind_of(value)}, not a list of turns")
    if not value:
        raise BadRecord("no_turns", f"{place} is an empty list")
    turns = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise BadRecord("wrong_type", f"turn {number} of {place} is {kind_of(turn)}, not an object")
        turns.append(_turn(turn, number, place, meta))
    return turns


def _turn(turn: dict[str, Any], number: int, place: str, meta: dict[str, Any]) -> Message:
    said = turn.get("role") or turn.get("from")
    role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        raise BadRecord("unknown_role", f"turn {number} of {place} has the role {said!r}; known: {', '.join(ROLES)}")
    extra = {k: v for k, v in turn.items() if k not in KNOWN}
    content = turn.get("content")
    if content is None:
        content = turn.get("value")
    plain = len(turn) == 2 and content is not None  # the common case: a role and a text
    if not plain:
        for names in ALTERNATIVES:  # what is said twice, in different words
            there = [n for n in names if turn.get(n) is not None]
            extra |= {n: turn[n] for n in there[1:] if turn[n] != turn[there[0]]}
    if isinstance(content, list):
        content = _join_parts(content, number, place, extra)
    calls = _calls(turn)
    if role == "function_call":
        if not isinstance(content, str):
            raise BadRecord("wrong_type", f"the function call in turn {number} of {place} is {kind_of(content)}, not text")
        role, calls, content = "assistant", calls_of_text(content), ""
    if content is None and (calls or role == "assistant"):
        content = ""
    if not isinstance(content, str):
        raise BadRecord("wrong_type", f"the content of turn {number} of {place} is {kind_of(content)}, not text")
    weight = next((turn[k] for k in ("weight", "loss_weight", "loss") if turn.get(k) is not None), None)
    if not isinstance(weight, (int, float, type(None))):
        extra["weight"], weight = weight, None
    if extra:
        meta.setdefault(f"{place}_extra", {})[str(number)] = extra
    if plain:
        return Message(role, content, tool_calls=calls)
    return Message(
        role,
        content,
        _text(turn, "name", number),
        calls,
        _text(turn, "tool_call_id", number),
        _text(turn, "reasoning", number) or _text(turn, "reasoning_content", number) or _text(turn, "thinking", number),
        None if weight is None else float(weight),
    )


def _text(turn: dict[str, Any], key: str, number: int) -> str | None:
    value = turn.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRecord("wrong_type", f"{key} of turn {number} is {kind_of(value)}, not text")
    return value


def _join_parts(parts: list[Any], number: int, place: str, extra: dict[str, Any]) -> str:
    """The text of a list of parts. Parts of another kind (images, say), and what else a part says, are kept in meta."""
    texts, others = [], []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(text := part.get("text", part.get("value")), str):
            if part.get("type", "text") not in ("text", "input_text", "output_text"):
                others.append(part)
                continue
            texts.append(text)
            if more := {k: v for k, v in part.items() if k not in ("type", "text") and v != text}:
                others.append(more)
        elif isinstance(part, dict):
            others.append(part)
        else:
            raise BadRecord("wrong_type", f"a part of turn {number} of {place} is {kind_of(part)}, not an object")
    if others:
        extra["parts"] = others
    return "".join(texts)


def _calls(turn: dict[str, Any]) -> str | None:
    calls = turn.get("tool_calls")
    if calls is None and turn.get("function_call") is not None:
        calls = [{"type": "function", "function": turn["function_call"]}]
    if not calls:
        return None
    return calls if isinstance(calls, str) else orjson.dumps(calls).decode()


def calls_of_text(text: str) -> str:
    """ShareGPT's function_call (JSON of one call or a list of calls) in OpenAI's shape.

    What is no such JSON is kept whole as the arguments of a call without a name; the rule broken_tool_call finds it.
    """
    try:
        parsed = orjson.loads(text)
    except ValueError:
        parsed = None
    calls = parsed if isinstance(parsed, list) else [parsed]
    if calls and all(isinstance(c, dict) and "name" in c for c in calls):
        try:
            return orjson.dumps([{"type": "function", "function": c} for c in calls]).decode()
        except orjson.JSONEncodeError:  # hundreds of lists within each other
            pass
    return orjson.dumps([{"type": "function", "function": {"name": "", "arguments": text}}]).decode()


def tools_text(value: Any) -> str | None:
    """The `tools` column as JSON text: kept as it is where it is text already."""
    if value is None or value == "" or value == []:
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def kind_of(value: Any) -> str:
    """JSON's word for what a value is."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return "missing" if value is None else names.get(type(value), type(value).__name__)


def text_field(record: Mapping[str, Any], *names: str) -> str | None:
    """The first of the fields that is not empty; "" where all that are there are.

    Raises:
        BadRecord: wrong_type, where it is no text.
    """
    found = None
    for name in names:
        value = record.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not text")
            if value:
                return value
            found = value
    return found


def rest(record: Mapping[str, Any], used: frozenset[str], *alternatives: tuple[str, ...]) -> dict[str, Any]:
    """What of a record has no place in a conversation: it goes to meta. Of fields that mean the same only one is used."""
    meta = {k: v for k, v in record.items() if k not in used}
    for names in (*alternatives, ("language", "lang"), ("license",)):
        taken = False
        for name in names:
            value = record.get(name)
            if value is None or value == "":
                continue
            if taken or (name in LABELS and not isinstance(value, str)):
                meta[name] = value
            else:
                taken = True
    return meta


def kto_label(record: Mapping[str, Any], meta: dict[str, Any]) -> bool | None:
    """KTO's verdict on the answer, where the record has one. A label that is no boolean is something else: it goes to meta."""
    label: bool | None = None
    for name in ("kto_tag", "label"):
        value = record.get(name)
        if isinstance(value, bool) and label is None:
            label = value
        elif value is not None:
            meta[name] = value
    return label


def first_string(record: Mapping[str, Any], *names: str) -> str | None:
    """Language and licence: the first of the fields that holds a text."""
    for name in names:
        value = record.get(name)
        if value and isinstance(value, str):
            return value
    return None
