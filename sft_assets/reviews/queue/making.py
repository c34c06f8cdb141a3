"""Items of what was picked: the texts as they stand in the content store, what they are compared with, marks and signals.

Candidate("audit", 9f3c..., about="scored refusal", evidence={"rules": [{"rule": "refusal", "turn": 2, "span": [0, 28], ...}]})
->  Item(messages=[...], marks=[Mark(turn=2, start=0, stop=28, why="refusal: The answer declines ...")], signals={"ifd": 0.71})

Only texts of picked rows are read. An item of the audit has no score of a model: nobody is to be led by what is being measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.formats.messages import write
from sft_assets.record import messages_of
from sft_assets.reviews.queue.item import Item, Mark, Other
from sft_assets.reviews.queue.picking import Candidate
from sft_assets.reviews.queue.questions import choices, question
from sft_assets.reviews.queue.standing import Standing
from sft_assets.scored.rule_hits.rules import rules

SHOWN = (  # of what the ledger says, next to the row
    "jaccard", "prompt_similarity", "answer_similarity", "cosine", "coverage", "share", "words", "score", "value", "margin",
    "numbers", "embedding", "limit", "rank", "answers", "gate", "method", "matched",
)  # fmt: skip
FIELDS = ("question", "choices", "context", "answer", "solution")  # of a test item, as they are shown


class Text(NamedTuple):
    messages: list[dict[str, Any]]
    rejected: list[dict[str, Any]] | None
    tools: str | None


class Row(NamedTuple):
    source: str
    kind: str
    label: bool | None
    generated: bool


def make(rows: Standing, candidates: Sequence[Candidate]) -> list[Item]:
    """An item of each candidate, numbered from 1; its queue has no name yet."""
    new = [one for one in candidates if one.again is None]
    told = _Told(rows, new)
    return [
        one.again.model_copy(update={"queue": "", "number": n, "asked": "disputed", "reviewers": []})
        if one.again is not None
        else told.item(n, one)
        for n, one in enumerate(candidates, 1)
    ]


class _Told:
    """What there is to tell of candidates, read at once."""

    def __init__(self, rows: Standing, candidates: Sequence[Candidate]):
        contents = [h for one in candidates for h in (one.content_hash, one.other_hash) if h is not None]
        self.texts = _texts(rows, contents)
        self.rows = _rows(rows, [one.row_id for one in candidates])
        self.tests = _tests(rows, {key for one in candidates if (key := _test_of(one))})
        self.hits = _hits(rows, [one.content_hash for one in candidates])
        self.scores = _scores(rows, candidates)
        self.whys = rules()

    def item(self, number: int, one: Candidate) -> Item:
        text, row = self.texts[one.content_hash], self.rows[one.row_id]
        other = self._other(one)
        compared = other is not None
        return Item(
            queue="",
            number=number,
            row_id=one.row_id,
            content_hash=one.content_hash,
            asked=one.asked,
            about=one.about,
            audit=one.audit,
            state=one.state,
            verdict=one.verdict,
            kind=row.kind,
            generated=row.generated,
            source=row.source,
            question=question(one.asked, one.state, one.verdict, one.about, row.kind, row.generated, row.label),
            choices=choices(one.asked, one.verdict, row.kind, row.generated, compared, text.messages),
            messages=text.messages,
            rejected=text.rejected,
            tools=text.tools,
            marks=self._marks(one, text),
            other=other,
            signals=self._signals(one, row),
        )

    def _other(self, one: Candidate) -> Other | None:
        if one.other_hash is not None:
            messages = self.texts[one.other_hash].messages
            return Other(what="row", row_id=one.other_id, content_hash=one.other_hash, messages=messages)
        key = _test_of(one)
        if key is None or key not in self.tests:
            return None
        item = self.tests[key]
        matched = [(m, item.find(m)) for mark in self._marks(one, self.texts[one.content_hash]) if (m := self._said(one, mark))]
        marks = [Mark(turn=0, start=at, stop=at + len(said)) for said, at in matched if at >= 0]
        return Other(what="test item", name=" ".join(key), text=item, marks=marks)

    def _said(self, one: Candidate, mark: Mark) -> str:
        return _turn(self.texts[one.content_hash], mark.turn, mark.rejected)[mark.start : mark.stop]

    def _marks(self, one: Candidate, text: Text) -> list[Mark]:
        """The spans that speak for the verdict, where they lie in what a turn says."""
        found = []
        for rule in one.evidence.get("rules", ()):
            why = f"{rule['rule']}: {rule['why']}" if rule.get("why") else rule["rule"]
            found.append((rule["turn"], rule["span"], why, False, rule.get("matched")))
        if "spans" in one.evidence and "part" not in one.evidence:
            side, _, place = str(one.evidence["turn"]).partition(" ")
            rejected = side == "rejected"
            turn = int(place or 1) if rejected else int(side)
            found += [(turn, span, " ".join(_test_of(one) or ()), rejected, None) for span in one.evidence["spans"]]
        for rule, action, turn, start, stop, said in self.hits[one.content_hash] if one.verdict != "dropped" else ():
            if one.asked == "signals" or (one.verdict == "review" and action != "signal"):
                found.append(
                    (turn, (start, stop), f"{rule}: {self.whys[rule].why}" if rule in self.whys else rule, False, said)
                )
        marks = []
        for turn, (start, stop), why, rejected, matched in found:
            said = _turn(text, turn, rejected)[start:stop]
            if said and (matched is None or said.startswith(matched[:200])):  # a hit may be in a call of a tool
                marks.append(Mark(turn=turn, start=start, stop=stop, why=why, rejected=rejected))
        return marks

    def _signals(self, one: Candidate, row: Row) -> dict[str, Any]:
        told = {name: one.evidence[name] for name in SHOWN if isinstance(one.evidence.get(name), str | int | float)}
        if row.label is not None:
            told["label"] = "good" if row.label else "bad"
        if one.audit:
            return told
        ranks = {name: value for name, value in sorted(one.evidence.items()) if name.startswith("rank by ")}
        return {**told, **self.scores.get(one.row_id, {}), **ranks}


def _turn(text: Text, turn: int, rejected: bool) -> str:
    turns = (text.rejected or []) if rejected else text.messages
    return str(turns[turn - 1].get("content") or "") if 1 <= turn <= len(turns) else ""


def _test_of(one: Candidate) -> tuple[str, str] | None:
    """The test item that a candidate is compared with: benchmark and id."""
    said = one.evidence.get("test_item") or one.evidence
    return (said["benchmark"], said["item_id"]) if said.get("benchmark") and said.get("item_id") else None


# ------------------------------------------------------------------------------------------------------------ the database


def _given(rows: Standing, sql: str, **columns: pa.Array) -> list[tuple[Any, ...]]:
    """What a query gives that reads these columns as the table `given`."""
    rows.con.register("given", pa.table(columns))
    found = rows.con.execute(sql).fetchall()
    rows.con.unregister("given")
    return found


def _ids(values: Iterable[UUID]) -> pa.Array:
    return uuids(sorted({value.bytes for value in values}))


def _texts(rows: Standing, contents: Iterable[UUID]) -> dict[UUID, Text]:
    sql = "SELECT content_hash, messages, rejected, tools FROM store.contents SEMI JOIN given USING (content_hash)"
    found = {}
    for content_hash, messages, rejected, tools in _given(rows, sql, content_hash=_ids(contents)):
        losing = messages_of(rejected)
        found[content_hash] = Text(write(messages_of(messages) or []), None if losing is None else write(losing), tools)
    return found


def _rows(rows: Standing, ids: Iterable[UUID]) -> dict[UUID, Row]:
    sql = "SELECT row_id, source, kind, label, generated FROM asked_rows SEMI JOIN given USING (row_id)"
    found = _given(rows, sql, row_id=_ids(ids))
    return {row_id: Row(source or "", kind or "sft", label, made) for row_id, source, kind, label, made in found}


def _tests(rows: Standing, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The texts of test items, their question first."""
    if not rows.has("benchmarks") or not (keys := sorted(keys)):
        return {}
    found = _given(
        rows,
        f"""
        SELECT DISTINCT benchmark, item_id, field, text
        FROM {rows.table("benchmarks")} SEMI JOIN given USING (benchmark, item_id) ORDER BY ALL
        """,
        benchmark=pa.array([key[0] for key in keys]),
        item_id=pa.array([key[1] for key in keys]),
    )
    said: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for benchmark, item_id, field, text in found:
        place = FIELDS.index(field) if field in FIELDS else len(FIELDS)
        said[benchmark, item_id].append((place, text if field == "question" else f"{field}: {text}"))
    return {key: "\n\n".join(text for _, text in sorted(texts)) for key, texts in said.items()}


