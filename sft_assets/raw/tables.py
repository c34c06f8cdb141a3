"""Tables in text files (CSV, TSV) to records: every cell is a text, nothing is taken for a number or a date.

    question,answer
    Who swims?,"fish,                    ->   line 2   {"question": "Who swims?", "answer": "fish,\\nwhales"}
    whales"
    Who "flies?",birds,bats                   line 4   wrong_cells: 3 cells under 2 column names

A fault costs its own record: after a quote that is not closed, reading goes on at the first line from which two records in a
row are whole. In which pieces the bytes arrive makes no difference.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator

from sft_assets.raw.batches import Bad, Batch, excerpt
from sft_assets.raw.containers import CHUNK, Limits, Refused
from sft_assets.raw.dialects import SEP_LINE, Dialect, is_blank, is_open_end, names, sample, seen_dialect
from sft_assets.raw.lines import Lines
from sft_assets.raw.made_records import add, too_large

MOST = 4096  # records in a batch: orjson gives each text 4 KiB of memory, however short it is
HEAD = 1 << 18  # bytes from which dialect and header are seen
MOST_LINES = 1 << 16  # of one record: a quote that is open for longer was never meant
NEAR = 64  # lines in which two records are looked for
QUOTES = (
    "mend its quotes: a cell that holds a delimiter, a quote or a line break stands in quotes, and a quote in it is doubled"
)


def records(
    chunks: Iterator[bytes],
    limits: Limits,
    delimiter: str | None = None,
    header: bool | list[str] | None = None,
    known: Collection[str] = (),
    expected: str = ",",
) -> Iterator[Batch]:
    """Batches of a table's records; positions are the lines on which they begin.

    chunks: UTF-8. delimiter, header: where somebody says them (`header` may be the names). known: names of columns that tell
    a header from data. expected: the delimiter that the file's name means.

    Raises:
        Refused: the stream refuses, holds nothing, or the header has no name for a column or one twice.
    """
    reader = _Reader(Lines(chunks, limits.max_record_bytes), limits.max_record_bytes)
    reader.begin(delimiter, header, known, expected)
    yield from reader.batches()


class _Reader:
    def __init__(self, text: Lines, limit: int):
        self.text = text
        self.limit = limit
        self.dialect = Dialect(",")
        self.names: list[str] = []
        self.all_quoted = False  # records begin with a quote
        self.fault: Bad | None = None  # of a record whose end is looked for

    def begin(self, delimiter: str | None, header: bool | list[str] | None, known: Collection[str], expected: str) -> None:
        """Find dialect and names of the columns, and pass over what says them."""
        self.text.more(HEAD)
        blank = next((i for i, line in enumerate(self.text.held) if line.strip()), len(self.text.held))
        if blank == len(self.text.held) and not self.text.long:
            raise Refused("damaged", self.text.damage) if self.text.damage else Refused("empty", "holds nothing")
        if blank < len(self.text.held) and (said := SEP_LINE.fullmatch(self.text.held[blank].rstrip("\r\n"))):
            delimiter, blank = delimiter or said[1], blank + 1
        self.text.pass_over(blank)
        self.dialect = seen_dialect(self.text.held, delimiter, expected)
        rows, _ = sample(self.dialect, self.text.held)
        first = self.dialect.rows(self.text.held)
        try:
            next(iter(first), None)
        except csv.Error as error:
            rows = []
            why = f" ({error})"
        else:
            why = ""
        if not rows and not isinstance(header, list):
            raise Refused("header", f"has a first line that cannot be read as a table{why}; {QUOTES}")
        self.names, is_named = names(rows, header, known)
        self.text.pass_over(first.lines_read if is_named else 0)
        began = [line for line in self.text.held[: len(rows)] if line.strip()]
        self.all_quoted = bool(began) and all(line.startswith('"') for line in began)

    def batches(self) -> Iterator[Batch]:
        batch, taken = Batch(), 0
        while True:
            before = len(self.text.held)
            self._read(batch)
            if self.text.long and not self.text.held:
                self._pass_long_line(batch)
            elif self.text.final and not self.text.held:
                break
            elif not self.text.ends:
                # twice as much each time, else a long record would be read again and again
                open_size = sum(map(len, self.text.held)) if len(self.text.held) == before else 0
                taken += self.text.more(max(1, open_size))
            if taken >= CHUNK or len(batch) >= MOST:
                yield batch
                batch, taken = Batch(), 0
        self._close(batch, self.text.number)
        if self.text.damage:
            batch.bad.append(Bad.of(self.text.number, b"", "truncated", self.text.damage))
        yield batch

    def _pass_long_line(self, batch: Batch) -> None:
        long = self.text.long
        assert long
        self._close(batch, self.text.number)
        self.fault = Bad(self.text.number, "too_large", too_large(long.length, self.limit), long.sha256, excerpt(long.head))
        self.text.long = None
        self.text.number += 1

    # -------------------------------------------------------------------------------------------------------- records

    def _read(self, batch: Batch) -> None:
        """Read the records in the lines, but one that may go on after them."""
        while self.text.held:
            if self.fault:
                start, is_found = self._whole_again()
                self.text.pass_over(start)
                if not is_found:
                    return
                self._close(batch, self.text.number)
            if not self._read_to_a_fault(batch):
                return

    def _read_to_a_fault(self, batch: Batch) -> bool:
        """False where nothing more can be read for now."""
        found = self.dialect.rows(self.text.held)
        width = len(self.names)
        start = 0
        try:
            for row in found:
                if len(row) == width + 1 and row[-1] == "":  # a delimiter at the end of the line
                    row.pop()
                end = found.lines_read
                if len(row) == width:
                    why = self._take(batch, row, start)
                elif is_blank(row, width):
                    why = None
                elif self._swallows(start, end):
                    self._begin_fault(start, f"a quote is not closed; {QUOTES}")
                    return True
                else:
                    why = ("wrong_cells", f"{len(row)} cells under {width} column names; {QUOTES}")
                if why:
                    batch.bad.append(Bad.of(self.text.number + start, self._text(start, end), *why))
                start = end
        except csv.Error as error:
            is_open = is_open_end(error, found, len(self.text.held))
            if is_open and not self.text.ends and not self._is_too_much(start):
                self.text.pass_over(start)
                return False
            said = "a quote is not closed" if is_open else str(error).partition(" - ")[0]  # Python's advice comes after it
            self._begin_fault(start, f"{said}; {QUOTES}")
            return True
        self.text.pass_over(start)
        return False

    def _take(self, batch: Batch, row: list[str], start: int) -> tuple[str, str] | None:
        if self.text.has_nul and any("\0" in cell for cell in row):
            return "invalid_csv", "a NUL character stands in it; take it out"
        return add(batch, self.text.number + start, dict(zip(self.names, row, strict=True)), self.limit)

    def _text(self, start: int, end: int) -> bytes:
        return "".join(self.text.held[start:end]).encode("utf-8", "surrogateescape").rstrip(b"\r\n")

    def _is_too_much(self, start: int) -> bool:
        return len(self.text.held) - start > MOST_LINES or sum(map(len, self.text.held[start:])) > self.limit

    # --------------------------------------------------------------------------------------------------------- faults

    def _begin_fault(self, start: int, detail: str) -> None:
        """From the line after `start` on, the beginning of a record is looked for."""
        self.fault = Bad.of(self.text.number + start, self._text(start, start + 1), "invalid_csv", detail)
        self.text.pass_over(start + 1)

    def _close(self, batch: Batch, following: int) -> None:
        """Set the faulty record aside: the next one begins in line `following`."""
        if self.fault:
            if following > self.fault.position + 1:
                self.fault.detail += f" (lines {self.fault.position} to {following - 1} are passed over)"
            batch.bad.append(self.fault)
            self.fault = None

    def _swallows(self, start: int, end: int) -> bool:
        """Whether a record is of other records that a quote holds together: of its lines, most are records by themselves."""
        inner = self.text.held[start + 1 : end]
        return 2 * sum(self._is_record(line) for line in inner) > len(inner) > 0

    def _is_record(self, line: str) -> bool:
        try:
            rows = list(self.dialect.rows([line]))
        except csv.Error:
            return False
        return len(rows) == 1 and len(rows[0]) == len(self.names)

    def _whole_again(self) -> tuple[int, bool]:
        """The line from which two records in a row are whole, or that has a fault of its own; or, not found yet, the first that
        may be it."""
        for start in range(len(self.text.held)):
            whole = self._is_broken(self.text.held[start]) or self._is_whole_from(start)
            if whole or (whole is None and not self._is_too_much(start)):
                return start, bool(whole)
        return len(self.text.held), self.text.ends

    def _is_broken(self, line: str) -> bool:
        rows = self.dialect.rows([line])
        try:
            list(rows)
        except csv.Error as error:
            return not is_open_end(error, rows, 1)
        return False

    def _is_whole_from(self, start: int) -> bool | None:
        """Whether two records in a row begin here, or one that is the last. None: more lines must be seen."""
        if self.all_quoted and not self.text.held[start].startswith('"'):
            return False
        size = NEAR
        while True:
            lines = self.text.held[start : start + size]
            whole = self._are_two(lines, is_all=start + size >= len(self.text.held))
            if whole is not None or start + size >= len(self.text.held):
                return whole
            size *= 2

    def _are_two(self, lines: list[str], is_all: bool) -> bool | None:
        found = self.dialect.rows(lines)
        begin = seen = 0
        try:
            for row in found:
                end = found.lines_read
                quotes = sum(map(self.dialect.quotes, lines[begin:end]))
                is_record = len(row) == len(self.names) or (len(row) == len(self.names) + 1 and row[-1] == "")
                if not is_blank(row, len(self.names)) or seen == 0:
                    if not is_record or quotes % 2:
                        return False
                    seen += 1
                begin = end
                if seen == 2:
                    return True
        except csv.Error as error:
            may_go_on = is_open_end(error, found, len(lines)) and not (is_all and self.text.ends)
            return None if may_go_on else False
        return seen > 0 if is_all and self.text.ends else None
