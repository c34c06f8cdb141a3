"""`sft review export`: pick rows, write them as a queue into D/queues, and as files that other tools read.

    D/queues/20260102T030405Z-1f0c22ab/queue.json, queue.jsonl    always: the page, the import and every other tool read them
                                       queue.csv                  --as csv: see tables.py
                                       ...                        --as label-studio, --as argilla: see reviews/tools

A tool of one's own reads queue.jsonl and gives back lines of this shape, for `sft review import answers.jsonl`:

    {"queue": "20260102T030405Z-1f0c22ab", "row_id": "9f3c...", "content_hash": "51ab...", "decision": "edit",
     "answer": "Paris.", "why": "the old one was cut off", "reviewer": "ann"}

decision is one of the item's `choices`; answer is of an edit alone, the new text; why may be left out.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import orjson

from sft_assets import reviews
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.reviews.people import person, written
from sft_assets.reviews.queue import tables
from sft_assets.reviews.queue.item import ASKED, FILE, Asked, Item, Queue, name_of, save
from sft_assets.reviews.queue.making import make
from sft_assets.reviews.queue.picking import pick
from sft_assets.reviews.queue.standing import Standing
from sft_assets.warehouse import Warehouse

Write = Callable[[Queue, Path], list[Path]]
FORMATS = ("jsonl", "csv", "label-studio", "argilla")


@dataclass(frozen=True)
class Exported:
    """A queue that was made. folder: where it lies; None where there was nothing to ask, and nothing was written. files: what
    tools read."""

    queue: Queue
    folder: Path | None
    files: tuple[Path, ...] = ()
    warning: str = ""


def export(
    house: Warehouse,
    folder: Folder,
    budget: int = 200,
    kinds: Collection[str] = (),
    seed: int = 0,
    reviewers: Sequence[str] = (),
    overlap: float = 0.2,
    formats: Collection[str] = (),
) -> Exported:
    """Make a queue. kinds: which to ask about (default: all). overlap: the share of the items that goes to every reviewer.

    Raises:
        SftError: there is no such kind or format, the reviewers cannot be told apart, or no state has decided anything yet.
    """
    _check(budget, kinds, reviewers, overlap)
    writing = [_writer(name) for name in dict.fromkeys(formats)]
    known = reviews.read(folder)
    with house.reading() as con:
        rows = Standing.of(con, known.decisions, seed)
        chosen: list[Asked] = [asked for asked in ASKED if not kinds or asked in kinds]
        picked = pick(rows, folder, known.log, budget, chosen)
        items = deal(make(rows, picked.candidates), reviewers, overlap, seed)
        versions = {name: version.number for name, version in rows.versions.items()}
    made = Queue(
        name="", time=datetime.now(UTC), budget=budget, seed=seed, versions=versions, left_out=picked.left_out,
        items=tuple(items),
    )  # fmt: skip
    if not items:
        return Exported(made, None, warning=known.warning)
    queue, place = _save(folder, made)
    try:
        files = [path for write in writing for path in write(queue, place)]
    except OSError as error:
        raise SftError(
            f"{error.filename or place}: the queue is in {place}; this file could not be written: {error.strerror}"
        ) from None
    return Exported(queue, place, (place / FILE, *(path for path in files if path != place / FILE)), known.warning)


def deal(items: Sequence[Item], reviewers: Sequence[str], overlap: float, seed: int) -> list[Item]:
    """Say who is to answer what: a share of the items, drawn, everybody, each other one reviewer; without reviewers anybody."""
    if not reviewers:
        return list(items)
    drawn = sorted(items, key=lambda item: sha256(f"{item.row_id} {seed}".encode()).digest())
    everybody = round(overlap * len(items)) if len(reviewers) > 1 else 0
    whose = {item.number: [reviewers[n % len(reviewers)]] for n, item in enumerate(drawn[everybody:])}
    return [item.model_copy(update={"reviewers": whose.get(item.number, list(reviewers))}) for item in items]


def named(reviewers: str) -> list[str]:
    """The names in "ann, bob", spaced as answers record them."""
    return [written(name) for name in reviewers.split(",")] if reviewers.strip() else []


def _check(budget: int, kinds: Collection[str], reviewers: Sequence[str], overlap: float) -> None:
    if budget < 0:
        raise SftError(f"a budget of {budget} rows: say how many rows people have the time for")
    for kind in kinds:
        if kind not in ASKED:
            raise SftError(f"nothing is asked about {kind!r}; {did_you_mean(kind, ASKED, 'there are')}")
    if not all(name.strip() for name in reviewers) or len(set(map(person, reviewers))) < len(reviewers):
        raise SftError(f"reviewers {', '.join(reviewers)!r}: give names that tell them apart, such as --reviewers ann,bob")
    if not 0 <= overlap <= 1:
        raise SftError(f"an overlap of {overlap}: it is the share of the items that everybody gets, from 0 to 1")


def _writer(name: str) -> Write:
    if name not in FORMATS:
        raise SftError(f"no queue is written as {name!r}; {did_you_mean(name, FORMATS, 'there are')}")
    if name == "jsonl":
        return lambda queue, folder: []  # it is there anyway
    if name == "csv":
        return tables.write
    write: Write = import_module(f"sft_assets.reviews.tools.{name.replace('-', '_')}").write
    return write


def _save(folder: Folder, made: Queue) -> tuple[Queue, Path]:
    """Name a queue, and write it; of two that are made in one second the later has the next one."""
    content = b"".join(orjson.dumps(item.model_dump(mode="json")) for item in made.items)
    while True:
        now = datetime.now(UTC).replace(microsecond=0)
        name = name_of(now, content)
        queue = made.model_copy(
            update={"name": name, "time": now, "items": tuple(i.model_copy(update={"queue": name}) for i in made.items)}
        )
        if not (folder.queues / name).exists():
            try:
                return queue, save(folder, queue)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise SftError(
                        f"{error.filename or folder.queues}: the queue could not be written: {error.strerror}"
                    ) from None
        time.sleep(0.05)
