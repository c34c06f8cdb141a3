"""How many rows a second are described, in one process.

    .venv/bin/python -m tests.speed.descriptors [ROWS]

Rows are drawn (seeded) from the corpus of public data where it is there, else made by a seeded grammar. Short rows:
up to 500 characters. Seconds of CPU, the median of three turns.

    .venv/bin/python -m tests.speed.descriptors show [COUNT]

COUNT rows (seeded) with their descriptors, to be read by eye.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from sft_assets.clustered.descriptors.style import describe
from sft_assets.record import Conversation
from tests.speed.rules import batches, drawn

ROWS = 20_000
TURNS = 3
SHORT = 500  # characters
SHOWN = 250


def compare(count: int) -> None:
    """Print rows a second of all rows, and of the short ones."""
    rows, origin = drawn(count)
    table = Table("", "rows", "characters a row", "seconds", "rows/s", title=f"descriptors of rows {origin}")
    describe(batches(rows[:100])[0])
    for name, chosen in (("all", rows), ("short", [row for row in rows if size(row) <= SHORT])):
        ready, taken = batches(chosen), []
        for _ in range(TURNS):
            start = time.process_time()
            for batch in ready:
                describe(batch)
            taken.append(time.process_time() - start)
        seconds = statistics.median(taken)
        mean = statistics.mean(map(size, chosen))
        table.add_row(name, f"{len(chosen):,}", f"{mean:.0f}", f"{seconds:.2f}", f"{len(chosen) / seconds:,.0f}")
    Console().print(table)


def size(row: Conversation) -> int:
    return sum(len(message.content) for message in row.messages)


def show(count: int) -> None:
    """Print rows with what is said of them."""
    rows = random.Random(1).sample(drawn(ROWS)[0], count)
    for row, said in zip(rows, (d for batch in batches(rows) for d in describe(batch).to_pylist()), strict=True):
        print("---", *(f"{name}={value}" for name, value in said.items() if name != "content_hash"))
        for message in row.messages[-2:]:
            print(f"{message.role}: {message.content[:SHOWN]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["show"]:
        show(int(sys.argv[2]) if sys.argv[2:] else 30)
    else:
        compare(int(sys.argv[1]) if sys.argv[1:] else ROWS)
