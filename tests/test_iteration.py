"""An iteration: what a change of files or of the recipe makes run again, and where the wave stops."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest

from sft_assets import reviews, verbs
from sft_assets.asset import Asset, state, warehouse
from sft_assets.automation import JOB, WATCHES, sensor
from sft_assets.definitions import ASSETS, STATES, definitions
from sft_assets.errors import SftError
from sft_assets.explain import explain
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import observe
from sft_assets.verbs import QUIET, Workspace
from sft_assets.warehouse.build import Build, Law, Table
from tests.conftest import NO_MODELS

EVERYTHING = [a.name for a in ASSETS]
TOPICS = ("rivers", "bridges", "violins", "glaciers", "ports", "orchards", "mines", "theatres", "kites", "lighthouses")


def row(i: int) -> dict[str, str]:
    topic, other = TOPICS[i % 10], TOPICS[(i // 10 + 3) % 10]
    return {
        "instruction": f"Explain in a few sentences how {topic} shaped the towns near {other} in century {i}.",
        "input": "",
        "output": f"In century {i} the {topic} drew people, trade and builders; the {other} followed, as number {i * 7} tells.",
    }


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose first run is done."""
    folder = verbs.init(tmp_path_factory.mktemp("iteration") / "data")
    folder.recipe.write_text(json.dumps(NO_MODELS), "utf-8")
    write(folder.sources / "first.jsonl", [row(i) for i in range(30)])
    (folder.benchmarks / "test.jsonl").write_text(
        '{"question": "How many tiles lie on the roof of the old customs house in Varna?", "answer": "9"}\n'
    )
    assert sorted(Workspace.open(folder.root).run(say=lambda _: None)) == sorted(EVERYTHING)
    return folder.root


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Folder:
    """A copy of it (Dagster's storage included)."""
    shutil.copytree(finished, tmp_path / "data", symlinks=True)
    return Folder.at(tmp_path / "data")


def run(folder: Folder) -> list[str]:
    return Workspace.open(folder.root).run(say=lambda _: None)


def materializations(folder: Folder) -> int:
    instance = Workspace.open(folder.root).instance
    return sum(len(instance.fetch_materializations(dg.AssetKey(name), limit=1000).records) for name in EVERYTHING)


def test_a_first_run_makes_everything(finished: Path) -> None:
    assert set(Workspace.open(finished).versions()) == set(EVERYTHING)


def test_nothing_is_stale_after_a_run_and_nothing_runs(folder: Folder) -> None:
    before = materializations(folder)
    assert Workspace.open(folder.root).plan() == {}
    assert run(folder) == []
    assert materializations(folder) == before


def test_a_touched_file_makes_nothing_stale(folder: Folder) -> None:
    later = time.time() + 100
    os.utime(folder.sources / "first.jsonl", (later, later))
    assert Workspace.open(folder.root).plan() == {}


def test_reordered_rows_run_raw_again_and_stop_there(folder: Folder) -> None:
    write(folder.sources / "first.jsonl", [row(i) for i in reversed(range(30))])
    assert run(folder) == ["raw", "report"]  # which tells of files, too
    assert run(folder) == []


def test_an_appended_duplicate_stops_at_deduped_and_is_put_on_the_map(folder: Folder) -> None:
    write(folder.sources / "first.jsonl", [row(i) for i in range(30)] + [row(4)])
    assert run(folder) == ["raw", "combined", "deduped", "generation_checks", "map", "augmented", "report"]


ALL_THAT_ROWS_REACH = [
    "raw", "combined", "deduped", "contamination_candidates", "decontaminated", "descriptors", "rule_hits",
    "contamination_judgements", "embeddings", "judgements", "likelihoods", "rewards", "scored", "clustered", "map", "gaps",
    "generations", "generation_checks", "augmented", "exported", "report",
]  # fmt: skip


def test_a_new_row_goes_through(folder: Folder) -> None:
    write(folder.sources / "second.jsonl", [row(50)])
    assert run(folder) == ALL_THAT_ROWS_REACH


def test_a_new_benchmark_stops_where_nothing_leaks(folder: Folder) -> None:
    (folder.benchmarks / "more.jsonl").write_text(
        '{"question": "Which of the seven bells of Ghent rings first on a winter morning?", "answer": "3"}\n'
    )
    assert run(folder) == [
        "benchmarks",
        "contamination_candidates",
        "decontaminated",
        "contamination_judgements",
        "generation_checks",
        "augmented",
        "report",
    ]


def test_a_changed_licence_reaches_the_export(folder: Folder) -> None:
    folder.recipe.write_text(json.dumps({**NO_MODELS, "sources": [{"path": "first.jsonl", "license": "cc-by-4.0"}]}), "utf-8")
    assert "exported" in run(folder)
    assert "cc-by-4.0" in (folder.exports / "latest" / "README.md").read_text("utf-8")


