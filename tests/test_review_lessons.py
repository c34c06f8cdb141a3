"""What people teach: agreement, precision and thresholds against cases that were worked out by hand, and on crowds whose error
is known."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from sft_assets import reviews
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.reviews import Decision, Reviews
from sft_assets.reviews.lessons import Lessons, about_the_row, lessons, results
from sft_assets.reviews.lessons.agreement import Agreement, agreements, together
from sft_assets.reviews.lessons.precision import Stratum, strata
from sft_assets.reviews.lessons.thresholds import LEAST, Signal, Suggestion, suggestion
from sft_assets.reviews.queue import Item, Queue, save
from sft_assets.scored.asset import scored
from sft_assets.scored.judgements.asset import judgements
from sft_assets.scored.judgements.contamination import contamination_judgements
from sft_assets.scored.judgements.statistics import alpha, share
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.warehouse import Warehouse
from tests.conftest import NO_MODELS, build, fresh, put, rows, say

pytestmark = pytest.mark.xdist_group("review_lessons")  # one folder is what many of them start from
Sft = Callable[..., tuple[int, str, str]]
Q1, Q2 = "20260102T030405Z-00000001", "20260103T030405Z-00000002"


def said(
    row: int, reviewer: str, decision: str, queue: str = Q1, about: str = "", audit: bool = False, **more: Any
) -> Decision:
    """A decision about the row of that number."""
    values = {"row_id": UUID(int=row), "content_hash": UUID(int=row), "state": "scored", "why": "so", "tool": "page", **more}
    if decision == "edit":
        values |= {"state": "combined", "answer": more.get("answer", "Better.")}
    when = datetime(2026, 1, 2, tzinfo=UTC)
    return Decision(reviewer=reviewer, decision=decision, queue=queue, time=when, about=about, audit=audit, **values)  # type: ignore[arg-type]


def log(words: str, queue: str = Q1) -> list[Decision]:
    """'ann:kkd bob:kd.' : what each says of the first rows; k keep, d drop, e edit, s skip, u undo, a dot nothing."""
    names = {"k": "keep", "d": "drop", "e": "edit", "s": "skip", "u": "undo"}
    made = []
    for word in words.split():
        name, letters = word.split(":")
        made += [said(row, name, names[letter], queue) for row, letter in enumerate(letters, 1) if letter != "."]
    return made


def of(words: str) -> Agreement:
    (found,) = agreements(log(words))
    return found


# -------------------------------------------------------------------------------------------------------------- agreement


def counts(observers: Sequence[str], values: str) -> list[list[int]]:
    """What observers say of units, one a column, as counts of each value."""
    return [[sum(line[unit] == value for line in observers) for value in values] for unit in range(len(observers[0]))]


@pytest.mark.parametrize(("observers", "values", "published"), [
    # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): the examples A, B and C
    (["0100000010", "1110010000"], "01", 0.095),
    (["aabbdcccedda", "babbbccceddd"], "abcde", 0.692),
    (["123321412...", "1233224125.3", ".3332342251.", "12332441251."], "12345", 0.743),
])  # fmt: skip
def test_alpha_is_that_of_krippendorff_s_own_examples(observers: list[str], values: str, published: float) -> None:
    found = alpha(counts(observers, values))
    assert found and found.value == pytest.approx(published, abs=5e-4)
    assert found.low < found.value < found.high


def test_reviewers_who_agree_in_everything_have_an_alpha_of_1_and_guessers_one_near_0() -> None:
    equal = of("ann:kkddkkddke bob:kkddkkddke")
    assert equal.alpha and equal.kappa and equal.same
    assert (equal.alpha.value, equal.kappa.value, equal.same.value, equal.shared) == (1, 1, 1, 10)
    rng = np.random.default_rng(3)
    guessed = of(" ".join(f"{name}:{''.join(rng.choice(['k', 'd'], 300))}" for name in ("ann", "bob", "cem")))
    assert guessed.alpha and guessed.alpha.low < 0 < guessed.alpha.high
    assert guessed.kappa is None  # there are three of them


def test_of_verdicts_that_are_all_equal_no_alpha_can_be_said() -> None:
    found = of("ann:kkkkkkkk bob:kkkkkkkk")
    assert (found.alpha, found.kappa) == (None, None)
    assert found.same and found.same.value == 1


def test_one_person_under_several_names_agrees_with_nobody_and_is_called_as_at_first() -> None:
    found = of("Ann:kkd ann:kkd ANN:..k bob:k..")
    assert (found.items, found.shared) == (3, 1)
    assert [(one.name, one.decided) for one in found.reviewers] == [("Ann", 3), ("bob", 1)]
    split = of("Ann:k bob:d ann:k")
    assert [dict(one.said) for one in split.disputed] == [{"Ann": "keep", "bob": "drop"}]


def test_one_reviewer_agrees_with_nobody() -> None:
    found = of("ann:kkdds")
    assert (found.items, found.shared, found.same, found.alpha, found.kappa, found.disputed) == (4, 0, None, None, None, ())
    (ann,) = found.reviewers
    assert (ann.decided, ann.skipped, ann.shared, ann.with_most) == (4, 1, 0, 0)


def test_each_reviewer_is_held_against_the_majority_where_there_is_one() -> None:
    #               1: all    2: 2 to 1    3: a draw   4: skips do not count   5: one alone
    found = of("ann:kkkkk bob:kdds. cem:kkskk")
    assert (found.items, found.shared) == (5, 5)
    by_name = {one.name: (one.decided, one.skipped, one.shared, one.with_most) for one in found.reviewers}
    assert by_name == {"ann": (5, 0, 4, 4), "bob": (3, 1, 2, 1), "cem": (4, 1, 4, 4)}
    (disputed,) = found.disputed
    assert (disputed.row_id, disputed.said) == (UUID(int=3), {"ann": "keep", "bob": "drop"})


def test_what_was_taken_back_is_not_counted() -> None:
    found = of("ann:kkkkkk bob:dddddd bob:uuu...")
    assert (found.items, found.shared) == (6, 3)


def test_two_who_edit_agree_that_it_is_to_be_mended_whatever_they_write() -> None:
    made = log("ann:kdkdkd bob:kdkdkd")
    made += [said(7, "ann", "edit", answer="The Inn."), said(7, "bob", "edit", answer="The Danube.")]
    (found,) = agreements(made)
    assert found.alpha and found.alpha.value == 1
    assert [one.row_id for one in found.disputed] == [UUID(int=7)]  # which of the two texts counts is another matter


def test_queues_are_measured_apart_and_together() -> None:
    made = [*log("ann:kdkdkd bob:kdkdkd"), *log("ann:kdkdkd bob:dkdkdk", Q2)]
    first, second = agreements(made)
    whole = together(made)
    assert first.alpha and second.alpha and whole.alpha
    assert (first.alpha.value, second.alpha.value < 0, whole.shared) == (1, True, 12)
    assert second.alpha.value < whole.alpha.value < 1
    assert len(second.disputed) == len(whole.disputed) == 6


def test_the_interval_of_alpha_covers_the_agreement_of_a_crowd_with_a_known_error() -> None:
    """Two reviewers who are wrong in a tenth of all cases, each by himself: of 0.5 keeps the expected alpha is 0.64."""
    rng, error, held = np.random.default_rng(11), 0.1, 0
    expected = 1 - 2 * (2 * error * (1 - error))
    for _ in range(60):
        truth = rng.integers(0, 2, 120)
        both = [np.where(rng.random(120) < error, 1 - truth, truth) for _ in range(2)]
        found = alpha([[sum(int(one[i] == value) for one in both) for value in (0, 1)] for i in range(120)])
        assert found
        held += found.low <= expected <= found.high
    assert held >= 51  # 57 are expected; under an interval of 95 % fewer than 51 have a chance of 1 in 100


# -------------------------------------------------------------------------------------------------------------- precision


def stratum(made: list[Decision], about: str, audit: bool = True) -> Stratum:
    return {one.about: one for one in strata(made, audit)}[about]


def judged(about: str, words: str, first: int = 1, **more: Any) -> list[Decision]:
    """Decisions by ann on rows of a stratum: 'keep drop ...'."""
    return [said(first + i, "ann", word, about=about, audit=True, **more) for i, word in enumerate(words.split())]


@pytest.mark.parametrize(("about", "right", "wrong"), [
    ("deduped near_duplicate", "drop", "keep edit"),
    ("scored refusal", "drop", "keep edit"),
    ("review mojibake", "drop edit", "keep"),
    ("kept", "keep", "drop edit"),
])  # fmt: skip
def test_what_the_pipeline_did_is_right_where_people_do_the_same(about: str, right: str, wrong: str) -> None:
    found = stratum(judged(about, f"{right} {wrong} review skip"), about)
    assert (found.right, found.wrong) == (len(right.split()), len(wrong.split()))
    assert (found.undecided, found.skipped, found.n) == (1, 1, len(f"{right} {wrong}".split()))


def test_precision_has_the_interval_of_wilson() -> None:
    found = stratum(judged("scored refusal", "drop " * 19 + "keep"), "scored refusal")
    assert found.share == pytest.approx((0.95, 0.764, 0.991, 20), abs=1e-3)


def test_most_of_several_reviewers_count_once_and_a_draw_counts_for_nothing() -> None:
    more: dict[str, Any] = {"about": "kept", "audit": True}
    made = [said(1, name, word, **more) for name, word in (("ann", "keep"), ("bob", "keep"), ("cem", "drop"))]
    made += [said(2, name, word, **more) for name, word in (("ann", "keep"), ("bob", "drop"))]
    made += [said(3, name, word, **more) for name, word in (("ann", "drop"), ("bob", "skip"))]
    found = stratum(made, "kept")
    assert (found.right, found.wrong, found.undecided, found.skipped) == (1, 1, 1, 0)


def test_rows_that_were_chosen_for_being_doubtful_are_no_sample() -> None:
    made = [*judged("kept", "keep keep"), *(said(row, "ann", "drop", about="kept") for row in (8, 9))]
    assert stratum(made, "kept").share == share(2, 2)
    assert (stratum(made, "kept", audit=False).n, stratum(made, "kept", audit=False).right) == (2, 0)


def test_a_row_that_two_queues_ask_about_counts_once_with_the_last_verdict() -> None:
    made = [*judged("kept", "keep drop keep"), *judged("kept", "drop skip", queue=Q2)]
    found = stratum(made, "kept")
    assert (found.right, found.wrong, found.skipped) == (1, 2, 0)


def test_generated_rows_that_are_there_are_kept_ones_and_a_comparison_of_two_rows_is_of_no_stratum() -> None:
    made = [
        said(1, "ann", "keep", about="augmented self_instruct"),
        said(2, "ann", "drop", about="augmented similar_to_others"),
    ]
    made += [said(3, "ann", "keep", about="kept possible_test_item", state="decontaminated")]
    pair = {"other": UUID(int=9), "other_hash": UUID(int=9), "state": "augmented"}
    made += [said(4, "ann", "prefer_a", about="deduped conflict_group", **pair)]
    assert {one.about: (one.right, one.n) for one in strata(made, audit=False)} == {
        "kept possible_test_item": (1, 1),
        "augmented self_instruct": (1, 1),
        "augmented similar_to_others": (1, 1),
    }


def test_strata_stand_in_the_order_of_the_pipeline() -> None:
    names = ["kept", "deduped near_duplicate", "decontaminated benchmark_item", "scored refusal", "review mojibake"]
    made = [one for i, name in enumerate(reversed(names)) for one in judged(name, "keep", first=10 * i)]
    assert [one.about for one in strata(made)] == names


def test_nobody_and_nothing_is_no_error() -> None:
    nothing = lessons(Reviews(Path("reviews.jsonl")))
    assert nothing == Lessons(0)
    alone = lessons(Reviews(Path("reviews.jsonl"), (said(1, "ann", "drop", queue=""),)))
    assert (alone.decided, alone.agreements, alone.audited) == (1, (), ())


# ------------------------------------------------------------------------------------------------------------- thresholds


SCORE = Signal("helpfulness", "scored", "thresholds.helpfulness.drop_below", above=False)
JACCARD = Signal("jaccard", "deduped", "threshold", above=True, now=0.8)


def test_the_threshold_is_where_the_shares_on_either_side_differ_most() -> None:
    # below 2.5: 9 of 12 that people drop, 2 of 20 that they keep; below 1.5: 6 and 0; below 3.5: 11 and 9
    drops, keeps = [1.0] * 6 + [2.0] * 3 + [3.0] * 2 + [4.0], [2.0] * 2 + [3.0] * 7 + [4.0] * 11
    found = suggestion(SCORE, keeps, drops)
    assert found.threshold and found.caught and found.lost
    assert (found.threshold.value, found.caught.value, found.lost.value) == (2.5, 0.75, 0.1)
    assert found.threshold.low <= 2.5 <= found.threshold.high
    assert found.assignment == "thresholds.helpfulness.drop_below=2.5"


def test_a_signal_of_which_much_is_bad_is_cut_from_above() -> None:
    drops, keeps = [0.91, 0.93, 0.94, 0.96, 0.97] * 3, [0.81, 0.82, 0.84, 0.86, 0.88] * 3
    found = suggestion(JACCARD, keeps, drops)
    assert found.threshold and found.caught and found.lost
    assert (found.threshold.value, found.caught.value, found.lost.value) == (0.9, 1, 0)
    assert found.threshold.low <= found.threshold.value <= found.threshold.high


@pytest.mark.parametrize(("keeps", "drops", "why"), [
    ([4.0] * (LEAST - 1), [1.0] * 40, "fewer than 10 on a side"),
    ([4.0] * 40, [1.0] * (LEAST - 1), "fewer than 10 on a side"),
    ([3.0] * 40, [3.0] * 40, "much the same"),
    ([1.0] * 40, [4.0] * 40, "much the same"),  # what is good to the judge is bad to people: no threshold helps
])  # fmt: skip
def test_too_few_decisions_and_signals_that_tell_nothing_suggest_nothing(
    keeps: list[float], drops: list[float], why: str
) -> None:
    found = suggestion(SCORE, keeps, drops)
    assert found.threshold is None
    assert why in found.silent
    assert (found.keeps, found.drops, found.assignment) == (len(keeps), len(drops), "")


def test_a_signal_of_pure_chance_is_hardly_ever_taken_for_one() -> None:
    rng = np.random.default_rng(5)
    taken = sum(suggestion(SCORE, rng.random(40).tolist(), rng.random(30).tolist()).threshold is not None for _ in range(200))
    assert taken <= 6  # 2 are expected at most


def test_the_interval_of_a_threshold_covers_the_one_by_which_a_crowd_decides() -> None:
    """People drop below 0.4, and err in a tenth of all cases."""
    rng, held = np.random.default_rng(7), 0
    for _ in range(40):
        values = rng.random(150)
        drop = (values < 0.4) != (rng.random(150) < 0.1)
        found = suggestion(SCORE, values[~drop].tolist(), values[drop].tolist())
        assert found.threshold
        held += found.threshold.low <= 0.4 <= found.threshold.high
    assert held >= 34


def test_a_threshold_of_many_decisions_needs_no_more_memory_than_the_decisions() -> None:
    rng = np.random.default_rng(13)
    keeps, drops = rng.normal(1, 1, 20_000).tolist(), rng.normal(0, 1, 20_000).tolist()
    tracemalloc.start()
    found = suggestion(SCORE, keeps, drops)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6, "a bootstrap over all values has 320 MB for one array"
    assert found.threshold and found.threshold.low <= found.threshold.value <= found.threshold.high
    assert found.threshold.low < 0.5 < found.threshold.high  # where the two densities are equal


def test_a_duplicate_or_a_test_item_says_nothing_of_the_row_s_quality() -> None:
    assert about_the_row(said(1, "ann", "keep"))
    assert about_the_row(said(1, "ann", "drop", queue=""))
    assert about_the_row(said(1, "ann", "edit", about="review mojibake"))
    assert not about_the_row(said(1, "ann", "keep", about="deduped near_duplicate", state="deduped"))
    assert not about_the_row(said(1, "ann", "edit", about="deduped near_duplicate"))
    assert not about_the_row(said(1, "ann", "drop", about="review possible_test_item"))
    assert not about_the_row(said(1, "ann", "review"))


# -------------------------------------------------------------------------------------------------------------- the folder

UP_TO_SCORED = (
    raw, combined, deduped, benchmarks, contamination_candidates, decontaminated,
    rule_hits, likelihoods, judgements, contamination_judgements, rewards, scored,
)  # fmt: skip
WORDS = (
    "river", "bridge", "violin", "glacier", "harbour", "orchard", "mine", "theatre", "kite", "lighthouse", "heron", "canal",
    "tower", "meadow", "quarry",
)  # fmt: skip
BOTH = 15  # rows of either kind


def record(i: int, bad: bool) -> dict[str, str]:
    one, other = WORDS[i % 15], WORDS[(i * 7 + 3) % 15]
    kind = "poorly" if bad else "well"
    answer = f"The {one} of the {other} was {kind} told of in year {1000 + 17 * i}, and {WORDS[(i * 4 + 1) % 15]} keepers knew."
    return {"instruction": f"What do {kind} kept books say of the {one} near {other} {i}?", "output": answer}


@pytest.fixture(scope="module")
def scored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rows up to scored: a judge gives 1 or 2 to the bad half of them, and 3 or 4 to the others."""
    folder = fresh(tmp_path_factory.mktemp("lessons") / "data")
    say(folder, **NO_MODELS)
    put(folder, "a.jsonl", [record(i, bad) for i in range(BOTH) for bad in (True, False)])
    build(folder, *UP_TO_SCORED)
    with Warehouse(folder.database).writing() as con:
        con.execute("""
            INSERT INTO store.judgements_1 BY NAME
            SELECT content_hash, 'helpfulness' AS rubric, 'scored' AS status,
                if(contains(messages[1].content, 'poorly'), 1, 3) + (hash(row_id) % 2)::INTEGER AS score
            FROM scored
        """)
    assert rows(folder, "SELECT count(*) FROM scored") == [(2 * BOTH,)]
    return folder.root


