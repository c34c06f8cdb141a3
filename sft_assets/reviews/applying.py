"""How a state applies what people decided: decisions that hold there go into its ledger, the others are counted.

reviews: {applied: 3, content_changed: 1, row_gone: 0}      in the state's report
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.folder import Folder
from sft_assets.reviews.decisions import Decision, read
from sft_assets.warehouse.build import Build, Law

KEPT = Law(
    "reviews_applied",
    "every row that people decided to keep is there, with the content that they saw",
    "SELECT count(*) FROM (FROM {reviewed} WHERE decision = 'keep') ANTI JOIN {table} USING (row_id, content_hash)",
)


def apply(build: Build, folder: Folder) -> dict[UUID, Decision]:
    """The decisions of people that hold in the state that is being built, by row; they are in its ledger from now on.

    Those whose row came in with other content, or not at all, do not hold: they are counted in the state's report.

    Raises:
        SftError: a line of the file is no decision.
    """
    reviews = read(folder)
    decisions = reviews.of(build.spec.name)
    if reviews.warning:
        build.say(reviews.warning)
    if not decisions:
        return {}
    asked = pa.table({"row_id": uuids([d.row_id.bytes for d in decisions])})
    build.con.register("asked", asked)
    there = dict(build.con.execute(f"SELECT row_id, content_hash FROM {build.came} SEMI JOIN asked USING (row_id)").fetchall())
    build.con.unregister("asked")
    applied = {d.row_id: d for d in decisions if there.get(d.row_id) == d.content_hash}
    record(build, decisions, list(applied.values()), there)
    return applied


def record(build: Build, decisions: Iterable[Decision], applied: Sequence[Decision], there: Iterable[UUID]) -> None:
    """Put the applied ones among these decisions into the ledger, and count the others in the report. there: which of their
    rows came in; a comparison of two rows needs both."""
    subjects, came = {d.subject for d in decisions}, set(there)
    here = {subject for subject in subjects if came.issuperset(subject)}
    counts = {
        "applied": len(applied),
        "content_changed": len(here - {d.subject for d in applied}),
        "row_gone": len(subjects - here),
    }
    build.notes["reviews"] = counts
    if counts["content_changed"]:
        build.say(f"{counts['content_changed']:,} decisions of people do not hold any more: the content of their rows changed")
    if counts["row_gone"]:
        build.say(f"{counts['row_gone']:,} decisions of people are about rows that did not come; `sft explain ROW` says why")
    if applied:
        columns = {
            "row_id": uuids([d.row_id.bytes for d in applied]),
            "content_hash": uuids([d.content_hash.bytes for d in applied]),
            **{name: pa.array([getattr(d, name) for d in applied]) for name in ("decision", "reviewer", "why")},
            "time": pa.array([d.at for d in applied]),
            "asset": pa.array([build.spec.name] * len(applied)),
            "version": pa.array([build.number] * len(applied), pa.int32()),
        }
        build.insert_into("store.reviewed", pa.table(columns))
