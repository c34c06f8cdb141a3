"""What near duplicates have to stand: huge rows, shared preambles, chains, thresholds met exactly, templates, broken input."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.combined.asset import combined
from sft_assets.deduped import near as module
from sft_assets.deduped.asset import deduped
from sft_assets.deduped.near import Duplicates, find_duplicates
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.text import jaccard, numbers, shingles, tokens
from tests.conftest import build, fresh, put, rows, say
from tests.test_deduped import long_text, run, sft

WORDS = [f"word{i}" for i in "abcdefghijklmnopqrstuvwxyz"] + [f"term{i}" for i in "abcdefghijklmnopqrstuvwxyz"]


def test_nothing_at_all_and_nothing_but_blanks() -> None:
    assert len(find_duplicates([]).of) == 0
    assert find_duplicates(["", "", " "]).of.tolist() == [-1, 0, 0]
    assert find_duplicates(pa.array(["one row"])).of.tolist() == [-1]


def test_of_a_thousand_equal_rows_one_stays() -> None:
    found = find_duplicates(["All of these are the same row, word for word."] * 1000)
    assert found.stays.sum() == 1
    assert set(found.of.tolist()) == {-1, 0}


def test_a_row_of_five_megabytes_and_its_copy_with_edits() -> None:
    rng = random.Random(1)
    words = rng.choices([f"{a}{b}" for a in WORDS for b in range(200)], k=500_000)
    copy = list(words)
    for place in rng.sample(range(len(copy)), 10_000):
        copy[place] = "edited"
    texts = [" ".join(words), "short and of another kind altogether", " ".join(copy), "a" * 5_000_000, "a" * 5_000_001]
    found = find_duplicates(texts, keep_if_numbers_differ=False)
    assert found.stays.tolist() == [True, True, False, True, True]
    assert found.jaccard[2] == jaccard(*(shingles(tokens(texts[i])) for i in (0, 2)))


@pytest.mark.parametrize("where", ["system", "tools"])
def test_many_rows_that_share_a_long_preamble_are_told_apart(folder: Folder, where: str) -> None:
    preamble = long_text(1, 800)
    tools = f'[{{"type": "function", "function": {{"name": "f", "description": "{preamble}"}}}}]'
    records = []
    for i in range(3000):
        turns = [{"role": "user", "content": long_text(i, 8)}, {"role": "assistant", "content": long_text(-i - 1, 30)}]
        system = [{"role": "system", "content": preamble}] if where == "system" else []
        records.append({"messages": system + turns, **({"tools": tools} if where == "tools" else {})})
    put(folder, "rows.jsonl", [*records, records[17]])
    build(folder, raw, combined, deduped)
    assert rows(folder, "SELECT count(*) FROM deduped") == [(3000,)]


def test_of_a_chain_the_ends_stay_though_the_middle_is_near_both() -> None:
    """A ~ B ~ C: B goes for A, and C stays, as it is near no row that stays."""
    words = long_text(3, 61).split()
    a = " ".join(words[:60])
    b = " ".join(["first", "second", *words[2:60]])
    c = " ".join([*b.split()[:58], "last", "words"])
    texts = [a + " and more, so this is the longest one.", b, c]
    texts[0] = a
    ab, bc, ac = (jaccard(shingles(tokens(x)), shingles(tokens(y))) for x, y in ((a, b), (b, c), (a, c)))
    threshold = min(ab, bc)
    assert ac < threshold
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        mixed = [texts[i] for i in order]
        found = find_duplicates(mixed, threshold)
        for row in np.flatnonzero(~found.stays):
            assert jaccard(*(shingles(tokens(mixed[i])) for i in (row, found.of[row]))) >= threshold
        kept = [mixed[i] for i in np.flatnonzero(found.stays)]
        for x, y in combinations(kept, 2):
            assert jaccard(shingles(tokens(x)), shingles(tokens(y))) < threshold


@pytest.mark.parametrize(
    ("same", "different", "threshold"), [(4, 1, 0.8), (7, 3, 0.7), (9, 1, 0.9), (2, 1, 2 / 3), (5, 5, 0.5)]
)
def test_a_pair_exactly_at_the_threshold_goes(same: int, different: int, threshold: float) -> None:
    """|A & B| = 20 * same shingles of 20 * (same + different)."""
    shared = [f"s{i}" for i in "abcdefghijklmnopqrst" for _ in range(1)]
    base = " ".join(f"{w}{k}x" for k in "abcdefghi"[:same] for w in shared) + " zz zzz"
    grown = base + " " + " ".join(f"new{k}{w}" for k in range(different) for w in shared)
    n, m = len(shingles(tokens(base))), len(shingles(tokens(grown)))
    assert jaccard(shingles(tokens(base)), shingles(tokens(grown))) == n / m
    assert find_duplicates([base, grown], n / m, keep_if_numbers_differ=False).stays.sum() == 1
    assert find_duplicates([base, grown], np.nextafter(n / m, 2), keep_if_numbers_differ=False).stays.sum() == 2
    assert abs(n / m - threshold) < 0.01


def test_one_text_in_every_unicode_form_is_one_text() -> None:
    import unicodedata

    text = "Où sont les élèves de la forêt ? Ils sont à côté du chêne, là-bas, près de l'étang gelé où l'on pêche."
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    found = find_duplicates(forms)
    assert found.stays.sum() == 1
    assert found.exact.sum() == 3


def test_a_template_of_which_every_row_has_its_own_part_is_neither_slow_nor_lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 rows share 60 of their 100 words; one in ten has a copy. Buckets are crowded, yet everything is found."""
    rng = random.Random(4)
    template = long_text(5, 60)
    own = [" ".join(rng.choices([f"{a}{b}" for a in WORDS for b in "xyz"], k=40)) for _ in range(2000)]
    texts = [f"{template} {mine}" for mine in own]
    copies = [text.rsplit(" ", 1)[0] + " changed" for text in texts[::10]]
    compared = Counter[bool]()
    decide = module.decide

    def counting(order: Any, rank: Any, buckets: Any, *others: Any) -> Any:
        compared[True] += int(np.diff(buckets.starts).max())
        return decide(order, rank, buckets, *others)

    monkeypatch.setattr(module, "decide", counting)
    found = find_duplicates(texts + copies)
    assert found.stays.sum() == 2000
    assert compared[True] < 500  # the largest bucket that was looked through, of 2,200 rows that share most bands


