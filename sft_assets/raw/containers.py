"""Bytes of a file as a stream of UTF-8 chunks: unpacked, decoded, and bounded in what they may cost.

    chats.json      1f 8b 08 00 ...     gzip, whatever its name says     ->   [{"instruction": "Say hi", ...

What a file is shows in its first bytes: gzip, zstd, bzip2 and xz are unpacked, of several members and twice over too.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 4 << 20
PACKED = 1 << 16  # of a packed file at a time: what follows a member's end is copied, dear for large blocks of small members
LAYERS = 2  # data.json.gz.gz is met; more layers are a mistake or an attack
WINDOW_LOG = 27  # zstd may look back 128 MiB, its own default
XZ_MEMORY = 128 << 20  # xz -9 takes 65 MiB


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


class Meter:
    """How many bytes were taken from a file, and how many may be made of them."""

    def __init__(self, limits: Limits, taken: int = 0):
        self.limits = limits
        self.taken = taken
        self.given = 0

    def taking(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """The same blocks, counted as taken."""
        for block in stream:
            self.taken += len(block)
            yield block

    def giving(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """The same blocks, counted as given: over all members of an archive."""
        for block in stream:
            self.given += len(block)
            self.check(self.given)
            yield block

    def check(self, given: int) -> None:
        """
        Raises:
            Refused: so many bytes are too many.
        """
        if given > self.limits.max_unpacked_bytes and given > self.limits.max_unpacked_ratio * self.taken:
            raise Refused(
                "bomb",
                f"unpacks to more than {self.limits.max_unpacked_ratio:g} times its size ({given:,} bytes of the first "
                f"{self.taken:,}); raise raw.max_unpacked_ratio if that is meant",
            )


# ------------------------------------------------------------------------------------------------------------ unpacking


class Decompressor(Protocol):
    """What bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Inflate:
    """zlib's decompressor, as the others are."""

    def __init__(self, window: int):
        self._zlib = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


@dataclass(frozen=True)
class Packing:
    """A way to pack one stream."""

    name: str
    start: Callable[[], Decompressor]
    magics: tuple[bytes, ...] = ()


ZSTD = Packing(
    "zstd",
    lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG}),
    # a file may begin with a frame to skip, as parallel packers write it
    (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
)
BZIP2 = Packing("bzip2", bz2.BZ2Decompressor, tuple(b"BZh%d" % level for level in range(1, 10)))
PACKINGS = (
    Packing("gzip", lambda: Inflate(31), (b"\x1f\x8b",)),
    ZSTD,
    BZIP2,
    Packing("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY), (b"\xfd7zXZ\0",)),
)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """A file's bytes in small blocks.

    Raises:
        Refused: the disk gives them no more.
    """
    try:
        while block := file.read(PACKED):
            yield block
    except OSError as error:
        raise Refused("unreadable", f"cannot be read: {error.strerror or error}") from None


def peeked(stream: Iterator[bytes], least: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of a stream, at least so many where it has them, and the whole stream again."""
    held: list[bytes] = []
    size = 0
    end: Damaged | None = None
    while size < least and end is None:
        try:
            block = next(stream)
        except StopIteration:
            break
        except Damaged as damage:
            end = damage
            break
        held.append(block)
        size += len(block)

    def again() -> Iterator[bytes]:
        yield from held
        held.clear()
        if end is not None:
            raise end
        yield from stream

    return b"".join(held), again()


def unpacked(stream: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    """The stream without its layers of packing. `meter` counts what `stream` takes.

    Raises:
        Refused: it is packed more than twice, needs too much memory, or unpacks to too much.
        Damaged: it ends early or is corrupt, after everything before that was yielded.
    """
    for layer in range(LAYERS + 1):
        head, stream = peeked(stream, 6)
        packing = next((p for p in PACKINGS if head.startswith(p.magics)), None)
        if packing is None:
            break
        if layer == LAYERS:
            raise Refused("container", f"is packed more than {LAYERS} times; unpack it")
        stream = unpack(stream, packing, meter)
    yield from stream


def unpack(packed: Iterator[bytes], packing: Packing, meter: Meter) -> Iterator[bytes]:
    """What the members of one packed stream hold, one after the other."""
    step, given = packing.start(), 0
    for data in packed:
        while data or not (step.eof or step.needs_input):
            if step.eof:  # another member follows; zeros are padding
                data = data.lstrip(b"\0")
                if not data:
                    break
                step = packing.start()
            try:
                out = step.decompress(data, CHUNK)
            except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstd.ZstdError, MemoryError) as error:
                if isinstance(error, MemoryError) or "memory" in str(error).lower():
                    raise Refused(
                        "bomb", f"needs more memory to unpack than is given ({packing.name}: {error}); pack it without --long"
                    ) from None
                raise Damaged(f"the {packing.name} data is damaged after {given:,} unpacked bytes ({error})") from None
            data = step.unused_data if step.eof else b""
            given += len(out)
            meter.check(given)
            if out:
                yield out
    if not step.eof:
        raise Damaged(f"the {packing.name} file is cut off after {given:,} unpacked bytes")


# ------------------------------------------------------------------------------------------------------------- decoding

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _alternates(head: bytes) -> bool:
    """Whether every second byte, and not every byte, is mostly zero: Latin letters in UTF-16."""
    share = [head[side::2].count(0) / max(1, len(head) // 2) for side in (0, 1)]
    return max(share) > 0.5 > min(share)


def decoded(stream: Iterator[bytes], encoding: str | None) -> Iterator[bytes]:
    """A text as UTF-8 chunks of about 4 MiB, without its byte order mark. What says it is UTF-8 is not checked here.

    Raises:
        Refused: it is not in its encoding, or nobody knows the encoding.
    """
    stream = _joined(stream)
    first = next(stream, b"")
    if encoding is None:
        encoding = next((name for bom, name in BOMS if first.startswith(bom)), "utf-8")
        if encoding == "utf-8" and _alternates(first[:64]):
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


def _joined(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of CHUNK or more: a byte order mark may lie across two blocks."""
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
