"""What a run needs on disk at most, and what is free there: `sft plan` says it, `sft run` warns.

    database              412 MB   texts 309 MB, embeddings 42 MB, combined 21 MB and 18 more
    caches of models       31 MB
    exports                96 MB
    spilled meanwhile       0 MB

A simple model, and an upper bound: tables take what they took last time for so many rows; where there was no last time, what
they take on the data it was fitted to. Texts are packed as a sample of each source file is. Nothing is counted on that is given
back on the way, but for the free blocks that the database has now. Measured against real runs in tests/test_disk.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from sft_assets.errors import SftError
from sft_assets.evidence import Estimate
from sft_assets.folder import Folder
from sft_assets.gc.tables import sizes_of_tables
from sft_assets.raw.amounts import Amount, amount, changed_after
from sft_assets.raw.sources import elsewhere, local_sources
from sft_assets.recipe import Recipe
from sft_assets.staleness import CHANGED_CODE
from sft_assets.warehouse import Version
from sft_assets.warehouse.opening import warehouse

MARGIN = 1.25  # on what was measured: rows differ
PACKED = 1.05  # a text in the database, of what zstd makes of a sample of its file
RECORD, CONTENT = 24, 100  # bytes that each record and content takes beside its text: hashes, roles, lengths
MORE_ROWS = 1.2  # rows of `combined` for a record: one with five answers gives five
BLOCK = 262_144  # bytes of the database that the smallest table takes
ASSET = BLOCK + 60_000  # ... with what is written about it
FIRST = 10 * BLOCK  # of a new database: stores, ledger, record of versions
ROW: Mapping[str, int] = {  # bytes of a table for a row of `combined`, with its part of the ledger; measured, and rounded up
    "raw": 64,
    "combined": 100,
    "deduped": 50,
    "contamination_candidates": 10,
    "decontaminated": 60,
    "scored": 65,
    "projection": 60,
    "topics": 60,
    "clustered": 80,
    "map": 60,
    "augmented": 60,
    "exported": 50,
    "gaps": 0,
    "generations": 0,
    "generation_checks": 0,
    "generation_scores": 0,
    "report": 0,
}
OTHER_ROW = 48
VECTOR = {"embedded": 4 * 384, "static": 4 * 256}
OTHER_VECTOR = 4 * 1024
CALL, TOKEN = 2_000, 6  # bytes that a call and a token of it leave in calls.sqlite
SCORE = 400  # bytes that a score leaves in scores.sqlite
JSON_TEXT, COLUMN_TEXT = 1.1, 1.4  # a text in an export: of what it is as JSON, of what zstd makes of it in parquet
JSON_ROW, COLUMN_ROW = 60, 60
IN_ORDER = 0.85  # ... and in the parts in which rows are put in order meanwhile
RECORDED = 150_000  # bytes of Dagster's own record of an asset
REPORT, MAP, MAP_ROW = 400_000, 1_450_000, 250
SHINGLES = 1.6  # bytes of shingles for a byte of text
SHINGLES_IN_MEMORY = 1 << 30
AS_JSON, IN_COLUMNS = (
    ("alpaca", "sharegpt", "openai", "preference", "kto"),
    ("messages", "prompt_completion", "preference", "kto"),
)


@dataclass(frozen=True)
class Place:
    """A disk: which folders lie there, what they need at most together, and what is free."""

    folders: Sequence[Path]
    need: int
    free: int

    @property
    def is_short(self) -> bool:
        return self.need > self.free


@dataclass
class Disk:
    """Bytes, at most. database: by asset, `texts` for the stores of records and contents. inside: of them, free blocks that the
    file has. spilled: gone at the end. unknown: what is not counted, and why."""

    database: dict[str, int] = field(default_factory=dict)
    inside: int = 0
    caches: int = 0
    exports: int = 0
    pages: int = 0
    records: int = 0
    spilled: int = 0
    places: list[Place] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """What the database file grows by."""
        return max(sum(self.database.values()) - self.inside, 0)

    @property
    def stays(self) -> int:
        """What is on disk afterwards that is not now."""
        return self.growth + self.caches + self.exports + self.pages + self.records

    @property
    def warnings(self) -> list[str]:
        """A sentence for each disk that may be too small."""
        return [
            f"{', '.join(map(str, place.folders))}: this run may need {place.need / 1e9:,.2f} GB there, and "
            f"{place.free / 1e9:,.2f} GB are free. Free some space: `sft gc` collects what nothing needs"
            + ("; or name a folder on another disk for what is spilled: engine.temp_directory" if self.spilled else "")
            for place in self.places
            if place.is_short
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "database": self.database,
            "free_inside_the_database": self.inside,
            "caches": self.caches,
            "exports": self.exports,
            "pages": self.pages,
            "records": self.records,
            "spilled": self.spilled,
            "stays": self.stays,
            "places": [
                {"folders": [str(path) for path in place.folders], "need": place.need, "free": place.free}
                for place in self.places
            ],
            "unknown": self.unknown,
            "warnings": self.warnings,
        }


@dataclass
class _Known:
    """What the database tells: bytes of its tables, free ones inside, and since when `raw` stands (seconds since 1970)."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    inside: int = 0
    read: float = 0.0


