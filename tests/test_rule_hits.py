"""rule_hits: what the rules find, what they leave alone, and that any number of processes finds the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from sft_assets.arrow import messages_array, uuids
from sft_assets.asset import materialize, told_to
from sft_assets.engine import local
from sft_assets.engine.local import Local
from sft_assets.errors import LawBroken, SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.record import Conversation, Message
from sft_assets.scored.rule_hits import asset as asset_module
from sft_assets.scored.rule_hits import rules as rules_module
from sft_assets.scored.rule_hits import search as search_module
from sft_assets.scored.rule_hits.asset import rule_hits, search_all
from sft_assets.scored.rule_hits.rules import (
    CLASSES,
    Example,
    Rule,
    actions,
    chosen,
    decision_version,
    hits_version,
    load,
    rules,
)
from sft_assets.scored.rule_hits.search import Batch, Matcher, RuleHit, hits, search
from tests.made_rows import DISCLAIMER, MIXED, MOJIBAKE, REFUSAL, chat, fill, hash_of, make, query


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.at(tmp_path)


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


def test_an_anchor_changes_the_speed_and_nothing_else() -> None:
    batch = batch_of([e.conversation for rule in rules().values() for e in (*rule.hits, *rule.misses)])
    for rule in rules().values():
        slow = rule.model_copy(update={"anchor": None})
        assert list(search([Matcher(slow)], batch)) == list(search([Matcher(rule)], batch)), rule.name


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
    "Thai": "ฉันเสียใจที่ได้ยินเช่นนั้น วันนี้อากาศดี พรุ่งนี้ฝนอาจจะตก เราจะไปเดินเล่นในสวนสาธารณะกับเพื่อน แล้วกินข้าวด้วยกันที่ร้านอาหารเล็กๆ "
    "ใกล้แม่น้ำ หลังจากนั้นเราจะกลับบ้านและอ่านหนังสือก่อนนอน แม่ของฉันทำขนมอร่อยมาก พ่อชอบดื่มกาแฟตอนเช้า",
    "Chinese": "很遗憾听到这个消息。作为一名医生，我建议您多喝水。模型的语言很优美。",
    "Japanese": "それは残念です。今日はとても良い天気ですね。",
    "Italian": "Mi dispiace. Perché non è venuto? Città, università, più caffè: è così.",
    "Dutch": "Het spijt me dat te horen. Een reünie in Curaçao, geïnteresseerd?",
    "Swedish": "Jag är ledsen att höra det. Åsa åker till Österåker på söndag.",
    "Czech": "To je mi líto. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Ukrainian": "Мені шкода це чути. Їжак їсть ягоди біля ґанку.",
    "Persian": "از شنیدن این متأسفم. می‌خواهم به خانه بروم.",
    "Bengali": "এটা শুনে আমি দুঃখিত। আজ আবহাওয়া খুব ভালো।",
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


HARD += [
    "```js\n",
    "```python\n",
    "```json\n{",
    "1 + 1 = ",
    "1+",
    "12 apples + ",
    "1,000",
    "1.000 = ",
    "Human: a\n",
    "User: a\nAI:",
]
HARD += [
    "\nInstruction: a b\n",
    "Output: ",
    "Task: a\n",
    '{"a":',
    "[[",
    "((",
    "1.\n",
    "a:\n",
    "#",
    "... ",
    "- a\n",
    "fuck ",
    "<|user|>",
]
HARD += [
    "an ai like ",
    "i am an a a ",
    "[your name ",
    "you are a worthless ",
    "Question: ",
    "<|",
    "你好 ",
    "que no la ",
    "int a[(",
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", HARD, ids=repr)
def test_no_text_takes_a_rule_more_than_linear_time(piece: str) -> None:
    """Quadratic time would be minutes here, or hours."""
    long = piece * (300_000 // len(piece))
    for start in ("", "I'm sorry, but as an AI language model, \n```\n"):
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
        (yaml.safe_dump([{**GOOD, "name": "theme"}]), "rule theme: a class has that name"),
    ],
)
def test_a_bad_rule_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "theme.yaml").write_text(text, "utf-8")
    with pytest.raises(SftError, match=said):
        load(tmp_path, ["theme"])


def test_a_rule_file_that_has_no_place_in_the_order_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("theme", "more"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump([{**GOOD, "name": f"of_{name}"}]), "utf-8")
    found = load(tmp_path, ["theme", "more"])
    assert [(rule.name, rule.class_name) for rule in found] == [("of_theme", "theme"), ("of_more", "more")]
    with pytest.raises(SftError, match=r"more\.yaml.*CLASSES"):
        load(tmp_path, ["theme"])


def test_a_rule_is_of_the_class_that_its_file_is_called() -> None:
    assert {rule.class_name for rule in rules().values()} == set(CLASSES)
    assert rules()["mojibake"].class_name == "text_faults"
    order = [CLASSES.index(rule.class_name) for rule in rules().values()]
    assert order == sorted(order)


def test_a_rules_own_action_counts_before_that_of_its_class_and_that_before_the_default() -> None:
    own, mine = actions({}), actions({"refusals": "review", "refusal": "signal", "statistics": "drop"})
    assert list(own) == list(mine) == list(rules())
    assert (own["refusal"], own["missing_context"], own["word_count"]) == ("drop", "drop", "signal")
    assert (mine["refusal"], mine["missing_context"], mine["word_count"]) == ("signal", "review", "drop")


def test_rules_and_whole_classes_are_left_out() -> None:
    left = {rule.name for rule in chosen(["refusals", "mojibake"])}
    assert set(rules()) - left == {"refusal", "missing_context", "mojibake"}


@pytest.mark.parametrize("name", ["toxicity", "statistics"])
def test_what_is_only_counted_drops_nothing_by_itself(name: str) -> None:
    assert {rule.action for rule in rules().values() if rule.class_name == name} == {"signal"}


def test_the_versions_follow_what_each_asset_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = hits_version(), decision_version()
    rule = rules()["cut_off"]

    def versions_with(**changes: Any) -> tuple[bool, bool]:
        changed = {**rules(), "cut_off": rule.model_copy(update=changes)}
        with monkeypatch.context() as patch:
            patch.setattr(rules_module, "rules", lambda: changed)
            return hits_version() != before[0], decision_version() != before[1]

    assert versions_with() == (False, False)
    assert versions_with(action="drop") == (True, False)
    assert versions_with(class_name="other") == (True, False)
    assert versions_with(why="Another sentence for people.") == (False, True)
    assert versions_with(misses=[Example(answer="more")]) == (False, False)
    assert versions_with(params={"min_line": 40}) == (True, False)
    assert versions_with(where="answer") == (True, False)


@pytest.mark.parametrize("text", ["Use the Qwen tokenizer", "I am Gemini by birth sign", "Claude Monet", "Use Qwen tokenizer"])
def test_a_name_that_a_model_has_too_is_no_identity(text: str) -> None:
    for conversation in (chat("Who was it?", text), chat(text, f"{text}, they said.")):
        assert {rules()[name].class_name for name in names(conversation)} & {"identity", "refusals"} == set()


# ------------------------------------------------------------------------------------------------------------- searching


def test_a_hit_names_turn_span_and_matched_text() -> None:
    conversation = chat("Hi", "Hello", "Where?", MOJIBAKE)
    assert hits(rules().values(), conversation) == [RuleHit("mojibake", 4, 7, 9, "Ã©")]
    assert MOJIBAKE[7:9] == "Ã©"


def test_matched_text_is_cut_at_200_characters() -> None:
    (hit,) = hits([rules()["very_long_line"]], chat("Encode it.", "x" * 6000 + "."))
    assert (hit.start, hit.stop, len(hit.matched)) == (0, 6001, 200)


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
    (hit,) = hits(chosen(["statistics"]), Conversation(turns, tools='[{"name":"clock"}]'))
    assert hit == RuleHit("unknown_tool", 2, calls.index('"weather"'), calls.index('"weather"') + 9, '"weather"')


def test_conversations_of_a_batch_do_not_mix() -> None:
    matchers = [Matcher(rule) for rule in rules().values()]
    found = sorted(search(matchers, batch_of(MIXED)))
    assert found == sorted((i, hit) for i, c in enumerate(MIXED) for hit in hits(rules().values(), c))
    assert {i for i, _ in found} == {0, 3, 4, 6}


# ------------------------------------------------------------------------------------------------------------- the asset

CLEAN, REFUSED, BAD_LETTERS = chat("Where?", "In Rome."), chat("Help!", REFUSAL), chat("Which?", MOJIBAKE)


def rows_of(folder: Folder) -> list[tuple[Any, ...]]:
    sql = "SELECT content_hash, rule, class, action, about_answers, turn, start, stop, matched FROM rule_hits ORDER BY ALL"
    return [(row[0].bytes, *row[1:]) for row in query(folder, sql)]


def test_the_table_says_what_was_found_where_and_what_that_does(folder: Folder) -> None:
    fill(folder, [CLEAN, REFUSED, BAD_LETTERS])
    (version,) = make(folder, rule_hits)
    assert set(rows_of(folder)) == {
        (hash_of(REFUSED), "refusal", "refusals", "drop", True, 2, 0, 32, "I'm sorry, but I can't help with"),
        (hash_of(BAD_LETTERS), "mojibake", "text_faults", "review", False, 2, 7, 9, "Ã©"),
    }
    assert version.report["hits"] == {"mojibake": 1, "refusal": 1}
    assert (version.report["contents"], version.report["rules"]) == (3, len(rules()))


def test_the_recipe_says_what_rules_and_classes_do(folder: Folder) -> None:
    fill(folder, [REFUSED, BAD_LETTERS])
    make(folder, rule_hits, rule_hits={"actions": {"refusal": "signal", "text_faults": "drop"}})
    assert {row[1:4] for row in rows_of(folder)} == {("refusal", "refusals", "signal"), ("mojibake", "text_faults", "drop")}


def test_a_skipped_rule_or_class_is_not_looked_for(folder: Folder) -> None:
    fill(folder, [REFUSED, BAD_LETTERS])
    (version,) = make(folder, rule_hits, rule_hits={"skip": ["refusals", "cut_off"]})
    assert version.report["rules"] == len(rules()) - 3
    assert {row[1] for row in rows_of(folder)} == {"mojibake"}


@pytest.mark.parametrize("section", [{"skip": ["mojibak"]}, {"actions": {"mojibak": "drop"}}], ids=["skip", "actions"])
def test_an_unknown_name_is_answered_with_the_right_one(folder: Folder, section: dict[str, Any]) -> None:
    fill(folder, [CLEAN])
    place = f"rule_hits.{next(iter(section))}"
    with pytest.raises(SftError, match=rf"recipe\.yaml: {place}: there is no rule 'mojibak'; did you mean 'mojibake'"):
        make(folder, rule_hits, rule_hits=section)


def test_rows_of_equal_content_share_their_hits(folder: Folder) -> None:
    fill(folder, [dataclasses.replace(REFUSED, path=path) for path in ("first", "second")])
    (version,) = make(folder, rule_hits)
    assert (version.report["contents"], version.report["kept"]) == (1, 1)


def test_no_rows_are_no_trouble(folder: Folder) -> None:
    fill(folder, [])
    (version,) = make(folder, rule_hits)
    assert (version.report["contents"], version.report["hits"], rows_of(folder)) == (0, {}, [])


@pytest.mark.parametrize(
    ("change", "law"), [({"start": 3}, "hits_found_again"), ({"turn": 1}, "hits_found_again"), ({}, "one_hit_a_turn")]
)
def test_a_hit_that_is_not_in_the_text_is_not_stored(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], law: str
) -> None:
    def wrong(matchers: Iterable[Matcher], batch: Batch) -> Iterable[tuple[int, RuleHit]]:
        for row, hit in search(matchers, batch):
            yield row, hit
            yield row, hit._replace(rule="cut_off" if change else hit.rule)._replace(**change)

    fill(folder, [REFUSED])
    monkeypatch.setattr(search_module, "search", wrong)
    with pytest.raises(LawBroken, match=law):
        make(folder, rule_hits)


# ----------------------------------------------------------------------------------------------------------- processes

FAULTY = [
    REFUSAL,
    MOJIBAKE,
    DISCLAIMER,
    "In Rome.",
    "That is 12 + 30 = 43.",
    "Rome.\n\nHuman: And Spain?\n\nAssistant: Madrid.",
]


def many(n: int) -> list[Conversation]:
    return [chat(f"Question {i}?", f"{FAULTY[i % len(FAULTY)]} ({i})" if i % 3 else FAULTY[i % len(FAULTY)]) for i in range(n)]


def batches_of(conversations: Sequence[Conversation], rows: int) -> Iterator[pa.RecordBatch]:
    for at in range(0, len(conversations), rows):
        part = conversations[at : at + rows]
        columns = {
            "content_hash": uuids(map(hash_of, part)),
            "messages": messages_array([c.messages for c in part]),
            "tools": pa.array([c.tools for c in part], pa.string()),
        }
        yield pa.RecordBatch.from_pydict(columns)


def found_by(processes: int) -> list[dict[str, Any]]:
    results = list(search_all(list(rules().values()), batches_of(many(400), 40), 10**9, Local(processes)))
    assert sum(n for n, _ in results) == 400
    return [hit for _, found in results for hit in found.to_pylist()]


def test_any_number_of_processes_finds_the_same_in_the_same_order() -> None:
    alone = found_by(1)
    assert {hit["rule"] for hit in alone} >= {"refusal", "mojibake", "ai_disclaimer", "wrong_arithmetic", "second_turn"}
    assert found_by(3) == alone


def test_the_table_is_the_same_whether_or_not_processes_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for enough in (10**9, 1):
        monkeypatch.setattr(local, "ENOUGH", enough)
        monkeypatch.setattr(asset_module, "BATCH", 64)
        folder = Folder.at(tmp_path / str(enough))
        folder.root.mkdir()
        fill(folder, many(400))
        versions += make(folder, rule_hits, engine={"threads": 2})
    assert versions[0].data_version == versions[1].data_version
    assert versions[0].report == versions[1].report


def test_few_rows_start_no_process(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(local, "Process", no)
    fill(folder, [CLEAN, REFUSED])
    (version,) = make(folder, rule_hits)
    assert version.report["hits"] == {"refusal": 1}


def test_progress_is_told_by_rows(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ENOUGH", 1)
    monkeypatch.setattr(asset_module, "BATCH", 32)
    fill(folder, many(128))
    told: list[tuple[str, int, int | None]] = []
    with told_to(lambda *step: told.append(step), lambda _: None):
        materialize(rule_hits, folder, Recipe.model_validate({"engine": {"threads": 2}}), {}, again=True)
    assert [step for step in told if step[0] == "rule_hits"] == [("rule_hits", n, 128) for n in (32, 64, 96, 128)]


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from tests.test_rule_hits import found_by
print(len(found_by(2)))
"""
IN_A_CHILD = """
import multiprocessing, sys
sys.path[:0] = {path!r}
def job():
    from tests.test_rule_hits import found_by
    print(len(found_by(2)))
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=job, daemon=True)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("script", [SCRIPT, IN_A_CHILD], ids=["script without a guard", "daemonic child of multiprocessing"])
def test_processes_start_wherever_the_asset_runs(tmp_path: Path, script: str) -> None:
    path, here = tmp_path / "script.py", tmp_path / "here"
    path.write_text(script.format(path=[str(Path(__file__).parents[1])]), "utf-8")
    here.mkdir()
    (here / "yaml.py").write_text("raise RuntimeError('a file of the working folder was imported')", "utf-8")
    done = subprocess.run([sys.executable, path], cwd=here, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(len(found_by(1))), done.stderr
