"""The map in a real browser: what a curator does with it, and what a row in it cannot do."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sft_assets.clustered.map.colours import DROPPED_STATES, PALETTE, colours, state_colours
from sft_assets.clustered.map.page import write_page
from sft_assets.clustered.map.picture import picture
from tests.chromium import SHIFT, Page, Proxy, needs_chromium, tab

pytestmark = pytest.mark.xdist_group("chromium")
COLUMNS = ("x", "y", "topic", "group", "source", "state", "reason", "language", "excerpt")
TEXTS = pa.schema([(c, pa.float32() if c in "xy" else pa.string()) for c in COLUMNS])


def points(rows: list[dict[str, Any]], **scores: list[float | None]) -> pa.Table:
    """Rows of the map: what a row does not say is the same for all."""
    usual = {
        "x": 0.0,
        "y": 0.0,
        "topic": "sums",
        "group": "maths",
        "source": "gsm8k",
        "state": "kept",
        "reason": "",
        "language": "en",
    }
    whole = [{"excerpt": f"row {i}", **usual, **row} for i, row in enumerate(rows)]
    table = pa.Table.from_pylist(whole, TEXTS)
    ids = {"row_id": [str(uuid.UUID(int=i + 2**100)) for i in range(len(rows))]}
    for name, values in {**ids, **{f"score {name}": values for name, values in scores.items()}}.items():
        table = table.append_column(name, pa.array(values, pa.string() if name == "row_id" else pa.float32()))
    return table


# three islands of four rows, far apart
ISLANDS = [
    {"x": x + dx, "y": y + dy, "topic": topic, "group": group, "source": source, "excerpt": f"{text} {n}", **more}
    for x, y, topic, group, source, text, more in (
        (0.0, 0.0, "sums", "maths", "gsm8k", "Tom has APPLES and pears", {}),
        (10.0, 0.0, "sql joins", "code", "wikisql", "Join the apples table", {}),
        (5.0, 6.0, "dragons", "tales", "roleplay", "A dragon eats pears", {"state": "deduped", "reason": "near_duplicate"}),
    )
    for n, (dx, dy) in enumerate(((0.0, 0.0), (0.0, 0.6), (0.6, 0.0), (0.6, 0.6)))
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Proxy]]:
    proxy = Proxy()
    proxy.start()
    try:
        with tab(tmp_path_factory.mktemp("chromium") / "profile", proxy) as page:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            page.call("Emulation.setDeviceMetricsOverride", width=1400, height=900, deviceScaleFactor=1, mobile=False)
            yield page, proxy
    finally:
        proxy.listener.close()


@contextmanager
def opened(browser: tuple[Page, Proxy], path: Path, table: pa.Table, *scores: str) -> Iterator[Page]:
    """The map of `table` in the browser. When the block ends, nothing may have been asked for, refused or thrown."""
    page, proxy = browser
    write_page(path / "map.html", table, "a map", scores)
    page.events.clear()
    page.call("Page.navigate", url=(path / "map.html").as_uri())
    page.until("document.body?.dataset.ready")
    painted(page)
    yield page
    painted(page)
    assert_quiet(page, path / "map.html")
    assert beyond(proxy) == []


def beyond(proxy: Proxy) -> list[str]:
    """What went out. Chromium itself asks its makers for the time and the like."""
    return [line for line in proxy.asked if "evil.example" in line]


def assert_quiet(page: Page, path: Path) -> None:
    asked = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    said = [
        e["params"]
        for e in page.events
        if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening", "Page.windowOpen")
        or (e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("warning", "error", "assert"))
    ]
    assert said == []


def painted(page: Page) -> None:
    """Wait for what was asked for to be on the screen."""
    page.value("new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 50)), 150))")


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a place of the map is."""
    return tuple(  # type: ignore[return-value]
        page.value(f"""(() => {{
            const {{ x_range, y_range }} = Bokeh.documents[0].roots()[0];
            const {{ left, top, width, height }} = document.getElementById("plot").getBoundingClientRect();
            return [left + ({x} - x_range.start) / (x_range.end - x_range.start) * width,
                    top + (y_range.end - {y}) / (y_range.end - y_range.start) * height];
        }})()""")
    )


def around(page: Page, x: float, y: float) -> list[tuple[float, float]]:
    """A path round an island."""
    return [place(page, x + dx, y + dy) for dx, dy in ((-0.25, -0.25), (0.85, -0.25), (0.85, 0.85), (-0.25, 0.85))]


