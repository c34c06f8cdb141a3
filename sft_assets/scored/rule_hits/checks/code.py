"""Whether code and JSON that a prompt asked for can be parsed.

    user: "Give me a user as JSON."   assistant: "{'name': 'Ann', }"   --invalid_json-->   (0, 17)

Nothing is run. Snippets with an ellipsis for what is left out, and sessions of a shell, are let be.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
import warnings
from collections.abc import Iterator

from sft_assets.scored.rule_hits.checks.turn import Span, Turn

FENCE = re.compile(
    r"^[ \t]*(`{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n`]*\n(?P<code>.*?)(?:(?P<end>^[ \t]*\1[ \t\r]*$)|\Z)",
    re.MULTILINE | re.DOTALL,
)


def _fences(text: str, languages: frozenset[str]) -> Iterator[re.Match[str]]:
    """Closed fences that say one of the languages."""
    return (found for found in FENCE.finditer(text) if found["end"] and found["language"].lower() in languages)


# ------------------------------------------------------------------------------------------------------------------ JSON

JSON = frozenset(("json",))
SEPARATOR = re.compile(r"[\s,]*")
# an ellipsis, a placeholder or a comment, where a value would stand
OMITTED_JSON = re.compile(
    r"^\s*(?:\.\.\.|…)|[\[{,(]\s*(?:\.\.\.|…)|(?:\.\.\.|…)\s*[\]}]|<[a-zA-Z_ -]{2,40}>|//|/\*|#\s", re.MULTILINE
)
BEGINS_JSON = re.compile(r"\s*(?:\{\s*[\"'}]|\[\s*[\[{\"'\]\d-])")


def invalid_json(turn: Turn, longest: int) -> Span | None:
    """A fence that says json, or a whole answer to a prompt that speaks of JSON, that no parser reads."""
    fences = list(_fences(turn.text, JSON))
    for found in fences:
        if not _is_json(found["code"], longest):
            return found.span("code")
    text = turn.text.strip()
    if fences or not BEGINS_JSON.match(text) or not text.endswith(("}", "]")) or "json" not in turn.asked.lower():
        return None
    if not _is_json(text, longest):
        start = turn.text.index(text)
        return start, start + len(text)
    return None


def _is_json(text: str, longest: int) -> bool:
    """Whether a text is JSON, or values of JSON one after another, or leaves something out on purpose."""
    if len(text) > longest or not BEGINS_JSON.match(text):
        return True
    decoder, at = json.JSONDecoder(strict=False), _past_separator(text, 0)
    try:
        while at < len(text):
            _, at = decoder.raw_decode(text, at)
            at = _past_separator(text, at)
    except ValueError:
        return OMITTED_JSON.search(text) is not None
    except RecursionError:
        return True
    return True


def _past_separator(text: str, at: int) -> int:
    found = SEPARATOR.match(text, at)
    return found.end() if found else at


# ---------------------------------------------------------------------------------------------------------------- Python

PYTHON = frozenset(("python", "py", "python3"))
BEGINS_PYTHON = re.compile(r"\s*(?:def \w+\(|import \w|from [\w.]+ import |class \w+[:(]|#!.*python)")
OMITTED_PYTHON = re.compile(r"^\s*(?:\.\.\.|…)|<[a-zA-Z_ -]{2,40}>|\[(?:your|insert) ", re.MULTILINE | re.IGNORECASE)
OTHER_LANGUAGE = re.compile(r"\bjava\.|\bpublic (?:class|static)|^\s*end\s*$|console\.log\(|^\s*\};?\s*$", re.MULTILINE)
SHELL = re.compile(r"^\s*(?:>>>|In ?\[\d+\]|[%!$]\s?\w|pip3? install|python3? )", re.MULTILINE)


def invalid_python(turn: Turn, longest: int) -> Span | None:
    """A fence that says python, or a whole answer to a prompt that speaks of Python, with a syntax error."""
    fences = list(_fences(turn.text, PYTHON))
    for found in fences:
        if not _is_python(found["code"], longest):
            return found.span("code")
    if "```" in turn.text or not BEGINS_PYTHON.match(turn.text) or "python" not in turn.asked.lower():
        return None
    if _is_python(turn.text, longest) or OTHER_LANGUAGE.search(turn.text):
        return None
    return 0, len(turn.text)


def _is_python(text: str, longest: int) -> bool:
    if len(text) > longest or SHELL.search(text):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return OMITTED_PYTHON.search(text) is not None
    except (ValueError, RecursionError, MemoryError):
        return True
    return True


# -------------------------------------------------------------------------------------------------------------- brackets

C_LIKE = frozenset(("java", "c", "cpp", "c++", "csharp", "cs", "c#", "go", "kotlin", "swift", "dart"))
PAIRS = {")": "(", "]": "[", "}": "{"}
# comments, texts and characters in which a bracket means nothing
APART = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?(?:\"\"\"|\Z)|@?"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n]){1,8}'|`[^`]*`""", re.DOTALL
)
BRACKET = re.compile(r"[()\[\]{}]")


def unbalanced_code(turn: Turn, longest: int) -> Span | None:
    """A fence of a language like C in which a bracket is not closed, or closed twice: from that bracket on."""
    for found in _fences(turn.text, C_LIKE):
        if len(found["code"]) <= longest and (at := _unbalanced(found["code"])) is not None:
            return found.start("code") + at, found.end("code")
    return None


def _unbalanced(code: str) -> int | None:
    """Where the first bracket without its other half stands."""
    code = APART.sub(lambda found: " " * len(found[0]), code)
    open_: list[tuple[str, int]] = []
    for found in BRACKET.finditer(code):
        if found[0] in "([{":
            open_.append((found[0], found.start()))
        elif not open_ or open_.pop()[0] != PAIRS[found[0]]:
            return found.start()
    return open_[0][1] if open_ else None
