"""The answers of a record: one text, or a list of them; and the reasoning that led there.

{"output": "friend"}      {"outputs": ["friend", "a friend"]}      {"thinking": "ei or ie?", "output": "friend"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sft_assets.formats.turns import kind_of
from sft_assets.record import BadRecord, Message

REASONING = (
    *("reasoning", "reasoning_content", "thinking", "thinking_trajectories", "chain_of_thought", "cot", "complex_cot"),
    *("deepseek_reasoning", "rationale"),
)
NAMES = frozenset(REASONING)


def answers(record: Mapping[str, Any], *names: str) -> list[tuple[str, str]]:
    """The answers in the first of the fields that is not empty, each with its row's path: "" for a text, its number in a list.

    Raises:
        BadRecord: wrong_type.
    """
    found: str | None = None
    for name in names:
        value = record.get(name)
        if isinstance(value, str):
            if value:
                return [(value, "")]
            found = value
        elif isinstance(value, list) and value and all(isinstance(text, str) for text in value):
            return [(text, str(number)) for number, text in enumerate(value)]
        elif value is not None:
            raise BadRecord("wrong_type", f"{name} is {_described(value)}, not a text or a list of texts")
    if found is None:
        raise BadRecord("wrong_type", f"there is no answer: none of {', '.join(names)} holds a text")
    return [(found, "")]


def _described(value: Any) -> str:
    return kind_of(value) if not isinstance(value, list) else "a list of something else" if value else "an empty list"


def answer_turn(text: str, record: Mapping[str, Any], meta: dict[str, Any]) -> Message:
    """The assistant's turn, with the record's reasoning where that is one text. It is taken out of meta."""
    if NAMES.isdisjoint(record):
        return Message("assistant", text)
    for name in REASONING:
        value = meta.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str) and value:
            del meta[name]
            return Message("assistant", text, reasoning=value)
    return Message("assistant", text)
