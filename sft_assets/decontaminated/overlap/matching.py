"""The texts of rows against those of test items: every run of words that they share, found by its anchors.

    item  How much does she make every day at the market?      row  Tell me how much does she make each day at the market.
    runs  (text 0, item text 17, row word 2, item word 0, 5 words), (0, 17, 8, 6, 3)

A text is read once. Its words are hashed 3 at a time; what is an anchor of an item is followed to both sides as far as words
and operators agree. The runs of an item are handed on where there is enough of them for someone to look closer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from sft_assets.decontaminated.overlap.index import ALONE, TELLING, Index, two_bits
from sft_assets.decontaminated.overlap.words import LETTERS, words_in
from sft_assets.text import characters
from sft_assets.text.kernel import STATS, Strings, casefolded, word_gram

Ints = npt.NDArray[np.int64]
SLACK = 12  # words that a window may have more than an item and a half
ENOUGH, TOO_LITTLE = -1, -2  # of an item in a text, once it is read


class Runs(NamedTuple):
    """Shared runs of words, in the order of the rows' texts; start and stop are bytes of the row's text."""

    text: npt.NDArray[np.int32]  # of the row's texts, by number
    item: npt.NDArray[np.int32]  # of the index' texts
    row_word: npt.NDArray[np.int32]
    item_word: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]  # words
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]

    def by_pair(self) -> Iterator[tuple[int, int, list[tuple[int, int, int, int, int]]]]:
        """(text, item text, its runs as (row word, item word, words, start, stop), in the order in which they stand)."""
        order = np.lexsort((self.item_word, self.row_word, self.item, self.text))
        rows = np.stack(self, axis=1)[order].tolist()
        for (text, item), some in groupby(rows, key=lambda row: row[:2]):
            yield text, item, [tuple(row[2:]) for row in some]


class Found(NamedTuple):
    """What texts share with an index. grams: of the index, that stand in so many of the texts (`counts`); those in which a
    whole item stands do not count."""

    runs: Runs
    grams: Ints
    counts: npt.NDArray[np.int32]


class Matcher:
    """An index with what each thread needs to read texts against it."""

    def __init__(self, index: Index):
        self.index = index
        self._own = threading.local()

    def __reduce__(self) -> tuple[type[Matcher], tuple[Index]]:
        return Matcher, (self.index,)  # elsewhere there are other threads

    def find(self, texts: Any) -> Found:
        """What a string array shares with the index. May be called from several threads."""
        strings = Strings.of(casefolded(texts))
        state = self._state(int(np.diff(strings.offsets).max(initial=0)) + 64)
        classes, lowers = characters.tables()
        first, parts = np.int64(0), []
        while True:
            n, first = _find(
                strings.offsets, strings.data, first, classes, lowers, *self.index[:-1],
                state.hashes, state.gaps, state.starts, state.stops, state.seen, state.frequency, state.stamp, state.end,
                state.matched, state.longest, state.told, state.touched, state.found, state.serial, state.runs,
            )  # fmt: skip
            parts.append(state.runs[:n].copy())
            if first == len(strings):
                break
            if n == 0:  # one text with more runs than there is room for
                state.runs = np.empty((4 * len(state.runs), 7), np.int32)
        grams = np.flatnonzero(state.frequency)
        counts = state.frequency[grams]
        state.frequency[grams] = 0
        return Found(Runs(*np.ascontiguousarray(np.concatenate(parts).T)), grams, counts)

    def _state(self, longest: int) -> _State:
        state: _State | None = getattr(self._own, "state", None)
        if state is None:
            state = self._own.state = _State(self.index)
        state.room_for(longest)
        return state


class _State:
    """One thread's memory: of the longest text, and of the index."""

    def __init__(self, index: Index):
        texts = len(index.bounds) - 1
        self.seen = np.zeros(index.grams, np.int32)  # the text in which a gram was seen last
        self.frequency = np.zeros(index.grams, np.int32)  # texts of this call that a gram is in
        self.stamp = np.zeros(texts, np.int32)  # the text in which an item's text was met last, and there:
        self.end = np.zeros(texts, np.int32)  # where its last run ends
        self.matched = np.zeros(texts, np.int32)  # words in runs
        self.longest = np.zeros(texts, np.int32)
        self.told = np.zeros(texts, np.int32)  # whether a telling anchor was met
        self.serial = np.zeros(1, np.int64)
        self.runs = np.empty((4096, 7), np.int32)
        self.found = np.empty((1 << 16, 5), np.int32)
        self.room = 0

    def room_for(self, longest: int) -> None:
        if self.room < longest:
            self.room = longest + longest // 4
            self.hashes, self.gaps = np.empty(self.room, np.uint64), np.empty(self.room, np.uint64)
            self.starts, self.stops = np.empty(self.room, np.int64), np.empty(self.room, np.int64)
            self.touched = np.empty(self.room, np.int32)


