"""What a file is packed in: every kind is read as a stream, bombs and damage cost what they are, names are only ever shown."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sft_assets.raw import archives, containers
from sft_assets.raw.archives import shown_name
from sft_assets.raw.containers import Limits, Refused, zstd
from sft_assets.raw.parts import Opening, parts

ONE, TWO = {"a": 1}, {"a": 2}
LINES = b"".join(orjson.dumps({"a": i, "text": f"line {i * 7919 % 1000}"}) + b"\n" for i in range(60))
RECORDS = [orjson.loads(line) for line in LINES.splitlines()]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Outcome(NamedTuple):
    """What was read of a file, by part and position; what was set aside; which parts were refused."""

    values: dict[str, dict[int, Any]]
    bad: dict[str, dict[int, str]]
    refused: dict[str, str]

    @property
    def records(self) -> list[Any]:
        return [value for part in self.values.values() for value in part.values()]


def read(path: Path, limits: Limits | None = None, opening: Opening | None = None, fits: Any = lambda _: False) -> Outcome:
    outcome = Outcome({}, {}, {})
    try:
        for part in parts(path, path.name, opening or Opening(), limits or Limits(), fits, {"question", "answer"}):
            assert part.name not in outcome.values, "two parts of one name"
            values, bad = outcome.values.setdefault(part.name, {}), outcome.bad.setdefault(part.name, {})
            try:
                for batch in part.batches:
                    assert len(batch.positions) == len(batch.texts) == len(batch.values) == len(batch.hashes)
                    for position, text, value in zip(batch.positions, batch.texts, batch.values, strict=True):
                        assert orjson.loads(text) == value
                        assert position not in values, "two records at one position"
                        values[position] = value
                    bad |= {b.position: f"{b.reason}: {b.detail}" for b in batch.bad}
            except Refused as refusal:
                del outcome.values[part.name]
                outcome.refused[part.name] = f"{refusal.reason}: {refusal.detail}"
            if not bad:
                del outcome.bad[part.name]
    except Refused as refusal:
        outcome.refused[path.name] = f"{refusal.reason}: {refusal.detail}"
    return outcome


def of(tmp_path: Path, data: bytes | str, name: str = "f.jsonl", **how: Any) -> Outcome:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read(path, **how)


def zipped(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def tarred(members: list[tuple[str, bytes]], mode: str = "w", **more: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **more) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# -------------------------------------------------------------------------------------------------------------- packed


@pytest.mark.parametrize("kind", PACK)
def test_a_packed_file_is_unpacked_whatever_its_name(tmp_path: Path, kind: str) -> None:
    pack = PACK[kind]
    half = LINES.index(b"\n", 400) - 3  # within a record
    for data in (pack(LINES), pack(LINES[:half]) + pack(LINES[half:]), pack(LINES[:1]) + pack(b"") + pack(LINES[1:])):
        assert of(tmp_path, data).records == RECORDS


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 7])
def test_in_which_blocks_it_is_read_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int
) -> None:
    monkeypatch.setattr(containers, "PACKED", size)
    monkeypatch.setattr(containers, "CHUNK", 64)
    assert of(tmp_path, PACK[kind](LINES[:300]) + PACK[kind](LINES[300:])).records == RECORDS


def test_a_zstd_file_may_begin_with_a_frame_to_skip(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    assert of(tmp_path, skipped + PACK["zstd"](LINES) + skipped).records == RECORDS


@pytest.mark.parametrize("outer", PACK)
def test_a_file_packed_twice_is_read_and_one_packed_three_times_is_not(tmp_path: Path, outer: str) -> None:
    twice = PACK[outer](gzip.compress(LINES))
    assert of(tmp_path, twice).records == RECORDS
    assert of(tmp_path, gzip.compress(twice)).refused == {"f.jsonl": "container: is packed more than 2 times; unpack it"}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("cut", [1, 5, 40, 120])
def test_of_a_file_that_is_cut_off_what_could_be_unpacked_is_read_and_the_rest_is_said(
    tmp_path: Path, kind: str, cut: int
) -> None:
    outcome = of(tmp_path, PACK[kind](LINES) + PACK[kind](LINES)[:-cut])
    assert outcome.records[:60] == RECORDS
    ((position, said),) = outcome.bad["f.jsonl"].items()
    assert position == len(outcome.records) + 1
    assert said.startswith(f"truncated: the {kind} file is cut off after ")


@pytest.mark.parametrize("kind", PACK)
def test_bytes_after_a_packed_file_are_said(tmp_path: Path, kind: str) -> None:
    outcome = of(tmp_path, PACK[kind](LINES) + b"garbage, and more of it")
    assert outcome.records == RECORDS
    assert outcome.bad["f.jsonl"][61].startswith(f"truncated: the {kind} data is damaged after {len(LINES):,} unpacked bytes")


SIZE, BLOCK = 1 << 28, b" " * (1 << 24)
READ = """
import resource, sys
from pathlib import Path
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.json_records import records
from sft_assets.raw.parts import Opening, parts
list(records(iter([b'{"a":1}']), Limits()))  # what is compiled is not counted
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
limits = Limits(max_record_bytes=1 << 20, max_unpacked_ratio=20, max_unpacked_bytes=32 << 20)
said = []
try:
    for part in parts(Path(sys.argv[1]), "f", Opening(), limits, lambda _: False):
        try:
            for _ in part.batches: pass
        except Refused as refusal: said.append(refusal.reason)
