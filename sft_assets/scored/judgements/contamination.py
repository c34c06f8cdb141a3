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

from sft_assets.arrow import uuids
from sft_assets.asset import model_evidence
from sft_assets.evidence import Estimate, Evidence, least
from sft_assets.folder import Folder
from sft_assets.models.asking import at_most, estimated, known, label, notes, open_door
from sft_assets.models.door import Call, Reply
from sft_assets.models.prompt import Prompt, load
from sft_assets.recipe import Recipe
from sft_assets.record import digest
from sft_assets.scored.judgements.rubrics import version
from sft_assets.scored.wanted import selected
from sft_assets.warehouse.build import Law, Table

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
    unversioned=frozenset({"raw"}),
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
    chosen, rows = selected(evidence, (), None, "paraphrase_of IS NOT NULL"), evidence.rows("decontaminated")
    with evidence.reading() as con:
        con.register("chosen", chosen.contents)
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
        return at_most(recipe, section.model, section, [prompt], least(most, section.rows), None)
    chosen = _chosen(_pairs(evidence), known(folder, section.model, [prompt]), section.rows)
    sizes = {pair.subject: len(pair.text.encode()) + len(pair.item.encode()) for pair in chosen}
    return estimated(folder, recipe, section.model, section, [prompt], sizes)


@model_evidence(TABLE, deps=PARENTS, code=1, estimate=_estimate, data_of_code=_version, kinds=["openai"])
def contamination_judgements(evidence: Evidence, folder: Folder, recipe: Recipe) -> None:
    """What a judge says of contamination candidates: the same task as the test item, or another. Off by default."""
    section = recipe.contamination_judgements
    if not section.judge or section.rows == 0:
        evidence.notes |= {"model": "none", "statuses": {}}
        return
    prompt, pairs = _prompt(folder), _pairs(evidence)
    chosen = _chosen(pairs, known(folder, section.model, [prompt]), section.rows)
    by_subject: dict[bytes, list[Pair]] = {}
    for pair in chosen:  # rows of equal content share a verdict
        by_subject.setdefault(pair.subject, []).append(pair)
    with open_door(evidence, folder, recipe, TABLE.name, section.model, section) as door:
        statuses: Counter[str] = Counter()
        found: dict[bytes, Reply] = {}
        for asked, reply in door.ask(some[0].call(prompt, section.model) for some in by_subject.values()):
            found[asked.subject] = reply
            evidence.progress(len(found), len(by_subject))
        rows = [_row(pair, found.get(pair.subject)) for pair in pairs]
        statuses.update({row["subject"]: row["status"] for row in rows}.values())
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
        evidence.notes |= notes(evidence, door, section.model, statuses, len({pair.subject for pair in pairs}), len(by_subject))


def _chosen(pairs: list[Pair], before: set[bytes], most: int | None) -> list[Pair]:
    """The pairs of `most` contents: first of those whose pairs all have a reply, then in the order of content_hash."""
    whole = {pair.content_hash: True for pair in pairs}
    for pair in pairs:
        whole[pair.content_hash] &= pair.subject in before
    contents = set(sorted(whole, key=lambda content: (not whole[content], content))[:most])
    return [pair for pair in pairs if pair.content_hash in contents]


def _row(pair: Pair, reply: Reply | None) -> dict[str, Any]:
    """What is stored of a pair. One that was not asked about is there too: its row must not pass for judged."""
    row = {
        "row_id": pair.row_id, "rank": pair.rank, "benchmark": pair.benchmark, "item_id": pair.item_id,
        "subject": pair.subject, "status": "not_asked", "verdict": None, "reason": None, "raw": None,
    }  # fmt: skip
    if reply is None:
        return row
    value = reply.value if reply.status == "ok" and isinstance(reply.value, dict) else {}
    if value.get("verdict") in ("same", "other"):
        reason = value.get("reason")
        return {**row, "status": "scored", "verdict": value["verdict"], "reason": reason if isinstance(reason, str) else None}
    return {**row, "status": "unparsed" if reply.status == "ok" else reply.status, "raw": reply.raw or reply.error or None}
