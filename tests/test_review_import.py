"""Answers of people come back: what fits a queue of this folder is recorded once, and everything else is refused with why."""

from __future__ import annotations

import csv
import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import reviews
from sft_assets.combined.asset import combined
from sft_assets.definitions import STATES
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.reviews import Decision, queue
from sft_assets.reviews.answers import importing
from sft_assets.reviews.answers.importing import Imported, answer, import_answers, undo
from sft_assets.reviews.answers.readers import read
from sft_assets.reviews.queue import Item, Other, Queue, tables
from sft_assets.reviews.selection import select
from sft_assets.warehouse import Warehouse
from tests.conftest import NO_MODELS, build, fresh, put, rows, say

pytestmark = pytest.mark.xdist_group("review_import")  # one folder is what they start from
NAME = "20260102T030405Z-1f0c22ab"
CHOICES = ["keep", "drop", "edit", "review", "skip"]
RECORDS = [{"instruction": f"What is {n} and one?", "output": f"{n + 1}, I think."} for n in range(6)]
COMPARED = 6  # the number of the item that compares two rows


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six rows, and a queue: an item about each of the first five, and one that compares the first two."""
    folder = fresh(tmp_path_factory.mktemp("import") / "data")
    say(folder, **NO_MODELS)
    put(folder, "a.jsonl", RECORDS)
    build(folder, raw, combined)
    queue.save(folder, made_queue(folder))
    return folder.root


@pytest.fixture
def folder(asked: Path, tmp_path: Path) -> Folder:
    shutil.copytree(asked, tmp_path / "data")
    return Folder.at(tmp_path / "data")


def made_queue(folder: Folder, name: str = NAME) -> Queue:
    found = rows(folder, "SELECT row_id, content_hash, messages FROM combined ORDER BY messages[1].content")
    texts = [[{"role": turn["role"], "content": turn["content"]} for turn in messages] for *_, messages in found]
    items = [
        Item(
            queue=name, number=number, row_id=row_id, content_hash=content, asked="audit", about="kept", audit=True,
            state="scored", verdict="kept", question="Is this row right?", choices=CHOICES, messages=text,
        )
        for number, ((row_id, content, _), text) in enumerate(zip(found[:5], texts, strict=False), 1)
    ]  # fmt: skip
    first, second = found[5], found[4]
    other = Other(what="row", row_id=second[0], content_hash=second[1], messages=texts[4])
    pair = Item(
        queue=name, number=COMPARED, row_id=first[0], content_hash=first[1], asked="conflict", about="conflict_group",
        state="augmented", verdict="kept", question="Which is better?", choices=["prefer_a", "prefer_b", "tie", "skip"],
        messages=texts[5], other=other,
    )  # fmt: skip
    return Queue(name=name, time=datetime(2026, 1, 2, tzinfo=UTC), budget=6, seed=0, items=(*items, pair))


def of(folder: Folder, item_number: int, decision: str | None = "keep", **more: Any) -> dict[str, Any]:
    """A line that answers an item."""
    item = queue.load(folder, NAME).items[item_number - 1]
    line = {"queue": NAME, "row_id": str(item.row_id), "content_hash": str(item.content_hash), "reviewer": "ann"}
    return {name: value for name, value in {**line, "decision": decision, **more}.items() if value is not None}


def written(folder: Folder, lines: Iterable[Any], name: str = "answers.jsonl") -> Path:
    path = folder.root.parent / name
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def take(folder: Folder, lines: Iterable[Any] | Path, **more: Any) -> Imported:
    path = lines if isinstance(lines, Path) else written(folder, lines)
    return import_answers(Warehouse(folder.database), folder, STATES, path, **more)


def log(folder: Folder) -> list[Decision]:
    return list(reviews.read(folder).log)


def counting(folder: Folder) -> list[str]:
    return [f"{one.reviewer}:{one.decision}" for one in reviews.read(folder).decisions]


# ---------------------------------------------------------------------------------------------------------- what fits


def test_an_answer_becomes_the_decision_that_its_item_makes(folder: Folder) -> None:
    lines = [
        of(folder, 1, "drop", why="the sum is wrong"),
        of(folder, 2, "edit", answer="Two.", time="2026-01-03T04:05:06+01:00"),
        of(folder, COMPARED, "prefer_b", reviewer="bob"),
        of(folder, 3, "skip"),
    ]
    found = take(folder, lines)
    drop, edit, prefer, skip = log(folder)
    items = queue.load(folder, NAME).items
    assert (drop.row_id, drop.content_hash, drop.queue) == (items[0].row_id, items[0].content_hash, NAME)
    assert (drop.state, drop.decision, drop.why, drop.about, drop.audit) == ("scored", "drop", "the sum is wrong", "kept", True)
    assert (edit.state, edit.answer, edit.at, edit.tool) == ("combined", "Two.", "2026-01-03T03:05:06Z", "jsonl")
    other = items[-1].other
    assert other is not None
    assert (prefer.state, prefer.reviewer, prefer.other, prefer.other_hash) == (
        "augmented", "bob", other.row_id, other.content_hash,
    )  # fmt: skip
    assert not skip.is_applied
    assert found.by_decision == {"drop": 1, "edit": 1, "prefer_b": 1, "skip": 1}
    assert found.by_state == {"scored": 1, "combined": 1, "augmented": 1}
    assert set(found.changed) == {"scored", "combined", "augmented"}
    assert datetime.now(UTC) - drop.time < timedelta(minutes=1)


def test_one_answer_may_stand_on_several_lines(folder: Folder) -> None:
    path = written(folder, [json.dumps(of(folder, 1), indent=2)])
    assert take(folder, path).by_decision == {"keep": 1}


def test_items_that_nobody_answered_are_counted_and_nothing_else(folder: Folder) -> None:
    handed_out = (folder.queues / NAME / "queue.jsonl").read_text().splitlines(keepends=True)
    found = take(folder, handed_out)
    assert (found.blank, found.recorded, found.changed) == (len(handed_out), (), ())
    line = json.loads(handed_out[0])
    found = take(folder, [{**line, "decision": "keep"}, *handed_out[1:]], reviewer="ann")
    assert (found.blank, counting(folder)) == (len(handed_out) - 1, ["ann:keep"])


def test_the_same_file_again_records_nothing(folder: Folder) -> None:
    lines = [of(folder, n, "edit", answer=f"It is {n}.") for n in (1, 2)] + [of(folder, 3), of(folder, COMPARED, "tie")]
    path = written(folder, lines)
    first, size = take(folder, path), folder.reviews.stat().st_size
    again = take(folder, path)
    assert (len(first.recorded), again.recorded, again.standing, again.changed) == (4, (), 4, ())
    assert folder.reviews.stat().st_size == size


def test_the_same_file_after_its_edits_were_applied_records_nothing_and_is_not_refused(folder: Folder) -> None:
    path = written(folder, [of(folder, 1, "edit", answer="One, surely.")])
    take(folder, path)
    build(folder, combined)
    assert take(folder, path).standing == 1


def test_a_corrected_answer_takes_the_place_of_the_first(folder: Folder) -> None:
    take(folder, [of(folder, 1, "keep"), of(folder, 2, "edit", answer="Tow.")])
    found = take(folder, [of(folder, 1, "drop"), of(folder, 2, "edit", answer="Two.")])
    assert (len(found.recorded), counting(folder)) == (2, ["ann:drop", "ann:edit"])
    assert reviews.read(folder).of("combined")[0].answer == "Two."
    take(folder, [of(folder, 1, "undo")])
    assert counting(folder) == ["ann:edit"]
    assert take(folder, [of(folder, 1, "undo")]).standing == 1


def test_of_two_answers_in_one_file_the_later_counts_however_often_it_is_imported(folder: Folder) -> None:
    lines = [of(folder, 1, "keep"), of(folder, 1, "drop")]
    found = take(folder, lines)
    assert (found.corrected, counting(folder), len(log(folder))) == (1, ["ann:drop"], 1)
    assert take(folder, lines).standing == 1
    at = [of(folder, 2, "drop", time="2026-01-03T00:00:02Z"), of(folder, 2, "keep", time="2026-01-03T00:00:01Z")]
    take(folder, at)
    assert counting(folder) == ["ann:drop", "ann:drop"]


def test_an_old_export_does_not_undo_what_the_reviewer_said_since(folder: Folder) -> None:
    export = [of(folder, 1, "keep", time="2026-01-03T00:00:00Z"), of(folder, 2, "drop", time="2026-01-03T00:00:00Z")]
    take(folder, export)
    answer(folder, NAME, 1, "drop", "ann")
    undo(folder, NAME, 2, "ann")
    found = take(folder, [*export, of(folder, 3, "keep", time="2026-01-03T00:00:01Z")])
    assert (found.outdated, len(found.recorded), counting(folder)) == (2, 1, ["ann:drop", "ann:keep"])


def test_a_time_in_the_future_counts_as_now(folder: Folder) -> None:
    later = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    found = take(folder, [of(folder, 1, time=later), of(folder, 2, time="2026-01-03T00:00:00")])
    assert found.ahead == 1
    assert log(folder)[0].time <= datetime.now(UTC)
    assert log(folder)[1].at == "2026-01-03T00:00:00Z"


def test_a_person_is_the_same_in_every_file_however_the_name_is_written(folder: Folder) -> None:
    take(folder, [of(folder, 1, reviewer="Zoë B."), of(folder, 2, "drop", reviewer="zoë b.")])
    again = take(folder, [of(folder, 1, reviewer="ZOE\u0308  B. "), of(folder, 2, "drop", reviewer="zoë B.")])
    assert (again.standing, again.recorded) == (2, ())
    corrected = take(folder, [of(folder, 1, "drop", reviewer="zoe\u0308 b."), of(folder, 3, reviewer="ann")])
    assert corrected.by_reviewer == {"Zoë B.": 1, "ann": 1}
    assert answer(folder, NAME, 3, "drop", "Ann") and answer(folder, NAME, 3, "drop", "ANN") is None
    assert undo(folder, NAME, 3, "aNN") is not None
    assert [one.reviewer for one in log(folder)] == ["Zoë B.", "Zoë B.", "Zoë B.", "ann", "ann", "ann"]
    twice = take(folder, [of(folder, 4, reviewer="bob"), of(folder, 4, "drop", reviewer="Bob")])
    assert (twice.corrected, [one.decision for one in twice.recorded]) == (1, ["drop"])


def test_the_named_reviewer_stands_in_where_the_file_names_nobody(folder: Folder) -> None:
    found = take(folder, [of(folder, 1, reviewer=None), of(folder, 2, reviewer=" bob  b. ")], reviewer="cem")
    assert found.by_reviewer == {"cem": 1, "bob b.": 1}


# ------------------------------------------------------------------------------------------------- several reviewers


@pytest.mark.parametrize(
    ("said", "counts", "disputed"),
    [
        ("ann:keep bob:keep", ["bob:keep"], 0),
        ("ann:keep bob:drop", [], 1),
        ("ann:keep bob:drop cem:drop", ["cem:drop"], 0),
        ("ann:keep bob:drop cem:skip", [], 1),
    ],
)
def test_of_several_reviewers_most_win_and_a_draw_counts_for_nobody(
    folder: Folder, said: str, counts: list[str], disputed: int
) -> None:
    lines = [of(folder, 1, word.partition(":")[2], reviewer=word.partition(":")[0]) for word in said.split()]
    found = take(folder, lines)
    assert (counting(folder), found.disputed) == (counts, disputed)
    assert found.changed == (("scored",) if counts else ())


def test_a_vote_comes_in_after_the_edit_of_another_reviewer_was_applied(folder: Folder) -> None:
    take(folder, [of(folder, 1, "edit", answer="One, surely.")])
    build(folder, combined)
    for name in ("bob", "cem"):
        take(folder, [of(folder, 1, "keep", reviewer=name)])
    assert counting(folder) == ["cem:keep"]
    build(folder, combined)
    ((text,),) = rows(folder, "SELECT messages[-1].content FROM combined WHERE messages[1].content = ?", ["What is 0 and one?"])
    assert text == RECORDS[0]["output"]


# ------------------------------------------------------------------------------------------------------ what is refused

STRANGER = "00000000-0000-0000-0000-00000000abcd"


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"queue": "20260102T030405Z-ffffffff"}, "foreign queue", "was not made from"),
        ({"queue": "../../etc"}, "foreign queue", "was not made from"),
        ({"queue": ""}, "foreign queue", "names no queue"),
        ({"row_id": STRANGER}, "unknown row", "row 00000000 is not in the queue"),
        ({"row_id": "9f3c"}, "unknown row", "row_id is '9f3c'; it is copied whole"),
        ({"row_id": None}, "unknown row", "row_id is empty"),
        ({"content_hash": STRANGER}, "changed text", "the queue showed another text of row"),
        ({"content_hash": "\u202e=1+1"}, "changed text", "copied whole"),
        ({"number": 2}, "unknown row", "item 2 of the queue is about another row"),
        ({"number": "1"}, "unreadable", "number is '1'"),
        ({"decision": "prefer_a"}, "no answer", "'prefer_a' is no choice; there are keep, drop, edit, review, skip"),
        ({"decision": "<b>keep</b>"}, "no answer", "is no choice"),
        ({"decision": ["keep"]}, "unreadable", "decision is ['keep']; it is a text"),
        ({"decision": "edit"}, "no answer", "an edit has the new answer"),
        ({"decision": "edit", "answer": " \n"}, "no answer", "an edit has the new answer"),
        ({"decision": "edit", "answer": "1, I think."}, "no answer", "the one that the row has; say keep"),
        ({"answer": "Two."}, "no answer", "the decision is 'keep'; say edit, or take it out"),
        ({"decision": None, "answer": "Two."}, "no answer", "there is a text, but no decision"),
        ({"decision": None, "why": "odd"}, "no answer", "there is a text, but no decision"),
        ({"reviewer": None}, "no reviewer", "say --reviewer NAME"),
        ({"reviewer": "  "}, "no reviewer", "say --reviewer NAME"),
        ({"reviewer": "a\x00b"}, "no reviewer", "is no name of a reviewer"),
        ({"reviewer": "x" * 300}, "no reviewer", "is no name of a reviewer"),
        ({"time": "yesterday"}, "unreadable", "time 'yesterday' is none like 2026-01-02T03:04:05Z"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "unreadable", "is none like"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place_and_why(
    folder: Folder, change: dict[str, Any], kind: str, says: str
) -> None:
    lines = [of(folder, 2), of(folder, 1, **change)]
    with pytest.raises(SftError) as refused:
        take(folder, lines)
    told = str(refused.value)
    assert told.startswith("answers.jsonl:2: ")
    assert says in told
    assert f"Refused: 1 of 2 answers (1 {kind}). Nothing was recorded" in told
    assert not folder.reviews.exists()


def test_a_row_whose_text_changed_since_is_refused(folder: Folder) -> None:
    put(folder, "a.jsonl", [{**RECORDS[0], "instruction": "What is 1 + 0?"}, *RECORDS[1:]])
    build(folder, raw, combined)
    with pytest.raises(SftError, match="row gone"):
        take(folder, [of(folder, 1)])
    assert take(folder, [of(folder, 1, "skip")]).by_decision == {"skip": 1}  # says nothing of it
    edit = reviews.decided(*ids(folder, 2), "combined", "edit", "so", "eve", "Two.")
    reviews.append(folder, [edit])
    build(folder, combined)
    with pytest.raises(SftError, match=r"the text of row .{8} changed since .*ask again: `sft review export`"):
        take(folder, [of(folder, 2)])


def test_a_comparison_is_refused_where_the_other_row_changed(folder: Folder) -> None:
    other = queue.load(folder, NAME).items[-1].other
    assert other is not None
    assert other.row_id is not None
    assert other.content_hash is not None
    reviews.append(folder, [reviews.decided(other.row_id, other.content_hash, "combined", "edit", "so", "eve", "Five.")])
    build(folder, combined)
    with pytest.raises(SftError, match=f"the text of row {str(other.row_id)[:8]} changed since"):
        take(folder, [of(folder, COMPARED, "prefer_a")])


def ids(folder: Folder, number: int) -> tuple[Any, Any]:
    item = queue.load(folder, NAME).items[number - 1]
    return item.row_id, item.content_hash


def test_ten_refusals_are_named_and_the_rest_counted(folder: Folder) -> None:
    lines = [of(folder, 1, row_id=STRANGER) for _ in range(13)] + [of(folder, 2, "tie")]
    with pytest.raises(SftError) as refused:
        take(folder, lines)
    told = str(refused.value).splitlines()
    assert [line.partition(": ")[0] for line in told[:10]] == [f"answers.jsonl:{n}" for n in range(1, 11)]
    assert told[10] == "... and 4 more"
    assert "14 of 14 answers (13 unknown row, 1 no answer)" in told[11]


def test_what_fits_is_recorded_and_the_rest_can_be_mended_and_imported(folder: Folder) -> None:
    long = "A long answer. " * 500
    lines = [
        of(folder, 1),
        of(folder, 2, "edit", answer=long, reviewer=None, why="<i>"),
        '{"broken": \n',
        of(folder, 3, "drop"),
    ]
    found = take(folder, lines, what_fits=True)
    assert [one.kind for one in found.refused] == ["no reviewer", "unreadable"]
    assert counting(folder) == ["ann:keep", "ann:drop"]
    path = folder.root.parent / "answers.jsonl.refused.jsonl"
    assert found.refused_in == path
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["refused"].startswith("no reviewer: nobody is named")
    assert (first["answer"], first["why"]) == (long, "<i>")
    assert second["text"] == '{"broken": '
    mended = written(folder, [{**first, "reviewer": "bob"}], "mended.jsonl")
    assert take(folder, mended).by_decision == {"edit": 1}
    with pytest.raises(SftError, match=r"left\.jsonl:2: holds what could not be read, not mended yet"):
        take(folder, written(folder, [of(folder, 1), second], "left.jsonl"))


def test_nothing_is_recorded_where_the_refused_ones_cannot_be_written(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(importing, "write_whole", full)
    with pytest.raises(SftError, match=r"refused\.jsonl: cannot be written, so nothing was recorded: No space left"):
        take(folder, [of(folder, 1), of(folder, 2, "tie")], what_fits=True)
    assert not folder.reviews.exists()


def test_refused_ones_that_somebody_may_be_mending_are_not_written_over(folder: Folder) -> None:
    path = written(folder, [of(folder, 1), of(folder, 2, "tie")])
    first = take(folder, path, what_fits=True).refused_in
    assert first is not None
    first.write_text("mended by hand\n")
    again = take(folder, path, what_fits=True)
    assert (first.read_text(), again.standing) == ("mended by hand\n", 1)
    assert again.refused_in is not None
    assert again.refused_in.name == "answers.jsonl.refused-2.jsonl"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"[1, 2]", "is JSON, but no answers to a queue"),
        (b'[{"a": 1}]', "is JSON, but no answers to a queue"),
        (b'{"a": 1}', "is JSON, but no answers to a queue"),
        (b"[{", "is JSON, but no answers to a queue"),
        (b"hello world", "has no row_id, content_hash, decision in its first line"),
        (b"row_id,decision\n1,keep\n", "has no content_hash in its first line"),
        (b"row_id,content_hash,decision\n1,2,k\xe9ep\n", r":2: is not UTF-8; a spreadsheet saves it so as 'CSV UTF-8'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8"),
        (b"PK\x03\x04\x14\x00", "has no row_id"),
    ],
)
def test_a_file_of_anything_else_is_refused_by_name(folder: Folder, content: bytes, says: str) -> None:
    path = folder.root.parent / "given"
    path.write_bytes(content)
    with pytest.raises(SftError, match=says):
        take(folder, path)


def test_a_file_that_is_not_there_is_refused(folder: Folder) -> None:
    with pytest.raises(SftError, match="cannot be read: No such file"):
        take(folder, folder.root / "nowhere.csv")
    with pytest.raises(SftError, match="cannot be read: Is a directory"):
        take(folder, folder.root)


def test_without_a_database_there_is_nothing_to_decide_on(folder: Folder) -> None:
    folder.database.unlink()
    with pytest.raises(SftError, match="`sft run` builds it"):
        take(folder, [of(folder, 1)])


# -------------------------------------------------------------------------------------------------------------- tables

SAID = {
    1: ("drop", "", "wrong sum"),
    2: ("edit", '=1+2\nis 3; surely, "yes"', ""),
    3: (" Keep ", "", ""),
    COMPARED: ("Prefer B", "", ""),
}


def filled(folder: Folder, said: dict[int, tuple[str, str, str]] = SAID) -> list[dict[str, str]]:
    """The rows of a queue's table with answers filled in, some of them as a spreadsheet would escape them."""
    lines = list(csv.DictReader(io.StringIO(tables.table(queue.load(folder, NAME).items), newline="")))
    for number, (decision, new, why) in said.items():
        lines[number - 1] |= {"decision": decision, "answer": new, "why": why, "reviewer": "ann"}
    return lines


