"""The gate of the benchmarks: generated rows that hold a test item, found and told as `decontaminated` does it.

    7c20...  benchmark_item  {"benchmark": "gsm8k_test", "item_id": "1", "field": "question", "turn": 1, "role": "user", ...}
    b1d4...  is marked with possible_test_item: an item in other words, perhaps (it falls only if the recipe says so)

Parts of an item count by those of its 3-grams that are not frequent in the rows of deduped, as they do for the rows of deduped
themselves. Generated rows do not count: a few dozen of them cannot tell what everybody writes ("Write a Python function to ..."
would be a leak), and a model that gives one item again and again would make its words frequent, and so no leak at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa

from sft_assets.augmented.candidate import Fall
from sft_assets.augmented.gates.gate import Found, Stream, batches_of, ids_of
from sft_assets.decontaminated.benchmarks.asset import FIELDS_OF_ITEMS
from sft_assets.decontaminated.overlap.scan import SHOWN, Hit, Overlap, best, evidence, leaks
from sft_assets.decontaminated.paraphrases.index import Index
from sft_assets.decontaminated.paraphrases.index import build as indexed
from sft_assets.decontaminated.paraphrases.nearest import Candidate, Settings, candidates
from sft_assets.recipe import ContaminationCandidates, Decontaminated
from sft_assets.scored.decision import POSSIBLE_TEST_ITEM


class Benchmarks:
    """The test items, indexed when the first rows come; the rows of deduped are read when the first of them holds a part."""

    def __init__(self, stream: Stream, section: Decontaminated, candidates: ContaminationCandidates):
        self.stream, self.section, self.settings = stream, section, Settings.of(candidates)

    def found(self, rows: pa.Table) -> Found:
        """Rows that hold an item: whole, a long run of its words, or most of what is its own; rejected answers too. Rows that
        may be one in other words are marked, or fall if `decontaminated.paraphrases` says drop."""
        if not self._items:
            return Found()
        hits = self._leaks(rows)
        named = {row_id: best(some) for row_id, some in hits.items()}
        falls = {row_id: Fall(hit.reason, evidence(hit, hits[row_id])) for row_id, hit in named.items()}
        others = {row_id: one for row_id, one in self._paraphrases(rows) if row_id not in falls}
        if self.section.paraphrases == "drop":
            return Found(falls | {row_id: Fall("benchmark_paraphrase", self._told(one)) for row_id, one in others.items()})
        return Found(falls, {row_id: [POSSIBLE_TEST_ITEM] for row_id in others})

    def _paraphrases(self, rows: pa.Table) -> Iterator[tuple[bytes, Candidate]]:
        """Rows with the item that they may be."""
        for batch in batches_of(rows):
            ids = ids_of(batch)
            yield from ((ids[one.row], one) for one in candidates(self._terms, batch, self.settings) if one.rank == 1)

    def _told(self, one: Candidate) -> dict[str, Any]:
        numbers = {"score": one.score, "margin": one.margin, "numbers": one.numbers}
        text = next(text for *owner, name, text in self._items if owner == [one.benchmark, one.item_id] and name == "question")
        return {
            "benchmark": one.benchmark,
            "item_id": one.item_id,
            "turn": "rejected" if one.rejected else one.turn,
            "role": one.role,
            **{name: round(float(value), 4) for name, value in numbers.items() if value is not None},
            "item": text[:SHOWN],
        }

    def _leaks(self, rows: pa.Table) -> dict[bytes, list[Hit]]:
        unread = self._overlap.unread()
        whole = [hit for _, hits in unread.read(batches_of(rows)) for hit in hits]
        if not unread.waiting:  # no parts: then what is frequent does not matter
            return {row_id: [hit for hit in whole if hit.row == row_id] for row_id in sorted({hit.row for hit in whole})}
        return leaks(self._frozen.unread(), batches_of(rows))

    @cached_property
    def _items(self) -> list[tuple[str, str, str, str]]:
        batches = self.stream(f"SELECT {FIELDS_OF_ITEMS} FROM benchmarks")
        return [row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)]

    @cached_property
    def _terms(self) -> Index:
        return indexed(self._items)

    @cached_property
    def _overlap(self) -> Overlap:
        total = next(self.stream("SELECT count(*) AS rows FROM deduped")).column("rows")[0].as_py()
        return Overlap(self._items, self.section.ngram, self.section.coverage, total)

    @cached_property
    def _frozen(self) -> Overlap:
        """The items with what is frequent in the rows of deduped."""
        overlap = self._overlap.unread()
        for _ in overlap.read(self.stream("SELECT row_id, messages, rejected FROM deduped")):
            pass
        overlap.freeze()
        return overlap.unread()
