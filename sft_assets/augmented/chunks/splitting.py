"""Documents in pieces of a size, cut where they have joints: headings, then paragraphs, then sentences.

    "# Setup ... # Use ..."     ->  Piece(0, 1410, ("Setup",))   Piece(1412, 2600, ("Setup",))   Piece(2602, 3100, ("Use",))

A piece is a run of the document's text. Code and tables are whole where they fit; neighbours of one section are joined up to
the size; what is too short for a piece is joined to a neighbour under the same heading, or left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise, takewhile
from typing import NamedTuple

import regex

from sft_assets.augmented.chunks.document import Block, Content

BLANK_LINES = regex.compile(r"(?:\r\n?|\n)(?:[ \t]*(?:\r\n?|\n))+")
LINES = regex.compile(r"\r\n?|\n")
# a full stop after an abbreviation ends no sentence, and neither does one that a small letter follows; no run of the same
# characters is gone through twice
SENTENCES = regex.compile(
    r"""(?<![.!?…؟۔।]|\b(?:Mr|Mrs|Ms|Dr|St|Prof|vs|cf|Fig|No|e\.g|i\.e))[.!?…؟۔।]++[\p{Pf}\p{Pe}"'*_`]*+\s++
            (?=[\p{Ps}\p{Pi}"'*_`]*[\p{Lu}\p{Lt}\p{Lo}\p{N}])
      | [。！？．｡]+[\p{Pf}\p{Pe}"'*_`]*\s*""",
    regex.VERBOSE,
)
CLAUSES = regex.compile(r"[,;:]\s+|[、，；：]+")
SPACES = regex.compile(r"\s+")
PROSE = (BLANK_LINES, SENTENCES, CLAUSES, SPACES)
CODE = (BLANK_LINES, LINES, SENTENCES, CLAUSES, SPACES)
SILENT = ("heading", "markup")  # blocks that make no piece on their own


class Piece(NamedTuple):
    """Characters start to stop of a document. headings: those that all of it stands under. page: where it begins."""

    start: int
    stop: int
    headings: tuple[str, ...] = ()
    page: int | None = None

    @property
    def size(self) -> int:
        return self.stop - self.start


class LeftOut(NamedTuple):
    """Characters that are in no piece. reason: 'short', or the kind of a block that says nothing itself."""

    start: int
    stop: int
    reason: str


class _Unit(NamedTuple):
    """What is not cut any more."""

    start: int
    stop: int
    page: int | None
    is_heading: bool


class _Sections(NamedTuple):
    """A piece, and how many headings the lowest of its sections stands under."""

    piece: Piece
    depth: int


def split(document: Content, size: int, smallest: int) -> tuple[list[Piece], list[LeftOut]]:
    """The pieces of a document, none of them longer than `size` characters and none shorter than `smallest`, in order; and what
    is in none of them."""
    text, found = document.text, list[_Sections]()
    for headings, section in groupby((b for b in document.blocks if b.kind != "front_matter"), key=lambda b: b.headings):
        units = _units(text, list(section), size)
        for run in _runs(units, size, smallest):
            if not all(unit.is_heading for unit in run):
                found.append(_Sections(Piece(run[0].start, run[-1].stop, headings, run[0].page), len(headings)))
    found = _joined(found, size, smallest, forwards=True)
    found = _joined(found, size, smallest, forwards=False)
    pieces = [piece for piece, _ in found if piece.size >= smallest]
    return pieces, _left_out(text, document.blocks, pieces)


# -------------------------------------------------------------------------------------------------------------- cutting


def _units(text: str, section: Sequence[Block], size: int) -> list[_Unit]:
    """The blocks of a section that say something, those that are too long in parts."""
    result: list[_Unit] = []
    for block in section:
        if block.kind == "markup":
            continue
        verbatim = block.kind in ("code", "table")
        start, stop = trimmed(text, block.start, block.stop, verbatim)
        # a heading stays with what follows it: there is to be room for it before the first part
        above = start - result[0].start if len(result) == 1 and result[0].is_heading else 0
        room = size - above if 2 * above < size and not verbatim else size
        parts = [(start, stop)] if stop - start <= room else _parts(text, start, stop, room, CODE if verbatim else PROSE)
        result += [_Unit(*trimmed(text, *part, verbatim), block.page, block.kind == "heading") for part in parts]
    return result


def _parts(text: str, start: int, stop: int, size: int, joints: Sequence[regex.Pattern[str]]) -> list[tuple[int, int]]:
    """A run of text in parts that are not longer than `size`, cut at the first kind of joint that it has, and within parts at
    the next kind; where it has none, at `size`."""
    if stop - start <= size:
        return [(start, stop)]
    if not joints:
        return [(at, min(at + size, stop)) for at in range(start, stop, size)]
    cuts = [found.end() for found in joints[0].finditer(text, start, stop)]
    parts = pairwise([start, *(cut for cut in cuts if start < cut < stop), stop])
    return [small for part in parts for small in _parts(text, *part, size, joints[1:])]


def trimmed(text: str, start: int, stop: int, verbatim: bool = False) -> tuple[int, int]:
    """The same without blank lines and spaces around it. verbatim: the first line keeps its indent."""
    run = text[start:stop]
    stop = start + len(run.rstrip())
    begins = start + len(run) - len(run.lstrip())
    if verbatim and begins < stop:
        begins = max(text.rfind("\n", start, begins), text.rfind("\r", start, begins), start - 1) + 1
    return min(begins, stop), stop


# -------------------------------------------------------------------------------------------------------------- joining


def _runs(units: Sequence[_Unit], size: int, smallest: int) -> list[Sequence[_Unit]]:
    """Neighbours together, as many as the size allows; a last run that is too short takes some of the one before."""
    runs: list[list[_Unit]] = []
    for unit in units:
        if unit.start == unit.stop:
            continue
        if runs and unit.stop - runs[-1][0].start <= size:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    if len(runs) > 1 and runs[-1][-1].stop - runs[-1][0].start < smallest:
        both = runs[-2] + runs[-1]
        first, last = both[0].start, both[-1].stop
        fitting = [i for i in range(1, len(both)) if both[i - 1].stop - first <= size and last - both[i].start <= size]
        cut = min(fitting, key=lambda i: abs((both[i - 1].stop - first) - (last - both[i].start)))
        runs[-2:] = [both[:cut], both[cut:]]
    return list(runs)


def _joined(pieces: Sequence[_Sections], size: int, smallest: int, forwards: bool) -> list[_Sections]:
    """The pieces with each that is too short joined to the next (forwards) or the one before, where all their sections are
    under one heading and they fit together."""
    result: list[_Sections] = []
    for now in pieces:
        last = result[-1] if result else now
        depth, shared = max(last.depth, now.depth), _shared(last.piece.headings, now.piece.headings)
        short = (last if forwards else now).piece.size < smallest
        if result and short and now.piece.stop - last.piece.start <= size and len(shared) >= depth - 1:
            result[-1] = _Sections(Piece(last.piece.start, now.piece.stop, shared, last.piece.page), depth)
        else:
            result.append(now)
    return result


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The headings that two sections stand under."""
    return tuple(mine for mine, _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


def _left_out(text: str, blocks: Sequence[Block], pieces: Sequence[Piece]) -> list[LeftOut]:
    result: list[LeftOut] = []
    first = 0
    for block in blocks:
        reason = block.kind if block.kind in (*SILENT, "front_matter") else "short"
        while first < len(pieces) and pieces[first].stop <= block.start:
            first += 1
        at, i = block.start, first
        while at < block.stop:
            ends = min(pieces[i].start, block.stop) if i < len(pieces) else block.stop
            start, stop = trimmed(text, at, max(at, ends))
            if start < stop:
                result.append(LeftOut(start, stop, reason))
            at = pieces[i].stop if i < len(pieces) else block.stop
            i += 1
    return result
