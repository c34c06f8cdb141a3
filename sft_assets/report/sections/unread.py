"""What could not be used of which file: whole files that were refused, and records that were set aside.

sources/legacy.json   refused: encoding   "legacy.json is not UTF-8: ..."
sources/chats.json    7 of 412 records: no_turns 4, unknown_role 3
"""

from __future__ import annotations

from sft_assets.masks import mask
from sft_assets.report.excerpts import clean
from sft_assets.report.reasons import meaning
from sft_assets.report.scope import Scope
from sft_assets.report.section import Figure, Section

LISTED = 30


def unread(scope: Scope) -> Section:
    refused = scope.rows("SELECT source_file, reason, detail FROM told_quarantine WHERE position IS NULL ORDER BY 1")
    files = scope.rows(f"""
        WITH counted AS (
            SELECT coalesce(p.source_file, q.source_file) AS file, reason, count(*) AS n
            FROM told_quarantine AS q LEFT JOIN store.positions AS p ON p.row_id = q.record_id
            WHERE position IS NOT NULL GROUP BY ALL
        )
        SELECT file, sum(n)::BIGINT, list((reason, n) ORDER BY n DESC, reason), count(*) OVER ()
        FROM counted GROUP BY file ORDER BY 2 DESC, 1 LIMIT {LISTED}
    """)
    said = [
        (file, reason, clean(mask(detail)[0]) if scope.examples else meaning("raw", reason)) for file, reason, detail in refused
    ]
    return Section(
        "unread",
        "Files and records that could not be used",
        {
            "refused": said[:LISTED],
            "more_refused": max(len(said) - LISTED, 0),
            "files": [row[:3] for row in files],
            "more": files[0][3] - len(files) if files else 0,
        },
        [Figure("refused files", "", "files", len(refused))],
    )
