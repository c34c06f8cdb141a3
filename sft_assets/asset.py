"""What every asset of the graph has in common: a declaration, and the way in which Dagster runs it.

    @state(Table("deduped", COLUMNS, after="combined"), code=1)
    def deduped(build: Build, folder: Folder, recipe: Recipe) -> None:
        \"\"\"The combined rows without exact and near duplicates.\"\"\"

The function only fills the build. Versions, the transaction, laws, metadata and checks are the same for all and live here.
Evidence that models give has a function that gathers it first, while the database is open to everybody (evidence.py).
"""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from sft_assets.columns import Column
from sft_assets.errors import LawBroken, SftError
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.staleness import causes_of
from sft_assets.warehouse import Version
from sft_assets.warehouse.build import Build, Table
from sft_assets.warehouse.opening import warehouse as warehouse
from sft_assets.warehouse.versions import read_versions

Fill = Callable[[Build, Folder, Recipe], None]
Gather = Callable[[Evidence, Folder, Recipe], None]
DataOfCode = Callable[[Folder, Recipe], str]
Estimated = Callable[[Evidence, Folder, Recipe, bool, int | None], Estimate]
Progress = Callable[[str, int, int | None], None]

# Who is told how far an asset is and what it has to say: the command line sets its own; elsewhere it is Dagster's log.
listener: ContextVar[Progress | None] = ContextVar("listener", default=None)
hearer: ContextVar[Callable[[str], None] | None] = ContextVar("hearer", default=None)


@dataclass(frozen=True)
class Asset:
    """A state of the dataset, or evidence about its rows."""

    table: Table
    code: int
    deps: tuple[str, ...]
    fill: Fill | None  # None where `gather` does it
    data_of_code: DataOfCode | None = None
    gather: Gather | None = None
    estimate: Estimated | None = None
    kinds: frozenset[str] = frozenset()  # what it is made with, beside DuckDB, in Dagster's words
    digest: Callable[[Recipe], str] | None = None  # over what of the recipe it depends on; None: its part

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def group(self) -> str:
        return "states" if self.table.is_state else "evidence"

    @property
    def description(self) -> str:
        return inspect.getdoc(self.fill or self.gather) or ""

    def code_version(self, folder: Folder, recipe: Recipe) -> str:
        """Changes with the code's number, with the data that is part of the code, and with the recipe's section."""
        code = f"{self.code}.{self.data_of_code(folder, recipe)}" if self.data_of_code else str(self.code)
        return f"{code}+{self.digest(recipe) if self.digest else recipe.digest(self.name)}"


def state(
    table: Table,
    *,
    code: int,
    deps: tuple[str, ...] = (),
    data_of_code: Callable[[], str] | None = None,
    data_of_folder: DataOfCode | None = None,
    kinds: Iterable[str] = (),
) -> Callable[[Fill], Asset]:
    """Declare an asset. `deps`: its parents beside the one in `table.after`. `code`: raised when the code gives other results;
    `data_of_code`: a digest of data in the package that does the same (rules, masks); `data_of_folder`: one that also looks at
    files that the recipe names. `kinds`: what it is made with."""
    parents = (table.after, *deps) if table.after else deps
    digest = data_of_folder or (data_of_code and (lambda folder, recipe: data_of_code()))
    return lambda fill: Asset(table, code, parents, fill, digest, kinds=frozenset(kinds))


evidence = state


def model_evidence(
    table: Table,
    *,
    code: int,
    deps: tuple[str, ...],
    estimate: Estimated | None = None,
    data_of_code: DataOfCode | None = None,
    digest: Callable[[Recipe], str] | None = None,
    kinds: Iterable[str] = (),
) -> Callable[[Gather], Asset]:
    """Declare evidence that takes long, as what a model gives does. `data_of_code`: a digest of the prompts, of the package or
    of the folder. `digest`: of the recipe, where it is more than a section. `estimate`: what gathering would take; where
    something upstream is not settled, at most, with the most rows there can be."""
    return lambda gather: Asset(table, code, deps, None, data_of_code, gather, estimate, frozenset(kinds), digest)


# ---------------------------------------------------------------------------------------------------------- running


