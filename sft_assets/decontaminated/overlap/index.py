"""The texts of test items as arrays, and the table by which they are met: 3 words in a row -> the texts and places they are of.

    anchor  "muffins for her"  ->  gsm8k_test 1, question, word 17

Of a short text every 3-gram is an anchor, of a long one the most telling in each stretch, so that 10 words in a row always hold
one. What stands in many texts, or of common words alone, is no anchor, unless a text has nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.decontaminated.overlap.protection import (
    BUT_FOR_A_WORD,
    LEAST_PART,
    PASSAGE,
    SHARE,
    SHORT,
    Sought,
    Standing,
    common_words,
)
from sft_assets.decontaminated.overlap.words import LETTERS, words_in
from sft_assets.text import characters as c
from sft_assets.text.kernel import STATS, Strings, casefolded, word_gram

GRAM = 3  # words
SHARED = 8  # texts: what stands in more is a template
STRETCH = 8  # words of a long text, at most, without an anchor
ALL = 34  # words: of a shorter text every 3-gram is an anchor
FEW = 2  # anchors that a text has, even of words that are shared or common
STRETCH_OF_OTHERS = 30  # words in a row that another text has too: a passage that several questions are about
ALONE, TELLING = 1 << 16, 1 << 17  # of a posting: its text is this gram; it says something of its text

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


class Index(NamedTuple):
    """What the kernel reads.

    words, gaps: of text t those from bounds[t] to bounds[t + 1]; gaps are the operators before each word. share, run: words of
    a text, in all and in a row, of which one has to be met before anyone looks closer. solid: texts that count wherever they
    stand. bits, keys, slots: a filter and a hash table of the anchors' hashes -> gram; of gram g the postings from posts[g] to
    posts[g + 1] are (text, word, neighbours as `near` has them). telling: postings that say something of their text (the
    others only serve to meet it).
    """

    words: Words
    gaps: Words
    bounds: Ints
    share: Ints
    run: Ints
    solid: npt.NDArray[np.bool_]
    bits: npt.NDArray[np.uint64]
    keys: Words
    slots: npt.NDArray[np.int32]
    posts: npt.NDArray[np.int32]
    postings: npt.NDArray[np.int32]
    telling: npt.NDArray[np.bool_]

    @property
    def texts(self) -> npt.NDArray[np.int32]:
        return self.postings[:, 0]

    @property
    def places(self) -> npt.NDArray[np.int32]:
        return self.postings[:, 1]

    @property
    def grams(self) -> int:
        return len(self.posts) - 1


def tokenized_words(texts: Sequence[str]) -> tuple[Words, Words, Ints, Ints, Ints]:
    """(words, gaps, bounds, starts, stops) of texts, as `words_in` has them; starts and stops: bytes of it, casefolded."""
    strings = Strings.of(casefolded(pa.array(texts, pa.large_string())))
    classes, lowers = c.tables()
    room = int(strings.offsets[-1]) + 8
    hashes, gaps = np.empty(room, np.uint64), np.empty(room, np.uint64)
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    bounds = np.zeros(len(strings) + 1, np.int64)
    n = _words_of_all(strings.offsets, strings.data, classes, lowers, hashes, gaps, starts, stops, bounds)
    first = np.repeat(strings.offsets[:-1], np.diff(bounds))
    return hashes[:n], gaps[:n], bounds, starts[:n] - first, stops[:n] - first


@numba.njit(cache=True, nogil=True)
def _words_of_all(offsets, data, classes, lowers, hashes, gaps, starts, stops, bounds):  # type: ignore[no-untyped-def]
    longest = np.int64(0)
    for t in range(len(offsets) - 1):
        longest = max(longest, offsets[t + 1] - offsets[t])
    h, a, b, g = (np.empty(longest + 8, np.uint64), np.empty(longest + 8, np.int64),
                  np.empty(longest + 8, np.int64), np.empty(longest + 8, np.uint64))  # fmt: skip
    letters, one, place = np.empty(LETTERS, np.uint8), np.empty(LETTERS + 8, np.uint64), np.empty(LETTERS + 8, np.int64)
    stats = np.zeros(STATS, np.uint64)
    n = np.int64(0)
    for t in range(len(offsets) - 1):
        m = words_in(data, offsets[t], offsets[t + 1], classes, lowers, h, a, b, g, letters, one, place, stats)
        hashes[n : n + m], gaps[n : n + m], starts[n : n + m], stops[n : n + m] = h[:m], g[:m], a[:m], b[:m]
        n += m
        bounds[t + 1] = n
    return n


def build(texts: Sequence[Sought], ngram: int = 13, quoted: Sequence[Sequence[tuple[int, int]]] | None = None) -> Index:
    """The index of texts.

    ngram: so many words in a row of a long text are looked at. quoted: of each text the stretches of words that stand in
    quotation marks; they say nothing of it.
    """
    hashes, gaps, bounds, _, _ = tokenized_words([t.text for t in texts])
    lengths = np.diff(bounds)
    usable = np.array([t.standing != Standing.NEVER for t in texts], np.bool_) & (lengths >= GRAM)
    text_of = np.repeat(np.arange(len(texts)), np.maximum(lengths - GRAM + 1, 0))
    place_of = _ranges(np.maximum(lengths - GRAM + 1, 0))
    at = bounds[text_of] + place_of
    grams = word_grams(hashes, at)
    common = np.sort(tokenized_words(sorted(common_words()))[0])
    ordinary = common[np.minimum(np.searchsorted(common, hashes), len(common) - 1)] == hashes
    bare = ordinary[at] & ordinary[at + 1] & ordinary[at + 2] if len(at) else np.zeros(0, np.bool_)
    by_gram = np.lexsort((place_of, text_of, grams))
    first_of_text = np.ones(len(at), np.bool_)  # the first place of a gram in its text
    first_of_text[1:] = (grams[by_gram][1:] != grams[by_gram][:-1]) | (text_of[by_gram][1:] != text_of[by_gram][:-1])
    first = np.empty(len(at), np.bool_)
    first[by_gram] = first_of_text
    _, kind = np.unique(grams, return_inverse=True)
    shared = np.bincount(kind[first], minlength=len(kind))[kind]  # texts that have it
    in_quotes = np.zeros(len(at), np.bool_)
    begins = np.searchsorted(text_of, np.arange(len(texts) + 1))
    for t, spans in enumerate(quoted or ()):
        for start, stop in spans:
            in_quotes[begins[t] + start : min(begins[t] + stop, begins[t + 1])] = True
    in_quotes |= _passages(text_of, shared > 1, first & ~bare & (shared <= SHARED) & ~in_quotes)
    cost = shared.astype(np.float64) + 1000.0 * bare + 100.0 * in_quotes  # the less, the more it tells
    telling = first & ~bare & (shared <= SHARED)
    chosen = _chosen(bounds, text_of, place_of, usable[text_of], telling, first, cost)
    telling &= ~in_quotes
    some = np.flatnonzero(chosen)
    some = some[np.lexsort((place_of[some], text_of[some], grams[some]))]
    keys, starts = np.unique(grams[some], return_index=True)
    bits, table, slots = _table(keys)
    share, run = _least(lengths, np.array([t.field == "context" for t in texts], np.bool_), ngram)
    solid = np.array([t.standing == Standing.ANYWHERE and not t.told_apart for t in texts], np.bool_)
    arrays = (
        hashes, gaps, bounds, share, run, solid, bits, table, slots, np.append(starts, len(some)).astype(np.int32),
        _postings(hashes, bounds, text_of[some], place_of[some], telling[some]), telling[some],
    )  # fmt: skip
    for array in arrays:
        array.flags.writeable = False  # always: a kernel is compiled for each kind of array that it is given
    return Index(*arrays)


def _least(lengths: Ints, passage: npt.NDArray[np.bool_], ngram: int) -> tuple[Ints, Ints]:
    """(words in all, words in a row) of texts, one of which a part that counts has: see `tiers.tier_of`."""
    part = np.ceil(np.where(passage, PASSAGE, SHARE) * lengths)
    most = np.ceil(BUT_FOR_A_WORD * lengths)
    share = np.select([lengths < LEAST_PART, (lengths < SHORT) & ~passage], [lengths, most], part)
    run = np.select([lengths < LEAST_PART, lengths < SHORT], [lengths, part], ngram)
    return share.astype(np.int64), run.astype(np.int64)


def word_grams(hashes: Words, at: Ints) -> Words:
    """The hash of the 3 words from each of these places on."""
    out = np.empty(len(at), np.uint64)
    _word_grams(hashes, at, out)
    return out


@numba.njit(cache=True, nogil=True)
def _word_grams(hashes, at, out):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        i = at[k]
        out[k] = word_gram(hashes[i], hashes[i + 1], hashes[i + 2])


def _ranges(sizes: Ints) -> Ints:
    """0 .. size - 1 of each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


