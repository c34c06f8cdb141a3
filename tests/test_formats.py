"""Formats: what each dialect's records become, that nothing of a record is lost, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats.names import WRAPPERS
from sft_assets.recipe import Source
from sft_assets.record import BadRecord, Conversation, Message

Turn = tuple[str, str]


def one(record: dict[str, Any], columns: dict[str, str] | None = None, name: str | None = None) -> Conversation:
    name = name or (formats.format_of_columns(columns) if columns else formats.detect(record))
    assert name, "no format is seen"
    (row,) = formats.read(name, record, formats.Hints(columns=columns or {}))
    return row


def turns(row: Conversation) -> list[Turn]:
    return [(m.role, m.content) for m in row.messages]


def refused(record: dict[str, Any], columns: dict[str, str] | None = None) -> str:
    with pytest.raises(BadRecord) as bad:
        one(record, columns)
    assert bad.value.detail
    return bad.value.reason


U, A, S = "user", "assistant", "system"

# format, record, turns, what lands in meta
GOLDEN: list[tuple[str, dict[str, Any], list[Turn], dict[str, Any]]] = [
    ("alpaca", {"instruction": "Add.", "input": "1, 2", "output": "3"}, [(U, "Add.\n1, 2"), (A, "3")], {"input_at": 4}),
    ("alpaca", {"instruction": "Hi", "output": "Ho"}, [(U, "Hi"), (A, "Ho")], {}),
    ("alpaca", {"instruction": "Hi", "input": None, "output": "Ho"}, [(U, "Hi"), (A, "Ho")], {}),
    *(
        (
            "alpaca",
            {"instruction": "Hi", "input": none, "output": "Ho"},
            [(U, "Hi"), (A, "Ho")],
            {"input": none} if none.strip() else {},
        )
        for none in ("", "  ", "<noinput>", "noinput", "No input", "<No Input>", "N/A", "None")
    ),
    ("alpaca", {"instruction": "", "input": "Hi", "output": "Ho"}, [(U, "Hi"), (A, "Ho")], {"input_at": 0}),
    ("alpaca", {"instruction": "Hi", "response": "Ho"}, [(U, "Hi"), (A, "Ho")], {}),
    ("alpaca", {"instruction": "Hi", "output": "", "response": "Ho"}, [(U, "Hi"), (A, "Ho")], {}),
    ("alpaca", {"instruction": "Hi", "output": "Ho", "response": "Hu"}, [(U, "Hi"), (A, "Ho")], {"response": "Hu"}),
    (
        "chat_log",
        {
            "request": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": []},
            "response": {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}}]},
        },
        [(U, "Hi"), (A, "Ho")],
        {"request_model": "m"},
    ),
    (
        "chat_log",
        {
            "messages": [{"role": "user", "content": "Hi"}],
            "choices": [{"message": {"role": "assistant", "content": "Ho"}}],
            "n": 1,
        },
        [(U, "Hi"), (A, "Ho")],
        {"n": 1},
    ),
    (
        "input_target",
        {"input": [{"role": "user", "content": "Hi"}], "output": {"role": "assistant", "content": "Ho"}},
        [(U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "dolly",
        {"instruction": "Who?", "context": "Ann ran.", "response": "Ann", "category": "closed_qa"},
        [(U, "Who?\nAnn ran."), (A, "Ann")],
        {"category": "closed_qa", "input_at": 4},
    ),
    ("alpaca", {"instruction": "Hi", "output": "Ho", "system": "Be kind."}, [(S, "Be kind."), (U, "Hi"), (A, "Ho")], {}),
    (
        "alpaca",
        {"instruction": "3?", "output": "c", "history": [["1?", "a"], ["2?", "b"]]},
        [(U, "1?"), (A, "a"), (U, "2?"), (A, "b"), (U, "3?"), (A, "c")],
        {},
    ),
    ("alpaca", {"instruction": "Hi", "output": "Ho", "history": []}, [(U, "Hi"), (A, "Ho")], {}),
    ("alpaca", {"instruction": " Hi\r\n", "output": "\tHo "}, [(U, " Hi\r\n"), (A, "\tHo ")], {}),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "id": "x_1"},
        [(U, "Hi"), (A, "Ho")],
        {"id": "x_1"},
    ),
    (
        "sharegpt",
        {
            "conversation": [
                {"from": "system", "value": "S"},
                {"from": "user", "value": "Hi"},
                {"from": "chatgpt", "value": "Ho"},
            ]
        },
        [(S, "S"), (U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "sharegpt",
        {"system": "S", "conversations": [{"from": "human", "value": "Hi"}, {"from": "bard", "value": "Ho"}]},
        [(S, "S"), (U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "sharegpt",
        {"system_prompt": "S", "conversations": [{"from": "prompter", "value": "Hi"}, {"from": "assistant", "value": "Ho"}]},
        [(S, "S"), (U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "sharegpt",
        {"system": "other", "conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Hi"}]},
        [(S, "S"), (U, "Hi")],
        {"system": "other"},
    ),
    (
        "sharegpt",
        {"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
        [(U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "messages",
        {
            "messages": [
                {"role": "developer", "content": "S"},
                {"role": "User", "content": "Hi"},
                {"role": "model", "content": "Ho"},
            ]
        },
        [(S, "S"), (U, "Hi"), (A, "Ho")],
        {},
    ),
    (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "What "}, {"type": "text", "text": "is it?"}]},
                {"role": "assistant", "content": ["A ", {"type": "output_text", "text": "cat."}]},
            ]
        },
        [(U, "What is it?"), (A, "A cat.")],
        {},
    ),
    (
        "messages",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}, {"type": "text", "text": "?"}],
                },
                {"role": "assistant", "content": "A cat."},
            ],
            "images": ["cat.png"],
        },
        [(U, "?"), (A, "A cat.")],
        {
            "images": ["cat.png"],
            "messages_extra": {"1": {"parts": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}},
        },
    ),
    (
        "messages",
        {
            "messages": [{"role": "user", "content": "Hi", "ts": 1}, {"role": "assistant", "content": "Ho", "score": [1, 2]}],
            "parallel_tool_calls": False,
        },
        [(U, "Hi"), (A, "Ho")],
        {"parallel_tool_calls": False, "messages_extra": {"1": {"ts": 1}, "2": {"score": [1, 2]}}},
    ),
]


@pytest.mark.parametrize(("name", "record", "expected", "meta"), GOLDEN)
def test_a_record_becomes_these_turns_and_the_rest_lands_in_meta(
    name: str, record: dict[str, Any], expected: list[Turn], meta: dict[str, Any]
) -> None:
    assert formats.detect(record) == name
    row = one(record)
    assert turns(row) == expected
    assert row.meta == meta
    assert row.kind == "sft"
    assert row.rejected is None


def test_language_licence_and_tools_have_columns_of_their_own() -> None:
    tools = [{"name": "clock", "parameters": {}}]
    for record in (
        {"instruction": "Hi", "output": "Ho"},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
        {"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"},
    ):
        row = one({**record, "language": "en", "license": "mit", "tools": tools})
        assert (row.language, row.license, row.meta) == ("en", "mit", {})
        assert json.loads(row.tools or "") == tools
        row = one({**record, "lang": "de", "license": ["mit", "bsd"], "tools": '[{"name" : "clock"}]'})
        assert (row.language, row.license, row.meta) == ("de", None, {"license": ["mit", "bsd"]})
        assert row.tools == '[{"name" : "clock"}]'
        row = one({**record, "language": ["en"], "lang": "de", "tools": ""})
        assert (row.language, row.meta, row.tools) == ("de", {"language": ["en"]}, None)


def test_sharegpt_calls_become_tool_calls_and_observations_tool_turns() -> None:
    row = one(
        {
            "conversations": [
                {"from": "human", "value": "What time is it in Rome?"},
                {"from": "function_call", "value": '{"name": "clock", "arguments": {"city": "Rome"}}'},
                {"from": "observation", "value": '{"time": "12:04"}'},
                {"from": "gpt", "value": "It is 12:04."},
            ],
            "tools": '[{"name": "clock"}]',
        }
    )
    assert turns(row) == [(U, "What time is it in Rome?"), (A, ""), ("tool", '{"time": "12:04"}'), (A, "It is 12:04.")]
    assert json.loads(row.messages[1].tool_calls or "") == [
        {"type": "function", "function": {"name": "clock", "arguments": {"city": "Rome"}}}
    ]


def test_several_sharegpt_calls_in_one_turn_stay_several() -> None:
    row = one(
        {
            "conversations": [
                {"from": "human", "value": "?"},
                {"from": "function_call", "value": '[{"name": "a", "arguments": "{}"}, {"name": "b"}]'},
            ]
        }
    )
    assert [c["function"]["name"] for c in json.loads(row.messages[1].tool_calls or "")] == ["a", "b"]


@pytest.mark.parametrize("text", ['{"name": "clock", "argu', "clock()", '{"arguments": {}}', "[]", "[" * 400 + "]" * 400, ""])
def test_a_call_that_is_no_json_is_kept_whole_as_the_arguments_of_a_call_without_a_name(text: str) -> None:
    row = one({"conversations": [{"from": "human", "value": "?"}, {"from": "function_call", "value": text}]})
    (call,) = json.loads(row.messages[1].tool_calls or "")
    assert call == {"type": "function", "function": {"name": "", "arguments": text}}


def test_openai_tool_calls_keep_their_shape_ids_and_names() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": '{"city": "Rome"}'}}]
    row = one(
        {
            "messages": [
                {"role": "user", "content": "?", "name": "ann"},
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "call_1", "content": "12:04"},
                {"role": "assistant", "content": "12:04", "weight": 0, "reasoning_content": "easy"},
            ]
        }
    )
    assert json.loads(row.messages[1].tool_calls or "") == calls
    assert row.messages[1].content == ""
    assert row.messages[0].name == "ann"
    assert row.messages[2].tool_call_id == "call_1"
    assert (row.messages[3].weight, row.messages[3].reasoning) == (0.0, "easy")
    assert row.meta == {}


def test_the_old_function_call_of_openai_becomes_a_tool_call() -> None:
    call = {"name": "clock", "arguments": "{}"}
    row = one({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "function_call": call}]})
    assert json.loads(row.messages[1].tool_calls or "") == [{"type": "function", "function": call}]


def test_what_is_written_reads_back_as_it_was() -> None:
    from sft_assets.formats.messages import write

    calls = '[{"type":"function","function":{"name":"clock","arguments":{}}}]'  # as objects: templates quote a text once more
    before = [
        Message(S, "S"),
        Message(U, "?", name="ann"),
        Message(A, "", tool_calls=calls, weight=0.0),
        Message("tool", "12:04", tool_call_id="c1"),
        Message(A, "12:04", reasoning="easy"),
    ]
    assert one({"messages": write(before)}).messages == before


# ------------------------------------------------------------------------------------------------- preference and KTO

HI, HO, HU = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "assistant", "content": "Hu"}
SYS = {"role": "system", "content": "S"}
PAIRS: list[tuple[dict[str, Any], list[Turn]]] = [
    ({"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"question": "Hi", "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"system": "S", "prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}, [(S, "S"), (U, "Hi")]),
    ({"prompt": "Hi", "history": [["a", "b"]], "chosen": "Ho", "rejected": "Hu"}, [(U, "a"), (A, "b"), (U, "Hi")]),
    ({"prompt": [HI], "chosen": [HO], "rejected": [HU]}, [(U, "Hi")]),
    ({"prompt": [SYS, HI], "chosen": HO, "rejected": HU}, [(S, "S"), (U, "Hi")]),
    ({"instruction": "H", "input": "i", "chosen": "Ho", "rejected": "Hu"}, [(U, "H\ni")]),
    (
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Ho"},
            "rejected": {"from": "gpt", "value": "Hu"},
        },
        [(U, "Hi")],
    ),
    ({"messages": [HI], "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"prompt": "Hi", "chosen": [HI, HO], "rejected": [HI, HU]}, [(U, "Hi")]),
    ({"prompt": "Hi", "chosen": [SYS, HI, HO], "rejected": [SYS, HI, HU]}, [(S, "S"), (U, "Hi")]),
    ({"prompt": [SYS, HI], "chosen": [HI, HO], "rejected": [SYS, HI, HU]}, [(S, "S"), (U, "Hi")]),
    ({"chosen": [HI, HO], "rejected": [HI, HU]}, [(U, "Hi")]),
    ({"chosen": [SYS, HI, HO, HI, HO], "rejected": [SYS, HI, HO, HI, HU]}, [(S, "S"), (U, "Hi"), (A, "Ho"), (U, "Hi")]),
    ({"prompt": "Hi", "chosen": [HI, HO, HI, HO], "rejected": [HI, HO, HI, HU]}, [(U, "Hi"), (A, "Ho"), (U, "Hi")]),
    ({"prompt": "Hi", "chosen_messages": [HO], "rejected_messages": [HU]}, [(U, "Hi")]),
    ({"input": {"messages": [HI]}, "preferred_output": [HO], "non_preferred_output": [HU]}, [(U, "Hi")]),
]


@pytest.mark.parametrize(("record", "prompt"), PAIRS)
def test_a_preference_record_is_a_prompt_and_two_answers(record: dict[str, Any], prompt: list[Turn]) -> None:
    assert formats.detect(record) == "preference"
    row = one(record)
    assert row.kind == "preference"
    assert turns(row) == [*prompt, (A, "Ho")]
    assert [(m.role, m.content) for m in row.rejected or []] == [(A, "Hu")]
    assert row.meta == {}


def test_tools_and_settings_of_openai_preferences_are_kept() -> None:
    tools = [{"type": "function", "function": {"name": "clock"}}]
    openai = {"messages": [HI], "tools": tools, "parallel_tool_calls": True}
    row = one({"input": openai, "preferred_output": [HO], "non_preferred_output": [HU], "score": 3})
    assert json.loads(row.tools or "") == tools
    assert row.meta == {"input": {"parallel_tool_calls": True}, "score": 3}


def test_fields_that_a_preference_record_does_not_need_land_in_meta() -> None:
    row = one(
        {"prompt": "Hi", "question": "Hey", "input": "x", "chosen": "Ho", "rejected": "Hu", "margin": 0.5, "history": None}
    )
    assert row.meta == {"question": "Hey", "input": "x", "margin": 0.5}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": [HO], "rejected": [HU]}, "no_prompt"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}, "identical_pair"),
        ({"chosen": [HI, HO], "rejected": [HI, HO]}, "identical_pair"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": 5}, "wrong_type"),
        ({"prompt": "Hi", "chosen": None, "rejected": "Hu"}, "wrong_type"),
        ({"prompt": 5, "chosen": "Ho", "rejected": "Hu"}, "wrong_type"),
        ({"prompt": "Hi", "chosen": [], "rejected": [HU]}, "no_turns"),
        ({"prompt": "hi there", "chosen": [HI, HO], "rejected": [HI, HU, HI, HU]}, "prompts_differ"),
        ({"prompt": "hi there", "chosen": [HI, HO], "rejected": "Hu"}, "prompts_differ"),
        ({"prompt": [HI, HO], "chosen": "Ho!", "rejected": "Hu"}, "answered_prompt"),
        ({"prompt": "Hi", "chosen": {"role": "narrator", "content": "Ho"}, "rejected": "Hu"}, "unknown_role"),
    ],
)
def test_a_preference_record_that_is_no_pair_is_refused(record: dict[str, Any], reason: str) -> None:
    assert refused(record) == reason


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [HI, HO]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"instruction": "Hi", "output": "Ho"},
    ],
)
def test_a_kto_label_makes_a_row_unpaired_and_any_other_label_lands_in_meta(record: dict[str, Any]) -> None:
    verdicts = [("label", True, True), ("label", "False", False), ("label", "true", True)]
    verdicts += [("kto_tag", False, False), ("kto_tag", 1, True), ("kto_tag", 0, False), ("kto_tag", "TRUE", True)]
    for name, said, verdict in verdicts:
        row = one({**record, name: said})
        assert (row.kind, row.label, row.meta) == ("unpaired", verdict, {})
    row = one({**record, "label": "good"})
    assert (row.kind, row.label, row.meta) == ("sft", None, {"label": "good"})
    for name, said in (("label", 1), ("label", "0"), ("label", 0.0), ("kto_tag", 2), ("kto_tag", "yes"), ("kto_tag", [True])):
        row = one({**record, name: said})
        assert (row.kind, row.label, row.meta) == ("sft", None, {name: said})
    row = one({**record, "kto_tag": True, "label": 3})
    assert (row.kind, row.label, row.meta) == ("unpaired", True, {"label": 3})
    assert one({**record, "label": None}).kind == "sft"


# ------------------------------------------------------------------------------------------------- columns of the recipe


@pytest.mark.parametrize(
    ("columns", "record", "expected", "meta"),
    [
        ({"prompt": "q", "response": "a"}, {"q": "Hi", "a": "Ho", "n": 1}, [(U, "Hi"), (A, "Ho")], {"n": 1}),
        (
            {"prompt": "q", "query": "more", "response": "a", "system": "persona", "history": "before"},
            {"q": "H", "more": "i", "a": "Ho", "persona": "S", "before": [["x", "y"]]},
            [(S, "S"), (U, "x"), (A, "y"), (U, "H\ni"), (A, "Ho")],
            {"input_at": 1},
        ),
        ({"messages": "chat"}, {"chat": [HI, HO]}, [(U, "Hi"), (A, "Ho")], {}),
        ({"conversations": "chat"}, {"chat": [{"from": "human", "value": "Hi"}]}, [(U, "Hi")], {}),
        ({"prompt": "q", "response": "a", "language": "l"}, {"q": "Hi", "a": "Ho", "l": "en"}, [(U, "Hi"), (A, "Ho")], {}),
        # a field that the mapping pushes aside is not lost
        ({"prompt": "q", "response": "a"}, {"q": "Hi", "a": "Ho", "output": "old"}, [(U, "Hi"), (A, "Ho")], {"output": "old"}),
        # two columns that change places
        ({"prompt": "output", "response": "instruction"}, {"instruction": "Ho", "output": "Hi"}, [(U, "Hi"), (A, "Ho")], {}),
    ],
)
def test_a_column_mapping_says_where_a_record_keeps_what(
    columns: dict[str, str], record: dict[str, Any], expected: list[Turn], meta: dict[str, Any]
) -> None:
    row = one(record, columns)
    assert turns(row) == expected
    assert row.meta == meta


def test_a_column_mapping_for_pairs_and_for_kto() -> None:
    row = one({"q": "Hi", "yes": "Ho", "no": "Hu"}, {"prompt": "q", "chosen": "yes", "rejected": "no"})
    assert (row.kind, turns(row), row.rejected) == ("preference", [(U, "Hi"), (A, "Ho")], [Message(A, "Hu")])
    row = one({"q": "Hi", "a": "Ho", "good": False}, {"prompt": "q", "response": "a", "kto_tag": "good"})
    assert (row.kind, row.label) == ("unpaired", False)
    row = one({"chat": [HI, HO], "good": True}, {"messages": "chat", "kto_tag": "good"})
    assert (row.kind, row.label) == ("unpaired", True)


def test_a_mapping_says_the_format_too() -> None:
    assert Source(path="x", columns={"prompt": "q", "response": "a"}).format == "alpaca"
    assert Source(path="x", columns={"messages": "m"}).format == "messages"
    assert Source(path="x", columns={"conversations": "m"}).format == "sharegpt"
    assert Source(path="x", columns={"prompt": "q", "chosen": "a", "rejected": "b"}).format == "preference"
    assert Source(path="x", columns={"messages": "m"}, format="sharegpt").format == "sharegpt"
    assert Source(path="x", columns={"prompt": "q"}).format == "prompts"
    assert Source(path="x", columns={"prompt": "q", "system": "s", "query": "i"}).format == "prompts"
    assert Source(path="x", columns={"messages": "m", "kto_tag": "good"}).format == "messages"
    assert Source(path="x", columns={"prompt": "q", "response": "a", "kto_tag": "good"}).format == "alpaca"


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"instruction": 5, "output": "x"}, "wrong_type"),
        ({"instruction": "x", "output": ["y", 5]}, "wrong_type"),
        ({"instruction": "x", "output": []}, "wrong_type"),
        ({"instruction": "x", "output": None}, "wrong_type"),
        ({"instruction": None, "output": "x"}, "wrong_type"),
        ({"instruction": "x", "output": "y", "history": "z"}, "wrong_type"),
        ({"instruction": "x", "output": "y", "history": [["only one"]]}, "wrong_type"),
        ({"conversations": []}, "no_turns"),
        ({"conversations": [{"from": "human", "value": 5}]}, "wrong_type"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "unknown_role"),
        ({"conversations": [{"from": "human", "value": "x"}, "y"]}, "wrong_type"),
        ({"conversations": [{"from": "function_call", "value": None}]}, "wrong_type"),
        ({"messages": []}, "no_turns"),
        ({"messages": [{"role": None, "content": "x"}]}, "unknown_role"),
        ({"messages": [{"role": "user"}]}, "wrong_type"),
        ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "wrong_type"),
        ({"messages": [{"role": "user", "content": [5]}]}, "wrong_type"),
        ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "wrong_type"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_with_a_reason(record: dict[str, Any], reason: str) -> None:
    assert refused(record) == reason


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"text": "Once upon a time"},
        {"output": "no question"},
        {"messages": "no turns"},
        {"messages": ["x"]},
        {"conversations": [{"speaker": "x"}]},
        {"chosen": "a", "rejected": "b"},
        {"prompt": {"text": "x"}, "replies": []},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_conversation_has_no_format(record: Any) -> None:
    assert formats.detect(record) is None


def test_formats_that_depend_on_the_names_of_the_fields_only_are_seen_from_them() -> None:
    """What `raw` remembers by a record's field names must not depend on their values."""
    for record in ({"instruction": "x", "output": "y"}, {"instruction": "x", "input": {}, "response": 5}):
        assert formats.TELLING.isdisjoint(record)
        assert {formats.detect(dict.fromkeys(record, value)) for value in (None, "x", 5, [], {}, [{}])} == {"alpaca"}
    for record in ({"messages": [HI]}, {"conversations": [HI]}, {"chosen": [HI], "rejected": [HI]}):
        assert not formats.TELLING.isdisjoint(record)


