"""What `overlap.matching` does, in plain Python: the oracle of its tests, and the peer of its speed."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa

from sft_assets.decontaminated.overlap.index import GRAM
from sft_assets.decontaminated.overlap.matching import Found, Runs
from sft_assets.decontaminated.overlap.scan import Overlap
from sft_assets.decontaminated.overlap.words import is_operator, word_of
from sft_assets.text.plain import TOKEN, casefolded, folded

OPERATORS = {
    ord(other): one for one, others in {"-": "−‐‑‒", "*": "×·•∗", "/": "÷", "<": "≤", ">": "≥"}.items() for other in others
}
NEUTRAL = "$\\`~#|_"
BULLET = re.compile(r"(?:^|\n)[ \t]*\Z")


def said(text: str) -> tuple[list[str], list[str]]:
    """The words of a text, and the operators before each since the word before it."""
    words, gaps, gap, last = [], [], "", ""
    normal = folded(casefolded(text))
    for found in TOKEN.finditer(normal):
        token = found.group()
        if word := word_of(token):
            words.append(word)
            gaps.append(gap)
            gap, last = "", ""
        elif is_operator(token):
            token = "" if token in NEUTRAL else token.translate(OPERATORS)
            bullet = token in ("-", "*", "+") and normal[found.end() : found.end() + 1] in (" ", "\t", "")
            for sign in token:
                if sign != last and not (bullet and BULLET.search(normal[: found.start()])):
                    gap += sign
                last = sign
            last = last if token else ""
    return words, gaps


def places(text: str) -> list[tuple[int, int]]:
    """Start and stop of each word in bytes of the casefolded text."""
    normal = casefolded(text)
    return [
        (len(normal[: m.start()].encode()), len(normal[: m.end()].encode()))
        for m in TOKEN.finditer(folded(normal))
        if word_of(m.group())
    ]


class PlainMatcher:
    """As `Matcher`, over the same anchors, on strings."""

    def __init__(self, overlap: Overlap):
        index = overlap.index
        self.items = [said(entry.text) for entry in overlap.sought]
        self.share, self.run, self.solid = index.share.tolist(), index.run.tolist(), index.solid.tolist()
        self.postings: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for item, place in zip(index.texts.tolist(), index.places.tolist(), strict=True):
            self.postings[tuple(self.items[item][0][place : place + GRAM])].append((item, place))
        self.numbers = {gram: number for number, gram in enumerate(self.postings)}
        self.frequency_of = [0] * len(self.numbers)

    def find(self, texts: Any) -> Found:
        """texts: a string array or a list. How many of them a gram is in is counted, but in numbers of its own."""
        said_in = texts.to_pylist() if isinstance(texts, pa.Array) else texts
        rows = [(number, *run) for number, text in enumerate(said_in) for run in self.runs(text or "")]
        runs = Runs(*(np.array(rows, np.int32) if rows else np.zeros((0, 7), np.int32)).T)
        return Found(runs, np.zeros(0, np.int64), np.zeros(0, np.int32))

    def runs(self, text: str) -> list[tuple[int, int, int, int, int, int]]:
        words, gaps = said(text)
        found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        seen, whole = set(), False
        for i in range(len(words) - GRAM + 1):
            gram = (words[i], words[i + 1], words[i + 2])
            if gram not in self.postings:
                continue
            seen.add(gram)
            for item, place in self.postings[gram]:
                others, other_gaps = self.items[item]
                before = i > 0 and place > 0 and words[i - 1] == others[place - 1]
                after = i + GRAM < len(words) and place + GRAM < len(others) and words[i + GRAM] == others[place + GRAM]
                if not (before or after or len(others) == GRAM):
                    continue
                if found[item] and i + GRAM <= found[item][-1][0] + found[item][-1][2]:
                    continue
                a, b, size = i, place, 1
                while i + size < len(words) and place + size < len(others) and words[i + size] == others[place + size]:
                    if gaps[i + size] != other_gaps[place + size] and gaps[i + size] and other_gaps[place + size]:
                        break
                    size += 1
                if size < GRAM:
                    continue
                while a and b and words[a - 1] == others[b - 1]:
                    if gaps[a] != other_gaps[b] and gaps[a] and other_gaps[b]:
                        break
                    a, b, size = a - 1, b - 1, size + 1
                found[item].append((a, b, size))
                whole = whole or (size == len(others) and self.solid[item])
        if not whole:
            for gram in seen:
                self.frequency_of[self.numbers[gram]] += 1
        kept = {item: runs for item, runs in found.items() if self.enough(item, [size for *_, size in runs])}
        spans = places(text) if kept else []
        return [(item, a, b, size, spans[a][0], spans[a + size - 1][1]) for item, runs in kept.items() for a, b, size in runs]

    def enough(self, item: int, sizes: list[int]) -> bool:
        return sum(sizes) >= self.share[item] or max(sizes, default=0) >= self.run[item]
