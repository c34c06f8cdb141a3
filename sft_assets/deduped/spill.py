"""Numbers of many rows, more than there may be memory for: past a limit they go to a file that has no name.

spill.add(values, counts);  spill.take(rows)  ->  the values of those rows one after the other, and where each begins
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any

import numba
import numpy as np
import numpy.typing as npt

IN_MEMORY = 256 << 20  # bytes
CHUNK = 4 << 20  # values


class Spill:
    """An append-only store of 64-bit values, some for each row. folder: where the file is made once it is needed."""

    def __init__(self, folder: Path | None = None, in_memory: int = IN_MEMORY):
        self.folder, self.in_memory = folder, in_memory
        self.parts: list[npt.NDArray[np.uint64]] = []
        self.counts: list[npt.NDArray[np.int64]] = []
        self.held = 0
        self.file: IO[bytes] | None = None

    def add(self, values: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64]) -> None:
        """Append the values of the next rows; row i has counts[i] of them."""
        self.counts.append(counts)
        self.parts.append(values)
        self.held += values.nbytes
        if self.held > self.in_memory:
            if self.file is None:
                if self.folder:
                    self.folder.mkdir(parents=True, exist_ok=True)
                self.file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  # lives as long as the store
            for part in self.parts:
                part.tofile(self.file)
            self.parts, self.held = [], 0

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """(values, bounds) of the rows with these ascending numbers: rows[i] has values[bounds[i]:bounds[i + 1]]."""
        counts = np.concatenate(self.counts) if self.counts else np.zeros(0, np.int64)
        ends = np.cumsum(counts)
        sizes = counts[rows]
        bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        begins = ends[rows] - sizes
        values = np.empty(int(bounds[-1]), np.uint64)
        position = 0
        for part in self._stored():
            _gather(part, position, begins, bounds, values)
            position += len(part)
        return values, bounds

    def _stored(self) -> Any:
        if self.file is not None:
            self.file.flush()
            self.file.seek(0)
            while len(part := np.fromfile(self.file, np.uint64, CHUNK)):
                yield part
        yield from self.parts

    def close(self) -> None:
        """Let go of memory and file."""
        self.parts, self.counts = [], []
        if self.file is not None:
            self.file.close()


@numba.njit(cache=True, nogil=True)
def _gather(part, position, begins, bounds, values):  # type: ignore[no-untyped-def]
    """Copy what of the wanted rows lies in this part, which begins at `position` of all values."""
    stop = position + len(part)
    row = np.searchsorted(begins, position, side="right") - 1
    row = max(row, 0)
    while row < len(begins) and begins[row] < stop:
        first = max(begins[row], position)
        last = min(begins[row] + bounds[row + 1] - bounds[row], stop)
        at = bounds[row] + first - begins[row]
        for i in range(first, last):
            values[at + i - first] = part[i - position]
        row += 1
