"""The database: versions, laws inside the transaction, and plain words for what can go wrong with a file."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from sft_assets.arrow import uuids
from sft_assets.errors import Busy, LawBroken, SftError
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build, Law, Table
from sft_assets.warehouse.versions import read_versions

PEOPLE = Table("people", {"row_id": "UUID", "name": "VARCHAR"})


def key(n: int) -> bytes:
    return n.to_bytes(16, "big")


def write(house: Warehouse, names: list[str], table: Table = PEOPLE, records_in: int | None = None) -> str:
    """A version with one row a name; its data version."""
    with house.writing() as con:
        with Build.begin(con, table, "1", {}, house.keep_versions) as build:
            build.records_in = len(names) if records_in is None else records_in
            build.insert(pa.table({"row_id": uuids([key(i) for i in range(len(names))]), "name": pa.array(names, pa.string())}))
        return {v.asset: v.data_version for v in read_versions(con)}[table.name]


@pytest.fixture
def house(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "sft.duckdb", wait=0.3)


def test_equal_content_has_an_equal_version_whatever_its_order(house: Warehouse) -> None:
    with house.writing() as con:
        versions = []
        for order in ([0, 1, 2], [2, 0, 1]):
            with Build.begin(con, PEOPLE, "1", {}) as build:
                build.records_in = 3
                build.insert(pa.table({"row_id": uuids([key(i) for i in order]), "name": [f"n{i}" for i in order]}))
            versions.append(read_versions(con)[0].data_version)
    assert versions[0] == versions[1]
    assert write(house, ["n0", "n1", "n2"]) == versions[0]
    assert write(house, ["n0", "n1", "other"]) != versions[0]


def test_pairs_of_equal_rows_do_not_cancel_in_the_version(house: Warehouse) -> None:
    evidence = Table("notes", {"text": "VARCHAR"}, is_state=False)
    seen = set()
    for texts in ([], ["a", "a"], ["b", "b"], ["a", "a", "b", "b"]):
        with house.writing() as con:
            with Build.begin(con, evidence, "1", {}) as build:
                build.insert(pa.table({"text": pa.array(texts, pa.string())}))
            seen.add(read_versions(con)[0].data_version)
    assert len(seen) == 4


BROKEN = [
    ("balance", PEOPLE, {"records_in": 5}),
    ("ids_unique", PEOPLE, {"repeat": True}),
    ("drops_explained", PEOPLE, {"drop_kept": True}),
    (
        "own",
        Table(
            "people", PEOPLE.columns, laws=(Law("own", "nobody is called X", "SELECT count(*) FROM {table} WHERE name = 'X'"),)
        ),
        {"name": "X"},
    ),
]


@pytest.mark.parametrize(("law", "table", "how"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_law_leaves_the_table_before_it(house: Warehouse, law: str, table: Table, how: dict[str, object]) -> None:
    before = write(house, ["a", "b"])
    with pytest.raises(LawBroken, match=law), house.writing() as con, Build.begin(con, table, "2", {}) as build:
        ids = [key(0), key(0 if how.get("repeat") else 1)]
        build.insert(pa.table({"row_id": uuids(ids), "name": [str(how.get("name", "c")), "d"]}))
        build.records_in = int(str(how.get("records_in", 2)))
        if how.get("drop_kept"):
            build.drop(key(0), "some_reason", {})
            build.records_in = 3
    with house.reading() as con:
        assert con.execute("SELECT name FROM people ORDER BY name").fetchall() == [("a",), ("b",)]
        assert [v.data_version for v in read_versions(con, current=False)] == [before]
        assert con.execute("SELECT count(*) FROM store.dropped").fetchall() == [(0,)]


def test_an_error_while_writing_leaves_the_table_before_it(house: Warehouse) -> None:
    write(house, ["a"])
    with pytest.raises(ZeroDivisionError), house.writing() as con, Build.begin(con, PEOPLE, "2", {}) as build:
        build.insert(pa.table({"row_id": uuids([key(1)]), "name": ["z"]}))
        raise ZeroDivisionError
    with house.reading() as con:
        assert con.execute("SELECT name FROM people").fetchall() == [("a",)]
        assert [
            t for (t,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'people_%'").fetchall()
        ] == ["people_1"]


def test_only_the_last_versions_stay_and_those_that_others_are_built_on(tmp_path: Path) -> None:
    house = Warehouse(tmp_path / "sft.duckdb", keep_versions=2)
    evidence = Table("built", {"n": "INTEGER"}, is_state=False)
    write(house, ["first"])
    with house.writing() as con, Build.begin(con, evidence, "1", {"people": "x"}, 2) as build:
        build.insert_sql("SELECT 1 AS n")
    for i in range(4):
        write(house, [f"later {i}"])
    with house.reading() as con:
        numbers = [v.number for v in read_versions(con, current=False) if v.asset == "people"]
        assert numbers == [1, 4, 5]  # 1: `built` was made from it
        assert con.execute("SELECT name FROM store.people_1_rows").fetchall() == [("first",)]
        assert con.execute("SELECT name FROM people").fetchall() == [("later 3",)]


def test_no_batch_that_was_stored_stays_in_memory(house: Warehouse) -> None:
    """A transaction may store more than there is memory."""
    before, held = pa.total_allocated_bytes(), list[int]()
    with house.writing() as con, Build.begin(con, PEOPLE, "1", {}, house.keep_versions) as build:
        for first in range(0, 40_000, 1000):
            build.records_in += 1000
            numbers = range(first, first + 1000)
            ids = uuids(map(key, numbers))
            build.insert(pa.table({"row_id": ids, "name": pa.array([f"{n}" * 200 for n in numbers])}))
            build.drop_sql("SELECT row_id, 'none' AS reason, '{}' AS evidence FROM batch LIMIT 0", pa.table({"row_id": ids}))
            held.append(pa.total_allocated_bytes() - before)
    assert max(held[1:]) < 2 * held[0] + 1_000_000, held


def test_a_row_that_came_in_may_not_be_swapped_for_another(house: Warehouse) -> None:
    """Three in, two kept, one dropped: the numbers agree, the rows do not."""
    table = Table("adults", {"row_id": "UUID", "content_hash": "UUID"}, after="people")
    write(house, ["a", "b", "c"])
    with pytest.raises(LawBroken, match="rows_accounted"), house.writing() as con:
        with Build.begin(con, table, "1", {"people": "x"}) as build:
            build.store("contents", "content_hash", pa.table({"content_hash": uuids([key(5)])}))
            build.insert(pa.table({"row_id": uuids([key(0), key(99)]), "content_hash": uuids([key(5)] * 2)}))
            build.drop(key(77), "some_reason", {})


def test_a_database_whose_first_writer_was_killed_is_taken_for_empty(house: Warehouse) -> None:
    duckdb.connect(house.path).close()
    with house.reading() as con:
        assert read_versions(con) == []
    assert write(house, ["a"])


# ------------------------------------------------------------------------------------------------------------ failures


def test_a_damaged_file_is_named_with_the_way_to_rebuild_it_and_left_alone(house: Warehouse) -> None:
    write(house, ["some name " * 50] * 5000)
    whole = house.path.read_bytes()
    for damaged in (whole[:100], whole[: len(whole) // 2], b"not a database at all" * 500, bytes(len(whole))):
        house.path.write_bytes(damaged)
        try:
            with house.writing() as con:
                con.execute("SELECT sum(length(name)) FROM people").fetchall()
        except SftError as error:
            assert str(house.path) in str(error)
            assert "sft run" in str(error)
            assert "mv " in str(error)
        else:
            pytest.fail("a damaged file was read without a word")
        assert len(house.path.read_bytes()) >= len(damaged)


def test_a_flipped_byte_is_noticed(house: Warehouse) -> None:
    write(house, [f"name {i} " * 20 for i in range(20000)])
    data = bytearray(house.path.read_bytes())
    for place in range(len(data) // 4, len(data), len(data) // 7):
        data[place] ^= 0xFF
    house.path.write_bytes(data)
    with pytest.raises(SftError, match="damaged"), house.reading() as con:
        con.execute("SELECT * FROM people").fetchall()


def test_there_is_no_dataset_yet(house: Warehouse) -> None:
    with pytest.raises(SftError, match="sft run"), house.reading():
        pass


def in_a_process(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_process_is_told_who_has_the_database_open(house: Warehouse) -> None:
    write(house, ["a"])
    holder = in_a_process(
        """
        import sys
        from pathlib import Path
        from sft_assets.warehouse import Warehouse
        with Warehouse(Path(sys.argv[1])).writing():
            print("open", flush=True)
            sys.stdin.read()
        """,
        str(house.path),
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "open\n"
        for way in (house.reading, house.writing):
            with pytest.raises(Busy, match=str(holder.pid)), way():
                pass
    finally:
        holder.kill()
        holder.communicate()
    with house.reading() as con:
        assert con.execute("SELECT name FROM people").fetchall() == [("a",)]


def test_a_full_disk_is_named_and_the_table_before_it_stands(house: Warehouse) -> None:
    write(house, ["a"])
    limit = os.path.getsize(house.path) + 300_000
    child = in_a_process(
        """
        import resource, sys
        from pathlib import Path
        import pyarrow as pa
        from sft_assets.errors import SftError
        from sft_assets.arrow import uuids
        from sft_assets.warehouse import Warehouse
        from sft_assets.warehouse.build import Build, Table
        import os
        house = Warehouse(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
        try:
            table = Table("people", {"row_id": "UUID", "name": "VARCHAR"})
            with house.writing() as con, Build.begin(con, table, "2", {}) as build:
                for i in range(40):
                    ids = uuids([(i * 10000 + j).to_bytes(16, "big") for j in range(10000)])
                    build.insert(pa.table({"row_id": ids, "name": [os.urandom(100).hex() for _ in range(10000)]}))
                build.records_in = 400000
        except SftError as error:
            print(error)
        else:
            print("nothing happened")
        """,
        str(house.path),
        str(limit),
    )
    said, errors = child.communicate(timeout=120)
    assert "disk is full" in said, said + errors
    assert str(house.path) in said
    with house.reading() as con:
        assert con.execute("SELECT name FROM people").fetchall() == [("a",)]
