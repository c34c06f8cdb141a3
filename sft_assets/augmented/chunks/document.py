"""A document as its reader hands it over: its text, and the blocks that the text is made of.

    guide.md    "# Setup\\n\\nInstall it with pip.\\n"

    Block(0, 8, "heading", ("Setup",))      Block(9, 31, "prose", ("Setup",))

Blocks are whole lines, in order, and cover everything but blank lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["text", "markdown", "html", "pdf", "jsonl"]
BlockKind = Literal["heading", "prose", "code", "table", "markup", "front_matter"]
LINE_END = re.compile(r"\r\n?|\n")  # as CommonMark counts lines; splitlines() knows more ends
MOST_SAID = 200  # characters of a licence or heading: what is longer is a text, and no name


class Block(NamedTuple):
    """A part of a document. headings: those that it stands under, its own included. page: of a PDF, from 1.

    kind: markup says nothing itself (comments, link definitions, rules); front_matter is about the document, and none of it.
    """

    start: int
    stop: int
    kind: BlockKind
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True)
class Content:
    """What a reader makes of a document. license, language: what the document says of itself."""

    text: str
    blocks: list[Block]
    license: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Document(Content):
    """A content and whose it is. name: the path in D/documents; of a record of a JSON file path:line. file: the path alone."""

    name: str = ""
    file: str = ""
    kind: Kind = "text"


def line_starts(text: str, start: int = 0) -> list[int]:
    """Where each line from `start` on begins, and where the last one ends."""
    starts = [start, *(found.end() for found in LINE_END.finditer(text, start))]
    return starts if starts[-1] == len(text) and len(starts) > 1 else [*starts, len(text)]


def said(value: Any) -> str | None:
    """What a field such as `license` says: a text, the texts of a list, or the name in a mapping."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("spdx", "spdx_id", "id", "name", "title", "url") if value.get(key)), None)
    if isinstance(value, list):
        value = ", ".join(filter(None, map(said, value)))
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if 0 < len(text) <= MOST_SAID else None


def language_code(value: Any) -> str | None:
    """The language of a tag: 'en' of 'en-GB' or 'EN_us'."""
    found = re.match(r"([a-z]{2,3})(?![a-z])", (said(value) or "").lower())
    return found[1] if found else None
