"""What a reward model gives a conversation: any sequence-classification model of transformers with one output, by name or path.

    [user "What is 6 x 7?", assistant "42"]   ->   Reward("scored", 3.71, tokens=23)

The conversation is written in the chat template of the model's tokenizer, or plainly where it has none. One that is longer than
the model reads has no reward: what is cut off could be what makes it good or bad.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from sft_assets.cores import cores, device
from sft_assets.errors import SftError
from sft_assets.models import weights
from sft_assets.models.chat import Chat, NotInTemplate, Tokens
from sft_assets.record import Message

CODE = 1  # raised when the same weights give other rewards
STATUSES = ("scored", "too_long", "not_in_template", "not_finite")
FORWARD = 2048  # tokens, padding counted, that go through the model together
NO_LIMIT = 1 << 20  # a model that says it reads more says nothing


class Reward(NamedTuple):
    """reward: the model's output as it is, NaN where there is none."""

    status: str
    reward: float = float("nan")
    tokens: int = 0


class RewardModel:
    """A reward model.

    Raises:
        SftError: there is no such model here, it has no safetensors or needs code of its own, or it is a classifier of several
            labels.
    """

    def __init__(self, model: str, fetch: bool = True):
        self.name = model
        self.path = weights.find(model, "reward model", fetch)

    @cached_property
    def key(self) -> str:
        """What the rewards depend on: the weights, tokenizer and template, the precision, this code."""
        return f"reward-{CODE} {weights.digest(self.path)}{'-bf16' if weights.bf16() else ''}"

    @cached_property
    def chat(self) -> Chat:
        from transformers import AutoTokenizer

        return Chat(weights.load(AutoTokenizer, self.name, self.path))

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoModelForSequenceClassification

        self._check_outputs()
        torch.set_num_threads(cores())
        options = weights.model_options() | {"output_loading_info": True}
        model, info = weights.load(AutoModelForSequenceClassification, self.name, self.path, **options)
        if missing := sorted(info["missing_keys"]):
            raise SftError(
                f"the model {self.name!r} is no reward model: its weights lack {missing[0]}, which would be made up at random"
            )
        return model.eval().to(device())

    @cached_property
    def context(self) -> int:
        """How many tokens the model reads."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or NO_LIMIT
        return int(min(most, self.chat.tokenizer.model_max_length, NO_LIMIT))

    def rewards(self, conversations: Sequence[tuple[Sequence[Message], str | None]]) -> Iterator[list[tuple[int, Reward]]]:
        """The reward of each conversation (messages, tools), by index, one forward pass after another, the short ones first."""
        written: dict[int, Tokens] = {}
        refused: list[tuple[int, Reward]] = []
        for index, (messages, tools) in enumerate(conversations):
            try:
                tokens = self.chat.whole(messages, tools)
            except NotInTemplate:
                refused.append((index, Reward("not_in_template")))
                continue
            if len(tokens) > self.context:
                refused.append((index, Reward("too_long", tokens=len(tokens))))
            else:
                written[index] = tokens
        if refused:
            yield refused
        batch: list[int] = []
        together = FORWARD if self._pad is not None else 0  # texts of several lengths need a token to fill them up with
        for index in sorted(written, key=lambda i: (len(written[i]), i)):
            if batch and (len(batch) + 1) * len(written[index]) > together:
                yield self._score(written, batch)
                batch = []
            batch.append(index)
        if batch:
            yield self._score(written, batch)

    @property
    def _pad(self) -> int | None:
        token: int | None = self.model.config.get_text_config().pad_token_id
        return token

    def _score(self, written: dict[int, Tokens], batch: list[int]) -> list[tuple[int, Reward]]:
        """One forward pass."""
        import torch

        width = max(len(written[index]) for index in batch)
        padding = [width - len(written[index]) for index in batch]
        filled = [written[i] + [self._pad or 0] * more for i, more in zip(batch, padding, strict=True)]
        tokens = torch.tensor(filled, device=self.model.device)
        mask = torch.tensor([[1] * (width - more) + [0] * more for more in padding], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=tokens, attention_mask=mask).logits.float()[:, 0].tolist()
        return [
            (index, Reward("scored", value, len(written[index])) if math.isfinite(value) else Reward("not_finite"))
            for index, value in zip(batch, logits, strict=True)
        ]

    def _check_outputs(self) -> None:
        from transformers import AutoConfig

        config = weights.load(AutoConfig, self.name, self.path)
        if config.num_labels != 1:
            names = ", ".join(map(str, list(config.id2label.values())[:4]))
            raise SftError(
                f"the model {self.name!r} has {config.num_labels} outputs ({names}): a reward model has one (num_labels: 1 in "
                "its config.json). Name another one, or leave rewards.model out"
            )
