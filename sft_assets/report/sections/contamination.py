"""Test items: what of each benchmark was found, the rows that held it with the place marked, and rows that may hold it in
other words.

    gsm8k_test 1   row 9f3c6a10   "... [Janet's ducks lay 16 eggs per day] ..."   item "Janet's ducks lay 16 eggs ..."
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.report.excerpts import CHARS, LEAD, Marked, around, clean, excerpts, short
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

TIERS = ("benchmark_item", "benchmark_ngram", "benchmark_coverage")
LISTED = 60  # benchmarks


def contamination(scope: Scope) -> Section:
    told = scope.report("decontaminated").get("benchmarks", {})
    lines = [
        {"name": name, **entry, "unprotected": sum(entry["unprotected"].values())}
        for name, entry in sorted(told.items(), key=lambda item: (-item[1]["rows_dropped"], item[0]))
    ]
    candidates = scope.rows(f"""
        SELECT count(*), count(e.row_id) FROM ({_open(scope)}) LEFT JOIN {scope.table("exported")} AS e USING (row_id)
    """)[0]
    verdicts = scope.rows(f"""
        SELECT coalesce(verdict, status), count(*) FROM {scope.table("contamination_judgements")}
        GROUP BY ALL ORDER BY 2 DESC, 1
    """)
    dropped = sum(entry["rows_dropped"] for entry in lines)
    return Section(
        "contamination",
        "Test items",
        {
            "benchmarks": lines[:LISTED],
            "more": max(len(lines) - LISTED, 0),
            "tiers": TIERS,
            "dropped": dropped,
            "leaks": _leaks(scope),
            "candidates": candidates[0],
            "candidates_exported": candidates[1],
            "verdicts": verdicts,
            "pairs": _candidates(scope),
        },
        [Figure("candidates", "", "rows", candidates[0]), *(Figure(e["name"], "", "rows", e["rows_dropped"]) for e in lines)],
    )


def _open(scope: Scope) -> str:
    """Candidates that did not go for holding an item word by word."""
    gone = f"SELECT row_id FROM told_dropped WHERE state = 'decontaminated' AND reason IN {TIERS}"
    return f"FROM {scope.table('contamination_candidates')} ANTI JOIN ({gone}) USING (row_id) WHERE rank = 1"


def _leaks(scope: Scope) -> list[dict[str, Any]]:
    """Rows that held an item, some of each tier, with the place marked in the row's own text."""
    if not scope.examples:
        return []
    found = scope.rows(f"""
        SELECT row_id, reason, evidence FROM (
            SELECT reason, unnest(min(row_id, {scope.examples})) AS row_id FROM told_dropped
            WHERE state = 'decontaminated' AND reason IN {TIERS} GROUP BY reason
        )
        JOIN told_dropped USING (row_id, reason) WHERE state = 'decontaminated' ORDER BY reason DESC, row_id
    """)
    leaks = [(row_id, reason, orjson.loads(evidence)) for row_id, reason, evidence in found]
    texts = _texts(scope, [(row_id, told) for row_id, _, told in leaks])
    return [
        {
            "reason": reason,
            "item": f"{clean(told['benchmark'], 60)} {clean(told['item_id'], 40)}",
            "left": {
                "head": f"row {short(row_id)}, {told['role']}",
                "text": texts.get(row_id) or [(clean(told["matched"]), True)],
            },
            "right": {"head": f"item, {told['field']}", "text": [(clean(told["item"]), False)]},
            "words": told["words"],
            "also": len(told.get("also", [])),
        }
        for row_id, reason, told in leaks
    ]


def _texts(scope: Scope, leaks: list[tuple[UUID, dict[str, Any]]]) -> dict[UUID, Marked]:
    """The text of each row around what was found, which is marked; only of spoken turns, of which the ledger has the spans."""
    spoken = [
        (row_id, told) for row_id, told in leaks if isinstance(told["turn"], int) and "part" not in told and told["spans"]
    ]
    if not spoken:
        return {}
    starts = {row_id: max(0, told["spans"][0][0] - LEAD) for row_id, told in spoken}
    wanted = pa.table(
        {
            "row_id": uuids([row_id.bytes for row_id, _ in spoken]),
            "turn": [told["turn"] for _, told in spoken],
            "first": [starts[row_id] for row_id, _ in spoken],
        }
    )
    with scope.given("wanted", wanted):
        rows = scope.rows(f"""
            SELECT row_id, substring(messages[turn].content, first + 1, {2 * CHARS})
            FROM wanted JOIN {scope.table("combined")} USING (row_id) JOIN store.contents USING (content_hash)
        """)
    spans = {row_id: told["spans"] for row_id, told in spoken}
    return {row_id: around(text, spans[row_id], starts[row_id]) for row_id, text in rows if text}


def _candidates(scope: Scope) -> list[dict[str, Any]]:
    """Rows that may hold an item in other words, the strongest first, with the item and what the judge said."""
    if not scope.examples:
        return []
    found = scope.rows(f"""
        SELECT c.row_id, c.benchmark, c.item_id, c.score, c.margin, c.numbers, left(b.text, {CHARS}), j.verdict,
            left(j.reason, 200)
        FROM ({_open(scope)}) AS c
        LEFT JOIN (
            SELECT benchmark, item_id, min(text) AS text FROM {scope.table("benchmarks")} WHERE field = 'question' GROUP BY ALL
        ) AS b USING (benchmark, item_id)
        LEFT JOIN {scope.table("contamination_judgements")} AS j ON (j.row_id, j.rank) = (c.row_id, c.rank)
        ORDER BY c.score + c.margin DESC NULLS LAST, c.row_id LIMIT {2 * scope.examples}
    """)
    texts = excerpts(scope, [row[0] for row in found])
    pairs = []
    for row_id, benchmark, item_id, score, margin, numbers, item, verdict, why in found:
        if row_id not in texts:
            continue
        said = "  ".join(text for _, text in texts[row_id].turns)
        judged = f"; judged {'the same' if verdict == 'same' else 'another'} task: {clean(why or '', 160)}" if verdict else ""
        figures = {"score": score, "margin": margin, "numbers that agree": numbers}
        pairs.append(
            {
                "item": f"{clean(benchmark, 60)} {clean(item_id, 40)}",
                "says": ", ".join(f"{name} {value:.2f}" for name, value in figures.items() if value is not None) + judged,
                "left": {"head": f"row {short(row_id)}", "text": [(said, False)]},
                "right": {"head": "item", "text": [(clean(item or ""), False)]},
            }
        )
    return pairs
