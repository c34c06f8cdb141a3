"""Members of a zip archive, unpacked here: the library's own way gives no bound on the memory of one step.

chats.zip: b.jsonl (deflate), a/x.csv (stored)      ->   chats.zip/a/x.csv, chats.zip/b.jsonl
sheet.xlsx: xl/workbook.xml, ...                    ->   is an Excel workbook; save the sheet as CSV
"""

from __future__ import annotations

import copy
import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sft_assets.raw import archives
from sft_assets.raw.archives import NOT_A_FILE, Member, Names, is_passed_over, too_many
from sft_assets.raw.containers import (
    BZIP2,
    PACKED,
    XZ_MEMORY,
    ZSTD,
    Damaged,
    Inflate,
    Limits,
    Meter,
    Packing,
    Refused,
    peeked,
    unpack,
    unpacked,
)

DIRECTORY = 64 << 20  # bytes of the list of members
MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
OFFICE = {  # a member that tells what the archive is
    "xl/workbook.xml": "an Excel workbook; save the sheet as CSV",
    "xl/workbook.bin": "an Excel workbook; save the sheet as CSV",
    "word/document.xml": "a Word document; save it as plain text",
    "ppt/presentation.xml": "a PowerPoint presentation; save it as plain text",
}
MIMETYPES = {
    b"application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet; save the sheet as CSV",
    b"application/vnd.oasis.opendocument": "an OpenDocument file; save it as plain text",
    b"application/epub+zip": "an EPUB book; save it as plain text",
}


class _ZipFile(io.FileIO):
    """A zip's file, of which no part is read that is larger than a list of members may be."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY:
            raise Refused("container", f"has a list of members of {size:,} bytes; put the records into fewer files")
        return super().read(size) or b""


class _ZipLzma:
    """The lzma of a zip member: another header before the same data."""

    def __init__(self) -> None:
        self._lzma = lzma.LZMADecompressor(lzma.FORMAT_ALONE, XZ_MEMORY)
        self._head: bytes | None = b""

    @property
    def eof(self) -> bool:
        return self._lzma.eof

    @property
    def needs_input(self) -> bool:
        return self._lzma.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._lzma.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._head is not None:  # version (2 bytes), size of the properties (2), properties (5)
            self._head += data
            if len(self._head) < 9:
                return b""
            data, self._head = self._head[4:9] + b"\xff" * 8 + self._head[9:], None
        return self._lzma.decompress(data, max_length)


METHODS = {
    zipfile.ZIP_DEFLATED: Packing("deflate", lambda: Inflate(-15)),
    zipfile.ZIP_BZIP2: BZIP2,
    zipfile.ZIP_LZMA: Packing("lzma", _ZipLzma),
    93: ZSTD,
}


def zip_members(path: Path, limits: Limits) -> Iterator[Member]:
    """The files of a zip archive in the order of their names.

    Raises:
        Refused: it is no zip archive, is a document, has too many members or none. What one member has only that member's
            stream raises.
    """
    with _ZipFile(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except Refused:
            raise
        except Exception as error:  # the library lets many kinds out for a damaged list of members
            raise Refused("damaged", f"is a zip archive that is cut off or damaged ({error}); fetch it again") from None
        with archive:
            infos = archive.infolist()
            _refuse_documents(archive, infos, limits)
            if len(infos) > archives.MOST_MEMBERS:
                raise too_many()
            whole = Meter(limits, path.stat().st_size)
            names = Names()
            for info in sorted(infos, key=lambda info: info.orig_filename):
                if not (info.orig_filename.endswith("/") or is_passed_over(info.orig_filename)):
                    meter = Meter(limits)
                    stream = unpacked(_zip_stream(archive, info, meter), meter)
                    yield Member(names.unique(info.orig_filename), whole.giving(stream))
            if not names.given:
                raise Refused("empty", "holds no file")


def _refuse_documents(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], limits: Limits) -> None:
    names = {info.orig_filename for info in infos}
    kind = next((kind for name, kind in OFFICE.items() if name in names), None)
    if infos and infos[0].orig_filename == "mimetype":
        mimetype, _ = peeked(_zip_stream(archive, infos[0], Meter(limits)), 1)
        kind = next((kind for start, kind in MIMETYPES.items() if mimetype.startswith(start)), kind)
    if kind:
        raise Refused("container", f"is {kind}")


def _zip_stream(archive: zipfile.ZipFile, info: zipfile.ZipInfo, meter: Meter) -> Iterator[bytes]:
    """A member's bytes, unpacked here: the library's own way gives no bound on the memory of one step."""
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise Refused("container", NOT_A_FILE)
    if info.flag_bits & 0x41:
        raise Refused("encrypted", "is encrypted; unpack it with its password first")
    packing = METHODS.get(info.compress_type)
    if packing is None and info.compress_type != zipfile.ZIP_STORED:
        raise Refused("container", f"is packed by zip's method {info.compress_type}, which is not read; pack it with another")
    Meter(meter.limits, info.compress_size).check(info.file_size)
    stream = meter.taking(_stored(archive, info))
    if packing is not None:
        stream = unpack(stream, packing, meter)
    checksum = length = 0
    for block in stream:
        checksum = zlib.crc32(block, checksum)
        length += len(block)
        yield block
    if (checksum, length) != (info.CRC, info.file_size):
        raise Damaged(f"the zip member is damaged: its checksum or length ({length:,} bytes) is not what the archive says")


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a member as they lie in the file."""
    plain: Any = copy.copy(info)
    plain.compress_type, plain.file_size, plain.CRC = zipfile.ZIP_STORED, info.compress_size, None
    done = 0
    try:
        with archive.open(plain) as file:
            while block := file.read(PACKED):
                done += len(block)
                yield block
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, OverflowError, struct.error, NotImplementedError) as error:
        raise Damaged(f"the zip archive is damaged or cut off ({error or 'it ends early'})") from None
    if done < info.compress_size:
        raise Damaged(f"the zip archive is cut off after {done:,} of {info.compress_size:,} packed bytes of this member")
