"""embeddings: the vector of each content that no dropping rule hits, under the model that the recipe names.

    content_hash  vector                       cut    model
    9f3c...       [0.031, -0.072, ... 384]     false  4a57be...-bf16 windows-1 text-1
    41d0...       [0.008, 0.113, ... 384]      true   4a57be...-bf16 windows-1 text-1        longer than the model reads

The text of a content is what its users and assistants say. A vector is a function of that text and of `model` (weights,
precision, windows, how the text is made): these are what the version is made of, the vectors themselves are not. They are in
D/embeddings.sqlite as they come, so that a run that is killed goes on where it was, and an appended row costs one vector.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import uuid_bytes, uuids
from sft_assets.asset import model_evidence
from sft_assets.engine import Engine, engine_of
from sft_assets.engine.local import LOCAL
from sft_assets.errors import SftError
from sft_assets.evidence import CHUNK, Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.embedder import Embedder
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import Recipe
from sft_assets.scored.local_scores import ONE_ROW_A_CONTENT
from sft_assets.scored.wanted import DROPPING
from sft_assets.warehouse.build import Law, Table

TEXT_CODE = 1  # raised when TEXT gives other texts
TEXT = """array_to_string(
    [turn.content FOR turn IN messages IF turn.role IN ('user', 'assistant') AND turn.content != ''], E'\\n'
)"""
TOGETHER = 32_000_000  # bytes of texts that are sorted by their tokens together
Floats = npt.NDArray[np.float32]

TABLE = Table(
    "embeddings",
    columns={"content_hash": "UUID", "vector": "FLOAT[]", "cut": "BOOLEAN", "model": "VARCHAR"},
    is_state=False,
    unversioned=frozenset({"vector"}),
    laws=(
        ONE_ROW_A_CONTENT,
        Law(
            "length_one",
            "a vector has length 1, or 0 where there is no text",
            """
            SELECT count(*) FROM (SELECT list_inner_product(vector, vector) AS square FROM {table})
            WHERE square IS NULL OR NOT (square = 0 OR abs(square - 1) < 1e-3)
            """,
        ),
    ),
)


def wanted(con: duckdb.DuckDBPyConnection, decontaminated: str, rule_hits: str) -> pa.Table:
    """content_hash of the rows that no dropping rule hits, prompts and rows labelled bad among them, in its order."""
    return con.sql(f"""
        SELECT DISTINCT d.content_hash
        FROM {decontaminated} AS d
        WHERE NOT EXISTS (FROM {rule_hits} AS h WHERE h.content_hash = d.content_hash AND h.{DROPPING})
        ORDER BY d.content_hash
    """).to_arrow_table()


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What embedding would take."""
    section = recipe.embeddings
    if section.model is None:
        return Estimate("none", 0, 0, local=True)
    if bound:
        return Estimate(section.model, most, most, bound=True, local=True)
    with evidence.reading() as con:
        hashes = hashes_of(wanted(con, evidence.rows("decontaminated"), evidence.of("rule_hits")))
    try:
        embedder = Embedder(section.model, windows=section.windows, fetch=False)
        known = Vectors(folder.embeddings).known(cache_key(embedder)) if folder.embeddings.exists() else set()
    except SftError:  # the model is not here
        known = set()
    return Estimate(section.model, len(hashes), sum(content not in known for content in hashes), local=True)


