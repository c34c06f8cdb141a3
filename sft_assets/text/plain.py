"""Normal forms, tokens, shingles and numbers, in plain Python: what `kernel` does compiled. Never stored, never exported.

    tokens("What's 6 x 7 ?  a+b, 東京")  ->  what's 6 x 7 a + b 東 京

Words and numbers are tokens, operators and symbols too ("a+b" is not "a-b"); sentence punctuation is not. A script that has no
spaces gives one token a character. Soft hyphens, joiners and marks of direction are as if they were not there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import regex

from sft_assets.text import characters as c

_set = c.PROPERTIES.__getitem__
_LETTER, _MORE = _set(c.LETTER), rf"[{_set(c.LETTER)}\p{{M}}\p{{Nd}}]"
TOKEN = regex.compile(
    rf"""
      {_set(c.DIGIT)}+(?:[.,]{_set(c.DIGIT)}+)*           # a number with its point
    | {_LETTER}{_MORE}*(?:'{_LETTER}{_MORE}*)*            # a word
    | {_set(c.CHARACTER)}\p{{M}}*                         # one character of a script without spaces
    | {_set(c.OPERATOR)}
    """,
    regex.VERBOSE | regex.V1,
)
# the same for ASCII, four times as fast
ASCII_TOKEN = re.compile(
    r"""
      \d+(?:[.,]\d+)*
    | [a-z_][a-z0-9_]*(?:'[a-z_][a-z0-9_]*)*
    | [+*/=<>%&|^~$\#@\\`-]
    """,
    re.VERBOSE | re.ASCII,
)
_WORDLIKE = rf"[{_set(c.LETTER)}{_set(c.CHARACTER)}\p{{M}}\p{{Nd}})\]]"
NUMBER = regex.compile(rf"(?:(?<!{_WORDLIKE})-)?\p{{Nd}}+(?:[.,]\p{{Nd}}+)*", regex.V1)
IGNORED = regex.compile(_set(c.IGNORED), regex.V1)
SHORT, LONG = 8, 100  # texts of fewer tokens are compared by their characters; by longer n-grams from so many characters


def normal(text: str) -> str:
    """Case, whitespace and Unicode form taken away; digits, operators and punctuation stay."""
    return " ".join(lower(unicodedata.normalize("NFC", text)).split())


def casefolded(text: str) -> str:
    """The text in form NFC, with every letter that does not survive a change of case as it is after one: µ, ß, ﬁ, ４."""
    return unicodedata.normalize("NFC", text if text.isascii() else text.translate(c.foldings()))


def lower(text: str) -> str:
    """Lower case, each code point by itself ("İ" stays, a final sigma is like any other)."""
    if "İ" in text or "Σ" in text:
        return "".join(small if len(small := character.lower()) == 1 else character for character in text)
    return text.lower()


def folded(text: str) -> str:
    """The form in which tokens are sought."""
    visible: str = IGNORED.sub("", lower(unicodedata.normalize("NFC", text)))
    return visible.replace("’", "'")


def tokens(text: str) -> list[str]:
    """The tokens of a text, lower case."""
    if text.isascii():
        return ASCII_TOKEN.findall(text.lower())
    found: list[str] = TOKEN.findall(folded(text))
    return found


def numbers(text: str) -> tuple[str, ...]:
    """The numbers of a text in their order, with a minus that is a sign: "x-2 is -1.5" has 2 and -1.5."""
    return tuple(NUMBER.findall(folded(text).replace("−", "-")))


def shingles(words: Sequence[str]) -> frozenset[str]:
    """Word 3-grams of tokens; where there are fewer than 8, character 3-grams, or 8-grams if it is long all the same.

    (Few tokens and many characters: sequences of a small alphabet, such as DNA or hex, have all the 3-grams there are.)
    """
    if len(words) < SHORT:
        joined = " ".join(words)
        n = 3 if len(joined) < LONG else 8
        return frozenset(joined[i : i + n] for i in range(max(1, len(joined) - n + 1)))
    return frozenset(" ".join(words[i : i + 3]) for i in range(len(words) - 2))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union; 1.0 for two empty sets."""
    if not a and not b:
        return 1.0
    both = len(a & b)
    return both / (len(a) + len(b) - both)
