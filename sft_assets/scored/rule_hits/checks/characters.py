"""Checks of characters that went wrong on the way. What `text_fault` finds, the repair of its kind mends.

"a cafÃ© in Paris"   --mojibake-->   (5, 7)
"""

from __future__ import annotations

import re

from sft_assets.recipe import Repair
from sft_assets.scored.rule_hits.checks.turn import Span, Turn
from sft_assets.text.faults import MOJIBAKE, can_have, find

LOST = re.compile("\ufffd")


def mojibake(turn: Turn) -> Span | None:
    """What was decoded with the wrong encoding, or could not be decoded at all (U+FFFD)."""
    found = MOJIBAKE.search(turn.text) or LOST.search(turn.text)
    return found.span() if found else None


def text_fault(turn: Turn, kind: Repair) -> Span | None:
    """The first place that the repair of this kind would mend."""
    changes = find(turn.text, kind)
    if not changes or not can_have(turn.message, kind, turn.messages):
        return None
    return changes[0].start, changes[0].stop
