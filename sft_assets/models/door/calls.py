"""The cache of replies and the ledger of what they cost, D/calls.sqlite.

    replies   key 3b1f...  model gpt-5-mini  prompt 9f3c...  status ok  raw {"reason": "Correct, but terse.", "score": 3}
    subjects  gpt-5-mini, 9f3c..., <content_hash>: which contents have a reply by which prompt
    ledger    run 7c20...  asset judgements  model gpt-5-mini  calls 40  prompt_tokens 21310  cost 0.009

Messages are not kept, only the hash of them in the key. Several processes may read while one writes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import orjson

from sft_assets.errors import SftError
from sft_assets.models.door.call import KEPT, Call, Reply, identity
from sft_assets.models.door.caps import Spent

SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY, subject BLOB, prompt TEXT, model TEXT, status TEXT, raw TEXT, value TEXT, finish TEXT, logprobs TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, error TEXT, run TEXT, created REAL
);
CREATE TABLE IF NOT EXISTS subjects (
    model TEXT, prompt TEXT, subject BLOB, key BLOB, PRIMARY KEY (model, prompt, subject, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (
    door TEXT PRIMARY KEY, run TEXT, asset TEXT, model TEXT, started REAL, seconds REAL,
    calls INTEGER, cached INTEGER, failed INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL
);
"""
ASKED = 500  # keys in one query
COMMIT_SECONDS = 0.05  # the longest that a reply waits for others to be committed with
WAIT = 60  # seconds for another process to finish its commit


class Entry(NamedTuple):
    """A reply on its way to disk."""

    key: bytes
    call: Call
    reply: Reply


