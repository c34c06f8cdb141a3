"""Checks of how an answer ends: whether it was cut off.

"Here it is:⏎```python⏎print(1)⏎"   --unclosed_code_fence-->   (12, 15)
"""

from __future__ import annotations

import re
import unicodedata

from sft_assets.scored.rule_hits.checks.turn import CODE_MARKS, Span, Turn

FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)


def unclosed_code_fence(turn: Turn) -> Span | None:
    """An odd number of ``` at the start of lines, and in the whole text too: the last of them."""
    fences = list(FENCE.finditer(turn.text))
    if len(fences) % 2 == 0 or turn.text.count("```") % 2 == 0:
        return None
    return fences[-1].span()


LIST_OR_TABLE = re.compile(r"[ \t]*(?:[-*•·+>|#]|\d+[.)、]|[a-zA-Z][.)] )")
UNSPACED_SENTENCES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer: no full stop
NO_WORD = re.compile(r"[#@/_]|[.:]\S")
SIGNED = re.compile(
    r"\b(?:sincerely|regards|yours|truly|faithfully|respectfully|wishes|love|signed|cheers|author|by)\b", re.IGNORECASE
)


def cut_off(turn: Turn, min_line: int) -> Span | None:
    """The last line is prose and ends in the middle of a sentence: its last word."""
    text = turn.text.rstrip()
    if not text or not (unicodedata.category(text[-1])[0] == "L" or text[-1] in ",，、"):
        return None
    line = text[text.rfind("\n") + 1 :]
    if len(line) < min_line or LIST_OR_TABLE.match(line) or CODE_MARKS.search(line) or UNSPACED_SENTENCES.match(line[-1]):
        return None
    word = line.rsplit(None, 1)[-1][-40:]
    if NO_WORD.search(word) or SIGNED.search(line[-80:]):
        return None
    return len(text) - len(word), len(text)
