"""The recipe: what of it is not the default, and the file as it was.

deduped.threshold   0.85   (default 0.8)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sft_assets.masks import mask
from sft_assets.recipe import Recipe
from sft_assets.report.excerpts import clean, visible
from sft_assets.report.scope import Scope
from sft_assets.report.section import Section

MOST = 60_000  # characters of the file
VALUE = 200


def recipe(scope: Scope) -> Section:
    try:
        text = scope.folder.recipe.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    other = [
        asset
        for asset, version in scope.versions.items()
        if (made_with := version.report.get("recipe")) is not None
        and asset != "report"
        and made_with != scope.recipe.part(asset)
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
    """Keys, and passwords in addresses, do not go out with a report."""
    return re.sub(r"(://)[^/@\s]+@", r"\1<SECRET>@", mask(text, ["secret"])[0])
