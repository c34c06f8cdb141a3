"""combined: one table of conversations out of all sources, in the mixture that the recipe asks for.

    row_id 5f0c...  source questions  kind sft  license cc-by-4.0  language en
    messages [{user, "Name three primary colours."}, {assistant, "Red, yellow and blue."}]

A record becomes its row (formats that give several rows hash the row's path into the id), is repaired, checked, masked; what
cannot be a conversation goes to quarantine, what the mixture leaves out is dropped with its reason. Answers that people wrote
anew replace those that stood there, and of a pair whose losing answer they prefer the two are swapped.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from sft_assets import masks, reviews
from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import state
from sft_assets.combined.rows import Outcome, Row, grouped, rows_of, rows_of_group, rules_by_source, with_answers
from sft_assets.combined.summary import summarize
from sft_assets.folder import Folder
from sft_assets.formats import Hints
from sft_assets.masks import mask
from sft_assets.raw.batches import excerpt
from sft_assets.raw.quarantine import stop_if_too_many
from sft_assets.recipe import MaskKind, Recipe
from sft_assets.record import BadRecord, content_hash, row_id
from sft_assets.reviews import Decision, applying
from sft_assets.warehouse.build import Build, Table

TABLE = Table(
    "combined",
    columns={
        "row_id": "UUID",
        "record_id": "UUID",
        "content_hash": "UUID",
        "source": "VARCHAR",
        "origin": "VARCHAR",
        "kind": "VARCHAR",
        "label": "BOOLEAN",
        "license": "VARCHAR",
        "language": "VARCHAR",
        "meta": "JSON",
    },
    after="raw",
)


TOGETHER = 64_000_000  # bytes of rows and texts that are stored by one statement


@state(TABLE, deps=("combined_reviews",), code=2, data_of_code=masks.version)
def combined(build: Build, folder: Folder, recipe: Recipe) -> None:
    """One table of conversations: records mapped, repaired, checked and masked, in the recipe's mixture."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TABLE.columns.items())
    build.con.execute(f"CREATE OR REPLACE TEMP TABLE candidates ({columns})")
    total = build.value(f"SELECT count(*) FROM {build.of('raw')}")
    there = [name for (name,) in build.con.execute(f"SELECT DISTINCT format FROM {build.of('raw')}").fetchall()]
    groups = grouped(there)
    rules, found, done = rules_by_source(recipe), Counter[str](), 0
    answers, made = Answers.of(build, folder, recipe), Made(build)
    single = ", ".join(f"'{name}'" for name in there if name not in groups)
    for batch in build.stream(f"SELECT {RECORD} FROM raw WHERE format IN ({single})") if single else ():
        records = [Record(*fields) for fields in _columns(batch)]
        found.update(record.source for record in records)
        outcomes = [rows_of(orjson.loads(r.text), r.format, Hints.of(r.hints), rules(r.source)) for r in records]
        _keep(build, records, outcomes, answers, made)
        build.progress(done := done + len(records), total)
    for name, key in groups.items():
        for records in _groups(build, name, key):
            found.update(record.source for record in records)
            values = [orjson.loads(record.text) for record in records]
            outcomes = rows_of_group(values, name, Hints.of(records[0].hints), rules(records[0].source))
            _keep(build, records, outcomes, answers, made)
            build.progress(done := done + len(records), total)
    made.store()
    _mix(build, recipe)
    answers.record(build)
    build.notes["source_files"] = summarize(build)
    build.con.execute("DROP TABLE candidates")
    stop_if_too_many(build, folder, recipe, found)


RECORD = "row_id, source, source_file, source_row, format, hints, record"


class Record(NamedTuple):
    """A row of raw."""

    id: bytes
    source: str
    file: str
    position: int
    format: str
    hints: str | None
    text: str


