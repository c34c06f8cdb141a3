"""chunks: the documents of D/documents, in pieces that questions can be asked about.

    document guide/setup.md   kind markdown   headings ["Guide", "Setup"]   start 1412   stop 2600
    text "## Setup\\n\\nInstall it with pip. ..."   language en   license MIT   masked []

start and stop count characters of the document's text (`reading.text_of` gives it): what stands there is `text`, but for the
masks.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from sft_assets import masks
from sft_assets.arrow import uuids
from sft_assets.asset import evidence
from sft_assets.augmented.chunks.document import Document
from sft_assets.augmented.chunks.reading import read_file
from sft_assets.augmented.chunks.spans import masked_text
from sft_assets.augmented.chunks.splitting import LeftOut, Piece, split
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.languages import language_of
from sft_assets.raw.batches import Bad
from sft_assets.raw.containers import Refused
from sft_assets.recipe import Recipe
from sft_assets.record import digest
from sft_assets.warehouse.build import Build, Law, Table

TABLE = Table(
    "chunks",
    columns={
        "chunk_id": "UUID",
        "document": "VARCHAR",
        "kind": "VARCHAR",
        "headings": "VARCHAR[]",
        "start": "INTEGER",
        "stop": "INTEGER",
        "text": "VARCHAR",
        "masked": "INTEGER[]",
        "language": "VARCHAR",
        "license": "VARCHAR",
        "page": "INTEGER",
    },
    is_state=False,
    laws=(
        Law(
            "ids_unique",
            "no chunk_id stands twice",
            "SELECT count(*) - count(DISTINCT chunk_id) FROM {table}",
        ),
        Law(
            "texts_not_blank",
            "every chunk says something",
            "SELECT count(*) FROM {table} WHERE NOT coalesce(regexp_matches(text, '\\S'), false)",
        ),
        Law(
            "spans_give_texts",
            "a text is as long as its span, but for its masks",
            """
            SELECT count(*)
            FROM {table}
            WHERE start < 0
               OR length(text) <> stop - start
                    + coalesce(list_sum([masked[3 * i + 2] - masked[3 * i + 1] - masked[3 * i + 3]
                                         FOR i IN range(len(masked) // 3)]), 0)
            """,
        ),
        Law(
            "spans_apart",
            "no two chunks of a document hold the same characters",
            """
            SELECT count(*)
            FROM (SELECT start, max(stop) OVER (PARTITION BY document ORDER BY start, stop
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM {table})
            WHERE start < before
            """,
        ),
    ),
)
TYPES = {"headings": pa.list_(pa.string()), "masked": pa.list_(pa.int32())}
NUMBERS = ("start", "stop", "page")
BATCH = 2000  # chunks that are stored at a time


class Row(NamedTuple):
    """A row of the table."""

    chunk_id: bytes
    document: str
    kind: str
    headings: list[str]
    start: int
    stop: int
    text: str
    masked: list[int]
    language: str | None
    license: str | None
    page: int | None


@evidence(TABLE, deps=("document_files",), code=1, data_of_code=masks.version)
def chunks(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The documents of D/documents in pieces: cut where they have joints, masked, each with its place and licence."""
    base = folder.documents
    files = list(_files(base))
    licenses = _Licenses.of(folder, recipe, [name for _, name, _ in files])
    report = _Report()
    rows: list[Row] = []
    for done, (path, name, refused) in enumerate(files):
        build.progress(done, len(files))
        try:
            if refused:
                raise refused
            for found in read_file(path, name):
                if isinstance(found, Bad):
                    report.unread[name] += 1
                    place = (name, name, found.position, None)
                    build.quarantine(*place, found.reason, found.detail, found.sha256, found.excerpt)
                    continue
                rows += _chunked(build, found, recipe, licenses, report)
                if len(rows) >= BATCH:
                    build.insert(_table(rows))
                    rows.clear()
        except Refused as refusal:
            report.refused.append({"file": name, "reason": f"{name} {refusal.detail}"})
            sha = hashlib.sha256(name.encode()).hexdigest()
            build.quarantine(name, name, None, None, refusal.reason, f"{name} {refusal.detail}", sha, "")
    build.insert(_table(rows))
    build.notes |= report.notes()


# ---------------------------------------------------------------------------------------------------------- the files


def _files(base: Path) -> Iterator[tuple[Path, str, Refused | None]]:
    """Every file of D/documents, what it is called, and why it is not read at all."""
    for path in Folder.files(base):
        name = os.fsencode(path.relative_to(base)).decode("utf-8", "backslashreplace")
        refused = None
        if not Folder.contains(path, base):
            refused = Refused("outside", "is a link that leads out of the documents folder; copy the file into it")
        elif not path.is_file():
            refused = Refused("unreadable", "is a link to a folder, or no regular file; copy what is meant into its place")
        elif name != path.relative_to(base).as_posix():
            refused = Refused("unreadable", "has a name that is not UTF-8; rename it")
        yield path, name, refused


class _Licenses(NamedTuple):
    """What the recipe says of the licences of documents, the longest paths first."""

    by_path: Sequence[tuple[str, str]]
    default: str | None

    @classmethod
    def of(cls, folder: Folder, recipe: Recipe, names: Sequence[str]) -> _Licenses:
        """
        Raises:
            SftError: the recipe names a file or folder that is not there.
        """
        section = recipe.chunks
        by_path = [(path.strip("/").removeprefix("./"), license) for path, license in section.licenses.items()]
        for path, _ in by_path:
            if not any(_is_in(name, path) for name in names):
                near = did_you_mean(path, sorted({*names, *(str(p) for n in names for p in Path(n).parents[:-1])})[:20])
                raise SftError(f"{folder.recipe}: chunks.licenses: {path!r} is not in {folder.documents}; {near}")
        return cls(sorted(by_path, key=lambda entry: -len(entry[0])), section.license)

    def __call__(self, document: Document) -> str | None:
        """What the document says itself, else the recipe of its file or folder, else of all."""
        said = (license for path, license in self.by_path if _is_in(document.file, path))
        return document.license or next(said, self.default)


def _is_in(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}/")


# ---------------------------------------------------------------------------------------------------------- the chunks


def _chunked(build: Build, document: Document, recipe: Recipe, licenses: _Licenses, report: _Report) -> Iterator[Row]:
    """The rows of a document; its masks go into the ledger."""
    section, kinds = recipe.chunks, recipe.combined.masks
    pieces, left_out = split(document, section.size, section.smallest)
    report.add(document, pieces, left_out)
    if not pieces:
        return
    _, hits = masks.mask(document.text, kinds)
    license = licenses(document)
    texts = [masked_text(document.text, piece.start, piece.stop, hits) for piece in pieces]
    languages = [document.language or language_of(text) for text, _, _ in texts]
    known = Counter(filter(None, languages))
    other = max(known, key=known.__getitem__, default=None)  # of chunks that do not tell, such as code
    for piece, (text, masked, inside), language in zip(pieces, texts, languages, strict=True):
        chunk_id = digest(f"{document.name}\0{piece.start}\0{piece.stop}\0{text}".encode())
        for hit in inside:
            before = {"kind": hit.kind, "place": document.name, "span": [hit.start, hit.stop], "sha256": hit.sha256}
            build.edit(chunk_id, f"masked_{hit.kind}", orjson.dumps(before).decode(), f"<{hit.kind.upper()}>")
            report.masked[hit.kind] += 1
        headings = [masks.mask(title, kinds)[0] for title in piece.headings]
        place = (document.name, document.kind, headings, piece.start, piece.stop)
        yield Row(chunk_id, *place, text, masked, language or other, license, piece.page)


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = dict(zip(Row._fields, zip(*rows, strict=True) if rows else [()] * len(Row._fields), strict=True))
    types: Mapping[str, pa.DataType] = {**TYPES, **dict.fromkeys(NUMBERS, pa.int32())}
    arrays = {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items() if name != "chunk_id"}
    return pa.table({"chunk_id": uuids(columns["chunk_id"]), **arrays})


class _Report:
    """What is told of a version: how much there is of what, and what is not in it."""

    def __init__(self) -> None:
        self.documents = self.characters = 0
        self.chunks: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self.left_out: dict[str, Counter[str]] = defaultdict(Counter)
        self.refused: list[dict[str, str]] = []
        self.unread: Counter[str] = Counter()

    def add(self, document: Document, pieces: Sequence[Piece], left_out: Sequence[LeftOut]) -> None:
        self.documents += 1
        self.chunks[document.kind] += len(pieces)
        self.characters += sum(piece.size for piece in pieces)
        for one in left_out:
            self.left_out[one.reason].update(pieces=1, characters=one.stop - one.start)

    def notes(self) -> dict[str, Any]:
        records = [
            {"file": name, "reason": f"{name}: {count:,} records were not read; `quarantine` says why of each"}
            for name, count in self.unread.items()
        ]
        return {
            "documents": self.documents,
            "chunks": {kind: count for kind, count in sorted(self.chunks.items()) if count},
            "characters": self.characters,
            "left_out": {reason: dict(counts) for reason, counts in sorted(self.left_out.items())},
            "masked": dict(sorted(self.masked.items())),
            "refused": [*self.refused, *records],
        }
