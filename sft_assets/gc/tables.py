"""What of the database nothing needs: versions beyond those that stay, and texts that no version has.

    store.deduped_1            neither among the last of deduped, nor read by a version that stays
    store.contents 9f3c...     in no table of any version that stays
    free blocks                what transactions left behind inside the file

A content is in use where its hash stands in any table that stays, in whatever column of ids.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuid_bytes
from sft_assets.gc.caches import Contents
from sft_assets.gc.garbage import Garbage, Item, some
from sft_assets.warehouse import Version
from sft_assets.warehouse.names import identifier
from sft_assets.warehouse.versions import prune, read_versions, superfluous

LEDGER = ("dropped", "edits", "quarantine", "reviewed")
STORES = {"contents": "content_hash", "records": "record_hash"}
ROWS = ("row_id", "record_id")  # columns that name rows, never texts
SIZE = {
    "contents": "list_sum([strlen(t.content) FOR t IN list_concat(messages, rejected)])",
    "records": "strlen(record)",
}


@dataclass(frozen=True)
class Unused:
    """versions: that go. contents, records: how many of each go."""

    versions: list[Version]
    contents: int
    records: int

    def __bool__(self) -> bool:
        return bool(self.versions or self.contents or self.records)


def find(con: duckdb.DuckDBPyConnection, keep: int, compact: bool, garbage: Garbage) -> Unused:
    """Say what goes. compact: free blocks too. Leaves the temporary tables `used_contents` and `used_records`: the hashes that
    stay."""
    versions = superfluous(read_versions(con, current=False, reports=False), keep)
    sizes = sizes_of_tables(con)
    names = [f"{v.asset}@{v.number}" for v in versions]
    garbage.add(
        Item(f"versions beyond the last {keep}", len(versions), sum(sizes.get(v.table.partition(".")[2], 0) for v in versions),
             some(names))
    )  # fmt: skip
    found = {}
    for store, key in STORES.items():
        _used(con, store, key, {v.table for v in versions})
        found[store], share = con.execute(f"""
            SELECT count(*) FILTER (used IS NULL), coalesce(sum(size) FILTER (used IS NULL) / nullif(sum(size), 0), 0)
            FROM (
                SELECT u.{key} AS used, coalesce({SIZE[store]}, 0) + 1 AS size
                FROM store.{store} LEFT JOIN used_{store} AS u USING ({key})
            )
        """).fetchall()[0]
        what = "texts of rows that no version has" if store == "contents" else "raw records that no version has"
        garbage.add(Item(what, found[store], int(share * sizes.get(store, 0))))
    if compact:
        block, free = _blocks(con)
        garbage.add(Item("free blocks inside the database", free, free * block))
    return Unused(versions, found["contents"], found["records"])


def collect(con: duckdb.DuckDBPyConnection, keep: int) -> None:
    """Take it out of the database, in one transaction."""
    con.execute("BEGIN")
    try:
        prune(con, keep)
        for store, key in STORES.items():
            _used(con, store, key, ())
            con.execute(f"DELETE FROM store.{store} WHERE NOT EXISTS (FROM used_{store} AS u WHERE u.{key} = {store}.{key})")
        con.execute("COMMIT")
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("CHECKPOINT")


def contents(con: duckdb.DuckDBPyConnection) -> Contents:
    """The hashes of all contents, and of those that stay; after `find`."""
    known, used = (
        {key for table in con.sql(f"SELECT content_hash FROM store.contents{only}").to_arrow_reader() for key in _bytes(table)}
        for only in ("", " SEMI JOIN used_contents USING (content_hash)")
    )
    return Contents(known, used)


def _bytes(batch: pa.RecordBatch) -> list[bytes]:
    return uuid_bytes(batch.column("content_hash"))


def _used(con: duckdb.DuckDBPyConnection, store: str, key: str, without: Collection[str]) -> None:
    """A temporary table of all ids in the tables that stay: the hashes of texts are among them."""
    columns = con.execute("""
        SELECT table_name, column_name, data_type FROM duckdb_columns()
        WHERE schema_name = 'store' AND database_name = current_database() AND data_type IN ('UUID', 'UUID[]')
            AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store')
    """).fetchall()
    selects = [f"SELECT NULL::UUID AS {key} WHERE false"]
    for table, column, kind in columns:
        if table in (*STORES, *LEDGER) or column in ROWS or f"store.{table}" in without:
            continue
        value = identifier(column) if kind == "UUID" else f"unnest({identifier(column)})"
        selects.append(f"SELECT {value} AS {key} FROM store.{identifier(table)}")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE used_{store} AS
        SELECT DISTINCT {key} FROM ({" UNION ALL ".join(selects)}) WHERE {key} IS NOT NULL
    """)


# ------------------------------------------------------------------------------------------------------------ sizes


def sizes_of_tables(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Bytes that each table of `store` takes in the file. Blocks are shared: a segment reaches to the next in its block."""
    names = [
        name
        for (name,) in con.execute("""
            SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store' AND database_name = current_database()
        """).fetchall()
    ]
    block, _ = _blocks(con)
    segments = " UNION ALL ".join(
        f"SELECT '{name}' AS name, block_id, block_offset, len(additional_block_ids) AS more "
        f"FROM pragma_storage_info('store.{name}') WHERE block_id >= 0"
        for name in names
    )
    if not segments:
        return {}
    return dict(
        con.execute(f"""
            SELECT name, sum(size)::BIGINT
            FROM (
                SELECT name, coalesce(more, 0) * {block}
                    + lead(block_offset, 1, {block}) OVER (PARTITION BY block_id ORDER BY block_offset) - block_offset AS size
                FROM (SELECT DISTINCT * FROM ({segments}))
            )
            GROUP BY name
        """).fetchall()
    )


def _blocks(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Bytes of a block of the file, and how many are free."""
    block, free = con.execute("SELECT block_size, free_blocks FROM pragma_database_size()").fetchall()[0]
    return int(block), int(free)
