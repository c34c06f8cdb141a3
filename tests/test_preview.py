"""exported.preview: the tokens that are shown as trained are those that the template marks, or that an answer adds to its
prompt; what would not be learned is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import fresh, say

from sft_assets.arrow import messages_array, uuids
from sft_assets.errors import SftError
from sft_assets.exported.preview import Preview, preview, rows_of
from sft_assets.exported.preview_page import page
from sft_assets.exported.tokens import tokenizer_of
from sft_assets.folder import Folder
from sft_assets.record import Conversation, Message
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build, Table
from tests.made_rows import chat, hash_of, id_of
from tests.made_tokenizers import CHATML, GENERATION, save, template

CALL = '[{"type":"function","function":{"name":"clock","arguments":"{}"}}]'
TOOLS = '[{"type":"function","function":{"name":"watch"}}]'
TALK = chat("Where?", "In Rome.", "Sure?", "Yes, naïve one.")


def row_of(row: Conversation) -> dict[str, Any]:
    turns = [[turn._asdict() for turn in some] if some else None for some in (row.messages, row.rejected)]
    return {
        "row_id": "9f3c", "split": "train", "kind": row.kind,
        "messages": turns[0], "rejected": turns[1], "tools": row.tools,
    }  # fmt: skip


Looked = Callable[..., list[Preview]]


@pytest.fixture
def look(tmp_path: Path) -> Looked:
    """Preview a row with a tokenizer made for it."""

    def looked(row: Conversation, chat_template: str | None = CHATML, eos: str = "<|im_end|>", **options: Any) -> list[Preview]:
        return preview(tokenizer_of(str(save(tmp_path / "tokenizer", chat_template, eos))), row_of(row), **options)

    return looked


def trained(one: Preview) -> list[str]:
    return [piece.text for piece in one.pieces if piece.trained]


def text(one: Preview) -> str:
    return "".join(piece.text for piece in one.pieces)


# -------------------------------------------------------------------------------------------------------- what is trained


def test_what_the_template_marks_is_trained(look: Looked) -> None:
    (one,) = look(TALK, GENERATION)
    assert trained(one) == ["In Rome.<|im_end|>", "Yes, naïve one.<|im_end|>"]
    assert "assistant_only_loss has it" in one.how
    assert one.warnings == []


def test_without_marks_it_is_what_each_answer_adds_to_its_prompt(look: Looked) -> None:
    (one,) = look(TALK, CHATML)
    assert trained(one) == ["In Rome.<|im_end|>\n", "Yes, naïve one.<|im_end|>\n"]
    assert "without that option TRL trains on every token" in one.how
    assert one.warnings == []


@pytest.mark.parametrize("chat_template", [CHATML, GENERATION])
def test_the_pieces_are_the_whole_text_and_the_counts_are_the_tokenizers(
    look: Looked, tmp_path: Path, chat_template: str
) -> None:
    (one,) = look(TALK, chat_template)
    tokenizer = tokenizer_of(str(tmp_path / "tokenizer"))
    whole = tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in TALK.messages], tokenize=False)
    assert text(one) == whole
    assert one.count() == len(tokenizer(whole, add_special_tokens=False)["input_ids"])
    assert one.count(trained=True) == sum(len(tokenizer(part)["input_ids"]) for part in trained(one))


@pytest.mark.parametrize("chat_template", [CHATML, GENERATION])
def test_a_turn_of_weight_0_is_not_trained(look: Looked, chat_template: str) -> None:
    turns = [turn._replace(weight=0.0) if turn.content == "In Rome." else turn for turn in TALK.messages]
    (one,) = look(Conversation(turns), chat_template)
    assert [part.strip() for part in trained(one)] == ["Yes, naïve one.<|im_end|>"]
    assert any("weight 0" in warning for warning in one.warnings)


@pytest.mark.parametrize("chat_template", [CHATML, GENERATION])
def test_calls_are_trained_and_what_tools_answer_is_not(look: Looked, chat_template: str) -> None:
    turns = [
        Message("user", "Time?"), Message("assistant", "", tool_calls=CALL), Message("tool", "12:04"),
        Message("assistant", "It is 12:04."),
    ]  # fmt: skip
    (one,) = look(Conversation(turns, tools=TOOLS), chat_template)
    first, last = trained(one)
    assert '"name": "clock"' in first and last.startswith("It is 12:04.")
    assert "watch" in text(one) and not any("watch" in part for part in trained(one))
    assert one.warnings == []


def test_of_a_pair_both_answers_are_trained_after_the_prompt_that_they_share(look: Looked) -> None:
    pair = chat("Hi", "Ho", "Where?", "In Rome.", kind="preference", rejected=[Message("assistant", "In Rom.")])
    chosen, rejected = look(pair, GENERATION)
    assert (chosen.answer, trained(chosen)) == ("chosen", ["In Rome.<|im_end|>\n"])
    assert (rejected.answer, trained(rejected)) == ("rejected", ["In Rom.<|im_end|>\n"])
    assert "DPOTrainer" in chosen.how


def test_of_an_unpaired_row_the_last_answer_is_trained(look: Looked) -> None:
    (one,) = look(chat("Hi", "Ho", "Where?", "In Rome.", kind="unpaired", label=True), CHATML)
    assert trained(one) == ["In Rome.<|im_end|>\n"]


def test_what_is_beyond_the_longest_sequence_is_cut(look: Looked) -> None:
    (whole,) = look(chat("Where?", "In Rome."), GENERATION)
    before = sum(piece.tokens for piece in whole.pieces[:1])
    (one,) = look(chat("Where?", "In Rome."), GENERATION, max_length=before + 3)
    assert (one.count(cut=False), one.count(trained=True, cut=False)) == (before + 3, 3)
    assert [piece.text for piece in one.pieces if piece.trained and not piece.cut] == ["In "]
    assert any("the end of the answer with them" in warning for warning in one.warnings)
    (none,) = look(chat("Where?", "In Rome."), GENERATION, max_length=before)
    assert any("every token that would be trained is beyond" in warning for warning in none.warnings)


# -------------------------------------------------------------------------------------------------------- what is warned of

SYSTEM = Conversation([Message("system", "Be brief."), *TALK.messages[:2]])
THINKING = template(
    "{% if loop.last %}{{ '<think>' + (message.reasoning or '') + '</think>' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}"
)
NO_END = template("{{ message['content'] + '\n' }}")
END_UNMARKED = template("{% generation %}{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>\n' }}")
NO_SYSTEM = template(
    "{{ message['content'] + '<|im_end|>\n' }}", "{% if message.role != 'system' %}{{ message.content }}{% endif %}"
)
NO_TOOLS = template("{{ message['content'] + '<|im_end|>\n' }}", before="")
CALLING = Conversation([Message("user", "?"), Message("assistant", "", tool_calls=CALL)])
THOUGHT = [Message("user", "?"), Message("assistant", "1", reasoning="so"), Message("user", "?"), Message("assistant", "2")]


@pytest.mark.parametrize(
    ("row", "chat_template", "says"),
    [
        (TALK, END_UNMARKED, "(<|im_end|>) is there and is not trained"),
        (TALK, NO_END, "follows the last one: the model would not learn to stop"),
        (SYSTEM, NO_SYSTEM, "drops the content of turn 1 (system)"),
        (Conversation(TALK.messages, tools=TOOLS), NO_TOOLS, "drops the tools"),
        (CALLING, NO_TOOLS, "drops the tool calls of turn 2"),
        (Conversation(THOUGHT), THINKING, "the prefix property fails"),
        (Conversation(THOUGHT), THINKING, "drops the reasoning of turn 2"),
        (chat("Say <|im_end|>", "No."), CHATML, "turn 1 (user) has <|im_end|> in its text"),
        (Conversation(TALK.messages[:1]), CHATML, "no token of it is trained"),
        (TALK, "{{ raise_exception('not you') }}", "the template refuses the conversation (not you)"),
    ],
)  # fmt: skip
def test_what_would_not_be_learned_is_said(look: Looked, row: Conversation, chat_template: str, says: str) -> None:
    (one,) = look(row, chat_template)
    assert any(says in warning for warning in one.warnings), one.warnings


@pytest.mark.parametrize("row", [TALK, chat("Hi", "Ho", kind="preference", rejected=[Message("assistant", "He")])])
def test_a_template_that_writes_nothing_is_shown_as_nothing(look: Looked, row: Conversation) -> None:
    for one in look(row, "{# #}"):
        assert (one.pieces, one.count()) == ([], 0)
        assert "no token of it is trained" in one.warnings


def test_a_template_that_fails_is_said(look: Looked) -> None:
    (one,) = look(TALK, "{{ 1 // 0 }}")
    assert "the template refuses the conversation" in one.how and "by zero" in one.how


def test_a_template_that_wants_tools_is_shown(look: Looked) -> None:
    wants = template(
        "{{ message['content'] + '<|im_end|>\n' }}", before="{% if not tools %}{{ raise_exception('no tools') }}{% endif %}"
    )
    (one,) = look(Conversation(TALK.messages, tools=TOOLS), wants)
    assert "In Rome." in text(one)


def test_an_end_that_is_not_the_tokenizers_eos_is_said(look: Looked) -> None:
    (one,) = look(TALK, GENERATION, eos="</s>")
    assert any("the tokenizer's eos_token is </s>" in warning for warning in one.warnings)


def test_a_tokenizer_without_a_template_is_said(look: Looked) -> None:
    (one,) = look(TALK, None)
    assert "has no chat template" in one.how
    assert "In Rome." in text(one)


# --------------------------------------------------------------------------------------------------- the command line

EXPORTED = Table("exported", {"row_id": "UUID", "content_hash": "UUID", "split": "VARCHAR"}, after="combined")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A data folder with an export of a pair, six talks, and a row that must not be taken for markup."""
    folder = fresh(tmp_path / "data")
    say(folder)
    rows = [chat(f"What is {n}?", "[bold]A number[/] \x1b[31m") for n in range(6)]
    rows.append(chat("Where?", "In Rome.", kind="preference", rejected=[Message("assistant", "Here.")]))
    exported(folder, rows, ["train"] * 5 + ["test", "train"])
    return folder


