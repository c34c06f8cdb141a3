"""self_instruct: a new instruction is asked for beside some of its topic, and what the paper drops falls with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.augmented.candidate import Candidate, Cell, Seed
from sft_assets.augmented.methods import self_instruct
from sft_assets.augmented.methods.kit import Ask
from sft_assets.augmented.methods.rouge import Pool, rouge_l
from sft_assets.models.door import Reply
from sft_assets.recipe import EMBEDDED, SelfInstruct
from sft_assets.text.plain import tokens
from tests.method_bench import Bench, asks_for, bad, kit_of, last, ok, parent, play

SECTION = SelfInstruct()
KIT = kit_of(self_instruct, SECTION)
UNITS = [
    parent("Convert 20 degrees Celsius to Fahrenheit.", "68."),
    parent("How many feet are in a mile?", "5,280."),
    parent("What is 2 stone in kilograms?", "12.7."),
    parent("How many grams are in an ounce?", "28.35."),
]
CELL = Cell(3, "units", "hard", "short", "en", "single")
NEW = "A recipe asks for 250 ml of milk. How many cups is that?"
SEED = Seed(tuple(UNITS[:3]), cell=CELL)


def says(instruction: str | Reply, answer: str | Reply = "About one cup.") -> Callable[[Ask], Reply]:
    """A model that gives that instruction, and that answer to it."""
    first = instruction if isinstance(instruction, Reply) else ok({"instruction": instruction})
    second = answer if isinstance(answer, Reply) else ok(answer)
    return lambda ask: first if asks_for(KIT, ask, "self_instruct") else second


def made(reply: Callable[[Ask], Reply], section: SelfInstruct = SECTION, asked: list[Ask] | None = None) -> Candidate:
    (candidate,) = play(self_instruct.generate(SEED, KIT, section), reply, asked)
    return candidate


def reason(candidate: Candidate) -> str | None:
    return candidate.fell.reason if candidate.fell else None


def settled(instructions: Sequence[str], material: Bench) -> list[Candidate]:
    """Candidates of the topic 3 after they were held against those that there are."""
    candidates = [made(says(instruction)) for instruction in instructions]
    self_instruct.settle(candidates, material, SECTION)
    return candidates


def there(*instructions: str) -> Bench:
    """A material in which the topic 3 has these."""
    return Bench(asked={3: instructions})


# --------------------------------------------------------------------------------------------------------- from seed to row


def test_a_new_instruction_is_asked_for_and_then_answered_as_a_chat() -> None:
    asked: list[Ask] = []
    candidate = made(says(NEW), asked=asked)
    assert candidate.fell is None
    assert [(turn.role, turn.content) for turn in candidate.messages] == [("user", NEW), ("assistant", "About one cup.")]
    request, chat = asked
    shown = [json.loads(turn["content"])["instruction"] for turn in request.call.messages if turn["role"] == "assistant"]
    assert shown == [row.messages[0].content for row in UNITS[:3]]
    assert all(part in last(request) for part in ("units", "hard", "under 50 words", "English"))
    assert list(chat.call.messages) == [
        {"role": "system", "content": "Answer in under 50 words."},
        {"role": "user", "content": NEW},
    ]


def test_each_seed_of_a_cell_shows_the_next_rows_and_begins_again_when_there_are_no_more() -> None:
    seeds = self_instruct.seeds(Bench(cells=[CELL] * 5, parents=UNITS), SelfInstruct(examples=2))
    shown = [[UNITS.index(row) for row in seed.parents] for seed in seeds]
    assert shown == [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1]]
    assert [seed.index for seed in seeds] == [0, 0, 1, 1, 2]
    requests = [next(self_instruct.generate(seed, KIT, SECTION))[0].call for seed in seeds]
    assert len({call.key("a model") for call in requests}) == len(seeds), "equal parents are asked with another seed"


def test_rows_with_tools_or_without_an_instruction_are_no_examples() -> None:
    rows = [parent("Order a pizza.", "Done.", tools="[]"), parent(" ", "Hello."), UNITS[0]]
    (seed,) = self_instruct.seeds(Bench(cells=[CELL], parents=rows), SECTION)
    assert seed.parents == (UNITS[0],)
    assert self_instruct.seeds(Bench(cells=[CELL], parents=rows[:2]), SECTION) == []


def test_the_first_question_of_a_conversation_is_shown_and_not_one_that_needs_it() -> None:
    chat = parent("Why is the sky red at dusk?", "Because ...", "And on Mars?", "There it is blue.")
    asked: list[Ask] = []
    play(self_instruct.generate(Seed((chat,)), KIT, SECTION), says(NEW), asked)
    assert json.loads(asked[0].call.messages[2]["content"]) == {"instruction": "Why is the sky red at dusk?"}


def test_instructions_with_long_texts_are_shown_only_where_there_are_no_others() -> None:
    long = parent("Shorten this text. " + "It goes on and on. " * 200, "It goes on.")
    (seed,) = self_instruct.seeds(Bench(cells=[CELL], parents=[long, *UNITS[:2]]), SECTION)
    assert long not in seed.parents
    (seed,) = self_instruct.seeds(Bench(cells=[CELL], parents=[long]), SECTION)
    request = next(self_instruct.generate(seed, KIT, SECTION))[0].call
    assert len(request.messages[2]["content"]) < self_instruct.EXAMPLE_CHARS + 100


# ---------------------------------------------------------------------------------------------------------- what falls


@pytest.mark.parametrize(
    ("instruction", "why"),
    [
        ("Convert feet.", "too_short"),
        ("How many " + "very " * 150 + "long feet?", "too_long"),
        ("Draw a chart of how feet relate to miles.", "blacklisted"),
        ("Look at the Picture and say how tall it is.", "blacklisted"),
        ("Please go  to the shop and buy two litres.", "blacklisted"),
        ("- How many cups are in a gallon?", "bad_start"),
        (": convert 3 miles to feet", "bad_start"),
        ("🙂 How many cups are in a gallon?", "bad_start"),
        ("how many feet are in a mile", "copies_example"),
    ],
)
def test_what_the_paper_drops_falls_before_an_answer_is_paid_for(instruction: str, why: str) -> None:
    asked: list[Ask] = []
    candidate = made(says(instruction), asked=asked)
    assert (reason(candidate), len(asked)) == (why, 1)
    assert candidate.instruction == instruction


@pytest.mark.parametrize(
    "instruction",
    [
        "A drawing of the photographer's profile is described below.",  # "draw" and "file" are parts of other words
        "¿Cuántos pies hay en una milla?",
        "一マイルは何フィートですか。",
        "«Combien de pieds» : que veut dire cette question ?",
        "`km * 0.62` gives miles: why?",
        "#include <math.h> is missing: what breaks?",
        "3 miles are how many feet?",
    ],
)
def test_other_languages_code_and_numbers_may_begin_an_instruction(instruction: str) -> None:
    assert reason(made(says(instruction))) is None


def test_the_words_of_the_blacklist_are_the_recipes() -> None:
    section = SelfInstruct(blacklist=["cups", "牛乳"])
    assert reason(made(says(NEW), section)) == "blacklisted"
    assert reason(made(says("この牛乳は何ミリリットルですか。"), section)) == "blacklisted"
    assert reason(made(says("Draw a chart of how feet relate to miles."), section)) is None


@pytest.mark.parametrize(
    ("instruction", "answer", "why"),
    [
        (bad("unparsed", '{"instruction": "How ma'), "", "unparsed"),
        (bad("failed"), "", "failed"),
        (ok({"instruction": "  "}), "", "empty"),
        (ok({"instruction": NEW}), ok("About on", finish="length"), "truncated"),
        (ok({"instruction": NEW}), bad("refused"), "refused"),
        (ok({"instruction": NEW}), ok(" "), "empty"),
    ],
)
def test_a_reply_of_which_nothing_can_be_made_falls_with_its_reason(instruction: Reply, answer: Reply, why: str) -> None:
    assert reason(made(says(instruction, answer))) == why


def test_an_instruction_as_long_as_the_embedded_model_may_write_was_cut_off() -> None:
    kit = kit_of(self_instruct, SECTION, model=EMBEDDED)
    most = kit.prompts["self_instruct"].header.embedded_chars
    text = ("How many cups are in a gallon, a pint and a barrel? " * 20)[:most]
    (candidate,) = play(self_instruct.generate(SEED, kit, SECTION), lambda ask: ok({"instruction": text}))
    assert reason(candidate) == "truncated"
    (candidate,) = play(
        self_instruct.generate(SEED, kit, SECTION), lambda ask: ok({"instruction": NEW} if ask.call.schema else "1.")
    )
    assert reason(candidate) is None


# -------------------------------------------------------------------------------------------------------------- ROUGE-L


def test_what_is_near_to_a_row_of_the_topic_falls_and_names_it() -> None:
    near, far = settled(["So how many feet are in a mile?", NEW], there("How many feet are in a mile?", "What is an acre?"))
    assert near.fell is not None
    assert near.fell.reason == "rouge"
    assert near.fell.evidence == {"nearest": "How many feet are in a mile?", "score": pytest.approx(14 / 15, abs=1e-4)}
    assert far.fell is None


def test_of_new_instructions_near_to_each_other_the_first_stays() -> None:
    first, second = settled([NEW, NEW.replace("milk", "cream")], there())
    assert (reason(first), reason(second)) == (None, "rouge")


def test_candidates_of_earlier_groups_count_unless_they_fell() -> None:
    material = there("What is an acre?")
    assert reason(settled([NEW], material)[0]) is None
    assert reason(settled([NEW], material)[0]) == "rouge"
    assert reason(settled(["So, what is an acre?"], material)[0]) == "rouge"
    assert reason(settled([NEW], there())[0]) is None, "another run begins anew"


def test_instructions_of_other_topics_do_not_count() -> None:
    assert reason(settled([NEW], Bench(asked={2: [NEW], None: [NEW]}))[0]) is None


def test_the_recipes_share_itself_is_too_near() -> None:
    words = [f"word{n}" for n in range(10)]
    at = " ".join([*words[:7], "x", "y", "z"])  # 7 of 10 in common: F1 0.7
    below = " ".join([*words[:6], "x", "y", "z", "w"])
    assert reason(settled([at], there(" ".join(words)))[0]) == "rouge"
    assert reason(settled([below], there(" ".join(words)))[0]) is None


def test_a_fallen_candidate_is_not_held_against_others_and_keeps_its_reason() -> None:
    candidates = settled(["Convert feet.", NEW], there("Convert feet.", "What is an acre?"))
    assert [reason(candidate) for candidate in candidates] == ["too_short", None]


def plain_rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 by the textbook's dynamic programme."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for n, them in enumerate(other):
            row.append(above[n] + 1 if word == them else max(above[n + 1], row[n]))
        above = row
    return 2 * above[-1] / (len(one) + len(other)) if one and other else 0.0


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "東", "京", "7", "+", "the"]), max_size=12).map(" ".join)


@given(TEXTS, st.lists(TEXTS, max_size=6))
def test_the_nearest_instruction_is_that_of_the_plain_dynamic_programme(text: str, others: list[str]) -> None:
    pool = Pool(others)
    for other in others:
        assert rouge_l(text, other) == pytest.approx(plain_rouge_l(tokens(text), tokens(other)), abs=1e-12)
    scores = [plain_rouge_l(tokens(text), tokens(other)) for other in others]
    for least in (0.3, 0.7, 1.0):
        best = max(scores, default=0.0)
        found = pool.nearest(text, least)
        if best >= least:
            assert found is not None
            assert found.score == pytest.approx(best)
            assert scores[others.index(found.text)] == pytest.approx(best)
        elif best < least - 1e-6:
            assert found is None
