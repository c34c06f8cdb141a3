"""How often the pipeline is right: what people say of rows that were drawn at random of all that it treated alike.

    deduped near_duplicate   20 drawn   19 right   95 %  (76 to 99)
    review mojibake          12 drawn    9 right   75 %  (47 to 91)
    kept                     60 drawn   57 right   95 %  (86 to 98)     so 5 % of the rows that stay are bad

To drop a row was right where people drop it as well; to mark it for review, where they drop or mend it; to keep it, where they
keep it. A row that was dropped and that people mend was worth keeping. `review`, a tie and a draw of several reviewers say
neither. What was asked for another reason than the draw (`asked`) is counted apart: those rows were chosen for being doubtful.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sft_assets.recipe import Methods
from sft_assets.reviews.counting import votes, winners
from sft_assets.reviews.decisions import Decision, Verdict
from sft_assets.scored.judgements.statistics import Figure, share
from sft_assets.warehouse.opening import STATES

KEPT, REVIEW = "kept", "review "  # what the pipeline did (Decision.about); all else begins with the state that dropped
Answer = Literal["right", "wrong", "undecided", "skipped"]
RIGHT: dict[str, tuple[Verdict, ...]] = {
    "kept": ("keep", "prefer_a"),  # of a comparison A is the row itself
    "review": ("drop", "edit", "prefer_b"),
    "dropped": ("drop",),
}
WRONG: dict[str, tuple[Verdict, ...]] = {
    "kept": ("drop", "edit", "prefer_b"),
    "review": ("keep", "prefer_a"),
    "dropped": ("keep", "edit", "prefer_a", "prefer_b"),
}


@dataclass(frozen=True)
class Stratum:
    """Rows that the pipeline treated alike, as people see them. about: state and reason, 'review REASON' or 'kept'."""

    about: str
    right: int
    wrong: int
    undecided: int
    skipped: int

    @property
    def n(self) -> int:
        """Rows with a verdict of people."""
        return self.right + self.wrong

    @property
    def share(self) -> Figure | None:
        """How often it was right, with Wilson's interval."""
        return share(self.right, self.n)


def strata(log: Iterable[Decision], audit: bool = True) -> tuple[Stratum, ...]:
    """What people say of each stratum: 'kept' first, then by state. audit: of rows that were drawn at random, or else of those
    that were asked about for another reason. A row that several queues asked about counts once, the last verdict."""
    answers: dict[tuple[Any, ...], Answer] = {}
    for (_, *row), said in votes(log).items():
        one = next(iter(said.values()), None)
        if one is None or not one.about or one.other is not None or one.audit != audit:
            continue  # of two rows compared the pipeline has said nothing that could be right
        key, answer = (one.about, *row), _answer(one.about, list(said.values()), winners(said))
        if answer in ("right", "wrong") or answers.get(key) not in ("right", "wrong"):
            answers[key] = answer
    counts: dict[str, Counter[Answer]] = {}
    for (about, *_), answer in answers.items():
        counts.setdefault(about, Counter())[answer] += 1
    fields: tuple[Answer, ...] = ("right", "wrong", "undecided", "skipped")
    return tuple(Stratum(about, *(counts[about][f] for f in fields)) for about in sorted(counts, key=_place))


def done(about: str) -> str:
    """What the pipeline did with the rows of a stratum: 'kept', 'review' or 'dropped'. (A generated row that is there is asked
    about by the method that made it: 'augmented self_instruct'.)"""
    state, _, reason = about.partition(" ")
    if state == KEPT or (state == "augmented" and reason in Methods.model_fields):
        return KEPT
    return "review" if about.startswith(REVIEW) else "dropped"


def _answer(about: str, said: list[Decision], won: list[Decision]) -> Answer:
    if all(one.decision == "skip" for one in said):
        return "skipped"
    verdict = won[-1].decision if won else None
    if verdict in RIGHT[done(about)]:
        return "right"
    return "wrong" if verdict in WRONG[done(about)] else "undecided"


def _place(about: str) -> tuple[int, str]:
    state = about.split(" ", 1)[0]
    return (-1 if about == KEPT else STATES.index(state) if state in STATES else len(STATES)), about
