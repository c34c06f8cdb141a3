"""The export: a split that leaks nothing, files that trainers open, a folder that is always whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from sft_assets import formats
from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import materialize
from sft_assets.combined import asset as combined
from sft_assets.deduped import asset as deduped
from sft_assets.errors import LawBroken, SftError
from sft_assets.exported import files as files_module
from sft_assets.exported import loaders
from sft_assets.exported.asset import exported
from sft_assets.exported.card import cell, licenses, size_category
from sft_assets.exported.folder import partial_folder, publish, retire
from sft_assets.exported.licenses import licensing
from sft_assets.exported.repetition import Repetition
from sft_assets.exported.splits import split
from sft_assets.exported.writers import narrow
from sft_assets.folder import Folder
from sft_assets.formats import alpaca, messages, preference
from sft_assets.raw import asset as raw
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message, content_hash, digest
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.build import Build, Table
from sft_assets.warehouse.versions import read_versions

# ---------------------------------------------------------------------------------------------- a dataset made by hand


@dataclass
class Row:
    """A row as `augmented` has it."""

    conversation: Conversation
    source: str = "questions"
    near: str | None = None
    conflict: str | None = None
    record: str | None = None
    parents: list[bytes] | None = None
    chunk: str | None = None
    topic: int | None = None
    verdict: str = "keep"
    reasons: list[str] = field(default_factory=list)

    @property
    def id(self) -> bytes:
        c = self.conversation
        return digest(self.source.encode(), c.kind.encode(), content_hash(c.messages, c.rejected, c.tools))


def chat(*turns: str, **more: Any) -> Conversation:
    roles = ("user", "assistant")
    return Conversation([Message(roles[i % 2], text) for i, text in enumerate(turns)], **more)


def sums(n: int, start: int = 0) -> list[Row]:
    return [Row(chat(f"What is {i} + {i}?", f"It is {2 * i}.", license="mit", language="en")) for i in range(start, start + n)]


def pair(i: int, **more: Any) -> Row:
    row = chat(f"Name prime {i}.", "7", kind="preference", rejected=[Message("assistant", "9")], license="mit", language="en")
    return Row(row, **more)


CALL = '[{"type":"function","function":{"name":"clock","arguments":{"city":"Rome"}}}]'
WITH_TOOLS = Conversation(
    [
        Message("user", "What time is it in Rome?"),
        Message("assistant", "", tool_calls=CALL),
        Message("tool", '{"time": "12:04"}', name="clock"),
        Message("assistant", "It is 12:04."),
    ],
    tools='[{"type":"function","function":{"name":"clock"}}]',
)

# what decides about the export; the real tables have more columns
SCORED = Table(
    "scored", {"row_id": "UUID", "content_hash": "UUID", "verdict": "VARCHAR", "review_reasons": "VARCHAR[]"}, after="deduped"
)
CLUSTERED = Table("clustered", {"row_id": "UUID", "content_hash": "UUID", "topic_id": "INTEGER"}, after="scored")
AUGMENTED = Table(
    "augmented",
    {"row_id": "UUID", "content_hash": "UUID", "generated_parents": "UUID[]", "generated_chunk": "UUID"},
    after="clustered",
)


def augmented(root: Path, rows: list[Row], dropped: int = 0) -> Folder:
    """A data folder whose warehouse holds these rows up to `augmented`; `dropped` more went on the way there."""
    folder = Folder.at(root)
    root.mkdir(exist_ok=True)
    named = lambda name: None if name is None else digest(name.encode())  # noqa: E731
    ids = uuids([r.id for r in rows])
    conversations = [r.conversation for r in rows]
    hashes = uuids([content_hash(c.messages, c.rejected, c.tools) for c in conversations])
    strings = lambda values: pa.array(list(values), pa.string())  # noqa: E731
    gone = [digest(b"gone", bytes([i])) for i in range(dropped)]
    records = uuids([named(r.record) or r.id for r in rows])
    columns = {
        "combined": {
            "row_id": ids,
            "record_id": records,
            "content_hash": hashes,
            "source": strings(r.source for r in rows),
            "kind": strings(c.kind for c in conversations),
            "label": pa.array([c.label for c in conversations], pa.bool_()),
            "license": strings(c.license for c in conversations),
            "language": strings(c.language for c in conversations),
            "meta": strings('{"secret": "only in meta"}' for _ in rows),
        },
        "deduped": {
            "row_id": ids,
            "content_hash": hashes,
            "near_group": uuids([named(r.near) for r in rows]),
            "conflict_group": uuids([named(r.conflict) for r in rows]),
        },
        "scored": {
            "row_id": ids,
            "content_hash": hashes,
            "verdict": strings(r.verdict for r in rows),
            "review_reasons": pa.array([r.reasons for r in rows], pa.list_(pa.string())),
        },
        "clustered": {"row_id": ids, "content_hash": hashes, "topic_id": pa.array([r.topic for r in rows], pa.int32())},
        "augmented": {
            "row_id": ids,
            "content_hash": hashes,
            "generated_parents": pa.array([r.parents for r in rows], pa.list_(pa.binary(16))).cast(pa.list_(pa.uuid())),
            "generated_chunk": uuids([named(r.chunk) for r in rows]),
        },
    }
    unique = {r.id: r for r in rows}
    with Warehouse(folder.database).writing() as con:
        for table in (raw.TABLE, combined.TABLE, deduped.TABLE, SCORED, CLUSTERED, AUGMENTED):
            name = table.name
            inputs = {table.after: "-"} if table.after else {}
            with Build.begin(con, table, "1", inputs) as build:
                if name == "raw":
                    all_ids = uuids([*unique, *gone])
                    build.store("records", "record_hash", pa.table({"record_hash": all_ids, "record": ["{}"] * len(all_ids)}))
                    build.insert(pa.table({"row_id": all_ids, "record_hash": all_ids}))
                    build.records_in = len(unique) + dropped
                    continue
                if name == "combined":
                    contents = {
                        "content_hash": hashes,
                        "messages": messages_array([c.messages for c in conversations]),
                        "rejected": messages_array([c.rejected for c in conversations]),
                        "tools": strings(c.tools for c in conversations),
                    }
                    build.store("contents", "content_hash", pa.table(contents))
                    for row_id in gone:
                        build.drop(row_id, "license", {})
                    for row_id in list(unique)[:2]:
                        build.edit(row_id, "mask email", None, None)
                build.insert(pa.table(columns[name]))
    return folder


def export(folder: Folder, again: bool = False, engine: dict[str, Any] | None = None, **section: Any) -> Path:
    """Run `exported` (train and test only, unless told otherwise) and give the newest folder."""
    recipe = Recipe.model_validate({"exported": {"validation_share": 0, **section}, "engine": engine or {}})
    materialize(exported, folder, recipe, {}, again=again)
    return (folder.exports / "latest").resolve()


def version_of(folder: Folder) -> Version:
    with Warehouse(folder.database).reading() as con:
        return next(v for v in read_versions(con) if v.asset == "exported")


def parquet(folder: Path, config: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((folder / config).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def loaded(folder: Path, home: Path, *configs: str) -> dict[str, Any]:
    """What `datasets.load_dataset` makes of a folder, offline, in a process of its own: config -> split -> rows."""
    code = (
        "import sys, json, datasets\n"
        "datasets.disable_progress_bars()\n"
        "load = lambda config: datasets.load_dataset(sys.argv[1], config or None)\n"
        "print(json.dumps({c: {split: list(rows) for split, rows in load(c).items()} for c in sys.argv[2:]}))"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code, str(folder), *configs], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ignored" not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def sides_of(folder: Folder) -> dict[bytes, str]:
    with Warehouse(folder.database).reading() as con:
        return {row_id.bytes: side for row_id, side in con.execute("SELECT row_id, split FROM exported").fetchall()}


# ----------------------------------------------------------------------------------------------------------- splits


def test_generated_rows_stand_on_the_side_of_all_their_parents_and_of_other_rows_of_their_chunk(tmp_path: Path) -> None:
    rows = sums(40)
    made = sums(20, start=100)
    for n, row in enumerate(made):
        row.parents = [rows[2 * n].id, rows[2 * n + 1].id] if n % 2 else None
        row.chunk = None if n % 2 else f"chunk {n // 4}"
    folder = augmented(tmp_path, [*rows, *made])
    export(folder, test_share=0.5, seed=3)
    side = sides_of(folder)
    assert set(side.values()) == {"train", "test"}
    for row in made:
        assert {side[parent] for parent in row.parents or []} <= {side[row.id]}
    by_chunk = {row.chunk: set[str]() for row in made if row.chunk}
    for row in made:
        if row.chunk:
            by_chunk[row.chunk].add(side[row.id])
    assert all(len(found) == 1 for found in by_chunk.values())


def ident(n: int) -> bytes:
    return digest(n.to_bytes(4, "big"))


Ties = tuple[int, int | None, int | None, int]
rows_with_ties = st.lists(
    st.tuples(st.integers(0, 60), st.none() | st.integers(0, 5), st.none() | st.integers(0, 5), st.integers(0, 30)), max_size=40
)


def sides(rows: list[Ties], share: float, seed: int = 0) -> list[str]:
    if not rows:
        return split(uuids([]), [uuids([])], share, seed).to_pylist()
    content, *ties = zip(*rows, strict=True)
    groups = [uuids([None if g is None else ident(g) for g in column]) for column in ties]
    return split(uuids([ident(c) for c in content]), groups, share, seed, (1 - share) / 3).to_pylist()


@settings(deadline=None)
@given(rows_with_ties, st.floats(0, 1), st.integers(0, 3))
def test_no_group_is_on_two_sides(rows: list[Ties], share: float, seed: int) -> None:
    side = sides(rows, share, seed)
    for column in range(4):
        of_group: dict[int, set[str]] = {}
        for row, s in zip(rows, side, strict=True):
            if row[column] is not None:
                of_group.setdefault(row[column], set()).add(s)
        assert all(len(s) == 1 for s in of_group.values())


@settings(deadline=None)
@given(rows_with_ties, st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_plays_no_part_in_the_split(rows: list[Ties], share: float, order: random.Random) -> None:
    numbers = list(range(len(rows)))
    order.shuffle(numbers)
    side = sides(rows, share)
    assert sides([rows[i] for i in numbers], share) == [side[i] for i in numbers]


def test_pairs_keep_their_side_in_reverse_order() -> None:
    pairs: list[Ties] = [(i, i // 2, None, i) for i in range(100)]
    side = sides(pairs, 0.3)
    assert 10 < side.count("test") < 50
    assert sides(pairs[::-1], 0.3) == side[::-1]


def singles(start: int, stop: int) -> list[Ties]:
    return [(i, None, None, i) for i in range(start, stop)]


def sides_by_topic(topics: dict[int, list[Ties]], test: float, validation: float, seed: int = 0) -> dict[int, list[str]]:
    """The side of each row, where rows stand in topics."""
    content, *ties = zip(*(row for rows in topics.values() for row in rows), strict=True)
    of_row = pa.array([topic for topic, rows in topics.items() for _ in rows], pa.int32())
    groups = [uuids([None if g is None else ident(g) for g in column]) for column in ties]
    side = iter(split(uuids([ident(c) for c in content]), groups, test, seed, validation, of_row).to_pylist())
    return {topic: [next(side) for _ in rows] for topic, rows in topics.items()}


def test_every_topic_gives_its_share_to_each_side_but_for_a_row_or_a_fifth() -> None:
    topics = {n: singles(10_000 * n, 10_000 * n + size) for n, size in enumerate([20, 25, 40, 40, 70, 130, 300, 700, 2000])}
    for seed in range(5):
        for rows in sides_by_topic(topics, 0.05, 0.1, seed).values():
            for side, share in (("test", 0.05), ("validation", 0.1)):
                due = share * len(rows)
                assert abs(rows.count(side) - due) <= max(1, 0.2 * due)


def test_topics_of_tied_rows_give_their_share_too() -> None:
    rng = random.Random(3)
    topics = {n: [(10_000 * n + i, n * 1000 + rng.randrange(60), None, 10_000 * n + i) for i in range(200)] for n in range(20)}
    for rows in sides_by_topic(topics, 0.1, 0.1).values():
        assert 16 <= rows.count("test") <= 24
        assert 16 <= rows.count("validation") <= 24


def test_a_component_that_spans_topics_is_on_one_side() -> None:
    for seed in range(10):
        topics = {n: [(100 * n + i, i, None, 100 * n + i) for i in range(40)] for n in range(3)}  # every row has a twin in each
        first, *others = sides_by_topic(topics, 0.2, 0.2, seed).values()
        assert all(other == first for other in others)
        assert set(first) == {"train", "validation", "test"}


def test_rows_that_come_to_one_topic_move_none_of_another() -> None:
    topics = {n: singles(1000 * n, 1000 * n + 30 + 10 * n) for n in range(8)}
    before = sides_by_topic(topics, 0.1, 0.1)
    topics[5] += singles(90_000, 90_200)
    after = sides_by_topic(topics, 0.1, 0.1)
    assert {n: after[n] for n in topics if n != 5} == {n: before[n] for n in topics if n != 5}


@given(st.integers(20, 60), st.integers(1, 30), st.integers(0, 50))
def test_rows_that_come_move_no_more_rows_of_their_topic_than_they_are(n: int, more: int, seed: int) -> None:
    before, after = (sides_by_topic({0: singles(0, size)}, 0.1, 0, seed)[0] for size in (n, n + more))
    assert sum(a != b for a, b in zip(before, after, strict=False)) <= more


def test_rows_of_a_large_set_keep_their_side_when_others_come() -> None:
    before, after = (sides_by_topic({0: singles(0, size)}, 0.1, 0.1)[0] for size in (4000, 9000))
    assert after[:4000] == before


def test_shares_of_more_than_all_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("exported:\n  validation_share: 0.6\n  test_share: 0.6\n")
    with pytest.raises(SftError, match=r"recipe\.yaml:1: exported: validation_share and test_share together"):
        Recipe.load(tmp_path / "recipe.yaml")


def test_a_validation_split_takes_no_row_from_the_test_split() -> None:
    without, with_one = (sides_by_topic({0: singles(0, 3000)}, 0.1, share)[0] for share in (0, 0.1))
    assert "validation" in with_one
    assert [i for i, side in enumerate(without) if side == "test"] == [i for i, side in enumerate(with_one) if side == "test"]


def test_the_numbers_that_topics_have_play_no_part() -> None:
    topics = {n: singles(1000 * n, 1000 * n + 50) for n in range(5)}
    renamed = {90 - n: rows for n, rows in topics.items()}
    assert list(sides_by_topic(topics, 0.1, 0.1).values()) == list(sides_by_topic(renamed, 0.1, 0.1).values())


def test_about_the_share_of_the_rows_is_test_and_the_seed_chooses_which() -> None:
    rows = singles(0, 4000)
    first, second = sides(rows, 0.05), sides(rows, 0.05, seed=1)
    assert 150 < first.count("test") < 250
    assert first != second


def test_a_group_larger_than_the_test_share_is_trained_on() -> None:
    for seed in range(20):
        large: list[Ties] = [(i, 1, None, i) for i in range(30)]
        single: list[Ties] = [(i, None, None, i) for i in range(100, 170)]
        assert set(sides(large + single, 0.2, seed)[:30]) == {"train"}


def test_equal_content_is_on_one_side_whatever_kind_it_has() -> None:
    for seed in range(20):
        side = sides([(1, None, None, 1), (1, None, None, 2), *[(i, None, None, i) for i in range(3, 9)]], 0.5, seed)
        assert side[0] == side[1]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_tiny_sets_have_something_to_train_on(n: int, share: float) -> None:
    for seed in range(20):
        side = sides([(i, None, None, i) for i in range(n)], share, seed)
        assert len(side) == n
        assert n == 0 or "train" in side
        assert share > 0 or "test" not in side


# ------------------------------------------------------------------------------------------------ which rows, and where


def test_every_row_is_exported_or_says_why_not(tmp_path: Path) -> None:
    rows = [*sums(5), Row(Conversation([Message("user", "Only a question")], kind="prompt"))]
    rows[0].verdict, rows[0].reasons = "review", ["too_short"]
    folder = augmented(tmp_path, rows)
    export(folder, test_share=0, without_review=True)
    with Warehouse(folder.database).reading() as con:
        dropped = con.execute("SELECT reason, evidence FROM dropped WHERE state = 'exported' ORDER BY reason").fetchall()
        kept = con.execute("SELECT DISTINCT split, verdict FROM exported").fetchall()
    assert [(reason, orjson.loads(e)) for reason, e in dropped] == [
        ("prompt_only", {"kind": "prompt"}),
        ("review", {"reasons": ["too_short"]}),
    ]
    assert kept == [("train", "keep")]


def test_rows_for_review_are_exported_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    rows = sums(3)
    rows[0].verdict = "review"
    assert len(parquet(export(augmented(tmp_path, rows), test_share=0))) == 3


def test_a_row_that_is_marked_for_review_later_leaves_an_export_without_such_rows(tmp_path: Path) -> None:
    rows = sums(3)
    folder = augmented(tmp_path, rows)
    assert len(parquet(export(folder, test_share=0, without_review=True))) == 3
    rows[0].verdict, rows[0].reasons = "review", ["too_short"]
    augmented(tmp_path, rows)  # with the rows that it had
    assert len(parquet(export(folder, test_share=0, without_review=True))) == 2


def test_rows_that_are_tied_later_are_brought_to_one_side(tmp_path: Path) -> None:
    rows = sums(40)
    folder = augmented(tmp_path, rows)
    export(folder, test_share=0.5)
    assert len(version_of(folder).report["splits"]) == 2
    for row in rows:
        row.near = "one group"
    augmented(tmp_path, rows)  # with the rows that it had
    export(folder, test_share=0.5)
    assert len(version_of(folder).report["splits"]) == 1


def test_tied_rows_stay_together_in_the_files(tmp_path: Path) -> None:
    rows = sums(60)
    for i, row in enumerate(rows):
        row.near, row.conflict, row.record = (f"near {i // 3}", None, None) if i < 30 else (None, f"c{i // 2}", f"r{i // 4}")
    folder = augmented(tmp_path, rows)
    out = export(folder, test_share=0.4)
    where = {r["row_id"]: path.name[:4] for path in (out / "data").glob("*.parquet") for r in pq.read_table(path).to_pylist()}
    assert set(where.values()) == {"trai", "test"}
    with Warehouse(folder.database).reading() as con:
        groups = con.execute("""
            SELECT list(row_id::VARCHAR) FROM exported
            GROUP BY GROUPING SETS (near_group, conflict_group, record_id)
            HAVING coalesce(near_group, conflict_group, record_id) IS NOT NULL
        """).fetchall()
    assert len(groups) > 10
    assert all(len({where[row_id] for row_id in ids}) == 1 for (ids,) in groups)


def test_a_leak_is_never_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sums(4)
    for row in rows:
        row.near = "one group"
    folder = augmented(tmp_path, rows)
    broken = lambda *_: pa.array(["train", "test", "train", "test"])  # noqa: E731
    monkeypatch.setattr("sft_assets.exported.asset.split", broken)
    with pytest.raises(LawBroken, match="no_group_in_two_splits"):
        export(folder)
    assert not folder.exports.exists()


def test_nothing_left_is_said_and_is_no_error(tmp_path: Path) -> None:
    out = export(augmented(tmp_path, [], dropped=3))
    text = (out / "README.md").read_text()
    assert "It holds no rows" in text
    assert "license 3" in text
    assert not (out / "data").exists()


def test_the_report_has_the_path_and_the_counts(tmp_path: Path) -> None:
    folder = augmented(tmp_path, [*sums(3), pair(1)])
    out = export(folder, test_share=0)
    report = version_of(folder).report
    assert report["export"] == f"exports/{out.name}" == report["files"][0]
    assert report["rows"] == {"sft": {"train": 3}, "preference": {"train": 1}}
    assert report["splits"] == {"train": 4}


def test_an_export_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    folder = augmented(tmp_path, sums(3))
    recipe = Recipe()
    first, written = materialize(exported, folder, recipe, {})
    assert written
    assert not materialize(exported, folder, recipe, {})[1]
    gone = folder.root / first.report["export"]
    subprocess.run(["rm", "-r", str(gone)], check=True)
    second, written = materialize(exported, folder, recipe, {})
    assert written
    assert second.data_version == first.data_version
    assert (folder.exports / "latest" / "MANIFEST.json").exists()


# ------------------------------------------------------------------------------------------------------------- files


def test_the_card_opens_with_load_dataset(tmp_path: Path) -> None:
    rows = [*sums(40), *(pair(i) for i in range(30)), Row(WITH_TOOLS)]
    rows += [Row(chat(f"Say {i}.", "No.", kind="unpaired", label=i % 2 == 0)) for i in range(5)]
    folder = augmented(tmp_path / "D", rows)
    out = export(folder, test_share=0.2)
    got = loaded(out, tmp_path / "home", "", "default", "preference", "unpaired")
    assert got[""] == got["default"]
    counts = version_of(folder).report["rows"]
    assert {split: len(rows) for split, rows in got["default"].items()} == counts["sft"]
    assert {split: len(rows) for split, rows in got["preference"].items()} == counts["preference"]
    assert sum(counts["sft"].values()) == 41
    assert counts["sft"]["test"] > 0
    assert set(got["preference"]["train"][0]) == {
        *("prompt", "chosen", "rejected", "tools", "source", "license", "language", "row_id")
    }
    assert {row["label"] for split in got["unpaired"].values() for row in split} == {True, False}
    tools = next(row for split in got["default"].values() for row in split if row["tools"])
    assert tools["tools"] == WITH_TOOLS.tools
    assert tools["messages"][1]["tool_calls"] == json.loads(CALL)


def test_the_card_names_only_what_is_there(tmp_path: Path) -> None:
    out = export(augmented(tmp_path, [pair(1), pair(2)]), test_share=0)
    front = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert [c["config_name"] for c in front["configs"]] == ["preference"]
    assert front["configs"][0]["default"] is True
    assert front["license"] == "mit"
    assert front["language"] == ["en"]
    assert front["size_categories"] == ["n<1K"]
    assert front["dataset_info"][0]["splits"][0]["num_examples"] == 2
    assert front["dataset_info"][0]["download_size"] == (out / "preference/train-00000-of-00001.parquet").stat().st_size
    assert {p.name for p in out.iterdir()} - set(loaders.NAMES) == {"MANIFEST.json", "README.md", "preference"}


def test_a_card_of_two_rows_loads_too(tmp_path: Path) -> None:
    out = export(augmented(tmp_path / "D", sums(2)))
    assert {s: len(rows) for s, rows in loaded(out, tmp_path / "home", "")[""].items()} == {"train": 2}


def test_the_card_tells_the_way_of_the_rows_and_none_of_their_text(tmp_path: Path) -> None:
    row = Row(chat("Tell me a riddle-text.", "An answer-text."), source="evil | <img src=x>\n# name [a](b)")
    out = export(augmented(tmp_path, [row, Row(WITH_TOOLS), *sums(3)], dropped=2), test_share=0)
    text = (out / "README.md").read_text()
    assert "| raw | 7 | 0 | 7 |  |" in text
    assert "| combined | 7 | 0 | 5 | license 2 |" in text
    assert "| combined | mask email | 2 |" in text
    assert "| tools or tool calls | 1 |" in text
    assert r"| evil \| \<img src=x\> # name \[a\](b) | not stated |  | 1 |" in text
    assert "riddle-text" not in text
    assert "answer-text" not in text
    everything = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet")
    assert b"only in meta" not in everything


def test_fields_that_no_turn_has_are_no_columns(tmp_path: Path) -> None:
    plain = export(augmented(tmp_path / "plain", sums(2)), test_share=0)
    assert parquet(plain)[0]["messages"][0].keys() == {"role", "content"}
    tools = export(augmented(tmp_path / "tools", [*sums(2), Row(WITH_TOOLS)]), test_share=0)
    assert parquet(tools)[0]["messages"][0].keys() == {"role", "content", "name", "tool_calls"}
    assert pq.ParquetFile(next((tools / "data").iterdir())).metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_slice_of_rows_keeps_its_own_turns() -> None:
    three = messages_array([chat(f"q{i}", f"a{i}").messages for i in range(3)])
    assert narrow(three[1:], ["role", "content"]).to_pylist() == [
        [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}] for i in (1, 2)
    ]


def test_rows_stand_in_the_order_of_their_ids(tmp_path: Path) -> None:
    out = export(augmented(tmp_path, [*sums(50), pair(1), pair(2), pair(3)]), test_share=0)
    for rows in (parquet(out), parquet(out, "preference"), lines(out / "preference/train.jsonl")):
        ids = [row["row_id"] for row in rows]
        assert ids == sorted(ids)
        assert len(ids) > 2


def test_text_that_does_not_fit_into_memory_is_sorted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*sums(200), *(pair(i) for i in range(20))]
    whole = export(augmented(tmp_path / "whole", rows))
    monkeypatch.setattr("sft_assets.exported.ordered.PART_BYTES", 500)
    parts = export(augmented(tmp_path / "parts", rows))
    assert whole.name[-8:] == parts.name[-8:]
    assert not list(parts.glob(".*"))


def test_a_large_export_is_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(files_module, "SHARD_BYTES", 20_000)
    monkeypatch.setattr("sft_assets.exported.asset.BATCH_ROWS", 10)
    rows = [Row(chat(f"Question {i}?", "word " * 200)) for i in range(60)]
    out = export(augmented(tmp_path / "D", rows), test_share=0)
    names = sorted(p.name for p in (out / "data").iterdir())
    assert len(names) == 3
    assert names == [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    assert len(loaded(out, tmp_path / "home", "")[""]["train"]) == 60
    manifest = orjson.loads((out / "MANIFEST.json").read_bytes())
    assert sum(entry["rows"] for path, entry in manifest["files"].items() if path.startswith("data/")) == 60


@pytest.mark.parametrize(
    ("names", "folders"), [(["messages"], {"data"}), (["alpaca"], {"alpaca"}), (["preference"], {"preference", "unpaired"})]
)
def test_only_the_formats_that_the_recipe_names_are_written(tmp_path: Path, names: list[str], folders: set[str]) -> None:
    rows = [*sums(2), pair(1), Row(chat("Say it.", "No.", kind="unpaired", label=False))]
    folder = augmented(tmp_path, rows)
    out = export(folder, formats=names, test_share=0)
    assert {p.name for p in out.iterdir() if p.is_dir()} == folders
    not_written = version_of(folder).report["not_written"]
    assert not_written == ({"sft": 2} if names == ["preference"] else {"preference": 1, "unpaired": 1})
    assert "Rows in no file" in (out / "README.md").read_text()


GOLDEN_ALPACA = b"""[
{"instruction":"And 3?","input":"","output":"9","system":"Be short.","history":[["Square of 2?","4"]]},
{"instruction":"Caf\xc3\xa9 \xe2\x80\x9clait\xe2\x80\x9d?\\nSay \\"yes\\".","input":"","output":"yes","system":"","history":[]}
]
"""


def test_alpaca_is_one_array_and_what_it_cannot_hold_is_counted(tmp_path: Path) -> None:
    system = Message("system", "Be short.")
    rows = [
        Row(Conversation([system, *chat("Square of 2?", "4", "And 3?", "9").messages])),
        Row(chat('Café “lait”?\nSay "yes".', "yes")),
        Row(WITH_TOOLS),
        Row(Conversation([Message("user", "a"), Message("user", "b"), Message("assistant", "c")])),
        Row(Conversation([Message("user", "Think."), Message("assistant", "Done.", reasoning="Hm.")])),
    ]
    folder = augmented(tmp_path, rows)
    out = export(folder, test_share=0)
    assert (out / "alpaca/train.json").read_bytes() == GOLDEN_ALPACA
    left_out = {"tools": 1, "turns_do_not_alternate": 1, "reasoning_name_or_weight": 1}
    assert version_of(folder).report["left_out"] == {"alpaca": left_out}
    assert orjson.loads((out / "MANIFEST.json").read_bytes())["left_out"] == {"alpaca": left_out}


def test_preference_rows_are_explicit_conversations(tmp_path: Path) -> None:
    called = Conversation([*WITH_TOOLS.messages], "preference", [Message("assistant", "Noon.")], WITH_TOOLS.tools)
    out = export(augmented(tmp_path, [Row(called)]), test_share=0)
    (row,) = lines(out / "preference/train.jsonl")
    assert row["prompt"] == [
        {"role": "user", "content": "What time is it in Rome?"},
        {"role": "assistant", "content": "", "tool_calls": json.loads(CALL)},
        {"role": "tool", "content": '{"time": "12:04"}', "name": "clock"},
    ]
    assert row["chosen"] == [{"role": "assistant", "content": "It is 12:04."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Noon."}]
    assert row["tools"] == WITH_TOOLS.tools
    assert row["source"] == "questions"


def test_unpaired_rows_keep_their_label(tmp_path: Path) -> None:
    out = export(augmented(tmp_path, [Row(chat("Say it.", "No.", kind="unpaired", label=False))]), test_share=0)
    (row,) = lines(out / "unpaired/train.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Say it."}]
    assert row["completion"] == [{"role": "assistant", "content": "No."}]
    assert row["label"] is False


def test_a_broken_tool_call_does_not_break_the_column(tmp_path: Path) -> None:
    broken = Conversation([Message("user", "Go."), Message("assistant", "", tool_calls='[{"type": ')])
    rows = [
        Row(broken),
        *(Row(Conversation([Message("user", f"{i}"), Message("assistant", "", tool_calls=CALL)])) for i in range(4)),
    ]
    out = export(augmented(tmp_path / "D", rows), test_share=0)
    calls = [row["messages"][1]["tool_calls"] for row in loaded(out, tmp_path / "home", "")[""]["train"]]
    assert calls.count(json.loads(CALL)) == 4
    assert [{"type": "function", "function": {"name": "", "arguments": '[{"type": '}}] in calls


# -------------------------------------------------------------------------------------------------------- round trips

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
calls = st.sampled_from([None, CALL])


def answer(content: str, calls: str | None, reasoning: str | None, weight: float | None) -> Message:
    return Message("assistant", content, tool_calls=calls, reasoning=reasoning, weight=weight)


answers = st.tuples(texts, calls, st.none() | texts, st.sampled_from([None, 0.0])).map(lambda parts: answer(*parts))
questions = st.tuples(texts, st.none() | texts).map(lambda parts: Message("user", *parts))
exchanges = st.lists(st.tuples(questions, answers), min_size=1, max_size=3).map(lambda pairs: [m for p in pairs for m in p])


@settings(deadline=None)
@given(exchanges, st.sampled_from([None, '[{"name":"f"}]']))
def test_messages_that_are_written_read_the_same(turns: list[Message], tools: str | None) -> None:
    record = orjson.loads(orjson.dumps({"messages": messages.write(turns), "tools": tools}))
    assert formats.read("messages", record) == [Conversation(turns, tools=tools)]


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=3), texts | st.none())
def test_alpaca_that_is_written_reads_the_same(pairs: list[tuple[str, str]], system: str | None) -> None:
    row = chat(*(text for p in pairs for text in p))
    if system is not None:
        row.messages.insert(0, Message("system", system))
    assert alpaca.cannot_hold(row) is None
    assert formats.read("alpaca", orjson.loads(orjson.dumps(alpaca.write(row)))) == [row]


@settings(deadline=None)
@given(exchanges, answers)
def test_preference_pairs_that_are_written_read_the_same(turns: list[Message], rejected: Message) -> None:
    assume(rejected != turns[-1])
    row = Conversation(turns, "preference", [rejected])
    record = {name: messages.write(part) for name, part in preference.write(row).items()}
    assert formats.read("preference", orjson.loads(orjson.dumps(record))) == [row]


def test_the_parquet_reads_back_as_the_rows_that_were_exported(tmp_path: Path) -> None:
    rows = [*sums(3), Row(WITH_TOOLS)]
    out = export(augmented(tmp_path, rows), test_share=0)
    (path,) = (out / "data").iterdir()
    read = {}
    for row in pq.read_table(path).to_pylist():
        (conversation,) = formats.read("messages", row)
        read[row["row_id"]] = (conversation.messages, conversation.tools, conversation.license, conversation.language)
    assert sorted(read.values(), key=str) == sorted(
        ((r.conversation.messages, r.conversation.tools, r.conversation.license, r.conversation.language) for r in rows),
        key=str,
    )


@pytest.mark.parametrize(
    ("roles", "rejected", "prompt"),
    [
        ("user assistant", "assistant", 1),
        ("system user assistant user assistant", "assistant", 4),
        ("user assistant tool assistant", "assistant", 3),
        ("user assistant tool assistant", "assistant tool assistant", 1),
        ("user assistant user assistant", "assistant user assistant", 1),
        ("user assistant tool assistant", "assistant assistant", 1),
    ],
)
def test_the_chosen_answer_begins_where_the_rejected_one_would(roles: str, rejected: str, prompt: int) -> None:
    turns = [Message(role, "text") for role in roles.split()]
    row = Conversation(turns, "preference", [Message(role, "other") for role in rejected.split()])
    parts = preference.write(row)
    assert len(parts["prompt"]) == prompt
    assert parts["prompt"] + parts["chosen"] == turns


# -------------------------------------------------------------------------------------------------- the folder is whole


def test_the_manifest_has_the_hash_of_every_file(tmp_path: Path) -> None:
    folder = augmented(tmp_path, [*sums(10), pair(1)])
    out = export(folder, test_share=0.3)
    manifest = orjson.loads((out / "MANIFEST.json").read_bytes())
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == names - {"MANIFEST.json"}
    for name, entry in manifest["files"].items():
        content = (out / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)
    assert out.name.endswith(manifest["content"][:8])
    assert manifest["recipe"]["exported"]["test_share"] == 0.3
    with Warehouse(folder.database).reading() as con:
        states = {v.asset: v.data_version for v in read_versions(con) if v.asset != "exported"}
    assert {name: entry["data_version"] for name, entry in manifest["states"].items()} == states


def test_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    folder = augmented(tmp_path, [*sums(20), pair(1), Row(WITH_TOOLS)])
    first, second = export(folder), export(folder, again=True)
    assert first != second
    assert first.name[-8:] == second.name[-8:]
    names = [{p.relative_to(d).as_posix(): p.read_bytes() for p in d.rglob("*") if p.is_file()} for d in (first, second)]
    assert all(names[0][n] == names[1][n] for n in names[0] if n != "MANIFEST.json")
    assert os.readlink(folder.exports / "latest") == second.name


def test_what_a_dead_process_left_is_removed_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = tmp_path / f".export.partial-{child.pid}"
    living = tmp_path / f".export.partial-{os.getppid()}"
    link = tmp_path / f".latest.partial-{child.pid}"
    dead.mkdir()
    (dead / "half.parquet").write_bytes(b"PAR1")
    living.mkdir()
    link.symlink_to("nowhere")
    with partial_folder(tmp_path):
        assert not dead.exists()
        assert not link.is_symlink()
        assert living.exists()


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = augmented(tmp_path, sums(5))
    before = export(folder)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "train.json")

    monkeypatch.setattr("sft_assets.exported.files.sync", full)
    with pytest.raises(SftError, match="No space left on device"):
        export(folder, test_share=0.5)
    assert (folder.exports / "latest").resolve() == before
    assert sorted(p.name for p in folder.exports.iterdir()) == sorted([before.name, "latest"])


def test_a_folder_in_the_place_of_the_link_is_not_overwritten(tmp_path: Path) -> None:
    folder = augmented(tmp_path, sums(2))
    (folder.exports / "latest").mkdir(parents=True)
    with pytest.raises(SftError, match="move the folder away"):
        export(folder)


@pytest.mark.parametrize("calls_before_death", range(11))
def test_a_kill_at_any_moment_leaves_a_whole_export(tmp_path: Path, calls_before_death: int) -> None:
    def write_one(word: str) -> None:
        with partial_folder(tmp_path) as partial:
            (partial / "data").mkdir()
            (partial / "data" / "train").write_text(word)
            (partial / "MANIFEST.json").write_text(word)
            publish(partial, word)

    write_one("old")
    child = os.fork()
    if child == 0:  # the process that is killed in its n-th system call that matters
        left = calls_before_death

        def dying(call: Any) -> Any:
            def run(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*args, **kwargs)

            return run

        for name in ("mkdir", "fsync", "rename", "symlink", "replace"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            write_one("new")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (calls_before_death < 10)
    latest = tmp_path / "latest"
    word = (latest / "MANIFEST.json").read_text()
    assert (latest / "data" / "train").read_text() == word
    assert word == ("old" if calls_before_death < 9 else "new")
    write_one("next")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert (latest / "data" / "train").read_text() == "next"


WRITING = """
import os, sys
from sft_assets.asset import materialize
from sft_assets.exported.asset import exported
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe

