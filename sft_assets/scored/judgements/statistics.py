"""Figures with their intervals: a share, an agreement beyond chance, a rank correlation.

    share(18, 20)                     ->   0.90, from 0.70 to 0.97     Wilson
    kappa([1, 0, 1, ...], [1, 1, ...])   ->   0.41, from 0.12 to 0.68     bootstrap over the pairs
    alpha([[2, 0], [1, 2], ...])      ->   0.55, from 0.31 to 0.74     bootstrap over the items
    spearman(scores, lengths)         ->   0.22, from -0.10 to 0.50    bootstrap

All intervals are of 95 %. Too few values, or none that differ, give None: nothing can be said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Z = 1.959964  # of the normal distribution, for 95 %
RESAMPLES = 1000
DRAWN = 2_000_000  # observations of all resamples: with many rows there are fewer resamples, and their spread is small
FEWEST = 5


class Figure(NamedTuple):
    """A value with its interval of 95 %, from `n` observations."""

    value: float
    low: float
    high: float
    n: int


def share(some: int, n: int) -> Figure | None:
    """A share with Wilson's interval."""
    if n == 0:
        return None
    p, z2 = some / n, Z * Z
    middle, half = (p + z2 / (2 * n)) / (1 + z2 / n), Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Figure(p, max(middle - half, 0.0), min(middle + half, 1.0), n)


def kappa(ours: Sequence[float], theirs: Sequence[float], weighted: bool = False) -> Figure | None:
    """Cohen's kappa; quadratically weighted for scores, plain for classes."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    values = np.unique(np.concatenate([a, b]))
    if len(a) < FEWEST or len(values) < 2:
        return None
    places = np.searchsorted(values, a), np.searchsorted(values, b)

    def of(rows: npt.NDArray[np.intp]) -> float:
        x, y = places[0][rows], places[1][rows]
        if weighted:
            # by moments: of pairs drawn by chance the mean square is the sum of both variances and of the bias squared
            apart = float(((x - y) ** 2).mean())
            by_chance = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
        else:
            apart = float((x != y).mean())
            shares = [np.bincount(side, minlength=len(values)) / len(rows) for side in (x, y)]
            by_chance = 1 - float(shares[0] @ shares[1])
        return 1 - apart / by_chance if by_chance > 1e-12 else 1.0

    return _bootstrapped(of, len(a))


def alpha(counts: Sequence[Sequence[int]]) -> Figure | None:
    """Krippendorff's alpha for classes. counts: of each item, how many people gave it each class; items of which fewer than two
    spoke say nothing. Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011)."""
    said = np.array([line for line in counts if sum(line) > 1], float)
    if len(said) < FEWEST or np.count_nonzero(said.sum(axis=0)) < 2:
        return None
    people = said.sum(axis=1)
    equal = (said * (said - 1)).sum(axis=1) / (people - 1)

    def of(rows: npt.NDArray[np.intp]) -> float:
        n, classes = people[rows].sum(), said[rows].sum(axis=0)
        by_chance = n * n - (classes**2).sum()
        return float(1 - (n - 1) * (n - equal[rows].sum()) / by_chance) if by_chance else 1.0

    return _bootstrapped(of, len(said))


def spearman(ours: Sequence[float], theirs: Sequence[float]) -> Figure | None:
    """Spearman's rank correlation."""
    from scipy.stats import rankdata

    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    if len(a) < FEWEST or len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return None

    def of(rows: npt.NDArray[np.intp]) -> float:
        x, y = rankdata(a[rows]), rankdata(b[rows])
        return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else float("nan")

    return _bootstrapped(of, len(a))


def _bootstrapped(of: Callable[[npt.NDArray[np.intp]], float], n: int) -> Figure:
    rng = np.random.default_rng(0)
    resampled = np.array([of(rng.integers(0, n, n)) for _ in range(min(RESAMPLES, max(DRAWN // n, 100)))])
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Figure(of(np.arange(n)), float(low), float(high), n)
