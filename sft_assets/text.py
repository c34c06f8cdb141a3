"""Text as the comparisons see it: normal forms, tokens, shingles, numbers. Never stored, never exported.

    tokens("What's 6 x 7 ?  a+b, 東京")  ->  what's 6 x 7 a + b 東 京

Words and numbers are tokens, operators and symbols too ("a+b" is not "a-b"); sentence punctuation is not. A script that has no
spaces gives one token a character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import regex

from sft_assets.record import digest

NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
TOKEN = regex.compile(
    rf"""
      [{NO_SPACES}]\p{{M}}*                                    # one character of a script without spaces
    | \d+(?:[.,]\d+)*                                          # a number with its point
    | [\p{{L}}\p{{N}}_--[{NO_SPACES}\d]][\p{{L}}\p{{M}}\p{{N}}_--[{NO_SPACES}]]*(?:['’][\p{{L}}]+)?   # a word
    | [^\s\p{{C}}\p{{L}}\p{{M}}\p{{N}}_.,;:!?"'“”„‘’«»…()\[\]{{}}。、，！？：；（）「」『』¿¡—–-]      # an operator
    | (?<=\S)-(?=\S) | (?<=\s)[-](?=\s|\d)                     # minus and hyphen
    """,
    regex.VERBOSE | regex.VERSION1,
)
# the same for ASCII, four times as fast
ASCII_TOKEN = re.compile(
    r"""
      \d+(?:[.,]\d+)*
    | [a-z_][a-z0-9_]*(?:'[a-z]+)?
    | [+*/=<>%&|^~$\#@\\`]
    | (?<=\S)-(?=\S) | (?<=\s)-(?=\s|\d)
    """,
    re.VERBOSE | re.ASCII,
)
NUMBER = regex.compile(r"\d+(?:[.,]\d+)*")


def normal(text: str) -> str:
    """Case, whitespace and Unicode form taken away; digits, operators and punctuation stay."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def tokens(text: str) -> list[str]:
    """The tokens of a text, lower case."""
    if text.isascii():
        return ASCII_TOKEN.findall(text.lower())
    found: list[str] = TOKEN.findall(unicodedata.normalize("NFC", text).lower().replace("’", "'"))
    return found


def numbers(text: str) -> tuple[str, ...]:
    """The numbers of a text in their order."""
    return tuple(NUMBER.findall(text))


SHORT, LONG = 8, 100  # texts of fewer tokens are compared by their characters; by longer n-grams from so many characters


def shingles(text: str, words: Sequence[str]) -> frozenset[str]:
    """Word 3-grams of a text's tokens; where it has fewer than 8, character 3-grams, or 8-grams if it is long all the same.

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


def text_hash(parts: Iterable[str]) -> bytes:
    """128-bit hash of normalised texts in their order."""
    return digest("\0".join(map(normal, parts)).encode("utf-8", "surrogatepass"))
