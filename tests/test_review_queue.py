"""Queues: of each kind the rows that are worth a person's minute and no others, within a budget, the same every time."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from sft_assets import reviews
from sft_assets.arrow import messages_array, uuids
from sft_assets.augmented import asset as augmented
from sft_assets.augmented.generations import asset as generations
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.record import Message, content_hash, digest
from sft_assets.reviews.queue import ASKED, Item, Queue, load, names, save
from sft_assets.reviews.queue.exporting import deal, export, named
from sft_assets.reviews.queue.item import Asked
from sft_assets.reviews.queue.picking import Candidate, choose
from sft_assets.reviews.queue.standing import Standing
from sft_assets.reviews.queue.tables import escaped, table, unescaped
from sft_assets.serve.guard import Rules
from sft_assets.serve.review.routes import state
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.build import Build
from tests.conftest import NO_MODELS, build, fresh, put, say
from tests.test_reviews import UP_TO_SCORED

pytestmark = pytest.mark.xdist_group("review_queue")  # one folder is what most of them start from
WORDS = [
    a + b + c for a in ("bal", "cor", "dim", "fes", "gul", "han") for b in ("to", "ra", "ne", "si") for c in ("m", "n", "p")
]


def words(seed: int, number: int) -> str:
    """So many words, others for each seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=number))


def other(text: str, place: int) -> str:
    """The text with another word in a place."""
    said = text.split()
    return " ".join([*said[:place], "quince", *said[place + 1 :]])


LONG, SHORT = words(50, 100), words(51, 28)  # of another word in each: Jaccard 0.94 and 0.82
ITEM = "How many tiles lie on the roof of the old customs house in Varna?"
NAMES = {  # prompts, by what becomes of the row
    "equal": "Name a river that flows through Vienna.",
    "exact duplicate": "Name  a river that flows through VIENNA.",
    "far duplicate": other(LONG, 40),
    "close duplicate": other(SHORT, 12),
    "mojibake": "Where is the café on the corner of the market?",
    "mojibake and a promise": "When does the café open in the winter months?",
    "refusal": "Help me to find a flat in the old town.",
    "leak": ITEM,
    "in other words": "Tell me the number of tiles that lie upon the old customs house roof in the town of Varna.",
    "pair": "Which of two answers about bread is the better one?",
    "spoilt pair": "Which of two answers about the cafÃ© is the better one?",
    "labelled": "Is the stone bridge open for cyclists today?",
    "unanswered": "What would you ask a heron about the weather?",
    "formula": "=HYPERLINK(0) is what a careless sheet would run",
}
CONFLICT, THREE = "Write a line about the harbour.", "Write a line about the lighthouse."
PLAIN = [f"Say {words(n, 9)}" for n in range(1, 31)]


DISAGREES, JUST_BELOW, FAR_BELOW = 0, 28, 29  # places in PLAIN


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder up to scored, with something of each kind; scores and generated rows are made by hand. Not to be changed."""
    folder = fresh(tmp_path_factory.mktemp("queue") / "data")
    say(
        folder,
        **NO_MODELS,
        contamination_candidates={"strength": 0.1, "score": 0.1},
        scored={"thresholds": {"reward": {"drop_below": 0.2}}},
    )
    told = {name: {"instruction": prompt, "output": f"Nobody knows {words(60 + n, 6)}"}
            for n, (name, prompt) in enumerate(NAMES.items())}  # fmt: skip
    told["exact duplicate"]["output"] = told["equal"]["output"]
    told["mojibake"]["output"] = "The cafÃ© is closed."
    told["mojibake and a promise"]["output"] = "The cafÃ© opens at ten. My knowledge cutoff is September 2021."
    told["refusal"]["output"] = "I'm sorry, but I can't help with that."
    told["far duplicate"]["output"] = told["close duplicate"]["output"] = "Yes"
    told["formula"]["output"] = "-1"
    pairs = {name: told.pop(name) for name in ("pair", "spoilt pair")}
    labelled, unanswered = told.pop("labelled"), told.pop("unanswered")
    put(folder, "a.jsonl", [
        *told.values(),
        *({"instruction": text, "output": "Yes."} for text in (LONG, SHORT)),  # the answer that ends well stays
        *({"instruction": CONFLICT, "output": f"One {words(n, 8)}"} for n in (80, 81)),
        *({"instruction": THREE, "output": f"One {words(n, 8)}"} for n in (82, 83, 84)),
        *({"instruction": prompt, "output": f"Well, {words(90 + n, 8)}"} for n, prompt in enumerate(PLAIN)),
    ])  # fmt: skip
    put(folder, "b.jsonl", [
        {"prompt": pair["instruction"], "chosen": pair["output"], "rejected": f"Who knows {words(75 + n, 5)}"}
        for n, pair in enumerate(pairs.values())
    ])  # fmt: skip
    put(folder, "c.jsonl", [{"prompt": labelled["instruction"], "completion": labelled["output"], "label": False}])
    request = {"model": "m", "messages": [{"role": "user", "content": unanswered["instruction"]}]}
    put(folder, "d.jsonl", [{"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": request}])
    (folder.benchmarks / "exam.jsonl").write_text(json.dumps({"question": ITEM, "answer": "9"}) + "\n")
    build(folder, *UP_TO_SCORED)
    with house(folder).writing() as con:
        _score(con)
        _generate(con)
    return folder.root


def _score(con: duckdb.DuckDBPyConnection) -> None:
    """Rewards and a judge's scores that agree but for one row, and two rows that went for their reward."""
    number = {id_of(con, prompt): n for n, prompt in enumerate(PLAIN)}
    for row_id, n in number.items():
        best = len(PLAIN) if n == DISAGREES else n
        con.execute(
            "UPDATE store.scored_1 SET reward_score = ?, judge_scores = MAP {'helpfulness': ?} WHERE row_id = ?",
            [0.21 + best / 100, float(n), row_id],
        )
    for n, value in ((JUST_BELOW, 0.19), (FAR_BELOW, 0.01)):
        con.execute("DELETE FROM store.scored_1 WHERE row_id = ?", [id_of(con, PLAIN[n])])
        evidence = json.dumps({"scores": [{"score": "reward", "value": value, "limit": 0.2}]})
        values = [id_of(con, PLAIN[n]), "reward_below", evidence]
        con.execute("INSERT INTO store.dropped VALUES ('scored', 1, ?, ?, ?)", values)


