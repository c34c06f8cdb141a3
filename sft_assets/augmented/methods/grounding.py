"""Whether an answer rests on a chunk, as far as that can be told without a model: its quote, its numbers, its words.

    chunk      "... In the Bay of Fundy in Canada the difference can exceed 15 metres. The Mediterranean shows only a few ..."
    answer     "The tide there can exceed 15 metres."        rests on "In the Bay of Fundy ... 15 metres."
    answer     "The tide there can exceed 15 kilometres."    unsupported: "15 kilometres"
    question   "What does the author say about tides?"       speaks of the text: "does the author say"

What counts as speech about the text, as one unit and as a number in words is data, by language: grounding.yaml.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sft_assets import text as texts
from sft_assets.augmented.candidate import Chunk, Span
from sft_assets.augmented.chunks.spans import masks_of, span_of

COVERED = 0.8  # of an answer's own words that the sentences which it rests on must have
FEWEST = 2  # words that an answer without a quote adds to its question
WINDOW = 3  # sentences that an answer without a quote may rest on
STEM = 5  # letters by which forms of a word are one: tide, tides; measure, measured
FEW_LETTERS = 4  # shorter words of a script with spaces say little: the, and, der, que
SHORT_QUOTE = 3  # tokens: a shorter quote stands in too many places to be evidence, so its whole sentence is taken
SENTENCE = re.compile(
    r"[^\s].*?(?:[.!?…][\"'”’»)\]*_]*(?=\s|$)|[。！？][」』）”]*|(?=\n[ \t\r]*\n)|(?=\n[ \t]*(?:[-*+#>|]|\d+[.)]))|\Z)",
    re.DOTALL,
)
LIST_MARK = re.compile(r"^[ \t]*(?:\d+[.)]|[-*+])[ \t]+", re.MULTILINE)
THOUSANDS = re.compile(r"(?<=\d)[,.\u202f\u00a0' ](?=\d{3}(?!\d))")
ENDS = re.compile(r"[.!?…。！？؟।:;)\]}»”\"'`*_|~>」』）]\s*$")
QUESTION_ENDS = re.compile(r"[.!?…。！？؟;][\"'”’»)」』）*_`]*\s*$")


class Mentions(NamedTuple):
    """How a language speaks of a text."""

    language: str
    patterns: tuple[re.Pattern[str], ...]
    hits: tuple[str, ...]
    misses: tuple[str, ...]


TABLE = Path(__file__).with_name("grounding.yaml")


def data_version() -> str:
    """Ten hex digits over grounding.yaml."""
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()[:10]


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = yaml.safe_load(TABLE.read_text("utf-8"))
    return table


@cache
def mentions() -> tuple[Mentions, ...]:
    """How each language speaks of a text, by grounding.yaml."""
    return tuple(
        Mentions(
            entry["language"],
            tuple(
                re.compile(pattern.replace("NOUN", entry["noun"]).replace("SAYS", entry["says"]), re.IGNORECASE)
                for pattern in entry["patterns"]
            ),
            tuple(entry["hits"]),
            tuple(entry["misses"]),
        )
        for entry in _table()["mentions"]
    )


def mention(text: str) -> str | None:
    """The first words with which a text speaks of the text that it was made from; None: it stands on its own."""
    found = (pattern.search(text) for language in mentions() for pattern in language.patterns)
    return next((match[0] for match in found if match), None)


# ---------------------------------------------------------------------------------------------------------- sentences


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text are. A blank line, a heading and an item of a list end one too."""
    return [found.span() for found in SENTENCE.finditer(text) if found[0].strip()]


def is_cut(question: str) -> bool:
    """Whether a question has no end."""
    return not QUESTION_ENDS.search(question)


def whole(text: str) -> str:
    """A text that was cut off, up to the end of its last whole sentence; empty: there is none."""
    if ENDS.search(text):
        return text
    stops = [stop for start, stop in sentences(text) if ENDS.search(text[start:stop])]
    return text[: stops[-1]] if stops else ""


# ---------------------------------------------------------------------------------------------------------- numbers


def unsupported(answer: str, sources: Sequence[str]) -> list[str]:
    """The numbers of an answer that none of the sources has, and those that they have of another unit."""
    source = "\n".join(_plain(text) for text in sources)
    known: dict[str, set[str | None]] = {}
    for number, unit in _quantities(source):
        known.setdefault(number, set()).add(unit)
    words = frozenset(texts.tokens(source))
    for number, names in _table()["words"].items():
        if any(name in words or (not name.isascii() and name in source) for name in names):
            known.setdefault(number, set()).add(None)
    wrong = []
    for number, unit in _quantities(_plain(LIST_MARK.sub("", answer))):
        units = known.get(number)
        if units is None or (unit and None not in units and unit not in units):
            wrong.append(f"{number} {unit}" if unit else number)
    return wrong


