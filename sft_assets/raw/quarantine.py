"""When too much of a source cannot be read, stopping is kinder than going on without it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import orjson

from sft_assets.errors import SftError
from sft_assets.folder import Folder, written_whole
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Build

AT_ONCE = 1000  # entries


def stop_if_too_many(build: Build, folder: Folder, recipe: Recipe, found: Mapping[str, int]) -> None:
    """Stop the state when more than `max_quarantined` percent of a source's records are in quarantine.

    found: records of each source. What was quarantined is written to D/quarantine/, which the message names.

    Raises:
        SftError: the state's old tables stand.
    """
    ledger = build.ledger("quarantine")
    counts = build.con.execute(f"""
        SELECT source, sum(n)::BIGINT, arg_max(reason, n), arg_max(detail, n)
        FROM (
            SELECT source, reason, count(*) AS n, arg_min(detail, position) AS detail FROM {ledger}
            WHERE position IS NOT NULL
            GROUP BY source, reason
        )
        GROUP BY source
        ORDER BY source
    """).fetchall()
    complaints = []
    for source, bad, reason, detail in counts:
        limit = recipe.source(source).max_quarantined
        limit = recipe.raw.max_quarantined if limit is None else limit
        if bad > limit / 100 * found[source]:
            complaints.append(
                f"source {source!r}: {bad:,} of {found[source]:,} records ({100 * bad / found[source]:.1f} %) cannot be used, "
                f"most often {reason} (such as: {detail}); the limit is {limit:g} %"
            )
    if not complaints:
        return
    columns = ("source", "source_file", "position", "reason", "detail", "sha256", "excerpt")
    path = folder.quarantine / f"{build.spec.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    entries = build.con.execute(f"SELECT {', '.join(columns)} FROM {ledger} ORDER BY source_file, position")
    with written_whole(path) as file:
        while rows := entries.fetchmany(AT_ONCE):
            file.writelines(orjson.dumps(dict(zip(columns, row, strict=True))) + b"\n" for row in rows)
    raise SftError(
        f"{build.spec.name} stopped: {'; '.join(complaints)}. The old tables stand. What was set aside is in {path}. "
        "Mend the file, state its format, columns or encoding in the recipe, or raise max_quarantined there."
    )
