"""Which rows may hold a test item in other words: the nearest item of each row, nominated for a judge or a person.

    item gsm8k_test 1  "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning ..."
    row 9f3c...  user  "Janet's ducks produce 16 eggs each day. She consumes three of them for her morning meal ..."
    ->  rank 1  score 0.61  margin 0.47  question 0.61  answer 0.00  numbers 4 of 4

Words are compared by their stems, numbers by their values ("three" is 3), the commonest synonyms are one word. The score is the
TF-IDF cosine of an item's question, alone or with its choices, with that stretch of a turn, about as long, which is most like
it; the other fields of the item add to it where they are in the row too. Short replies ("It is a bank.") are read for those
other fields only. Nothing is dropped by it.

Everything is linear in the rows: an inverted index over the items' rarer terms finds a few items for each stretch of a row, and
only those are compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import MESSAGES
from sft_assets.decontaminated.benchmarks.items import FIELDS
from sft_assets.decontaminated.paraphrases.index import Index, Lookup, build
from sft_assets.decontaminated.paraphrases.kernel import RANKS, compare_rows, room_for
from sft_assets.decontaminated.paraphrases.meaning import Meanings, Meant
from sft_assets.decontaminated.paraphrases.terms import known_words
from sft_assets.engine import Engine, Job
from sft_assets.engine.local import LOCAL
from sft_assets.recipe import ContaminationCandidates
from sft_assets.text import characters
from sft_assets.text.kernel import Strings, composed

REPLIES = ("assistant", "tool")  # roles that answer what others ask

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Nearest(NamedTuple):
    """The nearest items of each row, best first: rows x RANKS; -1 and zeros where there are fewer.

    Where the best question is under WEAK the other fields were not compared, and are 0.
    """

    item: Ints  # place in Index.items
    score: Floats
    margin: Floats  # how far the score is above that of the best item behind it which asks something else
    fields: Floats  # rows x RANKS x FIELDS: cosines
    turn: Ints  # place among the row's turns, those of the rejected answer last
    figures: Ints  # rows x RANKS x 3: different numbers in what the item asks, in the stretch of the turn, and in both


class Candidate(NamedTuple):
    """An item that a row of a batch may hold. `turn` counts from 1; of the rejected answer it goes on after the messages."""

    row: int
    rank: int  # from 1
    benchmark: str
    item_id: str
    score: float | None  # these three are of the words: None of an item that only embeddings name
    margin: float | None
    numbers: float | None
    fields: dict[str, float]
    embedding: float | None  # cosine, of the nearest item by meaning
    turn: int
    role: str
    rejected: bool


# ------------------------------------------------------------------------------------------------------------ the rule


class Settings(NamedTuple):
    """From which strength on a row is a candidate, and from which score in any case (see `flagged`)."""

    strength: float = 0.75  # of 2
    score: float = 0.72  # of 1
    numbers: float = 0.5  # share
    similarity: float = 0.85  # of 1, by embeddings

    @classmethod
    def of(cls, section: ContaminationCandidates) -> Settings:
        """As a recipe has them."""
        return cls(section.strength, section.score, section.numbers, section.similarity)


def flagged(score: Any, margin: Any, figures: Any, settings: Settings = Settings()) -> Any:
    """Whether the nearest item is a candidate; of numbers or arrays of one shape (figures: with three values more).

    Either it stands out: score and margin together reach `strength`, the less the fewer numbers agree. Or it is close enough to
    be a copy, however near other items are: `score`, unless fewer than `numbers` of the smaller side's numbers agree.
    """
    few = np.minimum(figures[..., 0], figures[..., 1])
    held = np.where(few > 0, figures[..., 2] / np.maximum(few, 1), 1.0)
    return (strength(score, margin, figures) >= settings.strength) | ((score >= settings.score) & (held >= settings.numbers))


def strength(score: Any, margin: Any, figures: Any) -> Any:
    """Score and margin: whole where all numbers agree (or there are none), half where none does."""
    return (score + margin) * (0.5 + 0.5 * agreement(figures))


def agreement(figures: Any) -> Any:
    """Dice coefficient of the numbers of an item and of a stretch of a turn; 1 where neither has any."""
    both = figures[..., 0] + figures[..., 1]
    return np.where(both > 0, 2 * figures[..., 2] / np.maximum(both, 1), 1.0)


# ------------------------------------------------------------------------------------------------------------ the rows


class Side(NamedTuple):
    """The turns of one column of conversations: row i has the turns bounds[i] to bounds[i + 1]."""

    bounds: Longs
    offsets: Longs
    data: npt.NDArray[np.uint8]
    asks: npt.NDArray[np.bool_]  # of each turn: whether it is none that replies


def candidates(
    index: Index, batch: pa.RecordBatch, settings: Settings = Settings(), meanings: Meanings | None = None
) -> list[Candidate]:
    """The rows of a batch of which the nearest item is a candidate, in their order, each with its next items as well.

    batch: columns messages and rejected, as the state tables have them. Content and reasoning of every turn are read. meanings:
    a row whose nearest item by embeddings is near enough, with numbers that agree, is a candidate too.
    """
    return _flagged(index, batch, nearest(index, batch), settings, meanings)


def candidates_in(
    index: Index,
    batches: Iterable[pa.RecordBatch],
    settings: Settings = Settings(),
    meanings: Meanings | None = None,
    engine: Engine = LOCAL,
) -> Iterator[tuple[pa.RecordBatch, list[Candidate]]]:
    """Each batch with its `candidates`."""
    with engine.workers(Job("scans", partial(_nearing, index.lookup))) as workers:
        for batch, near in workers.map(batches):
            yield batch, _flagged(index, batch, near, settings, meanings)


def _nearing(lookup: Lookup) -> Callable[[pa.RecordBatch], Nearest]:
    return partial(_nearest, lookup)


def _flagged(
    index: Index, batch: pa.RecordBatch, near: Nearest, settings: Settings, meanings: Meanings | None
) -> list[Candidate]:
    by_words = (near.item[:, 0] >= 0) & flagged(near.score[:, 0], near.margin[:, 0], near.figures[:, 0], settings)
    meant = meanings.nearest(batch, settings.similarity, settings.numbers) if meanings else {}
    made = []
    for row in sorted({*np.flatnonzero(by_words).tolist(), *meant}):
        turns = [turn for name in ("messages", "rejected") for turn in batch.column(name)[row].as_py() or ()]
        messages = len(batch.column("messages")[row].as_py() or ())
        enough = near.score[row] >= near.score[row, 0] / 2
        ranks = [rank for rank in range(RANKS) if by_words[row] and near.item[row, rank] >= 0 and enough[rank]]
        some = [_candidate(index, near, row, rank, turns, messages) for rank in ranks]
        if row in meant:
            some = _with_meaning(index, meant[row], row, turns, some)
        made += [one._replace(rank=rank) for rank, one in enumerate(some, 1)]
    return made


def _candidate(index: Index, near: Nearest, row: int, rank: int, turns: list[Any], messages: int) -> Candidate:
    item, turn = int(near.item[row, rank]), int(near.turn[row, rank])
    held = index.lookup.documents[item] >= 0
    fields = {name: float(near.fields[row, rank, f]) for f, name in enumerate(FIELDS) if held[f]}
    return Candidate(
        row=row,
        rank=rank + 1,
        benchmark=index.items[item][0],
        item_id=index.items[item][1],
        score=float(near.score[row, rank]),
        margin=float(near.margin[row, rank]),
        numbers=float(agreement(near.figures[row, rank])),
        fields=fields,
        embedding=None,
        turn=turn + 1,
        role=turns[turn]["role"],
        rejected=turn >= messages,
    )


def _with_meaning(index: Index, meant: Meant, row: int, turns: list[Any], some: list[Candidate]) -> list[Candidate]:
    """A row's candidates with the one by meaning among them; one that words and meaning both name comes first."""
    benchmark, item_id = index.items[meant.item]
    same = [one for one in some if (one.benchmark, one.item_id) == (benchmark, item_id)]
    others = [one for one in some if one not in same]
    if same:
        return [same[0]._replace(embedding=meant.similarity), *others]
    new = Candidate(
        row=row, rank=0, benchmark=benchmark, item_id=item_id, score=None, margin=None, numbers=None, fields={},
        embedding=meant.similarity, turn=meant.turn + 1, role=turns[meant.turn]["role"], rejected=False,
    )  # fmt: skip
    return [*others, new]


