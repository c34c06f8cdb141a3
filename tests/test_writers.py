"""The files of an export: what a format can hold comes back from its file as it was, what it cannot hold is counted."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.arrow import MESSAGE, messages_array
from sft_assets.exported import loaders
from sft_assets.exported.facts import Facts, Source
from sft_assets.exported.writers import FORMATS, REASONS, Config, close, writers
from sft_assets.formats import messages, openai, preference, sharegpt
from sft_assets.formats.writing import CannotHold
from sft_assets.raw.dataset_info import descriptions
from sft_assets.record import Conversation, Message
from tests.conftest import CORPUS

TOOLS = '[{"type":"function","function":{"name":"clock","parameters":{"type":"object","properties":{}}}}]'


def call(arguments: Any = None, ident: str | None = None, name: str = "clock") -> dict[str, Any]:
    told = {} if ident is None else {"id": ident}
    return {**told, "type": "function", "function": {"name": name, "arguments": arguments if arguments is not None else {}}}


def calling(*calls: dict[str, Any], content: str = "") -> Message:
    return Message("assistant", content, tool_calls=orjson.dumps(list(calls)).decode())


def chat(*turns: str, **more: Any) -> Conversation:
    return Conversation([Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)], **more)


def pair(question: str, chosen: str, rejected: str) -> Conversation:
    return chat(question, chosen, kind="preference", rejected=[Message("assistant", rejected)])


def asked(*turns: Message, **more: Any) -> Conversation:
    """A conversation about the time, with tools."""
    return Conversation([Message("user", "What time is it in Rome?"), *turns], tools=TOOLS, **more)


SAID = Message("assistant", "It is 12:04.")
IN_ROME = asked(calling(call({"city": "Rome"})), Message("tool", "12:04"), SAID)
WITH_IDS = asked(
    calling(call('{"city": "Rome"}', "c1"), call('{"city": "Bern"}', "c2")),
    Message("tool", "12:05", tool_call_id="c2"),
    Message("tool", "12:04", tool_call_id="c1"),
    SAID,
)


def batch(rows: list[Conversation]) -> pa.RecordBatch:
    strings = lambda values: pa.array(list(values), pa.string())  # noqa: E731
    columns = {
        "row_id": strings(f"{i:08x}" for i in range(len(rows))),
        "kind": strings(r.kind for r in rows),
        "label": pa.array([r.label for r in rows], pa.bool_()),
        "source": strings("questions" for _ in rows),
        "license": strings("mit" for _ in rows),
        "language": strings("en" for _ in rows),
        "messages": messages_array([r.messages for r in rows]),
        "rejected": messages_array([r.rejected for r in rows]),
        "tools": strings(r.tools for r in rows),
        "input_at": pa.array([r.meta.get("input_at") for r in rows], pa.int32()),
    }
    return pa.RecordBatch.from_pydict(columns)


def write(root: Path, names: set[str], train: list[Conversation], **others: list[Conversation]) -> list[Config]:
    """The configs of an export of these rows, by split."""
    root.mkdir(exist_ok=True)
    splits = {"train": train, **others}
    every = [row for rows in splits.values() for row in rows]
    fields = {
        kind: [
            f.name
            for i, f in enumerate(MESSAGE)
            if i < 2 or any(m[i] is not None for r in every if r.kind == kind for m in [*r.messages, *(r.rejected or [])])
        ]
        for kind in FORMATS
    }
    by_kind = writers(root, fields, names)
    for split, rows in splits.items():
        for kind, of_kind in by_kind.items():
            if chosen := [row for row in rows if row.kind == kind]:
                for writer in of_kind:
                    writer.write(split, batch(chosen))
    return close(by_kind)


def records(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    content = path.read_bytes()
    return orjson.loads(content) if path.suffix == ".json" else [orjson.loads(line) for line in content.splitlines()]


def read(path: Path) -> list[Conversation]:
    """What our own readers make of a file."""
    found: list[Conversation] = []
    for record in records(path):
        name = formats.detect(record)
        assert name is not None
        found += formats.read(name, record)
    return found


def told(row: Conversation) -> tuple[Any, ...]:
    return (row.kind, row.messages, row.rejected, row.label, row.tools)


def left_out(configs: list[Config]) -> dict[str, dict[str, int]]:
    return {config.name: dict(config.left_out) for config in configs if config.left_out}


# ------------------------------------------------------------------------------------------------------ round trips

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
chats = st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(lambda pairs: [t for p in pairs for t in p])
arguments = st.dictionaries(
    texts, st.none() | st.booleans() | texts | st.integers(-9, 9) | st.lists(texts, max_size=2), max_size=2
)
named_calls = st.lists(st.tuples(st.sampled_from(["clock", "map"]), arguments), min_size=1, max_size=3)


@st.composite
def plain_chats(draw: st.DrawFn) -> Conversation:
    row = chat(*draw(chats), tools=draw(st.sampled_from([None, TOOLS])))
    if (system := draw(st.none() | texts)) is not None:
        row.messages.insert(0, Message("system", system))
    return row


@st.composite
def chats_with_calls(draw: st.DrawFn) -> Conversation:
    """Questions, of which some are answered by way of calls; calls with ids, and as many results."""
    row = Conversation([], tools=TOOLS)
    for number, question in enumerate(draw(st.lists(texts, min_size=1, max_size=3))):
        row.messages.append(Message("user", question))
        if draw(st.booleans()):
            made = [(name, told, f"call_{number}_{i}") for i, (name, told) in enumerate(draw(named_calls))]
            row.messages.append(calling(*(call(orjson.dumps(told).decode(), ident, name) for name, told, ident in made)))
            row.messages += [Message("tool", draw(texts), tool_call_id=ident) for _, _, ident in draw(st.permutations(made))]
        row.messages.append(Message("assistant", draw(texts), weight=draw(st.sampled_from([None, 0.0, 1.0]))))
    return row


@given(plain_chats())
def test_sharegpt_that_is_written_reads_the_same(row: Conversation) -> None:
    record = orjson.loads(orjson.dumps(sharegpt.write(row)))
    assert formats.detect(record) == "sharegpt"
    assert formats.read("sharegpt", record) == [row]


@given(texts, named_calls, texts, texts)
def test_calls_in_sharegpt_read_the_same(question: str, made: list[Any], result: str, answer: str) -> None:
    turns = [calling(*(call(told, name=name) for name, told in made)), Message("tool", result), Message("assistant", answer)]
    row = Conversation([Message("user", question), *turns], tools=TOOLS)
    assert formats.read("sharegpt", orjson.loads(orjson.dumps(sharegpt.write(row)))) == [row]


@given(plain_chats(), texts)
def test_pairs_in_sharegpt_read_the_same(row: Conversation, other: str) -> None:
    row.kind, row.rejected = "preference", [Message("assistant", other + row.messages[-1].content)]
    record = orjson.loads(orjson.dumps(sharegpt.write_pair(row, **preference.write(row))))
    assert [told(r) for r in formats.read("preference", record)] == [told(row)]


@given(plain_chats() | chats_with_calls())
def test_openai_that_is_written_reads_the_same(row: Conversation) -> None:
    record = orjson.loads(orjson.dumps(openai.write(row)))
    assert formats.detect(record) == "messages"
    assert formats.read("messages", record) == [row]


@given(plain_chats(), texts)
def test_pairs_of_openai_read_the_same(row: Conversation, other: str) -> None:
    row.kind, row.rejected = "preference", [Message("assistant", other + row.messages[-1].content)]
    record = orjson.loads(orjson.dumps(openai.write_pair(row, **preference.write(row))))
    assert [told(r) for r in formats.read("preference", record)] == [told(row)]


ROWS = [
    chat("Café “lait”?\n", "yes\u0000\t"),
    Conversation([Message("system", "Be short."), *chat("2²?", "4", "3²?", "9").messages]),
    Conversation([Message("user", "Think.", name="Ann"), Message("assistant", "Done.", reasoning="Hm.", weight=0.5)]),
    IN_ROME,
    pair("A prime?", "7", "9"),
    asked(SAID, kind="preference", rejected=[Message("assistant", "Noon.")]),
    chat("Say it.", "No.", kind="unpaired", label=False),
    chat("Say it.", "Yes.", kind="unpaired", label=True),
]


@pytest.mark.parametrize(
    ("name", "path", "kind"),
    [
        ("messages", "data/train-00000-of-00001.parquet", "sft"),
        ("prompt_completion", "prompt_completion/train-00000-of-00001.parquet", "sft"),
        ("preference", "preference/train-00000-of-00001.parquet", "preference"),
        ("preference", "preference/train.jsonl", "preference"),
        ("preference", "unpaired/train-00000-of-00001.parquet", "unpaired"),
        ("preference", "unpaired/train.jsonl", "unpaired"),
        ("sharegpt", "sharegpt/preference-train.json", "preference"),
        ("sharegpt", "sharegpt/kto-train.json", "unpaired"),
        ("openai", "openai/preference-train.jsonl", "preference"),
    ],
)
def test_a_file_reads_as_the_rows_it_was_written_of(tmp_path: Path, name: str, path: str, kind: str) -> None:
    configs = write(tmp_path, {name}, ROWS)
    assert not [c for c in configs if path in c.files and c.left_out]
    assert [told(r) for r in read(tmp_path / path)] == [told(r) for r in ROWS if r.kind == kind]


def test_kto_has_both_answers_of_each_pair_beside_the_labelled_rows(tmp_path: Path) -> None:
    configs = write(tmp_path, {"kto", "preference", "sharegpt"}, ROWS)
    pairs = [r for r in ROWS if r.kind == "preference"]
    sides = [
        *(Conversation(r.messages, "unpaired", label=True, tools=r.tools) for r in pairs),
        *(Conversation([*r.messages[:-1], *(r.rejected or [])], "unpaired", label=False, tools=r.tools) for r in pairs),
    ]
    expected = sorted(str(told(r)) for r in [*sides, *(r for r in ROWS if r.kind == "unpaired")])
    for path in ("kto/train-00000-of-00001.parquet", "kto/train.jsonl", "sharegpt/kto-train.json"):
        assert sorted(str(told(r)) for r in read(tmp_path / path)) == expected
    assert [c.name for c in configs].count("kto") == 1
    assert "unpaired" not in {c.name for c in configs}  # the rows are not written twice
    assert [c.parts["train"].rows for c in configs if c.name in ("kto", "preference")] == [2, 6]


def test_the_two_answers_of_a_pair_are_no_neighbours(tmp_path: Path) -> None:
    write(tmp_path, {"kto"}, [pair(f"Prime {i}?", "7", "9") for i in range(5)])
    ids = [record["row_id"] for record in records(tmp_path / "kto/train.jsonl")]
    assert len(ids) == 10
    assert all(a != b for a, b in pairwise(ids))


# --------------------------------------------------------------------------------------------- what a format demands


def positions(record: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Whose turn it is by LLaMA-Factory's rule: human and observation at odd positions, gpt and function_call at even ones."""
    for number, turn in enumerate(record["conversations"]):
        yield turn["from"], turn["from"] in (("human", "observation"), ("gpt", "function_call"))[number % 2]