except Refused as refusal: said.append(refusal.reason)
print(said[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


class Spaces(io.RawIOBase):
    """As many spaces as are asked for."""

    def read(self, size: int = -1, /) -> bytes:
        return BLOCK[:size]


def streamed(compressor: Any) -> bytes:
    return b"".join([*(compressor.compress(BLOCK) for _ in range(SIZE // len(BLOCK))), compressor.flush()])


def tar_bomb(in_header: bool) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", pax_headers={"comment": "z" * (1 << 27)} if in_header else None) as archive:
        info = tarfile.TarInfo("z.jsonl")
        info.size = 0 if in_header else SIZE
        archive.addfile(info, Spaces())
    return out.getvalue()


def zip_bomb(method: int) -> bytes:
    """It says that it holds nothing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, archive.open("z.jsonl", "w") as member:
        for _ in range(SIZE // len(BLOCK)):
            member.write(BLOCK)
    data = bytearray(out.getvalue())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = bytes(4)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(BLOCK) * (SIZE // len(BLOCK)),
    "zstd": lambda: streamed(zstd.ZstdCompressor()),
    "bzip2": lambda: streamed(bz2.BZ2Compressor()),
    "xz": lambda: streamed(lzma.LZMACompressor(preset=1)),
    "zip deflate": lambda: zip_bomb(zipfile.ZIP_DEFLATED),
    "zip bzip2": lambda: zip_bomb(zipfile.ZIP_BZIP2),
    "zip lzma": lambda: zip_bomb(zipfile.ZIP_LZMA),
    "tar": lambda: tar_bomb(in_header=False),
    "tar header": lambda: tar_bomb(in_header=True),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_while_it_is_read_and_costs_little_memory(tmp_path: Path, kind: str) -> None:
    """256 MiB of spaces, read by a process of its own: what its memory grew by, in KiB."""
    path = tmp_path / "f"
    path.write_bytes(BOMBS[kind]())
    assert path.stat().st_size < SIZE // 100
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    reason, grown = done.stdout.split()
    assert reason == ("damaged" if kind == "tar header" else "bomb")
    assert int(grown) < 80 << 10


def test_a_file_that_wants_much_memory_to_unpack_is_refused(tmp_path: Path) -> None:
    far = zstd.ZstdCompressor()
    wide = bytearray(far.compress(LINES) + far.flush())
    wide[5] = 20 << 3  # to look back 1 GiB
    large = bytearray(lzma.compress(LINES, check=lzma.CHECK_CRC32))
    large[12 + 4] = 36  # a dictionary of 1 GiB
    large[12 + 8 : 12 + 12] = struct.pack("<I", zlib.crc32(large[12 : 12 + 8]))
    for data in (wide, large):
        assert of(tmp_path, bytes(data)).refused["f.jsonl"].startswith("bomb: needs more memory to unpack than is given")


# ------------------------------------------------------------------------------------------------------------ archives


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_a_zip_are_read_in_the_order_of_their_names(tmp_path: Path, method: int) -> None:
    data = zipped(
        {"b.jsonl": LINES, "a/x.csv": "question,answer\nx,y\n", "a/z.json.gz": gzip.compress(b"[]"), "a/": ""}, method
    )
    outcome = of(tmp_path, data, "f.zip")
    assert outcome.values == {
        "f.zip/a/x.csv": {2: {"question": "x", "answer": "y"}},
        "f.zip/a/z.json.gz": {},
        "f.zip/b.jsonl": dict(enumerate(RECORDS, 1)),
    }
    assert list(outcome.values) == sorted(outcome.values)
    assert not outcome.bad and not outcome.refused


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zstd"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_tar_are_read_in_its_order(tmp_path: Path, mode: str, form: int) -> None:
    members = [("b.jsonl", LINES), (f"{'long/' * 15}a.csv", b"question,answer\nx,y\n"), ("c.json", b"[]")]
    data = tarred(members, mode if mode != "zstd" else "w", format=form)
    outcome = of(tmp_path, zstd.compress(data) if mode == "zstd" else data, "f.tar")
    assert list(outcome.values) == [f"f.tar/{name}" for name, _ in members]
    assert outcome.records == [*RECORDS, {"question": "x", "answer": "y"}]
    assert not outcome.bad and not outcome.refused


def test_what_a_consumer_does_not_read_of_a_member_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.tar"
    path.write_bytes(tarred([("a.jsonl", LINES * 5000), ("b.jsonl", b'{"a":1}')]))
    seen = []
    for part in parts(path, "f", Opening(), Limits(), lambda _: False):
        seen.append((part.name, next(part.batches).values[-1:] if part.name == "f/b.jsonl" else None))
    assert seen == [("f/a.jsonl", None), ("f/b.jsonl", [ONE])]


NAMES = {
    "a.json": "a.json",
    "ü 東京.json": "ü 東京.json",
    "../../etc/passwd": r"\x2e\x2e/\x2e\x2e/etc/passwd",
    "a/./b": r"a/\x2e/b",
    "/etc/passwd": r"\x2fetc/passwd",
    "C:\\x.json": r"C:\x5cx.json",
    "\\x2e\\x2e": r"\x5cx2e\x5cx2e",
    "a\nb\u202ec\0": r"a\nb\u202ec\x00",
    "caf\udce9": r"caf\udce9",
    "...": "...",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_a_members_name_is_shown_so_that_it_cannot_be_misread(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@settings(max_examples=300)
@given(st.text("./\\x2e\nab", max_size=10), st.text("./\\x2e\nab", max_size=10))
def test_two_names_are_never_shown_alike(one: str, other: str) -> None:
    assert (shown_name(one) == shown_name(other)) == (one == other)
    assert not {"..", "."} & set(shown_name(one).split("/"))
    assert not shown_name(one).startswith("/")


@pytest.mark.parametrize("pack", [zipped, lambda members: tarred(list(members.items()))], ids=["zip", "tar"])
def test_hostile_names_are_data_and_nothing_is_written(tmp_path: Path, pack: Any) -> None:
    data = pack({"../x.json": b'{"a":1}', "/tmp/y.json": b'{"a":2}'})
    assert of(tmp_path, data, "f").values == {r"f/\x2e\x2e/x.json": {1: ONE}, r"f/\x2ftmp/y.json": {1: TWO}}
    assert [p.name for p in tmp_path.rglob("*")] == ["f"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_both_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for text in ('{"a":1}', '{"a":2}'):
            archive.writestr("x.json", text)
    for data in (out.getvalue(), tarred([("x.json", b'{"a":1}'), ("x.json", b'{"a":2}')])):
        assert of(tmp_path, data, "f").values == {"f/x.json": {1: ONE}, "f/x.json#2": {1: TWO}}


def test_hidden_files_and_folders_are_passed_over_and_links_and_devices_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("n", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name in ("__MACOSX/._x.json", ".DS_Store", "a/.git/x", "x.json"):
            info = tarfile.TarInfo(name)
            info.size = 7
            archive.addfile(info, io.BytesIO(b'{"a":1}'))
    outcome = of(tmp_path, out.getvalue(), "f")
    assert outcome.values == {"f/x.json": {1: ONE}}
    assert outcome.refused == dict.fromkeys(("f/l", "f/h", "f/n"), f"container: {archives.NOT_A_FILE}")

    link = zipfile.ZipInfo("l")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zip_archive:
        zip_archive.writestr(link, "/etc/passwd")
        zip_archive.writestr("__MACOSX/._x.json", "x")
        zip_archive.writestr("x.json", '{"a":1}')
    outcome = of(tmp_path, packed.getvalue(), "f")
    assert outcome.values == {"f/x.json": {1: ONE}}
    assert outcome.refused == {"f/l": f"container: {archives.NOT_A_FILE}"}


@pytest.mark.parametrize(
    "inner", [zipped({"a": "b"}), tarred([("a", b"b")]), gzip.compress(tarred([("a", b"b")]))], ids=["zip", "tar", "tar.gz"]
)
@pytest.mark.parametrize("pack", [zipped, lambda members: tarred(list(members.items()))], ids=["zip", "tar"])
def test_an_archive_within_an_archive_is_refused_and_the_others_are_read(tmp_path: Path, pack: Any, inner: bytes) -> None:
    outcome = of(tmp_path, pack({"inner": inner, "x.json": b'{"a":1}'}), "f")
    assert outcome.values == {"f/x.json": {1: ONE}}
    assert "within" in outcome.refused["f/inner"]
    assert outcome.refused["f/inner"].endswith("; unpack it")


def test_an_encrypted_member_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.json": '{"a":1}', "b.json": '{"a":2}'}))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    outcome = of(tmp_path, bytes(data), "f")
    assert outcome.values == {"f/b.json": {1: TWO}}
    assert outcome.refused == {"f/a.json": "encrypted: is encrypted; unpack it with its password first"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"xl/workbook.xml": "<x/>"}, "is an Excel workbook; save the sheet as CSV"),
        ({"word/document.xml": "<x/>"}, "is a Word document; save it as plain text"),
        ({"mimetype": "application/epub+zip"}, "is an EPUB book; save it as plain text"),
        ({"mimetype": "application/vnd.oasis.opendocument.text"}, "is an OpenDocument file; save it as plain text"),
        (
            {"mimetype": "application/vnd.oasis.opendocument.spreadsheet"},
            "is an OpenDocument spreadsheet; save the sheet as CSV",
        ),
    ],
)
def test_an_office_document_is_refused_with_what_to_save_it_as(tmp_path: Path, members: dict[str, str], said: str) -> None:
    assert of(tmp_path, zipped(members), "f.xlsx").refused == {"f.xlsx": f"container: {said}"}


def test_an_archive_of_nothing_is_refused(tmp_path: Path) -> None:
    for data in (zipped({}), zipped({"a/": ""}), tarred([(".hidden", b"")])):
        assert of(tmp_path, data, "f").refused == {"f": "empty: holds no file"}


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    members = {f"{i}.json": b'{"a":1}' for i in range(3)}
    said = {"f": "container: has more than 2 members; put the records into fewer files"}
    assert of(tmp_path, zipped(members), "f") == Outcome({}, {}, said)
    assert of(tmp_path, tarred(list(members.items())), "f") == Outcome({"f/0.json": {1: ONE}, "f/1.json": {1: ONE}}, {}, said)


def test_a_member_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.json": '{"a":1}', "b.json": '{"a":2}'}))
    data[data.index(b"PK\x01\x02") + 24 :][:4]  # the size, as the list of members has it
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 1 << 31)
    outcome = of(tmp_path, bytes(data), "f")
    assert outcome.values == {"f/b.json": {1: TWO}}
    assert outcome.refused["f/a.json"].startswith("bomb: unpacks to more than 200 times its size (2,147,483,648 bytes of")


def test_many_members_that_each_unpack_to_little_are_a_bomb_together(tmp_path: Path) -> None:
    data = zipped({f"{i}.jsonl": b'{"a":1}\n' * 20_000 for i in range(40)})
    limits = Limits(max_unpacked_ratio=100, max_unpacked_bytes=1 << 20)
    outcome = of(tmp_path, data, "f", limits=limits)
    assert 0 < len(outcome.values) < 10
    assert len(outcome.values) + len(outcome.refused) == 40
    assert {said.split(":")[0] for said in outcome.refused.values()} == {"bomb"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_of_a_zip_gives_what_was_good_and_says_so(tmp_path: Path, method: int) -> None:
    lines = b"".join(orjson.dumps({"a": os.urandom(20).hex()}) + b"\n" for _ in range(9000))
    data = bytearray(zipped({"a.jsonl": lines, "b.json": '{"a":2}'}, method))
    data[200_000] = ord("0") if data[200_000] != ord("0") else ord("1")
    if method == zipfile.ZIP_DEFLATED:
        data[200_000 : 200_000 + 40] = b"\xff" * 40
    outcome = of(tmp_path, bytes(data), "f")
    assert outcome.values["f/b.json"] == {1: TWO}
    assert len(outcome.values["f/a.jsonl"]) > 3000
    assert any(said.startswith("truncated: the") and "damaged" in said for said in outcome.bad["f/a.jsonl"].values())


def test_a_tar_that_is_damaged_between_members_says_so(tmp_path: Path) -> None:
    """The library takes a broken header for the end."""
    data = bytearray(tarred([("a.json", b'{"a":1}'), ("b.json", b'{"a":2}')]))
    data[1024] ^= 1
    outcome = of(tmp_path, bytes(data), "f")
    assert outcome.values == {"f/a.json": {1: ONE}}
    assert outcome.refused == {
        "f": "damaged: is a tar archive that is damaged between two members; what was read before counts"
    }


def test_a_tar_that_is_cut_off_says_so(tmp_path: Path) -> None:
    data = tarred([("a.json", b'{"a":1}'), ("b.jsonl", LINES)])
    for cut, kept in ((1024, 1), (1536 + 1000, 2)):
        outcome = of(tmp_path, data[:cut], "f")
        assert len(outcome.values) == kept
        assert outcome.refused["f"].startswith("damaged: is a tar archive that is cut off")
    assert next(iter(outcome.bad["f/b.jsonl"].values())).startswith("truncated: the tar archive is cut off after 1,000 of")
    packed = gzip.compress(tarred([("a.json", b'{"a":1}'), ("b.bin", os.urandom(200_000))]))
    outcome = of(tmp_path, packed[:-1000], "f")
    assert outcome.values == {"f/a.json": {1: ONE}}
    assert outcome.refused["f"].startswith("damaged: ")


# ------------------------------------------------------------------------------------------------------------ columnar

ROWS: list[dict[str, Any]] = [
    {
        "text": "é\0", "number": 2**63 - 1, "share": float("nan"), "yes": True, "none": None,
        "turns": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}],
        "scores": [("a", 0.5), ("b", float("inf"))], "asked": datetime.datetime(2024, 5, 1, 12),
        "day": datetime.date(2024, 5, 1), "price": decimal.Decimal("1.50"), "took": datetime.timedelta(seconds=90),
        "bytes": b"caf\xc3\xa9", "image": b"\xff\xd8", "kind": "chat",
    }
]  # fmt: skip
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("number", pa.int64()),
        ("share", pa.float64()),
        ("yes", pa.bool_()),
        ("none", pa.null()),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("scores", pa.map_(pa.string(), pa.float32())),
        ("asked", pa.timestamp("ns")),
        ("day", pa.date32()),
        ("price", pa.decimal128(10, 2)),
        ("took", pa.duration("s")),
        ("bytes", pa.binary()),
        ("image", pa.large_binary()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
    ]
)
AS_JSON = {
    "text": "é\0", "number": 2**63 - 1, "share": None, "yes": True, "none": None,
    "turns": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}],
    "scores": {"a": 0.5, "b": None}, "asked": "2024-05-01T12:00:00", "day": "2024-05-01", "price": "1.50", "took": 90.0,
    "bytes": "café", "image": {"base64": "/9g="}, "kind": "chat",
}  # fmt: skip


def columns_of(table: pa.Table, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out, **how)
    else:
        new = pa.ipc.new_file if kind == "arrow file" else pa.ipc.new_stream
        with new(out, table.schema, options=pa.ipc.IpcWriteOptions(**how)) as writer:
            writer.write_table(table, max_chunksize=20)
    return out.getvalue()


KINDS = ["parquet", "arrow file", "arrow stream"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_any_type_are_read_as_json_has_them(tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_pylist(ROWS * 3, schema=SCHEMA)
    outcome = of(tmp_path, columns_of(table, kind), "f.bin")
    assert outcome.values == {"f.bin": {1: AS_JSON, 2: AS_JSON, 3: AS_JSON}}
    assert not outcome.bad and not outcome.refused


@pytest.mark.parametrize("kind", KINDS)
def test_positions_count_the_rows_over_all_row_groups(tmp_path: Path, kind: str) -> None:
    table = pa.table({"a": list(range(10_000))})
    how = {"row_group_size": 3000} if kind == "parquet" else {"compression": "zstd"}
    assert of(tmp_path, columns_of(table, kind, **how), "f").values["f"] == {i + 1: {"a": i} for i in range(10_000)}


def test_a_row_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    maps = pa.array([[("k", 1)], [("k", 1), ("k", 2)], [("k", 3)]], pa.map_(pa.string(), pa.int64()))
    outcome = of(tmp_path, columns_of(pa.table({"m": maps}), "parquet"), "f")
    assert outcome.values == {"f": {1: {"m": {"k": 1}}, 3: {"m": {"k": 3}}}}
    assert outcome.bad["f"][2].startswith("duplicate_key: a key stands twice in a map")
    broken = pa.array([b"x", b"\xe9", b"y"]).view(pa.string())
    for kind in KINDS:
        outcome = of(tmp_path, columns_of(pa.table({"t": broken}), kind), "f")
        assert outcome.values == {"f": {1: {"t": "x"}, 3: {"t": "y"}}}
        assert outcome.bad["f"][2].startswith("invalid_utf8: a text in it is not UTF-8")
    large = of(tmp_path, columns_of(pa.table({"t": ["x", "y" * 200]}), "parquet"), "f", limits=Limits(max_record_bytes=100))
    assert large.bad["f"] == {2: "too_large: 208 bytes in one record; raw.max_record_bytes is 100"}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    for kind in KINDS:
        assert of(tmp_path, columns_of(table, kind), "f").refused == {"f": "header: names a column twice ('a'); rename one"}


def test_a_parquet_file_that_is_cut_off_or_encrypted_is_refused(tmp_path: Path) -> None:
    data = columns_of(pa.table({"a": list(range(1000))}), "parquet")
    assert of(tmp_path, data[:-20], "f").refused["f"].startswith("damaged: cannot be read: it is cut off or damaged (")
    assert of(tmp_path, b"PARE" + data[4:-4] + b"PARE", "f").refused == {
        "f": "encrypted: is encrypted parquet; decrypt it first"
    }


def test_a_damaged_row_group_costs_that_row_group(tmp_path: Path) -> None:
    table = pa.table({"a": [f"text {i * 7919}" for i in range(300)]})
    data = bytearray(columns_of(table, "parquet", row_group_size=100, use_dictionary=False, compression="zstd"))
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    middle = group.data_page_offset + group.total_compressed_size // 2
    data[middle - 20 : middle + 20] = bytes(40)
    outcome = of(tmp_path, bytes(data), "f")
    assert sorted(outcome.values["f"]) == [*range(1, 101), *range(201, 301)]
    assert outcome.bad["f"][101].startswith("truncated: rows 101 to 200 of the file: cannot be read")


def test_an_arrow_file_that_is_cut_off_gives_what_it_holds(tmp_path: Path) -> None:
    data = columns_of(pa.table({"a": list(range(100))}), "arrow file")
    stream = columns_of(pa.table({"a": list(range(100))}), "arrow stream")
    for cut in (data[: len(data) // 2], stream[: len(stream) // 2]):
        outcome = of(tmp_path, cut, "f")
        kept = outcome.values["f"]
        assert 0 < len(kept) < 100
        assert list(outcome.bad["f"]) == [len(kept) + 1]


def test_columns_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    limits = Limits(max_unpacked_ratio=20, max_unpacked_bytes=1 << 20)
    table = pa.table({"a": ["x" * 1000 + str(i) for i in range(5000)]})
    for kind in KINDS:
        how = {"compression": "zstd"} | ({"use_dictionary": False} if kind == "parquet" else {})
        assert of(tmp_path, columns_of(table, kind, **how), "f", limits=limits).refused["f"].startswith("bomb: "), kind


@pytest.mark.parametrize("kind", ["parquet", "arrow file"])
def test_columns_within_a_packed_file_are_refused(tmp_path: Path, kind: str) -> None:
    data = columns_of(pa.table({"a": [1]}), kind)
    for packed in (gzip.compress(data), zipped({"x": data})):
        assert [said.endswith("unpack it") for said in of(tmp_path, packed, "f").refused.values()] == [True]


# --------------------------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("name", "data", "records"),
    [
        ("a.txt", "Hello\r\n\nyou\n", [{"text": "Hello\r\n\nyou\n"}]),
        ("a.md", "question,answer\nx,y\n", [{"text": "question,answer\nx,y\n"}]),
        ("a.txt", "[INST] Hi [/INST] Ho", [{"text": "[INST] Hi [/INST] Ho"}]),
        ("a.txt", '{"a":1}\n{"a":2}\n', [ONE, TWO]),
        ("a.md", '[\n {"a":1}]', [ONE]),
        ("a.txt", 'header\n{"a":1}\n{"a":2}\n', [ONE, TWO]),
        ("README", "# About\n\nquestion, answer\n", [{"text": "# About\n\nquestion, answer\n"}]),
        ("data", "question,answer\nx,y\n", [{"question": "x", "answer": "y"}]),
        ("data.txt.gz", "Hello", [{"text": "Hello"}]),
        ("a.CSV.gz", "question;other\nx;y\n", [{"question": "x", "other": "y"}]),
        ("a.tab", "b\tc\nlonger\tthan a name\n", [{"b": "longer", "c": "than a name"}]),
    ],
)
def test_what_a_text_is_shows_in_its_name_or_its_beginning(
    tmp_path: Path, name: str, data: str, records: list[dict[str, str]]
) -> None:
    assert of(tmp_path, gzip.compress(data.encode()) if name.endswith(".gz") else data, name).records == records


def test_the_recipe_makes_a_table_of_a_text(tmp_path: Path) -> None:
    assert of(tmp_path, "Hi!,ho\n", "a.txt", opening=Opening(delimiter=",")).records == [{"prompt": "Hi!", "completion": "ho"}]
    assert of(tmp_path, "x,z\n", "a.txt", opening=Opening(header=["p", "q"])).records == [{"p": "x", "q": "z"}]


def test_a_text_that_is_too_large_or_of_another_encoding_is_set_aside(tmp_path: Path) -> None:
    assert of(tmp_path, "x" * 200, "a.txt", limits=Limits(max_record_bytes=100)).bad == {
        "a.txt": {1: "too_large: 200 bytes in one record; raw.max_record_bytes is 100"}
    }
    assert of(tmp_path, b"caf\xe9", "a.txt").bad["a.txt"][1].startswith("invalid_utf8: it is not UTF-8; if the file is latin-1")
    assert of(tmp_path, b"caf\xe9", "a.txt", opening=Opening("latin-1")).records == [{"text": "café"}]
    assert of(tmp_path, gzip.compress(b"abc" * 99)[:-3], "a.txt").bad["a.txt"][1].startswith("truncated: the gzip file is cut")


def test_what_is_binary_is_refused(tmp_path: Path) -> None:
    assert of(tmp_path, b"\x7fELF\x02\0\0\0" + bytes(9), "a").refused["a"].startswith(("container: is binary", "encoding: "))
    assert of(tmp_path, b"\x80\x04\x95", "a").refused == {
        "a": "container: is a Python pickle, which could run anything, which is not read; convert it to JSON lines"
    }


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path / "none.json").refused == {"none.json": "unreadable: cannot be opened: No such file or directory"}


# --------------------------------------------------------------------------------------------- whole files of one object

QA = [{"instruction": "Say hi", "output": "hi"}, {"instruction": "Say ho", "output": "ho"}]


@pytest.mark.parametrize(
    "whole",
    [
        {"version": 2, "data": QA, "by": ["me"]},
        {"instruction": ["Say hi", "Say ho"], "output": ["hi", "ho"]},
        {"instruction": {"0": "Say hi", "1": "Say ho"}, "output": {"0": "hi", "1": "ho"}},
        {"features": [{"name": "instruction"}], "rows": [{"row_idx": i, "row": row} for i, row in enumerate(QA)]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_records_of_a_file_that_is_one_object_are_found(tmp_path: Path, whole: dict[str, Any], indent: int | None) -> None:
    assert of(tmp_path, json.dumps(whole, indent=indent), "f.json").values == {"f.json": dict(enumerate(QA, 1))}


def test_rows_by_name_keep_their_name_where_they_have_none(tmp_path: Path) -> None:
    named = {"0": QA[0], "x": QA[1]}
    assert of(tmp_path, json.dumps(named), "f.json").records == [{**QA[0], "key": "0"}, {**QA[1], "key": "x"}]
    own = {name: {**row, "key": "own"} for name, row in named.items()}
    assert of(tmp_path, json.dumps(own), "f.json").records == list(own.values())
    assert of(tmp_path, json.dumps({"only": QA[0]}), "f.json").records == [{"only": QA[0]}]


@pytest.mark.parametrize(
    "record",
    [
        {"a": ["x", "y"]},
        {"a": ["x", "y"], "b": ["z"]},
        {"a": ["x", "y"], "b": "z"},
        {"a": [["x"]], "b": [["y"]]},
        {"a": [], "b": []},
        {"a": {"x": 1}, "b": {"y": 1}},
        {"messages": [{"role": "user"}]},
    ],
)
def test_a_record_is_not_taken_for_a_file_of_records(tmp_path: Path, record: dict[str, Any]) -> None:
    assert of(tmp_path, json.dumps(record), "f.json").records == [record]


def test_a_record_that_fits_a_format_is_not_torn_open(tmp_path: Path) -> None:
    for record in ({"turns": ["Hi", "Ho"], "more": ["x", "y"]}, {"dialog": [{"a": 1}], "id": 1}):
        assert of(tmp_path, json.dumps(record), "f.json", fits=lambda value: "turns" in value or "dialog" in value).records == [
            record
        ]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("fault", ["NaN", '"x', "'x'", "{"])
def test_a_fault_in_a_list_inside_an_object_costs_its_own_record(tmp_path: Path, fault: str, indent: int | None) -> None:
    whole = json.dumps({"version": 2, "data": [{"n": i, "v": "ok"} for i in range(6)], "by": "me"}, indent=indent)
    head, _, tail = whole.partition('"ok"')
    again, _, rest = tail.partition('"ok"')
    outcome = of(tmp_path, head + '"ok"' + again + fault + rest, "f.json")
    assert outcome.records == [{"n": i, "v": "ok"} for i in (0, 2, 3, 4, 5)]
    assert list(outcome.bad["f.json"]) == [2]


def test_a_list_inside_an_object_may_be_larger_than_a_record(tmp_path: Path) -> None:
    whole = json.dumps({"data": [{"n": i} for i in range(500)], "by": "me"})
    assert of(tmp_path, whole, "f.json", limits=Limits(max_record_bytes=100)).records == [{"n": i} for i in range(500)]
    cut = of(tmp_path, whole[:3000], "f.json")
    assert list(cut.bad["f.json"].values()) == ["truncated: the file ends within the record"]
    after = of(tmp_path, whole.replace('"n": 3}', '"n": }') + "}", "f.json")
    assert list(after.bad["f.json"]) == [4, 501]
    assert after.bad["f.json"][501] == "invalid_json: text after the end of the array"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{'a': 1}", "texts stand in single quotes; JSON has double ones"),
        ('{"a": None}', "None is Python's; JSON has null"),
        ('{"a": 1,}', "a comma stands after the last item; take it out"),
        ('{"a": 1} // one', "it has a comment; take it out"),
        ('{"a": 1 /* one */}', "it has a comment; take it out"),
    ],
)
def test_what_is_nearly_json_is_set_aside_with_the_remedy(tmp_path: Path, line: str, said: str) -> None:
    outcome = of(tmp_path, f'{{"a":1}}\n{line}\n')
    assert outcome.records == [ONE]
    assert outcome.bad["f.jsonl"][2].startswith(f"invalid_json: not strict JSON: {said}; ")


# ----------------------------------------------------------------------------------------------------- any bytes at all

TABLE = pa.table({"a": list(range(40)), "text": [f"line {i}" for i in range(40)]})
SEEDS: dict[str, bytes] = {
    **{kind: pack(LINES[:900]) for kind, pack in PACK.items()},
    "zip": zipped({"a.jsonl": LINES[:900], "b.csv": "question,answer\nx,y\n"}),
    "zip lzma": zipped({"a.jsonl": LINES[:900]}, zipfile.ZIP_LZMA),
    "tar": tarred([("a.jsonl", LINES[:900]), ("b" * 120, b"text"), ("c.csv", b"question,answer\nx,y\n")]),
    "tar.gz": gzip.compress(tarred([("a.jsonl", LINES[:900]), ("b", b"text")]), mtime=0),
    "parquet": columns_of(TABLE, "parquet"),
    "arrow file": columns_of(TABLE, "arrow file"),
    "arrow stream": columns_of(TABLE, "arrow stream", compression="lz4"),
    "csv": b'question,answer\n"a\nb",c\n"d ""e""",f\n' * 3,
}


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_a_file_is_read_or_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    damaged = bytearray(SEEDS[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "drop"])):
            case "flip":
                damaged[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del damaged[max(at, 1) :]
            case "insert":
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                del damaged[at : at + data.draw(st.integers(1, 8))]
        if not damaged:
            break
    outcome = of(tmp_path, bytes(damaged), "f.csv" if kind == "csv" else "f")
    assert outcome.values or outcome.refused


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", *(seed[:8] for seed in SEEDS.values()), b"PK\x05\x06", b"\xff\xfe", b"\xef\xbb\xbf"]),
    st.binary(max_size=200),
    st.sampled_from(["f", "f.csv", "f.json", "f.txt"]),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, head: bytes, rest: bytes, name: str) -> None:
    outcome = of(tmp_path, head + rest, name)
    assert outcome.values or outcome.refused
