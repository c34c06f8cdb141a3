"""combined: records become checked, repaired, masked conversations in the mixture that the recipe asks for."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import build, fresh, put, rows, say
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets import reviews
from sft_assets.combined.asset import combined
from sft_assets.combined.repairs import repair
from sft_assets.combined.validation import validate
from sft_assets.engine.local import Processes
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.record import BadRecord, Conversation, Message, content_hash

MAIL, PHONE, CARD, KEY = "jane.doe@mailbox-post.net", "+44 20 7946 1234", "4539 1488 0343 6467", "AKIAIOSFODNN7EXAMPLE"
SECRETS = (MAIL, PHONE, CARD, KEY, "4539148803436467")


def sft(n: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"question {n}", "output": f"answer {n}", **more}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def messages(*turns: tuple[str, str]) -> list[Message]:
    return [Message(role, text) for role, text in turns]


U, A, S, T = "user", "assistant", "system", "tool"
TREE = [
    {"message_id": name, "parent_id": parent, "text": f"This is {name}.", "role": role, "message_tree_id": "t"}
    for name, parent, role in (("a", None, "prompter"), ("b", "a", "assistant"), ("c", "a", "assistant"))
]


# ------------------------------------------------------------------------------------------------- repairs


@pytest.mark.parametrize(
    ("before", "after", "log"),
    [
        ([(U, "a"), (U, "b"), (A, "c")], [(U, "a\n\nb"), (A, "c")], [("merged_turns", "user, turn 2", "turn 1")]),
        (
            [(U, "a"), (A, "b"), (A, "c"), (A, "d")],
            [(U, "a"), (A, "b\n\nc\n\nd")],
            [("merged_turns", "assistant, turn 3", "turn 2"), ("merged_turns", "assistant, turn 4", "turn 2")],
        ),
        ([(U, "a"), (U, ""), (A, "c")], [(U, "a"), (A, "c")], [("merged_turns", "user, turn 2", "turn 1")]),
        ([(S, " \n"), (U, "a"), (A, "b")], [(U, "a"), (A, "b")], [("removed_empty_system", "turn 1", "")]),
        (
            [(S, "s"), (S, "t"), (U, "a"), (A, "b")],
            [(S, "s\n\nt"), (U, "a"), (A, "b")],
            [("merged_turns", "system, turn 2", "turn 1")],
        ),
        (
            [(U, "\ufeffa"), (A, "\ufeff\ufeffb")],
            [(U, "a"), (A, "b")],
            [("stripped_bom", "turn 1", ""), ("stripped_bom", "turn 2", "")],
        ),
        (
            [(S, "\ufeff"), (U, "a"), (A, "b")],
            [(U, "a"), (A, "b")],
            [("stripped_bom", "turn 1", ""), ("removed_empty_system", "turn 1", "")],
        ),
        ([(U, "a\ufeff"), (A, "b")], [(U, "a\ufeff"), (A, "b")], []),
        ([(U, "a"), (A, "b"), (T, "1"), (T, "2"), (A, "c")], [(U, "a"), (A, "b"), (T, "1"), (T, "2"), (A, "c")], []),
    ],
)
def test_repairs_are_made_and_logged_by_place(
    before: list[tuple[str, str]], after: list[tuple[str, str]], log: list[tuple[str, str, str]]
) -> None:
    repaired, edits = repair(messages(*before))
    assert repaired == messages(*after)
    assert edits == log


def test_of_merged_turns_calls_reasoning_and_weights_are_kept() -> None:
    calls = '[{"type":"function","function":{"name":"%s","arguments":"{}"}}]'
    first = Message(A, "a", "ann", calls % "x", None, "r", 1.0)
    second = Message(A, "b", "ann", calls % "y", "id", "s", 0.0)
    ((_, merged), edits) = repair([Message(U, "?"), first, second])
    assert (merged.content, merged.name, merged.tool_call_id, merged.reasoning, merged.weight) == (
        "a\n\nb",
        "ann",
        "id",
        "r\n\ns",
        0.0,
    )
    assert [c["function"]["name"] for c in json.loads(merged.tool_calls or "")] == ["x", "y"]
    assert len(edits) == 1


def test_broken_calls_are_merged_as_they_stand() -> None:
    broken = '{"name": "cl'
    for other in (broken, "[" * 400 + "]" * 400):
        ((_, merged), _) = repair([Message(U, "?"), Message(A, "", tool_calls=broken), Message(A, "", tool_calls=other)])
        assert merged.tool_calls == broken + other


some_turns = st.lists(
    st.builds(Message, st.sampled_from([U, A, S, T]), st.text(alphabet=" a\ufeff\n", max_size=3)), min_size=1, max_size=8
)


@settings(max_examples=300)
@given(some_turns)
def test_what_was_repaired_needs_no_repair_and_lost_no_letter(turns: list[Message]) -> None:
    once, edits = repair(turns)
    assert repair(once) == (once, [])
    assert "".join(m.content for m in once).count("a") == "".join(m.content for m in turns).count("a")
    assert bool(edits) == (once != turns)


# ------------------------------------------------------------------------------------------------- validation


CALL = Message(A, "", tool_calls="[{}]")


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (messages((S, "s")), "no_turns"),
        ([], "no_turns"),
        (messages((A, "a"), (U, "b"), (A, "c")), "starts_without_user"),
        (messages((S, "s"), (A, "a")), "starts_without_user"),
        (messages((U, "a"), (S, "s"), (A, "b")), "misplaced_system"),
        (messages((T, "t"), (U, "a"), (A, "b")), "orphan_tool"),
        (messages((U, "a"), (T, "t"), (A, "b")), "orphan_tool"),
        ([Message(U, "a"), CALL, Message(T, "t"), Message(U, "b"), Message(A, "c")], "ends_without_answer"),
        (messages((U, " "), (A, "b")), "empty_prompt"),
        (messages((U, "a"), (A, ""), (U, "b"), (A, "c")), "empty_turn"),
        (messages((U, "a")), "ends_without_answer"),
        (messages((U, "a"), (A, "b"), (U, "c")), "ends_without_answer"),
        ([Message(U, "a"), CALL, Message(T, "t")], "ends_without_answer"),
        (messages((U, "a"), (A, " \n")), "empty_answer"),
    ],
)
def test_what_is_no_conversation_is_refused(turns: list[Message], reason: str) -> None:
    with pytest.raises(BadRecord) as bad:
        validate(Conversation(turns))
    assert bad.value.reason == reason
    assert bad.value.detail


@pytest.mark.parametrize(
    "turns",
    [
        messages((U, "a"), (A, "b")),
        messages((S, "s"), (U, "a"), (A, "b"), (U, "c"), (A, "d")),
        [Message(U, "a"), CALL, Message(T, "t"), Message(T, "u"), Message(A, "b")],
        [Message(U, "a"), CALL],
        [Message(U, "a"), CALL, Message(T, ""), Message(A, "b")],
    ],
)
def test_a_conversation_is_let_through(turns: list[Message]) -> None:
    validate(Conversation(turns))


@pytest.mark.parametrize(
    ("rejected", "reason"),
    [
        (messages((A, "")), "empty_rejected"),
        ([], "ends_without_answer"),
        (messages((U, "x")), "ends_without_answer"),
        (messages((A, "b")), "identical_pair"),
    ],
)
def test_a_rejected_answer_must_be_another_answer(rejected: list[Message], reason: str) -> None:
    with pytest.raises(BadRecord) as bad:
        validate(Conversation(messages((U, "a"), (A, "b")), kind="preference", rejected=rejected))
    assert bad.value.reason == reason


# ------------------------------------------------------------------------------------------------- the state


def test_rows_hold_turns_kinds_labels_and_meta(folder: Folder) -> None:
    put(folder, "a.json", [sft(1, topic="x", id=7)])
    put(folder, "b.json", [{"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}])
    put(folder, "c.json", [chat((U, "Hi"), (A, "Ho")) | {"label": False}])
    build(folder, raw, combined)
    found = rows(
        folder, "SELECT kind, label, origin, messages[-1].content, rejected[1].content, meta FROM combined ORDER BY source"
    )
    assert found == [
        ("sft", None, "source", "answer 1", None, '{"id":7,"topic":"x"}'),
        ("preference", None, "source", "Ho", "Hu", None),
        ("unpaired", False, "source", "Ho", None, None),
    ]


def test_the_laws_balance_over_every_kind_of_fate(folder: Folder) -> None:
    made = [sft(i) for i in range(40)] + [sft(90, output=""), sft(91, output=5), sft(92, license="gpl")]
    put(folder, "q.json", made)
    say(folder, sources=[{"path": "q.json", "license": "mit", "cap": 30}], combined={"allowed_licenses": ["mit"]})
    _, version = build(folder, raw, combined)
    report = version.report
    assert report["in"] == 43
    assert report["kept"] == 30
    assert report["quarantined"] == {"empty_answer": 1, "wrong_type": 1}
    assert report["dropped"] == {"over_cap": 10, "license": 1}
    assert report["in"] + report["created"] == report["kept"] + sum(report["dropped"].values()) + sum(
        report["quarantined"].values()
    )


def test_each_repair_is_an_edit_of_its_row(folder: Folder) -> None:
    put(folder, "q.json", [chat((S, ""), (U, "\ufeffa"), (U, "b"), (A, "c")), chat((U, "a"), (A, "b"))])
    build(folder, raw, combined)
    found = rows(folder, "SELECT what FROM edits JOIN combined USING (row_id) WHERE len(messages) = 2 ORDER BY 1")
    assert [w for (w,) in found] == ["merged_turns", "removed_empty_system", "stripped_bom"]
    assert rows(folder, "SELECT messages[1].content FROM combined ORDER BY 1") == [("a",), ("a\n\nb",)]


def test_nothing_unmasked_is_left_in_contents_meta_ledger_or_quarantine(folder: Folder) -> None:
    put(
        folder,
        "q.json",
        [
            {
                "messages": [
                    {"role": "system", "content": f"s {MAIL}"},
                    {"role": "user", "content": f"u {PHONE}", "name": MAIL, "ts": MAIL},
                    {
                        "role": "assistant",
                        "content": f"a {CARD}",
                        "reasoning": f"r {KEY}",
                        "tool_calls": [{"id": MAIL, "function": {"name": "f", "arguments": json.dumps({"to": f"x\n{MAIL}"})}}],
                    },
                    {"role": "tool", "tool_call_id": MAIL, "content": f"t {MAIL}"},
                    {"role": "assistant", "content": "done"},
                ],
                "tools": [{"name": "f", "description": f"mail\n{MAIL}"}],
                "license": f"ask {MAIL}",
                "language": MAIL,
                "author": {"mail": f"write:\n{MAIL}", "card": 4539148803436467, MAIL: [PHONE]},
            },
            {"prompt": f"p {MAIL}", "chosen": f"c {MAIL}", "rejected": f"r {PHONE}"},
            sft(1, output="", note=MAIL),
            chat((U, "x"), (MAIL, "unknown role")),
            {"nothing": MAIL, "phone": f"call\n{PHONE}"},
            {MAIL: 1},
        ],
    )
    say(folder, raw={"max_quarantined": 100})
    build(folder, raw, combined)
    assert rows(folder, "SELECT count(*) FROM combined") == [(2,)]
    assert rows(folder, "SELECT count(*) FROM quarantine") == [(4,)]
    for view in ("store.contents", "combined", "edits", "dropped", "quarantine", "store.versions"):
        shown = repr(rows(folder, f"SELECT * FROM {view}"))
        assert not [secret for secret in SECRETS if secret in shown], view
    places = [json.loads(before)["place"] for (before,) in rows(folder, "SELECT before FROM edits")]
    assert {p.split("/")[0] for p in places} >= {
        "turn 1", "turn 2", "turn 2 name", "turn 3", "turn 3 reasoning", "turn 3 tool_calls", "turn 4", "turn 4 tool_call_id",
        "rejected turn 1", "tools", "license", "language", "meta",
    }  # fmt: skip


def test_a_recipe_can_leave_masks_out(folder: Folder) -> None:
    put(folder, "q.json", [sft(1, output=f"{MAIL} {PHONE}")])
    say(folder, combined={"masks": ["phone"]})
    build(folder, raw, combined)
    assert rows(folder, "SELECT messages[-1].content FROM combined") == [(f"{MAIL} <PHONE>",)]
    assert rows(folder, "SELECT what, after FROM edits") == [("masked_phone", "<PHONE>")]


def test_content_is_kept_byte_for_byte_where_nothing_is_edited(folder: Folder) -> None:
    texts = ["  two  spaces\r\n\ttab ", "e\u0301 \u00e9 ﬁ １", "\u200b\u202e", "\0", "<think>\n</think>", "a\ufeffb", "\n"]
    put(folder, "q.json", [chat((U, f"{i}{t}"), (A, f"{t}{i}")) for i, t in enumerate(texts)])
    build(folder, raw, combined)
    found = rows(folder, "SELECT messages[1].content, messages[2].content FROM combined")
    assert set(found) == {(f"{i}{t}", f"{t}{i}") for i, t in enumerate(texts)}
    assert rows(folder, "SELECT count(*) FROM edits") == [(0,)]


def test_equal_conversations_share_one_content(folder: Folder) -> None:
    put(folder, "q.json", [sft(1, id=1), sft(1, id=2), sft(1, id=2)])
    build(folder, raw, combined)
    assert rows(folder, "SELECT count(*), count(DISTINCT row_id), count(DISTINCT content_hash) FROM combined") == [(3, 3, 1)]
    assert rows(folder, "SELECT count(*) FROM store.contents") == [(1,)]


def test_the_content_hash_covers_messages_rejected_answer_and_tools() -> None:
    base = messages((U, "a"), (A, "b"))
    other = messages((U, "a"), (A, "c"))
    variants = [
        (base, None, None), (other, None, None), (base, [], None), (base, other, None), (base, None, ""), (base, None, "[]"),
        ([base[0], base[1]._replace(weight=0.0)], None, None), ([base[0], base[1]._replace(name="x")], None, None),
        (messages((U, "ab"), (A, "")), None, None), (messages((U, "a")), messages((A, "b")), None),
    ]  # fmt: skip
    assert len({content_hash(*v) for v in variants}) == len(variants)


# ------------------------------------------------------------------------------------------------- the mixture


def kept(folder: Folder) -> set[str]:
    return {question for (question,) in rows(folder, "SELECT messages[1].content FROM combined")}


def mixture(folder: Folder, seed: int = 0, **entry: Any) -> set[str]:
    say(folder, sources=[{"path": "q.json", **entry}], combined={"seed": seed})
    build(folder, raw, combined)
    return kept(folder)


def test_a_larger_weight_or_cap_keeps_all_that_a_smaller_one_keeps(folder: Folder) -> None:
    put(folder, "q.json", [sft(i) for i in range(300)])
    by_weight = [mixture(folder, weight=w) for w in (0, 0.1, 0.5, 0.9, 1)]
    by_cap = [mixture(folder, cap=c) for c in (0, 1, 50, 299, 300, 5000)]
    by_both = [mixture(folder, weight=0.5, cap=c) for c in (10, 100)]
    for chain in (by_weight, by_cap, by_both):
        assert all(small < large or small == large for small, large in pairwise(chain))
    assert [len(s) for s in by_cap] == [0, 1, 50, 299, 300, 300]
    assert (len(by_weight[0]), len(by_weight[-1])) == (0, 300)
    assert 120 < len(by_weight[2]) < 180
    assert by_both[0] == by_cap[2].intersection(by_both[0])


def test_the_seed_chooses_others_and_the_same_seed_the_same(folder: Folder) -> None:
    put(folder, "q.json", [sft(i) for i in range(200)])
    first = mixture(folder, seed=1, cap=50)
    assert mixture(folder, seed=2, cap=50) != first
    assert mixture(folder, seed=1, cap=50) == first


def test_the_choice_and_the_ids_do_not_depend_on_the_order_of_the_file(folder: Folder) -> None:
    made = [sft(i % 80) for i in range(120)]
    states = []
    for seed in range(3):
        put(folder, "q.json", random.Random(seed).sample(made, len(made)))
        mixture(folder, weight=0.6, cap=40)
        states.append(rows(folder, "SELECT row_id, content_hash FROM combined ORDER BY 1"))
    assert states[0] == states[1] == states[2]


def test_what_the_mixture_leaves_out_says_why(folder: Folder) -> None:
    put(folder, "q.json", [sft(i) for i in range(20)])
    put(folder, "r.json", [sft(i, license=license) for i, license in enumerate(["mit", "gpl", None])])
    say(
        folder,
        sources=[{"path": "q.json", "license": "mit", "cap": 5, "weight": 0.5}],
        combined={"allowed_licenses": ["mit"]},
    )
    build(folder, raw, combined)
    found = rows(folder, "SELECT DISTINCT reason, evidence FROM dropped ORDER BY 1, 2")
    assert found == [
        ("license", '{"license":"gpl"}'),
        ("license", '{"license":null}'),
        ("not_sampled", '{"weight":0.5}'),
        ("over_cap", '{"cap":5}'),
    ]
    assert rows(folder, "SELECT count(*), bool_and(license = 'mit') FROM combined") == [(6, True)]


def test_a_cap_counts_only_rows_that_may_stay(folder: Folder) -> None:
    put(folder, "q.json", [sft(i, license="gpl" if i % 2 else "mit") for i in range(40)])
    say(folder, sources=[{"path": "q.json", "cap": 20}], combined={"allowed_licenses": ["mit"]})
    build(folder, raw, combined)
    assert rows(folder, "SELECT count(*) FROM combined") == [(20,)]


def test_the_recipe_gives_licence_language_and_system_prompt_where_a_record_has_none(folder: Folder) -> None:
    own = {
        "messages": [
            {"role": "system", "content": "own"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
        ]
    }
    put(folder, "q.json", [sft(1), own | {"license": "mit", "language": "de"}])
    put(folder, "r.json", [sft(2)])
    say(folder, sources=[{"path": "q.json", "license": "cc0", "language": "en", "system": "Be brief."}])
    build(folder, raw, combined)
    found = rows(folder, "SELECT source, messages[1].role, messages[1].content, license, language FROM combined ORDER BY 1, 3")
    assert found == [
        ("q", "system", "Be brief.", "cc0", "en"),
        ("q", "system", "own", "mit", "de"),
        ("r", "user", "question 2", None, None),
    ]


def test_columns_of_the_recipe_are_mapped(folder: Folder) -> None:
    put(folder, "q.json", [{"q": f"question {i}", "a": f"answer {i}", "n": i} for i in range(3)])
    say(folder, sources=[{"path": "q.json", "columns": {"prompt": "q", "response": "a"}}])
    build(folder, raw, combined)
    assert kept(folder) == {f"question {i}" for i in range(3)}
    assert {m for (m,) in rows(folder, "SELECT meta FROM combined")} == {f'{{"n":{i}}}' for i in range(3)}


def test_a_record_too_deep_for_meta_is_quarantined_not_a_crash(folder: Folder) -> None:
    turn = {"role": "assistant", "content": "b", "note": json.loads("[" * 252 + "]" * 252)}
    put(folder, "q.json", json.dumps({"prompt": "Hi", "chosen": turn, "rejected": "c"}) + "\n" + json.dumps(sft(1)))
    say(folder, raw={"max_quarantined": 100})
    _, version = build(folder, raw, combined)
    assert (version.report["in"], version.report["kept"], version.report["quarantined"]) == (2, 1, {"too_deep": 1})


def test_records_that_worker_processes_map_give_the_same_rows_and_the_same_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, copies, masks, repairs, what is no conversation, a tree of messages, and the answer that a person wrote anew."""
    made = [sft(n) for n in range(300)] + [sft(n) for n in range(7)]
    made += [sft(n, input=f"Write to {MAIL} {n} times") for n in range(9)]
    made += [chat((U, f"a{n}"), (U, "b"), (A, "c")) for n in range(9)] + [chat((A, f"nobody asked {n}")) for n in range(5)]

    def built(name: str, engine: dict[str, Any]) -> tuple[Any, ...]:
        folder = fresh(tmp_path / name)
        put(folder, "q.json", made)
        put(folder, "tree.jsonl", TREE)
        say(folder, raw={"max_quarantined": 100}, engine=engine)
        build(folder, raw, combined)
        one, content = rows(folder, "SELECT row_id, content_hash FROM combined WHERE kind = 'sft' ORDER BY row_id")[0]
        reviews.append(folder, [reviews.decided(one, content, "combined", "edit", "so it is", "ann", "Anew.")])
        (version,) = build(folder, combined)
        kept = {name: version.report[name] for name in ("in", "created", "kept", "dropped", "quarantined", "edited")}
        ledgers = [rows(folder, f"SELECT * FROM store.{name} ORDER BY ALL") for name in ("dropped", "quarantine")]
        edits = rows(folder, "SELECT row_id, what, after FROM edits ORDER BY ALL")
        return version.data_version, kept, ledgers, edits, rows(folder, "SELECT row_id, decision, why FROM reviewed")

    here = built("here", {})
    monkeypatch.setattr("sft_assets.engine.local.ENOUGH", 1)
    monkeypatch.setattr("sft_assets.combined.asset.BATCH", 50)
    started: list[Any] = []
    start = Processes._start
    monkeypatch.setattr(Processes, "_start", lambda self: started.append(process := start(self)) or process)
    there = built("there", {"threads": 2})
    assert there == here and len(started) == 4
    assert here[1]["quarantined"] and {"masked_email", "merged_turns", "reviewed_edit"} <= here[1]["edited"].keys()


