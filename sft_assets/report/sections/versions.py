"""Where it came from: what every asset was made from, its version, and the versions of the programs and models.

deduped   version 4   data 51ab03d29c11   code 2+a91c...   1.2 s   built on combined 3
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sft_assets import __version__
from sft_assets.models.packaged import PACKAGES
from sft_assets.models.smollm2 import FILE, SHA256
from sft_assets.recipe import EMBEDDED
from sft_assets.report.charts import Node, lineage
from sft_assets.report.scope import Scope
from sft_assets.report.section import Section
from sft_assets.warehouse.opening import STATES

PROGRAMS = ("dagster", "duckdb", "datasketch", "pyarrow", "numpy", "openai", "sentence-transformers", "torch", "transformers",
            "umap-learn", "scikit-learn")  # fmt: skip
MODELLED = ("embeddings", "likelihoods", "judgements", "contamination_judgements", "rewards", "topics", "generations")


def versions(scope: Scope) -> Section:
    order = _order(scope)
    made: dict[tuple[str, int], Any] = {
        (asset, number): at for asset, number, at in scope.rows("SELECT asset, version, created FROM store.versions")
    }
    shown = [scope.versions[name] for name in order]
    nodes = [Node(v.asset, f"{v.report.get('kept', 0):,}", v.asset in STATES) for v in shown]
    edges = [(parent, v.asset) for v in shown for parent in v.built_on if parent in order]
    return Section(
        "versions",
        "Where it came from",
        {
            "picture": lineage(nodes, _bare(edges)),
            "assets": [
                {"version": v, "made": str(made.get((v.asset, v.number), ""))[:19], "rows": v.report.get("kept", 0)}
                for v in shown
            ],
            "programs": [("sft_assets", __version__), ("Python", platform.python_version()), *_programs()],
            "models": _models(scope),
        },
    )


def _order(scope: Scope) -> list[str]:
    """The assets, each after what it was built on; evidence just above the first state that reads it."""
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in scope.versions or name == "report":
            return
        for parent in scope.versions[name].built_on:
            add(parent)
        if name not in order:
            order.append(name)

    for name in (*STATES, *scope.versions):
        add(name)
    return order


def _bare(edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges that no other way leads along already: `deduped -> scored` goes by decontaminated."""
    below: dict[str, set[str]] = {}
    for above, name in edges:
        below.setdefault(above, set()).add(name)

    def leads(start: str, end: str, seen: frozenset[str] = frozenset()) -> bool:
        return any(n == end or (n not in seen and leads(n, end, seen | {n})) for n in below.get(start, ()))

    return [(above, name) for above, name in edges if not any(leads(other, name) for other in below[above] if other != name)]


def _programs() -> list[tuple[str, str]]:
    found = []
    for name in PROGRAMS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _models(scope: Scope) -> list[tuple[str, str, str]]:
    """The model of each asset that asks one, and the sha256 of its weights where they are pinned."""
    found = []
    for asset in MODELLED:
        name = str(scope.report(asset).get("model") or "none")
        if name != "none":
            found.append((asset, name, _weights(asset, name)))
    return found


def _weights(asset: str, model: str) -> str:
    if asset == "embeddings":
        package = PACKAGES.get(model)
        return ", ".join(f"{name} {sha256}" for name, sha256 in package.files.items()) if package else ""
    return f"{FILE} {SHA256}" if model.startswith(EMBEDDED) else ""
