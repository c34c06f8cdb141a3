"""Alpaca (Taori et al. 2023): an instruction, an optional input, an output.

    {"instruction": "Correct the spelling.", "input": "freind", "output": "friend"}

Dialects: other names of the answer, or a list of answers (a row each); `context` or `question` for input; no input, or "", or
"<noinput>"; a system prompt; `history` as [[question, answer], ...] or its JSON text; a KTO label: the row is unpaired.

The prompt is instruction and input on lines of their own. `input_at` in meta says how long the instruction is, so that `write`
can part them again.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import orjson

from sft_assets.formats import answers
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, SYSTEM, conversation, kind_of, kto_label, rest, system_turns, text_field
from sft_assets.record import BadRecord, Conversation, Message

NAME = "alpaca"
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
INPUT = ("input", "context", "question")
ANSWER = ("output", "response", "outputs", "answer", "completion")
ANSWERS = frozenset(ANSWER)
BEFORE = frozenset((*SYSTEM, "history"))
USED = frozenset(("instruction", *INPUT, *ANSWER, *SYSTEM, "history", "tools", "label", "kto_tag", *LABELS))
TELLING: frozenset[str] = frozenset()
NO_INPUT = {"", "<noinput>", "noinput", "no input", "<no input>", "n/a", "none"}


def matches(record: dict[str, Any]) -> bool:
    return "instruction" in record and not ANSWERS.isdisjoint(record)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    meta = rest(record, USED, INPUT, ANSWER)
    label = kto_label(record, meta)
    question, input_at = _question(record)
    turns = [*before(record, meta), Message("user", question)]
    if input_at is not None:
        meta["input_at"] = input_at
    elif (said := text_field(record, *INPUT)) and said.strip():  # "<noinput>" says that there is none
        meta["input"] = said
    return answered(record, turns, meta, label, *ANSWER)


def answered(
    record: dict[str, Any], prompt: list[Message], meta: dict[str, Any], label: bool | None, *names: str
) -> list[Conversation]:
    """A row for each answer in the first of the fields `names` that is not empty."""
    rows = []
    for text, path in answers.answers(record, *names):
        own = dict(meta) if path else meta
        turns = [*prompt, answers.answer_turn(text, record, own)]
        rows.append(conversation(record, turns, own, label, path=path))
    return rows


def prompt(record: dict[str, Any], meta: dict[str, Any]) -> list[Message]:
    """System, history and question: everything before the answer."""
    return [*before(record, meta), Message("user", _question(record)[0])]


def before(record: dict[str, Any], meta: dict[str, Any]) -> list[Message]:
    """The turns before the question: of the system prompt and of the `history`."""
    if BEFORE.isdisjoint(record):
        return []
    turns = system_turns(record, meta)
    for question, answer in history(record.get("history")):
        turns += [Message("user", question), Message("assistant", answer)]
    return turns


def _question(record: dict[str, Any]) -> tuple[str, int | None]:
    question = text_field(record, "instruction")
    if question is None:
        raise BadRecord("wrong_type", "instruction is missing")
    return joined(question, text_field(record, *INPUT))


def joined(instruction: str, text: str | None) -> tuple[str, int | None]:
    """Instruction and input as one text, and the number of characters before the joint; None where there is no input."""
    if text is None or text.strip().lower() in NO_INPUT:
        return instruction, None
    return f"{instruction}\n{text}" if instruction else text, len(instruction)


def parted(text: str, input_at: Any) -> tuple[str, str]:
    """The text as instruction and input again; all of it is the instruction where it has changed at the joint."""
    if input_at == 0 and type(input_at) is int:
        return "", text
    if type(input_at) is int and text[input_at : input_at + 1] == "\n":
        return text[:input_at], text[input_at + 1 :]
    return text, ""


def history(value: Any) -> list[tuple[str, str]]:
    """Earlier exchanges as pairs of texts."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise BadRecord("wrong_type", "history is a text that is no JSON list of [question, answer]") from None
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
    """The record of a conversation that Alpaca can hold: the last exchange, and those before it as history. An input that
    `read` joined to the instruction is one again."""
    system = row.messages[0].content if row.messages[0].role == "system" else ""
    texts = [m.content for m in row.messages if m.role != "system"]
    *earlier, (question, answer) = zip(texts[::2], texts[1::2], strict=True)
    instruction, text = parted(question, row.meta.get("input_at"))
    return {
        "instruction": instruction,
        "input": text or row.meta.get("input", ""),
        "output": answer,
        "system": system,
        "history": [list(pair) for pair in earlier],
    }
