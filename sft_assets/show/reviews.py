"""The review loop: what a queue asks, what came of people's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import plain

if TYPE_CHECKING:
    from sft_assets.reviews.answers.importing import Imported
    from sft_assets.reviews.queue.exporting import Exported

SHOWN = 10  # refused answers


def queue(made: Exported, kinds: Sequence[str] = ()) -> None:
    """What a queue asks, of which kinds, and how to go on. kinds: those that were asked for."""
    from sft_assets.reviews.queue import ASKED

    if made.warning:
        console.out.print(f"[yellow]{plain(made.warning)}[/]", soft_wrap=True)
    counts = Counter(item.asked for item in made.queue.items)
    table = Table("asked", "items", "left out", "because", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for kind, why in ASKED.items():
        left = made.queue.left_out.get(kind, 0)
        if counts[kind] or left or kind in kinds:
            table.add_row(kind, f"{counts[kind]:,}", f"{left:,}" if kind != "audit" else "", why)
    if table.rows:
        console.out.print(table)
    if made.folder is None:
        rest = sum(made.queue.left_out.values())
        _say(f"nothing was written: the budget is {made.queue.budget}" if rest or not made.queue.budget
             else "there is nothing to ask: nobody is needed, or all of it was answered")  # fmt: skip
        return
    if names := sorted({name for item in made.queue.items for name in item.reviewers}):
        dealt = {name: sum(name in item.reviewers for item in made.queue.items) for name in names}
        both = sum(len(item.reviewers) == len(names) for item in made.queue.items) if len(names) > 1 else 0
        _say(f"{_counts(dealt)}" + (f"; {both:,} of them for each" if both else ""))
    _say(f"queue {made.queue.name}: {len(made.queue.items):,} items")
    for path in made.files:
        _say(f"  {path}")
    _say("`sft serve` asks them on its page /review; what another tool gives back: `sft review import FILE`")


def imported(found: Imported, file: str, log: str, follow: Sequence[str]) -> None:
    """What was recorded of a file of answers, what was not, and what it makes stale."""
    if found.warning:
        console.out.print(f"[yellow]{plain(found.warning)}[/]", soft_wrap=True)
    for refusal in found.refused[:SHOWN]:
        console.out.print(f"[yellow]refused[/] {plain(str(refusal))}", soft_wrap=True)
    if found.refused_in is not None:
        n = len(found.refused)
        _say(f"{n:,} answers were refused; they are in {found.refused_in}, where they can be mended, and imported then")
    if found.recorded:
        decisions = ", ".join(f"{decision} {n:,}" for decision, n in found.by_decision.items())
        _say(f"recorded in {log}: {len(found.recorded):,} answers of {file} ({decisions})")
        _say(f"  by reviewer: {_counts(found.by_reviewer)}")
        if found.by_state:
            _say(f"  about: {_counts(found.by_state)}")
    else:
        _say(f"nothing was recorded of {file}")
    for n, what in (
        (found.standing, "stood already, and were not written again"),
        (found.outdated, "are older than what their reviewer said since, and do not count"),
        (found.corrected, "were corrected further down by the same reviewer"),
        (found.blank, "without an answer"),
        (found.ahead, "have a time in the future, and count as given now"),
    ):
        if n:
            _say(f"  {n:,} {what}")
    if found.disputed:
        _say(f"disputed: reviewers differ about {found.disputed:,} items, which count for nobody; the next queue asks again")
    if not found.changed:
        _say("no state is stale by it" + (", but the report that tells of it" if found.recorded else ""))
        return
    after = f", and what follows if they come out different: {', '.join(follow)}" if follow else ""
    _say(f"stale now: {', '.join(found.changed)}{after}. `sft run` applies it")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _say(text: str) -> None:
    console.out.print(plain(text), soft_wrap=True)
