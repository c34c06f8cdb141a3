"""A real browser for tests: Chromium without a window, driven through its debugging port.

with tab(tmp_path) as page:
    page.go(file.as_uri())
    page.press("/")
    page.type("sql")
    page.drag([(100, 100), (300, 100), (300, 300), (100, 300)])
    page.value("document.title")
"""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]
PATIENCE = 300  # seconds: a wait ends as soon as there is what it waits for, and a machine may be busy with other tests
SHIFT, CONTROL = 8, 2  # modifiers, as the debugging protocol counts them


class Proxy(threading.Thread):
    """Everything that the browser asks of the world beyond loopback comes here, and is written down."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked: list[str] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(2000).decode(errors="replace").split("\r\n")[0])


class Page:
    """A tab. `events`: what the domains that were enabled told, oldest first."""

    def __init__(self, socket_: Any):
        self.socket = socket_
        self.number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": values}))
        while True:
            answer: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]  # type: ignore[no-any-return]
            self.events.append(answer)

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """What the expression gives as soon as that is true."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < end, (
                f"waited {seconds} seconds for {expression}; the page says {self.value('document.body?.innerText')!r}"
            )
            time.sleep(0.05)
        return found

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key, by its name (`a`, `Escape`, `ArrowLeft`)."""
        codes = {
            "Enter": 13,
            "Escape": 27,
            "Tab": 9,
            " ": 32,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }
        code = codes.get(key) or ord(key.upper())
        text = {"Enter": "\r"}.get(key) or (key if len(key) == 1 else "")
        values = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def type(self, text: str) -> None:
        for key in text:
            self.press(key)

    def pointer(self, kind: str, x: float, y: float, **values: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **values)

    def move(self, x: float, y: float) -> None:
        self.pointer("mouseMoved", x, y)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        self.pointer("mousePressed", x, y, button="left", clickCount=1)
        self.pointer("mouseReleased", x, y, button="left", clickCount=1)

    def drag(self, path: Sequence[tuple[float, float]], modifiers: int = 0) -> None:
        """Press at the first place, go by the others, release at the last."""
        held: dict[str, Any] = {"button": "left", "modifiers": modifiers}
        self.pointer("mouseMoved", *path[0], modifiers=modifiers)
        self.pointer("mousePressed", *path[0], clickCount=1, **held)
        for (x0, y0), (x1, y1) in itertools.pairwise(path):
            for part in range(1, 6):
                self.pointer("mouseMoved", x0 + (x1 - x0) * part / 5, y0 + (y1 - y0) * part / 5, buttons=1, **held)
        self.pointer("mouseReleased", *path[-1], clickCount=1, **held)


@contextmanager
def tab(profile: Path, proxy: Proxy | None = None, size: tuple[int, int] = (1400, 900)) -> Iterator[Page]:
    """A new browser with one tab. `profile`: a folder that is not there yet."""
    through = [f"--proxy-server=127.0.0.1:{proxy.port}"] if proxy else []
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--window-size={size[0]},{size[1]}",
        f"--user-data-dir={profile}",
        *through,
        "about:blank",
    ]
    browser = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_port(profile)}/json/list", timeout=PATIENCE) as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        with connect(target["webSocketDebuggerUrl"], max_size=None, ping_interval=None, open_timeout=PATIENCE) as socket_:
            yield Page(socket_)
    finally:
        browser.terminate()
        try:
            browser.wait(60)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def _port(profile: Path) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            return int((profile / "DevToolsActivePort").read_text().split()[0])
        except (OSError, IndexError):
            time.sleep(0.1)
    return pytest.fail(f"waited {PATIENCE} seconds for Chromium")
