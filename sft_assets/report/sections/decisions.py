"""What people decided about rows: as far as states have applied it, and what it teaches of people and pipeline.

scored   drop 12, keep 3   ann 14, bob 1   latest: 9f3c6a10 drop by ann: the sum is wrong
queue    20260102T030405Z-1f0c22ab   40 items by several   alpha 0.71 (0.52 to 0.86)
audit    deduped near_duplicate   19 of 20 right, 95 % (76 to 99)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sft_assets.report.charts import interval
from sft_assets.report.excerpts import clean, short
from sft_assets.report.page import words
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section
from sft_assets.reviews import read
from sft_assets.reviews.lessons import Lessons, heard, lessons
from sft_assets.reviews.lessons.precision import KEPT, Stratum, done

LATEST = 10
DISPUTED = 20
FEW = 5  # verdicts: of fewer an interval says next to nothing
DID = {"kept": "kept", "review": "marked for review", "dropped": "dropped"}


def decisions(scope: Scope) -> Section:
    by_state = scope.rows("SELECT state, decision, reviewer, count(*) FROM told_reviewed GROUP BY ALL ORDER BY 1, 4 DESC, 2, 3")
    latest = scope.rows(f"""
        SELECT row_id, state, decision, reviewer, time, why FROM told_reviewed ORDER BY time DESC, row_id LIMIT {LATEST}
    """)
    said = read(scope.folder)
    found = lessons(said, heard(scope.con, scope.versions, scope.folder, scope.recipe, said))
    whole = found.together or next(iter(found.agreements), None)
    disputed = [one for of_queue in found.agreements for one in of_queue.disputed]
    return Section(
        "decisions",
        "What people decided",
        {
            "by_state": by_state,
            # what people wrote may quote the data
            "latest": [(short(row), *more, clean(why)) for row, *more, why in latest] if scope.examples else [],
            "agreements": [*found.agreements, *([found.together] if found.together else [])],
            "reviewers": whole.reviewers if whole else (),
            "disputed": [
                (
                    short(one.row_id),
                    _named(one.about),
                    ", ".join(f"{name} {verdict}" for name, verdict in sorted(one.said.items())),
                )
                for one in disputed[:DISPUTED]
            ],
            "more_disputed": max(len(disputed) - DISPUTED, 0),
            "audited": [_shown(one) for one in found.audited if one.n >= FEW or one.about == KEPT],
            "least": FEW,
            "few": [(_named(one.about), one) for one in found.audited if one.n < FEW and one.about != KEPT],
            "bad": next((_flipped(one) for one in found.audited if one.about == KEPT and one.n), None),
            "asked": [(_named(one.about), one) for one in found.asked],
            "suggestions": found.suggestions,
        },
        [Figure(state, reviewer, decision, n) for state, decision, reviewer, n in by_state] + list(_figures(found)),
    )


def _shown(one: Stratum) -> dict[str, Any]:
    """A stratum with the chart of its share."""
    figure, says = one.share, f"{one.right:,} of {one.n:,} right"
    chart = interval(figure.value, figure.low, figure.high, says) if figure else ""
    return {"name": _named(one.about), "one": one, "figure": figure, "chart": chart, "says": says}


def _named(about: str) -> str:
    """What the pipeline did, in words: 'scored refusal' is 'dropped in scored: refusal'."""
    if not about:
        return ""
    did, (first, *reason) = done(about), about.split(" ", 1)
    where = f" in {first}" if did == "dropped" else ""
    return f"{DID[did]}{where}{': ' if reason else ''}{words(''.join(reason))}"


def _flipped(one: Stratum) -> tuple[float, float, float]:
    """The share that was not right, with its interval."""
    figure = one.share
    assert figure is not None
    return 1 - figure.value, 1 - figure.high, 1 - figure.low


def _figures(found: Lessons) -> Iterator[Figure]:
    for of_queue in found.agreements:
        name = f"queue {of_queue.queue}"
        counts = {"items": of_queue.items, "by several": of_queue.shared, "disputed": len(of_queue.disputed)}
        yield from (Figure(name, "", what, n) for what, n in counts.items())
        measured = {"same": of_queue.same, "alpha": of_queue.alpha, "kappa": of_queue.kappa}
        yield from (Figure(name, "", what, figure.value) for what, figure in measured.items() if figure)
        for one in of_queue.reviewers:
            yield from (Figure(name, one.name, what, n) for what, n in (("decided", one.decided), ("skipped", one.skipped)))
    for kind, strata in (("audit", found.audited), ("asked", found.asked)):
        for stratum in strata:
            yield Figure(f"{kind} {stratum.about}", "", "rows", stratum.n)
            yield Figure(f"{kind} {stratum.about}", "", "right", stratum.right)
    for one_signal in found.suggestions:
        if one_signal.threshold:
            yield Figure(f"suggested {one_signal.signal.name}", "", one_signal.signal.setting, one_signal.threshold.value)