def test_sharegpt_stands_as_llama_factory_documents_it(tmp_path: Path) -> None:
    system = Conversation([Message("system", "Be short."), *IN_ROME.messages], tools=TOOLS)
    write(
        tmp_path,
        {"sharegpt"},
        [system, chat("Hi", "Hello"), asked(SAID, kind="preference", rejected=[Message("assistant", "?")])],
    )
    first, second = records(tmp_path / "sharegpt/train.json")
    assert first == {
        "conversations": [
            {"from": "human", "value": "What time is it in Rome?"},
            {"from": "function_call", "value": '{"name":"clock","arguments":{"city":"Rome"}}'},
            {"from": "observation", "value": "12:04"},
            {"from": "gpt", "value": "It is 12:04."},
        ],
        "system": "Be short.",
        "tools": TOOLS,
    }
    assert second["system"] == second["tools"] == ""
    (ranked,) = records(tmp_path / "sharegpt/preference-train.json")
    assert ranked["chosen"] == {"from": "gpt", "value": "It is 12:04."}
    assert ranked["rejected"] == {"from": "gpt", "value": "?"}
    assert len(ranked["conversations"]) % 2 == 1
    for record in (first, second, ranked):
        assert all(fits for _, fits in positions(record))


def test_openai_gets_ids_for_calls_that_have_none_and_text_for_arguments() -> None:
    record = openai.write(IN_ROME)
    _, made, result, answer = record["messages"]
    (one,) = made["tool_calls"]
    assert one["function"] == {"name": "clock", "arguments": '{"city":"Rome"}'}
    assert result == {"role": "tool", "content": "12:04", "tool_call_id": one["id"]}
    assert "content" not in made
    assert answer == {"role": "assistant", "content": "It is 12:04."}
    assert record["tools"] == orjson.loads(TOOLS)
    for bare in ('[{"name": "clock"}]', '[{"type": "function", "name": "clock"}]'):
        clock = {"type": "function", "function": {"name": "clock"}}
        assert openai.write(Conversation(IN_ROME.messages, tools=bare))["tools"] == [clock]


