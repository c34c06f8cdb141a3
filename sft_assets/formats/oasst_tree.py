"""Message trees: OpenAssistant's (Köpf et al. 2023), and others whose messages hold their replies.

    {"message_tree_id": "6ab2...", "prompt": {"message_id": "6ab2...", "role": "prompter", "text": "Name a prime.",
        "replies": [{"message_id": "c4d1...", "text": "7", "role": "assistant", "rank": 0, "replies": []}, ...]}}
    {"text": "Name a prime.", "replies": [{"text": "7", "replies": []}]}

A tree gives its best-ranked path, or with `paths: all` a row for each (see trees). Where messages have no role, user and
assistant take turns.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.trees import Node, conversations
from sft_assets.formats.turns import LABELS, ROLES, first_string, kind_of
from sft_assets.record import BadRecord, Conversation

NAME = "oasst_tree"
COLUMNS: dict[str, str] = {}
REPLIES = ("replies", "children")
TEXTS = ("text", "prompt")
TELLING = frozenset(("message_tree_id", *REPLIES))
USED = frozenset(("message_tree_id", "prompt", "text", *REPLIES))
KEPT = ("rank", "labels", "synthetic", "model_name")  # what is kept of a message: the rest says nothing of the text
ONE_OF_EACH = ("assistant", "user")


def matches(record: dict[str, Any]) -> bool:
    if isinstance(root := record.get("prompt"), dict):
        return "message_tree_id" in record and isinstance(root.get("text"), str)
    replies = _replies(record)
    return _has_text(record) and isinstance(replies, list) and bool(replies) and all(map(_has_text, replies))


def _has_text(node: Any) -> bool:
    return isinstance(node, dict) and any(isinstance(node.get(name), str) for name in TEXTS)


def _name(node: dict[str, Any], names: tuple[str, ...]) -> str:
    """Which of the names this tree has for a field."""
    return next((name for name in names if node.get(name) is not None), names[0])


def _replies(node: dict[str, Any]) -> Any:
    return node.get(_name(node, REPLIES))


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The conversations of a tree.

    Raises:
        BadRecord: wrong_type, unknown_role, deleted.
    """
    inside = isinstance(record.get("prompt"), dict)
    top = record["prompt"] if inside else record
    used = ("prompt",) if inside else (_name(record, TEXTS), _name(record, REPLIES), "role", *KEPT, *LABELS)
    meta = {k: v for k, v in record.items() if k not in used}
    rows = conversations(_tree(top), hints.paths, first_string(top, "lang", "language"), meta)
    if not rows:
        raise BadRecord("deleted", "the first message of the tree was deleted")
    for row in rows:
        row.license = first_string(top, "license")
    return rows


def _tree(top: dict[str, Any]) -> Node:
    """The messages as nodes."""
    root = node_of(top, "0", None)
    waiting = [(top, root)]
    while waiting:
        record, node = waiting.pop()
        replies = _replies(record)
        if not replies:
            continue
        if not isinstance(replies, list):
            raise BadRecord("wrong_type", f"the replies of message {node.id} are {kind_of(replies)}, not a list")
        for number, reply in enumerate(replies):
            if not isinstance(reply, dict):
                raise BadRecord("wrong_type", f"a reply to message {node.id} is {kind_of(reply)}, not an object")
            child = node_of(reply, f"{node.id}.{number}", node)
            node.children.append(child)
            waiting.append((reply, child))
    return root


def node_of(record: dict[str, Any], place: str, parent: Node | None) -> Node:
    """The node of one message, without its children.

    Raises:
        BadRecord: wrong_type, unknown_role.
    """
    text = record.get(_name(record, TEXTS))
    if not isinstance(text, str):
        raise BadRecord("wrong_type", f"the text of message {place} is {kind_of(text)}, not a text")
    said = record.get("role")
    role = ONE_OF_EACH[parent is None or parent.role == "assistant"] if said is None else _role(said)
    if role is None:
        raise BadRecord("unknown_role", f"message {place} has the role {said!r}; prompter and assistant are known")
    rank = record.get("rank")
    name = record.get("message_id")
    return Node(
        name if isinstance(name, str) and name else place,
        role,
        text,
        rank if isinstance(rank, (int, float)) else None,
        record.get("deleted") is True,
        {name: _short(value) for name in KEPT if (value := record.get(name)) is not None and value is not False},
        parent=parent,
    )


def _role(said: Any) -> str | None:
    role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    return role if role in ("user", "assistant", "system") else None


def _short(value: Any) -> Any:
    """Labels as name and value: without how many people gave them. Anything else as it is."""
    if isinstance(value, dict):
        if isinstance(names := value.get("name"), list) and isinstance(values := value.get("value"), list):
            return dict(zip(map(str, names), values, strict=False))
        return {k: v["value"] if isinstance(v, dict) and "value" in v else v for k, v in value.items()}
    return value
