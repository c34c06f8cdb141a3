"""Likelihoods against a bare transformers loop over the same batches, with the embedded model.

    .venv/bin/python -m tests.speed.likelihoods [ROWS]

Rows: questions of 10 to 40 words and answers of 10 to 120, of a seeded grammar. Ours: from messages to losses (templates,
tokens, batches, both losses, the end). The bare loop gets our batches ready-made as tensors: model(input_ids,
attention_mask), then cross_entropy over the answer tokens. In one process, in turns; figures are medians, tokens are those
read without padding.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sft_assets.cores import cores
from sft_assets.models import weights
from sft_assets.models.causal import Causal, Piece, Question
from sft_assets.record import Message
from tests.speed.decontaminated import Grammar

TURNS = 3


def questions(rows: int) -> list[Question]:
    grammar = Grammar()
    return [
        Question(
            [
                Message("user", grammar.text(grammar.chance.randint(10, 40))),
                Message("assistant", grammar.text(grammar.chance.randint(10, 120))),
            ]
        )
        for _ in range(rows)
    ]


def as_tensors(some: Sequence[Piece]) -> tuple[Any, Any, Any]:
    """A batch as every script has it: tokens, mask, labels (-100 where no loss is wanted)."""
    import torch

    width = max(len(piece.tokens) for piece in some)
    tokens = torch.tensor([piece.tokens + [0] * (width - len(piece.tokens)) for piece in some])
    mask = torch.tensor([[1] * len(piece.tokens) + [0] * (width - len(piece.tokens)) for piece in some])
    labels = torch.full_like(tokens, -100)
    for row, piece in enumerate(some):
        labels[row, len(piece.tokens) - piece.scored : len(piece.tokens)] = torch.tensor(piece.tokens[-piece.scored :])
    return tokens, mask, labels


def bare(model: Any, batches: Sequence[tuple[Any, Any, Any]]) -> list[float]:
    import torch

    found: list[float] = []
    with torch.inference_mode():
        for tokens, mask, labels in batches:
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            wanted = labels[:, 1:]
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none", ignore_index=-100)
            found += losses[wanted != -100].tolist()
    return found


def compare(rows: int) -> None:
    """Print tokens per second of both, and their ratio."""
    causal, asked = Causal(), questions(rows)
    compute, passes, losses = causal.token_losses, list[list[Piece]](), list[float]()

    def noted(some: Sequence[Piece]) -> list[list[float]]:
        passes.append(list(some))
        result = compute(some)
        losses.extend(loss for piece in result for loss in piece)
        return result

    causal.token_losses = noted  # type: ignore[method-assign]
    tokens = sum(batch.tokens for batch in causal.losses(asked))  # the first turn warms up, and notes the batches
    causal.token_losses = compute  # type: ignore[method-assign]
    batches = [as_tensors(some) for some in passes]
    speeds: dict[str, list[float]] = {"ours": [], "bare loop": []}
    for _ in range(TURNS):
        start = time.perf_counter()
        list(causal.losses(asked))
        middle = time.perf_counter()
        theirs = bare(causal.model, batches)
        speeds["ours"].append(tokens / (middle - start))
        speeds["bare loop"].append(tokens / (time.perf_counter() - middle))
    assert max(abs(a - b) for a, b in zip(losses, theirs, strict=True)) < (0.5 if weights.bf16() else 1e-2)
    padded = sum(batch[0].numel() for batch in batches)
    precision = "bfloat16" if weights.bf16() else "float32"
    table = Table("", "tokens/s", title=f"{rows} rows, {tokens:,} tokens, {padded / tokens - 1:.1%} padding, {precision}")
    for name, some in speeds.items():
        table.add_row(name, f"{statistics.median(some):.0f}")
    Console().print(table)
    ratio = statistics.median(a / b for a, b in zip(*speeds.values(), strict=True))
    Console().print(f"ours is {ratio:.2f} of the bare loop, on {cores()} threads")


if __name__ == "__main__":
    compare(int((sys.argv[1:] or ["40"])[0]))
