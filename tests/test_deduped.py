"""Duplicates: found, explained, the right one kept, and short or numeric look-alikes left alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.deduped.near import find_duplicates
from sft_assets.deduped.profiles import MIN_TOKENS
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.text import jaccard, normal, shingles, tokens
from sft_assets.text.plain import ASCII_TOKEN, TOKEN
from tests.conftest import build, put, rows, say

WORDS = [
    f"{a}{b}"
    for a in ("ba", "ke", "li", "mo", "nu", "ra", "si", "to", "ve", "zu")
    for b in ("dan", "fel", "gor", "his", "kan", "lum", "per", "ris")
]


def sft(prompt: str, answer: str) -> dict[str, str]:
    return {"instruction": prompt, "output": answer}


def kept(folder: Folder) -> list[str]:
    return [
        t for (t,) in rows(folder, "SELECT messages[-2].content || ' | ' || messages[-1].content AS t FROM deduped ORDER BY t")
    ]


def run(folder: Folder, records: list[Any], **section: Any) -> list[str]:
    put(folder, "rows.jsonl", records)
    say(folder, deduped=section)
    build(folder, raw, combined, deduped)
    return kept(folder)


def long_text(seed: int, n: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n))


def test_short_answers_are_not_near_duplicates(folder: Folder) -> None:
    answers = ["Yes", "No", "cat", "dog", "2+2", "1.5", "15", "2-2", "a+b", "a-b"]
    assert len(run(folder, [sft("Say it.", a) for a in answers])) == len(answers)


def test_questions_that_differ_in_their_numbers_are_all_kept(folder: Folder) -> None:
    questions = [sft(f"What is {i} plus {j}?", f"{i} plus {j} is {i + j}.") for i in range(5) for j in range(4)]
    assert len(run(folder, questions)) == 20


def test_sequences_of_a_small_alphabet_are_not_near_duplicates(folder: Folder) -> None:
    rng = random.Random(3)
    sequences = ["".join(rng.choices(letters, k=300)) for letters in ("ACGT", "01", "0123456789abcdef") for _ in range(10)]
    assert len(run(folder, [sft("Continue:", s) for s in sequences])) == 30


def test_of_equal_texts_in_other_case_blanks_and_unicode_form_one_stays(folder: Folder) -> None:
    texts = ["Where is the café?", "where is  the café?", "Where is the cafe\u0301?", "WHERE IS THE CAFÉ?\n"]
    assert len(run(folder, [sft(t, "Over there, by the river.") for t in texts])) == 1
    evidence = rows(folder, "SELECT reason, evidence ->> 'of' FROM dropped WHERE state = 'deduped'")
    assert {reason for reason, _ in evidence} == {"exact_duplicate"}
    assert len({of for _, of in evidence}) == 1


def test_every_group_of_duplicates_keeps_exactly_one(folder: Folder) -> None:
    assert len(run(folder, [sft("Tell me of it.", long_text(1))] * 7)) == 1


def test_a_near_duplicate_names_the_row_that_stayed_and_the_similarity(folder: Folder) -> None:
    text = long_text(2)
    run(folder, [sft("Tell me of it.", text + "."), sft("Tell me of it.", text.replace("badan", "other"))])
    ((reason, of, similarity),) = rows(
        folder, "SELECT reason, evidence ->> 'of', (evidence ->> 'jaccard')::DOUBLE FROM dropped WHERE state = 'deduped'"
    )
    assert reason in ("near_duplicate", "exact_duplicate")
    assert [(of,)] == [(str(i),) for (i,) in rows(folder, "SELECT row_id FROM deduped")]
    assert similarity >= 0.8


def test_numbers_keep_near_duplicates_apart_unless_the_recipe_says_otherwise(folder: Folder) -> None:
    text = long_text(3)
    pair = [sft("Tell me.", f"{text} 1914."), sft("Tell me.", f"{text} 1918.")]
    assert len(run(folder, pair)) == 2
    assert len({g for (g,) in rows(folder, "SELECT near_group FROM deduped")} - {None}) == 1  # tied all the same
    assert len(run(folder, pair, keep_if_numbers_differ=False)) == 1


def test_the_source_with_the_higher_priority_stays(folder: Folder) -> None:
    for name in ("a", "b", "c"):
        put(folder, f"{name}.jsonl", [sft("Tell me of it.", long_text(4))])
    say(folder, sources=[{"path": "b.jsonl", "priority": 2}, {"path": "a.jsonl", "priority": 1}])
    build(folder, raw, combined, deduped)
    assert rows(folder, "SELECT source FROM deduped") == [("b",)]


def test_a_complete_and_longer_answer_stays(folder: Folder) -> None:
    text = long_text(5, 100)
    assert run(folder, [sft("Tell me.", text[:-20]), sft("Tell me.", text + ".")]) == [f"Tell me. | {text}."]


def test_different_answers_to_one_prompt_stay_and_are_tied(folder: Folder) -> None:
    run(folder, [sft("Which way?", long_text(6)), sft("which  way?", long_text(7)), sft("Who?", long_text(8))])
    found = rows(folder, "SELECT count(*), count(conflict_group), count(DISTINCT conflict_group) FROM deduped")
    assert found == [(3, 2, 1)]


def test_system_prompt_and_tools_count_for_equality_only(folder: Folder) -> None:
    text, shared = long_text(9), long_text(10, 400)
    rows_ = [
        {"system": f"{shared} {who}", **sft(f"Question about {who}.", long_text(i))} for i, who in enumerate(("ann", "bob"))
    ]
    same = [{"system": s, **sft("Tell me.", text)} for s in ("You are kind.", "You are brief.")]
    assert len(run(folder, rows_ + same)) == 4


def test_equal_answers_with_different_labels_are_no_duplicates(folder: Folder) -> None:
    turns = [{"role": "user", "content": "Which way?"}, {"role": "assistant", "content": long_text(16)}]
    assert len(run(folder, [{"messages": turns, "label": label} for label in (True, False)])) == 2


def test_duplicates_are_sought_within_one_kind(folder: Folder) -> None:
    text = long_text(11)
    put(folder, "pairs.jsonl", [{"prompt": "Tell me.", "chosen": text, "rejected": "No."}])
    assert len(run(folder, [sft("Tell me.", text)])) == 2


@pytest.mark.parametrize(("compare", "stay"), [("all", 3), ("prompt", 2), ("answer", 2)])
def test_what_is_compared_is_the_recipes_choice(folder: Folder, compare: str, stay: int) -> None:
    question, answer = long_text(12, 30), long_text(13, 30)
    records = [sft(question, answer), sft(question, long_text(14, 30)), sft(long_text(15, 30), answer)]
    assert len(run(folder, records, compare=compare)) == stay


@pytest.mark.parametrize(
    "records",
    [[sft("One?", "Only one row.")], [sft("Same?", "All rows are the same here.")] * 5, [sft("x", "?!"), sft("y", "...")]],
    ids=["one row", "all equal", "only punctuation"],
)
def test_odd_inputs_are_no_trouble(folder: Folder, records: list[Any]) -> None:
    assert len(run(folder, records)) == len({str(r) for r in records})


def test_the_result_does_not_depend_on_the_order_of_the_input(tmp_path: Any) -> None:
    rng = random.Random(5)
    records = [sft(f"Question {i % 40}?", long_text(i % 60) + ("." if i % 3 else "")) for i in range(200)]
    results = set()
    for attempt in range(3):
        folder = Folder.at(tmp_path / str(attempt))
        for name in ("sources", "benchmarks"):
            (folder.root / name).mkdir(parents=True)
        rng.shuffle(records)
        run(folder, records)
        results.add(str(rows(folder, "SELECT row_id, near_group, conflict_group FROM deduped ORDER BY row_id")))
    assert len(results) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.7, 0.8, 0.9]))
def test_no_pair_above_the_threshold_is_left_and_who_goes_is_near_one_that_stays(seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    texts = []
    for _ in range(12):
        words = rng.choices(WORDS, k=rng.randint(20, 60))
        texts.append(" ".join(words))
        for _ in range(rng.randint(0, 4)):
            edited = list(words)
            for _ in range(rng.randint(0, 4)):
                place = rng.randrange(len(edited))
                if rng.random() < 0.5:
                    edited.pop(place)
                else:
                    edited.insert(place, rng.choice(WORDS))
            texts.append(" ".join(edited))
    sets = [shingles(tokens(text)) for text in texts]
    found = find_duplicates(texts, threshold, keep_if_numbers_differ=False)
    stay = np.flatnonzero(found.stays)
    for row in np.flatnonzero(~found.stays):
        assert found.of[row] in stay
        assert found.jaccard[row] == pytest.approx(jaccard(sets[row], sets[found.of[row]]))
        assert found.jaccard[row] >= threshold
    left = [(a, b) for i, a in enumerate(stay) for b in stay[:i] if jaccard(sets[a], sets[b]) >= threshold]
    assert len(left) <= 0.005 * (len(texts) - len(stay)) or (threshold < 0.8 and len(left) <= 1)


# --------------------------------------------------------------------------------------------------------------- text


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_tokens_of_ascii_are_the_tokens(text: str) -> None:
    assert ASCII_TOKEN.findall(text.lower()) == TOKEN.findall(text.lower())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's 6 x 7 ?", ["what's", "6", "x", "7"]),
        ("a+b a-b", ["a", "+", "b", "a", "-", "b"]),
        ("1.5 15 1,000", ["1.5", "15", "1,000"]),
        ("東京 is big", ["東", "京", "is", "big"]),
        ("हिन्दी नमस्ते", ["हिन्दी", "नमस्ते"]),
        ("don’t stop—now…", ["don't", "stop", "now"]),
        ("", []),
    ],
)
def test_words_operators_and_scripts_without_spaces_make_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text())
def test_the_normal_form_is_final(text: str) -> None:
    assert normal(normal(text)) == normal(text) or "İ" in text or "\u0345" in text


def test_short_texts_are_compared_by_characters() -> None:
    short = "one two three"
    assert shingles(tokens(short)) == {short[i : i + 3] for i in range(len(short) - 2)}
    assert MIN_TOKENS == 5
