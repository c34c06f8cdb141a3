"""contamination_candidates: deduped rows that may hold a test item in other words, each with the items that it may be.

    row_id   rank  benchmark   item_id  score  margin  numbers  question  answer  turn  role
    9f3c...  1     gsm8k_test  1        0.83   0.61    1.0      0.81      0.2     1     user

Nobody is condemned by it: `decontaminated` marks these rows for review, or drops them where the recipe says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.compiling import compiling
from sft_assets.decontaminated.benchmarks.asset import items_in
from sft_assets.decontaminated.benchmarks.items import FIELDS
from sft_assets.decontaminated.paraphrases.index import Index
from sft_assets.decontaminated.paraphrases.index import build as indexed
from sft_assets.decontaminated.paraphrases.meaning import Meanings, asked
from sft_assets.decontaminated.paraphrases.nearest import Candidate, Settings, candidates_in, warm_up
from sft_assets.engine import Engine, engine_of
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "contamination_candidates",
    columns={
        "row_id": "UUID",
        "rank": "INTEGER",
        "benchmark": "VARCHAR",
        "item_id": "VARCHAR",
        "score": "FLOAT",
        "margin": "FLOAT",
        "numbers": "FLOAT",
        **dict.fromkeys(FIELDS, "FLOAT"),
        "embedding": "FLOAT",
        "turn": "INTEGER",
        "role": "VARCHAR",
        "rejected": "BOOLEAN",
    },
    is_state=False,
    laws=(
        Law(
            "ranks_in_order",
            "each row has its candidates once, ranked from 1 on",
            "SELECT count(*) FROM (SELECT row_id FROM {table} GROUP BY row_id HAVING max(rank) <> count(*) OR min(rank) <> 1)",
        ),
    ),
)
BATCH = 4096  # rows


@evidence(TABLE, deps=("deduped", "benchmarks"), code=1)
def contamination_candidates(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Rows that may be a test item in other words, told by TF-IDF of each field, by numbers and, if switched on, embeddings."""
    section = recipe.contamination_candidates
    with compiling(build.say):
        warm_up()
    items = list(items_in(build))
    index = indexed(items)
    engine = engine_of(recipe.engine, build.say)
    meanings = _meanings(build, folder, index, items, section.embeddings, engine) if section.embeddings else None
    settings = Settings.of(section)
    counts: Counter[str] = Counter()
    rows, done, total = 0, 0, build.parents["deduped"].report["kept"]
    batches = build.stream("SELECT row_id, messages, rejected FROM deduped", rows=BATCH) if items else ()
    for batch, found in candidates_in(index, batches, settings, meanings, engine):
        counts.update(one.benchmark for one in found if one.rank == 1)
        rows += sum(one.rank == 1 for one in found)
        build.insert(_table(batch.column("row_id"), found))
        done += batch.num_rows
        build.progress(done, total)
    build.notes |= {"rows": rows, "rows_by_benchmark": dict(sorted(counts.items())), "sample_candidates": _sample(build)}


def _meanings(
    build: Build, folder: Folder, index: Index, items: list[tuple[str, str, str, str]], model: str, engine: Engine
) -> Meanings:
    """The items' questions as vectors; those of the rows' user turns are in the cache then."""
    from sft_assets.models.embedder import Embedder

    questions = {(benchmark, item_id): text for benchmark, item_id, name, text in items if name == "question"}
    build.say(f"embedding {len(questions):,} questions and every user turn with {model}; what was embedded before is kept")
    embedder = Embedder(model, folder.embeddings)
    asking = (asked(batch.column("messages"))[2] for batch in build.stream("SELECT messages FROM deduped", rows=BATCH))
    asked_of = [questions[owner] for owner in index.items]
    embedder.remember(chain([asked_of], asking), engine)
    return Meanings(index, asked_of, embedder)


def _table(row_id: pa.Array, found: list[Candidate]) -> pa.Table:
    def floats(values: Iterable[float | None]) -> pa.Array:
        return pa.array([None if value is None else round(value, 4) for value in values], pa.float32())

    return pa.table(
        {
            "row_id": row_id.take(pa.array([one.row for one in found], pa.int64())),
            "rank": pa.array([one.rank for one in found], pa.int32()),
            "benchmark": pa.array([one.benchmark for one in found], pa.string()),
            "item_id": pa.array([one.item_id for one in found], pa.string()),
            **{name: floats(getattr(one, name) for one in found) for name in ("score", "margin", "numbers", "embedding")},
            **{name: floats(one.fields.get(name) for one in found) for name in FIELDS},
            "turn": pa.array([one.turn for one in found], pa.int32()),
            "role": pa.array([one.role for one in found], pa.string()),
            "rejected": pa.array([one.rejected for one in found], pa.bool_()),
        }
    )


def _sample(build: Build) -> list[dict[str, Any]]:
    """The ten strongest: what the row says and what the item asks."""
    rows = build.con.execute(f"""
        SELECT left(c.row_id::VARCHAR, 8), c.benchmark, c.item_id, round(c.score, 2), round(c.margin, 2), b.text
        FROM {build.table} AS c
        JOIN (SELECT benchmark, item_id, min(text) AS text FROM {build.of("benchmarks")} WHERE field = 'question' GROUP BY ALL)
            AS b USING (benchmark, item_id)
        WHERE rank = 1
        ORDER BY c.score + c.margin DESC NULLS LAST, c.row_id LIMIT 10
    """).fetchall()
    names = ("row", "benchmark", "item_id", "score", "margin", "item")
    return [dict(zip(names, row, strict=True)) for row in rows]
