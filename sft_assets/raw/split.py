"""Where the records of a JSON text begin and end, at memory speed: two compiled scanners over bytes.

Both also count each record's `"key":` pairs, so that a repeated key (which every JSON parser swallows) can be seen by comparing
with the count after parsing, and mark numbers with more digits than a parser keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np

QUOTE, BACKSLASH, COLON, COMMA, NEWLINE = 34, 92, 58, 44, 10
DIGITS_KEPT = 15
SPANS = 1 << 15


class Spans:
    """Room for the spans that one scan finds."""

    def __init__(self, size: int = SPANS):
        self.starts = np.empty(size, np.int64)
        self.ends = np.empty(size, np.int64)
        self.pairs = np.empty(size, np.int64)
        self.long_numbers = np.empty(size, np.bool_)

    def first(self, n: int) -> Iterator[tuple[int, int, int, bool]]:
        """(start, end, pairs, long number) of the first n spans, as Python values."""
        return zip(*(column[:n].tolist() for column in (self.starts, self.ends, self.pairs, self.long_numbers)), strict=True)


@numba.njit(cache=True, nogil=True)
def split_lines(buf, pos, final, starts, ends, pairs, long_numbers):  # type: ignore[no-untyped-def]
    """Lines from `pos`: (how many, where the next scan starts). An unfinished last line waits unless `final`."""
    n, end = 0, len(buf)
    start, count, digits, long_number = pos, 0, 0, False
    in_string = escaped = False
    while pos < end and n < len(starts):
        c = buf[pos]
        if in_string and not escaped:
            while c != QUOTE and c != BACKSLASH and c != NEWLINE and pos + 1 < end:
                pos += 1
                c = buf[pos]
        if c == NEWLINE:
            starts[n], ends[n], pairs[n], long_numbers[n] = start, pos, count, long_number
            n += 1
            start, count, digits, long_number = pos + 1, 0, 0, False
            in_string = escaped = False
        elif in_string:
            if escaped:
                escaped = False
            elif c == BACKSLASH:
                escaped = True
            elif c == QUOTE:
                in_string = False
        elif c == QUOTE:
            in_string = True
        elif c == COLON:
            count += 1
            digits = 0
        elif 48 <= c <= 57:
            digits += 1
            if digits > DIGITS_KEPT:
                long_number = True
        elif c != 46:
            digits = 0
        pos += 1
    if final and pos == end and start < end and n < len(starts):
        starts[n], ends[n], pairs[n], long_numbers[n] = start, end, count, long_number
        n += 1
        start = end
    return n, start


@numba.njit(cache=True, nogil=True)
def split_values(buf, pos, base, starts, ends, pairs, long_numbers):  # type: ignore[no-untyped-def]
    """JSON values from `pos`, inside an array (`base` 1) or one after the other (`base` 0).

    Returns (how many, where the next scan starts, whether the array was closed, where the unfinished last value starts and
    ends so far). That value waits; its start is -1 where there is none.
    """
    n, end = 0, len(buf)
    depth, start, last = base, -1, pos
    count, digits, long_number = 0, 0, False
    in_string = escaped = closed = False
    begin = pos
    while pos < end and n < len(starts):
        c = buf[pos]
        ends_here = False
        if in_string and not escaped:
            while c != QUOTE and c != BACKSLASH and pos + 1 < end:
                pos += 1
                c = buf[pos]
        if in_string:
            if escaped:
                escaped = False
            elif c == BACKSLASH:
                escaped = True
            elif c == QUOTE:
                in_string = False
            last = pos + 1
        elif c == 32 or c == 9 or c == 13 or c == NEWLINE:
            digits = 0
            ends_here = base == 0 and depth == 0 and start >= 0
        elif base == 1 and depth == 1 and (c == COMMA or c == 93):
            ends_here = True
            closed = c == 93
        else:
            if start < 0:
                start = pos
            if c == QUOTE:
                in_string = True
            elif c == COLON:
                count += 1
                digits = 0
            elif c == 123 or c == 91:
                depth += 1
            elif c == 125 or c == 93:
                depth -= 1
            elif 48 <= c <= 57:
                digits += 1
                if digits > DIGITS_KEPT:
                    long_number = True
            elif c != 46:
                digits = 0
            last = pos + 1
            ends_here = base == 0 and depth <= 0 and (c == 125 or c == 93)
        pos += 1
        if ends_here:
            if start >= 0:
                starts[n], ends[n], pairs[n], long_numbers[n] = start, last, count, long_number
                n += 1
            depth, start, count, digits, long_number = base, -1, 0, 0, False
            begin = pos
            if closed:
                break
    return n, begin, closed, start, last
