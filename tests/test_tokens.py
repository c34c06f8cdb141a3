"""exported.tokens: as many tokens as the tokenizer itself gives, in its template, of every kind of row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sft_assets.arrow import messages_array
from sft_assets.errors import SftError
from sft_assets.exported import tokens as module
from sft_assets.exported.asset import exported
from sft_assets.exported.tokens import Counter, digest_of, tokenizer_of
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message
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


def test_a_pair_that_the_template_refuses_is_one_row(tmp_path: Path) -> None:
    counter = Counter.of(str(save(tmp_path, "{{ raise_exception('no') }}")))
    counted(counter, chat("Hi", "Ho", kind="preference", rejected=[Message("assistant", "He")]), chat("Hi", "Ho"))
    assert counter.about()["not_in_template"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "{{ 1 // 0 }}",
        "{{ 1e300 ** 9 }}",
        "{% macro deep() %}{{ deep() }}{% endmacro %}{{ deep() }}",
        "{{ 'x' | format(y=1) | attr('encode')('no-codec') }}",
        "{{ 'a'.join(messages | map('int')) }}{{ '%d' % 'a' }}",
        "{{ messages | sort(attribute='content') | sum }}",
        "{{ {} | dictsort(by='neither') }}",
    ],
)
def test_a_template_that_fails_counts_as_one_that_refuses(tmp_path: Path, wrong: str) -> None:
    counter = Counter.of(str(save(tmp_path, wrong)))
    assert counted(counter, chat("Hi", "Ho")) == [len("Hi\n\nHo")]
    assert counter.refused == 1


def test_a_template_that_writes_nothing_makes_no_tokens(tmp_path: Path) -> None:
    assert counted(Counter.of(str(save(tmp_path, "{# #}"))), chat("Hi", "Ho")) == [0]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_an_edited_tokenizer_is_another_one(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "mine") / name
    before = {form: digest_of(form, tmp_path) for form in ("mine", str(tmp_path / "mine"), "mine/tokenizer.json")}
    assert all(before.values())
    path.write_text(path.read_text() + "\n")
    after = {form: digest_of(form, tmp_path) for form in before}
    same = {form for form in before if before[form] == after[form]}
    assert same == ({"mine/tokenizer.json"} if name != "tokenizer.json" else set())


def test_a_tokenizer_that_is_no_file_is_told_by_its_name(tmp_path: Path) -> None:
    assert [digest_of(name, tmp_path) for name in ("embedded", "acme/none")] == ["", ""]


def test_a_relative_path_starts_from_the_data_folder(tmp_path: Path) -> None:
    save(tmp_path / "mine")
    assert tokenizer_of("mine", fetch=False, root=tmp_path).chat_template == CHATML


def test_an_edited_tokenizer_makes_the_export_stale(folder: Folder) -> None:
    template_file = save(folder.root / "mine") / "chat_template.jinja"
    recipe = Recipe.model_validate({"exported": {"tokenizer": "mine"}})
    before = exported.code_version(folder, recipe)
    template_file.write_text(template_file.read_text() + " ")
    assert exported.code_version(folder, recipe) != before


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


def test_the_template_of_these_tests_says_what_it_should(path: Path) -> None:
    assert tokenizer_of(str(path)).chat_template == CHATML
