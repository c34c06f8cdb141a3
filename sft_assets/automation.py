"""What starts runs by itself: one job over the whole graph, one sensor on its inputs.

The sensor is level-triggered: it compares what is with what should be, so a change that was made while it was off is seen when
it is turned on. It asks for one run over everything affected, in which what is up to date returns at once.
"""

from __future__ import annotations

import hashlib
import time

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, fail_dead_runs, input_files, input_version, observations
from sft_assets.staleness import Facts, Graph, stale_causes

JOB = "dataset"
QUIET = 5.0  # seconds: a file that is younger may still be on its way
ACTIVE = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def job() -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        JOB,
        dg.AssetSelection.groups("states", "evidence"),
        description="Every state of the dataset; what is up to date returns at once.",
    )


def new_data_sensor(folder: Folder, recipe: Recipe) -> dg.SensorDefinition:
    """Off by default; turn it on in the UI under Automation."""

    @dg.sensor(
        name="new_data",
        job_name=JOB,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Runs what is stale when files of the data folder change (sources/, documents/ ...), up to the export.",
    )
    def new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            on_disk = Recipe.load(folder.recipe)
        except SftError as error:
            return dg.SkipReason(f"recipe.yaml cannot be used: {error}")
        if on_disk != recipe:
            return dg.SkipReason(
                'recipe.yaml was edited after it was loaded: press "Reload definitions" (Deployment), then it counts'
            )
        young = [
            p.name
            for place in dict.fromkeys(INPUTS.values())
            for p in input_files(folder, place)
            if p.is_file() and abs(time.time() - p.stat().st_mtime) < QUIET
        ]
        if young:
            return dg.SkipReason(f"waiting until {young[0]} has not changed for {QUIET:g} seconds")
        fail_dead_runs(context.instance)
        try:
            seen = observations(folder, context.instance, ask=False)  # a look every ten seconds is no reason to ask a server
        except SftError as error:
            return dg.SkipReason(str(error))
        if context.instance.get_runs(RunsFilter(statuses=ACTIVE), limit=1):
            return dg.SkipReason("a run is in progress; the next look comes when it has ended")
        assert context.repository_def is not None
        graph = Graph.of(context.repository_def.asset_graph)
        inputs = {name: input_version(folder, name, ask=False) for name in INPUTS}
        stale = stale_causes(context.instance, graph, facts=Facts(inputs=inputs))
        if not folder.database.exists():
            stale |= {key: ["not in the database"] for key in graph.made if key not in stale}
        if not stale:
            return dg.SensorResult(asset_events=seen, skip_reason="everything is up to date")
        selection = graph.order(set(stale) | (graph.below(stale) & graph.made))
        causes = {k.to_user_string(): "; ".join(stale[k]) for k in graph.order(stale)}
        state = sorted((k.to_user_string(), graph.code[k] or "") for k in graph.made)
        made = [
            last.run_id if (last := context.instance.get_latest_materialization_event(k)) else "" for k in sorted(graph.made)
        ]
        # what stands now is part of the key: a state of the files that comes back is asked for again, a run that failed is not
        key = hashlib.sha256(repr((causes, inputs, state, made)).encode()).hexdigest()
        tags = {f"sft/stale/{name}": why[:200] for name, why in causes.items()}
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=key, asset_selection=selection, tags=tags)], asset_events=seen
        )

    return new_data
