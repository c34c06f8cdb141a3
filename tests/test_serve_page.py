"""The Dagster UI behind the guard, in a real browser: what a lead looks at and presses, and that nothing leaves loopback."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sft_assets.definitions import ASSETS
from sft_assets.folder import Folder
from sft_assets.runs import INPUTS
from sft_assets.verbs import Workspace
from tests.chromium import Page, needs_chromium, tab
from tests.conftest import rows
from tests.served import PATIENCE, Served, wait_for

pytestmark = [pytest.mark.xdist_group("live"), pytest.mark.timeout(1800), needs_chromium]
EXPAND = "document.body.dispatchEvent(new KeyboardEvent('keydown', {code: 'KeyE', key: 'e', altKey: true, bubbles: true}))"
NODES = "[...document.querySelectorAll('foreignObject')].map(e => e.textContent)"
MATERIALIZE = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'Materialize' && !b.disabled)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with tab(tmp_path_factory.mktemp("chromium") / "profile", None, (2400, 3600)) as page:
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        yield page


def go(page: Page, server: Served, path: str) -> None:
    page.events.clear()
    page.call("Page.navigate", url=server.address + path)


def says(page: Page, text: str) -> None:
    page.until(f"!!document.body && document.body.innerText.toLowerCase().includes({text.lower()!r})")


def assert_quiet(page: Page, server: Served) -> None:
    """Nothing was asked of anybody else, and neither the guard nor a policy refused anything that the UI asked for."""
    time.sleep(1)
    page.value("1")  # what came meanwhile is read with the answer

    def told(method: str) -> list[dict[str, Any]]:
        return [e["params"] for e in page.events if e["method"] == method]

    asked = {e["request"]["url"] for e in told("Network.requestWillBeSent")} | {
        e["url"] for e in told("Network.webSocketCreated")
    }
    ours = (server.address, server.address.replace("http", "ws"), "data:", "blob:")
    assert asked and not [url for url in asked if not url.startswith(ours)]
    answers = [(e["response"]["url"], e["response"]["status"]) for e in told("Network.responseReceived")]
    assert not [answer for answer in answers if answer[1] >= 400]
    entries = [e["entry"] for e in told("Log.entryAdded")]
    assert not [e for e in entries if e["source"] == "security" or "Content Security Policy" in e["text"]]
    assert not told("Runtime.exceptionThrown")


def test_the_graph_shows_every_asset(live: tuple[Folder, Served], page: Page) -> None:
    _, server = live
    go(page, server, "/asset-groups")
    says(page, "Materialize all")
    page.until(f"{NODES}.length >= 3")  # the groups
    page.value(EXPAND)

    def missing() -> list[str]:
        shown = [re.escape(text).replace("…", ".+") for text in page.value(NODES)]
        return [n for n in (*(a.name for a in ASSETS), *INPUTS) if not any(re.match(text, n) for text in shown if text)]

    wait_for(lambda: not missing(), PATIENCE, "every asset to be drawn")
    assert_quiet(page, server)


def test_the_page_of_an_asset_shows_rows_columns_and_checks(live: tuple[Folder, Served], page: Page) -> None:
    folder, server = live
    ((count,),) = rows(folder, "SELECT count(*) FROM combined")
    go(page, server, "/assets/combined?view=overview")
    says(page, f"row count\n{count}")
    for column in ("row_id", "content_hash", "messages"):
        says(page, column)
    assert_quiet(page, server)
    go(page, server, "/assets/combined?view=checks")
    says(page, "balance")
    page.until("/succeeded|passed/i.test(document.body.innerText)")
    assert_quiet(page, server)


def test_an_asset_is_materialized_from_its_page(live: tuple[Folder, Served], page: Page) -> None:
    folder, server = live
    instance = Workspace.open(folder.root).instance
    before = {run.run_id for run in instance.get_runs()}
    go(page, server, "/assets/combined?view=overview")
    page.until(f"!!({MATERIALIZE})")
    page.value(f"({MATERIALIZE}).click()")

    def ended() -> Any:
        return [run for run in instance.get_runs() if run.run_id not in before and run.is_finished]

    runs = wait_for(ended, PATIENCE, "a run to end")
    assert [run.status.value for run in runs] == ["SUCCESS"]
    assert_quiet(page, server)


def test_from_the_start_one_comes_to_the_map(live: tuple[Folder, Served], page: Page) -> None:
    _, server = live
    go(page, server, "/start")
    says(page, "The Dagster UI")
    page.value("[...document.querySelectorAll('a')].find(a => a.innerText === 'The map').click()")
    page.until("location.pathname === '/map' && !!document.body?.dataset.ready")
    assert_quiet(page, server)


def test_a_script_in_a_report_can_ask_the_server_for_nothing(live: tuple[Folder, Served], page: Page) -> None:
    folder, server = live
    report = folder.root / "report.html"
    kept = report.read_bytes() if report.exists() else None
    script = """fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({query: "{ version }"})}).then(a => a.text(), () => "refused").then(t => document.title = t)"""
    policy = "default-src 'none'; script-src 'unsafe-inline'; connect-src *"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    report.write_text(f"<!doctype html>{meta}<title>waits</title><body><p>A report</p><script>{script}</script>")
    try:
        go(page, server, "/report")
        says(page, "A report")
        page.until("document.title !== 'waits'")
        assert page.value("document.title") == "refused"
        assert page.value("(() => { try { return document.cookie } catch { return 'none' } })()") == "none"
    finally:
        report.unlink() if kept is None else report.write_bytes(kept)