folder = Folder.at(sys.argv[1])
for line in sys.stdin:
    if (child := os.fork()) == 0:
        section = {"test_share": 0.1, "seed": int(line), "formats": ["messages", "alpaca", "sharegpt", "prompt_completion"]}
        materialize(exported, folder, Recipe.model_validate({"exported": section, "engine": {"keep_exports": 3}}), {})
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def check_whole(folder: Folder) -> str:
    """Every folder that is named like an export, and `latest`, hold all that their manifest names; the newest one's name."""
    complete = [path for path in folder.exports.iterdir() if not path.name.startswith(".") and not path.is_symlink()]
    for path in complete:
        manifest = orjson.loads((path / "MANIFEST.json").read_bytes())
        assert {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} == {*manifest["files"], "MANIFEST.json"}
        for name, entry in manifest["files"].items():
            assert hashlib.sha256((path / name).read_bytes()).hexdigest() == entry["sha256"]
    latest = (folder.exports / "latest").resolve()
    assert latest in complete
    return latest.name


@pytest.mark.timeout(600)
def test_an_export_killed_at_fifteen_random_moments_is_the_one_before_or_the_new_one(tmp_path: Path) -> None:
    folder = augmented(tmp_path, [*sums(1000), *(pair(i) for i in range(100))])
    rng = random.Random(5)
    writer = subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    assert writer.stdin and writer.stdout

    def begin(seed: int) -> int:
        assert writer.stdin and writer.stdout
        writer.stdin.write(f"{seed}\n")
        writer.stdin.flush()
        return int(writer.stdout.readline())

    def partial() -> bool:
        return any(".export.partial-" in path.name for path in folder.exports.glob(".*"))

    def wait(until: Callable[[], bool]) -> float:
        start = time.monotonic()
        while not until() and time.monotonic() - start < 60:
            time.sleep(0.001)
        return time.monotonic() - start

    begin(0)
    wait(partial)
    seconds = wait(lambda: not partial())  # from its first file until it has its name
    assert writer.stdout.readline() == "0\n"
    before, stopped = check_whole(folder), 0
    for seed in range(1, 16):
        child = begin(seed)
        wait(partial)
        time.sleep(rng.uniform(0, 1.1) * seconds)
        with suppress(ProcessLookupError):  # it was done before
            os.kill(child, signal.SIGKILL)
        killed = writer.stdout.readline() == f"{-signal.SIGKILL}\n"
        after = check_whole(folder)
        stopped += killed and after == before
        before = after
    assert stopped > 0
    begin(99)
    assert writer.stdout.readline() == "0\n"
    writer.stdin.close()
    writer.wait()
    assert check_whole(folder) != before
    assert not [path for path in folder.exports.iterdir() if path.name.startswith(".")]
    assert version_of(folder).report["export"] == f"exports/{check_whole(folder)}"


