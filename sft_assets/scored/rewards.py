"""rewards: what a reward model gives each conversation. Off unless the recipe names one: none comes with the package.

content_hash  status    reward  tokens  model
9f3c...       scored    3.71    23      org/reward-model
41d0...       too_long  NULL    9120    org/reward-model
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sft_assets.asset import model_evidence
from sft_assets.engine import engine_of
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.reward import STATUSES, Reward, RewardModel
from sft_assets.recipe import Recipe
from sft_assets.scored.local_scores import ONE_ROW_A_CONTENT, Conversation, Results, Scored, elsewhere, estimate, gather
from sft_assets.warehouse.build import Law, Table

DECIMALS = 4
TABLE = Table(
    "rewards",
    columns={"content_hash": "UUID", "status": "VARCHAR", "reward": "DOUBLE", "tokens": "INTEGER", "model": "VARCHAR"},
    is_state=False,
    laws=(
        ONE_ROW_A_CONTENT,
        Law(
            "reward_where_scored",
            "a content has a reward where its status is 'scored', and only there; none is NaN",
            "SELECT count(*) FROM {table} WHERE (status = 'scored') != (reward IS NOT NULL) OR isnan(reward)",
        ),
    ),
)


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What scoring would take."""
    section = recipe.rewards
    return estimate(evidence, folder, section, bound, most, lambda: RewardModel(section.model or "", fetch=False).key)


@model_evidence(TABLE, deps=("decontaminated", "rule_hits"), code=1, estimate=_estimate, kinds=["pytorch"])
def rewards(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """The reward of each conversation under the reward model that the recipe names; without one, nothing."""
    section = recipe.rewards
    if (name := section.model) is None:
        evidence.notes |= {"model": "none", "scored": 0}
        return
    engine = engine_of(recipe.engine, evidence.say)
    found = gather(evidence, folder, TABLE.name, section, len(Reward._fields), lambda: RewardScorer(name), engine)
    table = table_of(found, name)
    evidence.insert(table)
    statuses = Counter(table["status"].to_pylist())
    evidence.notes |= {"model": name, "scored": statuses.pop("scored", 0), "no_score": dict(sorted(statuses.items()))}
    evidence.notes |= {**found.notes, "sample_lowest": _sample(evidence, table)}


class RewardScorer:
    """A reward model as the cache wants it: numbers of conversations."""

    name = "rewards"

    def __init__(self, model: str):
        self.model = RewardModel(model)
        self.key = self.model.key

    def __reduce__(self) -> tuple[Any, ...]:
        return elsewhere, (RewardScorer, "reward model", self.model.name, self.key)

    def load(self) -> None:
        _ = self.model.model

    def score(self, conversations: Sequence[Conversation]) -> Scored:
        numbers, tokens = np.zeros((len(conversations), len(Reward._fields)), np.float32), 0
        for batch in self.model.rewards([(c.messages, c.tools) for c in conversations]):
            for index, one in batch:
                numbers[index] = STATUSES.index(one.status), one.reward, one.tokens
                tokens += one.tokens if one.status == "scored" else 0
        return Scored(numbers, tokens)


def table_of(found: Results, model: str) -> pa.Table:
    """What was scored as rows of the asset's table."""
    status, reward, tokens = found.numbers.T
    return pa.table(
        {
            "content_hash": found.contents,
            "status": pa.array([STATUSES[int(code)] for code in status], pa.string()),
            "reward": pa.array(np.round(reward.astype(np.float64), DECIMALS), from_pandas=True),
            "tokens": pa.array(tokens.astype(np.int32)),
            "model": pa.array([model] * len(status), pa.string()),
        }
    )


def _sample(evidence: Evidence, table: pa.Table) -> list[dict[str, Any]]:
    """The ten of the lowest reward."""
    with evidence.reading() as con:
        con.register("rewarded", table)
        rows = con.execute("""
            SELECT left(content_hash::VARCHAR, 8), round(reward, 2), messages[-1].content
            FROM rewarded JOIN store.contents USING (content_hash)
            WHERE status = 'scored'
            ORDER BY reward, content_hash LIMIT 10
        """).fetchall()
    return [dict(zip(("content", "reward", "answer"), row, strict=True)) for row in rows]
