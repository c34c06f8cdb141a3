"""Near duplicates of more rows than there is memory for: a Bloom filter for each band, from datasketch's MinHashLSHBloom.

    a row is seen    ->  its 25 bands are new     ->  it stays, and nothing of it is held
    another is seen  ->  band 17 was seen before  ->  a hit

A hit names no row, so the rows are read once more: those that share the band of a hit, few as a rule, are compared as ever, and
the result is that of the ordinary way. Without confirmation a hit goes as it is, best rows first, and one in so many is a row
that is like no other. (Khan et al. 2024, LSHBloom, arXiv:2411.04257.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.deduped.near import Duplicates, Order, Read, near_duplicates
from sft_assets.deduped.profiles import Profiles, bands_for, numbers_of, profiles, signatures
from sft_assets.engine import Engine
from sft_assets.engine.local import LOCAL
from sft_assets.errors import SftError
from sft_assets.recipe import Deduped

Ints = npt.NDArray[np.int64]
_PRIME = np.uint64((1 << 61) - 1)


class Seen:
    """Which bands were seen before, of signatures that come one after the other.

    rows: how many are to come. false_positives: the share of them for which a filter may say "seen" of a band that was not;
    each of the filters gets its part of it.

    Raises:
        SftError: the package that datasketch needs for it is not installed.
    """

    def __init__(self, rows: int, false_positives: float, bands: tuple[int, int], permutations: int):
        from datasketch import MinHashLSHBloom

        self.bands = bands
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # that it is in memory
                self.index = MinHashLSHBloom(num_perm=permutations, n=max(rows, 1), fp=false_positives / bands[0], params=bands)
        except ImportError:
            raise SftError(
                "deduped.bloom needs the package pybloomfilter3, which is compiled when it is installed (a C compiler and the "
                "Python headers are needed): pip install 'sft-assets[bloom]', or take `bloom` out of the recipe"
            ) from None

    def keys(self, signatures: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """The hash of each band as datasketch makes it: the sum of its values (rows x bands)."""
        number, width = self.bands
        sums: npt.NDArray[np.uint64] = signatures[:, : number * width].astype(np.uint64).reshape(-1, number, width).sum(axis=2)
        return sums % _PRIME

    def add(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Whether each band of each row was seen before it; from now on it was."""
        hits = np.empty(keys.shape, np.bool_)
        for band, table in enumerate(self.index.hashtables):
            hits[:, band] = list(map(table.bloom_filter.add, keys[:, band].tolist()))
        return hits


def bloom_duplicates(
    rows: Profiles,
    read: Read,
    section: Deduped,
    priority: Ints,
    progress: Callable[[int], None] = lambda done: None,
    held: npt.NDArray[np.bool_] | None = None,
    engine: Engine = LOCAL,
    spill: str | None = None,
) -> Duplicates:
    """The duplicates among `rows`, whose profiles have no bands. held, spill: as in `near_duplicates`."""
    exact = near_duplicates(rows, read, section.compare, section.threshold, priority=priority, near=False)
    bands = bands_for(section.threshold, section.permutations)
    seen = Seen(max(len(rows), section.bloom_rows or 0), section.bloom_false_positives, bands, section.permutations)
    if not section.bloom_confirm:
        best_first = Order(rows, priority).sorted(np.flatnonzero(exact.stays))
        for batch, some, signed in signatures(
            _counted(read(best_first, True), progress), section.compare, section.permutations, engine
        ):
            hit = seen.add(seen.keys(signed)).any(axis=1)
            exact.unconfirmed[numbers_of(batch)[some[hit]]] = True
        went = np.flatnonzero(exact.exact & exact.unconfirmed[exact.of])
        exact.through[went], exact.of[went], exact.exact[went], exact.unconfirmed[went] = exact.of[went], -1, False, True
        return exact
    hits = [np.zeros(0, np.uint64)]
    for _, _, signed in signatures(_counted(read(None, False), progress), section.compare, section.permutations, engine):
        keys = seen.keys(signed)
        hits.append(_salted(keys)[seen.add(keys)])
    wanted = np.unique(np.concatenate(hits))
    numbers: list[Ints] = [np.zeros(0, np.int64)]

    def shared() -> Iterator[pa.RecordBatch]:
        for batch, some, signed in signatures(read(None, False), section.compare, section.permutations, engine):
            taken = some[np.isin(_salted(seen.keys(signed)), wanted).any(axis=1)]
            numbers.append(numbers_of(batch)[taken])
            yield batch.take(pa.array(taken))

    alike = profiles(shared(), section.compare, bands, section.permutations)  # here: `shared` has the cluster's workers
    number = np.concatenate(numbers)
    priorities = dict(zip(rows.sources, priority, strict=True))
    own = np.array([priorities[name] for name in alike.sources], np.int64)
    found = near_duplicates(
        alike,
        lambda some, ordered: _renumbered(read(number[some], ordered), number),
        section.compare,
        section.threshold,
        section.keep_if_numbers_differ,
        own,
        held=None if held is None else held[number],
        engine=engine,
        spill=spill,
    )
    exact.take_over(number, found)
    return exact


def _renumbered(batches: Iterable[pa.RecordBatch], number: Ints) -> Iterator[pa.RecordBatch]:
    """Batches whose rows have the places of their numbers in `number`."""
    order = np.argsort(number)
    for batch in batches:
        places = order[np.searchsorted(number[order], numbers_of(batch))]
        yield batch.set_column(batch.schema.get_field_index("number"), "number", pa.array(places))


def _salted(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The keys of one band made different from those of the others."""
    salt: Any = np.arange(keys.shape[1], dtype=np.uint64) << np.uint64(56)
    return keys ^ salt  # type: ignore[no-any-return]


def _counted(batches: Iterable[pa.RecordBatch], progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        yield batch
        progress(done := done + batch.num_rows)
