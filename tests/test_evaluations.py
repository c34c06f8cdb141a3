"""Evaluations: scores of tasks out of files as people have them, and the topics that tasks are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sft_assets.augmented.gaps.asked import Topic, asked_of, places_alike
from sft_assets.augmented.gaps.evaluations import read_evaluations
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Gaps

# as lm-evaluation-harness 0.4 writes it: metric and filter in one key, a group without scores of its own, a perplexity
HARNESS = {
    "results": {
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.41,
            "exact_match_stderr,strict-match": 0.0136,
            "exact_match,flexible-extract": 0.45,
            "exact_match_stderr,flexible-extract": 0.0137,
        },
        "hellaswag": {"alias": "hellaswag", "acc,none": 0.29, "acc_stderr,none": 0.0045, "acc_norm,none": 0.31},
        "mmlu": {"alias": "mmlu", "acc,none": 0.52, "acc_stderr,none": 0.004},
        "mmlu_world_religions": {"alias": "  - world_religions", "acc,none": 0.7, "acc_stderr,none": "N/A"},
        "tinyBenchmarks": {" ": " ", "alias": "tinyBenchmarks"},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 17.2, "bits_per_byte,none": 0.78},
        "invoices": {"alias": "invoices", "cost,none": 0.1, "found,none": 0.6},
        "cola": {"alias": "cola", "mcc,none": -0.02},
    },
    "groups": {"mmlu": {"alias": "mmlu", "acc,none": 0.52}},
    "group_subtasks": {"mmlu": ["mmlu_world_religions"]},
    "versions": {"gsm8k": 3.0},
    "n-shot": {"gsm8k": 5},
    "higher_is_better": {"wikitext": {"word_perplexity": False}, "invoices": {"cost": False, "found": True}},
    "n-samples": {"gsm8k": {"original": 1319, "effective": 1319}},
    "config": {"model": "hf", "model_args": "pretrained=a/model"},
    "date": 1777889553.5,
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "evaluations").mkdir()
    return Folder.at(tmp_path)


def put(folder: Folder, name: str, content: Any) -> None:
    path = folder.evaluations / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")


def scores(folder: Folder) -> dict[str, float]:
    return {one.task: one.score for one in read_evaluations(folder)}


def test_a_results_file_of_the_harness_gives_one_score_a_task(folder: Folder) -> None:
    put(folder, "a__model/results_2026-05-04T10-12-33.123456.json", HARNESS)
    put(folder, "a__model/samples_gsm8k_2026-05-04T10-12-33.123456.jsonl", '{"doc_id": 0}\n')
    heard: list[str] = []
    found = {one.task: one for one in read_evaluations(folder, heard.append)}
    assert {task: (one.metric, one.score) for task, one in found.items()} == {
        "cola": ("mcc,none", 0.0),
        "gsm8k": ("exact_match,strict-match", 0.41),
        "hellaswag": ("acc_norm,none", 0.31),
        "invoices": ("found,none", 0.6),
        "mmlu": ("acc,none", 0.52),
        "mmlu_world_religions": ("acc,none", 0.7),
    }
    assert found["gsm8k"].place == "a__model/results_2026-05-04T10-12-33.123456.json" and not heard


def test_of_several_files_the_newest_counts_for_each_task(folder: Folder) -> None:
    def results(date: Any, **of: float) -> dict[str, Any]:
        dated = {} if date is None else {"date": date}
        return {"results": {task: {"acc,none": score} for task, score in of.items()}, **dated}

    put(folder, "z.json", results(1000.0, old=0.1, both=0.1))
    put(folder, "a.json", results(2000.0, both=0.2))
    put(folder, "m/results_1970-01-01T01-00-00.json", results(None, both=0.3, named=0.3))  # 3600 s
    put(folder, "n.json", results("1970-01-01T00:50:00", both=0.4, named=0.4))  # 3000 s
    assert scores(folder) == {"old": 0.1, "both": 0.3, "named": 0.3}


def test_a_table_may_name_topics_also_of_tasks_whose_score_is_in_another_file(folder: Folder) -> None:
    put(folder, "own.csv", "﻿Task;Score;Topic;seen by\ngsm8k;0.2;arithmetic;ann\n\ninvoices;0,5\n".replace("0,5", "0.5"))
    put(folder, "more.tsv", "score\ttask\n0.75\tstyle, tone\n")
    put(folder, "results.json", HARNESS)
    found = {one.task: (one.score, one.topic, one.place) for one in read_evaluations(folder)}
    assert found["gsm8k"] == (0.41, "arithmetic", "results.json")
    assert found["style, tone"] == (0.75, None, "more.tsv:2")


def test_other_files_are_said_and_left(folder: Folder) -> None:
    put(folder, "README.md", "what we measured")
    heard: list[str] = []
    assert read_evaluations(folder, heard.append) == []
    assert len(heard) == 1 and "README.md is not read" in heard[0]
    assert read_evaluations(Folder.at(folder.root / "nowhere")) == []


PERCENT = json.dumps({"results": {"a": {"acc,none": 0.3}, "b": {"acc,none": 41.2}}}, indent=1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.json", PERCENT, "p.json:7: b: acc,none is 41.2, but scores lie between 0 and 1; write 0.412, or take the task out"),
        ("n.json", '{"results": {"a": {"acc,none": -0.5}}}', "n.json:1: a: acc,none is -0.5, but scores lie between 0 and 1"),
        ("cut.json", '{"results": {\n"a": ', "cut.json:2: not JSON: Expecting value; copy the results file again"),
        ("list.json", "[1, 2]", "list.json:1: is no results file of lm-evaluation-harness"),
        ("flat.json", '{"results": {"gsm8k": 0.4}}', "flat.json:1: is no results file of lm-evaluation-harness"),
        ("none.json", '{"results": {"w": {"word_perplexity": 9.1}}}', "none.json: no task in it has a score"),
        ("p.csv", "task,score\na,0.3\nb,41\n", "p.csv:3: the score is 41, but scores lie between 0 and 1; write 0.41"),
        ("q.csv", "task,score\na,0.5%\n", "q.csv:2: the score is 0.5%, but scores lie between 0 and 1; write 0.005"),
        ("m.csv", "task,score\na,-1\n", "m.csv:2: the score is -1, but scores lie between 0 and 1; write the share"),
        ("w.csv", "task,score\na,good\n", "w.csv:2: 'good' is no score; scores lie between 0 and 1, such as 0.41"),
        ("nan.csv", "task,score\na,nan\n", "nan.csv:2: the score is nan, but scores lie between 0 and 1"),
        ("h.csv", "name,score\na,0.3\n", "h.csv:1: has no column task; the first line is `task,score`"),
        ("t.csv", "task,score\na,0.3\na,0.4\n", "t.csv:3: 'a' stands here and in line 2; keep one"),
        ("c.csv", "task,score\na,b,0.3\n", "c.csv:2: has 3 cells under 2 columns; quote one that holds a ','"),
        ("o.csv", "task,score\n,0.3\n", "o.csv:2: names no task; write one, or take the line out"),
        ("e.csv", "task,score\n", "e.csv: holds no score"),
        ("x.csv", "", "x.csv: holds no score"),
        ("u.csv", 'task,score\n"a"b,0.3\n', "u.csv:2: "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_line_and_remedy(folder: Folder, name: str, content: str, said: str) -> None:
    put(folder, name, content)
    with pytest.raises(SftError) as error:
        read_evaluations(folder)
    assert f"evaluations/{said}" in str(error.value)


def test_a_file_outside_the_folder_and_one_that_is_no_text_are_refused(folder: Folder) -> None:
    (folder.evaluations / "w.csv").write_bytes("task,score\nü,0.3".encode("utf-16"))
    with pytest.raises(SftError, match=r"w\.csv: cannot be read: .*; save it as UTF-8"):
        read_evaluations(folder)
    (folder.evaluations / "w.csv").unlink()
    (folder.root / "elsewhere.csv").write_text("task,score\na,0.3\n")
    (folder.evaluations / "l.csv").symlink_to(folder.root / "elsewhere.csv")
    with pytest.raises(SftError, match=r"l\.csv: leads out of"):
        read_evaluations(folder)


# ------------------------------------------------------------------------------------------------------------------ topics

TOPICS = [
    Topic("total, cost, apples", "numbers", ("total", "cost", "apples", "algebra")),
    Topic("square, root", "numbers", ("square", "root", "mathematical")),
    Topic("court, appeal", "law and order", ("court", "appeal")),
    Topic("gsm8k style, steps", "puzzles"),
    Topic("健康, 饮食", "健康"),
]


@pytest.mark.parametrize(
    ("task", "places"),
    [
        ("gsm8k", [3]),  # the task's name itself
        ("law_and_order", [2]),
        ("hendrycks_math_algebra", [0, 1]),  # one telling word each
        ("mmlu_high_school_mathematics", []),  # how it is asked tells nothing, and no name begins so
        ("numbers", [0, 1]),
        ("健康", [4]),
        ("arc_easy", []),
        ("qa", []),
    ],
)
def test_a_task_is_about_the_topics_whose_names_say_so(task: str, places: list[int]) -> None:
    assert places_alike(task, TOPICS) == places


def asked(folder: Folder, table: str, heard: list[str], **section: Any) -> Any:
    put(folder, "t.csv", "task,score,topic\n" + table)
    return asked_of(folder, Gaps.model_validate(section), TOPICS, [10, 20, 30, 40, 50], heard.append)


def test_what_a_table_says_of_a_task_comes_before_the_recipe_and_the_recipe_before_the_name(folder: Folder) -> None:
    heard: list[str] = []
    section = {"tasks": {"a": "court, appeal", "gsm8k": "numbers"}}
    found = asked(folder, 'a,0.1,puzzles\ngsm8k,0.2,\nalgebra,0.4,\nwell,0.5,"square, root"\n', heard, **section)
    assert {one.task: (one.places, one.by) for one in found.weak} == {
        "a": ((3,), "table"),
        "gsm8k": ((0, 1), "recipe"),
        "algebra": ((0,), "name"),
    }
    assert found.tasks == 4 and not heard
    assert found.factors(5, Gaps(boost=2)).tolist() == pytest.approx([1 + 2 * 0.3 / 0.5, 2.2, 1, 2.6, 1])  # the weakest counts


def test_a_weak_task_without_a_topic_is_said_with_the_remedy(folder: Folder) -> None:
    heard: list[str] = []
    found = asked(folder, "arc_easy,0.1,\npiqa,0.2,boats\n", heard)
    assert [one.task for one in found.without_topic] == ["arc_easy", "piqa"]
    assert "t.csv:3: piqa: there is no topic or group 'boats' among the rows" in heard[0]
    assert "no topic is known for 2 weak tasks (arc_easy, piqa)" in heard[1] and "gaps.tasks: {arc_easy: TOPIC}" in heard[1]


def test_a_topic_that_is_gone_is_said_and_none_that_is_there_is_an_error(folder: Folder) -> None:
    heard: list[str] = []
    found = asked(folder, "a,0.9,\n", heard, targets={"topic": {"puzzles": 0.3, "court, appeals": 0.1}})
    assert found.topic_shares == {3: 0.3} and found.absent == ["court, appeals"]
    assert "gaps.targets.topic: there is no topic or group 'court, appeals'" in heard[0] and "'court, appeal'" in heard[0]
    for section in ({"targets": {"topic": {"puzzle": 0.3}}}, {"tasks": {"a": "puzzle"}}):
        with pytest.raises(SftError, match=r"recipe\.yaml: gaps\.(targets\.topic|tasks): .*did you mean 'puzzles'"):
            asked(folder, "a,0.9,\n", heard, **section)


def test_a_group_shares_with_its_topics_by_their_rows_but_for_those_named_themselves(folder: Folder) -> None:
    assert asked(folder, "a,0.9,\n", [], targets={"topic": {"numbers": 0.3}}).topic_shares == pytest.approx({0: 0.1, 1: 0.2})
    both = {"numbers": 0.3, "square, root": 0.5}
    assert asked(folder, "a,0.9,\n", [], targets={"topic": both}).topic_shares == pytest.approx({0: 0.3, 1: 0.5})
