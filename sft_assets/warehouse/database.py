"""Opening the database: short connections, and plain words for what can go wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import duckdb

from sft_assets.errors import Busy, SftError
from sft_assets.record import MESSAGES_SQL
from sft_assets.warehouse.spill import Spill

SCHEMA = f"""
CREATE SCHEMA IF NOT EXISTS store;
CREATE TABLE IF NOT EXISTS store.versions (
    asset VARCHAR, version INTEGER, data_version VARCHAR, code_version VARCHAR,
    inputs JSON, built_on JSON, report JSON, seconds DOUBLE, created TIMESTAMP
);
CREATE TABLE IF NOT EXISTS store.records (record_hash UUID, record VARCHAR);
CREATE TABLE IF NOT EXISTS store.contents (
    content_hash UUID, messages {MESSAGES_SQL}, rejected {MESSAGES_SQL}, tools VARCHAR
);
CREATE TABLE IF NOT EXISTS store.dropped (
    asset VARCHAR, version INTEGER, row_id UUID, reason VARCHAR, evidence JSON
);
CREATE TABLE IF NOT EXISTS store.edits (
    asset VARCHAR, version INTEGER, row_id UUID, what VARCHAR, before VARCHAR, after VARCHAR
);
CREATE TABLE IF NOT EXISTS store.quarantine (
    asset VARCHAR, version INTEGER, source VARCHAR, source_file VARCHAR, position BIGINT, record_id UUID,
    reason VARCHAR, detail VARCHAR, sha256 VARCHAR, excerpt VARCHAR
);
CREATE TABLE IF NOT EXISTS store.reviewed (
    asset VARCHAR, version INTEGER, row_id UUID, content_hash UUID, decision VARCHAR, reviewer VARCHAR, time VARCHAR,
    why VARCHAR
);
CREATE OR REPLACE VIEW store.current AS
    SELECT asset, max(version) AS version FROM store.versions GROUP BY asset;
CREATE OR REPLACE VIEW dropped AS
    SELECT row_id, asset AS state, reason, evidence
    FROM store.dropped JOIN store.current USING (asset, version);
CREATE OR REPLACE VIEW edits AS
    SELECT row_id, asset AS state, what, before, after
    FROM store.edits JOIN store.current USING (asset, version);
CREATE OR REPLACE VIEW reviewed AS
    SELECT row_id, asset AS state, content_hash, decision, reviewer, time, why
    FROM store.reviewed JOIN store.current USING (asset, version);
CREATE VIEW IF NOT EXISTS store.positions AS
    SELECT NULL::UUID AS row_id, NULL::VARCHAR AS source_file, NULL::BIGINT AS source_row, NULL::INTEGER AS occurrence
    WHERE false;
CREATE OR REPLACE VIEW quarantine AS
    SELECT asset AS state, source, coalesce(p.source_file, q.source_file) AS source_file,
        coalesce(p.source_row, q.position) AS position, record_id, reason, detail, sha256, excerpt
    FROM store.quarantine AS q JOIN store.current USING (asset, version)
    LEFT JOIN store.positions AS p ON p.row_id = q.record_id;
