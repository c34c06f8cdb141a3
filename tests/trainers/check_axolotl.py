"""What axolotl makes of the configurations in axolotl.yaml: its own schema, loader, strategies and checks of length.

    {"sft": {"train": [{"text": "...", "trained": ["In Rome.<|im_end|>"]}, ...], "validation": [...]},
     "dpo": {"train": [{"prompt": "...", "chosen": "7<|im_end|>", "rejected": "9<|im_end|>"}, ...], ...}, "kto": ...}

axolotl.yaml writes out one configuration, and the others as comments.
"""

from __future__ import annotations

import importlib.machinery
import re
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import datasets
import tiny
import yaml
from check_trl import spans
from transformers import PreTrainedTokenizerFast

# what it reports its users with
sys.modules["posthog"] = types.ModuleType("posthog")
sys.modules["posthog"].__spec__ = importlib.machinery.ModuleSpec("posthog", None)

from axolotl.utils.config import normalize_config, validate_config  # noqa: E402
from axolotl.utils.data import prepare_datasets, prepare_preference_datasets  # noqa: E402
from axolotl.utils.dict import DictDefault  # noqa: E402

NAMED = "path/to/this/folder"
SETTINGS = {
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-4,
    "num_epochs": 1,
    "sequence_len": 2048,
}


def entries(export: Path) -> dict[str, Any] | None:
    snippet = export / "axolotl.yaml"
    if not snippet.exists():
        return None
    return {part.get("rl", "sft"): prepared(part) for part in configurations(snippet.read_text(), export)}


def configurations(text: str, export: Path) -> list[dict[str, Any]]:
    """The configuration that is written out, and those in comments: each paragraph, without the marks of a comment."""
    found = []
    for paragraph in text.replace(NAMED, str(export)).split("\n\n"):
        lines = paragraph.splitlines()
        if any(re.match(r"(# )?datasets:", line) for line in lines):
            found.append(yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines[1:])))
    return found


def prepared(part: dict[str, Any]) -> dict[str, Any]:
    """The splits as axolotl hands them to the trainer."""
    tokenizer = tiny.tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        tiny.model(len(tokenizer), Path(folder))
        own = {
            "base_model": folder,
            "tokenizer_config": folder,
            "output_dir": f"{folder}/out",
            "dataset_prepared_path": f"{folder}/prepared",
        }
        cfg = validate_config(DictDefault({**part, **SETTINGS, **own}))
        normalize_config(cfg)
        cfg.dataset_num_proc = None  # in this process
        if "rl" in part:
            train, test = prepare_preference_datasets(cfg, tokenizer)
        else:
            train, test, *_ = prepare_datasets(cfg, tokenizer)
        return {
            name: [shown(tokenizer, row) for row in rows] for name, rows in (("train", train), ("validation", test)) if rows
        }


def shown(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> dict[str, Any]:
    if "input_ids" in row:
        return {"text": tokenizer.decode(row["input_ids"]), "trained": spans(tokenizer, row["input_ids"], row["labels"])}
    return {name: row[name] for name in ("prompt", "chosen", "rejected", "completion", "label", "row_id") if name in row}


datasets.disable_caching()