def _generate(con: duckdb.DuckDBPyConnection) -> None:
    """Rows that models wrote, of which the last fell at a gate, and the state that has the others."""
    turns = [[Message("user", f"Generated {words(200 + n, 6)}"), Message("assistant", words(210 + n, 6))] for n in range(4)]
    rejected = [None, None, [Message("assistant", "No.")], None]
    hashes = [content_hash(one, other, None) for one, other in zip(turns, rejected, strict=True)]
    ids = [digest(one) for one in hashes]
    with Build.begin(con, dataclasses.replace(generations.TABLE, laws=()), "1", {}) as build:
        contents = {"content_hash": uuids(hashes), "messages": messages_array(turns), "rejected": messages_array(rejected)}
        build.store("contents", "content_hash", pa.table(contents))
        methods = ["evol_instruct", "personas", "preferences", "personas"]
        columns = {"row_id": uuids(ids), "content_hash": uuids(hashes), "method": methods,
                   "source": [f"generated:{method}" for method in methods],
                   "kind": ["sft", "sft", "preference", "sft"]}  # fmt: skip
        build.insert(pa.table(columns))
    inputs = {"generations": "1"}
    with Build.begin(con, dataclasses.replace(augmented.TABLE, laws=(), after=None, creates=None), "1", inputs) as build:
        build.insert_sql("SELECT row_id, content_hash FROM store.scored_1")
        build.insert_sql(f"""
            SELECT row_id, content_hash, method AS generated_method,
                if(method = 'personas', ['mojibake'], []) AS generated_review
            FROM {build.of("generations")} WHERE row_id != '{UUID(bytes=ids[-1])}'
        """)
        build.drop(ids[-1], "near_duplicate", {"gate": "near_duplicate", "of": str(id_of(con, PLAIN[3])), "jaccard": 0.9})
        build.records_in = build.value("SELECT count(*) FROM store.scored_1") + len(ids)


def id_of(con: duckdb.DuckDBPyConnection, prompt: str) -> UUID:
    ((row_id,),) = con.execute("SELECT row_id FROM combined WHERE messages[1].content = ?", [prompt]).fetchall()
    return row_id  # type: ignore[no-any-return]


def copied(root: Path, to: Path) -> Folder:
    shutil.copytree(root, to / "data")
    return Folder.at(to / "data")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Folder:
    return copied(made, tmp_path)


def house(folder: Folder) -> Warehouse:
    return Warehouse(folder.database)


def ask(folder: Folder, *kinds: Asked, budget: int = 1000, **more: Any) -> Queue:
    return export(house(folder), folder, budget, kinds, **more).queue


def prompts(items: Iterable[Item]) -> list[str]:
    return [item.messages[0]["content"] for item in items]


