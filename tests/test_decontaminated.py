"""The decontaminated state: rows that hold test items go, each with the item and the place; rows that only sound alike stay."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.asset import Asset, materialize
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import TABLE, decontaminated, turns_of
from sft_assets.decontaminated.benchmarks import benchmark_files, read
from sft_assets.decontaminated.benchmarks_asset import benchmarks
from sft_assets.decontaminated.offsets import token_spans
from sft_assets.decontaminated.overlap import Hit, Index
from sft_assets.deduped.asset import deduped
from sft_assets.errors import LawBroken
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Recipe
from sft_assets.text import tokens
from sft_assets.warehouse import Build, Version, Warehouse

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")

DUCKS = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and sells the rest at the market."
FISH = "Which of these animals breathes through gills during its whole life in the river?"


def index(*rows: tuple[str, str, str], ngram: int = 13, short_item_words: int = 8) -> Index:
    """An index of one benchmark; rows are (item_id, field, text)."""
    return Index((("exam", *row) for row in rows), ngram, short_item_words)


def asked(*questions: str) -> Index:
    return index(*((str(n), "question", text) for n, text in enumerate(questions, 1)))


def found(hit: Hit | None) -> tuple[str, str] | None:
    return hit and (hit.reason, hit.owner.item_id)


# --------------------------------------------------------------------------------------------------------- whole items


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_whole_question_is_found_in_any_turn(place: int) -> None:
    turns = ["Be kind.", "Hello there", "Hi!", "Bye"]
    turns[place] = f"Please read this. {FISH} Thank you."
    hit = asked(FISH, DUCKS).find(turns)
    assert hit is not None
    assert (hit.reason, hit.owner.item_id, hit.text) == ("benchmark_item", "1", place)
    assert turns[place][slice(*hit.span)] == FISH.rstrip("?")


@pytest.mark.parametrize(
    "copy",
    [
        DUCKS.upper(),
        DUCKS.replace("’", "'"),
        DUCKS.replace(" ", "\r\n\t"),
        DUCKS.replace(".", " ;"),
        f"Q: {DUCKS}A?",
        f"日本{DUCKS}語",
    ],
)
def test_case_whitespace_and_punctuation_do_not_hide_a_copy(copy: str) -> None:
    assert found(asked(DUCKS).find([copy])) == ("benchmark_item", "1")


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ("What do you get if you add 5 + 6 and then 7?", "What do you get if you add 17 + 2 and then 7?"),
        ("What is the value of the term a + b for a = 1?", "What is the value of the term a - b for a = 1?"),
        ("How many litres are there in 1.5 of these bottles?", "How many litres are there in 15 of these bottles?"),
    ],
)
def test_other_numbers_and_operators_are_another_question(item: str, row: str) -> None:
    assert found(asked(item).find([item])) == ("benchmark_item", "1")
    assert asked(item).find([row]) is None


def test_short_questions_count_only_as_a_whole_turn() -> None:
    short = asked("What is the capital of Australia?")
    assert found(short.find(["what is the capital of australia"])) == ("benchmark_item", "1")
    assert short.find(["Tell me, what is the capital of Australia?"]) is None
    embedded = index(("1", "question", "What is the capital of Australia?"), short_item_words=6)
    assert found(embedded.find(["Tell me, what is the capital of Australia?"])) == ("benchmark_item", "1")


def test_a_question_that_ends_beyond_the_turn_is_not_in_it() -> None:
    longer = f"{FISH} Or in the lake?"
    hit = asked(longer, FISH).find([f"Well. {FISH}"])
    assert hit is not None
    assert (hit.owner.item_id, hit.tokens) == ("2", len(tokens(FISH)))


def test_questions_under_three_tokens_are_counted_as_unprotected() -> None:
    both = asked("Osteoclasts", "The pleura", "Who swims best?")
    assert both.counts["exam"] == (3, 2)
    assert both.find(["Osteoclasts"]) is None
    assert found(both.find(["Who swims best?"])) == ("benchmark_item", "3")


SHARED = "Which of the following statements about them is true?"


def test_a_question_that_several_items_share_counts_only_beside_a_choice() -> None:
    both = index(
        *[("a", "question", SHARED), ("a", "choices", "Iron melts before tin"), ("a", "choices", "Tin floats on water")],
        *[("b", "question", SHARED), ("b", "choices", "Fish have warm blood"), ("b", "choices", "Birds have no teeth")],
    )
    assert both.find([SHARED, "All of them."]) is None
    assert found(both.find([f"{SHARED}\n(A) Birds have no teeth.", "A"])) == ("benchmark_item", "b")
    assert found(both.find([SHARED, "It is true that tin floats on water."])) == ("benchmark_item", "a")
    assert both.find([SHARED, "No.", "And is it true that tin floats on water?"]) is None


def test_a_choice_of_one_word_is_no_sign_of_a_shared_question() -> None:
    rows = [(item, "question", SHARED) for item in "ab"]
    rows += [("a", "choices", c) for c in ("1", "2", "4", "8")] + [("b", "choices", c) for c in ("3", "5")]
    both = index(*rows)
    assert both.find([SHARED, "There are 2 of them."]) is None
    assert found(both.find([f"{SHARED} 1, 2, 4 or 8?", "2"])) == ("benchmark_item", "a")
    assert found(both.find([f"{SHARED} 3 or 5?", "5"])) == ("benchmark_item", "b")


def test_a_question_that_two_benchmarks_have_is_still_distinctive() -> None:
    two = Index([("one", "1", "question", FISH), ("one", "1", "answer", "trout"), ("two", "7", "question", FISH)])
    hit = two.find([FISH])
    assert hit is not None
    assert (hit.reason, *hit.owner[:2]) == ("benchmark_item", "one", "1")


def test_long_code_of_a_solution_is_found_and_short_code_is_not() -> None:
    long = (
        "total = 0\nfor price, count in basket.items():\n    if count > 3:\n        price = price * 0.9\n"
        "    total += price * count\nreturn round(total, 2)"
    )
    code = index(("1", "question", FISH), ("1", "solution", long), ("2", "question", DUCKS), ("2", "solution", "return a + b"))
    hit = code.find(["Sum up the basket.", f"def total(basket):\n    {long}"])
    assert hit is not None
    assert (hit.owner.field, hit.owner.item_id, hit.text) == ("solution", "1", 1)
    assert code.find(["Add.", "return a + b"]) is None


# -------------------------------------------------------------------------------------------------------- verbatim runs


def words(n: int, start: int = 0) -> str:
    """Text of n different words."""
    return " ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(start, start + n))


def test_thirteen_words_in_a_row_are_a_leak_and_twelve_are_none() -> None:
    long = asked(words(40))
    assert long.find([f"so {words(12, 5)} then"]) is None
    hit = long.find([f"so {words(13, 5)} then"])
    assert found(hit) == ("benchmark_ngram", "1")
    assert index(("1", "question", words(40)), ngram=8).find([f"so {words(8, 5)} then"]) is not None


def test_overlapping_ngrams_are_one_span_shown_as_it_was_written() -> None:
    run = words(20, 5).replace(" ", ",  ", 1).upper()
    turn = f"“Ünïcödé” first… {run}! and more"
    hit = asked(words(40)).find(["none", turn])
    assert hit is not None
    assert (hit.text, hit.tokens, turn[slice(*hit.span)]) == (1, 20, run)


def test_the_span_of_a_run_includes_boilerplate_that_belongs_to_it() -> None:
    template = words(15)
    items = asked(*(f"{template} {words(20, 20 * n)} here" for n in range(1, 6)))
    turn = f"Now: {template} {words(20, 60)} there"
    hit = items.find([turn])
    assert hit is not None
    assert (hit.owner.item_id, turn[slice(*hit.span)]) == ("3", f"{template} {words(20, 60)}")


def test_passages_are_searched_for_runs_too() -> None:
    passage = index(("1", "question", "Who was it?"), ("1", "context", words(60)))
    hit = passage.find([f"so {words(15, 30)} then"])
    assert hit is not None
    assert (hit.reason, hit.owner.field) == ("benchmark_ngram", "context")


def test_a_passage_that_many_questions_share_is_no_boilerplate() -> None:
    rows = [(str(n), "context", words(60)) for n in range(9)] + [(str(n), "question", f"Who was number {n}?") for n in range(9)]
    assert found(index(*rows).find([words(15, 30)])) == ("benchmark_ngram", "0")


@pytest.mark.parametrize(("questions", "expected"), [(4, ("benchmark_ngram", "1")), (5, None)])
def test_what_stands_in_five_questions_is_boilerplate(questions: int, expected: tuple[str, str] | None) -> None:
    template = words(15)
    items = asked(*(f"{template} number {n} of these" for n in range(questions)))
    assert found(items.find([f"{template} and something else"])) == expected


def test_numbers_and_the_bones_of_code_are_no_leak() -> None:
    assert asked("Sort 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 by size").find([str(list(range(1, 16)))]) is None
    loop = "for i in range(1, m + 1):\n    for j in range(1, n + 1):\n        if a[i] == b[j]:\n            return i"
    code = index(("1", "question", f"def f(a, b, m, n):\n{loop}"), ("1", "solution", "pass"))
    assert code.find([f"Here you are:\n{loop}"]) is None
    table = "if df.at[ix, cd] > 0 or np.is(df, ix) and ok not in df:"
    code = index(("1", "question", f"def f(df):\n    {table}"), ("1", "solution", "pass"))
    assert code.find([f"Here you are:\n{table}"]) is None


def test_a_whole_item_is_named_before_a_run_and_a_longer_one_before_a_shorter() -> None:
    rows = asked(words(40), FISH, f"{FISH} Or rather in the open sea?")
    assert found(rows.find([words(30), FISH])) == ("benchmark_item", "2")
    assert found(rows.find([FISH, f"{FISH} Or rather in the open sea?"])) == ("benchmark_item", "3")
    assert found(rows.find([words(13), words(20, 3)])) == ("benchmark_ngram", "1")


def test_the_order_of_items_does_not_matter() -> None:
    rows = [("exam", str(n), "question", words(20, 3 * n)) for n in range(20)] + [("exam", "x", "question", FISH)]
    row = [words(14, 12), words(14, 20)]
    first = Index(rows).find(row)
    assert first is not None
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert Index(shuffled + rows[:3]).find(row) == first


def test_no_items_and_no_text_are_no_hits() -> None:
    assert asked().find([DUCKS]) is None
    assert asked(DUCKS).find([]) is None
    assert asked(DUCKS).find(["", "?!"]) is None


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("aA1 .-'’é\u0301İſßΣ한ᄒ\u1161東🙂\r\n", max_size=40))
def test_every_token_has_its_place_in_the_text(text: str) -> None:
    spans = token_spans(text)
    assert len(spans) == len(tokens(text))
    assert all(0 <= a < b <= len(text) for a, b in spans)
    if text.isascii():
        assert [text[a:b].lower() for a, b in spans] == tokens(text)


def test_places_hold_where_the_normal_form_is_longer_or_shorter() -> None:
    text = "İstanbul cafe\u0301 ends"
    assert [text[a:b] for a, b in token_spans(text)] == ["İstanbul", "cafe\u0301", "ends"]


# --------------------------------------------------------------------------------------------------------------- asset


def built(folder: Path, rows: list[Any], items: list[Any]) -> tuple[Version, list[dict[str, Any]]]:
    """The state over these records and test items: its version, and the ledger's entries by their row's prompt."""
    for name, records in (("sources/s.jsonl", rows), ("benchmarks/exam.jsonl", items)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    place, recipe = Folder(folder), Recipe()
    inputs = {"source_files": place.version(place.sources), "benchmark_files": place.version(place.benchmarks)}
    for asset in (raw, combined, deduped, benchmarks, decontaminated):
        version, _ = materialize(asset, place, recipe, {d: v for d, v in inputs.items() if d in asset.deps})
    with Warehouse(place.database).reading() as con:
        dropped = con.execute("""
            SELECT reason, evidence FROM dropped WHERE state = 'decontaminated' ORDER BY reason, evidence
        """).fetchall()
    return version, [{"reason": reason, **json.loads(evidence)} for reason, evidence in dropped]


CLEAN = {"instruction": "Name a river.", "output": "The Elbe."}
LEAK = {"instruction": f"Answer:\n{FISH}", "output": "The trout."}
ITEMS = [{"id": "fish", "question": FISH, "answer": "trout"}, {"id": "hi", "question": "Hi!"}]


def test_a_leak_is_dropped_with_item_place_and_both_texts(tmp_path: Path) -> None:
    version, (entry,) = built(tmp_path, [CLEAN, LEAK], ITEMS)
    assert entry == {
        "reason": "benchmark_item",
        "benchmark": "exam",
        "item_id": "fish",
        "field": "question",
        "turn": 1,
        "role": "user",
        "span": [8, 8 + len(FISH) - 1],
        "tokens": len(tokens(FISH)),
        "matched": FISH[:-1],
        "item": FISH,
    }
    report = version.report
    assert (report["in"], report["kept"], report["dropped"]) == (2, 1, {"benchmark_item": 1})
    assert report["benchmarks"] == {"exam": {"items": 2, "unprotected": 1, "rows_dropped": 1}}
    assert report["items_unprotected"] == 1
    assert [(s["benchmark"], s["item"], s["matched"]) for s in report["sample_dropped"]] == [
        ("exam", f"fish: {FISH}", FISH[:-1])
    ]


def test_the_rejected_answer_is_searched_too(tmp_path: Path) -> None:
    row = {"prompt": "Ask me something.", "chosen": "How are you?", "rejected": f"Gladly: {FISH}"}
    _, (entry,) = built(tmp_path, [row], ITEMS)
    assert (entry["turn"], entry["role"], entry["matched"]) == ("rejected", "assistant", FISH[:-1])


def test_reasoning_and_tool_calls_are_texts_of_their_turn() -> None:
    nothing = dict.fromkeys(("name", "tool_call_id", "weight"))
    answer = {"role": "assistant", "content": "4", "reasoning": "2 + 2", "tool_calls": "[]", **nothing}
    ask = {"role": "user", "content": "2 + 2?", "reasoning": None, "tool_calls": None, **nothing}
    assert [tuple(t) for t in turns_of([ask, answer], [answer | {"reasoning": None, "tool_calls": None}])] == [
        (1, "user", "content", "2 + 2?"),
        (2, "assistant", "content", "4"),
        (2, "assistant", "reasoning", "2 + 2"),
        (2, "assistant", "tool_calls", "[]"),
        ("rejected", "assistant", "content", "4"),
    ]


def test_without_test_sets_every_row_stays(tmp_path: Path) -> None:
    version, dropped = built(tmp_path, [CLEAN, LEAK], [])
    assert (version.report["kept"], dropped) == (2, [])


def test_a_dataset_of_leaks_only_is_empty_and_says_why(tmp_path: Path) -> None:
    version, dropped = built(tmp_path, [LEAK], ITEMS)
    assert (version.report["kept"], len(dropped)) == (0, 1)


def test_the_result_is_the_same_for_rows_and_items_in_any_order(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Tell me about {name} at length.", "output": f"{name} is a town."} for name in ("Ulm", "Kiel", "Jena")
    ]
    first, entries = built(tmp_path, [*rows, LEAK], ITEMS)
    second, again = built(tmp_path, [LEAK, *rows[::-1]], ITEMS[::-1])
    assert (second.data_version, again) == (first.data_version, entries)


def test_a_drop_that_names_no_benchmark_breaks_the_law(tmp_path: Path) -> None:
    built(tmp_path, [CLEAN], ITEMS)

    def unexplained(build: Build, folder: Folder, recipe: Recipe) -> None:
        (row_id,) = next(build.stream("SELECT row_id FROM deduped")).column("row_id").storage.to_pylist()
        build.drop(row_id, "benchmark_item", {"item_id": "1"})

    with pytest.raises(LawBroken, match="leaks_named"):
        materialize(Asset(TABLE, 2, decontaminated.deps, unexplained), Folder(tmp_path), Recipe(), {})


# -------------------------------------------------------------------------------------------------------------- corpus


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, str]]:
    """Every text of the public test sets."""
    folder = tmp_path_factory.mktemp("public")
    (folder / "benchmarks").symlink_to(CORPUS / "benchmarks")
    return [
        (file.benchmark, item_id, name, text)
        for file in benchmark_files(Folder(folder), Recipe())
        for item_id, item in read(file).items.items()
        for name, texts in item.texts.items()
        for text in texts
    ]


def corpus_rows(name: str) -> list[list[str]]:
    path = CORPUS / "instruct" / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [["\n\n".join(t for t in (r["instruction"], r.get("input")) if t), r["output"]] for r in json.loads(text)]


@needs_corpus
def test_training_questions_of_a_benchmark_are_not_taken_for_its_test(public: list[tuple[str, str, str, str]]) -> None:
    gsm8k = Index(row for row in public if row[0] == "gsm8k_test")
    hits = [hit for row in corpus_rows("gsm8k_train_alpaca.json.gz") if (hit := gsm8k.find(row))]
    assert len(hits) <= 4
    assert all(hit.reason == "benchmark_ngram" for hit in hits)


@needs_corpus
def test_code_that_solves_other_tasks_is_not_taken_for_a_leak(public: list[tuple[str, str, str, str]]) -> None:
    code = Index(row for row in public if row[0] in ("humaneval", "mbpp"))
    assert sum(code.find(row) is not None for row in corpus_rows("evol_teacher_code_2k.json")) <= 5


@needs_corpus
def test_planted_copies_of_every_benchmark_are_found(public: list[tuple[str, str, str, str]]) -> None:
    everything = Index(public)
    texts: dict[tuple[str, str], dict[str, list[str]]] = {}
    for benchmark, item_id, name, text in public:
        texts.setdefault((benchmark, item_id), {}).setdefault(name, []).append(text)
    missed = []
    for key in random.Random(0).sample(sorted(texts), 200):
        (question,), choices = texts[key]["question"], texts[key].get("choices", [])
        prompt = question if len(tokens(question)) < 8 else f"Please help me with this.\n\n{question}\nThank you!"
        hit = everything.find([prompt, "I choose between " + "; ".join(choices)])
        if hit is None or tokens(hit.owner.text) != tokens(question):
            missed.append(question)
    assert all(len(tokens(question)) < 3 for question in missed)
    assert sum(counts.unprotected for counts in everything.counts.values()) <= 12
