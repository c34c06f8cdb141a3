"""deduped.bloom: the same table with less memory, or at most the configured share of rows lost to the filter."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSHBloom

from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.deduped.bloom import Seen
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from tests.conftest import build, fresh, put, rows, say
from tests.test_deduped import long_text, sft

pybloomfilter = pytest.importorskip("pybloomfilter", reason="datasketch's bloom extra is not installed (it is compiled)")


def signatures(number: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 2**32, (number, 128), np.uint32)


def test_hits_are_those_of_datasketchs_own_query(recwarn: pytest.WarningsRecorder) -> None:
    signed = np.concatenate([signatures(300, 1), signatures(100, 1), signatures(100, 2)])
    theirs = MinHashLSHBloom(num_perm=128, n=1000, fp=1e-4 / 25, params=(25, 5))
    ours = Seen(1000, 1e-4, (25, 5), 128)
    expected = []
    for row in signed:
        sketch = MinHash(hashvalues=row, scheme="affine32")
        expected.append(theirs.query(sketch))
        theirs.insert(sketch)
    assert ours.add(ours.keys(signed)).any(axis=1).tolist() == expected


@pytest.mark.parametrize("rate", [0.05, 0.01, 0.001])
def test_the_measured_rate_of_false_positives_is_at_most_the_configured_one(rate: float) -> None:
    """Case 6 of the peers' mistakes. Filters as full as they were sized for, asked for signatures that they have not seen."""
    n = 20_000
    seen = Seen(n, rate, (25, 5), 128)
    assert seen.add(seen.keys(signatures(n, 3))).any(axis=1).mean() <= rate  # while they fill
    wrong = np.mean([
        any(key in table.bloom_filter for key, table in zip(row, seen.index.hashtables, strict=True))
        for row in seen.keys(signatures(n, 4)).tolist()
    ])  # fmt: skip
    assert wrong <= rate * 1.1 + 3 * (rate / n) ** 0.5  # three standard deviations of the measurement


@pytest.fixture
def records() -> list[dict[str, str]]:
    rng = random.Random(1)
    made = []
    for i in range(400):
        words = long_text(i % 250, 60).split()
        for _ in range(rng.randint(0, 1)):
            words[rng.randrange(len(words))] = rng.choice(["one", "two", "three"])
        made.append(sft("Which way?", " ".join(words) + f" {i % 250 % 3}."))
    return made + made[:20] + [sft("Short?", "Yes."), sft("Short?", "Yes.")]


def test_confirmed_hits_give_the_same_table(tmp_path: Any, records: list[Any]) -> None:
    tables = []
    for bloom in (False, True):
        folder = fresh(tmp_path / str(bloom))
        put(folder, "rows.jsonl", records)
        say(folder, deduped={"bloom": bloom})
        build(folder, raw, combined, deduped)
        table = rows(folder, "SELECT * FROM store.deduped_1 ORDER BY row_id")
        tables.append((table, rows(folder, "SELECT row_id, reason, evidence FROM dropped WHERE state = 'deduped' ORDER BY 1")))
    assert tables[0] == tables[1]
    assert len({reason for _, reason, _ in tables[0][1]}) == 2


def test_unconfirmed_hits_go_best_rows_first_and_say_so(folder: Folder, records: list[Any]) -> None:
    put(folder, "rows.jsonl", records)
    say(folder, deduped={"bloom": True, "bloom_confirm": False, "keep_if_numbers_differ": False})
    (version,) = build(folder, raw, combined, deduped)[-1:]
    assert set(version.report["dropped"]) == {"exact_duplicate", "bloom_duplicate"}
    evidence = rows(folder, "SELECT DISTINCT evidence ->> 'hit_in' FROM dropped WHERE reason = 'bloom_duplicate'")
    assert evidence == [("bloom filter",)]
    assert version.report["kept"] >= 250


def test_filters_have_room_for_the_rows_that_there_are_whatever_the_recipe_says(folder: Folder, records: list[Any]) -> None:
    put(folder, "rows.jsonl", records)
    say(folder, deduped={"bloom": True, "bloom_rows": 1, "bloom_confirm": False, "bloom_false_positives": 0.0001})
    (version,) = build(folder, raw, combined, deduped)[-1:]
    assert version.report["kept"] >= 250


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasketch.lsh_bloom as module

    class Missing:
        def __init__(self, *args: Any, **options: Any) -> None:
            raise ImportError("Required dependency pybloomfilter is missing")

    monkeypatch.setattr(module, "BloomTable", Missing)
    monkeypatch.setitem(sys.modules, "pybloomfilter", None)
    with pytest.raises(SftError, match=r"pip install 'sft-assets\[bloom\]'"):
        Seen(10, 0.01, (25, 5), 128)