def nearest(index: Index, batch: pa.RecordBatch) -> Nearest:
    """The nearest items of each row of a batch, whether they are near or not (columns as `candidates` reads them)."""
    return _nearest(index.lookup, batch)


def _nearest(lookup: Lookup, batch: pa.RecordBatch) -> Nearest:
    rows, shape = batch.num_rows, (batch.num_rows, RANKS)
    out = Nearest(
        np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.float32),
        np.zeros((*shape, len(FIELDS)), np.float32), np.full(shape, -1, np.int32), np.zeros((*shape, 3), np.int32),
    )  # fmt: skip
    if not rows or not len(lookup.item):
        return out
    messages, rejected = (_side(batch.column(name)) for name in ("messages", "rejected"))
    text = messages.offsets[messages.bounds] + rejected.offsets[rejected.bounds]
    turns = np.diff(messages.bounds) + np.diff(rejected.bounds)
    room = room_for(int(np.diff(text).max()) + 8, int(turns.max()) + 1, lookup)
    compare_rows(0, rows, messages, rejected, *characters.tables(), *known_words(), lookup, room, out)
    return out


def _side(column: Any) -> Side:
    """The texts (reasoning and content) of a column of conversations."""
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    turns = column.flatten()
    names = [turns.type.field(i).name for i in range(turns.type.num_fields)]
    role, reasoning, content = (turns.field(names.index(name)) for name in ("role", "reasoning", "content"))
    if reasoning.null_count < len(reasoning):
        content = pc.binary_join_element_wise(reasoning, pc.fill_null(content, ""), "\n", null_handling="skip")
    asks = pc.invert(pc.is_in(role, pa.array(REPLIES))).to_numpy(zero_copy_only=False)
    return Side(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), *Strings.of(composed(content)), asks)


def warm_up() -> None:
    """Compile or load every kernel of this tier, on a handful of rows."""
    index = build([("a", "1", name, f"{name} of 21 ducks that lay eggs every day") for name in ("question", "answer")])
    turns = [{"role": "user", "content": "How many eggs do twenty-one ducks lay?"}]
    nothing = pa.nulls(1, MESSAGES)
    nearest(index, pa.record_batch({"messages": pa.array([turns], MESSAGES), "rejected": nothing}))
