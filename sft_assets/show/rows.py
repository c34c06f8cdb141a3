"""Rows: the life of one, those that a search found, that were decided upon, that are marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import plain, short, turns

if TYPE_CHECKING:
    from sft_assets.clustered.search import Found
    from sft_assets.explain import Life
    from sft_assets.reviews.selection import Selected

AROUND = 100  # characters of a row before and after what it shares with a test item
MARKED = ("spans", "matched", "item")  # of a leak, shown in the texts themselves


def life(one: Life) -> None:
    title = f"{one.row_id}  " if one.row_id else ""
    origin = f" ({one.format}, source {plain(one.source)})" if one.format else ""
    console.out.print(f"[bold]{title}[/]{plain(one.place)}{origin}", soft_wrap=True)
    colour: Callable[[str], str] = lambda v: {"kept": "green", "made": "green", "not built": "dim"}.get(v, "red")  # noqa: E731
    for step in one.steps:
        reason = f"  {plain(step.reason)}" if step.reason else ""
        console.out.print(f"  {step.state:<15} [{colour(step.verdict)}]{step.verdict}[/]{reason}")
        for what, before in step.edits:
            console.out.print(f"  {'':<15} [yellow]{what}[/] {plain(short(before))}", soft_wrap=True)
        if step.reviewed:
            console.out.print(f"  {'':<15} [cyan]{plain(short(step.reviewed))}[/]", soft_wrap=True)
        for key, value in step.evidence.items():
            if key == "rules":
                for rule in value:
                    console.out.print(
                        f"  {'':<15} " + plain(", ".join(f"{k}: {short(v)}" for k, v in rule.items())), soft_wrap=True
                    )
            elif key not in MARKED or "spans" not in step.evidence:
                console.out.print(f"  {'':<15} {key}: {plain(short(value))}", soft_wrap=True)
        if "spans" in step.evidence:
            leak(step.evidence, one.messages)
    for decision in one.unapplied:
        console.out.print(f"  {'decided':<15} [cyan]{plain(short(decision))}[/]", soft_wrap=True)
    turns("this row", one.messages)
    if one.kept_messages:
        turns(f"the row that stayed, {one.kept_place}", one.kept_messages)
    console.out.print()
    for parent in one.parents:
        console.out.print(f"[bold]made from[/] {plain((parent.row_id or '')[:8])}")
        life(parent)


def leak(evidence: Mapping[str, Any], messages: Any) -> None:
    """Both texts of a leak, what they share in »bold«: the turn where the row has it, the item where it is shown whole."""
    turn, matched = evidence["turn"], evidence["matched"]
    console.out.print(f"  {'':<15} [dim]the item[/] {plain(short(evidence['item'], 600))}", soft_wrap=True)
    said = getattr(messages[turn - 1], evidence.get("part", "content")) if messages and isinstance(turn, int) else None
    marked = f"[bold red]{plain(short(matched, 600))}[/]"
    if said:
        marked, last = "", max(0, evidence["spans"][0][0] - AROUND)
        marked += "…" if last else ""
        for start, stop in evidence["spans"]:
            marked += f"{plain(said[last:start])}[bold red]»{plain(said[start:stop])}«[/]"
            last = stop
        marked += plain(said[last : last + AROUND]) + ("…" if last + AROUND < len(said) else "")
    console.out.print(f"  {'':<15} [dim]the row[/]  {' '.join(marked.split())}", soft_wrap=True)


def found(rows: Sequence[Found]) -> None:
    """Rows that a search found."""
    if not rows:
        console.out.print("nothing is near it, and no row has one of its words")
        return
    table = Table("row", "meaning", "words", "where it is", "topic", "text", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for one in rows:
        numbers = ["" if value is None else f"{value:.2f}" for value in (one.meaning, one.word)]
        table.add_row(one.row_id[:8], *numbers, plain(one.where), plain(short(one.topic, 40)), plain(short(one.text, 160)))
    console.out.print(table)


def selected(found: Selected, file: str, follow: Sequence[str]) -> None:
    """What was recorded, and what it makes stale."""
    if found.warning:
        console.out.print(f"[yellow]{plain(found.warning)}[/]", soft_wrap=True)
    if found.standing:
        console.out.print(f"{found.standing:,} of {found.rows:,} decisions stood already, and were not written again")
    if not found.recorded:
        console.out.print("nothing was recorded")
        return
    what = found.recorded[0].decision
    places = ", ".join(f"{n:,} for {state}" for state, n in found.by_state.items())
    console.out.print(f"recorded in {plain(file)}: {what} {len(found.recorded):,} rows ({places})", soft_wrap=True)
    after = f", and what follows if they come out different: {', '.join(follow)}" if follow else ""
    console.out.print(f"stale now: {', '.join(found.by_state)}{after}. `sft run` applies it", soft_wrap=True)


def marked(rows: Sequence[tuple[str, list[str], str]]) -> None:
    """Rows that are marked for review."""
    table = Table("for review", "because", "answer", box=None, header_style="bold", pad_edge=False)
    for row, reasons, text in rows:
        table.add_row(row, plain(", ".join(reasons)), plain(short(text, 120)))
    console.out.print(table if rows else "no row is marked for review")
