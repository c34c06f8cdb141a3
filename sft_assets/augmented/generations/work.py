"""A method in a run: its groups of seeds, what became of them, and whether it goes on.

32 seeds tried  ->  40 candidates, 26 passed the method's own checks, 1 the gates  ->  "stopped after 32 seeds: 1 of 40 ..."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.augmented.candidate import Fall, Seed
from sft_assets.augmented.gates import Gates
from sft_assets.augmented.gates.duplicates import among
from sft_assets.augmented.gates.gate import without
from sft_assets.augmented.generations.doors import Doors
from sft_assets.augmented.generations.driver import Tried, play
from sft_assets.augmented.generations.gathered import Gathered
from sft_assets.augmented.generations.rows import Made, contents_of, made_of
from sft_assets.augmented.methods import METHODS
from sft_assets.augmented.methods.kit import Kit
from sft_assets.errors import SftError
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder
from sft_assets.models.prompt import Prompt
from sft_assets.recipe import Recipe


class Work:
    """A method in a run: what it tried, and what became of it."""

    def __init__(self, name: str, own: Any, prompts: dict[str, Prompt], material: Gathered, recipe: Recipe, folder: Folder):
        section = recipe.generations
        self.name, self.own, self.material, self.recipe = name, own, material, recipe
        self.method = METHODS[name]
        self.names = {prompt.sha256: prompt.name for prompt in prompts.values()}
        judge, reward = recipe.judgements.model, rewarding(recipe) if getattr(own, "rated_by", "") == "reward" else None
        self.kit = Kit(prompts, section.model, section.checker or section.model, section.seed, judge, reward)
        answering = [getattr(own, name, None) for name in ("models", "temperatures", "systems")]
        self.version = [
            *sorted(self.names),
            self.kit.model,
            self.kit.checker,
            self.kit.judge if answering[0] is not None else "",
            repr(answering),
        ]
        self.tried = self.unasked = 0
        self.made: list[Made] = []
        self.stopped = ""

    def group(self, seeds: Sequence[Seed], doors: Doors, progress: Callable[[int], None]) -> list[Made]:
        """The rows of so many seeds, tried at the same time."""
        tried: list[Tried] = play(self.method, seeds, self.kit, self.own, doors.ask, progress)
        asked = [one for one in tried if one.candidates is not None]
        if hasattr(self.method, "settle"):
            self.method.settle([c for one in asked for c in one.candidates or []], self.material, self.own)
        made = [row for one in asked for row in made_of(self.name, one, self.recipe, self.version)]
        self.tried += len(seeds)
        self.unasked += len(tried) - len(asked)
        self.made += made
        return made

    def notes(self, seeds: int) -> dict[str, Any]:
        """What is to be told of the method."""
        fell = Counter(made.fell.reason for made in self.made if made.fell)
        said: dict[str, Any] = {
            "seeds": seeds,
            "tried": self.tried - self.unasked,
            **({"unasked": self.unasked} if self.unasked else {}),
            "candidates": len(self.made),
            "passed_own_checks": len(self.made) - fell.total(),
            "fell": dict(sorted(fell.items())),
            "requests": round(sum(made.tried.requests * made.share for made in self.made)),
            "tokens": round(sum(made.tried.tokens * made.share for made in self.made)),
            "cost": round(sum(made.tried.cost * made.share for made in self.made), 6),
        }
        return {**said, "stopped": self.stopped} if self.stopped else said


class Yield:
    """Whether a method goes on: the share of its candidates that pass its own checks and the cheap gates.

    The gates are asked when twice as many seeds were tried as the last time: they read all of combined.
    """

    def __init__(self, evidence: Evidence, folder: Folder, recipe: Recipe):
        self.evidence, self.folder, self.recipe = evidence, folder, recipe
        self.gates: Gates | None = None
        self.asked: dict[str, int] = {}

    def too_low(self, work: Work) -> bool:
        """Whether the method is to stop; then it says why."""
        least, tried = self.recipe.generations.min_yield, work.tried - work.unasked
        if not work.made or tried < 2 * self.asked.get(work.name, 0):
            return False
        self.asked[work.name] = tried
        fell = Counter(made.fell.reason for made in work.made if made.fell)
        whole = [made for made in work.made if not made.fell]
        if len(whole) >= least * len(work.made) and whole:
            fell += Counter(fall.reason for _, fall in self._falls(whole, work).values())
        passed = len(work.made) - fell.total()
        if passed >= least * len(work.made):
            return False
        most = ", ".join(f"{reason} {n:,}" for reason, n in fell.most_common(3))
        work.stopped = (
            f"stopped after {tried:,} seeds: {passed:,} of {len(work.made):,} candidates passed its checks and the gates, "
            f"fewer than generations.min_yield asks for ({least:.0%}); most fell for {most}. `sft run "
            "--again generations` looks again"
        )
        return True

    def _falls(self, made: Sequence[Made], work: Work) -> dict[bytes, tuple[str, Fall]]:
        if self.gates is None:
            self.gates = Gates.of(self._stream, self.folder, self.recipe)
        rows = contents_of(made)
        rows = rows.append_column("row_id", uuids([one.row_id for one in made]))
        rows = rows.append_column("kind", pa.array([one.candidate.kind for one in made]))
        rows = rows.append_column("source", pa.array([f"generated:{one.method}" for one in made]))
        falls = self.gates.check(rows).falls
        left = without(rows, falls)  # a model that gives one row again and again has a yield of one
        again = among(left, self.recipe.deduped, [0.0] * len(left))
        return {**falls, **{row_id: ("one_another", fall) for row_id, fall in again.items()}}

    def _stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self.evidence.reading() as con:
            yield from con.sql(sql).to_arrow_reader(8192)


def rewarding(recipe: Recipe) -> Callable[[Any, str | None], float | None]:
    """The reward model's rating of a conversation; None where it has none.

    Raises:
        SftError: the recipe names no reward model.
    """
    if recipe.rewards.model is None:
        raise SftError("generations.methods.preferences.rated_by is reward: name the model in rewards.model, or say `judge`")
    from sft_assets.models.reward import RewardModel

    model = RewardModel(recipe.rewards.model)

    def rate(messages: Any, tools: str | None) -> float | None:
        found = [reward for batch in model.rewards([(messages, tools)]) for _, reward in batch]
        return next((one.reward for one in found if one.status == "scored"), None)

    return rate
