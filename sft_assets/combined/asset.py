"""combined: one table of conversations out of all sources, in the mixture that the recipe asks for.

    row_id 5f0c...  source questions  kind sft  license cc-by-4.0  language en
    messages [{user, "Name three primary colours."}, {assistant, "Red, yellow and blue."}]

A record becomes its row (formats that give several rows hash the row's path into the id), is repaired, checked, masked; what
cannot be a conversation goes to quarantine, what the mixture leaves out is dropped with its reason. Answers that people wrote
anew replace those that stood there, and of a pair whose losing answer they prefer the two are swapped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pyarrow as pa

from sft_assets import masks, reviews
from sft_assets.arrow import uuids
from sft_assets.asset import state
from sft_assets.combined.mapping import RECORD, Mapped, Mapper, Record, records_of
from sft_assets.combined.rows import Rules, grouped
from sft_assets.combined.summary import summarize
from sft_assets.engine import Engine, Job, engine_of
from sft_assets.folder import Folder
from sft_assets.raw.quarantine import stop_if_too_many
from sft_assets.recipe import Recipe
from sft_assets.reviews import Decision, applying
from sft_assets.warehouse.build import Build, Table

BATCH = 4096  # records
TOGETHER = 64_000_000  # bytes of rows and texts that are stored by one statement

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


@state(TABLE, deps=("combined_reviews",), code=3, data_of_code=masks.version)
def combined(build: Build, folder: Folder, recipe: Recipe) -> None:
    """One table of conversations: records mapped, repaired, checked and masked, in the recipe's mixture."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TABLE.columns.items())
    build.con.execute(f"CREATE OR REPLACE TEMP TABLE candidates ({columns})")
    answers = _answers(build, folder)
    mapper = Mapper(_rules(build, recipe), answers, tuple(recipe.combined.masks))
    made = Made(build)
    for mapped in _mapped(build, mapper, engine_of(recipe.engine, build.say)):
        made.add(mapped)
    made.store()
    _mix(build, recipe)
    if answers:
        _record(build, answers, made.applied)
    build.notes["source_files"] = summarize(build)
    build.con.execute("DROP TABLE candidates")
    stop_if_too_many(build, folder, recipe, made.found)


def _rules(build: Build, recipe: Recipe) -> dict[str, Rules]:
    names = build.con.execute(f"SELECT DISTINCT source FROM {build.of('raw')}").fetchall()
    return {name: Rules.of(recipe, recipe.source(name)) for (name,) in names}


def _mapped(build: Build, mapper: Mapper, engine: Engine) -> Iterator[Mapped]:
    """What became of the records: of those that each stand for themselves, and then of the groups."""
    counts = dict(build.con.execute(f"SELECT format, count(*) FROM {build.of('raw')} GROUP BY format").fetchall())
    groups = grouped(counts)
    single = [name for name in counts if name not in groups]
    total, done = sum(counts.values()), 0
    if single:
        names = ", ".join(f"'{name}'" for name in single)
        batches = build.stream(f"SELECT {RECORD} FROM raw WHERE format IN ({names})", rows=BATCH)
        job = Job("records", mapper.load, local="processes", rows=sum(counts[name] for name in single))
        with engine.workers(job) as workers:
            for _, mapped in workers.map(batches):
                yield mapped
                build.progress(done := done + mapped.sources.total(), total)
    for name, key in groups.items():
        for records in _groups(build, name, key):
            yield mapper.group(records)
            build.progress(done := done + len(records), total)


def _groups(build: Build, format_name: str, key: str) -> Iterator[list[Record]]:
    """The records of a format that belong together, group by group, each in the order of its file."""
    order = f"source, hints, record->>'{key}', source_file, source_row"
    sql = f"SELECT {RECORD}, record->>'{key}' AS belongs FROM raw WHERE format = '{format_name}' ORDER BY {order}"
    rows = (pair for batch in build.stream(sql) for pair in zip(records_of(batch), batch["belongs"].to_pylist(), strict=True))
    for _, members in groupby(rows, key=lambda pair: (pair[0].source, pair[0].hints, pair[1])):
        yield [record for record, _ in members]


def _answers(build: Build, folder: Folder) -> dict[bytes, list[Decision]]:
    """The answers that people wrote anew or prefer, by row."""
    found = reviews.read(folder)
    if found.warning:
        build.say(found.warning)
    by_row = defaultdict(list)
    for decision in found.of("combined"):
        by_row[decision.row_id.bytes].append(decision)
    return dict(by_row)


def _record(build: Build, answers: Mapping[bytes, Sequence[Decision]], applied: Sequence[Decision]) -> None:
    """Put into the ledger which answers the state's rows have, and count those that they do not have."""
    build.con.register("asked", pa.table({"row_id": uuids(answers)}))
    there = {one for (one,) in build.con.execute(f"SELECT row_id FROM {build.table} SEMI JOIN asked USING (row_id)").fetchall()}
    build.con.unregister("asked")
    decisions = [decision for some in answers.values() for decision in some]
    applying.record(build, decisions, [decision for decision in applied if decision.row_id in there], there)


@dataclass
class Made:
    """Rows and their texts on their way to the database, many batches at a time: each statement that stores texts looks through
    all that are there already.

    found: records of each source. applied: the answers of people that rows have.
    """

    build: Build
    contents: list[pa.Table] = field(default_factory=list)
    rows: list[pa.Table] = field(default_factory=list)
    size: int = 0
    found: Counter[str] = field(default_factory=Counter)
    applied: list[Decision] = field(default_factory=list)

    def add(self, mapped: Mapped) -> None:
        self.found.update(mapped.sources)
        self.applied += mapped.applied
        self.build.created += mapped.created
        for entry in mapped.quarantined:
            self.build.quarantine(*entry)
        for record_id, reason in mapped.dropped:
            self.build.drop(record_id, reason, {})
        for own_id, edit in mapped.edits:
            self.build.edit(own_id, *edit)
        if not len(mapped.rows):
            return
        self.contents.append(mapped.contents)
        self.rows.append(mapped.rows)
        self.size += mapped.contents.nbytes + mapped.rows.nbytes
        if self.size >= TOGETHER:
            self.store()

    def store(self) -> None:
        if self.rows:
            self.build.store("contents", "content_hash", pa.concat_tables(self.contents))
            self.build.insert_into("candidates", pa.concat_tables(self.rows))
        self.contents, self.rows, self.size = [], [], 0


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
