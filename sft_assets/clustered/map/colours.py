"""What the map and its picture paint things with: the same name has the same colour in both.

    {"fractions and ratios": "#3f90da", "sql queries": "#ffa90e", "fractions in recipes": "#bd1f01", ...}

More names than colours is the rule. Neighbours on the map get different ones: the most frequent name chooses first, and each
takes the colour whose nearest bearer so far is furthest away.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Petroff's colours (arXiv:2107.02270) without the greys, which are for what was dropped, and two more, found in the same way:
# seen with any kind of colour blindness, no two are closer than 18 (CIE 1976)
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#b9ac70", "#92dadd", "#e76300", "#a96b59", "#a62190", "#6a4cff")
NONE = "#94a4a2"  # of rows without a topic, a language, a score
STAYS = ("kept", "review")
DROPPED_STATES = ("deduped", "decontaminated", "scored", "clustered")


class Factor:
    """A column of names as numbers. names: the most frequent first; counts: their rows; codes: each row's place in names."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        column = column.cast(pa.string()).fill_null("")
        counts = {c["values"]: c["counts"] for c in column.value_counts().to_pylist()}
        self.names: list[str] = sorted(counts, key=lambda name: (-counts[name], name))
        self.counts: list[int] = [counts[name] for name in self.names]
        place = {name: i for i, name in enumerate(self.names)}
        self.codes: NDArray[np.int32] = np.array([place[name] for name in column.to_pylist()], np.int32)

    def medians(self, points: Points) -> NDArray[np.float32]:
        """Where each name is on the map: the median of its rows that stay, else of all (names, 2)."""
        result = np.zeros((len(self.names), 2), np.float32)
        ends = np.cumsum(self.counts)[:-1]
        for i, rows in enumerate(np.split(np.argsort(self.codes, kind="stable"), ends) if self.names else []):
            stay = rows[points.stays[rows]]
            result[i] = np.median(points.xy[stay if len(stay) else rows], axis=0)
        return result


class Points:
    """What is to be drawn: coordinates (rows, 2), and which rows stay."""

    def __init__(self, table: pa.Table) -> None:
        self.xy: NDArray[np.float32] = np.column_stack([floats(table["x"]), floats(table["y"])])
        self.stays: NDArray[np.bool_] = np.isin(np.array(table["state"].to_pylist(), object), STAYS)


def floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of numbers; null becomes NaN."""
    return np.asarray(column.cast(pa.float32()).fill_null(float("nan")).combine_chunks(), np.float32)


def colours(names: list[str], places: NDArray[np.float32]) -> list[str]:
    """One colour for each name, the most important first; the empty name is grey. places: (names, 2)"""
    placed: dict[str, list[NDArray[np.float32]]] = {colour: [] for colour in PALETTE}
    result = []
    for name, place in zip(names, places, strict=True):
        if not name:
            result.append(NONE)
            continue
        # of equally good colours the first: while there are enough they come in the palette's order
        best = max(PALETTE, key=lambda c: min((float(np.hypot(*(place - p))) for p in placed[c]), default=float("inf")))
        placed[best].append(place)
        result.append(best)
    return result


def state_colours(names: list[str]) -> list[str]:
    """The colours of kept, of review and of the states that dropped rows: the same on every map."""
    known = dict(zip((*STAYS, *DROPPED_STATES), PALETTE, strict=False))
    return [known.get(name, NONE) for name in names]
