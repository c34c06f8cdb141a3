"""Characters of a text that a person would not see, or that turn round what follows: to be named where a text is shown.

"free\u200bdom"   ->   "\u200b"
"""

from __future__ import annotations

import re

# controls, direction, what is invisible, and lone surrogates; not the joiners, which belong to the spelling of Persian and of
# emoji, nor the space without width that stands between words of Thai, Lao, Burmese and Khmer
HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    r"\u3164\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]|\r(?!\n)|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"
)
RUNS = re.compile(f"(?:{HIDDEN.pattern})+")
