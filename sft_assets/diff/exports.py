"""The rows of an export as its files hold them, and what its manifest says of how it was made.

    row_id 5f0c...  split train  source questions  copies 2  digest 1f0c22ab      data/train-00000-of-00001.parquet

Where the database has not kept both, the files are read: an export may have been made by another one. Parquet where a kind of
row has it, else JSON that carries row ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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
    SELECT NULL::UUID AS row_id, '' AS split, 0::BIGINT AS copies, '' AS source, '' AS license, '' AS language,
        0::UBIGINT AS content, '' AS excerpt, '' AS written
    WHERE false
"""
COMPARED = ["split", "copies", "source", "license", "language"]
HOW = ("engine", "models", "report")  # sections that say how, and are the cause of no row
BEST = ("data", "preference", "unpaired", "kto")  # folders whose files hold whole conversations: others are the same rows again
KINDS = {"preference": {"preference"}, "unpaired": {"unpaired"}, "kto": {"preference", "unpaired"}}  # of rows, by folder
OTHER_KINDS = {"preference": {"preference"}, "kto": {"preference", "unpaired"}}  # by how a file's name begins
Group = tuple[str, str]  # a folder, and how the names of its files begin where that tells their kind


def rows_of_exports(con: duckdb.DuckDBPyConnection, before: Side, after: Side, notes: list[str]) -> tuple[Rows, Rows]:
    """The rows of two exports. Where the database has both versions they are those of its tables, in whatever files they were
    written; else the files are read, and the texts in them compared. notes: is told what could not be compared.

    Raises:
        SftError: a file that the manifest names is not there or cannot be read, or none of them holds row ids.
    """
    if before.version is not None and after.version is not None:
        repeated = [version.report.get("repeated") or {} for version in (before.version, after.version)]
        if len({tuple(sorted((source, said["times"]) for source, said in of.items())) for of in repeated}) > 1:
            notes.append("how often rows stand in the files (exported.repeat) was not compared")
        return Rows(before.version.table, ["split"], "content_hash"), Rows(after.version.table, ["split"], "content_hash")
    sides = {"rows_before": before, "rows_after": after}
    files = {name: _files(con, side) for name, side in sides.items()}
    columns = {name: _columns(found) for name, found in files.items()}
    old, new = columns.values()
    for group in sorted(old.keys() & new.keys()):
        if left := sorted({*old[group]} ^ {*new[group]}):
            notes.append(
                f"columns that only one of the two has in {' '.join(group).strip()} were not compared: {', '.join(left)}"
            )
    for name, side in sides.items():
        con.execute(f"CREATE TEMP TABLE {name} AS {EMPTY}")
        for group, paths in files[name].items():
            mine, other = columns[name][group], (new if name == "rows_before" else old).get(group)
            shared = [n for n in mine if other is None or n in other]
            # fields of a turn that are empty in every row of an export are left out of its files
            types = {tuple((n, kinds[n]) for n in shared) for kinds in (mine, other or mine)}
            cast = len(types) > 1 or "" in mine.values()
            rows = " UNION ALL ".join(_select(path, kinds, shared, cast) for path, kinds in paths)
            try:
                con.execute(f"""
                    INSERT INTO {name}
                    SELECT row_id, min(split), count(*), any_value(source), any_value(license), any_value(language),
                        hash(min(digest), max(digest)), any_value(excerpt), {literal("/".join(group))}
                    FROM ({rows}) ANTI JOIN {name} USING (row_id)
                    GROUP BY row_id
                """)
            except duckdb.Error as error:
                assert side.folder is not None
                raise _unreadable(side.folder, error) from None
    elsewhere = "FROM rows_before AS b WHERE b.row_id = a.row_id AND b.written <> a.written"
    (moved,) = con.execute(f"UPDATE rows_after AS a SET content = b.content, copies = b.copies {elsewhere}").fetchall()[0]
    if moved:
        notes.append(f"{moved:,} rows are in files of another format now: what they say was not compared")
    return Rows("rows_before", COMPARED, "content"), Rows("rows_after", COMPARED, "content")


