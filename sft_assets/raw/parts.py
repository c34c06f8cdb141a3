"""What a source file holds: itself, or the members of an archive, each as batches of records.

    chats.jsonl.gz     ->   chats.jsonl.gz                    JSON lines
    dump.zip           ->   dump.zip/a.csv, dump.zip/b.json   a table, JSON
    data.parquet       ->   data.parquet                      columns
    story.md           ->   story.md                          {"text": "..."}

How bytes are packed shows in the bytes. What a text is shows in its name where that says .csv, .tsv, .json or .txt (and the
like); in any other, it is JSON where it begins so, a table where its header names a known column, else a text as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sft_assets.raw.archives import Member
from sft_assets.raw.batches import Bad, Batch
from sft_assets.raw.containers import Damaged, Limits, Meter, Refused, blocks, decoded, peeked, unpacked
from sft_assets.raw.dialects import looks_like_a_table
from sft_assets.raw.lines import lines_of
from sft_assets.raw.made_records import add, too_large
from sft_assets.raw.strict_json import is_json
from sft_assets.raw.tars import is_tar, tar_members
from sft_assets.raw.zips import MAGICS, zip_members

HEAD = 1 << 16  # bytes from which a file's kind is seen
PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
JSON_ENDINGS = (".json", ".jsonl", ".ndjson", ".jsonlines")
TEXT_ENDINGS = (".txt", ".md", ".text", ".markdown")
JSON_BEGINS = re.compile(rb'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')
OTHER_FILES = {
    b"%PDF-": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"Rar!\x1a": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x04\x22\x4d\x18": "an lz4 file",
    b"\x1f\x9d": "a .Z file",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    **{b"\x80%c" % protocol: "a Python pickle, which could run anything" for protocol in range(2, 6)},
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}


@dataclass(frozen=True)
class Opening:
    """What the recipe says of how a file is opened: of tables the delimiter, and whether there is a header or which."""

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | list[str] | None = None


@dataclass
class Part:
    """A file or a member of an archive. Its batches are to be read before the next part is asked for.

    Raises (from `batches`):
        Refused: this part cannot be read; the others can.
    """

    name: str
    batches: Iterator[Batch]


def parts(
    path: Path,
    name: str,
    opening: Opening,
    limits: Limits,
    fits: Callable[[Any], bool],
    columns: Collection[str] = (),
    texts: bool = True,
) -> Iterator[Part]:
    """The parts of a file, which is called `name`.

    fits: whether a record is of a known shape, and so not to be torn open. columns: names that tell the header of a table.
    texts: whether a text is a record, {"text": "..."}, or refused.

    Raises:
        Refused: it cannot be opened, or the archive is damaged here; what was read of it before counts.
    """

    def read(stream: Iterator[bytes], name: str) -> Iterator[Batch]:
        return _records(stream, name, opening, limits, fits, columns, texts)

    def members(found: Iterator[Member]) -> Iterator[Part]:
        for member in found:
            yield Part(f"{name}/{member.name}", _member(member.stream, member.name, read))

    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head.startswith(MAGICS):
                yield from members(zip_members(path, limits))
                return
            if _is_columnar(head):
                yield Part(name, _columnar(path, head, limits))
                return
            file.seek(0)
            meter = Meter(limits)
            head, stream = peeked(unpacked(meter.taking(blocks(file)), meter), HEAD)
            if is_tar(head):
                yield from members(tar_members(stream, meter))
            else:
                yield Part(name, read(stream, name))
    except OSError as error:
        raise Refused("unreadable", f"cannot be opened: {error.strerror or error}") from None


def _member(stream: Iterator[bytes], name: str, read: Callable[[Iterator[bytes], str], Iterator[Batch]]) -> Iterator[Batch]:
    head, stream = peeked(stream, HEAD)
    if is_tar(head):
        raise Refused("container", "is an archive within an archive; unpack it")
    yield from read(stream, name)


def _is_columnar(head: bytes) -> bool:
    # the length of the schema that follows in an Arrow stream is never so large that its last byte counts
    return head.startswith((b"PAR1", b"PARE", b"ARROW1")) or (head[:4] == b"\xff\xff\xff\xff" and head[7:8] == b"\0")


def _columnar(path: Path, head: bytes, limits: Limits) -> Iterator[Batch]:
    from sft_assets.raw import columnar  # parquet's reader takes its time to load

    return columnar.records(path, head, limits)


def _records(
    stream: Iterator[bytes],
    name: str,
    opening: Opening,
    limits: Limits,
    fits: Callable[[Any], bool],
    columns: Collection[str],
    texts: bool,
) -> Iterator[Batch]:
    """The records of an unpacked stream that is no archive."""
    head, stream = peeked(stream, HEAD)
    if head.startswith(MAGICS) or _is_columnar(head):
        raise Refused("container", "is an archive or a binary table within a packed file or archive; unpack it")
    if kind := next((kind for magic, kind in OTHER_FILES.items() if head.startswith(magic)), None):
        raise Refused("container", f"is {kind}, which is not read; convert it to JSON lines")
    head, stream = peeked(decoded(stream, opening.encoding), HEAD)
    kind = _kind(head, name, opening, columns)
    if kind == "text":
        if b"\0" in head:
            raise Refused("container", "is binary, of a kind that is not read; convert it to JSON lines")
        if not texts:
            raise Refused("text", "is a text, neither JSON nor a table; give it the ending of what it is, or take it out")
        yield _text(stream, limits)
    elif kind == "json":
        from sft_assets.raw import json_records  # compiled code: loaded by whoever reads, not by whoever plans

        yield from json_records.records(stream, limits, fits)
    else:
        from sft_assets.raw import tables

        yield from tables.records(stream, limits, opening.delimiter, opening.header, columns, kind)


def _kind(head: bytes, name: str, opening: Opening, columns: Collection[str]) -> str:
    """'json', 'text', or of a table the delimiter that is expected."""
    ending = _ending(name)
    if ending in DELIMITERS or opening.delimiter or opening.header is not None:
        return DELIMITERS.get(ending, ",")
    if ending in JSON_ENDINGS or not head.strip() or JSON_BEGINS.match(head):
        return "json"
    lines = [line for line in head[:HEAD].splitlines()[:20] if line.strip()]
    if 2 * sum(line.lstrip()[:1] == b"{" and is_json(line) for line in lines) > len(lines):
        return "json"
    text = head[:HEAD].decode("utf-8", "surrogateescape")
    return "," if ending not in TEXT_ENDINGS and looks_like_a_table(lines_of(text), columns) else "text"


def _ending(name: str) -> str:
    path = PurePosixPath(name.lower())
    while path.suffix in PACKED_ENDINGS:
        path = path.with_suffix("")
    return path.suffix


def _text(stream: Iterator[bytes], limits: Limits) -> Batch:
    """A whole text as one record."""
    data, length, damage = [], 0, ""
    try:
        for chunk in stream:
            length += len(chunk)
            if length <= limits.max_record_bytes:
                data.append(chunk)
    except Damaged as damaged:
        damage = str(damaged)
    batch, text = Batch(), b"".join(data)
    if damage:
        reason: tuple[str, str] | None = ("truncated", damage)
    elif length > limits.max_record_bytes:
        reason = ("too_large", too_large(length, limits.max_record_bytes))
    else:
        reason = add(batch, 1, {"text": text.decode("utf-8", "surrogateescape")}, limits.max_record_bytes)
    if reason:
        batch.bad.append(Bad.of(1, text, *reason))
    return batch
