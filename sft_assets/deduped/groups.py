"""Rows that belong together, each group under the smallest row id in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def named(labels: npt.NDArray[Any], row_id: npt.NDArray[np.void], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each of `rows` the row with the smallest id among those of the same label, or -1 where it is alone.

    labels: one for each of `rows`. row_id: 16 bytes for each row that there is.
    """
    names = np.full(len(rows), -1, np.int64)
    order = np.argsort(labels, kind="stable")
    same = labels[order[1:]] == labels[order[:-1]]
    together = np.zeros(len(rows), np.bool_)
    together[order[1:]] |= same
    together[order[:-1]] |= same
    some = np.flatnonzero(together)
    if not len(some):
        return names
    ids = row_id[rows[some]].view(">u8").reshape(-1, 2)
    some = some[np.lexsort((ids[:, 1], ids[:, 0], labels[some]))]  # the smallest id first in each group
    first = np.concatenate([[True], labels[some[1:]] != labels[some[:-1]]])
    names[some] = rows[some[first]][np.cumsum(first) - 1]
    return names
