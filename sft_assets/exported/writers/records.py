"""Files of JSON records for the trainers and services that read one record a row.

    alpaca/train.json             [{"instruction": ..., "input": "", "output": ..., ...}, ...]
    sharegpt/train.json           [{"conversations": [{"from": "human", "value": ...}, ...], "system": "", "tools": ""}, ...]
    openai/preference-train.jsonl {"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}

A row that a format cannot express is left out and counted by its reason: nothing is bent to fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sft_assets.exported.files import BySplit, RecordFile
from sft_assets.exported.writers.rows import Config, conversations
from sft_assets.formats import alpaca, openai, preference, sharegpt
from sft_assets.formats.writing import CannotHold
from sft_assets.record import Conversation

Record = dict[str, Any]


class Records:
    """A file a split. `path` names it, `records` gives those of a conversation; JSON lines where the name says so."""

    def __init__(self, root: Path, name: str, path: str, records: Callable[[Conversation], list[Record]]) -> None:
        self.name, self.records = name, records
        array = not path.endswith(".jsonl")
        self.files = BySplit(lambda split: RecordFile(root, path.format(split=split), array))
        self.left_out: Counter[str] = Counter()

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        for row in conversations(rows):
            try:
                records = self.records(row)
            except CannotHold as reason:
                self.left_out[reason.reason] += 1
                continue
            for record in records:
                self.files[split].write(record)

    def close(self) -> Config:
        parts = self.files.close()
        extra = {path: n for part in parts.values() for path, n in part.files.items()}
        return Config(self.name, None, extra_files=extra, left_out=self.left_out)


def alpaca_record(row: Conversation) -> list[Record]:
    if reason := alpaca.cannot_hold(row):
        raise CannotHold(reason)
    return [alpaca.write(row)]


def sharegpt_record(row: Conversation) -> list[Record]:
    return [sharegpt.write(row)]


def sharegpt_pair(row: Conversation) -> list[Record]:
    return [sharegpt.write_pair(row, **preference.write(row))]


def sharegpt_judged(row: Conversation) -> list[Record]:
    """A labelled row, or both answers of a pair: all of it or nothing."""
    if row.kind != "preference":
        return [sharegpt.write(row)]
    parts = preference.write(row)
    sides = ((parts["chosen"], True), (parts["rejected"], False))
    return [sharegpt.write(replace(row, messages=parts["prompt"] + answer, label=label)) for answer, label in sides]


def openai_record(row: Conversation) -> list[Record]:
    return [openai.write(row)]


def openai_pair(row: Conversation) -> list[Record]:
    return [openai.write_pair(row, **preference.write(row))]