# ------------------------------------------------------------------------------------------------- nothing is lost

NAMES = [
    *(
        "instruction",
        "input",
        "context",
        "output",
        "response",
        "system",
        "system_prompt",
        "history",
        "tools",
        "language",
        "lang",
    ),
    *(
        "license",
        "conversations",
        "conversation",
        "messages",
        "prompt",
        "question",
        "chosen",
        "rejected",
        "label",
        "kto_tag",
        "id",
    ),
    *("preferred_output", "non_preferred_output", "chosen_messages", "rejected_messages", "text", "parallel_tool_calls"),
]
OF_ALL_FORMATS = sorted({*NAMES, *formats.NAMES, *WRAPPERS, "Instruction", "Output", "Model Output", "body"})
TURN_NAMES = [
    *("role", "from", "content", "value", "name", "tool_calls", "function_call", "tool_call_id", "reasoning", "thinking"),
    *("reasoning_content", "weight", "loss", "loss_weight", "ts", "author", "sender", "user", "assistant", "input", "output"),
    *("parts", "message", "mapping", "Human", "MOSS", "functionCall", "turn_1"),
]


@st.composite
def marked(draw: st.DrawFn) -> dict[str, Any]:
    """A record whose every value holds a word of its own."""
    count = iter(range(1000))

    def word() -> str:
        return f"w{next(count)}w"

    def turn(role: str) -> dict[str, Any]:
        more = draw(st.sets(st.sampled_from(TURN_NAMES), max_size=5))
        made: dict[str, Any] = {name: word() for name in more} | {"role": role, "content": word()}
        if "function_call" in made:
            made["function_call"] = {"name": word(), "arguments": word()}
        if draw(st.booleans()):
            made["content"] = [{"type": "text", "text": word(), "more": word()}, {"type": "image", "url": word()}]
        return made

    names = st.sampled_from(NAMES) | st.sampled_from(OF_ALL_FORMATS)
    record: dict[str, Any] = {name: word() for name in draw(st.sets(names, min_size=1, max_size=12))}
    for name in ("messages", "conversations", "conversation", "chosen_messages", "rejected_messages"):
        if name in record:
            record[name] = [turn("assistant" if name[-9:] == "_messages" else "user")]
    if "history" in record:
        record["history"] = [[word(), word()]]
    for name in draw(st.sets(st.sampled_from(sorted(record)))):
        if name in ("language", "license", "lang", "label", "id", "system"):
            record[name] = [word()] if name != "system" else word()
    return record


