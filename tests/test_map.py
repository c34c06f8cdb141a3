"""map: every row has its place, dropped ones too; search and explore find them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from sft_assets import verbs
from sft_assets.asset import metadata, warehouse
from sft_assets.clustered.explore import atlas_arguments, map_file
from sft_assets.combined.asset import combined
from sft_assets.definitions import ASSETS, asset_named
from sft_assets.errors import SftError
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.verbs import Workspace
from tests.conftest import NO_MODELS, build, fresh, put, rows, say
from tests.made_rows import MOJIBAKE, REFUSAL

pytestmark = pytest.mark.xdist_group("map")  # one run is what most of them look at
RECIPE = {**NO_MODELS, "embeddings": {"model": "static"}, "clustered": {"topic_cap": 20}}
SUBJECTS = {
    "boats": "sail harbour anchor rudder keel",
    "bread": "flour yeast oven dough crust",
    "stars": "planet orbit moon comet sun",
}
ITEM = "A baker sells nineteen rye loaves and forty wheat rolls before noon; how many pieces of bread left the shop by then?"


def records() -> list[dict[str, str]]:
    made = [
        {
            "instruction": f"Describe the {words.split()[i % 5]} in story {i} about {subject}.",
            "output": f"In story {i} the {words} matter a lot.",
        }
        for subject, words in SUBJECTS.items()
        for i in range(25)
    ]
    twin = dict(made[3], instruction=made[3]["instruction"].upper())
    marked = {"instruction": "Where is the baker's café?", "output": MOJIBAKE}
    return [
        *made,
        twin,
        marked,
        {"instruction": "How do I bake rye bread?", "output": REFUSAL},
        {"instruction": ITEM, "output": "59"},
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder in which rows were dropped by deduped, decontaminated, scored and clustered."""
    folder = fresh(tmp_path_factory.mktemp("map") / "data")
    put(folder, "stories.jsonl", records())
    (folder.benchmarks / "exam.jsonl").write_text(json.dumps({"question": ITEM, "answer": "59"}) + "\n")
    say(folder, **RECIPE)
    Workspace.open(folder.root).run(say=lambda _: None)
    return folder


def places(folder: Folder) -> dict[UUID, Any]:
    return {row: more for row, *more in rows(folder, "SELECT row_id, x, y, topic, state, reason, how FROM map")}


def test_every_row_is_on_the_map_with_the_state_that_it_ended_in(built: Folder) -> None:
    ended = {row: (state, reason) for row, (*_, state, reason, _) in places(built).items()}
    assert len(ended) == len(records())
    stay = {row for (row,) in rows(built, "SELECT row_id FROM clustered")}
    assert {row for row, (state, _) in ended.items() if state in ("kept", "review")} == stay
    gone = dict(
        rows(
            built,
            "SELECT row_id, (state, reason) FROM dropped WHERE state IN ('deduped', 'decontaminated', 'scored', 'clustered')",
        )
    )
    assert {row: end for row, end in ended.items() if row not in stay} == {row: tuple(end) for row, end in gone.items()}
    assert {state for state, _ in ended.values()} >= {"kept", "deduped", "decontaminated", "scored", "clustered"}


def test_a_duplicate_stands_where_the_row_stands_that_it_lost_to(built: Folder) -> None:
    ((row, of),) = rows(built, "SELECT row_id, (evidence ->> 'of')::UUID FROM dropped WHERE state = 'deduped'")
    found = places(built)
    assert found[row][:3] == found[of][:3]
    assert found[row][5] == "with the row that it lost to"


def test_other_dropped_rows_are_embedded_and_stand_amid_their_likes(built: Folder) -> None:
    found = places(built)
    more = {row: place for row, place in found.items() if place[5] == "embedded for the map"}
    assert {state for *_, state, _, _ in more.values()} == {"decontaminated", "scored"}
    ((bread,),) = rows(
        built, "SELECT mode(topic) FROM map JOIN combined USING (row_id) WHERE messages[1].content LIKE '%about bread%'"
    )
    assert {topic for _, _, topic, *_ in more.values()} == {bread}
    assert all(x is not None for x, *_ in found.values())


