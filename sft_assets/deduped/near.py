"""Exact and near duplicates among rows: MinHash bands propose, the exact Jaccard similarity of the shingle sets decides.

    "Name the capital of France, please, and say why."  0.86  "Name the capital of France, please, and explain why."

    >>> find_duplicates(["Hello there.", "hello  there.", "Something else."]).of
    array([-1,  0, -1])

Rows are taken in the order of keeping, best first, and compared with rows that stay; so whoever goes is within the threshold of
a row that stays, and the order of the input plays no part. (Broder 1997; Leskovec, Rajaraman, Ullman, ch. 3.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sft_assets.arrow import MESSAGES, uuid_array
from sft_assets.deduped.buckets import CROWDED, Band, buckets, shared_bands
from sft_assets.deduped.groups import named
from sft_assets.deduped.profiles import MIN_TOKENS, Compare, Profiles, bands_for, profiles, shingles_of
from sft_assets.deduped.verify import BINS, Sets, decide, scatter, ties
from sft_assets.engine import Engine
from sft_assets.engine.local import LOCAL
from sft_assets.errors import SftError

BATCH = 4096  # texts: larger batches touch new memory each time
MARGIN = 0.1  # similarities are computed down to so much under the threshold
IN_MEMORY = 1 << 30  # bytes of shingles of the rows that are compared; more are in a file that has no name
Ints = npt.NDArray[np.int64]
Read = Callable[[Ints | None, bool], Iterable[pa.RecordBatch]]
"""Batches of the rows with these numbers (None: of all), in their order if the second word is True, with a column `number`."""


@dataclass
class Duplicates:
    """What `near_duplicates` finds; rows are numbers.

    of: the row that stays in its stead, -1 for a row that stays. exact: gone as an exact duplicate. through: of a row that is
    a duplicate of one that itself went, that one, else -1. jaccard: to `of`, or to `through`. near_group: of rows that stay
    though they are within the threshold of each other, the one with the smallest id among them, else -1. closest, to: of a row
    that stays, the similarity to the nearest row under the threshold that was seen, and that row (-1: none). histogram: pairs
    by hundredths of similarity. unconfirmed: gone on the word of a Bloom filter alone, which names no row (`of` is -1).
    meaning: of a semantic duplicate the cosines of prompt and answer, else NaN.
    """

    of: Ints
    exact: npt.NDArray[np.bool_]
    through: Ints
    jaccard: npt.NDArray[np.float64]
    near_group: Ints
    closest: npt.NDArray[np.float64]
    to: Ints
    histogram: Ints
    unconfirmed: npt.NDArray[np.bool_]
    meaning: npt.NDArray[np.float64]  # rows x 2

    @classmethod
    def none(cls, rows: int) -> Duplicates:
        """Of rows that all stay."""
        nobody = [np.full(rows, -1, np.int64) for _ in range(4)]
        return cls(
            nobody[0], np.zeros(rows, np.bool_), nobody[1], np.ones(rows), nobody[2], np.zeros(rows), nobody[3],
            np.zeros(BINS, np.int64), np.zeros(rows, np.bool_), np.full((rows, 2), np.nan),
        )  # fmt: skip

    def keep(self, rows: Ints, row_id: npt.NDArray[np.void]) -> int:
        """Let rows stay whatever was found, each in one near_group with the row that would stay in its stead (a Bloom filter
        alone names none); how many had gone. What went for others, and whoever names them, stands as it is."""
        back = rows[~self.stays[rows]]
        through = self.through[back]
        pairs = [*zip(back, self.of[back], strict=True), *zip(back, through, strict=True)]
        self.of[back] = self.through[back] = -1
        self.exact[back] = self.unconfirmed[back] = False
        self.jaccard[back], self.meaning[back] = 1, np.nan
        self.tie([(int(a), int(b)) for a, b in pairs if b >= 0], row_id)
        return len(back)

    @property
    def stays(self) -> npt.NDArray[np.bool_]:
        return (self.of < 0) & ~self.unconfirmed

    def reasons(self, rows: Ints) -> npt.NDArray[Any]:
        """Why these rows went, as the ledger has it."""
        why = {"exact_duplicate": self.exact, "bloom_duplicate": self.unconfirmed, "semantic_duplicate": self.meaning[:, 0] > 0}
        return np.select([flags[rows] for flags in why.values()], list(why), "near_duplicate")

    def compared(self, rows: Ints) -> npt.NDArray[np.bool_]:
        """Whether `jaccard` says anything of these rows."""
        seen: npt.NDArray[np.bool_] = np.isnan(self.meaning[rows, 0]) & ~self.unconfirmed[rows]
        return seen

    def tie(self, pairs: Sequence[tuple[int, int]], row_id: npt.NDArray[np.void]) -> None:
        """Put rows that stay into one near_group with each other, and with the groups that they are in."""
        if not pairs:
            return
        grouped = np.flatnonzero(self.near_group >= 0)
        edges = np.concatenate([np.array(pairs), np.stack([grouped, self.near_group[grouped]], axis=1)])
        some, places = np.unique(edges, return_inverse=True)
        first, second = places.reshape(-1, 2).T
        graph = coo_array((np.ones(len(edges)), (first, second)), shape=(len(some), len(some)))
        self.near_group[some] = named(connected_components(graph, directed=False)[1], row_id, some)

    def take_over(self, rows: Ints, others: Duplicates) -> None:
        """Put in what was found among some rows, `others` with its own numbers; what its rows were before is forgotten."""
        for name in ("of", "through", "near_group", "to"):
            theirs = getattr(others, name)
            getattr(self, name)[rows] = np.where(theirs < 0, -1, rows[theirs])
        for name in ("exact", "jaccard", "closest"):
            getattr(self, name)[rows] = getattr(others, name)
        self.histogram += others.histogram


def find_duplicates(
    texts: Sequence[str] | Any, threshold: float = 0.8, keep_if_numbers_differ: bool = True, permutations: int = 128
) -> Duplicates:
    """The duplicates among texts (a list, or an Arrow string array): of equal or near ones the longest stays, then the first.

    threshold: Jaccard similarity of word 3-gram sets, over 0 to 1. Texts of fewer than 5 tokens are compared for equality only.
    """

    def read(some: Ints | None, ordered: bool) -> Iterator[pa.RecordBatch]:
        for first in range(0, len(texts if some is None else some), BATCH):
            numbers = np.arange(first, min(first + BATCH, len(texts))) if some is None else some[first : first + BATCH]
            yield texts_batch(texts[first : first + BATCH] if some is None else _taken(texts, numbers), numbers)

    rows = profiles(read(None, False), "answer", bands_for(threshold, permutations), permutations)
    return near_duplicates(rows, read, "answer", threshold, keep_if_numbers_differ)


def _taken(texts: Sequence[str] | Any, numbers: Ints) -> Any:
    return texts.take(pa.array(numbers)) if isinstance(texts, pa.Array) else [texts[i] for i in numbers.tolist()]


def texts_batch(texts: Sequence[str] | Any, numbers: Ints) -> pa.RecordBatch:
    """Texts as the answers of conversations that have nothing else."""
    content = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    n = len(content)
    zeros = pa.array(np.zeros(n, np.int8))
    role, same = (pa.DictionaryArray.from_arrays(zeros, pa.array([word])).cast(pa.string()) for word in ("assistant", "sft"))
    given = {"role": role, "content": content}
    columns = [given.get(f.name) or pa.nulls(n, f.type) for f in MESSAGES.value_type]
    turns = pa.StructArray.from_arrays(columns, fields=list(MESSAGES.value_type))
    messages = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32)), turns, type=MESSAGES)
    ids = np.zeros((n, 2), ">u8")
    ids[:, 1] = numbers
    return pa.record_batch(
        {
            "row_id": uuid_array(ids.view("V16")[:, 0], np.zeros(n, np.bool_)),
            "number": pa.array(numbers),
            "kind": same,
            "label": pa.nulls(n, pa.bool_()),
            "source": same,
            "occurrence": pa.array(np.zeros(n, np.int32)),
            "messages": messages,
            "rejected": pa.nulls(n, MESSAGES),
            "tools": pa.nulls(n, pa.string()),
        }
    )


def warm_up() -> None:
    """Compile or load every kernel of this stage, on a handful of rows."""
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "runs", "away"]
    texts = [" ".join([*words, *more]) for more in (["1"], ["2"], ["2", "now"], ["2", "then", "é"])]
    batch = texts_batch([*texts, "a b c d e"], np.arange(5))
    near_duplicates(
        profiles([batch], "all", (25, 5), 128), lambda some, ordered: [batch.take(pa.array(some))], "all", 0.8, crowded=1
    )


def near_duplicates(
    rows: Profiles,
    read: Read,
    compare: Compare,
    threshold: float,
    keep_if_numbers_differ: bool = True,
    priority: npt.NDArray[np.int64] | None = None,
    near: bool = True,
    crowded: int = CROWDED,
    held: npt.NDArray[np.bool_] | None = None,
    engine: Engine = LOCAL,
    spill: str | None = None,
) -> Duplicates:
    """Every duplicate among the rows.

    read: for the second look at rows that share a band with another. priority: of each of `rows.sources`, the higher stays.
    near: False for exact duplicates only. crowded: so many rows of one band get finer buckets. held: rows that will be kept
    whatever is found of them (`Duplicates.keep`): those that stay and are near them are tied to them. spill: the folder for
    what is too much for the memory (None: the system's).
    """
    found = Duplicates.none(len(rows))
    order = Order(rows, priority)
    _exact(rows, order, found)
    if near:
        if held is not None:  # a row that is equal to another has the neighbours of that one
            held = held.copy()
            held[found.of[held & found.exact]] = True
        _near(rows, order, read, compare, threshold, keep_if_numbers_differ, crowded, found, held, engine, spill)
        went = np.flatnonzero(found.exact & (found.of[found.of] >= 0))  # equal to a row that is the near duplicate of another
        found.through[went] = found.of[went]
        found.jaccard[went] = found.jaccard[found.of[went]]
        found.of[went] = found.of[found.of[went]]
        found.exact[went] = False
    return found


class Order:
    """Which of two rows is the better one to keep.

    The source's priority, then the answer that ends well, then the longer answer (blanks do not count), then fewer surplus
    blanks, then the longer answer with them (its paragraphs are marked), then how many equal records came before it in its
    source, then the source's name, then the id.
    """

    def __init__(self, rows: Profiles, priority: npt.NDArray[np.int64] | None):
        by_name = np.argsort(np.argsort(np.array(rows.sources, dtype=object))) if rows.sources else np.zeros(0, np.int64)
        self.rows, self.place = rows, by_name
        self.priority = np.zeros(len(rows.sources), np.int64) if priority is None else priority

    def sorted(self, some: Ints) -> Ints:
        """These rows, best first."""
        rows = self.rows
        source, (ends, said, surplus, length) = rows.source[some], rows.measures[some].T
        ids = rows.row_id[some].view(">u8").reshape(-1, 2)
        keys = (
            ids[:, 1],
            ids[:, 0],
            self.place[source],
            rows.occurrence[some],
            -length,
            surplus,
            -said,
            -ends,
            -self.priority[source],
        )
        return some[np.lexsort(keys)]


def _exact(rows: Profiles, order: Order, found: Duplicates) -> None:
    """Of rows with equal hashes all but the best go."""
    low = rows.equal[:, 0]
    by_hash = np.argsort(low)
    same = low[by_hash[1:]] == low[by_hash[:-1]]
    some = np.unique(np.concatenate([by_hash[1:][same], by_hash[:-1][same]]))
    if not len(some):
        return
    best_first = order.sorted(some)
    grouped = best_first[np.lexsort((rows.equal[best_first, 1], rows.equal[best_first, 0]))]  # stable: best first in each group
    starts = np.concatenate([[True], (rows.equal[grouped[1:]] != rows.equal[grouped[:-1]]).any(axis=1)])
    keepers = grouped[starts][np.cumsum(starts) - 1]
    gone = grouped[~starts]
    found.of[gone] = keepers[~starts]
    found.exact[gone] = True


def _near(
    rows: Profiles, order: Order, read: Read, compare: Compare, threshold: float, keep_if_numbers_differ: bool, crowded: int,
    found: Duplicates, held: npt.NDArray[np.bool_] | None, engine: Engine, spill: str | None,
) -> None:  # fmt: skip
    left = np.flatnonzero((found.of < 0) & (rows.tokens >= MIN_TOKENS)).astype(np.int32)
    bands = shared_bands(rows.bands, rows.kind, left)
    shares = np.zeros(len(rows), np.bool_)
    for band in bands:
        shares[band.rows] = True
    active = np.flatnonzero(shares)
    if not len(active):
        return
    number = np.full(len(rows), -1, np.int32)
    number[active] = np.arange(len(active))
    sets = Sets.of(*_shingles(rows, active, number, read(active, False), compare, engine, spill))
    best_first = number[order.sorted(active)].astype(np.int64)
    rank = np.empty(len(active), np.int64)
    rank[best_first] = np.arange(len(active))
    guard = rows.guards(active, keep_if_numbers_differ)
    bands = [Band(number[band.rows], band.keys) for band in bands]
    made = buckets(bands, guard, sets.values, sets.bounds, sets.sizes, threshold, crowded)
    verdicts = decide(best_first, rank, made, guard, sets, threshold, max(threshold - MARGIN, threshold / 2))
    gone = verdicts.of >= 0
    found.of[active[gone]] = active[verdicts.of[gone]]
    found.jaccard[active[gone]] = verdicts.jaccard[gone]
    found.histogram += verdicts.histogram
    close = np.flatnonzero(~gone & (verdicts.to >= 0))
    found.closest[active[close]], found.to[active[close]] = verdicts.closest[close], active[verdicts.to[close]]
    if held is not None:  # nothing holds what goes and what is held apart but its own guard
        kept = np.flatnonzero(held[active] & gone)
        gone[kept] = False
        guard[kept] = np.random.default_rng(0).integers(1 << 63, size=len(kept), dtype=np.uint64)
    if (guard == guard[0]).all():
        return
    roots = ties(bands, rank, ~gone, guard, sets, threshold)
    found.near_group[active] = named(roots, rows.row_id, active)


def _shingles(
    rows: Profiles, active: Ints, place: npt.NDArray[np.int32], batches: Iterable[pa.RecordBatch], compare: Compare,
    engine: Engine, spill: str | None,
) -> tuple[npt.NDArray[np.uint64], Ints]:  # fmt: skip
    """(hashes, bounds): row active[i] has the shingles hashes[bounds[i]:bounds[i + 1]]. place: of a row among the active."""
    bounds = np.concatenate([[0], np.cumsum(rows.shingles[active], dtype=np.int64)])
    number = int(bounds[-1])
    hashes = _on_disk(number, spill) if 8 * number > IN_MEMORY else np.empty(number, np.uint64)
    for numbers, counts, values in shingles_of(batches, compare, engine):
        scatter(values, counts, place[numbers], bounds, hashes)
    return hashes, bounds


def _on_disk(number: int, spill: str | None) -> npt.NDArray[np.uint64]:
    """Numbers in a file without a name: it goes with the array, or with the process.

    Raises:
        SftError: the disk is full.
    """
    try:
        file = tempfile.TemporaryFile(dir=spill)  # noqa: SIM115  # lives as long as the array
        if hasattr(os, "posix_fallocate"):  # else a full disk would show in the middle of the work, and end the process
            os.posix_fallocate(file.fileno(), 0, 8 * number)
        return np.memmap(file, np.uint64, "w+", shape=(number,))
    except OSError as error:
        raise SftError(
            f"{spill or tempfile.gettempdir()}: deduped needs {8 * number / 1e9:,.1f} GB there, for shingles of rows that may "
            f"be near duplicates ({error.strerror}). Free some space, or name a folder on a larger disk in the recipe: "
            "engine: {temp_directory: FOLDER}"
        ) from None