def estimate(
    folder: Folder,
    recipe: Recipe,
    versions: Mapping[str, Version],
    stale: Mapping[str, Sequence[str]],
    may_follow: Sequence[str],
    calls: Mapping[str, Estimate],
) -> Disk:
    """What it needs on disk to run everything in `stale`, with its reasons, and in `may_follow`. calls: of models, by asset.
    Writes nothing, asks nobody."""
    running = [*stale, *may_follow]
    known, found = _known(folder, recipe), Disk()
    texts, fresh = _texts(folder, recipe, versions, stale, running, known, found)
    rows, before = _rows(versions, running, texts)
    found.inside = known.inside
    found.database = {
        name: size for name in running if (size := _table(name, folder, recipe, versions, known, rows, before, calls))
    }
    added = 0.0
    if "raw" in running:
        added += fresh.packed * PACKED + fresh.records * RECORD
    if "combined" in running:
        added += fresh.packed * PACKED + fresh.records * MORE_ROWS * CONTENT
    found.database["texts"] = int(added + _made(calls)) + (0 if versions else FIRST)
    found.caches = _caches(recipe, running, rows, calls)
    if "exported" in running:
        found.exports = _exports(folder, recipe, versions, texts, rows, before)
    on_map = rows if recipe.embeddings.model is not None else 0
    found.pages = REPORT * ("report" in running) + (MAP + MAP_ROW * on_map) * ("map" in running)
    if unasked := [name for name, one in calls.items() if one.calls is None and one.contents != 0 and not one.local]:
        found.unknown.append(f"not counted, as nobody knows it yet: what models answer for {', '.join(unasked)}")
    found.records = RECORDED * len(running)
    found.spilled = _spilled(recipe, running, texts, rows)
    found.places = _places(folder, recipe, found)
    return found


def is_ample(folder: Folder, recipe: Recipe) -> bool:
    """Whether there is so much room that nothing need be estimated: the beginning of every run is not the time for more."""
    try:
        sizes = sum(
            path.stat().st_size for base in (folder.sources, folder.benchmarks, folder.documents) for path in _there(base)
        )
        database = folder.database.stat().st_size if folder.database.exists() else 0
        need = 100 * sizes + 4 * database + 4_000_000_000
        return all(_free(path) > need for path in (folder.root, warehouse(folder, recipe).spill.root))
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------------------- what is known


