"""The compiled text kernels say what plain Python says, on any text."""

from __future__ import annotations

import unicodedata
from itertools import accumulate, combinations, groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sft_assets.deduped.near import texts_batch
from sft_assets.deduped.profiles import permutations_of, profiles, shingles_of, sign
from sft_assets.text import characters, kernel
from sft_assets.text.plain import ASCII_TOKEN, folded, jaccard, lower, normal, numbers, shingles, tokens

ODD = (
    "aZ_é̂ßΣσİıǅ09٣๑½Ⅷ²東京ひカกิ่กลཀྵँक्षि한가’'.,;-−–+*/=$€#()[]`!?\"… \t\n\r\x0b\x1c\u00a0\u2003\u3000"
    "\u00ad\u200b\u200d\ufeff\u202e\x00👩🔬🏽1️⃣🏴\U000e0067"
)
TEXT = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"]), st.sampled_from("ab 12.,-'")))
WORDY = st.lists(st.sampled_from(["one", "two", "Three", "4", "5.5", "six-7", "東京", "ñandú", "it's", "+", "\n", "  "])).map(
    " ".join
)
ANY = st.one_of(TEXT, WORDY)


def scanned(text: str) -> tuple[list[str], list[int], np.ndarray[Any, Any]]:
    """(tokens as they stand in the text, folded; their hashes; the stats)"""
    classes, lowers = characters.tables()
    strings = kernel.Strings.of(kernel.composed(pa.array([text])))
    room = len(strings.data) + 1
    hashes, starts, stops = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    stats = np.zeros(kernel.STATS, np.uint64)
    zero = np.int64(0)
    n = kernel.scan(strings.data, strings.offsets[0], strings.offsets[1], classes, lowers, hashes, starts, stops, zero, stats)
    data = strings.data.tobytes()
    words = [folded(data[a:b].decode()) for a, b in zip(starts[:n], stops[:n], strict=True)]
    return words, hashes[:n].tolist(), stats


@settings(max_examples=1500)
@given(ANY)
@example("don’t 'tis rock'n'roll x1 1x 3.14.15 1,000,000. 5'6 a-b −5 é̂\u200d2")
@example("e\u200d\u0301")
def test_the_kernels_tokens_are_those_of_plain_python(text: str) -> None:
    words, hashes, _ = scanned(text)
    assert words == tokens(text)
    assert len(set(hashes)) == len(set(words))
    assert all((a == b) == (x == y) for (a, x), (b, y) in combinations(zip(words[:20], hashes[:20], strict=True), 2))


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_tokens_of_ascii_are_the_tokens(text: str) -> None:
    assert ASCII_TOKEN.findall(text.lower()) == scanned(text)[0]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_character_has_one_class(form: Any) -> None:
    for code in range(0, 0x32000, 7):
        if not 0xD800 <= code < 0xE000:
            text = unicodedata.normalize(form, f"a{chr(code)}1 {chr(code)}b")
            assert scanned(text)[0] == tokens(text), hex(code)


def surplus(text: str) -> int:
    """Blanks at both ends, of a run of them behind a word all but one, of empty lines all but one."""
    if not text.strip():
        return len(text)
    inner = text.strip()
    count = len(text) - len(inner)
    for blank, run in groupby(inner, str.isspace):
        if blank:
            space = "".join(run)
            before = space.split("\n")[0]
            count += max(0, sum(c in " \t" for c in before) - 1) + max(0, space.count("\n") - 2)
    return count


@settings(max_examples=500)
@given(ANY)
def test_lengths_and_endings_are_those_of_plain_python(text: str) -> None:
    _, _, stats = scanned(text)
    composed = unicodedata.normalize("NFC", text)
    assert stats[kernel.LENGTH] == len(composed)
    assert stats[kernel.SAID] == len(" ".join(composed.split()))
    assert stats[kernel.SURPLUS] == surplus(composed)
    assert bool(stats[kernel.ENDING]) == composed.rstrip().endswith(tuple(characters.ENDINGS))