def as_text(lines: list[dict[str, str]], **dialect: Any) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]), **dialect)
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


@pytest.mark.parametrize(
    ("encoding", "delimiter", "end"),
    [("utf-8", ",", "\n"), ("utf-8-sig", ";", "\r\n"), ("utf-16", "\t", "\r\n"), ("utf-8-sig", ",", "\r")],
)
def test_a_table_comes_back_as_spreadsheets_save_it(folder: Folder, encoding: str, delimiter: str, end: str) -> None:
    path = folder.root.parent / "queue.csv"
    path.write_bytes(as_text(filled(folder), delimiter=delimiter, lineterminator=end).encode(encoding))
    found = take(folder, path)
    assert [(one.decision, one.answer) for one in found.recorded] == [
        ("drop", None), ("edit", SAID[2][1]), ("keep", None), ("prefer_b", None),
    ]  # fmt: skip
    assert (found.tool, found.blank, found.recorded[0].why) == ("csv", 2, "wrong sum")
    assert take(folder, path).standing == 4


def test_what_was_escaped_against_formulas_is_as_it_was(folder: Folder) -> None:
    said = {n: ("edit", tables.escaped(text), tables.escaped("-why")) for n, text in enumerate(["=1+1", "'=1", "@x", "-5"], 1)}
    path = folder.root.parent / "queue.csv"
    path.write_text(as_text(filled(folder, said)))
    found = take(folder, path)
    assert [one.answer for one in found.recorded] == ["=1+1", "'=1", "@x", "-5"]
    assert {one.why for one in found.recorded} == {"-why"}


