"""What the words that a row shares with a test item amount to: all of it, a verbatim run, most of what is its own, or nothing.

    benchmark_item      the text whole, word by word                                                          tier 1
    benchmark_ngram     `ngram` words in a row, and enough of what is the item's own                          tier 2
    benchmark_coverage  `coverage` of the item's own 3-grams, close together                                  tier 3

An item's own 3-grams stand in few other items, in few rows, and not within quotation marks. The same template with other
numbers is another item: numbers between the first and the last shared word have to be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.decontaminated.overlap.matching import SLACK
from sft_assets.decontaminated.overlap.protection import (
    BUT_FOR_A_WORD,
    LEAST,
    LEAST_PART,
    SHARE,
    SHORT,
    Item,
    Sought,
    Standing,
    compact,
    company,
    uncommon,
)
from sft_assets.decontaminated.overlap.words import word_spans, words
from sft_assets.text.kernel import casefolded

TIERS = ("benchmark_item", "benchmark_ngram", "benchmark_coverage")
FEWEST = 6  # words of a part
TELLING_RUN, TELLING_PART = 0.3, 0.12  # different uncommon words among the first ENOUGH; fewer are the bones of code
ENOUGH = 40
LONG_TEXT = 40  # words, in which one operator may differ
AROUND = 12  # words of the item before and after the shared ones, whose numbers are compared too
PLACES, RUNS = 8, 400  # of an item in one text, that are looked at
BESIDE = 40  # words after a question in which its choices begin, beside their own
NUMBERS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half third quarter twice thrice double triple
first second fourth fifth
"""
NUMBER_WORDS = frozenset(NUMBERS.split())
Ints = npt.NDArray[np.int64]
Run = tuple[int, int, int, int, int]
"""A run: the row's word and the item's word with which it begins, how many words, first byte and last byte + 1 in the text."""


class Text:
    """A text of a row."""

    def __init__(self, text: str):
        self.text = text
        self._same = text.isascii() or casefolded(alone := pa.array([text])) is alone  # as the kernel has read it

    @cached_property
    def joined(self) -> str:
        return f" {' '.join(words(self.text))} "

    def near(self, start: int, stop: int, reach: int) -> tuple[list[str], list[str], list[str]]:
        """The words before, from and after these characters; at most so many before and after, the nearest ones."""
        room = 12 * reach + 20
        before, after = words(self.text[max(0, start - room) : start]), words(self.text[stop : stop + room])
        return before[-reach:], words(self.text[start:stop]), after[:reach]

    @cached_property
    def _bytes(self) -> bytes:
        return self.text.encode()

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return word_spans(self.text)

    def span(self, first: int, size: int, start: int, stop: int) -> tuple[int, int]:
        """The characters of so many words from number `first` on; start and stop: bytes of it as the kernel reads it."""
        if not self._same:
            return self._spans[first][0], self._spans[first + size - 1][1]
        if self.text.isascii():
            return start, stop
        return len(self._bytes[:start].decode()), len(self._bytes[:stop].decode())


@dataclass
class Shared:
    """The runs that a text shares with an item's, within one window. Places are words; spans are characters of the text."""

    item: int
    whole: bool
    item_first: int
    item_stop: int
    longest: int
    matched: int  # the item's words that are in a run
    seen: npt.NDArray[np.bool_]  # of each of them
    broken: int  # places where nothing but the operators differ
    spans: list[tuple[int, int]]


def shared(item: int, length: int, runs: Sequence[Run], text: Text) -> list[Shared]:
    """What a text has of an item of so many words; runs in the order in which they stand in it.

    Each place where the item stands whole is one; where it does nowhere, the window in which most of it stands.
    """
    if wholes := [run for run in runs if run[2] == length]:
        return [_window(item, length, [run], text) for run in wholes[:PLACES]]
    best, most, width = list(runs[:1]), 0, length + length // 2 + SLACK
    for k, first in enumerate(runs[:RUNS] if len(runs) > 1 else ()):
        some = [run for run in runs[k:RUNS] if run[0] < first[0] + width]
        words_there = len({place for _, at, size, *_ in some for place in range(at, at + size)})
        if words_there > most:
            best, most = some, words_there
    return [_window(item, length, best, text)]


def _window(item: int, length: int, runs: Sequence[Run], text: Text) -> Shared:
    seen = np.zeros(length, np.bool_)
    for _, at, size, *_ in runs:
        seen[at : at + size] = True
    spans: list[tuple[int, int]] = []
    for start, stop in sorted(text.span(at, size, a, b) for at, _, size, a, b in runs):
        if spans and start <= spans[-1][1] + 1:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((start, stop))
    ends = {(here + size, there + size) for here, there, size, *_ in runs}
    return Shared(
        item=item,
        whole=any(size == length for _, _, size, *_ in runs),
        item_first=min(there for _, there, *_ in runs),
        item_stop=max(there + size for _, there, size, *_ in runs),
        longest=max(size for _, _, size, *_ in runs),
        matched=int(np.count_nonzero(seen)),
        seen=seen,
        broken=sum((here, there) in ends for here, there, *_ in runs),
        spans=spans,
    )


def numberlike(word: str) -> bool:
    return word[0].isdigit() or word in NUMBER_WORDS


def operators_agree(found: Shared) -> bool:
    """Whether "a + b" is not "a - b". A long text may have other bullets in its list."""
    return found.broken <= found.matched // LONG_TEXT


