"""Preference pairs: one prompt, a chosen and a rejected answer.

    explicit     {"prompt": "Name a prime.", "chosen": "7", "rejected": "9"}
    ShareGPT     {"conversations": [{"from": "human", "value": "Name a prime."}],
                  "chosen": {"from": "gpt", "value": "7"}, "rejected": {"from": "gpt", "value": "9"}}
    transcripts  {"chosen": "\\n\\nHuman: A prime?\\n\\nAssistant: 7", "rejected": "\\n\\nHuman: A prime?\\n\\nAssistant: 9"}

The prompt is a text, a list of turns, or Alpaca's columns; an answer is a text, a turn, or a list of turns, which may repeat
the prompt (UltraFeedback). Where there is no prompt it is what both conversations begin with. The chosen answer ends
`messages`; `rejected` holds the other one.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import alpaca
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.shared_prompt import NAMES, TEXTS, TURNS, Prompt, read_prompt
from sft_assets.formats.templates import turns_of
from sft_assets.formats.turns import LABELS, conversation, kind_of, read_turns, rest, text_field, tools_text
from sft_assets.record import BadRecord, Conversation, Message

NAME = "preference"
COLUMNS = {"query": "input"}
PAIRS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"), ("preferred_output", "non_preferred_output"))
LOOSE_PAIRS = (  # names that mean answers only where they hold some
    ("chosen_response", "rejected_response"),
    ("accepted", "rejected"),
    ("preferred", "dispreferred"),
    ("better", "worse"),
)
PROMPT = ("instruction", *TURNS, *TEXTS[:-1])  # `input` alone may be a measurement
PAIR_NAMES = tuple(dict.fromkeys(name for pair in (*PAIRS, *LOOSE_PAIRS) for name in pair))
ANSWER = ("content", "value", "text", "response")  # the text of an answer that is an object without a role
WINNERS = frozenset(winner for winner, _ in (*PAIRS, *LOOSE_PAIRS))
TELLING = frozenset((*TURNS, *PAIR_NAMES))
USED = NAMES | frozenset((*PAIR_NAMES, *LABELS, "tools"))


def matches(record: dict[str, Any]) -> bool:
    if WINNERS.isdisjoint(record):
        return False
    pair = _pair(record)
    if pair is None:
        return False
    if any(name in record for name in PROMPT) or isinstance(record.get("input"), (str, dict)):
        return True
    answers = [record[name] for name in pair]
    return all(isinstance(a, list) for a in answers) or all(isinstance(a, str) and turns_of(a) for a in answers)


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    for pair in PAIRS:
        if pair[0] in record and pair[1] in record:
            return pair
    return next((p for p in LOOSE_PAIRS if all(isinstance(record.get(name), (str, list, dict)) for name in p)), None)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The pair of a record.

    Raises:
        BadRecord: wrong_type, no_turns, unknown_role, no_prompt, answered_prompt, prompts_differ, identical_pair.
    """
    pair = _pair(record)
    if pair is None:
        raise BadRecord("wrong_type", "chosen or rejected is missing")
    meta = rest(record, USED, alpaca.INPUT)
    asked = read_prompt(record, meta)
    chosen, rejected = (answer(record[name], name, meta, asked) for name in pair)
    inside = record["input"] if "input" in asked.used and isinstance(record["input"], dict) else {}
    for name in sorted(USED - asked.used - {*pair, "tools", *LABELS}):
        if record.get(name) not in (None, ""):
            meta[name] = record[name]
    if more := {k: v for k, v in inside.items() if k not in ("messages", "tools")}:
        meta["input"] = more
    messages, other = paired(asked.turns, chosen, rejected)
    row = conversation(record, messages, meta, kind="preference")
    row.rejected = other
    row.tools = row.tools or tools_text(inside.get("tools"))
    return [row]


def paired(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message]]:
    """The conversation that ends with the chosen answer, and the rejected answer. Answers may repeat the prompt; what they
    have in common at their beginning is prompt too.

    Raises:
        BadRecord: no_prompt, answered_prompt, prompts_differ, identical_pair.
    """
    prompt = list(prompt)
    if prompt:
        if prompt[0].role != "system" and chosen[0].role == "system" and chosen[0] == rejected[0]:
            prompt.insert(0, chosen[0])
        chosen, rejected = (_without(prompt, answer) for answer in (chosen, rejected))
        _check_answers(chosen, rejected)
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and chosen[common] == rejected[common]:
        common += 1
    prompt += chosen[:common]
    chosen, rejected = chosen[common:], rejected[common:]
    _check_answers(chosen, rejected)
    if not prompt:
        raise BadRecord("no_prompt", "chosen and rejected do not begin with the same turns, and there is no prompt")
    if prompt[-1].role == "assistant":
        raise BadRecord("answered_prompt", "the prompt ends in a turn of assistant, so chosen and rejected answer nothing")
    return [*prompt, *chosen], rejected


def _check_answers(chosen: list[Message], rejected: list[Message]) -> None:
    if chosen == rejected:
        raise BadRecord("identical_pair", "chosen and rejected are the same text")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if answer[0].role != "assistant":
            detail = f"{name} goes on with a turn of {answer[0].role}: it does not repeat the prompt as it stands"
            raise BadRecord("prompts_differ", detail)


def answer(value: Any, name: str, meta: dict[str, Any], asked: Prompt) -> list[Message]:
    """The turns of an answer to a prompt.

    Raises:
        BadRecord: wrong_type, no_turns, unknown_role.
    """
    if isinstance(value, str):
        return _answer_of_text(value, asked)
    if not isinstance(value, (dict, list)):
        raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not a text or turns")
    if isinstance(value, dict) and not {"role", "from"} & value.keys():
        text = text_field(value, *ANSWER)
        if text is None:
            raise BadRecord("wrong_type", f"{name} is an object that holds no text: none of {', '.join(ANSWER)} is there")
        if more := {k: v for k, v in value.items() if v != text}:
            meta[f"{name}_extra"] = {"1": more}
        return [Message("assistant", text)]
    return read_turns(value, meta, name)


def _answer_of_text(text: str, asked: Prompt) -> list[Message]:
    """A text is the answer itself, or a transcript: one that repeats the prompt, or any where there is no prompt."""
    found = turns_of(text, labels=not asked.turns)
    if found:
        turns = [*found.messages, Message("assistant", "")] if found.unanswered else found.messages
        if not asked.turns or len(_without(asked.turns, turns)) < len(turns):
            return turns
    return [Message("assistant", text.removeprefix(" ") if asked.transcript else text)]


def _without(prompt: list[Message], answer: list[Message]) -> list[Message]:
    """An answer that repeats the prompt, without it."""
    turns = [(m.role, m.content) for m in prompt]
    for known in (turns, [t for t in turns if t[0] != "system"]):
        if len(answer) > len(known) and [(m.role, m.content) for m in answer[: len(known)]] == known:
            return answer[len(known) :]
    return answer


def write(row: Conversation) -> dict[str, list[Message]]:
    """The three parts of TRL's explicit form: prompt, chosen, rejected.

    Where the chosen answer begins is not stored: it is taken to have the rejected one's sequence of roles, else to begin after
    the last user turn.
    """
    messages, rejected = row.messages, row.rejected or []
    start = len(messages) - len(rejected)
    if start < 1 or [m.role for m in messages[start:]] != [m.role for m in rejected]:
        start = 1 + max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    return {"prompt": messages[:start], "chosen": messages[start:], "rejected": rejected}
