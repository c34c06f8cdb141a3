"""Tables in text files: whatever dialect a cell was written in, it is read as it stands; a fault costs its own record."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from sft_assets.raw import lines, tables
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.tables import records

KNOWN = frozenset({"question", "answer", "prompt", "text"})


class Outcome(NamedTuple):
    """What the reader made of a table: records by position, and what it set aside."""

    values: dict[int, dict[str, str]]
    bad: list[tuple[int, str, str, str]]
    refused: str = ""

    @property
    def reasons(self) -> dict[int, str]:
        return {position: reason for position, reason, *_ in self.bad}


def taken(data: bytes, size: int, limit: int, **how: Any) -> Outcome:
    pieces = (data[i : i + size] for i in range(0, len(data), size))
    values: dict[int, dict[str, str]] = {}
    bad: list[tuple[int, str, str, str]] = []
    try:
        for batch in records(pieces, Limits(max_record_bytes=limit), known=KNOWN, **how):
            for position, text, value, hashed in zip(batch.positions, batch.texts, batch.values, batch.hashes, strict=True):
                assert orjson.loads(text) == value
                assert hashed == xxh3_128_digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
                assert position not in values, "two records at one position"
                values[position] = value
            bad += [(b.position, b.reason, b.detail, b.sha256) for b in batch.bad]
    except Refused as refusal:
        return Outcome({}, [], f"{refusal.reason}: {refusal.detail}")
    return Outcome(values, sorted(bad))


def read(data: bytes | str, limit: int = 1 << 20, **how: Any) -> Outcome:
    """Read in pieces of 1 byte, of 7 and in one: it must not matter."""
    data = data.encode() if isinstance(data, str) else data
    whole, sevens, ones = (taken(data, size, limit, **how) for size in (max(1, len(data)), 7, 1))
    assert whole == sevens == ones
    return whole


@pytest.fixture(params=[1 << 16, 16], ids=["64 KiB", "16 bytes"])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much is read at a time: windows of a few bytes lie across everything."""
    monkeypatch.setattr(lines, "PIECE", request.param)
    return int(request.param)


