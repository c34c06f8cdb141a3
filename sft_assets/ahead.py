"""An iterator that is worked on in a thread of its own while its items are used: for work that leaves the GIL on both sides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from queue import Empty, Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")
TICK = 0.1  # seconds after which a side looks whether the other is still there


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items, of which at most `depth` are made before they are asked for.

    Raises:
        What `items` raises, after the items before it.
    """
    waiting: Queue[tuple[str, Any]] = Queue(depth)
    given_up = threading.Event()

    def put(entry: tuple[str, Any]) -> bool:
        while not given_up.is_set():
            try:
                waiting.put(entry, timeout=TICK)
                return True
            except Full:
                pass
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:
            put(("error", error))

    # in the caller's context: what tells of progress is found there
    worker = threading.Thread(target=copy_context().run, args=(work,), name="ahead", daemon=True)
    worker.start()
    try:
        while True:
            try:
                kind, value = waiting.get(timeout=TICK)
            except Empty:
                continue
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        given_up.set()
        worker.join()
