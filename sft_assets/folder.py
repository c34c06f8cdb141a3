"""The data folder D: where everything of one dataset lives, who may write to it, and what its input files are.

D/recipe.yaml   what to do                      D/sft.duckdb    every state of the dataset
D/sources/      instruction data, as it came    D/exports/      finished datasets
D/benchmarks/   test sets to keep out           D/quarantine/   what a stopped run could not read
D/prompts/      rubrics of one's own            D/calls.sqlite  what language models were asked, and what it cost
D/reviews.jsonl what people decided about rows  D/report.html   where the rows came from and where they went
D/.lock         who is writing                  D/.dagster/     Dagster's own storage
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sft_assets.errors import Busy, SftError

ENVIRONMENT = "SFT_DATA"


@dataclass(frozen=True)
class Folder:
    """A data folder. `root` is absolute."""

    root: Path

    @classmethod
    def current(cls) -> Folder:
        """The folder that SFT_DATA names, else ./data."""
        return cls.at(os.environ.get(ENVIRONMENT) or "data")

    @classmethod
    def at(cls, path: str | Path) -> Folder:
        return cls(Path(path).expanduser().resolve())

    def existing(self) -> Folder:
        """This folder, if it is there.

        Raises:
            SftError: it is not.
        """
        if not self.root.is_dir():
            raise SftError(f"{self} is no folder: make it with `sft init {self}`")
        return self

    def __str__(self) -> str:
        try:
            return str(self.root.relative_to(Path.cwd()))
        except ValueError:
            return str(self.root)

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

    @property
    def sources(self) -> Path:
        return self.root / "sources"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    @property
    def documents(self) -> Path:
        """Texts that questions and answers are made of."""
        return self.root / "documents"

    @property
    def evaluations(self) -> Path:
        """How models that were trained before did on their tasks."""
        return self.root / "evaluations"

    @property
    def reviews(self) -> Path:
        """What people decided about rows, one decision a line."""
        return self.root / "reviews.jsonl"

    @property
    def queues(self) -> Path:
        """What people are asked about."""
        return self.root / "queues"

    @property
    def database(self) -> Path:
        return self.root / "sft.duckdb"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def map(self) -> Path:
        """The map of the rows; the picture of it lies beside it."""
        return self.root / "map.html"

    @property
    def report(self) -> Path:
        """The page that tells where the rows came from and where they went."""
        return self.root / "report.html"

    @property
    def embeddings(self) -> Path:
        """The cache of embeddings."""
        return self.root / "embeddings.sqlite"

    @property
    def scores(self) -> Path:
        """The cache of what likelihood and reward models computed."""
        return self.root / "scores.sqlite"

    @property
    def calls(self) -> Path:
        """The cache of what language models answered, and the ledger of what it cost."""
        return self.root / "calls.sqlite"

    @property
    def prompts(self) -> Path:
        """Prompt files of one's own: they come before those of the package."""
        return self.root / "prompts"

    @property
    def dagster(self) -> Path:
        return self.root / ".dagster"

    # ------------------------------------------------------------------------------------------------------ files

    def inside(self, base: Path, name: str) -> Path:
        """The path that a recipe means by `name`, which must lie under `base`.

        Raises:
            SftError: `name` is absolute, climbs out by `..`, is a pattern, or is a link to somewhere outside.
        """
        path = base / name
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise SftError(f"path {name!r}: name a file or folder inside {base}, without a leading / and without ..")
        if not os.path.exists(path) and any(c in name for c in "*?["):
            raise SftError(f"path {name!r}: patterns are not read; name the folder, and every file in it is taken")
        if not self.contains(path, base):
            raise SftError(f"path {name!r} leads out of {base}; copy the data into it (links that leave it are refused)")
        return path

    @staticmethod
    def contains(path: Path, base: Path) -> bool:
        """Whether `path`, with every link followed, lies under `base`."""
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(base))

    @staticmethod
    def files(base: Path) -> list[Path]:
        """Every file under `base`, sorted by name; hidden ones are left out. A link to a folder is not followed: it stands
        in the list itself, for whoever reads it to refuse, and so does a folder that cannot be opened."""
        found: list[Path] = []

        def unopened(error: OSError) -> None:
            found.append(Path(error.filename))

        for at, folders, names in os.walk(base, onerror=unopened if base.exists() else None):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            links = [name for name in folders if os.path.islink(os.path.join(at, name))]
            found += [Path(at) / name for name in (*names, *links) if not name.startswith(".")]
        return sorted(found, key=lambda p: p.relative_to(base).as_posix())

    def fingerprints(self, base: Path) -> dict[str, str]:
        """sha256 of every file under `base`, by relative path; a file is hashed again only when its size, mtime or
        inode changed (kept in D/.fingerprints.json)."""
        store = self.root / ".fingerprints.json"
        try:
            known = json.loads(store.read_bytes())
        except (OSError, ValueError):
            known = {}
        result, seen = {}, {}
        for path in self.files(base):
            name, key = path.relative_to(base).as_posix(), path.relative_to(self.root).as_posix()
            result[name] = "refused"
            if not self.contains(path, base) or not path.is_file():
                continue
            try:
                status = path.stat()
                stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
                entry = known.get(key)
                if entry is None or entry[:3] != stamp:
                    with path.open("rb") as file:
                        entry = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            except OSError:  # not to be opened, or gone meanwhile: the reader says so of this file, and the rest goes on
                continue
            result[name] = entry[3]
            # a file written within the clock's grain may still change under the same stamp: do not trust its hash yet
            if status.st_mtime_ns < time.time_ns() - 2_000_000_000:
                seen[key] = entry
        prefix = base.relative_to(self.root).as_posix() + "/"
        merged = {k: v for k, v in known.items() if not k.startswith(prefix)} | seen
        if merged != known:
            write_whole(store, json.dumps(merged).encode())
        return result

    def version(self, base: Path) -> str:
        """One fingerprint of all files under `base`: their names and bytes."""
        lines = "\n".join(f"{name} {sha}" for name, sha in sorted(self.fingerprints(base).items()))
        return hashlib.sha256(os.fsencode(lines)).hexdigest()

    # ------------------------------------------------------------------------------------------------------- lock

    @contextmanager
    def lock(self, wait: float | None = None, say: Callable[[str], None] = lambda _: None) -> Iterator[bool]:
        """Hold the folder for writing; yields whether this call took the lock (False: this process had it already).

        Waits `wait` seconds (None: for ever) for another process, after telling `say` who holds it.

        Raises:
            Busy: the other process did not finish in time. The message names its PID.
        """
        with _guard:
            held = _held.get(self.root)
            if held:
                held[1] += 1
                first = False
            else:
                _held[self.root] = [self._acquire(wait, say), 1]
                first = True
        try:
            yield first
        finally:
            with _guard:
                held = _held[self.root]
                held[1] -= 1
                if not held[1]:
                    del _held[self.root]
                    os.close(held[0])

    def _acquire(self, wait: float | None, say: Callable[[str], None]) -> int:
        self.existing()
        path, start, told = self.root / ".lock", time.monotonic(), False
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
                if wait is not None and time.monotonic() - start >= wait:
                    os.close(handle)
                    raise Busy(
                        f"{self} is being written by {holder}. Try again when it has finished; "
                        "a process that was killed holds nothing."
                    ) from None
                if not told:
                    say(f"waiting: {self} is being written by {holder}")
                    told = True
                time.sleep(0.1)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"PID {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode(), 0)
        return handle


_guard = threading.RLock()
_held: dict[Path, list[int]] = {}


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file in the block so that whoever reads it sees all of it or the one before (temporary name, fsync, rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """The same for content that is there."""
    with written_whole(path) as file:
        file.write(content)
