"""scored: the decontaminated rows with what the signals say of each: kept, marked for review, or dropped.

    row_id   rule_names   judge_scores      likelihood_ifd  reward_score  verdict  review_reasons
    9f3c...  []           {helpfulness: 4}  0.71            NULL          keep     []
    41d0...  [cut_off]    {}                NULL            NULL          keep     []
    7b22...  [mojibake]   {helpfulness: 2}  0.93            NULL          review   [mojibake]
    0c5e...  []           {}                NULL            NULL          review   [possible_test_item]

    dropped 51ab...  refusal  {"rules": [{"rule": "refusal", "turn": 2, "span": [0, 28],
                                          "matched": "I'm sorry, but I cannot help", "why": "The answer declines ..."}]}

    dropped 88c1...  reviewed {"why": "the sum is wrong", "reviewer": "ann", "time": "2026-01-02T03:04:05Z"}

A row is dropped for the first of the signals that drop it (decision.py has their order), unless people decided about it. An
answer that is labelled bad (`label` false) is there to be bad, as a losing answer is: rules about answers do not count against
its row, and nobody is asked about it.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from sft_assets.asset import state
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.reviews import applying
from sft_assets.scored.decision import Policy, Signals, decide
from sft_assets.scored.judgements.rubrics import LIKELIHOODS, check_scores
from sft_assets.scored.rule_hits.rules import actions, check_names, chosen, decision_version, rules
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "scored",
    columns={
        "row_id": "UUID",
        "content_hash": "UUID",
        "rule_names": "VARCHAR[]",
        "judge_scores": "MAP(VARCHAR, DOUBLE)",
        "judge_model": "VARCHAR",
        "likelihood_ifd": "DOUBLE",
        "likelihood_score": "DOUBLE",
        "reward_score": "DOUBLE",
        "verdict": "VARCHAR",
        "review_reasons": "VARCHAR[]",
    },
    after="decontaminated",
    laws=(
        Law(
            "no_dropping_rule",
            "no kept row hits a rule that drops, unless people decided about the row",
            """
            SELECT count(*)
            FROM {table}
            JOIN decontaminated AS d USING (row_id)
            JOIN rule_hits AS h ON h.content_hash = d.content_hash
            JOIN scored_rules AS r USING (rule)
            ANTI JOIN {reviewed} AS v ON v.row_id = d.row_id
            WHERE r.action = 'drop' AND NOT (h.about_answers AND d.label IS NOT DISTINCT FROM false)
            """,
        ),
        Law(
            "no_score_beyond_its_limit",
            "no kept row has a score beyond a limit that drops, unless people decided about the row",
            """
            SELECT count(*)
            FROM {table} JOIN scored_scores USING (content_hash) JOIN scored_limits USING (score)
            ANTI JOIN {reviewed} USING (row_id)
            WHERE action = 'drop' AND (value < lowest OR value > highest)
            """,
        ),
        Law(
            "review_marked",
            "a kept row is marked for review where people, or else rules, limits or a near test item ask for it, nowhere else",
            """
            SELECT count(*)
            FROM {table} AS t JOIN {parent} AS p USING (row_id) LEFT JOIN scored_candidates AS c USING (row_id)
            LEFT JOIN {reviewed} AS v USING (row_id)
            LEFT JOIN (
                SELECT DISTINCT content_hash, true AS beyond
                FROM scored_scores JOIN scored_limits USING (score)
                WHERE action = 'review' AND (value < lowest OR value > highest)
            ) AS s ON s.content_hash = t.content_hash
            WHERE (verdict = 'review') != (len(review_reasons) > 0) OR (verdict = 'review') != coalesce(
                v.decision = 'review',
                coalesce(beyond, false) OR coalesce(c.review, false)
                OR list_has_any(rule_names, (SELECT coalesce(list(rule), []) FROM scored_rules WHERE action = 'review'))
            )
            """,
        ),
        applying.KEPT,
        Law(
            "reviewed_dropped",
            "every row that people decided to drop went for that reason, and no other did",
            """
            SELECT count(*)
            FROM (FROM {reviewed} WHERE decision = 'drop')
            FULL JOIN (FROM {dropped} WHERE reason = 'reviewed') AS d USING (row_id)
            WHERE decision IS NULL OR d.reason IS NULL
            """,
        ),
        Law(
            "reviewed_marked",
            "every row that people want reviewed is there, marked for it",
            """
            SELECT count(*) FROM {reviewed} AS v LEFT JOIN {table} AS t USING (row_id, content_hash)
            WHERE v.decision = 'review' AND NOT coalesce(list_contains(t.review_reasons, 'reviewed'), false)
            """,
        ),
    ),
)
EVIDENCE = ("rule_hits", "likelihoods", "judgements", "contamination_judgements", "rewards")


@state(TABLE, deps=(*EVIDENCE, "scored_reviews"), code=3, data_of_code=decision_version)
def scored(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The decontaminated rows with what rules and models say of them, without those that a signal or a person drops."""
    section = recipe.scored
    check_names(recipe.rule_hits.actions, f"{folder.recipe}: rule_hits.actions")
    by_rule = actions(recipe.rule_hits.actions)
    looked_for = {rule.name: by_rule[rule.name] for rule in chosen(recipe.rule_hits.skip)}
    policy = Policy(looked_for, section.thresholds, section.same_item, section.other_item)
    _load_rules(build, policy)
    _load_scores(build, policy, folder, recipe)
    _load_candidates(build, policy)
    applying.apply(build, folder)
    _load_decisions(build, policy)
    build.insert_sql(f"""
        SELECT d.row_id, d.content_hash, coalesce(rule_names, []) AS rule_names,
            coalesce(judge_scores, MAP {{}}) AS judge_scores, judge_model, likelihood_ifd, likelihood_score, reward_score,
            coalesce(verdict, 'keep') AS verdict, coalesce(reasons, []) AS review_reasons
        FROM {build.of("decontaminated")} AS d
        LEFT JOIN scored_rows USING (row_id)
        LEFT JOIN scored_columns AS s ON s.content_hash = d.content_hash
        WHERE verdict IS DISTINCT FROM 'drop'
    """)
    build.drop_sql("""
        SELECT row_id, reasons[1] AS reason, json_merge_patch('{}', json_object(  -- which leaves out what is null
            'rules', rules, 'scores', beyond, 'judged', judged, 'test_item', test_item
        )) AS evidence
        FROM scored_rows
        LEFT JOIN (
            SELECT row_id, list(json_object('rule', rule, 'turn', turn, 'span', [start, stop], 'matched', matched, 'why', why)
                ORDER BY rank, turn) AS rules
            FROM scored_rows JOIN scored_hits USING (row_id) JOIN scored_rules AS r USING (rule)
            WHERE r.action = 'drop' GROUP BY row_id
        ) USING (row_id)
        LEFT JOIN (
            SELECT row_id, list(json_object('rubric', rubric, 'score', j.score, 'reason', j.reason, 'model', j.model)
                ORDER BY rubric) AS judged
            FROM scored_rows JOIN scored_judged AS j USING (content_hash) WHERE list_contains(beyond_scores, rubric)
            GROUP BY row_id
        ) USING (row_id)
        LEFT JOIN (
            SELECT row_id,
                json_object('benchmark', benchmark, 'item_id', item_id, 'reason', reason, 'model', model) AS test_item
            FROM scored_candidates WHERE candidate = 'same'
        ) USING (row_id)
        WHERE verdict = 'drop' AND reviewed = ''
    """)
    build.drop_sql(f"""
        SELECT row_id, 'reviewed' AS reason, json_object('why', why, 'reviewer', reviewer, 'time', time) AS evidence
        FROM scored_rows JOIN {build.ledger("reviewed")} USING (row_id) WHERE verdict = 'drop'
    """)
    build.notes |= _notes(build, recipe)


