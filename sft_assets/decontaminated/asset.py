"""decontaminated: the deduped rows that hold nothing of a test set.

dropped 9f3c...  benchmark_item  gsm8k_test 1, question, in turn 1 (user), characters 21 to 302:
                 "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins ..."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from sft_assets.asset import state
from sft_assets.decontaminated.overlap import Hit, Index
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.warehouse import Build, Law, Table

TABLE = Table(
    "decontaminated",
    columns={"row_id": "UUID", "content_hash": "UUID"},
    after="deduped",
    laws=(
        Law(
            "leaks_named",
            "every row that went names the benchmark and the item that it holds",
            """
            SELECT count(*) FROM {dropped}
            WHERE coalesce(evidence ->> 'benchmark', '') = '' OR coalesce(evidence ->> 'item_id', '') = ''
            """,
        ),
    ),
)
SHOWN = 300  # characters of a text in the ledger
SPOKEN = ("content", "reasoning", "tool_calls")  # what of a turn a model is trained on


class Turn(NamedTuple):
    """A text of a row. `turn` counts from 1, or names a turn of the rejected answer; `part` is one of SPOKEN."""

    turn: int | str
    role: str
    part: str
    text: str


@state(TABLE, deps=("benchmarks",), code=1)
def decontaminated(build: Build, folder: Folder, recipe: Recipe) -> None:
    """The deduped rows without those that hold a benchmark's item, whole or a long run of its words."""
    section = recipe.decontaminated
    index = Index(_items(build), section.ngram, section.short_item_words)
    hits: Counter[str] = Counter()
    samples: list[tuple[bytes, dict[str, Any]]] = []
    done, total = 0, build.parents["deduped"].report["kept"]
    for batch in build.stream("SELECT row_id, messages, rejected FROM deduped", rows=2048):
        columns = batch.column("row_id").storage, batch.column("messages"), batch.column("rejected")
        for row_id, messages, rejected in zip(*(column.to_pylist() for column in columns), strict=True):
            turns = list(turns_of(messages, rejected))
            if hit := index.find([turn.text for turn in turns]):
                evidence = explained(hit, turns[hit.text])
                build.drop(row_id, hit.reason, evidence)
                hits[hit.owner.benchmark] += 1
                samples = sorted([*samples, (row_id, evidence)], key=lambda s: s[0])[:10]
        done += batch.num_rows
        build.progress(done, total)
    build.insert_sql(
        f"SELECT row_id, content_hash FROM {build.of('deduped')} ANTI JOIN {build.ledger('dropped')} USING (row_id)"
    )
    build.notes |= {
        "benchmarks": {
            name: {"items": counts.items, "unprotected": counts.unprotected, "rows_dropped": hits[name]}
            for name, counts in sorted(index.counts.items())
        },
        "items_unprotected": sum(counts.unprotected for counts in index.counts.values()),
        "sample_dropped": [_sample(row_id, evidence) for row_id, evidence in samples],
    }


def turns_of(messages: list[dict[str, Any]], rejected: list[dict[str, Any]] | None) -> Iterator[Turn]:
    """Every text of a row in its order: the turns', then those of the rejected answer."""
    for number, message in enumerate(messages, 1):
        yield from (Turn(number, message["role"], part, message[part]) for part in SPOKEN if message[part])
    for number, message in enumerate(rejected or (), 1):
        name = "rejected" if len(rejected or ()) == 1 else f"rejected {number}"
        yield from (Turn(name, message["role"], part, message[part]) for part in SPOKEN if message[part])


def explained(hit: Hit, turn: Turn) -> dict[str, Any]:
    """What the ledger says of a hit: the item, the place in the row (span: characters of that turn's text), and both texts."""
    start, stop = hit.span
    owner = hit.owner
    return {
        "benchmark": owner.benchmark,
        "item_id": owner.item_id,
        "field": owner.field,
        "turn": turn.turn,
        "role": turn.role,
        **({} if turn.part == "content" else {"part": turn.part}),
        "span": [start, stop],
        "tokens": hit.tokens,
        "matched": turn.text[start:stop][:SHOWN],
        "item": owner.text[:SHOWN],
    }


def _items(build: Build) -> Iterator[tuple[str, str, str, str]]:
    for batch in build.stream("SELECT benchmark, item_id, field, text FROM benchmarks"):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _sample(row_id: bytes, evidence: dict[str, Any]) -> dict[str, str]:
    return {
        "row": str(UUID(bytes=row_id))[:8],
        "benchmark": evidence["benchmark"],
        "item": f"{evidence['item_id']}: {evidence['item']}",
        "matched": evidence["matched"],
    }
