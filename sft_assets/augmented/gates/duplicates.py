"""The gates of exact and near duplicates: against all rows of combined, the dropped ones too, and among generated rows.

7c20...  near_duplicate   {"of": "51ab...", "jaccard": 0.8611}     of a row of combined, whatever became of it later
b1d4...  exact_duplicate  {"of": "7c20...", "jaccard": 1.0}        of a generated row that comes before it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.augmented.candidate import Fall
from sft_assets.augmented.gates.gate import BATCH, Found, Stream, batches_of, filled, ids_of, without
from sft_assets.deduped.against import Match, duplicates_of
from sft_assets.deduped.near import Order, near_duplicates
from sft_assets.deduped.profiles import TURNS, Profiles, bands_for, profiles
from sft_assets.recipe import Deduped


class Combined:
    """The rows of combined. What was found of a row is remembered: they are read once for each lot of new rows."""

    def __init__(self, stream: Stream, section: Deduped, progress: Callable[[int], None] = lambda done: None):
        self.stream, self.section, self.progress = stream, section, progress
        self.known: dict[bytes, Match | None] = {}

    def exact(self, rows: pa.Table) -> Found:
        """Rows that are equal to one of combined."""
        return Found({row_id: _fall(match) for row_id, match in self._matches(rows).items() if match.exact})

    def near(self, rows: pa.Table) -> Found:
        """Rows that are within the threshold of one of combined."""
        return Found({row_id: _fall(match) for row_id, match in self._matches(rows).items() if not match.exact})

    def _matches(self, rows: pa.Table) -> dict[bytes, Match]:
        if len(new := without(rows, self.known)):
            found = duplicates_of(batches_of(new), self.stream(f"SELECT {TURNS} FROM combined"), self.section, self.progress)
            self.known |= {row_id: found.get(row_id) for row_id in ids_of(new)}
        return {row_id: match for row_id in ids_of(rows) if (match := self.known[row_id])}


def _fall(match: Match) -> Fall:
    reason = "exact_duplicate" if match.exact else "near_duplicate"
    return Fall(reason, {"of": str(UUID(bytes=match.of)), "jaccard": round(match.jaccard, 4)})


def among(rows: pa.Table, section: Deduped, priority: Sequence[float]) -> dict[bytes, Fall]:
    """The generated rows that are duplicates of another one which stays, as `deduped` finds them.

    priority: of each row; of two the one with the higher stays, and if they are equal the one that `deduped` would keep.
    """
    if not len(rows):
        return {}
    numbered = filled(rows).append_column("number", pa.array(np.arange(len(rows))))

    def read(some: npt.NDArray[np.int64] | None, ordered: bool) -> Iterator[pa.RecordBatch]:
        chosen = numbered if some is None else numbered.take(pa.array(some))
        yield from chosen.combine_chunks().to_batches(BATCH)

    bands = bands_for(section.threshold, section.permutations) if section.near else (0, 1)
    made, rank = _ranked(
        profiles(read(None, False), section.compare, bands, section.permutations), np.asarray(priority, np.float64)
    )
    guarded = section.keep_if_numbers_differ
    found = near_duplicates(made, read, section.compare, section.threshold, guarded, rank, section.near)
    gone = np.flatnonzero(~found.stays)
    falls = {}
    for row, reason in zip(gone, found.reasons(gone), strict=True):
        names = {"of": found.of[row]} | ({"through": found.through[row]} if found.through[row] >= 0 else {})
        told = {name: str(UUID(bytes=bytes(made.row_id[other]))) for name, other in names.items()}
        falls[bytes(made.row_id[row])] = Fall(str(reason), {**told, "jaccard": round(float(found.jaccard[row]), 4)})
    return falls


def _ranked(rows: Profiles, priority: npt.NDArray[Any]) -> tuple[Profiles, npt.NDArray[np.int64]]:
    """The rows, each as a source of its own, and the priorities of these: no two are the same."""
    best_first = Order(rows, None).sorted(np.arange(len(rows)))
    best_first = best_first[np.argsort(-priority[best_first], kind="stable")]
    rank = np.empty(len(rows), np.int64)
    rank[best_first] = np.arange(len(rows))[::-1]
    return Profiles(**{**rows._asdict(), "source": np.arange(len(rows), dtype=np.int32), "sources": [""] * len(rows)}), rank
