"""generations: what language models made, one row for each candidate; those that fell say why.

    method         messages                               parents    prompts                        model     reason
    documents      [user "How much water ...?", ...]      []         {documents_questions: 3f0a...} a-model   NULL
    evol_instruct  [user "Name three colours, ...", ...]  [9f3c...]  {evol_constraints: 77b1...}    a-model   no_gain

The methods of the recipe, one after another, try as many seeds as the gaps ask for. Every reply goes through the door: what was
answered before comes from D/calls.sqlite, so a run that is killed goes on where it was, and a changed gate asks nobody.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sft_assets import masks
from sft_assets.asset import model_evidence
from sft_assets.augmented.candidate import Fall
from sft_assets.augmented.gates import Gates
from sft_assets.augmented.generations.doors import Doors
from sft_assets.augmented.generations.driver import Tried, groups, play
from sft_assets.augmented.generations.material import Gathered, chosen
from sft_assets.augmented.generations.rows import COLUMNS, Made, contents_of, made_of, table_of
from sft_assets.augmented.methods import METHODS
from sft_assets.augmented.methods.kit import Kit
from sft_assets.errors import SftError
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.asking import BYTES_PER_TOKEN, label, settings_of
from sft_assets.models.door.caps import Cost
from sft_assets.models.prompt import Prompt, load
from sft_assets.recipe import Generations, Price, Recipe
from sft_assets.record import uuids
from sft_assets.warehouse import Law, Table

TYPICAL = 1600  # bytes of data in a request, about: for estimates
TABLE = Table(
    "generations",
    columns=COLUMNS,
    is_state=False,
    texts=True,
    unversioned=frozenset({"requests", "tokens", "cost"}),
    laws=(
        Law("ids_unique", "no row_id stands twice", "SELECT count(row_id) - count(DISTINCT row_id) FROM {table}"),
        Law(
            "origin_told",
            "every row says from what it was made, by which prompts and which model",
            """
            SELECT count(*) FROM {table}
            WHERE (len(parents) = 0 AND chunk_id IS NULL) OR len(parents) != len(parent_contents)
               OR (reason IS NULL AND (model IS NULL OR prompts = '{{}}'))
            """,
        ),
        Law(
            "whole_or_fallen",
            "a row that did not fall has messages and a content hash; one that fell says where",
            """
            SELECT count(*) FROM {table}
            WHERE (reason IS NULL) != (stage IS NULL) OR (reason IS NULL AND content_hash IS NULL)
            """,
        ),
        Law(
            "parents_were_there",
            "every parent is a row that clustered has",
            "SELECT count(*) FROM (SELECT unnest(parents) AS row_id FROM {table}) ANTI JOIN clustered USING (row_id)",
        ),
    ),
)


def prompts_of(section: Generations, folder: Folder) -> dict[str, dict[str, Prompt]]:
    """The prompt files of each method that the recipe names, by method and name."""
    return {
        name: {
            prompt: load(prompt, folder.prompts, fields)
            for prompt, fields in sorted(METHODS[name].prompts(getattr(section.methods, name)).items())
        }
        for name in chosen(section.methods)
    }


def version(folder: Folder, recipe: Recipe) -> str:
    """Ten hex digits over the prompts, the masks and the data of the methods."""
    lines = [masks.version()]
    for method, prompts in prompts_of(recipe.generations, folder).items():
        lines += [f"{method} {name} {prompt.sha256}" for name, prompt in prompts.items()]
        if hasattr(METHODS[method], "data_version"):
            lines.append(METHODS[method].data_version())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


# ------------------------------------------------------------------------------------------------------------ what it costs


@dataclass(frozen=True)
class MethodCost:
    """What a method would take. cost: None where the model has no price in the recipe."""

    method: str
    model: str
    seeds: int
    calls: int
    tokens: int
    cost: float | None


def costs(evidence: Evidence, folder: Folder, recipe: Recipe) -> list[MethodCost]:
    """What each method of the recipe would take if nothing of it was asked before."""
    section, found = recipe.generations, []
    prompts = prompts_of(section, folder)
    material = Gathered(evidence, recipe)
    for name, by_name in prompts.items():
        own = getattr(section.methods, name)
        seeds = len(METHODS[name].seeds(material.of(name), own))
        found.append(_cost(name, seeds, by_name, own, recipe))
    return found


def _cost(name: str, seeds: int, prompts: dict[str, Prompt], own: Any, recipe: Recipe) -> MethodCost:
    model = recipe.generations.model
    price, total, calls = settings_of(recipe, model).price, Cost(), 0.0
    for prompt, times in METHODS[name].calls(own).items():
        calls += times
        read = round(times * (prompts[prompt].overhead + TYPICAL) / BYTES_PER_TOKEN) if prompt in prompts else 0
        written = round(times * prompts[prompt].header.max_tokens / 2) if prompt in prompts else 0
        total += Cost.of(seeds * read, seeds * written, price)
    return MethodCost(name, label(model), seeds, round(seeds * calls), total.tokens, None if price == Price() else total.money)


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What generating would take: about, as what is asked next depends on what was answered."""
    section = recipe.generations
    if not chosen(section.methods):
        return Estimate("none", 0, 0, calls=0, tokens=0, cost=0.0)
    if bound:
        return Estimate(
            label(section.model), None, None, calls=section.calls, tokens=section.tokens, cost=section.money, bound=True
        )
    found = costs(evidence, folder, recipe)
    seeds = sum(method.seeds for method in found)
    money = [method.cost for method in found]
    cost = None if None in money else sum(m for m in money if m is not None)
    calls, tokens = sum(m.calls for m in found), sum(m.tokens for m in found)
    return Estimate(label(section.model), seeds, seeds, calls, tokens, cost)


