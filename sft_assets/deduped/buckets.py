"""Which rows may be near duplicates of each other: those that share a bucket.

A bucket is a band of the MinHash signatures, of rows whose guards agree. Where one is crowded (a template of which every row
has something of its own) its rows are put into finer buckets, one for each of their rarest shingles: two sets with Jaccard
similarity t or more have a shingle in common among the |x| - ceil(t |x|) + 1 rarest of each, so nothing is lost (Chaudhuri et
al. 2006, the prefix filter; Xiao et al. 2008, PPJoin), and what the template gives all its rows brings none of them together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from sft_assets.cores import cores

CROWDED = 128  # rows of one band; more are put into finer buckets
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class Buckets(NamedTuple):
    """Row i is in the buckets member[pointers[i]:pointers[i + 1]]; bucket b has room from starts[b] to starts[b + 1]."""

    pointers: Ints
    member: npt.NDArray[np.int32]
    starts: Ints


class Band(NamedTuple):
    """The rows that share their key of one band with another row, and their keys."""

    rows: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint32]


def shared_bands(bands: npt.NDArray[np.uint32], kind: npt.NDArray[np.uint8], rows: npt.NDArray[np.int32]) -> list[Band]:
    """For each band those of `rows` whose key another row of their kind has too, equal keys beside each other."""
    slots = 1 << max(10, min(26, len(rows).bit_length() + 2))
    number, workers = bands.shape[1], cores()

    def every(first: int) -> list[Band]:
        often, keys = np.empty(slots, np.uint8), np.empty(len(rows), np.uint32)  # one memory for all bands of a thread
        return [one(band, often, keys) for band in range(first, number, workers)]

    def one(band: int, often: npt.NDArray[np.uint8], room: npt.NDArray[np.uint32]) -> Band:
        some, keys = _seen_twice(bands, band, kind, rows, np.uint32(slots - 1), often, room)
        order = np.argsort(keys, kind="stable")
        some, keys = some[order], keys[order]
        same = keys[1:] == keys[:-1]
        shares = np.zeros(len(keys), np.bool_)
        shares[1:] |= same
        shares[:-1] |= same
        return Band(some[shares], keys[shares])

    with ThreadPoolExecutor(workers) as pool:
        made = list(pool.map(every, range(workers)))
    return [made[band % workers][band // workers] for band in range(number)]


@numba.njit(cache=True, nogil=True)
def _seen_twice(bands, band, kind, rows, mask, often, keys):  # type: ignore[no-untyped-def]
    """The rows, and their keys, whose slot of `often` another row has too: all that share a key, and some that do not."""
    often[:] = 0
    shared = 0
    for i in range(len(rows)):
        row = rows[i]
        keys[i] = bands[row, band] ^ np.uint32(np.uint32(kind[row]) * np.uint32(0x9E3779B1))
        slot = keys[i] & mask
        if often[slot] < 2:
            often[slot] += 1
            shared += often[slot]
        else:
            shared += 1
    some, theirs = np.empty(shared, np.int32), np.empty(shared, np.uint32)
    n = 0
    for i in range(len(rows)):
        if often[keys[i] & mask] > 1:
            some[n], theirs[n] = rows[i], keys[i]
            n += 1
    return some[:n], theirs[:n]


def buckets(
    bands: list[Band], guard: Words, values: Words, bounds: Ints, sizes: Ints, threshold: float, crowded: int = CROWDED
) -> Buckets:
    """The buckets of rows 0 to len(guard) - 1 (`bands` speaks of these numbers). values, bounds, sizes: their shingle sets."""
    members: list[npt.NDArray[np.int32]] = []
    names: list[npt.NDArray[np.int32]] = []
    crowd = np.zeros(len(guard), np.bool_)
    number = 0

    def one(band: Band) -> tuple[Ints, Ints]:
        return _grouped(band.keys.astype(np.uint64) << np.uint64(32) | guard[band.rows] >> np.uint64(32), band.rows)

    def take(rows: Ints, sizes: Ints) -> None:
        nonlocal number
        members.append(rows.astype(np.int32))
        names.append(np.repeat(np.arange(number, number + len(sizes), dtype=np.int32), sizes))
        number += len(sizes)

    with ThreadPoolExecutor(cores()) as pool:
        grouped = list(pool.map(one, bands))
    for rows, begins in grouped:
        sizes_here = np.diff(np.append(begins, len(rows)))
        crowd[rows[np.repeat(sizes_here > crowded, sizes_here)]] = True
        small = (sizes_here > 1) & (sizes_here <= crowded)
        take(rows[np.repeat(small, sizes_here)], sizes_here[small])
    if crowd.any():
        rows, keys = _prefixes(np.flatnonzero(crowd), guard, values, bounds, sizes, threshold)
        rows, begins = _grouped(keys, rows)
        sizes_here = np.diff(np.append(begins, len(rows)))
        several = sizes_here > 1
        take(rows[np.repeat(several, sizes_here)], sizes_here[several])
    member, name = np.concatenate(members), np.concatenate(names)
    for lists in (grouped, members, names):  # as large together as what is made of them
        lists.clear()
    order = np.argsort(member, kind="stable")
    pointers = np.concatenate([[0], np.cumsum(np.bincount(member, minlength=len(guard)))]).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(name, minlength=number))]).astype(np.int64)
    return Buckets(pointers, name[order].astype(np.int32), starts)


def _grouped(keys: Words, rows: Any) -> tuple[Ints, Ints]:
    """(rows with equal keys beside each other, where each group begins)."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return rows[order].astype(np.int64), begins


