"""Which rows a queue asks about: the kinds in turn, each kind's best first, and a random sample beside them.

    budget 8, of which a quarter is audit    disputed marked paraphrase audit  signals threshold disputed audit

The sample is drawn before the others choose, from every row that nobody decided about: what it says of a stratum is not bent by
what the other kinds took out of it. Where the others are too few it goes on, and a row that it draws of theirs counts for both.
A row is asked about once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.reviews.counting import disputed
from sft_assets.reviews.decisions import Decision
from sft_assets.reviews.queue.item import ASKED, Asked, Item, load
from sft_assets.reviews.queue.kinds import best, find
from sft_assets.reviews.queue.standing import Standing

AUDIT = 4  # a question of so many is of the audit, where there are enough rows


@dataclass(frozen=True)
class Candidate:
    """A row that may be asked about. evidence: what the ledger says of it. audit: whether it was drawn. again: the item that
    reviewers differ about."""

    asked: Asked
    row_id: UUID
    content_hash: UUID
    state: str
    verdict: str
    about: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    other_id: UUID | None = None
    other_hash: UUID | None = None
    audit: bool = False
    again: Item | None = None


@dataclass(frozen=True)
class Picked:
    """What was chosen, in the order in which it is asked, and how many rows of each kind there is no budget for."""

    candidates: list[Candidate]
    left_out: dict[str, int]


def pick(rows: Standing, folder: Folder, log: Sequence[Decision], budget: int, kinds: Collection[Asked] = ()) -> Picked:
    """Choose as many rows as the budget allows, of these kinds (default: all)."""
    found: dict[Asked, list[Candidate]] = {}
    totals: dict[Asked, int] = {}
    for asked in ASKED:
        if kinds and asked not in kinds:
            continue
        if asked == "disputed":
            found[asked] = _disputed(rows, folder, log)
            totals[asked] = len({one.row_id for one in found[asked]})
        else:
            totals[asked] = find(rows, asked)
            # of those before a row of its turn at most `budget` are taken already
            found[asked] = [_candidate(asked, row) for row in best(rows, asked, 2 * budget)]
    if "audit" in found:  # people have looked at what is disputed: as an item of the audit, where it was one
        looked_at = {one.row_id for one in found.get("disputed", ())}
        found["audit"] = [one for one in found["audit"] if one.row_id not in looked_at]
    chosen = choose(found, budget)
    taken = {one.row_id for one in chosen}
    left = {asked: total - _taken(rows, asked, taken, found) for asked, total in totals.items() if asked != "audit"}
    return Picked(chosen, {asked: rest for asked, rest in left.items() if rest})


def choose(found: Mapping[Asked, Sequence[Candidate]], budget: int) -> list[Candidate]:
    """Of the candidates of each kind, the best first, as many as the budget allows; the kinds are mixed."""
    audit = list(found.get("audit", ()))
    others: dict[Asked, Sequence[Candidate]] = {asked: some for asked, some in found.items() if asked != "audit"}
    rows = {one.row_id for some in found.values() for one in some}
    share = -(-min(budget, len(rows)) // AUDIT)
    sample = [replace(one, audit=True) for one in audit[:share]]
    rest = list(_in_turn(others, budget - len(sample), {one.row_id for one in sample}))
    place = {one.row_id: n for n, one in enumerate(rest)}
    for one in audit[share:]:  # the others are too few: the sample goes on
        if len(sample) + len(rest) == budget:
            break
        if one.row_id not in place:
            sample.append(replace(one, audit=True))
        elif rest[place[one.row_id]].about == one.about:  # it is asked about just that already
            rest[place[one.row_id]] = replace(rest[place[one.row_id]], audit=True)
    mixed = [(n / len(rest), one) for n, one in enumerate(rest)]  # the most urgent comes first of all
    mixed += [((n + 0.5) / len(sample), one) for n, one in enumerate(sample)]
    return [one for _, one in sorted(mixed, key=lambda entry: entry[0])]


def _in_turn(others: Mapping[Asked, Sequence[Candidate]], most: int, taken: set[UUID]) -> Iterator[Candidate]:
    """The best of each kind that is not taken, then the next of each."""
    queues = {asked: iter(some) for asked, some in others.items()}
    while queues:
        for asked in list(queues):
            if most <= 0:
                return
            one = next((one for one in queues[asked] if one.row_id not in taken), None)
            if one is None:
                del queues[asked]
                continue
            taken.add(one.row_id)
            most -= 1
            yield one


def _taken(rows: Standing, asked: Asked, taken: Collection[UUID], found: Mapping[Asked, Sequence[Candidate]]) -> int:
    """How many rows of a kind are asked about, for whatever reason."""
    if asked == "disputed":
        return len({one.row_id for one in found[asked]} & set(taken))
    rows.con.register("given", pa.table({"row_id": uuids([row_id.bytes for row_id in taken])}))
    number = rows.con.execute(f"SELECT count(*) FROM asked_as_{asked} SEMI JOIN given USING (row_id)").fetchall()[0][0]
    rows.con.unregister("given")
    return int(number)


def _candidate(asked: Asked, row: Mapping[str, Any]) -> Candidate:
    return Candidate(asked, **{**row, "evidence": orjson.loads(row["evidence"] or "{}")})


def _disputed(rows: Standing, folder: Folder, log: Sequence[Decision]) -> list[Candidate]:
    """What reviewers differ about, the newest first, as long as the row and the verdict that was asked about are there."""
    items: list[Item] = []
    queues: dict[str, Mapping[tuple[Any, ...], Item]] = {}
    for key in reversed(disputed(log)):
        if (name := key[0]) not in queues:
            try:
                asked_then = load(folder, name).items
            except SftError:
                asked_then = ()  # the queue is gone, so nobody knows what was asked
            queues[name] = {item.key: item for item in asked_then}
        if item := queues[name].get(key):
            items.append(item)
    if not items:
        return []
    hashes = [item.other.content_hash if item.other else None for item in items]
    given = {
        "n": pa.array(range(len(items))),
        "row_id": uuids([item.row_id.bytes for item in items]),
        "content_hash": uuids([item.content_hash.bytes for item in items]),
        "state": pa.array([item.state if item.verdict == "dropped" else None for item in items], pa.string()),
        "other_hash": uuids([None if one is None else one.bytes for one in hashes]),
    }
    rows.con.register("given", pa.table(given))
    stands = rows.con.execute("""
        SELECT n FROM given SEMI JOIN asked_rows USING (row_id, content_hash)
        LEFT JOIN (SELECT row_id, list(state) AS states FROM asked_gone GROUP BY row_id) AS g USING (row_id)
        WHERE if(given.state IS NULL, states IS NULL, coalesce(list_contains(states, given.state), false))
          AND (given.other_hash IS NULL OR given.other_hash IN (SELECT content_hash FROM asked_rows))
        ORDER BY n
    """).fetchall()
    rows.con.unregister("given")
    again = [items[n] for (n,) in stands]
    return [
        Candidate("disputed", item.row_id, item.content_hash, item.state, item.verdict, item.about, again=item)
        for item in again
    ]
