"""What format a record has: the stated one where it fits, else the first that has its shape.

stated: alpaca      {"conversations": [{"from": "human", "value": "Hi"}, ...]}
-> wrong_format: the recipe says alpaca, but it is a sharegpt record (fields: conversations)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sft_assets import formats
from sft_assets.formats import Hints
from sft_assets.record import BadRecord

TRIED = 20  # records of one set of fields that may contradict the stated format, before it is believed


class Detector:
    """Finds the format of record after record of one file; remembers sets of fields that decide it."""

    def __init__(self, stated: str | None, hints: Hints, stated_by: str):
        self.stated, self.hints, self.stated_by = stated, hints, stated_by
        self.known: dict[tuple[str, ...], str] = {}
        self.tried: dict[tuple[str, ...], int] = {}

    def all(self, records: Sequence[dict[str, Any]]) -> Sequence[str] | None:
        """The formats of all these, where their fields decide and are known; else None: ask for each."""
        known = self.known
        try:
            return [known[tuple(record)] for record in records]
        except KeyError:
            return None

    def __call__(self, record: dict[str, Any]) -> str | BadRecord:
        """The format's name, or why the record has none: no_format or wrong_format."""
        shape = tuple(record)
        if known := self.known.get(shape):
            return known
        return self._as_stated(record, shape) if self.stated else self._seen(record, shape)

    def _seen(self, record: dict[str, Any], shape: tuple[str, ...]) -> str | BadRecord:
        name = formats.detect(record)
        if name is None:
            return _no_format(shape)
        if formats.TELLING.isdisjoint(shape):
            self.known[shape] = name
        return name

    def _as_stated(self, record: dict[str, Any], shape: tuple[str, ...]) -> str | BadRecord:
        """A stated format is believed as soon as one record of the same fields can be read by it. One that cannot, while its
        own format can read it, was not meant."""
        assert self.stated is not None
        if _reads(self.stated, record, self.hints):
            self.known[shape] = self.stated
            return self.stated
        self.tried[shape] = self.tried.get(shape, 0) + 1
        if self.tried[shape] > TRIED:
            self.known[shape] = self.stated
        other = formats.detect(record)
        if other in (None, self.stated) or not _reads(other or "", record, Hints()):
            return self.stated  # combined says what is wrong with it
        fields = ", ".join(shape)[:200]
        return BadRecord(
            "wrong_format",
            f"{self.stated_by or 'the recipe'} says {self.stated}, but it is a {other} record (fields: {fields}); correct the "
            "format or the columns, or leave them out",
        )


def _no_format(shape: tuple[str, ...]) -> BadRecord:
    fields = ", ".join(shape)[:200]
    if "text" in shape:
        remedy = "no turns are seen in its text; say `template:` with {prompt} and {response}, or `continuation: true`"
    else:
        remedy = "name its columns in its recipe entry, such as columns: {prompt: ..., response: ...}"
    return BadRecord("no_format", f"it has the fields {fields}; {remedy}")


def _reads(name: str, record: dict[str, Any], hints: Hints) -> bool:
    try:
        return bool(formats.read(name, record, hints))
    except BadRecord:
        return False
