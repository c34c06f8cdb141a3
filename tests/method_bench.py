"""A bench for methods of generation: a method's steps are played against a function that says what the model says.

def reply(ask: Ask) -> Reply:
    return ok("Red, yellow, blue.") if "colours" in last(ask) else ok("", finish="length")

kit = kit_of(answers, Answers())
candidates = play(answers.generate(Seed((parent("Name three primary colours."),)), kit, Answers()), reply)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sft_assets.augmented.candidate import Candidate, Cell, Chunk, Parent
from sft_assets.augmented.methods.kit import Ask, Kit, Steps
from sft_assets.models.door import Reply
from sft_assets.models.prompt import load
from sft_assets.record import Message, content_hash, digest

MODEL, CHECKER = "a model", "a checker"


def play(steps: Steps, reply: Callable[[Ask], Reply], asked: list[Ask] | None = None) -> list[Candidate]:
    """The candidates that the steps end with. asked: where to put what was asked, in its order."""
    replies: list[Reply] | None = None
    while True:
        try:
            asks = next(steps) if replies is None else steps.send(replies)
        except StopIteration as end:
            candidates: list[Candidate] = end.value
            return candidates
        if asked is not None:
            asked.extend(asks)
        replies = [reply(ask) for ask in asks]


def ok(value: Any, finish: str = "stop") -> Reply:
    """A reply as the door gives it: a text, or the JSON of a schema."""
    return Reply("ok", value, value if isinstance(value, str) else repr(value), finish)


def bad(status: str, raw: str = "", error: str = "it said no") -> Reply:
    """A call of which nothing came: 'unparsed', 'refused', 'failed'."""
    return Reply(status, None, raw, "", error=error)  # type: ignore[arg-type]


def last(ask: Ask) -> str:
    """What the last message of a request says."""
    return str(ask.call.messages[-1]["content"])


def kit_of(method: Any, section: Any, seed: int = 0, **models: str) -> Kit:
    """A kit with the package's prompt files that a method names."""
    prompts = {name: load(name, None, fields) for name, fields in method.prompts(section).items()}
    return Kit(prompts, models.get("model", MODEL), models.get("checker", CHECKER), seed)


def asks_for(kit: Kit, ask: Ask, name: str) -> bool:
    """Whether a request was made by the prompt of that name."""
    return ask.call.prompt == kit.prompts[name].sha256


def parent(*turns: str, system: str = "", **fields: Any) -> Parent:
    """A row: user and assistant in turns."""
    messages = [Message("system", system)] if system else []
    messages += [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)]
    hashed = content_hash(messages, None, fields.get("tools"))
    return Parent(digest(b"row", hashed), hashed, messages, **fields)


@dataclass
class Bench:
    """A Material of lists: everything there is, in its order. cells: those that are wanted."""

    cells: Sequence[Cell] = ()
    parents: Sequence[Parent] = ()
    asked: Mapping[int | None, Sequence[str]] = field(default_factory=dict)
    unanswered: Sequence[Parent] = ()
    disputed: Sequence[Sequence[Parent]] = ()
    pieces: Sequence[Chunk] = ()

    def wanted(self, rows: int | None) -> list[Cell]:
        return list(self.cells[:rows])

    def near(self, cell: Cell, number: int, salt: str) -> list[Parent]:
        return list(self.parents[:number])

    def instructions(self, topic: int | None) -> list[str]:
        return list(self.asked.get(topic, []))

    def prompts(self, number: int | None) -> list[Parent]:
        return list(self.unanswered[:number])

    def conflicts(self, number: int | None) -> list[list[Parent]]:
        return [list(rows) for rows in self.disputed[:number]]

    def rows(self, number: int | None, salt: str) -> list[Parent]:
        return list(self.parents[:number])

    def chunks(self, number: int | None) -> list[Chunk]:
        return list(self.pieces[:number])
