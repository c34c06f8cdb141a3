"""Checks of answers that say nothing: empty ones, and those that say what was asked.

user: "What is the capital of France?"   assistant: "What is the capital of France?"   --answer_repeats_prompt-->   (0, 30)
"""

from __future__ import annotations

from sft_assets.scored.rule_hits.checks.turn import Span, Turn
from sft_assets.text import normal, tokens

BEGINNING = 16  # characters, by which most answers are seen to be no echo


def empty_answer(turn: Turn) -> Span | None:
    """Nothing to be seen, and no tool is called."""
    if turn.message.tool_calls is not None or turn.text.strip(" \n\t\r\u200b\ufeff\xa0\u3000"):
        return None
    return 0, len(turn.text)


def answer_repeats_prompt(turn: Turn, min_tokens: int) -> Span | None:
    """The answer is the last user turn again, but for case, whitespace and Unicode form."""
    answer, prompt = turn.text, turn.question
    if not _begin_alike(answer, prompt):
        return None
    if normal(answer) != normal(prompt) or len(tokens(answer)) < min_tokens:
        return None
    return 0, len(answer)


def begins_with_prompt(turn: Turn, min_tokens: int) -> Span | None:
    """The answer begins with all of the last user turn, and goes on: the echo."""
    answer, prompt = turn.text, turn.question.strip()
    if not _begin_alike(answer, prompt) or len(tokens(prompt)) < min_tokens:
        return None
    start = len(answer) - len(answer.lstrip())
    stop = start + len(prompt)
    if normal(answer[start:stop]) != normal(prompt) or not answer[stop:].strip():
        return None
    return start, stop


def _begin_alike(answer: str, prompt: str) -> bool:
    return normal(answer.lstrip()[:BEGINNING])[: BEGINNING // 2] == normal(prompt.lstrip()[:BEGINNING])[: BEGINNING // 2]
