"""What the methods start from, out of the clustered rows, the gaps and the chunks.

    Gathered(evidence, recipe).of("self_instruct").wanted(None)   ->   [Cell(3, "fractions", "hard", "short", "en"), ...]

Which rows are taken is a hash of the recipe's seed, the method and the row's id: the same rows in every run, and a row that is
added later moves none of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, cycle, islice, zip_longest
from math import ceil
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from sft_assets.arrow import uuids
from sft_assets.augmented.candidate import Cell, Chunk, Parent
from sft_assets.augmented.gaps.asset import ONE_USER_TURN
from sft_assets.evidence import Evidence
from sft_assets.recipe import Recipe
from sft_assets.record import messages_of

TARGETED = ("self_instruct", "evol_instruct", "personas")  # methods that choose the cell of what they make
OF_ANY_LANGUAGE = ("self_instruct",)  # of these, those that need no row of the cell's language
SIZED = (*TARGETED, "documents")  # methods of which the gaps say how much is to be made
MATCHED = ("difficulty", "length", "turns")  # of a cell: rows that have these come first
INSTRUCTION = "list_filter(messages, lambda m: m.role = 'user')[-1].content"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Gathered:
    """All there is to start from. `method`: whose view of it this is."""

    evidence: Evidence
    recipe: Recipe
    method: str = ""

    def of(self, method: str) -> Gathered:
        """The same for a method, with its part of what is missing."""
        made = replace(self, method=method)
        for shared in ("index", "cells"):  # read once
            made.__dict__[shared] = getattr(self, shared)
        return made

    # -------------------------------------------------------------------------------------------------- what there is

    @cached_property
    def index(self) -> Index:
        with self.evidence.reading() as con:
            return Index.of(con, self.evidence)

    @cached_property
    def cells(self) -> list[tuple[Cell, int, int]]:
        """Each cell with the rows that it has, and that it lacks; those that lack most first."""
        with self.evidence.reading() as con:
            found = con.execute(f"""
                SELECT topic_id, topic_name, difficulty, length, language, turns, rows, missing FROM {self.evidence.of("gaps")}
                ORDER BY missing DESC, rows, topic_id, difficulty, length, language, turns
            """).fetchall()
        return [(Cell(*row[:6]), row[6], row[7]) for row in found]

    # ------------------------------------------------------------------------------------------------ what is wanted

    def wanted(self, rows: int | None) -> list[Cell]:
        """The cell of each row that the method is to try."""
        queue = self._queue()
        if rows is None:
            return queue
        if not queue:  # nothing is missing, or not enough for this method to get a part: cells as they are
            queue = [cell for cell, _, missing in self.cells if missing] or [cell for cell, has, _ in self.cells if has]
        return list(islice(cycle(queue), rows)) if queue else [Cell()] * rows

    def _queue(self) -> list[Cell]:
        """This method's part of all rows that are to be tried for: a cell at a time from each that lacks some."""
        more = self.recipe.generations.oversample
        tries = [[(cell, n) for n in range(ceil(missing * more))] for cell, _, missing in self.cells if missing > 0]
        turns = [one for turn in zip_longest(*tries) for one in turn if one is not None]
        sized = [name for name in SIZED if name in self.recipe.generations.methods.chosen]
        if self.method in TARGETED:
            return [cell for cell, n in turns if self._owner(cell, n) == self.method]
        return [cell for cell, _ in turns[: ceil(len(turns) / len(sized))]] if self.method in sized else []

    def _owner(self, cell: Cell, n: int) -> str | None:
        """Which method tries for the n-th row that a cell lacks: by a hash, so that other gaps move it to no other. None: what
        they make would not be of this cell."""
        able = [name for name in TARGETED if name in self.recipe.generations.methods.chosen]
        if cell.turns == "multi":  # what they make is one question and its answer
            return None
        if cell.language is not None and cell.language not in self.index.values["language"]:
            able = [name for name in able if name in OF_ANY_LANGUAGE]
        drawn = xxhash.xxh64_intdigest(f"{self.recipe.generations.seed} {list(cell)} {n}".encode())
        return able[drawn % len(able)] if able else None

    # ------------------------------------------------------------------------------------------------------- rows

    def near(self, cell: Cell, number: int, salt: str) -> list[Parent]:
        """Rows like those that a cell lacks."""
        return self._parents(self.index.near(cell, self._salted(salt))[:number])

    def rows(self, number: int | None, salt: str) -> list[Parent]:
        """Rows of every topic in turns."""
        return self._parents(self.index.spread(self._salted(salt))[:number])

    def prompts(self, number: int | None) -> list[Parent]:
        """Rows that nobody has answered."""
        index = self.index
        some = np.flatnonzero(index.kind == PROMPT)
        return self._parents(some[np.argsort(index.draw(self._salted("prompts"))[some], kind="stable")][:number])

    def conflicts(self, number: int | None) -> list[list[Parent]]:
        """Rows of one prompt and different answers."""
        index = self.index
        some = np.flatnonzero((index.conflict >= 0) & (index.kind == ANSWERED))
        some = some[np.argsort(index.conflict[some], kind="stable")]
        of: dict[int, list[int]] = {}
        for row in some.tolist():
            of.setdefault(int(index.conflict[row]), []).append(row)
        lists = [rows for rows in of.values() if len(rows) > 1][:number]
        parents = iter(self._parents(np.array(list(chain(*lists)), np.int64)))
        return [list(islice(parents, len(rows))) for rows in lists]

    def instructions(self, topic: int | None) -> list[str]:
        """What users ask in the rows of a topic."""
        where = "true" if topic is None else f"topic_id = {int(topic)}"
        with self.evidence.reading() as con:
            found = con.execute(f"""
                SELECT {INSTRUCTION} FROM {self.evidence.rows("clustered")}
                WHERE {where} AND kind IN ('sft', 'prompt') ORDER BY row_id
            """).fetchall()
        return [text for (text,) in found if text]

    def chunks(self, number: int | None) -> list[Chunk]:
        """Chunks of every document in turns, under licences that combined.allowed_licenses allows."""
        allowed = self.recipe.combined.allowed_licenses
        with self.evidence.reading() as con:
            con.register("allowed", pa.table({"license": pa.array([name.lower() for name in allowed or []], pa.string())}))
            found = con.execute(
                f"""
                SELECT chunk_id, document, headings, start, stop, text, language, license, masked
                FROM {self.evidence.of("chunks")}
                WHERE {"true" if allowed is None else "lower(license) IN (FROM allowed)"}
                ORDER BY row_number() OVER (PARTITION BY document ORDER BY md5(chunk_id::VARCHAR || ?)), document
                {"" if number is None else f"LIMIT {int(number)}"}
                """,
                [str(self.recipe.generations.seed)],
            ).fetchall()
        return [Chunk(row[0].bytes, row[1], tuple(row[2] or ()), *row[3:]) for row in found]

    def present(self, rows: Collection[tuple[UUID, UUID]]) -> dict[UUID, tuple[Parent, int | None]]:
        """Of rows, each by its id and the hash of its content, those that are there as they were, each with its topic."""
        ordered = sorted(rows)
        chosen = {"row_id": [row for row, _ in ordered], "content_hash": [content for _, content in ordered]}
        return {
            UUID(bytes=parent.row_id): (parent, topic)
            for parent, topic in self._texts(
                pa.table({name: uuids([of.bytes for of in values]) for name, values in chosen.items()}),
                "USING (row_id, content_hash)",
                "row_id",
            )
        }

    def _salted(self, salt: str) -> str:
        return f"{self.recipe.generations.seed} {self.method} {salt}"

    def _parents(self, rows: Ints) -> list[Parent]:
        """Rows by their places in the index, with their texts."""
        chosen = pa.table({"row_id": self.index.row_id.take(pa.array(rows)), "place": pa.array(range(len(rows)), pa.int64())})
        return [parent for parent, _ in self._texts(chosen, "USING (row_id)", "place")]

    def _texts(self, chosen: pa.Table, using: str, order: str) -> list[tuple[Parent, int | None]]:
        """Clustered rows with their texts and topics."""
        if not len(chosen):
            return []
        with self.evidence.reading() as con:
            con.register("chosen", chosen)
            found = con.execute(f"""
                SELECT row_id, content_hash, messages, tools, coalesce(s.language, style_language), license, topic_id
                FROM {self.evidence.of("clustered")} JOIN chosen {using}
                JOIN (SELECT row_id, language, license FROM combined) AS s USING (row_id)
                JOIN store.contents USING (content_hash) ORDER BY {order}
            """).fetchall()
        return [
            (Parent(row_id.bytes, content.bytes, messages_of(turns) or [], tools, language, license), topic)
            for row_id, content, turns, tools, language, license, topic in found
        ]


