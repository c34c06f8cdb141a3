"""topics: what each row is about: a topic, a group of topics, and their names.

    content_hash  topic  topic_name                topic_group  group_name          status  island  probability  distance
    9f3c...       4      fractions, percent, cost  0            total, cost, hours  member  NULL    0.93         0.21
    41d0...       4      fractions, percent, cost  0            total, cost, hours  noise   NULL    0.31         0.58

HDBSCAN over the five dimensions of the projection. What it calls noise is placed at the topic of its nearest neighbours and
says so in `status` (placing.py tells of outliers and islands). A topic is named by its keywords (c-TF-IDF), or by a language
model that the recipe names. `probability`: how surely a row is in its topic. `distance`: cosine distance to the topic's centre.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.asset import model_evidence
from sft_assets.clustered.embeddings import places_of, read_vectors
from sft_assets.clustered.projection.asset import DIMENSIONS
from sft_assets.clustered.projection.nearest import Neighbours
from sft_assets.clustered.texts import texts_of
from sft_assets.clustered.topics import naming, stop_words
from sft_assets.clustered.topics.hierarchy import NOISE, Clusters, centres, clusters, groups, smallest
from sft_assets.clustered.topics.keywords import topic_keywords, topic_name
from sft_assets.clustered.topics.placing import islands, outliers, vote
from sft_assets.evidence import Estimate, Evidence, least
from sft_assets.folder import Folder
from sft_assets.models.asking import at_most, label, notes, open_door
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Law, Table

TABLE = Table(
    "topics",
    columns={
        "content_hash": "UUID",
        "topic": "INTEGER",
        "topic_name": "VARCHAR",
        "topic_group": "INTEGER",
        "group_name": "VARCHAR",
        "status": "VARCHAR",
        "island": "INTEGER",
        "probability": "FLOAT",
        "distance": "FLOAT",
    },
    is_state=False,
    laws=(
        Law(
            "every_place_has_a_topic",
            "a content has a topic where it has a place, and one",
            """
            SELECT (SELECT count(*) FROM {table} AS t FULL JOIN projection AS p USING (content_hash)
                    WHERE t.content_hash IS NULL OR p.content_hash IS NULL)
                 + (SELECT count(*) - count(DISTINCT content_hash) FROM {table})
                 + (SELECT count(*) FROM {table} WHERE topic IS NULL OR topic < 0 OR topic_name = '')
            """,
        ),
        Law(
            "a_topic_is_one_thing",
            "a topic has one name and one group, a name one topic",
            """
            SELECT (SELECT count(DISTINCT (topic, topic_name, topic_group, group_name)) - count(DISTINCT topic) FROM {table})
                 + (SELECT count(DISTINCT topic) - count(DISTINCT topic_name) FROM {table})
            """,
        ),
    ),
)
SAMPLED = 200  # contents nearest to a topic's centre, from whose texts its keywords are taken
READ = 2000  # characters of each
STATUSES = ("member", "noise", "outlier")
BLOCK = 8192  # contents whose distances are measured at a time
LISTED, SHOWN = 20, 160  # contents in a sample, characters of each
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What naming would take, at most: how many topics there will be is not known before."""
    section = recipe.topics
    if section.model is None:
        return Estimate("none", 0, 0)
    prompt = naming.prompt_of(folder.prompts)
    rows = evidence.parents["projection"].report["contents"] if not bound else most
    names = None if rows is None else least(2 * rows // (section.min_size or smallest(rows)) + 1, rows)
    size = None if names is None else names * naming.CENTRAL * naming.SHOWN * 4  # bytes of a character, at most
    return at_most(recipe, section.model, section, [prompt], names, size)


def _words_version(folder: Folder, recipe: Recipe) -> str:
    """A digest of what names are made with: the stop words, and the prompt file where a model gives them."""
    prompt = naming.prompt_of(folder.prompts).sha256 if recipe.topics.model else ""
    return hashlib.sha256((stop_words.version() + prompt).encode()).hexdigest()[:10]


class Layout(NamedTuple):
    """What `projection` says of each content, in the order of their hashes. sample: which were fitted."""

    contents: pa.Array
    coordinates: Floats
    again: Floats
    sample: npt.NDArray[np.bool_]
    neighbours: Neighbours  # their rows are numbers of contents


@model_evidence(
    TABLE, deps=("projection", "embeddings"), code=1, estimate=_estimate, data_of_code=_words_version, kinds=["scikitlearn"]
)
def topics(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What each row is about: topics of the projection, groups of topics, and names for both."""
    section = recipe.topics
    with evidence.reading() as con:
        lie = _read(con, evidence.of("projection"))
        _, vectors = read_vectors(con, evidence.of("embeddings"))
    n, sample = len(lie.contents), lie.sample
    min_size = section.min_size or smallest(int(sample.sum()))
    found = clusters(lie.coordinates[sample], min_size)
    labels, probabilities = _spread(found, lie)
    middles = centres(vectors, labels, found.topics)
    of = _placed(labels, lie.neighbours, vectors, middles)
    distances = _distances(vectors, middles, of)
    parts = groups(middles, section.groups)
    island = islands(lie.neighbours, min_size - 1)
    status = np.where(labels == NOISE, 1, 0)
    status[outliers(lie.neighbours) & (labels == NOISE)] = 2
    by_topic, by_group, asked = _names(evidence, folder, recipe, lie.contents, of, labels, distances, parts)
    evidence.insert(
        pa.table(
            {
                "content_hash": lie.contents,
                "topic": of,
                "topic_name": _coded(by_topic.names, of),
                "topic_group": parts[of] if n else of,
                "group_name": _coded(by_group.names, parts[of] if n else of),
                "status": _coded(dict(enumerate(STATUSES)), status),
                "island": pa.array(island, mask=island == NOISE),
                "probability": probabilities.round(4),
                "distance": distances,
            }
        )
    )
    evidence.notes |= {
        "topics": found.topics,
        "groups": len(set(parts.tolist())),
        "how": found.how,
        "min_size": min_size,
        "noise": round(found.noise, 4),
        **_stability(found, lie, min_size),
        "islands": int(island.max(initial=NOISE)) + 1,
        "statuses": {name: int((status == code).sum()) for code, name in enumerate(STATUSES)},
        **asked,
        "names": [
            {"topic": t, "name": by_topic.names[t], "group": by_group.names[int(parts[t])], "contents": int(size),
             "keywords": ", ".join(by_topic.keywords.get(t, ()))}
            for t, size in enumerate(np.bincount(of, minlength=found.topics))
        ],
        "sample_outliers": _sample(evidence, lie.contents, np.flatnonzero(status == 2), -distances, by_topic.names, of),
        "sample_islands": _sample(evidence, lie.contents, np.flatnonzero(island != NOISE), island, by_topic.names, of),
    }  # fmt: skip


def _read(con: Any, table: str) -> Layout:
    rows = con.sql(f"SELECT * FROM {table} ORDER BY content_hash").to_arrow_table()
    n = len(rows)

    def flat(name: str) -> Any:
        """All values of a column of lists."""
        return pa.concat_arrays([chunk.flatten() for chunk in rows[name].chunks])

    if not n:
        nothing = np.zeros((0, DIMENSIONS), np.float32)
        around = Neighbours(np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32))
        return Layout(uuids([]), nothing, nothing, np.zeros(0, np.bool_), around)
    contents = pa.concat_arrays(rows["content_hash"].chunks)
    numbers = places_of(flat("neighbours"), contents)
    return Layout(
        contents,
        flat("coordinates").to_numpy().reshape(n, DIMENSIONS),
        flat("coordinates_again").to_numpy().reshape(n, DIMENSIONS),
        rows["fitted"].to_numpy().astype(np.bool_),
        Neighbours(numbers.astype(np.int32).reshape(n, -1), flat("similarities").to_numpy().reshape(n, -1)),
    )


def _spread(found: Clusters, lie: Layout) -> tuple[Ints, Floats]:
    """Topic and probability of every content: of those that were not fitted, by their neighbours."""
    labels, probabilities = np.full(len(lie.contents), NOISE, np.int32), np.zeros(len(lie.contents), np.float32)
    labels[lie.sample], probabilities[lie.sample] = found.labels, found.probabilities
    rest = np.flatnonzero(~lie.sample)
    theirs, shares = vote(labels, lie.neighbours.of(rest), found.topics)
    sure = (theirs != NOISE) & (shares > 0.5)
    labels[rest[sure]], probabilities[rest] = theirs[sure], shares
    return labels, probabilities


def _placed(labels: Ints, neighbours: Neighbours, vectors: Floats, middles: Floats) -> Ints:
    """The topics, with noise at that of its neighbours, else at the nearest centre."""
    of = labels.copy()
    lost = np.flatnonzero(labels == NOISE)
    of[lost], _ = vote(labels, neighbours.of(lost), len(middles))
    lost = np.flatnonzero(of == NOISE)
    if len(lost):
        of[lost] = (vectors[lost] @ middles.T).argmax(axis=1)
    return of


def _distances(vectors: Floats, middles: Floats, of: Ints) -> Floats:
    """The cosine distance of each content to the centre of its topic."""
    result = np.zeros(len(of), np.float32)
    for start in range(0, len(of), BLOCK):
        some = slice(start, start + BLOCK)
        result[some] = (1 - np.einsum("nd,nd->n", vectors[some], middles[of[some]])).clip(0, 2).round(4)
    return result


def _stability(found: Clusters, lie: Layout, min_size: int) -> dict[str, float]:
    """Adjusted Rand index against the topics of another seed (https://doi.org/10.1007/BF01908075): of all that was fitted
    (noise counts as one topic), and of what is in a topic in both."""
    from sklearn.metrics import adjusted_rand_score

    again = clusters(lie.again[lie.sample], min_size)
    both = (found.labels != NOISE) & (again.labels != NOISE)
    return {
        "stability": round(float(adjusted_rand_score(found.labels, again.labels)), 4),
        "stability_of_members": round(float(adjusted_rand_score(found.labels[both], again.labels[both])), 4),
    }


def _coded(names: dict[int, str], codes: npt.NDArray[Any]) -> pa.Array:
    """Names by number, as a column."""
    known = [names.get(code, "") for code in range(max(names, default=-1) + 1)]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(known, pa.string())).cast(pa.string())


# ------------------------------------------------------------------------------------------------------------------ names


class Names(NamedTuple):
    names: dict[int, str]
    keywords: dict[int, list[str]]


def _names(
    evidence: Evidence, folder: Folder, recipe: Recipe, contents: Any, of: Ints, labels: Ints, distances: Floats, parts: Ints
) -> tuple[Names, Names, dict[str, Any]]:
    """Names of topics and groups, and what asking for them took."""
    near = _central(labels, of, distances, SAMPLED)
    order = np.array([number for some in near.values() for number in some], np.int64)
    texts = texts_of(evidence, contents.take(pa.array(order)), READ)
    topic_of = of[order]
    words = topic_keywords(texts, topic_of)
    group_words = topic_keywords(texts, parts[topic_of]) if len(order) else {}
    topics_, groups_ = sorted(near), sorted(set(parts.tolist()))
    names = {t: topic_name(words.get(t, [])) or f"topic {t}" for t in topics_}
    group_names = {g: topic_name(group_words.get(g, [])) or f"group {g}" for g in groups_}
    asked: dict[str, Any] = {}
    if recipe.topics.model and texts:
        at = {t: [texts[i] for i in np.flatnonzero(topic_of == t)[: naming.CENTRAL]] for t in topics_}
        for g in groups_:  # those of its largest topics, in turns
            inside = [t for t in topics_ if parts[t] == g]
            turns = [at[t][i] for i in range(naming.CENTRAL) for t in inside if i < len(at[t])]
            at[-1 - g] = turns[: naming.CENTRAL]
        given, asked = _asked(evidence, folder, recipe, at)
        names |= {key: name for key, name in given.items() if key >= 0}
        group_names |= {-1 - key: name for key, name in given.items() if key < 0}
    return Names(naming.distinct(names, words), words), Names(naming.distinct(group_names, group_words), group_words), asked


def _central(labels: Ints, of: Ints, distances: Floats, most: int) -> dict[int, list[int]]:
    """Of each topic the contents nearest to its centre, members before what was placed there."""
    order = np.lexsort((distances, labels == NOISE, of))
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    return {int(of[some[0]]): some[:most].tolist() for some in np.split(order, starts[1:]) if len(some)}


def _asked(
    evidence: Evidence, folder: Folder, recipe: Recipe, texts: dict[int, list[str]]
) -> tuple[dict[int, str], dict[str, Any]]:
    section = recipe.topics
    assert section.model is not None
    prompt = naming.prompt_of(folder.prompts)
    with open_door(evidence, folder, recipe, TABLE.name, section.model, section) as door:
        names = naming.ask_names(door, prompt, texts, section.model)
        statuses = Counter({"scored": len(names), "unnamed": len(texts) - len(names)})
        took = notes(evidence, door, section.model, +statuses, len(texts), len(texts))
    return names, {"named_by": label(section.model), "naming": {k: v for k, v in took.items() if k != "model"}}


def _sample(
    evidence: Evidence, contents: Any, some: npt.NDArray[Any], order: npt.NDArray[Any], names: dict[int, str], of: Ints
) -> list[dict[str, Any]]:
    """The first of some contents, in an order, as people see them."""
    chosen = some[np.argsort(order[some], kind="stable")][:LISTED]
    ids = contents.take(pa.array(chosen))
    return [
        {"topic": names[int(of[number])], "content": str(content)[:8], "text": text}
        for number, content, text in zip(chosen, ids.to_pylist(), texts_of(evidence, ids, SHOWN), strict=True)
    ]
