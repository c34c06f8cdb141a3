"""evol_instruct: instructions made harder, or others of their kind (WizardLM, https://arxiv.org/abs/2304.12244).

    parent      "Name three primary colours."
    deepening   "Name three primary colours, and say why these and no others."      and its answer
    fallen      "Name the three primary colours."                                   no_gain: the checker finds it equal

Four operators go in depth (constraints, deepening, concretizing, reasoning), one in breadth: an instruction of the same domain
that is rarer. What the paper eliminates falls here, by its four rules: no gain over the instruction before, an answer that is a
refusal, an answer of nothing but punctuation and stop words, and words of the prompt that were copied.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from sft_assets.augmented.candidate import Candidate, Fall, Seed
from sft_assets.augmented.methods.instructions import (
    answered,
    each_with_one,
    in_turn,
    instruction_of,
    length_hint,
    opening,
    same,
    words,
)
from sft_assets.augmented.methods.kit import Ask, Kit, Steps, fallen
from sft_assets.augmented.methods.material import Material
from sft_assets.models.door import Reply
from sft_assets.recipe import EvolInstruct
from sft_assets.record import Message

NAME = "evol_instruct"
CHECKED = frozenset({"evol_equal"})  # prompts for the model that checks
BREADTH = "breadth"
REFUSAL = re.compile(r"\bsorry\b", re.IGNORECASE)
REFUSAL_WORDS = 80  # an answer of fewer that says sorry is a refusal (the paper's numbers)
COPIED = re.compile(
    r"#?\b(?:given|rewritten|created|new|evolved|rarer) (?:prompt|instruction)\b#?"
    r"|\[[0-9a-f]{6} (?:instruction|end)\]",
    re.IGNORECASE,
)
# fmt: off
# English words that say nothing by themselves; "yes", "no" and numbers can be answers
STOP_WORDS = frozenset((
    "i", "me", "my", "myself", "we", "our", "ours", "ourselves", "you", "your", "yours", "yourself", "yourselves", "he",
    "him", "his", "himself", "she", "her", "hers", "herself", "it", "its", "itself", "they", "them", "their", "theirs",
    "themselves", "what", "which", "who", "whom", "this", "that", "these", "those", "am", "is", "are", "was", "were", "be",
    "been", "being", "have", "has", "had", "having", "do", "does", "did", "doing", "a", "an", "the", "and", "but", "if",
    "or", "because", "as", "until", "while", "of", "at", "by", "for", "with", "about", "against", "between", "into",
    "through", "during", "before", "after", "above", "below", "to", "from", "up", "down", "in", "out", "on", "off", "over",
    "under", "again", "further", "then", "once", "here", "there", "when", "where", "why", "how", "all", "any", "both",
    "each", "few", "more", "most", "other", "some", "such", "nor", "only", "own", "same", "so", "than", "too", "very",
    "can", "will", "just", "should", "would", "could", "i'm", "you're", "it's", "don't",
))
# fmt: on
Evolving = Generator[Sequence[Ask], Sequence[Reply], tuple[str, Fall | None]]


def prompts(section: EvolInstruct) -> Mapping[str, frozenset[str]]:
    """The prompt files, each with the data that there is for it."""
    evolving = {file_of(operator): frozenset({"instruction"}) for operator in section.operators}
    return {**evolving, "evol_equal": frozenset({"first", "second"}), "answer": frozenset({"conversation"})}


def file_of(operator: str) -> str:
    """The prompt file of an operator."""
    return f"evol_{operator}"


def seeds(material: Material, section: EvolInstruct) -> list[Seed]:
    """A row near the cell for each row that it lacks."""
    return each_with_one(material, section.rows, NAME)


def generate(seed: Seed, kit: Kit, section: EvolInstruct) -> Steps:
    """The last evolved instruction that is good, with its answer; before it in the list what was eliminated."""
    (row,) = seed.parents
    *system, first = opening(row)
    good, out = [first.content], list[Candidate]()
    for step in range(section.rounds):
        choices = choices_of(seed, section, step)
        new, fell = yield from evolve(good[-1], seed, kit, section, choices["operator"])
        if fell is not None:
            out.append(Candidate([*system, *([Message("user", new)] if new else [])], fell=fell, choices=choices))
            break
        good.append(new)
    for step in reversed(range(len(good) - 1)):
        prompt = [*system, Message("user", good[step + 1])]
        (reply,) = yield [kit.chat(seed, prompt, system=length_hint(seed.cell))]
        candidate = answered(prompt, reply)
        candidate.fell = candidate.fell or unanswered(candidate.messages[-1].content)
        candidate.choices = choices_of(seed, section, step)
        out.append(candidate)
        if candidate.fell is None:
            break
    return out


def choices_of(seed: Seed, section: EvolInstruct, step: int) -> dict[str, Any]:
    """The operator of a round, and which round it is; where it is not the first, the operators of all so far."""
    operators = [in_turn(section.operators, seed, n) for n in range(step + 1)]
    return {"operator": operators[-1], "round": step + 1, **({"operators": operators} if step else {})}


def evolve(before: str, seed: Seed, kit: Kit, section: EvolInstruct, operator: str) -> Evolving:
    """One round: the new instruction, as far as there is one, and why it is eliminated."""
    ask = kit.ask(file_of(operator), seed, {"instruction": before})
    (reply,) = yield [ask]
    new = instruction_of(ask, reply)
    if isinstance(new, Fall):
        return "", new
    if fell := unfit(new, before, section.min_words):
        return new, fell
    if operator == BREADTH:
        return new, None
    (reply,) = yield [kit.check("evol_equal", seed, {"first": before, "second": new})]
    if fell := fallen(reply):
        return new, Fall(fell.reason, {**fell.evidence, "check": "evol_equal"})
    return new, Fall("no_gain", {"reason": reply.value["reason"]}) if reply.value["equal"] == "yes" else None


def unfit(new: str, before: str, min_words: int) -> Fall | None:
    """Why an evolved instruction is none, as far as can be seen without a model."""
    if same(new, before):
        return Fall("unchanged")
    if (count := len(words(new))) < min_words:
        return Fall("too_short", {"words": count})
    if copied := copied_words(new, before):
        return Fall("copied_prompt_words", {"said": copied})
    return None


def copied_words(new: str, before: str) -> str | None:
    """Words about the instruction, out of the prompt, that the instruction before has not."""
    had = {found[0].lower() for found in COPIED.finditer(before)}
    return next((found[0] for found in COPIED.finditer(new) if found[0].lower() not in had), None)


def unanswered(answer: str) -> Fall | None:
    """Why an answer shows that its instruction cannot be answered."""
    said = words(answer)
    if REFUSAL.search(answer) and len(said) < REFUSAL_WORDS:
        return Fall("refusal", {"answer": answer})
    return Fall("empty_answer", {"answer": answer}) if STOP_WORDS.issuperset(said) else None


def calls(section: EvolInstruct) -> Mapping[str, float]:
    """All rounds, each operator as often as the others, and an answer."""
    each = section.rounds / len(section.operators)
    asked: dict[str, float] = {}
    for operator in section.operators:
        asked[file_of(operator)] = asked.get(file_of(operator), 0.0) + each
    depth = sum(operator != BREADTH for operator in section.operators)
    return {**asked, "evol_equal": depth * each, "answer": 1.0}
