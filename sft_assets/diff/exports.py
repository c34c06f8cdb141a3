"""The rows of an export as its files hold them, and what its manifest says of how it was made.

    row_id 5f0c...  split train  source questions  copies 2  digest 1f0c22ab      data/train-00000-of-00001.parquet

The files are read, not the database: an export may have been made by another one. Parquet where a kind of row has it, else JSON
that carries row ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from sft_assets.diff.causes import recipe_changes
from sft_assets.diff.compare import EXCERPT, Rows
from sft_assets.diff.result import Cause, Diff, Side
from sft_assets.diff.sides import manifest
from sft_assets.errors import SftError
from sft_assets.record import MESSAGES_SQL
from sft_assets.warehouse.names import identifier, literal

JSON = (".json", ".jsonl")
HALF = EXCERPT // 2 - 2
EMPTY = """
    SELECT NULL::UUID AS row_id, '' AS split, '' AS source, '' AS license, '' AS language, 0::UBIGINT AS digest, '' AS excerpt
    WHERE false
"""
COMPARED = ["split", "copies", "source", "license", "language"]
HOW = ("engine", "models", "report")  # sections that say how, and are the cause of no row
BEST = ("data", "preference", "unpaired")  # folders whose files hold whole conversations: others are the same rows again


def rows_of_exports(con: duckdb.DuckDBPyConnection, before: Side, after: Side) -> tuple[Rows, Rows]:
    """The rows of two exports. What they say is known by content hashes where the database has both versions; else the texts in
    the files are compared.

    Raises:
        SftError: a file that the manifest names is not there or cannot be read, or none of them holds row ids.
    """
    sides = {"rows_before": before, "rows_after": after}
    stored = before.version is not None and after.version is not None
    files = {name: _files(con, side) for name, side in sides.items()}
    # fields of a turn that are empty in every row of an export are left out of its files
    same = len({tuple(columns.items()) for _, columns in chain.from_iterable(files.values())}) == 1
    for name, side in sides.items():
        rows = " UNION ALL ".join(_select(path, columns, stored, not same) for path, columns in files[name])
        version = side.version.table if stored and side.version is not None else None
        content = "any_value(content_hash) AS content" if version else "min(digest) AS content, any_value(excerpt) AS excerpt"
        try:
            con.execute(f"""
                CREATE TEMP TABLE {name} AS
                SELECT row_id, min(split) AS split, count(*) AS copies, any_value(source) AS source,
                    any_value(license) AS license, any_value(language) AS language, {content}
                FROM ({rows or EMPTY}) {f"LEFT JOIN {version} USING (row_id)" if version else ""}
                GROUP BY row_id
            """)
        except duckdb.Error as error:
            assert side.folder is not None
            raise _unreadable(side.folder, error) from None
    return Rows("rows_before", COMPARED, "content"), Rows("rows_after", COMPARED, "content")


def data_files(folder: Path) -> list[str]:
    """The files to read, each row once (but for its copies): Parquet if there is any; of several folders those that hold whole
    conversations; where they were written for other trainers only, the folder with the most rows."""
    found: dict[str, dict[str, int]] = {}
    for path, entry in manifest(folder)["files"].items():
        if entry.get("rows") is not None and PurePosixPath(path).suffix in (".parquet", *JSON):
            found.setdefault(PurePosixPath(path).parent.as_posix(), {})[path] = entry["rows"]
    configs = {name: {p: n for p, n in files.items() if p.endswith(".parquet")} or files for name, files in found.items()}
    best = [name for name in BEST if name in configs]
    others = [name for name in configs if name not in BEST]
    if "data" not in best and others:
        best.append(max(others, key=lambda name: sum(configs[name].values())))
    return [path for name in best for path in configs[name]]


def _files(con: duckdb.DuckDBPyConnection, side: Side) -> list[tuple[Path, dict[str, str]]]:
    """The files of an export that hold row ids, with their columns and types."""
    assert side.folder is not None
    found = []
    for path in (side.folder / name for name in data_files(side.folder)):
        try:
            columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {_reader(path)}").fetchall()}
        except duckdb.Error as error:
            raise _unreadable(path, error) from None
        if "row_id" in columns:
            found.append((path, columns))
    if side.rows and not found:
        raise SftError(f"{side.folder}: none of its files holds row ids, so its rows cannot be told apart")
    return found


def _reader(path: Path) -> str:
    if path.suffix == ".parquet":
        return f"read_parquet({literal(str(path))})"
    return f"read_json({literal(str(path))}, maximum_object_size = 268435456)"


def _select(path: Path, columns: Mapping[str, str], stored: bool, cast: bool) -> str:
    """A query for the rows of a file. stored: their texts need not be read. cast: turns are brought to one shape."""
    split = PurePosixPath(path).name.partition(".")[0].partition("-")[0]
    own = ", ".join(f"{name if name in columns else 'NULL'}::VARCHAR AS {name}" for name in ("source", "license", "language"))
    select = f"SELECT row_id::UUID AS row_id, {literal(split)} AS split, {own}"
    if stored:
        return f"{select} FROM {_reader(path)}"
    turns = [name for name, kind in columns.items() if "role" in kind and kind.endswith("[]")]
    said = [
        f"{identifier(name)}{f'::{MESSAGES_SQL}' if cast and name in turns else ''}"
        for name in sorted(columns)
        if name not in (*COMPARED, "row_id")
    ]
    first, last = (f"left({identifier(turns[n])}[{at}].content, {HALF})" if turns else "NULL" for n, at in ((0, 1), (-1, -1)))
    return f"""
        {select}, hash({", ".join(said) or "0"}) AS digest, concat_ws(' ⏎ ', {first}, nullif({last}, {first})) AS excerpt
        FROM {_reader(path)}
    """


def excerpts(con: duckdb.DuckDBPyConnection, result: Diff) -> None:
    """Give the examples the beginnings of their texts, as far as they were read."""
    for name, side in (("rows_before", result.before), ("rows_after", result.after)):
        mine = [group for group in result.groups if (group.change == "removed") == (side is result.before)]
        ids = ", ".join(f"'{example.row_id}'::UUID" for group in mine for example in group.examples)
        if ids:
            found = dict(con.execute(f"SELECT row_id::VARCHAR, excerpt FROM {name} WHERE row_id IN ({ids})").fetchall())
            for group in mine:
                group.examples[:] = [replace(example, text=found[example.row_id] or "") for example in group.examples]


def _unreadable(path: Path, error: duckdb.Error) -> SftError:
    said = str(error).split("\n")[0]
    return SftError(f"{path}: cannot be read ({said}): an export is compared as a whole; is it complete?")


def manifest_causes(before: Side, after: Side, result: Diff) -> None:
    """The differences that the manifests tell of, for exports whose versions the database has not kept."""
    assert before.folder is not None and after.folder is not None
    old, new = manifest(before.folder), manifest(after.folder)
    changes: dict[str, list[str]] = {}
    for line in recipe_changes("", old.get("recipe", {}), new.get("recipe", {})):
        section = line.partition(".")[0].partition(":")[0]
        if section not in HOW:
            changes.setdefault(section, []).append(line)
    differ = [
        name
        for name in (*old["states"], *(n for n in new["states"] if n not in old["states"]))
        if _data(old, name) != _data(new, name)
    ]
    for name in dict.fromkeys([*differ, *(section for section in changes if section not in old["states"])]):
        before_number, after_number = (said["states"].get(name, {}).get("version") for said in (old, new))
        result.causes.append(Cause(name, before_number, after_number, changes.pop(name, [])))
    if changes:
        result.causes += [Cause(name, None, None, lines) for name, lines in changes.items()]
    if old.get("sft_assets") != new.get("sft_assets"):
        result.notes.append(f"they were made by sft_assets {old.get('sft_assets')} and {new.get('sft_assets')}")


def _data(said: Mapping[str, Any], name: str) -> Any:
    return said["states"].get(name, {}).get("data_version")
