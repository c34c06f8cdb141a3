"""Disk: what does not fit into memory is spilled where the recipe says, and nothing of it is left; `sft plan` says what a run
needs."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NO_MODELS, build, put, say

from sft_assets import disk, gc
from sft_assets.combined.asset import combined
from sft_assets.deduped import near
from sft_assets.deduped.asset import deduped
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.amounts import amount
from sft_assets.raw.asset import raw
from sft_assets.raw.containers import zstd
from sft_assets.recipe import Recipe
from sft_assets.verbs import Workspace
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.opening import to_look, warehouse

TOO_MUCH = "CREATE TEMP TABLE much AS SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS text FROM range(1_500_000) AS t(i)"
SMALL = {"memory_limit": "60MB", "threads": 2}
ALPACA = [{"instruction": f"Question {n}?", "output": f"The answer to number {n} is a sentence."} for n in range(50)]

# --------------------------------------------------------------------------------------------------- where it is spilled


def house_of(folder: Folder) -> Warehouse:
    return warehouse(folder, Recipe.load(folder.recipe))


def files_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.rglob("*") if path.name.startswith("duckdb_temp"))


@pytest.mark.parametrize("said", [None, "scratch", "absolute"])
def test_what_does_not_fit_is_spilled_where_the_recipe_says_and_goes_with_the_connection(
    folder: Folder, tmp_path: Path, said: str | None
) -> None:
    place = {None: folder.root / ".spill", "scratch": folder.root / "scratch", "absolute": tmp_path / "elsewhere"}[said]
    if said:
        place.mkdir()
        say(folder, engine={**SMALL, "temp_directory": said if said == "scratch" else str(place)})
    else:
        say(folder, engine=SMALL)
    with house_of(folder).writing() as con:
        con.execute(TOO_MUCH)
        assert files_in(place)
        assert files_in(tmp_path) == files_in(place)
    assert place.exists() == bool(said)
    assert files_in(tmp_path) == []
    for house in (house_of(folder), to_look(folder)):  # whoever looks spills there too
        with house.reading() as con:
            con.execute(TOO_MUCH)
            assert files_in(place)
    assert not said or list(place.iterdir()) == []


def test_every_connection_has_the_limit_of_the_recipe(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    say(folder, engine={"memory_limit": "300MB", "threads": 2, "temp_directory": "../scratch"})
    for house in (house_of(folder), to_look(folder)):
        for way in (house.writing, house.reading, house.in_memory):
            with way() as con:
                limit, threads, place = con.execute(
                    "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
                ).fetchall()[0]
                assert limit == "286.1 MiB"
                assert threads == 2
                assert Path(place).parent.resolve() == tmp_path / "scratch"


def test_no_module_opens_duckdb_beside_the_warehouse() -> None:
    package = Path(near.__file__).parents[1]
    calls = [path.name for path in package.rglob("*.py") if "duckdb.connect(" in path.read_text("utf-8")]
    assert calls == ["database.py"]


def test_a_failure_and_an_interrupt_leave_nothing(folder: Folder) -> None:
    say(folder, engine=SMALL)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), house_of(folder).writing() as con:
            con.execute(TOO_MUCH)
            assert files_in(folder.root)
            raise error
        assert not (folder.root / ".spill").exists()


def test_a_second_connection_of_the_process_does_not_take_the_folder_of_the_first(folder: Folder) -> None:
    say(folder, engine=SMALL)
    with house_of(folder).writing():
        pass
    with house_of(folder).reading() as first:
        first.execute(TOO_MUCH)
        with house_of(folder).reading() as second, house_of(folder).in_memory() as third:
            third.execute(TOO_MUCH)
            assert second.execute("SELECT 1").fetchall() == [(1,)]
        assert first.execute("SELECT count(*), min(length(text)) FROM much").fetchall() == [(1_500_000, 64)]
    assert not (folder.root / ".spill").exists()


# ------------------------------------------------------------------------------------------------- others in the folder


SPILLING = f"""
    import sys
    from sft_assets.folder import Folder
    from sft_assets.recipe import Recipe
    from sft_assets.warehouse.opening import warehouse
    folder = Folder.at(sys.argv[1])
    with warehouse(folder, Recipe.load(folder.recipe)).writing() as con:
        con.execute("SET enable_progress_bar = false")
        con.execute("{TOO_MUCH}")
        print("spilled", flush=True)
        sys.stdin.readline()
        print(con.execute("SELECT count(*), min(length(text)) FROM much").fetchall(), flush=True)
