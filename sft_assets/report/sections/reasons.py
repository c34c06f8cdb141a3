"""Why rows went: each reason with its number, its meaning, its sources, and some of the rows.

deduped  near_duplicate  40   "Nearly the same words as ..."   questions 31, chats 9   9f3c6a10 "What is the capital ..."
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import orjson

from sft_assets.masks import mask
from sft_assets.report.excerpts import CHARS, clean, excerpts, short
from sft_assets.report.reasons import meaning
from sft_assets.report.scope import Scope, left_out
from sft_assets.report.section import Figure, Section
from sft_assets.warehouse.opening import STATES

SOURCES = 4
EVIDENCE = 160  # characters of what the ledger says beside a row
UNREAD = ("raw", "combined")  # states that set records aside
# what the ledger says of a row that people want to read; the rest `sft explain` tells
TOLD = ("license", "weight", "cap", "jaccard", "cosine", "rank", "gate", "method", "words", "value", "limit", "status",
        "benchmark", "item_id", "why", "problem", "said")  # fmt: skip


def reasons(scope: Scope) -> Section:
    found = left_out(scope)
    order = sorted(found, key=lambda key: (STATES.index(key[0]), -found[key].total(), key[1]))
    examples = _examples(scope)
    groups: dict[str, list[dict[str, Any]]] = {}
    for state, reason in order:
        counts = found[state, reason]
        groups.setdefault(state, []).append(
            {
                "reason": reason,
                "rows": counts.total(),
                "meaning": meaning(state, reason),
                "sources": _sources(counts),
                "examples": examples.get((state, reason), []),
            }
        )
    figures = [Figure(state, reason, "rows", found[state, reason].total()) for state, reason in order]
    return Section("reasons", "Why rows went", {"groups": groups, "edits": _edits(scope), "review": _review(scope)}, figures)


def _sources(counts: Counter[str]) -> list[tuple[str, int]]:
    """The sources with the most rows, and all others together."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name or "unknown", n) for name, n in most[:SOURCES]]
    return [*shown, *([(f"{len(most) - SOURCES:,} others", sum(n for _, n in most[SOURCES:]))] if len(most) > SOURCES else [])]


def _examples(scope: Scope) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Of each state and reason a few rows, the first by their ids, which are hashes: a sample, and the same one every time."""
    if not scope.examples:
        return {}
    chosen = scope.rows(f"""
        SELECT state, reason, row_id, evidence
        FROM (
            SELECT state, reason, unnest(min(row_id, {scope.examples})) AS row_id FROM told_dropped GROUP BY state, reason
        )
        JOIN told_dropped USING (state, reason, row_id)
        ORDER BY state, reason, row_id
    """)
    texts = excerpts(scope, [row[2] for row in chosen])
    result: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for state, reason, row_id, evidence in chosen:
        excerpt = texts.get(row_id)
        result.setdefault((state, reason), []).append(
            {
                "row": short(row_id),
                "source": excerpt.source if excerpt else "",
                "turns": excerpt.turns if excerpt else [],
                "told": _told(orjson.loads(evidence or "{}")),
            }
        )
    for state, reason, record_id, file, position, detail, excerpt in scope.rows(f"""
        SELECT state, reason, record_id, coalesce(p.source_file, q.source_file), coalesce(p.source_row, q.position),
            left(detail, {CHARS}), left(excerpt, {CHARS})
        FROM told_quarantine AS q LEFT JOIN store.positions AS p ON p.row_id = q.record_id
        WHERE position IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY state, reason ORDER BY 4, 5) <= {scope.examples}
        ORDER BY state, reason, 4, 5
    """):
        result.setdefault((state, reason), []).append(
            {
                "row": short(record_id) if record_id else "",
                "source": f"{file}:{position}",
                "turns": [("record", clean(mask(excerpt)[0]))],
                "told": clean(mask(detail)[0], EVIDENCE),
            }
        )
    return result


def _told(evidence: dict[str, Any]) -> str:
    """What the ledger says of a row, in a few words."""
    said = [f"{key.replace('_', ' ')}: {evidence[key]}" for key in TOLD if key in evidence]
    if isinstance(of := evidence.get("of"), str):
        said.insert(0, f"stays: {short(UUID(of))}")
    said += [f"{hit['rule']} in turn {hit['turn']}: “{hit['matched']}”" for hit in _list(evidence.get("rules"))[:1]]
    said += [f"{one['score']} {one['value']:g}, limit {one['limit']:g}" for one in _list(evidence.get("scores"))]
    said += [f"{one['rubric']} {one['score']:g}: {one['reason']}" for one in _list(evidence.get("judged"))]
    return clean("; ".join(said), EVIDENCE)


def _list(value: Any) -> list[Any]:
    return [one if isinstance(one, dict) else orjson.loads(one) for one in value] if isinstance(value, list) else []


def _edits(scope: Scope) -> list[tuple[str, str, int, int]]:
    """What was changed in rows, by state: how many times, and in how many rows."""
    return scope.rows("""
        SELECT state, what, count(*), count(DISTINCT row_id) FROM told_edits GROUP BY ALL ORDER BY 1, 3 DESC, 2
    """)


def _review(scope: Scope) -> list[dict[str, Any]]:
    """Rows that are kept and marked for review, by reason."""
    found = scope.rows(f"""
        SELECT reason, count(*) FROM (
            SELECT unnest(review_reasons) AS reason
            FROM {scope.table("scored")} SEMI JOIN {scope.table("exported")} USING (row_id)
            UNION ALL
            SELECT unnest(generated_review) FROM {scope.table("augmented")} SEMI JOIN {scope.table("exported")} USING (row_id)
        ) GROUP BY reason ORDER BY 2 DESC, 1
    """)
    return [{"reason": reason, "rows": n, "meaning": meaning("scored", reason)} for reason, n in found]
