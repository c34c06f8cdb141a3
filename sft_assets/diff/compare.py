"""Which rows moved between two tables, and why: in SQL over narrow tables; texts are read of the examples only.

    moved    row_id 9f3c...  change removed  columns NULL              content 51ab...  source alpaca
             row_id 0a1f...  change changed  columns content, split    content 77aa...  source alpaca
    reasons  row_id 9f3c...  asset deduped  version 4  reason near_duplicate  evidence {"of": "51ab...", "jaccard": 0.83}

A row that is in one side only is looked for in the lineage of the other: in the ledger of each state on the way, in quarantine,
among the generations, among the records of raw.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import duckdb
import orjson

from sft_assets.augmented.candidate import PEOPLE
from sft_assets.diff.result import Change, Diff, Example, Group, Side
from sft_assets.diff.sides import chain
from sft_assets.warehouse.names import identifier, literal

EXCERPT = 300  # characters of a row's text
# where a record stands is no part of what it says (raw's own `unversioned`)
UNCOMPARED = {"row_id", "content_hash", "source_file", "source_row", "source", "occurrence"}
HANDED_ON = ("source", "origin", "kind", "label", "license", "language", "meta")  # by combined to every state after it
# what is said of rows that no ledger tells of
GONE, OTHER, UNMADE, UNWRITTEN, LOST = "no_record", "other_rows", "not_generated", "not_written", "not_known"
NOT_COMPARED = "not_compared"  # pairs that people made of two rows


@dataclass(frozen=True)
class Rows:
    """The rows of one side. sql: a table with row_id and `columns`. text: an expression over it that tells contents apart,
    None where there is none."""

    sql: str
    columns: Sequence[str]
    text: str | None


def rows_of_state(con: duckdb.DuckDBPyConnection, side: Side) -> Rows:
    """The narrow table of a version."""
    assert side.version is not None
    names = columns_of(con, side.version.table)
    text = next((name for name in ("content_hash", "record_hash") if name in names), None)
    return Rows(side.version.table, [n for n in names if n not in UNCOMPARED and n != text], text)


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [name for name, *_ in con.execute(f"DESCRIBE {table}").fetchall()]


def compare(con: duckdb.DuckDBPyConnection, before: Rows, after: Rows, result: Diff) -> None:
    """Fill `moved` and `reasons`, both together `told`, and count."""
    _moved(con, before, after, result)
    names = ("removed", "added", "changed")
    found = dict(con.execute("SELECT change, count(*) FROM moved GROUP BY change").fetchall())
    result.counts = {name: found.get(name, 0) for name in names}
    (total,) = _one(con, f"SELECT count(*) FROM {after.sql}")
    result.counts["same"] = total - result.counts["added"] - result.counts["changed"]
    by_source = "SELECT coalesce(source, ''), change, count(*) FROM moved GROUP BY ALL ORDER BY 1, 2"
    for source, change, n in con.execute(by_source).fetchall():
        result.by_source.setdefault(source, dict.fromkeys(names, 0))[change] = n
    con.execute("CREATE TEMP TABLE reasons (row_id UUID, asset VARCHAR, version INTEGER, reason VARCHAR, evidence VARCHAR)")
    _absent(con, "removed", result.before, result.after, result.counts["removed"])
    _absent(con, "added", result.after, result.before, result.counts["added"])
    edits = _edits(con, result)
    con.execute(f"""
        CREATE TEMP VIEW told AS
        SELECT change, row_id, source, columns, asset, version, coalesce(reason, {edits}) AS reason, evidence, content
        FROM moved AS m LEFT JOIN reasons USING (row_id)
    """)


def _moved(con: duckdb.DuckDBPyConnection, before: Rows, after: Rows, result: Diff) -> None:
    """Which rows are in one side only, and which columns differ in those that are in both."""
    both = [name for name in before.columns if name in after.columns]
    tests = [_test(name, f"a.{identifier(name)}", f"b.{identifier(name)}") for name in both]
    content = "NULL"
    if before.text and after.text:
        tests.insert(0, _test("content", f"a.{before.text}", f"b.{after.text}"))
        content = f"coalesce(b.{after.text}, a.{before.text})"
    joins, sources = "", ["NULL"]
    if "source" in both:  # the files of exports
        sources = ["b.source", "a.source"]
    else:  # what rows have of combined, and of what made them
        old, new = (side.known.get("combined") for side in (result.before, result.after))
        if old and new and old.number != new.number and result.after.version != new:
            shared = set(columns_of(con, old.table)) & set(columns_of(con, new.table))
            tests += [_test(name, f"old.{name}", f"new.{name}") for name in HANDED_ON if name in shared]
        names = ("combined", "generations") if new or old else ("raw",)
        tables = {"new": new and new.table, "old": old and old.table} if names[0] == "combined" else {}
        for name in names if not tables else names[1:]:
            tables |= {f"{name}_new": _table(result.after, name), f"{name}_old": _table(result.before, name)}
        there = {alias: table for alias, table in tables.items() if table}
        joins = " ".join(f"LEFT JOIN {table} AS {alias} USING (row_id)" for alias, table in there.items())
        sources = [f"{alias}.source" for alias in there] or sources
        for n, side in enumerate((result.after, result.before)):
            if pairs := _table(side, "augmented"):  # those that people made of two rows are in no other table
                joins += f" LEFT JOIN {pairs} AS pairs_{n} USING (row_id)"
                sources.append(f"'generated:' || pairs_{n}.generated_method")
    if left := sorted(set(before.columns) ^ set(after.columns)):
        result.notes.append(f"columns that only one of the two has were not compared: {', '.join(left)}")
    con.execute(f"""
        CREATE TEMP TABLE moved AS
        SELECT row_id, change, if(change = 'changed', columns, NULL) AS columns, content, source
        FROM (
            SELECT row_id, {content} AS content, coalesce({", ".join(sources)}, NULL) AS source,
                CASE WHEN b.there IS NULL THEN 'removed' WHEN a.there IS NULL THEN 'added' ELSE 'changed' END AS change,
                concat_ws(', ', {", ".join(tests) or "NULL"}) AS columns
            FROM (SELECT *, true AS there FROM {before.sql}) AS a
            FULL JOIN (SELECT *, true AS there FROM {after.sql}) AS b USING (row_id)
            {joins}
        )
        WHERE change <> 'changed' OR columns <> ''
    """)


def _test(name: str, before: str, after: str) -> str:
    return f"if({before} IS DISTINCT FROM {after}, {literal(name)}, NULL)"


def _table(side: Side, asset: str) -> str | None:
    return side.known[asset].table if asset in side.known else None


# ----------------------------------------------------------------------------------------------------------- reasons


def _absent(con: duckdb.DuckDBPyConnection, change: Change, here: Side, there: Side, left: int) -> None:
    """Why rows that are in `here` are not in `there`. left: how many they are."""

    def explain(asset: str | None, version: int | None, select: str) -> None:
        """Give rows without a reason yet the one that `select` has: row_id, reason, evidence."""
        nonlocal left
        if not left:
            return
        name, number = ("NULL", "NULL") if asset is None else (literal(asset), str(version))
        (given,) = _one(
            con,
            f"""
            INSERT INTO reasons
            SELECT row_id, {name}, {number}, any_value(reason), any_value(evidence)
            FROM ({select}) SEMI JOIN (FROM moved WHERE change = '{change}') USING (row_id) ANTI JOIN reasons USING (row_id)
            GROUP BY row_id
            """,
        )
        left -= given

    states = chain(there)
    for v in reversed(states):  # the first state that it did not come through
        explain(
            v.asset,
            v.number,
            f"SELECT row_id, reason, evidence FROM store.dropped WHERE asset = '{v.asset}' AND version = {v.number}",
        )
    exported = there.version if there.folder is not None else None
    if exported is not None:  # in the table of the export, but in none of its files
        explain(
            exported.asset, exported.number, f"SELECT row_id, '{UNWRITTEN}' AS reason, NULL AS evidence FROM {exported.table}"
        )
    raw, combined, made = (there.known.get(name) for name in ("raw", "combined", "generations"))
    records = "SELECT row_id, row_id AS record_id FROM moved"
    if "combined" in here.known:  # rows that were made of other rows have no record
        records = f"SELECT row_id, record_id FROM {here.known['combined'].table} WHERE record_id IS NOT NULL"
    records = f"SELECT row_id, record_id FROM ({records}) SEMI JOIN moved USING (row_id)"
    if combined:
        explain(
            combined.asset,
            combined.number,
            f"""
            SELECT row_id, reason, to_json({{'detail': detail, 'excerpt': excerpt}})::VARCHAR AS evidence
            FROM ({records}) JOIN store.quarantine AS q USING (record_id)
            WHERE q.asset = 'combined' AND q.version = {combined.number}
            """,
        )
    if raw:
        if "raw" in here.known:  # a file that could not be read any more
            explain(
                raw.asset,
                raw.number,
                f"""
                SELECT r.row_id, q.reason, to_json({{'file': q.source_file, 'detail': q.detail}})::VARCHAR AS evidence
                FROM ({records}) AS r
                JOIN {here.known["raw"].table} AS place ON place.row_id = r.record_id
                JOIN store.quarantine AS q ON q.source_file = place.source_file
                WHERE q.asset = 'raw' AND q.version = {raw.number} AND q.position IS NULL
                """,
            )
        absent = f"SELECT row_id, '{GONE}' AS reason, NULL AS evidence FROM ({records}) AS r"
        explain(None, None, f"{absent} WHERE NOT EXISTS (FROM {raw.table} AS n WHERE n.row_id = r.record_id)")
        explain(None, None, f"SELECT row_id, '{OTHER}' AS reason, NULL AS evidence FROM ({records})")
    if states and states[0].asset in ("augmented", "exported") and "generations" in here.known:
        why = f"SELECT row_id, '{UNMADE}' AS reason, NULL AS evidence FROM {here.known['generations'].table}"
        explain(None, None, f"{why} AS here ANTI JOIN {made.table} AS there USING (row_id)" if made else why)
    if "augmented" in here.known:
        own = f"SELECT row_id, '{NOT_COMPARED}' AS reason, NULL AS evidence FROM {here.known['augmented'].table}"
        explain(None, None, f"{own} WHERE generated_method = '{PEOPLE}'")
    explain(None, None, f"SELECT row_id, '{LOST}' AS reason, NULL AS evidence FROM moved")


def _edits(con: duckdb.DuckDBPyConnection, result: Diff) -> str:
    """What changed rows say of themselves, as an expression: their columns; for contents also which repairs and masks are new
    or no longer made."""
    old, new = (side.known.get("combined") for side in (result.before, result.after))
    if not old or not new or old.number == new.number or not result.counts["changed"]:
        return "columns"
    con.execute(f"""
        CREATE TEMP TABLE edited AS
        SELECT row_id, string_agg(sign || what, ', ' ORDER BY sign, what) AS edits
        FROM (
            SELECT row_id, what, if(bool_or(version = {new.number}), '', 'no longer ') AS sign
            FROM store.edits SEMI JOIN (FROM moved WHERE starts_with(columns, 'content')) USING (row_id)
            WHERE asset = 'combined' AND version IN ({old.number}, {new.number})
            GROUP BY row_id, what HAVING count(DISTINCT version) = 1
        )
        GROUP BY row_id
    """)
    if not _one(con, "SELECT count(*) FROM edited")[0]:
        return "columns"
    return "columns || coalesce(' (' || (SELECT edits FROM edited AS e WHERE e.row_id = m.row_id) || ')', '')"


# ---------------------------------------------------------------------------------------------------------- examples


def groups(con: duckdb.DuckDBPyConnection, before: Rows, after: Rows, result: Diff, examples: int) -> None:
    """The rows that moved by reason, the largest groups first, with some of each."""
    found = con.execute(f"""
        SELECT change, asset, version, reason, count(*), {f"min(row_id, {examples})" if examples else "[]"}
        FROM told GROUP BY ALL ORDER BY count(*) DESC, change, asset, reason
    """).fetchall()
    ids = [str(row_id) for *_, some in found for row_id in some]
    rows = con.execute(f"""
        SELECT row_id::VARCHAR, coalesce(source, ''), evidence, columns, content
        FROM told WHERE row_id IN ({_uuids(ids)})
    """).fetchall()
    places = _places(con, ids, result)
    texts = _texts(con, {row[-1] for row in rows if row[-1] is not None}, result)
    made = {}
    for row_id, source, evidence, columns, content in rows:
        said = orjson.loads(evidence) if evidence else _values(con, before, after, row_id, columns, result)
        made[row_id] = Example(row_id, places.get(row_id, ""), source, said, texts.get(content, ""))
    result.groups = [
        Group(change, asset, version, reason, n, [made[str(row_id)] for row_id in some])
        for change, asset, version, reason, n, some in found
    ]


def _uuids(ids: Iterable[str]) -> str:
    return ", ".join(f"'{row_id}'::UUID" for row_id in ids) or "NULL"


def _places(con: duckdb.DuckDBPyConnection, ids: Sequence[str], result: Diff) -> dict[str, str]:
    """Where the record of each row stands in its file; where it was, if it is no more."""
    found: dict[str, str] = {}
    for side in (result.before, result.after):
        raw, combined = side.known.get("raw"), side.known.get("combined")
        if raw is None or not ids:
            continue
        records = {row_id: row_id for row_id in ids}
        if combined is not None:
            wanted = f"SELECT row_id::VARCHAR, record_id::VARCHAR FROM {combined.table} WHERE row_id IN ({_uuids(ids)})"
            records = dict(con.execute(wanted).fetchall())
        at = f"""
            SELECT row_id::VARCHAR, source_file || ':' || source_row FROM {raw.table}
            WHERE row_id IN ({_uuids(filter(None, records.values()))})
        """
        places = dict(con.execute(at).fetchall())
        found |= {row_id: places[record] for row_id, record in records.items() if record in places}
    return found


def _texts(con: duckdb.DuckDBPyConnection, hashes: Collection[Any], result: Diff) -> dict[Any, str]:
    """What contents say: the first user turn and the last turn; of a raw record its beginning. In two steps, so that no text
    but theirs is read."""
    if not hashes or any(not isinstance(value, UUID) for value in hashes):
        return {}
    version, half = result.after.version, EXCERPT // 2 - 2
    store, key, texts = "contents", "content_hash", (
        f"left([t.content FOR t IN messages IF t.role = 'user'][1], {half}), left(messages[-1].content, {half})"
    )  # fmt: skip
    if version is not None and version.asset == "raw":
        store, key, texts = "records", "record_hash", f"left(record, {EXCERPT})"
    at = con.execute(f"SELECT rowid FROM store.{store} WHERE {key} IN ({_uuids(map(str, hashes))})").fetchall()
    # joined: a list of row ids in WHERE reads ten times as much
    wanted = f"(SELECT unnest([{', '.join(str(n) for (n,) in at) or -1}]) AS number)"
    rows = con.execute(f"SELECT {key}, {texts} FROM store.{store} SEMI JOIN {wanted} ON rowid = number")
    return {value: " ⏎ ".join(dict.fromkeys(filter(None, parts))) for value, *parts in rows.fetchall()}


def _values(
    con: duckdb.DuckDBPyConnection, before: Rows, after: Rows, row_id: str, columns: str | None, result: Diff
) -> dict[str, Any]:
    """The values of the columns that changed, before and after."""
    found: dict[str, Any] = {}
    for name in columns.split(", ") if columns else ():
        if name == "content":
            continue
        pair = []
        for side, rows in ((result.before, before), (result.after, after)):
            table = rows.sql if name in rows.columns else side.known["combined"].table
            value = _one(con, f"SELECT {identifier(name)}::VARCHAR FROM {table} WHERE row_id = '{row_id}'::UUID")[0]
            pair.append(value if value is None or len(value) <= EXCERPT else value[: EXCERPT - 1] + "…")
        found[name] = pair
    return found


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The first row of a query."""
    return con.execute(sql).fetchall()[0]
