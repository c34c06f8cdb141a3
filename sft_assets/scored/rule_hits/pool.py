"""The search on all cores: batches go to worker processes, and hits come back, in the order of the batches.

    with Pool(rules, processes=4) as pool:
        for rows, found in pool.map(batches):   # RecordBatch(content_hash, messages, tools) -> Table(content_hash, rule, ...)
            ...

Checks hold the GIL, so that threads would not do. A worker is a program of its own (`worker.py`) at the end of two pipes. (A
child of multiprocessing would import the caller's main module again: a script without a guard, a run worker of Dagster, or
nothing at all.) It ends when its input does, however its parent ended. A worker that died is replaced once for a batch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO

import pyarrow as pa

from sft_assets.errors import SftError
from sft_assets.scored.rule_hits.rules import Rule
from sft_assets.scored.rule_hits.worker import read_frame, read_table, rules_to_bytes, table_to_bytes, write_frame

PACKAGES = Path(__file__).parents[3]  # the folder that has sft_assets in it
AHEAD = 2  # batches that wait for each worker
SECONDS_TO_END = 5.0
ATTEMPTS = 2


class WorkerDied(Exception):
    """A worker ended without an answer."""


class Worker:
    """One process. Everything it says beside its answers goes to a file of its own, for the message when it died."""

    def __init__(self, rules: bytes):
        self.words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
        # -P: no module of the working folder is taken for one of ours
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sft_assets.scored.rule_hits.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.first = rules

    def search(self, batch: pa.RecordBatch) -> pa.Table:
        """The hits in a batch.

        Raises:
            WorkerDied: with what is known of its end.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            if self.first:
                write_frame(stdin, self.first)
                self.first = b""
            write_frame(stdin, table_to_bytes(pa.Table.from_batches([batch])))
            answer = read_frame(stdout)
        except (OSError, ValueError):  # a broken pipe; one that was closed
            answer = None
        if answer is None:
            raise WorkerDied(self._end())
        return read_table(answer)

    def _end(self) -> str:
        self.kill()
        code = self.process.returncode
        self.words.seek(0)
        said = self.words.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}: {said[-1]}" if said else how

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


class Pool:
    """Worker processes that all know the same rules."""

    def __init__(self, rules: Sequence[Rule], processes: int):
        self.rules = rules_to_bytes(rules)
        self.processes = processes
        self.threads = ThreadPoolExecutor(processes, "rule_hits")  # each waits for one worker
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        self.workers: list[Worker] = []
        self.closing = False

    def __enter__(self) -> Pool:
        for _ in range(self.processes):
            self.idle.put(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing = True
        for worker in self.workers if kind else []:
            worker.kill()  # whoever waits for it is told so
        self.threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.close()

    def map(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
        """How many rows each batch has, and the hits in it, in the order of the batches, of which few are read ahead.

        Raises:
            SftError: a worker died, and the one in its place died of the same batch.
        """
        waiting: deque[tuple[int, Future[pa.Table]]] = deque()
        for batch in batches:
            waiting.append((len(batch), self.threads.submit(self._search, batch)))
            if len(waiting) > AHEAD * self.processes:
                rows, found = waiting.popleft()
                yield rows, found.result()
        for rows, found in waiting:
            yield rows, found.result()

    def _start(self) -> Worker:
        worker = Worker(self.rules)
        self.workers.append(worker)
        return worker

    def _search(self, batch: pa.RecordBatch) -> pa.Table:
        ends = []
        for _ in range(ATTEMPTS):
            worker = self.idle.get()
            try:
                return worker.search(batch)
            except WorkerDied as death:
                ends.append(str(death))
                if not self.closing:
                    worker = self._start()
            finally:
                self.idle.put(worker)  # whatever became of it: a thread that waits for a worker gets one
        raise SftError(
            f"rule_hits: a process that searched {len(batch):,} rows {ends[-1]}, and so had the one before it. Where memory is "
            "short, search with fewer processes (recipe: engine.threads: 1 searches without any) and run it again"
        )
