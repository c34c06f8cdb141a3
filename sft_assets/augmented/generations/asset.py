"""generations: what language models made, one row for each candidate; those that fell say why.

    method         messages                               parents    prompts                        model     reason
    documents      [user "How much water ...?", ...]      []         {documents_questions: 3f0a...} a-model   NULL
    evol_instruct  [user "Name three colours, ...", ...]  [9f3c...]  {evol_constraints: 77b1...}    a-model   no_gain

The methods of the recipe, one after another, try as many seeds as the gaps ask for, first those that were paid for before
(paid.py). Every reply goes through the door: what was answered before comes from D/calls.sqlite, so a run that is killed goes
on where it was, and a changed gate asks nobody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from sft_assets import masks
from sft_assets.asset import model_evidence
from sft_assets.augmented.generations.doors import Doors
from sft_assets.augmented.generations.driver import groups
from sft_assets.augmented.generations.gathered import Gathered
from sft_assets.augmented.generations.paid import plans
from sft_assets.augmented.generations.rows import COLUMNS, contents_of, table_of
from sft_assets.augmented.generations.work import Work, Yield
from sft_assets.augmented.methods import METHODS
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.asking import BYTES_PER_TOKEN, label, settings_of
from sft_assets.models.door.caps import Cost
from sft_assets.models.prompt import Prompt, load
from sft_assets.recipe import Generations, Price, Recipe
from sft_assets.warehouse.build import Law, Table

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
            "every row says from what it was made, by which prompts and which model (pairs of what was there: by whose rating)",
            """
            SELECT count(*) FROM {table}
            WHERE (len(parents) = 0 AND chunk_id IS NULL) OR len(parents) != len(parent_contents)
               OR (reason IS NULL AND (model IS NULL OR prompts = '{{}}') AND coalesce(choices ->> 'rated_by', '') != 'reward')
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
        for name in section.methods.chosen
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
    for name, seeds in plans(Gathered(evidence, recipe), folder, recipe, prompts).items():
        found.append(_cost(name, len(seeds), prompts[name], getattr(section.methods, name), recipe))
    return found


def _cost(name: str, seeds: int, prompts: dict[str, Prompt], own: Any, recipe: Recipe) -> MethodCost:
    method, section = METHODS[name], recipe.generations
    total, calls, priced, models = Cost(), 0.0, True, [section.model]
    for prompt, times in method.calls(own).items():
        calls += times
        model = section.checker or section.model if prompt in getattr(method, "CHECKED", ()) else section.model
        model = recipe.judgements.model if prompt in getattr(own, "aspects", ()) else model
        models.append(model)
        price = settings_of(recipe, model).price
        priced &= price != Price()
        read = round(times * (prompts[prompt].overhead + TYPICAL) / BYTES_PER_TOKEN) if prompt in prompts else 0
        written = round(times * prompts[prompt].header.max_tokens / 2) if prompt in prompts else 0
        total += Cost.of(seeds * read, seeds * written, price)
    names = ", ".join(dict.fromkeys(map(label, models)))
    return MethodCost(name, names, seeds, round(seeds * calls), total.tokens, total.money if priced else None)


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What generating would take: about, as what is asked next depends on what was answered."""
    section = recipe.generations
    if not section.methods.chosen:
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


@model_evidence(TABLE, deps=("clustered", "gaps", "chunks"), code=1, estimate=_estimate, data_of_code=version, kinds=["openai"])
def generations(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What the recipe's methods made for the gaps, out of rows, prompts and documents: every candidate, and why it fell."""
    section = recipe.generations
    by_method = prompts_of(section, folder)
    if not by_method:
        evidence.notes |= {"model": "none", "methods": {}}
        return
    material, said = Gathered(evidence, recipe), {}
    to_try = plans(material, folder, recipe, by_method)
    total, done = sum(len(seeds) for seeds in to_try.values()), 0
    gates = Yield(evidence, folder, recipe)
    with Doors(evidence, folder, recipe) as doors:
        for name, seeds in to_try.items():
            work = Work(name, getattr(section.methods, name), by_method[name], material.of(name), recipe, folder)
            for group in groups(seeds, section.trial):
                made = work.group(group, doors, partial(_progress, evidence, done, total))
                evidence.keep(contents_of(made))
                evidence.insert(table_of(made, work.names, section.seed, recipe.combined.masks))
                done += len(group)
                if not doors.stopped and work.tried < len(seeds) and gates.too_low(work):
                    break  # where a cap ended the asking, what is known is still looked up
            said[name] = work.notes(len(seeds))
            if why := work.stopped:
                evidence.say(f"{name} {why}")
        if doors.stopped:
            evidence.say(doors.stopped)
        evidence.notes |= _notes(section, doors, said)


def _progress(evidence: Evidence, before: int, total: int, finished: int) -> None:
    evidence.progress(before + finished, total)


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
