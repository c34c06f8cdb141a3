"""What a conversation must be before it may train a model; what is not goes to quarantine with its reason.

system?  (user  assistant | user  assistant(calls)  tool+  assistant)+       the last assistant turn says something
"""

from __future__ import annotations

from collections.abc import Sequence

from sft_assets.record import BadRecord, Conversation, Message


def validate(row: Conversation) -> None:
    """Check the order of the turns, and that prompts and answers are there.

    Raises:
        BadRecord: no_turns, starts_without_user, misplaced_system, orphan_tool, empty_prompt, empty_turn,
            ends_without_answer, empty_answer, empty_rejected, identical_pair.
    """
    turns = row.messages
    if not any(m.role != "system" for m in turns):
        raise BadRecord("no_turns", "there is no turn but the system prompt's")
    _check_order(turns, after=None)
    if row.kind == "prompt":
        return
    _check_answer(turns, "ends_without_answer", "empty_answer", "the conversation")
    if row.kind == "preference":
        _check_order(row.rejected or [], after="user")
        _check_answer(row.rejected or [], "ends_without_answer", "empty_rejected", "the rejected answer")
        chosen = turns[-len(row.rejected or []) :]
        if [(m.content, m.tool_calls) for m in chosen] == [(m.content, m.tool_calls) for m in row.rejected or []]:
            raise BadRecord("identical_pair", "chosen and rejected are the same text")


def _check_order(turns: Sequence[Message], after: str | None) -> None:
    before = after
    for number, turn in enumerate(turns, 1):
        role = turn.role
        if role == "system" and number > 1:
            raise BadRecord("misplaced_system", f"turn {number} is a system turn; only the first can be one")
        if role == "assistant" and before in (None, "system"):
            raise BadRecord("starts_without_user", f"turn {number} is the assistant's, and nobody asked")
        if role == "tool" and before not in ("assistant", "tool"):
            raise BadRecord("orphan_tool", f"turn {number} is a tool's answer, and no call stands before it")
        if role == "user" and before == "tool":
            raise BadRecord("ends_without_answer", f"turn {number} is the user's, but the tool's result was not answered")
        if not turn.content.strip() and number < len(turns):
            if role == "user":
                raise BadRecord("empty_prompt", f"turn {number}, the user's, is empty")
            if role == "assistant" and not turn.tool_calls:
                raise BadRecord("empty_turn", f"turn {number}, the assistant's, is empty")
        before = role


def _check_answer(turns: Sequence[Message], no_answer: str, empty: str, what: str) -> None:
    if not turns or turns[-1].role != "assistant":
        raise BadRecord(no_answer, f"{what} ends in a turn of {turns[-1].role if turns else 'nobody'}, not the assistant's")
    if not turns[-1].content.strip() and not turns[-1].tool_calls:
        raise BadRecord(empty, f"the last turn of {what} is empty")
