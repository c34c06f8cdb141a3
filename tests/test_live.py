"""A live daemon and UI over a data folder: the sensor, runs from the UI, and what the page may do with hostile text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from sft_assets.asset import fenced_table
from sft_assets.automation import JOB
from sft_assets.definitions import ASSETS, definitions
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import open_instance
from sft_assets.verbs import Workspace
from tests.chromium import Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS, put, say
from tests.served import HOSTILE, PATIENCE, Served, sources, wait_for

pytestmark = [pytest.mark.xdist_group("live"), pytest.mark.timeout(1800)]


def sensor_state(server: Served, mutation: str, name: str = "new_sources") -> None:
    selector = {**server.repository(), "sensorName": name}
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
        sensorState { status ticks(limit: 1) { status timestamp skipReason runIds error { message } } } } } }"""
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
        wait_for(lambda: last_tick(server).get("skipReason") == "everything is up to date", PATIENCE, "a first tick")
        sources(folder, "second.jsonl", 5, start=500)
        wait_for(lambda: (folder.exports / "latest").resolve() != exported, PATIENCE, "a new export")
        wait_for(
            lambda: last_tick(server).get("skipReason") == "everything is up to date", PATIENCE, "the sensor to be content"
        )
    finally:
        sensor_state(server, "stopSensor")
    new = [r for r in instance.get_runs() if r.run_id not in before]
    assert len(new) == 1
    assert Workspace.open(folder.root).plan() == {}
    assert any(tag.startswith("sft/stale/") for tag in new[0].tags)


def stale(server: Served) -> dict[str, str]:
    """What the UI shows as stale, with the first cause."""
    nodes = server.graphql("{ assetNodes { assetKey { path } staleStatus staleCauses { reason } isObservable } }")["assetNodes"]
    return {
        n["assetKey"]["path"][0]: n["staleCauses"][0]["reason"]
        for n in nodes
        if n["staleStatus"] not in ("FRESH", None) and not n["isObservable"]
    }


def test_after_a_recipe_edit_the_ui_shows_what_is_stale_and_one_run_makes_it_fresh(live: tuple[Folder, Served]) -> None:
    folder, server = live
    instance = Workspace.open(folder.root).instance
    before = {run.run_id for run in instance.get_runs()}
    text = folder.recipe.read_text()
    try:
        sensor_state(server, "startSensor")
        folder.recipe.write_text(json.dumps({**NO_MODELS, "exported": {"test_share": 0.2}}))
        wait_for(
            lambda: set(stale(server)) == {"exported", "report"}, PATIENCE, "the UI to show it, with nobody pressing anything"
        )
        wait_for(lambda: "stale for other reasons" in (last_tick(server).get("skipReason") or ""), PATIENCE, "a tick")
        assert {run.run_id for run in instance.get_runs()} == before
        sensor_state(server, "stopSensor")
        sensor_state(server, "startSensor", "new_recipe")
        wait_for(lambda: not stale(server), PATIENCE, "what is stale to be made")
    finally:
        sensor_state(server, "stopSensor")
        sensor_state(server, "stopSensor", "new_recipe")
        folder.recipe.write_text(text)
    (run,) = [run for run in instance.get_runs() if run.run_id not in before]
    assert run.tags["sft/stale/exported"] == "its section of the recipe changed"
    assert json.loads((folder.exports / "latest" / "MANIFEST.json").read_bytes())["recipe"]["exported"]["test_share"] == 0.2
    Workspace.open(folder.root).run(say=lambda _: None)
    # the UI knows the recipe as it was, and a run from elsewhere leaves nothing "Unsynced"
    wait_for(lambda: not stale(server), PATIENCE, "all to be fresh in the UI")


