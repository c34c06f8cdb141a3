"""The process that is Ray's driver: batches come in over a pipe, are worked on by actors, and the answers go out.

    <- ("open", lane, (name, load, cpus, gpus, most, at_once))      -> ("workers", lane, batches that may be in flight)
    <- ("batch", lane, number, batch)                               -> ("done", lane, number, answer)
    <- ("close", lane)                                              -> ("failed", lane, number, why), ("say", lane, words)
                                                                    -> ("lost", None, why), and the end

Actors are started one by one as batches come, up to what the cluster has room for; each loads its job once. The batches of one
that dies are worked on again by others. The process ends when its input does, and its actors with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import sys
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import ray
from ray.exceptions import RayError

from sft_assets import __version__
from sft_assets.cores import use
from sft_assets.engine.frames import packed, read_frame, unpacked, write_frame
from sft_assets.engine.worker import Loaded
from sft_assets.errors import SftError

ATTEMPTS = 3  # workers that a batch may be the end of
WAITING = 2  # batches of a worker that works on one at a time: the next is there when it ends
LOOK = 2.0  # seconds between looks at the cluster
SILENT = 20.0  # seconds without an answer from the cluster, after which it is lost
COMPUTE = ("numba", "numpy", "pyarrow", "regex", "sentence-transformers", "tokenizers", "torch", "transformers")
PATIENCE = 30.0  # seconds without a worker, after which people are told


class SftWorker:
    """A worker: loads a job, and answers batches."""

    def __init__(self, load: bytes, cpus: float, gpus: float):
        use(max(1, int(cpus)), gpus > 0)
        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self.loaded = Loaded(load, f"on node {node}")

    def hello(self) -> dict[str, str]:
        """What has to be the same on every node."""
        return versions()

    def run(self, batch: bytes) -> bytes:
        return self.loaded(batch)


@cache
def versions() -> dict[str, str]:
    """What a result may depend on beside the batch."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".md")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return {
        "sft_assets": f"{__version__} ({digest.hexdigest()[:8]})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in COMPUTE},
        "place": f"{uuid.getnode()} {platform.node()} {package}",
    }


@dataclass(eq=False)
class Worker:
    """An actor as seen from here. busy: batches that it has; ready: once it has answered."""

    handle: Any
    busy: int = 0
    ready: bool = False
    dead: bool = False


@dataclass
class Lane:
    """The actors of one job, and the batches that wait for them."""

    bridge: Bridge
    number: int
    name: str
    load: Any
    cpus: float
    gpus: float
    most: int | None
    at_once: int
    workers: list[Worker] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    failure: str = ""
    failed_starts: int = 0  # in a row
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def room(self) -> int:
        """Workers that the cluster has room for, if nobody else uses it.

        Raises:
            SftError: for none.
        """
        nodes = [node["Resources"] for node in self.bridge.nodes if node["Alive"]]
        fits = [
            min(int(node.get(kind, 0) / asked + 1e-6) for kind, asked in (("CPU", self.cpus), ("GPU", self.gpus)) if asked)
            for node in nodes
        ]
        if not sum(fits):
            there = [f"{int(node.get('CPU', 0))} CPU and {int(node.get('GPU', 0))} GPU" for node in nodes]
            raise SftError(
                f"a worker of {self.name} is to have {self.cpus:g} CPU and {self.gpus:g} GPU (recipe: engine.ray.{self.name}), "
                f"and no node of the cluster has them ({', '.join(there) or 'there is none'})"
            )
        return min(sum(fits), self.most or sum(fits))

    def submit(self, number: int, batch: bytes) -> None:
        task = asyncio.create_task(self._work(number, batch))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for worker in self.workers:
            worker.dead = True
            ray.kill(worker.handle)
        self.workers.clear()

    async def _work(self, number: int, batch: bytes) -> None:
        """The answer to a batch, by as many workers as it takes."""
        why = ""
        try:
            for _ in range(ATTEMPTS):
                worker = await self._free()
                try:
                    answer = await worker.handle.run.remote(batch)
                    self.bridge.tell("done", self.number, number, answer)
                    return
                except RayError as error:
                    why = _first_line(error)
                    self._bury(worker, f"a worker of {self.name} died ({why}); its batches are worked on again by another")
                finally:
                    worker.busy -= 1
                    async with self.changed:
                        self.changed.notify_all()
            raise SftError(
                f"{self.name}: {ATTEMPTS} workers died of the same batch, the last: {why}. Where memory is short, give each "
                f"worker more of a node (recipe: engine.ray.{self.name}.cpus), so that there are fewer on it"
            )
        except Exception as error:  # whatever it is: somebody waits for an answer
            self.bridge.tell("failed", self.number, number, str(error) or type(error).__name__)

    @property
    def depth(self) -> int:
        """Batches that a worker may have: one waits for it, unless it works on several at a time anyway."""
        return WAITING if self.at_once == 1 else self.at_once

    async def _free(self) -> Worker:
        """The ready worker that has the least to do, when there is one that is not full."""
        async with self.changed:
            while True:
                if self.failure:
                    raise SftError(self.failure)
                self._grow()
                ready = [worker for worker in self.workers if worker.ready and worker.busy < self.depth]
                if ready:
                    worker = min(ready, key=lambda worker: worker.busy)
                    worker.busy += 1
                    return worker
                await self.changed.wait()

    def _grow(self) -> None:
        """One more worker, where there are more batches than workers."""
        if len(self.tasks) <= len(self.workers) * self.at_once or len(self.workers) >= self.room():
            return
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        options["max_concurrency"] = self.at_once
        worker = Worker(self.bridge.actors.options(**options).remote(self.load, self.cpus, self.gpus))
        self.workers.append(worker)
        started = asyncio.create_task(self._start(worker))
        self.bridge.background.add(started)
        started.add_done_callback(self.bridge.background.discard)

    async def _start(self, worker: Worker) -> None:
        hello = asyncio.ensure_future(worker.handle.hello.remote())
        try:
            while not (await asyncio.wait({hello}, timeout=PATIENCE))[0]:
                if worker.dead:
                    return
                if not any(other.ready for other in self.workers):
                    self.say(f"{self.name}: the cluster has no room for a worker yet ({self.cpus:g} CPU, {self.gpus:g} GPU)")
            if why := _differ(hello.result()):
                self.failure = why
            else:
                worker.ready, self.failed_starts = True, 0
        except Exception as error:  # of Ray, mostly
            if not worker.dead:
                self._bury(worker, "")
                self.failed_starts += 1
                alone = not any(other.ready for other in self.workers)
                if "ModuleNotFoundError" in str(error) or (alone and self.failed_starts >= ATTEMPTS):
                    self.failure = f"{self.name}: no worker could be started: {_first_line(error)}. {NODES}"
        async with self.changed:
            self.changed.notify_all()

    def _bury(self, worker: Worker, words: str) -> None:
        if worker in self.workers:
            worker.dead = True
            self.workers.remove(worker)
            if words:
                self.say(words)

    def say(self, words: str) -> None:
        self.bridge.tell("say", self.number, words)


