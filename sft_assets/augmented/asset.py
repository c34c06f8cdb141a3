"""augmented: the clustered rows, and those generated ones that passed every gate.

    row_id   source                   origin     generated_method  generated_parents  topic_name
    9f3c...  questions                source     NULL              NULL               fractions, percent
    7c20...  generated:evol_instruct  generated  evol_instruct     [9f3c...]          fractions, percent

    dropped e09a...  near_duplicate       {"gate": "near_duplicate", "method": "personas", "of": "9f3c...", "jaccard": 0.91}
    dropped 51ab...  unscored_likelihood  {"gate": "likelihood", "method": "documents", "status": "too_long"}

A generated row goes through the gates in one order: its method's own checks and validation (`generations`), rules, duplicates
of any row of combined, benchmarks (`generation_checks`), then likelihood, judge and reward where the recipe asks for them, and
last duplicates among those that are left. People have the last word: what they decided about a generated row holds whatever the
gates say (decided.py), and rows of one prompt that they compared are preference pairs (pairs.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

from sft_assets import reviews
from sft_assets.arrow import uuids
from sft_assets.asset import state
from sft_assets.augmented.candidate import PEOPLE
from sft_assets.augmented.decided import CHECKS, Decided, Fell, edits_of
from sft_assets.augmented.gates.asset import rules_version
from sft_assets.augmented.gates.duplicates import among
from sft_assets.augmented.pairs import Comparisons, Pair, store
from sft_assets.folder import Folder
from sft_assets.recipe import Limits, Recipe
from sft_assets.reviews import Decision, applying
from sft_assets.scored.decision import POSSIBLE_TEST_ITEM, beyond
from sft_assets.scored.judgements.rubrics import LIKELIHOODS, check_scores
from sft_assets.warehouse.build import Build, Created, Law, Table

AMONG = "one_another"  # the last gate: duplicates among what is left
DEAR = ("likelihood", "judge", "reward")  # gates that ask a model
REVIEWED = "reviewed"  # the reason where people decided
TOPICS = ("topic_id", "topic_name", "topic_group", "topic_group_name", "map_x", "map_y")
STYLES = ("turns", "prompt_words", "answer_words", "length", "question", "code", "math", "language", "difficulty")
WHOLE = f"""
SELECT s.row_id, s.content_hash, 'generated:' || s.generated_method AS source, 'generated' AS origin,
    s.generated_by ->> 'kind' AS kind, s.generated_by ->> 'license' AS license, s.generated_by ->> 'language' AS language,
    t.messages, t.rejected, t.tools,
    list_filter(
        coalesce(if(s.content_hash = g.content_hash, k.marks, s.generated_review), []),
        lambda m: m NOT IN ('{POSSIBLE_TEST_ITEM}', '{REVIEWED}')
    ) AS rule_names,
    coalesce(c.judge_scores, MAP {{{{}}}}) AS judge_scores, c.judge_model, c.likelihood_ifd,
    c.likelihood_likelihood AS likelihood_score, c.reward AS reward_score,
    if(len(s.generated_review) > 0, 'review', 'keep') AS verdict, s.generated_review AS review_reasons,
    {", ".join(f"coalesce(o.{name}, p.{name}) AS {name}" for name in TOPICS)},
    if(coalesce(o.topic_id, p.topic_id) IS NULL, NULL, 'generated') AS topic_status,
    coalesce(1 - o.topic_similarity, p.topic_distance)::FLOAT AS topic_distance,
    {", ".join(f"coalesce(c.style_{name}, p.style_{name}) AS style_{name}" for name in STYLES)},
    s.generated_method, s.generated_parents, s.generated_chunk, s.generated_by, s.generated_review
