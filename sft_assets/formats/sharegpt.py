"""ShareGPT: conversations of {from, value}, with tools and function roles as LLaMA-Factory writes them.

    {"conversations": [{"from": "human", "value": "What time is it in Rome?"},
                       {"from": "function_call", "value": "{\\"name\\": \\"clock\\", \\"arguments\\": {}}"},
                       {"from": "observation", "value": "{\\"time\\": \\"12:04\\"}"},
                       {"from": "gpt", "value": "It is 12:04."}],
     "system": "...", "tools": "[{\\"name\\": \\"clock\\", ...}]"}

The turns may stand in other places too (`items`, `chat`). A KTO label makes the row unpaired.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import chats
from sft_assets.formats.chats import has_turns, read_chat, shared_place
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.messages import from_and_value
from sft_assets.record import Conversation

NAME = "sharegpt"
COLUMNS = {"messages": "conversations"}
TURNS = ("conversations", "conversation")
TELLING = frozenset((*TURNS, *chats.SHARED))
USED = frozenset((*TURNS, *chats.SHARED, *chats.USED))


def matches(record: dict[str, Any]) -> bool:
    if any(record.get(name) is not None for name in TURNS):
        return has_turns(record, TURNS)
    place = shared_place(record)
    return place is not None and from_and_value(record[place])


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    return [read_chat(record, TURNS)]
