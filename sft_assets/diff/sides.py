"""Which two are meant.

deduped                    the version before the current one, and the current one
deduped@3                  version 3 and the current one
deduped@3 deduped@5        these
export                     the last two exports
exports/20260102 latest    an export by the beginning of its name, or by its path, and the newest
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import orjson

from sft_assets.diff.result import Side
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.warehouse import Version
from sft_assets.warehouse.opening import STATES

EXPORT = ("export", "exports")
LATEST = "latest"
MANIFEST = "MANIFEST.json"
NAME = re.compile(r"\d{4}[\dTZa-f-]*")  # how names of exports begin
Known = Mapping[tuple[str, int], Version]


def is_export(text: str) -> bool:
    return text in EXPORT or text == LATEST or "/" in text or bool(NAME.fullmatch(text)) or (Path(text) / MANIFEST).is_file()


# ---------------------------------------------------------------------------------------------------------- versions


def states(con: duckdb.DuckDBPyConnection, known: Known, first: str, second: str | None) -> tuple[Side, Side]:
    """Two versions of one state.

    Raises:
        SftError: there are no such versions; the message says which there are.
    """
    made = {
        (asset, number): f"{created:%Y-%m-%d %H:%M}"
        for asset, number, created in con.execute("SELECT asset, version, created FROM store.versions").fetchall()
    }
    name, number = _parsed(first)
    numbers = sorted(n for asset, n in known if asset == name)
    if not numbers:
        raise SftError(f"{name} is not built yet: `sft run {name}`")

    def side(wanted: int) -> Side:
        if wanted not in numbers:
            there = ", ".join(f"{name}@{n} ({made[name, n]}, {known[name, n].report['kept']:,} rows)" for n in numbers)
            raise SftError(f"there is no {name}@{wanted} in the database (engine.keep_versions says how many stay): {there}")
        version = known[name, wanted]
        return Side(f"{name}@{wanted}", version.report["kept"], made[name, wanted], version, None, lineage(known, version))

    if second is not None:
        other, after = _parsed(second)
        if other != name:
            raise SftError(f"{first} and {second}: two versions of one state are compared, such as {name}@{numbers[0]} {name}")
        return side(number or numbers[-1]), side(after or numbers[-1])
    if number is None:
        if len(numbers) == 1:
            raise SftError(
                f"{name}@{numbers[0]} is the only version of {name} that there is: there is nothing to compare it with"
            )
        number = numbers[-2]
    return side(number), side(numbers[-1])


def _parsed(text: str) -> tuple[str, int | None]:
    name, given, number = text.partition("@")
    if name not in STATES:
        raise SftError(f"{text!r} is neither a state nor an export; {did_you_mean(name, [*STATES, 'export'], 'there are')}")
    if given and not (number.isascii() and number.isdigit()):
        raise SftError(f"{text!r}: after the @ comes the number of a version, such as {name}@3")
    return name, int(number) if given else None


def lineage(known: Known, version: Version) -> dict[str, Version]:
    """The version and all that it was built on, by asset; where an asset was read twice, the version nearest to it."""
    found: dict[str, Version] = {}
    todo = [version]
    for one in todo:
        if one.asset not in found:
            found[one.asset] = one
            todo += [known[key] for key in one.built_on.items() if key in known]
    return found


def chain(side: Side) -> list[Version]:
    """The state and those that its rows passed before, back to raw; as far as they are kept."""
    states = [side.known[name] for name in reversed(STATES) if name in side.known]
    if side.version is not None:
        states = [v for v in states if STATES.index(v.asset) <= STATES.index(side.version.asset)]
    return states


# ----------------------------------------------------------------------------------------------------------- exports


def exports(folder: Folder, known: Known, first: str, second: str | None) -> tuple[Side, Side]:
    """Two exports.

    Raises:
        SftError: there are no such exports; the message says which there are.
    """
    there = sorted(p for p in folder.exports.glob("*") if not p.is_symlink() and (p / MANIFEST).is_file())
    newest = (folder.exports / LATEST).resolve()
    if second is None:
        if first in EXPORT or _found(folder, there, first) == newest:
            if len(there) < 2:
                raise SftError(f"{folder.exports} has {len(there)} export{'s' if len(there) != 1 else ''}: two are compared")
            return _side(folder, known, there[-2]), _side(folder, known, there[-1])
        second = LATEST
    return tuple(_side(folder, known, _found(folder, there, text)) for text in (first, second))  # type: ignore[return-value]


def _found(folder: Folder, there: list[Path], text: str) -> Path:
    name = text.rstrip("/").rpartition("/")[2]
    for path in (Path(text), folder.exports / name):
        if name not in EXPORT and (path / MANIFEST).is_file():
            return path.resolve()
    found = [path for path in there if name and path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    said = ", ".join(f"{path.name} ({_rows(manifest(path)):,} rows)" for path in found or there) or "none"
    raise SftError(f"{text!r}: {'more than one export begins so' if found else 'no export is called that'}; there are: {said}")


def manifest(path: Path) -> dict[str, Any]:
    """An export's MANIFEST.json.

    Raises:
        SftError: it cannot be read.
    """
    try:
        read = orjson.loads((path / MANIFEST).read_bytes())
        return {**read, "files": dict(read["files"]), "states": dict(read.get("states", {}))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SftError(f"{path / MANIFEST}: cannot be read ({error}): it is no export, or it is damaged") from None


def _rows(said: Mapping[str, Any]) -> int:
    return sum(n for splits in said.get("rows", {}).values() for n in splits.values())


def _side(folder: Folder, known: Known, path: Path) -> Side:
    said = manifest(path)
    version = next(
        (v for v in known.values() if v.asset == "exported" and _is_folder(folder, v, path)),
        None,
    )
    if version is not None:
        versions = lineage(known, version)
    else:  # numbers begin anew with a new database: only a version with the same data is the same
        versions = {}
        for name, entry in said["states"].items():
            kept = known.get((name, entry.get("version")))
            if kept is not None and kept.data_version == entry.get("data_version"):
                versions[name] = kept
    made = str(said.get("created", "")).replace("T", " ")[:16]
    return Side(f"exports/{path.name}", _rows(said), made, version, path, versions)


def _is_folder(folder: Folder, version: Version, path: Path) -> bool:
    export = version.report.get("export")
    return export is not None and (folder.root / export).resolve() == path
