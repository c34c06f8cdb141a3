"""A queue as a table for spreadsheets: D/queues/NAME/queue.csv, a line an item, with empty columns for the answers.

    queue,number,row_id,content_hash,asked,about,question,choices,prompt,response,other,signals,reviewers,decision,...
    20260102T030405Z-1f0c22ab,17,9f3c...,51ab...,audit,scored arithmetic,...,'=1+1 is what?,2,,{},"ann, bob",drop,...

A cell that a spreadsheet would take for a formula begins with an apostrophe (`escaped`), which whoever reads the file back
takes away again (`unescaped`). reviewers: who is to answer; empty: anybody. decision: one of `choices`; answer: of an edit, the
new text; why: may be empty; reviewer: who says so.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sft_assets.folder import write_whole
from sft_assets.reviews.queue.item import Item, Queue

NAME = "queue.csv"
ASKED_FOR = ("decision", "answer", "why", "reviewer")  # what reviewers fill in
COLUMNS = (
    "queue", "number", "row_id", "content_hash", "asked", "about", "question", "choices", "prompt", "response", "other",
    "signals", "reviewers", *ASKED_FOR,
)  # fmt: skip
FORMULA = re.compile(r"'*[=+\-@\t\r]")


def escaped(cell: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """The text of a cell that was `escaped`; one that was not is as it is."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write(queue: Queue, folder: Path) -> list[Path]:
    """Write the table into a folder; its path."""
    path = folder / NAME
    write_whole(path, table(queue.items).encode("utf-8-sig"))  # the mark tells spreadsheets that it is UTF-8
    return [path]


def table(items: Iterable[Item]) -> str:
    """Items as CSV, with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([escaped(cell) for cell in cells(item)] for item in items)
    return text.getvalue()


def cells(item: Item) -> Iterator[str]:
    """What the table says of an item."""
    turns = item.messages
    answered = bool(turns) and turns[-1].get("role") == "assistant"
    other = said(item.rejected) if item.rejected else ""
    if item.other is not None:
        other = item.other.text or said(item.other.messages)
    yield from (item.queue, str(item.number), str(item.row_id), str(item.content_hash), item.asked, item.about, item.question)
    yield " ".join(item.choices)
    yield said(turns[:-1] if answered else turns)
    yield said(turns[-1:]) if answered else ""
    yield other
    yield orjson.dumps(item.signals, default=str).decode()
    yield ", ".join(item.reviewers)
    yield from ("" for _ in ASKED_FOR)


def said(turns: list[dict[str, Any]]) -> str:
    """Turns as text, with their roles where there are several."""
    texts = []
    for turn in turns:
        calls = orjson.dumps(turn["tool_calls"]).decode() if turn.get("tool_calls") else ""
        text = "\n".join(filter(None, [turn.get("content") or "", calls]))
        texts.append(text if len(turns) == 1 else f"{turn.get('role', '')}: {text}")
    return "\n\n".join(texts)
