"""The parts of a text that are no prose: code and tables.

    Use `&lt;` there.      ->   Use         there.          without(text, ["code"])

A text keeps its length: every character that stays keeps its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

CODE = re.compile(
    r"""
      ^[ \t]*(`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*\1[`~]*[ \t\r]*$|\Z)    # a fence, closed or not
    | (?:^(?:[ ]{4}|\t)[^\n]*$\n?)+                                    # indented lines
    | `[^`\n]+`
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
TABLES = re.compile(r"^[ \t]*\|[^\n]*$", re.MULTILINE)
PARTS = {"code": CODE, "tables": TABLES}
INK = re.compile(r"[^\n]")


def without(text: str, parts: Sequence[str]) -> str:
    """The text with its code or tables blanked."""
    for part in parts:
        text = PARTS[part].sub(lambda found: INK.sub(" ", found[0]), text)
    return text


def outside_code(text: str) -> Iterator[tuple[int, int]]:
    """The spans of a text that are not code, in order."""
    end = 0
    for found in CODE.finditer(text):
        yield end, found.start()
        end = found.end()
    yield end, len(text)
