"""A few new rows against all that there are: which of them is a duplicate of a row, and of which.

    new 4d07...  "Name the capital of France, please, and say why."   0.86 of 51ab...  "Name the capital of France, please, ..."

A duplicate is what it is among the rows of `deduped`: the same equality, shingles, bands, guards and threshold, and the exact
Jaccard similarity decides. The new rows are indexed and the others stream past them once, so memory is bounded by the new ones.
A new row names a row that is equal to it, else the most similar one; of several the one with the smallest id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.deduped.near import texts_batch
from sft_assets.deduped.profiles import MIN_TOKENS, Profiles, bands_for, profiled
from sft_assets.deduped.verify import Sets, similarity
from sft_assets.recipe import Deduped

PENDING = 1 << 20  # shingles of rows that share a band with a new row: so many are verified together, at least
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class Match(NamedTuple):
    """The row that another one is a duplicate of. jaccard: of their shingle sets; 1.0 of an exact duplicate."""

    of: bytes
    jaccard: float
    exact: bool


def duplicates_of(
    new: Iterable[pa.RecordBatch],
    others: Iterable[pa.RecordBatch],
    section: Deduped,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[bytes, Match]:
    """Of the new rows those that are duplicates of others, by row_id. Batches have the columns that `profiles.TURNS` names.

    Without new rows nothing is read of the others. progress: how many of these were.
    """
    shape = (
        section.compare,
        bands_for(section.threshold, section.permutations) if section.near else (0, 1),
        section.permutations,
    )
    guarded, done = section.keep_if_numbers_differ, 0
    made = [Rows.of(rows, shingles, np.arange(len(rows)), guarded) for rows, shingles in profiled(new, *shape)]
    if not made:
        return {}
    indexed = Rows.joined(made)
    equal, near = _Equal(indexed), _Near(indexed, section.threshold, guarded)
    for rows, shingles in profiled(others, *shape):
        equal.look(rows)
        if section.near:
            near.look(rows, shingles)
        progress(done := done + len(rows))
    near.verify()
    return near.found() | equal.found()


def warm_up() -> None:
    """Compile or load the kernels of this module, on a handful of rows."""
    text = "the quick brown fox jumps over the lazy dog and runs away"
    new, others = texts_batch([text], np.arange(1)), texts_batch([f"{text} now", text], np.arange(1, 3))
    duplicates_of([new], [others], Deduped(threshold=0.5))


class Rows(NamedTuple):
    """What is compared of rows. keys: of each band, with half of the guard in it (rows x bands). counts: how many shingles each
    has, 0 of one that is too short to be a near duplicate."""

    row_id: npt.NDArray[np.void]  # 16 bytes
    equal: Words  # rows x 2
    guard: Words
    keys: Words
    counts: Ints
    shingles: Words

    @classmethod
    def of(cls, rows: Profiles, shingles: Words, some: Ints, guarded: bool) -> Rows:
        """The rows with these numbers. guarded: whether rows whose numbers differ are no duplicates."""
        bounds = np.concatenate([[0], np.cumsum(rows.shingles, dtype=np.int64)])
        own = [np.zeros(0, np.uint64), *(shingles[bounds[row] : bounds[row + 1]] for row in some)]
        guard = rows.guards(some, guarded)
        counts = rows.shingles[some].astype(np.int64)
        return cls(rows.row_id[some], rows.equal[some], guard, _keys(rows, some, guard), counts, np.concatenate(own))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _keys(rows: Profiles, some: Ints, guard: Words) -> Words:
    keys: Words = rows.bands[some].astype(np.uint64) << np.uint64(32) | guard[:, None] >> np.uint64(32)
    return keys


class _Equal:
    """Of the rows that a new one is equal to the smallest id."""

    def __init__(self, new: Rows):
        self.new, self.low = new, np.unique(new.equal[:, 0])
        self.of: dict[bytes, bytes] = {}

    def look(self, rows: Profiles) -> None:
        for row in np.flatnonzero(np.isin(rows.equal[:, 0], self.low)):
            key, row_id = rows.equal[row].tobytes(), bytes(rows.row_id[row])
            self.of[key] = min(row_id, self.of.get(key, row_id))

    def found(self) -> dict[bytes, Match]:
        of = ((bytes(row_id), self.of.get(key.tobytes())) for row_id, key in zip(self.new.row_id, self.new.equal, strict=True))
        return {row_id: Match(other, 1.0, True) for row_id, other in of if other}


class _Near:
    """The new rows by their bands, and the most similar row that each has met.

    keys: of each band, sorted; places: the new rows that they are of. seen: of each band the low bits of its keys, a filter
    that spares most rows the search. pending: rows that share a band with a new row.
    """

    def __init__(self, new: Rows, threshold: float, guarded: bool):
        self.new, self.threshold, self.guarded = new, threshold, guarded
        indexed = np.flatnonzero(new.counts)
        order = np.argsort(new.keys[indexed], axis=0, kind="stable")
        self.keys = np.ascontiguousarray(np.take_along_axis(new.keys[indexed], order, axis=0).T)
        self.places = np.ascontiguousarray(indexed[order].T)
        self.guards = np.unique(new.guard[indexed])
        slots = 1 << max(16, (64 * len(indexed)).bit_length())
        self.seen = np.zeros((len(self.keys), slots), np.bool_)
        self.seen[np.arange(len(self.keys))[:, None], self.keys >> np.uint64(32) & np.uint64(slots - 1)] = True
        self.jaccard, self.of = np.zeros(len(new.counts)), np.zeros((len(new.counts), 2), np.uint64)
        self.pending: list[Rows] = []

    def look(self, rows: Profiles, shingles: Words) -> None:
        if not len(self.guards):
            return
        some = np.flatnonzero((rows.tokens >= MIN_TOKENS) & _may_share(rows.bands, self.seen))
        shares = np.zeros(len(some), np.bool_)
        for own, theirs in zip(self.keys, _keys(rows, some, rows.guards(some, self.guarded)).T, strict=True):
            shares |= own[np.minimum(np.searchsorted(own, theirs), len(own) - 1)] == theirs
        if shares.any():
            self.pending.append(Rows.of(rows, shingles, some[shares], self.guarded))
            if sum(len(one.shingles) for one in self.pending) > max(PENDING, len(self.new.shingles)):
                self.verify()

    def verify(self) -> None:
        """Compare what is pending with the new rows of the same buckets."""
        if not self.pending:
            return
        others = Rows.joined(self.pending)
        self.pending.clear()
        pairs = list(zip(self.keys, others.keys.T, strict=True))
        lows = np.array([np.searchsorted(own, theirs) for own, theirs in pairs])
        highs = np.array([np.searchsorted(own, theirs, side="right") for own, theirs in pairs])
        both = Rows.joined([self.new, others])
        sets = Sets.of(both.shingles, np.concatenate([[0], np.cumsum(both.counts)]))
        met, ids = np.full(len(self.jaccard), -1, np.int64), _halves(others.row_id)
        shared = (lows, highs, self.places, self.new.guard, others.guard, ids, *sets, self.threshold, met)
        _compare(*shared, self.jaccard, self.of)

    def found(self) -> dict[bytes, Match]:
        of = self.of.astype(">u8").view("V16")[:, 0]
        some = np.flatnonzero(self.jaccard)
        return {bytes(self.new.row_id[row]): Match(bytes(of[row]), float(self.jaccard[row]), False) for row in some}


def _halves(row_id: npt.NDArray[np.void]) -> Words:
    """Ids as two numbers each."""
    return np.ascontiguousarray(row_id).view(">u8").reshape(-1, 2).astype(np.uint64)


@numba.njit(cache=True, nogil=True)
def _may_share(bands, seen):  # type: ignore[no-untyped-def]
    """Which rows have a band that the filter has seen."""
    some, mask = np.zeros(len(bands), np.bool_), np.uint32(seen.shape[1] - 1)
    for row in range(len(bands)):
        for band in range(bands.shape[1]):
            if seen[band, bands[row, band] & mask]:
                some[row] = True
                break
    return some


@numba.njit(cache=True, nogil=True)
def _compare(  # type: ignore[no-untyped-def]
    lows, highs, places, guard, guards, ids, values, bounds, sizes, parity, threshold, met, jaccard, of
):  # fmt: skip
    """Put into `jaccard` and `of` what new rows are most similar to among the others, which stand behind them in the sets.

    In each band row i of the others meets the new rows places[band, lows[band, i]] to places[band, highs[band, i] - 1].
    """
    for i in range(len(guards)):
        for band in range(len(lows)):
            for p in range(lows[band, i], highs[band, i]):
                row = places[band, p]
                if met[row] == i or guard[row] != guards[i]:
                    continue
                met[row] = i
                floor = max(threshold, jaccard[row])
                s = similarity(values, bounds, sizes, parity, row, len(guard) + i, floor)
                if s < floor:
                    continue
                first = ids[i, 0] < of[row, 0] or (ids[i, 0] == of[row, 0] and ids[i, 1] < of[row, 1])
                if s > jaccard[row] or first:
                    jaccard[row], of[row, 0], of[row, 1] = s, ids[i, 0], ids[i, 1]
