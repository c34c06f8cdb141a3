"""What is stale and why; materialize only that.

An asset is stale when its code or its recipe section changed, when a direct parent has other data than the one it was made from
(one hop, as Dagster's UI shows it), when it was never made, or when the database or a file that it wrote is not there any more.
Built on Dagster's public API; a property test holds it against Dagster's own resolver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dagster import AssetKey, DagsterInstance
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph  # what resolve_asset_graph returns

from sft_assets.errors import SftError
from sft_assets.warehouse import Version

DATA, CODE, INPUT = "dagster/data_version", "dagster/code_version", "dagster/input_data_version/"
CHANGED_CODE = ("its code changed", "its section of the recipe changed")
UNSEEN = "INITIAL"  # what Dagster records of a parent that it knows no version of


@dataclass(frozen=True)
class Graph:
    """The assets and how they hang together."""

    parents: Mapping[AssetKey, frozenset[AssetKey]]
    code: Mapping[AssetKey, str | None]
    made: frozenset[AssetKey]  # those that a run can materialize

    @classmethod
    def of(cls, graph: AssetGraph) -> Graph:
        """From Dagster's graph: `defs.resolve_asset_graph()`, or `repository_def.asset_graph` in a sensor."""
        nodes = {key: graph.get(key) for key in graph.get_all_asset_keys()}
        return cls(
            {key: frozenset(node.parent_keys) for key, node in nodes.items()},
            {key: node.code_version for key, node in nodes.items()},
            frozenset(key for key, node in nodes.items() if node.is_materializable),
        )

    def below(self, keys: Iterable[AssetKey]) -> set[AssetKey]:
        """Everything downstream of `keys`, without `keys` themselves unless one is below another."""
        found: set[AssetKey] = set()
        todo = list(keys)
        while todo:
            key = todo.pop()
            for child in self.parents:
                if child not in found and key in self.parents[child]:
                    found.add(child)
                    todo.append(child)
        return found

    def above(self, keys: Iterable[AssetKey]) -> set[AssetKey]:
        """`keys` and everything upstream of them that a run can materialize."""
        found: set[AssetKey] = set()
        todo = [k for k in keys if k in self.made]
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo += [p for p in self.parents[key] if p in self.made]
        return found

    def order(self, keys: Iterable[AssetKey]) -> list[AssetKey]:
        """Parents first, by name among equals."""
        left, result = set(keys), []
        while left:
            ready = sorted((k for k in left if not (self.below([o for o in left if o != k]) & {k})), key=str)
            result += ready
            left -= set(ready)
        return result


@dataclass(frozen=True)
class Facts:
    """What is there, beside Dagster's record. None: not looked at (a sensor must not open the database)."""

    versions: Mapping[str, Version] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    gone: Callable[[Version], bool] = lambda version: False


def latest_tags(instance: DagsterInstance, keys: Iterable[AssetKey]) -> dict[AssetKey, Mapping[str, str] | None]:
    """The tags of the last materialization of each, else of the last observation; None where there is neither."""
    wanted = list(keys)
    made = {record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(wanted)}
    found: dict[AssetKey, Mapping[str, str] | None] = {}
    for key in wanted:
        event = made[key].last_materialization if key in made else None
        if event and event.asset_materialization:
            found[key] = event.asset_materialization.tags or {}
            continue
        records = instance.fetch_observations(key, limit=1).records
        seen = records[0].asset_observation if records else None
        found[key] = (seen.tags or {}) if seen else None
    return found


def stale_causes(
    instance: DagsterInstance, graph: Graph, keys: Iterable[AssetKey] | None = None, facts: Facts = Facts()
) -> dict[AssetKey, list[str]]:
    """The reasons of each stale asset among `keys` (all that can be made); fresh assets are left out."""
    tags = latest_tags(instance, graph.parents)
    result = {}
    for key in graph.made if keys is None else keys:
        why = _recorded_causes(graph, key, tags, facts) or _missing_causes(key, tags, facts)
        if why:
            result[key] = why
    return result


def _recorded_causes(graph: Graph, key: AssetKey, tags: Mapping[AssetKey, Mapping[str, str] | None], facts: Facts) -> list[str]:
    """What Dagster's own record says."""
    own = tags[key]
    if own is None:
        return ["never materialized"]
    why = []
    code = graph.code[key]
    if code and own.get(CODE) != code:
        why.append(code_cause(own.get(CODE), code))
    parents = graph.parents[key]
    used = {AssetKey.from_user_string(t[len(INPUT) :]): v for t, v in own.items() if t.startswith(INPUT)}
    for parent in sorted(parents):
        now = facts.inputs.get(parent.to_user_string()) or (tags.get(parent) or {}).get(DATA) or UNSEEN
        if parent not in used:
            why.append(f"new input {parent.to_user_string()}")
        elif used[parent] != now:
            why.append(new_data(parent.to_user_string()))
    why += [f"dropped input {p.to_user_string()}" for p in sorted(set(used) - parents)]
    return why


def new_data(parent: str) -> str:
    """The cause of an asset that was made from other data of a parent."""
    return f"new data in {parent}"


def code_cause(before: str | None, now: str) -> str:
    """Code versions are number+recipe digest: say which of the two changed."""
    code, section = CHANGED_CODE
    return section if before and before.split("+")[0] == now.split("+")[0] else code


def causes_of(version: Version | None, code_version: str, inputs: Mapping[str, str]) -> list[str]:
    """Why an asset is made now: what differs from its version in the database. `inputs`: the data version of each parent."""
    if version is None:
        return ["never made"]
    why = [code_cause(version.code_version, code_version)] if version.code_version != code_version else []
    why += [new_data(name) for name, now in sorted(inputs.items()) if version.inputs.get(name) != now]
    return why + [f"dropped input {name}" for name in sorted(set(version.inputs) - set(inputs))]


def _missing_causes(key: AssetKey, tags: Mapping[AssetKey, Mapping[str, str] | None], facts: Facts) -> list[str]:
    """Where what is stored differs from what Dagster recorded."""
    if facts.versions is None:
        return []
    version = facts.versions.get(key.to_user_string())
    if version is None:
        return ["not in the database"]
    if version.data_version != (tags[key] or {}).get(DATA):
        return ["the database holds another version than Dagster recorded"]
    if facts.gone(version):
        return ["a file that it wrote is gone"]
    return []


def frontier(graph: Graph, stale: Iterable[AssetKey]) -> list[AssetKey]:
    """The stale assets that can run together now: none has a fresh asset above it that another one may still make stale."""
    stale = set(stale)
    maybe = graph.below(stale) - stale
    return graph.order(stale - graph.below(maybe))


def materialize_stale(
    look: Callable[[], dict[AssetKey, list[str]]],
    graph: Graph,
    run: Callable[[Sequence[AssetKey], Mapping[AssetKey, list[str]]], None],
) -> list[AssetKey]:
    """Run what is stale, look again, until nothing is: wave after wave, and never anything that is fresh.

    look: the stale assets with their reasons. run: materializes assets in one Dagster run, or raises.
    """
    done: list[AssetKey] = []
    for _ in range(len(graph.made) + 1):
        stale = look()
        if not stale:
            return done
        wave = frontier(graph, stale)
        run(wave, stale)
        done += wave
    left = {k.to_user_string(): "; ".join(why) for k, why in look().items()}
    raise SftError(
        f"still stale after each asset ran: {left}. Are files being written at the same time? Run again when they rest."
    )
