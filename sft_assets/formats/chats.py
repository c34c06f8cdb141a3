"""Records that hold a list of turns: where it may stand, and how it is read. `messages` and `sharegpt` are such formats.

{"dialogue": ["Hi", "Hello"]}    {"chat_messages": [{"sender": "human", "text": "Hi"}]}    {"system": "Be kind.", "chat": [...]}

In places where lists of another kind may stand (`data`, say) a list is one of turns if the role of its first turn is known;
lists of plain texts are turns only in some of them: `turns` and `items` may hold anything.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from sft_assets.formats.turn_shapes import are_surely_turns, are_texts, are_turns
from sft_assets.formats.turns import LABELS, SYSTEM, conversation, kto_label, read_turns, rest, system_turns
from sft_assets.record import BadRecord, Conversation

SHARED = (
    *("chat", "chats", "dialog", "dialogue", "dialogs", "dialogues", "turns", "items", "data", "utterances", "thread"),
    "chat_messages",
)
SHARED_NAMES = frozenset(SHARED)
OF_ANYTHING = frozenset(("data", "items"))  # their objects may be whole records, not turns of one
OF_TEXTS = frozenset(("dialog", "dialogue", "dialogs", "dialogues", "chat", "utterances", "data"))
USED = frozenset((*SYSTEM, "tools", "label", "kto_tag", *LABELS))


def parsed(value: Any) -> Any:
    """A list that stands in a cell as its JSON text."""
    if isinstance(value, str) and value[:1] == "[":
        try:
            return orjson.loads(value)
        except ValueError:
            return value
    return value


def has_turns(record: dict[str, Any], places: tuple[str, ...]) -> bool:
    """Whether turns stand in the first of the places that the record has. An empty list is a list of turns there."""
    value = parsed(next((record[name] for name in places if record.get(name) is not None), None))
    return isinstance(value, list) and (not value or are_turns(value))


def shared_place(record: dict[str, Any]) -> str | None:
    """Where among the shared places turns stand."""
    if SHARED_NAMES.isdisjoint(record):
        return None
    for name in SHARED:
        value = parsed(record.get(name))
        if are_surely_turns(value, exchanges=name not in OF_ANYTHING) or (are_texts(value) and _of_texts(record, name)):
            return name
    return None


def _of_texts(record: dict[str, Any], name: str) -> bool:
    return name in OF_TEXTS and (name != "data" or "id" in record)  # UltraChat: {"id": "0", "data": ["Hi", "Hello"]}


@cache
def _used(place: str) -> frozenset[str]:
    return USED | {place}


def read_chat(record: dict[str, Any], places: tuple[str, ...]) -> Conversation:
    """The conversation of a record whose turns stand in one of `places`, or in a shared one.

    Raises:
        BadRecord: wrong_type, no_turns, unknown_role.
    """
    place = next((name for name in places if record.get(name) is not None), None) or shared_place(record)
    if place is None:
        raise BadRecord("wrong_type", f"it has no turns: none of {', '.join((*places, *SHARED))} holds a list of them")
    meta = rest(record, _used(place))
    label = kto_label(record, meta)
    turns = read_turns(record[place], meta, places[0] if place in places else place)
    before = system_turns(record, meta)
    if turns[0].role != "system":
        turns[:0] = before
    elif before and before[0].content != turns[0].content:
        meta["system"] = before[0].content
    return conversation(record, turns, meta, label)
