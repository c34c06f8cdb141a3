"""The words of a text by which test items are sought: what is left when a copy is re-cased, re-punctuated or re-spaced.

    "What’s 1,000 – 7*x?"  ->  whats  1000  7  x        with  *  before x

They are the tokens of `sft_assets.text` without apostrophes and the commas of thousands. Operators are no words: a copy may
have lost one or gained some, but where both sides have them between the same words they have to be the same. Marks of LaTeX,
Markdown and lists are none.
"""

from __future__ import annotations

import re

import numba
import numpy as np
import regex

from sft_assets.text import characters as c
from sft_assets.text.kernel import (
    EIGHT,
    ONE,
    QUOTE,
    SEED,
    SMALL,
    TWO,
    UNDERSCORE,
    decode,
    eight_bytes,
    finished,
    letters_first,
    mixed,
    mixed_word,
    scan,
    trailing_zeros,
)
from sft_assets.text.plain import TOKEN, casefolded, folded, tokens

CHARACTER = regex.compile(r"\X")  # nothing composes across the borders of what people see as one character
THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
CLASS, OPERATOR, APOSTROPHE, LETTER, DIGIT, MARK = c.CLASS, c.OPERATOR, c.APOSTROPHE, c.LETTER, c.DIGIT, c.MARK
LETTERS = 256  # bytes of a word with apostrophes
# operators that are written in several ways, as the first is: minus and hyphens, times, division, comparisons
SPELLINGS = {"-": "−‐‑‒", "*": "×·•∗", "/": "÷", "<": "≤", ">": "≥"}
ALIKE = {ord(other): ord(one) for one, others in SPELLINGS.items() for other in others}
NEUTRAL = frozenset(map(ord, "$\\`~#|_"))  # marks of LaTeX and Markdown: no operators
_KINDS = (c.tables()[0][:256] & CLASS).astype(np.uint8)  # of ASCII; 0 for what is in no word
_KINDS[~np.isin(_KINDS, (OPERATOR, APOSTROPHE, LETTER, DIGIT))] = 0
_KINDS[UNDERSCORE] = MARK
_ALIKE = np.array(sorted(ALIKE.items()), np.uint32)
_NEUTRAL = np.isin(np.arange(128), sorted(NEUTRAL))
_BYTES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _CURLY = _BYTES * np.uint64(QUOTE), _BYTES * np.uint64(0xE2)  # each eight times


