"""Items made ahead in a thread are the same items, in order, and nothing is left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from sft_assets.ahead import ahead


def test_the_items_come_in_their_order() -> None:
    assert list(ahead(iter(range(1000)), 3)) == list(range(1000))
    assert list(ahead(iter(()), 3)) == []


def test_the_items_are_made_in_the_context_of_who_asks_for_them() -> None:
    said: ContextVar[str] = ContextVar("said", default="nothing")
    said.set("hello")
    assert list(ahead((said.get() for _ in range(2)), 3)) == ["hello", "hello"]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    seen = []
    with pytest.raises(ValueError, match="no more"):
        for item in ahead(items(), 3):
            seen.append(item)
    assert seen == [1]


def test_no_more_than_its_depth_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            if n == 6:
                full.set()
            yield n

    stream = ahead(items(), 5)
    assert next(stream) == 0
    assert full.wait(5)
    assert not threading.Event().wait(0.3)
    assert len(made) == 7  # the one that was taken, five that wait, one that does not fit yet
    stream.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "ahead"]
