"""map: where every row stands, those that were dropped too, and the page and the picture that show it.

    row_id   content_hash  x     y     topic  state      reason            how
    9f3c...  51ab...       3.11  -0.4  4      kept                         embedded
    51ab...  77aa...       3.11  -0.4  4      deduped    near_duplicate    with 9f3c..., which it lost to
    0c5e...  1d20...       0.82  2.5   1      scored     refusal           embedded for the map, amid its neighbours

D/map.html is one file that opens from disk; D/map.png is the picture. A duplicate stands where the row stands that it lost to;
of other dropped rows up to `max_dropped` contents are embedded, and placed amid their nearest neighbours. What raw and combined
left out became no row with content, and is not there. The figures of coverage compare what a state kept with what it dropped.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import uuid_bytes, uuids
from sft_assets.asset import model_evidence
from sft_assets.clustered.coverage import Coverage, sample
from sft_assets.clustered.embeddings import cached_vectors, embed_contents, places_of, read_vectors
from sft_assets.clustered.map.page import write_page
from sft_assets.clustered.map.picture import picture
from sft_assets.clustered.projection.asset import KEPT as NEIGHBOURS
from sft_assets.clustered.projection.nearest import nearest
from sft_assets.clustered.projection.umap_layout import placed
from sft_assets.clustered.texts import texts_of
from sft_assets.clustered.topics.hierarchy import NOISE
from sft_assets.clustered.topics.placing import vote
from sft_assets.engine import engine_of
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder, write_whole
from sft_assets.models.embedder import Embedder
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Law, Table
from sft_assets.warehouse.names import identifier, literal

STATES = ("deduped", "decontaminated", "scored", "clustered")  # that drop rows with content
TABLE = Table(
    "map",
    columns={
        "row_id": "UUID",
        "content_hash": "UUID",
        "x": "FLOAT",
        "y": "FLOAT",
        "topic": "INTEGER",
        "state": "VARCHAR",
        "reason": "VARCHAR",
        "how": "VARCHAR",
    },
    is_state=False,
    laws=(
        Law(
            "every_row_once",
            "every row of combined is there once, with the state that it ended in",
            """
            SELECT (SELECT count(*) FROM {table} FULL JOIN combined AS c USING (row_id) WHERE c.row_id IS NULL OR state IS NULL)
                 + (SELECT count(*) FROM combined ANTI JOIN {table} USING (row_id))
                 + (SELECT count(*) - count(DISTINCT row_id) FROM {table})
            """,
        ),
        Law(
            "kept_rows_have_a_place",
            "what clustered kept stands where it lies in the projection",
            """
            SELECT count(*) FROM clustered AS c LEFT JOIN {table} AS t USING (row_id)
            WHERE t.state IS NULL OR t.state NOT IN ('kept', 'review')
               OR (c.map_x IS NOT NULL AND (t.x IS DISTINCT FROM c.map_x OR t.y IS DISTINCT FROM c.map_y))
            """,
        ),
    ),
)
EXCERPT = "left(list_filter(messages, lambda m: m.role = 'user')[1].content, 170)"
ANSWER = "left(list_filter(messages, lambda m: m.role = 'assistant')[-1].content, 120)"
COMPARED, MEASURED = 2000, 20_000  # rows of each side whose words and whose vectors are compared
READ = 20_000  # characters of each
TOKENS = 100_000
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def _title(folder: Folder, recipe: Recipe) -> str:
    """What the page is headed with."""
    return recipe.exported.name


@model_evidence(
    TABLE, deps=("combined", *STATES, "embeddings", "projection", "topics", "descriptors"), code=1, data_of_code=_title
)
def map_(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """Where every row stands, dropped ones too: the map as page and picture, and what each state's drops did to coverage."""
    rows = _rows(evidence)
    stand = _places(evidence, folder, recipe, rows)
    table = pa.table(
        {
            "row_id": rows["row_id"],
            "content_hash": rows["content_hash"],
            "x": pa.array(stand.xy[:, 0], from_pandas=True),
            "y": pa.array(stand.xy[:, 1], from_pandas=True),
            "topic": pa.array(stand.topic.astype(np.int32), mask=stand.topic == NOISE),
            "state": rows["state"],
            "reason": rows["reason"],
            "how": pa.array(stand.how.tolist(), pa.string()),
        }
    )
    evidence.insert(table)
    there = np.flatnonzero(np.isfinite(stand.xy[:, 0]))
    points, scores = _points(evidence, table.take(pa.array(there[: recipe.map.max_rows])))
    title = f"{_title(folder, recipe)}: {len(there):,} rows" + (f", {len(points):,} shown" if len(points) < len(there) else "")
    write_page(folder.map, points, title, scores)
    image = picture(points)
    write_whole(folder.map.with_suffix(".png"), image)
    counts = rows["state"].value_counts()
    evidence.notes |= {
        "files": [folder.map.name, folder.map.with_suffix(".png").name],
        "rows_by_state": {pair["values"]: pair["counts"] for pair in counts.sort().to_pylist()},
        "without_a_place": len(rows) - len(there),
        "embedded_for_the_map": stand.embedded,
        "shown": len(points),
        "coverage": _coverage(evidence, rows, stand),
        "picture": base64.b64encode(image).decode(),
    }


