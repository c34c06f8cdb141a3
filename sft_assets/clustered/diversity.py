"""Which rows stay when a dataset is made smaller or more even: best first, none too near to a better one, in shares.

    rank 1  score 4.9  "Write a haiku about rain."       stays
    rank 2  score 4.7  "Write a haiku about the rain."   too_similar: cosine 0.97 to rank 1
    rank 3  score 4.6  "Prove that 2 is prime."          stays
    rank 4  score 4.4  "Write a limerick."               over_topic_cap, over_mix or over_budget, if its place is taken

The selection is DEITA's (Liu et al. 2024, https://arxiv.org/abs/2312.15685): rows come in the order of their scores, and one is
taken if its cosine to the nearest row *already taken* is below a ceiling. So a row that goes as too similar is always that near
to a row that stays. Caps per topic, a target mix and a budget are counted in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from sft_assets.clustered.mix import REST, largest_total, quotas_of

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

KEPT, TOO_SIMILAR, OVER_TOPIC_CAP, OVER_MIX, OVER_BUDGET, SKIPPED = range(6)
REASONS = ("", "too_similar", "over_topic_cap", "over_mix", "over_budget")  # by code

NO_TOPIC = -1
NO_LIMIT = np.iinfo(np.int64).max
BLOCK = 1024  # rows that are compared with those taken at the same time
CHUNK = 4096  # rows taken that are compared at the same time
MOST_PAIRS = 10_000_000  # of near rows that are remembered (120 MB)


@dataclass(frozen=True)
class Chosen:
    """What stays, and why the rest does not; all arrays are by row."""

    kept: Flags
    reason: Codes  # place in REASONS; 0 of a row that stays
    of: Ints  # the nearest of the rows that stay, of a row that is too similar; else -1
    cosine: Floats  # to it; else NaN
    rank: Ints  # place in the order, from 0
    wanted: dict[int, int]  # rows that the mix asks for, by part (REST: all that it does not name); empty without a mix
    got: dict[int, int]  # rows that stay, of the same parts

    @property
    def missing(self) -> dict[int, int]:
        """Rows that parts of the mix are short of."""
        return {part: n - self.got[part] for part, n in self.wanted.items() if self.got[part] < n}


def choose(
    vectors: Floats,
    score: Scores,
    topic: Ints,
    part: Ints,
    kept_by_people: Flags,
    *,
    similarity: float | None = None,
    budget: int | None = None,
    topic_cap: int | None = None,
    shares: Mapping[int, float] | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Chosen:
    """Choose rows: those that people keep first, then by score (best first; NaN last; ties by position, so rows come sorted).

    vectors: rows x dimensions, of unit length, or zeros (no text), which are similar to nothing. topic: NO_TOPIC has no cap.
    part: what `shares` names (from 0); any other number is of the rest. similarity: above 0; a cosine of exactly that is too
    similar. Rows that people keep always stay, and count in caps, mix and budget like any other.

    A row goes for the first of these that holds when its turn comes:

    - too_similar to a row taken before it. First, because it stays true under any larger budget.
    - over_topic_cap: its topic has its rows. True under any larger budget, too.
    - over_budget: the budget is spent. To keep the row, raise it.
    - over_mix: places are left, but none of them is for its part. To keep the row, change the shares.

    **Mix.** With a budget, parts get their shares of it in whole rows (largest remainder); what is not named gets what is left,
    nothing if the shares add up to 1. A part that has too few rows gives what it has, and its places stay empty (`missing`):
    others in them would take the mix further from its target, and they are the gap for new rows to fill. Where people keep more
    rows of a part than its share, the other parts divide what is left as their shares are to one another.

    Without a budget, the total is the largest for which every part (the rest too) can have its share. How many rows a part can
    have depends on which rows of other parts were taken before, so totals are tried out, by bisection: at most what the parts
    could have if each were alone. A part of which there is no row at all does not hold the others back; it is missing, like one
    that has too few under a budget.
    """
    order = np.lexsort((-score, np.isnan(score), ~kept_by_people))  # lexsort is stable
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    named = sorted(shares or {})
    places = np.searchsorted(named, part) if named else np.zeros(len(part), np.int64)
    known = np.append(named, REST)[places] == part if named else np.zeros(len(part), np.bool_)
    own = np.ascontiguousarray(vectors, np.float32).view()
    own.flags.writeable = False  # always: a kernel is compiled for each kind of array that it is given
    rows = Rows(own, order, topic, np.where(known, places, len(named)), kept_by_people)
    limits, pairs, wanted = Limits(similarity, budget, topic_cap), None, dict[int, int]()
    if shares and budget is None and similarity is not None:
        pairs = _pairs(rows, similarity, progress)
    if shares:
        wanted = _wanted(rows, limits, shares, named, pairs)
    quotas = np.array([wanted[p] for p in (*named, REST)] if shares else [NO_LIMIT], np.int64)
    found = _sweep(rows, limits, quotas, pairs, explain=True, progress=progress)
    got = {p: int(found.by_part[i]) for i, p in enumerate((*named, REST))} if wanted else {}
    return Chosen(found.reason == KEPT, found.reason, found.of, found.cosine, rank, wanted, got)


# ------------------------------------------------------------------------------------------------------------- the mix


def _wanted(rows: Rows, limits: Limits, shares: Mapping[int, float], named: list[int], pairs: Pairs | None) -> dict[int, int]:
    """How many rows of each part the mix asks for."""
    parts = (*named, REST)
    kept = np.bincount(rows.part[rows.kept_by_people], minlength=len(parts))
    least = {p: int(n) for p, n in zip(parts, kept, strict=True)}
    if limits.budget is not None:
        return quotas_of(shares, limits.budget, least)

    def taken(quotas: Mapping[int, int]) -> dict[int, int]:
        found = _sweep(rows, limits, np.array([quotas[p] for p in parts], np.int64), pairs, explain=False)
        return {p: int(n) for p, n in zip(parts, found.by_part, strict=True)}

    alone = {p: taken({q: NO_LIMIT if q == p else 0 for q in parts})[p] for p in parts}

    def met(total: int) -> bool:
        quotas = {p: n for p, n in quotas_of(shares, total, least).items() if alone[p]}
        if any(n > alone[p] for p, n in quotas.items()):
            return False
        got = taken(dict.fromkeys(parts, 0) | quotas)
        return all(got[p] >= n for p, n in quotas.items())

    good, bad = 0, largest_total(shares, alone) + sum(least.values()) + 1
    trial = bad - 1  # right at once where parts do not get into one another's way
    while bad - good > 1:
        good, bad = (trial, bad) if met(trial) else (good, trial)
        trial = (good + bad) // 2
    return quotas_of(shares, good, least)


# ------------------------------------------------------------------------------------------------------------ the pass


class Rows(NamedTuple):
    """What is known of the rows; `part` counts the parts of the mix from 0, the rest last."""

    vectors: Floats
    order: Ints
    topic: Ints
    part: Ints
    kept_by_people: Flags


class Limits(NamedTuple):
    """What the recipe says beside the mix; None is no limit."""

    similarity: float | None
    budget: int | None
    topic_cap: int | None


class Pairs(NamedTuple):
    """Rows that may be near enough: the row at place i of an order, and the rows others[bounds[i]:bounds[i + 1]] before it."""

    bounds: Ints
    others: Ints
    cosines: Floats  # in single precision


class Swept(NamedTuple):
    """The outcome of one pass, by row, and the rows taken by part. A row that was not looked at is SKIPPED."""

    reason: Codes
    of: Ints
    cosine: Floats
    by_part: Ints


def _sweep(
    rows: Rows,
    limits: Limits,
    quotas: Ints,
    pairs: Pairs | None,
    *,
    explain: bool,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Swept:
    """Take rows in their order as long as limits and quotas (by part) allow it.

    pairs: of all rows, where they are known. explain: every row gets its reason. Without, rows whose part has its quota may be
    passed over without being compared.
    """
    count, total = len(rows.order), len(quotas)
    swept = Swept(
        np.full(count, SKIPPED, np.int8), np.full(count, -1), np.full(count, np.nan, np.float32), np.zeros(total, int)
    )
    topics, topic = np.unique(rows.topic, return_inverse=True)
    cap = NO_LIMIT if limits.topic_cap is None else limits.topic_cap
    caps, by_topic = np.where(topics == NO_TOPIC, NO_LIMIT, cap), np.zeros(len(topics), np.int64)
    budget, ceiling = NO_LIMIT if limits.budget is None else limits.budget, limits.similarity or np.inf

    def settle(block: Ints, near: Pairs, best: Scores, of: Ints) -> None:
        _settle(
            block, rows.vectors, *near, best, of, ceiling, _slack(rows.vectors), rows.kept_by_people, topic, by_topic, caps,
            rows.part, swept.by_part, quotas, budget, swept.reason,
        )  # fmt: skip
        similar = swept.reason[block] == TOO_SIMILAR
        swept.of[block[similar]], swept.cosine[block[similar]] = of[similar], best[similar]

    if pairs or limits.similarity is None:
        settle(rows.order, pairs or NO_PAIRS._replace(bounds=np.zeros(count + 1, np.int64)), *_nothing_near(count))
        progress(count, count)
        return swept
    taken = Taken(rows.vectors.shape[1])
    for at in range(0, count, BLOCK):
        block = rows.order[at : at + BLOCK]
        if not explain:
            block = block[(swept.by_part < quotas)[rows.part[block]] | rows.kept_by_people[block]]
        own = rows.vectors[block]
        settle(block, _pairs_within(block, own, ceiling), *taken.nearest(own, ceiling))
        kept = swept.reason[block] == KEPT
        taken.add(block[kept], own[kept])
        progress(min(at + BLOCK, count), count)
    return swept


def _slack(vectors: Floats) -> float:
    """Twice the largest error of a product of two of them in single precision, in whatever order BLAS adds.

    Products that are nearer to the ceiling than that, or to one another, are computed again in double precision. So the outcome
    is that of the plain loop, and the sizes of blocks do not matter.
    """
    return float(vectors.shape[1] * np.finfo(np.float32).eps)


def _nothing_near(count: int) -> tuple[Scores, Ints]:
    return np.zeros(count), np.full(count, -1)


class Taken:
    """The rows taken so far, in chunks."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[Ints] = []
        self._vectors: list[Floats] = []
        self._last = CHUNK  # rows in the last chunk
        self._room = np.empty(BLOCK * CHUNK, np.float32)

    def add(self, rows: Ints, vectors: Floats) -> None:
        """Take rows, in their order."""
        while len(rows):
            if self._last == CHUNK:
                self._rows.append(np.empty(CHUNK, np.int64))
                self._vectors.append(np.empty((CHUNK, self._width), np.float32))
                self._last = 0
            n = min(CHUNK - self._last, len(rows))
            self._rows[-1][self._last : self._last + n] = rows[:n]
            self._vectors[-1][self._last : self._last + n] = vectors[:n]
            self._last, rows, vectors = self._last + n, rows[n:], vectors[n:]

    def nearest(self, own: Floats, ceiling: float) -> tuple[Scores, Ints]:
        """Of each vector the cosine to the nearest row taken, and that row; where none reaches the ceiling, 0 and -1."""
        best, of = _nothing_near(len(own))
        for near, top, cosines, rows, vectors in self.compared(own, ceiling):
            _nearest(near, top, cosines, own, rows, vectors, ceiling, _slack(own), best, of)
        return best, of

    def compared(self, own: Floats, ceiling: float) -> Iterator[tuple[Ints, Floats, Floats, Ints, Floats]]:
        """Chunks in which something may reach the ceiling: for which vectors, the largest cosine of each, all cosines, the rows
        and their vectors. The cosines are overwritten by the next chunk's."""
        for number, (rows, vectors) in enumerate(zip(self._rows, self._vectors, strict=True), 1):
            n = self._last if number == len(self._rows) else CHUNK
            cosines = self._room[: len(own) * n].reshape(len(own), n)
            np.matmul(own, vectors[:n].T, out=cosines)
            top = cosines.max(axis=1)
            near = np.flatnonzero(top >= ceiling - _slack(own))
            if len(near):
                yield near, top, cosines, rows[:n], vectors[:n]


