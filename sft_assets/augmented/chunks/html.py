"""HTML, by selectolax (Lexbor): the main content as text, without scripts, menus and footers.

<html lang="en"><nav>Home</nav><main><h1>Setup</h1><p>Install <b>it</b> with pip.</p></main></html>

->  "Setup\\n\\nInstall it with pip.\\n"    language en
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from sft_assets.augmented.chunks.document import MOST_SAID, Block, BlockKind, Content, language_code, said
from sft_assets.raw.containers import Refused

HEADINGS = {f"h{level}": level for level in range(1, 7)}
NO_CONTENT = {
    "script", "style", "nav", "footer", "noscript", "template", "button", "select", "textarea", "datalist", "svg", "iframe",
    "object", "canvas", "audio", "video", "head", "dialog",
}  # fmt: skip
NO_ROLE = {"navigation", "contentinfo", "banner", "search", "complementary", "menu", "menubar", "dialog"}
BLOCKS = {
    "address", "article", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "header", "hgroup", "hr", "li", "main", "ol", "p", "section", "summary", "ul", *HEADINGS,
}  # fmt: skip
SPACE, SPACES = re.compile(r"[ \t\r\n\f]+"), re.compile(r" {2,}")
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
DEEPEST = 2000  # elements within each other: the parser's time grows with the square
NOT_NESTED = {
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p", "param",
    "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr",
}  # fmt: skip


def read(markup: str) -> Content:
    """What a page says to a reader.

    Raises:
        Refused: its elements are nested too deep.
    """
    if (depth := _depth(markup)) > DEEPEST:
        raise Refused("too_deep", f"has {depth:,} elements within each other, of which {DEEPEST:,} are read; save its text")
    page = LexborHTMLParser(markup)
    root = _main(page)
    writer = _Writer()
    if root is not None:
        writer.write(root)
    text = "".join(writer.pieces)
    html = page.css_first("html")
    language = language_code((html.attributes.get("lang") or html.attributes.get("xml:lang")) if html is not None else None)
    return Content(text, writer.blocks, _license(page), language)


def _depth(markup: str) -> int:
    depth = deepest = 0
    for closing, name in TAG.findall(markup):
        if name.lower() not in NOT_NESTED:
            depth = max(0, depth - 1) if closing else depth + 1
            deepest = max(depth, deepest)
    return deepest


def _main(page: LexborHTMLParser) -> LexborNode | None:
    """The element with the content: the page's <main>, its only <article>, or all of its body."""
    for selector in ("main", "[role=main]", "article"):
        found = page.css(selector)
        if len(found) == 1 and found[0].text(deep=True, strip=True):
            return found[0]
    return page.body


def _license(page: LexborHTMLParser) -> str | None:
    link = page.css_first('link[rel~="license"], a[rel~="license"]')
    if link is not None and (value := said(link.attributes.get("href"))):
        return value
    meta = page.css_first('meta[name="license" i], meta[name="dcterms.license" i], meta[name="dc.rights" i]')
    return said(meta.attributes.get("content")) if meta is not None else None


class _Writer:
    """Turns a tree into text, and notes the blocks."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.blocks: list[Block] = []
        self.length = 0
        self.line: list[str] = []  # of the block that is open
        self.above: list[tuple[int, str]] = []
        self.tables = self.verbatim = 0  # how many are open
        self.rows: list[str] = []
        self.marker = ""

    def write(self, root: LexborNode) -> None:
        for node, enters in _walk(root):
            if node.is_text_node:
                self.line.append(node.text_content or "" if self.verbatim else SPACE.sub(" ", node.text_content or ""))
            elif enters:
                self.enter(node.tag or "")
            else:
                self.leave(node.tag or "")
        self.flush("prose")

    def enter(self, tag: str) -> None:
        if tag == "br":
            self.line.append("\n" if not self.tables else " ")
        elif tag == "table":
            if not self.tables:
                self.flush("prose")
            self.tables += 1
        elif tag in ("td", "th") and self.tables:
            self.line.append(" | " if "".join(self.line).strip() else "")
        elif self.tables:
            self.line.append(" " if tag in BLOCKS or tag == "pre" else "")
        elif tag == "pre":
            self.flush("prose")
            self.verbatim += 1
        elif tag in BLOCKS and not self.verbatim:
            self.flush("prose")
            self.marker = "- " if tag == "li" else self.marker

    def leave(self, tag: str) -> None:
        if tag == "table":
            self.tables -= 1
            if not self.tables:
                self.end_row()
                self.add("\n".join(self.rows), "table")
                self.rows = []
        elif self.tables:
            if tag in ("tr", "caption"):
                self.end_row()
            elif tag in BLOCKS:
                self.line.append(" ")
        elif tag == "pre":
            self.verbatim = max(0, self.verbatim - 1)
            if not self.verbatim:
                self.flush("code")
        elif tag in HEADINGS and not self.verbatim:
            self.flush("heading", HEADINGS[tag])
        elif tag in BLOCKS and not self.verbatim:
            self.flush("prose")
            if tag == "li":
                self.marker = ""

    def end_row(self) -> None:
        if row := " ".join("".join(self.line).split()):
            self.rows.append(row)
        self.line = []

    def flush(self, kind: BlockKind, level: int = 0) -> None:
        """End the block that is open."""
        text, self.line = "".join(self.line), []
        if kind == "code":
            self.add(text.strip("\r\n").rstrip(), kind)
            return
        text = "\n".join(SPACES.sub(" ", line).strip(" ") for line in text.split("\n")).strip()
        if kind == "heading" and 0 < len(text) <= MOST_SAID:
            title = " ".join(text.split())
            self.above = [*((at, name) for at, name in self.above if at < level), (level, title)]
            self.add(text, "heading")
        else:
            marker, self.marker = (self.marker, "") if text else ("", self.marker)
            self.add(text and marker + text, "prose")

    def add(self, text: str, kind: BlockKind) -> None:
        if not text.strip():
            return
        if self.pieces:
            close = text.startswith("- ") and self.pieces[-1].startswith("- ")
            self.put("\n" if close else "\n\n")
        start = self.length
        self.put(text)
        self.blocks.append(Block(start, self.length, kind, tuple(title for _, title in self.above)))

    def put(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every node that a reader sees, entered and left, in order; a loop, as no stack is deep enough for every page."""
    node, open_ = root, list[LexborNode]()
    while True:
        if node.is_text_node:
            yield node, True
        elif node.is_element_node and (node is root or not _is_hidden(node)):
            yield node, True
            if node.child is not None:
                open_.append(node)
                node = node.child
                continue
            yield node, False
        while open_ and node.next is None:
            node = open_.pop()
            yield node, False
        if not open_ or node.next is None:
            return
        node = node.next


def _is_hidden(node: LexborNode) -> bool:
    if node.tag in NO_CONTENT:
        return True
    attributes = node.attributes
    return "hidden" in attributes or attributes.get("aria-hidden") == "true" or attributes.get("role") in NO_ROLE