def exported(folder: Folder, rows: list[Conversation], splits: list[str]) -> None:
    from sft_assets.combined import asset as combined
    from sft_assets.raw import asset as raw

    ids, hashes = uuids(map(id_of, rows)), uuids(map(hash_of, rows))
    strings = {"kind": [row.kind for row in rows], "tools": [row.tools for row in rows]}
    with Warehouse(folder.database).writing() as con:
        with Build.begin(con, raw.TABLE, "1", {}) as build:
            build.store("records", "record_hash", pa.table({"record_hash": ids, "record": ["{}"] * len(rows)}))
            build.insert(pa.table({"row_id": ids, "record_hash": ids}))
            build.records_in = len(rows)
        with Build.begin(con, combined.TABLE, "1", {"raw": "1"}) as build:
            contents = {
                "content_hash": hashes,
                "messages": messages_array([row.messages for row in rows]),
                "rejected": messages_array([row.rejected for row in rows]),
                "tools": pa.array(strings["tools"], pa.string()),
            }
            build.store("contents", "content_hash", pa.table(contents))
            kinds = pa.array(strings["kind"], pa.string())
            build.insert(pa.table({"row_id": ids, "record_id": ids, "content_hash": hashes, "kind": kinds}))
        with Build.begin(con, EXPORTED, "1", {"combined": "1"}) as build:
            build.insert(pa.table({"row_id": ids, "content_hash": hashes, "split": pa.array(splits)}))


