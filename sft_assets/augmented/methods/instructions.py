"""What the methods that make instructions have in common: the rows that they start from, and what a reply gives.

row    [system "You are terse.", user "Name a cold colour.", assistant "Blue.", user "And a warm one?", ...]
seed   [system "You are terse.", user "Name a cold colour."]     the opening: what comes later needs what came before
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sft_assets.augmented.candidate import Candidate, Cell, Fall, Parent, Seed
from sft_assets.augmented.methods.kit import REPLY_ENDS, Ask, fallen
from sft_assets.augmented.methods.material import Material
from sft_assets.models.door import Reply
from sft_assets.record import Message
from sft_assets.text.plain import normal, tokens

LENGTHS = {"short": "under 50 words", "medium": "50 to 200 words", "long": "more than 200 words"}  # as descriptors count them
SPARE = 2  # times as many rows are looked at as are needed: some cannot be used
INSTRUCTION = "instruction"  # what the reply's JSON calls it
Choice = TypeVar("Choice")


def opening(row: Parent) -> list[Message]:
    """The row up to its first user turn; empty where there is none that says something."""
    first = next((n for n, turn in enumerate(row.messages) if turn.role == "user"), None)
    if first is None or not row.messages[first].content.strip():
        return []
    return [*(turn for turn in row.messages[:first] if turn.role == "system"), row.messages[first]]


def asked(row: Parent) -> str:
    """What the opening asks for."""
    return opening(row)[-1].content


def usable(rows: Iterable[Parent]) -> list[Parent]:
    """Rows with an opening. Those with tools are none: a new instruction would need others."""
    return [row for row in rows if not row.tools and opening(row)]


def wanted_cells(material: Material, rows: int | None) -> list[Cell]:
    """The cell of each row that is to be tried for. What is made is of one turn: for a cell of several it is of its topic at
    least."""
    return [cell._replace(turns="single") for cell in material.wanted(rows)]


def rows_near(material: Material, cells: Sequence[Cell], each: int, salt: str) -> Iterator[tuple[Cell, list[Parent], int]]:
    """For each of the cells, in their order: the usable rows near it, and how often the cell came before. each: rows that are
    needed each time. A cell without any is left out."""
    number = Counter(cells)
    near = {cell: usable(material.near(cell, SPARE * times * each, salt)) for cell, times in number.items()}
    before: Counter[Cell] = Counter()
    for cell in cells:
        if near[cell]:
            yield cell, near[cell], before[cell]
        before[cell] += 1


def each_with_one(material: Material, rows: int | None, salt: str) -> list[Seed]:
    """For each row that is wanted one near its cell; where there are not so many, the same again."""
    cells = wanted_cells(material, rows)
    return numbered(Seed((near[n % len(near)],), cell=cell) for cell, near, n in rows_near(material, cells, 1, salt))


def numbered(seeds: Iterable[Seed]) -> list[Seed]:
    """The seeds with an index among those of equal parents."""
    before: Counter[bytes] = Counter()
    found = []
    for seed in seeds:
        found.append(Seed(seed.parents, seed.chunk, seed.cell, before[seed.key]))
        before[seed.key] += 1
    return found


def in_turn(choices: Sequence[Choice], seed: Seed, step: int = 0) -> Choice:
    """One of the choices: seeds of equal parents go through them in turns, and so do the steps of a seed. Where the turns begin
    is in the parents' hash, so that a seed more or less changes nothing for the others."""
    return choices[(int.from_bytes(seed.key[:8], "big") + seed.index + step) % len(choices)]


def instruction_of(ask: Ask, reply: Reply) -> str | Fall:
    """The instruction in a reply, or why there is none. One that reaches the length that it was allowed was cut off there."""
    if fell := fallen(reply):
        return fell
    text = reply.value[INSTRUCTION]
    most = (ask.call.schema or {}).get("properties", {}).get(INSTRUCTION, {}).get("maxLength")
    if most is not None and len(text) >= most:
        return Fall("truncated", {REPLY_ENDS: text})
    return text.strip() or Fall("empty")


def words(text: str) -> list[str]:
    """The words of a text, lower case, without operators; characters, where a script has no spaces."""
    return [word for word in tokens(text) if word[0].isalnum() or word[0] == "_"]


def same(a: str, b: str) -> bool:
    """Whether two texts are the same but for case, whitespace and punctuation."""
    return tokens(a) == tokens(b) if tokens(a) else normal(a) == normal(b)


def length_hint(cell: Cell) -> str | None:
    """What the model that answers is told of the length that a cell lacks; the row does not say it."""
    return f"Answer in {LENGTHS[cell.length]}." if cell.length in LENGTHS else None


def answered(prompt: Sequence[Message], reply: Reply) -> Candidate:
    """The prompt with its answer, or with what there is of it and why it is no more."""
    text = (reply.value if isinstance(reply.value, str) else reply.raw or "").strip()
    return Candidate([*prompt, *([Message("assistant", text)] if text else [])], fell=fallen(reply))
