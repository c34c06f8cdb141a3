"""UMAP (https://arxiv.org/abs/1802.03426) over neighbours that are known: seeded, so that the same vectors lie the same way.

>>> layout(vectors, neighbours, dimensions=2, min_dist=0.1, seed=0)
array([[3.1, -0.4], ...], dtype=float32)

The layout starts from the principal components. A few vectors, of which UMAP can make nothing, stay where these put them.
Vectors that were not fitted are placed amid those of their neighbours that were (`placed`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from sft_assets.clustered.projection.nearest import Neighbours

EPOCHS = 200  # UMAP takes 500 for up to 10,000 rows, for topics that are neither purer nor stabler
FEW = 15  # vectors: fewer have no neighbourhoods
DECIMALS = 4
Floats = npt.NDArray[np.float32]


def layout(vectors: Floats, neighbours: Neighbours, dimensions: int, min_dist: float, seed: int) -> Floats:
    """Coordinates (vectors x dimensions), around 0. neighbours: of each vector, as many as UMAP is to see, less itself."""
    if len(vectors) < FEW:
        return _rounded(_principal(vectors, dimensions))
    itself = np.arange(len(vectors), dtype=np.int32)[:, None]
    rows = np.hstack([itself, neighbours.rows])
    distances = np.hstack([np.zeros((len(vectors), 1), np.float32), np.maximum(1 - neighbours.similarities, 0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        fitted: Any = UMAP(
            n_components=dimensions,
            n_neighbors=rows.shape[1],
            min_dist=min_dist,
            n_epochs=EPOCHS,
            metric="cosine",
            init="pca",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(rows, distances),
            force_approximation_algorithm=True,  # else it takes no known neighbours of under 4,096 vectors
        ).fit_transform(vectors)
    return _rounded(np.nan_to_num(fitted - np.nanmedian(fitted, axis=0)))


def placed(coordinates: Floats, neighbours: Neighbours) -> Floats:
    """Coordinates of vectors amid their neighbours, the nearer ones counting for more."""
    weights = (
        np.maximum(neighbours.similarities.astype(np.float64), 1e-6) ** 8
    )  # near ones pull a row to where they are, far ones hardly do
    weights /= weights.sum(axis=1, keepdims=True)
    return _rounded(np.einsum("qk,qkd->qd", weights, coordinates[neighbours.rows]))


def _principal(vectors: Floats, dimensions: int) -> Floats:
    result = np.zeros((len(vectors), dimensions), np.float32)
    if len(vectors) > 1:
        u, s, _ = np.linalg.svd((vectors - vectors.mean(axis=0)).astype(np.float64), full_matrices=False)
        most = min(dimensions, len(s))
        signs = np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])  # the sign of a component is arbitrary
        result[:, :most] = (u * s * signs)[:, :most]
    return result


def _rounded(coordinates: npt.NDArray[Any]) -> Floats:
    return (np.round(coordinates.astype(np.float64), DECIMALS) + 0.0).astype(np.float32)  # + 0.0: no -0.0
