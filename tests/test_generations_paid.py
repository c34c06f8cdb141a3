"""What was paid for before fills gaps first, and what people decided about stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets import verbs
from sft_assets.augmented.candidate import Cell, Seed
from sft_assets.augmented.generations.paid import Paid, planned
from sft_assets.augmented.methods.instructions import numbered
from sft_assets.definitions import ASSETS
from sft_assets.folder import Folder
from tests import scripted_generation as scripted
from tests.conftest import build, put, rows, say
from tests.method_bench import parent
from tests.model_server import ModelServer

FRACTIONS, TIDES = Cell(1, "fractions", "hard"), Cell(2, "tides", "easy")


def seed(text: str, cell: Cell = FRACTIONS, index: int = 0) -> Seed:
    return Seed((parent(text, "..."),), cell=cell, index=index)


def test_without_anything_before_the_plan_is_what_is_wanted() -> None:
    wanted = [seed("a"), seed("b", TIDES)]
    assert planned(wanted, []) == wanted


def test_a_paid_seed_takes_the_place_of_a_new_one_of_its_cell_and_none_of_another_topic() -> None:
    wanted = [seed("a", TIDES), seed("b"), seed("c")]
    assert planned(wanted, [Paid(seed("paid"))]) == [wanted[0], seed("paid"), wanted[2]]
    assert planned(wanted[:1], [Paid(seed("paid"))]) == wanted[:1]


def test_its_own_cell_is_filled_before_another_of_its_topic() -> None:
    easy = FRACTIONS._replace(difficulty="easy")
    wanted = [seed("a", easy), seed("b")]
    assert planned(wanted, [Paid(seed("paid"))]) == [wanted[0], seed("paid")]
    assert planned(wanted[:1], [Paid(seed("paid"))]) == [seed("paid")]


def test_where_the_recipe_says_how_many_any_place_will_do() -> None:
    wanted = [seed("a", TIDES)]
    assert planned(wanted, [Paid(seed("paid"))], anywhere=True) == [seed("paid")]


def test_a_seed_of_which_nothing_came_keeps_its_own_place_only() -> None:
    barren = Paid(seed("barren"), good=False)
    assert planned([seed("a")], [barren]) == [seed("a")]
    assert planned([seed("a"), seed("barren")], [barren]) == [seed("a"), seed("barren")]


def test_what_people_decided_about_stays_where_nothing_is_wanted_and_comes_first() -> None:
    assert planned([], [Paid(seed("paid"))]) == []
    decided = Paid(seed("decided"), good=False, decided=True)
    assert planned([seed("a", TIDES)], [Paid(seed("paid")), decided]) == [seed("decided"), seed("a", TIDES)]


def test_of_two_for_one_place_the_decided_one_has_it() -> None:
    decided = Paid(seed("decided"), decided=True)
    assert planned([seed("a")], [Paid(seed("paid")), decided]) == [seed("decided")]


def test_a_topic_that_has_another_number_and_name_is_asked_about_by_the_name_that_it_had() -> None:
    then, now = seed("a"), seed("a", FRACTIONS._replace(topic=7, topic_name="percent"))
    assert planned([now], [Paid(then)], as_named=True) == [replace(now, cell=now.cell._replace(topic_name="fractions"))]
    assert planned([now], [Paid(then)]) == [now]


def test_a_new_seed_of_the_same_parents_is_another_one_than_the_paid_one() -> None:
    easy = FRACTIONS._replace(difficulty="easy")
    plan = planned([seed("a", easy), seed("b")], [Paid(seed("a"))])
    assert plan == [seed("a", easy, 1), seed("a")]


of_topic = {"abc": FRACTIONS, "def": TIDES}  # a row is of one topic
asked = st.sampled_from([(text, cell) for texts, cell in of_topic.items() for text in texts])
kinds = st.sampled_from([{}, {"difficulty": "medium"}, {"length": "long"}])
lists = st.lists(st.tuples(asked, kinds), max_size=12).map(
    lambda found: numbered(seed(text, cell._replace(**kind)) for (text, cell), kind in found)
)


def named(plan: list[Seed]) -> set[tuple[object, ...]]:
    """What the ids of their rows are made of: the topic is not."""
    return {(one.key, one.index, *one.cell[2:]) for one in plan}


@given(lists, lists, st.data(), st.booleans())
def test_a_plan_has_as_many_seeds_as_are_wanted_each_once_and_stays_when_made_again(
    before: list[Seed], wanted: list[Seed], data: st.DataObject, anywhere: bool
) -> None:
    good = [data.draw(st.booleans()) for _ in before]
    plan = planned(wanted, [Paid(one, is_good) for one, is_good in zip(before, good, strict=True)], anywhere)
    assert len(plan) == len(wanted) and len({(one.key, one.index) for one in plan}) == len(plan)
    again = planned(wanted, [Paid(one) for one in plan], anywhere)
    assert named(again) == named(plan), "with all of it paid nothing new is tried"


# ------------------------------------------------------------------------------------------------------------ in the states

ROWS = "SELECT row_id, reason IS NULL, parents FROM generations"
UP_TO_AUGMENTED = [asset for asset in ASSETS if asset.name not in ("map", "exported", "report")]
Sft = Callable[..., tuple[int, str, str]]


def recipe(share: float) -> dict[str, object]:
    methods = {"personas": {"personas": [scripted.PERSONA]}, "evol_instruct": {}}
    gaps = {"targets": {"difficulty": {"hard": 0.5}}, "share": share}
    return {
        **scripted.recipe(embeddings={"model": None}, generations={"model": scripted.MODEL, "methods": methods}),
        "gaps": gaps,
    }


def test_rows_that_were_paid_for_and_decided_about_outlive_other_gaps_while_their_parents_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sft: Sft
) -> None:
    folder = verbs.init(tmp_path / "data")
    scripted.fill(folder, scripted.TOWNS[13:21])
    say(folder, **recipe(share=0.6))
    with ModelServer(scripted.script) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-of-the-tests")
        build(folder, *UP_TO_AUGMENTED)
        first = made(folder)
        assert len(first) > 4 and all(good for good, _ in first.values())

        with (folder.sources / "b.jsonl").open("ab") as file:  # more rows, to draw from as well
            new = [scripted.row(scripted.source(town), scripted.output(town)) for town in scripted.TOWNS[:8]]
            file.writelines(orjson.dumps(row) + b"\n" for row in new)
        build(folder, *UP_TO_AUGMENTED)
        second = made(folder)
        assert first.keys() < second.keys(), "what was paid for fills gaps, and there are more of them"

        parents_of = {str(parent) for _, parents in first.values() for parent in parents}
        kept = sorted(map(str, first))[0]
        (tmp_path / "rows.txt").write_text(kept)
        code, *said = sft(
            "select", str(tmp_path / "rows.txt"), "--keep", "--why", "good", "--reviewer", "ann", "--data", str(folder.root)
        )
        assert code == 0, said
        say(folder, **recipe(share=0.05))
        asked = len(server.seen)
        build(folder, *UP_TO_AUGMENTED)
        third = made(folder)
        assert len(third) < len(second) and kept in map(str, third), "a smaller share makes fewer, but for what people keep"
        assert third.keys() < second.keys() and len(server.seen) == asked

        put(folder, "a.jsonl", [scripted.row(scripted.source("Zadar"), scripted.output("Zadar"))])
        build(folder, *UP_TO_AUGMENTED)
        left = {str(row_id) for (row_id,) in rows(folder, "SELECT row_id FROM clustered")}
        assert not parents_of <= left, "the case is one in which parents go"
        assert all(str(parent) in left for _, parents in made(folder).values() for parent in parents)


def made(folder: Folder) -> dict[object, tuple[bool, list[object]]]:
    return {row_id: (good, parents) for row_id, good, parents in rows(folder, ROWS)}
