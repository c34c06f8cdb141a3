"""One module per dataset format: what its records look like, and how they become conversations.

A format is a module with

    NAME       as recipes and the `format` column of raw write it
    COLUMNS    our name of a column -> the format's own, for mappings in the recipe (LLaMA-Factory's names)
    TELLING    fields of which not only the name but the value says what a record is
    matches    record -> bool: does the record have this shape?
    read       record, hints -> list[Conversation]; raises BadRecord

To add one: write the module, name it in FORMATS in the order in which shapes are tried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from sft_assets.formats import alpaca, messages, preference, sharegpt
from sft_assets.formats.hints import NONE, Hints
from sft_assets.record import Conversation

__all__ = ["FORMATS", "TELLING", "Format", "Hints", "detect", "format_of_columns", "read"]


class Format(Protocol):
    NAME: str
    COLUMNS: Mapping[str, str]
    TELLING: frozenset[str]

    def matches(self, record: dict[str, Any]) -> bool: ...

    def read(self, record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]: ...


FORMATS: dict[str, Any] = {f.NAME: f for f in (preference, messages, sharegpt, alpaca)}
TELLING: frozenset[str] = frozenset().union(*(f.TELLING for f in FORMATS.values()))


def detect(record: Any) -> str | None:
    """The name of the first format that the record has the shape of."""
    if not isinstance(record, dict):
        return None
    return next((name for name, f in FORMATS.items() if f.matches(record)), None)


def read(name: str, record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The conversations of a record.

    Raises:
        BadRecord: with the reason code and a sentence.
    """
    form = FORMATS[name]
    hidden: dict[str, Any] = {}
    if hints.columns or hints.tags or hints.roles:
        record, hidden = hints.renamed(record, form.COLUMNS)
    conversations: list[Conversation] = form.read(record, hints)
    for conversation in conversations:
        conversation.meta |= hidden
    return conversations


def format_of_columns(columns: Collection[str]) -> str:
    """The format that a column mapping means, from the names it maps."""
    names = set(columns)
    if {"chosen", "rejected"} & names:
        return preference.NAME
    if names & {"messages", "conversations"}:
        return sharegpt.NAME if "conversations" in names else messages.NAME
    return alpaca.NAME
