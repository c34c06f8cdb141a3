"""combined: one table of conversations out of all sources, in the mixture that the recipe asks for.

    row_id 5f0c...  source questions  kind sft  license cc-by-4.0  language en
    messages [{user, "Name three primary colours."}, {assistant, "Red, yellow and blue."}]

A record becomes its row (formats that give several rows hash the row's path into the id), is repaired, checked, masked; what
cannot be a conversation goes to quarantine, what the mixture leaves out is dropped with its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import Any

import orjson
import pyarrow as pa

from sft_assets import formats, masks
from sft_assets.asset import state
from sft_assets.combined.masking import mask_json, mask_text, mask_turns
from sft_assets.combined.repairs import Edit, repair
from sft_assets.combined.validation import validate
from sft_assets.folder import Folder
from sft_assets.masks import mask
from sft_assets.raw.batches import excerpt
from sft_assets.raw.quarantine import stop_if_too_many
from sft_assets.recipe import Recipe, Source
from sft_assets.record import BadRecord, Conversation, Message, content_hash, messages_array, row_id, uuids
from sft_assets.warehouse import Build, Table

TABLE = Table(
    "combined",
    columns={
        "row_id": "UUID",
        "record_id": "UUID",
        "content_hash": "UUID",
        "source": "VARCHAR",
        "origin": "VARCHAR",
        "kind": "VARCHAR",
        "label": "BOOLEAN",
        "license": "VARCHAR",
        "language": "VARCHAR",
        "meta": "JSON",
    },
    after="raw",
)


@state(TABLE, code=1, data_of_code=masks.version)
def combined(build: Build, folder: Folder, recipe: Recipe) -> None:
    """One table of conversations: records mapped, repaired, checked and masked, in the recipe's mixture."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TABLE.columns.items())
    build.con.execute(f"CREATE OR REPLACE TEMP TABLE candidates ({columns})")
    total = build.value(f"SELECT count(*) FROM {build.of('raw')}")
    found: Counter[str] = Counter()
    done = 0
    for batch in build.stream("SELECT row_id, source, source_file, source_row, format, record FROM raw"):
        _convert(build, recipe, batch, found)
        done += batch.num_rows
        build.progress(done, total)
    _mix(build, recipe)
    stop_if_too_many(build, folder, recipe, found)


def conversations(
    record: dict[str, Any], format_name: str, source: Source, kinds: Collection[str]
) -> list[tuple[Conversation, str | None, list[Edit]]]:
    """The rows of a record, with the meta of each as JSON, and what was edited in it.

    Raises:
        BadRecord: the record gives no valid conversation.
    """
    result = []
    for row in formats.read(format_name, record, source.hints):
        row.messages, edits = repair(row.messages)
        if row.rejected is not None:
            row.rejected, more = repair(row.rejected, "rejected turn")
            edits += more
        if source.system and row.messages and row.messages[0].role != "system":
            row.messages.insert(0, Message("system", source.system))
        row.license = row.license or source.license
        row.language = row.language or source.language
        validate(row)
        for place, extra in row.meta.items():
            if place.endswith("_extra") and any("parts" in turn for turn in extra.values()):
                edits.append(Edit("parts_in_meta", place.removesuffix("_extra"), "images and other parts that are no text"))
        row.messages = mask_turns(row.messages, kinds, "turn", edits)
        if row.rejected is not None:
            row.rejected = mask_turns(row.rejected, kinds, "rejected turn", edits)
        row.tools = row.tools and mask_json(row.tools, kinds, "tools", edits)
        row.license = row.license and mask_text(row.license, kinds, "license", edits)
        row.language = row.language and mask_text(row.language, kinds, "language", edits)
        result.append((row, _meta(row.meta, kinds, edits), edits))
    return result


