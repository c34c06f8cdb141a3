"""The first call of a kernel compiles it, which takes a while; numba keeps the result beside the source for later runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def compiling(say: Callable[[str], None], patience: float = 1.0) -> Iterator[None]:
    """Say that kernels are being compiled, if what is done in the block takes longer than loading them would (seconds)."""
    timer = threading.Timer(patience, say, ["compiling its kernels; the first run does that once, in about half a minute"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