ANSWERED, PROMPT, OTHER = 0, 1, 2


@dataclass(frozen=True)
class Index:
    """Rows without their texts. kind: ANSWERED rows may be seeds. codes: of each value of a cell's dimension; -1: null."""

    row_id: pa.Array
    low: npt.NDArray[np.uint64]  # half of each row's id
    kind: Ints
    conflict: Ints
    topic: Ints
    codes: Mapping[str, Ints]
    values: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, con: Any, evidence: Evidence) -> Index:
        """The clustered rows, in the order of their ids."""
        table = con.sql(f"""
            SELECT row_id, conflict_group, coalesce(topic_id, -1)::BIGINT AS topic, style_difficulty AS difficulty,
                style_length AS length, style_language AS language,
                if(style_turns > {ONE_USER_TURN}, 'multi', 'single') AS turns,
                CASE WHEN kind = 'prompt' AND verdict = 'keep' THEN {PROMPT}
                     WHEN kind = 'sft' AND verdict = 'keep' AND label IS DISTINCT FROM false THEN {ANSWERED}
                     ELSE {OTHER} END::BIGINT AS kind
            FROM {evidence.rows("clustered")} ORDER BY row_id
        """).to_arrow_table()
        ids = pa.concat_arrays(table["row_id"].chunks) if table.num_rows else pa.array([], pa.uuid())
        halves = np.frombuffer(b"".join(ids.storage.to_pylist()), "<u8").reshape(-1, 2)
        codes, values = {}, {}
        for name in ("difficulty", "length", "language", "turns"):
            column = table[name].combine_chunks().dictionary_encode()
            codes[name] = _filled(column.indices)
            values[name] = {value: code for code, value in enumerate(column.dictionary.to_pylist()) if value is not None}
        groups = table["conflict_group"].combine_chunks()
        groups = groups.storage if isinstance(groups, pa.ExtensionArray) else groups
        return cls(
            ids, halves[:, 1], table["kind"].to_numpy(), _filled(groups.dictionary_encode().indices),
            table["topic"].to_numpy(), codes, values,
        )  # fmt: skip

    def draw(self, salt: str) -> npt.NDArray[np.uint64]:
        """A number for each row that depends on its id and the salt alone (splitmix64's finalizer)."""
        x = self.low ^ np.uint64(xxhash.xxh64_intdigest(salt.encode()))
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        drawn: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
        return drawn

    def near(self, cell: Cell, salt: str) -> Ints:
        """Answered rows of the cell's topic and language, those that agree with more of its values first. Where the topic has
        none in that language, those of the topic; where it has none, all."""
        answered = self.kind == ANSWERED
        of_topic = answered & (self.topic == (-1 if cell.topic is None else cell.topic))
        in_language = of_topic & self._agrees("language", cell.language)
        some = np.flatnonzero(next((rows for rows in (in_language, of_topic) if rows.any()), answered))
        agreeing = np.sum([self._agrees(name, getattr(cell, name))[some] for name in MATCHED], axis=0)
        return some[np.lexsort((self.draw(salt)[some], -agreeing))]

    def spread(self, salt: str) -> Ints:
        """Answered rows: of each topic the first in its order, then of each the second, and so on."""
        some = np.flatnonzero(self.kind == ANSWERED)
        some = some[np.lexsort((self.draw(salt)[some], self.topic[some]))]
        topic = self.topic[some]
        starts = np.flatnonzero(np.concatenate([[True], topic[1:] != topic[:-1]])) if len(some) else np.zeros(0, np.int64)
        sizes = np.diff(np.append(starts, len(some)))
        place = np.arange(len(some)) - np.repeat(starts, sizes)
        return some[np.lexsort((topic, place))]

    def _agrees(self, name: str, value: str | None) -> npt.NDArray[np.bool_]:
        codes = self.codes[name]
        return np.ones(len(codes), np.bool_) if value is None else codes == self.values[name].get(value, -2)


def _filled(codes: Any) -> Ints:
    return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
