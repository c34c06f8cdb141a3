"""How far decontamination and the judge can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import percent, plain, short

if TYPE_CHECKING:
    from sft_assets.decontaminated.check import Check
    from sft_assets.scored.judgements.check import Check as JudgeCheck

EXAMPLES = 5


def canaries(found: Check) -> None:
    """What the stage found of the planted copies, by kind and length, and what it flagged that is none."""
    lengths = list(dict.fromkeys(recall.words for recall in found.recalls))
    header = "copy", "planted", *(f"{words} words" for words in lengths), "right item", "or candidate"
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for kind in dict.fromkeys(recall.kind for recall in found.recalls):
        some = [recall for recall in found.recalls if recall.kind == kind]
        of_length = {one.words: percent(one.found, one.planted) for one in some}
        planted, named = sum(one.planted for one in some), sum(one.candidates for one in some)
        right = percent(sum(one.right for one in some), named)
        table.add_row(kind, f"{planted:,}", *(of_length.get(words, "") for words in lengths), right, percent(named, planted))
    console.out.print(table)
    for benchmark, why in sorted(found.unprotected.items()):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(why.items()))
        console.out.print(f"not planted, as no rule protects them: {plain(benchmark)}: {reasons}", soft_wrap=True)
    for what in found.not_tested:
        console.out.print(f"not tested: {plain(what)}", soft_wrap=True)
    if found.missed:
        console.out.print(f"missed {len(found.missed):,}, such as:")
        for canary in found.missed[:EXAMPLES]:
            text = f"{' '.join(canary.owner)}  {short(canary.turns[0][1], 160)}"
            console.out.print(f"  {canary.kind}  {plain(text)}", soft_wrap=True)
    console.out.print(f"flagged that is no leak: {len(found.flagged):,} of {found.decoys:,} decoys and {found.rows:,} rows")
    for one in found.flagged[:EXAMPLES]:
        console.out.print(f"  {plain(one.what)}: {plain(short(one.text, 160))}", soft_wrap=True)
        console.out.print(f"    {plain(short(one.item, 160))}", soft_wrap=True)


def judge(found: JudgeCheck) -> None:
    """What was measured of a judge."""
    console.out.print(
        f"[bold]{plain(found.rubric)}[/] by {plain(found.model)}: {plain(counted(found.statuses))}", soft_wrap=True
    )
    table = Table("measured", "value", "95 % interval", "rows", "", box=None, header_style="bold", pad_edge=False)
    for line in found.lines:
        figure = line.figure
        show: Callable[[float], str] = (lambda v: f"{100 * v:.0f} %") if line.percent else (lambda v: f"{v:.2f}")
        cells = (
            (show(figure.value), f"{show(figure.low)} to {show(figure.high)}", f"{figure.n:,}")
            if figure
            else ("[dim]too few rows[/]", "", "")
        )
        table.add_row(line.what, *cells, f"[dim]{line.reading}[/]")
    console.out.print(table)
    console.out.print(
        f"a row that was judged and kept took {found.tokens_per_kept_row:,.0f} tokens and cost {found.cost_per_kept_row:.6f}, "
        "by all rubrics and runs"
    )
    console.out.print(f"[dim]this check made {found.calls:,} calls, which cost {found.cost:.4f}[/]")
    if found.stopped:
        console.out.print(f"[yellow]{plain(found.stopped)}[/]", soft_wrap=True)


def counted(counts: Mapping[str, int]) -> str:
    """'scored 38, unparsed 2'."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())
