"""The decision over a row: from signals (names of rules that hit) to keep, drop or review.

actions   {"refusal": "drop", "mojibake": "review", "cut_off": "signal"}
{"cut_off"}                  ->  Decision("keep", ())
{"cut_off", "mojibake"}      ->  Decision("review", ("mojibake",))
{"mojibake", "refusal"}      ->  Decision("drop", ("refusal",))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sft_assets.errors import SftError
from sft_assets.scored.rules import Action, Rule


@dataclass(frozen=True)
class Decision:
    """What becomes of a row, and the signals that say so, the most telling first."""

    verdict: Literal["keep", "review", "drop"]
    reasons: tuple[str, ...] = ()


def decide(signals: Collection[str], actions: Mapping[str, Action]) -> Decision:
    """One signal that drops is enough to drop, else one that asks for review to review; all others leave a row as it is.

    actions: signal -> what it does, the most telling signal first: the reason of a drop is the first that drops.

    Raises:
        SftError: a signal has no action: it was found by rules that are no more.
    """
    if unknown := sorted(set(signals) - actions.keys()):
        raise SftError(f"rule_hits has hits of {', '.join(unknown)}, which no rule is called now; run rule_hits again")
    for verdict in ("drop", "review"):
        reasons = tuple(signal for signal, action in actions.items() if action == verdict and signal in signals)
        if reasons:
            return Decision(verdict, reasons)
    return Decision("keep")


def actions_of(rules: Mapping[str, Rule], overrides: Mapping[str, Action]) -> dict[str, Action]:
    """Each rule's action: the recipe's, else its own; in the order of the rules."""
    return {name: overrides.get(name, rule.action) for name, rule in rules.items()}
