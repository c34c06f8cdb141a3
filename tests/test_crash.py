"""Runs that are killed, and runs that meet: nothing half-done is ever stored, and nobody is blocked."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from sft_assets import verbs
from sft_assets.asset import warehouse
from sft_assets.definitions import STATES
from sft_assets.verbs import Workspace
from tests.conftest import NO_MODELS

pytestmark = pytest.mark.timeout(1500)  # whole runs, one after another, on however busy a machine
SFT = [sys.executable, "-m", "sft_assets"]
KILLS = 5
ROOM = 500_000  # bytes that the full disk has left


def sft(*args: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SFT, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload,no-any-return]
    )


def make_folder(path: Path) -> Path:
    verbs.init(path).recipe.write_text(json.dumps(NO_MODELS))
    rng = random.Random(7)
    words = [f"word{i}" for i in range(400)]
    lines = []
    for i in range(300):
        prompt = " ".join(rng.choices(words, k=rng.randint(6, 20)))
        answer = " ".join(rng.choices(words, k=rng.randint(10, 40)))
        lines.append(f'{{"instruction": "{prompt}?", "output": "{answer}."}}')
        if i % 10 == 0:
            lines.append(lines[-1].replace("word1", "word2"))
        if i % 50 == 0:
            lines.append('{"instruction": "broken", "output": ')
    (path / "sources" / "made.jsonl").write_text("\n".join(lines) + "\n")
    (path / "benchmarks" / "test.jsonl").write_text(
        '{"question": "which word comes after word1 and before word3 in the list", "answer": "word2"}\n'
    )
    return path


def data_versions(folder: Path) -> dict[str, str]:
    return {name: v.data_version for name, v in Workspace.open(folder).versions().items()}


class Finished(NamedTuple):
    """A folder after a whole run, which is copied and not changed, and what the run took."""

    root: Path
    seconds: float


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = make_folder(tmp_path_factory.mktemp("finished") / "data")
    start = time.monotonic()
    assert sft("run", "--data", str(root)).wait() == 0
    return Finished(root, time.monotonic() - start)


def materialized(space: Workspace) -> int:
    """How far the runs of a folder have come: the assets that were materialized."""
    records = space.instance.get_asset_records()
    return sum(record.asset_entry.last_materialization is not None for record in records)


@pytest.mark.xdist_group("crash")
def test_a_run_killed_at_any_moment_leaves_a_database_that_the_next_run_completes(finished: Finished, tmp_path: Path) -> None:
    every = materialized(Workspace.open(finished.root))
    killed = make_folder(tmp_path / "killed")
    space = Workspace.open(killed)
    rng = random.Random(11)
    kills = 0
    for part in range(KILLS):  # one in each part of what is to be done: a run goes on where the one before was killed
        run = sft("run", "--data", str(killed))
        after = int((part + rng.random()) / KILLS * every)
        while materialized(space) < after and run.poll() is None:
            time.sleep(0.1)
        with suppress(subprocess.TimeoutExpired):  # in the midst of whatever comes next
            run.wait(rng.random() * finished.seconds / every)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.communicate()
        for version in Workspace.open(killed).versions().values():  # the database opens
            report = version.report
            if "in" in report:  # and the balance holds in what it has
                gone = sum(report["dropped"].values()) + sum(report["quarantined"].values())
                assert report["in"] + report["created"] == report["kept"] + gone
    assert kills >= KILLS - 2  # a run may be faster than the first one was
    last = sft("run", "--data", str(killed))
    out, err = last.communicate()
    assert last.returncode == 0, out + err
    assert data_versions(killed) == data_versions(finished.root)
    house = warehouse(Workspace.open(killed).folder, Workspace.open(killed).recipe)
    with house.reading() as con:
        for name in STATES:
            assert con.execute(f"SELECT count(*) = count(DISTINCT row_id) FROM {name}").fetchall() == [(True,)]
    assert not list((killed / "exports").glob(".*partial*"))


def test_two_runs_at_once_wait_for_each_other_and_the_second_finds_nothing_to_do(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    first, second = sft("run", "--data", str(folder)), sft("run", "--data", str(folder))
    said = [run.communicate(timeout=300) for run in (first, second)]
    assert first.returncode == second.returncode == 0, said
    assert sum("nothing is stale" in out for out, _ in said) == 1
    assert sum("is being written by PID" in out for out, _ in said) == 1


def test_a_folder_may_be_opened_for_the_first_time_by_many_at_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    runs = [sft("plan", "--data", str(folder)) for _ in range(4)]
    said = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said


def test_whoever_does_not_want_to_wait_is_told_the_pid(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    space = Workspace.open(folder)
    with space.folder.lock():
        out, err = sft("run", "--data", str(folder), "--wait", "0").communicate(timeout=120)
    assert f"PID {os.getpid()}" in err
    assert "Traceback" not in out + err


def test_a_killed_run_is_marked_as_failed_by_the_next(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    run = sft("run", "--data", str(folder))
    space = Workspace.open(folder)
    deadline = time.monotonic() + 60
    while not space.instance.get_runs() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    dead = space.instance.get_runs()[-1]
    if dead.is_finished:
        pytest.fail("the run ended before it could be killed")
    after = sft("run", "raw", "--data", str(folder))
    out, err = after.communicate(timeout=300)
    assert after.returncode == 0, out + err
    record = space.instance.get_run_by_id(dead.run_id)
    assert record is not None
    assert record.status.value == "FAILURE"


@pytest.mark.xdist_group("crash")
def test_a_full_disk_stops_the_run_with_a_sentence_and_loses_nothing(finished: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.root, tmp_path / "data")
    before = data_versions(folder)
    assert before == data_versions(finished.root)
    size = (folder / "sft.duckdb").stat().st_size
    # more than the limit leaves, even if all of the file were free for other rows
    answers = [os.urandom(8000).hex() for _ in range((2 * size + 4 * ROOM) // 8000)]
    (folder / "sources" / "big.jsonl").write_text(
        "".join(json.dumps({"instruction": f"question {i}", "output": answer}) + "\n" for i, answer in enumerate(answers))
    )
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + ROOM}, {size + ROOM}))
from sft_assets.cli import main
main()
"""
    run = subprocess.run(
        [sys.executable, "-c", code, "run", "combined", "--data", str(folder)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 1
    assert "disk is full" in run.stderr
    assert "Traceback" not in run.stderr
    assert data_versions(folder) == before
    assert sft("run", "combined", "--data", str(folder)).wait() == 0
    after = data_versions(folder)
    assert {name for name in before if after[name] != before[name]} == {"raw", "combined"}