def test_a_table_whose_columns_were_sorted_apart_is_refused(folder: Folder) -> None:
    lines = filled(folder)
    numbers = [line["number"] for line in lines]
    for line, number in zip(lines, [*numbers[1:], numbers[0]], strict=True):
        line["number"] = number
    path = folder.root.parent / "queue.csv"
    path.write_text(as_text(lines))
    with pytest.raises(SftError, match=r"queue\.csv:2: item 2 of the queue is about another row .*were some columns sorted"):
        take(folder, path)


def test_places_in_a_table_are_lines_of_the_file(folder: Folder) -> None:
    lines = filled(folder, {1: ("edit", "two\nlines", ""), 2: ("tie", "", "")})
    lines[0]["number"] = "1.0"
    path = folder.root.parent / "queue.csv"
    path.write_text(as_text(lines, lineterminator="\n"))
    _, found = read(path)
    assert [one.place for one in found[:3]] == ["queue.csv:2", "queue.csv:4", "queue.csv:5"]
    with pytest.raises(SftError, match=r"queue\.csv:4: .*'tie' is no choice"):
        take(folder, path)


def test_a_quote_that_is_not_closed_takes_no_answers_with_it(folder: Folder) -> None:
    path = folder.root.parent / "queue.csv"
    text = as_text(filled(folder, {1: ("keep", "", "WHY"), 2: ("drop", "", ""), 3: ("drop", "", "")}))
    path.write_text(text.replace("WHY", '"it is fine'))
    with pytest.raises(SftError, match=r"queue\.csv:2: .*: a cell with a quote.* stands in quotes"):
        take(folder, path, reviewer="ann", what_fits=True)
    assert not reviews.read(folder).log


