"""New rows against the rows that there are: the same duplicates as deduped finds, in one pass, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.arrow import messages_array, uuids
from sft_assets.deduped.against import Match, duplicates_of
from sft_assets.deduped.near import find_duplicates
from sft_assets.deduped.profiles import MIN_TOKENS
from sft_assets.recipe import Deduped
from sft_assets.record import Conversation, Message, digest
from sft_assets.text import jaccard, normal, numbers, shingles, tokens
from tests.test_deduped import WORDS, long_text


def said(answer: str, prompt: str = "Tell.", kind: str = "sft", system: str = "", tools: str | None = None) -> Conversation:
    turns = [Message("user", prompt), Message("assistant", answer)]
    return Conversation([Message("system", system), *turns] if system else turns, kind, tools=tools)  # type: ignore[arg-type]


def batches(rows: Sequence[Conversation], name: str, size: int = 100) -> Iterator[pa.RecordBatch]:
    """Rows as `profiles.TURNS` has them; the id of row n is that of (name, n)."""
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        yield pa.record_batch(
            {
                "row_id": uuids([id_of(name, n) for n in range(first, first + len(some))]),
                "kind": pa.array([c.kind for c in some]),
                "label": pa.array([c.label for c in some], pa.bool_()),
                "source": pa.array(["a"] * len(some)),
                "occurrence": pa.array([0] * len(some), pa.int32()),
                "messages": messages_array([c.messages for c in some]),
                "rejected": messages_array([c.rejected for c in some]),
                "tools": pa.array([c.tools for c in some], pa.string()),
            }
        )


def id_of(name: str, n: int) -> bytes:
    return digest(f"{name} {n}".encode())


def matches(
    new: Sequence[Conversation], others: Sequence[Conversation], size: int = 100, **section: object
) -> list[Match | None]:
    found = duplicates_of(batches(new, "new", size), batches(others, "other", size), Deduped.model_validate(section))
    assert found.keys() <= {id_of("new", n) for n in range(len(new))}
    return [found.get(id_of("new", n)) for n in range(len(new))]


def changed(text: str, words: int, seed: int) -> str:
    """The text with so many of its words, no two beside each other, replaced by words that it has not."""
    pieces, chance = text.split(), random.Random(seed)
    for place in chance.sample(range(0, len(pieces), 4), words):
        pieces[place] = f"new{chance.choice(WORDS)}"
    return " ".join(pieces)


def similarity(a: str, b: str) -> float:
    return jaccard(shingles(tokens(f"Tell.\n{a}")), shingles(tokens(f"Tell.\n{b}")))


def test_of_candidates_planted_around_the_threshold_all_above_it_are_found_and_none_below() -> None:
    others = [long_text(i, 80) for i in range(300)]
    planted = [changed(others[i], words, i) for i in range(300) for words in (2, 3)]
    alike = [similarity(text, others[n // 2]) for n, text in enumerate(planted)]
    above, below = [s for s in alike if s >= 0.8], [s for s in alike if s < 0.8]
    assert len(above) >= 250 and len(below) >= 250 and min(above) < 0.85 and max(below) > 0.75  # that is what is planted
    found = matches([said(text) for text in planted], [said(text) for text in others])
    for n, (s, match) in enumerate(zip(alike, found, strict=True)):
        assert match == (Match(id_of("other", n // 2), pytest.approx(s), False) if s >= 0.8 else None)


SHORT_TEXTS = st.lists(
    st.sampled_from(["a", "b", "7", "Dan", "dan", "+", "river", "over", "the", "8"]), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(st.lists(SHORT_TEXTS, max_size=12), st.lists(SHORT_TEXTS, max_size=25), st.booleans(), st.sampled_from([0.5, 0.8]))
def test_each_new_row_names_the_row_that_a_comparison_with_every_row_names(
    new: list[list[str]], others: list[list[str]], guarded: bool, threshold: float
) -> None:
    ours, theirs = ([" ".join(words) for words in texts] for texts in (new, others))

    def by_hand(text: str) -> Match | None:
        equal = [id_of("other", n) for n, other in enumerate(theirs) if normal(other) == normal(text)]
        if equal:
            return Match(min(equal), 1.0, True)
        alike = [
            (-similarity(text, other), id_of("other", n))
            for n, other in enumerate(theirs)
            if min(len(tokens(f"Tell. {one}")) for one in (text, other)) >= MIN_TOKENS
            and (not guarded or numbers(text) == numbers(other))
        ]
        best, of = min(alike, default=(0.0, b""))
        return Match(of, pytest.approx(-best), False) if -best >= threshold else None

    found = matches(
        [said(text) for text in ours], [said(text) for text in theirs], 7, keep_if_numbers_differ=guarded, threshold=threshold
    )
    assert found == [by_hand(text) for text in ours]


def test_the_order_of_the_rows_plays_no_part() -> None:
    others = [said(changed(long_text(i % 5, 60), i % 3, i)) for i in range(60)] + [said("Yes.")] * 3
    new = [said(changed(long_text(i % 7, 60), 1, 100 + i)) for i in range(20)] + [said("Yes.")]
    section = Deduped()
    forwards = duplicates_of(batches(new, "new"), batches(others, "other", 13), section)
    backwards = duplicates_of(reversed(list(batches(new, "new", 1))), reversed(list(batches(others, "other", 1))), section)
    assert forwards == backwards and len(forwards) > 5


def test_what_is_a_duplicate_here_is_one_in_deduped() -> None:
    texts = [changed(long_text(i % 15, 60), i % 4, i) for i in range(45)]
    new, others = texts[30:], texts[:30]
    found = matches([said(text) for text in new], [said(text) for text in others])
    for text, match in zip(new, found, strict=True):
        alike = [not find_duplicates([f"Tell.\n{text}", f"Tell.\n{other}"]).stays.all() for other in others]
        assert (match is not None) == any(alike)
    assert None in found and any(found)


def test_short_rows_are_duplicates_only_of_equal_ones() -> None:
    assert matches([said("Yes."), said("yes."), said("No.")], [said("Yes.")]) == [
        Match(id_of("other", 0), 1.0, True),
        Match(id_of("other", 0), 1.0, True),
        None,
    ]


def test_rows_of_another_kind_system_prompt_or_tools_are_no_duplicates() -> None:
    text = long_text(1)
    new = [said(text), said(text, kind="unpaired"), said(text, system="Be brief."), said(text, tools='[{"name": "clock"}]')]
    assert matches(new, [said(text + ".")]) == [Match(id_of("other", 0), 1.0, False), None, None, None]


def test_rows_whose_numbers_differ_are_none_unless_the_recipe_says_so() -> None:
    new, others = [said(f"{long_text(2)} 1914.")], [said(f"{long_text(2)} 1918.")]
    assert matches(new, others) == [None]
    assert matches(new, others, keep_if_numbers_differ=False)[0] is not None


def test_without_near_only_equal_rows_are_duplicates() -> None:
    text = long_text(3)
    found = matches([said(text), said(f"{text} {text.split()[0]}")], [said(text.upper())], near=False)
    assert found == [Match(id_of("other", 0), 1.0, True), None]


def test_what_is_compared_is_what_the_recipe_compares() -> None:
    new, others = [said(long_text(4), prompt=long_text(5))], [said(long_text(6), prompt=long_text(5) + ".")]
    assert matches(new, others) == [None]
    assert matches(new, others, compare="prompt") != [None]


def test_a_crowd_of_one_template_is_compared_within_the_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more rows share a band with the new ones than are verified at a time."""
    monkeypatch.setattr("sft_assets.deduped.against.PENDING", 500)
    template = long_text(7, 60)
    others = [said(changed(template, 2, i)) for i in range(400)]
    found = matches([said(template)], others)
    best = max((similarity(template, c.messages[-1].content), -n) for n, c in enumerate(others))
    assert found[0] is not None and found[0].jaccard == pytest.approx(best[0])


def test_without_new_rows_nothing_is_read_of_the_others() -> None:
    def others() -> Iterator[pa.RecordBatch]:
        pytest.fail("they were read")
        yield

    assert duplicates_of([], others(), Deduped()) == {}
    assert matches([said("Yes."), said(long_text(8))], []) == [None, None]
