"""Statistics of a text, after the filters of Gopher's web pages (Rae et al. 2021, table A1): signals, never more.

    "#ad #sale #now #buy #win #fun ..."   --symbol_ratio-->   the whole text

A prompt may want a list, a table or one word, and then these are right: that is why none of them drops a row. Words are what
stands between spaces; where a script has no spaces nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sft_assets.languages import language_of
from sft_assets.scored.rule_hits.checks.turn import Span, Turn

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # Thai to Khmer, kana, Han
UNSPACED_SHARE = 0.1


def is_spaced(text: str) -> bool:
    """Whether the text's words stand between spaces."""
    return text.isascii() or sum(1 for _ in UNSPACED.finditer(text)) < UNSPACED_SHARE * len(text)


def _words(text: str, min_words: int) -> list[str]:
    """The words of a text; none where there are fewer than `min_words`, or no spaces between them."""
    words = text.split()
    return words if len(words) >= min_words and is_spaced(text) else []


def word_count(turn: Turn, least: int, most: int) -> Span | None:
    """Fewer words than `least` or more than `most`."""
    words = _words(turn.text, 1)
    return (0, len(turn.text)) if words and not least <= len(words) <= most else None


def mean_word_length(turn: Turn, shortest: float, longest: float, min_words: int) -> Span | None:
    """Words of fewer than `shortest` characters on average, or of more than `longest`."""
    words = _words(turn.text, min_words)
    return (0, len(turn.text)) if words and not shortest <= sum(map(len, words)) / len(words) <= longest else None


def symbol_ratio(turn: Turn, most: float, min_words: int) -> Span | None:
    """More hash signs, or more ellipses, than `most` times the number of words."""
    words = _words(turn.text, min_words)
    ellipses = turn.text.count("...") + turn.text.count("…")
    return (0, len(turn.text)) if words and max(turn.text.count("#"), ellipses) > most * len(words) else None


BULLETS = ("- ", "* ", "+ ", "•", "·", "‣", "◦")


def bullet_lines(turn: Turn, most: float, min_lines: int) -> Span | None:
    """A share of more than `most` of the lines begin with a bullet."""
    return _share_of_lines(turn.text, most, min_lines, lambda line: line.startswith(BULLETS))


def ellipsis_lines(turn: Turn, most: float, min_lines: int) -> Span | None:
    """A share of more than `most` of the lines end with an ellipsis."""
    return _share_of_lines(turn.text, most, min_lines, lambda line: line.endswith(("...", "…")))


def _share_of_lines(text: str, most: float, min_lines: int, has: Callable[[str], bool]) -> Span | None:
    lines = [*filter(None, map(str.strip, text.split("\n")))]
    return (0, len(text)) if len(lines) >= min_lines and sum(map(has, lines)) > most * len(lines) else None


LETTER = re.compile(r"[^\W\d_]")


def alphabetic_words(turn: Turn, least: float, min_words: int) -> Span | None:
    """A share of less than `least` of the words have a letter."""
    words = _words(turn.text, min_words)
    if sum(map(str.isalpha, words)) >= least * len(words):  # most texts, and to see it is cheap
        return None
    return (0, len(turn.text)) if sum(map(bool, map(LETTER.search, words))) < least * len(words) else None


STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))


def stop_words(turn: Turn, least: int, min_words: int) -> Span | None:
    """An English text with fewer than `least` of the commonest words: it is no running text."""
    words = _words(turn.text.lower(), min_words)
    if not words or sum(map(STOP_WORDS.__contains__, words)) >= least:
        return None
    return (0, len(turn.text)) if language_of(turn.text) == "en" else None


def very_long_line(turn: Turn, longest: int) -> Span | None:
    """The first line of more than `longest` characters."""
    start = 0
    for line in turn.text.split("\n"):
        if len(line) > longest:
            return start, start + len(line)
        start += len(line) + 1
    return None
