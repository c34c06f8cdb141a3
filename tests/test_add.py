"""`sft add` shows what new data is and what becomes of it, and writes a recipe entry that leaves the rest of the file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from conftest import put

from sft_assets.add import add, glimpses, plan, with_entry
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe

ENTRY = {"path": "new.json", "columns": {"prompt": "q", "response": "a"}}
PATH = Path("recipe.yaml")


def lines(records: list[Any]) -> bytes:
    return b"".join(orjson.dumps(r) + b"\n" for r in records)


def elsewhere(folder: Folder, name: str, content: bytes) -> Path:
    path = folder.root.parent / "downloads" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ----------------------------------------------------------------------------------------------------------- the entry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment\n",
        "sources:\n",
        "sources: []\n",
        "sources: [{path: a.json}]\n",
        "sources:\n  - path: a.json\n    license: mit # why\n\n# raw:\n#   max_quarantined: 20\n\nraw:\n  max_quarantined: 5\n",
        "sources:\n- path: a.json\n- path: b.json\n  columns: {prompt: p}\nscored:\n  actions: {refusal: signal}\n",
        "raw:\n  max_quarantined: 5\nsources:\n    - path: a.json\n      system: |\n        You are kind.\n        Be brief.\n",
        "raw:\n  max_quarantined: 5\nsources:\n  - path: a.json\n    columns:\n      prompt: q",
        "deduped:\n  threshold: 0.7",
    ],
)
def test_an_entry_is_added_and_everything_else_stays(text: str) -> None:
    extended = with_entry(text, ENTRY, PATH)
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(extended)
    assert after.pop("sources") == [*(before.pop("sources", None) or []), ENTRY]
    assert after == before
    for line in text.splitlines():
        if "#" in line:
            assert line in extended.splitlines()


def test_two_entries_can_be_added_one_after_the_other() -> None:
    text = with_entry(with_entry("# mine\n", ENTRY, PATH), {"path": "two.json"}, PATH)
    assert yaml.safe_load(text) == {"sources": [ENTRY, {"path": "two.json"}]}
    assert text.startswith("# mine\n")


# ------------------------------------------------------------------------------------------------------------ the look


def test_the_look_shows_format_confidence_rows_and_what_would_be_quarantined(folder: Folder) -> None:
    records: list[Any] = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(48)]
    path = elsewhere(folder, "mine.jsonl", lines([*records, {"instruction": "Empty", "output": " "}]) + b'{"instruction": "cut')
    planned = plan(folder, Recipe(), str(path), {})
    (look,) = glimpses(planned.files, Recipe(), planned.entry)
    assert (look.name, look.format, look.records, look.rows) == ("mine.jsonl", "alpaca", 50, 48)
    assert look.confidence == 0.96
    assert dict(look.bad) == {"empty_answer": 1, "truncated": 1}
    assert len(look.examples) == 3
    before, (row,) = look.examples[0]
    assert before == '{"instruction":"Question 0?","output":"Answer 0."}'
    assert [(m.role, m.content) for m in row.conversation.messages] == [("user", "Question 0?"), ("assistant", "Answer 0.")]


def test_the_look_masks_what_it_shows(folder: Folder) -> None:
    path = elsewhere(folder, "m.jsonl", lines([{"instruction": "Mail ann.lee@corp.com", "output": "Done."}]))
    planned = plan(folder, Recipe(), str(path), {})
    (look,) = glimpses(planned.files, Recipe(), planned.entry)
    before, (row,) = look.examples[0]
    assert "ann.lee" not in before
    assert row.conversation.messages[0].content == "Mail <EMAIL>"


def test_a_look_writes_nothing(folder: Folder) -> None:
    path = elsewhere(folder, "m.jsonl", lines([{"instruction": "Hi", "output": "Yo"}]))
    planned = plan(folder, Recipe(), str(path), {})
    list(glimpses(planned.files, Recipe(), planned.entry))
    assert not folder.recipe.exists()
    assert list(folder.sources.iterdir()) == []


def test_data_of_no_format_is_shown_with_its_fields_and_can_be_mapped(folder: Folder) -> None:
    path = elsewhere(folder, "m.jsonl", lines([{"frage_text": "Wer?", "antwort_text": "Ich."}]))
    planned = plan(folder, Recipe(), str(path), {})
    (look,) = glimpses(planned.files, Recipe(), planned.entry)
    assert look.format is None
    assert "frage_text, antwort_text" in look.sentences["no_format"]
    planned = plan(folder, Recipe(), str(path), {"columns": {"prompt": "frage_text", "response": "antwort_text"}})
    (look,) = glimpses(planned.files, Recipe(), planned.entry)
    assert (look.format, look.confidence) == ("alpaca", 1.0)


# ------------------------------------------------------------------------------------------------------------ the deed


def test_a_file_from_elsewhere_is_copied_and_named_in_the_recipe(folder: Folder) -> None:
    folder.recipe.write_text("# ours\nraw:\n  max_quarantined: 5\n")
    path = elsewhere(folder, "mine.jsonl", lines([{"q": "Hi", "a": "Yo"}]))
    options = {"license": "mit", "columns": {"prompt": "q", "response": "a"}}
    add(folder, plan(folder, Recipe.load(folder.recipe), str(path), options))
    assert (folder.sources / "mine.jsonl").read_bytes() == path.read_bytes()
    recipe = Recipe.load(folder.recipe)
    assert (recipe.sources[0].path, recipe.sources[0].license, recipe.raw.max_quarantined) == ("mine.jsonl", "mit", 5)
    assert folder.recipe.read_text().startswith("# ours\n")


def test_a_folder_is_copied_whole(folder: Folder) -> None:
    for n in range(3):
        elsewhere(folder, f"chats/{n}.json", lines([{"instruction": f"{n}?", "output": "yes"}]))
    planned = plan(folder, Recipe(), str(folder.root.parent / "downloads" / "chats"), {})
    assert [file.name for file in planned.files] == ["chats/0.json", "chats/1.json", "chats/2.json"]
    add(folder, planned)
    assert len(list((folder.sources / "chats").iterdir())) == 3


def test_a_file_that_is_in_sources_already_only_gets_its_entry(folder: Folder) -> None:
    put(folder, "here.json", [{"instruction": "Hi", "output": "Yo"}])
    planned = plan(folder, Recipe(), "here.json", {"license": "mit"})
    assert planned.copy is None
    add(folder, planned)
    assert yaml.safe_load(folder.recipe.read_text()) == {"sources": [{"path": "here.json", "license": "mit"}]}


def test_another_file_of_the_same_name_is_never_overwritten(folder: Folder) -> None:
    put(folder, "mine.jsonl", [{"instruction": "old", "output": "old"}])
    path = elsewhere(folder, "mine.jsonl", lines([{"instruction": "new", "output": "new"}]))
    with pytest.raises(SftError, match="is there already, with other content"):
        plan(folder, Recipe(), str(path), {})


@pytest.mark.parametrize(
    ("what", "options", "says"),
    [
        ("nowhere.json", {}, "there is no such file"),
        ("here.json", {"format": "alpacca"}, "did you mean 'alpaca'"),
        ("here.json", {"columns": {"promt": "q"}}, "columns.promt"),
        ("here.json", {"split": "train"}, "are of hub datasets"),
        ("hub:not a name", {}, "hub"),
    ],
)
def test_what_cannot_be_added_is_refused_in_a_sentence(folder: Folder, what: str, options: dict[str, Any], says: str) -> None:
    put(folder, "here.json", [{"instruction": "Hi", "output": "Yo"}])
    with pytest.raises(SftError) as caught:
        plan(folder, Recipe(), what, options)
    assert says in str(caught.value)


def test_what_the_recipe_names_already_is_not_added_twice(folder: Folder) -> None:
    put(folder, "here.json", [{"instruction": "Hi", "output": "Yo"}])
    recipe = Recipe.model_validate({"sources": [{"path": "here.json"}]})
    with pytest.raises(SftError, match=r"has an entry for here\.json already"):
        plan(folder, recipe, "here.json", {})
