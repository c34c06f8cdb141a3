"""What people decide about rows: written once and for good, applied where it overrides a verdict, and nowhere else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import numpy as np
import pytest

from sft_assets import reviews
from sft_assets.asset import Asset
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.definitions import STATES, definitions
from sft_assets.errors import LawBroken, SftError
from sft_assets.explain import Life, explain
from sft_assets.exported.splits import split
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.reviews import Decision, State, Verdict
from sft_assets.reviews.selection import Stand, ids_in, select, where
from sft_assets.runs import INPUTS, REVIEWS, input_version, open_instance
from sft_assets.scored import asset as scored_module
from sft_assets.scored.asset import scored
from sft_assets.scored.decision import Decision as Outcome
from sft_assets.scored.decision import Signals
from sft_assets.scored.judgements.asset import judgements
from sft_assets.scored.judgements.contamination import contamination_judgements
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.staleness import Graph
from sft_assets.verbs import Workspace
from sft_assets.warehouse import Version, Warehouse
from sft_assets.what_if import what_if
from tests.conftest import NO_MODELS, build, fresh, put, rows, say

UP_TO_SCORED: tuple[Asset, ...] = (
    raw, combined, deduped, benchmarks, contamination_candidates, decontaminated,
    rule_hits, likelihoods, judgements, contamination_judgements, rewards, scored,
)  # fmt: skip

pytestmark = pytest.mark.xdist_group("reviews")  # two folders are what most of them start from
PLAIN, OTHER = "Name a river that flows through Vienna.", "How do herons sleep when the wind is strong?"
SPOILT, REFUSED = "Where is the café?", "Help me to find a flat in the old town."
DUPLICATE, LEAK = (
    "Name  a river that flows through VIENNA.",
    "How many tiles lie on the roof of the old customs house in Varna?",
)
RECORDS = [
    {"instruction": PLAIN, "output": "The Danube flows through Vienna."},
    {"instruction": DUPLICATE, "output": "The Danube flows through Vienna."},
    {"instruction": OTHER, "output": "They stand on one leg in the reeds, where it is calm."},
    {"instruction": SPOILT, "output": "The cafÃ© is closed."},
    {"instruction": REFUSED, "output": "I'm sorry, but I can't help with that."},
    {"instruction": LEAK, "output": "About nine thousand of them."},
]
STANDING = {PLAIN, OTHER, SPOILT}  # and the duplicate, the leak and the refusal go


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every state has something to drop, and nobody has decided anything."""
    folder = fresh(tmp_path_factory.mktemp("reviews") / "data")
    say(folder, **NO_MODELS)
    put(folder, "a.jsonl", RECORDS)
    (folder.benchmarks / "exam.jsonl").write_text(json.dumps({"question": LEAK, "answer": "9"}) + "\n")
    build(folder, *UP_TO_SCORED)
    return folder.root


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Folder:
    shutil.copytree(finished, tmp_path / "data")
    return Folder.at(tmp_path / "data")


def row(folder: Folder, prompt: str) -> tuple[UUID, UUID]:
    """Id and content of the row with this prompt."""
    ((row_id, content),) = rows(folder, "SELECT row_id, content_hash FROM combined WHERE messages[1].content = ?", [prompt])
    return row_id, content


def decide(
    folder: Folder, prompt: str, state: State, decision: Verdict, answer: str | None = None, why: str = "so it is"
) -> Decision:
    made = reviews.decided(*row(folder, prompt), state, decision, why, "ann", answer)
    reviews.append(folder, [made])
    return made


def standing(folder: Folder, state: str = "scored") -> set[str]:
    """The prompts of the rows of a state."""
    return {prompt for (prompt,) in rows(folder, f"SELECT messages[1].content FROM {state}")}


def reports(versions: list[Version]) -> Mapping[str, Any]:
    return {version.asset: version.report for version in versions}


def life(folder: Folder, prompt: str) -> Life:
    (one,) = explain(Warehouse(folder.database), str(row(folder, prompt)[0]), STATES, reviews.read(folder))
    return one


# ---------------------------------------------------------------------------------------------------------- the states


def test_without_a_file_nothing_is_decided_and_nothing_is_said_of_it(folder: Folder) -> None:
    assert not folder.reviews.exists()
    assert standing(folder) == STANDING
    assert not any("reviews" in report for report in reports(build(folder, *UP_TO_SCORED)).values())
    assert not folder.reviews.exists()


