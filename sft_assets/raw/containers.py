"""Bytes of a file as a stream of UTF-8 chunks: unpacked, decoded, and bounded in what they may cost.

What a file is shows in its first bytes, not in its name: a gzip file named .json is unpacked.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK = 4 << 20
PACKED = 1 << 16  # of a gzip file at a time: what follows a member's end is copied, dear for large blocks of small members


class Refused(Exception):
    """A whole file that cannot be read: `reason` is a short code, `detail` a sentence with the remedy."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Damaged(Exception):
    """The stream ends before its end; what came before is good."""


@dataclass(frozen=True)
class Limits:
    """What a file may cost while it is streamed."""

    max_record_bytes: int = 32 << 20
    max_unpacked_ratio: float = 200.0
    max_unpacked_bytes: int = 256 << 20


BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHER_FILES = {
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "parquet",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"%PDF": "a PDF",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
}


def chunks(path: Path, encoding: str | None, limits: Limits) -> Iterator[bytes]:
    """The file's text as UTF-8 chunks of about 4 MiB, without its byte order mark.

    Raises:
        Refused: it cannot be opened, is of a kind that is not read, is not in its encoding, or unpacks to too much.
        Damaged: a gzip stream ends early or is corrupt, after everything before that was yielded.
    """
    try:
        with path.open("rb") as file:
            head = file.read(32)
            kind = next((name for magic, name in OTHER_FILES.items() if head.startswith(magic)), None)
            if kind:
                raise Refused("container", f"is {kind}, which is not read yet; unpack or convert it to JSON lines")
            file.seek(0)
            packed = head[:2] == b"\x1f\x8b"
            stream = iter(lambda: file.read(PACKED if packed else CHUNK), b"")
            yield from _decoded(_joined(_gunzipped(stream, limits)) if packed else stream, encoding)
    except OSError as error:
        raise Refused("unreadable", f"cannot be opened: {error.strerror or error}") from None


def _gunzipped(packed: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    inflate, taken, given, waiting = zlib.decompressobj(31), 0, 0, b""
    try:
        for block in packed:
            taken += len(block)
            waiting += block
            while waiting:
                if inflate.eof:  # another member follows; zeros are padding
                    waiting = waiting.lstrip(b"\0")
                    if not waiting:
                        break
                    inflate = zlib.decompressobj(31)
                out = inflate.decompress(waiting, CHUNK)
                waiting = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                given += len(out)
                if given > limits.max_unpacked_bytes and given > limits.max_unpacked_ratio * taken:
                    raise Refused(
                        "bomb",
                        f"unpacks to more than {limits.max_unpacked_ratio:g} times its size ({given:,} bytes of the first "
                        f"{taken:,}); raise raw.max_unpacked_ratio if that is meant",
                    )
                if out:
                    yield out
    except zlib.error as error:
        raise Damaged(f"the gzip data is damaged after {given:,} unpacked bytes ({error})") from None
    if not inflate.eof:
        raise Damaged(f"the gzip file is cut off after {given:,} unpacked bytes")


def _joined(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of CHUNK or more: a byte order mark may lie across two gzip members."""
    held: list[bytes] = []
    size = 0
    try:
        for piece in stream:
            held.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except Damaged:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _decoded(stream: Iterator[bytes], encoding: str | None) -> Iterator[bytes]:
    first = next(stream, b"")
    if encoding is None:
        encoding = next((name for bom, name in BOMS if first.startswith(bom)), "utf-8")
        if encoding == "utf-8" and first[:64].count(0) > len(first[:64]) // 4:
            raise Refused(
                "encoding",
                "looks like UTF-16 without a byte order mark; say `encoding: utf-16-le` (or -be) in its recipe entry",
            )
    try:
        codec = codecs.lookup(encoding)
        decoder = codec.incrementaldecoder
        if not codec._is_text_encoding or decoder is None:
            raise LookupError(encoding)
    except (LookupError, ValueError):
        detail = f"is not read: no encoding is called {encoding!r}; Python's names are known (latin-1, cp1252 ...)"
        raise Refused("encoding", detail) from None
    if codec.name == "utf-8":  # the readers check it record by record
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from stream
        return
    decode, done = decoder("strict"), 0
    try:
        yield decode.decode(first).removeprefix("\ufeff").encode()
        for block in stream:
            yield decode.decode(block).encode()
            done += len(block)
        yield decode.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise Refused("encoding", f"is not {encoding} near byte {done:,}: {error}") from None
