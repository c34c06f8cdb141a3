"""Argilla: a queue as records with settings, and its exports as answers.

    argilla/settings.json   {"fields": [{"name": "row", "settings": {"type": "chat", ...}}, ...], "questions": [...], ...}
    argilla/records.json    [{"id": "20260102T030405Z-1f0c22ab:17", "fields": {"row": [...], ...}, "metadata": {...}, ...}]
    argilla/README.md       how they are loaded, and how the answers are taken out

    {"users": {"5b1c...": "ann"}, "records": [{"id": "20260102T030405Z-1f0c22ab:17", "row_id": "9f3c...",
     "decision.responses": ["keep"], "decision.responses.users": ["5b1c..."], "decision.responses.status": ["submitted"], ...}]}
    ->  Answer(decision="keep", ...)

The files are written as the SDK (2.8) writes them, without it: its classes for fields and questions want a server when they are
made. Text of rows is escaped, for Argilla shows fields that are not Markdown as HTML. Discarding is our `skip`; drafts are no
answers. The SDK itself loads the files and makes the exports in the tests; no test runs against a live server of Argilla, which
needs Elasticsearch or OpenSearch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import orjson

from sft_assets.reviews.answers import Answer
from sft_assets.reviews.queue import Item, Queue
from sft_assets.reviews.tools.shown import HINTS, Turn, answer, choices, context, left, right

FOLDER, SETTINGS, RECORDS, README = "argilla", "settings.json", "records.json", "README.md"
QUESTIONS = ("decision", "answer", "why")
MOST_ROLE, MOST_CONTENT = 20, 20_000  # characters that the server takes of a chat message, by default
SKIPPED, DRAFT, SUBMITTED = "discarded", "draft", "submitted"

# ------------------------------------------------------------------------------------------------------------- writing


def write(queue: Queue, folder: Path) -> list[Path]:
    """Write settings, records and how to load them into a folder of their own. The files."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    settings, records, readme = (folder / FOLDER / name for name in (SETTINGS, RECORDS, README))
    settings.write_bytes(orjson.dumps(settings_of(queue), option=orjson.OPT_INDENT_2))
    records.write_bytes(orjson.dumps([record(item) for item in queue.items], option=orjson.OPT_INDENT_2))
    readme.write_text(HOW.format(queue=queue.name), encoding="utf-8")
    return [settings, records, readme]


def settings_of(queue: Queue) -> dict[str, Any]:
    """What `rg.Settings.from_json` reads. A label question has the same choices for all records: those of the whole queue."""
    asked = {choice for item in queue.items for choice in choices(item)}
    options = [{"value": name, "text": f"{name}: {hint}"} for name, hint in HINTS.items() if name in asked or len(asked) < 2]
    label = {"type": "label_selection", "options": options, "visible_options": len(options) if len(options) > 2 else None}
    return {
        "guidelines": GUIDELINES,
        "allow_extra_metadata": False,
        "fields": [
            _property("question", "The question", {"type": "text", "use_markdown": False}),
            _property("context", "Why it is asked", {"type": "text", "use_markdown": False}),
            _property("row", "The row", {"type": "chat", "use_markdown": False}),
            _property("compared", "Compared with", {"type": "chat", "use_markdown": False}, required=False),
        ],
        "questions": [
            _property("decision", "What do you decide?", label),
            _property("answer", "The answer as it should be", {"type": "text", "use_markdown": False}, required=False,
                      description="Counts where you decide `edit`."),
            _property("why", "Why?", {"type": "text", "use_markdown": False}, required=False),
        ],
        "metadata": [
            *({"name": name, "title": name, "visible_for_annotators": True, "settings": {"type": "terms", "values": None}}
              for name in TERMS),
            {"name": "number", "title": "number", "visible_for_annotators": True,
             "settings": {"type": "integer", "min": None, "max": None}},
        ],
        "vectors": [],
    }  # fmt: skip


def _property(
    name: str, title: str, settings: dict[str, Any], required: bool = True, description: str | None = None
) -> dict[str, Any]:
    return {"name": name, "title": title, "required": required, "description": description, "settings": settings}


TERMS = ("queue", "row_id", "content_hash", "asked", "about", "choices", "reviewers")


def record(item: Item) -> dict[str, Any]:
    """An item as a record, as `dataset.records.from_json` reads it."""
    fields: dict[str, Any] = {"question": _html(item.question), "context": _html(context(item)), "row": _chat(left(item))}
    if other := right(item):
        fields["compared"] = _chat(other)
    terms = {
        "queue": item.queue, "row_id": str(item.row_id), "content_hash": str(item.content_hash), "asked": item.asked,
        "about": item.about, "choices": list(choices(item)), "reviewers": list(item.reviewers),
    }  # fmt: skip
    start = answer(item)
    return {
        "id": f"{item.queue}:{item.number}",
        "fields": fields,
        "metadata": {**{name: value for name, value in terms.items() if value}, "number": item.number},
        "suggestions": {"answer": {"value": start, "score": None, "agent": "the row"}}
        if start and "edit" in item.choices
        else {},
        "responses": {},
        "vectors": {},
    }


