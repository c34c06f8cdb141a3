"""projection: where the rows lie, by UMAP: in five dimensions for the topics, in two for the map.

    content_hash  x     y     coordinates          fitted  neighbours         similarities
    9f3c...       3.11  -0.4  [1.2, 0.3, ...]      true    [51ab..., 0c5e...] [0.83, 0.79, ...]

Of more contents than `fit_rows` those whose hash comes first are fitted, a sample that stays when rows are added; the others
are placed amid their nearest ones in it, so that time and memory grow with the rows. `neighbours` are the nearest that were
fitted, exactly. `coordinates_again` are those of another seed: how far the topics are the same in both is their stability.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.asset import model_evidence
from sft_assets.clustered.embeddings import read_vectors
from sft_assets.clustered.projection.nearest import Neighbours, nearest
from sft_assets.clustered.projection.umap_layout import layout, placed
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Law, Table

DIMENSIONS = 5
KEPT = 10  # neighbours that are stored
TABLE = Table(
    "projection",
    columns={
        "content_hash": "UUID",
        "x": "FLOAT",
        "y": "FLOAT",
        "coordinates": f"FLOAT[{DIMENSIONS}]",
        "coordinates_again": f"FLOAT[{DIMENSIONS}]",
        "fitted": "BOOLEAN",
        "neighbours": "UUID[]",
        "similarities": "FLOAT[]",
    },
    is_state=False,
    laws=(
        Law(
            "every_vector_has_a_place",
            "a content has a place where it has a vector, one, and in numbers",
            """
            SELECT (SELECT count(*) FROM {table} AS t FULL JOIN embeddings AS e USING (content_hash)
                    WHERE t.content_hash IS NULL OR e.content_hash IS NULL)
                 + (SELECT count(*) - count(DISTINCT content_hash) FROM {table})
                 + (SELECT count(*) FROM {table} WHERE NOT (isfinite(x) AND isfinite(y)))
            """,
        ),
    ),
)
Floats = npt.NDArray[np.float32]


@model_evidence(TABLE, deps=("embeddings",), code=1, kinds=["python"])
def projection(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """Where each row lies: UMAP's five and two dimensions, and the nearest neighbours."""
    section = recipe.projection
    with evidence.reading() as con:
        contents, vectors = read_vectors(con, evidence.of("embeddings"))
    fitted = min(section.fit_rows, len(vectors))
    steps = 4 * len(vectors)  # neighbours and three layouts

    def done(rows: int) -> None:
        evidence.progress(rows, steps)

    around = nearest(vectors, vectors[:fitted], max(section.neighbors - 1, KEPT), recipe.engine.threads, done)
    seen = around.first(section.neighbors - 1)
    flat = _layouts(vectors[:fitted], vectors, seen, 2, section.min_dist, section.seed)
    done(2 * len(vectors))
    deep = _layouts(vectors[:fitted], vectors, seen, DIMENSIONS, 0.0, section.seed)
    done(3 * len(vectors))
    again = _layouts(vectors[:fitted], vectors, seen, DIMENSIONS, 0.0, section.seed + 1)
    done(steps)
    kept = around.first(KEPT)
    evidence.insert(
        pa.table(
            {
                "content_hash": contents,
                "x": flat[:, 0],
                "y": flat[:, 1],
                "coordinates": _arrays(deep),
                "coordinates_again": _arrays(again),
                "fitted": np.arange(len(vectors)) < fitted,
                "neighbours": _lists(contents.take(pa.array(kept.rows.reshape(-1))), kept.rows.shape),
                "similarities": _lists(pa.array(kept.similarities.round(4).reshape(-1)), kept.rows.shape),
            }
        )
    )
    evidence.notes |= {"contents": len(vectors), "fitted": fitted, "placed": len(vectors) - fitted, "seed": section.seed}


def _layouts(sample: Floats, vectors: Floats, neighbours: Neighbours, dimensions: int, min_dist: float, seed: int) -> Floats:
    """Coordinates of all vectors, of which the first ones are the sample."""
    some = layout(sample, neighbours.of(slice(len(sample))), dimensions, min_dist, seed)
    if len(vectors) == len(sample):
        return some
    return np.vstack([some, placed(some, neighbours.of(slice(len(sample), None)))])


def _arrays(values: Floats) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _lists(values: pa.Array, shape: tuple[int, ...]) -> Any:
    return pa.ListArray.from_arrays(pa.array(np.arange(shape[0] + 1, dtype=np.int32) * shape[1]), values)
