"""What the state says of itself: per benchmark its items, those found leaked by each tier, those that no rule can protect, and
the rows and items with the most leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sft_assets.decontaminated.overlap.protection import Owner
from sft_assets.decontaminated.overlap.scan import SHOWN, Hit, Overlap
from sft_assets.decontaminated.overlap.tiers import TIERS
from sft_assets.warehouse.build import Build

MOST = 10  # rows and items in a sample
LISTED = 1000  # unprotected items


def of(build: Build, overlap: Overlap, found: Mapping[bytes, Sequence[Hit]], named: Mapping[bytes, Hit]) -> dict[str, Any]:
    """The notes of a version. found: the hits of each row; named: the one that it is dropped for."""
    tiers: dict[Owner, int] = {}  # of each item that was found, the first tier that did
    in_rows: Counter[Owner] = Counter()
    held: dict[bytes, set[Owner]] = {}
    texts: dict[Owner, str] = {}
    for row_id, hits in found.items():
        held[row_id] = {owner for hit in hits for owner in hit.owners}
        in_rows.update(held[row_id])
        for hit in hits:
            for owner in hit.owners:
                tiers[owner] = min(TIERS.index(hit.reason), tiers.get(owner, len(TIERS)))
                texts[owner] = hit.item
    leaked = Counter((owner[0], tier) for owner, tier in tiers.items())
    rows = Counter(hit.owners[0][0] for hit in named.values())
    why = overlap.why_unprotected()
    items = Counter(item.owner[0] for item in overlap.items)
    most = sorted(held, key=lambda row_id: (-len(held[row_id]), row_id))[:MOST]
    return {
        "benchmarks": {
            name: {
                "items": count,
                "leaked": {tier: leaked[name, number] for number, tier in enumerate(TIERS)},
                "rows_dropped": rows[name],
                "unprotected": dict(sorted(why[name].items())),
            }
            for name, count in sorted(items.items())
        },
        "items_leaked": len(tiers),
        "items_unprotected": len(overlap.unprotected),
        "candidates": build.value(f"SELECT count(paraphrase_of) FROM {build.table}"),
        "frequent_ngrams": int((~overlap.live()).sum()),
        "sample_unprotected": [
            {"benchmark": item.benchmark, "item": f"{item.item_id}: {item.text[:SHOWN]}", "why": item.why}
            for item in overlap.unprotected[:LISTED]
        ],
        "sample_dropped": [_dropped(row_id, hit) for row_id, hit in list(named.items())[:MOST]],
        "sample_rows_with_most_items": [
            {"row": _short(row_id), "items": len(held[row_id]), "of": _counted(held[row_id])} for row_id in most
        ],
        "sample_items_in_most_rows": [
            {"benchmark": owner[0], "item": f"{owner[1]}: {texts[owner][:SHOWN]}", "rows": n}
            for owner, n in sorted(in_rows.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST]
        ],
    }


def _short(row_id: bytes) -> str:
    return str(UUID(bytes=row_id))[:8]


def _counted(owners: set[Owner]) -> str:
    """How many items of each benchmark, most first."""
    counts = Counter(owner[0] for owner in owners)
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _dropped(row_id: bytes, hit: Hit) -> dict[str, str]:
    return {
        "row": _short(row_id),
        "reason": hit.reason,
        "benchmark": hit.owners[0][0],
        "item": f"{hit.owners[0][1]}: {hit.item[:SHOWN]}",
        "matched": " … ".join(hit.matched)[:SHOWN],
    }
