"""What of a test item is looked for, and how much has to be seen of it before a row is condemned.

    standing   the text counts ...                                                                    for example
    anywhere   wherever it stands                              Which force pulls the Moon towards the Earth each night?
    alone      as a turn, line or sentence of its own, or beside its choices                  What is a colles fracture?
    line       as a turn or line of its own, or beside its choices                                    Who made Berlin?
    beside     beside its choices or its answer only                                     Which of these is true? (A) ...
    never      not at all: the item is unprotected, and the report says why                                  Osteoclasts

It depends on how many words the text has, on how many of them are uncommon (neither scikit-learn's English stop words nor the
everyday words of exams below), and on whether other items ask the same and are told apart by their choices or answers only.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cache, cached_property
from itertools import groupby
from typing import NamedTuple

import regex

from sft_assets.decontaminated.overlap.words import words
from sft_assets.text import characters as c
from sft_assets.text.plain import folded

LEAST = 3  # words: a shorter text is not looked for
SENTENCE = 8  # words: of a longer text two uncommon ones are enough for it to count anywhere
SYMBOLS = 4  # brackets and operators make a question too
LONG = 13  # words in a row are no accident, however common each of them is
SHORT = 20  # words: of a shorter item a part counts only where it stands by itself
LEAST_PART = 9  # words: of a shorter item no part counts
SHARE = 0.6  # of an item's words, in a part that counts
BUT_FOR_A_WORD = 0.85  # of the words of a short item, that count in the midst of others too
PASSAGE = 0.5  # of a passage's words, for it to be there beside its question
SOLUTION = 20  # words: shorter code is written by everyone
UNCOMMON_IN_SOLUTION = 8
QUOTE = 12  # words: a shorter quotation is part of the question
OUTSIDE = 2  # uncommon words that an item has beside its quotations
EXAM = """
a an answer answers are ask asked best better can choose complete correct correctly define describe describes did do does
done each example examples explain explanation false find first following follow follows give given gives good help how i if in
incorrect is it kind know last let likely list made make makes many mean means most name need new next not number of one ones
option options order out people please possible question questions read right same say second select sentence should show
some something statement statements step steps sure tell text thing things think three time times true try two type use used
using want way what when where which who whom whose why word words work works would write wrong yes no you your
"""
EVERYDAY = """
able again age ago another area away bad based because become big body book boy business called came car case child children
city close cold come common company country dark day days different down early easy eat end enough even event ever every eyes
face fact family far father feel few food form found free friend friends full game girl go going good great group grow had
half hand happen happens hard head hear heart high home hot hour hours house human idea important inside job keep large late
law learn leave left less level life light line little live living local long look lot love man matter men might money month
months more morning mother move much must name night nothing number off often old open order other outside own paper part past
person place play point power problem program public put reason rest result room run sea see seen sense set short side simple
since small start state stay still stop story street strong study such summer sun system take taken talk than thought today
together told tomorrow took town tree turn under until up view walk wall war warm watch water week weeks well went while white
whole will winter woman women wood world year years yesterday young
above argument article assumption author below blank conclusion hypothesis implied implies infer inferred main mentioned
paragraph passage premise purpose reading strengthen strengthens support supports title weaken weakens
的 是 了 在 不 有 和 人 这 中 大 为 上 个 我 以 要 他 她 它 们 你 什 么 哪 谁 怎 吗 呢
下 列 说 法 正 确 错 误 些 项 及 与 或 其 之
の は を に が と で も た し て い る れ な か ら ま す
"""


class Standing(IntEnum):
    """Where a text of an item counts (see above)."""

    NEVER = 0
    BESIDE = 1
    LINE = 2
    ALONE = 3
    ANYWHERE = 4


MARKS = (
    "“[^“”]+”",
    '"[^"]+"',
    "«[^«»]+»",
    "„[^„“”]+[“”]",
    r"‘[^‘’]+’(?!\w)",
    "「[^「」]+」",
    "『[^『』]+』",
    "``[^`]+(?:''|``)",
)
QUOTED = re.compile(rf"{'|'.join(MARKS)}|^>.*$", re.MULTILINE)
OPERATORS = regex.compile(rf"(?!-){c.PROPERTIES[c.OPERATOR]}", regex.V1)  # all but the hyphen
Owner = tuple[str, str]  # benchmark, item_id


@dataclasses.dataclass
class Item:
    """One test item: its texts by field."""

    owner: Owner
    texts: dict[str, list[str]]

    def of(self, name: str) -> list[str]:
        return self.texts.get(name, [])


@dataclasses.dataclass
class Sought:
    """A text that is looked for. `owners`: the items that have it. `told_apart`: only their choices or answers tell which."""

    field: str
    text: str
    said: tuple[str, ...]  # its words
    owners: list[Item]
    standing: Standing
    told_apart: bool = False
    variants: dict[str, list[Item]] = dataclasses.field(default_factory=dict)  # by compact text, where owners differ in symbols

    @property
    def has_choices(self) -> bool:
        """Whether there are choices in words, by which it can be seen that a row has others."""
        return any(len(item.of("choices")) > 1 and len(company(item)) > 1 for item in self.owners)

    @cached_property
    def by_company(self) -> dict[tuple[str, ...], list[int]]:
        """What has to stand beside it (see `company`) -> the numbers of the owners that have that."""
        found: dict[tuple[str, ...], list[int]] = {}
        for number, item in enumerate(self.owners):
            for said in company(item):
                found.setdefault(said, []).append(number)
        return found

    @cached_property
    def enough_company(self) -> list[int]:
        """How much of its company has to stand beside each owner: half of it, and two or more."""
        return [max(2, (len(company(item)) + 1) // 2) for item in self.owners]


class Unprotected(NamedTuple):
    """An item that no rule finds.

    why: too_short, generic (nothing uncommon in it), shared (with an item asked alike), or not_found (it was tried).
    """

    benchmark: str
    item_id: str
    why: str
    text: str


@cache
def common_words() -> frozenset[str]:
    """Words that say nothing of what a text is about."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS) | frozenset(EXAM.split())


