"""Who executes on a data folder: Dagster's instance for it, the lock, runs that died, and the observation of its input files.

Everything that executes, from the command line, the UI or the daemon, comes in through `occupy`: it holds D/.lock for the whole
run, so two runs never interleave, and it sees the input files before any asset does. (Dagster's concurrency pools would do
less: a killed run keeps its slot, and the next one waits for it for ever.)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.instance.ref import InstanceRef  # the public from_config knows no overrides

from sft_assets import reviews
from sft_assets.errors import SftError
from sft_assets.folder import Folder, write_whole
from sft_assets.recipe import Recipe
from sft_assets.staleness import DATA

PROCESS_TAG = "sft/process"
REVIEWED = ("combined", "deduped", "decontaminated", "scored", "clustered", "augmented")  # states that apply people's decisions
REVIEWS: Mapping[str, str] = {f"{state}_reviews": state for state in REVIEWED}  # an input each: a decision makes one stale
SAID = "reviews"  # all that people said, applied or not: the report tells of it
INPUTS: Mapping[str, str] = {  # where in the data folder each lies
    "source_files": "sources",
    "benchmark_files": "benchmarks",
    "document_files": "documents",
    "evaluation_files": "evaluations",
    **dict.fromkeys((*REVIEWS, SAID), "reviews.jsonl"),
}
STORAGES = (
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.runs.sqlite.sqlite_run_storage",
    "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
)
ENGINES = 64  # that are kept; there is one for each run
OWNER = "sft_assets/data_folder"  # in a database of Dagster: the data folder that it tells of
GENERATED = "# Written by `sft init` and kept right by sft; take this line out to keep your own changes.\n"


def instance_config(folder: Folder) -> dict[str, Any]:
    """dagster.yaml for a data folder: everything persists under D/.dagster, nothing is sent anywhere."""
    home = folder.dagster
    return {
        "storage": {"sqlite": {"base_dir": str(home / "storage")}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home / "artifacts")},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "logs")},
        },
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 15},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def write_instance_config(folder: Folder, home: Path) -> None:
    """dagster.yaml in `home`, unless its owner has made it their own."""
    path = home / "dagster.yaml"
    content = GENERATED + yaml.safe_dump(instance_config(folder), sort_keys=False)
    if not path.exists() or (path.read_text("utf-8") != content and path.read_text("utf-8").startswith(GENERATED)):
        write_whole(path, content.encode())


def keep_engines() -> None:
    """Have Dagster's SQLite storages use an engine of SQLAlchemy again. They make a new one for each of the thousands of
    statements of a run, which compiles the statement anew and asks the database what it can; none holds a connection."""
    for name in STORAGES:
        storage: Any = import_module(name)
        if not hasattr(storage.create_engine, "kept"):
            storage.create_engine = _kept(storage.create_engine)


def _kept(create_engine: Callable[..., Any]) -> Callable[..., Any]:
    @lru_cache(ENGINES)
    def made(process: int, url: str, options: tuple[tuple[str, Any], ...]) -> Any:
        return create_engine(url, **{name: dict(value) if isinstance(value, tuple) else value for name, value in options})

    def engine(url: str, **options: Any) -> Any:
        named = sorted(options.items())
        return made(os.getpid(), url, tuple((n, tuple(v.items()) if isinstance(v, dict) else v) for n, v in named))

    engine.kept = made  # type: ignore[attr-defined]
    return engine


def open_instance(folder: Folder) -> DagsterInstance:
    """Dagster's instance for the folder: as its dagster.yaml says, else with the defaults of `instance_config`.

    Raises:
        SftError: the storage that its dagster.yaml names cannot be used, or is another folder's.
    """
    keep_engines()
    own, config = folder.root / "dagster.yaml", instance_config(folder)
    if own.exists():
        write_instance_config(folder, folder.root)  # the folder may have moved
        config = yaml.safe_load(own.read_text("utf-8")) or {}
    elsewhere = own.exists() and "sqlite" not in (config.get("storage") or {"sqlite": {}})
    folder.dagster.mkdir(parents=True, exist_ok=True)
    with (folder.dagster / ".opening").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two processes that make Dagster's tables at the same time fail over each other's
        # given whole: Dagster looks for its file by a pattern, and would not find one in a folder with brackets in its name
        try:
            instance = DagsterInstance.from_ref(InstanceRef.from_dir(str(folder.dagster), overrides=config))
            if elsewhere:
                _claim(folder, instance, own)
        except Exception as error:  # of Dagster, SQLAlchemy or the driver
            if not elsewhere or isinstance(error, SftError):
                raise
            raise SftError(f"{own}: Dagster's storage cannot be used: {_why(error)}") from error
        return instance


def _claim(folder: Folder, instance: DagsterInstance, own: Path) -> None:
    """Have a database be this folder's. Dagster knows an asset by its name alone: two folders in one database would each take
    what the other did for what it did itself, and build it all again.

    Raises:
        SftError: it is another folder's.
    """
    path, storage = folder.dagster / "folder-id", instance.daemon_cursor_storage
    if not path.exists():
        write_whole(path, uuid.uuid4().hex.encode())
    mine = path.read_text("ascii")
    owner = storage.get_cursor_values({OWNER}).get(OWNER)
    if owner is None:
        storage.set_cursor_values({OWNER: f"{mine} {socket.gethostname()}:{folder.root}"})
    elif owner.partition(" ")[0] != mine:
        raise SftError(
            f"{own}: the database that `storage` names tells of the data folder {owner.partition(' ')[2]}; each data folder "
            "needs a database of its own, or a schema (params: {options: -csearch_path=NAME})"
        )


def _why(error: BaseException) -> str:
    """What Dagster's storage stumbled over, in a line, without the address that it was given."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, dg.DagsterInvalidConfigError):
        said = "; ".join(one.message.partition("Stack Trace:")[0] for one in error.errors)
    elif isinstance(error, ImportError) and str(error.name).startswith("psycopg"):
        said = "say `scheme: postgresql+psycopg2` under postgres_db; SQLAlchemy takes another driver by default"
    elif "dagster_postgres" in str(error):
        said = "it needs a package that is not here: pip install 'sft-assets[postgres]'"
    else:
        said = str(error)
    return " ".join(said.split())[:500]


