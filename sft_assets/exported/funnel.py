"""The funnel as a picture for the asset's metadata: what each state kept of what came in, and what the rest went for.

raw             ████████████████████  1,204
deduped         ██████████████        871     exact_duplicate 201, near_duplicate 132

The same reports give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, ROW, PAD = 960, 34, 16
LABEL, BAR = 150, 330  # pixels for the name, and for the longest bar
PAPER, INK, FAINT, KEPT, GONE, ADDED = "#ffffff", "#1c2126", "#66707a", "#2f7d5b", "#dfe3e6", "#8fc7ad"
SIZE = 15


def funnel(reports: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG of the reports of the states, first to last: a dark bar for what was kept, a pale one for what came in."""
    most = max((report["in"] + report.get("created", 0) for report in reports.values()), default=0) or 1
    image = Image.new("RGB", (WIDTH, 2 * PAD + ROW * max(len(reports), 1)), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(SIZE)
    for number, (state, report) in enumerate(reports.items()):
        top, kept = PAD + ROW * number, report["kept"]
        came = report["in"] + report.get("created", 0)
        draw.text((PAD, top + 4), state, INK, font)
        for rows, colour in ((came, GONE), (kept, KEPT), (min(report.get("created", 0), kept), ADDED)):
            if rows:
                draw.rectangle((LABEL, top + 3, LABEL + max(2, BAR * rows // most), top + ROW - 9), colour)
        beside = LABEL + BAR * came // most + 10
        draw.text((beside, top + 4), f"{kept:,}", INK, font)
        gone = {**report.get("quarantined", {}), **report.get("dropped", {})}
        text = ", ".join(f"{reason} {n:,}" for reason, n in sorted(gone.items(), key=lambda entry: (-entry[1], entry[0])))
        start = beside + draw.textlength(f"{kept:,}", font) + 14
        draw.text((start, top + 4), _fitted(draw, text, font, WIDTH - PAD - start), FAINT, font)
    out = io.BytesIO()
    image.quantize(32, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Any, pixels: float) -> str:
    """As much of a text as there is room for."""
    if draw.textlength(text, font) <= pixels:
        return text
    while text and draw.textlength(f"{text}…", font) > pixels:
        text = text[:-1]
    return f"{text}…" if text else ""
