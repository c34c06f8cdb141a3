"""Where people would draw the line: of each signal the threshold that parts what they drop from what they keep.

    helpfulness   dropped 31, kept 64   drop_below 2.5  (2.5 to 3.5)   catches 84 % of what they drop, 6 % of what they keep

The threshold is the one with the greatest difference of these two shares (Youden's J). Rows that people are asked about are not
a sample of the data, bad ones are among them more often: so the precision of a threshold in them would say nothing of the data,
while neither share depends on how many of the rows are bad. Of equal ones the threshold that drops the fewest is taken.

It is said only with LEAST rows on either side, and where the difference is more than chance gives: J is the one-sided statistic
of Kolmogorov and Smirnov, with exp(-2 J^2 nm / (n + m)) as the bound of its probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sft_assets.scored.judgements.statistics import RESAMPLES, Figure, share

LEAST = 10
CHANCE = 0.01
CUTS = 1000  # that the bootstrap chooses from: a score of 200,000 rows has as many values


@dataclass(frozen=True)
class Signal:
    """A number that a state decides by. above: whether what is above the threshold is dropped. setting: of the state's section
    of the recipe. now: the setting as it is."""

    name: str
    state: str
    setting: str
    above: bool
    now: float | None = None


@dataclass(frozen=True)
class Suggestion:
    """What decisions say of a signal. keeps, drops: rows that people keep, and drop. threshold: with its interval; None where
    nothing can be said, for the reason in `silent`. caught, lost: of the rows that people drop, and that they keep, the share
    that it would drop; of the rows that it was found with, and so a little flattering."""

    signal: Signal
    keeps: int
    drops: int
    threshold: Figure | None = None
    caught: Figure | None = None
    lost: Figure | None = None
    silent: str = ""

    @property
    def assignment(self) -> str:
        """For `sft what-if STATE --set`: thresholds.helpfulness.drop_below=2.5"""
        return f"{self.signal.setting}={self.threshold.value!r}" if self.threshold else ""


def suggestion(signal: Signal, keeps: Sequence[float], drops: Sequence[float]) -> Suggestion:
    """The threshold of a signal. keeps, drops: its values in the rows that people keep, and in those that they drop."""
    counts = Suggestion(signal, len(keeps), len(drops))
    if min(len(keeps), len(drops)) < LEAST:
        return _silent(counts, f"fewer than {LEAST} on a side")
    sign = -1.0 if signal.above else 1.0  # what is dropped is below the cut now
    a, b = sign * np.asarray(keeps, float), sign * np.asarray(drops, float)
    values = np.unique(np.concatenate([a, b]))
    kept, dropped = (np.bincount(np.searchsorted(values, side), minlength=len(values)) for side in (a, b))
    differences = _differences(kept, dropped)
    best = int(differences.argmax()) if len(values) > 1 else 0
    if len(values) < 2 or _chance(float(differences[best]), len(a), len(b)) > CHANCE:
        return _silent(counts, "much the same on both")
    cut = _between(float(values[best]), float(values[best + 1]))
    ends = [*_interval(values, kept, dropped), cut]
    low, high = sorted((sign * min(ends), sign * max(ends)))
    return Suggestion(
        signal,
        len(keeps),
        len(drops),
        Figure(sign * cut, low, high, len(a) + len(b)),
        share(int((b < cut).sum()), len(b)),
        share(int((a < cut).sum()), len(a)),
    )


def suggestions(
    signals: Sequence[Signal], keeps: Mapping[str, Sequence[float]], drops: Mapping[str, Sequence[float]]
) -> tuple[Suggestion, ...]:
    """What decisions say of each signal of which any row has a value. keeps, drops: values by signal."""
    heard = [signal for signal in signals if keeps.get(signal.name) or drops.get(signal.name)]
    return tuple(suggestion(signal, keeps.get(signal.name, ()), drops.get(signal.name, ())) for signal in heard)


def _silent(counts: Suggestion, why: str) -> Suggestion:
    return Suggestion(counts.signal, counts.keeps, counts.drops, silent=why)


def _differences(kept: npt.NDArray[np.int64], dropped: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """J of the cut above each value but the last; kept, dropped: how many rows have the value, in the last axis."""
    shares = [side.cumsum(axis=-1) / side.sum(axis=-1, keepdims=True) for side in (dropped, kept)]
    found: npt.NDArray[np.float64] = (shares[0] - shares[1])[..., :-1]
    return found


def _interval(
    values: npt.NDArray[np.float64], kept: npt.NDArray[np.int64], dropped: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Bootstrap over the rows of either side; of many values over runs of them that follow each other."""
    starts = np.unique(np.linspace(0, len(values), CUTS, endpoint=False).astype(int))
    rng = np.random.default_rng(0)
    sides = [np.add.reduceat(side, starts) for side in (kept, dropped)]
    again = [rng.multinomial(side.sum(), side / side.sum(), RESAMPLES) for side in sides]
    cuts = np.array([_between(float(values[start - 1]), float(values[start])) for start in starts[1:]])
    low, high = np.percentile(cuts[_differences(*again).argmax(axis=-1)], [2.5, 97.5])
    return float(low), float(high)


def _chance(difference: float, n: int, m: int) -> float:
    """How probable a J as great is at most, where the values of both sides are alike."""
    return math.exp(-2 * max(difference, 0.0) ** 2 * n * m / (n + m))


def _between(low: float, high: float) -> float:
    """The number with the fewest digits near the middle."""
    middle = (low + high) / 2
    for digits in range(1, 17):
        if low < (short := float(f"{middle:.{digits}g}")) < high:
            return short
    return middle
