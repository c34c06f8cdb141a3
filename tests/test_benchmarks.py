"""The benchmarks evidence: test sets are read whatever their shape, and nothing of them is passed over in silence."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_remote
from conftest import build, say
from conftest import rows as rows_of
from hypothesis import given
from hypothesis import strategies as st
from test_remote import REPO, Server, away, readme

from sft_assets.asset import materialize
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.benchmarks.files import BenchmarkFile, TestSet, benchmark_files, read
from sft_assets.decontaminated.benchmarks.items import NAMES, NESTED, items
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.containers import Refused
from sft_assets.recipe import Recipe
from sft_assets.runs import input_version
from sft_assets.warehouse import Version, Warehouse

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
SHAPES = [json.loads(line) for line in Path(__file__).with_name("benchmark_shapes.jsonl").read_text("utf-8").splitlines()]

server = test_remote.server  # a hub with one dataset

Q = "A tram holds 60 people. How many trams take 200 people?"


def texts(record: dict[str, Any], **columns: str) -> dict[str, list[str]]:
    """The texts of a record that is one item."""
    (item,) = items(record, columns)
    return item.texts


def written(folder: Path, name: str, content: bytes | str | list[Any]) -> BenchmarkFile:
    """A file in D/benchmarks: bytes, text, or records as JSON lines."""
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "\n".join(json.dumps(r) for r in content)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return next(f for f in benchmark_files(Folder(folder), Recipe()) if f.name == name)


def built(folder: Path, recipe: str = "") -> tuple[Version, list[tuple[str, str, str, str]]]:
    """The asset's version and its rows, sorted."""
    (folder / "recipe.yaml").write_text(recipe)
    place = Folder(folder)
    inputs = {"benchmark_files": place.version(place.benchmarks)}
    version, _ = materialize(benchmarks, place, Recipe.load(place.recipe), inputs)
    with Warehouse(place.database).reading() as con:
        return version, con.execute("SELECT benchmark, item_id, field, text FROM benchmarks ORDER BY ALL").fetchall()


# ------------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"question": Q, "answer": "4"}, {"question": [Q], "answer": ["4"]}),
        (
            {"ID": "chal-1", "Body": "A tram holds 60 people.", "Question": "How many take 200?", "Answer": 4.0},
            {"question": ["A tram holds 60 people. How many take 200?"], "answer": ["4"]},
        ),
        (
            {"task_id": "T/0", "prompt": "def f(x):", "canonical_solution": "  return x", "test": "assert f(1) == 1"},
            {"question": ["def f(x):"], "solution": ["  return x"]},
        ),
        (
            {"text": "Write a function.", "code": "def f(): ...", "task_id": 2, "test_list": ["assert f() is None"]},
            {"question": ["Write a function."], "solution": ["def f(): ..."]},
        ),
        (
            {"query": "Question: Which is a metal?", "choices": ["iron", "salt"], "gold": 0},
            {"question": ["Which is a metal?"], "choices": ["iron", "salt"], "answer": ["iron"]},
        ),
        (
            {"question": Q, "choices": {"label": ["A", "B"], "text": ["3", "4"]}, "answerKey": "B"},
            {"question": [Q], "choices": ["3", "4"], "answer": ["4"]},
        ),
        (
            {"question": {"stem": Q, "choices": [{"text": "3", "label": "A"}, {"text": "4", "label": "B"}]}, "answerKey": "B"},
            {"question": [Q], "choices": ["3", "4"], "answer": ["4"]},
        ),
        (
            {"question": Q, "A": "3", "B": "4", "C": "5", "D": "6", "answer": "B"},
            {"question": [Q], "choices": ["3", "4", "5", "6"], "answer": ["4"]},
        ),
        (
            {"Question": Q, "Option A": "3", "Option B": "4", "Answer": "(B)"},
            {"question": [Q], "choices": ["3", "4"], "answer": ["4"]},
        ),
        (
            {"question": Q, "choice1": "3", "choice2": "4", "label": 1},
            {"question": [Q], "choices": ["3", "4"], "answer": ["4"]},
        ),
        ({"prompt": "Write 3 bullet points.", "kwargs": [{}], "key": 1}, {"question": ["Write 3 bullet points."]}),
        (
            {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day", "generator": "m"},
            {"question": ["Translate."], "context": ["Guten Tag"], "answer": ["Good day"]},
        ),
        ({"input": "not True is", "target": "False"}, {"question": ["not True is"], "answer": ["False"]}),
        (
            {"input": "What day is it?\nOptions:\n(A) Monday\n(B) Friday", "target": "(B)"},
            {"question": ["What day is it?"], "choices": ["Monday", "Friday"], "answer": ["Friday"]},
        ),
        (
            {"Question": "Is it?", "Best Answer": "No", "Correct Answers": "No; Not so", "Incorrect Answers": "Yes; Ever"},
            {"question": ["Is it?"], "answer": ["No"], "choices": ["No", "Not so", "Yes", "Ever"]},
        ),
        (
            {"passage": "Trams are long.", "question": "Are trams long?", "answer": True},
            {"question": ["Are trams long?"], "context": ["Trams are long."], "answer": ["True"]},
        ),
        ({"text": "Question: Who?\nAnswer: \n#### Me"}, {"question": ["Who?"], "answer": ["#### Me"]}),
        ({"q": "Who is it?", "a": "Me"}, {"question": ["Who is it?"], "answer": ["Me"]}),
    ],
)
def test_the_published_shapes_are_seen(record: dict[str, Any], expected: dict[str, list[str]]) -> None:
    assert texts(record) == expected