def test_explain_names_the_place_where_a_row_stands_now(folder: Folder) -> None:
    row_id = life(folder, "first.jsonl:1")
    write(folder.sources / "first.jsonl", [row(i) for i in reversed(range(30))])
    run(folder)
    assert life(folder, "first.jsonl:30") == row_id


def life(folder: Folder, what: str) -> str | None:
    space = Workspace.open(folder.root)
    (found,) = explain(warehouse(folder, space.recipe), what, STATES)
    assert found.place == what
    return found.row_id


GENERATED = ["generations", "generation_checks", "generation_scores", "augmented"]
SECTIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("raw", {"max_quarantined": 30}, ["raw", "combined"]),  # combined stops at the same limit
    ("combined", {"seed": 5}, ["combined"]),
    ("deduped", {"threshold": 0.85}, ["deduped"]),
    ("benchmarks", {"files": []}, []),
    ("contamination_candidates", {"score": 0.8}, ["contamination_candidates"]),
    ("decontaminated", {"ngram": 12}, ["decontaminated"]),
    ("rule_hits", {"skip": ["refusal"]}, ["rule_hits"]),
    ("rule_hits", {"actions": {"refusal": "review"}}, ["rule_hits"]),
    ("likelihoods", {"model": "some/model", "rows": 0}, ["likelihoods"]),
    ("judgements", {"model": "some-model", "rows": 0}, ["judgements"]),
    ("judgements", {"rows": 0, "money": 5, "minutes": 10, "calls": 1, "tokens": 1}, []),  # caps of one run
    ("rewards", {"rows": 10}, ["rewards"]),
    ("contamination_judgements", {"model": "some-model"}, ["contamination_judgements"]),
    ("scored", {"thresholds": {"ifd": {"review_above": 1.2}}}, ["scored"]),
    ("embeddings", {"model": None, "windows": 2}, ["embeddings"]),
    ("projection", {"seed": 1}, ["projection"]),
    ("topics", {"min_size": 7}, ["topics"]),
    ("topics", {"money": 5, "minutes": 10, "calls": 1, "tokens": 1}, []),
    ("clustered", {"order": ["ifd"]}, ["clustered"]),
    ("map", {"max_dropped": 7}, ["map"]),
    ("chunks", {"size": 500}, ["chunks"]),
    ("gaps", {"tail": 0.4}, ["gaps"]),
    ("generations", {"oversample": 2}, []),  # nothing is generated
    ("generations", {"money": 5, "minutes": 10, "calls": 1, "tokens": 1}, []),
    ("generations", {"methods": {"self_instruct": {}}, "model": "a-model"}, GENERATED),  # and no cell lacks rows
    ("models", {"some-model": {"concurrency": 2, "price": {"input": 1, "output": 2}}}, []),
    ("exported", {"test_share": 0.5}, ["exported"]),
    ("engine", {"memory_limit": "1GB"}, []),
]


@pytest.mark.parametrize(("section", "values", "ran"), SECTIONS, ids=[f"{s[0]}-{n}" for n, s in enumerate(SECTIONS)])
def test_a_section_of_the_recipe_makes_stale_only_the_assets_that_use_it(
    folder: Folder, section: str, values: dict[str, Any], ran: list[str]
) -> None:
    folder.recipe.write_text(json.dumps({**NO_MODELS, section: values}), "utf-8")
    ran = [*ran, "report"] if ran else []  # it shows the recipe
    assert list(Workspace.open(folder.root).plan()) == ran
    assert run(folder) == ran  # the content came out equal: nothing below ran
    assert run(folder) == []


def test_what_people_say_that_no_state_applies_is_told_in_the_report(folder: Folder) -> None:
    reviews.append(folder, [reviews.decided(UUID(int=1), UUID(int=2), "scored", "skip", "not my field", "ann", queue="q")])
    assert Workspace.open(folder.root).plan() == {"report": ["new data in reviews"]}
    assert run(folder) == ["report"]
    assert run(folder) == []


def test_a_changed_threshold_goes_on_where_the_content_changes(folder: Folder) -> None:
    folder.recipe.write_text(json.dumps({**NO_MODELS, "deduped": {"threshold": 0.3, "keep_if_numbers_differ": False}}), "utf-8")
    ran = run(folder)
    assert ran[0] == "deduped"
    assert "exported" in ran
    assert "combined" not in ran


