"""Small repairs that every trainer would ask for. Each is logged; the place is logged, never the text.

system ""  user "Hi"  user "Are you there?"  assistant "Yes."
->  user "Hi\\n\\nAre you there?"  assistant "Yes."          removed_empty_system, merged_turns
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sft_assets.record import Message

BOM = "\ufeff"


class Edit(NamedTuple):
    """One change of a row's content: what was done, where or what it was, what it is now."""

    what: str
    before: str
    after: str


def repair(turns: list[Message], place: str = "turn") -> tuple[list[Message], list[Edit]]:
    """The turns with byte order marks stripped, empty system turns removed and consecutive turns of a role merged."""
    edits: list[Edit] = []
    result: list[Message] = []
    for number, turn in enumerate(turns, 1):
        if turn.content.startswith(BOM):
            turn = turn._replace(content=turn.content.lstrip(BOM))
            edits.append(Edit("stripped_bom", f"{place} {number}", ""))
        if turn.role == "system" and not turn.content.strip():
            edits.append(Edit("removed_empty_system", f"{place} {number}", ""))
            continue
        if result and turn.role == result[-1].role and turn.role != "tool":
            edits.append(Edit("merged_turns", f"{turn.role}, {place} {number}", f"{place} {len(result)}"))
            result[-1] = merged(result[-1], turn)
            continue
        result.append(turn)
    return result, edits


def merged(first: Message, second: Message) -> Message:
    """Two turns of one role as one: texts a blank line apart, calls in one list, in the training loss only if both are."""
    weights = [w for w in (first.weight, second.weight) if w is not None]
    return Message(
        first.role,
        "\n\n".join(t for t in (first.content, second.content) if t),
        first.name if first.name == second.name else None,
        _joined_calls(first.tool_calls, second.tool_calls),
        first.tool_call_id or second.tool_call_id,
        "\n\n".join(t for t in (first.reasoning, second.reasoning) if t) or None,
        min(weights) if weights else None,
    )


def _joined_calls(first: str | None, second: str | None) -> str | None:
    if not first or not second:
        return first or second
    try:
        lists = [calls if isinstance(calls := orjson.loads(text), list) else [calls] for text in (first, second)]
        return orjson.dumps(lists[0] + lists[1]).decode()
    except (ValueError, orjson.JSONEncodeError):  # left as it is for the rule that looks for broken calls
        return first + second
