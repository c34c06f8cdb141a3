"""Previews as one HTML file that opens from disk, runs nothing and asks nobody: for rows that are long, and to be sent.

page([Preview("9f3c...", "train", ...)], "embedded")  ->  "<!doctype html>...<mark>42&lt;|im_end|&gt;</mark>..."
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from sft_assets.exported.preview import Piece, Preview

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: 1rem; unicode-bidi: isolate; }
mark { background: #b7e4c7; }
s { opacity: .5; }
.warning { color: #8a4b00; }
"""


def page(some: Sequence[Preview], tokenizer: str) -> str:
    """The page. Trained tokens are marked, those beyond the longest sequence struck out."""
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    hows = "".join(f"<p>{escape(tokenizer)}: {escape(how)}</p>" for how in dict.fromkeys(one.how for one in some))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tokens that are trained</title>'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'\">"
        f"<style>{STYLE}</style><h1>Tokens that are trained</h1>{hows}{''.join(map(_section, some))}</html>\n"
    )


def _section(one: Preview) -> str:
    title = f"{one.row_id} {one.split}, {one.kind}{f', {one.answer}' if one.answer else ''}"
    numbers = (
        f"{one.count():,} tokens, {one.count(trained=True):,} trained, {one.count(cut=True):,} beyond the longest sequence"
    )
    warnings = "".join(f'<p class="warning">{escape(warning)}</p>' for warning in one.warnings)
    text = "".join(map(_run, one.pieces))
    return f"<h2>{escape(title)}</h2><p>{numbers}</p><pre>{text}</pre>{warnings}"


def _run(piece: Piece) -> str:
    text = escape("".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in piece.text))
    text = f"<mark>{text}</mark>" if piece.trained else text
    return f"<s>{text}</s>" if piece.cut else text