@cache
def everyday_words() -> frozenset[str]:
    """Those, and words of which a short question may be made and still be asked by anybody."""
    return common_words() | frozenset(EVERYDAY.split())


def uncommon(said: Iterable[str]) -> float:
    """How many different words say what a text is about; a character of a script without spaces is half a word."""
    return sum(_weight(word) for word in {*said} - common_words())


def _weight(word: str) -> float:
    if len(word) > 1:
        return 1.0
    return 0.5 if _is_character(word) else 0.25 if word.isdigit() else 0.0


def _is_character(word: str) -> bool:
    """Whether a word is a character of a script without spaces."""
    classes, _ = c.tables()
    return len(word) == 1 and bool(classes[ord(word)] & c.CLASS == c.CHARACTER)


def standing(said: Sequence[str], choices: bool = False, symbols: int = 0) -> Standing:
    """Where a question of these words counts. choices: whether it has some to stand beside it; symbols: how many it has."""
    rare, size = uncommon(set(said) - everyday_words()), sum(0.5 if _is_character(word) else 1.0 for word in said)
    if len(said) < LEAST:
        return Standing.NEVER
    if size >= LONG or (size >= SENTENCE and rare >= 2) or (size >= 5 and rare >= 3):
        return Standing.ANYWHERE
    if not rare and choices:
        return Standing.BESIDE
    if rare >= 2 or size >= SENTENCE:
        return Standing.ALONE
    return Standing.LINE if rare or size >= 5 or symbols >= SYMBOLS else Standing.BESIDE


def compact(text: str) -> str:
    """Every character that is seen, in lower case: what tells "( [" from "( {"."""
    return "".join(folded(text).split())


