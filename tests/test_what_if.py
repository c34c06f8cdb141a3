"""`sft what-if` answers what a setting would do, and stores nothing."""

from __future__ import annotations

import hashlib

import pytest
from conftest import build, put, rows, say

from sft_assets import show
from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.definitions import asset_named
from sft_assets.errors import SftError
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.what_if import WhatIf, changed_recipe, is_nothing, what_if


def ask(folder: Folder, state: str, *settings: str) -> WhatIf:
    return what_if(asset_named(state), folder, changed_recipe(Recipe.load(folder.recipe), state, settings))


@pytest.fixture
def made(folder: Folder) -> Folder:
    put(
        folder,
        "a.json",
        [{"instruction": f"Question {n} about the tides", "output": f"Answer {n} is this."} for n in range(40)],
    )
    put(folder, "b.json", [{"instruction": f"Say &amp; tell {n}", "output": f"Well, {n}."} for n in range(10)])
    say(folder, sources=[{"path": "a.json"}, {"path": "b.json", "license": "mit"}])
    build(folder, raw, combined, deduped)
    return folder


def test_it_says_how_many_rows_would_go_and_which(made: Folder) -> None:
    result = ask(made, "combined", "sources.a.weight=0.5")
    now, then = result.counts["kept"]
    assert now == 50
    assert then == now - result.gone
    assert result.counts["not_sampled"] == (0, result.gone)
    assert result.came == result.changed == 0
    assert len(result.go) == 10
    assert {reason for _, reason, _ in result.go} == {"not_sampled"}
    ids = {row for (row,) in rows(made, "SELECT left(row_id::VARCHAR, 8) FROM combined WHERE source = 'a'")}
    assert {row for row, _, _ in result.go} <= ids


def test_it_is_what_the_setting_then_does(made: Folder) -> None:
    expected = ask(made, "combined", "sources.a.weight=0.5", "allowed_licenses=[mit]")
    say(
        made,
        sources=[{"path": "a.json", "weight": 0.5}, {"path": "b.json", "license": "mit"}],
        combined={"allowed_licenses": ["mit"]},
    )
    (version,) = build(made, combined)
    assert version.report["kept"] == expected.counts["kept"][1]
    assert version.report["dropped"] == {
        reason: then for reason, (_, then) in expected.counts.items() if reason != "kept" and then
    }


def test_a_repair_shows_as_edits_and_changed_rows(made: Folder) -> None:
    result = ask(made, "combined", "repairs=[html_entities]")
    assert result.edits == {"repaired_html_entities": (0, 10)}
    assert (result.gone, result.changed) == (0, 10)


def test_nothing_is_stored(made: Folder) -> None:
    def everything() -> list[object]:
        tables = [
            name for (name,) in rows(made, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store' ORDER BY 1")
        ]
        return [tables, *(rows(made, f"SELECT count(*) FROM store.{name}") for name in tables)]

    before, files = everything(), sorted(p.name for p in made.root.iterdir() if p.name != ".lock")
    sha = hashlib.sha256(made.recipe.read_bytes()).hexdigest()
    assert not is_nothing(ask(made, "combined", "sources.a.cap=1"))
    assert everything() == before
    assert sorted(p.name for p in made.root.iterdir() if p.name != ".lock") == files
    assert hashlib.sha256(made.recipe.read_bytes()).hexdigest() == sha


def test_a_setting_that_is_already_so_changes_nothing(made: Folder) -> None:
    assert is_nothing(ask(made, "combined", "seed=0"))


def test_a_state_further_down_is_asked_with_its_own_settings(made: Folder) -> None:
    result = ask(made, "deduped", "keep_if_numbers_differ=false", "threshold=0.4")
    assert result.gone > 0
    assert result.counts["near_duplicate"][1] == result.gone


def test_pairs_on_both_sides_of_a_threshold_are_shown(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]
    texts = [" ".join([*words[:keep], *(f"{w}x" for w in words[keep:])]) for keep in (100, 95, 85)]
    put(folder, "a.jsonl", [{"instruction": "Tell me.", "output": text} for text in texts])
    build(folder, raw, combined, deduped)
    for setting in ("threshold=0.7", "threshold=0.8"):
        result = ask(folder, "deduped", setting)
        assert all(float(pair["similarity"]) >= 0.7 for pair in result.samples["sample_just_above"])
        assert all(pair["text"] != pair["its text"] for pairs in result.samples.values() for pair in pairs)
    assert float(result.samples["sample_just_below"][0]["similarity"]) < 0.8
    show.what_if(result)
    shown = capsys.readouterr().out
    assert "nothing would be different" in shown
    assert "just below the cut" in shown


@pytest.mark.parametrize(
    ("state", "setting", "says"),
    [
        ("combined", "weight", "say KEY=VALUE"),
        ("combined", "repair=[crlf]", "did you mean 'repairs'"),
        ("combined", "sources.c.weight=1", "the recipe names: a, b"),
        ("combined", "sources.a=1", "say sources.NAME.FIELD=VALUE"),
        ("combined", "sources.a.weight=2", "less than or equal to 1"),
        ("deduped", "threshold=high", "threshold"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_a_sentence(made: Folder, state: str, setting: str, says: str) -> None:
    with pytest.raises(SftError, match="--set") as caught:
        ask(made, state, setting)
    assert says in str(caught.value)


def test_it_is_refused_for_what_writes_more_than_tables(made: Folder) -> None:
    with pytest.raises(SftError, match="exported is none of them"):
        what_if(exported, made, Recipe())


def test_a_state_that_was_never_built_cannot_be_compared(folder: Folder) -> None:
    put(folder, "a.json", [{"instruction": "Hi", "output": "Yo"}])
    build(folder, raw)
    with pytest.raises(SftError, match=r"combined is not yet; `sft run combined` builds it"):
        ask(folder, "combined", "seed=1")
