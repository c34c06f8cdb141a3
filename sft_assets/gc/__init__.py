"""`sft gc`: what nothing needs any more goes, after it was said what and how much; the database is compacted.

$ sft gc
versions beyond the last 5           12    310 MB   deduped@1, deduped@2 ...
texts of rows that no version has  4,102    11 MB
exports beyond the last 10             3    48 MB   20260102T030405Z-1f0c22ab ...
free blocks inside the database      806   201 MB

tables.py   versions and texts      caches.py   of models      files.py   exports, leftovers
What stays is as it was: every data version, the ledger of every version that stays, every paid reply unless --calls says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sft_assets.folder import Folder
from sft_assets.gc import caches, files, tables
from sft_assets.gc.garbage import Garbage, Item
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Version
from sft_assets.warehouse.compaction import check_room, compact
from sft_assets.warehouse.opening import warehouse
from sft_assets.warehouse.spill import Spill
from sft_assets.warehouse.versions import read_versions

__all__ = ["Garbage", "Item", "Options", "collect", "find"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """keep: versions of each asset that stay; None: as engine.keep_versions says. calls: replies that were paid for go too,
    where no content needs them. compact: write the database file anew."""

    keep: int | None = None
    calls: bool = False
    compact: bool = True


def find(folder: Folder, recipe: Recipe, options: Options = Options()) -> Garbage:
    """What would go. Writes nothing.

    Raises:
        SftError: a file is damaged.
    """
    return _find(folder, recipe, options)[0]


def collect(
    folder: Folder,
    recipe: Recipe,
    options: Options = Options(),
    wait: float | None = None,
    say: Say = lambda text: None,
) -> tuple[Garbage, int]:
    """Collect what `find` says, with the folder's lock held; what it was, and how many bytes the disk has won. A process that
    is killed leaves everything whole, and the rest for the next one.

    Raises:
        Busy: another process writes to the folder.
        SftError: there is no room for the compacted copy (nothing was collected), or the disk became full meanwhile.
    """
    house, keep = warehouse(folder, recipe), options.keep or recipe.engine.keep_versions
    with folder.lock(wait, say):
        garbage, contents, needed = _find(folder, recipe, options)
        if options.compact and house.path.exists():
            check_room(house.path, garbage.database[1], files.won(folder, house.spill, recipe.engine.keep_exports, needed))
        before = _size(folder, house.spill)
        if garbage.items:  # others may have made more since it was asked about
            say(f"collecting {'; '.join(f'{item.number:,} {item.what}' for item in garbage.items)}")
        say("removing files that nothing needs")
        if house.path.exists():
            with house.writing():  # nobody else has the database open now
                files.collect(folder, house.spill, recipe.engine.keep_exports, needed)
            if any(item.what.startswith(("versions", "texts", "raw records")) for item in garbage.items):
                say("taking versions and texts out of the database")
                with house.writing() as con:
                    tables.collect(con, keep)
        else:
            files.collect(folder, house.spill, recipe.engine.keep_exports, needed)
        if contents:
            say("taking entries out of the caches")
            caches.collect(folder, contents, options.calls)
        if options.compact and house.path.exists():
            say("compacting the database")
            compact(house)
        return garbage, before - _size(folder, house.spill)


def _find(folder: Folder, recipe: Recipe, options: Options) -> tuple[Garbage, caches.Contents | None, list[str]]:
    """What goes; the contents by which caches are sorted out; the files that versions need."""
    house, garbage, contents = warehouse(folder, recipe), Garbage(), None
    versions: list[Version] = []
    if house.path.exists():
        with house.reading() as con:
            versions = read_versions(con)
            if versions:
                tables.find(con, options.keep or recipe.engine.keep_versions, options.compact, garbage)
                contents = tables.contents(con)
        if options.compact:
            size = house.path.stat().st_size
            garbage.database = size, max(size - garbage.bytes, 0)
    needed = [path for version in versions for path in version.report.get("files", [])]
    files.find(folder, house.spill, recipe.engine.keep_exports, needed, garbage)
    if contents is None or not contents.used:  # without rows every entry would seem to be of no use
        return garbage, None, needed
    caches.find(folder, contents, options.calls, garbage)
    return garbage, contents, needed


def _size(folder: Folder, spill: Spill) -> int:
    beside = ("", ".wal", "-wal", "-shm")
    stores = [folder.database, folder.calls, folder.scores, folder.embeddings]
    paths = [path.with_name(path.name + end) for path in stores for end in beside]
    return files.size([p for p in (*paths, folder.exports, *spill.left(), folder.dagster / "logs") if p.exists()])