def _pairs(rows: Rows, ceiling: float, progress: Callable[[int, int | None], None]) -> Pairs | None:
    """All pairs that may be near enough, so that many passes need no more products; None if there are too many of them."""
    taken, parts, count, found = Taken(rows.vectors.shape[1]), [NO_PAIRS], len(rows.order), 0
    for at in range(0, count, BLOCK):
        block = rows.order[at : at + BLOCK]
        own = rows.vectors[block]
        places, others, cosines = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for near, _, products, earlier, _ in taken.compared(own, ceiling):
            i, j = np.nonzero(products[near] >= ceiling - _slack(own))
            places.append(near[i])
            others.append(earlier[j])
            cosines.append(products[near[i], j])
            found += len(i)
            if found > MOST_PAIRS:
                return None
        within = _pairs_within(block, own, ceiling)
        places.append(np.repeat(np.arange(len(block)), np.diff(within.bounds)))
        others.append(within.others)
        cosines.append(within.cosines)
        parts.append(_by_row(len(block), np.concatenate(places), np.concatenate(others), np.concatenate(cosines)))
        taken.add(block, own)
        progress(min(at + BLOCK, count), count)
    return Pairs(
        np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.bounds) for part in parts]))]),
        np.concatenate([part.others for part in parts]),
        np.concatenate([part.cosines for part in parts]),
    )


