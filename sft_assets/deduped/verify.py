"""The decision over candidates, compiled: exact Jaccard similarity of shingle sets, best rows first, against rows that stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from sft_assets.cores import cores
from sft_assets.deduped.buckets import Band, Buckets

Ints = npt.NDArray[np.int64]
WORDS = 8  # of 64 bits, in the parity of a set
BINS = 100  # of the histogram of similarities, from 0 to 1
BLOCK = 2048  # rows that are compared with all before them at the same time
PARTS = 5  # of the bands, that are looked through for ties at the same time; the same on every machine
TIES, REACH = 8, 64  # for its near_group alone a row is compared with so many of the rows next to it in a bucket; of so many


class Sets(NamedTuple):
    """Shingle sets: of row i the sorted hashes values[bounds[i]:bounds[i] + sizes[i]], and their parities.

    Bit b of `parity` says whether an odd number of its hashes fall on b: two sets differ in at least as many elements as their
    parities differ in bits (Sandes et al. 2018, the bitmap filter).
    """

    values: npt.NDArray[np.uint64]
    bounds: Ints
    sizes: Ints
    parity: npt.NDArray[np.uint64]  # rows x 8

    @classmethod
    def of(cls, values: npt.NDArray[np.uint64], bounds: Ints) -> Sets:
        """Sort the hashes of each row where they lie, take repeats out."""
        rows = len(bounds) - 1
        made = cls(values, bounds, np.zeros(rows, np.int64), np.zeros((rows, WORDS), np.uint64))
        in_parallel(_make_sets, rows, *made)
        return made


def in_parallel(kernel: Any, rows: int, *values: Any) -> None:
    """Call kernel(first, stop, *values) for slices of the rows, on every core."""
    edges = np.linspace(0, rows, 4 * cores() + 1).astype(int)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda first, stop: kernel(first, stop, *values), edges[:-1], edges[1:]))


@numba.njit(cache=True, nogil=True)
def scatter(values, counts, places, bounds, out):  # type: ignore[no-untyped-def]
    """Put the values of rows, counts[i] of row i one after the other, to where their places begin in `out`."""
    first = 0
    for i in range(len(counts)):
        out[bounds[places[i]] : bounds[places[i]] + counts[i]] = values[first : first + counts[i]]
        first += counts[i]


@numba.njit(cache=True, nogil=True)
def _make_sets(first, stop, values, bounds, sizes, parity):  # type: ignore[no-untyped-def]
    longest = np.int64(0)
    for row in range(first, stop):
        longest = max(longest, bounds[row + 1] - bounds[row])
    spread, counts = np.empty(longest, np.uint64), np.empty(longest + 2, np.int32)
    for row in range(first, stop):
        own = values[bounds[row] : bounds[row + 1]]
        _sort_hashes(own, spread, counts)
        n = 0
        for i in range(len(own)):
            if n == 0 or own[i] != own[n - 1]:
                own[n] = own[i]
                n += 1
                place = own[i] & np.uint64(64 * WORDS - 1)
                parity[row, place >> np.uint64(6)] ^= np.uint64(1) << (place & np.uint64(63))
        sizes[row] = n


@numba.njit(cache=True, nogil=True)
def _sort_hashes(own, spread, counts):  # type: ignore[no-untyped-def]
    """Sort hashes where they lie: as they are spread evenly, each goes near its place at once (a bucket sort, then insertion).

    Repeats are the exception that would make it slow: where many are equal, numpy's sort takes over.
    """
    n = len(own)
    counts[: n + 1] = 0
    for value in own:
        counts[((value >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)] += 1
    most, total = 0, 0
    for k in range(n):
        most = max(most, counts[k])
        counts[k], total = total, total + counts[k]
    if most > 32:
        own.sort()
        return
    for value in own:
        k = ((value >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
        spread[counts[k]] = value
        counts[k] += 1
    for i in range(n):
        value, j = spread[i], i
        while j > 0 and own[j - 1] > value:
            own[j] = own[j - 1]
            j -= 1
        own[j] = value


@numba.njit(cache=True, nogil=True, inline="always")
def _ones(x):  # type: ignore[no-untyped-def]
    """The number of bits that are set."""
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=True, nogil=True)
def similarity(values, bounds, sizes, parity, row, other, floor):  # type: ignore[no-untyped-def]
    """Jaccard similarity of the sets of two rows; 0 as soon as it is sure to be under `floor`."""
    n, m = sizes[row], sizes[other]
    if min(n, m) < floor * max(n, m):
        return 0.0
    need = np.int64(np.ceil(floor / (1 + floor) * (n + m) - 1e-9))  # to have in common
    differ = np.uint64(0)
    for k in range(WORDS):
        differ += _ones(parity[row, k] ^ parity[other, k])
    if np.int64(differ) > n + m - 2 * need:
        return 0.0
    a, b = bounds[row], bounds[other]
    i, j, both = np.int64(0), np.int64(0), np.int64(0)
    while i < n and j < m:
        for _ in range(8):
            if i >= n or j >= m:
                break
            x, y = values[a + i], values[b + j]
            both += x == y
            i, j = i + (x <= y), j + (y <= x)
        if both + min(n - i, m - j) < need:
            return 0.0
    return both / (n + m - both)


class Verdicts(NamedTuple):
    """What `decide` finds. of: the row that stays in a row's stead, or -1; jaccard: to it. closest, to: of a row that stays,
    the most similar one of those that it was compared with, and how similar it is."""

    of: Ints
    jaccard: npt.NDArray[np.float64]
    closest: npt.NDArray[np.float64]
    to: Ints
    histogram: Ints


def decide(
    order: Ints, rank: Ints, buckets: Buckets, guard: npt.NDArray[np.uint64], sets: Sets, threshold: float, floor: float
) -> Verdicts:
    """Go through the rows best first: one within the threshold of a row that stays and has its guard goes, and names it.

    order: the rows, best first; rank: each row's place in it. Similarities under `floor` are not told apart. A block of rows is
    compared with what stays of the blocks before it on every core, then what is left of it within itself.
    """
    rows = len(order)
    found = Verdicts(
        np.full(rows, -1, np.int64), np.ones(rows), np.zeros(rows), np.full(rows, -1, np.int64), np.zeros(BINS, np.int64)
    )
    room, held = np.empty(int(buckets.starts[-1]), np.int32), np.zeros(len(buckets.starts) - 1, np.int32)
    shared = (rank, *buckets, room, held, guard, *sets, threshold, floor)
    workers = cores()
    met = np.full((workers, rows), -1, np.int32)
    counts = np.zeros((workers, BINS), np.int64)
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, rows, BLOCK):
            block = order[first : first + BLOCK]
            if first:
                parts = [(w, block[w::workers]) for w in range(workers)]
                jobs = [
                    pool.submit(_compare, part, 0, first, False, *shared, met[w], *found[:4], counts[w]) for w, part in parts
                ]
                for job in jobs:
                    job.result()
            _compare(block, first, rows, True, *shared, met[0], *found[:4], counts[0])
    found.histogram[:] = counts.sum(axis=0)
    return found


@numba.njit(cache=True, nogil=True)
def _compare(  # type: ignore[no-untyped-def]
    some, lowest, highest, settle, rank, pointers, member, starts, room, held, guard, values, bounds, sizes, parity, threshold,
    floor, met, of, jaccard, closest, to, histogram,
):  # fmt: skip
    """Compare rows with those that stay and whose rank is in lowest to highest - 1; with `settle` a row that stays is put into
    its buckets."""
    for row in some:
        if of[row] >= 0:
            continue
        for p in range(pointers[row], pointers[row + 1]):
            bucket = member[p]
            for q in range(starts[bucket] + held[bucket] - 1, starts[bucket] - 1, -1):
                other = np.int64(room[q])
                if rank[other] < lowest:
                    break  # what comes now has been compared with
                if met[other] == row or guard[other] != guard[row]:
                    continue
                met[other] = row
                s = similarity(values, bounds, sizes, parity, row, other, floor)
                if s > 0:
                    histogram[min(np.int64(s * BINS), BINS - 1)] += 1
                if s >= threshold:
                    of[row], jaccard[row] = other, s
                    break
                if s > closest[row]:
                    closest[row], to[row] = s, other
            if of[row] >= 0:
                break
        if settle and of[row] < 0:
            for p in range(pointers[row], pointers[row + 1]):
                bucket = member[p]
                room[starts[bucket] + held[bucket]] = row
                held[bucket] += 1


def ties(
    bands: list[Band], rank: Ints, stays: npt.NDArray[np.bool_], guard: npt.NDArray[np.uint64], sets: Sets, threshold: float
) -> Ints:
    """For each row the number of its component: rows that stay though they are within the threshold, as their guards differ."""

    def some_bands(part: int) -> Ints:
        parent = np.arange(len(rank))
        for band in bands[part::PARTS]:
            here = stays[band.rows]
            keys, rows = band.keys[here], band.rows[here].astype(np.int64)
            grouped = np.lexsort((rank[rows], keys))
            keys, rows = keys[grouped], rows[grouped]
            begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
            _tie(rows, begins, guard, *sets, threshold, parent)
        return parent

    with ThreadPoolExecutor(cores()) as pool:
        first, *others = pool.map(some_bands, range(PARTS))
    for parent in others:
        _unite(first, parent)
    while not np.array_equal(up := first[first], first):
        first = up
    return first


@numba.njit(cache=True, nogil=True)
def _root(parent, row):  # type: ignore[no-untyped-def]
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@numba.njit(cache=True, nogil=True)
def _unite(parent, another):  # type: ignore[no-untyped-def]
    for row in range(len(parent)):
        a, b = _root(parent, row), _root(parent, another[row])
        parent[a] = b


@numba.njit(cache=True, nogil=True)
def _tie(rows, begins, guard, values, bounds, sizes, parity, threshold, parent):  # type: ignore[no-untyped-def]
    """Unite in `parent` rows of one band. rows: those of a bucket beside each other in the order of their rank; begins: where
    each bucket begins."""
    for g in range(len(begins)):
        stop = begins[g + 1] if g + 1 < len(begins) else len(rows)
        for i in range(begins[g] + 1, stop):
            row, tried = rows[i], 0
            for k in range(i - 1, max(begins[g], i - REACH) - 1, -1):
                other = rows[k]
                if guard[other] == guard[row] or _root(parent, other) == _root(parent, row):
                    continue
                if similarity(values, bounds, sizes, parity, row, other, threshold) >= threshold:
                    parent[_root(parent, row)] = _root(parent, other)
                else:
                    tried += 1
                    if tried == TIES:
                        break