@pytest.mark.parametrize("shape", SHAPES, ids=[shape["benchmark"] for shape in SHAPES])
def test_a_record_of_each_published_test_set_is_read(tmp_path: Path, shape: dict[str, Any]) -> None:
    found = read(written(tmp_path, "a.jsonl", [shape["record"]]))
    assert {item_id: item.texts for item_id, item in found.items.items()} == shape["items"]


@pytest.mark.parametrize("record", [{"title": "a list of cars", "pages": 3}, {"question": ""}, {"question": ["a"]}, {}])
def test_a_record_without_a_question_is_no_item(record: dict[str, Any]) -> None:
    assert items(record) == []


KEYS = st.sampled_from(
    [*(name for names in NAMES.values() for name in names), *NESTED, "translation", "column1", "source", "role"]
)
CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["A", "1", "Who?", "['a', 'b']", "(A) x"])
VALUES = st.recursive(CELLS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_stands_in_its_fields_a_record_is_read_or_no_item(record: dict[str, Any]) -> None:
    for item in items(record):
        assert item.texts["question"]
        assert all(isinstance(text, str) and text.strip() for texts in item.texts.values() for text in texts)


def test_every_user_turn_of_a_chat_is_a_question_of_its_own() -> None:
    record = {"question_id": 81, "turns": ["Write a post.", "Now shorter."], "reference": ["Post.", "P."]}
    found = [(item.id, item.texts) for item in items(record)]
    assert found == [
        ("81/1", {"question": ["Write a post."], "answer": ["Post."]}),
        ("81/2", {"question": ["Now shorter."], "answer": ["P."]}),
    ]
    spoken = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello?"}]
    assert [item.texts for item in items({"id": 1, "messages": spoken})] == [{"question": ["Hello?"]}]


def test_code_that_shows_options_in_its_text_is_not_cut() -> None:
    prompt = "def f():\n    Options:\n    free text, no list\n"
    assert texts({"prompt": prompt, "code": "pass"})["question"] == [prompt]


def test_columns_of_the_recipe_say_what_names_do_not() -> None:
    record = {"frage": "Wie viele?", "w": "1", "x": "2", "lösung": "B"}
    assert texts(record, question="frage", choices="w, x", answer="lösung") == {
        "question": ["Wie viele?"],
        "choices": ["1", "2"],
        "answer": ["2"],
    }


# -------------------------------------------------------------------------------------------------------------- files

ARRAY = [{"question": "Who swims?", "answer": "fish"}, {"question": "Who flies?", "answer": "birds"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", ARRAY),
        ("a.json", json.dumps(ARRAY)),
        ("a.json.gz", json.dumps(ARRAY, indent=1)),
        ("a.json", json.dumps({"canary": "GUID", "examples": ARRAY})),
        ("a.csv", "\ufeffquestion,answer\r\nWho swims?,fish\r\nWho flies?,birds\r\n"),
        ("a.csv.gz", "Question,Answer\nWho swims?,fish\n\nWho flies?,birds"),
        ("a.tsv", "question\tanswer\nWho swims?\tfish\nWho flies?\tbirds\n"),
    ],
)
def test_containers_are_told_apart(tmp_path: Path, name: str, content: str | list[Any]) -> None:
    found = read(written(tmp_path, name, content))
    assert [item.texts["question"] for item in found.items.values()] == [["Who swims?"], ["Who flies?"]]
    assert not found.unread


def test_an_item_without_an_id_is_called_by_its_element_or_line(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "a.json", json.dumps(ARRAY, indent=1))).items) == ["1", "2"]
    assert list(read(written(tmp_path, "b.csv", "question,answer\nWho swims?,fish\n\nWho flies?,birds")).items) == ["2", "4"]


