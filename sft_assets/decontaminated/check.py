"""`sft check canaries`: copies of test items planted among the rows, what the stage finds of them, what it flags for nothing.

copy       planted  3-8 words  9-19 words  20+ words  right item  or candidate
verbatim   1,312    100.0 %    100.0 %     100.0 %    100.0 %     100.0 %
truncated  1,312    0.0 %      91.7 %      98.8 %     99.4 %      98.1 %
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa

from sft_assets.decontaminated.canaries import PARAPHRASE, Canary, batches, number, planted
from sft_assets.decontaminated.overlap.protection import Item, Owner
from sft_assets.decontaminated.overlap.scan import Hit, Overlap, best, leaks
from sft_assets.decontaminated.overlap.words import words
from sft_assets.decontaminated.paraphrases.index import build
from sft_assets.decontaminated.paraphrases.nearest import Settings, candidates_in
from sft_assets.errors import SftError
from sft_assets.recipe import ContaminationCandidates, Recipe

WORDS = {"1-2": 0, "3-8": 3, "9-19": 9, "20+": 20}


class Recall(NamedTuple):
    """Of the copies of one kind, of items with so many words: planted, found, named rightly, and found or a candidate."""

    kind: str
    words: str
    planted: int
    found: int
    right: int
    candidates: int


class Flagged(NamedTuple):
    """What was flagged that is no leak: a decoy, or a row of the data that stays when no canary is there."""

    what: str
    item: str
    text: str
    matched: str


class Check(NamedTuple):
    """What `sft check canaries` tells. unprotected: items that no rule finds (not planted), by benchmark and reason."""

    recalls: list[Recall]
    missed: list[Canary]
    flagged: list[Flagged]
    decoys: int
    rows: int
    unprotected: dict[str, dict[str, int]]
    not_tested: list[str]


def check(
    rows: Iterable[tuple[str, str, str, str]],
    data: Callable[[], Iterable[pa.RecordBatch]],
    dropped: Container[bytes],
    recipe: Recipe,
    most: int = 200,
    paraphrases: Path | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Check:
    """Plant copies of at most so many items of each benchmark among the data's rows, run the stage's own functions, compare.

    rows: (benchmark, item_id, field, text). data: batches of row_id, messages and rejected; asked for twice. dropped: ids of
    the rows that the state has dropped. paraphrases: a file of {"item_id": ..., "text": ...}, with "benchmark" where benchmarks
    share an id.

    Raises:
        SftError: the file of paraphrases cannot be used; it says the line.
    """
    rows, section = list(rows), recipe.decontaminated
    overlap = Overlap(rows, section.ngram, section.coverage)
    missing = {entry[:2] for entry in overlap.unprotected}
    chosen = _chosen([item for item in overlap.items if item.owner not in missing], most, seed)
    asked = {tuple(words(text)) for item in overlap.items for text in item.of("question")}
    made = planted(chosen, _filler(data()), seed)
    canaries = [canary for canary in made if canary.leak or tuple(words(canary.turns[0][1])) not in asked]
    if paraphrases:
        canaries += _paraphrases(paraphrases, overlap.items)
    found = leaks(overlap, data(), progress)
    overlap.freeze()  # what is frequent in the data is not to depend on the canaries
    found = leaks(overlap, batches(canaries), progress) | found
    hits = {number(row_id): best(some) for row_id, some in found.items() if number(row_id) >= 0}
    nearest = _nearest(rows, canaries, recipe.contamination_candidates)
    leaking = [n for n, canary in enumerate(canaries) if canary.leak]
    decoys = [n for n, canary in enumerate(canaries) if not canary.leak]
    flagged = [_flagged(f"decoy, {canaries[n].kind}", hits[n], canaries[n].turns[0][1]) for n in decoys if n in hits]
    for row_id, some in found.items():
        if number(row_id) < 0 and row_id not in dropped:
            hit = best(some)
            flagged.append(_flagged(f"row {UUID(bytes=row_id)}", hit, hit.matched[0]))
    return Check(
        recalls=_recalls(overlap, canaries, leaking, hits, nearest),
        missed=[canaries[n] for n in leaking if n not in hits and canaries[n].kind != PARAPHRASE],
        flagged=flagged,
        decoys=len(decoys),
        rows=overlap.rows - len(canaries),
        unprotected={benchmark: dict(reasons) for benchmark, reasons in overlap.why_unprotected().items()},
        not_tested=[] if paraphrases else ["paraphrases (give a file of item_id and text: --paraphrases FILE)"],
    )


def _recalls(
    overlap: Overlap, canaries: list[Canary], leaking: list[int], hits: dict[int, Hit], nearest: dict[int, Owner]
) -> list[Recall]:
    asks = {item.owner: tuple(words(item.of("question")[0])) for item in overlap.items if item.of("question")}
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for n in leaking:
        canary, hit = canaries[n], hits.get(n)
        length = max((low, name) for name, low in WORDS.items() if low <= len(asks[canary.owner]))[1]
        named = hit.owners if hit else [nearest[n]] if n in nearest else []
        counted[canary.kind, length].update(
            planted=1,
            found=hit is not None,
            right=any(asks[owner] == asks[canary.owner] for owner in named),
            candidates=hit is not None or n in nearest,
        )
    kinds = dict.fromkeys(canaries[n].kind for n in leaking)
    return [Recall(kind, name, **counted[kind, name]) for kind in kinds for name in WORDS if (kind, name) in counted]


def _nearest(
    rows: list[tuple[str, str, str, str]], canaries: list[Canary], section: ContaminationCandidates
) -> dict[int, Owner]:
    """The first candidate of each canary that has one (by words: embeddings of all copies would take too long)."""
    index, first = build(rows), 0
    settings = Settings.of(section)
    found: dict[int, Owner] = {}
    for batch, some in candidates_in(index, batches(canaries), settings):
        found |= {first + one.row: (one.benchmark, one.item_id) for one in some if one.rank == 1}
        first += batch.num_rows
    return found


def _chosen(items: Sequence[Item], most: int, seed: int) -> list[Item]:
    """At most so many items of each benchmark, in their order."""
    chosen = []
    for _, some in groupby(items, key=lambda item: item.owner[0]):
        of_benchmark = list(some)
        kept = set(random.Random(seed).sample(range(len(of_benchmark)), min(most, len(of_benchmark))))
        chosen += [item for n, item in enumerate(of_benchmark) if n in kept]
    return chosen


def _filler(data: Iterable[pa.RecordBatch]) -> list[str]:
    """Some texts of the data to put copies among; one of ours where there are none."""
    for batch in data:
        texts = [turn["content"] for row in batch.column("messages").to_pylist() for turn in row if len(turn["content"]) > 100]
        if texts:
            return texts
    return ["There is nothing else in this data that could stand here, so that these words have to do."]


def _paraphrases(path: Path, items: Sequence[Item]) -> list[Canary]:
    known: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        known[item.owner[1]].append(item)
    result = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SftError(f"{path}: cannot be read: {error}") from None
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            item_id, text, benchmark = str(entry["item_id"]), str(entry["text"]), entry.get("benchmark")
        except (ValueError, KeyError, TypeError):
            raise SftError(
                f'{path}:{place}: a line is {{"item_id": "12", "text": "..."}}, with "benchmark" if need be'
            ) from None
        some = [item for item in known[item_id] if benchmark in (None, item.owner[0])]
        if len(some) != 1:
            what = "no test item has" if not some else f"{len(some)} benchmarks have"
            raise SftError(f'{path}:{place}: {what} the id {item_id!r}; say "benchmark" as the table benchmarks has it')
        result.append(Canary(PARAPHRASE, some[0].owner, [("user", text)]))
    return result


def _flagged(what: str, hit: Hit, text: str) -> Flagged:
    return Flagged(what, f"{' '.join(hit.owners[0])}: {hit.item}", text, " … ".join(hit.matched))
