"""preferences: several answers to a prompt, rated; the best and the worst are a pair (UltraFeedback, arXiv 2310.01377).

    prompt   "Why is the sky blue?"
    answers  the row's own 4.25    a-model at 0.2  4.5    a-model at 1.0  2.75
    pair     chosen: a-model at 0.2, rejected: a-model at 1.0       4.5 - 2.75 is at least the margin of 1.0
    fallen   tie: all answers are rated alike;  margin: no two are so far apart;  unrated: the judge said nothing usable

Rows of one prompt and different answers, which deduped found, come first: they are rated and paired without generating. Two
texts that are the same but for whitespace are one answer, so a chosen one never equals its rejected one.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from uuid import UUID

from sft_assets.augmented.candidate import Candidate, Fall, Parent, Seed
from sft_assets.augmented.methods.kit import Ask, Kit, Steps, fallen
from sft_assets.augmented.methods.material import Material
from sft_assets.errors import SftError
from sft_assets.models.door import Reply
from sft_assets.recipe import Preferences
from sft_assets.record import Message, content_hash
from sft_assets.scored.judgements.rubrics import FIELDS, call, score_of

NAME = "preferences"
ROUNDING = 1e-9  # the means of 3 1/3 and 2 1/3 are not quite 1 apart


@dataclass(frozen=True)
class Answer:
    """An answer and what it was rated. by: how it came about. fell: why there is none. rating None: it is not rated; statuses
    says why."""

    text: str
    by: Mapping[str, Any]
    parent: Parent | None = None
    fell: Fall | None = None
    rating: float | None = None
    aspects: Mapping[str, float] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)

    @property
    def story(self) -> dict[str, Any]:
        """For the row: how it came about and what it was rated."""
        said = {"rating": self.rating, "aspects": dict(self.aspects), "unrated": dict(self.statuses)}
        fell = {"fell": self.fell.reason} if self.fell else {}
        return {**self.by, **{name: value for name, value in said.items() if value not in (None, {})}, **fell}


Answering = Generator[Sequence[Ask], Sequence[Reply], list[Answer]]


def prompts(section: Preferences) -> Mapping[str, frozenset[str]]:
    """The prompt files, each with the data that there is for it."""
    rubrics = section.aspects if section.rated_by == "judge" else []
    return {"answer": frozenset({"conversation"}), **dict.fromkeys(rubrics, FIELDS)}


def seeds(material: Material, section: Preferences) -> list[Seed]:
    """Rows of one prompt and different answers together, then other rows, each by itself."""
    groups = material.conflicts(section.rows) if section.conflicts else []
    pairs = [usable for rows in groups if len(usable := [row for row in rows if is_usable(row)]) > 1]
    left = None if section.rows is None else max(0, section.rows - len(pairs))
    taken = {row.row_id for rows in pairs for row in rows}
    more = None if left is None else left + len(taken)
    others = [row for row in material.rows(more, NAME) if row.row_id not in taken and is_usable(row)] if left != 0 else []
    return [Seed(tuple(rows)) for rows in pairs] + [Seed((row,)) for row in others[:left]]


def is_usable(row: Parent) -> bool:
    """Whether a row has a prompt, and an answer that is text: calls of tools are not rated."""
    return bool(row.prompt and row.answer.strip()) and not row.tools and not any(turn.tool_calls for turn in row.messages)


def generate(seed: Seed, kit: Kit, section: Preferences) -> Steps:
    """A pair, or one fallen candidate that says why there is none."""
    prompt = seed.parents[0].prompt
    answers = [Answer(row.answer, {"row": str(UUID(bytes=row.row_id))}, row) for row in seed.parents]
    if len(seed.parents) == 1:
        answers += yield from more_answers(prompt, seed, kit, section)
    answers = distinct(answers)
    usable = [n for n, answer in enumerate(answers) if answer.fell is None]
    if len(usable) > 1:
        texts = [answers[n] for n in usable]
        if section.rated_by == "reward":
            rated = rewarded(prompt, texts, kit)
        else:
            rated = yield from judged(prompt, texts, kit, section)
        for n, answer in zip(usable, rated, strict=True):
            answers[n] = answer
    choices = {"rated_by": section.rated_by, **({"judge": kit.judge} if section.rated_by == "judge" else {})}
    return [pair(prompt, answers, section.margin, choices)]


# ------------------------------------------------------------------------------------------------------------- answers


def more_answers(prompt: Sequence[Message], seed: Seed, kit: Kit, section: Preferences) -> Answering:
    """An answer by each model, at each temperature, with each system prompt."""
    ways = list(product(section.models or [kit.model], section.temperatures, section.systems))
    replies = yield [
        kit.chat(seed, prompt, system=system or None, model=model, sample=n, temperature=temperature)
        for n, (model, temperature, system) in enumerate(ways)
    ]
    found = []
    for (model, temperature, system), reply in zip(ways, replies, strict=True):
        by = {"model": model, "temperature": temperature, **({"system": system} if system else {})}
        text = reply.value if isinstance(reply.value, str) else ""
        found.append(Answer(text.strip(), by, fell=fallen(reply)))
    return found


def distinct(answers: Sequence[Answer]) -> list[Answer]:
    """The answers; one that is the same as another before it but for whitespace falls."""
    seen: set[str] = set()
    found = []
    for answer in answers:
        text = " ".join(answer.text.split())
        again = answer.fell is None and text in seen
        found.append(replace(answer, fell=Fall("equal_answers")) if again else answer)
        if answer.fell is None:
            seen.add(text)
    return found


# -------------------------------------------------------------------------------------------------------------- rating


def judged(prompt: Sequence[Message], answers: Sequence[Answer], kit: Kit, section: Preferences) -> Answering:
    """The answers with the mean of their scores by every aspect; one without a score leaves its answer unrated.

    Raises:
        SftError: an aspect is no rubric.
    """
    rubrics = [kit.prompts[name] for name in section.aspects]
    for rubric in rubrics:
        if rubric.header.score is None:
            raise SftError(
                f"{rubric.path}: generations.methods.preferences.aspects names it, but it is no rubric: add score: "
                "{lowest: 1, highest: 5} to its front"
            )
    said = [[*prompt, Message("assistant", answer.text)] for answer in answers]
    asks = [
        Ask(kit.judge, call(rubric, content_hash(turns, None, None), turns, kit.judge)) for turns in said for rubric in rubrics
    ]
    replies = iter((yield asks))
    found = []
    for answer in answers:
        scores = {rubric.name: score_of(rubric, next(replies)) for rubric in rubrics}
        aspects = {name: score.score for name, score in scores.items() if score.score is not None}
        statuses = {name: score.status for name, score in scores.items() if score.score is None}
        rating = None if statuses else sum(aspects.values()) / len(aspects)
        found.append(replace(answer, rating=rating, aspects=aspects, statuses=statuses))
    return found


def rewarded(prompt: Sequence[Message], answers: Sequence[Answer], kit: Kit) -> list[Answer]:
    """The answers with what the reward model gives them.

    Raises:
        SftError: there is no reward model.
    """
    if kit.reward is None:
        raise SftError(
            "generations.methods.preferences.rated_by says `reward`, but there is no reward model: name one in rewards.model, "
            "or say rated_by: judge"
        )
    found = []
    for answer in answers:
        rating = kit.reward([*prompt, Message("assistant", answer.text)], None)
        usable = rating is not None and math.isfinite(rating)
        found.append(replace(answer, rating=rating if usable else None, statuses={} if usable else {"reward": "unscored"}))
    return found


def pair(prompt: Sequence[Message], answers: Sequence[Answer], margin: float, choices: Mapping[str, Any]) -> Candidate:
    """The best and the worst of the answers, the first of those rated alike, or why they make no pair."""
    good = [answer for answer in answers if answer.fell is None]
    rated = sorted((answer for answer in good if answer.rating is not None), key=lambda answer: -(answer.rating or 0.0))
    ends = rated or good
    chosen = ends[0] if ends else None
    rejected = ends[-1] if len(ends) > 1 else None
    fell = why_none(answers, chosen, rejected, margin)
    story = {"chosen": chosen, "rejected": rejected}
    named = {name: answer.story for name, answer in story.items() if answer}
    rest = [answer.story for answer in answers if answer is not chosen and answer is not rejected]
    parents = tuple(answer.parent for answer in (chosen, rejected) if answer and answer.parent)
    conflict = sum(answer.parent is not None for answer in answers) > 1
    return Candidate(
        [*prompt, *([Message("assistant", chosen.text)] if chosen else [])],
        kind="preference",
        rejected=[Message("assistant", rejected.text)] if rejected else None,
        fell=fell,
        parents=parents if conflict and fell is None else None,
        choices={**choices, **named, **({"others": rest} if rest else {})},
    )


def why_none(answers: Sequence[Answer], chosen: Answer | None, rejected: Answer | None, margin: float) -> Fall | None:
    """Why the best and the worst answer make no pair."""
    fallen_ones = [answer.fell for answer in answers if answer.fell is not None]
    if len(answers) - len(fallen_ones) < 2:
        return fallen_ones[0] if fallen_ones else Fall("nothing_made")
    if chosen is None or rejected is None or chosen.rating is None or rejected.rating is None:
        return Fall("unrated", {"unrated": [dict(answer.statuses) for answer in answers if answer.statuses]})
    apart = chosen.rating - rejected.rating
    if apart <= ROUNDING:
        return Fall("tie", {"rating": chosen.rating})
    return Fall("margin", {"apart": round(apart, 4), "margin": margin}) if apart < margin - ROUNDING else None


def calls(section: Preferences) -> Mapping[str, float]:
    """The answers of a row, and each of them and the row's own by every aspect."""
    ways = len(section.models or [""]) * len(section.temperatures) * len(section.systems)
    aspects = section.aspects if section.rated_by == "judge" else []
    return {"answer": float(ways), **dict.fromkeys(aspects, ways + 1.0)}
