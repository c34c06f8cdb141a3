"""decontaminated: the deduped rows that hold nothing of a test set.

dropped 9f3c...  benchmark_item  gsm8k_test 1, question, in turn 1 (user), characters 21 to 302:
                 "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins ..."
kept    41d0...  paraphrase_of  gsm8k_test 7    (a candidate: marked for review, dropped only if the recipe says so)

A row that people decided to keep stays whatever it holds, and is no candidate any more.
"""

from __future__ import annotations

from sft_assets.asset import state
from sft_assets.compiling import compiling
from sft_assets.decontaminated import report
from sft_assets.decontaminated.benchmarks.asset import items_in
from sft_assets.decontaminated.overlap.scan import SHOWN, Overlap, best, evidence, leaks, warm_up
from sft_assets.engine import engine_of
from sft_assets.folder import Folder
from sft_assets.recipe import Decontaminated, Recipe
from sft_assets.reviews import applying
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "decontaminated",
    columns={"row_id": "UUID", "content_hash": "UUID", "paraphrase_of": "VARCHAR"},
    after="deduped",
    laws=(
        Law(
            "leaks_named",
            "every row that went names the benchmark and the item that it holds",
            """
            SELECT count(*) FROM {dropped}
            WHERE coalesce(evidence ->> 'benchmark', '') = '' OR coalesce(evidence ->> 'item_id', '') = ''
            """,
        ),
        Law(
            "candidates_marked",
            "a kept row is marked where it is a candidate that people did not decide to keep, and only there",
            """
            SELECT count(*)
            FROM {table} AS t
            LEFT JOIN (
                SELECT row_id, benchmark, item_id
                FROM contamination_candidates ANTI JOIN {reviewed} USING (row_id) WHERE rank = 1
            ) AS c USING (row_id)
            WHERE t.paraphrase_of IS DISTINCT FROM c.benchmark || ' ' || c.item_id
            """,
        ),
        applying.KEPT,
    ),
)
TURN = "CASE WHEN rejected THEN to_json('rejected') ELSE to_json(turn) END"  # of a candidate
BATCH = 8192  # rows: in smaller ones threads wait for the interpreter more than they read


@state(TABLE, deps=("benchmarks", "contamination_candidates", "decontaminated_reviews"), code=2)
def decontaminated(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The deduped rows without those that hold a test item: whole, a long run of its words, or most of what is its own."""
    section = recipe.decontaminated
    with compiling(build.say):
        warm_up()
    total = build.parents["deduped"].report["kept"]
    overlap = Overlap(items_in(build), section.ngram, section.coverage, total)
    batches = build.stream("SELECT row_id, messages, rejected FROM deduped", rows=BATCH)
    engine = engine_of(recipe.engine, build.say)
    found = leaks(overlap, batches, lambda done: build.progress(done, total), engine)
    if kept := {row_id.bytes for row_id in applying.apply(build, folder)}:
        build.notes["kept_by_people"] = len(kept & (found.keys() | _candidates_that_go(build, section)))
        found = {row_id: hits for row_id, hits in found.items() if row_id not in kept}
    named = {row_id: best(hits) for row_id, hits in found.items()}
    for row_id, hit in named.items():
        build.drop(row_id, hit.reason, evidence(hit, found[row_id]))
    if section.paraphrases == "drop":
        _drop_candidates(build)
    build.insert_sql(f"""
        SELECT row_id, content_hash, benchmark || ' ' || item_id AS paraphrase_of
        FROM {build.of("deduped")}
        ANTI JOIN {build.ledger("dropped")} USING (row_id)
        LEFT JOIN (
            SELECT * FROM {build.of("contamination_candidates")} ANTI JOIN {build.ledger("reviewed")} USING (row_id)
            WHERE rank = 1
        ) USING (row_id)
    """)
    build.notes |= report.of(build, overlap, found, named)


def _candidates_that_go(build: Build, section: Decontaminated) -> set[bytes]:
    """Of the rows that people decided about those that would go for a candidate."""
    if section.paraphrases != "drop":
        return set()
    candidates, reviewed = build.of("contamination_candidates"), build.ledger("reviewed")
    rows = build.con.execute(f"SELECT row_id FROM {candidates} SEMI JOIN {reviewed} USING (row_id) WHERE rank = 1").fetchall()
    return {row_id.bytes for (row_id,) in rows}


def _drop_candidates(build: Build) -> None:
    """Drop the rows that may be items in other words, but for those that are dropped already."""
    build.drop_sql(f"""
        SELECT row_id, 'benchmark_paraphrase' AS reason,
            json_merge_patch('{{}}', to_json(struct_pack(  -- which leaves out what is null
                benchmark := benchmark, item_id := item_id, turn := {TURN}, role := role, score := round(score::DOUBLE, 4),
                margin := round(margin::DOUBLE, 4), numbers := round(numbers::DOUBLE, 4),
                embedding := round(embedding::DOUBLE, 4), item := item
            ))) AS evidence
        FROM {build.of("contamination_candidates")}
        LEFT JOIN (
            SELECT benchmark, item_id, left(min(text), {SHOWN}) AS item
            FROM {build.of("benchmarks")} WHERE field = 'question' GROUP BY ALL
        ) USING (benchmark, item_id)
        ANTI JOIN {build.ledger("dropped")} USING (row_id)
        ANTI JOIN {build.ledger("reviewed")} USING (row_id)
        WHERE rank = 1
    """)
