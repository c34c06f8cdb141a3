"""A live daemon and UI over a data folder: the sensor, runs from the UI, and what the page may do with hostile text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sft_assets.asset import fenced_table
from sft_assets.folder import Folder
from sft_assets.verbs import Workspace
from tests.chromium import Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS
from tests.served import HOSTILE, Served, sources, wait_for

pytestmark = pytest.mark.xdist_group("live")


def sensor_state(server: Served, mutation: str) -> None:
    selector = {**server.repository(), "sensorName": "new_sources"}
    if mutation == "startSensor":
        server.graphql("mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }", {"s": selector})
        return
    found = server.graphql(
        "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id sensorState { id } } } }",
        {"s": selector},
    )["sensorOrError"]
    server.graphql("mutation($id: String!) { stopSensor(id: $id) { __typename } }", {"id": found["id"]})


def last_tick(server: Served) -> dict[str, Any]:
    query = """query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor {
        sensorState { status ticks(limit: 1) { status skipReason runIds error { message } } } } } }"""
    state = server.graphql(query, {"s": {**server.repository(), "sensorName": "new_sources"}})["sensorOrError"]["sensorState"]
    return {"sensor": state["status"], **(state["ticks"][0] if state["ticks"] else {})}


def test_the_sensor_is_off_until_somebody_turns_it_on(live: tuple[Folder, Served]) -> None:
    assert last_tick(live[1])["sensor"] == "STOPPED"


def test_the_same_is_stale_in_the_ui_as_on_the_command_line(live: tuple[Folder, Served]) -> None:
    folder, server = live
    nodes = server.graphql("{ assetNodes { assetKey { path } staleStatus isObservable } }")["assetNodes"]
    shown = {n["assetKey"]["path"][0] for n in nodes if n["staleStatus"] not in ("FRESH", None) and not n["isObservable"]}
    assert shown == set(Workspace.open(folder.root).plan()) == set()


def test_a_dropped_file_goes_through_to_the_export_in_one_run(live: tuple[Folder, Served]) -> None:
    folder, server = live
    instance = Workspace.open(folder.root).instance
    before = {r.run_id for r in instance.get_runs()}
    exported = (folder.exports / "latest").resolve()
    sensor_state(server, "startSensor")
    try:
        wait_for(lambda: last_tick(server).get("skipReason") == "everything is up to date", 90, "a first tick")
        sources(folder, "second.jsonl", 5, start=500)
        wait_for(lambda: (folder.exports / "latest").resolve() != exported, 150, "a new export")
        wait_for(lambda: last_tick(server).get("skipReason") == "everything is up to date", 90, "the sensor to be content")
    finally:
        sensor_state(server, "stopSensor")
    new = [r for r in instance.get_runs() if r.run_id not in before]
    assert len(new) == 1
    assert Workspace.open(folder.root).plan() == {}
    assert any(tag.startswith("sft/stale/") for tag in new[0].tags)


def test_after_a_recipe_edit_it_asks_for_a_reload_instead_of_looping(live: tuple[Folder, Served]) -> None:
    folder, server = live
    instance = Workspace.open(folder.root).instance
    before = len(instance.get_runs())
    text = folder.recipe.read_text()
    sensor_state(server, "startSensor")
    try:
        folder.recipe.write_text(json.dumps({**NO_MODELS, "exported": {"test_share": 0.2}}))
        wait_for(
            lambda: "Reload definitions" in (last_tick(server).get("skipReason") or ""), 90, "the sensor to ask for a reload"
        )
        time.sleep(12)
        assert len(instance.get_runs()) == before
    finally:
        sensor_state(server, "stopSensor")
        folder.recipe.write_text(text)


def test_a_run_from_the_ui_and_one_from_the_command_line_do_not_interleave(live: tuple[Folder, Served]) -> None:
    folder, server = live
    sources(folder, "third.jsonl", 5, start=900)
    started = server.launch()
    done = subprocess.run(
        [sys.executable, "-m", "sft_assets", "run", "--data", str(folder.root)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    instance = Workspace.open(folder.root).instance

    def ended() -> Any:
        run = instance.get_run_by_id(started)
        return run if run and run.is_finished else None

    run = wait_for(ended, 150, "the run from the UI")
    assert run.is_success
    assert Workspace.open(folder.root).plan() == {}
    numbers = [m.asset_materialization.metadata["version"].value for m in materializations(instance, "exported")]
    assert numbers == sorted(numbers, reverse=True)


def materializations(instance: dg.DagsterInstance, name: str) -> Any:
    return instance.fetch_materializations(dg.AssetKey(name), limit=100).records


# ------------------------------------------------------------------------------------------------------- hostile text


def test_nothing_in_a_text_closes_the_block_that_it_is_shown_in() -> None:
    shown = fenced_table([{"row": "1", "text": HOSTILE}])
    assert all(line.startswith("    ") for line in shown.splitlines())


@needs_chromium
def test_hostile_rows_run_nothing_and_ask_for_nothing_in_the_ui(live: tuple[Folder, Served], tmp_path: Path) -> None:
    _, server = live
    proxy = Proxy()
    proxy.start()
    try:
        with tab(tmp_path / "profile", proxy, (1400, 2600)) as page:
            page.call("Page.navigate", url=f"{server.address}/assets/deduped?view=overview")
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