def test_packed_and_columnar_test_sets_are_read_like_others(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b/two.csv", "question,answer\nWho flies?,birds\n")
        archive.writestr("a/one.jsonl", json.dumps(ARRAY[0]))
        archive.writestr("README.md", "# About\n")
    found = read(written(tmp_path, "a.zip", packed.getvalue()))
    assert [item.texts["question"] for item in found.items.values()] == [["Who swims?"], ["Who flies?"]]
    assert unread(found).startswith("1 of 2 records were not read; a.zip/README.md is a text, neither JSON nor a table")
    columns = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ARRAY), columns)
    assert list(read(written(tmp_path, "b.parquet", columns.getvalue())).items) == ["1", "2"]


def test_a_table_without_a_header_is_not_taken_to_begin_with_one(tmp_path: Path) -> None:
    file = written(tmp_path, "qa.csv", "Which is a metal?,iron,salt,iron\nWhich is not?,tin,salt,salt\n")
    with pytest.raises(Refused, match="fields: column_1, column_2, column_3, column_4"):
        read(file)
    entry = {"path": "qa.csv", "header": ["question", "A", "B", "answer"]}
    (file,) = benchmark_files(Folder(tmp_path), Recipe.model_validate({"benchmarks": {"files": [entry]}}))
    assert read(file).items["1"].texts == {"question": ["Which is a metal?"], "choices": ["iron", "salt"], "answer": ["iron"]}


TRAMS = {"question": "What is long?", "answers": [{"text": "Trams", "answer_start": 0}], "id": "5a"}
SQUAD = {"version": "1.1", "data": [{"title": "Trams", "paragraphs": [{"context": "Trams are long.", "qas": [TRAMS]}]}]}
GAME = {"question": "Who won?", "answer": {"number": "", "date": {"day": "", "month": ""}, "spans": ["Reds"]}}
DROP = {f"nfl_{n}": {"passage": f"Game {n}.", "qa_pairs": [GAME], "wiki_url": ""} for n in (3, 4)}
BIG_BENCH = {
    "name": "colours",
    "description": "Asks for colours",
    "keywords": ["colour"],
    "examples": [{"input": "What is red?", "target_scores": {"blood": 1, "grass": 0}}],
}
MGSM = "Wie viele Eier legen die Enten von Janet am Tag?"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "train-v1.1.json",
            json.dumps(SQUAD),
            {"5a": {"question": ["What is long?"], "answer": ["Trams"], "context": ["Trams are long."]}},
        ),
        (
            "drop_dataset_dev.json",
            json.dumps(DROP),
            {f"nfl_{n}/1": {"question": ["Who won?"], "answer": ["Reds"], "context": [f"Game {n}."]} for n in (3, 4)},
        ),
        (
            "task.json",
            json.dumps(BIG_BENCH),
            {"1": {"question": ["What is red?"], "answer": ["blood"], "choices": ["blood", "grass"]}},
        ),
        ("mgsm_de.tsv", f"{MGSM}\t16\n", {"1": {"question": [MGSM], "answer": ["16"]}}),
        (
            "astronomy_test.csv",
            "Which planet is largest?,Mars,Jupiter,Venus,Earth,B\n",
            {
                "1": {
                    "question": ["Which planet is largest?"],
                    "answer": ["Jupiter"],
                    "choices": ["Mars", "Jupiter", "Venus", "Earth"],
                }
            },
        ),
    ],
)
def test_a_whole_file_as_it_is_published_is_read(tmp_path: Path, name: str, content: str, expected: dict[str, Any]) -> None:
    found = read(written(tmp_path, name, content))
    assert {item_id: item.texts for item_id, item in found.items.items()} == expected


