"""Rubrics: prompt files by which a judge scores an answer, and the score in its reply.

    helpfulness.md   1 to 4   {"reason": "Names the right river, but not its length.", "score": 3}   ->   3.0
    deita_quality.md 1 to 6   "4", with log-probabilities of 3, 4 and 5 for its token                ->   4.12

Your own rubric is a file in D/prompts with a `score:` in its front matter; name it in `judgements.rubrics`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sft_assets.errors import SftError, did_you_mean
from sft_assets.models.door import Call, Reply
from sft_assets.models.prompt import Prompt, Scale, load
from sft_assets.record import Message

FIELDS = frozenset({"conversation", "answer"})
LIKELIHOODS = ("ifd", "likelihood", "conditional_loss", "unconditional_loss", "end_loss")
OTHER_SCORES = frozenset({*LIKELIHOODS, "reward"})  # what else a threshold may name


def check_scores(names: Iterable[str], rubrics: Sequence[str], place: str) -> None:
    """Whether each of the names is that of a score: one of the rubrics that the recipe names, or another.

    Raises:
        SftError: one is none; `place` is where it stands.
    """
    known = [*rubrics, *LIKELIHOODS, "reward"]
    for name in names:
        if name not in known:
            raise SftError(f"{place}: there is no score {name!r}; {did_you_mean(name, known)}")


class Score(NamedTuple):
    """What a reply comes to. status: 'scored', or why there is no score: 'unparsed', 'refused' (by the endpoint, being too long
    for instance), 'failed' (no reply in spite of every attempt)."""

    status: str
    score: float | None = None
    reason: str | None = None


def rubrics(names: Sequence[str], own: Path) -> list[Prompt]:
    """The rubrics of those names.

    Raises:
        SftError: one is not there, has no score, or stands twice.
    """
    if taken := sorted(set(names) & OTHER_SCORES):
        raise SftError(f"judgements.rubrics: {taken[0]} is the name of another score; call the file something else")
    found = [load(name, own, FIELDS) for name in names]
    for prompt in found:
        if prompt.header.score is None:
            raise SftError(
                f"{prompt.path}: a rubric says where its score is: add score: {{lowest: 1, highest: 4}} to its front"
            )
    by_text: dict[str, str] = {}
    for prompt in found:
        if (other := by_text.setdefault(prompt.sha256, prompt.name)) != prompt.name or names.count(prompt.name) > 1:
            raise SftError(f"judgements.rubrics: {other} and {prompt.name} are the same; name each rubric once")
    return found


def version(prompts: Sequence[Prompt]) -> str:
    """Ten hex digits over prompt files."""
    return hashlib.sha256(" ".join(f"{prompt.name} {prompt.sha256}" for prompt in prompts).encode()).hexdigest()[:10]


def call(prompt: Prompt, content_hash: bytes, messages: Sequence[Message], model: str) -> Call:
    """The request that scores a conversation's last answer."""
    *before, answer = messages
    return prompt.call(content_hash, {"conversation": before, "answer": [answer]}, model)


def score_of(prompt: Prompt, reply: Reply) -> Score:
    """The score in a reply."""
    scale = prompt.header.score
    assert scale is not None
    if reply.status != "ok":
        return Score(reply.status)
    if scale.expectation:
        value = expectation(reply.logprobs or [], scale)
        value = _digit(reply.raw, scale) if value is None else value
        return Score("unparsed") if value is None else Score("scored", value)
    found = reply.value.get(scale.key) if isinstance(reply.value, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not scale.lowest <= found <= scale.highest:
        return Score("unparsed")
    reason = reply.value.get("reason")
    return Score("scored", float(found), reason if isinstance(reason, str) else None)


def expectation(logprobs: Sequence[Mapping[str, Any]], scale: Scale) -> float | None:
    """The mean score over the alternatives of the first token that is a score (DEITA's way); None where there is none.

    logprobs: {"token", "logprob", "top": [[token, logprob], ...]} of each token of the reply.
    """
    digits = {str(n): n for n in range(int(scale.lowest), int(scale.highest) + 1)}
    for token in logprobs:
        if token["token"].strip() not in digits:
            continue
        weights: dict[int, float] = {}
        for text, logprob in token.get("top") or [(token["token"], token["logprob"])]:
            if (number := digits.get(text.strip())) is not None:
                weights[number] = weights.get(number, 0.0) + math.exp(logprob)
        total = sum(weights.values())
        return round(sum(n * w for n, w in weights.items()) / total, 4) if total else None
    return None


def _digit(raw: str, scale: Scale) -> float | None:
    text = raw.strip().rstrip(".")
    return float(text) if text.isascii() and text.isdigit() and scale.lowest <= int(text) <= scale.highest else None