def materialize(
    asset: Asset,
    folder: Folder,
    recipe: Recipe,
    inputs: Mapping[str, str],
    log: Callable[[str], None] = lambda _: None,
    again: bool = False,
    run: str = "",
) -> tuple[Version, bool]:
    """Bring an asset up to date: (its version, whether anything was written).

    With equal code and inputs the version that the database has is returned at once, unless `again`. run: what the ledger of
    model calls calls it.

    Raises:
        SftError: a sentence for people. Nothing was stored.
    """
    house, code_version = warehouse(folder, recipe), asset.code_version(folder, recipe)
    progress, say = _progress(asset.name, log), _say(asset.name, log)
    start, keep = time.monotonic(), recipe.engine.keep_versions

    def write(con: duckdb.DuckDBPyConnection, fill: Callable[[Build], None], table: Table = asset.table) -> Version:
        with Build.begin(con, table, code_version, inputs, keep, progress, say, start) as build:
            fill(build)
            build.notes |= {"why": why, "recipe": recipe.shown(asset.name)}  # what `sft diff` names as the cause
        return {v.asset: v for v in read_versions(con)}[asset.name]

    with house.writing() as con:
        known = {v.asset: v for v in read_versions(con)}
        for parent in asset.deps:
            if parent not in inputs and parent not in known:
                raise SftError(
                    f"{asset.name} needs {parent}, which is not in {folder.database}: `sft run {asset.name}` builds both"
                )
        inputs = {p: inputs.get(p) or known[p].data_version for p in asset.deps}
        now = known.get(asset.name)
        why = causes_of(now, code_version, inputs)
        if now and not again and not why and now.files_stand(folder.root):
            log(f"{asset.name}: up to date, version {now.number}")
            return now, False
        why = why or ["asked for again" if again else "a file that it wrote is gone"]
        if (fill := asset.fill) is not None:
            return write(con, lambda build: fill(build, folder, recipe)), True

    assert asset.gather is not None
    gathered = Evidence(house, {p: known[p] for p in asset.deps if p in known}, progress, say, run=run)
    asset.gather(gathered, folder, recipe)
    with house.writing() as con:
        return write(con, gathered.store, gathered.table(asset.table)), True


def _progress(name: str, log: Callable[[str], None]) -> Callable[[int, int | None], None]:
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if told := listener.get():
            told(name, done, total)
        elif time.monotonic() - last > 5:
            last = time.monotonic()
            log(f"{name}: {done:,}" + (f" of {total:,} ({100 * done / total:.0f} %)" if total else ""))

    return tell


def _say(name: str, log: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: (hearer.get() or log)(f"{name}: {text}")


@contextmanager
def told_to(progress: Progress, say: Callable[[str], None]) -> Iterator[None]:
    """Send the progress of assets that run in this block to `progress`, and their words to `say`."""
    tokens = listener.set(progress), hearer.set(say)
    try:
        yield
    finally:
        listener.reset(tokens[0])
        hearer.reset(tokens[1])


# ---------------------------------------------------------------------------------------------------------- Dagster


def to_dagster(
    asset: Asset,
    folder: Folder,
    recipe: Recipe,
    observed: Mapping[str, Callable[[], str]],
    columns: Sequence[Column],
    hooks: Iterable[dg.HookDefinition] = (),
) -> dg.AssetsDefinition:
    """The asset as Dagster sees it. `observed`: how to fingerprint each input that is files. `columns`: of its view."""
    engine = recipe.engine

    @dg.asset(
        name=asset.name,
        deps=[dg.AssetKey(d) for d in asset.deps],
        description=asset.description,
        group_name=asset.group,
        kinds={"duckdb", *asset.kinds},
        owners=engine.owners,
        tags={"sft/layer": asset.group, "sft/long": str(asset.gather is not None).lower()},
        code_version=asset.code_version(folder, recipe),
        required_resource_keys={"data_folder"},
        freshness_policy=freshness(engine.fresh_days),
        check_specs=[dg.AssetCheckSpec(law.name, asset=asset.name, description=law.says) for law in asset.table.all_laws],
        metadata={"dagster/column_schema": column_schema(columns), "look": f"SELECT * FROM {asset.name}"},
        hooks=set(hooks),
    )
    def run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        again = context.run.tags.get("sft/again") == "true"
        inputs = {d: observed[d]() for d in asset.deps if d in observed}
        try:
            version, written = materialize(asset, folder, recipe, inputs, context.log.info, again, context.run.run_id)
        except SftError as error:
            for name in error.laws if isinstance(error, LawBroken) else []:
                failed = dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(asset.name), check_name=name, passed=False, metadata={"error": str(error)}
                )
                context.instance.report_runless_asset_event(failed)
            raise dg.Failure(str(error), allow_retries=False) from error
        cause = f"sft/stale/{asset.name}"
        if written and cause not in context.run.tags:  # a run that was started from the UI says so too
            context.instance.add_run_tags(context.run.run_id, {cause: "; ".join(version.report["why"])[:200]})
        checks: dict[str, dict[str, Any]] = {law.name: {"law": law.says, "broken by": 0} for law in asset.table.all_laws}
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(version.data_version),
            metadata={**metadata(version, written), "dagster/column_lineage": column_lineage(columns)},
            check_results=[
                dg.AssetCheckResult(check_name=name, passed=True, metadata=said, description=HOLDS)
                for name, said in checks.items()
            ],
        )
        confirm(context.instance, context.run.run_id, context.asset_key, checks)

    return run


