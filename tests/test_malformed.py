"""A table of broken inputs: none of them stops the others, each is accounted for, and each is explained.

Of every file: how many rows come out of combined, and the reasons in quarantine with their counts. A reason that stands for the
file as a whole (refused, no position) is written with a leading `!`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import build, fresh, put, rows, say

from sft_assets.combined.asset import combined
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw

pytestmark = pytest.mark.xdist_group("malformed")  # one folder is what they look at
GOOD = b'{"instruction": "Name a colour.", "output": "Blue."}'
OTHER = b'{"instruction": "Name a river.", "output": "The Rhine."}'
LIMIT = 200_000


class Case(NamedTuple):
    name: str
    content: bytes
    rows: int
    reasons: Mapping[str, int]


def line(name: str, broken: bytes, reason: str, n: int = 1) -> Case:
    """A broken line between good ones: it costs only itself."""
    return Case(f"lines/{name}.jsonl", (GOOD + b"\n") * 4 + broken + b"\n" + (OTHER + b"\n") * 4, 8, {reason: n})


def element(name: str, broken: bytes, reason: str, n: int = 1) -> Case:
    """The same in an array."""
    return Case(f"arrays/{name}.json", b"[" + (GOOD + b",\n") * 4 + broken + b",\n" + OTHER + b"]", 5, {reason: n})


def value(name: str, record: Any, reason: str) -> Case:
    """A well-formed record that is no conversation, after a good one of each format."""
    good = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    return Case(f"values/{name}.json", b"".join(orjson.dumps(r) + b"\n" for r in (good, record)), 1, {reason: 1})


def said(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def whole(name: str, content: bytes, reason: str) -> Case:
    """A file of which nothing can be read."""
    return Case(f"files/{name}", content, 0, {f"!{reason}": 1})


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"instruction": ["Hi"] * 100, "output": [f"Hello {n}" for n in range(100)]}), buffer)
    return buffer.getvalue()


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


MANY = b"".join(b'{"instruction": "Count to %d.", "output": "I count to %d."}\n' % (n, n) for n in range(200))

LINES = [
    line("cut", b'{"instruction": "Name a', "invalid_json"),
    line("no_closing_brace", b'{"instruction": "Hi", "output": "Yo"', "invalid_json"),
    line("no_comma", b'{"instruction": "Hi" "output": "Yo"}', "invalid_json"),
    line("trailing_comma_in_object", b'{"instruction": "Hi", "output": "Yo",}', "invalid_json"),
    line("trailing_comma_after_object", b'{"instruction": "Hi", "output": "Yo"},', "invalid_json"),
    line("single_quotes", b"{'instruction': 'Hi', 'output': 'Yo'}", "invalid_json"),
    line("unquoted_keys", b'{instruction: "Hi", output: "Yo"}', "invalid_json"),
    line("python_true", b'{"instruction": "Hi", "output": "Yo", "ok": True}', "invalid_json"),
    line("python_none", b'{"instruction": "Hi", "output": None}', "invalid_json"),
    line("nan", b'{"instruction": "Hi", "output": "Yo", "score": NaN}', "invalid_json"),
    line("infinity", b'{"instruction": "Hi", "output": "Yo", "score": Infinity}', "invalid_json"),
    line("minus_infinity", b'{"instruction": "Hi", "output": "Yo", "score": -Infinity}', "invalid_json"),
    line("leading_zero", b'{"instruction": "Hi", "output": "Yo", "score": 01}', "invalid_json"),
    line("leading_plus", b'{"instruction": "Hi", "output": "Yo", "score": +1}', "invalid_json"),
    line("bare_point", b'{"instruction": "Hi", "output": "Yo", "score": .5}', "invalid_json"),
    line("hexadecimal", b'{"instruction": "Hi", "output": "Yo", "score": 0x1F}', "invalid_json"),
    line("comment", b'{"instruction": "Hi", "output": "Yo"} // a comment', "invalid_json"),
    line("comment_alone", b"// a comment", "invalid_json"),
    line("hash_comment", b"# a comment", "invalid_json"),
    line("raw_tab_in_string", b'{"instruction": "Hi\tyou", "output": "Yo"}', "invalid_json"),
    line("raw_control_in_string", b'{"instruction": "Hi\x01you", "output": "Yo"}', "invalid_json"),
    line("raw_nul_in_string", b'{"instruction": "Hi\x00you", "output": "Yo"}', "invalid_json"),
    line("bad_escape", b'{"instruction": "C:\\windows", "output": "Yo"}', "invalid_json"),
    line("hex_escape", b'{"instruction": "\\x41", "output": "Yo"}', "invalid_json"),
    line("short_unicode_escape", b'{"instruction": "\\u12", "output": "Yo"}', "invalid_json"),
    line("unicode_escape_not_hex", b'{"instruction": "\\u12G4", "output": "Yo"}', "invalid_json"),
    line("lone_high_surrogate", b'{"instruction": "\\ud83d", "output": "Yo"}', "lone_surrogate"),
    line("lone_low_surrogate", b'{"instruction": "\\ude00!", "output": "Yo"}', "lone_surrogate"),
    line("invalid_utf8", b'{"instruction": "caf\xe9", "output": "Yo"}', "invalid_utf8"),
    line("overlong_utf8", b'{"instruction": "\xc0\xaf", "output": "Yo"}', "invalid_utf8"),
    line("surrogate_in_utf8", b'{"instruction": "\xed\xa0\x80", "output": "Yo"}', "invalid_utf8"),
    line("half_a_character", b'{"instruction": "caf\xc3", "output": "Yo"}', "invalid_utf8"),
    line("repeated_key", b'{"instruction": "Hi", "output": "Yo", "output": "Ho"}', "duplicate_key"),
    line("repeated_key_escaped", b'{"instruction": "Hi", "output": "Yo", "\\u006futput": "Ho"}', "duplicate_key"),
    line("repeated_key_within", b'{"instruction": "Hi", "output": "Yo", "meta": {"a": 1, "a": 2}}', "duplicate_key"),
    line("a_string", b'"Name a colour."', "not_an_object"),
    line("a_number", b"42", "not_an_object"),
    line("null", b"null", "not_an_object"),
    line("an_array", b'["Hi", "Yo"]', "not_an_object"),
    line("empty_object", b"{}", "no_format"),
    line("two_objects", GOOD + b" " + OTHER, "invalid_json"),
    line("log_line", b"2024-05-01 12:00:00 INFO step 12 loss 0.31", "invalid_json"),
    line("html", b"<html><body>502 Bad Gateway</body></html>", "invalid_json"),
    line("merge_conflict", b"<<<<<<< HEAD", "invalid_json"),
    line("byte_order_mark_within", b"\xef\xbb\xbf" + OTHER, "invalid_json"),
    line("deep", b'{"instruction": "Hi", "output": "Yo", "meta": ' + b"[" * 3000 + b"]" * 3000 + b"}", "too_deep"),
    line("too_large", b'{"instruction": "Hi", "output": "' + b"x" * LIMIT + b'"}', "too_large"),
    line("other_fields", b'{"station": "Oslo", "celsius": 4.5}', "no_format"),
    Case("lines/ends_within.jsonl", GOOD + b"\n" + OTHER + b"\n" + GOOD[:30], 2, {"truncated": 1}),
    Case("lines/ends_within_a_character.jsonl", GOOD + b"\n" + b'{"instruction": "caf\xc3', 1, {"truncated": 1}),
]
ARRAYS = [
    element("a_string", b'"Hi"', "not_an_object"),
    element("null", b"null", "not_an_object"),
    element("a_list", b"[1, 2]", "not_an_object"),
    element("no_colon", b'{"instruction" "Hi", "output": "Yo"}', "invalid_json"),
    element("nan", b'{"instruction": "Hi", "output": NaN}', "invalid_json"),
    element("no_quote", b'{"instruction": "Hi, "output": "Yo"}', "invalid_json"),
    element("no_closing_brace", b'{"instruction": "Hi", "output": "Yo"', "invalid_json"),
    element("repeated_key", b'{"instruction": "Hi", "instruction": "Ho", "output": "Yo"}', "duplicate_key"),
    element("lone_surrogate", b'{"instruction": "\\udc00", "output": "Yo"}', "lone_surrogate"),
    element("invalid_utf8", b'{"instruction": "\xff", "output": "Yo"}', "invalid_utf8"),
    element("raw_newline", b'{"instruction": "Hi\nyou", "output": "Yo"}', "invalid_json"),
    element("too_large", b'{"instruction": "' + b"x" * LIMIT + b'", "output": "Yo"}', "too_large"),
    Case("arrays/not_closed.json", b"[" + GOOD + b",\n" + OTHER, 2, {"truncated": 1}),
    Case("arrays/ends_within.json", b"[" + GOOD + b",\n" + OTHER[:20], 1, {"truncated": 1}),
    Case("arrays/text_after.json", b"[" + GOOD + b"]\n" + b"that was all", 1, {"invalid_json": 1}),
    Case("arrays/trailing_comma.json", b"[" + GOOD + b",\n" + OTHER + b",\n]", 2, {}),
    Case("arrays/inside_an_object.json", b'{"data": [' + GOOD + b", {broken}, " + OTHER + b"]}", 2, {"invalid_json": 1}),
]
VALUES = [
    value("instruction_a_number", {"instruction": 5, "output": "Yo"}, "wrong_type"),
    value("output_a_number", {"instruction": "Hi", "output": 5}, "wrong_type"),
    value("output_an_object", {"instruction": "Hi", "output": {"text": "Yo"}}, "wrong_type"),
    value("output_null", {"instruction": "Hi", "output": None}, "wrong_type"),
    value("output_blank", {"instruction": "Hi", "output": " \n"}, "empty_answer"),
    value("instruction_blank", {"instruction": " ", "output": "Yo"}, "empty_prompt"),
    value("input_a_list", {"instruction": "Hi", "input": ["a"], "output": "Yo"}, "wrong_type"),
    value("history_a_broken_text", {"instruction": "Hi", "output": "Yo", "history": "[["}, "wrong_type"),
    value("history_a_number", {"instruction": "Hi", "output": "Yo", "history": 3}, "wrong_type"),
    value("history_of_single_texts", {"instruction": "Hi", "output": "Yo", "history": [["a"]]}, "wrong_type"),
    value("no_turns", {"messages": []}, "no_turns"),
    value("messages_null", {"messages": None}, "no_format"),
    value("messages_a_text", {"messages": "Hi there"}, "no_format"),
    value("messages_of_numbers", {"messages": [1, 2]}, "no_format"),
    value("a_turn_of_null", {"messages": [{"role": "user", "content": "Hi"}, None]}, "wrong_type"),
    value("unknown_role", said(("user", "Hi"), ("narrator", "Meanwhile")), "unknown_role"),
    value("no_role", {"messages": [{"role": "user", "content": "Hi"}, {"content": "Yo"}]}, "unknown_role"),
    value("role_a_number", said(("user", "Hi"), (7, "Yo")), "unknown_role"),  # type: ignore[arg-type]
    value("content_a_number", said(("user", 5), ("assistant", "Yo")), "wrong_type"),
    value("content_null", said(("user", None), ("assistant", "Yo")), "wrong_type"),
    value("content_of_numbers", said(("user", [1]), ("assistant", "Yo")), "wrong_type"),
    value("only_a_system_turn", said(("system", "Be kind.")), "no_turns"),
    value("assistant_first", said(("assistant", "Hi"), ("user", "Yo"), ("assistant", "Ho")), "starts_without_user"),
    value("user_last", said(("user", "Hi"), ("assistant", "Yo"), ("user", "And?")), "ends_without_answer"),
    value("user_only", said(("user", "Hi")), "ends_without_answer"),
    value("system_in_the_middle", said(("user", "Hi"), ("system", "Be kind."), ("assistant", "Yo")), "misplaced_system"),
    value("tool_first", said(("tool", "4"), ("user", "Hi"), ("assistant", "Yo")), "orphan_tool"),
    value(
        "tool_unanswered",
        said(("user", "Hi"), ("assistant", "x"), ("tool", "4"), ("user", "Hm?"), ("assistant", "Yo")),
        "ends_without_answer",
    ),
    value("empty_answer", said(("user", "Hi"), ("assistant", "")), "empty_answer"),
    value("empty_prompt", said(("user", ""), ("assistant", "Yo")), "empty_prompt"),
    value("empty_turn_within", said(("user", "a"), ("assistant", " "), ("user", "b"), ("assistant", "c")), "empty_turn"),
    value(
        "tools_unencodable_calls",
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "name": 5}]},
        "wrong_type",
    ),
    value("pair_alike", {"prompt": "Hi", "chosen": "Yo", "rejected": "Yo"}, "identical_pair"),
    value("rejected_a_number", {"prompt": "Hi", "chosen": "Yo", "rejected": 5}, "wrong_type"),
    value("rejected_empty", {"prompt": "Hi", "chosen": "Yo", "rejected": ""}, "empty_rejected"),
    value("chosen_empty", {"prompt": "Hi", "chosen": " ", "rejected": "No"}, "empty_answer"),
    value(
        "pair_without_prompt",
        {"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]},
        "no_prompt",
    ),
    value(
        "pair_of_different_prompts",
        {
            "chosen": said(("user", "a"), ("assistant", "b"))["messages"],
            "rejected": said(("user", "c"), ("assistant", "d"))["messages"],
        },
        "prompts_differ",
    ),
    value("completion_a_number", {"prompt": "Hi", "completion": 5}, "wrong_type"),
    value("instances_empty", {"instruction": "Sort.", "instances": []}, "wrong_type"),
    value(
        "orphan_of_a_tree",
        {"message_id": "b", "parent_id": "gone", "message_tree_id": "t", "role": "assistant", "text": "Yo"},
        "orphan",
    ),
]
FILES = [
    whole("empty.json", b"", "empty"),
    whole("blank.jsonl", b" \n\n\t\n", "empty"),
    whole("empty_array.json", b"[]", "empty"),
    whole(
        "latin1.json",
        b"".join(f'{{"instruction": "Wie heißt Köln {n}?", "output": "schön"}}\n'.encode("latin-1") for n in range(9)),
        "encoding",
    ),
    whole("utf16_no_mark.json", GOOD.decode().encode("utf-16-le") * 3, "encoding"),
    whole("utf16_odd.json", "\ufeff".encode("utf-16-le") + GOOD.decode().encode("utf-16-le") + b"x", "encoding"),
    whole("weather.jsonl", b'{"station": "Oslo", "celsius": 4.5}\n' * 9, "no_format"),
    whole("log.txt", b"2024-05-01 INFO step 12\n" * 9, "no_format"),
    whole("readme.md", b"# My data\n\nIt was collected in spring.\n", "no_format"),
    whole("page.html", b"<html><body>502 Bad Gateway</body></html>\n", "no_format"),
    whole("document.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"\x00" * 50, "container"),
    whole("database.sqlite", b"SQLite format 3\x00" + b"\x00" * 500, "container"),
    whole("sheet.xlsx", zipped(**{"xl/workbook__xml": b"<workbook/>", "[Content_Types]__xml": b"<Types/>"}), "container"),
    whole("letter.docx", zipped(**{"word/document__xml": b"<document/>", "[Content_Types]__xml": b"<Types/>"}), "container"),
    whole("not_really.gz", b"\x1f\x8b\x08" + b"garbage" * 20, "damaged"),
    whole("not_really.parquet", b"PAR1" + b"garbage" * 20, "damaged"),
    whole("cut.parquet", parquet()[:-40], "damaged"),
    whole("not_really.zip", b"PK\x03\x04" + b"garbage" * 20, "damaged"),
    whole("bomb.jsonl.gz", gzip.compress(b'{"instruction": "' + b"\0" * (64 << 20) + b'"}'), "bomb"),
    whole("bomb.jsonl.bz2", bz2.compress(b"\0" * (64 << 20)), "bomb"),
    whole("bomb.jsonl.xz", lzma.compress(b"\0" * (64 << 20)), "bomb"),
    whole("thrice.json.gz", gzip.compress(gzip.compress(gzip.compress(GOOD))), "container"),
    whole("twice_named.csv", b"instruction,output,output\nHi,Yo,Ho\n", "header"),
    whole("only_a_header.csv", b"instruction,output\n", "empty"),
    Case("files/cut.jsonl.gz", gzip.compress(MANY)[:-100], -1, {"truncated": 1}),
    Case("files/cut.jsonl.bz2", bz2.compress(MANY)[:-10], -1, {"truncated": 1}),
    Case("files/cut.jsonl.xz", lzma.compress(MANY)[:-40], -1, {"truncated": 1}),
    Case("files/wrong_cells.csv", b"instruction,output\nHi,Yo\nHo\nHu,He\n", 2, {"wrong_cells": 1}),
    Case("files/open_quote.csv", b'instruction,output\nHi,Yo\n"Ho,He\nHu,Ha\nHa,Hu\n', 3, {"invalid_csv": 1}),
    Case("files/bytes.csv", b"instruction,output\nHi,Yo\nCaf\xe9,He\nHu,Ha\nHa,Hu\nHy,He\n", 4, {"invalid_utf8": 1}),
    Case("files/empty_cell.csv", b"instruction,output\nHi,Yo\nHo,\n", 1, {"empty_answer": 1}),
    Case("files/mixed.zip", zipped(good__jsonl=GOOD, weather__jsonl=b'{"celsius": 4}'), 1, {"!no_format": 1}),
    Case("files/within.zip", zipped(good__jsonl=GOOD, inner__zip=zipped(a__json=GOOD)), 1, {"!container": 1}),
    Case("files/mixed.tar", tarred({"good.jsonl": GOOD, "broken.json": b"[{"}), 1, {"!not_json": 1}),
    Case("files/fine.tar.gz", gzip.compress(tarred({"a.jsonl": GOOD, "b.jsonl": OTHER})), 2, {}),
    Case("files/utf8_mark.json", b"\xef\xbb\xbf" + GOOD, 1, {}),
    Case("files/utf16.json", ("\ufeff" + GOOD.decode()).encode("utf-16-le"), 1, {}),
    Case("files/utf32.json", ("\ufeff" + GOOD.decode()).encode("utf-32-be"), 1, {}),
]
CASES = LINES + ARRAYS + VALUES + FILES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """One folder with every broken input, built once."""
    folder = fresh(Path(tmp_path_factory.mktemp("malformed")) / "data")
    limits = {"max_quarantined": 100, "max_record_bytes": LIMIT, "max_unpacked_bytes": 1 << 20}
    say(folder, raw=limits, sources=[{"path": case.name, "name": case.name} for case in CASES])
    for case in CASES:
        put(folder, case.name, case.content)
    build(folder, raw, combined)
    return folder


def test_the_table_is_long_and_names_no_input_twice() -> None:
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_broken_input_is_accounted_for(made: Folder, case: Case) -> None:
    found = rows(
        made,
        "SELECT if(position IS NULL, '!', '') || reason, count(*) FROM quarantine WHERE source = ? GROUP BY ALL",
        [case.name],
    )
    assert dict(found) == case.reasons
    ((n,),) = rows(made, "SELECT count(*) FROM combined WHERE source = ?", [case.name])
    assert n == case.rows or (case.rows == -1 and n > 0)


@pytest.mark.parametrize("case", [case for case in CASES if case.reasons], ids=[c.name for c in CASES if c.reasons])
def test_its_entry_says_where_and_why(made: Folder, case: Case) -> None:
    for file, position, detail, sha256 in rows(
        made, "SELECT source_file, position, detail, sha256 FROM quarantine WHERE source = ?", [case.name]
    ):
        assert file.startswith(case.name)
        assert len(detail) > 12
        assert len(sha256) == 64
        assert position is None or position >= 1


def test_every_record_is_kept_or_quarantined(made: Folder) -> None:
    (version,) = build(made, raw)
    report = version.report
    assert report["in"] == report["kept"] + sum(report["quarantined"].values())
    ((inputs, outputs),) = rows(
        made,
        """
        SELECT (SELECT count(*) FROM raw),
            (SELECT count(*) FROM combined)
            + (SELECT count(*) FROM quarantine WHERE state = 'combined')
            + (SELECT count(*) FROM dropped WHERE state = 'combined')
        """,
    )
    assert inputs == outputs
