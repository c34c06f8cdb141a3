"""`sft explain` and `sft diff` on 200,000 rows, as whole processes: from the command to the end of what it prints.

    .venv/bin/python -m tests.speed.diff [ROWS] [FOLDER]

Two versions of all states, exported both times (a weight, a licence and a threshold differ). FOLDER: where the data folder is
made, or was made before; default: a temporary one. No model is asked.
"""

from __future__ import annotations

import json
import os
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

from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from sft_assets.warehouse.opening import STATES
from tests.conftest import NO_MODELS

TIMES = 5
RECIPES: list[dict[str, object]] = [
    {},
    {"sources": [{"path": "alpaca.json", "weight": 0.9, "license": "mit"}], "deduped": {"threshold": 0.7}},
]


def make(folder: Folder, rows: int) -> None:
    """Two versions of each state."""
    from tests.speed.spine import write_rows

    write_rows(folder.root, rows)
    for sections in RECIPES:
        folder.recipe.write_text(json.dumps({**NO_MODELS, **sections}))
        Workspace.open(folder.root).run(["exported"])


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    given = sys.argv[2] if len(sys.argv) > 2 else None
    table = Table("command", "median s", "fastest", "slowest", "processor s", title=f"{rows:,} rows, whole processes")
    with nullcontext(given) if given else tempfile.TemporaryDirectory() as temporary:
        folder = Folder.at(Path(temporary) / "data")
        if not folder.database.exists():
            make(folder, rows)
        with duckdb.connect(folder.database, read_only=True) as con:
            row_id = con.execute("SELECT min(row_id)::VARCHAR FROM store.deduped_2").fetchall()[0][0]
        explained = [["explain", row_id[:8]], ["explain", "alpaca.json:1000"]]
        for verb in [*explained, *(["diff", state] for state in STATES), ["diff", "export"], ["diff", "deduped", "--json"]]:
            command, seconds = [sys.executable, "-m", "sft_assets", *verb, "--data", str(folder.root)], []
            used = os.times()
            for _ in range(TIMES):
                start = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                seconds.append(time.perf_counter() - start)
            now = os.times()
            cpu = now.children_user + now.children_system - used.children_user - used.children_system
            figures = (statistics.median(seconds), min(seconds), max(seconds), cpu / TIMES)
            table.add_row(" ".join(verb), *(f"{value:.2f}" for value in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
