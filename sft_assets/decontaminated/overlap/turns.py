"""Every text of a batch of rows, as columns that kernels read: what each turn says, reasons and calls, rejected turns too.

messages [{user, "Name a river."}, {assistant, "The Elbe.", reasoning: "..."}]  rejected [{assistant, "Rome."}]
->  content (user 1, assistant 2), reasoning (assistant 2), content of rejected
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.arrow import MESSAGES, uuids

PARTS = ("content", "reasoning", "tool_calls")  # what of a turn a model is trained on
SIDES = ("messages", "rejected")


def numbered(rows: Iterable[Sequence[tuple[str, str]]], size: int = 4096) -> Iterator[pa.RecordBatch]:
    """Rows of (role, content) as batches of so many rows with row_id, messages and rejected; the id of row n is n."""
    rows, first = iter(rows), 0
    while some := list(islice(rows, size)):
        messages = [[{"role": role, "content": content} for role, content in row] for row in some]
        yield pa.record_batch(
            {
                "row_id": uuids([n.to_bytes(16, "big") for n in range(first, first + len(some))]),
                "messages": pa.array(messages, MESSAGES),
                "rejected": pa.nulls(len(some), MESSAGES),
            }
        )
        first += len(some)


class Place(NamedTuple):
    """A text of a batch: which row, side, turn (from 0) and part."""

    row: int
    side: str
    turn: int
    part: str


class Where(NamedTuple):
    """A text of a row, for people. `turn` counts from 1, or names a turn of the rejected answer."""

    turn: int | str
    role: str
    part: str


class Column(NamedTuple):
    """One part of the turns of one side. bounds: row i has the turns from bounds[i] to bounds[i + 1]."""

    side: str
    part: str
    texts: Any
    bounds: npt.NDArray[np.int64]

    def place(self, text: int) -> Place:
        row = int(np.searchsorted(self.bounds, text, "right")) - 1
        return Place(row, self.side, int(text - self.bounds[row]), self.part)


class Turns(NamedTuple):
    """The texts of a batch with columns row_id, messages and rejected."""

    ids: Any
    columns: list[Column]
    roles: dict[str, Any]
    bounds: dict[str, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Turns:
        columns, roles, bounds = [], {}, {}
        for side in SIDES:
            lists = batch.column(side)
            if lists.null_count == len(lists):
                continue
            turns = lists.flatten()
            sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
            bounds[side] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            names = {turns.type.field(i).name: i for i in range(turns.type.num_fields)}
            roles[side] = turns.field(names["role"])
            for part in PARTS:
                texts = turns.field(names[part])
                if texts.null_count < len(texts):
                    columns.append(Column(side, part, texts, bounds[side]))
        return cls(batch.column("row_id"), columns, roles, bounds)

    @property
    def rows(self) -> int:
        return len(self.ids)

    def row_id(self, row: int) -> bytes:
        value: bytes = self.ids.storage[row].as_py()
        return value

    def text(self, place: Place) -> str:
        column = next(c for c in self.columns if (c.side, c.part) == (place.side, place.part))
        return column.texts[int(self.bounds[place.side][place.row]) + place.turn].as_py() or ""

    def after(self, place: Place) -> Place | None:
        """What is said in the turn after this one."""
        bounds = self.bounds[place.side]
        more = place.turn + 1 < bounds[place.row + 1] - bounds[place.row]
        return place._replace(turn=place.turn + 1, part="content") if more else None

    def described(self, place: Place) -> Where:
        bounds = self.bounds[place.side]
        role = self.roles[place.side][int(bounds[place.row]) + place.turn].as_py()
        turn: int | str = place.turn + 1
        if place.side == "rejected":
            turn = "rejected" if bounds[place.row + 1] - bounds[place.row] == 1 else f"rejected {place.turn + 1}"
        return Where(turn, role, place.part)