# ------------------------------------------------------------------------------------------------------- older exports


def test_exports_beyond_the_number_that_the_recipe_keeps_are_deleted_oldest_first(tmp_path: Path) -> None:
    folder = augmented(tmp_path, sums(30))
    mine = folder.exports / "sent-to-the-team"
    made = [export(folder, seed=seed, test_share=0.2).name for seed in range(3)]
    (folder.exports / made[0]).rename(mine)
    unfinished = folder.exports / "20200102T030405Z-00000000"
    unfinished.mkdir()
    made.append(export(folder, seed=3, test_share=0.2, engine={"keep_exports": 2}).name)
    left = {path.name for path in folder.exports.iterdir()}
    assert left == {made[2], made[3], mine.name, unfinished.name, "latest"}
    assert version_of(folder).report["deleted_exports"] == [made[1]]


def test_exports_of_one_second_have_names_in_the_order_of_their_age(tmp_path: Path) -> None:
    made = []
    for content in ("ffffffff", "00000000"):
        with partial_folder(tmp_path) as partial:
            made.append(publish(partial, content).name)
    assert made == sorted(made)


def test_the_export_that_latest_leads_to_is_never_deleted(tmp_path: Path) -> None:
    for name in ("20200101T000000Z-aaaaaaaa", "20200102T000000Z-bbbbbbbb", "20200103T000000Z-cccccccc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MANIFEST.json").write_text("{}")
    (tmp_path / "latest").symlink_to("20200101T000000Z-aaaaaaaa")
    assert retire(tmp_path, 1) == ["20200102T000000Z-bbbbbbbb"]
    assert {path.name[-8:] for path in tmp_path.iterdir()} == {"aaaaaaaa", "cccccccc", "latest"}


