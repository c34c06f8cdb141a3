"""What a format says when it cannot write a row: a code that is counted, and a sentence for people.

CannotHold("text_beside_tool_call")      left_out {"sharegpt": {"text_beside_tool_call": 12}}
"""

from __future__ import annotations

from typing import Any

import orjson

REASONS = {
    "answer_of_several_turns": "an answer of the pair is more than one turn",
    "answered_prompt": "the prompt is empty, or ends in an answer",
    "broken_tool_call": "a tool call is no JSON of a name and an object of arguments, or says something beside them",
    "broken_tools": "the tools are no JSON list of functions with names",
    "empty_turn": "a turn without text",
    "function_name": "the name of a function has other characters than letters, digits, _ and -, or more than 64",
    "last_turn_not_assistant": "the last turn is not the assistant's",
    "last_turn_not_trained": "the last turn has the loss weight 0",
    "loss_weight": "loss weights that are not 0 or 1, or questions that are to be trained on",
    "no_prompt": "nothing stands before the answer",
    "reasoning": "reasoning, which the format has no field for",
    "reasoning_name_or_weight": "reasoning, speaker names or loss weights, which the format has no field for",
    "speaker_name": "the name of a speaker has other characters than letters, digits, _ and -, or more than 64",
    "text_beside_tool_call": "a turn has both a text and a tool call",
    "tool_results_do_not_match": "tool results and tool calls do not match, one for one",
    "tools": "tools or tool calls",
    "turns_do_not_alternate": "user and assistant do not take turns",
}


class CannotHold(ValueError):
    """A row that a format cannot express without losing some of it. `reason` is one of REASONS."""

    def __init__(self, reason: str):
        super().__init__(REASONS[reason])
        self.reason = reason


def too_deep(value: Any) -> bool:
    """Whether JSON of a value within a record cannot be written: orjson reads 1024 levels and writes 254."""
    try:
        orjson.dumps([[[[[[[[[[value]]]]]]]]]])
    except orjson.JSONEncodeError:
        return True
    return False
