"""What each character is to the tokens: two tables over all code points, made from the `regex` module's Unicode properties.

    classes[ord("東")] & CLASS == CHARACTER        lowers[ord("Ä")] == ord("ä")

`plain` builds its patterns from the same properties, so the two agree by construction; the tests compare them on any text.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt
import regex

NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
SENTENCE = r""".,;:!?"'“”„‘’«»…()\[\]{}。、，！？：；（）「」『』¿¡—–"""
ENDINGS = ".!?…。！？।؟\"'”’)]}`*|>:;"

# the classes, and what may be added to one
SPACE, OTHER, LETTER, DIGIT, MARK, CHARACTER, OPERATOR, APOSTROPHE, POINT, IGNORED = range(10)
CLASS = 15
ENDS_WELL, COMPOSES, BLANK, FOLDS = 16, 32, 64, 128  # ends an answer; may not be in form NFC; a space or tab; see `foldings`
PROPERTIES = {
    OPERATOR: rf"[^\s\p{{C}}\p{{L}}\p{{M}}\p{{N}}_{SENTENCE}]",
    LETTER: rf"[\p{{L}}\p{{N}}_--[{NO_SPACES}\p{{Nd}}]]",
    CHARACTER: rf"[{NO_SPACES}--[\p{{M}}\p{{Nd}}]]",
    MARK: r"\p{M}",
    DIGIT: r"\p{Nd}",
    IGNORED: r"\p{Cf}",  # soft hyphens, joiners, marks of direction: as if they were not there
    APOSTROPHE: "['’]",
    POINT: "[.,]",
}


NOT_NFC = regex.compile(r"[\p{NFC_Quick_Check=No}\p{NFC_Quick_Check=Maybe}]", regex.V1)


@cache
def tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    """(class and flags, lower case) of every code point: 1.1 and 4.5 MB, made in a fifth of a second.

    Lower case is a code point's own: "İ" stays, and a final sigma is like any other.
    """
    codes = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    codes[0xD800:0xE000] = 0  # surrogates are in no text
    everything = codes.tobytes().decode("utf-32-le")
    classes = np.full(len(codes), OTHER, np.uint8)
    for name in PROPERTIES:
        for run in regex.finditer(PROPERTIES[name] + "+", everything, regex.V1):
            classes[run.start() : run.end()] = name
    lowers = codes.copy()
    for run in regex.finditer(r"[\p{Lu}\p{Lt}\p{Other_Uppercase}]+", everything, regex.V1):
        for code in range(run.start(), run.end()):
            lower = chr(code).lower()
            lowers[code] = ord(lower) if len(lower) == 1 else code
    lowers[ord("’")] = ord("'")
    for code in range(0x3001):
        if chr(code).isspace():
            classes[code] = SPACE
    classes[[0x20, 0x09]] |= BLANK
    classes[[ord(c) for c in ENDINGS]] |= ENDS_WELL
    classes[_composing(everything)] |= COMPOSES
    classes[list(foldings())] |= FOLDS
    classes[0xD800:0xE000] = OTHER
    return classes, lowers


@cache
def foldings() -> dict[int, str]:
    """The letters and digits whose lower case is not all that a change of case does to them: µ (Μ and μ), ß (SS), ﬁ, ４, ς."""
    blocks = range(0x80, 0x3000), range(0xA000, 0xAC00), range(0xF900, 0x20000)  # between them scripts that have no case
    everything = "".join(chr(code) for block in blocks for code in block)
    wide = regex.compile(r"[\p{L}\p{N}--\p{Han}]", regex.V1).findall(everything)
    folded = {letter: unicodedata.normalize("NFC", unicodedata.normalize("NFKC", letter).casefold()) for letter in wide}
    return {ord(letter): small for letter, small in folded.items() if small != letter.lower() and small}


def _composing(everything: str) -> list[int]:
    """The code points that a text in form NFC has not, that may merge with the one before them, or that have an order."""
    runs = regex.finditer(r"[\p{M}\p{NFC_Quick_Check=No}\p{NFC_Quick_Check=Maybe}]+", everything, regex.V1)
    return [code for run in runs for code in range(*run.span()) if unicodedata.combining(chr(code)) or _unsure(chr(code))]


def _unsure(character: str) -> bool:
    return NOT_NFC.match(character) is not None