@pytest.fixture
def folder(scored_folder: Path, tmp_path: Path) -> Folder:
    shutil.copytree(scored_folder, tmp_path / "data")
    return Folder.at(tmp_path / "data")


def decide_all(folder: Folder, but: int = 0, **more: Any) -> None:
    """People drop what is told of poorly, and keep the rest. but: how many of either kind they are not asked about."""
    bad = "contains(messages[1].content, 'poorly')"
    found = rows(
        folder,
        f"""
        SELECT row_id, content_hash, {bad} FROM scored
        QUALIFY row_number() OVER (PARTITION BY {bad} ORDER BY row_id) > {but} ORDER BY row_id
    """,
    )
    made = [
        said(1, "ann", "drop" if bad else "keep", Q1, "kept", True, row_id=row_id, content_hash=content, **more)
        for row_id, content, bad in found
    ]
    reviews.append(folder, made)


def of_signal(found: Lessons, name: str) -> Suggestion:
    return {one.signal.name: one for one in found.suggestions}[name]


def test_decisions_are_held_against_the_scores_of_their_rows(folder: Folder) -> None:
    decide_all(folder)
    found = results(folder)
    assert (found.decided, found.audited[0].right, found.audited[0].wrong) == (2 * BOTH, BOTH, BOTH)
    one = of_signal(found, "helpfulness")
    assert one.threshold and (one.keeps, one.drops, one.threshold.value) == (BOTH, BOTH, 2.5)
    assert [other.signal.name for other in found.suggestions] == ["helpfulness"]  # of the others there is no value


