"""`sft gc`: what nothing needs goes after it was said, everything else is as it was, and a kill leaves whole files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import build, fresh, put, rows, say

from sft_assets import gc
from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.errors import Busy, SftError
from sft_assets.explain import explain
from sft_assets.folder import Folder
from sft_assets.gc import Garbage, Options, caches
from sft_assets.models.door import Calls
from sft_assets.models.vectors import Vectors
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.record import digest
from sft_assets.scored.judgements import check
from sft_assets.warehouse import compaction
from sft_assets.warehouse.opening import STATES, warehouse

pytestmark = pytest.mark.xdist_group("gc")  # one folder is what most of them start from
GONE, STAY = 1200, 800  # rows
ONE, ALL = Options(keep=1), Options(keep=1, calls=True)


def questions(first: int, last: int) -> list[dict[str, str]]:
    rng = random.Random(3)
    texts = [" ".join(f"word{rng.randrange(9999)}" for _ in range(60)) for _ in range(last)]
    return [{"instruction": f"Question {n}?", "output": texts[n]} for n in range(first, last)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Three versions of three states; the first has rows that the others have not. Not to be changed."""
    folder = fresh(tmp_path_factory.mktemp("gc") / "data")
    put(folder, "a.json", questions(0, GONE + STAY))
    build(folder, raw, combined, deduped)
    put(folder, "a.json", questions(GONE, GONE + STAY))
    build(folder, raw, combined, deduped)
    say(folder, deduped={"threshold": 0.9})
    build(folder, deduped)
    return folder


@pytest.fixture
def made(kept: Folder, tmp_path: Path) -> Folder:
    shutil.copytree(kept.root, tmp_path / "data")
    return Folder.at(tmp_path / "data")


def recipe(folder: Folder) -> Recipe:
    return Recipe.load(folder.recipe)


def what(found: Garbage) -> dict[str, int]:
    return {item.what: item.number for item in found.items}


def collect(folder: Folder, options: Options = Options()) -> tuple[Garbage, int]:
    return gc.collect(folder, recipe(folder), options)


def whole(folder: Folder) -> dict[str, Any]:
    """Every view of the database with its rows, as far as two databases can be compared by them."""
    views = rows(folder, "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal")
    return {view: rows(folder, f"SELECT count(*), sum(hash(v)) FROM {view} AS v") for (view,) in sorted(views)}


def files(folder: Folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder.root)): p.read_bytes() for p in folder.root.rglob("*") if p.is_file()}


