"""judgements: what a language model says of each answer, rubric by rubric.

    content_hash  rubric       status    score  reason                                       model
    6f1c...       helpfulness  scored    3      Names the right river, but not its length.   gpt-5-mini
    a27e...       helpfulness  unparsed  NULL   NULL (the reply stands in `raw`)             gpt-5-mini
    c04b...       helpfulness  scored    2      The answer is short.                         embedded (demo grade)

The model `embedded` comes with the package, so that everything runs offline; its scores are no better than chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.asset import model_evidence
from sft_assets.evidence import Estimate, Evidence, least
from sft_assets.folder import Folder
from sft_assets.models.asking import MARKS, at_most, estimated, known, label, notes, open_door
from sft_assets.models.door import Call
from sft_assets.models.prompt import Prompt
from sft_assets.recipe import Recipe
from sft_assets.record import messages_of
from sft_assets.scored.judgements.rubrics import Score, call, rubrics, score_of, version
from sft_assets.scored.wanted import largest, selected, sizes_of
from sft_assets.warehouse.build import Law, Table

if TYPE_CHECKING:
    from sft_assets.models.door import Door

TABLE = Table(
    "judgements",
    columns={
        "content_hash": "UUID",
        "rubric": "VARCHAR",
        "status": "VARCHAR",
        "score": "DOUBLE",
        "reason": "VARCHAR",
        "raw": "VARCHAR",
        "model": "VARCHAR",
    },
    is_state=False,
    unversioned=frozenset({"raw"}),
    laws=(
        Law(
            "one_judgement_a_rubric",
            "a content is judged once by each rubric",
            "SELECT count(*) - count(DISTINCT (content_hash, rubric)) FROM {table}",
        ),
        Law(
            "scores_where_scored",
            "there is a score where the status says so, and only there",
            "SELECT count(*) FROM {table} WHERE (status = 'scored') != (score IS NOT NULL AND isfinite(score))",
        ),
    ),
)
BATCH = 1000  # judgements that are made a table at a time


def _version(folder: Folder, recipe: Recipe) -> str:
    return version(rubrics(recipe.judgements.rubrics, folder.prompts))


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What judging would take."""
    section = recipe.judgements
    prompts = rubrics(section.rubrics, folder.prompts)
    if not prompts or section.rows == 0:
        return Estimate(label(section.model), 0, 0)
    if bound:
        rows = least(most, section.rows)
        size = largest(evidence, rows, MARKS) if most is not None and rows is not None else None
        return at_most(recipe, section.model, section, prompts, rows, size)
    before = known(folder, section.model, prompts)
    chosen = selected(evidence, before, section.rows)
    with evidence.reading() as con:
        sizes = sizes_of(con, chosen.contents)
    return estimated(folder, recipe, section.model, section, prompts, sizes)


@model_evidence(
    TABLE, deps=("decontaminated", "rule_hits"), code=1, estimate=_estimate, data_of_code=_version, kinds=["openai"]
)
def judgements(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What a judge says of the answers that no dropping rule hits, by the rubrics that the recipe names."""
    section = recipe.judgements
    prompts = {prompt.sha256: prompt for prompt in rubrics(section.rubrics, folder.prompts)}
    if not prompts or section.rows == 0:
        evidence.notes |= {"model": "none", "statuses": {}}
        return
    with open_door(evidence, folder, recipe, TABLE.name, section.model, section) as door:
        before = known(folder, section.model, list(prompts.values()))
        chosen = selected(evidence, before, section.rows)
        total, statuses = len(chosen.contents) * len(prompts), Counter[str]()
        rows: list[Judged] = []
        for judged in judge(evidence, door, prompts, chosen.contents):
            rows.append(judged)
            statuses[judged.score.status] += 1
            if len(rows) == BATCH:
                evidence.insert(_table(rows, section.model))
                rows.clear()
            evidence.progress(statuses.total(), total)
        evidence.insert(_table(rows, section.model))
        evidence.notes |= notes(evidence, door, section.model, statuses, chosen.wanted * len(prompts), total)


class Judged(NamedTuple):
    """A content by a rubric. raw: the reply, where there is no score in it."""

    content: bytes
    rubric: str
    score: Score
    raw: str


def judge(evidence: Evidence, door: Door, prompts: Mapping[str, Prompt], contents: pa.Table) -> Iterator[Judged]:
    """What the model behind a door says of contents, by each rubric, as it comes. prompts: by their sha256."""

    def calls() -> Iterator[Call]:
        for batch in evidence.contents(contents):
            for content, turns in zip(batch["content_hash"], batch["messages"].to_pylist(), strict=True):
                messages = messages_of(turns) or []
                yield from (call(prompt, content.as_py().bytes, messages, door.model) for prompt in prompts.values())

    for asked, reply in door.ask(calls()):
        score = score_of(prompts[asked.prompt], reply)
        raw = "" if score.status == "scored" else reply.raw or reply.error
        yield Judged(asked.subject, prompts[asked.prompt].name, score, raw)


def _table(rows: Sequence[Judged], model: str) -> pa.Table:
    return pa.table(
        {
            "content_hash": uuids([one.content for one in rows]),
            "rubric": pa.array([one.rubric for one in rows], pa.string()),
            "status": pa.array([one.score.status for one in rows], pa.string()),
            "score": pa.array([one.score.score for one in rows], pa.float64()),
            "reason": pa.array([one.score.reason for one in rows], pa.string()),
            "raw": pa.array([one.raw or None for one in rows], pa.string()),
            "model": pa.array([label(model)] * len(rows), pa.string()),
        }
    )