def _nodes() -> list[dict[str, Any]]:
    return ray.nodes()  # type: ignore[no-any-return, no-untyped-call]


NODES = "Every node needs the same Python and the same version of sft_assets with its extra `ray`"


def _differ(there: dict[str, str]) -> str:
    """What is not the same there as here; empty where nothing is. The same files are the same, also while they are edited."""
    ours = versions()
    if there["place"] == ours["place"]:
        return ""
    said = [f"{name} {there[name]} there, {ours[name]} here" for name in ours if name != "place" and there[name] != ours[name]]
    return f"a node of the cluster would give other results: {', '.join(said)}. {NODES}" if said else ""


def _first_line(error: BaseException) -> str:
    """The line of a message of Ray's that says most: it ends with what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "died" in line or "dead" in line]
    return (telling[-1] if telling else lines[-1] if lines else type(error).__name__)[:300]


class Bridge:
    """Messages in, messages out, and the lanes between them."""

    def __init__(self, source: IO[bytes], target: IO[bytes]):
        self.source, self.target = source, target
        self.lanes: dict[int, Lane] = {}
        self.background: set[asyncio.Task[None]] = set()
        self.nodes = _nodes()  # as they were when somebody looked last
        self.actors: Any = ray.remote(SftWorker)

    def tell(self, *message: Any) -> None:
        with suppress(OSError):  # the parent is gone
            write_frame(self.target, packed(message))

    async def serve(self) -> None:
        """Until the input ends, or the cluster is lost."""
        loop, messages = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

        def listen() -> None:
            while (frame := read_frame(self.source)) is not None:
                loop.call_soon_threadsafe(messages.put_nowait, frame)
            loop.call_soon_threadsafe(messages.put_nowait, None)

        threading.Thread(target=listen, daemon=True).start()
        watch = asyncio.create_task(self._watch(messages))
        while (frame := await messages.get()) is not None:
            self.heard(*unpacked(frame))
        watch.cancel()
        for lane in list(self.lanes.values()):
            lane.close()

    def heard(self, kind: str, number: int, *more: Any) -> None:
        if kind == "open":
            name, load, *asked = more[0]
            lane = self.lanes[number] = Lane(self, number, name, ray.put(load), *asked)
            with suppress(SftError):  # the first batch is told
                self.tell("workers", number, lane.depth * lane.room() + 2)
        elif kind == "batch" and number in self.lanes:
            self.lanes[number].submit(*more)
        elif kind == "close" and number in self.lanes:
            self.lanes.pop(number).close()

    async def _watch(self, messages: asyncio.Queue[bytes | None]) -> None:
        """End the process when the node that it is on, or the whole cluster, is gone."""
        own, loop = ray.get_runtime_context().get_node_id(), asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK)
            try:
                self.nodes = await asyncio.wait_for(loop.run_in_executor(None, _nodes), SILENT)
                if any(node["NodeID"] == own and node["Alive"] for node in self.nodes):
                    continue
                why = "the node that this machine is of it is gone"
            except (TimeoutError, RayError, RuntimeError, ConnectionError) as error:
                why = f"it was lost ({_first_line(error)})"
            self.tell("lost", None, why)
            os._exit(0)


def main() -> None:
    address = sys.argv[1]
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints is no message
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except Exception as error:  # whatever it is: without a cluster there is nothing to do
        write_frame(target, packed(("lost", None, f"there is none to be reached ({_first_line(error)})")))
        return
    asyncio.run(Bridge(sys.stdin.buffer, target).serve())
    ray.shutdown()


if __name__ == "__main__":
    from sft_assets.engine import bridge as this  # so that what is pickled is of a module that workers can import

    this.main()