@numba.njit(cache=True, nogil=True)
def _chosen(bounds, text_of, place_of, usable, telling, first, cost):  # type: ignore[no-untyped-def]
    """Which grams are anchors."""
    chosen = np.zeros(len(text_of), np.bool_)
    i = 0
    while i < len(text_of):
        stop = i
        while stop < len(text_of) and text_of[stop] == text_of[i]:
            stop += 1
        if not usable[i]:
            i = stop
            continue
        count = 0
        length = bounds[text_of[i] + 1] - bounds[text_of[i]]
        stretch = 1 if length <= ALL else STRETCH
        for begin in range(i, stop, stretch):
            best = -1
            for k in range(begin, min(begin + stretch, stop)):
                if telling[k] and (best < 0 or cost[k] < cost[best]):
                    best = k
            if best >= 0:
                chosen[best] = True
                count += 1
        while count < min(FEW, stop - i):
            best = -1
            for k in range(i, stop):
                if first[k] and not chosen[k] and (best < 0 or cost[k] < cost[best]):
                    best = k
            if best < 0:
                break
            chosen[best] = True
            count += 1
        i = stop
    return chosen


def _postings(hashes: Words, bounds: Ints, text: Ints, place: Ints, telling: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """(text, word, neighbours) of each posting."""
    low, high = bounds[text], bounds[text + 1]
    at = low + place
    before = np.where(place > 0, near(hashes[np.maximum(at - 1, 0)]), 0)
    after = np.where(at + GRAM < high, near(hashes[np.minimum(at + GRAM, len(hashes) - 1)]), 0)
    alone = np.where(high - low == GRAM, ALONE, 0) | np.where(telling, TELLING, 0)
    return np.ascontiguousarray(np.stack([text, place, before | after << 8 | alone], axis=1).astype(np.int32))


def near(hashes: Words) -> Ints:
    """Seven bits of a word, and one that says that there is one."""
    some: Ints = (hashes >> np.uint64(57)).astype(np.int64) | 0x80
    return some


@numba.njit(cache=True, nogil=True)
def _passages(text_of, with_others, telling):  # type: ignore[no-untyped-def]
    """Which grams are within a long stretch of a text that other texts have too, where the text has telling ones beside it."""
    inside = np.zeros(len(text_of), np.bool_)
    i = 0
    while i < len(text_of):
        stop, run, outside = i, 0, 0
        while stop < len(text_of) and text_of[stop] == text_of[i]:
            run = run + 1 if with_others[stop] else 0
            if run >= STRETCH_OF_OTHERS - GRAM + 1:
                inside[stop + 1 - run : stop + 1] = True
            stop += 1
        for k in range(i, stop):
            outside += telling[k] and not inside[k]
        if outside < FEW:
            inside[i:stop] = False
        i = stop
    return inside


def _table(keys: Words) -> tuple[npt.NDArray[np.uint64], Words, npt.NDArray[np.int32]]:
    """A filter of two bits a key in one of its words, and a hash table half full at most (an empty slot is -1)."""
    size = 1 << max(4, int(2 * len(keys) - 1).bit_length() if len(keys) else 4)
    bits = np.zeros(max(1, (8 * size) >> 6), np.uint64)
    table, slots = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    _fill(keys, bits, table, slots)
    return bits, table, slots


@numba.njit(cache=True, nogil=True, inline="always")
def two_bits(gram):  # type: ignore[no-untyped-def]
    """The bits of a gram in its word of the filter."""
    return np.uint64(1) << (gram >> np.uint64(58)) | np.uint64(1) << (gram >> np.uint64(52) & np.uint64(63))


@numba.njit(cache=True, nogil=True)
def _fill(keys, bits, table, slots):  # type: ignore[no-untyped-def]
    mask, many = np.uint64(len(table) - 1), np.uint64(len(bits) - 1)
    for k in range(len(keys)):
        bits[keys[k] & many] |= two_bits(keys[k])
        at = (keys[k] >> np.uint64(20)) & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        table[at], slots[at] = keys[k], k
