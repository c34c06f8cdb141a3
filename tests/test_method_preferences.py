"""preferences: answers are rated, the best and the worst are a pair, and ties, missing ratings and equal texts make none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.augmented.candidate import Candidate, Parent, Seed
from sft_assets.augmented.methods import preferences
from sft_assets.augmented.methods.kit import Ask, Kit
from sft_assets.errors import SftError
from sft_assets.models.door import Reply
from sft_assets.recipe import Preferences
from sft_assets.record import Message
from tests.method_bench import MODEL, Bench, asks_for, bad, kit_of, last, ok, parent, play

JUDGE = "a judge"
ASPECTS = ["ultrafeedback_helpfulness", "ultrafeedback_honesty"]
SECTION = Preferences(aspects=ASPECTS, temperatures=[0.2, 1.0])
KIT = replace(kit_of(preferences, SECTION), judge=JUDGE)
ROW = parent("Why is the sky blue?", "own answer", system="You are terse.")
CONFLICT = [parent("Is the Moon a planet?", answer) for answer in ("yes answer", "no answer", "third answer")]
Scores = Mapping[str, int | Reply | tuple[int | Reply, int | Reply]]


def says(scores: Scores, answers: Sequence[str | Reply] = ("cold answer", "hot answer")) -> Callable[[Ask], Reply]:
    """A model with these answers, in the order in which it is asked, and a judge that gives each what the scores say: for both
    aspects, or for one and the other."""
    given = iter(answers)

    def reply(ask: Ask) -> Reply:
        if ask.model != JUDGE:
            said = next(given)
            return said if isinstance(said, Reply) else ok(said)
        found = next(score for text, score in scores.items() if f"\n{text}\n" in last(ask))
        both = found if isinstance(found, tuple) else (found, found)
        score = both[not asks_for(KIT, ask, ASPECTS[0])]
        return score if isinstance(score, Reply) else ok({"reason": "So it is.", "score": score})

    return reply


def made(
    reply: Callable[[Ask], Reply],
    section: Preferences = SECTION,
    rows: Sequence[Parent] = (ROW,),
    kit: Kit = KIT,
    asked: list[Ask] | None = None,
) -> Candidate:
    (candidate,) = play(preferences.generate(Seed(tuple(rows)), kit, section), reply, asked)
    return candidate


def texts(candidate: Candidate) -> tuple[str, str | None]:
    """The chosen answer and the rejected one."""
    return candidate.messages[-1].content, candidate.rejected[0].content if candidate.rejected else None


def reason(candidate: Candidate) -> str | None:
    return candidate.fell.reason if candidate.fell else None


# ------------------------------------------------------------------------------------------------------- from seed to pair


def test_the_best_and_the_worst_of_the_rows_and_the_models_answers_are_a_pair() -> None:
    asked: list[Ask] = []
    candidate = made(says({"own answer": 4, "cold answer": (5, 4), "hot answer": 2}), asked=asked)
    assert candidate.fell is None
    assert candidate.kind == "preference"
    assert candidate.messages == [*ROW.prompt, Message("assistant", "cold answer")]
    assert candidate.rejected == [Message("assistant", "hot answer")]
    assert candidate.choices["chosen"] == {
        "model": MODEL, "temperature": 0.2, "rating": 4.5, "aspects": {ASPECTS[0]: 5.0, ASPECTS[1]: 4.0},
    }  # fmt: skip
    assert candidate.choices["rejected"]["temperature"] == 1.0
    assert candidate.choices["others"] == [
        {"row": str(UUID(bytes=ROW.row_id)), "rating": 4.0, "aspects": dict.fromkeys(ASPECTS, 4.0)}
    ]
    assert len(asked) == sum(preferences.calls(SECTION).values())
    assert {ask.model for ask in asked[2:]} == {JUDGE}


def test_each_model_answers_at_each_temperature_with_each_system_prompt_and_the_pair_has_none_of_these() -> None:
    section = SECTION.model_copy(update={"models": ["small", "large"], "systems": ["", "Think first."]})
    asked: list[Ask] = []
    answers = [f"answer {n}" for n in range(8)]
    candidate = made(
        says({"own answer": 3, **{text: 1 + n % 5 for n, text in enumerate(answers)}}, answers), section, asked=asked
    )
    chats = [ask for ask in asked if ask.model != JUDGE]
    ways = [(ask.model, ask.call.params["temperature"], ask.call.messages[0]["content"]) for ask in chats]
    systems = ["You are terse.", "Think first.\n\nYou are terse."]
    assert ways == list(product(["small", "large"], [0.2, 1.0], systems))
    assert len({ask.call.params["seed"] for ask in chats}) == len(chats)
    assert [turn.content for turn in candidate.messages if turn.role == "system"] == ["You are terse."]
    assert candidate.fell is None


def test_two_answers_by_equal_parameters_are_two_samples() -> None:
    section = SECTION.model_copy(update={"temperatures": [1.0, 1.0]})
    asked: list[Ask] = []
    made(says({"own answer": 3, "cold answer": 5, "hot answer": 1}), section, asked=asked)
    assert len({ask.call.key(ask.model) for ask in asked[:2]}) == 2


def test_answers_of_rows_with_one_prompt_are_paired_without_generating() -> None:
    asked: list[Ask] = []
    candidate = made(says({"yes answer": 1, "no answer": 5, "third answer": 3}), rows=CONFLICT, asked=asked)
    assert candidate.fell is None
    assert texts(candidate) == ("no answer", "yes answer")
    assert candidate.parents == (CONFLICT[1], CONFLICT[0])
    assert {ask.model for ask in asked} == {JUDGE}


def test_conflicts_come_first_and_count_among_the_rows() -> None:
    material = Bench(parents=[CONFLICT[0], ROW, parent("Why?", "So.")], disputed=[CONFLICT])
    seeds = preferences.seeds(material, SECTION.model_copy(update={"rows": 2}))
    assert [seed.parents for seed in seeds] == [tuple(CONFLICT), (ROW,)]
    seeds = preferences.seeds(material, SECTION.model_copy(update={"rows": 1}))
    assert [seed.parents for seed in seeds] == [tuple(CONFLICT)]
    seeds = preferences.seeds(material, SECTION.model_copy(update={"rows": None, "conflicts": False}))
    assert [seed.parents for seed in seeds] == [(row,) for row in material.parents]


def test_rows_with_tools_or_without_an_answer_are_no_seeds() -> None:
    rows = [parent("Order a pizza.", "Done.", tools="[]"), parent("Why?"), parent("Why?", " "), ROW]
    seeds = preferences.seeds(Bench(parents=rows, disputed=[rows[:2], [rows[0], ROW]]), SECTION)
    assert [seed.parents for seed in seeds] == [(ROW,)]


# ----------------------------------------------------------------------------------------------------- what makes no pair


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"own answer": 3, "cold answer": 3, "hot answer": 3}, "tie"),
        ({"own answer": (2, 4), "cold answer": (4, 2), "hot answer": 3}, "tie"),
        ({"own answer": 3, "cold answer": (3, 4), "hot answer": 3}, "margin"),
        ({"own answer": bad("unparsed"), "cold answer": bad("failed"), "hot answer": bad("refused")}, "unrated"),
        ({"own answer": (3, bad("unparsed")), "cold answer": (bad("failed"), 5), "hot answer": 1}, "unrated"),
        ({"own answer": 7, "cold answer": ok({"reason": "No score."}), "hot answer": 1}, "unrated"),
    ],
)
def test_ties_small_margins_and_missing_ratings_make_no_pair_and_are_named(scores: Scores, why: str) -> None:
    candidate = made(says(scores))
    assert reason(candidate) == why
    assert candidate.messages[: len(ROW.prompt)] == ROW.prompt


def test_an_answer_without_a_rating_is_left_out_and_its_story_says_why() -> None:
    candidate = made(says({"own answer": (5, bad("unparsed")), "cold answer": 4, "hot answer": 2}))
    assert texts(candidate) == ("cold answer", "hot answer")
    (other,) = candidate.choices["others"]
    assert other["unrated"] == {ASPECTS[1]: "unparsed"}
    assert "rating" not in other


def test_a_difference_of_exactly_the_margin_is_enough() -> None:
    section = SECTION.model_copy(update={"aspects": [*ASPECTS, "ultrafeedback_truthfulness"]})
    kit = replace(kit_of(preferences, section), judge=JUDGE)
    scores = {"own answer": 3, "cold answer": (3, 4), "hot answer": (2, 3)}  # the second for two aspects: 3 2/3 and 2 2/3
    assert reason(made(says(scores), section, kit=kit)) is None


def test_texts_that_differ_in_whitespace_alone_are_one_answer_and_rated_once() -> None:
    asked: list[Ask] = []
    candidate = made(says({}, ["own  answer\n", " own answer"]), asked=asked)
    assert (reason(candidate), len(asked)) == ("equal_answers", 2)
    assert texts(candidate) == ("own answer", None)
    candidate = made(says({"own answer": 2, "hot answer": 4}, ["own  answer", "hot answer"]))
    assert texts(candidate) == ("hot answer", "own answer")
    assert candidate.choices["others"] == [{"model": MODEL, "temperature": 0.2, "fell": "equal_answers"}]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([ok("cold ans", finish="length"), ok("hot ans", finish="length")], "truncated"),
        ([bad("failed"), bad("failed")], "failed"),
        ([bad("refused"), "own answer"], "refused"),
        ([ok(""), ok("")], "empty"),
    ],
)
def test_where_the_models_give_no_second_answer_the_reason_is_theirs_and_nobody_judges(
    answers: Sequence[str | Reply], why: str
) -> None:
    asked: list[Ask] = []
    candidate = made(says({}, answers), asked=asked)
    assert (reason(candidate), len(asked)) == (why, 2)


def test_a_truncated_answer_is_never_part_of_a_pair() -> None:
    candidate = made(says({"own answer": 5, "hot answer": 2}, [ok("cold ans", finish="length"), "hot answer"]))
    assert texts(candidate) == ("own answer", "hot answer")
    assert candidate.choices["others"] == [{"model": MODEL, "temperature": 0.2, "fell": "truncated"}]


ANSWERS = st.sampled_from(["a", "b", " a", "b\n", "c c", "c  c"])


@given(st.lists(ANSWERS, min_size=2, max_size=5), st.data())
def test_in_every_pair_the_texts_differ_and_the_ratings_are_a_margin_apart(answers: list[str], data: st.DataObject) -> None:
    rows = [parent("Which?", text) for text in answers]
    rating = st.sampled_from([None, float("nan"), 0.0, 0.5, 1.0, 2.0])
    kit = replace(KIT, reward=lambda messages, tools: data.draw(rating))
    section = Preferences(rated_by="reward")
    candidate = made(says({}), section, rows, kit)
    if candidate.fell is None:
        assert candidate.rejected is not None
        assert candidate.messages[-1].content.split() != candidate.rejected[0].content.split()
        assert candidate.choices["chosen"]["rating"] - candidate.choices["rejected"]["rating"] >= section.margin
        assert (candidate.messages[-1].role, candidate.rejected[0].role) == ("assistant", "assistant")
    else:
        assert candidate.fell.reason in ("equal_answers", "unrated", "tie", "margin")


# --------------------------------------------------------------------------------------------------------- reward, rubrics


def test_the_reward_model_rates_the_whole_conversation_and_the_judge_is_not_asked() -> None:
    seen: list[list[Message]] = []

    def reward(messages: Sequence[Message], tools: str | None) -> float | None:
        seen.append(list(messages))
        return {"own answer": 0.5, "cold answer": None, "hot answer": 3.25}[messages[-1].content]

    section = SECTION.model_copy(update={"rated_by": "reward"})
    kit = replace(kit_of(preferences, section), reward=reward)
    asked: list[Ask] = []
    candidate = made(says({}), section, kit=kit, asked=asked)
    assert candidate.fell is None
    assert texts(candidate) == ("hot answer", "own answer")
    assert all(messages[:-1] == ROW.prompt for messages in seen)
    assert {ask.model for ask in asked} == {MODEL}
    assert candidate.choices["others"][0]["unrated"] == {"reward": "unscored"}


def test_without_a_reward_model_the_error_says_what_to_name() -> None:
    section = SECTION.model_copy(update={"rated_by": "reward"})
    with pytest.raises(SftError, match=r"rewards\.model"):
        made(says({}), section, kit=kit_of(preferences, section))


def test_an_aspect_that_is_no_rubric_is_an_error_that_names_the_file() -> None:
    section = SECTION.model_copy(update={"aspects": ["topic_name"]})
    kit = Kit({**KIT.prompts, "topic_name": KIT.prompts["answer"]}, MODEL, MODEL, judge=JUDGE)
    with pytest.raises(SftError, match=r"answer\.md: .*no rubric"):
        made(says({}), section, kit=kit)
