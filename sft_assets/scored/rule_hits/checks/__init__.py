"""Checks that a regular expression cannot make: over a whole answer, or over an answer and what stands before it.

    Turn(text="I love it. I love it. I love it. I love it. I love it. I love it.")  --repetition-->  (0, 9)

A check takes a turn and the rule's `params`, and returns the span of what it found, or None. To add one: write the function in
the module of its purpose, name it in CHECKS, write a rule with `check: its_name`.
"""

from __future__ import annotations

from collections.abc import Callable

from sft_assets.scored.rule_hits.checks.arithmetic import wrong_arithmetic
from sft_assets.scored.rule_hits.checks.characters import mojibake, text_fault
from sft_assets.scored.rule_hits.checks.code import invalid_json, invalid_python, unbalanced_code
from sft_assets.scored.rule_hits.checks.echoes import answer_repeats_prompt, begins_with_prompt, empty_answer
from sft_assets.scored.rule_hits.checks.endings import cut_off, unclosed_code_fence
from sft_assets.scored.rule_hits.checks.language import language_mismatch
from sft_assets.scored.rule_hits.checks.repeats import duplicate_lines, looping_end, repeated_ngrams, repetition
from sft_assets.scored.rule_hits.checks.statistics import (
    alphabetic_words,
    bullet_lines,
    ellipsis_lines,
    mean_word_length,
    stop_words,
    symbol_ratio,
    very_long_line,
    word_count,
)
from sft_assets.scored.rule_hits.checks.tools import broken_tool_call, unknown_tool
from sft_assets.scored.rule_hits.checks.turn import Span, Turn

__all__ = ["CHECKS", "Span", "Turn"]

CHECKS: dict[str, Callable[..., Span | None]] = {
    check.__name__: check
    for check in (
        broken_tool_call,
        unknown_tool,
        empty_answer,
        answer_repeats_prompt,
        begins_with_prompt,
        repetition,
        looping_end,
        duplicate_lines,
        repeated_ngrams,
        cut_off,
        unclosed_code_fence,
        language_mismatch,
        invalid_json,
        invalid_python,
        unbalanced_code,
        wrong_arithmetic,
        mojibake,
        text_fault,
        word_count,
        mean_word_length,
        symbol_ratio,
        bullet_lines,
        ellipsis_lines,
        alphabetic_words,
        stop_words,
        very_long_line,
    )
}
