"""A real Label Studio server: our config and tasks go in, people annotate, and every decision comes back to its row.

`make test-label-studio` installs it and runs these tests; `make test` leaves them out, and reads what the server exported here:
tests/label_studio/export.json and export_min.json, which these tests write where RECORD=1 is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sft_assets import reviews
from sft_assets.combined.asset import combined
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.reviews.answers import Answer
from sft_assets.reviews.queue import Item, Queue, save
from sft_assets.reviews.tools import label_studio
from tests.chromium import Page, Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS, build, put, rows, say
from tests.label_studio.server import ADMIN, PASSWORD, Studio, User, running
from tests.made_queue import NAME, SAY, made_queue
from tests.served import HOSTILE, wait_for

pytestmark = [
    pytest.mark.skipif("TEST_LABEL_STUDIO" not in os.environ, reason="it takes minutes: make test-label-studio"),
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("label-studio"),
]
HERE = Path(__file__).parent / "label_studio"
BOB = "bob@example.org"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with running(tmp_path_factory.mktemp("studio")) as found:
        print(f"Label Studio started in {found.seconds:.0f} seconds")
        yield found


@pytest.fixture(scope="module")
def bob(studio: Studio) -> User:
    return studio.sign_up(BOB)


def project(user: User, title: str, queue: Queue, folder: Path) -> int:
    tasks, config = label_studio.write(queue, folder)
    return user.project(title, config.read_text(), json.loads(tasks.read_text()))


# ------------------------------------------------------------------------------------------------- exports of every shape


@pytest.fixture(scope="module")
def shapes(studio: Studio, bob: User, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The project of the made queue, with answers of two people to some of its items."""
    ann = studio.admin
    found = project(ann, "shapes", made_queue(), tmp_path_factory.mktemp("shapes"))
    tasks = [task["id"] for task in ann.tasks(found)]
    ann.annotate(tasks[0], "edit", "Paris, in France.", "it says more")
    bob.annotate(tasks[0], "keep", "Paris.")
    ann.annotate(tasks[1], "drop", why='because "it" is <b>one</b>')
    bob.annotate(tasks[1], skip=True)
    bob.draft(tasks[2], "drop")
    ann.annotate(tasks[3], "prefer_b")
    ann.annotate(tasks[4], "edit", f"It is markup: {HOSTILE}")
    ann.annotate(tasks[9], skip=True)
    if os.environ.get("RECORD"):
        for name, kind in (("export.json", "JSON"), ("export_min.json", "JSON_MIN")):
            (HERE / name).write_text(json.dumps(ann.export(found, kind), indent=1, ensure_ascii=False) + "\n")
    return found


def test_tasks_come_out_of_the_server_as_they_went_in(studio: Studio, shapes: int) -> None:
    sent = [label_studio.task(item, label_studio.right(item), True)["data"] for item in made_queue().items]
    assert [task["data"] for task in studio.admin.tasks(shapes)] == sent


@pytest.mark.parametrize(("kind", "recorded"), [("JSON", "export.json"), ("JSON_MIN", "export_min.json")])
def test_the_server_exports_as_it_did_when_its_exports_were_recorded(
    studio: Studio, shapes: int, kind: str, recorded: str
) -> None:
    def answers(data: Any) -> list[tuple[Any, ...]]:
        found = label_studio.read(Path(recorded), data)
        return sorted((a.number, a.reviewer, a.decision, a.answer, a.why, a.row_id, a.wrong) for a in found)

    now = studio.admin.export(shapes, kind)
    assert answers(now) == answers(json.loads((HERE / recorded).read_text()))


# -------------------------------------------------------------------------------------------------------- there and back


def queue_of(folder: Folder) -> Queue:
    """A queue of an item about each row of combined."""
    found = rows(folder, "SELECT row_id, content_hash, messages FROM combined ORDER BY messages[1].content")
    items = [
        Item(
            queue=NAME, number=number, row_id=row_id, content_hash=content, asked="audit", about="kept", audit=True,
            state="scored", verdict="kept", question="Is this row right?", choices=SAY,
            messages=[{"role": turn["role"], "content": turn["content"]} for turn in messages],
        )
        for number, (row_id, content, messages) in enumerate(found, 1)
    ]  # fmt: skip
    return made_queue().model_copy(update={"items": tuple(items)})