@model_evidence(TABLE, deps=("decontaminated", "rule_hits"), code=1, estimate=_estimate, kinds=["pytorch"])
def embeddings(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """The vector of each content that no dropping rule hits."""
    section = recipe.embeddings
    if section.model is None:
        evidence.notes |= {"model": "none", "contents": 0}
        return
    embedder = Embedder(section.model, windows=section.windows)
    with evidence.reading() as con:
        contents = wanted(con, evidence.rows("decontaminated"), evidence.of("rule_hits"))
    cache, hashes = Vectors(folder.embeddings), hashes_of(contents)
    embedded = embed_contents(evidence, cache, embedder, hashes, engine_of(recipe.engine, evidence.say))
    evidence.notes |= {"model": section.model, "contents": len(hashes), **embedded}
    if hashes:
        dimensions = len(cached_vectors(cache, embedder, hashes[:1])[0][0])
        evidence.types["vector"] = f"FLOAT[{dimensions}]"
        evidence.notes["dimensions"] = dimensions
    evidence.insert_as_stored(_tables(evidence, cache, embedder, hashes))


def cache_key(embedder: Embedder) -> str:
    """What the vector of a content depends on, beside the content."""
    return f"{embedder.key} text-{TEXT_CODE}"


def embed_contents(
    evidence: Evidence, cache: Vectors, embedder: Embedder, hashes: Sequence[bytes], engine: Engine = LOCAL
) -> dict[str, Any]:
    """Put into the cache the vectors of contents that are not in it; how many there were."""
    key, read = cache_key(embedder), 0
    known = cache.known(key)
    new = [content for content in hashes if content not in known]
    done = cached = len(hashes) - len(new)
    evidence.progress(done, len(hashes))
    notes = {"cached": cached, "embedded": len(new)}
    if not new:
        return notes
    silent: list[bytes] = []
    dimensions = 0

    def groups() -> Iterator[tuple[list[bytes], list[str]]]:
        for some, texts in _texts(evidence, new):
            spoken = [index for index, text in enumerate(texts) if text.strip()]
            silent.extend(some[index] for index in sorted(set(range(len(texts))).difference(spoken)))
            for first, stop in embedder.groups([texts[index] for index in spoken]):
                yield [some[index] for index in spoken[first:stop]], [texts[index] for index in spoken[first:stop]]

    with engine.workers(embedder.job) as workers:
        start = time.monotonic()  # to load the model is no part of the texts per second
        for some, made in workers.map_of(groups()):
            dimensions = made.vectors.shape[1]
            cache.put(key, some, np.column_stack([made.vectors, made.cut.astype(np.float32)]))
            read += len(some)
            done += len(some)
            evidence.progress(done, len(hashes))
        seconds = time.monotonic() - start
    if silent:
        cache.put(key, silent, np.zeros((len(silent), (dimensions or embedder.dimensions) + 1), np.float32))
        evidence.progress(len(hashes), len(hashes))
    return notes | ({"texts_per_second": round(read / max(seconds, 1e-3), 1)} if read else {})


def cached_vectors(cache: Vectors, embedder: Embedder, hashes: Sequence[bytes]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The vectors of contents, all of which are in the cache, and which of them were cut."""
    found = cache.get(cache_key(embedder), hashes)
    if not hashes:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.bool_)
    rows = np.stack([found[content] for content in hashes])
    return rows[:, :-1], rows[:, -1] > 0.5


def read_vectors(con: duckdb.DuckDBPyConnection, table: str) -> tuple[pa.Array, Floats]:
    """content_hash (UUID) and vectors of a table that has both, in content_hash order; the vectors are in memory once."""
    hashes = (
        con.sql(f"SELECT content_hash FROM {table} ORDER BY content_hash").to_arrow_table()["content_hash"].combine_chunks()
    )
    places = _fixed(hashes)
    vectors = np.zeros((0, 0), np.float32)
    for batch in con.sql(f"SELECT content_hash, vector FROM {table}").to_arrow_reader(8192):
        flat = batch.column("vector").flatten().to_numpy()
        if not vectors.size:
            vectors = np.empty((len(hashes), len(flat) // max(len(batch), 1)), np.float32)
        vectors[np.searchsorted(places, _fixed(batch.column("content_hash")))] = flat.reshape(len(batch), -1)
    return hashes, vectors


def places_of(contents: pa.Array, known: pa.Array) -> npt.NDArray[np.int64]:
    """Where each content stands among the known ones, -1 where it does not. Both are arrays of content_hash (UUID)."""
    places = pc.fill_null(pc.index_in(contents.storage, value_set=known.storage), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), np.int64)


def hashes_of(contents: pa.Table) -> list[bytes]:
    """content_hash of a table, as 16 bytes each."""
    return uuid_bytes(contents["content_hash"])


def _fixed(hashes: pa.Array) -> npt.NDArray[np.bytes_]:
    """UUIDs as an array whose order is theirs."""
    width, storage = 16, hashes.storage
    return np.frombuffer(storage.buffers()[1], f"S{width}", len(storage), storage.offset * width)


def _tables(evidence: Evidence, cache: Vectors, embedder: Embedder, hashes: Sequence[bytes]) -> Iterator[pa.Table]:
    """The asset's rows, out of the cache."""
    evidence.notes["cut"] = 0
    for first in range(0, len(hashes), CHUNK):
        some = hashes[first : first + CHUNK]
        vectors, cut = cached_vectors(cache, embedder, some)
        evidence.notes["cut"] += int(cut.sum())
        yield pa.table(
            {
                "content_hash": uuids(some),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
                "cut": pa.array(cut),
                "model": pa.repeat(cache_key(embedder), len(some)),
            }
        )


def _texts(evidence: Evidence, hashes: Sequence[bytes]) -> Iterator[tuple[list[bytes], list[str]]]:
    """Contents and their texts, the long ones first, so many at a time as memory may hold."""
    for chunk in _chunks(evidence, hashes):
        with evidence.reading() as con:
            con.register("chunk", chunk)
            found = con.sql(f"""
                SELECT content_hash, {TEXT} AS text
                FROM store.contents SEMI JOIN chunk USING (content_hash)
                ORDER BY strlen(text) DESC, content_hash
            """).to_arrow_table()
        yield hashes_of(found), found["text"].to_pylist()


def _chunks(evidence: Evidence, hashes: Sequence[bytes]) -> Iterator[pa.Table]:
    """Contents by the size of their texts, in parts of some megabytes."""
    with evidence.reading() as con:
        con.register("wanted", pa.table({"content_hash": uuids(hashes)}))
        sized = con.sql(f"""
            SELECT content_hash, strlen({TEXT})::BIGINT AS size
            FROM store.contents SEMI JOIN wanted USING (content_hash)
            ORDER BY size DESC, content_hash
        """).to_arrow_table()
    part = np.cumsum(sized["size"].to_numpy()) // TOGETHER
    bounds = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(sized)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield sized.select(["content_hash"]).slice(start, stop - start)
