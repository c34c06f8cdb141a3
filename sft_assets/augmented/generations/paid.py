"""Seeds that were tried before: what was paid for fills gaps before anything new is asked.

    wanted now     (p1, fractions hard)   (p2, fractions hard)   (p3, tides easy)
    tried before   (p1, fractions hard)   (p7, fractions hard)
    planned        (p1, fractions hard)   (p7, fractions hard)   (p3, tides easy)      p7 stands in the place of p2

Topics move a little with every row that comes, goes or is edited, and with them what the gaps ask for. A seed whose parents are
there as they were takes the place of one of its cell, or at least of its topic, that nobody has tried; and what people decided
about stays whatever the gaps say. Which seeds those are stands in the version of `generations` before this one: like the cache
of calls that is no input, as it makes nothing stale.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from sft_assets import reviews
from sft_assets.augmented.candidate import Cell, Parent, Seed
from sft_assets.augmented.generations.gathered import TARGETED, Gathered
from sft_assets.augmented.methods import METHODS
from sft_assets.augmented.methods.instructions import numbered
from sft_assets.folder import Folder
from sft_assets.models.prompt import Prompt
from sft_assets.recipe import Recipe
from sft_assets.warehouse.versions import read_versions

SPREAD = (*TARGETED, "preferences")  # methods that draw their rows topic by topic; the others go by an order that stays
TELLING = ("self_instruct",)  # methods whose prompts say what the topic is called
FITS: tuple[Callable[[Cell], Hashable], ...] = (lambda cell: (cell.topic, *cell[2:]), lambda cell: cell.topic)


class Paid(NamedTuple):
    """A seed that was tried. seed: with the topic that its parents have now. good: a row of it passed its method's own checks.
    decided: people decided about one."""

    seed: Seed
    good: bool = True
    decided: bool = False


def plans(
    material: Gathered, folder: Folder, recipe: Recipe, prompts: Mapping[str, Mapping[str, Prompt]]
) -> dict[str, list[Seed]]:
    """What each method of the recipe is to try. prompts: the files of each, by name."""
    before, found = tried_before(material, folder, prompts), {}
    for name in prompts:
        own = getattr(recipe.generations.methods, name)
        wanted = numbered(METHODS[name].seeds(material.of(name), own))
        found[name] = planned(wanted, before.get(name, ()), anywhere=own.rows is not None, as_named=name in TELLING)
    return found


def planned(wanted: Sequence[Seed], paid: Sequence[Paid], anywhere: bool = False, as_named: bool = False) -> list[Seed]:
    """The wanted seeds, some of them replaced by those that were paid for; before them those that people decided about and for
    which there is no place.

    anywhere: they may take any place, as where the recipe asks for so many rows, whatever the gaps are. as_named: a seed asks
    again by the name that its topic had, so that the reply is known.
    """
    known = {_identity(one.seed): one.seed for one in paid}
    plan: list[Seed | None] = []
    for seed in wanted:
        same = known.pop(_identity(seed), None)
        name = same.cell.topic_name if same and as_named else seed.cell.topic_name
        plan.append(same and replace(seed, cell=seed.cell._replace(topic_name=name)))
    left = [one for one in paid if (one.good or one.decided) and _identity(one.seed) in known]
    left.sort(key=lambda one: not one.decided)
    for fit in (*FITS, *([_any] if anywhere else [])):
        places = defaultdict[Hashable, deque[int]](deque)
        for place, seed in enumerate(wanted):
            if plan[place] is None:
                places[fit(seed.cell)].append(place)
        without = []
        for one in left:
            if free := places[fit(one.seed.cell)]:
                plan[free.popleft()] = one.seed
            else:
                without.append(one)
        left = without
    first = [one.seed for one in left if one.decided]
    taken = {(seed.key, seed.index) for seed in (*first, *plan) if seed is not None}
    return [*first, *(seed or _unlike(new, taken) for seed, new in zip(plan, wanted, strict=True))]


def _any(cell: Cell) -> Hashable:
    return None


def _identity(seed: Seed) -> Hashable:
    """What the ids of its rows are made of."""
    return seed.key, seed.index, seed.cell[2:]


def _unlike(seed: Seed, taken: set[tuple[bytes, int]]) -> Seed:
    """The seed with an index that no other of the same parents has, which it takes."""
    while (seed.key, seed.index) in taken:
        seed = replace(seed, index=seed.index + 1)
    taken.add((seed.key, seed.index))
    return seed


# ------------------------------------------------------------------------------------------------------- what was tried


def tried_before(material: Gathered, folder: Folder, prompts: Mapping[str, Mapping[str, Prompt]]) -> dict[str, list[Paid]]:
    """By method the seeds of the version before this one that could be tried again as they were: the same prompts and seed of
    the recipe, and all that they are made from is there with the same text. Of methods that are not in SPREAD those that people
    decided about."""
    decided = {of for one in reviews.read(folder).of("augmented") for of in one.subject}
    rows = [row for row in _rows(material, list(prompts)) if row["method"] in SPREAD or row["row_id"] in decided]
    known = {name: {prompt.sha256 for prompt in of.values()} for name, of in prompts.items()}
    asked = [row for row in rows if set(orjson.loads(row["prompts"]).values()) <= known[row["method"]] and _tells_seed(row)]
    parents = material.present({pair for row in asked for pair in zip(row["parents"], row["parent_contents"], strict=True)})
    chunks = {chunk.chunk_id: chunk for chunk in material.chunks(None)} if any(row["chunk_id"] for row in asked) else {}
    found: dict[str, dict[Hashable, Paid]] = defaultdict(dict)
    for row in asked:
        if not all(of in parents for of in row["parents"]) or (row["chunk_id"] and row["chunk_id"].bytes not in chunks):
            continue
        seed = _seed(row, [parents[of] for of in row["parents"]], chunks[row["chunk_id"].bytes] if row["chunk_id"] else None)
        one = found[row["method"]].get(_identity(seed), Paid(seed, False))
        good, by_people = one.good or row["reason"] is None, one.decided or row["row_id"] in decided
        found[row["method"]][_identity(seed)] = Paid(one.seed, good, by_people)
    return {method: list(of.values()) for method, of in found.items()}


def _rows(material: Gathered, methods: Collection[str]) -> list[dict[str, Any]]:
    """The rows of the version before this one, in an order that depends on nothing else."""
    with material.evidence.reading() as con:
        version = next((v for v in read_versions(con) if v.asset == "generations"), None)
        if version is None:
            return []
        cursor = con.execute(
            f"""
            SELECT row_id, method, parents, parent_contents, chunk_id, topic_name, wanted, attempt, prompts, reason
            FROM {version.table} WHERE seed = ? AND list_contains(?, method) ORDER BY row_id
            """,
            [material.recipe.generations.seed, list(methods)],
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _tells_seed(row: Mapping[str, Any]) -> bool:
    """Whether a row's parents are those of its seed: a pair out of several answers has the two that it is made of."""
    return row["method"] != "preferences" or len(row["parents"]) == 1


def _seed(row: Mapping[str, Any], parents: Sequence[tuple[Parent, int | None]], chunk: Any) -> Seed:
    topic = parents[0][1] if parents else None
    targeted = row["method"] in TARGETED
    cell = Cell(topic if targeted else None, row["topic_name"] if targeted else None, **orjson.loads(row["wanted"]))
    return Seed(tuple(parent for parent, _ in parents), chunk, cell, row["attempt"])
