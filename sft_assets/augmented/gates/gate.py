"""What a gate takes, and what it gives.

rows   row_id 7c20...  kind sft  messages [user "Sort this list ...", assistant "I'm sorry, but I cannot help."]  ...
->     falls {7c20...: Fall("refusal", {"rules": [{"rule": "refusal", "turn": 2, ...}]})}
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sft_assets.arrow import uuid_bytes
from sft_assets.augmented.candidate import Fall

BATCH = 4096  # rows
Stream = Callable[[str], Iterator[pa.RecordBatch]]
"""Batches of a query over what is committed, as `Build.stream` gives them."""


class Found(NamedTuple):
    """What a gate found, by row_id. marks: why people should look at a row, though it did not fall."""

    falls: Mapping[bytes, Fall] = {}
    marks: Mapping[bytes, Sequence[str]] = {}


def ids_of(rows: pa.Table | pa.RecordBatch) -> list[bytes]:
    """The row_id of each row (16 bytes)."""
    return uuid_bytes(rows.column("row_id"))


def without(rows: pa.Table, gone: Container[bytes]) -> pa.Table:
    """The rows that are not among those with these ids."""
    return rows.filter(pa.array([row_id not in gone for row_id in ids_of(rows)], pa.bool_()))


def filled(rows: pa.Table) -> pa.Table:
    """Rows with the columns of `profiles.TURNS`. What a generated row lacks is filled in: no label, and no equal before it."""
    missing = {"label": pa.nulls(len(rows), pa.bool_()), "occurrence": pa.array(np.zeros(len(rows), np.int32))}
    for name in missing.keys() - set(rows.column_names):
        rows = rows.append_column(name, missing[name])
    return rows


def batches_of(rows: pa.Table, size: int = BATCH) -> Iterator[pa.RecordBatch]:
    """Rows as the functions of the states read them."""
    yield from filled(rows).combine_chunks().to_batches(size)
