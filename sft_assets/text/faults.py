"""The faults of texts that can be repaired: where they are, and what is to stand there. Found here for rules and repairs alike.

    "Salt &amp; pepper"   html_entities   ->   Change(start=5, stop=10, new="&")

Only what is certainly a fault: Persian keeps its joiners, LaTeX its backslashes, a conversation about HTML its entities.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html.entities import name2codepoint
from typing import NamedTuple

import regex

from sft_assets.recipe import Repair
from sft_assets.record import Message
from sft_assets.text.parts import outside_code


class Change(NamedTuple):
    """A span of a text, in characters, and what is to stand there."""

    start: int
    stop: int
    new: str


def find(text: str, kind: Repair) -> list[Change]:
    """The faults of a kind in a text, in their order; none in a text that speaks of such faults."""
    changes = FINDERS[kind](text)
    return [] if changes and is_about(text, kind) else changes


def is_about(text: str, kind: Repair) -> bool:
    """Whether a text speaks of such faults: it may show them on purpose."""
    return kind in ABOUT and ABOUT[kind].search(text) is not None


def can_have(turn: Message, kind: Repair, conversation: Sequence[Message]) -> bool:
    """Whether such a fault in a turn is one: people or models wrote the turn, and no turn of its conversation speaks of it."""
    return turn.role != "tool" and not any(is_about(message.content, kind) for message in conversation)


def _has_any(text: str, characters: str) -> bool:
    """Thirty searches for one character each are five times as fast as a regular expression."""
    return any(map(text.__contains__, characters))


# --------------------------------------------------------------------------------------------------------- html_entities

# The names that web pages leave behind. The others (copy, sum, part, alpha ...) are names in programs too: p = &sum;
NAMES = {
    "amp", "lt", "gt", "quot", "apos", "nbsp", "ndash", "mdash", "lsquo", "rsquo", "sbquo", "ldquo", "rdquo", "bdquo", "lsaquo",
    "rsaquo", "laquo", "raquo", "bull", "middot", "hellip", "deg", "pound", "euro", "trade",
    *(name for name, code in name2codepoint.items() if 0xC0 <= code < 0x180 and chr(code).isalpha()),
}  # fmt: skip
ENTITY = re.compile(r"&(?:(?:amp|#0*38|#[xX]0*26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,7});", re.ASCII)
JSON = re.compile(r'\s*[\[{]\s*["{\[\]}]')


def _html_entities(text: str) -> list[Change]:
    """Well-formed entities (&amp;lt; too: it was escaped twice) outside code and JSON."""
    if "&" not in text or JSON.match(text):
        return []
    return [
        Change(*found.span(), new)
        for start, stop in (outside_code(text) if ENTITY.search(text) else ())
        for found in ENTITY.finditer(text, start, stop)
        if found[1][0] == "#" or found[1] in NAMES
        if (new := html.unescape(f"&{found[1]};")) not in ("", "\ufffd")
    ]


# -------------------------------------------------------------------------------------------------------------- mojibake

CONTINUED = "\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸ€"  # the bytes 80-BF as Latin-1 or Windows-1252 show them
MOJIBAKE = re.compile(
    rf"""
      Ã(?:[\u0080-\u00aa\u00ac-\u00ba\u00bc-\u00bf‚ƒ„†‡ˆ‰Š‹Œ•˜™š›œžŸ€]|[‘’“”…–—«»](?=\w))
    | â€[\u0080-\u00bf™œ˜¦“”¢–—ž¬ºš]|â\u0080[\u0080-\u00bf]|â‚¬|â„¢|âˆ|â†
    | Â[\u00a0-\u00aa\u00ac-\u00ba\u00bc-\u00bf]
    | ï»¿|ï¿½|ðŸ
    | (?:[ÐÑ][{CONTINUED}]){{3}}
    | (?:[ä-é][{CONTINUED}]{{2}}){{2}}
    """,
    re.VERBOSE,
)
LEADS = "ÃâÂïðÐÑäåæçèé"  # one of them begins each of these
INTACT = re.compile(r"[ÂÃ][‘’“”…–—«»](?!\w)")  # “IRMÃ”: letters that only look like the two halves of another
HARM = re.compile("[\u0000-\u0008\u0080-\u009f\ud800-\udfff\ufffd]")


def _mojibake(text: str) -> list[Change]:
    """UTF-8 that was read as another encoding, line by line outside code, where ftfy makes a line better."""
    if text.isascii() or not _has_any(text, LEADS) or not MOJIBAKE.search(text):
        return []
    lines = (line for start, stop in outside_code(text) for line in re.compile(r"[^\n]+").finditer(text, start, stop))
    return [change for line in lines if (change := _mended(line[0], line.start()))]


def _mended(line: str, start: int) -> Change | None:
    """The stretch of a line that changes, from its first fault to its last."""
    if not MOJIBAKE.search(line) or INTACT.search(line):
        return None
    fixed = _fix_encoding()(line)
    if fixed == line or len(MOJIBAKE.findall(fixed)) >= len(MOJIBAKE.findall(line)):
        return None
    if len(HARM.findall(fixed)) > len(HARM.findall(line)):
        return None
    head = _alike(line, fixed)
    tail = _alike(line[head:][::-1], fixed[head:][::-1])
    return Change(start + head, start + len(line) - tail, fixed[head : len(fixed) - tail])


def _alike(a: str, b: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@cache
def _fix_encoding() -> Callable[[str], str]:
    import ftfy  # 75 ms: loaded by whoever repairs, not by whoever plans

    # unescaping is a repair of its own; a lost byte (U+FFFD) is no better than the mojibake
    config = ftfy.TextFixerConfig(unescape_html=False, replace_lossy_sequences=False, fix_c1_controls=False, explain=False)
    return lambda line: ftfy.fix_encoding(line, config)


# ------------------------------------------------------------------------------------------------- invisible characters

BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
BIDI_OR_LINE = re.compile("[\u202a-\u202e\u2066-\u2069\n]")
OVERRIDES, EMBEDDINGS, ISOLATES = "\u202d\u202e", "\u202a\u202b", "\u2066\u2067\u2068"
END_OF_EMBEDDING, END_OF_ISOLATE = "\u202c", "\u2069"
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def _bidi(text: str) -> list[Change]:
    """Controls that turn the direction of writing: overrides anywhere, embeddings and isolates where nothing is written from
    right to left (CVE-2021-42574, "Trojan Source")."""
    if text.isascii() or not _has_any(text, OVERRIDES + EMBEDDINGS + ISOLATES + END_OF_EMBEDDING + END_OF_ISOLATE):
        return []
    if not RIGHT_TO_LEFT.search(text):
        return [Change(*found.span(), "") for found in BIDI.finditer(text)]
    return [Change(at, at + 1, "") for at in _overrides(text)]


def _overrides(text: str) -> Iterator[int]:
    """The places of overrides and of what ends each: an end without its beginning would close another's."""
    open_: list[str] = []
    for found in BIDI_OR_LINE.finditer(text):
        control = found[0]
        if control == "\n":
            open_.clear()
        elif control == END_OF_EMBEDDING:
            if open_ and open_[-1] not in ISOLATES and open_.pop() in OVERRIDES:
                yield found.start()
        elif control == END_OF_ISOLATE:
            if any(isolate in open_ for isolate in ISOLATES):
                while open_.pop() not in ISOLATES:
                    pass
        else:
            open_.append(control)
            if control in OVERRIDES:
                yield found.start()


INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
UNNEEDED = regex.compile(
    r"""
      [\u2060\ufeff]
    | (?<![ÂÃÄÅÐÑØÙ])\u00ad                                   # "Ã" and a soft hyphen are an "í" decoded wrongly
    | (?<![\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])\u200b(?![\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])    # between words, there
    # joiners do something in emoji and in scripts whose letters join: only between all others are they unneeded
    | (?<![^\s\p{Latin}\p{Greek}\p{Cyrillic}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Nd}\p{P}])[\u200c\u200d]+
      (?![^\s\p{Latin}\p{Greek}\p{Cyrillic}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Nd}\p{P}])
    """,
    regex.VERBOSE,
)
MARKS = re.compile("[\u200e\u200f]")


def _zero_width(text: str) -> list[Change]:
    """Characters without width where they do nothing; direction marks where nothing is written from right to left."""
    if text.isascii() or not _has_any(text, INVISIBLE):
        return []
    changes = [Change(found.start(), found.end(), "") for found in UNNEEDED.finditer(text)]
    if not RIGHT_TO_LEFT.search(text):
        changes += [Change(*found.span(), "") for found in MARKS.finditer(text)]
    return sorted(changes)


# ----------------------------------------------------------------------------------------------------------- line breaks


def _crlf(text: str) -> list[Change]:
    """Line breaks of Windows and of old Macs."""
    return [Change(*found.span(), "\n") for found in re.finditer(r"\r\n?", text)] if "\r" in text else []


