"""The Dagster UI and daemon over a data folder, on loopback: `dagster dev` with the folder's own instance, one at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sft_assets.errors import Busy, SftError
from sft_assets.folder import ENVIRONMENT, Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import fail_dead_runs, open_instance, write_instance_config

HOST = "127.0.0.1"


def free_port(wanted: int = 0) -> int:
    """`wanted` if nothing listens there, else one that the system picks.

    Raises:
        SftError: no port can be had on loopback.
    """
    for port in (wanted, 0):
        with closing(socket.socket()) as s, suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((HOST, port))
            return int(s.getsockname()[1])
    raise SftError(f"no port can be opened on {HOST}")


@contextmanager
def only_one(folder: Folder, address: str) -> Iterator[int]:
    """Hold the folder's UI lock: two daemons on one instance would fight. Yields the lock's handle, for the child to hold too.

    Raises:
        Busy: names the address at which the other one answers.
    """
    folder.dagster.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.dagster / "ui.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(handle, 200, 0).decode(errors="replace").strip()
        os.close(handle)
        raise Busy(f"the UI of {folder} is already open: {other}") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{address} (PID {os.getpid()})\n".encode(), 0)
    try:
        yield handle
    finally:
        os.close(handle)


def instance_home(folder: Folder) -> Path:
    """The folder with the dagster.yaml that Dagster's own processes read."""
    if (folder.root / "dagster.yaml").exists():
        write_instance_config(folder, folder.root)
        return folder.root
    write_instance_config(folder, folder.dagster)
    return folder.dagster


def dev(folder: Folder, port: int | None = None, ready: Callable[[str], None] = print) -> int:
    """Run UI and daemon until interrupted; the exit code. `ready` hears the address once it answers.

    Raises:
        SftError: the recipe cannot be used, or the UI is open already.
    """
    if not folder.root.is_dir():
        raise SftError(f"{folder} is no folder: make it with `sft init {folder}`")
    Recipe.load(folder.recipe)
    fail_dead_runs(open_instance(folder))
    at = free_port(port or 3000)
    if port and at != port:
        raise SftError(f"port {port} is taken; leave --port out and a free one is picked")
    address = f"http://{HOST}:{at}"
    with only_one(folder, address) as lock:
        environment = {**os.environ, ENVIRONMENT: str(folder.root), "DAGSTER_HOME": str(instance_home(folder))}
        environment["DAGSTER_DISABLE_TELEMETRY"] = "true"
        command = [sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", str(at), "-m", "sft_assets.definitions"]
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end the children below
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, pass_fds=(lock,), preexec_fn=_interruptible
        )
        try:
            if _answers(process, address):
                ready(address)
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end(process)


def _interruptible() -> None:
    """A shell's `&` has its children ignore SIGINT, which is what `dagster dev` ends its own children with."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, and then end whatever is left of the process group."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], address: str, seconds: float = 120) -> bool:
    """Wait until the UI answers (never through a proxy); False where it ended before or took too long."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), direct.open(f"{address}/server_info", timeout=2):
            return True
        time.sleep(0.3)
    return False
