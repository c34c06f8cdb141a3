"""The rules against `re.search` with the same patterns, one after another, over the same texts.

    .venv/bin/python -m tests.speed.rules [ROWS]

Rows are drawn (seeded) from the corpus of public data where it is there, else made of the rules' own examples in sentences of
a seeded grammar. Ours: all rules, with their checks and exceptions, from Arrow batches to a table of hits, in one process and
in one for each core. `re.search`: the patterns only, in one process. In turns; the figures are medians.

    .venv/bin/python -m tests.speed.rules hits [RULE [COUNT]]

What the rules find in the corpus: a table of all; of one rule, COUNT hits (seeded) with the texts around them.
"""

from __future__ import annotations

import random
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from sft_assets.arrow import messages_array, uuids
from sft_assets.cores import cores
from sft_assets.engine.local import Local
from sft_assets.record import Conversation, Message, content_hash
from sft_assets.scored.rule_hits.asset import BATCH, search_all
from sft_assets.scored.rule_hits.rules import rules
from tests.conftest import CORPUS
from tests.speed.decontaminated import Grammar
from tests.test_rule_hits_corpus import conversations, files, found_in

ROWS = 50_000
TURNS = 3
AROUND = 300  # characters shown on each side of a hit


def drawn(rows: int) -> tuple[list[Conversation], str]:
    """So many conversations, and what they are made of."""
    chance = random.Random(1)
    if CORPUS.is_dir():
        return chance.choices([c for name in files() for c in conversations(name)], k=rows), "of the corpus"
    grammar = Grammar()
    texts = [e.answer * e.repeat for rule in rules().values() for e in (*rule.hits, *rule.misses)]
    made = []
    for _ in range(rows):
        answer = f"{grammar.text(60)}\n\n{chance.choice(texts)}\n\n{grammar.text(60)}"
        made.append(Conversation([Message("user", grammar.text(30)), Message("assistant", answer)]))
    return made, "made of sentences and examples"


def batches(rows: Sequence[Conversation]) -> list[pa.RecordBatch]:
    result = []
    for at in range(0, len(rows), BATCH):
        part = rows[at : at + BATCH]
        columns = {
            "content_hash": uuids(content_hash(c.messages, c.rejected, c.tools) for c in part),
            "messages": messages_array([c.messages for c in part]),
            "tools": pa.array([c.tools for c in part], pa.string()),
        }
        result.append(pa.RecordBatch.from_pydict(columns))
    return result


def compare(count: int) -> None:
    """Print seconds of each, and ours in multiples of `re.search`."""
    rows, origin = drawn(count)
    texts = [m.content for c in rows for m in c.messages]
    size = sum(len(text.encode()) for text in texts) / 1e6
    ready, chosen = batches(rows), list(rules().values())
    patterns: list[re.Pattern[str]] = [pattern for rule in chosen for pattern in rule.compiled("patterns")]

    def ours(processes: int) -> int:
        return sum(len(found) for _, found in search_all(chosen, ready, 10**9, Local(processes)))

    def plain() -> int:
        return sum(1 for pattern in patterns for text in texts if pattern.search(text))

    jobs: dict[str, Callable[[], int]] = {
        f"re.search, {len(patterns)} patterns": plain,
        f"ours, {len(chosen)} rules": lambda: ours(1),
        f"ours, {cores()} processes": lambda: ours(cores()),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    hits = {}
    for _ in range(TURNS):
        for name, job in jobs.items():
            start = time.perf_counter()
            hits[name] = job()
            taken[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in taken.items()}
    first = next(iter(median.values()))
    table = Table("", "seconds", "rows/s", "of re.search", "hits", title=f"{count:,} rows {origin}, {size:.1f} MB")
    for name, seconds in median.items():
        table.add_row(name, f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{seconds / first:.2f}x", f"{hits[name]:,}")
    Console().print(table)


def show_table() -> None:
    """Print the rows that each rule hits, and where most of them are."""
    total: Counter[str] = Counter()
    places: dict[str, Counter[str]] = defaultdict(Counter)
    count = 0
    for name in files():
        count += len(conversations(name))
        for rule, _ in {(hit.rule, row) for row, hit in found_in(rules().values(), name)}:
            total[rule] += 1
            places[rule][name.split("/")[1].split(".")[0]] += 1
    table = Table("class", "rule", "action", "rows", "most of them in", title=f"{count:,} rows of the corpus")
    for rule_name, rule in rules().items():
        most = ", ".join(f"{place} {n}" for place, n in places[rule_name].most_common(3))
        table.add_row(rule.class_name, rule_name, rule.action, f"{total[rule_name]:,}", most)
    Console(width=150).print(table)


def show_hits(rule: str, count: int) -> None:
    """Print some of a rule's hits, with the question and the text around each."""
    found = [(name, row, hit) for name in files() for row, hit in found_in([rules()[rule]], name)]
    for name, row, hit in random.Random(1).sample(found, min(count, len(found))):
        messages = conversations(name)[row].messages
        text = messages[hit.turn - 1].content
        before, after = text[max(0, hit.start - AROUND) : hit.start], text[hit.stop : hit.stop + AROUND]
        question = next((m.content for m in reversed(messages[: hit.turn - 1]) if m.role == "user"), "")
        print(f"--- {name} row {row} turn {hit.turn}\nQ: {question[-AROUND:]}\nA: {before}[[[{hit.matched}]]]{after}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["hits"]:
        show_hits(sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 50) if sys.argv[2:] else show_table()
    else:
        compare(int(sys.argv[1]) if sys.argv[1:] else ROWS)
