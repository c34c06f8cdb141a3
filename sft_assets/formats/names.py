"""Records whose fields have the names of a format, but for their spelling, or stand inside a wrapper.

{"User Input": "Hi", "Model-Output": "Ho"}              -> {"user_input": "Hi", "model_output": "Ho"}
{"指令": "说你好", "输出": "你好"}                         -> {"instruction": "说你好", "output": "你好"}
{"row": {"prompt": "Hi", "completion": "Ho"}, "row_idx": 0}     -> what `row` holds; row_idx goes to meta
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

WRAPPERS = ("row", "json", "data", "record", "request")
TRANSLATED: Mapping[str, str] = {
    "指令": "instruction",
    "输入": "input",
    "输出": "output",
    "问题": "question",
    "问": "question",
    "回答": "answer",
    "答案": "answer",
    "答": "answer",
    "提示": "prompt",
    "回复": "response",
    "系统": "system",
    "历史": "history",
    "对话": "conversations",
}


def fold(name: str) -> str:
    """A name in lower case, with underscores for blanks and hyphens, in English."""
    name = name.strip().lower().replace(" ", "_").replace("-", "_")
    return TRANSLATED.get(name, name)


@lru_cache(maxsize=4096)
def _renames(names: tuple[str, ...], meant: frozenset[str] | None) -> dict[str, str]:
    """The names that change by folding: all, or those that become one of `meant`. None where two names would be one."""
    folded = {name: to for name in names if (to := fold(name)) != name and (meant is None or to in meant)}
    return folded if len({folded.get(name, name) for name in names}) == len(names) else {}


def folded(record: dict[str, Any], meant: frozenset[str] | None = None) -> dict[str, Any] | None:
    """The record with folded names; None where that changes nothing."""
    renames = _renames(tuple(record), meant)
    return {renames.get(name, name): value for name, value in record.items()} if renames else None


def unwrapped(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What stands in a wrapper, and what the wrapper says beside it."""
    for name in WRAPPERS:
        if isinstance(inner := record.get(name), dict) and inner:
            return inner, {other: value for other, value in record.items() if other != name}
    return None


def variants(record: dict[str, Any], meant: frozenset[str] | None = None) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The record as it is, with folded names, and the same of what it wraps; and what the wrapper says beside it."""
    yield record, {}
    if (other := folded(record, meant)) is not None:
        yield other, {}
    if (inside := unwrapped(record)) is not None:
        inner, outer = inside
        yield inner, outer
        if (other := folded(inner, meant)) is not None:
            yield other, outer
