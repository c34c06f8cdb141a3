"""axolotl.yaml: the datasets, as a part of an axolotl configuration.

    datasets:
    - path: path/to/this/folder
      name: default
      split: train
      type: chat_template
      field_messages: messages

One way of training is written out; the others that the export has rows for (`rl: dpo`, `rl: kto`) stand below it as comments.
https://docs.axolotl.ai/docs/dataset-formats/conversation.html and rlhf.html
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pyarrow as pa
import yaml

from sft_assets.exported.facts import Facts
from sft_assets.exported.writers import Config

NAME = "axolotl.yaml"
PATH = "path/to/this/folder"
ROLES = {"user": ["user"], "assistant": ["assistant"], "system": ["system"], "tool": ["tool"]}
HEAD = """\
# For axolotl: put it into your configuration. `path` is this folder, or its name on the hub.
"""
SFT = "Supervised fine-tuning."
DPO = (
    "Preference pairs: files, as axolotl reads no `name` here. Of a turn it takes role and content; of an answer its last turn."
)
KTO = "Answers labelled good or bad: files, whose rows TRL itself prepares."


def snippet(facts: Facts) -> str | None:
    """The text of the file; None where there is no config that axolotl can load."""
    parts = [part for config in facts.configs if config.parts and (part := _part(config)) is not None]
    if not parts:
        return None
    text = HEAD
    for number, (title, keys) in enumerate(parts):
        body = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
        text += f"\n# {title}\n" + (body if number == 0 else "".join(f"# {line}\n" for line in body.splitlines()))
    return text


def _part(config: Config) -> tuple[str, dict[str, Any]] | None:
    if config.name == "default":
        chat = _chat(config)
        return SFT, _datasets(config, lambda split: [{"path": PATH, "name": config.name, "split": split} | chat])
    if config.name == "preference":
        fields = {"field_messages": "prompt", "field_chosen": "chosen", "field_rejected": "rejected"}
        how = {"type": "chat_template.default"} | fields
        return DPO, {"rl": "dpo", **_datasets(config, lambda split: [_file(path) | how for path in config.parts[split].files])}
    if config.name in ("kto", "unpaired"):
        # its own check of length knows texts, not turns
        as_they_are = {"remove_unused_columns": False, "skip_prepare_dataset": True}
        return KTO, {"rl": "kto", **as_they_are, **_datasets(config, lambda split: [_file(f"{config.name}/{split}.jsonl")])}
    return None


def _datasets(config: Config, entries: Callable[[str], list[dict[str, Any]]]) -> dict[str, Any]:
    """The splits to train on and to evaluate with; the test split is for afterwards."""
    keys = {"datasets": "train", "test_datasets": "validation"}
    # copies, as YAML names what it meets twice
    return {key: [deepcopy(entry) for entry in entries(split)] for key, split in keys.items() if split in config.parts}


def _file(path: str) -> dict[str, Any]:
    """A file, whose only split is called train whatever is in it."""
    return {"path": f"{PATH}/{path}", "split": "train"}


def _chat(config: Config) -> dict[str, Any]:
    assert config.schema is not None
    turn: pa.StructType = config.schema.field("messages").type.value_type
    fields = {field.name for field in turn}
    properties = {"role": "role", "content": "content"} | ({"reasoning_content": "reasoning"} if "reasoning" in fields else {})
    how = {
        "type": "chat_template",
        "field_messages": "messages",
        "field_tools": "tools",
        "message_property_mappings": properties,
        "roles": ROLES,
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    return how | ({"message_field_training": "weight"} if "weight" in fields else {})