FROM {{table}} AS s
JOIN store.contents AS t ON t.content_hash = s.content_hash
LEFT JOIN {{generations}} AS g ON g.row_id = s.row_id
LEFT JOIN {{generation_checks}} AS k ON k.row_id = s.row_id
LEFT JOIN {{generation_scores}} AS o ON o.row_id = s.row_id
LEFT JOIN {{generation_scores}} AS c ON c.row_id = s.row_id AND c.content_hash = s.content_hash  -- else of a text before this
LEFT JOIN {{clustered}} AS p ON s.generated_method = '{PEOPLE}' AND p.row_id = s.generated_parents[1]
WHERE s.generated_method IS NOT NULL
"""
TABLE = Table(
    "augmented",
    columns={
        "row_id": "UUID",
        "content_hash": "UUID",
        "generated_method": "VARCHAR",
        "generated_parents": "UUID[]",
        "generated_chunk": "UUID",
        "generated_by": "JSON",
        "generated_review": "VARCHAR[]",
    },
    after="clustered",
    creates=Created("generations", WHOLE),
    laws=(
        Law(
            "clustered_rows_stay",
            "every row of clustered is there as it was: only generated rows are turned down here",
            "SELECT count(*) FROM clustered ANTI JOIN {table} USING (row_id, content_hash)",
        ),
        Law(
            "every_gate_passed",
            "a generated row that is there fell at no gate and was scored by each that is asked for, unless people keep it; "
            "one with a text that people gave it fell at none that asks no model",
            f"""
            SELECT count(*)
            FROM {{table}} AS t JOIN generations AS g USING (row_id)
            LEFT JOIN generation_checks AS k USING (row_id) LEFT JOIN generation_scores AS c USING (row_id)
            ANTI JOIN (FROM {{reviewed}} WHERE decision IN ('keep', 'review')) AS r USING (row_id)
            ANTI JOIN (FROM {CHECKS} WHERE gate IS NULL) AS e ON e.row_id = t.row_id AND e.content_hash = t.content_hash
            WHERE t.content_hash IS DISTINCT FROM g.content_hash
               OR g.reason IS NOT NULL OR k.row_id IS NULL OR k.gate IS NOT NULL OR c.row_id IS NULL
               OR likelihood_status NOT IN ('scored', 'off') OR judge_status NOT IN ('scored', 'off')
               OR reward_status NOT IN ('scored', 'off')
            """,
        ),
        Law(
            "pairs_of_two_rows",
            "a pair that people made has the prompt and the answer of one row that is there, and the answer of another",
            f"""
            WITH pairs AS (
                FROM {{table}} ANTI JOIN {CHECKS} USING (row_id, content_hash) WHERE generated_method = '{PEOPLE}'
            )
            SELECT (SELECT count(*) FROM pairs) - (
                SELECT count(*)
                FROM pairs AS t JOIN {{parent}} AS a ON a.row_id = t.generated_parents[1]
                JOIN {{parent}} AS b ON b.row_id = t.generated_parents[2]
                JOIN store.contents AS c ON c.content_hash = t.content_hash
                JOIN store.contents AS won ON won.content_hash = a.content_hash
                JOIN store.contents AS lost ON lost.content_hash = b.content_hash
                WHERE c.messages = won.messages AND c.rejected = lost.messages[-1:] AND a.row_id != b.row_id
                  AND c.tools IS NOT DISTINCT FROM won.tools
            )
            """,
        ),
        Law(
            "duplicates_have_a_keeper",
            "a generated row that went as a duplicate names a row of combined, or a generated one that is there",
            """
            SELECT count(*) FROM {dropped} AS d
            LEFT JOIN combined AS c ON c.row_id = (d.evidence ->> 'of')::UUID
            LEFT JOIN {table} AS t ON t.row_id = (d.evidence ->> 'of')::UUID
            WHERE d.reason IN ('exact_duplicate', 'near_duplicate') AND c.row_id IS NULL AND t.row_id IS NULL
            """,
        ),
        applying.KEPT,
    ),
)
EVIDENCE = ("generations", "generation_checks", "generation_scores", "gaps")
PARENTS = (*EVIDENCE, "combined", "deduped", "scored", "benchmarks", "augmented_reviews")
LISTED = 10


@state(TABLE, deps=PARENTS, code=1, data_of_code=rules_version)
def augmented(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The clustered rows, the generated ones that passed every gate, and pairs that people made; why each of the others did
    not."""
    thresholds = stricter(recipe.scored.thresholds, recipe.augmented.thresholds)
    check_scores(recipe.augmented.thresholds, recipe.judgements.rubrics, f"{folder.recipe}: augmented.thresholds")
    comparisons, people = _people(build, folder, recipe)
    build.created = build.value(f"SELECT count(*) FROM {build.of('generations')}") + len(comparisons.pairs)
    candidates = _candidates(build, comparisons.pairs)
    falls: dict[UUID, Fell] = {}
    marks: dict[UUID, list[str]] = {}
    for row in candidates:
        fall, marks[row["row_id"]] = _verdict(row, thresholds, comparisons, people)
        if fall:
            falls[row["row_id"]] = fall
    left = [row for row in candidates if row["row_id"] not in falls]
    falls |= _duplicates(build, left, people, recipe)
    pairs = {pair.row_id: pair for pair in comparisons.pairs}
    for row in candidates:
        if fall := falls.get(row["row_id"]):
            gate, reason, evidence = fall
            two = pairs[row["row_id"]].told if row["row_id"] in pairs else {}
            build.drop(row["row_id"].bytes, reason, {"gate": gate, "method": row["method"], **two, **evidence})
    accepted = [row for row in candidates if row["row_id"] not in falls]
    _insert(build, accepted, marks, pairs)
    for row_id, edit in (*_edits(build), *edits_of(people.edited)):
        build.edit(row_id.bytes, *edit)
    build.notes |= _notes(build, candidates, falls)
    if comparisons.report:
        build.notes["comparisons"] = comparisons.report


