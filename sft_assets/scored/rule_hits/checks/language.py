"""Whether an answer is in the language of its prompt.

    user: "Wie wird das Wetter morgen in Köln?"   assistant: "It will be sunny and warm, with a light wind."   ->   (0, 45)

Many prompts want another language (a translation, a Spanish song): whoever names a language in the prompt may get it.
"""

from __future__ import annotations

import re

from sft_assets.languages import language_of
from sft_assets.scored.rule_hits.checks.statistics import UNSPACED
from sft_assets.scored.rule_hits.checks.turn import CODE_MARKS, Span, Turn
from sft_assets.text.parts import without

MOST_CHARS = 1200  # of each text: more say nothing new
ENOUGH_CHARS = 600

# Languages that are taken for each other, by people too
ALIKE = (
    {"no", "nb", "nn", "da", "sv"},
    {"hr", "sr", "bs", "sh", "sl", "mk"},
    {"id", "ms", "jv", "su"},
    {"es", "gl", "pt", "ast", "ca", "an", "oc", "it"},
    {"cs", "sk"},
    {"ru", "uk", "be", "bg"},
    {"hi", "mr", "ne", "bh", "sa"},
    {"zh", "ja"},
    {"ar", "fa", "ur", "ps", "ckb", "ug", "sd", "azb"},
    {"tr", "az", "tk"},
    {"af", "nl"},
    {"de", "nds", "lb", "als"},
)
# what the model sees in names, codes and lists of words
UNLIKELY = frozenset(("la", "ia", "ie", "io", "eo", "vo", "ceb", "war", "sh", "nds", "als", "an", "ast", "oc", "min", "jbo"))
# fmt: off
ENGLISH = frozenset((
    "the", "and", "of", "is", "to", "for", "with", "that", "this", "you", "your", "what", "how", "which", "are", "from", "it",
    "by", "can", "write", "following", "given", "into", "if",
))
# fmt: on
WORD = re.compile(r"[^\W\d_]{2,}")
QUOTED_LATIN = re.compile(r"[\"'“‘「『《]\s?[a-zA-Z]")
MOSTLY_LATIN, HARDLY_LATIN = 0.9, 0.5  # of the letters; between them a text is of two languages
CODE_SHARE = 0.015  # of the characters: marks of code that prose does not have


def language_mismatch(turn: Turn, min_words: int, min_chars_unspaced: int) -> Span | None:
    """Prompt and answer are each plainly in one language, in two that are not alike."""
    prompt, answer = (_prose(text[:MOST_CHARS]) for text in (turn.question, turn.text))
    if _is_english(prompt) and _is_english(answer):  # most are, and to see it is cheap
        return None
    shares = _latin_share(prompt), _latin_share(answer)
    in_two_scripts = max(shares) > MOSTLY_LATIN and min(shares) < HARDLY_LATIN
    in_one_script = min(shares) > MOSTLY_LATIN or max(shares) < HARDLY_LATIN
    least = (min_words // 2, min_chars_unspaced // 2) if in_two_scripts else (min_words, min_chars_unspaced)
    if not (in_two_scripts or in_one_script) or not all(_is_enough(text, *least) for text in (prompt, answer)):
        return None
    if not prompt.isascii() and QUOTED_LATIN.search(prompt):  # a sentence with the word "opulent"
        return None
    one, other = language_of(prompt), language_of(answer)
    if one is None or other is None or one == other or {one, other} & UNLIKELY or any({one, other} <= some for some in ALIKE):
        return None
    if in_one_script and not (_is_of_one_language(prompt) and _is_of_one_language(answer)):
        return None
    return 0, len(turn.text)


def _prose(text: str) -> str:
    return without(text, ["code", "tables"]) if "`" in text or "|" in text else text


def _is_english(text: str) -> bool:
    return len(ENGLISH.intersection(text[:ENOUGH_CHARS].lower().split())) >= 2


def _is_enough(text: str, min_words: int, min_chars_unspaced: int) -> bool:
    """Whether a text has enough words, and is no code."""
    if len(CODE_MARKS.findall(text)) > CODE_SHARE * len(text):
        return False
    return len(text.split()) >= min_words or (not text.isascii() and len(UNSPACED.findall(text)) >= min_chars_unspaced)


def _latin_share(text: str) -> float:
    if text.isascii():
        return 1.0
    letters = "".join(WORD.findall(text))
    return sum(character < "\u0250" for character in letters) / max(len(letters), 1)


def _is_of_one_language(text: str) -> bool:
    """Whether both halves of a text are in the same language: the model is sure of many a list of names."""
    middle = len(text) // 2
    return language_of(text[:middle]) == language_of(text[middle:]) == language_of(text)