def test_only_decisions_that_count_teach_a_threshold(folder: Folder) -> None:
    decide_all(folder)
    found = rows(folder, "SELECT row_id, content_hash FROM scored ORDER BY row_id")
    reviews.append(folder, [said(1, "bob", "keep", "", row_id=row, content_hash=content) for row, content in found])
    one = of_signal(results(folder), "helpfulness")
    assert (one.keeps, one.drops, one.threshold) == (2 * BOTH, 0, None)


def test_the_command_tells_all_of_it_and_what_would_come_of_a_threshold(folder: Folder, sft: Sft) -> None:
    left = 3
    decide_all(folder, but=left)
    log_of_bob = [one.model_copy(update={"reviewer": "bob"}) for one in reviews.read(folder).log[:12]]
    reviews.append(folder, log_of_bob)
    at = ("review", "results", "--data", str(folder))
    code, out, _ = sft(*at)
    assert code == 0
    for words in ("alpha", "ann", "bob", "kept", "below 2.5", "sft what-if scored --set thresholds.helpfulness.drop_below=2.5"):
        assert words in out
    code, out, _ = sft(*at, "--what-if")
    assert code == 0
    # what people decided is in both numbers, applied or not: the threshold drops the bad ones that they were not asked about
    assert f"kept {BOTH + left} -> {BOTH} (-{left})" in out
    code, out, _ = sft(*at, "--what-if", "--json")
    told = json.loads(out)
    assert told["suggestions"][0]["what_if"] == {"kept": [BOTH + left, BOTH]}
    assert told["agreements"][0]["alpha"]["value"] == 1
    assert told["audited"][0]["share"]["n"] == 2 * (BOTH - left)


