"""`sft`: the command line. Every verb is a function of the package first; here it is only called and shown."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from dataclasses import asdict
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
        if type(error).__name__ == "DagsterPostgresException":  # of a package that need not be there
            _fail("Dagster's database does not answer any more. What was stored stands; run again when it is back.")
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
def plan(
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """What is stale, why, what may follow, and what it would take: models and disk. Writes nothing, asks nobody."""
    space = _workspace(data)
    stale = space.plan()
    if not stale and not as_json:
        console.out.print("nothing is stale")
        return
    follow, estimates = space.may_follow(stale), space.estimates(stale)
    disk = space.disk(stale, estimates)
    if as_json:
        models = {name: asdict(one) for name, one in estimates.items()}
        show.as_json({"stale": stale, "may_follow": follow, "models": models, "disk": disk.as_json()})
        return
    show.plan(stale, follow, estimates)
    show.disk(disk)


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
    versions = space.versions()
    if "combined" in done:
        show.files(versions, most=12)
    show.evidence(versions)
    show.topics(versions)
    show.funnel(space)


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
    from sft_assets.explain import explain as lives
    from sft_assets.folder import Folder
    from sft_assets.reviews import read
    from sft_assets.warehouse.opening import STATES, to_look

    folder = Folder.current() if data is None else Folder.at(data)
    for life in lives(to_look(folder), what, STATES, read(folder)):
        show.life(life)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="STATE, STATE@3, or an export: its name, its beginning, a path, `export`")],
    second: Annotated[str | None, typer.Argument(help="the other one (default: the current one, or the newest)")] = None,
    data: Data = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="examples of each reason")] = 3,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="write every row that moved with its reason: JSON lines, or .csv")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """What is different between two versions of a state or two exports: rows, reasons, and what caused it."""
    from sft_assets.diff import diff as compared
    from sft_assets.warehouse.opening import to_look

    folder = _folder(data)
    found = compared(to_look(folder), folder, first, second, rows, ids)
    if as_json:
        show.as_json(found.as_json())
        return
    show.diff(found)
    if ids is not None:
        console.out.print(f"every row that moved is in {show.plain(str(ids))}", soft_wrap=True)


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


review = typer.Typer(
    help="People decide: rows go out to them, their answers come back.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(review, name="review")


@review.command(name="export")
def export_queue(
    data: Data = None,
    budget: Annotated[int, typer.Option(min=0, help="rows that people have the time for; 0 only counts them")] = 200,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            help="a kind of rows, several times for several: disputed, marked, paraphrase, signals, threshold, conflict, "
            "generated, audit (default: all)"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="of what is drawn at random")] = 0,
    reviewers: Annotated[str, typer.Option(help="deal the items out to these, such as ann,bob (default: to anybody)")] = "",
    overlap: Annotated[float, typer.Option(min=0, max=1, help="share of the items that each of the reviewers gets")] = 0.2,
    formats: Annotated[
        list[str] | None, typer.Option("--as", help="also for a tool: csv, label-studio, argilla (jsonl is there anyway)")
    ] = None,
) -> None:
    """Pick the rows that are worth a person's minute, and write them as a queue."""
    from sft_assets.reviews.queue.exporting import export, named
    from sft_assets.warehouse.opening import to_look

    folder = _folder(data)
    show.queue(export(to_look(folder), folder, budget, ask or (), seed, named(reviewers), overlap, formats or ()), ask or ())


@review.command(name="import")
def import_answers(
    file: Annotated[Path, typer.Argument(help="answers as JSON lines or CSV, or what Label Studio or Argilla exports")],
    data: Data = None,
    reviewer: Annotated[str | None, typer.Option(help="who answered, where the file does not say")] = None,
    what_fits: Annotated[
        bool, typer.Option("--what-fits", help="record the others where some are refused (those go to FILE.refused.jsonl)")
    ] = False,
    wait: Annotated[float | None, typer.Option(help="seconds to wait while the database is being written")] = None,
) -> None:
    """Record what people answered to a queue: all of it, or nothing where an answer is refused. `sft run` applies it."""
    from sft_assets import verbs

    space = _workspace(data)
    found = verbs.import_answers(space, file, reviewer, what_fits, wait)
    show.imported(found, str(file), str(space.folder.reviews), space.may_follow(dict.fromkeys(found.changed)))


