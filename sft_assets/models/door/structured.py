"""Replies in JSON: how they are asked for, found in what came, and held against their schema.

    read('Sure! {"reason": "terse", "score": 3}', schema)   ->  {"reason": "terse", "score": 3}
    read('{"reason": "terse", "score": 7}', schema)         ->  Unparsed: "score is 7, which is none of 1, 2, 3, 4"

Asked for in the best way that the endpoint has: by strict JSON schema, as any JSON object, or in words only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from sft_assets.errors import SftError, did_you_mean

Mode = Literal["json_schema", "json_object", "plain"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "plain")
ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|structured|grammar|schema", re.IGNORECASE)
STARTS = 50  # places in a reply where a JSON value is looked for
SHOWN = 4000  # characters of an unusable reply that the model is shown again
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
ANNOTATIONS = {"title", "description", "default", "examples", "$schema"}


class Unparsed(Exception):
    """Why a text is not the JSON that was asked for, in words that the model can use."""


# ---------------------------------------------------------------------------------------------------------- asking


def response_format(schema: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
    """What the request says of the reply's form."""
    if mode == "json_schema":
        return {"response_format": {"type": mode, "json_schema": {"name": "reply", "schema": schema, "strict": True}}}
    return {"response_format": {"type": mode}} if mode == "json_object" else {}


def instructed(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The messages, the last of which says what JSON is wanted: for endpoints that take no schema."""
    *before, last = messages
    return [*before, {**last, "content": f"{last['content']}\n\n{_wanted(schema)}"}]


def repair(
    messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], raw: str, problem: Unparsed
) -> list[Mapping[str, str]]:
    """The messages with the reply that was no good and what is wrong with it."""
    again = f"That reply cannot be used: {problem}. {_wanted(schema)}"
    return [*messages, {"role": "assistant", "content": raw[:SHOWN] or "{}"}, {"role": "user", "content": again}]


def _wanted(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema, ensure_ascii=False)
    return f"Reply with one JSON value that matches this JSON schema, and with nothing else:\n{text}"


# ---------------------------------------------------------------------------------------------------------- reading


def read(text: str, schema: Mapping[str, Any]) -> Any:
    """The first JSON value in the text that matches the schema; fences and words around it do not matter.

    Raises:
        Unparsed: there is none; it says what is wrong with the first there is.
    """
    first: Unparsed | None = None
    for value in _values(text):
        try:
            validate(value, schema)
            return value
        except Unparsed as problem:
            first = first or problem
    raise first or Unparsed("there is no complete JSON value in it")


def _values(text: str) -> Iterator[Any]:
    """The JSON objects and arrays in a text; the text itself where it is a bare value."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        yield _clean(decoder.decode(text.strip()))
        return
    except (ValueError, RecursionError):
        pass
    place = 0
    for _ in range(STARTS):
        found = re.compile(r"[{\[]").search(text, place)
        if found is None:
            return
        try:
            value, place = decoder.raw_decode(text, found.start())
            yield _clean(value)
        except (ValueError, RecursionError):
            place = max(place, found.start() + 1)


def _clean(value: Any) -> Any:
    """The value, if it can be stored.

    Raises:
        ValueError: it holds a lone surrogate, or a number beyond 64 bits.
    """
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def check_schema(schema: Mapping[str, Any]) -> None:
    """See that a schema says only what `validate` checks.

    Raises:
        SftError: it has another keyword.
    """
    for keyword, wanted in schema.items():
        if keyword not in CHECKS and keyword not in ANNOTATIONS:
            raise SftError(f"the schema of a reply says {keyword!r}; {did_you_mean(keyword, CHECKS, 'what is checked is')}")
        for part in _parts(keyword, wanted):
            check_schema(part)


def _parts(keyword: str, wanted: Any) -> list[Mapping[str, Any]]:
    """The schemas inside a keyword's value."""
    if keyword == "properties":
        return list(wanted.values())
    if keyword == "anyOf":
        return list(wanted)
    return [wanted] if keyword in ("items", "additionalProperties") and isinstance(wanted, Mapping) else []


def validate(value: Any, schema: Mapping[str, Any], at: str = "it") -> None:
    """Hold a value against a JSON schema that `check_schema` has seen.

    Raises:
        Unparsed: the value does not match.
    """
    for keyword, wanted in schema.items():
        if check := CHECKS.get(keyword):
            check(value, wanted, at, schema)


def _type(value: Any, wanted: str | list[str], at: str, _: Mapping[str, Any]) -> None:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not any(_is_a(value, name) for name in names):
        raise Unparsed(f"{at} must be of type {' or '.join(names)} and is {_short(value)}")


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def _enum(value: Any, wanted: Sequence[Any], at: str, _: Mapping[str, Any]) -> None:
    if not any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in wanted):
        raise Unparsed(f"{at} is {_short(value)}, which is none of {', '.join(map(_short, wanted))}")


