"""Semantic duplicates: the same question and the same answer in other words.

    "How do I boil an egg?"  "Eight minutes in hot water."      prompt 0.97
    "How should I boil eggs?"  "In hot water for eight minutes."  answer 0.95   ->  one of them goes

Sentence embeddings of the prompt and of the answer must both be above their thresholds. A hard negative (other numbers, the
other polarity) scores as high as a paraphrase, so a guard keeps rows apart whose numbers, negations or code differ. The search
for neighbours is exact (scikit-learn) up to `exact_rows`, beyond that approximate (pynndescent) with its recall measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.deduped.near import Duplicates, Order
from sft_assets.deduped.profiles import Profiles
from sft_assets.engine import Engine
from sft_assets.engine.local import LOCAL
from sft_assets.models.embedder import Embedder
from sft_assets.recipe import Semantic
from sft_assets.text import normal, numbers, tokens
from sft_assets.text.parts import CODE

NEIGHBOURS = 30  # of each row, in the approximate search
SAMPLE = 500  # rows on which its recall is measured
ROUNDS = 8
NEGATIONS = frozenset({
    "not", "no", "never", "none", "nothing", "nor", "neither", "nobody", "nowhere", "without", "cannot", "cant", "wont", "dont",
    "nicht", "kein", "keine", "keinen", "nie", "niemals", "ohne", "ne", "pas", "jamais", "sans", "non", "sin", "nunca", "jamás",
    "não", "nem", "sem", "не", "нет", "ни", "без", "不", "没", "沒", "無", "无", "非", "未",
})  # fmt: skip
NUMBER_WORDS = frozenset({
    "zero", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy",
    "eighty", "ninety", "hundred", "thousand", "million", "billion", "half", "twice", "double", "first", "second", "third",
})  # fmt: skip
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Said(NamedTuple):
    """A row's two sides as one text each: what the user said, what the assistant answered (the losing answer behind it)."""

    prompt: str
    answer: str


class Marks(NamedTuple):
    """What paraphrases share: rows whose marks differ are not the same."""

    numbers: tuple[tuple[str, ...], ...]
    negations: tuple[int, ...]
    code: tuple[str, ...]


def marks(said: Said) -> Marks:
    """The numbers of each side in any order, how many negations it has, and the code in it."""
    return Marks(
        tuple(tuple(sorted([*numbers(side), *NUMBER_WORDS.intersection(tokens(side))])) for side in said),
        tuple(sum(word in NEGATIONS or word.endswith("n't") for word in tokens(side)) for side in said),
        tuple(normal(found[0]) for side in said for found in CODE.finditer(side)),
    )


def said_in(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Said]]:
    """(number, sides) of each row of batches with the columns number, messages and rejected."""
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("number", "messages", "rejected"))
        for number, messages, rejected in zip(*columns, strict=True):
            sides = [
                "\n".join(turn["content"] for turn in turns if turn["role"] == role)
                for turns, role in ((messages, "user"), ([*messages, *(rejected or ())], "assistant"))
            ]
            yield number, Said(*sides)


