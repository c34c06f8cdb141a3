"""Message trees: which paths become rows, and what becomes of every message of the flat form."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from conftest import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import formats
from sft_assets.formats import Hints, oasst_messages
from sft_assets.record import BadRecord, Conversation

ALL = Hints(paths="all")
BEST = Hints()
Tree = dict[str, Any]


def message(name: str, *replies: Tree, rank: int | None = None, **more: Any) -> Tree:
    """A message whose role its name says: p is a prompter's, a an assistant's."""
    role = "prompter" if name[0] == "p" else "assistant"
    ranked = {} if rank is None else {"rank": rank}
    return {"message_id": name, "text": f"text of {name}", "role": role, "lang": "en", "replies": list(replies)} | ranked | more


def tree(root: Tree) -> Tree:
    return {"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}


def flat(root: Tree, parent: str | None = None) -> list[Tree]:
    """The records of the flat form, each message before its replies."""
    own = {k: v for k, v in root.items() if k != "replies"} | {"parent_id": parent, "message_tree_id": "t"}
    return [own, *(record for reply in root["replies"] for record in flat(reply, root["message_id"]))]


def names(row: Conversation) -> list[str]:
    return [m.content.removeprefix("text of ") for m in row.messages]


def read(root: Tree, hints: Hints = BEST) -> list[list[str]]:
    record = tree(root)
    assert formats.detect(record) == "oasst_tree"
    rows = formats.read("oasst_tree", record, hints)
    assert all(row.path for row in rows)
    return [names(row) for row in rows]


TREE = message(
    "p",
    message("a1", message("p1", message("a2", rank=1), message("a3", rank=0)), message("p2"), rank=1),
    message("a4", message("p3"), rank=0),
    message("a5", message("p4", message("a6"), message("a7", rank=5))),
)


def test_the_best_path_follows_the_lowest_ranks() -> None:
    assert read(TREE) == [["p", "a4"]]
    assert read(TREE["replies"][0] | {"message_id": "p0", "role": "prompter", "replies": TREE["replies"][:1]}) == [
        ["a1", "a1", "p1", "a3"]
    ]


def test_all_paths_are_those_to_answers_below_which_there_is_no_other() -> None:
    assert read(TREE, ALL) == [
        ["p", "a1", "p1", "a2"],
        ["p", "a1", "p1", "a3"],
        ["p", "a4"],
        ["p", "a5", "p4", "a6"],
        ["p", "a5", "p4", "a7"],
    ]


def test_messages_without_a_rank_come_last_and_ties_keep_the_order_of_the_file() -> None:
    assert read(message("p", message("a1"), message("a2", rank=3))) == [["p", "a2"]]
    assert read(message("p", message("a1", rank=0), message("a2", rank=0))) == [["p", "a1"]]
    assert read(message("p", message("a1"), message("a2"))) == [["p", "a1"]]


def test_a_last_question_without_an_answer_is_left_out() -> None:
    assert read(message("p", message("a", message("p1", message("p2"))))) == [["p", "a"]]


def test_deleted_messages_are_passed_over_with_all_below_them_and_synthetic_ones_are_kept() -> None:
    root = message(
        "p", message("a1", message("p1", message("a2")), rank=0, deleted=True), message("a3", rank=1, synthetic=True)
    )
    assert read(root) == read(root, ALL) == [["p", "a3"]]
    with pytest.raises(BadRecord) as bad:
        read(message("p", message("a"), deleted=True))
    assert bad.value.reason == "deleted"


def test_a_tree_without_an_answer_is_a_prompt() -> None:
    (row,) = formats.read("oasst_tree", tree(message("p", message("a", deleted=True))))
    assert (row.kind, names(row), row.path) == ("prompt", ["p"], "p")


def test_a_row_says_what_its_messages_say_of_themselves() -> None:
    labels = {"quality": {"value": 0.75, "count": 3}, "spam": {"value": 0, "count": 4}}
    hub = {"name": ["quality", "spam"], "value": [0.5, 0.0], "count": [3, 4]}
    root = message("p", message("a", rank=0, synthetic=True, model_name="m", emojis={"+1": 2}, labels=hub), labels=labels)
    (row,) = formats.read("oasst_tree", tree(root))
    assert (row.kind, row.path, row.language) == ("sft", "a", "en")
    assert row.meta == {
        "message_tree_id": "p",
        "tree_state": "ready_for_export",
        "messages_extra": {
            "1": {"labels": {"quality": 0.75, "spam": 0}},
            "2": {"rank": 0, "labels": {"quality": 0.5, "spam": 0.0}, "synthetic": True, "model_name": "m"},
        },
    }


@pytest.mark.parametrize(("text", "replies"), [("text", "replies"), ("prompt", "children"), ("text", "children")])
def test_other_trees_take_turns_where_they_have_no_roles(text: str, replies: str) -> None:
    def node(said: str, *below: Tree) -> Tree:
        return {text: said, replies: list(below)}

    record = node("Hi", node("Ho", node("More", node("Yes"))), node("Hu")) | {"source": "forum"}
    assert formats.detect(record) == "oasst_tree"
    rows = formats.read("oasst_tree", record, ALL)
    assert [[(m.role, m.content) for m in row.messages] for row in rows] == [
        [("user", "Hi"), ("assistant", "Ho"), ("user", "More"), ("assistant", "Yes")],
        [("user", "Hi"), ("assistant", "Hu")],
    ]
    assert [row.path for row in rows] == ["0.0.0.0", "0.1"]
    assert [row.meta for row in rows] == [{"source": "forum"}] * 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"message_tree_id": "t", "prompt": {"text": 5}}, "wrong_type"),
        ({"message_tree_id": "t", "prompt": {"text": "Hi", "role": "narrator"}}, "unknown_role"),
        ({"message_tree_id": "t", "prompt": {"text": "Hi", "replies": 5}}, "wrong_type"),
        ({"message_tree_id": "t", "prompt": {"text": "Hi", "replies": ["Ho"]}}, "wrong_type"),
        ({}, "wrong_type"),
    ],
)
def test_a_tree_that_cannot_be_read_is_refused_with_a_reason(record: Tree, reason: str) -> None:
    with pytest.raises(BadRecord) as bad:
        formats.read("oasst_tree", record)
    assert bad.value.reason == reason


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": {"text": "x"}, "replies": []},
        {"message_tree_id": "t", "prompt": "x"},
        {"text": "A post.", "replies": []},
        {"text": "A post.", "replies": 12},
        {"name": "root", "children": [{"name": "leaf"}]},
    ],
)
def test_a_record_without_replies_is_no_tree(record: Tree) -> None:
    assert formats.detect(record) != "oasst_tree"


# ------------------------------------------------------------------------------------------------------- the flat form


def outcomes(records: list[Tree], hints: Hints = BEST) -> dict[str, Any]:
    """What becomes of each message: the names of its row's messages, a reason, or the reason of its refusal."""
    made = oasst_messages.assemble(records, hints)
    assert len(made) == len(records)
    said: dict[str, Any] = {}
    for record, outcome in zip(records, made, strict=True):
        if isinstance(outcome, BadRecord):
            said[record["message_id"]] = f"bad: {outcome.reason}"
        elif isinstance(outcome, list):
            (row,) = outcome
            said[record["message_id"]] = names(row)
        else:
            said[record["message_id"]] = outcome
    return said


