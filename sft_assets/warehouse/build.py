"""Writing one version of an asset: rows, ledger and laws in one transaction.

    with warehouse.writing() as con, Build.begin(con, table, deps) as build:
        build.insert_sql("SELECT row_id, content_hash FROM combined WHERE ...")
        build.drop(row_id, "near_duplicate", {"of": "51ab...", "jaccard": 0.93})

When the block ends the laws are checked; one that is broken rolls everything back, and the version before stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from sft_assets.ahead import ahead
from sft_assets.arrow import uuids
from sft_assets.errors import LawBroken
from sft_assets.warehouse.versions import Version, prune, read_versions

AHEAD = 24  # batches of a stream that are made before they are stored: some 100 MB of text
LEDGER_BATCH = 20_000
SAMPLE = 10
POSITION = "row_id, source_file, source_row, occurrence"


@dataclass(frozen=True)
class Law:
    """A promise of a table: `sql` counts what breaks it ({table} is the version being written, {dropped} and {reviewed} its
    part of the ledger, {parent} the state before it)."""

    name: str
    says: str
    sql: str


@dataclass(frozen=True)
class Created:
    """Rows that a state adds to those it takes over.

    asset: the evidence that has them, with row_id and content_hash. whole: the query for whole rows of those that are in the
    state; {table} is the version, {name} the table of each parent.
    """

    asset: str
    whole: str


@dataclass(frozen=True)
class Table:
    """What an asset stores.

    columns: name -> SQL type. unversioned: columns that may change without the content being another.
    after: the state whose rows it takes over (None for raw and for evidence). creates: rows that it adds. texts: evidence whose
    rows have texts in the content store, which its view shows. laws: its own promises.
    """

    name: str
    columns: Mapping[str, str]
    after: str | None = None
    is_state: bool = True
    unversioned: frozenset[str] = frozenset()
    laws: tuple[Law, ...] = ()
    creates: Created | None = None
    texts: bool = False

    @property
    def all_laws(self) -> tuple[Law, ...]:
        """The promises of every state, and its own."""
        if not self.is_state:
            return self.laws
        handed_on = () if self.after in (None, "raw") else (ROWS_ACCOUNTED,)
        return (BALANCE, *STATE_LAWS, *handed_on, *(CONTENT_LAWS if self.after else ()), *self.laws)


BALANCE = Law("balance", "rows in + created = kept + dropped + quarantined", "")
STATE_LAWS = (
    Law("ids_unique", "no row_id stands twice", "SELECT count(row_id) - count(DISTINCT row_id) FROM {table}"),
    Law(
        "drops_explained",
        "every dropped row has one reason, and did not stay",
        """
        SELECT count(*) FROM (
            SELECT row_id FROM {dropped}
            GROUP BY row_id
            HAVING count(*) > 1 OR bool_or(reason IS NULL OR reason = '')
            UNION ALL
            SELECT row_id FROM {dropped} SEMI JOIN {table} USING (row_id)
        )
        """,
    ),
)
ROWS_ACCOUNTED = Law(
    "rows_accounted",
    "every row that came in was kept or dropped, and no other",
    """
    SELECT count(*)
    FROM {parent} AS p
    FULL JOIN (SELECT row_id FROM {table} UNION ALL SELECT row_id FROM {dropped}) AS s USING (row_id)
    WHERE p.row_id IS NULL OR s.row_id IS NULL
    """,
)
CONTENT_LAWS = (
    Law(
        "contents_stored",
        "every row's text is in the content store, once",
        """
        SELECT (SELECT count(*) FROM {table} ANTI JOIN store.contents USING (content_hash))
             + (SELECT count(content_hash) - count(DISTINCT content_hash) FROM store.contents)
        """,
    ),
)


@dataclass
class Build:
    """One version while it is being written."""

    con: duckdb.DuckDBPyConnection
    spec: Table
    number: int
    parents: dict[str, Version]
    progress: Callable[[int, int | None], None] = lambda done, total: None
    say: Callable[[str], None] = lambda text: None
    records_in: int = 0
    created: int = 0
    made: str = ""  # a temporary table of rows that the state makes itself: row_id and content_hash
    notes: dict[str, Any] = field(default_factory=dict)
    _dropped: list[tuple[bytes, str, str]] = field(default_factory=list)
    _edits: list[tuple[bytes, str, str | None, str | None]] = field(default_factory=list)
    _quarantine: list[tuple[Any, ...]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def begin(
        cls,
        con: duckdb.DuckDBPyConnection,
        spec: Table,
        code_version: str,
        inputs: Mapping[str, str],
        keep_versions: int = 5,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
        say: Callable[[str], None] = lambda text: None,
        since: float | None = None,
    ) -> Iterator[Build]:
        """Write the next version of `spec`. `inputs`: the data version of each parent, tables or not. `since`: when work on it
        began (monotonic clock); default: now.

        Raises:
            LawBroken: nothing was stored.
        """
        start = time.monotonic() if since is None else since
        known = {v.asset: v for v in read_versions(con)}
        number = known[spec.name].number + 1 if spec.name in known else 1
        build = cls(con, spec, number, {name: known[name] for name in inputs if name in known}, progress, say)
        con.execute("BEGIN")
        try:
            columns = ", ".join(f"{name} {kind}" for name, kind in spec.columns.items())
            con.execute(f"CREATE TABLE {build.table} ({columns})")
            yield build
            build._finish(code_version, inputs, time.monotonic() - start)
            prune(con, keep_versions)
            con.execute("COMMIT")
        except BaseException:
            try:
                con.execute("ROLLBACK")
            except duckdb.Error:
                pass  # the connection is dead (a full disk): what is on the disk is the version before
            raise
        with suppress(duckdb.Error):  # it is stored; what could not be folded into the file yet stays in its log
            con.execute("CHECKPOINT")

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def table(self) -> str:
        return f"store.{self.spec.name}_{self.number}"

    def of(self, parent: str) -> str:
        """The narrow table of a parent, for reads that need no text."""
        return self.parents[parent].table

    @property
    def came(self) -> str:
        """The rows that came in, those that the state adds among them: row_id and content_hash, as a FROM clause."""
        assert self.spec.after is not None
        tables = [self.of(self.spec.after), *([self.of(self.spec.creates.asset)] if self.spec.creates else [])]
        tables += [self.made] if self.made else []
        return "(" + " UNION ALL ".join(f"SELECT row_id, content_hash FROM {table}" for table in tables) + ")"

    def value(self, sql: str) -> Any:
        """The one value of a query."""
        return self.con.execute(sql).fetchall()[0][0]

    def stream(self, sql: str, rows: int = 8192, **tables: pa.Table) -> Iterator[pa.RecordBatch]:
        """Arrow batches of a query over what is committed, and `tables`, while this build writes."""
        with self.con.cursor() as cursor:
            for name, table in tables.items():
                cursor.register(name, table)
            yield from cursor.sql(sql).to_arrow_reader(rows)

    @contextmanager
    def half_the_memory(self, limit: str) -> Iterator[None]:
        """Leave half of DuckDB's memory to others while the block lasts. limit: what it has, as the recipe says it.

        DuckDB fills what it has with blocks that it may need again; arrays over all rows need the room more.
        """
        number = limit.rstrip("KMGTiB ")
        with self.con.cursor() as cursor:  # of its own: what fails here is not to end the build's transaction
            with suppress(duckdb.OutOfMemoryException):  # more than half is in use
                cursor.execute(f"SET memory_limit = '{float(number) / 2}{limit.removeprefix(number)}'")
            yield
            cursor.execute(f"SET memory_limit = '{limit}'")  # if the block fails, the connection is closed

    # ------------------------------------------------------------------------------------------------------ writing

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows; columns by name."""
        self.insert_into(self.table, batch)

    def insert_sql(self, select: str, batch: pa.Table | None = None) -> None:
        """Add the rows of a query, which may read `batch`; columns by name."""
        self.execute(f"INSERT INTO {self.table} BY NAME {select}", batch)

    def store(self, table: str, key: str, batch: pa.RecordBatch | pa.Table) -> None:
        """Add to a content store (`records` or `contents`) what is not in it yet."""
        new = f"SELECT DISTINCT ON ({key}) * FROM batch ANTI JOIN store.{table} USING ({key})"
        self.execute(f"INSERT INTO store.{table} BY NAME {new}", batch)

    def store_stream(self, table: str, key: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """The same for a stream of batches, in one statement: they are compressed on every core while the next are made.
        (Every thread of DuckDB compresses at the same time, a row group each: without a queue nothing is made meanwhile.)

        Raises:
            What `batches` raises.
        """
        failure: list[BaseException] = []
        keys: list[pa.Array] = []

        def watched() -> Iterator[pa.RecordBatch]:
            try:
                for batch in ahead(batches, AHEAD):
                    keys.append(batch.column(key))
                    yield batch
            except BaseException as error:
                failure.append(error)
                raise

        reader = pa.RecordBatchReader.from_batches(schema, watched())
        try:
            # the hash table is to be made of the keys that are stored, never of the texts that come
            self.con.execute("SET disabled_optimizers = 'build_side_probe_side'")
            self.execute(f"INSERT INTO store.{table} BY NAME SELECT * FROM batch ANTI JOIN store.{table} USING ({key})", reader)
            self.con.execute("RESET disabled_optimizers")
        except duckdb.Error:
            if failure:
                raise failure[0] from None
            raise
        if keys:  # what the stream held twice is stored twice now
            twice = f"""
                DELETE FROM store.{table} WHERE rowid IN (
                    SELECT unnest(list(s.rowid)[2:])
                    FROM store.{table} AS s
                    SEMI JOIN (SELECT {key} FROM batch GROUP BY {key} HAVING count(*) > 1) USING ({key})
                    GROUP BY {key}
                )
            """
            self.execute(twice, pa.table({key: pa.chunked_array(keys)}))

    def drop(self, row_id: bytes, reason: str, evidence: Mapping[str, Any]) -> None:
        """Leave a row out of this state, and say why."""
        self._dropped.append((row_id, reason, orjson.dumps(evidence).decode()))
        if len(self._dropped) >= LEDGER_BATCH:
            self.flush()

    def drop_sql(self, select: str, batch: pa.Table | None = None) -> None:
        """Drop the rows of a query, which may read `batch`, with the columns row_id, reason, evidence."""
        gone = f"SELECT '{self.spec.name}', {self.number}, row_id, reason, evidence FROM ({select})"
        self.execute(f"INSERT INTO store.dropped {gone}", batch)

    def edit(self, row_id: bytes, what: str, before: str | None, after: str | None) -> None:
        """Log a change that was made to a row's content."""
        self._edits.append((row_id, what, before, after))
        if len(self._edits) >= LEDGER_BATCH:
            self.flush()

    def quarantine(
        self,
        source: str,
        source_file: str,
        position: int | None,
        record_id: bytes | None,
        reason: str,
        detail: str,
        sha256: str,
        excerpt: str,
    ) -> None:
        """Set aside what could not be read. `position` is None for a whole file, which counts in no balance."""
        self._quarantine.append((source, source_file, position, record_id, reason, detail, sha256, excerpt))
        if len(self._quarantine) >= LEDGER_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what of the ledger is still in memory."""
        self._ledger("dropped", ("row_id", "reason", "evidence"), self._dropped, {"row_id"})
        self._ledger("edits", ("row_id", "what", "before", "after"), self._edits, {"row_id"})
        names = ("source", "source_file", "position", "record_id", "reason", "detail", "sha256", "excerpt")
        self._ledger("quarantine", names, self._quarantine, {"record_id"})

    def ledger(self, table: str) -> str:
        """This version's part of a ledger table, as a FROM clause."""
        self.flush()
        return f"(SELECT * FROM store.{table} WHERE asset = '{self.spec.name}' AND version = {self.number})"

    def _ledger(self, table: str, names: tuple[str, ...], entries: list[Any], ids: set[str]) -> None:
        if not entries:
            return
        columns = zip(*entries, strict=True)
        arrays = [uuids(c) if n in ids else pa.array(c) for n, c in zip(names, columns, strict=True)]
        batch = pa.table(arrays, names=list(names))
        batch = batch.append_column("asset", pa.array([self.spec.name] * len(entries)))
        batch = batch.append_column("version", pa.array([self.number] * len(entries), pa.int32()))
        self.insert_into(f"store.{table}", batch)
        entries.clear()

    def insert_into(self, table: str, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows to another table of this build, such as a temporary one; columns by name."""
        self.execute(f"INSERT INTO {table} BY NAME SELECT * FROM batch", batch)

    def execute(self, sql: str, batch: pa.RecordBatch | pa.Table | pa.RecordBatchReader | None = None) -> None:
        """Execute a statement, which may read `batch`.

        DuckDB finds it among the variables of this function. What is registered under a name would stay in memory until the
        transaction ends, long after the name is gone.
        """
        self.con.execute(sql)

    # ------------------------------------------------------------------------------------------------------ closing

    def _finish(self, code_version: str, inputs: Mapping[str, str], seconds: float) -> None:
        self.flush()
        self.check(self.spec.all_laws)
        report = self.report()
        built_on = {name: v.number for name, v in self.parents.items()}
        self.con.execute(
            "INSERT INTO store.versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, now()::TIMESTAMP)",
            [
                self.spec.name,
                self.number,
                self._data_version(),
                code_version,
                orjson.dumps(dict(inputs), option=orjson.OPT_SORT_KEYS).decode(),
                orjson.dumps(built_on, option=orjson.OPT_SORT_KEYS).decode(),
                orjson.dumps(report, default=str).decode(),
                seconds,
            ],
        )
        self.con.execute(f"CREATE VIEW {self.table}_rows AS {self._whole_rows()}")
        self.con.execute(f"CREATE OR REPLACE VIEW {self.spec.name} AS SELECT * FROM {self.table}_rows")
        if self.spec.name == "raw":  # where records stand now, also for states that were built before a file was re-ordered
            self.con.execute(f"CREATE OR REPLACE VIEW store.positions AS SELECT {POSITION} FROM {self.table}")

    def _count(self, sql: str) -> int:
        return int(self.value(sql) or 0)

    def _by(self, ledger: str, column: str, where: str = "true") -> dict[str, int]:
        sql = f"SELECT {column}, count(*) FROM {self.ledger(ledger)} WHERE {where} GROUP BY ALL ORDER BY 2 DESC, 1"
        return dict(self.con.execute(sql).fetchall())

    def _counts(self) -> dict[str, Any]:
        """Both sides of the balance."""
        if self.spec.after:
            self.records_in = self._count(f"SELECT count(*) FROM {self.of(self.spec.after)}")
        return {
            "in": self.records_in,
            "created": self.created,
            "kept": self._count(f"SELECT count(*) FROM {self.table}"),
            "dropped": self._by("dropped", "reason"),
            "quarantined": self._by("quarantine", "reason", "position IS NOT NULL"),
        }

    def report(self) -> dict[str, Any]:
        """What became of the rows, by reason, with samples: the version's report."""
        self.flush()
        if not self.spec.is_state:
            return {"kept": self._count(f"SELECT count(*) FROM {self.table}"), **self.notes}
        return {
            **self._counts(),
            "refused_files": sum(self._by("quarantine", "reason", "position IS NULL").values()),
            "edited": self._by("edits", "what"),
            "sample_dropped": self._sample("dropped", "left(row_id::VARCHAR, 8) AS row, reason, evidence", "reason, row_id"),
            "sample_quarantined": self._sample(
                "quarantine", "source_file AS file, position, reason, detail, excerpt", "reason, source_file, position"
            ),
            **self.notes,
        }

    def _sample(self, ledger: str, columns: str, order: str) -> list[dict[str, Any]]:
        """A few entries of a ledger table, for people. A state that can show more puts its own in `notes`."""
        result = self.con.execute(f"SELECT {columns} FROM {self.ledger(ledger)} ORDER BY {order} LIMIT {SAMPLE}")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def check(self, laws: Iterable[Law]) -> None:
        """Check laws now: all of them when the version is finished, some earlier where something cannot be rolled back.

        Raises:
            LawBroken: names each that does not hold.
        """
        broken = {}
        for law in laws:
            if law is BALANCE:
                wrong = self._imbalance()
            else:
                parent = self.came if self.spec.creates else self.of(self.spec.after) if self.spec.after in self.parents else ""
                ledger = {name: self.ledger(name) for name in ("dropped", "reviewed")}
                sql = law.sql.format(table=self.table, parent=parent, **ledger)
                wrong = self._count(sql)
            if wrong:
                broken[law.name] = f"{law.name} ({law.says}) is off by {abs(wrong):,}"
        if broken:
            raise LawBroken(
                f"{self.spec.name}: the law {'; '.join(broken.values())}. Nothing was stored, the previous table stands. "
                "This is a fault of the program, not of the data: please report it with the recipe.",
                list(broken),
            )

    def _imbalance(self) -> int:
        counts = self._counts()
        gone = sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
        return int(counts["in"] + counts["created"] - counts["kept"] - gone)

    def _data_version(self) -> str:
        """One hash of all rows, whatever their order: what the version holds, not how it came about. The sums of the halves of
        each row's 128-bit hash, so that no sort and no text of all rows is needed."""
        columns = ", ".join(c for c in self.spec.columns if c not in self.spec.unversioned)
        inherited = ""
        if combined := self._combined():  # what later states read of a row is part of every state that hands the row on
            columns += ", source, origin, kind, label, license, language, meta"
            inherited = f" LEFT JOIN {combined.table} AS c USING (row_id)"  # rows that were made are in no other table
            columns = columns.replace("content_hash", "s.content_hash")
        return str(
            self.value(f"""
            SELECT sha256(concat_ws(' ', count(*), sum(md5_number_lower(line)), sum(md5_number_upper(line))))
            FROM (SELECT to_json(t)::VARCHAR AS line FROM (SELECT {columns} FROM {self.table} AS s{inherited}) AS t)
        """)
        )

    def _combined(self) -> Version | None:
        """The version of `combined` that this state's rows come from; None for combined itself, raw and evidence."""
        after = self.spec.after
        if after in (None, "raw") or after not in self.parents:
            return None
        versions = {(v.asset, v.number): v for v in read_versions(self.con, current=False, reports=False)}
        todo = [self.parents[after]]
        while todo:
            version = todo.pop()
            if version.asset == "combined":
                return version
            todo += [versions[key] for key in version.built_on.items() if key in versions]
        return None

    def _whole_rows(self) -> str:
        if self.spec.after is None:
            joined = " JOIN store.records USING (record_hash)" if self.spec.name == "raw" else ""
            joined = " LEFT JOIN store.contents USING (content_hash)" if self.spec.texts else joined
            return f"SELECT * FROM {self.table}{joined}"
        parent = self.parents[self.spec.after]
        if parent.asset == "raw":
            return f"""
                SELECT c.*, r.source_file, r.source_row, r.occurrence, t.messages, t.rejected, t.tools
                FROM {self.table} AS c
                JOIN store.contents AS t USING (content_hash)
                LEFT JOIN store.positions AS r ON r.row_id = c.record_id
            """
        own = "".join(f", s.{c}" for c in self.spec.columns if c not in ("row_id", "content_hash"))
        taken_over = f"SELECT p.*{own} FROM {self.table} AS s JOIN {parent.rows} AS p USING (row_id)"
        if self.spec.creates is None:
            return taken_over
        tables = {name: version.table for name, version in self.parents.items()}
        return f"{taken_over} UNION ALL BY NAME {self.spec.creates.whole.format(table=self.table, **tables)}"
