"""Prompts without answers: for generation, for on-policy training, or for evaluation.

    {"prompt": "Compose a travel blog post about Hawaii."}      {"prompt": [{"role": "user", "content": "Hi"}]}
    {"class": " Vicuna ", "data": "Compose a travel blog post about Hawaii."}                                     UltraChat

It is tried last, and only fits a record in which nothing is called an answer.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats.alpaca import before, joined
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turn_shapes import are_surely_turns
from sft_assets.formats.turns import LABELS, SYSTEM, conversation, kind_of, read_turns, rest, text_field
from sft_assets.record import BadRecord, Conversation, Message

NAME = "prompts"
COLUMNS = {"query": "input"}
PROMPT = ("prompt", "instruction", "question", "query")
TELLING = frozenset(("prompt", "question", "query", "data"))
USED = frozenset((*PROMPT, "data", "input", *SYSTEM, "history", "tools", *LABELS))
ANSWERED = (  # what a name has in it that stands for an answer, or for what an answer is chosen from
    *("answer", "response", "output", "completion", "solution", "target", "generat", "chosen", "rejected", "repl", "choice"),
    *("option", "label", "positive", "negative", "document", "passage", "message", "instances", "conversation"),
)


def matches(record: dict[str, Any]) -> bool:
    if record.keys() == {"class", "data"}:
        return isinstance(record["data"], str)
    return any(_is_prompt(record, name) for name in PROMPT) and not any(
        word in name.lower() for name in record for word in ANSWERED
    )


def _is_prompt(record: dict[str, Any], name: str) -> bool:
    if name == "instruction":  # Alpaca's name, for which no value is looked at
        return name in record
    return isinstance(record.get(name), str) or are_surely_turns(record.get(name))


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    name = next((name for name in (*PROMPT, "data") if record.get(name) is not None), None)
    if name is None:
        raise BadRecord("wrong_type", f"there is no prompt: none of {', '.join(PROMPT)} is there")
    value = record[name]
    meta = rest(record, USED - {*PROMPT, "data"} | {name})
    earlier = before(record, meta)
    if isinstance(value, list):
        turns = earlier + read_turns(value, meta, name)
        return [conversation(record, turns, meta, kind="prompt")]
    if not isinstance(value, str):
        raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not a text or a list of turns")
    text, input_at = joined(value, text_field(record, "input"))
    if input_at is not None:
        meta["input_at"] = input_at
    return [conversation(record, [*earlier, Message("user", text)], meta, kind="prompt")]
