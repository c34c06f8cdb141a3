"""The map: one HTML file that opens from disk, asks nobody for anything and runs nothing that is written in a row.

    row_id 9f3c…, x 1.2, y 3.4, topic "fractions and ratios", source "gsm8k", state "kept", excerpt "Tom has 3/4 of a pizza …"

Bokeh draws the points (plot.py); page.html, page.css and the scripts are the rest. No text of a row stands in the markup: all
of them are in one compressed block, out of which page.js takes them as text. The content security policy allows the two scripts
of the file, by their hashes, and nothing else: no eval (hence no CustomJS), no request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sft_assets.clustered.map.colours import NONE, Factor, Points, colours, floats, state_colours
from sft_assets.folder import write_whole

HERE = Path(__file__).parent
EXCERPT = 300  # characters
SCRIPTS = ("view.js", "table.js", "page.js")
FACTORS = ("topic", "group", "source", "state", "reason", "language")


def write_page(path: Path, points: pa.Table, title: str, scores: Sequence[str] = ()) -> None:
    """Write the map.

    points: row_id, x, y, topic, group, source, state ('kept', 'review', else the state that dropped the row), reason, language,
    excerpt, and a column of numbers `score NAME` for each of `scores` (NaN or null where there is none).
    """
    # Bokeh takes a second to load, and only this needs it
    from sft_assets.clustered.map import plot

    places = Points(points)
    factors = {name: Factor(points[name]) for name in FACTORS}
    medians = {name: factor.medians(places) for name, factor in factors.items()}
    # no score clashes with another column, whatever its name
    numbers = {f"score {name}": floats(points[f"score {name}"]) for name in scores}
    columns = {name: factor.codes for name, factor in factors.items()} | numbers
    facts = {
        "ids": points["row_id"].cast(pa.string()).to_pylist(),
        "excerpts": _excerpts(points["excerpt"]).to_pylist(),
        "factors": {
            name: {
                "names": factor.names,
                "counts": factor.counts,
                "colours": state_colours(factor.names) if name == "state" else colours(factor.names, medians[name]),
            }
            for name, factor in factors.items()
        },
        "places": medians["topic"].tolist(),
        "scores": {name: {"range": _span(values), "colours": plot.SHADES} for name, values in numbers.items()},
        "grey": NONE,
        "marks": list(plot.MARKS),
    }
    content = b'{"plot":%b,"facts":%b}' % (plot.plot_json(places.xy, columns), orjson.dumps(facts))
    write_whole(path, _html(title, plot.bokeh_script(), content).encode())


def _html(title: str, bokeh: str, content: bytes) -> str:
    """The page around `content`, which is JSON, and Bokeh's script."""
    page = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    policy = " ".join(f"'sha256-{_base64(hashlib.sha256(script.encode()).digest())}'" for script in (bokeh, page))
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        title=html.escape(title),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        content=_base64(gzip.compress(content, 6, mtime=0)),
        bokeh=bokeh,
        page=page,
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _excerpts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = column.cast(pa.string()).fill_null("")
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(column, 0, EXCERPT - 1), "…", "")
    return pc.if_else(pc.greater(pc.utf8_length(column), EXCERPT), cut, column)


def _span(numbers: NDArray[np.float32]) -> list[float]:
    """Between which numbers the colours change: a few outliers must not make all others look the same."""
    known = numbers[np.isfinite(numbers)]
    low, high = map(float, np.quantile(known, [0.02, 0.98])) if len(known) else (0.0, 0.0)
    return [low, high if high > low else low + 1]
