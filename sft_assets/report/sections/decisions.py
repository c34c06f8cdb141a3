"""What people decided about rows, as far as states have applied it.

scored   drop 12, keep 3   ann 14, bob 1   latest: 9f3c6a10 drop by ann: the sum is wrong
"""

from __future__ import annotations

from sft_assets.report.excerpts import clean, short
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

LATEST = 10


def decisions(scope: Scope) -> Section:
    by_state = scope.rows("SELECT state, decision, reviewer, count(*) FROM told_reviewed GROUP BY ALL ORDER BY 1, 4 DESC, 2, 3")
    latest = scope.rows(f"""
        SELECT row_id, state, decision, reviewer, time, why FROM told_reviewed ORDER BY time DESC, row_id LIMIT {LATEST}
    """)
    return Section(
        "decisions",
        "What people decided",
        {
            "by_state": by_state,
            # what people wrote may quote the data
            "latest": [(short(row), *more, clean(why)) for row, *more, why in latest] if scope.examples else [],
        },
        [Figure(state, reviewer, decision, n) for state, decision, reviewer, n in by_state],
    )