def _const(value: Any, wanted: Any, at: str, schema: Mapping[str, Any]) -> None:
    _enum(value, [wanted], at, schema)


def _any_of(value: Any, wanted: Sequence[Mapping[str, Any]], at: str, _: Mapping[str, Any]) -> None:
    problems = []
    for option in wanted:
        try:
            return validate(value, option, at)
        except Unparsed as problem:
            problems.append(str(problem))
    raise Unparsed("; or ".join(problems))


def _required(value: Any, wanted: Sequence[str], at: str, _: Mapping[str, Any]) -> None:
    if isinstance(value, dict) and (missing := [name for name in wanted if name not in value]):
        raise Unparsed(f"{at} has no {', '.join(map(repr, missing))}")


def _properties(value: Any, wanted: Mapping[str, Mapping[str, Any]], at: str, _: Mapping[str, Any]) -> None:
    for name, schema in wanted.items():
        if isinstance(value, dict) and name in value:
            validate(value[name], schema, name if at == "it" else f"{at}.{name}")


def _additional(value: Any, wanted: bool | Mapping[str, Any], at: str, schema: Mapping[str, Any]) -> None:
    others = sorted(value.keys() - schema.get("properties", {}).keys()) if isinstance(value, dict) else []
    if others and wanted is False:
        raise Unparsed(f"{at} has {', '.join(map(repr, others))}, which nobody asked for")
    for name in others if isinstance(wanted, Mapping) else []:
        assert isinstance(wanted, Mapping)
        validate(value[name], wanted, f"{at}.{name}")


def _items(value: Any, wanted: Mapping[str, Any], at: str, _: Mapping[str, Any]) -> None:
    for number, item in enumerate(value if isinstance(value, list) else []):
        validate(item, wanted, f"{at}[{number}]")


def _least(value: Any, wanted: float, at: str, _: Mapping[str, Any]) -> None:
    if _is_a(value, "number") and value < wanted:
        raise Unparsed(f"{at} is {_short(value)}, and must be at least {wanted}")


def _most(value: Any, wanted: float, at: str, _: Mapping[str, Any]) -> None:
    if _is_a(value, "number") and value > wanted:
        raise Unparsed(f"{at} is {_short(value)}, and must be at most {wanted}")


def _shortest(value: Any, wanted: int, at: str, _: Mapping[str, Any]) -> None:
    if isinstance(value, str | list) and len(value) < wanted:
        raise Unparsed(f"{at} has a length of {len(value)}, and must have at least {wanted}")


def _longest(value: Any, wanted: int, at: str, _: Mapping[str, Any]) -> None:
    if isinstance(value, str | list) and len(value) > wanted:
        raise Unparsed(f"{at} has a length of {len(value)}, and must have at most {wanted}")


CHECKS: dict[str, Any] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "anyOf": _any_of,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "minimum": _least,
    "maximum": _most,
    "minLength": _shortest,
    "maxLength": _longest,
    "minItems": _shortest,
    "maxItems": _longest,
}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