@pytest.fixture(scope="module")
def looked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A copy for tests that only make queues."""
    return copied(made, tmp_path_factory.mktemp("looked"))


@pytest.fixture(scope="module")
def kinds(looked: Folder) -> dict[Asked, Queue]:
    """All that there is to ask, kind by kind."""
    return {kind: ask(looked, kind) for kind in ASKED}


def about(queue: Queue) -> dict[str, Item]:
    """The items by what the row is called above, else by its prompt."""
    called = {prompt: name for name, prompt in NAMES.items()}
    return {called.get(prompt, prompt): item for item in queue.items for prompt in prompts([item])}


# ------------------------------------------------------------------------------------------------------------ the kinds


def test_marked_rows_come_with_most_reasons_first_and_each_reason_in_turn(kinds: dict[Asked, Queue]) -> None:
    queue = kinds["marked"]
    found = about(queue)
    assert next(iter(found)) == "mojibake and a promise"
    # the row that is marked as a test item alone is of another kind
    generated = [item for item in queue.items if item.generated]
    assert set(found) - set(prompts(generated)) == {"mojibake and a promise", "mojibake", "spoilt pair"}
    assert [(item.about, item.state) for item in generated] == [("review mojibake", "augmented")]
    assert {item.about for item in queue.items} == {"review knowledge_cutoff", "review mojibake"}
    assert all((item.verdict, item.asked, item.audit) == ("review", "marked", False) for item in queue.items)
    mark = found["mojibake"].marks[0]
    assert found["mojibake"].messages[mark.turn - 1]["content"][mark.start : mark.stop] == "Ã©"
    assert mark.why.startswith("mojibake: ")


def test_a_candidate_is_asked_about_beside_the_test_item(kinds: dict[Asked, Queue]) -> None:
    found = about(kinds["paraphrase"])
    assert set(found) == {"in other words", "mojibake"}, "the leak went, and is none any more"
    assert {item.question for item in found.values()} == {"Is this row the test item in other words?"}
    item = found["in other words"]
    assert (item.state, item.verdict, item.about) == ("decontaminated", "review", "review possible_test_item")
    assert item.other is not None and item.other.name == "exam 1" and item.other.text == f"{ITEM}\n\nanswer: 9"
    assert item.choices == ["keep", "drop", "edit", "skip"]
    assert item.decided("keep", "ann").state == "decontaminated"
    assert item.decided("drop", "ann").state == "scored"
    assert 0 < item.signals["score"] < 1


def test_what_was_dropped_as_a_test_item_in_other_words_is_asked_about_beside_it(folder: Folder) -> None:
    exam = {"benchmark": "exam", "item_id": "1"}
    dropped = [
        ("decontaminated", 12, "benchmark_paraphrase", {**exam, "score": 0.4, "turn": 1, "role": "user", "item": ITEM}),
        ("scored", 13, "judged_test_item", {"test_item": {**exam, "reason": "the same", "model": "m"}}),
    ]
    with house(folder).writing() as con:
        for state, n, reason, evidence in dropped:
            values = [state, id_of(con, PLAIN[n]), reason, json.dumps(evidence)]
            con.execute("INSERT INTO store.dropped VALUES (?, 1, ?, ?, ?)", values)
    candidates, audit = about(ask(folder, "paraphrase")), about(ask(folder, "audit"))
    assert (candidates[PLAIN[12]].verdict, candidates[PLAIN[12]].signals["score"]) == ("dropped", 0.4)
    for item in (candidates[PLAIN[12]], audit[PLAIN[12]], audit[PLAIN[13]]):
        assert item.question == "Is this row the test item in other words?"
        assert item.other is not None and (item.other.name, item.other.text) == ("exam 1", f"{ITEM}\n\nanswer: 9")
    assert audit[PLAIN[13]].decided("keep", "ann").state == "scored"
    assert audit[PLAIN[12]].decided("keep", "ann").state == "decontaminated"


def test_of_signals_that_disagree_the_widest_spread_is_asked_about(kinds: dict[Asked, Queue]) -> None:
    (item,) = kinds["signals"].items
    assert prompts([item]) == [PLAIN[DISAGREES]], "of the others reward and judge say the same"
    assert item.signals["reward"] == pytest.approx(0.21 + len(PLAIN) / 100) and item.signals["judge, helpfulness"] == 0.0
    assert item.signals["rank by reward"] > 0.9 > 0.1 > item.signals["rank by judge, helpfulness"]


def test_the_rows_nearest_to_a_limit_are_asked_about_from_both_sides(kinds: dict[Asked, Queue]) -> None:
    found = {item.messages[0]["content"]: item for item in kinds["threshold"].items}
    assert {prompt: item.verdict for prompt, item in found.items()} == {
        NAMES["close duplicate"]: "dropped",  # Jaccard 0.8; that of the far one is 0.94
        PLAIN[JUST_BELOW]: "dropped",
        PLAIN[1]: "kept",
        PLAIN[2]: "kept",
    }
    assert found[PLAIN[1]].about == "kept" and found[PLAIN[JUST_BELOW]].about == "scored reward_below"
    told = {"score": "reward", "value": 0.19, "limit": 0.2}
    assert found[PLAIN[JUST_BELOW]].signals == told
    duplicate = found[NAMES["close duplicate"]]
    assert duplicate.other is not None and duplicate.other.messages[0]["content"] == SHORT
    assert duplicate.question == "Is this row a duplicate of the other one?"
    assert duplicate.signals["jaccard"] == 0.8


def test_what_went_for_just_enough_of_a_test_item_is_near_a_limit_and_is_nothing_else_any_more(folder: Folder) -> None:
    part = {"benchmark": "exam", "item_id": "1", "turn": 1, "spans": [[0, 3]]}
    with house(folder).writing() as con:
        for n, coverage in ((10, 0.52), (11, 0.9)):
            values = [id_of(con, PLAIN[n]), json.dumps({**part, "coverage": coverage})]
            con.execute("INSERT INTO store.dropped VALUES ('decontaminated', 1, ?, 'benchmark_overlap', ?)", values)
    near = about(ask(folder, "threshold"))[PLAIN[10]]
    assert (near.about, near.signals["coverage"], near.question) == (
        "decontaminated benchmark_overlap", 0.52, "Does this row hold the test item?",
    )  # fmt: skip
    assert near.other is not None and near.other.name == "exam 1" and (near.marks[0].start, near.marks[0].stop) == (0, 3)
    audit = about(ask(folder, "audit"))
    assert audit[PLAIN[10]].about == audit[PLAIN[11]].about == "decontaminated benchmark_overlap", (
        "dropped, though later states"
    )
    assert PLAIN[11] not in about(ask(folder, "threshold")), "know nothing of it yet"


def test_of_each_conflict_the_two_best_answers_are_compared(folder: Folder) -> None:
    with house(folder).writing() as con:
        found = con.execute("SELECT row_id FROM scored WHERE messages[1].content = ? ORDER BY row_id", [THREE]).fetchall()
        (low,), *best = found
        for reward, (row_id,) in zip((0.3, 0.9, 0.8), found, strict=True):
            con.execute("UPDATE store.scored_1 SET reward_score = ? WHERE row_id = ?", [reward, row_id])
    queue = ask(folder, "conflict")
    assert sorted(prompts(queue.items)) == [CONFLICT, THREE]
    three = about(queue)[THREE]
    assert three.other is not None and {three.row_id, three.other.row_id} == {row_id for (row_id,) in best} != {low}
    assert three.choices == ["prefer_a", "prefer_b", "tie", "skip"] and three.state == "augmented"
    decision = three.decided("prefer_b", "ann")
    assert (decision.state, decision.other, decision.other_hash) == ("augmented", three.other.row_id, three.other.content_hash)
    firsts = {about(ask(folder, "conflict", seed=seed))[THREE].row_id for seed in range(5)}
    assert firsts == {row_id for (row_id,) in best}, "which of the two is A is drawn"


def test_generated_rows_are_asked_about_in_turns_of_their_methods(kinds: dict[Asked, Queue]) -> None:
    queue = kinds["generated"]
    assert {item.source: item.about for item in queue.items} == {
        "generated:evol_instruct": "augmented evol_instruct",
        "generated:preferences": "augmented preferences",
        "generated:personas": "review mojibake",
    }
    assert all(item.generated and item.state == "augmented" for item in queue.items)
    pair = next(item for item in queue.items if item.kind == "preference")
    assert pair.choices == ["keep", "prefer_b", "drop", "skip"] and pair.rejected == [{"role": "assistant", "content": "No."}]
    assert pair.decided("prefer_b", "ann").state == "augmented" and pair.decided("prefer_b", "ann").other is None


def test_the_audit_knows_every_stratum_and_asks_whether_it_was_right(kinds: dict[Asked, Queue]) -> None:
    queue = kinds["audit"]
    assert all(item.audit and item.asked == "audit" for item in queue.items)
    strata: dict[str, set[str]] = defaultdict(set)
    for name, item in about(queue).items():
        strata[item.about].add("generated" if item.generated else name)
    assert strata.pop("kept") > {"equal", "pair", "labelled", "unanswered", "formula", CONFLICT, THREE, "generated"}
    marked = strata.pop("review mojibake"), strata.pop("review knowledge_cutoff")
    assert marked[0] | marked[1] == {"mojibake and a promise", "mojibake", "spoilt pair", "generated"}
    assert strata == {
        "deduped exact_duplicate": {"exact duplicate"},
        "deduped near_duplicate": {"far duplicate", "close duplicate"},
        "decontaminated benchmark_item": {"leak"},
        "scored refusal": {"refusal"},
        "scored reward_below": {PLAIN[JUST_BELOW], PLAIN[FAR_BELOW]},
        "review possible_test_item": {"in other words"},
        "augmented near_duplicate": {"generated"},
    }


def test_an_item_shows_what_its_question_is_about(kinds: dict[Asked, Queue]) -> None:
    found = about(kinds["audit"])
    leak, refusal = found["leak"], found["refusal"]
    assert leak.question == "Does this row hold the test item?" and leak.other is not None
    shared = [leak.messages[0]["content"][mark.start : mark.stop] for mark in leak.marks]
    assert shared == [ITEM[:-1]] == [leak.other.text[mark.start : mark.stop] for mark in leak.other.marks]
    assert refusal.messages[1]["content"][refusal.marks[0].start : refusal.marks[0].stop] == "I'm sorry, but I can't help with"
    assert "reward" not in found[PLAIN[5]].signals, "nobody is led by a score that is being measured"
    assert found["labelled"].question == "Is this answer rightly labelled as a bad one?"
    assert found["unanswered"].kind == "prompt" and "edit" not in found["unanswered"].choices
    assert found["pair"].choices == ["keep", "prefer_b", "drop", "review", "skip"]
    assert found["pair"].rejected is not None and found["pair"].source == "b"


def test_an_answer_to_every_choice_of_every_item_is_a_decision(kinds: dict[Asked, Queue]) -> None:
    for kind, queue in kinds.items():
        assert {item.asked for item in queue.items} == ({kind} if kind != "disputed" else set())
        for item in queue.items:
            for choice in item.choices:
                item.decided(choice, "ann", answer="Another answer." if choice == "edit" else None)


# ------------------------------------------------------------------------------------------------------- what is drawn


def test_every_row_can_be_drawn_and_another_seed_draws_others(looked: Folder) -> None:
    def drawn(budget: int, seed: int = 0) -> frozenset[UUID]:
        return frozenset(i.row_id for i in ask(looked, "audit", budget=budget, seed=seed).items if i.about == "kept")

    assert len({drawn(12, seed) for seed in range(3)}) == 3
    with house(looked).reading() as con:
        rows, firsts = Standing.of(con), set()
        for seed in range(400):
            order = dataclasses.replace(rows, seed=seed).drawn("'kept'", "row_id::VARCHAR")
            firsts |= set(con.execute(f"SELECT arg_min(row_id, {order}) FROM asked_kept").fetchall())
    assert {row_id for (row_id,) in firsts} == drawn(1000)


def test_the_same_rows_and_seed_give_the_same_queue_however_the_rows_lie(folder: Folder) -> None:
    first = ask(folder, budget=20)
    with house(folder).writing() as con:
        con.execute("CREATE TABLE turned AS FROM store.combined_1 ORDER BY content_hash DESC; DELETE FROM store.combined_1")
        con.execute("INSERT INTO store.combined_1 FROM turned; DROP TABLE turned")
    again = ask(folder, budget=20)
    assert nameless(first) == nameless(again)
    assert [item.row_id for item in first.items] != [item.row_id for item in ask(folder, budget=20, seed=1).items]


def nameless(queue: Queue) -> list[Item]:
    """Its items, but for their queue's name, which has the time in it."""
    return [item.model_copy(update={"queue": ""}) for item in queue.items]


