"""Duplicates: how many of each kind, how similar pairs are, and both texts of some.

near_duplicate  jaccard 0.81   goes 9f3c6a10 "... the capital of [france] ?"   stays 51ab03d2 "... the capital of [France]?"
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sft_assets.report.charts import histogram
from sft_assets.report.excerpts import apart, short, whole_texts
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

STATES = ("deduped", "clustered", "augmented")  # that drop duplicates
LARGEST = 10
LOWEST, STEPS = 0.5, 25  # of the histogram of similarities: from here on, in steps of 0.02


def duplicates(scope: Scope) -> Section:
    pairs = _pairs(scope)
    texts = whole_texts(scope, {row for pair in pairs for row in (pair["row"], pair["of"])})
    shown = [_shown(pair, texts) for pair in pairs if pair["row"] in texts and pair["of"] in texts]
    groups = """
        SELECT evidence ->> 'of' AS stays, count(*) AS gone FROM told_dropped
        WHERE state = 'deduped' AND evidence ->> 'of' IS NOT NULL GROUP BY ALL
    """
    largest = scope.rows(f"{groups} HAVING gone > 1 ORDER BY gone DESC, stays LIMIT {LARGEST}")
    numbers = {
        "kinds": scope.rows("""
            SELECT state, reason, count(*) FROM told_dropped WHERE reason LIKE '%duplicate' OR reason = 'too_similar'
            GROUP BY ALL ORDER BY 3 DESC, 1, 2
        """),
        "near_groups": scope.report("deduped").get("near_groups", 0),
        "conflict_groups": scope.report("deduped").get("conflict_groups", 0),
        "largest": [(stays[:8], gone) for stays, gone in largest],
    }
    figures = [Figure("groups", "", "rows that stay for others", scope.rows(f"SELECT count(*) FROM ({groups})")[0][0])]
    return Section("duplicates", "Duplicates", {**numbers, "pairs": shown, "chart": _chart(scope)}, figures)


def _pairs(scope: Scope) -> list[dict[str, Any]]:
    """Of each reason the pairs that are the least alike: where a threshold is too low, it shows there."""
    found = scope.dicts(f"""
        SELECT state, reason, row_id AS row, (evidence ->> 'of')::UUID AS "of", (evidence ->> 'jaccard')::DOUBLE AS jaccard,
            coalesce(evidence ->> 'prompt_similarity', evidence ->> 'cosine')::DOUBLE AS cosine
        FROM told_dropped
        WHERE evidence ->> 'of' IS NOT NULL AND state IN ('{"', '".join(STATES)}')
        QUALIFY row_number() OVER (PARTITION BY state, reason ORDER BY jaccard, cosine, row_id) <= {scope.examples}
        ORDER BY state DESC, reason DESC, jaccard, cosine, row_id
    """)
    for row in _short_of(scope):
        found.append(row)
    return found


def _short_of(scope: Scope) -> list[dict[str, Any]]:
    """Pairs that stayed, the nearest below the threshold."""
    closest = scope.report("deduped").get("sample_just_below", [])[: scope.examples]
    ids = {entry[side] for entry in closest for side in ("row", "stays")}
    if not ids:
        return []
    names = ", ".join(f"'{name}'" for name in sorted(ids))
    known: dict[str, UUID] = {
        short(row): row
        for (row,) in scope.rows(f"SELECT row_id FROM {scope.table('combined')} WHERE left(row_id::VARCHAR, 8) IN ({names})")
    }
    return [
        {"state": "deduped", "reason": "", "row": known[e["row"]], "of": known[e["stays"]], "jaccard": float(e["similarity"]),
         "cosine": None}
        for e in closest
        if e["row"] in known and e["stays"] in known
    ]  # fmt: skip


def _shown(pair: dict[str, Any], texts: dict[UUID, str]) -> dict[str, Any]:
    ours, theirs = apart(texts[pair["row"]], texts[pair["of"]])
    verb = "goes" if pair["reason"] else "stays"
    return {
        **pair,
        "left": {"head": f"{verb}: {short(pair['row'])}", "text": ours},
        "right": {"head": f"stays: {short(pair['of'])}", "text": theirs},
        "equal": not any(marked for _, marked in (*ours, *theirs)),
    }


def _chart(scope: Scope) -> Any:
    """How similar the pairs are that were compared, those below one half left out."""
    counts = [0] * STEPS
    for step, n in scope.report("deduped").get("similarities", {}).items():
        place = round((float(step.split(" ")[0]) - LOWEST) * 50)
        if place >= 0:
            counts[min(place, STEPS - 1)] += n
    threshold = scope.part("deduped").get("threshold")
    if not sum(counts) or threshold is None:
        return ""
    label = "Pairs of rows by the Jaccard similarity of their word 3-grams"
    return histogram(counts, LOWEST, LOWEST + STEPS / 50, {f"drop from {threshold:g}": threshold}, label)
