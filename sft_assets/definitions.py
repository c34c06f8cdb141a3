"""The code location: everything assembled, nothing computed.

source_files -> raw -> combined -> deduped --------------> decontaminated --------------> scored ------> clustered --+
benchmark_files -> benchmarks -> contamination_candidates ---^  rule_hits, likelihoods, -----^           ^ |  |  |   |
                                                                judgements, rewards ...                  | |  |  map |
                                                                embeddings -> projection -> topics,    --+ |  |      |
                                                                              descriptors                  |  |      |
evaluation_files -> gaps <---------------------------------------------------------------------------------+  |      |
document_files -> chunks, gaps -> generations <---------------------------------------------------------------+      |
                                  generations -> generation_checks -> generation_scores -> augmented <---------------+
                                                                                           augmented -> exported -> report
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from sft_assets.asset import Asset, to_dagster
from sft_assets.augmented.asset import augmented
from sft_assets.augmented.chunks.asset import chunks
from sft_assets.augmented.gaps.asset import gaps
from sft_assets.augmented.gates.asset import generation_checks
from sft_assets.augmented.gates.scores import generation_scores
from sft_assets.augmented.generations.asset import generations
from sft_assets.automation import failure_hook, jobs, nightly, sensors
from sft_assets.clustered.asset import clustered
from sft_assets.clustered.descriptors.asset import descriptors
from sft_assets.clustered.embeddings import embeddings
from sft_assets.clustered.map.asset import map_
from sft_assets.clustered.projection.asset import projection
from sft_assets.clustered.topics.asset import topics
from sft_assets.columns import columns
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.errors import SftError, did_you_mean
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.report.asset import report
from sft_assets.runs import INPUTS, REVIEWS, SAID, DataFolder, input_version
from sft_assets.scored.asset import scored
from sft_assets.scored.judgements.asset import judgements
from sft_assets.scored.judgements.contamination import contamination_judgements
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits

ASSETS: tuple[Asset, ...] = (
    raw,
    combined,
    deduped,
    benchmarks,
    contamination_candidates,
    decontaminated,
    rule_hits,
    likelihoods,
    judgements,
    contamination_judgements,
    rewards,
    scored,
    descriptors,
    embeddings,
    projection,
    topics,
    clustered,
    map_,
    chunks,
    gaps,
    generations,
    generation_checks,
    generation_scores,
    augmented,
    exported,
    report,
)
STATES = tuple(a.name for a in ASSETS if a.table.is_state)


def asset_named(name: str) -> Asset:
    """The asset of that name.

    Raises:
        SftError: there is none.
    """
    for asset in ASSETS:
        if asset.name == name:
            return asset
    raise SftError(f"there is no asset {name!r}; {did_you_mean(name, [a.name for a in ASSETS], 'there are')}")


def definitions(folder: Folder, recipe: Recipe | None = None, assets: tuple[Asset, ...] = ASSETS) -> dg.Definitions:
    """The graph over a data folder. The recipe is read once; what was hashed into the code versions is what runs."""
    recipe = Recipe.load(folder.recipe) if recipe is None else recipe
    fingerprints = {name: partial(input_version, folder, name) for name in INPUTS}
    tables, hook = {asset.name: asset.table for asset in assets}, failure_hook(folder)
    return dg.Definitions(
        assets=[
            *(_observed(folder, name, recipe.engine.owners) for name in INPUTS),
            *(to_dagster(a, folder, recipe, fingerprints, columns(a.table, tables), [hook]) for a in assets),
        ],
        jobs=jobs([asset.name for asset in assets if asset.table.is_state]),
        schedules=[nightly()],
        sensors=sensors(folder, recipe),
        resources={"data_folder": DataFolder(path=str(folder.root))},
        executor=dg.in_process_executor,
    )


def _observed(folder: Folder, name: str, owners: list[str]) -> Any:
    """An input asset: files that people put there, known by a fingerprint of their bytes, or what people decided."""
    if name in REVIEWS:
        description = f"What people decided about rows that {REVIEWS[name]} applies. Its version is a hash of those decisions."
        metadata = {"file": f"{folder}/{INPUTS[name]}"}
    elif name == SAID:
        description = "All that people said about rows, applied or not. Its version is a hash of every line."
        metadata = {"file": f"{folder}/{INPUTS[name]}"}
    else:
        description = f"The files in {INPUTS[name]}/ of the data folder. Its version is a hash of their names and bytes."
        metadata = {"folder": f"{folder}/{INPUTS[name]}"}
    spec = dg.AssetSpec(
        name,
        group_name="inputs",
        description=description,
        metadata=metadata,
        owners=owners,
        kinds={"file"},
        tags={"sft/layer": "inputs"},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.multi_observable_source_asset(specs=[spec], name=name)  # type: ignore[untyped-decorator]
        def files() -> Iterator[dg.ObserveResult]:
            yield dg.ObserveResult(asset_key=name, data_version=dg.DataVersion(input_version(folder, name)))

    return files


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the graph over the folder that SFT_DATA names (default ./data)."""
    return definitions(Folder.current())