def _rows(evidence: Evidence) -> pa.Table:
    """Every row of combined with where it ended: row_id, content_hash, state, reason, of (the row that it lost to)."""
    with evidence.reading() as con:
        return con.sql(f"""
            SELECT c.row_id, c.content_hash, coalesce(d.state, if(s.verdict = 'review', 'review', 'kept')) AS state,
                coalesce(d.reason, if(s.verdict = 'review', array_to_string(s.review_reasons, ', '), '')) AS reason,
                if(d.state = 'deduped', (d.evidence ->> 'of')::UUID, NULL) AS "of"
            FROM combined AS c
            LEFT JOIN (SELECT * FROM dropped WHERE state IN {STATES}) AS d USING (row_id)
            LEFT JOIN {evidence.rows("clustered")} AS s USING (row_id)
            ORDER BY c.row_id
        """).to_arrow_table()


# ------------------------------------------------------------------------------------------------------------------- places


class Places(NamedTuple):
    """Where each row stands. xy: NaN where nobody knows. topic: -1 where there is none. vector: a row of `vectors`, or -1."""

    xy: Floats
    topic: Ints
    vector: Ints
    vectors: Floats
    how: npt.NDArray[np.object_]
    embedded: int


def _places(evidence: Evidence, folder: Folder, recipe: Recipe, rows: pa.Table) -> Places:
    with evidence.reading() as con:
        known, vectors = read_vectors(con, evidence.of("embeddings"))
        lie = con.sql(f"""
            SELECT x, y, fitted, topic
            FROM {evidence.of("projection")} JOIN {evidence.of("topics")} USING (content_hash) ORDER BY content_hash
        """).to_arrow_table()
    xy = np.stack([lie["x"].to_numpy(), lie["y"].to_numpy()], axis=1).astype(np.float32).reshape(-1, 2)
    topic = lie["topic"].to_numpy().astype(np.int64)
    contents = rows["content_hash"].combine_chunks()
    at = places_of(contents, known)
    of = places_of(rows["of"].combine_chunks(), rows["row_id"].combine_chunks())
    lost = np.flatnonzero((at < 0) & (of < 0))
    ended = pc.is_in(rows["state"], pa.array(["kept", "review"])).to_numpy()  # such as people kept against a dropping rule
    stay = set(uuid_bytes(contents.take(pa.array(lost[ended[lost]]))))
    dropped = sorted({*uuid_bytes(contents.take(pa.array(lost)))} - stay)[: recipe.map.max_dropped]
    wanted = [*sorted(stay), *dropped]
    if wanted and recipe.embeddings.model is not None and len(known):
        more = _embedded(evidence, folder, recipe, wanted)
        fitted = vectors[: int(np.count_nonzero(lie["fitted"].to_numpy()))]
        places, topics = _amid(more, fitted, xy, topic)
        new = places_of(contents, uuids(wanted))
        at = np.where(new < 0, at, len(vectors) + new)
        vectors, xy, topic = np.vstack([vectors, more]), np.vstack([xy, places]), np.concatenate([topic, topics])
    how = np.where(at < 0, "", np.where(at < len(known), "embedded", "embedded for the map")).astype(object)
    duplicates = np.flatnonzero(of >= 0)
    at[duplicates] = at[of[duplicates]]
    how[duplicates[at[duplicates] >= 0]] = "with the row that it lost to"
    none = at < 0
    stand = np.full((len(rows), 2), np.nan, np.float32)
    stand[~none] = xy[at[~none]]
    return Places(stand, np.where(none, NOISE, topic[at] if len(topic) else NOISE), at, vectors, how, len(wanted))


def _embedded(evidence: Evidence, folder: Folder, recipe: Recipe, hashes: list[bytes]) -> Floats:
    """Vectors of contents that `embeddings` leaves out."""
    section = recipe.embeddings
    assert section.model is not None
    embedder, cache = Embedder(section.model, windows=section.windows), Vectors(folder.embeddings)
    embed_contents(evidence, cache, embedder, hashes, engine_of(recipe.engine, evidence.say))
    return cached_vectors(cache, embedder, hashes)[0]


