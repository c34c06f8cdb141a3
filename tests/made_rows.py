"""Rows as `decontaminated` hands them on, made by hand, for tests of what comes after it.

fill(folder, [chat("Where?", "In Rome.")])
make(folder, rule_hits, rule_hits={"skip": ["refusal"]})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import Asset, materialize
from sft_assets.combined import asset as combined
from sft_assets.folder import Folder
from sft_assets.raw import asset as raw
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message, content_hash, digest
from sft_assets.runs import INPUTS, input_version
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.build import Build, Table

REFUSAL = "I'm sorry, but I can't help with that."
MOJIBAKE = "The cafÃ© is closed."
DISCLAIMER = "That is a matter of taste, but as an AI language model I have none."


def chat(*turns: str, **more: Any) -> Conversation:
    return Conversation([Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)], **more)


MIXED = [
    chat("Help!", REFUSAL),
    chat("Where?", "In Rome."),
    Conversation([]),
    chat("Hi", "Hello", "Where?", MOJIBAKE),
    Conversation([Message("user", MOJIBAKE)], kind="prompt"),
    chat("Order a pizza.", REFUSAL, tools='[{"name":"clock"}]'),
    chat("Which?", DISCLAIMER, "Sure?", "Yes."),
]

# the columns of the real tables, of which these tests fill in what matters here
RAW = dataclasses.replace(raw.TABLE, laws=())
COMBINED = dataclasses.replace(combined.TABLE, laws=())
DECONTAMINATED = Table(
    "decontaminated", {"row_id": "UUID", "content_hash": "UUID", "paraphrase_of": "VARCHAR"}, after="combined"
)


def hash_of(c: Conversation) -> bytes:
    return content_hash(c.messages, c.rejected, c.tools)


def id_of(c: Conversation) -> bytes:
    return digest(hash_of(c), repr((c.kind, c.label, c.path)).encode())


def fill(folder: Folder, conversations: Sequence[Conversation], near: Collection[Conversation] = ()) -> None:
    """The states up to decontaminated, made by hand. `path` tells rows of equal content apart. near: those that may be test
    items."""
    ids, hashes = uuids(map(id_of, conversations)), uuids(map(hash_of, conversations))
    with Warehouse(folder.database).writing() as con:
        with Build.begin(con, RAW, "1", {}) as build:
            n = len(conversations)
            build.records_in = n
            positions = pa.array(range(n), pa.int64())
            files = pa.array(["a.json"] * n, pa.string())
            build.insert(pa.table({"row_id": ids, "record_hash": hashes, "source_file": files, "source_row": positions}))
        with Build.begin(con, COMBINED, "1", {"raw": "1"}) as build:
            contents = {
                "content_hash": hashes,
                "messages": messages_array([c.messages for c in conversations]),
                "rejected": messages_array([c.rejected for c in conversations]),
                "tools": pa.array([c.tools for c in conversations], pa.string()),
            }
            build.store("contents", "content_hash", pa.table(contents))
            kinds, labels = (
                pa.array([c.kind for c in conversations], pa.string()),
                pa.array([c.label for c in conversations], pa.bool_()),
            )
            build.insert(pa.table({"row_id": ids, "record_id": ids, "content_hash": hashes, "kind": kinds, "label": labels}))
        with Build.begin(con, DECONTAMINATED, "1", {"combined": "1"}) as build:
            marks = pa.array(["exam 1" if c in near else None for c in conversations], pa.string())
            build.insert(pa.table({"row_id": ids, "content_hash": hashes, "paraphrase_of": marks}))


def make(folder: Folder, *assets: Asset, **sections: Any) -> list[Version]:
    recipe = Recipe.model_validate(sections)
    inputs = {name: input_version(folder, name) for asset in assets for name in asset.deps if name in INPUTS}
    return [materialize(asset, folder, recipe, inputs, again=True)[0] for asset in assets]


def query(folder: Folder, sql: str) -> list[tuple[Any, ...]]:
    with Warehouse(folder.database).reading() as con:
        return con.execute(sql).fetchall()
