"""Annotation tools: what they are handed shows an item whole and nothing as markup, and their exports are read back.

tests/label_studio/*.json are exports of a real server; test_label_studio.py makes them (see there).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.reviews.answers import Answer, readers
from sft_assets.reviews.queue import Item, Mark, Queue
from sft_assets.reviews.tools import argilla, label_studio
from sft_assets.reviews.tools.shown import CLOSE, OPEN, choices, context, left, marked, right, visible
from sft_assets.serve.review.shown import pieces
from sft_assets.text.hidden import HIDDEN
from tests.made_queue import NAME, TURNED, item, made_queue
from tests.served import HOSTILE

pytestmark = pytest.mark.xdist_group("review_tools")  # one queue, read once by the SDK
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def queue() -> Queue:
    return made_queue()


# ---------------------------------------------------------------------------------------------------------------- shown


@given(st.text(), st.lists(st.tuples(st.integers(-3, 40), st.integers(-3, 40)), max_size=5))
def test_marks_change_nothing_of_a_text_but_their_own_brackets(text: str, spans: list[tuple[int, int]]) -> None:
    for character in (OPEN, CLOSE, "\r", "\u200b"):  # whether the last two would be seen depends on their neighbours
        text = text.replace(character, "")
    found = marked(text, [Mark(turn=1, start=start, stop=stop) for start, stop in spans])
    assert found.replace(OPEN, "").replace(CLOSE, "") == visible(text)
    inside = "".join(re.findall(f"{OPEN}(.*?){CLOSE}", found, re.DOTALL))
    wanted = {n for start, stop in spans for n in range(max(0, start), min(stop, len(text)))}
    assert inside == "".join(visible(text[n]) for n in sorted(wanted))


def test_nothing_of_a_text_is_hidden() -> None:
    (turn, _) = left(item(1, messages=[{"role": "user\u202e", "content": TURNED}, {"role": "assistant", "content": ""}]))
    assert turn == ("user\\u202e", "pay \\u202e0001\\u202c euros\\u0000 \\u200fnow")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("free\u200bdom so\xadft \u2060", "free\\u200bdom so\\u00adft \\u2060"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("ยา\u200bแก้ می\u200cخواهم", "ยา\u200bแก้ می\u200cخواهم"),
        ("one\r\ntwo\rthree", "one\r\ntwo\\u000dthree"),
    ],
)
def test_what_the_page_names_the_tools_name_too(text: str, seen: str) -> None:
    assert visible(text) == seen
    hidden = any(piece.get("hidden") for piece in pieces(text))
    assert hidden == (seen != text)
    for stop in range(1, len(text)):  # whatever is marked
        assert marked(text, [Mark(turn=1, start=0, stop=stop)]).replace(OPEN, "").replace(CLOSE, "") == seen


def test_a_row_is_shown_with_what_it_is_compared_with(queue: Queue) -> None:
    def shown(number: int) -> tuple[list[str], list[str]]:
        one = queue.items[number - 1]
        return [f"{who}: {text}" for who, text in left(one)], [f"{who}: {text}" for who, text in right(one)]

    assert shown(1) == (
        ["user: What is the ⟦capital⟧ of France?", "assistant: Paris."],
        ["other · user: What is the ⟦capital city⟧ of France?", "other · assistant: Lyon."],
    )
    assert shown(2)[1] == ["test item: [geography 17]\nName the ⟦capital⟧ of France."]
    assert shown(3) == (["A · user: What is the capital of France?", "A · assistant: Paris."], ["B · assistant: ⟦London⟧."])
    assert shown(4)[1] == ["B · user: What is the capital city of France?", "B · assistant: Lyon."]
    assert shown(8)[0][0] == 'tools: [{"name": "add"}]'
    assert shown(8)[0][2:] == [
        'assistant: [tool calls] [{"name": "add", "arguments": "{}"}]',
        "tool: 5",
        "assistant: [reasoning] Easy.\n5",
    ]
    assert context(queue.items[0]) == (
        "it was drawn at random, to learn how often the pipeline is right | deduped near_duplicate | source chats | "
        "jaccard 0.91 | ⟦⟧ differs"
    )


# --------------------------------------------------------------------------------------------------- Label Studio: tasks


@pytest.fixture(scope="module")
def written(queue: Queue, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], ElementTree.Element]:
    """The tasks and the config, as they lie in the files."""
    tasks, config = label_studio.write(queue, tmp_path_factory.mktemp("label-studio"))
    return json.loads(tasks.read_text()), ElementTree.fromstring(config.read_text())


Written = tuple[list[dict[str, Any]], ElementTree.Element]


def test_every_item_is_a_task_whose_fields_cannot_clash_with_those_of_an_export(written: Written, queue: Queue) -> None:
    tasks, _ = written
    assert [set(one) for one in tasks] == [{"data"}] * len(queue.items)
    assert {name[:4] for one in tasks for name in one["data"]} == {"sft_"}
    for one, made in zip(tasks, queue.items, strict=True):
        data = one["data"]
        ids = data["sft_queue"], data["sft_number"], data["sft_row_id"], data["sft_content_hash"]
        assert ids == (NAME, made.number, str(made.row_id), str(made.content_hash))
        assert [choice["value"] for choice in data["sft_choices"]] == [choice for choice in made.choices if choice != "skip"]


def test_every_field_that_the_labelling_config_shows_is_in_every_task(written: Written) -> None:
    tasks, config = written
    fields = {value[1:] for tag in config.iter() for value in tag.attrib.values() if value.startswith("$")}
    assert fields >= {"sft_messages", "sft_compared", "sft_choices", "sft_answer", "sft_question"}
    for one in tasks:
        assert fields <= set(one["data"])
        assert one["data"]["sft_messages"] and one["data"]["sft_compared"]  # an empty list of paragraphs is an error there


def test_the_labelling_config_holds_no_text_of_rows(queue: Queue, written: Written, tmp_path: Path) -> None:
    _, config = label_studio.write(queue, tmp_path)
    one = queue.model_copy(update={"items": tuple(x for x in queue.items if x.number == 1)})
    (tmp_path / "other").mkdir()
    assert label_studio.write(one, tmp_path / "other")[1].read_bytes() == config.read_bytes()
    names = Counter(tag.get("name") for tag in written[1].iter() if tag.get("name"))
    assert names == dict.fromkeys(("row", "compared", "decision", "answer", "why"), 1)


def test_without_anything_to_compare_there_is_no_place_for_it(tmp_path: Path) -> None:
    alone = made_queue().model_copy(update={"items": (item(1), item(2))})
    tasks, config = label_studio.write(alone, tmp_path)
    assert "sft_compared" not in config.read_text() + tasks.read_text()


def test_keys_that_choose_are_different_ones() -> None:
    for one in made_queue().items:
        keys = [choice["hotkey"] for choice in label_studio.task(one, [], False)["data"]["sft_choices"]]
        assert len(set(keys)) == len(keys) == len(choices(one))


# ------------------------------------------------------------------------------------------------- Label Studio: exports


def task(*annotations: Any, number: int = 1, **more: Any) -> dict[str, Any]:
    data = label_studio.task(item(number), [], False)["data"]
    return {"id": number, "data": data, "annotations": list(annotations), **more}


def annotation(decision: str | None = None, answer: str = "", why: str = "", by: Any = 1, **more: Any) -> dict[str, Any]:
    texts = [("answer", answer), ("why", why)]
    result: list[dict[str, Any]] = [
        {"from_name": name, "to_name": "row", "type": "textarea", "value": {"text": [text]}} for name, text in texts if text
    ]
    if decision:
        result.append({"from_name": "decision", "to_name": "row", "type": "choices", "value": {"choices": [decision]}})
    times = {"created_at": "2026-01-02T03:04:05.123Z", "updated_at": "2026-01-02T04:00:00.5Z"}
    return {"id": 7, "completed_by": by, "was_cancelled": False, "result": result, **times, **more}


def read(data: Any) -> list[Answer]:
    assert label_studio.is_export(data)
    return list(label_studio.read(Path("export.json"), data))


def said(found: list[Answer]) -> list[tuple[Any, ...]]:
    return [(a.number, a.reviewer, a.decision, a.answer, a.why) for a in found]


SAID = [
    (1, "annotator 1", "edit", "Paris, in France.", "it says more"),
    (1, "annotator 2", "keep", None, ""),
    (2, "annotator 1", "drop", None, 'because "it" is <b>one</b>'),
    (2, "annotator 2", "skip", None, ""),
    (4, "annotator 1", "prefer_b", None, ""),
    (5, "annotator 1", "edit", f"It is markup: {HOSTILE}", ""),
    (10, "annotator 1", "skip", None, ""),
]


@pytest.mark.parametrize("name", ["export.json", "export_min.json"])
def test_what_a_real_server_exported_is_read(queue: Queue, name: str) -> None:
    path = HERE / "label_studio" / name
    found = readers.read(path)
    assert found[0] == "label-studio"
    answers = [answer for answer in found[1] if not answer.is_blank]
    # JSON_MIN knows no tasks that were skipped
    assert sorted(said(answers)) == [one for one in SAID if name == "export.json" or one[2] != "skip"]
    for answer in found[1]:
        one = queue.items[(answer.number or 0) - 1]
        assert (answer.queue, answer.row_id, answer.content_hash) == (NAME, str(one.row_id), str(one.content_hash))
        assert answer.is_blank or answer.time.startswith("20")
    unanswered = {answer.number for answer in found[1] if answer.is_blank}
    assert {3, 6, 7, 8, 9} <= unanswered  # of the third there is a draft


def test_what_is_in_the_answer_field_counts_only_where_the_answer_was_to_be_edited() -> None:
    found = read([task(annotation("keep", answer="Paris.")), task(annotation("edit", answer="Paris, in France."), number=2)])
    assert said(found) == [
        (1, "annotator 1", "keep", None, ""),
        (2, "annotator 1", "edit", "Paris, in France.", ""),
    ]


def test_a_skipped_task_is_skipped_whatever_was_chosen_before() -> None:
    (answer,) = read([task(annotation("drop", was_cancelled=True))])
    assert (answer.decision, answer.time) == ("skip", "2026-01-02T04:00:00.5Z")


def test_drafts_and_predictions_are_no_answers() -> None:
    guess = annotation("drop")
    (answer,) = read([task(drafts=[guess], predictions=[guess])])
    assert answer.is_blank and answer.row_id == str(item(1).row_id)


@pytest.mark.parametrize(
    ("by", "name"), [({"id": 3, "email": "ann@example.org"}, "ann@example.org"), (3, "annotator 3"), ("ann", "ann"), (None, "")]
)
def test_annotators_are_named_as_well_as_the_export_names_them(by: Any, name: str) -> None:
    assert [answer.reviewer for answer in read([task(annotation("keep", by=by))])] == [name]


@pytest.mark.parametrize(
    "broken", ["text", None, {"result": ["text"]}, {"result": [{"value": 7}]}, {"result": 5}, {"result": [{"from_name": []}]}]
)
def test_a_broken_annotation_is_said_to_be_one_and_the_others_are_read(broken: Any) -> None:
    bad, good = read([task(broken, annotation("keep", by="ann"))])
    assert bad.wrong and bad.place.startswith("export.json: task 1")
    assert (good.decision, good.wrong) == ("keep", "")


def test_tasks_of_another_project_are_refused_one_by_one() -> None:
    foreign = {"id": 5, "data": {"text": "Hello"}, "annotations": [annotation("keep")]}
    found = read([foreign, "text", task(annotation("keep"))])
    assert [bool(answer.wrong) for answer in found] == [True, True, False]
    assert "sft_row_id" in found[0].wrong and json.loads(found[0].text) == foreign


@pytest.mark.parametrize("data", [None, [], {}, [1], [{"row_id": "1"}], {"records": []}, "text"])
def test_other_files_are_no_exports(data: Any) -> None:
    assert not label_studio.is_export(data)
    assert not argilla.is_export(data)


# ------------------------------------------------------------------------------------------------------ Argilla: records


def texts(fields: dict[str, Any]) -> list[str]:
    return [
        text for value in fields.values() for text in ([value] if isinstance(value, str) else [m["content"] for m in value])
    ]


def test_text_in_argilla_is_no_markup_and_reads_as_it_is(queue: Queue) -> None:
    hostile = argilla.record(queue.items[4])["fields"]
    assert not any(re.search("[<>]", text) for one in queue.items for text in texts(argilla.record(one)["fields"]))
    assert unescape(hostile["row"][1]["content"]) == f"It is markup: {HOSTILE}"
    assert unescape(hostile["question"]) == f"Is this right? {HOSTILE}"
    assert not any(field["settings"]["use_markdown"] for field in argilla.settings_of(queue)["fields"])


@pytest.mark.parametrize("shift", range(6))
def test_long_turns_are_handed_out_in_messages_that_the_server_takes(queue: Queue, shift: int) -> None:
    long = item(1, messages=[{"role": "assistant", "content": "." * shift + "a & b " * 9_000}])
    said = argilla.record(long)["fields"]["row"]
    assert len(said) > 1
    assert "".join(unescape(m["content"]) for m in said) == "." * shift + "a & b " * 9_000
    chats = [f for one in (*queue.items, long) for f in argilla.record(one)["fields"].values() if isinstance(f, list)]
    assert all(0 < len(m["content"]) <= 20_000 and 0 < len(m["role"]) <= 20 for chat in chats for m in chat)


def test_the_choices_are_those_of_the_queue_and_as_many_as_the_server_wants() -> None:
    def options(*said: str) -> tuple[list[str], int | None]:
        one = made_queue().model_copy(update={"items": (item(1, choices=[*said, "skip"]),)})
        settings = argilla.settings_of(one)["questions"][0]["settings"]
        return [option["value"] for option in settings["options"]], settings["visible_options"]

    assert options("drop", "keep") == (["keep", "drop"], None)  # it shows three of them or more, or does not count
    assert options("keep", "drop", "tie") == (["keep", "drop", "tie"], 3)
    assert len(options("keep")[0]) > 1  # a question with a single answer is none


def test_the_answer_to_be_fixed_is_suggested_where_it_can_be_fixed(queue: Queue) -> None:
    suggested = {one.number: argilla.record(one)["suggestions"].get("answer", {}).get("value") for one in queue.items}
    assert suggested[1] == "Paris." and suggested[3] is None and suggested[7] is None


# ------------------------------------------------------------------------------------------------------ Argilla: exports


def response(user: str, status: str | None, **values: Any) -> list[dict[str, Any]]:
    return [{"question": name, "value": value, "user": user, "status": status} for name, value in values.items()]


def flat(one: Item, *responses: list[dict[str, Any]]) -> dict[str, Any]:
    """A record as `to_list(flatten=True)` gives it."""
    made = argilla.record(one)
    out = {"id": made["id"], "status": "pending", "_server_id": None, **made["fields"], **made["metadata"]}
    for name in argilla.QUESTIONS:
        some = [r for several in responses for r in several if r["question"] == name]
        if some:
            out |= {f"{name}.responses": [r["value"] for r in some], f"{name}.responses.users": [r["user"] for r in some]}
            out[f"{name}.responses.status"] = [r["status"] for r in some]
    return out


def test_argillas_responses_are_answers_by_user_without_drafts() -> None:
    records = [
        flat(
            item(1),
            response("u1", "submitted", decision="edit", answer="Paris, in France.", why="more"),
            response("u2", "draft", decision="drop"),
            response("u3", "discarded", decision="keep"),
        ),
        flat(item(2), response("u1", "draft", why="hm")),
        flat(item(3), response("u2", "submitted", decision="keep", answer="Paris.")),
    ]
    data = {"users": {"u1": "ann", "u2": "bob"}, "records": records}
    assert argilla.is_export(data) and argilla.is_export(records)
    assert said(list(argilla.read(Path("a.json"), data))) == [
        (1, "ann", "edit", "Paris, in France.", "more"),
        (1, "u3", "skip", None, ""),
        (2, "", "", None, ""),
        (3, "bob", "keep", None, ""),
    ]


@pytest.mark.parametrize(
    ("status", "users", "decisions"),
    [("completed", 1, ["drop"]), ("completed", 2, ["", ""]), ("pending", 1, [""]), (None, 1, [""])],
)
def test_responses_that_may_be_drafts_are_refused_with_the_way_to_export_them(
    status: str | None, users: int, decisions: list[str]
) -> None:
    responses = {"decision": [{"value": "drop", "user_id": f"u{n}"} for n in range(users)]}
    found = list(argilla.read(Path("a.json"), [{**argilla.record(item(1)), "responses": responses, "status": status}]))
    assert [answer.decision for answer in found] == decisions
    assert all("to_list(flatten=True)" in answer.wrong for answer in found if not answer.decision)


@pytest.mark.parametrize("broken", [{"decision": [5]}, {"decision": 5}, {"decision": [{"value": "keep"}]}])
def test_responses_of_another_shape_are_refused_and_the_others_read(broken: Any) -> None:
    records = [{**argilla.record(item(1)), "responses": broken}, flat(item(2), response("u1", "submitted", decision="keep"))]
    bad, good = argilla.read(Path("a.json"), records)
    assert bad.wrong and bad.row_id == str(item(1).row_id)
    assert good.decision == "keep"


# -------------------------------------------------------------------------------------------------- Argilla: the real SDK


@pytest.fixture(scope="module")
def by_the_sdk(queue: Queue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SDK made of the files (see argilla_sdk.py), in a process of its own."""
    root = tmp_path_factory.mktemp("argilla")
    argilla.write(queue, root)
    done = subprocess.run(
        [sys.executable, HERE / "argilla_sdk.py", root / argilla.FOLDER, root], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {"root": root, **json.loads((root / "found.json").read_text())}


def test_the_sdk_reads_the_settings_as_if_they_had_been_made_with_its_classes(by_the_sdk: dict[str, Any]) -> None:
    assert by_the_sdk["settings"] == by_the_sdk["made_by_classes"]


def test_the_sdk_reads_every_record_and_would_send_it_whole(by_the_sdk: dict[str, Any], queue: Queue) -> None:
    for one, sent in zip(queue.items, by_the_sdk["sent"], strict=True):
        made = argilla.record(one)
        assert (sent["external_id"], sent["fields"]) == (made["id"], made["fields"])
        assert sent["metadata"] == made["metadata"]
        assert [s["value"] for s in sent["suggestions"]] == [s["value"] for s in made["suggestions"].values()]


def test_decisions_come_back_from_what_the_sdk_exports(by_the_sdk: dict[str, Any]) -> None:
    path = by_the_sdk["root"] / "answers.json"
    data = json.loads(path.read_text())
    assert argilla.is_export(data)
    found = [a for a in argilla.read(path, data) if not a.is_blank]
    assert said(found) == [
        (1, "ann", "edit", "Paris, in France.", "it says more"),
        (1, "bob", "keep", None, ""),
        (3, "bob", "skip", None, ""),
        (4, "ann", "prefer_b", None, ""),
    ]
    assert not any(answer.wrong for answer in found)
    nested = by_the_sdk["root"] / "to_json.json"
    again = [
        (a.number, a.decision, bool(a.wrong)) for a in argilla.read(nested, json.loads(nested.read_text())) if not a.is_blank
    ]
    assert again == [(1, "", True), (1, "", True), (2, "", True), (3, "", True), (4, "prefer_b", False)]


# ---------------------------------------------------------------------------------------------------------------- hidden


def test_what_cannot_be_seen_is_the_same_for_every_tool(queue: Queue, written: Written) -> None:
    shown = [turn["text"] for one in written[0] for turn in one["data"]["sft_messages"]]
    assert not any(HIDDEN.search(text) for text in shown)
    assert not any(HIDDEN.search(text) for one in queue.items for text in texts(argilla.record(one)["fields"]))
