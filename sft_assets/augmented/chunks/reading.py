"""Files of D/documents as documents: which reader is whose, and in what text the spans of a document count.

    guide/setup.md        ->  Document "guide/setup.md"                                markdown
    articles.jsonl.gz     ->  Document "articles.jsonl.gz:1", "articles.jsonl.gz:2"    jsonl

A file's name says what it is, where its first bytes say nothing else; what no name tells, and is a text, is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sft_assets.augmented.chunks.document import Content, Document, Kind
from sft_assets.errors import SftError
from sft_assets.raw.batches import Bad
from sft_assets.raw.containers import BOMS, Damaged, Limits, Meter, Refused, blocks, decoded, peeked, unpacked
from sft_assets.raw.parts import HEAD, OTHER_FILES, PACKED_ENDINGS
from sft_assets.raw.tars import is_tar
from sft_assets.raw.zips import MAGICS

LIMITS = Limits()
ENDINGS: dict[str, Kind] = {
    ".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".html": "html",
    ".htm": "html", ".xhtml": "html", ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl",
}  # fmt: skip
PDF = b"%PDF-"
PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
REMEDIES = {  # those of sources are in the recipe
    "encoding": "is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8",
    "bomb": f"unpacks to more than {LIMITS.max_unpacked_ratio:g} times its size; unpack it, if that is meant",
}


def read_file(path: Path, name: str) -> Iterator[Document | Bad]:
    """The documents in a file, which is called `name`, and the records in it that cannot be read.

    Raises:
        Refused: the whole file cannot be read; what came of it before counts.
    """
    try:
        with path.open("rb") as file:
            meter = Meter(LIMITS)
            head, stream = peeked(unpacked(meter.taking(blocks(file)), meter), HEAD)
            kind = kind_of(name, head)
            if kind == "jsonl":
                from sft_assets.augmented.chunks import json_lines  # compiled code: loaded by whoever reads

                yield from json_lines.read(decoded(stream, None), name, LIMITS)
                return
            if kind == "pdf":
                content = _pdf(path, packed=not _begins_pdf(path))
            else:
                content = content_of(_text(stream, head if kind == "html" else b""), kind, name)
    except OSError as error:
        raise Refused("unreadable", f"cannot be opened: {error.strerror or error}") from None
    except Damaged as damage:
        raise Refused("damaged", f"cannot be unpacked: {damage}; fetch it again") from None
    except Refused as refusal:
        raise Refused(refusal.reason, REMEDIES.get(refusal.reason, refusal.detail)) from None
    if not content.text.strip():
        raise Refused("empty", "holds no text")
    yield Document(**vars(content), name=name, file=name, kind=kind)


def text_of(base: Path, document: str) -> str:
    """The text that the spans of a document count in. base: D/documents; document: as `chunks` calls it.

    Of text and Markdown it is the file without a byte order mark, of a record the field's value, of HTML and PDF what the
    reader gives.

    Raises:
        SftError: there is no such document any more, or it cannot be read.
    """
    path, _, position = (base / document, "", "") if (base / document).is_file() else _record(base, document)
    name = document if not position else document[: -len(position) - 1]
    try:
        found = next((d.text for d in read_file(path, name) if isinstance(d, Document) and d.name == document), None)
    except Refused as refusal:
        raise SftError(f"{path} {refusal.detail}") from None
    if found is None:
        raise SftError(f"{base}: there is no document {document!r} any more; `sft run chunks` reads what there is now")
    return found


def _record(base: Path, document: str) -> tuple[Path, str, str]:
    name, colon, position = document.rpartition(":")
    return base / (name or document), colon, position


def kind_of(name: str, head: bytes) -> Kind:
    """What a file is, by its name and its first unpacked bytes.

    Raises:
        Refused: it holds no text that is read here.
    """
    if head[:1024].find(PDF) >= 0 and (head.startswith(PDF) or _ending(name) == ".pdf"):
        return "pdf"
    if head.startswith(MAGICS) or is_tar(head):
        raise Refused("container", "is an archive or an office document; unpack it, or save it as text, HTML or PDF")
    if what := next((what for magic, what in OTHER_FILES.items() if head.startswith(magic)), None):
        raise Refused("container", f"is {what}, which is not read; save it as text, HTML or PDF")
    if b"\0" in head and not head.startswith(tuple(mark for mark, _ in BOMS)):
        raise Refused("binary", "is no text: it holds NUL bytes; save it as UTF-8 text, HTML or PDF, or take it out")
    if _ending(name) == ".pdf":
        raise Refused("damaged", "is no PDF, whatever its name says; fetch it again")
    return ENDINGS.get(_ending(name)) or ("html" if PAGE.match(head[:2048]) else "text")


def content_of(text: str, kind: Kind, name: str = "") -> Content:
    """What the reader of that kind makes of a text."""
    if kind == "markdown":
        from sft_assets.augmented.chunks import markdown  # the parsers take their time to load

        return markdown.read(text, mdx=_ending(name) == ".mdx")
    if kind == "html":
        from sft_assets.augmented.chunks import html

        return html.read(text)
    from sft_assets.augmented.chunks import plain_text

    return plain_text.read(text)


def _pdf(path: Path, packed: bool) -> Content:
    from sft_assets.augmented.chunks import pdf

    if packed:
        raise Refused("container", "is a packed PDF; unpack it")
    return pdf.read(path)


def _begins_pdf(path: Path) -> bool:
    with path.open("rb") as file:
        return PDF in file.read(1024)


def _text(stream: Iterator[bytes], page: bytes) -> str:
    """A whole text. page: the beginning of a web page, which may say in what encoding it is."""
    data, length = [], 0
    for block in stream:
        length += len(block)
        if length > LIMITS.max_record_bytes:
            raise Refused("too_large", f"is a text of more than {LIMITS.max_record_bytes:,} bytes; split it")
        data.append(block)
    whole = b"".join(data)
    try:
        return b"".join(decoded(iter([whole]), None)).decode()
    except UnicodeDecodeError:
        if (found := CHARSET.search(page[:2048])) is None:
            raise Refused("encoding", REMEDIES["encoding"]) from None
    text: str = b"".join(decoded(iter([whole]), found[1].decode())).decode()
    return text


def _ending(name: str) -> str:
    path = PurePosixPath(name.lower())
    while path.suffix in PACKED_ENDINGS:
        path = path.with_suffix("")
    return path.suffix
