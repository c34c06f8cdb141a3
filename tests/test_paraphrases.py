"""The nearest test item of each row, in other words: what is found, what nominates, and how it does on real data."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sft_assets.arrow import messages_array
from sft_assets.decontaminated.benchmarks.files import benchmark_files, read
from sft_assets.decontaminated.paraphrases import kernel
from sft_assets.decontaminated.paraphrases.index import PAIR, Index, build
from sft_assets.decontaminated.paraphrases.nearest import (
    Candidate,
    Settings,
    _nearing,
    candidates,
    flagged,
    nearest,
    strength,
)
from sft_assets.engine import Job
from sft_assets.engine.local import Local
from sft_assets.recipe import Recipe
from sft_assets.record import Message
from sft_assets.text import tokens
from tests.conftest import CORPUS, fresh

pytestmark = pytest.mark.xdist_group("paraphrases")  # two indexes are what most of them ask
Row = Sequence[tuple[str, str]]

DUCKS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends every day "
    "with four. She sells the remainder at the market daily for $2 per fresh duck egg. How much does she make every day?"
)
ITEMS = [
    ("gsm", "1", "question", DUCKS),
    ("gsm", "1", "answer", "She sells 16 - 3 - 4 = 9 duck eggs a day and makes 9 * 2 = 18 dollars at the market."),
    ("gsm", "2", "question", "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total?"),
    ("truth", "1", "question", "What happens to you if you eat watermelon seeds?"),
    ("truth", "2", "question", "How many planets does the solar system have?"),
    ("code", "1", "question", "Write a function to find the longest chain which can be formed from the given set of pairs."),
    ("code", "1", "solution", "def max_chain_length(arr, n):\n    longest = [1 for i in range(n)]\n    return max(longest)"),
    ("zh", "1", "question", "识别并解释给定列表中的两个科学理论：细胞理论和日心说。"),
    ("zh", "2", "question", "请写一首关于春天的短诗，并说明它的含义。"),
    ("choice", "1", "question", "Which statement is correct?"),
    ("choice", "1", "choices", "Planetary years become longer after the impact."),
    ("choice", "1", "choices", "Gravity pulls the meteorite away from its orbit."),
    *(("filler", str(n), "question", text) for n, text in enumerate((
        "Which city is the capital of the country?", "Write a function to add numbers.", "How much does a train ticket cost?",
        "What is the name of the river?", "If you sleep in the day, what happens in the night?",
    ), 1)),
]  # fmt: skip
REPHRASED = (
    "Each day the ducks of Janet produce 16 eggs. For her breakfast she consumes 3 of them, and she uses 4 to bake muffins for "
    "friends. At the daily market every egg that remains is sold for two dollars. What amount does she earn per day?"
)


def batch(rows: Iterable[Row], rejected: Iterable[Row | None] | None = None) -> pa.RecordBatch:
    """Rows of (role, text) as the state tables have them."""
    messages = messages_array([[Message(role, text) for role, text in row] for row in rows])
    others = [None] * len(messages) if rejected is None else list(rejected)
    made = [None if row is None else [Message(role, text) for role, text in row] for row in others]
    return pa.RecordBatch.from_arrays([messages, messages_array(made)], ["messages", "rejected"])


def asked(*texts: str) -> pa.RecordBatch:
    return batch([[("user", text)] for text in texts])


@pytest.fixture(scope="module")
def index() -> Index:
    return build(ITEMS)


def first(index: Index, rows: pa.RecordBatch) -> Candidate:
    return candidates(index, rows, Settings(strength=0.0))[0]


# ------------------------------------------------------------------------------------------------------- what is found


def test_a_rephrased_question_names_its_item_with_rank_margin_and_numbers(index: Index) -> None:
    found = candidates(index, asked(REPHRASED))
    assert (found[0].benchmark, found[0].item_id, found[0].rank, found[0].row) == ("gsm", "1", 1, 0)
    assert found[0].numbers == 1.0
    assert 0 < found[0].margin < found[0].score
    assert all(one.score >= found[0].score / 2 for one in found)
    assert set(found[0].fields) == {"question", "answer"}


def test_a_question_of_the_same_kind_with_other_numbers_is_no_candidate(index: Index) -> None:
    changed = REPHRASED.replace("16", "70").replace("3", "9").replace("4", "31").replace("two", "seven")
    assert first(index, asked(changed)).numbers == 0.0
    assert first(index, asked(changed)).item_id == "1"
    strong, weak = (strength(0.3, 0.3, np.array(figures)) for figures in ((4, 4, 4), (4, 4, 0)))
    assert weak == strong / 2


def test_unrelated_rows_are_no_candidates(index: Index) -> None:
    assert candidates(index, asked("Tell me a story about a dragon.", "", "ok", "Translate 'good morning' to French.")) == []


@pytest.mark.parametrize(
    ("said", "number"),
    [("three", "3"), ("1,250", "1250"), ("twenty-one", "21"), ("two hundred", "200"), ("3 million", "3000000"), ("5.0", "5"),
     ("twice", "2"), ("two dozen", "24"), ("1.50", "1.5")],
)  # fmt: skip
def test_numbers_are_compared_by_their_values(said: str, number: str) -> None:
    index = build([("b", "1", "question", f"Jean owns {number} green umbrellas at home")])
    assert nearest(index, asked(f"Jean owns {said} green umbrellas at home")).figures[0, 0].tolist() == [1, 1, 1]
    assert nearest(index, asked("Jean owns 77 green umbrellas at home")).figures[0, 0].tolist() == [1, 1, 0]


def test_the_word_one_is_no_number() -> None:
    index = build([("b", "1", "question", "one of the umbrellas")])
    assert nearest(index, asked("one of the umbrellas")).figures[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("word", "other"),
    [("ducks", "duck"), ("bakes", "baking"), ("planned", "planning"), ("stories", "story"), ("Janet's", "janet"),
     ("Janet’s", "janet"), ("smallest", "minimum"), ("computes", "find"), ("приложения", "приложение"), ("quickly", "quick")],
)  # fmt: skip
def test_words_are_compared_by_their_stems(word: str, other: str) -> None:
    index = build([("b", "1", "question", f"umbrella {other} zebra")])
    assert nearest(index, asked(f"umbrella {word} zebra")).score[0, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("word", "other"), [("glass", "gla"), ("x1", "x2"), ("seven", "seventy"), ("bus", "bu")])
def test_different_words_stay_different(word: str, other: str) -> None:
    index = build([("b", "1", "question", f"umbrella {other} zebra")])
    assert nearest(index, asked(f"umbrella {word} zebra")).score[0, 0] < 0.9


def test_every_turn_is_read_and_the_turn_is_named(index: Index) -> None:
    talk = [("user", "Tell me a riddle, please."), ("assistant", "With pleasure!")]
    in_answer = first(index, batch([[*talk, ("user", "Go on."), ("assistant", "Here it comes. " + REPHRASED)]]))
    assert (in_answer.item_id, in_answer.turn, in_answer.role, in_answer.rejected) == ("1", 4, "assistant", False)
    rejected = first(index, batch([talk], [[("assistant", REPHRASED)]]))
    assert (rejected.item_id, rejected.turn, rejected.role, rejected.rejected) == ("1", 3, "assistant", True)
    system = first(index, batch([[("system", REPHRASED), *talk]]))
    assert (system.item_id, system.turn, system.role) == ("1", 1, "system")


def test_a_question_in_a_long_turn_is_found(index: Index) -> None:
    noise = "The weather was fine and nobody in the village thought of anything but the harvest of that year. " * 40
    found = first(index, asked(noise + REPHRASED + noise))
    assert (found.benchmark, found.item_id, found.numbers) == ("gsm", "1", 1.0)
    assert found.score > 0.7 * first(index, asked(REPHRASED)).score


def test_the_answer_adds_to_the_score(index: Index) -> None:
    question = "What is the longest chain that pairs of a set can form?"
    alone = first(index, asked(question))
    answered = first(
        index, batch([[("user", question), ("assistant", "def max_chain_length(arr, n): longest = [1 for i in range(n)]")]])
    )
    assert (alone.benchmark, answered.benchmark) == ("code", "code")
    assert answered.score > alone.score
    assert answered.fields["question"] == alone.fields["question"] and answered.fields["solution"] > 0.5


def test_choices_tell_items_apart_that_ask_alike() -> None:
    index = build([
        *(("c", str(n), "question", "Which statement is correct?") for n in range(9)),
        *(("c", str(n), "choices", f"{word} is a kind of {word}berry that people grow") for n, word in enumerate(
            ("mul", "straw", "goose", "rasp", "blue", "black", "cran", "elder", "bil"))),
    ])  # fmt: skip
    assert first(index, asked("Which statement is right? A) cran is a kind of cranberry that people grow")).item_id == "6"


STARS = [
    *ITEMS, ("stars", "1", "question", "Stars are"), ("stars", "2", "question", "What color is the sky?"),
    *(("stars", "1", "choices", text) for text in (
        "warm lights that float", "made out of nitrate", "great balls of gas burning billions of miles away",
        "lights in the sky",
    )),
    *(("stars", "2", "choices", text) for text in ("blue", "green as grass", "black as coal")),
]  # fmt: skip


def test_choices_beside_a_rephrased_question_raise_the_score() -> None:
    index = build(STARS)
    choices = "\n".join(f"{letter}. {text}" for letter, (*_, text) in zip("DCBA", STARS[-7:-3], strict=True))
    same, part = f"What do we call stars?\n{choices}", f"What do we call stars?\n{choices[:60]}"
    scores = [first(index, asked(text)).score for text in ("What do we call stars?", part, same)]
    assert scores == sorted(scores) and scores[2] > 0.7
    assert (first(index, asked(same)).item_id, first(index, asked(part)).item_id) == ("1", "1")


def test_choices_without_a_word_of_the_question_are_not_the_item() -> None:
    assert candidates(build(STARS), asked("A. blue B. green as grass C. black as coal")) == []


def test_short_replies_are_no_questions_but_long_ones_and_other_turns_are(index: Index) -> None:
    said = "It is the name of the river."

    def ids(*row: tuple[str, str]) -> list[tuple[str, str]]:
        return [index.items[item] for item in nearest(index, batch([row])).item[0] if item >= 0]

    assert ids(("user", "Hello!"), ("assistant", said)) == ids(("user", "Hello!"), ("tool", said)) == []
    assert ("filler", "4") in ids(("user", said)) and ("filler", "4") in ids(("system", said), ("user", "Hello!"))
    assert ("filler", "4") in ids(("user", "Hello!"), ("assistant", said + " And now I ask you something else, my friend."))


def test_a_short_reply_supports_the_item_that_is_asked() -> None:
    index = build([*ITEMS, ("truth", "2", "answer", "There are eight planets.")])
    question = ("user", "What is the number of planets in our solar system?")
    with_answer, without = (
        first(index, batch([[question, ("assistant", text)]])) for text in ("There are eight planets.", "Okay.")
    )
    assert (with_answer.item_id, without.item_id) == ("2", "2")
    assert with_answer.score > without.score and with_answer.fields["answer"] == pytest.approx(1.0, abs=1e-6)


def test_an_item_without_a_question_is_found_by_its_context() -> None:
    index = build([("b", "1", "context", DUCKS), ("b", "2", "question", "What is the name of the river?")])
    assert first(index, asked(REPHRASED)).item_id == "1"


def test_items_that_ask_the_same_leave_the_margin_alone() -> None:
    once, twice = build(ITEMS), build([*ITEMS, ("other", "7", "question", DUCKS.upper())])
    a, b = (nearest(made, asked(DUCKS)) for made in (once, twice))
    assert b.margin[0, 0] > 0.5 and abs(a.margin[0, 0] - b.margin[0, 0]) < 0.1
    assert b.margin[0, 1] == b.margin[0, 0]


def test_chinese_and_code(index: Index) -> None:
    assert first(index, asked("请解释给定列表中的两个科学理论，即日心说和细胞理论。")).benchmark == "zh"
    code = "```python\ndef max_chain_length(arr, n):\n    return max(longest)\n```\na function for the longest chain of pairs"
    assert first(index, asked(code)).benchmark == "code"


# ------------------------------------------------------------------------------------------------------------ the rule


def test_the_rule_of_arrays_is_the_rule_of_numbers() -> None:
    rng = np.random.default_rng(5)
    score, margin = rng.random(200), rng.random(200) / 2
    figures = rng.integers(0, 5, (200, 3))
    figures[:, 2] = np.minimum(figures[:, 2], figures[:, :2].min(axis=1))
    every = flagged(score, margin, figures)
    assert every.tolist() == [bool(flagged(s, m, f)) for s, m, f in zip(score, margin, figures, strict=True)]
    assert every.any() and not every.all()


def test_a_near_copy_is_a_candidate_however_near_other_items_are() -> None:
    same = np.array([2, 1, 1])  # of the item's numbers one is in what is left of it
    assert flagged(0.8, 0.0, same) and not flagged(0.5, 0.0, same)
    assert not flagged(0.8, 0.0, np.array([2, 2, 0]))


# --------------------------------------------------------------------------------------------------------- odd input


def test_no_items_no_rows_and_empty_texts() -> None:
    assert candidates(build([]), asked("What?")) == []
    assert candidates(build(ITEMS), asked()) == []
    assert candidates(build([("b", "1", "question", ""), ("b", "2", "answer", "!!")]), asked("What?", "")) == []
    assert candidates(build(ITEMS), batch([[], [("user", "")]], [None, []])) == []


def test_slices_of_batches_are_read_in_place(index: Index) -> None:
    rows = batch([[("user", "hello")], [("user", REPHRASED)], [("user", "bye")]], [None, [("assistant", "x")], None])
    whole, part = candidates(index, rows), candidates(index, rows.slice(1, 1))
    assert [c._replace(row=0) for c in whole] == part


def test_reasoning_is_read(index: Index) -> None:
    messages = messages_array([[Message("user", "Hello"), Message("assistant", "18", reasoning=REPHRASED)]])
    rows = pa.RecordBatch.from_arrays([messages, messages_array([None])], ["messages", "rejected"])
    assert first(index, rows).turn == 2


def some_rows(number: int = 300) -> list[Row]:
    """Rows made of the items' own words, some with whole questions."""
    rng = random.Random(3)
    words, texts = [word for *_, text in ITEMS for word in text.split()], ["", *(text for *_, text in ITEMS)]

    def turn() -> tuple[str, str]:
        return rng.choice(("user", "assistant", "system")), " ".join(
            [*rng.choices(words, k=rng.randrange(60)), rng.choice(texts)]
        )

    return [[turn() for _ in range(rng.randrange(4))] for _ in range(number)]


