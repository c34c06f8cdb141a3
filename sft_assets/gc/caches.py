"""What of the caches of models is about contents that are no more.

    embeddings.sqlite, scores.sqlite   key 9f3c...            computed here: it can be computed again
    calls.sqlite                       model gpt-5-mini       paid for: it stays unless it is asked for
                                       model embedded@5d0c    costs nothing: it goes

Vectors of other texts (of test items, of answers) and replies to what generates rows are of no content: they stay. So do those
of `sft check judge` about contents that stay, whose subject is not the content's hash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.gc.garbage import Garbage, Item
from sft_assets.recipe import EMBEDDED
from sft_assets.record import digest

CHECK = b"check_judge"  # what `sft check judge` adds to a content, to ask about it once more
WAIT = 60  # seconds for another process to finish its commit
# prompts that are asked about contents are known by those that they were asked about
UNUSED = """
    FROM subjects AS s JOIN replies AS r ON r.key = s.key
    WHERE s.prompt IN (SELECT DISTINCT prompt FROM subjects WHERE subject IN (SELECT content FROM known))
        AND s.subject NOT IN (SELECT content FROM used)
        AND NOT EXISTS (
            SELECT 1 FROM subjects AS o WHERE o.key = s.key AND o.subject IN (SELECT content FROM used)
        )
"""
BYTES = "length(r.raw) + coalesce(length(r.value), 0) + coalesce(length(r.logprobs), 0) + 200"


@dataclass(frozen=True)
class Contents:
    """Hashes of contents: all that the database has, and those of them that stay."""

    known: Collection[bytes]
    used: Collection[bytes]


def find(folder: Folder, contents: Contents, calls: bool, garbage: Garbage) -> None:
    """Say what goes. calls: replies that were paid for too."""
    for path, what in _vectors(folder):
        with _reading(path, contents) as con:
            number, size = con.execute(f"""
                SELECT count(*), coalesce(sum(length(vector) + length(text) + length(model)), 0)
                FROM vectors WHERE {_of_contents(path)} AND text NOT IN (SELECT content FROM used)
            """).fetchone()
            garbage.add(Item(f"{what} of such texts in {path.name}", number, size + _free(con)))
    if not folder.calls.exists():
        return
    with _reading(folder.calls, contents) as con:
        rows = con.execute(f"""
            SELECT model, count(DISTINCT key), sum(bytes), sum(cost)
            FROM (SELECT DISTINCT r.key, r.model, {BYTES} AS bytes, r.cost {UNUSED}) GROUP BY model ORDER BY model
        """).fetchall()
    for model, number, size, cost in rows:
        if calls or _is_free(model):
            garbage.add(Item(f"replies of {model} about such texts in {folder.calls.name}", number, size,
                             f"they cost {cost:,.4f}" if cost else ""))  # fmt: skip
        else:
            garbage.kept.append(
                f"{number:,} replies of {model} about texts that no version has stay, as they were paid for"
                f"{f' ({cost:,.4f})' if cost else ''}: --calls takes them too"
            )


def collect(folder: Folder, contents: Contents, calls: bool) -> None:
    """Delete it and give its space back to the disk. An interruption leaves each file whole."""
    for path, _ in _vectors(folder):
        with _writing(path, contents) as con:
            with con:
                con.execute(f"DELETE FROM vectors WHERE {_of_contents(path)} AND text NOT IN (SELECT content FROM used)")
            _vacuum(con)
    if folder.calls.exists():
        with _writing(folder.calls, contents) as con:
            free = "" if calls else f" AND r.model GLOB '{EMBEDDED}@*'"
            with con:
                con.execute(f"CREATE TEMP TABLE gone AS SELECT DISTINCT r.key {UNUSED}{free}")
                con.execute("DELETE FROM subjects WHERE key IN (SELECT key FROM gone)")
                con.execute("DELETE FROM replies WHERE key IN (SELECT key FROM gone)")
            _vacuum(con)


def _vectors(folder: Folder) -> list[tuple[Path, str]]:
    found = [(folder.embeddings, "vectors"), (folder.scores, "scores")]
    return [(path, what) for path, what in found if path.exists()]


def _of_contents(path: Path) -> str:
    """Which entries have contents for keys. In the cache of embeddings, those whose model says how their text is made."""
    return "true" if path.stem == "scores" else "model GLOB '* text-[0-9]*'"


def _is_free(model: str) -> bool:
    return model.startswith(f"{EMBEDDED}@")


def _free(con: sqlite3.Connection) -> int:
    (pages,), (size,) = (con.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size"))
    return int(pages * size)


def _vacuum(con: sqlite3.Connection) -> None:
    if _free(con):
        con.execute("VACUUM")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _reading(path: Path, contents: Contents) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing, not even the files beside the database that its journal would need."""
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    with _opened(path, f"{path.resolve().as_uri()}?{mode}", contents) as con:
        yield con


@contextmanager
def _writing(path: Path, contents: Contents) -> Iterator[sqlite3.Connection]:
    with _opened(path, f"{path.resolve().as_uri()}?mode=rw", contents) as con:
        yield con


@contextmanager
def _opened(path: Path, uri: str, contents: Contents) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=WAIT)) as con:
            con.execute("PRAGMA temp_store = MEMORY")
            for name in ("known", "used"):
                con.execute(f"CREATE TEMP TABLE {name} (content BLOB PRIMARY KEY) WITHOUT ROWID")
                con.executemany(f"INSERT INTO {name} VALUES (?)", ((key,) for key in getattr(contents, name)))
            con.executemany("INSERT OR IGNORE INTO used VALUES (?)", ((digest(key, CHECK),) for key in contents.used))
            con.commit()
            yield con
    except sqlite3.DatabaseError as error:
        raise SftError(
            f"{path}: {error}. What it holds is untouched; see that no run is on and that the disk has room"
        ) from None