def _pairs_within(block: Ints, own: Floats, ceiling: float) -> Pairs:
    """The pairs of rows of one block."""
    cosines = own @ own.T
    i, j = np.nonzero(np.tril(cosines >= ceiling - _slack(own), -1))
    return _by_row(len(block), i, block[j], cosines[i, j])


def _by_row(count: int, places: Ints, others: Ints, cosines: Floats) -> Pairs:
    """Pairs in the order of their first rows, and else as they come."""
    by_place = np.argsort(places, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=count))]).astype(np.int64)
    return Pairs(bounds, others[by_place], cosines[by_place])


NO_PAIRS = Pairs(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@numba.njit(cache=True, nogil=True)
def _exact(a, b):  # type: ignore[no-untyped-def]
    """The product of two vectors in double precision, added up in one order on every machine."""
    total = 0.0
    for k in range(len(a)):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@numba.njit(cache=True, nogil=True)
def _nearest(near, top, cosines, own, rows, vectors, ceiling, slack, best, of):  # type: ignore[no-untyped-def]
    """Find the nearest of a chunk of rows taken, for the vectors `near` of a block; of equals the one taken first."""
    for i in near:
        for j in range(len(rows)):
            if cosines[i, j] >= max(ceiling - slack, best[i] - slack, top[i] - 2 * slack):
                cosine = _exact(own[i], vectors[j])
                if cosine > best[i]:
                    best[i], of[i] = cosine, rows[j]


@numba.njit(cache=True, nogil=True)
def _settle(  # type: ignore[no-untyped-def]
    block, vectors, bounds, others, cosines, best, of, ceiling, slack, kept_by_people, topic, by_topic, caps, part, by_part,
    quotas, budget, reason,
):  # fmt: skip
    """Decide on the rows of a block, one after the other; `best` and `of` of each come to include the pairs before it."""
    taken = by_part.sum()
    for i in range(len(block)):
        row = block[i]
        for k in range(bounds[i], bounds[i + 1]):
            if reason[others[k]] == KEPT and cosines[k] >= max(ceiling, best[i]) - slack:
                cosine = _exact(vectors[row], vectors[others[k]])
                if cosine > best[i]:
                    best[i], of[i] = cosine, others[k]
        if kept_by_people[row]:
            reason[row] = KEPT
        elif best[i] >= ceiling:
            reason[row] = TOO_SIMILAR
        elif by_topic[topic[row]] >= caps[topic[row]]:
            reason[row] = OVER_TOPIC_CAP
        elif taken >= budget:
            reason[row] = OVER_BUDGET
        elif by_part[part[row]] >= quotas[part[row]]:
            reason[row] = OVER_MIX
        else:
            reason[row] = KEPT
        if reason[row] == KEPT:
            by_topic[topic[row]] += 1
            by_part[part[row]] += 1
            taken += 1


def warm_up() -> None:
    """Compile or load the kernels, on a few rows."""
    some, nothing = BLOCK + 1, np.zeros(BLOCK + 1, np.int64)
    choose(np.ones((some, 1), np.float32), np.zeros(some), nothing, nothing, np.zeros(some, np.bool_), similarity=0.5)
