"""The command line as people use it: what it prints, and that errors are sentences."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sft_assets import cli
from sft_assets.definitions import ASSETS
from tests.conftest import NO_MODELS

pytestmark = pytest.mark.xdist_group("cli")  # one run is what most of them look at
Sft = Callable[..., tuple[int, str, str]]


ROWS = [
    {"instruction": "Name a river that flows through Vienna.", "output": "The Danube flows through Vienna."},
    {"instruction": "Name a river that flows  through Vienna.", "output": "The Danube flows through Vienna."},
    {"instruction": "Write to me at once.", "output": "Write to jane.doe@mailbox-post.net, she knows."},
    {"instruction": "Tell me about your maker, please.", "output": "I am ChatGPT, a language model trained by OpenAI."},
    {"instruction": "Say nothing.", "output": ""},
    {"instruction": "How many moons does the planet Mars have in all?", "output": "Two: Phobos and Deimos."},
]


RECIPE = "raw: {max_quarantined: 50}\n" + "".join(f"{name}: {json.dumps(section)}\n" for name, section in NO_MODELS.items())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "my data"
    environment = dict(os.environ)
    try:
        sys.argv = ["sft", "init", str(path)]
        with pytest.raises(SystemExit):
            cli.main()
        (path / "sources" / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS) + '{"instruction": "cut\n')
        (path / "recipe.yaml").write_text(RECIPE)
        (path / "benchmarks" / "moons.jsonl").write_text(
            '{"question": "How many moons does the planet Mars have in all?", "answer": "2"}\n'
        )
        sys.argv = ["sft", "run", "--data", str(path)]
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return path


def test_a_new_folder_says_what_to_do_next(sft: Sft, tmp_path: Path) -> None:
    code, out, _ = sft("init", str(tmp_path / "fresh"))
    assert code == 0
    assert "sft run --data" in out
    assert {p.name for p in (tmp_path / "fresh").iterdir()} >= {"sources", "benchmarks", "recipe.yaml", "dagster.yaml"}
    (tmp_path / "fresh" / "recipe.yaml").write_text("deduped: {threshold: 0.5}\n")
    sft("init", str(tmp_path / "fresh"))
    assert "0.5" in (tmp_path / "fresh" / "recipe.yaml").read_text()


def test_the_plan_of_a_new_folder_is_everything(sft: Sft, tmp_path: Path) -> None:
    sft("init", str(tmp_path / "fresh"))
    _, out, _ = sft("plan", "--data", str(tmp_path / "fresh"))
    assert out.count("never materialized") == len(ASSETS)


def test_nothing_stale_is_said(sft: Sft, data: Path) -> None:
    assert sft("plan", "--data", str(data))[1].strip() == "nothing is stale"


def test_a_run_ends_with_the_funnel_and_where_export_report_and_map_are_stale_or_not(sft: Sft, data: Path) -> None:
    lines = sft("run", "--data", str(data))[1].splitlines()
    assert "nothing is stale" in lines
    assert any(line.startswith("exported ") for line in lines)
    places = {line[:8].strip(): line[8:] for line in lines if line.startswith(("export ", "report ", "map "))}
    assert places["report"].endswith("/report.html") and places["map"].endswith("/map.html")
    assert "/exports/" in places["export"]
    assert all(Path(place).exists() for place in places.values())


def test_status_shows_the_funnel_with_reasons(sft: Sft, data: Path) -> None:
    code, out, _ = sft("status", "--data", str(data))
    assert code == 0
    for word in (
        "raw",
        "invalid_json 1",
        "empty_answer 1",
        "exact_duplicate 1",
        "benchmark_item 1",
        "exported",
        "nothing is stale",
    ):
        assert word in out or word.replace("invalid_json", "truncated") in out


def test_plan_names_the_cause_and_what_may_follow(sft: Sft, data: Path) -> None:
    recipe = (data / "recipe.yaml").read_text()
    try:
        (data / "recipe.yaml").write_text(recipe + "deduped: {threshold: 0.9}\n")
        _, out, _ = sft("plan", "--data", str(data))
    finally:
        (data / "recipe.yaml").write_text(recipe)
    lines = out.splitlines()
    assert any(line.startswith("deduped") and "recipe" in line for line in lines)
    assert any(line.startswith("exported") and "may follow" in line for line in lines)
    assert not any(line.startswith("combined") for line in lines)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("rows.jsonl:1", ["exported", "Danube"]),
        ("rows.jsonl:2", ["dropped", "exact_duplicate", "rows.jsonl:1", "the row that stayed"]),
        ("rows.jsonl:3", ["masked_email", "<EMAIL>", "exported"]),
        ("rows.jsonl:4", ["marked for review", "other_assistant_identity"]),
        ("rows.jsonl:5", ["quarantined", "empty_answer"]),
        ("rows.jsonl:6", ["dropped", "benchmark_item", "moons"]),
        ("rows.jsonl:7", ["quarantined", "sha256"]),
        ("sources/rows.jsonl:7", ["quarantined"]),
    ],
)
def test_explain_tells_the_life_of_a_row(sft: Sft, data: Path, place: str, words: list[str]) -> None:
    code, out, _ = sft("explain", place, "--data", str(data))
    assert code == 0
    for word in words:
        assert word in out
    assert "mailbox-post" not in out


def test_an_id_may_be_shortened(sft: Sft, data: Path) -> None:
    _, out, _ = sft("explain", "rows.jsonl:1", "--data", str(data))
    row_id = out.split()[0]
    _, shorter, _ = sft("explain", row_id[:8], "--data", str(data))
    assert shorter == out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["explain", "zzzz"], "neither a row id"),
        (["explain", "ab"], "4 to 32 hex digits"),
        (["explain", "00000000"], "nothing is called"),
        (["explain", "rows.jsonl:99"], "nothing is called"),
        (["explain", "rows.jsonl:x"], "position"),
        (["run", "dedupt"], "did you mean 'deduped'"),
    ],
)
def test_wrong_arguments_are_answered_with_the_right_ones(sft: Sft, data: Path, args: list[str], said: str) -> None:
    code, out, err = sft(*args, "--data", str(data))
    assert code == 1
    assert said in err
    assert "Traceback" not in out + err


def test_a_folder_that_is_not_there_is_answered_with_the_way_to_make_it(sft: Sft, tmp_path: Path) -> None:
    for verb in ("plan", "run", "status"):
        code, _, err = sft(verb, "--data", str(tmp_path / "nowhere"))
        assert code == 1
        assert "sft init" in err


def test_a_recipe_error_names_file_and_line(sft: Sft, data: Path) -> None:
    recipe = (data / "recipe.yaml").read_text()
    try:
        (data / "recipe.yaml").write_text("raw: {max_quarantined: 50}\ndeduped:\n  treshold: 0.9\n")
        code, _, err = sft("run", "--data", str(data))
    finally:
        (data / "recipe.yaml").write_text(recipe)
    assert code == 1
    assert "recipe.yaml:3" in err.replace("\n", "")
    assert "did you mean 'threshold'" in err


def test_search_shows_rows_with_what_became_of_them(sft: Sft, data: Path) -> None:
    code, out, _ = sft("search", "planet Mars", "--data", str(data), "--rows", "1")
    assert code == 0
    assert "moons" in out
    assert "decontaminated" in out
    assert "Danube" not in out


def test_explore_names_the_map_that_a_run_has_made(sft: Sft, data: Path) -> None:
    code, out, _ = sft("explore", "--data", str(data), "--no-open")
    assert code == 0
    assert Path(out.strip().removeprefix("the map is ")).read_text("utf-8").startswith("<!doctype html>")


def test_a_full_disk_is_said_in_a_sentence_wherever_it_stands_in_the_chain_of_causes(
    sft: Sft, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the event could not be stored") from error

    monkeypatch.setattr(cli, "_workspace", full)
    code, out, err = sft("plan", "--data", str(data))
    assert code == 1
    assert "disk is full" in err
    assert "Traceback" not in out + err


@pytest.mark.timeout(60)  # it would last for ever
def test_an_error_whose_chain_of_causes_leads_back_into_itself_is_raised_as_it_is(
    sft: Sft, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ValueError("one"), KeyError("other")
    first.__context__, second.__context__ = second, first

    def round_and_round(*_: object) -> None:
        raise first

    monkeypatch.setattr(cli, "_workspace", round_and_round)
    with pytest.raises(ValueError, match="one"):
        sft("plan", "--data", str(data))