@numba.njit(cache=True, nogil=True)
def _find(  # type: ignore[no-untyped-def]
    offsets, data, first, classes, lowers,
    words, word_gaps, bounds, share, run, solid, bits, keys, slots, posts, postings,
    hashes, gaps, starts, stops, seen, frequency, stamp, end, matched, longest, told, touched, found, serials, runs,
):  # fmt: skip
    """(how many runs were written, the first text that was not read for want of room)."""
    letters, one, place = np.empty(LETTERS, np.uint8), np.empty(LETTERS + 8, np.uint64), np.empty(LETTERS + 8, np.int64)
    stats = np.zeros(STATS, np.uint64)
    mask, many = np.uint64(len(keys) - 1), np.uint64(len(bits) - 1)
    written = np.int64(0)
    for text in range(first, len(offsets) - 1):
        begin, until = offsets[text], offsets[text + 1]
        count = words_in(data, begin, until, classes, lowers, hashes, starts, stops, gaps, letters, one, place, stats)
        serials[0] += 1
        serial = np.int32(serials[0])
        n, grams, whole = np.int64(0), np.int64(0), False
        for i in range(count - 2):
            gram = word_gram(hashes[i], hashes[i + 1], hashes[i + 2])
            wanted = two_bits(gram)
            if bits[gram & many] & wanted != wanted:
                continue
            at = (gram >> np.uint64(20)) & mask
            while slots[at] >= 0 and keys[at] != gram:
                at = (at + np.uint64(1)) & mask
            if slots[at] < 0:
                continue
            g = slots[at]
            if seen[g] != serial:
                seen[g] = serial
                touched[grams] = g
                grams += 1
            before = np.int32(hashes[i - 1] >> np.uint64(57)) | 0x80 if i else 0x100
            after = np.int32(hashes[i + 3] >> np.uint64(57)) | 0x80 if i + 3 < count else 0x100
            for p in range(posts[g], posts[g + 1]):
                beside = postings[p, 2]
                if beside & 0xFF != before and beside >> 8 & 0xFF != after and not beside & ALONE:
                    continue  # 3 words that are in many texts
                t = postings[p, 0]
                if stamp[t] != serial:
                    stamp[t], end[t], matched[t], longest[t], told[t] = serial, 0, 0, 0, 0
                if beside & TELLING:
                    told[t] = 1
                if i + 2 < end[t]:
                    continue  # inside the run before
                a, b = i, bounds[t] + postings[p, 1]
                low, high = bounds[t], bounds[t + 1]
                size = np.int64(1)
                while i + size < count and b + size < high and hashes[i + size] == words[b + size]:
                    gap, other = gaps[i + size], word_gaps[b + size]
                    if gap != other and gap and other:
                        break
                    size += 1
                if size < 3:
                    continue
                while a > 0 and b > low and hashes[a - 1] == words[b - 1]:
                    gap, other = gaps[a], word_gaps[b]
                    if gap != other and gap and other:
                        break
                    a, b, size = a - 1, b - 1, size + 1
                if n == len(found):
                    bigger = np.empty((2 * n, found.shape[1]), np.int32)
                    bigger[:n] = found
                    found = bigger
                found[n, 0], found[n, 1], found[n, 2], found[n, 3] = t, a, b - low, size
                n += 1
                end[t] = a + size
                matched[t] += size
                longest[t] = max(longest[t], size)
                whole = whole or (size == high - low and solid[t])
        kept = np.int64(0)
        for k in range(n):
            t = found[k, 0]
            if end[t] >= 0:  # for the first time
                enough = longest[t] >= run[t] or (matched[t] >= share[t] and _close(found, k, n, share[t], bounds, t))
                enough = enough and (told[t] or longest[t] == bounds[t + 1] - bounds[t])
                end[t] = ENOUGH if enough else TOO_LITTLE
            found[k, 4] = end[t] == ENOUGH
            kept += found[k, 4]
        if written + kept > len(runs):
            serials[0] -= 1
            for k in range(grams):
                seen[touched[k]] = 0
            for k in range(n):
                stamp[found[k, 0]] = 0
            return written, np.int64(text)
        if not whole:
            for k in range(grams):
                frequency[touched[k]] += 1
        for k in range(n):
            if found[k, 4]:
                a, size = found[k, 1], found[k, 3]
                runs[written, 0], runs[written, 1], runs[written, 2] = text, found[k, 0], a
                runs[written, 3], runs[written, 4] = found[k, 2], size
                runs[written, 5] = starts[a] - offsets[text]
                runs[written, 6] = stops[a + size - 1] - offsets[text]
                written += 1
    return written, np.int64(len(offsets) - 1)


@numba.njit(cache=True, nogil=True)
def _close(found, first, n, share, bounds, t):  # type: ignore[no-untyped-def]
    """Whether so many words of an item stand within a window that is hardly longer than the item. first: its first run."""
    length = bounds[t + 1] - bounds[t]
    width, total = length + length // 2 + SLACK, 0
    for i in range(first, n):
        if found[i, 0] != t:
            continue
        total += found[i, 3]
        while found[i, 1] - found[first, 1] > width:
            total -= found[first, 3]
            first += 1
            while found[first, 0] != t:
                first += 1
        if total >= share:
            return True
    return False
