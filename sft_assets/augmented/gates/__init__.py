"""The cheap gates: what every generated row goes through, by the functions that source rows went through.

    7c20...  rules             refusal           {"rules": [{"rule": "refusal", "turn": 2, "span": [0, 28], ...}]}
    b1d4...  near_duplicates   near_duplicate    {"of": "51ab...", "jaccard": 0.8611}
    e09a...  benchmarks        benchmark_item    {"benchmark": "gsm8k_test", "item_id": "1", ...}

A row falls at the first gate that it does not pass. Validation came before (a candidate is made by it), the gates that ask a
model come after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from sft_assets.augmented.candidate import Fall
from sft_assets.augmented.gates.benchmarks import Benchmarks
from sft_assets.augmented.gates.duplicates import Combined
from sft_assets.augmented.gates.gate import Found, Stream, without
from sft_assets.augmented.gates.rules import Rules
from sft_assets.decontaminated.overlap import scan
from sft_assets.decontaminated.paraphrases import nearest
from sft_assets.deduped import against, near
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe

Gate = Callable[["Gates", pa.Table], Found]
GATES: tuple[tuple[str, Gate], ...] = (
    ("rules", lambda gates, rows: gates.rules.found(rows)),
    ("exact_duplicates", lambda gates, rows: gates.combined.exact(rows)),
    ("near_duplicates", lambda gates, rows: gates.combined.near(rows)),
    ("benchmarks", lambda gates, rows: gates.benchmarks.found(rows)),
)


class Checked(NamedTuple):
    """What became of rows, by row_id. falls: the gate at which a row fell, and why. marks: what wants it reviewed."""

    falls: dict[bytes, tuple[str, Fall]]
    marks: dict[bytes, list[str]]


@dataclass(frozen=True)
class Gates:
    """What the gates share. It is indexed when the first rows come, and kept: they may be asked again and again.

    For rows that were not asked about before, all of combined is read, once for all of them.
    """

    rules: Rules
    combined: Combined
    benchmarks: Benchmarks

    @classmethod
    def of(cls, stream: Stream, folder: Folder, recipe: Recipe, progress: Callable[[int], None] = lambda done: None) -> Gates:
        """stream: over committed tables (combined, deduped, benchmarks), such as `Build.stream`. progress: how many rows of
        combined were read.

        Raises:
            SftError: the recipe names a rule that there is not.
        """
        rules = Rules(recipe.rule_hits, str(folder.recipe), recipe.engine.threads)
        items = Benchmarks(stream, recipe.decontaminated, recipe.contamination_candidates)
        return cls(rules, Combined(stream, recipe.deduped, progress), items)

    def check(self, rows: pa.Table) -> Checked:
        """What falls of these rows, and where.

        rows: row_id and content_hash (UUID), kind, source, messages, rejected and tools; label where there is one.
        """
        checked = Checked({}, {})
        for name, gate in GATES:
            if not len(rows):
                break
            found = gate(self, rows)
            checked.falls.update((row_id, (name, fall)) for row_id, fall in found.falls.items())
            for row_id, marks in found.marks.items():
                checked.marks.setdefault(row_id, []).extend(marks)
            rows = without(rows, found.falls)
        return checked


def warm_up() -> None:
    """Compile or load every kernel that the gates use, on a handful of rows."""
    near.warm_up()
    against.warm_up()
    scan.warm_up()
    nearest.warm_up()
