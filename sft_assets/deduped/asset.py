"""deduped: the combined rows without exact and near duplicates.

Of each group of duplicates one row stays; every row that goes is equal to it or within `threshold` Jaccard of it:

    dropped 9f3c...  "What is the capital of France ?"   exact_duplicate of 51ab...  "What is the capital of France?"

Which row stays: the source's priority, then the answer that ends well, then the longer answer (blanks do not count), then the
text with fewer surplus blanks, then the answer whose paragraphs are marked, then how many equal records came before it in its
source, then the source's name, then the id. The order of the input plays no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pyarrow as pa

from sft_assets.asset import state
from sft_assets.deduped.compared import Compared, compared
from sft_assets.deduped.groups import groups
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Message, uuids
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "deduped",
    columns={"row_id": "UUID", "content_hash": "UUID", "near_group": "UUID", "conflict_group": "UUID"},
    after="combined",
    laws=(
        Law(
            "duplicates_have_a_keeper",
            "every duplicate that went names a row that stayed",
            """
            SELECT count(*) FROM {dropped} AS d
            LEFT JOIN {table} AS kept ON kept.row_id = (d.evidence ->> 'of')::UUID
            WHERE kept.row_id IS NULL
            """,
        ),
    ),
)


@state(TABLE, code=1)
def deduped(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The combined rows without exact and near duplicates; each that went names the row that stayed."""
    section = recipe.deduped
    rows = list(_rows(build, recipe))
    rows.sort(key=lambda r: r.order)
    first: dict[bytes, bytes] = {}
    gone: dict[bytes, tuple[str, bytes, float]] = {}
    for row in rows:
        keeper = first.setdefault(row.equal, row.row_id)
        if keeper != row.row_id:
            gone[row.row_id] = ("exact_duplicate", keeper, 1.0)
    guarded: list[tuple[bytes, bytes]] = []
    if section.near:
        from sft_assets.deduped.near import near_duplicates

        left = [r for r in rows if r.row_id not in gone]
        total = len(rows) + len(left)
        pairs = near_duplicates(
            left,
            section.threshold,
            section.permutations,
            section.keep_if_numbers_differ,
            lambda done: build.progress(len(rows) + done, total) if done % 500 == 0 else None,
        )
        for near in pairs:
            if near.guarded:
                guarded.append((near.row_id, near.kept))
            else:
                gone[near.row_id] = ("near_duplicate", near.kept, near.jaccard)
    _write(build, rows, gone, guarded)


def _rows(build: Build, recipe: Recipe) -> Iterator[Compared]:
    priorities = {s.name: s.priority for s in recipe.sources}
    sql = "SELECT row_id, kind, messages, rejected, tools, label, source, coalesce(occurrence, 0) AS occurrence FROM combined"
    done = 0
    for batch in build.stream(sql):
        ids = batch.column("row_id").storage.to_pylist()
        names = ("kind", "messages", "rejected", "tools", "label", "source", "occurrence")
        for row_id, kind, messages, rejected, tools, label, source, occurrence in zip(
            ids, *(batch.column(n).to_pylist() for n in names), strict=True
        ):
            yield compared(
                row_id,
                kind,
                [Message(**m) for m in messages],
                rejected and [Message(**m) for m in rejected],
                tools,
                label,
                source,
                occurrence,
                priorities.get(source, 0),
                recipe.deduped.compare,
            )
        done += batch.num_rows
        build.progress(done, None)


def _write(
    build: Build,
    rows: list[Compared],
    gone: dict[bytes, tuple[str, bytes, float]],
    guarded: list[tuple[bytes, bytes]],
) -> None:
    for row_id, (reason, keeper, similarity) in sorted(gone.items()):
        evidence = {"of": str(UUID(bytes=keeper)), "jaccard": round(similarity, 4)}
        if keeper in gone:  # equal to a row that is itself the near duplicate of one that stays
            _, stays, similarity = gone[keeper]
            reason = "near_duplicate"
            evidence = {"of": str(UUID(bytes=stays)), "jaccard": round(similarity, 4), "equal_to": evidence["of"]}
        build.drop(row_id, reason, evidence)
    kept = [r for r in rows if r.row_id not in gone]
    near = groups(guarded)
    same_prompt = Counter(r.prompt for r in kept)
    smallest: dict[bytes, bytes] = {}
    for r in kept:
        if same_prompt[r.prompt] > 1:
            smallest[r.prompt] = min(smallest.get(r.prompt, r.row_id), r.row_id)
    table = pa.table(
        {
            "row_id": uuids([r.row_id for r in kept]),
            "near_group": uuids([near.get(r.row_id) for r in kept]),
            "conflict_group": uuids([smallest.get(r.prompt) for r in kept]),
        }
    )
    build.con.register("kept", table)
    build.insert_sql(f"SELECT kept.*, content_hash FROM kept JOIN {build.of('combined')} USING (row_id)")
    build.con.unregister("kept")
    build.notes["sample_dropped"] = samples(build)
    build.notes["near_groups"] = len(set(near.values()))
    build.notes["conflict_groups"] = len(smallest)


def samples(build: Build) -> list[dict[str, str]]:
    """Ten dropped rows next to the row that stayed."""
    rows = build.con.execute(f"""
        WITH shown AS (SELECT * FROM {build.ledger("dropped")} ORDER BY reason DESC, row_id LIMIT 10)
        SELECT left(d.row_id::VARCHAR, 8), d.reason, d.evidence ->> 'jaccard', gone.messages[-1].content,
            left(kept.row_id::VARCHAR, 8), kept.messages[-1].content
        FROM shown AS d
        JOIN combined AS gone USING (row_id)
        JOIN combined AS kept ON kept.row_id = (d.evidence ->> 'of')::UUID
        ORDER BY d.reason DESC, d.row_id
    """).fetchall()
    names = ("row", "reason", "jaccard", "answer", "kept", "its answer")
    return [dict(zip(names, map(str, row), strict=True)) for row in rows]
