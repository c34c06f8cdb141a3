"""Exports, loaded by the real trainers: `datasets`, TRL, LLaMA-Factory and axolotl, in the environment that `make test` made.

Each export is written once, and read once by a process of its own (tests/trainers/run.py); the tests look at what it found.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from sft_assets.record import Conversation, Message
from tests.test_exported import Row, augmented, chat, export, pair, sums

TRAINERS = Path(__file__).parents[1] / ".venv-trainers"
RUN = Path(__file__).parent / "trainers" / "run.py"

# one run is what all of them look at
pytestmark = [pytest.mark.xdist_group("conformance"), pytest.mark.timeout(1800)]

# ------------------------------------------------------------------------------------------------------------ the rows

CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "The time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOLS = json.dumps([CLOCK])


def call(city: str, ident: str) -> dict[str, Any]:
    return {"id": ident, "type": "function", "function": {"name": "clock", "arguments": json.dumps({"city": city})}}


def said(role: str, content: str, **more: Any) -> Message:
    return Message(role, content, **more)


def row(*turns: Message, **more: Any) -> Row:
    return Row(Conversation(list(turns), license="mit", language="en", **more))


SYSTEM = said("system", "Answer like a pirate.")
CALLED = (
    said("user", "What time is it in Rome?"),
    said("assistant", "", tool_calls=json.dumps([call("Rome", "call_1")])),
    said("tool", '{"time": "12:04"}', name="clock", tool_call_id="call_1"),
    said("assistant", "It is four past noon."),
)
TWO_CALLS = (
    said("user", "And in Oslo and Lima?"),
    said("assistant", "", tool_calls=json.dumps([call("Oslo", "call_2"), call("Lima", "call_3")])),
    said("tool", '{"time": "13:04"}', name="clock", tool_call_id="call_2"),
    said("tool", '{"time": "06:04"}', name="clock", tool_call_id="call_3"),
    said("assistant", "One and six."),
)
LONG = [("Hi ☕, 你好?", "Hello! 😀"), ("Who are you?", 'A test "row"\nof two lines.'), ("<b>Bye</b>", "See you.")]
SFT = {
    "single": row(said("user", "Name a prime."), said("assistant", "Seven is one.")),
    "system": row(SYSTEM, said("user", "Where is Rome?"), said("assistant", "In Italy, arr.")),
    "chat": row(*(said(role, text) for turn in LONG for role, text in zip(("user", "assistant"), turn, strict=True))),
    "system and chat": row(
        SYSTEM, said("user", "Port?"), said("assistant", "Left, arr."), said("user", "Starboard?"), said("assistant", "Right.")
    ),
    "tools": row(*CALLED, tools=TOOLS),
    "two calls": row(SYSTEM, *CALLED, *TWO_CALLS, tools=TOOLS),
    "tools that nobody calls": row(said("user", "Thanks."), said("assistant", "My pleasure."), tools=TOOLS),
    "weight": row(
        *(said("user", "A lie?"), said("assistant", "Snow is black.", weight=0.0), said("user", "The truth?")),
        said("assistant", "Snow is white.", weight=1.0),
    ),
    "reasoning": row(said("user", "What is 6 x 7?"), said("assistant", "It is 42.", reasoning="Six sevens: 42.")),
}
PAIRS = {
    "plain": pair(1),
    "chat": row(
        SYSTEM,
        *(said("user", "Name a fruit."), said("assistant", "Apple."), said("user", "Another.")),
        said("assistant", "A pear, arr."),
        kind="preference",
        rejected=[said("assistant", "No more.")],
    ),
    "tools": row(*CALLED, kind="preference", rejected=[said("assistant", "How should I know?")], tools=TOOLS),
}
LABELLED = {
    f"{label}": Row(chat(f"Say {word}.", f"I say {word}.", kind="unpaired", label=label, license="mit", language="en"))
    for label, word in ((True, "yes"), (False, "no"))
}
FORMATS = ["messages", "alpaca", "preference", "sharegpt", "openai", "prompt_completion", "kto"]


def everything() -> list[Row]:
    """A row of every shape and kind."""
    made = sums(2, start=900)
    for child in made:
        child.source = "generated:answers"
        child.parents = [SFT["single"].id]
    prompt = row(said("user", "Only a question"), kind="prompt")
    return [*SFT.values(), *sums(3), *made, *PAIRS.values(), pair(2), *LABELLED.values(), prompt]


def many() -> list[Row]:
    """Enough rows of each kind for three splits."""
    labelled = [Row(chat(f"Say {i}.", f"No {i}.", kind="unpaired", label=i % 2 == 0, license="mit")) for i in range(30)]
    return [*sums(30), *(pair(i) for i in range(30)), *labelled]


# ------------------------------------------------------------------------------------------------------------- the run


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name. all: rows of every shape and kind in every format, all of them in train. split: the formats that a recipe starts
    with, in three splits. plain: text alone."""
    root = tmp_path_factory.mktemp("conformance")
    together = {"validation_share": 0, "test_share": 0}
    return {
        "all": export(augmented(root / "all", everything()), formats=FORMATS, **together),
        "split": export(augmented(root / "split", many()), validation_share=0.2, test_share=0.2),
        "plain": export(augmented(root / "plain", sums(5)), **together),
    }


