"""Test items in texts: whole ones, long runs, parts; what only sounds alike is left alone; each hit says what and where."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft_assets.arrow import MESSAGES
from sft_assets.decontaminated.canaries import Canary, batches
from sft_assets.decontaminated.overlap.protection import Standing, standing
from sft_assets.decontaminated.overlap.scan import Hit, Overlap, best
from sft_assets.decontaminated.overlap.words import words
from tests.plain_matcher import PlainMatcher

DUCKS = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and sells the rest at the market."
FISH = "Which of these animals breathes through gills during its whole life in the river?"
Items = Sequence[tuple[str, str, str]]


def overlap(*rows: tuple[str, str, str], **settings: Any) -> Overlap:
    """Items of one benchmark; rows are (item_id, field, text)."""
    return Overlap((("exam", *row) for row in rows), **settings)


def asked(*questions: str, **settings: Any) -> Overlap:
    return overlap(*((str(n), "question", text) for n, text in enumerate(questions, 1)), **settings)


def scan(items: Overlap, *rows: Sequence[str]) -> list[Hit | None]:
    """The hit of each row; a row is a list of texts, user and assistant in turns."""
    roles = ("user", "assistant")
    canaries = [Canary("", ("", ""), [(roles[n % 2], text) for n, text in enumerate(row)]) for row in rows]
    hits: dict[int, list[Hit]] = {}
    found = [hit for _, some in items.read(batches(canaries, 3)) for hit in some]
    for hit in [*found, *items.parts()]:
        hits.setdefault(int.from_bytes(hit.row, "big"), []).append(hit)
    items.waiting.clear()
    return [best(hits[n]) if n in hits else None for n in range(len(rows))]


def one(items: Overlap, *texts: str) -> Hit | None:
    return scan(items, texts)[0]


def named(hit: Hit | None) -> tuple[str, str] | None:
    return hit and (hit.reason, hit.owners[0][1])


# --------------------------------------------------------------------------------------------------------- whole items


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_whole_question_is_found_in_any_turn(place: int) -> None:
    turns = ["Be kind.", "Hello there", "Hi!", "Bye"]
    turns[place] = f"Please read this. {FISH} Thank you."
    hit = one(asked(FISH, DUCKS), *turns)
    assert hit is not None
    assert (hit.reason, hit.owners, hit.where.turn) == ("benchmark_item", [("exam", "1")], place + 1)
    assert [turns[place][slice(*span)] for span in hit.spans] == hit.matched == [FISH.rstrip("?")]


@pytest.mark.parametrize(
    "copy",
    [
        DUCKS.upper(),
        DUCKS.replace("’", "'"),
        DUCKS.replace("’", ""),
        DUCKS.replace(" ", "\r\n\t"),
        DUCKS.replace(".", " ;"),
        DUCKS.replace(" ", " **", 3),
        f"Q: {DUCKS}A?",
        f"日本{DUCKS}語",
        "".join(c for c in DUCKS if c.isalnum() or c.isspace()),
    ],
)
def test_case_whitespace_and_punctuation_do_not_hide_a_copy(copy: str) -> None:
    assert named(one(asked(DUCKS), copy)) == ("benchmark_item", "1")


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ("What do you get if you add 5 + 6 and then 7?", "What do you get if you add 17 + 2 and then 7?"),
        ("What is the value of the term a + b for a = 1?", "What is the value of the term a - b for a = 1?"),
        ("How many litres are there in 1.5 of these bottles?", "How many litres are there in 15 of these bottles?"),
        ("Is the product a * b of two odd numbers odd?", "Is the product a / b of two odd numbers odd?"),
    ],
)
def test_other_numbers_and_operators_are_another_question(item: str, row: str) -> None:
    both = asked(item, row)
    assert named(one(both, item)) == ("benchmark_item", "1")
    assert named(one(both, row)) == ("benchmark_item", "2")
    assert one(asked(item), row) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Osteoclasts", Standing.NEVER),
        ("Is this true?", Standing.BESIDE),
        ("Which of the following is true?", Standing.BESIDE),
        ("Who are you?", Standing.BESIDE),
        ("Who made Berlin?", Standing.LINE),
        ("What is the capital of Australia?", Standing.ALONE),
        ("What causes volcanic eruptions under glaciers?", Standing.ANYWHERE),
        ("Which of the following best describes the way that volcanic glaciers move?", Standing.ANYWHERE),
        ("法国的首都是哪里?", Standing.ALONE),
        ("黄河与长江之间最大的淡水湖位于哪个省份的境内", Standing.ANYWHERE),
        ("他是谁", Standing.BESIDE),
    ],
)
def test_how_distinctive_a_question_is(text: str, expected: Standing) -> None:
    assert standing(words(text), choices=True) == expected


@pytest.mark.parametrize(
    ("row", "hit"),
    [
        ("what is the capital of australia", True),
        ("Tell me: what is the capital of Australia?", True),
        ("I have a question. What is the capital of Australia? Thanks!", True),
        ("1. Name a river.\n2. What is the capital of Australia\n3. Sing.", True),
        ("She asked what is the capital of Australia doing about rain", False),
        ("The capital of Australia is Canberra.", False),
    ],
)
def test_a_short_question_counts_where_it_stands_by_itself(row: str, hit: bool) -> None:
    assert (one(asked("What is the capital of Australia?"), row) is not None) == hit


def test_a_paragraph_is_not_condemned_for_a_generic_question() -> None:
    items = overlap(("1", "question", "Is this true?"), ("1", "answer", "It is a myth that people swallow spiders asleep."))
    assert one(items, "People say that cats always land on their feet. Is this true?", "Mostly.") is None
    assert one(items, "Is this true?", "Yes.") is None
    assert named(one(items, "Is this true?", "It is a myth that people swallow spiders asleep!")) == ("benchmark_item", "1")
    assert [u[1:3] for u in items.unprotected] == [("1", "generic")]


def test_a_question_that_ends_beyond_the_turn_is_not_in_it() -> None:
    longer = f"{FISH} Or in the lake?"
    hit = one(asked(longer, FISH), f"Well. {FISH}")
    assert hit is not None
    assert (hit.owners, hit.words) == ([("exam", "2")], len(words(FISH)))


SHARED = "Which of the following statements about them is true?"


def test_a_question_that_several_items_share_counts_only_beside_its_choices() -> None:
    both = overlap(
        *[("a", "question", SHARED), ("a", "choices", "Iron melts before tin"), ("a", "choices", "Tin floats on water")],
        *[("b", "question", SHARED), ("b", "choices", "Fish have warm blood"), ("b", "choices", "Birds have no teeth")],
    )
    assert not both.unprotected
    assert one(both, SHARED, "All of them.") is None
    assert named(one(both, f"{SHARED}\n(A) Birds have no teeth.", "A")) == ("benchmark_item", "b")
    assert named(one(both, f"Tin floats on water; iron melts before tin. {SHARED}", "A")) == ("benchmark_item", "a")
    assert named(one(both, SHARED, "It is true that tin floats on water.")) == ("benchmark_item", "a")
    assert one(both, SHARED, "No.", "And is it true that tin floats on water?") is None


def test_a_choice_of_one_word_is_no_sign_of_a_shared_question() -> None:
    rows = [(item, "question", SHARED) for item in "ab"]
    rows += [("a", "choices", c) for c in ("1", "2", "4", "8")] + [("b", "choices", c) for c in ("3", "5")]
    both = overlap(*rows)
    assert one(both, SHARED, "There are 2 of them.") is None
    assert named(one(both, f"{SHARED} 1, 2, 4 or 8?", "2")) == ("benchmark_item", "a")
    assert named(one(both, f"{SHARED} 8, 4, 2 or 1?", "2")) == ("benchmark_item", "a")
    assert named(one(both, f"{SHARED} 3 or 5?", "5")) == ("benchmark_item", "b")


def test_items_that_differ_in_brackets_alone_are_told_apart() -> None:
    task = "Complete the rest of the sequence, so that all parentheses are closed properly. Input:"
    rows = [
        ("1", "question", f"{task} [ ( {{"),
        ("2", "question", f"{task} [ {{ ("),
        ("1", "answer", "})]"),
        ("2", "answer", ")}]"),
    ]
    both = overlap(*rows)
    assert named(one(both, f"{task} [ {{ (", ")}]")) == ("benchmark_item", "2")
    assert named(one(both, f"{task}  [(  {{")) == ("benchmark_item", "1")
    assert one(both, f"{task} ( [ (") is None


def test_a_question_that_two_benchmarks_have_names_both() -> None:
    two = Overlap([("one", "1", "question", FISH), ("one", "1", "answer", "trout"), ("two", "7", "question", FISH)])
    hit = one(two, FISH)
    assert hit is not None
    assert (hit.reason, hit.owners) == ("benchmark_item", [("one", "1"), ("two", "7")])


def test_a_generic_question_counts_beside_its_passage() -> None:
    passage = "The lighthouse keeper of Amrum counted eleven herons in the reeds behind the old ferry house that winter."
    items = overlap(("1", "question", "Who was it?"), ("1", "context", passage))
    assert named(one(items, f"{passage} Who was it?")) == ("benchmark_item", "1")
    assert one(items, "Somebody called. Who was it?") is None
    assert not items.unprotected


def test_a_passage_alone_is_no_leak() -> None:
    passage = " ".join(f"The harbour master wrote letter {n} about tides, herons and ferries." for n in range(20))
    items = overlap(
        ("1", "question", "How many letters about herons did the harbour master write that year?"), ("1", "context", passage)
    )
    assert one(items, f"Summarize this. {passage}", "Letters.") is None


def test_long_code_of_a_solution_is_found_and_short_code_is_not() -> None:
    long = (
        "total = 0\nfor price, count in basket.items():\n    if count > threshold:\n        price = price * discount\n"
        "    total += price * count\nreturn round(total, decimals) if currency else shipping(total, country, weight)"
    )
    code = overlap(
        ("1", "question", FISH), ("1", "solution", long), ("2", "question", DUCKS), ("2", "solution", "return a + b")
    )
    hit = one(code, "Sum up the basket.", f"def total(basket):\n    {long}")
    assert hit is not None
    assert (hit.field, hit.owners[0][1], hit.where.turn) == ("solution", "1", 2)
    assert one(code, "Add.", "return a + b") is None


def test_a_question_of_two_words_is_found_by_its_choices() -> None:
    rows = [("1", "question", "Predators eat"), *[("1", "choices", c) for c in ("little bunnies in a field", "grass", "lions")]]
    items = overlap(*rows)
    assert not items.unprotected
    assert named(one(items, "Predators eat\n(A) lions (B) little bunnies in a field (C) grass")) == ("benchmark_item", "1")
    assert one(items, "Foxes eat little bunnies in a field.") is None
    assert one(items, "Predators eat what they find, little bunnies in a field too.") is None


def test_items_that_nothing_can_find_are_listed_with_the_reason() -> None:
    items = overlap(
        ("1", "question", "Osteoclasts"),
        ("2", "question", "Who are you?"),
        ("3", "question", SHARED),
        ("3", "choices", "Yes"),
        ("4", "question", SHARED),
        ("4", "choices", "No"),
        ("5", "question", FISH),
    )
    assert [u[1:3] for u in items.unprotected] == [("1", "too_short"), ("2", "generic"), ("3", "shared"), ("4", "shared")]


# ------------------------------------------------------------------------------------------------------ runs and parts


def prose(n: int, start: int = 0) -> str:
    """Text of n different words."""
    return " ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(start, start + n))


def test_a_long_run_that_is_much_of_the_item_is_a_leak() -> None:
    long = asked(prose(40))
    assert one(long, f"so {prose(12, 5)} then") is None
    hit = one(long, f"so {prose(20, 5)} then")
    assert named(hit) == ("benchmark_ngram", "1")
    assert hit is not None and hit.words == 20
    assert hit.coverage is not None and 0.4 <= hit.coverage <= 0.6
    assert named(one(asked(prose(40), coverage=0.9), f"so {prose(20, 5)} then")) is None
    assert named(one(asked(prose(20), ngram=8), f"so {prose(10, 5)} then")) == ("benchmark_ngram", "1")


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("length", [9, 14, 20, 40, 120])
def test_an_item_that_was_cut_is_a_leak(length: int, share: float) -> None:
    text = prose(length)
    cut = " ".join(text.split()[: round(share * length)])
    hits = scan(asked(text), [cut], [f"{cut}."], [f"Please: {cut}\n\nThank you."])
    assert all(named(hit) in {("benchmark_ngram", "1"), ("benchmark_coverage", "1")} for hit in hits)


def test_the_beginning_of_a_short_item_that_goes_on_otherwise_is_none() -> None:
    item = asked("Write down the main differences between Java and Kotlin")
    assert one(item, "Write down the main differences between Java and Scala.") is None
    assert named(one(item, "Write down the main differences between Java and")) == ("benchmark_coverage", "1")


def test_an_edited_copy_is_found_by_its_3_grams() -> None:
    words_ = prose(40).split()
    for place in (5, 14, 22, 30):
        words_[place] = "other"
    hit = one(asked(prose(40)), f"so {' '.join(words_)} then")
    assert named(hit) == ("benchmark_coverage", "1")
    assert hit is not None and len(hit.spans) == len(hit.matched) == 5


def test_runs_that_touch_are_one_span_shown_as_it_was_written() -> None:
    run = prose(30, 5).replace(" ", ",  ", 1).upper()
    turn = f"“Ünïcödé” first… {run}! and more"
    hit = one(asked(prose(40)), "none", turn)
    assert hit is not None
    assert (hit.where.turn, hit.words, [turn[slice(*span)] for span in hit.spans]) == (2, 30, [run])


def test_spans_hold_in_a_text_that_is_not_composed() -> None:
    turn = f"cafe\u0301 e\u0301te\u0301: {FISH} e\u0301"
    hit = one(asked(FISH), turn)
    assert hit is not None
    assert [turn[slice(*span)] for span in hit.spans] == [FISH.rstrip("?")]


def test_the_same_template_with_other_numbers_is_another_item() -> None:
    item = (
        "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
        "Natalia sell altogether in April and May?"
    )
    assert named(one(asked(item), item)) == ("benchmark_item", "1")
    assert one(asked(item), item.replace("48", "52")) is None
    assert one(asked(item), item.replace("half", "twice")) is None
    polls = (
        "As of 2019, about what share of the people of Chile say that having free media without censorship is very important?"
    )
    assert one(asked(polls), polls.replace("2019", "2023").replace("Chile", "Peru")) is None


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ("Factor $t^2-49$.", "Factor $t^2-49$."),
        ("Factor $t^2-49$.", r"Factor \(t^2-49\)."),
        ("Let $x$ be the least of the primes. What is $x^2 + 1$?", r"Let \(x\) be the least of the primes. What is \(x^2+1\)?"),
        ("((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =", "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) ="),
        ("not ( True ) and ( True ) is", "not ( True ) and ( True ) is"),
        ("Who is Cher (singer)?", "Tell me. Who is Cher (singer)? Thanks."),
        ("¿Quién es Cher?", "¿Quién es Cher?"),
        ("What is the capital of Australia?", "(What is the capital of Australia?)"),
        ("What is the capital of Australia?", '{"q": "What is the capital of Australia?", "a": 1}'),
        ("What is the capital of Australia?", "✅ What is the capital of Australia?\tCanberra"),
        ("Is the rule x <= 3 or y >= 4 a well-known one?", "Is the rule x ≤ 3 or y ≥ 4 a well‑known one?"),
        ("Name the herons:\n- grey\n- purple\n- goliath", "Name the herons:\n* grey\n* purple\n* goliath"),
    ],
)
def test_symbols_dashes_and_marks_do_not_hide_a_copy(item: str, row: str) -> None:
    items = asked(item)
    assert not items.unprotected
    assert named(one(items, row)) == ("benchmark_item", "1")


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ("What is the value of the whole expression a + b?", "What is the value of the whole expression a - b?"),
        (
            "Anna hat drei Äpfel und kauft fünf dazu, wie viele hat sie am Abend?",
            "Anna hat neun Äpfel und kauft sechs dazu, wie viele hat sie am Abend?",
        ),
        (
            "Which pope named Leo XIII wrote the longest of all the letters?",
            "Which pope named Leo IX wrote the longest of all the letters?",
        ),
        (
            "Which herons of the estuary are the most expensive to feed?",
            "Which herons of the estuary are the least expensive to feed?",
        ),
        (
            "Complete the rest of the sequence of these brackets here: [ ( {",
            "Complete the rest of the sequence of these brackets here: < < [",
        ),
    ],
)
def test_another_operator_number_word_or_negation_is_another_question(item: str, row: str) -> None:
    assert named(one(asked(item), item)) == ("benchmark_item", "1")
    assert one(asked(item), row) is None


@pytest.mark.parametrize(
    "question",
    [
        "Which of the following can be inferred from the passage?",
        "下列说法正确的是____。",
        "Welche der folgenden Aussagen ist richtig?",
    ],
)
def test_the_same_question_over_other_options_is_another_one(question: str) -> None:
    items = overlap(
        ("1", "question", question), *[("1", "choices", f"{name} is a harbour town") for name in ("Kiel", "Ulm", "Jena")]
    )
    assert one(items, f"{question}\nA. Herons are blue\nB. Herons are grey\nC. Herons sing", "B") is None
    assert named(one(items, f"{question}\n(A) Ulm is a harbour town (B) Kiel is a harbour town (C) Jena is")) == (
        "benchmark_item",
        "1",
    )


def test_items_that_only_their_passages_tell_apart_need_one() -> None:
    question = "What is the sentiment of the following movie review?"
    reviews = [f"{prose(20, 30 * n)} in the cinema of Kiel" for n in range(3)]
    items = overlap(
        *(row for n, text in enumerate(reviews) for row in ((str(n), "question", question), (str(n), "context", text)))
    )
    assert one(items, f"{question} {prose(20, 200)}", "Good.") is None
    assert named(one(items, f"{question} {reviews[1]}", "Good.")) == ("benchmark_item", "1")
    alone = overlap(("1", "question", "A man is sleeping."), ("1", "context", f"{prose(20)} in Kiel"))
    assert one(alone, "The room is dark. A man is sleeping. A dog barks.") is None


def test_a_question_of_thousands_of_items_is_read_in_time() -> None:
    rows = [
        row
        for n in range(3000)
        for row in ((f"{n}", "question", SHARED), (f"{n}", "choices", prose(4, n)), (f"{n}", "choices", "No"))
    ]
    items = overlap(*rows)
    assert named(one(items, f"{SHARED} (A) No (B) {prose(4, 77)}")) == ("benchmark_item", "77")


def test_a_long_run_of_a_much_longer_item_is_a_leak() -> None:
    long = " ".join(f"{prose(25, n)} {n}" for n in range(0, 600, 25))
    assert named(one(asked(long), " ".join(long.split()[100:260]))) == ("benchmark_ngram", "1")


def test_what_stands_in_many_items_is_a_template() -> None:
    template = (
        "Rewrite the following lines about harbour masters counting herons near abandoned ferries so that nobody notices:"
    )
    items = asked(*(f"{template} {prose(6, 30 * n)}" for n in range(20)))
    assert one(items, f"{template} something else entirely, with words of our own making") is None
    assert named(one(items, f"{template} {prose(6, 90)}")) == ("benchmark_item", "4")


def test_what_stands_in_many_rows_is_boilerplate_but_a_whole_item_is_a_leak_there_too() -> None:
    licence = LICENCE
    item = f"{licence} explain it."
    rows = [[f"{licence} number {n} {prose(5, 7 * n)}"] for n in range(30)]
    assert scan(asked(item), *rows) == [None] * 30
    assert all(named(hit) == ("benchmark_coverage", "1") for hit in scan(asked(item), *rows[:5]))
    whole = [[f"{n}: {item}"] for n in range(30)]
    assert all(named(hit) == ("benchmark_item", "1") for hit in scan(asked(item), *whole))


def test_a_quotation_within_an_item_is_not_the_item() -> None:
    quote = "Four score and seven years ago our fathers brought forth on this continent a new nation, conceived in liberty"
    item = f"In the speech “{quote}”, which rhetorical device does the speaker employ when counting the years?"
    assert one(asked(item), f"Who said this: “{quote}”?", "Lincoln") is None
    assert named(one(asked(item), item)) == ("benchmark_item", "1")
    only = f"Is this sentence plausible? “{quote}”"
    assert named(one(asked(only), f"{quote}.")) == ("benchmark_ngram", "1")


def test_a_few_shot_prompt_that_quotes_another_dataset_is_no_leak() -> None:
    shots = "\n".join(f"Q: {prose(12, 12 * n)} {n}?\nA: {n + 3}" for n in range(4))
    items = asked(*(f"{shots}\nQ: {prose(9, 400 + 9 * n)}?\nA:" for n in range(12)))
    assert one(items, f"{shots}\nQ: {prose(9, 300)}?\nA:", "7") is None


def test_numbers_and_the_bones_of_code_are_no_leak() -> None:
    assert one(asked("Sort 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 by size"), str(list(range(1, 16)))) is None
    loop = "for i in range(1, m + 1):\n    for j in range(1, n + 1):\n        if a[i] == b[j]:\n            return i"
    code = overlap(
        ("1", "question", f"def f(a, b, m, n):\n{loop}\n    return -1 # what is wrong with it?"), ("1", "solution", "pass")
    )
    assert one(code, f"Here you are:\n{loop}") is None


def test_a_whole_item_is_named_before_a_part_and_a_longer_one_before_a_shorter() -> None:
    rows = asked(prose(40), FISH, f"{FISH} Or rather in the open sea?")
    assert named(one(rows, prose(30), FISH)) == ("benchmark_item", "2")
    assert named(one(rows, FISH, f"{FISH} Or rather in the open sea?")) == ("benchmark_item", "3")


def test_the_order_of_items_and_rows_does_not_matter() -> None:
    items = [("exam", str(n), "question", prose(20, 3 * n)) for n in range(20)] + [("exam", "x", "question", FISH)]
    rows = [[prose(14, 12), prose(14, 20)], [FISH], [prose(15, 31)], ["nothing"]]
    first = scan(Overlap(items), *rows)
    assert sum(hit is not None for hit in first) >= 2
    for seed in range(5):
        shuffled = random.Random(seed).sample(items, len(items))
        again = scan(Overlap(shuffled + items[:3]), *rows[::-1])[::-1]
        assert [hit and hit._replace(row=0) for hit in again] == [hit and hit._replace(row=0) for hit in first]


LICENCE = "Permission is hereby granted, free of charge, to any person obtaining copies of these herons and ferries,"


def test_what_waits_is_let_go_when_it_is_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sft_assets.decontaminated.overlap.scan.WAITING", 20)
    items = asked(f"{LICENCE} explain it.", total=300)
    most = 0
    for _, _ in items.read(batches([Canary("", ("", ""), [("user", f"{LICENCE} {n}")]) for n in range(300)], 3)):
        most = max(most, len(items.waiting))
    assert most <= 20 + 3
    assert list(items.parts()) == []


@pytest.mark.parametrize("leaks_first", [True, False])
def test_letting_go_makes_no_difference(monkeypatch: pytest.MonkeyPatch, leaks_first: bool) -> None:
    """More rows raise the bar for what is frequent: what is let go early must not be what would stand at the end."""
    monkeypatch.setattr("sft_assets.decontaminated.overlap.scan.WAITING", 5)
    monkeypatch.setattr("sft_assets.decontaminated.overlap.scan.FEWEST_ROWS", 2)
    monkeypatch.setattr("sft_assets.decontaminated.overlap.scan.ROWS_PER", 20)
    leaky, clean = [[f"{LICENCE} {prose(1, n)}"] for n in range(9)], [[f"clean {n}"] for n in range(191)]
    rows = leaky + clean if leaks_first else clean + leaky
    found = scan(asked(f"{LICENCE} explain it.", total=200), *rows)
    assert sum(hit is not None for hit in found) == 9


def test_no_items_and_no_text_are_no_hits() -> None:
    assert one(asked(), DUCKS) is None
    assert scan(asked(DUCKS), [], ["", "?!"]) == [None, None]
    assert list(asked(DUCKS).read([])) == []
    empty = pa.record_batch(
        {"row_id": pa.array([], pa.uuid()), "messages": pa.array([], MESSAGES), "rejected": pa.array([], MESSAGES)}
    )
    assert [rows for rows, _ in asked(DUCKS).read([empty])] == [0]


def test_a_text_of_one_word_a_million_times_is_read_in_time() -> None:
    items = asked(f"{'no ' * 50}never again")
    assert one(items, "no " * 1_000_000) is None
    assert named(one(items, f"{'no ' * 1000}{'no ' * 50}never again")) == ("benchmark_item", "1")


# ----------------------------------------------------------------------------------------------------------- the kernel

VOCABULARY = [
    "the",
    "of",
    "red",
    "blue",
    "green",
    "heron",
    "ferry",
    "tide",
    "it's",
    "1,000",
    "7",
    "café",
    "+",
    "-",
    "*",
    "über",
]


@given(st.data())
def test_the_kernel_finds_the_runs_that_plain_python_finds(data: st.DataObject) -> None:
    text = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=30).map(" ".join)
    items = data.draw(st.lists(text, min_size=1, max_size=6))
    texts = data.draw(st.lists(text, min_size=1, max_size=6))
    texts += [f"{item} and {other}" for item, other in zip(items, texts, strict=False)] + ["", items[0].upper()]
    overlap_ = asked(*items)
    found, plain = overlap_.matcher.find(pa.array(texts)).runs, PlainMatcher(overlap_).find(texts).runs
    kernel, expected = ({tuple(run) for run in np.stack(runs, axis=1).tolist()} for runs in (found, plain))
    assert expected <= kernel
    assert all(run[4] == 3 for run in kernel - expected)  # neighbours are told by seven bits of their hashes


def test_more_runs_than_there_is_room_for_are_read_in_parts() -> None:
    items = [prose(12, 3 * n) for n in range(40)]
    texts = pa.array([f"{prose(11, 4 * n % 90)} {prose(7, 30)}" for n in range(50)] + ["nothing", prose(130)])
    roomy, narrow = asked(*items).matcher, asked(*items).matcher
    expected = roomy.find(texts)
    narrow.find(texts[:0])
    narrow._own.state.runs = np.empty((3, 7), np.int32)
    found = narrow.find(texts)
    for name in expected.runs._fields:
        np.testing.assert_array_equal(getattr(found.runs, name), getattr(expected.runs, name))
    np.testing.assert_array_equal(found.grams, expected.grams)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert expected.counts.sum() > 0


def test_how_frequent_a_3_gram_is_does_not_depend_on_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    items = asked(prose(30), prose(30, 40))
    texts = pa.array([f"{prose(5, 7 * n % 60)} x{n}" for n in range(400)])
    frequency = np.zeros((2, items.matcher.index.grams), np.int64)
    once = items.matcher.find(texts)
    frequency[0, once.grams] = once.counts
    with ThreadPoolExecutor(4) as pool:
        for part in pool.map(items.matcher.find, [texts[a : a + 50] for a in range(0, 400, 50)]):
            frequency[1, part.grams] += part.counts
    np.testing.assert_array_equal(frequency[0], frequency[1])
    assert frequency.sum() > 0
