"""The one exception of the package: a sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SftError(Exception):
    """Something that the user can mend. The message names the file, the place in it and the remedy."""


class LawBroken(SftError):
    """A state's table did not keep its promises (`laws`, by name); nothing of it was stored."""

    def __init__(self, message: str, laws: list[str]):
        super().__init__(message)
        self.laws = laws


class Busy(SftError):
    """Another process is using the data folder or its database."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "known here") -> str:
    """The end of a sentence about a name that nobody knows: those that come close, else all there are."""
    near = difflib.get_close_matches(name, known := list(known), 3)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"{otherwise}: {', '.join(known)}"