def _known(folder: Folder, recipe: Recipe) -> _Known:
    if not folder.database.exists():
        return _Known()
    with warehouse(folder, recipe).reading() as con:
        sizes = sizes_of_tables(con)
        block, free = con.execute("SELECT block_size, free_blocks FROM pragma_database_size()").fetchall()[0]
        moment = None
        with suppress(duckdb.CatalogException):  # a database whose first writer was killed before it wrote anything
            moment = con.execute("""
                SELECT max(epoch(created::TIMESTAMPTZ) - seconds) FROM store.versions WHERE asset = 'raw'
            """).fetchall()[0][0]
    return _Known(sizes, int(block) * int(free), float(moment or 0.0))


def _texts(
    folder: Folder,
    recipe: Recipe,
    versions: Mapping[str, Version],
    stale: Mapping[str, Sequence[str]],
    running: Sequence[str],
    known: _Known,
    found: Disk,
) -> tuple[Amount, Amount]:
    """What all source files hold, and what of it may be new to the database."""
    stored = known.sizes.get("contents", 0)
    kept = versions["combined"].report["kept"] if "combined" in versions else 0
    if "raw" not in running:
        all_of_it = Amount(kept, stored / 0.3, stored)  # packed to a third, as a rule
        is_new = "combined" in running and _is_other_code("combined", versions, stale)
        return all_of_it, all_of_it if is_new else Amount()
    try:
        sources = local_sources(folder, recipe)
    except SftError as error:  # the run will say so too
        found.unknown.append(str(error))
        return Amount(), Amount()
    files = {file.name: file.path for file in sources.files if file.refused is None}
    all_of_it = amount(files.values())
    if away := [entry.name for entry in elsewhere(recipe, sources.described)]:
        found.unknown.append(f"not counted, as it is not in {folder.sources}: {', '.join(away[:5])}")
        all_of_it += Amount(kept, stored / 0.3, stored)
    if _is_other_code("raw", versions, stale) or _is_other_code("combined", versions, stale):
        return all_of_it, all_of_it
    read = {str(entry.get("file")) for entry in versions["raw"].report.get("read", [])}
    read |= {name[:at] for name in read for at in range(len(name)) if name[at] == "/"}  # archives, by their members
    new = [path for name, path in files.items() if name not in read or changed_after(path, known.read)]
    return all_of_it, amount(new)


def _is_other_code(name: str, versions: Mapping[str, Version], stale: Mapping[str, Sequence[str]]) -> bool:
    """Whether it may give other texts for the same input."""
    return name not in versions or any(why in CHANGED_CODE for why in stale.get(name, ()))


def _rows(versions: Mapping[str, Version], running: Sequence[str], texts: Amount) -> tuple[int, int]:
    """The most rows that there may be, and how many there were when the tables were measured."""
    before = versions["combined"].report["kept"] if "combined" in versions else 0
    read = versions["raw"].report["kept"] if before else 0
    more = 1.05 * before / read if read else MORE_ROWS
    return max(int(texts.records * more), before), before


# --------------------------------------------------------------------------------------------------------- what it takes


def _table(
    name: str,
    folder: Folder,
    recipe: Recipe,
    versions: Mapping[str, Version],
    known: _Known,
    rows: int,
    before: int,
    calls: Mapping[str, Estimate],
) -> int:
    """A new version of an asset, with its part of the ledger, without texts."""
    if name == "chunks":
        return int(ASSET + amount(_there(folder.documents)).text)
    if name == "benchmarks":
        return int(ASSET + 1.2 * amount(_there(folder.benchmarks)).text)
    assumed = rows * ROW.get(name, OTHER_ROW)
    if name == "embeddings":
        assumed = int(1.1 * rows * (_vector(recipe) + 32)) if recipe.embeddings.model is not None else 0
    elif name in calls and (scored := calls[name].contents) is not None:
        assumed = min(rows, scored) * ROW.get(name, OTHER_ROW)
    if name not in versions or not before:
        return ASSET + assumed
    took, factor = known.sizes.get(versions[name].table.partition(".")[2], 0), max(rows / before, 1.0)
    if took <= 2 * BLOCK:  # most of it may be room that is left in its blocks
        return int(ASSET + max(assumed, took - BLOCK) + factor * _ledger(versions[name]))
    return int(ASSET + factor * (MARGIN * took + _ledger(versions[name])))


