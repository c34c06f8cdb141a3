"""Texts of rows as the report shows them: short, in one line, with nothing in them that hides or turns round what stands there.

    Excerpt("9f3c6a10", "questions", [("user", "What is the capital of France?"), ("assistant", "Paris.")])

    apart("... the capital of France?", "... the capital of Italy?")
    -> [("... the capital of ", False), ("France", True), ("?", False)], [... ("Italy", True), ("?", False)]

Only masked texts are read, out of the content store; what `raw` holds is never shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple
from uuid import UUID

import orjson
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.report.scope import Scope

CHARS = 300  # of one example
LEAD = 80  # characters before the first difference, or before a match
READ = 20_000  # characters of a text that are compared
JOINERS = "\u200c\u200d"  # invisible, and part of the spelling of Persian and of emoji
Marked = list[tuple[str, bool]]  # pieces of a text, and whether each is marked


class Excerpt(NamedTuple):
    """The beginning of a row. turns: (role, text)"""

    row: str
    source: str
    turns: Sequence[tuple[str, str]]


def clean(text: object, most: int = CHARS) -> str:
    """A text in one line, what is not printable as its code, with an ellipsis where it is cut off."""
    line = " ".join(str(text).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return visible(line)


def visible(text: str) -> str:
    """Control and direction characters as their codes, so that they do nothing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in JOINERS else f"\\u{ord(c):04x}" for c in text)


def excerpts(scope: Scope, row_ids: Iterable[UUID]) -> dict[UUID, Excerpt]:
    """The beginnings of rows, of prompt and answer; rows of which there is no text are left out."""
    wanted = list(dict.fromkeys(row_ids))
    if not wanted or not scope.examples:
        return {}
    with scope.given("wanted", _ids(wanted)):
        found = scope.rows(f"""
            WITH chosen AS (
                SELECT row_id, source, content_hash, NULL::JSON AS draft
                FROM {scope.table("combined")} SEMI JOIN wanted USING (row_id)
                UNION ALL
                SELECT row_id, source, content_hash, draft FROM {scope.made} SEMI JOIN wanted USING (row_id)
            )
            SELECT row_id, source, draft,
                left(list_filter(messages, lambda m: m.role = 'user')[1].content, {2 * CHARS}),
                left(list_filter(messages, lambda m: m.role = 'assistant')[-1].content, {2 * CHARS}),
                left(list_filter(rejected, lambda m: m.role = 'assistant')[-1].content, {2 * CHARS})
            FROM chosen LEFT JOIN store.contents USING (content_hash)
        """)
    result = {}
    for row_id, source, draft, *texts in found:
        named = list(zip(("user", "assistant", "rejected"), texts, strict=True))
        if draft and not any(texts):
            named = [(str(role), str(text)) for role, text in orjson.loads(draft)][:2]
        said = [(role, text) for role, text in named if text]
        turns = [(role, clean(text, CHARS // len(said))) for role, text in said]
        result[row_id] = Excerpt(short(row_id), source, turns)
    return result


def whole_texts(scope: Scope, row_ids: Collection[UUID]) -> dict[UUID, str]:
    """All that is said in rows, up to 20,000 characters, in one line; nothing where no text is to be shown."""
    if not row_ids or not scope.examples:
        return {}
    said = "array_to_string(list_transform(messages || coalesce(rejected, []), lambda m: left(m.content, {})), ' | ')"
    with scope.given("wanted", _ids(row_ids)):
        found = scope.rows(f"""
            SELECT row_id, left({said.format(READ)}, {READ})
            FROM (
                SELECT row_id, content_hash FROM {scope.table("combined")}
                UNION ALL SELECT row_id, content_hash FROM {scope.made}
            )
            SEMI JOIN wanted USING (row_id) JOIN store.contents USING (content_hash)
        """)
    return {row_id: visible(" ".join(text.split())) for row_id, text in found}


def _ids(row_ids: Iterable[UUID]) -> pa.Table:
    return pa.table({"row_id": uuids([row_id.bytes for row_id in row_ids])})


def short(row_id: object) -> str:
    """What people call a row: the first eight characters of its id."""
    return str(row_id)[:8]


def apart(a: str, b: str) -> tuple[Marked, Marked]:
    """Two texts from a little before the place where they begin to differ, with their differences marked."""
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(0, place - LEAD)
    # what lies behind the part that is shown is compared too: else the ends of the parts would differ
    left, right = (_words(text[start : start + 2 * CHARS]) for text in (a, b))
    sides: tuple[Marked, Marked] = ([], [])
    for kind, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, piece in zip(sides, ("".join(left[i:j]), "".join(right[k:m])), strict=True):
            if piece:
                side.append((piece, kind != "equal"))
    ours, theirs = (_cut(side, len(text) - start) for side, text in zip(sides, (a, b), strict=True))
    lead: Marked = [("…", False)] if start else []
    return lead + ours, lead + theirs


def _cut(pieces: Marked, of: int) -> Marked:
    """The first 300 characters of a marked text of `of` characters."""
    left = CHARS
    result: Marked = []
    for text, marked in pieces:
        if shown := text[:left]:
            result.append((shown, marked))
        left -= len(shown)
    return result + ([("…", False)] if of > CHARS else [])


def _words(text: str) -> list[str]:
    """Words, blanks and single signs: what is compared."""
    return re.findall(r"\w+|\s+|[^\w\s]", text)


def around(text: str, spans: Sequence[Sequence[int]], offset: int = 0) -> Marked:
    """A text from a little before the first span on, with the spans marked. offset: where in the whole the text begins."""
    if not spans:
        return [(clean(text), False)]
    start = max(0, spans[0][0] - offset - LEAD)
    pieces: Marked = [("…", False)] if start + offset else []
    at, end = start, min(len(text), start + CHARS)
    for first, last in ((a - offset, b - offset) for a, b in spans):
        first, last = max(at, first), min(end, last)
        if first < last:
            pieces += [(text[at:first], False), (text[first:last], True)]
            at = last
    pieces += [(text[at:end], False), ("…" if end < len(text) else "", False)]
    return [(visible(re.sub(r"\s+", " ", piece)), marked) for piece, marked in pieces if piece]
