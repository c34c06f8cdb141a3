"""How far reviewers agree: on items of a queue that two or more of them decided about.

    queue 20260102T030405Z-1f0c22ab   200 items, 40 of them by several   all said the same of 85 %  (71 to 93)
    alpha 0.71 (0.52 to 0.86), kappa of ann and bob 0.70 (0.50 to 0.86)   3 disputed
    ann   120 decisions, 4 skips   of 37 that most decided, with them in 36

Verdicts are compared, not what an edit says: two people who mend an answer agree that it is to be mended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sft_assets.reviews.counting import Item, disputed, votes, winners
from sft_assets.reviews.decisions import Decision
from sft_assets.reviews.people import names
from sft_assets.scored.judgements.statistics import Figure, alpha, kappa, share

Said = Mapping[str, Decision]  # of an item: what each reviewer says


@dataclass(frozen=True)
class Reviewer:
    """decided: items. shared: of them those with a verdict of most reviewers, and two or more who said something; with_most:
    the reviewer's own verdict was that one."""

    name: str
    decided: int
    skipped: int
    shared: int
    with_most: int


@dataclass(frozen=True)
class Disputed:
    """An item that reviewers differ about with no verdict ahead. said: by reviewer."""

    row_id: UUID
    about: str
    said: Mapping[str, str]


@dataclass(frozen=True)
class Agreement:
    """Of one queue, or of several together. items: that somebody decided about. shared: by two reviewers or more. same: the
    share of those of which all said the same. alpha: Krippendorff's, for classes. kappa: Cohen's, where there are just two
    reviewers. None: too few shared items, or all verdicts are equal, so that chance would do as well."""

    queue: str
    items: int
    shared: int
    same: Figure | None
    alpha: Figure | None
    kappa: Figure | None
    disputed: tuple[Disputed, ...]
    reviewers: tuple[Reviewer, ...]


def agreements(log: Iterable[Decision]) -> tuple[Agreement, ...]:
    """The agreement in each queue of which anything was said, the oldest first."""
    log = tuple(log)
    by_queue: dict[str, dict[Item, Said]] = {}
    for item, said in _votes(log).items():
        by_queue.setdefault(item[0], {})[item] = said
    open_items = set(disputed(log))
    return tuple(_agreement(queue, items, open_items) for queue, items in sorted(by_queue.items()))


def together(log: Iterable[Decision]) -> Agreement:
    """The agreement over all queues."""
    log = tuple(log)
    return _agreement("", _votes(log), set(disputed(log)))


def _votes(log: Sequence[Decision]) -> dict[Item, Said]:
    """What reviewers say of each item, by their names as they were written first."""
    written = names(log)
    return {item: {written[who]: one for who, one in said.items()} for item, said in votes(log).items()}


def opinions(said: Said) -> dict[str, Decision]:
    """What is said of an item, without those who skipped it."""
    return {name: one for name, one in said.items() if one.decision != "skip"}


def _agreement(queue: str, items: Mapping[Item, Said], open_items: set[Item]) -> Agreement:
    decided = {item: found for item, said in items.items() if (found := opinions(said))}
    shared = [found for found in decided.values() if len(found) > 1]
    verdicts = sorted({one.decision for found in shared for one in found.values()})
    counts = [[tally[v] for v in verdicts] for found in shared if (tally := Counter(d.decision for d in found.values()))]
    same = sum(max(line) == sum(line) for line in counts)
    return Agreement(
        queue=queue,
        items=len(decided),
        shared=len(shared),
        same=share(same, len(shared)),
        alpha=alpha(counts),
        kappa=_kappa(shared, verdicts),
        disputed=tuple(_disputed(item, decided[item]) for item in items if item in open_items),
        reviewers=_reviewers(items),
    )


def _kappa(shared: Sequence[Said], verdicts: Sequence[str]) -> Figure | None:
    both = sorted({name for found in shared for name in found})
    if len(both) != 2:
        return None
    ours, theirs = ([verdicts.index(found[name].decision) for found in shared] for name in both)
    return kappa(ours, theirs)


def _disputed(item: Item, said: Said) -> Disputed:
    return Disputed(item[1], next(iter(said.values())).about, {name: one.decision for name, one in said.items()})


def _reviewers(items: Mapping[Item, Said]) -> tuple[Reviewer, ...]:
    counts: dict[str, Counter[str]] = {}
    for said in items.values():
        won, several = winners(said), len(opinions(said)) > 1
        for name, one in said.items():
            count = counts.setdefault(name, Counter())
            if one.decision == "skip":
                count["skipped"] += 1
                continue
            count["decided"] += 1
            count["shared"] += several and bool(won)
            count["with_most"] += several and any(one is other for other in won)
    fields = ("decided", "skipped", "shared", "with_most")
    return tuple(Reviewer(name, *(count[f] for f in fields)) for name, count in sorted(counts.items()))
