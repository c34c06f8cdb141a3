"""A real Label Studio on loopback, for tests: its database is SQLite in a folder of the test's, and nothing leaves the machine.

with running(tmp_path) as studio:
    ann = studio.admin
    bob = studio.sign_up("bob@example.org")
    project = ann.project("reviews", config, tasks)
    ann.annotate(task_id, decision="keep")
    ann.export(project, "JSON_MIN")
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.served import free_port

VENV = Path(__file__).parents[2] / ".venv-label-studio"
ADMIN, PASSWORD, TOKEN = "ann@example.org", "a secret of tests", "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"  # the proxy for all that is not on loopback: nobody listens there
FIRST_START = 600  # seconds: it makes its database in some hundred migrations


@dataclass
class User:
    """Somebody who annotates over the API."""

    address: str
    email: str
    token: str

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method or ("POST" if data else "GET"))
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            pytest.fail(f"{request.method} {path}: {error.code} {error.read()[:2000].decode(errors='replace')}")

    def project(self, title: str, config: str, tasks: list[dict[str, Any]]) -> int:
        """Make a project, and import its tasks."""
        project: int = self.ask("/api/projects", {"title": title, "label_config": config, "maximum_annotations": 2})["id"]
        done = self.ask(f"/api/projects/{project}/import", tasks)
        assert done["task_count"] == len(tasks), done
        return project

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found = self.ask(f"/api/tasks?project={project}&page_size=1000&fields=all")
        return sorted(found["tasks"], key=lambda task: int(task["data"]["sft_number"]))

    def annotate(self, task: int, decision: str = "", answer: str = "", why: str = "", skip: bool = False) -> None:
        """What the page sends when an annotation is submitted, or the task skipped."""
        result = _result(decision, answer, why)
        self.ask(f"/api/tasks/{task}/annotations/", {"result": result, "was_cancelled": skip, "lead_time": 3.5})

    def draft(self, task: int, decision: str) -> None:
        """What it sends meanwhile."""
        self.ask(f"/api/tasks/{task}/drafts", {"result": _result(decision, "", ""), "lead_time": 1.5})

    def export(self, project: int, kind: str = "JSON") -> Any:
        return self.ask(f"/api/projects/{project}/export?exportType={kind}&download_all_tasks=true")

    def snapshot(self, project: int) -> Any:
        """An export that names people by their addresses."""
        named = {"serialization_options": {"annotations__completed_by": {"only_id": False}}}
        made = self.ask(f"/api/projects/{project}/exports/", {"title": "with names", **named})
        while made["status"] not in ("completed", "failed"):
            time.sleep(0.2)
            made = self.ask(f"/api/projects/{project}/exports/{made['id']}")
        return self.ask(f"/api/projects/{project}/exports/{made['id']}/download?exportType=JSON")


def _result(decision: str, answer: str, why: str) -> list[dict[str, Any]]:
    texts = [
        {"from_name": name, "to_name": "row", "type": "textarea", "origin": "manual", "value": {"text": [text]}}
        for name, text in (("answer", answer), ("why", why))
        if text
    ]
    chosen = {
        "from_name": "decision",
        "to_name": "row",
        "type": "choices",
        "origin": "manual",
        "value": {"choices": [decision]},
    }
    return [*([chosen] if decision else []), *texts]


@dataclass
class Studio:
    """A running server. seconds: what its start took."""

    address: str
    seconds: float

    @property
    def admin(self) -> User:
        return User(self.address, ADMIN, TOKEN)

    def sign_up(self, email: str) -> User:
        """Somebody else, as on its page."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

        def ask(path: str, **form: str) -> str:
            data = urllib.parse.urlencode(form).encode() if form else None
            request = urllib.request.Request(self.address + path, data, {"Referer": self.address + path})
            with browser.open(request, timeout=120) as answer:
                return str(answer.read().decode())

        secret = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', ask("/user/signup/"))
        assert secret
        ask("/user/signup/", email=email, password=PASSWORD, csrfmiddlewaretoken=secret[1], allow_newsletters="false")
        return User(self.address, email, json.loads(ask("/api/current-user/token"))["token"])


@contextmanager
def running(folder: Path) -> Iterator[Studio]:
    """A server whose data lie in this folder; ended when the block is left."""
    data = folder / "label-studio"
    data.mkdir(parents=True)
    port, log, start = free_port(), folder / "label-studio.log", time.monotonic()
    command = [
        VENV / "bin" / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
        "--username", ADMIN, "--password", PASSWORD, "--user-token", TOKEN, "--enable-legacy-api-token",
    ]  # fmt: skip
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
        "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "http_proxy": NOWHERE, "https_proxy": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while not _answers(address):
            assert process.poll() is None and time.monotonic() - start < FIRST_START, log.read_text()[-5000:]
            time.sleep(0.5)
        yield Studio(address, time.monotonic() - start)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