def test_the_same_question_about_another_passage_is_another_item(tmp_path: Path) -> None:
    records = [{"passage": f"Story {n}.", "question": "Who wins?", "answer": f"{n}"} for n in (1, 2, 2)]
    assert list(read(written(tmp_path, "a.jsonl", records)).items) == ["1", "2"]


def test_a_csv_cell_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    found = read(written(tmp_path, "a.csv", 'question,answer\n"Say ""hi"",\nplease",x\nNext?,y\n'))
    assert [item.texts["question"][0] for item in found.items.values()] == ['Say "hi",\nplease', "Next?"]


def test_a_record_for_every_choice_gives_one_item(tmp_path: Path) -> None:
    def choice(instance: int, question: str, answer: str, right: bool) -> dict[str, Any]:
        return {"eval_instance_index": instance, "question": question, "answer": answer, "is_correct": right, "doc_id": answer}

    same = "Which is true?"
    records = [choice(0, same, "iron", True), choice(0, same, "salt", False), choice(1, same, "tin", False)]
    found = read(written(tmp_path, "mmlu.jsonl", records)).items
    assert {i: item.texts for i, item in found.items()} == {
        "0": {"question": [same], "choices": ["iron", "salt"], "answer": ["iron"]},
        "1": {"question": [same], "choices": ["tin"]},
    }


def test_ids_are_the_items_own_or_their_position_and_unique(tmp_path: Path) -> None:
    records = [{"id": "x", "question": "One?"}, {"question": "Two?"}, {"id": "x", "question": "Three?"}]
    assert list(read(written(tmp_path, "a.jsonl", records)).items) == ["x", "2", "x#2"]
    taken = [{"id": i, "question": q} for i, q in [("x", "One?"), ("x#2", "Two?"), ("x", "Three?"), ("x", "Four?")]]
    assert list(read(written(tmp_path, "c.jsonl", taken)).items) == ["x", "x#2", "x#3", "x#4"]
    chat = [{"turns": ["One?", "Two?"]}, {"turns": ["One?", "Three?"]}]
    assert list(read(written(tmp_path, "b.jsonl", chat)).items) == ["1/1", "1/2", "2/1", "2/2"]


def test_names_lose_their_endings_unless_two_files_then_share_one(tmp_path: Path) -> None:
    for name in ("bbh/dates.json.gz", "qa.csv", "two.json", "two.jsonl"):
        written(tmp_path, name, "x")
    names = [f.benchmark for f in benchmark_files(Folder(tmp_path), Recipe())]
    assert names == ["bbh/dates", "qa", "two.json", "two.jsonl"]


