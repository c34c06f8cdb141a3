"""How rows are put: length, turns, question type, code, maths, language and difficulty, a batch of conversations at a time.

    "Write a Python function that reverses a string."  "def reverse(s):\\n    return s[::-1]"
    turns 2, prompt_words 7, answer_words 6, length short, question code, code true, math false, language en, difficulty medium

Everything is said of one content, never of its place among others. Where Arrow can look at a whole column it does.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sft_assets.clustered.descriptors.code_and_math import MATH_WORDS, code_in, has, math_in
from sft_assets.clustered.descriptors.difficulty import difficulty
from sft_assets.clustered.descriptors.questions import CALCULATE, question_type
from sft_assets.languages import language_of

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COLUMNS = {
    "content_hash": pa.uuid(),
    "turns": pa.int32(),
    "prompt_words": pa.int32(),
    "answer_words": pa.int32(),
    "length": pa.string(),
    "question": pa.string(),
    "code": pa.bool_(),
    "math": pa.bool_(),
    "system": pa.bool_(),
    "tools": pa.bool_(),
    "language": pa.string(),
    "difficulty": pa.string(),
}
SHORT, MEDIUM = 50, 200  # words of an answer, on average: fewer are short; up to so many medium
CHARACTERS_OF_A_WORD = 2  # in scripts without spaces
ENOUGH, GLANCE = 400, 160  # characters that tell the language to the model, and to the eye
TELLING_WORDS = 4
# fmt: off
ENGLISH = frozenset((
    "the", "and", "of", "is", "to", "for", "with", "that", "this", "you", "your", "what", "how", "which", "are", "from", "it",
    "by", "write", "following", "given", "into", "if", "when", "where", "who", "why", "does", "do", "be", "have", "has", "been",
    "their", "they", "would", "could", "should", "explain", "describe", "create", "between", "about", "she", "he", "his", "her",
))
# fmt: on
WORDS_OF_ENGLISH = re.compile("[a-z]+")
HAN = re.compile("[一-鿿]")

CODE, ABOUT_CODE = "code", frozenset(("other", "rewrite", "extract", "classify", "calculate", "write"))
KANA = re.compile("[ぁ-ヿ]")
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
WORD = r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*(?:['’][\p{L}\p{M}]+)*"
ASCII_WORD = r"[A-Za-z0-9_]+(?:'[A-Za-z]+)*"


def describe(batch: pa.Table | pa.RecordBatch) -> pa.Table:
    """The descriptors of a batch of content_hash, messages and tools."""
    messages = batch["messages"]
    messages = messages.combine_chunks() if isinstance(messages, pa.ChunkedArray) else messages
    size = len(batch)
    turns = messages.flatten()
    row = np.repeat(np.arange(size), messages.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    text, role = turns.field("content"), turns.field("role")
    user, answer, system = (_flags(pc.equal(role, name)) for name in ("user", "assistant", "system"))

    words = count_words(text)
    prompt_words, answer_words = _sum(row, words * user, size), _sum(row, words * answer, size)
    users, answers = _sum(row, user, size), _sum(row, answer, size)
    code, math = code_in(text), math_in(text)
    prompts = _of_rows(row, user, text, size)
    replies = _of_rows(row, answer, text, size)
    languages = [_language(asked, said) for asked, said in zip(prompts, replies, strict=True)]
    shows_code = _any(row, code & user, size)
    questions = [
        CODE if shows and kind in ABOUT_CODE else kind
        for kind, shows in zip(map(question_type, prompts, languages), shows_code.tolist(), strict=True)
    ]

    joined = pa.array(["\n".join(said) for said in prompts], pa.string())
    has_code, asks_code = _any(row, code, size), shows_code | _is(questions, CODE)
    named = has(joined, MATH_WORDS)
    exercise = (_is(questions, CALCULATE) | named) & ~asks_code
    asks_math = _any(row, math & user, size) | exercise
    # a question of how many may be answered without a number, or by code
    figures = _any(row, has(text, r"\p{Nd}") & answer, size) | (answers == 0) | named
    columns = {
        "content_hash": batch["content_hash"],
        "turns": users + answers,
        "prompt_words": prompt_words,
        "answer_words": answer_words,
        "length": _lengths(answer_words, answers),
        "question": questions,
        "code": has_code,
        "math": _any(row, math, size) | (exercise & figures & ~has_code),
        "system": _any(row, system & _flags(pc.not_equal(pc.utf8_trim_whitespace(text), "")), size),
        "tools": _tools(batch["tools"])
        | _any(row, _flags(pc.equal(role, "tool")) | _flags(turns.field("tool_calls").is_valid()), size),
        "language": languages,
        "difficulty": difficulty(joined, prompt_words, users, asks_code | asks_math),
    }
    return pa.table(
        {name: values if name == "content_hash" else pa.array(values, COLUMNS[name]) for name, values in columns.items()}
    )


def count_words(texts: Any) -> Ints:
    """The words of each text (string array). Where a script has no spaces two characters count as a word, which is about what
    a word of Chinese has."""
    ascii_ = pc.equal(pc.binary_length(texts), pc.utf8_length(texts))
    words = _counts(pc.count_substring_regex(texts, ASCII_WORD))
    other = np.flatnonzero(~_flags(ascii_))
    if len(other):
        rest = texts.take(pa.array(other))
        characters = _counts(pc.count_substring_regex(rest, UNSPACED))
        spaced = pc.replace_substring_regex(rest, UNSPACED, " ") if characters.any() else rest
        words[other] = _counts(pc.count_substring_regex(spaced, WORD)) + -(-characters // CHARACTERS_OF_A_WORD)
    return words


def _lengths(words: Ints, answers: Ints) -> list[str | None]:
    """'short', 'medium' or 'long', by the mean words of an answer; None where there is no answer."""
    mean = words / np.maximum(answers, 1)
    names = np.where(mean < SHORT, "short", np.where(mean <= MEDIUM, "medium", "long"))
    return [name if n else None for name, n in zip(names.tolist(), answers.tolist(), strict=True)]


def _language(prompts: list[str], replies: list[str]) -> str | None:
    """Of the prompt; of the answer where the prompt is too short to tell."""
    for texts in (prompts, replies):
        text = "\n".join(texts)[:ENOUGH] if len(texts) > 1 else texts[0][:ENOUGH] if texts else ""
        if found := _plain_language(text) or (language_of(text) if text else None):
            return "zh" if found == "ja" and not KANA.search(text) else found  # the model mistakes short Chinese texts
    return None


def _plain_language(text: str) -> str | None:
    """English and Chinese where nobody would doubt it: the model takes ten times as long as all else."""
    seen = text[:GLANCE].lower()
    words = WORDS_OF_ENGLISH.findall(seen)
    if not text.isascii() and not KANA.search(text):
        characters = len(HAN.findall(seen))
        if characters >= 2 * TELLING_WORDS and 2 * characters > sum(map(len, words)):
            return "zh"
    return "en" if len(ENGLISH.intersection(words)) >= TELLING_WORDS else None


def _of_rows(row: Ints, chosen: Flags, text: Any, size: int) -> list[list[str]]:
    """The chosen turns of each row."""
    result: list[list[str]] = [[] for _ in range(size)]
    places = np.flatnonzero(chosen)
    for i, said in zip(row[places].tolist(), text.take(pa.array(places)).to_pylist(), strict=True):
        result[i].append(said or "")
    return result


def _tools(tools: Any) -> Flags:
    return _flags(pc.invert(pc.is_in(pc.utf8_trim_whitespace(tools.fill_null("")), pa.array(["", "[]", "null", "{}"]))))


def _is(values: list[str], value: str) -> Flags:
    return np.fromiter((v == value for v in values), bool, len(values))


def _flags(array: Any) -> Flags:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    result: Flags = array.fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    return result


def _counts(array: Any) -> Ints:
    result: Ints = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return result


def _sum(row: Ints, values: npt.NDArray[Any], size: int) -> Ints:
    return np.bincount(row, values, size).astype(np.int64)


def _any(row: Ints, flags: Flags, size: int) -> Flags:
    return np.bincount(row[flags], minlength=size) > 0
