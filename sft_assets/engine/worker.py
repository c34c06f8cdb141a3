"""A process that works on batches: what to load comes as its first message, then batches; one answer goes out for each.

    <- Job.load, pickled
    <- a batch, pickled
    -> (True, what the job's function gave) or (False, the error that it raised), pickled

It ends when its input does, however its parent ended.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import IO, Any

from sft_assets.engine.frames import packed, read_frame, unpacked, write_frame
from sft_assets.errors import SftError


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self, last: Callable[[], Coroutine[Any, Any, Any]] | None = None) -> None:
        """Break off what is running, and end the thread. last: what is to be done then."""
        self.start(self._cancel()).result()
        if last:
            self.start(last()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


class Loaded:
    """A job's function, loaded with the first batch: what fails then is an answer too. where: of whom SftErrors are to tell."""

    def __init__(self, load: bytes, where: str = ""):
        self.load, self.where = load, where
        self._function: Callable[[Any], Any] | None = None
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None

    def __call__(self, batch: bytes) -> bytes:
        """The answer to a batch. Never raises what the job raises."""
        try:
            with self._lock:
                if self._function is None:
                    self._function = unpacked(self.load)()
            result = self._function(unpacked(batch))
            return packed((True, self._awaited(result) if asyncio.iscoroutine(result) else result))
        except Exception as error:
            return packed((False, self._carried(error)))

    def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self._lock:
            self._loop = self._loop or LoopThread()
        return self._loop.start(coroutine).result()

    def _carried(self, error: Exception) -> Exception:
        """An error that can be raised elsewhere."""
        if isinstance(error, SftError):
            return SftError(f"{self.where}: {error}") if self.where else error
        told = "".join(traceback.format_exception(error))
        try:
            unpacked(packed(error))
        except Exception:  # whatever a class does when it is pickled
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(f"in a worker{f' {self.where}' if self.where else ''}:\n{told}")
        return error


def result_of(answer: bytes) -> Any:
    """What an answer gives.

    Raises:
        What the job's function raised.
    """
    done, value = unpacked(answer)
    if not done:
        raise value
    return value


def work(source: IO[bytes], target: IO[bytes]) -> None:
    """Answer batches until there are no more."""
    load = read_frame(source)
    if load is None:
        return
    loaded = Loaded(load)
    while (batch := read_frame(source)) is not None:
        write_frame(target, loaded(batch))


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library may print is no answer
    work(sys.stdin.buffer, answers)
