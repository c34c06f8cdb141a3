"""Which files are sources, and what the recipe says of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.containers import Refused
from sft_assets.recipe import Recipe, Source, source_name


@dataclass(frozen=True)
class SourceFile:
    """A file to read. `name` is its path in D/sources; `refused` says why it is not read at all."""

    path: Path
    name: str
    source: str
    format: str | None
    encoding: str | None
    refused: Refused | None = None


def source_files(folder: Folder, recipe: Recipe) -> list[SourceFile]:
    """Every file of D/sources in the order of their names, each under the recipe entry that fits it best.

    Raises:
        SftError: an entry names something that is not there, or leads out of D/sources.
    """
    base = folder.sources
    entries: list[tuple[Path, Source]] = []
    for number, entry in enumerate(recipe.sources, 1):
        try:
            path = folder.inside(base, entry.path)
        except SftError as error:
            raise SftError(f"{folder.recipe}: sources, entry {number}: {error}") from None
        if not os.path.exists(path):
            place = f"{folder.recipe}: sources, entry {number}"
            raise SftError(f"{place}: {entry.path!r} is not in {base}; put it there, or take the entry out")
        entries.append((path, entry))
    entries.sort(key=lambda e: len(e[0].parts), reverse=True)
    named = {entry.name for _, entry in entries}
    result = []
    for path in Folder.files(base):
        name = os.fsencode(path.relative_to(base)).decode("utf-8", "backslashreplace")
        found = next((entry for at, entry in entries if path.is_relative_to(at)), None)
        if found is None and recipe.raw.other_files == "ignore":
            continue
        plain = source_name(name)  # where an entry has this name for another file, the whole path is the name
        entry = found or Source(path=name, name=name if plain in named else plain)
        result.append(SourceFile(path, name, entry.name, entry.format, entry.encoding, _refusal(path, base)))
    return result


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