ESCAPED = re.compile(r"\\r\\n|\\n")
LAYOUT = re.compile(r"(?:\\r)?\\n(?:(?:\\r)?\\n|[-*#>]\s|•|\d{1,3}[.)]\s)")  # a blank line, or a list
NO_PROSE = re.compile(
    r"""
      [{}`$] | \w\( | [=\[]\s*["']                     # code, mathematics
    | \b[a-zA-Z]:\\ | \\(?![nrt"']) | \\r(?!\\n) | \\t(?=[a-z])        # paths, regular expressions, LaTeX
    | \\n(?:abla|eq?|eg|u|i|ot|otin|exists|mid|leq|geq|subseteq|rightarrow|oindent|onumber|atural)(?![a-z])
    | \\new(?:line|page|command)
    | ["'“‘](?:\\[nrt])+["'”’]                         # spoken of: split it at "\n"
    | (?<![.!?:;。！？：；])\s(?:\\[nr])+(?:[\s,.;)]|\Z)
    """,
    re.VERBOSE,
)


def _escaped_newlines(text: str) -> list[Change]:
    r"""\n for a line break, in prose that has no line break, but "\n\n" or "\n- "."""
    if "\\n" not in text or "\n" in text or "\r" in text or not LAYOUT.search(text) or NO_PROSE.search(text):
        return []
    return [Change(*found.span(), "\n") for found in ESCAPED.finditer(text)]


# The order in which repairs are made: an entity may be half of a mojibake, a soft hyphen too.
FINDERS: dict[Repair, Callable[[str], list[Change]]] = {
    "html_entities": _html_entities,
    "mojibake": _mojibake,
    "bidi": _bidi,
    "zero_width": _zero_width,
    "crlf": _crlf,
    "escaped_newlines": _escaped_newlines,
}
# A conversation that speaks of the fault may show it on purpose.
ABOUT: dict[Repair, re.Pattern[str]] = {
    "html_entities": re.compile(
        r"html|\bxml|\bcss\b|\bsvg\b|entit(?:y|ies)|escap|ampersand|markup|\btags?\b|javascript|\bphp\b|\bcod(?:e|ing)\b|program"
        r"|网页|标签|代码|转义|实体|</?[a-z][\w-]*(?:\s[^<>]{0,200})?/?>|&lt;/?[a-z][\w-]*(?:\s[^<>&]{0,200})?/?&gt;",
        re.IGNORECASE,
    ),
    "mojibake": re.compile(
        r"mojibake|encod|decod|\butf|latin-?1|unicode|cp1252|charset|garbled|(?:weird|strange|special) (?:char|symbol)"
        r"|乱码|编码",
        re.IGNORECASE,
    ),
    "zero_width": re.compile(
        r"zero[- ]width|soft hyphen|word joiner|byte order mark|invisible char|\bU\+[0-9a-f]{4}", re.IGNORECASE
    ),
    "escaped_newlines": re.compile(
        r"new ?lines?\b|line[- ]?(?:break|feed)|escap|backslash|regex|regular expression|\bstrings?\b|\bprint|\bcod(?:e|ing)\b"
        r"|program|python|java|latex|换行|转义|代码",
        re.IGNORECASE,
    ),
}
