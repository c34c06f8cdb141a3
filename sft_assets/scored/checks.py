"""Checks that a regular expression cannot make: over a whole answer, or over an answer and what stands before it.

    Turn(text="I love it. I love it. I love it. I love it. I love it. I love it.")  --repetition-->  (0, 10)

A check takes a turn and the rule's `params`, and returns the span of what it found, or None. To add one: write the function,
name it in CHECKS, write a rule with `check: its_name`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from sft_assets.recipe import Repair
from sft_assets.record import Message
from sft_assets.text import normal, tokens
from sft_assets.text.faults import MOJIBAKE, can_have, find

Span = tuple[int, int]


class Turn(NamedTuple):
    """The text that a rule looks at (a turn's content, or its tool calls as JSON) and the conversation around it."""

    text: str
    number: int  # from 1
    messages: Sequence[Message]
    tools: str | None

    @property
    def question(self) -> str:
        """The last user turn before this one."""
        return next((m.content for m in reversed(self.messages[: self.number - 1]) if m.role == "user"), "")

    @property
    def asked(self) -> str:
        """All that system and user have said up to this turn."""
        return "\n".join(m.content for m in self.messages[: self.number] if m.role in ("system", "user"))

    @property
    def has_tools(self) -> bool:
        return self.tools is not None or any(m.role == "tool" or m.tool_calls for m in self.messages)


# --------------------------------------------------------------------------------------------------------------- answers

SENTENCE_ENDS = ".!?。！？\n"
SENTENCE = re.compile(f"[^{SENTENCE_ENDS}]+")
CODE_MARKS = re.compile(r"[{}<>=;|`\\]|\(\)")


def repetition(turn: Turn, times: int, share: float, min_bytes: int) -> Span | None:
    """One sentence or line `times` times or more, which makes up `share` of the text: the first of them.

    Shorter ones (a bullet, "Yes.") and those with marks of code or tables do not count.
    """
    lines = turn.text.lower()
    for mark in SENTENCE_ENDS:
        lines = lines.replace(mark, "\n")
    sentences = [*filter(None, map(str.strip, lines.split("\n")))]
    if len(sentences) - len(set(sentences)) < times - 1:
        return None
    for sentence, n in Counter(sentences).most_common():
        if n < times:
            return None
        fits = len(sentence.encode("utf-8", "replace")) >= min_bytes and n * len(sentence) >= share * len(turn.text)
        if fits and not CODE_MARKS.search(sentence):
            spans = (found.span() for found in SENTENCE.finditer(turn.text) if found[0].strip().lower() == sentence)
            return next(spans, None)
    return None


def answer_repeats_prompt(turn: Turn, min_tokens: int) -> Span | None:
    """The answer is the last user turn again, but for case, whitespace and Unicode form."""
    answer, prompt = turn.text, turn.question
    if normal(answer.lstrip()[:16])[:8] != normal(prompt.lstrip()[:16])[:8]:  # most differ here
        return None
    if normal(answer) != normal(prompt) or len(tokens(answer)) < min_tokens:
        return None
    return 0, len(answer)


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


def very_long_line(turn: Turn, longest: int) -> Span | None:
    """The first line of more than `longest` characters."""
    start = 0
    for line in turn.text.split("\n"):
        if len(line) > longest:
            return start, start + len(line)
        start += len(line) + 1
    return None


# ------------------------------------------------------------------------------------------------------------ characters


def mojibake(turn: Turn) -> Span | None:
    """What was decoded with the wrong encoding, or could not be decoded at all (U+FFFD)."""
    found = MOJIBAKE.search(turn.text) or LOST.search(turn.text)
    return found.span() if found else None


LOST = re.compile("\ufffd")


def text_fault(turn: Turn, kind: Repair) -> Span | None:
    """The first place that the repair of this kind would mend."""
    changes = find(turn.text, kind)
    if not changes or not can_have(turn.messages[turn.number - 1], kind, turn.messages):
        return None
    return changes[0].start, changes[0].stop


# ------------------------------------------------------------------------------------------------------------ tool calls


def _calls(text: str) -> Iterator[tuple[str, Any]]:
    """Name and arguments of each call of a `tool_calls` text. What is no call has the name ""."""
    try:
        calls = orjson.loads(text)
    except ValueError:
        calls = [None]
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            yield "", None
        else:
            yield function["name"], function.get("arguments")


def broken_tool_call(turn: Turn) -> Span | None:
    """A call without a name, or whose arguments are neither an object nor the JSON text of one."""
    for name, arguments in _calls(turn.text):
        if isinstance(arguments, str) and arguments.strip():
            try:
                arguments = orjson.loads(arguments)
            except ValueError:
                return 0, len(turn.text)
        if not name.strip() or not (arguments is None or arguments == "" or isinstance(arguments, dict)):
            return 0, len(turn.text)
    return None


@lru_cache(maxsize=1024)
def _tool_names(tools: str) -> frozenset[str]:
    try:
        listed = orjson.loads(tools)
    except ValueError:
        return frozenset()
    entries = [t.get("function", t) for t in (listed if isinstance(listed, list) else [listed]) if isinstance(t, dict)]
    return frozenset(e["name"] for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str))


def unknown_tool(turn: Turn) -> Span | None:
    """A called function that `tools` does not list. Nothing can be said where `tools` lists none."""
    known = _tool_names(turn.tools) if turn.tools else frozenset()
    if not known:
        return None
    for name, _ in _calls(turn.text):
        if name and name not in known:
            start = max(turn.text.find(orjson.dumps(name).decode()), 0)
            return start, min(start + len(name) + 2, len(turn.text))
    return None


CHECKS: dict[str, Callable[..., Span | None]] = {
    check.__name__: check
    for check in (
        repetition,
        answer_repeats_prompt,
        unclosed_code_fence,
        cut_off,
        very_long_line,
        mojibake,
        text_fault,
        broken_tool_call,
        unknown_tool,
    )
}
