"""What it cost: calls, tokens and money by asset and model since the data folder began, and the seconds of each asset.

judgements   gpt-x   1,204 calls   310 from the cache   812,000 + 40,100 tokens   2.31   412 s
"""

from __future__ import annotations

from sft_assets.models.door.calls import Calls
from sft_assets.report.charts import Piece, bar
from sft_assets.report.scope import Scope
from sft_assets.report.section import Section

SHOWN = 12


def cost(scope: Scope) -> Section:
    spent = Calls(scope.folder.calls).totals() if scope.folder.calls.exists() else {}
    lines = [
        {"asset": asset, "model": model, "calls": s.calls, "cached": s.cached, "failed": s.failed, "read": s.prompt_tokens,
         "written": s.completion_tokens, "cost": s.cost, "seconds": s.seconds}
        for (asset, model), s in spent.items()
    ]  # fmt: skip
    took = sorted(scope.versions.values(), key=lambda v: (-v.seconds, v.asset))
    took = [version for version in took if version.asset != "report"]
    most = max((version.seconds for version in took), default=0.0)
    return Section(
        "cost",
        "What it cost",
        {
            "lines": lines,
            "money": sum(s.cost for s in spent.values()),
            "calls": sum(s.calls for s in spent.values()),
            "tokens": sum(s.prompt_tokens + s.completion_tokens for s in spent.values()),
            "seconds": sum(version.seconds for version in took),
            "times": [
                {"name": v.asset, "bar": bar([Piece(v.seconds, "s0", v.asset)], most), "says": f"{v.seconds:,.1f} s"}
                for v in took[:SHOWN]
            ],
        },
    )
