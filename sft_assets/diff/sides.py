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

from sft_assets.diff.result import Side
from sft_assets.errors import SftError, did_you_mean
from sft_assets.exported.folder import LATEST, MANIFEST
from sft_assets.files import NAMED
from sft_assets.folder import Folder
from sft_assets.warehouse import Version
from sft_assets.warehouse.opening import STATES

EXPORT = ("export", "exports")
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
    found = sorted(p for p in folder.exports.glob("[!.]*") if not p.is_symlink() and (p / MANIFEST).is_file())
    there = [p for p in found if NAMED.fullmatch(p.name)]  # in the order of time; others have names that somebody gave them
    newest = (folder.exports / LATEST).resolve()
    if second is None:
        if first in EXPORT or _found(folder, found, first) == newest:
            if len(there) < 2:
                raise SftError(f"{folder.exports} has {len(there)} export{'s' if len(there) != 1 else ''}: two are compared")
            return _side(folder, known, there[-2]), _side(folder, known, there[-1])
        second = LATEST
    return _side(folder, known, _found(folder, found, first)), _side(folder, known, _found(folder, found, second))


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
    from sft_assets.exported.finished import Finished  # here: it takes the recipe's module, which versions are compared without

    read = Finished.read(path).manifest
    try:
        said = {"recipe": {}, "states": {}, "rows": {}, **read}
        maps = [said["recipe"], *said["states"].values(), *said["rows"].values()]
        counts = [n for splits in said["rows"].values() for n in splits.values()]
        counts += [n for file in said["files"].values() if (n := file.get("rows")) is not None]
        if all(isinstance(value, dict) for value in maps) and all(isinstance(n, int) for n in counts):
            return said
    except AttributeError:
        pass
    raise SftError(f"{path / MANIFEST}: cannot be read: it is no export's, or it is damaged")


def _rows(said: Mapping[str, Any]) -> int:
    return sum(n for splits in said.get("rows", {}).values() for n in splits.values())


def _side(folder: Folder, known: Known, path: Path) -> Side:
    name = f"exports/{path.name}"
    version = next((v for v in known.values() if v.asset == "exported" and _is_folder(folder, v, path)), None)
    if version is not None:
        at = path.name
        made = f"{at[:4]}-{at[4:6]}-{at[6:8]} {at[9:11]}:{at[11:13]}"
        return Side(name, version.report["kept"], made, version, path, lineage(known, version))
    said, versions = manifest(path), {}
    for asset, entry in said["states"].items():  # numbers begin anew with a new database: only one with the same data is it
        kept = known.get((asset, entry.get("version")))
        if kept is not None and kept.data_version == entry.get("data_version"):
            versions[asset] = kept
    return Side(name, _rows(said), str(said.get("created", "")).replace("T", " ")[:16], None, path, versions)


def _is_folder(folder: Folder, version: Version, path: Path) -> bool:
    export = version.report.get("export")
    return export is not None and (folder.root / export).resolve() == path
