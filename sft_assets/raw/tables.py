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
import hashlib
import re
from collections.abc import Collection, Iterator

from sft_assets.raw.batches import LOOKED_AT, Bad, Batch, excerpt
from sft_assets.raw.containers import CHUNK, Damaged, Limits, Refused
from sft_assets.raw.dialects import SEP_LINE, Dialect, is_blank, is_open_end, lines_of, names, sample, seen_dialect
from sft_assets.raw.made_records import add, too_large

PIECE = 1 << 16  # bytes read at a time
MOST = 4096  # records in a batch: orjson gives each text 4 KiB of memory, however short it is
HEAD = 1 << 18  # bytes from which dialect and header are seen
MOST_LINES = 1 << 16  # of one record: a quote that is open for longer was never meant
NEAR = 64  # lines in which two records are looked for
FIRST_END = re.compile(rb"\r?\n|\r(?=[^\n])")
LF, CR = re.compile(rb"\r?\n"), re.compile(rb"\r\n?|\n")
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
    reader = _Reader(_pieces(chunks), limits.max_record_bytes)
    reader.begin(delimiter, header, known, expected)
    yield from reader.batches()


def _pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, PIECE at a time."""
    held = b""
    try:
        for chunk in chunks:
            held += chunk
            whole = len(held) - len(held) % PIECE
            for start in range(0, whole, PIECE):
                yield held[start : start + PIECE]
            held = held[whole:]
    except Damaged:
        yield held
        raise
    yield held


class _Reader:
    def __init__(self, pieces: Iterator[bytes], limit: int):
        self.pieces = pieces
        self.limit = limit
        self.lines: list[str] = []  # whole ones, with their ends, not yet read
        self.line = 1  # number of lines[0]
        self.tail = b""  # the beginning of the line after them
        self.line_end: re.Pattern[bytes] | None = None  # as the first line has it: in a file of LF, a CR is a character
        self.final = False  # no more bytes come
        self.damage = ""
        self.has_nul = False
        self.dialect = Dialect(",")
        self.names: list[str] = []
        self.all_quoted = False  # records begin with a quote
        self.fault: Bad | None = None  # of a record whose end is looked for
        self.long: tuple[bytes, str, int] | None = None  # a line after `lines` that is too long to hold: head, sha256, length

    def begin(self, delimiter: str | None, header: bool | list[str] | None, known: Collection[str], expected: str) -> None:
        """Find dialect and names of the columns, and pass over what says them."""
        held = 0
        while held < HEAD and not self.ends:
            held += self._more()
        blank = next((i for i, line in enumerate(self.lines) if line.strip()), len(self.lines))
        if blank == len(self.lines) and not self.long:
            raise Refused("damaged", self.damage) if self.damage else Refused("empty", "holds nothing")
        if blank < len(self.lines) and (said := SEP_LINE.fullmatch(self.lines[blank].rstrip("\r\n"))):
            delimiter, blank = delimiter or said[1], blank + 1
        self._pass(blank)
        self.dialect = seen_dialect(self.lines, delimiter, expected)
        rows, _ = sample(self.dialect, self.lines)
        first = self.dialect.rows(self.lines)
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
        self._pass(first.lines_read if is_named else 0)
        began = [line for line in self.lines[: len(rows)] if line.strip()]
        self.all_quoted = bool(began) and all(line.startswith('"') for line in began)

    def batches(self) -> Iterator[Batch]:
        batch, taken = Batch(), 0
        while True:
            before = len(self.lines)
            self._read(batch)
            if self.long and not self.lines:
                self._pass_long_line(batch)
            elif self.final and not self.lines:
                break
            elif not self.ends:
                # twice as much each time, else a long record would be read again and again
                for _ in range(1 + (sum(map(len, self.lines)) // PIECE if len(self.lines) == before else 0)):
                    taken += 0 if self.ends else self._more()
            if taken >= CHUNK or len(batch) >= MOST:
                yield batch
                batch, taken = Batch(), 0
        self._close(batch, self.line)
        if self.damage:
            batch.bad.append(Bad.of(self.line, b"", "truncated", self.damage))
        yield batch

    # ---------------------------------------------------------------------------------------------------------- lines

    @property
    def ends(self) -> bool:
        """Whether no record goes on after the lines that are held."""
        return self.final or self.long is not None

    def _next_piece(self) -> bytes:
        try:
            piece = next(self.pieces)
        except StopIteration:
            self.final, piece = True, b""
        except Damaged as damage:
            self.final, self.damage, piece = True, str(damage), b""
        self.has_nul = self.has_nul or b"\0" in piece
        return piece

    def _more(self) -> int:
        """Take the next piece apart into lines; how many bytes it had."""
        piece = self._next_piece()
        data = self.tail + piece
        if self.line_end is None and (found := FIRST_END.search(data)):
            self.line_end = LF if found[0].endswith(b"\n") else CR
        if self.final:
            cut = len(data)
        elif self.line_end is CR:  # one at the end may be half of a CRLF
            cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        else:
            cut = data.rfind(b"\n") + 1
        self.lines += lines_of(data[:cut].decode("utf-8", "surrogateescape"), "" if self.line_end is CR else "\n")
        self.tail = data[cut:]
        if len(self.tail) > self.limit:
            self._skip_line()
        return len(piece)

    def _skip_line(self) -> None:
        """Pass over a line that is too long, without holding it."""
        head, sha, length = self.tail[: min(self.limit, LOOKED_AT)], hashlib.sha256(), 0
        line_end = self.line_end or LF
        while True:
            end = line_end.search(self.tail)
            cut = end.start() if end else len(self.tail)
            sha.update(self.tail[:cut])
            length += cut
            self.tail = self.tail[cut:]
            if end or self.final:
                break
            self.tail = self._next_piece()
        if self.tail == b"\r" and not self.final:
            self.tail += self._next_piece()
        end = line_end.match(self.tail)
        self.tail = self.tail[end.end() :] if end else b""
        self.long = (head, sha.hexdigest(), length)

    def _pass_long_line(self, batch: Batch) -> None:
        assert self.long
        head, sha256, length = self.long
        self._close(batch, self.line)
        self.fault = Bad(self.line, "too_large", too_large(length, self.limit), sha256, excerpt(head))
        self.long = None
        self.line += 1

    def _pass(self, n: int) -> None:
        del self.lines[:n]
        self.line += n

    # -------------------------------------------------------------------------------------------------------- records

    def _read(self, batch: Batch) -> None:
        """Read the records in the lines, but one that may go on after them."""
        while self.lines:
            if self.fault:
                start, is_found = self._whole_again()
                self._pass(start)
                if not is_found:
                    return
                self._close(batch, self.line)
            if not self._read_to_a_fault(batch):
                return

    def _read_to_a_fault(self, batch: Batch) -> bool:
        """False where nothing more can be read for now."""
        found = self.dialect.rows(self.lines)
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
                    batch.bad.append(Bad.of(self.line + start, self._text(start, end), *why))
                start = end
        except csv.Error as error:
            is_open = is_open_end(error, found, len(self.lines))
            if is_open and not self.ends and not self._is_too_much(start):
                self._pass(start)
                return False
            said = "a quote is not closed" if is_open else str(error).partition(" - ")[0]  # Python's advice comes after it
            self._begin_fault(start, f"{said}; {QUOTES}")
            return True
        self._pass(start)
        return False

    def _take(self, batch: Batch, row: list[str], start: int) -> tuple[str, str] | None:
        if self.has_nul and any("\0" in cell for cell in row):
            return "invalid_csv", "a NUL character stands in it; take it out"
        return add(batch, self.line + start, dict(zip(self.names, row, strict=True)), self.limit)

    def _text(self, start: int, end: int) -> bytes:
        return "".join(self.lines[start:end]).encode("utf-8", "surrogateescape").rstrip(b"\r\n")

    def _is_too_much(self, start: int) -> bool:
        return len(self.lines) - start > MOST_LINES or sum(map(len, self.lines[start:])) > self.limit

    # --------------------------------------------------------------------------------------------------------- faults

    def _begin_fault(self, start: int, detail: str) -> None:
        """From the line after `start` on, the beginning of a record is looked for."""
        self.fault = Bad.of(self.line + start, self._text(start, start + 1), "invalid_csv", detail)
        self._pass(start + 1)

    def _close(self, batch: Batch, following: int) -> None:
        """Set the faulty record aside: the next one begins in line `following`."""
        if self.fault:
            if following > self.fault.position + 1:
                self.fault.detail += f" (lines {self.fault.position} to {following - 1} are passed over)"
            batch.bad.append(self.fault)
            self.fault = None

    def _swallows(self, start: int, end: int) -> bool:
        """Whether a record is of other records that a quote holds together: of its lines, most are records by themselves."""
        inner = self.lines[start + 1 : end]
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
        for start in range(len(self.lines)):
            whole = self._is_broken(self.lines[start]) or self._is_whole_from(start)
            if whole or (whole is None and not self._is_too_much(start)):
                return start, bool(whole)
        return len(self.lines), self.ends

    def _is_broken(self, line: str) -> bool:
        rows = self.dialect.rows([line])
        try:
            list(rows)
        except csv.Error as error:
            return not is_open_end(error, rows, 1)
        return False

    def _is_whole_from(self, start: int) -> bool | None:
        """Whether two records in a row begin here, or one that is the last. None: more lines must be seen."""
        if self.all_quoted and not self.lines[start].startswith('"'):
            return False
        size = NEAR
        while True:
            lines = self.lines[start : start + size]
            whole = self._are_two(lines, is_all=start + size >= len(self.lines))
            if whole is not None or start + size >= len(self.lines):
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
            may_go_on = is_open_end(error, found, len(lines)) and not (is_all and self.ends)
            return None if may_go_on else False
        return seen > 0 if is_all and self.ends else None