def test_the_weight_of_an_answer_is_written_and_that_of_a_question_goes_without_saying() -> None:
    turns = [*chat("a", "b", "c", "d").messages]
    turns[:2] = [turn._replace(weight=0.0) for turn in turns[:2]]
    assert [m.get("weight") for m in openai.write(Conversation(turns))["messages"]] == [None, 0, None, None]


def test_results_are_matched_by_id_whatever_their_order() -> None:
    ids = [m.get("tool_call_id") for m in openai.write(WITH_IDS)["messages"]]
    assert ids == [None, None, "c2", "c1", None]
    no_ids = asked(calling(call(), call()), Message("tool", "1"), Message("tool", "2"), SAID)
    made = openai.write(no_ids)["messages"]
    assert [c["id"] for c in made[1]["tool_calls"]] == [made[2]["tool_call_id"], made[3]["tool_call_id"]]
    only_results = asked(calling(call()), Message("tool", "1", tool_call_id="x"), SAID)
    assert openai.write(only_results)["messages"][1]["tool_calls"][0]["id"] == "x"


USER = Message("user", "Go.")
CANNOT = [
    ("sharegpt", Conversation([USER, USER, SAID]), "turns_do_not_alternate"),
    ("sharegpt", Conversation([USER, SAID, Message("user", "And?")]), "turns_do_not_alternate"),
    ("sharegpt", Conversation([USER, SAID, Message("system", "Now."), SAID]), "turns_do_not_alternate"),
    ("sharegpt", WITH_IDS, "turns_do_not_alternate"),
    ("sharegpt", Conversation([USER, SAID._replace(reasoning="Hm.")]), "reasoning_name_or_weight"),
    ("sharegpt", Conversation([USER._replace(name="Ann"), SAID]), "reasoning_name_or_weight"),
    ("sharegpt", Conversation([USER._replace(weight=1.0), SAID]), "reasoning_name_or_weight"),
    ("sharegpt", Conversation([USER, SAID._replace(weight=0.0)]), "reasoning_name_or_weight"),
    ("sharegpt", asked(calling(call(), content="Wait."), Message("tool", "1"), SAID), "text_beside_tool_call"),
    ("sharegpt", asked(calling(call()), Message("tool", "1", name="map"), SAID), "tool_results_do_not_match"),
    ("sharegpt", asked(calling(call(), call()), Message("tool", "1", tool_call_id="x"), SAID), "tool_results_do_not_match"),
    ("sharegpt", asked(calling(call("Rome"))), "broken_tool_call"),
    ("sharegpt", asked(calling(call() | {"type": "code"})), "broken_tool_call"),
    ("sharegpt", asked(calling(call() | {"cache": True})), "broken_tool_call"),
    ("sharegpt", asked(Message("assistant", "", tool_calls='[{"type": ')), "broken_tool_call"),
    ("sharegpt", chat("a", "b", tools="clock()"), "broken_tools"),
    ("sharegpt", chat("a", "b", tools='{"clock": {}}'), "broken_tools"),
    ("openai", Conversation([USER, SAID, USER]), "last_turn_not_assistant"),
    ("openai", Conversation([USER, Message("assistant", "")]), "empty_turn"),
    ("openai", Conversation([USER, SAID._replace(reasoning="Hm.")]), "reasoning"),
    ("openai", Conversation([USER._replace(name="Ann Lee"), SAID]), "speaker_name"),
    ("openai", Conversation([USER, SAID._replace(weight=0.5)]), "loss_weight"),
    ("openai", Conversation([USER._replace(weight=1.0), SAID]), "loss_weight"),
    ("openai", asked(calling(call(name="the clock")), Message("tool", "1"), SAID), "function_name"),
    ("openai", chat("a", "b", tools='[{"name": "the clock"}]'), "function_name"),
    ("openai", chat("a", "b", tools='[{"type": "function", "function": {"name": "f"}, "cache": 1}]'), "broken_tools"),
    ("openai", asked(calling(call()), SAID), "tool_results_do_not_match"),
    ("openai", asked(Message("tool", "1"), SAID), "tool_results_do_not_match"),
    ("openai", asked(calling(call(ident="a")), Message("tool", "1", tool_call_id="b"), SAID), "tool_results_do_not_match"),
    ("openai", asked(calling(call(ident="a"), call(ident="a"))), "broken_tool_call"),
    ("prompt_completion", Conversation([USER, SAID, USER]), "last_turn_not_assistant"),
    ("prompt_completion", Conversation([USER, SAID._replace(weight=0.0)]), "last_turn_not_trained"),
    ("prompt_completion", Conversation([SAID]), "no_prompt"),
]


