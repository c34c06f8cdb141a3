"""Loads exports as their users do, and says what the trainers made of them. Runs in .venv-trainers, without sft_assets.

    .venv-trainers/bin/python tests/trainers/run.py EXPORT... > results.json

    {"EXPORT": {"datasets": {"value": {"default": {"train": {"rows": 9, ...}}}}, "trl sft": {"error": "Traceback ..."}, ...}}

One process for all: importing the trainers takes half a minute. What they print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# before anything is imported: no network, no graphics card, no telemetry
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "WANDB_DISABLED": "true",
    "DO_NOT_TRACK": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
}

Check = Callable[[Path], Any]


def checks() -> dict[str, Check]:
    """Every check by name; it takes the folder of an export."""
    import check_axolotl
    import check_datasets
    import check_llamafactory
    import check_trl

    return {
        "datasets": check_datasets.loaded,
        "templates": check_trl.templates,
        "trl sft": check_trl.sft,
        "trl sft, answers only": check_trl.sft_answers_only,
        "trl prompt and completion": check_trl.prompt_completion,
        "trl dpo": check_trl.dpo,
        "trl kto": check_trl.kto,
        "llamafactory": check_llamafactory.entries,
        "axolotl": check_axolotl.entries,
    }


def outcome(check: Check, export: Path) -> dict[str, Any]:
    try:
        return {"value": check(export)}
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    found = {name: {title: outcome(check, Path(name)) for title, check in checks().items()} for name in sys.argv[1:]}
    json.dump(found, results)
    results.close()


if __name__ == "__main__":
    main()
