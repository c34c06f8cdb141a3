"""Planted copies of test items: what of them does the stage find, and what does it flag that is no leak?

    kind       a copy of "What is 6 x 7, Tom asks."                        planted in
    verbatim   What is 6 x 7, Tom asks.                                    a user turn
    recased    WHAT IS 6 X 7, TOM ASKS.                                    a user turn
    truncated  What is 6 x 7,                                              a user turn
    numbers    What is 8 x 9, Tom asks.                                    a user turn; no leak, it is not to be flagged

Every copy stands in a row of its own, made of texts of the data at hand.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from sft_assets.decontaminated.overlap.protection import Item, Owner, asked
from sft_assets.decontaminated.overlap.turns import numbered

PUNCTUATION = re.compile(r"(?<=\w)[.,;:!?]+(?=\s|$)")
QUOTES = str.maketrans({"'": "’"})
NUMBER = re.compile(r"(?<![\w.,])\d{1,4}(?![\w.,]\w)")
ASKING = ("Please help me with this.", "Here is what I was given at school today.", "I found this in an old book of mine.")
PARAPHRASE = "paraphrase"


class Canary(NamedTuple):
    """One planted row. turns: (role, text). kind: how the item was changed, or where it stands; `leak` is False for a decoy."""

    kind: str
    owner: Owner
    turns: list[tuple[str, str]]
    leak: bool = True


def cut(text: str, share: float = 0.7) -> str:
    """The first words of a text, so many of them."""
    pieces = list(re.finditer(r"\S+", text))
    return text[: pieces[max(1, round(share * len(pieces))) - 1].end()] if pieces else text


def other_numbers(text: str, chance: random.Random) -> str:
    """The text with every number changed; the text itself where it has none."""
    return NUMBER.sub(lambda m: str(int(m.group()) + chance.randint(1, 9)), text)


def repunctuated(text: str) -> str:
    return PUNCTUATION.sub(" ;", text)


def spaced(text: str) -> str:
    return "\r\n ".join(text.split())


def curly(text: str) -> str:
    return re.sub(r'"([^"]*)"', r"“\1”", text).translate(QUOTES)


CHANGES: dict[str, Callable[[str], str]] = {
    "verbatim": lambda text: text,
    "recased": str.upper,
    "repunctuated": repunctuated,
    "whitespace": spaced,
    "unicode_quotes": curly,
}


def planted(items: Sequence[Item], filler: Sequence[str], seed: int = 0) -> Iterator[Canary]:
    """The canaries of these items: every change, every place, and decoys. filler: texts of the data to put around them."""
    for item in items:
        if not item.of("question"):
            continue
        chance = random.Random(f"{seed} {item.owner}")
        text, question = asked(item), item.of("question")[0]
        reply = chance.choice(filler)

        def row(kind: str, *turns: tuple[str, str], leak: bool = True) -> Canary:
            return Canary(kind, item.owner, list(turns), leak)  # noqa: B023  # it is called at once

        for kind, change in CHANGES.items():
            yield row(kind, ("user", change(text)), ("assistant", reply))
        yield row("in_answer", ("user", ASKING[0]), ("assistant", text))
        yield row("in_system", ("system", text), ("user", ASKING[1]), ("assistant", reply))
        yield row("in_later_turn", ("user", ASKING[1]), ("assistant", reply), ("user", text), ("assistant", reply))
        if len(choices := item.of("choices")) > 1:
            yield row("choices_reordered", ("user", asked(item, chance.sample(choices, len(choices)))), ("assistant", reply))
        before, after = chance.choice(filler)[-300:], chance.choice(filler)[:300]
        yield row("embedded", ("user", f"{before}\n\n{text}\n\n{after}"), ("assistant", reply))
        yield row("truncated", ("user", cut(question)), ("assistant", reply))
        if (decoy := other_numbers(question, chance)) != question:
            yield row("other_numbers", ("user", decoy), ("assistant", reply), leak=False)


def batches(canaries: Sequence[Canary], rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """The canaries as rows of a state; the id of canary i is i, which is no id of a real row."""
    return numbered((canary.turns for canary in canaries), rows)


def number(row_id: bytes) -> int:
    """Which canary a row is; -1 for a row of the data."""
    return int.from_bytes(row_id[8:], "big") if row_id[:8] == bytes(8) else -1