# ------------------------------------------------------------------------------------------------------------ the budget


def of(*kinds: Asked, rows: int = 100, first: int = 0) -> dict[Asked, list[Candidate]]:
    """So many candidates of each kind, each a row of its own."""
    ids = iter(range(first, first + rows * len(kinds)))
    return {
        kind: [Candidate(kind, UUID(int=next(ids)), UUID(int=0), "scored", "kept", "kept") for _ in range(rows)]
        for kind in kinds
    }


@pytest.mark.parametrize("budget", [0, 1, 2, 7, 40, 399, 400, 1000])
def test_a_budget_is_spent_and_never_exceeded(budget: int) -> None:
    chosen = choose(of("marked", "signals", "threshold", "audit"), budget)
    assert len(chosen) == len({one.row_id for one in chosen}) == min(budget, 400)
    counts = Counter(one.asked for one in chosen)
    others = [counts[kind] for kind in ("marked", "signals", "threshold")]
    assert counts["audit"] >= min(100, budget / 4)
    assert max(others) - min(others) <= 1


def test_the_first_minutes_see_every_kind() -> None:
    chosen = choose(of(*ASKED), 64)
    assert {one.asked for one in chosen[:16]} == set(ASKED)


def test_of_each_kind_the_best_are_asked_about() -> None:
    found = of("marked", "signals", "audit")
    chosen = choose(found, 40)
    for kind, some in found.items():
        mine = [one for one in chosen if one.asked == kind]
        assert mine == [dataclasses.replace(one, audit=kind == "audit") for one in some[: len(mine)]]


