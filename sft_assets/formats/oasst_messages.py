"""OpenAssistant's flat form: a record for each message, which names the message that it replies to.

    {"message_id": "6ab2...", "parent_id": null, "text": "Name a prime.", "role": "prompter", "lang": "en", "rank": null,
     "message_tree_id": "6ab2..."}
    {"message_id": "c4d1...", "parent_id": "6ab2...", "text": "7", "role": "assistant", "lang": "en", "rank": 0,
     "message_tree_id": "6ab2..."}

The records of one tree are read together (`assemble`). A conversation stands for the record of its last message; the records
of its other messages, and those beside its path, are dropped with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.oasst_tree import node_of
from sft_assets.formats.trees import Node, conversations, path_to, walk
from sft_assets.formats.turns import first_string
from sft_assets.record import BadRecord, Conversation

NAME = "oasst_messages"
COLUMNS: dict[str, str] = {}
TELLING: frozenset[str] = frozenset()
GROUP = "message_tree_id"
USED = frozenset(("message_id", "parent_id", "text", "role", GROUP))
IN_CONVERSATION = "in_conversation"  # its text is part of the row of another record
OTHER_PATH = "other_path"  # it is beside the best path, deleted, or a question that nobody answered


def matches(record: dict[str, Any]) -> bool:
    return all(name in record for name in ("message_id", "parent_id", "text", "role"))


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    raise BadRecord("no_turns", "a message alone is no conversation: the messages of its tree are read together")


def assemble(records: Sequence[dict[str, Any]], hints: Hints = NONE) -> list[list[Conversation] | BadRecord | str]:
    """What becomes of each record: the conversations whose last message it is, why it is none, or why it is left out.

    The BadRecords' reasons: wrong_type, unknown_role, repeated_id, orphan (a message above it is not there), cycle.
    """
    outcomes: list[list[Conversation] | BadRecord | str] = [OTHER_PATH] * len(records)
    nodes: dict[str, Node] = {}
    numbers: dict[Node, int] = {}
    for number, record in enumerate(records):
        try:
            node = _node(record, nodes)
        except BadRecord as bad:
            outcomes[number] = bad
            continue
        nodes[node.id] = node
        numbers[node] = number
    roots = _link(records, nodes, numbers, outcomes)
    for root in roots:
        record = records[numbers[root]]
        tree = record.get(GROUP)
        language = first_string(record, "lang", "language")
        for row in conversations(root, hints.paths, language, {GROUP: tree} if tree is not None else {}):
            end = nodes[row.path]
            for node in path_to(end)[:-1]:
                outcomes[numbers[node]] = IN_CONVERSATION
            outcomes[numbers[end]] = [row]
    return outcomes


def _node(record: dict[str, Any], known: dict[str, Node]) -> Node:
    name = record.get("message_id")
    if not isinstance(name, str) or not name:
        raise BadRecord("wrong_type", "message_id is no text")
    if name in known:
        raise BadRecord("repeated_id", f"another message of the tree has the message_id {name}")
    if record.get("role") is None:
        raise BadRecord("unknown_role", f"message {name} has no role")
    return node_of(record, name, None)


def _link(
    records: Sequence[dict[str, Any]],
    nodes: dict[str, Node],
    numbers: dict[Node, int],
    outcomes: list[list[Conversation] | BadRecord | str],
) -> list[Node]:
    """Put each message under the one that it replies to; the messages that reply to none."""
    roots, orphans = [], []
    for node, number in numbers.items():
        above = records[number].get("parent_id")
        if above is None or above == "":
            roots.append(node)
        elif isinstance(above, str) and above in nodes:
            node.parent = nodes[above]
            node.parent.children.append(node)
        else:
            orphans.append(node)
    under_orphans = {node for orphan in orphans for node in walk(orphan, deleted=True)}
    reached = {node for root in roots for node in walk(root, deleted=True)} | under_orphans
    for node, number in numbers.items():
        if node in under_orphans:
            outcomes[number] = BadRecord("orphan", f"the message above {path_to(node)[0].id} is not there")
        elif node not in reached:
            outcomes[number] = BadRecord("cycle", f"the messages above {node.id} lead back to it")
    return roots
