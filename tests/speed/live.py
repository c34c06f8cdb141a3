"""A new file in sources/ of the bundled data, with `sft serve` and its sensor on: seconds until the export has its rows.

    .venv/bin/python -m tests.speed.live

The models are those of the bundled recipe; nothing is generated. Then a broken file: seconds until its run has failed, and
whether the export is as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import duckdb
import yaml
from rich.console import Console

from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from tests.served import served, sources, wait_for
from tests.test_live import sensor_state

BUNDLED = Path(__file__).parents[2] / "data"
PATIENCE = 600.0  # seconds


def copied(root: Path) -> Folder:
    """The bundled data, with nothing generated, built."""
    shutil.copytree(BUNDLED, root, ignore=shutil.ignore_patterns(".*", "sft.duckdb*", "exports", "quarantine", "reviews.jsonl"))
    folder = Folder.at(root)
    recipe = yaml.safe_load(folder.recipe.read_text("utf-8"))
    folder.recipe.write_text(yaml.safe_dump({**recipe, "generations": {"methods": {}}}), "utf-8")
    start = time.monotonic()
    Workspace.open(root).run(say=lambda _: None)
    Console().print(f"the first run: {time.monotonic() - start:.0f} s")
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = copied(Path(temporary) / "data")
        latest = folder.exports / "latest"
        with served(folder) as server:
            sensor_state(server, "startSensor")
            before = latest.resolve()
            start = time.monotonic()
            sources(folder, "new.jsonl", 20)
            wait_for(lambda: latest.resolve() != before, PATIENCE, "the export with the new rows")
            Console().print(f"a new file is exported after {time.monotonic() - start:.0f} s")
            there = duckdb.sql(
                f"SELECT count(*) FROM '{latest}/data/*.parquet' WHERE messages::VARCHAR LIKE '%lantern of the harbour%'"
            )
            Console().print(f"with {there.fetchall()[0][0]} of its 20 rows in it")
            instance, before = Workspace.open(folder.root).instance, latest.resolve()
            wait_for(lambda: all(run.is_finished for run in instance.get_runs()), PATIENCE, "the run to end")
            known = {run.run_id for run in instance.get_runs()}
            start, arriving = time.monotonic(), folder.root / "arriving"
            arriving.write_text('{"instruction": "Name a port.", "output": "Genoa"}\n{"instruction": "Name a\n' * 20)
            os.utime(arriving, (time.time() - 60,) * 2)  # it is not still being written
            arriving.rename(folder.sources / "broken.jsonl")
            wait_for(lambda: [r for r in instance.get_runs() if r.run_id not in known and r.is_failure], PATIENCE, "it to fail")
            same = "as it was" if latest.resolve() == before else "ANOTHER ONE"
            Console().print(f"a broken file has failed its run after {time.monotonic() - start:.0f} s; the export is {same}")


if __name__ == "__main__":
    main()