def test_where_the_other_kinds_are_few_the_sample_is_larger_and_what_it_draws_of_theirs_counts_for_both() -> None:
    found = of("marked", rows=10) | of("audit", first=1000)
    shared = found["marked"][7]
    found["audit"].insert(30, dataclasses.replace(shared, asked="audit"))
    chosen = choose(found, 80)
    assert len(chosen) == 80
    assert [(one.asked, one.audit) for one in chosen if one.row_id == shared.row_id] == [("marked", True)]
    assert sum(one.audit for one in chosen) == 71


def test_the_sample_is_what_it_would_be_without_the_other_kinds() -> None:
    found = of("marked", rows=50)
    found["audit"] = [dataclasses.replace(one, asked="audit") for one in found["marked"]]  # those that the others want first
    sample = {one.row_id for one in choose(found, 20) if one.audit}
    assert sample == {one.row_id for one in found["audit"][:5]}


def test_what_there_is_no_budget_for_is_counted(looked: Folder) -> None:
    queue = ask(looked, "marked", "conflict", "threshold", budget=4)
    assert Counter(item.asked for item in queue.items) == {"marked": 2, "threshold": 1, "conflict": 1}
    assert queue.left_out == {"marked": 4 - 2, "threshold": 4 - 1, "conflict": 2 - 1}
    both = ask(looked, "marked", "paraphrase")
    assert len(both.items) == len({item.row_id for item in both.items}) == 4 + 2 - 1, "one row is of both kinds"
    assert both.left_out == {}