def qa(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


XY, UV = qa("x", "y"), qa("u", "v")

# what it is, the bytes, records kept by line, reasons of what was set aside by line
CASES: list[tuple[str, str | bytes, dict[int, Any], dict[int, str]]] = [
    ("lines", "question,answer\nx,y\nu,v\n", {2: XY, 3: UV}, {}),
    ("no newline at the end", "question,answer\nx,y\nu,v", {2: XY, 3: UV}, {}),
    ("CRLF", "question,answer\r\nx,y\r\nu,v\r\n", {2: XY, 3: UV}, {}),
    ("CR", "question,answer\rx,y\ru,v\r", {2: XY, 3: UV}, {}),
    ("blank lines count and are passed over", "\n\nquestion,answer\n\nx,y\n  \n\nu,v\n\n", {5: XY, 8: UV}, {}),
    ("semicolons", "question;answer\nx, or so;y\nu;v\n", {2: qa("x, or so", "y"), 3: UV}, {}),
    ("tabs", "question\tanswer\nx, or so\ty\nu\tv\n", {2: qa("x, or so", "y"), 3: UV}, {}),
    ("bars", "question|answer\nx, or so|y\nu|v\n", {2: qa("x, or so", "y"), 3: UV}, {}),
    ("Excel says its delimiter", "sep=;\r\nquestion;answer\r\nx;y\r\n", {3: XY}, {}),
    ("cells of several lines", 'question,answer\n"a\n\nb",y\nu,"c\r\nd"\n', {2: qa("a\n\nb", "y"), 5: qa("u", "c\r\nd")}, {}),
    ("doubled quotes", 'question,answer\n"say ""hi""",""""\n', {2: qa('say "hi"', '"')}, {}),
    (
        "quotes behind backslashes",
        'question,answer\n"say \\"hi\\", \\\\you","C:\\new"\n',
        {2: qa('say "hi", \\you', "C:\\new")},
        {},
    ),
    ("backslashes are themselves", 'question,answer\n"C:\\dir\\",\\n\n', {2: qa("C:\\dir\\", "\\n")}, {}),
    ("a quote within a plain cell", "question,answer\n5\" pipe,it's\n", {2: qa('5" pipe', "it's")}, {}),
    ("empty cells stay", 'question,answer\n,\n"",v\n', {2: qa("", ""), 3: qa("", "v")}, {}),
    ("nothing is taken for a number", "question,answer\n007,1e5\nNaN,true\n", {2: qa("007", "1e5"), 3: qa("NaN", "true")}, {}),
    (
        "a CR in a file of LF is a character",
        'question,answer\n"a\rb",y\na\rb,y\nu,v\n',
        {2: qa("a\rb", "y"), 4: UV},
        {3: "invalid_csv"},
    ),
    ("spaces stay", "question,answer\n x , y \n", {2: qa(" x ", " y ")}, {}),
    ("a delimiter at the end of every line", "question,answer,\nx,y,\nu,v,\n", {2: XY, 3: UV}, {}),
    ("pandas' index", ",question,answer\n0,x,y\n", {2: {"index": "0", **XY}}, {}),
    ("a cell too many", "question,answer\nx,y,z\nu,v\n", {3: UV}, {2: "wrong_cells"}),
    ("a cell too few", "question,answer\nx\nu,v\n", {3: UV}, {2: "wrong_cells"}),
    ("an open quote", 'question,answer\nx,"y\nu,v\nx,"y"\nu,v\n', {3: UV, 4: XY, 5: UV}, {2: "invalid_csv"}),
    ("an open quote and no other", 'question,answer\nx,"y\nu,v\nx,y\n', {3: UV, 4: XY}, {2: "invalid_csv"}),
    ("an open quote in the last line", 'question,answer\nx,y\nu,"v\n', {2: XY}, {3: "invalid_csv"}),
    ("a stray quote", 'question,answer\n"x"x,y\nu,v\n', {3: UV}, {2: "invalid_csv"}),
    ("stray quotes in every line", 'question,answer\n"x"x,y\n"x"x,y\n', {}, {2: "invalid_csv", 3: "invalid_csv"}),
    (
        "an open quote that is closed by chance",
        'question,answer\nx,y\nx,"y\n' + "u,v\n" * 3 + 'u,5",z\nx,y\nu,v\n',
        {2: XY, 4: UV, 5: UV, 6: UV, 8: XY, 9: UV},
        {3: "invalid_csv", 7: "wrong_cells"},
    ),
    (
        "the lines of a broken cell are no records",
        'question,answer\nx,y\n"He said "hi", then\nas it were, one comma\nthe end",y\nu,v\n',
        {2: XY, 6: UV},
        {3: "invalid_csv"},
    ),
    ("NUL", "question,answer\nx\0,y\nu,v\n", {3: UV}, {2: "invalid_csv"}),
    ("latin-1", b"question,answer\ncaf\xe9,y\nu,v\n", {3: UV}, {2: "invalid_utf8"}),
    ("a byte of latin-1 within quotes", b'question,answer\n"caf\xe9\n",y\nu,v\n', {4: UV}, {2: "invalid_utf8"}),
]


@pytest.mark.parametrize(("data", "kept", "bad"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_record_is_kept_or_set_aside_with_its_reason(
    window: int, data: str | bytes, kept: dict[int, Any], bad: dict[int, str]
) -> None:
    outcome = read(data)
    assert outcome.refused == ""
    assert outcome.values == kept
    assert outcome.reasons == bad


def test_the_sentence_says_what_is_wrong_and_what_to_do() -> None:
    outcome = read('question,answer\nx,y,z\n"x"x,y\nline\nu,v\n' + "a" * 50 + ",b\n", limit=60)
    details = {position: detail for position, _, detail, _ in outcome.bad}
    assert details[2].startswith("3 cells under 2 column names; mend its quotes: a cell that holds a delimiter")
    assert details[3].startswith("',' expected after '\"'; mend its quotes")
    assert details[3].endswith("(lines 3 to 4 are passed over)")
    assert details[6] == "78 bytes in one record; raw.max_record_bytes is 60"


def test_what_is_set_aside_is_known_by_the_hash_of_its_bytes() -> None:
    from hashlib import sha256

    ((_, _, _, found),) = read(b"question,answer\ncaf\xe9,y\r\n").bad
    assert found == sha256(b"caf\xe9,y").hexdigest()


# ------------------------------------------------------------------------------------------------------------- header


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("question,answer\nx,y\n", ["question", "answer"]),
        ("Question,My Answer\nx,y\n", ["Question", "My Answer"]),
        (" question , answer\nx,y\n", ["question", "answer"]),
        ("frage,antwort\nWer schwimmt im Meer?,Fische\nWer fliegt?,Amseln\n", ["frage", "antwort"]),
        ("name,age\nEva,7\nUwe,80\n", ["name", "age"]),
        ("Who swims?,fish\nWho flies?,birds\n", ["prompt", "completion"]),
        ("red,green\nblue,pink\n", ["prompt", "completion"]),
        ("1,Who swims?,fish\n2,Who flies?,birds\n", ["column_1", "column_2", "column_3"]),
        ("Which is it?,iron,salt,A\nWhich not?,tin,salt,B\n", ["column_1", "column_2", "column_3", "column_4"]),
        ("prompt\nSay hi\nSay ho\n", ["prompt"]),
    ],
)
def test_a_header_is_told_from_data(data: str, names: list[str]) -> None:
    assert list(next(iter(read(data).values.values()))) == names


def test_the_recipe_says_whether_there_is_a_header_or_which() -> None:
    data = "red,green\nblue,pink\n"
    assert read(data, header=True).values == {2: {"red": "blue", "green": "pink"}}
    assert next(iter(read(data, header=False).values.values())) == {"prompt": "red", "completion": "green"}
    assert read(data, header=["a", "b"]).values == {1: {"a": "red", "b": "green"}, 2: {"a": "blue", "b": "pink"}}
    assert read(data, header=["a"]).reasons == {1: "wrong_cells", 2: "wrong_cells"}


def test_the_recipe_says_the_delimiter() -> None:
    assert read("question^answer\nx,z^y\n", delimiter="^").values == {2: qa("x,z", "y")}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("question,answer,question\nx,y,z\n", "header: names a column twice in its first line ('question'); name each"),
        ("question,,answer\nx,y,z\n", "header: has no name for column 2 in its first line; name each column once, or say"),
        ('"question,answer\nx,y\n', "header: has a first line that cannot be read as a table (unexpected end of data)"),
        ("", "empty: holds nothing"),
        (" \n\r\n", "empty: holds nothing"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_the_remedy(data: str, said: str) -> None:
    assert read(data).refused.startswith(said)


def test_a_header_alone_holds_no_record() -> None:
    assert read("question,answer\n") == Outcome({}, [])


# ------------------------------------------------------------------------------------------------------ large records


@pytest.mark.parametrize(
    ("data", "kept", "line"),
    [
        ("question,answer\nx," + "y" * 200 + "\nu,v\nx,y\n", {3: UV, 4: XY}, 2),
        ("question,answer\nx," + "y" * 90 + "\nu,v\nx,y\n", {3: UV, 4: XY}, 2),
        ("question,answer\r\nx," + "y" * 200 + "\r\nu,v\r\nx,y\r\n", {3: UV, 4: XY}, 2),
        ("question,answer\nx,y\nu," + "y" * 200, {2: XY}, 3),
        ('question,answer\nx,"' + "y\n" * 200 + '"\nu,v\nx,y\n', {203: UV, 204: XY}, 2),
    ],
)
def test_a_record_larger_than_the_cap_is_set_aside_and_the_next_is_read(
    window: int, data: str, kept: dict[int, Any], line: int
) -> None:
    outcome = read(data, limit=100)
    assert outcome.values == kept
    assert list(outcome.reasons) == [line]


def test_an_open_quote_does_not_swallow_the_rest_of_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_LINES", 1000)
    outcome = taken(b'question,answer\nx,"y\n' + b"u,v\n" * 50_000, 1 << 16, 1 << 20)
    assert len(outcome.values) == 50_000
    assert outcome.reasons == {2: "invalid_csv"}


def test_a_line_of_60_mb_costs_a_few_caps_of_memory() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"question,answer\nx,"
        yield from [b"y" * (1 << 20)] * 60
        yield b"\nu,v\nx,y\n"

    tracemalloc.start()
    batches = list(records(pieces(), Limits(max_record_bytes=1 << 20)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [v for b in batches for v in b.values] == [UV, XY]
    assert [(b.position, b.reason) for batch in batches for b in batch.bad] == [(2, "too_large")]
    assert peak < 16 << 20


# --------------------------------------------------------------------------------------------------------- any bytes

cells = st.text(st.sampled_from("ab1 ,;\t|\"'\\\n\ré東😀=") | st.characters(exclude_categories=("Cs",)), max_size=12).filter(
    lambda cell: "\0" not in cell
)


@settings(max_examples=300)
@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from([1 << 16, 16]),
)
def test_what_pythons_writer_writes_is_read_as_it_was(
    made: list[list[str]], delimiter: str, end: str, quoting: Any, piece: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # it leaves a CR without quotes
        made = [[cell.replace("\r", "") for cell in row] for row in made]
    outcome = read(written(made, delimiter, end, quoting=quoting), delimiter=delimiter, header=True)
    assert not outcome.bad
    assert [list(value.values()) for value in outcome.values.values()] == made


@settings(max_examples=300)
@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_is_written_with_backslashes_is_read_as_it_was(made: list[list[str]], delimiter: str) -> None:
    made = [['all "agree"', "on", "it\\"], *made]  # the beginning shows the dialect
    text = written(made, delimiter, "\n", quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
    outcome = read(text, delimiter=delimiter, header=True)
    assert not outcome.bad
    assert [list(value.values()) for value in outcome.values.values()] == made


def written(made: list[list[str]], delimiter: str, end: str, **how: Any) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, **how)
    writer.writerows([["question", "answer", "note"], *made])
    return out.getvalue()


@settings(max_examples=150)
@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=3, max_size=8), st.sampled_from(",;\t|"))
def test_the_delimiter_is_seen_without_being_told(made: list[list[str]], delimiter: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["question", "answer"], *made])
    outcome = read(out.getvalue())
    assert [list(value.values()) for value in outcome.values.values()] == made


TOKENS = [b'"', b",", b"\n", b"\r", b"a", b"\\", b";", b" ", b"\xe9", b"\0", b'""', b"x,y\n", b'"x","y"\n', b"sep=;\n"]
soup = st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join)


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=80), soup), st.sampled_from([8, 24, 4096]), st.sampled_from([None, True, ["p", "q"]]))
@example(b'""\n,,"\n"', 8, None)
def test_any_bytes_are_read_or_refused_however_they_arrive(data: bytes, limit: int, header: Any) -> None:
    outcome = read(data, limit, header=header)
    lines = len(io.StringIO(data.decode("latin-1"), newline="").readlines())
    for position in [*outcome.values, *outcome.reasons]:
        assert 1 <= position <= lines
    if not data.strip(b" \t\r\n\x0b\x0c"):
        assert outcome.refused


@settings(max_examples=300)
@given(st.lists(st.tuples(cells, cells), min_size=5, max_size=8), st.data())
def test_a_fault_costs_its_own_record_only(made: list[tuple[str, str]], data: st.DataObject) -> None:
    """In a table whose cells are all quoted: no beginning of a record is in doubt."""
    plain = [tuple(cell.replace('"', "").replace("\n", "").replace("\r", "") for cell in row) for row in made]
    lines = [f'"{question}","{answer}"' for question, answer in plain]
    at = data.draw(st.integers(0, len(lines) - 3))
    line = lines[at]
    place = data.draw(st.integers(1, len(line) - 1))
    lines[at] = line[:place] + '"' + line[place:] if data.draw(st.booleans()) else line[:place] + line[place + 1 :]
    outcome = read("\n".join(['"question","answer"', *lines, ""]), header=True, delimiter=",")
    for i, row in enumerate(plain):
        if i != at:
            assert outcome.values.get(i + 2) == qa(*row)
    assert set(outcome.values) | set(outcome.reasons) == set(range(2, len(lines) + 2))