def test_profiles_keep_nothing_of_the_batches_and_are_the_same_however_many_rows_are_foretold() -> None:
    batches = [module.texts_batch([long_text(i, 20) for i in range(a, a + 7)], np.arange(a, a + 7)) for a in (0, 7, 14)]
    first, *others = (module.profiles(batches, "all", (25, 5), 128, rows=rows) for rows in (0, 10, 21, 50))
    for batch in batches:
        ids = np.frombuffer(batch.column("row_id").storage.buffers()[1], np.uint8)
        assert not np.shares_memory(first.row_id, ids)
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_rows_that_stay_do_not_depend_on_how_crowded_a_bucket_may_be() -> None:
    rng = random.Random(6)
    base = [long_text(i, 50) for i in range(40)]
    texts = [" ".join(w for w in rng.choice(base).split() if rng.random() > 0.02) for _ in range(800)]
    batch = module.texts_batch(texts, np.arange(len(texts)))
    made = module.profiles([batch], "all", (25, 5), 128)
    results = [
        module.near_duplicates(
            made, lambda some, ordered: [batch.take(pa.array(some))], "all", 0.8, crowded=crowded
        ).of.tolist()
        for crowded in (1, 4, 1000)
    ]
    sets = [shingles(tokens(text)) for text in texts]
    for of in results:
        kept = [i for i, keeper in enumerate(of) if keeper < 0]
        assert not any(jaccard(sets[a], sets[b]) >= 0.8 for a, b in combinations(kept, 2))
    assert len({sum(keeper < 0 for keeper in of) for of in results}) == 1


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from([*WORDS[:12], "1", "2", "-3"]), max_size=30).map(" ".join), max_size=12), st.randoms())
def test_verdicts_hold_whatever_the_rows(texts: list[str], rng: random.Random) -> None:
    found = find_duplicates(texts)
    sets = [shingles(tokens(text)) for text in texts]
    for row in np.flatnonzero(~found.stays):
        keeper = found.of[row]
        assert found.stays[keeper]
        assert numbers(texts[row]) == numbers(texts[keeper])
        assert found.exact[row] or jaccard(sets[row], sets[keeper]) >= 0.8
        assert found.exact[row] or len(tokens(texts[row])) >= 5
    again = find_duplicates(texts)
    assert again.of.tolist() == found.of.tolist()
    assert_partner_free(texts, found)


def assert_partner_free(texts: list[str], found: Duplicates) -> None:
    """Rows that stay and are within the threshold have different numbers, are short, or are tied in a near_group."""
    kept = [i for i in np.flatnonzero(found.stays) if len(tokens(texts[i])) >= 5]
    for a, b in combinations(kept, 2):
        if jaccard(shingles(tokens(texts[a])), shingles(tokens(texts[b]))) >= 0.8:
            assert numbers(texts[a]) != numbers(texts[b])
            assert found.near_group[a] == found.near_group[b] >= 0


def test_rows_that_a_guard_keeps_are_in_one_group_and_others_in_none(folder: Folder) -> None:
    text = long_text(8, 60)
    records = [sft("Tell me.", f"{text} in the year {year}.") for year in range(1900, 1910)]
    records += [{"system": who, **sft("Tell me.", long_text(9, 60))} for who in ("You are kind.", "You are brief.")]
    records.append(sft("Tell me.", long_text(10, 60)))
    run(folder, records)
    groups = Counter(group for (group,) in rows(folder, "SELECT near_group FROM deduped"))
    assert sorted(groups.values()) == [1, 2, 10]
    assert groups[None] == 1


