"""Which rows hold test items: the index of the items, the texts of a batch, and the verdict on each.

    item gsm8k_test 1   "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes ..."
    row 9f3c...  user   "Answer step by step. Janet's ducks lay 16 eggs per day. She eats three for breakfast ..."

A whole item is a hit at once. Of a part, how frequent its 3-grams are in the rows has to be known first: it waits for the end
of the one pass. A part whose 3-grams are all frequent by now waits no longer, so each 3-gram keeps few rows waiting.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.decontaminated.overlap import index as indexing
from sft_assets.decontaminated.overlap.matching import Found, Matcher
from sft_assets.decontaminated.overlap.protection import (
    BUT_FOR_A_WORD,
    PASSAGE,
    SHORT,
    Item,
    Owner,
    Sought,
    Standing,
    Unprotected,
    asked,
    items_of,
    quotations,
    sought,
    uncommon,
    unprotected,
)
from sft_assets.decontaminated.overlap.surroundings import Sides, Text, bounded
from sft_assets.decontaminated.overlap.tiers import TIERS, Part, Run, Shared, owners_of, same_question, shared, tier_of
from sft_assets.decontaminated.overlap.turns import Turns, numbered
from sft_assets.engine import Engine, Job
from sft_assets.engine.local import LOCAL

Ints = npt.NDArray[np.int64]
FEWEST_ROWS, ROWS_PER = 10, 2000  # a 3-gram is frequent in more than 10 rows, or 1 in 2,000
SHOWN = 300  # characters of a text in the ledger
SPANS = 20  # of one item, in the ledger
WAITING = 20_000  # rows with parts; then those that are frequent by now are let go


class Hit(NamedTuple):
    """An item in a row.

    item: its text, of the field. owners: the items that have it, the one that is named first. where: the text of the row,
    spans: characters of it, matched: what they are. words: how many agree, share: of the item's. coverage: of a
    part, else None.
    """

    row: Any
    reason: str
    field: str
    item: str
    owners: list[Owner]
    where: Any
    matched: list[str]
    spans: list[tuple[int, int]]
    words: int
    share: float
    coverage: float | None


class Overlap:
    """Test items against rows.

    rows: (benchmark, item_id, field, text) in any order. total: of the rows that will be read, where it is known; then parts
    that are frequent already need not wait until the end.
    """

    def __init__(
        self, rows: Iterable[tuple[str, str, str, str]], ngram: int = 13, coverage: float = 0.5, total: int | None = None
    ):
        self.ngram, self.coverage, self.total = ngram, coverage, total
        self.items = list(items_of(rows))
        self.sought = sought(self.items)
        self.unprotected = unprotected(self.items, self.sought)
        quoted = [quotations(entry.text, entry.said) for entry in self.sought]
        self.index = indexing.build(self.sought, ngram, quoted)
        self.matcher = Matcher(self.index)
        self.waiting: dict[Any, list[tuple[Part, _Place]]] = defaultdict(list)
        self.rows = 0
        self.frequency = np.zeros(self.index.grams, np.int64)  # texts read that hold each gram, but for whole items
        self._let_go_at = WAITING
        self._frozen: npt.NDArray[np.bool_] | None = None
        self._anchors = _by_text(self.index, len(self.sought))
        self.unprotected += self._not_found()

    def _not_found(self) -> list[Unprotected]:
        """Items that are not found though they should be: each is tried, as it is put to a model."""
        known = {entry[:2] for entry in self.unprotected}
        items = [item for item in self.items if item.owner not in known]
        twin = self.unread()
        found: set[tuple[int, Owner]] = set()
        for _, hits in twin.read(numbered([("user", "\n".join([*item.of("context"), asked(item)]))] for item in items)):
            found.update((int.from_bytes(hit.row, "big"), owner) for hit in hits for owner in hit.owners)
        missing = [item for n, item in enumerate(items) if (n, item.owner) not in found]
        return [Unprotected(*item.owner, "not_found", asked(item)) for item in missing]

    def unread(self) -> Overlap:
        """The same items, of which no row was read; what is frozen stays so."""
        twin = copy(self)
        twin.waiting, twin.rows, twin.frequency = defaultdict(list), 0, np.zeros_like(self.frequency)
        return twin

    def why_unprotected(self) -> defaultdict[str, Counter[str]]:
        """The unprotected items of each benchmark that has any, counted by reason."""
        why: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in self.unprotected:
            why[item.benchmark][item.why] += 1
        return why

    # ------------------------------------------------------------------------------------------------------- a pass

    def read(self, batches: Iterable[pa.RecordBatch], engine: Engine = LOCAL) -> Iterator[tuple[int, list[Hit]]]:
        """(rows of a batch, its whole items) batch by batch; batches have row_id, messages and rejected."""
        with engine.workers(Job("scans", partial(_finding, self.matcher))) as workers:
            texts = ((turns, [column.texts for column in turns.columns]) for turns in map(Turns.of, batches))
            for turns, found in workers.map_of(texts):
                yield self._judged(turns, found)

    def _judged(self, turns: Turns, found: list[Found]) -> tuple[int, list[Hit]]:
        self.rows += turns.rows
        pairs: dict[int, list[_Pair]] = defaultdict(list)
        for column, (runs, grams, counts) in zip(turns.columns, found, strict=True):
            self.frequency[grams] += counts
            for text, item, some in runs.by_pair():
                place = column.place(text)
                pairs[place.row].append(_Pair(item, place, some))
        hits = []
        for row in sorted(pairs):
            hits += self._row(turns, row, pairs[row])
        if self.total and len(self.waiting) > self._let_go_at:
            self._let_go()
        return turns.rows, hits

    def _row(self, turns: Turns, row: int, pairs: list[_Pair]) -> list[Hit]:
        texts: dict[Any, Text] = {}

        def text_at(place: Any) -> Text:
            return texts.setdefault(place, Text(turns.text(place)))

        found = [(p, s) for p in pairs for s in shared(len(self.sought[p.item].said), p.runs, text_at(p.place))]
        passages = frozenset(
            item.owner
            for p, s in found
            if self.sought[p.item].field == "context" and s.matched >= PASSAGE * len(self.sought[p.item].said)
            for item in self.sought[p.item].owners
        )
        questions = [(p, s) for p, s in found if self.sought[p.item].field != "context"]
        hits: list[Hit] = []
        for p, s in questions:
            if s.whole:
                text, following = text_at(p.place), turns.after(p.place)
                sides = Sides(text, text_at(following) if following else None, s.spans[0][0], s.spans[-1][1])
                if owners := owners_of(self.sought[p.item], sides, passages):
                    hits.append(self._hit(turns, p, s, text, owners))
        for p, s in questions if not hits else ():
            text = text_at(p.place)
            if not s.whole and (part := self._part(p, s, text)):
                self.waiting[turns.row_id(row)].append((part, self._place(turns, p, s, text)))
        return hits

    def _part(self, pair: _Pair, found: Shared, text: Text) -> Part | None:
        entry, said = self.sought[pair.item], self.sought[pair.item].said
        places, grams = self._anchors[pair.item]
        if entry.standing < Standing.ANYWHERE or not len(grams):
            return None
        inside = found.seen[places] & found.seen[places + indexing.GRAM - 1]
        if not inside.any():
            return None
        by_itself = len(found.spans) == 1 and bounded(text.text, *found.spans[0])
        if len(said) < SHORT and not by_itself and found.matched < BUT_FOR_A_WORD * len(said):
            return None
        if not same_question(found, said, text):
            return None
        run = max(pair.runs, key=lambda run: run[2])
        told = uncommon(word for word, there in zip(said, found.seen, strict=True) if there and not word.isdigit())
        missing = uncommon(word for word, there in zip(said, found.seen, strict=True) if not there)
        run_told = uncommon(said[run[1] : run[1] + run[2]])
        return Part(
            pair.item, found, len(said), by_itself, run_told, told, missing, entry.field == "solution", grams[inside], grams
        )

    def _place(self, turns: Turns, pair: _Pair, found: Shared, text: Text) -> _Place:
        return _Place(turns.described(pair.place), found.spans, [text.text[a:b] for a, b in found.spans])

    def _hit(self, turns: Turns, pair: _Pair, found: Shared, text: Text, owners: list[Item]) -> Hit:
        entry, place = self.sought[pair.item], self._place(turns, pair, found, text)
        return _named(turns.row_id(pair.place.row), 0, entry, owners, place, found, len(self.sought[pair.item].said), None)

    # -------------------------------------------------------------------------------------------------- after it

    def freeze(self) -> None:
        """Let what is frequent now stay so: rows that are read from here on are judged, but they do not count."""
        self._frozen = self.live()

    def live(self) -> npt.NDArray[np.bool_]:
        """Which 3-grams of the index say something: those that are not frequent in the rows."""
        if self._frozen is not None:
            return self._frozen
        most = max(FEWEST_ROWS, (self.total or self.rows) // ROWS_PER)
        return self.frequency <= most

    def parts(self) -> Iterator[Hit]:
        """The parts of items that make a leak, once all rows are read."""
        live = self.live()
        while self.waiting:
            row_id, waiting = self.waiting.popitem()
            for part, place in waiting:
                tier = tier_of(part, live, self.ngram, self.coverage)
                if tier is not None:
                    entry = self.sought[part.item]
                    yield _named(row_id, tier, entry, entry.owners, place, part.found, part.length, part.coverage(live))

    def _let_go(self) -> None:
        """Forget parts of which all 3-grams are frequent: more rows make them no rarer, so the order of rows plays no part."""
        live = self.live()
        for row_id in list(self.waiting):
            kept = [(part, place) for part, place in self.waiting[row_id] if live[part.hit].any()]
            if kept:
                self.waiting[row_id] = kept
            else:
                del self.waiting[row_id]
        self._let_go_at = max(WAITING, 2 * len(self.waiting))


class _Pair(NamedTuple):
    item: int
    place: Any
    runs: list[Run]


class _Place(NamedTuple):
    where: Any
    spans: list[tuple[int, int]]
    matched: list[str]


def _named(
    row: Any, tier: int, entry: Sought, owners: list[Item], place: _Place, found: Shared, length: int, coverage: float | None
) -> Hit:
    return Hit(
        row, TIERS[tier], entry.field, entry.text, [item.owner for item in owners], place.where, place.matched, place.spans,
        found.matched, found.matched / length, coverage,
    )  # fmt: skip


def _finding(matcher: Matcher) -> Callable[[list[Any]], list[Found]]:
    return lambda columns: [matcher.find(texts) for texts in columns]


def leaks(
    overlap: Overlap,
    batches: Iterable[pa.RecordBatch],
    progress: Callable[[int], None] = lambda done: None,
    engine: Engine = LOCAL,
) -> dict[bytes, list[Hit]]:
    """The hits of each row that has any, by row_id, in the order of the ids: one pass over the batches."""
    found: dict[bytes, list[Hit]] = defaultdict(list)
    done = 0
    for rows, hits in overlap.read(batches, engine):
        for hit in hits:
            found[hit.row].append(hit)
        done += rows
        progress(done)
    for hit in overlap.parts():
        found[hit.row].append(hit)
    return {row_id: found[row_id] for row_id in sorted(found)}


def best(hits: Iterable[Hit]) -> Hit:
    """Of a row's hits a whole item before a part, then the one with the most words, then the first by name.

    Items of which the row has just as much are its owners too.
    """
    hits = sorted(hits, key=lambda hit: (*_rank(hit), hit.owners, hit.spans))
    alike = [owner for hit in hits if _rank(hit) == _rank(hits[0]) for owner in hit.owners]
    return hits[0]._replace(owners=list(dict.fromkeys(alike)))


def _rank(hit: Hit) -> tuple[int, float]:
    return TIERS.index(hit.reason), -hit.words * (hit.coverage or 1.0)


def evidence(hit: Hit, hits: Sequence[Hit]) -> dict[str, Any]:
    """What the ledger says of a row: the item, the place in the row (spans: characters of that turn's text), and both texts."""
    (benchmark, item_id), *others = hit.owners
    items = {owner for other in hits for owner in other.owners}
    return {
        "benchmark": benchmark,
        "item_id": item_id,
        "field": hit.field,
        "turn": hit.where.turn,
        "role": hit.where.role,
        **({} if hit.where.part == "content" else {"part": hit.where.part}),
        "spans": hit.spans[:SPANS],
        "words": hit.words,
        **({} if hit.coverage is None else {"share": round(hit.share, 3), "coverage": round(hit.coverage, 3)}),
        "matched": " … ".join(hit.matched)[:SHOWN],
        "item": hit.item[:SHOWN],
        **({"also": [" ".join(owner) for owner in others[:SPANS]]} if others else {}),
        **({"items_in_row": len(items)} if len(items) > len(hit.owners) else {}),
    }


def warm_up() -> None:
    """Compile or load every kernel of this stage, on a handful of rows."""
    overlap = Overlap([("a", "1", "question", "Which don’t add 1,000 to the length of a river that has 3 banks?")])
    overlap.matcher.find(pa.array(["Which add 1,000 to the length of a river that has 3 banks?", "é"]))


def _by_text(index: indexing.Index, texts: int) -> list[tuple[Ints, Ints]]:
    """(places, grams) of each text's own 3-grams."""
    grams = np.repeat(np.arange(index.grams), np.diff(index.posts))
    some = np.flatnonzero(index.telling)
    some = some[np.lexsort((index.places[some], index.texts[some]))]
    edges = np.searchsorted(index.texts[some], np.arange(texts + 1))
    return [(index.places[some[a:b]].astype(np.int64), grams[some[a:b]]) for a, b in pairwise(edges)]
