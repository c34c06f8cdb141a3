"""contamination_judgements: what a language model says of the rows that may be test items in other words.

    row_id   rank  benchmark   item_id  status  verdict  reason                                        model
    9f3c...  1     gsm8k_test  1        scored  same     Both ask for the eggs that Janet sells.       gpt-5-mini
    41d0...  1     gsm8k_test  7        scored  other    One asks for a distance, one for a speed.     gpt-5-mini

Off unless `contamination_judgements: {judge: true}`. What follows from a verdict is decided in `scored`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa

from sft_assets.asset import model_evidence
from sft_assets.evidence import Estimate, Evidence
from sft_assets.folder import Folder
from sft_assets.models.door import Call, Reply
from sft_assets.models.prompt import Prompt, load
from sft_assets.recipe import Recipe
from sft_assets.record import digest, uuids
from sft_assets.scored.judgements.asking import at_most, estimated, known, label, notes, open_door
from sft_assets.scored.judgements.rubrics import version
from sft_assets.scored.wanted import select
from sft_assets.warehouse import Law, Table

TABLE = Table(
    "contamination_judgements",
    columns={
        "row_id": "UUID",
        "rank": "INTEGER",
        "benchmark": "VARCHAR",
        "item_id": "VARCHAR",
        "status": "VARCHAR",
        "verdict": "VARCHAR",
        "reason": "VARCHAR",
        "raw": "VARCHAR",
        "model": "VARCHAR",
    },
    is_state=False,
    laws=(
        Law(
            "one_verdict_a_pair",
            "a row and an item are judged once",
            "SELECT count(*) - count(DISTINCT (row_id, benchmark, item_id)) FROM {table}",
        ),
        Law(
            "verdicts_where_scored",
            "there is a verdict where the status says so, and only there",
            "SELECT count(*) FROM {table} WHERE (status = 'scored') != coalesce(verdict IN ('same', 'other'), false)",
        ),
    ),
)
PARENTS = ("decontaminated", "rule_hits", "contamination_candidates", "benchmarks")


def _prompt(folder: Folder) -> Prompt:
    return load("contamination", folder.prompts, frozenset({"item", "text"}))


def _version(folder: Folder, recipe: Recipe) -> str:
    return version([_prompt(folder)])


class Pair(NamedTuple):
    """A row and an item that it may be, with the texts to compare."""

    row_id: bytes
    content_hash: bytes
    rank: int
    benchmark: str
    item_id: str
    text: str
    item: str

    @property
    def subject(self) -> bytes:
        return digest(self.content_hash, self.benchmark.encode(), b"\0", self.item_id.encode())

    def call(self, prompt: Prompt, model: str) -> Call:
        return prompt.call(self.subject, {"item": self.item, "text": self.text}, model)


def _pairs(evidence: Evidence) -> list[Pair]:
    """The candidates of the rows that no dropping rule hits, in the order of their contents."""
    with evidence.reading() as con:
        rows, hits = evidence.rows("decontaminated"), evidence.of("rule_hits")
        con.register("chosen", select(con, (), None, rows, hits, only="paraphrase_of IS NOT NULL").contents)
        found = con.execute(f"""
            WITH items AS (
                SELECT benchmark, item_id,
                    string_agg(field || ': ' || text, chr(10) ORDER BY field = 'question' DESC, field) AS item
                FROM {evidence.of("benchmarks")} GROUP BY ALL
            )
            SELECT row_id, content_hash, rank, benchmark, item_id,
                CASE WHEN turn <= len(messages) THEN messages[turn] ELSE d.rejected[turn - len(messages)] END AS said, item
            FROM {rows} AS d SEMI JOIN chosen USING (content_hash)
            JOIN {evidence.of("contamination_candidates")} USING (row_id)
            JOIN items USING (benchmark, item_id)
            ORDER BY content_hash, row_id, rank
        """).fetchall()
    said = ("\n".join(filter(None, (turn["reasoning"], turn["content"]))) for *_, turn, _ in found)
    return [
        Pair(row_id.bytes, content.bytes, rank, benchmark, item_id, text, item)
        for (row_id, content, rank, benchmark, item_id, _, item), text in zip(found, said, strict=True)
    ]


def _estimate(evidence: Evidence, folder: Folder, recipe: Recipe, bound: bool, most: int | None) -> Estimate:
    """What judging the candidates would take. Every row has a few candidates at most, most have none."""
    section = recipe.contamination_judgements
    if not section.judge or section.rows == 0:
        return Estimate(label(section.model), 0, 0)
    prompt = _prompt(folder)
    if bound:
        return at_most(recipe, section.model, section, [prompt], None, None)
    sizes = {pair.subject: len(pair.text.encode()) + len(pair.item.encode()) for pair in _pairs(evidence)}
    return estimated(folder, recipe, section.model, section, [prompt], dict(list(sizes.items())[: section.rows]))


@model_evidence(TABLE, deps=PARENTS, code=1, estimate=_estimate, data_of_code=_version)
def contamination_judgements(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What a judge says of contamination candidates: the same task as the test item, or another. Off by default."""
    section = recipe.contamination_judgements
    if not section.judge or section.rows == 0:
        evidence.notes |= {"wanted": 0}
        return
    prompt, pairs = _prompt(folder), _pairs(evidence)
    with open_door(evidence, folder, recipe, TABLE.name, section.model, section) as door:
        before = known(folder, section.model, [prompt])
        chosen = sorted(pairs, key=lambda pair: pair.subject not in before)[: section.rows]  # a stable sort: the rest in order
        by_subject: dict[bytes, list[Pair]] = {}
        for pair in chosen:  # rows of equal content share a verdict
            by_subject.setdefault(pair.subject, []).append(pair)
        statuses: Counter[str] = Counter()
        rows: list[dict[str, Any]] = []
        for done, (asked, reply) in enumerate(door.ask(some[0].call(prompt, section.model) for some in by_subject.values()), 1):
            rows += [_row(pair, reply) for pair in by_subject[asked.subject]]
            statuses[rows[-1]["status"]] += 1
            evidence.progress(done, len(by_subject))
        names = list(TABLE.columns)
        evidence.insert(
            pa.table(
                {
                    "row_id": uuids([row["row_id"] for row in rows]),
                    "rank": pa.array([row["rank"] for row in rows], pa.int32()),
                    **{name: pa.array([row[name] for row in rows], pa.string()) for name in names[2:-1]},
                    "model": pa.array([label(section.model)] * len(rows), pa.string()),
                }
            )
        )
        evidence.notes |= notes(door, section.model, statuses, len({pair.subject for pair in pairs}), len(by_subject))


def _row(pair: Pair, reply: Reply) -> dict[str, Any]:
    row = {"row_id": pair.row_id, "rank": pair.rank, "benchmark": pair.benchmark, "item_id": pair.item_id}
    verdict = reply.value.get("verdict") if reply.status == "ok" and isinstance(reply.value, dict) else None
    if verdict in ("same", "other"):
        return {**row, "status": "scored", "verdict": verdict, "reason": reply.value.get("reason"), "raw": None}
    status = "unparsed" if reply.status == "ok" else reply.status
    return {**row, "status": status, "verdict": None, "reason": None, "raw": reply.raw or reply.error or None}
