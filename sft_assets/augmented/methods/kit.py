"""What a method works with: its prompts, its models, and the way it asks them.

    def generate(seed: Seed, kit: Kit, section: Answers) -> Steps:
        (reply,) = yield [kit.ask("answer", seed, {"conversation": parent.prompt})]
        if fell := fallen(reply):
            return [Candidate(list(parent.prompt), fell=fell)]
        return [Candidate([*parent.prompt, Message("assistant", reply.value)])]

A method is a generator: it yields what is to be asked, and goes on with the replies, in the order in which they were asked. So
it reads from top to bottom, many seeds are at it at the same time, and what was answered before comes from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from sft_assets.augmented.candidate import Candidate, Fall, Seed
from sft_assets.models.door import Call, Reply
from sft_assets.models.prompt import Data, Prompt, text_of
from sft_assets.record import Message

REPLY_ENDS = "reply_ends"  # of evidence: a reply of which the end is shown; whoever stores it masks it, then cuts it


@dataclass(frozen=True)
class Ask:
    """A call, and the model that is asked."""

    model: str
    call: Call


T = TypeVar("T")
Steps = Generator[Sequence[Ask], Sequence[Reply], list[Candidate]]


@dataclass(frozen=True)
class Kit:
    """prompts: those that the method names, by name. model: writes; checker: checks; judge: rates answers by rubrics. seed: the
    recipe's. reward: what the reward model gives a conversation with its tools; None: nothing, it is too long for instance."""

    prompts: Mapping[str, Prompt]
    model: str
    checker: str
    seed: int = 0
    judge: str = ""
    reward: Callable[[Sequence[Message], str | None], float | None] | None = None

    def ask(
        self,
        name: str,
        seed: Seed,
        data: Data,
        model: str | None = None,
        sample: int = 0,
        **params: Any,
    ) -> Ask:
        """The request by a prompt. data: what fills its places. model: default: the one that writes. sample: of several replies
        to one request. params: in place of the prompt's own, `temperature` for instance."""
        model = model or self.model
        call = self.prompts[name].call(seed.key, data, model)
        return Ask(model, replace(call, params={**call.params, "seed": self._drawn(seed, sample), **params}))

    def chat(
        self,
        seed: Seed,
        messages: Sequence[Message],
        system: str | None = None,
        model: str | None = None,
        sample: int = 0,
        tools: str | None = None,
        name: str = "answer",
        **params: Any,
    ) -> Ask:
        """The request to go on with a conversation: its turns are chat messages of their own, and no data inside a prompt.

        The prompt file of that name says with what parameters, and in `## system` what a conversation without a system turn
        begins with. system: in place of the latter, and before the conversation's own system turn; "": nothing. tools: JSON.
        """
        model = model or self.model
        prompt = self.prompts[name]
        default = next((text.strip() for role, text in prompt.parts if role == "system"), "")
        turns = as_chat(messages, default if system is None else system, system is not None, tools)
        call = Call(seed.key, prompt.sha256, turns, {**prompt.params_for(model), "seed": self._drawn(seed, sample), **params})
        return Ask(model, call)

    def _drawn(self, seed: Seed, sample: int) -> int:
        """The seed of a request."""
        return (self.seed + 1009 * seed.index + sample) % (1 << 31)

    def check(self, name: str, seed: Seed, data: Data) -> Ask:
        """The same, by the model that checks."""
        return self.ask(name, seed, data, self.checker)


def together(
    parts: Sequence[Generator[Sequence[Ask], Sequence[Reply], T]],
) -> Generator[Sequence[Ask], Sequence[Reply], list[T]]:
    """Parts of a method side by side: what they ask goes out at once, each goes on with its own replies. Their results."""
    results: dict[int, T] = {}
    waiting: dict[int, Sequence[Ask]] = {}

    def advance(n: int, replies: Sequence[Reply] | None) -> None:
        try:
            waiting[n] = next(parts[n]) if replies is None else parts[n].send(replies)
        except StopIteration as end:
            results[n] = end.value

    for n in range(len(parts)):
        advance(n, None)
    while waiting:
        going, replies = dict(waiting), iter((yield [ask for asks in waiting.values() for ask in asks]))
        waiting.clear()
        for n, asks in going.items():
            advance(n, list(islice(replies, len(asks))))
    return [results[n] for n in range(len(parts))]


def as_chat(messages: Sequence[Message], system: str, always: bool, tools: str | None) -> list[dict[str, str]]:
    """A conversation as the messages of a request. system: what it begins with; where it has a system turn of its own, only if
    `always`. Tools, their calls and results are texts: these count in the bounds of a budget, and every endpoint takes them."""
    own = [turn.content for turn in messages if turn.role == "system"]
    begin = [*([system] if always or not own else []), *own, f"You may call these tools:\n{tools}" if tools else ""]
    said = "\n\n".join(filter(None, begin))
    turns = [{"role": "system", "content": said}] if said else []
    for turn in messages:
        if turn.role == "tool":
            turns.append({"role": "user", "content": f"Result of {turn.name or 'the tool'}:\n{turn.content}"})
        elif turn.role != "system":
            turns.append({"role": turn.role, "content": text_of(turn)})
    return turns


def fallen(reply: Reply) -> Fall | None:
    """Why there is nothing to be had of a reply: 'unparsed', 'refused' by the endpoint, 'failed' (no reply after all attempts),
    'truncated', 'empty'. None: there is."""
    if reply.status != "ok":
        return Fall(reply.status, {"error": reply.error, "reply": reply.raw})
    if reply.finish == "length" and isinstance(reply.value, str):
        return Fall("truncated", {REPLY_ENDS: reply.raw})
    if not (reply.value.strip() if isinstance(reply.value, str) else reply.value):
        return Fall("empty")
    return None