"""
DIGEST = sha256(SCHEMA.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Warehouse:
    """The database file and how it is opened. Connections are short: around SQL, never around a model call.

    temp_directory: where DuckDB spills to; None: `.spill` beside the file.
    """

    path: Path
    memory_limit: str = "2GB"
    threads: int | None = None
    keep_versions: int = 5
    wait: float = 10.0
    temp_directory: Path | None = None

    @property
    def spill(self) -> Spill:
        return Spill(self.temp_directory or self.path.parent / ".spill", self.path.parent)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection. Several processes can read at once; a writer is waited for.

        Raises:
            Busy: a writer did not finish within `wait` seconds.
            SftError: there is no database yet, or the file is damaged.
        """
        if not self.path.exists():
            raise SftError(f"{self.path}: there is no dataset yet; `sft run` builds it")
        with self._spilled() as (spilled, why), plain_words(self.path, self.spill.root, why):
            with self._connect(True, spilled) as con:
                yield con

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The writer's connection; the caller holds the folder's lock. What killed processes spilled is removed.

        Raises:
            SftError: there is no place to spill to, or the file is damaged.
        """
        with (
            self.spill.folder() as spilled,
            plain_words(self.path, self.spill.root),
            self._connect(False, str(spilled)) as con,
        ):
            self.spill.clean()
            # a quarter smaller than the default for text, and written twice as fast; compressed as it comes, not at the end
            con.execute("SET force_compression = 'zstd'; SET write_buffer_row_group_count = 1")
            _lay_out(con)
            yield con

    @contextmanager
    def in_memory(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to no file, with the same settings; files are attached to it."""
        with self._spilled(shared=False) as (spilled, why), plain_words(self.path, self.spill.root, why):
            with duckdb.connect(config=self._config(spilled)) as con:
                yield con

    @contextmanager
    def _spilled(self, shared: bool = True) -> Iterator[tuple[str, str]]:
        """Where to spill to; for who only looks nothing, and why, where that cannot be: few questions need it."""
        with ExitStack() as stack:
            try:
                found = str(stack.enter_context(self.spill.folder(shared))), ""
            except SftError as error:
                found = "", str(error)
            yield found

    def _config(self, spilled: str) -> dict[str, str | bool | int | float | list[str]]:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": self.memory_limit,
            "temp_directory": spilled,
            "preserve_insertion_order": False,
            "arrow_lossless_conversion": True,
            "autoinstall_known_extensions": False,
        }
        if self.threads:
            config["threads"] = self.threads
        return config

    @contextmanager
    def _connect(self, read_only: bool, spilled: str) -> Iterator[duckdb.DuckDBPyConnection]:
        config = self._config(spilled)
        start = time.monotonic()
        while True:
            try:
                con = duckdb.connect(self.path, read_only=read_only, config=config)
                break
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise
                if time.monotonic() - start > self.wait:
                    pid = re.search(r"PID (\d+)", str(error))
                    who = f"process {pid[1]}" if pid else "another process"
                    raise Busy(f"{self.path} is open in {who}; close it there, or try again when it has finished") from None
                time.sleep(0.05)
        try:
            yield con
        finally:
            with suppress(duckdb.Error):
                con.close()


def _lay_out(con: duckdb.DuckDBPyConnection) -> None:
    """Make the schema, unless the database has it: as it is now, and not as an older release made it."""
    with suppress(duckdb.CatalogException):
        if con.execute("SELECT digest FROM store.schema").fetchall() == [(DIGEST,)]:
            return
    con.execute(f"""
        BEGIN;
        {SCHEMA}
        CREATE OR REPLACE TABLE store.schema AS SELECT '{DIGEST}' AS digest;
        COMMIT;
    """)


FULL = ("no space left", "file too large", "could not write", "disk full", "failed to write", "max_temp_directory_size")
TORN = ("corrupt", "checksum", "not a valid duckdb", "could not read", "failed to read", "deserializ", "serialization error")


@contextmanager
def plain_words(path: Path, spill: Path, no_spill: str = "") -> Iterator[None]:
    """Say what DuckDB's errors mean for the data and what to do about them. no_spill: why nothing could be spilled."""
    try:
        yield
    except duckdb.Error as error:
        said = str(error).split("\n\n")[0].split("\nStack")[0].strip()
        lower = said.lower()
        is_full = any(word in lower for word in FULL)
        if is_full and (str(spill) in said or "max_temp_directory_size" in lower):
            raise SftError(
                f"{spill}: what does not fit into engine.memory_limit is put there, and the disk is full "
                f"({said.split('. ')[0].strip('.')}). Nothing of this step was stored, the previous tables stand. Free some "
                "space, name a folder on a larger disk in the recipe (engine.temp_directory), or raise engine.memory_limit."
            ) from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise SftError(
                f"{path}: DuckDB's memory_limit was not enough ({said}). Raise engine.memory_limit in the recipe; "
                "nothing was stored, the previous tables stand."
                + (f" Nothing could be spilled: {no_spill}" if no_spill else "")
            ) from error
        if is_full:
            raise SftError(
                f"{path}: could not be written: the disk is full or a file size limit was met ({said}). "
                "Nothing of this step was stored, the previous tables stand; free some space and run again."
            ) from error
        torn = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
        if isinstance(error, torn) or any(word in lower for word in TORN):
            raise SftError(
                f"{path} is damaged or is no DuckDB database ({said}). It was not touched. Everything in it can be made again "
                f"from D/sources: move it away (mv {path} {path}.damaged) and `sft run`."
            ) from error
        raise
