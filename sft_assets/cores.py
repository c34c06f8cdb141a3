"""What a process has to work with: the threads that it may run on, and a GPU where it was given one."""

from __future__ import annotations

import os

_given: int | None = None
_gpu = False


def use(threads: int, gpu: bool = False) -> None:
    """From here on this process has these, whatever the machine has: a worker on a node that it shares with others."""
    global _given, _gpu
    _given, _gpu = threads, gpu


def cores() -> int:
    """The number of processors open to this process (a container may have fewer than the machine)."""
    return _given or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def device() -> str:
    """Where models of torch are loaded."""
    return "cuda" if _gpu else "cpu"
