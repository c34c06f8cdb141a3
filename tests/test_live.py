"""A live daemon and UI over a data folder: the sensor, runs from the UI, and what the page may do with hostile text."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sft_assets import verbs
from sft_assets.asset import fenced_table
from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from tests.chromium import Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS

pytestmark = pytest.mark.xdist_group("live")
HOSTILE = '</code>```\n</pre><img src="http://evil.example/pixel.png"><script>fetch("http://evil.example/")</script>![x](http://evil.example/i.png)'


def sources(folder: Folder, name: str, count: int, start: int = 0) -> None:
    rows = [
        {
            "instruction": f"Write a note on the {i}th lantern of the harbour, its keeper and its light.",
            "output": f"Lantern {i} has a keeper and {i * 3} panes.",
        }
        for i in range(start, start + count)
    ]
    partial = folder.root / "arriving"
    partial.write_text("".join(json.dumps(r) + "\n" for r in rows))
    os.utime(partial, (time.time() - 60,) * 2)
    partial.rename(folder.sources / name)  # as a careful tool drops a file


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Folder, str]]:
    """A finished folder with UI and daemon running; yields the folder and the UI's address."""
    folder = verbs.init(tmp_path_factory.mktemp("live") / "data")
    folder.recipe.write_text(json.dumps(NO_MODELS))
    sources(folder, "first.jsonl", 20)
    hostile = {"instruction": f"Say what this is, please, and why: {HOSTILE}", "output": f"It is markup: {HOSTILE}"}
    (folder.sources / "hostile.json").write_text(json.dumps([hostile, hostile]))
    old = time.time() - 60
    os.utime(folder.sources / "hostile.json", (old, old))
    Workspace.open(folder.root).run(say=lambda _: None)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = (folder.root / "dev.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "sft_assets", "dev", "--data", str(folder.root), "--port", str(port), "--no-open"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: graphql(address, "{ version }"), 120, "the UI to answer")
        wait_for(
            lambda: graphql(address, "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")[
                "repositoriesOrError"
            ].get("nodes"),
            120,
            "the code location to load",
        )
        yield folder, address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def wait_for(look: Callable[[], Any], seconds: float, what: str) -> Any:
    end, error = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (OSError, KeyError) as problem:
            error = problem
        time.sleep(0.5)
    return pytest.fail(f"waited {seconds} seconds for {what}: {error}")


def graphql(address: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
    assert "errors" not in result, result["errors"]
    return result["data"]  # type: ignore[no-any-return]


def repository(address: str) -> dict[str, str]:
    nodes = graphql(address, "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }")[
        "repositoriesOrError"
    ]["nodes"]
    return {"repositoryName": nodes[0]["name"], "repositoryLocationName": nodes[0]["location"]["name"]}


def sensor_state(address: str, mutation: str) -> None:
    selector = {**repository(address), "sensorName": "new_data"}
    if mutation == "startSensor":
        graphql(address, "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }", {"s": selector})
        return
    found = graphql(
        address,
        "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id sensorState { id } } } }",
        {"s": selector},
    )["sensorOrError"]
    graphql(address, "mutation($id: String!) { stopSensor(id: $id) { __typename } }", {"id": found["id"]})


def last_tick(address: str) -> dict[str, Any]:
    query = """query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor {
        sensorState { status ticks(limit: 1) { status skipReason runIds error { message } } } } } }"""
    state = graphql(address, query, {"s": {**repository(address), "sensorName": "new_data"}})["sensorOrError"]["sensorState"]
    return {"sensor": state["status"], **(state["ticks"][0] if state["ticks"] else {})}


def test_the_sensor_is_off_until_somebody_turns_it_on(live: tuple[Folder, str]) -> None:
    assert last_tick(live[1])["sensor"] == "STOPPED"


def test_the_same_is_stale_in_the_ui_as_on_the_command_line(live: tuple[Folder, str]) -> None:
    folder, address = live
    nodes = graphql(address, "{ assetNodes { assetKey { path } staleStatus isObservable } }")["assetNodes"]
    shown = {n["assetKey"]["path"][0] for n in nodes if n["staleStatus"] not in ("FRESH", None) and not n["isObservable"]}
    assert shown == set(Workspace.open(folder.root).plan()) == set()


def test_a_dropped_file_goes_through_to_the_export_in_one_run(live: tuple[Folder, str]) -> None:
    folder, address = live
    instance = Workspace.open(folder.root).instance
    before = {r.run_id for r in instance.get_runs()}
    exported = (folder.exports / "latest").resolve()
    sensor_state(address, "startSensor")
    try:
        wait_for(lambda: last_tick(address).get("skipReason") == "everything is up to date", 90, "a first tick")
        sources(folder, "second.jsonl", 5, start=500)
        wait_for(lambda: (folder.exports / "latest").resolve() != exported, 150, "a new export")
        wait_for(lambda: last_tick(address).get("skipReason") == "everything is up to date", 90, "the sensor to be content")
    finally:
        sensor_state(address, "stopSensor")
    new = [r for r in instance.get_runs() if r.run_id not in before]
    assert len(new) == 1
    assert Workspace.open(folder.root).plan() == {}
    assert any(tag.startswith("sft/stale/") for tag in new[0].tags)


def test_after_a_recipe_edit_it_asks_for_a_reload_instead_of_looping(live: tuple[Folder, str]) -> None:
    folder, address = live
    instance = Workspace.open(folder.root).instance
    before = len(instance.get_runs())
    text = folder.recipe.read_text()
    sensor_state(address, "startSensor")
    try:
        folder.recipe.write_text(json.dumps({**NO_MODELS, "exported": {"test_share": 0.2}}))
        wait_for(
            lambda: "Reload definitions" in (last_tick(address).get("skipReason") or ""), 90, "the sensor to ask for a reload"
        )
        time.sleep(12)
        assert len(instance.get_runs()) == before
    finally:
        sensor_state(address, "stopSensor")
        folder.recipe.write_text(text)


def test_a_run_from_the_ui_and_one_from_the_command_line_do_not_interleave(live: tuple[Folder, str]) -> None:
    folder, address = live
    sources(folder, "third.jsonl", 5, start=900)
    selector = {**repository(address), "jobName": "dataset"}
    launch = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    started = graphql(address, launch, {"p": {"selector": selector, "runConfigData": {}, "mode": "default"}})["launchRun"]
    assert started["__typename"] == "LaunchRunSuccess", started
    done = subprocess.run(
        [sys.executable, "-m", "sft_assets", "run", "--data", str(folder.root)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    instance = Workspace.open(folder.root).instance

    def ended() -> Any:
        run = instance.get_run_by_id(started["run"]["runId"])
        return run if run and run.is_finished else None

    run = wait_for(ended, 150, "the run from the UI")
    assert run.is_success
    assert Workspace.open(folder.root).plan() == {}
    numbers = [m.asset_materialization.metadata["version"].value for m in materializations(instance, "exported")]
    assert numbers == sorted(numbers, reverse=True)


def materializations(instance: dg.DagsterInstance, name: str) -> Any:
    return instance.fetch_materializations(dg.AssetKey(name), limit=100).records


def test_a_second_ui_on_the_same_folder_is_refused_with_the_address_of_the_first(live: tuple[Folder, str]) -> None:
    folder, address = live
    done = subprocess.run(
        [sys.executable, "-m", "sft_assets", "dev", "--data", str(folder.root), "--no-open"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert address in done.stderr


# ------------------------------------------------------------------------------------------------------- hostile text


def test_nothing_in_a_text_closes_the_block_that_it_is_shown_in() -> None:
    shown = fenced_table([{"row": "1", "text": HOSTILE}])
    assert all(line.startswith("    ") for line in shown.splitlines())


@needs_chromium
def test_hostile_rows_run_nothing_and_ask_for_nothing_in_the_ui(live: tuple[Folder, str], tmp_path: Path) -> None:
    _, address = live
    proxy = Proxy()
    proxy.start()
    try:
        with tab(tmp_path / "profile", proxy, (1400, 2600)) as page:
            page.call("Page.navigate", url=f"{address}/assets/deduped?view=overview")
            shows_it = "document.body.innerText.includes('evil.example')"
            link = "[...document.querySelectorAll('a')].find(e => e.textContent.trim() === '[Show Markdown]')"
            wait_for(lambda: page.value(f"{shows_it} || !!({link})"), 60, "the sample of dropped rows")
            page.value(f"({link})?.click()")  # a sample of several rows opens in a dialogue
            wait_for(lambda: page.value(shows_it), 30, "the sample to open")
            time.sleep(2)
            shown = page.value("document.documentElement.outerHTML")
            ran = page.value("performance.getEntriesByType('resource').map(r => r.name).filter(n => n.includes('evil'))")
    finally:
        proxy.listener.close()
    assert not re.search(r"<(script|img)[^>]*evil\.example", shown)
    assert ran == []
    asked = [line for line in proxy.asked if "evil.example" in line]
    assert not asked, f"the page asked for {asked}"
