"""The map as a picture for the asset's metadata: rows that stay in the colours of their topics, dropped ones in grey.

    960 x 640 pixels, 31 kB: 40 topics, the names of the largest that fit, "17,718 kept, 391 review, 1,891 dropped (grey)"

The same points give the same bytes. A colour is that of the same topic on the page.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sft_assets.clustered.map.colours import NONE, Factor, Points, colours

WIDTHS = (960, 840, 720, 620, 520, 420, 320, 240, 160)
LABELS = 14
DROPPED, INK, PAPER = "#d5d9dd", "#1c2126", "#ffffff"
SHADES = 48  # of the picture: its colours, and those between them and the paper


def picture(points: pa.Table, most: int = 36_000) -> bytes:
    """A PNG of `points` (as for the page), as large as it can be in `most` bytes.

    Raises:
        ValueError: not even the smallest fits.
    """
    places, topics = Points(points), Factor(points["topic"])
    medians = topics.medians(places)
    shades = np.array(colours(topics.names, medians) or [NONE])
    states = points["state"].to_pylist()
    counts = {name: states.count(name) for name in ("kept", "review")}
    caption = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n or name == "kept")
    if dropped := len(states) - sum(counts.values()):
        caption += f", {dropped:,} dropped (grey)"
    for width in WIDTHS:
        png = _png(_drawn(width, places, shades[topics.codes], topics.names, medians, caption))
        if len(png) <= most:
            return png
    raise ValueError(f"the smallest picture of {len(points):,} points has {len(png):,} bytes, more than {most:,}")


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.quantize(SHADES, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _drawn(
    width: int, places: Points, shades: NDArray[np.str_], names: list[str], medians: NDArray[np.float32], caption: str
) -> Image.Image:
    height = width * 2 // 3
    xy, centres = _pixels(places.xy, width, height, places.xy), _pixels(medians, width, height, places.xy)
    # drawn at twice the size and scaled down, which makes round points of squares with corners
    large = Image.new("RGB", (2 * width, 2 * height), PAPER)
    draw = ImageDraw.Draw(large)
    radius = max(width / 960 * 12 * max(len(xy), 1) ** -0.16, 1.2)
    for stays in (False, True):
        for (x, y), shade in zip(2 * xy[places.stays == stays], shades[places.stays == stays], strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=str(shade) if stays else DROPPED)
    image = large.resize((width, height), Image.Resampling.BOX)
    draw = ImageDraw.Draw(image)
    size = max(width / 56, 9)
    _write(draw, caption, (8, height - 1.6 * size), size * 0.85)
    _label(draw, names, centres, size, (width, height - 2 * size))
    return image


def _pixels(xy: NDArray[np.float32], width: int, height: int, of: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coordinates as pixels, such that all of `of` fill the picture; one unit is as long up as it is across."""
    if not len(of):
        return xy
    low, high = of.min(axis=0), of.max(axis=0)
    scale = float(min(np.array([width, height]) * 0.9 / np.maximum(high - low, 1e-3)))
    centred = (xy - (low + high) / 2) * np.array([scale, -scale], np.float32)
    return np.asarray(centred + np.array([width, height]) / 2, np.float32)


def _label(
    draw: ImageDraw.ImageDraw, names: list[str], centres: NDArray[np.float32], size: float, room: tuple[float, float]
) -> None:
    """Write the names of the largest topics where nothing is written yet."""
    taken: list[tuple[float, float, float, float]] = []
    for rank, (name, (x, y)) in enumerate(zip(names, centres, strict=True)):
        if not name or len(taken) == LABELS:
            continue
        text = _short(name if _drawable(name) else f"topic {rank + 1}")
        half, tall = draw.textlength(text, _font(size)) / 2 + 3, size * 0.65
        x, y = float(np.clip(x, half, max(room[0] - half, half))), float(np.clip(y, tall, max(room[1] - tall, tall)))
        box = (x - half, y - tall, x + half, y + tall)
        if all(box[0] > t[2] or box[2] < t[0] or box[1] > t[3] or box[3] < t[1] for t in taken):
            taken.append(box)
            _write(draw, text, (x, y), size, "mm")


def _write(draw: ImageDraw.ImageDraw, text: str, at: tuple[float, float], size: float, anchor: str = "la") -> None:
    draw.text(at, text, INK, _font(size), anchor, stroke_width=max(round(size / 7), 1), stroke_fill=PAPER)


def _short(name: str, most: int = 36) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own font: the same on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@cache
def _drawable(name: str) -> bool:
    """Whether the font has every character of a name; it is Latin, and draws a box for what it does not know."""
    box = bytes(_font(20).getmask("\uffff"))
    return all(c.isspace() or bytes(_font(20).getmask(c)) != box for c in name)