def confirm(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey, checks: Mapping[str, Mapping[str, Any]]) -> None:
    """Say once more that checks passed which a run evaluated after others had planned them anew.

    The last evaluation is to Dagster that of the run which was planned last. Where another run came in between (this one waited
    for the folder), that is one of an older materialization, and the UI would show that the asset was not checked.
    """
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(key, n) for n in checks])
    if overtaken := [check for check, record in latest.items() if record.run_id != run_id]:
        (made,) = instance.fetch_materializations(key, limit=1).records
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=made.storage_id, run_id=made.run_id, timestamp=made.timestamp
        )
        for check in overtaken:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(key, check.name, True, checks[check.name], target, description=HOLDS)
            )


HOLDS = "Checked in the transaction that wrote the table: had it not held, the table before would stand."


def freshness(days: float) -> dg.FreshnessPolicy:
    """An asset is fresh that was made, or confirmed to be up to date, in the last `days`; a warning comes after half."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days), warn_window=timedelta(days=days / 2))


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """What the asset's view shows: whole rows."""
    return dg.TableSchema([dg.TableColumn(column.name, column.type, column.says) for column in columns])


def column_lineage(columns: Sequence[Column]) -> dg.TableColumnLineage:
    """Which columns of its parents each column was made from."""
    return dg.TableColumnLineage(
        {c.name: [dg.TableColumnDep(dg.AssetKey(asset), name) for asset, name in c.made_from] for c in columns if c.made_from}
    )


def metadata(version: Version, written: bool = True) -> dict[str, Any]:
    """A version's report as Dagster metadata; the dataset's own text is fenced."""
    report = version.report
    result: dict[str, Any] = {
        "dagster/row_count": report["kept"],
        "seconds": round(version.seconds, 2),
        "rows_per_second": round((report.get("in") or report["kept"]) / max(version.seconds, 1e-3)),
        "version": version.number,
        "written": written,
    }
    if "in" in report:
        result |= {"rows_in": report["in"], "rows_created": report["created"], "rows_kept": report["kept"]}
        for kind in ("dropped", "quarantined", "edited"):
            result[kind] = sum(report[kind].values())
            result |= {f"{kind}/{reason}": n for reason, n in report[kind].items()}
    for name, value in report.items():
        if name.startswith("sample_"):
            result[name] = dg.MetadataValue.md(fenced_table(value))
        elif name == "picture":
            result[name] = dg.MetadataValue.md(f"![picture](data:image/png;base64,{value})")
        elif name == "why":
            result[name] = "; ".join(value)
        elif name not in {"in", "created", "kept", "dropped", "quarantined", "edited"}:
            result[name] = value if isinstance(value, int | float | str) else dg.MetadataValue.json(value)
    return result


def fenced_table(rows: list[dict[str, Any]]) -> str:
    """Rows of dataset text as a Markdown code block that nothing in the text can close."""
    if not rows:
        return "none"
    lines = [" | ".join(f"{k}: {one_line(v)}" for k, v in row.items()) for row in rows]
    return "\n".join("    " + line for line in lines)  # an indented block has no fence that a text could close


def one_line(value: Any) -> str:
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return text if len(text) <= 200 else text[:199] + "…"