def test_a_queue_can_be_asked_for_alone(folder: Folder, sft: Sft) -> None:
    decide_all(folder)
    reviews.append(folder, log("ann:kk bob:kd", Q2))
    assert results(folder, Q2).decided == 2
    assert len(results(folder).agreements) == 2
    with pytest.raises(SftError, match=rf"no queue '{Q2[:-1]}9'.*{Q2}"):
        results(folder, Q2[:-1] + "9")
    code, _, err = sft("review", "results", "--queue", "mine", "--data", str(folder))
    assert (code, "there are" in err) == (1, True)


def test_before_anybody_decided_the_next_step_is_said(folder: Folder, sft: Sft) -> None:
    code, out, _ = sft("review", "results", "--data", str(folder))
    assert (code, "Nobody has decided about a row yet: `sft review export`" in out) == (0, True)
    folder.database.unlink()
    assert sft("review", "results", "--data", str(folder))[0] == 0
    reviews.append(folder, [said(1, "ann", "drop", "")])
    assert "decided about: 1, none of them in a queue" in sft("review", "results", "--data", str(folder))[1]


def test_a_hostile_name_is_shown_as_it_is(folder: Folder, sft: Sft) -> None:
    reviews.append(folder, [said(1, "[red]ann\x1b[31m", "drop", about="scored [bold]x", audit=True)])
    out = sft("review", "results", "--data", str(folder))[1]
    assert "[red]ann\\u001b[31m" in out
    assert "scored [bold]x" in out


