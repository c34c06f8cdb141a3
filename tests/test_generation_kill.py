"""A run of generations that is killed: what was answered is not paid again, and the tables come out as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
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

pytestmark = pytest.mark.xdist_group("augmented")
KILLS = 5
CONCURRENCY = 4
REPLY_SECONDS = 0.03
UNCOMMITTED_SECONDS = 1.0  # twenty times what a commit waits: a busy machine may not run the writer at once
NAMES = [asset.name for asset in ASSETS]
BEFORE = [asset for asset in ASSETS[: NAMES.index("generations")] if asset.name != "map"]
FROM = ASSETS[NAMES.index("generations") : NAMES.index("exported")]
RUN = """
import sys
from sft_assets.augmented.generations.asset import generations
from sft_assets.folder import Folder
from tests.conftest import build
build(Folder.at(sys.argv[1]), generations)
"""


class Killer:
    """Kills the run that is going on when it has sent so many requests, before it gets the reply to that one."""

    def __init__(self) -> None:
        self.run: subprocess.Popen[str] | None = None
        self.after = 0
        self.killed = threading.Event()
        self.moment = 0.0

    def __call__(self, request: Request) -> Answer:
        if self.run is not None and request.number >= self.after:
            os.kill(self.run.pid, signal.SIGKILL)
            self.moment = time.monotonic()
            self.run = None
            self.killed.set()
        return scripted.script(request).after(REPLY_SECONDS)


def versions(folder: Folder) -> dict[str, Version]:
    with Warehouse(folder.database).reading() as con:
        return {version.asset: version for version in read_versions(con)}


def start(folder: Folder) -> subprocess.Popen[str]:
    here = Path(__file__).parents[1]
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder.root)], cwd=here, stderr=subprocess.PIPE, text=True)


def test_five_kills_cost_no_more_than_what_was_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = verbs.init(tmp_path / "killed" / "data")
    scripted.fill(folder)
    methods = {name: {**section, "rows": 12} if "rows" in section else section for name, section in scripted.METHODS.items()}
    generations = {"model": scripted.MODEL, "methods": methods, "trial": 8}
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
        assert set(once.values()) == {1}, "a run by itself asks nothing twice"
        requests = len(server.seen)

        draw, allowed, paid = random.Random(13), 0, len(server.seen)
        for moment in sorted(draw.sample(range(10, requests - 10), KILLS)):
            first = len(server.seen)
            done = first - paid  # at least: so much of the whole was asked before
            killer.killed.clear()
            killer.after = first + max(moment - done, 1)
            killer.run = run = start(folder)
            _, errors = run.communicate(timeout=300)
            assert killer.killed.is_set() and run.returncode == -signal.SIGKILL, errors
            asked = server.seen[first:]
            flying = sum(request.answered is None or request.answered > killer.moment for request in asked)
            waiting = sum(killer.moment - UNCOMMITTED_SECONDS < (request.answered or 0.0) <= killer.moment for request in asked)
            assert flying <= CONCURRENCY
            allowed += flying + waiting
            assert "generations" not in versions(folder), "nothing half is there"
        last = start(folder)
        _, errors = last.communicate(timeout=300)
        assert last.returncode == 0, errors
        again = Counter(orjson.dumps(request.body) for request in server.seen[paid:])
        build(folder, *FROM)
        assert len(server.seen) == paid + again.total(), "the gates ask nobody"
    assert again.keys() == once.keys()
    lost = again.total() - len(once)
    print(f"{len(once)} requests; {lost} of {KILLS} runs were asked again, of which {allowed} might have been")
    assert 0 < lost <= allowed
    for asset in FROM:
        assert versions(folder)[asset.name].data_version == versions(whole)[asset.name].data_version, asset.name
