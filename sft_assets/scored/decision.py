"""The decision over a row: from all signals about it to keep, drop or review.

policy    actions {refusal: drop, mojibake: review, cut_off: signal}, thresholds {helpfulness: {drop_below: 2, review_below: 3}}
Signals(rules=("cut_off",), scores={"helpfulness": 3.0})               ->  keep
Signals(rules=("mojibake",), scores={"helpfulness": 2.0})              ->  review  mojibake, helpfulness_below
Signals(rules=("mojibake", "refusal"), scores={"helpfulness": 1.0})    ->  drop    refusal, helpfulness_below
Signals(candidate="same")                                              ->  drop    judged_test_item
Signals(rules=("refusal",), reviewed="keep")                           ->  keep    (people have the last word)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sft_assets.errors import SftError
from sft_assets.recipe import Limits

Action = Literal["drop", "review", "signal"]
Candidate = Literal["open", "same", "other"]  # of decontaminated: not judged, judged to be a test item, judged to be none
Reviewed = Literal["keep", "review", "drop"]  # what people decided
POSSIBLE_TEST_ITEM = "possible_test_item"
HARDEST_FIRST: tuple[Action, ...] = ("drop", "review")


@dataclass(frozen=True)
class Policy:
    """What the recipe makes of signals. `actions`: by rule, the most telling first. `thresholds`: by score."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    thresholds: Mapping[str, Limits] = field(default_factory=dict)
    same_item: Literal["drop", "review"] = "drop"
    other_item: Literal["keep", "review"] = "keep"


@dataclass(frozen=True)
class Signals:
    """What is known of a row. A score that is not in `scores` was not asked for, or there was no usable reply."""

    rules: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    candidate: Candidate | None = None
    reviewed: Reviewed | None = None


class Reason(NamedTuple):
    """A signal that speaks against a row: a rule, `judged_test_item`, `possible_test_item`, a score beyond its limit, or
    `reviewed`, people."""

    name: str
    action: Action
    score: str | None = None
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Decision:
    """What becomes of a row, and the signals that say so, the most telling first."""

    verdict: Literal["keep", "review", "drop"]
    reasons: tuple[Reason, ...] = ()


def decide(signals: Signals, policy: Policy) -> Decision:
    """One signal that drops is enough to drop, else one that asks for review to review; all others leave a row as it is.

    Rules speak first, in their own order, then what a judge said of a contamination candidate, then scores. What was not
    scored is no reason for anything. What people decided settles it; a row that they want reviewed shows the signals too.

    Raises:
        SftError: a rule has no action: it was found by rules that are no more.
    """
    if unknown := sorted(set(signals.rules) - policy.actions.keys()):
        raise SftError(f"rule_hits has hits of {', '.join(unknown)}, which no rule is called now; run rule_hits again")
    found = [Reason(rule, action) for rule, action in policy.actions.items() if rule in signals.rules]
    found += of_candidate(signals.candidate, policy)
    for score, limits in policy.thresholds.items():
        if score in signals.scores:
            found += beyond(score, signals.scores[score], limits)
    if signals.reviewed == "keep":
        return Decision("keep")
    if signals.reviewed == "drop":
        return Decision("drop", (Reason("reviewed", "drop"),))
    if signals.reviewed == "review":
        return Decision("review", (Reason("reviewed", "review"), *(reason for reason in found if reason.action != "signal")))
    if any(reason.action == "drop" for reason in found):
        return Decision("drop", tuple(reason for reason in found if reason.action == "drop"))
    if reasons := tuple(reason for reason in found if reason.action == "review"):
        return Decision("review", reasons)
    return Decision("keep")


def of_candidate(candidate: Candidate | None, policy: Policy) -> list[Reason]:
    """What follows from a row's being near a test item."""
    if candidate == "same":
        return [Reason("judged_test_item", policy.same_item)]
    if candidate == "open" or (candidate == "other" and policy.other_item == "review"):
        return [Reason(POSSIBLE_TEST_ITEM, "review")]
    return []


def beyond(score: str, value: float, limits: Limits) -> list[Reason]:
    """The limits that a score is beyond: of each side the harder one."""
    found: list[Reason] = []
    for side in ("below", "above"):
        for action in HARDEST_FIRST:
            limit = getattr(limits, f"{action}_{side}")
            if limit is not None and (value < limit if side == "below" else value > limit):
                found.append(Reason(f"{score}_{side}", action, score, value, limit))
                break
    return found
