"""Files and folders that a crash leaves whole: what the disk holds, and names that tell when something was made.

exports/20260102T030405Z-1f0c22ab/      queues/20260102T030405Z-1f0c22ab/
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

NAMED = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


def name_of(time: datetime, content: str) -> str:
    """The name of what is made again and again: when it was made, and the first 8 digits of a hash of its content."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{content}"


def sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or a folder's names."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _suppress_unsupported():
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _suppress_unsupported() -> Iterator[None]:
    """Some network filesystems cannot sync a folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
