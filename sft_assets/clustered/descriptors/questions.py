"""What a turn asks for: the kind of question, or the kind of task.

    "Why is the sky blue?"                                     ->  why
    "Could you please write a Python function that ..."        ->  code
    "Ann has 3 apples and buys 5. How many has she now?"       ->  calculate
    "Thanks, that helped."                                     ->  other

Tasks are those of InstructGPT (https://arxiv.org/abs/2203.02155, appendix A) and No Robots (generation, brainstorming,
rewriting, summarizing, classifying, extracting, coding), and those that instruction sets are full of beside them (explaining,
translating, calculating, playing a role); questions go by their question word. What asks for each is data: questions.yaml.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sft_assets import strict_yaml

QUESTIONS = Path(__file__).with_name("questions.yaml")
OTHER, HOW_MANY, CALCULATE, YES_NO = "other", "how_many", "calculate", "yes_no"
WITHIN = (HOW_MANY, "what")  # that are asked within a sentence too; who and where begin clauses there that ask nothing
HEAD, TAIL = 700, 500  # characters of a long turn, in which it is said what is asked for

SENTENCE = re.compile(r"(?<![MD]r)(?<!Mrs)(?<!Ms)[.!?:;]\s+|[\n。？！：；]\s*|[*#>\"“]+")
CLAUSE = re.compile(r"[,;，；]\s*(?:(?:and|then|so|und|et|y|dann)\s)?")
ENDS_WITH_QUESTION = r"(?=(?:[^.!?\n。？！]|\.(?=\S)|(?<=[MD]r)\.|(?<=Mrs)\.|(?<=Ms)\.){0,300}[?？])"
NUMBER = re.compile(
    r"(?<![\w.-])[$€£¥]?\d[\d,.]*(?![\w-]*-\d)"
    r"|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|fifty|hundred|half|twice|double|triple|dozen"
    r"|zwei|drei|vier|fünf|deux|trois|quatre|cinq|dos|tres|cuatro|cinco)\b|[两三四五六七八九十百]",
    re.IGNORECASE,
)


class Language(NamedTuple):
    """How a language asks."""

    lead: re.Pattern[str]
    tasks: re.Pattern[str]
    questions: re.Pattern[str]
    indirect: re.Pattern[str]
    within: re.Pattern[str]
    bare: re.Pattern[str]
    before: re.Pattern[str]
    anywhere: bool


def question_type(turns: Sequence[str], language: str | None) -> str:
    """What the last of the user's turns asks for that asks for something; `other` where none does."""
    how = languages().get(language or "en") or languages()["en"]
    for text in reversed(turns):
        if (found := asked(text, how)) != OTHER:
            return found
    return OTHER


def asked(text: str, how: Language) -> str:
    """What one turn asks for."""
    text = text.strip()
    if len(text) <= HEAD + TAIL:
        found = _asked(text, how)
    else:
        found = _asked(text[:HEAD], how) or _asked(text[-TAIL:], how, begins=False)
    if found == HOW_MANY and len(list(islice(NUMBER.finditer(text), 2))) > 1:
        return CALCULATE
    return found or OTHER


def _asked(text: str, how: Language, begins: bool = True) -> str | None:
    """The first task, or question, of a text. begins: the text begins where the turn does."""
    start, last_line = 0, text.rfind("\n") + 1
    while start < len(text):
        end = SENTENCE.search(text, start)
        stop = end.end() if end else len(text)
        if found := _said(text, start, stop, how, (begins and start == 0) or (start == last_line > 0)):
            return found
        start = stop
    return None


def _said(text: str, start: int, stop: int, how: Language, bare: bool) -> str | None:
    """What one sentence asks for. bare: it may ask without a question mark."""
    lead = how.lead.match(text, start)
    begin = lead.end() if lead else start
    is_question = not how.anywhere and text.find("?", begin, stop) >= 0
    if found := how.tasks.match(text, begin) or (is_question and how.questions.match(text, begin)) or None:
        return found.lastgroup
    if bare and text[start:begin].strip() and (found := how.indirect.match(text, begin)) and found.lastgroup != YES_NO:
        return found.lastgroup  # "tell me why it is so"
    if bare and not how.anywhere and (found := how.bare.match(text, begin)):
        return found.lastgroup
    asks = how.anywhere and ((how.bare if bare else how.questions).search(text, begin, stop))
    if how.anywhere or is_question or how.before.match(text, begin):
        for clause in CLAUSE.finditer(text, begin, stop):
            lead = how.lead.match(text, clause.end())
            at = lead.end() if lead else clause.end()
            if (found := how.tasks.match(text, at)) and not (asks and asks.start() < at):
                return found.lastgroup
            if is_question and (found := how.questions.match(text, at)):
                return found.lastgroup
    if is_question and (found := how.within.search(text, begin, stop)):
        return found.lastgroup  # "There are 16 of them; in all how many ounces?"
    return asks.lastgroup if asks else None


def questions_version() -> str:
    """Ten hex digits over questions.yaml."""
    return hashlib.sha256(QUESTIONS.read_bytes()).hexdigest()[:10]


@cache
def languages() -> dict[str, Language]:
    """The languages of questions.yaml, compiled."""
    entries = strict_yaml.read(QUESTIONS.read_text("utf-8"), QUESTIONS).value
    return {name: _compiled(entry) for name, entry in entries.items()}


def _compiled(entry: dict[str, Any]) -> Language:
    anywhere = bool(entry.get("anywhere"))

    def joined(pattern: str) -> str:
        return "".join(pattern.splitlines())  # the file has it in lines of alternatives

    def groups(name: str, after: str = "", kinds: Sequence[str] | None = None) -> re.Pattern[str]:
        types = "|".join(f"(?P<{kind}>{joined(entry[name][kind])})" for kind in kinds or entry[name])
        boundary = r"\b" if kinds else ""
        return re.compile(rf"{boundary}(?:{types}){after}", re.IGNORECASE)

    lead = re.compile(rf"\s*(?:(?:{joined(entry['lead'])})[\s,]*)*", re.IGNORECASE)
    asking = groups("questions", "" if anywhere else ENDS_WITH_QUESTION)
    before = re.compile(joined(entry.get("before", "")), re.IGNORECASE)
    return Language(
        lead,
        groups("tasks", r"(?![,|])"),
        asking,
        groups("questions"),
        groups("questions", "", WITHIN),
        groups("bare"),
        before,
        anywhere,
    )