def test_an_answer_with_an_unquoted_comma_is_refused_and_not_cut_off(folder: Folder) -> None:
    item = queue.load(folder, NAME).items[0]
    path = folder.root.parent / "queue.csv"
    path.write_text(
        f"\nqueue,row_id,content_hash,decision,answer\n{NAME},{item.row_id},{item.content_hash},edit,Three, of course\n"
    )
    with pytest.raises(SftError, match=r"queue\.csv:3: has 6 cells, and the first line names 5"):
        take(folder, path, reviewer="ann")


@pytest.mark.parametrize(
    ("content", "says"),
    [(",,\n", "has no row_id, content_hash, decision"), ("row_id,content_hash,decision,Decision\n", "decision twice")],
)
def test_a_header_that_names_no_cell_or_two_is_refused(folder: Folder, content: str, says: str) -> None:
    path = folder.root.parent / "queue.csv"
    path.write_text(content)
    with pytest.raises(SftError, match=says):
        take(folder, path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('row_id,x\n"abcd,1\nef01,2\n', "f:3: unexpected end of data"),
        ('[{"row_id": "abcd"}]', "f is a JSON array"),
        ("a" * 200_000, "f:1: there is no row 'a{59}"),
    ],
)
def test_a_selection_is_taken_whole_or_refused_in_a_few_words(folder: Folder, text: str, says: str) -> None:
    with pytest.raises(SftError, match=says) as refused:
        select(Warehouse(folder.database), folder, STATES, "f", text, "drop", "why", "ann")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("facts", ["{", "[]", '{"name": 1}', None])
