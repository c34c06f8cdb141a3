"""The whole run on the bundled data, held against the list of planted faults in data/README.md."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sft_assets.asset import warehouse
from sft_assets.definitions import STATES
from sft_assets.explain import Life, explain
from sft_assets.recipe import Methods
from sft_assets.verbs import Workspace

# one run is what all of them look at; its models are real
pytestmark = [pytest.mark.xdist_group("bundled"), pytest.mark.timeout(1800)]
DATA = Path(__file__).parents[1] / "data"


class Fault(NamedTuple):
    file: str
    position: str
    what: str
    state: str
    outcome: str
    reason: str


def planted() -> list[Fault]:
    lines = (DATA / "README.md").read_text("utf-8").split("## Planted faults")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [Fault(*row) for row in rows[2:]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("bundled") / "data"
    made = shutil.ignore_patterns(".*", "sft.duckdb*", "exports", "quarantine", "map.*", "reviews.jsonl")
    shutil.copytree(DATA, folder, ignore=made)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    recipe["likelihoods"]["rows"] = recipe["judgements"]["rows"] = 1  # so few that it is over soon, for real
    recipe["embeddings"]["model"] = "static"
    methods = recipe["generations"]["methods"]
    for method in methods.values():
        method["rows"] = 1
    methods["documents"]["questions"] = 1
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    space = Workspace.open(folder)
    space.run(say=lambda _: None)
    return space


def life_of(space: Workspace, fault: Fault) -> Life:
    lives = explain(warehouse(space.folder, space.recipe), f"{fault.file}:{fault.position or 1}", STATES)
    assert len(lives) == 1
    return lives[0]


def test_the_bundled_data_has_300_rows_in_five_formats_or_more(built: Workspace) -> None:
    report = built.versions()["raw"].report
    assert report["kept"] >= 300
    with warehouse(built.folder, built.recipe).reading() as con:
        formats = con.execute("SELECT DISTINCT format FROM raw").fetchall()
    assert {f for (f,) in formats} == {"alpaca", "sharegpt", "messages", "preference", "prompts"}


@pytest.mark.parametrize("fault", planted(), ids=lambda f: f"{f.file}:{f.position}-{f.reason}")
def test_every_planted_fault_has_the_outcome_that_the_readme_promises(built: Workspace, fault: Fault) -> None:
    life = life_of(built, fault)
    steps = {step.state: step for step in life.steps}
    assert fault.state in steps, f"ended in {life.steps[-1]}"
    step = steps[fault.state]
    if fault.outcome in ("quarantined", "refused", "dropped"):
        assert (step.verdict, step.reason) == (fault.outcome, fault.reason)
    elif fault.outcome == "edited":
        assert step.verdict == "kept"
        assert fault.reason in {what for what, _ in step.edits}
    elif fault.outcome == "review":
        assert step.reason == "marked for review", step
        assert fault.reason in step.evidence["why"].split(", ")
    else:
        assert fault.outcome == "kept"
        assert step.verdict == "kept", step
        found = {name for key in ("why", "signals") for name in step.evidence.get(key, "").split(", ") if name}
        assert fault.reason not in found | {what for what, _ in step.edits}


def test_nothing_but_the_planted_faults_is_lost(built: Workspace) -> None:
    expected: dict[str, int] = {}
    for fault in planted():
        if fault.outcome in ("quarantined", "dropped"):
            expected[f"{fault.state} {fault.reason}"] = expected.get(f"{fault.state} {fault.reason}", 0) + 1
    expected["exported prompt_only"] = sum(1 for _ in (DATA / "sources" / "prompts.jsonl").open("rb"))
    found: dict[str, int] = {}
    for name in (state for state in STATES if state != "augmented"):  # which drops no row of the sources
        report = built.versions()[name].report
        for reason, n in {**report["dropped"], **report["quarantined"]}.items():
            found[f"{name} {reason}"] = n
    assert found == expected


def test_a_second_run_has_nothing_to_do(built: Workspace) -> None:
    assert Workspace.open(built.folder.root).run(say=lambda _: None) == []


def test_the_export_says_where_every_row_went(built: Workspace) -> None:
    versions: dict[str, Any] = {name: v.report for name, v in built.versions().items()}
    kept = [versions[name]["kept"] for name in STATES if name not in ("augmented", "exported")]
    assert kept == sorted(kept, reverse=True)
    for earlier, later in pairwise(STATES):
        assert versions[later]["in"] == versions[earlier]["kept"]


def test_the_embedded_models_have_scored_rows_and_say_that_they_are_for_show(built: Workspace) -> None:
    with warehouse(built.folder, built.recipe).reading() as con:
        judged = con.execute("SELECT DISTINCT model, count(*) FROM judgements GROUP BY 1").fetchall()
        likely = con.execute("SELECT status, count(*), min(ifd) > 0 FROM likelihoods GROUP BY 1").fetchall()
        models = con.execute("SELECT DISTINCT judge_model FROM scored WHERE judge_model IS NOT NULL").fetchall()
    assert judged == [("embedded (demo grade)", 1)]
    assert likely == [("scored", 1, True)]
    assert models in ([("embedded (demo grade)",)], [])  # a tiny judge may fail to give a score


def test_every_method_made_something_for_real_and_each_row_is_there_or_says_why_not(built: Workspace) -> None:
    versions = built.versions()
    methods, augmented = versions["generations"].report["methods"], versions["augmented"].report
    assert set(methods) == set(Methods.model_fields)
    assert all(method["tried"] == 1 and method["candidates"] >= 1 and method["requests"] >= 1 for method in methods.values())
    made = versions["generations"].report["kept"]
    assert augmented["created"] == made == augmented["accepted"] + sum(augmented["dropped"].values())
    assert augmented["kept"] == augmented["in"] + augmented["accepted"]
    with warehouse(built.folder, built.recipe).reading() as con:
        ((models,),) = con.execute("SELECT list(DISTINCT model) FROM generations").fetchall()
    assert models == ["embedded (demo grade)"]


def test_every_row_that_stays_has_a_named_topic_and_a_description(built: Workspace) -> None:
    report = built.versions()["clustered"].report
    assert report["topics"] > 1
    assert report["rows_without_topic"] == 0
    with warehouse(built.folder, built.recipe).reading() as con:
        names = con.execute("SELECT topic_id, list(DISTINCT topic_name) FROM clustered GROUP BY 1").fetchall()
        styles = con.execute("""
            SELECT count(*) FROM clustered
            WHERE (style_length IS NULL AND kind != 'prompt') OR style_question IS NULL
        """).fetchall()
    assert len({name for _, (name,) in names}) == len(names) == report["topics"]
    assert styles == [(0,)]


def test_the_map_shows_what_stayed_and_what_was_dropped(built: Workspace) -> None:
    versions = built.versions()
    states = versions["map"].report["rows_by_state"]
    assert states.get("kept", 0) + states.get("review", 0) == versions["clustered"].report["kept"]
    for name in ("deduped", "decontaminated", "scored"):
        assert states[name] == sum(versions[name].report["dropped"].values())
    assert versions["map"].report["without_a_place"] == 0
    assert built.folder.map.read_text("utf-8").startswith("<!doctype html>")
    assert built.folder.map.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
