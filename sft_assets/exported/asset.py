"""exported: the finished dataset, split into train and test, in the files that trainers read.

    row_id 5f0c...  content_hash 9f3c...  split train      D/exports/20260102T030405Z-1f0c22ab/data/train-00000-of-00001.parquet
    dropped 77aa... prompt_only: a prompt without an answer

The table says which row is on which side; the files are written beside it, and `exports/latest` leads to the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.asset import state
from sft_assets.exported.card import card
from sft_assets.exported.facts import FORMATS, facts_of, lineage
from sft_assets.exported.folder import partial_folder, publish, sync
from sft_assets.exported.manifest import write_manifest
from sft_assets.exported.ordered import in_parts, parts_for
from sft_assets.exported.splits import SPLITS, split
from sft_assets.exported.writers import Alpaca, Answers, Config, Sft, Writer, prompt_and_completion
from sft_assets.folder import Folder
from sft_assets.formats import preference
from sft_assets.recipe import Recipe
from sft_assets.record import MESSAGE
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "exported",
    columns={"row_id": "UUID", "content_hash": "UUID", "split": "VARCHAR"},
    after="augmented",
    laws=(
        Law(
            "no_group_in_two_splits",
            "near duplicates, answers to one prompt, rows of one record and generated rows with their parents are on one side",
            """
            SELECT (SELECT count(*) FROM (
                SELECT coalesce(near_group, conflict_group, record_id, generated_chunk) AS tie
                FROM {table} JOIN augmented USING (row_id)
                GROUP BY GROUPING SETS (near_group, conflict_group, record_id, generated_chunk)
                HAVING tie IS NOT NULL AND count(DISTINCT split) > 1
            )) + (
                SELECT count(*)
                FROM (
                    SELECT split, unnest(generated_parents) AS parent FROM {table} JOIN augmented USING (row_id)
                ) AS made
                JOIN {table} AS p ON p.row_id = made.parent WHERE p.split != made.split
            )
            """,
        ),
        Law(
            "rows_were_there",
            "every exported row came from augmented, with its content, and is on one side",
            """
            SELECT count(*) FROM {table} AS e LEFT JOIN augmented AS s USING (row_id)
            WHERE s.content_hash IS DISTINCT FROM e.content_hash OR split NOT IN ('train', 'test')
            """,
        ),
    ),
)
README = "README.md"
BATCH_ROWS = 2048


@state(TABLE, deps=("deduped", "scored"), code=1)
def exported(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The finished dataset: split without leaks, written for trainers, with a card that says where every row went."""
    _choose(build, recipe)
    build.check(TABLE.laws)  # before anything is published: a folder, unlike a table, cannot be rolled back
    with partial_folder(folder.exports) as partial:
        configs = _write(build, partial, recipe)
        data = {path: n for config in configs for path, n in config.files.items()}
        facts = facts_of(build, recipe, configs, {p: (n, (partial / p).stat().st_size) for p, n in data.items()})
        (partial / README).write_text(card(facts), "utf-8")
        sync(partial / README)
        left_out = {c.name: dict(sorted(c.left_out.items())) for c in configs if c.left_out}
        said = {"rows": facts.counts, "left_out": left_out, "not_written": facts.not_written}
        versions = lineage(build.con, build.parents["augmented"])
        content = write_manifest(partial, data, README, {"name": facts.name, **said}, versions, recipe)
        final = publish(partial, content).relative_to(folder.root).as_posix()
    build.notes |= {"files": [final], "export": final, "splits": facts.by_split, **said}


