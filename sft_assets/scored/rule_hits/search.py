"""Running the rules over conversations, a batch at a time.

    RuleHit(rule="refusal", turn=2, start=0, stop=27, matched="I'm sorry, but I can't help")

Of each rule the first hit in each turn is given. Arrow finds the texts that have a rule's anchor (RE2, at 2 ns a character);
only these come to its pattern or check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import messages_array
from sft_assets.record import Conversation, Message
from sft_assets.scored.rule_hits.checks import CHECKS, Span, Turn
from sft_assets.scored.rule_hits.rules import Rule, Where
from sft_assets.text.parts import without

MATCHED_CHARS = 200


class RuleHit(NamedTuple):
    """Where a rule hit: turn of `messages` from 1, span in its characters, and the first 200 of them.

    A rule over tool calls counts the characters of `tool_calls` instead of `content`.
    """

    rule: str
    turn: int
    start: int
    stop: int
    matched: str


# a hit's fields as columns
HIT = {"rule": pa.string(), "turn": pa.int32(), "start": pa.int32(), "stop": pa.int32(), "matched": pa.string()}


def hits(rules: Iterable[Rule], conversation: Conversation) -> list[RuleHit]:
    """The hits in one conversation, in the order of rules and turns."""
    batch = Batch(messages_array([conversation.messages]), pa.array([conversation.tools], pa.string()))
    return [hit for _, hit in search(map(Matcher, rules), batch)]


def search(matchers: Iterable[Matcher], batch: Batch) -> Iterator[tuple[int, RuleHit]]:
    """The hits in a batch of conversations, each with its conversation's index, in the order of rules and turns."""
    for matcher in matchers:
        name, where = matcher.rule.name, matcher.rule.where
        for i in batch.worth_a_look(matcher.rule):
            turn = batch.turn(i, where)
            if span := matcher.find(turn):
                start, stop = span
                matched = turn.text[start:stop][:MATCHED_CHARS]
                yield batch.row[i], RuleHit(name, turn.number, start, stop, matched)


def search_batch(matchers: Sequence[Matcher], batch: pa.RecordBatch) -> pa.Table:
    """The hits in a batch of content_hash, messages and tools: content_hash, and the fields of a hit."""
    found = list(search(matchers, Batch(batch["messages"], batch["tools"])))
    rows = pa.array((row for row, _ in found), pa.int64())
    columns = zip(*(hit for _, hit in found), strict=True) if found else [()] * len(HIT)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, HIT.values(), strict=True)]
    return pa.table([batch["content_hash"].take(rows), *arrays], names=["content_hash", *HIT])


class Batch:
    """Conversations with all their turns in one column.

    messages: list<struct>, without nulls; tools: string, as many. An assistant turn of weight 0 is context: nothing is learnt
    from it, so it is no answer.
    """

    def __init__(self, messages: pa.ListArray, tools: pa.Array):
        turns = messages.flatten()
        ends = np.cumsum(messages.value_lengths().to_numpy(zero_copy_only=False))
        self.starts = [0, *ends.tolist()]
        self.row: list[int] = np.repeat(np.arange(len(messages)), np.diff(self.starts)).tolist()
        self.tools: list[str | None] = tools.to_pylist()
        columns = (turns.field(name).to_pylist() for name in Message._fields)
        self.messages = list(map(Message._make, zip(*columns, strict=True)))
        self.content, self.calls = turns.field("content"), turns.field("tool_calls")
        self.chars = pc.utf8_length(self.content).to_numpy(zero_copy_only=False)
        self.ascii = self.chars == pc.binary_length(self.content).to_numpy(zero_copy_only=False)
        self.turns: list[Turn | None] = [None] * len(turns)
        role, weight = turns.field("role"), turns.field("weight")
        every = np.ones(len(turns), bool)
        answers = _numpy(pc.equal(role, "assistant")) & ~_numpy(pc.fill_null(pc.equal(weight, 0.0), False))
        last = np.zeros(len(turns), bool)
        last[ends[ends > 0] - 1] = True
        self.where: dict[Where, np.ndarray] = {
            "any": every,
            "answer": answers,
            "last_answer": answers & last,
            "prompt": _numpy(pc.is_in(role, pa.array(["system", "user"]))),
            "tool_calls": answers & _numpy(pc.is_valid(self.calls)),
        }

    def worth_a_look(self, rule: Rule) -> list[int]:
        """The indices of the turns that the rule is for, and that have its anchor."""
        chosen = self.where[rule.where]
        if rule.min_chars:
            chosen = chosen & (self.chars >= rule.min_chars)
        if rule.max_chars is not None:
            chosen = chosen & (self.chars <= rule.max_chars)
        if rule.beyond_ascii:
            chosen = chosen & ~self.ascii
        indices = np.flatnonzero(chosen)
        if rule.anchor is not None and len(indices):
            column = self.calls if rule.where == "tool_calls" else self.content
            found = pc.match_substring_regex(column.take(pa.array(indices)), rule.anchor, ignore_case=True)
            indices = indices[_numpy(found)]
        result: list[int] = indices.tolist()
        return result

    def turn(self, i: int, where: Where) -> Turn:
        """A turn as checks see it."""
        turn = self.turns[i]
        if turn is None:
            start, stop = self.starts[self.row[i]], self.starts[self.row[i] + 1]
            turn = Turn(self.messages[i].content, i - start + 1, self.messages[start:stop], self.tools[self.row[i]])
            self.turns[i] = turn
        return turn if where != "tool_calls" else turn._replace(text=self.messages[i].tool_calls or "")


class Matcher:
    """A rule, compiled."""

    def __init__(self, rule: Rule):
        self.rule = rule
        self.check = CHECKS[rule.check] if rule.check else None
        self.patterns = rule.compiled("patterns")
        self.unless = rule.compiled("unless")
        self.unless_prompt = rule.compiled("unless_prompt")

    def find(self, turn: Turn) -> Span | None:
        """The span of the first hit in a turn."""
        rule = self.rule
        span = self._look(turn)
        if span and rule.ignore:  # blanking is dear, hits are few
            span = self._look(turn._replace(text=without(turn.text, rule.ignore)))
        if span is None or (rule.unless_tools and turn.has_tools):
            return None
        if any(pattern.search(turn.text) for pattern in self.unless):
            return None
        if self.unless_prompt and any(pattern.search(turn.asked) for pattern in self.unless_prompt):
            return None
        return span

    def _look(self, turn: Turn) -> Span | None:
        if self.check:
            return self.check(turn, **self.rule.params)
        for pattern in self.patterns:
            if found := pattern.search(turn.text):
                return found.span(1 if pattern.groups else 0)
        return None


def _numpy(mask: pa.BooleanArray) -> np.ndarray:
    array: np.ndarray = mask.to_numpy(zero_copy_only=False)
    return array
