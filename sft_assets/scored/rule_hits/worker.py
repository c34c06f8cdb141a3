"""A process that searches: the rules come in as its first message, then batches; hits go out, one answer for each batch.

    <- 8 bytes of length, JSON of the rules
    <- 8 bytes of length, an Arrow stream of content_hash, messages, tools
    -> 8 bytes of length, an Arrow stream of content_hash, rule, turn, start, stop, matched

It ends when its input does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

import orjson
import pyarrow as pa

from sft_assets.scored.rule_hits.rules import Rule
from sft_assets.scored.rule_hits.search import Matcher, search_batch

LENGTH = 8


def work(source: IO[bytes], target: IO[bytes]) -> None:
    """Answer batches until there are no more."""
    first = read_frame(source)
    if first is None:
        return
    matchers = [Matcher(rule) for rule in rules_of_bytes(first)]
    while (frame := read_frame(source)) is not None:
        for batch in read_table(frame).to_batches():  # there is one
            write_frame(target, table_to_bytes(search_batch(matchers, batch)))


# ------------------------------------------------------------------------------------------------------------- messages


def write_frame(target: IO[bytes], frame: bytes) -> None:
    target.write(len(frame).to_bytes(LENGTH))
    target.write(frame)
    target.flush()


def read_frame(source: IO[bytes]) -> bytes | None:
    """The next message; None where there is none, or not all of it."""
    length = source.read(LENGTH)
    if len(length) < LENGTH:
        return None
    size = int.from_bytes(length)
    frame = source.read(size)
    return frame if len(frame) == size else None


def table_to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_table(frame: bytes) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(frame)).read_all()


def rules_to_bytes(rules: Sequence[Rule]) -> bytes:
    return orjson.dumps([rule.model_dump(mode="json") for rule in rules])


def rules_of_bytes(data: bytes) -> list[Rule]:
    return [Rule.model_validate(entry) for entry in orjson.loads(data)]


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library may print is no answer
    work(sys.stdin.buffer, answers)