def _choose(build: Build, recipe: Recipe) -> None:
    """Drop what is not exported, give every other row its side."""
    rows_in, section = build.parents["augmented"].rows, recipe.exported
    build.drop_sql(f"""
        SELECT row_id, 'prompt_only' AS reason, to_json({{'kind': kind}}) AS evidence
        FROM {rows_in} WHERE kind = 'prompt'
        UNION ALL
        SELECT row_id, 'review' AS reason, to_json({{'reasons': review_reasons}}) AS evidence
        FROM {rows_in} WHERE kind <> 'prompt' AND verdict = 'review' AND {section.without_review}
    """)
    parents = build.value(f"SELECT coalesce(max(len(generated_parents)), 0) FROM {rows_in}")
    families = "".join(f", coalesce(generated_parents[{n}], row_id) AS family_{n}" for n in range(1, parents + 1))
    rows: pa.Table = build.con.sql(f"""
        SELECT row_id, content_hash, near_group, conflict_group, record_id, generated_chunk{families}
        FROM {rows_in} ANTI JOIN {build.ledger("dropped")} USING (row_id)
    """).to_arrow_table()
    row_id, content, *ties = (column.combine_chunks() for column in rows.columns)
    sides = split(content, ties, section.test_share, section.seed)
    build.insert(pa.table({"row_id": row_id, "content_hash": content, "split": sides}))


# ---------------------------------------------------------------------------------------------------------- writing


def _write(build: Build, partial: Path, recipe: Recipe) -> list[Config]:
    """All files of the formats that the recipe names, in one pass over the rows by row_id."""
    fields, text_bytes = _turns(build)
    writers = _writers(partial, fields, set(recipe.exported.formats))
    total = build.value(f"SELECT count(*) FROM {build.table}")
    done = 0
    for batch in _rows(build, partial, text_bytes):
        for kind, of_kind in writers.items():
            for side in SPLITS:
                mask = pc.and_(pc.equal(batch.column("kind"), kind), pc.equal(batch.column("split"), side))
                if (rows := batch.filter(mask)).num_rows:
                    for writer in of_kind:
                        writer.write(side, rows)
        done += batch.num_rows
        build.progress(done, total)
    return [writer.close() for of_kind in writers.values() for writer in of_kind]


def _writers(partial: Path, fields: dict[str, list[str]], formats: set[str]) -> dict[str, list[Writer]]:
    """Who writes the rows of each kind."""
    sft: list[Writer] = [Sft(partial, fields["sft"])] if "messages" in formats else []
    sft += [Alpaca(partial)] if "alpaca" in formats else []
    if "preference" not in formats:
        return {"sft": sft}
    pairs = Answers(partial, "preference", fields["preference"], preference.write, label=False)
    unpaired = Answers(partial, "unpaired", fields["unpaired"], prompt_and_completion, label=True)
    return {"sft": sft, "preference": [pairs], "unpaired": [unpaired]}


def _rows(build: Build, folder: Path, text_bytes: int) -> Iterator[pa.RecordBatch]:
    """The exported rows by row_id. Read on the build's own connection, which sees the sides that were just given."""
    batches = build.con.sql(f"""
        SELECT row_id::VARCHAR AS row_id, split, kind, label, source, license, language, messages, rejected, tools,
            (meta->>'input_at')::INTEGER AS input_at,
            ('0x' || left(row_id::VARCHAR, 4))::INTEGER * {parts_for(text_bytes)} // 65536 AS part
        FROM (SELECT row_id, split FROM {build.table}) JOIN {build.parents["augmented"].rows} USING (row_id)
    """).to_arrow_reader(BATCH_ROWS)
    return in_parts(batches, folder / ".parts", BATCH_ROWS)


def _turns(build: Build) -> tuple[dict[str, list[str]], int]:
    """The fields of a turn that are not null everywhere, by kind (role and content always), and the bytes of all content."""
    names = [f.name for f in MESSAGE if f.name not in ("role", "content")]
    found = build.con.execute(f"""
        SELECT kind, sum(strlen(turn.content))::BIGINT, {", ".join(f"count(turn.{name})" for name in names)}
        FROM (
            SELECT kind, unnest(list_concat(messages, rejected)) AS turn
            FROM {build.parents["augmented"].rows} SEMI JOIN {build.table} USING (row_id)
        )
        GROUP BY kind
    """).fetchall()
    used = {kind: [name for name, n in zip(names, counts, strict=True) if n] for kind, _, *counts in found}
    return {kind: ["role", "content", *used.get(kind, [])] for kind in FORMATS}, sum(row[1] for row in found)