def test_the_recipe_names_files_and_folders(tmp_path: Path) -> None:
    for name in ("sub/a.csv", "sub/b.csv"):
        written(tmp_path, name, "x")
    entries = [{"path": "sub", "name": "exam", "columns": {"question": "f"}}, {"path": "sub/b.csv", "name": "b"}]
    recipe = Recipe.model_validate({"benchmarks": {"files": entries}})
    found = benchmark_files(Folder(tmp_path), recipe)
    assert [(f.benchmark, dict(f.columns)) for f in found] == [("exam/a", {"question": "f"}), ("b", {})]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "none.json"}, "entry 1: 'none.json' is not in"),
        ({"path": "../sources/a.json"}, "without .."),
        ({"path": "a.csv", "columns": {"qestion": "f"}}, "'qestion' is no field of an item; known: question"),
        ({"path": "a.csv", "columns": {"answer": "f"}}, "name the column of the question too"),
        (
            {"package": "no-such.package"},
            "no-such.package is not installed: `pip install no-such.package`, or take the entry out",
        ),
        ({"package": "pytest"}, "has no data file; put its test set into the benchmarks folder, or name it on the hub"),
    ],
)
def test_an_entry_that_cannot_be_meant_says_where_it_stands(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    written(tmp_path, "a.csv", "f\nWho?\n")
    with pytest.raises(SftError, match=r"recipe.yaml: benchmarks.files, entry 1: ") as error:
        benchmark_files(Folder(tmp_path), Recipe.model_validate({"benchmarks": {"files": [entry]}}))
    assert said in str(error.value)


# ------------------------------------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", [{"frage": "Wer schwimmt?", "antwort": "Fische"}], "fields: frage, antwort"),
        ("a.jsonl", [{"frage": "Wer schwimmt?", "antwort": "Fische"}], "columns: {question: ..., answer: ...}"),
        ("a.jsonl", [{"frage": "Wer schwimmt?", "antwort": "Fische"}], 'Its first record: {"frage": "Wer schwimmt?"'),
        ("a.txt", "Who swims?\n", "is a text, neither JSON nor a table"),
        ("a.parquet", b"PAR1 and so on", "it is cut off or damaged"),
        ("a.json", "", "holds nothing"),
        ("a.csv", "question,answer\n", "holds no record"),
        ("a.csv", "question,question\na,b\n", "names a column twice"),
        ("a.csv", 'question,answer\n"Who "swims?",fish\n', "',' expected after '\"'; mend its quotes"),
        ("a.csv", "question,answer\nW\u00fcr,x\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_file_that_is_no_test_set_is_refused_with_the_remedy(tmp_path: Path, name: str, content: Any, said: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(written(tmp_path, name, content))
    assert said in refusal.value.detail


def unread(found: TestSet) -> str:
    (sentence,) = found.unread
    return sentence


def test_records_that_are_passed_over_are_counted_and_shown(tmp_path: Path) -> None:
    lines = '{"question": "Who swims?"}\n{"question": "Who fl\n{"note": "end"}\n{"note": "really"}\n'
    said = unread(read(written(tmp_path, "a.jsonl", lines)))
    assert said.startswith("3 of 4 records were not read; record 2: ")
    assert 'record 3: no question is seen in it: {"note": "end"}' in said
    said = unread(read(written(tmp_path, "b.csv", "question,answer\nWho swims?,fish\nWho, flies?,birds\n")))
    assert said.startswith("1 of 2 records were not read; record 3: wrong_cells: 3 cells under 2 column names")


def test_a_damaged_gzip_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"question,{n}\n" for n in range(2000)).encode())
    file = written(tmp_path, "a.csv", b"")
    file.path.write_bytes(gzip.compress(b"question,answer\n") + whole[: len(whole) // 2])
    found = read(file)
    assert 0 < len(found.items) < 2000
    assert "cut off" in unread(found)


def test_one_bad_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    written(tmp_path, "good.jsonl", ARRAY)
    written(tmp_path, "notes.txt", "nothing to see")
    (tmp_path / "benchmarks" / "link.jsonl").symlink_to(__file__)
    version, rows = built(tmp_path)
    assert rows == [
        ("good", "1", "answer", "fish"),
        ("good", "1", "question", "Who swims?"),
        ("good", "2", "answer", "birds"),
        ("good", "2", "question", "Who flies?"),
    ]
    refused = {entry["file"]: entry["reason"] for entry in version.report["refused"]}
    assert set(refused) == {"notes.txt", "link.jsonl"}
    assert "leads out of the benchmarks folder" in refused["link.jsonl"]
    (good,) = version.report["benchmarks"].values()
    assert (good["file"], good["items"], len(good["version"])) == ("good.jsonl", 2, 12)


def test_an_empty_folder_is_an_empty_table(tmp_path: Path) -> None:
    version, rows = built(tmp_path)
    assert rows == []
    assert {name: version.report[name] for name in ("kept", "benchmarks", "refused")} == {
        "kept": 0,
        "benchmarks": {},
        "refused": [],
    }


def test_the_table_is_the_same_for_items_with_ids_in_any_order(tmp_path: Path) -> None:
    records = [{"id": n, "question": f"Question {n}?"} for n in range(20)]
    written(tmp_path, "a.jsonl", records)
    first, _ = built(tmp_path)
    written(tmp_path, "a.jsonl", records[::-1])
    second, _ = built(tmp_path)
    assert (second.number, second.data_version) == (2, first.data_version)


# ------------------------------------------------------------------------------------------------------------ packages


def install(site: Path, files: dict[str, Any], listed: bool = True, **about: Any) -> None:
    """A distribution `fake-eval` 1.2 in a folder of modules; with `listed` its RECORD names its files."""
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(content if isinstance(content, str) else "\n".join(map(json.dumps, content)))
    folder = site / "fake_eval-1.2.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-eval\nVersion: 1.2\n")
    (folder / "RECORD").write_text(
        "".join(f"{name},,\n" for name in (*(files if listed else ()), "fake_eval-1.2.dist-info/RECORD"))
    )
    for name, content in about.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed modules."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_a_test_set_comes_with_an_installed_package(folder: Folder, site: Path) -> None:
    install(site, {"fake_eval/__init__.py": "", "fake_eval/data/qa.jsonl": ARRAY, "fake_eval/settings.json": {"tries": 3}})
    say(folder, benchmarks={"files": [{"package": "Fake_Eval", "name": "fake"}]})
    (version,) = build(folder, benchmarks)
    found = version.report["benchmarks"]["fake"]
    assert (found["file"], found["items"]) == ("package:Fake_Eval/fake_eval/data/qa.jsonl", 2)
    assert found["version"].startswith("1.2+") and len(found["version"]) == len("1.2+") + 12
    assert version.report["said"] == [
        "package: Fake_Eval 1.2: left out: 1 files without test items (package:Fake_Eval/fake_eval/settings.json)"
    ]
    assert version.report["refused"] == []


def test_several_test_sets_of_a_package_are_several_benchmarks_and_one_can_be_named(folder: Folder, site: Path) -> None:
    install(site, {"fake_eval/a.jsonl": ARRAY, "fake_eval/b.csv": "question,answer\nWho runs?,ants\n"})

    def names(**said: str) -> list[str]:
        entry = {"package": "fake-eval", **said}
        return [f.benchmark for f in benchmark_files(folder, Recipe.model_validate({"benchmarks": {"files": [entry]}}))]

    assert names() == ["fake-eval/fake_eval/a", "fake-eval/fake_eval/b"]
    assert names(path="b.csv") == ["fake-eval"]
    with pytest.raises(SftError, match=r"fake-eval 1\.2 has no file 'fake_eval/c\.csv'; did you mean 'fake_eval/b\.csv'"):
        names(path="fake_eval/c.csv")


def test_data_that_a_package_does_not_list_is_found_beside_its_modules(folder: Folder, site: Path, tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"benchmarks": {"files": [{"package": "fake-eval"}]}})
    install(site, {"fake_eval/__init__.py": ""})
    (site / "fake_eval" / "later.jsonl").write_text("\n".join(map(json.dumps, ARRAY)))
    assert [f.name for f in benchmark_files(folder, recipe)] == ["package:fake-eval/fake_eval/later.jsonl"]

    project = tmp_path / "a project"
    for name in ("data/qa.jsonl", ".git/no.jsonl", "venv/no.jsonl"):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text("\n".join(map(json.dumps, ARRAY)))
    (project / "venv" / "pyvenv.cfg").write_text("")
    install(site, {}, direct_url={"url": project.as_uri(), "dir_info": {"editable": True}})
    assert [f.name for f in benchmark_files(folder, recipe)] == ["package:fake-eval/data/qa.jsonl"]


