"""`sft`: the command line. Every verb is a function of the package first; here it is only called and shown."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sft_assets.errors import SftError

if TYPE_CHECKING:
    from sft_assets.explain import Life
    from sft_assets.verbs import Workspace
    from sft_assets.warehouse import Version

app = typer.Typer(
    help="Piles of instruction data in, one clean, explained, reproducible fine-tuning dataset out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console(highlight=False)
Data = Annotated[Path | None, typer.Option("--data", help="the data folder (default: SFT_DATA, else ./data)")]


def main() -> None:
    """The entry point: errors are sentences, not tracebacks."""
    warnings.filterwarnings("ignore", category=UserWarning)
    try:
        app()
    except SftError as error:
        _fail(str(error))
    except Exception as error:
        if not _is_full_disk(error):
            raise
        said = str(error).split("\n")[0]
        _fail(
            f"the disk is full, or a file size limit was met ({said}). What was stored stands; free some space and run again."
        )


def _fail(sentence: str) -> None:
    _to_stderr(f"[bold red]sft:[/] {_plain(sentence)}")
    sys.exit(1)


def _is_full_disk(error: BaseException | None) -> bool:
    """Dagster's own storage meets a full disk before DuckDB does: SQLite says so somewhere in the chain of causes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            return True
        said = str(error).lower()
        if any(word in said for word in ("disk is full", "disk i/o error", "no space left", "unable to open database file")):
            return True
        error = error.__cause__ or error.__context__
    return False


def _to_stderr(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)


def _plain(text: str) -> str:
    """Text of the data or of an error, so that rich takes no bracket of it for markup."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text))


def _workspace(data: Path | None) -> Workspace:
    from sft_assets.folder import ENVIRONMENT

    if data is not None:
        os.environ[ENVIRONMENT] = str(data.expanduser().resolve())
    from sft_assets.verbs import Workspace

    return Workspace.open(data)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="where to make the data folder")]) -> None:
    """Make a data folder: put your files into its sources/, then `sft run --data FOLDER`."""
    from sft_assets import verbs

    made = verbs.init(folder)
    out.print(
        f"{_plain(str(made))} is ready. Put instruction data into its sources/ and test sets into its benchmarks/, then:",
        soft_wrap=True,
    )
    out.print(f"  sft run --data {_plain(str(folder))}")


@app.command()
def plan(data: Data = None) -> None:
    """What is stale, why, and what may follow. Writes nothing."""
    space = _workspace(data)
    stale = space.plan()
    if not stale:
        out.print("nothing is stale")
        return
    table = Table("asset", "stale because", box=None, header_style="bold", pad_edge=False)
    for name, why in stale.items():
        table.add_row(name, _plain("; ".join(why)))
    for name in space.may_follow(stale):
        table.add_row(f"[dim]{name}[/]", "[dim]may follow, if what it is made from comes out different[/]")
    out.print(table)


@app.command()
def run(
    assets: Annotated[list[str] | None, typer.Argument(help="only these and what they need (default: everything)")] = None,
    data: Data = None,
    again: Annotated[bool, typer.Option("--again", help="materialize them even where they are fresh")] = False,
    wait: Annotated[float, typer.Option(help="seconds to wait for another run on the same folder")] = 600.0,
) -> None:
    """Materialize what is stale, and nothing else."""
    space = _workspace(data)
    try:
        with _Bars() as bars:
            done = space.run(assets or (), again, wait, bars.say, bars.version)
    except KeyboardInterrupt:
        _to_stderr("stopped; nothing half-done was stored, `sft run` goes on from here")
        sys.exit(130)
    if not done:
        out.print("nothing is stale")
        return
    _funnel(space)


@app.command()
def status(data: Data = None) -> None:
    """The funnel as it stands, and what of it is stale."""
    space = _workspace(data)
    _funnel(space)
    stale = space.plan()
    out.print(f"stale: {', '.join(stale)} (`sft plan` says why)" if stale else "nothing is stale")


@app.command()
def explain(
    what: Annotated[str, typer.Argument(help="a row id or its first characters, or FILE:POSITION")],
    data: Data = None,
) -> None:
    """The life of a row: where it came from, edits, and each state's verdict with its evidence."""
    from sft_assets.asset import warehouse
    from sft_assets.definitions import STATES
    from sft_assets.explain import explain as lives
    from sft_assets.folder import Folder
    from sft_assets.recipe import Recipe

    folder = Folder.current() if data is None else Folder.at(data)
    for life in lives(warehouse(folder, Recipe.load(folder.recipe)), what, STATES):
        _show(life)


