"""Where things stand in a document: the masked text of a piece, and the span of what is quoted from it.

"Write to jane@post.net. She answers."    characters 100 to 136 of guide.md, as a chunk:
text "Write to <EMAIL>. She answers."     masked [9, 16, 13]: characters 9 to 16 stand for 13 others

span_of("she *answers*", chunk)    ->    (124, 135)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from sft_assets.augmented.candidate import Chunk
from sft_assets.masks import Found

CLOSE = 90.0  # of 100: how similar a passage is to what is said to be a quote of it
FEWEST = 20  # characters of a quote that may differ from its passage
MARKS = re.compile(r"[\s*_`#>|~\\\[\]\"'“”‘’„‚«»\u200b-\u200d\ufeff]")  # a quote comes with others, or none
# what a reader of Markdown does not see: where links lead, comments, tags (a mask is no tag: its letters are capitals)
UNSEEN = re.compile(r"\]\([^()\s]{0,500}(?:\s[^()]{0,200})?\)|\]\[[^\[\]]{0,200}\]|<!--.{0,500}?-->|</?[a-z][^<>]{0,200}>")
NUMBER = re.compile(r"\d+")


def masked_text(text: str, start: int, stop: int, hits: Sequence[Found]) -> tuple[str, list[int], list[Found]]:
    """Characters start to stop of a text without what was found in it: the masked text, where the masks stand in it (see
    `Chunk.masked`), and the part of each hit that lies there, counted from `start`.

    hits: of the whole text, in order. (Of a key that is cut into two pieces, neither alone would show what it is.)
    """
    pieces: list[str] = []
    masked: list[int] = []
    inside: list[Found] = []
    at, length = start, 0
    for hit in hits:
        begins, ends = max(hit.start, start), min(hit.stop, stop)
        if begins >= ends:
            continue
        mask = f"<{hit.kind.upper()}>"
        pieces += [text[at:begins], mask]
        length += begins - at
        masked += [length, length + len(mask), ends - begins]
        length += len(mask)
        inside.append(hit._replace(start=begins - start, stop=ends - start))
        at = ends
    pieces.append(text[at:stop])
    return "".join(pieces), masked, inside


def span_of(quote: str, chunk: Chunk) -> tuple[int, int] | None:
    """Where a quote of a chunk stands in the document's text; None where the chunk says no such thing.

    As it stands, else without regard to spaces, letter case, quotation marks and Markdown, else the passage that is most like
    it, if that is very like it and has the same numbers. What touches a mask spans all that the mask stands for.
    """
    quote = quote.strip()
    if not any(map(str.isalnum, quote)):
        return None
    start = chunk.text.find(quote)
    if start >= 0:
        return _in_document(chunk, start, start + len(quote))
    wanted, _ = _plain(quote)
    text, places = _plain(chunk.text)
    if not wanted:
        return None
    start = text.find(wanted)
    if start >= 0:
        return _in_document(chunk, places[start], places[start + len(wanted) - 1] + 1)
    if (found := _most_like(wanted, text)) is None:
        return None
    start, stop = _whole_words(chunk.text, places[found[0]], places[found[1] - 1] + 1)
    return _in_document(chunk, start, stop) if NUMBER.findall(quote) == NUMBER.findall(chunk.text[start:stop]) else None


def _plain(text: str) -> tuple[str, list[int]]:
    """A text in small letters without spaces, quotation marks and Markdown, and where in it each of these letters stands."""
    letters: list[str] = []
    places: list[int] = []
    at = 0
    for start, stop in [*(found.span() for found in UNSEEN.finditer(text)), (len(text), len(text))]:
        for place in range(at, start):
            if not MARKS.match(text[place]):
                plain = unicodedata.normalize("NFKC", text[place]).casefold()
                letters.append(plain)
                places += [place] * len(plain)
        at = max(at, stop)
    return "".join(letters), places


def _most_like(wanted: str, text: str) -> tuple[int, int] | None:
    """The passage of a text that is most like what is wanted, if it is like it."""
    from rapidfuzz import fuzz  # loaded where a quote is not found as it stands

    if not FEWEST <= len(wanted) <= len(text):  # rapidfuzz would look for the text in what is wanted
        return None
    found = fuzz.partial_ratio_alignment(wanted, text, score_cutoff=CLOSE)
    return (found.dest_start, found.dest_end) if found and found.dest_start < found.dest_end else None


def _whole_words(text: str, start: int, stop: int) -> tuple[int, int]:
    """The passage with the words that it cuts; an ideograph is a word."""
    while 0 < start < len(text) and _joins(text[start - 1]) and _joins(text[start]):
        start -= 1
    while 0 < stop < len(text) and _joins(text[stop - 1]) and _joins(text[stop]):
        stop += 1
    return start, stop


def _joins(letter: str) -> bool:
    return letter.isalnum() and letter < "\u3000"


def _in_document(chunk: Chunk, start: int, stop: int) -> tuple[int, int]:
    """Places in a chunk's text as places in the document's."""
    shift_start = shift_stop = 0
    for begins, ends, length in masks_of(chunk.masked):
        if begins < start < ends:
            start = begins
        if begins < stop < ends:
            stop = ends
        grown = length - (ends - begins)
        shift_start += grown if ends <= start else 0
        shift_stop += grown if ends <= stop else 0
    return chunk.start + start + shift_start, chunk.start + stop + shift_stop


def masks_of(masked: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The masks of a chunk, one by one."""
    return zip(masked[::3], masked[1::3], masked[2::3], strict=True)
