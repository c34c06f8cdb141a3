"""Recall and precision on real instruction data and on planted edits, against an exact join of the test's own."""

from __future__ import annotations

import random
import re
import shutil
import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.sparse import csr_array

from sft_assets.combined.asset import combined
from sft_assets.deduped.asset import deduped
from sft_assets.deduped.near import find_duplicates
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.text import jaccard, shingles, tokens
from tests.conftest import CORPUS, build, fresh, rows, say

pytestmark = [
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here"),
    pytest.mark.xdist_group("corpus_deduped"),
]
LARGE = [  # the files with more than 500 rows
    "instruct/alpaca_en_demo.json", "instruct/alpaca_zh_demo.json", "instruct/gpteacher_codegen_instruct.json",
    "instruct/gpteacher_roleplay_deduped.json", "instruct/gsm8k_train_alpaca.json.gz", "instruct/evol_teacher_code_2k.json",
    "instruct/chatdoctor5k.json.gz", "instruct/rasbt_instruction_data.json", "instruct/mlx_wikisql_text_train.jsonl",
    "preference/rasbt_instruction_preference.json",
]  # fmt: skip
SOURCES = [{"path": "mlx_wikisql_text_train.jsonl", "template": "{prompt}\nA: {response}"}]
Sets = list[frozenset[str]]
LOWEST = 0.7


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = fresh(tmp_path_factory.mktemp("corpus") / "data")
    for name in LARGE:
        shutil.copy(CORPUS / name, folder.sources)
    say(folder, sources=SOURCES)
    build(folder, raw, combined)
    return folder


def texts_of(folder: Folder, table: str = "combined") -> dict[str, tuple[str, str]]:
    """row id -> (kind and source, what is compared of it)"""
    turns_sql = "list_transform(messages || coalesce(rejected, []), lambda m: [m.role, m.content])"
    found = rows(folder, f"SELECT row_id, kind, source, {turns_sql} FROM {table}")
    return {
        str(row_id): (f"{kind} {source}", "\n".join(text for role, text in turns if role in ("user", "assistant")))
        for row_id, kind, source, turns in found
    }


def near_pairs(sets: Sets) -> Iterator[tuple[int, int, float]]:
    """Every pair of sets whose Jaccard similarity is LOWEST or more, with it: all intersections, as a product of sparse
    matrices."""
    number: dict[str, int] = {}
    columns = [number.setdefault(shingle, len(number)) for one in sets for shingle in one]
    sizes = np.array([len(one) for one in sets])
    edges = np.concatenate([[0], np.cumsum(sizes)])
    matrix = csr_array((np.ones(len(columns), np.int32), columns, edges), shape=(len(sets), max(len(number), 1)))
    transposed = matrix.T.tocsr()
    for first in range(0, len(sets), 500):
        common = (matrix[first : first + 500] @ transposed).tocoo()
        a, b = common.row + first, common.col
        similarity = common.data / (sizes[a] + sizes[b] - common.data)
        near = (a > b) & (similarity >= LOWEST)
        yield from zip(a[near].tolist(), b[near].tolist(), similarity[near].tolist(), strict=True)


def long_enough(text: str) -> bool:
    return len(tokens(text)) >= 5


@pytest.fixture(scope="module")
def real(corpus: Folder) -> tuple[dict[str, frozenset[str]], list[tuple[str, str, float]]]:
    """The shingles of every row of the corpus, and the pairs of like rows of one kind that are long enough."""
    everything = texts_of(corpus)
    sets = {row: shingles(tokens(text)) for row, (_, text) in everything.items()}
    by_kind: dict[str, list[str]] = {}
    for row, (kind, text) in everything.items():
        if long_enough(text):
            by_kind.setdefault(kind.split()[0], []).append(row)
    pairs = [(ids[a], ids[b], like) for ids in by_kind.values() for a, b, like in near_pairs([sets[row] for row in ids])]
    return sets, pairs


Real = tuple[dict[str, frozenset[str]], list[tuple[str, str, float]]]