@settings(max_examples=500)
@given(
    ANY, st.sampled_from([str.upper, str.title, lambda t: "  " + t.replace(" ", "\n\t") + " "]), st.sampled_from(["NFC", "NFD"])
)
def test_texts_have_one_hash_if_and_only_if_they_have_one_normal_form(text: str, change: Any, form: Any) -> None:
    other = unicodedata.normalize(form, change(text))
    a, b = (scanned(t)[2][[kernel.LOW, kernel.HIGH]].tolist() for t in (text, other))
    assert (a == b) == (normal(text) == normal(other))
    assert (a[0] == b[0]) == (a[1] == b[1])


@settings(max_examples=500)
@given(ANY, ANY)
def test_texts_have_one_hash_of_numbers_if_and_only_if_they_have_the_same_numbers(a: str, b: str) -> None:
    for x, y in ((a, b), (a, a + " 7"), (a, a + "."), (a, "-" + a)):
        assert (scanned(x)[2][kernel.FIGURES] == scanned(y)[2][kernel.FIGURES]) == (numbers(x) == numbers(y))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x-2 is -1.5", ("2", "-1.5")),
        ("-5 and (−6) and 7-8", ("-5", "-6", "7", "8")),
        ("1,000 at 3.", ("1,000", "3")),
        ("v2.1b", ("2.1",)),
        ("1..2", ("1", "2")),
    ],
)
def test_a_minus_before_a_number_is_a_sign_unless_something_stands_before_it(text: str, found: tuple[str, ...]) -> None:
    assert numbers(text) == found


def sets_of(texts: list[str]) -> list[frozenset[int]]:
    """The shingle hashes that the kernel makes of each text."""
    batch = texts_batch(texts, np.arange(len(texts)))
    assert profiles([batch], "answer", (25, 5), 128).tokens.tolist() == [len(tokens(text)) for text in texts]
    values: list[int] = []
    counts: list[int] = []
    for _, some, hashes in shingles_of([batch], "answer"):
        counts += some.tolist()
        values += hashes.tolist()
    return [frozenset(values[a:b]) for a, b in pairwise(accumulate(counts, initial=0))]


@settings(max_examples=300)
@given(st.lists(ANY.map(lambda t: t + " and one more of it"), min_size=2, max_size=6))
def test_shingle_sets_have_the_sizes_and_similarities_of_plain_python(texts: list[str]) -> None:
    ours, plain = sets_of(texts), [shingles(tokens(text)) for text in texts]
    for (a, x), (b, y) in combinations(zip(ours, plain, strict=True), 2):
        assert len(a) == len(x)
        assert len(a & b) / len(a | b) == jaccard(x, y)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.sampled_from([16, 64, 128, 256]))
def test_signatures_are_those_of_datasketch(values: list[int], permutations: int) -> None:
    theirs = MinHash(num_perm=permutations, scheme="affine32", hashfunc=lambda value: value & 0xFFFFFFFF)
    theirs.update_batch(values)
    ours = np.empty(permutations, np.uint32)
    sign(np.array(values, np.uint64), *permutations_of(permutations), ours)
    assert ours.tolist() == theirs.hashvalues.tolist()


def test_a_text_that_is_composed_is_not_copied() -> None:
    array = pa.array(["plain", "café", "東京"])
    assert kernel.composed(array) is array
    assert kernel.composed(pa.array(["cafe\u0301", None, "x"])).to_pylist() == ["café", None, "x"]


def test_slices_and_large_arrays_are_read_where_they_lie() -> None:
    for array in (
        pa.array(["zero", "one two", None, "three"]),
        pa.array(["zero", "one two", None, "three"], pa.large_string()),
    ):
        found = kernel.tokenized(array.slice(1))
        assert np.diff(found.bounds).tolist() == [2, 0, 1]


@given(st.text())
def test_lower_case_is_each_code_points_own(text: str) -> None:
    assert lower(text) == "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