# ------------------------------------------------------------------------------------------------------------ repetition


def test_rows_of_a_repeated_source_stand_in_every_train_file_so_many_times(tmp_path: Path) -> None:
    rows = sums(60)
    for row in rows[:40]:
        row.source = "good"
    rows += [pair(i, source="good") for i in range(6)]
    folder = augmented(tmp_path / "D", rows)
    formats = ["messages", "alpaca", "preference"]
    out = export(folder, repeat={"good": 2.5}, test_share=0.2, validation_share=0.2, formats=formats)
    side = {row_id.hex(): s for row_id, s in sides_of(folder).items()}
    assert len(side) == 66
    written = Counter(row["row_id"].replace("-", "") for row in [*parquet(out), *parquet(out, "preference")])
    assert {written[row.id.hex()] for row in rows if row.source == "questions"} == {1}
    assert {n for row_id, n in written.items() if side[row_id] != "train"} == {1}
    times = [written[row.id.hex()] for row in rows if row.source == "good" and side[row.id.hex()] == "train"]
    assert {2, 3} == set(times)
    manifest = orjson.loads((out / "MANIFEST.json").read_bytes())
    assert manifest["repeated"] == {"good": {"rows": len(times), "times": 2.5, "written": sum(times)}}
    in_train = len(parquet_of(out, "train"))
    assert manifest["files"]["data/train-00000-of-00001.parquet"]["rows"] == in_train
    assert len(orjson.loads((out / "alpaca/train.json").read_bytes())) == in_train
    front = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert front["dataset_info"][0]["splits"][0] == {
        "name": "train",
        "num_bytes": front["dataset_info"][0]["splits"][0]["num_bytes"],
        "num_examples": in_train,
    }
    assert f"| good | {len(times)} | 2.5 | {sum(times)} |" in (out / "README.md").read_text()
    got = loaded(out, tmp_path / "home", "")[""]
    assert {split: len(of_split) for split, of_split in got.items()} == {
        split: len(parquet_of(out, split)) for split in ("train", "validation", "test")
    }


