"""Files and folders of the data folder that nothing needs.

exports/20260102T030405Z-1f0c22ab/    older than the last engine.keep_exports
exports/.export.partial-4711/         process 4711 was killed while it wrote it
.spill/.sft-3f9c2a1b-x7k2mq/          what a killed run had no memory for; or in engine.temp_directory
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from sft_assets.exported.folder import LATEST, MANIFEST, PARTIAL, clean, is_running
from sft_assets.files import NAMED
from sft_assets.folder import Folder
from sft_assets.gc.garbage import Garbage, Item, some
from sft_assets.warehouse.compaction import partial_files
from sft_assets.warehouse.spill import Spill

TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")  # what write_whole leaves when it is killed
LOG_DAYS = 30


def find(folder: Folder, spill: Spill, keep_exports: int, needed: Iterable[str], garbage: Garbage) -> None:
    """Say what goes. needed: paths in the data folder that versions name as theirs."""
    old = old_exports(folder, keep_exports, needed)
    garbage.add(Item(f"exports beyond the last {keep_exports}", len(old), size(old), some([path.name for path in old])))
    left = leftovers(folder, spill)
    garbage.add(Item("files that killed runs left", len(left), size(left), some([path.name for path in left])))
    logs = old_logs(folder)
    garbage.add(Item(f"logs of runs older than {LOG_DAYS} days", len(logs), size(logs)))


def collect(folder: Folder, spill: Spill, keep_exports: int, needed: Iterable[str]) -> None:
    """Remove it. An export that is being removed has a name by which nobody takes it for whole."""
    for number, path in enumerate(old_exports(folder, keep_exports, needed)):
        gone = folder.exports / f".removed-{number}{PARTIAL}{os.getpid()}"
        os.rename(path, gone)
        shutil.rmtree(gone)
    if folder.exports.is_dir():
        clean(folder.exports)
    spill.clean()
    for path in (*leftovers(folder, spill), *old_logs(folder)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def won(folder: Folder, spill: Spill, keep_exports: int, needed: Iterable[str]) -> int:
    """Bytes that `collect` gives back to the disk of the database."""
    disk = folder.database.resolve().parent.stat().st_dev
    gone = (*old_exports(folder, keep_exports, needed), *leftovers(folder, spill), *old_logs(folder))
    return size(path for path in gone if path.lstat().st_dev == disk)


def old_exports(folder: Folder, keep: int, needed: Iterable[str]) -> list[Path]:
    """Finished exports but the last `keep`, the newest and those that are needed. Other folders are somebody's own."""
    named = [p for p in folder.exports.glob("*") if NAMED.fullmatch(p.name) and not p.is_symlink()]
    there = sorted(p for p in named if (p / MANIFEST).is_file())
    stay = {(folder.exports / LATEST).resolve(), *((folder.root / name).resolve() for name in needed)}
    return [path for path in there[: max(len(there) - keep, 0)] if path.resolve() not in stay]


def leftovers(folder: Folder, spill: Spill) -> list[Path]:
    """What processes that are no more were writing."""
    found = [path for path in folder.exports.glob(f".*{PARTIAL}*") if _dead(path.name.rpartition(PARTIAL)[2])]
    found += [path for path in partial_files(folder.database) if _dead(path.name.rpartition("-")[2].partition(".")[0])]
    for path in folder.root.glob(".*.tmp"):
        if (match := TEMPORARY.fullmatch(path.name)) and _dead(match[1]):
            found.append(path)
    return found + spill.left()


def old_logs(folder: Folder) -> list[Path]:
    """What steps of runs printed, long ago. Dagster's own records of the runs stay: staleness is told by them."""
    until = time.time() - LOG_DAYS * 86400
    return [path for path in sorted((folder.dagster / "logs").rglob("*")) if path.is_file() and path.stat().st_mtime < until]


def size(paths: Iterable[Path]) -> int:
    """Bytes of files and of everything in folders."""
    total = 0
    for path in paths:
        inside = [path] if not path.is_dir() or path.is_symlink() else path.rglob("*")
        total += sum(p.lstat().st_size for p in inside if p.is_symlink() or p.is_file())
    return total


def _dead(pid: str) -> bool:
    return pid.isdigit() and not is_running(int(pid))
