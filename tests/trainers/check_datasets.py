"""What `datasets.load_dataset` makes of an export: config -> split -> rows, columns, ids."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import datasets

Loaded = dict[str, datasets.Dataset]


def configs(export: Path) -> list[str]:
    return datasets.get_dataset_config_names(str(export))


def load(export: Path, config: str) -> Loaded:
    return datasets.load_dataset(str(export), config)


def loaded(export: Path) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = {config: {s: described(rows) for s, rows in load(export, config).items()} for config in configs(export)}
        first = {split: rows.num_rows for split, rows in datasets.load_dataset(str(export)).items()}
    said = [str(w.message) for w in warned if "datasets" in w.filename]
    return {"configs": found, "first": first, "warnings": said}


def described(rows: datasets.Dataset) -> dict[str, Any]:
    return {
        "rows": rows.num_rows,
        "features": {name: str(feature) for name, feature in rows.features.items()},
        "expected": rows.info.splits[str(rows.split)].num_examples,
        "values": list(rows),
    }