def test_a_dropped_row_goes_with_the_reason_and_the_name_of_who_decided(folder: Folder) -> None:
    made = decide(folder, PLAIN, "scored", "drop", why="the sum is wrong")
    report = reports(build(folder, scored))["scored"]
    assert standing(folder) == STANDING - {PLAIN}
    ((reason, evidence),) = rows(folder, "SELECT reason, evidence FROM dropped WHERE row_id = ?", [made.row_id])
    assert (reason, json.loads(evidence)) == ("reviewed", {"why": "the sum is wrong", "reviewer": "ann", "time": made.at})
    assert report["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}


def test_the_evidence_of_a_decision_is_not_mixed_with_that_of_rules(folder: Folder) -> None:
    made = decide(folder, REFUSED, "scored", "drop")
    build(folder, scored)
    ((reason, evidence),) = rows(folder, "SELECT reason, evidence FROM dropped WHERE row_id = ?", [made.row_id])
    assert (reason, set(json.loads(evidence))) == ("reviewed", {"why", "reviewer", "time"})


def test_a_kept_row_survives_the_rule_that_dropped_it_and_keeps_its_signals(folder: Folder) -> None:
    decide(folder, REFUSED, "scored", "keep")
    build(folder, scored)
    assert standing(folder) == STANDING | {REFUSED}
    found = rows(folder, "SELECT verdict, review_reasons, rule_names FROM scored WHERE messages[1].content = ?", [REFUSED])
    assert found == [("keep", [], ["refusal"])]


def test_a_kept_row_loses_its_review_marks(folder: Folder) -> None:
    marks = "SELECT verdict, review_reasons FROM scored WHERE messages[1].content = ?"
    assert rows(folder, marks, [SPOILT]) == [("review", ["mojibake"])]
    decide(folder, SPOILT, "scored", "keep")
    build(folder, scored)
    assert rows(folder, marks, [SPOILT]) == [("keep", [])]


@pytest.mark.parametrize(
    ("prompt", "reasons"), [(PLAIN, ["reviewed"]), (SPOILT, ["reviewed", "mojibake"]), (REFUSED, ["reviewed", "refusal"])]
)
def test_a_row_is_marked_for_review_beside_what_rules_say_of_it(folder: Folder, prompt: str, reasons: list[str]) -> None:
    decide(folder, prompt, "scored", "review")
    build(folder, scored)
    found = rows(folder, "SELECT verdict, review_reasons FROM scored WHERE messages[1].content = ?", [prompt])
    assert found == [("review", reasons)]


def test_a_kept_duplicate_stays_beside_the_row_that_stayed_in_its_stead(folder: Folder) -> None:
    decide(folder, DUPLICATE, "deduped", "keep")
    report = reports(build(folder, *UP_TO_SCORED))["deduped"]
    assert standing(folder) == STANDING | {DUPLICATE}
    groups = rows(folder, "SELECT near_group FROM scored WHERE messages[1].content IN (?, ?)", [PLAIN, DUPLICATE])
    assert groups[0] == groups[1] != (None,)
    assert (report["kept_by_people"], report["reviews"]["applied"]) == (1, 1)


def test_a_kept_leak_stays_and_is_no_candidate_any_more(folder: Folder) -> None:
    decide(folder, LEAK, "decontaminated", "keep")
    report = reports(build(folder, *UP_TO_SCORED))["decontaminated"]
    assert standing(folder) == STANDING | {LEAK}
    found = rows(folder, "SELECT paraphrase_of, verdict FROM scored WHERE messages[1].content = ?", [LEAK])
    assert found == [(None, "keep")]
    assert (report["kept_by_people"], report["dropped"]) == (1, {})


def test_a_kept_candidate_is_not_dropped_where_candidates_are(folder: Folder) -> None:
    told = "Tell me the number of tiles that lie upon the old customs house roof in the town of Varna."
    put(folder, "b.jsonl", [{"instruction": told, "output": "Nobody has counted them."}])
    drop = {**NO_MODELS, "decontaminated": {"paraphrases": "drop"}, "contamination_candidates": {"strength": 0.1, "score": 0.1}}
    say(folder, **drop)
    build(folder, *UP_TO_SCORED[:6])
    assert rows(folder, "SELECT reason FROM dropped WHERE row_id = ?", [row(folder, told)[0]]) == [("benchmark_paraphrase",)]
    decide(folder, told, "decontaminated", "keep")
    report = reports(build(folder, *UP_TO_SCORED[:6]))["decontaminated"]
    assert told in standing(folder, "decontaminated")
    assert report["kept_by_people"] == 1


def test_an_edited_answer_replaces_the_one_that_stood_there_and_passes_the_masks(folder: Folder) -> None:
    before = row(folder, REFUSED)[1]
    decide(folder, REFUSED, "combined", "edit", "There is one: ask jane.doe@mailbox-post.net, please.")
    report = reports(build(folder, *UP_TO_SCORED))["combined"]
    ((answer, content),) = rows(
        folder, "SELECT messages[-1].content, content_hash FROM scored WHERE messages[1].content = ?", [REFUSED]
    )
    assert answer == "There is one: ask <EMAIL>, please."  # and it is no refusal any more: every later state saw it
    assert content != before
    logged = dict(rows(folder, "SELECT what, before FROM edits WHERE row_id = ?", [row(folder, REFUSED)[0]]))
    assert set(logged) == {"reviewed_edit", "masked_email"}
    assert json.loads(logged["reviewed_edit"])["was"] == "I'm sorry, but I can't help with that."
    assert report["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}


def test_an_edit_of_an_edit_starts_from_what_the_first_one_made(folder: Folder) -> None:
    decide(folder, PLAIN, "combined", "edit", "The Inn.")
    build(folder, combined)
    first = row(folder, PLAIN)[1]
    decide(folder, PLAIN, "combined", "edit", "The Danube flows through Vienna.")  # back to what it was
    build(folder, combined)
    assert row(folder, PLAIN)[1] != first
    assert rows(folder, "SELECT messages[-1].content FROM combined WHERE messages[1].content = ?", [PLAIN]) == [
        (RECORDS[0]["output"],)
    ]


def test_calls_of_an_edited_answer_stay(folder: Folder) -> None:
    calls = [{"type": "function", "id": "1", "function": {"name": "clock", "arguments": "{}"}}]
    turns = [{"role": "user", "content": "What time is it?"}, {"role": "assistant", "content": "Now:", "tool_calls": calls}]
    put(folder, "b.jsonl", [{"messages": turns}])
    build(folder, raw, combined)
    look = "SELECT messages[-1].content, messages[-1].tool_calls FROM combined WHERE messages[1].content = 'What time is it?'"
    ((_, stood),) = rows(folder, look)
    decide(folder, "What time is it?", "combined", "edit", "Let me look.")
    build(folder, raw, combined)
    assert rows(folder, look) == [("Let me look.", stood)]
    assert "clock" in stood


def test_an_edit_that_makes_a_pair_identical_costs_the_pair_and_says_why(folder: Folder) -> None:
    put(folder, "p.jsonl", [{"prompt": "Which?", "chosen": "This one.", "rejected": "That one."}])
    say(folder, **NO_MODELS, raw={"max_quarantined": 100})
    build(folder, raw, combined)
    decide(folder, "Which?", "combined", "edit", "That one.")
    (_, version) = build(folder, raw, combined)
    assert version.report["quarantined"] == {"identical_pair": 1}
    assert version.report["reviews"] == {"applied": 0, "content_changed": 0, "row_gone": 1}


def test_a_decision_holds_for_the_content_that_it_was_made_on(folder: Folder) -> None:
    decide(folder, PLAIN, "scored", "drop")
    build(folder, *UP_TO_SCORED)
    decide(folder, PLAIN, "combined", "edit", "The Wien and the Danube do.")
    report = reports(build(folder, *UP_TO_SCORED))["scored"]
    assert PLAIN in standing(folder)
    assert report["reviews"] == {"applied": 0, "content_changed": 1, "row_gone": 0}


def test_a_decision_about_a_row_that_does_not_come_is_counted_and_holds_when_it_does(folder: Folder) -> None:
    decide(folder, LEAK, "scored", "drop")
    report = reports(build(folder, *UP_TO_SCORED))["scored"]
    assert report["reviews"] == {"applied": 0, "content_changed": 0, "row_gone": 1}
    (folder.benchmarks / "exam.jsonl").write_text(json.dumps({"question": "Who?", "answer": "9"}) + "\n")
    report = reports(build(folder, *UP_TO_SCORED))["scored"]
    assert report["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}
    assert LEAK in standing(folder, "decontaminated") - standing(folder)


def test_decisions_survive_another_threshold_and_a_run_again(folder: Folder) -> None:
    decide(folder, DUPLICATE, "deduped", "keep")
    decide(folder, REFUSED, "scored", "keep")
    decide(folder, OTHER, "scored", "drop")
    for settings in ({}, {"deduped": {"threshold": 0.5}, "rule_hits": {"actions": {"mojibake": "drop"}}}):
        say(folder, **NO_MODELS, **settings)
        build(folder, *UP_TO_SCORED, again=True)
        assert standing(folder) - {SPOILT} == {PLAIN, DUPLICATE, REFUSED}


def test_the_last_decision_counts(folder: Folder) -> None:
    for decision in ("drop", "review", "drop", "keep"):
        decide(folder, REFUSED, "scored", decision)  # type: ignore[arg-type]
    build(folder, scored)
    assert standing(folder) == STANDING | {REFUSED}
    decide(folder, REFUSED, "scored", "drop")
    build(folder, scored)
    assert standing(folder) == STANDING


def test_decisions_of_several_states_about_one_row_stand_side_by_side(folder: Folder) -> None:
    decide(folder, DUPLICATE, "deduped", "keep")
    decide(folder, DUPLICATE, "scored", "drop")
    build(folder, *UP_TO_SCORED)
    assert DUPLICATE in standing(folder, "decontaminated") - standing(folder)


@pytest.mark.parametrize(
    ("state", "prompt", "decision", "answer", "kept"),
    [
        (combined, PLAIN, "edit", "The Inn.", 0),
        (deduped, DUPLICATE, "keep", None, 1),
        (decontaminated, LEAK, "keep", None, 1),
        (scored, PLAIN, "drop", None, -1),
        (scored, REFUSED, "keep", None, 1),
    ],
)
def test_what_if_reckons_with_decisions_that_are_yet_to_be_applied(
    folder: Folder, state: Asset, prompt: str, decision: Verdict, answer: str | None, kept: int
) -> None:
    decide(folder, prompt, state.name, decision, answer)  # type: ignore[arg-type]
    result = what_if(state, folder, Recipe.load(folder.recipe))
    now, then = result.counts["kept"]
    assert (then - now, result.changed) == (kept, int(decision == "edit"))
    assert rows(folder, "SELECT count(*) FROM reviewed") == [(0,)]


# ------------------------------------------------------------------------------------------------------------ duplicates

WORDS = [
    f"{a}{b}" for a in ("amber", "birch", "cedar", "delta", "ember", "fjord") for b in ("wood", "land", "side", "ton", "ley")
]


def variant(*changed: int) -> str:
    """A text of thirty words, some of them others."""
    return " ".join(f"{word}x" if place in changed else word for place, word in enumerate(WORDS))


@pytest.mark.parametrize("bloom", [False, True])
def test_a_kept_duplicate_is_tied_to_every_row_that_is_near_it(folder: Folder, bloom: bool) -> None:
    """The best row, one that is near it, and one that is near that one only."""
    if bloom:
        pytest.importorskip("pybloomfilter")
    chain = {"best": f"{variant()} indeed.", "middle": variant(0), "last": variant(0, 1, 29)}
    put(folder, "c.jsonl", [{"instruction": f"{name}", "output": text} for name, text in chain.items()])
    say(folder, **NO_MODELS, deduped={"compare": "answer", "threshold": 0.8, "bloom": bloom})
    build(folder, raw, combined, deduped)
    assert standing(folder, "deduped") & chain.keys() == {"best", "last"}
    decide(folder, "middle", "deduped", "keep")
    build(folder, deduped)
    ties = dict(
        rows(
            folder,
            "SELECT messages[1].content, near_group FROM deduped WHERE messages[1].content IN ('best', 'middle', 'last')",
        )
    )
    assert ties.keys() == chain.keys()
    assert len(set(ties.values())) == 1
    assert None not in ties.values()


def test_what_went_for_others_still_names_a_row_that_stays(folder: Folder) -> None:
    """A row equal to a near duplicate went through it; the near duplicate is kept now."""
    texts = [f"{variant()} indeed.", variant(0), variant(0).upper()]
    put(folder, "c.jsonl", [{"instruction": str(n), "output": text} for n, text in enumerate(texts)])
    say(folder, **NO_MODELS, deduped={"compare": "answer"})
    build(folder, raw, combined, deduped)
    assert standing(folder, "deduped") & {"0", "1", "2"} == {"0"}
    for again in ("1", "2"):
        decide(folder, again, "deduped", "keep")
        build(folder, deduped)  # and its law holds
        assert again in standing(folder, "deduped")
    groups = rows(folder, "SELECT DISTINCT near_group FROM deduped WHERE messages[1].content IN ('0', '1', '2')")
    assert len(groups) == 1
    assert groups[0][0] is not None


def test_a_kept_row_that_is_no_duplicate_is_left_as_it_is(folder: Folder) -> None:
    before = rows(folder, "SELECT * EXCLUDE (messages, rejected) FROM deduped ORDER BY row_id")
    decide(folder, OTHER, "deduped", "keep")
    (version,) = build(folder, deduped)
    assert rows(folder, "SELECT * EXCLUDE (messages, rejected) FROM deduped ORDER BY row_id") == before
    assert version.report["kept_by_people"] == 0


def test_a_row_that_others_went_for_is_kept_and_they_stay_away(folder: Folder) -> None:
    decide(folder, PLAIN, "deduped", "keep")
    build(folder, deduped)
    assert DUPLICATE not in standing(folder, "deduped")


class Compass:
    """Embeds a text by the point of the compass that it names: neighbours are 20 degrees apart."""

    def __init__(self, name: str, cache: Path):
        self.name = name

    def embed(self, texts: list[str], progress: Any = None, engine: Any = None) -> Any:
        angles = np.radians([20 * ("north", "east", "south").index(text.split()[0].strip(".").lower()) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_a_kept_semantic_duplicate_is_tied_to_every_row_that_is_near_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """East is near north and south, which are not near each other."""
    monkeypatch.setattr("sft_assets.models.embedder.Embedder", Compass)
    points = {
        "North is?": "North is where the cold wind comes from.",
        "East is?": "East has the morning sun.",
        "South is?": "South.",
    }
    put(folder, "a.jsonl", [{"instruction": prompt, "output": answer} for prompt, answer in points.items()])
    say(folder, **NO_MODELS, deduped={"semantic": {"prompt": 0.9, "answer": 0.9}})
    build(folder, raw, combined, deduped)
    assert standing(folder, "deduped") == {"North is?", "South is?"}
    decide(folder, "East is?", "deduped", "keep")
    build(folder, deduped)
    groups = rows(folder, "SELECT near_group, count(*) FROM deduped GROUP BY ALL")
    assert [n for _, n in groups] == [3]
    assert groups[0][0] is not None


# -------------------------------------------------------------------------------------------------------------- the laws


def test_an_unreviewed_row_that_a_rule_drops_still_breaks_the_law(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(folder, PLAIN, "scored", "keep")
    monkeypatch.setattr(scored_module, "decide", lambda signals, policy: Outcome("keep"))
    with pytest.raises(LawBroken, match="no_dropping_rule"):
        build(folder, scored)


def test_an_unreviewed_row_beyond_a_limit_still_breaks_the_law(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = "SELECT content_hash, 'reward' AS score, 1.0 AS value FROM store.contents"
    own = scored_module._temporary

    def with_scores(build: Any, name: str, sql: str, batch: Any = None) -> None:
        own(build, name, scores if name == "scored_scores" else sql, batch)

    monkeypatch.setattr(scored_module, "_temporary", with_scores)
    say(folder, **NO_MODELS, scored={"thresholds": {"reward": {"drop_below": 2}}})
    for prompt in (PLAIN, OTHER):
        decide(folder, prompt, "scored", "keep")
    build(folder, scored)
    assert standing(folder) == {PLAIN, OTHER}
    real = scored_module.decide

    def spares(signals: Signals, policy: Any) -> Outcome:
        return Outcome("keep") if not signals.rules else real(signals, policy)

    decide(folder, OTHER, "scored", "drop")
    decide(folder, OTHER, "combined", "edit", "Now it is another content, and nobody has decided about it.")
    monkeypatch.setattr(scored_module, "decide", spares)
    with pytest.raises(LawBroken, match="no_score_beyond_its_limit"):
        build(folder, *UP_TO_SCORED[:-5], rewards, scored)


@pytest.mark.parametrize(
    ("prompt", "decision", "broken"),
    [(PLAIN, "drop", "reviewed_dropped"), (REFUSED, "keep", "reviews_applied"), (PLAIN, "review", "reviewed_marked")],
)
def test_a_decision_that_is_not_obeyed_breaks_a_law(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, prompt: str, decision: Verdict, broken: str
) -> None:
    decide(folder, prompt, "scored", decision)
    real = scored_module.decide
    monkeypatch.setattr(scored_module, "decide", lambda s, policy: real(Signals(s.rules, s.scores, s.candidate), policy))
    with pytest.raises(LawBroken, match=broken):
        build(folder, scored)


def test_a_duplicate_that_people_kept_and_that_goes_all_the_same_breaks_a_law(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(folder, DUPLICATE, "deduped", "keep")
    monkeypatch.setattr("sft_assets.deduped.near.Duplicates.keep", lambda found, rows, row_id: 0)
    with pytest.raises(LawBroken, match="reviews_applied"):
        build(folder, deduped)


# -------------------------------------------------------------------------------------------------------------- the file


def one(n: int = 0, **other: Any) -> Decision:
    given: dict[str, Any] = {"row_id": UUID(int=n), "content_hash": UUID(int=1), "state": "scored", "decision": "drop"}
    return reviews.decided(**{**given, "why": "so", "reviewer": "ann", **other})


def test_what_is_written_is_what_is_read(folder: Folder) -> None:
    made = [
        one(1, why='"quoted",\nüber'),
        one(2, decision="edit", state="combined", answer="Eins."),
        one(3, queue="q1", tool="page"),
    ]
    reviews.append(folder, made)
    assert list(reviews.read(folder).decisions) == made
    first = json.loads(folder.reviews.read_text().splitlines()[0])
    assert set(first) == {"row_id", "content_hash", "queue", "state", "decision", "answer", "reviewer", "time", "why", "tool"}


def test_of_several_decisions_on_one_content_the_last_is_read(folder: Folder) -> None:
    reviews.append(folder, [one(1), one(2), one(1, decision="keep"), one(1, content_hash=UUID(int=9))])
    assert [(d.row_id.int, d.decision) for d in reviews.read(folder).decisions] == [(2, "drop"), (1, "keep"), (1, "drop")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ({"decision": "burn"}, "decision: .*'burn'"),
        ({"row_id": "9f3c"}, "row_id: "),
        ({"why": " "}, "why: "),
        ({"verdict": "drop"}, "verdict: "),
        ({"decision": "keep", "state": "combined"}, "keep is applied in deduped or .* or augmented, not in combined"),
        ({"answer": "What?"}, "an edit has an answer"),
        ({"decision": "edit", "state": "combined", "answer": " "}, "an edit has an answer"),
        ({"time": "2026-01-02T03:04:05"}, "time: "),
    ],
)  # fmt: skip
def test_a_line_that_is_no_decision_is_named_with_its_place(folder: Folder, line: str | dict[str, Any], says: str) -> None:
    reviews.append(folder, [one(1)])
    text = line if isinstance(line, str) else json.dumps({**json.loads(one(2).line), **line})
    with folder.reviews.open("a") as file:
        file.write(f"{text}\n{one(3).line.decode()}")
    with pytest.raises(SftError, match=rf"reviews\.jsonl:2: {says}(.|\n)*Mend the line") as caught:
        reviews.read(folder)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(SftError, match=r"reviews\.jsonl:2"):
        input_version(folder, "scored_reviews")


@pytest.mark.parametrize("missing", ["row_id", "content_hash", "state", "decision", "reviewer", "time", "why", "tool"])
def test_a_line_without_a_field_is_named(folder: Folder, missing: str) -> None:
    values = json.loads(one(1).line)
    del values[missing]
    folder.reviews.write_text(json.dumps(values) + "\n")
    with pytest.raises(SftError, match=rf"reviews\.jsonl:1: {missing}: Field required"):
        reviews.read(folder)


def test_a_torn_last_line_is_skipped_said_and_never_glued_to(folder: Folder) -> None:
    lines = [one(n).line for n in range(3)]
    for cut in range(1, len(lines[2]) - 1):
        folder.reviews.write_bytes(lines[0] + lines[1] + lines[2][:cut])
        found = reviews.read(folder)
        assert ([d.row_id.int for d in found.decisions], found.torn) == ([0, 1], 3)
        assert "reviews.jsonl:3" in found.warning
    reviews.append(folder, [one(7)])
    assert [d.row_id.int for d in reviews.read(folder).decisions] == [0, 1, 7]
    assert not reviews.read(folder).warning
    assert folder.reviews.with_name("reviews.jsonl.torn").read_bytes() == lines[2][:cut] + b"\n"


def test_a_whole_last_line_without_its_newline_counts(folder: Folder) -> None:
    folder.reviews.write_bytes(one(1).line.rstrip(b"\n"))
    assert [d.row_id.int for d in reviews.read(folder).decisions] == [1]
    reviews.append(folder, [one(2)])
    assert [d.row_id.int for d in reviews.read(folder).decisions] == [1, 2]


WRITER = """
import sys
from uuid import UUID
from sft_assets.folder import Folder
from sft_assets.reviews import append, decided
root, first, calls, lines = sys.argv[1], *map(int, sys.argv[2:])
for call in range(calls):
    numbers = range(first + call * lines, first + (call + 1) * lines)
    append(Folder.at(root), [decided(UUID(int=n), UUID(int=1), "scored", "drop", "w" * 300, "ann") for n in numbers])
    print(call, flush=True)
"""


def writing(folder: Folder, first: int, calls: int, lines: int) -> subprocess.Popen[str]:
    """A process that appends decisions, so many at a call, and prints a line after each."""
    command = [sys.executable, "-c", WRITER, str(folder.root), str(first), str(calls), str(lines)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_that_write_at_the_same_time_lose_nothing(folder: Folder) -> None:
    writers = [writing(folder, 1000 * w, 10, 40) for w in range(3)]
    assert [len(writer.communicate()[0].split()) for writer in writers] == [10] * 3
    order = [d.row_id.int for d in reviews.read(folder).decisions]
    assert sorted(order) == [1000 * w + n for w in range(3) for n in range(400)]
    assert all(order[i : i + 40] == list(range(order[i], order[i] + 40)) for i in range(0, len(order), 40))  # calls stay whole


def test_a_kill_loses_no_more_than_the_call_in_flight(folder: Folder) -> None:
    writer = writing(folder, 0, 100_000, 1)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(10)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    written = [d.row_id.int for d in reviews.read(folder).decisions]
    assert written[: len(told)] == told == list(range(len(told)))
    assert len(written) <= len(told) + 1
    reviews.append(folder, [one(10**6)])
    assert [d.row_id.int for d in reviews.read(folder).decisions] == [*written, 10**6]


def test_where_a_folder_cannot_be_synced_decisions_are_recorded_all_the_same(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def unsupported(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", unsupported)
    reviews.append(folder, [one(1)])
    assert [d.row_id.int for d in reviews.read(folder).decisions] == [1]


def test_a_disk_that_is_full_leaves_the_file_as_it_was(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews.append(folder, [one(1)])
    before, write = folder.reviews.read_bytes(), os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(28, "No space left on device")
        return write(handle, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(SftError, match="nothing was recorded: No space left"):
            reviews.append(folder, [one(2), one(3)])
    assert folder.reviews.read_bytes() == before


# ------------------------------------------------------------------------------------------------------------- staleness


def test_each_decision_is_the_business_of_one_state(folder: Folder) -> None:
    before = {name: input_version(folder, name) for name in INPUTS}
    for state, prompt, decision, answer in (
        ("combined", PLAIN, "edit", "The Inn."),
        ("deduped", DUPLICATE, "keep", None),
        ("decontaminated", LEAK, "keep", None),
        ("scored", OTHER, "drop", None),
    ):
        decide(folder, prompt, state, decision, answer)  # type: ignore[arg-type]
        after = {name: input_version(folder, name) for name in INPUTS}
        assert [name for name in INPUTS if after[name] != before[name]] == [f"{state}_reviews", "reviews"]  # the report's
        before = after


def test_a_decision_that_another_one_replaces_leaves_no_trace_in_the_version(folder: Folder) -> None:
    last = one(1, decision="keep")
    reviews.append(folder, [last])
    alone = reviews.version(folder, "scored")
    folder.reviews.write_bytes(one(1).line + last.line)
    assert reviews.version(folder, "scored") == alone


def space(folder: Folder) -> Workspace:
    """The folder as the command line has it, up to scored."""
    recipe = Recipe.load(folder.recipe)
    return Workspace(folder, recipe, open_instance(folder), definitions(folder, recipe, UP_TO_SCORED))


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Dagster has run everything."""
    root = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(finished, root)
    space(Folder.at(root)).run(say=lambda _: None)
    return root


@pytest.fixture
def run_folder(whole: Path, tmp_path: Path) -> Folder:
    shutil.copytree(whole, tmp_path / "data", symlinks=True)
    return Folder.at(tmp_path / "data")


def test_a_decision_makes_just_its_state_stale_and_the_wave_stops_where_nothing_changes(run_folder: Folder) -> None:
    assert space(run_folder).plan() == {}
    decide(run_folder, OTHER, "deduped", "keep")  # it was there anyway
    assert space(run_folder).plan() == {"deduped": ["new data in deduped_reviews"]}
    assert space(run_folder).run(say=lambda _: None) == ["deduped"]
    decide(run_folder, OTHER, "scored", "drop")
    assert space(run_folder).plan() == {"scored": ["new data in scored_reviews"]}
    assert space(run_folder).run(say=lambda _: None) == ["scored"]
    assert space(run_folder).plan() == {}
    assert OTHER not in standing(run_folder)
    decide(run_folder, DUPLICATE, "deduped", "keep")
    assert list(space(run_folder).plan()) == ["deduped"]
    ran = space(run_folder).run(say=lambda _: None)
    assert ran[0] == "deduped"
    assert {"decontaminated", "scored"} < set(ran)
    assert not {"raw", "combined", "benchmarks"} & set(ran)


def test_the_sensor_sees_the_file_when_it_is_quiet(run_folder: Folder) -> None:
    from tests.test_iteration import tick

    here = space(run_folder)
    decide(run_folder, OTHER, "scored", "drop")
    ago = time.time() - 60
    os.utime(run_folder.reviews, (ago, ago))  # a file is at rest by then; a person may be about to decide on the next row
    waits = tick(run_folder, here.recipe, here.defs, here.instance, "new_decisions")
    assert "reviews.jsonl has not changed for 120 seconds" in str(waits.skip_message)
    os.utime(run_folder.reviews, (1, 1))
    asked = tick(run_folder, here.recipe, here.defs, here.instance, "new_decisions").run_requests
    assert "scored" in [key.to_user_string() for key in asked[0].asset_selection]
    assert "deduped" not in [key.to_user_string() for key in asked[0].asset_selection]
    run_folder.reviews.write_text("{}\n")
    os.utime(run_folder.reviews, (1, 1))
    assert "reviews.jsonl:1" in str(tick(run_folder, here.recipe, here.defs, here.instance, "new_decisions").skip_message)


def test_every_state_that_applies_decisions_has_them_as_an_input(folder: Folder) -> None:
    graph = Graph.of(definitions(folder, Recipe()).resolve_asset_graph())
    for name, state in REVIEWS.items():
        assert dg.AssetKey(name) in graph.parents[dg.AssetKey(state)]


def test_kept_duplicates_are_on_one_side_of_the_split(folder: Folder) -> None:
    decide(folder, DUPLICATE, "deduped", "keep")
    build(folder, deduped)
    with Warehouse(folder.database).reading() as con:
        found = con.sql("SELECT content_hash, near_group, messages[1].content AS prompt FROM deduped").to_arrow_table()
    content, group, prompts = (column.combine_chunks() for column in found.columns)
    on_one_side, apart = 0, 0
    for seed in range(40):
        sides = dict(zip(prompts.to_pylist(), split(content, [group], 0.5, seed).to_pylist(), strict=True))
        on_one_side += sides[PLAIN] == sides[DUPLICATE]
        apart += sides[PLAIN] != sides[OTHER]
    assert on_one_side == 40
    assert apart > 0


# --------------------------------------------------------------------------------------------------------------- explain


def test_a_life_tells_a_decision_before_and_after_it_is_applied(folder: Folder) -> None:
    decide(folder, REFUSED, "scored", "keep", why="it is a test of refusals")
    (waiting,) = life(folder, REFUSED).unapplied
    assert "kept by ann in scored: it is a test of refusals" in waiting
    assert "not yet applied: `sft run`" in waiting
    build(folder, scored)
    told = life(folder, REFUSED)
    assert told.unapplied == []
    assert [step.reviewed.split(" (")[0] for step in told.steps if step.reviewed] == ["kept by ann: it is a test of refusals"]
    assert next(step for step in told.steps if step.reviewed).state == "scored"


def test_a_life_tells_of_a_decision_that_does_not_hold(folder: Folder) -> None:
    decide(folder, PLAIN, "scored", "drop")
    decide(folder, PLAIN, "combined", "edit", "The Inn.")
    build(folder, *UP_TO_SCORED)
    told = life(folder, PLAIN)
    assert [step.state for step in told.steps if step.reviewed] == ["combined"]
    assert "does not hold" in told.unapplied[0]


def test_a_life_is_told_of_a_database_from_before_there_were_decisions(folder: Folder) -> None:
    with Warehouse(folder.database).writing() as con:
        con.execute("DROP VIEW reviewed; DROP TABLE store.reviewed")
    assert life(folder, PLAIN).steps[0].verdict == "kept"


# ---------------------------------------------------------------------------------------------------------------- select


def ids(folder: Folder, *prompts: str) -> str:
    return "".join(f"{row(folder, prompt)[0]}\n" for prompt in prompts)


def pick(folder: Folder, text: str, decision: Any, why: str = "so it is", reviewer: str = "ann") -> Any:
    return select(Warehouse(folder.database), folder, STATES, "ids.txt", text, decision, why, reviewer)


@pytest.mark.parametrize(
    ("prompt", "decision", "state"),
    [
        (PLAIN, "keep", "scored"), (SPOILT, "keep", "scored"), (REFUSED, "keep", "scored"),
        (DUPLICATE, "keep", "deduped"), (LEAK, "keep", "decontaminated"),
        (PLAIN, "drop", "scored"), (DUPLICATE, "drop", "scored"), (LEAK, "drop", "scored"),
        (PLAIN, "review", "scored"), (REFUSED, "review", "scored"),
    ],
)  # fmt: skip
def test_a_decision_goes_to_the_state_whose_verdict_it_overrides(
    folder: Folder, prompt: str, decision: Any, state: str
) -> None:
    found = pick(folder, ids(folder, prompt), decision, "on sight", "bob")
    (made,) = reviews.read(folder).decisions
    assert found.by_state == {state: 1}
    assert (made.row_id, made.content_hash) == row(folder, prompt)
    assert (made.state, made.decision, made.why, made.reviewer, made.tool) == (state, decision, "on sight", "bob", "select")


def test_what_was_selected_is_what_happens(folder: Folder) -> None:
    pick(folder, ids(folder, DUPLICATE, LEAK, REFUSED, SPOILT), "keep")
    pick(folder, ids(folder, PLAIN), "drop")
    build(folder, *UP_TO_SCORED)
    assert standing(folder) == {DUPLICATE, LEAK, REFUSED, SPOILT, OTHER}


@pytest.mark.parametrize(
    "text",
    [
        "{0}\n{1}\n", "\ufeff{0}\r\n\r\n{1}\r\n", "{0}\n{1}\n{0}\n", "{0:.13}\n{1:.9}…\n",
        '{{"row_id": "{0}", "x": 1}}\n{{"row_id": "{1}"}}', "text,row_id\n\"a,\nb\",{0}\nc,{1}\n",
        "row_id\n{0}\n{1}\n", "a\trow_id\nb\t{0}\nb\t{1}\n",
    ],
)  # fmt: skip
def test_lists_of_every_shape_name_the_same_rows(folder: Folder, text: str) -> None:
    two = [str(row(folder, prompt)[0]) for prompt in (PLAIN, OTHER)]
    found = pick(folder, text.format(*two), "drop")
    assert [str(d.row_id) for d in found.recorded] == two
    assert found.rows == 2


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    assert list(ids_in("\n\nabcd\n\nef01\n", "f")) == [(3, "abcd"), (5, "ef01")]
    assert list(ids_in('x,row_id\n"a\nb",abcd\n', "f")) == [(3, "abcd")]


def refused(folder: Folder, text: str, decision: Any = "drop") -> str:
    with pytest.raises(SftError) as caught:
        pick(folder, text, decision)
    assert not folder.reviews.exists()  # one wrong line, and nothing is written
    return str(caught.value)


def test_unknown_ids_are_named_with_their_lines_and_nothing_is_written(folder: Folder) -> None:
    said = refused(folder, ids(folder, PLAIN) + "".join(f"dead{n:04}\n" for n in range(14)))
    assert "ids.txt:2: there is no row 'dead0000'" in said
    assert "ids.txt:11: there is no row 'dead0009'" in said
    assert "ids.txt:12" not in said
    assert "and 4 lines more" in said
    assert "Nothing was recorded" in said


def test_an_id_that_two_rows_begin_with_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sft_assets.reviews.selection.LEAST", 1)
    first = [str(row_id)[0] for (row_id,) in rows(folder, "SELECT row_id FROM raw")]
    put(folder, "more.jsonl", [{"instruction": f"Question {n}", "output": "Yes."} for n in range(20)])
    build(folder, raw, combined)
    assert "give more characters" in refused(folder, f"{first[0]}\n")


def test_an_id_of_fewer_than_four_characters_is_refused(folder: Folder) -> None:
    assert "ids.txt:1: there is no row" in (said := refused(folder, ids(folder, PLAIN)[:3] + "\n"))
    assert "4 characters" in said


@pytest.mark.parametrize("text", ["", "\n \n", '{"id": 1}\n', "row_id,x\n,1\n", "[1]\n", '{"row_id": 7}\n'])
def test_a_list_that_names_nothing_is_refused(folder: Folder, text: str) -> None:
    assert "ids.txt" in refused(folder, text)


@pytest.mark.parametrize("why", ["", "  \n"])
def test_a_decision_without_a_reason_is_refused(folder: Folder, why: str) -> None:
    with pytest.raises(SftError, match="say why"):
        pick(folder, ids(folder, PLAIN), "drop", why)


def test_a_reason_of_broken_bytes_is_refused(folder: Folder) -> None:
    with pytest.raises(SftError, match="unicode"):
        pick(folder, ids(folder, PLAIN), "drop", "bad \udcff byte")


def test_rows_that_no_decision_brings_back_are_refused_with_the_remedy(folder: Folder) -> None:
    put(folder, "b.jsonl", [{"instruction": "Say nothing.", "output": ""}])
    put(folder, "c.jsonl", [{"instruction": "Say it all.", "output": "All."}])
    say(folder, **NO_MODELS, raw={"max_quarantined": 100}, sources=[{"path": "c.jsonl", "weight": 0}])
    build(folder, raw, combined)
    lost = rows(folder, "SELECT row_id FROM raw WHERE source = 'b' UNION ALL SELECT row_id FROM raw WHERE source = 'c'")
    said = refused(folder, "".join(f"{row_id}\n" for (row_id,) in lost), "keep")
    assert "left out by combined (empty_answer): mend its record in the source" in said
    assert "left out by combined (not_sampled): raise the weight of its source" in said


def test_a_row_that_is_gone_is_kept_before_it_is_marked_for_review(folder: Folder) -> None:
    assert "dropped by deduped (exact_duplicate): keep it first" in refused(folder, ids(folder, DUPLICATE), "review")


@pytest.mark.parametrize(
    ("state", "reason", "decision", "applied"),
    [
        ("clustered", "too_similar", "keep", "clustered"),
        ("clustered", "too_similar", "drop", "scored"),
        ("exported", "review", "keep", "scored"),  # it was left out for its mark
        ("exported", "prompt_only", "drop", "scored"),
    ],
)
def test_what_later_states_left_out_is_decided_where_it_counts(state: str, reason: str, decision: Any, applied: str) -> None:
    assert where(Stand(UUID(int=1), state, reason), decision) == applied


def test_what_no_decision_changes_is_refused() -> None:
    for state, reason, decision, says in (
        ("clustered", "too_similar", "review", "keep it first"),
        ("exported", "prompt_only", "keep", "only an answer in its source"),
    ):
        with pytest.raises(SftError, match=says):
            where(Stand(UUID(int=1), state, reason), decision)  # type: ignore[arg-type]
    with pytest.raises(SftError, match="name those"):
        where(Stand(None), "drop")


def test_a_decision_that_stands_is_not_written_twice(folder: Folder) -> None:
    both = ids(folder, PLAIN, OTHER)
    pick(folder, ids(folder, PLAIN), "drop")
    found = pick(folder, both, "drop")
    assert (len(found.recorded), found.standing) == (1, 1)
    assert len(folder.reviews.read_text().splitlines()) == 2
    pick(folder, both, "keep")
    assert len(pick(folder, both, "drop").recorded) == 2  # it did not stand any more


def test_a_selection_of_the_same_person_under_another_spelling_stands_already(folder: Folder) -> None:
    assert [one.reviewer for one in pick(folder, ids(folder, PLAIN), "drop", reviewer="Zoë  B.").recorded] == ["Zoë B."]
    found = pick(folder, ids(folder, PLAIN, OTHER), "drop", reviewer="ZOE\u0308 B.")
    assert (found.standing, [one.reviewer for one in found.recorded]) == (1, ["Zoë B."])


def test_the_command_records_and_says_what_follows(run_folder: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    chosen = run_folder.root / "selection.txt"
    chosen.write_text(ids(run_folder, PLAIN, LEAK))

    def call(*args: str) -> tuple[int, str]:
        code, out, err = sft(*args, "--data", str(run_folder.root))
        return code, out + err

    code, said = call("select", str(chosen), "--keep", "--why", "both are fine", "--reviewer", "eve")
    assert code == 0
    assert "keep 2 rows" in said
    assert "1 for scored" in said
    assert "1 for decontaminated" in said
    assert "stale now" in said
    assert "exported" in said.partition("different: ")[2]
    code, said = call("select", str(chosen), "--keep", "--why", "both are fine", "--reviewer", "eve")
    assert (code, "stood already" in said, "nothing was recorded" in said) == (0, True, True)
    code, said = call("explain", str(row(run_folder, LEAK)[0]))
    assert "kept by eve in decontaminated: both are fine" in said
    for wrong in (["--keep", "--drop", "--why", "x"], ["--why", "x"]):
        code, said = call("select", str(chosen), *wrong)
        assert (code, "one of --drop, --keep and --review" in said) == (1, True)
    code, said = call("select", str(run_folder.root / "nowhere.txt"), "--drop", "--why", "x")
    assert (code, "cannot be read" in said) == (1, True)
