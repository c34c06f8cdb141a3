"""A finished export: the files that its MANIFEST names, whether they still are what was written, and copies of it elsewhere.

    D/exports/20260102T030405Z-1f0c22ab   README.md                          3.1 kB   sha256 51ab...
                                          data/train-00000-of-00001.parquet  80 kB    sha256 9f3c...
                                          MANIFEST.json                      2.4 kB

What the MANIFEST does not name is neither uploaded nor copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import orjson

from sft_assets.errors import SftError
from sft_assets.exported.folder import PARTIAL, is_running
from sft_assets.exported.manifest import NAME
from sft_assets.files import sync
from sft_assets.folder import Folder

HUB = "hub"  # as a place to export to: hub, or hub:OWNER/NAME
BLOCK = 1 << 20
Progress = Callable[[int], None]  # told the bytes that were done since it was told last


class File(NamedTuple):
    sha256: str
    size: int


@dataclass(frozen=True)
class Finished:
    """An export that is complete. `files`: path in it -> what was written there; the MANIFEST itself is the last."""

    root: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, File]

    @classmethod
    def read(cls, root: Path) -> Finished:
        """The export of a folder. Its files are not looked into (see `check`).

        Raises:
            SftError: the folder is not there, or has no MANIFEST that can be read.
        """
        path = root / NAME
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise SftError(f"{root} holds no {NAME}: it is no finished export; `sft run exported --again` writes one") from None
        except OSError as error:
            raise SftError(f"{path}: cannot be read: {error.strerror}") from None
        try:
            manifest = orjson.loads(data)
            files = files_of(manifest)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SftError(f"{path} is not as it was written; `sft run exported --again` writes the export anew") from None
        return cls(root, manifest, {**files, NAME: File(hashlib.sha256(data).hexdigest(), len(data))})

    @property
    def name(self) -> str:
        return str(self.manifest.get("name", ""))

    @property
    def rows(self) -> dict[str, int]:
        """Split -> rows."""
        total: dict[str, int] = {}
        for splits in self.manifest.get("rows", {}).values():
            for split, n in splits.items():
                total[split] = total.get(split, 0) + n
        return total

    @cached_property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def unnamed(self) -> list[str]:
        """Files, hidden ones and links too, that lie in the folder and are none of the export's."""
        found: list[Path] = []
        for at, folders, names in os.walk(self.root, onerror=_unopened):
            found += [Path(at) / name for name in (*names, *(f for f in folders if os.path.islink(os.path.join(at, f))))]
        return sorted({path.relative_to(self.root).as_posix() for path in found} - self.files.keys())

    def check(self, progress: Progress = lambda n: None) -> None:
        """Read every file.

        Raises:
            SftError: one is not there, or not as it was written.
        """
        changed = [name for name, file in self.files.items() if not self._stands(name, file, progress)]
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise SftError(
                f"{self.root}: {', '.join(changed[:3])}{more}: not what was written (by the sha256 in {NAME}), so the export "
                "goes nowhere; `sft run exported --again` writes it anew, and edits belong into reviews or the recipe"
            )

    def copy_to(self, target: Path, replace: bool = False, progress: Progress = lambda n: None) -> None:
        """Copy the export to `target`, which then holds all of it or is as it was; each file is compared with the MANIFEST.

        replace: an export that is there already goes.

        Raises:
            SftError: there is something else, or a file is not what was written, or `target` cannot be written.
        """
        self.may_go_to(target, replace)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            before = _left_behind(target)
            partial = target.parent / f".{target.name}{PARTIAL}{os.getpid()}"
            partial.mkdir()
            try:
                self._copy(partial, progress)
                if target.exists():
                    target.rename(before)
                try:
                    partial.rename(target)
                except OSError:
                    if before.exists():
                        before.rename(target)
                    raise
                sync(target.parent)
                shutil.rmtree(before, ignore_errors=True)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise SftError(
                f"{target}: the export could not be copied there: {error.strerror or error}. What was there still is; free "
                "some space, mend the permissions, or name another folder"
            ) from error

    def may_go_to(self, target: Path, replace: bool = True) -> bool:
        """Whether an export that is at `target` would be replaced by a copy.

        Raises:
            SftError: what is there is no export, or `target` lies in the data folder's exports, or an export is not to go.
        """
        exports = self.root.parent.resolve()
        if Folder.contains(target, exports) or Folder.contains(exports, target):
            raise SftError(f"{target} and the folder of the exports, {exports}, are not apart: name a folder somewhere else")
        if not os.path.lexists(target) or (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
            return False
        if target.is_symlink() or not (target / NAME).is_file():
            raise SftError(f"{target} is there already and is no export: name a folder that is yet to be made")
        try:
            others = Finished.read(target).unnamed()
        except SftError:
            raise SftError(f"{target} holds a {NAME} that is no export's: name another folder") from None
        if others:
            shown = f"{', '.join(others[:3])}{' ...' if len(others) > 3 else ''}"
            raise SftError(f"{target} holds files that are no export's ({shown}): name another folder")
        if not replace:
            raise SftError(f"{target} holds an export already; --yes replaces it")
        return True

    def _stands(self, name: str, file: File, progress: Progress) -> bool:
        path = self.root / name
        if not path.is_file() or not Folder.contains(path, self.root) or path.stat().st_size != file.size:
            return False
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                progress(len(block))
        return digest.hexdigest() == file.sha256

    def _copy(self, partial: Path, progress: Progress) -> None:
        for name, file in self.files.items():
            source, target, digest = self.root / name, partial / name, hashlib.sha256()
            target.parent.mkdir(parents=True, exist_ok=True)
            if Folder.contains(source, self.root) and source.is_file():
                with source.open("rb") as read, target.open("xb") as written:
                    while block := read.read(BLOCK):
                        digest.update(block)
                        written.write(block)
                        progress(len(block))
                sync(target)
            if digest.hexdigest() != file.sha256:
                self.check()  # which says it of every file
                raise SftError(f"{source} was changed while it was copied; try again")
        for at, _, _ in os.walk(partial):
            sync(Path(at))


def is_hub(target: str) -> bool:
    """Whether a place to export to is a hub, not a folder."""
    return target == HUB or target.startswith(f"{HUB}:")


def _unopened(error: OSError) -> None:
    raise SftError(f"{error.filename}: cannot be read: {error.strerror}; name another folder, or mend its permissions")


def _left_behind(target: Path) -> Path:
    """Mend what copies to `target` that were killed have left; the name under which an export steps aside for the next."""
    start = f".{target.name}{PARTIAL}"
    for path in target.parent.iterdir():
        pid = path.name.removeprefix(start)
        if path.name.startswith(start) and pid.isdigit() and (int(pid) == os.getpid() or not is_running(int(pid))):
            shutil.rmtree(path)
    before = target.parent / f"{start}before"
    if (before / NAME).is_file():
        if target.exists():
            shutil.rmtree(before)
        else:  # killed between the two renames
            before.rename(target)
    return before


def files_of(manifest: Mapping[str, Any]) -> dict[str, File]:
    """The files that a manifest names.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none, or a path leads out of the export.
    """
    files = {str(path): File(str(file["sha256"]), int(file["bytes"])) for path, file in manifest["files"].items()}
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
            raise ValueError(name)
    return files
