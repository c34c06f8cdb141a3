"""likelihoods: how well a small causal model foresees each answer, with and without its prompt.

    content_hash  status     conditional_loss  unconditional_loss  ifd    end_loss  likelihood  answer_tokens
    9f3c...       scored     0.82              3.29                0.085  1.69      0.667       21
    41d0...       tool_call  NULL              NULL                NULL   NULL      NULL        0

conditional_loss, unconditional_loss: mean nats per token of the last answer, after all that stands before it and after nothing.
ifd: instruction-following difficulty, the ratio of the two perplexities (Superfiltering, https://arxiv.org/abs/2402.00530):
near 1 and above, the prompt does not help to foresee the answer. Cherry LLM's (https://arxiv.org/abs/2308.12032) is the ratio
of the two losses. end_loss: nats of the token that ends the answer, where it stands; high where an answer breaks off.

likelihood: one score that is lower for an answer that is cut, of another row, repeated or a refusal (`likelihood` below).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sft_assets.asset import model_evidence
from sft_assets.engine import engine_of
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.causal import STATUSES, Causal, Losses, Question
from sft_assets.recipe import Recipe
from sft_assets.scored.local_scores import ONE_ROW_A_CONTENT, Conversation, Results, Scored, elsewhere, estimate, gather
from sft_assets.warehouse.build import Law, Table

END_WEIGHT = 0.02  # of a nat of end_loss: the plateau between 0.01 and 0.03 ranks corrupted answers below good ones
NUMBERS = ("conditional_loss", "unconditional_loss", "ifd", "end_loss", "likelihood")
DECIMALS = 4
TABLE = Table(
    "likelihoods",
    columns={
        "content_hash": "UUID",
        "status": "VARCHAR",
        **dict.fromkeys(NUMBERS, "DOUBLE"),
        "answer_tokens": "INTEGER",
        "prompt_cut": "BOOLEAN",
        "windows": "INTEGER",
    },
    is_state=False,
    laws=(
        ONE_ROW_A_CONTENT,
        Law(
            "numbers_where_scored",
            "a content has its losses where its status is 'scored', and only there; none is NaN",
            """
            SELECT count(*) FROM {table}
            WHERE (status = 'scored') != (conditional_loss IS NOT NULL AND unconditional_loss IS NOT NULL AND ifd IS NOT NULL)
               OR isnan(conditional_loss) OR isnan(unconditional_loss) OR isnan(ifd) OR isnan(end_loss) OR isnan(likelihood)
            """,
        ),
    ),
)


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What scoring would take."""
    section = recipe.likelihoods
    return estimate(evidence, folder, section, bound, most, lambda: Causal(section.model, fetch=False).key)


@model_evidence(TABLE, deps=("decontaminated", "rule_hits"), code=1, estimate=_estimate, kinds=["pytorch"])
def likelihoods(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """Losses of each answer under a small causal model: with its prompt, without it, and of its end."""
    section, columns = recipe.likelihoods, len(Losses._fields)
    engine = engine_of(recipe.engine, evidence.say)
    found = gather(evidence, folder, TABLE.name, section, columns, lambda: CausalScorer(section.model), engine)
    table = table_of(found)
    evidence.insert(table)
    statuses = Counter(table["status"].to_pylist())
    evidence.notes |= {"model": section.model, "scored": statuses.pop("scored", 0), "no_score": dict(sorted(statuses.items()))}
    evidence.notes |= {**found.notes, "sample_unlikely": _sample(evidence, table)}


def likelihood(conditional: float, unconditional: float, end: float) -> float:
    """The share of an answer's surprise that its prompt explains, less END_WEIGHT for each nat of surprise at its end.

    1 - conditional / unconditional is 0 where the prompt tells nothing of the answer (that of another row, a refusal), and
    falls with every repetition, which needs no prompt to be foreseen. That an answer breaks off, only its end can tell.
    """
    return 1 - conditional / max(unconditional, 1e-6) - END_WEIGHT * (0 if math.isnan(end) else end)


class CausalScorer:
    """A causal model as the cache wants it: numbers of conversations."""

    name = "likelihoods"

    def __init__(self, model: str):
        self.causal = Causal(model)
        self.key = self.causal.key

    def __reduce__(self) -> tuple[Any, ...]:
        return elsewhere, (CausalScorer, "causal model", self.causal.name, self.key)

    def load(self) -> None:
        _ = self.causal.model

    def score(self, conversations: Sequence[Conversation]) -> Scored:
        numbers, tokens = np.zeros((len(conversations), len(Losses._fields)), np.float32), 0
        for batch in self.causal.losses([Question(c.messages, c.tools) for c in conversations]):
            for index, losses in batch.losses:
                numbers[index] = _numbers(losses)
            tokens += batch.tokens
        return Scored(numbers, tokens)


def _numbers(losses: Losses) -> list[float]:
    """What the cache has of a content."""
    return [STATUSES.index(losses.status), *map(float, losses[1:])]


def table_of(found: Results) -> pa.Table:
    """What was scored as rows of the asset's table."""
    status, conditional, unconditional, end, tokens, cut, windows = found.numbers.T.astype(np.float64)
    perplexities = [conditional, unconditional]
    ifd = np.exp(np.minimum(perplexities[0] - perplexities[1], 80))
    combined = np.array([likelihood(*three) for three in zip(conditional, unconditional, end, strict=True)])
    return pa.table(
        {
            "content_hash": found.contents,
            "status": pa.array([STATUSES[int(code)] for code in status], pa.string()),
            **{
                name: _floats(values)
                for name, values in zip(NUMBERS, (conditional, unconditional, ifd, end, combined), strict=True)
            },
            "answer_tokens": pa.array(tokens.astype(np.int32)),
            "prompt_cut": pa.array(cut.astype(bool)),
            "windows": pa.array(windows.astype(np.int32)),
        }
    )


def _floats(values: Any) -> pa.Array:
    """Rounded, so that the version's hash is the same wherever they were computed; NaN is NULL."""
    return pa.array(np.round(values, DECIMALS), from_pandas=True)


def _sample(evidence: Evidence, table: pa.Table) -> list[dict[str, Any]]:
    """The ten of the lowest likelihood."""
    with evidence.reading() as con:
        con.register("likely", table)
        rows = con.execute("""
            SELECT left(content_hash::VARCHAR, 8), round(likelihood, 2), round(ifd, 2), round(end_loss, 2), messages[-1].content
            FROM likely JOIN store.contents USING (content_hash)
            WHERE status = 'scored'
            ORDER BY likelihood, content_hash LIMIT 10
        """).fetchall()
    return [dict(zip(("content", "likelihood", "ifd", "end_loss", "answer"), row, strict=True)) for row in rows]
