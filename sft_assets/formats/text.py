"""Text: a whole conversation in one field, with the marks of a chat template or as a recipe entry says.

    {"text": "<human>: Name a prime.\\n<bot>: 7"}
    {"system": "SYSTEM: You are a helpful assistant ...", "chat": "USER: Hi\\n\\n\\nASSISTANT: Ho <|endoftext|>"}

With `template: "{_}Q: {prompt}\\nA: {response}"` a text is cut where the template's words stand: a place holder ends where the
next words first occur, {system} and {input} may be there too, and {_} stands for what does not count. With `continuation:
true` a text that has no turns is a prompt (its beginning) and an answer (the rest).
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.templates import Transcript, turns_of
from sft_assets.formats.turns import LABELS, conversation, rest
from sft_assets.record import BadRecord, Conversation, Message

NAME = "text"
COLUMNS = {"prompt": "text"}
FIELDS = ("text", "plain_text", "chat", "content", "document", "body")
BAIZE = frozenset(("topic", "input"))  # its texts are called input
SYSTEM = ("system", "system_prompt", "prefix")
TELLING = frozenset((*FIELDS, "topic"))
USED = frozenset((*FIELDS, *SYSTEM, *LABELS, "tools"))
OTHERS = frozenset(  # with one of these the record is of another format, or of none
    (
        *("instruction", "instructions", "input", "inputs", "output", "outputs", "prompt", "completion", "response"),
        *("responses", "question", "answer", "answers", "query", "target", "targets", "messages", "conversations"),
        *("conversation", "chosen", "rejected", "role", "parent_id", "replies", "children"),
    )
)
PLACE = re.compile(r"\{(_|system|prompt|input|response)\}")
FUNCTIONS = re.compile(r"(.*?functions?\b[^\n{]{0,80}-)\s*(\{.*)\Z", re.DOTALL)
PARAGRAPH = re.compile(r"\n\s*\n")
SENTENCE = re.compile(r"[.!?][\"')\]]*\s+|[。！？][」』）]*\s*")
SHORTEST = 200  # characters of a text that can be continued: with less, neither part says anything


def matches(record: dict[str, Any]) -> bool:
    if record.keys() == BAIZE:
        text = record["input"]
        return isinstance(text, str) and turns_of(text) is not None
    if not OTHERS.isdisjoint(record):
        return False
    return any(isinstance(record.get(name), str) and turns_of(record[name]) is not None for name in FIELDS)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    """The conversation of a text.

    Raises:
        BadRecord: wrong_type, bad_template, no_match, too_short, no_turns.
    """
    names = FIELDS if record.keys() != BAIZE else ("input",)
    texts = {name: record[name] for name in names if isinstance(record.get(name), str)}
    if not texts:
        raise BadRecord("wrong_type", f"none of {', '.join(FIELDS)} is a text; name the column in its recipe entry")
    name, found = next(iter(texts)), None
    if hints.template:
        found = cut(texts[name], hints.template)
    else:
        name, found = next(((n, found) for n, text in texts.items() if (found := turns_of(text))), (name, None))
        if found is None and hints.continuation:
            found = continued(texts[name])
    if found is None:
        raise BadRecord(
            "no_turns",
            "the text has no turns; say `template:` with {prompt} and {response}, or `continuation: true`, in its recipe entry",
        )
    meta = rest(record, frozenset((name, *SYSTEM, *LABELS, "tools")))
    meta.setdefault("template", found.template)
    turns, tools = _with_system(found, record, meta)
    row = conversation(record, turns, meta, kind="prompt" if found.unanswered else "sft")
    row.tools = row.tools or tools
    return [row]


def _with_system(found: Transcript, record: dict[str, Any], meta: dict[str, Any]) -> tuple[list[Message], str | None]:
    """The turns with the record's system prompt, and the tools that are listed in it (Glaive)."""
    turns, tools = found.messages, found.tools
    for name in SYSTEM:
        value = record.get(name)
        if isinstance(value, str) and value.strip() and turns[0].role != "system":
            turns = [Message("system", value.removeprefix("SYSTEM:").strip()), *turns]
        elif value is not None and value != "":
            meta[name] = value
    if turns[0].role == "system" and not tools:
        text, tools = split_functions(turns[0].content)
        turns = [Message("system", text), *turns[1:]]
    return turns, tools


def split_functions(system: str) -> tuple[str, str | None]:
    """Glaive's system prompt without the functions that it ends with, and these as a JSON list."""
    listed = FUNCTIONS.match(system)
    if not listed:
        return system, None
    functions, left = [], listed[2].strip()
    decoder = json.JSONDecoder()
    try:
        while left:
            function, end = decoder.raw_decode(left)
            functions.append(function)
            left = left[end:].strip()
    except (ValueError, RecursionError):
        return system, None
    if not all(isinstance(function, dict) for function in functions):
        return system, None
    return listed[1], json.dumps(functions, ensure_ascii=False)


def cut(text: str, template: str) -> Transcript:
    """A text cut by a literal template.

    Raises:
        BadRecord: bad_template, no_match.
    """
    words, places = parts_of_template(template)
    said: dict[str, str] = {}
    at = len(words[0])
    fits = text.startswith(words[0])
    for number, place in enumerate(places, 1):
        last = number == len(places)
        end = len(text) - len(words[number]) if last else text.find(words[number], at)
        fits = fits and end >= at and (not last or text.endswith(words[number]))
        if not fits:
            raise BadRecord("no_match", f"the text does not fit the template {template!r} of its recipe entry")
        said[place] = text[at:end]
        at = end + len(words[number])
    prompt = "\n".join(t for t in (said["prompt"], said.get("input", "")) if t)
    system = [Message("system", said["system"])] if said.get("system") else []
    return Transcript("recipe", [*system, Message("user", prompt), Message("assistant", said["response"])])


@cache
def parts_of_template(template: str) -> tuple[list[str], list[str]]:
    """The words of a template, and the place holders between them."""
    parts = PLACE.split(template)
    words, places = parts[::2], parts[1::2]
    named = [place for place in places if place != "_"]
    if not {"prompt", "response"} <= set(named) or len(set(named)) < len(named) or not all(words[1:-1]):
        detail = "must have {prompt} and {response}, each place holder but {_} once, and words between any two of them"
        raise BadRecord("bad_template", f"the template {template!r} of its recipe entry {detail}")
    return words, places


def continued(text: str) -> Transcript:
    """A text as its beginning and what follows: cut at the paragraph's end nearest to a third of it, in default of one at the
    sentence's end, that leaves at least a sixth before and half after.

    Raises:
        BadRecord: too_short.
    """
    text = text.strip()
    first, third, half = len(text) // 6, len(text) / 3, len(text) // 2
    for ends in (PARAGRAPH, SENTENCE) if len(text) >= SHORTEST else ():
        if places := list(ends.finditer(text, first, half)):
            place = min(places, key=lambda m: abs(m.end() - third))
            beginning, following = text[: place.end()].rstrip(), text[place.end() :]
            prompt = Message("user", f"Continue the text.\n\n{beginning}")
            return Transcript("continuation", [prompt, Message("assistant", following)])
    raise BadRecord("too_short", f"the text has under {SHORTEST} characters, or no sentence that ends where it could be cut")
