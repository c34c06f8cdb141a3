"""What is different between two versions of a state, or two exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import plain, short

if TYPE_CHECKING:
    from sft_assets.diff.result import Change, Diff, Example, Group

COLOURS: dict[Change, str] = {"removed": "red", "added": "green", "changed": "yellow"}
GROUPS = 20  # reasons that are shown of each change
SOURCES = 15
EVIDENCE = 160  # characters
# what is said of rows that no ledger tells of: removed, added
UNTOLD = {
    "no_record": ("their records are no longer in the sources", "their records are new in the sources"),
    "other_rows": ("their records give other rows now", "their records gave other rows before"),
    "not_generated": ("they are no longer among the generations", "they were generated since"),
    "not_compared": ("people's comparison of two rows does not make them any more", "people compared two rows since"),
    "not_written": ("the formats of the export hold no such rows", "the formats of the earlier export held no such rows"),
    "not_known": ("why is not known: the versions are not kept", "why is not known: the versions are not kept"),
}


def as_json(value: dict[str, Any]) -> None:
    """Plain values as JSON, as they are: nothing is cut or coloured."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def diff(result: Diff) -> None:
    before, after, counts = result.before, result.after, result.counts
    for side, mark in ((before, "-"), (after, "+")):
        console.out.print(f"{mark} [bold]{plain(side.name)}[/] {side.rows:,} rows [dim]{side.made}[/]", soft_wrap=True)
    if not any(counts[change] for change in COLOURS):
        console.out.print(f"no row is different ({counts['same']:,} are the same)")
    else:
        said = ", ".join(f"[{colour}]{change} {counts[change]:,}[/]" for change, colour in COLOURS.items())
        console.out.print(f"{said}, the same {counts['same']:,}")
    _causes(result)
    for change, colour in COLOURS.items():
        _groups(result.of(change), change, colour)
    _sources(result)
    for note in result.notes:
        console.out.print(f"[dim]{plain(note)}[/]", soft_wrap=True)


def _causes(result: Diff) -> None:
    if not result.causes:
        return
    console.out.print("\n[bold]because of[/]")
    for cause in result.causes:
        versions = f"@{cause.before} -> @{cause.after}" if cause.before and cause.after else ""
        first, *more = cause.why or ["[dim]what it is made of is different[/]"]
        first = plain(first) if cause.why else first
        console.out.print(f"  {cause.asset:<16} [dim]{versions:<12}[/] {first}", soft_wrap=True)
        for line in more:
            console.out.print(f"  {'':<29} {plain(line)}", soft_wrap=True)


def _groups(groups: list[Group], change: Change, colour: str) -> None:
    if not groups:
        return
    console.out.print(f"\n[bold {colour}]{change}[/]")
    for group in groups[:GROUPS]:
        console.out.print(f"  {group.rows:>8,}  {plain(reason(group))}", soft_wrap=True)
        for example in group.examples:
            _example(example)
    if len(groups) > GROUPS:
        console.out.print(f"  ... and {len(groups) - GROUPS} more reasons")


def reason(group: Group) -> str:
    """Why the rows of a group moved, in words."""
    if group.change == "changed":
        return group.reason
    if group.reason in UNTOLD:
        return UNTOLD[group.reason][group.change == "added"]
    return f"{'were ' if group.change == 'added' else ''}{group.reason} in {group.asset}@{group.version}"


def _example(example: Example) -> None:
    told = [
        f"{k}: {v[0]} -> {v[1]}" if isinstance(v, list) and len(v) == 2 else f"{k}: {v}" for k, v in example.evidence.items()
    ]
    place = example.place or example.source
    console.out.print(
        f"            [dim]{example.row_id[:8]} {plain(place)}[/]  {plain(short('; '.join(told), EVIDENCE))}", soft_wrap=True
    )
    if example.text:
        console.out.print(f"              {plain(short(example.text))}", soft_wrap=True)


def _sources(result: Diff) -> None:
    if not result.by_source:
        return
    table = Table("source", *COLOURS, box=None, header_style="bold", pad_edge=False)
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    most = sorted(result.by_source.items(), key=lambda entry: (-sum(entry[1].values()), entry[0]))
    for source, counts in most[:SOURCES]:
        table.add_row(plain(source) or "[dim](not known)[/]", *(f"{counts[change]:,}" for change in COLOURS))
    console.out.print()
    console.out.print(table)
    if len(most) > SOURCES:
        console.out.print(f"... and {len(most) - SOURCES} more sources")
