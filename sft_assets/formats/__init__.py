"""One module per dataset format: what its records look like, and how they become conversations.

A format is a module with

    NAME       as recipes and the `format` column of raw write it
    COLUMNS    our name of a column -> the format's own, for mappings in the recipe (LLaMA-Factory's names)
    TELLING    fields of which not only the name but the value says what a record is
    USED       the fields that it reads
    matches    record -> bool: does the record have this shape?
    read       record, hints -> list[Conversation]; raises BadRecord

To add one: write the module, name it in IN_ORDER, where it is to be tried. The names of fields may be spelt in another way, and
records may be wrapped (see names).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any, Protocol

import orjson

from sft_assets.formats import (
    alpaca,
    answers,
    chat_log,
    chatgpt_export,
    dolly,
    gemini,
    input_target,
    messages,
    moss,
    oasst_messages,
    oasst_tree,
    preference,
    prompt_completion,
    prompts,
    rated,
    self_instruct,
    sharegpt,
    text,
)
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.names import WRAPPERS, unwrapped, variants
from sft_assets.record import BadRecord, Conversation

__all__ = ["FORMATS", "NAMES", "TELLING", "Format", "Hints", "detect", "format_of_columns", "is_readable", "read"]


class Format(Protocol):
    NAME: str
    COLUMNS: Mapping[str, str]
    TELLING: frozenset[str]
    USED: frozenset[str]

    def matches(self, record: dict[str, Any]) -> bool: ...

    def read(self, record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]: ...


IN_ORDER = (
    preference, rated, oasst_tree, oasst_messages, chatgpt_export, chat_log, gemini, moss, messages, sharegpt, self_instruct,
    dolly, alpaca, prompt_completion, input_target, text, prompts,
)  # fmt: skip
FORMATS: dict[str, Any] = {f.NAME: f for f in IN_ORDER}
TELLING: frozenset[str] = frozenset(WRAPPERS).union(*(f.TELLING for f in FORMATS.values()))
NAMES: frozenset[str] = frozenset().union(*(f.USED for f in FORMATS.values()))
OPTIONAL = frozenset(("query", "system", "history", "tools", "kto_tag", "language", "license"))  # columns a record may lack


def is_readable(record: Any) -> bool:
    """Whether a format has the record's shape, and makes conversations of it."""
    name = detect(record)
    try:
        return name is not None and bool(read(name, record))
    except BadRecord:
        return False


def detect(record: Any) -> str | None:
    """The name of the first format that the record has the shape of: as it is, else with its names folded, or unwrapped."""
    if not isinstance(record, dict):
        return None
    return next((name for variant, _ in variants(record) for name, f in FORMATS.items() if f.matches(variant)), None)


def read(name: str, record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The conversations of a record. Where it is not of the format's shape as it is, its names are folded, or it is unwrapped.

    Raises:
        BadRecord: with the reason code and a sentence.
    """
    try:
        return _read(FORMATS[name], record, hints)
    except (RecursionError, orjson.JSONEncodeError):
        raise BadRecord("too_deep", "too many objects and lists within each other") from None


def _read(form: Format, record: dict[str, Any], hints: Hints) -> list[Conversation]:
    beside: dict[str, Any] = {}
    if hints.columns or hints.tags or hints.roles:
        record, beside = _with_columns(record, hints)
        record, hidden = hints.renamed(record, form.COLUMNS)
        beside |= hidden
    try:
        conversations = form.read(record, hints)
    except BadRecord:  # most records are of the format's shape as they are: the others are looked at only now
        spelt = chain(
            variants(record, form.USED | answers.NAMES), variants(record)
        )  # all names only where those do not suffice
        meant, outer = next((v for v in spelt if form.matches(v[0])), (record, {}))
        if meant is record:
            raise
        conversations = form.read(meant, hints)
        beside |= outer
    if beside:
        for conversation in conversations:
            conversation.meta |= {key if key not in conversation.meta else f"outer_{key}": v for key, v in beside.items()}
    return conversations


def _with_columns(record: dict[str, Any], hints: Hints) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record that has the columns that the recipe maps, which may be wrapped; and what the wrapper says beside it."""
    missing = _missing(record, hints)
    if not missing:
        return record, {}
    inside = unwrapped(record)
    if inside is not None and not _missing(inside[0], hints):
        return inside
    ours, theirs = missing[0]
    fields = ", ".join(record)[:200]
    raise BadRecord("no_column", f"the recipe maps {ours} to {theirs!r}, which the record does not have (its fields: {fields})")


def _missing(record: dict[str, Any], hints: Hints) -> list[tuple[str, str]]:
    return [(ours, theirs) for ours, theirs in hints.columns.items() if theirs not in record and ours not in OPTIONAL]


def format_of_columns(columns: Collection[str]) -> str:
    """The format that a column mapping means, from the names it maps."""
    names = set(columns)
    if {"chosen", "rejected"} & names:
        return preference.NAME
    if names & {"messages", "conversations"}:
        return sharegpt.NAME if "conversations" in names else messages.NAME
    return prompts.NAME if "prompt" in names and "response" not in names else alpaca.NAME
