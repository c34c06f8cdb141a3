"""What a Ray cluster costs against this machine, and whether the same comes out: two nodes of one CPU each, as processes here.

    python -m tests.speed.cluster [ROWS]     # embeddings with the static model, 50,000 rows: seconds here and on the cluster
    python -m tests.speed.cluster corpus     # the public data through the whole graph, here and there: the same tables?
    python -m tests.speed.cluster killed     # the same with a worker killed in each heavy map

Times are of whole processes (`sft run embeddings`), start of Ray's driver and its worker among them; the cluster is up before.
`one CPU` holds this process, or Ray's driver, worker and node, all on one core; `a CPU each`: the driver has the other.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.table import Table

from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse.opening import warehouse
from tests.conftest import CORPUS, fresh
from tests.ray_cluster import RayNodes, ray_cluster

ROWS, TURNS, SEED = 50_000, 3, 0
QUIET = {"likelihoods": {"rows": 0}, "judgements": {"rows": 0}}
JUDGED = {"likelihoods": {"rows": 30}, "judgements": {"rows": 0}, "embeddings": {"model": "static"}}
LEFT_OUT = ("rephrased",)
HEAVY = ("combined", "deduped", "contamination_candidates", "decontaminated", "rule_hits", "likelihoods", "embeddings")
console = Console(width=128)


def filled(root: Path, rows: int) -> Folder:
    """Rows of 100 words, all different, decontaminated and searched by rules."""
    rng, folder = random.Random(SEED), fresh(root)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "lo", "ma")]
    with (folder.sources / "rows.jsonl").open("wb") as file:
        for number in range(rows):
            text = " ".join(rng.choices(words, k=100))
            file.write(orjson.dumps({"question": f"What of {number}?", "answer": text}) + b"\n")
    recipe(folder, **QUIET, embeddings={"model": "static"})
    sft(folder, "rule_hits")
    return folder


def recipe(folder: Folder, **sections: Any) -> None:
    folder.recipe.write_text(yaml.safe_dump(sections), "utf-8")


def sft(folder: Folder, *assets: str, cpus: tuple[int, ...] = ()) -> float:
    """Seconds of a run."""
    start = time.monotonic()
    command = [
        *(["taskset", "-c", ",".join(map(str, cpus))] if cpus else []),
        sys.executable,
        "-m",
        "sft_assets",
        "run",
        *assets,
    ]
    done = subprocess.run([*command, "--data", str(folder.root)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.monotonic() - start


def again(folder: Folder, cpus: tuple[int, ...]) -> float:
    """Seconds that the embeddings of all rows take, none of them known."""
    folder.embeddings.unlink(missing_ok=True)
    return sft(folder, "--again", "embeddings", cpus=cpus)


def overhead(rows: int) -> None:
    """Print the seconds of both engines."""
    taken: dict[str, list[float]] = {"here": [], "cluster, one CPU": [], "cluster, a CPU each": []}
    with tempfile.TemporaryDirectory() as place, ray_cluster(nodes=1) as nodes:
        folder = filled(Path(place) / "data", rows)
        for _ in range(TURNS):
            recipe(folder, **QUIET, embeddings={"model": "static"}, engine={"threads": 1})
            taken["here"].append(again(folder, (0,)))
            ray = {"address": nodes.address, "embeddings": {"most": 1}}
            recipe(folder, **QUIET, embeddings={"model": "static"}, engine={"threads": 1, "ray": ray})
            with on_core(nodes, 0):
                taken["cluster, one CPU"].append(again(folder, (0,)))
                taken["cluster, a CPU each"].append(again(folder, (1,)))
    table = Table("", "seconds", "of here", title=f"embeddings, static, {rows:,} rows, medians of {TURNS}")
    base = statistics.median(taken["here"])
    for name, some in taken.items():
        table.add_row(name, f"{statistics.median(some):.1f}", f"{statistics.median(some) / base:.2f}")
    console.print(table)


@contextmanager
def on_core(nodes: RayNodes, core: int) -> Iterator[None]:
    """The nodes of the cluster, and the workers that they start, on one core."""
    for process in nodes.processes():
        process.cpu_affinity([core])
    yield
    for process in nodes.processes():
        process.cpu_affinity(list(range(os.cpu_count() or 1)))


# ------------------------------------------------------------------------------------------------------------- the corpus


def tables(folder: Folder) -> dict[str, Any]:
    """The version of every table, and a hash of the vectors, which are no part of a version."""
    with warehouse(folder, Recipe.load(folder.recipe)).reading() as con:
        versions = dict(con.execute("SELECT asset, data_version FROM store.versions").fetchall())
        vectors = (
            "SELECT sha256(string_agg(content_hash::VARCHAR || vector::VARCHAR, '' ORDER BY content_hash)) FROM embeddings"
        )
        return {**versions, "vectors": con.execute(vectors).fetchall()[0][0]}


def corpus(place: Path, name: str, **engine: Any) -> Folder:
    folder = fresh(place / name)
    for kind, target in (("instruct", folder.sources), ("preference", folder.sources), ("benchmarks", folder.benchmarks)):
        for path in sorted((CORPUS / kind).iterdir()):
            if path.name not in LEFT_OUT:
                (shutil.copytree if path.is_dir() else shutil.copy)(path, target / path.name)
    recipe(folder, **JUDGED, **({"engine": engine} if engine else {}))
    return folder


def compared(killed: bool) -> None:
    """Print whether the cluster gives the same tables."""
    with tempfile.TemporaryDirectory() as place, ray_cluster(nodes=2) as nodes:
        here, there = corpus(Path(place), "here"), corpus(Path(place), "there", ray={"address": nodes.address})
        seconds, deaths = {"here": sft(here, "exported")}, []
        start = time.monotonic()
        for asset in HEAVY if killed else ():
            thread = threading.Thread(target=lambda: deaths.append(nodes.kill_a_worker()))
            thread.start()
            sft(there, asset)
            thread.join()
        sft(there, "exported")
        seconds["cluster"] = time.monotonic() - start
        one, other = tables(here), tables(there)
    title = f"{len(deaths)} workers killed, one in each of {', '.join(HEAVY)}" if killed else "nobody killed"
    table = Table("table", f"here, {seconds['here']:.0f} s", f"cluster, {seconds['cluster']:.0f} s", title=title)
    for name in one:
        table.add_row(name, one[name][:12], other[name][:12] if one[name] == other[name] else f"[red]{other[name][:12]}")
    console.print(table)
    sys.exit(one != other)


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else str(ROWS)
    if asked.isdigit():
        overhead(int(asked))
    else:
        compared(asked == "killed")
