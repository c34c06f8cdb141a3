"""Gemini: contents of parts, as its API and its tuning jobs have them.

    {"systemInstruction": {"parts": [{"text": "Be brief."}]},
     "contents": [{"role": "user", "parts": [{"text": "Rain in Rome?"}]},
                  {"role": "model", "parts": [{"functionCall": {"name": "rain", "args": {"city": "Rome"}}}]},
                  {"role": "user", "parts": [{"functionResponse": {"name": "rain", "response": {"mm": 3}}}]},
                  {"role": "model", "parts": [{"text": "Yes, 3 mm."}]}],
     "tools": [{"functionDeclarations": [...]}]}

A request that nobody answered is a prompt.
"""

from __future__ import annotations

from typing import Any

import orjson

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, calls_of_text, conversation, kind_of, read_turns, rest
from sft_assets.record import BadRecord, Conversation

NAME = "gemini"
COLUMNS = {"messages": "contents", "system": "systemInstruction"}
SYSTEM = ("systemInstruction", "system_instruction")
CALL, RESULT = ("functionCall", "function_call"), ("functionResponse", "function_response")
TELLING = frozenset(("contents",))
USED = frozenset((*SYSTEM, "contents", "tools", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    contents = record.get("contents")
    return isinstance(contents, list) and bool(contents) and isinstance(contents[0], dict) and "parts" in contents[0]


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    contents = record.get("contents")
    if not isinstance(contents, list):
        raise BadRecord("wrong_type", f"contents is {kind_of(contents)}, not a list of turns")
    meta = rest(record, USED, SYSTEM)
    system = next((record[name] for name in SYSTEM if record.get(name)), None)
    turns = [turn for content in contents for turn in _turns(content)]
    if system is not None:
        turns[:0] = [turn | {"role": "system"} for turn in _turns(system) if isinstance(turn, dict)] or [system]
    messages = read_turns(turns, meta, "contents")
    answered = messages[-1].role == "assistant"
    return [conversation(record, messages, meta, kind="sft" if answered else "prompt")]


def _turns(content: Any) -> list[Any]:
    """A content as turns with a role and a content: what its parts say, what they call, and each result a turn of its own."""
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    if not isinstance(content, dict):
        return [content]
    parts = content.get("parts")
    parts = [parts] if isinstance(parts, dict) else parts if isinstance(parts, list) else []
    calls, results = _of(parts, CALL), _of(parts, RESULT)
    said = [
        part for part in parts if not isinstance(part, dict) or not any(isinstance(part.get(n), dict) for n in (*CALL, *RESULT))
    ]
    turns: list[Any] = [{"role": "tool", "name": r.get("name"), "content": _json(r.get("response"))} for r in results]
    if said or calls or not results:
        turn = {"role": "user"} | {name: value for name, value in content.items() if name != "parts"} | {"content": said}
        if calls:
            turn["tool_calls"] = calls_of_text(_json([{"name": c.get("name"), "arguments": c.get("args", {})} for c in calls]))
        turns.append(turn)
    return turns


def _of(parts: list[Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [part[name] for part in parts if isinstance(part, dict) for name in names if isinstance(part.get(name), dict)]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