# ----------------------------------------------------------------------------------------------- what there is to decide upon


def _load_rules(build: Build, policy: Policy) -> None:
    """Temporary tables: scored_rules, the rules as this recipe has them, the most telling first; scored_hits, the hits that
    count, by row."""
    own = rules()
    table = pa.table(
        {
            "rule": pa.array(policy.actions, pa.string()),
            "action": pa.array(policy.actions.values(), pa.string()),
            "why": pa.array([own[name].why for name in policy.actions], pa.string()),
            "rank": pa.array(range(len(policy.actions)), pa.int32()),
        }
    )
    _temporary(build, "scored_rules", "SELECT * FROM batch", table)
    _temporary(
        build,
        "scored_hits",
        f"""
        SELECT d.row_id, h.rule, h.turn, h.start, h.stop, h.matched
        FROM {build.parents["decontaminated"].rows} AS d
        JOIN {build.of("rule_hits")} AS h USING (content_hash)
        WHERE h.rule NOT IN ({", ".join(f"'{name}'" for name in rules() if name not in policy.actions) or "''"})
          AND NOT (h.about_answers AND d.label IS NOT DISTINCT FROM false)
        """,
    )


def _load_scores(build: Build, policy: Policy, folder: Folder, recipe: Recipe) -> None:
    """Temporary tables: scored_judged, what the judge said by content and rubric; scored_scores, each score by content and
    name; scored_limits, the recipe's thresholds; scored_columns, the scores as columns of the state."""
    _temporary(
        build,
        "scored_judged",
        f"SELECT content_hash, rubric, score, reason, model FROM {build.of('judgements')} WHERE status = 'scored'",
    )
    likelihoods = " UNION ALL ".join(
        f"SELECT content_hash, '{name}' AS score, {name} AS value FROM {build.of('likelihoods')} WHERE {name} IS NOT NULL"
        for name in LIKELIHOODS
    )
    _temporary(
        build,
        "scored_scores",
        f"""
        SELECT content_hash, rubric AS score, score AS value FROM scored_judged
        UNION ALL {likelihoods}
        UNION ALL SELECT content_hash, 'reward', reward FROM {build.of("rewards")} WHERE reward IS NOT NULL
        """,
    )
    check_scores(policy.thresholds, recipe.judgements.rubrics, f"{folder.recipe}: scored.thresholds")
    limits = [
        (name, action, getattr(limit, f"{action}_below"), getattr(limit, f"{action}_above"))
        for name, limit in policy.thresholds.items()
        for action in ("drop", "review")
    ]
    types = {"score": pa.string(), "action": pa.string(), "lowest": pa.float64(), "highest": pa.float64()}
    columns = zip(*limits, strict=True) if limits else [()] * len(types)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types.values(), strict=True)]
    _temporary(build, "scored_limits", "SELECT * FROM batch", pa.table(arrays, names=list(types)))
    _temporary(
        build,
        "scored_columns",
        f"""
        SELECT content_hash, judge_scores, judge_model, l.ifd AS likelihood_ifd, l.likelihood AS likelihood_score,
            r.reward AS reward_score
        FROM (
            SELECT content_hash, map_from_entries(list((rubric, score) ORDER BY rubric)) AS judge_scores,
                min(model) AS judge_model
            FROM scored_judged GROUP BY content_hash
        )
        FULL JOIN {build.of("likelihoods")} AS l USING (content_hash)
        FULL JOIN {build.of("rewards")} AS r USING (content_hash)
        """,
    )