@pytest.mark.parametrize(("name", "row", "reason"), CANNOT)
def test_a_row_that_a_format_cannot_hold_is_counted_and_not_written(
    tmp_path: Path, name: str, row: Conversation, reason: str
) -> None:
    configs = write(tmp_path, {name}, [row, chat("Hi", "Hello")])
    assert left_out(configs) == {name: {reason: 1}}
    assert reason in REASONS
    assert sum(n for c in configs for n in c.files.values()) == 1


@pytest.mark.parametrize("chosen", [[SAID, USER, SAID], [calling(call()), Message("tool", "1"), SAID]])
def test_an_answer_of_several_turns_is_no_pair_of_sharegpt_or_openai(tmp_path: Path, chosen: list[Message]) -> None:
    row = Conversation([USER, *chosen], "preference", [m._replace(content=m.content + "?") for m in chosen])
    configs = write(tmp_path, {"sharegpt", "openai"}, [row])
    assert left_out(configs) == {name: {"answer_of_several_turns": 1} for name in ("sharegpt_preference", "openai_preference")}


def test_an_answer_that_is_a_call_is_one_turn() -> None:
    row = asked(calling(call()), kind="preference", rejected=[SAID])
    record = openai.write_pair(row, **preference.write(row))
    assert record["preferred_output"][0]["tool_calls"][0]["function"]["name"] == "clock"
    assert record["input"]["tools"] == orjson.loads(TOOLS)
    assert sharegpt.write_pair(row, **preference.write(row))["chosen"]["from"] == "function_call"