def items_of(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[Item]:
    """The items of rows (benchmark, item_id, field, text), in the order of their names."""
    for owner, lines in groupby(sorted(set(rows)), key=lambda row: row[:2]):
        item = Item((owner[0], owner[1]), {})
        for _, _, name, text in lines:
            item.texts.setdefault(name, []).append(text)
        yield item


def sought(items: Sequence[Item]) -> list[Sought]:
    """The texts that are looked for: questions, passages (which count only beside their question), long solutions, and of items
    with a question of a word or two a choice (which counts only beside the question and the others).

    Items with the same words and operators in a text share one entry.
    """
    found: dict[tuple[str, tuple[str, ...], str], Sought] = {}

    def seek(item: Item, name: str, text: str, where: Standing) -> None:
        key = (name, tuple(words(text)), _operators(text))
        if key in found:
            found[key].owners.append(item)
        else:
            found[key] = Sought(name, text, key[1], [item], where)

    for item in items:
        for text in item.of("question"):
            seek(item, "question", text, _where(item, text))
        for text in item.of("solution"):
            said = words(text)
            if len(said) >= SOLUTION and uncommon(said) >= UNCOMMON_IN_SOLUTION:
                seek(item, "solution", text, Standing.ANYWHERE)
        for text in item.of("context"):
            seek(item, "context", text, Standing.BESIDE)
        if choice := _telling_choice(item):
            seek(item, "choices", choice, Standing.BESIDE)
    for entry in found.values():
        if entry.field == "question" and len(entry.owners) > 1:
            _tell_apart(entry)
    return list(found.values())


def _where(item: Item, question: str) -> Standing:
    symbols = sum(not character.isalnum() and not character.isspace() for character in question)
    return standing(words(question), len(item.of("choices")) > 1, symbols)


def _telling_choice(item: Item) -> str | None:
    """Of an item whose question is too short ("Predators eat") the choice by which it is found, with the others beside it."""
    if len(item.of("choices")) < 2 or any(len(words(text)) >= LEAST for text in item.of("question")):
        return None
    some = [text for text in item.of("choices") if len(words(text)) >= LEAST and uncommon(words(text)) >= 1]
    return max(some, key=lambda text: (len(words(text)), text), default=None)


def _operators(text: str) -> str:
    """The operators of a text, for those that differ in them alone."""
    return "".join(OPERATORS.findall(text))


def _tell_apart(entry: Sought) -> None:
    """Whether items that ask the same differ: by symbols, by choices, by passages, or within a benchmark by answers.

    (Two benchmarks that ask the same seldom word the answer alike; that makes it no other question.)
    """
    by_choices = {frozenset(map(compact, item.of("choices"))) for item in entry.owners} - {frozenset()}
    by_answer: dict[str, set[frozenset[str]]] = defaultdict(set)
    for item in entry.owners:
        if not item.of("choices"):
            by_answer[item.owner[0]].add(frozenset(map(compact, item.of("answer"))))
    by_context = {frozenset(map(compact, item.of("context"))) for item in entry.owners}
    differ = max(len(by_choices), *map(len, by_answer.values()), len(by_context))
    if differ == 1:
        return
    entry.told_apart = True
    by_text: dict[str, list[Item]] = defaultdict(list)
    for item in entry.owners:
        text = next(t for t in item.of("question") if tuple(words(t)) == entry.said)
        by_text[compact(text)].append(item)
    if len(by_text) > 1:
        entry.variants = dict(by_text)


def asked(item: Item, choices: Sequence[str] | None = None) -> str:
    """An item as it is put to a model: its question, its choices under it (in this order)."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    listed = zip(letters, item.of("choices") if choices is None else choices, strict=False)
    return "\n".join([*item.of("question")[:1], *(f"{letter}. {choice}" for letter, choice in listed)])


def company(item: Item) -> list[tuple[str, ...]]:
    """What has to stand beside a question that does not count alone: the words of its choices, else of its answer."""
    texts = item.of("choices") or item.of("answer")
    return [said for text in texts if (said := tuple(words(text)))]


def unprotected(items: Sequence[Item], texts: Sequence[Sought]) -> list[Unprotected]:
    """The items that the rules cannot find, with the reason."""
    best: dict[Owner, Standing] = {}
    shared: set[Owner] = set()
    for entry in texts:
        if entry.field == "context":
            continue
        for item in entry.owners:
            where = entry.standing
            if entry.told_apart and not any(len(owners) == 1 for owners in entry.variants.values() if item in owners):
                where = min(where, Standing.BESIDE)
                shared.add(item.owner)
            if where == Standing.BESIDE and len(item.of("choices")) < 2 and not item.of("context"):
                where = Standing.NEVER  # beside its answer it is found, but nobody has to have copied that
            best[item.owner] = max(where, best.get(item.owner, Standing.NEVER))
    missing = []
    for item in items:
        if best.get(item.owner, Standing.NEVER) == Standing.NEVER:
            question = (item.of("question") or [""])[0]
            why = "too_short" if len(words(question)) < LEAST else "shared" if item.owner in shared else "generic"
            missing.append(Unprotected(*item.owner, why, question))
    return missing


def quotations(text: str, said: Sequence[str]) -> list[tuple[int, int]]:
    """The stretches of words that an item quotes, from the first to the one after the last: passages that others quote too.

    None where the item says little beside them: then what it quotes is what it asks about.
    """
    spans = []
    for found in QUOTED.finditer(text):
        inside = words(found.group())
        if len(inside) >= QUOTE:
            before = len(words(text[: found.start()]))
            spans.append((before, before + len(inside)))
    quoted = {i for start, stop in spans for i in range(start, stop)}
    outside = uncommon(word for i, word in enumerate(said) if i not in quoted)
    return spans if outside >= OUTSIDE else []
