"""dataset_info.json (LLaMA-Factory) describes the files beside it; a wrong description or hint is reported, not obeyed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from conftest import CORPUS, build, put, rows, say

from sft_assets.combined.asset import combined
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.raw.dataset_info import descriptions

CHATS = [
    {"dialogue": [{"who": "customer", "line": f"Where is parcel {n}?"}, {"who": "agent", "line": f"Parcel {n} is on its way."}]}
    for n in range(4)
]
ENTRY = {
    "file_name": "chats.json",
    "formatting": "sharegpt",
    "columns": {"messages": "dialogue"},
    "tags": {"role_tag": "who", "content_tag": "line", "user_tag": "customer", "assistant_tag": "agent"},
}
TURNS = [("user", "Where is parcel 0?"), ("assistant", "Parcel 0 is on its way.")]


def turns(folder: Folder, place: str) -> list[tuple[str, str]]:
    ((messages,),) = rows(folder, f"SELECT messages FROM combined WHERE source_file || ':' || source_row = '{place}'")
    return [(m["role"], m["content"]) for m in messages]


def described(folder: Folder, info: Any) -> None:
    put(folder, "dataset_info.json", orjson.dumps(info))


def test_a_file_is_read_as_its_description_says(folder: Folder) -> None:
    put(folder, "chats.json", orjson.dumps(CHATS))
    described(folder, {"chats": ENTRY})
    version, _ = build(folder, raw, combined)
    assert turns(folder, "chats.json:1") == TURNS
    assert version.report["refused_files"] == 0
    assert {"file": "chats.json", "records": 4} in version.report["read"]


def test_the_description_itself_is_no_data_and_says_what_it_describes(folder: Folder) -> None:
    put(folder, "chats.json", orjson.dumps(CHATS))
    described(folder, {"chats": ENTRY, "gone": {"file_name": "gone.json"}, "far": {"hf_hub_url": "owner/far"}})
    (version,) = build(folder, raw)
    (entry,) = [e for e in version.report["read"] if "describes" in e]
    assert entry["file"] == "dataset_info.json"
    assert entry["describes"] == (
        "describes 3 datasets: 1 of its 2 files are here, 1 are elsewhere and count where the recipe names them"
    )


def test_without_its_description_the_same_file_is_refused(folder: Folder) -> None:
    put(folder, "chats.json", orjson.dumps(CHATS))
    build(folder, raw)
    assert rows(folder, "SELECT source_file, reason FROM quarantine") == [("chats.json", "no_format")]


def test_a_changed_description_makes_combined_stale(folder: Folder) -> None:
    say(folder, raw={"max_quarantined": 100})
    put(folder, "chats.json", orjson.dumps(CHATS))
    described(folder, {"chats": ENTRY})
    build(folder, raw, combined)
    swapped = ENTRY | {"tags": ENTRY["tags"] | {"user_tag": "agent", "assistant_tag": "customer"}}  # type: ignore[operator]
    put(folder, "more.json", orjson.dumps([{"instruction": f"Name {n}", "output": "yes"} for n in range(40)]))
    described(folder, {"chats": swapped})
    build(folder, raw, combined)
    reasons = rows(folder, "SELECT DISTINCT reason FROM quarantine WHERE state = 'combined' AND source_file = 'chats.json'")
    assert reasons == [("starts_without_user",)]


def test_the_recipe_has_the_last_word(folder: Folder) -> None:
    put(folder, "chats.json", orjson.dumps([{"q": "Who?", "a": "Me."}]))
    described(folder, {"chats": {"file_name": "chats.json", "columns": {"prompt": "a", "response": "q"}}})
    say(folder, sources=[{"path": "chats.json", "columns": {"prompt": "q", "response": "a"}}])
    build(folder, raw, combined)
    assert turns(folder, "chats.json:1") == [("user", "Who?"), ("assistant", "Me.")]


def test_a_description_in_a_folder_describes_the_files_of_that_folder(folder: Folder) -> None:
    put(folder, "factory/chats.json", orjson.dumps(CHATS))
    put(folder, "factory/dataset_info.json", orjson.dumps({"chats": ENTRY}))
    build(folder, raw, combined)
    assert turns(folder, "factory/chats.json:1") == TURNS


def test_a_preference_set_with_ranking_is_read_as_pairs(folder: Folder) -> None:
    record = {"ask": "Name a prime.", "good": "7", "bad": "9"}
    put(folder, "pairs.json", orjson.dumps([record]))
    columns = {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    described(folder, {"pairs": {"file_name": "pairs.json", "ranking": True, "columns": columns}})
    build(folder, raw, combined)
    ((kind, messages, rejected),) = rows(folder, "SELECT kind, messages, rejected FROM combined")
    assert (kind, messages[-1]["content"], rejected[-1]["content"]) == ("preference", "7", "9")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"file_name": "../chats.json"}, "leads out of its folder"),
        ({"file_name": "/etc/chats.json"}, "leads out of its folder"),
        ({"file_name": "chats.json", "formatting": "vicuna"}, "formatting 'vicuna' is not known"),
        ({"file_name": "chats.json", "columns": ["a"]}, "columns must map names to names"),
        ({"file_name": "chats.json", "tags": {"role_tag": 5}}, "tags must map names to names"),
    ],
)
def test_a_description_that_cannot_be_is_refused_with_its_entry(folder: Folder, entry: dict[str, Any], says: str) -> None:
    described(folder, {"mine": entry})
    build(folder, raw)
    ((file, detail),) = rows(folder, "SELECT source_file, detail FROM quarantine")
    assert file == "dataset_info.json"
    assert "entry 'mine'" in detail
    assert says in detail


def test_the_hubs_own_dataset_info_is_no_description(folder: Folder) -> None:
    put(folder, "chats.json", orjson.dumps(CHATS))
    described(folder, {"features": {"text": {"dtype": "string"}}, "splits": {"train": {"num_examples": 4}}})
    build(folder, raw)
    assert ("dataset_info.json",) in rows(folder, "SELECT source_file FROM quarantine")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
def test_llamafactorys_own_description_reads_its_demo_files(folder: Folder) -> None:
    for name in ("alpaca_en_demo", "identity", "glaive_toolcall_en_demo", "mllm_demo"):
        put(folder, f"{name}.json", (CORPUS / "instruct" / f"{name}.json").read_bytes())
    put(folder, "kto_en_demo.json", (CORPUS / "preference" / "kto_en_demo.json").read_bytes())
    put(folder, "dataset_info.json", (CORPUS / "instruct" / "llamafactory_dataset_info.json").read_bytes())
    found = descriptions(folder.sources, Folder.files(folder.sources))
    assert found.files["glaive_toolcall_en_demo.json"].hints.columns == {"messages": "conversations", "tools": "tools"}
    assert found.files["kto_en_demo.json"].hints.columns == {"messages": "messages", "kto_tag": "label"}
    assert found.hub["BUAADreamer/llava-en-zh-2k"].config == "en"
    build(folder, raw, combined)
    kinds = rows(folder, "SELECT source, kind, count(*) FROM combined GROUP BY ALL ORDER BY ALL")
    assert kinds == [
        ("alpaca_en_demo", "sft", 999),
        ("glaive_toolcall_en_demo", "sft", 300),
        ("identity", "sft", 91),
        ("kto_en_demo", "unpaired", 300),
        ("mllm_demo", "sft", 6),
    ]


# -------------------------------------------------------------------------------------------------------- wrong hints


def test_a_file_of_another_format_than_stated_is_refused_with_both_names(folder: Folder) -> None:
    records = [{"conversations": [{"from": "human", "value": f"Hi {n}"}, {"from": "gpt", "value": "Hello"}]} for n in range(3)]
    put(folder, "chats.json", records)
    say(folder, sources=[{"path": "chats.json", "format": "alpaca"}])
    build(folder, raw)
    ((reason, detail),) = rows(folder, "SELECT reason, detail FROM quarantine")
    assert reason == "wrong_format"
    assert "the recipe says alpaca, but it is a sharegpt record (fields: conversations)" in detail


def test_records_of_another_format_in_a_stated_file_are_set_aside_one_by_one(folder: Folder) -> None:
    good = [{"instruction": f"Say {n}", "output": str(n)} for n in range(20)]
    put(
        folder, "mixed.json", [*good, {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}]
    )
    say(folder, sources=[{"path": "mixed.json", "format": "alpaca"}])
    build(folder, raw)
    assert rows(folder, "SELECT position, reason FROM quarantine") == [(21, "wrong_format")]
    assert rows(folder, "SELECT count(*) FROM raw") == [(20,)]


def test_a_mapped_column_that_is_not_there_is_named(folder: Folder) -> None:
    put(folder, "q.json", [{"question_text": f"Why {n}?", "answer_text": "So."} for n in range(3)])
    say(folder, sources=[{"path": "q.json", "columns": {"prompt": "question", "response": "answer_text"}}])
    build(folder, raw)
    with pytest.raises(SftError, match=r"no_column \(such as: .*'question'.*question_text, answer_text"):
        build(folder, combined)
