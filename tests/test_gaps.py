"""gaps: which rows are missing, in whole rows, and what `sft gaps` says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from sft_assets import cli, show, verbs
from sft_assets.arrow import uuids
from sft_assets.augmented.gaps.asset import gaps
from sft_assets.augmented.gaps.targets import shares_of, targets_of, whole
from sft_assets.augmented.generations import asset as generations
from sft_assets.clustered.asset import TABLE as CLUSTERED_TABLE
from sft_assets.errors import LawBroken, SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message
from sft_assets.show import console
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.build import Build, Table
from tests.conftest import build, say
from tests.made_rows import chat, fill, hash_of, id_of, make, query


def counts(*topics: dict[tuple[int, int, int, int], int], languages: int = 2) -> np.ndarray[Any, Any]:
    """Rows by topic; of each topic by its (difficulty, length, language, turns)."""
    made = np.zeros((len(topics), 3, 3, languages, 2))
    for number, cells in enumerate(topics):
        for cell, n in cells.items():
            made[(number, *cell)] = n
    return made


def by(axis: int, cells: np.ndarray[Any, Any]) -> list[float]:
    return [float(n) for n in cells.sum(axis=tuple(other for other in range(5) if other != axis))]


EASY, HARD, GERMAN, MULTI = (0, 0, 0, 0), (2, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
THREE = counts({EASY: 700, HARD: 200}, {EASY: 40, MULTI: 40}, {EASY: 4, GERMAN: 16})

# ----------------------------------------------------------------------------------------------------------- flat tail


def test_each_topic_is_raised_to_the_quantile_and_none_is_lowered() -> None:
    found = targets_of(THREE, tail=0.5, share=1)
    assert by(0, found.target) == pytest.approx([900, 80, 80])
    assert by(0, found.missing) == [0, 0, 60]
    assert by(0, targets_of(THREE, tail=1, share=10).missing) == [0, 820, 880]


def test_without_a_tail_and_targets_nothing_is_missing() -> None:
    found = targets_of(THREE, tail=0, share=1)
    assert found.lack == 0 and not found.missing.any()
    assert (found.target == THREE).all()


def test_new_rows_of_a_topic_are_as_its_own_and_in_its_languages() -> None:
    small = counts({EASY: 900, HARD: 100}, {GERMAN: 3}, {HARD: 500, EASY: 500})
    found = targets_of(small, tail=0.5, share=1)
    assert by(3, found.missing[1:2]) == [0, found.missing.sum()]  # the others speak no German
    mixed = counts({EASY: 900, HARD: 100}, {HARD: 3}, {EASY: 1000}, {HARD: 100})
    easy = [float(targets_of(mixed, tail=1, share=9).missing[t, 0].sum() / 1000) for t in (1, 3)]
    assert 0.5 < easy[0] < 0.95  # of three rows little can be told: mostly as all rows are
    assert easy[1] < 0.15  # of a hundred enough


# ------------------------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize(
    "marginals", [{1: [0.3, 0.2, 0.5]}, {3: [0.5, 0.5]}, {1: [0.3, 0.2, 0.5], 2: [0.4, 0.3, 0.3], 3: [0.7, 0.3], 4: [0.8, 0.2]}]
)
def test_the_targets_have_the_shares_that_are_asked_for_within_rounding(marginals: dict[int, list[float]]) -> None:
    found = targets_of(THREE, tail=0.5, share=10, marginals={axis: np.array(shares) for axis, shares in marginals.items()})
    for axis, shares in marginals.items():
        assert by(axis, found.target) == pytest.approx([share * found.target.sum() for share in shares], rel=1e-6)
        lacks = np.maximum(found.target - THREE, 0)
        assert np.abs(np.array(by(axis, found.missing)) - by(axis, lacks)).max() <= 3
        after = np.array(by(axis, THREE + found.missing))
        assert np.abs(after / after.sum() - shares).max() < np.abs(np.array(by(axis, THREE)) / THREE.sum() - shares).max() / 3
    assert by(0, found.target) == pytest.approx(np.array([900, 80, 80]) * found.target.sum() / 1060)


def test_shares_that_hold_already_ask_for_nothing() -> None:
    has = {axis: np.array(by(axis, THREE)) / THREE.sum() for axis in (1, 2, 3, 4)}
    found = targets_of(THREE, tail=0, share=1, marginals=has)
    assert not found.missing.any()


def test_a_value_that_nobody_has_is_asked_of_every_topic() -> None:
    flat = counts({EASY: 500}, {EASY: 300, HARD: 100}, {EASY: 100}, languages=3)
    found = targets_of(flat, tail=0, share=10, marginals={3: np.array([0.8, 0.0, 0.2])})
    assert by(3, found.target)[2] == pytest.approx(0.2 * found.target.sum())
    in_language = found.missing[:, :, :, 2].sum(axis=(1, 2, 3))
    assert in_language.tolist() == pytest.approx([125, 100, 25], abs=1)
    assert found.missing[1, 2, 0, 2, 0] == pytest.approx(25, abs=1)  # hard where the topic is


def test_topics_have_their_shares_when_what_is_missing_has_come() -> None:
    found = targets_of(THREE, tail=0, share=10, topic_shares={2: 0.25})
    after = np.array(by(0, THREE + found.missing))
    assert after / after.sum() == pytest.approx([0.75 * 0.918, 0.75 * 0.082, 0.25], abs=0.002)


def test_what_is_missing_is_a_share_of_the_rows_at_most_and_all_topics_lack_in_proportion() -> None:
    whole_lack = targets_of(THREE, tail=1, share=10)
    found = targets_of(THREE, tail=1, share=0.1)
    assert found.missing.sum() == 100 and whole_lack.missing.sum() == found.lack == 1700
    assert by(0, found.missing) == pytest.approx(np.array(by(0, whole_lack.missing)) / 17, abs=1)
    assert targets_of(THREE, tail=1, share=0).missing.sum() == 0


def test_a_weak_task_raises_its_topic_by_the_factor() -> None:
    found = targets_of(THREE, tail=0, share=10, factors=[1, 1.5, 1])
    assert by(0, found.target) == pytest.approx([900, 120, 20])
    assert by(0, found.missing) == [0, 40, 0]


def test_what_is_not_named_shares_the_rest_by_its_rows() -> None:
    assert shares_of({0: 0.4}, np.array([1.0, 30, 10])).tolist() == pytest.approx([0.4, 0.45, 0.15])
    assert shares_of({0: 0.4}, np.zeros(3)).tolist() == pytest.approx([0.4, 0.3, 0.3])
    assert shares_of({0: 0.4, 1: 0.4}, np.ones(2)).tolist() == [0.5, 0.5]  # nobody is there to take the rest
    assert shares_of({0: 1.0}, np.ones(2)).tolist() == [1, 0]


# ------------------------------------------------------------------------------------------------------- whole numbers


def test_topics_that_lack_one_row_each_do_not_all_lack_the_usual_kind() -> None:
    exact = np.tile(counts({EASY: 60, HARD: 25, MULTI: 15}) / 100, (100, 1, 1, 1, 1))
    missing = whole(exact, 100)
    assert by(0, missing) == [1] * 100
    assert [missing[(slice(None), *cell)].sum() for cell in (EASY, HARD, MULTI)] == pytest.approx([60, 25, 15], abs=1)


tables = st.integers(1, 5).flatmap(
    lambda topics: st.lists(st.integers(0, 40), min_size=topics * 36, max_size=topics * 36).map(
        lambda cells: np.array(cells, np.float64).reshape(topics, 3, 3, 2, 2)
    )
)


@given(
    tables.filter(lambda table: bool((table.sum(axis=(1, 2, 3, 4)) > 0).all())),
    st.floats(0, 1),
    st.floats(0, 3),
    st.dictionaries(st.sampled_from([1, 2, 4]), st.floats(0.01, 0.9), max_size=3),
    st.floats(1, 3),
    st.none() | st.floats(0, 1),
)
def test_whatever_is_asked_the_sums_are_right(
    table: Any, tail: float, share: float, named: dict[int, float], factor: float, topic: float | None
) -> None:
    marginals = {axis: shares_of({1: part}, np.array(by(axis, table))) for axis, part in named.items()}
    factors = np.ones(len(table))
    factors[0] = factor
    asked = None if topic is None else {0: topic}
    found = targets_of(table, tail, share, asked, factors, marginals)
    again = targets_of(table.copy(), tail, share, asked, factors, marginals)
    assert (found.missing == again.missing).all() and (found.target == again.target).all()
    assert found.missing.min() >= 0 and found.target.min() >= 0 and np.isfinite(found.target).all()
    assert found.missing.sum() <= share * table.sum() + 1e-6
    assert found.missing.sum() == min(round(found.lack), int(share * table.sum() + 1e-9))
    assert (found.missing <= np.ceil(np.maximum(found.target - table, 0) + 1e-6)).all()
    if asked is None:
        assert found.target.sum() >= table.sum() * (1 - 1e-9)
        assert (np.array(by(0, found.target)) >= np.array(by(0, table)) * (1 - 1e-6)).all()


# ---------------------------------------------------------------------------------------------------------- the asset


CLUSTERED = dataclasses.replace(CLUSTERED_TABLE, after="decontaminated", laws=())
TOPICS = {1: ("cost, apples", "numbers"), 2: ("court, appeal", "law"), None: (None, None)}


def cluster(folder: Folder, rows: list[tuple[Conversation, int | None, str]], language: str | None = "en") -> None:
    """Rows as `clustered` has them: each with its topic and difficulty."""
    fill(folder, [row for row, _, _ in rows])
    conversations = [row for row, _, _ in rows]
    columns = {
        "row_id": uuids(map(id_of, conversations)),
        "content_hash": uuids(map(hash_of, conversations)),
        "topic_id": pa.array([topic for _, topic, _ in rows], pa.int32()),
        "topic_name": pa.array([TOPICS[topic][0] for _, topic, _ in rows], pa.string()),
        "topic_group_name": pa.array([TOPICS[topic][1] for _, topic, _ in rows], pa.string()),
        "style_turns": pa.array([sum(m.role in ("user", "assistant") for m in c.messages) for c in conversations], pa.int32()),
        "style_length": pa.array(["short"] * len(rows), pa.string()),
        "style_language": pa.array([language] * len(rows), pa.string()),
        "style_difficulty": pa.array([difficulty for *_, difficulty in rows], pa.string()),
    }
    with Warehouse(folder.database).writing() as con, Build.begin(con, CLUSTERED, "1", {"decontaminated": "1"}) as build:
        build.insert(pa.table(columns))


def several(n: int, topic: int | None, difficulty: str = "easy", **more: Any) -> list[tuple[Conversation, int | None, str]]:
    return [(chat(f"{topic} {difficulty} {i}?", "So.", **more), topic, difficulty) for i in range(n)]


def built(folder: Folder, **section: Any) -> Version:
    return make(folder, gaps, gaps=section)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "evaluations").mkdir()
    return Folder.at(tmp_path)


def test_the_cells_hold_the_sft_rows_and_what_the_small_topic_lacks(folder: Folder) -> None:
    cluster(folder, [*several(30, 1), *several(10, 2, "hard"), *several(5, 1, kind="prompt"), *several(2, None)])
    version = built(folder, tail=1, share=1)
    assert query(folder, "SELECT topic_name, difficulty, rows, missing FROM gaps WHERE rows > 0 ORDER BY rows DESC") == [
        ("cost, apples", "easy", 30, 0),
        ("court, appeal", "hard", 10, 12),  # of 20: its own ten rows say all hard, ten that stand for all rows a quarter
        (None, "easy", 2, 0),  # nobody could place a new one
    ]
    assert query(folder, "SELECT DISTINCT length, language, turns, tasks FROM gaps") == [("short", "en", "single", [])]
    report = version.report
    assert (report["rows"], report["missing"], report["lack"], report["tail_rows"]) == (42, 20, 20, 30)
    assert report["by_topic"][0] == {
        "topic": "court, appeal", "group": "law", "before": 10, "target": 30, "missing": 20, "tasks": [],
    }  # fmt: skip
    assert report["by_difficulty"]["hard"] == {"before": 10, "target": 22.5, "missing": 12}


def test_turns_are_those_of_the_user(folder: Folder) -> None:
    call = [
        Message("user", "Time?"),
        Message("assistant", "", tool_calls="[]"),
        Message("tool", "9"),
        Message("assistant", "9."),
    ]
    more = [*call[:3], Message("assistant", "", tool_calls="[1]"), *call[2:]]
    rows = [Conversation(call), Conversation(more), chat("A?", "B."), chat("A?", "B.", "C?", "D.")]
    cluster(folder, [(row, 1, "easy") for row in rows])
    built(folder)
    assert query(folder, "SELECT turns, rows FROM gaps ORDER BY ALL") == [("multi", 1), ("single", 3)]


def test_a_weak_task_is_named_in_the_cells_that_it_raised(folder: Folder) -> None:
    cluster(folder, [*several(30, 1), *several(30, 2)])
    (folder.evaluations / "own.csv").write_text("task,score,topic\nbar_exam,0.25,law\nsums,0.9,numbers\nhums,0.1,\n")
    version = built(folder, share=1)
    assert query(folder, "SELECT topic_id, target, missing, tasks FROM gaps ORDER BY topic_id") == [
        (1, 30.0, 0, []),
        (2, 45.0, 15, ["bar_exam"]),
    ]
    (weak, lost) = version.report["weak_tasks"]
    assert weak == {
        "task": "bar_exam", "score": 0.25, "metric": "score", "file": "own.csv:2", "topics": ["court, appeal"],
        "topics_by": "table",
    }  # fmt: skip
    assert lost["task"] == "hums" and version.report["tasks_without_topic"] == ["hums"] and version.report["tasks"] == 3


def test_a_language_that_no_row_has_can_be_asked_for(folder: Folder) -> None:
    cluster(folder, [*several(40, 1), *several(40, 2)], language=None)
    version = built(folder, share=1, targets={"language": {"de": 0.2}, "turns": {"multi": 0.0}})
    assert query(folder, "SELECT topic_id, language, missing FROM gaps WHERE missing > 0 ORDER BY topic_id") == [
        (1, "de", 10),
        (2, "de", 10),
    ]
    assert version.report["by_language"]["none"] == {"before": 80, "target": 80, "missing": 0}


@pytest.mark.parametrize("n", [0, 1, 7])
def test_few_rows_or_no_topics_are_no_error(folder: Folder, n: int) -> None:
    cluster(folder, several(n, None))
    version = built(folder, tail=1, share=1)
    assert (version.report["rows"], version.report["missing"]) == (n, 0)
    assert query(folder, "SELECT topic_id, rows FROM gaps") == ([(None, n)] if n else [])
    version = built(folder, share=1, targets={"difficulty": {"hard": 0.5}})
    assert version.report["missing"] == n
    assert query(folder, "SELECT difficulty, missing FROM gaps WHERE missing > 0") == ([("hard", n)] if n else [])


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"targets": {"difficulty": {"harder": 0.5}}}, "gaps.targets.difficulty: there is no 'harder'; did you mean 'hard'?"),
        ({"targets": {"turns": {"two": 0.5}}}, "gaps.targets.turns: there is no 'two'; known here: single, multi"),
        (
            {"targets": {"topic": {"courts, appeal": 0.5}}},
            "gaps.targets.topic: there is no topic or group 'courts, appeal' among",
        ),
        ({"tasks": {"a": "laws"}}, "gaps.tasks: there is no topic or group 'laws' among the rows; did you mean 'law'?"),
    ],
)
def test_a_name_that_there_is_not_is_told_with_those_that_there_are(folder: Folder, section: Any, said: str) -> None:
    cluster(folder, [*several(3, 1), *several(3, 2)])
    with pytest.raises(SftError) as error:
        built(folder, **section)
    assert f"{folder.recipe}: {said}" in str(error.value)


def test_topics_are_asked_for_where_there_are_none(folder: Folder) -> None:
    cluster(folder, several(3, None))
    with pytest.raises(SftError, match=r"gaps\.targets\.topic: there is no topic at all: embeddings\.model is null"):
        built(folder, targets={"topic": {"law": 0.5}})


def test_the_laws_catch_a_row_that_is_in_no_cell(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(folder, several(3, 1))
    insert = Build.insert
    monkeypatch.setattr(Build, "insert", lambda self, batch: insert(self, batch.slice(0, 0)))
    with pytest.raises(LawBroken, match="every_row_is_in_a_cell"):
        built(folder)


def test_another_mix_changes_nothing_but_the_gaps(folder: Folder) -> None:
    cluster(folder, [*several(30, 1), *several(10, 2)])
    one, same, other = built(folder), built(folder), built(folder, tail=1)
    assert one.data_version == same.data_version != other.data_version


# ----------------------------------------------------------------------------------------------------------- sft gaps


def opened(folder: Folder) -> verbs.Workspace:
    """The folder without Dagster, which nothing of this asks."""
    nothing: Any = None
    return verbs.Workspace(folder, Recipe.load(folder.recipe), nothing, nothing)


def shown(folder: Folder, every: bool = False) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "out", Console(highlight=False, width=160))
        with console.out.capture() as captured:
            show.gaps(verbs.gaps(opened(folder)), every)
    return " ".join(captured.get().split())


def test_the_cells_that_lack_most_are_shown_with_the_reason(folder: Folder) -> None:
    cluster(folder, [*several(30, 1), *several(20, 2), *several(10, 2, "hard")])
    (folder.evaluations / "own.csv").write_text("task,score,topic\nbar_exam,0.25,law\n")
    say(folder, gaps={"tail": 1, "share": 0.2})
    with pytest.raises(SftError, match="gaps is not built yet: `sft run gaps`"):
        verbs.gaps(opened(folder))
    build(folder, gaps)
    out = shown(folder)
    assert "court, appeal easy short en single 20 30.6 9 bar_exam court, appeal hard short en single 10 14.4 3 bar_exam" in out
    assert "cost, apples" not in out and "cost, apples" in shown(folder, every=True)
    assert "12 rows are missing in 2 cells, of the 15 that the targets ask for (gaps.share); there are 60" in out
    assert "what it would cost to fill them: known once" in out and "by now" not in out
    say(folder, gaps={"tail": 1, "share": 0.1})
    assert "others by now: `sft run gaps`" in shown(folder)


def test_what_it_would_cost_is_told_by_method(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(folder, [*several(30, 1), *several(10, 2)])
    say(folder, gaps={"tail": 1, "share": 1})
    build(folder, gaps)
    with Warehouse(folder.database).writing() as con:
        for name in set(generations.generations.deps) - {"clustered", "gaps", "combined"}:
            with Build.begin(con, Table(name, {"row_id": "UUID"}, is_state=False), "1", {}):
                pass
    assert "no method is named: say generations.methods" in shown(folder)
    made = [generations.MethodCost("self_instruct", "a-model", 30, 60, 12_345, 0.25)]
    monkeypatch.setattr(generations, "costs", lambda evidence, folder, recipe: made)
    assert "self_instruct a-model 30 60 12,345 0.25" in shown(folder)


def test_no_gap_is_said_on_the_command_line(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(folder, several(3, 1))
    build(folder, gaps)
    monkeypatch.setenv("SFT_DATA", "")  # the command sets it
    done = CliRunner().invoke(cli.app, ["gaps", "--data", str(folder.root)])
    assert (done.exit_code, done.output) == (0, "there is no gap: no cell of the 3 rows lacks one\n")
