"""Label Studio: a queue as tasks with a labelling config, and its exports (JSON, JSON_MIN) as answers.

    label_studio.json   [{"data": {"sft_queue": "20260102T030405Z-1f0c22ab", "sft_row_id": "9f3c...", "sft_number": 17, ...}}]
    label_studio.xml    <View> ... <Choices name="decision" toName="row" value="$sft_choices" required="true"/> ... </View>

    {"data": {"sft_row_id": "9f3c...", ...}, "annotations": [{"completed_by": {"email": "ann@example.org"}, ...,
     "result": [{"from_name": "decision", "value": {"choices": ["keep"]}}, ...]}]}      ->  Answer(decision="keep", ...)

Every field of a task begins with `sft_`: exports put them beside their own, and one named `source` or `id` would clash.
What Label Studio calls skipping (`was_cancelled`) is our `skip`; JSON_MIN leaves it out. Drafts and predictions are no answers.
Its quick export names people by number alone ("annotator 1"). A snapshot names them by address, where it was asked to: POST
/api/projects/ID/exports/ {"serialization_options": {"annotations__completed_by": {"only_id": false}}}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sft_assets.reviews.answers import Answer
from sft_assets.reviews.queue import Item, Queue
from sft_assets.reviews.tools.shown import HINTS, HOTKEYS, NOTHING, Turn, answer, choices, context, left, right

TASKS, CONFIG = "label_studio.json", "label_studio.xml"
PREFIX = "sft_"

# ------------------------------------------------------------------------------------------------------------- writing


def write(queue: Queue, folder: Path) -> list[Path]:
    """Write the tasks, and the labelling config of their project. The files."""
    tasks, config = folder / TASKS, folder / CONFIG
    both = [(item, right(item)) for item in queue.items]
    compared = any(other for _, other in both)
    tasks.write_bytes(orjson.dumps([task(item, other, compared) for item, other in both], option=orjson.OPT_INDENT_2))
    config.write_text(labelling_config(compared), encoding="utf-8")
    return [tasks, config]


def task(item: Item, other: list[Turn], compared: bool) -> dict[str, Any]:
    """An item as a task. other: what it is compared with. compared: whether the config has a place for that."""
    data = {
        "queue": item.queue,
        "number": item.number,
        "row_id": str(item.row_id),
        "content_hash": str(item.content_hash),
        "question": item.question,
        "context": context(item),
        "asked": item.asked,
        "about": item.about,
        "reviewers": ", ".join(item.reviewers),
        "choices": [{"value": one, "hint": HINTS[one], "hotkey": HOTKEYS[one]} for one in choices(item)],
        "messages": [turn._asdict() for turn in left(item)],
        "answer": answer(item),
    }
    if compared:
        data["compared"] = [turn._asdict() for turn in other or [Turn("", NOTHING)]]
    return {"data": {PREFIX + name: value for name, value in data.items()}}


def labelling_config(compared: bool) -> str:
    """The labelling config. No text of a row stands in it: fields are named, and Label Studio shows them as text."""
    other = _paragraphs("compared", "$sft_compared") if compared else ""
    return f"""<View>
  <Style>
    .sft {{ display: flex; gap: 1rem; align-items: flex-start; }}
    .sft &gt; * {{ flex: 1; min-width: 0; }}
    .sft [class*=phrase] {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
    .sft [class*=time], .sft [class*=selectAllBtn] {{ display: none; }}
    .sft-small * {{ font-size: 0.9rem; font-weight: 400; line-height: 1.4; }}
  </Style>
  <Header value="$sft_question" size="4"/>
  <View className="sft-small"><Header value="$sft_context" size="6"/></View>
  <View className="sft">
    {_paragraphs("row", "$sft_messages")}{other}
  </View>
  <View className="sft-small"><Header value="What do you decide? Skip the task if you have no opinion." size="6"/></View>
  <Choices name="decision" toName="row" choice="single-radio" showInline="true" value="$sft_choices" required="true"
           requiredMessage="Choose a decision, or skip the task."/>
  <View visibleWhen="choice-selected" whenTagName="decision" whenChoiceValue="edit">
    <Header value="The answer as it should be" size="6"/>
    <TextArea name="answer" toName="row" value="$sft_answer" rows="8" editable="true" maxSubmissions="1"/>
  </View>
  <TextArea name="why" toName="row" placeholder="Why? (may stay empty)" rows="2" editable="true" maxSubmissions="1"/>
</View>
"""


def _paragraphs(name: str, value: str) -> str:
    return f'<View><Paragraphs name="{name}" value="{value}" layout="dialogue" nameKey="who" textKey="text"/></View>'


# ------------------------------------------------------------------------------------------------------------- reading


def is_export(data: Any) -> bool:
    """Whether this is what Label Studio exports: tasks with annotations (JSON), or an object an annotation (JSON_MIN)."""
    return isinstance(data, list) and any(
        isinstance(one, dict) and ((isinstance(one.get("data"), dict) and "annotations" in one) or f"{PREFIX}row_id" in one)
        for one in data
    )


def read(path: Path, data: Any) -> Iterator[Answer]:
    """The answers of an export, one for each annotation; a task that nobody annotated is one that says nothing."""
    for number, one in enumerate(data, 1):
        place = f"{path.name}: task {one['id']}" if isinstance(one, dict) and "id" in one else f"{path.name}: entry {number}"
        if not isinstance(one, dict):
            yield Answer(place, wrong="is no JSON object", text=_text(one))
        elif isinstance(fields := one.get("data", one), dict) and f"{PREFIX}row_id" in fields:
            yield from _answers(place, one, _item(fields))
        else:
            yield Answer(place, wrong=f"is no task of a queue: it has no {PREFIX}row_id", text=_text(one))


def _answers(place: str, one: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[Answer]:
    if "data" not in one:
        yield _minimal(place, one, item)
        return
    made = one.get("annotations") or []
    if not made:
        yield Answer(place, **item)
    for annotation in made:
        where = f"{place}, annotation {annotation.get('id', '?')}" if isinstance(annotation, dict) else place
        try:
            yield _annotation(where, annotation, item)
        except (AttributeError, KeyError, TypeError):
            yield Answer(where, **item, wrong="is no annotation of Label Studio's JSON export", text=_text(annotation))


def _annotation(place: str, annotation: Mapping[str, Any], item: Mapping[str, Any]) -> Answer:
    said: dict[str, list[str]] = {}
    for region in annotation.get("result") or []:
        value = region.get("value") or {}
        said.setdefault(region.get("from_name", ""), []).extend(map(str, value.get("choices") or value.get("text") or []))
    by = _reviewer(annotation.get("completed_by"))
    time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    decision = "skip" if annotation.get("was_cancelled") else ", ".join(said.get("decision", []))
    return _answer(place, item, decision, "\n".join(said.get("answer", [])), "\n".join(said.get("why", [])), by, time)


def _minimal(place: str, one: Mapping[str, Any], item: Mapping[str, Any]) -> Answer:
    """JSON_MIN: what a control gave once stands there as a text, what it gave several times as a list."""

    def said(name: str, glue: str) -> str:
        value = one.get(name) or ""
        return glue.join(map(str, value)) if isinstance(value, list) else str(value)

    by, time = _reviewer(one.get("annotator")), str(one.get("updated_at") or one.get("created_at") or "")
    return _answer(place, item, said("decision", ", "), said("answer", "\n"), said("why", "\n"), by, time)


def _answer(place: str, item: Mapping[str, Any], decision: str, text: str, why: str, by: str, time: str) -> Answer:
    # the text field is filled in beforehand: what it says is an answer only where it was to be edited
    return Answer(
        place, **item, decision=decision, answer=text if decision == "edit" else None, why=why, reviewer=by, time=time
    )


def _reviewer(by: Any) -> str:
    """Who annotated: the export names users by an object, their address, or their number."""
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    return f"annotator {by}" if isinstance(by, int) else str(by or "")


def _item(fields: Mapping[str, Any]) -> dict[str, Any]:
    number = fields.get(f"{PREFIX}number")
    texts = {name: str(fields.get(PREFIX + name) or "") for name in ("queue", "row_id", "content_hash")}
    return {**texts, "number": number if isinstance(number, int) else None}


def _text(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
