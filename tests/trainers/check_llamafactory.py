"""What LLaMA-Factory makes of an export that is its `dataset_dir`: its own parser, loader, converters, templates, processors.

    {"sums_alpaca": {"stage": "sft", "read": 9, "aligned": [{"_prompt": [...], "_response": [...], ...}, ...],
                     "rows": [{"text": "...", "trained": ["It is 2."]}, ...]}, ...}

Rows that it does not understand it warns of and skips: `rows` is shorter then.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import tiny
import transformers.utils.import_utils  # noqa: F401 -- before the module below is there, so that it is not taken for the real one
from check_trl import spans, texts

# it is imported for sound, of which there is none here
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from llamafactory.data import get_template_and_fix_tokenizer, loader  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402

LABELS = {"sft": ("",), "kto": ("",), "rm": ("chosen_", "rejected_")}


def data_arguments() -> Any:
    """Its own class of settings, with its defaults; the package of it needs more than is installed."""
    path = Path(loader.__file__).parents[1] / "hparams" / "data_args.py"
    spec = importlib.util.spec_from_file_location("data_args", path)
    assert spec
    assert spec.loader
    module = sys.modules["data_args"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DataArguments


DataArguments = data_arguments()
MODEL = SimpleNamespace(cache_dir=None, hf_hub_token=None)
TRAINING = SimpleNamespace(local_process_index=0, seed=0, predict_with_generate=False, should_log=False)


def entries(export: Path) -> dict[str, Any] | None:
    info = export / "dataset_info.json"
    return {name: entry(export, name) for name in json.loads(info.read_text())} if info.exists() else None


def entry(export: Path, name: str) -> dict[str, Any]:
    (attributes,) = get_dataset_list([name], str(export))
    stage = "rm" if attributes.ranking else "kto" if attributes.kto_tag else "sft"
    data = DataArguments(dataset=name, dataset_dir=str(export), template="qwen3")
    aligned = loader._get_merged_dataset([name], MODEL, data, TRAINING, stage)
    tokenizer = tiny.tokenizer(texts(aligned))
    template = get_template_and_fix_tokenizer(tokenizer, data)
    encoded = loader._get_preprocessed_dataset(aligned, data, TRAINING, stage, template, tokenizer)
    rows = [
        {
            f"{side}{what}": value
            for side in LABELS[stage]
            for what, value in {
                "text": tokenizer.decode(row[f"{side}input_ids"]),
                "trained": spans(tokenizer, row[f"{side}input_ids"], row[f"{side}labels"]),
            }.items()
        }
        | ({"label": row["kto_tags"]} if stage == "kto" else {})
        for row in encoded
    ]
    return {"stage": stage, "split": attributes.split, "read": len(aligned), "aligned": list(aligned), "rows": rows}


datasets.disable_caching()
