"""MOSS (Sun et al. 2023): numbered turns of texts between marks, with inner thoughts and commands to tools.

    {"meta_instruction": "MOSS is an AI assistant ...\\n", "num_turns": 1, "chat": {"turn_1": {
        "Human": "<|Human|>: Who wrote Emma?<eoh>\\n",
        "Inner Thoughts": "<|Inner Thoughts|>: I should search.<eot>\\n",
        "Commands": "<|Commands|>: Search(\\"author of Emma\\")<eoc>\\n",
        "Tool Responses": "<|Results|>: Search(\\"author of Emma\\") => Jane Austen<eor>\\n",
        "MOSS": "<|MOSS|>: Jane Austen wrote it.<eom>\\n"}}}

The marks are taken off; "None" between them is nothing. Thoughts become the reasoning of the assistant's next turn, commands
its tool calls, with the argument as `input`.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, SYSTEM, calls_of_text, conversation, kind_of, rest, system_turns
from sft_assets.record import BadRecord, Conversation, Message

NAME = "moss"
COLUMNS: dict[str, str] = {"messages": "chat", "system": "meta_instruction"}
TELLING = frozenset(("chat",))
USED = frozenset((*SYSTEM, "chat", "tools", *LABELS))
PARTS = ("Human", "Inner Thoughts", "Commands", "Tool Responses", "MOSS")
MARKED = re.compile(r"\s*(?:<\|[\w ]+\|>:)?\s*(.*?)\s*(?:<eo[a-z]>)?\s*", re.DOTALL)
COMMAND = re.compile(r'(\w+)\("((?:[^"\\]|\\.)*)"\)')
COMMANDS = re.compile(rf"{COMMAND.pattern}(?:\s*,\s*{COMMAND.pattern})*")


def matches(record: dict[str, Any]) -> bool:
    chat = record.get("chat")
    return isinstance(chat, dict) and bool(chat) and all(isinstance(turn, dict) and "MOSS" in turn for turn in chat.values())


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    chat = record.get("chat")
    if not isinstance(chat, dict) or not chat:
        raise BadRecord("wrong_type", f"chat is {kind_of(chat)}, not an object of turns")
    meta = rest(record, USED)
    turns = system_turns(record, meta)
    for name in sorted(chat, key=_number):
        if not isinstance(chat[name], dict):
            raise BadRecord("wrong_type", f"{name} of chat is {kind_of(chat[name])}, not an object")
        turns += _turns(chat[name], name)
        if more := {part: value for part, value in chat[name].items() if part not in PARTS}:
            meta.setdefault("chat_extra", {})[name] = more
    return [conversation(record, turns, meta)]


def _number(name: str) -> int:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else 0


def _turns(turn: dict[str, Any], name: str) -> list[Message]:
    asked, thoughts, commands, results, answer = (_unmarked(turn.get(part), f"{part} of {name}") for part in PARTS)
    thoughts, commands, results = (None if text in ("None", "") else text for text in (thoughts, commands, results))
    turns = [Message("user", asked or "")]
    if commands:
        turns += [Message("assistant", "", tool_calls=_calls(commands), reasoning=thoughts), Message("tool", results or "")]
        thoughts = None
    return [*turns, Message("assistant", answer or "", reasoning=thoughts)]


def _unmarked(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRecord("wrong_type", f"{place} is {kind_of(value)}, not text")
    found = MARKED.fullmatch(value)
    return found[1] if found else value


def _calls(commands: str) -> str:
    """`Search("a"), Calculate("1+1")` as calls; what is written in another way is kept whole, as a call without a name."""
    if not COMMANDS.fullmatch(commands):
        return calls_of_text(commands)
    calls = [{"name": name, "arguments": {"input": text}} for name, text in COMMAND.findall(commands)]
    return calls_of_text(orjson.dumps(calls).decode())
