"""Trees of messages: which paths through one are conversations.

    Name a prime.  user
    |- 7           assistant  rank 0
    |  `- Another? user
    `- 9           assistant  rank 1          best path: Name a prime. / 7          all paths: that, and Name a prime. / 9

A path ends with an answer: a last question that nobody answered is left out. Deleted messages are passed over, with all
that was said below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from sft_assets.record import Conversation, Message


@dataclass(eq=False)
class Node:
    """A message of a tree. `said`: what else its record says. `id`: its message_id, or its place in the tree ("0.2")."""

    id: str
    role: str
    text: str
    rank: float | None = None
    deleted: bool = False
    said: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None


def conversations(root: Node, paths: Literal["best", "all"], language: str | None, meta: dict[str, Any]) -> list[Conversation]:
    """A row for the best path, or for each; none where the root is deleted. A tree without an answer is a prompt."""
    if root.deleted:
        return []
    ends = [end for end in ([best_end(root)] if paths == "best" else all_ends(root)) if end]
    return [_conversation(end, language, meta) for end in ends or [root]]


def best_end(root: Node) -> Node | None:
    """The last answer on the path of the lowest ranks. Without ranks the first message of the file goes before."""
    end, there = None, [root]
    while there:
        node = min(there, key=lambda child: inf if child.rank is None else child.rank)
        if node.role == "assistant":
            end = node
        there = [child for child in node.children if not child.deleted]
    return end


def all_ends(root: Node) -> list[Node]:
    """The answers below which there is no other, in the order of the tree."""
    answered: set[Node] = set()  # messages with an answer below them
    ends = []
    for node in reversed(list(walk(root))):
        is_answer = node.role == "assistant"
        if is_answer and node not in answered:
            ends.append(node)
        if node.parent and (is_answer or node in answered):
            answered.add(node.parent)
    return ends[::-1]


def walk(root: Node, deleted: bool = False) -> Iterator[Node]:
    """A message and all below it, each before its children; without deleted ones and what is below those, if not asked for."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if deleted or not node.deleted:
            yield node
            waiting += reversed(node.children)


def path_to(node: Node) -> list[Node]:
    """From the root to a message."""
    path = [node]
    while path[-1].parent:
        path.append(path[-1].parent)
    return path[::-1]


def _conversation(end: Node, language: str | None, meta: dict[str, Any]) -> Conversation:
    path = path_to(end)
    said = {str(number): node.said for number, node in enumerate(path, 1) if node.said}
    return Conversation(
        [Message(node.role, node.text) for node in path],
        kind="sft" if end.role == "assistant" else "prompt",
        language=language,
        meta=meta | ({"messages_extra": said} if said else {}),
        path=end.id,
    )
