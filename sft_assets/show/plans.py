"""What would happen: what is stale, what models would be asked, other settings, new data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import known, plain, short, size, turns

if TYPE_CHECKING:
    from sft_assets.add import Glimpse, Plan
    from sft_assets.disk import Disk
    from sft_assets.evidence import Estimate
    from sft_assets.what_if import WhatIf


def plan(stale: Mapping[str, list[str]], may_follow: Sequence[str], estimates: Mapping[str, Estimate]) -> None:
    """What is stale and why, what may become so, and what models would be asked."""
    table = Table("asset", "stale because", box=None, header_style="bold", pad_edge=False)
    for name, why in stale.items():
        table.add_row(name, plain("; ".join(why)))
    for name in may_follow:
        table.add_row(f"[dim]{name}[/]", "[dim]may follow, if what it is made from comes out different[/]")
    console.out.print(table)
    spending(estimates)


def spending(estimates: Mapping[str, Estimate]) -> None:
    """What models would be asked, and what it would cost."""
    asked = {name: one for name, one in estimates.items() if one.contents != 0}
    if not asked:
        return
    console.out.print()
    table = Table(
        "asks a model", "model", "rows", "new", "calls", "tokens", "cost", "", box=None, header_style="bold", pad_edge=False
    )
    for column in range(2, 7):
        table.columns[column].justify = "right"
    for name, one in asked.items():
        numbers = [known(one.contents), known(one.new)]
        numbers += ["", "", ""] if one.local else [known(one.calls), known(one.tokens), known(one.cost)]
        table.add_row(name, plain(one.model), *numbers, "[dim]at most[/]" if one.bound else "")
    console.out.print(table)
    if any(None in (one.contents, one.calls) and not one.local for one in asked.values()):
        console.out.print("[dim]?: not known before combined has run[/]")


def disk(found: Disk) -> None:
    """What a run needs on disk, and what is free there."""
    table = Table("disk", "at most", "", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    largest = sorted(found.database.items(), key=lambda entry: -entry[1])
    parts = [f"{name} {size(number)}" for name, number in largest[:3] if number]
    parts += [f"and {len(largest) - 3} more"] if len(largest) > 3 else []
    parts += [f"of them {size(found.inside)} are free inside the file"] if found.inside else []
    lines = [
        ("the database grows by", found.growth, ", ".join(parts)),
        ("caches of models", found.caches, ""),
        ("exports", found.exports, ""),
        ("report, map, records of the run", found.pages + found.records, ""),
        ("spilled meanwhile", found.spilled, ""),
    ]
    for name, number, detail in lines:
        if number or detail:
            table.add_row(name, size(number), f"[dim]{plain(detail)}[/]")
    for place in found.places:
        table.add_row("together", size(place.need), f"{size(place.free)} are free: {plain(', '.join(map(str, place.folders)))}")
    console.out.print()
    console.out.print(table)
    for sentence in found.unknown:
        console.out.print(f"[dim]{plain(sentence)}[/]", soft_wrap=True)
    for sentence in found.warnings:
        console.out.print(f"[yellow]{plain(sentence)}[/]", soft_wrap=True)


def glimpses(planned: Plan, looks: Iterable[Glimpse]) -> bool:
    """What is in new data and what would become of it; whether any of it can be read."""
    for note in planned.notes:
        console.out.print(f"[yellow]{plain(note)}[/]", soft_wrap=True)
    usable = False
    for look in looks:
        usable = usable or bool(look.rows)
        if look.refused:
            console.out.print(
                f"[bold]{plain(look.name)}[/]  [red]would be refused[/]: it {plain(look.refused)}", soft_wrap=True
            )
            continue
        read, kinds = look.read.total(), ", ".join(f"{kind} {n:,}" for kind, n in look.kinds.most_common())
        others = ", ".join(f"{name} {n:,}" for name, n in look.seen.most_common()[1:])
        console.out.print(
            f"[bold]{plain(look.name)}[/]  {look.format or 'no format'} (confidence {look.confidence:.0%}: {read:,} of the "
            f"first {look.records:,} records give {look.rows:,} rows; {kinds or 'none'})"
            + (f"; also {others}" if others else ""),
            soft_wrap=True,
        )
        for text, rows in look.examples:
            console.out.print(f"  [dim]before[/] {plain(short(text))}", soft_wrap=True)
            for row in rows[:2]:
                console.out.print(f"  [dim]after[/]  {row.conversation.kind}", soft_wrap=True)
                turns("", row.conversation.messages)
                turns("rejected", row.conversation.rejected)
                for edit in row.edits:
                    console.out.print(f"    [yellow]{plain(edit.what)}[/] {plain(short(edit.before, 100))}", soft_wrap=True)
        for reason, n in look.bad.most_common():
            sentence = plain(short(look.sentences[reason]))
            console.out.print(f"  [yellow]quarantined[/] {n:,} {plain(reason)}, such as: {sentence}", soft_wrap=True)
    if len(planned.files) > 1:
        console.out.print(f"{len(planned.files):,} files in all")
    return usable


def what_if(result: WhatIf) -> None:
    """What would be different, and some of the rows."""
    from sft_assets.what_if import evidence_text, is_nothing

    if is_nothing(result):
        console.out.print("nothing would be different")
        sides_of_the_cut(result)
        return
    table = Table("", "now", "then", "", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    others = {f"edited: {k}": v for k, v in result.edits.items()} | {f"review: {k}": v for k, v in result.marks.items()}
    for name, (now, then) in {**result.counts, **others}.items():
        table.add_row(plain(name), f"{now:,}", f"{then:,}", f"{then - now:+,}" if then != now else "")
    console.out.print(table)
    console.out.print(f"{result.gone:,} rows would go, {result.came:,} would come, {result.changed:,} would have other content")
    for row, reason, evidence in result.go:
        console.out.print(f"  [red]-[/] {row}  {plain(reason)}  {plain(short(evidence_text(evidence)))}", soft_wrap=True)
    for row, text in result.come:
        console.out.print(f"  [green]+[/] {row}  {plain(short(text, 160))}", soft_wrap=True)
    sides_of_the_cut(result)
    console.out.print("[dim]nothing was stored; put the setting into recipe.yaml to have it so[/]")


def sides_of_the_cut(result: WhatIf) -> None:
    """Rows or pairs just on this and just on that side of a threshold."""
    for name, entries in result.samples.items():
        title = name.removeprefix("sample_").replace("_", " ")
        console.out.print(f"[bold]{plain(title)}{'' if title.endswith(('dropped', 'kept', 'marked')) else ' the cut'}[/]")
        for entry in entries:
            how, row, text, *other = (plain(str(value)) for value in entry.values())
            console.out.print(f"  {how}  {row} {short(text)}", soft_wrap=True)
            if other:  # both texts of a pair, from where they begin to differ
                console.out.print(f"  {' ' * len(how)}  {' '.join(other)}", soft_wrap=True)
