"""Decontamination measured on public data: planted copies of every benchmark are found, and what is no leak stays.

Items that are listed as unprotected are not counted; items whose questions have the same words count as one.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sft_assets.decontaminated.benchmarks.files import TestSet, benchmark_files, read
from sft_assets.decontaminated.canaries import Canary, batches, cut, planted
from sft_assets.decontaminated.overlap.protection import Owner
from sft_assets.decontaminated.overlap.scan import Hit, Overlap, best
from sft_assets.decontaminated.overlap.words import words
from sft_assets.decontaminated.paraphrases.index import build
from sft_assets.decontaminated.paraphrases.nearest import candidates, flagged, nearest
from sft_assets.recipe import Recipe
from tests.conftest import CORPUS, fresh

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
ANY_PLACE = ("verbatim", "recased", "repunctuated", "whitespace", "unicode_quotes", "in_answer", "in_system", "in_later_turn")


class Planted(NamedTuple):
    """What became of every canary."""

    canaries: list[Canary]
    hits: dict[int, Hit]
    length: dict[Owner, int]  # words of each item's question

    def share(self, kind: str, low: int = 0, high: int = 10**9) -> float:
        some = [n for n, c in enumerate(self.canaries) if c.kind == kind and low <= self.length[c.owner] < high]
        assert len(some) > 500
        return float(np.mean([n in self.hits for n in some]))


def texts_of_benchmarks() -> list[tuple[str, str, str, str]]:
    """Every text of the public test sets, but for the rephrased one."""
    with tempfile.TemporaryDirectory() as place:
        folder = fresh(Path(place) / "data")
        copy = {"ignore": shutil.ignore_patterns("rephrased"), "copy_function": shutil.copyfile, "dirs_exist_ok": True}
        shutil.copytree(CORPUS / "benchmarks", folder.benchmarks, **copy)
        found: dict[str, TestSet] = defaultdict(TestSet)
        for file in benchmark_files(folder, Recipe()):
            read(file, found[file.benchmark])
    return [
        (benchmark, item_id, name, text)
        for benchmark, test_set in found.items()
        for item_id, item in test_set.items.items()
        for name, texts in item.texts.items()
        for text in texts
    ]


@pytest.fixture(scope="module")
def public() -> list[tuple[str, str, str, str]]:
    return texts_of_benchmarks()


def corpus_rows(name: str) -> list[list[tuple[str, str]]]:
    """Rows of a file of the corpus as (role, text), whatever their shape."""
    path = CORPUS / name
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    records = [json.loads(line) for line in text.splitlines() if line.strip()] if ".jsonl" in name else json.loads(text)
    rows = []
    for record in records:
        texts = list(_texts(record))
        rows.append([("assistant" if n and n == len(texts) - 1 else "user", text) for n, text in enumerate(texts)])
    return rows


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("id", "role", "from", "type"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def found_in(overlap: Overlap, rows: list[list[tuple[str, str]]]) -> dict[int, Hit]:
    """The hit of each row that has one."""
    hits: dict[int, list[Hit]] = defaultdict(list)
    for _, some in overlap.read(batches([Canary("", ("", ""), row) for row in rows])):
        for hit in some:
            hits[int.from_bytes(hit.row, "big")].append(hit)
    for hit in overlap.parts():
        hits[int.from_bytes(hit.row, "big")].append(hit)
    return {row: best(some) for row, some in hits.items()}


@pytest.fixture(scope="module")
def copies(public: list[tuple[str, str, str, str]]) -> Planted:
    overlap = Overlap(public)
    filler = [text for row in corpus_rows("instruct/chatdoctor5k.json.gz")[:2000] for _, text in row if len(text) > 100]
    unprotected = {entry[:2] for entry in overlap.unprotected}
    canaries = [canary for canary in planted(overlap.items, filler) if canary.owner not in unprotected]
    hits = found_in(overlap, [canary.turns for canary in canaries])
    return Planted(canaries, hits, {item.owner: len(words(item.of("question")[0])) for item in overlap.items})


def test_few_items_are_unprotected(public: list[tuple[str, str, str, str]]) -> None:
    overlap = Overlap(public)
    total = Counter(item.owner[0] for item in overlap.items)
    missing = Counter(entry.benchmark for entry in overlap.unprotected)
    assert sum(total.values()) > 10_000
    assert all(missing[name] <= 0.03 * n for name, n in total.items())


@pytest.mark.parametrize("kind", [*ANY_PLACE, "choices_reordered"])
def test_every_whole_copy_is_found(copies: Planted, kind: str) -> None:
    assert copies.share(kind) == 1.0


def test_short_items_are_found_like_any_other(copies: Planted) -> None:
    assert all(copies.share(kind, 3, 9) == 1.0 for kind in ANY_PLACE)


def test_copies_within_longer_texts_are_found(copies: Planted) -> None:
    assert copies.share("embedded") >= 0.995


@pytest.fixture(scope="module")
def distinctive(public: list[tuple[str, str, str, str]]) -> set[Owner]:
    """Items that are neither template nor shared passage: most 3-grams of their first 70 % are in no other item's question."""
    texts = {(b, i): text for b, i, name, text in public if name == "question"}
    holders = Counter(gram for text in texts.values() for gram in _grams(words(text)))
    own = {owner: [holders[gram] == 1 for gram in _grams(words(cut(text)))] for owner, text in texts.items()}
    return {owner for owner, some in own.items() if some and np.mean(some) > 0.5}


def _grams(said: list[str]) -> set[tuple[str, ...]]:
    return set(zip(said, said[1:], said[2:], strict=False))


