"""Messages: the chat format of OpenAI, of the hub and of TRL.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [...]}

Content is a text or a list of parts. A boolean `label` (KTO) makes the row unpaired.
"""

from __future__ import annotations

from typing import Any

import orjson

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, calls_of_text, first_string, kto_label, read_turns, rest, tools_text
from sft_assets.record import Conversation, Message

NAME = "messages"
COLUMNS = {"prompt": "prompt", "kto_tag": "label"}
TELLING = frozenset(("messages",))
USED = frozenset(("messages", "tools", "label", "kto_tag", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    turns = record.get("messages")
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and bool({"role", "from"} & turns[0].keys())))


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    meta = rest(record, USED)
    label = kto_label(record, meta)
    turns = read_turns(record.get("messages"), meta)
    return [
        Conversation(
            turns,
            kind="sft" if label is None else "unpaired",
            label=label,
            tools=tools_text(record.get("tools")),
            language=first_string(record, "language", "lang"),
            license=first_string(record, "license"),
            meta=meta,
        )
    ]


def write(turns: list[Message]) -> list[dict[str, Any]]:
    """Turns as records of the chat format: what a turn does not have is left out, tool calls are objects."""
    written = []
    for turn in turns:
        record = {name: value for name, value in turn._asdict().items() if value is not None}
        if turn.tool_calls is not None:
            record["tool_calls"] = orjson.loads(calls_json(turn.tool_calls))
        written.append(record)
    return written


def calls_json(text: str) -> str:
    """Tool calls as JSON that can be parsed: a text that is no list of calls becomes the arguments of a call without a name."""
    try:
        return text if isinstance(orjson.loads(text), list) else calls_of_text(text)
    except ValueError:
        return calls_of_text(text)
