"""Plain text: paragraphs between blank lines, under the chapters that it has.

    "CHAPTER I. Down the Rabbit-Hole\\r\\n\\r\\nAlice was beginning to get very tired of sitting by her sister ..."

    ->  Block(0, 33, "heading", ("CHAPTER I. Down the Rabbit-Hole",))   Block(35, ...)

What Project Gutenberg puts before and after a book is front matter.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sft_assets.augmented.chunks.document import MOST_SAID, Block, Content, line_starts

CHAPTER = re.compile(
    r"(?:chapter|part|book|section|act|scene|letter|canto|appendix|volume)\s+(?:[0-9]+|[ivxlcdm]+|[a-z])\b"
    r"|(?:prologue|epilogue|preface|foreword|introduction|conclusion|afterword)\W*$"
    r"|第\s*[0-9０-９一二三四五六七八九十百]+\s*[章節节部回話话編]",
    re.IGNORECASE,
)
GUTENBERG = re.compile(r"^\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG[^\r\n]*", re.MULTILINE)


def read(text: str, headings: tuple[str, ...] = ()) -> Content:
    """The paragraphs of a text, all under `headings`."""
    edges = {found[1]: found for found in GUTENBERG.finditer(text)}
    begins = edges["START"].end() if "START" in edges else 0
    ends = edges["END"].start() if "END" in edges and edges["END"].start() > begins else len(text)
    blocks: list[Block] = []
    above = headings
    for start, stop in _paragraphs(text):
        if start < begins or start >= ends:
            blocks.append(Block(start, stop, "front_matter"))
            continue
        title = text[start:stop].strip()
        if len(title) <= MOST_SAID and len(title.splitlines()) == 1 and CHAPTER.match(title):
            above = (*headings, " ".join(title.split()))
            blocks.append(Block(start, stop, "heading", above))
        else:
            blocks.append(Block(start, stop, "prose", above))
    return Content(text, blocks)


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Runs of lines that are not blank."""
    starts = line_starts(text)
    result: list[tuple[int, int]] = []
    open_ = False
    for start, stop in pairwise(starts):
        if not text[start:stop].strip():
            open_ = False
        elif open_:
            result[-1] = (result[-1][0], stop)
        else:
            result.append((start, stop))
            open_ = True
    return result
