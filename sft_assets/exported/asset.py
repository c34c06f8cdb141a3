"""exported: the finished dataset, split into train, validation and test, in the files that trainers read.

    row_id 5f0c...  content_hash 9f3c...  split train      D/exports/20260102T030405Z-1f0c22ab/data/train-00000-of-00001.parquet
    dropped 77aa... prompt_only: a prompt without an answer

The table says which row is on which side; the files are written beside it, and `exports/latest` leads to the newest.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import MESSAGE
from sft_assets.asset import state
from sft_assets.errors import SftError
from sft_assets.exported import loaders
from sft_assets.exported.card import card
from sft_assets.exported.facts import GENERATED, OF_PEOPLE, Facts, facts_of, lineage, sources_of
from sft_assets.exported.folder import partial_folder, publish, retire
from sft_assets.exported.funnel import funnel
from sft_assets.exported.licenses import data_digest, licensing, refusal
from sft_assets.exported.manifest import write_manifest
from sft_assets.exported.ordered import in_parts, parts_for
from sft_assets.exported.repetition import Repetition, check_sources
from sft_assets.exported.splits import SPLITS, TRAIN, split
from sft_assets.exported.tokens import Counter, digest_of
from sft_assets.exported.writers import FORMATS, Config, close, writers
from sft_assets.files import sync
from sft_assets.folder import Folder
from sft_assets.recipe import Methods, Recipe
from sft_assets.warehouse import Version
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "exported",
    columns={"row_id": "UUID", "content_hash": "UUID", "split": "VARCHAR", "tokens": "INTEGER"},
    after="augmented",
    laws=(
        Law(
            "no_group_in_two_splits",
            "equal and near duplicates, answers to one prompt, rows of one record and generated rows with their parents are on "
            "one side",
            """
            SELECT (SELECT count(*) FROM (
                SELECT coalesce(e.content_hash, near_group, conflict_group, record_id, generated_chunk) AS tie
                FROM {table} AS e JOIN augmented USING (row_id)
                GROUP BY GROUPING SETS (e.content_hash, near_group, conflict_group, record_id, generated_chunk)
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
            WHERE s.content_hash IS DISTINCT FROM e.content_hash OR split NOT IN ('train', 'validation', 'test')
            """,
        ),
    ),
)
README = "README.md"
BATCH_ROWS = 2048


def _files_read(folder: Folder, recipe: Recipe) -> str:
    """What is known of licences, and the tokenizer that the recipe names by its path."""
    tokenizer = digest_of(recipe.exported.tokenizer, folder.root) if recipe.exported.tokenizer else ""
    return f"{data_digest()}.{tokenizer}" if tokenizer else data_digest()


@state(TABLE, deps=("deduped", "scored", "clustered"), code=2, data_of_folder=_files_read)
def exported(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The finished dataset: split without leaks, written for trainers, with a card that says where every row went."""
    section = recipe.exported
    states = lineage(build.con, build.parents["augmented"])
    check_sources(section.repeat, _known_sources(build, recipe, states), f"{folder.recipe}: exported.repeat")
    counter = Counter.of(section.tokenizer, root=folder.root) if section.tokenizer else None
    _choose(build, recipe)
    sources = sources_of(build)
    found = licensing((s.name, s.license, s.rows) for s in sources)
    if found.conflicts and section.incompatible_licenses == "refuse":
        raise SftError(refusal(found, folder.recipe))
    build.check(TABLE.all_laws)  # before anything is published: a folder, unlike a table, cannot be rolled back
    repetition = Repetition(section.repeat, section.seed)
    with partial_folder(folder.exports) as partial:
        configs = _write(build, partial, section.formats, repetition, counter)
        data = {path: n for config in configs for path, n in config.files.items()}
        sizes = {path: (n, (partial / path).stat().st_size) for path, n in data.items()}
        facts = facts_of(build, recipe, configs, sizes, sources, repetition.counts, counter)
        beside = loaders.write(partial, facts)
        (partial / README).write_text(card(facts, beside), "utf-8")
        sync(partial / README)
        said = _said(facts)
        content = write_manifest(partial, data, [README, *beside], {"name": facts.name, **said}, states, recipe)
        final = publish(partial, content)
    gone = retire(folder.exports, recipe.engine.keep_exports)
    if gone:
        build.say(f"deleted the oldest exports, engine.keep_exports is {recipe.engine.keep_exports}: {', '.join(gone)}")
    path = final.relative_to(folder.root).as_posix()
    build.notes |= {"files": [path], "export": path, "splits": facts.by_split, **said, "deleted_exports": gone}
    build.notes["picture"] = b64encode(funnel(facts.funnel)).decode()


def _said(facts: Facts) -> dict[str, Any]:
    """What the manifest and the version's report have in common."""
    return {
        "rows": facts.counts,
        "left_out": {c.name: dict(sorted(c.left_out.items())) for c in facts.configs if c.left_out},
        "not_written": facts.not_written,
        "repeated": facts.repeated,
        "licenses": facts.licensing.as_json(),
        "tokens": facts.tokens,
    }


def _known_sources(build: Build, recipe: Recipe, states: list[Version]) -> set[str]:
    """Every source that there is, was read, or may come of a method."""
    named = [f"SELECT source FROM {v.table}" for v in states if v.asset in ("raw", "combined")]
    rows = build.con.execute(f"SELECT DISTINCT source FROM ({' UNION ALL '.join(named)}) WHERE source IS NOT NULL").fetchall()
    made = {OF_PEOPLE, *(GENERATED + method for method in Methods.model_fields)}
    return {*(name for (name,) in rows), *(s.name for s in recipe.sources), *made}


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
        SELECT row_id, content_hash, topic_id, near_group, conflict_group, record_id, generated_chunk{families}
        FROM {rows_in} ANTI JOIN {build.ledger("dropped")} USING (row_id)
    """).to_arrow_table()
    row_id, content, topic, *ties = (column.combine_chunks() for column in rows.columns)
    sides = split(content, ties, section.test_share, section.seed, section.validation_share, topic)
    build.insert(pa.table({"row_id": row_id, "content_hash": content, "split": sides}))


# ---------------------------------------------------------------------------------------------------------- writing


def _write(
    build: Build, partial: Path, formats: Collection[str], repetition: Repetition, counter: Counter | None
) -> list[Config]:
    """All files of the formats, in one pass over the rows by row_id; on the way their tokens are counted."""
    fields, text_bytes = _turns(build)
    by_kind = writers(partial, fields, set(formats))
    total = build.value(f"SELECT count(*) FROM {build.table}")
    done, counts = 0, []
    for batch in _rows(build, partial, text_bytes):
        for kind, of_kind in by_kind.items():
            for side in SPLITS:
                mask = pc.and_(pc.equal(batch.column("kind"), kind), pc.equal(batch.column("split"), side))
                if of_kind and (rows := batch.filter(mask)).num_rows:
                    for part in repetition(rows) if side == TRAIN else [rows]:
                        for writer in of_kind:
                            writer.write(side, part)
        if counter:
            counts.append(pa.table({"row_id": batch.column("row_id"), "counted": counter.count(batch)}))
        done += batch.num_rows
        build.progress(done, total)
    if counts:
        sql = f"UPDATE {build.table} AS e SET tokens = counted FROM batch AS c WHERE e.row_id = c.row_id::UUID"
        build.execute(sql, pa.concat_tables(counts))
    return close(by_kind)


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
