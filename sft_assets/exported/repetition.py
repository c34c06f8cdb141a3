"""Sources whose rows stand in the train files several times: `exported.repeat: {questions: 2.5}`.

    row 5f0c...  draw 0.31   written 3 times      0.31 < 0.5: one of the rows that stand once more
    row 9f3c...  draw 0.84   written 2 times

The table `exported` has each row once, and validation and test are never repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.errors import SftError, did_you_mean
from sft_assets.exported.splits import drawn


class Repetition:
    """Repeats the rows of batches by their source, and counts them. times: source -> how often, from 1."""

    def __init__(self, times: Mapping[str, float], seed: int):
        self.times, self.seed = times, seed
        self.counts: dict[str, dict[str, Any]] = {name: {"rows": 0, "times": n, "written": 0} for name, n in times.items()}

    def __call__(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The rows, then those that are to stand there twice, then those three times ...: so copies are no neighbours."""
        if not self.times:
            yield rows
            return
        often = np.ones(len(rows), dtype=np.int64)
        for name, times in self.times.items():
            mine = pc.equal(rows.column("source"), name).fill_null(False)
            times_each = self._often(rows.column("row_id").filter(mine), times)
            often[mine.to_numpy(zero_copy_only=False)] = times_each
            self.counts[name]["rows"] += len(times_each)
            self.counts[name]["written"] += int(times_each.sum())
        for done in range(often.max(initial=0)):
            yield rows.filter(pa.array(often > done))

    def _often(self, ids: pa.Array, times: float) -> npt.NDArray[np.int64]:
        whole = int(times)
        draws = drawn((row_id.encode() for row_id in ids.to_pylist()), self.seed)
        return (whole + (draws < times - whole)).astype(np.int64)


def check_sources(times: Mapping[str, float], known: Collection[str], place: str) -> None:
    """Refuse sources that nobody knows.

    Raises:
        SftError: names the first of them, and what comes close.
    """
    for name in times:
        if name not in known:
            raise SftError(f"{place}: there is no source {name!r}; {did_you_mean(name, sorted(known))}")