def _meta(meta: dict[str, Any], kinds: Collection[str], edits: list[Edit]) -> str | None:
    try:
        text = orjson.dumps(meta, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        raise BadRecord("too_deep", "too many objects and lists within each other") from None
    return mask_json(text, kinds, "meta", edits) if meta else None


def _convert(build: Build, recipe: Recipe, batch: pa.RecordBatch, found: Counter[str]) -> None:
    kinds = recipe.combined.masks
    ids, records, hashes, rows, sources, metas = [], [], [], [], [], []
    entries: dict[str, Source] = {}
    record_ids = batch.column("row_id").storage.to_pylist()
    columns = (batch.column(c).to_pylist() for c in ("source", "source_file", "source_row", "format", "record"))
    for record_id, name, file, position, format_name, text in zip(record_ids, *columns, strict=True):
        found[name] += 1
        source = entries.get(name) or entries.setdefault(name, recipe.source(name))
        try:
            made = conversations(orjson.loads(text), format_name, source, kinds)
        except BadRecord as bad:
            data = text.encode()
            sha = hashlib.sha256(data).hexdigest()
            build.quarantine(name, file, position, record_id, bad.reason, mask(bad.detail)[0], sha, excerpt(data))
            continue
        build.created += len(made) - 1
        for row, meta, edits in made:
            own_id = row_id(record_id, row.path)
            for edit in edits:
                build.edit(own_id, *edit)
            ids.append(own_id)
            records.append(record_id)
            hashes.append(content_hash(row.messages, row.rejected, row.tools))
            rows.append(row)
            sources.append(name)
            metas.append(meta)
    if not rows:
        return
    build.store(
        "contents",
        "content_hash",
        pa.table(
            {
                "content_hash": uuids(hashes),
                "messages": messages_array([r.messages for r in rows]),
                "rejected": messages_array([r.rejected for r in rows]),
                "tools": pa.array([r.tools for r in rows], pa.string()),
            }
        ),
    )
    table = pa.table(
        {
            "row_id": uuids(ids),
            "record_id": uuids(records),
            "content_hash": uuids(hashes),
            "source": pa.array(sources, pa.string()),
            "origin": pa.array(["source"] * len(rows)),
            "kind": pa.array([r.kind for r in rows]),
            "label": pa.array([r.label for r in rows], pa.bool_()),
            "license": pa.array([r.license for r in rows], pa.string()),
            "language": pa.array([r.language for r in rows], pa.string()),
            "meta": pa.array(metas, pa.string()),
        }
    )
    build.insert_into("candidates", table)


def _mix(build: Build, recipe: Recipe) -> None:
    """Keep the share and the number of rows that each source is to give, and the licences that are allowed.

    One seeded order of the row ids serves weight and cap: a larger share holds the smaller one.
    """
    mixture = pa.table(
        {
            "source": pa.array([s.name for s in recipe.sources], pa.string()),
            "weight": pa.array([s.weight for s in recipe.sources], pa.float64()),
            "cap": pa.array([s.cap for s in recipe.sources], pa.int64()),
        }
    )
    licenses = recipe.combined.allowed_licenses
    build.con.register("mixture", mixture)
    build.con.register("allowed", pa.table({"license": pa.array(licenses or [], pa.string())}))
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        WITH placed AS (
            SELECT row_id, c.license, weight, cap,
                ('0x' || left(md5('{recipe.combined.seed}' || row_id::VARCHAR), 13))::UBIGINT / 16::DOUBLE ** 13 AS place,
                {"lower(c.license) IN (SELECT lower(license) FROM allowed)" if licenses is not None else "true"} AS licensed
            FROM candidates AS c LEFT JOIN mixture USING (source)
        ),
        ranked AS (
            SELECT *,
                row_number() OVER (PARTITION BY source, licensed AND place < coalesce(weight, 1) ORDER BY place, row_id) AS rank
            FROM placed JOIN (SELECT row_id, source FROM candidates) USING (row_id)
        )
        SELECT row_id,
            CASE
                WHEN licensed IS NOT true THEN 'license'
                WHEN place >= coalesce(weight, 1) THEN 'not_sampled'
                WHEN rank > cap THEN 'over_cap'
            END AS reason,
            CASE
                WHEN licensed IS NOT true THEN to_json({{'license': license}})
                WHEN place >= coalesce(weight, 1) THEN to_json({{'weight': weight}})
                WHEN rank > cap THEN to_json({{'cap': cap}})
            END AS evidence
        FROM ranked
    """)
    build.insert_sql("SELECT * FROM candidates SEMI JOIN (SELECT row_id FROM verdicts WHERE reason IS NULL) USING (row_id)")
    build.drop_sql("SELECT row_id, reason, evidence FROM verdicts WHERE reason IS NOT NULL")
    for name in ("mixture", "allowed"):
        build.con.unregister(name)
    build.con.execute("DROP TABLE verdicts; DROP TABLE candidates")
