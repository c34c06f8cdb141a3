"""Source files to records, piece by piece: every file and every member of an archive, read or refused.

Piece(name="chats.zip/a.jsonl", batch=<500 records>, formats=["sharegpt", ...])     records of it, as often as need be
Piece(name="chats.zip/a.jsonl", records=1200)                                       its end
Piece(name="notes.pdf", refused=Refused("container", "is a PDF, ..."))              what came of it before does not count
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sft_assets import formats
from sft_assets.raw.batches import Batch
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.detection import Detector
from sft_assets.raw.parts import Part, parts
from sft_assets.raw.sources import SourceFile
from sft_assets.record import BadRecord

OTHER_ENCODING = 0.2  # share of records that are no UTF-8, and most of those beyond ASCII: the file is of another encoding
UNFIT = 1000  # so many records that fit no format, and none that does: the file is refused without reading on


@dataclass
class Piece:
    """Some records of a file with the format of each; or, without a batch, its end."""

    file: SourceFile
    name: str
    batch: Batch | None = None
    formats: Sequence[str] = field(default_factory=list)
    records: int = 0
    refused: Refused | None = None


def read_files(files: Sequence[SourceFile], limits: Limits) -> Iterator[Piece]:
    """The records of the files, in their order; each file, and each member of an archive, has one end."""
    for file in files:
        try:
            if file.refused:
                raise file.refused
            for part in opened(file, limits):
                n = 0
                try:
                    for batch, names in fitting(file, part):
                        n += len(batch)
                        yield Piece(file, part.name, batch, names)
                    yield Piece(file, part.name, records=n)
                except Refused as refusal:
                    yield Piece(file, part.name, refused=refusal)
        except Refused as refusal:
            yield Piece(file, file.name, refused=refusal)


def opened(file: SourceFile, limits: Limits) -> Iterator[Part]:
    """The file itself, or the members of an archive.

    Raises:
        Refused: it cannot be opened at all.
    """
    columns = {*formats.NAMES, *file.hints.columns.values()}  # names that tell the header of a table from its data
    return parts(file.path, file.name, file.opening, limits, formats.is_readable, columns)


def fitting(file: SourceFile, part: Part) -> Iterator[tuple[Batch, Sequence[str]]]:
    """A file's records with the format of each. Records that fit none are moved to `bad`.

    Raises:
        Refused: nothing in the file is a record of a known format, or not of the one that the recipe states, or its encoding
            is another.
    """
    format_of = Detector(file.format, file.hints, file.stated_by)
    held: list[Batch] = []  # batches before the first record that fits: the file may still be refused
    any_fits, seen = False, 0
    not_utf8, beyond_ascii, encoding_fault = 0, 0, ""
    for batch in part.batches:
        names = format_of.all(batch.values) or _each(format_of, batch)
        if not b"".join(batch.texts).isascii():
            beyond_ascii += sum(not text.isascii() for text in batch.texts)
        for bad in batch.bad:
            if bad.reason == "invalid_utf8":
                not_utf8 += 1
                encoding_fault = encoding_fault or f"position {bad.position}: {bad.detail}"
        seen += len(batch)
        if names or any_fits:
            any_fits = True
            yield from ((b, []) for b in held)
            held.clear()
            yield batch, names
            continue
        held.append(batch)
        if seen >= UNFIT:
            break
    if not_utf8 > max(OTHER_ENCODING * seen, beyond_ascii):
        raise Refused("encoding", f"is not UTF-8; {encoding_fault}")
    if not any_fits:
        unread = sorted((b for batch in held for b in batch.bad), key=lambda b: b.position)
        if not unread:
            raise Refused("empty", "holds no record")
        first = next((b for b in unread if b.reason in ("no_format", "wrong_format")), unread[0])
        shown = f"its first record: {' '.join(first.excerpt.split())}"
        if first.reason == "no_format":
            raise Refused("no_format", f"fits none of {len(formats.FORMATS)} formats; {first.detail}; {shown}")
        if first.reason == "wrong_format":
            raise Refused("wrong_format", f"{first.detail}; {shown}")
        raise Refused("not_json", f"holds no record that can be read; position {first.position}: {first.detail}")


def _each(format_of: Detector, batch: Batch) -> list[str]:
    """The formats of a batch's records; those that have none are moved to `bad`."""
    names, unfit = [], []
    for i, value in enumerate(batch.values):
        found = format_of(value)
        if isinstance(found, BadRecord):
            unfit.append((i, found.reason, found.detail))
        else:
            names.append(found)
    batch.set_aside(unfit)
    return names
