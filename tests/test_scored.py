"""rule_hits and scored: what the rules find, what they leave alone, and what becomes of the rows."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from sft_assets import formats
from sft_assets.asset import Asset, materialize
from sft_assets.combined import asset as combined
from sft_assets.errors import LawBroken, SftError
from sft_assets.folder import Folder
from sft_assets.raw import asset as raw
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message, content_hash, digest, messages_array, uuids
from sft_assets.scored import asset as scored_module
from sft_assets.scored.asset import scored
from sft_assets.scored.decision import Decision, actions_of, decide
from sft_assets.scored.rule_hits import rules as rules_module
from sft_assets.scored.rule_hits.asset import rule_hits
from sft_assets.scored.rule_hits.rules import Example, Rule, decision_version, load, rules, search_version
from sft_assets.scored.rule_hits.search import Batch, Matcher, RuleHit, hits, search
from sft_assets.warehouse import Build, Table, Version, Warehouse

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")

REFUSAL = "I'm sorry, but I can't help with that."
MOJIBAKE = "The cafÃ© is closed."
DISCLAIMER = "That is a matter of taste, but as an AI language model I have none."


def chat(*turns: str, **more: Any) -> Conversation:
    return Conversation([Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)], **more)


def batch_of(conversations: Sequence[Conversation]) -> Batch:
    return Batch(messages_array([c.messages for c in conversations]), pa.array([c.tools for c in conversations], pa.string()))


def names(conversation: Conversation) -> set[str]:
    return {hit.rule for hit in hits(rules().values(), conversation)}


# ------------------------------------------------------------------------------------------------------------- the rules


def examples(kind: str) -> list[Any]:
    return [
        pytest.param(rule, example, id=f"{rule.name}-{number}")
        for rule in rules().values()
        for number, example in enumerate(getattr(rule, kind), 1)
    ]


@pytest.mark.parametrize(("rule", "example"), examples("hits"))
def test_a_rule_hits_its_examples(rule: Rule, example: Example) -> None:
    assert [hit.rule for hit in hits([rule], example.conversation)] == [rule.name]


@pytest.mark.parametrize(("rule", "example"), examples("misses"))
def test_a_rule_leaves_its_counterexamples_alone(rule: Rule, example: Example) -> None:
    assert hits([rule], example.conversation) == []


@pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.name)
def test_an_anchor_changes_the_speed_and_nothing_else(rule: Rule) -> None:
    slow = rule.model_copy(update={"anchor": None})
    for example in [e for r in rules().values() for e in (*r.hits, *r.misses)]:
        assert hits([slow], example.conversation) == hits([rule], example.conversation)


PLAIN = {
    "English": "I'm sorry to hear that. Rest for a day, drink enough water, and see a doctor if the fever stays.",
    "German": "Es tut mir leid, das zu hören. Können Sie mir sagen, was geschehen ist? Schöne Grüße aus Köln!",
    "French": "Je suis désolé d’apprendre « cela » ; l’été à Évreux fut très chaud, n’est-ce pas ?",
    "Spanish": "Lo siento mucho. ¿Cómo está usted? Mañana iré a España con mi niño.",
    "Portuguese": "NÃO HÁ PÃO, disse a IRMÃ. À noite, São João da Ponte dança.",
    "Icelandic": "Það er ekki hægt að gera þetta. Ég skil þig vel, æðislegt!",
    "Vietnamese": "Xin lỗi, tôi không hiểu câu hỏi này. ĐÂY LÀ MỘT CÂU TRẢ LỜI.",
    "Romanian": "Îmi pare rău. ROMÂNIA și Ţările Române.",
    "Turkish": "Üzgünüm, İstanbul'da hava bugün çok sıcak, ama akşam serin olacak.",
    "Polish": "Przykro mi. Zażółć gęślą jaźń.",
    "Greek": "Λυπάμαι που το ακούω. Η Αθήνα είναι όμορφη.",
    "Russian": "Мне жаль это слышать. Ёлка стоит у окна.",
    "Hebrew": "צר לי לשמוע. \u202bשלום עולם\u202c",
    "Arabic": "يؤسفني سماع ذلك. \u2067مرحبا\u2069",
    "Hindi": "मुझे यह सुनकर दुख हुआ। आज मौसम अच्छा है।",
    "Thai": "ฉันเสียใจที่ได้ยินเช่นนั้น วันนี้อากาศดี " * 8,
    "Chinese": "很遗憾听到这个消息。作为一名医生，我建议您多喝水。模型的语言很优美。",
    "Japanese": "それは残念です。今日はとても良い天気ですね。",
    "Korean": "그 말을 들으니 유감입니다. 오늘은 날씨가 좋습니다.",
    "emoji": "👩‍👩‍👧‍👦 🎉 👍🏽 — ✓ ≥ ½ ™ © €",
    "mathematics": r"$\frac{a}{b}$, $\{x \mid x > 0\}$, \textbf{name}, {a, b}, f(x) = x^{n}, A ⊂ B",
}


@pytest.mark.parametrize("language", PLAIN)
def test_a_plain_text_of_any_language_trips_no_rule(language: str) -> None:
    assert names(chat(PLAIN[language], PLAIN[language] + " ")) - {"answer_repeats_prompt"} == set()


HARD = [
    "a",
    " ",
    "\n",
    ".",
    "`",
    "```\n",
    "[",
    "[insert ",
    "{",
    "{{",
    "{{a ",
    "<",
    "&",
    "|",
    "é",
    "Ã",
    "语",
    "\u202e",
    "http://",
]
HARD += ["http://a ", "ab. ", "a\n", "    x\n", "0123456789", "I'm sorry, but ", "I am a ", "i'm an ai and ", "as an AI "]
HARD += [
    "as an ai language model ",
    "my knowledge ",
    "please provide the ",
    "you didn't provide the ",
    "因为我是一个人工智能",
    "请提供",
]


@pytest.mark.timeout(120)
def test_no_text_takes_a_rule_more_than_linear_time() -> None:
    """Quadratic time would be hours here."""
    for piece in HARD:
        long = piece * (300_000 // len(piece))
        for start in ("", "I'm sorry, but as an AI language model, ", "```\n"):
            hits(rules().values(), chat(long[:100_000], start + long))


def test_why_is_a_sentence() -> None:
    for rule in rules().values():
        assert rule.why[0].isupper(), rule.name
        assert rule.why.endswith("."), rule.name


# ------------------------------------------------------------------------------------------------------------ rule files

GOOD: dict[str, Any] = {
    "name": "example",
    "why": "It is only an example.",
    "where": "answer",
    "action": "signal",
    "pattern": "abc",
    "hits": ["abc"],
    "misses": ["def"],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pattern": "(abc"}, "pattern.*no regular expression"),
        ({"pattern": "a*"}, "matches the empty text"),
        ({"unless_prompt": "x|"}, "unless_prompt matches the empty text"),
        ({"anchor": "(?=a)"}, "RE2"),
        ({"patern": "abc"}, "patern"),
        ({"action": "delete"}, "action.*drop"),
        ({"where": "rejected"}, "where"),
        ({"check": "repetition"}, "either a pattern or a check"),
        ({"pattern": [], "check": "repetitoin"}, "did you mean 'repetition'"),
        ({"pattern": [], "check": "repetition"}, r"params.*times"),
        ({"params": {"times": 3}}, "params belong to a check"),
        ({"misses": []}, "misses"),
        ({"hits": [True]}, "hits"),
        ({"max_chars": "9"}, "max_chars"),
        ({"where": "tool_calls", "max_chars": 9}, "tool calls"),
        ({"name": "Not A Name"}, "name"),
        ({"why": "No."}, "why"),
    ],
)
def test_a_bad_rule_is_refused_with_its_file_and_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    entry = {**GOOD, **change}
    (tmp_path / "theme.yaml").write_text(yaml.safe_dump([entry]), "utf-8")
    with pytest.raises(SftError, match=said) as error:
        load(tmp_path, ["theme"])
    assert "theme.yaml" in str(error.value)
    assert f"rule {entry['name']}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- name: a\n  name: b\n", r"theme.yaml:2: 'name' stands here and in line 1"),
        ("- name: [a\n", r"theme.yaml:\d+: not YAML"),
        ("name: a\n", "list of rules"),
        ("- a\n", "theme.yaml: rule 1"),
        (yaml.safe_dump([GOOD, GOOD]), "rule example: there is another of that name"),
    ],
)
def test_a_bad_rule_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "theme.yaml").write_text(text, "utf-8")
    with pytest.raises(SftError, match=said):
        load(tmp_path, ["theme"])


def test_a_rule_file_that_has_no_place_in_the_order_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("theme", "more"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump([{**GOOD, "name": name}]), "utf-8")
    assert [rule.name for rule in load(tmp_path, ["theme", "more"])] == ["theme", "more"]
    with pytest.raises(SftError, match=r"more\.yaml.*THEMES"):
        load(tmp_path, ["theme"])


def test_the_versions_follow_what_each_asset_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = search_version(), decision_version()
    rule = rules()["cut_off"]

    def versions_with(**changes: Any) -> tuple[bool, bool]:
        changed = {**rules(), "cut_off": rule.model_copy(update=changes)}
        with monkeypatch.context() as patch:
            patch.setattr(rules_module, "rules", lambda: changed)
            return search_version() != before[0], decision_version() != before[1]

    assert versions_with() == (False, False)
    assert versions_with(action="drop") == (False, True)
    assert versions_with(why="Another sentence for people.") == (False, True)
    assert versions_with(misses=[Example(answer="more")]) == (False, False)
    assert versions_with(params={"min_line": 40}) == (True, False)
    assert versions_with(where="answer") == (True, True)


# ------------------------------------------------------------------------------------------------------------- searching


def test_a_hit_names_turn_span_and_matched_text() -> None:
    conversation = chat("Hi", "Hello", "Where?", MOJIBAKE)
    assert hits(rules().values(), conversation) == [RuleHit("mojibake", 4, 7, 9, "Ã©")]
    assert MOJIBAKE[7:9] == "Ã©"


def test_matched_text_is_cut_at_200_characters() -> None:
    (hit,) = hits(rules().values(), chat("Encode it.", "x" * 6000 + "."))
    assert (hit.rule, hit.start, hit.stop, len(hit.matched)) == ("very_long_line", 0, 6001, 200)


def test_of_a_rule_the_first_hit_in_each_turn_is_given() -> None:
    conversation = chat("cafÃ© cafÃ©", "cafÃ© cafÃ©!")
    assert [(hit.turn, hit.start) for hit in hits([rules()["mojibake"]], conversation)] == [(1, 3), (2, 3)]


def test_whole_answer_rules_look_at_the_last_answer_and_phrases_are_found_in_all() -> None:
    conversation = chat("Help!", REFUSAL, "Why?", DISCLAIMER, "Go on.", "Flask is smaller.")
    assert [(hit.rule, hit.turn) for hit in hits(rules().values(), conversation)] == [("ai_disclaimer", 4)]
    assert names(chat("Help!", REFUSAL)) == {"refusal"}


def test_a_conversation_that_ends_in_a_question_has_no_last_answer() -> None:
    assert names(chat("Help!", REFUSAL, "Why?")) == set()


def test_a_turn_that_is_not_learnt_from_is_no_answer() -> None:
    conversation = chat("Help!", REFUSAL)
    conversation.messages[1] = conversation.messages[1]._replace(weight=0.0)
    assert names(conversation) == set()
    conversation.messages[1] = conversation.messages[1]._replace(weight=1.0)
    assert names(conversation) == {"refusal"}


def test_the_losing_answer_may_be_as_bad_as_it_likes() -> None:
    bad = [Message("assistant", f"{REFUSAL} {MOJIBAKE}")]
    assert names(chat("Where?", "In Rome.", kind="preference", rejected=bad)) == set()


def test_what_a_prompt_says_is_not_held_against_the_answer() -> None:
    assert names(chat(f"What is wrong with this answer? {REFUSAL} {DISCLAIMER}", "It declines, though it could help.")) == set()


def test_tool_calls_are_counted_in_their_own_text() -> None:
    calls = '[{"type":"function","function":{"name":"weather","arguments":{}}}]'
    turns = [
        Message("user", "Warm?"),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "21"),
        Message("assistant", "Yes."),
    ]
    (hit,) = hits(rules().values(), Conversation(turns, tools='[{"name":"clock"}]'))
    assert hit == RuleHit("unknown_tool", 2, calls.index('"weather"'), calls.index('"weather"') + 9, '"weather"')


MIXED = [
    chat("Help!", REFUSAL),
    chat("Where?", "In Rome."),
    Conversation([]),
    chat("Hi", "Hello", "Where?", MOJIBAKE),
    Conversation([Message("user", MOJIBAKE)], kind="prompt"),
    chat("Order a pizza.", REFUSAL, tools='[{"name":"clock"}]'),
    chat("Which?", DISCLAIMER, "Sure?", "Yes."),
]


def test_conversations_of_a_batch_do_not_mix() -> None:
    matchers = [Matcher(rule) for rule in rules().values()]
    found = sorted(search(matchers, batch_of(MIXED)))
    assert found == sorted((i, hit) for i, c in enumerate(MIXED) for hit in hits(rules().values(), c))
    assert {i for i, _ in found} == {0, 3, 4, 6}


# ---------------------------------------------------------------------------------------------------------- the decision

ACTIONS: Any = {"refusal": "drop", "repetition": "drop", "mojibake": "review", "html": "review", "cut_off": "signal"}


@pytest.mark.parametrize(
    ("signals", "decision"),
    [
        ((), Decision("keep")),
        (("cut_off",), Decision("keep")),
        (("cut_off", "mojibake"), Decision("review", ("mojibake",))),
        (("html", "mojibake"), Decision("review", ("mojibake", "html"))),
        (("mojibake", "repetition"), Decision("drop", ("repetition",))),
        (("repetition", "refusal", "cut_off"), Decision("drop", ("refusal", "repetition"))),
    ],
)
def test_a_drop_outweighs_a_review_and_the_most_telling_reason_comes_first(
    signals: tuple[str, ...], decision: Decision
) -> None:
    assert decide(signals, ACTIONS) == decision
    assert decide(tuple(reversed(signals)), ACTIONS) == decision


def test_a_signal_without_a_rule_is_not_passed_over() -> None:
    with pytest.raises(SftError, match=r"moji.*run rule_hits again"):
        decide(["moji"], ACTIONS)


def test_the_recipe_overrides_actions_and_not_their_order() -> None:
    own = actions_of(rules(), {})
    mine = actions_of(rules(), {"refusal": "signal", "cut_off": "drop"})
    assert list(mine) == list(own)
    assert {name for name in own if own[name] != mine[name]} == {"refusal", "cut_off"}
    assert (own["refusal"], mine["refusal"], mine["cut_off"]) == ("drop", "signal", "drop")


# ------------------------------------------------------------------------------------------------------------ the assets

# the columns of the real tables, of which these tests fill in what matters here
RAW = dataclasses.replace(raw.TABLE, laws=())
COMBINED = dataclasses.replace(combined.TABLE, laws=())
DECONTAMINATED = Table(
    "decontaminated", {"row_id": "UUID", "content_hash": "UUID", "paraphrase_of": "VARCHAR"}, after="combined"
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.at(tmp_path)


def hash_of(c: Conversation) -> bytes:
    return content_hash(c.messages, c.rejected, c.tools)


def id_of(c: Conversation) -> bytes:
    return digest(hash_of(c), repr((c.kind, c.label, c.path)).encode())


def fill(folder: Folder, conversations: Sequence[Conversation]) -> None:
    """The states up to decontaminated, made by hand. `path` tells rows of equal content apart."""
    ids, hashes = uuids(map(id_of, conversations)), uuids(map(hash_of, conversations))
    with Warehouse(folder.database).writing() as con:
        with Build.begin(con, RAW, "1", {}) as build:
            n = len(conversations)
            build.records_in = n
            positions = pa.array(range(n), pa.int64())
            files = pa.array(["a.json"] * n, pa.string())
            build.insert(pa.table({"row_id": ids, "record_hash": hashes, "source_file": files, "source_row": positions}))
        with Build.begin(con, COMBINED, "1", {"raw": "1"}) as build:
            contents = {
                "content_hash": hashes,
                "messages": messages_array([c.messages for c in conversations]),
                "rejected": messages_array([c.rejected for c in conversations]),
                "tools": pa.array([c.tools for c in conversations], pa.string()),
            }
            build.store("contents", "content_hash", pa.table(contents))
            kinds, labels = (
                pa.array([c.kind for c in conversations], pa.string()),
                pa.array([c.label for c in conversations], pa.bool_()),
            )
            build.insert(pa.table({"row_id": ids, "record_id": ids, "content_hash": hashes, "kind": kinds, "label": labels}))
        with Build.begin(con, DECONTAMINATED, "1", {"combined": "1"}) as build:
            build.insert_sql(f"SELECT row_id, content_hash FROM {build.of('combined')}")


def make(folder: Folder, *assets: Asset, **sections: Any) -> list[Version]:
    recipe = Recipe.model_validate(sections)
    return [materialize(asset, folder, recipe, {}, again=True)[0] for asset in assets]


def query(folder: Folder, sql: str) -> list[tuple[Any, ...]]:
    with Warehouse(folder.database).reading() as con:
        return con.execute(sql).fetchall()


def verdicts(folder: Folder) -> dict[bytes, tuple[str, list[str]]]:
    return {
        row_id.bytes: (verdict, found)
        for row_id, verdict, found in query(folder, "SELECT row_id, verdict, rule_names FROM scored")
    }


def dropped(folder: Folder) -> dict[bytes, tuple[str, Any]]:
    rows = query(folder, "SELECT row_id, reason, evidence FROM dropped WHERE state = 'scored'")
    return {row_id.bytes: (reason, json.loads(evidence)) for row_id, reason, evidence in rows}


CLEAN, REFUSED, REVIEW = chat("Where?", "In Rome."), chat("Help!", REFUSAL), chat("Which?", f"{DISCLAIMER} {MOJIBAKE}")


def test_rows_are_kept_marked_or_dropped_with_all_that_speaks_for_it(folder: Folder) -> None:
    both = chat("Help me with this text please.", "Please provide the text.\u202e")
    fill(folder, [CLEAN, REFUSED, REVIEW, both])
    _, version = make(folder, rule_hits, scored)
    assert verdicts(folder) == {
        id_of(CLEAN): ("keep", []),
        id_of(REVIEW): ("review", ["ai_disclaimer", "mojibake"]),
        id_of(both): ("review", ["bidi_controls"]),
    }
    why = rules()["refusal"].why
    evidence = {"rules": [{"rule": "refusal", "turn": 2, "span": [0, 32], "matched": REFUSAL[:32], "why": why}]}
    assert dropped(folder) == {id_of(REFUSED): ("refusal", evidence)}
    assert version.report["rows_hit"] == {"ai_disclaimer": 1, "bidi_controls": 1, "mojibake": 1, "refusal": 1}
    assert version.report["verdicts"] == {"keep": 1, "review": 2, "drop": 1}
    assert version.report["sample_dropped"] == [{"row": id_of(REFUSED).hex()[:8], "rule": "refusal", "matched": REFUSAL[:32]}]
    assert {s["rule"] for s in version.report["sample_review"]} == {"ai_disclaimer", "bidi_controls"}


def test_a_row_of_two_dropping_rules_goes_for_the_more_telling_one_and_names_both(folder: Folder) -> None:
    row = chat("Name the tone of the poem.", "I'm sorry, I cannot answer your question, you did not provide the poem.")
    fill(folder, [row])
    make(folder, rule_hits, scored)
    reason, evidence = dropped(folder)[id_of(row)]
    assert reason == "missing_context"
    assert [entry["rule"] for entry in evidence["rules"]] == ["missing_context", "refusal"]


def test_the_recipe_says_what_a_rule_does(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED, REVIEW])
    make(folder, rule_hits, scored, scored={"actions": {"refusal": "signal", "mojibake": "drop"}})
    assert verdicts(folder) == {id_of(CLEAN): ("keep", []), id_of(REFUSED): ("keep", ["refusal"])}
    reason, evidence = dropped(folder)[id_of(REVIEW)]
    assert (reason, [entry["rule"] for entry in evidence["rules"]]) == ("mojibake", ["mojibake"])


def test_a_changed_action_searches_nothing_anew(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED])
    make(folder, rule_hits, scored)
    changed = Recipe.model_validate({"scored": {"actions": {"refusal": "review"}}})
    assert [materialize(asset, folder, changed, {})[1] for asset in (rule_hits, scored)] == [False, True]
    assert verdicts(folder)[id_of(REFUSED)] == ("review", ["refusal"])


def test_a_skipped_rule_is_not_looked_for(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED, REVIEW])
    version, _ = make(folder, rule_hits, scored, rule_hits={"skip": ["refusal", "ai_disclaimer"]})
    assert version.report["rules"] == len(rules()) - 2
    assert verdicts(folder)[id_of(REFUSED)] == ("keep", [])
    assert verdicts(folder)[id_of(REVIEW)] == ("review", ["mojibake"])


@pytest.mark.parametrize(
    ("asset", "section"),
    [(rule_hits, {"rule_hits": {"skip": ["mojibak"]}}), (scored, {"scored": {"actions": {"mojibak": "drop"}}})],
    ids=["skip", "actions"],
)
def test_an_unknown_rule_name_is_answered_with_the_right_one(folder: Folder, asset: Asset, section: dict[str, Any]) -> None:
    fill(folder, [CLEAN])
    make(folder, rule_hits)
    with pytest.raises(SftError, match=r"recipe\.yaml: .*no rule 'mojibak'; did you mean 'mojibake'"):
        make(folder, asset, **section)


def test_rows_of_equal_content_share_their_hits(folder: Folder) -> None:
    twins = [dataclasses.replace(REFUSED, path=path) for path in ("first", "second")]
    fill(folder, twins)
    version, _ = make(folder, rule_hits, scored)
    assert (version.report["contents"], version.report["kept"]) == (1, 1)
    assert dropped(folder).keys() == {id_of(twin) for twin in twins}


def test_a_bad_answer_that_is_labelled_bad_stays(folder: Folder) -> None:
    good, bad = (dataclasses.replace(REFUSED, kind="unpaired", label=label) for label in (True, False))
    faulty = chat(MOJIBAKE, REFUSAL, kind="unpaired", label=False)
    fill(folder, [good, bad, faulty])
    make(folder, rule_hits, scored)
    assert verdicts(folder) == {id_of(bad): ("keep", []), id_of(faulty): ("review", ["mojibake"])}
    assert dropped(folder).keys() == {id_of(good)}


def test_awkward_characters_reach_the_ledger_whole(folder: Folder) -> None:
    row = chat("Say it.", 'A "quoted" 👍 line\x07 with \\ and \x00, 東京.')
    fill(folder, [row])
    make(folder, rule_hits, scored, scored={"actions": {"control_characters": "drop"}})
    _, evidence = dropped(folder)[id_of(row)]
    assert evidence["rules"][0]["matched"] == "\x07"
    assert row.messages[1].content[slice(*evidence["rules"][0]["span"])] == "\x07"


def test_no_rows_are_no_trouble(folder: Folder) -> None:
    fill(folder, [])
    hits_version, version = make(folder, rule_hits, scored)
    assert (hits_version.report["contents"], hits_version.report["hits"]) == (0, {})
    assert (version.report["kept"], version.report["verdicts"], version.report["sample_dropped"]) == (0, {}, [])


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    rows = [c for c in MIXED if c.messages] + [chat(f"Count {i}.", REFUSAL if i % 3 else MOJIBAKE) for i in range(50)]
    reports = []
    for seed in (1, 2):
        folder = Folder.at(tmp_path / str(seed))
        folder.root.mkdir()
        random.Random(seed).shuffle(rows)
        fill(folder, rows)
        reports.append([(v.data_version, v.report) for v in make(folder, rule_hits, scored)])
    assert reports[0] == reports[1]


def test_a_decision_that_keeps_what_a_rule_drops_is_not_stored(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, [CLEAN, REFUSED])
    make(folder, rule_hits, scored)
    before = verdicts(folder)
    monkeypatch.setattr(scored_module, "decide", lambda signals, actions: Decision("keep"))
    with pytest.raises(LawBroken, match="no_dropping_rule"):
        make(folder, scored)
    assert verdicts(folder) == before


def test_a_review_mark_without_a_rule_is_not_stored(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, [CLEAN, chat("Which?", REVIEW.messages[1].content)])
    make(folder, rule_hits)
    monkeypatch.setattr(scored_module, "decide", lambda signals, actions: Decision("keep"))
    with pytest.raises(LawBroken, match="review_marked"):
        make(folder, scored)


@pytest.mark.parametrize(
    ("change", "law"), [({"start": 3}, "hits_found_again"), ({"turn": 1}, "hits_found_again"), ({}, "one_hit_a_turn")]
)
def test_a_hit_that_is_not_in_the_text_is_not_stored(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], law: str
) -> None:
    from sft_assets.scored import rule_hits as module

    def wrong(matchers: Iterable[Matcher], batch: Batch) -> Iterable[tuple[int, RuleHit]]:
        for row, hit in search(matchers, batch):
            yield row, hit
            yield row, hit._replace(rule="another" if change else hit.rule)._replace(**change)

    fill(folder, [REFUSED])
    monkeypatch.setattr(module, "search", wrong)
    with pytest.raises(LawBroken, match=law):
        make(folder, rule_hits)


# -------------------------------------------------------------------------------------------------------- on public data


def corpus(name: str) -> list[Conversation]:
    data = (CORPUS / name).read_bytes()
    records = json.loads(gzip.decompress(data) if name.endswith(".gz") else data)
    return [c for record in records for c in formats.read(formats.detect(record) or "", record)]


def percent_hit(chosen: Iterable[Rule], name: str) -> float:
    conversations = corpus(name)
    found = {row for row, _ in search(map(Matcher, chosen), batch_of(conversations))}
    return 100 * len(found) / len(conversations)


@needs_corpus
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("instruct/alpaca_en_demo.json", 1.0),
        ("instruct/alpaca_zh_demo.json", 2.5),
        ("instruct/chatdoctor5k.json.gz", 0.0),
        ("instruct/gpteacher_codegen_instruct.json", 0.0),
        ("instruct/gpteacher_roleplay_deduped.json", 0.0),
        ("instruct/evol_teacher_code_2k.json", 0.0),
        ("instruct/glaive_toolcall_en_demo.json", 0.0),
    ],
)
def test_rules_that_drop_are_rare_on_public_data(name: str, most: float) -> None:
    """All hits were read: they are refusals and answers that miss their text. `most`: percent."""
    assert percent_hit((rule for rule in rules().values() if rule.action == "drop"), name) <= most


@needs_corpus
def test_known_faults_of_public_data_are_found() -> None:
    assert percent_hit([rules()["other_assistant_identity"]], "instruct/fastchat_dummy_conversation.json") > 90
    assert percent_hit([rules()["unfilled_template"]], "instruct/identity.json") > 90
    assert percent_hit([rules()["refusal"], rules()["missing_context"]], "instruct/alpaca_zh_demo.json") > 1


@needs_corpus
def test_anchors_lose_nothing_on_public_data() -> None:
    sources = "instruct/alpaca_zh_demo.json", "preference/kto_en_demo.json", "preference/dpo_en_demo.json.gz"
    batch = batch_of([c for name in sources for c in corpus(name)])
    fast = [Matcher(rule) for rule in rules().values()]
    slow = [Matcher(rule.model_copy(update={"anchor": None, "beyond_ascii": False})) for rule in rules().values()]
    assert list(search(fast, batch)) == list(search(slow, batch))
