"""The states on 200,000 Alpaca rows: seconds, rows per second and peak memory of each, each asset in a process of its own.

    .venv/bin/python -m tests.speed.spine [ROWS]

The rows are made here, seeded: instructions and answers of random words, about 670 bytes a record.
`read` is the strict reader alone (bytes to checked records), without the database. No model is asked: what models give has
measurements of its own.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sft_assets.definitions import ASSETS
from tests.conftest import NO_MODELS

WITH_MODELS = ("likelihoods", "judgements", "contamination_judgements", "rewards", "embeddings", "projection", "topics")
STATE = """
import json, resource, sys, time
from sft_assets.definitions import ASSETS
from sft_assets.asset import materialize
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, input_version
folder, name = Folder.at(sys.argv[1]), sys.argv[2]
asset = next(a for a in ASSETS if a.name == name)
recipe = Recipe.model_validate_json(sys.argv[3])
inputs = {d: input_version(folder, d) for d in asset.deps if d in INPUTS}
cpu = time.process_time()
version, _ = materialize(asset, folder, recipe, inputs)
rows = version.report.get("in") or version.report["kept"]
print(json.dumps({"rows": rows, "seconds": version.seconds, "cpu": time.process_time() - cpu,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
READ = """
import json, resource, sys, time
from pathlib import Path
from sft_assets.raw.containers import Limits
from sft_assets.raw.json_records import records
from sft_assets.raw.reading import read_files
from sft_assets.raw.sources import SourceFile
list(records(iter([b'{"a": 1}']), Limits()))  # compile
path = Path(sys.argv[1]) / "sources" / "alpaca.json"
start, cpu = time.perf_counter(), time.process_time()
rows = sum(piece.records for piece in read_files([SourceFile(path, path.name, "alpaca")], Limits()))
print(json.dumps({"rows": rows, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def write_rows(folder: Path, rows: int) -> None:
    """A seeded Alpaca file of that many rows, and a small benchmark."""
    rng = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(rng.choices(letters, range(26, 0, -1), k=rng.randint(2, 10))) for _ in range(20_000)]
    weights = list(accumulate(1 / (i + 10) for i in range(len(words))))

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(least, most))).capitalize() + "."

    (folder / "sources").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    with (folder / "sources" / "alpaca.json").open("w") as file:
        records = ({"instruction": text(8, 25), "input": "", "output": text(20, 150)} for _ in range(rows))
        for i, record in enumerate(records):
            file.write(("[\n" if i == 0 else ",\n") + json.dumps(record, indent=2))
        file.write("\n]\n")
    with (folder / "benchmarks" / "test.jsonl").open("w") as file:
        for _ in range(1000):
            file.write(json.dumps({"question": text(10, 40), "answer": text(1, 5)}) + "\n")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    table = Table("step", "rows", "seconds", "rows / s", "CPU s", "rows / CPU s", "peak MB", title=f"{rows:,} rows")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        write_rows(folder, rows)
        for name, code in [("read", READ), *((asset.name, STATE) for asset in ASSETS)]:
            command = [sys.executable, "-c", code, str(folder), name, json.dumps(NO_MODELS)]
            r = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
            if name in WITH_MODELS:
                continue
            figures = (r["rows"], r["rows"] / r["seconds"], r["rows"] / r["cpu"])
            n, rate, per_core = (f"{x:,.0f}" for x in figures)
            table.add_row(name, n, f"{r['seconds']:.1f}", rate, f"{r['cpu']:.1f}", per_core, f"{r['peak']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
