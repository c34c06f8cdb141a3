"""What people decided about rows: D/reviews.jsonl, one decision a line, only ever appended to.

    {"row_id": "9f3c6a10-...", "content_hash": "51ab03d2-...", "queue": "", "state": "scored", "decision": "drop",
     "answer": null, "reviewer": "ann", "time": "2026-01-02T03:04:05Z", "why": "the sum is wrong", "tool": "select"}
    {..., "queue": "20260102T030405Z-1f0c22ab", "state": "deduped", "decision": "keep", ..., "about": "deduped near_duplicate",
     "audit": true, "tool": "page"}
    {..., "decision": "prefer_b", "other": "41d0...", "other_hash": "c2b7...", ...}

A decision holds for the content that it was made on, and is applied by `state`, whose own verdict it overrides; so it makes
stale just that state. Of a queue's item there are also `skip` (no opinion) and `undo` (the reviewer takes back what was said of
the item): they stand in the file, and nothing applies them. `counting.py` says which decisions count where several were made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from sft_assets.errors import SftError
from sft_assets.files import sync
from sft_assets.folder import Folder
from sft_assets.reviews.counting import counting
from sft_assets.reviews.people import person, written

Verdict = Literal["keep", "drop", "review", "edit", "prefer_a", "prefer_b", "tie", "skip", "undo"]
State = Literal["combined", "deduped", "decontaminated", "scored", "clustered", "augmented"]
APPLYING: dict[Verdict, tuple[State, ...]] = {
    "edit": ("combined", "augmented"),
    "keep": ("deduped", "decontaminated", "scored", "clustered", "augmented"),
    "drop": ("scored", "augmented"),
    "review": ("scored", "augmented"),
    "prefer_a": ("augmented",),  # A is the row, B the other one with the same prompt
    "prefer_b": ("combined", "augmented"),  # without another row: of a pair's own two answers the losing one
    "tie": ("augmented",),
}
AGREEING: dict[Verdict, tuple[State, ...]] = {"drop": ("deduped", "decontaminated", "clustered")}  # it went there already
ASIDE: tuple[Verdict, ...] = ("skip", "undo")
OPTIONAL = ("other", "other_hash", "about", "audit")  # fields that a line has only where they say something
OF_TWO: tuple[Verdict, ...] = ("prefer_a", "prefer_b", "tie")
CHANGING: tuple[Verdict, ...] = ("edit", "prefer_b")  # what they are said of has another text once it is applied
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
CHUNK = 1 << 16  # bytes that are read at a time in search of the last newline
TRUSTED_AFTER = 2.0  # seconds: a younger file may still change under the same size and time


class Decision(BaseModel):
    """One line. `state`: which state applies it. `answer`: of an edit, what the last assistant turn is to say. `other`: of a
    comparison of two rows, the second one, B. `about`: what the pipeline did that was asked about, its state and reason.
    `audit`: whether the row was drawn at random from all of those, so that it tells how often that is right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row_id: UUID
    content_hash: UUID
    queue: str = ""
    state: State
    decision: Verdict
    answer: str | None = None
    reviewer: Said
    time: AwareDatetime
    why: Said
    tool: Said
    other: UUID | None = None
    other_hash: UUID | None = None
    about: str = ""
    audit: bool = False

    @model_validator(mode="after")
    def _is_applied_somewhere(self) -> Decision:
        states = (*APPLYING.get(self.decision, ()), *AGREEING.get(self.decision, ()))
        if self.decision not in ASIDE and self.state not in states:
            raise ValueError(f"{self.decision} is applied in {' or '.join(states)}, not in {self.state}")
        if self.decision in ASIDE and not self.queue:
            raise ValueError(f"{self.decision} is said of an item of a queue; no queue is named")
        if (self.decision == "edit") != bool(self.answer and self.answer.strip()):
            raise ValueError("an edit has an answer that says something, and nothing else has one")
        if (self.other is None) != (self.other_hash is None):
            raise ValueError("another row is named by its id and the hash of its content (other, other_hash)")
        if self.other is None and (self.decision in ("prefer_a", "tie")):
            raise ValueError(f"{self.decision} compares the row with another one; name it (other, other_hash)")
        if self.other is not None and (self.decision not in (*OF_TWO, *ASIDE) or self.state != "augmented"):
            raise ValueError("two rows are compared in augmented, by prefer_a, prefer_b or tie")
        return self

    @property
    def key(self) -> tuple[UUID, UUID, UUID | None, State]:
        """Of decisions with the same key, in different queues or in none, the last counts."""
        return self.row_id, self.content_hash, self.other, self.state

    @property
    def subject(self) -> tuple[UUID, ...]:
        """The row that it is about, or the two."""
        return (self.row_id,) if self.other is None else (self.row_id, self.other)

    @property
    def item(self) -> tuple[str, UUID, UUID, UUID | None]:
        """What was asked about, of a queue: several reviewers may have answered it."""
        return self.queue, self.row_id, self.content_hash, self.other

    @property
    def person(self) -> str:
        """Who decided, however they write their name (see `people`)."""
        return person(self.reviewer)

    @property
    def says(self) -> tuple[Verdict, str]:
        """What two reviewers have to agree in."""
        return self.decision, (self.answer or "").strip()

    @property
    def is_applied(self) -> bool:
        """Whether a state has something to do for it."""
        return self.state in APPLYING.get(self.decision, ())

    @property
    def line(self) -> bytes:
        values = {name: value for name, value in self if name not in OPTIONAL or value not in (None, "", False)}
        return orjson.dumps({**values, "time": self.at}, option=orjson.OPT_APPEND_NEWLINE)

    @property
    def at(self) -> str:
        """When it was made: 2026-01-02T03:04:05Z."""
        return self.time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def is_as(self, other: Decision | None) -> bool:
        """Whether the same person decided the same for the same reason, whenever that was."""
        same = ("key", "queue", "says", "person", "why")
        return other is not None and all(getattr(self, name) == getattr(other, name) for name in same)


