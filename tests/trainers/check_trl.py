"""What TRL's trainers make of an export: their own preparation, the labels that come of it, one step on a tiny model.

    {"rows": [{"row_id": ..., "text": "<|im_start|>user\\nWhere?<|im_end|>...", "trained": ["In Rome.<|im_end|>\\n"]}, ...],
     "loss": 5.9, "steps": 1}

None where the export has no such config.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import check_datasets
import tiny
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

Row = dict[str, Any]
STEP = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "bf16": False,
    "gradient_checkpointing": False,
}


def templates(export: Path) -> dict[str, dict[str, str]]:
    """The conversations with tool calls in the chat templates of some models: model -> row_id -> text."""
    rows = check_datasets.load(export, "default")["train"]
    tokenizer = tiny.tokenizer()
    shown: dict[str, dict[str, str]] = {}
    for model in ("qwen2_5", "qwen3_8", "llama3_2", "gptoss", "glm4moe"):
        template = (tiny.TEMPLATES / f"{model}.jinja").read_text()
        shown[model] = {}
        for row in rows:
            calls = [len(turn.get("tool_calls") or ()) for turn in row["messages"]]
            if any(calls) and (max(calls) == 1 or model != "llama3_2"):  # which knows one call a turn
                text = tokenizer.apply_chat_template(
                    row["messages"], tools=json.loads(row["tools"]), chat_template=template, tokenize=False
                )
                shown[model][row["row_id"]] = text
    return shown


def sft(export: Path) -> Row | None:
    return trained(export, ("default",), SFTTrainer, SFTConfig, language_model)


def sft_answers_only(export: Path) -> Row | None:
    return trained(export, ("default",), SFTTrainer, SFTConfig, language_model, assistant_only_loss=True)


def prompt_completion(export: Path) -> Row | None:
    return trained(export, ("prompt_completion",), SFTTrainer, SFTConfig, language_model)


def dpo(export: Path) -> Row | None:
    return trained(export, ("preference",), DPOTrainer, DPOConfig, lambda t, row: parts(t, row, "prompt", "chosen", "rejected"))


def kto(export: Path) -> Row | None:
    show = lambda t, row: parts(t, row, "prompt", "completion") | {"label": row["label"]}  # noqa: E731
    return trained(export, ("kto", "unpaired"), KTOTrainer, KTOConfig, show)


def trained(
    export: Path,
    names: tuple[str, ...],
    trainer_class: Callable[..., Any],
    config_class: Callable[..., Any],
    show: Callable[[PreTrainedTokenizerFast, Row], Row],
    **options: Any,
) -> Row | None:
    """One step on the first of the configs that is there."""
    config = next((name for name in names if name in check_datasets.configs(export)), None)
    if config is None:
        return None
    splits = check_datasets.load(export, config)
    tokenizer = tiny.tokenizer(texts(splits["train"]))
    evaluated = splits.get("validation") or splits.get("test")
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=tiny.model(len(tokenizer), Path(folder) / "model"),
            args=config_class(output_dir=folder, max_length=None, **STEP, **options),
            train_dataset=splits["train"],
            eval_dataset=evaluated,
            processing_class=tokenizer,
        )
        prepared = list(trainer.train_dataset)
        done = trainer.train()
    return {
        "config": config,
        "rows": [{"row_id": row["row_id"], **show(tokenizer, row)} for row in prepared],
        "evaluated": len(trainer.eval_dataset or []),
        "loss": done.training_loss,
        "steps": done.global_step,
    }


def language_model(tokenizer: PreTrainedTokenizerFast, row: Row) -> Row:
    return {"text": tokenizer.decode(row["input_ids"]), "trained": spans(tokenizer, row["input_ids"], row["labels"])}


def parts(tokenizer: PreTrainedTokenizerFast, row: Row, *names: str) -> Row:
    return {name: tokenizer.decode(row[f"{name}_ids"]) for name in names}


def spans(tokenizer: PreTrainedTokenizerFast, ids: Iterable[int], labels: Iterable[int]) -> list[str]:
    """The pieces of text that the loss looks at."""
    groups = groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] != -100)
    return [tokenizer.decode([token for token, _ in pairs]) for in_loss, pairs in groups if in_loss]


def texts(rows: Iterable[Row]) -> list[str]:
    return [str(value) for row in rows for value in row.values()]