# -------------------------------------------------------------------------------------------------- what is known already


def answer(folder: Folder, queue: Queue, name: str, **said: Any) -> Item:
    """Let reviewers answer the item about a row: ann="keep"."""
    item = about(queue)[name]
    reviews.append(folder, [item.decided(choice, who) for who, choice in said.items()])
    return item


def test_what_people_decided_is_not_asked_again_unless_they_differ(folder: Folder) -> None:
    queue = ask(folder)
    answer(folder, queue, "refusal", ann="keep")
    answer(folder, queue, "exact duplicate", ann="drop")
    answer(folder, queue, "mojibake and a promise", ann="skip")
    answer(folder, queue, "equal", ann="review")
    differ = answer(folder, queue, "leak", ann="keep", bob="drop")
    again = ask(folder)
    there = about(again)
    assert not {"refusal", "exact duplicate"} & set(there)
    assert {"mojibake and a promise", "equal"} < set(there)
    assert [item for item in again.items if item.asked == "disputed"] == [there["leak"]] == [again.items[0]]
    assert there["leak"].model_copy(update={"queue": queue.name, "number": differ.number, "asked": differ.asked}) == differ
    answer(folder, again, "leak", cem="drop")
    assert "leak" not in about(ask(folder, budget=100))


def test_a_row_with_the_text_that_people_gave_it_is_asked_about_where_something_speaks_against_it(folder: Folder) -> None:
    queue = ask(folder)
    disagrees, near = about(queue)[PLAIN[DISAGREES]], about(queue)[PLAIN[1]]
    assert (disagrees.asked, near.asked) == ("signals", "threshold")
    edits = [disagrees.decided("edit", "ann", answer="Nobody does."), near.decided("edit", "ann", answer="The cafÃ© is shut.")]
    reviews.append(folder, edits)
    build(folder, *UP_TO_SCORED)
    with house(folder).writing() as con:  # the scores that were made by hand
        con.execute("""
            UPDATE store.scored_2 AS s SET reward_score = o.reward_score, judge_scores = o.judge_scores
            FROM store.scored_1 AS o WHERE o.row_id = s.row_id
        """)
        con.execute("DELETE FROM store.versions WHERE asset IN ('generations', 'augmented')")
    assert ask(folder, "signals").items == ()
    again, drawn = about(ask(folder, "signals", "threshold", "marked")), about(ask(folder, "audit"))
    assert PLAIN[DISAGREES] not in again
    assert (again[PLAIN[1]].about, again[PLAIN[1]].messages[-1]["content"]) == ("review mojibake", "The cafÃ© is shut.")
    assert drawn[PLAIN[DISAGREES]].messages[-1]["content"] == "Nobody does."
    reviews.append(folder, [disagrees.decided("undo", "ann")])
    assert PLAIN[DISAGREES] in about(ask(folder, "signals"))


def test_two_rows_that_were_compared_are_not_compared_again(folder: Folder) -> None:
    answer(folder, ask(folder, "conflict"), CONFLICT, ann="prefer_a")
    for seed in range(3):
        assert set(about(ask(folder, "conflict", seed=seed))) == {THREE}, "whichever of them is A"


def test_a_dispute_about_two_rows_is_about_these_two(folder: Folder) -> None:
    item = answer(folder, ask(folder, "conflict"), CONFLICT, ann="prefer_a", bob="prefer_b")
    again = about(ask(folder, "disputed", "conflict"))
    assert (again[CONFLICT].asked, again[CONFLICT].other) == ("disputed", item.other)


def test_a_row_of_another_content_is_left_out(folder: Folder) -> None:
    with house(folder).writing() as con:
        con.execute("CREATE TABLE store.combined_9 AS FROM store.combined_1")  # which deduped was built on
        con.execute("UPDATE store.combined_1 SET content_hash = uuid() WHERE row_id = ?", [id_of(con, NAMES["refusal"])])
        con.execute("UPDATE store.versions SET built_on = '{\"combined\": 9}' WHERE asset = 'deduped'")
    there = about(ask(folder, "audit"))
    assert "refusal" not in there and "exact duplicate" in there


def test_a_dispute_about_a_verdict_that_is_no_more_is_not_asked_about(folder: Folder) -> None:
    answer(folder, ask(folder, "audit"), "refusal", ann="keep", bob="drop")
    with house(folder).writing() as con:
        con.execute("DELETE FROM store.dropped WHERE reason = 'refusal'")
    assert ask(folder, "disputed").items == ()


def test_a_dispute_of_a_queue_that_was_deleted_is_asked_about_anew(folder: Folder) -> None:
    answer(folder, ask(folder, "audit"), "refusal", ann="keep", bob="drop")
    shutil.rmtree(folder.queues)
    assert about(ask(folder))["refusal"].asked == "audit"


