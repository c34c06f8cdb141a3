"""dataset_info.json: LLaMA-Factory's description of the files that it can read.

    {"sft-dataset_alpaca_train": {"file_name": "alpaca/train.json", "columns": {"prompt": "instruction", ...}},
     "sft-dataset_sharegpt_preference_train": {"file_name": "sharegpt/preference-train.json", "formatting": "sharegpt",
                                               "ranking": true, "columns": {"messages": "conversations", ...}},
     "sft-dataset_messages_train": {"file_name": "data/train-00000-of-00001.parquet", ..., "tags": {"role_tag": "role", ...}}}

Each file is an entry (`dataset: a,b` trains on both). The reader sees of a turn only role and content: messages that have
more (tool calls, reasoning, weights) are no entry, `sharegpt` in the recipe's formats holds of them what it can.
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import orjson
import pyarrow as pa

from sft_assets.exported.facts import Facts
from sft_assets.exported.splits import SPLITS
from sft_assets.exported.writers import Config

NAME = "dataset_info.json"
CONVERSATIONS = {"messages": "conversations", "system": "system", "tools": "tools"}
ENTRIES: dict[str, dict[str, Any]] = {
    "alpaca": {
        "columns": {
            "prompt": "instruction",
            "query": "input",
            "response": "output",
            "system": "system",
            "history": "history",
        }
    },
    "sharegpt": {"formatting": "sharegpt", "columns": CONVERSATIONS},
    "sharegpt_preference": {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": CONVERSATIONS | {"chosen": "chosen", "rejected": "rejected"},
    },
    "sharegpt_kto": {"formatting": "sharegpt", "columns": CONVERSATIONS | {"kto_tag": "kto_tag"}},
    "messages": {
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "tools": "tools"},
        "tags": {  # those that are not named would be none, not the defaults
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "observation_tag": "tool",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    },
}


def dataset_info(facts: Facts) -> str | None:
    """The text of the file; None where LLaMA-Factory can read nothing of the export."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", facts.name).strip("-") or "dataset"
    entries: dict[str, Any] = {}
    for config in facts.configs:
        name = _entry_of(config)
        for path in config.files if name else ():
            split, shard = _place(path)
            key = f"{slug}_{name}_{split}{shard}"
            entries[key] = {"file_name": path, **ENTRIES[name or ""]}
    if not entries:
        return None
    return orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _entry_of(config: Config) -> str | None:
    """The kind of entry that describes a config's files."""
    if config.name != "default":
        return config.name if config.name in ENTRIES else None
    assert config.schema is not None
    turn: pa.StructType = config.schema.field("messages").type.value_type
    return "messages" if {field.name for field in turn} == {"role", "content"} else None


def _place(path: str) -> tuple[str, str]:
    """The split that a file is of, and its number where the split has several."""
    stem = PurePosixPath(path).stem
    split = next(s for s in SPLITS if s in stem.split("-"))
    shard = re.search(r"-(\d+)-of-(\d+)$", stem)
    return split, f"_{shard[1]}" if shard and int(shard[2]) > 1 else ""