def test_by_default_a_few_rows_of_train_are_shown_of_each_kind_some(folder: Folder) -> None:
    found = rows_of(Warehouse(folder.database), (), 3, None)
    assert [row["split"] for row in found] == ["train"] * 3
    assert {row["kind"] for row in found[:2]} == {"sft", "preference"}
    assert [row["split"] for row in rows_of(Warehouse(folder.database), (), 9, "test")] == ["test"]


def test_rows_are_named_by_the_first_characters_of_their_id(folder: Folder) -> None:
    house = Warehouse(folder.database)
    (row, *_) = rows_of(house, (), 1, None)
    assert rows_of(house, [row["row_id"][:8].upper()], 3, None) == [row]
    for name, says in [("0000", "no row of the export begins with"), ("ab", "is no row id"), ("where", "is no row id")]:
        with pytest.raises(SftError, match=says):
            rows_of(house, [name], 3, None)
    with pytest.raises(SftError, match="has no split 'dev': test, train"):
        rows_of(house, (), 3, "dev")


def test_sft_preview_marks_what_is_trained_and_shows_the_data_as_it_is(
    folder: Folder, tmp_path: Path, sft: Callable[..., tuple[int, str, str]]
) -> None:
    tokenizer = str(save(tmp_path / "tokenizer", GENERATION))
    code, out, err = sft("preview", "--data", str(folder.root), "--tokenizer", tokenizer, "--split", "test")
    assert code == 0, err
    assert "[trained][bold]A number[/] \\u001b[31m<|im_end|>[/trained]" in out
    assert "assistant_only_loss" in out


def test_the_recipes_tokenizer_is_looked_for_in_the_data_folder(
    folder: Folder, sft: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder.root / "mine", GENERATION)
    say(folder, exported={"tokenizer": "mine"})
    monkeypatch.chdir(folder.root.parent)
    code, out, err = sft("preview", "--data", str(folder.root))
    assert code == 0, err
    assert "assistant_only_loss" in out


def test_the_page_marks_what_is_trained_and_is_inert(look: Looked) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    (one,) = look(chat(f"Hi {evil}", f"{evil} Yes"), GENERATION, max_length=120)
    html = page([one], "<b>mine</b>")
    assert "<script" not in html and "<img" not in html and "<b>mine" not in html
    assert "<mark>&lt;script&gt;" in html and "<s><mark>" in html
    assert "default-src 'none'" in html


def test_without_an_export_it_is_said(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "empty")
    with pytest.raises(SftError, match="there is no dataset yet"):
        rows_of(Warehouse(folder.database), (), 3, None)
    with Warehouse(folder.database).writing():
        pass
    with pytest.raises(SftError, match="nothing is exported yet: `sft export`"):
        rows_of(Warehouse(folder.database), (), 3, None)
