"""Jobs for tests of engines: other processes import them from here."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable

import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.errors import SftError


def times(factor: int) -> Callable[[int], tuple[int, int, int]]:
    """A job's function: who worked on a batch, and what became of it."""
    return lambda batch: (os.getpid(), threading.get_ident(), factor * batch)


def sums() -> Callable[[pa.RecordBatch], int]:
    return lambda batch: pc.sum(batch["number"]).as_py()


def failing(error: type[Exception], *words: str) -> Callable[[int], int]:
    def function(batch: int) -> int:
        if batch == 3:
            raise error(*words)
        return batch

    return function


def broken() -> Callable[[int], int]:
    raise SftError("there is no such model")


class Odd(Exception):
    """One that cannot be pickled: it takes two words, and keeps one."""

    def __init__(self, one: str, two: str):
        super().__init__(one)


def waiting() -> Callable[[float], Awaitable[str]]:
    async def function(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return threading.current_thread().name

    return function


def slow(seconds: float) -> Callable[[int], tuple[int, int]]:
    """Takes its time: (who worked on a batch, the batch)."""

    def function(batch: int) -> tuple[int, int]:
        time.sleep(seconds)
        return os.getpid(), batch

    return function


def deadly() -> Callable[[int], int]:
    """Whoever works on batch 3 dies of it."""

    def function(batch: int) -> int:
        if batch == 3:
            os.kill(os.getpid(), 9)
        return batch

    return function