# ----------------------------------------------------------------------------------------------------------- reviewers


def item(**more: Any) -> Item:
    values: dict[str, Any] = {
        "queue": "20260102T030405Z-1f0c22ab", "number": 1, "row_id": UUID(int=1), "content_hash": UUID(int=2),
        "asked": "marked", "about": "review mojibake", "state": "scored", "verdict": "review", "question": "Is this row good?",
        "choices": ["keep", "drop", "edit", "skip"], "messages": [], **more,
    }  # fmt: skip
    return Item(**values)


@pytest.mark.parametrize(("overlap", "shared"), [(0.0, 0), (0.2, 4), (0.5, 10), (1.0, 20)])
def test_a_share_of_the_items_goes_to_everybody_and_the_rest_is_dealt_out(overlap: float, shared: int) -> None:
    names = ["ann", "bob", "cem"]
    items = [item(number=n, row_id=UUID(int=n)) for n in range(1, 21)]
    dealt = deal(items, names, overlap, 0)
    assert len([one for one in dealt if one.reviewers == names]) == shared
    alone = Counter(name for one in dealt if one.reviewers != names for name in one.reviewers)
    assert sum(alone.values()) == 20 - shared
    assert max(alone[name] for name in names) - min(alone[name] for name in names) <= 1
    assert [one.model_copy(update={"reviewers": []}) for one in dealt] == items
    assert all(one.reviewers == ["ann"] for one in deal(items, ["ann"], overlap, 0))
    assert deal(items, [], overlap, 0) == items


def test_reviewers_are_named_as_their_answers_will_be() -> None:
    assert named(" Ann  B. , bob") == ["Ann B.", "bob"] and named(" ") == []


def test_the_page_asks_a_reviewer_what_was_dealt_to_them_however_they_write_their_name(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "data")
    dealt = [["Zoë B.", "bob"], ["bob"], ["Zoë B."], []]
    items = [item(number=n, row_id=UUID(int=n), reviewers=names) for n, names in enumerate(dealt, 1)]
    save(folder, Queue(name=items[0].queue, time="2026-01-02T03:04:05Z", budget=4, seed=0, items=tuple(items)))
    for name in ("Zoë B.", " zoe\u0308  B.", "ZOË B."):
        found = state(folder, items[0].queue, name, Rules(3000))
        assert found["reviewer"] == "Zoë B."
        assert [(one["number"], one["decision"]) for one in found["items"]] == [(1, None), (3, None), (4, None)]
    reviews.append(folder, [items[2].decided("keep", "zoë b.")])
    found = state(folder, items[0].queue, "ZOË B.", Rules(3000))
    assert [one["decision"] for one in found["items"]] == [None, "keep", None]
    assert (found["reviewer"], found["reviewers"]) == ("zoë b.", ["bob", "zoë b."]), "as it was recorded first"


def test_everybody_gets_something_of_all_kinds() -> None:
    items = [item(number=n, row_id=UUID(int=n), asked="audit" if n % 4 == 0 else "marked") for n in range(1, 401)]
    dealt = deal(items, ["ann", "bob", "cem", "dan"], 0.25, 0)  # where every fourth item is of the audit
    for share in ([one for one in dealt if len(one.reviewers) > 1], [one for one in dealt if one.reviewers == ["dan"]]):
        assert {one.asked for one in share} == {"audit", "marked"}


# ---------------------------------------------------------------------------------------------------------- the files


def test_what_is_written_is_read_back_whole(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "data")
    long = words(1, 60_000)
    hostile = "</script><script>alert(1)</script> \x01\u2028\u202e\U0001f600"
    put(folder, "e.jsonl", [{"instruction": long, "output": hostile}])
    say(folder)
    build(folder, *UP_TO_SCORED[:3])
    queue = ask(folder)
    assert load(folder, queue.name) == queue
    assert about(queue)[long].messages[1]["content"] == hostile


def test_two_queues_of_one_second_are_two(folder: Folder) -> None:
    first, second = ask(folder, "marked"), ask(folder, "marked")
    assert names(folder) == [first.name, second.name]
    assert nameless(first) == nameless(second)


