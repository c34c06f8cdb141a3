"""The page: one HTML file that opens from disk, asks nobody for anything, and runs nothing at all.

Everything is escaped by Jinja; there is no script, and the content security policy allows none: only the page's own style
sheet, by its hash, and the picture of the map, which is in the file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sft_assets.report.excerpts import clean, visible
from sft_assets.report.section import Section

HERE = Path(__file__).parent


def page(title: str, lead: Section, sections: Sequence[Section]) -> bytes:
    """The report as HTML. lead: what stands above all others."""
    css = (HERE / "page.css").read_text("utf-8")
    environment = _environment()
    shown = [(section, _rendered(environment, section)) for section in sections]
    text = environment.get_template("page.html").render(
        title=title,
        css=Markup(css),
        style=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        lead=_rendered(environment, lead),
        sections=[(section, html) for section, html in shown if html.strip()],
    )
    return text.encode()


def _rendered(environment: Environment, section: Section) -> Markup:
    return Markup(environment.get_template(f"sections/{section.name}.html").render(**section.values))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"n": number, "pct": percent, "clean": clean, "visible": visible, "words": words, "plural": plural}
    return environment


def number(value: Any) -> str:
    """1234567 -> 1,234,567; 0.123456 -> 0.1235; None -> –"""
    if value is None:
        return "–"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def words(name: str) -> str:
    """near_duplicate -> near duplicate"""
    return visible(str(name)).replace("_", " ")


def plural(count: int, word: str) -> str:
    """3, row -> 3 rows"""
    return f"{count:,} {word}" + ("" if count == 1 else "s")
