"""clustered: the scored rows with what each is about, where it lies and how it is put; fewer of them, where the recipe asks.

    row_id   topic_name           topic_group_name  topic_status  map_x  map_y  style_question  style_length  style_difficulty
    9f3c...  fractions, percent   total, cost       member        3.11   -0.4   calculate       short         medium

Nothing is left out unless the section says so. `order`, `similarity` and `budget` are DEITA's selection, `topic_cap` and `mix`
hold topics, groups, sources or languages to their share (diversity.py):

    dropped 51ab...  too_similar  {"of": "0c5e...", "cosine": 0.9312}
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.asset import state
from sft_assets.clustered.coverage import topic_entropy
from sft_assets.clustered.diversity import (
    NO_TOPIC,
    OVER_BUDGET,
    OVER_MIX,
    OVER_TOPIC_CAP,
    REASONS,
    TOO_SIMILAR,
    Chosen,
    choose,
)
from sft_assets.clustered.diversity import warm_up as warm_up_diversity
from sft_assets.clustered.embeddings import places_of, read_vectors
from sft_assets.clustered.mix import REST
from sft_assets.compiling import compiling
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.recipe import Clustered, Recipe
from sft_assets.reviews import applying
from sft_assets.warehouse.build import Build, Law, Table
from sft_assets.warehouse.names import literal

TABLE = Table(
    "clustered",
    columns={
        "row_id": "UUID",
        "content_hash": "UUID",
        "topic_id": "INTEGER",
        "topic_name": "VARCHAR",
        "topic_group": "INTEGER",
        "topic_group_name": "VARCHAR",
        "topic_status": "VARCHAR",
        "topic_island": "INTEGER",
        "topic_probability": "FLOAT",
        "topic_distance": "FLOAT",
        "topic_neighbours": "UUID[]",
        "map_x": "FLOAT",
        "map_y": "FLOAT",
        "style_turns": "INTEGER",
        "style_prompt_words": "INTEGER",
        "style_answer_words": "INTEGER",
        "style_length": "VARCHAR",
        "style_question": "VARCHAR",
        "style_code": "BOOLEAN",
        "style_math": "BOOLEAN",
        "style_language": "VARCHAR",
        "style_difficulty": "VARCHAR",
    },
    after="scored",
    laws=(
        applying.KEPT,
        Law(
            "topics_handed_on",
            "a kept row has the topic and the style of its content, wherever there is one",
            """
            SELECT count(*)
            FROM {table} AS s LEFT JOIN topics AS t USING (content_hash) LEFT JOIN descriptors AS d USING (content_hash)
            WHERE s.topic_id IS DISTINCT FROM t.topic OR s.style_turns IS DISTINCT FROM d.turns OR d.turns IS NULL
            """,
        ),
        Law(
            "limits_kept",
            "no more rows stay than budget and topic_cap allow, but for those that people keep",
            """
            SELECT count(*) FROM (
                SELECT topic_id, budget, topic_cap, count(*) AS n, count(r.row_id) AS held
                FROM {table} LEFT JOIN (SELECT row_id FROM {reviewed} WHERE decision = 'keep') AS r USING (row_id)
                CROSS JOIN clustered_limits
                GROUP BY GROUPING SETS ((topic_id, budget, topic_cap), (budget, topic_cap))
                HAVING CASE grouping(topic_id) WHEN 0 THEN topic_id IS NOT NULL AND n > greatest(topic_cap, held)
                       ELSE n > greatest(budget, held) END
            )
            """,
        ),
        Law(
            "too_similar_to_a_row_that_stays",
            "a row that is too similar names a row that stayed, and is as near to it as it says",
            """
            SELECT count(*)
            FROM {dropped} AS d LEFT JOIN {table} AS kept ON kept.row_id = (d.evidence ->> 'of')::UUID
            LEFT JOIN {parent} AS own ON own.row_id = d.row_id
            LEFT JOIN embeddings AS a ON a.content_hash = own.content_hash
            LEFT JOIN embeddings AS b ON b.content_hash = kept.content_hash
            WHERE reason = 'too_similar' AND (
                kept.row_id IS NULL
                OR abs(list_inner_product(a.vector::FLOAT[], b.vector::FLOAT[]) - (d.evidence ->> 'cosine')::DOUBLE) > 1e-3
            )
            """,
        ),
    ),
)
NEIGHBOURS = 5  # that a row shows
MIX_BY = {"topic": "topic_name", "group": "topic_group_name", "source": "source", "language": "style_language"}
SIGNED = frozenset({"likelihood", "reward"})  # scores that may be below zero
MOST = 1 << 30  # rows: no limit
LISTED = 10


@state(TABLE, deps=("topics", "projection", "embeddings", "descriptors", "clustered_reviews"), code=1)
def clustered(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The scored rows with topic, place, neighbours and style; fewer, where caps, a mix or DEITA's selection ask for it."""
    section = recipe.clustered
    held = {row_id for row_id, decision in applying.apply(build, folder).items() if decision.decision == "keep"}
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE clustered_limits AS
        SELECT {_limit(section.budget)} AS budget, {_limit(section.topic_cap)} AS topic_cap
    """)
    if _asks_for_less(section):
        _choose(build, folder, recipe, held)
    scored = build.of("scored")
    build.insert_sql(f"""
        SELECT s.row_id, s.content_hash, t.topic AS topic_id, t.topic_name, t.topic_group, t.group_name AS topic_group_name,
            t.status AS topic_status, t.island AS topic_island,
            t.probability AS topic_probability, t.distance AS topic_distance,
            n.row_ids AS topic_neighbours, p.x AS map_x, p.y AS map_y,
            d.turns AS style_turns, d.prompt_words AS style_prompt_words, d.answer_words AS style_answer_words,
            d.length AS style_length, d.question AS style_question, d.code AS style_code, d.math AS style_math,
            d.language AS style_language, d.difficulty AS style_difficulty
        FROM {scored} AS s
        LEFT JOIN {build.of("topics")} AS t USING (content_hash)
        LEFT JOIN {build.of("projection")} AS p USING (content_hash)
        LEFT JOIN {build.of("descriptors")} AS d USING (content_hash)
        LEFT JOIN (
            SELECT content_hash, list(row_id ORDER BY place)[:{NEIGHBOURS}] AS row_ids
            FROM (
                SELECT content_hash, unnest(neighbours) AS neighbour, generate_subscripts(neighbours, 1) AS place
                FROM {build.of("projection")}
            )
            JOIN (
                SELECT content_hash AS neighbour, min(row_id) AS row_id
                FROM {scored} ANTI JOIN {build.ledger("dropped")} USING (row_id) GROUP BY ALL
            ) USING (neighbour)
            GROUP BY content_hash
        ) AS n USING (content_hash)
        ANTI JOIN {build.ledger("dropped")} AS gone ON gone.row_id = s.row_id
    """)
    build.notes |= _notes(build)


def _limit(rows: int | None) -> int:
    return MOST if rows is None else rows


def _asks_for_less(section: Clustered) -> bool:
    return bool(section.mix) or any(limit is not None for limit in (section.similarity, section.budget, section.topic_cap))


# ---------------------------------------------------------------------------------------------------------------- diversity


def _choose(build: Build, folder: Folder, recipe: Recipe, held: set[UUID]) -> None:
    """Drop the rows that the section leaves out."""
    section = recipe.clustered
    by = MIX_BY[section.mix_by]
    rows = build.con.sql(f"""
        SELECT row_id, s.content_hash, coalesce(t.topic, {NO_TOPIC}) AS topic, topic_name,
            group_name AS topic_group_name, s.source, d.language AS style_language,
            {_score_sql(section, folder, recipe)} AS score
        FROM {build.parents["scored"].rows} AS s
        LEFT JOIN {build.of("topics")} AS t ON t.content_hash = s.content_hash
        LEFT JOIN {build.of("descriptors")} AS d ON d.content_hash = s.content_hash
        ORDER BY row_id
    """).to_arrow_table()
    of, score = rows[by].combine_chunks().dictionary_encode(), rows["score"].to_numpy().astype(np.float64)
    names = of.dictionary.to_pylist()
    _check_mix(build, folder, section, sorted(names))
    code = {name: number for number, name in enumerate(section.mix)}
    parts = np.array([*(code.get(name, REST) for name in names), REST], np.int64)  # the last: of rows that have none
    with compiling(build.say):
        warm_up_diversity()
    found = choose(
        _vectors(build, rows, section),
        score,
        rows["topic"].to_numpy().astype(np.int64),
        parts[of.indices.fill_null(len(names)).to_numpy()],
        places_of(rows["row_id"].combine_chunks(), uuids([row_id.bytes for row_id in held])) >= 0,
        similarity=section.similarity,
        budget=section.budget,
        topic_cap=section.topic_cap,
        shares={code[name]: share for name, share in section.mix.items()},
        progress=build.progress,
    )
    _drop(build, rows, found, section)
    if found.wanted:
        named = {REST: "(all others)", **{number: name for name, number in code.items()}}
        build.notes["mix"] = {named[p]: {"wanted": n, "got": found.got[p]} for p, n in found.wanted.items()}
    unscored = int(np.isnan(score).sum())
    if section.order and unscored:
        build.notes["rows_without_order"] = unscored
        build.say(f"{unscored:,} of {len(rows):,} rows have no {' x '.join(section.order)}: they come after all others")


def _check_mix(build: Build, folder: Folder, section: Clustered, names: list[str]) -> None:
    """Whether the mix names what there is. Topics are named by their rows, and a name may be gone when rows were added: if
    others are there, that is said and reported, else it is an error."""
    absent = [name for name in section.mix if name not in names]
    if not absent:
        return
    if not names:
        why = "embeddings.model is null" if section.mix_by in ("topic", "group") else "no row has one"
        raise SftError(f"{folder.recipe}: clustered.mix: there is no {section.mix_by} at all: {why}")
    said = f"there is no {section.mix_by} {absent[0]!r} among the rows; {did_you_mean(absent[0], names, 'there are')}"
    if section.mix_by in ("source", "language") or len(absent) == len(section.mix):
        raise SftError(f"{folder.recipe}: clustered.mix: {said}")
    build.say(f"clustered.mix: {said}")


def _score_sql(section: Clustered, folder: Folder, recipe: Recipe) -> str:
    """The product of the scores that put rows in order; NaN where one is missing."""
    columns = {"ifd": "likelihood_ifd", "likelihood": "likelihood_score", "reward": "reward_score"}
    columns |= {rubric: f"judge_scores[{literal(rubric)}]" for rubric in recipe.judgements.rubrics}
    for name in section.order:
        if name not in columns:
            known = f"there is no score {name!r}; {did_you_mean(name, columns)}"
            raise SftError(f"{folder.recipe}: clustered.order: {known}")
    if len(section.order) > 1 and (signed := SIGNED.intersection(section.order)):
        said = f"{min(signed)} may be below zero, so a product with it puts nothing in order; name it alone"
        raise SftError(f"{folder.recipe}: clustered.order: {said}")
    return f"coalesce({' * '.join(columns[name] for name in section.order) or '0'}, 'nan')::DOUBLE"


def _vectors(build: Build, rows: pa.Table, section: Clustered) -> npt.NDArray[np.float32]:
    """The vector of each row, zeros where it has none; without a ceiling nobody asks for them."""
    if section.similarity is None or not len(rows):
        return np.zeros((len(rows), 0), np.float32)
    contents, vectors = read_vectors(build.con, build.of("embeddings"))
    places = places_of(pa.concat_arrays(rows["content_hash"].chunks), contents)
    found = np.zeros((len(rows), vectors.shape[1]), np.float32)
    found[places >= 0] = vectors[places[places >= 0]]
    return found


def _drop(build: Build, rows: pa.Table, found: Chosen, section: Clustered) -> None:
    gone = np.flatnonzero(~found.kept)
    if not len(gone):
        return
    left = rows.take(pa.array(gone))
    near, by_cap, by_mix = (found.reason[gone] == code for code in (TOO_SIMILAR, OVER_TOPIC_CAP, OVER_MIX))
    batch = pa.table(
        {
            "row_id": left["row_id"],
            "reason": pa.array([REASONS[code] for code in found.reason[gone]]),
            "of": rows["row_id"].take(pa.array(found.of[gone], mask=~near)),
            "cosine": pa.array(found.cosine[gone].astype(np.float64).round(4), mask=~near),
            "topic": left["topic_name"],
            "part": left[MIX_BY[section.mix_by]],
            "rank": pa.array(found.rank[gone] + 1),
            "by_cap": by_cap,
            "by_mix": by_mix,
            "by_budget": found.reason[gone] == OVER_BUDGET,
        }
    )
    dropped = f"""
        SELECT row_id, reason, json_merge_patch('{{}}', json_object(  -- which leaves out what is null
            'of', "of", 'cosine', cosine, 'rank', rank, 'topic', if(by_cap, topic, NULL),
            'topic_cap', if(by_cap, {section.topic_cap or 0}, NULL), '{section.mix_by}', if(by_mix, part, NULL),
            'budget', if(by_budget, {section.budget or 0}, NULL)
        )) AS evidence
        FROM batch
    """
    build.drop_sql(dropped, batch)


# ------------------------------------------------------------------------------------------------------------------- report


def _notes(build: Build) -> dict[str, Any]:
    """What the state says of itself: its topics with their rows before and after, how even they are, and the rows' style."""

    def counts(column: str) -> dict[str, int]:
        sql = f"SELECT coalesce({column}::VARCHAR, 'unknown'), count(*) FROM {build.table} GROUP BY ALL ORDER BY 2 DESC, 1"
        return dict(build.con.execute(sql).fetchall())

    topics = build.con.execute(f"""
        SELECT t.topic_name, any_value(t.group_name), count(s.row_id) AS before, count(k.row_id) AS after
        FROM {build.of("topics")} AS t JOIN {build.of("scored")} AS s USING (content_hash)
        LEFT JOIN {build.table} AS k ON k.row_id = s.row_id
        GROUP BY t.topic_name ORDER BY before DESC, t.topic_name
    """).fetchall()
    sides = {
        side: even and {"entropy": round(even.nats, 4), "evenness": round(even.share, 4), "effective": round(even.effective, 2)}
        for side, place in (("in", 2), ("kept", 3))
        for even in [topic_entropy([row[place] for row in topics] or [0])]
    }
    return {
        "topics": len(topics),
        "topic_evenness": sides,
        "rows_by_topic": [dict(zip(("topic", "group", "in", "kept"), row, strict=True)) for row in topics],
        "rows_by_status": counts("topic_status"),
        "rows_on_islands": build.value(f"SELECT count(topic_island) FROM {build.table}"),
        "rows_without_topic": build.value(f"SELECT count(*) FROM {build.table} WHERE topic_id IS NULL"),
        **{f"rows_by_{name}": counts(f"style_{name}") for name in ("length", "question", "language", "difficulty")},
        "rows_with_code": build.value(f"SELECT count(*) FROM {build.table} WHERE style_code"),
        "rows_with_math": build.value(f"SELECT count(*) FROM {build.table} WHERE style_math"),
        "sample_dropped": _sides(build),
    }


def _sides(build: Build) -> list[dict[str, Any]]:
    """Dropped rows of every reason, those that are too similar with both texts, the least similar first."""
    rows = build.con.execute(f"""
        SELECT reason, left(d.row_id::VARCHAR, 8), evidence ->> 'cosine', left(own.messages[1].content, 160),
            left(evidence ->> 'of', 8), left(other.messages[1].content, 160)
        FROM {build.ledger("dropped")} AS d
        JOIN {build.parents["scored"].rows} AS own ON own.row_id = d.row_id
        LEFT JOIN {build.parents["scored"].rows} AS other ON other.row_id = (evidence ->> 'of')::UUID
        QUALIFY row_number() OVER (
            PARTITION BY reason ORDER BY (evidence ->> 'cosine')::DOUBLE, (evidence ->> 'rank')::BIGINT, d.row_id
        ) <= {LISTED}
        ORDER BY reason, 3, 2
    """).fetchall()
    names = ("reason", "row", "cosine", "text", "stays", "its text")
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
