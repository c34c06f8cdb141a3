"""Diversity: what stays is what the plain loop takes; every reason can be checked; a mix is met, or what is missing is said."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.clustered import diversity
from sft_assets.clustered.diversity import NO_TOPIC, REASONS, Chosen, choose
from sft_assets.clustered.mix import REST, quotas_of

NOBODY = np.zeros(0, np.bool_)


def unit(vectors: Any) -> diversity.Floats:
    array = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    return (array / np.where(norms == 0, 1, norms)).astype(np.float32)


def chosen(score: Any, vectors: Any = None, topic: Any = None, part: Any = None, people: Any = None, **limits: Any) -> Chosen:
    """Rows that have nothing in common unless vectors are given, no topic, and one part."""
    n = len(score)
    return choose(
        np.eye(n, dtype=np.float32) if vectors is None else vectors,
        np.asarray(score, np.float64),
        np.full(n, NO_TOPIC) if topic is None else np.asarray(topic, np.int64),
        np.zeros(n, np.int64) if part is None else np.asarray(part, np.int64),
        np.zeros(n, np.bool_) if people is None else np.asarray(people, np.bool_),
        **limits,
    )


def reasons(found: Chosen) -> list[str]:
    return [REASONS[code] for code in found.reason]


# ------------------------------------------------------------------------------------------------------------ the loop


def plain(
    vectors: Any, score: Any, topic: Any, part: Any, people: Any, similarity: Any, budget: Any, topic_cap: Any, quotas: Any
) -> list[tuple[str, int]]:
    """The selection as one would write it down: reason and nearest row of each."""
    order = sorted(range(len(score)), key=lambda i: (not people[i], np.isnan(score[i]), -score[i], i))
    taken: list[int] = []
    told: list[tuple[str, int]] = [("", -1)] * len(score)
    for row in order:
        cosine, nearest = max(
            ((float((vectors[row].astype(float) * vectors[t]).sum()), -k) for k, t in enumerate(taken)), default=(0.0, 0)
        )
        if people[row]:
            taken.append(row)
        elif similarity is not None and taken and cosine >= similarity:
            told[row] = "too_similar", taken[-nearest]
        elif topic_cap is not None and topic[row] != NO_TOPIC and sum(topic[t] == topic[row] for t in taken) >= topic_cap:
            told[row] = "over_topic_cap", -1
        elif budget is not None and len(taken) >= budget:
            told[row] = "over_budget", -1
        elif quotas and sum(part[t] == part[row] for t in taken) >= quotas[part[row]]:
            told[row] = "over_mix", -1
        else:
            taken.append(row)
    return told


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Few directions, so that many cosines are equal and many lie exactly on the ceiling; or many that are all different."""
    n = draw(st.integers(1, 40))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        vectors = chance.choice([-0.5, 0.5], size=(n, 4)).astype(np.float32)
    else:
        vectors = unit(chance.normal(size=(n, 5)) + 1)
    vectors[chance.random(n) < 0.1] = 0
    shares = draw(st.sampled_from([{}, {0: 0.5}, {0: 0.5, 1: 0.5}, {0: 0.2, 1: 0.3}, {1: 0.0}, {0: 0.1, 5: 0.2}]))
    return {
        "vectors": vectors,
        "score": np.where(chance.random(n) < 0.2, np.nan, chance.integers(4, size=n) / 3),
        "topic": chance.integers(-1, 3, size=n),
        "part": chance.choice([*shares, REST], size=n),
        "people": chance.random(n) < draw(st.sampled_from([0, 0, 0.2])),
        "similarity": draw(st.sampled_from([None, 0.5, 0.7, 1.0])),
        "budget": draw(st.sampled_from([None, 0, 3, 10, 100])),
        "topic_cap": draw(st.sampled_from([None, 0, 1, 4])),
        "shares": shares,
    }


