"""Test items in the shapes in which benchmarks are published, as texts under five names.

    {"task_id": 602, "text": "Write a python function to find the first repeated character in a given string.",
     "code": "def first_repeated_char(str1): ...", "test_list": [...]}

    item 602   question  Write a python function to find the first repeated character in a given string.
               solution  def first_repeated_char(str1): ...

Fields are known by their names, whatever their case and separators ("Best Answer" is best_answer). Tests of code are not kept:
answers are checked by them, they are not asked.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIELDS = ("question", "answer", "choices", "context", "solution")

# What a field may be called, in plain letters. Of several that a record has, the first of the list is taken.
NAMES = {
    field: names.split()
    for field, names in {
        "id": "taskid questionid problemid itemid qid id uniqueid uid key evalinstanceindex idx index ind",
        "question": """question questiontext questionstem stem questioncontent query problem problemstatement prompt
            instructprompt instruction goal q input ctx sentence text""",
        "context": "context passage paragraph story article premise background support",
        "choices": "choices options endings candidates mc1targets",
        "answer": """answer answers bestanswer correctanswer target targets goldanswer gold label labels answerkey answeridx
            expectedanswer finalanswer reference referenceanswer output response a""",
        "solution": "canonicalsolution code solution solutions referencecode referencesolution",
        "turns": "turns messages conversation conversations",
    }.items()
}
CHOICE_COLUMN = re.compile(r"(?:option|choice|ending|distractor|incorrectanswer|sol|op|ans)(?:[a-j]|\d{1,2})")
ALTERNATIVES = ("bestanswer", "correctanswer", "correctanswers", "incorrectanswers")  # TruthfulQA, GPQA

QUESTION_LABEL = re.compile(r"\s*(?:question|q)\s*:\s*", re.IGNORECASE)
ANSWER_LABEL = re.compile(r"\n\s*(?:answer|a)\s*:", re.IGNORECASE)
OPTIONS_LABEL = re.compile(r"\n\s*(?:answer )?(?:options|choices)\s*:\s*\n", re.IGNORECASE)
OPTION = re.compile(r"\s*(?:\([A-Z]\)|[A-Z][.:)]|[-*•])\s+(?=\S)")
LETTER = re.compile(r"\(?([A-Za-z])[.)]?")


@dataclass
class Item:
    """One question of a test set. `id` is its own, "" where it has none.

    `group`: records of one file that agree in it are one item (a record for every choice, or for every reference).
    """

    id: str
    texts: dict[str, list[str]]
    group: tuple[Any, ...] = ()

    def add(self, other: Item) -> None:
        """Take over the texts of another record of the same item."""
        for name, texts in other.texts.items():
            own = self.texts.setdefault(name, [])
            own += [text for text in texts if text not in own]


def items(record: dict[str, Any], columns: Mapping[str, str] | None = None) -> list[Item]:
    """The items of a record: one, or one for every turn of a chat; none where no question is seen in it.

    columns: our field -> theirs, where the names do not say it; several ("A, B, C, D") are taken together.
    """
    fields = {_plain(key): value for key, value in reversed(record.items()) if value not in (None, "", [])}
    own_id = next((str(fields[k]) for k in NAMES["id"] if isinstance(fields.get(k), str | int)), "")
    if columns:
        fields = {name: value for name, wanted in columns.items() if (value := _column(record, name, wanted))}
    elif isinstance(inner := fields.get("question"), dict):  # ARC as published: {"stem": ..., "choices": [...]}
        fields |= {_plain(key): value for key, value in inner.items()} | {"question": inner.get("stem")}
    if turns := next((fields[k] for k in NAMES["turns"] if isinstance(fields.get(k), list)), None):
        return _chat(own_id, turns, _texts(fields.get("reference")))
    name = next((k for k in NAMES["question"] if isinstance(fields.get(k), str)), None)
    if name is None:
        return []
    question, choices, answer = unlabelled(fields.pop(name))
    story = fields.get("body")  # SVAMP: the question proper stands apart
    context = _first(fields, "context") + (_texts(fields.get("input")) if name == "instruction" else [])
    choices = choices or _choices(fields)
    marked = isinstance(fields.get("iscorrect"), bool)
    answer = _answer(fields, choices) or answer
    if marked:  # a record for every choice
        choices, answer = answer, answer if fields["iscorrect"] else []
    texts = {
        "question": [f"{story.rstrip()} {question}" if isinstance(story, str) else question],
        "answer": answer,
        "choices": choices,
        "context": context,
        "solution": _first(fields, "solution"),
    }
    return _item(own_id, texts, marked)


def unlabelled(text: str) -> tuple[str, list[str], list[str]]:
    """Question, choices and answer out of one text with the labels "Question:", "Options:" and "Answer:"."""
    choices: list[str] = []
    answer: list[str] = []
    if found := QUESTION_LABEL.match(text):
        text = text[found.end() :]
        if ends := list(ANSWER_LABEL.finditer(text)):
            answer = [text[ends[-1].end() :].strip()]
            text = text[: ends[-1].start()]
    parts = OPTIONS_LABEL.split(text, maxsplit=1)
    lines = [line for line in parts[-1].splitlines() if line.strip()]
    if len(parts) == 2 and len(lines) > 1 and all(OPTION.match(line) for line in lines):
        text = parts[0]
        choices = [OPTION.sub("", line, count=1).strip() for line in lines]
    return text, choices, answer


def _item(own_id: str, texts: dict[str, list[str]], marked: bool = False) -> list[Item]:
    kept = {name: found for name, given in texts.items() if (found := [t for t in dict.fromkeys(given) if t.strip()])}
    if "question" not in kept:
        return []
    group = (own_id, kept["question"][0], () if marked else tuple(kept.get("choices", ())))
    return [Item(own_id, kept, group)]


def _chat(own_id: str, turns: list[Any], references: list[str]) -> list[Item]:
    """Every user turn as a question of its own, with the ids 81/1, 81/2."""
    asked = []
    for turn in turns:
        role = turn.get("role", turn.get("from", "user")) if isinstance(turn, dict) else "user"
        text = turn.get("content", turn.get("value")) if isinstance(turn, dict) else turn
        if role in ("user", "human") and isinstance(text, str):
            asked.append(text)
    result = []
    for n, text in enumerate(asked, 1):
        for item in _item(f"{own_id}/{n}", {"question": [text], "answer": references[n - 1 : n]}):
            item.group = (*item.group, *asked)  # another chat that begins alike is another
            result.append(item)
    return result


def _choices(fields: Mapping[str, Any]) -> list[str]:
    if listed := _first(fields, "choices"):
        return listed
    columns = sorted(key for key in fields if CHOICE_COLUMN.fullmatch(key))
    if not columns and "a" in fields and "b" in fields:
        columns = [key for key in string.ascii_lowercase[:10] if key in fields]
    found = [text for key in columns for text in _texts(fields[key])]
    for key in ALTERNATIVES:
        if isinstance(text := fields.get(key), str):
            found += [part.strip() for part in text.split(";")] if key.endswith("s") else [text]
    return found


def _answer(fields: Mapping[str, Any], choices: list[str]) -> list[str]:
    """The answer's text, also where it is given as the letter or the index (from 0) of a choice."""
    for key in NAMES["answer"]:
        if key not in fields or (key == "a" and "b" in fields):
            continue
        value = fields[key]
        if isinstance(value, str) and (letter := LETTER.fullmatch(value.strip())):
            value = string.ascii_uppercase.index(letter[1].upper()) if choices else value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
            return [choices[value]]
        if found := _texts(fields[key]):
            return found
    return []


