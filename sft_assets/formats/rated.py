"""Rated answers: several answers to one prompt, and what somebody thought of them.

    Magpie         {"instruction": "Name a prime.", "responses": ["7", "9"], "rewards_armorm": [{"score": 0.2}, {"score": 0.1}]}
    distilabel     {"instruction": ..., "generations": ["7", "9"], "ratings": [5, 1]}
    UltraFeedback  {"instruction": ..., "completions": [{"response": "7", "fine-grained_score": 4.5, ...}, ...]}
    Nectar         {"prompt": ..., "answers": [{"answer": "7", "rank": 1.0}, {"answer": "9", "rank": 2.0}]}
    WebGPT         {"question": {"full_text": ...}, "answer_0": "7", "score_0": 1.0, "answer_1": "9", "score_1": -1.0}
    SHP            {"history": ..., "human_ref_A": "7", "human_ref_B": "9", "labels": 1}              labels 1: A is better
    StackExchange  {"question": ..., "response_j": "7", "response_k": "9"}                            j is better
    SafeRLHF       {"prompt": ..., "response_0": "7", "response_1": "9", "better_response_id": 0}
    Arena          {"conversation_a": [...], "conversation_b": [...], "winner": "model_a"}

A rank is better the lower it is; scores, rewards and ratings the higher. The best answer is chosen and the worst rejected;
where no two differ in rating the row is a plain one of the first. `rated` in meta says which two were taken, counted from 0,
and holds all the ratings and the other answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from sft_assets.formats import preference
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.shared_prompt import NAMES, Prompt, read_prompt
from sft_assets.formats.turns import LABELS, conversation, kind_of, rest
from sft_assets.record import BadRecord, Conversation, Message

NAME = "rated"
COLUMNS = {"query": "input"}
LISTS = ("responses", "generations")
RATINGS = ("rewards_armorm", "rewards", "scores", "ratings", "rating")  # of a list of answers
OBJECTS = {"completions": ("response", "completion", "text"), "answers": ("answer", "text")}
PAIRS = {  # two answers, and what rates them
    ("answer_0", "answer_1"): ("score_0", "score_1"),
    ("human_ref_A", "human_ref_B"): ("labels",),
    ("response_j", "response_k"): (),
    ("response_0", "response_1"): ("better_response_id",),
    ("conversation_a", "conversation_b"): ("winner",),
}
FIRST_IS_BETTER: dict[tuple[str, Any], bool] = {
    ("labels", 1): True,
    ("labels", 0): False,
    ("better_response_id", 0): True,
    ("better_response_id", 1): False,
    ("winner", "model_a"): True,
    ("winner", "model_b"): False,
}
SCORES = ("overall_score", "score", "rating")
PROMPT = ("prompt", "instruction", "question", "query", "input", "history")
TELLING = frozenset(OBJECTS)
PAIR_FIELDS = frozenset(name for pair, by in PAIRS.items() for name in (*pair, *by))
SEVERAL = PAIR_FIELDS | frozenset((*LISTS, *OBJECTS))
USED = NAMES | PAIR_FIELDS | frozenset((*LISTS, *RATINGS, *OBJECTS, *LABELS, "tools"))


@dataclass
class Answer:
    """One of the answers. `rating`: the higher the better, None where nobody rated it. `said`: what else its record says."""

    turns: list[Message]
    rating: float | None
    said: dict[str, Any] = field(default_factory=dict)


def matches(record: dict[str, Any]) -> bool:
    if SEVERAL.isdisjoint(record):
        return False
    if pair := _pair(record):
        return pair == ("conversation_a", "conversation_b") or any(name in record for name in PROMPT)
    if not any(name in record for name in PROMPT):
        return False
    if any(name in record for name in LISTS) and any(name in record for name in RATINGS):
        return True
    return any(_are_answers(record.get(name), texts) for name, texts in OBJECTS.items())


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    return next((pair for pair, by in PAIRS.items() if all(name in record for name in (*pair, *by))), None)


def _are_answers(value: Any, texts: tuple[str, ...]) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(a, dict) and any(t in a for t in texts) for a in value)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The best answer and the worst as a pair; the first of the best alone where none is worse.

    Raises:
        BadRecord: wrong_type, no_turns, no_answers, no_winner, no_prompt, answered_prompt, prompts_differ, unknown_role.
    """
    meta = rest(record, USED)
    record = _with_prompt(record, meta)
    asked = read_prompt(record, meta)
    found, used = _answers(record, meta, asked)
    for name in sorted(USED - used - asked.used - {"tools", *LABELS}):
        if record.get(name) not in (None, ""):
            meta[name] = record[name]
    rated = [number for number, answer in enumerate(found) if answer.rating is not None]
    best = max(rated, key=lambda number: found[number].rating or 0.0, default=0)
    worst = min(rated, key=lambda number: found[number].rating or 0.0, default=0)
    row = conversation(record, [], meta)
    is_pair = found[best].rating != found[worst].rating and found[best].turns != found[worst].turns
    if is_pair:
        row.kind = "preference"
        row.messages, row.rejected = preference.paired(asked.turns, found[best].turns, found[worst].turns)
    else:
        row.messages = [*asked.turns, *found[best].turns]
        if row.messages[0].role == "assistant":
            raise BadRecord("no_prompt", "there are answers, but nothing that they answer")
    taken = {"chosen": best, "rejected": worst} if is_pair else {"chosen": best}
    others = [_for_meta(answer, number in taken.values()) for number, answer in enumerate(found)]
    meta["rated"] = taken | {"answers": others}
    return [row]


