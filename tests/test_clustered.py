"""clustered: what each row is about and how it is put, and which rows stay where fewer are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from sft_assets import reviews
from sft_assets.clustered.asset import clustered
from sft_assets.clustered.descriptors.asset import descriptors
from sft_assets.clustered.embeddings import read_vectors
from sft_assets.clustered.projection.asset import projection
from sft_assets.clustered.topics.asset import topics
from sft_assets.errors import SftError
from sft_assets.explain import explain
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation
from sft_assets.scored.asset import scored
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.warehouse import Version, Warehouse
from sft_assets.what_if import changed_recipe, what_if
from tests.made_rows import chat, hash_of, id_of, make, query
from tests.made_vectors import blobs, give_vectors
from tests.test_scored import fill, give

pytestmark = pytest.mark.xdist_group("clustered")  # one folder is what most of them start from
SUBJECTS = ("sail harbour anchor", "flour yeast oven", "planet orbit comet")
SIZES = (24, 16, 12)
ROWS = [
    chat(f"Tell me about the {words} of page {i}.", f"It says that {words.split()[i % 3]} is what they like best, and why.")
    for words, n in zip(SUBJECTS, SIZES, strict=True)
    for i in range(n)
]
VECTORS = blobs(SIZES)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Rows of three subjects up to topics and descriptors, with a likelihood for all but the last; made once."""
    folder = Folder.at(tmp_path_factory.mktemp("clustered"))
    fill(folder, ROWS)
    give(folder, likely={i: i / 100 for i in range(len(ROWS) - 1)}, rows=ROWS)
    give_vectors(folder, ROWS, VECTORS)
    make(folder, rule_hits, scored, descriptors, projection, topics)
    return folder


@pytest.fixture
def folder(prepared: Folder, tmp_path: Path) -> Folder:
    (tmp_path / "sft.duckdb").write_bytes(prepared.database.read_bytes())
    return Folder.at(tmp_path)


def cluster(folder: Folder, **section: Any) -> Version:
    return make(folder, clustered, clustered=section)[0]


def kept(folder: Folder) -> set[UUID]:
    return {row for (row,) in query(folder, "SELECT row_id FROM clustered")}


def dropped(folder: Folder) -> dict[UUID, tuple[str, dict[str, Any]]]:
    rows = query(folder, "SELECT row_id, reason, evidence FROM dropped WHERE state = 'clustered'")
    return {row: (reason, json.loads(evidence)) for row, reason, evidence in rows}


def uuid(row: Conversation) -> UUID:
    return UUID(bytes=id_of(row))


# ------------------------------------------------------------------------------------------------------- what rows are told


def test_every_row_is_kept_and_told_what_it_is_about(folder: Folder) -> None:
    version = cluster(folder)
    assert kept(folder) == set(map(uuid, ROWS))
    rows = query(
        folder,
        """SELECT topic_name, topic_status, map_x, style_turns, style_language, style_length, len(topic_neighbours),
           list_contains(topic_neighbours, row_id) FROM clustered""",
    )
    assert {len(row) for row in rows} == {8}
    assert {(turns, language, length, near, itself) for *_, turns, language, length, near, itself in rows} == {
        (2, "en", "short", 5, False)
    }
    assert all(name and status in ("member", "noise", "outlier") and x is not None for name, status, x, *_ in rows)
    assert version.report["topics"] == 3 and version.report["rows_without_topic"] == 0
    assert version.report["topic_evenness"]["in"] == version.report["topic_evenness"]["kept"]


def test_neighbours_are_rows_that_stay_the_nearest_first(folder: Folder) -> None:
    cluster(folder, budget=30)
    with Warehouse(folder.database).reading() as con:
        contents, vectors = read_vectors(con, "embeddings")
    vector = {content.bytes: v for content, v in zip(contents.to_pylist(), vectors, strict=True)}
    of = {uuid(row): vector[hash_of(row)] for row in ROWS}
    stay = kept(folder)
    for row, neighbours in query(folder, "SELECT row_id, topic_neighbours FROM clustered WHERE topic_neighbours IS NOT NULL"):
        assert set(neighbours) <= stay - {row}
        cosines = [float(of[row] @ of[other]) for other in neighbours]
        assert cosines == sorted(cosines, reverse=True) or np.allclose(cosines, sorted(cosines, reverse=True), atol=1e-5)


