"""Files beside the data that tell tools how to load it.

    dataset_info.json   LLaMA-Factory: dataset_dir is the export, dataset: sft-dataset_sharegpt_train
    axolotl.yaml        the part of a configuration that names the datasets
    croissant.json      Croissant 1.0: files with their hashes, records and fields

None is written that would have nothing to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from sft_assets.exported.facts import Facts
from sft_assets.exported.loaders import axolotl, croissant, llama_factory
from sft_assets.files import sync

NAMES = (llama_factory.NAME, axolotl.NAME, croissant.NAME)


def write(partial: Path, facts: Facts, hashes: Mapping[str, str] | None = None, today: date | None = None) -> list[str]:
    """Write them, synced, and give their names.

    hashes: path -> sha256 of each data file, where they are known already. today: the date of publication.
    """
    if hashes is None:
        hashes = {path: sha256(partial / path) for path in facts.files}
    texts: dict[str, Callable[[], str | None]] = {
        llama_factory.NAME: lambda: llama_factory.dataset_info(facts),
        axolotl.NAME: lambda: axolotl.snippet(facts),
        croissant.NAME: lambda: croissant.metadata(facts, hashes, today or datetime.now(UTC).date()),
    }
    written = []
    for name, make in texts.items():
        if (text := make()) is not None:
            (partial / name).write_text(text, "utf-8")
            sync(partial / name)
            written.append(name)
    return written


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