"""


@pytest.fixture
def spilling() -> Iterator[Callable[[Folder], subprocess.Popen[str]]]:
    """Start a process that has spilled, and waits."""
    started = []

    def start(folder: Folder) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SPILLING), str(folder.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "spilled\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_data_folders_that_share_a_temporary_folder_leave_one_another_alone(
    tmp_path: Path, spilling: Callable[[Folder], subprocess.Popen[str]]
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("somebody's own")
    one, two = Folder.at(tmp_path / "one"), Folder.at(tmp_path / "two")
    for folder in (one, two):
        folder.root.mkdir()
        say(folder, engine={**SMALL, "temp_directory": str(shared)})
    alive, killed = spilling(one), spilling(two)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(shared.glob(".sft-*"))) == 2
    with house_of(two).writing() as con:  # the next one removes what the killed one left, and only that
        con.execute(TOO_MUCH)
        assert len(list(shared.glob(".sft-*"))) == 2
    assert len(list(shared.glob(".sft-*"))) == 1
    assert alive.communicate("\n")[0] == "[(1500000, 64)]\n"
    assert [path.name for path in shared.iterdir()] == ["duckdb_temp_storage_DEFAULT-0.tmp"]


def test_what_a_killed_process_spilled_is_collected_by_gc_and_by_the_next_run(
    folder: Folder, tmp_path: Path, spilling: Callable[[Folder], subprocess.Popen[str]]
) -> None:
    for setting, place in ((None, folder.root / ".spill"), ("../scratch", tmp_path / "scratch")):
        say(folder, engine={**SMALL, **({"temp_directory": setting} if setting else {})})
        place.mkdir(exist_ok=True)
        for collect in (True, False):
            process = spilling(folder)
            (held,) = place.iterdir()
            assert gc.find(Folder.at(tmp_path), Recipe(), gc.Options(compact=False)).items == []
            process.send_signal(signal.SIGKILL)
            process.wait()
            size = sum(path.stat().st_size for path in held.iterdir())
            assert size > 1e6
            if collect:
                (item,) = gc.find(folder, Recipe.load(folder.recipe), gc.Options(compact=False)).items
                assert (item.number, item.bytes) == (1, size)
                _, won = gc.collect(folder, Recipe.load(folder.recipe), gc.Options(compact=False))
                assert won > size / 2  # the database is laid out meanwhile
            else:
                put(folder, "a.jsonl", ALPACA)
                build(folder, raw)
            assert not held.exists()
            assert not setting or list(place.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("said", "why"), [("nowhere/at/all", "is not there"), ("recipe.yaml", "is no folder"), ("recipe.yaml/x", "is not there")]
)
def test_a_temporary_folder_that_cannot_be_is_named_with_the_setting(folder: Folder, said: str, why: str) -> None:
    say(folder, engine={"temp_directory": said})
    put(folder, "a.jsonl", ALPACA)
    with pytest.raises(SftError, match=why) as error:
        build(folder, raw)
    assert "engine.temp_directory" in str(error.value)
    assert str(folder.recipe) in str(error.value)
    assert str(folder.root / said) in str(error.value)
    say(folder)
    build(folder, raw)
    say(folder, engine={"temp_directory": said})
    with house_of(folder).reading() as con:  # to look it is not needed
        assert con.execute("SELECT count(*) FROM raw").fetchall() == [(50,)]
    with pytest.raises(SftError, match="Nothing could be spilled") as error, to_look(folder).reading() as con:
        con.execute("SET memory_limit = '60MB'")
        con.execute(TOO_MUCH)
    assert "engine.temp_directory" in str(error.value)


def test_a_temporary_folder_that_is_read_only_is_named_with_the_setting(folder: Folder, tmp_path: Path) -> None:
    place = tmp_path / "locked"
    place.mkdir(mode=0o500)
    if os.access(place, os.W_OK):  # root may write anywhere, but not into the kernel's own
        place = Path("/proc")
        if not place.is_dir():
            pytest.skip("whoever may write everywhere meets no folder that is read-only")
    say(folder, engine={"temp_directory": str(place)})
    put(folder, "a.jsonl", ALPACA)
    with pytest.raises(SftError, match="nothing can be written there") as error:
        build(folder, raw)
    assert f"engine.temp_directory in {folder.recipe} says {place}" in str(error.value)


def test_a_temporary_folder_whose_disk_is_full_is_named_with_the_setting(folder: Folder) -> None:
    say(folder, engine=SMALL)
    with pytest.raises(SftError, match=r"the disk is full") as error, house_of(folder).writing() as con:
        con.execute("SET max_temp_directory_size = '2MB'")
        con.execute(TOO_MUCH)
    assert str(folder.root / ".spill") in str(error.value)
    assert "engine.temp_directory" in str(error.value)
    assert not (folder.root / ".spill").exists()


FULL = """
    import resource, sys
    from sft_assets.errors import SftError
    from sft_assets.folder import Folder
    from sft_assets.recipe import Recipe
    from sft_assets.warehouse.opening import warehouse
    folder = Folder.at(sys.argv[1])
    with warehouse(folder, Recipe.load(folder.recipe)).writing():
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
    try:
        with warehouse(folder, Recipe.load(folder.recipe)).writing() as con:
            con.execute("SET enable_progress_bar = false")
            con.execute(sys.argv[2])
    except SftError as error:
        print(error)