def test_a_dry_run_says_what_and_how_much_and_writes_nothing(made: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    Vectors(made.scores).put("m", [b"0" * 16], np.zeros((1, 2), np.float32))
    before = files(made)
    code, out, err = sft("gc", "--dry-run", "--keep", "1", "--data", str(made.root))
    assert code == 0, err
    assert "versions beyond the last 1" in out and "deduped@1, deduped@2" in out
    assert files(made) == before


def test_what_it_said_is_what_the_disk_wins(made: Folder) -> None:
    said = gc.find(made, recipe(made), ONE)
    size = made.database.stat().st_size
    _, won = collect(made, ONE)
    assert won == size - made.database.stat().st_size > 0
    assert made.database.stat().st_size == pytest.approx(said.database[1], rel=0.35)


def test_what_stays_is_as_it_was(made: Folder) -> None:
    before = whole(made)
    found, _ = collect(made, ONE)
    gone = {f"store.{v}_rows" for v in ("raw_1", "combined_1", "deduped_1", "deduped_2")}
    assert what(found)["versions beyond the last 1"] == len(gone)
    assert whole(made) == {view: said for view, said in before.items() if view not in gone}


def test_without_old_versions_to_drop_every_version_still_answers(made: Folder) -> None:
    before = whole(made)
    collect(made)
    assert whole(made) == before


def test_texts_that_only_dropped_versions_had_are_gone_and_no_others(made: Folder) -> None:
    found, _ = collect(made, ONE)
    texts, records = (rows(made, f"SELECT count(*) FROM store.{name}")[0][0] for name in ("contents", "records"))
    assert what(found)["texts of rows that no version has"] == what(found)["raw records that no version has"] == GONE
    assert (texts, records) == (STAY, STAY)


def test_nothing_is_left_for_a_second_time(made: Folder) -> None:
    collect(made, ONE)
    again = gc.find(made, recipe(made), ONE)
    assert not [item for item in again.items if not item.what.startswith("free blocks")]


def test_nothing_becomes_stale_and_rows_are_explained_as_before(made: Folder) -> None:
    versions = [v.data_version for v in build(made, raw, combined, deduped)]

    def lives() -> Any:
        return explain(warehouse(made, recipe(made)), "a.json:7", STATES)

    before = lives()
    collect(made, ONE)
    assert lives() == before
    after = build(made, raw, combined, deduped)
    assert [v.data_version for v in after] == versions
    assert [v.number for v in after] == [2, 2, 3]  # nothing was made again


def test_a_version_that_another_is_built_on_stays(made: Folder) -> None:
    put(made, "a.json", questions(GONE - 5, GONE + STAY))
    build(made, raw, combined)  # deduped@3 is built on combined@2
    collect(made, ONE)
    assert rows(made, "SELECT count(*) FROM store.deduped_3_rows") == [(STAY,)]
    assert rows(made, "SELECT count(*) FROM store.combined_2") == [(STAY,)]


def test_without_a_database_no_cache_is_touched(folder: Folder) -> None:
    Vectors(folder.scores).put("m", [b"0" * 16], np.zeros((1, 2), np.float32))
    collect(folder, ALL)
    assert Vectors(folder.scores).known("m") == {b"0" * 16}


def test_blocks_inside_the_file_are_only_spoken_of_where_it_is_compacted(made: Folder) -> None:
    collect(made, Options(keep=1, compact=False))
    assert [i for i in gc.find(made, recipe(made), ONE).items if i.what.startswith("free blocks")]
    found = gc.find(made, recipe(made), Options(keep=1, compact=False))
    assert (found.items, found.database) == ([], (0, 0))


def test_what_came_since_the_question_is_said_before_it_goes(made: Folder) -> None:
    asked, said = gc.find(made, recipe(made), ONE), []
    for n in (1, 2):
        export(made, f"2026010{n}T000000Z-0000000{n}")
    say(made, deduped={"threshold": 0.9}, engine={"keep_exports": 1})
    gc.collect(made, recipe(made), ONE, say=said.append)
    assert not [item for item in asked.items if item.what.startswith("exports")]
    assert "1 exports beyond the last 1" in said[0]


# ----------------------------------------------------------------------------------------------------------- caches


def contents(folder: Folder, version: int) -> list[bytes]:
    return [h.bytes for (h,) in rows(folder, f"SELECT content_hash FROM store.combined_{version} ORDER BY 1")]


def asked(folder: Folder, model: str, subjects: list[bytes], prompt: str) -> None:
    calls = Calls(folder.calls)
    with closing(sqlite3.connect(calls.path)) as con, con:
        for subject in subjects:
            key = bytes(a ^ b for a, b in zip(subject, model.encode().ljust(16), strict=False))
            reply = (key, subject, prompt, model, "ok", "x" * 100, None, "stop", None, 1, 1, 0.5, "", "run", 0.0)
            con.execute(f"INSERT INTO replies VALUES ({', '.join('?' * 15)})", reply)
            con.execute("INSERT INTO subjects VALUES (?, ?, ?, ?)", (model, prompt, subject, key))


def subjects(folder: Folder, model: str) -> set[bytes]:
    with closing(sqlite3.connect(folder.calls)) as con:
        return {s for (s,) in con.execute("SELECT subject FROM replies WHERE model = ?", [model])}


@pytest.fixture
def cached(made: Folder) -> tuple[Folder, list[bytes], list[bytes]]:
    """Everything is cached of two contents that stay and of two that go, and of a text that is no content."""
    stay = contents(made, 2)[:2]
    go = sorted(set(contents(made, 1)) - set(contents(made, 2)))[:2]
    for path, model in (
        (made.scores, "m"),
        (made.embeddings, "weights windows-1 text-1"),
        (made.embeddings, "weights windows-1"),
    ):
        Vectors(path).put(model, [*stay, *go, b"t" * 16], np.zeros((5, 4), np.float32))
    for model in ("gpt", "embedded@5d0c"):
        asked(made, model, [*stay, *go], "rubric")
        asked(made, model, [b"s" * 16], "generates")
    return made, stay, go


def test_scores_and_vectors_of_contents_that_are_gone_go(cached: tuple[Folder, list[bytes], list[bytes]]) -> None:
    folder, stay, go = cached
    collect(folder, ONE)
    assert Vectors(folder.scores).known("m") == set(stay)
    assert Vectors(folder.embeddings).known("weights windows-1 text-1") == set(stay)
    assert Vectors(folder.embeddings).known("weights windows-1") == {*stay, *go, b"t" * 16}  # keys of texts, not of contents


def test_replies_that_were_paid_for_stay_unless_it_is_said(cached: tuple[Folder, list[bytes], list[bytes]]) -> None:
    folder, stay, go = cached
    found, _ = collect(folder, ONE)
    assert subjects(folder, "embedded@5d0c") == {*stay, b"s" * 16}
    assert subjects(folder, "gpt") == {*stay, *go, b"s" * 16}
    assert ["2 replies of gpt" in sentence and "1.0000" in sentence for sentence in found.kept] == [True]
    found, _ = collect(folder, ALL)
    assert subjects(folder, "gpt") == {*stay, b"s" * 16}
    assert found.kept == []


def test_replies_to_what_generates_rows_stay(cached: tuple[Folder, list[bytes], list[bytes]]) -> None:
    folder, _, _ = cached
    collect(folder, ALL)
    assert b"s" * 16 in subjects(folder, "gpt")
    assert Calls(folder.calls).known("gpt", ["generates"]) == {b"s" * 16}


def test_replies_of_a_check_of_the_judge_are_of_the_contents_that_it_was_about(
    cached: tuple[Folder, list[bytes], list[bytes]],
) -> None:
    folder, stay, go = cached
    assert check.ASSET.encode() == caches.CHECK
    checked = {content: digest(content, check.ASSET.encode()) for content in (*stay, *go)}
    asked(folder, "embedded@check", list(checked.values()), "rubric")
    found, _ = collect(folder, ONE)
    assert what(found)["replies of embedded@check about such texts in calls.sqlite"] == len(go)
    assert subjects(folder, "embedded@check") == {checked[content] for content in stay}


# ------------------------------------------------------------------------------------------------------------ files


def export(folder: Folder, name: str) -> Path:
    path = folder.exports / name
    path.mkdir(parents=True)
    (path / "MANIFEST.json").write_text("{}")
    return path


def test_old_exports_go_but_never_the_newest_nor_a_folder_of_ones_own(folder: Folder) -> None:
    old = [export(folder, f"2026010{n}T000000Z-0000000{n}") for n in range(1, 5)]
    mine = export(folder, "for-the-talk")
    (folder.exports / "latest").symlink_to(old[0].name)
    say(folder, engine={"keep_exports": 2})
    found, _ = collect(folder)
    assert what(found) == {"exports beyond the last 2": 1}
    assert sorted(p for p in folder.exports.iterdir() if not p.is_symlink()) == sorted([old[0], *old[2:], mine])


def test_what_killed_runs_left_goes_and_what_a_live_one_writes_stays(made: Folder) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (made.exports / f".export.partial-{pid}").mkdir(parents=True)
        (made.root / f".recipe.yaml.{pid}.tmp").write_text("half")
        (made.root / f".sft.duckdb.compact-{pid}").write_text("half")
    (made.root / ".spill").mkdir()
    (made.root / ".spill" / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"x" * 1000)
    found, _ = collect(made, Options(compact=False))
    assert what(found)["files that killed runs left"] == 4
    left = {p.name for p in (*made.root.iterdir(), *made.exports.iterdir()) if str(dead.pid) in p.name}
    assert left == set()
    assert (made.exports / f".export.partial-{os.getppid()}").is_dir()
    assert (made.root / f".recipe.yaml.{os.getppid()}.tmp").exists()
    assert not (made.root / ".spill").exists()


# ----------------------------------------------------------------------------------------------------- many at once


def test_another_process_that_writes_is_waited_for_or_named(made: Folder) -> None:
    command = [sys.executable, "-m", "sft_assets", "gc", "--yes", "--wait", "0", "--keep", "1", "--data", str(made.root)]
    before = made.database.read_bytes()
    with made.lock():
        run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert f"PID {os.getpid()}" in run.stderr
    assert made.database.read_bytes() == before


def test_whoever_reads_meanwhile_goes_on_reading(made: Folder) -> None:
    with warehouse(made, recipe(made)).reading() as con:
        before = con.execute("SELECT count(*), sum(hash(d)) FROM deduped AS d").fetchall()
        compaction.compact(warehouse(made, recipe(made)))
        assert con.execute("SELECT count(*), sum(hash(d)) FROM deduped AS d").fetchall() == before
    assert rows(made, "SELECT count(*), sum(hash(d)) FROM deduped AS d") == before


def test_a_kill_at_any_moment_leaves_a_whole_database(kept: Folder, made: Folder) -> None:
    command = [sys.executable, "-m", "sft_assets", "gc", "--yes", "--keep", "1", "--data", str(made.root)]
    current = rows(made, "SELECT count(*), sum(hash(d)) FROM deduped AS d")
    rng, killed = random.Random(5), 0
    for _ in range(6):
        made.database.with_name("sft.duckdb.wal").unlink(missing_ok=True)
        shutil.copy(kept.database, made.database)
        run = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert run.stdout is not None
        said = list(takewhile(lambda line: not line.startswith("removing"), run.stdout))
        assert run.poll() is None, said
        time.sleep(rng.uniform(0, 0.5))
        run.kill()
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
        assert rows(made, "SELECT count(*), sum(hash(d)) FROM deduped AS d") == current
    assert killed
    collect(made, ONE)
    assert rows(made, "SELECT count(*), sum(hash(d)) FROM deduped AS d") == current
    assert rows(made, "SELECT count(*) FROM store.contents") == [(STAY,)]
    assert not list(made.root.glob(".sft.duckdb.compact-*"))


def test_a_copy_that_is_not_equal_is_not_used(made: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made.database.read_bytes()

    def unequal(con: Any, path: Path) -> None:
        con.execute(
            "DELETE FROM fresh.store.contents WHERE content_hash = (SELECT min(content_hash) FROM fresh.store.contents)"
        )
        compare(con, path)

    compare = compaction._compare
    monkeypatch.setattr(compaction, "_compare", unequal)
    with pytest.raises(SftError, match=r"store\.contents is not that of the original"):
        compaction.compact(warehouse(made, recipe(made)))
    assert made.database.read_bytes() == before
    assert not list(made.root.glob(".sft.duckdb.compact-*"))


def test_a_log_that_someone_else_writes_stops_the_exchange(made: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    log = made.database.with_name("sft.duckdb.wal")
    compare = compaction._compare
    monkeypatch.setattr(compaction, "_compare", lambda con, path: (compare(con, path), log.write_bytes(b"x")))
    with pytest.raises(Busy, match="another process writes"):
        compaction.compact(warehouse(made, recipe(made)))
    assert log.read_bytes() == b"x"


def test_a_disk_without_room_is_seen_before_anything_goes(made: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(made)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(SftError, match="--no-compact"):
        collect(made, ONE)
    assert {name: data for name, data in files(made).items() if name != ".lock"} == before


def test_old_exports_that_go_make_the_room(made: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (export(made, f"2026010{n}T000000Z-0000000{n}") for n in (1, 2))
    (old / "train.json").write_bytes(b"x" * 2 * made.database.stat().st_size)
    say(made, deduped={"threshold": 0.9}, engine={"keep_exports": 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    collect(made, ONE)
    assert [path.name for path in made.exports.iterdir()] == [new.name]


def test_a_database_elsewhere_stays_where_it_is(made: Folder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    shutil.move(made.database, elsewhere / "big.duckdb")
    made.database.symlink_to(elsewhere / "big.duckdb")
    collect(made, ONE)
    assert made.database.is_symlink()
    assert rows(made, "SELECT count(*) FROM deduped") == [(STAY,)]


def test_nobody_to_ask_means_nothing_is_done(made: Folder) -> None:
    before = made.database.read_bytes()
    command = [sys.executable, "-m", "sft_assets", "gc", "--keep", "1", "--data", str(made.root)]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert run.returncode == 1
    assert "--yes" in run.stderr
    assert made.database.read_bytes() == before