def test_a_queue_that_is_damaged_is_refused_by_its_file(folder: Folder, facts: str | None) -> None:
    place = folder.queues / NAME
    if facts is None:
        (place / "queue.jsonl").unlink()
    else:
        (place / "queue.json").write_text(facts)
    with pytest.raises(SftError, match=r"queue\.json.*make a new queue"):
        queue.load(folder, NAME)


def test_what_an_annotation_tool_exports_is_known_by_its_content(folder: Folder) -> None:
    item = queue.load(folder, NAME).items[0]
    task = {"sft_queue": NAME, "sft_row_id": str(item.row_id), "sft_content_hash": str(item.content_hash), "sft_number": 1}
    result = [{"from_name": "decision", "value": {"choices": ["drop"]}}]
    by = {"email": "ann@example.org"}
    export = [{"id": 7, "data": task, "annotations": [{"id": 9, "completed_by": by, "result": result}]}]
    path = folder.root.parent / "project-1-at-2026.csv"  # whatever it is called
    path.write_text(json.dumps(export, indent=2))
    (made,) = take(folder, path).recorded
    assert (made.tool, made.decision, made.reviewer, made.row_id) == ("label-studio", "drop", "ann@example.org", item.row_id)


# ---------------------------------------------------------------------------------------------------------- hostile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([NAME, "keep", "edit", STRANGER, "ann"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ("queue", "row_id", "content_hash", "decision", "answer", "why", "reviewer", "time", "number")


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), max_size=3), st.booleans())
@settings(max_examples=20)
def test_no_value_of_a_line_breaks_the_import(asked: Path, lines: list[dict[str, Any]], whole: bool) -> None:
    folder = Folder.at(asked)
    good = of(folder, 1)
    path = folder.root.parent / "hostile.jsonl"
    path.write_text("".join(json.dumps({**good, **line} if whole else line) + "\n" for line in lines) + json.dumps(good) + "\n")
    try:
        found = take(folder, path, what_fits=True)
    finally:
        folder.reviews.unlink(missing_ok=True)
    assert len(found.recorded) + found.corrected + len(found.refused) + found.blank == len(lines) + 1
    assert {str(one.row_id) for one in found.recorded} == {good["row_id"]}


