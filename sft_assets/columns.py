"""The columns that people see of an asset: what each is, and what it was made from.

scored.likelihood_ifd  DOUBLE  instruction-following difficulty  <- likelihoods.ifd <- decontaminated.messages ... <- raw.record

A state shows whole rows: its own columns and all of the states before it. What they say stands in columns.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from sft_assets.record import MESSAGES_SQL
from sft_assets.warehouse.build import Table

TEXTS = {"messages": MESSAGES_SQL, "rejected": MESSAGES_SQL, "tools": "VARCHAR"}
POSITIONS = {"source_file": "VARCHAR", "source_row": "BIGINT", "occurrence": "INTEGER"}


@dataclass(frozen=True)
class Column:
    """A column. made_from: (asset, column) of its direct parents; none where it comes from files, the recipe or a model."""

    name: str
    type: str
    says: str
    made_from: Sequence[tuple[str, str]]


def columns(table: Table, tables: Mapping[str, Table]) -> list[Column]:
    """The columns of the view of an asset, in its order. `tables`: all of them by name, for the states before it."""
    said = _said().get(table.name, {})
    inherited = columns(tables[table.after], tables) if table.after not in (None, "raw") else []
    found = {
        column.name: Column(column.name, column.type, column.says, [(str(table.after), column.name)]) for column in inherited
    }
    for name, kind in {**table.columns, **_joined(table)}.items():
        says, made_from = said.get(name, ("", []))
        if name in found and not made_from:
            continue
        found[name] = Column(name, kind, says or found[name].says, made_from)
    return list(found.values())


def _joined(table: Table) -> Mapping[str, str]:
    """What the view adds from the stores of texts and of records."""
    if table.name == "raw":
        return {"record": "VARCHAR"}
    if table.after == "raw":
        return {**POSITIONS, **TEXTS}
    return TEXTS if table.texts else {}


@cache
def _said() -> dict[str, dict[str, tuple[str, list[tuple[str, str]]]]]:
    """asset -> column -> (what it is, what it was made from)."""
    text = files("sft_assets").joinpath("columns.yaml").read_text("utf-8")
    return {asset: {name: _parsed(line) for name, line in entries.items()} for asset, entries in yaml.safe_load(text).items()}


def _parsed(line: str) -> tuple[str, list[tuple[str, str]]]:
    says, _, made_from = line.partition(" <- ")
    parents = [place.strip().partition(".") for place in made_from.split(",") if place.strip()]
    return says, [(asset, column) for asset, _, column in parents]
