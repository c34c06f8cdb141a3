"""Texts as conversations: each chat template's marks, texts that only look like it, and what a recipe entry says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from conftest import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats import Hints
from sft_assets.formats.template_marks import LABELS, TEMPLATES
from sft_assets.formats.templates import turns_of
from sft_assets.record import BadRecord, Conversation

Turn = tuple[str, str]
U, A, S, T = "user", "assistant", "system", "tool"


def one(record: dict[str, Any], hints: Hints | None = None) -> Conversation:
    (row,) = formats.read("text", record, hints or Hints())
    return row


def turns(row: Conversation) -> list[Turn]:
    return [(m.role, m.content) for m in row.messages]


def refused(record: dict[str, Any], hints: Hints | None = None) -> BadRecord:
    with pytest.raises(BadRecord) as bad:
        one(record, hints)
    return bad.value


HI = [(U, "Hi"), (A, "Ho")]
BRIEF = [(S, "Be brief."), *HI]
MORE = [*HI, (U, "More"), (A, "Yes")]
PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BAIZE = "The conversation between human and AI assistant."

# template, text, turns
TEXTS: list[tuple[str, str, list[Turn]]] = [
    (
        "chatml",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n",
        BRIEF,
    ),
    ("chatml", "<|im_start|>user\n Hi\n\n<|im_end|>\n<|im_start|>assistant\n\nHo <|im_end|>", [(U, " Hi\n\n"), (A, "\nHo ")]),
    ("chatml", "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>Ho<|im_end|>", HI),
    ("chatml", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|><|endoftext|>", HI),
    (
        "chatml",
        "<|im_start|>user\nWhat does <|im_start|>user\n mean?<|im_end|>\n<|im_start|>assistant\nA turn.<|im_end|>\n",
        [(U, "What does <|im_start|>user\n mean?"), (A, "A turn.")],
    ),
    ("llama-2", "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Ho </s>", BRIEF),
    (
        "llama-2",
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Ho </s><s>[INST] More [/INST] Yes </s>",
        [(S, "Be brief."), *MORE],
    ),
    ("mistral", "<s>[INST] Hi [/INST] Ho</s>", HI),
    ("mistral", "<s>[INST] Hi [/INST] Ho</s>[INST] More [/INST] Yes</s>", MORE),
    ("mistral", "[INST] Hi [/INST] Ho [INST] More [/INST] Yes", MORE),
    ("mistral", "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Ho</s>", BRIEF),
    (
        "llama-3",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHo<|eot_id|>",
        BRIEF,
    ),
    (
        "llama-4",
        "<|begin_of_text|><|header_start|>user<|header_end|>\n\nHi<|eot|><|header_start|>assistant<|header_end|>\n\nHo<|eot|>",
        HI,
    ),
    ("gemma", "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHo<end_of_turn>\n<eos>", HI),
    ("phi-3", "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHo<|end|>\n<|endoftext|>", BRIEF),
    ("zephyr", "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\nHo</s>\n", HI),
    ("tulu", "<|user|>\nHi\n<|assistant|>\nHo</s>\n<|user|>\nMore\n<|assistant|>\nYes</s>", MORE),
    ("oasst", "<|prompter|>Hi<|endoftext|><|assistant|>Ho<|endoftext|>", HI),
    ("moss", "[Human]: Hi<eoh> [MOSS]: Ho<eoa> [Human]: More<eoh> [MOSS]: Yes<eoa>", MORE),
    ("moss", "<|Human|>: Hi<eoh>\n<|MOSS|>: Ho<eom>\n", HI),
    (
        "deepseek",
        "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜>Ho<｜end▁of▁sentence｜>",
        BRIEF,
    ),
    ("alpaca", f"{PREAMBLE}### Instruction:\nHi\n\n### Response:\nHo", HI),
    ("alpaca", f"{WITH_INPUT}### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n3", [(U, "Add.\n1, 2"), (A, "3")]),
    ("alpaca", "### Instruction:\nHi\n\n### Input:\n\n### Response:\nHo\n\n### End", HI),
    ("alpaca", "Be brief.\n\n### Instruction: Hi\n### Response: Ho</s>", BRIEF),
    ("orca", "### System:\nBe brief.\n\n### User:\nHi\n\n### Assistant:\nHo\n", BRIEF),
    ("guanaco", "### Human: Hi### Assistant: Ho### Human: More### Assistant: Yes", MORE),
    ("guanaco", "### Human: Hi\n### Assistant: Ho", HI),
    ("redpajama", "<human>: Hi\n<bot>: Ho\n<human>: More\n<bot>: Yes", MORE),
    ("baize", f"{BAIZE}\n[|Human|] Hi\n[|AI|] Ho\n[|Human|] ", [(S, BAIZE), *HI]),
    ("glaive", "USER: Hi\n\n\nASSISTANT: Ho <|endoftext|>\n\n\nUSER: More\n\n\nASSISTANT: Yes <|endoftext|>\n\n\n", MORE),
    ("vicuna", f"{VICUNA} USER: Hi ASSISTANT: Ho</s>USER: More ASSISTANT: Yes</s>", [(S, VICUNA), *MORE]),
    ("vicuna", "USER: Hi ASSISTANT: Ho</s>", HI),
    ("anthropic", "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: More\n\nAssistant: Yes", MORE),
    ("anthropic", "Be brief.\n\nHuman: Hi\n\nAssistant: Ho", BRIEF),
    ("anthropic", "\n\nHuman: A\n\nb\n\nAssistant: Human: is a label.", [(U, "A\n\nb"), (A, "Human: is a label.")]),
    ("User/Assistant", "User: Hi\nAssistant: Ho\n\nUser: More\nAssistant: Yes\n", MORE),
    ("User/Assistant", "System: Be brief.\nUser: Hi\nAssistant: Ho", BRIEF),
    ("USER/ASSISTANT", "SYSTEM: Be brief.\nUSER: Hi\nASSISTANT: Ho", BRIEF),
    ("Human/Assistant", "Human: Hi\nAssistant: Ho", HI),
    ("Human/AI", "Human: Hi\nAI: Ho", HI),
    ("Human/Bot", "Human: Hi\r\nBot: Ho\r\n", HI),
    ("Question/Answer", "Question: Hi\nAnswer: Ho", HI),
    ("Prompt/Response", "Prompt:\nHi\n\nResponse:\nHo", HI),
    ("Instruction/Response", "Instruction: Hi\nResponse: Ho", HI),
    ("Input/Output", "Input: Hi\nOutput: Ho", HI),
    # a text before the first label is part of the question, which loses its label
    (
        "Q/A",
        "table: 1-1000181-1\ncolumns: State/territory, Notes\nQ: Tell me what the notes are \nA: SELECT Notes FROM 1-1000181-1",
        [
            (U, "table: 1-1000181-1\ncolumns: State/territory, Notes\nTell me what the notes are "),
            (A, "SELECT Notes FROM 1-1000181-1"),
        ],
    ),
]


@pytest.mark.parametrize(("template", "text", "expected"), TEXTS)
def test_a_text_with_a_templates_marks_becomes_these_turns(template: str, text: str, expected: list[Turn]) -> None:
    assert formats.detect({"text": text}) == "text"
    row = one({"text": text, "id": 7})
    assert turns(row) == expected
    assert (row.kind, row.meta) == ("sft", {"id": 7, "template": template})


def test_every_template_has_an_example_here() -> None:
    assert {t.name for t in (*TEMPLATES, *LABELS)} - {"User/AI", "User/Bot"} == {name for name, _, _ in TEXTS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", [(U, "Hi")]),
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant", [(U, "Hi")]),
        ("\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: More\n\nAssistant:", [*HI, (U, "More")]),
        ("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", [(U, "Hi")]),
        ("<s>[INST] Hi [/INST]", [(U, "Hi")]),
        ("<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>", [(U, "Hi")]),
        (f"{PREAMBLE}### Instruction:\nHi\n\n### Response:", [(U, "Hi")]),
        ("User: Hi\nAssistant:", [(U, "Hi")]),
    ],
)
def test_a_text_that_ends_where_the_assistant_is_to_go_on_is_a_prompt(text: str, expected: list[Turn]) -> None:
    row = one({"text": text})
    assert (row.kind, turns(row)) == ("prompt", expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once upon a time.",
        "In an interview one writes\nQ: before a question.",
        "The options are\nA: red\nB: blue",
        "Q: What is it? A: A cat.",
        "Write Q: before the question and A: before the answer.\nQ: What?\nA: That.",
        "A: An answer first.\nQ: And then a question?",
        "Q: One?\nQ: Two?\nA: Both.",
        "User: I said\nUser: Hi\nAssistant: Ho",
        "Given an array, return indices.\n\nExample 1:\nInput: [2, 7]\nOutput: [0, 1]",
        "x" * 1001 + "\nQ: What?\nA: That.",
        'prompt = f"[INST] {question} [/INST]"\nprint(prompt)',
        "Llama 2 puts [INST] and [/INST] around a question.",
        "ChatML is written <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n",
        "<|im_start|>user\nHi<|im_end|>\n",
        "<|im_start|>assistant\nHo<|im_end|>\n",
        "<|im_start|>user\nHi<|im_start|>assistant\nHo",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>narrator\nHe spoke.<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n",
        "The <|user|> mark stands before a question, <|assistant|> before an answer.",
        "# Report\n\n### Response to critics\nNone.\n\n### Instruction for use\nRead it.",
        "The USER: field holds a name, the ASSISTANT: field another.",
        "He said to Human: go, and the Assistant: went.",
    ],
)
def test_a_text_that_only_mentions_marks_is_not_torn_apart(text: str) -> None:
    assert turns_of(text) is None
    assert formats.detect({"text": text}) is None
    assert refused({"text": text}).reason == "no_turns"


def test_labels_of_plain_words_can_be_left_aside() -> None:
    assert turns_of("Q: Hi\nA: Ho", labels=False) is None
    found = turns_of("\n\nHuman: Hi\n\nAssistant: Ho", labels=False)
    assert found and found.template == "anthropic"


# ------------------------------------------------------------------------------------------------------------- tools

RATE = {"name": "get_rate", "arguments": {"from": "USD"}}


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        (
            'USER: Rate?\n\n\nASSISTANT: <functioncall> {"name": "get_rate", "arguments": \'{"from": "USD"}\'} <|endoftext|>'
            "\n\n\n"
            'FUNCTION RESPONSE: {"rate": 0.85}\n\n\nASSISTANT: It is 0.85. <|endoftext|>\n\n\n',
            [(U, "Rate?"), (A, ""), (T, '{"rate": 0.85}'), (A, "It is 0.85.")],
            {"type": "function", "function": {"name": "get_rate", "arguments": '{"from": "USD"}'}},
        ),
        (
            '<s>[INST] Rate? [/INST][TOOL_CALLS] [{"name": "get_rate", "arguments": {"from": "USD"}, "id": "a1b2c3d4e"}]</s>'
            "[TOOL_RESULTS] 0.85 [/TOOL_RESULTS] It is 0.85.</s>",
            [(U, "Rate?"), (A, ""), (T, "0.85"), (A, "It is 0.85.")],
            {"id": "a1b2c3d4e", "type": "function", "function": RATE},
        ),
        (
            "<|start_header_id|>user<|end_header_id|>\n\nRate?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
            '<|python_tag|>{"name": "get_rate", "parameters": {"from": "USD"}}<|eom_id|>'
            "<|start_header_id|>ipython<|end_header_id|>\n\n0.85<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nIt is 0.85.<|eot_id|>",
            [(U, "Rate?"), (A, ""), (T, "0.85"), (A, "It is 0.85.")],
            {"type": "function", "function": RATE},
        ),
    ],
)
def test_calls_in_a_text_become_tool_calls(text: str, said: list[Turn], expected: dict[str, object]) -> None:
    row = one({"text": text})
    assert turns(row) == said
    assert orjson.loads(row.messages[1].tool_calls or "") == [expected]


def test_a_call_that_cannot_be_parsed_stays_text() -> None:
    row = one({"text": "USER: Rate?\n\n\nASSISTANT: <functioncall> get_rate(USD) <|endoftext|>"})
    assert turns(row) == [(U, "Rate?"), (A, "<functioncall> get_rate(USD)")]
    assert row.messages[1].tool_calls is None


def test_glaives_record_gives_its_functions_as_tools() -> None:
    functions = [{"name": "get_rate", "parameters": {}}, {"name": "clock"}]
    listed = "\n\n".join(json.dumps(function, indent=4) for function in functions)
    intro = "You are a helpful assistant with access to the following functions. Use them if required -"
    record = {"system": f"SYSTEM: {intro}\n{listed}\n", "chat": "USER: Hi\n\n\nASSISTANT: Ho <|endoftext|>\n\n\n"}
    assert formats.detect(record) == "text"
    row = one(record)
    assert turns(row) == [(S, intro), *HI]
    assert json.loads(row.tools or "") == functions
    assert row.meta == {"template": "glaive"}


def test_the_tools_of_mistrals_text_are_tools() -> None:
    row = one({"text": '<s>[AVAILABLE_TOOLS] [{"type": "function"}][/AVAILABLE_TOOLS][INST] Hi [/INST] Ho</s>'})
    assert (turns(row), row.tools) == (HI, '[{"type": "function"}]')


# ------------------------------------------------------------------------------------------------------------ records


@pytest.mark.parametrize("name", ["text", "plain_text", "content", "document", "body", "chat"])
def test_a_text_may_have_any_of_these_names(name: str) -> None:
    record = {name: "\n\nHuman: Hi\n\nAssistant: Ho", "lang": "en", "source": "x"}
    assert formats.detect(record) == "text"
    row = one(record)
    assert (turns(row), row.language, row.meta) == (HI, "en", {"source": "x", "template": "anthropic"})


def test_moss_and_baize_records_are_read_with_what_they_say_beside_the_text() -> None:
    moss = {"id": 0, "prefix": "MOSS is an AI assistant.", "num_turns": 1, "plain_text": "[Human]: Hi<eoh> [MOSS]: Ho<eoa>"}
    assert formats.detect(moss) == "text"
    assert turns(one(moss)) == [(S, "MOSS is an AI assistant."), *HI]
    baize = {"topic": "Greetings", "input": f"{BAIZE}\n[|Human|] Hi\n[|AI|] Ho\n[|Human|] "}
    assert formats.detect(baize) == "text"
    row = one(baize)
    assert (turns(row), row.meta) == ([(S, BAIZE), *HI], {"topic": "Greetings", "template": "baize"})


@pytest.mark.parametrize("other", ["instruction", "prompt", "question", "messages", "parent_id"])
def test_a_text_beside_fields_of_other_formats_is_none_of_this_one(other: str) -> None:
    assert formats.detect({"text": "Q: Hi\nA: Ho", other: None}) != "text"


def test_the_fields_that_are_not_the_text_land_in_meta() -> None:
    row = one({"text": "Q: Hi\nA: Ho", "body": "x", "system": 5, "license": "mit"})
    assert (row.license, row.meta) == ("mit", {"body": "x", "system": 5, "template": "Q/A"})


# ------------------------------------------------------------------------------------------- what the recipe entry says


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        ("{prompt} => {response}", "6 x 7 => 42", [(U, "6 x 7"), (A, "42")]),
        ("{_}Q: {prompt}\nA: {response}", "Maths.\nQ: 6 x 7?\nA: 42\n", [(U, "6 x 7?"), (A, "42\n")]),
        ("[{system}] {prompt} -> {response} END", "[Be brief.] Hi -> Ho END", BRIEF),
        ("{prompt}\nInput: {input}\nOutput: {response}", "Add.\nInput: 1, 2\nOutput: 3", [(U, "Add.\n1, 2"), (A, "3")]),
        ("{response} <- {prompt}", "Ho <- Hi", HI),
        ("{prompt}|{response}", "a|b|c", [(U, "a"), (A, "b|c")]),
    ],
)
def test_a_template_says_where_prompt_and_response_stand(template: str, text: str, expected: list[Turn]) -> None:
    row = one({"text": text}, Hints(template=template))
    assert (turns(row), row.meta) == (expected, {"template": "recipe"})


@pytest.mark.parametrize("text", ["", "Q: Hi", "A: Ho\nQ: Hi", "q: Hi\nA: Ho"])
def test_a_text_that_does_not_fit_the_template_is_refused_with_it(text: str) -> None:
    bad = refused({"text": text}, Hints(template="Q: {prompt}\nA: {response}"))
    assert bad.reason == "no_match"
    assert repr("Q: {prompt}\nA: {response}") in bad.detail


@pytest.mark.parametrize("template", ["", "{prompt}", "{prompt}{response}", "{prompt} {prompt} {response}", "Q: A:"])
def test_a_template_that_cannot_cut_is_refused(template: str) -> None:
    if template:
        assert refused({"text": "Hi Ho"}, Hints(template=template)).reason == "bad_template"
    else:
        assert refused({"text": "Hi Ho"}, Hints(template=template)).reason == "no_turns"


def test_a_text_without_turns_is_continued_from_the_paragraph_nearest_to_a_third() -> None:
    paragraphs = [f"{word} {'x ' * 40}end." for word in ("One", "Two", "Three", "Four", "Five", "Six")]
    row = one({"text": "\n\n".join(paragraphs)}, Hints(continuation=True))
    assert turns(row) == [
        (U, "Continue the text.\n\n" + "\n\n".join(paragraphs[:2])),
        (A, "\n\n".join(paragraphs[2:])),
    ]
    assert (row.kind, row.meta) == ("sft", {"template": "continuation"})


def test_a_text_of_one_paragraph_is_continued_from_a_sentences_end() -> None:
    sentences = [f"This is sentence number {n} of the text." for n in range(9)]
    row = one({"text": " ".join(sentences)}, Hints(continuation=True))
    assert turns(row) == [(U, "Continue the text.\n\n" + " ".join(sentences[:3])), (A, " ".join(sentences[3:]))]


@pytest.mark.parametrize("text", ["", "Short.", "Short. Very short.", "x" * 5000])
def test_a_text_too_short_to_be_continued_is_refused(text: str) -> None:
    assert refused({"text": text}, Hints(continuation=True)).reason == "too_short"


def test_a_text_with_turns_is_not_continued() -> None:
    assert turns(one({"text": "Q: Hi\nA: Ho"}, Hints(continuation=True))) == HI


def test_the_refusal_of_a_text_without_turns_says_what_to_do() -> None:
    bad = refused({"text": "Once upon a time."})
    assert "`template:`" in bad.detail and "`continuation: true`" in bad.detail
    assert refused({"texts": "Once"}).reason == "wrong_type"


# ----------------------------------------------------------------------------------------------------------- laws


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(
            [
                *(t.key for t in (*TEMPLATES, *LABELS)),
                *(
                    "<|im_start|>user\n",
                    "<|im_end|>",
                    "[INST]",
                    "<<SYS>>",
                    "</s>",
                    "Human:",
                    "\n\n",
                    "\n",
                    " ",
                    "USER:",
                    "### ",
                    "<|end|>",
                ),
                *(
                    "User:",
                    "Q:",
                    "System:",
                    "<|user|>",
                    "<|eot_id|>",
                    "user<|end_header_id|>",
                    "model\n",
                    "<functioncall>{",
                    "x",
                    "é",
                ),
            ]
        )
        | st.text(max_size=5)
    )
)
def test_any_text_is_cut_or_left_alone(parts: list[str]) -> None:
    text = "".join(parts)
    found = turns_of(text)
    if found:
        assert found.messages[0].role in (S, U, A, T)
        assert all(isinstance(m.content, str) for m in found.messages)
        assert U in {m.role for m in found.messages}
    for hints in (Hints(), Hints(continuation=True), Hints(template="{_}a{prompt}b{response}")):
        try:
            one({"text": text}, hints)
        except BadRecord as bad:
            assert bad.detail


def _chatml(said: list[Turn]) -> str:
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in said)


def _llama2(said: list[Turn]) -> str:
    system = f"<<SYS>>\n{said[0][1]}\n<</SYS>>\n\n" if said[0][0] == S else ""
    texts = [text for role, text in said if role != S]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return "".join(f"<s>[INST] {system if not n else ''}{q} [/INST] {a} </s>" for n, (q, a) in enumerate(pairs))


def _joined(names: dict[str, str], between: str, begin: str = "", end: str = "") -> Callable[[list[Turn]], str]:
    return lambda said: begin + between.join(f"{names[role]}{text}" for role, text in said) + end


RENDER: dict[str, tuple[bool, Callable[[list[Turn]], str]]] = {  # whether it has a system turn, and how it is written
    "chatml": (True, _chatml),
    "llama-2": (True, _llama2),
    "mistral": (False, _llama2),
    "llama-3": (
        True,
        _joined({r: f"<|start_header_id|>{r}<|end_header_id|>\n\n" for r in (S, U, A)}, "<|eot_id|>", "<|begin_of_text|>"),
    ),
    "llama-4": (True, _joined({r: f"<|header_start|>{r}<|header_end|>\n\n" for r in (S, U, A)}, "<|eot|>", end="<|eot|>")),
    "gemma": (
        False,
        _joined({U: "<start_of_turn>user\n", A: "<start_of_turn>model\n"}, "<end_of_turn>\n", "<bos>", "<end_of_turn>\n"),
    ),
    "phi-3": (True, _joined({S: "<|system|>\n", U: "<|user|>\n", A: "<|assistant|>\n"}, "<|end|>\n", end="<|end|>\n")),
    "zephyr": (True, _joined({S: "<|system|>\n", U: "<|user|>\n", A: "<|assistant|>\n"}, "</s>\n", end="</s>\n")),
    "tulu": (True, _joined({S: "<|system|>\n", U: "<|user|>\n", A: "<|assistant|>\n"}, "\n", end="</s>")),
    "oasst": (False, _joined({U: "<|prompter|>", A: "<|assistant|>"}, "<|endoftext|>", end="<|endoftext|>")),
    "moss": (False, _joined({U: "<|Human|>: ", A: "<|MOSS|>: "}, "<eoh>", end="<eom>")),
    "deepseek": (
        True,
        _joined({S: "", U: "<｜User｜>", A: "<｜Assistant｜>"}, "", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ),
    "alpaca": (False, _joined({U: "### Instruction:\n", A: "### Response:\n"}, "\n\n", PREAMBLE)),
    "orca": (True, _joined({S: "### System:\n", U: "### User:\n", A: "### Assistant:\n"}, "\n\n")),
    "guanaco": (False, _joined({U: "### Human: ", A: "### Assistant: "}, "")),
    "redpajama": (False, _joined({U: "<human>: ", A: "<bot>: "}, "\n")),
    "baize": (True, _joined({S: "", U: "[|Human|] ", A: "[|AI|] "}, "\n", end="\n[|Human|] ")),
    "glaive": (True, _joined({S: "SYSTEM: ", U: "USER: ", A: "ASSISTANT: "}, "\n\n\n", end=" <|endoftext|>\n\n\n")),
    "vicuna": (False, _joined({U: "USER: ", A: "ASSISTANT: "}, " ", end="</s>")),
    "anthropic": (True, _joined({S: "", U: "Human: ", A: "Assistant: "}, "\n\n")),
    "User/Assistant": (True, _joined({S: "System: ", U: "User: ", A: "Assistant: "}, "\n\n")),
    "Q/A": (False, _joined({U: "Q: ", A: "A: "}, "\n")),
}
word = st.text("abcxyzäß中0.,?!-", min_size=1, max_size=8)
content = st.builds(
    lambda first, rest: first + "".join(rest),
    word,
    st.lists(st.tuples(st.sampled_from([" ", "\n", "  "]), word).map("".join), max_size=4),
)


@pytest.mark.parametrize("name", RENDER)
@settings(max_examples=60)
@given(st.lists(st.tuples(content, content), min_size=1, max_size=3), content)
def test_turns_written_by_a_template_are_read_back_as_they_were(name: str, pairs: list[tuple[str, str]], system: str) -> None:
    has_system, render = RENDER[name]
    said = [turn for question, answer in pairs for turn in ((U, question), (A, answer))]
    if has_system:
        said = [(S, system), *said]
    found = turns_of(render(said))
    assert found and found.template == name
    assert [(m.role, m.content) for m in found.messages] == said


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus")
def test_every_text_of_wikisql_is_a_question_with_its_table_and_a_query() -> None:
    lines = (CORPUS / "instruct" / "mlx_wikisql_text_train.jsonl").read_bytes().splitlines()
    rows = [one(orjson.loads(line)) for line in lines]
    assert len(rows) == 1000
    for row in rows:
        (asked, question), (answered, query) = turns(row)
        assert (asked, answered, row.kind, row.meta) == (U, A, "sft", {"template": "Q/A"})
        assert question.startswith("table: ") and "\ncolumns: " in question
        assert query.startswith("SELECT ")
