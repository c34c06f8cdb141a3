"""Who decides: names as they are recorded, and whom they mean.

"Ann"   "ann "   "ANN"       one person, shown as the name was written first: Ann
"Zoë"   "Zoe\u0308"          the same letters, composed or not: one person
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from sft_assets.reviews.decisions import Decision


def written(name: str) -> str:
    """A name as it is recorded: composed, on one line, single spaces."""
    return " ".join(normalize("NFC", name).split())


@lru_cache(maxsize=1 << 12)
def person(name: str) -> str:
    """Whom a name means: names that differ in spacing, case or composition alone mean the same person."""
    return normalize("NFC", written(name).casefold())


def names(log: Iterable[Decision]) -> dict[str, str]:
    """The people who decided, and how the name of each was written first."""
    found: dict[str, str] = {}
    for one in log:
        found.setdefault(one.person, one.reviewer)
    return found


def as_first_written(made: Sequence[Decision], log: Iterable[Decision]) -> list[Decision]:
    """New decisions with the names of their reviewers as those were written first. log: what was decided before."""
    known = names([*log, *made])
    return [
        one.model_copy(update={"reviewer": known[one.person]}) if one.reviewer != known[one.person] else one for one in made
    ]
