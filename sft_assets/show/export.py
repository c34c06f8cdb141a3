"""The finished export: where it is, what of it would go where, what trainers would make of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sft_assets.show import console
from sft_assets.show.console import plain, size

if TYPE_CHECKING:
    from sft_assets.exported.finished import Finished
    from sft_assets.exported.hub import Upload, Uploaded
    from sft_assets.exported.preview import Piece, Preview

MANY = 12  # names that are shown


def finished(found: Finished) -> None:
    """Where it is."""
    rows = ", ".join(f"{split} {n:,}" for split, n in found.rows.items()) or "no rows"
    console.out.print(
        f"the export is {plain(str(found.root))}: {rows}; {len(found.files):,} files, {size(found.size)}", soft_wrap=True
    )


def upload(what: Upload) -> None:
    """What an upload would do."""
    if not what.there:
        state = "a new private dataset" if what.private else "a new dataset, public unless its owner's are private"
    else:
        state = "a new branch" if what.head is None else f"after commit {what.head[:12]}"
    console.out.print(
        f"to {plain(what.host)}: {plain(what.repo)}, branch {plain(what.revision)} ({state}), one commit", soft_wrap=True
    )
    same = len(what.export.files) - len(what.changed)
    tail = f"; {same:,} more are there already" if same else ""
    console.out.print(f"  {len(what.changed):,} files, {size(what.size)}{tail}")
    names([f"{name} ({size(what.export.files[name].size)})" for name in what.changed], "[green]+[/]")
    names(what.gone, "[red]-[/]")
    if what.stay:
        console.out.print(
            f"  [dim]no export put these there, they stay: {plain(', '.join(what.stay[:MANY]))}[/]", soft_wrap=True
        )
    if unnamed := what.export.unnamed():
        listed = plain(", ".join(unnamed[:MANY]))
        console.out.print(f"  [yellow]not in the MANIFEST, not uploaded: {listed}[/]", soft_wrap=True)
    if not what.needed:
        console.out.print("the hub has it already, file by file; nothing is uploaded")


def names(some: Sequence[str], mark: str) -> None:
    for name in some[:MANY]:
        console.out.print(f"  {mark} {plain(name)}", soft_wrap=True)
    if len(some) > MANY:
        console.out.print(f"  {mark} ... and {len(some) - MANY:,} more")


def uploaded(what: Upload, done: Uploaded) -> None:
    name = plain(what.repo)
    console.out.print(
        f"uploaded to {plain(done.address)}, commit {plain(done.commit[:12])}, and found there whole", soft_wrap=True
    )
    revision = "" if what.revision == "main" else f', revision="{plain(what.revision)}"'
    console.out.print(f'  datasets.load_dataset("{name}"{revision})', soft_wrap=True)


def previews(some: Sequence[Preview], tokenizer: str) -> None:
    """Rows as trainers would read them: trained tokens in green, or between marks where there is no colour."""
    for how in dict.fromkeys(one.how for one in some):
        console.out.print(f"[dim]{plain(tokenizer)}: {plain(how)}[/]", soft_wrap=True)
    for one in some:
        preview(one)


def preview(one: Preview) -> None:
    answer = f", {one.answer}" if one.answer else ""
    numbers = f"{one.count():,} tokens, {one.count(trained=True):,} trained"
    if gone := one.count(cut=True):
        numbers += f"; {gone:,} beyond the longest sequence, {one.count(trained=True, cut=True):,} of them trained"
    console.out.print()
    console.out.print(f"[bold]{one.row_id}[/] {one.split}, {one.kind}{answer}: {numbers}", soft_wrap=True)
    coloured = console.out.color_system is not None and not console.out.no_color
    console.out.print("".join(marked(piece, coloured) for piece in one.pieces), soft_wrap=True)
    for warning in one.warnings:
        console.out.print(f"[yellow]! {plain(warning)}[/]", soft_wrap=True)


def marked(piece: Piece, coloured: bool) -> str:
    text = plain(piece.text)
    if coloured:
        style = "dim strike" if piece.cut else "black on green" if piece.trained else "dim"
        return f"[{style}]{text}[/]"
    name = ("cut, trained" if piece.trained else "cut") if piece.cut else "trained" if piece.trained else ""
    return f"\\[{name}]{text}\\[/{name}]" if name else text
