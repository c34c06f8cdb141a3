"""answers: rows that are prompts only get an answer.

    prompt     [system "You are terse.", user "Name a cold colour."]
    generated  [system "You are terse.", user "Name a cold colour.", assistant "Blue."]

The conversation is sent as it is, its system prompt, its earlier turns and its tools included. Whether the answer is a refusal
is for the gates to say, as it is for source rows.
"""

from __future__ import annotations

from collections.abc import Mapping

from sft_assets.augmented.candidate import Candidate, Seed
from sft_assets.augmented.methods.kit import Kit, Steps, fallen
from sft_assets.augmented.methods.material import Material
from sft_assets.recipe import Answers
from sft_assets.record import Message

NAME = "answers"


def prompts(section: Answers) -> Mapping[str, frozenset[str]]:
    """The prompt file, which holds the parameters: what is asked is the row."""
    return {"answer": frozenset({"conversation"})}


def seeds(material: Material, section: Answers) -> list[Seed]:
    """The rows without an answer."""
    return [Seed(parents=(row,)) for row in material.prompts(section.rows)]


def generate(seed: Seed, kit: Kit, section: Answers) -> Steps:
    """The row with an answer."""
    (row,) = seed.parents
    (reply,) = yield [kit.chat(seed, row.messages, tools=row.tools)]
    if fell := fallen(reply):
        return [Candidate([*row.messages, *_begun(reply.raw)], tools=row.tools, fell=fell)]
    return [Candidate([*row.messages, Message("assistant", reply.value.strip())], tools=row.tools)]


def _begun(text: str) -> list[Message]:
    """What there is of an answer."""
    return [Message("assistant", text)] if text.strip() else []


def calls(section: Answers) -> Mapping[str, float]:
    """One call for a row."""
    return {"answer": 1.0}
