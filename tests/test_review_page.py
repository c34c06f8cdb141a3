"""The review page in a real browser: what a person decides by keyboard is recorded once, whatever dies meanwhile."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from sft_assets import reviews, verbs
from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.reviews import Decision
from sft_assets.reviews.queue import Item, Mark, Other, Queue, save
from sft_assets.reviews.queue.item import name_of
from sft_assets.serve import review
from sft_assets.serve.guard import Guard, Rules
from sft_assets.serve.review.differences import differences
from sft_assets.serve.review.shown import pieces, shown
from tests.chromium import CONTROL, PATIENCE, Page, Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS, build, fresh, put, rows, say
from tests.served import Answer, Served, free_port, served

pytestmark = pytest.mark.xdist_group("chromium")
ALL = ("keep", "drop", "edit", "review", "skip")
MARKUP = (
    '<script>alert(1)</script><img src="http://evil.example/x.png" onerror="alert(2)"></textarea><svg onload=alert(3)>'
    '<a href="javascript:alert(4)">{{7*7}}</a>\u202etxt.exe\u202c nul \x00 bom \ufeff'
)


# ------------------------------------------------------------------------------------------------------------- made things


def turns(*texts: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for role, text in zip(roles * len(texts), texts, strict=False)]


def an_item(number: int, **values: Any) -> dict[str, Any]:
    """An item without its queue: what `values` does not say is the same for all."""
    usual = {
        "number": number,
        "row_id": UUID(int=number << 96 | 1),
        "content_hash": UUID(int=number << 96 | 2),
        "asked": "audit",
        "about": "scored kept",
        "audit": True,
        "state": "scored",
        "verdict": "kept",
        "question": f"Is row {number} good enough to be trained on?",
        "choices": list(ALL),
        "messages": turns(f"Question {number}?", f"Answer {number}."),
    }
    return usual | values


def a_queue(folder: Folder, items: list[dict[str, Any]], seed: int = 0) -> str:
    """Put a queue into a folder; its name."""
    now = datetime(2026, 1, 2, 3, 4, 5 + seed, tzinfo=UTC)
    name = name_of(now, str(seed).encode())
    made = tuple(Item.model_validate({**item, "queue": name}) for item in items)
    save(folder, Queue(name=name, time=now, budget=len(items), seed=seed, items=made))
    return name


def two_answers(number: int) -> dict[str, Any]:
    other = Other(
        what="row",
        row_id=UUID(int=number << 96 | 3),
        content_hash=UUID(int=4),
        messages=turns("Moons of Mars?", "Two of them."),
    )
    return an_item(
        number, asked="conflict", about="deduped conflict_group", state="augmented", audit=False, other=other,
        choices=["prefer_a", "prefer_b", "tie", "skip"], messages=turns("Moons of Mars?", "Mars has two."),
    )  # fmt: skip


def log(folder: Folder) -> tuple[Decision, ...]:
    return reviews.read(folder).log


def said(folder: Folder, items: Callable[[Decision], bool] = lambda _: True) -> list[tuple[int, str]]:
    """Number and decision of each line of reviews.jsonl."""
    return [(one.row_id.int >> 96, one.decision) for one in log(folder) if items(one)]


@contextmanager
def answering(folder: Folder, port: int | None = None, read_only: bool = False) -> Iterator[Served]:
    """The page's own routes behind the guard, and nothing else of `sft serve`."""
    rules = Rules(port or free_port(), None, read_only)
    app = Guard(Starlette(routes=review.routes(folder, rules)), rules)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=rules.port, lifespan="off", log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    assert server.started
    try:
        yield Served(None, rules.port, folder.root / "log")  # type: ignore[arg-type]
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return fresh(tmp_path / "data")


def told(answer: Answer) -> Any:
    return json.loads(answer.body)


# -------------------------------------------------------------------------------------------------------------- a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Proxy]]:
    proxy = Proxy()
    proxy.start()
    try:
        with tab(tmp_path_factory.mktemp("chromium") / "profile", proxy, (1280, 800)) as page:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            yield page, proxy
    finally:
        proxy.listener.close()