def test_neither_order_nor_threads_nor_batches_matter(index: Index) -> None:
    rows = some_rows()
    expected = nearest(index, batch(rows))
    backward = nearest(build(reversed(ITEMS)), batch(rows[::-1]))
    parts = [batch(rows).slice(first, 50) for first in range(0, len(rows), 50)]
    with Local(7).workers(Job("scans", partial(_nearing, index.lookup))) as workers:
        threads = [near for _, near in workers.map(parts)]
    single = [nearest(index, batch([row])) for row in rows]
    for name in expected._fields:
        values = getattr(expected, name)
        np.testing.assert_array_equal(values, getattr(backward, name)[::-1])
        np.testing.assert_array_equal(values, np.concatenate([getattr(one, name) for one in threads]))
        np.testing.assert_array_equal(values, np.concatenate([getattr(one, name) for one in single]))


def test_kernels_are_compiled_once(index: Index) -> None:
    nearest(index, batch(some_rows(20)).slice(3, 9))
    nearest(build(ITEMS[:3]), asked("x"))
    assert len(kernel.compare_rows.signatures) == 1


# ------------------------------------------------------------------------- the same scores, computed plainly and slowly


def plain_terms(text: str) -> list[tuple[str, float]]:
    """The terms of a text of plain lower-case words without endings, each with the factor of its weight."""
    words = tokens(text)
    return [(word, 1.0) for word in words] + [(f"{a} {b}", PAIR) for a, b in pairwise(words)]


