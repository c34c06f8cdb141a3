"""An item of a queue, and a queue in its folder."""

from __future__ import annotations

import shutil
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from sft_assets import files
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.reviews.decisions import ASIDE, OF_TWO, Decision, State, Verdict, decided

# why a row is in a queue, the most urgent first
Asked = Literal["disputed", "marked", "paraphrase", "signals", "threshold", "conflict", "generated", "audit"]
ASKED: dict[Asked, str] = {
    "disputed": "reviewers differ about it",
    "marked": "the pipeline marks it for review",
    "paraphrase": "it may be a test item in other words",
    "signals": "what is known of it disagrees the most",
    "threshold": "it is just on one side of a threshold",
    "conflict": "another row answers its prompt otherwise",
    "generated": "a model wrote it",
    "audit": "it was drawn at random, to learn how often the pipeline is right",
}
FILE, FACTS = "queue.jsonl", "queue.json"
AGAIN = "make a new queue (`sft review export`)"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mark(_Model):
    """A span to be marked: characters start to stop of a turn (from 1; 0: of the text of `Other`), and what it is."""

    turn: int
    start: int
    stop: int
    why: str = ""
    rejected: bool = False


class Other(_Model):
    """What the row is compared with: another row, or a test item (`text`, with its benchmark and id as `name`)."""

    what: Literal["row", "test item"]
    name: str = ""
    row_id: UUID | None = None
    content_hash: UUID | None = None
    messages: list[dict[str, Any]] = []
    text: str = ""
    marks: list[Mark] = []


class Item(_Model):
    """A row, and what is asked about it. number: from 1. about: what the pipeline did, state and reason ('scored
    refusal', 'kept'). audit: drawn at random of all rows with that. verdict: what became of the row in `state`. messages,
    rejected: as chat messages. reviewers: who is to answer; empty: anybody."""

    queue: str
    number: int
    row_id: UUID
    content_hash: UUID
    asked: Asked
    about: str
    audit: bool = False
    state: State
    verdict: Literal["kept", "review", "dropped"]
    kind: Literal["sft", "preference", "unpaired", "prompt"] = "sft"
    generated: bool = False
    source: str = ""
    question: str
    choices: list[Verdict]
    messages: list[dict[str, Any]]
    rejected: list[dict[str, Any]] | None = None
    tools: str | None = None
    marks: list[Mark] = []
    other: Other | None = None
    signals: dict[str, Any] = {}
    reviewers: list[str] = []

    @property
    def compared(self) -> bool:
        """Whether two answers are compared: of two rows, or of the row's own pair."""
        return "prefer_b" in self.choices

    @property
    def compared_with(self) -> Other | None:
        """Of a comparison of two rows, the other one."""
        return self.other if self.compared else None

    @property
    def key(self) -> tuple[str, UUID, UUID, UUID | None]:
        """What `Decision.item` is of an answer to it."""
        return self.queue, self.row_id, self.content_hash, self.compared_with.row_id if self.compared_with else None

    def place(self, decision: Verdict) -> State:
        """The state that applies an answer to this item, or that it agrees with."""
        if decision in ASIDE:
            return self.state
        if self.generated or (self.compared_with is not None and decision in OF_TWO):
            return "augmented"
        if decision in ("edit", "prefer_b"):
            return "combined"
        if self.verdict == "dropped" and (decision == "keep" or self.state in ("deduped", "decontaminated", "clustered")):
            return self.state
        if decision == "keep" and self.state == "decontaminated":  # a candidate: it is none any more
            return self.state
        return "scored"

    def decided(
        self, decision: Verdict, reviewer: str, why: str = "", answer: str | None = None, tool: str = "page"
    ) -> Decision:
        """An answer to this item, made now. why: default: what was asked.

        Raises:
            SftError: it is none of the choices, or says nothing.
        """
        if decision != "undo" and decision not in self.choices:
            raise SftError(f"item {self.number} of {self.queue}: {decision!r} is no choice of {', '.join(self.choices)}")
        pair = self.compared_with if decision in ASIDE or (decision in OF_TWO and not self.generated) else None
        more = {"other": pair.row_id, "other_hash": pair.content_hash} if pair is not None and pair.row_id else {}
        return decided(
            self.row_id, self.content_hash, self.place(decision), decision, why.strip() or f"{ASKED[self.asked]}: {self.about}",
            reviewer, answer, self.queue, tool, about=self.about, audit=self.audit, **more,
        )  # fmt: skip


class Queue(_Model):
    """A queue. versions: of the states that the rows were taken from. left_out: rows that were worth asking about, by `asked`,
    beyond the budget."""

    name: str
    time: AwareDatetime
    budget: int
    seed: int
    versions: dict[str, int] = {}
    left_out: dict[str, int] = {}
    items: tuple[Item, ...] = ()


def name_of(time: datetime, content: bytes) -> str:
    """A queue's name: when it was made, and the beginning of a hash."""
    return files.name_of(time, sha256(content).hexdigest()[:8])


def names(folder: Folder) -> list[str]:
    """The queues that there are, the oldest first."""
    if not folder.queues.is_dir():
        return []
    return sorted(
        path.name for path in folder.queues.iterdir() if files.NAMED.fullmatch(path.name) and (path / FACTS).is_file()
    )


def save(folder: Folder, queue: Queue) -> Path:
    """Write a queue into its folder, which is there whole or not at all. The folder."""
    target = folder.queues / queue.name
    part = folder.queues / f".{queue.name}.part"
    try:
        part.mkdir(parents=True, exist_ok=True)
        lines = b"".join(orjson.dumps(item.model_dump(mode="json"), option=orjson.OPT_APPEND_NEWLINE) for item in queue.items)
        (part / FILE).write_bytes(lines)
        facts = queue.model_dump(mode="json", exclude={"items"}) | {"items": len(queue.items)}
        (part / FACTS).write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        for path in (part / FILE, part / FACTS, part):
            files.sync(path)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    files.sync(folder.queues)
    return target


def load(folder: Folder, name: str) -> Queue:
    """A queue by its name.

    Raises:
        SftError: there is none of that name, or its files are not as they were written.
    """
    if name not in names(folder):
        there = ", ".join(names(folder)) or "none"
        raise SftError(f"queue {name!r} was not made from {folder}; there are {there} in {folder.queues}")
    path = folder.queues / name / FILE
    try:
        facts: dict[str, Any] = orjson.loads(path.with_name(FACTS).read_bytes())
        queue = Queue.model_validate({**facts, "items": ()})
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SftError(f"{error.filename}: cannot be read: {error.strerror}; {AGAIN}") from None
    except (ValueError, TypeError):
        raise SftError(f"{path.with_name(FACTS)}: is not as it was written; {AGAIN}") from None
    items = []
    for number, line in enumerate(lines, 1):
        try:
            items.append(Item.model_validate_json(line))
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(map(str, wrong["loc"]))
            raise SftError(f"{path}:{number}: {place}: {wrong['msg']}; {AGAIN}") from None
    return queue.model_copy(update={"items": tuple(items)})
