"""Records that no JSON text holds: made of the cells of a table, the columns of a parquet file, a whole text.

row 3   question | Who swims?   answer | fish      ->      {"question":"Who swims?","answer":"fish"}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from xxhash import xxh3_128_digest

from sft_assets.raw.batches import Batch


def add(batch: Batch, position: int, record: dict[str, Any], limit: int) -> tuple[str, str] | None:
    """Take a record of JSON values; else the reason and sentence why not (not UTF-8, which are lone surrogates; too large)."""
    try:
        text = orjson.dumps(record)
    except orjson.JSONEncodeError as error:
        return why_not(error)
    if len(text) > limit:
        return "too_large", too_large(len(text), limit)
    batch.positions.append(position)
    batch.texts.append(text)
    batch.values.append(record)
    batch.hashes.append(xxh3_128_digest(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)))
    return None


def too_large(length: int, limit: int) -> str:
    return f"{length:,} bytes in one record; raw.max_record_bytes is {limit:,}"


def as_json(value: Any, default: Callable[[Any], Any]) -> Any:
    """The value as JSON has it; `default` says how what JSON does not know is written.

    Raises:
        ValueError, TypeError: it cannot be written.
    """
    return orjson.loads(orjson.dumps(value, default=default, option=orjson.OPT_NON_STR_KEYS))


def why_not(error: Exception) -> tuple[str, str]:
    """Reason and sentence for a record that cannot be written as JSON."""
    if "surrogates" in str(error):
        return "invalid_utf8", "it is not UTF-8; if the file is latin-1 or cp1252, say `encoding:` in its recipe entry"
    if "ecursion" in str(error):
        return "too_deep", f"objects and lists within each other: {error}"
    return "invalid_value", f"a value in it cannot be written as JSON ({error})"
