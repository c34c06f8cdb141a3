"""Alpaca (Taori et al. 2023): an instruction, an optional input, an output.

    {"instruction": "Correct the spelling.", "input": "freind", "output": "friend"}

Dialects: `response` for output; no input, or "", or "<noinput>"; `system`; `history` as [[question, answer], ...]; a boolean
`kto_tag` or `label` (KTO), which makes the row unpaired.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, first_string, kind_of, kto_label, rest, text_field, tools_text
from sft_assets.record import BadRecord, Conversation, Message

NAME = "alpaca"
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
QUESTION = ("instruction",)
INPUT = ("input", "context")
ANSWER = ("output", "response")
USED = frozenset((*QUESTION, *INPUT, *ANSWER, "system", "history", "tools", "label", "kto_tag", *LABELS))
TELLING: frozenset[str] = frozenset()
NO_INPUT = {"", "<noinput>", "noinput", "no input", "<no input>", "n/a", "none"}


def matches(record: dict[str, Any]) -> bool:
    return any(k in record for k in QUESTION) and any(k in record for k in ANSWER)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    answer = text_field(record, *ANSWER)
    if answer is None:
        raise BadRecord("wrong_type", "neither output nor response is there")
    messages = [*prompt(record), Message("assistant", answer)]
    meta = rest(record, USED, INPUT, ANSWER)
    label = kto_label(record, meta)
    return [
        Conversation(
            messages,
            kind="sft" if label is None else "unpaired",
            label=label,
            tools=tools_text(record.get("tools")),
            language=first_string(record, "language", "lang"),
            license=first_string(record, "license"),
            meta=meta,
        )
    ]


def prompt(record: dict[str, Any]) -> list[Message]:
    """System, history and question: everything before the answer."""
    messages = []
    if system := text_field(record, "system"):
        messages.append(Message("system", system))
    for pair in history(record.get("history")):
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    question = text_field(record, *QUESTION)
    if question is None:
        raise BadRecord("wrong_type", "instruction is missing")
    extra = text_field(record, *INPUT)
    if extra is not None and extra.strip().lower() not in NO_INPUT:
        question = f"{question}\n{extra}" if question else extra
    messages.append(Message("user", question))
    return messages


def history(value: Any) -> list[tuple[str, str]]:
    """Earlier exchanges as pairs of texts."""
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise BadRecord("wrong_type", f"history is {kind_of(value)}, not a list of [question, answer]")
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)):
            raise BadRecord("wrong_type", "history holds something that is no [question, answer] pair of texts")
    return [(q, a) for q, a in value]


def cannot_hold(row: Conversation) -> str | None:
    """Why Alpaca cannot express a conversation without losing some of it; None if it can."""
    turns = row.messages[1:] if row.messages and row.messages[0].role == "system" else row.messages
    if row.tools or any(m.role == "tool" or m.tool_calls for m in row.messages):
        return "tools"
    if len(turns) < 2 or len(turns) % 2 or any(m.role != role for m, role in zip(turns, cycle(("user", "assistant")))):
        return "turns_do_not_alternate"
    if any(m.reasoning or m.name or m.weight not in (None, 1) for m in row.messages):
        return "reasoning_name_or_weight"
    return None


def write(row: Conversation) -> dict[str, Any]:
    """The record of a conversation that Alpaca can hold: the last exchange, and those before it as history."""
    system = row.messages[0].content if row.messages[0].role == "system" else ""
    texts = [m.content for m in row.messages if m.role != "system"]
    *earlier, (question, answer) = zip(texts[::2], texts[1::2], strict=True)
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        "system": system,
        "history": [list(pair) for pair in earlier],
    }