def _plain(text: str) -> str:
    """The text with its numbers written in one way: "12,700" and "12 700" are 12700, "４" is 4."""
    return THOUSANDS.sub("", unicodedata.normalize("NFKC", text).lower())


@cache
def _units() -> tuple[dict[str, str], re.Pattern[str]]:
    """The unit of each word, and what finds one after a number."""
    units = {word: unit for unit, words in _table()["units"].items() for word in words}
    spaced = sorted((re.escape(word) for word in units if re.match(r"[a-zà-ÿ]", word)), key=len, reverse=True)
    others = sorted((re.escape(word) for word in units if not re.match(r"[a-zà-ÿ]", word)), key=len, reverse=True)
    return units, re.compile(rf"[ \u00a0-]?(?:({'|'.join(spaced)})(?!\w)|({'|'.join(others)}))")


def _quantities(text: str) -> Iterator[tuple[str, str | None]]:
    """The numbers of a text, each with its unit where it is a known one."""
    units, unit_after = _units()
    for found in re.finditer(r"([$€]?) ?(\d+(?:[.,]\d+)*)", text):
        after = unit_after.match(text, found.end())
        unit = found[1] or (after and (after[1] or after[2]))
        number = found[2].replace(",", ".")
        yield number.lstrip("0") or "0", units[unit] if unit else None


# ---------------------------------------------------------------------------------------------------------- words


def words_of(text: str) -> frozenset[str]:
    """What a text is about: the beginnings of its longer words, its numbers, the characters of scripts without spaces."""
    found = set()
    for token in texts.tokens(_plain(text)):
        if not token[0].isalnum() or (token.isascii() and token.isalpha() and len(token) < FEW_LETTERS):
            continue
        found.add(token if token[0].isdigit() else token[:STEM])
    return frozenset(found)


def span_for(answer: str, question: str, quote: str, chunk: Chunk) -> Span | None:
    """What of the document an answer rests on; None: nothing.

    That is its quote, where it stands in the chunk and has a word of the answer that is not the question's. A quote of less
    than three words grows to its sentence; an answer that adds no word to the question, as "Yes.", needs a longer one, which
    does add some. Without such a quote it is the shortest run of at most three sentences that has four fifths of the words
    which the answer adds to the question, at least two: so a model that cannot quote may still have read what it was shown,
    and a made-up answer finds no such sentences.
    """
    asked = words_of(question)
    own = words_of(answer) - asked
    if quoted := _quoted(own, asked, quote, chunk):
        return quoted
    return _covering(own, chunk)


def _quoted(own: frozenset[str], asked: frozenset[str], quote: str, chunk: Chunk) -> Span | None:
    """The span of a quote that says something of the answer."""
    found = span_of(quote, chunk)
    if found is None:
        return None
    start, stop = (_within(chunk, place) for place in found)
    short = len(texts.tokens(chunk.text[start:stop])) < SHORT_QUOTE
    if not own and (short or words_of(chunk.text[start:stop]) <= asked):
        return None
    if short:
        around = [(first, last) for first, last in sentences(chunk.text) if first < stop and start < last]
        start, stop = min([start, *(first for first, _ in around)]), max([stop, *(last for _, last in around)])
    if own and not own & words_of(chunk.text[start:stop]):
        return None
    return _span(chunk, start, stop)


def _covering(own: frozenset[str], chunk: Chunk) -> Span | None:
    """The shortest run of sentences that has the words."""
    if len(own) < FEWEST:
        return None
    places = sentences(chunk.text)
    has = [words_of(chunk.text[start:stop]) & own for start, stop in places]
    for size in range(1, WINDOW + 1):
        runs = range(len(places) - size + 1)
        covered = {n: len(frozenset().union(*has[n : n + size])) / len(own) for n in runs}
        if good := [n for n in runs if covered[n] >= COVERED]:
            best = max(good, key=lambda n: (covered[n], -n))
            return _span(chunk, places[best][0], places[best + size - 1][1])
    return None


def _within(chunk: Chunk, place: int) -> int:
    """A place in the document's text as one in the chunk's, where masks stand for what they hide."""
    place -= chunk.start
    for begins, ends, length in masks_of(chunk.masked):
        if place >= begins + length:
            place -= length - (ends - begins)
    return place


def _span(chunk: Chunk, start: int, stop: int) -> Span | None:
    """Characters of the chunk as characters of the document."""
    quote = chunk.text[start:stop]
    found = span_of(quote, chunk)
    return Span(chunk.document, *found, quote) if found else None