def test_without_a_budget_for_dropped_rows_they_have_no_place_and_that_is_said(built: Folder, tmp_path: Path) -> None:
    folder = Folder.at(shutil.copytree(built.root, tmp_path / "data", symlinks=True))
    say(folder, **RECIPE, map={"max_dropped": 0})
    space = Workspace.open(folder.root)
    assert space.run(say=lambda _: None) == ["map", "report"]  # which shows the recipe
    assert {state for *_, state, _, _ in (p for p in places(folder).values() if p[0] is None)} == {"decontaminated", "scored"}
    assert space.versions()["map"].report["without_a_place"] == 2


def test_the_page_and_the_picture_are_files_that_are_made_again_when_they_are_gone(built: Folder, tmp_path: Path) -> None:
    folder = Folder.at(shutil.copytree(built.root, tmp_path / "data", symlinks=True))
    page = folder.map.read_bytes()
    assert b"<html" in page and folder.map.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    folder.map.unlink()
    assert Workspace.open(folder.root).run(say=lambda _: None) == ["map"]
    assert folder.map.read_bytes() == page


def test_coverage_compares_what_a_state_kept_with_what_it_dropped(built: Folder) -> None:
    report = Workspace.open(built.root).versions()["map"].report["coverage"]
    assert list(report) == ["combined", "deduped", "decontaminated", "scored", "clustered"]
    assert report["deduped"]["kept"]["rows"] + report["deduped"]["dropped"]["rows"] == report["combined"]["kept"]["rows"]
    assert report["clustered"]["dropped"]["rows"] > 0
    assert report["clustered"]["kept"]["effective_topics"] == pytest.approx(3, abs=0.1)
    for sides in report.values():
        assert all(side["vendi"] is None or side["vendi"] >= 1 for side in sides.values())
        assert len({side["tokens"] for side in sides.values() if side["rows"]}) == 1


def test_the_picture_is_in_the_metadata_small_enough_for_the_run_storage(built: Folder) -> None:
    found = metadata(Workspace.open(built.root).versions()["map"])["picture"]
    assert found.value.startswith("![picture](data:image/png;base64,")
    assert len(found.value) < 50_000


def test_a_page_of_fewer_rows_than_there_are_says_so(built: Folder, tmp_path: Path) -> None:
    folder = Folder.at(shutil.copytree(built.root, tmp_path / "data", symlinks=True))
    say(folder, **RECIPE, map={"max_rows": 10})
    (version,) = build(folder, asset_named("map"))
    assert version.report["shown"] == 10
    assert len(places(folder)) == len(records())
    assert "10 shown" in folder.map.read_text()


# --------------------------------------------------------------------------------------------------- a selection comes back


def chosen(folder: Folder, tmp_path: Path, sql: str) -> tuple[set[UUID], str]:
    """The rows that a query gives, and the file that the map would download of them."""
    found = {row for (row,) in rows(folder, sql)}
    (tmp_path / "rows.txt").write_text("".join(f"{row}\n" for row in found))
    return found, str(tmp_path / "rows.txt")