def stricter(one: Mapping[str, Limits], other: Mapping[str, Limits]) -> dict[str, Limits]:
    """Thresholds that hold a score to both: of two limits the one that lets less through."""
    both = {name: (one.get(name, Limits()), other.get(name, Limits())) for name in {**one, **other}}
    sides = {"drop_below": max, "review_below": max, "drop_above": min, "review_above": min}
    return {
        name: Limits(
            **{
                side: pick((value for value in (getattr(a, side), getattr(b, side)) if value is not None), default=None)
                for side, pick in sides.items()
            }
        )
        for name, (a, b) in both.items()
    }


# ------------------------------------------------------------------------------------------------------------------- deciding


def _people(build: Build, folder: Folder, recipe: Recipe) -> tuple[Comparisons, Decided]:
    """What people decided: pairs of rows that they compared, and what becomes of generated rows and of these pairs."""
    said = reviews.read(folder)
    if said.warning:
        build.say(said.warning)
    decisions = said.of(TABLE.name)
    comparisons = Comparisons.of(build, [one for one in decisions if one.other])
    pairs = comparisons.pairs
    store(build, pairs)
    build.con.execute("CREATE OR REPLACE TEMP TABLE made_of_two (row_id UUID, content_hash UUID, kind VARCHAR, source VARCHAR)")
    names = {"kind": pa.array(["preference"] * len(pairs)), "source": pa.array([f"generated:{PEOPLE}"] * len(pairs))}
    ids = {"row_id": _uuids([pair.row_id for pair in pairs]), "content_hash": _uuids([pair.content_hash for pair in pairs])}
    build.insert_into("made_of_two", pa.table({**ids, **names}))
    build.made = "made_of_two"
    made = f"(FROM made_of_two UNION ALL SELECT row_id, content_hash, kind, source FROM {build.of('generations')})"
    people = Decided.of(build, folder, recipe, [one for one in decisions if not one.other], made)
    if decisions:
        unused = {id(one) for one in comparisons.unused}
        counted = [one for one in decisions if id(one) not in unused]
        applied = [*comparisons.settled.values(), *people.applied]
        applying.record(build, counted, applied, comparisons.there | people.there)
    return comparisons, people