def test_a_thousand_rows_that_differ_in_one_number_are_one_group() -> None:
    template = long_text(11, 80)
    found = find_duplicates([f"{template} {i}" for i in range(1000)])
    assert found.stays.all()
    assert set(found.near_group.tolist()) == {0}


def test_two_runs_give_identical_tables(tmp_path: Any) -> None:
    rng = random.Random(12)
    records = [sft(f"Question {i % 9}?", long_text(i % 30) + ("." * (i % 2))) for i in range(90)]
    records += [{"prompt": "Which?", "chosen": long_text(i), "rejected": long_text(i + 1)} for i in (1, 1, 2)]
    tables = []
    for attempt in range(2):
        folder = fresh(tmp_path / str(attempt))
        rng.shuffle(records)
        put(folder, "rows.jsonl", records)
        build(folder, raw, combined, deduped)
        table = rows(folder, "SELECT * FROM store.deduped_1 ORDER BY row_id")
        gone = rows(folder, "SELECT row_id, reason, evidence FROM dropped WHERE state = 'deduped' ORDER BY row_id")
        tables.append((table, gone))
    assert tables[0] == tables[1]


def test_reasoning_counts_as_part_of_the_answer(folder: Folder) -> None:
    answer = long_text(13, 40)
    turns = [
        [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer, "reasoning_content": thought}]
        for thought in (long_text(14, 60), long_text(15, 60), long_text(15, 60))
    ]
    put(folder, "rows.jsonl", [{"messages": t} for t in turns])
    build(folder, raw, combined, deduped)
    assert rows(folder, "SELECT count(*) FROM deduped") == [(2,)]


def test_an_answer_in_other_tool_calls_is_another_answer(folder: Folder) -> None:
    def asked(city: str) -> dict[str, Any]:
        call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
        return {
            "messages": [
                {"role": "user", "content": long_text(16, 40)},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "Rain.", "tool_call_id": "1"},
                {"role": "assistant", "content": "It rains."},
            ]
        }

    put(folder, "rows.jsonl", [asked("Rome"), asked("Oslo"), asked("Oslo")])
    build(folder, raw, combined, deduped)
    assert rows(folder, "SELECT count(*) FROM deduped") == [(2,)]


def test_the_version_shows_similarities_groups_and_pairs_on_both_sides_of_the_cut(folder: Folder) -> None:
    text = long_text(17, 100)
    words = text.split()
    near, under = " ".join([*words[:95], "a", "b", "c", "d", "e"]), " ".join([*words[:80], *long_text(18, 12).split()])
    put(folder, "rows.jsonl", [sft("Tell me.", t) for t in (text, near, under)])
    (version,) = build(folder, raw, combined, deduped)[-1:]
    report = version.report
    assert sum(report["similarities"].values()) >= 2
    (above,) = report["sample_just_above"]
    assert 0.8 <= float(above["similarity"]) < 1
    assert above["text"] != above["its text"]
    (below,) = report["sample_just_below"]
    assert 0.7 <= float(below["similarity"]) < 0.8
    assert report["sample_largest_groups"][0]["gone"] == "1"


def test_bounds_of_pairs_are_sorted_sets() -> None:
    """The sets that are compared are sorted and hold each hash once, also of texts that repeat themselves."""
    from sft_assets.deduped.verify import Sets

    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 2**64, n, np.uint64) for n in (0, 1, 5, 200, 3000)]
    lists += [np.repeat(rng.integers(0, 2**64, 5, np.uint64), 400), np.zeros(100, np.uint64)]
    values, bounds = np.concatenate(lists), np.cumsum([0, *map(len, lists)])
    made = Sets.of(values.copy(), bounds)
    for i, (a, _) in enumerate(pairwise(bounds)):
        assert made.values[a : a + made.sizes[i]].tolist() == sorted(set(lists[i].tolist()))


def test_more_shingles_than_there_is_memory_for_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [long_text(i % 50, 60) + f" {'x' * (i % 3)}." for i in range(300)]
    expected = find_duplicates(texts)
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    assert find_duplicates(texts).of.tolist() == expected.of.tolist()


def test_the_first_run_says_that_it_compiles() -> None:
    import time

    from sft_assets.compiling import compiling

    said: list[str] = []
    with compiling(said.append, patience=0.01):
        time.sleep(0.3)
    assert said == ["compiling its kernels; the first run does that once, in about half a minute"]
    with compiling(said.append, patience=5):
        pass
    assert len(said) == 1


@pytest.mark.parametrize("threshold", [0.75, 0.85])
def test_settings_reach_the_stage(folder: Folder, threshold: float) -> None:
    words = long_text(19, 100).split()
    pair = [sft("Tell me.", " ".join(words)), sft("Tell me.", " ".join([*words[:90], *long_text(20, 10).split()]))]
    assert len(run(folder, pair, threshold=threshold)) == (1 if threshold < 0.8 else 2)
    say(folder, deduped={"near": False})
    build(folder, raw, combined, deduped)
    assert rows(folder, "SELECT count(*) FROM deduped") == [(2,)]
