"""Train, validation and test: rows that belong together are never on two sides, and each topic is on all of them.

    near_group 51ab...  {"6 x 7?", "6 x 7 ?"}            one component, one side
    record_id  9f3c...  two paths of one OASST tree      one component, one side
    no group            a row alone                      a component of its own

Each component has a draw in [0, 1), a seeded hash of the smallest content hash in it:

    0 ........ test_share ............................ 1 - validation_share ........ 1
       test                         train                             validation

A draw knows nothing of other rows. With draws alone no row would ever move because others came, but what a topic gives would
be left to chance (0.05 of a topic of 40 rows: no row at all in one case of eight). To cut each topic at its own quantile would
meet the share, and move rows at every cut whenever rows come. Here the draws hold as long as a topic's side has what is due to
it, give or take one row or a fifth, whichever is more; else the components with the draws nearest to the cut make up for it.

So no row moves because rows came to other topics (unless they change what the topics are). In a topic that grows by a tenth,
simulated with single rows and a share of 0.05, some of the test rows change: 17 % of them at 40 rows, 8 % at 100, 3 % at 200,
0.4 % at 1,000, none at 3,000. Rows without a topic are a topic of their own here, and topics of which less than one row is due
to a side are one together; a component that spans topics counts where most of its rows are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
SLACK = 0.2  # of what is due to a topic
LAST = 1 - 2**-48  # the largest draw


def split(
    content: pa.Array,
    ties: Sequence[pa.Array],
    test_share: float,
    seed: int,
    validation_share: float = 0.0,
    topics: pa.Array | None = None,
) -> pa.Array:
    """The side of each row, one of SPLITS.

    content: content hashes; rows of equal content are tied too. ties: columns of group ids, null where a row has no group. All
    are UUID arrays of one length. topics: what topic each row is in, null for none. The shares are of the rows of each topic,
    as near as whole components come. A component of more rows than the share of the whole set goes to train; if nothing were
    left to train on, the component whose draw is the nearest to train's goes there (unless the shares are everything).
    """
    if not len(content):
        return pa.array([], pa.string())
    component = components([content, *ties])
    sizes = np.bincount(component)
    stratum = _pooled(_strata(topics, component, len(sizes)), sizes, test_share, validation_share)
    draws = drawn(_smallest(content, component, len(sizes)), seed)
    side = np.zeros(len(sizes), dtype=np.int8)
    for number, share, place in ((2, test_share, draws), (1, validation_share, LAST - draws)):
        side[_taken(place, share, sizes, stratum, side == 0)] = number
    if side.all() and test_share + validation_share < 1:
        side[np.argmax(np.minimum(draws - test_share, LAST - validation_share - draws))] = 0
    return pa.array(SPLITS).take(pa.array(side[component]))


def drawn(keys: Iterable[bytes], seed: int) -> Floats:
    """For each key a number in [0, 1) that depends on it and the seed alone."""
    begun = blake2b(digest_size=6, key=str(seed).encode())

    def digest(key: bytes) -> bytes:
        hashed = begun.copy()
        hashed.update(key)
        return b"\0\0" + hashed.digest()

    return np.frombuffer(b"".join(map(digest, keys)), dtype=">u8").astype(np.float64) / 2**48


def components(columns: Sequence[pa.Array]) -> Ints:
    """The number of each row's connected component, where rows that share a value of a column are connected."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(columns[0])
    ends: list[tuple[Ints, Ints]] = []
    for column in columns:
        codes = _storage(column).dictionary_encode().indices
        rows = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
        group = codes.drop_null().to_numpy()
        first = np.empty(group.max(initial=-1) + 1, dtype=np.int64)
        first[group[::-1]] = rows[::-1]
        tied = first[group] != rows
        ends.append((first[group[tied]], rows[tied]))
    a, b = (np.concatenate(rows) for rows in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n)).tocsr()
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers, dtype=np.int64)


def _taken(place: Floats, share: float, sizes: Ints, stratum: Ints, free: Bools) -> list[int]:
    """The components of one side: those in the first `share` of the places, within the slack of each stratum."""
    due = share * np.bincount(stratum, weights=sizes)
    slack = np.maximum(1, SLACK * due)
    least, most = np.ceil(np.round(due - slack, 6)).tolist(), np.floor(np.round(due + slack, 6)).tolist()
    able = np.flatnonzero(free & (sizes <= share * sizes.sum()) & (share > 0))
    able = able[np.lexsort((place[able], stratum[able]))]
    by_draw, rest = able[place[able] < share], able[place[able] >= share]
    rows = [0] * len(due)
    taken: list[int] = []

    def take(candidates: Ints, until: Sequence[float]) -> None:
        for one, size, topic in zip(*(v.tolist() for v in (candidates, sizes[candidates], stratum[candidates])), strict=True):
            if rows[topic] < until[topic] and rows[topic] + size <= most[topic]:
                rows[topic] += size
                taken.append(one)

    take(by_draw, most)
    short = np.array(rows) < least
    take(rest[short[stratum[rest]]], least)
    return taken


def _strata(topics: pa.Array | None, component: Ints, n: int) -> Ints:
    """The topic of most rows of each component, the first of those that have equally many."""
    if topics is None:
        return np.zeros(n, dtype=np.int64)
    known = pc.unique(topics).drop_null().sort()
    of_row = pc.index_in(topics, known).fill_null(len(known)).to_numpy(zero_copy_only=False).astype(np.int64)
    pairs, rows = np.unique(component * (len(known) + 1) + of_row, return_counts=True)
    of_pair, topic = np.divmod(pairs, len(known) + 1)
    order = np.lexsort((topic, -rows, of_pair))
    _, first = np.unique(of_pair[order], return_index=True)
    return np.asarray(topic[order][first], dtype=np.int64)


def _pooled(stratum: Ints, sizes: Ints, *shares: float) -> Ints:
    """Strata of which less than one row is due to a side are one: alone, each would give none of its larger components."""
    least = min((share for share in shares if share), default=1.0)
    rows = np.bincount(stratum, weights=sizes)
    return np.where(rows[stratum] * least < 1, len(rows), stratum)


def _smallest(content: pa.Array, component: Ints, n: int) -> list[bytes]:
    """The smallest content hash of each component."""
    values = _storage(content)
    halves = np.frombuffer(values.buffers()[1], dtype=">u8").reshape(-1, 2)[values.offset :][: len(values)]
    high, low = halves.T.astype(np.uint64)
    order = np.lexsort((low, high))[::-1]
    row = np.empty(n, dtype=np.int64)
    row[component[order]] = order  # the last that is written is the smallest
    return values.take(pa.array(row)).to_pylist()  # type: ignore[no-any-return]


def _storage(array: Any) -> Any:
    """UUIDs as 16 bytes each, in one piece."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.storage if isinstance(array, pa.ExtensionArray) else array