def words(text: str) -> list[str]:
    """The words of a text, in plain Python."""
    return [word for token in tokens(casefolded(text)) if (word := word_of(token))]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and stop of each word, in characters of the text as it is written, whatever its Unicode form."""
    normal = folded(casefolded(text))
    pieces = [(m.start(), m.end(), len(folded(casefolded(m.group())))) for m in CHARACTER.finditer(text)]
    origin = [(start, stop) for start, stop, width in pieces for _ in range(width)]
    found = [m.span() for m in TOKEN.finditer(normal) if word_of(m.group())]
    return [(origin[start][0], origin[stop - 1][1]) for start, stop in found]


def word_of(token: str) -> str:
    """The word that a token is; "" for an operator and a blank to fill in."""
    if token.isalnum():
        return token
    if is_operator(token) or not token.strip("_"):
        return ""
    return (token.replace(",", "") if THOUSANDS.fullmatch(token) else token).replace("'", "")


def is_operator(token: str) -> bool:
    """Whether a token is an operator or a symbol."""
    classes, _ = c.tables()
    return len(token) == 1 and bool(classes[ord(token)] & CLASS == OPERATOR)


@numba.njit(cache=True, nogil=True)
def _meant(code):  # type: ignore[no-untyped-def]
    """An operator as it is compared; 0 for one that says nothing."""
    if code < 128:
        return np.uint32(0) if _NEUTRAL[code] else code
    for k in range(len(_ALIKE)):
        if _ALIKE[k, 0] == code:
            return _ALIKE[k, 1]
    return code


@numba.njit(cache=True, nogil=True)
def _bullet(data, first, i, code):  # type: ignore[no-untyped-def]
    """Whether an operator is the mark of an item of a list: the first of a line, and a blank behind it."""
    if code != 0x2D and code != 0x2A and code != 0x2B:
        return False
    after = i + (ONE if data[i] < 0x80 else TWO if data[i] < 0xE0 else TWO + ONE)
    if after < len(data) and data[after] != 0x20 and data[after] != 0x09:
        return False
    while i > first and (data[i - ONE] == 0x20 or data[i - ONE] == 0x09):
        i -= ONE
    return i == first or data[i - ONE] == 0x0A


@numba.njit(cache=True, nogil=True, inline="always")
def _next_quote(data, i, stop):  # type: ignore[no-untyped-def]
    """The first byte from i on that may be of an apostrophe ("'" or "’"); `stop` where there is none."""
    while i + EIGHT <= stop:
        bytes_ = eight_bytes(data, i)
        straight, curly = bytes_ ^ _QUOTES, bytes_ ^ _CURLY
        found = ((straight - _BYTES) & ~straight | (curly - _BYTES) & ~curly) & _TOPS
        if found:
            return i + (trailing_zeros(found) >> np.uint64(3))
        i += EIGHT
    while i < stop and data[i] != QUOTE and data[i] != 0xE2:
        i += ONE
    return i


@numba.njit(cache=True, nogil=True)
def _plainer(data, start, stop, classes, lowers, h, letters, one, place, stats):  # type: ignore[no-untyped-def]
    """The hash of a token without its apostrophes and the commas of thousands; its own where it has none."""
    n, i = 0, start
    commas, run, thousands = 0, 0, data[start] >= 0x30 and data[start] <= 0x39
    while i < stop:
        at = i
        code, i = decode(data, i)
        if classes[code] & CLASS == APOSTROPHE:
            commas += 1
            continue
        if thousands and code == 0x2E:
            return h
        if thousands and code == 0x2C:
            thousands = 1 <= run <= 3 if commas == 0 else run == 3
            if not thousands:
                return h
            commas, run = commas + 1, 0
            continue
        run += 1
        for k in range(at, i):
            if n < len(letters):
                letters[n] = data[k]
                n += 1
    if commas == 0 or n >= len(letters) or (thousands and run != 3):
        return h
    found = scan(letters, np.int64(0), np.int64(n), classes, lowers, one, place, place, np.int64(0), stats)
    return one[0] if found == 1 else h


@numba.njit(cache=True, nogil=True)
def words_in(  # type: ignore[no-untyped-def]
    data, start, stop, classes, lowers, hashes, starts, stops, gaps, letters, one, place, stats
):  # fmt: skip
    """Put the words of a text into hashes, starts and stops (bytes); returns how many.

    gaps: a hash of the operators before each word. The arrays need room for one word a byte. letters, one, place and stats are
    room to work in: LETTERS bytes, as many words and 8 more, STATS.
    """
    i, end = np.uint64(start), np.uint64(stop)
    while i + EIGHT <= end and not eight_bytes(data, i) & _TOPS:
        i += EIGHT
    while i < end and data[i] < 0x80:
        i += ONE
    if i == end:
        return _ascii_words(data, np.uint64(start), end, hashes, starts, stops, gaps)
    n = scan(data, start, stop, classes, lowers, hashes, starts, stops, np.int64(0), stats)
    return _words_of(data, np.uint64(start), hashes, starts, stops, gaps, n, classes, lowers, letters, one, place, stats)


@numba.njit(cache=True, nogil=True)
def _ascii_words(data, begin, stop, hashes, starts, stops, gaps):  # type: ignore[no-untyped-def]
    """The same for ASCII, two times as fast; a word of letters alone is hashed eight letters at a time, as `scan` does it."""
    i, m, gap, last = begin, np.uint64(0), np.uint64(0), np.uint32(0)
    loadable = np.uint64(max(len(data) - 7, 0))
    while i < stop:
        kind = _KINDS[data[i]]
        if kind == 0:
            i += ONE
            continue
        at, h = i, SEED
        if kind == OPERATOR:
            code = _meant(np.uint32(data[i]))
            if code and code != last and not _bullet(data, begin, i, code):
                gap = mixed(gap, code)
            last = code
            i += ONE
            continue
        last = np.uint32(0)
        whole = kind == LETTER and i < loadable
        if whole:
            bytes_ = eight_bytes(data, i)
            count = letters_first(bytes_)
            while count == EIGHT and i + EIGHT <= stop:
                h = mixed_word(h, bytes_ | SMALL)
                i += EIGHT
                if i >= loadable:
                    whole = False
                    break
                bytes_ = eight_bytes(data, i)
                count = letters_first(bytes_)
            if whole:
                count = min(count, stop - i)
                if count:
                    h = mixed_word(h, (bytes_ | SMALL) & ((ONE << (count * EIGHT)) - ONE))
                    i += count
                if i < stop:
                    following = _KINDS[data[i]]
                    whole = following == 0 or following == OPERATOR
        if whole:
            h = finished(h)
        else:
            h, i = _number(data, at, stop) if kind == DIGIT else _word_hash(data, at, stop)
            if h == 0:
                continue  # a blank to fill in, or an apostrophe alone
        hashes[m], starts[m], stops[m], gaps[m] = h, at, i, gap
        m, gap = m + ONE, np.uint64(0)
    return np.int64(m)


@numba.njit(cache=True, nogil=True)
def _word_hash(data, at, stop):  # type: ignore[no-untyped-def]
    """(hash, end) of an ASCII word with digits, underscores or apostrophes (which do not count); 0 for blanks to fill in."""
    if _KINDS[data[at]] == APOSTROPHE:
        return np.uint64(0), at + ONE
    plain, blank, i = True, True, at
    while i < stop:
        kind = _KINDS[data[i]]
        if kind == APOSTROPHE:
            following = _KINDS[data[i + ONE]] if i + ONE < stop else np.uint8(0)
            if following != LETTER and following != MARK:
                break
        elif kind != LETTER and kind != MARK and kind != DIGIT:
            break
        plain = plain and kind != DIGIT and kind != MARK
        blank = blank and kind == MARK
        i += ONE
    if blank:
        return np.uint64(0), i
    h, chunk, letters = SEED, np.uint64(0), np.uint64(0)
    for k in range(at, i):
        code = data[k]
        if code == QUOTE:
            continue
        if 0x41 <= code <= 0x5A:
            code |= 0x20
        if not plain:
            h = mixed(h, code)
            continue
        chunk |= np.uint64(code) << (letters * EIGHT)
        letters += ONE
        if letters == EIGHT:
            h, chunk, letters = mixed_word(h, chunk), np.uint64(0), np.uint64(0)
    if letters:
        h = mixed_word(h, chunk)
    return finished(h), i


@numba.njit(cache=True, nogil=True)
def _number(data, at, stop):  # type: ignore[no-untyped-def]
    """(hash, end) of an ASCII number, without the commas of thousands."""
    i, run, groups, thousands = at, 0, 0, True
    while i < stop:
        code = data[i]
        if 0x30 <= code <= 0x39:
            run += 1
        elif (code == 0x2C or code == 0x2E) and i + ONE < stop and 0x30 <= data[i + ONE] <= 0x39:
            thousands = thousands and code == 0x2C and (run == 3 or (groups == 0 and run <= 3))
            groups, run = groups + 1, 0
        else:
            break
        i += ONE
    thousands = thousands and groups > 0 and run == 3
    h = SEED
    for k in range(at, i):
        if not thousands or data[k] != 0x2C:
            h = mixed(h, data[k])
    return finished(h), i


@numba.njit(cache=True, nogil=True)
def _words_of(  # type: ignore[no-untyped-def]
    data, begin, hashes, starts, stops, gaps, n, classes, lowers, letters, one, place, stats
):  # fmt: skip
    """Leave the words of n tokens of `scan` in its arrays; returns how many."""
    m, gap, last = 0, np.uint64(0), np.uint32(0)
    if n == 0:
        return m
    end = np.uint64(stops[n - 1])
    quote = _next_quote(data, np.uint64(starts[0]), end)
    for i in range(n):
        start = np.uint64(starts[i])
        first = data[start]
        kind, code = classes[first] & CLASS, np.uint32(first)
        if first >= 0x80:
            code, _ = decode(data, start)
            kind = classes[code] & CLASS
        if kind == OPERATOR:
            wide, code = code == 0x2264 or code == 0x2265, _meant(code)  # ≤ and ≥ are two
            if code and code != last and not _bullet(data, begin, start, code):
                gap = mixed(gap, code)
            last = code
            if wide:
                gap, last = mixed(gap, 0x3D), np.uint32(0x3D)
            continue
        last = np.uint32(0)
        h = hashes[i]
        if quote < start:
            quote = _next_quote(data, start, end)
        if first <= 0x39 or first == UNDERSCORE or quote < np.uint64(stops[i]):
            stop = np.uint64(stops[i])
            if first == UNDERSCORE:
                k = start
                while k < stop and data[k] == UNDERSCORE:
                    k += ONE
                if k == stop:
                    continue  # a blank to fill in
            if stop - start > TWO:
                h = _plainer(data, start, stop, classes, lowers, h, letters, one, place, stats)
        if m != i:
            starts[m], stops[m] = start, stops[i]
        hashes[m], gaps[m] = h, gap
        m, gap = m + 1, np.uint64(0)
    return m