some = st.none() | texts
any_calls = some | st.just("[]") | st.just(orjson.dumps([call()]).decode())
roles = st.sampled_from(["system", "user", "assistant", "tool"])
any_turn = st.builds(Message, roles, texts | st.just(""), some, any_calls, some, some, st.sampled_from([None, 0.0, 1.0, 0.3]))


@given(st.lists(any_turn, max_size=5), some | st.just(TOOLS))
def test_any_row_is_written_or_says_why_not(turns: list[Message], tools: str | None) -> None:
    row = Conversation(turns, tools=tools)
    for form in (sharegpt, openai):
        try:
            orjson.dumps(form.write(row))
        except CannotHold as reason:
            assert reason.reason in REASONS


def test_calls_nested_too_deep_for_json_break_no_file(tmp_path: Path) -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    turn = Message("assistant", "", tool_calls=f'[{{"type":"function","function":{{"name":"f","arguments":{deep}}}}}]')
    row = Conversation([USER, turn], "preference", [SAID])
    configs = write(tmp_path, {"preference", "sharegpt", "openai"}, [row, Conversation(row.messages)])
    assert {name: set(n) for name, n in left_out(configs).items()} == {
        name: {"broken_tool_call"} for name in ("sharegpt", "openai", "sharegpt_preference", "openai_preference")
    }
    (record,) = records(tmp_path / "preference/train.jsonl")
    assert record["chosen"][0]["tool_calls"][0]["function"] == {"name": "", "arguments": turn.tool_calls}


# ----------------------------------------------------------------------------------------------------------- files


def test_the_same_rows_give_the_same_bytes_and_only_splits_with_rows_have_files(tmp_path: Path) -> None:
    def content(root: Path) -> dict[str, str]:
        write(
            root, {"messages", "alpaca", "preference", "sharegpt", "openai", "prompt_completion", "kto"}, ROWS, test=[ROWS[0]]
        )
        files = [p for p in root.rglob("*") if p.is_file()]
        return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    assert "data/test-00000-of-00001.parquet" in first
    assert not [path for path in first if "validation" in path or path == "kto/test.jsonl"]


def test_splits_stand_in_the_order_of_their_use(tmp_path: Path) -> None:
    (config,) = write(tmp_path, {"messages"}, [ROWS[0]], test=[ROWS[0]], validation=[ROWS[0]])
    assert list(config.parts) == ["train", "validation", "test"]


