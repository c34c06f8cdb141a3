"""The report: its numbers are the ledger's, whatever came in; its texts are masked, short, and left out when they are to be."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sft_assets import reviews
from sft_assets.asset import warehouse
from sft_assets.definitions import ASSETS, asset_named
from sft_assets.errors import LawBroken
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.report.asset import report
from sft_assets.report.charts import histogram, lineage
from sft_assets.report.excerpts import CHARS, apart, around, clean
from sft_assets.report.reasons import MEANINGS, meaning
from sft_assets.report.sections.funnel import _place_unknown
from sft_assets.report.sections.recipe import _without_secrets
from sft_assets.runs import INPUTS
from sft_assets.scored.judgements.statistics import share
from sft_assets.staleness import causes_of
from sft_assets.warehouse import Version
from sft_assets.warehouse.opening import STATES
from sft_assets.warehouse.versions import read_versions
from tests.conftest import NO_MODELS, build, fresh, put, rows, say

pytestmark = pytest.mark.xdist_group("report")  # a few runs are what most of them start from
BEFORE = ASSETS[: ASSETS.index(report)]
RIVERS = [
    {
        "instruction": f"Which river flows through the town number {i} of the old list?",
        "output": f"Through town {i} flows the river with the longest name in its valley, which is {chr(97 + i)}{chr(98 + i)}.",
    }
    for i in range(8)
]
REFUSAL = {"instruction": "How tall is the old tower?", "output": "I'm sorry, but I cannot help with that request."}
LEAK = "Nine swans swim on a lake at dawn and four of them fly away before noon. How many swans are left on the lake?"
SECRET = "jane.doe@mailbox-post.net"


def filled(folder: Folder, **sections: Any) -> None:
    """A dataset with something for every section: duplicates, a test item, a refusal, a bad record, an address, a prompt."""
    put(
        folder,
        "rivers.jsonl",
        [*RIVERS, RIVERS[0], {**RIVERS[1], "output": RIVERS[1]["output"].replace("longest", "shortest")}],
    )
    put(folder, "mixed.jsonl", [
        REFUSAL,
        {"instruction": LEAK, "output": "Five swans are left."},
        {"instruction": "Where does Jane live?", "output": f"Write to {SECRET} and ask her where she lives these days."},
        {"instruction": "Is this answered?", "output": ""},
        {"instruction": "What is asked here and never answered by anybody?"},
    ])  # fmt: skip
    (folder.benchmarks / "exam.jsonl").write_text(f'{{"question": "{LEAK}", "answer": "5"}}\n')
    say(folder, **{**NO_MODELS, "deduped": {"threshold": 0.7}, **sections})


def made(folder: Folder) -> str:
    """The page after a whole run."""
    build(folder, *BEFORE, report)
    return folder.report.read_text("utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, str]:
    folder = fresh(tmp_path_factory.mktemp("report") / "data")
    filled(folder)
    return folder, made(folder)


@pytest.fixture(scope="module")
def rivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows and their report. Not to be changed."""
    folder = fresh(tmp_path_factory.mktemp("rivers") / "data")
    put(folder, "a.jsonl", RIVERS[:3])
    say(folder, **NO_MODELS)
    made(folder)
    return folder.root


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources with duplicates and a licence that is not allowed, and their report. Not to be changed."""
    folder = fresh(tmp_path_factory.mktemp("two_sources") / "data")
    put(folder, "a.jsonl", [*RIVERS[:3], RIVERS[0], {"instruction": "Is this answered?", "output": "Yes.", "license": "none"}])
    say(folder, **NO_MODELS, combined={"allowed_licenses": ["cc0-1.0"]}, sources=[{"path": "b.jsonl", "license": "cc0-1.0"}])
    put(folder, "b.jsonl", [*RIVERS[3:6], RIVERS[3]])
    made(folder)
    return folder.root


def copied(root: Path, to: Path) -> Folder:
    shutil.copytree(root, to / "data", symlinks=True)
    return Folder.at(to / "data")


def text_of(page: str) -> str:
    """What a reader sees: the page without its markup, in one line."""
    body = re.sub(r"<(style|title)[^>]*>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def figures(folder: Folder, section: str) -> dict[tuple[str, str, str], float]:
    found = rows(folder, "SELECT item, part, figure, value FROM report WHERE section = ?", [section])
    return {(item, part, figure): value for item, part, figure, value in found}


def test_the_numbers_of_reasons_are_those_of_the_ledger(told: tuple[Folder, str]) -> None:
    folder, page = told
    ledger = Counter(
        {(state, reason): n for state, reason, n in rows(folder, "SELECT state, reason, count(*) FROM dropped GROUP BY ALL")}
    )
    unread = rows(folder, "SELECT state, reason, count(*) FROM quarantine WHERE position IS NOT NULL GROUP BY ALL")
    ledger.update({(state, reason): n for state, reason, n in unread})
    assert {key[:2]: n for key, n in figures(folder, "reasons").items()} == ledger
    assert {"exact_duplicate", "near_duplicate", "benchmark_item", "refusal", "prompt_only"} <= {reason for _, reason in ledger}
    for (state, reason), n in ledger.items():
        summary = re.search(rf'id="reason-{state}-{reason}">(.*?)</summary>', page, re.DOTALL)
        assert summary is not None
        assert f"{reason.replace('_', ' ')} · {n} row" in text_of(summary[1])


def test_the_funnel_adds_up_by_source_and_to_the_states(told: tuple[Folder, str]) -> None:
    folder, _ = told
    found = figures(folder, "funnel")
    for state in STATES:
        kept = {part: n for (item, part, figure), n in found.items() if (item, figure) == (state, "kept")}
        table = state if state == "raw" else f"{state} JOIN (SELECT row_id, source AS of FROM combined) USING (row_id)"
        name = "source" if state == "raw" else "of"
        assert kept == dict(rows(folder, f"SELECT {name}, count(*) FROM {table} GROUP BY 1"))
    came = {part: n for (item, part, figure), n in found.items() if (item, figure) == ("raw", "in")}
    assert came == {"rivers": 10, "mixed": 5}
    assert found["deduped", "rivers", "gone"] == 2


def test_the_page_shows_both_texts_of_a_duplicate_with_the_difference_marked(told: tuple[Folder, str]) -> None:
    _, page = told
    assert {"<mark>longest</mark>", "<mark>shortest</mark>"} <= set(re.findall(r"<mark>\w+</mark>", page))


def test_a_test_item_is_marked_in_the_row_that_held_it(told: tuple[Folder, str]) -> None:
    _, page = told
    section = page.split('id="contamination"')[1].split("</section>")[0]
    marked = re.findall(r"<mark>(.*?)</mark>", section)
    assert any(LEAK.rstrip("?") in unescape(text) for text in marked)
    assert text_of(section).count("Nine swans swim") >= 2  # in the row and in the item


def test_rows_can_be_explained_by_the_ids_that_the_page_shows(told: tuple[Folder, str]) -> None:
    folder, page = told
    section = page.split('id="reason-scored-refusal"')[1].split("</details>")[0]
    shown = re.findall(r'<code class="id">(\w{8})</code>', section)
    assert [(row,) for row in shown] == rows(folder, "SELECT left(row_id::VARCHAR, 8) FROM dropped WHERE reason = 'refusal'")


def test_no_masked_text_and_no_raw_record_is_shown(told: tuple[Folder, str]) -> None:
    folder, page = told
    assert rows(folder, "SELECT count(*) FROM raw WHERE record LIKE '%' || ? || '%'", [SECRET]) == [(1,)]
    assert SECRET not in page
    assert "jane.doe" not in page


def test_the_policy_allows_the_page_s_own_style_and_nothing_else(told: tuple[Folder, str]) -> None:
    _, page = told
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"].startswith("'sha256-")
    assert "unsafe" not in policy[1] and "script-src" not in rules
    assert not re.search(r"<script|<iframe|<object|<form|<link (?!rel=\"icon\")|\sstyle=|\son\w+=|javascript:", page)
    assert not re.search(r'(?:src|href|data|action)="(?!#|data:)', page)


def test_examples_0_leaves_all_text_of_the_data_out(told: tuple[Folder, str], tmp_path: Path) -> None:
    folder = copied(told[0].root, tmp_path)
    filled(folder, report={"examples": 0})
    build(folder, report)
    page = folder.report.read_text("utf-8")
    shown = text_of(page)
    for words in ("river", "swans", "cannot help", "old tower", "longest", "shortest", "Jane", "is asked here"):
        assert words not in shown.replace("rivers", ""), words  # `rivers` is a source
    assert '<code class="id">' not in page.split('id="reasons"')[1].split("</section>")[0]
    assert "near duplicate" in shown


def test_the_report_is_made_again_when_it_or_its_export_was_deleted(told: tuple[Folder, str]) -> None:
    folder, _ = told
    recipe = Recipe.load(folder.recipe)
    folder.report.unlink()
    (again,) = build(folder, report)
    assert folder.report.exists()
    assert again.report["files"][0] == "report.html"
    export = folder.root / again.report["export"]
    assert export.is_dir() and export.as_posix().endswith(again.report["files"][1])
    assert build(folder, report)[0].number == again.number  # nothing is to be done
    with warehouse(folder, recipe).reading() as con:
        assert con.execute("SELECT count(*) FROM report").fetchall()[0][0] > 0


def test_another_setting_makes_another_report_though_every_row_is_the_same(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    before = folder.report.read_text("utf-8")
    say(folder, **NO_MODELS, deduped={"threshold": 0.83})
    after = made(folder)
    assert "deduped.threshold" not in text_of(before)
    assert "deduped.threshold 0.83 0.8" in text_of(after)


def test_scores_are_counted_whole_with_their_thresholds_and_people_are_heard(told: tuple[Folder, str], tmp_path: Path) -> None:
    folder = copied(told[0].root, tmp_path)
    limits = {"ifd": {"drop_above": 1.1}, "accuracy": {"review_below": 2}}
    with warehouse(folder, Recipe()).writing() as con:
        con.execute("""
            INSERT INTO store.likelihoods_1 BY NAME
            SELECT content_hash, 'scored' AS status, 0.1 * row_number() OVER (ORDER BY row_id) AS ifd FROM scored
        """)
        con.execute("""
            INSERT INTO store.judgements_1 BY NAME
            SELECT content_hash, 'accuracy' AS rubric, 'scored' AS status, 3 AS score FROM scored
        """)
        con.execute("""
            INSERT INTO store.reviewed
            SELECT 'scored', 1, row_id, content_hash, 'keep', 'ann <b>', '2026-01-02T03:04:05Z', 'it is <i>right</i>'
            FROM scored ORDER BY row_id LIMIT 2
        """)
        con.execute(
            "UPDATE store.versions SET report = json_merge_patch(report, ?) WHERE asset = 'scored'",
            [json.dumps({"recipe": {"thresholds": limits}})],
        )
    build(folder, report, again=True)
    ((n, median),) = rows(folder, "SELECT count(ifd), median(ifd) FROM likelihoods")
    assert n >= 8
    found = figures(folder, "scores")
    assert (found["ifd", "", "contents"], found["ifd", "", "median"]) == (n, pytest.approx(median, abs=1e-4))
    page = folder.report.read_text("utf-8")
    charts = dict(
        re.findall(r"<h3>(\w+)</h3>.*?(<svg.*?</svg>)", page.split('id="scores"')[1].split("</section>")[0], re.DOTALL)
    )
    counted = {name: sum(int(x) for x in re.findall(r": ([\d,]+)</title>", svg)) for name, svg in charts.items()}
    assert (counted["ifd"], counted["accuracy"]) == (n, n)
    assert "drop above 1.1" in charts["ifd"] and "review below 2" in charts["accuracy"]
    assert figures(folder, "decisions") == {("scored", "ann <b>", "keep"): 2}
    assert "it is &lt;i&gt;right&lt;/i&gt;" in page


def answered(folder: Folder, about: str, answers: str, state: str, queue: str = "20260102T030405Z-00000001") -> None:
    """What ann, then bob, say of rows that were drawn at random: 'keep+drop keep'. The rows are none of the folder's."""
    at = len(reviews.read(folder).log)
    for number, said in enumerate(answers.split()):
        row = UUID(int=at + number)
        for name, verdict in zip(("ann <b>", "bob"), said.split("+"), strict=False):
            reviews.append(folder, [
                reviews.decided(row, row, state, verdict, "so it is", name, queue=queue, tool="page", about=about, audit=True)
            ])  # type: ignore[arg-type]  # fmt: skip


