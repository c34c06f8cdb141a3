"""What a run of deduped tells people: how similar pairs were, the largest groups, the pairs on either side of the threshold.

0.8021  9f3c...  ... the capital of [France] ...     stays: 51ab...  ... the capital of [Italy] ...
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from sft_assets.deduped.near import Duplicates
from sft_assets.warehouse.build import Build

SHOWN = 10
WIDTH = 90  # characters of a text
LEAD = 30  # of them before the first difference


def of(build: Build, row_id: npt.NDArray[np.void], found: Duplicates) -> dict[str, Any]:
    """The notes of the version: counts, and tables with texts whose names begin with `sample_`."""
    ids = row_id.view(">u8").reshape(-1, 2)[:, 0]  # rows come in any order: of alike ones the first by id are shown
    meant = ~np.isnan(found.meaning[:, 0])
    near = np.flatnonzero((found.of >= 0) & ~found.exact & (found.through < 0) & ~meant)
    above = near[np.lexsort((ids[near], found.jaccard[near]))][:SHOWN]
    missed = np.flatnonzero(found.to >= 0)
    below = missed[np.lexsort((ids[missed], -found.closest[missed]))][:SHOWN]
    keepers, sizes = np.unique(found.of[found.of >= 0], return_counts=True)
    largest = np.lexsort((ids[keepers], -sizes))[:SHOWN]
    exact = np.flatnonzero(found.exact)
    exact = exact[np.argsort(ids[exact])][:SHOWN]
    semantic = np.flatnonzero(meant & (found.through < 0))
    semantic = semantic[np.lexsort((ids[semantic], found.meaning[semantic].sum(axis=1)))][:SHOWN]
    shown = np.concatenate([above, found.of[above], below, found.to[below], keepers[largest], exact, found.of[exact]])
    shown = np.concatenate([shown, semantic, found.of[semantic]])
    texts = _texts(build, row_id, np.unique(shown))

    def pair(how: str, row: Any, other: Any) -> dict[str, str]:
        ours, theirs = apart(texts[row], texts[other])
        return {
            "similarity": how, "row": _short(row_id, row), "text": ours, "stays": _short(row_id, other), "its text": theirs,
        }  # fmt: skip

    return {
        "similarities": histogram(found.histogram),
        "sample_just_above": [pair(f"{found.jaccard[i]:.4f}", i, found.of[i]) for i in above],
        "sample_just_below": [pair(f"{found.closest[i]:.4f}", i, found.to[i]) for i in below],
        "sample_dropped": [pair("equal", i, found.of[i]) for i in exact],
        "sample_semantic": [pair("prompt {:.3f}, answer {:.3f}".format(*found.meaning[i]), i, found.of[i]) for i in semantic],
        "sample_largest_groups": [
            {"stays": _short(row_id, keepers[i]), "gone": f"{sizes[i]:,}", "text": texts[keepers[i]][:WIDTH]} for i in largest
        ],
    }


def histogram(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Pairs that were compared, by their similarity, in steps of 0.02: {"0.80 to 0.82": 17, ...}."""
    steps = counts.reshape(-1, 2).sum(axis=1)
    return {f"{i / 50:.2f} to {(i + 1) / 50:.2f}": int(n) for i, n in enumerate(steps) if n}


def apart(a: str, b: str) -> tuple[str, str]:
    """Two texts from a little before the place where they begin to differ."""
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x.lower() != y.lower()), min(len(a), len(b)))
    start = max(0, place - LEAD)
    return tuple(("…" if start else "") + text[start : start + WIDTH] for text in (a, b))  # type: ignore[return-value]


def _texts(build: Build, row_id: npt.NDArray[np.void], rows: npt.NDArray[np.int64]) -> dict[int, str]:
    """All turns of each row in one line, a preference row's losing answer behind them."""
    if not len(rows):
        return {}
    ids = ", ".join(f"'{UUID(bytes=bytes(row_id[row]))}'" for row in rows)
    found = build.con.execute(f"""
        SELECT row_id, array_to_string(list_transform(messages || coalesce(rejected, []), lambda m: m.content), ' | ')
        FROM combined WHERE row_id IN ({ids})
    """).fetchall()
    by_id = {one.bytes: " ".join(text.split()) for one, text in found}
    return {int(row): by_id[bytes(row_id[row])] for row in rows}


def _short(row_id: npt.NDArray[np.void], row: int) -> str:
    return str(UUID(bytes=bytes(row_id[row])))[:8]
