"""What the assets that ask a language model have in common: the door, what a run took, and what it would take.

embedded   ->   "embedded (demo grade)": the model that comes with the package; its judgements are no better than chance
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sft_assets.engine import engine_of
from sft_assets.evidence import Estimate, Evidence, least
from sft_assets.folder import Folder
from sft_assets.models.door import Calls
from sft_assets.models.door.caps import LONGER, Cost
from sft_assets.models.prompt import Prompt
from sft_assets.recipe import EMBEDDED, Budget, ModelSettings, Price, Recipe

if TYPE_CHECKING:
    from sft_assets.models.door import Door, Spent

BYTES_PER_TOKEN = 4  # of English, about; for estimates only
REQUESTS = 3  # that a call with a schema may take: the first, a longer one, a repair with the first reply in it
MARKS = 64  # bytes that a turn or piece of data gets around it


def label(model: str) -> str:
    """A model's name as rows have it."""
    return f"{model} (demo grade)" if model == EMBEDDED else model


def settings_of(recipe: Recipe, model: str) -> ModelSettings:
    """How the recipe says that a model is asked."""
    return recipe.models.get(model, ModelSettings())


def open_door(
    evidence: Evidence,
    folder: Folder,
    recipe: Recipe,
    asset: str,
    model: str,
    budget: Budget,
    again: str = "",
    beside: Sequence[Spent] = (),
) -> Door:
    """The door to a model, as the recipe says. again: the command that goes on where a run stopped. beside: what other doors
    spend under the same caps."""
    from sft_assets.models.door import Door

    settings = settings_of(recipe, model)
    engine = engine_of(recipe.engine, evidence.say)
    return Door(
        folder.calls,
        asset,
        model,
        settings,
        budget,
        run=evidence.run,
        say=evidence.say,
        again=again,
        beside=beside,
        engine=engine,
    )


def known(folder: Folder, model: str, prompts: Sequence[Prompt]) -> set[bytes]:
    """The subjects that have a reply of the model by every one of the prompts."""
    if not folder.calls.exists():
        return set()
    return Calls(folder.calls).known(model, [prompt.sha256 for prompt in prompts])


def notes(evidence: Evidence, door: Door, model: str, statuses: Mapping[str, int], wanted: int, asked: int) -> dict[str, Any]:
    """What a run took and what it left, for the asset's report; what people should know is said too.

    wanted: judgements without a budget; asked: those within it.
    """
    spent = door.spent
    if door.stopped:
        evidence.say(door.stopped)
    if failed := statuses.get("failed"):
        evidence.say(f"{failed:,} calls had no reply after every attempt; `{door.again}` asks them again")
    return {
        "model": label(model),
        "wanted": wanted,
        "within_budget": asked,
        "unscored": wanted - statuses.get("scored", 0),
        "statuses": dict(sorted(statuses.items())),
        "calls": spent.calls,
        "replies_from_cache": spent.cached,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost": round(spent.cost, 6),
        **({"stopped": door.stopped} if door.stopped else {}),
    }


def estimated(
    folder: Folder, recipe: Recipe, model: str, budget: Budget, prompts: Sequence[Prompt], subjects: Mapping[bytes, int]
) -> Estimate:
    """What asking would take. subjects: bytes of data of each that is to be asked about by every prompt."""
    calls, new, cost = 0, set[bytes](), Cost()
    for prompt in prompts:
        before = known(folder, model, [prompt])
        sizes = {subject: size for subject, size in subjects.items() if subject not in before}
        new |= sizes.keys()
        calls += len(sizes)
        read = (sum(sizes.values()) + len(sizes) * prompt.overhead) // BYTES_PER_TOKEN
        cost += Cost.of(read, len(sizes) * prompt.header.max_tokens, settings_of(recipe, model).price)
    return _capped(Estimate(label(model), len(subjects), len(new), calls, cost.tokens, cost.money), budget)


def at_most(
    recipe: Recipe, model: str, budget: Budget, prompts: Sequence[Prompt], rows: int | None, size: int | None
) -> Estimate:
    """The same where what is upstream is still to run, retries aside. rows: the most there can be; size: the bytes of their
    data and of what stands around it, at most."""
    requests = sum(REQUESTS if prompt.header.reply else 1 for prompt in prompts)
    estimate = Estimate(label(model), rows, rows, None if rows is None else rows * requests, bound=True)
    if rows is not None and size is not None:
        cost = Cost()
        for prompt in prompts:  # no token is shorter than a byte
            times = REQUESTS if prompt.header.reply else 1
            asked, reply = size + rows * (prompt.overhead + MARKS), rows * prompt.header.max_tokens * times
            cost += Cost.of(times * asked + reply, reply * LONGER, settings_of(recipe, model).price)
        estimate = replace(estimate, tokens=cost.tokens, cost=cost.money)
    elif settings_of(recipe, model).price == Price():
        estimate = replace(estimate, cost=0.0)
    return _capped(estimate, budget)


def _capped(estimate: Estimate, budget: Budget) -> Estimate:
    """No more than the caps of one run allow."""
    money = [m for m in (estimate.cost, budget.money) if m is not None]
    return replace(
        estimate,
        calls=least(estimate.calls, budget.calls),
        tokens=least(estimate.tokens, budget.tokens),
        cost=min(money) if money else None,
    )
