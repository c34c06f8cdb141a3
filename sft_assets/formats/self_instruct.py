"""Self-instruct: a task with several instances, a row each (Wang et al. 2022; Super-NaturalInstructions).

    {"id": "seed_task_1", "name": "antonym_relation", "instruction": "What is the relation between the given pairs?",
     "instances": [{"input": "Night : Day :: Right : Left", "output": "The relation is that they are opposites."}]}
    {"Definition": ["Say which of the two words is longer."], "Instances": [{"input": "cat, mouse", "output": ["mouse"]}]}

The prompt is instruction and input, joined as Alpaca's. Of several outputs the first is the answer, the others go to meta.
"""

from __future__ import annotations

from typing import Any

from sft_assets.formats import alpaca
from sft_assets.formats.hints import NONE, Hints
from sft_assets.formats.turns import LABELS, SYSTEM, conversation, kind_of, rest, system_turns, text_field
from sft_assets.record import BadRecord, Conversation, Message

NAME = "self_instruct"
COLUMNS = {"prompt": "instruction", "messages": "instances"}
TASK = ("instruction", "definition")
TELLING = frozenset(("instances",))
USED = frozenset((*TASK, *SYSTEM, "instances", "tools", *LABELS))


def matches(record: dict[str, Any]) -> bool:
    return isinstance(record.get("instances"), list) and any(name in record for name in TASK)


def read(record: dict[str, Any], hints: Hints = NONE) -> list[Conversation]:
    instances = record.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRecord("wrong_type", f"instances is {kind_of(instances)}, not a list of {{input, output}} with one at least")
    if isinstance(definition := record.get("definition"), list) and all(isinstance(text, str) for text in definition):
        record = record | {"definition": "\n".join(definition)}
    task = text_field(record, *TASK)
    if task is None:
        raise BadRecord("wrong_type", "neither instruction nor definition is there")
    return [_row(record, task, instance, number) for number, instance in enumerate(instances)]


def _row(record: dict[str, Any], task: str, instance: Any, number: int) -> Conversation:
    if not isinstance(instance, dict):
        raise BadRecord("wrong_type", f"instance {number} is {kind_of(instance)}, not an object")
    meta = rest(record, USED, TASK)
    question, input_at = alpaca.joined(task, text_field(instance, "input"))
    if input_at is not None:
        meta["input_at"] = input_at
    output = instance.get("output")
    others = {name: value for name, value in instance.items() if name not in ("input", "output")}
    if isinstance(output, list) and output:
        output, *more = output
        others |= {"outputs": more} if more else {}
    if not isinstance(output, str):
        raise BadRecord("wrong_type", f"the output of instance {number} is {kind_of(output)}, not a text or a list of texts")
    if others:
        meta["instance"] = others
    turns = [*system_turns(record, meta), Message("user", question), Message("assistant", output)]
    return conversation(record, turns, meta, path=str(number))
