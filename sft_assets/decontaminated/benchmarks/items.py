"""Test items in the shapes in which benchmarks are published, as texts under five names.

    {"task_id": 602, "text": "Write a python function to find the first repeated character in a given string.",
     "code": "def first_repeated_char(str1): ...", "test_list": [...]}

    item 602   question  Write a python function to find the first repeated character in a given string.
               solution  def first_repeated_char(str1): ...

Fields are known by their names, whatever their case and separators ("Best Answer" is best_answer). Tests of code are not kept:
answers are checked by them, they are not asked. tests/test_benchmarks.py has a record of every published shape that is known.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIELDS = ("question", "answer", "choices", "context", "solution")

# What a field may be called, in plain letters. Of several that a record has, the first of the list is taken.
NAMES = {
    field: names.split()
    for field, names in {
        "id": """taskid questionid questionuniqueid queryid problemid itemid promptid exampleid instanceid recordid qid id
            uniqueid uid uuid idstring key evalinstanceindex idx index ind name""",
        "question": """question questiontext questionstem stem questioncontent problemdescription query problem
            problemstatement prompt instructprompt instruction goal q input inputs inputtext ctx sentence text hypothesis
            sentence2""",
        "context": "context passage paragraph story article premise background support florespassage narrative sentence1 text",
        "choices": "choices options endings candidates multiplechoicetargets targetscores mc1targets",
        "answer": """answer answers bestanswer correctanswer target targets goldanswer gold label labels answerkey answeridx
            answerindex correct correctoption correctanswernum cop expectedanswer finalanswer finaldecision answernumber
            answersspans reference referenceanswer groundtruth ideal output response completion a""",
        "solution": "canonicalsolution code solution solutions referencecode referencesolution",
        "turns": "turns messages conversation conversations conversationinput prompt input question",
    }.items()
}
NESTED = ("paragraphs", "qas", "qapairs", "questions")  # lists of questions that share the rest of their record
INNER = ("text", "choices", "value", "content", "spans", "contexts", "sentences", "inputtext")  # where a value's text stands
CHOICE_COLUMN = re.compile(r"(?:option|choice|ending|distractor|incorrectanswer|(?:mc)?answer|sol|op|ans)(?:[a-j]|\d{1,2})")
ALTERNATIVES = ("bestanswer", "correctanswer", "correctanswers", "incorrectanswers")  # TruthfulQA, GPQA

QUESTION_LABEL = re.compile(r"\s*(?:question|q)\s*:\s*", re.IGNORECASE)
ANSWER_LABEL = re.compile(r"\n\s*(?:answer|a)\s*:", re.IGNORECASE)
OPTIONS_LABEL = re.compile(r"\n\s*(?:answer )?(?:options|choices)\s*:\s*\n", re.IGNORECASE)
OPTION = re.compile(r"\s*(?:\([A-Z]\)|[A-Z][.:)]|[-*•])\s+(?=\S)")
LETTERED = re.compile(r"\s*\(?([A-J])\s?[.:)]\s*(?=\S)")
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
    """The items of a record: one, or one for every turn of a chat or question of a passage; none where no question is seen.

    columns: our field -> theirs, where the names do not say it; several ("A, B, C, D") are taken together.
    """
    fields = {_plain(key): value for key, value in reversed(record.items()) if value not in (None, "", [])}
    own_id = next((str(fields[k]) for k in NAMES["id"] if isinstance(fields.get(k), str | int)), "")
    if columns:
        fields = {name: value for name, wanted in columns.items() if (value := _column(record, name, wanted))}
    else:
        _arrange(fields)
        if key := _nested(fields):
            return _within(own_id, fields, key)
    if turns := next((found for key in NAMES["turns"] if (found := _turns(key, fields.get(key)))), None):
        return _chat(own_id, turns, next((_texts(fields[k]) for k in ("reference", "ideal", "groundtruth") if k in fields), []))
    name = next((k for k in NAMES["question"] if isinstance(fields.get(k), str)), None)
    if name is None:
        return []
    question, choices, answer = unlabelled(fields.pop(name))
    story = fields.get("body")  # SVAMP: the question proper stands apart
    context = _first(fields, "context") + (_texts(fields.get("input")) if name == "instruction" else [])
    listed = Choices(choices) if choices else _choices(fields)
    marked = isinstance(fields.get("iscorrect"), bool)
    answer = _answer(fields, listed) or answer
    choices = listed.texts
    if marked:  # a record for every choice
        choices, answer = answer, answer if fields["iscorrect"] else []
    texts = {
        "question": [
            f"{story.rstrip()} {question}" if isinstance(story, str) else question,
            *_texts(fields.get("completeprompt")),  # BigCodeBench asks in two ways
        ],
        "answer": answer,
        "choices": choices,
        "context": context,
        "solution": _first(fields, "solution"),
    }
    return _item(own_id, texts, marked)


def _arrange(fields: dict[str, Any]) -> None:
    """Put what a benchmark calls by a name of its own under the names that the others use."""
    if isinstance(inner := fields.get("question"), dict):  # ARC as published: {"stem": ..., "choices": [...]}
        fields |= {_plain(key): value for key, value in inner.items()} | {"question": inner.get("stem")}
    if fields.get("question") in ("cause", "effect") and "premise" in fields:  # COPA
        fields["question"] = fields.pop("premise")
    if isinstance(pair := fields.get("translation"), dict) and len(pair) > 1:  # WMT: {"de": ..., "en": ...}
        fields["question"], *fields["answer"] = pair.values()
    languages = [key for key in reversed(fields) if re.fullmatch("sentence[a-z]{7}", key)]  # FLORES: sentence_deu_Latn
    if len(languages) > 1:
        fields["question"], *fields["answer"] = (fields[key] for key in languages)
    if "source" in fields and "target" in fields:  # WMT24++
        fields.setdefault("text", fields["source"])
    if "code" in fields and isinstance(fields.get("input"), str) and "output" in fields:  # CRUXEval: what does it return?
        fields |= {"question": fields.pop("code"), "context": fields["input"]}
    if isinstance(answers := fields.get("answers"), list) and len(answers) > 1 and type(fields.get("label")) is int:  # ReClor
        fields["choices"] = fields.pop("answers")
    cells = [fields[key] for n in range(1, 13) if (key := f"column{n}") in fields]  # MMLU: question, choices, letter
    if len(cells) > 3 and (found := LETTER.fullmatch(str(cells[-1]))) and _number(found) < len(cells) - 2:
        fields["question"], *fields["choices"], fields["answer"] = cells


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
    group = (own_id, kept["question"][0], () if marked else tuple(kept.get("choices", ())), tuple(kept.get("context", ())))
    return [Item(own_id, kept, group)]


# ------------------------------------------------------------------------------------------- several items in a record


def _nested(fields: Mapping[str, Any]) -> str | None:
    """The list of questions about a passage. One without a passage is a file around its records, which its reader opens."""
    key = next((k for k in NESTED if isinstance(fields.get(k), list)), None)
    return key if key != "questions" or any(k in fields for k in NAMES["context"]) else None


def _within(own_id: str, fields: Mapping[str, Any], key: str) -> list[Item]:
    """The items of SQuAD's articles, and of RACE's passages, whose questions, options and answers are lists side by side.

    A question without an id gets that of its record and its place in it: high1.txt/2.
    """
    inner = fields[key]
    outer = {k: v for k, v in fields.items() if k != key and k not in NAMES["id"]}
    result = []
    for n, one in enumerate(inner):
        record = {}
        for name, value in outer.items():
            listed = next(iter(value.values()), None) if isinstance(value, dict) else value
            record[name] = listed[n] if isinstance(listed, list) and len(listed) == len(inner) else value
        record |= {_plain(k): v for k, v in one.items()} if isinstance(one, dict) else {"question": one}
        for item in items(record):
            if not item.id or item.id.startswith("/"):
                item.id = f"{own_id}/{n + 1}{item.id}"
            result.append(item)
    return result


def _turns(name: str, value: Any) -> list[Any]:
    """The turns in a field; those of several conversations one after the other."""
    if not isinstance(value, list):
        return []
    turns = [turn for element in value for turn in (element if isinstance(element, list) else [element])]
    return turns if name not in ("question", "input") or all(isinstance(turn, dict) for turn in turns) else []


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


# -------------------------------------------------------------------------------------------------- choices and answer


@dataclass
class Choices:
    """The choices of a question; what the answer may call them, where that is said; those that are marked as right."""

    texts: list[str]
    labels: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)


def _choices(fields: Mapping[str, Any]) -> Choices:
    for key in NAMES["choices"]:
        if key in fields and (found := _listed(fields[key])).texts:
            return found
    columns = sorted((key for key in fields if CHOICE_COLUMN.fullmatch(key)), key=_in_order)
    if not columns and "a" in fields and "b" in fields:
        columns = [key for key in string.ascii_lowercase[:10] if key in fields]
    texts = [text for key in columns for text in _texts(fields[key])]
    labels = [str(n) for n in range(1, len(texts) + 1)]  # WinoGrande, Social IQa: the answer is the column's number
    for key in ALTERNATIVES:
        if text := fields.get(key):
            split = isinstance(text, str) and key.endswith("s")
            texts += [part.strip() for part in text.split(";")] if split else _texts(text)
    return Choices(texts, labels)


def _listed(value: Any) -> Choices:
    """Choices with their labels, ["B"] or [{"label": "B", "text": ...}], or scores, {"red": 1, "blue": 0}."""
    if isinstance(value, dict) and value and all(isinstance(score, int | float) for score in value.values()):
        best = max(value.values())
        return Choices(list(value), right=[text for text, score in value.items() if score == best])
    texts, labels = _texts(value), []
    if isinstance(value, dict):
        labels = value.get("label", value.get("labels", list(value)))
    elif isinstance(value, list):
        labels = [element.get("label") for element in value if isinstance(element, dict)]
    if not isinstance(labels, list) or len(labels) != len(texts):
        return Choices(_unlettered(texts))
    return Choices(texts, list(map(str, labels)), [text for text, label in zip(texts, labels, strict=True) if label == 1])


def _unlettered(texts: list[str]) -> list[str]:
    """Choices without the letters that count them: (A)one, (B)two."""
    found = [LETTERED.match(text) for text in texts]
    if len(texts) < 2 or any(match is None or _number(match) != n for n, match in enumerate(found)):
        return texts
    return [LETTERED.sub("", text, count=1) for text in texts]


def _answer(fields: Mapping[str, Any], choices: Choices) -> list[str]:
    """The answer's text, also where it is given as the label, the letter or the index (from 0) of a choice."""
    for key in NAMES["answer"]:
        if key not in fields or (key == "a" and "b" in fields):
            continue
        value = fields[key]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if (number := _place(value, choices)) is not None and number < len(choices.texts):
            return [choices.texts[number]]
        if found := _texts(fields[key]):
            return found
    return choices.right


def _place(value: Any, choices: Choices) -> int | None:
    """Which choice a value means, from 0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    if value in choices.labels:
        return choices.labels.index(value)
    if letter := LETTER.fullmatch(value):
        return _number(letter)
    return int(value) if re.fullmatch(r"\d{1,2}", value) and value not in choices.texts else None


def _number(letter: re.Match[str]) -> int:
    return string.ascii_uppercase.index(letter[1].upper())


# -------------------------------------------------------------------------------------------------------------- values


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
        return [str(value) if isinstance(value, int) else f"{value:.15g}"]
    if isinstance(value, list):
        return [text for element in value for text in _texts(element)]
    if isinstance(value, dict):
        inner = next((v for k in INNER for name, v in value.items() if _plain(name) == k and v not in (None, "", [])), value)
        return _texts(inner if inner is not value else list(value.values()))
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


def _in_order(name: str) -> tuple[str, int]:
    """option2 before option10."""
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)
