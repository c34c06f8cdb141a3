"""Turns of a conversation, whatever their keys and roles are called, and what the formats share beside them.

{"from": "human", "value": "Hi"}      {"role": "user", "content": [{"type": "text", "text": "Hi"}]}

Content is kept byte for byte. Parts of a content are joined by a line break where neither has white space at the joint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sft_assets.formats.turn_shapes import ROLES as ROLES
from sft_assets.formats.turn_shapes import as_objects, as_turn, role_of
from sft_assets.record import BadRecord, Conversation, Kind, Message

ALTERNATIVES = tuple(
    tuple(names.split())
    for names in (
        "role from",
        "content value",
        "tool_calls function_call",
        "reasoning reasoning_content thinking",
        "weight loss_weight loss",
    )
)
KNOWN = frozenset(("name", "tool_call_id", *(name for names in ALTERNATIVES for name in names)))
LABELS = ("language", "lang", "license")
LABEL_NAMES = frozenset(LABELS)
BESIDE = frozenset(("tools", *LABELS))
SYSTEM = ("system", "system_prompt", "system_message", "system_instruction", "meta_instruction")
SYSTEM_NAMES = frozenset(SYSTEM)
MEDIA = ("image", "images", "video", "videos", "audio", "audios")
KTO = frozenset(("kto_tag", "label"))
VERDICTS: Mapping[str, bool] = {"true": True, "false": False, "1": True, "0": False}


def read_turns(value: Any, meta: dict[str, Any], place: str = "messages") -> list[Message]:
    """A list of turns as Messages. What a turn says beyond a Message goes to `meta[place]` by turn number.

    Raises:
        BadRecord: no_turns, wrong_type, unknown_role.
    """
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise BadRecord("wrong_type", f"{place} is a text, not a list of turns") from None
    if not isinstance(value, list):
        raise BadRecord("wrong_type", f"{place} is {kind_of(value)}, not a list of turns")
    if not value:
        raise BadRecord("no_turns", f"{place} is an empty list")
    first = value[0]
    if not (isinstance(first, dict) and ("role" in first or "from" in first)):
        value = as_objects(value)
    turns = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise BadRecord("wrong_type", f"turn {number} of {place} is {kind_of(turn)}, not an object")
        turns.append(_turn(turn, number, place, meta))
    return turns


def _turn(turn: dict[str, Any], number: int, place: str, meta: dict[str, Any]) -> Message:
    said = turn.get("role") or turn.get("from")
    content = turn.get("content")
    if content is None:
        content = turn.get("value")
    if said is None or content is None:
        turn = as_turn(turn)
        said, content = turn.get("role") or turn.get("from"), turn.get("content")
    role = role_of(said)
    if role is None:
        raise BadRecord("unknown_role", f"turn {number} of {place} has the role {said!r}; known: {', '.join(ROLES)}")
    if len(turn) == 2 and isinstance(content, str) and role != "function_call":  # the common case: a role and a text
        return Message(role, content)
    extra = {k: v for k, v in turn.items() if k not in KNOWN}
    for names in ALTERNATIVES:  # what is said twice, in different words
        there = [n for n in names if turn.get(n) is not None]
        extra |= {n: turn[n] for n in there[1:] if turn[n] != turn[there[0]]}
    if isinstance(content, list):
        content = _join_parts(content, number, place, extra)
        if extra.get("text") == content:  # Claude's export says it twice
            del extra["text"]
    calls = _calls(turn)
    if role == "function_call":
        if not isinstance(content, str):
            raise BadRecord("wrong_type", f"the function call in turn {number} of {place} is {kind_of(content)}, not text")
        role, calls, content = "assistant", calls_of_text(content), ""
    if content is None and (calls or role == "assistant"):
        content = ""
    if not isinstance(content, str):
        raise BadRecord("wrong_type", f"the content of turn {number} of {place} is {kind_of(content)}, not text")
    weight = next((turn[k] for k in ("weight", "loss_weight", "loss") if turn.get(k) is not None), None)
    if not isinstance(weight, (int, float, type(None))):
        extra["weight"], weight = weight, None
    if extra:
        meta.setdefault(f"{place}_extra", {})[str(number)] = extra
    return Message(
        role,
        content,
        _text(turn, "name", number),
        calls,
        _text(turn, "tool_call_id", number),
        _text(turn, "reasoning", number) or _text(turn, "reasoning_content", number) or _text(turn, "thinking", number),
        None if weight is None else float(weight),
    )


def _text(turn: dict[str, Any], key: str, number: int) -> str | None:
    value = turn.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRecord("wrong_type", f"{key} of turn {number} is {kind_of(value)}, not text")
    return value


def _join_parts(parts: list[Any], number: int, place: str, extra: dict[str, Any]) -> str:
    """The text of a list of parts. Parts of another kind (images, say), and what else a part says, are kept in meta."""
    texts, others = [], []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(text := part.get("text", part.get("value")), str):
            if part.get("type", "text") not in ("text", "input_text", "output_text"):
                others.append(part)
                continue
            texts.append(text)
            if more := {k: v for k, v in part.items() if k not in ("type", "text") and v != text}:
                others.append(more)
        elif isinstance(part, dict):
            others.append(part)
        else:
            raise BadRecord("wrong_type", f"a part of turn {number} of {place} is {kind_of(part)}, not an object")
    if others:
        extra["parts"] = [extra["parts"], *others] if "parts" in extra else others
    return _joined(texts)


def _joined(texts: list[str]) -> str:
    joined = ""
    for text in texts:
        apart = joined and text and not joined[-1].isspace() and not text[0].isspace()
        joined += "\n" + text if apart else text
    return joined


def _calls(turn: dict[str, Any]) -> str | None:
    calls = turn.get("tool_calls")
    if calls is None and turn.get("function_call") is not None:
        calls = [{"type": "function", "function": turn["function_call"]}]
    if not calls:
        return None
    return calls if isinstance(calls, str) else orjson.dumps(calls).decode()


def calls_of_text(text: str) -> str:
    """ShareGPT's function_call (JSON of one call or a list of calls) in OpenAI's shape.

    What is no such JSON is kept whole as the arguments of a call without a name; the rule broken_tool_call finds it.
    """
    try:
        parsed = orjson.loads(text)
    except ValueError:
        parsed = None
    calls = parsed if isinstance(parsed, list) else [parsed]
    if calls and all(isinstance(c, dict) and "name" in c for c in calls):
        try:
            return orjson.dumps([{"type": "function", "function": c} for c in calls]).decode()
        except orjson.JSONEncodeError:  # hundreds of lists within each other
            pass
    return orjson.dumps([{"type": "function", "function": {"name": "", "arguments": text}}]).decode()


def tools_text(value: Any) -> str | None:
    """The `tools` column as JSON text: kept as it is where it is text already."""
    if value is None or value == "" or value == []:
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def kind_of(value: Any) -> str:
    """JSON's word for what a value is."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return "missing" if value is None else names.get(type(value), type(value).__name__)


