"""Files of answers, known by their content: our JSON lines, a queue's CSV as spreadsheets save it, exports of other tools.

    {"queue": "20260102T030405Z-1f0c22ab", "row_id": "9f3c...", "content_hash": "51ab...", "decision": "keep", ...

    queue;number;row_id;content_hash;...;decision;answer;why;reviewer
    20260102T030405Z-1f0c22ab;17;9f3c...;51ab...;...;edit;Paris.;;ann

Lines of queue.jsonl and rows of queue.csv without a decision are items that nobody answered.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sft_assets.errors import SftError
from sft_assets.reviews.answers.answer import Answer
from sft_assets.reviews.queue.tables import unescaped

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the reader has a limit of its own
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DELIMITERS = ",;\t"
TEXTS = ("queue", "row_id", "content_hash", "decision", "why", "reviewer", "time")
DIGITS = 10  # of an item's number, and more than any has
NEEDED = ("row_id", "content_hash", "decision")  # columns
QUOTES = "a cell with a quote, a line break or the delimiter in it stands in quotes, and a quote in it is doubled"
REMEDY = (
    "It is JSON lines or CSV with queue, row_id, content_hash and decision, or what Label Studio (JSON) or Argilla "
    "(see the queue's argilla/README.md) exports of a queue"
)


def read(path: Path) -> tuple[str, list[Answer]]:
    """The tool that a file is of ('jsonl', 'csv', 'label-studio', 'argilla'), and the answers in it.

    Raises:
        SftError: it cannot be read, or is nothing known.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SftError(f"{path}: cannot be read: {error.strerror}") from None
    text = _decoded(path, data)
    if not text.strip():
        raise SftError(f"{path} is empty. {REMEDY}")
    if text.lstrip()[0] in "[{":
        return _of_json(path, text)
    return "csv", list(_rows(path, text))


def _decoded(path: Path, data: bytes) -> str:
    encoding = next((name for bom, name in BOMS if data.startswith(bom)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SftError(
            f"{path}:{line}: is not UTF-8; a spreadsheet saves it so as 'CSV UTF-8' (encoding 'Unicode (UTF-8)')"
        ) from None


# -------------------------------------------------------------------------------------------------------------- JSON


def _of_json(path: Path, text: str) -> tuple[str, list[Answer]]:
    from sft_assets.reviews.tools import argilla, label_studio

    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError:
        whole = None  # lines, as a rule
    if label_studio.is_export(whole):
        return "label-studio", list(label_studio.read(path, whole))
    if argilla.is_export(whole):
        return "argilla", list(argilla.read(path, whole))
    first = next(line for line in text.split("\n") if line.strip())
    if isinstance(whole, list) or (whole is not None and "row_id" not in whole) or first.lstrip().startswith("["):
        raise SftError(f"{path}: is JSON, but no answers to a queue. {REMEDY}")
    if whole is not None:
        return "jsonl", [_line(f"{path.name}:1", text)]
    return "jsonl", list(_lines(path, text))


def _lines(path: Path, text: str) -> Iterator[Answer]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _line(f"{path.name}:{number}", line)


def _line(place: str, line: str) -> Answer:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Answer(place, wrong=f"is no JSON object on one line ({error.msg})", text=line)
    if not isinstance(values, dict):
        return Answer(place, wrong="is no JSON object", text=line)
    if "refused" in values and not (values.get("queue") or values.get("row_id")):
        return Answer(place, wrong="holds what could not be read, not mended yet", text=str(values.get("text", "")))
    given: dict[str, Any] = {name: values[name] for name in (*TEXTS, "answer") if values.get(name) is not None}
    if wrong := [name for name, value in given.items() if not isinstance(value, str)]:
        return Answer(place, wrong=f"{wrong[0]} is {given[wrong[0]]!r:.60}; it is a text", text=line)
    item_number = values.get("number")
    if item_number is not None and type(item_number) is not int:
        return Answer(place, wrong=f"number is {item_number!r:.60}; it is the item's, such as 17", text=line)
    return Answer(place, number=item_number, **given)


# --------------------------------------------------------------------------------------------------------------- CSV


def _rows(path: Path, text: str) -> Iterator[Answer]:
    first = next(line for line in text.splitlines() if line.strip())
    delimiter = max(DELIMITERS, key=first.count)
    # strict: else a quote that is not closed takes all answers after it for the rest of its cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        named = next((fields for fields in reader if any(map(str.strip, fields))), [])
        names = [name.strip().lower() for name in named]
        if missing := [name for name in NEEDED if name not in names]:
            raise SftError(f"{path}: has no {', '.join(missing)} in its first line. {REMEDY}")
        if twice := [name for name in (*TEXTS, "answer", "number") if names.count(name) > 1]:
            raise SftError(f"{path}: has the column {twice[0]} twice; take one of them out")
        start = reader.line_num + 1
        for fields in reader:
            place, start = f"{path.name}:{start}", reader.line_num + 1
            if any(map(str.strip, fields[len(names) :])):
                wrong = f"has {len(fields)} cells, and the first line names {len(names)}: {QUOTES}"
                yield Answer(place, wrong=wrong, text=delimiter.join(fields))
            elif any(map(str.strip, fields)):
                yield _row(place, dict(zip(names, fields, strict=False)), delimiter.join(fields))
    except csv.Error as error:
        raise SftError(f"{path}:{start}: {error}: {QUOTES}") from None


def _row(place: str, cells: Mapping[str, str], text: str) -> Answer:
    given = {name: unescaped(cells.get(name, "")) for name in TEXTS}
    answer = unescaped(cells.get("answer", ""))
    number = cells.get("number", "").strip().removesuffix(".0")  # some spreadsheets make 17.0 of 17
    if number and not (number.isdecimal() and len(number) < DIGITS):
        return Answer(place, wrong=f"number is {number[:60]!r}; it is the item's, such as 17", text=text)
    return Answer(place, answer=answer or None, number=int(number) if number else None, **given)