def _hits(rows: Standing, contents: Iterable[UUID]) -> Mapping[UUID, list[tuple[Any, ...]]]:
    """The hits of rules in contents: rule, action, turn, start, stop and what was matched."""
    found: dict[UUID, list[tuple[Any, ...]]] = defaultdict(list)
    if rows.has("rule_hits"):
        sql = f"""
            SELECT content_hash, rule, action, turn, start, stop, matched
            FROM {rows.table("rule_hits")} SEMI JOIN given USING (content_hash) ORDER BY turn, start, rule
        """
        for content_hash, *hit in _given(rows, sql, content_hash=_ids(contents)):
            found[content_hash].append(tuple(hit))
    return found


def _scores(rows: Standing, candidates: Sequence[Candidate]) -> dict[UUID, dict[str, Any]]:
    """What is known of rows, by row: the rules that hit them, and what models say of them."""
    told: dict[UUID, dict[str, Any]] = defaultdict(dict)
    columns = {
        "scored": "rule_names, judge_scores, likelihood_ifd, likelihood_score, reward_score",
        "generation_scores": "[]::VARCHAR[], judge_scores, likelihood_ifd, likelihood_likelihood, reward",
    }
    for asset, names in columns.items():
        if not rows.has(asset):
            continue
        sql = f"SELECT row_id, {names} FROM {rows.table(asset)} SEMI JOIN given USING (row_id)"
        for row_id, hit, judged, ifd, likelihood, reward in _given(rows, sql, row_id=_ids(one.row_id for one in candidates)):
            scores = {**{f"judge, {rubric}": score for rubric, score in sorted((judged or {}).items())},
                      "ifd": ifd, "likelihood": likelihood, "reward": reward}  # fmt: skip
            told[row_id] |= {"rules": ", ".join(hit)} if hit else {}
            told[row_id] |= {name: round(value, 4) for name, value in scores.items() if value is not None}
    return told