# --------------------------------------------------------------------------------------------------------------- generating


@model_evidence(TABLE, deps=("clustered", "gaps", "chunks"), code=1, estimate=_estimate, data_of_code=version)
def generations(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What the recipe's methods made for the gaps, out of rows, prompts and documents: every candidate, and why it fell."""
    section = recipe.generations
    by_method = prompts_of(section, folder)
    if not by_method:
        evidence.notes |= {"model": "none", "methods": {}}
        return
    material, said = Gathered(evidence, recipe), {}
    plans = {name: METHODS[name].seeds(material.of(name), getattr(section.methods, name)) for name in by_method}
    total, done = sum(len(seeds) for seeds in plans.values()), 0
    gates = _Yield(evidence, folder, recipe)
    with Doors(evidence, folder, recipe) as doors:
        for name, seeds in plans.items():
            work = _Work(name, getattr(section.methods, name), by_method[name], material.of(name), recipe, folder)
            for group in groups(seeds, section.trial):
                made = work.group(group, doors)
                evidence.keep(contents_of(made))
                evidence.insert(table_of(made, work.names, section.seed, recipe.combined.masks))
                evidence.progress(done := done + len(group), total)
                if doors.stopped or (work.tried < len(seeds) and gates.too_low(work)):
                    break
            said[name] = work.notes(len(seeds))
            if why := work.stopped:
                evidence.say(f"{name} {why}")
        if doors.stopped:
            evidence.say(doors.stopped)
        evidence.notes |= _notes(section, doors, said)


class _Work:
    """A method in a run: what it tried, and what became of it."""

    def __init__(self, name: str, own: Any, prompts: dict[str, Prompt], material: Gathered, recipe: Recipe, folder: Folder):
        section = recipe.generations
        self.name, self.own, self.material, self.recipe = name, own, material, recipe
        self.method = METHODS[name]
        self.names = {prompt.sha256: prompt.name for prompt in prompts.values()}
        judge, reward = recipe.judgements.model, _reward(recipe) if getattr(own, "rated_by", "") == "reward" else None
        self.kit = Kit(prompts, section.model, section.checker or section.model, section.seed, judge, reward)
        self.tried = self.unasked = 0
        self.made: list[Made] = []
        self.stopped = ""

    def group(self, seeds: Sequence[Any], doors: Doors) -> list[Made]:
        """The rows of so many seeds, tried at the same time."""
        tried: list[Tried] = play(self.method, seeds, self.kit, self.own, doors.ask)
        asked = [one for one in tried if one.candidates is not None]
        if hasattr(self.method, "settle"):
            self.method.settle([c for one in asked for c in one.candidates or []], self.material, self.own)
        made = [row for one in asked for row in made_of(self.name, one, self.recipe)]
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
            "candidates": len(self.made),
            "passed_own_checks": len(self.made) - fell.total(),
            "fell": dict(sorted(fell.items())),
            "requests": round(sum(made.tried.requests * made.share for made in self.made)),
            "tokens": round(sum(made.tried.tokens * made.share for made in self.made)),
            "cost": round(sum(made.tried.cost * made.share for made in self.made), 6),
        }
        return {**said, "stopped": self.stopped} if self.stopped else said


class _Yield:
    """Whether a method goes on: the share of its candidates that pass its own checks and the cheap gates.

    The gates are asked when twice as many seeds were tried as the last time: they read all of combined.
    """

    def __init__(self, evidence: Evidence, folder: Folder, recipe: Recipe):
        self.evidence, self.folder, self.recipe = evidence, folder, recipe
        self.gates: Gates | None = None
        self.asked: dict[str, int] = {}

    def too_low(self, work: _Work) -> bool:
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
            f"fewer than generations.min_yield asks for ({least:.0%}); most fell for {most}"
        )
        return True

    def _falls(self, made: Sequence[Made], work: _Work) -> dict[bytes, tuple[str, Fall]]:
        if self.gates is None:
            self.gates = Gates.of(self._stream, self.folder, self.recipe)
        rows = contents_of(made)
        rows = rows.append_column("row_id", uuids([one.row_id for one in made]))
        rows = rows.append_column("kind", pa.array([one.candidate.kind for one in made]))
        rows = rows.append_column("source", pa.array([f"generated:{one.method}" for one in made]))
        return self.gates.check(rows).falls

    def _stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self.evidence.reading() as con:
            yield from con.sql(sql).to_arrow_reader(8192)


def _reward(recipe: Recipe) -> Callable[[Any, str | None], float | None]:
    """The reward model's rating of a conversation; None where it has none.

    Raises:
        SftError: the recipe names no reward model.
    """
    if recipe.rewards.model is None:
        raise SftError("generations.methods.preferences.rated_by is reward: name the model in rewards.model, or say `judge`")
    from sft_assets.models.reward import RewardModel

    model = RewardModel(recipe.rewards.model)

    def rate(messages: Any, tools: str | None) -> float | None:
        ((_, found),) = next(iter(model.rewards([(messages, tools)])))
        return found.reward if found.status == "scored" else None

    return rate


def _notes(section: Generations, doors: Doors, methods: dict[str, Any]) -> dict[str, Any]:
    """What a run took and what came of it, for the asset's report."""
    spent = [one for _, one in doors.spent]
    return {
        "model": label(section.model),
        "methods": methods,
        "calls": sum(one.calls for one in spent),
        "replies_from_cache": sum(one.cached for one in spent),
        "prompt_tokens": sum(one.prompt_tokens for one in spent),
        "completion_tokens": sum(one.completion_tokens for one in spent),
        "cost": round(sum(one.cost for one in spent), 6),
        "failed": sum(one.failed for one in spent),
        **({"stopped": doors.stopped} if doors.stopped else {}),
    }