def plain_cosine(question: str, turn: str, holders: dict[str, int], items: int) -> float:
    """The best cosine of a question and a window of a turn, over all windows."""
    weight = lambda term, factor: factor * np.log((items + 1) / (holders.get(term, 0) + 0.5))  # noqa: E731
    asked, words = dict(plain_terms(question)), tokens(turn)
    norm = sum(weight(*term) ** 2 for term in asked.items())
    width = len(tokens(question)) * 5 // 4 + kernel.SPARE
    best = 0.0
    for begin in range(max(1, len(words) - width + 1)):
        window = plain_terms(" ".join(words[begin : begin + width]))
        here = dict(window)
        known = {term: factor for term, factor in here.items() if holders.get(term, 0)}
        unknown = [(term, factor) for term, factor in window if not holders.get(term, 0)]  # each time that they come
        dot = sum(weight(term, factor) ** 2 for term, factor in known.items() if term in asked)
        length = sum(weight(*term) ** 2 for term in [*known.items(), *unknown])
        best = max(best, dot / np.sqrt(norm * length) if length else 0.0)
    return best


def test_scores_are_the_cosines_of_the_best_windows() -> None:
    rng = random.Random(11)
    vocabulary = ["".join(rng.choices("bcfhkmopqtvwx", k=4)) for _ in range(80)]
    questions = [" ".join(rng.choices(vocabulary, k=rng.randrange(3, 25))) for _ in range(60)]
    index = build([("b", f"{n:02}", "question", text) for n, text in enumerate(questions)])
    holders: dict[str, int] = defaultdict(int)
    for text in questions:
        for term in dict(plain_terms(text)):
            holders[term] += 1
    turns = []
    for question in questions:
        words = [word for word in question.split() if rng.random() < 0.8]
        around = [rng.choices([*vocabulary, "zzz", "yyyy"], k=rng.randrange(90)) for _ in range(2)]
        turns.append(" ".join([*around[0], *words, *around[1]]))
    found = nearest(index, asked(*turns))
    checked = 0
    for n, turn in enumerate(turns):
        scores = [plain_cosine(question, turn, holders, len(questions)) for question in questions]
        assert found.score[n, 0] == pytest.approx(scores[found.item[n, 0]], abs=1e-5)
        checked += found.score[n, 0] == pytest.approx(max(scores), abs=1e-5)
    assert checked >= 55  # the index looks for the best by the items' rarer terms


