"""What starts runs by itself, what people start with one press, and what is said of a failure.

    dataset           every state                    new_sources, new_benchmarks, new_documents, new_evaluations: files changed
    deduped_onward    a state and all that follow    new_decisions: people have decided, and two minutes were quiet
    export            the export and its report      new_recipe: recipe.yaml changed
                                                     nightly: what hub datasets, URLs and packages have for new

A sensor is level-triggered: it compares what is with what should be, so a change that was made while it was off is seen when it
is turned on. It asks for one run over everything affected, in which what is up to date returns at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, REVIEWS, SAID, fail_dead_runs, input_files, input_version, observations
from sft_assets.staleness import CHANGED_CODE, Facts, Graph, new_data, stale_causes

JOB = "dataset"
QUIET = 5.0  # seconds: a file that is younger may still be on its way
QUIET_DECISIONS = 120.0  # a person who decides about rows goes on to the next
ACTIVE = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


# --------------------------------------------------------------------------------------------------------------- jobs


def jobs(states: Sequence[str]) -> list[dg.UnresolvedAssetJobDefinition]:
    """The whole graph, each state with what follows it, and the export alone. `states`: first to last."""
    onward = [
        dg.define_asset_job(
            f"{state}_onward",
            dg.AssetSelection.assets(state).downstream(),
            description=f"{state} and everything that follows it; what is up to date returns at once.",
        )
        for state in states[1:-1]
    ]
    whole = dg.define_asset_job(
        JOB,
        dg.AssetSelection.groups("states", "evidence"),
        description="Every state of the dataset; what is up to date returns at once.",
    )
    export = dg.define_asset_job(
        "export",
        dg.AssetSelection.assets(states[-1]).downstream(),
        description="The export and its report, from the rows as they are.",
    )
    return [whole, *onward, export]


# ------------------------------------------------------------------------------------------------------------ sensors


@dataclass(frozen=True)
class Watch:
    """What one sensor looks at. inputs: those of INPUTS; without one it is the recipe. quiet: seconds that files must rest."""

    name: str
    inputs: tuple[str, ...]
    says: str
    quiet: float = QUIET

    def concerns(self, causes: Sequence[str]) -> bool:
        """Whether an asset is stale because of what this sensor looks at. What no other answers for, such as assets that were
        never made or that a failed run left behind, is the business of the one that looks at sources."""
        if not self.inputs:
            return any(cause in CHANGED_CODE for cause in causes)
        if any(new_data(name) in causes for name in self.inputs):
            return True
        others = {*CHANGED_CODE, *(new_data(name) for name in INPUTS)}
        return "source_files" in self.inputs and not others & set(causes)


WATCHES = (
    Watch("new_sources", ("source_files",), "Runs what is stale when files in sources/ change, up to the export."),
    Watch("new_benchmarks", ("benchmark_files",), "Runs what is stale when test sets in benchmarks/ change."),
    Watch("new_documents", ("document_files",), "Runs what is stale when files in documents/ change."),
    Watch("new_evaluations", ("evaluation_files",), "Runs what is stale when results in evaluations/ change."),
    Watch(
        "new_decisions",
        (*REVIEWS, SAID),
        "Runs what is stale when people have decided about rows, once nobody has decided for two minutes.",
        QUIET_DECISIONS,
    ),
    Watch("new_recipe", (), "Runs what an edit of recipe.yaml made stale, once its definitions are loaded again."),
)


def sensors(folder: Folder, recipe: Recipe) -> list[dg.SensorDefinition]:
    """Off by default; turn them on in the UI under Automation."""
    return [sensor(watch, folder, recipe) for watch in WATCHES]


def sensor(watch: Watch, folder: Folder, recipe: Recipe) -> dg.SensorDefinition:
    """The sensor that does what `watch` says. `recipe`: the one that the definitions were made of."""

    @dg.sensor(
        name=watch.name,
        job_name=JOB,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=watch.says,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if waits := not_now(watch, folder, recipe):
            return dg.SkipReason(waits)
        fail_dead_runs(context.instance)
        try:
            seen = observations(folder, context.instance, ask=False)  # a look every ten seconds is no reason to ask a server
            inputs = {name: input_version(folder, name, ask=False) for name in INPUTS}
        except SftError as error:
            return dg.SkipReason(str(error))
        if context.instance.get_runs(RunsFilter(statuses=ACTIVE), limit=1):
            return dg.SkipReason("a run is in progress; the next look comes when it has ended")
        assert context.repository_def is not None
        graph = Graph.of(context.repository_def.asset_graph)
        stale = stale_causes(context.instance, graph, facts=Facts(inputs=inputs))
        if not folder.database.exists():
            stale |= {key: ["not in the database"] for key in graph.made if key not in stale}
        if not stale:
            return dg.SensorResult(asset_events=seen, skip_reason="everything is up to date")
        if not any(watch.concerns(causes) for causes in stale.values()):
            others = ", ".join(k.to_user_string() for k in graph.order(stale))
            return dg.SensorResult(
                asset_events=seen, skip_reason=f"stale for other reasons, which are not looked at here: {others}"
            )
        return dg.SensorResult(run_requests=[request(context.instance, graph, stale, inputs)], asset_events=seen)

    return look


def not_now(watch: Watch, folder: Folder, recipe: Recipe) -> str | None:
    """Why a sensor waits before it looks at anything: a recipe that is not the loaded one, files that may be on their way."""
    try:
        on_disk = Recipe.load(folder.recipe)
    except SftError as error:
        return f"recipe.yaml cannot be used: {error}"
    if on_disk != recipe:
        return 'recipe.yaml was edited after it was loaded: press "Reload definitions" (Deployment), then it counts'
    places = dict.fromkeys(INPUTS[name] for name in watch.inputs)
    for path in (path for place in places for path in input_files(folder, place)):
        with suppress(OSError):  # it is gone by now
            if path.is_file() and abs(time.time() - path.stat().st_mtime) < watch.quiet:
                return f"waiting until {path.name} has not changed for {watch.quiet:g} seconds"
    return None


def request(
    instance: DagsterInstance, graph: Graph, stale: Mapping[AssetKey, list[str]], inputs: Mapping[str, str]
) -> dg.RunRequest:
    """One run over what is stale and what may follow, tagged with the causes."""
    causes = {k.to_user_string(): "; ".join(stale[k]) for k in graph.order(stale)}
    state = sorted((k.to_user_string(), graph.code[k] or "") for k in graph.made)
    made = [last.run_id if (last := instance.get_latest_materialization_event(k)) else "" for k in sorted(graph.made)]
    # what stands now is part of the key: a state of the files that comes back is asked for again, a run that failed is not
    key = hashlib.sha256(repr((causes, inputs, state, made)).encode()).hexdigest()
    return dg.RunRequest(
        run_key=key,
        asset_selection=graph.order(set(stale) | (graph.below(stale) & graph.made)),
        tags={f"sft/stale/{name}": why[:200] for name, why in causes.items()},
    )


# ----------------------------------------------------------------------------------------------------------- schedule


def nightly() -> dg.ScheduleDefinition:
    """Off by default, as the sensors are, which ask no server."""
    return dg.ScheduleDefinition(
        name="nightly",
        job_name=JOB,
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Asks hub datasets, URLs and packages for what is new, runs what that makes stale, and confirms the rest.",
    )


# ------------------------------------------------------------------------------------------------------------ failure


def failure_hook(folder: Folder) -> dg.HookDefinition:
    """Says in the run's log what a failure means for the data and what to do about it, and tags the run with the reason."""

    @dg.failure_hook(name="explain_failure")
    def explain_failure(context: dg.HookContext) -> None:
        error = context.op_exception
        asset = context.step_key
        reason = (error.description if isinstance(error, dg.Failure) else None) or f"{type(error).__name__}: {error}"
        context.log.error(
            f"{asset} was not made: {reason}\n"
            "Nothing half-done was stored. The tables and the export that were there before still stand, and nothing was built "
            f"on this. `sft plan --data {folder}` says what is stale now; when the cause is gone `sft run --data {folder}` "
            "goes on from here, and asks no model again for what it has answered."
        )
        context.instance.add_run_tags(context.run_id, {f"sft/failed/{asset}": " ".join(reason.split())[:200]})

    return explain_failure
