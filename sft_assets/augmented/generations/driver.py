"""Methods at work: many seeds at the same time, each as far as its replies have come.

    group of 32 seeds   ->  32 requests at once  ->  32 seeds go on  ->  their next requests at once  ->  ...
                        ->  each seed's candidates, in the order of the seeds

A seed that a cap left without a reply is given up: the next run asks for the rest, and what was answered comes from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sft_assets.augmented.candidate import Candidate, Fall, Seed
from sft_assets.augmented.methods.kit import Ask, Kit, Steps
from sft_assets.models.door import Reply

LATER = 8  # trials at a time, once the first is over
AskAll = Callable[[Sequence[Ask]], Iterable[tuple[Ask, Reply]]]


@dataclass
class Tried:
    """A seed and what came of it. candidates: None where a cap came first. asked: by the hash of each prompt file, the
    values that model and parameters had. requests: calls that it took, whenever they were made; tokens and cost: of these."""

    seed: Seed
    candidates: list[Candidate] | None = None
    asked: dict[str, dict[str, set[Any]]] = field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0

    @property
    def prompts(self) -> dict[str, dict[str, Any]]:
        """Model and parameters by the hash of each prompt file; of several values all, in an order of their own."""
        return {
            sha: {name: next(iter(values)) if len(values) == 1 else sorted(values) for name, values in sorted(named.items())}
            for sha, named in sorted(self.asked.items())
        }


def play(
    method: Any,
    seeds: Sequence[Seed],
    kit: Kit,
    section: Any,
    ask_all: AskAll,
    progress: Callable[[int], None] = lambda finished: None,
) -> list[Tried]:
    """What comes of seeds, in their order."""
    tried = [Tried(seed) for seed in seeds]
    steps: list[Steps] = [method.generate(seed, kit, section) for seed in seeds]
    waiting = {n: asks for n in range(len(seeds)) if (asks := _advance(tried[n], steps[n], None)) is not None}
    while waiting:
        of = {id(ask): (n, place) for n, asks in waiting.items() for place, ask in enumerate(asks)}
        replies: dict[int, dict[int, Reply]] = {n: {} for n in waiting}
        for ask, reply in ask_all([ask for asks in waiting.values() for ask in asks]):
            n, place = of[id(ask)]
            replies[n][place] = reply
            _note(tried[n], ask, reply)
        going, waiting = waiting, {}
        for n, asks in going.items():
            if len(replies[n]) < len(asks):
                steps[n].close()
            elif (more := _advance(tried[n], steps[n], [replies[n][place] for place in range(len(asks))])) is not None:
                waiting[n] = more
        progress(len(seeds) - len(waiting))
    return tried


def _advance(tried: Tried, steps: Steps, replies: list[Reply] | None) -> Sequence[Ask] | None:
    """What the seed asks next; None: it has come to its end. One that asks for nothing goes on at once."""
    try:
        asks = next(steps) if replies is None else steps.send(replies)
        while not asks:
            asks = steps.send([])
        return asks
    except StopIteration as end:
        tried.candidates = end.value or [Candidate([], fell=Fall("nothing_made"))]
        return None


def _note(tried: Tried, ask: Ask, reply: Reply) -> None:
    named = tried.asked.setdefault(ask.call.prompt, {})
    for name, value in {"model": ask.model, **ask.call.params}.items():
        named.setdefault(name, set()).add(value)
    tried.requests += 1
    tried.tokens += reply.prompt_tokens + reply.completion_tokens
    tried.cost += reply.cost


def groups(seeds: Sequence[Seed], size: int) -> Iterator[Sequence[Seed]]:
    """The seeds: `size` of them first, then LATER times as many at a time, so that fast endpoints have enough to do."""
    yield from filter(None, [seeds[:size]])
    for first in range(size, len(seeds), LATER * size):
        yield seeds[first : first + LATER * size]