def said(prompt: str, response: str, **more: Any) -> Item:
    return item(messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": response}], **more)


SHEET = [
    said("=1+1", "-1"),
    said(
        "@SUM(A1)",
        '+"1"',
        number=2,
        rejected=[{"role": "assistant", "content": "\tB"}],
        signals={"ifd": 0.7},
        reviewers=["ann", "bob"],
    ),
    said("\rA", "one, two\nthree", number=3, other={"what": "test item", "name": "exam 1", "text": "'=1"}, reviewers=["=ann"]),
    item(number=4, messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "'Hi'"}]),
]
LINE = (
    "20260102T030405Z-1f0c22ab,{},00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002,marked,"
    "review mojibake,Is this row good?,keep drop edit skip,{},{},,,,\r\n"
)
GOLDEN = "".join(
    [
        "queue,number,row_id,content_hash,asked,about,question,choices,prompt,response,other,signals,reviewers,",
        "decision,answer,why,reviewer\r\n",
        LINE.format(1, "'=1+1,'-1,,{}", ""),
        LINE.format(2, '\'@SUM(A1),"\'+""1""",\'\tB,"{""ifd"":0.7}"', '"ann, bob"'),
        LINE.format(3, '"\'\rA","one, two\nthree",\'\'=1,{}', "'=ann"),
        LINE.format(4, "\"system: Be kind.\n\nuser: 'Hi'\",,,{}", ""),
    ]
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def test_no_cell_of_the_table_is_a_formula() -> None:
    assert table(SHEET) == GOLDEN
    for cells in csv.reader(io.StringIO(table(SHEET), newline="")):
        assert not any(cell.startswith(FORMULAS) for cell in cells)


@pytest.mark.parametrize("text", ["", "a", "'", "=1", "'=1", "''-", "-", "\t", "\rA", "'a", "@x", "+1", "it's", "''@"])
def test_what_is_escaped_comes_back_as_it_was(text: str) -> None:
    assert unescaped(escaped(text)) == text
    assert not escaped(text).startswith(FORMULAS)


def test_the_table_has_every_item_and_room_for_an_answer(looked: Folder) -> None:
    found = export(house(looked), looked, formats=["csv"])
    path = next(path for path in found.files if path.name == "queue.csv")
    lines = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    assert [(line["queue"], int(line["number"]), UUID(line["row_id"]), UUID(line["content_hash"])) for line in lines] == [
        (one.queue, one.number, one.row_id, one.content_hash) for one in found.queue.items
    ]
    assert {line[name] for line in lines for name in ("decision", "answer", "why", "reviewer")} == {""}
    formula = next(line for line in lines if "HYPERLINK" in line["prompt"])
    assert (formula["prompt"], formula["response"]) == (f"'{NAMES['formula']}", "'-1")


@pytest.mark.parametrize("tool", ["label-studio", "argilla"])
def test_the_files_of_other_tools_lie_beside_it(looked: Folder, tool: str) -> None:
    found = export(house(looked), looked, 20, formats=[tool, "jsonl"])
    assert found.folder is not None and len(found.files) > 1
    assert all(path.is_relative_to(found.folder) and path.stat().st_size for path in found.files)


# ------------------------------------------------------------------------------------------------------- nothing to ask


def test_before_any_state_there_is_nothing_to_ask(tmp_path: Path) -> None:
    empty = fresh(tmp_path / "data")
    with pytest.raises(SftError, match="there is no dataset yet"):
        ask(empty)
    put(empty, "a.jsonl", [{"instruction": "Hi", "output": "Hello"}])
    say(empty)
    build(empty, *UP_TO_SCORED[:2])
    with pytest.raises(SftError, match="there is nothing to ask people about"):
        ask(empty)
    build(empty, *UP_TO_SCORED[:3])
    (only,) = ask(empty).items
    assert (only.asked, only.about, only.state, only.decided("drop", "ann").state) == ("audit", "kept", "scored", "scored")


def test_where_everything_was_decided_no_queue_is_written(folder: Folder) -> None:
    first = ask(folder, "paraphrase")
    for name in about(first):
        answer(folder, first, name, ann="keep")
    found = export(house(folder), folder, kinds=["paraphrase"])
    assert (found.folder, found.files, found.queue.items) == (None, (), ())
    assert names(folder) == [first.name]


def test_a_budget_of_none_only_counts(folder: Folder) -> None:
    found = export(house(folder), folder, 0)
    assert found.folder is None and names(folder) == []
    assert found.queue.left_out == {"marked": 4, "paraphrase": 2, "signals": 1, "threshold": 4, "conflict": 2, "generated": 3}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kinds": ["treshold"]}, "did you mean 'threshold'"),
        ({"formats": ["excel"]}, "no queue is written as 'excel'"),
        ({"reviewers": ["ann", "ann"]}, "tell them apart"),
        ({"reviewers": ["Zoë", "ZOE\u0308"]}, "tell them apart"),
        ({"reviewers": ["ann", " "]}, "tell them apart"),
        ({"overlap": 1.5}, "from 0 to 1"),
        ({"budget": -1}, "how many rows"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    folder = Folder.at(tmp_path)
    with pytest.raises(SftError, match=says):
        export(house(folder), folder, **options)


def test_the_command_says_what_was_picked_and_how_to_go_on(folder: Folder, sft: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = sft(
        "review", "export", "--data", str(folder.root), "--budget", "12", "--as", "csv", "--reviewers", "ann, bob"
    )
    (name,) = names(folder)
    assert code == 0
    for part in (name, "queue.csv", "sft review import FILE", "/review", "ann ", "bob ", "paraphrase", "left out"):
        assert part in out
    code, _, err = sft("review", "export", "--data", str(folder.root), "--ask", "nothing")
    assert code == 1 and "nothing is asked about 'nothing'" in err
