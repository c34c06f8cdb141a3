"""The text kernels: normal forms, tokens, numbers and shingles out of UTF-8 bytes, compiled; `plain` says the same in Python.

    scan(b"What's 6 x 7?")  ->  hashes of  what's 6 x 7,  where they stand, a hash of the normal form, a hash of the numbers

Everything works on the buffers of Arrow string arrays in form NFC (`composed` sees to that), releases the GIL and makes no
Python object. Hashes are 64 bits; equal texts have equal hashes in every run and on every machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from sft_assets.text import characters as c
from sft_assets.text.plain import LONG
from sft_assets.text.plain import casefolded as plain_casefolded

SPACE, LETTER, DIGIT, MARK, CHARACTER = c.SPACE, c.LETTER, c.DIGIT, c.MARK, c.CHARACTER
OPERATOR, APOSTROPHE, POINT, IGNORED = c.OPERATOR, c.APOSTROPHE, c.POINT, c.IGNORED
CLASS, ENDS_WELL, COMPOSES, BLANK, FOLDS = c.CLASS, c.ENDS_WELL, c.COMPOSES, c.BLANK, c.FOLDS
NEWLINE, QUOTE, HYPHEN, MINUS, CLOSING, BRACKET, UNDERSCORE = 10, 39, 45, 0x2212, 41, 93, 95

# places in texts are unsigned: a signed index is looked at twice, it might count from the end
ZERO, ONE, TWO, THREE, FOUR = map(np.uint64, range(5))
EIGHT = np.uint64(8)

# what `scan` tells of a text beside its tokens, by place in an array
LOW, HIGH, FIGURES, LENGTH, SAID, SURPLUS, ENDING = range(7)
STATS = 7

SEED, _OTHER_SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME, _OTHER_PRIME = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93)
_GRAM, _NUMBER = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)
SMALL, _HIGH_BITS = np.uint64(0x2020202020202020), np.uint64(0x8080808080808080)  # of eight bytes
_NO_STATE, _WORD, _WORD_QUOTE, _NUMBER_STATE, _NUMBER_POINT, _ONE = range(6)


class Strings(NamedTuple):
    """The buffers of a string array: text i is data[offsets[i]:offsets[i + 1]]."""

    offsets: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, array: Any) -> Strings:
        """No copy of the text; a null is an empty text."""
        wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
        _, offsets, data = array.buffers()
        bytes_ = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
        bytes_.flags.writeable = False  # always: a kernel is compiled for each kind of array that it is given
        if offsets is None or len(array) == 0:
            return cls(np.zeros(len(array) + 1, np.int64), bytes_)
        places = np.frombuffer(offsets, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
        return cls(places.astype(np.int64), bytes_)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def composed(array: Any) -> Any:
    """The string array in form NFC: itself where all of it is, as almost always."""
    return _changed(array, COMPOSES, lambda text: unicodedata.normalize("NFC", text))


def casefolded(array: Any) -> Any:
    """The string array with each text as `plain.casefolded` has it: itself where nothing changes."""
    return _changed(array, COMPOSES | FOLDS, plain_casefolded)


def _changed(array: Any, flags: int, change: Callable[[str], str]) -> Any:
    classes, _ = c.tables()
    strings = Strings.of(array)
    doubtful = np.zeros(len(strings), np.bool_)
    find_flagged(strings.offsets, strings.data, classes, np.uint8(flags), doubtful)
    if not doubtful.any():
        return array
    mask = pa.array(doubtful)
    texts = [change(text) if text else text for text in array.filter(mask).to_pylist()]
    return pc.replace_with_mask(array, mask, pa.array(texts, array.type))


typed_intrinsic: Any = intrinsic  # called without the typing context, which type checkers do not know


@typed_intrinsic  # type: ignore[untyped-decorator]
def eight_bytes(typing_context: Any, data: Any, i: Any) -> Any:
    """The eight bytes from place i on as a number, the first one lowest. They have to be there."""

    def load(context, builder, signature, values):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, values[0])
        place = builder.gep(array.data, [values[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, i), load


@numba.njit(cache=True, nogil=True)
def find_flagged(offsets, data, classes, flags, doubtful):  # type: ignore[no-untyped-def]
    """Mark the texts that have a character with one of these flags; ASCII has none."""
    i, stop = np.uint64(offsets[0]), np.uint64(offsets[-1])
    while i + EIGHT <= stop and not eight_bytes(data, i) & _HIGH_BITS:
        i += EIGHT
    if i + EIGHT > stop:
        while i < stop and data[i] < 0x80:
            i += ONE
        if i == stop:
            return  # all is ASCII
    for text in range(len(offsets) - 1):
        i, stop = np.uint64(offsets[text]), np.uint64(offsets[text + 1])
        while i < stop:
            if data[i] < 0x80:
                i += ONE
                continue
            code, i = decode(data, i)
            if classes[code] & flags:
                doubtful[text] = True
                break


@numba.njit(cache=True, nogil=True, inline="always")
def decode(data, i):  # type: ignore[no-untyped-def]
    """(the code point that begins at byte i, where the next one begins). The bytes are valid UTF-8."""
    first = np.uint32(data[i])
    if first < 0x80:
        return first, i + ONE
    if first < 0xE0:
        return ((first & np.uint32(0x1F)) << np.uint32(6)) | (np.uint32(data[i + ONE]) & np.uint32(0x3F)), i + TWO
    if first < 0xF0:
        return (
            ((first & np.uint32(0x0F)) << np.uint32(12))
            | ((np.uint32(data[i + ONE]) & np.uint32(0x3F)) << np.uint32(6))
            | (np.uint32(data[i + TWO]) & np.uint32(0x3F))
        ), i + THREE
    return (
        ((first & np.uint32(0x07)) << np.uint32(18))
        | ((np.uint32(data[i + ONE]) & np.uint32(0x3F)) << np.uint32(12))
        | ((np.uint32(data[i + TWO]) & np.uint32(0x3F)) << np.uint32(6))
        | (np.uint32(data[i + THREE]) & np.uint32(0x3F))
    ), i + FOUR


@numba.njit(cache=True, nogil=True, inline="always")
def mixed(h, value):  # type: ignore[no-untyped-def]
    """A hash with one more value in it (FNV-1a's step with a larger prime)."""
    return (h ^ np.uint64(value)) * _PRIME


@numba.njit(cache=True, nogil=True, inline="always")
def finished(h):  # type: ignore[no-untyped-def]
    """MurmurHash3's 64-bit finalizer: every bit of the result depends on every bit of the hash."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@numba.njit(cache=True, nogil=True, inline="always")
def mixed_word(h, letters):  # type: ignore[no-untyped-def]
    """A hash with up to eight ASCII letters more in it, one a byte."""
    h = (h ^ letters) * _PRIME
    return h ^ (h >> np.uint64(29))


@typed_intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """How many of the lowest bits are not set; 64 of zero."""

    def count(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.cttz(values[0], ir.IntType(1)(0))

    return types.uint64(value), count


@numba.njit(cache=True, nogil=True, inline="always")
def letters_first(bytes_):  # type: ignore[no-untyped-def]
    """How many of eight bytes, from the first, are ASCII letters."""
    small = bytes_ | SMALL
    letters = (small + np.uint64(0x1F1F1F1F1F1F1F1F)) & (np.uint64(0xFAFAFAFAFAFAFAFA) - small) & ~bytes_ & _HIGH_BITS
    others = ~letters & _HIGH_BITS
    return trailing_zeros(others) >> np.uint64(3)


@numba.njit(cache=True, nogil=True, inline="always")
def both(low, high, value):  # type: ignore[no-untyped-def]
    """The two halves of the normal form's hash with one more value in them."""
    return mixed(low, value), (high ^ np.uint64(value)) * _OTHER_PRIME


@numba.njit(cache=True, nogil=True, inline="always")
def token_hash(plain, word, chunk, letters, h):  # type: ignore[no-untyped-def]
    """A token's hash: of its letters, eight at a time, where it is a plain word, else `h`, that of its code points."""
    if plain:
        h = mixed_word(word, chunk) if letters else word
    return finished(h)


@numba.njit(cache=True, nogil=True)
def scan(data, start, stop, classes, lowers, hashes, starts, stops, n, stats):  # type: ignore[no-untyped-def]
    """Read one text: its tokens go to hashes, starts and stops (bytes) from place n on; returns the next free place.

    The arrays need room for one token a byte. stats: LOW and HIGH get a 128-bit hash of the normal form, LENGTH its characters,
    SAID those that are left of it when each run of blanks is one, SURPLUS the blanks that nobody would miss, ENDING whether it
    ends as an answer ends; FIGURES goes on from what stands in it.

    A word of ASCII letters alone, as most are, is hashed eight letters at a time, any other token by its code points. The hash
    of the normal form is over tokens, and over the characters that belong to none, in their order.
    """
    low, high, figures = SEED, _OTHER_SEED, stats[FIGURES]
    length, said, surplus = np.int64(0), np.int64(0), np.int64(0)
    run, blanks, newlines, last = 0, 0, 0, np.uint8(0)  # of white space; the class of the last character that is none
    state, h, begin, end, pending = _NO_STATE, SEED, ZERO, ZERO, np.uint32(0)
    plain, word, letters = False, SEED, ZERO  # of the token so far: only ASCII letters; its hash as such; how many
    chunk = ZERO
    place, digit, began = (
        np.int64(0),
        np.int64(-9),
        np.int64(0),
    )  # characters that are not ignored; the last digit, the token's first
    before, before_kind, word_before = np.uint32(0), SPACE, False
    i, stop = np.uint64(start), np.uint64(stop)
    loadable = np.uint64(max(len(data) - 7, 0))
    try_word = True
    while i < stop:
        if try_word and state == _NO_STATE and i < loadable:
            at, h = i, SEED
            bytes_ = eight_bytes(data, i)
            count = letters_first(bytes_)
            if count:
                whole = True
                while count == EIGHT and i + EIGHT <= stop:
                    h = mixed_word(h, bytes_ | SMALL)
                    i += EIGHT
                    if i >= loadable:
                        whole = False
                        break
                    bytes_ = eight_bytes(data, i)
                    count = letters_first(bytes_)
                if whole:
                    if i + count > stop:
                        count = stop - i
                    if count:
                        h = mixed_word(h, (bytes_ | SMALL) & ((ONE << (count * EIGHT)) - ONE))
                        i += count
                    if i < stop:
                        following = data[i]
                        whole = following < 0x80 and following != QUOTE and following != UNDERSCORE
                        whole = whole and not (0x30 <= following <= 0x39)
                if not whole:
                    i, try_word = at, False  # a token like any other
                    continue
                if run:
                    if said:
                        said += 1
                        surplus += max(0, blanks - 1) + max(0, newlines - 2)
                        low, high = both(low, high, 32)
                    else:
                        surplus += run
                    run, blanks, newlines = 0, 0, 0
                h = finished(h)
                hashes[n], starts[n], stops[n] = h, at, i
                n += 1
                low, high = both(low, high, h)
                size = np.int64(i - at)
                length, said, place, last = length + size, said + size, place + size, np.uint8(0)
                word_before = bool(size > 1) or _wordlike(before, before_kind)
                before, before_kind = np.uint32(97), LETTER  # which letter does not matter
                if i < stop and data[i] == 32:
                    length, run, blanks, place, i = length + 1, 1, 1, place + 1, i + ONE
                    before, before_kind, word_before = np.uint32(32), SPACE, False
                continue
        at = i
        code, i = decode(data, i)
        flags = classes[code]
        kind = flags & CLASS
        length += 1
        try_word = True
        if kind != SPACE:
            code = lowers[code]
            if run:
                if said:
                    said += 1
                    surplus += max(0, blanks - 1) + max(0, newlines - 2)
                    low, high = both(low, high, 32)
                else:
                    surplus += run
                run, blanks, newlines = 0, 0, 0
            said += 1
            last = flags
            if kind == IGNORED:
                inside = np.uint64(0) if state == _NO_STATE else np.uint64(place - began + 1)
                value = np.uint64(code) | (inside << np.uint64(32))
                low, high = both(low, high, value)
                continue
        place += 1

        if kind == DIGIT:
            if digit == place - 1:
                figures = mixed(figures, code)
            elif digit == place - 2 and before_kind == POINT:
                figures = mixed(mixed(figures, before), code)
            else:
                figures = mixed(figures, _NUMBER)
                if (before == HYPHEN or before == MINUS) and not word_before:
                    figures = mixed(figures, HYPHEN)
                figures = mixed(figures, code)
            digit = place
        word_before = _wordlike(before, before_kind)
        before, before_kind = code, kind

        if state == _WORD:
            if kind == LETTER or kind == MARK or kind == DIGIT:
                h, end = mixed(h, code), i
                if plain and 97 <= code <= 122:
                    chunk |= np.uint64(code) << (letters * EIGHT)
                    letters += ONE
                    if letters == EIGHT:
                        word, chunk, letters = mixed_word(word, chunk), ZERO, ZERO
                else:
                    plain = False
                continue
            if kind == APOSTROPHE:
                state, pending = _WORD_QUOTE, code
                continue
        elif state == _WORD_QUOTE:
            if kind == LETTER:
                h, end, state, plain = mixed(mixed(h, QUOTE), code), i, _WORD, False
                if pending != QUOTE:
                    value = np.uint64(pending) | (np.uint64(place - began) << np.uint64(32))
                    low, high = both(low, high, value)
                continue
        elif state == _NUMBER_STATE:
            if kind == DIGIT:
                h, end = mixed(h, code), i
                continue
            if kind == POINT:
                state, pending = _NUMBER_POINT, code
                continue
        elif state == _NUMBER_POINT:
            if kind == DIGIT:
                h, end, state = mixed(mixed(h, pending), code), i, _NUMBER_STATE
                continue
        elif state == _ONE and kind == MARK:
            h, end = mixed(h, code), i
            continue
        if state != _NO_STATE:
            h = token_hash(plain, word, chunk, letters, h)
            hashes[n], starts[n], stops[n] = h, begin, end
            n += 1
            low, high = both(low, high, h)
            if state == _WORD_QUOTE or state == _NUMBER_POINT:
                low, high = both(low, high, pending)
            state, plain = _NO_STATE, False
        if kind == SPACE:
            run += 1
            if code == NEWLINE:
                newlines += 1
            elif flags & BLANK and newlines == 0:
                blanks += 1
        elif kind == LETTER or kind == DIGIT or kind == CHARACTER or kind == OPERATOR:
            h, begin, end, began = mixed(SEED, code), at, i, place
            if kind == LETTER:
                state = _WORD
                plain = 97 <= code <= 122
                word, chunk, letters = SEED, np.uint64(code), ONE
            elif kind == DIGIT:
                state = _NUMBER_STATE
            elif kind == CHARACTER:
                state = _ONE
            else:
                h = finished(h)
                hashes[n], starts[n], stops[n] = h, begin, end
                n += 1
                low, high = both(low, high, h)
        else:
            low, high = both(low, high, code)
    if state != _NO_STATE:
        h = token_hash(plain, word, chunk, letters, h)
        hashes[n], starts[n], stops[n] = h, begin, end
        n += 1
        low, high = both(low, high, h)
        if state == _WORD_QUOTE or state == _NUMBER_POINT:
            low, high = both(low, high, pending)
    stats[LOW], stats[HIGH], stats[FIGURES] = finished(low), finished(high), figures
    stats[LENGTH], stats[SAID], stats[SURPLUS] = length, said, surplus + run
    stats[ENDING] = 1 if last & ENDS_WELL else 0
    return n


@numba.njit(cache=True, nogil=True, inline="always")
def _wordlike(code, kind):  # type: ignore[no-untyped-def]
    """Whether a minus behind this character is no sign."""
    return (
        kind == LETTER or kind == DIGIT or kind == CHARACTER or kind == MARK or code == CLOSING or code == BRACKET
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, inline="always")
def word_gram(a, b, d):  # type: ignore[no-untyped-def]
    """The hash of three tokens in a row, from theirs."""
    return finished(mixed(mixed(a * _OTHER_PRIME, b), d) ^ _GRAM)


@numba.njit(cache=True, nogil=True)
def token_characters(data, start, stop, classes, lowers, out, n):  # type: ignore[no-untyped-def]
    """Put the characters of a token, as they were hashed, into `out` from place n on; returns the next free place."""
    i, stop = np.uint64(start), np.uint64(stop)
    while i < stop:
        code, i = decode(data, i)
        if classes[code] & CLASS == IGNORED:
            continue
        out[n] = QUOTE if classes[code] & CLASS == APOSTROPHE else lowers[code]
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def character_grams(characters, count, shingles, at):  # type: ignore[no-untyped-def]
    """Hash the 3-grams (8-grams from LONG characters on) into `shingles` from place `at` on; returns the next free place."""
    width = 3 if count < LONG else 8
    for i in range(max(1, count - width + 1)):
        h = _GRAM
        for k in range(i, min(i + width, count)):
            h = mixed(h, characters[k])
        shingles[at] = finished(h)
        at += 1
    return at


class Tokens(NamedTuple):
    """The tokens of many texts: text i has the tokens bounds[i] to bounds[i + 1]; starts and stops are bytes of the data."""

    hashes: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]


