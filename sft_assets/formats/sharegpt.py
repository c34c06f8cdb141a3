"""ShareGPT: conversations of {from, value}, with tools and function roles as LLaMA-Factory writes them.

    {"conversations": [{"from": "human", "value": "What time is it in Rome?"},
                       {"from": "function_call", "value": "{\\"name\\": \\"clock\\", \\"arguments\\": {}}"},
                       {"from": "observation", "value": "{\\"time\\": \\"12:04\\"}"},
                       {"from": "gpt", "value": "It is 12:04."}],
     "system": "...", "tools": "[{\\"name\\": \\"clock\\", ...}]"}

A boolean `kto_tag` or `label` (KTO) makes the row unpaired.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, first_string, kto_label, read_turns, rest, text_field, tools_text
from sft_assets.record import Conversation, Message

NAME = "sharegpt"
COLUMNS = {"messages": "conversations"}
TURNS = ("conversations", "conversation")
SYSTEM = ("system", "system_prompt")
TELLING = frozenset(TURNS)
USED = frozenset((*TURNS, *SYSTEM, "tools", "label", "kto_tag", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    turns = _turns(record)
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and bool({"from", "role"} & turns[0].keys())))


def _turns(record: dict[str, Any]) -> Any:
    return next((record[k] for k in TURNS if record.get(k) is not None), None)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    meta = rest(record, USED, TURNS, SYSTEM)
    label = kto_label(record, meta)
    turns = read_turns(_turns(record), meta, "conversations")
    system = text_field(record, *SYSTEM)
    if system and turns[0].role != "system":
        turns.insert(0, Message("system", system))
    elif system and system != turns[0].content:
        meta["system"] = system
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