def text_field(record: Mapping[str, Any], *names: str) -> str | None:
    """The first of the fields that is not empty; "" where all that are there are.

    Raises:
        BadRecord: wrong_type, where it is no text.
    """
    found = None
    for name in names:
        value = record.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise BadRecord("wrong_type", f"{name} is {kind_of(value)}, not text")
            if value:
                return value
            found = value
    return found


def rest(record: Mapping[str, Any], used: frozenset[str], *alternatives: tuple[str, ...]) -> dict[str, Any]:
    """What of a record has no place in a conversation: it goes to meta. Of fields that mean the same only one is used."""
    meta = {k: v for k, v in record.items() if k not in used}
    for names in alternatives:
        if len(there := [name for name in names if name in record]) > 1:
            said = [name for name in there if record[name] is not None and record[name] != ""]
            meta |= {name: record[name] for name in said[1:]}
    if not LABEL_NAMES.isdisjoint(record):
        meta |= _other_labels(record)
    return meta


def _other_labels(record: Mapping[str, Any]) -> dict[str, Any]:
    """Languages and licences that are no text, or the second one."""
    others = {}
    for names in (("language", "lang"), ("license",)):
        taken = False
        for name in names:
            value = record.get(name)
            if value is None or value == "":
                continue
            if taken or not isinstance(value, str):
                others[name] = value
            else:
                taken = True
    return others


def system_turns(record: Mapping[str, Any], meta: dict[str, Any]) -> list[Message]:
    """The system turn that a record has beside its other turns: of a text, or of a list of parts. Anything else is no prompt
    and goes to meta."""
    turns: list[Message] = []
    if SYSTEM_NAMES.isdisjoint(record):
        return turns
    for name in SYSTEM:
        value = record.get(name)
        if value is None or value == "":
            continue
        if turns or not isinstance(value, (str, list)):
            meta[name] = value
        elif isinstance(value, str):
            turns = [Message("system", value)]
        else:
            turns = read_turns([{"role": "system", "content": value}], meta, name)
    return turns


def kto_label(record: Mapping[str, Any], meta: dict[str, Any], numbers: bool = False) -> bool | None:
    """KTO's verdict on the answer: `kto_tag` as a boolean, 0 or 1, or a text that says so; `label` as a boolean, "true" or
    "false", and as 0 or 1 only where `numbers` says so. Anything else is something else: it goes to meta."""
    label: bool | None = None
    if KTO.isdisjoint(record):
        return label
    for name in ("kto_tag", "label"):
        if (value := record.get(name)) is None:
            continue
        verdict = _verdict(value, numbers or name == "kto_tag") if label is None else None
        if verdict is None:
            meta[name] = value
        else:
            label = verdict
    return label


def _verdict(value: Any, numbers: bool) -> bool | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return value if isinstance(value, bool) else None
    text = str(value).strip().lower()
    return VERDICTS.get(text) if numbers or text.isalpha() else None


def conversation(
    record: Mapping[str, Any],
    messages: list[Message],
    meta: dict[str, Any],
    label: bool | None = None,
    kind: Kind = "sft",
    path: str = "",
) -> Conversation:
    """A conversation with what every record may say beside its turns: tools, language and licence. A `label` makes it
    unpaired."""
    row = Conversation(messages, kind if label is None else "unpaired", label=label, meta=meta, path=path)
    if not BESIDE.isdisjoint(record):
        row.tools = tools_text(record.get("tools"))
        row.language = first_string(record, "language", "lang")
        row.license = first_string(record, "license")
    return row


def media(row: Conversation) -> list[str]:
    """What of a row is no text and stands in its meta: names of fields of images, video and audio, and "parts" for parts of a
    content. Trainers of texts do not see it."""
    extras = [
        turn
        for name, turns in row.meta.items()
        if name.endswith("_extra") and isinstance(turns, dict)
        for turn in turns.values()
    ]
    found = [name for name in MEDIA if any(isinstance(where, dict) and where.get(name) for where in (row.meta, *extras))]
    if any(isinstance(turn, dict) and turn.get("parts") for turn in extras):
        found.append("parts")
    return found


def first_string(record: Mapping[str, Any], *names: str) -> str | None:
    """Language and licence: the first of the fields that holds a text."""
    for name in names:
        value = record.get(name)
        if value and isinstance(value, str):
            return value
    return None