@pytest.fixture(scope="module")
def python() -> Path:
    """That of the trainers' environment."""
    if not (TRAINERS / ".installed").exists():
        reason = f"{TRAINERS.name} is not there: `make test` makes it where the packages in tests/trainers can be had"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}. In CI they have to be.")
        pytest.skip(reason)
    return TRAINERS / "bin" / "python"


@pytest.fixture(scope="module")
def found(python: Path, exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the trainers made of each export: name -> check -> {"value": ...} or {"error": ...}."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HF_HOME": str(home), "HOME": str(home)}
    done = subprocess.run([python, RUN, *exports.values()], env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    results = json.loads(done.stdout)
    return {name: results[str(folder)] for name, folder in exports.items()}


@pytest.fixture(scope="module")
def value(found: dict[str, Any]) -> Callable[[str, str], Any]:
    """What a check found in an export; its error fails the test."""

    def of(export: str, check: str) -> Any:
        result = found[export][check]
        assert "error" not in result, result["error"]
        return result["value"]

    return of


Value = Callable[[str, str], Any]


def manifest(folder: Path) -> dict[str, Any]:
    return orjson.loads((folder / "MANIFEST.json").read_bytes())


def ident(row: Row) -> str:
    return str(UUID(bytes=row.id))


def by_id(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {shown["row_id"]: shown for shown in result["rows"]}


def answers(row: Row) -> list[str]:
    """What of a row is to be learned: the texts of its answers, and its calls."""
    learned = []
    for turn in row.conversation.messages:
        if turn.role == "assistant":
            learned += [turn.reasoning] if turn.reasoning else []
            learned += [turn.content] if turn.content else []
            learned += [json.loads(c["function"]["arguments"])["city"] for c in json.loads(turn.tool_calls or "[]")]
    return learned


def given(row: Row) -> list[str]:
    """What of a row is not to be learned."""
    return [turn.content for turn in row.conversation.messages if turn.role != "assistant"]


def in_order(pieces: list[str], text: str) -> bool:
    """Whether the pieces stand in the text one after the other."""
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


# ------------------------------------------------------------------------------------------------------------ datasets


@pytest.mark.parametrize("name", ["all", "split", "plain"])
def test_load_dataset_gives_every_config_and_split_with_the_rows_that_the_manifest_counts(
    name: str, value: Value, exports: dict[str, Path]
) -> None:
    loaded = value(name, "datasets")
    assert loaded["warnings"] == []
    written: dict[tuple[str, str], int] = {}
    for path, entry in manifest(exports[name])["files"].items():
        if path.endswith(".parquet"):
            folder, _, file = path.partition("/")
            place = ("default" if folder == "data" else folder, file.split("-")[0])
            written[place] = written.get(place, 0) + entry["rows"]
    assert {(c, s): split["rows"] for c, splits in loaded["configs"].items() for s, split in splits.items()} == written
    assert all(split["rows"] == split["expected"] for splits in loaded["configs"].values() for split in splits.values())


def test_the_config_that_is_loaded_without_a_name_is_the_conversations(value: Value) -> None:
    for name in ("all", "split", "plain"):
        loaded = value(name, "datasets")
        assert loaded["first"] == {split: rows["rows"] for split, rows in loaded["configs"]["default"].items()}


def test_the_splits_are_three_and_share_no_row(value: Value) -> None:
    configs = value("split", "datasets")["configs"]
    for splits in configs.values():
        assert list(splits) == ["train", "validation", "test"]
        ids = [row["row_id"] for split in splits.values() for row in split["values"]]
        assert len(ids) == len(set(ids)) == 30


def test_conversations_come_back_as_they_were(value: Value) -> None:
    rows = {row["row_id"]: row for row in value("all", "datasets")["configs"]["default"]["train"]["values"]}
    for wanted in SFT.values():
        got = rows[ident(wanted)]
        assert got["tools"] == wanted.conversation.tools
        for turn, message in zip(got["messages"], wanted.conversation.messages, strict=True):
            calls = turn.pop("tool_calls")
            assert turn == {name: v for name, v in message._asdict().items() if name != "tool_calls"}
            assert calls == (message.tool_calls and [with_objects(made) for made in json.loads(message.tool_calls)])


def with_objects(made: dict[str, Any]) -> dict[str, Any]:
    """A call whose arguments are an object, not the text of one."""
    function = made["function"]
    return {**made, "function": {**function, "arguments": json.loads(function["arguments"])}}


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3_8", "llama3_2", "gptoss", "glm4moe"])
def test_the_chat_templates_of_models_that_know_tools_put_no_quotes_around_arguments(family: str, value: Value) -> None:
    texts = value("all", "templates")[family]
    for name in ("tools", "two calls") if family != "llama3_2" else ("tools",):  # which knows one call a turn
        text = texts[ident(SFT[name])]
        assert in_order(answers(SFT[name]), text)
        assert '\\\\"city' not in text


# ----------------------------------------------------------------------------------------------------------------- TRL

SFT_CHECKS = ["trl sft", "trl sft, answers only", "trl prompt and completion"]


@pytest.mark.parametrize("check", [*SFT_CHECKS, "trl dpo", "trl kto"])
def test_a_step_is_trained_on_every_config(check: str, value: Value) -> None:
    result = value("all", check)
    assert result["steps"] == 1
    assert math.isfinite(result["loss"])
    assert result["loss"] > 0


@pytest.mark.parametrize(("check", "config"), [("trl sft", "default"), ("trl dpo", "preference"), ("trl kto", "unpaired")])
def test_the_standard_formats_are_trained_on_and_evaluated_with_the_validation_split(
    check: str, config: str, value: Value
) -> None:
    result = value("split", check)
    splits = value("split", "datasets")["configs"][config]
    assert result["config"] == config
    assert math.isfinite(result["loss"])
    assert (len(result["rows"]), result["evaluated"]) == (splits["train"]["rows"], splits["validation"]["rows"])


@pytest.mark.parametrize("check", SFT_CHECKS)
@pytest.mark.parametrize("name", SFT)
def test_trl_puts_every_turn_before_the_model(name: str, check: str, value: Value) -> None:
    text = by_id(value("all", check))[ident(SFT[name])]["text"]
    if name in ("tools", "two calls", "tools that nobody calls"):
        assert CLOCK["function"]["description"] in text
    pieces = [p for turn in SFT[name].conversation.messages for p in answers(row(turn)) + given(row(turn))]
    assert in_order(pieces, text)


@pytest.mark.parametrize("name", SFT)
def test_with_the_loss_on_answers_all_of_them_are_learned_and_nothing_else(name: str, value: Value) -> None:
    trained = by_id(value("all", "trl sft, answers only"))[ident(SFT[name])]["trained"]
    assert len(trained) == sum(turn.role == "assistant" for turn in SFT[name].conversation.messages)
    assert in_order(answers(SFT[name]), "".join(trained))
    assert not any(text in piece for text in given(SFT[name]) for piece in trained)


@pytest.mark.parametrize("name", SFT)
def test_of_prompt_and_completion_the_last_answer_is_learned(name: str, value: Value) -> None:
    (trained,) = by_id(value("all", "trl prompt and completion"))[ident(SFT[name])]["trained"]
    last = SFT[name].conversation.messages[-1]
    assert trained.endswith(f"{last.content}<|im_end|>\n")
    assert not any(turn.content in trained for turn in SFT[name].conversation.messages[:-1] if turn.content)


@pytest.mark.parametrize("name", PAIRS)
def test_dpo_sees_prompt_chosen_and_rejected(name: str, value: Value) -> None:
    shown = by_id(value("all", "trl dpo"))[ident(PAIRS[name])]
    pair = PAIRS[name].conversation
    assert pair.rejected
    *prompt, chosen = pair.messages
    assert in_order([turn.content for turn in prompt], shown["prompt"])
    assert shown["prompt"].endswith("<|im_start|>assistant\n")
    assert shown["chosen"].endswith(f"{chosen.content}<|im_end|>\n")
    assert shown["rejected"].endswith(f"{pair.rejected[-1].content}<|im_end|>\n")


def test_kto_sees_labelled_rows_and_both_answers_of_each_pair(value: Value) -> None:
    result = value("all", "trl kto")
    assert result["config"] == "kto"
    seen = {(row["row_id"], row["label"], row["completion"].split("\n\n")[-1]) for row in result["rows"]}
    end = "<|im_end|>\n"
    for labelled in LABELLED.values():
        c = labelled.conversation
        assert (ident(labelled), c.label, c.messages[-1].content + end) in seen
    for ranked in PAIRS.values():
        assert ranked.conversation.rejected
        assert (ident(ranked), True, ranked.conversation.messages[-1].content + end) in seen
        assert (ident(ranked), False, ranked.conversation.rejected[-1].content + end) in seen


# ------------------------------------------------------------------------------------------------------- LLaMA-Factory


@pytest.mark.parametrize("name", ["all", "split", "plain"])
def test_llama_factory_reads_every_row_of_every_entry_and_skips_none(name: str, value: Value, exports: dict[str, Path]) -> None:
    files = manifest(exports[name])["files"]
    described = orjson.loads((exports[name] / "dataset_info.json").read_bytes())
    entries = value(name, "llamafactory")
    assert entries.keys() == described.keys()
    for entry, result in entries.items():
        assert files[described[entry]["file_name"]]["rows"] == result["read"] == len(result["rows"])


def test_every_file_that_llama_factory_can_read_is_described(exports: dict[str, Path]) -> None:
    described = {entry["file_name"] for entry in orjson.loads((exports["all"] / "dataset_info.json").read_bytes()).values()}
    assert described == {p for p in manifest(exports["all"])["files"] if p.startswith(("alpaca/", "sharegpt/"))}
    plain = {entry["file_name"] for entry in orjson.loads((exports["plain"] / "dataset_info.json").read_bytes()).values()}
    assert any(path.startswith("data/") for path in plain)


def of_file(exports: dict[str, Path], value: Value, path: str, name: str = "all") -> list[dict[str, Any]]:
    """What LLaMA-Factory made of the rows of a file."""
    described = orjson.loads((exports[name] / "dataset_info.json").read_bytes())
    (entry,) = [key for key, told in described.items() if told["file_name"] == path]
    rows: list[dict[str, Any]] = value(name, "llamafactory")[entry]["rows"]
    return rows


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("alpaca/train.json", ["single", "system", "chat", "system and chat"]),
        ("sharegpt/train.json", ["single", "system", "chat", "system and chat", "tools", "tools that nobody calls"]),
    ],
)
def test_llama_factory_learns_the_answers_and_nothing_else(
    path: str, names: list[str], value: Value, exports: dict[str, Path]
) -> None:
    rows = of_file(exports, value, path)
    for name in names:
        wanted = SFT[name]
        pieces = [p for turn in wanted.conversation.messages for p in answers(row(turn)) + given(row(turn))]
        (shown,) = [r for r in rows if in_order(pieces, r["text"]) and len(r["trained"]) == answered(wanted)]
        assert in_order(answers(wanted), "".join(shown["trained"]))
        assert not any(text in piece for text in given(wanted) for piece in shown["trained"])