# ------------------------------------------------------------------------------------------------------------ one by one


def test_a_request_that_comes_twice_is_recorded_once(folder: Folder) -> None:
    assert answer(folder, NAME, 1, "keep", "ann") is not None
    assert answer(folder, NAME, 1, "keep", " ann ") is None
    assert undo(folder, NAME, 1, "ann") is not None
    assert undo(folder, NAME, 1, "ann") is None
    assert answer(folder, NAME, 1, "keep", "ann") is not None
    assert undo(folder, NAME, 1, "bob") is None
    assert [one.decision for one in log(folder)] == ["keep", "undo", "keep"]


def test_a_comparison_is_taken_back_as_one(folder: Folder) -> None:
    answer(folder, NAME, COMPARED, "prefer_b", "ann")
    answer(folder, NAME, COMPARED, "tie", "ann")
    undo(folder, NAME, COMPARED, "ann")
    assert not counting(folder)


def test_what_the_page_sends_is_checked_as_a_file_is(folder: Folder) -> None:
    wrong: list[tuple[Any, ...]] = [
        ("20260102T030405Z-ffffffff", 1, "keep", "ann"),
        ("..", 1, "keep", "ann"),
        ("a\0b", 1, "keep", "ann"),
        (NAME, 7, "keep", "ann"),
        (NAME, 1, "tie", "ann"),
        (NAME, 1, "keep", ""),
        (NAME, 1, "edit", "ann"),
        (NAME, 1, "keep", "ann", "", "Two."),
        (NAME, 1, "edit", "ann", "", "\ud800"),
    ]
    for values in wrong:
        with pytest.raises(SftError):
            answer(folder, *values)
    assert not folder.reviews.exists()


