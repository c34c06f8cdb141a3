"""The caps of one run, kept hard: before a request is sent, the most that it can cost is reserved; after it, what it did cost.

caps.lacking(Cost(1, 900, 0.002))  ->  None, or the cap that it does not fit under: "tokens"
caps.reserve(bound); ...; caps.settle(bound, actual)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sft_assets.models.door.call import Call
from sft_assets.recipe import Budget, Price

MESSAGE_TOKENS = 16  # what a chat template may add to a message: role, separators
LONGER = 2  # times max_tokens, once, for JSON that was cut off
MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Of one request: what it may cost, or what it did."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    @classmethod
    def of(cls, prompt_tokens: int, completion_tokens: int, price: Price) -> Cost:
        money = (prompt_tokens * price.input + completion_tokens * price.output) / MILLION
        return cls(prompt_tokens, completion_tokens, money)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.money + other.money,
        )


def upper_bound(call: Call, price: Price) -> Cost:
    """The most that one request of the call can cost: no token is shorter than a byte."""
    return request_bound(call.messages, call.params["max_tokens"], call.schema, price)


def request_bound(
    messages: Sequence[Mapping[str, str]], max_tokens: int, schema: Mapping[str, Any] | None, price: Price
) -> Cost:
    """The same for any messages. The schema counts: endpoints charge for it as part of the prompt."""
    prompt = sum(len(message["content"].encode()) + MESSAGE_TOKENS for message in messages)
    prompt += len(orjson.dumps(schema)) if schema else 0
    return Cost.of(prompt, max_tokens, price)


@dataclass
class Spent:
    """What a run did so far. calls: requests sent, each attempt counted. cached: replies that came from disk.

    failed: calls whose attempts all failed. Tokens and cost of a request whose reply never came are counted at their most.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def add(self, cost: Cost) -> None:
        self.prompt_tokens += cost.prompt_tokens
        self.completion_tokens += cost.completion_tokens
        self.cost += cost.money


class Caps:
    """What was spent under a budget, and what is reserved for requests in flight. Used by one thread.

    beside: what others spent under the same budget, who do not ask at the same time.
    """

    def __init__(self, budget: Budget, spent: Spent, beside: Sequence[Spent] = ()):
        self.budget, self.spent, self.beside = budget, spent, beside
        self.reserved_tokens = 0
        self.reserved_money = 0.0

    def lacking(self, bound: Cost) -> str | None:
        """The cap under which a request does not fit now; None: it fits."""
        budget, all_spent = self.budget, (self.spent, *self.beside)
        if budget.calls is not None and sum(s.calls for s in all_spent) + 1 > budget.calls:
            return "calls"
        if budget.tokens is not None and sum(s.tokens for s in all_spent) + self.reserved_tokens + bound.tokens > budget.tokens:
            return "tokens"
        if budget.money is not None and sum(s.cost for s in all_spent) + self.reserved_money + bound.money > budget.money:
            return "money"
        return None

    def reserve(self, bound: Cost) -> None:
        self.spent.calls += 1
        self.reserved_tokens += bound.tokens
        self.reserved_money += bound.money

    def settle(self, bound: Cost, actual: Cost) -> None:
        self.reserved_tokens -= bound.tokens
        self.reserved_money = max(self.reserved_money - bound.money, 0.0)
        self.spent.add(actual)
