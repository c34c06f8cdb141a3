"""Members of zip and tar archives as streams of bytes; nothing is ever written to disk.

    data.zip   chats/a.jsonl        ->   data.zip/chats/a.jsonl
               __MACOSX/._a.jsonl        (passed over)
               ../../etc/passwd     ->   data.zip/\\x2e\\x2e/\\x2e\\x2e/etc/passwd

A member's name is only ever shown, never used as a path. Dots that climb, a leading slash, backslashes and what cannot be seen
are written as \\x.. , so that two names are never shown alike and none can be taken for a place on this machine.
"""

from __future__ import annotations

import copy
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
)  # fmt: skip

MOST_MEMBERS = 100_000
DIRECTORY = 64 << 20  # bytes of a zip's list of members
HEADER = 4 << 20  # bytes between two members of a tar archive: long names and the like
BLOCK = 512  # of a tar archive
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
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
NOT_A_FILE = "is a link or device, which is not followed; put the file itself into the archive"


@dataclass
class Member:
    """A file of an archive: its name as it is shown, and its unpacked bytes, to be read before the next member is asked for."""

    name: str
    stream: Iterator[bytes]


def shown_name(name: str) -> str:
    """A member's name, written so that it cannot be misread (see above)."""
    steps = name.replace("\\", "\\x5c").split("/")
    steps = [r"\x2e" * len(step) if step in (".", "..") else step for step in steps]
    path = "/".join(steps)
    path = r"\x2f" + path[1:] if path.startswith("/") else path
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path)


class _Names:
    """Names by which members are known: an archive may hold two of one name."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def unique(self, name: str) -> str:
        """
        Raises:
            Refused: the archive has too many members.
        """
        if len(self.given) == MOST_MEMBERS:
            raise _too_many()
        name, number = shown_name(name), 1
        result = name
        while result in self.given:
            number += 1
            result = f"{name}#{number}"
        self.given.add(result)
        return result


def _too_many() -> Refused:
    return Refused("container", f"has more than {MOST_MEMBERS:,} members; put the records into fewer files")


def _is_passed_over(name: str) -> bool:
    """What no person put there: hidden files, and what macOS adds."""
    return any(step == "__MACOSX" or (step.startswith(".") and step.strip(".")) for step in name.split("/"))


def _refusing(refusal: Refused) -> Iterator[bytes]:
    raise refusal
    yield


# ------------------------------------------------------------------------------------------------------------------ zip


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
            if len(infos) > MOST_MEMBERS:
                raise _too_many()
            whole = Meter(limits, path.stat().st_size)
            names = _Names()
            for info in sorted(infos, key=lambda info: info.orig_filename):
                if not (info.orig_filename.endswith("/") or _is_passed_over(info.orig_filename)):
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


# ------------------------------------------------------------------------------------------------------------------ tar


class _Header(tarfile.TarInfo):
    """A member's header. A damaged one within an archive is taken by the library for its end, so it is refused here."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        if len(buf) < BLOCK:
            raise Refused("damaged", "is a tar archive that is cut off; what was read of it counts, fetch it again")
        if not is_tar(bytes(buf)) and any(buf):
            raise Refused("damaged", "is a tar archive that is damaged between two members; what was read before counts")
        return super().frombuf(buf, encoding, errors)


def is_tar(head: bytes) -> bool:
    """Whether a file begins with the header of a tar member: its checksum tells."""
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return False
    return True


class _Reader:
    """A stream as a file to read from, which gives no more than `allowed` bytes where that is set."""

    def __init__(self, stream: Iterator[bytes]):
        self.stream = stream
        self.block = io.BytesIO()
        self.allowed: int | None = HEADER

    def read(self, size: int) -> bytes:
        out = self.block.read(size)
        while not out and (block := next(self.stream, None)) is not None:
            self.block = io.BytesIO(block)
            out = self.block.read(size)
        if self.allowed is not None:
            self.allowed -= len(out)
            if self.allowed < 0:
                raise Refused("damaged", "is a tar archive with a header of megabytes; it is damaged or made to do harm")
        return out


def tar_members(stream: Iterator[bytes], whole: Meter) -> Iterator[Member]:
    """The files of a tar archive in the order of the archive; `whole` counts what its file gives.

    Raises:
        Refused: it is damaged between two members, has too many or none. What one member has only that member's stream raises.
    """
    reader, names = _Reader(stream), _Names()
    try:
        with tarfile.open(fileobj=reader, mode="r|", bufsize=PACKED, tarinfo=_Header) as archive:  # type: ignore[call-overload]
            while True:
                reader.allowed = HEADER
                info = archive.next()
                if info is None:
                    break
                archive.members.clear()  # kept by the library for seeking back, which is never done
                if info.isdir():
                    continue
                if info.issparse() or not info.isfile():
                    detail = "is a sparse file; pack it with plain tar" if info.issparse() else NOT_A_FILE
                    yield Member(names.unique(info.name), _refusing(Refused("container", detail)))
                    continue
                reader.allowed = None
                content = _tar_stream(archive, info)
                if not _is_passed_over(info.name):
                    meter = Meter(whole.limits)
                    yield Member(names.unique(info.name), whole.giving(unpacked(meter.taking(content), meter)))
                for _ in content:  # what nobody read: the next header stands behind it
                    pass
    except Refused:
        raise
    except Exception as error:  # the stream is damaged, or a header: for that the library lets many kinds out
        raise Refused(
            "damaged", f"is a tar archive that is cut off or damaged ({error}); what was read before counts"
        ) from None
    if not names.given:
        raise Refused("empty", "holds no file")


def _tar_stream(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.fileobj  # extractfile() would lose what stands before the end of a cut archive
    assert file is not None
    file.seek(info.offset_data)
    done = 0
    while done < info.size:
        block = file.read(min(PACKED, info.size - done))
        if not block:
            raise Damaged(f"the tar archive is cut off after {done:,} of {info.size:,} bytes of this member")
        done += len(block)
        yield block
