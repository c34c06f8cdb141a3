"""What stands above everything: when, what, how many, and how to load it.

9,412 records of 8 sources became 7,104 rows: 2,211 were left out, 131 could not be used, 34 were generated.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section
from sft_assets.report.sections.splits import counts
from sft_assets.warehouse.opening import STATES


def summary(scope: Scope) -> Section:
    told = {state: scope.report(state) for state in STATES}
    unread = sum(sum(report.get("quarantined", {}).values()) for report in told.values())
    dropped = sum(sum(report.get("dropped", {}).values()) for report in told.values())
    generated, accepted = scope.rows(f"""
        SELECT (SELECT count(*) FROM {scope.made}),
               (SELECT count(*) FROM {scope.made} SEMI JOIN {scope.table("exported")} USING (row_id))
    """)[0]
    sources = scope.rows(f"""
        SELECT count(*) FROM (
            SELECT source FROM {scope.table("raw")} UNION SELECT source FROM told_quarantine WHERE position IS NOT NULL
        )
    """)[0][0]
    folder = str(told["exported"].get("export", ""))
    kinds = counts(scope)
    records, rows = told["raw"].get("in", 0), told["exported"].get("kept", 0)
    review = scope.rows(f"""
        SELECT count(*) FROM {scope.table("scored")} SEMI JOIN {scope.table("exported")} USING (row_id) WHERE verdict = 'review'
    """)[0][0]
    fell = scope.rows(f"SELECT count(*) FROM told_dropped SEMI JOIN {scope.table('generations')} USING (row_id)")[0][0]
    values = {
        "records": records,
        "sources": sources,
        "rows": rows,
        "unread": unread,
        "dropped": dropped - fell,
        "generated": accepted,
        "tried": generated,
        "several": told["combined"].get("created", 0),
        "refused": sum(report.get("refused_files", 0) for report in told.values()),
        "review": review,
        "splits": _by_split(kinds),
        "kinds": {kind: sum(n.values()) for kind, n in kinds.items()},
        "folder": folder,
        "hash": PurePosixPath(folder).name.rpartition("-")[2],
        "exported": _when(folder),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    figures = [Figure(name, "", "rows", values[name]) for name in ("records", "rows", "unread", "dropped", "generated")]
    return Section("summary", "", values, figures)


def _by_split(kinds: dict[str, dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for by_split in kinds.values():
        for split, n in by_split.items():
            total[split] = total.get(split, 0) + n
    return {split: total[split] for split in ("train", "validation", "test") if split in total}


def _when(folder: str) -> str:
    """When an export was made, as its name says: exports/20260102T030405Z-1f0c22ab."""
    try:
        at = datetime.strptime(PurePosixPath(folder).name.partition("-")[0], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return ""
    return f"{at:%Y-%m-%d %H:%M} UTC"
