"""Which decisions count, where several were made: the policy for conflicts, and what a line of the file may say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from sft_assets import reviews
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.reviews import Decision
from sft_assets.reviews.counting import counting, disputed, votes
from sft_assets.reviews.people import names, person

ROW, TEXT, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


def said(reviewer: str, decision: str, queue: str = "q1", **more: Any) -> Decision:
    values = {"row_id": ROW, "content_hash": TEXT, "state": "scored", "why": "so", "tool": "page", **more}
    return Decision(reviewer=reviewer, decision=decision, queue=queue, time=datetime(2026, 1, 2, tzinfo=UTC), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("log", "counts", "is_disputed"),
    [
        ("", "", False),
        ("ann:keep", "ann:keep", False),
        ("ann:keep ann:drop", "ann:drop", False),
        ("ann:keep ann:undo", "", False),
        ("ann:keep ann:undo ann:drop", "ann:drop", False),
        ("ann:drop ann:skip", "", False),
        ("ann:skip", "", False),
        ("ann:keep bob:drop", "", True),
        ("ann:keep bob:drop bob:undo", "ann:keep", False),
        ("ann:keep bob:drop cem:drop", "cem:drop", False),
        ("ann:drop bob:keep cem:drop", "cem:drop", False),
        ("ann:keep bob:drop cem:skip", "", True),
        ("ann:keep bob:drop cem:drop dan:keep", "", True),
        ("ann:keep bob:drop cem:keep ann:drop", "ann:drop", False),
        ("eve@:keep ann:drop", "ann:drop", False),  # @: decided without a queue
        ("ann:drop eve@:keep", "eve@:keep", False),
        ("ann:keep bob:drop eve@:drop", "eve@:drop", False),
        ("eve@:drop ann:keep bob:drop", "eve@:drop", True),
        ("eve@:drop fay@:keep", "fay@:keep", False),
    ],
)
def test_of_several_decisions_those_count_that_the_policy_says(log: str, counts: str, is_disputed: bool) -> None:
    made = []
    for word in log.split():
        name, decision = word.split(":")
        made.append(said(name.rstrip("@"), decision, "" if name.endswith("@") else "q1"))
    found = [f"{one.reviewer}{'' if one.queue else '@'}:{one.decision}" for one in counting(made)]
    assert found == counts.split()
    assert bool(disputed(made)) == is_disputed


@pytest.mark.parametrize("same", ["ZOË", "zoë ", " Zoë", "Zoe\u0308", "ZOE\u0308"])
def test_one_person_has_one_vote_however_they_write_their_name(same: str) -> None:
    log = [said("Zoë", "keep"), said(same, "drop")]
    assert counting(log) == (log[1],) and not disputed(log)
    assert counting([*log, said("bob", "keep"), said("cem", "keep")])[0].decision == "keep"
    assert counting([*log, said("Zoë", "undo")]) == ()
    assert names(log) == {person("Zoë"): "Zoë"}


def test_two_people_are_two() -> None:
    log = [said("Ann B.", "keep"), said("AnnB.", "drop"), said("Zoe", "keep"), said("Zoë", "drop")]
    assert len(names(log)) == 4 and len(disputed(log)) == 1


def test_items_of_two_queues_and_two_contents_are_voted_on_apart() -> None:
    log = [said("ann", "keep"), said("bob", "drop", "q2"), said("bob", "drop", content_hash=OTHER)]
    assert [sorted(names) for names in votes(log).values()] == [["ann"], ["bob"], ["bob"]]
    assert [one.decision for one in counting(log)] == [
        "drop",
        "drop",
    ]  # of the two queues the later one's, and the other text's
    assert not disputed(log)


def test_a_later_keep_overrides_what_took_the_row_out_in_another_state() -> None:
    drop, keep = said("ann", "drop"), said("ann", "keep", "q2", state="decontaminated")
    assert counting([drop, keep]) == (keep,)
    assert counting([keep, drop]) == (keep, drop)  # kept where it was a leak, and taken out where it is scored
    assert counting([drop, said("ann", "keep", "q2", content_hash=OTHER)])[0] == drop


def test_two_answers_that_people_wrote_are_two_opinions() -> None:
    log = [said(name, "edit", state="combined", answer=text) for name, text in (("ann", "Four."), ("bob", "4"), ("cem", " 4 "))]
    assert [one.reviewer for one in counting(log)] == ["cem"]
    assert not counting(log[:2])


def test_comparisons_of_a_row_with_two_others_stand_side_by_side() -> None:
    log = [said("ann", "prefer_a", state="augmented", other=UUID(int=n), other_hash=OTHER) for n in (8, 9)]
    assert counting(log) == tuple(log)


def test_a_comparison_of_the_row_settles_no_dispute_about_it_alone() -> None:
    two: dict[str, Any] = {"queue": "q2", "state": "augmented", "other": UUID(int=8), "other_hash": OTHER}
    differ = [said("ann", "keep"), said("bob", "drop")]
    assert [item[0] for item in disputed([*differ, said("ann", "prefer_a", **two)])] == ["q1"]
    assert not disputed([*differ, said("cem", "drop", "q2")])
    of_two = [said("ann", "prefer_a", **two), said("bob", "tie", **two)]
    assert disputed([*of_two, said("cem", "keep", "q3")])
    assert not disputed([*of_two, said("cem", "drop", "q3", row_id=UUID(int=8), content_hash=OTHER)])


def test_agreement_with_a_state_makes_nothing_stale(folder: Folder) -> None:
    before = {state: reviews.version(folder, state) for state in ("deduped", "scored")}
    reviews.append(folder, [said("ann", "drop", state="deduped", about="deduped near_duplicate", audit=True)])
    assert len(reviews.read(folder).decisions) == 1
    assert {state: reviews.version(folder, state) for state in before} == before
    reviews.append(folder, [said("ann", "keep", state="deduped")])
    assert reviews.version(folder, "deduped") != before["deduped"]


def test_undone_and_disputed_decisions_leave_no_trace_in_the_version(folder: Folder) -> None:
    nothing = reviews.version(folder, "scored")
    reviews.append(folder, [said("ann", "drop"), said("bob", "keep")])
    assert reviews.version(folder, "scored") == nothing
    reviews.append(folder, [said("ann", "undo"), said("bob", "undo")])
    assert reviews.version(folder, "scored") == nothing
    assert len(reviews.read(folder).log) == 4


def test_fields_that_say_nothing_are_not_written() -> None:
    assert not {"other", "other_hash", "about", "audit"} & set(json.loads(said("ann", "keep").line))
    line = json.loads(said("ann", "tie", state="augmented", other=OTHER, other_hash=TEXT, about="conflict", audit=True).line)
    assert (line["other"], line["about"], line["audit"]) == (str(OTHER), "conflict", True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"decision": "undo", "queue": ""}, "said of an item of a queue"),
        ({"decision": "prefer_a", "state": "augmented"}, "compares the row with another one"),
        ({"decision": "keep", "other": OTHER, "other_hash": TEXT}, "two rows are compared in augmented"),
        ({"decision": "tie", "state": "augmented", "other": OTHER}, "named by its id and the hash"),
        ({"decision": "drop", "state": "combined"}, "drop is applied in scored or augmented or deduped"),
        ({"decision": "prefer_b", "state": "scored"}, "prefer_b is applied in combined or augmented"),
    ],
)
def test_a_line_that_nothing_could_apply_is_refused(folder: Folder, values: dict[str, Any], says: str) -> None:
    line = {**json.loads(said("ann", "keep").line), **{k: str(v) if isinstance(v, UUID) else v for k, v in values.items()}}
    folder.reviews.write_text(json.dumps(line) + "\n")
    with pytest.raises(SftError, match=rf"reviews\.jsonl:1: .*{says}"):
        reviews.read(folder)
