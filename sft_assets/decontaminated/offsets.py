"""Where the tokens of a text stand in it.

    "Janet’s ducks"  ->  (0, 7) (8, 13)

`sft_assets.text.tokens` looks at a normal form, whose characters are not always the text's one for one ("İ" becomes two, an e
and its accent become one); evidence is shown as it was written.
"""

from __future__ import annotations

import regex

from sft_assets.text.plain import ASCII_TOKEN, TOKEN, folded

CHARACTER = regex.compile(r"\X")  # nothing composes across the borders of what people see as one character


def token_spans(text: str) -> list[tuple[int, int]]:
    """Start and stop, in characters of the text, of each of its `tokens`."""
    if text.isascii():
        return [m.span() for m in ASCII_TOKEN.finditer(text.lower())]
    spans = [m.span() for m in TOKEN.finditer(folded(text))]
    pieces = [(m.start(), m.end(), len(folded(m.group()))) for m in CHARACTER.finditer(text)]
    origin = [(start, stop) for start, stop, width in pieces for _ in range(width)]
    return [(origin[start][0], origin[stop - 1][1]) for start, stop in spans]
