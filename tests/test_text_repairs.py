"""Repairs of texts: what they mend, what they leave alone, what the log says, and that the rules see the same faults."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

from sft_assets.combined.repairs import Edit
from sft_assets.combined.text_repairs import repair_text, repair_turns
from sft_assets.masks import mask
from sft_assets.recipe import Repair
from sft_assets.record import Message
from sft_assets.scored.rule_hits.rules import Example, rules
from sft_assets.scored.rule_hits.search import hits
from sft_assets.text.faults import FINDERS

KINDS: tuple[Repair, ...] = get_args(Repair)
FENCE = "```\n{}\n```"


def repaired(text: str, *kinds: Repair) -> str:
    return repair_text(text, kinds or KINDS)[0]


def turns(*texts: str) -> list[Message]:
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


def edits_of(messages: list[Message], *kinds: Repair) -> list[Edit]:
    edits: list[Edit] = []
    repair_turns(messages, kinds or KINDS, "turn", edits)
    return edits


# ------------------------------------------------------------------------------------------------------------ each kind


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("a cafÃ© in Paris", "a café in Paris"),
        ("it isnâ€™t so", "it isn’t so"),
        ("â€œyesâ€\x9d â€“ no", "“yes” – no"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("æ—¥æœ¬èªž", "日本語"),
        ("ðŸ˜€", "😀"),
        ("MÃ\u00adstico", "Místico"),
        ("Ã¼ber 5 â‚¬ 😀 日本語", "über 5 € 😀 日本語"),
        ("cafÃƒÂ©", "café"),  # twice
        ("été\ncafÃ©\nété", "été\ncafé\nété"),
    ],
)
def test_mojibake_is_decoded_as_it_was_meant(faulty: str, right: str) -> None:
    assert repaired(faulty, "mojibake") == right


@pytest.mark.parametrize(
    "text",
    [
        "été à Évreux, naïve, Ã, A Ã B, São Ã é",
        "NÃO, “IRMÃ”, «MAÇû, CÂMARA, ROMÂNIA, MAÇÃ",
        "日本語 中文 한국어 العربية עברית हिन्दी Ελλάδα Москва",
        "👩‍👩‍👧‍👦 😀 ½ ™ © € “quoted” – …",
        "±20 °C, 5 µm, £5",
        FENCE.format('fix = {"Ã©": "é"}'),
        "Replace `Ã©` by `é`.",
        "caf\ufffd",  # lost, and not to be guessed
        "UTF-8 read as Latin-1 turns é into Ã©.",
    ],
)
def test_text_that_is_no_mojibake_is_left_alone(text: str) -> None:
    assert repaired(text) == text


def test_a_line_that_can_only_partly_be_mended_without_harm_is_left_alone() -> None:
    assert repaired("“IRMÃ” cafÃ©", "mojibake") == "“IRMÃ” cafÃ©"
    assert repaired("“IRMÃ”\ncafÃ©", "mojibake") == "“IRMÃ”\ncafé"


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("Salt &amp; pepper", "Salt & pepper"),
        ("&quot;I didn&#39;t&quot;, caf&eacute; &ndash; &#xE9;", '"I didn\'t", café – é'),
        ("5 &amp;lt; 7 &amp;amp;amp; on", "5 < 7 & on"),
        ("20&nbsp;&deg;C", "20\u00a0°C"),
        (f"a &amp; b\n{FENCE.format('a &amp; b')}\n`&amp;` a &amp; b", f"a & b\n{FENCE.format('a &amp; b')}\n`&amp;` a & b"),
    ],
)
def test_entities_become_their_characters(faulty: str, right: str) -> None:
    assert repaired(faulty, "html_entities") == right


@pytest.mark.parametrize(
    "text",
    [
        "AT&T; R&D &amp",
        "int *p = &sum; int *q = &copy; r = &alpha;",
        "<p>Salt &amp; pepper</p>",
        "&lt;b&gt;bold&lt;/b&gt; &amp;",
        "An entity: &amp;",
        '{"title": "&quot;"}',
        "&#0; &#xD800; &#x110000; &nosuch;",
    ],
)
def test_a_text_about_html_and_what_is_no_entity_are_left_alone(text: str) -> None:
    assert repaired(text) == text


def test_windows_and_old_mac_line_breaks_become_newlines_in_code_too() -> None:
    assert repaired("a\r\nb\rc\n```\r\nx\r\n```") == "a\nb\nc\n```\nx\n```"


def test_characters_without_width_go_where_they_do_nothing() -> None:
    assert repaired("z\u200be\ufeffr\u2060o w\u00adidth") == "zero width"
    assert repaired("auf\u200clegen, a \u200djoiner, 日\u200b本") == "auflegen, a joiner, 日本"
    assert repaired("20\u200e €\u200f") == "20 €"
    assert repaired(FENCE.format("x\u200b = 1")) == FENCE.format("x = 1")


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 🏃🏽\u200d♀\ufe0f",
        "می\u200cخواهم نمی\u200cدانم",
        "क्\u200dष क्\u200cष ക്\u200d",
        "ភាសា\u200bខ្មែរ ภาษา\u200bไทย",
        "שלום!\u200e abc\u200f",
    ],
)
def test_characters_without_width_stay_where_they_do_something(text: str) -> None:
    assert repaired(text) == text


def test_a_soft_hyphen_that_is_half_a_letter_waits_for_its_own_repair() -> None:
    assert repaired("MÃ\u00adstico", "zero_width") == "MÃ\u00adstico"
    assert repaired("MÃ\u00adstico", "zero_width", "mojibake") == "Místico"


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("access = \u202euser\u202c", "access = user"),
        ("a \u2066b\u2069 \u202ac\u202c", "a b c"),
        ("\u202bשלום\u202c \u2067מה\u2069", "\u202bשלום\u202c \u2067מה\u2069"),
        ("\u202bנכון\u202c \u202eabc\u202c", "\u202bנכון\u202c abc"),
        # the end that belongs to the override goes with it, that of the embedding stays
        ("\u202bנכון \u202eabc\u202c ג\u202c", "\u202bנכון abc ג\u202c"),
        ("\u2067ג \u202eabc\u2069\u202c", "\u2067ג abc\u2069\u202c"),
        ("ג \u202eabc\n\u202bד\u202c", "ג abc\n\u202bד\u202c"),
    ],
)
def test_what_turns_the_direction_of_writing_goes_where_nothing_needs_it(faulty: str, right: str) -> None:
    assert repaired(faulty, "bidi") == right


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        (r"Two ways.\n\nThe first.\nThe second.", "Two ways.\n\nThe first.\nThe second."),
        (r"You need:\n- flour\n- eggs", "You need:\n- flour\n- eggs"),
        (r"Steps:\n1. Mix.\r\n2. Bake.", "Steps:\n1. Mix.\n2. Bake."),
        (r"\"No.\"\n\nHe left.", '\\"No.\\"\n\nHe left.'),
    ],
)
def test_escaped_newlines_in_prose_become_newlines(faulty: str, right: str) -> None:
    assert repaired(faulty, "escaped_newlines") == right


@pytest.mark.parametrize(
    "text",
    [
        r"\nabla",
        r"The gradient \nabla f, \nu and \neq.\n\nIt is zero.",
        r"$x$\n\ny",
        r"C:\new",
        r"It is in C:\new\n\nand there.",
        r"print('a\nb')",
        r"print('a\n\nb')",
        r"Join them with '\n\n' and stop.",
        r"Put a \n\n between them.",
        r"[^\n]+ and \d+\n\n",
        r'{"a": "b\n\nc"}',
        r"Use `\n\n` there.",
        "one line\nand a written \\n\\n",
        r"One line break.\nNo layout.",
    ],
)
def test_a_backslash_and_an_n_that_mean_themselves_are_left_alone(text: str) -> None:
    assert repaired(text) == text


# ------------------------------------------------------------------------------------------------------------ together


def test_only_the_kinds_that_are_asked_for_are_repaired() -> None:
    text = "cafÃ© &amp; bar\r\nze\u200bro\u202e"
    assert repair_text(text, ()) == (text, [])
    assert repaired(text, "crlf") == "cafÃ© &amp; bar\nze\u200bro\u202e"
    assert repaired(text) == "café & bar\nzero"


def test_what_one_repair_uncovers_another_mends() -> None:
    assert repaired("&a\u200bmp; caf&#195;&#169; &#8203;&#13;&#10;.") == "& café \n."


def nested(depth: int) -> str:
    """An ampersand, escaped by an entity with a character without width in it, which is escaped in turn ..."""
    return f"&a{nested(depth - 1)}#8203;mp;" if depth else "&"


def test_a_fault_within_a_fault_is_mended_unless_somebody_must_have_built_it() -> None:
    assert repaired(nested(1)) == repaired(nested(3)) == "&"
    assert repaired(nested(50)) == nested(50)


PIECES = [
    "&", "amp;", "#8203;", "&lt;", "b&gt;", "Ã", "©", "â€™", "\u00ad", "\u200b", "\u200d", "\u202e", "\u202c", "\u2067",
    "\u2069", "\r", "\n", "\\n", "\\r", "- ", "`", "```\n", "é", "ש", "👩", "क", "a", " ", ".", '"', "html", "$",
]  # fmt: skip
texts = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))


@settings(max_examples=500)
@given(texts, st.sets(st.sampled_from(KINDS)))
def test_to_repair_twice_is_to_repair_once(text: str, kinds: set[Repair]) -> None:
    once, faults = repair_text(text, kinds)
    assert repair_text(once, kinds) == (once, [])
    assert bool(faults) == (once != text)
    assert {fault.kind for fault in faults} <= kinds


@settings(max_examples=300)
@given(texts)
def test_no_letter_of_plain_text_is_lost(text: str) -> None:
    for letter in "aéש👩क":
        assert repaired(text, "zero_width", "bidi", "crlf").count(letter) == text.count(letter)


@given(st.text(alphabet=st.characters(max_codepoint=127, exclude_characters="&\r\\")))
def test_clean_ascii_is_left_alone(text: str) -> None:
    assert repair_text(text, KINDS) == (text, [])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", [*PIECES, "&amp;", "&#38;", "<a ", "\\n\\n", "Ã©", "Ã© ", "\u202e\u202c", "&a\u200bmp;"])
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    """Quadratic time would be hours here."""
    repair_text(piece * (200_000 // len(piece)), KINDS)


def test_the_order_of_repairs_is_fixed() -> None:
    assert list(FINDERS) == ["html_entities", "mojibake", "bidi", "zero_width", "crlf", "escaped_newlines"]
    assert set(FINDERS) == set(KINDS)


# ---------------------------------------------------------------------------------------------------------- turns, the log


def test_a_repair_is_logged_with_kind_place_count_and_the_first() -> None:
    edits: list[Edit] = []
    messages = turns("Hi", "Salt &amp; pepper &amp; the cafÃ©")
    assert repair_turns(messages, KINDS, "turn", edits) == turns("Hi", "Salt & pepper & the café")
    assert [(edit.what, json.loads(edit.before), edit.after) for edit in edits] == [
        (
            "repaired_html_entities",
            {"place": "turn 2", "count": 2, "first": {"at": 5, "before": "Salt &amp; pepper &amp; the ca"}},
            "Salt & pepper & the cafÃ©",
        ),
        (
            "repaired_mojibake",
            {"place": "turn 2", "count": 1, "first": {"at": 23, "before": "t & pepper & the cafÃ©"}},
            "t & pepper & the café",
        ),
    ]


def test_reasoning_is_repaired_and_tool_calls_are_not() -> None:
    turn = Message("assistant", "Yes.", tool_calls='[{"a": "&amp;"}]', reasoning="Is it a\r\nor b?")
    edits: list[Edit] = []
    (mended,) = repair_turns([turn], KINDS, "rejected turn", edits)
    assert mended == turn._replace(reasoning="Is it a\nor b?")
    assert [json.loads(edit.before)["place"] for edit in edits] == ["rejected turn 1 reasoning"]


def test_what_a_tool_returns_stays_as_it_is() -> None:
    messages = [Message("user", "Search!"), Message("tool", "Salt &amp; pepper\r\n")]
    assert repair_turns(messages, KINDS, "turn", []) == messages


def test_a_conversation_about_the_fault_keeps_it() -> None:
    messages = turns("How do I write < in HTML?", "Write &lt; there.\r\n")
    edits: list[Edit] = []
    assert repair_turns(messages, KINDS, "turn", edits) == turns("How do I write < in HTML?", "Write &lt; there.\n")
    assert [edit.what for edit in edits] == ["repaired_crlf"]
    rejected = turns("", "Write &lt; there.")[1:]
    assert repair_turns(rejected, KINDS, "rejected turn", [], context=messages) == rejected


def test_a_turn_without_fault_is_the_same_object() -> None:
    messages = turns("Hi", "caf\u00e9")
    assert all(a is b for a, b in zip(repair_turns(messages, KINDS, "turn", []), messages, strict=True))


@pytest.mark.parametrize("hidden", ["", "\u200b", "\u00ad"])
def test_the_log_holds_no_personal_data(hidden: str) -> None:
    mail = f"jane{hidden}.doe@mailbox{hidden}-post.net"
    edits = edits_of(turns(f"a\r\n&amp; my mail is {mail}, really &amp; truly", "Thanks.\r\nBye."))
    assert len(edits) == 3 + bool(hidden)
    for edit in edits:
        assert "jane" not in edit.before + edit.after
        assert "post" not in edit.before + edit.after
    assert "Bye" in edits[-1].after  # the turn without it


@settings(max_examples=200)
@given(st.text(max_size=60), st.sampled_from(["\r\n", "&amp;", "\u200b", "Ã©"]), st.text(max_size=60))
def test_the_log_is_short(before: str, fault: str, after: str) -> None:
    for edit in edits_of(turns(f"{before * 50}{fault}{after * 50}")):
        assert len(json.loads(edit.before)["first"]["before"]) <= 80
        assert mask(edit.before)[0] == edit.before


# ------------------------------------------------------------------------------------------- the rules see the same faults

RULES: dict[str, Repair] = {
    "zero_width": "zero_width",
    "crlf": "crlf",
    "html_entities": "html_entities",
    "escaped_newlines": "escaped_newlines",
    "bidi_controls": "bidi",
}
EXAMPLES = [example for rule in rules().values() for example in (*rule.hits, *rule.misses)]


def changes(example: Example, kind: Repair) -> bool:
    return bool(edits_of(example.conversation.messages, kind))


def hit(name: str, messages: list[Message]) -> bool:
    conversation = Example(answer="").conversation
    conversation.messages = messages
    return bool(hits([rules()[name]], conversation))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_hits_what_its_repair_changes_and_nothing_else(name: str) -> None:
    for example in EXAMPLES:
        messages = example.conversation.messages
        assert hit(name, messages) == changes(example, RULES[name]), example
        mended = repair_turns(messages, [RULES[name]], "turn", [])
        assert not hit(name, mended), example


@settings(max_examples=300)
@given(texts, texts)
def test_a_rule_and_its_repair_agree_on_any_text(prompt: str, answer: str) -> None:
    for name, kind in RULES.items():
        assert hit(name, turns(prompt, answer)) == bool(edits_of(turns(prompt, answer), kind))


def test_mojibake_that_is_mended_was_hit_and_what_is_hit_no_more_is_mended() -> None:
    """The rule marks more: characters that are lost (U+FFFD), and code, in which nothing is mended."""
    for example in EXAMPLES:
        messages = example.conversation.messages
        mended = repair_turns(messages, ["mojibake"], "turn", [])
        if mended != messages:
            assert hit("mojibake", messages), example
            assert not hit("mojibake", mended), example
    left = [e for e in rules()["mojibake"].hits if not changes(e, "mojibake")]
    assert [e.answer for e in left] == ["caf\ufffd"]
    assert hit("mojibake", turns("Hi", FENCE.format("cafÃ©")))


# ---------------------------------------------------------------------------------------------------------- public data


def corpus(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    return iter(json.loads(gzip.decompress(data) if path.suffix == ".gz" else data))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("instruct/chatdoctor5k.json.gz", {"repaired_mojibake": 7}),
        ("instruct/gpteacher_codegen_instruct.json", {"repaired_mojibake": 1, "repaired_crlf": 1}),
        ("instruct/gpteacher_roleplay_deduped.json", {"repaired_escaped_newlines": 2}),
        ("instruct/alpaca_zh_demo.json", {}),
        ("instruct/evol_teacher_code_2k.json", {}),
        ("instruct/gsm8k_train_alpaca.json.gz", {"repaired_zero_width": 1}),
    ],
)
def test_repairs_of_public_data_are_few_and_right(name: str, expected: dict[str, int]) -> None:
    """All of them were read."""
    found: dict[str, int] = {}
    for record in corpus(CORPUS / name):
        for edit in edits_of(turns(*(text for text in record.values() if isinstance(text, str)))):
            found[edit.what] = found.get(edit.what, 0) + 1
    assert found == expected
