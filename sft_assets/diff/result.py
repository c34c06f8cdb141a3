"""What `sft diff` answers: counts, the causes, and the rows that moved, grouped by what became of them.

Diff(Side("deduped@3", 1000), Side("deduped@4", 981), counts={"removed": 25, "added": 6, "changed": 0, "same": 975})
    .causes  Cause("deduped", 3, 4, ["deduped.threshold: 0.8 -> 0.7"])
    .groups  Group("removed", "deduped", 4, "near_duplicate", rows=25, examples=[Example("9f3c...", "a.json:17", ...)])
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sft_assets.warehouse import Version

Change = Literal["removed", "added", "changed"]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared. version: of a state, or of `exported` where an export's is still kept. folder: of an
    export. known: its lineage, by asset, as far as it is still kept."""

    name: str
    rows: int
    made: str
    version: Version | None = None
    folder: Path | None = None
    known: dict[str, Version] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """An asset that came out different on the way, and what was changed about it itself. before, after: version numbers."""

    asset: str
    before: int | None
    after: int | None
    why: list[str]


@dataclass(frozen=True)
class Example:
    """One row. place: where its record stands. evidence: of the ledger, or before and after of each column that changed."""

    row_id: str
    place: str
    source: str
    evidence: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Group:
    """Rows that moved for one reason. Of removed rows it is why they are not in the later one, of added rows why they were not
    in the earlier one; of changed rows it names the columns. asset, version: whose ledger says so; None: none does."""

    change: Change
    asset: str | None
    version: int | None
    reason: str
    rows: int
    examples: list[Example]


@dataclass
class Diff:
    """The whole answer. counts: removed, added, changed, same. by_source: the same of each source in which rows moved."""

    before: Side
    after: Side
    counts: dict[str, int] = field(default_factory=dict)
    by_source: dict[str, dict[str, int]] = field(default_factory=dict)
    causes: list[Cause] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, change: Change) -> list[Group]:
        """The groups of one change, the largest first."""
        return [group for group in self.groups if group.change == change]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "before": {"name": self.before.name, "rows": self.before.rows, "made": self.before.made},
            "after": {"name": self.after.name, "rows": self.after.rows, "made": self.after.made},
            "counts": self.counts,
            "by_source": self.by_source,
            "causes": [vars(cause) for cause in self.causes],
            "groups": [{**vars(g), "examples": [vars(e) for e in g.examples]} for g in self.groups],
            "notes": self.notes,
        }
