"""What people decided about generated rows: verdicts, answers that they wrote anew, and pairs whose two answers they swapped.

    7c20...  edit  "In 1841 it was ..."  ->  edits: reviewed_edit {"reviewer": "ann", "was": "It was ...", ...}
                                             dropped: refusal {"gate": "rules", "edited_by": "ann", ...}

A row with another text passes the gates again that ask no model: masks, validation, rules, duplicates, benchmarks. What a
method's own checks, likelihood, judge or reward said of the text before says nothing of this one, and no model is asked while
a state is built: there people's word stands. To keep a row holds whatever the gates say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pyarrow as pa

from sft_assets.arrow import messages_array, uuids
from sft_assets.augmented.gates import Checked, Gates, warm_up
from sft_assets.combined.repairs import Edit
from sft_assets.combined.rows import Row, put_answers
from sft_assets.combined.validation import validate
from sft_assets.compiling import compiling
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import BadRecord, Conversation, content_hash, messages_of
from sft_assets.reviews import Decision
from sft_assets.warehouse.build import Build

CHANGES = ("edit", "prefer_b")
CHECKS = "edited_checks"  # a temporary table: at which gate a row fell with the text that people gave it
Fell = tuple[str, str, Mapping[str, Any]]  # gate, reason, evidence


@dataclass
class Edited:
    """A generated row with the text that people gave it. by: who gave it last. fell: at which gate, if it did."""

    row: Row
    source: str
    content_hash: UUID
    by: Decision
    fell: Fell | None = None
    marks: list[str] = field(default_factory=list)


@dataclass
class Decided:
    """Of generated rows, by row_id: those with another text, and what was decided about the text that they have now. there: all
    that were decided about."""

    edited: dict[UUID, Edited] = field(default_factory=dict)
    verdicts: dict[UUID, Decision] = field(default_factory=dict)
    applied: list[Decision] = field(default_factory=list)
    there: set[UUID] = field(default_factory=set)

    @classmethod
    def of(cls, build: Build, folder: Folder, recipe: Recipe, decisions: Sequence[Decision], made: str) -> Decided:
        """What holds of these decisions, in the order in which they were made. made: the generated rows, with row_id,
        content_hash, kind and source, as a FROM clause."""
        by_row = defaultdict(list)
        for one in decisions:
            by_row[one.row_id].append(one)
        found, kinds = cls(), recipe.combined.masks
        for row_id, source, row in _rows(build, made, by_row) if by_row else ():
            found.there.add(row_id)
            before = _hash(row)
            changes = put_answers(row, (one for one in by_row[row_id] if one.decision in CHANGES), kinds)
            content = _hash(row)
            if content != before:  # it may be what it was, edited and edited back
                found.edited[row_id] = Edited(row, source, content, changes[-1])
            verdict = next((one for one in by_row[row_id] if one.decision not in CHANGES and one.content_hash == content), None)
            if verdict:
                found.verdicts[row_id] = verdict
            found.applied += [*changes, *([verdict] if verdict else [])]
        _check(build, folder, recipe, found.edited)
        return found

    @property
    def held(self) -> set[UUID]:
        """Rows that people keep, whatever the gates say."""
        return {row_id for row_id, one in self.verdicts.items() if one.decision != "drop"}


def _rows(build: Build, made: str, ids: Iterable[UUID]) -> list[tuple[UUID, str, Row]]:
    """Those of these rows that were generated, with what they say."""
    build.con.register("asked", pa.table({"row_id": uuids(row_id.bytes for row_id in ids)}))
    found = build.con.execute(f"""
        SELECT row_id, source, kind, messages, rejected, tools
        FROM (SELECT row_id, content_hash, kind, source FROM {made} SEMI JOIN asked USING (row_id))
        JOIN store.contents USING (content_hash) ORDER BY row_id
    """).fetchall()
    build.con.unregister("asked")
    return [
        (row_id, source, Row(Conversation(messages_of(turns) or [], kind, messages_of(rejected), tools), None, []))
        for row_id, source, kind, turns, rejected, tools in found
    ]


def _hash(row: Row) -> UUID:
    made = row.conversation
    return UUID(bytes=content_hash(made.messages, made.rejected, made.tools))


def _check(build: Build, folder: Folder, recipe: Recipe, edited: Mapping[UUID, Edited]) -> None:
    """Send rows with another text through the gates; the temporary table `edited_checks` has where they fell, for a law."""
    valid = {}
    for row_id, one in edited.items():
        try:
            validate(one.row.conversation)
        except BadRecord as bad:
            one.fell = ("validation", bad.reason, {"detail": bad.detail})
        else:
            valid[row_id] = one
    if valid:
        _store(build, valid.values())
        with compiling(build.say):
            warm_up()
        checked: Checked = Gates.of(build.stream, folder, recipe).check(_table(valid))
        for row_id, one in valid.items():
            one.marks = checked.marks.get(row_id.bytes, [])
            if fall := checked.falls.get(row_id.bytes):
                one.fell = (fall[0], fall[1].reason, fall[1].evidence)
    for one in edited.values():
        if one.fell:
            gate, reason, evidence = one.fell
            by = {"edited_by": one.by.reviewer, "edited_at": one.by.at, "content_hash": str(one.content_hash)}
            one.fell = (gate, reason, {**by, **evidence})
    build.con.execute(f"CREATE OR REPLACE TEMP TABLE {CHECKS} (row_id UUID, content_hash UUID, gate VARCHAR)")
    if edited:
        gates = {
            "row_id": uuids(row_id.bytes for row_id in edited),
            "content_hash": uuids(one.content_hash.bytes for one in edited.values()),
            "gate": pa.array([one.fell and one.fell[0] for one in edited.values()], pa.string()),
        }
        build.insert_into(CHECKS, pa.table(gates))


def _table(edited: Mapping[UUID, Edited]) -> pa.Table:
    """Rows as the gates take them."""
    rows = list(edited.values())
    own = {
        "row_id": uuids(row_id.bytes for row_id in edited),
        "kind": pa.array([one.row.conversation.kind for one in rows]),
        "source": pa.array([one.source for one in rows]),
    }
    return pa.table({**own, **_contents(rows)})


def _contents(rows: Sequence[Edited]) -> dict[str, pa.Array]:
    made = [one.row.conversation for one in rows]
    return {
        "content_hash": uuids(one.content_hash.bytes for one in rows),
        "messages": messages_array([row.messages for row in made]),
        "rejected": messages_array([row.rejected for row in made]),
        "tools": pa.array([row.tools for row in made], pa.string()),
    }


def _store(build: Build, edited: Iterable[Edited]) -> None:
    build.store("contents", "content_hash", pa.table(_contents(list(edited))))


def edits_of(edited: Mapping[UUID, Edited]) -> Iterable[tuple[UUID, Edit]]:
    """What people changed in rows, for the ledger."""
    return ((row_id, edit) for row_id, one in edited.items() for edit in one.row.edits)
