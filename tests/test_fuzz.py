"""Whatever bytes or JSON come in: never a crash, and every record is a row, set aside, or part of a row, with its reason."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.combined.rows import Rules, grouped, rows_of, rows_of_group
from sft_assets.formats import Hints
from sft_assets.raw.containers import Limits
from sft_assets.raw.reading import read_files
from sft_assets.raw.sources import SourceFile
from sft_assets.record import BadRecord

LIMITS = Limits(max_record_bytes=4096, max_unpacked_bytes=1 << 20)
EVERYTHING = Rules(
    "Be kind.",
    None,
    None,
    ("secret", "email", "phone", "card", "iban"),
    ("mojibake", "crlf", "zero_width", "bidi", "html_entities", "escaped_newlines"),
)
ENDINGS = (
    "json",
    "jsonl",
    "csv",
    "tsv",
    "txt",
    "parquet",
    "arrow",
    "zip",
    "tar",
    "jsonl.gz",
    "csv.bz2",
    "json.xz",
    "jsonl.zst",
    "",
)


def account(path: Path) -> tuple[int, int]:
    """Read a file to its end: (records, refusals). Every record has a format, or a reason; every end was announced."""
    seen, ends, refused = 0, 0, 0
    for piece in read_files([SourceFile(path, path.name, "fuzz")], LIMITS):
        if piece.batch is None:
            ends += 1
            refused += piece.refused is not None
            assert piece.refused is not None or piece.records <= seen
            assert piece.refused is None or (piece.refused.reason and len(piece.refused.detail) > 8)
            continue
        batch = piece.batch
        assert len(batch.values) == len(piece.formats) == len(batch.texts) == len(batch.positions) == len(batch.hashes)
        seen += len(batch)
        for value, name in zip(batch.values, piece.formats, strict=True):
            convert(value, name)
        for bad in batch.bad:
            assert bad.position >= 1
            assert bad.reason
            assert len(bad.sha256) == 64
    assert ends >= 1
    return seen, refused


def convert(record: dict[str, Any], name: str) -> None:
    """Make rows of a record: it gives some, or a reason."""
    outcome = (
        rows_of_group([record], name, Hints(), EVERYTHING)[0] if grouped([name]) else rows_of(record, name, Hints(), EVERYTHING)
    )
    if isinstance(outcome, BadRecord):
        assert outcome.reason
        assert outcome.detail
    else:
        assert outcome


RECORDS = [
    {"instruction": "Name a colour, please.", "input": "", "output": "Blue,\nor \"green\"."},
    {"instruction": "Übersetze: 你好", "input": "schnell", "output": "Hallo 🙂"},
    {"instruction": "Count.", "input": "", "output": "1, 2, 3"},
]  # fmt: skip


def jsonl() -> bytes:
    return b"".join(orjson.dumps(r) + b"\n" for r in RECORDS)


def table() -> bytes:
    rows = [",".join('"' + v.replace('"', '""') + '"' for v in r.values()) for r in RECORDS]
    return "\r\n".join(["instruction,input,output", *rows, ""]).encode()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", jsonl())
        archive.writestr("b/c.csv", table())
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.jsonl")
        info.size = len(jsonl())
        archive.addfile(info, io.BytesIO(jsonl()))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), buffer)
    return buffer.getvalue()


def arrow() -> bytes:
    buffer = io.BytesIO()
    made = pa.Table.from_pylist(RECORDS)
    with pa.ipc.new_stream(buffer, made.schema) as writer:
        writer.write_table(made)
    return buffer.getvalue()


SEEDS: dict[str, Callable[[], bytes]] = {
    "jsonl": jsonl,
    "json": lambda: orjson.dumps(RECORDS, option=orjson.OPT_INDENT_2),
    "csv": table,
    "csv.gz": lambda: gzip.compress(table()),
    "jsonl.bz2": lambda: bz2.compress(jsonl()),
    "jsonl.xz": lambda: lzma.compress(jsonl()),
    "zip": zipped,
    "tar.gz": tarred,
    "parquet": parquet,
    "arrow": arrow,
    "txt": lambda: b"User: Hi\nAssistant: Hello\nUser: Bye\nAssistant: Goodbye\n",
}


@pytest.mark.parametrize("kind", SEEDS)
def test_the_seeds_are_sound(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"seed.{kind}"
    path.write_bytes(SEEDS[kind]())
    records, refused = account(path)
    assert refused == 0
    assert records == {"zip": 6, "txt": 1}.get(kind, 3)


@pytest.mark.parametrize("kind", SEEDS)
def test_a_damaged_file_never_stops_the_reader(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    whole = SEEDS[kind]()
    path = tmp_path / f"damaged.{kind}"
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del data[at : at + rng.randint(1, 40)]
                case 2:
                    data[at:at] = rng.randbytes(rng.randint(1, 20))
                case _:
                    data = data[: max(1, at)]
        path.write_bytes(bytes(data))
        account(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode), st.sampled_from(ENDINGS))
def test_any_bytes_under_any_name_are_read_or_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"file.{ending}".rstrip(".")
    path.write_bytes(content)
    account(path)


WORDS = sorted(
    {*formats.NAMES, "role", "content", "from", "value", "text", "type", "function", "name", "arguments", "rank", "id"}
)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
TELLING = st.sampled_from(
    ["user", "assistant", "system", "human", "gpt", "tool", "", "Hi", "\n\nHuman: a\n\nAssistant: b", "[1]", "{}"]
)
JSON = st.recursive(
    ATOMS | TELLING,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=1500, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6))
def test_any_json_record_becomes_rows_or_a_reason(record: dict[str, Any]) -> None:
    name = formats.detect(record)
    if name is not None:
        convert(record, name)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6))
def test_any_json_record_under_any_stated_format_becomes_rows_or_a_reason(record: dict[str, Any]) -> None:
    for name in formats.FORMATS:
        convert(record, name)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(JSON, max_size=6), st.booleans())
def test_a_file_of_any_json_values_is_accounted_for(tmp_path: Path, values: list[Any], lines: bool) -> None:
    path = tmp_path / "values.json"
    path.write_bytes(b"\n".join(map(orjson.dumps, values)) if lines else orjson.dumps(values))
    records, refused = account(path)
    assert refused or records >= 1 or not values
