"""projection and topics: where rows lie, what they are about, and what belongs nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.clustered.projection.asset import projection
from sft_assets.clustered.projection.nearest import Neighbours, nearest
from sft_assets.clustered.projection.umap_layout import layout, placed
from sft_assets.clustered.topics import hierarchy, naming
from sft_assets.clustered.topics.asset import topics
from sft_assets.clustered.topics.hierarchy import NOISE, centres, clusters, groups, smallest
from sft_assets.clustered.topics.placing import islands, outliers, vote
from sft_assets.folder import Folder
from tests.made_rows import chat, fill, hash_of, make, query
from tests.made_vectors import blobs, give_vectors, unit
from tests.model_server import Answer, ModelServer, Request
from tests.model_server import chat as reply

# ------------------------------------------------------------------------------------------------------------- neighbours


@given(st.integers(0, 60), st.integers(0, 40), st.integers(1, 12), st.integers(0, 5))
def test_neighbours_are_those_of_the_plain_search(n: int, more: int, k: int, seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(n + more, 6)) + 1e-9)
    found = nearest(vectors, vectors[:n], k)
    assert found.rows.shape == (n + more, max(min(k, n - 1), 0))
    cosines = vectors.astype(np.float64) @ vectors[:n].T.astype(np.float64)
    cosines[np.arange(n), np.arange(n)] = -np.inf
    expected = -np.sort(-cosines.round(6), axis=1)[:, : found.rows.shape[1]]
    assert np.abs(found.similarities - expected).max(initial=0) < 1e-5
    assert not (found.rows == np.arange(n + more)[:, None]).any()


def test_of_equal_neighbours_the_first_counts_however_the_product_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.repeat(blobs([40]), 8, axis=0)
    found = nearest(vectors, vectors, 5)
    monkeypatch.setattr("sft_assets.clustered.projection.nearest.BLOCK", 7)
    again = nearest(vectors, vectors, 5)
    assert (found.rows == again.rows).all()
    assert found.rows[0].tolist() == [1, 2, 3, 4, 5]


# ---------------------------------------------------------------------------------------------------------------- layouts


def test_the_same_seed_gives_the_same_layout_and_another_one_another() -> None:
    vectors = blobs([40, 30, 30])
    around = nearest(vectors, vectors, 14)
    one, same, other = (layout(vectors, around, 2, 0.1, seed) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("n", [0, 1, 2, 14])
def test_vectors_that_are_too_few_for_umap_have_places_too(n: int) -> None:
    vectors = blobs([n]) if n else np.zeros((0, 4), np.float32)
    flat = layout(vectors, nearest(vectors, vectors, 14), 2, 0.1, 0)
    assert flat.shape == (n, 2)
    assert np.isfinite(flat).all()


def test_a_row_without_text_that_was_not_fitted_has_a_place_too() -> None:
    around = Neighbours(np.array([[0, 1]], np.int32), np.zeros((1, 2), np.float32))
    assert placed(np.array([[0, 0], [1, 2]], np.float32), around).tolist() == [[0.5, 1.0]]


def test_vectors_that_are_not_among_the_points_may_be_equal_to_one() -> None:
    vectors = blobs([20])
    found = nearest(vectors[3:5], vectors, 2, among=False)
    assert found.rows[:, 0].tolist() == [3, 4]
    assert nearest(vectors[:1], vectors[:1], 5, among=False).rows.tolist() == [[0]]


def test_what_was_not_fitted_lies_amid_its_neighbours() -> None:
    coordinates = np.array([[0, 0], [1, 0], [10, 10]], np.float32)
    around = Neighbours(np.array([[0, 1], [2, 0]], np.int32), np.array([[0.9, 0.9], [0.99, 0.1]], np.float32))
    assert placed(coordinates, around).tolist() == [[0.5, 0.0], [10.0, 10.0]]


# ----------------------------------------------------------------------------------------------------------------- topics


def test_dense_regions_are_topics_numbered_by_size() -> None:
    found = clusters(blobs([20, 60, 40], dimensions=5), min_size=8)
    assert found.how == "hdbscan (eom)"
    assert np.bincount(found.labels[found.labels >= 0]).tolist() == sorted(np.bincount(found.labels[found.labels >= 0]))[::-1]
    assert len({*found.labels[:20]} - {NOISE}) == 1 and found.topics == 3
    assert (found.probabilities[found.labels == NOISE] == 0).all()


def test_a_result_of_mostly_noise_falls_back_until_there_are_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def nothing(coordinates: Any, min_size: int, method: str) -> hierarchy.Clusters:
        tried.append(method)
        return hierarchy.Clusters(np.full(len(coordinates), NOISE, np.int32), np.zeros(len(coordinates), np.float32), method)

    monkeypatch.setattr(hierarchy, "_by_density", nothing)
    found = clusters(blobs([50, 50, 50, 50], dimensions=5), min_size=5)
    assert tried == ["eom", "leaf"]
    assert found.how == "k-means" and found.topics >= 3 and found.noise == 0
    assert (found.probabilities >= 0.5).all()


def test_two_regions_of_many_are_no_answer_leaves_are_looked_at() -> None:
    near = np.concatenate([blobs([60], 5, 0.02, 3), blobs([60], 5, 0.02, 4)])  # two halves, each of three parts
    random = np.random.default_rng(0)
    parts = np.concatenate([half + 0.25 * random.normal(size=(1, 5)) for half in np.split(near, 6)]).astype(np.float32)
    far = parts.copy()
    far[60:] += 100
    found = clusters(far, min_size=8)
    assert found.topics >= 3


def test_a_topic_that_holds_nearly_everything_is_no_answer_either() -> None:
    one, small = blobs([300], 5, 0.3), blobs([12, 12, 12], 5, 0.01, seed=3) + 9
    found = clusters(np.concatenate([one, small]).astype(np.float32), min_size=6)
    assert found.how != "hdbscan (eom)"
    assert found.largest <= 0.5


@pytest.mark.parametrize("n", [0, 1, 9])
def test_few_rows_are_one_topic(n: int) -> None:
    found = clusters(np.zeros((n, 5), np.float32), min_size=5)
    assert found.topics == min(n, 1) and found.how == "one"


def test_equal_rows_are_one_topic_and_no_error() -> None:
    found = clusters(np.ones((200, 5), np.float32), min_size=5)
    assert found.topics == 1 and found.noise == 0


def test_topics_that_lie_together_are_one_group() -> None:
    pairs = unit(np.array([[1, 0, 0.0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1], [0.1, 0, 1]]))
    assert groups(pairs, None).tolist() == [0, 0, 1, 1, 2, 2]
    assert groups(pairs, 1).tolist() == [0] * 6
    assert groups(pairs[:2], None).tolist() == [0, 1]
    assert groups(pairs[:0], None).tolist() == []


def test_centres_are_those_of_members_only() -> None:
    vectors = unit(np.array([[1, 0.0], [0, 1], [5, 1], [1, -1]]))
    middle = centres(vectors, np.array([0, 0, NOISE, 1], np.int32), 2)
    assert np.allclose(middle, unit(np.array([[1, 1.0], [1, -1]])))


# ---------------------------------------------------------------------------------------------------------------- placing


def test_noise_goes_where_most_of_its_neighbours_are() -> None:
    around = Neighbours(np.array([[1, 2, 3], [0, 0, 0]], np.int32), np.array([[0.9, 0.5, 0.5], [1, 1, 1]], np.float32))
    labels = np.array([NOISE, 0, 1, 1], np.int32)
    winners, shares = vote(labels, around, 2)
    assert winners.tolist() == [1, NOISE]
    assert shares[0] == pytest.approx(1 / 1.9) and shares[1] == 0


def test_a_row_far_from_everything_is_an_outlier() -> None:
    vectors = np.concatenate([blobs([50, 50]), unit(np.random.default_rng(9).normal(size=(1, 24)))])
    flags = outliers(nearest(vectors, vectors, 10))
    assert flags[-1]
    assert flags[:-1].sum() <= 5


def test_a_handful_that_is_near_itself_and_nobody_else_is_an_island() -> None:
    vectors = np.concatenate([blobs([60], spread=0.15), blobs([4], spread=0.01, seed=5), blobs([60], spread=0.15, seed=6)])
    found = islands(nearest(vectors, vectors, 10), most=8)
    assert found[60:64].tolist() == [0] * 4
    assert (found != NOISE).sum() == 4
    assert (islands(nearest(vectors[:60], vectors[:60], 10), most=8) == NOISE).all()


# ------------------------------------------------------------------------------------------------------------- the assets

SUBJECTS = {
    "boats": "sail harbour anchor rudder",
    "bread": "flour yeast oven dough",
    "stars": "planet orbit telescope comet",
    "chess": "bishop rook gambit pawn",
}
SIZE = 30
ROWS = [
    chat(
        f"Tell me about {' '.join(words.split()[i % 4 :])} number {i}.",
        f"The {words.split()[i % 3]} of {subject} is {i} years old.",
    )
    for subject, words in SUBJECTS.items()
    for i in range(SIZE)
]


def clustered_rows(folder: Folder, **section: Any) -> list[Any]:
    folder.root.mkdir(exist_ok=True)
    fill(folder, ROWS)
    give_vectors(folder, ROWS, blobs([SIZE] * 4))
    return make(folder, projection, topics, **section)


def test_topics_are_found_named_by_their_words_and_grouped(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    _, version = clustered_rows(folder)
    report = version.report
    assert report["topics"] == 4 and report["noise"] <= 0.25
    assert report["stability_of_members"] > 0.9
    of = {
        content: (topic, name) for content, topic, name in query(folder, "SELECT content_hash, topic, topic_name FROM topics")
    }
    by_subject = [{of[u] for u in of if u.bytes in {hash_of(c) for c in ROWS[i * SIZE : (i + 1) * SIZE]}} for i in range(4)]
    assert all(len(names) == 1 for names in by_subject)
    for words, ((_, name),) in zip(SUBJECTS.values(), by_subject, strict=True):
        assert set(name.replace(",", "").split()) <= {*words.split(), *SUBJECTS}, name
    assert query(folder, "SELECT count(*) FROM topics WHERE distance > 0.3 OR probability > 1")[0][0] == 0


def test_two_runs_of_one_seed_give_the_same_tables(tmp_path: Path) -> None:
    one, two = ([v.data_version for v in clustered_rows(Folder.at(tmp_path / name))] for name in "ab")
    assert one == two
    other = [v.data_version for v in clustered_rows(Folder.at(tmp_path / "c"), projection={"seed": 7})]
    assert other[0] != one[0]


def test_beyond_the_sample_rows_are_placed_by_their_neighbours(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    version, found = clustered_rows(folder, projection={"fit_rows": 100}, topics={"min_size": 8})
    assert (version.report["fitted"], version.report["placed"]) == (100, 20)
    assert query(folder, "SELECT count(*) FROM projection WHERE NOT fitted")[0][0] == 20
    assert found.report["topics"] == 4
    wrong = 0
    of = dict(query(folder, "SELECT content_hash, topic FROM topics"))
    for i in range(4):
        members = [of[u] for u in of if u.bytes in {hash_of(c) for c in ROWS[i * SIZE : (i + 1) * SIZE]}]
        wrong += len(members) - max(members.count(topic) for topic in members)
    assert wrong == 0


def test_without_embeddings_there_are_no_topics_and_no_error(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    fill(folder, ROWS[:5])
    give_vectors(folder, [], np.zeros((0, 4), np.float32))
    first, second = make(folder, projection, topics)
    assert first.report["kept"] == second.report["kept"] == second.report["topics"] == 0


def test_the_smallest_topic_grows_with_the_rows() -> None:
    assert [smallest(n) for n in (10, 2000, 20_000)] == [5, 11, 35]


# ------------------------------------------------------------------------------------------------------------------ names


def test_a_model_names_topics_once_and_unchanged_topics_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder.at(tmp_path)
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.last)
        subject = next(s for s in (*SUBJECTS, "flute") if s in request.last)
        return reply(f'{{"name": "All about {subject}"}}')

    with ModelServer(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        _, version = clustered_rows(folder, topics={"model": "namer"})
        names = {name for (name,) in query(folder, "SELECT DISTINCT topic_name FROM topics")}
        assert names == {f"All about {subject}" for subject in SUBJECTS}
        assert version.report["named_by"] == "namer"
        before = len(asked)
        _, version = clustered_rows(folder, topics={"model": "namer", "groups": 4})
        assert len(asked) == before
        assert version.report["naming"]["calls"] == 0
        # other rows: the topics that stay what they were are not asked about again
        more = [chat(f"Play the flute, song {i}.", "Fiddle and flute.") for i in range(SIZE)]
        fill(folder, [*ROWS, *more])
        give_vectors(folder, [*ROWS, *more], np.vstack([blobs([SIZE] * 4), blobs([SIZE], seed=9)]))
        make(folder, projection, topics, topics={"model": "namer", "groups": 5})
        new = asked[before:]
        assert new and all("flute" in said for said in new)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (' "Sailing boats."\n', "Sailing boats"),
        ("x" * 80, "x" * 59 + "…"),
        ("**Bread**", "Bread"),
        ("a\x00b\nc", "a b c"),
        ("", ""),
    ],
)
def test_names_are_one_short_line(said: str, name: str) -> None:
    assert naming.tidy(said) == name


def test_a_name_that_two_topics_have_is_told_apart_by_a_keyword() -> None:
    names = naming.distinct({0: "Maths", 1: "Maths", 2: "Maths"}, {1: ["geometry"], 2: ["geometry"]})
    assert names == {0: "Maths", 1: "Maths (geometry)", 2: "Maths (2)"}
