"""Diversity selection against the plain loop that it equals: seconds, seconds of CPU, rows that stay.

    .venv/bin/python -m tests.speed.diversity [ROWS]

Vectors of 384 dimensions in 50 seeded topics that share a direction, as those of texts do, one in ten a near copy (cosine about
0.95) of another; scores at random. The plain loop compares each row with those taken so far by one product of a matrix and a
vector, over a part of the rows. A mix without a budget has its
total found by trial.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sft_assets.clustered.coverage import vendi_score
from sft_assets.clustered.diversity import Floats, Ints, choose, warm_up

PART = 5_000  # rows of the plain loop
WIDTH = 384


def made(rows: int) -> tuple[Floats, Ints]:
    """Vectors and topics."""
    chance = np.random.default_rng(1)
    topic = chance.integers(50, size=rows)
    spectrum = np.arange(1, WIDTH + 1) ** -0.5  # variances of a few directions are large, as those of sentence vectors are
    centres = chance.normal(size=(50, WIDTH)) * spectrum + 0.5 * spectrum
    vectors = centres[topic] + chance.normal(size=(rows, WIDTH)) * spectrum
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    copies = chance.choice(rows, rows // 10, replace=False)
    vectors[copies] = vectors[chance.integers(rows, size=len(copies))]
    vectors[copies] += chance.normal(size=(len(copies), WIDTH)) * 0.33 / WIDTH**0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors, np.float32), topic


def plain(vectors: Floats, ceiling: float) -> int:
    """Rows that the plain loop takes."""
    taken, n = np.empty_like(vectors), 0
    for vector in vectors:
        if not n or (taken[:n] @ vector).max() < ceiling:
            taken[n] = vector
            n += 1
    return n


def main(rows: int = 50_000) -> None:
    """Print what each setting takes."""
    warm_up()
    vectors, topic = made(rows)
    score, nobody = np.random.default_rng(2).random(rows), np.zeros(rows, np.bool_)
    table = Table("setting", "rows", "stay", "seconds", "CPU s", "peak MB", title="Diversity selection")

    def timed(name: str, n: int, job: Any) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        stay = job()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row(name, f"{n:,}", f"{stay:,}", f"{seconds:.2f}", f"{cpu:.2f}", f"{peak:.0f}")

    settings: dict[str, dict[str, Any]] = {
        "budget of a tenth": {"similarity": 0.9, "budget": rows // 10},
        "ceiling 0.9": {"similarity": 0.9},
        "ceiling 0.9, mix": {"similarity": 0.9, "shares": {0: 0.03, 1: 0.02}},
        "caps and mix only": {"topic_cap": rows // 100, "shares": {0: 0.03, 1: 0.02}},
    }
    for name, setting in settings.items():
        timed(name, rows, lambda s=setting: int(choose(vectors, score, topic, topic, nobody, **s).kept.sum()))
    few = slice(min(rows, PART))
    in_place = -np.arange(len(vectors[few])) * 1.0  # scores that leave the order as it is
    job = lambda: choose(vectors[few], in_place, topic[few], topic[few], nobody[few], similarity=0.9)  # noqa: E731
    timed("ceiling 0.9", len(in_place), lambda: int(job().kept.sum()))
    timed("ceiling 0.9, plain loop", len(in_place), lambda: plain(vectors[few], 0.9))
    timed("Vendi score (stay: the score)", rows, lambda: round(vendi_score(vectors) or 0))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
