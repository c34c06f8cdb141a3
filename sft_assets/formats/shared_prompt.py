"""The prompt that a record's answers share: what preference pairs and rated answers have in common.

{"prompt": "Name a prime.", "system": "Be brief.", ...}             a text, with what alpaca has beside it
{"prompt": "\\n\\nHuman: Name a prime.\\n\\nAssistant:", ...}           a transcript that ends where an answer is to follow
{"conversations": [{"from": "human", "value": "Name a prime."}], ...}     turns
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sft_assets.formats import alpaca
from sft_assets.formats.templates import turns_of
from sft_assets.formats.turns import SYSTEM, read_turns, system_turns, text_field
from sft_assets.record import Message

TURNS = ("conversations", "conversation", "messages")
TEXTS = ("prompt", "question", "query", "input")
NAMES = frozenset((*TURNS, *TEXTS, *SYSTEM, "instruction", "context", "history"))


class Prompt(NamedTuple):
    """The turns before the answers, the fields that they were made of, and whether they were cut from a transcript."""

    turns: list[Message]
    used: frozenset[str] = frozenset()
    transcript: bool = False


def read_prompt(record: dict[str, Any], meta: dict[str, Any]) -> Prompt:
    """The prompt; no turns where the record has none of its own.

    Raises:
        BadRecord: wrong_type, no_turns, unknown_role.
    """
    for name in TURNS:
        if record.get(name) is not None:
            extra: dict[str, Any] = {}
            turns = read_turns(record[name], extra, name)
            if turns[-1].role != "assistant":  # else it is the chosen conversation once more (UltraFeedback)
                meta |= extra
                return Prompt(_with_system(turns, record, meta), frozenset((name, *SYSTEM)))
    if isinstance(openai := record.get("input"), dict) and "messages" in openai:
        return Prompt(read_turns(openai["messages"], meta, "input"), frozenset(("input",)))
    if isinstance(record.get("instruction"), str):
        used = {"instruction", "history", *SYSTEM} | {name for name in alpaca.INPUT if _is_first_input(record, name)}
        return Prompt(alpaca.prompt(record, meta), frozenset(used))
    for name in sorted(TEXTS, key=lambda name: record.get(name) == ""):  # an empty one only where there is no other
        value = record.get(name)
        if isinstance(value, list):
            return Prompt(_with_system(read_turns(value, meta, name), record, meta), frozenset((name, *SYSTEM)))
        if value is not None and (name != "input" or isinstance(value, str)):
            text = text_field(record, name) or ""
            found = turns_of(text, labels=False)
            if found and found.unanswered:
                return Prompt(_with_system(found.messages, record, meta), frozenset((name, *SYSTEM)), transcript=True)
            before = alpaca.before(record, meta)
            return Prompt([*before, Message("user", text)], frozenset((name, "history", *SYSTEM)))
    return Prompt([])


def _is_first_input(record: dict[str, Any], name: str) -> bool:
    return name == next((n for n in alpaca.INPUT if record.get(n) not in (None, "")), None)


def _with_system(turns: list[Message], record: dict[str, Any], meta: dict[str, Any]) -> list[Message]:
    before = system_turns(record, meta)
    if turns[0].role != "system":
        return [*before, *turns]
    if before and before[0].content != turns[0].content:
        meta["system"] = before[0].content
    return turns
