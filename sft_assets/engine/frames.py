"""Messages between processes at the two ends of a pipe: 8 bytes of length, then a pickle. Both ends are this package's own."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import IO, Any

LENGTH = 8
PROTOCOL = 5
PACKAGES = Path(__file__).parents[2]  # the folder that has sft_assets in it


def write_frame(target: IO[bytes], frame: bytes) -> None:
    target.write(len(frame).to_bytes(LENGTH))
    target.write(frame)
    target.flush()


def read_frame(source: IO[bytes]) -> bytes | None:
    """The next message; None where there is none, or not all of it."""
    length = source.read(LENGTH)
    if len(length) < LENGTH:
        return None
    size = int.from_bytes(length)
    frame = source.read(size)
    return frame if len(frame) == size else None


def packed(value: Any) -> bytes:
    return pickle.dumps(value, PROTOCOL)


def unpacked(frame: bytes) -> Any:
    return pickle.loads(frame)


def module(name: str) -> list[str]:
    """The command that runs a module of this package. -P: no module of the working folder is taken for one of ours."""
    return [sys.executable, "-P", "-m", name]


def environment() -> dict[str, str]:
    """The environment of such a command, which finds this package wherever it was imported from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))}