def answered(row: Row) -> int:
    return sum(turn.role == "assistant" for turn in row.conversation.messages)


def test_llama_factory_ranks_the_chosen_answer_over_the_rejected_one(value: Value, exports: dict[str, Path]) -> None:
    rows = of_file(exports, value, "sharegpt/preference-train.json")
    for ranked in PAIRS.values():
        assert ranked.conversation.rejected
        better, worse = ranked.conversation.messages[-1].content, ranked.conversation.rejected[-1].content
        prompt = [turn.content for turn in ranked.conversation.messages[:-1]]
        (shown,) = [r for r in rows if in_order([*prompt, better], r["chosen_text"])]
        assert in_order([*prompt, worse], shown["rejected_text"])
        assert "".join(shown["chosen_trained"]).endswith(f"{better}<|im_end|>\n")
        assert "".join(shown["rejected_trained"]).endswith(f"{worse}<|im_end|>\n")


def test_llama_factory_knows_good_answers_from_bad_ones(value: Value, exports: dict[str, Path]) -> None:
    rows = of_file(exports, value, "sharegpt/kto-train.json")
    for wanted in LABELLED.values():
        texts = [turn.content for turn in wanted.conversation.messages]
        (shown,) = [r for r in rows if in_order(texts, r["text"])]
        assert shown["label"] is wanted.conversation.label