@pytest.mark.parametrize("threshold", [LOWEST, 0.8, 0.9])
def test_of_real_rows_every_near_duplicate_goes_and_no_other(corpus: Folder, real: Real, threshold: float) -> None:
    say(corpus, sources=SOURCES, deduped={"threshold": threshold, "keep_if_numbers_differ": False})
    build(corpus, raw, combined, deduped)
    sets, pairs = real
    kept = {str(row_id) for (row_id,) in rows(corpus, "SELECT row_id FROM deduped")}
    assert len(sets) > 25_000
    gone = rows(
        corpus,
        "SELECT row_id, reason, evidence ->> 'of', (evidence ->> 'jaccard')::DOUBLE FROM dropped WHERE state = 'deduped'",
    )
    assert len(sets) == len(kept) + len(gone)
    for row_id, reason, of, similarity in gone:
        assert of in kept
        a, b = sets[str(row_id)], sets[of]
        assert reason == "exact_duplicate" or jaccard(a, b) >= threshold
        assert reason != "near_duplicate" or abs(jaccard(a, b) - similarity) < 1e-4
    near = [(a, b) for a, b, like in pairs if like >= threshold]
    left = len({a for a, b in near if a in kept and b in kept})
    assert near
    assert left == 0 if threshold >= 0.8 else left <= 0.005 * len(gone)


def edits(text: str, rng: random.Random) -> Iterator[str]:
    """The text with words put in, taken out, put in the place of others, and so on: by a little and by more."""
    for share in (0.01, 0.03, 0.06):
        words = text.split(" ")
        n = max(1, round(share * len(words)))
        for change in ("insert", "delete", "substitute"):
            edited = list(words)
            for _ in range(n):
                place = rng.randrange(len(edited)) if edited else 0
                if change == "insert" or not edited:
                    edited.insert(place, f"w{rng.randrange(1000)}x")
                elif change == "delete":
                    edited.pop(place)
                else:
                    edited[place] = f"w{rng.randrange(1000)}x"
            yield " ".join(edited)
    sentences = re.split(r"(?<=[.!?。！？])", text)
    rng.shuffle(sentences)
    yield "".join(sentences)
    yield text.swapcase()
    yield re.sub(r"[.,;:!?]", lambda m: rng.choice(".,;!? ") if rng.random() < 0.5 else m[0], text)
    yield re.sub(r"\s", lambda m: m[0] * rng.randint(1, 3), text)
    yield unicodedata.normalize("NFD", text)


@pytest.fixture(scope="module")
def planted(corpus: Folder) -> list[tuple[list[str], Sets, list[tuple[int, int, float]]]]:
    """Of each source some texts with edits of them, in any order: with their shingles, and pairs of them that are alike."""
    rng = random.Random(7)
    by_source: dict[str, list[str]] = {}
    for kind, text in texts_of(corpus).values():
        by_source.setdefault(kind, []).append(text)
    made = []
    for _, texts in sorted(by_source.items()):
        chosen = rng.sample(sorted(texts), 60)
        everything = [*chosen, *(edited for text in chosen for edited in edits(text, rng))]
        rng.shuffle(everything)
        sets = [shingles(tokens(text)) for text in everything]
        made.append((everything, sets, list(near_pairs(sets))))
    return made


Planted = list[tuple[list[str], Sets, list[tuple[int, int, float]]]]


@pytest.mark.parametrize("threshold", [LOWEST, 0.8, 0.9])
def test_planted_edits_go_if_and_only_if_they_are_within_the_threshold(planted: Planted, threshold: float) -> None:
    left, should_go = 0, 0
    for everything, sets, pairs in planted:
        found = find_duplicates(everything, threshold, keep_if_numbers_differ=False)
        for row in np.flatnonzero(~found.stays):
            assert found.stays[found.of[row]]
            assert found.exact[row] or jaccard(sets[row], sets[found.of[row]]) >= threshold
        kept = {row for row in np.flatnonzero(found.stays).tolist() if long_enough(everything[row])}
        left += len({a for a, b, like in pairs if like >= threshold and a in kept and b in kept})
        should_go += int((~found.stays).sum())
    assert sum(len(everything) for everything, *_ in planted) > 8_000
    assert left == 0 if threshold >= 0.8 else left <= 0.005 * should_go
