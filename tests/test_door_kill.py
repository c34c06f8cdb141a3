"""A run of the door that is killed: what was committed is not asked again, and nothing that was answered is lost but that."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from sft_assets.models.door import Calls
from tests.model_server import Answer, ModelServer, Request, chat

ROWS = 1000
KILLS = 5
CONCURRENCY = 8
REPLY_SECONDS = 0.01
UNCOMMITTED_SECONDS = 1.0  # twenty times what a commit waits: a busy machine may not run the writer at once
PROMPT = "0" * 64
RUN = f"""
import sys
from pathlib import Path
from sft_assets.models.door import Call, Door
from sft_assets.models.door.endpoint import Endpoint
from sft_assets.recipe import Budget, ModelSettings
path, url, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calls = (Call(i.to_bytes(16, "big"), "{PROMPT}", [{{"role": "user", "content": f"row {{i}}"}}], {{"max_tokens": 50}},
         {{"type": "object", "required": ["score"]}}) for i in range(rows))
settings, endpoint = ModelSettings(concurrency={CONCURRENCY}), Endpoint.at(url, "sk-0123456789abcdef", "scripted")
with Door(path, "judgements", "scripted", settings, Budget(calls=rows + 200), endpoint=endpoint) as door:
    for call, reply in door.ask(calls):
        print(int.from_bytes(call.subject, "big"), reply.status, flush=True)
"""


class Killer:
    """Kills the run that is going on when the server has seen so many requests, before it answers that one."""

    def __init__(self, at: list[int]):
        self.at = at
        self.run: subprocess.Popen[str] | None = None
        self.killed = threading.Event()
        self.moment = 0.0

    def __call__(self, request: Request) -> Answer:
        if self.at and request.number >= self.at[0] and self.run is not None:
            self.at.pop(0)
            os.kill(self.run.pid, signal.SIGKILL)
            self.moment = time.monotonic()
            self.run = None
            self.killed.set()
        return chat().after(REPLY_SECONDS)


def start(path: Path, server: ModelServer, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), server.url, str(rows)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def known(path: Path) -> int:
    return len(Calls(path).known("scripted", [PROMPT]))


def test_five_kills_cost_no_more_than_what_was_in_flight_or_not_yet_committed(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    rng = random.Random(13)
    killer = Killer(sorted(rng.sample(range(50, ROWS - 50), KILLS)))
    given: set[str] = set()
    lost = 0
    with ModelServer(killer) as server:
        for _ in range(KILLS):
            before = len(server.seen)
            run = start(path, server, ROWS)
            killer.killed.clear()
            killer.run = run
            out, err = run.communicate(timeout=300)
            assert killer.killed.is_set() and run.returncode == -signal.SIGKILL, err
            whole = out[: out.rfind("\n") + 1].splitlines()
            asked = server.seen[before:]
            committed = known(path)
            assert committed >= len(given | set(whole)), "what the caller saw is on disk"
            given |= set(whole)
            gone = len(server.seen) - lost - committed
            in_flight = sum(request.answered is None or request.answered > killer.moment for request in asked)
            waiting = sum(killer.moment - UNCOMMITTED_SECONDS < (request.answered or 0.0) <= killer.moment for request in asked)
            assert in_flight <= CONCURRENCY and gone <= in_flight + waiting
            print(f"killed with {committed} kept: {gone} lost ({in_flight} in flight, {gone - in_flight} not yet committed)")
            lost += gone
        last = start(path, server, ROWS)
        out, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
        assert set(out.splitlines()) == {f"{i} ok" for i in range(ROWS)} and len(out.splitlines()) == ROWS
        times = Counter(request.first for request in server.seen)
        assert len(times) == ROWS and len(server.seen) == ROWS + lost
        more = start(path, server, ROWS + 10)
        more.communicate(timeout=300)
        assert {request.first for request in server.seen[ROWS + lost :]} == {f"row {ROWS + i}" for i in range(10)}
        assert len(server.seen) == ROWS + lost + 10
    assert known(path) == ROWS + 10


def test_the_ledger_of_killed_runs_holds_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    killer = Killer([60])
    with ModelServer(killer) as server:
        killer.run = run = start(path, server, 200)
        run.communicate(timeout=300)
        start(path, server, 200).communicate(timeout=300)
    (total,) = Calls(path).totals().values()
    assert 200 <= total.calls <= len(server.seen)
    assert total.prompt_tokens >= 200 * 100
