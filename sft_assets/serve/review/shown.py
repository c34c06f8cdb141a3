"""An item of a queue as the page shows it: texts in pieces, marked by the server, which counts characters as the marks do.

    {"number": 17, "question": "Is this row a duplicate of the other one?", "answer": "Paris.", ...,
     "sides": [{"title": "This row", "turns": [{"role": "user", "pieces": [{"text": "What is the "},
                {"text": "capital", "mark": "near duplicate"}, {"text": " of France ?", "differs": true}]}]},
               {"title": "The other row 41d0c2b7", "turns": [...]}]}

Turns that both sides begin with are shown once (`shared`). Characters that are not to be seen, or that turn round what follows,
are pieces of their own that say their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from sft_assets.reviews.queue import ASKED, Item, Mark
from sft_assets.serve.review.differences import Spans, differences
from sft_assets.text.hidden import RUNS

NAMED = 3  # characters of a run that are named


class Side(NamedTuple):
    """A text beside the other: its turns, and where they are marked."""

    title: str
    turns: Sequence[dict[str, Any]]
    marks: Sequence[Mark]
    first: int = 0  # the number of the first of these turns, less one


def shown(item: Item) -> dict[str, Any]:
    """Everything that the page shows of an item."""
    ours, rest = _sides(item)
    shared = _shared(item)
    last = _last_answer(item.messages)
    common = Side("", item.messages[:shared], ours.marks)
    ours = ours._replace(turns=item.messages[shared:], first=shared)
    sides = [ours, *rest]
    differs: list[dict[int, Spans]] = [{} for _ in sides]
    if rest:
        differs[0], differs[1] = _differing(ours, rest[0])
    return {
        **item.model_dump(
            mode="json", exclude={"content_hash", "messages", "rejected", "marks", "other", "signals", "reviewers", "tools"}
        ),
        "why_asked": ASKED[item.asked],
        "signals": [[name, said(value)] for name, value in item.signals.items() if value is not None],
        "tools": pieces(item.tools) if item.tools else None,
        "answer": None if last is None else str(item.messages[last].get("content") or ""),
        "edited": last,  # the turn that an edit changes, from 0
        "shared": _turns(common, {}),
        "sides": [{"title": side.title, "turns": _turns(side, spans)} for side, spans in zip(sides, differs, strict=True)],
        "compares": any(map(bool, differs)),
    }


def _sides(item: Item) -> tuple[Side, list[Side]]:
    """The row, and what stands beside it."""
    own = [mark for mark in item.marks if not mark.rejected]
    title, rest = "A: this row" if item.compared else "This row", []
    if (other := item.other) is not None:
        first = _common(item.messages, other.messages)
        turns = other.messages[first:] if other.messages else [{"role": "", "content": other.text}]
        marks = other.marks if other.messages else [mark.model_copy(update={"turn": 1}) for mark in other.marks]
        what = "B: the other row" if item.compared else "The other row" if other.what == "row" else "The test item"
        names = what, other.name, str(other.row_id)[:8] if other.row_id else ""
        rest.append(Side(" ".join(filter(None, names)), turns, marks, first))
    if item.rejected is not None:
        of_two = item.compared and other is None
        title = "A: the chosen answer" if of_two else title
        marks = [mark for mark in item.marks if mark.rejected]
        rest.append(Side("B: the rejected answer" if of_two else "The rejected answer", item.rejected, marks))
    return Side(title, item.messages, own), rest


def _shared(item: Item) -> int:
    """How many turns the row and what stands beside it begin with."""
    if item.other is not None:
        return _common(item.messages, item.other.messages)
    if item.rejected is not None:
        users = [n for n, turn in enumerate(item.messages, 1) if turn.get("role") == "user"]
        return users[-1] if users else 0
    return 0


def _common(a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count


def _last_answer(messages: Sequence[dict[str, Any]]) -> int | None:
    return next((n for n in reversed(range(len(messages))) if messages[n].get("role") == "assistant"), None)


def _differing(a: Side, b: Side) -> tuple[dict[int, Spans], dict[int, Spans]]:
    """By turn, where the two differ: turns of one role are compared in their order, a text without a role with the turn that it
    has most in common with."""
    ours, theirs = dict[int, Spans](), dict[int, Spans]()
    pairs: Iterable[tuple[int, int]]
    if len(b.turns) == 1 and not b.turns[0].get("role"):
        text = str(b.turns[0].get("content") or "")
        found = [(n, differences(str(turn.get("content") or ""), text)) for n, turn in enumerate(a.turns)]
        likest = min(
            ((sum(stop - start for spans in both for start, stop in spans), n) for n, both in found if both), default=None
        )
        pairs = [] if likest is None else [(likest[1], 0)]
    else:
        pairs = [(n, n) for n in range(min(len(a.turns), len(b.turns))) if a.turns[n].get("role") == b.turns[n].get("role")]
    for n, m in pairs:
        both = differences(str(a.turns[n].get("content") or ""), str(b.turns[m].get("content") or ""))
        if both is not None and any(both):
            ours[n], theirs[m] = both
    return ours, theirs


def _turns(side: Side, differs: dict[int, Spans]) -> list[dict[str, Any]]:
    found = []
    for n, turn in enumerate(side.turns):
        marks = [mark for mark in side.marks if mark.turn == side.first + n + 1]
        whole: dict[str, Any] = {
            "role": turn.get("role") or "",
            "pieces": pieces(str(turn.get("content") or ""), marks, differs.get(n, [])),
        }
        for name in ("name", "reasoning", "tool_calls"):
            if turn.get(name):
                whole[name] = pieces(_text(turn[name]))
        found.append(whole)
    return found


def pieces(text: str, marks: Sequence[Mark] = (), differs: Sequence[tuple[int, int]] = ()) -> list[dict[str, Any]]:
    """A text in pieces that are marked, differ, or are not to be seen, or none of it."""
    hidden = [match.span() for match in RUNS.finditer(text)]
    events: list[tuple[int, int, str, str]] = []
    for mark in (mark for mark in marks if mark.start < mark.stop):
        events += [(mark.start, 1, "mark", mark.why), (mark.stop, -1, "mark", mark.why)]
    for kind, spans in (("differs", differs), ("hidden", hidden)):
        for start, stop in spans:
            events += [(start, 1, kind, ""), (stop, -1, kind, "")]
    whys: list[str] = []
    open_, at, found = {"mark": 0, "differs": 0, "hidden": 0}, 0, list[dict[str, Any]]()
    for place, step, kind, why in [*sorted(events), (len(text), 0, "", "")]:
        place = min(max(place, at), len(text))
        if place > at:
            found.append(_piece(text[at:place], open_, whys))
            at = place
        if kind:
            open_[kind] += step
        if kind == "mark":
            whys.append(why) if step > 0 else whys.remove(why)
    return found


def _piece(text: str, open_: dict[str, int], whys: Sequence[str]) -> dict[str, Any]:
    piece: dict[str, Any] = {"text": text}
    if open_["hidden"]:
        names = " ".join(f"U+{ord(c):04X}" for c in text[:NAMED])
        piece = {"text": names if len(text) <= NAMED else f"{names} … {len(text):,}", "hidden": True}
    if open_["mark"]:
        piece["mark"] = "; ".join(dict.fromkeys(filter(None, whys)))
    if open_["differs"]:
        piece["differs"] = True
    return piece


def said(value: Any) -> str:
    """A signal in a few characters: 0.91, 1,204, yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _visible(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def _visible(text: str) -> str:
    return "".join(piece["text"] for piece in pieces(text))
