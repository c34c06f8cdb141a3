"""Where generated rows belong: the topic whose centre is nearest, and a place on the map beside the nearest row.

vectors of generated rows, of all rows, and the topic of each of these   ->   topic 3, cosine 0.71 to its centre, (3.1, -0.4)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sft_assets.clustered.projection.nearest import nearest

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Placed(NamedTuple):
    """topic: of each row, -1 for none. similarity: cosine to the topic's centre. nearest: which row is nearest, -1 for none."""

    topic: Ints
    similarity: Floats
    nearest: Ints


def place(vectors: Floats, others: Floats, topics: Ints) -> Placed:
    """The nearest topic of each vector (rows x dimensions, of length 1, or 0 where there is no text).

    others: the vectors of the rows that have topics. topics: of each of these, -1 for none.
    """
    n = len(vectors)
    if not n or not len(others) or not (topics >= 0).any():
        return Placed(np.full(n, -1, np.int64), np.zeros(n, np.float32), np.full(n, -1, np.int64))
    names, number = np.unique(topics[topics >= 0], return_inverse=True)
    sums = np.zeros((len(names), others.shape[1]), np.float32)
    np.add.at(sums, number, others[topics >= 0])
    centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    cosines = vectors @ centres.T
    best = cosines.argmax(axis=1)
    spoken = np.abs(vectors).sum(axis=1) > 0
    nearby = nearest(vectors, others, 1, among=False).rows[:, 0].astype(np.int64)
    topic = np.where(spoken, names[best], -1)
    similarity: Floats = np.where(spoken, cosines[np.arange(n), best], 0).astype(np.float32)
    return Placed(topic, similarity, np.where(spoken, nearby, -1))
