"""Which rows hold test items: whole, or a long run of their words.

    item gsm8k_test 1   "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes ..."
    row 9f3c...  user   "Answer step by step. Janet's ducks lay 16 eggs per day. She eats three for breakfast ..."

    benchmark_item    the item's question, token by token                       (short items: as the whole turn)
    benchmark_ngram   13 tokens in a row that are an item's and no boilerplate  (as GPT-3, arXiv:2005.14165, appendix C)

Tokens are those of `sft_assets.text`: case, whitespace and sentence punctuation do not hide a copy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from sft_assets.decontaminated.offsets import token_spans
from sft_assets.text import tokens

Tokens = tuple[str, ...]
TIERS = ("benchmark_item", "benchmark_ngram")

LEAST = 3  # tokens: a shorter question cannot be told from ordinary text
HEAD = 5  # tokens by which items are looked up
SOLUTION = 20  # tokens: shorter code is written by everyone
BOILERPLATE = 5  # questions: what stands in so many is a template, not an item
DISTINCT_WORDS = 6 / 13  # of an n-gram; with fewer different words it is a list of numbers or the bones of code


class Owner(NamedTuple):
    """A text of an item. `choices`: of a question that other items ask too, what has to be found beside it; else None."""

    benchmark: str
    item_id: str
    field: str
    text: str
    choices: frozenset[Tokens] | None = None


class Hit(NamedTuple):
    """An item in a row. `text` is the number of the row's text, `span` characters of it, `tokens` how many agree."""

    reason: str
    owner: Owner
    text: int
    span: tuple[int, int]
    tokens: int


class Counts(NamedTuple):
    """Of one benchmark: its items, and those whose question no rule can find."""

    items: int
    unprotected: int


class _Found(NamedTuple):
    """A hit in tokens: `length` of them from `start` on, in text number `text`."""

    tier: int
    length: int
    owner: Owner
    text: int
    start: int


class _Item(NamedTuple):
    benchmark: str
    item_id: str
    texts: dict[str, list[str]]  # by field

    def words(self, name: str) -> frozenset[Tokens]:
        return frozenset(words for text in self.texts.get(name, ()) if (words := tuple(tokens(text))))

    def owners(self, name: str) -> Iterator[tuple[Owner, Tokens]]:
        return ((Owner(self.benchmark, self.item_id, name, text), tuple(tokens(text))) for text in self.texts.get(name, ()))


class _RunText(NamedTuple):
    """A question or context in which runs are looked for. `variants`: how many different questions it is."""

    words: Tokens
    variants: int
    code: bool
    owners: list[Owner]


