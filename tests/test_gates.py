"""The cheap gates: a generated row falls for what a source row would go for, at the first gate, and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import warehouse
from sft_assets.augmented.gates import GATES, Checked, Gates
from sft_assets.augmented.gates.asset import generation_checks
from sft_assets.augmented.gates.duplicates import among
from sft_assets.augmented.gates.gate import Found
from sft_assets.augmented.gates.rules import Rules
from sft_assets.combined.asset import combined
from sft_assets.decontaminated.asset import decontaminated
from sft_assets.decontaminated.benchmarks.asset import benchmarks
from sft_assets.decontaminated.paraphrases.asset import contamination_candidates
from sft_assets.deduped.asset import deduped
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.recipe import Deduped, Recipe, RuleHits
from sft_assets.record import MESSAGES_SQL, Conversation, Message
from sft_assets.warehouse.build import Build, Table
from tests.conftest import build, put, rows, say
from tests.made_rows import DISCLAIMER, MOJIBAKE, REFUSAL, chat, hash_of, id_of, make
from tests.test_decontaminated import FISH, TOLD
from tests.test_decontaminated import ITEMS as OTHERS
from tests.test_deduped import long_text, sft

ASKED = "Write a Python function that takes two lists of whole numbers and returns for a given input all of the"
ITEMS = [
    {"id": "fish", "question": FISH, "answer": "trout"},
    {
        "id": "lists",
        "question": f"{ASKED} pairs whose greatest common divisor grows while neither halves its partner in the lattice.",
    },
]
GENERATIONS = Table(
    "generations",
    {
        **dict.fromkeys(("row_id", "content_hash"), "UUID"),
        **dict.fromkeys(("method", "source", "kind"), "VARCHAR"),
        **dict.fromkeys(("messages", "rejected"), MESSAGES_SQL),
        **dict.fromkeys(("tools", "reason"), "VARCHAR"),
    },
    is_state=False,
)


def pair(prompt: str, chosen: str, rejected: str) -> Conversation:
    return chat(prompt, chosen, kind="preference", rejected=[Message("assistant", rejected)])


def table(conversations: Sequence[Conversation]) -> pa.Table:
    """Generated rows as the gates read them."""
    return pa.table(
        {
            "row_id": uuids(map(id_of, conversations)),
            "content_hash": uuids(map(hash_of, conversations)),
            "kind": pa.array([c.kind for c in conversations], pa.string()),
            "source": pa.array(["generated:answers"] * len(conversations), pa.string()),
            "messages": messages_array([c.messages for c in conversations]),
            "rejected": messages_array([c.rejected for c in conversations]),
            "tools": pa.array([c.tools for c in conversations], pa.string()),
        }
    )


def sources(folder: Folder, records: Sequence[Any] = (), items: Sequence[Any] = ITEMS, **sections: Any) -> Folder:
    """The folder with these source rows, up to what the gates read."""
    put(folder, "rows.jsonl", records)
    (folder.benchmarks / "exam.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    say(folder, **sections)
    build(folder, raw, combined, deduped, benchmarks)
    return folder


class Reading:
    """What the gates read of a folder; `asked` has the queries."""

    def __init__(self, folder: Folder):
        self.folder, self.recipe = folder, Recipe.load(folder.recipe)
        self.asked: list[str] = []

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        self.asked.append(sql)
        with warehouse(self.folder, self.recipe).reading() as con:
            yield from con.sql(sql).to_arrow_reader(7)

    def gates(self) -> Gates:
        return Gates.of(self.stream, self.folder, self.recipe)


def check(folder: Folder, *conversations: Conversation) -> list[tuple[str, str] | None]:
    """(gate, reason) of each, None of one that passes."""
    falls = Reading(folder).gates().check(table(conversations)).falls
    fell = [falls.get(id_of(c)) for c in conversations]
    return [(gate_fall[0], gate_fall[1].reason) if gate_fall else None for gate_fall in fell]


def evidence(checked: Checked, conversation: Conversation) -> dict[str, Any]:
    return dict(checked.falls[id_of(conversation)][1].evidence)


# --------------------------------------------------------------------------------------------------------------- rules


def hits(*conversations: Conversation, **section: Any) -> Found:
    """What the gate of the rules finds in generated rows."""
    return Rules(RuleHits.model_validate(section), "recipe.yaml").found(table(conversations))


def test_a_refusal_falls_and_says_where_it_stands() -> None:
    refusal = chat("Sort this list.", REFUSAL)
    found = hits(refusal)
    fall = found.falls[id_of(refusal)]
    ((hit),) = fall.evidence["rules"]
    start, stop = hit["span"]
    assert (fall.reason, hit["rule"], hit["turn"], hit["matched"]) == ("refusal", "refusal", 2, REFUSAL[start:stop])
    assert hit["why"] and not found.marks


def test_what_a_rule_wants_reviewed_is_marked_and_does_not_fall() -> None:
    marked, clean = chat("Is it open?", MOJIBAKE), chat("Is it open?", "No, it is closed.")
    assert hits(marked, clean) == ({}, {id_of(marked): ["mojibake"]})


def test_rules_do_what_the_recipe_says() -> None:
    refusal, mojibake = chat("Sort this list.", REFUSAL), chat("Is it open?", MOJIBAKE)
    found = hits(refusal, mojibake, skip=["refusal"], actions={"mojibake": "drop"})
    assert {row_id: fall.reason for row_id, fall in found.falls.items()} == {id_of(mojibake): "mojibake"}


def test_rows_of_one_content_are_each_told_their_hits_once() -> None:
    twins = [chat("Sort it.", REFUSAL, path=path) for path in ("a", "b")]
    assert [len(fall.evidence["rules"]) for fall in hits(*twins).falls.values()] == [1, 1]


def test_a_rule_that_there_is_not_is_refused_by_name(folder: Folder) -> None:
    say(folder, rule_hits={"skip": ["refusl"]})
    with pytest.raises(SftError, match=r"recipe.yaml: rule_hits.skip: there is no rule 'refusl'"):
        Reading(folder).gates()


# ---------------------------------------------------------------------------------------------------------- duplicates


def test_a_copy_of_a_source_row_falls_even_of_one_that_was_dropped(folder: Folder) -> None:
    text = long_text(1, 80).split()
    near = [" ".join([*text[:40], *(["more"] * n), *text[40:]]) for n in (0, 6, 12)]  # each is near the next alone
    sources(folder, [sft("Tell me of it.", near[0] + "."), sft("Tell me of it.", near[1])])
    assert rows(folder, "SELECT count(*) FROM deduped") == [(1,)]
    ((gone,),) = rows(folder, "SELECT row_id FROM dropped WHERE state = 'deduped'")
    copies = [chat("Tell me  of it.", near[1].upper()), chat("Tell me of it.", near[1] + " Really so.")]
    checked = Reading(folder).gates().check(table(copies))
    assert [checked.falls[id_of(c)][0] for c in copies] == ["exact_duplicates", "near_duplicates"]
    assert evidence(checked, copies[0]) == {"of": str(gone), "jaccard": 1.0}
    assert evidence(checked, copies[1])["of"] == str(gone) and 0.8 <= evidence(checked, copies[1])["jaccard"] < 1


def test_a_row_of_another_kind_or_with_other_numbers_is_no_duplicate(folder: Folder) -> None:
    text = long_text(2)
    sources(folder, [sft("Tell me of it.", f"{text} 1914.")])
    others = [pair("Tell me of it.", f"{text} 1914.", "No."), chat("Tell me of it.", f"{text} 1918.")]
    assert check(folder, *others) == [None, None]


def test_without_near_in_the_recipe_near_duplicates_pass(folder: Folder) -> None:
    sources(folder, [sft("Tell me of it.", long_text(3))], deduped={"near": False})
    rows_ = [chat("Tell me of it.", long_text(3)), chat("Tell me of it.", long_text(3) + " badan")]
    assert check(folder, *rows_) == [("exact_duplicates", "exact_duplicate"), None]


def test_combined_is_read_for_rows_that_are_new_and_not_again(folder: Folder) -> None:
    reading = Reading(sources(folder, [sft("Tell me of it.", long_text(4))]))
    gates, first, more = reading.gates(), chat("Who?", long_text(5)), chat("Tell me of it.", long_text(4) + ".")

    def reads(*conversations: Conversation) -> int:
        before = len(reading.asked)
        gates.check(table(conversations))
        return sum("FROM combined" in sql for sql in reading.asked[before:])

    assert [reads(first), reads(first), reads(first, more), reads(first, more)] == [1, 0, 1, 0]
    assert gates.check(table([first, more])).falls.keys() == {id_of(more)}


def test_of_generated_duplicates_the_one_that_is_preferred_stays() -> None:
    text = long_text(6)
    alike = [chat("Tell me.", text), chat("Tell me.", text + " badan"), chat("tell  me.", text.upper()), chat("Who?", "Me.")]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        for preferred in range(3):
            some = [alike[n] for n in order]
            falls = among(table(some), Deduped(), [n == preferred for n in order])
            assert falls.keys() == {id_of(alike[n]) for n in range(3) if n != preferred}
            assert {fall.evidence["of"] for fall in falls.values()} == {str(UUID(bytes=id_of(alike[preferred])))}
            if preferred != 1:
                assert falls[id_of(alike[1])].reason == "near_duplicate"
                assert falls[id_of(alike[2 - preferred])].reason == "exact_duplicate"


def test_of_generated_duplicates_that_nobody_prefers_the_order_plays_no_part() -> None:
    some = [chat("Tell me.", long_text(7 + n % 3) + " badan" * (n // 3)) for n in range(9)]
    falls = among(table(some), Deduped(), [0.0] * 9)
    assert falls == among(table(some[::-1]), Deduped(), [0.0] * 9)
    assert len(falls) == 6
    assert not {UUID(fall.evidence["of"]).bytes for fall in falls.values()} & falls.keys()


# ---------------------------------------------------------------------------------------------------------- benchmarks


def test_a_copy_of_a_test_item_falls_wherever_it_stands(folder: Folder) -> None:
    leaks = [
        chat(FISH, "The trout."),
        chat("Make up a question.", f"Here is one: {FISH.upper()}"),
        pair("Make up a question.", "Why?", FISH),
        chat("Name a river.", "The Elbe.", FISH, "It is the trout."),
    ]
    assert check(sources(folder), *leaks) == [("benchmarks", "benchmark_item")] * 4


def test_what_falls_is_told_as_decontaminated_tells_it(folder: Folder) -> None:
    sources(folder, [sft("Answer me:\n" + ITEMS[1]["question"][:150], "[]"), sft("Name a river.", "The Elbe.")])
    make(folder, contamination_candidates, decontaminated)
    ((reason, told),) = rows(folder, "SELECT reason, evidence FROM dropped WHERE state = 'decontaminated'")
    copy = chat("Answer me:\n" + ITEMS[1]["question"][:150], "{}")
    fall = Reading(folder).gates().benchmarks.found(table([copy])).falls[id_of(copy)]
    assert (fall.reason, json.loads(json.dumps(fall.evidence))) == (reason, json.loads(told))
    assert reason != "benchmark_item"


def test_what_all_source_rows_say_is_no_leak_but_what_all_generated_rows_say_may_be(folder: Folder) -> None:
    boilerplate = chat(f"{ASKED} largest ones.", "def largest(): ...")
    assert check(sources(folder), boilerplate) == [("benchmarks", "benchmark_ngram")]
    many = [sft(f"{ASKED} {word} ones.", f"def {word}(): ...") for word in long_text(20, 30).split()]
    own = [chat(f"{word}: {ITEMS[1]['question'][60:]}", "def f(): ...") for word in long_text(21, 40).split()]
    found = check(sources(folder, many), boilerplate, *own)
    assert found[0] is None
    assert {fell and fell[0] for fell in found[1:]} == {"benchmarks"}


def test_a_test_item_in_other_words_is_marked_and_falls_only_if_the_recipe_says_so(folder: Folder) -> None:
    told, clean = chat(TOLD, "The trout."), chat("Name a river.", "The Elbe.")
    checked = Reading(sources(folder, items=OTHERS)).gates().check(table([told, clean]))
    assert checked == ({}, {id_of(told): ["possible_test_item"]})
    say(folder, decontaminated={"paraphrases": "drop"})
    checked = Reading(folder).gates().check(table([told, clean]))
    gate, fall = checked.falls[id_of(told)]
    assert (gate, fall.reason, checked.marks) == ("benchmarks", "benchmark_paraphrase", {})
    assert (fall.evidence["item_id"], fall.evidence["item"], fall.evidence["turn"]) == ("fish", FISH, 1)


# ----------------------------------------------------------------------------------------------------------- the asset


def generated(folder: Folder, candidates: Sequence[Conversation], fallen: Sequence[Conversation] = ()) -> None:
    """The table `generations` with these rows, made by hand."""
    made = table([*candidates, *fallen])
    reasons = [None] * len(candidates) + ["no_gain"] * len(fallen)
    made = made.append_column("method", pa.array(["answers"] * len(made), pa.string()))
    made = made.append_column("reason", pa.array(reasons, pa.string()))
    with warehouse(folder, Recipe.load(folder.recipe)).writing() as con:
        with Build.begin(con, GENERATIONS, "1", {"combined": "1"}) as building:
            building.insert(made)


def test_each_candidate_has_a_row_that_says_where_it_fell_and_why(folder: Folder) -> None:
    text = long_text(8)
    sources(folder, [sft("Tell me of it.", text), sft("Sort this list.", REFUSAL)])
    candidates = [
        chat("Sort this list.", REFUSAL),  # a duplicate too
        chat("Tell me of it.", text),
        chat("Tell me of it.", text + " badan"),
        chat(FISH, "The trout."),
        chat("Is it open?", MOJIBAKE),
        chat("Name a river.", "The Elbe."),
    ]
    generated(folder, candidates, fallen=[chat("What?", DISCLAIMER)])
    (version,) = build(folder, generation_checks)
    by_id = {row_id.bytes: told for row_id, *told in rows(folder, "SELECT row_id, gate, reason, marks FROM generation_checks")}
    assert [by_id.pop(id_of(c)) for c in candidates] == [
        ["rules", "refusal", []],
        ["exact_duplicates", "exact_duplicate", []],
        ["near_duplicates", "near_duplicate", []],
        ["benchmarks", "benchmark_item", []],
        [None, None, ["mojibake"]],
        [None, None, []],
    ]
    assert not by_id
    assert {row["gate"] for row in version.report["sample_fallen"]} == {name for name, _ in GATES}
    assert version.report["by_source"]["generated:answers"]["passed"] == 2
    assert version.report["marked"] == {"mojibake": 1}


def test_a_changed_gate_checks_again_and_a_changed_section_of_another_asset_does_not(folder: Folder) -> None:
    sources(folder, [sft("Tell me of it.", long_text(9))])
    generated(folder, [chat("Sort this list.", REFUSAL)])
    methods = {"generations": {"methods": {"answers": {}}}}
    say(folder, **methods)
    first, again = (build(folder, generation_checks)[0].number for _ in range(2))
    say(folder, **methods, rule_hits={"skip": ["refusal"]}, exported={"name": "other"})
    (changed,) = build(folder, generation_checks)
    assert (again, changed.number) == (first, first + 1)
    assert rows(folder, "SELECT gate FROM generation_checks") == [(None,)]


def test_no_candidates_cost_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(sources(folder, [sft("Tell me of it.", long_text(10))]))
    assert reading.gates().check(table([])) == ({}, {})
    assert among(table([]), Deduped(), []) == {}
    assert reading.asked == []
    generated(folder, [], fallen=[chat("What?", "That.")])
    monkeypatch.setattr("sft_assets.augmented.gates.asset.warm_up", lambda: pytest.fail("kernels were compiled"))
    (version,) = build(folder, generation_checks)
    assert version.report["kept"] == 0
