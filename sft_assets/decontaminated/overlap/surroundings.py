"""What stands around a question in a row: whether it is a sentence of its own, which symbols are beside it, and which choices.

"Tell me: what is a keloid? (A) A scar (B) A bone"      of its own, beside the choices "a scar", "a bone"
"the coronary arteries, which"                          within a sentence
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import pyarrow as pa

from sft_assets.decontaminated.overlap.protection import LEAST, Item, Sought, company, uncommon
from sft_assets.decontaminated.overlap.words import word_spans, words
from sft_assets.text.kernel import casefolded

REACH = 400  # words before and after a question among which its choices are looked for
WITHIN = frozenset(" ,'’‘-‐‑*_~\u00a0\u202f")  # what stands within a sentence too
PLAIN = frozenset(" \t\r\n\u00a0.,;:!?…。！？，；：、\"'“”‘’«»$\\`*_~#|-–—")  # what a copy may gain or lose at its ends
OPTION = re.compile(r"(?:\s|^)(?:\(?(?:[A-Ha-h]|[1-8])[.):、]|[-*•])(?=\s|[^\W\d_])")
NEAR, LOOKED_AT = 40, 600  # characters after a question: in which a list of options begins, and may go on


class Text:
    """A text of a row."""

    def __init__(self, text: str):
        self.text = text
        self._same = text.isascii() or casefolded(alone := pa.array([text])) is alone  # as the kernel has read it

    @cached_property
    def joined(self) -> str:
        return f" {' '.join(words(self.text))} "

    def near(self, start: int, stop: int, reach: int) -> tuple[list[str], list[str], list[str]]:
        """The words before, from and after these characters; at most so many before and after, the nearest ones."""
        room = 12 * reach + 20
        before, after = words(self.text[max(0, start - room) : start]), words(self.text[stop : stop + room])
        return before[-reach:], words(self.text[start:stop]), after[:reach]

    @cached_property
    def _bytes(self) -> bytes:
        return self.text.encode()

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return word_spans(self.text)

    def span(self, first: int, size: int, start: int, stop: int) -> tuple[int, int]:
        """The characters of so many words from number `first` on; start and stop: bytes of it as the kernel reads it."""
        if not self._same:
            return self._spans[first][0], self._spans[first + size - 1][1]
        if self.text.isascii():
            return start, stop
        return len(self._bytes[:start].decode()), len(self._bytes[:stop].decode())


def bounded(text: str, start: int, stop: int) -> bool:
    """Whether the characters from start to stop are a text, line or sentence of their own."""
    return _edge(text[i] for i in range(start - 1, -1, -1)) and _edge(text[i] for i in range(stop, len(text)))


def on_a_line(text: str, start: int, stop: int) -> bool:
    """Whether the characters from start to stop are a text or line of their own, behind a label ("Q:") maybe."""
    before, after = text[text.rfind("\n", 0, start) + 1 : start].rstrip(), text[stop : (text + "\n").find("\n", stop)]
    return (before.endswith(":") or not any(map(str.isalnum, before))) and not any(map(str.isalnum, after))


def _edge(characters: Iterable[str]) -> bool:
    """Whether something ends before the next word of these characters comes."""
    for character in characters:
        if character.isalnum():
            return False
        if character not in WITHIN:
            return True
    return True


def symbols_agree(text: str, start: int, stop: int, item: str) -> bool:
    """Whether the symbols before the first and after the last word of a copy are those of the item, if both have some there.

    "Input: [ ( {" is not "Input: { {"; "What is 20%?" may have lost its "%".
    """
    first = next((i for i, character in enumerate(item) if character.isalnum()), len(item))
    last = next((i for i in range(len(item), first, -1) if item[i - 1].isalnum()), first)
    before, after = _symbols(text[i] for i in range(start - 1, -1, -1)), _symbols(text[i] for i in range(stop, len(text)))
    return _agree(before, _symbols(item[i] for i in range(first - 1, -1, -1))) and _agree(after, _symbols(item[last:]))


def _symbols(characters: Iterable[str]) -> str:
    found = ""
    for character in characters:
        if character.isalnum():
            break
        found += "" if character in PLAIN else character
    return found


def _agree(here: str, there: str) -> bool:
    return not here or not there or here.startswith(there) or there.startswith(here)


def lists_options(text: str, stop: int) -> bool:
    """Whether a list of options follows a question."""
    markers = [found.start() for found in OPTION.finditer(text[stop : stop + LOOKED_AT])]
    return len(markers) > 1 and markers[0] <= NEAR


class Sides:
    """A question in a text of a row, and the text that follows: where its items' choices and answers are looked for."""

    def __init__(self, text: Text, following: Text | None, start: int, stop: int):
        self.text, self.following, self.start, self.stop = text, following, start, stop

    @cached_property
    def near(self) -> list[str]:
        """The words around the question; "" where it stands."""
        before, _, after = self.text.near(self.start, self.stop, REACH)
        return [*before, "", *after]

    def accompanied(self, entry: Sought) -> list[Item]:
        """The owners of whose choices (or answer) enough stand beside, or a telling one in the text that follows."""
        owners = entry.by_company
        seen: Counter[int] = Counter()
        telling: set[int] = set()
        for size in {len(choice) for choice in owners}:
            here = {tuple(self.near[i : i + size]) for i in range(len(self.near) - size + 1)} & owners.keys()
            for choice in here:
                seen.update(owners[choice])
                telling.update(owners[choice] if _tells(choice) else ())
        if self.following is not None:
            for choice, some in owners.items() if len(owners) <= MANY else ():
                if _tells(choice) and f" {' '.join(choice)} " in self.following.joined:
                    telling.update(some)
        enough = {n for n, count in seen.items() if count >= entry.enough_company[n]}
        return [entry.owners[n] for n in sorted(telling | enough)]

    def with_question(self, entry: Sought) -> list[Item]:
        """The owners of a choice beside which stand their question and most of their other choices."""
        near = f" {' '.join(self.near)} "
        found = []
        for item in entry.owners:
            others = [said for said in company(item) if said != entry.said]
            asked = words(item.of("question")[0])
            seen = sum(f" {' '.join(said)} " in near for said in others)
            if f" {' '.join(asked)} " in near and 2 * seen >= len(others):
                found.append(item)
        return found


MANY = 2000  # different choices of one question, that are looked for in the text that follows


def _tells(choice: Sequence[str]) -> bool:
    return len(choice) >= LEAST and uncommon(choice) >= 1
