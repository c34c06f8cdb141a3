"""The points of the map as a Bokeh plot, which draws them on a canvas, moves them and selects among them.

    x [1.2, …], y [3.4, …], topic [0, …] (codes), "score ifd" [0.71, …]

No text of a row is in it. Which rows each mark shows, in which colours and how near, page.js says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.core.json_encoder import serialize_json
from bokeh.embed import json_item
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    IndexFilter,
    LassoSelectTool,
    PanTool,
    Range1d,
    WheelZoomTool,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.resources import Resources
from numpy.typing import NDArray

# how rows are marked, in the order in which they are drawn: what was dropped lies beneath
MARKS = {"dropped": "x", "kept": "circle", "review": "diamond"}
SHADES = Viridis256[16:236]  # of scores; the ends would vanish on a black or a white page
MOVING = 8000  # points that a canvas draws fast enough to follow the hand


def bokeh_script() -> str:
    """Bokeh itself: without its widgets, WebGL and mathematics."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def plot_json(xy: NDArray[np.float32], columns: Mapping[str, NDArray[Any]]) -> bytes:
    """The plot of rows at `xy` (rows, 2), for `Bokeh.embed.embed_item`. columns: codes and scores to colour them by."""
    rows = len(xy)
    source = ColumnDataSource({"x": xy[:, 0], "y": xy[:, 1], **columns})
    pan, wheel = PanTool(), WheelZoomTool()
    plot = figure(
        x_range=Range1d(start=-1, end=1),
        y_range=Range1d(start=-1, end=1),
        tools=[pan, wheel, LassoSelectTool(continuous=False), BoxSelectTool(continuous=False)],
        active_drag=pan,
        active_scroll=wheel,
        toolbar_location=None,
        sizing_mode="stretch_both",
        output_backend="canvas",  # WebGL is not everywhere
        # while the map is moved: one in so many points, that it may follow the hand
        lod_threshold=MOVING,
        lod_factor=max(1, round(rows / MOVING)),
        min_border=0,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    size, alpha = _size(rows), float(np.clip(1.5 * max(rows, 1) ** -0.08, 0.6, 0.9))
    styles: dict[str, dict[str, Any]] = {
        "dropped": {"size": size * 1.3, "line_alpha": alpha * 0.75},
        "kept": {"size": size, "fill_alpha": alpha, "line_color": None},
        "review": {"size": size * 1.6, "fill_alpha": alpha, "line_color": "#555555"},
    }
    for mark, shape in MARKS.items():
        # alphas of their own make selected and other points glyphs of their own, whose colours page.js can change
        styles[mark] |= {"selection_alpha": 1, "nonselection_alpha": 0.1}
        plot.scatter("x", "y", source=source, view=CDSView(filter=IndexFilter(indices=[])), marker=shape, **styles[mark])
    # Bokeh counts its ids on through the life of a process: equal data shall give equal files
    known: dict[str, str] = {}
    item = serialize_json(json_item(plot))
    return re.sub(r'"p\d+"', lambda found: known.setdefault(found[0], f'"m{len(known)}"'), item).encode()


def _size(rows: int) -> float:
    """The diameter of a point in pixels: 9 for a hundred, 6 for 2,000, 3 for 50,000."""
    return float(np.clip(23 * max(rows, 1) ** -0.18, 2.5, 9).round(1))
