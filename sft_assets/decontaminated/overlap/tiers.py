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

import numpy as np
import numpy.typing as npt

from sft_assets.decontaminated.overlap.matching import SLACK
from sft_assets.decontaminated.overlap.protection import (
    BUT_FOR_A_WORD,
    LEAST_PART,
    SHARE,
    SHORT,
    Item,
    Sought,
    Standing,
    compact,
)
from sft_assets.decontaminated.overlap.surroundings import Sides, Text, bounded, lists_options, on_a_line, symbols_agree
from sft_assets.text.plain import casefolded

TIERS = ("benchmark_item", "benchmark_ngram", "benchmark_coverage")
FEWEST = 6  # words of a part
TELLING_RUN, TELLING_PART = 0.3, 0.12  # different uncommon words among the first ENOUGH; fewer are the bones of code
ENOUGH = 40
LONG_RUN = 100  # words in a row that are enough, however long the item
LONG_TEXT = 40  # words, in which one operator may differ
AROUND = 12  # words of the item before and after the shared ones, whose numbers are compared too
PLACES, RUNS = 64, 400  # of an item in one text, that are looked at
NUMBERS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half third quarter twice thrice double triple
first second fourth fifth ii iii iv vi vii viii ix xi xii xiii xiv xv
zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig vierzig fünfzig hundert tausend halb
deux trois quatre cinq sept huit neuf dix onze douze quinze vingt trente quarante cinquante cent mille demi
dos tres cuatro cinco seis siete ocho nueve diez once doce quince veinte treinta cuarenta cincuenta cien mil mitad
due tre quattro cinque sei sette otto nove dieci undici dodici venti trenta quaranta cinquanta cento metà
dois três quatro sete oito dez vinte trinta quarenta cem metade
два две три четыре пять шесть семь восемь девять десять одиннадцать двенадцать двадцать тридцать сорок сто тысяча
"""
POLARITY = """
not no never none nothing without except least most more less fewer all always only cannot cant dont doesnt isnt arent wont
cheapest highest lowest largest smallest before after left right monday tuesday wednesday thursday friday saturday sunday
"""
TURNING = frozenset(casefolded(NUMBERS).split()) | frozenset(POLARITY.split())
Ints = npt.NDArray[np.int64]
Run = tuple[int, int, int, int, int]
"""A run: the row's word and the item's word with which it begins, how many words, first byte and last byte + 1 in the text."""


@dataclass
class Shared:
    """The runs that a text shares with an item's, within one window. Places are words; spans are characters of the text."""

    whole: bool
    item_first: int
    item_stop: int
    longest: int
    matched: int  # the item's words that are in a run
    seen: npt.NDArray[np.bool_]  # of each of them
    broken: int  # places where nothing but the operators differ
    spans: list[tuple[int, int]]


def shared(length: int, runs: Sequence[Run], text: Text) -> list[Shared]:
    """What a text has of an item of so many words; runs in the order in which they stand in it.

    Each place where the item stands whole is one; where it does nowhere, the window in which most of it stands.
    """
    if wholes := [run for run in runs if run[2] == length]:
        return [_window(length, [run], text) for run in wholes[:PLACES]]
    best, most, width = list(runs[:1]), 0, length + length // 2 + SLACK
    for k, first in enumerate(runs[:RUNS] if len(runs) > 1 else ()):
        some = [run for run in runs[k:RUNS] if run[0] < first[0] + width]
        words_there = len({place for _, at, size, *_ in some for place in range(at, at + size)})
        if words_there > most:
            best, most = some, words_there
    return [_window(length, best, text)]


def _window(length: int, runs: Sequence[Run], text: Text) -> Shared:
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
        whole=any(size == length for _, _, size, *_ in runs),
        item_first=min(there for _, there, *_ in runs),
        item_stop=max(there + size for _, there, size, *_ in runs),
        longest=max(size for _, _, size, *_ in runs),
        matched=int(np.count_nonzero(seen)),
        seen=seen,
        broken=sum((here, there) in ends for here, there, *_ in runs),
        spans=spans,
    )