def _load_candidates(build: Build, policy: Policy) -> None:
    """Temporary table scored_candidates: the rows that may be test items, what the judge said of them, and whether that leaves
    them for review. Of several items the one that it takes for the same counts."""
    _temporary(
        build,
        "scored_candidates",
        f"""
        SELECT row_id, coalesce(c.benchmark, '') AS benchmark, coalesce(c.item_id, d.paraphrase_of) AS item_id, reason, model,
            coalesce(c.verdict, 'open') AS candidate,
            CASE candidate WHEN 'same' THEN '{policy.same_item}' = 'review'
                           WHEN 'other' THEN '{policy.other_item}' = 'review' ELSE true END AS review
        FROM {build.of("decontaminated")} AS d
        LEFT JOIN (
            SELECT row_id, benchmark, item_id, reason, model,
                CASE WHEN verdict = 'same' THEN 'same' WHEN every_other THEN 'other' END AS verdict
            FROM (
                SELECT *, bool_and(status = 'scored' AND verdict = 'other') OVER (PARTITION BY row_id) AS every_other
                FROM {build.of("contamination_judgements")}
            )
            QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY (verdict = 'same') DESC NULLS LAST, rank) = 1
        ) AS c USING (row_id)
        WHERE d.paraphrase_of IS NOT NULL
        """,
    )


