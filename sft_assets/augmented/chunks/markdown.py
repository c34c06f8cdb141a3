"""Markdown, by markdown-it-py: its headings, and the paragraphs, code and tables under them.

    "---\\nlicense: MIT\\n---\\n# Setup {#setup}\\n\\n```sh\\npip install it\\n```\\n"

    ->  Block(0, 21, "front_matter")   Block(21, 38, "heading", ("Setup",))   Block(39, 64, "code", ("Setup",))    license MIT

Only blocks are parsed: spans count in the file as it stands, so nothing within a paragraph is of interest here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sft_assets.augmented.chunks.document import MOST_SAID, Block, BlockKind, Content, language_code, line_starts, said

LEAVES: dict[str, BlockKind] = {
    "paragraph_open": "prose",
    "heading_open": "prose",  # one within a list or quote is no heading of the document
    "html_block": "prose",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
    "hr": "markup",
}
FRONT = re.compile(r"(---|\+\+\+)[ \t]*(?:\r\n?|\n)(.*?)^(?:\1|\.\.\.)[ \t]*(?:\r\n?|\n|\Z)", re.MULTILINE | re.DOTALL)
ATTRIBUTES = re.compile(r"\s*\{[ ]*:?[#.][^{}]*\}\s*$")  # {#id .class} of a heading, as many site generators read it
TAGS = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
MOST_MARKUP = 4000  # characters: what is longer is not held to have no text (the pattern's cost grows with their square)
MODULE_LINE = re.compile(r"(?:import|export) ")


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def read(text: str, headings: tuple[str, ...] = (), mdx: bool = False) -> Content:
    """The blocks of a text, all under `headings`. mdx: its import and export lines are markup."""
    body, about = _front_matter(text)
    starts = line_starts(text, body)
    blocks = [Block(0, body, "front_matter")] if body else []
    above: list[tuple[int, str]] = []  # level and title of the headings that are open
    line = 0

    def add(first: int, last: int, kind: BlockKind) -> None:
        start, stop = starts[first], starts[last]
        if text[start:stop].strip():
            blocks.append(Block(start, stop, kind, (*headings, *(title for _, title in above))))

    for token, inner in _leaves(_parser().parse(text[body:])):
        first, last = token.map or (line, line)
        first, last = max(first, line), min(last, len(starts) - 1)
        add(line, first, "markup")  # what gives no token: link definitions, empty items
        kind = LEAVES[token.type]
        title = _title(inner) if token.type == "heading_open" and token.level == 0 else None
        if title is not None:
            level = int(token.tag[1])
            above = [*((at, name) for at, name in above if at < level), (level, title)]
            kind = "heading"
        elif token.type == "html_block" or (mdx and kind == "prose"):
            kind = "markup" if _says_nothing(text[starts[first] : starts[last]], mdx) else "prose"
        add(first, last, kind)
        line = max(last, line)
    add(line, len(starts) - 1, "markup")
    return Content(text, blocks, said(about.get("license") or about.get("licence")), language_code(_language(about)))


def _leaves(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """The tokens that hold text or code, with the text of the heading or paragraph."""
    inside_table = False
    for token, following in zip_longest(tokens, tokens[1:]):
        if token.type in ("table_open", "table_close"):
            inside_table = token.type == "table_open"
            if inside_table:
                yield token, ""
        elif token.type in LEAVES and not inside_table:
            yield token, following.content if following is not None and following.type == "inline" else ""


def _title(source: str) -> str | None:
    """What a heading says, without its marks; None where it is too long to be one, or says nothing."""
    if len(source) > 2 * MOST_SAID:
        return None
    source = ATTRIBUTES.sub("", source)
    tokens: list[Token] = []
    parser = _parser()
    parser.inline.parse(source, parser, {}, tokens)
    shown = "".join(" " if t.type.endswith("break") else t.content for t in tokens if t.type != "html_inline")
    title = " ".join((shown or source).split())
    return title if 0 < len(title) <= MOST_SAID else None


def _says_nothing(block: str, mdx: bool) -> bool:
    if len(block) > MOST_MARKUP:
        return False
    return not TAGS.sub("", block).strip() or (mdx and all(map(MODULE_LINE.match, block.splitlines())))


def _front_matter(text: str) -> tuple[int, dict[str, Any]]:
    """Where the document begins, and what its front matter says of it. Text between two rules is no front matter."""
    found = FRONT.match(text)
    if found is None:
        return 0, {}
    try:
        value: Any = tomllib.loads(found[2].replace("\r\n", "\n")) if found[1] == "+++" else yaml.safe_load(found[2])
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, RecursionError):
        value = {} if re.match(r"\s*[\w-]+[ \t]*[:=]", found[2]) else None  # meant so, and of no use
    if value is None and not found[2].strip():
        value = {}
    return (found.end(), value) if isinstance(value, dict) else (0, {})


def _language(about: dict[str, Any]) -> Any:
    return about.get("language") or about.get("lang") or about.get("locale")