def parquet_of(out: Path, split: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def test_a_repeated_source_that_nobody_knows_is_refused_with_what_comes_close(tmp_path: Path) -> None:
    folder = augmented(tmp_path, sums(3))
    with pytest.raises(SftError, match=r"exported\.repeat: there is no source 'question'; did you mean 'questions'"):
        export(folder, repeat={"question": 2})
    assert not folder.exports.exists()
    export(folder, repeat={"generated:personas": 2, "questions": 1})


# --------------------------------------------------------------------------------------------------------------- tokens


def test_tokens_are_counted_for_each_row_where_the_recipe_names_a_tokenizer(tmp_path: Path) -> None:
    vocabulary = {word: n for n, word in enumerate(["?", "what", "is", "it", "."])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    words.pre_tokenizer = WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    folder = augmented(tmp_path / "D", [Row(chat("what is it", "it is it")), Row(chat("what", "it"))])
    plain = export(folder, test_share=0)
    assert "## Tokens" not in (plain / "README.md").read_text()
    out = export(folder, test_share=0, tokenizer=str(tmp_path / "tokenizer.json"))
    with Warehouse(folder.database).reading() as con:
        assert sorted(con.execute("SELECT tokens FROM exported").fetchall()) == [(2,), (6,)]
    manifest = orjson.loads((out / "MANIFEST.json").read_bytes())
    assert manifest["tokens"]["splits"] == {"train": {"all": 8, "median": 2, "p95": 6, "longest": 6}}
    assert "| train | 8 | 2 | 6 | 6 |" in (out / "README.md").read_text()


# ----------------------------------------------------------------------------------------------------------- front matter


def test_the_front_matter_says_where_the_rows_came_from_and_who_wrote_them(tmp_path: Path) -> None:
    rows = [*sums(3), *(Row(chat(f"Say {i}.", "No."), source=name) for i, name in enumerate(("acme", "generated:personas")))]
    folder = augmented(tmp_path, rows)
    recipe = Recipe.model_validate({"sources": [{"hub": "acme/chats", "name": "acme"}]})
    materialize(exported, folder, recipe, {})
    text = (folder.exports / "latest" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["source_datasets"] == ["acme/chats", "original"]
    assert front["annotations_creators"] == ["found", "machine-generated"]
    assert "synthetic" in front["tags"]
    assert front["language"] == ["en"]
    assert front["license"] == ["mit", "unknown"]
    assert {"pretty_name", "size_categories", "task_categories", "configs", "dataset_info"} <= front.keys()


def test_the_card_says_how_each_format_is_loaded(tmp_path: Path) -> None:
    rows = [*sums(4), pair(1), Row(chat("Say it.", "No.", kind="unpaired", label=False))]
    formats = ["messages", "alpaca", "preference", "sharegpt", "openai", "prompt_completion", "kto"]
    out = export(augmented(tmp_path, rows), formats=formats, test_share=0)
    text = (out / "README.md").read_text()
    folders = {path.name for path in out.iterdir() if path.is_dir()}
    assert folders == {"data", "alpaca", "preference", "sharegpt", "openai", "prompt_completion", "kto"}
    loading = text.split("## Loading")[1].split("\n## ")[0]
    for name in folders - {"data"}:
        assert f'"{name}"' in loading or f"`{name}/`" in loading
    assert {trainer for trainer in ("SFTTrainer", "DPOTrainer", "KTOTrainer") if trainer in loading} == {
        *("SFTTrainer", "DPOTrainer", "KTOTrainer")
    }


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("rows", "word"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (9999, "1K<n<10K"), (10_000, "10K<n<100K"), (2_500_000, "1M<n<10M")],
)
def test_sizes_are_named_as_the_hub_names_them(rows: int, word: str) -> None:
    assert size_category(rows) == word


@pytest.mark.parametrize(
    ("names", "front"),
    [
        (["mit"], {"license": "mit"}),
        (["MIT", "apache-2.0"], {"license": ["apache-2.0", "mit"]}),
        (["mit", None], {"license": ["mit", "unknown"]}),
        (["CC BY-NC 4.0", "mit"], {"license": ["cc-by-nc-4.0", "mit"]}),
        (["cc-by-4.0 AND mit", "mit"], {"license": ["cc-by-4.0", "mit"]}),
        (["Our Terms, v2", "mit"], {"license": "other", "license_name": "our-terms-v2-and-mit", "license_link": "README.md"}),
        (
            ["cc-by-sa-2.0"],
            {
                "license": "other",
                "license_name": "cc-by-sa-2.0",
                "license_link": "https://creativecommons.org/licenses/by-sa/2.0/",
            },
        ),
        ([], {}),
    ],
)
def test_licences_are_one_a_list_or_other(names: list[str | None], front: dict[str, Any]) -> None:
    assert licenses(licensing(("questions", name, 1) for name in names).held) == front


@settings(deadline=None)
@given(st.text())
def test_no_name_breaks_out_of_its_cell(name: str) -> None:
    shown = cell(name)
    assert "\n" not in shown
    assert "|" not in shown.replace("\\\\", "").replace("\\|", "")


# ----------------------------------------------------------------------------------------------------- from a cold reading


def test_small_topics_of_tied_rows_give_their_share_together() -> None:
    topics, pairs = 600, 9  # of 18 rows each, tied two by two: none of a topic alone is due to a side of 5 %
    content = uuids([digest(f"row {n}".encode(), b"x") for n in range(topics * pairs * 2)])
    tied = uuids([digest(f"pair {n // 2}".encode(), b"x") for n in range(topics * pairs * 2)])
    topic = pa.array([n // (pairs * 2) for n in range(topics * pairs * 2)], pa.int32())
    sides = Counter(split(content, [tied], 0.05, 0, 0.05, topic).to_pylist())
    for side in ("validation", "test"):
        assert 0.03 < sides[side] / len(content) < 0.07, sides


def test_an_old_export_that_cannot_be_deleted_stops_no_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exports = tmp_path / "exports"
    left_over = exports / f".20260102T030405Z-1f0c22ab.partial-{os.getpid()}"
    left_over.mkdir(parents=True)
    monkeypatch.setattr(os, "rmdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with partial_folder(exports) as partial:
        assert partial.is_dir()
    assert left_over.exists()


def test_copies_of_a_row_are_no_neighbours() -> None:
    ids = [f"{n:032x}" for n in range(4)]
    rows = pa.record_batch({"row_id": ids, "source": ["a", "b", "a", "b"]})
    written = [row for part in Repetition({"a": 3}, 0)(rows) for row in part.column("row_id").to_pylist()]
    assert Counter(written) == {ids[0]: 3, ids[2]: 3, ids[1]: 1, ids[3]: 1}
    assert all(one != other for one, other in pairwise(written))
