"""What generation is driven by: many seeds at a time, caps over several models, and candidates as rows with an origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.augmented.asset import stricter
from sft_assets.augmented.candidate import Candidate, Cell, Fall, Seed
from sft_assets.augmented.gates.placing import place
from sft_assets.augmented.generations.driver import Tried, groups, play
from sft_assets.augmented.generations.rows import contents_of, made_of, obligations, table_of
from sft_assets.augmented.methods.kit import Ask, Kit, Steps
from sft_assets.models.door import Call, Reply
from sft_assets.models.door.caps import Caps, Cost, Spent
from sft_assets.recipe import Budget, Limits, Recipe
from sft_assets.record import Message
from tests.method_bench import MODEL, ok, parent

KIT = Kit({}, MODEL, MODEL)


def ask(seed: Seed, text: str, model: str = MODEL) -> Ask:
    return Ask(model, Call(seed.key, "p" * 64, [{"role": "user", "content": text}], {"max_tokens": 9}))


class Twice:
    """A method that asks two questions, the second made of the reply to the first."""

    def generate(self, seed: Seed, kit: Kit, section: Any) -> Steps:
        said = seed.parents[0].messages[0].content
        (first,) = yield [ask(seed, said)]
        second, third = yield [ask(seed, first.value), ask(seed, f"{first.value}!")]
        return [Candidate([Message("user", said), Message("assistant", f"{second.value} {third.value}")])]


def echo(asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply]]:
    """Answers in the reverse order, each by what was asked."""
    for one in reversed(asks):
        yield one, ok(f"<{one.call.messages[0]['content']}>")


def seeds(*instructions: str) -> list[Seed]:
    return [Seed((parent(text, "..."),)) for text in instructions]


# ------------------------------------------------------------------------------------------------------------ the driver


def test_replies_come_back_to_the_seed_that_asked_in_whatever_order_they_come() -> None:
    tried = play(Twice(), seeds("a", "b", "c"), KIT, None, echo)
    said = [one.candidates[0].messages[-1].content for one in tried if one.candidates]
    assert said == ["<<a>> <<a>!>", "<<b>> <<b>!>", "<<c>> <<c>!>"]
    assert [one.requests for one in tried] == [3, 3, 3]


def test_a_seed_that_a_cap_left_without_a_reply_is_given_up_and_the_others_go_on() -> None:
    def capped(asks: Sequence[Ask]) -> Iterable[tuple[Ask, Reply]]:
        return (pair for pair in echo(asks) if pair[0].call.messages[0]["content"] != "<b>")

    tried = play(Twice(), seeds("a", "b", "c"), KIT, None, capped)
    assert [one.candidates is None for one in tried] == [False, True, False]


def test_what_was_asked_at_the_same_time_is_one_wave() -> None:
    waves: list[int] = []

    def counted(asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply]]:
        waves.append(len(asks))
        return echo(asks)

    play(Twice(), seeds("a", "b", "c"), KIT, None, counted)
    assert waves == [3, 6]


def test_parameters_are_told_in_an_order_that_is_not_that_of_the_replies() -> None:
    class Two:
        def generate(self, seed: Seed, kit: Kit, section: Any) -> Steps:
            yield [Ask(f"model {n}", Call(seed.key, "p" * 64, [], {"max_tokens": 9, "seed": n})) for n in (2, 1)]
            return []

    def answers(asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply]]:
        return ((one, ok("yes")) for one in asks)

    def backwards(asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply]]:
        return answers(list(reversed(asks)))

    both = [play(Two(), seeds("a"), KIT, None, one)[0].prompts for one in (answers, backwards)]
    assert both == [{"p" * 64: {"max_tokens": 9, "model": ["model 1", "model 2"], "seed": [1, 2]}}] * 2


def test_a_seed_of_which_nothing_comes_says_so() -> None:
    class Nothing:
        def generate(self, seed: Seed, kit: Kit, section: Any) -> Steps:
            yield []
            return []

    (tried,) = play(Nothing(), seeds("a"), KIT, None, echo)
    assert tried.candidates and tried.candidates[0].fell == Fall("nothing_made")


@given(st.integers(0, 40), st.integers(1, 9))
def test_groups_are_the_seeds_in_their_order_a_trial_first(n: int, size: int) -> None:
    all_seeds = [Seed(index=i) for i in range(n)]
    made = list(groups(all_seeds, size))
    assert [seed for group in made for seed in group] == all_seeds
    assert all(made) and (not made or len(made[0]) == min(n, size))


# ------------------------------------------------------------------------------------------------------------ caps


def test_doors_beside_each_other_spend_under_one_cap() -> None:
    mine, theirs = Spent(calls=2), Spent(calls=3)
    assert Caps(Budget(calls=5), mine, [theirs]).lacking(Cost()) == "calls"
    assert Caps(Budget(calls=6), mine, [theirs]).lacking(Cost()) is None
    assert Caps(Budget(money=1.0), Spent(cost=0.4), [Spent(cost=0.5)]).lacking(Cost(money=0.2)) == "money"
    assert Caps(Budget(tokens=100), Spent(prompt_tokens=40), [Spent(completion_tokens=40)]).lacking(Cost(30)) == "tokens"


# ------------------------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    ("licenses", "all_of_them"),
    [
        ([], None),
        ([None], None),
        (["mit"], "mit"),
        (["mit", "cc-by-4.0", "mit"], "cc-by-4.0 AND mit"),
        ([None, "mit"], "mit AND unknown"),
        (["cc-by-4.0 AND mit", "apache-2.0"], "apache-2.0 AND cc-by-4.0 AND mit"),
        (["mit AND unknown", "mit"], "mit AND unknown"),
    ],
)
def test_what_is_made_of_texts_has_the_obligations_of_all_of_them(licenses: list[str | None], all_of_them: str | None) -> None:
    assert obligations(licenses) == all_of_them


VERSION = ("p" * 64, MODEL)


def tried(*candidates: Candidate, seed: Seed | None = None) -> Tried:
    asked: dict[str, dict[str, set[Any]]] = {"p" * 64: {"model": {MODEL}, "temperature": {0.0}, "max_tokens": {9}}}
    return Tried(seed or Seed((parent("Hi?", "Ho."),)), list(candidates), asked, requests=4, tokens=100, cost=0.5)


def answer(text: str, **fields: Any) -> Candidate:
    return Candidate([Message("user", "Who is it?"), Message("assistant", text)], **fields)


def test_secrets_are_masked_in_generated_rows_and_in_the_evidence_of_those_that_fell() -> None:
    good, bad = answer("Write to ann@corp-mail.com."), answer("x", fell=Fall("no", {"said": "ann@corp-mail.com"}))
    rows = list(made_of("answers", tried(good, bad), Recipe(), VERSION))
    table = table_of(rows, {}, 0, Recipe().combined.masks)
    assert rows[0].candidate.messages[-1].content == "Write to <EMAIL>."
    assert [edit.what for edit in rows[0].edits] == ["masked_email"]
    assert table["detail"].to_pylist() == [None, '{"said":"<EMAIL>"}']


def test_an_invalid_row_falls_at_validation_with_its_reason() -> None:
    (made,) = made_of("answers", tried(answer("  ")), Recipe(), VERSION)
    assert (made.stage, made.fell and made.fell.reason) == ("validation", "empty_answer")


def test_what_is_no_whole_row_is_a_draft_and_no_content() -> None:
    cut = Candidate([Message("user", "Mail ann@corp-mail.com?")], fell=Fall("truncated"))
    rows = list(made_of("answers", tried(cut), Recipe(), VERSION))
    table = table_of(rows, {}, 0, Recipe().combined.masks)
    assert (table["content_hash"].to_pylist(), table["draft"].to_pylist()) == ([None], ['[["user","Mail <EMAIL>?"]]'])


def test_a_secret_at_the_end_of_what_is_shown_is_masked_before_it_is_cut() -> None:
    for name, text in (("reply", "x " * 295 + "ann@corp-mail.com"), ("reply_ends", "ann@corp-mail.com" + " x" * 295)):
        table = table_of(
            list(made_of("answers", tried(answer("x", fell=Fall("no", {name: text}))), Recipe(), VERSION)), {}, 0, ["email"]
        )
        assert "ann@" not in str(table["detail"]) and "corp-mail" not in str(table["detail"])


def test_ids_tell_apart_what_was_made_in_another_way_and_stay_when_made_again() -> None:
    def ids(seed: Seed, *candidates: Candidate) -> list[bytes]:
        return [made.row_id for made in made_of("answers", tried(*candidates, seed=seed), Recipe(), VERSION)]

    one, two = seeds("Hi?", "Hello?")
    some = [
        *ids(one, answer("a"), answer("a")),
        *ids(two, answer("a")),
        *ids(Seed(one.parents, index=1), answer("a")),
        *ids(one, answer("a", choices={"operator": "breadth"})),
    ]
    assert len(set(some)) == len(some)
    assert ids(one, answer("a"), answer("a")) == some[:2]


def test_the_cost_of_a_seed_is_shared_by_its_candidates() -> None:
    rows = list(made_of("answers", tried(answer("a"), answer("b", fell=Fall("no"))), Recipe(), VERSION))
    table = table_of(rows, {}, 0, ())
    assert table["cost"].to_pylist() == [0.25, 0.25]
    assert table["requests"].to_pylist() == [2, 2]


def test_a_candidate_without_a_text_is_a_row_without_a_content() -> None:
    rows = list(made_of("answers", tried(Candidate([], fell=Fall("unparsed"))), Recipe(), VERSION))
    assert len(contents_of(rows)) == 0
    assert table_of(rows, {}, 0, ())["content_hash"].to_pylist() == [None]


def test_the_cell_that_a_row_was_made_for_is_told() -> None:
    seed = Seed((parent("Hi?", "Ho."),), cell=Cell(3, "sums", "hard", "short", "en", "single"))
    table = table_of(list(made_of("answers", tried(answer("a"), seed=seed), Recipe(), VERSION)), {}, 0, ())
    assert (table["topic_id"].to_pylist(), table["topic_name"].to_pylist()) == ([3], ["sums"])
    assert table["wanted"].to_pylist() == ['{"difficulty":"hard","language":"en","length":"short","turns":"single"}']


# ------------------------------------------------------------------------------------------------------------ thresholds


def test_generated_rows_are_held_to_the_stricter_of_two_limits() -> None:
    of_all = {"ifd": Limits(drop_above=0.8, review_below=0.1), "helpfulness": Limits(drop_below=2)}
    both = stricter(of_all, {"ifd": Limits(drop_above=1.0, review_below=0.2)})
    assert both == {"ifd": Limits(drop_above=0.8, review_below=0.2), "helpfulness": Limits(drop_below=2)}


# ------------------------------------------------------------------------------------------------------------ placing


def test_a_vector_is_placed_at_the_topic_whose_centre_is_nearest_and_beside_the_nearest_row() -> None:
    others = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    placed = place(np.array([[0.6, 0.8], [0, 0], [-1, 0]], np.float32), others, np.array([0, 0, 7, -1]))
    assert placed.topic.tolist() == [0, -1, 7]
    assert placed.nearest.tolist() == [1, -1, 3]
    assert placed.similarity[0] == pytest.approx(0.6 * 0.9487 + 0.8 * 0.3162, abs=1e-3)


def test_without_topics_nothing_is_placed() -> None:
    none = place(np.ones((2, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert none.topic.tolist() == [-1, -1]
