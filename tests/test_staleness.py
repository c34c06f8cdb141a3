"""What is stale: held against Dagster's own resolver, and against what an iteration over real data should do."""

from __future__ import annotations

import random
from functools import cached_property
from typing import Any

import dagster as dg
import pytest
from dagster import AssetKey
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.staleness import Graph, frontier, materialize_stale, stale_causes


class World:
    """A random graph whose sources, contents and code versions change under the instance's eyes."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.instance = dg.DagsterInstance.ephemeral()
        self.sources = [f"s{i}" for i in range(rng.randint(1, 2))]
        self.names = [f"a{i}" for i in range(rng.randint(2, 6))]
        self.deps = {}
        for i, name in enumerate(self.names):
            before = self.sources + self.names[:i]
            self.deps[name] = sorted(rng.sample(before, rng.randint(1, min(3, len(before)))))
        self.code = dict.fromkeys(self.names, 0)
        self.content = dict.fromkeys(self.names, 0)

    @cached_property
    def definitions(self) -> dg.Definitions:
        assets: list[Any] = []
        for name in self.sources:
            assets.append(dg.observable_source_asset(name=name)(lambda: dg.DataVersion("unused")))
        for name in self.names:
            assets.append(self._asset(name))
        return dg.Definitions(assets, jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor)

    def _asset(self, name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=[AssetKey(d) for d in self.deps[name]], code_version=str(self.code[name]))
        def made() -> dg.MaterializeResult:  # type: ignore[type-arg]
            return dg.MaterializeResult(data_version=dg.DataVersion(f"{name}-{self.content[name]}"))

        return made

    @cached_property
    def graph(self) -> Any:
        return self.definitions.resolve_asset_graph()

    def reload(self) -> None:
        """Forget what was made of the code, which has changed."""
        for name in ("definitions", "graph"):
            self.__dict__.pop(name, None)

    def observe(self, name: str, version: int) -> None:
        tags = {"dagster/data_version": f"{name}-{version}"}
        self.instance.report_runless_asset_event(dg.AssetObservation(name, tags=tags))

    def materialize(self, keys: list[AssetKey]) -> None:
        self.definitions.resolve_job_def("all").execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def step(self) -> None:
        kind = self.rng.choice(["observe", "materialize", "materialize", "code", "content", "rewire"])
        name = self.rng.choice(self.names)
        if kind == "observe":
            self.observe(self.rng.choice(self.sources), self.rng.randint(0, 2))
        elif kind == "materialize":
            self.materialize([AssetKey(n) for n in self.rng.sample(self.names, self.rng.randint(1, len(self.names)))])
        elif kind == "code":
            self.code[name] += 1
            self.reload()
        elif kind == "content":
            self.content[name] += 1
        else:
            before = self.sources + self.names[: self.names.index(name)]
            self.deps[name] = sorted(self.rng.sample(before, self.rng.randint(1, min(3, len(before)))))
            self.reload()


def dagsters_answer(world: World) -> set[AssetKey]:
    """The assets that Dagster's UI would show as unsynced or missing."""
    resolver = CachingStaleStatusResolver(world.instance, world.graph, LoadingContextForTest(world.instance))
    keys = [AssetKey(n) for n in world.names]
    return {k for k in keys if resolver.get_status(k) is not StaleStatus.FRESH}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_the_same_is_stale_as_in_dagsters_ui_over_random_histories(seed: int) -> None:
    world = World(random.Random(seed))
    for _ in range(6):
        world.step()
        assert set(stale_causes(world.instance, Graph.of(world.graph))) == dagsters_answer(world)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**9))
def test_a_run_ends_with_nothing_stale_and_materializes_nothing_fresh(seed: int) -> None:
    world = World(random.Random(seed))
    for _ in range(5):
        world.step()
    graph = Graph.of(world.graph)
    ran: list[AssetKey] = []

    def run(wave: Any, stale: Any) -> None:
        assert set(wave) <= set(stale), "a fresh asset was about to be materialized"
        ran.extend(wave)
        world.materialize(list(wave))

    done = materialize_stale(lambda: stale_causes(world.instance, graph), graph, run)
    assert done == ran
    assert len(set(done)) == len(done), "an asset ran twice"
    assert not stale_causes(world.instance, graph)


def chain(*edges: tuple[str, str]) -> Graph:
    keys = {AssetKey(n) for edge in edges for n in edge}
    parents = {k: frozenset(AssetKey(a) for a, b in edges if AssetKey(b) == k) for k in keys}
    return Graph(parents, dict.fromkeys(keys), frozenset(keys))


@pytest.mark.parametrize(
    ("stale", "first"),
    [
        ("abcd", "abcd"),  # a first run is one Dagster run
        ("a", "a"),
        ("bd", "b"),  # c may become stale between them: d waits
        ("ab", "ab"),
        ("d", "d"),
    ],
)
def test_a_wave_holds_what_can_run_without_running_twice(stale: str, first: str) -> None:
    graph = chain(("a", "b"), ("b", "c"), ("c", "d"))
    wave = frontier(graph, [AssetKey(c) for c in stale])
    assert [k.to_user_string() for k in wave] == list(first)
