"""The database file, written anew without its free blocks.

    sft.duckdb  1.9 GB, 40 % of it free   ->   .sft.duckdb.compact-4711  ->   sft.duckdb  1.1 GB

The copy is compared with the original, table by table, and takes its name when the disk has all of it: a process that is killed
leaves the file that there was, or the new one, whole. Who reads meanwhile goes on reading the file that there was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from sft_assets.errors import Busy, SftError
from sft_assets.warehouse.database import Warehouse
from sft_assets.warehouse.names import identifier, literal

PARTIAL = ".compact-"
SLACK = 1.1  # of the expected size, which is an estimate
Say = Callable[[str], None]


def partial_files(path: Path) -> list[Path]:
    """What compactions that were killed have left beside the database."""
    path = path.resolve()
    return sorted(path.parent.glob(f".{path.name}{PARTIAL}*"))


def check_room(path: Path, expected: int, won: int = 0) -> None:
    """See that the copy fits beside the original. expected: its size. won: what is given back to the disk before.

    Raises:
        SftError: it does not; nothing was written.
    """
    free, need = shutil.disk_usage(path.resolve().parent).free + won, int(expected * SLACK)
    if free < need:
        raise SftError(
            f"{path}: it is compacted into a new file beside it, which takes about {need / 1e6:,.0f} MB, and the disk has "
            f"{free / 1e6:,.0f} MB. Free some space, or say --no-compact: what goes makes room inside the file for new rows"
        )


def compact(house: Warehouse) -> tuple[int, int]:
    """Write the database anew; its size before and after. The caller holds the folder's lock.

    Raises:
        SftError: the disk is full, the copy is not equal to the original, or another process writes to the file; the file that
            there was stands.
    """
    path = house.path.resolve()  # the file itself, where the folder has a link to it
    for left in partial_files(path):
        left.unlink()
    fresh = path.with_name(f".{path.name}{PARTIAL}{os.getpid()}")
    before = path.stat().st_size
    try:
        with house.in_memory() as con:
            con.execute("SET preserve_insertion_order = true; SET force_compression = 'zstd'")
            con.execute(f"ATTACH {literal(str(path))} AS old (READ_ONLY); ATTACH {literal(str(fresh))} AS fresh")
            con.execute("COPY FROM DATABASE old TO fresh")
            con.execute("CHECKPOINT fresh")
            _compare(con, path)
            con.execute("DETACH fresh; DETACH old")
        shutil.copymode(path, fresh)
        _sync(fresh)
        for file in (path, fresh):  # a log beside a file is replayed into whatever then has its name
            log = file.with_name(file.name + ".wal")
            if log.exists() and log.stat().st_size:
                raise Busy(f"{log} is there: another process writes to the database. Nothing was replaced; try again later")
        os.replace(fresh, path)
        _sync(path.parent)
    finally:
        fresh.unlink(missing_ok=True)
        fresh.with_name(fresh.name + ".wal").unlink(missing_ok=True)
    return before, path.stat().st_size


def _compare(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """See that the copy has every table with its rows, and every view."""

    def both(sql: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        return con.execute(sql, ["old"]).fetchall(), con.execute(sql, ["fresh"]).fetchall()

    for what, sql in (
        ("columns", "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()"),
        ("views", "SELECT schema_name, view_name, sql FROM duckdb_views()"),
    ):
        there, copied = both(f"{sql} WHERE database_name = ? AND NOT internal ORDER BY ALL")
        if there != copied:
            raise _unequal(path, f"its {what} are not those of the original")
    tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'old'").fetchall()
    for schema, table in tables:
        name = f"{identifier(schema)}.{identifier(table)}"
        counts = [con.execute(f"SELECT count(*), sum(hash(t)) FROM {side}.{name} AS t").fetchall() for side in ("old", "fresh")]
        if counts[0] != counts[1]:
            raise _unequal(path, f"its table {schema}.{table} is not that of the original")
    con.execute("USE fresh")
    for schema, view in con.execute(
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'fresh' AND NOT internal"
    ).fetchall():
        try:
            con.execute(f"SELECT * FROM {identifier(schema)}.{identifier(view)} LIMIT 0")
        except duckdb.Error as error:
            raise _unequal(path, f"its view {schema}.{view} does not answer ({error})") from None
    con.execute("USE memory")


def _unequal(path: Path, how: str) -> SftError:
    return SftError(
        f"{path}: the compacted copy is not equal to the original ({how}). The original stands as it was. This is a fault of "
        "the program or of the disk, not of the data: please report it"
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
