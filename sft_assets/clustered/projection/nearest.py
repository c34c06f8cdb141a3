"""The nearest neighbours of vectors by cosine, exactly.

>>> nearest(vectors, vectors[:20_000], 15)
Neighbours(rows=<int32, vectors x 15>, similarities=<float32, vectors x 15>)

Blocks of queries go through one matrix product each, on as many threads as there are cores. The few that come out nearest are
measured again in double precision, so that the order does not depend on how the product was cut. Of equals the first counts.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from sft_assets.cores import cores

BLOCK = 512  # queries in one product
SPARE = 8  # candidates beyond k: single precision may misplace the last ones
DECIMALS = 6
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class Neighbours(NamedTuple):
    """For each query, of its nearest points the most similar first: their rows and cosines (queries x k)."""

    rows: Ints
    similarities: Floats

    def first(self, k: int) -> Neighbours:
        """The k nearest of each."""
        return Neighbours(self.rows[:, :k], self.similarities[:, :k])

    def of(self, queries: Any) -> Neighbours:
        """Those of some queries: a slice, numbers, or a mask."""
        return Neighbours(self.rows[queries], self.similarities[queries])


def nearest(
    vectors: Floats,
    points: Floats,
    k: int,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
    among: bool = True,
) -> Neighbours:
    """The k points nearest to each vector (of unit length, or zero).

    among: `points` are the first of `vectors`, and none of them is its own neighbour. Where there are fewer than k others,
    there are fewer columns.
    """
    k = min(k, len(points) - among)
    rows, similarities = np.zeros((len(vectors), max(k, 0)), np.int32), np.zeros((len(vectors), max(k, 0)), np.float32)
    if k <= 0 or not len(vectors):
        return Neighbours(rows, similarities)
    found = min(k + 1 + SPARE, len(points))
    transposed = np.ascontiguousarray(points.T)

    def work(start: int) -> int:
        some = vectors[start : start + BLOCK]
        product = some @ transposed
        own = np.arange(start, start + len(some)) if among else np.full(len(some), len(points))
        inside = own < len(points)
        product[np.flatnonzero(inside), own[inside]] = -np.inf
        best = np.argpartition(product, len(points) - found, axis=1)[:, -found:].astype(np.int32)
        best.sort(axis=1)
        cosines = np.einsum("qd,qkd->qk", some.astype(np.float64), points[best].astype(np.float64)).round(DECIMALS)
        cosines[best == own[:, None]] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        rows[start : start + len(some)] = np.take_along_axis(best, order, axis=1)
        similarities[start : start + len(some)] = np.take_along_axis(cosines, order, axis=1)
        return len(some)

    done = 0
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or cores()) as pool:
        for future in as_completed([pool.submit(work, start) for start in range(0, len(vectors), BLOCK)]):
            progress(done := done + future.result())
    return Neighbours(rows, similarities)
