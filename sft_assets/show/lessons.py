"""What people teach, as tables: agreement, precision, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import plain

if TYPE_CHECKING:
    from sft_assets.errors import SftError
    from sft_assets.reviews.lessons import Lessons
    from sft_assets.reviews.lessons.agreement import Agreement
    from sft_assets.reviews.lessons.precision import Stratum
    from sft_assets.reviews.lessons.thresholds import Suggestion
    from sft_assets.scored.judgements.statistics import Figure

    Tried = tuple[int, int] | SftError

DISPUTED = 10  # rows that are named
TRIED = "rows of the state, once what people decided is applied, which no threshold overrides"


def lessons(found: Lessons, tried: Mapping[str, Tried]) -> None:
    """What people taught. tried: rows that are kept without and with a suggested threshold, by signal, where that was asked."""
    if not found.decided:
        _say("Nobody has decided about a row yet: `sft review export` picks rows for people, and `sft serve` asks about them.")
        return
    if found.agreements:
        _agreement(found)
    else:
        _say(f"Rows that people decided about: {found.decided:,}, none of them in a queue; `sft review export` makes one.")
    if found.audited:
        _precision(found.audited)
    elif found.agreements:
        _say("\nHow often the pipeline is right is not known: none of the rows was drawn at random (asked: audit).")
    if found.asked:
        _asked(found.asked)
    if found.suggestions:
        _suggestions(found.suggestions, tried)


def _agreement(found: Lessons) -> None:
    some = [*found.agreements, *([found.together] if found.together else [])]
    by_two = any(one.kappa for one in some)
    header = "queue", "items", "by several", "the same", "alpha (95 %)", *(("kappa (95 %)",) if by_two else ()), "disputed"
    table = _table(*header, right=(1, 2, 3, len(header) - 1))
    table.columns[0].no_wrap = True
    for one in some:
        same = f"{100 * one.same.value:.0f} %" if one.same else ""
        numbers = f"{one.items:,}", f"{one.shared:,}", same, _figure(one.alpha), *((_figure(one.kappa),) if by_two else ())
        table.add_row(plain(one.queue) or "[bold]all[/]", *numbers, f"{len(one.disputed):,}")
    console.out.print(table)
    of_two = ", kappa: Cohen's, of two reviewers" if by_two else ""
    console.out.print(f"[dim]alpha: Krippendorff's{of_two}; 0 is chance, 1 is perfect[/]\n")
    _reviewers(found.together or found.agreements[0])
    disputed = [(of_queue.queue, one) for of_queue in found.agreements for one in of_queue.disputed]
    if disputed:
        _say(f"\ndisputed, so that they count for nobody; the next queue asks about them first: {len(disputed):,}")
    for queue, item in disputed[:DISPUTED]:
        said = ", ".join(f"{name} {verdict}" for name, verdict in item.said.items())
        _say(f"  {str(item.row_id)[:8]}  {item.about}: {said}  ({queue})")


def _reviewers(of: Agreement) -> None:
    table = _table("reviewer", "decided", "skipped", "with the majority", right=(1, 2))
    for one in of.reviewers:
        most = f"{one.with_most:,} of {one.shared:,}" if one.shared else ""
        table.add_row(plain(one.name), f"{one.decided:,}", f"{one.skipped:,}", most)
    console.out.print(table)


def _precision(audited: Sequence[Stratum]) -> None:
    console.out.print("\n[bold]How often the pipeline is right[/], of rows drawn at random")
    table = _table("what it did", "right", "share (95 %)", "undecided", "skipped", right=(1, 3, 4))
    for one in audited:
        cells = f"{one.right:,} of {one.n:,}", _percent(one.share), f"{one.undecided:,}", f"{one.skipped:,}"
        table.add_row(plain(one.about), *cells)
    console.out.print(table)
    console.out.print("[dim]kept: the rest is what slips through. All of it is about the pipeline as it was then[/]")


def _asked(asked: Sequence[Stratum]) -> None:
    console.out.print("\n[bold]Of those asked about[/] for other reasons [dim](no sample: it says nothing of all rows)[/]")
    table = _table("what it did", "people agree", "undecided", "skipped", right=(1, 2, 3))
    for one in asked:
        table.add_row(plain(one.about), f"{one.right:,} of {one.n:,}", f"{one.undecided:,}", f"{one.skipped:,}")
    console.out.print(table)


def _suggestions(suggested: Sequence[Suggestion], tried: Mapping[str, Tried]) -> None:
    console.out.print("\n[bold]Where people would draw the line[/]")
    table = _table("signal", "keep", "drop", "threshold (95 %)", "now", "catches", "costs", right=(1, 2, 5, 6))
    for one in suggested:
        counts = plain(one.signal.name), f"{one.keeps:,}", f"{one.drops:,}"
        if one.threshold is None:
            table.add_row(*counts, f"[dim]{one.silent}[/]")
            continue
        side, now = "above" if one.signal.above else "below", one.signal.now
        at = f"{side} {one.threshold.value:g} ({one.threshold.low:g} to {one.threshold.high:g})"
        shares = (f"{100 * figure.value:.0f} %" for figure in (one.caught, one.lost) if figure)
        table.add_row(*counts, at, "none" if now is None else f"{now:g}", *shares)
    console.out.print(table)
    if any(one.threshold for one in suggested):
        console.out.print("[dim]catches: of the rows that people drop; costs: of those that they keep[/]")
    for one in (one for one in suggested if one.threshold):
        what = tried.get(one.signal.name)
        command = f"sft what-if {one.signal.state} --set {one.assignment}"
        _say(f"  {command}" + (f"  {_outcome(what)}" if what is not None else ""))
    if any(one.threshold for one in suggested):
        console.out.print(f"[dim]{TRIED if tried else '--what-if tells what would come of them'}[/]")


def _outcome(tried: Tried) -> str:
    """What a threshold would do, in numbers."""
    if isinstance(tried, Exception):
        return f"cannot be tried: {tried}"
    now, then = tried
    return f"kept {now:,} -> {then:,} ({then - now:+,})" if then != now else f"kept {now:,}, as without it"


def _table(*header: str, right: Sequence[int]) -> Table:
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for column in right:
        table.columns[column].justify = "right"
    table.columns[0].overflow = "fold"  # names are never cut off
    return table


def _figure(figure: Figure | None) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})" if figure else ""


def _percent(figure: Figure | None) -> str:
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f})" if figure else ""


def _say(text: str) -> None:
    console.out.print(plain(text), soft_wrap=True)