def _columns(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(batch.column(0).storage.to_pylist(), *(c.to_pylist() for c in batch.columns[1:]), strict=True)


def _groups(build: Build, format_name: str, key: str) -> Iterator[list[Record]]:
    """The records of a format that belong together, group by group, each in the order of its file."""
    order = f"source, hints, record->>'{key}', source_file, source_row"
    sql = f"SELECT {RECORD}, record->>'{key}' AS belongs FROM raw WHERE format = '{format_name}' ORDER BY {order}"
    rows = (fields for batch in build.stream(sql) for fields in _columns(batch))
    for _, members in groupby(rows, key=lambda fields: (fields[1], fields[5], fields[-1])):
        yield [Record(*fields[:-1]) for fields in members]


@dataclass
class Answers:
    """The answers that people wrote anew or prefer, by row, and those that were put in."""

    by_row: dict[bytes, list[Decision]]
    kinds: Sequence[MaskKind] = ()
    applied: list[Decision] = field(default_factory=list)

    @classmethod
    def of(cls, build: Build, folder: Folder, recipe: Recipe) -> Answers:
        found = reviews.read(folder)
        if found.warning:
            build.say(found.warning)
        by_row = defaultdict(list)
        for decision in found.of("combined"):
            by_row[decision.row_id.bytes].append(decision)
        return cls(dict(by_row), tuple(recipe.combined.masks))

    def put_into(self, record: Record, outcome: Outcome) -> Outcome:
        """The rows of a record with the answers that they were given, or why they can be none with them."""
        if not self.by_row or not isinstance(outcome, list):
            return outcome
        applied = []
        try:
            for row in outcome:
                if decisions := self.by_row.get(row_id(record.id, row.conversation.path)):
                    applied += with_answers(row, decisions, self.kinds)
        except BadRecord as bad:
            return bad
        self.applied += applied
        return outcome

    def record(self, build: Build) -> None:
        """Put into the ledger which answers the state's rows have, and count those that they do not have."""
        if not self.by_row:
            return
        build.con.register("asked", pa.table({"row_id": uuids(self.by_row)}))
        there = {
            one for (one,) in build.con.execute(f"SELECT row_id FROM {build.table} SEMI JOIN asked USING (row_id)").fetchall()
        }
        build.con.unregister("asked")
        decisions = [decision for some in self.by_row.values() for decision in some]
        applying.record(build, decisions, [decision for decision in self.applied if decision.row_id in there], there)


@dataclass
class Made:
    """Rows and their texts on their way to the database, many batches at a time: each statement that stores texts looks through
    all that are there already."""

    build: Build
    contents: list[pa.Table] = field(default_factory=list)
    rows: list[pa.Table] = field(default_factory=list)
    size: int = 0

    def add(self, contents: pa.Table, rows: pa.Table) -> None:
        self.contents.append(contents)
        self.rows.append(rows)
        self.size += contents.nbytes + rows.nbytes
        if self.size >= TOGETHER:
            self.store()

    def store(self) -> None:
        if self.rows:
            self.build.store("contents", "content_hash", pa.concat_tables(self.contents))
            self.build.insert_into("candidates", pa.concat_tables(self.rows))
        self.contents, self.rows, self.size = [], [], 0


def _keep(build: Build, records: Sequence[Record], outcomes: Sequence[Outcome], answers: Answers, stored: Made) -> None:
    """Store the rows of these records, and the reasons of those that have none."""
    rows: list[tuple[Record, bytes, Row]] = []
    for record, outcome in zip(records, outcomes, strict=True):
        outcome = answers.put_into(record, outcome)
        if isinstance(outcome, BadRecord):
            data = record.text.encode()
            sha = hashlib.sha256(data).hexdigest()
            place = (record.source, record.file, record.position, record.id)
            build.quarantine(*place, outcome.reason, mask(outcome.detail)[0], sha, excerpt(data))
        elif isinstance(outcome, str):
            build.drop(record.id, outcome, {})
        else:
            build.created += len(outcome) - 1
            rows += [(record, row_id(record.id, row.conversation.path), row) for row in outcome]
    if not rows:
        return
    for _, own_id, row in rows:
        for edit in row.edits:
            build.edit(own_id, *edit)
    made = [row.conversation for _, _, row in rows]
    hashes = uuids([content_hash(c.messages, c.rejected, c.tools) for c in made])
    contents = {
        "content_hash": hashes,
        "messages": messages_array([c.messages for c in made]),
        "rejected": messages_array([c.rejected for c in made]),
        "tools": pa.array([c.tools for c in made], pa.string()),
    }
    columns = {
        "row_id": uuids([own_id for _, own_id, _ in rows]),
        "record_id": uuids([record.id for record, _, _ in rows]),
        "content_hash": hashes,
        "source": pa.array([record.source for record, _, _ in rows], pa.string()),
        "origin": pa.array(["source"] * len(rows)),
        "kind": pa.array([c.kind for c in made]),
        "label": pa.array([c.label for c in made], pa.bool_()),
        "license": pa.array([c.license for c in made], pa.string()),
        "language": pa.array([c.language for c in made], pa.string()),
        "meta": pa.array([row.meta for _, _, row in rows], pa.string()),
    }
    stored.add(pa.table(contents), pa.table(columns))


def _mix(build: Build, recipe: Recipe) -> None:
    """Keep the share and the number of rows that each source is to give, and the licences that are allowed.

    One seeded order of the row ids serves weight and cap: a larger share holds the smaller one.
    """
    mixture = pa.table(
        {
            "source": pa.array([s.name for s in recipe.sources], pa.string()),
            "weight": pa.array([s.weight for s in recipe.sources], pa.float64()),
            "cap": pa.array([s.cap for s in recipe.sources], pa.int64()),
        }
    )
    licenses = recipe.combined.allowed_licenses
    build.con.register("mixture", mixture)
    build.con.register("allowed", pa.table({"license": pa.array(licenses or [], pa.string())}))
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        WITH placed AS (
            SELECT row_id, c.license, weight, cap,
                ('0x' || left(md5('{recipe.combined.seed}' || row_id::VARCHAR), 13))::UBIGINT / 16::DOUBLE ** 13 AS place,
                {"lower(c.license) IN (SELECT lower(license) FROM allowed)" if licenses is not None else "true"} AS licensed
            FROM candidates AS c LEFT JOIN mixture USING (source)
        ),
        ranked AS (
            SELECT *,
                row_number() OVER (PARTITION BY source, licensed AND place < coalesce(weight, 1) ORDER BY place, row_id) AS rank
            FROM placed JOIN (SELECT row_id, source FROM candidates) USING (row_id)
        )
        SELECT row_id,
            CASE
                WHEN licensed IS NOT true THEN 'license'
                WHEN place >= coalesce(weight, 1) THEN 'not_sampled'
                WHEN rank > cap THEN 'over_cap'
            END AS reason,
            CASE
                WHEN licensed IS NOT true THEN to_json({{'license': license}})
                WHEN place >= coalesce(weight, 1) THEN to_json({{'weight': weight}})
                WHEN rank > cap THEN to_json({{'cap': cap}})
            END AS evidence
        FROM ranked
    """)
    build.insert_sql("SELECT * FROM candidates SEMI JOIN (SELECT row_id FROM verdicts WHERE reason IS NULL) USING (row_id)")
    build.drop_sql("SELECT row_id, reason, evidence FROM verdicts WHERE reason IS NOT NULL")
    for name in ("mixture", "allowed"):
        build.con.unregister(name)
    build.con.execute("DROP TABLE verdicts")