def test_threads_and_processes_that_say_the_same_are_heard_once(folder: Folder) -> None:
    def many() -> None:
        threads = [threading.Thread(target=answer, args=(folder, NAME, n % 5 + 1, "keep", "ann")) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    processes = [multiprocessing.get_context("fork").Process(target=many) for _ in range(2)]
    for process in processes:
        process.start()
    many()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert Counter(one.row_id for one in log(folder)) == {ids(folder, n)[0]: 1 for n in range(1, 6)}


# -------------------------------------------------------------------------------------------------------------- kill -9

CHILD = """
import os, signal, sys
from pathlib import Path
from sft_assets.folder import Folder
from sft_assets.reviews.answers import importing
from sft_assets.warehouse import Warehouse

root, file, moment = sys.argv[1:]
append, write = importing.reviews.append, os.write

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def appended(*given):
    append(*given)
    killed()

def half(handle, data):
    write(handle, data[: len(data) // 2])
    killed()

if moment == "before":
    importing.reviews.append = killed
elif moment == "after":
    importing.reviews.append = appended
else:
    os.write = half
importing.import_answers(Warehouse(Folder.at(root).database), Folder.at(root), ["combined"], Path(file))
"""


@pytest.mark.parametrize(("moment", "there"), [("before", {0}), ("after", {1500}), ("half", set(range(1, 1500)))])
def test_after_a_kill_the_same_file_records_what_is_missing_and_nothing_twice(
    folder: Folder, moment: str, there: set[int]
) -> None:
    names = [f"reviewer {n}" for n in range(300)]
    path = written(folder, [of(folder, n, reviewer=name) for n in range(1, 6) for name in names])
    child = subprocess.run([sys.executable, "-c", CHILD, str(folder.root), str(path), moment], cwd=Path(__file__).parents[1])
    assert child.returncode == -signal.SIGKILL
    left = len(log(folder))
    assert left in there
    again = take(folder, path)
    assert (again.standing, len(again.recorded)) == (left, 1500 - left)
    assert Counter((one.item, one.reviewer) for one in log(folder)).most_common(1)[0][1] == 1


# ------------------------------------------------------------------------------------------------------------ command


def test_the_command_says_what_it_did_and_what_is_stale(folder: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    lines = [
        of(folder, 1, "drop"),
        of(folder, 2, "edit", answer="Two."),
        of(folder, 3, "keep"),
        of(folder, 3, "drop", reviewer="bob"),
    ]
    path = written(folder, lines, "an[s]wers.jsonl")
    code, out, err = sft("review", "import", str(path), "--data", str(folder.root))
    assert (code, err) == (0, "")
    assert "recorded in" in out
    assert "4 answers of" in out
    assert "an[s]wers.jsonl (drop 2, edit 1, keep 1)" in out
    assert "by reviewer: ann 3, bob 1" in out
    assert "disputed: reviewers differ about 1 items" in out
    assert "stale now: combined, scored, and what follows if they come out different: deduped" in out
    code, out, err = sft("review", "import", str(path), "--data", str(folder.root))
    assert "4 stood already" in out
    assert "no state is stale by it" in out
    bad = written(folder, [of(folder, 1, "[red]")], "bad.jsonl")
    code, out, err = sft("review", "import", str(bad), "--data", str(folder.root))
    assert code == 1
    assert "bad.jsonl:1:" in err
    assert "'[red]' is no choice" in err
    code, out, err = sft("review", "import", str(bad), "--what-fits", "--data", str(folder.root))
    assert code == 0
    assert "bad.jsonl.refused.jsonl" in out
    assert os.path.exists(f"{bad}.refused.jsonl")
