"""Rows that lie where a test wants them: vectors of contents as `embeddings` hands them on, made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.clustered.embeddings import TABLE
from sft_assets.folder import Folder
from sft_assets.record import Conversation
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build
from tests.made_rows import hash_of

Floats = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.floating]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def blobs(sizes: Sequence[int], dimensions: int = 24, spread: float = 0.05, seed: int = 0) -> Floats:
    """Vectors of length 1 around as many directions as there are sizes, in that order."""
    random = np.random.default_rng(seed)
    centres = unit(random.normal(size=(len(sizes), dimensions)))
    return unit(np.concatenate([c + spread * random.normal(size=(n, dimensions)) for c, n in zip(centres, sizes, strict=True)]))


def give_vectors(folder: Folder, conversations: Sequence[Conversation], vectors: Floats) -> None:
    """The vectors of distinct contents."""
    table = dataclasses.replace(TABLE, columns={**TABLE.columns, "vector": f"FLOAT[{vectors.shape[1]}]"})
    with Warehouse(folder.database).writing() as con:
        with Build.begin(con, table, "1", {}) as build:
            build.insert(
                pa.table(
                    {
                        "content_hash": uuids(map(hash_of, conversations)),
                        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
                        "cut": pa.array([False] * len(vectors)),
                        "model": pa.array(["made by hand"] * len(vectors)),
                    }
                )
            )
