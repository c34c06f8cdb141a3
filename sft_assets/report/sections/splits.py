"""The splits of the export, by kind of row.

kind  train  validation  test
sft   1,102  58          61
"""

from __future__ import annotations

from typing import Any

from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

ORDER = ("train", "validation", "test")
KINDS = {
    "sft": "conversations for supervised fine-tuning",
    "preference": "preference pairs",
    "unpaired": "answers labelled good or bad",
}


def counts(scope: Scope) -> dict[str, dict[str, int]]:
    """Exported rows by kind and split."""
    found: dict[str, dict[str, int]] = {}
    for kind, split, n in scope.rows(f"""
        SELECT coalesce(c.kind, g.kind), split, count(*)
        FROM {scope.table("exported")} AS e
        LEFT JOIN {scope.table("combined")} AS c ON c.row_id = e.row_id
        LEFT JOIN {scope.made} AS g ON g.row_id = e.row_id
        GROUP BY ALL ORDER BY 3 DESC, 1, 2
    """):
        found.setdefault(kind, {})[split] = n
    return found


def splits(scope: Scope) -> Section:
    found = counts(scope)
    names = sorted({split for by_split in found.values() for split in by_split}, key=lambda s: (s not in ORDER, s))
    names.sort(key=lambda split: ORDER.index(split) if split in ORDER else len(ORDER))
    told: dict[str, Any] = scope.report("exported")
    return Section(
        "splits",
        "Splits",
        {
            "names": names,
            "kinds": [(KINDS.get(kind, kind), [by_split.get(name, 0) for name in names]) for kind, by_split in found.items()],
            "left_out": told.get("left_out", {}),
            "not_written": told.get("not_written", {}),
            "repeated": told.get("repeated", {}),
            "tokenizer": told.get("tokens", {}).get("tokenizer", ""),
            "tokens": told.get("tokens", {}).get("splits", {}),
        },
        [Figure(kind, split, "rows", n) for kind, by_split in found.items() for split, n in by_split.items()],
    )
