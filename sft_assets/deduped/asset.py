"""deduped: the combined rows without exact and near duplicates.

Of each group of duplicates one row stays; every row that goes is equal to it or within `threshold` Jaccard of it:

    dropped 9f3c...  "What is the capital of France ?"   exact_duplicate of 51ab...  "What is the capital of France?"

Which row stays: the source's priority, then the answer that ends well, then the longer answer (blanks do not count), then the
text with fewer surplus blanks, then the answer whose paragraphs are marked, then how many equal records came before it in its
source, then the source's name, then the id. The order of the input plays no part. A duplicate that people decided to keep stays
beside it, in its near_group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sft_assets.arrow import uuid_array
from sft_assets.asset import state
from sft_assets.compiling import compiling
from sft_assets.deduped import report
from sft_assets.deduped.bloom import bloom_duplicates
from sft_assets.deduped.groups import named
from sft_assets.deduped.near import Duplicates, Read, near_duplicates, warm_up
from sft_assets.deduped.profiles import TURNS, Profiles, bands_for, profiles
from sft_assets.engine import Engine, engine_of
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe, Semantic
from sft_assets.reviews import applying
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "deduped",
    columns={"row_id": "UUID", "content_hash": "UUID", "near_group": "UUID", "conflict_group": "UUID"},
    after="combined",
    laws=(
        Law(
            "duplicates_have_a_keeper",
            "every duplicate that went names a row that stayed (but for those that a Bloom filter alone told)",
            """
            SELECT count(*) FROM {dropped} AS d
            LEFT JOIN {table} AS kept ON kept.row_id = (d.evidence ->> 'of')::UUID
            WHERE kept.row_id IS NULL AND d.reason <> 'bloom_duplicate'
            """,
        ),
        applying.KEPT,
    ),
)
BATCH = 4096  # rows
Ints = npt.NDArray[np.int64]


@state(TABLE, deps=("deduped_reviews",), code=2)
def deduped(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The combined rows without exact and near duplicates; each that went names the row that stayed."""
    section = recipe.deduped
    total = build.parents["combined"].report["kept"]
    with compiling(build.say):
        warm_up()
    engine = engine_of(recipe.engine, build.say)
    bloom = section.near and section.bloom
    passes = 2 if bloom else 1
    rows = profiles(
        build.stream(f"SELECT {TURNS} FROM combined", rows=BATCH),
        section.compare,
        bands_for(section.threshold, section.permutations) if section.near and not bloom else (0, 1),
        section.permutations,
        lambda done: build.progress(done, passes * total),
        engine,
        total,
    )
    priorities = {source.name: source.priority for source in recipe.sources}
    priority = np.array([priorities.get(name, 0) for name in rows.sources], np.int64)
    with build.half_the_memory(recipe.engine.memory_limit):
        read, held = _reader(build, rows.row_id), _held(build, folder, rows)
        spill = build.value("SELECT current_setting('temp_directory')") or None
        if bloom:
            told = lambda done: build.progress(total + done, passes * total)  # noqa: E731
            found = bloom_duplicates(rows, read, section, priority, told, held, engine, spill)
        else:
            guard = section.keep_if_numbers_differ
            found = near_duplicates(
                rows,
                read,
                section.compare,
                section.threshold,
                guard,
                priority,
                section.near,
                held=held,
                engine=engine,
                spill=spill,
            )
        rows = rows.without_bands()
        if section.semantic:
            _compare_meaning(build, rows, found, read, section.semantic, priority, folder, held, engine)
        if held is not None:
            build.notes["kept_by_people"] = found.keep(np.flatnonzero(held), rows.row_id)
        _write(build, rows, found)
        build.notes |= report.of(build, rows.row_id, found)


def _held(build: Build, folder: Folder, rows: Profiles) -> npt.NDArray[np.bool_] | None:
    """Whether people decided to keep each row; None where they decided nothing."""
    decided = applying.apply(build, folder)
    if not decided:
        return None
    ids = np.array([int.from_bytes(row_id.bytes[:8]) for row_id in decided], np.uint64)
    held = np.isin(rows.row_id.view(">u8").reshape(-1, 2)[:, 0], ids)
    kept = {row_id.bytes for row_id in decided}
    for row in np.flatnonzero(held):  # half an id may be that of two
        held[row] = bytes(rows.row_id[row]) in kept
    return held


def _compare_meaning(
    build: Build, rows: Profiles, found: Duplicates, read: Read, section: Semantic, priority: Ints, folder: Folder,
    held: npt.NDArray[np.bool_] | None, engine: Engine,
) -> None:  # fmt: skip
    from sft_assets.deduped.semantic import said_in, semantic_duplicates
    from sft_assets.models.embedder import Embedder

    said = dict(said_in(read(np.flatnonzero(found.stays), False)))
    embedder = Embedder(section.model, folder.embeddings)
    texts = 2 * len(said)
    build.say(f"embedding {texts:,} texts with {section.model}; what was embedded before is in {folder.embeddings.name}")
    build.notes["semantic"] = semantic_duplicates(
        rows, found, said, embedder, section, priority, lambda done: build.progress(done, texts), held, engine
    )


def _reader(build: Build, row_id: npt.NDArray[np.void]) -> Read:
    def read(some: Ints | None, ordered: bool) -> Iterator[pa.RecordBatch]:
        some = np.arange(len(row_id)) if some is None else some
        numbers = pa.table({"row_id": _ids(row_id, some), "number": some, "place": np.arange(len(some))})
        sql = f"SELECT {TURNS}, number FROM combined JOIN numbers USING (row_id)"
        return build.stream(f"{sql} ORDER BY place" if ordered else sql, rows=BATCH, numbers=numbers)

    return read


def _write(build: Build, rows: Profiles, found: Duplicates) -> None:
    kept, gone = np.flatnonzero(found.stays), np.flatnonzero(~found.stays)
    conflict = named(rows.prompt[kept], rows.row_id, kept)
    columns = {"row_id": kept, "near_group": found.near_group[kept], "conflict_group": conflict}
    stay = pa.table({name: _ids(rows.row_id, which) for name, which in columns.items()})
    build.insert_sql(f"SELECT batch.*, content_hash FROM batch JOIN {build.of('combined')} USING (row_id)", stay)
    left = pa.table(
        {
            "row_id": _ids(rows.row_id, gone),
            "reason": found.reasons(gone),
            "of": _ids(rows.row_id, found.of[gone]),
            "jaccard": pa.array(found.jaccard[gone].round(4), mask=~found.compared(gone)),
            "prompt_similarity": pa.array(found.meaning[gone, 0].round(4), from_pandas=True),
            "answer_similarity": pa.array(found.meaning[gone, 1].round(4), from_pandas=True),
            "through": _ids(rows.row_id, found.through[gone]),
            "hit_in": pa.array(np.full(len(gone), "bloom filter"), mask=~found.unconfirmed[gone]),
        }
    )
    evidence = """
        json_merge_patch(  -- which leaves out what is null
            '{}', to_json(struct_pack("of", jaccard, prompt_similarity, answer_similarity, through, hit_in))
        )
    """
    build.drop_sql(f"SELECT row_id, reason, {evidence} AS evidence FROM batch", left)
    build.notes["near_groups"] = len(np.unique(found.near_group[found.near_group >= 0]))
    build.notes["conflict_groups"] = len(np.unique(conflict[conflict >= 0]))


def _ids(row_id: npt.NDArray[np.void], rows: Ints) -> Any:
    """The ids of rows as an Arrow array, null for -1."""
    return uuid_array(row_id[rows] if len(row_id) else row_id, rows < 0)
