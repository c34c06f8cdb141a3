"""Topics out of coordinates, and groups out of topics.

HDBSCAN (https://doi.org/10.1007/978-3-642-37456-2_14) finds dense regions and calls the rest noise. Where that degenerates (one
or two regions, nearly all in one, or mostly noise) its leaves are tried, then k-means, which leaves no noise. Topics are
numbered by size, the largest is 0; the groups are the average linkage of the topics' centres, cut where it parts best
(silhouette).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
NOISE = -1
MOST_NOISE = 0.5  # share of contents beyond which density tells nothing
MOST_IN_ONE = 0.5  # share of contents in one topic, beyond which it says little of any of them
FEWEST, SMALLEST = 3, 5  # topics of a result that is no failure; contents of the smallest topic
TRIED = 24  # numbers of groups
SPREAD = 4  # k-means makes topics that are so many times the smallest


@dataclass(frozen=True)
class Clusters:
    """labels: the topic of each content, -1 for noise. probabilities: how surely it is in it (0 to 1). how: hdbscan (eom),
    hdbscan (leaf), k-means or one (topic)."""

    labels: Ints
    probabilities: Floats
    how: str

    @property
    def topics(self) -> int:
        return int(self.labels.max(initial=NOISE)) + 1

    @property
    def noise(self) -> float:
        return float((self.labels == NOISE).mean()) if len(self.labels) else 0.0

    @property
    def largest(self) -> float:
        """The share of the contents that are in the largest topic."""
        return float((self.labels == 0).mean()) if len(self.labels) else 0.0

    @property
    def degenerate(self) -> bool:
        return self.topics < FEWEST or self.noise > MOST_NOISE or self.largest > MOST_IN_ONE


def smallest(contents: int) -> int:
    """Contents of the smallest topic, where the recipe does not say: 11 of 2,000, 35 of 20,000."""
    return max(SMALLEST, round(sqrt(contents) / 4))


def clusters(coordinates: Floats, min_size: int) -> Clusters:
    """Topics of coordinates (contents x dimensions)."""
    n = len(coordinates)
    if n < 2 * min_size:
        return Clusters(np.zeros(n, np.int32), np.ones(n, np.float32), "one")
    tried = []
    for method in ("eom", "leaf"):
        tried.append(_by_density(coordinates, min_size, method))
        if not tried[-1].degenerate:
            return tried[-1]
    if n < FEWEST * 2 * min_size:  # too few for three topics: one or two are what there is
        return next((found for found in tried if found.topics and found.noise <= MOST_NOISE), _k_means(coordinates, min_size))
    return _k_means(coordinates, min_size)


def _by_density(coordinates: Floats, min_size: int, method: str) -> Clusters:
    from sklearn.cluster import HDBSCAN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = HDBSCAN(min_cluster_size=min_size, cluster_selection_method=method, copy=True).fit(coordinates)
    return Clusters(*_by_size(found.labels_, found.probabilities_), f"hdbscan ({method})")


def _k_means(coordinates: Floats, min_size: int) -> Clusters:
    from sklearn.cluster import KMeans

    k = max(
        1, min(round(sqrt(len(coordinates) / 2)), len(coordinates) // (SPREAD * min_size), len(np.unique(coordinates, axis=0)))
    )
    found = KMeans(n_clusters=k, n_init=4, random_state=0).fit(coordinates)
    nearest = np.sort(found.transform(coordinates), axis=1)[:, :2]
    # 1 at a centre, 0.5 halfway to the next
    sure = nearest[:, 1] / np.maximum(nearest.sum(axis=1), 1e-12) if k > 1 else np.ones(len(coordinates))
    return Clusters(*_by_size(found.labels_, sure), "k-means")


def _by_size(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> tuple[Ints, Floats]:
    """The same topics numbered by size; of equal ones the one whose first content comes first."""
    topics, first, sizes = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    number = {int(topics[place]): rank for rank, place in enumerate(order)}
    numbered = np.array([number.get(int(label), NOISE) for label in labels], np.int32)
    return numbered, probabilities.astype(np.float32)


def centres(vectors: Floats, labels: Ints, topics: int) -> Floats:
    """The mean vector of each topic, of unit length (topics x dimensions)."""
    from scipy.sparse import csr_matrix

    inside = np.flatnonzero(labels != NOISE)
    chosen = csr_matrix((np.ones(len(inside)), (labels[inside], inside)), (topics, len(vectors)))
    sums = np.asarray(chosen @ vectors)
    made: Floats = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return made


def groups(middles: Floats, wanted: int | None) -> Ints:
    """The group of each topic, by its centre; numbered by their first topic, so that group 0 holds the largest topic."""
    n = len(middles)
    if (n <= FEWEST and wanted is None) or n < 2:
        return np.arange(n, dtype=np.int32)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    apart = np.maximum(1 - middles.astype(np.float64) @ middles.T.astype(np.float64), 0)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average")
    least, most = max(2, round(sqrt(n))), max(2, ceil(n / 2))
    counts = [wanted] if wanted else sorted({*np.geomspace(least, most, TRIED).round().astype(int).tolist()})
    best, labels = -2.0, np.zeros(n, np.int64)
    for count in counts:
        cut = fcluster(tree, count, "maxclust")
        parts = len(np.unique(cut))
        score = float(silhouette_score(apart, cut, metric="precomputed")) if 1 < parts < n else -1.0
        if score > best:
            best, labels = score, cut
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int32)[place]
