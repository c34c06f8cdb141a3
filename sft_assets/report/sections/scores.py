"""Scores: how each is spread, where the recipe's thresholds lie, and how often each rule hit.

ifd   1,204 contents   0.31 to 1.22, median 0.74   drop above 1.1
"""

from __future__ import annotations

import math
from typing import Any

from sft_assets.report.charts import Piece, bar, histogram
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section
from sft_assets.scored.judgements.rubrics import LIKELIHOODS
from sft_assets.warehouse.names import literal

BINS = 24
TAIL = 0.005  # on either side: what lies beyond goes into the outermost bars
WHAT = {
    "ifd": "instruction-following difficulty: the loss of the answer with its prompt, over that without it",
    "likelihood": "how much likelier the prompt makes the answer, per token",
    "conditional_loss": "loss of the answer, given its prompt",
    "unconditional_loss": "loss of the answer alone",
    "end_loss": "loss of the end of the answer: whether it ends where it should",
    "reward": "of the reward model",
}
SHOWN = ("ifd", "likelihood", "end_loss")  # of the likelihoods; the others where a threshold names them


def scores(scope: Scope) -> Section:
    limits: dict[str, dict[str, float | None]] = scope.part("scored").get("thresholds", {})
    charts = [chart for name, sql, what in _sources(scope, limits) if (chart := _chart(scope, name, sql, what, limits))]
    hits, rules = _hits(scope), scope.report("rule_hits")
    figures = [Figure(c["name"], "", f, c[f]) for c in charts for f in ("contents", "median")]
    figures += [Figure(f"rule {h['rule']}", "", "rows", h["rows"]) for h in hits]
    return Section(
        "scores",
        "Scores and rules",
        {"charts": charts, "hits": hits, "rules": rules.get("rules", 0), "unscored": _unscored(scope)},
        figures,
    )


def _sources(scope: Scope, limits: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each score: its name, a query of its values, and what it is."""
    judged = scope.rows(f"SELECT DISTINCT rubric FROM {scope.table('judgements')} WHERE score IS NOT NULL ORDER BY 1")
    found = [
        (
            name,
            f"SELECT score AS value FROM {scope.table('judgements')} WHERE rubric = {literal(name)}",
            "of the judge, by a rubric",
        )
        for (name,) in judged
    ]
    found += [
        (name, f"SELECT {name} AS value FROM {scope.table('likelihoods')}", WHAT[name])
        for name in LIKELIHOODS
        if name in SHOWN or name in limits
    ]
    return [*found, ("reward", f"SELECT reward AS value FROM {scope.table('rewards')}", WHAT["reward"])]


def _chart(scope: Scope, name: str, sql: str, what: str, limits: dict[str, dict[str, float | None]]) -> dict[str, Any] | None:
    """A score as a histogram; None where nothing has it."""
    n, low, median, high, lowest, highest, whole = scope.rows(f"""
        SELECT count(*), quantile_cont(value, {TAIL}), median(value), quantile_cont(value, {1 - TAIL}), min(value), max(value),
            coalesce(bool_and(value = round(value)), false) AND count(DISTINCT value) <= {BINS}
        FROM ({sql}) WHERE isfinite(value)
    """)[0]
    if not n:
        return None
    marks = {f"{side.replace('_', ' ')} {value:g}": value for side, value in limits.get(name, {}).items() if value is not None}
    low, high = min([low, *marks.values()]), max([high, *marks.values()])
    bins, whole = BINS, whole and highest - lowest < BINS
    if whole:  # such as 1 to 4: a bar for each
        low, high = math.floor(min(lowest, low)) - 0.5, math.ceil(max(highest, high)) + 0.5
        bins = max(round(high - low), 1)
    elif high <= low:
        low, high = low - 0.5, high + 0.5
    counts = [0] * bins
    step = (high - low) / bins
    for place, times in scope.rows(f"""
        SELECT greatest(0, least({bins - 1}, floor((value - ({low!r})) / {step!r})))::INTEGER, count(*)
        FROM ({sql}) WHERE isfinite(value) GROUP BY ALL
    """):
        counts[place] = times
    return {
        "name": name, "what": what, "contents": n, "median": round(median, 4), "lowest": lowest, "highest": highest,
        "marks": marks, "chart": histogram(counts, low, high, marks, f"{name}: {n} values", whole),
    }  # fmt: skip


def _unscored(scope: Scope) -> list[tuple[str, int, int]]:
    """Of each kind of score: contents with one, of all."""
    total = scope.rows(f"SELECT count(DISTINCT content_hash) FROM {scope.table('decontaminated')}")[0][0]
    found = [
        ("judge", "judgements", "score"), ("likelihood", "likelihoods", "ifd"), ("reward", "rewards", "reward"),
    ]  # fmt: skip
    result = []
    for name, asset, column in found:
        n = scope.rows(f"SELECT count(DISTINCT content_hash) FROM {scope.table(asset)} WHERE {column} IS NOT NULL")[0][0]
        result.append((name, n, total))
    return result


def _hits(scope: Scope) -> list[dict[str, Any]]:
    """Every rule that hit: rows of decontaminated, and what the hit does."""
    found = scope.dicts(f"""
        SELECT rule, any_value(action) AS action, count(DISTINCT row_id) AS rows
        FROM {scope.table("rule_hits")} JOIN {scope.table("decontaminated")} USING (content_hash)
        GROUP BY rule ORDER BY rows DESC, rule
    """)
    most = max((hit["rows"] for hit in found), default=0)
    shade = {"drop": "s2", "review": "s1", "signal": "rest"}
    for hit in found:
        says = f"{hit['rule']}: {hit['rows']:,} rows, {hit['action']}"
        hit["bar"] = bar([Piece(hit["rows"], shade.get(hit["action"], "rest"), says)], most)
    return found
