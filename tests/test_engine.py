"""The engine of this machine: threads, processes and the caller give the same, in order; a worker that dies is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.engine import Job, engine_of
from sft_assets.engine.batches import slices
from sft_assets.engine.local import Local, Process, Processes
from sft_assets.errors import SftError
from sft_assets.recipe import Engine, Recipe
from tests import made_jobs
from tests.made_jobs import broken, failing, times, waiting

Where = Literal["threads", "processes", "here", "loop"]


def results(engine: Local, job: Job[int, Any], batches: range = range(20)) -> list[Any]:
    with engine.workers(job) as workers:
        done = list(workers.map(batches))
    assert [batch for batch, _ in done] == list(batches)
    return [result for _, result in done]


@pytest.mark.parametrize("where", ["threads", "processes", "here"])
def test_every_batch_comes_back_in_order_from_where_it_was_to_be_worked_on(where: Where) -> None:
    done = results(Local(3), Job("rules", partial(times, 7), where))
    assert [value for _, _, value in done] == [7 * batch for batch in range(20)]
    here = {"threads": (True, False), "processes": (False, False), "here": (True, True)}[where]
    assert ({os.getpid()} == {pid for pid, _, _ in done}, {threading.get_ident()} == {thread for _, thread, _ in done}) == here


def test_one_thread_needs_no_process() -> None:
    assert {pid for pid, _, _ in results(Local(1), Job("rules", partial(times, 1), "processes"))} == {os.getpid()}


@pytest.mark.parametrize("where", ["threads", "processes", "here"])
def test_what_a_function_raises_is_raised_where_its_result_would_come(where: Where) -> None:
    job: Job[int, int] = Job("rules", partial(failing, KeyError, "missing"), where)
    with Local(2).workers(job) as workers:
        done = workers.map(range(20))
        assert [next(done)[1] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="missing"):
            next(done)


def test_an_error_that_cannot_be_pickled_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match="Odd: this") as told:
        results(Local(2), Job("rules", partial(failing, made_jobs.Odd, "this", "that"), "processes"))
    assert "in function" in "".join(told.value.__notes__)  # the trace of the worker


def test_a_job_that_cannot_be_loaded_says_why() -> None:
    for where in ("threads", "processes", "here"):
        with pytest.raises(SftError, match="there is no such model"):
            results(Local(2), Job("rules", broken, where))  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_few_batches_are_read_ahead(where: Where) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for batch in range(1000):
            read.append(batch)
            yield batch

    with Local(2).workers(Job("rules", partial(times, 1), where)) as workers:
        for number, (batch, _) in enumerate(workers.map(source())):
            assert batch == number
            assert len(read) <= number + 1 + workers.ahead
    assert len(read) == 1000


@pytest.mark.parametrize("where", ["threads", "processes", "here"])
def test_large_batches_are_not_read_ahead(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of 8,000 bytes may be in flight, and one of any size; small ones as many as there is work for."""
    monkeypatch.setattr("sft_assets.engine.MOST_BYTES", 20_000)
    read: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        for size in [1000] * 20 + [10_000] * 3:
            read.append(8 * size)
            yield pa.record_batch({"number": np.arange(size)})

    ahead: list[int] = []
    with Local(4).workers(Job("rules", made_jobs.sums, where)) as workers:
        for number, (batch, total) in enumerate(workers.map(source())):
            assert total == batch["number"].to_numpy().sum()
            ahead.append(sum(read[number + 1 :]))
    assert len(ahead) == 23
    assert max(ahead) <= 20_000 + max(read)


def test_pairs_keep_here_what_is_not_sent() -> None:
    with Local(2).workers(Job("rules", partial(times, 2))) as workers:
        done = list(workers.map_of((str(batch), batch) for batch in range(50)))
    assert [(own, value) for own, (_, _, value) in done] == [(str(batch), 2 * batch) for batch in range(50)]


# --------------------------------------------------------------------------------------------------------- coroutines


def test_coroutines_wait_together_and_are_broken_off_together() -> None:
    job: Job[float, str] = Job("calls", waiting, "loop", at_once=4)
    with Local(1).workers(job) as workers:
        long = workers.submit(3600)
        assert {result for _, result in workers.map([0.01] * 8)} == {"loop"}
    assert long.cancelled()
    assert not [thread for thread in threading.enumerate() if thread.name == "loop"]


# ----------------------------------------------------------------------------------------------------------- processes


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost() -> None:
    with Local(2).workers(Job("rules", partial(times, 3), "processes")) as workers:
        assert isinstance(workers, Processes)
        done = workers.map(range(40))
        found = [next(done)[1][2]]
        for process in workers.processes[:2]:
            os.kill(process.process.pid, signal.SIGKILL)
        found += [value for _, (_, _, value) in done]
    assert found == [3 * batch for batch in range(40)]
    assert len(workers.processes) == 4
    assert all(process.process.poll() is not None for process in workers.processes)


@pytest.mark.timeout(60)
def test_workers_that_are_always_killed_end_the_job_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Processes._start

    def doomed(self: Processes[Any, Any]) -> Process:
        process = start(self)
        process.process.kill()
        return process

    monkeypatch.setattr(Processes, "_start", doomed)
    with pytest.raises(SftError, match=r"rules: a process that worked on a batch was killed by signal 9.*engine\.threads: 1"):
        results(Local(2), Job("rules", partial(times, 1), "processes"))


def test_a_job_that_is_given_up_leaves_no_process_behind() -> None:
    with pytest.raises(RuntimeError, match="enough"), Local(2).workers(Job("rules", partial(times, 1), "processes")) as workers:
        assert isinstance(workers, Processes)
        for _ in workers.map(range(100)):
            raise RuntimeError("enough")
    assert all(process.process.poll() is not None for process in workers.processes)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rules")]


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys, time\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from functools import partial\n"
        "from sft_assets.engine import Job\n"
        "from sft_assets.engine.local import Local\n"
        "from tests.made_jobs import times\n"
        "with Local(2).workers(Job('rules', partial(times, 1), 'processes')) as workers:\n"
        "    print(workers.processes[0].process.pid, flush=True)\n"
        "    time.sleep(600)\n",
        "utf-8",
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=60)


# ------------------------------------------------------------------------------------------------- the recipe and batches


def test_the_recipe_says_how_many_threads() -> None:
    engine = engine_of(Engine(threads=3))
    assert isinstance(engine, Local) and engine.threads == 3


def test_what_a_recipe_says_of_a_cluster_changes_no_result() -> None:
    with_ray = Recipe.model_validate({"engine": {"ray": {"address": "10.0.0.1:6379", "embeddings": {"cpus": 4, "gpus": 1}}}})
    assert all(with_ray.part(name) == Recipe().part(name) for name in ("deduped", "rule_hits", "embeddings", "judgements"))


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 6), st.none() | st.integers(1, 60))
def test_slices_are_all_of_it_in_order_and_as_large_as_they_may_be(sizes: list[int], most: int, together: int | None) -> None:
    made = list(slices(sizes, most, together))
    assert [place for first, stop in made for place in range(first, stop)] == list(range(len(sizes)))
    for first, stop in made:
        fits = together is None or sum(sizes[first:stop]) <= together
        assert stop - first == 1 or (stop - first <= most and fits)
    for first, stop in made[:-1]:  # one more would not have gone in
        assert stop - first == most or (together is not None and sum(sizes[first : stop + 1]) > together)
