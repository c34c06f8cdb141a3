"""What generation is made of: the seeds that it starts from, and the candidates that it ends with.

    Seed(parents=(Parent(9f3c..., "Name three primary colours."),), cell=Cell("colours", "hard", "short", "en", "single"))
    ->  Candidate([user "Name three colours that ... , in the order of their wavelengths.", assistant "Red, yellow, blue."])
    ->  Candidate([...], fell=Fall("no_gain", {"said": "equal"}))

A candidate that fell keeps what there is of it: nothing that a model was asked for goes without a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sft_assets.record import Kind, Message, digest

PEOPLE = "people"  # in the place of a method and of a gate: who decided, and who made pairs of rows that they compared


class Cell(NamedTuple):
    """A kind of row that may be missing. topic: its id in `topics`, None where there are none. turns: 'single' or 'multi'."""

    topic: int | None = None
    topic_name: str | None = None
    difficulty: str | None = None
    length: str | None = None
    language: str | None = None
    turns: str | None = None


class Span(NamedTuple):
    """What an answer rests on: characters start to stop of the text of a document (`chunks` says what that text is)."""

    document: str
    start: int
    stop: int
    quote: str


class Chunk(NamedTuple):
    """A piece of a document. headings: those that it stands under. text: masked; start, stop: in the document's text.

    masked: of each mask where it begins and ends in `text`, and how long was what stood there; one after the other.
    """

    chunk_id: bytes
    document: str
    headings: tuple[str, ...]
    start: int
    stop: int
    text: str
    language: str | None = None
    license: str | None = None
    masked: Sequence[int] = ()


class Parent(NamedTuple):
    """A row that something is made from."""

    row_id: bytes
    content_hash: bytes
    messages: Sequence[Message]
    tools: str | None = None
    language: str | None = None
    license: str | None = None

    @property
    def prompt(self) -> list[Message]:
        """The turns before the last answer."""
        turns = list(self.messages)
        return turns[:-1] if turns and turns[-1].role == "assistant" else turns

    @property
    def answer(self) -> str:
        """What the last turn says, if it is the assistant's."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""


@dataclass(frozen=True)
class Seed:
    """What one attempt starts from. cell: the kind of row that it is to make. index: of several with equal parents."""

    parents: tuple[Parent, ...] = ()
    chunk: Chunk | None = None
    cell: Cell = field(default_factory=Cell)
    index: int = 0

    @property
    def key(self) -> bytes:
        """16 bytes: which contents it starts from. The subject of the calls that are made for it."""
        parts = [parent.content_hash for parent in self.parents]
        return digest(*parts, self.chunk.chunk_id if self.chunk else b"", b"seed")


class Fall(NamedTuple):
    """Why a candidate is none any more. reason: a short code that the funnel counts by."""

    reason: str
    evidence: Mapping[str, Any] = {}


@dataclass
class Candidate:
    """A row that was made. fell: None where it has passed its method's own checks. parents: of the seed's those that it is made
    from; None: all of them. choices: what of the method's parameters it came about by (an operator, a persona ...)."""

    messages: list[Message]
    kind: Kind = "sft"
    rejected: list[Message] | None = None
    tools: str | None = None
    spans: tuple[Span, ...] = ()
    fell: Fall | None = None
    parents: tuple[Parent, ...] | None = None
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def instruction(self) -> str:
        """What the last user turn says."""
        return next((turn.content for turn in reversed(self.messages) if turn.role == "user"), "")