def words(value: Any) -> set[str]:
    import re

    return set(re.findall(r"w\d+w", json.dumps(value)))


@settings(max_examples=600)
@given(marked())
def test_every_word_of_a_record_is_in_its_conversation_or_in_meta(record: dict[str, Any]) -> None:
    name = formats.detect(record)
    if name is None:
        return
    try:
        rows = formats.read(name, record)
    except BadRecord:
        return
    held = [[r.messages, r.rejected, r.tools, r.language, r.license, r.meta] for r in rows]
    assert words(record) <= words(held)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["user", "gpt", "[]", "{}", '[{"role":"user"}]']),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TURN_NAMES, "type", "text"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=600)
@given(st.dictionaries(st.sampled_from(OF_ALL_FORMATS), anything, max_size=6))
def test_any_record_is_read_or_refused_by_every_format(record: dict[str, Any]) -> None:
    before = json.dumps(record)
    for name in formats.FORMATS:
        try:
            for row in formats.read(name, record):
                assert isinstance(row, Conversation)
                assert all(isinstance(m.content, str) for m in [*row.messages, *(row.rejected or [])])
                json.dumps(row.meta)
        except BadRecord as bad:
            assert bad.reason
            assert bad.detail
    assert json.dumps(record) == before, "the record itself was changed"


def test_meta_is_in_the_same_order_in_every_process() -> None:
    import os
    import subprocess
    import sys

    code = (
        "from sft_assets import formats\n"
        "r = dict.fromkeys(['question', 'input', 'context', 'messages', 'conversation', 'history'], 'x')\n"
        "r |= {'conversations': [{'from': 'human', 'value': 'Hi'}], 'chosen': 'a', 'rejected': 'b'}\n"
        "print(list(formats.read('preference', r)[0].meta))"
    )
    orders = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(orders) == 1
    assert b"question" in orders.pop()