def test_another_version_or_file_of_a_package_is_another_version_of_the_input(folder: Folder, site: Path) -> None:
    say(folder, benchmarks={"files": [{"package": "fake-eval"}]})
    versions = [input_version(folder, "benchmark_files")]
    for content in (ARRAY, ARRAY[:1]):
        install(site, {"fake_eval/qa.jsonl": content})
        versions.append(input_version(folder, "benchmark_files"))
    assert len(set(versions)) == 3
    assert input_version(folder, "benchmark_files") == versions[-1]
    assert input_version(folder, "source_files") == folder.version(folder.sources)


# ------------------------------------------------------------------------------------------------------------- the hub


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_a_hub_dataset_is_a_benchmark_whose_version_is_the_commit(server: Server, folder: Folder) -> None:
    commit = server.commit({"data/test-00000-of-00002.jsonl": lines(*ARRAY), "data/test-00001-of-00002.jsonl": lines(ARRAY[0], {
        "question": "Who runs?"}), "data/train-00000-of-00001.jsonl": lines({"question": "Who trains?"})})  # fmt: skip
    say(folder, benchmarks={"files": [{"hub": REPO}]})
    (version,) = build(folder, benchmarks)
    found = version.report["benchmarks"]
    assert (list(found), found[REPO]["items"], found[REPO]["version"]) == ([REPO], 3, commit)
    assert rows_of(folder, "SELECT item_id, text FROM benchmarks WHERE field = 'question' ORDER BY ALL") == [
        ("1", "Who swims?"), ("2", "Who flies?"), ("4", "Who runs?"),
    ]  # fmt: skip
    left_out = f"hub: {REPO}: left out: split train (1 files); `split:` in its recipe entry names what to take"
    assert left_out in version.report["said"]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["train.jsonl", "dev.jsonl", "test.jsonl"], ["test.jsonl"]),
        (["train.jsonl", "dev.jsonl"], ["dev.jsonl"]),
        (["train.jsonl", "more.jsonl"], ["train.jsonl"]),
        (["a.jsonl", "b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["data/train-00000-of-00001.jsonl", "data/test_hard-00000-of-00001.jsonl"], ["data/test_hard-00000-of-00001.jsonl"]),
    ],
)
def test_the_default_split_is_test_else_validation_else_everything(
    server: Server, folder: Folder, names: list[str], taken: list[str]
) -> None:
    server.commit({name: lines(*ARRAY) for name in names})
    recipe = Recipe.model_validate({"benchmarks": {"files": [{"hub": REPO}]}})
    assert [f.name.removeprefix(f"hub:{REPO}/") for f in benchmark_files(folder, recipe)] == taken