@pytest.mark.parametrize("made", [[], [sft(1)], [sft(1)] * 50, [{"noise": i} for i in range(5)]])
def test_no_rows_one_row_only_duplicates_and_only_noise_are_no_crash(folder: Folder, made: list[dict[str, Any]]) -> None:
    put(folder, "q.json", made)
    say(folder, raw={"max_quarantined": 100})
    _, version = build(folder, raw, combined)
    assert version.report["kept"] == len([r for r in made if "output" in r])


def test_a_folder_without_files_is_a_dataset_of_no_rows(folder: Folder) -> None:
    _, version = build(folder, raw, combined)
    assert version.report["kept"] == 0
    assert rows(folder, "SELECT * FROM combined") == []


def test_combined_says_what_it_needs(folder: Folder) -> None:
    with pytest.raises(SftError, match="combined needs raw"):
        build(folder, combined)


def test_a_later_run_of_raw_changes_nothing_in_what_combined_already_holds(folder: Folder) -> None:
    put(folder, "q.json", [sft(1), sft(2)])
    build(folder, raw, combined)
    content = "SELECT * EXCLUDE (source_file, source_row, occurrence) FROM combined ORDER BY row_id"  # places are today's
    before = rows(folder, content)
    put(folder, "q.json", [sft(3)])
    build(folder, raw)
    assert rows(folder, content) == before


def test_an_old_database_and_a_new_one_hold_the_same_after_keys_changed_places(folder: Folder, tmp_path: Path) -> None:
    """The order of a tool's parameters is part of what a model sees, so the record's text decides, not the first one seen."""
    tools = [{"name": "f", "parameters": {"b": 1, "a": 2}}]
    turned = [{"parameters": {"a": 2, "b": 1}, "name": "f"}]
    turns = [{"role": "user", "content": "Call f."}, {"role": "assistant", "content": "Done."}]
    put(folder, "q.jsonl", [{"messages": turns, "tools": tools}])
    build(folder, raw, combined)
    put(folder, "q.jsonl", [{"messages": turns, "tools": turned}])
    _, old = build(folder, raw, combined)
    fresh_folder = fresh(tmp_path / "fresh")
    put(fresh_folder, "q.jsonl", [{"messages": turns, "tools": turned}])
    _, new = build(fresh_folder, raw, combined)
    assert old.data_version == new.data_version
