"""What the Dagster UI says of assets: columns and what they come from, people, freshness, jobs, why a run ran or failed."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from dagster import AssetKey

from sft_assets import verbs
from sft_assets.asset import column_lineage, column_schema
from sft_assets.automation import JOB, WATCHES
from sft_assets.columns import Column, columns
from sft_assets.definitions import ASSETS, STATES, definitions
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS
from sft_assets.verbs import QUIET, Workspace
from tests.conftest import NO_MODELS, put, rows

pytestmark = pytest.mark.xdist_group("columns")  # one run is what many of them look at
TABLES = {asset.name: asset.table for asset in ASSETS}
SEEN: dict[str, dict[str, Column]] = {a.name: {c.name: c for c in columns(a.table, TABLES)} for a in ASSETS}
READ_FROM_FILES = {"raw", "benchmarks", "chunks"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder that ran once."""
    folder = verbs.init(tmp_path_factory.mktemp("columns") / "data")
    folder.recipe.write_text(json.dumps({**NO_MODELS, "engine": {"owners": ["team:curation", "ada@example.org"]}}))
    questions = [{"instruction": f"What is {n} times {n + 1}, please?", "output": f"It is {n * (n + 1)}."} for n in range(30)]
    put(folder, "questions.json", questions)
    Workspace.open(folder.root).run(say=lambda _: None)
    return folder


# ------------------------------------------------------------------------------------------------------------ columns


@pytest.mark.parametrize("asset", SEEN)
def test_every_column_is_described(asset: str) -> None:
    assert [name for name, column in SEEN[asset].items() if not column.says] == []


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_columns_come_from_columns_of_direct_parents(asset: object) -> None:
    wrong = [
        (column.name, parent, name)
        for column in SEEN[asset.name].values()  # type: ignore[attr-defined]
        for parent, name in column.made_from
        if parent not in asset.deps or name not in SEEN[parent]  # type: ignore[attr-defined]
    ]
    assert wrong == []


def beginnings(asset: str, name: str, seen: set[tuple[str, str]]) -> set[str]:
    """The assets in which a column begins."""
    if (asset, name) in seen:
        return set()
    seen.add((asset, name))
    made_from = SEEN[asset][name].made_from
    return {asset} if not made_from else {b for parent, column in made_from for b in beginnings(parent, column, seen)}


def test_every_column_of_the_export_can_be_followed_to_what_was_read_or_asked() -> None:
    found = {name: beginnings("exported", name, set()) for name in SEEN["exported"]}
    assert all(
        "raw" in begin for name, begin in found.items() if name in ("messages", "row_id", "content_hash", "split", "source")
    )
    assert found["paraphrase_of"] == {"benchmarks"}
    assert "chunks" in found["generated_chunk"]
    # what does not begin in a file is a name that the recipe or a model gave
    others = {(name, b) for name, begin in found.items() for b in begin - READ_FROM_FILES}
    assert {b for _, b in others} <= {"rule_hits", "judgements", "generations", "combined", "generation_scores"}


def test_the_schema_is_that_of_the_view(run_folder: Folder) -> None:
    for asset in ASSETS:
        there = dict(row[:2] for row in rows(run_folder, f"SELECT column_name, column_type FROM (DESCRIBE {asset.name})"))
        assert list(there) == list(SEEN[asset.name]), asset.name


def test_dagster_has_schema_and_lineage_of_every_asset(run_folder: Folder) -> None:
    space = Workspace.open(run_folder.root)
    for asset in ASSETS:
        event = space.instance.get_latest_materialization_event(AssetKey(asset.name))
        assert event and event.asset_materialization
        lineage = event.asset_materialization.metadata["dagster/column_lineage"].value
        assert lineage == column_lineage(list(SEEN[asset.name].values()))
        spec = space.defs.resolve_asset_graph().get(AssetKey(asset.name))
        schema = spec.metadata["dagster/column_schema"]
        assert getattr(schema, "value", schema) == column_schema(list(SEEN[asset.name].values()))


# -------------------------------------------------------------------------------------------------------------- people


def test_every_asset_says_who_answers_for_it_what_it_is_and_how_fresh(run_folder: Folder) -> None:
    graph = Workspace.open(run_folder.root).defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {*INPUTS, *(a.name for a in ASSETS)}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners == ["team:curation", "ada@example.org"], key
        assert node.description and node.group_name in ("inputs", "states", "evidence") and node.kinds, key
        assert node.tags["sft/layer"] == node.group_name
        if node.is_materializable:
            assert node.freshness_policy is not None, key


