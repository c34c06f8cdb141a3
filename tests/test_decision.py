"""The decision of scored: from signals to keep, drop or review."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.errors import SftError
from sft_assets.recipe import Limits
from sft_assets.scored.decision import Action, Decision, Policy, Reason, Signals, decide

ACTIONS: dict[str, Action] = {"refusal": "drop", "repetition": "drop", "mojibake": "review", "cut_off": "signal"}
POLICY = Policy(
    ACTIONS,
    {"helpfulness": Limits(drop_below=2, review_below=3), "ifd": Limits(review_above=1.2, drop_above=2.0)},
)


def outcome(signals: Signals, policy: Policy = POLICY) -> tuple[str, list[str]]:
    decision = decide(signals, policy)
    return decision.verdict, [reason.name for reason in decision.reasons]


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (Signals(), ("keep", [])),
        (Signals(rules=("cut_off",)), ("keep", [])),
        (Signals(rules=("mojibake", "cut_off")), ("review", ["mojibake"])),
        (Signals(rules=("repetition", "refusal", "mojibake")), ("drop", ["refusal", "repetition"])),
        (Signals(scores={"helpfulness": 3.0}), ("keep", [])),
        (Signals(scores={"helpfulness": 2.0}), ("review", ["helpfulness_below"])),
        (Signals(scores={"helpfulness": 1.9}), ("drop", ["helpfulness_below"])),
        (Signals(scores={"ifd": 1.2}), ("keep", [])),
        (Signals(scores={"ifd": 1.3}), ("review", ["ifd_above"])),
        (Signals(scores={"ifd": 2.1}), ("drop", ["ifd_above"])),
        (Signals(scores={"reward": -100.0}), ("keep", [])),
        (Signals(rules=("mojibake",), scores={"helpfulness": 2.0}), ("review", ["mojibake", "helpfulness_below"])),
        (Signals(rules=("mojibake",), scores={"helpfulness": 1.0}), ("drop", ["helpfulness_below"])),
        (Signals(rules=("refusal",), scores={"ifd": 2.1}, reviewed="keep"), ("keep", [])),
        (Signals(rules=("mojibake",), reviewed="keep"), ("keep", [])),
        (Signals(rules=("refusal",), reviewed="drop"), ("drop", ["reviewed"])),
        (Signals(rules=("cut_off", "refusal", "mojibake"), reviewed="review"), ("review", ["reviewed", "refusal", "mojibake"])),
        (Signals(candidate="open"), ("review", ["possible_test_item"])),
        (Signals(candidate="other"), ("keep", [])),
        (Signals(candidate="same"), ("drop", ["judged_test_item"])),
        (Signals(rules=("refusal",), candidate="same"), ("drop", ["refusal", "judged_test_item"])),
    ],
)
def test_the_hardest_signal_decides_and_the_most_telling_comes_first(signals: Signals, expected: tuple[str, list[str]]) -> None:
    assert outcome(signals) == expected


def test_a_row_is_not_kept_on_the_word_of_a_judge_alone() -> None:
    """A judge that obeys a row may give it the best score, or call it another task; the rule that saw the order speaks."""
    policy = Policy({"judge_injection": "review"}, POLICY.thresholds)
    assert outcome(Signals(rules=("judge_injection",), scores={"helpfulness": 4.0}, candidate="other"), policy) == (
        "review",
        ["judge_injection"],
    )


def test_what_follows_from_a_judged_candidate_is_said_in_the_recipe() -> None:
    policy = Policy(same_item="review", other_item="review")
    assert outcome(Signals(candidate="same"), policy) == ("review", ["judged_test_item"])
    assert outcome(Signals(candidate="other"), policy) == ("review", ["possible_test_item"])


def test_a_reason_names_the_score_and_the_limit_that_it_is_beyond() -> None:
    (reason,) = decide(Signals(scores={"helpfulness": 1.5}), POLICY).reasons
    assert reason == Reason("helpfulness_below", "drop", "helpfulness", 1.5, 2)


def test_a_rule_that_is_no_more_is_not_passed_over() -> None:
    with pytest.raises(SftError, match=r"hits of gone, .*run rule_hits again"):
        decide(Signals(rules=("gone",)), POLICY)


NUMBERS = st.floats(-10, 10)


@given(NUMBERS, st.tuples(*[st.none() | NUMBERS] * 4))
def test_a_harder_limit_never_helps_a_row(value: float, limits: tuple[float | None, ...]) -> None:
    harsh = ("keep", "review", "drop")
    drop_below, drop_above, review_below, review_above = limits
    given_limits = Limits(drop_below=drop_below, drop_above=drop_above, review_below=review_below, review_above=review_above)
    harder = given_limits.model_copy(update={"drop_below": 11.0})
    before = decide(Signals(scores={"x": value}), Policy(thresholds={"x": given_limits}))
    after = decide(Signals(scores={"x": value}), Policy(thresholds={"x": harder}))
    assert harsh.index(after.verdict) >= harsh.index(before.verdict)
    assert after.verdict == "drop"
    assert (before == Decision("keep")) == (not before.reasons)
