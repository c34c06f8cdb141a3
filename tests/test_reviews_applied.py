"""What people wrote and preferred, applied: swaps of pairs, texts of generated rows, pairs of two rows that they compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from sft_assets import reviews, verbs
from sft_assets.augmented import asset as augmented_module
from sft_assets.augmented.pairs import Pair
from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.definitions import ASSETS, STATES, asset_named
from sft_assets.errors import LawBroken
from sft_assets.explain import Life, explain
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.gc import Options, collect
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.report.asset import report
from sft_assets.reviews import Decision, State, Verdict
from sft_assets.reviews.selection import select
from sft_assets.runs import input_version
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.versions import read_versions
from sft_assets.what_if import what_if
from tests import scripted_generation as scripted
from tests.conftest import NO_MODELS, build, put, rows, say
from tests.made_rows import REFUSAL
from tests.model_server import ModelServer
from tests.scripted_generation import MODEL, RIGA, prose, question

pytestmark = pytest.mark.xdist_group("reviews_applied")  # one run is what most of them start from
augmented = asset_named("augmented")
UP_TO_AUGMENTED = [asset for asset in ASSETS if asset.name not in ("map", "exported", "report")]
TOWNS = scripted.TOWNS[13:19]
ASKED = question("asked", " of three")
ANSWERS = [prose(f"answer {n}") for n in range(3)]
PAIR = scripted.PAIRS[0]
EMAIL = scripted.EMAIL


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rows of three answers to one prompt, pairs, rows that a model made and pairs that it rated; nobody decided anything."""
    folder = verbs.init(tmp_path_factory.mktemp("applied") / "data")
    scripted.fill(folder, TOWNS)
    put(folder, "c.jsonl", [{"instruction": ASKED, "output": answer} for answer in ANSWERS])
    methods = {"personas": {"rows": 6}, "preferences": scripted.METHODS["preferences"] | {"rows": 4}}
    sources = [*scripted.SOURCES, {"path": "c.jsonl", "license": "mit"}]
    made = {"generations": {"model": MODEL, "methods": methods}, "embeddings": {"model": None}}
    say(folder, **scripted.recipe(sources=sources, **made))
    with ModelServer(scripted.script) as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", served.url)
        patch.setenv("OPENAI_API_KEY", "sk-canary-of-the-tests")
        build(folder, *UP_TO_AUGMENTED)
        yield folder.root


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Folder:
    shutil.copytree(finished, tmp_path / "data", symlinks=True)
    return Folder.at(tmp_path / "data")


def row(folder: Folder, answer: str, table: str = "combined") -> tuple[UUID, UUID]:
    """Id and content of the row with this answer."""
    ((row_id, content),) = rows(folder, f"SELECT row_id, content_hash FROM {table} WHERE messages[-1].content = ?", [answer])
    return row_id, content


def decide(
    folder: Folder, about: tuple[UUID, UUID], state: State, decision: Verdict, answer: str | None = None, **more: Any
) -> Decision:
    made = reviews.decided(*about, state, decision, "so it is", "ann", answer, **more)
    reviews.append(folder, [made])
    return made


def compare(folder: Folder, a: str, b: str, decision: Verdict) -> Decision:
    """A comparison of the rows with these answers."""
    other, content = row(folder, b)
    return decide(folder, row(folder, a), "augmented", decision, other=other, other_hash=content)


def generated(folder: Folder, method: str = "personas", reason: str = "reason IS NULL") -> list[tuple[UUID, UUID, Any, Any]]:
    """Rows that a method made, with what they say: id, content, messages, rejected."""
    sql = f"SELECT row_id, content_hash, messages, rejected FROM generations WHERE method = ? AND {reason} ORDER BY row_id"
    return rows(folder, sql, [method])


def said(folder: Folder, row_id: UUID, table: str = "augmented") -> tuple[str, str | None]:
    """What is chosen and rejected in a row; nothing where it is not there."""
    sql = f"SELECT messages[-1].content, rejected[-1].content FROM {table} WHERE row_id = ?"
    return (rows(folder, sql, [row_id]) or [("", None)])[0]


