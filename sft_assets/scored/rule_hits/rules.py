"""The rules: patterns and checks that are data (rules/*.yaml), each with examples that are its tests.

    - name: url_only
      why: The answer is nothing but a link.
      where: last_answer
      action: signal
      anchor: '\\A\\s*http'
      pattern: '\\A\\s*https?://\\S+(?:\\s+https?://\\S+)*\\s*\\Z'
      hits: ["https://example.com/page"]
      misses: ["See https://example.com/page for more."]

A file is a class of rules: the one above stands in empty_or_echo.yaml. `search.py` runs them. The losing answer of a preference
row (`rejected`) is there to be bad: no rule looks at it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sft_assets import strict_yaml
from sft_assets.arrow import utf8_strings
from sft_assets.errors import SftError, did_you_mean
from sft_assets.record import Conversation, Message
from sft_assets.scored.rule_hits.checks import CHECKS

Action = Literal["drop", "review", "signal"]
Where = Literal["answer", "last_answer", "prompt", "any", "tool_calls"]

FOLDER = Path(__file__).with_name("rules")
# the rules' order, the most telling first
CLASSES = (
    "tools",
    "empty_or_echo",
    "repeats",
    "merged_instructions",
    "injection",
    "refusals",
    "placeholders",
    "identity",
    "cutoff_dates",
    "truncation",
    "language",
    "code_and_json",
    "arithmetic",
    "text_faults",
    "toxicity",
    "statistics",
)
FLAGS = {"ignorecase": re.IGNORECASE, "multiline": re.MULTILINE, "dotall": re.DOTALL, "verbose": re.VERBOSE}


class Example(BaseModel):
    """A conversation of one answer; a bare text is the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    answer: str = ""
    repeat: int = Field(1, description="the answer is the text so many times")
    prompt: str = "Tell me."
    tools: str | None = None
    tool_calls: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_is_answer(cls, value: Any) -> Any:
        return {"answer": value} if isinstance(value, str) else value

    @property
    def conversation(self) -> Conversation:
        messages = [Message("user", self.prompt), Message("assistant", self.answer * self.repeat, tool_calls=self.tool_calls)]
        return Conversation(messages, tools=self.tools)