def test_what_people_teach_is_told_with_its_intervals(told: tuple[Folder, str], tmp_path: Path) -> None:
    folder = copied(told[0].root, tmp_path)
    answered(folder, "kept", "keep keep keep drop+drop keep+drop", "scored")
    answered(folder, "deduped near_duplicate", "drop+drop drop drop keep+keep skip", "deduped")
    answered(folder, "deduped near_duplicate", "drop drop", "deduped", queue="20260103T030405Z-00000002")
    before = now(folder, "report").number
    build(folder, report)
    assert now(folder, "report").number > before  # though no row is another one
    found = figures(folder, "decisions")
    assert (found["audit kept", "", "right"], found["audit kept", "", "rows"]) == (3, 4)  # the draw counts for nothing
    assert (found["audit deduped near_duplicate", "", "right"], found["audit deduped near_duplicate", "", "rows"]) == (5, 6)
    page = folder.report.read_text("utf-8").split('id="decisions"')[1].split("</section>")[0]
    shown = text_of(page)
    one = share(3, 4)
    assert one
    assert f"kept 3 of 4 right, 75.0 % ({100 * one.low:.1f} % to {100 * one.high:.1f} %) · 1 undecided" in shown
    assert f"drop or mend 25.0 % ({100 - 100 * one.high:.1f} % to {100 - 100 * one.low:.1f} %) of the rows that stay" in shown
    assert "dropped in deduped: near duplicate 5 of 6 right" in shown
    assert "ann <b> 11 1 3 of 3" in shown and "<b>" not in page
    assert "ann <b> keep, bob drop" in shown
    assert build(folder, report)[0].number == now(folder, "report").number


