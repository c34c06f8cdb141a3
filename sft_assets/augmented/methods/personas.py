"""personas: instructions rewritten as other people would put them, and answered for those.

    parent             "What is the boiling point of water at 2,000 m, and why?"
    busy_nurse         "Boiling point of water at 2,000 m? And the reason, briefly."      with an answer for a busy nurse
    fallen             "Boiling point of water up in the mountains?"                      changed_facts: 2,000 is gone

Who asks is data: personas.yaml, or the recipe's own sentences. The answering model is told who asks; the row is not: what it is
to learn is to see that from how the question is put.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sft_assets import strict_yaml
from sft_assets.augmented.candidate import Candidate, Fall, Seed
from sft_assets.augmented.methods.instructions import answered, each_with_one, in_turn, instruction_of, length_hint, opening
from sft_assets.augmented.methods.kit import Kit, Steps
from sft_assets.augmented.methods.material import Material
from sft_assets.recipe import Personas
from sft_assets.record import Message
from sft_assets.text.plain import normal, numbers

NAME = "personas"
PERSONAS = Path(__file__).with_name("personas.yaml")
FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SENTENCE_END = re.compile(r"[.!?]+(?:\s+|$)")
COPIED_WORDS = 4  # of a sentence about the persona, in an instruction that was to be in its style
HINT = "The person who asks: {who} Answer as suits that person."


def prompts(section: Personas) -> Mapping[str, frozenset[str]]:
    """The prompt files, each with the data that there is for it."""
    return {"persona_rewrite": frozenset({"instruction", "persona"}), "answer": frozenset({"conversation"})}


def seeds(material: Material, section: Personas) -> list[Seed]:
    """A row near the cell for each row that it lacks."""
    return each_with_one(material, section.rows, NAME)


def generate(seed: Seed, kit: Kit, section: Personas) -> Steps:
    """The instruction in a persona's words, and an answer for it."""
    (row,) = seed.parents
    *system, first = opening(row)
    name, who = in_turn(people(section), seed)
    choices = {"persona": name}
    ask = kit.ask("persona_rewrite", seed, {"instruction": first.content, "persona": who})
    (reply,) = yield [ask]
    new = instruction_of(ask, reply)
    if isinstance(new, Fall):
        return [Candidate(system, fell=new, choices=choices)]
    prompt = [*system, Message("user", new)]
    if fell := unfit(new, first.content, who):
        return [Candidate(prompt, fell=fell, choices=choices)]
    hint = " ".join(filter(None, (HINT.format(who=who), length_hint(seed.cell))))
    (reply,) = yield [kit.chat(seed, prompt, system=hint)]
    candidate = answered(prompt, reply)
    candidate.choices = choices
    return [candidate]


def unfit(new: str, before: str, who: str) -> Fall | None:
    """Why a rewritten instruction is none."""
    if new.split() == before.split():
        return Fall("unchanged")
    said = [sentence for sentence in SENTENCE_END.split(who) if len(sentence.split()) >= COPIED_WORDS]
    if copied := next((sentence for sentence in said if normal(sentence) in normal(new)), None):
        return Fall("copied_prompt_words", {"said": copied})
    for what, find in (("numbers", lambda text: set(numbers(text))), ("code", code)):
        had, has = find(before), find(new)
        if had != has:
            return Fall("changed_facts", {"what": what, "lost": sorted(had - has), "added": sorted(has - had)})
    return None


def code(text: str) -> set[str]:
    """The code in a text, without its fences, each line without blanks at its end."""
    blocks = [found[2] for found in FENCED.finditer(text)]
    blocks += INLINE.findall(FENCED.sub("", text))
    return {"\n".join(line.rstrip() for line in block.strip("\n").splitlines()).strip() for block in blocks}


def people(section: Personas) -> list[tuple[str, str]]:
    """Who asks: name and description. A persona of the recipe is its own name."""
    return [(who, who) for who in section.personas] or list(packaged().items())


@cache
def packaged() -> dict[str, str]:
    """The personas of personas.yaml, by name."""
    return dict(strict_yaml.read(PERSONAS.read_text("utf-8"), PERSONAS).value)


def data_version() -> str:
    """Ten hex digits over personas.yaml."""
    return hashlib.sha256(PERSONAS.read_bytes()).hexdigest()[:10]


def calls(section: Personas) -> Mapping[str, float]:
    """An instruction and its answer."""
    return {"persona_rewrite": 1.0, "answer": 1.0}