class Rule(BaseModel):
    """What to look for, and what to do about rows that have it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z][a-z_]*$")
    class_name: str = Field(pattern=r"^[a-z][a-z_]*$", description="the name of its file")
    why: str = Field(min_length=20, description="a sentence for people: what is wrong with a row that has it")
    where: Where = Field(description="every answer, the last one, system and user turns, every turn, or an answer's tool calls")
    action: Action = Field(description="where the recipe says nothing else")
    pattern: str | list[str] = Field([], description="regular expressions, one of which must match; the span is group 1's")
    flags: list[Literal["ignorecase", "multiline", "dotall", "verbose"]] = []
    check: str | None = Field(None, description="or a function of checks/")
    params: dict[str, Any] = {}
    anchor: str | None = Field(None, description="RE2, in any case: what a text must have to be hit; tried first, for speed")
    min_chars: int = Field(0, description="only texts of at least so many characters ...")
    max_chars: int | None = Field(None, description="... and of at most so many")
    beyond_ascii: bool = Field(False, description="only texts with a character beyond ASCII")
    ignore: list[Literal["code", "tables"]] = Field([], description="parts of a text that are not looked at")
    unless: str | None = Field(None, description="not in a text that this matches (in any case)")
    unless_prompt: str | None = Field(None, description="not where system or user have said this (in any case)")
    unless_tools: bool = Field(False, description="not in conversations with tools")
    hits: list[Example] = Field(min_length=1)
    misses: list[Example] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Rule:
        if bool(self.pattern) == bool(self.check):
            raise ValueError("write either a pattern or a check")
        if self.check is not None:
            if self.check not in CHECKS:
                raise ValueError(f"there is no check {self.check!r} in checks/; {did_you_mean(self.check, CHECKS)}")
            expected = list(inspect.signature(CHECKS[self.check]).parameters)[1:]
            if sorted(expected) != sorted(self.params):
                raise ValueError(f"the params of {self.check} are {expected}, not {sorted(self.params)}")
        elif self.params:
            raise ValueError("params belong to a check")
        if self.where == "tool_calls" and (self.min_chars or self.max_chars is not None or self.beyond_ascii):
            raise ValueError("min_chars, max_chars and beyond_ascii are about a turn's text, not its tool calls")
        if self.anchor is not None:
            try:
                pc.match_substring_regex(utf8_strings([b""]), self.anchor)  # pa.array would import pandas here
            except pa.ArrowInvalid as error:
                raise ValueError(f"anchor is no regular expression of RE2: {error}") from None
        for field in ("patterns", "unless", "unless_prompt"):
            for pattern in self.compiled(field):
                if pattern.search(""):
                    raise ValueError(f"{field.removesuffix('s')} matches the empty text, so it would match everywhere")
        return self

    @property
    def about_answers(self) -> bool:
        """Whether an answer is to blame for a hit: an answer that is there to be bad is not held to the rule."""
        return self.where in ("answer", "last_answer", "tool_calls")

    def compiled(self, field: Literal["patterns", "unless", "unless_prompt"]) -> list[re.Pattern[str]]:
        """The regular expressions of a field; the exceptions (`unless`) hold in any case."""
        if field == "patterns":
            texts, flags = self.pattern, sum(FLAGS[f] for f in set(self.flags))
        else:
            texts, flags = getattr(self, field) or [], re.IGNORECASE | re.MULTILINE
        try:
            return [re.compile(text, flags) for text in ([texts] if isinstance(texts, str) else texts)]
        except re.error as error:
            raise ValueError(f"{field} is no regular expression: {error}") from None


# ----------------------------------------------------------------------------------------------------------------- files


@cache
def rules() -> dict[str, Rule]:
    """The rules of the package by name, in their order."""
    return {rule.name: rule for rule in load(FOLDER)}


def chosen(skip: Iterable[str]) -> list[Rule]:
    """The rules in their order, without those that are named in `skip` or whose class is."""
    return [rule for rule in rules().values() if not {rule.name, rule.class_name} & {*skip}]


def actions(overrides: Mapping[str, Action]) -> dict[str, Action]:
    """What each rule does, in the order of the rules: what `overrides` says of it, else of its class, else its own action."""
    return {name: overrides.get(name, overrides.get(rule.class_name, rule.action)) for name, rule in rules().items()}


def check_names(names: Iterable[str], place: str) -> None:
    """Refuse names that no rule has, and no class of rules. `place`: where they were written.

    Raises:
        SftError: with the names that come close.
    """
    known = [*rules(), *CLASSES]
    for name in names:
        if name not in known:
            raise SftError(f"{place}: there is no rule {name!r}; {did_you_mean(name, known)}")


def load(folder: Path, classes: Sequence[str] = CLASSES) -> list[Rule]:
    """The rules of a folder's files, in the order of `classes`.

    Raises:
        SftError: names the file, the rule and what is wrong with it.
    """
    for path in sorted(folder.glob("*.y*ml")):
        if path.stem not in classes:
            raise SftError(f"{path}: is in no order; name it in CLASSES of scored/rule_hits/rules.py ({', '.join(classes)})")
    found: dict[str, Path] = {}
    result = []
    for path in (folder / f"{name}.yaml" for name in classes):
        for number, entry in enumerate(_read(path), 1):
            rule = _rule(entry, number, path)
            if rule.name in found:
                raise SftError(f"{path}: rule {rule.name}: there is another of that name in {found[rule.name]}; rename one")
            if rule.name in classes:
                raise SftError(f"{path}: rule {rule.name}: a class has that name; rename the rule")
            found[rule.name] = path
            result.append(rule)
    return result


def _rule(entry: Any, number: int, path: Path) -> Rule:
    named = isinstance(entry, dict)
    try:
        return Rule.model_validate({**entry, "class_name": path.stem} if named else entry)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = "".join(f"{step}: " for step in wrong["loc"])
        name = entry.get("name", number) if named else number
        raise SftError(f"{path}: rule {name}: {place}{wrong['msg'].removeprefix('Value error, ')}") from None


def _read(path: Path) -> list[Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SftError(f"{path}: cannot be read: {error}") from None
    entries = strict_yaml.read(text, path).value
    if not isinstance(entries, list):
        raise SftError(f"{path}: must be a list of rules (- name: ...)")
    return entries


# -------------------------------------------------------------------------------------------------------------- versions

NO_PART_OF_HITS = {"why", "action", "anchor", "hits", "misses"}


def hits_version() -> str:
    """Ten hex digits over all that decides what is found and what is to be done about it. An edited reason, anchor or example
    changes nothing here."""
    own = rules().values()
    return _digest([[rule.model_dump(exclude=NO_PART_OF_HITS), rule.action] for rule in own])


def decision_version() -> str:
    """Ten hex digits over what the decision takes from the rules beside their hits: names, their order, and reasons."""
    return _digest([[rule.name, rule.why] for rule in rules().values()])


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]