def semantic_duplicates(
    rows: Profiles,
    found: Duplicates,
    said: dict[int, Said],
    embedder: Embedder,
    section: Semantic,
    priority: Ints,
    progress: Callable[[int], None] = lambda done: None,
    held: npt.NDArray[np.bool_] | None = None,
    engine: Engine = LOCAL,
) -> dict[str, Any]:
    """Put into `found` the semantic duplicates among the rows that stay. said: of each of them. held: rows that will be kept
    whatever is found of them; those that stay and are near them are tied to them.

    Returns what is to be reported: how the neighbours were sought and with what recall.
    """
    order = Order(rows, priority).sorted(np.flatnonzero(found.stays))
    texts = [side for row in order for side in said[int(row)]]
    vectors = embedder.embed(texts, progress, engine).reshape(len(order), 2, -1)
    of = np.full(len(order), -1, np.int64)  # by place in the order, as are all numbers here
    similarity = np.ones((len(order), 2))
    guarded: set[tuple[int, int]] = set()
    tied: set[tuple[int, int]] = set()  # for a row that is held
    holds = np.zeros(len(order), np.bool_) if held is None else held[order]
    least = (section.prompt + section.answer) / 2
    both = np.ascontiguousarray(vectors.reshape(len(order), -1)) / np.float32(np.sqrt(2))
    kinds = rows.kind[order]
    report: dict[str, Any] = {"search": "exact"}
    seen: dict[int, Marks] = {}

    def marked(place: int) -> Marks:
        return seen.get(place) or seen.setdefault(place, marks(said[int(order[place])]))

    for _ in range(ROUNDS):
        left = np.flatnonzero(of < 0)
        neighbours, report = _neighbours(both[left], least, section.exact_rows)
        gone = 0
        for place, others in zip(left.tolist(), neighbours, strict=True):
            for other in np.sort(left[others]).tolist():
                if other >= place or (of[other] >= 0 and not holds[other]) or kinds[other] != kinds[place]:
                    continue
                alike = (vectors[place] * vectors[other]).sum(axis=1)
                if alike[0] < section.prompt or alike[1] < section.answer:
                    continue
                if rows.scope[order[place]] != rows.scope[order[other]] or marked(place) != marked(other):
                    guarded.add((int(order[other]), int(order[place])))
                    continue
                if of[other] >= 0 or of[place] >= 0:
                    tied.add((int(order[other]), int(order[place])))
                    continue
                of[place], similarity[place] = other, alike
                gone += 1
                if not holds[place]:
                    break
        if not gone or report["search"] == "exact":
            break
    went = np.flatnonzero(of >= 0)
    _take(found, order[went], order[of[went]], similarity[went])
    stays = found.stays if held is None else found.stays | held
    found.tie([(a, b) for a, b in guarded | tied if stays[a] and stays[b]], rows.row_id)
    return {**report, "model": embedder.name, "rows": len(order), "dropped": len(went), "kept_by_guard": len(guarded)}


def _take(found: Duplicates, gone: Ints, keepers: Ints, similarity: npt.NDArray[np.float64]) -> None:
    """Mark rows as gone; a row that named one of them names its keeper now, and says through which row."""
    found.of[gone], found.meaning[gone] = keepers, similarity
    to = np.full(len(found.of), -1, np.int64)
    to[gone] = keepers
    through = np.flatnonzero((found.of >= 0) & (to[found.of] >= 0))
    found.through[through] = np.where(found.through[through] < 0, found.of[through], found.through[through])
    found.exact[through], found.meaning[through] = False, found.meaning[found.of[through]]
    found.of[through] = to[found.of[through]]


def _neighbours(vectors: Floats, least: float, exact_rows: int) -> tuple[Iterable[Ints], dict[str, Any]]:
    """For each vector those with a cosine of `least` or more, and how they were sought."""
    from sklearn.neighbors import NearestNeighbors

    radius = float(np.sqrt(max(2 - 2 * least, 0))) + 1e-6  # of unit vectors, as a Euclidean distance
    exact = NearestNeighbors(radius=radius, algorithm="brute").fit(vectors) if len(vectors) else None
    if exact is None:
        return [], {"search": "exact"}
    if len(vectors) <= exact_rows:
        return exact.radius_neighbors(return_distance=False), {"search": "exact"}
    from pynndescent import NNDescent

    index = NNDescent(vectors, metric="euclidean", n_neighbors=NEIGHBOURS, random_state=0)
    numbers_, distances = index.neighbor_graph
    near = [row[d <= radius] for row, d in zip(numbers_, distances, strict=True)]
    sample = np.random.default_rng(0).choice(len(vectors), min(SAMPLE, len(vectors)), replace=False)
    truth = exact.kneighbors(vectors[sample], NEIGHBOURS, return_distance=False)
    hits = Counter[bool]()
    for row, neighbours in zip(sample, truth, strict=True):
        hits.update(n in set(numbers_[row]) for n in neighbours)
    return near, {"search": "approximate", "recall": round(hits[True] / max(hits.total(), 1), 4), "recall_sample": len(sample)}
