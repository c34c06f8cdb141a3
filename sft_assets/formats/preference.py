"""Preference pairs: one prompt, a chosen and a rejected answer.

    explicit   {"prompt": "Name a prime.", "chosen": "7", "rejected": "9"}
    ShareGPT   {"conversations": [{"from": "human", "value": "Name a prime."}],
                "chosen": {"from": "gpt", "value": "7"}, "rejected": {"from": "gpt", "value": "9"}}

The prompt is a text, a list of turns, or Alpaca's columns; an answer is a text, a turn, or a list of turns, which may repeat
the prompt (UltraFeedback). The chosen answer ends `messages`; `rejected` holds the other one.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import alpaca
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, first_string, kind_of, read_turns, rest, text_field, tools_text
from sft_assets.record import BadRecord, Conversation, Message

NAME = "preference"
COLUMNS = {"query": "input"}
PAIRS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"), ("preferred_output", "non_preferred_output"))
TURNS = ("conversations", "conversation", "messages")
PROMPT = ("prompt", "question", "instruction")
TELLING = frozenset((*TURNS, *(name for pair in PAIRS for name in pair)))
USED = frozenset(
    (*(n for pair in PAIRS for n in pair), *TURNS, *PROMPT, *LABELS, "input", "context", "system", "history", "tools")
)


def matches(record: dict[str, Any]) -> bool:
    pair = _pair(record)
    if pair is None:
        return False
    has_prompt = any(k in record for k in (*TURNS, *PROMPT)) or isinstance(record.get("input"), dict)
    return has_prompt or all(isinstance(record[name], list) for name in pair)


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    return next((p for p in PAIRS if p[0] in record and p[1] in record), None)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    pair = _pair(record)
    if pair is None:
        raise BadRecord("wrong_type", "chosen or rejected is missing")
    meta = rest(record, USED, alpaca.INPUT)
    prompt, used = _prompt(record, meta)
    chosen, rejected = (_answer(record[name], name, meta) for name in pair)
    if prompt:
        if prompt[0].role != "system" and chosen[0].role == "system" and chosen[0] == rejected[0]:
            prompt.insert(0, chosen[0])
        chosen, rejected = (_without(prompt, answer) for answer in (chosen, rejected))
        _check_answers(chosen, rejected)
    while len(chosen) > 1 and len(rejected) > 1 and chosen[0] == rejected[0]:  # what transcripts have in common is prompt too
        prompt.append(chosen.pop(0))
        rejected.pop(0)
    _check_answers(chosen, rejected)
    _check_prompt(prompt)
    inside = record["input"] if "input" in used and isinstance(record.get("input"), dict) else {}
    for name in sorted(USED - used - {*pair, "tools", *LABELS}):
        if record.get(name) not in (None, ""):
            meta[name] = record[name]
    if more := {k: v for k, v in inside.items() if k not in ("messages", "tools")}:
        meta["input"] = more
    return [
        Conversation(
            [*prompt, *chosen],
            kind="preference",
            rejected=rejected,
            tools=tools_text(record.get("tools") or inside.get("tools")),
            language=first_string(record, "language", "lang"),
            license=first_string(record, "license"),
            meta=meta,
        )
    ]


def _check_answers(chosen: list[Message], rejected: list[Message]) -> None:
    if chosen == rejected:
        raise BadRecord("identical_pair", "chosen and rejected are the same text")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if answer[0].role != "assistant":
            detail = f"{name} goes on with a turn of {answer[0].role}: it does not repeat the prompt as it stands"
            raise BadRecord("prompts_differ", detail)


def _check_prompt(prompt: list[Message]) -> None:
    if not prompt:
        raise BadRecord("no_prompt", "chosen and rejected do not begin with the same turns, and there is no prompt")
    if prompt[-1].role == "assistant":
        raise BadRecord("answered_prompt", "the prompt ends in a turn of assistant, so chosen and rejected answer nothing")


def _prompt(record: dict[str, Any], meta: dict[str, Any]) -> tuple[list[Message], set[str]]:
    """The turns before the answers, and the fields that they were made of."""
    system = text_field(record, "system")
    for name in TURNS:
        if record.get(name) is not None:
            turns = read_turns(record[name], meta, name)
            if system and turns[0].role != "system":
                turns.insert(0, Message("system", system))
            return turns, {name, "system"} if system == turns[0].content else {name}
    if isinstance(openai := record.get("input"), dict) and "messages" in openai:
        return read_turns(openai["messages"], meta, "input"), {"input"}
    if isinstance(record.get("instruction"), str):
        return alpaca.prompt(record), {"instruction", "input", "context", "system", "history"}
    for name in ("prompt", "question"):
        value = record.get(name)
        if isinstance(value, list):
            return read_turns(value, meta, name), {name}
        if value is not None:
            text = text_field(record, name) or ""
            before = [Message("system", system)] if system else []
            for question, answer in alpaca.history(record.get("history")):
                before += [Message("user", question), Message("assistant", answer)]
            return [*before, Message("user", text)], {name, "system", "history"}
    return [], set()


def _answer(value: Any, name: str, meta: dict[str, Any]) -> list[Message]:
    if isinstance(value, str):
        return [Message("assistant", value)]
    if not isinstance(value, (dict, list)):
        raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not a text or turns")
    return read_turns(value, meta, name)


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
