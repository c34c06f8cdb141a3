"""Members of a tar archive, as they come in its stream.

chats.tar.zst: b.jsonl, a/x.csv, link -> /etc/passwd     ->   chats.tar.zst/b.jsonl, chats.tar.zst/a/x.csv, and a refusal
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from sft_assets.raw.archives import NOT_A_FILE, Member, Names, is_passed_over
from sft_assets.raw.containers import PACKED, Damaged, Meter, Refused, unpacked

HEADER = 4 << 20  # bytes between two members: long names and the like
BLOCK = 512


def _refusing(refusal: Refused) -> Iterator[bytes]:
    raise refusal
    yield


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
    reader, names = _Reader(stream), Names()
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
                if not is_passed_over(info.name):
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
