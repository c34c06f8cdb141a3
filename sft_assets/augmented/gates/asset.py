"""generation_checks: which gate each candidate of generations fell at, and why; the cheap ones, that ask no model.

row_id   gate             reason          evidence                                 marks
7c20...  NULL             NULL            NULL                                     [mojibake]
b1d4...  near_duplicates  near_duplicate  {"of": "51ab...", "jaccard": 0.8611}     []
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.asset import evidence
from sft_assets.augmented.gates import Checked, Gates, warm_up
from sft_assets.augmented.gates.gate import ids_of
from sft_assets.compiling import compiling
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.scored.rule_hits.rules import decision_version, hits_version
from sft_assets.warehouse.build import Build, Law, Table

SHOWN = 10  # rows that fell, in the report
CANDIDATES = "SELECT row_id, content_hash, kind, source, messages, rejected, tools FROM generations WHERE reason IS NULL"
TABLE = Table(
    "generation_checks",
    columns={"row_id": "UUID", "gate": "VARCHAR", "reason": "VARCHAR", "evidence": "JSON", "marks": "VARCHAR[]"},
    is_state=False,
    laws=(
        Law(
            "every_candidate_checked",
            "there is one row for each candidate of generations, and no other",
            """
            SELECT count(*)
            FROM (SELECT row_id, count(*) AS times FROM {table} GROUP BY row_id) AS t
            FULL JOIN (SELECT row_id FROM generations WHERE reason IS NULL) AS g USING (row_id)
            WHERE t.row_id IS NULL OR g.row_id IS NULL OR times > 1
            """,
        ),
        Law(
            "falls_explained",
            "what fell says at which gate, why and by what; nothing else does",
            """
            SELECT count(*) FROM {table}
            WHERE (gate IS NULL) <> (reason IS NULL) OR (gate IS NULL) <> (evidence IS NULL) OR reason = ''
            """,
        ),
        Law(
            "duplicates_are_of_combined",
            "every duplicate names a row of combined",
            """
            SELECT count(*)
            FROM (SELECT (evidence ->> 'of')::UUID AS row_id FROM {table} WHERE reason IN ('exact_duplicate', 'near_duplicate'))
            ANTI JOIN combined USING (row_id)
            """,
        ),
    ),
)


def rules_version() -> str:
    """A digest of the rules: of what they find and do, and of what is told of them."""
    return f"{hits_version()}.{decision_version()}"


@evidence(TABLE, deps=("generations", "combined", "deduped", "benchmarks"), code=1, data_of_code=rules_version)
def generation_checks(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The candidates of generations by what source rows went through: rules, duplicates of any row of combined, benchmarks."""
    gates = Gates.of(build.stream, folder, recipe, _progress(build))
    candidates = [batch for batch in build.stream(CANDIDATES) if len(batch)]
    if candidates:
        with compiling(build.say):
            warm_up()
        rows = pa.Table.from_batches(candidates)
        build.insert(table_of(ids_of(rows), gates.check(rows)))
    build.notes |= _notes(build)


def _progress(build: Build) -> Callable[[int], None]:
    total = build.parents["combined"].report["kept"]
    return lambda done: build.progress(done, total)


def table_of(ids: Sequence[bytes], checked: Checked) -> pa.Table:
    """Checked candidates as rows of the table."""
    falls = [checked.falls.get(row_id) for row_id in ids]
    return pa.table(
        {
            "row_id": uuids(ids),
            "gate": pa.array([fell and fell[0] for fell in falls], pa.string()),
            "reason": pa.array([fell and fell[1].reason for fell in falls], pa.string()),
            "evidence": pa.array([fell and orjson.dumps(fell[1].evidence).decode() for fell in falls], pa.string()),
            "marks": pa.array([checked.marks.get(row_id, []) for row_id in ids], pa.list_(pa.string())),
        }
    )


def _notes(build: Build) -> dict[str, Any]:
    """How many candidates of each source passed, and fell for what; rows that fell, of as many reasons as there are."""
    checked = f"{build.table} AS c JOIN {build.parents['generations'].rows} AS g USING (row_id)"

    def found(sql: str) -> list[tuple[Any, ...]]:
        return build.con.execute(sql).fetchall()

    by_source: dict[str, dict[str, int]] = defaultdict(dict)
    for source, what, rows in found(f"""
        SELECT source, coalesce(c.reason, 'passed'), count(*) FROM {checked} GROUP BY ALL ORDER BY ALL
    """):
        by_source[source][what] = rows
    marked = found(f"""
        SELECT mark, count(*) FROM (SELECT unnest(marks) AS mark FROM {build.table} WHERE gate IS NULL)
        GROUP BY ALL ORDER BY ALL
    """)
    fallen = found(f"""
        SELECT left(row_id::VARCHAR, 8), gate, c.reason, g.messages[-1].content
        FROM {checked} WHERE gate IS NOT NULL
        ORDER BY row_number() OVER (PARTITION BY c.reason ORDER BY row_id), c.reason LIMIT {SHOWN}
    """)
    names = ("row", "gate", "reason", "text")
    return {
        "by_source": dict(by_source),
        "marked": dict(marked),
        "sample_fallen": [dict(zip(names, row, strict=True)) for row in fallen],
    }
