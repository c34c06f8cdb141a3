"""One server on a data folder: a lock, a port, the guarded application, and an end that leaves no process behind.

    the UI of data is already open: http://127.0.0.1:3000 (PID 4711)
    port 3000 is taken; leave --port out and a free one is picked

Viewers (`--read-only`) need no lock: they start no daemon and no run.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import psutil

from sft_assets.errors import Busy, SftError
from sft_assets.folder import ENVIRONMENT, Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import PROCESS_TAG, fail_dead_runs, open_instance
from sft_assets.serve.guard import Guard, Rules

if TYPE_CHECKING:
    import uvicorn
    from dagster import DagsterInstance
    from dagster._daemon.controller import DagsterDaemonController

    from sft_assets.serve.ui import Location

HOST = "127.0.0.1"
PORT = 3000
TOKEN = "SFT_TOKEN"
PRINTED = "serve.log"  # in D/.dagster: what the code server and its runs print
LOOK = 2.0  # seconds between two looks at what runs
PATIENCE = 15.0  # seconds that runs in progress are given to end by themselves
Say = Callable[[str], None]


def serve(
    folder: Folder,
    port: int | None = None,
    token: str | None = None,
    read_only: bool = False,
    ready: Callable[[Rules], None] = lambda rules: None,
    say: Say = print,
) -> int:
    """Serve UI, report and map of a folder until SIGINT or SIGTERM; the exit code.

    port: 3000 or a free one where it is not said. token: who does not have it is told nothing. read_only: a viewer, which
    starts nothing. ready: hears the rules once it answers. say: hears of what died meanwhile.

    Raises:
        SftError: the recipe cannot be used, the port is taken.
        Busy: another one serves the folder. The message has its address.
    """
    folder.existing()
    Recipe.load(folder.recipe)
    os.environ[ENVIRONMENT] = str(folder.root)  # for the code server and its runs
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "true"
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"  # as `dagster dev` does: a graph that cannot be loaded is told of once
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)  # a shell's `&` has its children ignore SIGINT
    try:
        with nullcontext() if read_only else only_one(folder) as lock, listening(port) as listener:
            rules = Rules(listener.getsockname()[1], token, read_only)
            if lock is not None:
                os.pwrite(lock, f"http://{HOST}:{rules.port} (PID {os.getpid()})\n".encode(), 0)
            return _serve(folder, rules, listener, ready, say)
    except KeyboardInterrupt:
        return 0


def new_token() -> str:
    """What SFT_TOKEN says (a command line can be read by everybody on the machine), else a random one. Runs do not inherit it.

    Raises:
        SftError: SFT_TOKEN is too short to be a secret.
    """
    given = os.environ.pop(TOKEN, None)
    if given is not None and (len(given) < 16 or not given.isascii() or not given.replace("-", "").replace("_", "").isalnum()):
        raise SftError(f"{TOKEN}: a token has at least 16 letters, digits, - and _; without {TOKEN} one is made")
    return given or secrets.token_urlsafe(24)


@contextmanager
def only_one(folder: Folder) -> Iterator[int]:
    """Hold the folder's UI lock: two daemons on one instance would fight. Yields its handle, to write an address to.

    Raises:
        Busy: names the address at which the other one answers.
    """
    folder.dagster.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.dagster / "ui.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(handle, 200, 0).decode(errors="replace").strip() or "by a process that is starting"
        os.close(handle)
        raise Busy(f"the UI of {folder} is already open: {other}; a viewer beside it is started with --read-only") from None
    try:
        os.ftruncate(handle, 0)
        yield handle
    finally:
        os.ftruncate(handle, 0)
        os.close(handle)


@contextmanager
def listening(port: int | None) -> Iterator[socket.socket]:
    """A socket that listens on loopback: at `port`, or at 3000 or a free port.

    Raises:
        SftError: `port` is taken, or none can be had.
    """
    for wanted in (port,) if port is not None else (PORT, 0):
        with socket.socket() as listener:
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((HOST, wanted))
                listener.listen(128)
            except OSError:
                continue
            yield listener
            return
    if port is None:
        raise SftError(f"no port can be opened on {HOST}")
    raise SftError(f"port {port} is taken; leave --port out and a free one is picked")


def _serve(folder: Folder, rules: Rules, listener: socket.socket, ready: Callable[[Rules], None], say: Say) -> int:
    from sft_assets.serve.pages import FORMS, with_pages
    from sft_assets.serve.ui import daemon, opened

    rules = Rules(rules.port, rules.token, rules.read_only, FORMS)
    instance = open_instance(folder)
    if not rules.read_only:
        fail_dead_runs(instance)
    mine = Children()
    printed = None if rules.read_only else folder.dagster / PRINTED
    try:
        with opened(folder, instance, rules.read_only, printed) as (location, app):
            server = _server(Guard(with_pages(app, location, rules), rules))
            try:
                with nullcontext() if rules.read_only else daemon(location) as controller:
                    watch = Caretaker(location, controller, server, mine, say)
                    watch.start()
                    try:
                        ready(rules)
                        if printed is not None:
                            say(f"what runs print goes into {printed}")
                        if broken := _broken(location):
                            say(broken)
                        server.run(sockets=[listener])
                    finally:
                        _deaf()  # from here on it takes its time, which is bounded
                        watch.stop()
            finally:
                if not rules.read_only:
                    _cancel(instance, mine, say)
        return 1 if watch.failed else 0
    finally:
        _deaf()
        mine.end()
        if not rules.read_only:
            with suppress(Exception):  # whoever comes next does so too
                fail_dead_runs(instance)


def _deaf() -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def _server(app: Guard) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,  # addresses may hold the token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


class Children:
    """Every process that came of this one: the code server, the runs that it started, and theirs."""

    def __init__(self) -> None:
        self.seen = set[psutil.Process]()

    def look(self) -> None:
        self.seen.update(psutil.Process().children(recursive=True))  # a run whose parent died is nobody's child any more

    def holds(self, tag: str) -> bool:
        """Whether the process that wrote such a tag is one of these."""
        self.look()
        _, pid, started = tag.rsplit(" ", 2)
        return any((str(p.pid), f"{p.create_time():.2f}") == (pid, started) for p in self.seen)

    def end(self) -> None:
        """Ask them to end, and end those that do not."""
        self.look()
        left = list(self.seen)
        for ask in (psutil.Process.terminate, psutil.Process.kill):
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    ask(process)
            _, left = psutil.wait_procs(left, 3)


class Caretaker(threading.Thread):
    """Looks after the recipe, the code server and the daemon. An edited recipe is loaded once it rests and can be used, so that
    the UI shows at once what it makes stale. A code server that died is replaced; without its daemon the server ends.
    """

    def __init__(
        self,
        location: Location,
        controller: DagsterDaemonController | None,
        server: uvicorn.Server,
        children: Children,
        say: Say,
    ):
        super().__init__(daemon=True, name="watch")
        self.location = location
        self.controller = controller
        self.server = server
        self.children = children
        self.say = say
        self.failed = False
        self.edited: Recipe | None = None  # as it was at the last look, where it is not the loaded one
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(LOOK):
            try:
                self.look()
            except Exception as error:  # whatever it was, the next look comes
                self.tell(f"a look at what runs failed: {type(error).__name__}: {error}")
            if self.controller is None or self.stopped.is_set():  # a look may take so long that all ends meanwhile
                continue
            try:
                self.controller.check_daemon_threads()
            except Exception:  # Dagster's own has no class of its own
                self.tell("the daemon ended, so no sensor, schedule or queued run would be served: `sft serve` ends too")
                self.failed = self.server.should_exit = True
                return

    def look(self) -> None:
        """At processes and the recipe."""
        self.children.look()
        code = self.location.ended()
        if code == 0 and self.location.is_broken:
            code = None  # nobody asks a code server without a graph, so it ends; an edited recipe or "Reload" brings another
        if code is not None and not self.stopped.is_set():
            self.tell(f"the code server ended ({_exit(code)}); it is started again")
            self.location.reload_workspace()
            self.tell(_broken(self.location) or "it is back")
        # an edited recipe is loaded, unless it is still being written or cannot be used
        recipe = self.location.edited()
        if recipe is not None and recipe == self.edited and not self.stopped.is_set():
            self.tell("recipe.yaml was edited: the definitions are loaded again")
            self.location.reload()
            if broken := _broken(self.location):
                self.tell(broken)
            recipe = None
        self.edited = recipe

    def tell(self, what: str) -> None:
        if not self.stopped.is_set():  # at the end code server and daemon are gone because they should be
            self.say(what)

    def stop(self) -> None:
        self.stopped.set()
        self.join(PATIENCE)


def _broken(location: Location) -> str | None:
    return None if (why := location.error()) is None else f"the code server cannot load the graph: {why}"


def _exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _cancel(instance: DagsterInstance, mine: Children, say: Say) -> None:
    """End the runs in progress that this server started; each marks itself as canceled, and nothing half-done is stored."""
    from dagster import DagsterRunStatus, RunsFilter
    from dagster._core.storage.tags import GRPC_INFO_TAG  # a run that a code server starts has it

    begun = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    under_way = RunsFilter(statuses=begun)
    runs = {
        run.run_id
        for run in instance.get_runs(under_way)
        if (mine.holds(run.tags[PROCESS_TAG]) if PROCESS_TAG in run.tags else GRPC_INFO_TAG in run.tags)
    }
    for run_id in runs:
        say(f"run {run_id[:8]} is canceled")
        with suppress(Exception):  # its process is ended in any case
            instance.run_launcher.terminate(run_id)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(run.run_id in runs for run in instance.get_runs(under_way)):
        time.sleep(0.2)