def test_items_that_were_cut_are_found(copies: Planted, distinctive: set[Owner]) -> None:
    assert len(distinctive) > 6000
    told = copies._replace(canaries=[c if c.owner in distinctive else c._replace(kind="") for c in copies.canaries])
    assert told.share("truncated", 20) >= 0.99
    assert told.share("truncated", 9, 20) >= 0.93
    assert copies.share("truncated", 20) >= 0.97  # all of them
    assert copies.share("truncated", 9, 20) >= 0.91


def test_the_right_item_is_named(copies: Planted, public: list[tuple[str, str, str, str]]) -> None:
    said = {(b, i): tuple(words(text)) for b, i, name, text in public if name == "question"}
    right: dict[str, list[bool]] = defaultdict(list)
    for n, canary in enumerate(copies.canaries):
        if canary.leak and (hit := copies.hits.get(n)):
            right[canary.kind].append(said[canary.owner] in {said[owner] for owner in hit.owners})
    assert all(np.mean(some) >= 0.995 for kind, some in right.items() if kind != "truncated")
    assert np.mean(right["truncated"]) >= 0.985


def test_the_same_question_with_other_numbers_is_none(copies: Planted) -> None:
    decoys = [n for n, canary in enumerate(copies.canaries) if not canary.leak]
    assert len(decoys) > 2000
    assert np.mean([n in copies.hits for n in decoys]) <= 0.01


def test_items_that_were_cut_are_at_least_candidates(public: list[tuple[str, str, str, str]]) -> None:
    overlap, index = Overlap(public), build(public)
    unprotected = {entry[:2] for entry in overlap.unprotected}
    rows = [[("user", cut(item.of("question")[0]))] for item in overlap.items if item.owner not in unprotected]
    hits = found_in(overlap, rows)
    (batch,) = batches([Canary("", ("", ""), row) for row in rows], len(rows))
    also = [one.row for one in candidates(index, batch)]
    assert len({*hits, *also}) >= 0.95 * len(rows)


def test_all_of_vicuna_bench_is_found_in_the_prompts_that_hold_it(public: list[tuple[str, str, str, str]]) -> None:
    vicuna = [row for row in public if row[0] == "vicuna_bench_question"]
    overlap = Overlap(vicuna)
    hits = found_in(overlap, corpus_rows("instruct/ultrachat_eval_prompts.json"))
    assert len({owner for hit in hits.values() for owner in hit.owners}) == 80


@pytest.mark.parametrize(
    ("name", "of", "most"),
    [
        ("instruct/gsm8k_train_alpaca.json.gz", ("gsm8k_test",), 2),
        ("instruct/evol_teacher_code_2k.json", ("humaneval", "mbpp"), 3),
    ],
)
def test_data_of_the_same_kind_is_no_leak(
    public: list[tuple[str, str, str, str]], name: str, of: tuple[str, ...], most: int
) -> None:
    hits = found_in(Overlap(row for row in public if row[0] in of), corpus_rows(name))
    assert len(hits) <= most


CLEAN = (
    "alpaca_en_demo.json", "alpaca_zh_demo.json", "chatdoctor5k.json.gz", "evol_teacher_code_2k.json", "identity.json",
    "gpteacher_codegen_instruct.json", "gpteacher_roleplay_deduped.json", "rasbt_instruction_data.json",
    "gsm8k_train_alpaca.json.gz", "mlx_wikisql_text_train.jsonl", "glaive_toolcall_en_demo.json",
)  # fmt: skip


def test_hardly_any_row_of_other_data_is_dropped_and_few_are_candidates(public: list[tuple[str, str, str, str]]) -> None:
    rows = [row for name in CLEAN for row in corpus_rows(f"instruct/{name}")]
    hits = found_in(Overlap(public), rows)
    assert len(rows) > 20_000
    assert len(hits) <= 15  # each of them was looked at: the item stands there, or all but a word of it
    index, marked = build(public), 0
    for batch in batches([Canary("", ("", ""), row) for row in rows]):
        near = nearest(index, batch)
        marked += int(flagged(near.score[:, 0], near.margin[:, 0], near.figures[:, 0]).sum())
    assert marked - len(hits) <= 0.03 * len(rows)


def _shared(texts: list[list[str]]) -> list[str]:
    """The words with which all begin."""
    return [said[0] for said in takewhile(lambda said: len(set(said)) == 1, zip(*texts, strict=False))]


def test_generic_questions_and_shared_passages_are_no_leaks(public: list[tuple[str, str, str, str]]) -> None:
    overlap = Overlap(public)
    chance = random.Random(5)
    questions = {item.owner: item.of("question")[0] for item in overlap.items}
    beginnings: dict[str, list[list[str]]] = defaultdict(list)
    for text in questions.values():
        beginnings[" ".join(text.split()[:40])].append(text.split(" "))
    shared = [(_shared(texts), min(map(len, texts))) for texts in beginnings.values() if len(texts) > 1]
    passages = [" ".join(said) for said, shortest in shared if 60 < len(said) < shortest - 5]
    assert len(passages) > 20
    rows = [[("user", f"Summarize this passage.\n\n{text}"), ("assistant", "It is about history.")] for text in passages]
    asked = ("Is this true?", "Which of the following is true?", "What do you think?", "Can you explain your answer?", "Why?")
    filler = [text for row in corpus_rows("instruct/alpaca_en_demo.json") for _, text in row if len(text) > 80]
    rows += [[("user", f"{chance.choice(filler)} {question}"), ("assistant", "Yes.")] for question in asked for _ in range(40)]
    assert len(found_in(overlap, rows)) <= 0.01 * len(rows)
