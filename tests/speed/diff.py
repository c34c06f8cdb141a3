"""`sft explain` and `sft diff` on 200,000 rows, as whole processes: from the command to the end of what it prints.

    .venv/bin/python -m tests.speed.diff [ROWS] [FOLDER]

Two versions of the states up to deduped (a weight and a threshold differ) and two exports of the rows. FOLDER: where the data
folder is made, or was made before; default: a temporary one. No model is asked.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from sft_assets.asset import materialize
from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, input_version

TIMES = 5
RECIPES: list[dict[str, object]] = [
    {},
    {"sources": [{"path": "alpaca.json", "weight": 0.9, "license": "mit"}], "deduped": {"threshold": 0.7}},
]


def make(folder: Folder, rows: int) -> None:
    """Two versions of each state, and an export of either."""
    from tests.speed.spine import write_rows

    write_rows(folder.root, rows)
    for sections in RECIPES:
        recipe = Recipe.model_validate(sections)
        for asset in (raw, combined, deduped):
            inputs = {name: input_version(folder, name) for name in asset.deps if name in INPUTS}
            materialize(asset, folder, recipe, inputs)
    for number in (1, 2):
        export(folder, number)


def export(folder: Folder, number: int) -> None:
    """What an export of a version of deduped holds of it."""
    root = folder.exports / f"2026010{number}T000000Z-0000000{number}"
    (root / "data").mkdir(parents=True)
    path = "data/train-00000-of-00001.parquet"
    with duckdb.connect(folder.database, read_only=True) as con:
        con.execute(f"""
            COPY (
                SELECT [{{'role': t.role, 'content': t.content}} FOR t IN messages] AS messages, tools, source, license,
                    language, row_id::VARCHAR AS row_id
                FROM store.deduped_{number}_rows ORDER BY row_id
            ) TO '{root / path}' (FORMAT parquet, COMPRESSION zstd)
        """)
        (rows,) = con.execute(f"SELECT count(*) FROM store.deduped_{number}").fetchall()[0]
    manifest = {"rows": {"sft": {"train": rows}}, "files": {path: {"rows": rows}}, "states": {}, "recipe": RECIPES[number - 1]}
    (root / "MANIFEST.json").write_text(json.dumps(manifest))


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    given = sys.argv[2] if len(sys.argv) > 2 else None
    table = Table("command", "median s", "fastest", "slowest", title=f"{rows:,} rows, whole processes")
    with nullcontext(given) if given else tempfile.TemporaryDirectory() as temporary:
        folder = Folder.at(Path(temporary) / "data")
        if not folder.database.exists():
            make(folder, rows)
        with duckdb.connect(folder.database, read_only=True) as con:
            row_id = con.execute("SELECT min(row_id)::VARCHAR FROM store.deduped_2").fetchall()[0][0]
        for verb in (["explain", row_id[:8]], ["explain", "alpaca.json:1000"], ["diff", "deduped"], ["diff", "raw@1", "raw@1"],
                     ["diff", "deduped", "--json"], ["diff", "export"]):  # fmt: skip
            command, seconds = [sys.executable, "-m", "sft_assets", *verb, "--data", str(folder.root)], []
            for _ in range(TIMES):
                start = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                seconds.append(time.perf_counter() - start)
            figures = (statistics.median(seconds), min(seconds), max(seconds))
            table.add_row(" ".join(verb), *(f"{value:.2f}" for value in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
