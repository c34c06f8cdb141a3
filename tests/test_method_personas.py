"""personas: an instruction in somebody else's words keeps its numbers and its code, and is answered for who asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sft_assets.augmented.candidate import Candidate, Cell, Parent, Seed
from sft_assets.augmented.methods import personas
from sft_assets.augmented.methods.kit import Ask
from sft_assets.models.door import Reply
from sft_assets.recipe import Personas
from tests.method_bench import Bench, asks_for, bad, kit_of, last, ok, parent, play

NURSE = "A busy nurse. Says only what matters."
SECTION = Personas(personas=[NURSE])
KIT = kit_of(personas, SECTION)
ROW = parent("What is the boiling point of water at 2,000 m, and why is it below 100 degrees?", "93.", system="Use SI units.")
ASKED = "Boiling point of water at 2,000 m? And why below 100 degrees?"
CODED = parent("Explain `sum(x)`:\n```python\nsum(x)  \n\nprint(1)\n```\nWhat does it do?", "It adds.")


def says(rewritten: str | Reply, answer: str | Reply = "About 93 degrees.") -> Callable[[Ask], Reply]:
    first = rewritten if isinstance(rewritten, Reply) else ok({"instruction": rewritten})
    second = answer if isinstance(answer, Reply) else ok(answer)
    return lambda ask: first if asks_for(KIT, ask, "persona_rewrite") else second


def made(reply: Callable[[Ask], Reply], row: Parent = ROW, asked: list[Ask] | None = None) -> Candidate:
    (candidate,) = play(personas.generate(Seed((row,)), KIT, SECTION), reply, asked)
    return candidate


def reason(candidate: Candidate) -> str | None:
    return candidate.fell.reason if candidate.fell else None


def test_who_asks_is_told_to_the_model_that_answers_and_is_not_in_the_row() -> None:
    asked: list[Ask] = []
    candidate = made(says(ASKED), asked=asked)
    assert candidate.fell is None
    assert [(turn.role, turn.content) for turn in candidate.messages] == [
        ("system", "Use SI units."),
        ("user", ASKED),
        ("assistant", "About 93 degrees."),
    ]
    assert candidate.choices == {"persona": NURSE}
    rewrite, chat = asked
    assert NURSE in last(rewrite)
    assert "2,000 m" in last(rewrite)
    system = chat.call.messages[0]["content"]
    assert NURSE in system
    assert system.endswith("Use SI units.")


def test_the_packages_personas_ask_in_turns_where_the_recipe_names_none() -> None:
    section, packaged = Personas(), personas.packaged()
    assert len(packaged) >= 12
    assert all(isinstance(who, str) and who.endswith(".") for who in packaged.values())
    kit = kit_of(personas, section)
    seeds = personas.seeds(Bench(cells=[Cell()] * len(packaged), parents=[ROW]), section)
    who = [play(personas.generate(seed, kit, section), lambda ask: bad("failed"))[0].choices["persona"] for seed in seeds]
    assert sorted(who) == sorted(packaged)


def test_the_version_of_the_data_changes_with_the_personas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = personas.data_version()
    other = tmp_path / "personas.yaml"
    other.write_bytes(personas.PERSONAS.read_bytes() + b"poet: A poet. Rhymes.\n")
    monkeypatch.setattr(personas, "PERSONAS", other)
    assert personas.data_version() != before


@pytest.mark.parametrize(
    ("rewritten", "why"),
    [
        ("Boiling point of water high up, and why below 100 degrees?", "changed_facts"),
        ("Boiling point of water at 2,500 m? And why below 100 degrees?", "changed_facts"),
        ("Boiling point of water at 2,000 m? I have 5 minutes. Why below 100 degrees?", "changed_facts"),
        ("What is the boiling point of water at 2,000 m,\n and why is it below 100 degrees?", "unchanged"),
        ("Says only what matters: boiling point of water at 2,000 m, and why below 100 degrees?", "copied_prompt_words"),
        (bad("unparsed", '{"instruction": "Boil'), "unparsed"),
        (bad("refused"), "refused"),
        (ok({"instruction": " "}), "empty"),
    ],
)
def test_what_changes_the_facts_or_nothing_falls_before_it_is_answered(rewritten: str | Reply, why: str) -> None:
    asked: list[Ask] = []
    assert (reason(made(says(rewritten), asked=asked)), len(asked)) == (why, 1)


def test_what_was_lost_and_added_is_said() -> None:
    candidate = made(says("Boiling point of water at 2,500 m? And why below 100 degrees?"))
    assert candidate.fell is not None
    assert candidate.fell.evidence == {"what": "numbers", "lost": ["2,000"], "added": ["2,500"]}


def test_lower_case_and_no_punctuation_are_a_style() -> None:
    assert reason(made(says("what is the boiling point of water at 2,000 m and why is it below 100 degrees"))) is None


def test_code_is_copied_as_it_is_wherever_it_stands() -> None:
    moved = "hey, what does this do?\n```python\nsum(x)\n\nprint(1)\n```\nI mean the `sum(x)` part"
    assert reason(made(says(moved), CODED)) is None
    fewer = moved.replace("print(1)", "1")
    candidate = made(says(fewer), CODED)
    assert reason(candidate) == "changed_facts"
    assert candidate.fell is not None
    assert candidate.fell.evidence["what"] == "code"


@pytest.mark.parametrize(
    ("answer", "why"), [(ok("About 9", finish="length"), "truncated"), (ok(""), "empty"), (bad("failed"), "failed")]
)
def test_an_answer_that_is_none_falls_with_its_reason(answer: Reply, why: str) -> None:
    candidate = made(says(ASKED, answer))
    assert (reason(candidate), candidate.instruction) == (why, ASKED)
