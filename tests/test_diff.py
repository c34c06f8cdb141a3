"""`sft diff`: what is different between two versions of a state or two exports, why, and what caused it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import NO_MODELS, build, put, rows, say

from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.diff import Diff, diff
from sft_assets.diff.causes import recipe_changes
from sft_assets.diff.compare import UNCOMPARED
from sft_assets.errors import SftError
from sft_assets.explain import explain
from sft_assets.folder import Folder
from sft_assets.raw import asset as raw_asset
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.warehouse.opening import STATES, to_look, warehouse

pytestmark = pytest.mark.xdist_group("diff")  # two folders are what most of them look at
LONG = "Tell me in a few words how the moon makes the tides of the sea rise and fall twice each single day"
ANSWER = "The moon pulls the water on the near side, and on the far side it bulges out as well, "
QUESTIONS = [{"instruction": f"Question {n} about the tides", "output": f"Answer {n} is this one."} for n in range(20)]
NEAR = [{"instruction": f"{LONG} {word}", "output": ANSWER + word} for word in ("please", "now")]
ESCAPED = [{"instruction": f"Say &amp; tell {n}", "output": f"Well, {n}."} for n in range(10)]


def ask(folder: Folder, first: str, second: str | None = None, **more: Any) -> Diff:
    return diff(warehouse(folder, Recipe.load(folder.recipe)), folder, first, second, **more)


def reasons(found: Diff, change: str) -> dict[tuple[str | None, int | None, str], int]:
    return {(g.asset, g.version, g.reason): g.rows for g in found.groups if g.change == change}


def because(found: Diff) -> dict[str, list[str]]:
    return {cause.asset: cause.why for cause in found.causes}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Three versions: of a.json three records went and one came, b.json is sampled, a threshold and a repair changed."""
    root = tmp_path_factory.mktemp("diff") / "data"
    (root / "sources").mkdir(parents=True)
    folder = Folder.at(root)
    put(folder, "a.json", [*QUESTIONS, *NEAR])
    put(folder, "b.json", ESCAPED)
    build(folder, raw, combined, deduped)
    put(folder, "a.json", [*QUESTIONS[3:], *NEAR, {"instruction": "New?", "output": "Yes, new."}])
    settings = {"sources": [{"path": "b.json", "weight": 0.5, "license": "mit"}], "combined": {"repairs": ["html_entities"]}}
    say(folder, **settings, deduped={"threshold": 0.95})
    build(folder, raw, combined, deduped)
    say(folder, **settings, deduped={"threshold": 0.8})
    build(folder, deduped)
    return folder


def test_every_row_that_left_says_where_it_went(made: Folder) -> None:
    found = ask(made, "deduped@1", "deduped@2")
    gone = reasons(found, "removed")
    sampled = rows(made, "SELECT count(*) FROM store.dropped WHERE asset = 'combined' AND version = 2")[0][0]
    assert sampled > 0
    assert gone == {(None, None, "no_record"): 3, ("combined", 2, "not_sampled"): sampled}
    assert found.counts["removed"] == 3 + sampled


def test_every_row_that_came_says_why_it_was_not_there(made: Folder) -> None:
    came = reasons(ask(made, "deduped@1", "deduped@2"), "added")
    assert came == {("deduped", 1, "near_duplicate"): 1, (None, None, "no_record"): 1}


def test_the_other_way_round_the_same_rows_move_the_other_way(made: Folder) -> None:
    there, back = ask(made, "deduped@1", "deduped@2"), ask(made, "deduped@2", "deduped@1")
    assert there.counts["removed"] == back.counts["added"]
    assert there.counts["added"] == back.counts["removed"]
    assert there.counts["changed"] == back.counts["changed"] > 0
    assert ("deduped", 1, "near_duplicate") in reasons(back, "removed")


def test_counts_are_those_of_the_tables(made: Folder) -> None:
    found = ask(made, "deduped@1", "deduped@2")
    before, after = ({i for (i,) in rows(made, f"SELECT row_id FROM store.deduped_{n}")} for n in (1, 2))
    assert (found.counts["removed"], found.counts["added"]) == (len(before - after), len(after - before))
    assert found.counts["same"] + found.counts["changed"] == len(before & after)
    for change in ("removed", "added", "changed"):
        assert sum(reasons(found, change).values()) == found.counts[change]
        assert sum(counts[change] for counts in found.by_source.values()) == found.counts[change]
    assert found.by_source["b"]["added"] == 0


