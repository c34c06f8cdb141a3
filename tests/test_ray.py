"""The engine on a Ray cluster of two nodes: the same rows as here, whoever is killed meanwhile; what it says when it cannot."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from sft_assets.clustered.embeddings import embeddings
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.engine import Engine, Job, engine_of
from sft_assets.engine import cluster as cluster_module
from sft_assets.engine.cluster import Bridge, Cluster
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import RayCluster, Recipe
from sft_assets.scored import local_scores
from sft_assets.scored.asset import scored
from sft_assets.scored.judgements.asset import judgements
from sft_assets.scored.judgements.contamination import contamination_judgements
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits
from tests.conftest import build, fresh, put, rows, say
from tests.made_jobs import broken, deadly, failing, slow, times
from tests.made_rows import DISCLAIMER, MOJIBAKE, REFUSAL
from tests.model_server import Answer, ModelServer, Request, chat
from tests.ray_cluster import RayNodes, ray_cluster
from tests.test_likelihoods import tiny
from tests.test_rewards import share_of_a

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(1800)]

SPINE = (raw, combined, deduped, benchmarks, contamination_candidates, decontaminated)
EVIDENCE = (rule_hits, likelihoods, judgements, contamination_judgements, rewards, scored, embeddings)
RATES = ("texts_per_second", "tokens_per_second")
KILLED = (
    combined, deduped, contamination_candidates, decontaminated, rule_hits, likelihoods, judgements, rewards, embeddings,
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with ray_cluster(nodes=2) as nodes:
        yield nodes
        for bridge in Bridge.kept.values():
            bridge.close()


# ----------------------------------------------------------------------------------------------------- the same rows


def judged(request: Request) -> Answer:
    """A judge whose scores depend on what it is asked, and on nothing else."""
    score = 1 + sha256(request.last.encode()).digest()[0] % 5
    return chat(f'{{"reason": "as it is", "score": {score}, "verdict": "other"}}').after(0.05)


def records(number: int = 500) -> list[dict[str, Any]]:
    """Rows of a small vocabulary with copies, edits, faults and test items among them."""
    rng = random.Random(5)
    words = [
        f"{a}{b}" for a in ("riv", "mount", "cit", "wood", "brid", "sta", "lam") for b in ("er", "ain", "y", "en", "ge", "tion")
    ]

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(least, most))).capitalize() + "."

    made = [{"question": text(5, 30), "answer": text(1, 120)} for _ in range(number)]
    for place in range(0, number, 9):
        made.append({**made[place], "answer": made[place]["answer"] + " Well."})
    made += made[10:40]
    for place, fault in enumerate((REFUSAL, MOJIBAKE, DISCLAIMER) * 5):
        made[place * 7]["answer"] = fault
    made += [{"question": f"Please: {item['question']}", "answer": item["answer"]} for item in ITEMS[:5]]
    return made


ITEMS = [
    {
        "question": f"A train with {n} cars leaves the northern harbour at noon and carries {n * 7} barrels; how many a car?",
        "answer": "7",
    }
    for n in range(11, 41)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("models")
    return {
        "likelihoods": {"model": str(tiny(root / "causal")), "rows": 120},
        "rewards": {"model": str(share_of_a(root / "reward")), "rows": 120},
        "judgements": {"model": "scripted", "rows": 60},
        "embeddings": {"model": "static"},
        "contamination_candidates": {"embeddings": "static"},
        "deduped": {"semantic": {"model": "static", "prompt": 0.99, "answer": 0.99}},
    }


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(judged) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-nobody")
        yield server


def filled(root: Path, models: dict[str, Any], **engine: Any) -> Folder:
    folder = fresh(root)
    put(folder, "rows.jsonl", records())
    shutil.copy(put(folder, "items.jsonl", ITEMS), folder.benchmarks / "items.jsonl")
    (folder.sources / "items.jsonl").unlink()
    say(folder, **models, **({"engine": engine} if engine else {}))
    return folder


def told(folder: Folder) -> dict[str, Any]:
    """The content of every table, and what the reports say but for how long it took."""
    versions = dict(rows(folder, "SELECT asset, data_version FROM store.versions"))
    vectors = rows(folder, "SELECT content_hash, vector, cut FROM embeddings ORDER BY content_hash")
    reports = {asset: orjson.loads(text) for asset, text in rows(folder, "SELECT asset, report::VARCHAR FROM store.versions")}
    for report in reports.values():
        for name in RATES:
            report.pop(name, None)
    return {"versions": versions, "vectors": vectors, **reports}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Of torch, whose threads wait for each other where other tests run beside this one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("causal", "reward", "embedder"):
            patch.setattr(f"sft_assets.models.{name}.cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Any]) -> dict[str, Any]:
    """The same run on this machine."""
    folder = filled(tmp_path_factory.mktemp("here") / "data", models)
    with pytest.MonkeyPatch.context() as patch, ModelServer(judged) as server:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", "a-key-of-nobody")
        build(folder, *SPINE, *EVIDENCE)
    return told(folder)


def test_a_worker_killed_in_each_map_changes_nothing(
    tmp_path: Path, cluster: RayNodes, models: dict[str, Any], served: ModelServer, here: dict[str, Any]
) -> None:
    folder = filled(tmp_path / "data", models, ray={"address": cluster.address})
    killed: dict[str, int] = {}
    for asset in (*SPINE, *EVIDENCE):
        if asset not in KILLED:
            build(folder, asset)
            continue
        with killing(cluster) as one:
            build(folder, asset)
        killed[asset.table.name] = one()
    assert len(set(killed.values())) == len(KILLED)
    there = told(folder)
    assert {name for name in here if there[name] != here[name]} == set()
    report = dict(rows(folder, "SELECT asset, report ->> 'dropped' FROM store.versions"))
    assert "near_duplicate" in report["deduped"] and "benchmark" in report["decontaminated"] and "refusal" in report["scored"]


class killing:  # noqa: N801
    """Kill the first worker that works on a batch while the block lasts; called afterwards, it says which."""

    def __init__(self, cluster: RayNodes):
        self.found: list[int] = []
        self.thread = threading.Thread(target=lambda: self.found.append(cluster.kill_a_worker()))

    def __enter__(self) -> Callable[[], int]:
        self.thread.start()
        return lambda: self.found[0]

    def __exit__(self, *_: object) -> None:
        self.thread.join()


def test_both_nodes_work(cluster: RayNodes) -> None:
    with on(cluster).workers(Job("rules", partial(slow, 0.2))) as workers:
        done = [result for _, result in workers.map(range(40))]
    assert [batch for _, batch in done] == list(range(40))
    assert len({pid for pid, _ in done}) == 2


def on(cluster: RayNodes, heard: list[str] | None = None, **more: Any) -> Engine:
    say: Callable[[str], None] = heard.append if heard is not None else print
    return Cluster(RayCluster.model_validate({"address": cluster.address, **more}), say)


# ------------------------------------------------------------------------------------------------------------- failures


def test_only_the_batches_of_a_killed_worker_are_worked_on_again(cluster: RayNodes) -> None:
    heard: list[str] = []
    with on(cluster, heard).workers(Job("rules", partial(slow, 0.1))) as workers, killing(cluster) as one:
        done = [result for _, result in workers.map(range(60))]
    assert [batch for _, batch in done] == list(range(60))
    assert one() not in {pid for pid, _ in done[-40:]}
    assert heard and all(re.match(r"a worker of rules died \(.*\); its batches are worked on again", words) for words in heard)
    assert len(heard) <= 2  # one for each batch that it had


def test_a_batch_that_kills_every_worker_ends_the_job(cluster: RayNodes) -> None:
    with on(cluster).workers(Job("rules", deadly)) as workers:
        done = workers.map(range(6))
        assert [next(done)[1] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SftError, match=r"rules: 3 workers died of the same batch.*engine\.ray\.rules\.cpus"):
            next(done)


def test_errors_come_back_and_name_the_node_where_it_matters(cluster: RayNodes) -> None:
    with on(cluster).workers(Job("rules", partial(failing, KeyError, "missing"))) as workers:
        with pytest.raises(KeyError, match="missing"):
            list(workers.map(range(6)))
    with on(cluster).workers(Job("rules", broken)) as workers:
        with pytest.raises(SftError, match=r"^on node 127\.0\.0\.1: there is no such model"):
            list(workers.map(range(6)))


def test_few_batches_are_held_however_many_there_are(cluster: RayNodes) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for batch in range(300):
            read.append(batch)
            yield batch

    with on(cluster).workers(Job("rules", partial(times, 1))) as workers:
        for number, (batch, _) in enumerate(workers.map(source())):
            assert batch == number
            assert len(read) <= number + 1 + workers.ahead <= number + 10
    assert len(read) == 300


def test_what_no_node_has_is_said_at_once(cluster: RayNodes) -> None:
    with on(cluster, rules={"gpus": 1}).workers(Job("rules", partial(times, 1))) as workers:
        with pytest.raises(SftError, match=r"1 CPU and 1 GPU \(recipe: engine\.ray\.rules\), and no node.*1 CPU and 0 GPU"):
            list(workers.map(range(6)))


def test_no_more_workers_than_the_recipe_says(cluster: RayNodes) -> None:
    with on(cluster, rules={"most": 1}).workers(Job("rules", partial(slow, 0.05))) as workers:
        assert len({pid for _, (pid, _) in workers.map(range(20))}) == 1
    until = time.monotonic() + 60
    while cluster.workers() and time.monotonic() < until:  # they go when the job is done
        time.sleep(0.1)
    assert not cluster.workers()


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster_module.SETTINGS, "RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    with pytest.raises(SftError, match=r"the Ray cluster '127\.0\.0\.1:9' cannot be used: .*without engine\.ray in the recipe"):
        with Cluster(RayCluster(address="127.0.0.1:9")).workers(Job("rules", partial(times, 1))) as workers:
            list(workers.map(range(3)))


def test_without_ray_the_recipe_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
    with pytest.raises(SftError, match=r"engine\.ray needs Ray.*pip install 'sft-assets\[ray\]'"):
        engine_of(Recipe.model_validate({"engine": {"ray": {}}}).engine)


def test_another_version_on_a_node_is_refused() -> None:
    from sft_assets.engine.bridge import _differ, versions

    elsewhere = {**versions(), "place": "another machine"}
    assert not _differ(elsewhere)
    words = _differ({**elsewhere, "sft_assets": "0.0.1 (deadbeef)"})
    assert re.search(
        r"would give other results: sft_assets 0\.0\.1 \(deadbeef\) there, \S+ \(\w+\) here\. Every node needs", words
    )


@pytest.mark.timeout(1200)
def test_a_lost_cluster_ends_the_run_and_what_was_finished_is_kept(
    tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_scores, "TOGETHER", 1)  # a content is a batch
    with ray_cluster(nodes=1) as lost:
        folder = filled(tmp_path / "data", {**models, "judgements": {"rows": 0}}, ray={"address": lost.address})
        build(folder, *SPINE, rule_hits)
        before = rows(folder, "SELECT asset, version FROM store.versions ORDER BY ALL")

        def cut_off() -> None:
            while not count(folder):
                time.sleep(0.005)
            lost.kill()

        thread = threading.Thread(target=cut_off)
        thread.start()
        with pytest.raises(SftError, match=r"the Ray cluster .* cannot be used: .*What was finished is kept"):
            build(folder, likelihoods)
        thread.join()
    assert rows(folder, "SELECT asset, version FROM store.versions ORDER BY ALL") == before
    kept = count(folder)
    assert 0 < kept < 120
    say(folder, **{**models, "judgements": {"rows": 0}})  # on this machine
    (version,) = build(folder, likelihoods)
    assert version.report["cached"] == kept and version.report["asked"] == 120 - kept


def count(folder: Folder) -> int:
    """Scores in the cache; 0 where it is not made yet."""
    if not folder.scores.exists():
        return 0
    with closing(sqlite3.connect(folder.scores, timeout=60)) as con:
        there = con.execute("SELECT count(*) FROM sqlite_master WHERE name = 'vectors'").fetchone()[0]
        return int(con.execute("SELECT count(*) FROM vectors").fetchone()[0]) if there else 0
