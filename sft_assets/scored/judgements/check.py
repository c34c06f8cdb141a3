"""`sft check judge`: how far a judge can be trusted, measured on the rows at hand.

    parsed             40 of 40           100 %  (91 to 100)
    repeatability      the same score twice  75 %  (53 to 89),  weighted kappa 0.61
    length bias        score and length      0.44  (0.15 to 0.66)
    position bias      the first of two answers is preferred in  71 %  (54 to 83); without bias 50 %
    agreement          with rules, with likelihood, with labels and pairs of people, with what people decided about rows
    cost               0.0003 a kept row

What has to be asked for it goes through the same door: cached, budgeted, and in the ledger as `check_judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.evidence import Evidence
from sft_assets.folder import Folder
from sft_assets.models.asking import label, open_door
from sft_assets.models.door import Call, Calls, Door, Reply
from sft_assets.models.prompt import Prompt, load
from sft_assets.recipe import Recipe
from sft_assets.record import Message, digest, messages_of
from sft_assets.reviews import Decision, read
from sft_assets.reviews.lessons import about_the_row
from sft_assets.scored.judgements.rubrics import call, rubrics, score_of
from sft_assets.scored.judgements.statistics import Figure, kappa, share, spearman
from sft_assets.scored.wanted import DROPPING

ASSET = "check_judge"
PAIR = frozenset({"conversation", "answer_a", "answer_b"})
KINDS = {  # of rows that are asked about, and which of `decontaminated` these are
    "dropped": f"EXISTS (FROM {{hits}} AS h WHERE h.content_hash = d.content_hash AND h.{DROPPING})",
    "good": "label",
    "bad": "label IS NOT DISTINCT FROM false",
    "pairs": "rejected[-1].role = 'assistant'",
}
Content = tuple[bytes, list[Message], list[Message] | None]


@dataclass
class Line:
    """One thing that was measured: the figure with its interval, and how to read it. figure None: too little to say."""

    what: str
    figure: Figure | None
    reading: str
    percent: bool = False


@dataclass
class Check:
    """What was found of one rubric and model."""

    model: str
    rubric: str
    statuses: dict[str, int]
    lines: list[Line] = field(default_factory=list)
    calls: int = 0
    cost: float = 0.0
    cost_per_kept_row: float = 0.0
    tokens_per_kept_row: float = 0.0
    stopped: str | None = None


def check(
    evidence: Evidence, folder: Folder, recipe: Recipe, rubric: str | None, rows: int, progress: Callable[[int], None]
) -> Check:
    """Measure a judge. rubric: of the recipe's, by default its first. rows: of each kind that is asked about.

    Raises:
        SftError: nothing was judged yet, or there is no such rubric.
    """
    section = recipe.judgements
    named = [prompt for prompt in rubrics(section.rubrics, folder.prompts) if rubric in (None, prompt.name)]
    if not named:
        raise SftError(f"judgements.rubrics has no {rubric!r}: {', '.join(section.rubrics) or 'none at all'}")
    prompt, pairwise = named[0], load("pairwise", folder.prompts, PAIR)
    scale = prompt.header.score
    assert scale is not None
    middle = (scale.lowest + scale.highest) / 2
    with evidence.reading() as con:
        judged = _judged(con, evidence, prompt.name)
        sample = {name: _rows(con, evidence, where, rows) for name, where in KINDS.items()}
        again = _contents(con, [content for content, *_ in judged[:rows]])
        kept = _kept(con, evidence) if "scored" in evidence.parents else 0
        rewards = _rewards(con, evidence) if "rewards" in evidence.parents else {}
        statuses = dict(
            con.execute(
                f"SELECT status, count(*) FROM {evidence.of('judgements')} WHERE rubric = ? GROUP BY 1 ORDER BY 1",
                [prompt.name],
            ).fetchall()
        )
    found = Check(label(section.model), prompt.name, statuses)
    with open_door(evidence, folder, recipe, ASSET, section.model, section, "sft check judge") as door:
        ask = _Asking(door, progress)
        twice = ask.scores(prompt, again, seed=1)
        dropped = ask.scores(prompt, sample["dropped"])
        good, bad = (ask.scores(prompt, sample[name]) for name in ("good", "bad"))
        verdicts = [(side, truth) for side, truth in ask.pairs(pairwise, sample["pairs"]) if side != "tie"]
    found.calls, found.cost, found.stopped = door.spent.calls, door.spent.cost, door.stopped
    scores = {content: score for content, score, *_ in judged}
    same = [(scores[content], score) for content, score in twice.items()]
    lengths = [(score, chars) for _, score, chars, _, _ in judged]
    by_rules = [(score <= middle, hit) for _, score, _, hit, _ in judged] + [(s <= middle, True) for s in dropped.values()]
    likely = [(score, likelihood) for _, score, _, _, likelihood in judged if likelihood is not None]
    decided = {one.content_hash.bytes: one.decision == "keep" for one in read(folder).decisions if is_graded(one)}
    people = [(score > middle, decided[content]) for content, score, *_ in judged if content in decided]
    people_likely = [(value, decided[content]) for content, *_, value in judged if value is not None and content in decided]
    rewarded = [(value, decided[content]) for content, value in rewards.items() if content in decided]
    labelled = [(score > middle, True) for score in good.values()] + [(score > middle, False) for score in bad.values()]
    parsed, total = statuses.get("scored", 0), sum(statuses.values())
    first = sum(side == "A" for side, _ in verdicts)
    preferred = [(side == "A", truth == "A") for side, truth in verdicts]
    found.lines = [
        Line("replies that could be read", share(parsed, total), "the others are kept as unparsed, refused or failed", True),
        Line("the same score when asked again", share(sum(a == b for a, b in same), len(same)), "", True),
        Line("kappa of the two scores", kappa(*_columns(same), weighted=True), "0 is chance, 1 is perfect"),
        Line("length bias", spearman(*_columns(lengths)), "rank correlation of score and length of the answer"),
        Line("position bias", share(first, len(verdicts)), "of two answers the first is preferred; 50 % is unbiased", True),
        Line("agreement with rules", kappa(*_columns(by_rules)), "kappa: low scores where a rule says drop or review"),
        Line("agreement with likelihood", spearman(*_columns(likely)), "rank correlation of score and likelihood"),
        Line("agreement with labels of people", kappa(*_columns(labelled)), "kappa: high scores where `label` is true"),
        Line("agreement with preferences of people", kappa(*_columns(preferred)), "kappa: the chosen answer is preferred"),
        Line("agreement with what people decided", kappa(*_columns(people)), "kappa: high scores where they keep, low: drop"),
    ]
    # of the models beside the judge, where there is something to say
    for what, pairs in (("likelihood", people_likely), ("reward", rewarded)):
        if figure := spearman(*_columns(pairs)):
            found.lines.append(Line(f"{what} and what people decided", figure, "rank correlation with keeping the row"))
    spent = Calls(folder.calls).totals(asset="judgements", model=section.model).values()
    if kept:
        found.cost_per_kept_row = sum(one.cost for one in spent) / kept
        found.tokens_per_kept_row = sum(one.tokens for one in spent) / kept
    return found


# ----------------------------------------------------------------------------------------------------------------- reading


def _judged(
    con: duckdb.DuckDBPyConnection, evidence: Evidence, rubric: str
) -> list[tuple[bytes, float, int, bool, float | None]]:
    """The contents that have a score: content, score, characters of the answer, whether a rule asks for drop or review,
    likelihood."""
    likelihood = (
        f"LEFT JOIN {evidence.of('likelihoods')} AS l USING (content_hash)" if "likelihoods" in evidence.parents else ""
    )
    found = con.execute(
        f"""
        SELECT content_hash, j.score, length(t.messages[-1].content),
            EXISTS (FROM {evidence.of("rule_hits")} AS h WHERE h.content_hash = j.content_hash AND h.action != 'signal'),
            {"l.likelihood" if likelihood else "NULL"}
        FROM {evidence.of("judgements")} AS j JOIN store.contents AS t USING (content_hash) {likelihood}
        WHERE j.rubric = ? AND j.status = 'scored' ORDER BY content_hash
        """,
        [rubric],
    ).fetchall()
    if not found:
        raise SftError(f"nothing is judged by {rubric} yet: `sft run judgements`, with judgements.rows above 0")
    return [(content.bytes, *rest) for content, *rest in found]


def is_graded(one: Decision) -> bool:
    """Whether people say that an answer is good or bad as it is: an edit says neither."""
    return one.decision in ("keep", "drop") and about_the_row(one)


def _rewards(con: duckdb.DuckDBPyConnection, evidence: Evidence) -> dict[bytes, float]:
    sql = f"SELECT content_hash, reward FROM {evidence.of('rewards')} WHERE reward IS NOT NULL ORDER BY 1"
    return {content.bytes: reward for content, reward in con.execute(sql).fetchall()}


def _kept(con: duckdb.DuckDBPyConnection, evidence: Evidence) -> int:
    """The rows that scored kept and the judge has spoken of."""
    judged = f"(SELECT content_hash FROM {evidence.of('judgements')} WHERE status = 'scored')"
    sql = f"SELECT count(*) FROM {evidence.of('scored')} SEMI JOIN {judged} USING (content_hash)"
    ((kept,),) = con.execute(sql).fetchall()
    return int(kept)


def _rows(con: duckdb.DuckDBPyConnection, evidence: Evidence, where: str, most: int) -> list[Content]:
    """Some contents of a kind, the first by content_hash."""
    found = con.execute(f"""
        SELECT DISTINCT ON (content_hash) content_hash, messages, rejected FROM {evidence.rows("decontaminated")} AS d
        WHERE messages[-1].role = 'assistant' AND {where.format(hits=evidence.of("rule_hits"))}
        ORDER BY content_hash LIMIT {most}
    """).fetchall()
    return [_content(*row) for row in found]


def _contents(con: duckdb.DuckDBPyConnection, hashes: list[bytes]) -> list[Content]:
    con.register("asked_again", pa.table({"content_hash": uuids(hashes)}))
    found = con.execute(
        "SELECT content_hash, messages, rejected FROM store.contents SEMI JOIN asked_again USING (content_hash)"
    )
    return [_content(*row) for row in found.fetchall()]


def _content(content: Any, messages: Any, rejected: Any) -> Content:
    return content.bytes, messages_of(messages) or [], messages_of(rejected)


# ------------------------------------------------------------------------------------------------------------------ asking


@dataclass
class _Asking:
    """Questions to the judge, and how many of them are answered."""

    door: Door
    progress: Callable[[int], None]
    done: int = 0

    def _ask(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Reply]]:
        for answer in self.door.ask(calls):
            self.done += 1
            self.progress(self.done)
            yield answer

    def scores(self, prompt: Prompt, contents: list[Content], seed: int | None = None) -> dict[bytes, float]:
        """Scores by content. `seed` makes it another question to the cache than the one that was asked before."""
        calls, contents_of = [], {}
        for content, messages, _ in contents:
            one = call(prompt, content, messages, self.door.model)
            # about another subject: what is asked here must not change which contents `judgements` takes for known
            one = replace(one, subject=digest(content, ASSET.encode()))
            calls.append(one if seed is None else replace(one, params={**one.params, "seed": seed}))
            contents_of[one.subject] = content
        scored = ((contents_of[asked.subject], score_of(prompt, reply).score) for asked, reply in self._ask(calls))
        return {content: score for content, score in scored if score is not None}

    def pairs(self, prompt: Prompt, contents: list[Content]) -> list[tuple[str, str]]:
        """Which of two answers is preferred ('A', 'B' or 'tie'), and which one people chose: each pair in both orders."""
        calls, truth = [], {}
        for content, messages, rejected in contents:
            *before, chosen = messages
            for place, answers in (("A", [chosen, rejected[-1]]), ("B", [rejected[-1], chosen])) if rejected else ():
                subject = digest(content, place.encode())
                data = {"conversation": before, "answer_a": answers[:1], "answer_b": answers[1:]}
                calls.append(prompt.call(subject, data, self.door.model))
                truth[subject] = place
        replies = [(truth[asked.subject], reply.value) for asked, reply in self._ask(calls) if reply.status == "ok"]
        verdicts = [(value.get("better"), place) for place, value in replies if isinstance(value, dict)]
        return [(side, place) for side, place in verdicts if side in ("A", "B", "tie")]


def _columns(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