def turning(word: str) -> bool:
    """Whether with another word in its stead it would be another question: a number, a negation, an extreme, a day."""
    return word[0].isdigit() or word in TURNING


def same_question(found: Shared, item: Sequence[str], text: Text) -> bool:
    """Whether a part of an item is not of another item made to the same pattern.

    Numbers, negations and the like are the same between the first and the last shared word, and around them while the texts
    stay alike; and no operator differs ("a + b" is not "a - b"; in a long text one may).
    """
    before, inside, after = text.near(found.spans[0][0], found.spans[-1][1], AROUND + 2)
    left, right = list(item[: found.item_first][::-1]), list(item[found.item_stop :])
    broken = found.broken + (before[-1:] == left[:1] != []) + (after[:1] == right[:1] != [])
    if broken > found.matched // LONG_TEXT:
        return False
    if len(found.spans) > 1:
        ours, theirs = Counter(filter(turning, item[found.item_first : found.item_stop])), Counter(filter(turning, inside))
        if (ours - theirs).total() + (theirs - ours).total() > 0.1 * (ours.total() + theirs.total()):
            return False
    return not (_turns_away(left, before[::-1]) or _turns_away(right, after))


def _turns_away(item: Sequence[str], row: Sequence[str]) -> bool:
    """Whether an item goes on as the row does, but for its numbers. Both begin beside the shared words."""
    item = item[:AROUND]
    row = row[: len(item) + 2]
    ours, theirs = set(filter(turning, item)), set(filter(turning, row))
    if not ours or not theirs or ours <= theirs:
        return False
    return (any(map(turning, item[:2])) and any(map(turning, row[:2]))) or 2.5 * len({*item} & {*row}) >= len({*item})


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
    if part.length < LEAST_PART or found.matched < FEWEST or not covered or not part.told:
        return None
    if part.length >= SHORT:
        telling = part.run_told >= TELLING_RUN * min(found.longest, ENOUGH)
        if found.longest >= ngram and telling and (covered >= 0.8 * coverage or found.longest >= LONG_RUN):
            return 1
        if share >= SHARE and covered >= coverage:
            return 2
    if share < SHARE:
        return None
    beginning = part.by_itself and found.item_first == 0 and covered >= 0.4 * coverage
    whole_but_for_a_word = share >= BUT_FOR_A_WORD and covered >= 0.8 and not part.missing
    return 2 if beginning or whole_but_for_a_word or (part.by_itself and covered >= coverage) else None


def owners_of(entry: Sought, sides: Sides, passages: frozenset[tuple[str, str]]) -> list[Item]:
    """The items whose question stands whole in a row; none where it does not count so. passages: of items in the row."""
    text, start, stop = sides.text.text, sides.start, sides.stop
    if entry.field == "choices":
        return sides.with_question(entry)
    if entry.variants:
        near = compact(text[max(0, start - 200) : stop + 200])
        longest_first = sorted(entry.variants.items(), key=lambda v: (-len(v[0]), v[0]))
        some = next((owners for said, owners in longest_first if said in near), [])
        if len(some) == 1:
            return some if symbols_agree(text, start, stop, next(iter(some)).of("question")[0]) else []
    elif not symbols_agree(text, start, stop, entry.text):
        return []
    alone = (
        entry.standing == Standing.ANYWHERE
        or (entry.standing == Standing.ALONE and bounded(text, start, stop))
        or (entry.standing == Standing.LINE and on_a_line(text, start, stop))
    )
    if alone and not entry.told_apart and not (entry.has_choices and len(entry.said) < SHORT and lists_options(text, stop)):
        return entry.owners
    named = sides.accompanied(entry)
    return named + [item for item in entry.owners if item.owner in passages and item not in named]
