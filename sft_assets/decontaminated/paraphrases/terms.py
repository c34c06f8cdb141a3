"""The terms by which paraphrases are compared: stems of words, values of numbers, and pairs of two in a row.

    "twenty-one ducks, smallest first"  ->  21  duck  min  first    (21 duck)  (duck min)  (min first)

Stems are short, the commonest synonyms are one word ("smallest" is "minimum"), number words are numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.text import characters
from sft_assets.text.kernel import CHARACTER, CLASS, LETTER, STATS, Strings, decode, finished, mixed, scan, tokenized

STEM = 5  # letters of a stem

SYNONYMS = """
minimum min smallest least lowest | maximum max largest biggest greatest highest | find compute calculate determine obtain
write create implement make build | function method program code script | remove delete eliminate drop | replace substitute
check verify test | convert transform | count number amount quantity | sum total altogether | average mean | each every per
big large huge | small little tiny | last final | start begin initial | buy purchase | pay spend cost | require need
show display | happen occur | contain include | different distinct | same identical equal | reverse invert
merge combine join | swap exchange interchange | split divide separate | string text | element item
near nearest close closest | most majority | kind type sort | child kid | car vehicle | also too
"""
UNITS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TIMES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
OTHERS = {"twice": 2, "double": 2, "thrice": 3, "triple": 3}

MARKUP = tuple(np.uint8(ord(mark)) for mark in "-#`~|")  # no words: hyphens, headings, code marks, tables
_PLAIN, _VALUE, _UNIT, _TEN, _TIMES = range(5)
_STEM_SEED, _NUMBER_SEED, _PAIR_SEED = (np.uint64(n) for n in (0x8EBC6AF09C88C6E3, 0x589965CC75374CC3, 0x1D8E4E27C47D124F))
_OTHER_PRIME, _ONE = np.uint64(0xD6E8FEB86659FD93), np.uint64(1)
_S, _U, _E, _I, _N, _G, _D, _L, _Y, _Z = (np.uint8(ord(letter)) for letter in "sueingdlyz")
_TEN_, _ZERO = np.uint64(10), np.uint64(0)

Ints = npt.NDArray[np.int32]


@cache
def known_words() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int8], npt.NDArray[np.uint64]]:
    """A hash table of the words that are not only their stem: hashes, kinds, and values (a number, or the stem's hash)."""
    entries: dict[str, tuple[int, int | str]] = {}
    for group in SYNONYMS.replace("\n", "|").split("|"):
        words = group.split()
        for word in words:
            for form in _forms(word):
                entries[form] = (_PLAIN, words[0])
    for place, word in enumerate(UNITS.split()):
        entries[word] = (_UNIT, place)
    for place, word in enumerate(TENS.split(), 2):
        entries[word] = (_TEN, 10 * place)
    entries |= {word: (_VALUE, value) for word, value in OTHERS.items()}
    entries |= {word: (_TIMES, value) for word, value in TIMES.items()}
    names = list(entries)
    hashes = tokenized(pa.array(names)).hashes
    stems = dict(zip(names, _unread(names), strict=True))
    kinds = np.array([entries[name][0] for name in names], np.int8)
    values = np.array([stems[v] if isinstance(v := entries[name][1], str) else v for name in names], np.uint64)
    keys, places = table(hashes)
    at = np.maximum(places, 0)
    return keys, kinds[at], values[at]


def _forms(word: str) -> list[str]:
    bare = word[:-1] if word.endswith("e") else word[:-1] + "i" if word.endswith("y") else word
    double = word + word[-1] if word[-1] in "tpg" else bare
    return [word, word + "s", bare + "es", bare + "ed", word + "ed", double + "ed", word + "ing", bare + "ing", double + "ing"]


def _unread(words: Sequence[str]) -> list[int]:
    """The hashes of words' stems, without the table of known words."""
    nothing = np.zeros(1, np.uint64), np.zeros(1, np.int8), np.zeros(1, np.uint64)
    return [int(key) for key in read_all(Strings.of(pa.array(list(words), pa.string())), nothing)[0]]


def table(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Ints]:
    """An open-addressed hash table, at most half full: hashes (0 is a free place) and their numbers (-1)."""
    size = 1 << max(4, int(2 * len(hashes)).bit_length())
    keys, numbers = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    _fill(hashes, keys, numbers)
    return keys, numbers


@numba.njit(cache=True, nogil=True)
def _fill(hashes, keys, numbers):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(keys) - 1)
    for i in range(len(hashes)):
        place = hashes[i] & mask
        while keys[place] != _ZERO and keys[place] != hashes[i]:
            place = (place + _ONE) & mask
        if keys[place] == _ZERO:
            keys[place], numbers[place] = hashes[i], i


