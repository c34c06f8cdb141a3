"""The report in a real browser: nothing that stands in a row runs, nothing is asked for, and it can be read on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sft_assets.definitions import ASSETS
from sft_assets.folder import Folder
from sft_assets.report.asset import report
from tests.chromium import Page, Proxy, needs_chromium, tab
from tests.conftest import NO_MODELS, build, fresh, put, say

pytestmark = [needs_chromium, pytest.mark.xdist_group("chromium")]
PAYLOADS = [
    "<script>window.hit = 1</script>",
    '"><img src=https://evil.example/a.png onerror="window.hit = 1">',
    "</style><style>body{display:none}</style><link rel=stylesheet href=https://evil.example/a.css>",
    "</bdi></div></section></main><h1 id=broken>mine</h1><iframe src=https://evil.example/></iframe>",
    "<svg onload='window.hit = 1'><use href='https://evil.example/a.svg#a'/></svg>",
    "{{ 7 * 7 }} {% raw %} ${7 * 7} javascript:window.hit=1",
    "\u202eright to left \u2066 \x00 \x1b[31m \x07 end",
    "&lt;script&gt;window.hit = 1&lt;/script&gt; &#60;b&#62;",
]
LONG = "W" * 100_000
ARABIC = "ما هو أطول نهر في هذا الوادي القديم؟"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Payloads in rows that go for every kind of reason, in records that cannot be read, in names and in test items."""
    folder = fresh(tmp_path_factory.mktemp("report") / "data")
    answers = [
        {"instruction": f"{p} Is that all there is to say number {i}?", "output": f"{p} It is."} for i, p in enumerate(PAYLOADS)
    ]
    refused = [{"instruction": p, "output": f"I'm sorry, but I can't help with that. {p}"} for p in PAYLOADS]
    empty = [{"instruction": p, "output": ""} for p in PAYLOADS]
    others = [
        {"instruction": ARABIC, "output": ARABIC},
        {"instruction": LONG, "output": LONG},
        {"instruction": LONG + " ", "output": LONG},
    ]
    put(folder, "<img src=x onerror=window.hit=1>.jsonl", [*answers, *answers, *refused, *empty, *others])
    put(
        folder,
        "torn.jsonl",
        "\n".join(f'{{"instruction": "{p[:20]}' for p in PAYLOADS) + "\n" + '{"instruction": "a", "output": "b"}\n' * 40,
    )
    item = f"How many swans are on the lake {PAYLOADS[0]} when nine of them swim there and four have flown away by noon?"
    put(folder, "leak.jsonl", [{"instruction": item, "output": PAYLOADS[1]}])
    (folder.benchmarks / "<b>.csv").write_text('question,answer\n"' + item.replace('"', '""') + '",5\n')
    title = "</title><script>window.hit = 1</script>"
    say(
        folder,
        **NO_MODELS,
        report={"title": title, "examples": 20},
        exported={"name": PAYLOADS[1]},
        raw={"max_quarantined": 100},
    )
    build(folder, *ASSETS[: ASSETS.index(report) + 1])
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Proxy]]:
    proxy = Proxy()
    proxy.start()
    try:
        with tab(tmp_path_factory.mktemp("chromium") / "profile", proxy) as page:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            yield page, proxy
    finally:
        proxy.listener.close()


@pytest.fixture(scope="module")
def opened(browser: tuple[Page, Proxy], told: Folder) -> Page:
    page, _ = browser
    page.call("Page.navigate", url=told.report.as_uri())
    page.until("document.readyState === 'complete'")
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.value("new Promise(done => setTimeout(done, 300))")
    return page


def test_nothing_that_stands_in_a_row_runs_or_becomes_an_element(opened: Page) -> None:
    assert opened.value("window.hit") is None
    assert opened.value("document.querySelectorAll('script, iframe, object, embed, form, img:not(.map), #broken').length") == 0
    assert opened.value("document.querySelectorAll('style').length") == 1
    assert opened.value("getComputedStyle(document.body).display") == "block"
    assert opened.value("document.querySelectorAll('main > section').length") >= 12
    assert opened.value("document.querySelectorAll('section section, main main').length") == 0
    text = str(opened.value("document.body.textContent"))
    assert "window.hit = 1" in text  # the payloads are there to be read
    assert "{{ 7 * 7 }}" in text and "49" not in text.split("{{ 7 * 7 }}")[1][:20]


def test_nothing_is_asked_for_and_nothing_is_refused(opened: Page, browser: tuple[Page, Proxy], told: Folder) -> None:
    asked = [e["params"]["request"]["url"] for e in opened.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [told.report.as_uri()]
    said: list[Any] = [
        e["params"]
        for e in opened.events
        if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    ]
    assert said == []  # the page's own style is allowed too
    assert [line for line in browser[1].asked if "evil.example" in line] == []


def test_a_text_that_reads_from_right_to_left_turns_nothing_else_round(opened: Page) -> None:
    assert opened.value("document.documentElement.dir") == ""
    assert opened.value(r"/[\u202a-\u202e\u2066-\u2069\u0000\u001b\u0007]/.test(document.documentElement.outerHTML)") is False
    assert str(opened.value("document.body.textContent")).count("\\u202e") >= 1


@pytest.mark.parametrize("width", [340, 1280])
def test_the_page_is_no_wider_than_the_screen(opened: Page, width: int) -> None:
    opened.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    try:
        assert opened.value("document.documentElement.scrollWidth") <= width
        texts = "[...document.querySelectorAll('main p, main td, main th, main summary')]"
        assert opened.value(f"Math.min(...{texts}.map(e => parseFloat(getComputedStyle(e).fontSize)))") >= 12
    finally:
        opened.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(opened: Page, scheme: str) -> None:
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        contrasts = opened.value("""(() => {
            const light = c => c.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const paper = e => { for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } };
            return [...document.querySelectorAll('h1, h2, p, td, th, summary, a, mark, .soft')].map(e => {
                const [a, b] = [light(getComputedStyle(e).color), light(paper(e))].sort((x, y) => y - x);
                return (a + 0.05) / (b + 0.05); });
        })()""")
        assert min(contrasts) >= 4.5
    finally:
        opened.call("Emulation.setEmulatedMedia", features=[])


def test_what_is_folded_away_is_printed(told: Folder, browser: tuple[Page, Proxy], opened: Page) -> None:
    opened.value("document.querySelectorAll('details').forEach(d => d.open = false)")
    folded = "[...document.querySelectorAll('details .example')]"
    hidden = f"{folded}.filter(e => !e.checkVisibility({{contentVisibilityAuto: true}})).length"
    opened.until(f"{hidden} > 0")
    opened.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert opened.value("document.querySelectorAll('details .example').length") > 0
        opened.until(f"{hidden} === 0")  # a busy browser changes the medium a moment later
    finally:
        opened.call("Emulation.setEmulatedMedia", media="")
        opened.value("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_it_is_small_enough_to_be_sent(told: Folder) -> None:
    assert told.report.stat().st_size < 2_000_000
    assert LONG[:400] not in told.report.read_text("utf-8")


def test_only_one_file_is_needed(told: Folder, browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    page, _ = browser
    alone = tmp_path / "sent.html"
    alone.write_bytes(told.report.read_bytes())
    page.call("Page.navigate", url=alone.as_uri())
    page.until("document.readyState === 'complete' && location.href.includes('sent')")
    assert page.value("getComputedStyle(document.querySelector('section')).borderTopStyle") == "solid"
