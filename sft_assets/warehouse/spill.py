"""Where DuckDB puts what does not fit into its memory: a folder for each process that has the database open.

D/.spill/.sft-3f9c2a1b-x7k2mq/lock                      held as long as the process lives
D/.spill/.sft-3f9c2a1b-x7k2mq/duckdb_temp_4711_0_...    what was spilled

It is made when the database is opened and goes when it is closed: several processes, and several data folders, can share one
engine.temp_directory. That of a killed process is locked by nobody, and the next one that writes removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sft_assets.errors import SftError

LOCK = "lock"
ATTEMPTS = 50
UNLOCKED = 60.0  # seconds after which a folder without a lock is not one that is being made


@dataclass(frozen=True)
class Spill:
    """root: where the folders lie; `.spill` in the data folder unless the recipe names another. of: the data folder."""

    root: Path
    of: Path

    @property
    def is_own(self) -> bool:
        """Whether nothing else is in `root`: what the recipe names may be anybody's."""
        return self.root == self.of / ".spill"

    @contextmanager
    def folder(self, shared: bool = True) -> Iterator[Path]:
        """The folder of this process, until whoever takes it last has left it. shared: False for one of its own, as a second
        instance of DuckDB needs it.

        Raises:
            SftError: it cannot be made; names the setting and the remedy.
        """
        key = (self.root, self.of) if shared else None
        with _guard:
            held = _held.get(key) if key else None
            if held is None:
                name = _names.setdefault(key, self._name()) if key else self._name()
                held = _Held(self.root / name, self._make(self.root / name))
                if key:
                    _held[key] = held
            held.users += 1
        try:
            yield held.path
        finally:
            with _guard:
                held.users -= 1
                if not held.users:
                    if key:
                        del _held[key]
                    self._remove(held)

    def left(self) -> list[Path]:
        """What processes that were killed have left; in a folder that the recipe names only those of this data folder."""
        patterns = (".sft-*", "duckdb_temp*") if self.is_own else (f".sft-{self._hash}-*",)
        return sorted(path for pattern in patterns for path in self.root.glob(pattern) if _is_left(path))

    def clean(self) -> None:
        """Remove it. The caller has the database open for writing, so that nobody else has."""
        for path in self.left():
            _remove_left(path)
        if self.is_own:
            with suppress(OSError):
                self.root.rmdir()

    @property
    def _hash(self) -> str:
        return hashlib.sha256(os.fsencode(self.of.resolve())).hexdigest()[:8]

    def _name(self) -> str:
        # hidden: were it within sources/, it would be no source
        return f".sft-{self._hash}-{secrets.token_hex(4)}"

    def _make(self, path: Path) -> int:
        """Make the folder; the handle that locks it."""
        try:
            for _ in range(ATTEMPTS):
                if self.is_own:
                    with suppress(FileExistsError):
                        self.root.mkdir()
                try:
                    with suppress(FileExistsError):
                        path.mkdir(mode=0o700)  # texts of the dataset will be in it
                    handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except FileNotFoundError:  # another process has just removed the empty .spill
                    if not self.is_own and not self.root.exists():
                        raise
                    continue
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # somebody looks whether it was left
                    os.close(handle)
                    time.sleep(0.01)
                    continue
                except OSError:  # a filesystem without locks: nobody will take it for left either
                    return handle
                if os.fstat(handle).st_nlink:
                    return handle
                os.close(handle)
            raise OSError("it is removed again and again")
        except (OSError, ValueError) as error:
            raise SftError(self._why_not(error)) from None

    def _why_not(self, error: OSError | ValueError) -> str:
        why = getattr(error, "strerror", None) or str(error)
        if self.is_own:
            return (
                f"{self.root}: what does not fit into memory cannot be put there ({why}). Make it writable, or name another "
                "folder in the recipe: engine: {temp_directory: FOLDER}"
            )
        setting = f"engine.temp_directory in {self.of / 'recipe.yaml'} says {self.root}"
        if not self.root.exists():
            return f"{setting}, which is not there (a disk that is not mounted?). Make it, or name another folder"
        if not self.root.is_dir():
            return f"{setting}, which is no folder. Name one"
        return f"{setting}, and nothing can be written there ({why}). Make it writable, or name another folder"

    def _remove(self, held: _Held) -> None:
        shutil.rmtree(held.path, ignore_errors=True)
        os.close(held.handle)
        if self.is_own:
            with suppress(OSError):  # another process is in it
                self.root.rmdir()


@dataclass
class _Held:
    path: Path
    handle: int
    users: int = 0


_guard = threading.RLock()
_held: dict[tuple[Path, Path], _Held] = {}
# the same for the life of the process: DuckDB gives a second connection to an open file only with the same settings
_names: dict[tuple[Path, Path], str] = {}


def _is_left(path: Path) -> bool:
    """Whether no living process has it. A file is of a release that made no folders."""
    if path.is_symlink() or not path.is_dir():
        return True
    handle = _lock(path)
    if handle is None:
        return False
    os.close(handle)
    return True


def _remove_left(path: Path) -> None:
    """Remove what a killed process left, unless another took it meanwhile."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    handle = _lock(path)
    if handle is not None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def _lock(path: Path) -> int | None:
    """The lock of a folder whose process has gone; None where it lives, or that cannot be told."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # being made, or half removed
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if time.time() - path.stat().st_mtime > UNLOCKED else None
        except OSError:
            return None
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
