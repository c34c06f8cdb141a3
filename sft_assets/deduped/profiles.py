"""A row in numbers: what of it is compared with other rows, and what tells which of two is the better one to keep.

    [{user, "Name 3 rivers."}, {assistant, "Rhine, Elbe, Oder."}]
    ->  equal 81c0...  prompt 5e11...  figures "3"  tokens 6  shingles 4  bands [0x3f2a..., ...]  ends well  18 characters

User and assistant turns are compared, with their reasoning (or one side, by `compare`; a preference row adds its losing
answer). Kind, label, system prompt, tools, tool calls and tool turns count for equality only. All is computed in one pass over
the Arrow buffers of a batch, several batches at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasketch import MinHash

from sft_assets.engine import Engine, Job
from sft_assets.engine.local import LOCAL
from sft_assets.text import characters
from sft_assets.text.kernel import (
    ENDING,
    FIGURES,
    HIGH,
    LENGTH,
    LOW,
    SAID,
    STATS,
    SURPLUS,
    Strings,
    character_grams,
    composed,
    finished,
    hash_all,
    mixed,
    scan,
    token_characters,
    word_gram,
)
from sft_assets.text.plain import SHORT

Compare = Literal["all", "prompt", "answer"]
MIN_TOKENS = 5  # shorter texts are duplicates only when they are equal
ROLES = ("system", "user", "assistant", "tool")
KINDS = ("sft", "preference", "unpaired", "prompt")
COMPARED, ASIDE, ASKED = 1, 2, 4  # what a turn is: flags; one that is not asked is the row's answer
TURNS = "row_id, kind, label, source, coalesce(occurrence, 0) AS occurrence, messages, rejected, tools"


class Profiles(NamedTuple):
    """One entry a row. `bands`: a 32-bit key for each band of the signature, rows x bands; rows under MIN_TOKENS have zeros."""

    row_id: npt.NDArray[np.void]  # 16 bytes
    equal: npt.NDArray[np.uint64]  # rows x 2: the same for exact duplicates
    prompt: npt.NDArray[np.uint64]  # the same for equal prompts
    kind: npt.NDArray[np.uint8]
    scope: npt.NDArray[np.uint64]  # what counts for equality only
    figures: npt.NDArray[np.uint64]  # the numbers in their order
    tokens: npt.NDArray[np.int32]
    shingles: npt.NDArray[np.int32]  # how many, repeats among them
    measures: npt.NDArray[np.int32]  # rows x 4: ends well, answer's length without blanks, surplus blanks, answer's length
    source: npt.NDArray[np.int32]  # place in `sources`
    occurrence: npt.NDArray[np.int32]
    bands: npt.NDArray[np.uint32]
    sources: list[str]

    def __len__(self) -> int:
        return len(self.row_id)

    def without_bands(self) -> Profiles:
        """The same without more than half of it, which is of use for candidates only."""
        columns: dict[str, Any] = self._asdict()
        return Profiles(**{**columns, "bands": np.empty((len(self), 0), np.uint32)})

    def guards(self, some: npt.NDArray[np.int64], numbers: bool) -> npt.NDArray[np.uint64]:
        """What two rows must have the same of to be near duplicates. numbers: whether theirs count."""
        guard = self.scope[some] * np.uint64(0x9E3779B97F4A7C15)
        return guard ^ self.figures[some] if numbers else guard


class _Made(NamedTuple):
    """What the kernel gives of a batch, without the columns that are taken over."""

    equal: Any
    prompt: Any
    scope: Any
    figures: Any
    tokens: Any
    counts: Any  # shingles of each row
    measures: Any
    bands: Any
    signatures: Any  # rows x permutations, where they are asked for
    shingles: Any


def bands_for(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows a band) with candidates well below the threshold, so that hardly a pair above it is missed.

    A pair of similarity s shares a band with probability 1 - (1 - s^rows)^bands: at 0.8 all but one in 20,000.
    """
    rows = 5 if threshold >= 0.75 else 4 if threshold >= 0.6 else 3 if threshold >= 0.4 else 2
    return max(1, permutations // rows), min(rows, permutations)


@cache
def permutations_of(number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The factors and summands of datasketch's scheme affine32."""
    a, b = MinHash(num_perm=number, scheme="affine32").permutations
    return np.ascontiguousarray(a), np.ascontiguousarray(b)


def profiles(
    batches: Iterable[pa.RecordBatch],
    compare: Compare,
    bands: tuple[int, int],
    permutations: int,
    progress: Callable[[int], None] = lambda done: None,
    engine: Engine = LOCAL,
    rows: int = 0,
) -> Profiles:
    """The profile of every row of `batches` (columns as TURNS has them). rows: how many there will be, where it is known."""
    made, names = _Growing(rows), dict[str, int]()
    for batch, some in _made(engine, batches, _Shape(compare, bands, permutations)):
        made.add(_columns(batch, some, names))
        progress(made.rows)
    return _profiles(made.whole(), names) if made.columns else _none(bands[0])


class _Growing:
    """Columns that are made part by part. room: for so many rows from the start: then nothing is there twice."""

    def __init__(self, room: int):
        self.columns: list[Any] = []
        self.rows, self.room = 0, room

    def add(self, parts: list[Any]) -> None:
        first, self.rows = self.rows, self.rows + len(parts[0])
        if not self.columns or self.rows > self.room:
            self.room = max(self.room, self.rows, 2 * first)
            before, self.columns = self.columns, [np.empty((self.room, *part.shape[1:]), part.dtype) for part in parts]
            for column, old in zip(self.columns, before, strict=False):
                column[:first] = old[:first]
        for column, part in zip(self.columns, parts, strict=True):
            column[first : self.rows] = part  # copied: a part may be a view of a batch, and would keep all of its texts

    def whole(self) -> list[Any]:
        return [column[: self.rows] for column in self.columns]


def _columns(batch: pa.RecordBatch, made: _Made, names: dict[str, int]) -> list[Any]:
    """What is known of the rows of a batch. names: of the sources so far, with their numbers."""
    row_id, kind, source, occurrence = (batch.column(name) for name in ("row_id", "kind", "source", "occurrence"))
    return [
        np.frombuffer(row_id.storage.buffers()[1], "V16")[row_id.offset : row_id.offset + len(row_id)],
        _codes(kind, KINDS),
        _sources(source, names),
        occurrence.to_numpy(zero_copy_only=False).astype(np.int32),
        *made[:8],
    ]


def _profiles(columns: list[Any], names: dict[str, int]) -> Profiles:
    ids, kinds, sources, occurrences, equal, prompt, scope, figures, tokens, counts, measures, keys = columns
    return Profiles(
        ids,
        equal,
        prompt,
        kinds,
        scope,
        figures,
        tokens,
        counts,
        measures,
        sources,
        occurrences,
        keys,
        sorted(names, key=names.__getitem__),
    )


def _none(bands: int) -> Profiles:
    empty: Any = np.empty
    return Profiles(
        empty(0, "V16"), empty((0, 2), np.uint64), empty(0, np.uint64), empty(0, np.uint8), empty(0, np.uint64),
        empty(0, np.uint64), empty(0, np.int32), empty(0, np.int32), empty((0, 4), np.int32), empty(0, np.int32),
        empty(0, np.int32), empty((0, bands), np.uint32), [],
    )  # fmt: skip


def profiled(
    batches: Iterable[pa.RecordBatch], compare: Compare, bands: tuple[int, int], permutations: int, engine: Engine = LOCAL
) -> Iterator[tuple[Profiles, npt.NDArray[np.uint64]]]:
    """Batch by batch the profiles of its rows, and the hashes of their shingles row after row; nothing of it is held."""
    names: dict[str, int] = {}
    for batch, made in _made(engine, batches, _Shape(compare, bands, permutations, shingles=True)):
        if batch.num_rows:
            yield _profiles(_columns(batch, made, names), names), made.shingles


def signatures(
    batches: Iterable[pa.RecordBatch], compare: Compare, permutations: int, engine: Engine = LOCAL
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64], npt.NDArray[np.uint32]]]:
    """Each batch with the rows of it that have MIN_TOKENS or more, and their MinHash signatures (rows x permutations)."""
    for batch, made in _made(engine, batches, _Shape(compare, (0, 1), permutations, signed=True)):
        long_enough = np.flatnonzero(made.tokens >= MIN_TOKENS)
        yield batch, long_enough, made.signatures[long_enough]


