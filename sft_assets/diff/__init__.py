"""`sft diff`: what is different between two versions of a state, or two exports, and why.

$ sft diff deduped
deduped@3 -> deduped@4: removed 25, added 6, changed 0
why      deduped  deduped.threshold: 0.8 -> 0.7
removed  25  near_duplicate in deduped@4
added     6  were exact_duplicate in deduped@3

sides.py    which two are meant            compare.py  the rows that moved, and the reason of each
causes.py   what was changed               exports.py  the rows of exports, out of their files
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sft_assets.diff.causes import causes
from sft_assets.diff.compare import compare, groups, rows_of_state
from sft_assets.diff.exports import excerpts, manifest_causes, rows_of_exports
from sft_assets.diff.result import Diff
from sft_assets.diff.sides import Known, exports, is_export, states
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.names import literal
from sft_assets.warehouse.versions import read_versions

__all__ = ["Diff", "diff"]
FILES = 5  # source files that are named among the causes


def diff(
    house: Warehouse, folder: Folder, first: str, second: str | None = None, rows: int = 3, ids: Path | None = None
) -> Diff:
    """What is different between two versions of a state or two exports (`sides` says how they are named).

    rows: examples of each reason. ids: a file that gets every row that moved, as JSON lines or, where its name says so, CSV.

    Raises:
        SftError: nothing is called that, or an export cannot be read; the message says what there is.
    """
    files = is_export(first) or (second is not None and is_export(second))
    with _opened(house, files) as con:
        known = {(v.asset, v.number): v for v in read_versions(con, current=False)}
        notes: list[str] = []
        if files:
            before, after = exports(folder, known, first, second)
            tables = rows_of_exports(con, before, after, notes)
        else:
            before, after = states(con, known, first, second)
            tables = rows_of_state(con, before), rows_of_state(con, after)
        result = Diff(before, after, notes=notes)
        compare(con, *tables, result)
        groups(con, *tables, result, rows)
        _causes(con, known, result)
        if files and (before.version is None or after.version is None):
            excerpts(con, result)
        if ids is not None:
            _write(con, ids)
    return result


@contextmanager
def _opened(house: Warehouse, files: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database; two exports can be compared without one."""
    if files and not house.path.exists():
        with house.in_memory() as con:
            con.execute("CREATE SCHEMA store")
            for table, columns in (("dropped", "reason VARCHAR, evidence VARCHAR"), ("quarantine", "reason VARCHAR")):
                con.execute(f"CREATE TABLE store.{table} (asset VARCHAR, version INTEGER, row_id UUID, {columns})")
            yield con
    else:
        with house.reading() as con:
            yield con


def _causes(con: duckdb.DuckDBPyConnection, known: Known, result: Diff) -> None:
    before, after = result.before, result.after
    if before.version is not None and after.version is not None:
        result.causes = causes(known, before.version, after.version)
    else:
        manifest_causes(before, after, result)
        lost = [side.name for side in (before, after) if side.version is None]
        result.notes.append(
            f"the database has not kept the version of {' and '.join(lost)}: causes are from the manifests, and of rows whose "
            "state is not kept the reason is not known"
        )
    raws = before.known.get("raw"), after.known.get("raw")
    for cause in result.causes:
        if cause.asset == "raw" and raws[0] and raws[1] and cause.why:
            cause.why[:] = [*cause.why, *_by_file(con, raws[0].table, raws[1].table)]


def _by_file(con: duckdb.DuckDBPyConnection, before: str, after: str) -> list[str]:
    """Records that came and went, by source file."""
    found = con.execute(f"""
        SELECT source_file, count(*) FILTER (came), count(*) FILTER (NOT came)
        FROM (
            SELECT source_file, true AS came FROM {after} ANTI JOIN {before} USING (row_id)
            UNION ALL
            SELECT source_file, false FROM {before} ANTI JOIN {after} USING (row_id)
        )
        GROUP BY source_file ORDER BY count(*) DESC, source_file
    """).fetchall()
    lines = [
        f"{name}: " + ", ".join(filter(None, [came and f"{came:,} new records", went and f"{went:,} records gone"]))
        for name, came, went in found[:FILES]
    ]
    return lines + ([f"and {len(found) - FILES:,} more files"] if len(found) > FILES else [])


def _write(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Every row that moved, with its reason."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    columns, form = "* REPLACE (evidence::JSON AS evidence, string_split(columns, ', ') AS columns)", "FORMAT json"
    if path.suffix.lower() == ".csv":  # a spreadsheet would take a text that begins so for a formula
        safe = "regexp_replace({0}::VARCHAR, '^([-=+@\\t\\r])', '''\\1')"
        texts = [f"{safe.format(name)} AS {name}" for name in ("source", "reason", "evidence")]
        columns = f"* REPLACE ({', '.join(texts)})"
        form = "FORMAT csv, HEADER"
    try:
        con.execute(f"""
            COPY (
                SELECT {columns}
                FROM (SELECT * EXCLUDE (content) FROM told ORDER BY change, row_id)
            ) TO {literal(str(temporary))} ({form})
        """)
        os.replace(temporary, path)
    except (duckdb.IOException, OSError) as error:
        raise SftError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        temporary.unlink(missing_ok=True)