def test_rows_whose_content_or_columns_changed_name_both_and_the_repair(made: Folder) -> None:
    found = ask(made, "deduped@1", "deduped@2")
    (group,) = found.of("changed")
    assert group.reason == "content, license (repaired_html_entities)"
    example = group.examples[0]
    assert example.evidence == {"license": [None, "mit"]}
    assert "Say & tell" in example.text


def test_the_cause_is_followed_to_recipe_and_files(made: Folder) -> None:
    why = because(ask(made, "deduped@1", "deduped@2"))
    assert list(why) == ["raw", "combined", "deduped"]
    assert "source_files changed" in why["raw"]
    assert "a.json: 1 new records, 3 records gone" in why["raw"]
    assert "sources.b.weight: 1.0 -> 0.5" in why["combined"]
    assert "combined.repairs: [] -> ['html_entities']" in why["combined"]
    assert why["deduped"] == ["deduped.threshold: 0.8 -> 0.95"]


def test_what_did_not_change_is_no_cause(made: Folder) -> None:
    found = ask(made, "deduped")
    assert (found.before.name, found.after.name) == ("deduped@2", "deduped@3")
    assert because(found) == {"deduped": ["deduped.threshold: 0.95 -> 0.8"]}
    assert reasons(found, "removed") == {("deduped", 3, "near_duplicate"): 1}


def test_the_evidence_of_a_dropped_row_is_the_ledgers(made: Folder) -> None:
    (group,) = ask(made, "deduped").of("removed")
    (example,) = group.examples
    assert example.evidence["jaccard"] > 0.8
    assert example.place.startswith("a.json:")
    assert LONG[:50] in example.text


def test_a_version_is_compared_with_the_current_one_unless_told_otherwise(made: Folder) -> None:
    found = ask(made, "deduped@1")
    assert (found.before.name, found.after.name) == ("deduped@1", "deduped@3")
    assert ask(made, "deduped@3", "deduped@3").counts["same"] == found.after.rows


def test_records_are_compared_as_well(made: Folder) -> None:
    found = ask(made, "raw")
    assert {k: found.counts[k] for k in ("removed", "added", "changed")} == {"removed": 3, "added": 1, "changed": 0}
    assert any("Question" in e.text for g in found.of("removed") for e in g.examples)


def test_where_a_record_stands_is_no_difference(made: Folder) -> None:
    assert raw_asset.TABLE.unversioned <= UNCOMPARED


def test_the_states_are_named_without_dagster_as_the_graph_has_them() -> None:
    from sft_assets import definitions

    assert STATES == definitions.STATES


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("deduped@9", None, r"no deduped@9.*deduped@1 \(.*deduped@3 \("),
        ("dedupd", None, "did you mean 'deduped'"),
        ("scored", None, "scored is not built yet"),
        ("deduped@x", None, "number of a version"),
        ("deduped@1", "combined@1", "two versions of one state"),
        ("export", None, "0 exports"),
        ("20260101", None, "no export is called that"),
    ],
)
def test_a_name_that_is_none_is_told_what_there_is(made: Folder, first: str, second: str | None, said: str) -> None:
    with pytest.raises(SftError, match=said):
        ask(made, first, second)


def test_a_first_version_has_nothing_to_be_compared_with(folder: Folder) -> None:
    put(folder, "a.json", QUESTIONS)
    build(folder, raw)
    with pytest.raises(SftError, match="only version of raw"):
        ask(folder, "raw")


def test_a_file_that_can_no_longer_be_read_is_the_reason_of_its_rows(folder: Folder) -> None:
    put(folder, "a.json", QUESTIONS)
    put(folder, "b.json", ESCAPED)
    build(folder, raw, combined)
    put(folder, "b.json", b"\x00\x01\x02 no JSON at all \xff\xfe")
    say(folder, raw={"max_quarantined": 100})
    build(folder, raw, combined)
    ((asset, version, reason),) = reasons(found := ask(folder, "combined"), "removed")
    known = {r for (r,) in rows(folder, "SELECT DISTINCT reason FROM quarantine WHERE source_file = 'b.json'")}
    assert (asset, version) == ("raw", 2)
    assert reason in known
    assert found.counts["removed"] == len(ESCAPED)