def _prefixes(rows: Ints, guard: Words, values: Words, bounds: Ints, sizes: Ints, threshold: float) -> tuple[Ints, Words]:
    """(row, key) for the rarest shingles of each row; a key is of a shingle and a guard, and stands at two rows or more."""
    slots = 1 << 22
    often = np.zeros(slots, np.uint32)
    _tally(rows, values, bounds, sizes, np.uint64(slots - 1), often)
    lengths = sizes[rows] - np.ceil(threshold * sizes[rows] - 1e-9).astype(np.int64) + 1
    places = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    keys = np.empty(int(places[-1]), np.uint64)
    edges = np.linspace(0, len(rows), 4 * cores() + 1).astype(int)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(
            lambda a, b: _rarest(rows[a:b], guard, values, bounds, sizes, places[a:], np.uint64(slots - 1), often, keys),
            edges[:-1], edges[1:],
        ))  # fmt: skip
    some = _seen_twice_wide(keys)
    return np.repeat(rows, lengths)[some], keys[some]


@numba.njit(cache=True, nogil=True)
def _tally(rows, values, bounds, sizes, mask, often):  # type: ignore[no-untyped-def]
    """How many sets have a shingle, by the low bits of its hash."""
    for row in rows:
        for i in range(bounds[row], bounds[row] + sizes[row]):
            often[values[i] & mask] += 1


@numba.njit(cache=True, nogil=True)
def _rarest(rows, guard, values, bounds, sizes, places, mask, often, keys):  # type: ignore[no-untyped-def]
    """The keys of the rarest shingles of each row, in an order that is the same for all rows."""
    room = 0
    for row in rows:
        room = max(room, sizes[row])
    weight = np.empty(room, np.uint64)
    for i in range(len(rows)):
        row, n = rows[i], sizes[rows[i]]
        for k in range(n):
            value = values[bounds[row] + k]
            weight[k] = (np.uint64(often[value & mask]) << np.uint64(40)) | (value >> np.uint64(24))
        wanted = places[i + 1] - places[i]
        chosen = np.partition(weight[:n], wanted - 1)[:wanted] if wanted < n else weight[:n]
        for k in range(wanted):
            keys[places[i] + k] = (chosen[k] * np.uint64(0x9FB21C651E98DF25)) ^ guard[row]


@numba.njit(cache=True, nogil=True)
def _seen_twice_wide(keys):  # type: ignore[no-untyped-def]
    slots = 1 << 10
    while slots < 4 * len(keys) and slots < 1 << 26:
        slots <<= 1
    often = np.zeros(slots, np.uint8)
    mask = np.uint64(slots - 1)
    for key in keys:
        slot = (key >> np.uint64(20)) & mask
        if often[slot] < 2:
            often[slot] += 1
    out = np.empty(len(keys), np.int64)
    n = 0
    for i in range(len(keys)):
        if often[(keys[i] >> np.uint64(20)) & mask] > 1:
            out[n] = i
            n += 1
    return out[:n].copy()
