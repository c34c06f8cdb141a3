"""Preference pairs in transcripts and under other names, and answers that were rated."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats import messages, preference
from sft_assets.record import BadRecord, Conversation

Turn = tuple[str, str]
Record = dict[str, Any]
U, A, S = "user", "assistant", "system"


def read(record: Record, name: str) -> Conversation:
    assert formats.detect(record) == name
    (row,) = formats.read(name, record)
    return row


def turns(row: Conversation) -> list[Turn]:
    return [(m.role, m.content) for m in row.messages]


def rejected(row: Conversation) -> list[Turn]:
    return [(m.role, m.content) for m in row.rejected or []]


def refused(record: Record, name: str) -> str:
    with pytest.raises(BadRecord) as bad:
        formats.read(name, record)
    assert bad.value.detail
    return bad.value.reason


# ------------------------------------------------------------------------------------------------------------- pairs

HI, HO, HU = {"role": U, "content": "Hi"}, {"role": A, "content": "Ho"}, {"role": A, "content": "Hu"}
HH = "\n\nHuman: Hi\n\nAssistant:"
LONGER = [(U, "Hi"), (A, "Hey"), (U, "More")]
PAIRS: list[tuple[Record, list[Turn]]] = [
    ({"chosen": f"{HH} Ho", "rejected": f"{HH} Hu"}, [(U, "Hi")]),
    ({"chosen": f"{HH} Hey\n\nHuman: More\n\nAssistant: Ho", "rejected": f"{HH} Hey\n\nHuman: More\n\nAssistant: Hu"}, LONGER),
    ({"chosen": "<human>: Hi\n<bot>: Ho", "rejected": "<human>: Hi\n<bot>: Hu"}, [(U, "Hi")]),
    (
        {
            "chosen": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n",
            "rejected": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHu<|im_end|>\n",
        },
        [(U, "Hi")],
    ),
    ({"prompt": HH, "chosen": " Ho", "rejected": " Hu"}, [(U, "Hi")]),
    ({"prompt": HH, "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"prompt": HH, "chosen": f"{HH} Ho", "rejected": f"{HH} Hu"}, [(U, "Hi")]),
    ({"prompt": "Hi", "chosen": f"{HH} Ho", "rejected": f"{HH} Hu"}, [(U, "Hi")]),
    ({"prompt": f"{HH} Hey\n\nHuman: More\n\nAssistant:", "chosen": " Ho", "rejected": " Hu"}, LONGER),
    ({"prompt": HH, "system": "S", "chosen": "Ho", "rejected": "Hu"}, [(S, "S"), (U, "Hi")]),
    ({"prompt": "<s>[INST] Hi [/INST]", "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    # plain labels in a prompt are its own words
    ({"prompt": "Q: Hi\nA:", "chosen": "Ho", "rejected": "Hu"}, [(U, "Q: Hi\nA:")]),
    ({"prompt": "Hi", "chosen": {"content": "Ho"}, "rejected": {"content": "Hu"}}, [(U, "Hi")]),
    ({"prompt": "Hi", "chosen_response": "Ho", "rejected_response": "Hu"}, [(U, "Hi")]),
    ({"prompt": "Hi", "accepted": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"question": "Hi", "better": "Ho", "worse": "Hu"}, [(U, "Hi")]),
    ({"instruction": "Hi", "preferred": "Ho", "dispreferred": "Hu"}, [(U, "Hi")]),
    ({"query": "Hi", "chosen": "Ho", "rejected": "Hu"}, [(U, "Hi")]),
    ({"system": "S", "input": "Hi", "chosen": "Ho", "rejected": "Hu"}, [(S, "S"), (U, "Hi")]),
    ({"system_prompt": "S", "prompt": [HI], "chosen": [HO], "rejected": [HU]}, [(S, "S"), (U, "Hi")]),
]


@pytest.mark.parametrize(("record", "prompt"), PAIRS)
def test_a_pair_is_a_prompt_and_two_answers(record: Record, prompt: list[Turn]) -> None:
    row = read(record, "preference")
    assert turns(row) == [*prompt, (A, "Ho")]
    assert rejected(row) == [(A, "Hu")]
    assert (row.kind, row.meta) == ("preference", {})


def test_the_messages_of_ultrafeedback_which_repeat_the_chosen_conversation_are_no_prompt() -> None:
    record = {
        "prompt": "Hi",
        "prompt_id": "1",
        "chosen": [HI, HO],
        "rejected": [HI, HU],
        "messages": [HI, HO],
        "score_chosen": 8.5,
    }
    row = read(record, "preference")
    assert (turns(row), rejected(row)) == ([(U, "Hi"), (A, "Ho")], [(A, "Hu")])
    assert row.meta == {"prompt_id": "1", "messages": [HI, HO], "score_chosen": 8.5}


def test_what_an_answer_says_beside_its_text_lands_in_meta() -> None:
    row = read({"prompt": "Hi", "chosen": {"content": "Ho", "model": "m"}, "rejected": {"response": "Hu"}}, "preference")
    assert (turns(row)[-1], rejected(row), row.meta) == ((A, "Ho"), [(A, "Hu")], {"chosen_extra": {"1": {"model": "m"}}})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": f"{HH} Ho", "rejected": f"{HH} Ho"}, "identical_pair"),
        ({"chosen": f"{HH} Ho", "rejected": "\n\nHuman: Hey\n\nAssistant: Hu"}, "prompts_differ"),
        ({"chosen": f"{HH} Ho", "rejected": "Hu"}, "prompts_differ"),
        ({"prompt": "Hi", "chosen": {"score": 5}, "rejected": {"score": 3}}, "wrong_type"),
    ],
)
def test_transcripts_that_are_no_pair_are_refused(record: Record, reason: str) -> None:
    assert refused(record, "preference") == reason


def test_an_empty_answer_in_a_transcript_is_an_empty_answer() -> None:
    row = read({"chosen": f"{HH} Ho", "rejected": HH}, "preference")
    assert (turns(row), rejected(row)) == ([(U, "Hi"), (A, "Ho")], [(A, "")])


@pytest.mark.parametrize(
    "record",
    [
        {"chosen": "a", "rejected": "b"},
        {"accepted": True, "rejected": False, "prompt": "Hi"},
        {"better": 1, "worse": 2, "question": "Hi"},
        {"prompt": "Hi", "chosen": "Ho"},
    ],
)
def test_names_that_hold_no_answers_make_no_pair(record: Record) -> None:
    assert formats.detect(record) != "preference"


def records_of(path: Path) -> list[Record]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if path.name.endswith(".jsonl"):
        return [json.loads(line) for line in data.splitlines()]
    return list(json.loads(data))


PAIR_FILES = {"dpo_en_demo.json.gz": 300, "rasbt_instruction_preference.json": 1100, "v1_dpo_demo.jsonl": 10}


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus")
@pytest.mark.parametrize("name", PAIR_FILES)
def test_a_pair_that_is_written_reads_back_as_it_was(name: str) -> None:
    records = records_of(CORPUS / "preference" / name)
    assert len(records) == PAIR_FILES[name]
    read_back, bad = 0, set()
    for record in records:
        try:
            row = read(record, "preference")
        except BadRecord as refusal:
            bad.add(refusal.reason)
            continue
        written = {part: messages.write(said) for part, said in preference.write(row).items()}
        again = read(written, "preference")
        assert (again.messages, again.rejected) == (row.messages, row.rejected)
        read_back += 1
    assert bad <= {"identical_pair"}
    assert read_back > 0.9 * len(records)


# ------------------------------------------------------------------------------------------------------------- ratings

TURNS_U = [{"role": A, "content": "Hu"}]
RATED: list[tuple[Record, list[Turn], dict[str, Any]]] = [
    (
        {
            "instruction": "Hi",
            "responses": ["He", "Ho", "Hu"],
            "rewards_armorm": [{"score": 0.2}, {"score": 0.3}, {"score": 0.1}],
        },
        [(U, "Hi")],
        {
            "chosen": 1,
            "rejected": 2,
            "answers": [{"rating": 0.2, "turns": [{"role": A, "content": "He"}]}, {"rating": 0.3}, {"rating": 0.1}],
        },
    ),
    (
        {"instruction": "H", "input": "i", "generations": ["Hu", "Ho"], "ratings": ["1", 5]},
        [(U, "H\ni")],
        {"chosen": 1, "rejected": 0, "answers": [{"rating": 1.0}, {"rating": 5.0}]},
    ),
    (
        {
            "instruction": "Hi",
            "completions": [
                {"response": "Hu", "overall_score": 10.0, "fine-grained_score": 1.5, "model": "m"},
                {"response": "Ho", "overall_score": 8.0, "fine-grained_score": 4.5, "model": "n"},
            ],
        },
        [(U, "Hi")],
        {
            "chosen": 1,
            "rejected": 0,
            "answers": [
                {"rating": 1.5, "overall_score": 10.0, "fine-grained_score": 1.5, "model": "m"},
                {"rating": 4.5, "overall_score": 8.0, "fine-grained_score": 4.5, "model": "n"},
            ],
        },
    ),
    (
        {
            "instruction": "Hi",
            "completions": [
                {"response": "Ho", "annotations": {"honesty": {"Rating": "5"}, "helpfulness": {"Rating": "4"}}},
                {"response": "Hu", "annotations": {"honesty": {"Rating": "3"}, "helpfulness": {"Rating": "N/A"}}},
            ],
        },
        [(U, "Hi")],
        {
            "chosen": 0,
            "rejected": 1,
            "answers": [
                {"rating": 4.5, "annotations": {"honesty": {"Rating": "5"}, "helpfulness": {"Rating": "4"}}},
                {"rating": 3.0, "annotations": {"honesty": {"Rating": "3"}, "helpfulness": {"Rating": "N/A"}}},
            ],
        },
    ),
    (
        {"prompt": "\n\nHuman: Hi\n\nAssistant: ", "answers": [{"answer": "Ho", "rank": 1.0}, {"answer": "Hu", "rank": 7.0}]},
        [(U, "Hi")],
        {"chosen": 0, "rejected": 1, "answers": [{"rating": -1.0, "rank": 1.0}, {"rating": -7.0, "rank": 7.0}]},
    ),
    (
        {"question": {"full_text": "Hi"}, "answer_0": "Hu", "score_0": -0.5, "answer_1": "Ho", "score_1": 0.5},
        [(U, "Hi")],
        {"chosen": 1, "rejected": 0, "answers": [{"rating": -0.5}, {"rating": 0.5}]},
    ),
    (
        {"history": "Hi", "human_ref_A": "Ho", "human_ref_B": "Hu", "labels": 1},
        [(U, "Hi")],
        {"chosen": 0, "rejected": 1, "answers": [{"rating": 1.0}, {"rating": 0.0}]},
    ),
    (
        {"history": "Hi", "human_ref_A": "Hu", "human_ref_B": "Ho", "labels": 0},
        [(U, "Hi")],
        {"chosen": 1, "rejected": 0, "answers": [{"rating": 0.0}, {"rating": 1.0}]},
    ),
    (
        {"question": "Hi", "response_j": "Ho", "response_k": "Hu"},
        [(U, "Hi")],
        {"chosen": 0, "rejected": 1, "answers": [{"rating": 1.0}, {"rating": 0.0}]},
    ),
    (
        {"prompt": "Hi", "response_0": "Hu", "response_1": "Ho", "better_response_id": 1},
        [(U, "Hi")],
        {"chosen": 1, "rejected": 0, "answers": [{"rating": 0.0}, {"rating": 1.0}]},
    ),
    (
        {"conversation_a": [HI, HU], "conversation_b": [HI, HO], "winner": "model_b"},
        [(U, "Hi")],
        {"chosen": 1, "rejected": 0, "answers": [{"rating": 0.0}, {"rating": 1.0}]},
    ),
]


@pytest.mark.parametrize(("record", "prompt", "rated"), RATED)
def test_of_rated_answers_the_best_is_chosen_and_the_worst_rejected(
    record: Record, prompt: list[Turn], rated: dict[str, Any]
) -> None:
    row = read(record | {"source": "x"}, "rated")
    assert turns(row) == [*prompt, (A, "Ho")]
    assert rejected(row) == [(A, "Hu")]
    assert row.kind == "preference"
    assert row.meta["rated"] == rated
    assert row.meta["source"] == "x"


@pytest.mark.parametrize(
    ("record", "rated"),
    [
        (
            {"prompt": "Hi", "responses": ["Ho", "Hu"], "scores": [2, 2]},
            {"chosen": 0, "answers": [{"rating": 2.0}, {"rating": 2.0, "turns": TURNS_U}]},
        ),
        ({"prompt": "Hi", "responses": ["Ho"], "scores": [2]}, {"chosen": 0, "answers": [{"rating": 2.0}]}),
        (
            {"prompt": "Hi", "generations": ["Hu", "Ho"], "ratings": [None, 3]},
            {"chosen": 1, "answers": [{"rating": None, "turns": TURNS_U}, {"rating": 3.0}]},
        ),
        (
            {"prompt": "Hi", "generations": ["Ho", "Hu"], "ratings": None},
            {"chosen": 0, "answers": [{"rating": None}, {"rating": None, "turns": TURNS_U}]},
        ),
        (
            {"prompt": "Hi", "responses": ["Ho", "Ho"], "scores": [2, 1]},
            {"chosen": 0, "answers": [{"rating": 2.0}, {"rating": 1.0, "turns": [{"role": A, "content": "Ho"}]}]},
        ),
        (
            {"conversation_a": [HI, HO], "conversation_b": [HI, HU], "winner": "tie"},
            {"chosen": 0, "answers": [{"rating": 0.0}, {"rating": 0.0, "turns": [HI, HU]}]},
        ),
    ],
)
def test_answers_none_of_which_is_worse_give_a_plain_row_of_the_first(record: Record, rated: dict[str, Any]) -> None:
    row = read(record, "rated")
    assert (row.kind, turns(row), row.rejected) == ("sft", [(U, "Hi"), (A, "Ho")], None)
    assert row.meta == {"rated": rated}


def test_what_a_rated_record_says_beyond_prompt_and_answers_lands_in_meta() -> None:
    record = {"question": {"full_text": "Hi", "id": 5}, "answer_0": "Ho", "score_0": 1, "answer_1": "Hu", "score_1": 0}
    record |= {"quotes_0": {"title": ["t"]}, "lang": "en", "system": "S", "prompt": "", "rating": 3}
    row = read(record, "rated")
    assert turns(row) == [(S, "S"), (U, "Hi"), (A, "Ho")]
    assert row.language == "en"
    assert {k: v for k, v in row.meta.items() if k != "rated"} == {
        "question": {"id": 5},
        "quotes_0": {"title": ["t"]},
        "rating": 3,
    }


def test_conversations_of_several_turns_have_their_common_beginning_as_the_prompt() -> None:
    again = {"role": U, "content": "More"}
    row = read({"conversation_a": [HI, HO, again, HO], "conversation_b": [HI, HU, again, HU], "winner": "model_a"}, "rated")
    assert turns(row) == [(U, "Hi"), (A, "Ho"), (U, "More"), (A, "Ho")]
    assert rejected(row) == [(A, "Hu"), (U, "More"), (A, "Hu")]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"conversation_a": [HI, HO], "conversation_b": [HI, HU], "winner": "tie (bothbad)"}, "no_winner"),
        ({"conversation_a": [HI, HO], "conversation_b": [HI, HU], "winner": "nobody"}, "no_winner"),
        ({"history": "Hi", "human_ref_A": "Ho", "human_ref_B": "Hu", "labels": 2}, "no_winner"),
        ({"prompt": "Hi", "responses": [], "scores": []}, "no_answers"),
        ({"prompt": "Hi", "responses": "Ho", "scores": [1]}, "wrong_type"),
        ({"prompt": "Hi", "responses": ["Ho", "Hu"], "scores": [1]}, "wrong_type"),
        ({"prompt": "Hi", "responses": ["Ho", 5], "scores": [1, 2]}, "wrong_type"),
        ({"responses": ["Ho", "Hu"], "scores": [1, 2]}, "no_prompt"),
        ({"responses": ["Ho"], "scores": [1]}, "no_prompt"),
        ({}, "wrong_type"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused(record: Record, reason: str) -> None:
    assert refused(record, "rated") == reason


@pytest.mark.parametrize(
    "record",
    [
        {"query": "Rain?", "tools": "[]", "answers": "[]"},
        {"context": "Ann ran.", "question": "Who?", "answers": {"text": ["Ann"], "answer_start": [0]}},
        {"prompt": "Hi", "responses": ["Ho", "Hu"]},
        {"question": "Hi", "answers": ["Ho", "Hu"]},
        {"prompt": "Hi", "chosen": "Ho", "rejected": "Hu", "generations": ["Ho", "Hu"], "ratings": [2, 1]},
    ],
)
def test_records_without_rated_answers_are_none_of_this_format(record: Record) -> None:
    assert formats.detect(record) != "rated"


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus")
def test_magpies_five_answers_become_the_pair_that_the_rewards_say() -> None:
    records = records_of(CORPUS / "preference" / "magpie_5res_armorm.json")
    assert len(records) == 5
    for record in records:
        row = read(record, "rated")
        scores = [reward["score"] for reward in record["rewards_armorm"]]
        assert turns(row) == [(U, record["instruction"]), (A, record["responses"][scores.index(max(scores))])]
        assert rejected(row) == [(A, record["responses"][scores.index(min(scores))])]
        assert [answer["rating"] for answer in row.meta["rated"]["answers"]] == scores


# ---------------------------------------------------------------------------------------------------------------- laws

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.floats(allow_nan=False)
    | st.sampled_from(["Hi", "tie", "model_a", "5", HH, f"{HH} Ho", "Q: a\nA: b", "user", "assistant", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "response", "answer", "rank", "score", "annotations", "Rating", "full_text", "messages"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=800)
@given(st.dictionaries(st.sampled_from(sorted(formats.FORMATS["rated"].USED | preference.USED)), anything, max_size=7))
def test_any_record_is_read_or_refused(record: Record) -> None:
    before = json.dumps(record)
    formats.detect(record)
    for name in ("rated", "preference"):
        try:
            for row in formats.read(name, record):
                assert row.messages
                json.dumps(row.meta)
                if row.kind == "preference":
                    assert row.rejected and row.rejected[0].role == "assistant"
        except BadRecord as bad:
            assert bad.detail
    assert json.dumps(record) == before, "the record itself was changed"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["1", "2", "3", "4"]) | st.integers(0, 4) | st.none(), min_size=1, max_size=6))
def test_no_rating_is_above_the_chosen_and_none_below_the_rejected(ratings: list[Any]) -> None:
    record = {"prompt": "Hi", "responses": [f"answer {n}" for n in range(len(ratings))], "scores": ratings}
    rated = read(record, "rated").meta["rated"]
    known = [float(r) for r in ratings if r is not None]
    if known:
        assert float(ratings[rated["chosen"]]) == max(known)
    assert ("rejected" in rated) == (len(set(known)) > 1)
    if "rejected" in rated:
        assert float(ratings[rated["rejected"]]) == min(known)
