"""Words that name no topic: stop_words.yaml, and scikit-learn's list of English.

"the" in stop_words()   "的" in stop_characters()   stop_pieces().sub(" ", "可以学习")  ->  " 学习"
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from itertools import chain
from pathlib import Path

from sft_assets import strict_yaml

STOP_WORDS = Path(__file__).with_name("stop_words.yaml")


@cache
def _lists() -> dict[str, list[str]]:
    lists = strict_yaml.read(STOP_WORDS.read_text("utf-8"), STOP_WORDS).value
    return {name: words.split() for name, words in lists.items()}


def version() -> str:
    """A hash of the file."""
    return hashlib.sha256(STOP_WORDS.read_bytes()).hexdigest()


@cache
def stop_words() -> frozenset[str]:
    """Words that name no topic, of all languages."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # 0.5 s: loaded by whoever asks

    own = chain.from_iterable(words for name, words in _lists().items() if name not in ("characters", "pieces"))
    return frozenset(ENGLISH_STOP_WORDS) | frozenset(own)


@cache
def stop_characters() -> frozenset[str]:
    """Characters at which scripts without spaces are cut."""
    return frozenset(_lists()["characters"])


@cache
def stop_pieces() -> re.Pattern[str]:
    """Words of such scripts that name no topic."""
    return re.compile("|".join(sorted(_lists()["pieces"], key=len, reverse=True)))