def fell(folder: Folder, row_id: UUID) -> tuple[str, Any]:
    found = rows(folder, "SELECT reason, evidence FROM dropped WHERE state = 'augmented' AND row_id = ?", [row_id])
    return (found[0][0], json.loads(found[0][1])) if found else ("", {})


def pairs(folder: Folder, table: str = "augmented") -> set[tuple[str, str]]:
    """Chosen and rejected answers of the pairs that people made."""
    sql = f"SELECT messages[-1].content, rejected[-1].content FROM {table} WHERE source = 'generated:people'"
    return set(rows(folder, sql))


def report_of(folder: Folder, asset: str = "augmented") -> Any:
    with Warehouse(folder.database).reading() as con:
        return {version.asset: version for version in read_versions(con)}[asset].report


def life(folder: Folder, row_id: UUID) -> Life:
    (one,) = explain(Warehouse(folder.database), str(row_id), STATES, reviews.read(folder))
    return one


def edits(folder: Folder, row_id: UUID) -> list[str]:
    return [what for (what,) in rows(folder, "SELECT what FROM edits WHERE row_id = ? ORDER BY 1", [row_id])]


# ------------------------------------------------------------------------------------------------- pairs of the sources

LOST, WON = "That one, which is on the left.", "This one, for it is green."


@pytest.fixture
def two(tmp_path: Path) -> Folder:
    """A source with one pair, combined."""
    folder = verbs.init(tmp_path / "two")
    say(folder, **NO_MODELS, raw={"max_quarantined": 100})
    put(folder, "p.jsonl", [{"prompt": "Which?", "chosen": WON, "rejected": LOST}])
    build(folder, raw, combined)
    return folder


def pair_of(folder: Folder) -> tuple[str, str]:
    ((chosen, rejected),) = rows(folder, "SELECT messages[-1].content, rejected[-1].content FROM combined")
    return chosen, rejected


def the_pair(folder: Folder) -> tuple[UUID, UUID]:
    (found,) = rows(folder, "SELECT row_id, content_hash FROM combined")
    return found


def test_a_pair_whose_losing_answer_people_prefer_is_swapped_and_says_who_did_it(two: Folder) -> None:
    row_id, before = the_pair(two)
    decide(two, (row_id, before), "combined", "prefer_b")
    *_, version = build(two, raw, combined, deduped)
    assert pair_of(two) == (LOST, WON)
    assert rows(two, "SELECT messages[1].content, len(messages), len(rejected) FROM deduped") == [("Which?", 2, 1)]
    assert the_pair(two)[1] != before == rows(two, "SELECT content_hash FROM reviewed")[0][0]
    ((what, told),) = rows(two, "SELECT what, before FROM edits WHERE row_id = ?", [row_id])
    assert what == "reviewed_swap" and json.loads(told)["reviewer"] == "ann" and json.loads(told)["why"] == "so it is"
    assert rows(two, "SELECT content_hash FROM deduped") == [(the_pair(two)[1],)], "every later state sees the new content"
    assert version.report["kept"] == 1


def test_swapped_twice_a_pair_is_as_it_was(two: Folder) -> None:
    first = the_pair(two)
    for _ in range(2):
        decide(two, the_pair(two), "combined", "prefer_b")
        build(two, combined)
    assert the_pair(two) == first and pair_of(two) == (WON, LOST)
    assert report_of(two, "combined")["reviews"] == {"applied": 2, "content_changed": 0, "row_gone": 0}


def test_an_answer_that_won_by_a_swap_can_be_edited_and_an_edited_one_can_lose(two: Folder) -> None:
    decide(two, the_pair(two), "combined", "prefer_b")
    build(two, combined)
    decide(two, the_pair(two), "combined", "edit", f"Ask {EMAIL}, it is on the left.")
    build(two, combined)
    assert pair_of(two) == ("Ask <EMAIL>, it is on the left.", WON)
    decide(two, the_pair(two), "combined", "prefer_b")
    build(two, combined)
    assert pair_of(two) == (WON, "Ask <EMAIL>, it is on the left.")
    assert edits(two, the_pair(two)[0]) == ["masked_email", "reviewed_edit", "reviewed_swap", "reviewed_swap"]


