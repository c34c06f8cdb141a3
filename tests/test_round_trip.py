"""What we read of a format that we also export, and write again, is the record that was read."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from conftest import CORPUS
from hypothesis import given
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats import alpaca, messages, preference
from sft_assets.formats.turns import ROLES

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")

ALPACA = (
    "alpaca_en_demo.json", "alpaca_zh_demo.json", "identity.json", "gsm8k_train_alpaca.json.gz", "chatdoctor5k.json.gz",
    "evol_teacher_code_2k.json", "rasbt_instruction_data.json", "gpteacher_codegen_instruct.json",
    "gpteacher_roleplay_deduped.json",
)  # fmt: skip


def records(name: str) -> Iterator[dict[str, Any]]:
    content = (CORPUS / name).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    try:
        yield from orjson.loads(content)
    except orjson.JSONDecodeError:
        yield from map(orjson.loads, content.splitlines())


def said(record: dict[str, Any]) -> dict[str, Any]:
    """What an Alpaca record says: its fields that are not empty."""
    fields = {"response": "output"}
    named = {fields.get(k, k): v for k, v in record.items()}
    return {k: named[k] for k in ("instruction", "input", "output", "system", "history") if named.get(k)}


@pytest.mark.parametrize("name", ALPACA)
def test_an_alpaca_file_comes_back_record_by_record(name: str) -> None:
    n = 0
    for n, record in enumerate(records(f"instruct/{name}"), 1):
        (row,) = formats.read(alpaca.NAME, record)
        assert said(alpaca.write(row)) == said(record), f"record {n}"
    assert n > 90


def turns(value: Any) -> list[tuple[str, str]]:
    """Turns of any dialect as (role, text)."""
    value = [value] if isinstance(value, dict) else value
    return [(ROLES[turn.get("role") or turn["from"]], turn.get("content") or turn["value"]) for turn in value]


@pytest.mark.parametrize("name", ["preference/kto_en_demo.json", "instruct/mllm_demo.json"])
def test_a_messages_file_comes_back_turn_by_turn(name: str) -> None:
    for record in records(name):
        (row,) = formats.read(messages.NAME, record)
        assert messages.write(row.messages) == [{"role": t["role"], "content": t["content"]} for t in record["messages"]]


def test_sharegpt_pairs_come_back_as_prompt_chosen_and_rejected() -> None:
    for record in records("preference/dpo_en_demo.json.gz"):
        (row,) = formats.read(preference.NAME, record)
        parts = preference.write(row)
        assert [(m.role, m.content) for m in parts["prompt"]] == turns(record["conversations"])
        assert [(m.role, m.content) for m in parts["chosen"]] == turns(record["chosen"])
        assert [(m.role, m.content) for m in parts["rejected"]] == turns(record["rejected"])


def test_alpaca_pairs_come_back_as_prompt_chosen_and_rejected() -> None:
    for record in records("preference/rasbt_instruction_preference.json"):
        if record["chosen"] == record["rejected"]:
            continue
        (row,) = formats.read(preference.NAME, record)
        parts = preference.write(row)
        assert parts["chosen"][0].content == record["chosen"]
        assert parts["rejected"][0].content == record["rejected"]
        prompt = "\n".join(filter(None, (record["instruction"], record["input"])))
        assert [m.content for m in parts["prompt"]] == [prompt]


@given(
    st.fixed_dictionaries(
        {"instruction": st.text(min_size=1), "input": st.text(), "output": st.text()},
        optional={"system": st.text(), "history": st.lists(st.tuples(st.text(), st.text()).map(list), max_size=3)},
    )
)
def test_any_alpaca_record_comes_back(record: dict[str, Any]) -> None:
    if record["input"].strip().lower() in alpaca.NO_INPUT:
        record["input"] = ""
    (row,) = formats.read(alpaca.NAME, record)
    assert said(alpaca.write(row)) == said(record)
