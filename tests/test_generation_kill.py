"""A run of generations that is killed: what was answered is not paid again, and the tables come out as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from sft_assets import verbs
from sft_assets.definitions import ASSETS
from sft_assets.folder import Folder
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions
from tests import scripted_generation as scripted
from tests.conftest import build, say
from tests.model_server import Answer, ModelServer, Request

KILLS = 5
CONCURRENCY = 4
REPLY_SECONDS = 0.03
UNCOMMITTED_SECONDS = 1.0  # twenty times what a commit waits: a busy machine may not run the writer at once
NAMES = [asset.name for asset in ASSETS]
BEFORE = [asset for asset in ASSETS[: NAMES.index("generations")] if asset.name != "map"]
FROM = ASSETS[NAMES.index("generations") : NAMES.index("exported")]
# imports once, and forks a process for each run: its id, then how it ended
RUNS = """
import os, sys
import sft_assets.models.door.endpoint  # lest every run imports the client of the API
from sft_assets.augmented.generations.asset import generations
from sft_assets.folder import Folder
from tests.conftest import build

for _ in sys.stdin:
    if (child := os.fork()) == 0:
        build(Folder.at(sys.argv[1]), generations)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    """Kills the run that is going on when it has sent so many requests, before it gets the reply to that one."""

    def __init__(self) -> None:
        self.run: Future[int] | None = None
        self.after = 0
        self.killed = threading.Event()
        self.moment = 0.0

    def __call__(self, request: Request) -> Answer:
        if self.run is not None and request.number >= self.after:
            os.kill(self.run.result(timeout=60), signal.SIGKILL)
            self.moment = time.monotonic()
            self.run = None
            self.killed.set()
        return scripted.script(request).after(REPLY_SECONDS)


def versions(folder: Folder) -> dict[str, Version]:
    with Warehouse(folder.database).reading() as con:
        return {version.asset: version for version in read_versions(con)}


class Runs:
    """Runs of generations over a folder, each a process of its own."""

    def __init__(self, folder: Folder) -> None:
        here = Path(__file__).parents[1]
        self.parent = subprocess.Popen([sys.executable, "-c", RUNS, str(folder.root)], cwd=here, stdin=-1, stdout=-1, text=True)

    def begin(self) -> int:
        """Start one: its process id."""
        assert self.parent.stdin
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """How the one that was started ended, once it has."""
        return self._number()

    def _number(self) -> int:
        assert self.parent.stdout
        return int(self.parent.stdout.readline())

    def close(self) -> None:
        self.parent.communicate()


def committed(folder: Folder) -> int:
    """How many replies are on the disk."""
    if not folder.calls.exists():
        return 0
    with closing(sqlite3.connect(folder.calls)) as con:
        return len(con.execute("SELECT key FROM replies").fetchall())


def test_five_kills_cost_no_more_than_what_was_in_flight_or_not_yet_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = verbs.init(tmp_path / "killed" / "data")
    scripted.fill(folder, scripted.TOWNS[13:21])  # of which no reply is broken: a request is a call
    for name in ("tides.md", "broken.txt"):
        (folder.documents / name).unlink()
    generations = {"model": scripted.MODEL, "methods": scripted.METHODS, "trial": 8}
    models = {scripted.MODEL: {"concurrency": CONCURRENCY}}
    say(folder, **scripted.recipe(embeddings={"model": None}, generations=generations, models=models))
    build(folder, *BEFORE)
    shutil.copytree(folder.root, tmp_path / "whole", symlinks=True)
    whole, killer = Folder.at(tmp_path / "whole"), Killer()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-of-the-tests")
    with ModelServer(killer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        build(whole, *FROM)
        once = Counter(orjson.dumps(request.body) for request in server.seen)
        calls = len(server.seen)
        assert set(once.values()) == {1} and committed(whole) == calls, "a run by itself asks nothing twice"

        draw, lost, runs = random.Random(13), 0, Runs(folder)
        for moment in sorted(draw.sample(range(10, calls - 10), KILLS)):
            first, before = len(server.seen), committed(folder)
            killer.killed.clear()
            killer.after = first + max(moment - before, 1)
            killer.run = run = Future()
            run.set_result(runs.begin())
            assert runs.ended() == -signal.SIGKILL and killer.killed.is_set()
            assert "generations" not in versions(folder), "nothing half is there"
            asked = server.seen[first:]
            gone = len(asked) - (committed(folder) - before)
            in_flight = sum(request.answered is None or request.answered > killer.moment for request in asked)
            waiting = sum(killer.moment - UNCOMMITTED_SECONDS < (request.answered or 0.0) <= killer.moment for request in asked)
            assert in_flight <= CONCURRENCY and gone <= in_flight + waiting
            print(f"killed with {committed(folder)} of {calls} kept: {gone} lost, {in_flight} of them in flight")
            lost += gone
        runs.begin()
        assert runs.ended() == 0
        runs.close()
        again = Counter(orjson.dumps(request.body) for request in server.seen[calls:])
        assert again.keys() == once.keys() and again.total() == calls + lost, "nothing that was committed is asked again"
        build(folder, *FROM)
        assert len(server.seen) == 2 * calls + lost, "the gates ask nobody"
    for asset in FROM:
        assert versions(folder)[asset.name].data_version == versions(whole)[asset.name].data_version, asset.name