CALL = {"type": "function", "id": "1", "function": {"name": "clock", "arguments": "{}"}}
LONG = [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "12:00"},
    {"role": "assistant", "content": "It is noon."},
]
LATE = [{**LONG[0], "content": "Let me look."}, LONG[1], {"role": "assistant", "content": "It is late."}]
SHORT = [{"role": "assistant", "content": "No idea."}]


@pytest.mark.parametrize(("chosen", "applied"), [(LATE, 1), (SHORT, 0)])
def test_answers_of_several_turns_are_swapped_whole_unless_nobody_could_tell_them_apart_then(
    tmp_path: Path, chosen: list[Any], applied: int
) -> None:
    folder = verbs.init(tmp_path / "tools")
    say(folder, **NO_MODELS, raw={"max_quarantined": 100})
    put(folder, "p.jsonl", [{"prompt": "What time is it?", "chosen": chosen, "rejected": LONG}])
    build(folder, raw, combined)
    first = the_pair(folder)
    decide(folder, first, "combined", "prefer_b")
    (version,) = build(folder, combined)
    assert version.report["reviews"]["applied"] == applied
    says = "SELECT [m.content FOR m IN messages[2:]], [m.content FOR m IN rejected] FROM combined"
    now = [[turn["content"] for turn in turns] for turns in ((LONG, chosen) if applied else (chosen, LONG))]
    assert rows(folder, says) == [tuple(now)]
    assert (the_pair(folder) == first) == (not applied)


def test_a_row_that_is_no_pair_cannot_be_swapped(folder: Folder) -> None:
    decide(folder, row(folder, ANSWERS[0]), "combined", "prefer_b")
    (version,) = build(folder, combined)
    assert version.report["reviews"] == {"applied": 0, "content_changed": 1, "row_gone": 0}
    assert "does not hold" in life(folder, row(folder, ANSWERS[0])[0]).unapplied[0]


