"""Messages: the chat format of OpenAI, of the hub and of TRL, and records that hold turns in any other place or shape.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [...]}
    {"dialogue": ["Hi", "Hello!"], "emotion": [0, 4]}
    {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [...]}}

Content is a text or a list of parts. A KTO label makes the row unpaired. A request (`body`) that nobody answered is a prompt.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from sft_assets.formats import chats
from sft_assets.formats.chats import has_turns, parsed, read_chat, shared_place
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import calls_of_text
from sft_assets.formats.writing import too_deep
from sft_assets.record import Conversation, Message

NAME = "messages"
COLUMNS: dict[str, str] = {}
TURNS = ("messages",)
TELLING = frozenset((*TURNS, *chats.SHARED, "body"))
USED = frozenset((*TURNS, *chats.SHARED, *chats.USED, "body"))


def matches(record: dict[str, Any]) -> bool:
    if record.get("messages") is not None:
        return has_turns(record, TURNS)
    if body := _request(record):
        return has_turns(body, TURNS)
    place = shared_place(record)
    return place is not None and not from_and_value(record[place])


def from_and_value(turns: Any) -> bool:
    """Whether turns have ShareGPT's keys."""
    first = parsed(turns)[0]
    return isinstance(first, dict) and "from" in first


def _request(record: dict[str, Any]) -> dict[str, Any] | None:
    body = record.get("body")
    return body if isinstance(body, dict) and "messages" in body else None


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    body = None if "messages" in record else _request(record)
    if body is None:
        return [read_chat(record, TURNS)]
    row = read_chat(body, TURNS)
    if row.messages[-1].role != "assistant":
        row.kind = "prompt"
    row.meta |= {name: value for name, value in record.items() if name != "body" and name not in row.meta}
    return [row]


def write(turns: list[Message]) -> list[dict[str, Any]]:
    """Turns as records of the chat format: what a turn does not have is left out, calls and their arguments are objects."""
    written = []
    for turn in turns:
        record = {name: value for name, value in turn._asdict().items() if value is not None}
        if turn.tool_calls is not None:
            calls = orjson.loads(calls_for_templates(turn.tool_calls))
            as_text = [{"type": "function", "function": {"name": "", "arguments": turn.tool_calls}}]
            record["tool_calls"] = as_text if too_deep(calls) else calls
        written.append(record)
    return written


LONG_NUMBER = re.compile(r"\d{16}")  # more digits than a float can hold


def calls_json(text: str) -> str:
    """Tool calls as JSON that can be parsed: a text that is no list of calls becomes the arguments of a call without a name."""
    try:
        return text if isinstance(orjson.loads(text), list) else calls_of_text(text)
    except ValueError:
        return calls_of_text(text)


def calls_for_templates(text: str) -> str:
    """Tool calls as chat templates take them: arguments that are the JSON text of an object, as that object.

    Of the templates that know tools, most fail on a text or put it into quotes once more, so that a model would learn to.
    """
    text = calls_json(text)
    calls = orjson.loads(text)
    parsed = [_with_object(call) for call in calls]
    return text if parsed == calls or too_deep(parsed) else orjson.dumps(parsed).decode()


def _with_object(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = orjson.loads(function["arguments"])
    except ValueError:
        return call
    if not _is_kept(function["arguments"]):
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _is_kept(text: str) -> bool:
    """Whether JSON means the same as an object: no long number that would be rounded, no name that stands twice."""
    return not LONG_NUMBER.search(text) and orjson.loads(text) == json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    return found if len(found) == len(pairs) else None
