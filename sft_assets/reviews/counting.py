"""Which decisions count, where several were made: the policy for conflicts.

    queue q1, row 9f3c   ann: keep   bob: drop   cem: drop      ->  drop
    queue q1, row 41d0   ann: keep   bob: drop                  ->  nobody's: the pipeline's own verdict stands, and the next
                                                                    queue asks about the row first (disputed)
    queue q1, row 7b22   ann: keep   ann: undo                  ->  nobody's

1. Of an item of a queue each reviewer's last word counts, however they write their name (`people`). `undo` takes it back,
   `skip` is no opinion.
2. Where reviewers differ, the verdict of most of them counts, and nobody's where two verdicts have equally many.
3. Between queues, and what was decided without one (`sft select`), the last counts, for each row, content and state. Where it
   keeps the row, what took it out or marked it before counts no longer, in whatever state that was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sft_assets.reviews.decisions import Decision

Item = tuple[Any, ...]  # Decision.item


def votes(log: Iterable[Decision]) -> dict[Item, dict[str, Decision]]:
    """What reviewers say of each item of a queue, by person: their last word, `skip` too, unless they took it back."""
    found: dict[Item, dict[str, Decision]] = {}
    for one in log:
        if one.queue:
            said = found.setdefault(one.item, {})
            said.pop(one.person, None)
            if one.decision != "undo":
                said[one.person] = one
    return found


def winners(said: Mapping[str, Decision]) -> list[Decision]:
    """The decisions about an item that are those of most reviewers, in the order in which they were made; none where two
    verdicts have equally many."""
    opinions = [one for one in said.values() if one.decision != "skip"]
    ranked = Counter(one.says for one in opinions).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return []
    return [one for one in opinions if one.says == ranked[0][0]]


def counting(log: Iterable[Decision]) -> tuple[Decision, ...]:
    """The decisions that count, in the order in which they were made."""
    log = tuple(log)
    won = {id(some[-1]) for said in votes(log).values() if (some := winners(said))}
    last: dict[Any, Decision] = {}
    against: dict[Any, list[Decision]] = {}  # by row and content
    for one in log:
        if not one.queue or id(one) in won:
            last.pop(one.key, None)  # the last one stands at its own place in the order
            if one.decision == "keep":
                for earlier in [d for d in against.pop(one.key[:2], []) if last.get(d.key) is d]:
                    del last[earlier.key]
            elif one.decision in ("drop", "review"):
                against.setdefault(one.key[:2], []).append(one)
            last[one.key] = one
    return tuple(last.values())


def disputed(log: Iterable[Decision]) -> list[Item]:
    """The items that reviewers differ about, with no verdict ahead, and that nobody decided since. (What is said of a
    comparison of two rows decides nothing about one of them; of a dropped row no comparison is needed.)"""
    log = tuple(log)
    place = {id(one): n for n, one in enumerate(log)}
    counted = counting(log)
    settled = {(one.row_id, one.content_hash, one.other): place[id(one)] for one in counted}
    dropped = {one.row_id: place[id(one)] for one in counted if one.decision == "drop"}
    found = []
    for item, said in votes(log).items():
        opinions = [one for one in said.values() if one.decision != "skip"]
        _, row_id, _, other = item
        newest = max((place[id(one)] for one in opinions), default=-1)
        since = max(settled.get(item[1:], -1), dropped.get(row_id, -1), dropped.get(other, -1))
        if len(opinions) > 1 and not winners(said) and since < newest:
            found.append(item)
    return found
