"""Writing an export so that there is always a whole one.

    exports/.export.partial-4711/                 while it is being written, by process 4711
    exports/20260102T030405Z-1f0c22ab/            when it is complete
    exports/latest -> 20260102T030405Z-1f0c22ab   swapped last; then the oldest beyond engine.keep_exports go

A kill at any moment leaves `latest` on a complete folder: the one before or the new one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sft_assets.errors import SftError
from sft_assets.files import NAMED, name_of, sync

LATEST = "latest"
PARTIAL = ".partial-"
MANIFEST = "MANIFEST.json"
SECONDS = len("20260102T030405Z")  # of a name, what tells when


@contextmanager
def partial_folder(exports: Path) -> Iterator[Path]:
    """A folder to write an export to, on the filesystem of the finished ones; gone afterwards unless it was published.

    What processes that are dead have left behind is removed first.

    Raises:
        SftError: the disk is full, or the folder cannot be written to.
    """
    try:
        exports.mkdir(parents=True, exist_ok=True)
        clean(exports)
        partial = exports / f".export{PARTIAL}{os.getpid()}"
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise SftError(
            f"{error.filename or exports}: the export could not be written: {error.strerror or error}. "
            f"The exports before it are untouched; free some space or mend the permissions of {exports}, and run again."
        ) from error


def publish(partial: Path, content: str) -> Path:
    """Give a partial folder its name, the time and `content` (a short hash), and point `latest` to it.

    Its files have been synced, and MANIFEST.json is the last of them.
    """
    exports = partial.parent
    link = exports / LATEST
    if link.is_dir() and not link.is_symlink():
        raise SftError(f"{link} is a folder; the name is kept for the link to the newest export: move the folder away")
    for folder, _, _ in os.walk(partial):
        sync(Path(folder))
    final = exports / name_of(datetime.now(UTC), content)
    while any(exports.glob(f"{final.name[:SECONDS]}*")):
        time.sleep(0.05)  # names are in the order of age: the next second is soon
        final = exports / name_of(datetime.now(UTC), content)
    os.rename(partial, final)
    sync(exports)
    temporary = exports / f".{LATEST}{PARTIAL}{os.getpid()}"
    temporary.symlink_to(final.name)
    os.replace(temporary, link)
    sync(exports)
    return final


def retire(exports: Path, keep: int) -> list[str]:
    """Delete the oldest complete exports beyond the newest `keep`; their names.

    What `latest` leads to stays, and so does every folder that is not named like an export: who gives one a name of its own
    keeps it. Each is renamed first: a kill leaves no half of an export under an export's name.
    """
    current = (exports / LATEST).resolve().name
    old = sorted(
        p.name for p in exports.iterdir() if NAMED.fullmatch(p.name) and not p.is_symlink() and (p / MANIFEST).is_file()
    )
    gone = []
    for name in old[: max(0, len(old) - keep)]:
        partial = exports / f".{name}{PARTIAL}{os.getpid()}"
        with suppress(OSError):  # another user's: it is tried again after the next export
            if name != current:
                os.rename(exports / name, partial)
                gone.append(name)
                shutil.rmtree(partial, ignore_errors=True)
    return gone


def clean(exports: Path) -> None:
    """Remove the partial folders and links of processes that are no more, and of this one."""
    for path in exports.glob(f".*{PARTIAL}*"):
        pid = path.name.rpartition(PARTIAL)[2]
        if not pid.isdigit() or (int(pid) != os.getpid() and is_running(int(pid))):
            continue
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)  # what cannot be deleted is no reason not to export


def is_running(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    with suppress(PermissionError):  # it is there, and another user's
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
