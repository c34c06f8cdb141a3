"""scored: the decontaminated rows with what the signals say of each: kept, marked for review, or dropped.

    row_id   rule_names              verdict
    9f3c...  []                      keep
    41d0...  [cut_off]               keep
    7b22...  [mojibake]              review
    0c5e...  []                      review     (a candidate of decontaminated: it may be a test item in other words)

    dropped 51ab...  refusal  {"rules": [{"rule": "refusal", "turn": 2, "span": [0, 28],
                                          "matched": "I'm sorry, but I cannot help", "why": "The answer declines ..."}]}

A row is dropped for the first of its dropping rules in the rules' own order (THEMES of rules.py, then as they stand in the
file). An answer that is labelled bad (`label` false) is there to be bad, as a losing answer is: rules about answers do not
count against its row.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sft_assets.asset import state
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.scored.decision import actions_of, decide
from sft_assets.scored.rules import Action, check_names, decision_version, rules
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "scored",
    columns={"row_id": "UUID", "content_hash": "UUID", "rule_names": "VARCHAR[]", "verdict": "VARCHAR"},
    after="decontaminated",
    laws=(
        Law(
            "no_dropping_rule",
            "no kept row hits a rule that drops",
            """
            SELECT count(*)
            FROM {table}
            JOIN decontaminated AS d USING (row_id)
            JOIN rule_hits AS h ON h.content_hash = d.content_hash
            JOIN scored_rules USING (rule)
            WHERE action = 'drop' AND NOT (about_answers AND d.label IS NOT DISTINCT FROM false)
            """,
        ),
        Law(
            "review_marked",
            "a kept row is marked for review where a rule asks for it or it may be a test item, and only there",
            """
            SELECT count(*)
            FROM {table} JOIN {parent} AS p USING (row_id)
            WHERE verdict != CASE
                WHEN p.paraphrase_of IS NOT NULL
                  OR list_has_any(rule_names, (SELECT coalesce(list(rule), []) FROM scored_rules WHERE action = 'review'))
                THEN 'review' ELSE 'keep' END
            """,
        ),
    ),
)


@state(TABLE, deps=("rule_hits",), code=2, data_of_code=decision_version)
def scored(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The decontaminated rows with the rules that hit them and a verdict, without the rows that a rule drops."""
    check_names(recipe.scored.actions, f"{folder.recipe}: scored.actions")
    actions = actions_of(rules(), recipe.scored.actions)
    _load_rules(build, actions)
    _load_decisions(build, actions)
    build.insert_sql(f"""
        SELECT row_id, content_hash, coalesce(rule_names, []) AS rule_names,
            CASE WHEN verdict = 'review' OR paraphrase_of IS NOT NULL THEN 'review' ELSE 'keep' END AS verdict
        FROM {build.of("decontaminated")}
        LEFT JOIN scored_rows USING (row_id)
        WHERE verdict IS DISTINCT FROM 'drop'
    """)
    build.drop_sql("""
        SELECT row_id, reason, json_object('rules', list(
            json_object('rule', rule, 'turn', turn, 'span', [start, stop], 'matched', matched, 'why', why) ORDER BY rank, turn
        )) AS evidence
        FROM scored_rows JOIN scored_hits USING (row_id) JOIN scored_rules USING (rule)
        WHERE verdict = 'drop' AND action = 'drop'
        GROUP BY row_id, reason
    """)
    build.notes |= _notes(build)


def _load_rules(build: Build, actions: dict[str, Action]) -> None:
    """Temporary table scored_rules: the rules as this recipe has them, the most telling first."""
    own = rules()
    table = pa.table(
        {
            "rule": pa.array(actions, pa.string()),
            "action": pa.array(actions.values(), pa.string()),
            "why": pa.array([own[name].why for name in actions], pa.string()),
            "about_answers": pa.array(
                [own[name].where in ("answer", "last_answer", "tool_calls") for name in actions], pa.bool_()
            ),
            "rank": pa.array(range(len(actions)), pa.int32()),
        }
    )
    _temporary(build, "scored_rules", "SELECT * FROM batch", table)


def _load_decisions(build: Build, actions: dict[str, Action]) -> None:
    """Temporary tables: scored_hits, the hits that count, by row; scored_rows, the decision on each row that has any."""
    _temporary(
        build,
        "scored_hits",
        f"""
        SELECT d.row_id, h.* EXCLUDE (content_hash)
        FROM {build.parents["decontaminated"].rows} AS d
        JOIN {build.of("rule_hits")} AS h USING (content_hash)
        LEFT JOIN scored_rules AS r USING (rule)
        WHERE r.rule IS NULL OR NOT (r.about_answers AND d.label IS NOT DISTINCT FROM false)
        """,
    )
    _temporary(
        build, "scored_rows", "SELECT row_id, list_sort(list(DISTINCT rule)) AS rule_names FROM scored_hits GROUP BY row_id"
    )
    # many rows, few combinations of rules: each is decided once
    combinations = [names for (names,) in build.con.execute("SELECT DISTINCT rule_names FROM scored_rows").fetchall()]
    decisions = [decide(names, actions) for names in combinations]
    table = pa.table(
        {
            "rule_names": pa.array(combinations, pa.list_(pa.string())),
            "verdict": pa.array([d.verdict for d in decisions], pa.string()),
            "reason": pa.array([d.reasons[0] if d.reasons else None for d in decisions], pa.string()),
        }
    )
    _temporary(build, "scored_rows", "SELECT * FROM scored_rows JOIN batch USING (rule_names)", table)


def _temporary(build: Build, name: str, select: str, batch: pa.Table | None = None) -> None:
    if batch is not None:
        build.con.register("batch", batch)
    build.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")
    if batch is not None:
        build.con.unregister("batch")


def _notes(build: Build) -> dict[str, Any]:
    def pairs(sql: str) -> dict[str, int]:
        return dict(build.con.execute(sql).fetchall())

    def sample(verdict: str) -> list[dict[str, Any]]:
        """Up to ten rows, of as many rules as there are."""
        rows = build.con.execute(f"""
            SELECT left(row_id::VARCHAR, 8), rule, matched
            FROM scored_rows JOIN scored_hits USING (row_id)
            WHERE verdict = '{verdict}' AND rule = reason
            QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY turn) = 1
            ORDER BY row_number() OVER (PARTITION BY rule ORDER BY row_id), rule
            LIMIT 10
        """).fetchall()
        return [{"row": row, "rule": rule, "matched": matched} for row, rule, matched in rows]

    return {
        "rows_hit": pairs("SELECT rule, count(DISTINCT row_id) FROM scored_hits GROUP BY rule ORDER BY rule"),
        "verdicts": pairs(f"SELECT verdict, count(*) FROM {build.table} GROUP BY verdict ORDER BY verdict")
        | pairs("SELECT verdict, count(*) FROM scored_rows WHERE verdict = 'drop' GROUP BY verdict"),
        "sample_dropped": sample("drop"),
        "sample_review": sample("review"),
    }