def test_rows_without_a_vector_stay_without_a_topic(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    fill(folder, ROWS[:4])
    give_vectors(folder, [], np.zeros((0, 4), np.float32))
    make(folder, rule_hits, scored, descriptors, projection, topics)
    version = cluster(folder)
    assert query(folder, "SELECT count(*), count(topic_id), count(style_turns) FROM clustered") == [(4, 0, 4)]
    assert version.report["rows_without_topic"] == 4


# ------------------------------------------------------------------------------------------------------------- fewer of them


def test_the_best_rows_stay_within_a_budget_and_the_others_say_their_rank(folder: Folder) -> None:
    version = cluster(folder, order=["ifd"], budget=10)
    best = sorted(range(len(ROWS) - 1), reverse=True)[:10]
    assert kept(folder) == {uuid(ROWS[i]) for i in best}
    reason, evidence = dropped(folder)[uuid(ROWS[-1])]  # the one without a score comes last
    assert (reason, evidence) == ("over_budget", {"rank": len(ROWS), "budget": 10})
    assert version.report["rows_without_order"] == 1


def test_a_row_too_near_to_a_better_one_goes_and_names_it(folder: Folder) -> None:
    version = cluster(folder, order=["ifd"], similarity=0.9)
    gone = dropped(folder)
    assert gone and {reason for reason, _ in gone.values()} == {"too_similar"}
    place = {uuid(row): i for i, row in enumerate(ROWS)}
    for row, (_, evidence) in gone.items():
        other = UUID(evidence["of"])
        assert other in kept(folder)
        assert place[row] == len(ROWS) - 1 or place[other] > place[row]  # of more score
        assert float(VECTORS[place[row]] @ VECTORS[place[other]]) == pytest.approx(evidence["cosine"], abs=1e-4)
        assert evidence["cosine"] >= 0.9
    rest = np.array([VECTORS[place[row]] for row in kept(folder)])
    assert (rest @ rest.T - 2 * np.eye(len(rest))).max() < 0.9
    sample = version.report["sample_dropped"]
    assert all(s["stays"] and s["its text"] for s in sample)


def test_topic_cap_and_mix_hold_and_count_what_they_leave_out(folder: Folder) -> None:
    cluster(folder, topic_cap=12)
    assert sorted(n for (n,) in query(folder, "SELECT count(*) FROM clustered GROUP BY topic_id")) == [12, 12, 12]
    assert all(evidence["topic_cap"] == 12 and evidence["topic"] for _, evidence in dropped(folder).values())
    (name,) = (
        n
        for n, count in query(folder, "SELECT topic_name, count(*) FROM scored JOIN topics USING (content_hash) GROUP BY 1")
        if count == 12
    )
    version = cluster(folder, mix_by="topic", mix={name: 0.5})
    assert query(folder, f"SELECT count(*), count(*) FILTER (topic_name = '{name}') FROM clustered") == [(24, 12)]
    assert version.report["mix"] == {name: {"wanted": 12, "got": 12}, "(all others)": {"wanted": 12, "got": 12}}
    assert {reason for reason, _ in dropped(folder).values()} == {"over_mix"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"order": ["likelyhood"]}, "recipe.yaml: clustered.order: there is no score 'likelyhood'; did you mean 'likelihood'"),
        ({"order": ["reward", "ifd"]}, "reward may be below zero, so a product with it puts nothing in order; name it alone"),
        ({"mix": {"boats and bread": 0.5}}, "clustered.mix: there is no group 'boats and bread' among the rows"),
        ({"mix_by": "language", "mix": {"eo": 0.5}}, "recipe.yaml: clustered.mix: there is no language 'eo' among the rows"),
        ({"mix_by": "source", "mix": {"wiki": 0.5}}, "recipe.yaml: clustered.mix: there is no source at all: no row has one"),
    ],
)
def test_a_name_that_there_is_not_is_told_with_those_that_there_are(folder: Folder, section: dict[str, Any], said: str) -> None:
    section.setdefault("budget", 3)
    with pytest.raises(SftError, match=said.replace("(", r"\(").replace(".", r"\.")):
        cluster(folder, **section)


