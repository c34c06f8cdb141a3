"""Decontamination against a plain Python scan that does the same, and against the usual 13-gram scan over str.split().

    .venv/bin/python -m tests.speed.decontaminated [ROWS] [ITEMS]

Questions and rows are made of sentences of a seeded grammar, one row in fifty with a copy of an item (whole, cut, or with words
changed). Ours: tiers 1 to 3 with evidence, hits confirmed on text, on one thread and on all of them. Plain Python: the same
anchors, runs and verdicts on strings. 13-grams: a set of the items' lower-case 13-grams, any of which flags a row. In one
process, in turns, each over all of the rows (the plain ones over a part); the figures are medians. `candidates` is the fourth
tier.

    .venv/bin/python -m tests.speed.decontaminated corpus

The same on the public data where it is there: its test sets and 14,000 questions of its training sets as items, its other files
as rows.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from rich.console import Console
from rich.table import Table

from sft_assets.cores import cores
from sft_assets.decontaminated.asset import BATCH
from sft_assets.decontaminated.canaries import Canary, batches
from sft_assets.decontaminated.overlap.scan import Overlap, leaks
from sft_assets.decontaminated.paraphrases.index import build
from sft_assets.decontaminated.paraphrases.nearest import candidates_in
from sft_assets.engine.local import Local
from tests.plain_matcher import PlainMatcher

Row = list[tuple[str, str]]
Items = list[tuple[str, str, str, str]]
TURNS = 3
PART = 20  # of the rows, that plain Python reads one


class Grammar:
    """Sentences with a vocabulary as uneven as that of a language, and phrases that come again and again."""

    def __init__(self) -> None:
        self.chance = random.Random(1)
        letters = "etaoinshrdlucmfwypvbgkqjxz"
        self.words = ["".join(self.chance.choices(letters, k=self.chance.randint(2, 9))) for _ in range(20_000)]
        self.weights = list(accumulate(1 / (n + 10) for n in range(len(self.words))))
        self.phrases = [" ".join(self._some(self.chance.randint(3, 6))) for _ in range(2000)]

    def _some(self, n: int) -> list[str]:
        return self.chance.choices(self.words, cum_weights=self.weights, k=n)

    def text(self, words: int) -> str:
        """Sentences of about so many words, numbers among them."""
        said: list[str] = []
        while len(said) < words:
            sentence = self._some(self.chance.randint(5, 14))
            if self.chance.random() < 0.5:
                sentence += self.chance.choice(self.phrases).split()
            if self.chance.random() < 0.3:
                sentence.append(str(self.chance.randint(2, 5000)))
            said += [sentence[0].capitalize(), *sentence[1:-1], sentence[-1] + self.chance.choice(".?.,")]
        return " ".join(said)


def synthetic(rows: int, items: int) -> tuple[list[Row], Items]:
    grammar = Grammar()
    questions = [grammar.text(grammar.chance.choice((6, 12, 20, 30, 45, 80, 150))) for _ in range(items)]
    made: list[Row] = []
    for number in range(rows):
        prompt, answer = grammar.text(30), grammar.text(80)
        if number % 50 == 49:
            copy = grammar.chance.choice(questions).split()
            if number % 150 == 49:
                copy = copy[: round(0.7 * len(copy))]
            elif number % 150 == 99:
                copy[grammar.chance.randrange(len(copy))] = "changed"
            prompt += " " + " ".join(copy)
        made.append([("user", prompt), ("assistant", answer)])
    return made, [("made", str(n), "question", text) for n, text in enumerate(questions)]


def public() -> tuple[list[Row], Items]:
    from tests.test_corpus_decontaminated import CLEAN, corpus_rows, texts_of_benchmarks

    as_items = ("gsm8k_train_alpaca.json.gz", "gpteacher_codegen_instruct.json", "gpteacher_roleplay_deduped.json")
    items = texts_of_benchmarks()
    for name in as_items:
        for number, row in enumerate(corpus_rows(f"instruct/{name}")):
            items.append((name, str(number), "question", row[0][1]))
    return [row for name in CLEAN if name not in as_items for row in corpus_rows(f"instruct/{name}")], items


def thirteen_grams(items: Items) -> Callable[[list[str]], int]:
    """The scan that every script has: how many texts hold a 13-gram of an item."""
    grams = set()
    for *_, text in items:
        said = text.lower().split()
        grams.update(" ".join(said[i : i + 13]) for i in range(len(said) - 12))

    def flagged(texts: list[str]) -> int:
        count = 0
        for text in texts:
            said = text.lower().split()
            count += any(" ".join(said[i : i + 13]) in grams for i in range(len(said) - 12))
        return count

    return flagged


def timed(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def compare(rows: list[Row], items: Items) -> None:
    """Print MB/s of each, and ours in multiples of the plain ones."""
    tables = list(batches([Canary("", ("", ""), row) for row in rows], BATCH))
    size = sum(len(text.encode()) for row in rows for _, text in row) / 1e6
    part = rows[::PART]
    part_tables = list(batches([Canary("", ("", ""), row) for row in part], BATCH))
    part_texts = [text for row in part for _, text in row]
    part_size = sum(len(text.encode()) for text in part_texts) / 1e6
    overlap = Overlap(items)
    plain: Any = Overlap(items)
    plain.matcher = PlainMatcher(plain)
    plain.live = lambda: overlap.live()
    grams, index = thirteen_grams(items), build(items)
    everything = cores()

    def ours(threads: int) -> int:
        overlap.waiting.clear()
        return len(leaks(overlap, tables, engine=Local(threads)))

    def plainly() -> int:
        plain.waiting.clear()
        return len(leaks(plain, part_tables, engine=Local(1)))

    jobs: dict[str, tuple[float, Callable[[], Any]]] = {
        "ours, one thread": (size, lambda: ours(1)),
        f"ours, {everything} threads": (size, lambda: ours(everything)),
        "plain Python, the same work": (part_size, plainly),
        "13-grams over str.split()": (part_size, lambda: grams(part_texts)),
        f"candidates, {everything} threads": (
            part_size,
            lambda: list(candidates_in(index, part_tables, engine=Local(everything))),
        ),
    }
    speeds: dict[str, list[float]] = {name: [] for name in jobs}
    ours(1)
    list(candidates_in(index, part_tables[:1]))
    for _ in range(TURNS):
        for name, (bytes_, job) in jobs.items():
            speeds[name].append(bytes_ / timed(job))
    median = {name: statistics.median(some) for name, some in speeds.items()}
    table = Table(
        "",
        "MB/s",
        "of one thread",
        f"of {everything} threads",
        title=f"{len(rows):,} rows, {size:.1f} MB; {len(items):,} texts of items",
    )
    first, second, *_ = median
    for name, speed in median.items():
        table.add_row(name, f"{speed:.1f}", f"{median[first] / speed:.1f}x", f"{median[second] / speed:.1f}x")
    Console().print(table)
    Console().print(f"{ours(everything):,} rows with an item")


if __name__ == "__main__":
    if sys.argv[1:2] == ["corpus"]:
        compare(*public())
    else:
        counts = [int(n) for n in sys.argv[1:]]
        compare(*synthetic(*(counts + [100_000, 25_000][len(counts) :])))