# ------------------------------------------------------------------------------------------------------------- axolotl


def test_axolotl_prepares_every_part_of_its_configuration(value: Value) -> None:
    counts = {part: {split: len(rows) for split, rows in splits.items()} for part, splits in value("split", "axolotl").items()}
    loaded = value("split", "datasets")["configs"]
    configs = {"sft": "default", "dpo": "preference", "kto": "unpaired"}
    assert counts == {
        part: {split: loaded[config][split]["rows"] for split in ("train", "validation")} for part, config in configs.items()
    }


@pytest.mark.parametrize("name", SFT)
def test_axolotl_learns_the_answers_and_nothing_else(name: str, value: Value) -> None:
    wanted = SFT[name]
    learned = [text for text in answers(wanted) if text != "Snow is black."]  # whose weight is 0
    pieces = [p for turn in wanted.conversation.messages for p in answers(row(turn)) + given(row(turn))]
    shown = [
        r
        for r in value("all", "axolotl")["sft"]["train"]
        if in_order(pieces, r["text"]) and (CLOCK["function"]["description"] in r["text"]) == bool(wanted.conversation.tools)
    ]
    whole = min(shown, key=lambda r: len(r["text"]))  # the row itself, not a longer one that has its turns too
    trained = "".join(whole["trained"])
    assert in_order(learned, trained)
    assert not any(text in trained for text in [*given(wanted), "Snow is black."])