def test_a_broken_file_fails_the_run_with_the_reason_and_leaves_the_export_as_it_was(live: tuple[Folder, Served]) -> None:
    folder, server = live
    instance = Workspace.open(folder.root).instance
    before = {run.run_id for run in instance.get_runs()}
    exported = (folder.exports / "latest").resolve()
    content = (exported / "MANIFEST.json").read_bytes()
    broken = folder.sources / "broken.jsonl"

    def failed() -> Any:
        ended = [run for run in instance.get_runs() if run.run_id not in before and run.is_finished]
        return ended[0] if ended else None

    sensor_state(server, "startSensor")
    try:
        partial = folder.root / "arriving"
        partial.write_text('{"instruction": "Name a port.", "output": "Genoa"}\n{"instruction": "Name a\n' * 20)
        os.utime(partial, (time.time() - 60,) * 2)
        partial.rename(broken)
        run = wait_for(failed, PATIENCE, "the run to end")
        ended = time.time()

        def looked_again() -> bool:
            tick = last_tick(server)
            return bool(tick.get("timestamp", 0) > ended and tick["status"] != "STARTED")

        wait_for(looked_again, PATIENCE, "a further tick")
        assert [r.run_id for r in instance.get_runs() if r.run_id not in before] == [run.run_id]  # not tried again
    finally:
        sensor_state(server, "stopSensor")
        broken.unlink()
    assert run.is_failure
    assert "source 'broken': 20 of 40 records" in run.tags["sft/failed/raw"]
    said = [entry.user_message for entry in instance.all_logs(run.run_id) if "was not made" in entry.user_message]
    assert "still stand" in said[0]
    assert (folder.exports / "latest").resolve() == exported
    assert (exported / "MANIFEST.json").read_bytes() == content


def test_a_run_from_the_ui_and_one_from_the_command_line_do_not_interleave(live: tuple[Folder, Served]) -> None:
    folder, server = live
    sources(folder, "third.jsonl", 5, start=900)
    started = server.launch()
    command = [sys.executable, "-m", "sft_assets", "run", "--data", str(folder.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)  # it waits for the other one
    assert done.returncode == 0, done.stdout + done.stderr
    instance = Workspace.open(folder.root).instance

    def ended() -> Any:
        run = instance.get_run_by_id(started)
        return run if run and run.is_finished else None

    run = wait_for(ended, PATIENCE, "the run from the UI")
    assert run.is_success
    assert Workspace.open(folder.root).plan() == {}
    numbers = [m.asset_materialization.metadata["version"].value for m in materializations(instance, "exported")]
    assert numbers == sorted(numbers, reverse=True)
    assert checked(server) == {"SUCCEEDED"}  # whichever of them came first


def checked(server: Served) -> set[str | None]:
    """What the UI says of the laws of all assets as they are now; None of one that it takes for not checked."""
    query = """{ assetNodes { assetChecksOrError { ... on AssetChecks {
        checks { name executionForLatestMaterialization { status } } } } } }"""
    checks = [check for node in server.graphql(query)["assetNodes"] for check in node["assetChecksOrError"].get("checks", [])]
    return {found["status"] if (found := check["executionForLatestMaterialization"]) else None for check in checks}


def test_the_laws_of_an_asset_are_checked_though_a_run_that_was_planned_later_came_first(folder: Folder) -> None:
    say(folder, **NO_MODELS)
    put(folder, "a.jsonl", [{"instruction": f"Name river {n}.", "output": f"River {n} is long."} for n in "xyz"])
    recipe, assets = Recipe.load(folder.recipe), ASSETS[:1]
    space = Workspace(folder, recipe, open_instance(folder), definitions(folder, recipe, assets))
    job = space.defs.resolve_job_def(JOB)
    run = space.instance.create_run_for_job(job)
    assert space.run(say=lambda _: None) == ["raw"]
    assert all(not event.is_failure for event in execute_run_iterator(InMemoryJob(job), run, space.instance))
    (made,) = space.instance.fetch_materializations(dg.AssetKey("raw"), limit=1).records
    keys = [dg.AssetCheckKey(dg.AssetKey("raw"), law.name) for law in assets[0].table.all_laws]
    latest = space.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    targets = [record.evaluation and record.evaluation.target_materialization_data for record in latest.values()]
    assert made.run_id == run.run_id
    assert [target and target.storage_id for target in targets] == [made.storage_id] * len(keys)


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
            wait_for(lambda: page.value(f"{shows_it} || !!({link})"), PATIENCE, "the sample of dropped rows")
            page.value(f"({link})?.click()")  # a sample of several rows opens in a dialogue
            wait_for(lambda: page.value(shows_it), PATIENCE, "the sample to open")
            time.sleep(2)
            shown = page.value("document.documentElement.outerHTML")
            ran = page.value("performance.getEntriesByType('resource').map(r => r.name).filter(n => n.includes('evil'))")
    finally:
        proxy.listener.close()
    assert not re.search(r"<(script|img)[^>]*evil\.example", shown)
    assert ran == []
    asked = [line for line in proxy.asked if "evil.example" in line]
    assert not asked, f"the page asked for {asked}"
