"""From records to rows: how many of each source every state kept, and what went.

state     questions  code  chats   gone
combined  103        61    44      12 (license 9, empty_answer 3)
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from sft_assets.report.charts import Flow, Piece, bar, colour, ribbons
from sft_assets.report.scope import Scope, left_out
from sft_assets.report.section import Figure, Section
from sft_assets.warehouse.opening import STATES

LISTED = 40  # sources with a line of their own
COLOURED = 9  # and with a colour of their own
REASONS = 3
CREATING = ("combined", "augmented")  # several rows of one record; rows that models made
GENERATED = "generated:"  # how the sources of generated rows begin


def funnel(scope: Scope) -> Section:
    kept = _kept(scope)
    gone, reasons = {state: Counter[str]() for state in STATES}, {state: Counter[str]() for state in STATES}
    for (state, reason), counts in left_out(scope).items():
        gone[state] += counts
        reasons[state][reason] = counts.total()
    comes: dict[str, Counter[str]] = {}
    made: dict[str, Counter[str]] = {}
    before = Counter({s: kept["raw"][s] + gone["raw"][s] for s in {*kept["raw"], *gone["raw"]}})
    for state in STATES:
        comes[state] = before
        _place_unknown(before, kept[state], gone[state])
        made[state] = kept[state] + gone[state] - before if state in CREATING else Counter()  # none below 0: a law sees to that
        before = kept[state]
    first = comes["raw"] + made["combined"] + made["augmented"]
    order = sorted(first, key=lambda s: (-comes["raw"][s], -first[s], s))
    figures = [
        Figure(state, source, name, n)
        for state in STATES
        for name, counts in (("in", comes), ("created", made), ("kept", kept), ("gone", gone))
        for source, n in sorted(counts[state].items())
        if n
    ]
    figures += [
        Figure(state, "every source", f"{name} by its report", n) for state in STATES for name, n in _said(scope, state).items()
    ]
    return Section(
        "funnel",
        "From records to rows",
        {
            "steps": _steps(order, comes, made, kept, gone, reasons),
            "legend": [*((name, shade) for name, shade, _ in _parts(order)), ("left out", "gone")],
            "table": _table(order, comes, made, kept, gone),
            "states": STATES,
        },
        figures,
    )


# ---------------------------------------------------------------------------------------------------------- counting


def _kept(scope: Scope) -> dict[str, Counter[str]]:
    """Rows of each state, by source."""
    result: dict[str, Counter[str]] = {}
    for state in STATES:
        table = scope.table(state)
        if state in ("raw", "combined"):
            sql = f"SELECT source, count(*) FROM {table} GROUP BY source"
        else:
            sql = f"SELECT source, count(*) FROM {table} LEFT JOIN {scope.names} USING (row_id) GROUP BY source"
        result[state] = Counter({source or "": n for source, n in scope.rows(sql)})
    return result


def _place_unknown(before: Counter[str], kept: Counter[str], gone: Counter[str]) -> None:
    """Of rows whose source nobody knows any more: those that a source lacks are that source's."""
    for source, n in before.items():
        lacking = min(n - kept[source] - gone[source], gone[""]) if source else 0
        if lacking > 0:
            gone[source] += lacking
            gone[""] -= lacking


def _said(scope: Scope, state: str) -> dict[str, int]:
    """What the version of a state itself has counted."""
    report = scope.report(state)
    gone = sum(report["dropped"].values()) + sum(report["quarantined"].values())
    return {"in": report["in"], "created": report["created"], "kept": report["kept"], "gone": gone}


# ----------------------------------------------------------------------------------------------------------- showing


def _steps(order: list[str], comes: Any, made: Any, kept: Any, gone: Any, reasons: Any) -> list[dict[str, Any]]:
    """Each state with its bar, and the ribbons that lead to it from the bar before."""
    most = max((sum(kept[s].values()) + sum(gone[s].values()) for s in STATES), default=0)
    steps = []
    for state in STATES:
        pieces, flows = [], list[Flow]()
        at, lost, above = 0, sum(kept[state].values()), 0
        for name, shade, sources in _parts(order):
            stay, went, came = (sum(counts[state][s] for s in sources) for counts in (kept, gone, comes))
            pieces.append(Piece(stay, shade, f"{name}: {stay:,} rows in {state}"))
            flows += [
                Flow(above, at, min(stay, came), shade, f"{name}: {stay:,} kept by {state}"),
                Flow(above + stay, lost, min(went, max(came - stay, 0)), "gone", f"{name}: {went:,} left out by {state}"),
            ]
            at, lost, above = at + stay, lost + went, above + came
        total = sum(gone[state].values())
        pieces.append(Piece(total, "gone", f"{total:,} left out by {state}"))
        steps.append(
            {
                "state": state,
                "kept": sum(kept[state].values()),
                "gone": total,
                "made": sum(made[state].values()),
                "reasons": sorted(reasons[state].items(), key=lambda item: (-item[1], item[0]))[:REASONS],
                "more": len(reasons[state]) - REASONS,
                "bar": bar(pieces, most),
                "ribbons": ribbons(flows, most) if state != "raw" else Markup(""),
            }
        )
    return steps


def _parts(order: list[str]) -> list[tuple[str, str, list[str]]]:
    """The parts of a bar: name, colour and sources. Generated rows are one part, and so are sources beyond the colours."""
    made = [source for source in order if source.startswith(GENERATED)]
    others = [source for source in order if source not in made]
    parts = [(source or "unknown", colour(place), [source]) for place, source in enumerate(others[:COLOURED])]
    if rest := others[COLOURED:]:
        parts.append((f"{len(rest):,} other sources", colour(-1), rest))
    return [*parts, *([("generated", colour(COLOURED), made)] if made else [])]


def _table(order: list[str], comes: Any, made: Any, kept: Any, gone: Any) -> list[dict[str, Any]]:
    """A line for each source: what came, what each state kept and left out."""

    def line(name: str, sources: list[str]) -> dict[str, Any]:
        def total(counts: Counter[str]) -> int:
            return sum(counts[s] for s in sources)

        records, rows = total(comes["raw"]), total(kept["exported"])
        came = records + sum(total(made[state]) for state in STATES)
        return {
            "name": name,
            "records": records,
            "cells": [(total(kept[s]), total(gone[s]), total(made[s])) for s in STATES],
            "share": rows / came if came else None,
        }

    lines = [line(source.replace(GENERATED, f"{GENERATED} ", 1) or "unknown", [source]) for source in order[:LISTED]]
    if rest := order[LISTED:]:
        lines.append(line(f"{len(rest):,} other sources", rest))
    return [*lines, line("all", order)] if len(order) != 1 else lines
