"""How rows are cut into batches: a batch gives the same wherever it is worked on, so the cuts depend on the rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def slices(sizes: Sequence[int], most: int, together: int | None = None) -> Iterator[tuple[int, int]]:
    """(first, stop) of things that go together: at most so many, and of sizes that come to `together`, unless it is only one.

    >>> list(slices([5, 1, 1, 1], most=2, together=4))
    [(0, 1), (1, 3), (3, 4)]
    """
    first, total = 0, 0
    for place, size in enumerate(sizes):
        if place > first and (place - first == most or (together is not None and total + size > together)):
            yield first, place
            first, total = place, 0
        total += size
    if first < len(sizes):
        yield first, len(sizes)
