"""evol_instruct: operators in turns, each of the paper's eliminations by its name, and of several rounds the last good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sft_assets.augmented.candidate import Candidate, Cell, Seed
from sft_assets.augmented.methods import evol_instruct
from sft_assets.augmented.methods.kit import Ask
from sft_assets.models.door import Reply
from sft_assets.recipe import EvolInstruct
from tests.method_bench import CHECKER, MODEL, Bench, asks_for, bad, kit_of, last, ok, parent, play

SECTION = EvolInstruct()
KIT = kit_of(evol_instruct, SECTION)
ROW = parent("Name three primary colours.", "Red, yellow, blue.", system="You paint.")
EVOLVED = "Name three primary colours, and say for each why painters cannot mix it from others."
ANSWER = "Red, yellow and blue: no mixture of other paints gives any of them."
DEPTH = EvolInstruct(operators=["deepening"])
LENGTHENING = [" Add where each occurs in nature.", " Begin with the rarest.", " Write it as a table."]


def says(
    evolved: str | Reply | Sequence[str | Reply] = EVOLVED, equal: str | Reply = "no", answer: str | Reply = ANSWER
) -> Callable[[Ask], Reply]:
    """A model that evolves to these, one after another; a checker; an answer to whatever is asked."""
    rounds = iter([evolved] if isinstance(evolved, str | Reply) else evolved)

    def reply(ask: Ask) -> Reply:
        if asks_for(KIT, ask, "evol_equal"):
            return equal if isinstance(equal, Reply) else ok({"reason": "Because.", "equal": equal})
        if asks_for(KIT, ask, "answer"):
            return answer if isinstance(answer, Reply) else ok(answer)
        said = next(rounds)
        return said if isinstance(said, Reply) else ok({"instruction": said})

    return reply


def made(
    reply: Callable[[Ask], Reply], section: EvolInstruct = DEPTH, asked: list[Ask] | None = None, row: Any = ROW
) -> list[Candidate]:
    return play(evol_instruct.generate(Seed((row,)), KIT, section), reply, asked)


def reasons(candidates: Sequence[Candidate]) -> list[str | None]:
    return [candidate.fell.reason if candidate.fell else None for candidate in candidates]


# --------------------------------------------------------------------------------------------------------- from seed to row


def test_an_instruction_is_evolved_checked_and_answered_under_the_rows_system_prompt() -> None:
    asked: list[Ask] = []
    (candidate,) = made(says(), asked=asked)
    assert candidate.fell is None
    assert [(turn.role, turn.content) for turn in candidate.messages] == [
        ("system", "You paint."),
        ("user", EVOLVED),
        ("assistant", ANSWER),
    ]
    assert candidate.choices == {"operator": "deepening", "round": 1}
    evolve, check, chat = asked
    assert asks_for(KIT, evolve, "evol_deepening")
    assert (evolve.model, check.model, chat.model) == (MODEL, CHECKER, MODEL)
    assert "Name three primary colours." in last(evolve)
    assert EVOLVED in last(check)
    assert last(chat) == EVOLVED


def test_seeds_of_one_row_go_through_all_operators() -> None:
    seeds = evol_instruct.seeds(Bench(cells=[Cell()] * 5, parents=[ROW]), SECTION)
    assert {evol_instruct.choices_of(seed, SECTION, 0)["operator"] for seed in seeds} == set(SECTION.operators)


def test_a_row_keeps_its_operator_when_other_cells_lack_rows_too() -> None:
    cells = [Cell(1), Cell(2)]
    (alone,) = evol_instruct.seeds(Bench(cells=cells[1:], parents=[ROW]), SECTION)
    seeds = evol_instruct.seeds(Bench(cells=[Cell(2), Cell(1)], parents=[ROW]), SECTION)
    assert evol_instruct.choices_of(alone, SECTION, 0) == evol_instruct.choices_of(seeds[0], SECTION, 0)


def test_cells_take_turns_as_they_are_wanted_so_that_a_budget_reaches_all_of_them() -> None:
    cells = [Cell(1), Cell(2), Cell(1, turns="multi"), Cell(1)]
    seeds = evol_instruct.seeds(Bench(cells=cells, parents=[ROW, parent("Why?", "So.")]), SECTION)
    assert [seed.cell.topic for seed in seeds] == [1, 2, 1, 1]
    assert {seed.cell.turns for seed in seeds} == {"single"}


def test_breadth_is_not_checked_for_a_gain() -> None:
    asked: list[Ask] = []
    (candidate,) = made(says(equal="yes"), EvolInstruct(operators=["breadth"]), asked)
    assert candidate.fell is None
    assert not any(asks_for(KIT, ask, "evol_equal") for ask in asked)


def test_the_wanted_length_is_said_to_who_answers_and_not_in_the_row() -> None:
    asked: list[Ask] = []
    seed = Seed((ROW,), cell=Cell(length="short"))
    (candidate,) = play(evol_instruct.generate(seed, KIT, DEPTH), says(), asked)
    assert "under 50 words" in asked[-1].call.messages[0]["content"]
    assert not any("50 words" in turn.content for turn in candidate.messages)


# ------------------------------------------------------------------------------------------------------------ elimination


@pytest.mark.parametrize(
    ("evolved", "why"),
    [
        ("Name THREE primary colours", "unchanged"),
        ("Name four colours.", "too_short"),
        ("#Rewritten Prompt#: " + EVOLVED, "copied_prompt_words"),
        ("Here is the rewritten instruction: " + EVOLVED, "copied_prompt_words"),
        ("As in the given prompt, name three primary colours and their uses.", "copied_prompt_words"),
        ("[a1b2c3 instruction] Name three primary colours and their uses.", "copied_prompt_words"),
        (bad("unparsed", '{"instruction": "Name thr'), "unparsed"),
        (bad("failed"), "failed"),
        (ok({"instruction": ""}), "empty"),
    ],
)
def test_what_is_seen_without_a_model_is_eliminated_before_more_is_paid(evolved: str | Reply, why: str) -> None:
    asked: list[Ask] = []
    candidates = made(says(evolved), asked=asked)
    assert (reasons(candidates), len(asked)) == ([why], 1)


def test_words_about_prompts_that_the_row_itself_has_are_no_copies() -> None:
    row = parent("Write a new prompt for a drawing class.", "Draw a door.")
    (candidate,) = made(says("Write a new prompt for a drawing class of adults, in under 20 words."), row=row)
    assert candidate.fell is None


def test_an_instruction_that_asks_for_no_more_than_before_has_no_gain() -> None:
    asked: list[Ask] = []
    (candidate,) = made(says(equal="yes"), asked=asked)
    assert candidate.fell is not None
    assert (candidate.fell.reason, candidate.fell.evidence) == ("no_gain", {"reason": "Because."})
    assert candidate.instruction == EVOLVED
    assert not any(asks_for(KIT, ask, "answer") for ask in asked)


def test_without_a_verdict_of_the_checker_nothing_is_accepted() -> None:
    (candidate,) = made(says(equal=bad("unparsed")))
    assert candidate.fell is not None
    assert candidate.fell.reason == "unparsed"
    assert candidate.fell.evidence["check"] == "evol_equal"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("I'm sorry, but I cannot answer that.", "refusal"),
        ("... - ?!", "empty_answer"),
        ("It is what it is.", "empty_answer"),
        (ok("Red, yel", finish="length"), "truncated"),
        (ok(""), "empty"),
        (bad("refused"), "refused"),
        (bad("failed"), "failed"),
    ],
)
def test_an_instruction_that_gets_no_answer_is_eliminated(answer: str | Reply, why: str) -> None:
    (candidate,) = made(says(answer=answer))
    assert candidate.fell is not None
    assert candidate.fell.reason == why
    assert candidate.instruction == EVOLVED


@pytest.mark.parametrize(
    "answer", ["Sorry is what one says. " + "It opens an apology in English. " * 16, "No.", "Twelve.", "赤です。"]
)
def test_short_answers_and_long_ones_that_say_sorry_are_answers(answer: str) -> None:
    assert reasons(made(says(answer=answer))) == [None]


# ----------------------------------------------------------------------------------------------------------------- rounds


def test_each_round_evolves_what_the_one_before_made() -> None:
    section, asked = EvolInstruct(operators=["constraints", "deepening"], rounds=2), list[Ask]()
    evolved = [EVOLVED, EVOLVED + LENGTHENING[0]]
    (candidate,) = made(says(evolved), section, asked)
    assert candidate.instruction == evolved[1]
    assert candidate.choices["round"] == 2
    assert sorted(candidate.choices["operators"]) == ["constraints", "deepening"]
    assert EVOLVED in last(asked[2])
    assert sum(asks_for(KIT, ask, "answer") for ask in asked) == 1


def test_what_is_eliminated_ends_the_rounds_and_the_last_good_one_counts() -> None:
    section = EvolInstruct(operators=["deepening"], rounds=3)
    bad_one, good = made(says([EVOLVED, "Too short."]), section)
    assert (reasons([bad_one, good]), bad_one.choices["round"], good.choices["round"]) == (["too_short", None], 2, 1)
    assert (bad_one.instruction, good.instruction) == ("Too short.", EVOLVED)


def test_where_the_last_round_cannot_be_answered_the_one_before_it_is() -> None:
    section, second = EvolInstruct(operators=["deepening"], rounds=2), EVOLVED + LENGTHENING[0]
    model = says([EVOLVED, second])

    def reply(ask: Ask) -> Reply:
        return ok("Sorry, I can't.") if asks_for(KIT, ask, "answer") and last(ask) == second else model(ask)

    candidates = made(reply, section)
    assert reasons(candidates) == ["refusal", None]
    assert [candidate.instruction for candidate in candidates] == [second, EVOLVED]


def test_the_calls_of_an_estimate_are_those_of_a_run_in_which_nothing_falls() -> None:
    section = EvolInstruct(operators=["deepening", "breadth"], rounds=2)
    asked: list[Ask] = []
    made(says([EVOLVED, EVOLVED + LENGTHENING[0]]), section, asked)
    assert sum(evol_instruct.calls(section).values()) == len(asked)