def test_a_title_of_the_recipe_comes_first(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    say(folder, **NO_MODELS, report={"title": "Rivers & <towns>"})
    build(folder, report)
    assert "<h1><bdi>Rivers &amp; &lt;towns&gt;</bdi></h1>" in folder.report.read_text("utf-8")


def test_the_keys_in_a_recipe_do_not_go_out(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    key = "sk-proj-" + "aB3dE5gH7jK9mN1pQ3rS5tU7"
    folder.recipe.write_text(
        f"# {key}\nlikelihoods: {{rows: 0}}\nembeddings: {{model: null}}\n"
        "judgements: {rows: 0, model: 'https://ann:geheim@host/m'}\n"
    )
    page = made(folder)
    assert "recipe.yaml as it was" in page
    assert key not in page
    assert "geheim" not in page


def now(folder: Folder, name: str) -> Version:
    with warehouse(folder, Recipe.load(folder.recipe)).reading() as con:
        return {v.asset: v for v in read_versions(con)}[name]


@pytest.mark.parametrize("url", [
    "https://example.org/a.jsonl?token=geheim&sig=geheim", "https://ann:ge/heim@example.org/a.jsonl",
    "https://ann:p@geheim@example.org/a.jsonl", "https://geheim@example.org/a.jsonl", "https://example.org/a.jsonl#geheim",
    "s3://bucket/a.jsonl?X-Amz-Signature=geheim,heim",
])  # fmt: skip
@pytest.mark.parametrize("line", ["sources: [{{url: {}}}]", "sources:\n  - url: '{}'", "# {}, once"])
def test_what_an_address_says_of_its_readers_does_not_go_out(url: str, line: str) -> None:
    shown = _without_secrets(line.format(url))
    assert "heim" not in shown
    assert "a.jsonl" in shown
    assert shown.endswith({"s": line[-1], "#": ", once"}[line[0]] if line[-2:] != "}]" else "}]")


def test_a_broken_file_that_changes_no_row_is_told(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    put(folder, "b.jsonl", b"\xff\xfe\x00broken\x80")
    put(folder, "c.jsonl", b'{"instruction": "What", \n')
    page = made(folder)
    assert now(folder, "raw").data_version == now(folder, "combined").inputs["raw"]
    assert "c.jsonl" in text_of(page).split("could not be used")[-1]
    assert figures(folder, "summary")["unread", "", "rows"] + figures(folder, "unread")["refused files", "", "files"] >= 2


def test_an_export_that_was_written_again_has_a_report_of_its_own(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    before = now(folder, "exported")
    (again,) = build(folder, exported, again=True)
    assert (again.data_version, again.report["export"] != before.report["export"]) == (before.data_version, True)
    (told,) = build(folder, report)
    assert told.report["export"] == again.report["export"]
    assert Path(again.report["export"]).name in folder.report.read_text("utf-8")
    assert build(folder, report)[0].number == told.number


def test_an_edit_of_the_recipe_is_the_cause_that_is_said(folder: Folder) -> None:
    before, after = Recipe(), Recipe.model_validate({"deduped": {"threshold": 0.83}})
    version = Version("report", 1, "", report.code_version(folder, before), {}, {}, {}, 0.0)
    assert causes_of(version, report.code_version(folder, after), {}) == ["its section of the recipe changed"]
    assert causes_of(version, report.code_version(folder, Recipe.model_validate({"engine": {"threads": 1}})), {}) == []


SAID = "UPDATE store.versions SET report = json_merge_patch(report, '{}') WHERE asset = '{}'"
LOST = "DELETE FROM store.dropped WHERE asset = '{}'"
ONE_MORE = """
    INSERT INTO store.dropped
    SELECT asset, version, gen_random_uuid(), reason, evidence FROM store.dropped WHERE asset = 'deduped'
"""


@pytest.mark.parametrize(("wrong", "law"), [
    (SAID.format('{"kept": 77}', "scored"), "states_agree"),
    (SAID.format('{"created": 1}', "combined"), "states_agree"),
    (LOST.format("deduped"), "sources_add_up"),
    (LOST.format("combined"), "sources_add_up"),
    (ONE_MORE, "sources_add_up"),
])  # fmt: skip
def test_a_ledger_that_does_not_add_up_makes_no_report(two_sources: Path, tmp_path: Path, wrong: str, law: str) -> None:
    folder = copied(two_sources, tmp_path)
    with warehouse(folder, Recipe.load(folder.recipe)).writing() as con:
        con.execute(wrong)
    with pytest.raises(LawBroken) as error:
        build(folder, report, again=True)
    assert law in error.value.laws


def test_groups_of_duplicates_are_told_apart_by_whole_ids(told: tuple[Folder, str], tmp_path: Path) -> None:
    folder = copied(told[0].root, tmp_path)
    with warehouse(folder, Recipe()).writing() as con:  # two rows that stay have ids that begin alike
        con.execute("""
            UPDATE store.dropped SET evidence = json_merge_patch(evidence, json_object('of', '00000000' || substr(s, 9)))
            FROM (SELECT row_id AS row, evidence ->> 'of' AS s FROM store.dropped WHERE asset = 'deduped') AS d
            WHERE asset = 'deduped' AND row_id = d.row
        """)
    groups = len(rows(folder, "SELECT DISTINCT evidence ->> 'of' FROM store.dropped WHERE asset = 'deduped'"))
    build(folder, report, again=True)
    assert groups == 2
    assert figures(folder, "duplicates") == {("groups", "", "rows that stay for others"): 2}


@pytest.mark.parametrize("records", [[], RIVERS[:1], [{"instruction": "no answer at all"}], [RIVERS[0]] * 5])
def test_any_dataset_has_a_report(folder: Folder, records: list[dict[str, str]]) -> None:
    put(folder, "a b'c\"<i>.jsonl", records)
    say(folder, **NO_MODELS)
    page = made(folder)
    kept = rows(folder, "SELECT count(*) FROM exported")[0][0]
    assert f"{len(records)} record" in text_of(page)
    assert f"became {kept} row" in text_of(page)


def test_a_newer_state_that_is_not_exported_yet_is_not_mixed_in(rivers: Path, tmp_path: Path) -> None:
    folder = copied(rivers, tmp_path)
    put(folder, "b.jsonl", RIVERS[3:])
    build(folder, asset_named("raw"), asset_named("combined"))
    build(folder, report, again=True)
    assert figures(folder, "funnel")["combined", "a", "kept"] == 3
    assert ("combined", "b", "kept") not in figures(folder, "funnel")
    assert "3 records of 1 source became 3 rows" in text_of(folder.report.read_text())


def test_rows_that_a_record_gave_and_the_mixture_left_out_count_for_their_source(folder: Folder) -> None:
    """Their ids are no record's, and they are in no table: only combined's own count knows where they came from."""
    tree = {
        "message_tree_id": "t", "prompt": {"text": "Name a river.", "role": "prompter", "replies": [
            {"text": f"The river number {i} is one.", "role": "assistant", "replies": []} for i in range(4)
        ]},
    }  # fmt: skip
    put(folder, "tree.jsonl", [tree])
    put(folder, "a.jsonl", RIVERS[:3])
    say(folder, **NO_MODELS, sources=[{"path": "tree.jsonl", "paths": "all", "cap": 1}])
    made(folder)
    found = figures(folder, "funnel")
    assert found["combined", "tree", "created"] == 3
    assert found["combined", "tree", "gone"] == 3
    assert not [part for _, part, _ in found if part == ""]


# ------------------------------------------------------------------------------------------------------------ the parts


def test_rows_of_unknown_source_are_those_that_a_source_lacks() -> None:
    before, kept, gone = Counter(a=5, b=2), Counter(a=3, b=2), Counter({"a": 1, "": 3})
    _place_unknown(before, kept, gone)
    assert gone == Counter({"a": 2, "": 2})


def test_differences_are_marked_and_texts_stay_short() -> None:
    ours, theirs = apart("x " * 400 + "the capital of France " + "y " * 400, "x " * 400 + "the capital of Italy " + "y " * 400)
    assert [text for text, marked in ours if marked] == ["France"]
    assert [text for text, marked in theirs if marked] == ["Italy"]
    assert all(len("".join(text for text, _ in side)) <= CHARS + 2 for side in (ours, theirs))


def test_equal_texts_have_no_marks() -> None:
    ours, theirs = apart("same", "same")
    assert ours == theirs == [("same", False)]


def test_spans_are_marked_where_they_stand_in_the_whole_text() -> None:
    text = "before " * 50 + "THE ITEM" + " after" * 200
    start = text.index("THE ITEM")
    offset = start - 20
    pieces = around(text[offset : offset + 2 * CHARS], [[start, start + 8]], offset)
    assert [piece for piece, marked in pieces if marked] == ["THE ITEM"]
    assert sum(len(piece) for piece, _ in pieces) <= CHARS + 2


def test_characters_that_hide_or_turn_text_are_shown_as_their_codes() -> None:
    assert clean("a\u202eb\x00c\x1b[31m\nd") == "a\\u202eb\\u0000c\\u001b[31m d"
    assert clean("x" * 1000) == "x" * (CHARS - 1) + "…"
    assert clean("👩\u200d🚀") == "👩\u200d🚀"


def test_a_threshold_stands_where_its_value_is() -> None:
    svg = histogram([1, 2, 3, 4], 0.0, 1.0, {"drop above 0.5": 0.5}, "scores")
    line = re.search(r'class="mark" x1="([\d.]+)"', svg)
    assert line is not None
    assert float(line[1]) == pytest.approx(170, abs=2)  # half of 340
    assert svg.count("<rect") == 4


def test_charts_escape_what_they_are_told() -> None:
    svg = histogram([1], 0, 1, {"<script>": 0.5}, '"><script>')
    assert "<script" not in svg
    assert str(lineage([], [])).startswith("<svg")


def test_every_reason_that_the_package_s_states_give_has_a_meaning(told: tuple[Folder, str]) -> None:
    folder, _ = told
    given = rows(folder, "SELECT DISTINCT state, reason FROM dropped UNION SELECT DISTINCT state, reason FROM quarantine")
    assert given
    assert [pair for pair in given if not meaning(*pair)] == []
    assert meaning("scored", "helpfulness_below") == "Its score `helpfulness` is below the limit of the recipe."
    assert all(sentence.endswith((".", ").")) for sentence in MEANINGS.values())


def test_the_report_comes_last_and_reads_no_asset_that_is_not_there() -> None:
    names = [asset.name for asset in ASSETS]
    assert names.index("report") > names.index(exported.name)
    assert set(report.deps) <= {*names, *INPUTS}


def test_the_templates_are_part_of_the_package() -> None:
    from sft_assets.report.sections import SECTIONS

    room = Path(str(find_spec("sft_assets.report.asset").origin)).parent  # type: ignore[union-attr]
    missing = [s.__name__ for s in SECTIONS if not (room / "sections" / f"{s.__name__}.html").is_file()]
    assert missing == []
