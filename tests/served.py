"""A real `sft serve` over a data folder, for tests: started, asked over HTTP, and ended with its processes counted.

with served(folder) as server:
    server.graphql("{ version }")
    server.status("/report", Host="evil.example")
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sft_assets import verbs
from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from tests.conftest import NO_MODELS

HOSTILE = '</code>```\n</pre><img src="http://evil.example/pixel.png"><script>fetch("http://evil.example/")</script>![x](http://evil.example/i.png)'
PATIENCE = 300  # seconds: a wait ends as soon as there is what it waits for, and a machine may be busy with other tests
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    token: str | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> Answer:
        """Headers are named as in Python: Content_Type. A body that is not bytes is sent as JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method or ("GET" if body is None else "POST"), path, content, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def status(self, path: str, body: Any = None, **headers: str) -> int:
        return self.ask(path, body, **headers).status

    def graphql(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.ask("/graphql", {"query": query, "variables": variables or {}})
        assert answer.status == 200, (answer.status, answer.body)
        result: dict[str, Any] = json.loads(answer.body)
        assert "errors" not in result, result["errors"]
        return result["data"]  # type: ignore[no-any-return]

    def repository(self) -> dict[str, str]:
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        nodes = self.graphql(query)["repositoriesOrError"]["nodes"]
        return {"repositoryName": nodes[0]["name"], "repositoryLocationName": nodes[0]["location"]["name"]}

    def launch(self) -> str:
        """Start a run of everything; its id."""
        selector = {**self.repository(), "jobName": "dataset"}
        started = self.graphql(LAUNCH, {"p": {"selector": selector, "runConfigData": {}, "mode": "default"}})["launchRun"]
        assert started["__typename"] == "LaunchRunSuccess", started
        return started["run"]["runId"]  # type: ignore[no-any-return]

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals, seconds: float = PATIENCE) -> tuple[int, list[psutil.Process]]:
        """Send a signal; the exit code, and what is left of its processes. SIGINT goes to the group, as a terminal sends it."""
        children = self.descendants()
        (os.killpg if how == signal.SIGINT else os.kill)(self.process.pid, how)
        code = self.process.wait(seconds)
        return code, [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def serve(folder: Folder, *options: str) -> subprocess.CompletedProcess[str]:
    """A server that is refused."""
    command = [sys.executable, "-m", "sft_assets", "serve", "--data", str(folder.root), "--no-open", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


@contextmanager
def served(folder: Folder, *options: str, token: str | None = None, port: int | None = None) -> Iterator[Served]:
    """A server that answers and has loaded the graph; ended when the block is left, if it still runs."""
    port, log = port or free_port(), folder.root.parent / f"serve-{len(options)}.log"
    command = [
        sys.executable,
        "-m",
        "sft_assets",
        "serve",
        "--data",
        str(folder.root),
        "--port",
        str(port),
        "--no-open",
        *options,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"} | ({"SFT_TOKEN": token} if token else {})
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    server = Served(process, port, log, token)
    try:
        wait_for(lambda: process.poll() is not None or b"Ctrl-C" in log.read_bytes(), PATIENCE, "the server to start")
        assert process.poll() is None, log.read_text()
        server.repository()
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def sources(folder: Folder, name: str, count: int, start: int = 0) -> None:
    rows = [
        {
            "instruction": f"Write a note on the {i}th lantern of the harbour, its keeper and its light.",
            "output": f"Lantern {i} has a keeper and {i * 3} panes.",
        }
        for i in range(start, start + count)
    ]
    partial = folder.root / "arriving"
    partial.write_text("".join(json.dumps(r) + "\n" for r in rows))
    os.utime(partial, (time.time() - 60,) * 2)
    partial.rename(folder.sources / name)  # as a careful tool drops a file


def wait_for(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """What a look gives as soon as that is true. Looks become rarer: they take from what is waited for."""
    end, pause, error = time.monotonic() + seconds, 0.1, None
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (OSError, KeyError) as problem:
            error = problem
        time.sleep(pause)
        pause = min(pause * 1.5, 2)
    return pytest.fail(f"waited {seconds} seconds for {what}: {error}")


@contextmanager
def finished_and_served(root: Path) -> Iterator[tuple[Folder, Served]]:
    """A folder in which everything is built, with a server over it."""
    folder = verbs.init(root)
    folder.recipe.write_text(json.dumps(NO_MODELS))
    sources(folder, "first.jsonl", 20)
    hostile = {"instruction": f"Say what this is, please, and why: {HOSTILE}", "output": f"It is markup: {HOSTILE}"}
    (folder.sources / "hostile.json").write_text(json.dumps([hostile, hostile]))
    os.utime(folder.sources / "hostile.json", (time.time() - 60,) * 2)
    Workspace.open(folder.root).run(say=lambda _: None)
    with served(folder) as server:
        yield folder, server
