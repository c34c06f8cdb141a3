"""ROUGE-L between instructions (Lin 2004): the longest common subsequence of their words, as self-instruct filters by it.

    name three primary colours
    name the three colours       ->   3 words in common, in this order; F1 = 2 * 3 / (4 + 4) = 0.75

With equal weight of precision and recall that is the normalised Indel similarity of the two lists of words, which rapidfuzz has
in C++. Words are the tokens of `text.plain`: characters, where a script has no spaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import Indel

from sft_assets.text.plain import tokens

CODE_POINTS = 0x10FFFF
ROUNDING = 1e-9  # a share such as 14 of 20 words is not always what the recipe's 0.7 is


class Nearest(NamedTuple):
    """An instruction, and how near it is."""

    text: str
    score: float


def rouge_l(a: str, b: str) -> float:
    """F1 of ROUGE-L; 0.0 where a text has no words."""
    one, other = tokens(a), tokens(b)
    return float(Indel.normalized_similarity(one, other)) if one and other else 0.0


class Pool:
    """Instructions, of which the nearest to another is found: under 10 ms among 20,000."""

    def __init__(self, texts: Iterable[str] = ()):
        self._codes: dict[str, str] = {}
        self._texts: list[str] = []
        self._coded: list[str] = []
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """One more; a text without words is near to none."""
        if coded := self._code(text):
            self._texts.append(text)
            self._coded.append(coded)

    def nearest(self, text: str, least: float) -> Nearest | None:
        """The instruction with the highest F1, the first of several; None where none comes up to `least`."""
        coded = self._code(text)
        if not coded or not self._coded:
            return None
        found = process.extractOne(coded, self._coded, scorer=Indel.normalized_similarity, score_cutoff=least - ROUNDING)
        return None if found is None else Nearest(self._texts[found[2]], float(found[1]))

    def _code(self, text: str) -> str:
        """The words as characters, one for each: strings are compared four times as fast as lists. (A pool with more different
        words than there are characters would take some of them for equal.)"""
        codes = self._codes
        return "".join(codes.setdefault(word, chr(1 + len(codes) % CODE_POINTS)) for word in tokens(text))