def test_versions_from_before_recipes_were_kept_say_so(made: Folder, tmp_path: Path) -> None:
    copy = tmp_path / "old.duckdb"
    copy.write_bytes(made.database.read_bytes())
    with duckdb.connect(copy) as con:
        con.execute("UPDATE store.versions SET report = json_merge_patch(report, '{\"recipe\": null}') WHERE version = 2")
    house = warehouse(Folder.at(made.root), Recipe())
    found = diff(type(house)(copy), made, "deduped")
    assert "how is not known" in because(found)["deduped"][0]


def test_a_source_that_is_only_named_is_no_change() -> None:
    entry = Recipe.model_validate({"sources": [{"path": "b.json", "license": "mit"}]}).part("combined")
    assert recipe_changes("combined", Recipe().part("combined"), entry) == ["sources.b.license: None -> mit"]
    assert recipe_changes("combined", entry, entry) == []
    named = Recipe.model_validate({"sources": [{"path": "b.json"}]}).part("raw")
    assert recipe_changes("raw", Recipe().part("raw"), named) == ["sources.b.path: (none) -> b.json"]


def test_a_source_s_url_is_told_without_what_says_who_may_read_it() -> None:
    old, new = (
        Recipe.model_validate({"sources": [{"name": "a", "url": f"https://me:pw@example.org/{n}.json?token=secret{n}"}]}).part(
            "raw"
        )
        for n in (1, 2)
    )
    (line,) = [line for line in recipe_changes("raw", old, new) if line.startswith("sources.a.url")]
    assert "example.org/1.json" in line and "example.org/2.json" in line
    assert not any(secret in line for secret in ("me:", "pw@", "secret"))
    same = {**old, "sources": [{**old["sources"][0], "url": old["sources"][0]["url"] + "x"}]}
    (line,) = recipe_changes("raw", old, same)
    before, after = line.removeprefix("sources.a.url: ").split(" -> ")
    assert before != after


@pytest.mark.parametrize(
    "engine", [{"memory_limit": "lots"}, {"threads": -1}, {"threads": 1e400}, {"memory_limit": [1]}, "all"]
)
def test_an_engine_section_that_is_being_edited_keeps_nobody_from_looking(made: Folder, tmp_path: Path, engine: Any) -> None:
    edited = Folder.at(tmp_path)
    edited.database.symlink_to(made.database)
    edited.recipe.write_text(yaml.safe_dump({"engine": engine}))
    assert diff(to_look(edited), edited, "deduped").after.name == "deduped@3"


@pytest.mark.parametrize("what", ["----", "12-3", "0" * 33])
def test_a_row_is_asked_for_by_4_to_32_digits(made: Folder, what: str) -> None:
    with pytest.raises(SftError, match="4 to 32 hex digits"):
        explain(to_look(made), what, STATES)


# ------------------------------------------------------------------------------------------------- the command line


def test_every_row_that_moved_can_be_written_with_its_reason(made: Folder, tmp_path: Path) -> None:
    found = ask(made, "deduped@1", "deduped@2", ids=tmp_path / "moved.jsonl")
    lines = [orjson.loads(line) for line in (tmp_path / "moved.jsonl").read_bytes().splitlines()]
    assert len(lines) == sum(found.counts[change] for change in ("removed", "added", "changed"))
    assert all(line["reason"] for line in lines)
    ask(made, "deduped@1", "deduped@2", ids=tmp_path / "moved.csv")
    with (tmp_path / "moved.csv").open() as file:
        assert [row["row_id"] for row in csv.DictReader(file)] == [line["row_id"] for line in lines]


def test_a_text_that_a_spreadsheet_would_run_is_made_harmless(folder: Folder, tmp_path: Path) -> None:
    put(folder, "=1+1.json", QUESTIONS)
    build(folder, raw, combined)
    put(folder, "=1+1.json", QUESTIONS[1:])
    build(folder, raw, combined)
    ask(folder, "combined", ids=tmp_path / "moved.csv")
    with (tmp_path / "moved.csv").open() as file:
        assert [row["source"][0] for row in csv.DictReader(file)] == ["'"]


