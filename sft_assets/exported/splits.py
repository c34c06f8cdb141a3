"""The train/test split: rows that belong together are never on both sides.

    near_group 51ab...  {"6 x 7?", "6 x 7 ?"}            one component, one side
    record_id  9f3c...  two paths of one OASST tree      one component, one side
    no group            a row alone                      a component of its own

A component's side is a seeded hash of the smallest content hash in it. So the split does not depend on the order of the rows,
and rows that arrive later move no row that they are not tied to.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.int64]
TRAIN, TEST = SPLITS = ("train", "test")


def split(content: pa.Array, ties: Sequence[pa.Array], test_share: float, seed: int) -> pa.Array:
    """The side of each row, "train" or "test".

    content: content hashes; rows of equal content are tied too. ties: columns of group ids, null where a row has no group.
    All are UUID arrays of one length. About `test_share` of the rows go to test. A component of more rows than that share goes
    to train; if all would go to test, the one with the largest draw goes to train (which is empty only where the share is 1).
    """
    component = components([content, *ties])
    n = len(component)
    keys = _smallest(content, component)
    sizes = np.bincount(component, minlength=n)
    draws = {int(root): draw(key, seed) for root, key in keys}
    test = {root for root, place in draws.items() if place < test_share and sizes[root] <= test_share * n}
    if test and len(test) == len(draws) and test_share < 1:
        test.remove(max(test, key=lambda root: draws[root]))
    in_test = np.zeros(n, dtype=bool)
    in_test[list(test)] = True
    return pc.if_else(pa.array(in_test[component]), TEST, TRAIN)


def draw(key: bytes, seed: int) -> float:
    """A number in [0, 1) that depends on the key and the seed alone."""
    return int.from_bytes(blake2b(key, digest_size=6, key=str(seed).encode()).digest()) / 2**48


def components(columns: Sequence[pa.Array]) -> Rows:
    """The connected component of each row, named by its first row: union-find over rows that share a value of a column."""
    n = len(columns[0])
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in columns:
        codes = _storage(column).dictionary_encode().indices
        rows = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
        _, first, group = np.unique(codes.drop_null().to_numpy(), return_index=True, return_inverse=True)
        anchors = rows[first][group]
        tied = anchors != rows
        for a, b in zip(anchors[tied].tolist(), rows[tied].tolist(), strict=True):
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return np.array([root(row) for row in range(n)], dtype=np.int64)


def _smallest(content: pa.Array, component: Rows) -> list[tuple[int, bytes]]:
    """Each component with the smallest content hash in it."""
    values = _storage(content)
    order = pc.sort_indices(values).to_numpy()
    roots, first = np.unique(component[order], return_index=True)
    keys: list[bytes] = values.take(pa.array(order[first])).to_pylist()
    return list(zip(roots.tolist(), keys, strict=True))


def _storage(array: Any) -> Any:
    """UUIDs as 16 bytes each, in one piece."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.storage if isinstance(array, pa.ExtensionArray) else array
