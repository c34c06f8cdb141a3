"""Lists of turns of other shapes, as lists of objects with a role and a content.

["Hi", "Hello"]                             texts of user and assistant in turn (LIMA, UltraChat, DailyDialog)
[{"input": "Hi", "output": "Hello"}]        one object an exchange (Capybara)
[{"user": "Hi"}, {"assistant": "Hello"}]    the role as the key
[["user", "Hi"], ["assistant", "Hello"]]    role and text as a list
[["Hi", "Hello"]]                           one list an exchange
[{"sender": "human", "text": "Hi"}]         other names of the keys
    -> [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

SPEAKERS: Mapping[str, tuple[str, ...]] = {
    "system": ("system", "developer", "系统"),
    "user": ("user", "human", "prompter", "用户", "人类"),
    "assistant": (
        *("assistant", "gpt", "chatgpt", "bard", "bing", "bot", "chatbot", "model", "ai", "claude", "gemini", "moss"),
        *("助手", "机器人"),
    ),
    "function_call": ("function_call", "tool_call"),
    "tool": (
        *("tool", "observation", "function", "function_response", "function_result", "tool_response", "tool_result"),
        "ipython",
    ),
}
ROLES: Mapping[str, str] = {name: role for role, names in SPEAKERS.items() for name in names}
ROLE_KEYS = ("role", "from", "sender", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "parts")
EXCHANGES = (
    ("input", "output"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("human", "bot"),
    ("human", "moss"),
    ("user", "assistant"),
    ("user", "bot"),
    ("user", "gpt"),
    ("user", "model"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("prompt", "output"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("q", "a"),
)


def role_of(said: Any) -> str | None:
    """Our name of a role; None if it is not known."""
    if not isinstance(said, str):
        return None
    return ROLES.get(said) or ROLES.get(said.strip().rstrip(":").lower().replace("-", "_").replace(" ", "_"))


def are_turns(value: Any) -> bool:
    """Whether a value has the shape of a list of turns, from its first one."""
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if isinstance(first, dict):
        return not {"role", "from"}.isdisjoint(first) or _says_something(objects_of(first)[0])
    return _is_pair(first) or are_texts(value)


def are_surely_turns(value: Any, exchanges: bool = True) -> bool:
    """The same for a place where lists of another kind may stand: the first turn has a role that is known. `exchanges`: it may
    be a whole exchange, such as {"question": ..., "answer": ...}, which elsewhere is a record of its own."""
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if isinstance(first, dict):
        turn = objects_of(first)[0] if exchanges else as_turn(first)
        return role_of(turn.get("role") or turn.get("from")) is not None and _says_something(turn)
    return _is_pair(first) and role_of(first[0]) is not None


def are_texts(value: Any) -> bool:
    """Whether it is a list of two texts or more."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(text, str) for text in value)


def _says_something(turn: dict[str, Any]) -> bool:
    return isinstance(turn.get("role"), str) and not {"content", "value", "tool_calls", "function_call"}.isdisjoint(turn)


def as_objects(turns: list[Any]) -> list[Any]:
    """The turns as objects. What is no turn of a known shape stays as it is, for the reader to complain of."""
    if all(isinstance(turn, str) for turn in turns):
        return [{"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), turns)]
    if all(_is_pair(turn) for turn in turns):
        if all(role_of(turn[0]) for turn in turns):
            return [{"role": role, "content": text} for role, text in turns]
        return [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
            if text is not None
        ]
    objects: list[Any] = []
    for turn in turns:
        objects += objects_of(turn, first=not objects) if isinstance(turn, dict) else [turn]
    return objects


def _is_pair(turn: Any) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and isinstance(turn[0], str) and isinstance(turn[1], (str, type(None)))


def objects_of(turn: dict[str, Any], first: bool = True) -> list[dict[str, Any]]:
    """An object as one turn or, where it holds an exchange, as two, or three where it is the first and has a system prompt.
    What else an exchange says goes with its answer."""
    keys = {key.lower(): key for key in turn}
    if keys.keys().isdisjoint(ROLE_KEYS) and "content" not in turn:
        if len(turn) == 1 and role_of(key := next(iter(turn))):
            return [{"role": key, "content": turn[key]}]
        for question, answer in EXCHANGES:
            if question in keys and answer in keys:
                parts = {keys[question]: "user", keys[answer]: "assistant"}
                if first and "system" in keys:
                    parts = {keys["system"]: "system"} | parts
                return _exchange(turn, parts)
    return [as_turn(turn)]


def _exchange(turn: dict[str, Any], parts: Mapping[str, str]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": role, "content": turn[key]} for key, role in parts.items() if turn[key] is not None]
    if said:
        said[-1] |= {key: value for key, value in turn.items() if key not in parts}
    return said or [turn]


def as_turn(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn with the keys `role` and `content`, where it has others for them."""
    keys = {key.lower(): key for key in turn}
    turn = dict(turn)
    for ours, names in (("role", ROLE_KEYS), ("content", CONTENT_KEYS)):
        theirs = next((keys[name] for name in names if name in keys and turn[keys[name]] is not None), None)
        if theirs is None or turn.get(ours) is not None:
            continue
        value = turn.pop(theirs)
        if isinstance(value, dict) and "role" in value:  # {"author": {"role": "user", "name": null}}
            if more := {k: v for k, v in value.items() if k != "role" and v is not None}:
                turn[theirs] = more
            value = value["role"]
        turn[ours] = value
    return turn