# --------------------------------------------------------------------------------------------------------- loaders


def facts(root: Path, configs: list[Config], name: str = "sft-dataset") -> Facts:
    files = {path: (n, (root / path).stat().st_size) for c in configs for path, n in c.files.items()}
    return Facts(name, {"sft": {"train": 2}}, {}, [Source("a", "mit", "en", 2), Source("b", None, None, 1)], configs, files, {})


PLAIN = [row for row in ROWS if row not in (ROWS[2], IN_ROME)]


def test_llama_factory_is_told_of_every_file_that_it_can_read(tmp_path: Path) -> None:
    configs = write(tmp_path, {"messages", "alpaca", "preference", "sharegpt", "openai", "kto"}, PLAIN, validation=PLAIN)
    assert "dataset_info.json" in loaders.write(tmp_path, facts(tmp_path, configs, "My set, 2"))
    info = orjson.loads((tmp_path / "dataset_info.json").read_bytes())
    files = ("alpaca/{}.json", "sharegpt/{}.json", "sharegpt/preference-{}.json", "sharegpt/kto-{}.json",
             "data/{}-00000-of-00001.parquet")  # fmt: skip
    assert {e["file_name"] for e in info.values()} == {f.format(s) for f in files for s in ("train", "validation")}
    assert "My-set-2_sharegpt_preference_train" in info  # no comma: LLaMA-Factory parts the names at commas
    for entry in info.values():
        for record in records(tmp_path / entry["file_name"]):
            assert set(entry["columns"].values()) <= record.keys()
        if "tags" in entry:
            assert len(entry["tags"]) == 7  # a tag that is not named is none


def test_what_llama_factory_is_told_is_how_we_read_the_files(tmp_path: Path) -> None:
    configs = write(tmp_path, {"messages", "alpaca", "sharegpt", "kto"}, PLAIN)
    loaders.write(tmp_path, facts(tmp_path, configs))
    found = descriptions(tmp_path, [tmp_path / "dataset_info.json"])
    assert not found.refused
    for path, described in found.files.items():
        assert described.format is not None
        hinted = [r for record in records(tmp_path / path) for r in formats.read(described.format, record, described.hints)]
        assert [told(r) for r in hinted] == [told(r) for r in read(tmp_path / path)]


def test_llama_factory_is_not_told_of_messages_that_it_would_misread(tmp_path: Path) -> None:
    configs = write(tmp_path, {"messages"}, [*PLAIN, IN_ROME])
    assert "dataset_info.json" not in loaders.write(tmp_path, facts(tmp_path, configs))


def test_each_shard_of_a_split_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sft_assets.exported.files.ROW_GROUP_ROWS", 1)
    monkeypatch.setattr("sft_assets.exported.files.SHARD_BYTES", 1)
    by_kind = writers(tmp_path, {"sft": ["role", "content"]}, {"messages"})
    for row in PLAIN[:2]:
        by_kind["sft"][0].write("train", batch([row]))
    loaders.write(tmp_path, facts(tmp_path, close(by_kind)))
    assert list(orjson.loads((tmp_path / "dataset_info.json").read_bytes())) == [
        "sft-dataset_messages_train_00000",
        "sft-dataset_messages_train_00001",
    ]


def test_axolotl_has_one_part_written_out_and_the_others_as_comments(tmp_path: Path) -> None:
    configs = write(tmp_path, {"messages", "preference", "kto"}, ROWS, validation=ROWS[:1])
    loaders.write(tmp_path, facts(tmp_path, configs))
    text = (tmp_path / "axolotl.yaml").read_text()
    assert "&" not in text  # no anchors: the parts are for copying
    sft = yaml.safe_load(text)
    assert sft["datasets"][0]["split"] == "train"
    assert sft["test_datasets"][0]["split"] == "validation"
    assert sft["datasets"][0]["message_property_mappings"]["reasoning_content"] == "reasoning"
    assert sft["datasets"][0]["message_field_training"] == "weight"
    commented = [part for part in text.split("\n\n") if "# datasets:" in part]
    dpo, kto = (yaml.safe_load("\n".join(line[2:] for line in part.splitlines()[1:])) for part in commented)
    assert (dpo["rl"], dpo["datasets"][0]["field_messages"]) == ("dpo", "prompt")
    assert dpo["datasets"][0]["path"].endswith(
        "/preference/train-00000-of-00001.parquet"
    )  # axolotl reads no `name` in these parts
    assert (kto["rl"], kto["datasets"][0]["path"].rpartition("/folder/")[2]) == ("kto", "kto/train.jsonl")
    assert "test_datasets" not in kto  # only splits that there are