# ------------------------------------------------------------------------------------------------------------ the lock


def this_process() -> str:
    """Host, PID and start time: a PID that the system gave to another process since is not this one."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_alive(process: str) -> bool:
    """Whether the process that wrote such a tag still runs (processes of other hosts count as alive)."""
    host, pid, started = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return True
    try:
        found = psutil.Process(int(pid))
        return abs(found.create_time() - float(started)) < 0.1 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def fail_dead_runs(instance: DagsterInstance) -> list[str]:
    """Mark runs as failed that Dagster still records as started though their process has gone; their ids."""
    begun = [
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    dead = []
    for run in instance.get_runs(RunsFilter(statuses=begun)):
        process = run.tags.get(PROCESS_TAG)
        if process and not is_alive(process):
            instance.report_run_failed(run, "its process was killed; nothing half-done was stored, run it again")
            dead.append(run.run_id)
    return dead


@contextmanager
def occupy(
    folder: Folder,
    instance: DagsterInstance,
    wait: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Hold the folder for a run: take the lock, fail what died, observe the input files.

    Raises:
        Busy: another process did not let go within `wait` seconds (None: wait for ever).
    """
    with folder.lock(wait, say) as first:
        if first:
            for run_id in fail_dead_runs(instance):
                say(f"run {run_id[:8]} was killed; it is marked as failed now")
        observe(folder, instance)
        yield


# ---------------------------------------------------------------------------------------------------------- the inputs


def input_version(folder: Folder, name: str, ask: bool = True) -> str:
    """The fingerprint of an input asset's files, with the hub datasets, URLs and packages that the recipe names for it; of
    decisions that people made, a hash over those that the state applies.

    ask: whether to ask there what is the newest; without it what was last heard counts.

    Raises:
        SftError: a place cannot be reached and was never fetched, or a line of reviews.jsonl is no decision.
    """
    if name in REVIEWS:
        return reviews.version(folder, REVIEWS[name])
    if name == SAID:
        return reviews.read(folder).whole
    version = folder.version(folder.root / INPUTS[name])
    if name not in ("source_files", "benchmark_files") or not _names_places(folder):
        return version
    recipe = Recipe.load(folder.recipe)
    if name == "source_files":
        from sft_assets.raw.sources import remote_versions

        versions = remote_versions(folder, recipe, ask)
    else:
        from sft_assets.decontaminated.benchmarks.files import versions_elsewhere

        versions = versions_elsewhere(folder, recipe, ask)
    return hashlib.sha256("\n".join([version, *versions]).encode()).hexdigest() if versions else version


def input_files(folder: Folder, place: str) -> list[Path]:
    """The files at a place that INPUTS names: one that is a file itself, or those in a folder."""
    path = folder.root / place
    return Folder.files(path) if path.is_dir() else [path]


def _names_places(folder: Folder) -> bool:
    """Whether the recipe may name sources or test sets that are elsewhere: cheaper than to parse it."""
    try:
        text = folder.recipe.read_bytes()
    except OSError:
        return False
    return any(word in text for word in (b"hub", b"url", b"package"))


def observed_version(instance: DagsterInstance, name: str) -> str | None:
    """What Dagster last saw of an input asset."""
    records = instance.fetch_observations(dg.AssetKey(name), limit=1).records
    observation = records[0].asset_observation if records else None
    return (observation.tags or {}).get(DATA) if observation else None


def observations(folder: Folder, instance: DagsterInstance, ask: bool = True) -> list[dg.AssetObservation]:
    """One observation for each input whose files differ from what Dagster last saw."""
    result = []
    for name in INPUTS:
        version = input_version(folder, name, ask)
        if observed_version(instance, name) != version:
            if name in REVIEWS:
                metadata = {"decisions": len(reviews.read(folder).of(REVIEWS[name]))}
            elif name == SAID:
                metadata = {"lines": len(reviews.read(folder).log)}
            else:
                sizes = [p.stat().st_size for p in input_files(folder, INPUTS[name]) if p.is_file()]
                metadata = {"files": len(sizes), "bytes": sum(sizes)}
            result.append(dg.AssetObservation(dg.AssetKey(name), metadata=metadata, tags={DATA: version}))
    return result


def observe(folder: Folder, instance: DagsterInstance) -> None:
    """Tell Dagster of input files that changed."""
    for observation in observations(folder, instance):
        instance.report_runless_asset_event(observation)


class DataFolder(dg.ConfigurableResource[Any]):
    """The data folder as a resource: a run that uses it holds its lock from beginning to end."""

    path: str

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[DataFolder]:
        assert context.instance is not None and context.log is not None
        if context.run is not None:
            context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: this_process()})
        with occupy(Folder(Path(self.path)), context.instance, say=context.log.info):
            yield self
