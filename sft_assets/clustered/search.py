"""`sft search`: the rows nearest to a text, by meaning and by word.

    $ sft search "fractions of a pizza"
    row       by meaning  by word  where it is     topic
    9f3c6a10        0.71     1  9  kept            fractions, percent   If Tom eats 3/8 of a pizza and ...
    51ab03d2        0.64           deduped: near_duplicate              ...

By meaning: cosine of sentence embeddings. By word: BM25 (https://doi.org/10.1561/1500000019) over all turns. The two rankings
are merged by reciprocal rank (https://doi.org/10.1145/1571941.1572114). Rows that were dropped are found too, by word.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.models.embedder import Embedder
from sft_assets.recipe import Recipe
from sft_assets.text import tokens
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions

CANDIDATES = 1000  # contents that are ranked by word
K1, B = 1.2, 0.75  # BM25's, as usual
RANKS = 60  # reciprocal rank fusion's constant
SAID = "array_to_string(list_transform(list_concat(messages, coalesce(rejected, [])), lambda m: m.content), ' ')"


@dataclass(frozen=True)
class Found:
    """A row that was found. meaning: cosine, word: BM25; None where that ranking does not have it. where: 'kept', 'review', or
    the state that dropped it with the reason."""

    row_id: str
    meaning: float | None
    word: float | None
    where: str
    topic: str
    text: str


def search(house: Warehouse, recipe: Recipe, text: str, most: int = 10) -> list[Found]:
    """The rows nearest to a text, best first; of rows of equal content one.

    Raises:
        SftError: there is nothing to search in, or the text says nothing.
    """
    if not text.strip():
        raise SftError("say what to search for")
    with house.reading() as con:
        versions = {v.asset: v for v in read_versions(con)}
        if "combined" not in versions:
            raise SftError(f"{house.path}: there are no rows yet; `sft run` makes them")
        by_word = _by_word(con, text, versions["combined"])
    meant = _by_meaning(house, recipe, text, versions) if "embeddings" in versions else {}
    rank = Counter[bytes]()
    for scores in (meant, by_word):
        for place, content in enumerate(sorted(scores, key=lambda c: (-scores[c], c))):
            rank[content] += 1 / (RANKS + place)  # type: ignore[assignment]
    best = sorted(rank, key=lambda content: (-rank[content], content not in by_word, content))[:most]
    with house.reading() as con:
        rows = _rows(con, best, versions)
    return [Found(row, meant.get(content), by_word.get(content), *more) for content, row, *more in rows]


def _by_meaning(house: Warehouse, recipe: Recipe, text: str, versions: dict[str, Version]) -> dict[bytes, float]:
    if recipe.embeddings.model is None:
        return {}
    (vector,) = Embedder(recipe.embeddings.model, windows=recipe.embeddings.windows).embed([text])  # no connection is open
    with house.reading() as con:
        kind = con.execute(f"SELECT typeof(vector) FROM {versions['embeddings'].table} LIMIT 1").fetchall()
        if not kind or kind[0][0] != f"FLOAT[{len(vector)}]":
            return {}  # another model's, of which the recipe knows no more
        found = con.execute(
            f"""
            SELECT content_hash, array_inner_product(vector, ?::FLOAT[{len(vector)}]) AS cosine
            FROM {versions["embeddings"].table} ORDER BY cosine DESC, content_hash LIMIT {CANDIDATES // 10}
            """,
            [vector.tolist()],
        )
        return {content.bytes: round(cosine, 4) for content, cosine in found.fetchall()}


def _by_word(con: duckdb.DuckDBPyConnection, text: str, combined: Version) -> dict[bytes, float]:
    """BM25 of the contents that have the most telling words of the text."""
    words = list(dict.fromkeys(tokens(text)))[:32]
    if not words:
        return {}
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW said AS
        SELECT content_hash, lower({SAID}) AS said
        FROM store.contents SEMI JOIN {combined.table} USING (content_hash)
    """)
    has = [f"contains(said, ${i})" for i in range(1, len(words) + 1)]
    counts = ", ".join(f"count(*) FILTER ({one})" for one in has)
    ((total, length, *frequency),) = con.execute(f"SELECT count(*), avg(strlen(said)), {counts} FROM said", words).fetchall()
    if not total:
        return {}
    weight = [math.log(1 + (total - n + 0.5) / (n + 0.5)) if n else 0.0 for n in frequency]
    telling = " + ".join(f"{w:.6f} * {one}::INTEGER" for w, one in zip(weight, has, strict=True))
    rows = con.execute(
        f"SELECT * FROM said WHERE {' OR '.join(has)} ORDER BY {telling} DESC, strlen(said), content_hash LIMIT {CANDIDATES}",
        words,
    ).fetchall()
    scores = {}
    for content, said in rows:
        counts_ = Counter(tokens(said))
        norm = K1 * (1 - B + B * len(said.encode()) / max(length, 1))
        score = sum(w * counts_[word] * (K1 + 1) / (counts_[word] + norm) for w, word in zip(weight, words, strict=True))
        if score:
            scores[content.bytes] = round(score, 4)
    return scores


def _rows(
    con: duckdb.DuckDBPyConnection, contents: list[bytes], versions: dict[str, Version]
) -> list[tuple[bytes, str, str, str, str]]:
    """Of each content, in order: its hash, a row, where that is, its topic, the beginning of its text."""
    con.register("found", pa.table({"content_hash": uuids(contents), "place": pa.array(range(len(contents)), pa.int64())}))
    topics = f"LEFT JOIN {versions['topics'].table} AS t USING (content_hash)" if "topics" in versions else ""
    scored = f"LEFT JOIN {versions['scored'].table} AS s ON s.row_id = c.row_id" if "scored" in versions else ""
    stays = "if(s.verdict = 'review', 'review', 'kept')" if scored else "'kept'"
    rows = con.execute(f"""
        SELECT content_hash, any_value(c.row_id ORDER BY d.state IS NOT NULL, c.row_id)::VARCHAR,
            any_value(coalesce(d.state || ': ' || d.reason, {stays}) ORDER BY d.state IS NOT NULL, c.row_id),
            {"coalesce(any_value(t.topic_name), '')" if topics else "''"}, any_value(left({SAID}, 400))
        FROM found JOIN {versions["combined"].table} AS c USING (content_hash) JOIN store.contents USING (content_hash)
        LEFT JOIN dropped AS d ON d.row_id = c.row_id
        {scored} {topics}
        GROUP BY content_hash, place ORDER BY place
    """).fetchall()
    return [(content.bytes, *more) for content, *more in rows]