def test_an_export_without_rows_says_nothing_to_loaders(tmp_path: Path) -> None:
    assert loaders.write(tmp_path, facts(tmp_path, write(tmp_path, {"messages", "alpaca"}, []))) == []


def test_croissant_has_the_files_with_their_hashes_and_the_fields(tmp_path: Path) -> None:
    configs = write(tmp_path, {"messages", "alpaca", "kto"}, ROWS, test=ROWS[:1])
    loaders.write(tmp_path, facts(tmp_path, configs), today=date(2026, 1, 2))
    found = orjson.loads((tmp_path / "croissant.json").read_bytes())
    hashes = {f["contentUrl"]: f["sha256"] for f in found["distribution"] if f["@type"] == "cr:FileObject"}
    assert hashes == {p: hashlib.sha256((tmp_path / p).read_bytes()).hexdigest() for c in configs for p in c.files}
    assert found["license"] == ["mit", "unknown"]
    assert found["datePublished"] == "2026-01-02"
    sets = {s["@id"]: s for s in found["recordSet"]}
    assert sets.keys() == {"default", "kto"}
    turns = next(f for f in sets["default"]["field"] if f["name"] == "messages")
    assert {f["name"] for f in turns["subField"]} >= {"role", "content", "reasoning"}


def test_mlcroissant_loads_the_records(tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant, of the dev dependencies, is not installed")
    configs = write(tmp_path, {"messages", "alpaca", "preference", "prompt_completion", "kto"}, ROWS, test=ROWS[:1])
    loaders.write(tmp_path, facts(tmp_path, configs))
    dataset = mlc.Dataset(jsonld=tmp_path / "croissant.json")
    assert not dataset.metadata.issues.errors
    loaded = list(dataset.records(record_set="default"))
    assert sorted(r["default/split"] for r in loaded) == [b"test", *[b"train"] * 4]
    wanted = next(r for r in loaded if len(r["default/messages"]) == 5)
    assert [m["default/messages/content"].decode() for m in wanted["default/messages"]] == ["Be short.", "2²?", "4", "3²?", "9"]
    for config in configs:
        if config.schema is not None:
            assert len(list(dataset.records(record_set=config.name))) == sum(part.rows for part in config.parts.values())


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
@pytest.mark.parametrize("name", ["instruct/glaive_toolcall_en_demo.json", "preference/dpo_en_demo.json.gz"])
def test_public_sharegpt_comes_back_turn_by_turn(name: str) -> None:
    def said(value: Any) -> Any:
        if isinstance(value, list):
            return [said(turn) for turn in value if turn["from"] != "system"]
        return orjson.loads(value["value"]) if value["from"] == "function_call" else value["value"]

    content = (CORPUS / name).read_bytes()
    found = orjson.loads(gzip.decompress(content) if name.endswith(".gz") else content)
    for record in found:
        (row,) = formats.read(formats.detect(record) or "", record)
        pairs = row.kind == "preference"
        made = sharegpt.write_pair(row, **preference.write(row)) if pairs else sharegpt.write(row)
        parts = ("conversations", "chosen", "rejected") if pairs else ("conversations",)
        assert [said(made[part]) for part in parts] == [said(record[part]) for part in parts]
        systems = [turn["value"] for turn in record["conversations"] if turn["from"] == "system"]
        assert [made["system"], made["tools"]] == ["".join(systems), record.get("tools", "")]
    assert len(found) >= 300


@pytest.mark.parametrize(
    "arguments", ['{"account": 12345678901234567890123}', '{"a": 1, "a": 2}', '{"x": 0.12345678901234567}']
)
def test_arguments_that_an_object_would_change_stay_as_they_are(arguments: str) -> None:
    text = orjson.dumps([{"type": "function", "function": {"name": "pay", "arguments": arguments}}]).decode()
    (call,) = orjson.loads(messages.calls_for_templates(text))
    assert call["function"]["arguments"] == arguments
    row = Conversation([Message("user", "Pay."), Message("assistant", "", tool_calls=text)], "sft", None, None, None)
    written = sharegpt.write(row)["conversations"][-1]["value"]
    assert arguments in written
