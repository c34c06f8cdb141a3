"""Prompt and completion: texts, as OpenAI's completion models were tuned, or turns, as TRL has them.

    {"prompt": "Name a prime.\\n\\n###\\n\\n", "completion": " 7 END"}                 separator "\\n\\n###\\n\\n ", stop " END"
    {"prompt": [{"role": "user", "content": "Name a prime."}], "completion": [{"role": "assistant", "content": "7"}]}

OpenAI's guide put a separator after the prompt, a blank before the completion and a stop mark after it. They are removed where
they stand just there, and meta says what was removed: `separator`, with the blank, and `stop`. A stop mark is one only where
there is a separator, so that a program's own " END" stays. A list of completions is a row each. A `label`, of 0 and 1 too,
makes the row unpaired.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import alpaca
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turn_shapes import are_texts
from sft_assets.formats.turns import LABELS, SYSTEM, conversation, kto_label, read_turns, rest
from sft_assets.record import Conversation, Message

NAME = "prompt_completion"
COLUMNS = {"response": "completion"}
TELLING: frozenset[str] = frozenset()
USED = frozenset(("prompt", "completion", *SYSTEM, "history", "tools", "label", "kto_tag", *LABELS))
SEPARATORS = ("\n\n###\n\n", "\n\n===\n\n", "\n\n###", "\n\n===", " ->")
STOPS = ("\n\n###\n\n", "\n\n###", "\n###", " ###", "###", " END", "\nEND", "<|endoftext|>")


def matches(record: dict[str, Any]) -> bool:
    return "prompt" in record and "completion" in record


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    meta = rest(record, USED)
    label = kto_label(record, meta, numbers=True)
    asked, said = record.get("prompt"), record.get("completion")
    if isinstance(asked, str) and isinstance(said, str):
        asked, said = _parted(asked, said, meta)
        record = record | {"completion": said}
    prompt = alpaca.before(record, meta) + (
        [Message("user", asked)] if isinstance(asked, str) else read_turns(asked, meta, "prompt")
    )
    if isinstance(said, (dict, list)) and not are_texts(said):
        answer = read_turns(said, meta, "completion")
        return [conversation(record, prompt + answer, meta, label)]
    return alpaca.answered(record, prompt, meta, label, "completion")


def _parted(prompt: str, completion: str, meta: dict[str, Any]) -> tuple[str, str]:
    """Prompt and completion without what OpenAI's guide put between and after them."""
    separator = next((mark for mark in SEPARATORS if prompt.endswith(mark)), "")
    stop = next((mark for mark in STOPS if completion.endswith(mark)), "") if separator else ""
    blank = " " if completion[:1] == " " and completion[1:2].strip() else ""
    for name, removed in (("separator", separator + blank), ("stop", stop)):
        if removed:
            meta[name] = removed
    return prompt.removesuffix(separator), completion.removesuffix(stop).removeprefix(blank)
