"""Tool calls as chat templates write them into the assistant's text.

Glaive    <functioncall> {"name": "get_rate", "arguments": '{"from": "USD"}'}
Mistral   [TOOL_CALLS] [{"name": "get_rate", "arguments": {"from": "USD"}, "id": "a1b2c3d4e"}]
Llama 3   <|python_tag|>{"name": "get_rate", "parameters": {"from": "USD"}}
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MARKS = (("<functioncall>", ""), ("[TOOL_CALLS]", ""), ("<|python_tag|>", ""), ("<|python_start|>", "<|python_end|>"))
QUOTED = re.compile(r"""("arguments"\s*:\s*)'(.*)'(\s*\}\s*)\Z""", re.DOTALL)  # JSON but for Glaive's single quotes


def split_calls(content: str) -> tuple[str, str | None]:
    """The assistant's text before its calls, and the calls as JSON in OpenAI's shape.

    The text stays whole, with None, where it has no calls or none that can be parsed.
    """
    for mark, end in MARKS:
        before, found, after = content.partition(mark)
        if found and (calls := _calls(after.strip().removesuffix(end))):
            return before.rstrip(), orjson.dumps(calls).decode()
    return content, None


def _calls(text: str) -> list[dict[str, Any]] | None:
    try:
        value = orjson.loads(QUOTED.sub(lambda m: m[1] + orjson.dumps(m[2]).decode() + m[3], text))
    except ValueError:
        return None
    calls = []
    for call in value if isinstance(value, list) else [value]:
        if not (isinstance(call, dict) and isinstance(call.get("name"), str)):
            return None
        arguments = call.get("arguments", call.get("parameters", {}))
        function = {k: v for k, v in call.items() if k not in ("id", "type", "parameters")} | {"arguments": arguments}
        calls.append(({"id": call["id"]} if "id" in call else {}) | {"type": "function", "function": function})
    return calls or None