class Calls:
    """The file. Raises SftError where it is damaged, is no such cache, or cannot be written."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.open() as con:
            con.executescript(SCHEMA)

    def get(self, keys: Collection[bytes]) -> dict[bytes, Reply]:
        """The replies that are known, by key."""
        return {key: reply for key, (_, reply) in self.find(keys).items()}

    def find(self, keys: Collection[bytes]) -> dict[bytes, tuple[bytes, Reply]]:
        """The same, each with the subject that it was first asked for."""
        found: dict[bytes, tuple[bytes, Reply]] = {}
        wanted = list(dict.fromkeys(keys))
        with self.open() as con:
            for first in range(0, len(wanted), ASKED):
                some = wanted[first : first + ASKED]
                rows = con.execute(
                    f"""
                    SELECT key, subject, status, value, raw, finish, logprobs, prompt_tokens, completion_tokens, cost, error
                    FROM replies WHERE key IN ({", ".join("?" * len(some))})
                    """,
                    some,
                )
                found |= {row[0]: (row[1], _reply(*row[2:])) for row in rows}
        return found

    def known(self, model: str, prompts: Collection[str]) -> set[bytes]:
        """The subjects that have a reply of the model by every one of the prompts (sha256 of their files)."""
        if not prompts:
            return set()
        with self.open() as con:
            rows = con.execute(
                f"""
                SELECT subject FROM subjects WHERE model = ? AND prompt IN ({", ".join("?" * len(set(prompts)))})
                GROUP BY subject HAVING count(DISTINCT prompt) = ?
                """,
                [identity(model), *set(prompts), len(set(prompts))],
            )
            return {subject for (subject,) in rows}

    def totals(
        self, asset: str | None = None, model: str | None = None, run: str | None = None
    ) -> dict[tuple[str, str], Spent]:
        """What was spent, by asset and model; of one asset, model or run where it is named."""
        with self.open() as con:
            rows = con.execute(
                """
                SELECT asset, model, sum(calls), sum(cached), sum(failed), sum(prompt_tokens), sum(completion_tokens),
                    sum(cost), sum(seconds)
                FROM ledger
                WHERE asset = coalesce(?, asset) AND model = coalesce(?, model) AND run = coalesce(?, run)
                GROUP BY asset, model ORDER BY asset, model
                """,
                [asset, model, run],
            )
            return {(row[0], row[1]): Spent(*row[2:]) for row in rows}

    def put(self, run: str, model: str, entries: Sequence[Entry], ledger: Sequence[Any] | None = None) -> None:
        """Keep replies (those that failed are not kept), and where the ledger of a door stands, in one transaction."""
        with self.open() as con, con:
            _put(con, run, model, entries, ledger)

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection; what SQLite says of the file is said in plain words."""
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT)) as con:
                # FULL: what was handed out survives a power cut too; commits are at most 20 a second, in their own thread
                con.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
                yield con
        except sqlite3.OperationalError as error:
            if "malformed" in str(error):
                raise self._damaged(error) from None
            raise SftError(
                f"{self.path}: {error}. Replies that were committed are safe; see that the disk has room and that the folder "
                "can be written, and run again"
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> SftError:
        return SftError(
            f"{self.path} is no cache of model calls, or it is damaged ({error}). It was not touched. Move it away "
            f"(mv {self.path} {self.path}.damaged): what it held is asked, and paid for, again; or put a backup in its place"
        )


def _reply(status: Any, value: str | None, raw: str, finish: str, logprobs: str | None, *numbers_and_error: Any) -> Reply:
    prompt_tokens, completion_tokens, cost, error = numbers_and_error
    parsed = orjson.loads(value) if value is not None else raw if status == "ok" else None
    tokens = orjson.loads(logprobs) if logprobs else None
    return Reply(status, parsed, raw, finish, tokens, prompt_tokens, completion_tokens, cost, error, cached=True)


def _put(con: sqlite3.Connection, run: str, model: str, entries: Sequence[Entry], ledger: Sequence[Any] | None) -> None:
    model, now = identity(model), time.time()
    kept = [entry for entry in entries if entry.reply.status in KEPT]
    con.executemany(
        f"INSERT OR IGNORE INTO replies VALUES ({', '.join('?' * 15)})",
        [
            (key, call.subject, call.prompt, model, *_columns(call, reply), run, now)
            for key, call, reply in kept
            if not reply.cached
        ],
    )
    con.executemany(
        "INSERT OR IGNORE INTO subjects VALUES (?, ?, ?, ?)",
        [(model, call.prompt, call.subject, key) for key, call, _ in kept],
    )
    if ledger is not None:
        con.execute(f"INSERT OR REPLACE INTO ledger VALUES ({', '.join('?' * 12)})", ledger)


def _columns(call: Call, reply: Reply) -> tuple[Any, ...]:
    """A reply as it is stored. The value of a text is the text itself."""
    value = _text(reply.value) if call.schema is not None and reply.status == "ok" else None
    logprobs = _text(reply.logprobs) if reply.logprobs else None
    used = reply.prompt_tokens, reply.completion_tokens, reply.cost
    return (reply.status, reply.raw, value, reply.finish, logprobs, *used, reply.error)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


class Writer:
    """The one thread that writes: it commits what came within COMMIT_SECONDS at once, and only then hands it on.

    ledger: the row of the ledger as it stands now. deliver: is given entries that are committed, or what went wrong.
    """

    def __init__(
        self,
        calls: Calls,
        run: str,
        model: str,
        ledger: Callable[[], Sequence[Any]],
        deliver: Callable[[Entry | Exception], None],
    ):
        self.calls, self.run, self.model, self.ledger, self.deliver = calls, run, model, ledger, deliver
        self.written = 0
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="calls", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        self._queue.put(entry)

    def close(self) -> None:
        """Commit what is left, and the ledger."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            with self.calls.open() as con:
                while True:
                    batch, ended = self._batch()
                    with con:
                        _put(con, self.run, self.model, batch, self.ledger())
                    self.written += sum(entry.reply.status in KEPT and not entry.reply.cached for entry in batch)
                    for entry in batch:
                        self.deliver(entry)
                    if ended:
                        return
        except Exception as error:  # whatever it is, the thread that waits for replies must hear of it
            self.deliver(error)

    def _batch(self) -> tuple[list[Entry], bool]:
        """What came in the time of one commit, and whether it was the last."""
        batch: list[Entry] = []
        entry = self._queue.get()
        until = time.monotonic() + COMMIT_SECONDS
        while entry is not None:
            batch.append(entry)
            if time.monotonic() >= until:
                return batch, False
            try:
                entry = self._queue.get(timeout=max(until - time.monotonic(), 0.0))
            except Empty:
                return batch, False
        return batch, True
