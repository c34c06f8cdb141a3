"""JSON lines, or a JSON array: every record with a text is a document.

{"title": "Setup", "text": "Install it with pip.", "license": "MIT"}      line 17 of articles.jsonl

->  articles.jsonl:17   "Install it with pip."   headings ("Setup",)   license MIT
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sft_assets.augmented.chunks import markdown, plain_text
from sft_assets.augmented.chunks.document import Content, Document, language_code, said
from sft_assets.raw import json_records
from sft_assets.raw.batches import Bad
from sft_assets.raw.containers import Limits, Refused

FIELDS = ("text", "content", "document", "body")
UNFIT = 1000  # so many records without a text, and none with one: the file is refused without reading on
MOST_FIELDS = 200  # characters of their names that are shown
REMEDIES = {  # those of sources are in the recipe
    "invalid_utf8": "it is not UTF-8; save the file as UTF-8",
    "too_large": "it is larger than a document may be; split it",
}
MARKDOWN = re.compile(r"^(?:#{2,6} +\S|```|~~~)", re.MULTILINE)


def read(stream: Iterator[bytes], file: str, limits: Limits) -> Iterator[Document | Bad]:
    """The documents of an unpacked, decoded stream, and the records that are none.

    Raises:
        Refused: no record of the file has a text.
    """
    held: list[Bad] = []  # records without a text, before the first that has one
    any_fits = False
    for batch in json_records.records(stream, limits, lambda value: _text(value) is not None):
        yield from (replace(bad, detail=REMEDIES.get(bad.reason, bad.detail)) for bad in batch.bad)
        for position, value, source in zip(batch.positions, batch.values, batch.texts, strict=True):
            text = _text(value)
            if text is None:
                held.append(
                    Bad.of(position, source, "no_text", f"it has no text in a field {_one_of(FIELDS)}: {_fields(value)}")
                )
                if not any_fits and len(held) >= UNFIT:
                    break
                continue
            any_fits = True
            yield Document(**vars(content_of(value, text)), name=f"{file}:{position}", file=file, kind="jsonl")
        if any_fits:
            yield from held
            held.clear()
        elif len(held) >= UNFIT:
            break
    if not any_fits and held:
        first = held[0]
        raise Refused("no_text", f"holds no document: its record {first.position} has no text in a field {_one_of(FIELDS)}; "
                      f"rename the field. The record: {first.excerpt}")  # fmt: skip


def content_of(value: dict[str, Any], text: str) -> Content:
    """A record's text, and what the record says of it."""
    title = said(value.get("title"))
    reader = markdown if MARKDOWN.search(text) else plain_text
    content = reader.read(text, (title,) if title else ())
    license = said(value.get("license") or value.get("licence")) or content.license
    return Content(text, content.blocks, license, language_code(value.get("language") or value.get("lang")) or content.language)


def _text(value: Any) -> str | None:
    found = (value.get(name) for name in FIELDS) if isinstance(value, dict) else ()
    return next((text for text in found if isinstance(text, str)), None)


def _fields(value: dict[str, Any]) -> str:
    return ("its fields are " + ", ".join(value))[:MOST_FIELDS] if value else "it is empty"


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
