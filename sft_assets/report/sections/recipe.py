"""The recipe: what of it is not the default, and the file as it was.

deduped.threshold   0.85   (default 0.8)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sft_assets.masks import mask
from sft_assets.recipe import Recipe, shown_url
from sft_assets.report.excerpts import clean, visible
from sft_assets.report.scope import Scope
from sft_assets.report.section import Section

MOST = 60_000  # characters of the file
VALUE = 200
USER = re.compile(r"(://)(?:[^\s\"']*:[^\s\"']*|[^/\s\"']+)@")  # a password may hold a slash that should have been escaped
QUERY = re.compile(r"(://[^\s\"'?#]*)[?#][^\s\"']*?(?=[,}\])]*(?:[\s\"']|$))")  # up to what closes it in YAML


def recipe(scope: Scope) -> Section:
    try:
        text = scope.folder.recipe.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    for source in scope.recipe.sources:
        text = text.replace(source.url, shown_url(source.url)) if source.url else text
    other = [
        asset
        for asset, version in scope.versions.items()
        if (made_with := version.report.get("recipe")) is not None
        and asset != "report"
        and made_with not in (scope.recipe.shown(asset), scope.recipe.part(asset))
    ]
    return Section(
        "recipe",
        "The recipe",
        {
            "changed": [(path, _said(value), _said(default)) for path, value, default in _changed(scope.recipe)],
            "sources": len(scope.recipe.sources),
            "text": "\n".join(visible(line) for line in _without_secrets(text)[:MOST].split("\n")),
            "cut": len(text) > MOST,
            "other": other,
        },
    )


def _changed(recipe: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """What is not the default: where it stands, what it says, and the default. Sources are in the file."""
    return _differences(
        recipe.model_dump(mode="json", exclude={"sources"}), Recipe().model_dump(mode="json", exclude={"sources"}), ""
    )


def _differences(value: Any, default: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(value, dict) and value and isinstance(default, dict | None):
        for key, one in value.items():
            yield from _differences(one, (default or {}).get(key), f"{path}.{key}" if path else str(key))
    elif value != default:
        yield path, value, default


def _said(value: Any) -> str:
    return "none" if value is None else clean(_without_secrets(str(value)), VALUE)


def _without_secrets(text: str) -> str:
    """Keys, and what an address says of who may read it (user, password, query), do not go out with a report."""
    return QUERY.sub(r"\1?…", USER.sub(r"\1<SECRET>@", mask(text, ["secret"])[0]))
