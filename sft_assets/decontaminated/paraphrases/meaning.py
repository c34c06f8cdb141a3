"""Test items whose question means what a row asks: neighbours by sentence embeddings, a second signal beside the words.

row   user  "What keeps the Moon on its path?"
item  arc_challenge 12  "Which force holds the Moon in its orbit?"   ->   similarity 0.88  margin 0.31
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.decontaminated.paraphrases.index import Index
from sft_assets.models.embedder import Embedder
from sft_assets.text import numbers

TEXTS = 1024  # compared with the items at a time
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Meant(NamedTuple):
    """Of each row of a batch the item whose question is most similar to one of its user turns; -1 and zeros without any."""

    item: Ints  # place in Index.items
    similarity: Floats  # cosine
    margin: Floats  # to the most similar item that asks something else
    turn: Ints  # place among the row's messages


class Meanings:
    """The questions of an index' items as vectors."""

    def __init__(self, index: Index, questions: Sequence[str], embedder: Embedder):
        """questions: of each of index.items."""
        self.index, self.embedder, self.questions = index, embedder, questions
        self.vectors = embedder.embed(questions)

    def nearest(self, batch: pa.RecordBatch) -> Meant:
        """The nearest item of each row (columns row_id and messages)."""
        rows, turns, texts = asked(batch.column("messages"))
        n = batch.num_rows
        found = Meant(np.full(n, -1), np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int64))
        if not texts or not len(self.vectors):
            return found
        group = self.index.lookup.group
        vectors = self.embedder.embed(texts)
        for first in range(0, len(texts), TEXTS):
            similar = vectors[first : first + TEXTS] @ self.vectors.T
            best = similar.argmax(axis=1)
            for k, item in enumerate(best.tolist()):
                row, one = rows[first + k], similar[k]
                if one[item] > found.similarity[row]:
                    found.item[row], found.similarity[row], found.turn[row] = item, one[item], turns[first + k]
                    found.margin[row] = one[item] - np.where(group == group[item], -1.0, one).max()
        return found

    def numbers_agree(self, item: int, text: str, least: float) -> bool:
        """Whether so large a share of the smaller side's numbers are on both sides."""
        ours, theirs = set(numbers(self.questions[item])), set(numbers(text))
        few = min(len(ours), len(theirs))
        return not few or len(ours & theirs) >= least * few


def asked(messages: Any) -> tuple[list[int], list[int], list[str]]:
    """(row, turn, text) of every user turn of a column of conversations."""
    roles = pc.equal(pc.struct_field(messages.values, "role"), "user").to_pylist()
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_pylist()
    starts = accumulate(sizes, initial=int(messages.offsets[0].as_py()) if len(messages) else 0)
    bounds = enumerate(zip(starts, sizes, strict=False))
    places = [(row, turn, start + turn) for row, (start, size) in bounds for turn in range(size)]
    some = [(row, turn, place) for row, turn, place in places if roles[place]]
    texts = pc.struct_field(messages.values, "content").take(pa.array([p for _, _, p in some], pa.int64())).to_pylist()
    kept = [(row, turn, text) for (row, turn, _), text in zip(some, texts, strict=True) if text and text.strip()]
    return [k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept]
