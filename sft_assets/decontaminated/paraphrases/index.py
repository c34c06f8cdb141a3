"""Test items as documents of terms, and the inverted index that finds them.

A document is one field of one item. Its terms are weighed by how seldom they are in the questions of all items.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.decontaminated.benchmarks.items import FIELDS
from sft_assets.decontaminated.paraphrases.terms import known_words, read_all, table
from sft_assets.text.kernel import Strings, composed, tokenized

PAIR = 0.33  # the weight of two words in a row, against that of one
COMMON = 100  # a term in more texts of items than that finds only those which have few rarer ones
PREFIX = 0.7  # the rarest terms that have so much of an item's weight find it in any case
WHOLE = len(FIELDS)  # the document of an item's question and choices together, behind its fields
SEARCHED = tuple(FIELDS.index(name) for name in ("question", "choices", "context"))  # by which an item is found

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Lookup(NamedTuple):
    """The items in numbers. A document is one field of one item (or WHOLE), a term one word, number or pair of words.

    Document d has the terms terms[firsts[d]:firsts[d + 1]]; term t finds the documents found[starts[t]:starts[t + 1]].
    """

    group: Ints  # of each item: the same for items that ask the same
    documents: Ints  # items x (fields and WHOLE): the number of the document, -1 where there is none
    item: Ints  # of each document
    square: Floats  # of each document: the sum of its terms' squares
    length: Ints  # of each document: tokens
    firsts: Longs
    terms: Ints
    keys: npt.NDArray[np.uint64]  # hash table of the terms: their hashes ...
    numbers: Ints  # ... and numbers
    squares: Floats  # of each term: its squared inverse document frequency
    figure: npt.NDArray[np.bool_]  # whether the term is a number
    starts: Longs
    found: Ints
    unknown: float  # the square of a term that no item has


class Index(NamedTuple):
    """The items, and what is looked up of them."""

    items: list[tuple[str, str]]  # benchmark, item_id
    lookup: Lookup


def build(rows: Iterable[tuple[str, str, str, str]]) -> Index:
    """The index of items: (benchmark, item_id, field, text) in any order; several texts of one field are one document."""
    texts: dict[tuple[str, str], dict[str, list[str]]] = {}
    for benchmark, item_id, name, text in sorted(set(rows)):
        texts.setdefault((benchmark, item_id), {}).setdefault(name, []).append(text)
    items = sorted(texts)
    names = [(name,) for name in FIELDS] + [("question", "choices")]
    made = [
        (number, field, "\n".join(text for name in names[field] for text in texts[item][name]))
        for field in sorted(range(len(names)), key=lambda field: field not in SEARCHED)  # they lie together
        for number, item in enumerate(items)
        if all(name in texts[item] for name in names[field])
    ]
    item, field = np.array([m[0] for m in made], np.int32), np.array([m[1] for m in made], np.int32)
    documents = np.full((len(items), len(names)), -1, np.int32)
    documents[item, field] = np.arange(len(made))
    strings = Strings.of(composed(pa.array([m[2] for m in made], pa.string())))
    words, pairs, figures, whole, bounds = read_all(strings, known_words())
    document = np.repeat(np.arange(len(made), dtype=np.int64), np.diff(bounds))
    paired = pairs != 0
    vocabulary, term = np.unique(np.concatenate([words, pairs[paired]]), return_inverse=True)
    size = max(len(vocabulary), 1)
    factor, figure = np.ones(size), np.zeros(size, np.bool_)
    factor[term[len(words) :][~whole[paired]]] = PAIR
    figure[term[: len(words)][figures]] = True
    held = np.unique(np.concatenate([document, document[paired]]) * size + term)  # the terms of each document, once
    owner, terms = (held // size).astype(np.int32), (held % size).astype(np.int32)
    asking = np.bincount(terms[field[owner] == 0], minlength=size)
    holders = np.where(asking, asking, np.bincount(terms[field[owner] != WHOLE], minlength=size))
    squares = (np.log((len(items) + 1) / (holders + 0.5)) * factor) ** 2
    square = np.maximum(np.bincount(owner, squares[terms], len(made)), 1e-9)
    starts, found = _finders(owner, terms, squares, square, np.isin(field, SEARCHED))
    lookup = Lookup(
        _groups(items, texts), documents, item, square, np.diff(bounds).astype(np.int32),
        np.searchsorted(owner, np.arange(len(made) + 1)).astype(np.int64), terms, *table(vocabulary), squares, figure,
        starts, found, float(np.log((len(items) + 1) / 0.5) ** 2),
    )  # fmt: skip
    return Index(items, lookup)


def _groups(items: list[tuple[str, str]], texts: dict[tuple[str, str], dict[str, list[str]]]) -> Ints:
    """Items whose questions have the same tokens are of one group."""
    questions = pa.array(["\n".join(texts[item].get("question", [f"{item}"])) for item in items], pa.string())
    found = tokenized(composed(questions))
    numbers: dict[bytes, int] = {}
    groups = [numbers.setdefault(found.hashes[a:b].tobytes(), len(numbers)) for a, b in pairwise(found.bounds)]
    return np.array(groups, np.int32)


def _finders(owner: Ints, terms: Ints, squares: Floats, square: Floats, searched: npt.NDArray[np.bool_]) -> tuple[Longs, Ints]:
    """(starts, found): the documents that each term finds: all that have it if it is rare, else those with few rarer ones."""
    kept = searched[owner]
    owner, terms = owner[kept], terms[kept]
    holders = np.bincount(terms, minlength=len(squares))
    order = np.lexsort((terms, holders[terms], owner))
    owner, terms = owner[order], terms[order]
    sums = np.concatenate([[0.0], np.cumsum(squares[terms])])
    before = sums[:-1] - sums[np.searchsorted(owner, owner)]
    used = (before < PREFIX * square[owner]) | (holders[terms] <= COMMON)
    owner, terms = owner[used], terms[used]
    order = np.lexsort((owner, terms))
    return np.searchsorted(terms[order], np.arange(len(squares) + 1)).astype(np.int64), owner[order]
