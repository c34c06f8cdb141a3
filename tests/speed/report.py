"""The report of many rows: seconds, the most memory that the process had, and the size of the page.

python -m tests.speed.report [ROWS]        200,000 rows of 40 sources, one in ten a duplicate, one in fifty refused; no models
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sft_assets.definitions import ASSETS
from sft_assets.report.asset import report
from tests.conftest import NO_MODELS, build, fresh, put, say

SOURCES = 40


def records(n: int, seed: int) -> list[dict[str, str]]:
    random = np.random.default_rng(seed)
    words = np.array(["".join(chr(97 + c) for c in random.integers(0, 26, 3 + i % 6)) for i in range(4000)])
    made: list[dict[str, str]] = []
    for i in range(n):
        if i % 10 == 9:
            made.append(made[i - 9])
            continue
        answer = "I'm sorry, but I can't help with that." if i % 50 == 1 else " ".join(words[random.integers(0, 4000, 40)])
        made.append({"instruction": " ".join(words[random.integers(0, 4000, 12)]), "output": answer})
    return made


def measure(n: int, root: Path) -> None:
    folder = fresh(root / "data")
    for source in range(SOURCES):
        put(folder, f"source {source}.jsonl", records(n // SOURCES, source))
    say(folder, **NO_MODELS)
    start = time.monotonic()
    build(folder, *ASSETS[: ASSETS.index(report)])
    print(f"{n:,} rows: the states before it {time.monotonic() - start:.0f} s", flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    build(folder, report)
    seconds, most = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = folder.report.stat().st_size
    print(f"report: {seconds:.1f} s, {size / 1e3:,.0f} kB, memory {before / 1e6:.2f} -> {most / 1e6:.2f} GB", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder_:
        measure(int(sys.argv[1]) if sys.argv[1:] else 200_000, Path(folder_))
