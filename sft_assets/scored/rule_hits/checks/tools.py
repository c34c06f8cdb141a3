"""Checks of tool calls: what no trainer's chat template can use, and what the conversation's tools do not have.

tool_calls  [{"type": "function", "function": {"name": "clock", "arguments": "{\"city\": \"Rome\""}}]   ->  (0, 82)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from sft_assets.scored.rule_hits.checks.turn import Span, Turn


def _calls(text: str) -> Iterator[tuple[str, Any]]:
    """Name and arguments of each call of a `tool_calls` text. What is no call has the name ""."""
    try:
        calls = orjson.loads(text)
    except ValueError:
        calls = [None]
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            yield "", None
        else:
            yield function["name"], function.get("arguments")


def broken_tool_call(turn: Turn) -> Span | None:
    """A call without a name, or whose arguments are neither an object nor the JSON text of one."""
    for name, arguments in _calls(turn.text):
        if isinstance(arguments, str) and arguments.strip():
            try:
                arguments = orjson.loads(arguments)
            except ValueError:
                return 0, len(turn.text)
        if not name.strip() or not (arguments is None or arguments == "" or isinstance(arguments, dict)):
            return 0, len(turn.text)
    return None


@lru_cache(maxsize=1024)
def _tool_names(tools: str) -> frozenset[str]:
    try:
        listed = orjson.loads(tools)
    except ValueError:
        return frozenset()
    entries = [t.get("function", t) for t in (listed if isinstance(listed, list) else [listed]) if isinstance(t, dict)]
    return frozenset(e["name"] for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str))


def unknown_tool(turn: Turn) -> Span | None:
    """A called function that `tools` does not list. Nothing can be said where `tools` lists none."""
    known = _tool_names(turn.tools) if turn.tools else frozenset()
    if not known:
        return None
    for name, _ in _calls(turn.text):
        if name and name not in known:
            start = max(turn.text.find(orjson.dumps(name).decode()), 0)
            return start, min(start + len(name) + 2, len(turn.text))
    return None