def data_files(folder: Path) -> dict[Group, list[str]]:
    """The files to read for each row to be there (but for its copies): Parquet if there is any; of several that hold rows of a
    kind those with whole conversations; where they were written for other trainers only, those with the most rows."""
    found: dict[Group, dict[str, int]] = {}
    for path, entry in manifest(folder)["files"].items():
        at = PurePosixPath(path)
        if entry.get("rows") is not None and at.suffix in (".parquet", *JSON):
            start = at.name.partition("-")[0]
            found.setdefault((at.parent.as_posix(), start if start in OTHER_KINDS else ""), {})[path] = entry["rows"]
    groups = {name: {p: n for p, n in files.items() if p.endswith(".parquet")} or files for name, files in found.items()}
    order = sorted(groups, key=lambda g: (BEST.index(g[0]) if g[0] in BEST else len(BEST), -sum(groups[g].values())))
    files, there = {}, set[str]()
    for group in order:
        kinds = KINDS.get(group[0]) or OTHER_KINDS.get(group[1]) or {"sft"}
        if not kinds <= there:
            files[group] = list(groups[group])
            there |= kinds
    return files


def _files(con: duckdb.DuckDBPyConnection, side: Side) -> dict[Group, list[tuple[Path, dict[str, str]]]]:
    """The files of an export that hold row ids, with their columns and types."""
    assert side.folder is not None
    found: dict[Group, list[tuple[Path, dict[str, str]]]] = {}
    for group, names in data_files(side.folder).items():
        for path in (side.folder / name for name in names):
            try:
                columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {_reader(path)}").fetchall()}
            except duckdb.Error as error:
                raise _unreadable(path, error) from None
            if "row_id" in columns:
                found.setdefault(group, []).append((path, columns))
    if side.rows and not found:
        raise SftError(f"{side.folder}: none of its files holds row ids, so its rows cannot be told apart")
    return found


def _columns(files: Mapping[Group, list[tuple[Path, dict[str, str]]]]) -> dict[Group, dict[str, str]]:
    """The columns that all files of a group have; "" for the type of one that they do not agree on."""
    found = {}
    for group, paths in files.items():
        names = set.intersection(*({*columns} for _, columns in paths)) - {*COMPARED, "row_id"}
        kinds = {name: {columns[name] for _, columns in paths} for name in sorted(names)}
        found[group] = {name: of.pop() if len(of) == 1 else "" for name, of in kinds.items()}
    return found


def _reader(path: Path) -> str:
    if path.suffix == ".parquet":
        return f"read_parquet({literal(str(path))})"
    return f"read_json({literal(str(path))}, maximum_object_size = 268435456)"


def _select(path: Path, columns: Mapping[str, str], compared: Iterable[str], cast: bool) -> str:
    """A query for the rows of a file. compared: columns. cast: turns are brought to one shape."""
    split = PurePosixPath(path).name.partition(".")[0].removeprefix("preference-").removeprefix("kto-").partition("-")[0]
    own = ", ".join(f"{name if name in columns else 'NULL'}::VARCHAR AS {name}" for name in ("source", "license", "language"))
    turns = [name for name, kind in columns.items() if "role" in kind and kind.endswith("[]")]
    said = [f"{identifier(name)}{f'::{MESSAGES_SQL}' if cast and name in turns else ''}" for name in compared]
    first, last = (f"left({identifier(turns[n])}[{at}].content, {HALF})" if turns else "NULL" for n, at in ((0, 1), (-1, -1)))
    return f"""
        SELECT row_id::UUID AS row_id, {literal(split)} AS split, {own}, hash({", ".join(said) or "0"}) AS digest,
            concat_ws(' ⏎ ', {first}, nullif({last}, {first})) AS excerpt
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