def go(page: Page, server: Served, reviewer: str = "ann") -> None:
    page.events.clear()
    page.call("Page.navigate", url=f"{server.address}/review?reviewer={reviewer}")
    rests(page)


def rests(page: Page, shows: str = "") -> None:
    """Wait until the page takes the next key."""
    more = f" && document.body.dataset.shows === {shows!r}" if shows else ""
    page.until(f"document.body?.dataset.busy === 'no' && location.pathname === '/review'{more}")


def at(page: Page) -> int:
    """The number of the item that is shown."""
    rests(page, "item")
    return int(page.value("document.body.dataset.number"))


def press(page: Page, key: str, modifiers: int = 0) -> None:
    page.press(key, modifiers)
    rests(page)


def paused(page: Page, count: int = 1) -> list[str]:
    """The requests that the browser holds back, as soon as there are so many."""
    end = time.monotonic() + PATIENCE
    while len(found := [e["params"]["requestId"] for e in page.events if e["method"] == "Fetch.requestPaused"]) < count:
        assert time.monotonic() < end, f"waited for {count} requests; there are {len(found)}"
        page.value("new Promise(done => setTimeout(done, 20))")  # events come with the answer
    return found


def status(page: Page) -> str:
    return str(page.value("document.getElementById('said').textContent"))


def assert_quiet(page: Page, server: Served, proxy: Proxy) -> None:
    """Nothing was asked of anybody else, refused by the policy, thrown or opened."""
    page.value("new Promise(done => setTimeout(done, 200))")
    asked = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
    assert asked and [url for url in asked if not url.startswith(f"{server.address}/review")] == []
    kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening", "Page.windowOpen")
    assert [e["params"] for e in page.events if e["method"] in kinds] == []
    assert [line for line in proxy.asked if "evil.example" in line] == []


@contextmanager
def own(profile: Path) -> Iterator[Page]:
    """A browser that can be killed: its profile stays, and another one goes on with it."""
    (profile / "DevToolsActivePort").unlink(missing_ok=True)
    with tab(profile, None, (1280, 800)) as page:
        yield page