def test_a_row_stands_for_its_last_message_and_the_others_say_where_they_are() -> None:
    root = message(
        "p", message("a1", message("p1", message("a2", rank=0), message("a3", rank=1)), rank=0), message("a4", rank=1)
    )
    assert all(formats.detect(record) == "oasst_messages" for record in flat(root))
    assert outcomes(flat(root)) == {
        "p": "in_conversation",
        "a1": "in_conversation",
        "p1": "in_conversation",
        "a2": ["p", "a1", "p1", "a2"],
        "a3": "other_path",
        "a4": "other_path",
    }
    assert outcomes(flat(root), ALL) == {
        "p": "in_conversation",
        "a1": "in_conversation",
        "p1": "in_conversation",
        "a2": ["p", "a1", "p1", "a2"],
        "a3": ["p", "a1", "p1", "a3"],
        "a4": ["p", "a4"],
    }


def test_the_rows_do_not_depend_on_where_a_message_stands_among_those_of_its_tree() -> None:
    records = flat(TREE)
    assert outcomes(records[::-1]) == outcomes(records)


def test_the_flat_form_knows_the_tree_the_language_and_the_path() -> None:
    *_, last = oasst_messages.assemble(flat(message("p", message("a", rank=0))))
    assert isinstance(last, list)
    (row,) = last
    assert (row.path, row.language, row.kind) == ("a", "en", "sft")
    assert row.meta == {"message_tree_id": "t", "messages_extra": {"2": {"rank": 0}}}


def test_an_unanswered_question_is_left_out_and_a_tree_of_questions_is_a_prompt() -> None:
    assert outcomes(flat(message("p", message("a", message("p1"))))) == {
        "p": "in_conversation",
        "a": ["p", "a"],
        "p1": "other_path",
    }
    assert outcomes(flat(message("p"))) == {"p": ["p"]}


def test_a_message_whose_parent_is_missing_is_refused_with_all_below_it() -> None:
    records = [
        r for r in flat(message("p", message("a1", message("p1", message("a2"))), message("a3"))) if r["message_id"] != "a1"
    ]
    assert outcomes(records) == {"p": "in_conversation", "p1": "bad: orphan", "a2": "bad: orphan", "a3": ["p", "a3"]}


def test_messages_that_lead_back_to_themselves_are_refused() -> None:
    records = [
        *flat(message("p", message("a"))),
        {"message_id": "p8", "parent_id": "a9", "text": "x", "role": "prompter"},
        {"message_id": "a9", "parent_id": "p8", "text": "x", "role": "assistant"},
        {"message_id": "a7", "parent_id": "a9", "text": "x", "role": "assistant"},
        {"message_id": "p6", "parent_id": "p6", "text": "x", "role": "prompter"},
    ]
    assert outcomes(records) == {
        "p": "in_conversation",
        "a": ["p", "a"],
        **dict.fromkeys(("p8", "a9", "a7", "p6"), "bad: cycle"),
    }


