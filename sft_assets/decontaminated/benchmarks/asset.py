"""benchmarks: every test set of D/benchmarks, hub and packages in one table, a line for every text of an item.

benchmark humaneval   item_id HumanEval/0   field question   text "from typing import List\\n\\n\\ndef has_close_..."
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.decontaminated.benchmarks.files import TestSet, benchmark_files, read
from sft_assets.folder import Folder
from sft_assets.raw.containers import Refused
from sft_assets.recipe import Recipe
from sft_assets.warehouse.build import Build, Table

FIELDS_OF_ITEMS = "benchmark, item_id, field, text"
COLUMNS = {"benchmark": "VARCHAR", "item_id": "VARCHAR", "field": "VARCHAR", "text": "VARCHAR"}


@evidence(Table("benchmarks", columns=COLUMNS, is_state=False), deps=("benchmark_files",), code=3)
def benchmarks(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Every test set that training rows are kept clean of: the texts of its items, by field."""
    versions = folder.fingerprints(folder.benchmarks)
    found: dict[str, dict[str, Any]] = {}
    refused: list[dict[str, str]] = []
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        build.say(sentence)

    files = benchmark_files(folder, recipe, say)
    done = 0
    for benchmark, of_benchmark in groupby(files, key=lambda file: file.benchmark):
        test_set, read_from = TestSet(), []
        for file in of_benchmark:
            build.progress(done, len(files))
            done += 1
            shown, told = file.name.encode(errors="backslashreplace").decode(), len(test_set.unread)
            try:
                if not file.version and versions[file.name] == "refused":
                    raise Refused(
                        "outside", "is no file, or a link that leads out of the benchmarks folder; copy the file into it"
                    )
                if shown != file.name:
                    raise Refused("unreadable", "has a name that is not UTF-8; rename it")
                read(file, test_set)
            except Refused as refusal:
                refused.append({"file": shown, "reason": f"{shown} {refusal.detail}"})
                continue
            refused += [{"file": shown, "reason": f"{shown}: {sentence}"} for sentence in test_set.unread[told:]]
            read_from.append(file)
        if read_from:
            build.insert(pa.table(_columns(benchmark, test_set)))
            found[benchmark] = {
                "file": ", ".join(file.name for file in read_from),
                "items": len(test_set.items),
                "version": read_from[0].version or versions[read_from[0].name][:12],
            }
    build.notes |= {"benchmarks": found, "refused": refused} | ({"said": said} if said else {})


def items_in(build: Build) -> Iterator[tuple[str, str, str, str]]:
    """(benchmark, item_id, field, text) of every test item, for the assets that are built on this one."""
    for batch in build.stream(f"SELECT {FIELDS_OF_ITEMS} FROM benchmarks"):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _columns(benchmark: str, test_set: TestSet) -> dict[str, pa.Array]:
    rows = [
        (benchmark, item_id, name, text)
        for item_id, item in test_set.items.items()
        for name, texts in item.texts.items()
        for text in texts
    ]
    return {name: pa.array(cells) for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
