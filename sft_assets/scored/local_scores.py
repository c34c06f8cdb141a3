"""What a model on this machine says of contents: from D/scores.sqlite where it was asked before, computed where it was not.

    sections  likelihoods, rewards: {model: embedded, rows: 150, minutes: 10}
    notes     {"wanted": 412, "unscored": 262, "cached": 0, "asked": 150, "tokens_per_second": 310, ...}

Each batch is in the cache before the next is computed: a run that is killed loses one batch, and the next asks for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.engine import Engine, Job
from sft_assets.engine.batches import slices
from sft_assets.errors import SftError
from sft_assets.evidence import Estimate, Evidence, least
from sft_assets.folder import Folder
from sft_assets.models import weights
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Likelihoods, Rewards
from sft_assets.record import Message, messages_of
from sft_assets.scored.wanted import Selection, selected
from sft_assets.warehouse.build import Law

GROUP = 256  # contents that are sorted by length together: enough for even batches
TOGETHER = 32_768  # characters of contents that are scored as one batch, unless it is a single content
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Conversation:
    """A content as a model is asked about it."""

    messages: Sequence[Message]
    tools: str | None

    @property
    def size(self) -> int:
        """Characters, about: what is read of it takes its time by that."""
        return sum(len(turn.content) for turn in self.messages)


@dataclass(frozen=True)
class Scored:
    """A row of numbers for each conversation of a batch, and the tokens that the model read for them."""

    numbers: Floats
    tokens: int


class Scorer(Protocol):
    """A model, and what it makes of conversations. It can be pickled: elsewhere it is the same model, or an error.

    name: of its map, as `engine.ray` of the recipe has it. key: what its numbers depend on, beside the conversation.
    """

    name: str

    @property
    def key(self) -> str: ...

    def load(self) -> None:
        """Read the model into memory now."""
        ...

    def score(self, conversations: Sequence[Conversation]) -> Scored:
        """The numbers of each conversation, in their order."""
        ...


def elsewhere(kind: Callable[[str], Scorer], what: str, model: str, key: str) -> Scorer:
    """The same model in another process, perhaps on another machine: what a scorer is pickled as. what: for the message.

    Raises:
        SftError: it is another one there.
    """
    scorer = kind(model)
    weights.check_same(f"{what} {model!r}", scorer.key, key)
    return scorer


ONE_ROW_A_CONTENT = Law(
    "one_row_a_content",
    "no content stands twice",
    "SELECT count(content_hash) - count(DISTINCT content_hash) FROM {table}",
)


@dataclass
class Results:
    """contents: content_hash (UUID) of those that have a row in `numbers`, in content_hash order."""

    contents: pa.Array
    numbers: Floats
    notes: dict[str, Any] = field(default_factory=dict)


def gather(
    evidence: Evidence,
    folder: Folder,
    asset: str,
    section: Likelihoods | Rewards,
    columns: int,
    scorer: Callable[[], Scorer],
    engine: Engine,
) -> Results:
    """Ask about the contents that are wanted, within the section's budget.

    asset: its name, for the words on how to go on. columns: how many numbers there are of each content. scorer: makes the
    model; it is not called where nobody is asked, so that `rows: 0` costs nothing.
    """
    choose: Callable[[Collection[bytes]], Selection] = lambda known: selected(evidence, known, section.rows)  # noqa: E731
    return gather_chosen(evidence, folder, asset, choose, section.minutes, columns, scorer, engine)


def gather_chosen(
    evidence: Evidence,
    folder: Folder,
    asset: str,
    choose: Callable[[Collection[bytes]], Selection],
    minutes: float | None,
    columns: int,
    scorer: Callable[[], Scorer],
    engine: Engine,
) -> Results:
    """The same about contents that the caller chooses. choose: gets the contents that were scored before."""
    start = time.monotonic()
    if not len((chosen := choose([])).contents):
        return Results(uuids([]), np.zeros((0, columns), np.float32), {"wanted": chosen.wanted, "unscored": chosen.wanted})
    model, cache = scorer(), Vectors(folder.scores)
    chosen = choose(cache.known(model.key))
    notes = _ask(evidence, model, cache, chosen, start + 60 * minutes if minutes else None, engine)
    hashes = [value.bytes for value in chosen.contents["content_hash"].to_pylist()]
    found = cache.get(model.key, hashes)
    have = sorted(found)
    if left := len(hashes) - len(have):
        notes["stopped"] = f"after {minutes} minutes with {left:,} contents to go: `sft run --again {asset}`"
        evidence.say(notes["stopped"])
    numbers = np.stack([found[key] for key in have]) if have else np.zeros((0, columns), np.float32)
    return Results(uuids(have), numbers, {"wanted": chosen.wanted, "unscored": chosen.wanted - len(have), **notes})


def estimate(
    evidence: Evidence,
    folder: Folder,
    section: Likelihoods | Rewards,
    bound: bool,
    most: int | None,
    key: Callable[[], str],
) -> Estimate:
    """What gathering would take. `key`: the scorer's; where it raises SftError (the model is not here) nothing is known."""
    model = section.model or "none"
    if section.model is None or section.rows == 0:
        return Estimate(model, 0, 0, local=True)
    if bound:
        contents = least(section.rows, most)
        return Estimate(model, contents, contents, bound=True, local=True)
    try:
        known = Vectors(folder.scores).known(key()) if folder.scores.exists() else set()
    except SftError:
        known = set()
    chosen = selected(evidence, known, section.rows)
    return Estimate(model, len(chosen.contents), chosen.new, local=True)


def _ask(
    evidence: Evidence, model: Scorer, cache: Vectors, chosen: Selection, deadline: float | None, engine: Engine
) -> dict[str, Any]:
    """Score what is new, until the deadline."""
    asked, tokens = 0, 0
    evidence.progress(chosen.known, len(chosen.contents))
    if chosen.known == len(chosen.contents):
        return {"cached": chosen.known, "asked": 0}  # no model is loaded for it

    def batches() -> Iterator[tuple[list[bytes], list[Conversation]]]:
        for group in evidence.contents(chosen.contents.slice(chosen.known), GROUP):
            keys = [value.bytes for value in group["content_hash"].to_pylist()]
            texts = zip(group["messages"].to_pylist(), group["tools"].to_pylist(), strict=True)
            some = [Conversation(messages_of(turns) or [], tools) for turns, tools in texts]
            order = sorted(range(len(some)), key=lambda index: (some[index].size, keys[index]))  # the short ones first
            for first, stop in slices([some[index].size for index in order], GROUP, TOGETHER):
                yield [keys[index] for index in order[first:stop]], [some[index] for index in order[first:stop]]
                if deadline and time.monotonic() > deadline:
                    return

    with engine.workers(Job(model.name, partial(_loaded, model), local="here")) as workers:  # torch uses every core by itself
        start = time.monotonic()
        for keys, scored in workers.map_of(batches()):
            cache.put(model.key, keys, scored.numbers)
            asked += len(keys)
            tokens += scored.tokens
            evidence.progress(chosen.known + asked, len(chosen.contents))
        seconds = time.monotonic() - start
    notes: dict[str, Any] = {"cached": chosen.known, "asked": asked}
    if tokens:
        notes["tokens_per_second"] = round(tokens / max(seconds, 1e-3))
    return notes


def _loaded(model: Scorer) -> Callable[[Sequence[Conversation]], Scored]:
    model.load()
    return model.score
