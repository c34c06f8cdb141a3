"""What a content says, as topics, pictures and figures need it: the beginning of what its users and assistants say."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sft_assets.clustered.embeddings import TEXT
from sft_assets.evidence import Evidence


def texts_of(evidence: Evidence, contents: Any, most: int) -> list[str]:
    """The first characters of each content's text. contents: content_hash (UUID), in any order, also more than once."""
    asked = pa.table({"content_hash": contents, "place": pa.array(range(len(contents)), pa.int64())})
    with evidence.reading() as con:
        con.register("asked", asked)
        found: list[str] = (
            con.sql(f"SELECT left({TEXT}, {most}) AS text FROM store.contents JOIN asked USING (content_hash) ORDER BY place")
            .to_arrow_table()["text"]
            .to_pylist()
        )
        con.unregister("asked")
    return found
