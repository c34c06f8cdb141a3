"""Copying a finished export to object storage, or to any other filesystem of fsspec: s3://, gs://, abfs://, sftp:// ...

    s3://bucket/chats       README.md, data/train-00000-of-00001.parquet, ..., MANIFEST.json
    s3://bucket/exports/    the same under the export's own name: s3://bucket/exports/20260102T030405Z-1f0c22ab/...

No such store can swap many objects at once, so an export that is there is never overwritten, and MANIFEST.json is written last,
after everything else was read back and compared with it: where it is, the export is whole. A copy that fails takes back what it
sent; one that is killed leaves objects without MANIFEST.json, and the next copy of the export writes them again.

Credentials and settings (AWS_ENDPOINT_URL, FSSPEC_S3_PROFILE ...) are those that fsspec looks for, never the recipe's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from sft_assets.errors import SftError
from sft_assets.exported.finished import BLOCK, Finished, Progress
from sft_assets.exported.manifest import NAME
from sft_assets.raw.urls import lacks_credentials, reason_of, status_of
from sft_assets.recipe import shown_url


class Copied(NamedTuple):
    """Where the export is now. sent: objects that were written; 0 where it was there already."""

    address: str
    sent: int


@dataclass(frozen=True)
class Place:
    """A folder of a filesystem. shown: its URL without credentials."""

    system: Any
    path: str
    shown: str
    named: bool = False  # it ends in /, and each export goes into a folder of its own name

    def of(self, export: Finished) -> Place:
        """The folder of an export itself."""
        if not self.named:
            return self
        name = export.root.name
        return Place(self.system, f"{self.path.rstrip('/')}/{name}", f"{self.shown.rstrip('/')}/{name}")

    def at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def files(self) -> set[str]:
        """What is there, by its path in the folder; "": an object of the folder's own name."""
        self.system.invalidate_cache()
        start = self.path.rstrip("/")
        found = self.system.find(start)
        return {name.removeprefix(start).removeprefix("/") for name in found if not name.endswith("/")}


def is_url(target: str) -> bool:
    """Whether a place to export to is a filesystem's, not a folder."""
    return "://" in target


def place_of(target: str) -> Place:
    """The place that a URL means, if it can be looked into.

    Raises:
        SftError: it is none that can be written to, a package or the credentials for it are missing, it may not be looked into,
            it cannot be reached, or there is no such bucket.
    """
    protocol, shown = urlsplit(target).scheme, shown_url(target)
    if "::" in target or protocol in ("http", "https"):
        raise SftError(f"{shown}: nothing can be written there; s3://BUCKET/PATH, gs://BUCKET/PATH and a folder are places")
    try:
        with _explained(shown):
            system, path = fsspec.core.url_to_fs(target)
            if isinstance(system, LocalFileSystem):
                raise SftError(f"{shown} is a folder of this machine: name it without {protocol}://")
            place = Place(system, path, shown, target.endswith("/"))
            place.files()
    except ImportError:
        raise SftError(f"{shown}: {protocol}:// needs a package that is not here: pip install 'sft-assets[remote]'") from None
    except ValueError as error:
        if protocol in fsspec.available_protocols():
            raise SftError(
                f"{shown}: {reason_of(error)}; mind the variables of fsspec's client, such as AWS_ENDPOINT_URL"
            ) from None
        raise SftError(f"{shown}: no protocol is called {protocol}://; s3 and gs are known") from None
    return place