def kill(profile: Path) -> None:
    """SIGKILL to every process of the browser over a profile."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(str(profile) in part for part in process.cmdline()):
                process.kill()
        except psutil.NoSuchProcess:
            pass


# ------------------------------------------------------------------------------------------------- nothing lost, nothing twice


@needs_chromium
@pytest.mark.xdist_group("live")
@pytest.mark.timeout(1800)
def test_of_fifty_decisions_none_is_lost_or_doubled_when_browser_and_server_are_killed(tmp_path: Path) -> None:
    folder = verbs.init(tmp_path / "data")
    folder.recipe.write_text(json.dumps(NO_MODELS))
    name = a_queue(folder, [an_item(n) for n in range(1, 51)])
    keys = {n: "kdrs"[n % 4] for n in range(1, 51)}
    port, profile, pressed = free_port(), tmp_path / "profile", dict[int, str]()

    def decide(page: Page, until: int) -> None:
        while (number := at(page)) <= until:
            pressed[number] = keys[number]
            page.press(keys[number])
            page.until(f"document.body.dataset.busy === 'no' && document.body.dataset.number !== '{number}'")

    with served(folder, port=port) as server:
        assert b'href="/review"' in server.ask("/start").body
        with own(profile) as page:
            go(page, server)
            decide(page, 17)
            page.press(keys[18])  # is on its way when the browser dies
            kill(profile)
        with own(profile) as page:
            page.call("Page.navigate", url=f"{server.address}/review")  # who reviews is remembered
            rests(page)
            pressed[18] = keys[18]
            assert at(page) in (18, 19)  # the key came before the kill, or after it
            decide(page, 30)
            server.end(signal.SIGKILL)
            page.press(keys[31])
            pressed[31] = keys[31]
            page.until("!document.getElementById('banner').hidden")
            assert "kept in this browser" in page.value("document.getElementById('banner').textContent")
            assert len(log(folder)) == 30
            with served(folder, port=port):
                page.until("document.body.dataset.number === '32'")
                assert page.value("document.getElementById('banner').hidden")
                while page.value("document.body.dataset.shows") == "item":
                    number = at(page)
                    pressed[number] = keys[number]
                    page.press(keys[number])
                    page.until(f"document.body.dataset.busy === 'no' && (document.body.dataset.shows === 'done' || "
                               f"document.body.dataset.number !== '{number}')")  # fmt: skip
                page.until("document.getElementById('done').innerText.includes('sft run')")
    verdicts = {"k": "keep", "d": "drop", "r": "review", "s": "skip"}
    assert said(folder) == [(n, verdicts[pressed[n]]) for n in range(1, 51)]
    assert {(one.queue, one.reviewer, one.tool, one.audit) for one in log(folder)} == {(name, "ann", "page", True)}


@needs_chromium
def test_a_decision_made_while_the_server_is_away_outlives_the_browser(folder: Folder, tmp_path: Path) -> None:
    a_queue(folder, [an_item(n) for n in range(1, 4)])
    profile = tmp_path / "profile"
    with answering(folder) as server, own(profile) as page:
        go(page, server)
        press(page, "w")
        page.type("so it is")
        press(page, "Enter")
    with own(profile) as page:
        with answering(folder, server.port):
            go(page, server)
            assert page.value("document.getElementById('why').value") == "so it is"
        page.press("d")
        page.until("!document.getElementById('banner').hidden")
        kill(profile)
    assert log(folder) == ()
    with answering(folder, server.port), own(profile) as page:
        go(page, server)
        assert at(page) == 2 and "arrived" in status(page)
    assert [(one.decision, one.why) for one in log(folder)] == [("drop", "so it is")]


@needs_chromium
def test_a_half_typed_answer_outlives_the_browser(folder: Folder, tmp_path: Path) -> None:
    a_queue(folder, [an_item(1)])
    profile = tmp_path / "profile"
    with answering(folder) as server:
        with own(profile) as page:
            go(page, server)
            press(page, "e")
            page.type("Better: ")
            there = (
                "import('/review/kept.js').then(k => k.all('draft')).then(all => all.some(d => d.edit?.startsWith('Better: ')))"
            )
            page.until(there)  # a moment after the last key
            kill(profile)
        with own(profile) as page:
            go(page, server)
            assert "began to edit" in status(page)
            press(page, "e")
            assert page.value("document.querySelector('textarea').value") == "Better: Answer 1."
            page.press("Enter", CONTROL)
            rests(page, "done")
    assert [(one.decision, one.answer) for one in log(folder)] == [("edit", "Better: Answer 1.")]


@needs_chromium
def test_what_is_taken_back_while_the_server_is_away_is_taken_back_when_it_is_there(
    folder: Folder, browser: tuple[Page, Proxy]
) -> None:
    page, _ = browser
    a_queue(folder, [an_item(n) for n in range(1, 4)])
    with answering(folder) as server:
        go(page, server)
        press(page, "k")
    page.press("u")
    page.until("!document.getElementById('banner').hidden")
    page.call("Page.navigate", url="about:blank")  # nothing is left of the page but what the browser keeps
    with answering(folder, server.port):
        go(page, server)
        assert at(page) == 1 and "taken back" in status(page)
    assert said(folder) == [(1, "keep"), (1, "undo")]


@needs_chromium
def test_what_is_typed_before_the_next_item_is_there_decides_nothing(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    a_queue(folder, [an_item(n) for n in range(1, 4)])
    with answering(folder) as server:
        page.call(
            "Fetch.enable", patterns=[{"urlPattern": "*/review/item?*number=2"}, {"urlPattern": "*/review/item?*number=3"}]
        )
        go(page, server)
        paused(page, 1)  # the next one is asked for in advance
        press(page, "e")
        page.type("Better: ")
        page.press("Enter", CONTROL)
        paused(page, 2)
        page.type("more")
        page.value("new Promise(done => setTimeout(done, 300))")  # a draft would be kept by now
        for request in paused(page, 2):
            page.call("Fetch.continueRequest", requestId=request)
        page.until("document.body.dataset.busy === 'no' && document.body.dataset.number === '2'")
        press(page, "e")
        assert page.value("document.querySelector('textarea').value") == "Answer 2."
        escape = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"
        assert page.value(f"{escape}; document.activeElement.id") == "question"  # at once: the next key decides
        page.press("k")
        paused(page, 4)
        page.type("wd")
        page.call("Fetch.disable")
        page.until("document.body.dataset.busy === 'no' && document.body.dataset.number === '3'")
        page.type("drops it")
        assert page.value("document.getElementById('why').value") == "drops it" and at(page) == 3
    assert said(folder) == [(1, "edit"), (2, "keep")]


@needs_chromium
def test_a_decision_whose_answer_was_lost_is_recorded_once(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    a_queue(folder, [an_item(n) for n in range(1, 4)])
    with answering(folder) as server:
        go(page, server)
        page.call("Fetch.enable", patterns=[{"urlPattern": "*/review/decide", "requestStage": "Response"}])
        page.press("k")
        (request,) = paused(page)
        assert said(folder) == [(1, "keep")]  # the server has it, the page does not know
        page.call("Fetch.failRequest", requestId=request, errorReason="ConnectionReset")
        page.call("Fetch.disable")
        page.until("document.body.dataset.number === '2'")
        press(page, "d")
    assert said(folder) == [(1, "keep"), (2, "drop")]


def test_reviewers_and_repeated_requests_do_not_disturb_each_other(folder: Folder) -> None:
    name = a_queue(folder, [an_item(n) for n in range(1, 11)])
    with answering(folder) as server:
        asked = [
            {"queue": name, "number": n, "reviewer": reviewer, "decision": decision, "why": "", "answer": None}
            for n in range(1, 11)
            for reviewer, decision in (("ann", "keep"), ("bob", "drop"))
            for _ in range(3)
        ]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda body: server.ask("/review/decide", body), asked))
        assert {answer.status for answer in answers} == {200}
        of_ann, of_bob = (told(server.ask(f"/review/state?queue={name}&reviewer={who}")) for who in ("ann", "bob"))
    assert Counter((one.reviewer, one.row_id.int >> 96, one.decision) for one in log(folder)) == Counter(
        {(who, n, what): 1 for n in range(1, 11) for who, what in (("ann", "keep"), ("bob", "drop"))}
    )
    assert {one["decision"] for one in of_ann["items"]} == {"keep"} and {one["decision"] for one in of_bob["items"]} == {"drop"}


# -------------------------------------------------------------------------------------------------------------- by keyboard


@needs_chromium
def test_an_answer_is_edited_preferred_marked_and_taken_back(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, proxy = browser
    windows = an_item(4, messages=turns("Two lines?", "one\r\ntwo"))
    a_queue(folder, [an_item(1), two_answers(2), two_answers(3), windows, two_answers(5), an_item(6)])
    with answering(folder) as server:
        go(page, server, "Ann%20%20Lee")
        press(page, "e")
        page.type("k and d are letters here: ")
        page.press("Enter", CONTROL)
        page.until("document.body.dataset.number === '2'")
        press(page, "k")
        assert at(page) == 2 and "no answer to this question" in status(page)
        press(page, "b")
        press(page, "t")
        press(page, "e")
        page.type("0: ")
        page.press("Enter", CONTROL)
        page.until("document.body.dataset.number === '5'")
        press(page, "a")
        press(page, "w")
        page.type("needs a second look")
        press(page, "Enter")
        press(page, "r")
        rests(page, "done")
        press(page, "u")  # the last one
        assert at(page) == 6 and page.value("document.getElementById('why').value") == "needs a second look"
        press(page, "k")
        press(page, "ArrowLeft")
        press(page, "ArrowLeft")
        assert at(page) == 5 and "A is better" in status(page)
        press(page, "u")  # the one that is shown
        assert at(page) == 5 and page.value("document.querySelector('[aria-pressed=true]')") is None
        press(page, "b")
        assert_quiet(page, server, proxy)
    made = [(one.row_id.int >> 96, one.decision, one.answer) for one in log(folder)]
    assert [one[:2] for one in made] == [
        (1, "edit"), (2, "prefer_b"), (3, "tie"), (4, "edit"), (5, "prefer_a"), (6, "review"), (6, "undo"), (6, "keep"),
        (5, "undo"), (5, "prefer_b"),
    ]  # fmt: skip
    assert [answer for *_, answer in made if answer] == ["k and d are letters here: Answer 1.", "0: one\r\ntwo"]
    assert {one.reviewer for one in log(folder)} == {"Ann Lee"}
    assert [one.why for one in log(folder) if one.decision == "review"] == ["needs a second look"]
    assert {one.row_id.int >> 96: one.decision for one in reviews.read(folder).decisions} == {
        1: "edit", 2: "prefer_b", 3: "tie", 4: "edit", 5: "prefer_b", 6: "keep",
    }  # fmt: skip


@needs_chromium
def test_a_first_visit_asks_who_and_which_queue_and_the_next_one_does_not(folder: Folder, tmp_path: Path) -> None:
    with answering(folder) as server, own(tmp_path / "profile") as page:
        page.call("Page.navigate", url=f"{server.address}/review")
        page.until("document.body?.dataset.shows === 'none'")
        assert f"sft review export --data {folder}" in page.value("document.getElementById('none').textContent")
        older, newer = a_queue(folder, [an_item(1)], seed=0), a_queue(folder, [an_item(1), an_item(2)], seed=1)
        page.call("Page.navigate", url=f"{server.address}/review")
        page.until("document.body?.dataset.shows === 'start' && document.activeElement.id === 'name'")
        page.type("ann")
        press(page, "Enter")
        press(page, "k")
        page.value(f"(q => {{ q.value = {older!r}; q.dispatchEvent(new Event('change')) }})(document.getElementById('queue'))")
        page.until("document.getElementById('count').textContent === '0 of 1'")
        press(page, "d")
        rests(page, "done")
        page.call("Page.navigate", url=f"{server.address}/review")
        page.until("document.body.dataset.shows === 'item'")
        assert at(page) == 2
    assert [(one.queue, one.reviewer, one.decision) for one in log(folder)] == [(newer, "ann", "keep"), (older, "ann", "drop")]


@needs_chromium
def test_one_goes_about_without_deciding(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    a_queue(folder, [an_item(n) for n in range(1, 6)])
    with answering(folder) as server:
        go(page, server)
        press(page, "ArrowRight")
        press(page, "k")
        assert at(page) == 3
        press(page, "ArrowLeft")
        assert at(page) == 2 and "You said: keep" in status(page)
        press(page, "ArrowLeft")
        press(page, "j")
        assert at(page) == 3  # the second is answered
        code = {"key": "d", "code": "KeyD", "windowsVirtualKeyCode": 68}
        for repeat in (False, True, True, True):  # a key that is held
            page.call("Input.dispatchKeyEvent", type="keyDown", text="d", autoRepeat=repeat, **code)
            rests(page)
        page.call("Input.dispatchKeyEvent", type="keyUp", **code)
        assert at(page) == 4
        press(page, "d", CONTROL)  # a key of the browser's
        press(page, "?")
        press(page, "k")  # behind the help nothing is decided
        assert page.value("document.getElementById('help').open")
        press(page, "Escape")
        go(page, server)  # loaded again, it goes on where nothing was said yet
        assert at(page) == 1
    assert said(folder) == [(2, "keep"), (3, "drop")]


@needs_chromium
def test_the_mouse_and_a_screen_reader_find_everything(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    a_queue(folder, [an_item(1), an_item(2)])
    with answering(folder) as server:
        go(page, server)
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        there = {(n["role"]["value"], n.get("name", {}).get("value", "").strip()) for n in nodes if not n["ignored"]}
        names = {name for role, name in there if role == "button"}
        assert all(any(word in name for name in names) for word in ("Keep", "Drop", "Edit the answer", "Skip", "Undo", "Keys"))
        assert ("heading", "Is row 1 good enough to be trained on?") in there
        assert any(role == "textbox" and "Why" in name for role, name in there)
        assert page.value("document.activeElement.id") == "question"  # what is read out first
        drop = "document.querySelector('[data-decision=drop]').getBoundingClientRect()"
        page.click(*page.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({drop})"))
        page.until("document.body.dataset.number === '2'")
        assert page.value("document.getElementById('count').textContent") == "1 of 2"
        assert page.value("document.getElementById('count').getAttribute('role')") == "status"
    assert said(folder) == [(1, "drop")]


@needs_chromium
@pytest.mark.parametrize("width", [380, 760, 1280])
def test_nothing_is_cut_off_in_a_narrow_window(folder: Folder, browser: tuple[Page, Proxy], width: int) -> None:
    page, _ = browser
    long = an_item(1, messages=turns("w" * 3000, "x " * 50 + MARKUP), other=Other(what="row", messages=turns("y" * 900, "z")))
    a_queue(folder, [long | {"signals": {"a_long_name": "v" * 2000}}])
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=760, deviceScaleFactor=1, mobile=False)
    try:
        with answering(folder) as server:
            go(page, server)
            assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            box = page.value("(r => [r.left, r.right])(document.querySelector('[data-decision=skip]').getBoundingClientRect())")
            assert 0 <= box[0] < box[1] <= width
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


# ---------------------------------------------------------------------------------------------------------- text is only text


@needs_chromium
def test_markup_in_a_row_does_nothing_on_the_page(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, proxy = browser
    hostile = an_item(
        1, question=f"Right? {MARKUP}", source=MARKUP, signals={MARKUP: MARKUP}, about=f"scored {MARKUP}", tools=MARKUP,
        messages=[{"role": "user", "content": MARKUP, "name": MARKUP}, {"role": "assistant", "content": MARKUP,
                  "reasoning": MARKUP, "tool_calls": MARKUP}], marks=[Mark(turn=1, start=3, stop=40, why=MARKUP)],
        other=Other(what="test item", name=MARKUP, text=MARKUP), reviewers=["ann", MARKUP],
    )  # fmt: skip
    a_queue(folder, [hostile])
    with answering(folder) as server:
        go(page, server)
        shown_ = page.value("document.getElementById('item').textContent")
        assert "<script>alert(1)</script>" in shown_ and "{{7*7}}" in shown_
        assert "U+202E" in shown_ and "U+0000" in shown_ and "U+FEFF" in shown_
        texts = page.value("[...document.querySelectorAll('#item .text')].map(e => e.textContent).join('')")
        assert not {"\u202e", "\x00", "\ufeff"} & set(texts)
        assert page.value("document.querySelectorAll('#item script, #item img, #item svg, #item a').length") == 0
        press(page, "e")
        assert page.value("document.querySelector('textarea').value") == MARKUP  # an edit loses none of it
        page.type("x")
        page.press("Enter", CONTROL)
        rests(page, "done")
        press(page, "Escape")  # there is nothing to leave any more
        press(page, "u")
        press(page, "e")
        assert page.value("document.querySelector('textarea').value") == f"x{MARKUP}"  # an undo takes back, and forgets nothing
        assert_quiet(page, server, proxy)
    assert log(folder)[0].answer == f"x{MARKUP}"


@needs_chromium
def test_a_very_long_text_is_cut_and_shown_whole_on_request(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    text = ("🦊 and so on, " + "and so on, " * 40) * 450
    a_queue(folder, [an_item(1, messages=turns("?", text), marks=[Mark(turn=2, start=150_000, stop=150_010, why="overlap")])])
    with answering(folder) as server:
        go(page, server)
        shown_ = "[...document.querySelectorAll('.text')].at(-1)"
        assert page.value(f"{shown_}.textContent.length") < 10_000 and "\ufffd" not in page.value(f"{shown_}.textContent")
        more = page.value(f"{shown_}.querySelector('button').textContent")
        assert "Show all" in more and "1 marked" in more
        page.value(f"{shown_}.querySelector('button').click()")
        assert page.value(f"{shown_}.textContent") == text
        assert page.value(f"{shown_}.querySelector('mark').textContent") == text[150_000:150_010]


def test_the_page_may_load_and_ask_this_server_only(folder: Folder) -> None:
    a_queue(folder, [an_item(1)])
    with answering(folder) as server:
        scripts = [f"/review/{name}.js" for name in ("app", "page", "server", "editing", "kept", "view")]
        for path in ("/review", *scripts, "/review/app.css", "/review/state"):
            answer = server.ask(path)
            policy = answer.headers.get_all("Content-Security-Policy")
            assert answer.status == 200 and policy is not None
            parts = dict(part.strip().split(" ", 1) for part in policy[0].split(";"))
            assert parts == {
                "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
                "form-action": "'none'", "base-uri": "'none'", "frame-ancestors": "'none'",
            }  # fmt: skip
        page = server.ask("/review").body.decode()
        assert "<style" not in page and " style=" not in page and " onclick=" not in page and "<script>" not in page
        assert server.status("/review/../pages.py") == 404 and server.status("/review/routes.py") == 404


# ------------------------------------------------------------------------------------------------------------ what is refused


@needs_chromium
def test_a_read_only_server_shows_and_takes_no_decision(folder: Folder, browser: tuple[Page, Proxy]) -> None:
    page, _ = browser
    name = a_queue(folder, [an_item(1), an_item(2)])
    body = {"queue": name, "number": 1, "reviewer": "ann", "decision": "keep"}
    with answering(folder, read_only=True) as server:
        assert server.status("/review/decide", body) == 403 and server.status("/review/undo", body) == 403
        go(page, server)
        press(page, "k")
        assert at(page) == 1 and "read-only" in status(page)
        assert page.value("[...document.querySelectorAll('#decide button')].every(b => b.disabled)")
        press(page, "ArrowRight")
        assert at(page) == 2
    assert log(folder) == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"decision": "prefer_a"}, "no choice"),
        ({"number": 9}, "no item 9"),
        ({"queue": "20260101T000000Z-00000000"}, "was not made from"),
        ({"queue": "../../etc"}, "was not made from"),
        ({"reviewer": "  "}, "nobody is named"),
        ({"reviewer": "a" * 201}, "no name"),
        ({"decision": "edit", "answer": "Answer 1."}, "say keep"),
        ({"decision": "edit", "answer": " "}, "has the new answer"),
        ({"number": "1"}, "number"),
        ({"more": 1}, "more"),
        ({"why": "\ud800"}, "JSON"),
    ],
)
def test_a_request_that_is_no_answer_is_refused_with_a_sentence(folder: Folder, change: dict[str, Any], says: str) -> None:
    name = a_queue(folder, [an_item(1)])
    with answering(folder) as server:
        answer = server.ask("/review/decide", {"queue": name, "number": 1, "reviewer": "ann", "decision": "keep", **change})
        assert answer.status == 400 and says in told(answer)["error"]
        assert server.ask("/review/decide", b"{", Content_Type="application/json").status == 400
        assert server.ask("/review/item?queue=nothing&number=1").status == 400
        assert server.status("/review/decide", b"x" * ((1 << 24) + 1)) == 413
    assert log(folder) == ()


def test_one_sees_the_items_that_are_ones_own(folder: Folder) -> None:
    a_queue(folder, [an_item(1)], seed=0)
    name = a_queue(folder, [an_item(1, reviewers=["ann"]), an_item(2, reviewers=["bob"]), an_item(3)], seed=1)
    with answering(folder) as server:
        for who, numbers in (("ann", [1, 3]), ("bob", [2, 3]), ("cem", [3])):
            found = told(server.ask(f"/review/state?reviewer={who}"))
            assert found["queue"] == name and [one["number"] for one in found["items"]] == numbers
            assert [one["items"] for one in found["queues"]] == [3, 1]


def test_what_is_to_be_made_anew_is_named_until_it_is(folder: Folder) -> None:
    say(folder, **NO_MODELS)
    put(folder, "a.jsonl", [{"instruction": f"Name river {n}.", "output": f"River {n} is long."} for n in "xyz"])
    build(folder, raw, combined, deduped)
    (row_id, content) = rows(folder, "SELECT row_id, content_hash FROM combined ORDER BY row_id")[0]
    name = a_queue(folder, [an_item(1, row_id=row_id, content_hash=content)])
    with answering(folder) as server:
        assert told(server.ask("/review/next"))["stale"] == []
        body = {"queue": name, "number": 1, "reviewer": "ann", "decision": "edit", "answer": "It is short."}
        assert server.status("/review/decide", body) == 200
        found = told(server.ask("/review/next"))
        assert found["stale"] == ["combined"] and found["command"] == f"sft run --data {folder}"
        build(folder, combined)
        assert told(server.ask("/review/next"))["stale"] == []


# -------------------------------------------------------------------------------------------------------------- how it is shown


@given(
    st.text(st.characters(codec="utf-8"), max_size=60), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=4)
)
def test_the_pieces_of_a_text_are_the_text(text: str, spans: list[tuple[int, int]]) -> None:
    marks = [Mark(turn=1, start=min(span), stop=max(span), why="why") for span in spans]
    found = pieces(text, marks, [(min(span), max(span)) for span in spans[:1]])
    marked = {place for mark in marks for place in range(mark.start, min(mark.stop, len(text)))}
    seen = "".join(one["text"] for one in found if not one.get("hidden"))
    assert seen == "".join(one["text"] for one in pieces(text) if not one.get("hidden"))
    if not any(one.get("hidden") for one in found):
        assert seen == text
        assert "".join(one["text"] for one in found if "mark" in one) == "".join(text[place] for place in sorted(marked))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("free\u200bdom", "freeU+200Bdom"),
        ("a\u200fb\u061c", "aU+200FbU+061C"),
        ("ยา\u200bแก้", "ยา\u200bแก้"),
        ("می\u200cخواهم 👩\u200d👧", "می\u200cخواهم 👩\u200d👧"),
        ("one\r\ntwo\rthree", "one\r\ntwoU+000Dthree"),
        ("\x00" * 9, "U+0000 U+0000 U+0000 … 9"),
    ],
)
def test_what_cannot_be_seen_is_named_unless_it_belongs_to_the_spelling(text: str, seen: str) -> None:
    assert "".join(one["text"] for one in pieces(text)) == seen


@given(st.text("ab c.", max_size=40), st.text("ab c.", max_size=40))
def test_what_two_texts_do_not_differ_in_is_the_same_in_both(a: str, b: str) -> None:
    if (both := differences(a, b)) is None:
        return
    rest = [
        "".join(c for place, c in enumerate(text) if not any(start <= place < stop for start, stop in spans)).split()
        for text, spans in zip((a, b), both, strict=True)
    ]
    assert "".join(rest[0]) == "".join(rest[1])


def test_turns_that_both_rows_have_are_shown_once(folder: Folder) -> None:
    found = shown(Item.model_validate({**two_answers(1), "queue": "q"}))
    assert [turn["role"] for turn in found["shared"]] == ["user"]
    assert [[turn["role"] for turn in side["turns"]] for side in found["sides"]] == [["assistant"], ["assistant"]]
    assert [side["title"][:2] for side in found["sides"]] == ["A:", "B:"]