@review.command()
def results(
    data: Data = None,
    queue: Annotated[str | None, typer.Option(help="only what was decided of this one (default: all)")] = None,
    what_if: Annotated[bool, typer.Option("--what-if", help="and what would come of the suggested thresholds")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
    wait: Annotated[float, typer.Option(help="seconds to wait for a run on the same folder, with --what-if")] = 600.0,
) -> None:
    """What people teach: how far they agree, how often the pipeline is right, which thresholds they suggest."""
    from sft_assets.reviews.lessons import results as learnt

    folder, tried = _folder(data), {}
    found = learnt(folder, queue)
    if what_if:
        from sft_assets.verbs import try_suggestions

        tried = try_suggestions(folder, found, wait)
    if as_json:
        show.as_json(found.as_json(tried))
    else:
        show.lessons(found, tried)


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
def export(
    data: Data = None,
    to: Annotated[
        str | None,
        typer.Option(help="a folder to copy it to, s3://BUCKET/PATH (gs:// ...), hub:OWNER/NAME, or hub (as exported.name)"),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="where the dataset is yet to be made on the hub")] = False,
    revision: Annotated[str | None, typer.Option(help="the branch of it (default: main)")] = None,
    message: Annotated[str | None, typer.Option(help="of the commit")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="upload, or replace what is in the folder, unasked")] = False,
    wait: Annotated[float, typer.Option(help="seconds to wait for a run on the same folder")] = 600.0,
) -> None:
    """Bring the export up to date and say where it is; copy it to a folder or object storage, or upload it to a hub (HF_TOKEN)
    in one commit."""
    from sft_assets import verbs
    from sft_assets.exported import objects
    from sft_assets.exported.finished import is_hub

    place = None
    if to is not None and is_hub(to):
        from sft_assets.exported import hub
        from sft_assets.recipe import Recipe

        hub.check_target(to, Recipe.load(_folder(data).recipe).exported.name)  # before the run, which may be long
    elif private or revision or message:
        _fail("--private, --revision and --message are of an upload: say --to hub:OWNER/NAME, or leave them out")
    elif to is not None and objects.is_url(to):
        place = objects.place_of(to)  # before the run, too
    space = _workspace(data)
    with show.Bars() as bars:
        found = verbs.export(space, wait, bars.say, bars.version)
    show.finished(found)
    if to is None:
        return
    if is_hub(to):
        planned = hub.plan(found, to, private, revision)
        show.upload(planned)
        if planned.needed and _agreed(yes, "Upload it?"):
            show.uploaded(planned, hub.upload(planned, message))
        return
    if place is not None:
        copied = objects.copy(found, place)
        done = "copied to" if copied.sent else "it is there already:"
        console.out.print(f"{done} {show.plain(copied.address)}", soft_wrap=True)
        return
    target = Path(to).expanduser().resolve()
    if not found.may_go_to(target) or _agreed(yes, f"{target} holds an export. Replace it?"):
        found.copy_to(target, replace=True)
        console.out.print(f"copied to {show.plain(str(target))}", soft_wrap=True)


def _agreed(yes: bool, question: str) -> bool:
    """Whether the user wants it. Where nobody can be asked, it needs --yes."""
    if yes:
        return True
    if not sys.stdin.isatty():
        _fail("nobody is there to be asked, so nothing was done; --yes does it without asking")
    return typer.confirm(question)


@app.command()
def preview(
    row_ids: Annotated[list[str] | None, typer.Argument(help="row ids or their first characters (default: a few rows)")] = None,
    data: Data = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="embedded, or one by name or path (default: exported.tokenizer, else embedded)")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="how many, where none is named")] = 3,
    split: Annotated[str | None, typer.Option(help="of which split (default: train)")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="tokens of the longest sequence that is trained on")] = None,
    html: Annotated[Path | None, typer.Option(help="write it to this file instead, for the browser")] = None,
) -> None:
    """Rows of the export in a tokenizer's chat template, with the tokens that would be trained."""
    from sft_assets.asset import warehouse
    from sft_assets.exported.preview import previews
    from sft_assets.exported.tokens import tokenizer_of
    from sft_assets.recipe import EMBEDDED, Recipe

    folder = _folder(data)
    recipe = Recipe.load(folder.recipe)
    name, root = tokenizer or recipe.exported.tokenizer or EMBEDDED, None if tokenizer else folder.root
    found = previews(warehouse(folder, recipe), tokenizer_of(name, root=root), row_ids or (), rows, split, max_length)
    if html is None:
        show.previews(found, name)
        return
    from sft_assets.exported.preview_page import page
    from sft_assets.folder import write_whole

    write_whole(html.expanduser().resolve(), page(found, name).encode())
    console.out.print(f"written to {show.plain(str(html))}", soft_wrap=True)


@app.command()
def gc(
    data: Data = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what and how much, and do nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="without asking")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="versions of each state that stay (default: engine.keep_versions)")
    ] = None,
    calls: Annotated[bool, typer.Option("--calls", help="replies that were paid for too, where no row needs them")] = False,
    compact: Annotated[bool, typer.Option("--compact/--no-compact", help="write the database file anew")] = True,
    wait: Annotated[float, typer.Option(help="seconds to wait for a run on the same folder")] = 600.0,
) -> None:
    """Collect what nothing needs: old versions, texts, exports, cached calls, leftovers. Then compact the database."""
    from sft_assets import gc as garbage
    from sft_assets.recipe import Recipe

    folder = _folder(data)
    recipe, options = Recipe.load(folder.recipe), garbage.Options(keep, calls, compact)
    found = garbage.find(folder, recipe, options)
    show.garbage(found)
    if dry_run or not found.items or not _agreed(yes, "Collect it?"):
        return
    show.collected(garbage.collect(folder, recipe, options, wait, lambda said: console.out.print(show.plain(said)))[1])


@app.command()
def serve(
    data: Data = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="default: 3000, or a free one")] = None,
    token: Annotated[bool, typer.Option("--token", help="answer only who has the token: SFT_TOKEN's, or a new one")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="to look only, beside the one that runs things")] = False,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """The Dagster UI with its daemon, the report and the map on 127.0.0.1, until Ctrl-C."""
    import webbrowser

    from sft_assets.serve import Rules
    from sft_assets.serve import serve as serving
    from sft_assets.serve.server import new_token

    def ready(rules: Rules) -> None:
        first = show.addresses(rules)
        if rules.token:  # it would stand in the browser's command line, for everybody on the machine to read
            return
        if browser and sys.stdout.isatty() and (sys.platform == "darwin" or os.environ.get("DISPLAY")):
            webbrowser.open(first)

    secret = new_token() if token else None
    sys.exit(serving(_folder(data), port, secret, read_only, ready, lambda said: _to_stderr(show.plain(said))))


if __name__ == "__main__":
    main()
