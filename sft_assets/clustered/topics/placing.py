"""What belongs to no topic: given to the nearest one, and listed where it stands apart.

noise     HDBSCAN gave it no topic; it is placed where most of its neighbours are
outlier   it is much farther from its neighbours than these are from theirs
island    a handful of contents that are near each other and nobody else
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sft_assets.clustered.projection.nearest import Neighbours
from sft_assets.clustered.topics.hierarchy import NOISE

FACTOR = 1.5  # times as far from its neighbours as these from theirs
FEW = 5  # neighbours that are looked at
SMALLEST = 3  # contents of an island
GAP = 0.1  # of cosine
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


def vote(labels: Ints, neighbours: Neighbours, topics: int) -> tuple[Ints, Floats]:
    """The topic that most of the neighbours of each row are in, weighted by similarity, and its share; -1 where none has one.

    labels: of what `neighbours.rows` names; noise has a vote too, where it is not -1.
    """
    winners, shares = np.full(len(neighbours.rows), NOISE, np.int32), np.zeros(len(neighbours.rows), np.float32)
    for start in range(0, len(winners), 4096):
        some = slice(start, start + 4096)
        theirs, weights = labels[neighbours.rows[some]], np.maximum(neighbours.similarities[some], 1e-6)
        votes = np.zeros((len(theirs), topics + 1), np.float64)
        np.add.at(votes, (np.arange(len(theirs))[:, None], np.where(theirs == NOISE, topics, theirs)), weights)
        best = votes[:, :topics].argmax(axis=1) if topics else np.full(len(theirs), NOISE)
        top = votes[np.arange(len(theirs)), best] if topics else np.zeros(len(theirs))
        winners[some] = np.where(top > 0, best, NOISE)
        shares[some] = top / np.maximum(votes.sum(axis=1), 1e-12)
    return winners, shares


def outliers(neighbours: Neighbours) -> Flags:
    """The contents that are far from their neighbours, as contents go, and much farther than these are from theirs (a simple
    local outlier factor, https://doi.org/10.1145/335191.335388)."""
    if not neighbours.rows.size:
        return np.zeros(len(neighbours.rows), np.bool_)
    far = 1 - neighbours.similarities[:, :FEW].mean(axis=1).astype(np.float64)
    theirs = far[neighbours.rows[:, :FEW]].mean(axis=1)
    flags: Flags = (far > FACTOR * np.maximum(theirs, 1e-6)) & (far > np.median(far))
    return flags


def islands(neighbours: Neighbours, most: int) -> Ints:
    """The island of each content (numbered by their first), -1 for the mainland.

    Contents are tied where each is among the other's neighbours and they are as near as fifth neighbours usually are. What
    hangs together so and has SMALLEST to `most` contents is an island if the nearest content outside is farther by GAP than
    they are from each other.
    """
    n, k = neighbours.rows.shape
    result = np.full(n, NOISE, np.int32)
    if k < FEW:
        return result
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    near = neighbours.similarities >= np.median(neighbours.similarities[:, FEW - 1])
    row, column = np.nonzero(near)
    graph = csr_matrix((np.ones(len(row), np.int8), (row, neighbours.rows[row, column])), (n, n))
    _, labels = connected_components(graph.multiply(graph.T), directed=False)
    parts, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    same = place[neighbours.rows] == place[:, None]
    outside = np.full(len(parts), -1.0)
    np.maximum.at(outside, place, np.where(same, -1, neighbours.similarities).max(axis=1))
    links = np.bincount(place, same.sum(axis=1), len(parts))
    inside = np.bincount(place, np.where(same, neighbours.similarities, 0).sum(axis=1), len(parts)) / np.maximum(links, 1)
    alone = (sizes >= SMALLEST) & (sizes <= min(most, k)) & (outside < inside - GAP)
    members = np.flatnonzero(alone[place])
    _, first, number = np.unique(place[members], return_index=True, return_inverse=True)
    result[members] = np.argsort(np.argsort(first))[number]
    return result
