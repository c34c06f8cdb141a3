"""OpenAI's fine-tuning format, as it is written (`messages` and `preference` read it): stricter than the chat format.

    {"messages": [{"role": "user", "content": "What time is it in Rome?"},
                  {"role": "assistant", "tool_calls": [
                      {"id": "call_2_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]},
                  {"role": "tool", "tool_call_id": "call_2_1", "content": "12:04"},
                  {"role": "assistant", "content": "It is 12:04.", "weight": 1}],
     "tools": [{"type": "function", "function": {"name": "clock", "parameters": {...}}}]}
    {"input": {"messages": [...], "tools": [...]},
     "preferred_output": [{"role": "assistant", "content": "7"}], "non_preferred_output": [...]}

Calls that have no id get one, from their place. https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sft_assets.formats.tool_calls import Turn, matched, tool_objects
from sft_assets.formats.writing import CannotHold
from sft_assets.record import Conversation, Message

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of functions and of speakers


def write(row: Conversation) -> dict[str, Any]:
    """The training example of a conversation.

    Raises:
        CannotHold: last_turn_not_assistant, empty_turn, reasoning, speaker_name, loss_weight, function_name, broken_tools,
            broken_tool_call, tool_results_do_not_match.
    """
    return {"messages": _written(row.messages), **_tools(row)}


def write_pair(
    row: Conversation, prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]
) -> dict[str, Any]:
    """The training example of a preference pair: each answer is one turn of the assistant, all of which counts.

    Raises:
        CannotHold: as `write`, and answer_of_several_turns, answered_prompt.
    """
    if len(chosen) != 1 or len(rejected) != 1:
        raise CannotHold("answer_of_several_turns")
    if not prompt or prompt[-1].role == "assistant":
        raise CannotHold("answered_prompt")
    if chosen[0].weight == 0 or rejected[0].weight == 0:
        raise CannotHold("loss_weight")
    better, worse = (_written([*prompt, *answer]) for answer in (chosen, rejected))
    for answer in (better[-1], worse[-1]):
        answer.pop("weight", None)
    asked = {"messages": better[:-1], **_tools(row)}
    return {"input": asked, "preferred_output": better[-1:], "non_preferred_output": worse[-1:]}


def _tools(row: Conversation) -> dict[str, Any]:
    tools = tool_objects(row.tools)
    _check_names(tool["function"]["name"] for tool in tools)
    return {"tools": tools} if tools else {}


def _check_names(names: Iterable[str]) -> None:
    if not all(NAME.fullmatch(name) for name in names):
        raise CannotHold("function_name")


def _written(turns: Sequence[Message]) -> list[dict[str, Any]]:
    if not turns or turns[-1].role != "assistant":
        raise CannotHold("last_turn_not_assistant")
    return [_turn(turn) for turn in matched(turns)]


def _turn(turn: Turn) -> dict[str, Any]:
    message = turn.message
    if message.reasoning:
        raise CannotHold("reasoning")
    if not message.content and not turn.calls:
        raise CannotHold("empty_turn")
    if message.weight not in ((None, 0, 1) if message.role == "assistant" else (None, 0)):
        raise CannotHold("loss_weight")
    record: dict[str, Any] = {"role": message.role}
    if message.content:
        record["content"] = message.content
    if message.name and message.role != "tool":  # a result's name is its call's
        if not NAME.fullmatch(message.name):
            raise CannotHold("speaker_name")
        record["name"] = message.name
    if turn.calls:
        _check_names(call.name for call in turn.calls)
        record["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.text}} for c in turn.calls
        ]
    if turn.answers:
        record["tool_call_id"] = turn.answers
    if message.weight is not None and message.role == "assistant":  # the others are never trained
        record["weight"] = int(message.weight)
    return record