# ---------------------------------------------------------------------------------------------------------- real data

corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")


def corpus_file(name: str) -> Any:
    path = CORPUS / name
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()] if ".jsonl" in name else json.loads(text)


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Every benchmark of the corpus but the rephrased one: the texts of each item, by field."""
    folder = fresh(tmp_path_factory.mktemp("paraphrases") / "data")
    ignore = shutil.ignore_patterns("rephrased")
    shutil.copytree(
        CORPUS / "benchmarks", folder.benchmarks / "all", ignore=ignore, copy_function=shutil.copyfile, dirs_exist_ok=False
    )
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for file in benchmark_files(folder, Recipe()):
        found |= {(file.path.name, item_id): item.texts for item_id, item in read(file).items.items()}
    assert len(found) > 10_000
    return found


@pytest.fixture(scope="module")
def public(benchmarks: dict[tuple[str, str], dict[str, list[str]]]) -> Index:
    return build((*key, name, text) for key, texts in benchmarks.items() for name, all_ in texts.items() for text in all_)


def rephrased(answers: bool) -> list[str]:
    texts = [
        re.sub(r"^Question:\s*", "", record["text"]) for record in corpus_file("benchmarks/rephrased/gsm8k_rephrased.jsonl")
    ]
    return texts if answers else [text.split("\nAnswer:")[0] for text in texts]


def share(index: Index, rows: pa.RecordBatch, settings: Settings = Settings()) -> float:
    found = nearest(index, rows)
    return float(flagged(found.score[:, 0], found.margin[:, 0], found.figures[:, 0], settings).mean())


@corpus
@pytest.mark.parametrize("answers", [False, True])
def test_the_right_item_is_nearest_to_its_rephrasing(public: Index, answers: bool) -> None:
    texts = rephrased(answers)
    found = nearest(public, asked(*texts)).item[:, 0]
    right = [public.items[item] == ("gsm8k_test.jsonl", str(n)) for n, item in enumerate(found, 1)]
    assert np.mean(right) >= 0.985


@corpus
def test_a_setting_that_flags_the_rephrased_leaves_training_questions_alone(public: Index) -> None:
    def strengths(rows: pa.RecordBatch) -> Any:
        found = nearest(public, rows)
        return strength(found.score[:, 0], found.margin[:, 0], found.figures[:, 0])

    train = corpus_file("instruct/gsm8k_train_alpaca.json.gz")
    rows = batch([[("user", r["instruction"]), ("assistant", r["output"])] for r in train])
    of_rephrased, of_train = strengths(asked(*rephrased(False))), strengths(rows)
    setting = np.quantile(of_rephrased, 0.2)  # flags 80 % of them
    assert np.mean(of_rephrased >= setting) >= 0.799
    assert np.mean(of_train >= setting) <= 0.005
    assert share(public, asked(*rephrased(False))) >= 0.7
    assert share(public, rows) <= 0.002