def _amid(vectors: Floats, fitted: Floats, xy: Floats, topic: Ints) -> tuple[Floats, Ints]:
    """Coordinates and topics of vectors that were not in the projection."""
    if not len(fitted):
        return np.full((len(vectors), 2), np.nan, np.float32), np.full(len(vectors), NOISE, np.int64)
    around = nearest(vectors, fitted, NEIGHBOURS, among=False)
    topics, _ = vote(topic.astype(np.int32), around, int(topic.max()) + 1)
    return placed(xy, around), topics.astype(np.int64)


# --------------------------------------------------------------------------------------------------------------------- page


def _points(evidence: Evidence, some: pa.Table) -> tuple[pa.Table, list[str]]:
    """What the page shows of rows of the table, and the names of their scores."""
    with evidence.reading() as con:
        con.register("shown", some.append_column("place", pa.array(range(len(some)), pa.int64())))
        judged = con.execute("SELECT DISTINCT unnest(map_keys(judge_scores)) FROM scored ORDER BY 1").fetchall()
        scores = {name: f"judge_scores[{literal(name)}]" for (name,) in judged}
        scores |= {"ifd": "likelihood_ifd", "likelihood": "likelihood_score", "reward": "reward_score"}
        columns = "".join(f""", s.{sql} AS {identifier(f"score {name}")}""" for name, sql in scores.items())
        points = con.sql(f"""
            SELECT p.row_id::VARCHAR AS row_id, p.x, p.y, t.topic_name AS topic, t.group_name AS "group", c.source, p.state,
                p.reason, d.language, concat_ws(' ⏎ ', {EXCERPT}, {ANSWER}) AS excerpt {columns}
            FROM shown AS p
            JOIN combined AS c USING (row_id)
            LEFT JOIN (SELECT DISTINCT topic, topic_name, group_name FROM {evidence.of("topics")}) AS t ON t.topic = p.topic
            LEFT JOIN descriptors AS d ON d.content_hash = p.content_hash
            LEFT JOIN (
                SELECT row_id, judge_scores, likelihood_ifd, likelihood_score, reward_score FROM scored
            ) AS s ON s.row_id = p.row_id
            ORDER BY p.place
        """).to_arrow_table()
        con.unregister("shown")
    return points, [name for name in scores if points[f"score {name}"].null_count < len(points)]


# ----------------------------------------------------------------------------------------------------------------- coverage


def _coverage(evidence: Evidence, rows: pa.Table, stand: Places) -> dict[str, Any]:
    """The figures of what each state kept and of what it dropped; combined: of all rows. (Rows come by row_id, which is a hash:
    the first ones are a sample.)"""
    left = np.arange(len(rows))
    sets = {"combined": {"kept": left}}
    for state in STATES:
        gone = pc.equal(rows["state"], state).to_numpy()[left]
        sets[state] = {"kept": left[~gone], "dropped": left[gone]}
        left = left[~gone]
    texts = _texts(evidence, rows, sets)
    topics = int(stand.topic.max(initial=NOISE)) + 1
    result: dict[str, Any] = {}
    for state, sides in sets.items():
        if result and not len(sides["dropped"]):  # what it kept is what came to it
            before = next(reversed(result.values()))["kept"]
            result[state] = {"kept": before, "dropped": Coverage.of(left[:0], topics, None, [], 0).to_dict()}
            continue
        words = {side: [texts[i] for i in some[:COMPARED].tolist()] for side, some in sides.items()}
        tokens = min([TOKENS, *(len(sample(said, TOKENS).values) for said in words.values() if said)])
        result[state] = {
            side: Coverage.of(stand.topic[some], topics, _vectors(stand, some[:MEASURED]), words[side], tokens).to_dict()
            for side, some in sides.items()
        }
    return result


def _vectors(stand: Places, some: Ints) -> Floats:
    """Of rows those vectors that are known."""
    at = stand.vector[some]
    return stand.vectors[at[at >= 0]]


def _texts(evidence: Evidence, rows: pa.Table, sets: dict[str, dict[str, Ints]]) -> dict[int, str]:
    """The texts that are compared, by row."""
    wanted = sorted({i for sides in sets.values() for some in sides.values() for i in some[:COMPARED].tolist()})
    contents = rows["content_hash"].combine_chunks().take(pa.array(wanted, pa.int64()))
    return dict(zip(wanted, texts_of(evidence, contents, READ), strict=True))
