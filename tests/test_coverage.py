"""Coverage: each figure has the value that its paper's extremes have, and does not depend on the order of rows."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.clustered import coverage
from sft_assets.clustered.coverage import Coverage, distinct_n, sample, topic_entropy, vendi_score
from sft_assets.text import tokens

TEXTS = ["a rose is a rose is a rose", "the cat sat on the mat", "", "What's 6 x 7?", "東京は大きい", "the cat sat on a rose"]


def unit(rows: int, width: int, seed: int = 0) -> coverage.Floats:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)) + 0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# --------------------------------------------------------------------------------------------------------- topic entropy


@given(st.integers(1, 300), st.integers(1, 50))
def test_topics_of_one_size_count_as_many_as_they_are(topics: int, size: int) -> None:
    even = topic_entropy([size] * topics)
    assert even is not None
    assert even.nats == pytest.approx(math.log(topics))
    assert even.effective == pytest.approx(topics)
    assert even.share == pytest.approx(1)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30).filter(any))
def test_entropy_lies_between_one_topic_and_all_of_them(counts: list[int]) -> None:
    even = topic_entropy(counts)
    assert even is not None
    assert 0 <= even.share <= 1
    assert 1 <= even.effective <= sum(n > 0 for n in counts) * (1 + 1e-9)
    assert even.effective == pytest.approx(topic_entropy(sorted(counts)).effective)  # type: ignore[union-attr]


def test_a_topic_without_a_row_lowers_the_share_and_not_the_number() -> None:
    full, holed = topic_entropy([5, 5]), topic_entropy([5, 5, 0])
    assert full is not None and holed is not None
    assert full.effective == pytest.approx(holed.effective)
    assert full.share == pytest.approx(1) and holed.share < 0.7


def test_all_in_one_topic_is_no_entropy() -> None:
    assert topic_entropy([7, 0, 0]) == (0.0, 0.0, 1.0)
    assert topic_entropy([]) is None and topic_entropy([0, 0]) is None


# ---------------------------------------------------------------------------------------------------------- Vendi score


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_copies_of_one_text_are_one(rows: int) -> None:
    assert vendi_score(np.repeat(unit(1, 12), rows, axis=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("rows", "copies"), [(1, 1), (6, 1), (12, 1), (6, 9)])
def test_texts_with_nothing_in_common_count_each_and_their_copies_do_not(rows: int, copies: int) -> None:
    assert vendi_score(np.tile(np.eye(12, dtype=np.float32)[:rows], (copies, 1))) == pytest.approx(rows)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
def test_it_is_that_of_the_whole_matrix_of_cosines(rows: int, width: int, seed: int) -> None:
    vectors = unit(rows, width, seed)
    values = np.linalg.eigvalsh(vectors.astype(float) @ vectors.T.astype(float) / rows)
    values = values[values > 1e-12]
    score = vendi_score(vectors)
    assert score == pytest.approx(math.exp(-(values * np.log(values)).sum()), rel=1e-4)
    assert 1 - 1e-6 <= score <= min(rows, width) * (1 + 1e-6)


def test_it_is_the_same_in_pieces_and_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(500, 16)
    whole = vendi_score(vectors)
    monkeypatch.setattr(coverage, "BLOCK", 7)
    assert vendi_score(vectors[::-1]) == pytest.approx(whole)


def test_rows_without_text_add_no_diversity() -> None:
    vectors = unit(9, 4)
    assert vendi_score(np.concatenate([vectors, np.zeros((5, 4), np.float32)])) == pytest.approx(vendi_score(vectors))
    assert vendi_score(np.zeros((5, 4), np.float32)) is None and vendi_score(np.zeros((0, 4), np.float32)) is None


# ------------------------------------------------------------------------------------------------------------ distinct-n


def plain_distinct(texts: list[str], n: int) -> float | None:
    grams = [tuple(said[i : i + n]) for said in map(tokens, texts) for i in range(len(said) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(TEXTS)), max_size=12), st.integers(1, 4))
def test_distinct_n_is_the_share_of_different_grams_within_texts(texts: list[str], n: int) -> None:
    assert distinct_n(sample(texts), n) == plain_distinct(texts, n)


def test_repeats_lower_it() -> None:
    words = sample(["a b a b"])
    assert [distinct_n(words, n) for n in (1, 2, 3, 4, 5)] == [2 / 4, 2 / 3, 1, 1, None]
    assert distinct_n(sample(["one two", "three four"]), 2) == 1.0, "no gram spans two texts"


def test_a_set_of_any_size_is_measured_on_the_same_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "SLICE", 3)
    few, many = (sample([f"row {i} says {i * i}" for i in range(n)], tokens=50) for n in (20, 2000))
    assert len(few.values) == len(many.values) == few.bounds[-1] == 50
    assert all(b - a <= 4 for a, b in pairwise(many.bounds))
    assert len(sample(["too few"], tokens=50).values) == 2


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_texts() -> None:
    texts = [f"row {i} says {i * i}" for i in range(300)]
    one, same, other = sample(texts, 90), sample(texts[::-1], 90), sample(texts, 90, seed=1)
    np.testing.assert_array_equal(one.values, same.values)
    assert one.values.tolist() != other.values.tolist()


# ------------------------------------------------------------------------------------------------------------- a report


def test_the_figures_of_a_set_are_rounded_and_fit_into_json() -> None:
    topic = np.array([0, 0, 0, 2, -1, 2])
    found = Coverage.of(topic, 4, np.eye(6, dtype=np.float32), TEXTS)
    told = found.to_dict()
    assert (told["rows"], told["topics"]) == (6, 2)
    assert told["effective_topics"] == round(topic_entropy([3, 0, 2, 0]).effective, 4)  # type: ignore[union-attr]
    assert told["vendi"] == pytest.approx(6)
    assert told["tokens"] == sum(len(tokens(text)) for text in TEXTS)
    assert told["distinct_2"] == round(plain_distinct(TEXTS, 2) or 0, 4)
    assert all(type(value) in (int, float) for value in told.values())


def test_no_rows_have_no_figures() -> None:
    told = Coverage.of(np.zeros(0, np.int64), 3, None, []).to_dict()
    assert {k for k, v in told.items() if v is not None} == {"rows", "topics", "tokens"}
