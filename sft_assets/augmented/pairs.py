"""Preference pairs that people made: of two rows of one prompt they said which answers it better.

    9f3c...  "Why is the sky blue?"  "It is the sea."                prefer_b  ->  pair 7c20...  chosen    "Air scatters ..."
    41d0...  "Why is the sky blue?"  "Air scatters short waves."     by ann                      rejected  "It is the sea."

A tie makes no pair. Either takes the place of a pair that a model's ratings made of the same two rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

from sft_assets.arrow import messages_array, uuids
from sft_assets.augmented.candidate import PEOPLE
from sft_assets.augmented.generations.rows import obligations
from sft_assets.record import Message, content_hash, digest, messages_of
from sft_assets.reviews import Decision
from sft_assets.warehouse.build import Build

Rows = frozenset[UUID]  # the two that were compared


@dataclass(frozen=True)
class Compared:
    """A row that was compared with another. prompt_group: the same for rows of one prompt."""

    row_id: UUID
    content_hash: UUID
    kind: str
    license: str | None
    language: str | None
    prompt_group: UUID | None
    messages: Sequence[Message]
    tools: str | None

    @property
    def system(self) -> list[Message]:
        return [turn for turn in self.messages if turn.role == "system"]

    @property
    def answer(self) -> Message:
        return self.messages[-1]


@dataclass(frozen=True)
class Pair:
    """A pair, and the decision that made it."""

    chosen: Compared
    rejected: Compared
    decision: Decision

    @cached_property
    def row_id(self) -> UUID:
        """A hash over the method and both contents."""
        return UUID(bytes=digest(PEOPLE.encode(), self.chosen.content_hash.bytes, self.rejected.content_hash.bytes))

    @cached_property
    def content_hash(self) -> UUID:
        return UUID(bytes=content_hash(self.chosen.messages, self.losing, self.chosen.tools))

    @property
    def losing(self) -> list[Message]:
        return [self.rejected.answer]

    @property
    def license(self) -> str | None:
        return obligations([self.chosen.license, self.rejected.license])

    @property
    def language(self) -> str | None:
        named = {row.language for row in (self.chosen, self.rejected) if row.language}
        return named.pop() if len(named) == 1 else None

    @property
    def told(self) -> dict[str, Any]:
        """For the ledger, of a pair that is not there: the rows that were compared, the preferred one first, and who did it."""
        return {"compared": [str(self.chosen.row_id), str(self.rejected.row_id)], "made_by": orjson.loads(self.made_by)}

    @property
    def made_by(self) -> str:
        """Who made it, as JSON."""
        one = self.decision
        told = {"reviewer": one.reviewer, "time": one.at, "why": one.why, "queue": one.queue}
        about = {"kind": "preference", "license": self.license, "language": self.language}
        return orjson.dumps({name: value for name, value in {**told, **about}.items() if value}).decode()


@dataclass
class Comparisons:
    """What people said of two rows each. settled: the decision about each two that is applied, ties too. pairs: what it made.
    without: why others that hold made none, by "row other". unused: those others. there: the rows that clustered has."""

    settled: dict[Rows, Decision] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)
    unused: list[Decision] = field(default_factory=list)
    there: set[UUID] = field(default_factory=set)

    @classmethod
    def of(cls, build: Build, decisions: Sequence[Decision]) -> Comparisons:
        """What comes of decisions about two rows, in the order in which they were made. They hold where both rows are there
        with the content that people saw; of several about the same two the last one counts."""
        rows = compared(build, {row for one in decisions for row in one.subject})
        found, last = cls(there=set(rows)), dict[Rows, Decision]()
        for one in decisions:
            if holds(one, rows):
                if before := last.get(frozenset(one.subject)):
                    found._leave(before, "decided_again")
                last[frozenset(one.subject)] = one
        made: dict[UUID, Pair] = {}
        for both, one in last.items():
            a, b = (rows[row] for row in one.subject)
            if reason := why_none(a, b):
                found._leave(one, reason)
                continue
            found.settled[both] = one
            if one.decision != "tie":
                pair = Pair(b, a, one) if one.decision == "prefer_b" else Pair(a, b, one)
                made.setdefault(pair.row_id, pair)
        there = _there(build, [pair.content_hash for pair in made.values()])
        for row_id in sorted(made):
            pair = made[row_id]
            if pair.content_hash in there:
                found.without[named(pair.decision)] = "is_there"
            else:
                found.pairs.append(pair)
        return found

    def _leave(self, one: Decision, reason: str) -> None:
        self.without[named(one)] = reason
        self.unused.append(one)

    @property
    def report(self) -> dict[str, Any]:
        """Counts, and why some made no pair; empty where nothing was compared."""
        if not self.settled and not self.without:
            return {}
        ties = sum(one.decision == "tie" for one in self.settled.values())
        return {"pairs": len(self.pairs), "ties": ties, "without_pair": self.without}


def named(one: Decision) -> str:
    """The two rows of a comparison, as the report calls them."""
    return " ".join(map(str, one.subject))


def holds(one: Decision, rows: Mapping[UUID, Compared]) -> bool:
    """Whether both rows are there as they were when people compared them."""
    seen = {one.row_id: one.content_hash, one.other: one.other_hash}
    return len(seen) == 2 and all(row in rows and rows[row].content_hash == content for row, content in seen.items() if row)


def why_none(a: Compared, b: Compared) -> str | None:
    """Why two rows are no pair, if they are none: what is chosen and what is rejected have to answer one prompt."""
    if (a.kind, b.kind) != ("sft", "sft"):
        return "no_answers"
    if a.prompt_group is None or a.prompt_group != b.prompt_group:
        return "other_prompt"
    if a.system != b.system:
        return "other_system_turn"
    if a.tools != b.tools:
        return "other_tools"
    texts = [(" ".join(row.answer.content.split()), row.answer.tool_calls) for row in (a, b)]
    return "equal_answers" if texts[0] == texts[1] else None


def compared(build: Build, ids: set[UUID]) -> dict[UUID, Compared]:
    """Those of these rows that clustered has."""
    if not ids:
        return {}
    build.con.register("asked", pa.table({"row_id": uuids(row.bytes for row in ids)}))
    rows = build.con.execute(f"""
        SELECT row_id, content_hash, kind, license, language, conflict_group, messages, tools
        FROM {build.of("clustered")} SEMI JOIN asked USING (row_id)
        JOIN (SELECT row_id, kind, license, language FROM {build.of("combined")} SEMI JOIN asked USING (row_id)) USING (row_id)
        JOIN (SELECT row_id, conflict_group FROM {build.of("deduped")}) USING (row_id)
        JOIN store.contents USING (content_hash)
    """).fetchall()
    build.con.unregister("asked")
    return {
        row_id: Compared(row_id, content, kind, license, language, group, messages_of(turns) or [], tools)
        for row_id, content, kind, license, language, group, turns, tools in rows
    }


def _there(build: Build, contents: Sequence[UUID]) -> set[UUID]:
    """Those of these contents that a row of clustered has."""
    if not contents:
        return set()
    build.con.register("asked", pa.table({"content_hash": uuids(one.bytes for one in contents)}))
    found = build.con.execute(
        f"SELECT content_hash FROM {build.of('clustered')} SEMI JOIN asked USING (content_hash)"
    ).fetchall()
    build.con.unregister("asked")
    return {content for (content,) in found}


def store(build: Build, pairs: Sequence[Pair]) -> None:
    """Put the texts of pairs into the content store."""
    contents = {
        "content_hash": uuids(pair.content_hash.bytes for pair in pairs),
        "messages": messages_array([pair.chosen.messages for pair in pairs]),
        "rejected": messages_array([pair.losing for pair in pairs]),
        "tools": pa.array([pair.chosen.tools for pair in pairs], pa.string()),
    }
    build.store("contents", "content_hash", pa.table(contents))
