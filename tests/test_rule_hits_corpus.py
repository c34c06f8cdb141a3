"""The rules measured on public data: what is known to be wrong there is found, and what drops is rare and was read.

The table of all hits: `.venv/bin/python -m tests.speed.rules hits`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from functools import cache

import pyarrow as pa
import pytest

from sft_assets import formats
from sft_assets.arrow import messages_array
from sft_assets.record import BadRecord, Conversation
from sft_assets.scored.rule_hits.rules import Rule, rules
from sft_assets.scored.rule_hits.search import Batch, Matcher, RuleHit, search
from tests.conftest import CORPUS

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here")

NO_ROWS = ("llamafactory_dataset_info.json",)


@cache
def conversations(name: str) -> list[Conversation]:
    """The rows of a file of the corpus, and each losing answer as a row of its own."""
    data = (CORPUS / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    records = [json.loads(line) for line in text.splitlines() if line.strip()] if ".jsonl" in name else json.loads(text)
    rows = []
    for record in records:
        try:
            rows += formats.read(formats.detect(record) or "", record)
        except BadRecord:
            continue
    losing = [Conversation(row.messages[:-1] + row.rejected, tools=row.tools) for row in rows if row.rejected]
    return rows + losing


def files() -> list[str]:
    """The files of the corpus that have rows."""
    found = [p for folder in ("instruct", "preference") for p in sorted((CORPUS / folder).iterdir())]
    return [str(p.relative_to(CORPUS)) for p in found if p.name not in NO_ROWS]


def found_in(chosen: Iterable[Rule], name: str) -> list[tuple[int, RuleHit]]:
    rows = conversations(name)
    batch = Batch(messages_array([c.messages for c in rows]), pa.array([c.tools for c in rows], pa.string()))
    return list(search(map(Matcher, chosen), batch))


def rows_hit(name: str, *names: str) -> int:
    return len({row for row, _ in found_in([rules()[rule] for rule in names], name)})


# --------------------------------------------------------------------------------------------------------- what is found

CALLS_ITSELF_AN_AI = re.compile(
    r"\b(?:as|i am|i['’]m|like me,?|myself,?) an? (?:[\w-]+ )?(?:ai|artificial intelligence)\b(?! (?:researcher|engineer))"
    r"|\bai assistant, much like myself|\Aai assistant:|\A\W*ai assistant:|language model,? i\b",
    re.IGNORECASE,
)


def test_every_answer_that_calls_itself_an_ai_is_found() -> None:
    name = "instruct/alpaca_en_demo.json"
    expected = {i for i, c in enumerate(conversations(name)) if CALLS_ITSELF_AN_AI.search(c.messages[-1].content)}
    assert len(expected) == 29  # all answers with "AI", "language model" or "chatbot" were read for others
    found = {row for row, _ in found_in([r for r in rules().values() if r.class_name in ("identity", "refusals")], name)}
    assert expected <= found


@pytest.mark.parametrize(
    ("name", "names", "least"),
    [
        ("instruct/fastchat_dummy_conversation.json", ["other_assistant_identity"], 450),
        ("instruct/identity.json", ["unfilled_template"], 85),
        ("instruct/alpaca_zh_demo.json", ["refusal", "missing_context"], 15),
        ("instruct/evol_teacher_code_2k.json", ["empty_answer"], 2),
        ("instruct/evol_teacher_code_2k.json", ["invalid_python"], 15),
        ("instruct/gsm8k_train_alpaca.json.gz", ["wrong_arithmetic"], 15),
        ("instruct/chatdoctor5k.json.gz", ["mojibake"], 7),
        ("instruct/alpaca_zh_demo.json", ["language_mismatch"], 4),
        ("instruct/mllm_demo.json", ["image_placeholder"], 6),
    ],
)
def test_known_faults_of_public_data_are_found(name: str, names: list[str], least: int) -> None:
    assert rows_hit(name, *names) >= least


def test_most_answers_of_another_rows_language_are_found() -> None:
    """The others are short, or their prompt speaks of a language."""
    english, chinese = (conversations(f"instruct/alpaca_{language}_demo.json") for language in ("en", "zh"))
    for asked, answered in ((english, chinese), (chinese, english)):
        rows = [Conversation([a.messages[0], b.messages[-1]]) for a, b in zip(asked, answered, strict=False)]
        batch = Batch(messages_array([c.messages for c in rows]), pa.nulls(len(rows), pa.string()))
        assert len(list(search([Matcher(rules()["language_mismatch"])], batch))) > 0.6 * len(rows)


# ---------------------------------------------------------------------------------------------------- what is left alone


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("instruct/alpaca_en_demo.json", 10),
        ("instruct/alpaca_zh_demo.json", 25),
        ("instruct/evol_teacher_code_2k.json", 2),
        ("instruct/chatdoctor5k.json.gz", 0),
        ("instruct/gpteacher_codegen_instruct.json", 0),
        ("instruct/gpteacher_roleplay_deduped.json", 0),
        ("instruct/glaive_toolcall_en_demo.json", 0),
        ("instruct/gsm8k_train_alpaca.json.gz", 0),
        ("instruct/rasbt_instruction_data.json", 0),
    ],
)
def test_rules_that_drop_are_rare_on_public_data(name: str, most: int) -> None:
    """All hits were read: they are refusals, empty answers and answers that miss their text."""
    assert rows_hit(name, *(rule.name for rule in rules().values() if rule.action == "drop")) <= most


@pytest.mark.parametrize(
    ("name", "rule", "most"),
    [
        ("instruct/gsm8k_train_alpaca.json.gz", "wrong_arithmetic", 20),
        ("instruct/gpteacher_codegen_instruct.json", "wrong_arithmetic", 2),
        ("instruct/gpteacher_codegen_instruct.json", "invalid_python", 15),
        ("instruct/gpteacher_codegen_instruct.json", "language_mismatch", 0),
        ("instruct/chatdoctor5k.json.gz", "language_mismatch", 0),
        ("instruct/gpteacher_roleplay_deduped.json", "ai_disclaimer", 5),
        ("instruct/gpteacher_roleplay_deduped.json", "second_turn", 0),
        ("instruct/oasst_en_100_tree.jsonl", "repetition", 0),
    ],
)
def test_rules_that_ask_for_review_are_rare_where_all_is_well(name: str, rule: str, most: int) -> None:
    assert rows_hit(name, rule) <= most


def test_anchors_lose_nothing_on_public_data() -> None:
    for name in ("instruct/alpaca_zh_demo.json", "preference/kto_en_demo.json", "preference/dpo_en_demo.json.gz"):
        slow = [rule.model_copy(update={"anchor": None, "beyond_ascii": False}) for rule in rules().values()]
        assert found_in(rules().values(), name) == found_in(slow, name)