def test_configuration_and_split_of_a_hub_benchmark_can_be_named(server: Server, folder: Folder) -> None:
    two = ({"config_name": c, "data_files": [{"split": s, "path": f"{c}/{s}.jsonl"} for s in ("dev", "test")]} for c in "ab")
    names = ("a/dev.jsonl", "a/test.jsonl", "b/dev.jsonl", "b/test.jsonl")
    server.commit({"README.md": readme(*two)["README.md"].encode(), **{name: lines(*ARRAY) for name in names}})

    def files(**said: str) -> list[str]:
        entries = [{"hub": REPO, **said}]
        return [f.name for f in benchmark_files(folder, Recipe.model_validate({"benchmarks": {"files": entries}}))]

    assert files(config="b") == [f"hub:{REPO}/b/test.jsonl"]
    assert files(config="b", split="dev") == [f"hub:{REPO}/b/dev.jsonl"]
    with pytest.raises(SftError, match=r"entry 1: hub: .* has the configurations a, b; name one in `config:`"):
        files()


def test_a_new_commit_makes_benchmarks_stale_and_nothing_else(
    server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.commit({"test.jsonl": lines(ARRAY[0])})
    say(folder, benchmarks={"files": [{"hub": REPO}]})
    (first,) = build(folder, benchmarks)
    sources, before = (input_version(folder, name) for name in ("source_files", "benchmark_files"))
    assert build(folder, benchmarks)[0].number == first.number

    server.commit({"test.jsonl": lines(*ARRAY)})
    assert input_version(folder, "benchmark_files", ask=False) == before
    assert input_version(folder, "benchmark_files") != before
    assert input_version(folder, "source_files") == sources
    (second,) = build(folder, benchmarks)
    assert second.report["benchmarks"][REPO]["items"] == 2

    away(monkeypatch)
    (third,) = build(folder, benchmarks, again=True)
    assert third.data_version == second.data_version
    assert "in the cache is used" in third.report["said"][0]


def test_one_bad_file_of_a_hub_dataset_does_not_keep_the_others_out(server: Server, folder: Folder) -> None:
    server.commit({"a.jsonl": lines({"note": "no question"}), "b.jsonl": lines(*ARRAY)})
    say(folder, benchmarks={"files": [{"hub": REPO, "name": "chats"}]})
    (version,) = build(folder, benchmarks)
    assert version.report["benchmarks"]["chats"]["items"] == 2
    (refused,) = version.report["refused"]
    assert refused["file"] == f"hub:{REPO}/a.jsonl"
    assert f"benchmarks: {{files: [{{hub: {REPO}, columns: {{question: ..." in refused["reason"]


# -------------------------------------------------------------------------------------------------------------- corpus


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
def test_the_public_test_sets_are_read_to_the_last_item(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(CORPUS / "benchmarks")
    found = {}
    for file in benchmark_files(Folder(tmp_path), Recipe()):
        test_set = read(file)
        assert not test_set.unread
        found[file.benchmark] = len(test_set.items)
    assert found == {
        "alpaca_eval_gpt4_outputs": 805,
        "arc_challenge": 1172,
        "bbh/date_understanding": 250,
        "gsm8k_test": 1319,
        "humaneval": 164,
        "ifeval_input_data": 541,
        "mbpp": 974,
        "mmlu_dev-1": 285,
        "mmlu_test-1": 3364,
        "mt_bench_question": 160,
        "rephrased/gsm8k_rephrased": 1319,
        "svamp_test": 1000,
        "truthfulqa": 817,
        "vicuna_bench_question": 80,
    }
