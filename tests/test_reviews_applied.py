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
from sft_assets.warehouse import Version, Warehouse
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
BY_HAND = f"{prose('by hand')} Write to <EMAIL>."


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


def copied(root: Path, to: Path) -> Folder:
    shutil.copytree(root, to / "data", symlinks=True)
    return Folder.at(to / "data")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Folder:
    return copied(finished, tmp_path)


@pytest.fixture(scope="module")
def decided(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Decisions of each kind, applied. To be read only."""
    folder = copied(finished, tmp_path_factory.mktemp("decided"))
    everything(folder)
    build(folder, augmented)
    return folder


@pytest.fixture(scope="module")
def later(decided: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What people decided about what came of `decided`, applied. To be read only."""
    folder = copied(decided.root, tmp_path_factory.mktemp("later"))
    written, refused, _, mended, *_ = generated(folder)
    decide(folder, (written[0], row(folder, BY_HAND, "augmented")[1]), "augmented", "edit", written[2][-1]["content"])
    decide(folder, (refused[0], stored(folder, REFUSAL)), "augmented", "keep")
    decide(folder, the_pair_of(folder, ANSWERS[0])[:2], "augmented", "edit", f"{ANSWERS[0]} Nobody else does.")
    for row_id, decision in ((mended[0], "keep"), (the_pair_of(folder, ANSWERS[1])[0], "drop")):
        house = Warehouse(folder.database)
        select(house, folder, STATES, "rows.txt", str(row_id), decision, "so it is", "bob")  # type: ignore[arg-type]
    build(folder, augmented)
    return folder


def everything(folder: Folder) -> None:
    """Comparisons that make a pair, or none, and that do not hold; generated rows that people wrote anew, and pairs."""
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_b")
    compare(folder, ANSWERS[0], ANSWERS[2], "prefer_a")
    compare(folder, ANSWERS[1], ANSWERS[2], "prefer_a")
    compare(folder, ANSWERS[2], ANSWERS[1], "prefer_a")
    compare(folder, RIGA[1], RIGA[2], "tie")
    compare(folder, ANSWERS[0], RIGA[1], "prefer_a")
    a, b = row(folder, ANSWERS[1]), row(folder, ANSWERS[0])
    decide(folder, a, "augmented", "prefer_a", other=b[0], other_hash=a[1])
    decide(folder, a, "augmented", "prefer_a", other=UUID(int=1), other_hash=b[1])
    written, refused, leaked, mended, *_ = generated(folder)
    decide(folder, written[:2], "augmented", "edit", f"{prose('by hand')} Write to {EMAIL}.")
    decide(folder, refused[:2], "augmented", "edit", REFUSAL)
    decide(folder, leaked[:2], "augmented", "edit", scripted.ITEMS[1] + " " + scripted.ITEMS[2])
    decide(folder, mended[:2], "augmented", "edit", mended[2][-1]["content"] + " Indeed.")
    swapped, equal = generated(folder, "preferences", "reason IS NULL AND len(parents) = 1")
    decide(folder, swapped[:2], "augmented", "prefer_b")
    decide(folder, equal[:2], "augmented", "edit", equal[3][-1]["content"])


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


def the_pair_of(folder: Folder, chosen: str) -> tuple[UUID, UUID, list[UUID]]:
    """The pair that people made in which this answer is chosen: id, content, parents."""
    sql = """
        SELECT row_id, content_hash, generated_parents FROM augmented
        WHERE source = 'generated:people' AND messages[-1].content = ?
    """
    (found,) = rows(folder, sql, [chosen])
    return found


def stored(folder: Folder, answer: str) -> UUID:
    """The hash of the content that has this answer."""
    ((content,),) = rows(folder, "SELECT content_hash FROM store.contents WHERE messages[-1].content = ?", [answer])
    return content


def version_of(folder: Folder, asset: str = "augmented") -> Version:
    with Warehouse(folder.database).reading() as con:
        return {version.asset: version for version in read_versions(con)}[asset]


def report_of(folder: Folder, asset: str = "augmented") -> Any:
    return version_of(folder, asset).report


def life(folder: Folder, row_id: UUID) -> Life:
    (one,) = explain(Warehouse(folder.database), str(row_id), STATES, reviews.read(folder))
    return one


def edits(folder: Folder, row_id: UUID) -> list[str]:
    return [what for (what,) in rows(folder, "SELECT what FROM edits WHERE row_id = ? ORDER BY 1", [row_id])]


# ------------------------------------------------------------------------------------------------- pairs of the sources

WHICH, TIME, WHEN = "Which?", "What time is it?", "When is it?"  # of the last one nobody could tell the answers apart, swapped
LOST, WON = "That one, which is on the left.", "This one, for it is green."
CALL = {"type": "function", "id": "1", "function": {"name": "clock", "arguments": "{}"}}
LONG = [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "12:00"},
    {"role": "assistant", "content": "It is noon."},
]
LATE = [{**LONG[0], "content": "Let me look."}, LONG[1], {"role": "assistant", "content": "It is late."}]
SHORT = [{"role": "assistant", "content": "No idea."}]