def shown(page: Page, element: str) -> str:
    return str(page.value(f"document.getElementById({json.dumps(element)}).textContent"))


def lines(page: Page) -> list[str]:
    """The excerpts of the lines of the table."""
    return page.value("[...document.querySelectorAll('#body tr[aria-selected] td:last-child')].map(e => e.textContent)")  # type: ignore[no-any-return]


def excerpts(*text: str) -> list[str]:
    return [row["excerpt"] for row in ISLANDS if any(t in row["excerpt"] for t in text)]


def pixel(page: Page, x: float, y: float) -> tuple[int, ...]:
    at = place(page, x, y)
    image = Image.open(io.BytesIO(base64.b64decode(page.call("Page.captureScreenshot")["data"]))).convert("RGB")
    return image.getpixel((round(at[0]), round(at[1])))  # type: ignore[return-value]


def like(found: tuple[int, ...], colour: str) -> bool:
    wanted = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return all(abs(f - w) < 40 for f, w in zip(found, wanted, strict=True))


# --------------------------------------------------------------------------------------------------- looking at rows


@needs_chromium
def test_the_pointer_on_a_point_shows_its_excerpt_topic_source_and_why_it_was_dropped(
    browser: tuple[Page, Proxy], tmp_path: Path
) -> None:
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        page.move(*place(page, 5.6, 6.6))
        card = shown(page, "card")
        assert "A dragon eats pears 3" in card
        assert "dragons" in card
        assert "roleplay" in card
        assert "deduped: near_duplicate" in card
        page.move(*place(page, 5, 3))  # nothing is there
        assert page.value("document.getElementById('card').hidden")


