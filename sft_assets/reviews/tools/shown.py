"""What an annotation tool shows of an item, as plain text: turns, what they are compared with, and why it is asked.

    left(item)    [Turn("user", "What is the ⟦capital⟧ of France?"), Turn("assistant", "Paris.")]      ⟦ ⟧: the marked spans
    right(item)   [Turn("B · user", "What is the capital city of France?"), Turn("B · assistant", "Paris.")]
    context(item) "it was drawn at random, ... | deduped near_duplicate | jaccard 0.91"

Characters that would not be seen, or would turn the text around, stand as \\u202e.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sft_assets.reviews.decisions import Verdict
from sft_assets.reviews.queue import ASKED, Item, Mark
from sft_assets.text.hidden import HIDDEN

HINTS: dict[Verdict, str] = {
    "keep": "the row is right as it is",
    "drop": "the row goes",
    "review": "the row is marked for review",
    "edit": "the row stays, with the answer written below",
    "prefer_a": "A is better",
    "prefer_b": "B is better",
    "tie": "A and B are equally good",
}
HOTKEYS: dict[Verdict, str] = {
    "keep": "k", "drop": "d", "review": "r", "edit": "e", "prefer_a": "a", "prefer_b": "b", "tie": "t",
}  # fmt: skip
OPEN, CLOSE = "⟦", "⟧"
NOTHING = "(there is nothing to compare it with)"


class Turn(NamedTuple):
    """A turn, or what else is shown beside one. who: role, with the side where there are two."""

    who: str
    text: str


def left(item: Item) -> list[Turn]:
    """The row itself. Never empty."""
    side = "A · " if item.compared else ""
    tools = [Turn("tools", visible(item.tools))] if item.tools else []
    return [*tools, *turns(item.messages, [m for m in item.marks if not m.rejected], side)] or [Turn("", "(no turns)")]


def right(item: Item) -> list[Turn]:
    """What the row is compared with: its own rejected answer, another row, a test item. Empty where there is nothing."""
    found: list[Turn] = []
    if item.rejected is not None:
        side = "B · " if item.compared and item.other is None else "rejected · "
        found += turns(item.rejected, [m for m in item.marks if m.rejected], side)
    if item.other is not None and item.other.what == "row":
        found += turns(item.other.messages, item.other.marks, "B · " if item.compared else "other · ")
    elif item.other is not None:
        text = marked(item.other.text, [m for m in item.other.marks if m.turn == 0])
        found.append(
            Turn("test item", "\n".join(filter(None, [f"[{visible(item.other.name)}]" if item.other.name else "", text])))
        )
    return found


def turns(messages: Iterable[Mapping[str, Any]], marks: Sequence[Mark], side: str = "") -> list[Turn]:
    """Chat messages, each with its marks; turns are counted from 1."""
    return [
        Turn(visible(f"{side}{one['role']}"), _turn(one, [m for m in marks if m.turn == number]))
        for number, one in enumerate(messages, 1)
    ]


def _turn(message: Mapping[str, Any], marks: Sequence[Mark]) -> str:
    parts = [
        f"[reasoning] {visible(str(message['reasoning']))}" if message.get("reasoning") else "",
        marked(message.get("content") or "", marks),
        f"[tool calls] {visible(str(message['tool_calls']))}" if message.get("tool_calls") else "",
    ]
    return "\n".join(filter(None, parts)) or "(empty)"


def marked(text: str, marks: Iterable[Mark]) -> str:
    """The text with its marked spans in ⟦ ⟧, those that touch or overlap as one."""
    spans: list[tuple[int, int]] = []
    for start, stop in sorted((max(0, m.start), min(m.stop, len(text))) for m in marks):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        elif start < stop:
            spans.append((start, stop))
    shown = _visible(text)
    pieces, end = [], 0
    for start, stop in spans:
        pieces += [*shown[end:start], OPEN, *shown[start:stop], CLOSE]
        end = stop
    return "".join([*pieces, *shown[end:]])


def visible(text: str) -> str:
    """Text in which nothing is hidden."""
    return "".join(_visible(text))


def _visible(text: str) -> list[str]:
    """Of each character what is shown: whether it would be seen depends on its neighbours."""
    shown = [*text]
    for found in HIDDEN.finditer(text):
        code = ord(found[0])
        shown[found.start()] = f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return shown


def context(item: Item) -> str:
    """Why the item is asked about: what the pipeline did, what it knows, what the marks are."""
    marks = [*item.marks, *(item.other.marks if item.other else [])]
    whys = dict.fromkeys(m.why for m in marks if m.why)
    parts = [
        ASKED[item.asked],
        item.about,
        f"source {item.source}" if item.source else "",
        *(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in item.signals.items()),
        f"{OPEN}{CLOSE} {', '.join(whys)}" if whys else "",
    ]
    return visible(" | ".join(filter(None, parts)))


def choices(item: Item) -> list[Verdict]:
    """What can be chosen; a tool has its own way to skip."""
    return [choice for choice in item.choices if choice in HINTS]


def answer(item: Item) -> str:
    """The answer that an edit starts from, as it is: what the last assistant turn says."""
    last = item.messages[-1] if item.messages else {}
    return str(last.get("content") or "") if last.get("role") == "assistant" else ""
