"""Targets: how many rows each cell is to have, and how many it lacks, in whole rows.

    topics of 900, 80 and 20 rows, tail 0.5   ->   targets of 900, 80 and 80: the last lacks 60
    its rows are 2/3 easy, 1/3 hard           ->   of which about 40 easy, about 20 hard

Rows are only ever added. So where shares are asked for of which there is too much already, the whole grows until they hold, or
until no more rows may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIOR_ROWS = 10  # that stand for all topics where it is asked how a topic's rows are: a topic of 10 rows is half its own
ROUNDS, CLOSE = 200, 1e-9  # of raking: enough where no share asks for a thousand times what there is


@dataclass(frozen=True)
class Targets:
    """What `targets_of` found, in the shape of the counts. lack: rows short of the targets, before `share` is looked at."""

    target: Floats
    missing: Ints
    lack: float


def targets_of(
    counts: npt.ArrayLike,
    tail: float,
    share: float,
    topic_shares: Mapping[int, float] | None = None,
    factors: Sequence[float] | Floats | None = None,
    marginals: Mapping[int, Floats] | None = None,
) -> Targets:
    """The target of each cell, and the rows that it lacks.

    counts: rows by topic, difficulty, length, language and turns; each topic has some. tail: the quantile of the topics' counts
    that each is raised to. share: rows that may be missing per row there is. topic_shares: of topics, by their place; the
    others share the rest. factors: by which a topic's target is multiplied. marginals: by axis (1 to 4) the share of each of
    its values; they add up to 1.

    A topic's new rows are as its own are, and the fewer it has the more as those of all topics in its languages; then all cells
    are raked to the marginals.
    """
    there = np.asarray(counts, np.float64)
    rows, marginals = there.sum(), marginals or {}
    if not rows:
        return Targets(np.zeros(there.shape), np.zeros(there.shape, np.int64), 0.0)
    sizes = there.sum(axis=(1, 2, 3, 4))
    topics = np.maximum(sizes, np.quantile(sizes, tail))
    if topic_shares:
        topics = shares_of(topic_shares, topics) * topics.sum()
    if factors is not None:
        topics = topics * np.asarray(factors, np.float64)
    topics = topics * _growth(there, topics, marginals, (1 + share) * rows)
    target = rake(_seed(there, topics), topics, marginals)
    lacks = np.maximum(target - there, 0)
    lacks[lacks < CLOSE * rows] = 0  # what raking leaves
    lack, most = float(lacks.sum()), int(share * rows + CLOSE)
    total = min(round(lack), most)
    return Targets(target, whole(lacks * (total / lack if total else 0.0), total), lack)


def shares_of(named: Mapping[int, float], weights: Floats) -> Floats:
    """The share of each of some values, by place: of those that are named as it is named, of the others the rest in proportion
    to their weights. They add up to 1: without others to take the rest, those that are named do."""
    shares = np.zeros(len(weights))
    others = np.ones(len(weights), np.bool_)
    for place, share in named.items():
        shares[place], others[place] = share, False
    if others.any() and (rest := 1 - sum(named.values())) > 0:
        weighed = weights * others
        shares += rest * (weighed / weighed.sum() if weighed.any() else others / others.sum())
    whole_share = shares.sum()
    return shares / whole_share if whole_share else np.full(len(weights), 1 / len(weights))


def _growth(there: Floats, topics: Floats, marginals: Mapping[int, Floats], most: float) -> float:
    """By how much all targets grow until nothing is above its share, or until there are `most` rows."""
    pairs = [(there.sum(axis=(1, 2, 3, 4)), topics / topics.sum())]
    pairs += [(there.sum(axis=_but(axis)), shares) for axis, shares in marginals.items()]
    needed = max(float((has[share > 0] / share[share > 0]).max()) for has, share in pairs)
    total = float(topics.sum())
    return max(total, min(needed, most)) / total


def _but(*axes: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(5) if axis not in axes)


def _seed(there: Floats, topics: Floats) -> Floats:
    """The cells of each topic when it has its target and nothing else is asked: its rows, and the new ones as they are."""
    sizes = there.sum(axis=(1, 2, 3, 4))
    overall = there.sum(axis=0)
    spoken = there.sum(axis=(1, 2, 4)) / np.maximum(sizes, 1)[:, None]  # a share of each language, by topic
    in_language = overall / np.maximum(overall.sum(axis=(0, 1, 3)), 1)[None, None, :, None]
    prior = PRIOR_ROWS * in_language[None] * spoken[:, None, None, :, None]
    likely = (there + prior) / (sizes + PRIOR_ROWS)[:, None, None, None, None]
    more = np.maximum(topics - sizes, 0)
    less = np.minimum(topics / np.maximum(sizes, 1), 1)
    seed: Floats = there * _column(less) + likely * _column(more)
    return seed


def _column(values: Floats) -> Floats:
    return values[:, None, None, None, None]


# ------------------------------------------------------------------------------------------------------------------- raking


def rake(seed: Floats, topics: Floats, marginals: Mapping[int, Floats]) -> Floats:
    """The cells nearest to `seed` with these rows in each topic and these shares of each value: iterative proportional fitting
    (Deming and Stephan, https://doi.org/10.1214/aoms/1177731829).

    What a value lacks is first spread over all topics, as their rows are: fitting alone could make nothing of a value that
    nobody has, and would give all of one that is rare to the topic that has some.
    """
    if not marginals:
        return seed
    fitted = seed.copy()
    for axis, shares in marginals.items():
        has = fitted.sum(axis=_but(axis))
        lacks = np.maximum(shares - has / has.sum(), 0)
        fitted += fitted.sum(axis=axis, keepdims=True) * lacks.reshape([-1 if a == axis else 1 for a in range(5)])
    total = topics.sum()
    asked = {axis: shares * total for axis, shares in marginals.items()} | {0: topics}  # topics last: they always hold
    for _ in range(ROUNDS):
        off = 0.0
        for axis, wanted in asked.items():
            has = fitted.sum(axis=_but(axis))
            off = max(off, float(np.abs(has - wanted)[has > 0].max(initial=0)))
            factor = np.divide(wanted, has, out=np.zeros_like(has), where=has > 0)
            fitted *= factor.reshape([-1 if a == axis else 1 for a in range(5)])
        if off <= CLOSE * total:
            break
    return fitted


# ------------------------------------------------------------------------------------------------------------- whole numbers


def whole(exact: Floats, total: int) -> Ints:
    """The exact numbers as whole ones that add up to `total`, their rounded sum.

    Each topic has its part of it by largest remainder. Within a topic a cell's remainder counts for more the more its values
    are owed by the topics before: by remainders alone each topic that lacks one row gets its most usual kind (of 388 rows that
    96 topics lacked 16 were hard where 41.5 were wanted; so, 41).
    """
    cells = np.floor(exact + CLOSE).astype(np.int64)
    rest = np.maximum(exact - cells, 0)
    left = _largest_remainder(exact.sum(axis=(1, 2, 3, 4)), total) - cells.sum(axis=(1, 2, 3, 4))
    units = int(left.sum())
    due = {axis: rest.sum(axis=_but(axis)) / max(units, 1) for axis in range(1, 5)}  # to each value, with every unit
    owed = {axis: np.zeros(len(shares)) for axis, shares in due.items()}
    for topic in np.flatnonzero(left > 0).tolist():
        places = np.nonzero(rest[topic] > 0)
        remainders = rest[topic][places]
        for _ in range(int(left[topic])):
            for axis in owed:
                owed[axis] += due[axis]
            debts = sum(owed[axis][places[axis - 1]] for axis in owed)
            best = int(np.argmax(remainders * np.exp(np.clip(debts, -30, 30))))
            place: tuple[Any, ...] = tuple(int(where[best]) for where in places)
            cells[(topic, *place)] += 1
            remainders[best] = -1  # nothing is rounded up twice
            for axis in owed:
                owed[axis][place[axis - 1]] -= 1
    return cells


def _largest_remainder(exact: Floats, total: int) -> Ints:
    """Whole numbers that add up to `total`, each its exact one rounded down or up; of equal remainders the first goes up."""
    numbers = np.floor(exact + CLOSE).astype(np.int64)
    order = np.argsort(numbers - exact, kind="stable")
    numbers[order[: max(total - int(numbers.sum()), 0)]] += 1
    return numbers
