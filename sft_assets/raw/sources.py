"""Which files are sources, and how each is to be read: as the recipe says, or a dataset_info.json beside it, or it looks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.formats import Hints
from sft_assets.raw.containers import Refused
from sft_assets.raw.dataset_info import Description, Descriptions, descriptions
from sft_assets.raw.parts import Opening
from sft_assets.recipe import Recipe, Source, source_name


@dataclass(frozen=True)
class SourceFile:
    """A file to read. `name` is what it is called: its path in D/sources, or where it comes from."""

    path: Path
    name: str
    source: str
    format: str | None = None
    hints: Hints = field(default_factory=Hints)
    opening: Opening = field(default_factory=Opening)
    stated_by: str = ""  # who says the format, where somebody does
    refused: Refused | None = None  # why it is not read at all


@dataclass
class Sources:
    """The files to read; the files that only describe others, each with a sentence; and what is to be said of sources."""

    files: list[SourceFile]
    describing: dict[str, str]
    described: Descriptions
    notes: list[tuple[str, str]] = field(default_factory=list)


def all_sources(folder: Folder, recipe: Recipe) -> Sources:
    """Every file to read: of D/sources, and of the hub datasets and URLs that the recipe names, fetched where need be.

    Raises:
        SftError: an entry names what is not there, or what cannot be reached and was never fetched.
    """
    found = local_sources(folder, recipe)
    for entry in elsewhere(recipe, found.described):
        from sft_assets.raw import remote  # loads the hub's client: only for those who use it

        place = remote.resolve(folder, entry)
        if place.offline:
            found.notes.append((entry.name, place.offline))
        said: list[str] = []
        for path, name in remote.fetch(folder, place, said.append):
            found.files.append(source_file(path, name, entry, found.described.hub.get(entry.hub)))
        found.notes += [(entry.name, sentence) for sentence in said]
    return found


def elsewhere(recipe: Recipe, described: Descriptions) -> Iterator[Source]:
    """The entries for hub datasets and URLs, with what a description adds to them."""
    for entry in recipe.sources:
        if not entry.path:
            known = described.hub.get(entry.hub)
            said = {"config": entry.config or known.config, "split": entry.split or known.split} if known else {}
            yield entry.model_copy(update=said)


def remote_versions(folder: Folder, recipe: Recipe, ask: bool) -> list[str]:
    """The version of every source that is elsewhere, as `versions_of`."""
    return versions_of(folder, elsewhere(recipe, descriptions(folder.sources, Folder.files(folder.sources))), ask)


def versions_of(folder: Folder, entries: Iterable[Source], ask: bool) -> list[str]:
    """The version of every hub dataset and URL. ask: whether to ask there; without it what was last heard counts.

    Raises:
        SftError: a place cannot be reached and was never fetched.
    """
    from sft_assets.raw.remote import last_version, resolve

    versions = []
    for entry in entries:
        version = None if ask else last_version(folder, entry)
        if version is None:
            place = resolve(folder, entry)
            version = place.version
            if place.offline:
                say_once(place.offline)
        versions.append(version)
    return sorted(versions)


@cache
def say_once(sentence: str) -> None:
    """A warning for whoever runs this process: it stands on stderr, and is not repeated."""
    logging.getLogger("sft_assets").warning(sentence)


def local_sources(folder: Folder, recipe: Recipe) -> Sources:
    """Every file of D/sources in the order of their names, each under the recipe entry that fits it best.

    Raises:
        SftError: an entry names something that is not there, or leads out of D/sources.
    """
    base = folder.sources
    entries = sorted(_entries(folder, recipe), key=lambda e: len(e[0].parts), reverse=True)
    named = {entry.name for _, entry in entries}
    paths = Folder.files(base)
    described = descriptions(base, [p for p in paths if Folder.contains(p, base)])
    files = []
    for path in paths:
        name = os.fsencode(path.relative_to(base)).decode("utf-8", "backslashreplace")
        entry = next((entry for at, entry in entries if path.is_relative_to(at)), None)
        if name in described.read or (entry is None and recipe.raw.other_files == "ignore"):
            continue
        refused = _refusal(path, base) or described.refused.get(name)
        entry = entry or Source(path=name, name=_own_name(name, named))
        files.append(source_file(path, name, entry, described.of(name), refused))
    return Sources(files, described.read, described)


def _entries(folder: Folder, recipe: Recipe) -> Iterator[tuple[Path, Source]]:
    for number, entry in enumerate(recipe.sources, 1):
        if not entry.path:
            continue
        place = f"{folder.recipe}: sources, entry {number}"
        try:
            path = folder.inside(folder.sources, entry.path)
        except SftError as error:
            raise SftError(f"{place}: {error}") from None
        if not os.path.exists(path):
            raise SftError(f"{place}: {entry.path!r} is not in {folder.sources}; put it there, or take the entry out")
        yield path, entry


def _own_name(path: str, named: set[str]) -> str:
    """The source of a file that no entry names: the folder that it lies in; in D/sources itself, the file without its ending.
    Where an entry has this name for other files, the whole path is the name."""
    folder = PurePosixPath(path).parent.as_posix()
    name = source_name(path) if folder == "." else folder
    return path if name in named else name


def source_file(
    path: Path, name: str, entry: Source, description: Description | None = None, refused: Refused | None = None
) -> SourceFile:
    """A file with what its entry says of it, else its description."""
    form, hints, stated_by = entry.format, entry.hints, "the recipe"
    if form is None and hints == Hints(paths=hints.paths) and description is not None:
        form, hints, stated_by = description.format, description.hints, f"dataset_info.json (entry {description.name!r})"
    opening = Opening(entry.encoding, entry.delimiter, entry.header)
    return SourceFile(path, name, entry.name, form, hints, opening, stated_by if form else "", refused)


def _refusal(path: Path, base: Path) -> Refused | None:
    if not Folder.contains(path, base):
        return Refused("outside", "is a link that leads out of the sources folder; copy the file into it")
    if not path.is_file():
        return Refused("unreadable", "is a link to a folder; copy the folder" if path.is_dir() else "is no regular file")
    try:
        str(path.relative_to(base)).encode()
    except UnicodeEncodeError:
        return Refused("unreadable", "has a name that is not UTF-8; rename it")
    return None
