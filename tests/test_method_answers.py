"""answers: prompt-only rows are answered as they are, and what is no whole answer falls with its reason."""

from __future__ import annotations

import pytest

from sft_assets.augmented.candidate import Candidate, Parent
from sft_assets.augmented.methods import answers
from sft_assets.augmented.methods.kit import Ask
from sft_assets.models.door import Reply
from sft_assets.recipe import EMBEDDED, Answers
from sft_assets.record import Message
from tests.method_bench import Bench, bad, kit_of, ok, parent, play

SECTION = Answers()
KIT = kit_of(answers, SECTION)
WHERE = parent("Where is Rome?", "In Italy.", "And Paris?", system="You are terse.")


def answered(row: Parent, reply: Reply, asked: list[Ask] | None = None) -> Candidate:
    (seed,) = answers.seeds(Bench(unanswered=[row]), SECTION)
    (candidate,) = play(answers.generate(seed, KIT, SECTION), lambda ask: reply, asked)
    return candidate


def test_a_prompt_is_sent_as_the_conversation_that_it_is() -> None:
    asked: list[Ask] = []
    candidate = answered(WHERE, ok(" In France.\n"), asked)
    assert candidate.fell is None
    assert candidate.messages == [*WHERE.messages, Message("assistant", "In France.")]
    (ask,) = asked
    assert list(ask.call.messages) == [{"role": turn.role, "content": turn.content} for turn in WHERE.messages]
    assert ask.call.schema is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (ok("In Fra", finish="length"), "truncated"),
        (ok(""), "empty"),
        (ok(" \n"), "empty"),
        (bad("refused"), "refused"),
        (bad("failed"), "failed"),
    ],
)
def test_what_is_no_whole_answer_falls_with_its_reason(reply: Reply, reason: str) -> None:
    candidate = answered(WHERE, reply)
    assert candidate.fell and candidate.fell.reason == reason
    assert candidate.messages[: len(WHERE.messages)] == WHERE.messages


def test_what_was_cut_off_is_kept_to_be_looked_at() -> None:
    assert answered(WHERE, ok("In Fra", finish="length")).messages[-1] == Message("assistant", "In Fra")


def test_a_row_keeps_its_tools_and_the_model_is_told_of_them() -> None:
    tools = '[{"name": "clock"}]'
    called = [
        Message("user", "What is the time?"),
        Message("assistant", "", tool_calls='[{"name": "clock"}]'),
        Message("tool", "12:04", name="clock"),
    ]
    asked: list[Ask] = []
    candidate = answered(parent("-", tools=tools)._replace(messages=called), ok("It is 12:04."), asked)
    assert candidate.tools == tools
    assert candidate.messages == [*called, Message("assistant", "It is 12:04.")]
    system, *_, result = asked[0].call.messages
    assert tools in system["content"]
    assert "12:04" in result["content"]
    assert all(message["content"] for message in asked[0].call.messages)


def test_only_so_many_rows_as_the_recipe_says_are_tried() -> None:
    rows = [parent(f"What is {n} x {n}?") for n in range(4)]
    assert [seed.parents for seed in answers.seeds(Bench(unanswered=rows), Answers(rows=2))] == [(rows[0],), (rows[1],)]
    assert len(answers.seeds(Bench(unanswered=rows), SECTION)) == 4


def test_a_system_prompt_that_is_given_comes_before_the_rows_own() -> None:
    (seed,) = answers.seeds(Bench(unanswered=[WHERE]), SECTION)
    for system, said in ((None, "You are terse."), ("", "You are terse."), ("Rhyme.", "Rhyme.\n\nYou are terse.")):
        first, *rest = KIT.chat(seed, WHERE.messages, system).call.messages
        assert first == {"role": "system", "content": said}
        assert [message["role"] for message in rest] == ["user", "assistant", "user"]


def test_other_samples_and_other_temperatures_are_other_requests() -> None:
    (seed,) = answers.seeds(Bench(unanswered=[WHERE]), SECTION)
    asks = [
        KIT.chat(seed, WHERE.messages),
        KIT.chat(seed, WHERE.messages, sample=1),
        KIT.chat(seed, WHERE.messages, temperature=0.1),
        KIT.chat(seed, WHERE.messages, "Rhyme."),
    ]
    assert len({ask.call.key(ask.model) for ask in asks}) == len(asks)


def test_the_embedded_model_is_kept_short() -> None:
    (seed,) = answers.seeds(Bench(unanswered=[WHERE]), SECTION)
    small, large = (KIT.chat(seed, WHERE.messages, model=model).call.params["max_tokens"] for model in (EMBEDDED, "a model"))
    assert small < large
