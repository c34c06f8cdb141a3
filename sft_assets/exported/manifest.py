"""MANIFEST.json, the last file of an export: what is in it and what it was made from.

{"created": "2026-01-02T03:04:05Z", "rows": {"sft": {"train": 95, "test": 5}},
 "files": {"data/train-00000-of-00001.parquet": {"sha256": "9f...", "bytes": 81920, "rows": 95}, ...},
 "states": {"scored": {"version": 3, "data_version": "51ab..."}, ...}, "recipe": {...}, "sft_assets": "0.1.0"}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sft_assets import __version__
from sft_assets.exported.folder import MANIFEST
from sft_assets.files import sync

if TYPE_CHECKING:
    from sft_assets.recipe import Recipe
    from sft_assets.warehouse import Version

NAME = MANIFEST


def write_manifest(
    folder: Path,
    data: Mapping[str, int],
    others: Iterable[str],
    facts: Mapping[str, Any],
    versions: Iterable[Version],
    recipe: Recipe,
) -> str:
    """Write the manifest and give a short hash over the data files' content (the card and the like are not data).

    data: path -> rows of each data file; others: paths of the other files; facts: what else is to stand in the manifest.
    """
    files = {path: {**_bytes(folder / path), "rows": data.get(path)} for path in [*sorted(data), *sorted(others)]}
    content = "".join(f"{path} {files[path]['sha256']}\n" for path in sorted(data))
    manifest = {
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "sft_assets": __version__,
        "content": hashlib.sha256(content.encode()).hexdigest(),
        **facts,
        "files": files,
        "states": {v.asset: {"version": v.number, "data_version": v.data_version} for v in versions},
        "recipe": recipe.shown(),
    }
    path = folder / NAME
    path.write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sync(path)
    return str(manifest["content"])[:8]


def _bytes(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
