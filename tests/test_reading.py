"""Reading D/sources: every record is kept or set aside with its reason, whatever the bytes are and however they arrive."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson
import pytest
from conftest import CORPUS, build, fresh, put, rows, say
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sft_assets.combined.asset import combined
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw import containers
from sft_assets.raw.asset import raw
from sft_assets.raw.batches import Bad, Batch
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.json_records import records
from sft_assets.raw.parts import Opening, parts
from sft_assets.raw.reading import fitting, opened
from sft_assets.raw.sources import SourceFile

# ------------------------------------------------------------------------------------------------- bytes into records


class Outcome(NamedTuple):
    """What the reader made of some bytes: texts and hashes by position, and what it set aside."""

    texts: dict[int, bytes]
    hashes: dict[int, bytes]
    bad: list[tuple[int, str, str, str, str]]
    refused: str = ""

    @property
    def values(self) -> dict[int, Any]:
        return {position: orjson.loads(text) for position, text in self.texts.items()}

    @property
    def reasons(self) -> dict[int, str]:
        return {position: reason for position, reason, *_ in self.bad}


def taken(pieces: Iterator[bytes], limits: Limits) -> Outcome:
    return outcome_of(records(pieces, limits))


def outcome_of(batches: Iterator[Batch]) -> Outcome:
    texts, hashes, bad = {}, {}, []
    count = 0
    try:
        for batch in batches:
            assert len(batch.positions) == len(batch.texts) == len(batch.values) == len(batch.hashes)
            count += len(batch)
            texts |= dict(zip(batch.positions, batch.texts, strict=True))
            hashes |= dict(zip(batch.positions, batch.hashes, strict=True))
            bad += [(b.position, b.reason, b.detail, b.sha256, b.excerpt) for b in batch.bad]
    except Refused as refusal:
        return Outcome({}, {}, [], refusal.reason)
    assert len(texts) + len(bad) == count, "two records at one position"
    return Outcome(texts, hashes, sorted(bad))


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, limit: int = 4096) -> Outcome:
    """Read in pieces of 1 byte, of 7 and in one: it must not matter."""
    limits = Limits(max_record_bytes=limit)
    whole, sevens, ones = (taken(pieces_of(data, size), limits) for size in (max(1, len(data)), 7, 1))
    assert whole == sevens == ones
    assert len({*whole.texts, *(b[0] for b in whole.bad)}) == len(whole.texts) + len(whole.bad)
    return whole


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


ONE, TWO, THREE = {"a": 1}, {"a": 2}, {"a": 3}

# what it is, the bytes, records kept by position, reasons of what was set aside by position
CASES: list[tuple[str, bytes, dict[int, Any], dict[int, str]]] = [
    ("lines", b'{"a":1}\n{"a":2}\n', {1: ONE, 2: TWO}, {}),
    ("lines, no newline at the end", b'{"a":1}\n{"a":2}', {1: ONE, 2: TWO}, {}),
    ("lines with CRLF", b'{"a":1}\r\n{"a":2}\r\n', {1: ONE, 2: TWO}, {}),
    ("lines: blank ones count as lines", b'\n \t\n{"a":1}\n\n\r\n{"a":2}\n\n', {3: ONE, 6: TWO}, {}),
    ("lines after many blank ones", b"\n" * 20 + b'{"a":1}\n{"a":2}', {21: ONE, 22: TWO}, {}),
    ("lines: spaces around", b'  {"a":1} \t\n\t{ "a" : 2 }\n', {1: ONE, 2: TWO}, {}),
    ("lines: cut in a key", b'{"a":1}\n{"a', {1: ONE}, {2: "truncated"}),
    ("lines: cut in a text", b'{"a":1}\n{"a":"x', {1: ONE}, {2: "truncated"}),
    ("lines: cut in a number", b'{"a":1}\n{"a":2', {1: ONE}, {2: "truncated"}),
    ("lines: cut in a word", b'{"a":1}\n{"a":tru', {1: ONE}, {2: "truncated"}),
    ("lines: cut in an escape", b'{"a":1}\n{"a":"\\ud83d\\u', {1: ONE}, {2: "truncated"}),
    ("lines: cut in a character", '{"a":1}\n{"a":"é'.encode()[:-1], {1: ONE}, {2: "truncated"}),
    ("lines: cut in the middle of the file", b'{"a":1}\n{"a":\n{"a":3}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: the first is cut", b'{"a":"x\n{"a":2}\n{"a":3}\n', {2: TWO, 3: THREE}, {1: "invalid_json"}),
    ("lines: the first is no JSON", b'# my data\n{"a":2}\n', {2: TWO}, {1: "invalid_json"}),
    ("lines: the first begins with a bracket", b'["a":1}\n{"a":2}\n{"a":3}\n', {2: TWO, 3: THREE}, {1: "invalid_json"}),
    ("lines: a quote too few", b'{"a":1}\n{"a":"x}\n{"a":3}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: a quote too many", b'{"a":1}\n{"a":"x"y"}\n{"a":3}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: a brace too few", b'{"a":1}\n{"a":{"b":1}\n{"a":3}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: a brace too many", b'{"a":1}\n{"a":2}}\n{"a":3}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: trailing comma in an object", b'{"a":1}\n{"a":2,}\n{"a":3}', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: comma at the end of one", b'{"a":1}\n{"a":2},\n{"a":3}', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: commas at the end of all", b'{"a":1},\n{"a":2},\n', {}, {1: "invalid_json", 2: "invalid_json"}),
    ("lines: two objects in one", b'{"a":1}\n{"a":2}{"a":2}\n{"a":3}', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("lines: single quotes", b"{\"a\":1}\n{'a': 2}\n", {1: ONE}, {2: "invalid_json"}),
    ("lines: a comment", b'{"a":1}\n{"a":2} // two\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: text", b'{"a":1}\nhello\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: NaN", b'{"a":1}\n{"a":NaN}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: Infinity", b'{"a":1}\n{"a":[1,-Infinity]}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: a number beyond double", b'{"a":1}\n{"a":1e999}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: leading zero", b'{"a":1}\n{"a":01}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: duplicate key", b'{"a":1}\n{"a":2,"b":0,"a":3}\n', {1: ONE}, {2: "duplicate_key"}),
    ("lines: equal duplicate key", b'{"a":1}\n{"a":2,"a":2}\n', {1: ONE}, {2: "duplicate_key"}),
    ("lines: duplicate key, nested", b'{"a":1}\n{"a":[{"b":{"c":1,"c":2}}]}\n', {1: ONE}, {2: "duplicate_key"}),
    ("lines: duplicate key, escaped", b'{"a":1}\n{"a":2,"\\u0061":3}\n', {1: ONE}, {2: "duplicate_key"}),
    (
        "lines: duplicate key beside a long number",
        b'{"a":1}\n{"a":2,"n":123456789012345678901,"a":3}',
        {1: ONE},
        {2: "duplicate_key"},
    ),
    (
        "lines: duplicate key, number of 5,000 digits",
        b'{"a":1}\n{"a":1,"a":' + b"1" * 300 + b"}",
        {1: ONE},
        {2: "duplicate_key"},
    ),
    (
        "lines: a key in two objects is no duplicate",
        b'{"a":1}\n{"a":{"a":{"a":":"}}}',
        {1: ONE, 2: {"a": {"a": {"a": ":"}}}},
        {},
    ),
    ("lines: lone high surrogate", b'{"a":1}\n{"a":"\\ud83d!"}\n', {1: ONE}, {2: "lone_surrogate"}),
    ("lines: lone low surrogate", b'{"a":1}\n{"a":"\\ude00"}\n', {1: ONE}, {2: "lone_surrogate"}),
    ("lines: a pair of surrogates is a character", b'{"a":1}\n{"a":"\\ud83d\\ude00"}', {1: ONE, 2: {"a": "😀"}}, {}),
    ("lines: surrogates as UTF-8", b'{"a":1}\n{"a":"\xed\xa0\xbd\xed\xb8\x80"}', {1: ONE}, {2: "invalid_utf8"}),
    ("lines: a byte of latin-1", b'{"a":1}\n{"a":"caf\xe9"}\n', {1: ONE}, {2: "invalid_utf8"}),
    ("lines: an overlong character", b'{"a":1}\n{"a":"\xc0\xaf"}\n', {1: ONE}, {2: "invalid_utf8"}),
    ("lines: NUL in a text", b'{"a":1}\n{"a":"x\0y"}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: NUL escaped is a character", b'{"a":1}\n{"a":"x\\u0000y"}\n', {1: ONE, 2: {"a": "x\0y"}}, {}),
    ("lines: tab in a text", b'{"a":1}\n{"a":"x\ty"}\n', {1: ONE}, {2: "invalid_json"}),
    ("lines: a byte order mark in the middle", b'{"a":1}\n\xef\xbb\xbf{"a":2}\n', {1: ONE}, {2: "invalid_json"}),
    (
        "lines: no objects",
        b'{"a":1}\n5\n"x"\nnull\n[{"a":2}]\n{"a":3}\n',
        {1: ONE, 6: THREE},
        dict.fromkeys((2, 3, 4, 5), "not_an_object"),
    ),
    ("lines of arrays", b'[{"a":1}]\n[{"a":2}]\n', {}, {1: "not_an_object", 2: "not_an_object"}),
    ("lines: 300 objects within each other", b'{"a":1}\n' + nested(300), {1: ONE}, {2: "too_deep"}),
    ("lines: 3,000 objects within each other", b'{"a":1}\n' + b'{"a":' * 800 + b"\n", {1: ONE}, {2: "invalid_json"}),
    ("lines: beyond the parser's depth", b'{"a":1}\n' + b"[" * 1500 + b"]" * 1500, {1: ONE}, {2: "too_deep"}),
    ("lines: an empty object", b'{"a":1}\n{}\n', {1: ONE, 2: {}}, {}),
    ("array", b'[{"a":1},{"a":2}]', {1: ONE, 2: TWO}, {}),
    ("array, a line for each", b'[\n{"a":1},\n{"a":2}\n]\n', {1: ONE, 2: TWO}, {}),
    ("array, comma first", b'[\n  {"a":1}\n, {"a":2}\n, {"a":3}\n]\n', {1: ONE, 2: TWO, 3: THREE}, {}),
    ("array, pretty-printed", json.dumps([ONE, TWO], indent=4).encode(), {1: ONE, 2: TWO}, {}),
    ("array, empty", b" [ ] ", {}, {}),
    ("array: a comma too many loses nothing", b'[{"a":1},,{"a":2},]', {1: ONE, 2: TWO}, {}),
    ("array: a comma too few", b'[{"a":1} {"a":2},{"a":3}]', {2: THREE}, {1: "invalid_json"}),
    ("array: cut in an element", b'[{"a":1},{"a":2},{"a":"x', {1: ONE, 2: TWO}, {3: "truncated"}),
    ("array: cut after an element", b'[{"a":1},{"a":2}', {1: ONE, 2: TWO}, {3: "truncated"}),
    ("array: cut after a comma", b'[{"a":1},', {1: ONE}, {2: "truncated"}),
    ("array: only the bracket", b"[", {}, {1: "truncated"}),
    ("array: a duplicate key in the last, unclosed", b'[{"a":1},{"a":2,"a":3}', {1: ONE}, {2: "duplicate_key", 3: "truncated"}),
    ("array: text after the end", b'[{"a":1}] {"a":2}', {1: ONE}, {2: "invalid_json"}),
    ("array: another after the end", b'[{"a":1}][{"a":2}]', {1: ONE}, {2: "invalid_json"}),
    ("array: text after much space", b'[{"a":1}]' + b" " * 9000 + b"x", {1: ONE}, {2: "invalid_json"}),
    ("array: a quote too few", b'[{"a":1},{"a":"x},{"a":3},{"a":1}]', {1: ONE, 3: THREE, 4: ONE}, {2: "invalid_json"}),
    ("array: a quote too few in the first", b'[{"a":"x},{"a":2},{"a":3}]', {2: TWO, 3: THREE}, {1: "invalid_json"}),
    ("array: a quote too many", b'[{"a":1},{"a":"x"y"},{"a":3}]', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("array: a brace too few", b'[{"a":1},{"a":{"b":2},{"a":3},{"a":1}]', {1: ONE, 3: THREE, 4: ONE}, {2: "invalid_json"}),
    ("array: a brace too many", b'[{"a":1},{"a":2}},{"a":3},{"a":1}]', {1: ONE, 3: THREE, 4: ONE}, {2: "invalid_json"}),
    ("array: a bracket too many", b'[{"a":1},{"a":[2},{"a":3}]', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("array: NaN and a trailing comma", b'[{"a":NaN},{"a":2},{"a":3,}]', {2: TWO}, {1: "invalid_json", 3: "invalid_json"}),
    (
        "array: faults beside another first key",
        b'[{"a":1},{"b":NaN},{"b":2},{"a":3}]',
        {1: ONE, 3: {"b": 2}, 4: THREE},
        {2: "invalid_json"},
    ),
    ("array: duplicate key", b'[{"a":1},{"a":2,"a":2},{"a":3}]', {1: ONE, 3: THREE}, {2: "duplicate_key"}),
    (
        "array: no objects",
        b'[{"a":1},5,"x",[1,{"a":0}],null,{"a":3}]',
        {1: ONE, 6: THREE},
        dict.fromkeys((2, 3, 4, 5), "not_an_object"),
    ),
    ("array: a byte of latin-1", b'[{"a":1},{"a":"\xe9"},{"a":3}]', {1: ONE, 3: THREE}, {2: "invalid_utf8"}),
    ("array: lone surrogate", b'[{"a":1},{"a":"\\udc00"},{"a":3}]', {1: ONE, 3: THREE}, {2: "lone_surrogate"}),
    ("array: too deep", b'[{"a":1},' + nested(400) + b',{"a":3}]', {1: ONE, 3: THREE}, {2: "too_deep"}),
    ("values, pretty-printed", b'{\n  "a": 1\n}\n{\n  "a": 2\n}\n', {1: ONE, 2: TWO}, {}),
    (
        "values: one, with whole objects in its lines",
        b'{\n"messages": [\n{"b":1},\n{"b":2}\n]\n}',
        {1: {"messages": [{"b": 1}, {"b": 2}]}},
        {},
    ),
    ("values in one line", b'{"a":1}{"a":2} {"a":3}', {1: ONE, 2: TWO, 3: THREE}, {}),
    ("values apart by CR only", b'{"a":1}\r{"a":2}\r', {1: ONE, 2: TWO}, {}),
    ("values: the last is cut", b'{\n"a": 1\n}\n{\n"a": ', {1: ONE}, {2: "truncated"}),
    ("values: a broken one", b'{\n"a": 1\n}\n{\n"a": NaN\n}\n{\n"a": 3\n}', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    ("values: a quote too few", b'{\n"a": 1\n}\n{\n"a": "x\n}\n{\n"a": 3\n}\n', {1: ONE, 3: THREE}, {2: "invalid_json"}),
    (
        "values: scalars between",
        b'{\n"a": 1\n}\n5 "x"\n{\n"a": 3\n}\n7',
        {1: ONE, 4: THREE},
        dict.fromkeys((2, 3, 5), "not_an_object"),
    ),
    ("one object around a list", b'{"data":[{"a":1},{"a":2}]}', {1: ONE, 2: TWO}, {}),
    (
        "one object around a list, pretty-printed",
        json.dumps({"v": "[{", "rows": [ONE, TWO]}, indent=1).encode(),
        {1: ONE, 2: TWO},
        {},
    ),
    ("one object around two lists is a record", b'{"x":[{"a":1}],"y":[{"a":2}]}', {1: {"x": [ONE], "y": [TWO]}}, {}),
    ("one object around turns is a record", b'{"messages":[{"a":1}]}', {1: {"messages": [ONE]}}, {}),
    ("a single object", b'{"a":1}', {1: ONE}, {}),
    ("plain text", b"Once upon a time\nthere was a file.\n", {}, {1: "invalid_json", 2: "invalid_json"}),
]


@pytest.mark.parametrize(("data", "kept", "bad"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_record_is_kept_or_set_aside_with_its_reason(data: bytes, kept: dict[int, Any], bad: dict[int, str]) -> None:
    outcome = read(data)
    assert outcome.values == kept
    assert outcome.reasons == bad


@pytest.mark.parametrize("data", [b"", b" ", b"\n\r\n\t ", b"\n" * 40])
def test_a_file_of_nothing_is_refused_as_empty(data: bytes) -> None:
    assert read(data).refused == "empty"


def test_the_sentence_says_what_is_wrong_and_where() -> None:
    lines = [b'{"a":1}', b'{"a":1,"b":{"x":1,"x":2}}', b'{"a":-Infinity}', b'{"a":"\xe9"}', b'{"a":tru']
    details = [b[2] for b in read(b"\n".join(lines)).bad]
    assert "'x' stands twice" in details[0]
    assert "Infinity is not a JSON value" in details[1]
    assert "byte 0xe9 at 6 is not UTF-8" in details[2]
    assert "encoding:" in details[2]
    assert "ends within the record" in details[3]


def test_a_text_that_speaks_of_nan_is_not_blamed_for_it() -> None:
    (bad,) = read(b'{"a":1}\n{"a":"NaN is a float","b":}\n').bad
    assert "NaN" not in bad[2]


def test_what_is_set_aside_is_known_by_the_hash_of_its_bytes() -> None:
    from hashlib import sha256

    (bad,) = read(b'{"a":1}\n  {"a":NaN}\r\n').bad
    assert bad[3] == sha256(b'{"a":NaN}').hexdigest()


@pytest.mark.parametrize(
    "shown",
    [
        b'{"a":1}\n{"mail":"jane.doe@mailbox-post.net" oops}',
        b'{"a":1}\n{"mail":"write to:\\njane.doe@mailbox-post.net" oops}',
        b'{"a":1}\n{"mail":"jane.doe\\u0040mailbox-post.net" oops}',
        b'{"a":1}\n{"jane.doe@mailbox-post.net":1,"jane.doe@mailbox-post.net":2}',
    ],
)
def test_excerpts_and_sentences_are_masked(shown: bytes) -> None:
    (bad,) = read(shown).bad
    assert "jane" not in bad[2] + bad[4]
    assert "<EMAIL>" in bad[4]


def test_a_key_that_is_cut_off_is_masked_in_the_excerpt() -> None:
    key = "-----BEGIN PRIVATE KEY-----\\n" + "\\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" for _ in range(80))
    (bad,) = read(b'{"a":1}\n{"a":"' + key.encode(), limit=9000).bad
    assert "MIIE" not in bad[4]


# ------------------------------------------------------------------------------------------------- large records


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
@pytest.mark.parametrize(
    ("data", "kept", "length"),
    [
        (b'{"a":1}\n{"a":"' + b"x" * 200 + b'"}\n{"a":3}', {1: ONE, 3: THREE}, 208),
        (b'{"a":1}\n{"a":"' + b"x" * 200 + b'"', {1: ONE}, 207),
        (b'{"a":1}\n' + b"x" * 200 + b'\n{"a":3}', {1: ONE, 3: THREE}, 200),
        (b'[{"a":1},{"a":"' + b"x" * 200 + b'"},{"a":3}]', {1: ONE, 3: THREE}, 209),
        (b'[{"a":"' + b"x" * 200 + b'"},{"a":2},{"a":3}]', {2: TWO, 3: THREE}, 209),
        (b'{\n"a":1}\n{\n"a":"' + b"x" * 200 + b'"}\n{\n"a":3}', {1: ONE, 3: THREE}, 210),
    ],
)
def test_a_record_larger_than_the_cap_is_set_aside_and_the_next_is_read(
    data: bytes, kept: dict[int, Any], length: int, size: int
) -> None:
    outcome = taken(pieces_of(data, size), Limits(max_record_bytes=100))
    assert outcome == taken(pieces_of(data, 1), Limits(max_record_bytes=100))
    assert outcome.values == kept
    assert list(outcome.reasons.values()) == ["too_large"]
    assert f"{length:,} bytes" in outcome.bad[0][2]


def test_a_record_of_just_the_cap_is_read() -> None:
    record = b'{"a":"' + b"x" * 92 + b'"}'
    assert len(record) == 100
    for data in (record + b"\n" + record, b"[" + record + b"  ,\n" + record + b"   ]"):
        assert len(read(data, limit=100).texts) == 2
        assert set(read(data, limit=99).reasons.values()) == {"too_large"}


@pytest.mark.parametrize(("before", "after"), [(b'{"a":1}\n{"a":"', b'"}\n{"a":3}\n'), (b'[{"a":1},{"a":"', b'"},{"a":3}]')])
def test_a_line_of_60_mb_costs_a_few_caps_of_memory(before: bytes, after: bytes) -> None:
    mb = b"x" * (1 << 20)
    taken(iter([before, mb, after]), Limits(max_record_bytes=1 << 20))  # what is compiled is not counted
    tracemalloc.start()
    outcome = taken(iter([before, *[mb] * 60, after]), Limits(max_record_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.values == {1: ONE, 3: THREE}
    assert outcome.reasons == {2: "too_large"}
    assert peak < 24 << 20


# ------------------------------------------------------------------------------------------------- numbers


def test_numbers_beyond_64_bits_stay_distinct() -> None:
    numbers = ["12345678901234567890123", "12345678901234567890124", "0.1234567890123456781", "0.1234567890123456782"]
    for data in ("\n".join(f'{{"a":{n}}}' for n in numbers), "[" + ",".join(f'{{"a":{n}}}' for n in numbers) + "]"):
        outcome = read(data.encode())
        assert len(set(outcome.hashes.values())) == 4
        assert [text.decode()[5:-1] for text in outcome.texts.values()] == numbers


def test_numbers_beyond_64_bits_stay_as_they_stand_inside_a_list_too() -> None:
    outcome = read(b'{"data": [{"a": 12345678901234567890123}, {"a": 12345678901234567890124}]}')
    assert list(outcome.texts.values()) == [b'{"a": 12345678901234567890123}', b'{"a": 12345678901234567890124}']


def test_records_that_are_equal_as_json_have_one_hash() -> None:
    outcome = read('{"a":1,"b":"é"}\n{ "b": "\\u00e9", "a": 1 }\n{"a":1,"b":"e"}'.encode())
    assert outcome.hashes[1] == outcome.hashes[2] != outcome.hashes[3]


# ------------------------------------------------------------------------------------------------- any bytes at all

TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b"\n",
    b" ",
    b"1",
    b"a",
    b"\xe9",
    b"\r",
    b"\t",
    b"\0",
    b"NaN",
    b"null",
]
TOKENS += [
    b'"a":',
    b'{"a":1}',
    b'{"a":1},',
    b'{"a":"x"}\n',
    b'{"a":1,"a":2}',
    b"\\ud800",
    b'\n{\n"a":',
    b'{"data":[',
    "é".encode(),
]
soup = st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join)


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=80), soup), st.sampled_from([8, 24, 4096]))
@example(b'[{"a":1}' + b"," * 30, 8)
@example(b"{" * 60, 8)
def test_any_bytes_are_read_or_refused_however_they_arrive(data: bytes, limit: int) -> None:
    outcome = read(data, limit)
    for position, text in outcome.texts.items():
        assert text in data
        assert position >= 1
    if not data.strip(b" \t\r\n"):
        assert outcome.refused == "empty"
    else:
        assert not outcome.refused


json_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
record = st.builds(
    lambda value, more: {"key": value} | more, json_value, st.dictionaries(st.sampled_from("bcd"), json_value, max_size=2)
)


@settings(max_examples=150)
@given(
    st.lists(record, min_size=1, max_size=5),
    st.sampled_from(["lines", "array", "pretty array", "pretty values"]),
    st.booleans(),
)
def test_whatever_is_json_is_read_as_it_stands(made: list[dict[str, Any]], shape: str, ascii_only: bool) -> None:
    texts = [json.dumps(r, ensure_ascii=ascii_only, indent=2 if "pretty" in shape else None) for r in made]
    data = "[" + ",\n".join(texts) + "]" if "array" in shape else "\n".join(texts)
    if len(made) == 1 and shape == "lines":
        made = [{"messages": made}]  # one object around a list is another matter
        data = json.dumps(made[0], ensure_ascii=ascii_only)
    outcome = read(data.encode(), limit=1 << 20)
    assert not outcome.bad
    assert [json.loads(t) for t in outcome.texts.values()] == made
    assert list(outcome.texts) == list(range(1, len(made) + 1))


@settings(max_examples=300)
@given(st.lists(record, min_size=4, max_size=6), st.data())
def test_in_json_lines_a_fault_costs_its_own_line_only(made: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = [json.dumps(r).encode() for r in made]
    at = data.draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[at])
    start = data.draw(st.integers(0, len(line)))
    line[start : data.draw(st.integers(start, len(line)))] = data.draw(st.binary(max_size=3)).replace(b"\n", b"")
    outcome = read(b"\n".join([*lines[:at], bytes(line), *lines[at + 1 :]]), limit=1 << 20)
    for i, text in enumerate(lines):
        if i != at:
            assert outcome.texts.get(i + 1) == text
    assert set(outcome.texts) | set(outcome.reasons) <= set(range(1, len(lines) + 1))
    if bytes(line).strip(b" \t\r"):
        assert at + 1 in set(outcome.texts) | set(outcome.reasons)


@settings(max_examples=300)
@given(st.lists(record, min_size=3, max_size=6), st.data())
def test_in_an_array_a_fault_costs_its_own_element_only(made: list[dict[str, Any]], data: st.DataObject) -> None:
    elements = [json.dumps(r).encode() for r in made]
    at = data.draw(st.integers(0, len(elements) - 2))
    head = len(b'{"key": ')
    element = bytearray(elements[at])
    place = data.draw(st.integers(head, len(element) - 1))
    if data.draw(st.booleans()):
        del element[place]
    else:
        element[place:place] = data.draw(st.sampled_from([b'"', b"}", b"{", b"[", b"]", b"\\", b":", b"\xff", b"\0"]))
    outcome = read(b"[" + b", ".join([*elements[:at], bytes(element), *elements[at + 1 :]]) + b"]", limit=1 << 20)
    kept = list(outcome.texts.values())
    for i, text in enumerate(elements):
        if i != at:
            assert text in kept
    assert len(outcome.texts) + len(outcome.bad) >= len(elements)


# ------------------------------------------------------------------------------------------------- encodings, gzip


def of_file(path: Path, encoding: str | None = None, limits: Limits | None = None) -> Outcome:
    found = parts(path, path.name, Opening(encoding), limits or Limits(), lambda _: False)
    return next(outcome_of(part.batches) for part in found)


def fit(path: Path, encoding: str | None = None, limits: Limits | None = None) -> list[Batch]:
    file = SourceFile(path, path.name, "s", opening=Opening(encoding))
    return [batch for part in opened(file, limits or Limits()) for batch, _ in fitting(file, part)]


def refusal(path: Path, encoding: str | None = None, limits: Limits | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        fit(path, encoding, limits)
    return caught.value


CAFE = '{"a":"café 東京 😀"}\n{"a":"zwei"}\n'


@pytest.mark.parametrize("size", [1, 7, 4 << 20])
@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (CAFE.encode(), None),
        (CAFE.encode("utf-8-sig"), None),
        (b"\xff\xfe" + CAFE.encode("utf-16-le"), None),
        (b"\xfe\xff" + CAFE.encode("utf-16-be"), None),
        (b"\xff\xfe\0\0" + CAFE.encode("utf-32-le"), None),
        (b"\0\0\xfe\xff" + CAFE.encode("utf-32-be"), None),
        (CAFE.encode("utf-16-le"), "utf-16-le"),
        (b"\xff\xfe" + CAFE.encode("utf-16-le"), "utf-16-le"),
        (CAFE.encode("gb18030"), "gb18030"),
        (CAFE.replace("東京 😀", "").replace("café ", "café 東京 😀").encode(), "UTF8"),
    ],
    ids=[
        "utf-8",
        "bom",
        "16le",
        "16be",
        "32le",
        "32be",
        "16le stated",
        "16le stated with bom",
        "gb18030 stated",
        "utf8 stated",
    ],
)
def test_a_byte_order_mark_or_the_recipe_says_the_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, encoding: str | None, size: int
) -> None:
    monkeypatch.setattr(containers, "CHUNK", max(size, 64))
    monkeypatch.setattr(containers, "PACKED", size)
    for packed in (data, gzip.compress(data), gzip.compress(data[:1]) + gzip.compress(data[1:])):
        (tmp_path / "f.json").write_bytes(packed)
        assert of_file(tmp_path / "f.json", encoding).values == {1: {"a": "café 東京 😀"}, 2: {"a": "zwei"}}


@pytest.mark.parametrize(
    ("data", "encoding", "says"),
    [
        (CAFE.encode("utf-16-le"), None, "utf-16-le"),
        (CAFE.encode("utf-16-be"), None, "byte order mark"),
        ("".join(f'{{"instruction":"é{i}","output":"ü"}}\n' for i in range(9)).encode("latin-1"), None, "encoding:"),
        (CAFE.encode(), "ascii", "is not ascii near byte"),
        (CAFE.encode("utf-16-le")[:-1], "utf-16-le", "is not utf-16-le"),
        (CAFE.encode(), "klingon", "no encoding is called 'klingon'"),
        (CAFE.encode(), "zlib", "no encoding is called 'zlib'"),
        (CAFE.encode(), "a\0b", "no encoding is called"),
        (b"+2AA-", "utf-7", "is not utf-7"),
    ],
)
def test_a_file_of_another_encoding_is_refused_with_the_remedy(
    tmp_path: Path, data: bytes, encoding: str | None, says: str
) -> None:
    (tmp_path / "f.json").write_bytes(data)
    refused = refusal(tmp_path / "f.json", encoding)
    assert refused.reason == "encoding"
    assert says in refused.detail


def test_one_record_of_another_encoding_at_the_end_of_a_file_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "CHUNK", 4096)
    monkeypatch.setattr(containers, "PACKED", 4096)
    good = b"".join(orjson.dumps({"instruction": "i", "output": f"o{i}"}) + b"\n" for i in range(400))
    (tmp_path / "f.json").write_bytes(good + b'{"instruction":"i","output":"\xe9"}\n')
    batches = fit(tmp_path / "f.json")
    assert len(batches) > 2
    assert sum(len(b.values) for b in batches) == 400
    assert [b.reason for batch in batches for b in batch.bad] == ["invalid_utf8"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Office document"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x80\x04\x95\x0b", "a Python pickle, which could run anything"),
        (b"SQLite format 3\0", "an SQLite database"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, data: bytes, kind: str) -> None:
    (tmp_path / "f.jsonl").write_bytes(data)
    refused = refusal(tmp_path / "f.jsonl")
    assert refused.reason == "container"
    assert kind in refused.detail
    assert "convert it to JSON lines" in refused.detail


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"Once upon a time\nthere was a file.\n", "not_json", "position 1: unexpected"),
        (b"\n\na,b\n1,2\n", "not_json", "position 3"),
        (b"[1, 2]", "not_json", "a record is an object"),
        (b'{"a": 1, "a": 2}', "not_json", "stands twice"),
        (b"[]", "empty", "holds no record"),
        (b" \n ", "empty", "holds nothing"),
        (b'{"text": "x"}\n{"text": "y"}', "no_format", 'its first record: {"text": "x"}'),
        (b'nonsense\n{"text": "y"}', "no_format", 'its first record: {"text": "y"}'),
    ],
)
def test_a_file_without_a_usable_record_is_refused_with_the_first_reason(
    tmp_path: Path, data: bytes, reason: str, says: str
) -> None:
    (tmp_path / "f.jsonl").write_bytes(data)
    refused = refusal(tmp_path / "f.jsonl")
    assert refused.reason == reason
    assert says in refused.detail


def test_a_large_file_that_fits_nothing_is_refused_without_reading_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "CHUNK", 4096)
    (tmp_path / "f.jsonl").write_bytes(b'{"text":"x"}\n' * 20_000 + b'{"instruction":"i","output":"o"}\n')
    assert refusal(tmp_path / "f.jsonl").reason == "no_format"
    (tmp_path / "f.jsonl").write_bytes(b'{"text":"x"}\n' * 300 + b'{"instruction":"i","output":"o"}\n')
    batches = fit(tmp_path / "f.jsonl")
    assert (sum(len(b.values) for b in batches), sum(len(b.bad) for b in batches)) == (1, 300)


LINES = b"".join(orjson.dumps({"a": i, "text": random.Random(i).randbytes(8).hex()}) + b"\n" for i in range(40))


def test_several_gzip_members_and_padding_are_one_file(tmp_path: Path) -> None:
    half = LINES.index(b"\n", 400) - 3  # within a record
    (tmp_path / "f.json").write_bytes(gzip.compress(LINES[:half]) + gzip.compress(LINES[half:]) + b"\0" * 500)
    outcome = of_file(tmp_path / "f.json")
    assert len(outcome.texts) == 40
    assert not outcome.bad


@pytest.mark.parametrize("cut", range(1, 500, 23))
def test_of_a_truncated_gzip_file_what_could_be_unpacked_is_read_and_the_rest_is_said(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(LINES, mtime=0)
    (tmp_path / "f.json").write_bytes(packed[:-cut])
    outcome = of_file(tmp_path / "f.json")
    if outcome.refused:
        assert outcome.refused == "damaged"
        return
    assert list(outcome.reasons.values()) == ["truncated"]
    assert "cut off" in outcome.bad[0][2]
    lines = LINES.splitlines()
    assert list(outcome.texts.values()) == lines[: len(outcome.texts)]
    assert outcome.bad[0][0] == len(outcome.texts) + 1


def test_a_small_truncated_gzip_file_keeps_its_records(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(gzip.compress(b'{"a":1}\n{"a":2}\n')[:-8])
    outcome = of_file(tmp_path / "f.json")
    assert outcome.values == {1: ONE, 2: TWO}
    assert outcome.reasons == {3: "truncated"}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 10_000), st.integers(1, 255))
def test_a_damaged_gzip_file_never_gives_a_record_in_silence(tmp_path: Path, place: int, change: int) -> None:
    packed = bytearray(gzip.compress(LINES, mtime=0))
    packed[place % (len(packed) - 2) + 2] ^= change
    (tmp_path / "f.json").write_bytes(packed)
    outcome = of_file(tmp_path / "f.json")
    if not outcome.refused and not outcome.bad:  # a byte of the header that says nothing
        assert list(outcome.texts.values()) == LINES.splitlines()


def test_bytes_after_a_gzip_member_are_said(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(gzip.compress(LINES) + b"garbage")
    outcome = of_file(tmp_path / "f.json")
    assert len(outcome.texts) == 40
    assert "damaged" in outcome.bad[0][2]


@pytest.mark.parametrize("filler", [b"\0", b" ", b"x"])
def test_a_gzip_bomb_is_refused_while_it_is_read(tmp_path: Path, filler: bytes) -> None:
    packed = gzip.compress(
        b'[{"instruction":"i","output":"what is packed here is large"},{"output":"' + filler * ((64 << 20) // len(filler))
    )
    assert len(packed) < 1 << 20
    (tmp_path / "f.json").write_bytes(packed)
    limits = Limits(max_record_bytes=1 << 20, max_unpacked_ratio=20, max_unpacked_bytes=8 << 20)
    read(b'{"a":1}')  # what is compiled is not counted
    tracemalloc.start()
    refused = refusal(tmp_path / "f.json", limits=limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.reason == "bomb"
    assert "max_unpacked_ratio" in refused.detail
    assert peak < 48 << 20


def test_a_gzip_file_that_packs_well_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(gzip.compress(b'{"instruction":"i","output":"o"}\n' * 50_000))
    assert len(of_file(tmp_path / "f.json").texts) == 50_000


# ------------------------------------------------------------------------------------------------- the state raw


def sft(i: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"question {i}", "input": "", "output": f"answer {i}", **more}


def ids(folder: Folder) -> dict[Any, str]:
    """Row ids by (record, how many equal ones came before)."""
    return {(r, n): str(i) for i, r, n in rows(folder, "SELECT row_id, record, occurrence FROM raw")}


def test_json_lines_named_json_and_gzip_named_json_are_read_by_what_they_are(folder: Folder) -> None:
    put(folder, "lines.json", [sft(1), sft(2)])
    put(folder, "packed.json", gzip.compress(orjson.dumps([sft(3)])))
    put(folder, "array.jsonl", orjson.dumps([sft(4)]))
    (version,) = build(folder, raw)
    assert version.report["kept"] == 4
    assert version.report["refused_files"] == 0


def test_row_ids_are_the_same_when_a_file_is_read_again_reordered_reformatted_or_appended_to(folder: Folder) -> None:
    made = [sft(1), sft(2), sft(2), sft(3, extra=[1, {"x": "é"}])]
    put(folder, "q.json", made)
    (first,) = build(folder, raw)
    before = set(ids(folder).values())
    assert len(before) == 4

    (again,) = build(folder, raw, again=True)
    assert again.data_version == first.data_version
    put(folder, "q.json", reversed(made))
    (reordered,) = build(folder, raw)
    assert reordered.data_version == first.data_version
    put(folder, "q.json", json.dumps([dict(reversed(r.items())) for r in made], indent=3))
    build(folder, raw)
    assert set(ids(folder).values()) == before  # the text is another (its version too), the rows are the same
    put(folder, "q.json", [sft(9), *made, sft(1)])
    build(folder, raw)
    after = set(ids(folder).values())
    assert before < after
    assert len(after) == 6


def test_equal_records_have_ids_of_their_own_and_another_sources_are_others(folder: Folder) -> None:
    put(folder, "a.json", [sft(1), sft(1), sft(1)])
    put(folder, "b.json", [sft(1)])
    build(folder, raw)
    assert len({i for (i,) in rows(folder, "SELECT row_id FROM raw")}) == 4
    assert rows(folder, "SELECT occurrence FROM raw WHERE source = 'a' ORDER BY 1") == [(0,), (1,), (2,)]


def test_rows_whose_own_ids_collide_are_both_kept_with_that_id(folder: Folder) -> None:
    put(folder, "q.json", [sft(1, id=7), sft(2, id=7)])
    build(folder, raw, combined)
    assert rows(folder, "SELECT meta FROM combined") == [('{"id":7}',), ('{"id":7}',)]


def test_a_column_of_mixed_types_stays_what_it_is_in_each_record(folder: Folder) -> None:
    values: list[Any] = [
        "1",
        1,
        1.0,
        True,
        None,
        "null",
        "true",
        '"quoted"',
        "{}",
        "[]",
        "2020-01-01",
        "1e5",
        "NaN",
        "007",
        [1],
        {"a": "1"},
        "",
    ]
    put(folder, "q.json", [sft(i, value=v) for i, v in enumerate(values)])
    build(folder, raw, combined)
    kept = {json.loads(r)["instruction"]: json.loads(r)["value"] for (r,) in rows(folder, "SELECT record FROM raw")}
    assert [repr(kept[f"question {i}"]) for i in range(len(values))] == [repr(v) for v in values]
    meta = dict(rows(folder, "SELECT messages[1].content, meta FROM combined"))
    assert [repr(json.loads(meta[f"question {i}"])["value"]) for i in range(len(values))] == [repr(v) for v in values]
    texts = [v for v in values if isinstance(v, str) and v]
    put(folder, "q.json", [sft(i, output=v) for i, v in enumerate(texts)] * 1)
    build(folder, raw, combined)
    answers = dict(rows(folder, "SELECT messages[1].content, messages[-1].content FROM combined"))
    assert [answers[f"question {i}"] for i in range(len(texts))] == texts


STRANGE = [
    "\0", "a\0b", "".join(map(chr, range(1, 32))), "\x7f\x80\x9f", "\u202eevil\u202c", "\u2066\u2069\u200b\u200d\ufeff",
    "\u2028\u2029",    "\ufffe\uffff", "\U0001f469\u200d\U0001f4bb", "e\u0301 vs \u00e9", "\ufffd", "\r\n\r", "  spaces  ",
    "\\u0000", "a'b\"c;--",
    "\U0010ffff",
]  # fmt: skip


def test_control_bidi_and_other_strange_characters_survive_byte_for_byte(folder: Folder) -> None:
    put(folder, "q.json", [{"instruction": f"q{i}", "output": f"x{s}y", "note": s} for i, s in enumerate(STRANGE)])
    build(folder, raw, combined)
    found = rows(folder, "SELECT messages[1].content, messages[-1].content, meta FROM combined")
    assert {q: (a, json.loads(m)["note"]) for q, a, m in found} == {f"q{i}": (f"x{s}y", s) for i, s in enumerate(STRANGE)}
    assert rows(folder, "SELECT count(*) FROM raw WHERE record LIKE '%q1%'")[0][0] > 0


def test_a_file_that_fits_nothing_is_refused_with_its_first_record_and_the_rest_goes_on(folder: Folder) -> None:
    put(folder, "weather.json", [{"station": "Zermatt", "celsius": -3.5}, {"station": "Basel"}])
    put(folder, "q.json", [sft(1)])
    (version,) = build(folder, raw)
    assert version.report["kept"] == 1
    ((reason, detail, position),) = rows(
        folder, "SELECT reason, detail, position FROM quarantine WHERE source_file = 'weather.json'"
    )
    assert (reason, position) == ("no_format", None)
    assert '{"station":"Zermatt","celsius":-3.5}' in detail
    assert "fits none of" in detail
    assert "station, celsius; name its columns in its recipe entry" in detail


def test_a_refused_file_counts_in_no_balance(folder: Folder) -> None:
    put(folder, "q.json", [sft(1), sft(2)])
    put(folder, "nothing.json", b"")
    put(folder, "doc.json", b"%PDF-1.4")
    put(folder, "tail.json", gzip.compress(b"\n".join(orjson.dumps(sft(i)) for i in range(9)) + b"\n" + b" " * 500_000))
    say(folder, raw={"max_unpacked_bytes": 1000, "max_unpacked_ratio": 10})
    (version,) = build(folder, raw)
    report = version.report
    assert (report["in"], report["kept"], report["quarantined"], report["refused_files"]) == (2, 2, {}, 3)
    assert {f["file"] for f in report["read"] if "refused" in f} == {"nothing.json", "doc.json", "tail.json"}
    assert rows(folder, "SELECT count(*) FROM quarantine WHERE position IS NOT NULL") == [(0,)]


def test_the_verdict_on_a_record_does_not_depend_on_what_came_before_it(folder: Folder) -> None:
    good = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    other = {"messages": "no turns"}
    say(folder, raw={"max_quarantined": 100})
    put(folder, "a.json", [good, other])
    put(folder, "b.json", [other, good])
    build(folder, raw, combined)
    found = rows(folder, "SELECT source, state, reason FROM quarantine ORDER BY source")
    assert found == [("a", "raw", "no_format"), ("b", "raw", "no_format")]


def test_too_many_unreadable_records_stop_raw_and_the_old_table_stands(folder: Folder) -> None:
    put(folder, "q.json", [sft(1), sft(2)])
    build(folder, raw)
    old = ids(folder)
    put(folder, "q.json", orjson.dumps(sft(3)) + b"\n" + b'{"instruction": "jane.doe@mailbox-post.net\n' + orjson.dumps(sft(4)))
    with pytest.raises(SftError, match=r"source 'q': 1 of 3 records \(33.3 %\).*invalid_json.*20 %") as stopped:
        build(folder, raw)
    assert ids(folder) == old
    (path,) = folder.quarantine.iterdir()
    assert str(path) in str(stopped.value)
    (entry,) = map(orjson.loads, path.read_bytes().splitlines())
    assert (entry["source_file"], entry["position"], entry["reason"]) == ("q.json", 2, "invalid_json")
    assert "jane" not in path.read_text()
    assert rows(folder, "SELECT count(*) FROM quarantine") == [(0,)]

    say(folder, sources=[{"path": "q.json", "max_quarantined": 40}])
    (version,) = build(folder, raw)
    assert version.report["quarantined"] == {"invalid_json": 1}


def test_too_many_unusable_records_stop_combined_and_the_old_table_stands(folder: Folder) -> None:
    put(folder, "q.json", [sft(1), sft(2)])
    build(folder, raw, combined)
    old = rows(folder, "SELECT row_id FROM combined ORDER BY 1")
    put(folder, "q.json", [sft(1), sft(2, output=" ")])
    with pytest.raises(SftError, match=r"combined stopped: source 'q': 1 of 2 .*empty_answer") as stopped:
        build(folder, raw, combined)
    assert rows(folder, "SELECT row_id FROM combined ORDER BY 1") == old
    (path,) = folder.quarantine.iterdir()
    assert path.name.startswith("combined-")
    assert str(path) in str(stopped.value)


# ------------------------------------------------------------------------------------------------- hostile names

CANARY = "CREATE TABLE canary AS SELECT 42 AS song"
NASTY = [
    "a'b.json",
    'a"b.json',
    "x'; DROP TABLE canary; --.json",
    "[a-z]*?.json",
    "new\nline.json",
    "{curly} $1 ? %s.json",
    "日本\u202e.json",
    "a\\b.json",
    "ü" * 80 + ".json",
]
names = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=30).filter(
    lambda name: not name.startswith(".") and len(name.encode()) < 200
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, min_size=1, max_size=8, unique=True), st.lists(names, min_size=3, max_size=3, unique=True))
@example(NASTY, ["'; DROP TABLE canary; --", 'x"; DELETE FROM raw; --', "a\nb"])
def test_names_of_files_and_sources_are_only_ever_data(tmp_path: Path, files: list[str], sources: list[str]) -> None:
    folder = fresh(tmp_path / str(time.monotonic_ns()))
    with duckdb.connect(folder.database) as con:
        con.execute(CANARY)
    for i, name in enumerate(files):
        put(folder, name, [sft(i)])
    for i, name in enumerate(sources):
        put(folder, f"own/{i}.json", [sft(100 + i), {"instruction": name, "output": 5}])
    say(
        folder,
        sources=[{"path": f"own/{i}.json", "name": s, "weight": 0.9} for i, s in enumerate(sources)],
        raw={"max_quarantined": 60},
    )
    build(folder, raw, combined)
    in_raw = rows(folder, "SELECT DISTINCT source_file FROM raw")
    assert {name for (name,) in in_raw} == {*files, *(f"own/{i}.json" for i in range(len(sources)))}
    assert set(sources) <= {name for (name,) in rows(folder, "SELECT source FROM raw")}
    assert set(sources) <= {name for (name,) in rows(folder, "SELECT source FROM quarantine")}
    assert rows(folder, "SELECT * FROM canary") == [(42,)]
    shutil.rmtree(folder.root)


def test_a_name_that_is_not_utf8_is_refused_and_the_rest_goes_on(folder: Folder) -> None:
    put(folder, "q.json", [sft(1)])
    for parent in (b"", b"sub\xff/"):
        path = os.fsencode(folder.sources) + b"/" + parent + b"caf\xe9.json"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(orjson.dumps(sft(2)))
    (version,) = build(folder, raw)
    assert version.report["kept"] == 1
    refused = rows(folder, "SELECT source_file, detail FROM quarantine ORDER BY 1")
    assert [name for name, _ in refused] == ["caf\\xe9.json", "sub\\xff/caf\\xe9.json"]
    assert all("rename it" in detail for _, detail in refused)


def test_links_that_lead_out_of_sources_are_refused(folder: Folder) -> None:
    outside = folder.root / "secret"
    outside.mkdir()
    (outside / "s.json").write_bytes(orjson.dumps(sft(99)))
    put(folder, "real.json", [sft(1)])
    for name, target in {
        "file.json": outside / "s.json",
        "folder": outside,
        "climbs.json": Path("../secret/s.json"),
        "broken.json": Path("nowhere.json"),
        "loop.json": Path("loop.json"),
    }.items():
        (folder.sources / name).symlink_to(target)
    (folder.sources / "inside.json").symlink_to("real.json")
    (version,) = build(folder, raw)
    assert {name for (name,) in rows(folder, "SELECT source_file FROM raw")} == {"real.json", "inside.json"}
    reasons = dict(rows(folder, "SELECT source_file, reason FROM quarantine"))
    assert reasons == {
        "file.json": "outside", "folder": "outside", "climbs.json": "outside", "broken.json": "unreadable",
        "loop.json": "unreadable",
    }  # fmt: skip
    assert version.report["kept"] == 2


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../secret.json", "without .."),
        ("a/../../secret.json", "without .."),
        ("/etc/passwd", "without a leading /"),
        ("*.json", "patterns are not read"),
        ("q?.json", "patterns are not read"),
        ("q[12].json", "patterns are not read"),
        ("a\0b", "name a file or folder inside"),
        ("missing.json", "put it there, or take the entry out"),
        ("x" * 5000, "put it there, or take the entry out"),
        ("link/s.json", "leads out of"),
    ],
)
def test_recipe_paths_that_lead_elsewhere_are_refused_with_a_sentence(folder: Folder, path: str, says: str) -> None:
    put(folder, "q1.json", [sft(1)])
    (folder.root / "secret").mkdir()
    (folder.root / "secret" / "s.json").write_bytes(orjson.dumps(sft(99)))
    (folder.sources / "link").symlink_to(folder.root / "secret")
    say(folder, sources=[{"path": "q1.json"}, {"path": path, "name": "other"}])
    with pytest.raises(SftError) as refused:
        build(folder, raw)
    assert says in str(refused.value)
    assert f"{folder.recipe}: sources, entry 2" in str(refused.value)


def test_a_file_whose_name_holds_a_pattern_can_be_named(folder: Folder) -> None:
    put(folder, "q[1]*.json", [sft(1)])
    say(folder, sources=[{"path": "q[1]*.json", "name": "brackets"}], raw={"other_files": "ignore"})
    build(folder, raw)
    assert rows(folder, "SELECT source FROM raw") == [("brackets",)]


def test_the_entry_that_fits_a_file_best_counts_and_other_files_can_be_left_out(folder: Folder) -> None:
    for name in ("a/x.json", "a/b/y.json", "c.json", ".hidden.json", ".git/z.json"):
        put(folder, name, [sft(1)])
    entries = [{"path": "a"}, {"path": "a/b", "name": "inner"}]
    say(folder, sources=entries)
    build(folder, raw)
    found = dict(rows(folder, "SELECT source_file, source FROM raw"))
    assert found == {"a/x.json": "a", "a/b/y.json": "inner", "c.json": "c"}
    say(folder, sources=entries, raw={"other_files": "ignore"})
    build(folder, raw)
    assert "c.json" not in dict(rows(folder, "SELECT source_file, source FROM raw"))


def test_a_file_that_no_entry_names_does_not_take_the_name_of_one(folder: Folder) -> None:
    put(folder, "q.json", [sft(1)])
    put(folder, "q.jsonl", [sft(2)])
    say(folder, sources=[{"path": "q.json", "weight": 0, "license": "mit"}])
    build(folder, raw, combined)
    assert dict(rows(folder, "SELECT source_file, source FROM raw")) == {"q.json": "q", "q.jsonl": "q.jsonl"}
    assert rows(folder, "SELECT source, license FROM combined") == [("q.jsonl", None)]


def test_a_recipe_encoding_reads_a_file_that_would_be_refused(folder: Folder) -> None:
    put(folder, "alt.json", "\n".join(json.dumps(sft(i, note="é"), ensure_ascii=False) for i in range(5)).encode("latin-1"))
    (version,) = build(folder, raw)
    assert version.report["refused_files"] == 1
    say(folder, sources=[{"path": "alt.json", "encoding": "latin-1"}])
    (version,) = build(folder, raw)
    assert version.report["kept"] == 5
    assert all("é" in record for (record,) in rows(folder, "SELECT record FROM raw"))


def test_the_result_does_not_depend_on_the_order_of_files_or_on_the_size_of_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [sft(i % 7, n=i % 3) for i in range(60)]
    versions = set()
    for n, (window, seed) in enumerate([(64, 1), (1000, 2), (4 << 20, 3)]):
        monkeypatch.setattr(containers, "CHUNK", window)
        folder = fresh(tmp_path / str(n))
        shuffled = random.Random(seed).sample(made, len(made))
        for i in range(3):
            put(folder, f"s/{i}.json", shuffled[i::3])
        say(folder, sources=[{"path": "s"}])
        versions.add(tuple(v.data_version for v in build(folder, raw, combined)))
    assert len(versions) == 1


def test_a_bad_record_keeps_its_excerpt_and_hash_in_the_ledger() -> None:
    bad = Bad.of(3, b'{"a": NaN}', "invalid_json", "why")
    assert (bad.position, bad.excerpt, len(bad.sha256)) == (3, '{"a": NaN}', 64)


# ------------------------------------------------------------------------------------------------- the corpus


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public datasets is not here")
def test_every_file_of_the_corpus_is_read_as_it_stands_or_refused_with_its_reason(folder: Folder) -> None:
    for part in ("instruct", "preference"):
        shutil.copytree(CORPUS / part, folder.sources / part)
    (version,) = build(folder, raw)
    refused = dict(rows(folder, "SELECT source_file, reason FROM quarantine"))
    assert refused == {}
    total = 0
    for path in sorted(p for p in folder.sources.rglob("*") if p.is_file()):
        name = path.relative_to(folder.sources).as_posix()
        if name.endswith("dataset_info.json"):  # it describes the others
            continue
        data = path.read_bytes()
        text = gzip.decompress(data).decode() if name.endswith(".gz") else data.decode()
        expected = (
            json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line]
        )
        kept = rows(folder, "SELECT record FROM raw WHERE source_file = ? ORDER BY source_row", [name])
        assert [json.loads(record) for (record,) in kept] == expected, name
        total += len(expected)
    assert version.report["kept"] == version.report["in"] == total > 25_000


@pytest.mark.parametrize(
    "content",
    [
        b'{"instruction": ["Name a sea.", "Name a lake."], "output": ["The Baltic.", "Erie."]}',
        b'{"instruction": {"0": "Name a sea.", "1": "Name a lake."}, "output": {"0": "The Baltic.", "1": "Erie."}}',
        b'{"a": {"instruction": "Name a sea.", "output": "The Baltic."},'
        b' "b": {"instruction": "Name a lake.", "output": "Erie."}}',
    ],
    ids=["columns", "pandas columns", "rows by name"],
)
def test_a_table_that_was_saved_as_one_object_gives_its_rows(folder: Folder, content: bytes) -> None:
    put(folder, "table.json", content)
    build(folder, raw)
    found = rows(folder, "SELECT record->>'instruction', record->>'output', format FROM raw ORDER BY source_row")
    assert found == [("Name a sea.", "The Baltic.", "alpaca"), ("Name a lake.", "Erie.", "alpaca")]
