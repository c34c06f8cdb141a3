"""Rows that belong together, by pairs: union-find with the smallest member as the group's name."""

from __future__ import annotations

from collections.abc import Iterable


def groups(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Each member of a pair -> the smallest id of everything it is tied to."""
    parent: dict[bytes, bytes] = {}

    def root(x: bytes) -> bytes:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return {member: root(member) for member in parent}
