"""Personal data and secrets: found by patterns that are data (masks.yaml), replaced by a word in angle brackets.

Write to jane.doe@mailbox-post.net   ->   Write to <EMAIL>
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import regex
import yaml


class Found(NamedTuple):
    """One hit. `start` and `stop` count characters of the text before masking."""

    kind: str
    start: int
    stop: int
    sha256: str


@dataclass(frozen=True)
class Mask:
    kind: str
    name: str
    anchors: tuple[str, ...]
    pattern: regex.Pattern[str]
    check: Callable[[str], bool]


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = (d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _iban_sum(text: str) -> bool:
    """ISO 13616: the country code moved to the end, letters as numbers, modulo 97 is 1."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _real_domain(text: str) -> bool:
    """Not one of the names that are reserved for examples and tests (RFC 2606), nor git@, which is no person."""
    user, domain = text.lower().rsplit("@", 1)
    labels = domain.split(".")
    reserved = labels[-1] in {"example", "test", "invalid", "localhost"} or labels[-2:][0] == "example"
    return not reserved and user != "git"


def _phone_length(text: str) -> bool:
    """E.164 numbers have 8 to 15 digits; blocks for fiction (555-01xx) are left alone nowhere."""
    return 8 <= sum(c.isdigit() for c in text) <= 15


def _looks_random(text: str) -> bool:
    """Digits and letters mixed, and more than 3.2 bits a character."""
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return any(c.isdigit() for c in text) and bits > 3.2


CHECKS: dict[str, Callable[[str], bool]] = {
    "luhn": _luhn,
    "iban_sum": _iban_sum,
    "real_domain": _real_domain,
    "phone_length": _phone_length,
    "looks_random": _looks_random,
}


@cache
def masks() -> tuple[Mask, ...]:
    """The masks of masks.yaml."""
    entries = yaml.safe_load(files("sft_assets").joinpath("masks.yaml").read_text("utf-8"))
    return tuple(
        Mask(e["kind"], e["name"], (*e["anchors"],), regex.compile(e["pattern"]), CHECKS[e["check"]] if "check" in e else bool)
        for e in entries
    )


def version() -> str:
    """Ten hex digits over masks.yaml: an edited mask makes stale what was masked with it."""
    return hashlib.sha256(files("sft_assets").joinpath("masks.yaml").read_bytes()).hexdigest()[:10]


KINDS = ("secret", "email", "phone", "card", "iban")
_FOUR_DIGITS = re.compile(r"[0-9]{4}")
_GROUPS = re.compile(r"[0-9]{4}[ -]?[0-9]{4}|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}")


@cache
def _anchors() -> tuple[str, ...]:
    return tuple({anchor: None for m in masks() for anchor in m.anchors})


def worth_a_look(text: str) -> bool:
    """Whether any pattern could match: plain substring searches before dear patterns, the dearest last."""
    for anchor in _anchors():  # a loop is twice as fast as any() over a generator
        if anchor in text:
            return True
    return _has_groups(text)


def _has_groups(text: str) -> bool:
    return _FOUR_DIGITS.search(text) is not None and _GROUPS.search(text) is not None


def mask(text: str, kinds: Collection[str] = KINDS) -> tuple[str, list[Found]]:
    """The text with every hit of the given kinds replaced by <KIND>, and what was found, in order.

    Hits that overlap are one. What only a masked hit had hidden (a number right behind it) is found too: to mask twice changes
    nothing.
    """
    if not kinds or not worth_a_look(text):
        return text, []
    spans: list[tuple[int, int, str]] = []
    left = text
    while found := _hits(left, kinds):
        spans = _apart(spans + found)
        pieces, at = [], 0
        for start, stop, _ in _apart(found):
            pieces += [left[at:start], "<" * (stop - start)]
            at = stop
        left = "".join([*pieces, left[at:]])
    out, end = [], 0
    for start, stop, kind in spans:
        out += [text[end:start], f"<{kind.upper()}>"]
        end = stop
    masked = "".join([*out, text[end:]])
    return masked, [Found(kind, at, stop, hashlib.sha256(text[at:stop].encode()).hexdigest()) for at, stop, kind in spans]


def _hits(text: str, kinds: Collection[str]) -> list[tuple[int, int, str]]:
    groups = _has_groups(text)
    return [
        (*hit.span(), m.kind)
        for m in masks()
        if m.kind in kinds and (any(anchor in text for anchor in m.anchors) if m.anchors else groups)
        for hit in m.pattern.finditer(text, overlapped=True)  # a match that its check refuses may hide another
        if m.check(hit[0])
    ]


def _apart(spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Spans in order, those that overlap joined under the kind of the first."""
    result: list[tuple[int, int, str]] = []
    for start, stop, kind in sorted(spans, key=lambda s: (s[0], -s[1])):
        if result and start < result[-1][1]:
            first, end, known = result[-1]
            result[-1] = (first, max(end, stop), known)
        else:
            result.append((start, stop, kind))
    return result
