"""Where two texts differ, by words: characters (start, stop) of each.

>>> differences("What is the capital of France ?", "What is the capital of Spain ?")
([(23, 29)], [(23, 28)])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from rapidfuzz.distance import Indel

Spans = list[tuple[int, int]]
WORD = re.compile(r"\s+|\w+|[^\w\s]")
MOST_WORDS = 12_000  # of a text: the comparison keeps a bit for every pair of words, 18 MB then
LEAST = 0.4  # share of words in common; texts that have less are other texts, and marking all of them says nothing


def differences(a: str, b: str) -> tuple[Spans, Spans] | None:
    """The spans of each text that the other one has not; None where they are too long, or have little in common."""
    words = WORD.findall(a), WORD.findall(b)
    if max(map(len, words)) > MOST_WORDS or not all(words):
        return None
    changes = Indel.opcodes(*words)
    starts = [[0, *accumulate(map(len, some))] for some in words]
    ours = [(starts[0][c.src_start], starts[0][c.src_end]) for c in changes if c.tag != "equal"]
    theirs = [(starts[1][c.dest_start], starts[1][c.dest_end]) for c in changes if c.tag != "equal"]
    if 1 - sum(stop - start for start, stop in ours + theirs) / (len(a) + len(b)) < LEAST:
        return None
    return _merged(a, ours), _merged(b, theirs)


def _merged(text: str, spans: Sequence[tuple[int, int]]) -> Spans:
    """Without space around them; those that only a space keeps apart are one."""
    found: Spans = []
    for start, stop in spans:
        part = text[start:stop]
        start, stop = stop - len(part.lstrip()), start + len(part.rstrip())
        if start >= stop:
            continue
        if found and not text[found[-1][1] : start].strip():
            start = found.pop()[0]
        found.append((start, stop))
    return found