def test_jaccard_is_that_of_the_queue_where_the_row_is_dropped_no_more(folder: Folder) -> None:
    """Kept duplicates are in no ledger any more: what was asked is."""
    near, exact = "deduped near_duplicate", "deduped exact_duplicate"
    pairs = [(i, 0.81 + 0.01 * i if i < 10 else 0.93 + 0.005 * (i - 10), "keep" if i < 10 else "drop") for i in range(20)]
    pairs += [(i, 1.0, "drop") for i in range(20, 25)]  # exact ones go whatever the threshold is
    items = [
        Item(
            queue=Q1, number=i + 1, row_id=UUID(int=i), content_hash=UUID(int=i), asked="threshold",
            about=near if i < 20 else exact, state="deduped", verdict="dropped", question="Is it one?",
            choices=["keep", "drop", "skip"], messages=[], signals={"jaccard": value, "of": "a row"},
        )
        for i, value, _ in pairs
    ]  # fmt: skip
    save(folder, Queue(name=Q1, time=datetime(2026, 1, 2, tzinfo=UTC), budget=20, seed=0, items=tuple(items)))
    reviews.append(folder, [item.decided(verdict, "ann") for item, (_, _, verdict) in zip(items, pairs, strict=True)])  # type: ignore[arg-type]
    one = of_signal(results(folder), "jaccard")
    assert one.threshold and (one.keeps, one.drops) == (10, 10)
    assert 0.9 < one.threshold.value < 0.93
    assert one.signal.now == 0.8
    (folder.queues / Q1 / "queue.jsonl").write_text("{}")
    assert results(folder).suggestions == ()  # of a queue that cannot be read nothing is known, and that is no error
