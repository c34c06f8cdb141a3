"""The database of a data folder, opened as its recipe says; and the names of the states, in the order in which rows pass them.

>>> warehouse(folder, recipe).reading()

Here, because it takes no Dagster: who only looks (`sft explain`, `sft diff`) need not wait for it to load. Nor for the recipe:
three settings of it are read, and a recipe that is being edited and cannot be used yet is no reason not to look.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sft_assets.strict_yaml import LOADER
from sft_assets.warehouse.database import Warehouse

if TYPE_CHECKING:
    from sft_assets.folder import Folder
    from sft_assets.recipe import Recipe

STATES = ("raw", "combined", "deduped", "decontaminated", "scored", "clustered", "augmented", "exported")


def warehouse(folder: Folder, recipe: Recipe) -> Warehouse:
    """The folder's database, opened as the recipe's engine section says."""
    engine = recipe.engine
    return Warehouse(
        folder.database,
        engine.memory_limit,
        engine.threads,
        engine.keep_versions,
        temp_directory=_temp_directory(folder, engine.temp_directory),
    )


def to_look(folder: Folder) -> Warehouse:
    """The same for who only reads: what the recipe's engine section says of memory, threads and disk, where it can be read."""
    try:
        said = yaml.load(folder.recipe.read_text("utf-8-sig"), LOADER)["engine"]
        settings: dict[str, Any] = {}
        if re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", memory := str(said.get("memory_limit")), re.IGNORECASE | re.ASCII):
            settings["memory_limit"] = memory
        if said.get("threads") is not None and 1 <= (threads := int(said["threads"])) <= 256:
            settings["threads"] = threads
        if isinstance(place := said.get("temp_directory"), str):
            settings["temp_directory"] = _temp_directory(folder, place)
        return Warehouse(folder.database, **settings)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, yaml.YAMLError):
        return Warehouse(folder.database)


def _temp_directory(folder: Folder, said: str | None) -> Path | None:
    """The folder that the recipe names; a relative path lies beside it."""
    if not said:
        return None
    try:
        return folder.root / Path(said).expanduser()
    except RuntimeError:  # ~ of nobody
        return folder.root / said
