"""Masks: what is found and what is not, as masks.yaml says, and the laws of masking."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.resources import files
from typing import Any, get_args

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sft_assets.combined.masking import DEEPEST, mask_json, mask_turns
from sft_assets.combined.repairs import Edit
from sft_assets.masks import KINDS, mask
from sft_assets.recipe import MaskKind
from sft_assets.record import BadRecord, Message

ENTRIES: list[dict[str, Any]] = yaml.safe_load(files("sft_assets").joinpath("masks.yaml").read_text("utf-8"))
HITS = [(e["kind"], text) for e in ENTRIES for text in e["hits"]]
MISSES = [(e["kind"], text) for e in ENTRIES for text in e["misses"]]


@pytest.mark.parametrize(("kind", "text"), HITS)
@pytest.mark.parametrize("around", ["{}", "Here it is: {}.", "({})", '"{}"', "first line\n{}\nlast line", "ключ: {}, 東京"])
def test_every_hit_is_found_whole_wherever_it_stands(kind: str, text: str, around: str) -> None:
    masked, found = mask(around.format(text))
    assert masked == around.format(f"<{kind.upper()}>")
    assert [f.kind for f in found] == [kind]


@pytest.mark.parametrize(("kind", "text"), MISSES)
def test_no_miss_is_touched(kind: str, text: str) -> None:
    for shown in (text, f"Look: {text} !"):
        assert mask(shown) == (shown, [])


def test_every_mask_has_hits_misses_and_a_kind_that_the_recipe_knows() -> None:
    assert {e["kind"] for e in ENTRIES} == set(KINDS) == set(get_args(MaskKind))
    assert all(e["hits"] and e["misses"] for e in ENTRIES)


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 7, a+b@c, 100+200",
        "@property\ndef f(self): ...  # mail@example.com",
        "Version 1.2.3, 2024-01-31 12:30:00, 192.168.0.1, 3.14159265358979",
        "ISBN 978-3-16-148410-0, order 1234-5678-9012-3456",
        "the array [4539, 1488, 0343, 6467]",
        "UUID 9f3c6a10-4539-1488-0343-64670000abcd",
        "sk-learn, gh_pages, hf_hub, xoxo, eyJust, AKIA",
        "ssh -p 22 git@github.com",
        "C# code: var x = +49; y = +1;",
    ],
)
def test_look_alikes_stay(text: str) -> None:
    assert mask(text) == (text, [])


def test_only_the_kinds_that_are_asked_for_are_masked() -> None:
    text = "jane.doe@mailbox-post.net, +44 20 7946 1234"
    assert mask(text, ["email"])[0] == "<EMAIL>, +44 20 7946 1234"
    assert mask(text, ["phone"])[0] == "jane.doe@mailbox-post.net, <PHONE>"
    assert mask(text, []) == (text, [])


def test_a_number_right_behind_another_is_found_too() -> None:
    text = "sk-proj-a8Fk29dLq0ZtY4mNwR7c+44 20 7946 1234"
    assert mask(text)[0] == "<SECRET><PHONE>"


def test_hits_that_overlap_are_one_and_nothing_of_them_is_left() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nowner: jane.doe@mailbox-post.net\nMII\n-----END PRIVATE KEY-----"
    masked, found = mask(f"a {text} b")
    assert masked == "a <SECRET> b"
    assert [(f.start, f.stop) for f in found] == [(2, 2 + len(text))]


def test_a_number_that_fails_its_check_hides_no_other() -> None:
    assert mask("4000 4539 1488 0343 6467")[0] == "4000 <CARD>"


def test_a_private_key_that_is_cut_off_is_masked_as_far_as_it_goes() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy\n" * 5
    assert mask(f"Look:\n{key}")[0].split() == ["Look:", "<SECRET>"]


pieces = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from([text for _, text in HITS + MISSES]),
        st.sampled_from(["@", "+", " ", "-", ".", "<EMAIL>", "<", ">", "4539", "a", "1", "\n", "é", "\\n"]),
    ),
    max_size=8,
).map("".join)


@settings(max_examples=600)
@given(pieces)
@example("jane.doe@mailbox-post.net@mailbox-post.net")
def test_masking_twice_changes_nothing(text: str) -> None:
    once = mask(text)[0]
    assert mask(once) == (once, [])


@settings(max_examples=600)
@given(pieces)
def test_the_spans_and_hashes_say_exactly_what_was_replaced(text: str) -> None:
    masked, found = mask(text)
    rebuilt, end = "", 0
    for hit in found:
        assert end <= hit.start < hit.stop
        assert hashlib.sha256(text[hit.start : hit.stop].encode()).hexdigest() == hit.sha256
        rebuilt += text[end : hit.start] + f"<{hit.kind.upper()}>"
        end = hit.stop
    assert rebuilt + text[end:] == masked


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HITS), min_size=1, max_size=5))
def test_of_hits_in_one_text_none_is_left(hits: list[tuple[str, str]]) -> None:
    masked, found = mask(" ; ".join(text for _, text in hits))
    assert masked == " ; ".join(f"<{kind.upper()}>" for kind, _ in hits)
    assert [f.kind for f in found] == [kind for kind, _ in hits]


@pytest.mark.parametrize(
    "text",
    [
        "a@" + "a-" * 50_000,
        "a." * 50_000 + "@",
        "@".join("a" * 50_000),
        "+1" * 50_000,
        "4539 1488 " * 10_000,
        "-----BEGIN PRIVATE KEY-----" * 200,
        "-----BEGIN " + "A " * 50_000,
        "eyJ" + "a" * 100_000,
        "DE89 3704 0044 " * 7_000,
        "sk-" + "a" * 100_000,
        "+49 (30) " * 10_000,
    ],
    ids=lambda text: text[:24],
)
def test_no_text_makes_a_pattern_slow(text: str) -> None:
    start = time.process_time()
    mask(text)
    assert time.process_time() - start < 3


# ------------------------------------------------------------------------------------------------- in conversations


def masked_json(value: Any) -> tuple[Any, list[dict[str, Any]]]:
    edits: list[Edit] = []
    result = mask_json(value if isinstance(value, str) else json.dumps(value), KINDS, "tools", edits)
    return json.loads(result), [json.loads(e.before) for e in edits]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"to": "jane.doe@mailbox-post.net"}, {"to": "<EMAIL>"}),
        ({"note": "mail\njane.doe@mailbox-post.net"}, {"note": "mail\n<EMAIL>"}),
        ({"note": "call\n+44 20 7946 1234\tnow"}, {"note": "call\n<PHONE>\tnow"}),
        ('{"to": "jane.doe\\u0040mailbox-post.net"}', {"to": "<EMAIL>"}),
        ({"card": 4539148803436467}, {"card": "<CARD>"}),
        ({"jane.doe@mailbox-post.net": 1}, {"<EMAIL>": 1}),
        ({"jane.doe@mailbox-post.net": 1, "john.doe@mailbox-post.net": 2}, {"<EMAIL>": 1, "<EMAIL>'": 2}),
        ([{"arguments": '{"to": "x\\njane.doe@mailbox-post.net"}'}], [{"arguments": '{"to":"x\\n<EMAIL>"}'}]),
        ({"a": [1, 2.5, None, True, {"b": "+44 20 7946 1234"}]}, {"a": [1, 2.5, None, True, {"b": "<PHONE>"}]}),
    ],
)
def test_masked_json_is_json(value: Any, expected: Any) -> None:
    result, entries = masked_json(value)
    assert result == expected
    assert entries
    assert all(set(e) == {"kind", "place", "span", "sha256"} for e in entries)
    assert not any("jane" in e["place"] for e in entries)


def test_json_without_a_hit_stays_byte_for_byte() -> None:
    text = '[ {"name" : "caf\\u00e9", "n": 1.50, "at": "12345678", "x": "a@b"} ]'
    edits: list[Edit] = []
    assert mask_json(text, KINDS, "tools", edits) == text
    assert not edits


def test_what_is_no_json_is_masked_as_it_stands() -> None:
    edits: list[Edit] = []
    assert mask_json('{"to": "jane.doe@mailbox-post.net"', KINDS, "tools", edits) == '{"to": "<EMAIL>"'


@pytest.mark.parametrize("frames", [0, 250])
@pytest.mark.parametrize("hit", ["jane.doe@mailbox-post.net", "a@b"])
def test_json_too_deep_to_be_written_again_is_refused_not_let_through(hit: str, frames: int) -> None:
    """At the same depth whoever asks: a worker has fewer calls around it than a run."""

    def masked(depth: int, frames: int) -> str:
        if frames:
            return masked(depth, frames - 1)
        return mask_json("[" * depth + f'"{hit}"' + "]" * depth, KINDS, "tools", [])

    assert masked(DEEPEST, frames).count("[") == DEEPEST
    with pytest.raises(BadRecord, match="too_deep: tools: too many"):
        masked(DEEPEST + 1, frames)


def test_every_text_of_a_turn_is_masked_and_the_log_says_where() -> None:
    mail = "jane.doe@mailbox-post.net"
    turn = Message("assistant", f"a {mail}", mail, json.dumps([{"function": {"arguments": mail}}]), mail, f"r {mail}", 1.0)
    edits: list[Edit] = []
    plain, masked = mask_turns([Message("user", "Hi"), turn], KINDS, "turn", edits)
    assert plain == Message("user", "Hi")
    assert mail not in repr(masked)
    assert (masked.content, masked.name, masked.tool_call_id, masked.reasoning) == (
        "a <EMAIL>",
        "<EMAIL>",
        "<EMAIL>",
        "r <EMAIL>",
    )
    assert masked.weight == 1.0
    entries = [json.loads(e.before) for e in edits]
    assert {e["place"] for e in entries} == {
        "turn 2", "turn 2 name", "turn 2 tool_call_id", "turn 2 reasoning", "turn 2 tool_calls/0/function/arguments",
    }  # fmt: skip
    assert {e["sha256"] for e in entries} == {hashlib.sha256(mail.encode()).hexdigest()}
    assert mail not in repr(edits)
    assert {e.what for e in edits} == {"masked_email"}
