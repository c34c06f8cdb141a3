"""A text as lines that are held until they are read, and that no line may fill the memory with.

held ["Who swims?,\\"fish,\\n", "whales\\"\\n"]   number 2      `more` brings lines 4, 5, ...; `pass_over(2)`: number 4
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sft_assets.raw.batches import LOOKED_AT
from sft_assets.raw.containers import Damaged

PIECE = 1 << 16  # bytes taken at a time
FIRST_END = re.compile(rb"\r?\n|\r(?=[^\n])")
LF, CR = re.compile(rb"\r?\n"), re.compile(rb"\r\n?|\n")


@dataclass(frozen=True)
class LongLine:
    """A line that is too long to hold: what it begins with, and of the whole the hash and the length in bytes."""

    head: bytes
    sha256: str
    length: int


class Lines:
    """Lines of a stream of UTF-8; what is not UTF-8 in them stands as lone surrogates.

    held: whole lines with their ends, not yet read; number: of the first of them; long: a line after them that is too long to
    hold, until it is set to None. final: no more bytes come, for which `damage` may be the reason. has_nul: a NUL was seen.
    """

    def __init__(self, chunks: Iterator[bytes], limit: int):
        self.held: list[str] = []
        self.number = 1
        self.long: LongLine | None = None
        self.final = False
        self.damage = ""
        self.has_nul = False
        self._pieces = _pieces(chunks)
        self._limit = limit
        self._tail = b""  # the beginning of the next line
        self._line_end: re.Pattern[bytes] | None = None  # as the first line has it: in a file of LF, a CR is a character

    @property
    def ends(self) -> bool:
        """Whether no record goes on after the lines that are held."""
        return self.final or self.long is not None

    def _next_piece(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            self.final, piece = True, b""
        except Damaged as damage:
            self.final, self.damage, piece = True, str(damage), b""
        self.has_nul = self.has_nul or b"\0" in piece
        return piece

    def more(self, least: int = 1) -> int:
        """Take at least so many bytes where there are so many; how many it was."""
        taken = 0
        while taken < least and not self.ends:
            taken += self._take_piece()
        return taken

    def _take_piece(self) -> int:
        piece = self._next_piece()
        data = self._tail + piece
        if self._line_end is None and (found := FIRST_END.search(data)):
            self._line_end = LF if found[0].endswith(b"\n") else CR
        if self.final:
            cut = len(data)
        elif self._line_end is CR:  # one at the end may be half of a CRLF
            cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        else:
            cut = data.rfind(b"\n") + 1
        self.held += lines_of(data[:cut].decode("utf-8", "surrogateescape"), "" if self._line_end is CR else "\n")
        self._tail = data[cut:]
        if len(self._tail) > self._limit:
            self._skip_line()
        return len(piece)

    def _skip_line(self) -> None:
        """Pass over a line that is too long, without holding it."""
        head, sha, length = self._tail[: min(self._limit, LOOKED_AT)], hashlib.sha256(), 0
        line_end = self._line_end or LF
        while True:
            end = line_end.search(self._tail)
            cut = end.start() if end else len(self._tail)
            sha.update(self._tail[:cut])
            length += cut
            self._tail = self._tail[cut:]
            if end or self.final:
                break
            self._tail = self._next_piece()
        if self._tail == b"\r" and not self.final:
            self._tail += self._next_piece()
        end = line_end.match(self._tail)
        self._tail = self._tail[end.end() :] if end else b""
        self.long = LongLine(head, sha.hexdigest(), length)

    def pass_over(self, n: int) -> None:
        """Be done with the first n lines."""
        del self.held[:n]
        self.number += n


def lines_of(text: str, newline: str = "") -> list[str]:
    """The lines with their ends: LF, CRLF or CR; or what alone ends a line."""
    return list(io.StringIO(text, newline=newline))


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
