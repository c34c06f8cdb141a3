"""What the tests of the states share: a fresh data folder, sources to put into it, assets run in order, rows read back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pytest
from hypothesis import settings
from rich.console import Console

from sft_assets.asset import Asset, materialize, warehouse
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.runs import INPUTS, input_version
from sft_assets.warehouse import Version

# the same examples in every run: a test that fails does so again
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.load_profile("fixed")

# for runs of the whole graph that are about something else: no model is loaded, nobody is asked
NO_MODELS = {"likelihoods": {"rows": 0}, "judgements": {"rows": 0}, "embeddings": {"model": None}}

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Folder, Any]]:
    """A finished folder and `sft serve` over it, for the tests of the group "live"."""
    from tests.served import finished_and_served

    with finished_and_served(tmp_path_factory.mktemp("live") / "data") as both:
        yield both


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A data folder with nothing in it."""
    return fresh(tmp_path / "data")


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models compute in float32, as plain ones do, also on processors on which they would in bfloat16."""
    monkeypatch.setattr("sft_assets.models.weights.bf16", lambda: False)


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's filesystem in memory, with nothing in it."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def fresh(root: Path) -> Folder:
    for name in ("sources", "benchmarks"):
        (root / name).mkdir(parents=True)
    return Folder.at(root)


def put(folder: Folder, name: str, content: bytes | str | Iterable[Any]) -> Path:
    """A source file: bytes and texts as they are, anything else as JSON lines."""
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = b"".join(orjson.dumps(record) + b"\n" for record in content)
    path = folder.sources / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def say(folder: Folder, **sections: Any) -> None:
    """Write the folder's recipe (JSON is YAML)."""
    folder.recipe.write_bytes(orjson.dumps(sections))


def build(folder: Folder, *assets: Asset, again: bool = False) -> list[Version]:
    """Bring assets up to date in the order in which they are named; the version of each."""
    recipe = Recipe.load(folder.recipe)
    versions = []
    for asset in assets:
        inputs = {name: input_version(folder, name) for name in asset.deps if name in INPUTS}
        versions.append(materialize(asset, folder, recipe, inputs, again=again)[0])
    return versions


def rows(folder: Folder, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """What a query over the folder's database gives."""
    with warehouse(folder, Recipe.load(folder.recipe)).reading() as con:
        return con.execute(sql, list(values)).fetchall()


@pytest.fixture
def sft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `sft ARGS`: (exit code, standard output, standard error)."""
    from sft_assets import cli
    from sft_assets.show import console

    monkeypatch.setattr(os, "environ", dict(os.environ))

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sft", *args])
        monkeypatch.setattr(console, "out", Console(highlight=False, width=200))
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
