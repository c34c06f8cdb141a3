"""What is said while a run is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sft_assets.show import console
from sft_assets.show.console import plain

if TYPE_CHECKING:
    from sft_assets.warehouse import Version


class Bars:
    """Progress bars, one an asset, on a terminal; lines elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=console.out, transient=True)
        self.console = self.progress.console
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        from sft_assets.asset import told_to

        self.progress.start()
        self.told = told_to(self.advance, self.say)
        self.told.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.told.__exit__(None, None, None)
        self.progress.stop()

    def advance(self, name: str, done: int, total: int | None) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total)

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{plain(text)}[/]", soft_wrap=True)

    def version(self, name: str, version: Version) -> None:
        if name in self.tasks:
            self.progress.remove_task(self.tasks.pop(name))
        report = version.report
        if "in" not in report:
            counts = f"{report['kept']:,} entries"
        else:
            gone = sum(report["dropped"].values()) + sum(report["quarantined"].values())
            counts = f"{report['in']:,} in, {report['kept']:,} kept, {gone:,} gone"
        self.console.print(f"[green]✓[/] {name}: {counts} [dim]({version.seconds:.1f} s)[/]")
