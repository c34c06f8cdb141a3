"""Faults in texts, repaired where the recipe asks for it (`combined.repairs`, or a source's own `repairs`); each is logged.

    "Salt &amp; pepper from the cafÃ©"   html_entities, mojibake   ->   "Salt & pepper from the café"
    edit  repaired_mojibake  {"place": "turn 2", "count": 1, "first": {"at": 26, "before": " pepper from the cafÃ©"}}

`sft_assets/text/faults.py` says what a fault is. The rules of `scored/rule_hits/rules/text_faults.yaml` mark the rows that
have one where no repair is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import orjson

from sft_assets.combined.repairs import Edit
from sft_assets.masks import mask
from sft_assets.recipe import Repair
from sft_assets.record import Message
from sft_assets.text.faults import FINDERS, Change, can_have, find


class Fault(NamedTuple):
    """What one kind of repair did to a text.

    places: how many there were (of mojibake: lines). at: the first of them, in characters of the text as the kinds before this
    one left it. before, after: some 40 characters around it; empty where the text holds personal data, which a cut snippet
    could hide from the masks.
    """

    kind: Repair
    places: int
    at: int
    before: str
    after: str


AROUND = 20
ROUNDS = 8  # one repair may uncover what another mends; a text that is not done by then was made to be so, and is left alone


def repair_text(text: str, kinds: Collection[Repair]) -> tuple[str, list[Fault]]:
    """The text without the faults of these kinds, and what was found, in the order of FINDERS.

    Repaired until nothing changes: to repair twice is to repair once.
    """
    if text.isascii() and "&" not in text and "\r" not in text and "\\n" not in text:
        return text, []
    faults: dict[Repair, Fault] = {}
    stages = [text]
    for _ in range(ROUNDS):
        before = stages[-1]
        for kind in FINDERS:
            if kind in kinds and (changes := find(stages[-1], kind)):
                stages.append(_changed(stages[-1], changes))
                known = faults.get(kind) or _fault(kind, stages[-2], stages[-1], changes[0])
                faults[kind] = known._replace(places=known.places + len(changes))
        if stages[-1] == before:
            personal = any(mask(stage)[1] for stage in stages) if faults else False
            found = [faults[kind] for kind in FINDERS if kind in faults]
            return before, [fault._replace(before="", after="") for fault in found] if personal else found
    return text, []


def repair_turns(
    messages: list[Message], kinds: Collection[Repair], place: str, edits: list[Edit], context: Sequence[Message] = ()
) -> list[Message]:
    """Turns with their text and reasoning repaired; what was done is added to `edits`.

    Tool calls and what tools return stay as they are. context: turns to read, not to repair (of a rejected answer, the
    conversation before it).
    """
    result = []
    conversation = [*context, *messages]
    for number, turn in enumerate(messages, 1):
        content = _repaired(turn.content, turn, kinds, conversation, f"{place} {number}", edits)
        reasoning = turn.reasoning and _repaired(
            turn.reasoning, turn, kinds, conversation, f"{place} {number} reasoning", edits
        )
        changed = (content, reasoning) != (turn.content, turn.reasoning)
        result.append(turn._replace(content=content, reasoning=reasoning) if changed else turn)
    return result


def _repaired(
    text: str, turn: Message, kinds: Collection[Repair], conversation: Sequence[Message], place: str, edits: list[Edit]
) -> str:
    if not repair_text(text, kinds)[1]:
        return text
    # few texts have a fault, and only for them the whole conversation is looked at
    repaired, faults = repair_text(text, [kind for kind in kinds if can_have(turn, kind, conversation)])
    edits += [_edit(fault, place) for fault in faults]
    return repaired


def _changed(text: str, changes: Sequence[Change]) -> str:
    pieces, end = [], 0
    for change in changes:
        pieces += [text[end : change.start], change.new]
        end = change.stop
    return "".join([*pieces, text[end:]])


def _fault(kind: Repair, faulty: str, repaired: str, first: Change) -> Fault:
    before = _snippet(faulty, first.start, first.stop)
    return Fault(kind, 0, first.start, before, _snippet(repaired, first.start, first.start + len(first.new)))


def _snippet(text: str, start: int, stop: int) -> str:
    return text[max(start - AROUND, 0) : min(stop, start + 2 * AROUND) + AROUND]


def _edit(fault: Fault, place: str) -> Edit:
    before = {"place": place, "count": fault.places, "first": {"at": fault.at, "before": fault.before}}
    return Edit(f"repaired_{fault.kind}", orjson.dumps(before).decode(), fault.after)