def _first(fields: Mapping[str, Any], name: str) -> list[str]:
    return next((found for key in NAMES[name] if key in fields and (found := _texts(fields[key]))), [])


def _column(record: Mapping[str, Any], name: str, wanted: str) -> Any:
    """What a record has under the column, or the columns, that the recipe names for one of our fields."""
    if wanted in record and name != "question":
        return record[wanted]
    columns = [wanted] if wanted in record else [column.strip() for column in wanted.split(",")]
    texts = [text for column in columns for text in _texts(record.get(column))]
    return "\n".join(texts) if name == "question" else texts


def _texts(value: Any) -> list[str]:
    """The texts of a value: itself, a list's elements, {"text": ...}, {"label": [...], "text": [...]}, {"A": ..., "B": ...}."""
    if isinstance(value, str):
        return _texts(listed) if (listed := _list_in(value)) else [value]
    if isinstance(value, bool):
        return [str(value)]
    if isinstance(value, int | float):
        return [f"{value:.15g}"]
    if isinstance(value, list):
        return [text for element in value for text in _texts(element)]
    if isinstance(value, dict):
        key = next((k for k in ("text", "choices", "value", "content") if k in value), None)
        return _texts(value[key]) if key else [text for element in value.values() for text in _texts(element)]
    return []


def _list_in(text: str) -> list[Any] | None:
    """A list that stands as text in a cell of a table: ["yes", "no"]."""
    if not text.startswith(("['", '["')) or not text.endswith("]"):
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(e, str) for e in value) else None


def _plain(name: object) -> str:
    """A field's name without case and separators."""
    return re.sub(r"[\W_]+", "", str(name)).lower()
