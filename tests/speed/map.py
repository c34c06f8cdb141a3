"""The map in a real browser: seconds until it can be used, and for search, colours, lasso and pan, by real keys and pointer.

python -m tests.speed.map [ROWS ...]        2,000, 20,000 and 50,000 rows with excerpts of up to 300 characters
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa

from sft_assets.clustered.map.page import write_page
from tests.chromium import Page, tab

SIZES = (2_000, 20_000, 50_000)
TOPICS = 60
STATES = {"kept": "", "review": "mojibake", "deduped": "near_duplicate", "scored": "refusal", "clustered": "over_topic_cap"}
DRAWN = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


def points(n: int) -> pa.Table:
    """Rows in 60 topics, one in seven of them dropped."""
    random = np.random.default_rng(0)
    topic = random.integers(0, TOPICS, n)
    xy = random.normal(0, 8, (TOPICS, 2))[topic] + random.normal(0, 0.5, (n, 2))
    words = np.array(["".join(chr(97 + c) for c in random.integers(0, 26, 2 + i % 7)) for i in range(2000)])
    states = random.choice(list(STATES), n, p=[0.84, 0.02, 0.1, 0.03, 0.01])
    return pa.table(
        {
            "row_id": [str(uuid.UUID(bytes=random.bytes(16))) for _ in range(n)],
            "x": pa.array(xy[:, 0], pa.float32()),
            "y": pa.array(xy[:, 1], pa.float32()),
            "topic": [f"{words[t]}, {words[t + 100]}" for t in topic],
            "group": [str(words[t % 9]) for t in topic],
            "source": [f"source {t % 7}" for t in topic],
            "state": states.tolist(),
            "reason": [STATES[state] for state in states],
            "language": ["en"] * n,
            "excerpt": [" ".join(words[random.integers(0, 2000, 55)])[:300] for _ in range(n)],
            "score ifd": pa.array(random.gamma(4, 0.15, n), pa.float32()),
        }
    )


def measure(n: int, folder: Path) -> None:
    file = folder / f"{n}.html"
    start = time.monotonic()
    write_page(file, points(n), "speed", ["ifd"])
    line = [f"{n:>7,} rows  {file.stat().st_size / 1e6:5.1f} MB  written {time.monotonic() - start:4.1f} s"]

    def timed(name: str, page: Page) -> None:
        page.value(DRAWN)
        line.append(f"{name} {time.monotonic() - start:.1f} s")

    with tab(folder / f"profile {n}") as page:
        start = time.monotonic()
        page.call("Page.navigate", url=file.as_uri())
        page.until("document.body?.dataset.ready", 60)
        timed("usable", page)
        start = time.monotonic()
        page.press("/")
        page.type("ab")
        page.until("document.getElementById('hits').textContent")
        timed("search", page)
        page.press("Escape")
        start = time.monotonic()
        page.press("c")
        timed("colours", page)
        page.press("l")
        start = time.monotonic()
        page.drag([(500, 150), (900, 150), (900, 450), (500, 450)])
        timed("lasso", page)
        page.press("Escape")
        page.press("p")
        start = time.monotonic()
        page.drag([(500, 150), (900, 150), (900, 450), (500, 450)])
        timed("pan of 15 moves", page)
    print("  ".join(line), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        for size in map(int, sys.argv[1:]) if sys.argv[1:] else SIZES:
            measure(size, Path(root))