def shingles_of(
    batches: Iterable[pa.RecordBatch], compare: Compare, engine: Engine = LOCAL
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint64]]]:
    """(numbers of some rows, how many shingles each has, their hashes row after row). Batches have a column `number`."""
    for batch, made in _made(engine, batches, _Shape(compare, (0, 1), 1, shingles=True)):
        yield numbers_of(batch), made.counts, made.shingles


def numbers_of(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The numbers of a batch's rows."""
    numbers: npt.NDArray[np.int64] = batch.column("number").to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


class _Shape(NamedTuple):
    """What is to be made of a row."""

    compare: Compare
    bands: tuple[int, int]
    permutations: int
    signed: bool = False  # its signature
    shingles: bool = False  # their hashes


def _made(engine: Engine, batches: Iterable[pa.RecordBatch], shape: _Shape) -> Iterator[tuple[pa.RecordBatch, _Made]]:
    """Each batch with what the kernel makes of it."""
    with engine.workers(Job("signatures", partial(_making, shape))) as workers:
        yield from workers.map(batches)


def _making(shape: _Shape) -> Callable[[pa.RecordBatch], _Made]:
    return partial(_make, shape)


# ------------------------------------------------------------------------------------------------------------ the turns


class Side(NamedTuple):
    """The turns of one column of conversations: row i has the turns bounds[i] to bounds[i + 1]."""

    bounds: npt.NDArray[np.int64]
    text: Strings
    what: npt.NDArray[np.uint8]  # flags
    role: npt.NDArray[np.uint8]
    calls: npt.NDArray[np.uint64]  # hash of a turn's tool calls, 0 where it has none


class Turns(NamedTuple):
    """What the kernel reads of a batch. aside: a hash of kind, label and tools of each row; calls_count: whether calls do."""

    messages: Side
    rejected: Side
    kind: npt.NDArray[np.uint8]
    aside: npt.NDArray[np.uint64]
    calls_count: bool

    @classmethod
    def of(cls, batch: pa.RecordBatch, compare: Compare) -> Turns:
        label = pc.fill_null(pc.cast(batch.column("label"), pa.uint8()), 2).to_numpy(zero_copy_only=False)
        kind = _codes(batch.column("kind"), KINDS)
        aside = _hashes(batch.column("tools")) + (1 + 8 * label.astype(np.uint64) + kind)
        messages, rejected = (_side(batch.column(name), compare) for name in ("messages", "rejected"))
        return cls(messages, rejected, kind, aside, compare != "prompt")


def _side(column: Any, compare: Compare) -> Side:
    turns = column.flatten() if column.null_count else column.values
    bounds = column.offsets.to_numpy().astype(np.int64) if not column.null_count else _bounds(column)
    names = {turns.type.field(i).name: i for i in range(turns.type.num_fields)}
    field: Callable[[str], Any] = lambda name: turns.field(names[name])  # noqa: E731
    role = _codes(field("role"), ROLES)
    text, reasoning, calls = field("content"), field("reasoning"), field("tool_calls")
    if reasoning.null_count < len(reasoning):
        text = pc.binary_join_element_wise(reasoning, text, "\n", null_handling="skip")
    compared = {"all": (1, 2), "prompt": (1,), "answer": (2,)}[compare]
    what = np.where(np.isin(role, compared), COMPARED, 0).astype(np.uint8)
    what[(role == 0) | ((role == 3) & (compare == "all"))] |= ASIDE
    ends = bounds[1:][bounds[1:] > bounds[:-1]] - 1
    answers = np.zeros(len(role), np.bool_)
    answers[ends] = role[ends] == 2
    what[~answers] |= ASKED
    return Side(bounds, Strings.of(composed(text)), what, role, _hashes(calls))


def _bounds(column: Any) -> npt.NDArray[np.int64]:
    """Where the rows of a column with nulls stand in its flattened values."""
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _hashes(texts: Any) -> npt.NDArray[np.uint64]:
    """A hash of the normal form of each text; 0 for null and empty."""
    out = np.zeros(len(texts), np.uint64)
    if texts.null_count < len(texts):
        classes, lowers = characters.tables()
        hash_all(*Strings.of(composed(texts)), classes, lowers, out)
    return out


def _codes(values: Any, known: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Each value's place among the known ones (unknown: one past the last)."""
    places = pc.fill_null(pc.index_in(values, pa.array(known, values.type)), len(known))
    codes: npt.NDArray[np.uint8] = places.to_numpy(zero_copy_only=False).astype(np.uint8)
    return codes


def _sources(values: Any, names: dict[str, int]) -> npt.NDArray[np.int32]:
    coded = pc.dictionary_encode(values)
    places = np.array([names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()], np.int32)
    numbers: npt.NDArray[np.int32] = places[coded.indices.to_numpy(zero_copy_only=False)]
    return numbers


# ----------------------------------------------------------------------------------------------------------- the kernel


def _make(shape: _Shape, batch: pa.RecordBatch) -> _Made:
    """The kernel over the rows of a batch."""
    turns, rows = Turns.of(batch, shape.compare), batch.num_rows
    ends = [side.text.offsets[side.bounds] for side in (turns.messages, turns.rejected)]
    edges = ends[0] + ends[1]  # bytes up to each row
    room = int(edges[-1] - edges[0]) + 8 * rows
    longest = int(np.diff(edges).max(initial=0)) + 64
    bands, permutations = shape.bands, shape.permutations
    out = _Made(
        np.zeros((rows, 2), np.uint64), np.zeros(rows, np.uint64), np.zeros(rows, np.uint64), np.zeros(rows, np.uint64),
        np.zeros(rows, np.int32), np.zeros(rows, np.int32), np.zeros((rows, 4), np.int32),
        np.zeros((rows, bands[0]), np.uint32), np.zeros((rows if shape.signed else 0, permutations), np.uint32),
        _scratch(room),
    )  # fmt: skip
    a, b = permutations_of(permutations)
    classes, lowers = characters.tables()
    n = _profile(
        0, rows,
        turns.messages.bounds, *turns.messages.text, *turns.messages[2:],
        turns.rejected.bounds, *turns.rejected.text, *turns.rejected[2:],
        turns.kind, turns.aside, turns.calls_count, classes, lowers, a, b, bands[1], longest, *out,
    )  # fmt: skip
    return out._replace(shingles=out.shingles[: n if shape.shingles else 0].copy())


_own = threading.local()


def _scratch(room: int) -> npt.NDArray[np.uint64]:
    """Room for values that are copied before the thread asks again: memory that was touched before costs half the time."""
    if getattr(_own, "values", None) is None or len(_own.values) < room:
        _own.values = np.empty(room + room // 4, np.uint64)
    values: npt.NDArray[np.uint64] = _own.values
    return values


@numba.njit(cache=True, nogil=True)
def _profile(  # type: ignore[no-untyped-def]
    first, stop,
    m_bounds, m_offsets, m_data, m_what, m_role, m_calls,
    r_bounds, r_offsets, r_data, r_what, r_role, r_calls,
    kind, aside, calls_count, classes, lowers, a, b, band_rows, longest,
    equal, prompt, scope, figures, tokens, counts, measures, bands, signatures, shingles,
):  # fmt: skip
    hashes, starts, stops = np.empty(longest, np.uint64), np.empty(longest, np.int64), np.empty(longest, np.int64)
    letters = np.empty(longest, np.uint32)
    stats = np.zeros(STATS, np.uint64)
    signature = np.empty(len(a), np.uint32)
    free = np.int64(0)
    for row in range(first, stop):
        out = row - first
        n = np.int64(0)
        stats[FIGURES] = 0
        low, high = np.uint64(1), np.uint64(2)
        outside, asked = mixed(np.uint64(3), aside[row]), mixed(np.uint64(5), kind[row])
        for turn in range(m_bounds[row], m_bounds[row + 1]):
            what = m_what[turn]
            kept = stats[FIGURES]
            found = scan(m_data, m_offsets[turn], m_offsets[turn + 1], classes, lowers, hashes, starts, stops, n, stats)
            if what & COMPARED:
                n = found
                low, high = mixed(low, stats[LOW]), mixed(high, stats[HIGH])
                measures[out, 2] += np.int32(min(stats[SURPLUS], np.uint64(1 << 24)))
            else:
                stats[FIGURES] = kept
            if what & ASIDE:
                outside = mixed(mixed(outside, stats[LOW]), m_role[turn])
            if m_calls[turn] and calls_count:
                outside = mixed(mixed(outside, m_calls[turn]), 9)
            if what & ASKED:
                asked = mixed(mixed(mixed(asked, stats[LOW]), m_role[turn]), m_calls[turn])
            else:
                measures[out, 0] = stats[ENDING]
                measures[out, 1] = np.int32(min(stats[SAID], np.uint64(1 << 30)))
                measures[out, 3] = np.int32(min(stats[LENGTH], np.uint64(1 << 30)))
        of_messages = n
        for turn in range(r_bounds[row], r_bounds[row + 1]):
            kept = stats[FIGURES]
            found = scan(r_data, r_offsets[turn], r_offsets[turn + 1], classes, lowers, hashes, starts, stops, n, stats)
            if r_what[turn] & COMPARED:
                n = found
                low, high = mixed(low, stats[LOW]), mixed(high, stats[HIGH])
                measures[out, 2] += np.int32(min(stats[SURPLUS], np.uint64(1 << 24)))
            else:
                stats[FIGURES] = kept
            if r_what[turn] & ASIDE:
                outside = mixed(mixed(outside, stats[LOW]), r_role[turn])
            if r_calls[turn] and calls_count:
                outside = mixed(mixed(outside, r_calls[turn]), 9)
        equal[out, 0], equal[out, 1] = finished(mixed(low, outside)), finished(mixed(high, outside))
        prompt[out], scope[out], figures[out], tokens[out] = finished(asked), finished(outside), finished(stats[FIGURES]), n
        if n < MIN_TOKENS:
            continue
        begin = free
        if n >= SHORT:
            for i in range(n - 2):
                shingles[free + i] = word_gram(hashes[i], hashes[i + 1], hashes[i + 2])
            free += n - 2
        else:
            count = np.int64(0)
            for i in range(n):
                if i:
                    letters[count] = 32
                    count += 1
                if i < of_messages:
                    count = token_characters(m_data, starts[i], stops[i], classes, lowers, letters, count)
                else:
                    count = token_characters(r_data, starts[i], stops[i], classes, lowers, letters, count)
            free = character_grams(letters, count, shingles, free)
        counts[out] = free - begin
        if not bands.shape[1] and not len(signatures):
            continue
        sign(shingles[begin:free], a, b, signature)
        if len(signatures):
            signatures[out] = signature
        for band in range(bands.shape[1]):
            h = np.uint64(0)
            for k in range(band * band_rows, (band + 1) * band_rows):
                h = mixed(h, signature[k])
            bands[out, band] = np.uint32(finished(h))
    return free


@numba.njit(cache=True, nogil=True, inline="always")
def _scrambled(shingle):  # type: ignore[no-untyped-def]
    """MurmurHash3's 32-bit finalizer of a shingle hash's low half."""
    h = np.uint32(shingle)
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@numba.njit(cache=True, nogil=True)
def sign(shingles, a, b, signature):  # type: ignore[no-untyped-def]
    """The MinHash signature of a set of shingle hashes (their low 32 bits), as datasketch's scheme affine32 makes it."""
    signature[:] = np.uint32(0xFFFFFFFF)
    if not len(shingles):
        return
    for i in range(0, len(shingles), 4):  # four at a time: the signature is read and written a fourth as often
        last = len(shingles) - 1
        h, j = _scrambled(shingles[i]), _scrambled(shingles[min(i + 1, last)])
        k, m = _scrambled(shingles[min(i + 2, last)]), _scrambled(shingles[min(i + 3, last)])
        for p in range(len(signature)):
            x, y = np.uint32(a[p] * h + b[p]), np.uint32(a[p] * j + b[p])
            z, w = np.uint32(a[p] * k + b[p]), np.uint32(a[p] * m + b[p])
            signature[p] = min(signature[p], min(min(x, y), min(z, w)))
