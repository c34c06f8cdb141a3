"""One module per method of generation: what it starts from, and how it gets from there to rows.

A method is a module with

    NAME       as recipes and the source of its rows ('generated:NAME') write it
    prompts    section -> the prompt files that it uses, by name, each with the data that there is for it
    seeds      material, section -> list[Seed]: what it tries, the same for the same material
    generate   seed, kit, section -> Steps: from one seed to its candidates (kit.py says how)
    CHECKED    the prompts for the model that checks, where there are any
    calls      section -> how often, about, each prompt is asked for one seed; for estimates

and, where candidates are to be held against those before them,

    settle     candidates, material, section -> None: called once for each group of seeds, in their order; it sets `fell`

To add one: write the module, its section in the recipe, and name it in METHODS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from sft_assets.augmented.candidate import Seed
from sft_assets.augmented.methods.kit import Kit, Steps
from sft_assets.augmented.methods.material import Material


class Method(Protocol):
    NAME: str

    def prompts(self, section: Any) -> Mapping[str, frozenset[str]]: ...

    def seeds(self, material: Material, section: Any) -> Sequence[Seed]: ...

    def generate(self, seed: Seed, kit: Kit, section: Any) -> Steps: ...

    def calls(self, section: Any) -> Mapping[str, float]: ...


MODULES = ("documents", "answers", "self_instruct", "evol_instruct", "personas", "preferences")
METHODS: dict[str, Any]


def __getattr__(name: str) -> Any:
    """METHODS, by name: loaded by whoever generates, not by whoever needs one method or plans."""
    if name != "METHODS":
        raise AttributeError(name)
    modules = [import_module(f"{__name__}.{module}") for module in MODULES]
    return {module.NAME: module for module in modules}
