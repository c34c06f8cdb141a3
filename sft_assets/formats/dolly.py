"""Dolly (Conover et al. 2023): an instruction, a text that it is about, a response.

    {"instruction": "When did Virgin Australia start operating?", "context": "Virgin Australia commenced services on 31 August
     2000 as Virgin Blue ...", "response": "Virgin Australia commenced services on 31 August 2000.", "category": "closed_qa"}

It is read as Alpaca is: the context stands after the instruction.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import alpaca
from sft_assets.formats.hints import NONE, Hints
from sft_assets.record import Conversation

NAME = "dolly"
COLUMNS = {"prompt": "instruction", "query": "context", "response": "response"}
TELLING: frozenset[str] = frozenset()
USED = alpaca.USED


def matches(record: dict[str, Any]) -> bool:
    return "instruction" in record and "context" in record and "response" in record and "output" not in record


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    return alpaca.read(record, hints)