def test_one_topic_of_a_mix_that_is_gone_is_said_and_reported(folder: Folder) -> None:
    ((name,),) = query(folder, "SELECT topic_name FROM topics GROUP BY 1 ORDER BY count(*) LIMIT 1")
    version = cluster(folder, mix_by="topic", mix={name: 0.5, "what there was": 0.1})
    assert version.report["mix"]["what there was"]["got"] == 0
    assert version.report["mix"][name]["got"] > 0


def test_a_rubric_may_have_any_name(folder: Folder) -> None:
    recipe = {"judgements": {"rubrics": ["it's", "language"]}, "clustered": {"order": ["it's", "language"], "budget": 5}}
    (version,) = make(folder, clustered, **recipe)
    assert version.report["kept"] == 5


def test_shares_of_more_than_all_are_refused_with_the_line(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("clustered:\n  mix:\n    a: 0.7\n    b: 0.4\n")
    with pytest.raises(SftError, match=r"recipe\.yaml:2: clustered\.mix: the shares add up to 1\.1, which is more than 1"):
        Recipe.load(recipe)


def test_a_changed_cap_does_not_touch_topics_or_projection(folder: Folder) -> None:
    sections = [Recipe.model_validate({"clustered": {"topic_cap": cap}}) for cap in (5, 6)]
    for asset in (projection, topics, descriptors):
        one, two = (asset.code_version(folder, recipe) for recipe in sections)
        assert one == two
    one, two = (clustered.code_version(folder, recipe) for recipe in sections)
    assert one != two


def test_what_if_shows_a_cap_without_storing_it(folder: Folder) -> None:
    cluster(folder)
    before = query(folder, "SELECT count(*) FROM clustered")
    found = what_if(clustered, folder, changed_recipe(Recipe(), "clustered", ["topic_cap=3"]))
    assert found.counts["kept"] == (len(ROWS), 9)
    assert found.counts["over_topic_cap"] == (0, len(ROWS) - 9)
    assert query(folder, "SELECT count(*) FROM clustered") == before


def test_people_have_the_last_word_over_a_cap(folder: Folder) -> None:
    cluster(folder, topic_cap=3)
    row = next(row for row in ROWS if uuid(row) in dropped(folder))
    decision = reviews.decided(uuid(row), UUID(bytes=hash_of(row)), "clustered", "keep", "it is the only one in verse", "ann")
    reviews.append(folder, [decision])
    cluster(folder, topic_cap=3)
    assert uuid(row) in kept(folder)
    assert sorted(n for (n,) in query(folder, "SELECT count(*) FROM clustered GROUP BY topic_id")) == [3, 3, 3]


def test_the_life_of_a_row_that_was_too_similar_shows_both_texts(folder: Folder) -> None:
    cluster(folder, order=["ifd"], similarity=0.9)
    row, (_, evidence) = next(iter(dropped(folder).items()))
    states = ("raw", "combined", "decontaminated", "scored", "clustered")
    (life,) = explain(Warehouse(folder.database), str(row), states, reviews.read(folder))
    assert (life.steps[-1].state, life.steps[-1].verdict, life.steps[-1].reason) == ("clustered", "dropped", "too_similar")
    assert life.kept_messages and life.messages and life.kept_messages != life.messages
    assert life.steps[-1].evidence["of"] == evidence["of"]
