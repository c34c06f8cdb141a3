"""Question and answer under any pair of names that is met in the wild.

    {"inputs": "Translate to German: cheese", "targets": "Käse"}
    {"context": "Käse is cheese.", "question": "What is cheese?", "answers": {"text": ["Käse"], "answer_start": [0]}}   SQuAD
    {"query": "Rain in Rome?", "tools": "[...]", "answers": "[{\\"name\\": \\"rain\\", \\"arguments\\": {...}}]"}           xLAM
    {"problem": "6 x 7?", "deepseek_reasoning": "Six times seven ...", "deepseek_solution": "42"}               OpenThoughts

A text that the question is about stands before it. Of several answers the first is taken; the field itself goes to meta. The
reasoning that led to the answer becomes the turn's. Numbers and booleans are no answers to train on: such a record fits not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sft_assets.formats.alpaca import before
from sft_assets.formats.answers import answer_turn
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turn_shapes import are_surely_turns
from sft_assets.formats.turns import (
    LABELS,
    SYSTEM,
    calls_of_text,
    conversation,
    kind_of,
    kto_label,
    read_turns,
    rest,
    text_field,
)  # fmt: skip
from sft_assets.record import BadRecord, Conversation, Message

NAME = "input_target"
COLUMNS = {"prompt": "question", "query": "context", "response": "answer"}
PAIRS: Mapping[str, tuple[str, ...]] = {  # the name of the question: those of its answer, the best first
    "problem": ("deepseek_solution", "generated_solution", "solution", "generation", "response", "answer", "output"),
    "question": (
        *("generated_solution", "answer", "answers", "response", "output", "solution", "completion", "reply", "best_answer"),
        "target",
    ),
    "query": ("response", "answer", "answers", "output", "reply", "completion", "solution"),
    "instruction": ("target", "targets", "solution", "answers", "generation", "reply"),
    "prompt": ("response", "output", "answer", "target", "generation", "solution", "reply", "text"),  # text: Cosmopedia
    "inputs": ("targets", "outputs", "target", "output"),
    "inputs_pretokenized": ("targets_pretokenized",),
    "input_text": ("output_text", "target_text"),
    "text_input": ("output", "text_output"),
    "source_text": ("target_text",),
    "input": ("output", "target", "response", "answer", "completion", "reply", "outputs", "targets"),
    "user": ("assistant", "bot", "gpt", "model"),
    "human": ("assistant", "bot", "gpt", "ai"),
    "patient": ("doctor",),
    "q": ("a",),
    "source": ("target",),
    "src": ("tgt",),
    "context": ("response",),  # counselling: what the person says, what the counsellor answers
}
ANSWERS = tuple(dict.fromkeys(name for names in PAIRS.values() for name in names))
ABOUT = ("context", "passage")
BY_NAME = frozenset(("instruction", "input", "output", "response"))  # Alpaca's: what such a record is, its names say
TELLING = frozenset((*PAIRS, *ANSWERS)) - BY_NAME
USED = frozenset((*PAIRS, *ANSWERS, *ABOUT, *SYSTEM, "history", "tools", "label", "kto_tag", *LABELS))
NEEDED = frozenset((*SYSTEM, "history", "tools", "label", "kto_tag", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    return _names(record) is not None


def _names(record: dict[str, Any]) -> tuple[str, str] | None:
    """The names of question and answer."""
    for question, names in PAIRS.items():
        if question in record and _is(record, question, str):
            for answer in names:
                if answer in record and _is(record, answer, (str, list, dict)):
                    return question, answer
    return None


def _is(record: dict[str, Any], name: str, kinds: type | tuple[type, ...]) -> bool:
    return name in BY_NAME or record[name] is None or isinstance(record[name], kinds)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    names = _names(record)
    if names is None:
        raise BadRecord(
            "wrong_type", "it has no pair of a question and an answer that are texts; name columns in its recipe entry"
        )
    about = next((name for name in ABOUT if name not in names and isinstance(record.get(name), str)), None)
    meta = rest(record, NEEDED | {*names, about or ""})
    if are_surely_turns(record[names[0]], exchanges=False):
        return [_of_turns(record, *names, meta)]
    question = text_field(record, names[0])
    if question is None:
        raise BadRecord("wrong_type", f"{names[0]} is missing")
    if about and record[about].strip():
        question = f"{record[about]}\n\n{question}"
    label = kto_label(record, meta)
    turns = [*before(record, meta), Message("user", question), _answer(record, names[1], meta)]
    return [conversation(record, turns, meta, label)]


def _of_turns(record: dict[str, Any], asked: str, answered: str, meta: dict[str, Any]) -> Conversation:
    """Turns as the question, and a turn, turns or a text as the answer."""
    turns, value = read_turns(record[asked], meta, asked), record[answered]
    label = kto_label(record, meta)
    answer = read_turns(value, meta, answered) if isinstance(value, (dict, list)) else [_answer(record, answered, meta)]
    return conversation(record, [*before(record, meta), *turns, *answer], meta, label)


def _answer(record: dict[str, Any], name: str, meta: dict[str, Any]) -> Message:
    value = record[name]
    if record.get("tools") and (calls := _calls(value)):
        return Message("assistant", "", tool_calls=calls)
    text = _first(value)
    if text is None:
        raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not a text, and has no text for its first answer")
    if text != value:
        meta[name] = value
    return answer_turn(text, record, meta)


def _calls(value: Any) -> str | None:
    """A list of calls, or the JSON text of one, in OpenAI's shape."""
    try:
        calls = orjson.loads(value) if isinstance(value, str) else value
        if isinstance(calls, list) and calls and all(isinstance(call, dict) and "name" in call for call in calls):
            return calls_of_text(orjson.dumps(calls).decode())
    except (ValueError, orjson.JSONEncodeError):
        pass
    return None


def _first(value: Any) -> str | None:
    """The answer itself, or the first of a list, or of SQuAD's {"text": [...]}."""
    if isinstance(value, dict):
        value = value.get("text", value.get("value"))
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) else None
