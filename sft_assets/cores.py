"""How many threads there are to work with: those that this process may run on."""

from __future__ import annotations

import os


def cores() -> int:
    """The number of processors open to this process (a container may have fewer than the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
