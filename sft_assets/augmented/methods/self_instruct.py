"""self_instruct: new instructions from those of a sparse topic (Wang et al. 2023, https://arxiv.org/abs/2212.10560).

    shown      "Convert 20 degrees Celsius to Fahrenheit."  "How many feet are in a mile?"  "What is 2 stone in kilograms?"
    generated  "A recipe asks for 250 ml of milk. How many cups is that?"   and its answer
    fallen     "How many feet are there in a mile?"   rouge 0.86 to "How many feet are in a mile?"

What the paper drops falls here: instructions that are too short or too long, that ask for what a language model cannot give,
that begin with punctuation, and those that are near, by ROUGE-L, to one that there is. Refusals and the rest are for the gates.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import regex

from sft_assets.augmented.candidate import Candidate, Cell, Fall, Seed
from sft_assets.augmented.methods.instructions import (
    INSTRUCTION,
    LENGTHS,
    answered,
    asked,
    instruction_of,
    length_hint,
    numbered,
    rows_near,
    same,
    wanted_cells,
    words,
)
from sft_assets.augmented.methods.kit import Ask, Kit, Steps
from sft_assets.augmented.methods.material import Material
from sft_assets.augmented.methods.rouge import Pool
from sft_assets.recipe import SelfInstruct
from sft_assets.record import Message
from sft_assets.text.characters import NO_SPACES

NAME = "self_instruct"
EXAMPLE_CHARS = 600  # of an instruction that is shown: of a longer one most is text that it is about
HARD = {
    "easy": "simple",
    "medium": "of medium difficulty, with two or three requirements",
    "hard": "hard, with several steps or requirements",
}
# fmt: off
LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}
# fmt: on
QUOTES = "\"'“”„‘’«»「『"
CODE = re.compile(r"`|#include\b|#!/|//|/\*|<[A-Za-z!/?]|[{\[(]\s*[\"'\w]|[@$]\s?\w")  # an instruction may begin with it
UNSPACED = regex.compile(f"[{NO_SPACES}]", regex.V1)


def prompts(section: SelfInstruct) -> Mapping[str, frozenset[str]]:
    """The prompt files, each with the data that there is for it."""
    return {"self_instruct": frozenset({"wanted"}), "answer": frozenset({"conversation"})}


def seeds(material: Material, section: SelfInstruct) -> list[Seed]:
    """Rows near the cell for each row that it lacks: the next ones each time, after the last the first again."""
    found = []
    for cell, near, n in rows_near(material, wanted_cells(material, section.rows), section.examples, NAME):
        short = [row for row in near if len(asked(row)) <= EXAMPLE_CHARS] or near
        size = min(section.examples, len(short))
        found.append(Seed(tuple(short[(n * size + place) % len(short)] for place in range(size)), cell=cell))
    return numbered(found)


def generate(seed: Seed, kit: Kit, section: SelfInstruct) -> Steps:
    """A new instruction and its answer."""
    ask = shown(kit.ask("self_instruct", seed, {"wanted": wanted(seed.cell)}), [asked(row) for row in seed.parents])
    (reply,) = yield [ask]
    choices = {"topic": seed.cell.topic}
    new = instruction_of(ask, reply)
    if isinstance(new, Fall):
        return [Candidate([], fell=new, choices=choices)]
    prompt = [Message("user", new)]
    if fell := unfit(new, [asked(row) for row in seed.parents], section):
        return [Candidate(prompt, fell=fell, choices=choices)]
    (reply,) = yield [kit.chat(seed, prompt, system=length_hint(seed.cell))]
    candidate = answered(prompt, reply)
    candidate.choices = choices
    return [candidate]


def settle(candidates: Sequence[Candidate], material: Material, section: SelfInstruct) -> None:
    """Those near to an instruction of their topic, or to a new one before them, of earlier groups too, fall."""
    pools: Pools = vars(material).setdefault("self_instruct_pools", Pools())  # for as long as there is this material
    for candidate in candidates:
        if candidate.fell is not None:
            continue
        there = pools.of(candidate.choices["topic"], material)
        found = [pool.nearest(candidate.instruction, section.rouge) for pool in (there, pools.new)]
        if near := max(filter(None, found), key=lambda near: near.score, default=None):
            candidate.fell = Fall("rouge", {"nearest": near.text[:EXAMPLE_CHARS], "score": round(near.score, 4)})
        else:
            pools.new.add(candidate.instruction)


@dataclass
class Pools:
    """What new instructions are held against: those of each topic, read when they are first needed, and the new ones."""

    new: Pool = field(default_factory=Pool)
    topics: dict[int | None, Pool] = field(default_factory=dict)

    def of(self, topic: int | None, material: Material) -> Pool:
        """The instructions that there are of a topic."""
        if topic not in self.topics:
            self.topics[topic] = Pool(material.instructions(topic))
        return self.topics[topic]


def calls(section: SelfInstruct) -> Mapping[str, float]:
    """An instruction and its answer, at most."""
    return {"self_instruct": 1.0, "answer": 1.0}


# ------------------------------------------------------------------------------------------------------- what is asked


def shown(ask: Ask, instructions: Sequence[str]) -> Ask:
    """The request after the same request with each instruction as its reply: the few-shot form. The smallest models follow it
    too, and nobody takes an example for what is to be done."""
    *system, request = ask.call.messages
    replies = [
        {"role": "assistant", "content": json.dumps({INSTRUCTION: example(text)}, ensure_ascii=False)} for text in instructions
    ]
    turns = [turn for reply in replies for turn in (request, reply)]
    return replace(ask, call=replace(ask.call, messages=[*system, *turns, request]))


def example(text: str) -> str:
    """The part of an instruction that is shown."""
    text = text.strip()
    return text if len(text) <= EXAMPLE_CHARS else f"{text[:EXAMPLE_CHARS]} ..."


def wanted(cell: Cell) -> str:
    """A cell in words.

    Cell(3, "fractions", "hard", "short", "en")  ->  "Topic: fractions. The task is hard, with several ..."
    """
    language = LANGUAGES.get(cell.language or "", f"the language {cell.language}") if cell.language else "that of the examples"
    said = [
        f"Topic: {cell.topic_name}." if cell.topic_name else "Topic: that of the examples.",
        f"The task is {HARD.get(cell.difficulty, cell.difficulty)}." if cell.difficulty else "",
        f"It can be answered in {LENGTHS[cell.length]}." if cell.length in LENGTHS else "",
        f"Language: {language}.",
    ]
    return " ".join(filter(None, said))


# ------------------------------------------------------------------------------------------------------- what is dropped


def unfit(text: str, shown: Sequence[str], section: SelfInstruct) -> Fall | None:
    """Why an instruction is none, by itself or beside those that were shown."""
    count = len(words(text))
    if count < section.min_words:
        return Fall("too_short", {"words": count})
    if count > section.max_words:
        return Fall("too_long", {"words": count})
    if found := blacklisted(tuple(section.blacklist)).search(text):
        return Fall("blacklisted", {"said": found[0]})
    if bad_start(text):
        return Fall("bad_start", {"begins": text[:20]})
    if copied := next((example for example in shown if same(example, text)), None):
        return Fall("copies_example", {"example": copied[:EXAMPLE_CHARS]})
    return None


@lru_cache
def blacklisted(entries: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the entries as whole words; anywhere, where a script does not part words."""

    def whole(entry: str) -> str:
        said = r"\s+".join(map(re.escape, entry.split()))
        return said if UNSPACED.search(entry) else rf"(?<!\w){said}(?!\w)"

    said = [whole(entry) for entry in entries if entry.strip()]
    return re.compile("|".join(said) or r"(?!)", re.IGNORECASE)


def bad_start(text: str) -> bool:
    """Whether a text begins with what is neither a letter, a number, a quotation nor code. ("¿" and "¡" begin sentences.)"""
    first = text[0]
    return unicodedata.category(first)[0] not in "LN" and first not in f"¿¡{QUOTES}" and CODE.match(text) is None