@dataclass(frozen=True)
class Reviews:
    """The decisions of a folder. log: every one, in the order of the file. torn: the number of a last line that was cut off
    while it was written, which is not read; 0 where there is none."""

    path: Path
    log: tuple[Decision, ...] = ()
    torn: int = 0
    _versions: dict[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Those that count (see `counting`), in the order in which they were made."""
        return counting(self.log)

    def of(self, state: str) -> list[Decision]:
        """Those that this state applies."""
        return [d for d in self.decisions if d.state == state and d.is_applied]

    def version(self, state: str) -> str:
        """A hash over the decisions that this state applies."""
        if state not in self._versions:
            self._versions[state] = hashlib.sha256(b"".join(d.line for d in self.of(state))).hexdigest()
        return self._versions[state]

    @cached_property
    def whole(self) -> str:
        """A hash over all of them, whether anything applies them or not."""
        return hashlib.sha256(b"".join(one.line for one in self.log)).hexdigest()

    @property
    def warning(self) -> str:
        """What there is to say about a torn line; empty where there is none."""
        cut = f"{self.path}:{self.torn}: the last line is cut off, as by a kill while it was written, and is not read"
        return cut if self.torn else ""


# --------------------------------------------------------------------------------------------------------- reading

_known: dict[Path, tuple[tuple[int, int, int], Reviews]] = {}


def read(folder: Folder) -> Reviews:
    """The decisions of a folder; none where there is no file.

    Raises:
        SftError: a line is no decision; it names file and line. (A last line without its newline may be cut off: see `torn`.)
    """
    path = folder.reviews
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # whoever writes has finished
            status = os.fstat(file.fileno())
            stamp = status.st_size, status.st_mtime_ns, status.st_ino
            if path in _known and _known[path][0] == stamp:
                return _known[path][1]
            found = _parsed(path, file.read())
    except FileNotFoundError:
        return Reviews(path)
    except OSError as error:
        raise SftError(f"{path}: cannot be read: {error.strerror}; it holds what people decided about rows") from None
    if time.time() - status.st_mtime > TRUSTED_AFTER:
        _known[path] = stamp, found
    return found


def version(folder: Folder, state: str) -> str:
    """A hash over the decisions that `state` applies: the version of its input.

    Raises:
        SftError: a line of the file is no decision.
    """
    return read(folder).version(state)


def _parsed(path: Path, data: bytes) -> Reviews:
    *lines, tail = data.split(b"\n")
    torn = len(lines) + 1 if tail.strip() and not _is_json(tail) else 0
    whole = enumerate([*lines, b"" if torn else tail], 1)
    return Reviews(path, tuple(_decision(path, number, line) for number, line in whole if line.strip()), torn)


def _is_json(line: bytes) -> bool:
    """Whether it is all there: no beginning of a JSON object is one."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


@lru_cache(maxsize=1 << 18)  # a page reads the file again for every decision, and most of it is as it was
def _of_line(line: bytes) -> Decision:
    return Decision.model_validate_json(line)


def _decision(path: Path, number: int, line: bytes) -> Decision:
    try:
        return _of_line(line)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        said = f" (it says {wrong['input']!r:.80})" if place and not isinstance(wrong["input"], dict) else ""
        message = wrong["msg"].removeprefix("Value error, ")
        raise SftError(
            f"{path}:{number}: {place + ': ' if place else ''}{message}{said}. Mend the line, or take it out if nobody is to "
            "decide that"
        ) from None


# --------------------------------------------------------------------------------------------------------- writing


def decided(
    row_id: UUID,
    content_hash: UUID,
    state: State,
    decision: Verdict,
    why: str,
    reviewer: str,
    answer: str | None = None,
    queue: str = "",
    tool: str = "select",
    **more: Any,
) -> Decision:
    """A decision that is made now. more: other, other_hash, about, audit.

    Raises:
        SftError: it is none that a state could apply, or has no reason.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    values = {"row_id": row_id, "content_hash": content_hash, "state": state, "decision": decision, "answer": answer,
              "queue": queue, "reviewer": written(reviewer), "time": now, "why": why, "tool": tool, **more}  # fmt: skip
    try:
        made = Decision.model_validate(values)
        made.line  # noqa: B018  # text that came with broken bytes cannot be written
    except ValidationError as error:
        wrong = error.errors()[0]
        raise SftError(
            f"{'.'.join(map(str, wrong['loc'])) or decision}: {wrong['msg'].removeprefix('Value error, ')}"
        ) from None
    except TypeError:
        raise SftError("why, reviewer and answer have to be text in UTF-8") from None
    return made


def append(folder: Folder, decisions: Sequence[Decision]) -> None:
    """Add decisions: all of them are on the disk when this returns. Processes that do so at the same time wait for each other.

    A torn last line of a call that was killed goes to reviews.jsonl.torn first, so that nothing is glued to it.

    Raises:
        SftError: they cannot be written; none of them was.
    """
    if not decisions:
        return
    path, data = folder.reviews, b"".join(d.line for d in decisions)
    try:
        is_new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            if tail := _tail(handle, size):
                if _is_json(tail):
                    data = b"\n" + data
                else:
                    _write(path.with_name(f"{path.name}.torn"), tail + b"\n")
                    os.ftruncate(handle, size := size - len(tail))
            try:
                _write_all(handle, data)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
        if is_new:
            sync(path.parent)
    except OSError as error:
        raise SftError(f"{path}: nothing was recorded: {error.strerror}") from None


def _tail(handle: int, size: int) -> bytes:
    """What stands after the last newline."""
    start, tail = size, b""
    while start and b"\n" not in tail:
        first = max(0, start - CHUNK)
        tail = os.pread(handle, start - first, first) + tail
        start = first
    return tail.rpartition(b"\n")[2]


def _write_all(handle: int, data: bytes) -> None:
    """One write as a rule: a kill then leaves all lines of a call, or none."""
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _write_all(handle, data)
    finally:
        os.close(handle)
