"""exported.tokens: as many tokens as the tokenizer itself gives, in its template, of every kind of row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.errors import SftError
from sft_assets.exported import tokens as module
from sft_assets.exported.tokens import Counter, summary, token_stats, tokenizer_of
from sft_assets.record import Conversation, Message, messages_array
from tests.made_rows import chat
from tests.made_tokenizers import CHATML, save, template

CALL = '[{"type":"function","function":{"name":"clock","arguments":"{\\"city\\": \\"Rome\\"}"}}]'
TOOLS = '[{"type":"function","function":{"name":"clock"}}]'


def batch(*rows: Conversation) -> pa.RecordBatch:
    columns = {
        "messages": messages_array([row.messages for row in rows]),
        "rejected": messages_array([row.rejected for row in rows]),
        "tools": pa.array([row.tools for row in rows], pa.string()),
        "kind": pa.array([row.kind for row in rows]),
    }
    return pa.RecordBatch.from_pydict(columns)


def counted(counter: Counter, *rows: Conversation) -> list[int]:
    found: list[int] = counter.count(batch(*rows)).to_pylist()
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tokenizers") / "chatml")


def test_a_row_has_as_many_tokens_as_the_tokenizer_gives_in_its_template(path: Path) -> None:
    counter = Counter.of(str(path))
    rows = [chat("Where?", "In Rome."), chat("Hi", "Hello", "Wo ist das Café?", "Dort."), chat("", "Ok")]
    expected = [
        len(counter.tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in row.messages])["input_ids"])
        for row in rows
    ]
    assert counted(counter, *rows) == expected
    assert counter.how == "in its chat template"


def test_the_batch_plays_no_part(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter.of(str(path))
    rows = [chat(f"What is {i}?", "It is a number. " * (i % 7)) for i in range(50)]
    whole = counted(counter, *rows)
    monkeypatch.setattr(module, "TOGETHER", 3)
    assert counted(counter, *rows) == whole
    assert [counted(counter, row)[0] for row in rows] == whole
    assert counter.count(batch(*rows).slice(10, 5)).to_pylist() == whole[10:15]
    assert counter.count(batch().slice(0, 0)).to_pylist() == []


def test_a_pair_counts_as_the_longer_of_its_conversations(path: Path) -> None:
    counter = Counter.of(str(path))
    short, long = "In Rome.", "It stands in Rome, on a hill."
    plain = counted(counter, chat("Where?", short), chat("Where?", long))
    pairs = [
        chat("Where?", short, kind="preference", rejected=[Message("assistant", long)]),
        chat("Where?", long, kind="preference", rejected=[Message("assistant", short)]),
    ]
    assert plain[0] < plain[1]
    assert counted(counter, *pairs) == [plain[1], plain[1]]


def test_tools_and_calls_count(path: Path) -> None:
    counter = Counter.of(str(path))
    turns = [Message("user", "Time?"), Message("assistant", "", tool_calls=CALL), Message("tool", "12:04")]
    with_calls, without = Conversation(turns, tools=TOOLS), Conversation([turns[0], Message("assistant", ""), turns[2]])
    shown = module.rendered(counter.tokenizer, module.turns_of(turn._asdict() for turn in turns), TOOLS)
    assert '"arguments": {"city": "Rome"}' in shown  # an object, as templates want it
    found = counted(counter, with_calls, without)
    assert found[0] == len(counter.tokenizer(shown, add_special_tokens=False)["input_ids"])
    assert found[0] > found[1]


def test_without_a_template_the_contents_count(tmp_path: Path) -> None:
    counter = Counter.of(str(save(tmp_path, None)))
    assert counted(counter, chat("Hello", "Hi.")) == [len("Hello\n\nHi.")]
    assert counter.how == "the contents joined"


def test_a_row_that_the_template_refuses_counts_by_its_contents_and_is_told(tmp_path: Path) -> None:
    strict = template(
        "{{ message['content'] }}", before="{% if messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}"
    )
    counter = Counter.of(str(save(tmp_path, strict)))
    found = counted(counter, chat("Hi", "Ho"), chat("Hi", "Ho", "Hi", "Ho"))
    assert found[1] == len("Hi\n\nHo\n\nHi\n\nHo")
    assert counter.about()["not_in_template"] == 1


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_tokenizer_is_named_by_its_folder_or_its_file(path: Path, form: str) -> None:
    name = path if form == "folder" else path / "tokenizer.json"
    assert tokenizer_of(str(name))("Hi", add_special_tokens=False)["input_ids"] == tokenizer_of(str(path))("Hi")["input_ids"]


def test_a_tokenizer_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SftError, match=r"there is no tokenizer 'acme/none'.*tokenizer\.json, or a model of the hub"):
        tokenizer_of("acme/none", fetch=False)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SftError, match=r"is no tokenizer\.json"):
        tokenizer_of(str(tmp_path / "tokenizer.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SftError, match="cannot be loaded"):
        tokenizer_of(str(tmp_path / "empty"))


def test_code_that_comes_with_a_tokenizer_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    save(tmp_path / "t")
    (tmp_path / "t" / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass T: pass\n")
    config = '{"auto_map": {"AutoTokenizer": ["code.T", "code.T"]}, "tokenizer_class": "T"}'
    (tmp_path / "t" / "tokenizer_config.json").write_text(config)
    try:
        tokenizer_of(str(tmp_path / "t"))
    except SftError as error:
        assert "is not run" in str(error) or "cannot be loaded" in str(error)
    assert not ran.exists()


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_percentiles_are_counts_of_rows_that_are_there(counts: list[int]) -> None:
    found: dict[str, Any] = token_stats(np.array(counts, np.int32))
    assert (found["rows"], found["tokens"], found["longest"]) == (len(counts), sum(counts), max(counts))
    for percent in module.PERCENTILES:
        value = found[f"p{percent}"]
        assert value in counts
        assert sum(count <= value for count in counts) >= len(counts) * percent / 100
        assert sum(count < value for count in counts) < len(counts) * percent / 100


def test_a_summary_holds_every_kind_and_split(path: Path) -> None:
    found = summary({"sft": {"train": np.array([3, 1], np.int32), "test": np.array([], np.int32)}})
    assert found["sft"]["train"]["tokens"] == 4
    assert found["sft"]["test"] == {"rows": 0, "tokens": 0}


def test_the_template_of_these_tests_says_what_it_should(path: Path) -> None:
    assert tokenizer_of(str(path)).chat_template == CHATML