def _chat(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """Turns as a chat field, long ones in several messages."""
    return [{"role": turn.who[:MOST_ROLE] or "-", "content": piece} for turn in turns for piece in _pieces(_html(turn.text))]


def _pieces(text: str) -> Iterator[str]:
    """Escaped text in pieces that a message holds; no character reference is cut."""
    while len(text) > MOST_CONTENT:
        amp = text.rfind("&", MOST_CONTENT - 5, MOST_CONTENT)
        cut = amp if amp >= 0 and ";" not in text[amp:MOST_CONTENT] else MOST_CONTENT
        yield text[:cut]
        text = text[cut:]
    yield text


def _html(text: str) -> str:
    return escape(text, quote=False)


GUIDELINES = (
    "Decide about each row: " + "; ".join(f"{name}: {hint}" for name, hint in HINTS.items()) + ". The choices that make sense "
    "are in the metadata of the record. Discard a record to skip it. ⟦ ⟧ mark what the question is about."
)
HOW = """# The queue {queue} in Argilla

`settings.json` and `records.json` are for Argilla 2.8 (`pip install 'argilla>=2.8,<3'`). Load them:

```python
import argilla as rg

client = rg.Argilla(api_url="http://127.0.0.1:6900", api_key="...")
settings = rg.Settings.from_json("settings.json")
dataset = rg.Dataset(name="{queue}", settings=settings, client=client)
dataset.create()
dataset.records.from_json("records.json")
```

Take the answers out, of every reviewer by name, and import them with `sft review import answers.json`:

```python
import json

import argilla as rg

client = rg.Argilla(api_url="http://127.0.0.1:6900", api_key="...")
dataset = client.datasets("{queue}")
answers = {{
    "users": {{str(user.id): user.username for user in client.users}},
    "records": dataset.records(with_responses=True).to_list(flatten=True),
}}
with open("answers.json", "w") as file:
    json.dump(answers, file)
```

Discarding a record skips it. `dataset.records.to_json` does not write which responses were submitted and which are drafts:
from its files only records are taken that one person alone answered, by identifier.
"""

# ------------------------------------------------------------------------------------------------------------- reading


def is_export(data: Any) -> bool:
    """Whether this is what Argilla's SDK exports, with or without the names of its users."""
    records = data.get("records") if isinstance(data, dict) else data
    return isinstance(records, list) and any(
        isinstance(one, dict) and "id" in one and (("responses" in one and "fields" in one) or "_server_id" in one)
        for one in records
    )


def read(path: Path, data: Any) -> Iterator[Answer]:
    """The answers of an export, one for each user and record; a record that nobody answered is one that says nothing."""
    users = data.get("users") if isinstance(data, dict) else None
    names = users if isinstance(users, dict) else {}
    for number, one in enumerate(data["records"] if isinstance(data, dict) else data, 1):
        place = f"{path.name}: record {number}"
        if not isinstance(one, dict):
            yield Answer(place, wrong="is no JSON object", text=_text(one))
            continue
        metadata = one["metadata"] if isinstance(one.get("metadata"), dict) else one
        if "row_id" not in metadata:
            yield Answer(place, wrong="is no record of a queue: its metadata have no row_id", text=_text(one))
            continue
        try:
            yield from _answers(place, one, _item(metadata), names)
        except (AttributeError, KeyError, TypeError, ValueError):
            yield Answer(
                place, **_item(metadata), wrong="has responses that are not as Argilla's SDK exports them", text=_text(one)
            )


def _answers(place: str, one: Mapping[str, Any], item: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Answer]:
    by_user: dict[str, dict[str, Any]] = {}
    for question in QUESTIONS:
        for value, user, status in _responses(one, question):
            by_user.setdefault(user, {})[question] = value
            by_user[user]["status"] = status
    counted = 0
    for user, said in by_user.items():
        where = f"{place}, by {names.get(user, user)}"
        if said["status"] is None and one.get("status") == "completed" and len(by_user) == 1:
            said["status"] = SUBMITTED  # a record is completed by a response that was submitted, and there is no other one
        if said["status"] == DRAFT:
            continue
        counted += 1
        if said["status"] not in (SUBMITTED, SKIPPED):
            wrong = "does not say whether it was submitted; export with to_list(flatten=True), see argilla/README.md"
            yield Answer(where, **item, wrong=wrong, text=_text(one))
            continue
        decision = "skip" if said["status"] == SKIPPED else str(said.get("decision") or "")
        text = str(said.get("answer") or "") if decision == "edit" else None
        why = str(said.get("why") or "")
        yield Answer(where, **item, decision=decision, answer=text, why=why, reviewer=str(names.get(user, user)))
    if not counted:
        yield Answer(place, **item)


def _responses(one: Mapping[str, Any], question: str) -> Iterator[tuple[Any, str, str | None]]:
    """Value, user and status of each response to a question; the status is missing where records were not flattened."""
    if isinstance(one.get("responses"), dict):
        for response in one["responses"].get(question) or []:
            yield response["value"], str(response["user_id"]), response.get("status")
        return
    keys = (f"{question}.responses{end}" for end in ("", ".users", ".status"))
    yield from zip(*((one.get(key) or []) for key in keys), strict=True)


def _item(metadata: Mapping[str, Any]) -> dict[str, Any]:
    number = metadata.get("number")
    texts = {name: str(metadata.get(name) or "") for name in ("queue", "row_id", "content_hash")}
    return {**texts, "number": number if isinstance(number, int) else None}


def _text(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
