"""ShareGPT: conversations of {from, value}, with tools and function roles as LLaMA-Factory writes them.

    {"conversations": [{"from": "human", "value": "What time is it in Rome?"},
                       {"from": "function_call", "value": "{\\"name\\": \\"clock\\", \\"arguments\\": {}}"},
                       {"from": "observation", "value": "{\\"time\\": \\"12:04\\"}"},
                       {"from": "gpt", "value": "It is 12:04."}],
     "system": "...", "tools": "[{\\"name\\": \\"clock\\", ...}]"}

The turns may stand in other places too (`items`, `chat`). A KTO label makes the row unpaired.

`write` keeps to what LLaMA-Factory reads: human and observation take turns with gpt and function_call, the system prompt stands
beside them. The ids of calls are not written: what a result answers shows in the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import orjson

from sft_assets.formats import chats
from sft_assets.formats.chats import has_turns, read_chat, shared_place
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.messages import from_and_value
from sft_assets.formats.tool_calls import Call, answers, calls, functions
from sft_assets.formats.writing import CannotHold
from sft_assets.record import Conversation, Message

NAME = "sharegpt"
COLUMNS = {"messages": "conversations"}
TURNS = ("conversations", "conversation")
TELLING = frozenset((*TURNS, *chats.SHARED))
USED = frozenset((*TURNS, *chats.SHARED, *chats.USED))
FROM = {"user": "human", "assistant": "gpt", "tool": "observation"}


def matches(record: dict[str, Any]) -> bool:
    if any(record.get(name) is not None for name in TURNS):
        return has_turns(record, TURNS)
    place = shared_place(record)
    return place is not None and from_and_value(record[place])


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    return [read_chat(record, TURNS)]


# ---------------------------------------------------------------------------------------------------------- writing


def write(row: Conversation) -> dict[str, Any]:
    """The record of a conversation that ends in an answer; with `kto_tag` where the row has a label.

    Raises:
        CannotHold: broken_tools, broken_tool_call, turns_do_not_alternate, reasoning_name_or_weight, text_beside_tool_call,
            tool_results_do_not_match.
    """
    functions(row.tools)
    system, turns = _parted(row.messages)
    if len(turns) % 2 or not turns:
        raise CannotHold("turns_do_not_alternate")
    label = {} if row.label is None else {"kto_tag": row.label}
    return {"conversations": _written(turns), "system": system, "tools": row.tools or "", **label}


def write_pair(
    row: Conversation, prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]
) -> dict[str, Any]:
    """The record of a preference pair, each answer of which is one turn.

    Raises:
        CannotHold: as `write`, and answer_of_several_turns.
    """
    if len(chosen) != 1 or len(rejected) != 1:
        raise CannotHold("answer_of_several_turns")
    functions(row.tools)
    system, turns = _parted(prompt)
    better, worse = (_written([*turns, *answer]) for answer in (chosen, rejected))
    if len(better) % 2:
        raise CannotHold("turns_do_not_alternate")
    return {
        "conversations": better[:-1],
        "chosen": better[-1],
        "rejected": worse[-1],
        "system": system,
        "tools": row.tools or "",
    }


def _parted(turns: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system prompt, and the other turns."""
    if turns and turns[0].role == "system" and _says_no_more(turns[0]):
        return turns[0].content, turns[1:]
    return "", turns


def _says_no_more(turn: Message) -> bool:
    """Whether a turn has nothing that ShareGPT has no key for; the name of a result is looked at with its call."""
    weight = 1 if turn.role == "assistant" else 0  # that trainers of ShareGPT give it
    return not turn.reasoning and (turn.role == "tool" or not turn.name) and turn.weight in (None, weight)


def _written(turns: Sequence[Message]) -> list[dict[str, str]]:
    if any(turn.role not in roles for turn, roles in zip(turns, cycle((("user", "tool"), ("assistant",))))):
        raise CannotHold("turns_do_not_alternate")
    if not all(map(_says_no_more, turns)):
        raise CannotHold("reasoning_name_or_weight")
    called = [calls(turn) for turn in turns]
    for turn, before in zip(turns, [[], *called], strict=False):
        told = turn.role == "tool" and (turn.name or turn.tool_call_id)  # which call it answers: the last one, or it is lost
        if told and not (len(before) == 1 and answers(turn, before[0])):
            raise CannotHold("tool_results_do_not_match")
    return [_turn(turn, made) for turn, made in zip(turns, called, strict=True)]


def _turn(turn: Message, made: list[Call]) -> dict[str, str]:
    if not made:
        return {"from": FROM[turn.role], "value": turn.content}
    if turn.content:
        raise CannotHold("text_beside_tool_call")
    told = [{"name": call.name, "arguments": orjson.Fragment(call.text)} for call in made]  # as they are
    return {"from": "function_call", "value": orjson.dumps(told if len(told) > 1 else told[0]).decode()}
