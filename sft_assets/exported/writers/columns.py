"""Configs of columns, in parquet shards: what TRL and `load_dataset` read.

Sft      data/train-00000-of-00001.parquet        messages, tools, source, license, language, row_id
Answers  preference/train-00000-of-00001.parquet  prompt, chosen, rejected, tools, source, ...
         preference/train.jsonl                   the same rows, tool calls as objects
         kto/...                                  prompt, completion, label, ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from sft_assets.arrow import messages_array
from sft_assets.exported.files import BySplit, ParquetShards, RecordFile
from sft_assets.exported.writers.rows import COMMON, Config, conversations, narrow, turns_type
from sft_assets.formats import messages, preference
from sft_assets.formats.writing import CannotHold
from sft_assets.record import Conversation, Message

LABEL = "label"
Made = tuple[dict[str, list[Message]], bool | None]  # the columns of turns of a row, and its label


class Sft:
    """The config `default`: conversations as TRL and the hub know them."""

    def __init__(self, root: Path, fields: Sequence[str]):
        self.schema = pa.schema([("messages", turns_type(fields)), *COMMON])
        self.fields = fields
        self.shards = BySplit(lambda split: ParquetShards(root, "data", split, self.schema))

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        columns = [narrow(rows.column("messages"), self.fields), *(rows.column(name) for name in COMMON.names)]
        self.shards[split].write(pa.RecordBatch.from_arrays(columns, schema=self.schema))

    def close(self) -> Config:
        return Config("default", self.schema, self.shards.close())


class Answers:
    """Rows about answers. `columns` names the columns of turns, and the label where there is one; `parts` gives them for a
    conversation: a row each, or none. A batch's first rows come before its second ones."""

    def __init__(
        self,
        root: Path,
        name: str,
        columns: Sequence[str],
        fields: Sequence[str],
        parts: Callable[[Conversation], Sequence[Made]],
        lines: bool = True,
    ) -> None:
        self.name, self.fields, self.parts = name, fields, parts
        self.turns = [c for c in columns if c != LABEL]
        self.schema = pa.schema([*((c, pa.bool_() if c == LABEL else turns_type(fields)) for c in columns), *COMMON])
        self.shards = BySplit(lambda split: ParquetShards(root, name, split, self.schema))
        self.files = BySplit(lambda split: RecordFile(root, f"{name}/{split}.jsonl")) if lines else None
        self.left_out: Counter[str] = Counter()

    def write(self, split: str, rows: pa.RecordBatch) -> None:
        made: list[tuple[int, int, Made]] = []  # which of a row's, which row
        for number, conversation in enumerate(conversations(rows)):
            try:
                made += [(which, number, part) for which, part in enumerate(self.parts(conversation))]
            except CannotHold as reason:
                self.left_out[reason.reason] += 1
        if not made:
            return
        made.sort(key=lambda m: m[:2])
        others = rows.select(COMMON.names).take(pa.array([number for _, number, _ in made]))
        labels = pa.array([label for _, _, (_, label) in made], pa.bool_())
        columns = [narrow(messages_array([turns[c] for _, _, (turns, _) in made]), self.fields) for c in self.turns]
        columns += [labels] if LABEL in self.schema.names else []
        self.shards[split].write(pa.RecordBatch.from_arrays([*columns, *others.columns], schema=self.schema))
        if self.files is not None:
            for (_, _, (turns, label)), rest in zip(made, others.to_pylist(), strict=True):
                told = {} if label is None else {LABEL: label}
                self.files[split].write({c: messages.write(turns[c]) for c in self.turns} | told | rest)

    def close(self) -> Config:
        parts = self.files.close() if self.files is not None else {}
        extra = {path: n for part in parts.values() for path, n in part.files.items()}
        return Config(self.name, self.schema, self.shards.close(), extra, self.left_out)


# ------------------------------------------------------------------------------------------------------------ parts


def pair(row: Conversation) -> list[Made]:
    """A preference pair in TRL's explicit form."""
    return [(preference.write(row), None)]


def unpaired(row: Conversation) -> list[Made]:
    """A labelled row in TRL's form: the last turn is what the label judges."""
    return [({"prompt": row.messages[:-1], "completion": row.messages[-1:]}, row.label)]


def judged(row: Conversation) -> list[Made]:
    """What KTO learns from: a labelled row, or both answers of a pair.

    TRL takes the answer of the row before as one to another prompt: the two of a pair must not be neighbours, and are not, as
    the good ones of a batch all come before the bad ones.
    """
    if row.kind != "preference":
        return unpaired(row)
    parts = preference.write(row)
    return [
        ({"prompt": parts["prompt"], "completion": parts[side]}, label)
        for side, label in (("chosen", True), ("rejected", False))
    ]


def last_answer(row: Conversation) -> list[Made]:
    """A conversation as the turns before its last answer, and that answer.

    Raises:
        CannotHold: last_turn_not_assistant, last_turn_not_trained, no_prompt.
    """
    *prompt, answer = row.messages
    if answer.role != "assistant":
        raise CannotHold("last_turn_not_assistant")
    if answer.weight == 0:
        raise CannotHold("last_turn_not_trained")
    if not prompt:
        raise CannotHold("no_prompt")
    return [({"prompt": prompt, "completion": [answer]}, None)]
