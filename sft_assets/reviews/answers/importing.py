"""Answers of people become decisions in D/reviews.jsonl: those of a file, all of them or none, and one at a time from a page.

    answers.jsonl:17: the queue showed another text of row 9f3c6a10 (changed text)
    answers.jsonl:31: the text of row 41d01c77 changed since it was asked about; ask again: `sft review export` (changed since)

An answer counts for an item of a queue that was made from this folder, with the text that the queue showed, as long as the row
has that text. (A row has it, too, whose answer was edited since by those who answered the same item: the others may still
outvote them.) What a reviewer said already is not written twice; what they say later of the same item takes its place.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count
from pathlib import Path
from typing import get_args

import orjson

from sft_assets import reviews
from sft_assets.errors import SftError
from sft_assets.folder import Folder, write_whole
from sft_assets.reviews import Decision, State, counting
from sft_assets.reviews.answers import current
from sft_assets.reviews.answers.answer import Answer
from sft_assets.reviews.answers.checking import Queues, Refused, decided, item_of, named, time_of, verdict_of
from sft_assets.reviews.people import as_first_written
from sft_assets.reviews.queue import Item
from sft_assets.warehouse import Warehouse

__all__ = ["Imported", "Refusal", "answer", "import_answers", "undo"]

SHOWN = 10  # refused answers that are named
AHEAD = timedelta(minutes=2)  # clocks of two machines differ so much without being wrong


@dataclass(frozen=True)
class Refusal:
    """A refused answer, and why."""

    answer: Answer
    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.answer.place}: {self.why}"


@dataclass(frozen=True)
class Imported:
    """What the import of a file came to. tool: whose file it is. recorded: what was written. standing: answers that stood
    already. outdated: those that the reviewer replaced since, by the time in the file; corrected: within the file. blank: items
    that nobody answered. ahead: answers from the future, which count as given now. refused_in: where refused ones were written
    to. changed: states whose decisions differ now. disputed: items of these queues with no verdict ahead."""

    tool: str
    recorded: tuple[Decision, ...]
    standing: int = 0
    outdated: int = 0
    corrected: int = 0
    blank: int = 0
    ahead: int = 0
    refused: tuple[Refusal, ...] = ()
    refused_in: Path | None = None
    changed: tuple[State, ...] = ()
    disputed: int = 0
    warning: str = ""

    @property
    def by_decision(self) -> dict[str, int]:
        return dict(Counter(one.decision for one in self.recorded).most_common())

    @property
    def by_state(self) -> dict[str, int]:
        """The recorded decisions by the state that they are about; those that say nothing about a row are left out."""
        return dict(Counter(one.state for one in self.recorded if one.decision not in ("skip", "undo")).most_common())

    @property
    def by_reviewer(self) -> dict[str, int]:
        return dict(Counter(one.reviewer for one in self.recorded).most_common())


# ------------------------------------------------------------------------------------------------------ one at a time


def answer(
    folder: Folder,
    queue: str,
    number: int,
    decision: str,
    reviewer: str,
    why: str = "",
    answer: str | None = None,
    tool: str = "page",
) -> Decision | None:
    """Record what a reviewer says now of an item; it is on the disk when this returns. None: it stood already, so a request
    may come twice. Threads and processes may do so at the same time. Whether the row has that text still is seen when the
    decision is applied.

    Raises:
        SftError: there is no such queue or item, or this is no answer to it; nothing was recorded.
    """
    if decision == "undo":
        return undo(folder, queue, number, reviewer, tool)
    made = decided(item_of(folder, queue, number), decision, reviewer, why, answer, tool)
    return _recorded(folder, made)


def undo(folder: Folder, queue: str, number: int, reviewer: str, tool: str = "page") -> Decision | None:
    """Take back what a reviewer said of an item. None: there is nothing that they said.

    Raises:
        SftError: there is no such queue or item, or nobody is named.
    """
    return _recorded(folder, item_of(folder, queue, number).decided("undo", named(reviewer), tool=tool))


def _recorded(folder: Folder, made: Decision) -> Decision | None:
    with _turn(folder):
        log = reviews.read(folder).log
        if _stands(made, counting.votes(one for one in log if one.row_id == made.row_id)):
            return None
        new = as_first_written([made], log)
        reviews.append(folder, new)
    return new[0]


@contextmanager
def _turn(folder: Folder) -> Iterator[None]:
    """One writer at a time from reading what stands to writing what is new, whether thread or process."""
    try:
        folder.queues.mkdir(exist_ok=True)
        handle = os.open(folder.queues / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SftError(f"{folder.queues}: nothing was recorded: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# ------------------------------------------------------------------------------------------------------------- a file


def import_answers(
    house: Warehouse,
    folder: Folder,
    states: Sequence[str],
    path: Path,
    reviewer: str | None = None,
    what_fits: bool = False,
) -> Imported:
    """Record the answers of a file: all of them, or none where one is refused.

    states: all states of the dataset, in their order. reviewer: who answered, where the file does not say. what_fits: record
    the others where some are refused; those are written to FILE.refused.jsonl.

    Raises:
        SftError: it is no file of answers, or answers were refused; it names them with their places.
    """
    from sft_assets.reviews.answers.readers import read

    tool, found = read(path)
    given = [one for one in found if not one.is_blank]
    now = datetime.now(UTC).replace(microsecond=0)
    standing = reviews.read(folder)
    fitting, refused = _fitting(folder, given, reviewer, tool, now)
    latest = _latest(fitting)
    fresh = set(map(id, _New.among(latest, standing.log).made))
    asked = {id(one.made): one for one in latest if id(one.made) in fresh and one.made.decision not in ("skip", "undo")}
    changed = current.refusals(house, states, [one.made for one in asked.values()], standing.log)
    refused += [Refusal(asked[id(made)].answer, error.kind, str(error)) for made, error in changed]
    wrong = {id(one.answer) for one in refused}
    kept = [one for one in latest if id(one.answer) not in wrong]
    order = {id(one): place for place, one in enumerate(given)}
    refused.sort(key=lambda one: order[id(one.answer)])
    refused_in = None
    if refused and not what_fits:
        raise SftError(_sentence(refused, len(given)))
    if refused:
        refused_in = _write_refused(path, refused)
    with _turn(folder):
        before = reviews.read(folder)
        new = _New.among(kept, before.log)
        made = as_first_written(new.made, before.log)
        reviews.append(folder, made)
        after = reviews.read(folder)
    queues = {one.item.queue for one in latest}
    return Imported(
        tool,
        tuple(made),
        new.standing,
        new.outdated,
        len(fitting) - len(latest),
        len(found) - len(given),
        sum(one.ahead for one in latest),
        tuple(refused),
        refused_in,
        tuple(state for state in get_args(State) if before.version(state) != after.version(state)),
        sum(name in queues for name, *_ in counting.disputed(after.log)),
        before.warning,
    )


@dataclass(frozen=True)
class _Fitting:
    """An answer with the item that it is about and the decision that it makes. has_time: whether the file tells when it was
    given. ahead: whether that was in the future."""

    answer: Answer
    item: Item
    made: Decision
    has_time: bool
    ahead: bool


def _fitting(
    folder: Folder, given: Sequence[Answer], reviewer: str | None, tool: str, now: datetime
) -> tuple[list[_Fitting], list[Refusal]]:
    """The answers that are some to a queue of this folder, and the others."""
    queues = Queues(folder)
    fitting, refused = [], []
    for one in given:
        try:
            if one.wrong:
                raise Refused("unreadable", one.wrong)
            item = queues.item(one)
            given_at = time_of(one.time)
            if not (by := one.reviewer.strip() or reviewer or ""):
                raise Refused("no reviewer", "nobody is named who says so; say --reviewer NAME if the file is one person's")
            made = decided(item, verdict_of(one.decision), by, one.why, one.answer, tool)
        except SftError as error:
            refused.append(Refusal(one, error.kind if isinstance(error, Refused) else "no answer", str(error)))
            continue
        at = min(given_at or now, now)
        ahead = given_at is not None and given_at > now + AHEAD
        fitting.append(_Fitting(one, item, made.model_copy(update={"time": at}), given_at is not None, ahead))
    return fitting, refused


def _latest(fitting: Sequence[_Fitting]) -> list[_Fitting]:
    """Of several answers of one reviewer to one item the last, by time; else by place."""
    last: dict[object, _Fitting] = {}
    for one in sorted(fitting, key=lambda one: one.made.time):
        last[one.made.item, one.made.person] = one
    kept = set(map(id, last.values()))
    return [one for one in fitting if id(one) in kept]


@dataclass(frozen=True)
class _New:
    """What answers add to what was said before. outdated: the reviewer said something else later than that."""

    made: list[Decision]
    standing: int
    outdated: int

    @classmethod
    def among(cls, fitting: Sequence[_Fitting], log: Sequence[Decision]) -> _New:
        votes = counting.votes(log)
        said = {(one.item, one.person): one for one in log if one.queue}
        made, standing, outdated = [], 0, 0
        for one in fitting:
            before = said.get((one.made.item, one.made.person))
            if _stands(one.made, votes):
                standing += 1
            elif before is not None and one.has_time and one.made.time < before.time:
                outdated += 1
            else:
                made.append(one.made)
        return cls(made, standing, outdated)


def _stands(made: Decision, votes: Mapping[counting.Item, Mapping[str, Decision]]) -> bool:
    """Whether it is what the reviewer said last."""
    last = votes.get(made.item, {}).get(made.person)
    return last is None if made.decision == "undo" else made.is_as(last)


# -------------------------------------------------------------------------------------------------------- what is refused


def _sentence(refused: Sequence[Refusal], of: int) -> str:
    shown = [*map(str, refused[:SHOWN])]
    more = [f"... and {len(refused) - SHOWN:,} more"] if len(refused) > SHOWN else []
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in Counter(one.kind for one in refused).most_common())
    end = (
        f"Refused: {len(refused):,} of {of:,} answers ({kinds}). Nothing was recorded; mend them or take them out, or say "
        "--what-fits to record the others."
    )
    return "\n".join([*shown, *more, end])


def _write_refused(path: Path, refused: Sequence[Refusal]) -> Path:
    """Write refused answers beside their file, as JSON lines that can be mended and imported. What somebody may be mending
    already stays: then it is another file."""
    lines = b"".join(
        orjson.dumps({"refused": f"{one.kind}: {one.why}", **one.answer.line}, option=orjson.OPT_APPEND_NEWLINE)
        for one in refused
    )
    ends = chain(["refused.jsonl"], (f"refused-{number}.jsonl" for number in count(2)))
    target = next(place for end in ends if not (place := path.with_name(f"{path.name}.{end}")).exists())
    try:
        write_whole(target, lines)
    except OSError as error:
        raise SftError(f"{target}: cannot be written, so nothing was recorded: {error.strerror}") from None
    return target
