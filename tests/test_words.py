"""The words by which test items are sought: the kernel gives what the plain definition says, for any text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sft_assets.decontaminated.overlap.index import tokenized_words
from sft_assets.decontaminated.overlap.words import word_spans, words

ANY = st.text(st.characters(codec="utf-8"), max_size=60)
TRICKY = st.text("aAbz0159 .,'’_-+*\n\té\u0301İſßΣςµﬁ４½²ʼn한ᄒ\u1161東🙂\r\u200d", max_size=40)
ASCII = st.text("aAbz0159 .,'_-+*\n", max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Janet’s ducks' 1,000 eggs", "janets ducks 1000 eggs"),
        ("What's 6 x 7?  a+b, 東京", "whats 6 x 7 a b 東 京"),
        ("1.5 is not 15, 1,5 not 15; 12,345,678", "1.5 is not 15 1,5 not 15 12345678"),
        ("The ____ of a __init__", "the of a __init__"),
        ("$2 – **bold** — a_b−c", "2 bold a_b c"),
        ("5 µm or 5 ΜM, Straße or STRASSE, ﬁne, ４２, Σίσυφος", "5 μm or 5 μm strasse or strasse fine 42 σίσυφοσ"),
        ("", ""),
        ("?! '' ...", ""),
    ],
)
def test_what_is_a_word(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@given(st.lists(ANY | TRICKY | ASCII, max_size=5))
@example(["1.5,000 1,000.5 12,34 1,000,00 1,000", "a'_b 'tis o' it's", "abcdefgh'i abcdefghi ABCDEFGHI", "é abcdefgh'i 1,000"])
def test_the_kernel_reads_the_same_words(texts: list[str]) -> None:
    hashes, gaps, bounds, starts, stops = tokenized_words(texts)
    said = [words(text) for text in texts]
    assert [len(w) for w in said] == [b - a for a, b in pairwise(bounds)]
    flat = [word for w in said for word in w]
    assert len(set(flat)) == len(set(hashes.tolist())) == len(set(zip(flat, hashes.tolist(), strict=True)))
    assert len(gaps) == len(starts) == len(stops) == len(flat)


@given(ANY | TRICKY)
def test_every_word_has_its_place_in_the_text(text: str) -> None:
    spans = word_spans(text)
    assert len(spans) == len(words(text))
    assert all(0 <= a < b <= len(text) for a, b in spans)


def test_places_hold_where_the_normal_form_is_longer_or_shorter() -> None:
    text = "İstanbul cafe\u0301 ends"
    assert [text[a:b] for a, b in word_spans(text)] == ["İstanbul", "cafe\u0301", "ends"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a + b", "a - b", False),
        ("a + b", "a+b", True),
        ("a × b", "a * b", True),
        ("a − b", "a - b", True),
        ("b < c", "b > c", False),
        ("b ≤ c", "b <= c", True),
        ("well‑known", "well-known", True),
        ("so -- it", "so - it", True),
        ("a $b$", "a b", True),
        (r"a \(b\)", "a $b$", True),
        ("a **b**", "a * b", True),
    ],
)
def test_operators_between_words_have_hashes(one: str, other: str, same: bool) -> None:
    _, gaps, _, _, _ = tokenized_words([one, other])
    assert (gaps[1] == gaps[3]) == same
    assert gaps[0] == gaps[2] == 0


def test_marks_of_lists_are_no_operators() -> None:
    _, gaps, _, _, _ = tokenized_words(["a\n- b\n  * c\n• d", "- a", "a\n-b", "é\n- b\n+ c"])
    assert [bool(gap) for gap in gaps] == [False] * 6 + [True] + [False] * 3
