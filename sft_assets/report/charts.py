"""Charts as inline SVG: no script, no style of their own, colours by the classes of page.css.

    <svg class="bar" viewBox="0 0 1000 20" preserveAspectRatio="none"><rect class="s0" x="0" width="412" ...><title>...</title>

Bars and ribbons are as wide as the page and hold no text, which stands beside them as HTML: so they can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDE = 1000.0
SERIES = 10  # colours; what comes after them shares one
MOST_TICKS = 12  # numbers beneath a histogram


class Piece(NamedTuple):
    """A part of a bar: how much, in which colour, and what it is."""

    value: float
    colour: str
    says: str


def colour(place: int) -> str:
    """The class of a series by its place; -1 is for all others together."""
    return f"s{place}" if 0 <= place < SERIES else "rest"


def tag(name: str, *inner: object, **attributes: object) -> Markup:
    """An element. Names of attributes: class_ is class, stroke_width is stroke-width; viewBox is as it stands."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"' for key, value in attributes.items())
    return Markup("<{}{}>{}</{}>").format(Markup(name), Markup(said), Markup("").join(map(escape, inner)), Markup(name))


def _number(value: object) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _box(height: int, kind: str, *inner: Markup) -> Markup:
    return tag("svg", *inner, class_=kind, viewBox=f"0 0 {WIDE:g} {height}", preserveAspectRatio="none", aria_hidden="true")


def bar(pieces: Sequence[Piece], most: float, height: int = 20) -> Markup:
    """Pieces beside one another; `most` is as wide as the page."""
    at, rects = 0.0, []
    for piece in pieces:
        width = WIDE * piece.value / most if most else 0.0
        if width > 0:
            rects.append(
                tag("rect", tag("title", piece.says), class_=piece.colour, x=at, y=0, width=max(width, 1.0), height=height)
            )
        at += width
    return _box(height, "bar", *rects)


def interval(value: float, low: float, high: float, says: str, height: int = 20) -> Markup:
    """A share with its interval, on a line from 0 to 1."""
    spread = tag("rect", tag("title", says), class_="s0 ribbon", x=WIDE * low, y=0, width=WIDE * (high - low), height=height)
    at = min(max(WIDE * value - 3, 0.0), WIDE - 6)
    return _box(height, "bar", spread, tag("rect", tag("title", says), class_="s0", x=at, y=0, width=6, height=height))


class Flow(NamedTuple):
    """A ribbon from a place of the bar above to one of the bar below: both begin there and are as wide."""

    above: float
    below: float
    value: float
    colour: str
    says: str


def ribbons(flows: Sequence[Flow], most: float, height: int = 34) -> Markup:
    """What goes from each part of a bar to which part of the next."""
    scale = WIDE / most if most else 0.0
    paths = []
    for flow in flows:
        a, b, w = scale * flow.above, scale * flow.below, scale * flow.value
        if w <= 0:
            continue
        half = height / 2
        curve = (
            f"M{a:.1f} 0C{a:.1f} {half:g} {b:.1f} {half:g} {b:.1f} {height}H{b + w:.1f}"
            f"C{b + w:.1f} {half:g} {a + w:.1f} {half:g} {a + w:.1f} 0Z"
        )
        paths.append(tag("path", tag("title", flow.says), class_=f"{flow.colour} ribbon", d=curve))
    return _box(height, "ribbons", *paths)


