"""A Ray cluster, through a process of its own that is Ray's driver (`bridge.py`).

    recipe  engine: {ray: {address: "10.0.0.1:6379", embeddings: {cpus: 4, gpus: 1}}}

Ray ends the process that it runs in when its cluster is lost: here that is the bridge, and this process is told. What was
finished by then is in the caches and in the database as ever. The bridge is kept for the next job, and ends with this process.
"""

from __future__ import annotations

import atexit
import itertools
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from importlib.util import find_spec
from typing import IO, Any

from sft_assets.engine import Engine, In, Job, Out, Workers
from sft_assets.engine.frames import environment, module, packed, read_frame, unpacked, write_frame
from sft_assets.engine.local import last_words
from sft_assets.engine.worker import result_of
from sft_assets.errors import SftError
from sft_assets.recipe import RayCluster

INSTALL = "pip install 'sft-assets[ray]'"
AHEAD = 2  # batches for each worker: one that it works on, one that waits for it
FIRST_AHEAD = 4  # before the cluster has said how many workers there will be
MOST_AHEAD = 512  # batches that are held here, however many workers there are ...
MOST_BYTES = 512 << 20  # ... and what of them is sent and not answered
SECONDS_TO_END = 10.0
GONE = "nobody answers there"
# Ray's own: how long its driver tries to reach a cluster that is gone, and that it reports nothing to anybody
SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "20", "RAY_USAGE_STATS_ENABLED": "0"}


class Cluster(Engine):
    """say: hears of workers that died, and of a cluster that is full.

    Raises:
        SftError: Ray is not installed.
    """

    def __init__(self, settings: RayCluster, say: Callable[[str], None] = lambda text: None):
        if find_spec("ray") is None:
            raise SftError(f"the recipe's engine.ray needs Ray, which is not installed: `{INSTALL}`, or leave engine.ray out")
        self.settings, self.say = settings, say
        self._context = copy_context()  # what tells people is found there, and the bridge is listened to in another thread

    def _told(self, words: str) -> None:
        with suppress(Exception):  # nobody who cannot be told is to stop the answers
            self._context.copy().run(self.say, words)

    @contextmanager
    def workers(self, job: Job[In, Out]) -> Iterator[Workers[In, Out]]:
        lane: Lane[In, Out] = Lane(Bridge.to(self.settings.address), self._told)
        asked = getattr(self.settings, job.name)
        lane.open((job.name, packed(job.load), asked.cpus, asked.gpus, asked.most, job.at_once))
        try:
            yield lane
        finally:
            lane.close()


class Lane(Workers[In, Out]):
    """The workers of one job on the cluster, as seen from here."""

    def __init__(self, bridge: Bridge, say: Callable[[str], None]):
        self.bridge, self.say = bridge, say
        self.number, self._batches = next(bridge.numbers), itertools.count()
        self._waiting: dict[int, tuple[Future[bytes], int]] = {}
        self._ahead, self._sent = FIRST_AHEAD, 0
        self._lock = threading.Lock()

    @property
    def ahead(self) -> int:
        return self._ahead if self._sent < MOST_BYTES else 0

    def open(self, asked: tuple[Any, ...]) -> None:
        self.bridge.lanes[self.number] = self
        self.bridge.send("open", self.number, asked)

    def close(self) -> None:
        self.bridge.lanes.pop(self.number, None)
        with suppress(SftError):  # a lost cluster: who waits for a batch is told
            self.bridge.send("close", self.number)
        self.fail("the job was ended")

    def submit(self, batch: In) -> Future[Out]:
        number, result, answer = next(self._batches), Future[Out](), Future[bytes]()
        answer.add_done_callback(lambda done: _hand_on(done, result))
        frame = packed(batch)
        with self._lock:
            self._waiting[number] = answer, len(frame)
            self._sent += len(frame)
        self.bridge.send("batch", self.number, number, frame)
        return result

    def heard(self, kind: str, *words: Any) -> None:
        """A message of the bridge about this job."""
        if kind == "say":
            self.say(words[0])
        elif kind == "workers":
            self._ahead = min(words[0], MOST_AHEAD)
        else:
            with self._lock:
                answer, size = self._waiting.pop(words[0], (None, 0))
                self._sent -= size
            if answer and kind == "done":
                answer.set_result(words[1])
            elif answer:
                answer.set_exception(SftError(words[1]))

    def fail(self, why: str) -> None:
        """There will be no more answers."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answer, _ in waiting.values():
            answer.set_exception(SftError(why))


def _hand_on(answer: Future[bytes], result: Future[Any]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(result_of(answer.result()))
    except Exception as error:
        result.set_exception(error)


class Bridge:
    """The process that talks to a cluster. One for each address, for all jobs of this process."""

    kept: dict[str, Bridge] = {}  # noqa: RUF012
    starting = threading.Lock()

    @classmethod
    def to(cls, address: str) -> Bridge:
        """The bridge to the cluster at an address; another one where the last was lost."""
        with cls.starting:
            bridge = cls.kept.get(address)
            if bridge is None or bridge.lost:
                bridge = cls.kept[address] = cls(address)
        return bridge

    def __init__(self, address: str):
        self.address, self.lost = address, ""
        self.numbers = itertools.count()
        self.lanes: dict[int, Lane[Any, Any]] = {}
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._sending = threading.Lock()
        # a session of its own: Ctrl-C is for this process, which then ends that one
        self.process = subprocess.Popen(
            [*module("sft_assets.engine.bridge"), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=SETTINGS | environment(),
            start_new_session=True,
        )
        atexit.register(self.close)
        threading.Thread(target=self._listen, name="ray bridge", daemon=True).start()

    def send(self, *message: Any) -> None:
        """Tell the bridge.

        Raises:
            SftError: the cluster is lost.
        """
        stdin = self.process.stdin
        assert stdin is not None
        try:
            if not self.lost:
                with self._sending:
                    write_frame(stdin, packed(message))
        except (OSError, ValueError):
            self.process.wait()  # the listener finds out why
            self._end("")
        except BaseException:  # half a message would be taken for the beginning of the next
            self.process.kill()
            raise
        if self.lost:
            raise SftError(self.lost)

    def close(self) -> None:
        """Let the bridge end, and with it all that it has on the cluster."""
        self.lost = self.lost or "the connection to the cluster was closed"
        with suppress(OSError, ValueError):
            if self.process.stdin:
                self.process.stdin.close()
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        stdout, why = self.process.stdout, ""
        assert stdout is not None
        try:
            while (frame := read_frame(stdout)) is not None:
                kind, number, *words = unpacked(frame)
                if kind == "lost":
                    why = words[0]
                elif (lane := self.lanes.get(number)) is not None:
                    lane.heard(kind, *words)
        finally:  # whatever ends it: nobody listens any more
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS_TO_END)
            self.process.kill()
            self.process.wait()
            self._end(why)
            atexit.unregister(self.close)

    def _end(self, why: str) -> None:
        if not why:
            why = f"the process that talked to it {last_words(self.process, self._words)}"
            why = GONE if "Failed to connect to GCS" in why else why
        self.lost = self.lost or (
            f"the Ray cluster {self.address!r} cannot be used: {why}. What was finished is kept: `sft run` goes on from there "
            "when the cluster is back, or on this machine without engine.ray in the recipe"
        )
        for lane in list(self.lanes.values()):
            lane.fail(self.lost)
