"""ChatGPT's export, conversations.json: a conversation as a tree of messages, of which one path is shown.

    {"title": "Cheese", "create_time": 1700000000.1, "current_node": "c", "mapping": {
        "a": {"id": "a", "message": null, "parent": null, "children": ["b"]},
        "b": {"id": "b", "parent": "a", "children": ["c"], "message": {"author": {"role": "user"},
              "content": {"content_type": "text", "parts": ["What is cheese in German?"]}}},
        "c": {"id": "c", "parent": "b", "children": [], "message": {"author": {"role": "assistant"},
              "content": {"content_type": "text", "parts": ["Käse."]}}}}}

The row is the path to `current_node`, without messages that say nothing. What the assistant tells a tool is a tool call, its
thoughts are the reasoning of its next turn. The other branches, and times and settings of single messages, stay in raw only.
"""

from __future__ import annotations

from typing import Any

import orjson

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, calls_of_text, conversation, kind_of, read_turns, rest
from sft_assets.record import BadRecord, Conversation

NAME = "chatgpt_export"
COLUMNS = {"messages": "mapping"}
TELLING = frozenset(("mapping",))
USED = frozenset(("mapping", "tools", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    nodes = record.get("mapping")
    return isinstance(nodes, dict) and bool(nodes) and all(isinstance(n, dict) and "message" in n for n in nodes.values())


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    nodes = record.get("mapping")
    if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
        raise BadRecord("wrong_type", f"mapping is {kind_of(nodes)}, not an object of messages")
    meta = rest(record, USED)
    turns: list[dict[str, Any]] = []
    thoughts: list[str] = []
    for node in _path(nodes, record.get("current_node")):
        if (turn := _turn(node.get("message"), thoughts)) is not None:
            turns.append(turn)
    return [conversation(record, read_turns(turns, meta, "mapping"), meta)]


def _path(nodes: dict[str, Any], leaf: Any) -> list[dict[str, Any]]:
    """The nodes from the first message to `leaf`, or to the last node where the export names none."""
    here = leaf if isinstance(leaf, str) and leaf in nodes else next(reversed(nodes), None)
    path: list[dict[str, Any]] = []
    while isinstance(here, str) and here in nodes:
        if len(path) == len(nodes):
            raise BadRecord("wrong_type", "the messages of mapping are each other's parents: they form a circle")
        path.append(nodes[here])
        here = nodes[here].get("parent")
    return path[::-1]


def _turn(message: Any, thoughts: list[str]) -> dict[str, Any] | None:
    """A message as a turn with a role and a content; None where it says nothing. Thoughts wait for the turn they led to."""
    content = message.get("content") if isinstance(message, dict) else None
    author = message.get("author") if isinstance(message, dict) else None
    if not isinstance(content, dict) or not isinstance(author, dict):
        return None
    if isinstance(found := content.get("thoughts"), list):
        thoughts += [
            thought["content"] for thought in found if isinstance(thought, dict) and isinstance(thought.get("content"), str)
        ]
        return None
    said = content.get("parts", content.get("text", content.get("result")))
    if not said or said == [""]:
        return None
    turn = {"role": author.get("role"), "content": said}
    if turn["role"] == "assistant":
        if isinstance(tool := message.get("recipient"), str) and tool != "all":
            turn |= {"content": "", "tool_calls": _call(tool, said)}
        if thoughts:
            turn["reasoning"] = "\n\n".join(thoughts)
            thoughts.clear()
    elif turn["role"] == "tool" and isinstance(author.get("name"), str):
        turn["name"] = author["name"]
    return turn


def _call(tool: str, said: Any) -> str:
    text = said if isinstance(said, str) else "\n".join(part for part in said if isinstance(part, str))
    try:
        arguments = orjson.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {"input": text}
    return calls_of_text(orjson.dumps([{"name": tool, "arguments": arguments}]).decode())