def histogram(
    counts: Sequence[int], low: float, high: float, marks: Mapping[str, float], label: str, whole: bool = False
) -> Markup:
    """Bars of how many values lie where between `low` and `high`; `marks`: thresholds, by what they do. whole: each bar is one
    whole number, and says which."""
    width, height, base, top = 340.0, 130.0, 108.0, 22.0
    most, step = max(counts, default=0) or 1, (width - 2) / max(len(counts), 1)
    span = high - low or 1.0
    shapes = []
    for i, n in enumerate(counts):
        if n:
            tall = max((base - top) * n / most, 1.0)
            title = tag("title", f"{low + span * i / len(counts):.4g} to {low + span * (i + 1) / len(counts):.4g}: {n:,}")
            shapes.append(tag("rect", title, class_="s0", x=1 + i * step, y=base - tall, width=max(step - 1, 1.0), height=tall))
    shapes.append(tag("line", class_="axis", x1=0, x2=width, y1=base, y2=base))
    ticks = [(low, 1.0, "start"), ((low + high) / 2, width / 2, "middle"), (high, width - 1, "end")]
    if whole and len(counts) <= MOST_TICKS:
        ticks = [(low + i + 0.5, 1 + (i + 0.5) * step, "middle") for i in range(len(counts))]
    shapes += [tag("text", f"{value:.3g}", x=x, y=base + 15, text_anchor=anchor) for value, x, anchor in ticks]
    rooms: list[float] = []
    for says, value in sorted(marks.items(), key=lambda mark: mark[1]):
        x = 1 + (width - 2) * min(max((value - low) / span, 0.0), 1.0)
        line = sum(abs(x - other) < 110 for other in rooms)
        rooms.append(x)
        anchor = "start" if x < width / 2 else "end"
        shapes.append(tag("line", class_="mark", x1=x, x2=x, y1=4 + 11 * line, y2=base))
        shapes.append(tag("text", says, class_="marked", x=x + (4 if anchor == "start" else -4), y=12 + 11 * line,
                          text_anchor=anchor))  # fmt: skip
    return tag("svg", *shapes, class_="histogram", viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


class Node(NamedTuple):
    """An asset of the lineage picture. state: one of the column of states, else evidence."""

    name: str
    rows: str
    state: bool


def lineage(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> Markup:
    """Assets from top to bottom, evidence to the left of the states, with what each was made from.

    nodes: in an order in which each comes after what it was made from.
    """
    width, row, tall = 430.0, 31.0, 24.0
    left = {False: 40.0, True: 245.0}
    wide = {False: 186.0, True: 150.0}
    y = {node.name: 6 + row * i for i, node in enumerate(nodes)}
    kind = {node.name: node.state for node in nodes}
    shapes: list[Markup] = []
    for above, below in edges:
        a, b = y[above] + tall / 2, y[below] + tall / 2
        if kind[above] and kind[below]:  # down the column of states, or past some of them on the right
            x = left[True] + wide[True] / 2 if _next(nodes, above, below) else left[True] + wide[True]
            bend = 0.0 if _next(nodes, above, below) else min(30.0, (b - a) / 14)
            start, end = (y[above] + tall, y[below]) if not bend else (a, b)
            shapes.append(_curve(x, start, x, end, bend))
        elif kind[above]:
            shapes.append(_curve(left[True], a, left[False] + wide[False], b, 0.0))
        elif kind[below]:
            shapes.append(_curve(left[False] + wide[False], a, left[True], b, 0.0))
        else:
            shapes.append(_curve(left[False], a, left[False], b, -min(36.0, 6 + (b - a) / 9)))
    for node in nodes:
        x, w = left[node.state], wide[node.state]
        at = y[node.name]
        shapes += [
            tag("rect", class_="state" if node.state else "evidence", x=x, y=at, width=w, height=tall, rx=5),
            tag("text", node.name, x=x + 8, y=at + 16),
            tag("text", node.rows, class_="count", x=x + w - 8, y=at + 16, text_anchor="end"),
        ]
    height = row * len(nodes) + 8
    return tag("svg", *shapes, class_="lineage", viewBox=f"0 0 {width:g} {height:g}", role="img",
               aria_label="What each asset was made from, with its rows")  # fmt: skip


def _next(nodes: Sequence[Node], above: str, below: str) -> bool:
    states = [node.name for node in nodes if node.state]
    return states.index(below) == states.index(above) + 1


def _curve(x1: float, y1: float, x2: float, y2: float, bend: float) -> Markup:
    """A line; with a bend out to that side of both ends."""
    if bend:
        d = f"M{x1:.0f} {y1:.1f}C{x1 + 1.4 * bend:.1f} {y1:.1f} {x2 + 1.4 * bend:.1f} {y2:.1f} {x2:.0f} {y2:.1f}"
    else:
        half = (x1 + x2) / 2
        d = f"M{x1:.0f} {y1:.1f}C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {x2:.0f} {y2:.1f}"
    return tag("path", class_="edge", d=d)
