"""Rows in the order of their ids, whatever their text weighs.

    row_id 0a1f... -> part 0, row_id 93c2... -> part 1, ...      then part by part: read, sort, give, delete

DuckDB's own sort keeps the rows' text in memory and fails where it does not fit (measured: 1 GB of text, a limit of 500 MB).
Row ids are hashes, so parts of equal width hold equal shares of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PART_BYTES = 128_000_000  # of text, in memory at once
MOST_PARTS = 512  # files open at once


def parts_for(text_bytes: int) -> int:
    """How many parts keep each small enough to be sorted in memory."""
    return min(1 + text_bytes // PART_BYTES, MOST_PARTS)


def in_parts(batches: Iterable[pa.RecordBatch], folder: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most `rows` rows, sorted by the column row_id.

    The column `part` says which part a row is in: all ids of a part come before those of the next. Parts are kept in `folder`
    (made here, gone at the end) until their turn comes.
    """
    folder.mkdir()
    writers: dict[int, pa.RecordBatchStreamWriter] = {}
    for batch in batches:
        part = batch.column("part").to_numpy()
        for number in np.unique(part).tolist():
            if number not in writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                writers[number] = pa.ipc.new_stream(folder / str(number), batch.schema, options=options)
            writers[number].write_batch(batch.filter(pa.array(part == number)))
    for writer in writers.values():
        writer.close()
    for number in sorted(writers):
        with pa.ipc.open_stream(folder / str(number)) as stream:
            table = stream.read_all().combine_chunks()
        (folder / str(number)).unlink()
        order = pc.sort_indices(table.column("row_id"))
        for start in range(0, len(order), rows):
            yield from table.take(order[start : start + rows]).combine_chunks().to_batches()
    folder.rmdir()