def copy(export: Finished, place: Place, progress: Progress = lambda n: None) -> Copied:
    """Copy the export: all of it is there afterwards, or no MANIFEST.json is. An export that is there stays as it is.

    progress: told the bytes that were read, sent and read back.

    Raises:
        SftError: a file of the export was changed; the place holds another export or other files; it may not be written to or
            cannot be reached; or what it holds afterwards is not what was sent.
    """
    export.check(progress)
    to = place.of(export)
    with _explained(to.shown, export.root):
        there = to.files()
        if NAME in there:
            if (to.system.cat_file(to.at(NAME))) != (export.root / NAME).read_bytes():
                raise SftError(
                    f"{to.shown} holds another export, and stays as it is: name another place, or one that ends in / to have "
                    "each export under its own name"
                )
            if other := [name for name in export.files if not _stands(export, to, name, progress)]:
                raise SftError(
                    f"{to.shown} holds this export, but not {_listed(other)} as it was written: delete it there, and export "
                    "again"
                )
            return Copied(to.shown, 0)
        if others := sorted(there - export.files.keys()):
            raise SftError(
                f"{to.shown} holds what is no part of the export ({_listed(others)}), and stays as it is: name another place; "
                "or delete it there, if a copy of another export that was killed left it"
            )
        sent: list[str] = []
        try:
            for name in (names := [name for name in export.files if name != NAME]):
                sent += [name] if name not in there else []
                to.system.put_file(str(export.root / name), to.at(name))
                progress(export.files[name].size)
            to.system.invalidate_cache()
            if other := [name for name in names if not _stands(export, to, name, progress)]:
                raise SftError(
                    f"{to.shown}: {_listed(other)}: not what was sent, so that no {NAME} was written; somebody else writes "
                    "there, or the export was changed meanwhile: export again"
                )
            _finish(export, to)
        except BaseException:
            _take_back(sent, to)
            raise
    return Copied(to.shown, len(export.files))


def _finish(export: Finished, to: Place) -> None:
    """Write MANIFEST.json, unless somebody else did meanwhile."""
    data = (export.root / NAME).read_bytes()
    if hashlib.sha256(data).hexdigest() != export.files[NAME].sha256:
        export.check()
    try:
        try:
            to.system.pipe_file(to.at(NAME), data, mode="create")
        except (NotImplementedError, TypeError, ValueError):  # a filesystem that cannot be told so
            to.system.pipe_file(to.at(NAME), data)
    except FileExistsError:
        raise SftError(f"{to.shown}: somebody else put an export there meanwhile: name another place") from None
    to.system.invalidate_cache()
    if export.files.keys() - to.files():
        raise SftError(f"{to.shown}: files went while they were copied; somebody else writes there: name another place")
    if not _stands(export, to, NAME):
        raise SftError(f"{to.shown}: {NAME} is not what was sent; somebody else writes there: name another place")


def _take_back(sent: list[str], to: Place) -> None:
    """Delete what was sent and was not there before, as far as it can be done, unless it became an export."""
    with suppress(Exception):  # what went wrong is told already
        if NAME not in (there := to.files()):
            for name in there.intersection(sent):
                with suppress(Exception):
                    to.system.rm_file(to.at(name))


def _stands(export: Finished, to: Place, name: str, progress: Progress = lambda n: None) -> bool:
    """Whether an object has the bytes of the export's file: all of them are read."""
    digest = hashlib.sha256()
    try:
        with to.system.open(to.at(name), "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                progress(len(block))
    except FileNotFoundError:
        return False
    return digest.hexdigest() == export.files[name].sha256


def _listed(names: list[str]) -> str:
    return f"{', '.join(name or 'an object of that name' for name in names[:3])}{' ...' if len(names) > 3 else ''}"


@contextmanager
def _explained(shown: str, root: Path | None = None) -> Iterator[None]:
    """What filesystems raise as sentences, without their texts: these may hold the whole URL.

    Raises:
        SftError: always, but for ImportError and ValueError where nothing is copied yet.
    """
    try:
        yield
    except SftError:
        raise
    except Exception as error:
        if root is None and isinstance(error, (ImportError, ValueError)):
            raise
        status = status_of(error)
        if root is not None and str(getattr(error, "filename", None) or "").startswith(f"{root}/"):
            what = f"{error.filename} cannot be read ({reason_of(error)}); export again"  # type: ignore[attr-defined]
        elif lacks_credentials(error):
            what = "no credentials were found: set what fsspec looks for, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif status in (401, 403) or isinstance(error, PermissionError):
            what = "it may not be written or looked into; the credentials that fsspec found have no right to"
        elif status == 404 or isinstance(error, FileNotFoundError):
            what = "there is no such bucket or folder; make it, or correct the URL"
        else:
            answer = f"it answers {status}" if status else reason_of(error)
            what = f"not reachable, or it refused ({answer}); mind the network and fsspec's settings, and export again"
        raise SftError(f"{shown}: {what}") from None