def test_what_is_decided_of_a_source_pair_makes_only_combined_stale_and_of_two_rows_only_augmented(folder: Folder) -> None:
    before = {name: input_version(folder, name) for name in ("combined_reviews", "augmented_reviews", "scored_reviews")}
    decide(folder, row(folder, f"{scripted.GOOD} {PAIR[1]}"), "combined", "prefer_b")
    after = {name: input_version(folder, name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["combined_reviews"]
    compare(folder, ANSWERS[0], ANSWERS[1], "tie")
    last = {name: input_version(folder, name) for name in before}
    assert [name for name in before if after[name] != last[name]] == ["augmented_reviews"]


# --------------------------------------------------------------------------------------------------- pairs of two rows


def test_of_two_rows_that_people_compared_there_is_a_pair_with_its_parents_and_who_made_it(folder: Folder) -> None:
    a, b = row(folder, ANSWERS[0]), row(folder, ANSWERS[1])
    made = compare(folder, ANSWERS[0], ANSWERS[1], "prefer_b")
    (version,) = build(folder, augmented)
    found = rows(folder, """
        SELECT messages, rejected, kind, origin, generated_method, generated_parents, license, verdict, generated_by,
            style_length, row_id
        FROM augmented WHERE source = 'generated:people'
    """)  # fmt: skip
    ((turns, rejected, kind, origin, method, parents, license, verdict, by, length, row_id),) = found
    assert [turn["content"] for turn in turns] == [ASKED, ANSWERS[1]]
    assert [turn["content"] for turn in rejected] == [ANSWERS[0]]
    assert (kind, origin, method, license, verdict) == ("preference", "generated", "people", "mit", "keep")
    assert parents == [b[0], a[0]], "the preferred one first"
    told = json.loads(by)
    assert (told["reviewer"], told["time"], told["why"]) == ("ann", made.at, "so it is")
    assert rows(folder, "SELECT style_length FROM clustered WHERE row_id = ?", [b[0]]) == [(length,)]
    said = version.report
    assert said["in"] + said["created"] == said["kept"] + sum(said["dropped"].values())
    assert said["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}
    assert said["comparisons"] == {"pairs": 1, "ties": 0, "without_pair": {}}
    told_life = life(folder, row_id)
    assert "ann" in told_life.steps[0].evidence["reviewer"] and {p.row_id for p in told_life.parents} == {str(a[0]), str(b[0])}
    assert any("preferred" in step.reviewed for step in life(folder, a[0]).steps)
    assert any("preferred" in step.reviewed for step in life(folder, b[0]).steps), "the other row knows of it too"


def test_a_row_may_be_compared_with_several_others(folder: Folder) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    compare(folder, ANSWERS[0], ANSWERS[2], "prefer_b")
    compare(folder, ANSWERS[1], ANSWERS[2], "tie")
    (version,) = build(folder, augmented)
    assert pairs(folder) == {(ANSWERS[0], ANSWERS[1]), (ANSWERS[2], ANSWERS[0])}
    assert version.report["reviews"]["applied"] == 3
    assert version.report["comparisons"] == {"pairs": 2, "ties": 1, "without_pair": {}}


def test_of_two_who_disagree_in_different_queues_the_last_counts_whichever_row_was_the_first(folder: Folder) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    compare(folder, ANSWERS[1], ANSWERS[0], "prefer_a")
    (version,) = build(folder, augmented)
    assert pairs(folder) == {(ANSWERS[1], ANSWERS[0])}
    assert version.report["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}
    assert list(version.report["comparisons"]["without_pair"].values()) == ["decided_again"]


def rated(folder: Folder) -> UUID:
    """The pair that preferences made of the two answers of one prompt."""
    ((row_id,),) = rows(folder, "SELECT row_id FROM generations WHERE len(parents) = 2 AND reason IS NULL")
    return row_id


@pytest.mark.parametrize("decision", ["prefer_a", "prefer_b", "tie"])
def test_what_people_say_of_two_rows_takes_the_place_of_the_pair_that_a_model_rated(folder: Folder, decision: Verdict) -> None:
    assert said(folder, rated(folder)) != ("", None)
    _, one, other = RIGA
    compare(folder, one, other, decision)
    build(folder, augmented)
    reason, evidence = fell(folder, rated(folder))
    assert (reason, evidence["gate"], evidence["reviewer"]) == ("reviewed", "people", "ann")
    expected = {"prefer_a": {(one, other)}, "prefer_b": {(other, one)}, "tie": set[tuple[str, str]]()}
    assert pairs(folder) == expected[decision]
    if decision != "tie":
        licenses = rows(folder, "SELECT license FROM augmented WHERE source = 'generated:people'")
        assert licenses == [("apache-2.0 AND mit",)]


def test_a_rated_pair_that_people_keep_stays_and_is_there_once(folder: Folder) -> None:
    pair = rated(folder)
    chosen, rejected = said(folder, pair)
    decide(
        folder, rows(folder, "SELECT row_id, content_hash FROM generations WHERE row_id = ?", [pair])[0], "augmented", "keep"
    )
    compare(folder, chosen, str(rejected), "prefer_a")
    build(folder, augmented)
    assert said(folder, pair) == (chosen, rejected) and pairs(folder) == set()
    assert rows(folder, "SELECT count(*) FROM augmented WHERE messages[-1].content = ? AND kind = 'preference'", [chosen]) == [
        (1,)
    ]


def test_what_answers_no_common_prompt_makes_no_pair_and_explain_says_why(folder: Folder) -> None:
    compare(folder, ANSWERS[0], RIGA[1], "prefer_a")
    (version,) = build(folder, augmented)
    assert pairs(folder) == set()
    assert version.report["reviews"] == {"applied": 0, "content_changed": 0, "row_gone": 0}
    assert list(version.report["comparisons"]["without_pair"].values()) == ["other_prompt"]
    (told,) = life(folder, row(folder, ANSWERS[0])[0]).unapplied
    assert "other prompt" in told


def test_a_comparison_holds_for_the_contents_that_people_saw(folder: Folder) -> None:
    a, b = row(folder, ANSWERS[0]), row(folder, ANSWERS[1])
    reviews.append(folder, [
        reviews.decided(*a, "augmented", "prefer_a", "so it is", "ann", other=b[0], other_hash=a[1]),
        reviews.decided(*a, "augmented", "prefer_a", "so it is", "ann", other=UUID(int=1), other_hash=b[1]),
    ])  # fmt: skip
    (version,) = build(folder, augmented)
    assert pairs(folder) == set()
    assert version.report["reviews"] == {"applied": 0, "content_changed": 1, "row_gone": 1}
    assert all("does not hold" in told for told in life(folder, a[0]).unapplied)


def test_a_pair_that_people_made_can_be_dropped_or_mended_by_people(folder: Folder) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    build(folder, augmented)
    ((row_id, content),) = rows(folder, "SELECT row_id, content_hash FROM augmented WHERE source = 'generated:people'")
    decide(folder, (row_id, content), "augmented", "edit", f"{ANSWERS[0]} Nobody else does.")
    build(folder, augmented)
    assert pairs(folder) == {(f"{ANSWERS[0]} Nobody else does.", ANSWERS[1])}
    decide(folder, (row_id, content), "augmented", "drop")
    (version,) = build(folder, augmented)
    assert pairs(folder) == set() and fell(folder, row_id)[0] == "reviewed"
    assert version.report["created"] == len(rows(folder, "SELECT 1 FROM generations")) + 1


# ------------------------------------------------------------------------------------------------------- generated rows


def test_an_edited_generated_row_says_what_people_wrote_masked_and_logged(folder: Folder) -> None:
    row_id, content, turns, _ = generated(folder)[0]
    decide(folder, (row_id, content), "augmented", "edit", f"{prose('by hand')} Write to {EMAIL}.")
    (version,) = build(folder, augmented)
    assert said(folder, row_id)[0] == f"{prose('by hand')} Write to <EMAIL>."
    ((now, scores, length),) = rows(
        folder, "SELECT content_hash, judge_scores, style_length FROM augmented WHERE row_id = ?", [row_id]
    )
    assert now != content and (scores, length) == ({}, None), "scores were of the text before"
    logged = dict(rows(folder, "SELECT what, before FROM edits WHERE row_id = ? AND state = 'augmented'", [row_id]))
    assert json.loads(logged["reviewed_edit"])["was"] == turns[-1]["content"] and "masked_email" in logged
    assert version.report["reviews"] == {"applied": 1, "content_changed": 0, "row_gone": 0}
    assert rows(folder, "SELECT count(*) FROM store.contents AS t WHERE to_json(t)::VARCHAR LIKE ?", [f"%{EMAIL}%"]) == [(0,)]
    told = life(folder, row_id)
    assert told.messages and told.messages[-1].content == said(folder, row_id)[0]
    assert any("answer edited by ann" in step.reviewed for step in told.steps)


def test_an_edited_row_passes_the_gates_again_and_what_falls_says_that_people_wrote_it(folder: Folder) -> None:
    first, second, third, fourth = generated(folder)[:4]
    texts = {first[0]: REFUSAL, second[0]: scripted.ITEMS[1] + " " + scripted.ITEMS[2]}
    for made in (first, second):
        decide(folder, made[:2], "augmented", "edit", texts[made[0]])
    decide(folder, third[:2], "augmented", "edit", third[2][-1]["content"] + " Indeed.")
    build(folder, augmented)
    for made, reason, gate in ((first, "refusal", "rules"), (second, "benchmark_item", "benchmarks")):
        why, evidence = fell(folder, made[0])
        assert (why, evidence["gate"], evidence["edited_by"]) == (reason, gate, "ann")
        assert said(folder, made[0]) == ("", None)
    assert said(folder, third[0])[0].endswith(" Indeed.") and said(folder, fourth[0])[0] == fourth[2][-1]["content"]
    told = life(folder, first[0])
    assert told.steps[-1].verdict == "dropped" and "answer edited by ann" in told.steps[-1].reviewed
    assert told.messages and told.messages[-1].content == REFUSAL, "what fell is what people wrote"


def test_an_edited_row_that_a_gate_drops_is_there_once_people_keep_it_as_they_wrote_it(folder: Folder) -> None:
    made = generated(folder)[0]
    edited = decide(folder, made[:2], "augmented", "edit", REFUSAL)
    build(folder, augmented)
    assert said(folder, made[0]) == ("", None)
    ((now,),) = rows(folder, "SELECT content_hash FROM store.contents WHERE messages[-1].content = ?", [REFUSAL])
    decide(folder, (edited.row_id, now), "augmented", "keep")
    build(folder, augmented)
    assert said(folder, made[0])[0] == REFUSAL


def test_an_edited_row_that_says_what_another_one_does_is_a_duplicate_but_goes_before_what_a_model_wrote(
    folder: Folder,
) -> None:
    first, second, third = generated(folder)[:3]
    say(folder, **json.loads(folder.recipe.read_text()) | {"deduped": {"compare": "answer"}})
    decide(folder, first[:2], "augmented", "edit", f"{second[2][-1]['content']} Indeed.")
    decide(folder, third[:2], "augmented", "edit", f"{ANSWERS[0]} Indeed.")
    build(folder, augmented)
    reason, evidence = fell(folder, second[0])
    assert (reason, evidence["gate"], evidence["of"]) == ("near_duplicate", "one_another", str(first[0]))
    assert said(folder, first[0])[0].endswith(" Indeed.")
    reason, evidence = fell(folder, third[0])
    assert (reason, evidence["gate"], evidence["edited_by"]) == ("near_duplicate", "near_duplicates", "ann")
    assert evidence["of"] == str(row(folder, ANSWERS[0])[0])


def test_a_pair_that_a_model_made_is_swapped_and_one_of_equal_answers_is_none(folder: Folder) -> None:
    made, other = generated(folder, "preferences", "reason IS NULL AND len(parents) = 1")[:2]
    chosen, rejected = made[2][-1]["content"], made[3][-1]["content"]
    decide(folder, made[:2], "augmented", "prefer_b")
    decide(folder, other[:2], "augmented", "edit", other[3][-1]["content"])
    build(folder, augmented)
    assert said(folder, made[0]) == (rejected, chosen) and "reviewed_swap" in edits(folder, made[0])
    reason, evidence = fell(folder, other[0])
    assert (reason, evidence["gate"], evidence["edited_by"]) == ("identical_pair", "validation", "ann")


def test_a_row_that_is_edited_and_edited_back_is_what_the_model_gave(folder: Folder) -> None:
    before = rows(folder, "SELECT * FROM augmented ORDER BY row_id")
    row_id, content, turns, _ = generated(folder)[0]
    decide(folder, (row_id, content), "augmented", "edit", prose("by hand"))
    build(folder, augmented)
    ((now,),) = rows(folder, "SELECT content_hash FROM augmented WHERE row_id = ?", [row_id])
    decide(folder, (row_id, now), "augmented", "edit", turns[-1]["content"])
    (version,) = build(folder, augmented)
    assert rows(folder, "SELECT * FROM augmented ORDER BY row_id") == before
    assert version.report["reviews"] == {"applied": 2, "content_changed": 0, "row_gone": 0}


# ------------------------------------------------------------------------------------------------------------ the whole


def everything(folder: Folder) -> None:
    """A decision of each kind."""
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_b")
    compare(folder, ANSWERS[0], ANSWERS[2], "prefer_a")
    compare(folder, RIGA[1], RIGA[2], "tie")
    one, two, *_ = generated(folder)
    decide(folder, one[:2], "augmented", "edit", prose("by hand"))
    decide(folder, two[:2], "augmented", "edit", REFUSAL)
    pair = generated(folder, "preferences", "reason IS NULL AND len(parents) = 1")[0]
    decide(folder, pair[:2], "augmented", "prefer_b")


def test_a_gate_that_is_passed_by_breaks_the_law(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(folder, generated(folder)[0][:2], "augmented", "edit", REFUSAL)
    monkeypatch.setattr(augmented_module, "_verdict", lambda row, thresholds, comparisons, people: (None, []))
    with pytest.raises(LawBroken, match="every_gate_passed"):
        build(folder, augmented)


def test_a_pair_of_other_texts_than_those_of_its_rows_breaks_the_law(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    monkeypatch.setattr(Pair, "losing", property(lambda pair: [pair.rejected.answer._replace(content="Another answer.")]))
    with pytest.raises(LawBroken, match="pairs_of_two_rows"):
        build(folder, augmented)


def test_who_selects_rows_decides_about_the_text_that_people_gave_them_and_about_pairs(folder: Folder) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    edited = generated(folder)[0]
    decide(folder, edited[:2], "augmented", "edit", prose("by hand"))
    build(folder, augmented)
    ((pair,),) = rows(folder, "SELECT row_id FROM augmented WHERE source = 'generated:people'")
    for row_id, decision in ((edited[0], "keep"), (pair, "drop")):
        house = Warehouse(folder.database)
        select(house, folder, STATES, "rows.txt", str(row_id), decision, "so it is", "bob")  # type: ignore[arg-type]
    build(folder, augmented)
    assert said(folder, edited[0])[0] == prose("by hand")
    assert pairs(folder) == set() and fell(folder, pair)[1]["reviewer"] == "bob"


def test_what_if_shows_it_without_storing_anything(folder: Folder) -> None:
    everything(folder)
    before = rows(folder, "SELECT * FROM augmented ORDER BY row_id")
    result = what_if(augmented, folder, Recipe.load(folder.recipe))
    now, then = result.counts["kept"]
    assert then - now == 2 - 2 and result.changed == 2  # two pairs come; a tie and a refusal go
    assert rows(folder, "SELECT * FROM augmented ORDER BY row_id") == before
    build(folder, augmented)
    assert report_of(folder)["kept"] == then


def test_made_again_every_table_is_the_same(folder: Folder, finished: Path, tmp_path: Path) -> None:
    everything(folder)
    shutil.copytree(finished, tmp_path / "other", symlinks=True)
    other = Folder.at(tmp_path / "other")
    shutil.copy(folder.reviews, other.reviews)
    (first,) = build(folder, augmented)
    (again,) = build(folder, augmented, again=True)
    (elsewhere,) = build(other, augmented)
    assert first.data_version == again.data_version == elsewhere.data_version


def test_pairs_are_exported_beside_their_parents_and_stand_in_the_report(folder: Folder) -> None:
    everything(folder)
    build(folder, augmented, exported)
    sides = dict(rows(folder, "SELECT row_id, split FROM exported"))
    ties = rows(folder, "SELECT row_id, generated_parents FROM augmented WHERE source = 'generated:people'")
    assert len(ties) == 2
    assert all(sides[row_id] == sides[parent] for row_id, parents in ties for parent in parents)
    path = folder.exports / "latest"
    written = [pair for file in sorted(path.rglob("preference/**/*.parquet")) for pair in pq.read_table(file).to_pylist()]
    texts = {(pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]) for pair in written}
    assert {(ANSWERS[1], ANSWERS[0]), (ANSWERS[0], ANSWERS[2])} <= texts
    build(folder, asset_named("map"), report)
    figures = dict(rows(folder, "SELECT item, sum(value) FROM report WHERE section = 'splits' GROUP BY 1"))
    assert figures["preference"] == len(written)
    assert rows(folder, "SELECT count(*) FROM report WHERE item IS NULL OR item = 'None'") == [(0,)]


def test_gc_takes_nothing_that_people_wrote_or_made(folder: Folder) -> None:
    everything(folder)
    build(folder, augmented)
    before = rows(folder, "SELECT * FROM augmented ORDER BY row_id")
    garbage, _ = collect(folder, Recipe.load(folder.recipe), Options(keep=1))
    assert any(item.number for item in garbage.items), "what was there before goes"
    assert rows(folder, "SELECT * FROM augmented ORDER BY row_id") == before