def test_named_assets_bring_their_stale_ancestors_and_nothing_below(folder: Folder) -> None:
    write(folder.sources / "second.jsonl", [row(51)])
    space = Workspace.open(folder.root)
    assert space.run(["deduped"], say=lambda _: None) == ["raw", "combined", "deduped"]
    assert list(space.plan()) == [
        "contamination_candidates",
        "decontaminated",
        "generation_checks",
        "map",
        "augmented",
        "exported",
        "report",
    ]


def test_again_forces_the_named_asset_only(folder: Folder) -> None:
    assert Workspace.open(folder.root).run(["deduped"], again=True, say=lambda _: None) == ["deduped"]
    assert run(folder) == []


def test_an_unknown_asset_is_answered_with_the_right_name(folder: Folder) -> None:
    with pytest.raises(SftError, match="deduped"):
        Workspace.open(folder.root).run(["dedupt"], say=lambda _: None)


def test_a_deleted_database_is_rebuilt_to_the_same_data(folder: Folder) -> None:
    before = {n: v.data_version for n, v in Workspace.open(folder.root).versions().items()}
    folder.database.unlink()
    assert set(Workspace.open(folder.root).plan()) == set(EVERYTHING)
    run(folder)
    assert {n: v.data_version for n, v in Workspace.open(folder.root).versions().items()} == before


def test_deleted_dagster_storage_costs_no_work(folder: Folder) -> None:
    before = {n: v.number for n, v in Workspace.open(folder.root).versions().items()}
    shutil.rmtree(folder.dagster)
    run(folder)
    assert {n: v.number for n, v in Workspace.open(folder.root).versions().items()} == before


def test_a_deleted_export_is_made_again(folder: Folder) -> None:
    shutil.rmtree(folder.exports)
    assert run(folder) == ["exported", "report"]


def test_plan_writes_nothing(folder: Folder) -> None:
    write(folder.sources / "second.jsonl", [row(52)])
    space = Workspace.open(folder.root)
    seen = space.instance.fetch_observations(dg.AssetKey("source_files"), limit=100).records
    database = folder.database.read_bytes()
    assert list(space.plan()) == ["raw", "report"]
    assert len(space.instance.fetch_observations(dg.AssetKey("source_files"), limit=100).records) == len(seen)
    assert folder.database.read_bytes() == database


# -------------------------------------------------------------------------------------------------------- broken laws


def with_a_broken_law(assets: tuple[Asset, ...]) -> tuple[Asset, ...]:
    """The same graph, but deduped now promises what it does not keep."""
    result = []
    for asset in assets:
        if asset.name == "deduped":
            spec = asset.table
            law = Law("nothing_stays", "no row stays", "SELECT count(*) FROM {table}")
            table = Table(spec.name, spec.columns, spec.after, laws=(*spec.laws, law))
            asset = replace(asset, table=table, code=asset.code + 1)
        result.append(asset)
    return tuple(result)


def names_made(folder: Folder) -> dict[str, int]:
    return {n: v.number for n, v in Workspace.open(folder.root).versions().items()}


def test_a_broken_law_builds_nothing_on_it_from_the_command_line(folder: Folder) -> None:
    before = names_made(folder)
    space = Workspace.open(folder.root)
    space.defs = definitions(folder, space.recipe, with_a_broken_law(ASSETS))
    with pytest.raises(SftError, match="nothing_stays"):
        space.run(say=lambda _: None)
    assert names_made(folder) == before
    with pytest.raises(SftError, match="nothing_stays"):  # and it is not taken for done the next time
        space.run(say=lambda _: None)
    check = space.instance.event_log_storage.get_asset_check_summary_records(
        [dg.AssetCheckKey(dg.AssetKey("deduped"), "nothing_stays")]
    )
    last = next(iter(check.values())).last_check_execution_record
    assert last is not None
    assert last.status.value == "FAILED"


def test_a_broken_law_builds_nothing_on_it_from_the_ui(folder: Folder) -> None:
    """Materialize all, as the UI does it: one run over the whole job."""
    write(folder.sources / "second.jsonl", [row(60)])
    before = names_made(folder)
    space = Workspace.open(folder.root)
    defs = definitions(folder, space.recipe, with_a_broken_law(ASSETS))
    result = defs.resolve_job_def(JOB).execute_in_process(instance=space.instance, raise_on_error=False, run_config=QUIET)
    assert not result.success
    after = names_made(folder)
    assert {n for n in after if after[n] != before.get(n)} == {"raw", "combined"}
    # and later, the UI asked for what is below: it is built on the version that stands, if at all
    later = defs.resolve_job_def(JOB).execute_in_process(
        instance=space.instance, asset_selection=[dg.AssetKey("decontaminated")], raise_on_error=False, run_config=QUIET
    )
    assert later.success
    assert names_made(folder)["decontaminated"] == before["decontaminated"]


