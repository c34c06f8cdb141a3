"""What there is to collect, and what was won."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from sft_assets.show import console
from sft_assets.show.console import plain, size

if TYPE_CHECKING:
    from sft_assets.gc import Garbage


def garbage(found: Garbage) -> None:
    """By kind: how many, how much, which."""
    if found.items:
        table = Table("to collect", "number", "size", "", box=None, header_style="bold", pad_edge=False)
        for column in (1, 2):
            table.columns[column].justify = "right"
        for item in found.items:
            table.add_row(plain(item.what), f"{item.number:,}", size(item.bytes), plain(item.detail))
        table.add_row("together", "", size(found.bytes), "", style="bold")
        console.out.print(table)
    else:
        console.out.print("there is nothing to collect")
    before, after = found.database
    if before:
        console.out.print(f"the database has {size(before)}; compacted it will have about {size(after)}")
    for sentence in found.kept:
        console.out.print(f"[dim]{plain(sentence)}[/]", soft_wrap=True)


def collected(won: int) -> None:
    console.out.print(f"the disk has won {size(won)}" if won > 0 else "the disk has won nothing")
