"""A section of the report: what its template shows, and the numbers in it.

    Section("funnel", "From records to rows", {"states": [...]}, [Figure("deduped", "questions", "kept", 96)])

The template is sections/NAME.html. The figures are the rows of the asset's table: they are what its version is a hash of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A number of the report: of what (a state, a reason, a score), of which part of it (a source), and what it counts."""

    item: str
    part: str
    figure: str
    value: float


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    values: Mapping[str, Any]
    figures: Sequence[Figure] = ()
