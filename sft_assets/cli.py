"""`sft`: the command line. Every verb is a function of the package first; here it is only called and shown."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sft_assets import show
from sft_assets.errors import SftError
from sft_assets.show import console

if TYPE_CHECKING:
    from sft_assets.folder import Folder
    from sft_assets.verbs import Workspace

app = typer.Typer(
    help="Piles of instruction data in, one clean, explained, reproducible fine-tuning dataset out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
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
    _to_stderr(f"[bold red]sft:[/] {show.plain(sentence)}")
    sys.exit(1)


def _is_full_disk(error: BaseException | None) -> bool:
    """Dagster's own storage meets a full disk before DuckDB does: SQLite says so somewhere in the chain of causes."""
    seen = set[int]()
    while error is not None and id(error) not in seen:  # a chain may lead back into itself
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            return True
        said = str(error).lower()
        if any(word in said for word in ("disk is full", "disk i/o error", "no space left", "unable to open database file")):
            return True
        error = error.__cause__ or error.__context__
    return False


def _to_stderr(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)


def _workspace(data: Path | None) -> Workspace:
    from sft_assets.folder import ENVIRONMENT

    if data is not None:
        os.environ[ENVIRONMENT] = str(data.expanduser().resolve())
    from sft_assets.verbs import Workspace

    return Workspace.open(data)


def _folder(data: Path | None) -> Folder:
    from sft_assets.folder import Folder

    return (Folder.current() if data is None else Folder.at(data)).existing()


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="where to make the data folder")]) -> None:
    """Make a data folder: put your files into its sources/, then `sft run --data FOLDER`."""
    from sft_assets import verbs

    made = verbs.init(folder)
    console.out.print(
        f"{show.plain(str(made))} is ready. Put instruction data into its sources/ and test sets into its benchmarks/, then:",
        soft_wrap=True,
    )
    console.out.print(f"  sft run --data {show.plain(str(folder))}")


@app.command()
def add(
    what: Annotated[str, typer.Argument(help="a file or folder, hub:OWNER/NAME[@REVISION], or a URL")],
    data: Data = None,
    name: Annotated[str | None, typer.Option(help="what the source is called")] = None,
    format: Annotated[str | None, typer.Option(help="where it is not seen from the records")] = None,
    columns: Annotated[str | None, typer.Option(help="our names and theirs: prompt=question,response=answer")] = None,
    template: Annotated[str | None, typer.Option(help="of texts: 'Q: {prompt}\\nA: {response}'")] = None,
    config: Annotated[str | None, typer.Option(help="of a hub dataset")] = None,
    split: Annotated[str | None, typer.Option(help="of a hub dataset")] = None,
    license: Annotated[str | None, typer.Option(help="licence of its rows")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="add it without asking")] = False,
) -> None:
    """Look at new data: its format, three records before and after, what would be quarantined. Then make it a source."""
    from sft_assets import add as adding
    from sft_assets.recipe import Recipe

    folder = _folder(data)
    recipe = Recipe.load(folder.recipe)
    mapping = dict(pair.partition("=")[::2] for pair in columns.split(",")) if columns else {}
    options = {"name": name, "format": format, "columns": mapping, "config": config, "split": split, "license": license}
    options["template"] = template and template.replace("\\n", "\n")
    planned = adding.plan(folder, recipe, what, options)
    usable = show.glimpses(planned, adding.glimpses(planned.files, recipe, planned.entry))
    if not usable:
        _fail("nothing in it can be read as it is, so it was not added; say --columns, --template or --format")
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Add it to {folder.recipe}?")):
        console.out.print("nothing was written" + ("" if sys.stdin.isatty() else "; --yes adds it"))
        return
    adding.add(folder, planned)
    console.out.print(f"added to {show.plain(str(folder.recipe))}; `sft run` reads it", soft_wrap=True)


@app.command()
def plan(data: Data = None) -> None:
    """What is stale, why, what may follow, and what models would cost. Writes nothing, asks nobody."""
    space = _workspace(data)
    stale = space.plan()
    if not stale:
        console.out.print("nothing is stale")
        return
    show.plan(stale, space.may_follow(stale), space.estimates(stale))


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
        with show.Bars() as bars:
            done = space.run(assets or (), again, wait, bars.say, bars.version)
    except KeyboardInterrupt:
        _to_stderr("stopped; nothing half-done was stored, `sft run` goes on from here")
        sys.exit(130)
    if not done:
        console.out.print("nothing is stale")
        return
    if "combined" in done:
        show.files(space.versions(), most=12)
    show.funnel(space)
    show.evidence(space.versions())
    show.topics(space.versions())


@app.command()
def status(
    data: Data = None,
    files: Annotated[bool, typer.Option("--files", help="and every source file: format, rows, languages, lengths")] = False,
    review: Annotated[
        int, typer.Option(min=0, help="and so many of the rows that are marked for review, with their reasons")
    ] = 0,
) -> None:
    """The funnel as it stands, and what of it is stale."""
    space = _workspace(data)
    if files:
        show.files(space.versions())
    show.funnel(space)
    show.evidence(space.versions())
    show.topics(space.versions())
    show.ledger(space.spending())
    if review:
        show.marked(space.marked(review))
    stale = space.plan()
    console.out.print(f"stale: {', '.join(stale)} (`sft plan` says why)" if stale else "nothing is stale")


