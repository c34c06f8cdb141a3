"""What the command line does, as functions: plan, run, status. (explain is a module of its own.)

>>> from sft_assets.verbs import Workspace
>>> space = Workspace.open("data")
>>> space.plan()
{'deduped': ['its section of the recipe changed']}
>>> space.run()
['deduped', 'decontaminated']
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import dagster as dg
from dagster import AssetKey, DagsterExecutionInterruptedError, DagsterInstance

from sft_assets.asset import warehouse
from sft_assets.automation import JOB
from sft_assets.definitions import ASSETS, STATES, asset_named, definitions
from sft_assets.disk import Disk, is_ample
from sft_assets.disk import estimate as estimate_disk
from sft_assets.errors import SftError
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, PROCESS_TAG, input_version, occupy, open_instance, this_process, write_instance_config
from sft_assets.staleness import Facts, Graph, materialize_stale, stale_causes
from sft_assets.warehouse import Version
from sft_assets.warehouse.versions import read_versions

if TYPE_CHECKING:
    from sft_assets.augmented.gaps.report import Report
    from sft_assets.clustered.search import Found
    from sft_assets.decontaminated.check import Check
    from sft_assets.exported.finished import Finished
    from sft_assets.models.door import Spent
    from sft_assets.reviews.answers.importing import Imported
    from sft_assets.reviews.lessons import Lessons
    from sft_assets.reviews.selection import Selected
    from sft_assets.scored.judgements.check import Check as JudgeCheck

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Say = Callable[[str], None]


def init(path: str | Path) -> Folder:
    """Make a data folder: the sub-folders, a recipe to edit, and dagster.yaml. What is there is left as it is."""
    folder = Folder.at(path)
    if folder.root.exists() and not folder.root.is_dir():
        raise SftError(f"{folder} is a file; name a folder, or one that is yet to be made")
    for sub in (folder.sources, folder.benchmarks, folder.documents, folder.evaluations):
        sub.mkdir(parents=True, exist_ok=True)
    if not folder.recipe.exists():
        folder.recipe.write_text(files("sft_assets").joinpath("recipe_template.yaml").read_text("utf-8"), "utf-8")
    write_instance_config(folder, folder.root)
    return folder


def check_canaries(
    space: Workspace,
    items: int = 200,
    paraphrases: Path | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Check:
    """Plant copies of test items among the deduped rows and decontaminate them (see `decontaminated.check`).

    Raises:
        SftError: what it needs is not built, there is no test item, or the file of paraphrases cannot be used.
    """
    from sft_assets.decontaminated.benchmarks.asset import FIELDS_OF_ITEMS
    from sft_assets.decontaminated.check import check

    versions = space.versions()
    if absent := [name for name in ("deduped", "benchmarks", "decontaminated") if name not in versions]:
        raise SftError(f"canaries are planted among the deduped rows; {absent[0]} is not built yet: `sft run decontaminated`")
    with warehouse(space.folder, space.recipe).reading() as con:
        rows = con.execute(f"SELECT {FIELDS_OF_ITEMS} FROM benchmarks").fetchall()
        if not rows:
            raise SftError(f"there is no test item to plant: put test sets into {space.folder.benchmarks}, then `sft run`")
        dropped = con.execute("SELECT row_id FROM dropped WHERE state = 'decontaminated'").fetchall()

        def batches() -> Any:
            return con.cursor().sql("SELECT row_id, messages, rejected FROM deduped").to_arrow_reader(4096)

        ids = {row_id.bytes for (row_id,) in dropped}
        return check(rows, batches, ids, space.recipe, items, paraphrases, seed, progress)


def check_judge(
    space: Workspace,
    rubric: str | None = None,
    rows: int = 20,
    progress: Callable[[int], None] = lambda done: None,
    say: Say = print,
) -> JudgeCheck:
    """Measure the judge that the recipe names on the rows at hand (see `scored.judgements.check`).

    rubric: of the recipe's, by default its first. rows: of each kind that is asked about.

    Raises:
        SftError: nothing is judged yet, there is no such rubric, or the model cannot be asked.
    """
    from sft_assets.scored.judgements.check import check

    versions = space.versions()
    if absent := [name for name in ("decontaminated", "rule_hits", "judgements") if name not in versions]:
        raise SftError(f"a judge is measured on what it judged; {absent[0]} is not built yet: `sft run judgements`")
    if versions["judgements"].code_version != asset_named("judgements").code_version(space.folder, space.recipe):
        raise SftError(
            "the judgements there are come from another model, rubric or budget than the recipe's: `sft run judgements`"
        )
    evidence = Evidence(warehouse(space.folder, space.recipe), versions, say=say)
    return check(evidence, space.folder, space.recipe, rubric, rows, progress)


def select(space: Workspace, file: str, decision: str, why: str, reviewer: str | None = None) -> Selected:
    """Record one decision ('drop', 'keep' or 'review') about the rows that a file names (see `selection`).

    file: a path, or - for standard input. reviewer: by default the login name.

    Raises:
        SftError: the file cannot be read, or not every row in it can be decided on; nothing was recorded.
    """
    from sft_assets.reviews import selection

    if decision not in get_args(selection.Wanted):
        raise SftError(f"{decision!r} is no decision; there are {', '.join(get_args(selection.Wanted))}")
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise SftError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SftError(f"{file}: is not UTF-8; it has row ids, one a line") from None
    try:
        by = reviewer or getpass.getuser()
    except (OSError, KeyError):
        raise SftError("nobody is logged in by name here: say --reviewer NAME") from None
    house, name = warehouse(space.folder, space.recipe), "standard input" if file == "-" else file
    return selection.select(house, space.folder, STATES, name, text, cast("selection.Wanted", decision), why, by)


def import_answers(
    space: Workspace, file: Path, reviewer: str | None = None, what_fits: bool = False, wait: float | None = None
) -> Imported:
    """Record what people answered to the items of queues (see `reviews.answers.importing`).

    reviewer: who answered, where the file does not say. what_fits: record the others where some are refused. wait: seconds to
    wait for whoever is writing the database.

    Raises:
        SftError: it is no file of answers, or some were refused; nothing was recorded.
    """
    from sft_assets.reviews.answers import importing

    house = warehouse(space.folder, space.recipe)
    house = house if wait is None else replace(house, wait=wait)
    return importing.import_answers(house, space.folder, STATES, file, reviewer, what_fits)


def try_suggestions(folder: Folder, found: Lessons, wait: float | None = None) -> dict[str, tuple[int, int] | SftError]:
    """What would come of the thresholds that people suggest (see `reviews.lessons`), by signal: the rows that the state would
    keep without it and with it, what people decided being applied to both; or why that cannot be said."""
    from sft_assets.what_if import changed_recipe, what_if

    recipe, tried = Recipe.load(folder.recipe), dict[str, tuple[int, int] | SftError]()
    without: dict[str, int] = {}
    for one in (one for one in found.suggestions if one.threshold):
        name, asset = one.signal.state, asset_named(one.signal.state)
        try:
            if name not in without:
                without[name] = what_if(asset, folder, recipe, wait).counts["kept"][1]
            changed = changed_recipe(recipe, name, [one.assignment])
            tried[one.signal.name] = without[name], what_if(asset, folder, changed, wait).counts["kept"][1]
        except SftError as error:
            tried[one.signal.name] = error
    return tried


def export(
    space: Workspace,
    wait: float | None = None,
    say: Say = print,
    tell: Callable[[str, Version], None] = lambda name, version: None,
) -> Finished:
    """Bring `exported` up to date, and give the export of it (see `exported.finished`, and `exported.hub` to upload it).

    Raises:
        SftError: an asset failed, or somebody took the export's folder away meanwhile.
    """
    from sft_assets.exported.finished import Finished

    space.run(["exported"], False, wait, say, tell)
    return Finished.read(space.folder.root / space.versions()["exported"].report["export"])


def gaps(space: Workspace) -> Report:
    """Where rows are missing, why, and what it would take to fill the gaps (see `augmented.gaps`). Asks nobody.

    Raises:
        SftError: `gaps` is not built.
    """
    from sft_assets.augmented.gaps.report import Report, read_gaps
    from sft_assets.augmented.generations.asset import costs

    versions, house = space.versions(), warehouse(space.folder, space.recipe)
    if "gaps" not in versions:
        raise SftError("where rows are missing is not known: gaps is not built yet: `sft run gaps`")
    version, needs = versions["gaps"], asset_named("generations").deps
    said = version.report
    absent = [name for name in needs if name not in versions]
    with house.reading() as con:
        cells = read_gaps(con, version)
    is_stale = (
        version.code_version != asset_named("gaps").code_version(space.folder, space.recipe)
        or version.inputs.get("evaluation_files") != input_version(space.folder, "evaluation_files")
        or ("clustered" in versions and version.inputs["clustered"] != versions["clustered"].data_version)
    )
    no_costs = f"known once {absent[0]} is built: `sft run {absent[0]}`" if absent else ""
    parents = {name: versions[name] for name in needs if name in versions}
    found = costs(Evidence(house, parents), space.folder, space.recipe) if said["missing"] and not absent else []
    if not found and not absent:
        no_costs = "no method is named: say generations.methods, such as {self_instruct: {}}"
    lost = said["tasks_without_topic"]
    return Report(cells, said["rows"], said["missing"], said["lack"], is_stale, lost, found, no_costs)


def search(folder: Folder, text: str, most: int = 10) -> list[Found]:
    """The rows nearest to a text, by meaning and by word (see `clustered.search`)."""
    from sft_assets.clustered.search import search as find

    recipe = Recipe.load(folder.recipe)
    return find(warehouse(folder, recipe), recipe, text, most)


@dataclass
class Workspace:
    """A data folder with its recipe, Dagster instance and graph, read once."""

    folder: Folder
    recipe: Recipe
    instance: DagsterInstance
    defs: dg.Definitions

    @classmethod
    def open(cls, path: str | Path | None = None) -> Workspace:
        """Raises SftError where there is no such folder, or its recipe cannot be used."""
        folder = (Folder.current() if path is None else Folder.at(path)).existing()
        recipe = Recipe.load(folder.recipe)
        return cls(folder, recipe, open_instance(folder), definitions(folder, recipe))

    @cached_property
    def graph(self) -> Graph:
        return Graph.of(self.defs.resolve_asset_graph())

    # ---------------------------------------------------------------------------------------------------- looking

    def versions(self) -> dict[str, Version]:
        """The current version of each asset in the database."""
        house = warehouse(self.folder, self.recipe)
        if not house.path.exists():
            return {}
        with house.reading() as con:
            return {v.asset: v for v in read_versions(con)}

    def spending(self) -> dict[tuple[str, str], Spent]:
        """What was spent on models so far, by asset and model."""
        from sft_assets.models.door import Calls

        return Calls(self.folder.calls).totals() if self.folder.calls.exists() else {}

    def marked(self, most: int) -> list[tuple[str, list[str], str]]:
        """Kept rows that are marked for review: the first characters of the id, the reasons, what the answer says. Of each
        reason some, in turns."""
        if "scored" not in self.versions():
            return []
        with warehouse(self.folder, self.recipe).reading() as con:
            return con.execute(f"""
                SELECT left(row_id::VARCHAR, 8), review_reasons, messages[-1].content
                FROM scored WHERE verdict = 'review'
                ORDER BY row_number() OVER (PARTITION BY review_reasons[1] ORDER BY row_id), review_reasons[1]
                LIMIT {most}
            """).fetchall()

    def plan(self) -> dict[str, list[str]]:
        """The stale assets with their reasons, parents first. Writes nothing."""
        stale = self._stale()
        return {k.to_user_string(): stale[k] for k in self.graph.order(stale)}

    def estimates(self, stale: Mapping[str, Any]) -> dict[str, Estimate]:
        """What the models would be asked if everything in `stale` ran, and what it made stale: by asset. Asks nobody."""
        versions = self.versions()
        running = {*stale, *self.may_follow(stale)}
        house, found = warehouse(self.folder, self.recipe), {}
        for asset in (asset for asset in ASSETS if asset.name in running and asset.estimate is not None):
            above = {key.to_user_string() for key in self.graph.above([AssetKey(asset.name)])} - {asset.name}
            parents = {name: versions[name] for name in asset.deps if name in versions}
            assert asset.estimate is not None
            unsettled = bool(above & running) or len(parents) < len(asset.deps)
            most = _most_rows(versions, running) if unsettled else None
            found[asset.name] = asset.estimate(Evidence(house, parents), self.folder, self.recipe, unsettled, most)
        return found

    def disk(self, stale: Mapping[str, Sequence[str]], calls: Mapping[str, Estimate] | None = None) -> Disk:
        """What it needs on disk at most if everything in `stale` ran, and what it made stale (see `disk`). calls: its
        `estimates`, where they are known already."""
        calls = self.estimates(stale) if calls is None else calls
        return estimate_disk(self.folder, self.recipe, self.versions(), stale, self.may_follow(stale), calls)

    def may_follow(self, stale: Mapping[str, Any]) -> list[str]:
        """What becomes stale if everything in `stale` comes out different."""
        keys = {AssetKey(name) for name in stale}
        return [k.to_user_string() for k in self.graph.order((self.graph.below(keys) & self.graph.made) - keys)]

    def _stale(self, within: set[AssetKey] | None = None) -> dict[AssetKey, list[str]]:
        facts = Facts(
            self.versions(),
            {name: input_version(self.folder, name) for name in INPUTS},
            lambda v: not v.files_stand(self.folder.root),
        )
        return stale_causes(self.instance, self.graph, within, facts)

    # ---------------------------------------------------------------------------------------------------- running

    def run(
        self,
        names: Sequence[str] = (),
        again: bool = False,
        wait: float | None = None,
        say: Say = print,
        tell: Callable[[str, Version], None] = lambda name, version: None,
    ) -> list[str]:
        """Materialize what is stale (of `names` and what they need; of everything without names), and nothing else.

        again: materialize `names` (without names: everything) even where they are fresh. wait: seconds to wait for another
        run. say: hears what is about to run and why. tell: hears each version that was made.

        Returns the names of what ran, in order.

        Raises:
            SftError: an asset failed; what ran before it stands, and so does its own version before this run.
        """
        wanted = {AssetKey(asset_named(n).name) for n in names} or set(self.graph.made)
        within = self.graph.above(wanted)
        with occupy(self.folder, self.instance, wait, say):
            for warning in self._disk_warnings(within):
                say(warning)
            done = []
            if again:
                stale = self._stale(within)
                done += self.graph.order(wanted | set(stale))
                why = {k: stale.get(k) or ["asked for again"] for k in done}
                self._run(done, why, say, tell, {"sft/again": "true"})
            later = materialize_stale(lambda: self._stale(within), self.graph, lambda w, s: self._run(w, s, say, tell))
            done += [k for k in later if k not in done]
        return [k.to_user_string() for k in done]

    def _disk_warnings(self, within: set[AssetKey]) -> list[str]:
        """Where a run may meet a full disk."""
        if is_ample(self.folder, self.recipe):
            return []
        with suppress(Exception):  # whatever is wrong, the run itself says it, where it meets it
            stale = self._stale(within)
            return self.disk({key.to_user_string(): stale[key] for key in self.graph.order(stale)}).warnings if stale else []
        return []

    def _run(
        self,
        wave: Sequence[AssetKey],
        why: Mapping[AssetKey, list[str]],
        say: Say,
        tell: Callable[[str, Version], None],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        for key in wave:
            say(f"{key.to_user_string()}: {', '.join(why[key])}")
        causes = {f"sft/stale/{k.to_user_string()}": "; ".join(why[k])[:200] for k in wave}
        causes[PROCESS_TAG] = this_process()
        try:
            self.defs.resolve_job_def(JOB).execute_in_process(
                instance=self.instance, asset_selection=list(wave), tags={**causes, **(tags or {})}, run_config=QUIET
            )
        except dg.Failure as failure:
            raise SftError(failure.description or str(failure)) from failure
        except DagsterExecutionInterruptedError:  # Dagster's word for Ctrl-C once a run has begun
            raise KeyboardInterrupt from None
        versions = self.versions()
        for key in wave:
            tell(key.to_user_string(), versions[key.to_user_string()])


def _most_rows(versions: Mapping[str, Version], running: set[str]) -> int | None:
    """The most rows that can come to be scored: those of the last state that stays as it is, from combined on, since later ones
    only drop; None where not even combined stays."""
    for state in ("decontaminated", "deduped", "combined"):
        if state in versions and state not in running:
            kept: int = versions[state].report["kept"]
            return kept
    return None