@settings(max_examples=150)
@given(cases())
def test_what_stays_and_why_the_rest_goes_is_what_the_plain_loop_says(case: dict[str, Any]) -> None:
    found = chosen(**case)
    shares = case.pop("shares")
    told = plain(**case, quotas=found.wanted)
    assert list(zip(reasons(found), found.of.tolist(), strict=True)) == told
    assert found.kept.tolist() == [not reason for reason, _ in told]
    for p, n in found.got.items():
        assert n == (found.kept & (case["part"] == p)).sum()
    assert bool(found.wanted) == bool(shares)


@settings(max_examples=60)
@given(cases(), st.integers(1, 7), st.integers(1, 9), st.sampled_from([0, 10_000_000]))
def test_blocks_chunks_and_remembered_pairs_change_nothing(case: dict[str, Any], block: int, chunk: int, pairs: int) -> None:
    whole = chosen(**case)
    with patch.multiple(diversity, BLOCK=block, CHUNK=chunk, MOST_PAIRS=pairs):
        pieces = chosen(**case)
    for name in ("kept", "reason", "of", "cosine", "rank"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    assert (whole.wanted, whole.got) == (pieces.wanted, pieces.got)


def test_the_same_holds_over_several_blocks_of_wide_vectors() -> None:
    chance = np.random.default_rng(3)
    vectors = unit(chance.normal(size=(40, 384))[chance.integers(40, size=3000)] + chance.normal(size=(3000, 384)) * 0.6)
    score = chance.random(3000)
    cosines = vectors.astype(float) @ vectors.T.astype(float)
    found = chosen(score, vectors, similarity=0.75)
    taken: list[int] = []
    for row in np.argsort(-score, kind="stable"):
        if not taken or cosines[row, taken].max() < 0.75:
            taken.append(row)
    assert 0 < len(taken) < 3000
    assert np.flatnonzero(found.kept).tolist() == sorted(taken)
    gone = np.flatnonzero(~found.kept)
    np.testing.assert_allclose(found.cosine[gone], cosines[gone, found.of[gone]], rtol=1e-6)
    assert found.kept[found.of[gone]].all(), "a row goes only for a row that stays"


# ------------------------------------------------------------------------------------------------------------ the order


def test_the_better_of_two_alike_stays_and_unscored_rows_come_last() -> None:
    alike = np.repeat(np.eye(2, dtype=np.float32), [3, 1], axis=0)
    found = chosen([np.nan, 1.0, 2.0, np.nan], alike, similarity=0.9)
    assert found.rank.tolist() == [2, 1, 0, 3]
    assert reasons(found) == ["too_similar", "too_similar", "", ""]
    assert found.of.tolist() == [2, 2, -1, -1]
    np.testing.assert_array_equal(found.cosine, np.array([1, 1, np.nan, np.nan], np.float32))


def test_of_equal_scores_the_first_row_stays() -> None:
    found = chosen([1.0, 1.0, 1.0], np.ones((3, 1), np.float32), similarity=0.5)
    assert found.kept.tolist() == [True, False, False]


def test_a_cosine_of_exactly_the_ceiling_is_too_similar() -> None:
    vectors = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, -0.5]], np.float32)  # cosine 0.5, exact in binary
    assert reasons(chosen([2, 1], vectors, similarity=0.5)) == ["", "too_similar"]
    assert reasons(chosen([2, 1], vectors, similarity=np.nextafter(0.5, 1))) == ["", ""]


def test_rows_are_compared_with_rows_that_stay_only() -> None:
    angles = np.radians([0, 20, 40])
    found = chosen([3, 2, 1], np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), similarity=0.9)
    assert reasons(found) == ["", "too_similar", ""], "the third is near the second, which is gone"


def test_rows_without_text_are_similar_to_nothing() -> None:
    assert chosen([2, 1], np.zeros((2, 3), np.float32), similarity=0.01).kept.all()