def test_every_decision_made_in_label_studio_lands_on_its_row(
    studio: Studio, bob: User, folder: Folder, sft: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    say(folder, **NO_MODELS)
    records = [{"instruction": f"What is {n} and one?", "output": f"{n + 1}, I think."} for n in range(6)]
    put(folder, "a.jsonl", [*records, {"instruction": f"Zounds, what is this? {HOSTILE}", "output": HOSTILE}])
    build(folder, raw, combined)
    queue = queue_of(folder)
    save(folder, queue)

    ann = studio.admin
    number = project(ann, "there and back", queue, folder.queues / NAME)
    tasks = {task["data"]["sft_row_id"]: task["id"] for task in ann.tasks(number)}
    answers: list[tuple[User, int, str, str]] = [
        (ann, 1, "keep", ""), (ann, 2, "drop", ""), (ann, 3, "edit", "Three."), (ann, 4, "skip", ""),
        (ann, 7, "edit", f"<b>{HOSTILE}"),
        (bob, 1, "drop", ""), (bob, 2, "drop", ""), (bob, 5, "review", ""),
    ]  # fmt: skip
    for user, item, decision, answer in answers:
        task = tasks[str(queue.items[item - 1].row_id)]
        user.annotate(task, "" if decision == "skip" else decision, answer, f"why {item}", skip=decision == "skip")
    bob.draft(tasks[str(queue.items[5].row_id)], "drop")

    file = tmp_path / "export.json"
    file.write_text(json.dumps(ann.snapshot(number)))
    code, out, err = sft("review", "import", str(file), "--data", str(folder.root))
    assert code == 0, (out, err)
    log = reviews.read(folder).log
    found = sorted((d.reviewer, str(d.row_id), str(d.content_hash), d.decision, d.answer, d.queue) for d in log)
    wanted = [
        (user.email, str(one.row_id), str(one.content_hash), decision, answer or None, NAME)
        for user, item, decision, answer in answers
        for one in [queue.items[item - 1]]
    ]
    assert found == sorted(wanted)
    before = len(log)
    assert sft("review", "import", str(file), "--data", str(folder.root))[0] == 0
    assert len(reviews.read(folder).log) == before


# ------------------------------------------------------------------------------------------------- as people see the page


@needs_chromium
def test_on_its_page_rows_are_text_a_key_chooses_and_what_is_typed_is_the_answer(studio: Studio, tmp_path: Path) -> None:
    ann = studio.admin
    number = project(ann, "page", made_queue(), tmp_path)
    tasks = [task["id"] for task in ann.tasks(number)]
    proxy = Proxy()
    proxy.start()
    with tab(tmp_path / "profile", proxy) as page:
        log_in(page, studio)
        look_at(page, studio, number, tasks[4])
        page.until("document.body.innerText.includes('Is this right? </code>')")
        page.until("document.body.innerText.includes('It is markup: </code>')")
        assert page.value("document.querySelectorAll('img[src*=evil]').length") == 0
        choose(page, "e", "edit")
        page.until("[...document.querySelectorAll('textarea')].some(x => x.value.startsWith('It is markup: </code>'))")
        choose(page, "k", "keep")
        submit(page)
        answered(ann, number, 1)

        look_at(page, studio, number, tasks[0])
        choose(page, "e", "edit")
        page.until("document.querySelector('textarea').value == 'Paris.'")
        write(page, "document.querySelector('textarea')", " In France, <b>yes</b>.\nTwo lines.")
        write(page, "[...document.querySelectorAll('textarea')].at(-1)", "because")
        submit(page)
        found = answered(ann, number, 2)
    said = [(a.number, a.decision, a.answer, a.why) for a in found]
    assert said == [(1, "edit", "Paris. In France, <b>yes</b>.\nTwo lines.", "because"), (5, "keep", None, "")]
    assert not [line for line in proxy.asked if "evil.example" in line]


def look_at(page: Page, studio: Studio, project: int, task: int) -> None:
    page.call("Page.navigate", url=f"{studio.address}/projects/{project}/data?task={task}")
    page.until("!!document.querySelector('input[type=radio][name=keep]')", 120)


def choose(page: Page, key: str, decision: str) -> None:
    """Press a key until it has chosen this for two seconds: the page sets itself up anew while it loads, and forgets."""
    held = 0

    def chosen() -> bool:
        nonlocal held
        held = held + 1 if page.value(f"document.querySelector('input[type=radio][name={decision}]')?.checked") else 0
        if not held:
            page.press(key)
        return held > 4

    wait_for(chosen, 60, f"{key} to choose {decision}")


def submit(page: Page) -> None:
    button = "[...document.querySelectorAll('button')].find(x => x.innerText.trim() == 'Submit').getBoundingClientRect()"
    page.click(*page.value(f"(at => [at.x + at.width / 2, at.y + at.height / 2])({button})"))


def write(page: Page, field: str, text: str) -> None:
    """Type at the end of a text field."""
    page.value(f"(() => {{ const at = {field}; at.focus(); at.setSelectionRange(at.value.length, at.value.length) }})()")
    page.call("Input.insertText", text=text)


def log_in(page: Page, studio: Studio) -> None:
    page.call("Page.navigate", url=f"{studio.address}/user/login/")
    page.until("!!document.querySelector('input[name=password]')", 120)
    page.value(
        f"document.querySelector('input[name=email]').value = {json.dumps(ADMIN)};"
        f"document.querySelector('input[name=password]').value = {json.dumps(PASSWORD)};"
        "document.querySelector('form').submit()"
    )
    page.until("!location.pathname.includes('login') && document.readyState == 'complete'", 120)


def answered(user: User, number: int, count: int) -> list[Answer]:
    """The answers in a project, as soon as there are so many."""

    def found() -> list[Answer]:
        answers = label_studio.read(Path("export.json"), user.export(number))
        return [answer for answer in answers if not answer.is_blank]

    wait_for(lambda: len(found()) >= count, 60, "the annotation")
    return found()
