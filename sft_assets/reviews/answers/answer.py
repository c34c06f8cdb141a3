"""Answers to the items of queues, as a file has them: the one shape that every reader gives, nothing of it checked yet.

Answer(place="answers.jsonl:17", queue="20260102T030405Z-1f0c22ab", row_id="9f3c6a10-...", content_hash="51ab03d2-...",
       decision="edit", answer="Paris.", why="", reviewer="ann", time="2026-01-02T03:04:05Z", number=17)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What somebody said of an item; texts as they were given.

    place: where it stands, for people. decision: empty where the item was not answered. answer: of an edit, the new text.
    time: ISO 8601, when the reviewer last changed it; empty where the file does not tell. number: of the item.
    wrong: why it cannot be read, a sentence without its subject ("is no JSON object"); text: what stands there then.
    """

    place: str
    queue: str = ""
    row_id: str = ""
    content_hash: str = ""
    decision: str = ""
    answer: str | None = None
    why: str = ""
    reviewer: str = ""
    time: str = ""
    number: int | None = None
    wrong: str = ""
    text: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether the reviewer said nothing: the item is as it was handed out."""
        return not (self.decision.strip() or (self.answer or "").strip() or self.why.strip() or self.wrong)

    @property
    def line(self) -> dict[str, Any]:
        """What a line of JSON is to say, so that it can be read again: the fields that say something."""
        return {name: value for name, value in vars(self).items() if name != "wrong" and value not in (None, "")}