def test_rows_that_people_keep_stay_against_everything_and_count_in_everything() -> None:
    alike = np.ones((4, 1), np.float32)
    found = chosen([9, 1, 2, 8], alike, [0, 0, 0, 0], people=[0, 1, 1, 0], similarity=0.9, topic_cap=1, budget=1)
    assert reasons(found) == ["too_similar", "", "", "too_similar"]
    assert found.of.tolist() == [2, -1, -1, 2], "of two as near, the one taken first"
    assert reasons(chosen([9, 1], topic=[0, 0], people=[0, 1], topic_cap=1)) == ["over_topic_cap", ""]
    assert reasons(chosen([9, 1], people=[0, 1], budget=1)) == ["over_budget", ""]


def test_rows_without_a_topic_have_no_cap() -> None:
    assert chosen([1, 2, 3], topic=[NO_TOPIC] * 3, topic_cap=1).kept.all()


def test_without_limits_everything_stays_and_nothing_is_needed_of_no_rows() -> None:
    assert chosen([1, np.nan, 3]).kept.all()
    nothing = np.zeros(0, np.int64)
    found = choose(np.zeros((0, 3), np.float32), np.zeros(0), nothing, nothing, NOBODY, similarity=0.9, shares={0: 0.5})
    assert len(found.kept) == 0


def test_a_larger_budget_keeps_what_a_smaller_one_kept_and_no_row_that_was_too_similar() -> None:
    chance = np.random.default_rng(5)
    vectors, score = unit(chance.normal(size=(200, 3))), chance.random(200)
    small, large = (chosen(score, vectors, similarity=0.95, budget=n) for n in (10, 25))
    assert large.kept[small.kept].all() and small.kept.sum() == 10 and large.kept.sum() == 25
    assert not large.kept[[reason == "too_similar" for reason in reasons(small)]].any()


def test_progress_ends_at_all_rows() -> None:
    told: list[tuple[int, int | None]] = []
    chosen(np.arange(2500.0), np.ones((2500, 1), np.float32), similarity=0.5, progress=lambda *n: told.append(n))
    assert told[-1] == (2500, 2500) and len(told) > 1


# -------------------------------------------------------------------------------------------------------------- the mix


@given(
    st.dictionaries(st.integers(0, 9), st.integers(0, 100), max_size=8).filter(lambda d: sum(d.values()) <= 100),
    st.integers(0, 5000),
    st.dictionaries(st.integers(-1, 9), st.integers(0, 900), max_size=8),
)
def test_quotas_are_whole_add_up_and_leave_what_is_there_in_any_case(
    hundredths: dict[int, int], total: int, there: dict[int, int]
) -> None:
    shares = {p: n / 100 for p, n in hundredths.items()}
    plain = quotas_of(shares, total)
    assert sum(plain.values()) == total
    for p, n in plain.items():
        assert abs(n - total * (100 - sum(hundredths.values()) if p == REST else hundredths[p]) / 100) < 1
    least = {p: n for p, n in there.items() if p in plain}
    quotas = quotas_of(shares, total, least)
    assert all(quotas[p] >= n for p, n in least.items())
    wanted_by_others = any(plain[p] > least.get(p, 0) for p in plain)
    assert sum(quotas.values()) == max(total, sum(least.values())) or not wanted_by_others
    if all(plain[p] >= n for p, n in least.items()):
        assert quotas == plain


def test_shares_are_read_as_they_are_written() -> None:
    tenths = dict.fromkeys(range(10), 0.1)
    assert quotas_of(tenths, 30) == dict.fromkeys(range(10), 3) | {REST: 0}
    assert quotas_of({0: 0.29}, 100) == {0: 29, REST: 71}


def test_of_equal_remainders_the_larger_share_goes_first_and_the_rest_last() -> None:
    assert quotas_of({0: 0.1, 1: 0.3}, 5) == {0: 0, 1: 2, REST: 3}
    assert quotas_of({0: 0.25, 1: 0.25}, 2) == {0: 1, 1: 0, REST: 1}
    assert quotas_of({3: 0.5}, 1) == {3: 1, REST: 0}


