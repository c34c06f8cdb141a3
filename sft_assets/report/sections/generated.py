"""Gaps and what filled them: rows that were missing before and after, and what came of each method.

evol_instruct   tried 40   fell: no_gain 9, near_duplicate 4, ifd_above 2   accepted 25
"""

from __future__ import annotations

from typing import Any

from sft_assets.report.charts import Piece, bar
from sft_assets.report.excerpts import clean, excerpts
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

SHOWN = 20


def generated(scope: Scope) -> Section:
    told = scope.report("augmented")
    methods = _methods(scope)
    gaps = told.get("gaps_by_topic", [])
    most = max((gap["missing_before"] for gap in gaps), default=0)
    lines = []
    for number, gap in enumerate(gaps[:SHOWN], 1):
        name = clean(gap["topic"], 80) if scope.examples else f"gap {number}"
        before, after = gap["missing_before"], gap["missing_after"]
        pieces = [
            Piece(max(before - after, 0), "s5", f"{name}: {before - after:,} filled"),
            Piece(after, "gone", f"{after:,} still missing"),
        ]
        lines.append({"name": name, "bar": bar(pieces, most), "says": f"{before:,} → {after:,}"})
    figures = [Figure(m["method"], "", name, m[name]) for m in methods for name in ("tried", "accepted")]
    return Section(
        "generated",
        "Gaps and generated rows",
        {
            "methods": methods,
            "missing_before": told.get("missing_before", 0),
            "missing_after": told.get("missing_after", 0),
            "lines": lines,
            "more": max(len(gaps) - SHOWN, 0),
            "weak": [task["task"] for task in scope.report("gaps").get("weak_tasks", [])],
        },
        figures,
    )


def _methods(scope: Scope) -> list[dict[str, Any]]:
    """What came of each method: rows tried, where they fell, rows accepted, and some of these."""
    found = scope.rows(f"""
        SELECT replace(m.source, 'generated:', '') AS method, count(*), count(a.row_id), sum(g.cost)
        FROM {scope.made} AS m LEFT JOIN {scope.table("augmented")} AS a USING (row_id)
        LEFT JOIN {scope.table("generations")} AS g USING (row_id)
        GROUP BY ALL ORDER BY 1
    """)
    fell: dict[str, list[tuple[str, int]]] = {}
    for method, reason, n in scope.rows("""
        SELECT evidence ->> 'method', reason, count(*)
        FROM told_dropped WHERE state = 'augmented'
        GROUP BY ALL ORDER BY 3 DESC, 2
    """):
        fell.setdefault(method, []).append((reason, n))
    chosen: dict[str, Any] = dict(
        scope.rows(f"""
            SELECT generated_method, min(row_id, {max(scope.examples, 1)}) FROM {scope.table("augmented")}
            WHERE generated_method IS NOT NULL GROUP BY ALL
        """)
    )
    texts = excerpts(scope, [row for ids in chosen.values() for row in ids])
    return [
        {
            "method": method, "tried": tried, "accepted": accepted, "share": accepted / tried,
            "cost": cost / accepted if cost and accepted else None, "fell": fell.get(method, []),
            "examples": [texts[row] for row in chosen.get(method, []) if row in texts],
        }
        for method, tried, accepted, cost in found
    ]  # fmt: skip