def _with_prompt(record: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The record with its prompt under a name that all know."""
    if isinstance(question := record.get("question"), dict):  # WebGPT
        meta["question"] = {k: v for k, v in question.items() if k != "full_text"}
        return record | {"question": question.get("full_text")}
    if isinstance(record.get("history"), str) and not any(name in record for name in PROMPT[:-1]):  # SHP
        return {k: v for k, v in record.items() if k != "history"} | {"prompt": record["history"]}
    return record


def _for_meta(answer: Answer, taken: bool) -> dict[str, Any]:
    held = {"rating": answer.rating} | answer.said
    if taken:
        return held
    return held | {"turns": [{"role": turn.role, "content": turn.content} for turn in answer.turns]}


def _answers(record: dict[str, Any], meta: dict[str, Any], asked: Prompt) -> tuple[list[Answer], frozenset[str]]:
    """The answers of a record, and the fields that hold and rate them."""
    if pair := _pair(record):
        first, second = _pair_ratings(record, PAIRS[pair])
        turns = [preference.answer(record[name], name, meta, asked) for name in pair]
        return [Answer(turns[0], first), Answer(turns[1], second)], frozenset((*pair, *PAIRS[pair]))
    for name, texts in OBJECTS.items():
        if _are_answers(record.get(name), texts):
            return [_of_object(value, name, texts, meta, asked) for value in record[name]], frozenset((name,))
    name = next((name for name in LISTS if record.get(name) is not None), LISTS[0])
    by = next((name for name in RATINGS if isinstance(record.get(name), list)), RATINGS[0])
    values, ratings = record.get(name), record.get(by) or []
    if not isinstance(values, list):
        raise BadRecord("wrong_type", f"{name} is {kind_of(values)}, not a list of answers")
    if not values:
        raise BadRecord("no_answers", f"{name} is an empty list")
    if not isinstance(ratings, list) or len(ratings) not in (0, len(values)):
        raise BadRecord("wrong_type", f"{by} is no list of as many ratings as {name} has answers")
    numbers = [_number(rating) for rating in ratings] or [None] * len(values)
    answers = [Answer(preference.answer(v, name, meta, asked), n) for v, n in zip(values, numbers, strict=True)]
    return answers, frozenset((name, by))


def _pair_ratings(record: dict[str, Any], by: tuple[str, ...]) -> tuple[float | None, float | None]:
    if len(by) == 2:
        return _number(record[by[0]]), _number(record[by[1]])
    if not by:
        return 1.0, 0.0
    said = record[by[0]]
    if isinstance(said, str) and said.startswith("tie"):
        if "both" in said:
            raise BadRecord("no_winner", f"{by[0]} is {said!r}: neither answer is worth learning")
        return 0.0, 0.0
    first_is_better = FIRST_IS_BETTER.get((by[0], said)) if isinstance(said, (str, int)) else None
    if first_is_better is None:
        raise BadRecord("no_winner", f"{by[0]} is {said!r}, which names neither answer")
    return float(first_is_better), float(not first_is_better)


def _of_object(value: dict[str, Any], place: str, texts: tuple[str, ...], meta: dict[str, Any], asked: Prompt) -> Answer:
    name = next(name for name in texts if name in value)
    said = {k: v for k, v in value.items() if k != name}
    return Answer(preference.answer(value[name], place, meta, asked), _rating(value), said)


def _rating(value: dict[str, Any]) -> float | None:
    """The rating that stands beside an answer. UltraFeedback's `overall_score` comes last: some of its 10 should be 1."""
    rank = _number(value.get("rank"))
    if rank is not None:
        return -rank
    fine = _number(value.get("fine-grained_score"))
    if fine is not None:
        return fine
    aspects = value.get("annotations")
    numbers = [_number(a.get("Rating")) for a in aspects.values() if isinstance(a, dict)] if isinstance(aspects, dict) else []
    known = [number for number in numbers if number is not None]
    if known:
        return sum(known) / len(known)
    return next((number for name in SCORES if (number := _number(value.get(name))) is not None), None)


def _number(value: Any) -> float | None:
    """A rating: a number, its text, or an object with a score."""
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
