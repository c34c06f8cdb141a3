"""This machine: threads for what leaves the GIL, worker processes for what does not, the caller for what uses all cores itself.

A worker process is a program of its own (`worker.py`) at the end of two pipes. (A child of multiprocessing would import the
caller's main module again: a script without a guard, a run worker of Dagster, or nothing at all.) It ends when its input does,
however its parent ended. One that died is replaced once for a batch.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import IO, Any

from sft_assets.cores import cores
from sft_assets.engine import Engine, In, Job, Out, Workers
from sft_assets.engine.frames import environment, module, packed, read_frame, write_frame
from sft_assets.engine.worker import LoopThread, result_of
from sft_assets.errors import SftError

ENOUGH = 16_384  # rows: with fewer the caller is done sooner than worker processes have started
AHEAD = 2  # batches for each worker: one that it works on, one that waits for it
ATTEMPTS = 2
SECONDS_TO_END = 5.0


class Local(Engine):
    """threads: workers of a job, in threads or in processes; default: as many as there are cores."""

    def __init__(self, threads: int | None = None):
        self.threads = threads or cores()

    @contextmanager
    def workers(self, job: Job[In, Out]) -> Iterator[Workers[In, Out]]:
        alone = self.threads == 1 or (job.rows is not None and job.rows < ENOUGH)
        if job.local == "here" or (job.local == "processes" and alone):
            yield Here(job.load())
        elif job.local == "loop":
            loop: Loop[In, Out] = Loop(job.load(), job.at_once)
            try:
                yield loop
            finally:
                loop.close()
        elif job.local == "threads":
            with ThreadPoolExecutor(self.threads, job.name) as pool:
                try:
                    yield Threads(pool, job.load(), self.threads)
                finally:
                    pool.shutdown(cancel_futures=True)
        else:
            processes = Processes(job, self.threads)
            try:
                yield processes
            except BaseException:
                processes.kill()
                raise
            finally:
                processes.close()


class Here(Workers[In, Out]):
    """The caller does it itself, when it hands a batch over."""

    ahead = 0

    def __init__(self, function: Callable[[In], Any]):
        self.function = function

    def submit(self, batch: In) -> Future[Out]:
        done: Future[Out] = Future()
        done.set_result(self.function(batch))
        return done


class Threads(Workers[In, Out]):
    ahead = 0

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[[In], Any], threads: int):
        self.pool, self.function, self.ahead = pool, function, AHEAD * threads

    def submit(self, batch: In) -> Future[Out]:
        return self.pool.submit(self.function, batch)


class Loop(Workers[In, Out]):
    """An event loop in a thread of its own, for what waits for others most of the time."""

    ahead = 0

    def __init__(self, function: Callable[[In], Any], at_once: int):
        self.function, self.ahead, self.loop = function, at_once, LoopThread()

    def submit(self, batch: In) -> Future[Out]:
        return self.loop.start(self.function(batch))

    def close(self) -> None:
        """Break off what is in flight; a function that has something to close does it."""
        self.loop.close(getattr(self.function, "close", None))


class WorkerDied(Exception):
    """A worker ended without an answer."""


class Processes(Workers[In, Out]):
    """Worker processes that have all loaded the same job."""

    ahead = 0

    def __init__(self, job: Job[In, Out], processes: int):
        self.name, self.load, self.ahead = job.name, packed(job.load), AHEAD * processes
        self.threads = ThreadPoolExecutor(processes, job.name)  # each waits for one process
        self.idle: SimpleQueue[Process] = SimpleQueue()
        self.processes: list[Process] = []
        self.closing = False
        for _ in range(processes):
            self.idle.put(self._start())

    def submit(self, batch: In) -> Future[Out]:
        return self.threads.submit(self._work, batch)

    def kill(self) -> None:
        """End every process now; whoever waits for one is told so."""
        self.closing = True
        for process in self.processes:
            process.kill()

    def close(self) -> None:
        self.closing = True
        self.threads.shutdown(cancel_futures=True)
        for process in self.processes:
            process.close()

    def _start(self) -> Process:
        process = Process(self.load)
        self.processes.append(process)
        return process

    def _work(self, batch: In) -> Out:
        frame, ends = packed(batch), []
        for _ in range(ATTEMPTS):
            process = self.idle.get()
            try:
                answer = process.ask(frame)
                break
            except WorkerDied as death:
                ends.append(str(death))
                if not self.closing:
                    process = self._start()
            finally:
                self.idle.put(process)  # whatever became of it: a thread that waits for a process gets one
        else:
            raise SftError(
                f"{self.name}: a process that worked on a batch {ends[-1]}, and so had the one before it. Where memory is "
                "short, work with fewer processes (recipe: engine.threads: 1 works without any) and run it again"
            )
        result: Out = result_of(answer)
        return result


class Process:
    """One worker. Everything it says beside its answers goes to a file of its own, for the message when it died."""

    def __init__(self, load: bytes):
        self.words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            module("sft_assets.engine.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env=environment(),
        )
        self.load = load

    def ask(self, batch: bytes) -> bytes:
        """The answer to a batch.

        Raises:
            WorkerDied: with what is known of its end.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            if self.load:
                write_frame(stdin, self.load)
                self.load = b""
            write_frame(stdin, batch)
            answer = read_frame(stdout)
        except (OSError, ValueError):  # a broken pipe; one that was closed
            answer = None
        if answer is None:
            raise WorkerDied(self._end())
        return answer

    def _end(self) -> str:
        self.kill()
        return last_words(self.process, self.words)

    def close(self) -> None:
        """Let the process end by itself, or else end it."""
        with suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def last_words(process: subprocess.Popen[Any], words: IO[bytes]) -> str:
    """How a process ended, and the last line of what it said."""
    code = process.returncode
    words.seek(0)
    said = words.read().decode(errors="replace").strip().splitlines()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"{how}: {said[-1]}" if said else how


LOCAL = Local()
