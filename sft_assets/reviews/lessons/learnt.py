"""What people teach: how far they agree, how often the pipeline is right, where they would draw its lines.

    sft review results        Lessons(agreements=[...], audited=[kept 57 of 60 ...], asked=[...], suggestions=[helpfulness ...])

    row 9f3c   keep, of scored            helpfulness 4, ifd 0.71      ->  a value among what people keep
    row 41d0   drop, of scored            helpfulness 1, ifd 1.13      ->  among what they drop
    row 7b22   keep, of deduped           jaccard 0.81                 ->  among what is no duplicate to them

What is learnt of a threshold comes from decisions that count (`counting`): of scores from those about the row itself, of
Jaccard, coverage and cosine from those about duplicates, test items and rows that are too similar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa

from sft_assets.arrow import uuids
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.reviews.counting import votes
from sft_assets.reviews.decisions import Decision, Reviews, read
from sft_assets.reviews.lessons.agreement import Agreement, agreements, opinions, together
from sft_assets.reviews.lessons.precision import Stratum, strata
from sft_assets.reviews.lessons.thresholds import Signal, Suggestion, suggestions
from sft_assets.reviews.queue import load, names
from sft_assets.warehouse import Version
from sft_assets.warehouse.opening import to_look
from sft_assets.warehouse.versions import read_versions

COMPARING = {  # how alike a row is to something else: the state, and the reason, that drop it for that
    "jaccard": ("deduped", "near_duplicate"),
    "coverage": ("decontaminated", "benchmark_coverage"),
    "cosine": ("clustered", "too_similar"),
}
SCORES = {"likelihood": False, "ifd": True, "reward": False}  # beside rubrics: whether it is too much of it that is bad
OF_THE_ROW = ("combined", "scored")  # states whose decisions are about a row alone, of those that have scores


@dataclass(frozen=True)
class Lessons:
    """What the decisions of a folder, or about one queue of it, say. decided: rows that decisions count of, with a queue or
    without. audited: of rows drawn at random; asked: of those asked about for another reason."""

    decided: int
    agreements: tuple[Agreement, ...] = ()
    together: Agreement | None = None
    audited: tuple[Stratum, ...] = ()
    asked: tuple[Stratum, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

    def as_json(self, tried: Mapping[str, tuple[int, int] | SftError]) -> dict[str, Any]:
        """For machines. tried: the rows that are kept without and with a suggested threshold, by signal, or why that cannot be
        said."""
        found: dict[str, Any] = _plain(self)
        for stratum, one in zip(found["audited"], self.audited, strict=True):
            stratum["share"] = _plain(one.share)
        for suggested, said in zip(found["suggestions"], self.suggestions, strict=True):
            what = tried.get(said.signal.name)
            if isinstance(what, SftError):
                suggested["what_if"] = {"error": str(what)}
            elif what is not None:
                suggested["what_if"] = {"kept": list(what)}
        return found


def results(folder: Folder, queue: str | None = None) -> Lessons:
    """What people taught so far. queue: only what was decided of that one.

    Raises:
        SftError: nobody was asked in a queue of that name, a line of reviews.jsonl is no decision, or the recipe is none.
    """
    found, recipe = read(folder), Recipe.load(folder.recipe)
    if queue is not None:
        known = sorted({one.queue for one in found.log if one.queue} | set(names(folder)))
        if queue not in known:
            there = did_you_mean(queue, known, "there are") if known else "there is none: `sft review export` makes one"
            raise SftError(f"there is no queue {queue!r} in {folder.queues}; {there}")
        found = Reviews(found.path, tuple(one for one in found.log if one.queue == queue))
    if not folder.database.exists():
        return lessons(found)
    with to_look(folder).reading() as con:
        return lessons(found, heard(con, {v.asset: v for v in read_versions(con)}, folder, recipe, found))


def lessons(reviews: Reviews, suggested: tuple[Suggestion, ...] = ()) -> Lessons:
    """What decisions say, with what was found of thresholds (`heard`)."""
    found = agreements(reviews.log)
    decided = {(one.row_id, one.content_hash) for one in reviews.decisions}
    decided |= {item[1:3] for item, said in votes(reviews.log).items() if opinions(said)}
    return Lessons(
        len(decided),
        found,
        together(reviews.log) if len(found) > 1 else None,
        strata(reviews.log),
        strata(reviews.log, audit=False),
        suggested,
    )


# --------------------------------------------------------------------------------------------------- decisions and signals


def heard(
    con: duckdb.DuckDBPyConnection, versions: Mapping[str, Version], folder: Folder, recipe: Recipe, reviews: Reviews
) -> tuple[Suggestion, ...]:
    """The thresholds that decisions suggest, with scores as they are now; likeness is as it was when it was asked about, since
    the ledger says nothing of a row that is dropped no more."""
    asked = _asked(folder, reviews.decisions)
    sides: dict[str, dict[str, list[float]]] = {"keep": {}, "drop": {}}
    alone = {one.content_hash: one for one in reviews.decisions if about_the_row(one)}
    for name, content, value in _scores(con, versions, [content.bytes for content in alone]):
        sides[_side(alone[content])].setdefault(name, []).append(value)
    for name, (state, reason) in COMPARING.items():
        compared = {one.row_id: one for one in reviews.decisions if _side(one) and _is_about(one, state, reason)}
        values = _evidence(con, state, reason, name, list(compared))
        values |= {row_id: asked[_key(one)][name] for row_id, one in compared.items() if name in asked[_key(one)]}
        for row_id, value in values.items():
            sides[_side(compared[row_id])].setdefault(name, []).append(value)
    return suggestions(signals(recipe), sides["keep"], sides["drop"])


def signals(recipe: Recipe) -> list[Signal]:
    """The numbers that states decide by, with the recipe's settings."""
    found = [Signal("jaccard", "deduped", "threshold", True, recipe.deduped.threshold)]
    found += [Signal("coverage", "decontaminated", "coverage", True, recipe.decontaminated.coverage)]
    found += [Signal("cosine", "clustered", "similarity", True, recipe.clustered.similarity)]
    for name, above in {**dict.fromkeys(recipe.judgements.rubrics, False), **SCORES}.items():
        side, limits = "drop_above" if above else "drop_below", recipe.scored.thresholds.get(name)
        now = getattr(limits, side) if limits else None
        found.append(Signal(name, "scored", f"thresholds.{name}.{side}", above, now))
    return found