@pytest.fixture(scope="module")
def as_read(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Three pairs and a row that is none, combined. To be read only."""
    folder = verbs.init(tmp_path_factory.mktemp("as_read") / "data")
    say(folder, **NO_MODELS, raw={"max_quarantined": 100})
    asked = ((WHICH, WON, LOST), (TIME, LATE, LONG), (WHEN, SHORT, LONG))
    put(folder, "p.jsonl", [{"prompt": prompt, "chosen": won, "rejected": lost} for prompt, won, lost in asked])
    put(folder, "s.jsonl", [{"instruction": ASKED, "output": ANSWERS[0]}])
    build(folder, raw, combined)
    return folder


@pytest.fixture(scope="module")
def swapped(as_read: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The same, once people prefer the losing answer of each row. To be read only."""
    folder = copied(as_read.root, tmp_path_factory.mktemp("swapped"))
    for prompt in (WHICH, TIME, WHEN, ASKED):
        decide(folder, asking(folder, prompt), "combined", "prefer_b")
    build(folder, combined, deduped)
    return folder


@pytest.fixture
def again(swapped: Folder, tmp_path: Path) -> Folder:
    return copied(swapped.root, tmp_path)


def asking(folder: Folder, prompt: str = WHICH) -> tuple[UUID, UUID]:
    """Id and content of the row with this prompt."""
    sql = "SELECT row_id, content_hash FROM combined WHERE list_filter(messages, lambda m: m.role = 'user')[1].content = ?"
    (found,) = rows(folder, sql, [prompt])
    return found


def answers(folder: Folder, prompt: str = WHICH, table: str = "combined") -> tuple[list[str], list[str]]:
    """What the chosen and the rejected turns of a pair say."""
    sql = f"""
        SELECT list_filter(messages, lambda m: m.role NOT IN ('user', 'system')), rejected FROM {table} WHERE row_id = ?
    """
    ((chosen, rejected),) = rows(folder, sql, [asking(folder, prompt)[0]])
    return [turn["content"] for turn in chosen], [turn["content"] for turn in rejected]


def test_a_pair_whose_losing_answer_people_prefer_is_swapped_and_says_who_did_it(as_read: Folder, swapped: Folder) -> None:
    row_id, before = asking(as_read)
    now = asking(swapped)[1]
    assert now != before and asking(swapped)[0] == row_id
    assert answers(swapped) == answers(swapped, table="deduped") == ([LOST], [WON])
    assert rows(swapped, "SELECT content_hash FROM reviewed WHERE row_id = ?", [row_id]) == [(before,)]
    ((what, told),) = rows(swapped, "SELECT what, before FROM edits WHERE row_id = ?", [row_id])
    assert what == "reviewed_swap" and json.loads(told)["reviewer"] == "ann" and json.loads(told)["why"] == "so it is"
    seen = rows(swapped, "SELECT content_hash FROM deduped WHERE row_id = ?", [row_id])
    assert seen == [(now,)], "every later state sees the new content"


def test_swapped_twice_a_pair_is_as_it_was(as_read: Folder, again: Folder) -> None:
    decide(again, asking(again), "combined", "prefer_b")
    build(again, combined)
    assert asking(again) == asking(as_read) and answers(again) == ([WON], [LOST])
    assert report_of(again, "combined")["reviews"]["applied"] == 2 + 1


def test_an_answer_that_won_by_a_swap_can_be_edited_and_an_edited_one_can_lose(again: Folder) -> None:
    decide(again, asking(again), "combined", "edit", f"Ask {EMAIL}, it is on the left.")
    build(again, combined)
    assert answers(again) == (["Ask <EMAIL>, it is on the left."], [WON])
    decide(again, asking(again), "combined", "prefer_b")
    build(again, combined)
    assert answers(again) == ([WON], ["Ask <EMAIL>, it is on the left."])
    assert edits(again, asking(again)[0]) == ["masked_email", "reviewed_edit", "reviewed_swap", "reviewed_swap"]


@pytest.mark.parametrize(("prompt", "chosen", "applied"), [(TIME, LATE, True), (WHEN, SHORT, False)])
def test_answers_of_several_turns_are_swapped_whole_unless_nobody_could_tell_them_apart_then(
    as_read: Folder, swapped: Folder, prompt: str, chosen: list[Any], applied: bool
) -> None:
    now = [[turn["content"] for turn in turns] for turns in ((LONG, chosen) if applied else (chosen, LONG))]
    assert answers(swapped, prompt) == tuple(now)
    assert (asking(swapped, prompt) == asking(as_read, prompt)) == (not applied)


def test_a_row_that_is_no_pair_cannot_be_swapped(swapped: Folder) -> None:
    assert report_of(swapped, "combined")["reviews"] == {"applied": 2, "content_changed": 2, "row_gone": 0}
    assert "does not hold" in life(swapped, asking(swapped, ASKED)[0]).unapplied[0]


def test_what_is_decided_of_a_source_pair_makes_only_combined_stale_and_of_two_rows_only_augmented(folder: Folder) -> None:
    before = {name: input_version(folder, name) for name in ("combined_reviews", "augmented_reviews", "scored_reviews")}
    decide(folder, row(folder, f"{scripted.GOOD} {PAIR[1]}"), "combined", "prefer_b")
    after = {name: input_version(folder, name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["combined_reviews"]
    compare(folder, ANSWERS[0], ANSWERS[1], "tie")
    last = {name: input_version(folder, name) for name in before}
    assert [name for name in before if after[name] != last[name]] == ["augmented_reviews"]


# --------------------------------------------------------------------------------------------------- pairs of two rows


def test_of_two_rows_that_people_compared_there_is_a_pair_with_its_parents_and_who_made_it(decided: Folder) -> None:
    a, b = row(decided, ANSWERS[0], "clustered"), row(decided, ANSWERS[1], "clustered")
    made = reviews.read(decided).log[0]
    found = rows(decided, """
        SELECT messages, rejected, kind, origin, generated_method, generated_parents, license, verdict, generated_by,
            style_length, row_id
        FROM augmented WHERE source = 'generated:people' AND messages[-1].content = ?
    """, [ANSWERS[1]])  # fmt: skip
    ((turns, rejected, kind, origin, method, parents, license, verdict, by, length, row_id),) = found
    assert [turn["content"] for turn in turns] == [ASKED, ANSWERS[1]]
    assert [turn["content"] for turn in rejected] == [ANSWERS[0]]
    assert (kind, origin, method, license, verdict) == ("preference", "generated", "people", "mit", "keep")
    assert parents == [b[0], a[0]], "the preferred one first"
    told = json.loads(by)
    assert (told["reviewer"], told["time"], told["why"]) == ("ann", made.at, "so it is")
    assert rows(decided, "SELECT style_length FROM clustered WHERE row_id = ?", [b[0]]) == [(length,)]
    told_life = life(decided, row_id)
    assert "ann" in told_life.steps[0].evidence["reviewer"] and {p.row_id for p in told_life.parents} == {str(a[0]), str(b[0])}
    assert any("preferred" in step.reviewed for step in life(decided, a[0]).steps)
    assert any("preferred" in step.reviewed for step in life(decided, b[0]).steps), "the other row knows of it too"


def test_a_row_may_be_compared_with_several_others_and_of_two_who_disagree_the_last_counts(decided: Folder) -> None:
    """In different queues, that is, or in none; whichever row was the first."""
    assert pairs(decided) == {(ANSWERS[1], ANSWERS[0]), (ANSWERS[0], ANSWERS[2]), (ANSWERS[2], ANSWERS[1])}
    said = report_of(decided)
    assert said["in"] + said["created"] == said["kept"] + sum(said["dropped"].values())
    told = said["comparisons"]
    assert (told["pairs"], told["ties"]) == (3, 1)
    again = f"{row(decided, ANSWERS[1], 'clustered')[0]} {row(decided, ANSWERS[2], 'clustered')[0]}"
    assert told["without_pair"].pop(again) == "decided_again"
    assert list(told["without_pair"].values()) == ["other_prompt"]
    # the edits, the swap, three pairs and a tie
    assert said["reviews"] == {"applied": 10, "content_changed": 1, "row_gone": 1}


def test_a_licence_that_changed_is_the_pair_s_too(folder: Folder) -> None:
    compare(folder, ANSWERS[0], ANSWERS[1], "prefer_a")
    recipe = json.loads(folder.recipe.read_text())
    say(folder, **recipe | {"sources": [*scripted.SOURCES, {"path": "c.jsonl", "license": "apache-2.0"}]})
    build(folder, augmented, combined, deduped, augmented)
    assert rows(folder, "SELECT license FROM augmented WHERE source = 'generated:people'") == [("apache-2.0",)]


def rated(folder: Folder) -> UUID:
    """The pair that preferences made of the two answers of one prompt."""
    ((row_id,),) = rows(folder, "SELECT row_id FROM generations WHERE len(parents) = 2 AND reason IS NULL")
    return row_id


def test_what_people_say_of_two_rows_takes_the_place_of_the_pair_that_a_model_rated(folder: Folder, decided: Folder) -> None:
    assert said(folder, rated(folder)) != ("", None)
    _, one, other = RIGA
    compare(folder, one, other, "prefer_b")
    build(folder, augmented)
    for there in (folder, decided):  # in the latter it is a tie
        reason, evidence = fell(there, rated(there))
        assert (reason, evidence["gate"], evidence["reviewer"]) == ("reviewed", "people", "ann")
    assert pairs(folder) == {(other, one)}
    assert not {one, other} & {chosen for chosen, _ in pairs(decided)}
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
    made = rows(folder, "SELECT row_id, evidence FROM dropped WHERE reason = 'exact_duplicate' AND state = 'augmented'")
    ((row_id, _),) = made
    decide(folder, (row_id, stored_pair(folder, pair)), "augmented", "keep")
    build(folder, augmented)
    assert pairs(folder) == {(chosen, rejected)}, "of both they said so"


def stored_pair(folder: Folder, pair: UUID) -> UUID:
    ((content,),) = rows(folder, "SELECT content_hash FROM generations WHERE row_id = ?", [pair])
    return content


def test_what_answers_no_common_prompt_makes_no_pair_and_explain_says_why(decided: Folder) -> None:
    (told,) = life(decided, row(decided, RIGA[1], "clustered")[0]).unapplied
    assert "other prompt" in told


def test_a_comparison_holds_for_the_contents_that_people_saw(decided: Folder) -> None:
    told = life(decided, row(decided, ANSWERS[1], "clustered")[0]).unapplied
    assert sum("does not hold" in one for one in told) == 2


def test_a_pair_that_people_made_can_be_dropped_or_mended_by_people(decided: Folder, later: Folder) -> None:
    row_id, _, parents = the_pair_of(decided, ANSWERS[1])
    assert pairs(later) == {(f"{ANSWERS[0]} Nobody else does.", ANSWERS[2]), (ANSWERS[2], ANSWERS[1])}
    reason, evidence = fell(later, row_id)
    assert (reason, evidence["reviewer"]) == ("reviewed", "bob")
    assert report_of(later)["created"] == len(rows(later, "SELECT 1 FROM generations")) + 3
    told = life(later, row_id)
    assert told.steps[0].evidence["reviewer"] == "ann", "she compared them, whoever dropped the pair"
    assert (told.steps[1].verdict, told.steps[1].evidence["reviewer"]) == ("dropped", "bob")
    assert [parent.row_id for parent in told.parents] == [str(parent) for parent in parents]


# ------------------------------------------------------------------------------------------------------- generated rows


def test_an_edited_generated_row_says_what_people_wrote_masked_and_logged(decided: Folder) -> None:
    row_id, content, turns, _ = generated(decided)[0]
    assert said(decided, row_id)[0] == BY_HAND
    ((now, scores, length),) = rows(
        decided, "SELECT content_hash, judge_scores, style_length FROM augmented WHERE row_id = ?", [row_id]
    )
    assert now != content and (scores, length) == ({}, None), "scores were of the text before"
    logged = dict(rows(decided, "SELECT what, before FROM edits WHERE row_id = ? AND state = 'augmented'", [row_id]))
    assert json.loads(logged["reviewed_edit"])["was"] == turns[-1]["content"] and "masked_email" in logged
    assert rows(decided, "SELECT count(*) FROM store.contents AS t WHERE to_json(t)::VARCHAR LIKE ?", [f"%{EMAIL}%"]) == [(0,)]
    told = life(decided, row_id)
    assert told.messages and told.messages[-1].content == BY_HAND
    assert any("answer edited by ann" in step.reviewed for step in told.steps)


def test_an_edited_row_passes_the_gates_again_and_what_falls_says_that_people_wrote_it(decided: Folder) -> None:
    _, first, second, third, fourth, *_ = generated(decided)
    for made, reason, gate in ((first, "refusal", "rules"), (second, "benchmark_item", "benchmarks")):
        why, evidence = fell(decided, made[0])
        assert (why, evidence["gate"], evidence["edited_by"]) == (reason, gate, "ann")
        assert said(decided, made[0]) == ("", None)
    assert said(decided, third[0])[0].endswith(" Indeed.") and said(decided, fourth[0])[0] == fourth[2][-1]["content"]
    told = life(decided, first[0])
    assert told.steps[-1].verdict == "dropped" and "answer edited by ann" in told.steps[-1].reviewed
    assert told.messages and told.messages[-1].content == REFUSAL, "what fell is what people wrote"


def test_an_edited_row_that_a_gate_drops_is_there_once_people_keep_it_as_they_wrote_it(later: Folder) -> None:
    assert said(later, generated(later)[1][0])[0] == REFUSAL


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


def test_a_pair_that_a_model_made_is_swapped_and_one_of_equal_answers_is_none(decided: Folder) -> None:
    made, other = generated(decided, "preferences", "reason IS NULL AND len(parents) = 1")
    chosen, rejected = made[2][-1]["content"], made[3][-1]["content"]
    assert said(decided, made[0]) == (rejected, chosen) and "reviewed_swap" in edits(decided, made[0])
    reason, evidence = fell(decided, other[0])
    assert (reason, evidence["gate"], evidence["edited_by"]) == ("identical_pair", "validation", "ann")


def test_a_row_that_is_edited_and_edited_back_is_what_the_model_gave(finished: Path, later: Folder) -> None:
    one = generated(later)[0][0]
    before, now = (rows(f, "SELECT * FROM augmented WHERE row_id = ?", [one]) for f in (Folder.at(finished), later))
    assert now == before
    assert sum(words.startswith("reviewed_edit") for words in edits(later, one)) == 0, "it has the text that it was given"


# ------------------------------------------------------------------------------------------------------------ the whole


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


def test_who_selects_rows_decides_about_the_text_that_people_gave_them(later: Folder) -> None:
    mended = generated(later)[3][0]
    assert said(later, mended)[0].endswith(" Indeed.")
    assert ("keep", "bob") in rows(later, "SELECT decision, reviewer FROM reviewed WHERE row_id = ?", [mended])


def test_what_if_shows_it_without_storing_anything(folder: Folder, decided: Folder) -> None:
    shutil.copy(decided.reviews, folder.reviews)
    before = rows(folder, "SELECT * FROM augmented ORDER BY row_id")
    result = what_if(augmented, folder, Recipe.load(folder.recipe))
    now, then = result.counts["kept"]
    assert then - now == 3 - 4 and result.changed == 3  # three pairs come; a tie, a refusal, an item and equal answers go
    assert rows(folder, "SELECT * FROM augmented ORDER BY row_id") == before
    assert report_of(decided)["kept"] == then


def test_made_again_every_table_is_the_same(folder: Folder, decided: Folder, tmp_path: Path) -> None:
    (again,) = build(copied(decided.root, tmp_path / "again"), augmented, again=True)
    shutil.copy(decided.reviews, folder.reviews)
    (elsewhere,) = build(folder, augmented)
    assert version_of(decided).data_version == again.data_version == elsewhere.data_version


def test_pairs_are_exported_beside_their_parents_and_stand_in_the_report(decided: Folder, tmp_path: Path) -> None:
    folder = copied(decided.root, tmp_path)
    build(folder, exported)
    sides = dict(rows(folder, "SELECT row_id, split FROM exported"))
    made = rows(folder, "SELECT row_id, generated_parents FROM augmented WHERE source = 'generated:people'")
    assert len(made) == 3
    assert all(sides[row_id] == sides[parent] for row_id, parents in made for parent in parents)
    path = folder.exports / "latest"
    written = [pair for file in sorted(path.rglob("preference/**/*.parquet")) for pair in pq.read_table(file).to_pylist()]
    texts = {(pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]) for pair in written}
    assert {(ANSWERS[1], ANSWERS[0]), (ANSWERS[0], ANSWERS[2])} <= texts
    build(folder, asset_named("map"), report)
    figures = dict(rows(folder, "SELECT item, sum(value) FROM report WHERE section = 'splits' GROUP BY 1"))
    assert figures["preference"] == len(written)
    assert rows(folder, "SELECT count(*) FROM report WHERE item IS NULL OR item = 'None'") == [(0,)]


def test_gc_takes_nothing_that_people_wrote_or_made(decided: Folder, tmp_path: Path) -> None:
    folder = copied(decided.root, tmp_path)
    before = rows(folder, "SELECT * FROM augmented ORDER BY row_id")
    garbage, _ = collect(folder, Recipe.load(folder.recipe), Options(keep=1))
    assert any(item.number for item in garbage.items), "what was there before goes"
    assert rows(folder, "SELECT * FROM augmented ORDER BY row_id") == before
