"""Which contents dear evidence asks about: those of rows that no dropping rule hits, the ones known before first.

    select(con, known=[...], rows=150)   ->   Selection(contents=<150 hashes>, wanted=412, known=150)

Rows without an answer, and answers that are there to be bad (`label` false, the losing one of a pair), are not asked about.
The order is that of content_hash, so that a budget of rows takes the same rows every time, and more of them when it is raised.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.evidence import Evidence

DROPPING = "action = 'drop' AND NOT (about_answers AND label IS NOT DISTINCT FROM false)"


@dataclass(frozen=True)
class Selection:
    """contents: content_hash (UUID), in the order in which they are asked about. wanted: how many there are without a budget.
    known: how many of `contents` were scored before."""

    contents: pa.Table
    wanted: int
    known: int

    @property
    def new(self) -> int:
        return len(self.contents) - self.known


def select(
    con: duckdb.DuckDBPyConnection,
    known: Collection[bytes],
    rows: int | None,
    decontaminated: str,
    rule_hits: str,
    only: str = "true",
) -> Selection:
    """The contents to ask about.

    known: those that the same model scored before, in the same way. rows: the most there may be. decontaminated, rule_hits:
    the tables or views to read. only: a condition on rows of `decontaminated`.
    """
    con.register("known_contents", pa.table({"content_hash": uuids(list(known))}))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE wanted_contents AS
        WITH answered AS (
            SELECT content_hash FROM store.contents
            WHERE messages[-1].role = 'assistant'
              AND (trim(messages[-1].content, E' \\t\\r\\n') != '' OR messages[-1].tool_calls IS NOT NULL)
        )
        SELECT DISTINCT d.content_hash
        FROM {decontaminated} AS d SEMI JOIN answered USING (content_hash)
        WHERE d.label IS DISTINCT FROM false AND ({only}) AND NOT EXISTS (
            FROM {rule_hits} AS h WHERE h.content_hash = d.content_hash AND h.{DROPPING}
        )
    """)
    chosen = con.sql(f"""
        SELECT w.content_hash, k.content_hash IS NOT NULL AS known
        FROM wanted_contents AS w LEFT JOIN (SELECT DISTINCT content_hash FROM known_contents) AS k USING (content_hash)
        ORDER BY known DESC, w.content_hash
        {"" if rows is None else f"LIMIT {rows}"}
    """).to_arrow_table()
    ((wanted,),) = con.execute("SELECT count(*) FROM wanted_contents").fetchall()
    con.execute("DROP TABLE wanted_contents")
    con.unregister("known_contents")
    return Selection(chosen.select(["content_hash"]), wanted, sum(chosen["known"].to_pylist()))


def selected(evidence: Evidence, known: Collection[bytes], rows: int | None, only: str = "true") -> Selection:
    """`select` over the parents of evidence."""
    with evidence.reading() as con:
        return select(con, known, rows, evidence.rows("decontaminated"), evidence.of("rule_hits"), only)


BYTES = "list_sum(list_transform(messages, lambda m: strlen(m.content) + coalesce(strlen(m.tool_calls), 0)))"


def sizes_of(con: duckdb.DuckDBPyConnection, contents: pa.Table) -> dict[bytes, int]:
    """The bytes of the messages of contents, by content_hash."""
    con.register("chosen_contents", contents)
    found = con.execute(
        f"SELECT content_hash, {BYTES}::BIGINT FROM store.contents SEMI JOIN chosen_contents USING (content_hash)"
    )
    sizes = {content.bytes: size for content, size in found.fetchall()}
    con.unregister("chosen_contents")
    return sizes


def largest(evidence: Evidence, rows: int, marks: int) -> int:
    """The bytes of the `rows` largest contents that were ever stored, and of `marks` bytes around each of their turns."""
    with evidence.reading() as con:
        sizes = f"SELECT {BYTES} + {marks} * len(messages) AS size FROM store.contents ORDER BY size DESC LIMIT {rows}"
        ((size,),) = con.execute(f"SELECT coalesce(sum(size), 0)::BIGINT FROM ({sizes})").fetchall()
    return int(size)