def numbers_agree(found: Shared, item: Sequence[str], text: Text) -> bool:
    """Whether the numbers between the first and the last shared word are the same, and around them while texts stay alike."""
    if len(found.spans) == 1 and not any(map(numberlike, item)):
        return True
    before, inside, after = text.near(found.spans[0][0], found.spans[-1][1], AROUND + 2)
    ours, theirs = Counter(filter(numberlike, item[found.item_first : found.item_stop])), Counter(filter(numberlike, inside))
    if (ours - theirs).total() + (theirs - ours).total() > 0.1 * (ours.total() + theirs.total()):
        return False
    return not (_other_numbers(item[: found.item_first][::-1], before[::-1]) or _other_numbers(item[found.item_stop :], after))


def _other_numbers(item: Sequence[str], row: Sequence[str]) -> bool:
    """Whether an item goes on as the row does, but for its numbers. Both begin beside the shared words."""
    item = item[:AROUND]
    row = row[: len(item) + 2]
    ours, theirs = set(filter(numberlike, item)), set(filter(numberlike, row))
    if not ours or not theirs or ours <= theirs:
        return False
    return (any(map(numberlike, item[:2])) and any(map(numberlike, row[:2]))) or 2.5 * len({*item} & {*row}) >= len({*item})


LEFT = frozenset(".!?:;…。！？：；，—–|>)]}*#\n")
RIGHT = frozenset(".!?:;…。！？：；，—–|<([{*#\n")
SKIPPED = frozenset(" \t\r\"'“”‘’«»`_")


def bounded(text: str, start: int, stop: int, sides: tuple[bool, bool] = (True, True)) -> bool:
    """Whether the characters from start to stop are a text, line or sentence of their own. sides: which ends have to be one."""
    a, b = start - 1, stop
    while a >= 0 and text[a] in SKIPPED:
        a -= 1
    while b < len(text) and text[b] in SKIPPED:
        b += 1
    return (not sides[0] or a < 0 or text[a] in LEFT) and (not sides[1] or b >= len(text) or text[b] in RIGHT)


@dataclass
class Part:
    """A part of an item in a text: all that the decision needs but for how frequent the item's 3-grams are."""

    item: int
    found: Shared
    length: int  # the item's words
    by_itself: bool  # the part is a text, line or sentence of its own
    run_told: float  # uncommon words of the longest run
    told: float  # of the part
    missing: float  # of the item, in no run
    solution: bool
    hit: Ints  # the item's own 3-grams that are in the part, as numbers of the index
    own: Ints  # all of them

    def coverage(self, live: npt.NDArray[np.bool_]) -> float:
        """The share of the item's own 3-grams that are in the part. live: whether a gram of the index says something."""
        own = int(live[self.own].sum())
        return int(live[self.hit].sum()) / own if own else 0.0


def tier_of(part: Part, live: npt.NDArray[np.bool_], ngram: int, coverage: float) -> int | None:
    """The tier by which a part of an item makes a leak, or None. Numbers agree, that has been seen to."""
    found, share, covered = part.found, part.found.matched / part.length, part.coverage(live)
    if part.length >= SHORT and part.told < TELLING_PART * min(found.matched, ENOUGH):
        return None
    if part.solution:
        return 2 if share >= 0.7 and covered >= max(coverage, 0.6) else None
    if part.length < LEAST_PART or found.matched < FEWEST or not covered:
        return None
    if part.length >= SHORT:
        telling = part.run_told >= TELLING_RUN * min(found.longest, ENOUGH)
        if found.longest >= ngram and telling and covered >= 0.8 * coverage:
            return 1
        if share >= SHARE and covered >= coverage:
            return 2
    if share < SHARE:
        return None
    beginning = part.by_itself and found.item_first == 0 and covered >= 0.4 * coverage
    whole_but_for_a_word = share >= BUT_FOR_A_WORD and covered >= 0.8 and not part.missing
    return 2 if beginning or whole_but_for_a_word or (part.by_itself and covered >= coverage) else None


class Sides:
    """The texts of a row that stand around one: where a question's choices and answers are looked for."""

    def __init__(self, text: Text, following: Text | None):
        self.text, self.following = text, following

    def beside(self, choices: Sequence[tuple[str, ...]], found: Shared) -> bool:
        """Whether enough of the choices (or the answer) stand beside a question, or a telling one in the text that follows."""
        reach = BESIDE + 3 * sum(map(len, choices))
        before, _, after = self.text.near(found.spans[0][0], found.spans[-1][1], reach)
        near = f" {' '.join(before)} \n {' '.join(after)} "
        seen = [choice for choice in choices if f" {' '.join(choice)} " in near]
        if any(_tells(choice) for choice in seen):
            return True
        if len(choices) > 1 and len(seen) >= max(2, (len(choices) + 1) // 2):
            return True
        return self.following is not None and any(
            _tells(choice) and f" {' '.join(choice)} " in self.following.joined for choice in choices
        )


def _tells(choice: tuple[str, ...]) -> bool:
    return len(choice) >= LEAST and uncommon(choice) >= 1


def owners_of(entry: Sought, found: Shared, sides: Sides, passages: frozenset[tuple[str, str]]) -> list[Item]:
    """The items whose question stands whole in a row; none where it does not count so. passages: of items in the row."""
    text = sides.text.text
    start, stop = found.spans[0][0], found.spans[-1][1]

    def beside(item: Item) -> bool:
        return item.owner in passages or sides.beside(company(item), found)

    if entry.told_apart:
        if entry.variants:
            near = compact(text[max(0, start - 200) : stop + 200])
            longest_first = sorted(entry.variants.items(), key=lambda v: (-len(v[0]), v[0]))
            some = next((owners for said, owners in longest_first if said in near), [])
            if len(some) == 1:
                return some
        return [item for item in entry.owners if beside(item)]
    if entry.standing == Standing.ANYWHERE or (entry.standing == Standing.ALONE and bounded(text, start, stop)):
        return entry.owners
    return [item for item in entry.owners if beside(item)]