@pytest.mark.parametrize("owner", ["data people", "ada@example", "team:"])
def test_a_bad_owner_is_named(folder: Folder, owner: str) -> None:
    folder.recipe.write_text(f"engine:\n  owners: ['{owner}']\n")
    with pytest.raises(SftError, match=r"recipe.yaml:2: engine.owners"):
        Recipe.load(folder.recipe)


def test_laws_read_as_checks_with_what_breaks_them(run_folder: Folder) -> None:
    space = Workspace.open(run_folder.root)
    keys = [dg.AssetCheckKey(AssetKey(a.name), law.name) for a in ASSETS for law in a.table.all_laws]
    records = space.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert set(records) == set(keys)
    for key, record in records.items():
        evaluation = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
        assert evaluation.passed and evaluation.metadata["broken by"].value == 0, key
        assert evaluation.metadata["law"].value


def test_the_funnel_and_the_reasons_are_in_the_metadata(run_folder: Folder) -> None:
    space = Workspace.open(run_folder.root)
    event = space.instance.get_latest_materialization_event(AssetKey("exported"))
    assert event and event.asset_materialization
    picture = str(event.asset_materialization.metadata["picture"].value)
    assert picture.startswith("![picture](data:image/png;base64,")
    assert len(picture) < 50_000


# ---------------------------------------------------------------------------------------------------- jobs and causes


def test_there_is_a_job_for_the_whole_for_each_state_onward_and_for_the_export(folder: Folder) -> None:
    defs = definitions(folder, Recipe())
    selected = {
        job.name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        for job in defs.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    names = [asset.name for asset in ASSETS]
    assert set(selected) == {JOB, "export", *(f"{state}_onward" for state in STATES[1:-1])}
    assert selected[JOB] == set(names)
    assert selected["export"] == {"exported", "report"}
    assert selected["scored_onward"] >= {"scored", "clustered", "augmented", "exported", "report"}
    assert not selected["scored_onward"] & {"raw", "combined", "deduped", "decontaminated", "embeddings"}


def test_there_is_a_sensor_for_every_input_and_for_the_recipe(folder: Folder) -> None:
    assert {name for watch in WATCHES for name in watch.inputs} == set(INPUTS)
    assert [watch.name for watch in WATCHES if not watch.inputs] == ["new_recipe"]
    defs = definitions(folder, Recipe())
    assert {sensor.name for sensor in defs.sensors or []} == {watch.name for watch in WATCHES}
    assert [schedule.name for schedule in defs.schedules or []] == ["nightly"]


def test_a_run_from_the_ui_says_what_was_stale_and_why(run_folder: Folder) -> None:
    put(
        run_folder,
        "more.json",
        [{"instruction": "Name the capital of Peru, please.", "output": "Lima is the capital of Peru."}],
    )
    space = Workspace.open(run_folder.root)
    run = space.defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=space.instance, run_config=QUIET)
    stored = space.instance.get_run_by_id(run.run_id)
    assert stored is not None
    causes = {name: why for name, why in stored.tags.items() if name.startswith("sft/stale/")}
    assert causes["sft/stale/raw"] == "new data in source_files"
    assert "new data in raw" in causes["sft/stale/combined"]
    assert "sft/stale/benchmarks" not in causes
    event = space.instance.get_latest_materialization_event(AssetKey("raw"))
    assert event and event.asset_materialization
    assert event.asset_materialization.metadata["why"].value == "new data in source_files"


def test_a_failure_is_explained_in_the_log_and_on_the_run(run_folder: Folder) -> None:
    before = rows(run_folder, "SELECT count(*) FROM exported")
    good = json.dumps({"instruction": "Name the capital of Chile, please.", "output": "It is Santiago."})
    put(run_folder, "broken.jsonl", f"{good}\nthis is no record\n" * 20)
    space = Workspace.open(run_folder.root)
    run = space.defs.resolve_job_def(JOB).execute_in_process(instance=space.instance, run_config=QUIET, raise_on_error=False)
    assert not run.success
    stored = space.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert "source 'broken': 20 of 40 records" in stored.tags["sft/failed/raw"]
    said = [entry.user_message for entry in space.instance.all_logs(run.run_id) if "was not made" in entry.user_message]
    assert len(said) == 1
    assert "source 'broken'" in said[0] and "still stand" in said[0] and "sft plan" in said[0]
    assert rows(run_folder, "SELECT count(*) FROM exported") == before