@needs_chromium
def test_a_click_on_a_point_or_a_line_shows_the_row_in_full(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    table = points(ISLANDS, ifd=[0.25 + i for i in range(12)])
    with opened(browser, tmp_path, table, "ifd") as page:
        page.click(*place(page, 10, 0.6))
        row = shown(page, "row")
        assert "Join the apples table 1" in row
        assert table["row_id"][5].as_py() in row
        assert "5.25" in row
        box = page.value(
            "(({ x, y }) => [x + 20, y + 5])(document.querySelectorAll('#body tr[aria-selected]')[2].getBoundingClientRect())"
        )
        page.click(*box)
        assert ISLANDS[2]["excerpt"] in shown(page, "row")


@needs_chromium
def test_rows_at_one_place_are_clicked_through_those_that_stay_first(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    lost = {"x": 10.0, "state": "deduped", "reason": "near_duplicate"}
    rows = [{**lost, "excerpt": "lost"}, {"x": 10.0, "excerpt": "stays"}, {**lost, "excerpt": "lost too"}, *ISLANDS[:4]]
    with opened(browser, tmp_path, points(rows)) as page:
        at = place(page, 10, 0)
        page.move(*at)
        assert "stays" in shown(page, "card")
        assert "2 rows more here" in shown(page, "card")
        seen = []
        for _ in range(4):
            page.click(*at)
            seen.append(page.value("document.querySelector('#row p').textContent"))
        assert seen == ["stays", "lost", "lost too", "stays"]


@needs_chromium
def test_an_excerpt_ends_after_300_characters(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    with opened(browser, tmp_path, points([{"excerpt": "a" * 300}, {"excerpt": "b" * 301}])) as page:
        assert lines(page) == ["a" * 300, "b" * 299 + "…"]


# --------------------------------------------------------------------------------------------------------- selecting


@needs_chromium
def test_a_search_selects_the_rows_that_have_all_its_words_in_any_case(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        page.press("/")
        page.type("apples")
        painted(page)
        assert lines(page) == excerpts("APPLES", "apples")
        assert shown(page, "hits") == "8 hits"
        page.type(" TABLE")
        painted(page)
        assert lines(page) == excerpts("table")
        assert page.value("[...document.querySelectorAll('#body mark')].slice(0, 2).map(e => e.textContent)") == [
            "apples",
            "table",
        ]
        page.press("Escape")
        assert len(lines(page)) == 12
        assert "none selected" in shown(page, "count")
        assert page.value("document.getElementById('search').value") == ""


@needs_chromium
def test_a_row_is_found_by_its_id(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    table = points(ISLANDS)
    with opened(browser, tmp_path, table) as page:
        page.press("/")
        page.type(table["row_id"][7].as_py())
        painted(page)
        assert lines(page) == [ISLANDS[7]["excerpt"]]


@needs_chromium
def test_a_lasso_selects_what_it_surrounds_and_with_shift_adds_to_it(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        page.press("l")
        page.drag(around(page, 10, 0))
        painted(page)
        assert lines(page) == excerpts("Join")
        assert shown(page, "count") == "4 rows selected of 12 shown"
        page.drag(around(page, 5, 6), SHIFT)
        painted(page)
        assert lines(page) == excerpts("Join", "dragon")
        page.press("b")
        page.drag([place(page, -0.25, -0.25), place(page, 0.3, 2)])
        painted(page)
        assert lines(page) == [ISLANDS[0]["excerpt"], ISLANDS[1]["excerpt"]]


@needs_chromium
def test_a_lasso_may_leave_the_map(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        page.press("l")
        (x, top), (_, bottom) = place(page, 8, 2), place(page, 8, -3)
        page.drag([(x, top), (1395, top), (1395, bottom), (x, bottom)])
        painted(page)
        assert lines(page) == excerpts("Join")
        page.move(x, top)  # it ended
        page.press("Escape")
        page.move(1395, bottom)
        painted(page)
        assert "none selected" in shown(page, "count")


@needs_chromium
def test_the_ids_of_the_selected_rows_are_saved_one_a_line(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    table = points(ISLANDS)
    with opened(browser, tmp_path, table) as page:
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"), eventsEnabled=True)
        page.press("d")  # nothing is selected: nothing to save
        page.press("l")
        page.drag(around(page, 10, 0))
        painted(page)
        assert shown(page, "download") == "Download 4 row ids"
        page.press("d")
        page.until("true")
        file = tmp_path / "saved" / "row_ids_4.txt"
        for _ in range(100):
            if file.exists():
                break
            painted(page)
        assert file.read_text() == "".join(f"{i}\n" for i in table["row_id"].to_pylist()[4:8])
        assert [f.name for f in file.parent.iterdir()] == [file.name]


@needs_chromium
def test_filters_combine_and_a_selection_never_holds_what_they_hide(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    rows = [*ISLANDS, {"x": 1.0, "y": 1.0, "topic": "sums", "source": "wikisql", "excerpt": "the only one"}]
    with opened(browser, tmp_path, points(rows)) as page:
        page.press("a")
        choose(page, "topic", "sums (5)")
        assert shown(page, "count") == "5 rows selected of 5 shown"
        choose(page, "source", "wikisql (5)")
        assert lines(page) == ["the only one"]
        page.press("l")
        page.drag(around(page, 10, 0))  # there are rows, which the filters hide
        painted(page)
        assert shown(page, "count") == "1 row shown, none selected"
        page.value("document.getElementById('filters-clear').focus()")
        page.press("Enter")
        assert "13 rows shown" in shown(page, "count")


def choose(page: Page, name: str, option: str) -> None:
    """Choose in a list by its keys."""
    page.value(f"document.getElementById('filter-{name}').focus()")
    options = page.value(f"[...document.getElementById('filter-{name}').options].map(o => o.textContent)")
    for _ in range(options.index(option)):
        page.press("ArrowDown")
    page.value("document.getElementById('map').focus()")
    painted(page)


@needs_chromium
def test_names_stand_on_the_map_and_go_with_their_rows(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    visible = """[...document.querySelectorAll('#labels div')]
        .filter(e => e.style.visibility === 'visible').map(e => e.textContent).sort()"""
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        assert page.value(visible) == ["dragons", "sql joins", "sums"]
        choose(page, "topic", "sums (4)")
        assert page.value(visible) == ["sums"]
    crowd = [{"x": float(i % 60), "y": float(i // 60), "topic": f"{i}"} for i in range(600)]
    with opened(browser, tmp_path, points(crowd)) as page:
        assert 10 < len(page.value(visible)) <= 40


@needs_chromium
def test_the_table_sorts_by_score_and_rows_without_one_come_last(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    rows = [{"excerpt": name} for name in ("middle", "none", "best", "worst")]
    with opened(browser, tmp_path, points(rows, ifd=[0.5, None, 2.0, 0.1]), "ifd") as page:
        page.value("[...document.querySelectorAll('#head button')].find(e => e.textContent === 'ifd').focus()")
        page.press("Enter")
        assert lines(page) == ["worst", "middle", "best", "none"]
        page.press("Enter")
        assert lines(page) == ["best", "middle", "worst", "none"]
        page.press("Enter")
        assert lines(page) == ["middle", "none", "best", "worst"]


@needs_chromium
def test_of_a_long_table_only_the_lines_in_sight_are_in_the_page(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    rows = [{"x": float(i % 50), "y": float(i // 50), "excerpt": f"row {i}"} for i in range(3000)]
    with opened(browser, tmp_path, points(rows)) as page:
        assert 5 < len(lines(page)) < 60
        page.value("document.getElementById('table').scrollTop = 1e9")
        painted(page)
        assert lines(page)[-1] == "row 2999"
        page.value("document.getElementById('table').focus()")
        page.press("ArrowDown")
        page.press("ArrowDown")
        assert shown(page, "row").startswith("row 1")
        assert "row 1" in lines(page)


# ---------------------------------------------------------------------------------------------------------- the keys


@needs_chromium
def test_c_goes_through_the_colours(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    table = points(ISLANDS, ifd=[1.0] * 4 + [None] * 8)
    with opened(browser, tmp_path, table, "ifd") as page:
        seen = []
        for _ in range(7):
            seen.append((shown(page, "legend-title"), pixel(page, 10, 0)))
            page.press("c")
            painted(page)
        assert [name for name, _ in seen] == ["topic", "group", "source", "state", "reason", "language", "ifd"]
        assert like(seen[0][1], PALETTE[1])  # sql joins, after dragons
        assert like(seen[1][1], PALETTE[0])  # code
        assert like(seen[6][1], "#94a4a2")  # no score
        assert shown(page, "legend-title") == "topic"


@needs_chromium
def test_keys_and_the_pointer_move_the_map_and_a_key_opens_the_help(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    ranges = "(({ x_range: x, y_range: y }) => [x.start, x.end, y.start, y.end])(Bokeh.documents[0].roots()[0])"
    with opened(browser, tmp_path, points(ISLANDS)) as page:
        whole = page.value(ranges)
        page.press("ArrowRight")
        page.press("ArrowUp")
        moved = page.value(ranges)
        assert moved[0] > whole[0]
        assert moved[2] > whole[2]
        page.press("+")
        near = page.value(ranges)
        assert near[1] - near[0] < moved[1] - moved[0]
        page.press("0")
        assert page.value(ranges) == pytest.approx(whole)
        page.drag([place(page, 5, 3), place(page, 4, 3)])
        painted(page)
        assert page.value(ranges)[:2] == pytest.approx([whole[0] + 1, whole[1] + 1], abs=0.05)
        page.pointer("mouseWheel", *place(page, 5, 3), deltaX=0, deltaY=-300)
        painted(page)
        near = page.value(ranges)
        assert near[1] - near[0] < whole[1] - whole[0]
        page.press("a")
        page.press("?")
        assert page.value("document.getElementById('help').open")
        page.press("Escape")
        assert not page.value("document.getElementById('help').open")
        assert shown(page, "count") == "12 rows selected of 12 shown"  # that was the key of the help


@needs_chromium
def test_every_control_is_reached_by_tab_and_can_be_seen_to_be(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    with opened(browser, tmp_path, points(ISLANDS, ifd=[1.0] * 12), "ifd") as page:
        page.press("a")
        page.value(
            "window.wanted = [...document.querySelectorAll('button, input, select, summary, [tabindex=\"0\"]')]"
            ".filter(e => !e.disabled && e.checkVisibility())"
        )
        count = page.value("wanted.length")
        page.value("window.met = new Set(); window.bare = []; document.activeElement.blur()")
        for _ in range(count + 5):
            page.press("Tab")
            page.value("""{
                met.add(document.activeElement);
                const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                if (document.activeElement !== document.body && (outlineStyle === "none" || outlineWidth === "0px"))
                    bare.push(document.activeElement.outerHTML);
            }""")
        assert count > 25
        assert page.value("wanted.filter(e => !met.has(e)).map(e => e.outerHTML)") == []
        assert page.value("bare") == []
        nameless = (
            "[...document.querySelectorAll('button, input, select')].filter(e => !e.textContent && !e.ariaLabel && !e.labels"
        )
        assert page.value(f"{nameless}?.length).map(e => e.outerHTML)") == []


# ------------------------------------------------------------------------------------------------------ hostile rows

HOSTILE = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 2</script>",
    '<img src="http://evil.example/i.png" onerror="window.ran = 3">',
    "javascript:window.ran = 4",
    '<a href="javascript:window.ran=5">x</a><svg onload="window.ran = 6">',
    "@{excerpt}{safe} @row_id{custom} $index $(touch /tmp/ran) ${title} $$content",
    "'; window.ran = 7; //",
    '"><iframe srcdoc="<script>parent.ran = 8</script>">',
    "<style>body { display: none }</style><link rel=stylesheet href=http://evil.example/x.css>",
    "<!-- ]]> --> &lt;b&gt; \u2028 \u0000 \\u003cscript\\u003e",
]


@needs_chromium
def test_hostile_rows_run_nothing_ask_for_nothing_and_are_shown_as_they_are(
    browser: tuple[Page, Proxy], tmp_path: Path
) -> None:
    every = ("topic", "group", "source", "reason", "language", "excerpt")
    rows = [
        {"x": float(3 * i), "y": float(i % 3), "state": "scored", **dict.fromkeys(every, text)}
        for i, text in enumerate(HOSTILE)
    ]
    with opened(browser, tmp_path, points(rows)) as page:
        elements = page.value("document.querySelectorAll('script, img, iframe, svg, a, link, style').length")
        for i, text in enumerate(HOSTILE):
            at = place(page, 3 * i, i % 3)
            page.click(*at)
            assert text in shown(page, "card"), text
            assert shown(page, "row").count(text) >= len(every), text
        assert lines(page) == HOSTILE
        page.press("/")
        page.type("<script>")
        painted(page)
        assert len(lines(page)) == sum("<script>" in text for text in HOSTILE)
        page.press("Escape")
        for _ in range(7):
            page.press("c")
            painted(page)
        assert {
            t.strip() for t in page.value("[...document.querySelectorAll('#filter-topic option')].map(e => e.textContent)")
        } >= {" ".join(f"{text} (1)".split()) for text in HOSTILE if "\u2028" not in text}
        assert page.value("window.ran") is None
        assert page.value("document.querySelectorAll('script, img, iframe, svg, a, link, style').length") == elements
    assert not (Path("/tmp") / "ran").exists()


def test_no_text_of_a_row_stands_in_the_markup(tmp_path: Path) -> None:
    write_page(
        tmp_path / "map.html", points([dict.fromkeys(("topic", "source", "excerpt"), "harmless words")]), "<b>$title</b>"
    )
    text = (tmp_path / "map.html").read_text()
    assert "harmless" not in text
    assert "<b>" not in text.split("<script")[0]
    assert text.count("&lt;b&gt;$title&lt;/b&gt;") == 2


@needs_chromium
def test_a_script_that_is_not_one_of_the_files_own_does_not_run(browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    page, _ = browser
    write_page(tmp_path / "map.html", points(ISLANDS), "a map")
    other = (
        "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'><script src='http://evil.example/x.js'></script>"
    )
    text = (tmp_path / "map.html").read_text().replace("<header>", other + "<header>")
    (tmp_path / "map.html").write_text(text)
    page.events.clear()
    page.call("Page.navigate", url=(tmp_path / "map.html").as_uri())
    page.until("document.body?.dataset.ready")
    assert page.value("window.ran") is None
    with pytest.raises(AssertionError):  # and this is how these tests would know
        assert_quiet(page, tmp_path / "map.html")
    assert beyond(browser[1]) == []


# ------------------------------------------------------------------------------------------------------ odd datasets

ODD: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "one row": [{}],
    "one topic": [{"x": float(i)} for i in range(5)],
    "one place": [{"x": 1.0, "y": 1.0}] * 5,
    "no names": [{"topic": None, "group": None, "language": None, "reason": None, "excerpt": None}] * 3,
    "scripts": [
        {"x": float(i), "topic": name, "source": name, "excerpt": name}
        for i, name in enumerate(('"it\'s" & co', "中文写作", "لغة عربية", "e\u0301 👩‍👩‍👧", "\u202eevil", "a\nb"))
    ],
    "only dropped": [{"x": float(i), "state": "scored", "reason": "refusal"} for i in range(3)],
}


@needs_chromium
@pytest.mark.parametrize("name", ODD)
def test_odd_datasets_have_a_map(name: str, browser: tuple[Page, Proxy], tmp_path: Path) -> None:
    rows = ODD[name]
    table = points(rows, ifd=[float("nan")] * len(rows), judge=[float("inf"), *[None] * len(rows)][: len(rows)])
    with opened(browser, tmp_path, table, "ifd", "judge") as page:
        assert lines(page) == [str(row.get("excerpt", f"row {i}") or "") for i, row in enumerate(rows)]
        for _ in range(9):
            page.press("c")
            painted(page)
        page.press("a")
        page.press("z")
        page.press("l")
        page.drag([(500, 150), (900, 150), (900, 450), (500, 450)])
        painted(page)
        assert (shown(page, "message") == "") == bool(rows)
    assert Image.open(io.BytesIO(picture(table))).format == "PNG"


# ------------------------------------------------------------------------------------------------- size and pictures


@pytest.mark.parametrize("letters", ["etaoin shrdlu,cmfwypvbgkjqxz", "".join(map(chr, range(0x4E00, 0x5600)))])
def test_20_000_rows_with_full_excerpts_take_less_than_15_megabytes(letters: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, often = 20_000, 1 / (np.arange(len(letters)) + 3)  # as often as letters and characters are; without words, which repeat
    drawn = rng.choice(list(letters), (n, 300), p=often / often.sum())
    rows = [
        {"x": x, "y": y, "topic": f"topic {i % 40}", "excerpt": "".join(drawn[i])}
        for i, (x, y) in enumerate(rng.normal(size=(n, 2)))
    ]
    ids = pa.array([str(uuid.UUID(bytes=rng.bytes(16))) for _ in rows])
    table = points(rows, ifd=list(rng.random(n))).drop_columns("row_id").append_column("row_id", ids)
    write_page(tmp_path / "map.html", table, "large", ["ifd"])
    assert (tmp_path / "map.html").stat().st_size < 15_000_000


def test_equal_data_gives_equal_files(tmp_path: Path) -> None:
    table = points(ISLANDS, ifd=[0.5] * 12)
    for name in ("a", "b"):
        write_page(tmp_path / name, table, "a map", ["ifd"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert picture(table) == picture(table)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_the_picture_has_the_colours_of_the_topics_and_grey_for_dropped_rows() -> None:
    found = Image.open(io.BytesIO(picture(points(ISLANDS * 40)))).convert("RGB")
    used = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in found.getcolors(1 << 24) or []}
    assert {PALETTE[1], PALETTE[2]} <= used  # dragons come first by name, and are all dropped
    assert PALETTE[0] not in used
    assert any(max(abs(int(c[i : i + 2], 16) - int("#d5d9dd"[i : i + 2], 16)) for i in (1, 3, 5)) < 8 for c in used)


@pytest.mark.parametrize("most", [36_000, 8_000])
def test_the_picture_of_many_points_fits_in_the_bytes_that_it_may_have(most: int) -> None:
    rng = np.random.default_rng(0)
    xy = rng.normal(0, 1, (20_000, 2)) + rng.integers(0, 5, (20_000, 1)) * 4
    rows = [{"x": float(x), "y": float(y), "topic": f"topic {i % 30}"} for i, (x, y) in enumerate(xy)]
    assert len(picture(points(rows), most)) <= most
    with pytest.raises(ValueError, match="smallest picture"):
        picture(points(rows[:100]), 100)


def test_neighbours_on_the_map_have_different_colours() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 10, (60, 2)).astype(np.float32)
    given = colours([f"topic {i}" for i in range(60)], places)
    distances = np.hypot(*(places[:, None] - places[None]).T) + 99 * np.eye(60)
    assert set(given) == set(PALETTE)
    assert sum(given[i] == given[j] for i, j in enumerate(distances.argmin(axis=1))) <= 2
    assert colours(["a", "", "b"], places[:3])[1] not in PALETTE


def test_a_state_has_the_same_colour_on_every_map() -> None:
    some, all_ = ["kept", "scored"], ["kept", "review", "deduped", "decontaminated", "scored", "clustered"]
    assert state_colours(some) == [state_colours(all_)[all_.index(name)] for name in some]
    assert len(set(state_colours(all_))) == 6
    assert set(DROPPED_STATES) <= set(all_)
