"""benchmarks: every test set of D/benchmarks in one table, a line for every text of an item.

benchmark humaneval   item_id HumanEval/0   field question   text "from typing import List\\n\\n\\ndef has_close_..."
"""

from __future__ import annotations

import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.decontaminated.benchmarks import benchmark_files, read
from sft_assets.folder import Folder
from sft_assets.raw.containers import Refused
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Build, Table

COLUMNS = {"benchmark": "VARCHAR", "item_id": "VARCHAR", "field": "VARCHAR", "text": "VARCHAR"}


@evidence(Table("benchmarks", columns=COLUMNS, is_state=False), deps=("benchmark_files",), code=2)
def benchmarks(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Every test set that training rows are kept clean of: the texts of its items, by field."""
    versions = folder.fingerprints(folder.benchmarks)
    found, refused = {}, []
    files = benchmark_files(folder, recipe)
    for number, file in enumerate(files):
        build.progress(number, len(files))
        shown = file.name.encode(errors="backslashreplace").decode()
        try:
            if versions[file.name] == "refused":
                raise Refused("outside", "is no file, or a link that leads out of the benchmarks folder; copy the file into it")
            if shown != file.name:
                raise Refused("unreadable", "has a name that is not UTF-8; rename it")
            test_set = read(file)
        except Refused as refusal:
            refused.append({"file": shown, "reason": f"{shown} {refusal.detail}"})
            continue
        refused += [{"file": shown, "reason": f"{shown}: {sentence}"} for sentence in test_set.unread]
        rows = [
            (file.benchmark, item_id, name, text)
            for item_id, item in test_set.items.items()
            for name, texts in item.texts.items()
            for text in texts
        ]
        build.insert(pa.table([pa.array(c) for c in zip(*rows, strict=True)], names=list(COLUMNS)))
        found[file.benchmark] = {"file": file.name, "items": len(test_set.items), "version": versions[file.name][:12]}
    build.notes |= {"benchmarks": found, "refused": refused}