def test_rows_that_were_chosen_on_the_map_come_back_and_nothing_else_is_made_again(built: Folder, tmp_path: Path) -> None:
    folder = Folder.at(shutil.copytree(built.root, tmp_path / "data", symlinks=True))
    space = Workspace.open(folder.root)
    some, file = chosen(folder, tmp_path, "SELECT row_id FROM map WHERE state = 'clustered' ORDER BY 1 LIMIT 3")
    verbs.select(space, file, "keep", "we need more of these", "ann")
    assert list(space.plan()) == ["clustered", "report"]
    assert space.run(say=lambda _: None) == ["clustered", "gaps", "map", "generations", "augmented", "exported", "report"]
    assert some <= {row for (row,) in rows(folder, "SELECT row_id FROM exported")}
    assert {state for row, (*_, state, _, _) in places(folder).items() if row in some} == {"kept"}
    gone, file = chosen(folder, tmp_path, "SELECT row_id FROM clustered ORDER BY 1 LIMIT 2")
    verbs.select(space, file, "drop", "too easy", "ann")
    assert next(iter(space.plan())) == "scored"
    before = space.versions()
    build(folder, *ASSETS)
    made = {name for name, version in space.versions().items() if version.number != before[name].number}
    assert {"scored", "clustered"} <= made and not {"embeddings", "projection", "topics", "deduped"} & made
    assert {places(folder)[row][4] for row in gone} == {"reviewed"}


def test_a_mark_that_is_settled_reaches_the_export(built: Folder, tmp_path: Path) -> None:
    folder = Folder.at(shutil.copytree(built.root, tmp_path / "data", symlinks=True))
    say(folder, **RECIPE, exported={"without_review": True})
    build(folder, exported)
    marked, file = chosen(folder, tmp_path, "SELECT row_id FROM clustered WHERE verdict = 'review'")
    assert marked and not marked & {row for (row,) in rows(folder, "SELECT row_id FROM exported")}
    verbs.select(Workspace.open(folder.root), file, "keep", "it is how the café writes itself", "ann")
    build(folder, *ASSETS)
    assert marked <= {row for (row,) in rows(folder, "SELECT row_id FROM exported")}
    assert not {row for row, (*_, state, _, _) in places(folder).items() if state == "review"}


# -------------------------------------------------------------------------------------------------------- search and explore


def test_search_finds_by_meaning_and_by_word_and_says_what_became_of_rows(built: Folder) -> None:
    found = verbs.search(built, "rye loaves", 5)
    assert found[0].text.startswith(ITEM[:30])
    assert found[0].where == "decontaminated: benchmark_item" and found[0].word
    best = verbs.search(built, "sailing ships, ports", 3)
    assert all("boats" in one.text and one.meaning and not one.word for one in best if one.meaning)
    assert best[0].meaning == max(one.meaning for one in best if one.meaning is not None)


@pytest.mark.parametrize("text", ["' OR 1=1 --", "$1 %s {}", "🙂", "的"])
def test_any_text_can_be_searched_for(built: Folder, text: str) -> None:
    assert len(verbs.search(built, text, 3)) <= 3


def test_an_empty_search_is_refused(built: Folder) -> None:
    with pytest.raises(SftError, match="say what to search for"):
        verbs.search(built, "  ")


def test_without_embeddings_search_goes_by_word(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "data")
    put(folder, "stories.jsonl", records())
    say(folder, **NO_MODELS)
    build(folder, raw, combined)
    found = verbs.search(folder, "comet", 3)
    assert found and all(one.meaning is None and "comet" in one.text for one in found)


def test_explore_names_the_way_to_a_map_that_is_not_there(folder: Folder) -> None:
    with pytest.raises(SftError, match="`sft run map` draws it"):
        map_file(folder)


def test_embedding_atlas_is_given_the_rows_by_a_command_of_its_own_environment(built: Folder, tmp_path: Path) -> None:
    from sft_assets.recipe import Recipe

    house = warehouse(built, Recipe())
    with pytest.raises(SftError, match=r"embedding-atlas is not there; install it on its own"):
        atlas_arguments(house, built, str(tmp_path / "embedding-atlas"))
    command = tmp_path / "embedding-atlas"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    arguments = atlas_arguments(house, built, str(command))
    assert arguments[0] == str(command) and arguments[arguments.index("--host") + 1] == "127.0.0.1"
    table = pq.read_table(arguments[1])
    assert table.num_rows == len(records())
    assert {"row_id", "x", "y", "topic", "state", "prompt", "answer"} <= set(table.column_names)