"""


def test_a_spilled_file_that_cannot_grow_is_not_taken_for_the_database(folder: Folder) -> None:
    say(folder, engine=SMALL)
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(folder.root), TOO_MUCH], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(str(folder.root / ".spill")), run.stdout + run.stderr
    assert "engine.temp_directory" in run.stdout
    assert not (folder.root / ".spill").exists()


# ----------------------------------------------------------------------------------------------------------- the shingles


def test_shingles_that_are_too_many_for_the_memory_lie_there_too_and_leave_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(folder, engine=SMALL)
    put(
        folder, "a.jsonl", [{**row, "output": f"{row['output']} Again and again, as ever."} for row in ALPACA for _ in range(2)]
    )
    (before,) = build(folder, raw, combined, deduped)[-1:]
    places: list[str | None] = []
    ordinary = near._on_disk

    def watched(number: int, spill: str | None) -> np.ndarray:
        places.append(spill)
        return ordinary(number, spill)

    monkeypatch.setattr(near, "IN_MEMORY", 0)
    monkeypatch.setattr(near, "_on_disk", watched)
    (after,) = build(folder, deduped, again=True)
    assert after.data_version == before.data_version
    assert after.report["dropped"] == {"exact_duplicate": 50}
    assert Path(str(places[-1])).parent == folder.root / ".spill"  # before it, kernels are tried on a handful of rows
    assert not (folder.root / ".spill").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room in a file")
def test_shingles_for_which_there_is_no_room_end_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SftError, match=r"temp_directory") as error:
        near._on_disk(1 << 56, str(tmp_path))
    assert str(tmp_path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- what plan says


BUNDLED = Path(__file__).parents[1] / "data"
WORDS = [f"word{number:x}" for number in range(0, 90_000, 7)]


def texts(seed: int, number: int, words: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(words // 2, words))) for _ in range(number)]


def bundled_data(folder: Folder) -> None:
    """What comes with the package, with everything that needs no language model."""
    for name in ("sources", "benchmarks", "documents"):
        shutil.copytree(BUNDLED / name, folder.root / name, dirs_exist_ok=True)
    say(folder, **NO_MODELS | {"embeddings": {"model": "static"}})


def made_data(folder: Folder) -> None:
    """Long chats in gzip, short rows in a table and in parquet, of which many are equal; other formats out."""
    asked, said = texts(1, 1600, 30), texts(2, 1600, 300)
    chats = [
        {
            "conversations": [
                {"from": "human" if turn % 2 == 0 else "gpt", "value": (asked if turn % 2 == 0 else said)[4 * n + turn]}
                for turn in range(4)
            ]
        }
        for n in range(400)
    ]
    put(folder, "chats.jsonl.gz", gzip.compress(b"\n".join(map(orjson.dumps, chats))))
    short = list(zip(texts(3, 6000, 12), texts(4, 6000, 6), strict=True))
    put(folder, "short.csv", "instruction,output\n" + "".join(f"{a},{b}\n" for a, b in short[:3000] + short[:1000]))
    columns = io.BytesIO()
    pq.write_table(pa.table({"instruction": [a for a, _ in short[3000:]], "output": [b for _, b in short[3000:]]}), columns)
    put(folder, "columns.parquet", columns.getvalue())
    say(folder, **NO_MODELS | {"exported": {"formats": ["sharegpt", "prompt_completion"]}})


def taken(folder: Folder) -> dict[str, int]:
    """Bytes of what a run makes, by the parts of the estimate."""

    def size(*paths: Path) -> int:
        inside = [p for path in paths for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file()]
        return sum(path.stat().st_size for path in inside if not path.is_symlink())

    return {
        "growth": size(folder.database),
        "caches": size(folder.embeddings, folder.scores, folder.calls),
        "exports": size(*(path for path in folder.exports.glob("*") if not path.is_symlink())),
        "pages": size(folder.report, folder.map),
        "records": size(folder.dagster),
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("make", [bundled_data, made_data])
def test_what_plan_says_of_the_disk_is_an_upper_bound_and_not_an_absurd_one(
    folder: Folder, make: Callable[[Folder], None]
) -> None:
    make(folder)
    space = Workspace.open(folder.root)
    first, before = space.disk(space.plan()), taken(folder)
    assert not folder.database.exists()
    space.run(say=lambda text: None)
    after = taken(folder)
    took = {part: after[part] - before[part] for part in after}
    assert sum(took.values()) <= first.stays <= 5 * sum(took.values()), (took, first)
    for part, size in took.items():
        assert size <= getattr(first, part) <= max(5 * size, 500_000), (part, took, first)

    # what is measured takes the place of what was assumed: a threshold makes no text, a small file little
    say(folder, **json.loads(folder.recipe.read_bytes()) | {"deduped": {"threshold": 0.75}})
    space = Workspace.open(folder.root)
    other = space.disk(space.plan())
    assert other.database["texts"] == 0
    assert "raw" not in other.database
    assert other.stays < first.stays
    put(folder, "more.jsonl", ALPACA)
    space = Workspace.open(folder.root)
    more = space.disk(space.plan())
    assert 0 < more.database["texts"] < first.database["texts"] / 3
    space.run(say=lambda text: None)
    again = taken(folder)
    assert sum(again.values()) - sum(after.values()) <= more.stays
    assert again["growth"] - after["growth"] <= more.growth


def test_plan_shows_it_and_writes_nothing(folder: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    bundled_data(folder)
    sft("plan", "--data", str(folder.root))

    def there() -> dict[str, bytes]:
        return {
            path.relative_to(folder.root).as_posix(): path.read_bytes()
            for path in folder.root.rglob("*")
            if path.is_file() and not path.is_relative_to(folder.dagster)
        }

    before = there()
    code, out, _ = sft("plan", "--data", str(folder.root))
    assert there() == before
    assert code == 0
    for said in ("the database grows by", "exports", "caches of models", "are free", str(folder.root)):
        assert said in out
    code, out, _ = sft("plan", "--json", "--data", str(folder.root))
    found = json.loads(out)
    assert code == 0
    assert list(found) == ["stale", "may_follow", "models", "disk"]
    assert found["stale"]["raw"] == ["never materialized"]
    assert found["disk"]["stays"] > 5_000_000
    assert found["disk"]["warnings"] == []
    assert found["disk"]["places"][0]["folders"] == [str(folder.root)]


def test_a_disk_that_may_be_too_small_is_told_of_and_nothing_is_refused(
    folder: Folder, sft: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.jsonl", ALPACA)
    say(folder, **NO_MODELS)
    monkeypatch.setattr(disk, "_free", lambda path: 1_000_000)
    code, out, _ = sft("plan", "--data", str(folder.root))
    assert code == 0
    warning = re.escape(str(folder.root)) + r": this run may need 0\.0[12] GB there, and 0\.00 GB are free"
    assert re.search(warning, out)
    assert "sft gc" in out
    code, out, _ = sft("run", "deduped", "--data", str(folder.root))
    assert code == 0
    assert re.search(warning, out)
    assert sft("run", "deduped", "--data", str(folder.root))[1].count("may need") == 0  # nothing is stale


def test_where_there_is_room_in_plenty_a_run_estimates_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.jsonl", ALPACA)
    say(folder, **NO_MODELS)
    monkeypatch.setattr(disk, "_free", lambda path: 10**12)
    monkeypatch.setattr("sft_assets.verbs.estimate_disk", lambda *_: pytest.fail("it was estimated"))
    assert Workspace.open(folder.root).run(["raw"], say=lambda text: None) == ["raw"]


def test_what_is_spilled_counts_where_it_is_spilled(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.jsonl", [{"instruction": text, "output": text} for text in texts(5, 4000, 100)])
    shared = Path("/dev/shm")
    elsewhere = shared if shared.is_dir() and shared.stat().st_dev != tmp_path.stat().st_dev else tmp_path
    say(folder, **NO_MODELS, engine={"memory_limit": "1MB", "temp_directory": str(elsewhere)})
    space = Workspace.open(folder.root)
    found = space.disk(space.plan())
    assert found.spilled > amount(folder.sources.iterdir()).text
    needs = {str(path): place.need for place in found.places for path in place.folders}
    if elsewhere == shared:
        assert needs == {str(folder.root): found.stays, str(shared): found.spilled}
    else:
        assert set(needs.values()) == {found.stays + found.spilled}
    say(folder, **NO_MODELS)
    space = Workspace.open(folder.root)
    assert space.disk(space.plan()).spilled == 0


@pytest.mark.parametrize("ending", ["json", "jsonl", "jsonl.gz", "jsonl.zst", "zip", "csv", "parquet", "utf16.json"])
def test_how_much_is_in_a_file_is_told_by_its_beginning(tmp_path: Path, ending: str) -> None:
    asked = texts(6, 5000, 60)
    records = [{"instruction": text, "output": text.upper()} for text in asked]
    lines = b"".join(orjson.dumps(record) + b"\n" for record in records)
    held = io.BytesIO()
    if ending == "zip":
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("one.jsonl", lines)
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(records), held)
    else:
        content = {
            "json": json.dumps(records, indent=2).encode(),
            "jsonl": lines,
            "jsonl.gz": gzip.compress(lines),
            "jsonl.zst": zstd.compress(lines),
            "csv": b"instruction,output\n" + b"".join(f"{text},{text.upper()}\n".encode() for text in asked),
            "utf16.json": json.dumps(records).encode("utf-16"),
        }[ending]
        held.write(content)
    path = tmp_path / f"file.{ending}"
    path.write_bytes(held.getvalue())
    found = amount([path])
    assert found.records == pytest.approx(5000, rel=0.1)
    assert found.text == pytest.approx(len(lines), rel=0.15)
    assert found.packed == pytest.approx(len(zstd.compress(lines)), rel=0.35)


def test_files_that_cannot_be_read_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.json").write_bytes(b"")
    found = amount([*tmp_path.iterdir(), tmp_path / "nowhere.json"])
    assert (found.records, found.text) == (0, 0)
