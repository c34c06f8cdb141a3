"""Test items whose question means what a row asks: neighbours by sentence embeddings, a second signal beside the words.

row   user  "What keeps the Moon on its path?"
item  arc_challenge 12  "Which force holds the Moon in its orbit?"   ->   similarity 0.88
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


class Meant(NamedTuple):
    """The item whose question is most similar to one of a row's user turns."""

    item: int  # place in Index.items
    similarity: float  # cosine
    turn: int  # place among the row's messages


class Meanings:
    """The questions of an index' items as vectors."""

    def __init__(self, index: Index, questions: Sequence[str], embedder: Embedder):
        """questions: of each of index.items."""
        self.index, self.embedder, self.questions = index, embedder, questions
        self.vectors = embedder.embed(questions)

    def nearest(self, batch: pa.RecordBatch, similarity: float, numbers: float) -> dict[int, Meant]:
        """By row the nearest item, of rows where it is near enough and so large a share of the numbers agrees."""
        rows, turns, texts = asked(batch.column("messages"))
        best: dict[int, Meant] = {}
        vectors = self.embedder.embed(texts) if texts and len(self.vectors) else np.zeros((0, 1), np.float32)
        for first in range(0, len(vectors), TEXTS):
            similar = vectors[first : first + TEXTS] @ self.vectors.T
            for k, item in enumerate(similar.argmax(axis=1).tolist(), first):
                cosine = float(similar[k - first, item])
                if cosine < similarity or (rows[k] in best and best[rows[k]].similarity >= cosine):
                    continue
                if self.numbers_agree(item, texts[k], numbers):
                    best[rows[k]] = Meant(item, cosine, turns[k])
        return best

    def numbers_agree(self, item: int, text: str, least: float) -> bool:
        """Whether so large a share of the smaller side's numbers are on both sides."""
        ours, theirs = set(numbers(self.questions[item])), set(numbers(text))
        few = min(len(ours), len(theirs))
        return not few or len(ours & theirs) >= least * few


def asked(messages: Any) -> tuple[list[int], list[int], list[str]]:
    """(row, turn, text) of every user turn of a column of conversations."""
    turns = messages.flatten()
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_pylist()
    starts = accumulate(sizes, initial=0)
    bounds = enumerate(zip(starts, sizes, strict=False))
    places = [(row, turn, start + turn) for row, (start, size) in bounds for turn in range(size)]
    roles, contents = (pc.struct_field(turns, name).to_pylist() for name in ("role", "content"))
    kept = [(row, turn, contents[at]) for row, turn, at in places if roles[at] == "user" and (contents[at] or "").strip()]
    return [k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept]
