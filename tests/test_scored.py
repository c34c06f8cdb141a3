"""scored: what becomes of the rows that rules hit, and that models have something to say about."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sft_assets.arrow import uuids
from sft_assets.errors import LawBroken, SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation
from sft_assets.scored import asset as scored_module
from sft_assets.scored.asset import scored
from sft_assets.scored.decision import Decision
from sft_assets.scored.judgements.asset import TABLE as JUDGED
from sft_assets.scored.judgements.contamination import TABLE as COMPARED
from sft_assets.scored.likelihoods import TABLE as LIKELY
from sft_assets.scored.rewards import TABLE as REWARDED
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.scored.rule_hits.rules import rules
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build
from sft_assets.what_if import changed_recipe, what_if
from tests import made_rows
from tests.made_rows import DISCLAIMER, MIXED, MOJIBAKE, REFUSAL, chat, hash_of, id_of, make, query

# ------------------------------------------------------------------------------------------------------------ the assets


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.at(tmp_path)


def fill(folder: Folder, conversations: Sequence[Conversation], near: Collection[Conversation] = ()) -> None:
    """Rows of which no model has said anything."""
    made_rows.fill(folder, conversations, near)
    give(folder)


def give(
    folder: Folder,
    judged: Mapping[tuple[int, str], float | str] | None = None,
    likely: Mapping[int, float] | None = None,
    rewarded: Mapping[int, float] | None = None,
    compared: Mapping[int, str | None] | None = None,
    rows: Sequence[Conversation] = (),
) -> None:
    """What models say of rows, by their place in `rows`: scores by rubric (or why there is none), ifd, reward, verdicts."""
    judgement = [
        {"content_hash": hash_of(rows[i]), "rubric": rubric, "model": "m", **said(score)}
        for (i, rubric), score in (judged or {}).items()
    ]
    likelihood = [{"content_hash": hash_of(rows[i]), "status": "scored", "ifd": ifd} for i, ifd in (likely or {}).items()]
    reward = [{"content_hash": hash_of(rows[i]), "status": "scored", "reward": r} for i, r in (rewarded or {}).items()]
    verdict = [
        {
            "row_id": id_of(rows[i]), "rank": 1, "benchmark": "exam", "item_id": "1", "model": "m", "reason": "Both ask it.",
            "status": "scored" if side else "unparsed", "verdict": side,
        }
        for i, side in (compared or {}).items()
    ]  # fmt: skip
    with Warehouse(folder.database).writing() as con:
        for table, entries in ((JUDGED, judgement), (LIKELY, likelihood), (REWARDED, reward), (COMPARED, verdict)):
            with Build.begin(con, dataclasses.replace(table, laws=()), "1", {}) as build:
                for entry in entries:
                    ids = {name: uuids([entry.pop(name)]) for name in ("row_id", "content_hash") if name in entry}
                    build.insert(pa.table(ids | {name: [value] for name, value in entry.items()}))


def said(score: float | str) -> dict[str, Any]:
    if isinstance(score, str):
        return {"status": score, "raw": "???"}
    return {"status": "scored", "score": score, "reason": f"It is a {score:g}."}


def verdicts(folder: Folder) -> dict[bytes, tuple[str, list[str]]]:
    return {
        row_id.bytes: (verdict, found)
        for row_id, verdict, found in query(folder, "SELECT row_id, verdict, rule_names FROM scored")
    }


def dropped(folder: Folder) -> dict[bytes, tuple[str, Any]]:
    rows = query(folder, "SELECT row_id, reason, evidence FROM dropped WHERE state = 'scored'")
    return {row_id.bytes: (reason, json.loads(evidence)) for row_id, reason, evidence in rows}


CLEAN, REFUSED, REVIEW = chat("Where?", "In Rome."), chat("Help!", REFUSAL), chat("Which?", f"{DISCLAIMER} {MOJIBAKE}")


def test_rows_are_kept_marked_or_dropped_with_all_that_speaks_for_it(folder: Folder) -> None:
    both = chat("Help me with this text please.", "Please provide the text.\u202e")
    fill(folder, [CLEAN, REFUSED, REVIEW, both])
    _, version = make(folder, rule_hits, scored)
    assert verdicts(folder) == {
        id_of(CLEAN): ("keep", []),
        id_of(REVIEW): ("review", ["ai_disclaimer", "mojibake"]),
        id_of(both): ("review", ["bidi_controls"]),
    }
    why = rules()["refusal"].why
    evidence = {"rules": [{"rule": "refusal", "turn": 2, "span": [0, 32], "matched": REFUSAL[:32], "why": why}]}
    assert dropped(folder) == {id_of(REFUSED): ("refusal", evidence)}
    assert version.report["rows_hit"] == {"ai_disclaimer": 1, "bidi_controls": 1, "mojibake": 1, "refusal": 1}
    assert version.report["verdicts"] == {"keep": 1, "review": 2, "drop": 1}
    assert version.report["sample_dropped"] == [{"row": id_of(REFUSED).hex()[:8], "reason": "refusal", "matched": REFUSAL[:32]}]
    assert {s["reason"] for s in version.report["sample_review"]} == {"ai_disclaimer", "bidi_controls"}


def test_a_row_of_two_dropping_rules_goes_for_the_more_telling_one_and_names_both(folder: Folder) -> None:
    row = chat("Name the tone of the poem.", "I'm sorry, I cannot answer your question, you did not provide the poem.")
    fill(folder, [row])
    make(folder, rule_hits, scored)
    reason, evidence = dropped(folder)[id_of(row)]
    assert reason == "missing_context"
    assert [entry["rule"] for entry in evidence["rules"]] == ["missing_context", "refusal"]


def test_the_recipe_says_what_a_rule_does(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED, REVIEW])
    make(folder, rule_hits, scored, rule_hits={"actions": {"refusal": "signal", "mojibake": "drop"}})
    assert verdicts(folder) == {id_of(CLEAN): ("keep", []), id_of(REFUSED): ("keep", ["refusal"])}
    reason, evidence = dropped(folder)[id_of(REVIEW)]
    assert (reason, [entry["rule"] for entry in evidence["rules"]]) == ("mojibake", ["mojibake"])


def test_a_skipped_rule_is_not_looked_for(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED, REVIEW])
    version, _ = make(folder, rule_hits, scored, rule_hits={"skip": ["refusal", "ai_disclaimer"]})
    assert version.report["rules"] == len(rules()) - 2
    assert verdicts(folder)[id_of(REFUSED)] == ("keep", [])
    assert verdicts(folder)[id_of(REVIEW)] == ("review", ["mojibake"])


def test_rows_of_equal_content_share_their_hits(folder: Folder) -> None:
    twins = [dataclasses.replace(REFUSED, path=path) for path in ("first", "second")]
    fill(folder, twins)
    version, _ = make(folder, rule_hits, scored)
    assert (version.report["contents"], version.report["kept"]) == (1, 1)
    assert dropped(folder).keys() == {id_of(twin) for twin in twins}


def test_a_bad_answer_that_is_labelled_bad_stays(folder: Folder) -> None:
    good, bad = (dataclasses.replace(REFUSED, kind="unpaired", label=label) for label in (True, False))
    faulty = chat(MOJIBAKE, REFUSAL, kind="unpaired", label=False)
    fill(folder, [good, bad, faulty])
    make(folder, rule_hits, scored)
    assert verdicts(folder) == {id_of(bad): ("keep", []), id_of(faulty): ("review", ["mojibake"])}
    assert dropped(folder).keys() == {id_of(good)}


def test_awkward_characters_reach_the_ledger_whole(folder: Folder) -> None:
    row = chat("Say it.", 'A "quoted" 👍 line\x07 with \\ and \x00, 東京.')
    fill(folder, [row])
    make(folder, rule_hits, scored, rule_hits={"actions": {"control_characters": "drop"}})
    _, evidence = dropped(folder)[id_of(row)]
    assert evidence["rules"][0]["matched"] == "\x07"
    assert row.messages[1].content[slice(*evidence["rules"][0]["span"])] == "\x07"


def test_no_rows_are_no_trouble(folder: Folder) -> None:
    fill(folder, [])
    hits_version, version = make(folder, rule_hits, scored)
    assert (hits_version.report["contents"], hits_version.report["hits"]) == (0, {})
    assert (version.report["kept"], version.report["verdicts"], version.report["sample_dropped"]) == (0, {}, [])


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    rows = [c for c in MIXED if c.messages] + [chat(f"Count {i}.", REFUSAL if i % 3 else MOJIBAKE) for i in range(50)]
    reports = []
    for seed in (1, 2):
        folder = Folder.at(tmp_path / str(seed))
        folder.root.mkdir()
        random.Random(seed).shuffle(rows)
        fill(folder, rows)
        reports.append([(v.data_version, v.report) for v in make(folder, rule_hits, scored)])
    assert reports[0] == reports[1]


def test_a_decision_that_keeps_what_a_rule_drops_is_not_stored(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, [CLEAN, REFUSED])
    make(folder, rule_hits, scored)
    before = verdicts(folder)
    monkeypatch.setattr(scored_module, "decide", lambda signals, policy: Decision("keep"))
    with pytest.raises(LawBroken, match="no_dropping_rule"):
        make(folder, scored)
    assert verdicts(folder) == before


def test_a_review_mark_without_a_rule_is_not_stored(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, [CLEAN, chat("Which?", REVIEW.messages[1].content)])
    make(folder, rule_hits)
    monkeypatch.setattr(scored_module, "decide", lambda signals, policy: Decision("keep"))
    with pytest.raises(LawBroken, match="review_marked"):
        make(folder, scored)


# -------------------------------------------------------------------------------------------------------------- the scores

TOWNS = [
    chat(f"What is {town} known for?", f"{town} is known for its bridges, and for little else.")
    for town in ("Linz", "Graz", "Wels")
]
LIMITS = {
    "thresholds": {
        "helpfulness": {"drop_below": 2, "review_below": 3},
        "ifd": {"review_above": 1.0},
        "reward": {"drop_below": 0},
    }
}


def reasons(folder: Folder) -> dict[bytes, list[str]]:
    return {row.bytes: why for row, why in query(folder, "SELECT row_id, review_reasons FROM scored WHERE verdict = 'review'")}


def test_scores_stand_in_the_row_and_change_nothing_by_default(folder: Folder) -> None:
    fill(folder, TOWNS)
    give(
        folder, {(0, "helpfulness"): 1.0, (0, "accuracy"): 4.0, (1, "helpfulness"): "unparsed"}, {1: 3.5}, {2: -9.0}, rows=TOWNS
    )
    version = make(folder, rule_hits, scored)[1]
    found = query(folder, "SELECT row_id, judge_scores, judge_model, likelihood_ifd, reward_score, verdict FROM scored")
    assert {row.bytes: tuple(rest) for row, *rest in found} == {
        id_of(TOWNS[0]): ({"helpfulness": 1.0, "accuracy": 4.0}, "m", None, None, "keep"),
        id_of(TOWNS[1]): ({}, None, 3.5, None, "keep"),
        id_of(TOWNS[2]): ({}, None, None, -9.0, "keep"),
    }
    assert version.report["rows_scored"] == {"judge": 1, "likelihood": 1, "reward": 1}


def test_a_score_beyond_a_limit_drops_or_marks_a_row_and_says_why(folder: Folder) -> None:
    fill(folder, TOWNS)
    give(folder, {(0, "helpfulness"): 1.0, (1, "helpfulness"): 2.0, (2, "helpfulness"): 3.0}, {2: 1.5}, {2: 0.0}, rows=TOWNS)
    version = make(folder, rule_hits, scored, scored=LIMITS)[1]
    assert dropped(folder) == {
        id_of(TOWNS[0]): (
            "helpfulness_below",
            {
                "scores": [{"score": "helpfulness", "value": 1.0, "limit": 2.0}],
                "judged": [{"rubric": "helpfulness", "score": 1.0, "reason": "It is a 1.", "model": "m"}],
            },
        )
    }
    assert reasons(folder) == {id_of(TOWNS[1]): ["helpfulness_below"], id_of(TOWNS[2]): ["ifd_above"]}
    assert version.report["review_reasons"] == {"helpfulness_below": 1, "ifd_above": 1}
    assert [entry["score"] for entry in version.report["sample_just_dropped"]] == ["helpfulness 1"]


def test_what_was_not_scored_is_kept(folder: Folder) -> None:
    fill(folder, TOWNS)
    give(folder, {(0, "helpfulness"): "unparsed", (1, "helpfulness"): "refused"}, rows=TOWNS)
    make(folder, rule_hits, scored, scored=LIMITS)
    assert {verdict for verdict, _ in verdicts(folder).values()} == {"keep"}


def test_rules_and_scores_that_drop_are_both_in_the_evidence(folder: Folder) -> None:
    fill(folder, [REFUSED])
    give(folder, {(0, "helpfulness"): 1.0}, rows=[REFUSED])
    make(folder, rule_hits, scored, scored=LIMITS)
    reason, evidence = dropped(folder)[id_of(REFUSED)]
    assert (reason, evidence.keys()) == ("refusal", {"rules", "scores", "judged"})


def test_a_threshold_of_a_score_that_nobody_gives_is_refused(folder: Folder) -> None:
    fill(folder, TOWNS)
    make(folder, rule_hits)
    with pytest.raises(
        SftError, match=r"recipe\.yaml: scored\.thresholds: .*no score 'helpfullness'; did you mean 'helpfulness'"
    ):
        make(folder, scored, scored={"thresholds": {"helpfullness": {"drop_below": 2}}})


@pytest.mark.parametrize(
    ("verdict", "section", "outcome"),
    [
        (None, {}, ("review", ["possible_test_item"])),
        ("other", {}, ("keep", [])),
        ("other", {"other_item": "review"}, ("review", ["possible_test_item"])),
        ("same", {"same_item": "review"}, ("review", ["judged_test_item"])),
    ],
)
def test_a_candidate_is_for_review_until_a_judge_has_spoken(
    folder: Folder, verdict: str | None, section: dict[str, Any], outcome: tuple[str, list[str]]
) -> None:
    fill(folder, TOWNS, near=TOWNS[:1])
    give(folder, compared={0: verdict}, rows=TOWNS)
    make(folder, rule_hits, scored, scored=section)
    ((kept, why),) = query(folder, f"SELECT verdict, review_reasons FROM scored WHERE row_id = '{id_of(TOWNS[0]).hex()}'")
    assert (kept, why) == outcome


def test_a_candidate_that_is_judged_a_test_item_goes_and_names_it(folder: Folder) -> None:
    fill(folder, TOWNS, near=TOWNS[:1])
    give(folder, compared={0: "same"}, rows=TOWNS)
    make(folder, rule_hits, scored)
    item = {"benchmark": "exam", "item_id": "1", "reason": "Both ask it.", "model": "m"}
    assert dropped(folder) == {id_of(TOWNS[0]): ("judged_test_item", {"test_item": item})}


def test_a_score_beyond_its_limit_is_never_stored(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, TOWNS)
    give(folder, {(0, "helpfulness"): 1.0}, rows=TOWNS)
    make(folder, rule_hits)
    monkeypatch.setattr(scored_module, "decide", lambda signals, policy: Decision("keep"))
    with pytest.raises(LawBroken, match="no_score_beyond_its_limit"):
        make(folder, scored, scored=LIMITS)


def test_what_if_shows_both_sides_of_a_threshold_and_asks_nobody(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [chat(f"Question {i}?", f"Answer number {i} is this one.") for i in range(40)]
    fill(folder, rows)
    give(folder, {(i, "helpfulness"): 1 + i % 4 for i in range(40)}, rows=rows)
    make(folder, rule_hits, scored)
    monkeypatch.setattr("sft_assets.models.door.Door.__init__", None)
    settings = ["thresholds.helpfulness.drop_below=2", "thresholds.helpfulness.review_below=3"]
    found = what_if(scored, folder, changed_recipe(Recipe(), "scored", settings))
    assert found.counts["kept"] == (40, 30)
    assert found.counts["helpfulness_below"] == (0, 10)
    assert found.marks == {"helpfulness_below": (0, 10)}
    assert (len(found.go), len(found.samples["sample_just_dropped"]), len(found.samples["sample_just_kept"])) == (10, 10, 10)
    assert {entry["score"] for entry in found.samples["sample_just_kept"]} == {"helpfulness 2"}
    assert {entry["reason"] for entry in found.samples["sample_marked"]} == {"helpfulness_below"}
    assert len(found.samples["sample_marked"]) == 10
    assert "sample_unmarked" not in found.samples
    assert len(verdicts(folder)) == 40


def test_what_if_knows_actions_of_rules(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED])
    make(folder, rule_hits, scored)
    with pytest.raises(SftError, match=r"rule_hits\.actions: .*'refusl'; did you mean 'refusal'"):
        what_if(scored, folder, changed_recipe(Recipe(), "scored", ["rule_hits.actions.refusl=signal"]))
    found = what_if(scored, folder, changed_recipe(Recipe(), "scored", ["rule_hits.actions.refusal=signal"]))
    assert (found.counts["kept"], found.came) == ((1, 2), 1)
    ((_, text),) = found.come
    assert text == REFUSAL
