"""Chat templates: a text with a template's marks, cut back into its turns.

    <|im_start|>user
    Name a prime.<|im_end|>
    <|im_start|>assistant
    7<|im_end|>                          -> user "Name a prime."  assistant "7"          template chatml

A mark counts only where its template puts it, so that a text which merely mentions one stays whole: with end marks a turn must
follow the end of another; labels must begin a line, alternate, and stand nowhere else in the text. Content is kept byte for
byte; what is taken away is the white space that the template itself puts around it, and marks of the text's begin and end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from re import Match
from typing import NamedTuple

from sft_assets.formats.template_calls import split_calls
from sft_assets.formats.template_marks import AVAILABLE, BEGIN, ENDS, INPUT, LABELS, LONGEST_LEAD, TEMPLATES, Template
from sft_assets.formats.turns import calls_of_text
from sft_assets.record import Message

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
Parts = list[tuple[str, str]]  # role and content


class Transcript(NamedTuple):
    """The turns of a text. `unanswered`: it ends with a mark after which the assistant is to go on."""

    template: str
    messages: list[Message]
    unanswered: bool = False
    tools: str | None = None


def turns_of(text: str, labels: bool = True) -> Transcript | None:
    """The turns of a text; None where no template's marks are in it.

    `labels=False` looks for templates of their own only, not for plain words ("Q:", "A:").
    """
    if begin := BEGIN.match(text):
        text = text[begin.end() :]
    for template in (*TEMPLATES, *LABELS) if labels else TEMPLATES:
        if template.key in text and template.fits(text) and (found := _parsed(text, template)):
            return found
    return None


def _parsed(text: str, template: Template) -> Transcript | None:
    marks = list(template.mark.finditer(text))
    if not marks:
        return None
    parts: Parts = []
    for role, content in _parts(text, marks, template):
        if role is None:
            return None
        parts.append((role, content))
    if not _put_before(text[: marks[0].start()], parts, template):
        return None
    tools = next((content.strip() for role, content in parts if role == AVAILABLE), None)
    turns: Parts = []
    for role, content in parts:
        if role == INPUT:
            if not turns or turns[-1][0] != "user":
                return None
            if content.strip():
                turns[-1] = ("user", f"{turns[-1][1]}\n{content}")
        elif role != AVAILABLE and (role != "system" or content.strip()):
            turns.append((role, content))
    if not _plausible([role for role, _ in turns], template.alternates):
        return None
    if turns[-1][0] == "user" and not turns[-1][1].strip():  # a place for the next question
        turns.pop()
    unanswered = turns[-1][0] == "assistant" and not turns[-1][1].strip()
    if unanswered:
        turns.pop()
    return Transcript(template.name, [_message(role, content) for role, content in turns], unanswered, tools)


def _parts(text: str, marks: list[Match[str]], template: Template) -> Iterator[tuple[str | None, str]]:
    """Role and content of each turn; None for a role that nobody knows."""
    stops = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, stop in zip(marks, stops, strict=True):
        content = text[mark.end() : stop]
        if template.lines:
            content = _without_end(content.rstrip("\r\n"), template).rstrip("\r\n")
        elif mark is marks[-1]:
            content = _without_end(content, template)
        role = mark.lastgroup
        yield template.roles.get(mark["word"].strip().lower()) if role == "word" else role, content


def _without_end(content: str, template: Template) -> str:
    """The content of a turn without the marks that end the text, and the template's own that ends the turn."""
    for ends in (ENDS, template.ends):
        bare = content.rstrip()
        end = next((end for end in ends if bare.endswith(end)), None)
        if end:
            content = bare.removesuffix(end)
            if template.padded:
                content = content.removesuffix(" ")
    return content


def _put_before(lead: str, parts: Parts, template: Template) -> bool:
    """Put the text before the first mark where the template has it; False where the template has no such text."""
    if template.preamble:
        lead = template.preamble.sub("", lead, count=1)
    if not lead.strip():
        return True
    if template.lead == "system":
        parts.insert(0, ("system", lead.strip("\r\n")))
        return True
    if template.lead == "user" and parts[0][0] == "user" and len(lead) <= LONGEST_LEAD:
        parts[0] = ("user", lead + parts[0][1])
        return True
    return False


def _plausible(roles: list[str], alternates: bool) -> bool:
    """Whether somebody asks and the assistant answers, in an order that the template allows."""
    if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
        return False
    if not alternates:
        return True
    turns = roles[1:] if roles[0] == "system" else roles
    return all(role in FOLLOWS.get(before, ()) for before, role in zip(["", *turns], turns, strict=False))


def _message(role: str, content: str) -> Message:
    if role == "function_call":
        return Message("assistant", "", tool_calls=calls_of_text(content))
    if role == "assistant":
        content, calls = split_calls(content)
        return Message(role, content, tool_calls=calls)
    return Message(role, content)
