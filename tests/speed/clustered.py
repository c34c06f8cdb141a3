"""Time and peak memory of projection, topics, clustered and map, with the embeddings given: linear above the sample size.

python -m tests.speed.clustered [ROWS ...]        2,000, 10,000, 50,000 and 200,000 rows; a process of its own for each
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.clustered.asset import clustered
from sft_assets.clustered.descriptors.asset import descriptors
from sft_assets.clustered.map.asset import map_
from sft_assets.clustered.projection.asset import projection
from sft_assets.clustered.topics.asset import topics
from sft_assets.deduped.asset import TABLE as DEDUPED
from sft_assets.folder import Folder
from sft_assets.scored.asset import TABLE as SCORED
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build
from tests.made_rows import chat, fill, hash_of, id_of, make
from tests.made_vectors import blobs, give_vectors

SIZES = (2_000, 10_000, 50_000, 200_000)
TOPICS, DIMENSIONS, WORDS = 60, 384, 40


def prepare(folder: Folder, n: int) -> None:
    """Rows of 60 subjects as `scored` hands them on, and their vectors."""
    random = np.random.default_rng(0)
    sizes = np.bincount(np.minimum(random.zipf(1.3, n) % TOPICS, TOPICS - 1), minlength=TOPICS)
    words = [f"w{i}" + "".join(chr(97 + d) for d in random.integers(0, 26, 6)) for i in range(TOPICS * WORDS)]
    rows = []
    for topic, size in enumerate(sizes):
        drawn = random.integers(0, WORDS, (size, 40)) + topic * WORDS
        rows += [
            chat(
                f"Question {len(rows) + i}: " + " ".join(words[w] for w in one[:15]) + "?",
                " ".join(words[w] for w in one[15:]) + ".",
            )
            for i, one in enumerate(drawn)
        ]
    fill(folder, rows)
    give_vectors(folder, rows, blobs(sizes.tolist(), DIMENSIONS, 0.06))
    ids, hashes = uuids(map(id_of, rows)), uuids(map(hash_of, rows))
    with Warehouse(folder.database).writing() as con:
        with Build.begin(con, dataclasses.replace(DEDUPED, laws=()), "1", {"combined": "1"}) as build:
            build.insert(pa.table({"row_id": ids, "content_hash": hashes}))
        with Build.begin(con, dataclasses.replace(SCORED, laws=()), "1", {"decontaminated": "1"}) as build:
            nothing = pa.array([[]] * len(rows), pa.list_(pa.string()))
            build.insert(
                pa.table(
                    {
                        "row_id": ids,
                        "content_hash": hashes,
                        "rule_names": nothing,
                        "review_reasons": nothing,
                        "verdict": pa.array(["keep"] * len(rows)),
                    }
                )
            )


def measure(n: int) -> None:
    """One size, in this process."""
    with tempfile.TemporaryDirectory() as root:
        folder = Folder.at(root)
        subprocess.run([sys.executable, "-m", "tests.speed.clustered", "prepare", root, str(n)], check=True)
        line = f"{n:>8,}"
        for asset in (descriptors, projection, topics, clustered, map_):
            start = time.monotonic()
            (version,) = make(folder, asset)
            line += f"  {asset.name} {time.monotonic() - start:6.1f} s"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        page = (folder.root / "map.html").stat().st_size / 1e6
        print(f"{line}  peak {peak:.2f} GB  page {page:.1f} MB of {version.report['shown']:,} rows", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        prepare(Folder.at(Path(sys.argv[2])), int(sys.argv[3]))
    elif sys.argv[1:2] == ["one"]:
        measure(int(sys.argv[2]))
    else:
        for size in map(int, sys.argv[1:]) if sys.argv[1:] else SIZES:
            subprocess.run([sys.executable, "-m", "tests.speed.clustered", "one", str(size)], check=True)