def _load_decisions(build: Build, policy: Policy) -> None:
    """Temporary table scored_rows: the decision on each row that has any signal."""
    _temporary(
        build,
        "scored_rows",
        f"""
        SELECT d.row_id, d.content_hash, coalesce(h.rule_names, []) AS rule_names, coalesce(s.scores, '{{}}') AS scores,
            coalesce(c.candidate, '') AS candidate, coalesce(v.decision, '') AS reviewed
        FROM {build.of("decontaminated")} AS d
        LEFT JOIN (
            SELECT row_id, list_sort(list(DISTINCT rule)) AS rule_names FROM scored_hits GROUP BY row_id
        ) AS h USING (row_id)
        LEFT JOIN (
            SELECT content_hash, json_group_object(score, value)::VARCHAR AS scores
            FROM (SELECT * FROM scored_scores SEMI JOIN scored_limits USING (score) ORDER BY score)
            GROUP BY content_hash
        ) AS s USING (content_hash)
        LEFT JOIN scored_candidates AS c USING (row_id)
        LEFT JOIN {build.ledger("reviewed")} AS v USING (row_id)
        WHERE h.row_id IS NOT NULL OR s.content_hash IS NOT NULL OR c.row_id IS NOT NULL OR v.row_id IS NOT NULL
        """,
    )
    # many rows, few combinations of signals: each is decided once
    combinations = build.con.execute("SELECT DISTINCT rule_names, scores, candidate, reviewed FROM scored_rows").fetchall()
    decisions = [
        decide(Signals(tuple(names), orjson.loads(scores), candidate or None, reviewed or None), policy)
        for names, scores, candidate, reviewed in combinations
    ]
    beyond = [
        [{"score": r.score, "value": r.value, "limit": r.limit} for r in decision.reasons if r.score] for decision in decisions
    ]
    table = pa.table(
        {
            "rule_names": pa.array([names for names, *_ in combinations], pa.list_(pa.string())),
            "scores": pa.array([scores for _, scores, *_ in combinations], pa.string()),
            "candidate": pa.array([candidate for *_, candidate, _ in combinations], pa.string()),
            "reviewed": pa.array([reviewed for *_, reviewed in combinations], pa.string()),
            "verdict": pa.array([d.verdict for d in decisions], pa.string()),
            "reasons": pa.array([[r.name for r in d.reasons] for d in decisions], pa.list_(pa.string())),
            "beyond": pa.array([orjson.dumps(some).decode() if some else None for some in beyond], pa.string()),
            "beyond_scores": pa.array([[one["score"] for one in some] for some in beyond], pa.list_(pa.string())),
        }
    )
    signals = "rule_names, scores, candidate, reviewed"
    select = f"SELECT * REPLACE (beyond::JSON AS beyond) FROM scored_rows JOIN batch USING ({signals})"
    _temporary(build, "scored_rows", select, table)


