"""Strict JSON records out of a stream of bytes: one array, JSON lines, or values one after the other, whatever the file's name.

    [{"instruction": "Say hi", "output": "hi"}, ...]        {"instruction": "Say hi", "output": "hi"}\\n{...}\\n

Every record comes out, either read or with the reason why not. A fault costs its own record only: in JSON lines the next line
is read, in an array the next element that begins with the same key as the last good one or as the broken one. In which pieces
the bytes arrive makes no difference.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
from xxhash import xxh3_128_digest

from sft_assets.raw.batches import LOOKED_AT, Bad, Batch, excerpt, repeated_key, why
from sft_assets.raw.containers import Damaged, Limits, Refused
from sft_assets.raw.split import SPANS, Spans, split_lines, split_values
from sft_assets.raw.strict_json import is_json
from sft_assets.raw.whole_file import HEAD, batch_of, closes, list_begins, list_inside, rows_inside

__all__ = ["Bad", "Batch", "excerpt", "records"]

WHITE = b" \t\r\n"
KEY = re.compile(rb'\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')
SEPARATOR = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*")
AFTER_A_FAULT = 32  # values looked for in one scan after a broken one: where one is, more may be near
AT_ONCE = 512  # records at a time: orjson gives each result 4 KiB of memory, however short it is
OVERLAP = 4096  # of two windows that are searched for the beginning of a record


def records(chunks: Iterator[bytes], limits: Limits, fits: Callable[[Any], bool] = lambda _: False) -> Iterator[Batch]:
    """Batches of records in the order of the file. A file that is one object around its records (see whole_file) gives these,
    unless the object itself `fits`.

    Raises:
        Refused: the stream refuses (see containers), or it holds nothing.
    """
    batches = _Reader(chunks, limits, fits).run()
    ahead = [next((batch for batch in batches if len(batch)), Batch())]
    if len(ahead[0]) == 1:
        ahead.append(next(batches, Batch()))
        if sum(map(len, ahead)) == 1 and ahead[0].values and not fits(ahead[0].values[0]):
            if (rows := rows_inside(ahead[0].values[0], fits)) is not None:
                ahead = [batch_of(rows, limits.max_record_bytes)]
            elif inner := list_inside(ahead[0].texts[0], ahead[0].values[0]):
                ahead, batches = [], _Reader(iter([inner]), limits, fits).run()
    while ahead:
        yield ahead.pop(0)
    yield from batches


class _Reader:
    def __init__(self, chunks: Iterator[bytes], limits: Limits, fits: Callable[[Any], bool]):
        self.chunks = chunks
        self.limit = limits.max_record_bytes
        self.fits = fits
        self.data = b""
        self.pos = 0  # where the next record may begin in data
        self.final = False
        self.over = False  # nothing more can be read
        self.damage = ""
        self.position = 0  # of the last record
        self.last_good = b""  # element of the array: the next ones probably begin with the same key
        self.in_array = False
        self.bracket = 0  # where the array begins in data
        self.spans = Spans()
        self.counting = Spans(AT_ONCE)

    def run(self) -> Iterator[Batch]:
        blank_lines = 0
        while True:
            self._more()
            rest = self.data.lstrip(WHITE)
            blank_lines += self.data.count(b"\n", 0, len(self.data) - len(rest))
            self.data = rest
            if rest or self.final:
                break
        if not self.data:
            if self.damage:
                raise Refused("damaged", self.damage)
            raise Refused("empty", "holds nothing")
        shape = self._shape()
        if shape == "lines":
            self.position = blank_lines
            yield from self._lines()
        else:
            self.in_array = shape == "array"
            yield from self._values()

    def _more(self) -> None:
        """Append the next chunk to what is not yet read."""
        try:
            chunk = next(self.chunks)
        except StopIteration:
            self.final, chunk = True, b""
        except Damaged as damage:
            self.final, self.damage, chunk = True, str(damage), b""
        self.data = self.data[self.pos :] + chunk
        self.pos = 0

    def _shape(self) -> str:
        """'lines', 'array' or 'values'.

        A first line that is a whole object means lines, and so do two lines that are whole without a comma between them. Where
        the first line is not whole, a first object that ends in a later line means values; else the line is a broken one.
        """
        while self.data.count(b"\n") < 8 and not self.final and len(self.data) < self.limit:
            self._more()
        lines = [line for line in (piece.strip(WHITE) for piece in self.data[: self.limit].split(b"\n", 8)[:8]) if line]
        first, whole = lines[0], [line[:1] for line in lines if line[:1] in b"{[" and is_json(line)]
        if first[:1] == b"[":
            return "lines" if whole.count(b"{") > 1 or (b"[" in whole[1:] and is_json(first)) else "array"
        if first[:1] != b"{" or is_json(first):
            return "lines"
        value = self._first_value()
        if value is not None:
            return "values" if b"\n" in value or len(lines) == 1 else "lines"
        while len(self.data) < min(HEAD, self.limit) and not self.final:
            self._more()
        if bracket := list_begins(self.data[: self.limit], lines, self.fits):
            self.bracket = bracket
            return "array"
        return "values" if first.endswith((b"{", b"[", b",")) and not whole else "lines"

    def _first_value(self) -> bytes | None:
        """The first value, where it is whole and JSON."""
        s = Spans(1)
        while True:
            n, *_ = split_values(np.frombuffer(self.data, np.uint8), 0, 0, s.starts, s.ends, s.pairs, s.long_numbers)
            if n:
                text = self.data[s.starts[0] : s.ends[0]]
                return text if len(text) <= self.limit and is_json(text) else None
            if self.final or len(self.data) >= self.limit:
                return None
            self._more()

    # -------------------------------------------------------------------------------------------------------- lines

    def _lines(self) -> Iterator[Batch]:
        s = self.spans
        while True:
            buffer = np.frombuffer(self.data, np.uint8)
            n, start = split_lines(buffer, self.pos, self.final, s.starts, s.ends, s.pairs, s.long_numbers)
            batch = Batch()
            self._parse_lines(n, batch)
            self.pos = start
            if n < len(s.starts):
                if self.final:
                    if self.damage and not any(b.reason == "truncated" for b in batch.bad):
                        batch.bad.append(Bad.of(self.position + 1, b"", "truncated", self.damage))
                    yield batch
                    return
                if len(self.data) - start > self.limit:
                    self._skip_line(batch)
                else:
                    self._more()
            if len(batch):
                yield batch

    def _parse_lines(self, n: int, batch: Batch) -> None:
        spans = list(self.spans.first(n))
        for at in range(0, n, AT_ONCE):
            some = spans[at : at + AT_ONCE]
            if self._take(some, batch):
                continue
            for start, end, count, long_number in some:
                self._parse_line(start, end, count, long_number, batch)

    def _parse_line(self, start: int, end: int, count: int, long_number: bool, batch: Batch) -> None:
        self.position += 1
        text = self.data[start:end]
        if end - start > self.limit:
            self._too_large(batch, text, hashlib.sha256(text).hexdigest(), end - start)
            return
        text = text.strip(b" \t\r")
        if not text:
            return
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            last = self.final and end == len(self.data)
            batch.bad.append(Bad.of(self.position, text, *why(text, error, last, self.damage)))
            return
        self._accept(batch, text, value, count, long_number)

    def _skip_line(self, batch: Batch) -> None:
        """Pass over a line that is too long, without holding it."""
        self.position += 1
        sha, length, head = hashlib.sha256(), 0, self.data[self.pos : self.pos + self.limit]
        while True:
            cut = self.data.find(b"\n", self.pos)
            part = self.data[self.pos : cut if cut >= 0 else len(self.data)]
            sha.update(part)
            length += len(part)
            self.pos += len(part) + (cut >= 0)
            if cut >= 0 or self.final:
                break
            self._more()
        self._too_large(batch, head, sha.hexdigest(), length)

    def _too_large(self, batch: Batch, head: bytes, sha256: str, length: int) -> None:
        detail = f"{length:,} bytes in one record; raw.max_record_bytes is {self.limit:,}"
        shown = excerpt(head[: min(self.limit, LOOKED_AT)])
        batch.bad.append(Bad(self.position, "too_large", detail, sha256, shown))

    # ------------------------------------------------------------------------------------------------------- values

    def _values(self) -> Iterator[Batch]:
        """Elements of an array, or values one after the other."""
        s = self.spans
        self.pos = self.bracket + int(self.in_array)
        room = SPANS
        while not self.over:
            buffer = np.frombuffer(self.data, np.uint8)
            n, start, closed, begun, so_far = split_values(
                buffer, self.pos, int(self.in_array), s.starts[:room], s.ends, s.pairs, s.long_numbers
            )
            batch = Batch()
            if self._parse_values(n, batch):
                room = AFTER_A_FAULT
            else:
                self.pos = start
                if closed:
                    self._after_the_end(batch)
                elif n == room:
                    room = min(4 * room, SPANS)  # there is more in the window
                elif begun >= 0 and so_far - begun > self.limit:
                    self._unfinished(batch, begun)
                elif not self.final:
                    self._more()
                else:
                    self._end(batch)
            if len(batch):
                yield batch

    def _parse_values(self, n: int, batch: Batch) -> bool:
        """Parse the spans found. True where a broken one makes it necessary to scan anew from self.pos."""
        spans = list(self.spans.first(n))
        for at in range(0, n, AT_ONCE):
            some = spans[at : at + AT_ONCE]
            if self._take(some, batch):
                self.last_good = batch.texts[-1]
            elif any(self._parse_value(*span, batch) for span in some):
                return True
        return False

    def _parse_value(self, start: int, end: int, count: int, long_number: bool, batch: Batch) -> bool:
        """Parse one span. True where the scanner was out of step and has to start anew from self.pos."""
        data = self.data
        text = data[start:end]
        if len(text) > self.limit:
            self._unfinished(batch, start)
            return True
        self.position += 1
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            beginning = self._beginning(start)
            follow = self._find(beginning, start, end)
            closed = follow is None and self._is_closed(start, end)
            if not closed and follow is None:
                follow = self._find(beginning, start, start + self.limit)
            if not closed and follow is None and not self.final and len(data) - start <= self.limit:
                self.position -= 1
                self.pos = start
                self._more()  # again, with more of the file in sight
                return True
            if follow is not None:  # a quote or bracket is missing or too many
                self.pos = follow
                text = data[start:follow].rstrip(b"," + WHITE)
            batch.bad.append(Bad.of(self.position, text, *why(text, error)))
            return follow is not None
        if self._accept(batch, text, value, count, long_number):
            self.last_good = text
        return False

    def _is_closed(self, start: int, end: int) -> bool:
        """Whether a broken value has its brackets, and another object follows it."""
        separator = SEPARATOR.match(self.data, end)
        after = separator.end() if separator else end
        whole = self.data[start] == ord("{") and self.data[end - 1] == ord("}") and after - start <= self.limit
        return whole and self.data[after : after + 1] == b"{"

    def _beginning(self, start: int) -> re.Pattern[bytes] | None:
        """How a record begins: with the first key of the last good one, or of the one at `start`."""
        found = (KEY.match(self.last_good), KEY.match(self.data, start, start + self.limit))
        keys = {match[1] for match in found if match}
        if not keys:
            return None
        before = rb",\s*" if self.in_array else rb"(?:\}\s*|\n)"
        return re.compile(before + rb"(\{\s*(?:" + b"|".join(sorted(map(re.escape, keys))) + rb")\s*:)")

    def _find(self, beginning: re.Pattern[bytes] | None, start: int, end: int | None = None) -> int | None:
        """The next place after `start`, and before `end`, where a record begins."""
        if beginning is None:
            return None
        found = beginning.search(self.data, start + 1, len(self.data) if end is None else end)
        return found.start(1) if found else None

    def _unfinished(self, batch: Batch, start: int) -> None:
        """A value grows too long, or the text ends within it: go on with the next."""
        self.position += 1
        beginning = self._beginning(start)
        follow = self._find(beginning, start, start + self.limit)
        if follow is None:
            self._skip_value(batch, start, beginning)
            return
        text = self.data[start:follow].rstrip(b"," + WHITE)
        batch.bad.append(Bad.of(self.position, text, "invalid_json", "not closed: a quote or bracket is missing"))
        self.pos = follow

    def _skip_value(self, batch: Batch, start: int, beginning: re.Pattern[bytes] | None) -> None:
        """Pass over a value that is too large, without holding it, up to where another seems to begin."""
        head, sha, length = self.data[start : start + self.limit], hashlib.sha256(), 0
        self.pos = start
        while (follow := self._find(beginning, self.pos)) is None and not self.final:
            cut = max(self.pos, len(self.data) - OVERLAP)
            sha.update(self.data[self.pos : cut])
            length += cut - self.pos
            self.pos = cut
            self._more()
        end = len(self.data) if follow is None else follow
        sha.update(self.data[self.pos : end])
        length += end - self.pos
        self.pos = end
        self.over = follow is None
        self._too_large(batch, head, sha.hexdigest(), length)

    def _end(self, batch: Batch) -> None:
        """The text has ended: read what is left where that is possible."""
        left = self.data[self.pos :].strip(WHITE)
        if left and is_json(left):  # the last value of an array that is not closed
            self.data, self.pos = left + (b"," if self.in_array else b"\n"), 0
            return
        self.data, self.pos = left, 0
        if left and self._find(self._beginning(0), 0, self.limit) is not None:
            self._unfinished(batch, 0)
            return
        self.over = True
        if left or self.in_array or self.damage:
            self.position += 1
            detail = self.damage or ("the file ends within the record" if left else "the array is not closed")
            batch.bad.append(Bad.of(self.position, left, "truncated", detail))

    def _after_the_end(self, batch: Batch) -> None:
        """What follows the closing bracket of an array is no record, but nothing is passed over in silence."""
        self.over = True
        self.data, self.pos = self.data[self.pos :].lstrip(WHITE), 0
        while not self.final and len(self.data) < self.limit:
            self._more()
            self.data = self.data.lstrip(WHITE)
        left = self.data[: self.limit].rstrip(WHITE)
        if self.bracket and closes(left) and not self.damage:
            return
        if left or self.damage:
            self.position += 1
            reason, detail = ("truncated", self.damage) if self.damage else ("invalid_json", "text after the end of the array")
            batch.bad.append(Bad.of(self.position, left, reason, detail))

    # ------------------------------------------------------------------------------------------------------- records

    def _take(self, spans: list[tuple[int, int, int, bool]], batch: Batch) -> bool:
        """Take the records of some spans at once; False, and nothing done, where one of them needs a closer look."""
        data = self.data
        texts = [data[start:end].strip(WHITE) for start, end, _, _ in spans]
        if max(map(len, texts), default=0) > self.limit:
            return False
        try:
            values = list(map(orjson.loads, texts))
            if set(map(type, values)) != {dict}:
                return False
            canonical = [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values]
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return False
        # where there are as many pairs as the record has fields, nothing is within it and no key stands twice
        pairs = [span[2] for span in spans]
        fields = list(map(len, values))
        within = [] if fields == pairs else [i for i, n in enumerate(fields) if n != pairs[i]]
        if within and [pairs[i] for i in within] != self._pairs([canonical[i] for i in within]):
            return False
        # numbers that the parser rounds are told apart by their digits, as they stand
        hashed = (
            [texts[i] if span[3] else canonical[i] for i, span in enumerate(spans)] if any(s[3] for s in spans) else canonical
        )
        batch.hashes += map(xxh3_128_digest, hashed)
        batch.positions += range(self.position + 1, self.position + 1 + len(texts))
        batch.texts += texts
        batch.values += values
        self.position += len(texts)
        return True

    def _accept(self, batch: Batch, text: bytes, value: Any, count: int, long_number: bool) -> bool:
        """Take a parsed record with `count` pairs in its text; False where it is set aside."""
        if not isinstance(value, dict):
            batch.bad.append(Bad.of(self.position, text, "not_an_object", "a record is an object with named fields"))
            return False
        try:
            canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError as error:
            batch.bad.append(Bad.of(self.position, text, "too_deep", f"objects and lists within each other: {error}"))
            return False
        if len(value) != count and self._pairs([canonical]) != [count] and (key := repeated_key(text)) is not None:
            batch.bad.append(Bad.of(self.position, text, "duplicate_key", f"the key {key!r} stands twice in one object"))
            return False
        batch.hashes.append(xxh3_128_digest(text if long_number else canonical))
        batch.positions.append(self.position)
        batch.texts.append(text)
        batch.values.append(value)
        return True

    def _pairs(self, canonical: list[bytes]) -> list[int]:
        """How many `"key":` pairs each of these one-line JSON texts has."""
        s = self.counting
        joined = np.frombuffer(b"\n".join(canonical) + b"\n", np.uint8)
        n, _ = split_lines(joined, 0, True, s.starts, s.ends, s.pairs, s.long_numbers)
        return list(s.pairs[:n].tolist())
