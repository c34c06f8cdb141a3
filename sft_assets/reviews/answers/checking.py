"""What an answer has to be to count: of an item of a queue that was made from this folder, one of its choices, by somebody.

the queue showed another text of row 9f3c6a10                     Refused("changed text", ...)
item 17 of 20260102T030405Z-1f0c22ab: an edit has the new answer  Refused("no answer", ...)
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.reviews import Decision, queue
from sft_assets.reviews.answers.answer import Answer
from sft_assets.reviews.people import written
from sft_assets.reviews.queue import Item, Queue
from sft_assets.reviews.queue.item import FILE

NAME = 200  # characters of a reviewer's name


class Refused(SftError):
    """An answer that cannot be a decision. kind: which of the reasons that are counted."""

    def __init__(self, kind: str, sentence: str):
        super().__init__(sentence)
        self.kind = kind


# ------------------------------------------------------------------------------------------------------- of which item


def queue_named(folder: Folder, name: str) -> Queue:
    """A queue by its name, read once: a queue does not change.

    Raises:
        SftError: it was not made from this folder, or is damaged.
    """
    path = folder.queues / name / FILE
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return queue.load(folder, name)  # says what is wrong
    stamp = status.st_size, status.st_mtime_ns, status.st_ino
    if path not in _queues or _queues[path][0] != stamp:
        _queues[path] = stamp, queue.load(folder, name)
    return _queues[path][1]


_queues: dict[Path, tuple[tuple[int, int, int], Queue]] = {}


def item_of(folder: Folder, name: str, number: int) -> Item:
    """An item of a queue by its number.

    Raises:
        SftError: there is none.
    """
    found = queue_named(folder, name)
    for item in found.items:
        if item.number == number:
            return item
    raise SftError(f"{name} has no item {number}; it has {len(found.items):,}")


class Queues:
    """The queues of a folder by name, as answers name them."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.found: dict[str, tuple[dict[UUID, list[Item]], dict[int, Item]]] = {}

    def item(self, one: Answer) -> Item:
        """The item that an answer is about.

        Raises:
            Refused: it is of no queue that was made from this folder.
        """
        name = one.queue.strip()
        if not name:
            raise Refused("foreign queue", "names no queue; an answer has queue, row_id and content_hash as its item has them")
        if name not in self.found:
            if name not in queue.names(self.folder):
                raise Refused(
                    "foreign queue",
                    f"queue {name!r} was not made from {self.folder}; import it where `sft review export` made it",
                )
            by_row: dict[UUID, list[Item]] = {}
            for item in (items := queue_named(self.folder, name).items):
                by_row.setdefault(item.row_id, []).append(item)
            self.found[name] = by_row, {item.number: item for item in items}
        by_row, by_number = self.found[name]
        of_row = by_row.get(row_id := _uuid("row_id", one.row_id), [])
        if not of_row:
            raise Refused("unknown row", f"row {str(row_id)[:8]} is not in the queue {name}")
        content = _uuid("content_hash", one.content_hash)
        of_text = [item for item in of_row if item.content_hash == content]
        if not of_text:
            raise Refused("changed text", f"the queue showed another text of row {str(row_id)[:8]}")
        if one.number is None:
            if len(of_text) > 1:
                raise Refused("unknown row", f"the queue asks about row {str(row_id)[:8]} twice; say which item, by its number")
            return of_text[0]
        if by_number.get(one.number) not in of_text:
            raise Refused(
                "unknown row",
                f"item {one.number} of the queue is about another row than {str(row_id)[:8]}; were some columns sorted without "
                "the others?",
            )
        return by_number[one.number]


def _uuid(field: str, given: str) -> UUID:
    try:
        return UUID(given.strip())
    except ValueError:
        said = repr(given[:60]) if given.strip() else "empty"
        kind = "unknown row" if field == "row_id" else "changed text"
        raise Refused(kind, f"{field} is {said}; it is copied whole from the item") from None


def verdict_of(given: str) -> str:
    """A decision as people write it in a cell: "Prefer A"."""
    word = "_".join(given.lower().replace("-", " ").split())
    return {"a": "prefer_a", "b": "prefer_b"}.get(word, word)


def time_of(given: str) -> datetime | None:
    """When an answer was given, to the second, as the file of decisions has it; UTC where no zone is said."""
    if not given.strip():
        return None
    try:
        time = datetime.fromisoformat(given.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise Refused("unreadable", f"time {given[:60]!r} is none like 2026-01-02T03:04:05Z; without one it is now") from None


# ------------------------------------------------------------------------------------------------------------ which answer


def named(reviewer: str) -> str:
    """A reviewer's name.

    Raises:
        Refused: it is none.
    """
    name = written(reviewer)
    if not name:
        raise Refused("no reviewer", "nobody is named who says so")
    if not name.isprintable() or len(name) > NAME:
        raise Refused("no reviewer", f"{name[:40]!r} is no name of a reviewer: one line of at most {NAME} characters")
    return name


def decided(item: Item, decision: str, reviewer: str, why: str, answer: str | None, tool: str) -> Decision:
    """The decision that an answer to an item makes.

    Raises:
        Refused, SftError: it is none.
    """
    name, new = named(reviewer), answer if answer and answer.strip() else None
    where = f"item {item.number} of {item.queue}"
    if not decision:
        raise Refused("no answer", f"{where}: there is a text, but no decision: one of {', '.join(item.choices)}")
    if decision not in ("undo", *item.choices):
        raise Refused("no answer", f"{where}: {decision!r} is no choice; there are {', '.join(item.choices)}")
    if decision == "edit" and new is None:
        raise Refused("no answer", f"{where}: an edit has the new answer")
    if decision != "edit" and new is not None:
        raise Refused(
            "no answer", f"{where}: there is a new answer, but the decision is {decision!r}; say edit, or take it out"
        )
    answers = [turn["content"] for turn in item.messages if turn["role"] == "assistant"]
    if decision == "edit" and new in answers[-1:]:
        raise Refused("no answer", f"{where}: the new answer is the one that the row has; say keep")
    return item.decided(decision, name, why, new, tool)