def about_the_row(one: Decision) -> bool:
    """Whether a decision says that a row is to be kept, or to go, for what it says itself, and not for its likeness to another
    row or to a test item."""
    alone = not one.about.startswith(tuple(f"{state} " for state, _ in COMPARING.values()))
    return bool(_side(one)) and one.state in OF_THE_ROW and alone and "test_item" not in one.about


def _side(one: Decision) -> str:
    """'keep', of an edit too, 'drop', or '': it says neither."""
    return {"keep": "keep", "edit": "keep", "drop": "drop"}.get(one.decision, "")


def _is_about(one: Decision, state: str, reason: str) -> bool:
    """Whether a state dropped the row for this reason; of a decision without a queue the ledger tells the reason."""
    return one.about == f"{state} {reason}" or (not one.about and one.state == state)


def _key(one: Decision) -> tuple[str, UUID, UUID]:
    return one.queue, one.row_id, one.content_hash


def _asked(folder: Folder, decisions: Iterable[Decision]) -> dict[tuple[str, UUID, UUID], Mapping[str, Any]]:
    """The signals that items of queues were asked about with; nothing where a queue is gone or cannot be read any more."""
    decisions, there = list(decisions), set(names(folder))
    found: dict[tuple[str, UUID, UUID], Mapping[str, Any]] = {_key(one): {} for one in decisions}
    for name in sorted({one.queue for one in decisions} & there):
        with suppress(SftError):
            for item in load(folder, name).items:
                if (key := (name, item.row_id, item.content_hash)) in found:
                    found[key] = {k: v for k, v in item.signals.items() if isinstance(v, int | float)}
    return found


def _scores(
    con: duckdb.DuckDBPyConnection, versions: Mapping[str, Version], contents: Sequence[bytes]
) -> list[tuple[str, UUID, float]]:
    """(score, content, value) of these contents."""
    parts = []
    if "judgements" in versions:
        parts.append(f"SELECT rubric, content_hash, score FROM {versions['judgements'].table} WHERE status = 'scored'")
    if "likelihoods" in versions:
        of = versions["likelihoods"].table
        parts += [f"SELECT '{name}', content_hash, {name} FROM {of} WHERE isfinite({name})" for name in ("likelihood", "ifd")]
    if "rewards" in versions:
        parts.append(f"SELECT 'reward', content_hash, reward FROM {versions['rewards'].table} WHERE isfinite(reward)")
    if not parts or not contents:
        return []
    con.register("decided", pa.table({"content_hash": uuids(list(contents))}))
    sql = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS s (name, content_hash, value)"
    found = con.execute(f"{sql} SEMI JOIN decided USING (content_hash) ORDER BY ALL").fetchall()
    con.unregister("decided")
    return found


def _evidence(con: duckdb.DuckDBPyConnection, state: str, reason: str, name: str, rows: Sequence[UUID]) -> dict[UUID, float]:
    """What the ledger says of rows that a state dropped for this reason."""
    if not rows:
        return {}
    con.register("decided", pa.table({"row_id": uuids([row_id.bytes for row_id in rows])}))
    found = con.execute(
        "SELECT row_id, (evidence ->> ?)::DOUBLE AS value FROM dropped SEMI JOIN decided USING (row_id) "
        "WHERE state = ? AND reason = ? AND value IS NOT NULL",
        [name, state, reason],
    ).fetchall()
    con.unregister("decided")
    return dict(found)


def _plain(value: Any) -> Any:
    """Dataclasses and figures as JSON has them."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, UUID) else value
