"""Checks of repetition: sentences, lines, n-grams, and an end that goes round in circles.

"Add salt and stir and stir and stir and stir and stir and stir and stir and"   --looping_end-->   (9, 75)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from sft_assets.scored.rule_hits.checks.statistics import is_spaced
from sft_assets.scored.rule_hits.checks.turn import CODE_MARKS, Span, Turn

SENTENCE_ENDS = ".!?。！？\n"
SENTENCE = re.compile(f"[^{SENTENCE_ENDS}]+")


def repetition(turn: Turn, times: int, share: float, min_bytes: int) -> Span | None:
    """One sentence or line `times` times or more, which makes up `share` of the text: the first of them.

    Shorter ones (a bullet, "Yes.") and those with marks of code or tables do not count.
    """
    lines = turn.text.lower()
    for mark in SENTENCE_ENDS:
        lines = lines.replace(mark, "\n")
    sentences = [*filter(None, map(str.strip, lines.split("\n")))]
    if len(sentences) - len(set(sentences)) < times - 1:
        return None
    for sentence, n in Counter(sentences).most_common():
        if n < times:
            return None
        fits = len(sentence.encode("utf-8", "replace")) >= min_bytes and n * len(sentence) >= share * len(turn.text)
        if fits and not CODE_MARKS.search(sentence):
            spans = (found.span() for found in SENTENCE.finditer(turn.text) if found[0].strip().lower() == sentence)
            return next(spans, None)
    return None


LONGEST_PERIOD = 400  # characters: a longer unit is found as a repeated sentence
TAIL = 10
LETTER = re.compile(r"[^\W\d_]")


def looping_end(turn: Turn, times: int, min_chars: int) -> Span | None:
    """The text ends in one unit, of whatever length, `times` times in a row or more: from where it begins to go round."""
    text = turn.text.rstrip()
    end = len(text)
    before = text.rfind(text[-TAIL:], max(0, end - LONGEST_PERIOD - TAIL), end - 1)
    period = end - TAIL - before
    if before < 0 or end < min_chars:
        return None
    unit = text[end - period :]
    start = end
    while start >= period and text.startswith(unit, start - period):
        start -= period
    if end - start < times * period or end - start < min_chars or not LETTER.search(unit) or CODE_MARKS.search(unit):
        return None
    return start, end


def duplicate_lines(turn: Turn, share: float, min_lines: int) -> Span | None:
    """So many of the lines that have letters stand in the text before (as in Gopher's rules): the first of these."""
    lines = [line for line in map(str.strip, turn.text.split("\n")) if LETTER.search(line)]
    if len(lines) < min_lines or len(lines) - len(set(lines)) < share * len(lines):
        return None
    seen: set[str] = set()
    start = 0
    for line in turn.text.split("\n"):
        if (bare := line.strip()) in seen and LETTER.search(bare):
            return start, start + len(line)
        seen.add(bare)
        start += len(line) + 1
    return None


WORD = re.compile(r"\S+")


def repeated_ngrams(turn: Turn, n: int, share: float, min_words: int) -> Span | None:
    """So many of the word n-grams stood in the text before (as in Gopher's rules): the first of these. In a script without
    spaces three characters count as a word."""
    spaced = is_spaced(turn.text)
    words = turn.text.lower().split() if spaced else []
    size = n if spaced else 3 * n
    if (len(words) if spaced else len(turn.text) // 3) < min_words:
        return None
    grams: list[Any]
    if spaced:
        grams = list(zip(*(words[i:] for i in range(size)), strict=False))
    else:
        grams = [turn.text[i : i + size] for i in range(len(turn.text) - size + 1)]
    if len(grams) - len(set(grams)) < share * len(grams):
        return None
    first = _first_seen_before(grams)
    if not spaced:
        return first, first + size
    spans = [found.span() for found in WORD.finditer(turn.text)]
    return spans[first][0], spans[first + size - 1][1]


def _first_seen_before(items: Sequence[Hashable]) -> int:
    """The place of the first item that stood before; there is one."""
    seen: set[Hashable] = set()
    for place, item in enumerate(items):
        if item in seen:
            return place
        seen.add(item)
    raise ValueError("all items differ")