def test_a_broken_law_builds_nothing_on_it_from_the_sensor(folder: Folder) -> None:
    write(folder.sources / "second.jsonl", [row(61)])
    old = time.time() - 60
    os.utime(folder.sources / "second.jsonl", (old, old))
    before = names_made(folder)
    space = Workspace.open(folder.root)
    defs = definitions(folder, space.recipe, with_a_broken_law(ASSETS))
    request = tick(folder, space.recipe, defs, space.instance)
    assert isinstance(request, dg.SensorResult)
    assert request.run_requests
    result = defs.resolve_job_def(JOB).execute_in_process(
        instance=space.instance, asset_selection=request.run_requests[0].asset_selection, raise_on_error=False, run_config=QUIET
    )
    assert not result.success
    after = names_made(folder)
    assert {n for n in after if after[n] != before.get(n)} == {"raw", "combined"}
    again = tick(folder, space.recipe, defs, space.instance)
    assert isinstance(again, dg.SensorResult)
    # combined is done now; what is asked for is another run with another key, which fails at the same law and builds nothing
    assert all(dg.AssetKey("raw") not in (r.asset_selection or []) for r in again.run_requests or [])


# ------------------------------------------------------------------------------------------------------------- sensor


def tick(folder: Folder, recipe: Recipe, defs: dg.Definitions, instance: dg.DagsterInstance, name: str = "new_sources") -> Any:
    watch = {watch.name: watch for watch in WATCHES}[name]
    with dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def()) as context:
        result = sensor(watch, folder, recipe)(context)
    if isinstance(result, dg.SensorResult):
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
    return result


def test_the_sensor_asks_for_one_run_over_everything_affected(folder: Folder) -> None:
    space = Workspace.open(folder.root)
    quiet = tick(folder, space.recipe, space.defs, space.instance)
    assert "up to date" in str(quiet.skip_reason)
    write(folder.sources / "second.jsonl", [row(70)])
    assert "second.jsonl" in str(tick(folder, space.recipe, space.defs, space.instance).skip_message)  # still being written
    old = time.time() - 60
    os.utime(folder.sources / "second.jsonl", (old, old))
    asked = tick(folder, space.recipe, space.defs, space.instance).run_requests
    assert len(asked) == 1
    names = [k.to_user_string() for k in asked[0].asset_selection]
    assert set(names) == set(EVERYTHING) - {
        "benchmarks",
        "chunks",
    }  # in it, what is up to date when its turn comes returns at once
    space.defs.resolve_job_def(JOB).execute_in_process(
        instance=space.instance, asset_selection=asked[0].asset_selection, run_config=QUIET
    )
    assert "up to date" in str(tick(folder, space.recipe, space.defs, space.instance).skip_reason)
    assert Workspace.open(folder.root).plan() == {}


def test_a_change_made_while_the_sensor_was_off_is_seen(folder: Folder) -> None:
    space = Workspace.open(folder.root)
    write(folder.sources / "second.jsonl", [row(71)])
    old = time.time() - 60
    os.utime(folder.sources / "second.jsonl", (old, old))
    observe(folder, space.instance)  # somebody else already recorded the new version
    assert tick(folder, space.recipe, space.defs, space.instance).run_requests


def test_after_a_recipe_edit_the_sensor_asks_for_a_reload_instead_of_a_run(folder: Folder) -> None:
    space = Workspace.open(folder.root)
    folder.recipe.write_text(json.dumps({**NO_MODELS, "deduped": {"threshold": 0.9}}), "utf-8")
    for _ in range(3):
        assert "Reload definitions" in str(tick(folder, space.recipe, space.defs, space.instance).skip_message)
    reloaded = Workspace.open(folder.root)
    one_for_sources = tick(folder, reloaded.recipe, reloaded.defs, space.instance)
    assert "stale for other reasons" in str(one_for_sources.skip_reason) and "deduped" in str(one_for_sources.skip_reason)
    (asked,) = tick(folder, reloaded.recipe, reloaded.defs, space.instance, "new_recipe").run_requests
    assert asked.tags["sft/stale/deduped"] == "its section of the recipe changed"


def test_an_unusable_recipe_is_named_by_the_sensor(folder: Folder) -> None:
    space = Workspace.open(folder.root)
    folder.recipe.write_text("deduped: {treshold: 0.9}\n", "utf-8")
    assert "did you mean 'threshold'" in str(tick(folder, space.recipe, space.defs, space.instance).skip_message)


def test_a_new_kind_of_asset_needs_no_more_than_a_declaration() -> None:
    @state(Table("example", {"row_id": "UUID", "content_hash": "UUID"}, after="scored"), code=3)
    def example(build: Build, folder: Folder, recipe: Recipe) -> None:
        """What it is."""

    assert example.deps == ("scored",)
    assert example.description == "What it is."