class Index:
    """What is looked for of all items.

    rows: (benchmark, item_id, field, text) in any order. ngram: tokens of a verbatim run. short_item_words: items of fewer
    tokens count only as a whole turn.
    """

    def __init__(self, rows: Iterable[tuple[str, str, str, str]], ngram: int = 13, short_item_words: int = 8):
        self.ngram = ngram
        self.short = short_item_words
        self.head = min(HEAD, max(short_item_words, LEAST))
        self.whole: dict[Tokens, list[Owner]] = {}
        self.lengths: dict[Tokens, list[int]] = {}  # of the texts of `whole` that begin with these tokens
        self.run_texts: list[_RunText] = []
        self.runs: dict[int, list[tuple[int, int]]] = {}  # hash of an n-gram -> (number in run_texts, position)
        self.counts: dict[str, Counts] = {}
        self._add(list(_items(rows)))

    # ---------------------------------------------------------------------------------------------------- building

    def _add(self, items: list[_Item]) -> None:
        questions = [(item, owner, words) for item in items for owner, words in item.owners("question")]
        asking: dict[Tokens, list[_Item]] = defaultdict(list)
        for item, _, words in questions:
            asking[words].append(item)
        variants = {words: _variants(sharing) for words, sharing in asking.items()}
        run_texts: dict[Tokens, _RunText] = {}
        protected = set()
        for item, owner, words in questions:
            if variants[words] > 1:
                owner = owner._replace(choices=item.words("choices") or item.words("answer"))
            if len(words) >= LEAST and owner.choices != frozenset():
                self.whole.setdefault(words, []).append(owner)
                protected.add(owner[:2])
            text = _RunText(words, variants[words], "solution" in item.texts, [])
            run_texts.setdefault(words, text).owners.append(owner)
        for item in items:
            for owner, words in item.owners("context"):
                run_texts.setdefault(words, _RunText(words, 1, False, [])).owners.append(owner)
            for owner, words in item.owners("solution"):
                if len(words) >= SOLUTION:
                    self.whole.setdefault(words, []).append(owner)
        total = Counter(item.benchmark for item in items)
        unprotected = total - Counter(benchmark for benchmark, _ in protected)
        self.counts = {name: Counts(total[name], unprotected[name]) for name in sorted(total)}
        self.run_texts = list(run_texts.values())
        self._add_heads()
        self._add_runs()

    def _add_heads(self) -> None:
        heads: dict[Tokens, set[int]] = defaultdict(set)
        for words in self.whole:
            if len(words) >= self.short:
                heads[words[: self.head]].add(len(words))
        self.lengths = {head: sorted(lengths) for head, lengths in heads.items()}

    def _add_runs(self) -> None:
        questions = Counter[int]()  # hash of an n-gram -> how many questions it stands in
        for number, text in enumerate(self.run_texts):
            for key, position in _telling(text.words, self.ngram, text.code):
                questions[key] += text.variants
                if questions[key] < BOILERPLATE:
                    self.runs.setdefault(key, []).append((number, position))
                else:
                    self.runs.pop(key, None)

    # ---------------------------------------------------------------------------------------------------- scanning

    def find(self, texts: Sequence[str]) -> Hit | None:
        """The item that a row's texts (its turns in their order) hold; of several a whole one, then the longest."""
        turns = [tokens(text) for text in texts]
        found = [f for number in range(len(turns)) for f in self._exact(turns, number)]
        found = found or [f for number, turn in enumerate(turns) for f in self._verbatim(turn, number)]
        if not found:
            return None
        best = max(found, key=lambda f: f.length)  # the first of equals: items are sorted
        spans = token_spans(texts[best.text])
        span = spans[best.start][0], spans[best.start + best.length - 1][1]
        return Hit(TIERS[best.tier], best.owner, best.text, span, best.length)

    def _exact(self, turns: Sequence[list[str]], number: int) -> Iterator[_Found]:
        turn = turns[number]
        if len(turn) < self.short:
            places = [(0, len(turn))]
        else:
            heads = _ngrams(turn, self.head)
            places = [(i, n) for i, head in enumerate(heads) if head in self.lengths for n in self.lengths[head]]
        for start, length in places:
            for owner in self.whole.get(tuple(turn[start : start + length]), ()) if start + length <= len(turn) else ():
                if owner.choices is None or _stand_in(owner.choices, turns[number : number + 2]):
                    yield _Found(0, length, owner, number, start)

    def _verbatim(self, turn: list[str], number: int) -> Iterator[_Found]:
        keys = list(map(hash, _ngrams(turn, self.ngram)))
        if self.runs.keys().isdisjoint(keys):
            return
        ends: dict[tuple[int, int], int] = {}  # (number in run_texts, shift of the turn against it) -> end of the last run
        for start, key in enumerate(keys):
            for at, position in self.runs.get(key, ()):
                if ends.get((at, start - position), 0) > start:
                    continue
                text = self.run_texts[at]
                before, after = _agree(turn, start, text.words, position)
                ends[at, start - position] = start + after
                if after >= self.ngram:
                    yield from (_Found(1, before + after, owner, number, start - before) for owner in text.owners)


# ---------------------------------------------------------------------------------------------------------- helpers


def _items(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[_Item]:
    for (benchmark, item_id), lines in groupby(sorted(set(rows)), key=lambda row: row[:2]):
        item = _Item(benchmark, item_id, {})
        for _, _, name, text in lines:
            item.texts.setdefault(name, []).append(text)
        yield item


def _variants(sharing: list[_Item]) -> int:
    """How many different questions a question's text is: told by their choices, or within a benchmark by their answers.

    Two benchmarks that ask the same seldom word the answer alike; that makes it no other question.
    """
    if len(sharing) == 1:
        return 1
    by_choices = {choices for item in sharing if (choices := item.words("choices"))}
    by_answer: dict[str, set[frozenset[Tokens]]] = defaultdict(set)
    for item in sharing:
        if not item.words("choices"):
            by_answer[item.benchmark].add(item.words("answer"))
    return max(len(by_choices), *map(len, by_answer.values()), 1)


def _stand_in(choices: frozenset[Tokens], turns: Sequence[list[str]]) -> bool:
    """Whether a choice stands in the turn or in the next one; of choices under 3 tokens several, or all that there are."""
    text = "".join(f"\0{chr(0).join(turn)}\0\0" for turn in turns)
    found = [choice for choice in choices if f"\0{chr(0).join(choice)}\0" in text]
    return len(found) == len(choices) or sum(map(len, found)) >= LEAST


def _telling(words: Tokens, n: int, code: bool) -> Iterator[tuple[int, int]]:
    """Hash and first position of each n-gram that says something: numbers and short names (i, x; in code also of two letters)
    do not."""
    least = 3 if code else 2
    said = [word if word.isalpha() and (len(word) >= least or not word.isascii()) else "" for word in words]
    seen = set()
    for position, key in enumerate(map(hash, _ngrams(words, n))):
        if key not in seen and len({*said[position : position + n]} - {""}) >= DISTINCT_WORDS * n:
            seen.add(key)
            yield key, position


def _ngrams(words: Sequence[str], n: int) -> Iterator[Tokens]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def _agree(turn: list[str], start: int, words: Tokens, position: int) -> tuple[int, int]:
    """How many tokens agree before these two places, and from them on."""
    before, after = 0, 0
    while before < min(start, position) and turn[start - before - 1] == words[position - before - 1]:
        before += 1
    while after < min(len(turn) - start, len(words) - position) and turn[start + after] == words[position + after]:
        after += 1
    return before, after