def test_with_a_budget_each_part_gets_its_share_of_it_best_rows_first() -> None:
    part = np.repeat([0, 1, REST], 20)
    score = np.arange(60.0)
    found = chosen(score, part=part, budget=20, shares={0: 0.5, 1: 0.3})
    assert found.got == found.wanted == {0: 10, 1: 6, REST: 4}
    assert np.flatnonzero(found.kept).tolist() == [*range(10, 20), *range(34, 40), *range(56, 60)]
    assert not found.missing


def test_a_row_goes_over_the_mix_while_places_are_left_and_over_the_budget_after() -> None:
    found = chosen([6, 5, 4, 3, 2, 1], part=[0, 0, 0, 1, 1, 0], budget=4, shares={0: 0.5, 1: 0.5})
    assert reasons(found) == ["", "", "over_mix", "", "", "over_budget"]


def test_the_places_of_a_scarce_part_stay_empty_and_are_said_to_be_missing() -> None:
    found = chosen(np.arange(20.0), part=[0] * 18 + [1] * 2, budget=10, shares={0: 0.5, 1: 0.5})
    assert found.got == {0: 5, 1: 2, REST: 0}
    assert found.missing == {1: 3}


def test_shares_that_add_up_to_1_leave_nothing_for_what_they_do_not_name() -> None:
    found = chosen([5, 4, 3, 2], part=[REST, 7, 0, 1], shares={0: 0.5, 1: 0.5})
    assert reasons(found) == ["over_mix", "over_mix", "", ""]


def test_without_a_budget_the_total_is_the_largest_that_has_every_share() -> None:
    chance = np.random.default_rng(2)
    for _ in range(20):
        there = chance.integers(1, 40, size=3)
        shares = {0: 0.3, 1: 0.25}
        found = chosen(np.arange(there.sum() * 1.0), part=np.repeat([0, 1, REST], there), shares=shares)
        possible = [
            t for t in range(there.sum() + 1)
            if all(w * t <= n for w, n in zip((0.3, 0.25, 0.45), there, strict=True))
        ]  # fmt: skip
        assert found.kept.sum() == max(possible)
        assert found.got == found.wanted == quotas_of(shares, max(possible))


def test_a_mix_is_met_where_parts_have_similar_rows_and_share_capped_topics() -> None:
    # in the one topic all rows of part 0 come before those of part 1, yet the cap's places are divided
    found = chosen(np.arange(200, 0, -1.0), topic=[0] * 200, part=[0] * 100 + [1] * 100, topic_cap=60, shares={0: 0.5, 1: 0.5})
    assert found.got == {0: 30, 1: 30, REST: 0}
    # each of part 1 is a copy of a better one of part 0, which leave it room only where they go themselves
    copies = np.tile(np.eye(100, dtype=np.float32), (2, 1))
    found = chosen(np.arange(200, 0, -1.0), copies, part=[0] * 100 + [1] * 100, similarity=0.9, shares={0: 0.5, 1: 0.5})
    assert found.got == found.wanted == {0: 50, 1: 50, REST: 0}


def test_a_part_of_which_there_is_nothing_does_not_empty_the_dataset() -> None:
    found = chosen(np.arange(10.0), part=[0] * 6 + [1] * 4, shares={0: 0.3, 1: 0.2, 2: 0.5})
    assert found.got == {0: 6, 1: 4, 2: 0, REST: 0}
    assert found.missing == {2: 10}


@pytest.mark.parametrize("budget", [None, 10])
def test_where_people_keep_more_than_a_share_the_others_divide_what_is_left(budget: int | None) -> None:
    part = np.repeat([0, 1, REST], [20, 20, 20])
    people = np.arange(60) < 7
    found = chosen(np.arange(60.0), part=part, people=people, budget=budget or 10, shares={0: 0.1, 1: 0.6})
    assert found.got == {0: 7, 1: 2, REST: 1}
    free = chosen(np.arange(60.0), part=part, people=people, shares={0: 0.1, 1: 0.6})
    assert free.got == free.wanted and free.got[1] == 20, "the mix of all has as many as there are of the scarcest part"
