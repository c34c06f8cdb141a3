"""What is asked of a row, and what may be answered.

deduped near_duplicate   "Is this row a duplicate of the other one?"              keep, drop, edit, skip
deduped conflict_group   "Which is the better answer, A or B?"                    prefer_a, prefer_b, tie, skip
review mojibake          "mojibake: is this row good enough to be trained on?"    keep, drop, edit, skip
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sft_assets.reviews.decisions import Verdict
from sft_assets.reviews.queue.item import Asked

DUPLICATE = "Is this row a duplicate of the other one?"
LEAK = "Does this row hold the test item?"
OTHER_WORDS = "Is this row the test item in other words?"
BY_REASON = {  # of a verdict, where a reason has a question of its own
    "exact_duplicate": DUPLICATE,
    "near_duplicate": DUPLICATE,
    "bloom_duplicate": DUPLICATE,
    "semantic_duplicate": "Does this row say the same as the other one?",
    "too_similar": "Does this row add nothing to the other one?",
    "benchmark_paraphrase": OTHER_WORDS,
    "judged_test_item": OTHER_WORDS,
    "possible_test_item": OTHER_WORDS,
    "reviewed": "Somebody wants this row to be looked at: is it good enough to be trained on?",
    "over_budget": "Can the dataset do without this row?",
    "over_topic_cap": "Can the dataset do without this row?",
    "over_mix": "Can the dataset do without this row?",
}
GENERATED = "A model wrote this row: is it right, and good enough to be trained on?"
BETTER = "Which is the better answer, A or B?"
CHOSEN = "Is A, the chosen answer, better than B, the rejected one?"
LABELLED = "Is this answer rightly labelled as a {} one?"
GOOD = "Is this row good enough to be trained on?"


def question(
    asked: Asked, state: str, verdict: str, about: str, kind: str = "sft", generated: bool = False, label: bool | None = None
) -> str:
    """What is asked: of a dropped or marked row whether that is right, of a kept one whether it is good."""
    reason = about.partition(" ")[2]
    if asked == "conflict":
        return BETTER
    if asked == "paraphrase":
        return OTHER_WORDS
    if reason in BY_REASON:
        return BY_REASON[reason]
    if verdict == "dropped" and state == "decontaminated":
        return LEAK
    if verdict == "dropped":
        return f"{reason}: is this row rightly dropped?"
    if verdict == "review" and about.startswith("review "):
        return f"{reason}: {GENERATED if generated else GOOD[0].lower() + GOOD[1:]}"
    if kind == "preference":
        return CHOSEN
    if label is not None:
        return LABELLED.format("good" if label else "bad")
    return GENERATED if generated else GOOD


def choices(
    asked: Asked, verdict: str, kind: str, generated: bool, compared: bool, messages: Sequence[Mapping[str, Any]]
) -> list[Verdict]:
    """What may be answered. compared: whether another row, or a test item, is shown beside it.

    Of a pair's own two answers the other one may be preferred where nothing else is beside them. An answer can be edited where
    the row ends in one; what the gates turned down is kept as it is or not at all.
    """
    if asked == "conflict":
        return ["prefer_a", "prefer_b", "tie", "skip"]
    own_pair = kind == "preference" and not compared and verdict != "dropped"
    can_edit = kind in ("sft", "unpaired") and bool(messages) and messages[-1].get("role") == "assistant"
    can_edit = can_edit and bool(messages[-1].get("content")) and not (generated and verdict == "dropped")
    found: list[Verdict] = ["keep"]
    found += ["prefer_b"] if own_pair else []
    found += ["drop"]
    found += ["edit"] if can_edit else []
    found += ["review"] if (verdict == "kept" or own_pair) and not generated else []
    return [*found, "skip"]
