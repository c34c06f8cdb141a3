"""What there is to collect, by kind, with its size.

Item("contents that no version has", 1_204, 3_600_000)
Item("state versions beyond the last 5", 3, 41_000, "deduped@1, scored@1, scored@2")
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """Things of one kind. bytes: what they take, of what is inside a database an estimate. detail: some of their names."""

    what: str
    number: int
    bytes: int
    detail: str = ""


@dataclass
class Garbage:
    """items: what goes. kept: sentences about what could go and does not. database: the size of the file now, and what it is
    expected to be once compacted; zeros where it is not to be."""

    items: list[Item] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    database: tuple[int, int] = (0, 0)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)

    def add(self, item: Item) -> None:
        if item.number:
            self.items.append(item)


def some(names: list[str], most: int = 5) -> str:
    """The first names of a list."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
