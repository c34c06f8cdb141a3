"""Whether rows still have the text that a queue showed: in `combined`, or in what a model or a person made.

the text of row 41d01c77 changed since it was asked about (it was edited, or its source changed)      "changed since"
row 9f3c6a10 is not there any more, left out by combined (bad_record)                                 "row gone"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.reviews import Decision
from sft_assets.reviews.answers.checking import Refused
from sft_assets.reviews.decisions import CHANGING
from sft_assets.reviews.selection import Stand, stands_of
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions


def refusals(
    house: Warehouse, states: Sequence[str], decisions: Sequence[Decision], log: Iterable[Decision]
) -> list[tuple[Decision, Refused]]:
    """Those of these decisions whose row, or the row that it is compared with, has another text now, with what is to be said.

    states: all states of the dataset, in their order. log: what was decided before. A row has the text that was shown, too, if
    reviewers of the same item edited it since: the others may still outvote them.

    Raises:
        SftError: there is no row yet.
    """
    if not decisions:
        return []
    rows = list({row_id: None for one in decisions for row_id in (one.row_id, one.other) if row_id is not None})
    with house.reading() as con:
        versions = {v.asset: v for v in read_versions(con)}
        if "combined" not in versions:
            raise SftError(f"{house.path}: there are no rows to decide on; `sft run` builds them")
        stands = _stands_now(con, rows, states, versions)
        edited = _edited(con, rows)
    by_its_reviewers = {one.item for one in log if (one.row_id, one.content_hash, one.reviewer, one.at) in edited}
    refused = []
    for one in decisions:
        shown = {one.other: one.other_hash} if one.other is not None else {}
        if one.item not in by_its_reviewers:
            shown = {one.row_id: one.content_hash, **shown}
        for row_id, text in shown.items():
            if stands[row_id].content_hash != text:
                refused.append((one, _refused(row_id, stands[row_id])))
                break
    return refused


def _refused(row_id: UUID, stand: Stand) -> Refused:
    name = f"row {str(row_id)[:8]}"
    if stand.content_hash is None:
        gone = f", left out by {stand.state} ({stand.reason})" if stand.state else "; its source changed"
        return Refused("row gone", f"{name} is not there any more{gone}")
    why = f"the text of {name} changed since it was asked about (it was edited, or its source changed)"
    return Refused("changed since", f"{why}; ask again: `sft review export`")


def _stands_now(
    con: duckdb.DuckDBPyConnection, rows: Sequence[UUID], states: Sequence[str], versions: Mapping[str, Version]
) -> dict[UUID, Stand]:
    """Where rows are now; those that a model or a person made with the text that `augmented` gave them."""
    stands = stands_of(con, rows, states, versions)
    if "augmented" in versions:
        con.register("chosen", pa.table({"row_id": uuids([row_id.bytes for row_id in rows])}))
        found = con.execute(f"""
            SELECT row_id, content_hash FROM {versions["augmented"].table} SEMI JOIN chosen USING (row_id)
            WHERE generated_method IS NOT NULL
        """).fetchall()
        con.unregister("chosen")
        for row_id, content in found:
            stands[row_id] = replace(stands[row_id], content_hash=content)
    return stands


def _edited(con: duckdb.DuckDBPyConnection, rows: Sequence[UUID]) -> set[tuple[UUID, UUID, str, str]]:
    """Applied decisions that changed the text of a row: the row, the text that it had before, who decided and when."""
    con.register("chosen", pa.table({"row_id": uuids([row_id.bytes for row_id in rows])}))
    found = con.execute(f"""
        SELECT row_id, content_hash, reviewer, time FROM reviewed SEMI JOIN chosen USING (row_id) WHERE decision IN {CHANGING}
    """).fetchall()
    con.unregister("chosen")
    return set(found)