@app.command()
def dev(
    data: Data = None,
    port: Annotated[int | None, typer.Option(help="default: 3000, or a free one")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """The Dagster UI and daemon on 127.0.0.1, until Ctrl-C."""
    import webbrowser

    from sft_assets.dev import dev as serve
    from sft_assets.folder import Folder

    def ready(address: str) -> None:
        out.print(f"the Dagster UI is at {address} (Ctrl-C ends it)")
        if browser and sys.stdout.isatty() and (sys.platform == "darwin" or os.environ.get("DISPLAY")):
            webbrowser.open(address)

    sys.exit(serve(Folder.current() if data is None else Folder.at(data), port, ready))


# ------------------------------------------------------------------------------------------------------------- showing


class _Bars:
    """Progress bars, one an asset, on a terminal; lines elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=out, transient=True)
        self.console = self.progress.console
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bars:
        from sft_assets.asset import told_to

        self.progress.start()
        self.told = told_to(self.advance)
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
        self.console.print(f"[dim]{_plain(text)}[/]", soft_wrap=True)

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


def _funnel(space: Workspace) -> None:
    versions = space.versions()
    table = Table("state", "in", "kept", "gone", "why", "seconds", box=None, header_style="bold", pad_edge=False)
    for column in (1, 2, 3, 5):
        table.columns[column].justify = "right"
    shown = False
    for name, version in _in_order(versions):
        report = version.report
        reasons = {**report["quarantined"], **report["dropped"]}
        why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
        if report.get("refused_files"):
            why = ", ".join(filter(None, [why, f"[yellow]{report['refused_files']} files refused[/]"]))
        created = f" +{report['created']:,}" if report["created"] else ""
        table.add_row(
            name,
            f"{report['in']:,}{created}",
            f"{report['kept']:,}",
            f"{sum(reasons.values()):,}",
            why,
            f"{version.seconds:.1f}",
        )
        shown = True
    if shown:
        out.print(table)
    _refused(versions)
    exported = versions.get("exported")
    if exported:
        for path in exported.report.get("files", []):
            out.print(f"exported to {_plain(str(space.folder))}/{_plain(path)}")


def _in_order(versions: dict[str, Version]) -> list[tuple[str, Version]]:
    from sft_assets.definitions import STATES

    return [(name, versions[name]) for name in STATES if name in versions]


def _refused(versions: dict[str, Version]) -> None:
    for name in ("raw", "benchmarks"):
        version = versions.get(name)
        for entry in (version.report.get("sample_refused") or version.report.get("refused") or []) if version else []:
            reason = entry.get("refused") or entry.get("reason") or ""
            reason = reason if len(reason) < 300 else reason[:299] + "…"
            out.print(f"[yellow]refused[/] {_plain(str(entry.get('file')))}: {_plain(reason)}", soft_wrap=True)
        more = version.report.get("refused_files", 0) - len(version.report.get("sample_refused") or []) if version else 0
        if more > 0:
            out.print(f"... and {more} more: SELECT source_file, detail FROM quarantine WHERE position IS NULL")


def _show(life: Life) -> None:
    title = f"{life.row_id}  " if life.row_id else ""
    origin = f" ({life.format}, source {_plain(life.source)})" if life.format else ""
    out.print(f"[bold]{title}[/]{_plain(life.place)}{origin}", soft_wrap=True)
    colour: Callable[[str], str] = lambda v: {"kept": "green", "not built": "dim"}.get(v, "red")  # noqa: E731
    for step in life.steps:
        reason = f"  {_plain(step.reason)}" if step.reason else ""
        out.print(f"  {step.state:<15} [{colour(step.verdict)}]{step.verdict}[/]{reason}")
        for what, before in step.edits:
            out.print(f"  {'':<15} [yellow]{what}[/] {_plain(before)}", soft_wrap=True)
        for key, value in step.evidence.items():
            if key == "rules":
                for rule in value:
                    out.print(f"  {'':<15} " + _plain(", ".join(f"{k}: {_short(v)}" for k, v in rule.items())), soft_wrap=True)
            else:
                out.print(f"  {'':<15} {key}: {_plain(_short(value))}", soft_wrap=True)
    _turns("this row", life.messages)
    if life.kept_messages:
        _turns(f"the row that stayed, {life.kept_place}", life.kept_messages)
    out.print()


def _turns(title: str, messages: Any) -> None:
    if not messages:
        return
    out.print(f"  [dim]{_plain(title)}[/]")
    for turn in messages:
        calls = f" {turn.tool_calls}" if turn.tool_calls else ""
        out.print(f"    [bold]{turn.role}[/] {_plain(_short(turn.content + calls, 400))}", soft_wrap=True)


def _short(value: Any, length: int = 300) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"


if __name__ == "__main__":
    main()