@app.command(name="what-if")
def what_if(
    state: Annotated[str, typer.Argument(help="raw, combined, deduped, decontaminated, scored, clustered or augmented")],
    settings: Annotated[list[str], typer.Option("--set", help="KEY=VALUE of its section, or sources.NAME.FIELD=VALUE")],
    data: Data = None,
    wait: Annotated[float, typer.Option(help="seconds to wait for a run on the same folder")] = 600.0,
) -> None:
    """How a state would come out under other settings. Stores nothing."""
    from sft_assets.definitions import asset_named
    from sft_assets.recipe import Recipe
    from sft_assets.what_if import changed_recipe
    from sft_assets.what_if import what_if as ask

    folder = _folder(data)
    asset = asset_named(state)
    show.what_if(ask(asset, folder, changed_recipe(Recipe.load(folder.recipe), state, settings), wait))


check = typer.Typer(
    help="Try the pipeline on what is known: planted test items, a judge against rules, likelihood and people.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(check, name="check")


@check.command()
def canaries(
    data: Data = None,
    items: Annotated[int, typer.Option(min=1, help="of each benchmark, at most")] = 200,
    paraphrases: Annotated[Path | None, typer.Option(help='JSON lines: {"item_id": ..., "text": ...}')] = None,
    seed: Annotated[int, typer.Option(help="chooses items and places")] = 0,
) -> None:
    """Plant copies of test items among the deduped rows and see what decontamination finds of them. Stores nothing."""
    from sft_assets.verbs import check_canaries

    with show.Bars() as bars:
        found = check_canaries(_workspace(data), items, paraphrases, seed, lambda done: bars.advance("canaries", done, None))
    show.canaries(found)


@check.command()
def judge(
    data: Data = None,
    rubric: Annotated[str | None, typer.Option(help="default: the first of judgements.rubrics")] = None,
    rows: Annotated[int, typer.Option(min=1, help="of each kind that is asked about, at most")] = 20,
) -> None:
    """How far the judge can be trusted: unreadable replies, repeatability, biases, agreement, cost. Asks the model."""
    from sft_assets.verbs import check_judge

    with show.Bars() as bars:
        found = check_judge(_workspace(data), rubric, rows, lambda done: bars.advance("judge", done, None), bars.say)
    show.judge(found)


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
    from sft_assets.reviews import read

    folder = Folder.current() if data is None else Folder.at(data)
    for life in lives(warehouse(folder, Recipe.load(folder.recipe)), what, STATES, read(folder)):
        show.life(life)


@app.command()
def select(
    file: Annotated[str, typer.Argument(help="row ids, one a line, or JSON lines or CSV with row_id; - for standard input")],
    why: Annotated[str, typer.Option("--why", help="the reason; the ledger and the reports give it")],
    data: Data = None,
    drop: Annotated[bool, typer.Option("--drop", help="leave the rows out, in scored")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="keep them, whatever dropped them or marked them for review")] = False,
    review: Annotated[bool, typer.Option("--review", help="mark them for review, in scored")] = False,
    reviewer: Annotated[str | None, typer.Option(help="who decides (default: your login name)")] = None,
) -> None:
    """Decide about rows, such as those that the map downloads. `sft run` applies it; the last decision about a row counts."""
    from sft_assets import verbs

    chosen = [name for name, given in (("drop", drop), ("keep", keep), ("review", review)) if given]
    if len(chosen) != 1:
        _fail("say one of --drop, --keep and --review")
    space = _workspace(data)
    found = verbs.select(space, file, chosen[0], why, reviewer)
    show.selected(found, str(space.folder.reviews), space.may_follow(found.by_state))


@app.command()
def gaps(
    data: Data = None,
    every: Annotated[bool, typer.Option("--all", help="every cell, those that lack nothing too")] = False,
) -> None:
    """Where rows are missing, by topic, difficulty, length, language and turns; why; what it would cost to fill the gaps."""
    from sft_assets import verbs

    show.gaps(verbs.gaps(_workspace(data)), every)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="what to look for, in any words")],
    data: Data = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="how many to show")] = 10,
) -> None:
    """The rows nearest to a text, by meaning and by word; dropped ones too."""
    from sft_assets.verbs import search as find

    show.found(find(_folder(data), text, rows))


@app.command()
def explore(
    data: Data = None,
    atlas: Annotated[
        str | None, typer.Option("--atlas", help="show the rows in embedding-atlas instead: its command, or the path of it")
    ] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Open the map of all rows, dropped ones too: a file that needs no server and no network."""
    import subprocess
    import webbrowser

    from sft_assets.asset import warehouse
    from sft_assets.clustered.explore import atlas_arguments, map_file
    from sft_assets.recipe import Recipe

    folder = _folder(data)
    if atlas is not None:
        arguments = atlas_arguments(warehouse(folder, Recipe.load(folder.recipe)), folder, atlas)
        console.out.print(
            f"embedding-atlas will be at http://127.0.0.1:{arguments[arguments.index('--port') + 1]} (Ctrl-C ends it)"
        )
        try:
            sys.exit(subprocess.run(arguments, check=False).returncode)
        except KeyboardInterrupt:
            sys.exit(130)
    path = map_file(folder)
    console.out.print(f"the map is {show.plain(str(path))}", soft_wrap=True)
    if browser and sys.stdout.isatty() and (sys.platform == "darwin" or os.environ.get("DISPLAY")):
        webbrowser.open(path.as_uri())


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
        console.out.print(f"the Dagster UI is at {address} (Ctrl-C ends it)")
        if browser and sys.stdout.isatty() and (sys.platform == "darwin" or os.environ.get("DISPLAY")):
            webbrowser.open(address)

    sys.exit(serve(Folder.current() if data is None else Folder.at(data), port, ready))


if __name__ == "__main__":
    main()