def _candidates(build: Build, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Everything that was generated, with what the gates said of it, and the pairs that people made."""
    scores = ", ".join(f"c.likelihood_{name} AS {name}" for name in LIKELIHOODS)
    found = _rows(
        build,
        f"""
        SELECT g.row_id, g.content_hash, g.kind, g.source, g.method, g.parents, g.topic_name AS wanted_topic,
            g.stage, g.reason, g.detail, g.cost, k.gate, k.reason AS gate_reason, k.evidence, k.marks,
            c.likelihood_status, c.judge_status, c.reward_status, c.judge_scores, {scores}, c.reward, c.topic_name
        FROM {build.of("generations")} AS g
        LEFT JOIN {build.of("generation_checks")} AS k USING (row_id)
        LEFT JOIN {build.of("generation_scores")} AS c USING (row_id)
        ORDER BY g.row_id
    """,
    )
    return found + [
        {
            "row_id": pair.row_id,
            "content_hash": pair.content_hash,
            "kind": "preference",
            "source": f"generated:{PEOPLE}",
            "method": PEOPLE,
            "parents": [pair.chosen.row_id, pair.rejected.row_id],
        }
        for pair in pairs
    ]


def _rows(build: Build, sql: str) -> list[dict[str, Any]]:
    cursor = build.con.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _verdict(
    row: dict[str, Any], thresholds: Mapping[str, Limits], comparisons: Comparisons, people: Decided
) -> tuple[Fell | None, list[str]]:
    """(gate, reason, evidence) of where a row falls, if it does, and why it is to be reviewed; people have the last word. A row
    to which they gave another text has its hash from now on."""
    if edited := people.edited.get(row["row_id"]):
        row["content_hash"] = edited.content_hash
        fall, review = edited.fell, edited.marks
    else:
        fall, review = (None, []) if row["method"] == PEOPLE else _of_gates(row, thresholds)
    if one := people.verdicts.get(row["row_id"]):
        fall = (PEOPLE, REVIEWED, _said(one)) if one.decision == "drop" else None
        return fall, [REVIEWED] if one.decision == "review" else []
    compared = comparisons.settled.get(frozenset(row["parents"])) if row["kind"] == "preference" else None
    if compared and not fall and row["method"] != PEOPLE:
        fall = (PEOPLE, REVIEWED, {**_said(compared), "compared": [str(of) for of in compared.subject]})
    return fall, review


def _said(one: Decision) -> dict[str, Any]:
    return {"why": one.why, "reviewer": one.reviewer, "time": one.at}


def _of_gates(row: Mapping[str, Any], thresholds: Mapping[str, Limits]) -> tuple[Fell | None, list[str]]:
    """The first gate at which a row falls as the models gave it, if it does, and why it is to be reviewed."""
    if row["reason"] is not None:
        return (row["stage"], row["reason"], orjson.loads(row["detail"] or "{}")), []
    if row["gate"] is not None:
        return (row["gate"], row["gate_reason"], orjson.loads(row["evidence"] or "{}")), []
    for gate in DEAR:
        if (status := row[f"{gate}_status"]) not in ("scored", "off"):
            return (gate, f"unscored_{gate}", {"status": status}), []
    scores = {name: row[name] for name in (*LIKELIHOODS, "reward") if row[name] is not None} | (row["judge_scores"] or {})
    found = [reason for name, limits in thresholds.items() if name in scores for reason in beyond(name, scores[name], limits)]
    for one in found:
        if one.action == "drop":
            gate = "likelihood" if one.score in LIKELIHOODS else "reward" if one.score == "reward" else "judge"
            return (gate, one.name, {"score": one.score, "value": one.value, "limit": one.limit}), []
    return None, [*(row["marks"] or []), *(one.name for one in found)]


def _duplicates(build: Build, left: list[dict[str, Any]], people: Decided, recipe: Recipe) -> dict[UUID, Fell]:
    """Those among the rows that are left that are duplicates of others of them. What people keep stays, and so do the pairs
    that they made (unless they keep the same pair as a model gave it); what they wrote stays rather than what a model did."""
    if len(left) < 2:
        return {}
    pairs = {row["row_id"] for row in left if row["method"] == PEOPLE}
    kept = {row["content_hash"]: str(row["row_id"]) for row in left if row["row_id"] in people.held - pairs}
    falls: dict[UUID, Fell] = {
        row["row_id"]: (AMONG, "exact_duplicate", {"of": kept[row["content_hash"]], "jaccard": 1.0})
        for row in left
        if row["row_id"] in pairs - people.held and row["content_hash"] in kept
    }
    left = [row for row in left if row["row_id"] not in falls]
    ids, contents = (_uuids([row[name] for row in left]) for name in ("row_id", "content_hash"))
    kinds, sources = (pa.array([row[name] for row in left], pa.string()) for name in ("kind", "source"))
    build.con.register("left_over", pa.table({"row_id": ids, "content_hash": contents, "kind": kinds, "source": sources}))
    rows = build.con.sql("""
        SELECT row_id, content_hash, kind, source, messages, rejected, tools
        FROM left_over JOIN store.contents USING (content_hash)
        ORDER BY row_id
    """).to_arrow_table()
    build.con.unregister("left_over")
    held = people.held | pairs
    priority = [2.0 * (row_id in held) or float(row_id in people.edited) for row_id in rows["row_id"].to_pylist()]
    found = among(rows, recipe.deduped, priority)
    falls |= {
        UUID(bytes=row_id): (AMONG, fall.reason, fall.evidence)
        for row_id, fall in found.items()
        if UUID(bytes=row_id) not in held
    }
    return falls


def _uuids(values: list[UUID]) -> pa.Array:
    return uuids([value.bytes for value in values])


def _insert(build: Build, accepted: list[dict[str, Any]], marks: Mapping[UUID, list[str]], pairs: Mapping[UUID, Pair]) -> None:
    build.insert_sql(f"SELECT row_id, content_hash FROM {build.of('clustered')}")
    if not accepted:
        return
    ids, contents = (_uuids([row[name] for row in accepted]) for name in ("row_id", "content_hash"))
    review = pa.array([marks[row["row_id"]] for row in accepted], pa.list_(pa.string()))
    build.con.register("accepted", pa.table({"row_id": ids, "now": contents, "generated_review": review}))
    build.insert_sql(f"""
        SELECT g.row_id, now AS content_hash, g.method AS generated_method, g.parents AS generated_parents,
            chunk_id AS generated_chunk, generated_review,
            json_merge_patch('{{}}', json_object(  -- which leaves out what is null
                'document', document, 'spans', if(len(spans) > 0, to_json(spans), NULL), 'prompts', prompts, 'model', model,
                'parameters', parameters, 'choices', choices, 'seed', seed, 'attempt', attempt,
                'kind', kind, 'license', license, 'language', language
            )) AS generated_by
        FROM {build.of("generations")} AS g JOIN accepted USING (row_id)
    """)
    own = [row for row in accepted if row["row_id"] in pairs]
    parents, ids = _uuids([parent for row in own for parent in row["parents"]]), _uuids([row["row_id"] for row in own])
    told = pa.array([pairs[row["row_id"]].made_by for row in own], pa.string())
    two = pa.ListArray.from_arrays(pa.array(range(0, 2 * len(own) + 1, 2), pa.int32()), parents)
    build.con.register("own", pa.table({"row_id": ids, "generated_parents": two, "generated_by": told}))
    build.insert_sql(f"""
        SELECT row_id, now AS content_hash, '{PEOPLE}' AS generated_method, generated_parents, generated_by, generated_review
        FROM own JOIN accepted USING (row_id)
    """)
    for name in ("own", "accepted"):
        build.con.unregister(name)


def _edits(build: Build) -> list[tuple[UUID, Sequence[str]]]:
    """What was repaired and masked in rows that are there."""
    found = build.con.execute(
        f"SELECT row_id, edits FROM {build.of('generations')} SEMI JOIN {build.table} USING (row_id) WHERE edits IS NOT NULL"
    ).fetchall()
    return [(row_id, edit) for row_id, edits in found for edit in orjson.loads(edits)]


# --------------------------------------------------------------------------------------------------------------------- report


def _notes(build: Build, candidates: list[dict[str, Any]], falls: Mapping[UUID, Any]) -> dict[str, Any]:
    """The funnel of each method, what an accepted row cost, and the gaps before and after."""
    funnel: dict[str, Counter[str]] = defaultdict(Counter)
    cost: dict[str, dict[str, list[float]]] = {"method": defaultdict(lambda: [0.0, 0]), "topic": defaultdict(lambda: [0.0, 0])}
    for row in candidates:
        fall = falls.get(row["row_id"])
        counts = funnel[row["method"]]
        counts["candidates"] += 1
        counts["accepted" if fall is None else fall[0]] += 1
        if row["method"] == PEOPLE:  # which asked nobody
            continue
        topic = (row["topic_name"] if fall is None else None) or row["wanted_topic"] or "(no topic)"
        for by, name in (("method", row["method"]), ("topic", topic)):
            cost[by][name][0] += row["cost"] or 0.0
            cost[by][name][1] += fall is None
    notes: dict[str, Any] = {"accepted": sum(counts["accepted"] for counts in funnel.values())}
    if candidates:
        notes["funnel"] = {method: dict(counts) for method, counts in sorted(funnel.items())}
        notes |= {
            f"cost_per_accepted_row_by_{by}": {
                name: round(total / accepted, 6) if accepted else None for name, (total, accepted) in sorted(found.items())
            }
            for by, found in cost.items()
        }
    return notes | _gaps(build)


def _gaps(build: Build) -> dict[str, Any]:
    """What was missing, and what still is."""
    cell = "to_json([topic_id::VARCHAR, difficulty, length, language, turns])::VARCHAR"
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE gaps_now AS
        WITH made AS (
            SELECT topic_id, any_value(topic_name) AS topic_name, style_difficulty AS difficulty, style_length AS length,
                style_language AS language,
                if(len(list_filter(messages, lambda m: m.role = 'user')) > 1, 'multi', 'single') AS turns, count(*) AS made
            FROM {build.table} AS t SEMI JOIN (FROM {build.of("generations")} WHERE kind = 'sft') USING (row_id)
            JOIN {build.of("generation_scores")} AS s USING (row_id)
            JOIN store.contents AS c ON c.content_hash = t.content_hash GROUP BY ALL
        )
        SELECT coalesce(g.topic_name, m.topic_name) AS topic_name, coalesce(g.difficulty, m.difficulty) AS difficulty,
            coalesce(g.length, m.length) AS length, coalesce(g.language, m.language) AS language,
            coalesce(g.turns, m.turns) AS turns, coalesce(rows, 0) AS rows, coalesce(missing, 0) AS missing,
            coalesce(made, 0) AS made, greatest(coalesce(missing, 0) - coalesce(made, 0), 0) AS still
        FROM (SELECT *, {cell} AS cell FROM {build.of("gaps")}) AS g
        FULL JOIN (SELECT *, {cell} AS cell FROM made) AS m USING (cell)  -- rows may be of a cell that had none
    """)

    missing, still = build.con.execute(
        "SELECT coalesce(sum(missing), 0)::BIGINT, coalesce(sum(still), 0)::BIGINT FROM gaps_now"
    ).fetchall()[0]
    result = {
        "missing_before": missing,
        "missing_after": still,
        "gaps_by_topic": _rows(
            build,
            """
            SELECT coalesce(topic_name, '(no topic)') AS topic, sum(rows)::BIGINT AS rows,
                sum(missing)::BIGINT AS missing_before, sum(made)::BIGINT AS made, sum(still)::BIGINT AS missing_after
            FROM gaps_now GROUP BY ALL HAVING sum(missing) > 0 OR sum(made) > 0 ORDER BY missing_before DESC, topic
        """,
        ),
        "sample_gaps": _rows(
            build,
            f"""
            SELECT topic_name AS topic, difficulty, length, language, turns, rows, missing, made, still
            FROM gaps_now WHERE missing > 0 ORDER BY missing DESC, topic, difficulty, length, language, turns LIMIT {LISTED}
        """,
        ),
    }
    build.con.execute("DROP TABLE gaps_now")
    return result