def _ledger(version: Version) -> float:
    """What its drops and edits took: 300 bytes each, as they carry evidence."""
    counted = [version.report.get(kind) for kind in ("dropped", "edited", "quarantined")]
    return 300.0 * sum(sum(counts.values()) for counts in counted if isinstance(counts, dict))


def _vector(recipe: Recipe) -> int:
    return VECTOR.get(recipe.embeddings.model or "", OTHER_VECTOR)


def _made(calls: Mapping[str, Estimate]) -> float:
    """Texts that models give."""
    asked = calls.get("generations")
    return float(TOKEN * (asked.tokens or 0)) if asked else 0.0


def _caches(recipe: Recipe, running: Sequence[str], rows: int, calls: Mapping[str, Estimate]) -> int:
    """What the caches of models grow by."""
    size = 0.0
    if "embeddings" in running and recipe.embeddings.model is not None:
        size += 1.2 * rows * (_vector(recipe) + 160)
    for one in calls.values():
        if one.local:
            size += SCORE * (one.new or 0)
        else:
            size += CALL * (one.calls or 0) + TOKEN * (one.tokens or 0)
    return int(size)


def _exports(folder: Folder, recipe: Recipe, versions: Mapping[str, Version], texts: Amount, rows: int, before: int) -> int:
    """The export's files, and the parts in which rows are put in order while they are written."""
    section = recipe.exported
    if "exported" in versions and before:
        there = folder.root / versions["exported"].report["export"]
        size = sum(path.stat().st_size for path in _there(there))
        return int(MARGIN * size * max(rows / before, 1.0) + IN_ORDER * texts.text)
    often = max([1.0, *section.repeat.values()])
    plain = sum(name in AS_JSON for name in section.formats) * (JSON_TEXT * texts.text + JSON_ROW * rows)
    columns = sum(name in IN_COLUMNS for name in section.formats) * (COLUMN_TEXT * texts.packed + COLUMN_ROW * rows)
    return int(often * (plain + columns) + IN_ORDER * texts.text + 100_000)


def _spilled(recipe: Recipe, running: Sequence[str], texts: Amount, rows: int) -> int:
    """What does not fit into memory: the largest of what is sorted or joined at a time."""
    limit = _bytes(recipe.engine.memory_limit)
    work = texts.text + 200 * rows
    spilled = max(2 * work - 0.8 * limit, 0) if {"raw", "combined", "exported"} & {*running} else max(work - 0.8 * limit, 0)
    shingles = SHINGLES * texts.text
    if "deduped" in running and recipe.deduped.near and shingles > SHINGLES_IN_MEMORY:
        spilled = max(spilled, shingles)
    return int(spilled)


def _bytes(said: str) -> int:
    """2GB as DuckDB understands it."""
    number = said.rstrip("KMGTiB ")
    unit = said[len(number) :].strip()
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** (1 + "KMGT".index(unit[0].upper())))


# ------------------------------------------------------------------------------------------------------------- the disks


def _places(folder: Folder, recipe: Recipe, found: Disk) -> list[Place]:
    spill = warehouse(folder, recipe).spill.root
    needs: dict[int, tuple[list[Path], int]] = {}
    for path, need in ((folder.root, found.stays), (spill, found.spilled)):
        disk = os.stat(_nearest(path)).st_dev
        folders, total = needs.get(disk, ([], 0))
        if need or not folders:
            needs[disk] = [*folders, path] if need else folders, total + need
    return [Place(folders, need, _free(folders[0])) for folders, need in needs.values() if folders]


def _free(path: Path) -> int:
    return shutil.disk_usage(_nearest(path)).free


def _nearest(path: Path) -> Path:
    """The path, or the folder above it that is there."""
    return next((at for at in (path, *path.parents) if at.exists()), Path("/"))


def _there(base: Path) -> list[Path]:
    return [path for path in Folder.files(base) if path.is_file()] if base.is_dir() else []