@numba.njit(cache=True, nogil=True, inline="always")
def place_of(keys, key):  # type: ignore[no-untyped-def]
    """Where a hash stands in a table, or the free place where it would."""
    mask = np.uint64(len(keys) - 1)
    place = key & mask
    while keys[place] != _ZERO and keys[place] != key:
        place = (place + _ONE) & mask
    return place


@numba.njit(cache=True, nogil=True)
def stem(data, start, stop, lowers, whole):  # type: ignore[no-untyped-def]
    """The hash of a word's stem; `whole`, the word's own, where it has digits, underscores or an apostrophe within.

    English endings (-s, -ing, -ed, -ly, -e) go, a last y is an i, and five letters are left: few words of any language differ
    only behind them (McNamee and Mayfield, Character N-gram Tokenization for European Language Text Retrieval, 2004).
    """
    if stop - start > 4 and data[stop - 1] | 32 == _S and data[stop - 2] == 0x99 and data[stop - 4] == 0xE2:
        stop -= 4  # ’s
    elif stop - start > 2 and data[stop - 1] | 32 == _S and data[stop - 2] == 39:
        stop -= 2
    ascii_ = True
    for i in range(start, stop):
        byte = data[i]
        if byte >= 0x80:
            ascii_ = False
        elif not 97 <= byte | 32 <= 122:
            return whole
    h, letters = _STEM_SEED, 0
    if not ascii_:
        at, end = np.uint64(start), np.uint64(stop)
        while at < end and letters < STEM:
            code, at = decode(data, at)
            h = mixed(h, lowers[code])
            letters += 1
        return finished(h)
    n = stop - start
    last, before = data[stop - 1] | 32, data[stop - 2] | 32 if n > 1 else np.uint8(0)
    if n > 3 and last == _S and before != _S and before != _U:
        n -= 1
        if n > 4 and before == _E and data[start + n - 2] | 32 == _I:
            n -= 1
    if n > 4:
        a, b, c = data[start + n - 3] | 32, data[start + n - 2] | 32, data[start + n - 1] | 32
        cut = 3 if n > 5 and a == _I and b == _N and c == _G else 2 if b == _E and c == _D else 0
        if n > 5 and b == _L and c == _Y:
            cut = 2
        if cut:
            n -= cut
            c = data[start + n - 1] | 32
            if n > 2 and c == data[start + n - 2] | 32 and c != _L and c != _S and c != _Z:
                n -= 1
    if n > 3 and data[start + n - 1] | 32 == _E:
        n -= 1
    for i in range(min(n, STEM)):
        letter = data[start + i] | 32
        if letter == _Y and i == n - 1 and n > 3:
            letter = _I
        h = mixed(h, letter)
    return finished(h)


@numba.njit(cache=True, nogil=True, inline="always")
def _number(mantissa, decimals):  # type: ignore[no-untyped-def]
    """The hash of the number mantissa / 10^decimals."""
    while decimals > _ZERO and mantissa % _TEN_ == _ZERO:
        mantissa, decimals = mantissa // _TEN_, decimals - _ONE
    return finished(mixed(mixed(_NUMBER_SEED, mantissa), decimals))


@numba.njit(cache=True, nogil=True)
def _digits(data, start, stop):  # type: ignore[no-untyped-def]
    """(mantissa, decimals, whether it is a number in ASCII digits) of a token: "1,250" is 1250, "1,25" is 1.25."""
    mantissa, decimals, point = _ZERO, _ZERO, False
    for i in range(start, stop):
        byte = data[i]
        if 48 <= byte <= 57:
            mantissa = mantissa * _TEN_ + np.uint64(byte - 48)
            if point:
                decimals += _ONE
        elif byte == 46 or byte == 44:
            group = byte == 44 and (i + 4 == stop or (i + 4 < stop and not 48 <= data[i + 4] <= 57))
            if not group:
                if point:
                    return mantissa, decimals, False
                point = True
        else:
            return mantissa, decimals, False
    return mantissa, decimals, True


