"""The doors of one run: one for each model that is asked, under one budget.

with Doors(evidence, folder, recipe) as doors:
    for ask, reply in doors.ask([Ask("a-model", call), Ask("another", call)]):
        ...
doors.stopped   # "generations stopped at its cap of calls (40); ..."
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from sft_assets.augmented.methods.kit import Ask
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder
from sft_assets.models.asking import open_door
from sft_assets.models.door import Reply, Spent
from sft_assets.recipe import Recipe

if TYPE_CHECKING:
    from sft_assets.models.door import Door


class Doors:
    """A context manager. Models are asked one after another, each with as many requests in flight as its settings say."""

    def __init__(self, evidence: Evidence, folder: Folder, recipe: Recipe):
        self.evidence, self.folder, self.recipe = evidence, folder, recipe
        self._began = time.monotonic()
        self._doors: dict[str, Door] = {}
        self._beside: dict[str, list[Spent]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Doors:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    @property
    def stopped(self) -> str | None:
        """Which cap ended the run; None: none did."""
        return next((door.stopped for door in self._doors.values() if door.stopped), None)

    @property
    def spent(self) -> list[tuple[str, Spent]]:
        """What each model took in this run."""
        return [(model, door.spent) for model, door in self._doors.items()]

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply]]:
        """The replies as they come. What a cap left unasked has none."""
        by_model: dict[str, dict[int, Ask]] = {}
        for ask in asks:
            by_model.setdefault(ask.model, {})[id(ask.call)] = ask
        for model, own in by_model.items():
            for call, reply in self._door(model).ask(ask.call for ask in own.values()):
                yield own[id(call)], reply

    def _door(self, model: str) -> Door:
        if model not in self._doors:
            budget = self.recipe.generations
            if budget.minutes is not None:
                left = max(budget.minutes - (time.monotonic() - self._began) / 60, 1e-3)
                budget = budget.model_copy(update={"minutes": left})
            beside = [door.spent for door in self._doors.values()]
            door = self._stack.enter_context(
                open_door(self.evidence, self.folder, self.recipe, "generations", model, budget, beside=beside)
            )
            for others in self._beside.values():
                others.append(door.spent)
            self._doors[model], self._beside[model] = door, beside
        return self._doors[model]