def tokenized(array: Any) -> Tokens:
    """The tokens of each text of a string array in form NFC (see `composed`)."""
    classes, lowers = c.tables()
    strings = Strings.of(array)
    room = int(strings.offsets[-1] - strings.offsets[0]) if len(strings) else 0
    hashes, starts, stops = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    bounds = np.zeros(len(strings) + 1, np.int64)
    n = scan_all(strings.offsets, strings.data, classes, lowers, hashes, starts, stops, bounds)
    return Tokens(hashes[:n], starts[:n], stops[:n], bounds)


@numba.njit(cache=True, nogil=True)
def scan_all(offsets, data, classes, lowers, hashes, starts, stops, bounds):  # type: ignore[no-untyped-def]
    """`scan` over every text; returns the number of tokens."""
    stats = np.zeros(STATS, np.uint64)
    n = np.int64(0)  # not 0, for which the kernel would be compiled once more
    for text in range(len(offsets) - 1):
        n = scan(data, offsets[text], offsets[text + 1], classes, lowers, hashes, starts, stops, n, stats)
        bounds[text + 1] = n
    return n


@numba.njit(cache=True, nogil=True)
def hash_all(offsets, data, classes, lowers, out):  # type: ignore[no-untyped-def]
    """A 64-bit hash of each text's normal form; 0 for an empty one."""
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    hashes, places = np.empty(longest, np.uint64), np.empty(longest, np.int64)
    stats, none = np.zeros(STATS, np.uint64), np.int64(0)
    for text in range(len(offsets) - 1):
        if offsets[text] == offsets[text + 1]:
            out[text] = 0
        else:
            scan(data, offsets[text], offsets[text + 1], classes, lowers, hashes, places, places, none, stats)
            out[text] = stats[LOW]
