"""What is worth a person's minute, kind by kind: each a query over the tables of `Standing`, the most telling rows first.

    row_id   state     verdict  about                   evidence                       other_id  place
    9f3c...  scored    review   review mojibake         NULL                           NULL      1
    41d0...  deduped   dropped  deduped near_duplicate  {"of": "51ab...", "jaccard":   51ab...   2
                                                         0.81}

None where the states that a kind is about are not built. A row may be of several kinds; it is asked about once (`picking`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sft_assets.reviews.queue.item import Asked
from sft_assets.reviews.queue.standing import NO_ROWS, TEST_ITEM, Standing
from sft_assets.scored.judgements.rubrics import LIKELIHOODS
from sft_assets.warehouse.names import literal

DISAGREE = 0.5  # percentile ranks, of 1: further apart than half of the rows
NEAR = 0.05  # share of the rows on that side of a limit that are nearest to it
BEYOND = (  # state, reason, what it was compared by, the recipe's limit, how far beyond it is still near
    ("deduped", "near_duplicate", "jaccard", "threshold", 0.05),
    ("decontaminated", None, "coverage", "coverage", 0.1),
    ("clustered", "too_similar", "cosine", "similarity", 0.05),
)
ROWS = "row_id, content_hash, state, verdict, about, evidence, other_id, other_hash"
ALONE = "NULL::JSON AS evidence, NULL::UUID AS other_id, NULL::UUID AS other_hash"


def marked(rows: Standing) -> str | None:
    """Rows that the pipeline marks for review, in turns of each reason, those that have most of them first. (Those that are
    marked as a test item only are of the kind `paraphrase`.)"""
    return f"""
        SELECT {ROWS}, row_number() OVER (ORDER BY turn, reasons DESC, about) AS place
        FROM (
            SELECT row_id, content_hash, state, 'review' AS verdict, 'review ' || reason AS about, {ALONE}, reasons,
                row_number() OVER (PARTITION BY reason ORDER BY reasons DESC, row_id) AS turn
            FROM (
                SELECT row_id, content_hash, state, len(reasons) AS reasons,
                    list_filter(reasons, lambda r: r NOT IN {TEST_ITEM} OR state != 'scored')[1] AS reason
                FROM asked_marked
            )
            WHERE reason IS NOT NULL
        )
    """


def paraphrase(rows: Standing) -> str | None:
    """Rows that may be test items in other words, the nearest first: those that are marked for it, dropped for it, or kept as
    a judge takes them for another task."""
    if not rows.has("decontaminated", "contamination_candidates"):
        return None
    marks = (
        f"SELECT row_id, true AS is_marked FROM asked_marked WHERE state = 'scored' AND list_has_any(reasons, {[*TEST_ITEM]})"
    )
    is_open = "coalesce(is_marked, false)" if rows.has("scored") else "true"
    return f"""
        SELECT {ROWS}, row_number() OVER (ORDER BY verdict = 'kept', (evidence ->> 'score')::DOUBLE DESC, row_id) AS place
        FROM (
            SELECT row_id, n.content_hash, 'decontaminated' AS state, if({is_open}, 'review', 'kept') AS verdict,
                if({is_open}, 'review possible_test_item', 'kept') AS about, c.evidence,
                NULL::UUID AS other_id, NULL::UUID AS other_hash
            FROM {rows.table("decontaminated")} AS d
            JOIN asked_rows AS n USING (row_id, content_hash)
            JOIN asked_nearest AS c USING (row_id)
            LEFT JOIN ({marks}) AS m USING (row_id)
            ANTI JOIN (FROM asked_gone WHERE state = 'scored') AS g USING (row_id)
            WHERE paraphrase_of IS NOT NULL
            UNION ALL
            SELECT row_id, content_hash, state, 'dropped', state || ' ' || reason, evidence, NULL, NULL
            FROM asked_gone WHERE state = 'decontaminated' AND reason = 'benchmark_paraphrase'
        )
    """


def signals(rows: Standing) -> str | None:
    """Kept rows of which one signal says that they are among the best and another that they are among the worst: the widest
    spread of percentile ranks first. Of both likelihoods low loss is taken for good, hits of rules for bad."""
    if not rows.has("scored"):
        return None
    scored = f"{rows.table('scored')} AS s JOIN (FROM asked_kept WHERE NOT generated) USING (row_id, content_hash)"
    named = {"likelihood": "likelihood_score", "ifd": "-likelihood_ifd", "reward": "reward_score", "rules": "-len(rule_names)"}
    values = " UNION ALL ".join(
        f"SELECT row_id, content_hash, '{name}' AS signal, {value}::DOUBLE AS value FROM {scored} WHERE {value} IS NOT NULL"
        for name, value in named.items()
    )
    return f"""
        SELECT row_id, content_hash, 'scored' AS state, 'kept' AS verdict, 'kept' AS about,
            json_group_object('rank by ' || signal, round(rank, 2)) AS evidence,
            NULL::UUID AS other_id, NULL::UUID AS other_hash,
            row_number() OVER (ORDER BY max(rank) - min(rank) DESC, row_id) AS place
        FROM (
            SELECT row_id, content_hash, signal, value,  -- half of those that have the same are taken for worse
                (percent_rank() OVER by_value + cume_dist() OVER by_value) / 2 AS rank
            FROM (
                {values}
                UNION ALL
                SELECT row_id, content_hash, 'judge, ' || judged.key, judged.value
                FROM (SELECT row_id, content_hash, unnest(map_entries(judge_scores)) AS judged FROM {scored})
            )
            WINDOW by_value AS (PARTITION BY signal ORDER BY value)
        )
        WHERE signal != 'rules' OR value < 0  -- a row that no rule hits is not among the best for it
        GROUP BY row_id, content_hash
        HAVING max(rank) - min(rank) > {DISAGREE}
    """


def threshold(rows: Standing) -> str | None:
    """Rows that are just on one side of a limit of the recipe, kept or dropped, the nearest to each limit first, in turns."""
    parts = [*_dropped_beyond(rows), *_near_scores(rows)]
    if not parts:
        return None
    return f"""
        SELECT {ROWS}, row_number() OVER (ORDER BY turn, series, row_id) AS place
        FROM (SELECT *, row_number() OVER (PARTITION BY series ORDER BY distance, row_id) AS turn
              FROM ({" UNION ALL ".join(parts)}))
    """


def _dropped_beyond(rows: Standing) -> Iterator[str]:
    for state, reason, measure, name, near in BEYOND:
        limit = rows.part(state).get(name)
        if limit is None:
            continue
        value = f"(evidence ->> '{measure}')::DOUBLE"
        yield f"""
            SELECT row_id, content_hash, state, 'dropped' AS verdict, state || ' ' || reason AS about, evidence, other_id,
                other_hash, '{state} {measure}' AS series, {value} - {limit} AS distance
            FROM asked_gone
            WHERE state = '{state}' AND {f"reason = '{reason}'" if reason else "true"} AND {value} < {limit + near}
        """


def _near_scores(rows: Standing) -> Iterator[str]:
    if not rows.has("scored"):
        return
    for score, limits in (rows.part("scored").get("thresholds") or {}).items():
        value, more = _score(rows, score)
        for side, limit in limits.items():
            if limit is None:
                continue
            action, _, where = side.partition("_")
            kept = f"({value} - {limit})" if where == "below" else f"({limit} - {value})"
            sides = [f"""
                SELECT row_id, content_hash, 'scored' AS state, 'kept' AS verdict, 'kept' AS about,
                    json_object('score', {literal(score)}, 'value', {value}, 'limit', {limit}) AS evidence,
                    NULL::UUID AS other_id, NULL::UUID AS other_hash, {kept} AS distance
                FROM (FROM asked_kept WHERE NOT generated) JOIN {rows.table("scored")} USING (row_id, content_hash) {more}
                WHERE {kept} >= 0
            """]  # fmt: skip
            if action == "drop":
                sides.append(f"""
                    SELECT row_id, content_hash, state, 'dropped' AS verdict, 'scored ' || reason AS about,
                        json_object('score', {literal(score)}, 'value', (one ->> 'value')::DOUBLE, 'limit', {limit})
                            AS evidence,
                        other_id, other_hash, abs((one ->> 'value')::DOUBLE - {limit}) AS distance
                    FROM (
                        SELECT * EXCLUDE (evidence), unnest((evidence -> 'scores')::JSON[]) AS one
                        FROM asked_gone WHERE state = 'scored' AND reason = {literal(f"{score}_{where}")}
                    )
                    WHERE one ->> 'score' = {literal(score)}
                """)
            for n, sql in enumerate(sides):
                yield f"""
                    SELECT row_id, content_hash, state, verdict, about, evidence, other_id, other_hash,
                        {literal(f"{score} {side} {n}")} AS series, distance
                    FROM ({sql})
                    QUALIFY row_number() OVER (ORDER BY distance, row_id) <= ceil({NEAR} * count(*) OVER ())
                """


def _score(rows: Standing, score: str) -> tuple[str, str]:
    """(what a score is called in `scored`, what has to be joined for it)"""
    if score == "reward":
        return "reward_score", ""
    if score in LIKELIHOODS:
        return f"l.{score}", f"JOIN {rows.table('likelihoods')} AS l USING (content_hash)"
    return f"judge_scores[{literal(score)}]", ""


def conflict(rows: Standing) -> str | None:
    """Of each group of rows with one prompt and different answers the two that the signals hold for the best: between others
    the signals decide. Which of the two is A is drawn."""
    if not rows.has("deduped"):
        return None
    best, scored = "row_id", ""
    if rows.has("scored"):
        judged = "list_avg(map_values(judge_scores))"
        best = f"reward_score DESC NULLS LAST, {judged} DESC NULLS LAST, likelihood_score DESC NULLS LAST, row_id"
        scored = f"LEFT JOIN {rows.table('scored')} AS s USING (row_id, content_hash)"
    return f"""
        SELECT ids[1] AS row_id, hashes[1] AS content_hash, 'augmented' AS state, 'kept' AS verdict,
            'deduped conflict_group' AS about, json_object('answers', answers) AS evidence,
            ids[2] AS other_id, hashes[2] AS other_hash,
            row_number() OVER (ORDER BY answers DESC, conflict_group) AS place
        FROM (
            SELECT conflict_group, count(*) AS answers,
                list(row_id ORDER BY {rows.drawn("row_id::VARCHAR")}) FILTER (n <= 2) AS ids,
                list(content_hash ORDER BY {rows.drawn("row_id::VARCHAR")}) FILTER (n <= 2) AS hashes
            FROM (
                SELECT row_id, content_hash, conflict_group,
                    row_number() OVER (PARTITION BY conflict_group ORDER BY {best}) AS n
                FROM asked_kept AS k JOIN {rows.table("deduped")} AS d USING (row_id, content_hash) {scored}
                ANTI JOIN (FROM asked_settled WHERE decision = 'drop') AS gone USING (row_id, content_hash)
                WHERE conflict_group IS NOT NULL AND kind = 'sft'
            )
            GROUP BY conflict_group
        )
        ANTI JOIN asked_compared AS c ON c.a = hashes[1] AND c.b = hashes[2]
        WHERE answers > 1 AND hashes[1] != hashes[2]
    """


def generated(rows: Standing) -> str | None:
    """Generated rows that passed every gate, drawn, in turns of each method."""
    if not rows.has("augmented", "generations"):
        return None
    return f"""
        SELECT {ROWS}, row_number() OVER (ORDER BY turn, method) AS place
        FROM (
            SELECT row_id, content_hash, 'augmented' AS state, if(len(generated_review) > 0, 'review', 'kept') AS verdict,
                coalesce('review ' || generated_review[1], 'augmented ' || generated_method) AS about, {ALONE},
                generated_method AS method,
                row_number() OVER (PARTITION BY generated_method ORDER BY {rows.drawn("row_id::VARCHAR")}) AS turn
            FROM {rows.table("augmented")} SEMI JOIN asked_rows USING (row_id, content_hash)
            WHERE generated_method IS NOT NULL
        )
    """


def audit(rows: Standing) -> str | None:
    """A sample drawn at random, in turns of each stratum: what each state dropped for each reason, what is marked for each
    reason, and what is kept. Of rows that people decided about none is drawn: it tells of those that are left."""
    return f"""
        SELECT {ROWS}, row_number() OVER (ORDER BY turn, about, row_id) AS place
        FROM (
            SELECT *, row_number() OVER (PARTITION BY about ORDER BY {rows.drawn("about", "row_id::VARCHAR")}) AS turn
            FROM (
                SELECT row_id, content_hash, state, 'dropped' AS verdict, state || ' ' || reason AS about, evidence, other_id,
                    other_hash
                FROM asked_gone
                UNION ALL
                SELECT row_id, content_hash, if(is_item, 'decontaminated', state), 'review', 'review ' || reason,
                    if(is_item, evidence, NULL), NULL, NULL
                FROM (
                    SELECT *, reason IN {TEST_ITEM} AND state = 'scored' AS is_item
                    FROM (SELECT row_id, content_hash, state, unnest(reasons) AS reason FROM asked_marked)
                    LEFT JOIN asked_nearest USING (row_id)
                    WHERE reason != 'reviewed'  -- people want it reviewed, no rule does
                )
                UNION ALL
                SELECT row_id, content_hash, state, 'kept', 'kept', NULL, NULL, NULL FROM asked_kept
            )
            ANTI JOIN asked_settled USING (row_id, content_hash)
        )
    """


KINDS: dict[Asked, Callable[[Standing], str | None]] = {
    "marked": marked,
    "paraphrase": paraphrase,
    "signals": signals,
    "threshold": threshold,
    "conflict": conflict,
    "generated": generated,
    "audit": audit,
}  # and `disputed`, which comes from the file of decisions


def find(rows: Standing, asked: Asked) -> int:
    """Keep the rows of a kind, each once, as the temporary table `asked_as_KIND`; how many they are."""
    sql = KINDS[asked](rows)
    settled = "" if asked == "conflict" else "ANTI JOIN asked_settled AS done USING (row_id, content_hash)"
    # what people made of a row is asked about where it is marked, dropped, in a conflict, or drawn
    mended = "" if asked in ("conflict", "audit") else "WHERE verdict != 'kept' OR row_id NOT IN (FROM asked_mended)"
    if sql is None:
        sql = f"SELECT *, '' AS state, '' AS verdict, '' AS about, {ALONE}, 0 AS place FROM ({NO_ROWS}) WHERE false"
    rows.keep(
        f"asked_as_{asked}",
        f"SELECT * FROM ({sql}) AS found {settled} {mended} QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY place) = 1",
    )
    return int(rows.con.execute(f"SELECT count(*) FROM asked_as_{asked}").fetchall()[0][0])


def best(rows: Standing, asked: Asked, most: int) -> list[dict[str, Any]]:
    """The first rows of a kind that was found, by the names of their columns."""
    result = rows.con.execute(f"SELECT {ROWS} FROM asked_as_{asked} ORDER BY place LIMIT {most}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
