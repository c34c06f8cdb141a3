"""Dialects: one record as each is met in the wild, the format that is seen without a hint, and the exact turns it becomes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CORPUS
from hypothesis import given
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats import alpaca
from sft_assets.formats.turns import media
from sft_assets.record import BadRecord, Conversation

Turn = tuple[str, str]
Row = tuple[list[Turn], dict[str, Any]]
U, A, S, T = "user", "assistant", "system", "tool"
HI: list[Turn] = [(U, "Hi"), (A, "Hello!")]


def turns(row: Conversation) -> list[Turn]:
    return [(m.role, m.content) for m in row.messages]


def one(record: dict[str, Any], **hints: Any) -> Conversation:
    columns = hints.get("columns")
    name = formats.format_of_columns(columns) if columns else formats.detect(record)
    assert name, "no format is seen"
    (row,) = formats.read(name, record, formats.Hints(**hints))
    return row


def refused(record: dict[str, Any], name: str | None = None, **hints: Any) -> BadRecord:
    with pytest.raises(BadRecord) as bad:
        formats.read(name or formats.detect(record) or "", record, formats.Hints(**hints))
    return bad.value


# name of the dialect: format, record, turns, meta
DIALECTS: dict[str, tuple[str, dict[str, Any], list[Turn], dict[str, Any]]] = {
    # ---------------------------------------------------------------------------------------------- turns of other shapes
    "Claude's export": (
        "messages",
        {
            "uuid": "c0ffee",
            "name": "Greeting",
            "chat_messages": [
                {"uuid": "1", "text": "Hi", "content": [{"type": "text", "text": "Hi"}], "sender": "human"},
                {"uuid": "2", "text": "Hello!", "content": [{"type": "text", "text": "Hello!"}], "sender": "assistant"},
            ],
        },
        HI,
        {"uuid": "c0ffee", "name": "Greeting", "chat_messages_extra": {"1": {"uuid": "1"}, "2": {"uuid": "2"}}},
    ),
    "LIMA": ("sharegpt", {"conversations": ["Hi", "Hello!"], "source": "stackexchange"}, HI, {"source": "stackexchange"}),
    "UltraChat": (
        "messages",
        {"id": "0", "data": ["Hi", "Hello!", "Bye", "See you."]},
        [*HI, (U, "Bye"), (A, "See you.")],
        {"id": "0"},
    ),
    "DailyDialog": (
        "messages",
        {"dialog": ["Hi", "Hello!"], "act": [2, 1], "emotion": [0, 4]},
        HI,
        {"act": [2, 1], "emotion": [0, 4]},
    ),
    "Capybara": (
        "sharegpt",
        {"source": "Know-Logic", "conversation": [{"input": "Hi", "output": "Hello!"}, {"input": "Bye", "output": "See you."}]},
        [*HI, (U, "Bye"), (A, "See you.")],
        {"source": "Know-Logic"},
    ),
    "exchanges with a system prompt": (
        "messages",
        {"messages": [{"system": "Be kind.", "user": "Hi", "assistant": "Hello!"}]},
        [(S, "Be kind."), *HI],
        {},
    ),
    "ShareGPT-90k in Chinese and English": (
        "sharegpt",
        {"conversation_id": "x", "category": "Brainstorming", "conversation": [{"human": "Hi", "assistant": "Hello!"}]},
        HI,
        {"conversation_id": "x", "category": "Brainstorming"},
    ),
    "question and answer turns": ("messages", {"turns": [{"question": "Hi", "answer": "Hello!"}]}, HI, {}),
    "q and a turns": ("messages", {"dialogue": [{"q": "Hi", "a": "Hello!"}]}, HI, {}),
    "prompt and response turns": ("messages", {"thread": [{"prompt": "Hi", "response": "Hello!"}]}, HI, {}),
    "instruction and output turns": ("messages", {"chat": [{"instruction": "Hi", "output": "Hello!"}]}, HI, {}),
    "roles as keys": ("messages", {"messages": [{"user": "Hi"}, {"assistant": "Hello!"}]}, HI, {}),
    "roles as keys after a system prompt": (
        "messages",
        {"chat": [{"system": "Be kind."}, {"USER": "Hi"}, {"ASSISTANT": "Hello!"}]},
        [(S, "Be kind."), *HI],
        {},
    ),
    "role and text in lists": ("messages", {"messages": [["user", "Hi"], ["assistant", "Hello!"]]}, HI, {}),
    "Gradio's history": ("messages", {"messages": [["Hi", "Hello!"], ["Bye", None]]}, [*HI, (U, "Bye")], {}),
    "speaker and utterance": (
        "messages",
        {"utterances": [{"speaker": "USER", "utterance": "Hi"}, {"speaker": "ASSISTANT", "utterance": "Hello!"}]},
        HI,
        {},
    ),
    "author as an object": (
        "messages",
        {"thread": [{"author": {"role": "user"}, "text": "Hi"}, {"author": {"role": "chatbot", "id": 7}, "text": "Hello!"}]},
        HI,
        {"thread_extra": {"2": {"author": {"id": 7}}}},
    ),
    "keys of turns in title case": (
        "sharegpt",
        {"conversations": [{"From": "Human", "Value": "Hi"}, {"From": "MOSS", "Value": "Hello!"}]},
        HI,
        {},
    ),
    "sender and message": (
        "messages",
        {"dialogs": [{"sender": "user", "message": "Hi"}, {"sender": "bot", "message": "Hello!"}]},
        HI,
        {},
    ),
    "ShareGPT's first dump": (
        "sharegpt",
        {"id": "QWJh", "items": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        HI,
        {"id": "QWJh"},
    ),
    "turns under data": (
        "messages",
        {"data": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]},
        HI,
        {},
    ),
    "turns as JSON in a cell": (
        "messages",
        {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]'},
        HI,
        {},
    ),
    "system beside messages": (
        "messages",
        {"system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]},
        [(S, "Be kind."), *HI],
        {},
    ),
    "system as a list of parts (Anthropic)": (
        "messages",
        {
            "system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}],
            "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
        },
        [(S, "Be kind.\nBe brief."), *HI],
        {},
    ),
    "meta_instruction beside exchanges": (
        "messages",
        {"meta_instruction": "You are MOSS.", "chat": [{"Human": "Hi", "MOSS": "Hello!"}]},
        [(S, "You are MOSS."), *HI],
        {},
    ),
    # ---------------------------------------------------------------------------------------------- Alpaca and its kin
    "Alpaca with a system prompt": (
        "alpaca",
        {"system_prompt": "Be kind.", "instruction": "Hi", "input": "", "output": "Hello!"},
        [(S, "Be kind."), *HI],
        {},
    ),
    "Alpaca in title case": (
        "alpaca",
        {"Instruction": "Add.", "Input": "1, 2", "Output": "3", "Task ID": 7},
        [(U, "Add.\n1, 2"), (A, "3")],
        {"Task ID": 7, "input_at": 4},
    ),
    "Alpaca in Chinese": (
        "alpaca",
        {"指令": "相加。", "输入": "1, 2", "输出": "3"},
        [(U, "相加。\n1, 2"), (A, "3")],
        {"input_at": 3},
    ),
    "Alpaca with the history in a cell": (
        "alpaca",
        {"instruction": "Bye", "output": "See you.", "history": '[["Hi", "Hello!"]]'},
        [*HI, (U, "Bye"), (A, "See you.")],
        {},
    ),
    "an instruction, a question and an answer": (
        "alpaca",
        {"instruction": "Answer in one word.", "question": "6 x 7?", "answer": "42"},
        [(U, "Answer in one word.\n6 x 7?"), (A, "42")],
        {"input_at": 19},
    ),
    "Dolly": (
        "dolly",
        {"instruction": "Who ran?", "context": "Ann ran.", "response": "Ann", "category": "closed_qa"},
        [(U, "Who ran?\nAnn ran."), (A, "Ann")],
        {"category": "closed_qa", "input_at": 8},
    ),
    "Dolly without a context": (
        "dolly",
        {"instruction": "Name a prime.", "context": "", "response": "7", "category": "open_qa"},
        [(U, "Name a prime."), (A, "7")],
        {"category": "open_qa"},
    ),
    # ---------------------------------------------------------------------------------------------- prompt and completion
    "OpenAI's completion files": (
        "prompt_completion",
        {"prompt": "Name a prime.\n\n###\n\n", "completion": " 7 END"},
        [(U, "Name a prime."), (A, "7")],
        {"separator": "\n\n###\n\n ", "stop": " END"},
    ),
    "OpenAI's completion files with an arrow": (
        "prompt_completion",
        {"prompt": "Colour of grass ->", "completion": " green\n###"},
        [(U, "Colour of grass"), (A, "green")],
        {"separator": " -> ", "stop": "\n###"},
    ),
    "prompt and completion as they are": (
        "prompt_completion",
        {"prompt": "Write a loop.", "completion": "    BEGIN\n    END"},
        [(U, "Write a loop."), (A, "    BEGIN\n    END")],
        {},
    ),
    "TRL's prompt and completion of turns": (
        "prompt_completion",
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello!"}]},
        HI,
        {},
    ),
    # ---------------------------------------------------------------------------------------------- question and answer
    "OpenOrca": (
        "input_target",
        {"id": "niv.1", "system_prompt": "Be kind.", "question": "Hi", "response": "Hello!"},
        [(S, "Be kind."), *HI],
        {"id": "niv.1"},
    ),
    "input and output": ("input_target", {"input": "Hi", "output": "Hello!"}, HI, {}),
    "FLAN": ("input_target", {"inputs": "Hi", "targets": "Hello!", "task": "chat"}, HI, {"task": "chat"}),
    "P3": (
        "input_target",
        {"inputs": [1, 2], "inputs_pretokenized": "Hi", "targets": [3], "targets_pretokenized": "Hello!"},
        HI,
        {"inputs": [1, 2], "targets": [3]},
    ),
    "GSM8K": (
        "input_target",
        {"question": "6 x 7?", "answer": "6 x 7 = 42\n#### 42"},
        [(U, "6 x 7?"), (A, "6 x 7 = 42\n#### 42")],
        {},
    ),
    "SQuAD": (
        "input_target",
        {
            "id": "56be4db0",
            "title": "Panthers",
            "context": "The Panthers lost.",
            "question": "Who lost?",
            "answers": {"text": ["The Panthers", "Panthers"], "answer_start": [0, 4]},
        },
        [(U, "The Panthers lost.\n\nWho lost?"), (A, "The Panthers")],
        {"id": "56be4db0", "title": "Panthers", "answers": {"text": ["The Panthers", "Panthers"], "answer_start": [0, 4]}},
    ),
    "NQ-open": (
        "input_target",
        {"question": "Who wrote Emma?", "answer": ["Jane Austen", "Austen"]},
        [(U, "Who wrote Emma?"), (A, "Jane Austen")],
        {"answer": ["Jane Austen", "Austen"]},
    ),
    "MATH": (
        "input_target",
        {"problem": "6 x 7?", "level": "Level 1", "type": "Algebra", "solution": "$42$"},
        [(U, "6 x 7?"), (A, "$42$")],
        {"level": "Level 1", "type": "Algebra"},
    ),
    "NuminaMath": (
        "input_target",
        {"source": "amc", "problem": "6 x 7?", "solution": "Six sevens: $42$", "answer": "42"},
        [(U, "6 x 7?"), (A, "Six sevens: $42$")],
        {"source": "amc", "answer": "42"},
    ),
    "prompt and response": ("input_target", {"prompt": "Hi", "response": "Hello!"}, HI, {}),
    "Cosmopedia": (
        "input_target",
        {"prompt": "Write a lesson.", "text": "Lesson 1", "format": "textbook", "audience": "general"},
        [(U, "Write a lesson."), (A, "Lesson 1")],
        {"format": "textbook", "audience": "general"},
    ),
    "CoEdIT": (
        "input_target",
        {"_id": "1", "task": "gec", "src": "Fix grammar: he go", "tgt": "He goes."},
        [(U, "Fix grammar: he go"), (A, "He goes.")],
        {"_id": "1", "task": "gec"},
    ),
    "source and target": ("input_target", {"source": "cheese", "target": "Käse"}, [(U, "cheese"), (A, "Käse")], {}),
    "Vertex's tuning files": ("input_target", {"input_text": "Hi", "output_text": "Hello!"}, HI, {}),
    "text_input and output": ("input_target", {"text_input": "Hi", "output": "Hello!"}, HI, {}),
    "user and assistant": (
        "input_target",
        {"system": "Be kind.", "user": "Hi", "assistant": "Hello!"},
        [(S, "Be kind."), *HI],
        {},
    ),
    "human and bot": ("input_target", {"human": "Hi", "bot": "Hello!"}, HI, {}),
    "columns with blanks": ("input_target", {"Input Text": "Hi", "Output-Text": "Hello!"}, HI, {}),
    "counselling": ("input_target", {"Context": "I am sad.", "Response": "Why?"}, [(U, "I am sad."), (A, "Why?")], {}),
    "question and answer in Chinese": ("input_target", {"问题": "你好", "回答": "你好！"}, [(U, "你好"), (A, "你好！")], {}),
    "q and a in Chinese": ("input_target", {"问": "你好", "答": "你好！"}, [(U, "你好"), (A, "你好！")], {}),
    # ---------------------------------------------------------------------------------------------- exports and APIs
    "MOSS": (
        "moss",
        {
            "conversation_id": "1",
            "meta_instruction": "You are MOSS.",
            "num_turns": 2,
            "chat": {
                "turn_2": {
                    "Human": "<|Human|>: Thanks<eoh>\n",
                    "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
                    "Commands": "<|Commands|>: None<eoc>\n",
                    "Tool Responses": "<|Results|>: None<eor>\n",
                    "MOSS": "<|MOSS|>: Any time.<eom>\n",
                },
                "turn_1": {"Human": "<|Human|>: Hi<eoh>\n", "MOSS": "<|MOSS|>: Hello!<eom>\n"},
            },
        },
        [(S, "You are MOSS."), *HI, (U, "Thanks"), (A, "Any time.")],
        {"conversation_id": "1", "num_turns": 2},
    ),
    "Gemini's tuning files": (
        "gemini",
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"text": "Hello!"}, {"text": "All well?"}]},
            ],
        },
        [(S, "Be kind."), (U, "Hi"), (A, "Hello!\nAll well?")],
        {},
    ),
    "ChatGPT's export": (
        "chatgpt_export",
        {
            "title": "Greeting",
            "current_node": "d",
            "mapping": {
                "a": {"id": "a", "message": None, "parent": None, "children": ["b"]},
                "b": {
                    "parent": "a",
                    "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}},
                },
                "c": {
                    "parent": "b",
                    "message": {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["Hey."]}},
                },
                "d": {
                    "parent": "b",
                    "message": {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["Hello!"]}},
                },
            },
        },
        HI,
        {"title": "Greeting", "current_node": "d"},
    ),
    # ---------------------------------------------------------------------------------------------- wrappers
    "rows of the hub's viewer": (
        "alpaca",
        {"row_idx": 3, "row": {"instruction": "Hi", "output": "Hello!", "id": "x"}, "truncated_cells": []},
        HI,
        {"id": "x", "row_idx": 3, "truncated_cells": []},
    ),
    "members of a WebDataset": (
        "input_target",
        {"__key__": "0001", "json": {"Question": "Hi", "Answer": "Hello!"}},
        HI,
        {"__key__": "0001"},
    ),
    "a record under data": (
        "messages",
        {"data": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}, "id": 1},
        HI,
        {"id": 1},
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_seen_and_becomes_these_turns(dialect: str) -> None:
    name, record, expected, meta = DIALECTS[dialect]
    before = json.dumps(record)
    assert formats.detect(record) == name
    row = one(record)
    assert turns(row) == expected
    assert row.meta == meta
    assert (row.kind, row.path) == ("sft", "")
    assert json.dumps(record) == before


KNOWN_AS_SPELT = {"Gemini's tuning files", "rows of the hub's viewer", "members of a WebDataset", "a record under data"}


@pytest.mark.parametrize("dialect", sorted(DIALECTS.keys() - KNOWN_AS_SPELT))
def test_a_dialect_is_read_the_same_with_its_fields_in_title_case(dialect: str) -> None:
    name, record, expected, _ = DIALECTS[dialect]
    written = {key.replace("_", " ").title(): value for key, value in record.items()}
    assert formats.detect(written) == name
    assert turns(one(written)) == expected


PROMPTS: dict[str, tuple[str, dict[str, Any], list[Turn], dict[str, Any]]] = {
    "prompt": ("prompts", {"prompt": "Hi", "id": 1}, [(U, "Hi")], {"id": 1}),
    "instruction": ("prompts", {"instruction": "Hi"}, [(U, "Hi")], {}),
    "instruction and input": ("prompts", {"instruction": "Add.", "input": "1, 2"}, [(U, "Add.\n1, 2")], {"input_at": 4}),
    "question with a system prompt": ("prompts", {"system_prompt": "S", "question": "Hi"}, [(S, "S"), (U, "Hi")], {}),
    "query": ("prompts", {"Query": "Hi"}, [(U, "Hi")], {}),
    "turns as the prompt": (
        "prompts",
        {"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]},
        [(S, "S"), (U, "Hi")],
        {},
    ),
    "UltraChat's evaluation": ("prompts", {"class": " Vicuna ", "data": "Hi"}, [(U, "Hi")], {"class": " Vicuna "}),
    "OpenAI's batch requests": (
        "messages",
        {"custom_id": "r-1", "method": "POST", "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}},
        [(U, "Hi")],
        {"model": "m", "custom_id": "r-1", "method": "POST"},
    ),
    "Gemini's requests": ("gemini", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}, [(U, "Hi")], {}),
}


@pytest.mark.parametrize("dialect", PROMPTS)
def test_a_record_without_an_answer_is_a_prompt(dialect: str) -> None:
    name, record, expected, meta = PROMPTS[dialect]
    assert formats.detect(record) == name
    row = one(record)
    assert (row.kind, turns(row), row.meta) == ("prompt", expected, meta)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"instruction": "Hi", "output": None}, "alpaca"),
        ({"instruction": "Hi", "input": "", "response": None}, "alpaca"),
        ({"prompt": "Hi", "completion": None}, "prompt_completion"),
        ({"question": "Hi", "answer": None}, "input_target"),
        ({"prompt": "Hi", "response": None}, "input_target"),
    ],
)
def test_an_answer_that_is_missing_makes_no_prompt_of_a_record(record: dict[str, Any], name: str) -> None:
    assert formats.detect(record) == name
    assert refused(record).reason == "wrong_type"


@pytest.mark.parametrize(
    "record",
    [
        {"station": "Hohenfels", "measured_at": "2024-11-03T06:00:00Z", "temperature_c": -1.4, "sky": "fog"},
        {"question": "6 x 7?", "choices": ["41", "42"], "answer": 1},  # MMLU
        {"question": "6 x 7?", "choices": {"text": ["41", "42"]}, "answerKey": "B"},  # ARC
        {"question": "Is it so?", "passage": "It is.", "answer": True},  # BoolQ
        {"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": "pass", "test": "assert f"},
        {
            "question_id": 81,
            "category": "writing",
            "turns": ["Write a post.", "Write it again."],
        },  # MT-bench: both are the user's
        {"query": "cheese", "pos": ["Cheese is ..."], "documents": ["Milk is ..."]},
        {"data": [{"from": "2024-01-01", "value": 3}, {"from": "2024-01-02", "value": 4}]},
        {"data": [["a", "b"], ["c", "d"]], "columns": ["x", "y"]},
        {"items": ["milk", "bread"]},
        {"data": [{"question": "Hi", "answer": "Ho"}, {"question": "Hi", "answer": "Hu"}]},  # a file of records
        {"dialogue": [{"speaker": "Ann", "text": "Hi"}, {"speaker": "Bo", "text": "Ho"}]},
        {"mapping": {"a": 1}},
        {"contents": [{"text": "x"}]},
        {"row": {"temperature_c": -1.4}},
        {"Prompt": "x", "prompt ": "y"},  # two names that would be one
        {"data": "x", "class": "y", "more": "z"},
    ],
)
def test_what_only_looks_like_a_conversation_has_no_format(record: dict[str, Any]) -> None:
    assert formats.detect(record) is None


# ------------------------------------------------------------------------------------------------- several rows of a record


SEVERAL: list[tuple[str, dict[str, Any], dict[str, Row]]] = [
    (
        "self_instruct",
        {
            "id": "seed_task_1",
            "instruction": "Name the opposite.",
            "instances": [{"input": "night", "output": "day"}, {"input": "", "output": "There is none."}],
            "is_classification": False,
        },
        {
            "0": (
                [(U, "Name the opposite.\nnight"), (A, "day")],
                {"id": "seed_task_1", "is_classification": False, "input_at": 18},
            ),
            "1": ([(U, "Name the opposite."), (A, "There is none.")], {"id": "seed_task_1", "is_classification": False}),
        },
    ),
    (
        "self_instruct",  # Super-NaturalInstructions
        {
            "Definition": ["Name the longer word."],
            "Source": ["x"],
            "Instances": [{"id": "t-1", "input": "cat, mouse", "output": ["mouse", "Mouse"]}],
        },
        {
            "0": (
                [(U, "Name the longer word.\ncat, mouse"), (A, "mouse")],
                {"Source": ["x"], "input_at": 21, "instance": {"id": "t-1", "outputs": ["Mouse"]}},
            )
        },
    ),
    (
        "alpaca",
        {"instruction": "Name a prime.", "output": ["7", "11"]},
        {"0": ([(U, "Name a prime."), (A, "7")], {}), "1": ([(U, "Name a prime."), (A, "11")], {})},
    ),
    ("alpaca", {"instruction": "Name a prime.", "outputs": ["7"]}, {"0": ([(U, "Name a prime."), (A, "7")], {})}),
    (
        "prompt_completion",
        {"prompt": "Name a prime.", "completion": ["7", "11"]},
        {"0": ([(U, "Name a prime."), (A, "7")], {}), "1": ([(U, "Name a prime."), (A, "11")], {})},
    ),
]


@pytest.mark.parametrize(("name", "record", "expected"), SEVERAL)
def test_a_record_that_can_give_several_rows_names_each_by_its_path(
    name: str, record: dict[str, Any], expected: dict[str, Row]
) -> None:
    assert formats.detect(record) == name
    rows = formats.read(name, record)
    assert {row.path: (turns(row), row.meta) for row in rows} == expected
    assert len({id(row.meta) for row in rows}) == len(rows), "rows share a meta"


# ------------------------------------------------------------------------------------------------- tools, reasoning, verdicts


def test_xlam_answers_become_tool_calls() -> None:
    call = {"name": "rain", "arguments": {"city": "Rome"}}
    row = one({"id": 0, "query": "Rain in Rome?", "tools": '[{"name": "rain"}]', "answers": json.dumps([call])})
    assert turns(row) == [(U, "Rain in Rome?"), (A, "")]
    assert json.loads(row.messages[1].tool_calls or "") == [{"type": "function", "function": call}]
    assert (row.tools, row.meta) == ('[{"name": "rain"}]', {"id": 0})


def test_commands_of_moss_become_a_tool_call_and_its_result() -> None:
    turn = {
        "Human": "<|Human|>: Who wrote Emma?<eoh>\n",
        "Inner Thoughts": "<|Inner Thoughts|>: I should search.<eot>\n",
        "Commands": '<|Commands|>: Search("author of Emma"), Calculate("1+1")<eoc>\n',
        "Tool Responses": "<|Results|>: Jane Austen<eor>\n",
        "MOSS": "<|MOSS|>: Jane Austen wrote it.<eom>\n",
    }
    row = one({"chat": {"turn_1": turn}})
    assert turns(row) == [(U, "Who wrote Emma?"), (A, ""), (T, "Jane Austen"), (A, "Jane Austen wrote it.")]
    assert row.messages[1].reasoning == "I should search."
    calls = json.loads(row.messages[1].tool_calls or "")
    assert [c["function"] for c in calls] == [
        {"name": "Search", "arguments": {"input": "author of Emma"}},
        {"name": "Calculate", "arguments": {"input": "1+1"}},
    ]


def test_function_calls_of_gemini_become_tool_calls_and_tool_turns() -> None:
    contents = [
        {"role": "user", "parts": [{"text": "Rain in Rome?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "rain", "args": {"city": "Rome"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "rain", "response": {"mm": 3}}}]},
        {"role": "model", "parts": [{"text": "Yes."}]},
    ]
    row = one({"contents": contents, "tools": [{"functionDeclarations": [{"name": "rain"}]}]})
    assert turns(row) == [(U, "Rain in Rome?"), (A, ""), (T, '{"mm":3}'), (A, "Yes.")]
    assert json.loads(row.messages[1].tool_calls or "") == [
        {"type": "function", "function": {"name": "rain", "arguments": {"city": "Rome"}}}
    ]
    assert row.messages[2].name == "rain"
    assert row.meta == {}


def test_tools_and_thoughts_of_a_chatgpt_export_become_calls_and_reasoning() -> None:
    def node(parent: str | None, role: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "parent": parent,
            "message": {"author": {"role": role, "name": more.pop("name", None)}, "content": content, **more},
        }

    nodes = {
        "1": node(None, "user", {"content_type": "text", "parts": ["1+1?"]}),
        "2": node("1", "assistant", {"content_type": "thoughts", "thoughts": [{"summary": "Sum", "content": "I add."}]}),
        "3": node("2", "assistant", {"content_type": "code", "text": "print(1+1)"}, recipient="python"),
        "4": node("3", "tool", {"content_type": "execution_output", "text": "2"}, name="python"),
        "5": node("4", "assistant", {"content_type": "text", "parts": [""]}, recipient="all"),
        "6": node("5", "assistant", {"content_type": "text", "parts": ["2"]}, recipient="all"),
    }
    row = one({"title": "Sum", "mapping": nodes})
    assert turns(row) == [(U, "1+1?"), (A, ""), (T, "2"), (A, "2")]
    assert row.messages[1].reasoning == "I add."
    assert json.loads(row.messages[1].tool_calls or "") == [
        {"type": "function", "function": {"name": "python", "arguments": {"input": "print(1+1)"}}}
    ]
    assert row.messages[2].name == "python"


def test_an_export_whose_messages_form_a_circle_is_refused() -> None:
    message = {"author": {"role": "user"}, "content": {"parts": ["Hi"]}}
    nodes = {"a": {"parent": "b", "message": message}, "b": {"parent": "a", "message": message}}
    assert "circle" in refused({"mapping": nodes, "current_node": "a"}).detail


@pytest.mark.parametrize(
    "record",
    [
        {"question": "6 x 7?", "solution": "42", "thinking_trajectories": ["Six sevens."]},  # s1K
        {"problem": "6 x 7?", "deepseek_reasoning": "Six sevens.", "deepseek_solution": "42"},  # OpenThoughts
        {"Question": "6 x 7?", "Complex_CoT": "Six sevens.", "Response": "42"},  # medical-o1
        {"instruction": "6 x 7?", "chain_of_thought": "Six sevens.", "output": "42"},
        {"prompt": "6 x 7?", "reasoning": "Six sevens.", "completion": "42"},
    ],
)
def test_the_reasoning_of_a_record_becomes_that_of_the_answer(record: dict[str, Any]) -> None:
    row = one(record)
    assert turns(row) == [(U, "6 x 7?"), (A, "42")]
    assert row.messages[1].reasoning == "Six sevens."
    assert row.meta == {}


def test_a_label_of_zero_or_one_is_a_verdict_only_beside_prompt_and_completion() -> None:
    row = one({"prompt": "Hi", "completion": "Ho", "label": 0})
    assert (row.kind, row.label, row.meta) == ("unpaired", False, {})
    row = one({"question": "Hi", "answer": "Ho", "label": 0})
    assert (row.kind, row.label, row.meta) == ("sft", None, {"label": 0})


# ------------------------------------------------------------------------------------------------- turns


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["One.", "Two."], "One.\nTwo."),
        (["One. ", "Two."], "One. Two."),
        (["One.", "\n\nTwo."], "One.\n\nTwo."),
        (["", "Two.", ""], "Two."),
        (["One.", {"type": "image_url", "image_url": "x.png"}, "Two."], "One.\nTwo."),
    ],
)
def test_parts_of_a_content_are_joined_by_a_line_break_where_no_white_space_parts_them(parts: list[Any], text: str) -> None:
    row = one({"messages": [{"role": "user", "content": parts}]})
    assert row.messages[0].content == text


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "narrator", "content": "x"}, "unknown_role"),
        ({"user": "x", "narrator": "y"}, "unknown_role"),
        ({"role": "user", "user": "Hi", "assistant": "Ho"}, "wrong_type"),
        ({"speaker": None, "text": "x"}, "unknown_role"),
        (["x", "y", "z"], "wrong_type"),
        ("x", "wrong_type"),
        (5, "wrong_type"),
    ],
)
def test_a_turn_of_no_known_shape_is_refused_among_others(turn: Any, reason: str) -> None:
    first = {"role": "user", "content": "Hi"}
    assert refused({"messages": [first, turn]}, "messages").reason == reason


def test_what_an_exchange_says_beside_its_texts_is_kept() -> None:
    row = one({"messages": [{"user": "Hi", "assistant": "Ho", "score": 3}, {"system": "S", "user": "Hi", "assistant": "Ho"}]})
    assert turns(row) == [(U, "Hi"), (A, "Ho"), (U, "Hi"), (A, "Ho")]
    assert row.meta == {"messages_extra": {"2": {"score": 3}, "4": {"system": "S"}}}


def test_media_in_meta_is_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "cat.png"}}
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "A cat."}]
    assert media(one({"messages": chat})) == []
    assert media(one({"messages": chat, "images": ["cat.png"], "videos": [], "audio": None})) == ["images"]
    assert media(one({"messages": [{"role": "user", "content": ["?", image]}, chat[1]]})) == ["parts"]
    assert media(one({"messages": [{**chat[0], "image": "cat.png"}, chat[1]], "video": "cat.mp4"})) == ["image", "video"]
    assert media(one({"instruction": "?", "output": "A cat.", "image": "cat.png"})) == ["image"]


# ------------------------------------------------------------------------------------------------- columns of the recipe


def test_a_column_that_a_record_does_not_have_is_named() -> None:
    bad = refused({"q": "Hi", "b": "Ho"}, "alpaca", columns={"prompt": "q", "response": "a"})
    assert bad.reason == "no_column"
    assert bad.detail == "the recipe maps response to 'a', which the record does not have (its fields: q, b)"


def test_a_record_may_lack_the_columns_that_not_every_conversation_has() -> None:
    columns = {"prompt": "q", "response": "a", "query": "i", "system": "s", "history": "h", "tools": "t", "kto_tag": "k"}
    assert turns(one({"q": "Hi", "a": "Ho"}, columns=columns)) == [(U, "Hi"), (A, "Ho")]


def test_a_mapped_column_is_found_inside_a_wrapper() -> None:
    row = one({"row": {"q": "Hi", "a": "Ho"}, "row_idx": 1}, columns={"prompt": "q", "response": "a"})
    assert (turns(row), row.meta) == ([(U, "Hi"), (A, "Ho")], {"row_idx": 1})


def test_objects_within_objects_without_end_are_refused_by_every_format() -> None:
    deep: Any = {}
    for _ in range(600):
        deep = {"name": deep}
    for name in formats.FORMATS:
        for record in (
            {"messages": [{"role": "assistant", "tool_calls": [deep]}], "tools": deep},
            {"conversations": [{"from": "gpt", "value": "x", "tool_calls": [deep]}]},
            {"instruction": "x", "output": "y", "tools": [deep]},
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": deep}}]}]},
            {"query": "x", "tools": "[]", "answers": [{"name": "f", "arguments": deep}]},
        ):
            try:
                formats.read(name, record)
            except BadRecord as bad:
                assert bad.detail
    assert refused({"instruction": "x", "output": "y", "tools": [deep]}).reason == "too_deep"


def test_a_wrapper_does_not_hide_what_the_record_itself_says() -> None:
    row = one({"id": "outer", "row": {"id": "inner", "instruction": "Hi", "output": "Ho"}})
    assert row.meta == {"id": "inner", "outer_id": "outer"}


def test_a_column_of_prompts_makes_prompts() -> None:
    row = one({"q": "Hi", "more": "Ho"}, columns={"prompt": "q", "query": "more"})
    assert (row.kind, turns(row), row.meta) == ("prompt", [(U, "Hi\nHo")], {"input_at": 2})


# ------------------------------------------------------------------------------------------------- Alpaca there and back

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    texts,
    texts.filter(lambda t: t.strip().lower() not in alpaca.NO_INPUT),
    texts,
    st.lists(st.lists(texts, min_size=2, max_size=2), max_size=2),
)
def test_an_alpaca_record_with_an_input_is_written_as_it_was(
    instruction: str, text: str, output: str, history: list[list[str]]
) -> None:
    record = {"instruction": instruction, "input": text, "output": output, "system": "S", "history": history}
    (row,) = formats.read("alpaca", record)
    assert alpaca.write(row) == record


def test_an_input_whose_place_has_changed_stays_in_the_instruction() -> None:
    row = one({"instruction": "Mail ann@corp.com", "input": "now", "output": "Done."})
    row.messages[0] = row.messages[0]._replace(content="Mail <EMAIL>\nnow")
    written = alpaca.write(row)
    assert (written["instruction"], written["input"]) == ("Mail <EMAIL>\nnow", "")


# ------------------------------------------------------------------------------------------------- real files


def records(path: Path) -> list[Any]:
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    try:
        whole = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
def test_every_record_of_every_real_file_is_seen_and_read() -> None:
    seen = {}
    for path in sorted((CORPUS / "instruct").iterdir()):
        if path.name == "llamafactory_dataset_info.json":  # describes datasets, is none
            continue
        found = {formats.detect(record) for record in records(path)}
        assert len(found) == 1, path.name
        (seen[path.name],) = found
    assert None not in seen.values()
    assert seen["alpaca_seed_tasks.jsonl"] == "self_instruct"
    assert seen["litgpt_dolly_fixture.json"] == "dolly"
    assert seen["litgpt_longform_train.json"] == "input_target"
    assert seen["ultrachat_eval_prompts.json"] == "prompts"
    assert seen["mllm_demo.json"] == "messages"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
def test_every_alpaca_record_of_real_files_comes_back_from_its_row() -> None:
    for name in ("alpaca_en_demo.json", "rasbt_instruction_data.json", "chatdoctor5k.json.gz"):
        for record in records(CORPUS / "instruct" / name):
            (row,) = formats.read("alpaca", record)
            written = alpaca.write(row)
            if record["input"].strip().lower() not in alpaca.NO_INPUT:
                assert {key: written[key] for key in ("instruction", "input", "output")} == record


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
def test_prompts_of_real_files_are_prompts() -> None:
    for record in records(CORPUS / "instruct" / "ultrachat_eval_prompts.json"):
        assert one(record).kind == "prompt"