@numba.njit(cache=True, nogil=True)
def read(  # type: ignore[no-untyped-def]
    data, start, stop, classes, lowers, known, kinds, values, hashes, starts, stops, stats, words, pairs, figures, whole, n
):  # fmt: skip
    """Read one text: the terms of its tokens go to `words` from place n on; returns the next free place.

    pairs: the term of a token and the one before it, 0 for the first. figures: whether it is a number. whole: whether a pair is
    worth as much as a word, as in scripts without spaces.
    """
    count = scan(data, start, stop, classes, lowers, hashes, starts, stops, np.int64(0), stats)
    begin = n
    state, mantissa, decimals = 0, _ZERO, _ZERO  # of the number before: _TEN, or _VALUE of any other; 0 where there is none
    character = False  # the token before was one
    for token in range(count):
        first = data[starts[token]]
        if first in MARKUP or (token and hashes[token] == hashes[token - 1] and 33 <= first <= 47):
            continue
        place = place_of(known, hashes[token])
        kind = kinds[place] if known[place] != _ZERO else np.int8(-1)
        value = values[place]
        now, key, is_character = 0, hashes[token], False
        if kind == _TIMES and state:
            n -= 1
            mantissa, now = mantissa * value, _VALUE
        elif kind == _UNIT and state == _TEN and _ZERO < value < _TEN_:
            n -= 1
            mantissa, now = mantissa + value, _VALUE
        elif kind == _TEN or kind == _VALUE or (kind == _UNIT and value != _ONE):
            mantissa, decimals, now = value, _ZERO, _TEN if kind == _TEN else _VALUE
        elif kind == _PLAIN:
            key = value
        elif first < 0x80:
            if 48 <= first <= 57:
                mantissa, decimals, right = _digits(data, starts[token], stops[token])
                now = _VALUE if right else 0
            elif 97 <= first | 32 <= 122:
                key = stem(data, starts[token], stops[token], lowers, key)
        else:
            code, _ = decode(data, np.uint64(starts[token]))
            class_ = classes[code] & CLASS
            is_character = class_ == CHARACTER
            if class_ == LETTER:
                key = stem(data, starts[token], stops[token], lowers, key)
        if now:
            key = _number(mantissa, decimals)
        state = now
        words[n], figures[n] = key, now != 0
        pairs[n] = finished(mixed(mixed(_PAIR_SEED, words[n - 1] * _OTHER_PRIME), key)) if n > begin else _ZERO
        whole[n] = is_character and character
        character = is_character
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _read_each(  # type: ignore[no-untyped-def]
    offsets, data, classes, lowers, known, kinds, values, words, pairs, figures, whole, bounds
):  # fmt: skip
    longest = 1
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    hashes, starts, stops = np.empty(longest, np.uint64), np.empty(longest, np.int64), np.empty(longest, np.int64)
    stats = np.zeros(STATS, np.uint64)
    n = np.int64(0)
    for text in range(len(offsets) - 1):
        n = read(
            data, offsets[text], offsets[text + 1], classes, lowers, known, kinds, values, hashes, starts, stops, stats,
            words, pairs, figures, whole, n,
        )  # fmt: skip
        bounds[text + 1] = n


def read_all(strings: Strings, known: tuple[Any, Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
    """(words, pairs, figures, whole, bounds) of texts, as `read` tells them."""
    room = int(strings.offsets[-1] - strings.offsets[0])
    words, pairs = np.empty(room, np.uint64), np.empty(room, np.uint64)
    figures, whole = np.empty(room, np.bool_), np.empty(room, np.bool_)
    bounds = np.zeros(len(strings) + 1, np.int64)
    _read_each(*strings, *characters.tables(), *known, words, pairs, figures, whole, bounds)
    n = bounds[-1]
    return words[:n], pairs[:n], figures[:n], whole[:n], bounds
