"""raw against `datasets.load_dataset("json")`: a million Alpaca rows, as JSON lines and as one indented array, in turns.

    .venv/bin/python -m tests.speed.raw [ROWS] [TIMES]

raw checks every record (repeated keys, numbers, encodings), hashes it, finds its format and stores it compressed in DuckDB;
load_dataset infers a schema and writes Arrow. Whole processes without their imports; the ratio is of the medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.speed.spine import write_rows

RAW = """
import sys, time
from sft_assets.asset import materialize
from sft_assets.definitions import asset_named
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import input_version
folder = Folder.at(sys.argv[1])
inputs = {"source_files": input_version(folder, "source_files")}
start = time.perf_counter()
version, _ = materialize(asset_named("raw"), folder, Recipe(), inputs, again=True)
print(time.perf_counter() - start, version.report["kept"])
"""
DATASETS = """
import sys, tempfile, time
import datasets
datasets.disable_progress_bars()
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as cache:
    start = time.perf_counter()
    made = datasets.load_dataset("json", data_files=sys.argv[1] + "/sources/alpaca.json", cache_dir=cache)
    print(time.perf_counter() - start, made["train"].num_rows)
"""


def main(rows: int = 1_000_000, times: int = 5) -> None:
    """Print both times and their ratio."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_rows(folder, rows)
        array = folder / "sources" / "alpaca.json"
        compare("array", folder, rows, times)
        lines = [json.dumps(record) for record in json.loads(array.read_bytes())]
        array.write_text("\n".join(lines) + "\n")
        compare("lines", folder, rows, times)


def compare(shape: str, folder: Path, rows: int, times: int) -> None:
    """Time both on the folder's file, in turns."""
    place = str(folder)
    found: dict[str, list[float]] = {"raw": [], "load_dataset": []}
    for _ in range(times):
        for name, code in (("raw", RAW), ("load_dataset", DATASETS)):
            for path in folder.glob("sft.duckdb*"):
                path.unlink()
            said = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True).stdout
            seconds, n = said.splitlines()[-1].split()
            assert int(n) == rows
            found[name].append(float(seconds))
            print(f"{shape} {name:<14} {float(seconds):6.2f} s", flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    ratio = medians["raw"] / medians["load_dataset"]
    print(f"{shape}, median: raw {medians['raw']:.2f} s, load_dataset {medians['load_dataset']:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