def _temporary(build: Build, name: str, select: str, batch: pa.Table | None = None) -> None:
    build.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}", batch)


# ------------------------------------------------------------------------------------------------------------------ report

EXAMPLES = 10


def _notes(build: Build, recipe: Recipe) -> dict[str, Any]:
    def pairs(sql: str) -> dict[str, int]:
        return dict(build.con.execute(sql).fetchall())

    def sample(verdict: str) -> list[dict[str, Any]]:
        """Up to ten rows, of as many reasons as there are."""
        rows = build.con.execute(f"""
            SELECT left(s.row_id::VARCHAR, 8), reasons[1], coalesce(first_matched, beyond::VARCHAR, '')
            FROM scored_rows AS s LEFT JOIN (
                SELECT row_id, rule, min_by(matched, turn) AS first_matched FROM scored_hits GROUP BY ALL
            ) AS h ON h.row_id = s.row_id AND h.rule = reasons[1]
            WHERE verdict = '{verdict}'
            ORDER BY row_number() OVER (PARTITION BY reasons[1] ORDER BY s.row_id), reasons[1]
            LIMIT {EXAMPLES}
        """).fetchall()
        return [{"row": row, "reason": reason, "matched": matched} for row, reason, matched in rows]

    kept = f"SELECT content_hash FROM {build.table}"
    return {
        "rows_hit": pairs("SELECT rule, count(DISTINCT row_id) FROM scored_hits GROUP BY rule ORDER BY rule"),
        "verdicts": pairs(f"SELECT verdict, count(*) FROM {build.table} GROUP BY verdict ORDER BY verdict")
        | pairs("SELECT verdict, count(*) FROM scored_rows WHERE verdict = 'drop' GROUP BY verdict"),
        "review_reasons": pairs(
            f"SELECT reason, count(*) FROM (SELECT unnest(review_reasons) AS reason FROM {build.table}) GROUP BY 1 ORDER BY 1"
        ),
        "rows_scored": {
            "judge": build.value(f"SELECT count(*) FROM ({kept}) SEMI JOIN scored_judged USING (content_hash)"),
            "likelihood": build.value(f"SELECT count(*) FROM {build.table} WHERE likelihood_ifd IS NOT NULL"),
            "reward": build.value(f"SELECT count(*) FROM {build.table} WHERE reward_score IS NOT NULL"),
        },
        "sample_dropped": sample("drop"),
        "sample_review": sample("review"),
        **_sides(build, recipe),
    }


def _sides(build: Build, recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Ten rows on either side of the thresholds that drop, the nearest to them first."""
    if not recipe.scored.thresholds:
        return {}
    rows = build.con.execute(f"""
        SELECT score, value, left(row_id::VARCHAR, 8), left(messages[-1].content, 160),
            (value < lowest OR value > highest) IS TRUE AS gone
        FROM {build.parents["decontaminated"].rows} JOIN scored_scores USING (content_hash) JOIN scored_limits USING (score)
        ANTI JOIN {build.ledger("reviewed")} USING (row_id)
        WHERE action = 'drop' AND (lowest IS NOT NULL OR highest IS NOT NULL)
        QUALIFY row_number() OVER (
            PARTITION BY score, gone
            ORDER BY least(abs(value - coalesce(lowest, 1e9)), abs(value - coalesce(highest, 1e9))), row_id
        ) <= {EXAMPLES}
        ORDER BY score, value, row_id
    """).fetchall()
    sides: dict[str, list[dict[str, Any]]] = {"sample_just_dropped": [], "sample_just_kept": []}
    for score, value, row, text, gone in rows:
        entry = {"score": f"{score} {value:g}", "row": row, "text": text}
        sides["sample_just_dropped" if gone else "sample_just_kept"].append(entry)
    return sides
