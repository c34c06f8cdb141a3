"""Likelihood on public data: good answers rank above the same answers cut off, repeated, refused, or given to another prompt.

    .venv/bin/python -m tests.test_corpus_likelihoods [ROWS OF EACH FILE]

prints which share of all 400 pairs (100 of each corruption) is ranked right, by corruption and by file, and fails under 0.9.
END_WEIGHT was chosen on twenty rows of the files of CHOSEN_ON, nothing on the files of UNSEEN. The test takes the first row of
each file: the full count takes minutes.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

from sft_assets import formats
from sft_assets.models import causal
from sft_assets.models.causal import Causal, Question
from sft_assets.record import Conversation, Message
from sft_assets.scored.likelihoods import likelihood
from tests.conftest import CORPUS

CHOSEN_ON = (
    "alpaca_en_demo.json", "alpaca_zh_demo.json", "gpteacher_codegen_instruct.json", "chatdoctor5k.json.gz",
    "rasbt_instruction_data.json",
)  # fmt: skip
UNSEEN = (
    "gpteacher_roleplay_deduped.json", "gsm8k_train_alpaca.json.gz", "evol_teacher_code_2k.json", "alpaca_seed_tasks.jsonl",
    "mlx_wikisql_text_train.jsonl",
)  # fmt: skip
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "As an AI language model, I cannot fulfil this request.",
    "I apologize, but I am unable to assist with that request.",
    "Unfortunately, I do not have enough information to answer this question.",
)
ROWS = 10  # of each file
SHORTEST, LONGEST = 20, 500  # characters: of an answer, and of a row

pytestmark = [
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of public data is not here"),
    pytest.mark.xdist_group("likelihoods"),
]


class Pair(NamedTuple):
    """An answer and what became of it."""

    file: str
    corruption: str
    prompt: str
    good: str
    bad: str


def conversations(file: str) -> Iterator[Conversation]:
    """The rows of a file of the corpus."""
    path = CORPUS / "instruct" / file
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    for record in map(json.loads, text.splitlines()) if ".jsonl" in file else json.loads(text):
        yield from formats.read(formats.detect(record) or "", record)


def pairs(of_each_file: int = ROWS) -> list[Pair]:
    """Four pairs of each row, seeded; a smaller number takes the first rows of a larger one."""
    made = []
    for file in (*CHOSEN_ON, *UNSEEN):
        chance = random.Random(file)
        turns = [one.messages for one in conversations(file) if [m.role for m in one.messages] == ["user", "assistant"]]
        rows = [(question.content, answer.content) for question, answer in turns]
        fitting = sorted({(q, a) for q, a in rows if len(a) >= SHORTEST and len(q) + len(a) <= LONGEST})
        chosen = chance.sample(fitting, 2 * ROWS)
        others = [answer for _, answer in chosen[ROWS:]]
        for number, ((prompt, good), other) in enumerate(zip(chosen[:of_each_file], others, strict=False)):
            sentence = good.rstrip().splitlines()[-1].rpartition(". ")[2]
            bad = {
                "truncated": good[: len(good) // 2].rstrip(),
                "another row's": other,
                "repeated": f"{good}\n{good}" if number % 2 else " ".join([good, *[sentence] * 3]),
                "refused": REFUSALS[number % len(REFUSALS)],
            }
            made += [Pair(file, corruption, prompt, good, answer) for corruption, answer in bad.items()]
    return made


def ranked(some: list[Pair]) -> list[bool]:
    """Of each pair, whether the good answer has the higher likelihood."""
    asked = list(dict.fromkeys((pair.prompt, answer) for pair in some for answer in (pair.good, pair.bad)))
    questions = [Question([Message("user", prompt), Message("assistant", answer)]) for prompt, answer in asked]
    found = {
        asked[index]: likelihood(one.conditional, one.unconditional, one.end)
        for batch in Causal().losses(questions)
        for index, one in batch.losses
    }
    return [found[pair.prompt, pair.good] > found[pair.prompt, pair.bad] for pair in some]


def test_good_answers_rank_above_corrupted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal, "cores", lambda: 1)  # other tests run beside this one
    some = pairs(1)
    right = ranked(some)
    assert len(some) == 40
    wrong = [pair for pair, good in zip(some, right, strict=True) if not good]
    assert len(wrong) <= 6, wrong  # four are; some pairs are so near that another precision turns them round


def report(of_each_file: int) -> None:
    """Print shares of pairs that are ranked right."""
    some = pairs(of_each_file)
    right = ranked(some)
    table = Table("file", *(kinds := list(dict.fromkeys(pair.corruption for pair in some))), "all", "pairs")
    groups = {
        "all": (*CHOSEN_ON, *UNSEEN),
        "chosen on": CHOSEN_ON,
        "unseen": UNSEEN,
        **{f: (f,) for f in (*CHOSEN_ON, *UNSEEN)},
    }
    for name, files in groups.items():
        counts: Counter[str] = Counter()
        good: Counter[str] = Counter()
        for pair, is_right in zip(some, right, strict=True):
            if pair.file in files:
                for key in (pair.corruption, "all"):
                    counts[key] += 1
                    good[key] += is_right
        table.add_row(name, *(f"{good[k] / counts[k]:.3f}" for k in (*kinds, "all")), str(counts["all"]))
    Console(width=140).print(table)
    if sum(right) < 0.9 * len(right):
        sys.exit("likelihood ranks less than 90 % of the pairs right")


if __name__ == "__main__":
    report(min(int((sys.argv[1:] or [ROWS])[0]), ROWS))