def test_axolotl_sees_pairs_and_labels(value: Value) -> None:
    parts = value("all", "axolotl")
    pairs = {(r["chosen"], r["rejected"]) for r in parts["dpo"]["train"]}
    for ranked in PAIRS.values():
        assert ranked.conversation.rejected
        texts = ranked.conversation.messages[-1].content, ranked.conversation.rejected[-1].content
        assert tuple(f"{text}<|im_end|>" for text in texts) in pairs
    labels = {r["completion"][-1]["content"]: r["label"] for r in parts["kto"]["train"]}
    for labelled in LABELLED.values():
        assert labels[labelled.conversation.messages[-1].content] is labelled.conversation.label


# -------------------------------------------------------------------------------------------------------------- OpenAI

MESSAGES = TypeAdapter(list[ChatCompletionMessageParam])
FUNCTIONS = TypeAdapter(list[ChatCompletionFunctionToolParam])
KEYS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "weight"},
    "tool": {"role", "content", "tool_call_id"},
}
FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_request(request: dict[str, Any]) -> None:
    """The rules of OpenAI's reference (fine-tuning, chat input), with the types of its own client."""
    assert request.keys() <= {"messages", "tools", "parallel_tool_calls"}
    turns = request["messages"]
    MESSAGES.validate_python([{k: v for k, v in turn.items() if k != "weight"} for turn in turns], strict=False)
    FUNCTIONS.validate_python(request.get("tools", []))
    assert request.get("tools") != []
    assert isinstance(request.get("parallel_tool_calls", True), bool)
    for tool in request.get("tools", []):
        assert FUNCTION_NAME.fullmatch(tool["function"]["name"])
    asked: list[str] = []
    for turn in turns:
        assert turn.keys() <= KEYS[turn["role"]]
        assert isinstance(turn.get("content"), str) or turn.get("tool_calls")
        assert turn.get("weight", 1) in (0, 1)
        if turn["role"] == "tool":
            asked.remove(turn["tool_call_id"])
            continue
        assert asked == []  # every call has its result before anything else is said
        for made in turn.get("tool_calls", []):
            assert FUNCTION_NAME.fullmatch(made["function"]["name"])
            assert isinstance(json.loads(made["function"]["arguments"]), dict)
            asked.append(made["id"])
    assert asked == []


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_openai_takes_every_conversation(exports: dict[str, Path]) -> None:
    records = json_lines(exports["all"] / "openai/train.jsonl")
    for record in records:
        check_request(record)
        assert record["messages"][-1]["role"] == "assistant"
        assert record["messages"][-1].get("weight", 1) == 1
    assert {"tools"} <= set().union(*(record.keys() for record in records))
    assert any(turn.get("weight") == 0 for record in records for turn in record["messages"])
    counted = manifest(exports["all"])
    left_out = sum(counted["left_out"].get("openai", {}).values())
    assert len(records) + left_out == sum(counted["rows"]["sft"].values())


def test_openai_takes_every_pair(exports: dict[str, Path]) -> None:
    records = json_lines(exports["all"] / "openai/preference-train.jsonl")
    assert len(records) == len(PAIRS) + 1
    for record in records:
        assert record.keys() == {"input", "preferred_output", "non_preferred_output"}
        for side in ("preferred_output", "non_preferred_output"):
            (answer,) = record[side]
            assert answer["role"] == "assistant"
            check_request({**record["input"], "messages": [*record["input"]["messages"], answer]})