def test_a_message_id_that_stands_twice_costs_only_the_second() -> None:
    first, second = flat(message("p", message("a")))
    made = oasst_messages.assemble([first, second, second | {"text": "again"}])
    assert made[0] == "in_conversation"
    assert isinstance(made[1], list)
    assert isinstance(made[2], BadRecord) and made[2].reason == "repeated_id"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": None}, "wrong_type"),
        ({"role": None}, "unknown_role"),
        ({"role": "x"}, "unknown_role"),
        ({"message_id": 5}, "wrong_type"),
    ],
)
def test_a_broken_message_costs_itself_and_what_is_below_it(change: Tree, reason: str) -> None:
    records = flat(message("p", message("a1", message("p1", message("a2"))), message("a3", rank=0)))
    records[1] |= change
    made = oasst_messages.assemble(records)
    assert isinstance(made[1], BadRecord) and made[1].reason == reason
    assert [m.reason for m in made[2:4] if isinstance(m, BadRecord)] == ["orphan", "orphan"]
    assert isinstance(made[4], list)


def test_a_message_alone_is_no_conversation() -> None:
    with pytest.raises(BadRecord) as bad:
        formats.read("oasst_messages", flat(message("p"))[0])
    assert bad.value.reason == "no_turns"


def test_a_very_long_conversation_is_read() -> None:
    records = [
        {"message_id": str(n), "parent_id": str(n - 1) if n else None, "text": "x", "role": ("prompter", "assistant")[n % 2]}
        for n in range(20_000)
    ]
    *others, last = oasst_messages.assemble(records)
    assert isinstance(last, list) and len(last[0].messages) == 20_000
    assert set(map(str, others)) == {"in_conversation"}


# ---------------------------------------------------------------------------------------------------------------- laws


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    count = iter(range(100))

    def node(role: str, depth: int) -> Tree:
        other = {"p": "a", "a": "p"}[role]
        below = [node(other, depth - 1) for _ in range(draw(st.integers(0, 3)) if depth else 0)]
        rank = draw(st.none() | st.integers(0, 2))
        return message(f"{role}{next(count)}", *below, rank=rank, deleted=draw(st.integers(0, 9)) == 0)

    return node("p", 4)


@settings(max_examples=200)
@given(trees(), st.sampled_from([BEST, ALL]))
def test_tree_and_flat_form_give_the_same_rows(root: Tree, hints: Hints) -> None:
    if root["deleted"]:
        assert set(map(str, oasst_messages.assemble(flat(root), hints))) == {"other_path"}
        return
    from_flat = [row for outcome in oasst_messages.assemble(flat(root), hints) if isinstance(outcome, list) for row in outcome]
    assert [names(row) for row in from_flat] == read(root, hints)
    rows = [names(row) for row in from_flat]
    assert all(not any(a != b and b[: len(a)] == a for b in rows) for a in rows), "a row is the beginning of another"


anything = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", "c", "user", "assistant", "prompter", ""])
fields = ["message_id", "parent_id", "text", "role", "rank", "lang", "deleted", "message_tree_id", "labels"]


@settings(max_examples=400)
@given(st.lists(st.dictionaries(st.sampled_from(fields), anything), max_size=8), st.sampled_from([BEST, ALL]))
def test_any_records_are_assembled_or_refused_one_outcome_each(records: list[Tree], hints: Hints) -> None:
    made = oasst_messages.assemble(records, hints)
    assert len(made) == len(records)
    for outcome in made:
        assert isinstance(outcome, (list, BadRecord)) or outcome in ("in_conversation", "other_path")


nested = st.recursive(
    anything,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*fields, "replies", "children", "prompt"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from([*fields, "replies", "children", "prompt"]), nested), st.sampled_from([BEST, ALL]))
def test_any_record_is_read_as_a_tree_or_refused(record: Tree, hints: Hints) -> None:
    formats.detect(record)
    try:
        for row in formats.read("oasst_tree", record, hints):
            assert row.messages
    except BadRecord as bad:
        assert bad.detail


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus")
def test_openassistants_trees_give_a_conversation_each() -> None:
    records = [orjson.loads(line) for line in (CORPUS / "instruct" / "oasst_en_100_tree.jsonl").read_bytes().splitlines()]
    assert {formats.detect(record) for record in records} == {"oasst_tree"}
    for record in records:
        (row,) = formats.read("oasst_tree", record)
        assert [m.role for m in row.messages] == ["user", "assistant"] * (len(row.messages) // 2)
        assert (row.kind, row.language, row.meta["message_tree_id"]) == ("sft", "en", record["message_tree_id"])
    leaves = [row for record in records for row in formats.read("oasst_tree", record, ALL)]
    assert len({row.path for row in leaves}) == len(leaves) > 400