def test_people_and_machines_can_read_it(made: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = sft("diff", "deduped@1", "deduped@2", "--data", str(made.root))
    assert code == 0, err
    assert "deduped.threshold: 0.8 -> 0.95" in out
    assert "were near_duplicate in deduped@1" in out
    code, out, err = sft("diff", "deduped@1", "deduped@2", "--json", "--rows", "0", "--data", str(made.root))
    assert code == 0, err
    said = json.loads(out)
    assert said["counts"] == ask(made, "deduped@1", "deduped@2").counts
    assert not any(group["examples"] for group in said["groups"])


@pytest.mark.parametrize("verb", [["diff", "deduped"], ["explain", "a.json:1"]])
def test_who_only_looks_does_not_wait_for_dagster(made: Folder, verb: list[str]) -> None:
    code = (
        "import sys; from sft_assets.cli import app; app(sys.argv[1:], standalone_mode=False); print('dagster' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, *verb, "--data", str(made.root)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "False"


# --------------------------------------------------------------------------------------------------------- exports


def export(folder: Folder, name: str, split: dict[str, list[str]], **said: Any) -> Path:
    """An export as the writers make it: the texts of each split, each of which is its row's id too."""
    root = folder.exports / name
    (root / "data").mkdir(parents=True)
    files = {}
    for side, texts in split.items():
        path = f"data/{side}-00000-of-00001.parquet"
        fields = {"role": "user", "content": ""} | said.get("fields", {})
        more = {name: [value] * len(texts) for name, value in said.get("columns", {}).items()}
        table = {
            "messages": [[{**fields, "content": text}] for text in texts],
            "source": ["made"] * len(texts),
            "row_id": [identity(text) for text in texts],
            **more,
        }
        pq.write_table(pa.table(table), root / path)
        files[path] = {"rows": len(texts), "bytes": 0, "sha256": ""}
    manifest = {
        "created": "2026-01-02T03:04:05Z",
        "rows": {"sft": {side: len(texts) for side, texts in split.items()}},
        "files": files,
        "states": said.get("states", {}),
        "recipe": said.get("recipe", {}),
    }
    (root / "MANIFEST.json").write_bytes(orjson.dumps(manifest))
    return root


def identity(text: str) -> str:
    return "00000000-0000-0000-0000-" + text.split()[0].encode().hex().zfill(12)


def test_exports_are_compared_by_what_their_files_hold(folder: Folder) -> None:
    before = {"train": ["a one", "b two", "c three", "c three"], "test": ["d four"]}
    export(folder, "20260101T000000Z-00000001", before)
    after = {"train": ["a one", "c three", "d four"], "test": ["b changed", "e five"]}
    # a field of turns that only one of the two has is no difference where it is empty
    export(folder, "20260102T000000Z-00000002", after, fields={"name": None})
    found = ask(folder, "export", rows=5)
    assert found.counts == {"removed": 0, "added": 1, "changed": 3, "same": 1}
    changed = {g.reason: [e.evidence for e in g.examples] for g in found.of("changed")}
    assert changed == {
        "content, split": [{"split": ["train", "test"]}],
        "split": [{"split": ["test", "train"]}],
        "copies": [{"copies": ["2", "1"]}],
    }
    assert [e.text for e in found.of("added")[0].examples] == ["e five"]
    assert reasons(found, "added") == {(None, None, "not_known"): 1}
    assert any("not kept" in note for note in found.notes)


def test_exports_have_many_names(folder: Folder) -> None:
    one = export(folder, "20260101T000000Z-00000001", {"train": ["a one"]})
    two = export(folder, "20260102T000000Z-00000002", {"train": ["a one"]})
    (folder.exports / "latest").symlink_to(two.name)
    pairs = [
        ("20260101", None),
        ("20260101", "latest"),
        ("exports/20260101", "exports/latest"),
        (str(one), str(two)),
        ("export", None),
    ]
    for first, second in pairs:
        found = ask(folder, first, second)
        assert (found.before.folder, found.after.folder) == (one, two)
    with pytest.raises(SftError, match="more than one export begins so"):
        ask(folder, "2026", "latest")


def test_what_the_manifests_say_is_the_cause_where_the_versions_are_gone(folder: Folder) -> None:
    states = {"deduped": {"version": 1, "data_version": "x"}}
    old, new = ({"deduped": {"threshold": t}, "engine": {"threads": 1}} for t in (0.8, 0.7))
    export(folder, "20260101T000000Z-00000001", {"train": ["a one", "b two"]}, recipe=old, states=states)
    states = {"deduped": {"version": 1, "data_version": "y"}}
    export(folder, "20260102T000000Z-00000002", {"train": ["a one"]}, recipe=new, states=states)
    assert because(ask(folder, "export")) == {"deduped": ["deduped.threshold: 0.8 -> 0.7"]}


def test_an_export_with_a_file_missing_is_refused_by_name(folder: Folder) -> None:
    one = export(folder, "20260101T000000Z-00000001", {"train": ["a one"]})
    export(folder, "20260102T000000Z-00000002", {"train": ["a one"]})
    (one / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(SftError, match=r"train-00000-of-00001\.parquet: cannot be read"):
        ask(folder, "export")


def test_names_that_somebody_gave_to_exports_are_none_of_the_last_two(folder: Folder) -> None:
    one, two = (export(folder, f"2026010{n}T000000Z-0000000{n}", {"train": ["a one"]}) for n in (1, 2))
    mine = export(folder, "for-the-talk", {"train": ["a one", "b two"]})
    export(folder, ".removed-0.partial-1", {"train": ["a one"]})
    found = ask(folder, "export")
    assert (found.before.folder, found.after.folder) == (one, two)
    assert ask(folder, "exports/for-the-talk", str(two)).before.folder == mine


def test_one_column_more_is_no_change_of_every_row(folder: Folder) -> None:
    export(folder, "20260101T000000Z-00000001", {"train": ["a one", "b two"]})
    export(folder, "20260102T000000Z-00000002", {"train": ["a one", "b more"]}, columns={"quality": 0.5})
    found = ask(folder, "export")
    assert found.counts == {"removed": 0, "added": 0, "changed": 1, "same": 1}
    assert any(note.endswith("not compared: quality") for note in found.notes)


@pytest.mark.parametrize(
    "harm",
    [
        {"states": {"raw": "x"}},
        {"states": []},
        {"files": {"a.parquet": "y"}},
        {"files": {"../a.parquet": {"rows": 1, "bytes": 1, "sha256": ""}}},
        {"rows": {"sft": {"train": "many"}}},
        {"recipe": [1]},
    ],
)
def test_a_manifest_that_is_damaged_or_none_of_ours_is_refused(folder: Folder, harm: dict[str, Any]) -> None:
    one = export(folder, "20260101T000000Z-00000001", {"train": ["a one"]})
    export(folder, "20260102T000000Z-00000002", {"train": ["a one"]})
    path = one / "MANIFEST.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **harm}))
    with pytest.raises(SftError, match=r"MANIFEST\.json"):
        ask(folder, "export")


@pytest.fixture(scope="module")
def exported_twice(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two exports of the same rows: conversations, a pair and two judged answers, the second time with kto and sharegpt."""
    from sft_assets.exported.asset import exported
    from sft_assets.verbs import Workspace

    root = tmp_path_factory.mktemp("exports") / "data"
    (root / "sources").mkdir(parents=True)
    folder = Folder.at(root)
    put(folder, "a.json", QUESTIONS)
    put(folder, "pairs.json", [{"prompt": "Is the sea salty at all?", "chosen": "It is, quite.", "rejected": "No, never."}])
    judged = [{"prompt": f"Is number {n} even?", "completion": f"Number {n} is.", "label": bool(n)} for n in (0, 1)]
    put(folder, "judged.json", judged)
    say(folder, **NO_MODELS, exported={"formats": ["messages", "preference"]})
    Workspace.open(folder.root).run(["exported"], say=lambda _: None)
    say(folder, **NO_MODELS, exported={"formats": ["messages", "sharegpt", "kto"]})
    build(folder, exported)
    return folder


def test_other_formats_of_the_same_rows_are_no_difference(exported_twice: Folder) -> None:
    found = ask(exported_twice, "export")
    assert found.before.version is not None and found.after.version is not None
    assert found.counts == {"removed": 0, "added": 0, "changed": 0, "same": found.after.rows}
    assert any("exported.formats" in line for line in because(found)["exported"])


def test_nor_are_they_where_the_files_are_all_that_there_is(exported_twice: Folder, tmp_path: Path) -> None:
    shutil.copytree(exported_twice.exports, tmp_path / "exports", symlinks=True)
    found = ask(Folder.at(tmp_path), "export")
    assert found.before.version is None
    assert found.counts == {"removed": 0, "added": 0, "changed": 0, "same": 23}
    assert any("another format" in note for note in found.notes)
