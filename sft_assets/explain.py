"""The life of a row: where it came from, what was edited, and what each state decided, with the evidence.

$ sft explain 9f3c
9f3c6a10  questions.json:17 (alpaca)
  raw             kept
  combined        kept      masked_email  turn 1
  deduped         dropped   near_duplicate of 51ab03d2 (questions.json:4), Jaccard 0.93

A generated row's life begins with its making; what it was made from has a life of its own, which is told as well. So it
is with a pair that people made of two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import duckdb
import orjson

from sft_assets.augmented.candidate import PEOPLE
from sft_assets.errors import SftError
from sft_assets.record import Message, messages_of
from sft_assets.reviews import Decision, Reviews
from sft_assets.reviews.counting import votes, winners
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions


@dataclass
class Step:
    """What one state did with the row: 'kept', 'dropped', 'quarantined', 'refused' or 'not built'."""

    state: str
    verdict: str
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    reviewed: str = ""  # what people decided, who and why


@dataclass
class Life:
    """One row from its file to where it is now."""

    row_id: str | None
    source: str
    place: str
    format: str | None
    steps: list[Step]
    messages: list[Message] | None = None
    kept_messages: list[Message] | None = None  # of the row whose duplicate this one is
    kept_place: str = ""
    unapplied: list[str] = field(default_factory=list)  # what people decided that no state has applied
    parents: list[Life] = field(default_factory=list)  # of a generated row, those that it was made from


MANY = 20
FELL_WITH = "SELECT messages FROM store.contents WHERE content_hash = ?::UUID"
NO_PAIR = {  # why two rows that people compared are no pair
    "decided_again": "it was decided otherwise later",
    "no_answers": "one of them is no answer to a prompt",
    "other_prompt": "they answer another prompt each",
    "other_system_turn": "they have other system turns",
    "other_tools": "they have other tools",
    "equal_answers": "their answers are equal",
    "is_there": "a pair of the same texts is there",
}
PAST = {
    "keep": "kept", "drop": "dropped", "review": "marked for review", "edit": "answer edited",
    "prefer_a": "preferred", "prefer_b": "the other answer preferred", "tie": "found as good as another",
}  # fmt: skip


def _one(con: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of a query, or None."""
    rows = con.execute(sql, values).fetchall()
    return rows[0] if rows else None


def explain(house: Warehouse, what: str, states: Sequence[str], reviews: Reviews | None = None) -> list[Life]:
    """The lives that `what` names: a row id or its beginning (4 characters or more), or FILE:POSITION. reviews: what people
    decided, for what of it is not applied yet.

    Raises:
        SftError: nothing is called that, or too much is.
    """
    with house.reading() as con:
        versions = {v.asset: v for v in read_versions(con)}
        if "raw" not in versions:
            raise SftError(f"{house.path}: there is no dataset yet; `sft run` builds it")
        lives = _by_place(con, what, states, versions) if ":" in what else _by_id(con, what, states, versions)
        for life in lives:
            _decided(con, life, versions, reviews)
    if not lives:
        raise SftError(
            f"nothing is called {what!r}: give a row id (or its first characters, as reports show them) or FILE:POSITION, "
            "such as questions.json:17"
        )
    return lives


def _by_id(con: duckdb.DuckDBPyConnection, what: str, states: Sequence[str], versions: dict[str, Version]) -> list[Life]:
    digits = what.strip().lower().rstrip("….").replace("-", "")
    if not 4 <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise SftError(f"{what!r} is neither a row id (4 to 32 hex digits of it) nor FILE:POSITION")
    tables = [versions[s].table for s in ("raw", "combined", "generations", "augmented") if s in versions]
    union = " UNION ".join(f"SELECT row_id FROM {t}" for t in tables) + " UNION SELECT row_id FROM dropped"
    bounds = [str(UUID(digits.ljust(32, end))) for end in "0f"]  # as a range: no id is made a text to be looked at
    found = con.execute(
        f"SELECT row_id::VARCHAR FROM ({union}) WHERE row_id BETWEEN ?::UUID AND ?::UUID ORDER BY 1 LIMIT {MANY + 1}", bounds
    ).fetchall()
    if len(found) > MANY:
        raise SftError(f"more than {MANY} rows begin with {what!r}; give more characters")
    return [_life(con, row_id, states, versions) for (row_id,) in found]


def _by_place(con: duckdb.DuckDBPyConnection, what: str, states: Sequence[str], versions: dict[str, Version]) -> list[Life]:
    file, _, position = what.rpartition(":")
    if not (position.isascii() and position.isdigit() and len(position) < 16):
        raise SftError(f"{what!r}: after the file's name comes a position (line or element number), such as {file}:17")
    at = int(position)
    names = [
        name
        for (name,) in con.execute(
            f"SELECT source_file FROM {versions['raw'].table} UNION SELECT source_file FROM quarantine"
        ).fetchall()
        if name == file or name.endswith("/" + file.removeprefix("sources/")) or name == file.removeprefix("sources/")
    ]
    lives = []
    for name in sorted(names):
        raw = con.execute(
            f"SELECT row_id::VARCHAR FROM {versions['raw'].table} WHERE source_file = ? AND source_row = ?", [name, at]
        ).fetchall()
        for (record_id,) in raw:
            rows = _rows_of(con, record_id, versions)
            lives += [_life(con, row_id, states, versions) for row_id in rows or [record_id]]
        if not raw:
            lives += _unread(con, name, at)
    return lives


def _rows_of(con: duckdb.DuckDBPyConnection, record_id: str, versions: dict[str, Version]) -> list[str]:
    if "combined" not in versions:
        return []
    sql = f"SELECT row_id::VARCHAR FROM {versions['combined'].table} WHERE record_id = ?::UUID ORDER BY 1"
    return [row_id for (row_id,) in con.execute(sql, [record_id]).fetchall()]


def _unread(con: duckdb.DuckDBPyConnection, name: str, at: int) -> list[Life]:
    """What quarantine knows of a place that raw did not keep: the record, or the whole file."""
    rows = con.execute(
        """
        SELECT state, source, position, reason, detail, sha256, excerpt FROM quarantine
        WHERE source_file = ? AND (position = ? OR position IS NULL)
        """,
        [name, at],
    ).fetchall()
    lives = []
    for state, source, position, reason, detail, sha256, excerpt in rows:
        verdict = "refused" if position is None else "quarantined"
        evidence = {"detail": detail, "sha256": sha256, "excerpt": excerpt}
        place = name if position is None else f"{name}:{position}"
        lives.append(Life(None, source, place, None, [Step(state, verdict, reason, evidence)]))
    return lives


def _life(con: duckdb.DuckDBPyConnection, row_id: str, states: Sequence[str], versions: dict[str, Version]) -> Life:
    if "generations" in versions and (life := _generated(con, row_id, states, versions)):
        return life
    if "augmented" in versions and (life := _of_two(con, row_id, states, versions)):
        return life
    record_id = row_id
    if "combined" in versions:
        found = _one(con, f"SELECT record_id::VARCHAR FROM {versions['combined'].table} WHERE row_id = ?::UUID", [row_id])
        record_id = found[0] if found else row_id
    sql = f"SELECT source, source_file, source_row, format FROM {versions['raw'].table} WHERE row_id = ?::UUID"
    place = _one(con, sql, [record_id])
    source, file, position, format_name = place or ("", "(no longer in the sources)", 0, None)
    life = Life(row_id, source, f"{file}:{position}" if place else file, format_name, [])
    for state in states:
        step = _step(con, state, row_id, record_id, versions)
        life.steps.append(step)
        if step.verdict != "kept":
            break
    life.messages = _messages(con, row_id, versions)
    other = life.steps[-1].evidence.get("of")
    if other:
        life.kept_messages = _messages(con, other, versions)
        twin = _one(con, "SELECT source_file, source_row FROM combined WHERE row_id = ?::UUID", [other])
        life.kept_place = f"{twin[0]}:{twin[1]}" if twin else ""
    return life


def _generated(con: duckdb.DuckDBPyConnection, row_id: str, states: Sequence[str], versions: dict[str, Version]) -> Life | None:
    """The life of a generated row: what it was made from and how, and what became of it. None: it is none."""
    cursor = con.execute(
        f"""
        SELECT g.method, g.source, g.license, g.model, g.document, g.spans, g.prompts, g.parameters, g.choices, g.seed,
            g.attempt, g.topic_name, g.wanted, g.parents, g.edits, g.draft, t.messages
        FROM {versions["generations"].table} AS g LEFT JOIN store.contents AS t USING (content_hash) WHERE row_id = ?::UUID
        """,
        [row_id],
    )
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    if not rows:
        return None
    made = dict(zip(names, rows[0], strict=True))
    parameters = orjson.loads(made["parameters"])
    how = {
        f"prompt {name}": f"sha256 {sha[:12]}  {_settings(parameters.get(name, {}))}"
        for name, sha in orjson.loads(made["prompts"]).items()
    }
    grounds = {
        f"span {n}": f"{s['document']} {s['start']} to {s['stop']}: {s['quote']}" for n, s in enumerate(made["spans"] or [], 1)
    }
    wanted = ", ".join(filter(None, [made["topic_name"], *map(str, orjson.loads(made["wanted"]).values())]))
    evidence = {
        "model": made["model"],
        **how,
        "choices": ", ".join(f"{k}: {v}" for k, v in orjson.loads(made["choices"]).items()),
        "seed": f"{made['seed']}, attempt {made['attempt']}",
        "wanted": wanted,
        "parents": ", ".join(str(parent)[:8] for parent in made["parents"]),
        "document": made["document"],
        **grounds,
        "license": made["license"],
    }
    step = Step(
        "generations",
        "made",
        "",
        {k: v for k, v in evidence.items() if v},
        [tuple(e[:2]) for e in orjson.loads(made["edits"] or "[]")],
    )
    messages = _as_made(con, row_id, versions) or messages_of(made["messages"])
    life = Life(row_id, made["source"], f"made by {made['method']}", None, [step], messages)
    if made["draft"]:
        life.messages = [Message(role, text) for role, text in orjson.loads(made["draft"])]
    _later(con, life, states, versions)
    if life.steps[-1].evidence.get("edited_by"):  # it fell with the text that people gave it, which may still be stored
        fallen = _one(con, FELL_WITH, [life.steps[-1].evidence["content_hash"]])
        life.messages = messages_of(fallen[0]) if fallen else life.messages
    if other := life.steps[-1].evidence.get("of"):
        life.kept_messages, life.kept_place = _messages(con, other, versions), f"row {other[:8]}"
    life.parents = [_life(con, str(parent), states, versions) for parent in made["parents"]]
    return life


def _later(con: duckdb.DuckDBPyConnection, life: Life, states: Sequence[str], versions: dict[str, Version]) -> None:
    """What became of a row that was made."""
    assert life.row_id is not None
    for state in states[states.index("augmented") :]:
        life.steps.append(_step(con, state, life.row_id, life.row_id, versions))
        if life.steps[-1].verdict != "kept":
            break


def _of_two(con: duckdb.DuckDBPyConnection, row_id: str, states: Sequence[str], versions: dict[str, Version]) -> Life | None:
    """The life of a pair that people made of two rows: whose word it was, and the rows. None: it is none."""
    there = f"""
        SELECT generated_by, generated_parents::VARCHAR[] FROM {versions["augmented"].table}
        WHERE row_id = ?::UUID AND generated_method = '{PEOPLE}'
    """
    gone = f"""
        SELECT coalesce(evidence -> 'made_by', '{{}}'), (evidence -> 'compared')::VARCHAR[] FROM dropped
        WHERE row_id = ?::UUID AND state = 'augmented' AND evidence ->> 'method' = '{PEOPLE}'
    """
    found = _one(con, there, [row_id]) or _one(con, gone, [row_id])
    if found is None:
        return None
    told, parents = orjson.loads(found[0]), found[1]
    names = ("reviewer", "time", "why", "queue", "license")
    evidence = {
        "chosen": f"the answer of {parents[0][:8]}",
        "rejected": f"the answer of {parents[1][:8]}",
        **{name: told[name] for name in names if told.get(name)},
    }
    life = Life(row_id, f"generated:{PEOPLE}", "made by people of two rows", None, [Step("compared", "made", "", evidence)])
    life.messages = _as_made(con, row_id, versions)
    _later(con, life, states, versions)
    for step in life.steps[1:]:
        step.evidence.pop("made_by", None)  # the first one has told it
    life.parents = [_life(con, parent, states, versions) for parent in parents]
    return life


def _settings(params: dict[str, Any]) -> str:
    shown = ("model", "temperature", "seed", "max_tokens")
    several = {name: value if isinstance(value, list) else [value] for name, value in params.items() if name in shown}
    return ", ".join(f"{name} {' and '.join(map(str, values))}" for name, values in several.items())


def _step(con: duckdb.DuckDBPyConnection, state: str, row_id: str, record_id: str, versions: dict[str, Version]) -> Step:
    if state not in versions:
        return Step(state, "not built")
    edits = con.execute("SELECT what, before FROM edits WHERE state = ? AND row_id = ?::UUID ORDER BY 1, 2", [state, row_id])
    step = Step(state, "kept", edits=edits.fetchall())
    id_here = record_id if state == "raw" else row_id
    if _one(con, f"SELECT 1 FROM {versions[state].table} WHERE row_id = ?::UUID", [id_here]):
        if state == "decontaminated" and "contamination_candidates" in versions:
            step.reason, step.evidence = _candidate(con, row_id, versions)
        if state == "scored":
            step.reason, step.evidence = _signals(con, row_id, versions)
        if state == "clustered":
            step.evidence = _topic(con, row_id, versions)
        if state == "augmented" and "generation_scores" in versions:
            step.reason, step.evidence = _accepted(con, row_id, versions)
        if state == "exported":
            split = _one(con, f"SELECT split FROM {versions[state].table} WHERE row_id = ?::UUID", [row_id])
            step.reason = f"in the {split[0]} split" if split else ""
        return step
    gone = _one(con, "SELECT reason, evidence FROM dropped WHERE state = ? AND row_id = ?::UUID", [state, row_id])
    if gone:
        step.verdict, step.reason, step.evidence = "dropped", gone[0], orjson.loads(gone[1])
        return step
    sql = "SELECT reason, detail, sha256, excerpt FROM quarantine WHERE state = ? AND record_id = ?::UUID"
    unread = _one(con, sql, [state, record_id])
    if unread:
        evidence = dict(zip(("detail", "sha256", "excerpt"), unread[1:], strict=True))
        step.verdict, step.reason, step.evidence = "quarantined", unread[0], evidence
        return step
    step.verdict, step.reason = "not built", "this state was made before the row came in; `sft plan` says what is stale"
    return step


def _decided(con: duckdb.DuckDBPyConnection, life: Life, versions: dict[str, Version], reviews: Reviews | None) -> None:
    """What people decided about the row: in the states that applied it, and what no state has applied."""
    here = con.execute("SELECT 1 FROM duckdb_views() WHERE view_name = 'reviewed' AND schema_name = 'main'").fetchall()
    own = str(life.row_id or "")
    about = [one for one in reviews.decisions if own in map(str, one.subject)] if reviews else []
    rows = list({own, *(str(one.row_id) for one in about)}) if own else []
    sql = """
        SELECT row_id::VARCHAR, state, decision, reviewer, time, why FROM reviewed
        WHERE row_id IN (SELECT unnest(?)::UUID) ORDER BY time
    """
    applied = con.execute(sql, [rows]).fetchall() if here and rows else []
    compared = {_entry(one): one for one in about if one.other}
    steps = {step.state: step for step in life.steps}

    def tell(state: str, words: str) -> None:
        if state in steps:
            steps[state].reviewed = "; ".join(filter(None, [steps[state].reviewed, words]))

    for entry in applied:
        row_id, state, decision, reviewer, at, why = entry
        if row_id == own and entry not in compared:
            tell(state, f"{PAST[decision]} by {reviewer}: {why} ({at})")
    if reviews is None:
        return
    told = versions["augmented"].report.get("comparisons", {}) if "augmented" in versions else {}
    without: dict[str, str] = told.get("without_pair", {})
    for one in about:
        pair = " ".join(map(str, one.subject))
        words = _preferred(one, own) if one.other else PAST[one.decision]
        if _entry(one) in applied and pair not in without:
            if one.other:
                tell(one.state, f"{words} by {one.reviewer}: {one.why} ({one.at})")
            continue
        if not one.is_applied:
            life.unapplied.append(f"{one.reviewer} agrees that {one.state} dropped it: {one.why} ({one.at})")
            continue
        seen = one.state in versions and versions[one.state].inputs.get(f"{one.state}_reviews") == reviews.version(one.state)
        why = "does not hold, as the row came with other content or not at all" if seen else "not yet applied: `sft run`"
        if seen and one.other:
            why = f"makes no pair: {NO_PAIR[without[pair]]}" if pair in without else f"{why} (this one, or the other)"
        life.unapplied.append(f"{words} by {one.reviewer} in {one.state}: {one.why} ({one.at}); {why}")
    for said in votes(reviews.log).values():
        won = winners(said)
        for one in said.values() if len(said) > 1 else ():
            if own in map(str, one.subject) and one not in won and one.decision != "skip":
                words = _preferred(one, own) if one.other else PAST[one.decision]
                why = f"outvoted by {', '.join(other.reviewer for other in won)}" if won else "a draw, so nobody's counts"
                life.unapplied.append(f"{words} by {one.reviewer} in {one.state}: {one.why} ({one.at}); {why}")


def _entry(one: Decision) -> tuple[str, ...]:
    """A decision as the ledger has it."""
    return str(one.row_id), one.state, one.decision, one.reviewer, one.at, one.why


def _preferred(one: Decision, row_id: str) -> str:
    """What a comparison says of one of its two rows."""
    a, b = map(str, one.subject)
    other = (b if row_id == a else a)[:8]
    if one.decision == "tie":
        return f"found as good as {other}"
    won = row_id == (a if one.decision == "prefer_a" else b)
    return f"preferred to {other}" if won else f"{other} preferred to it"


def _signals(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> tuple[str, dict[str, Any]]:
    """What is known of a row that scored kept: why it is to be reviewed, and each score that it has."""
    marks = _one(
        con,
        f"""
        SELECT verdict, review_reasons, rule_names, judge_scores, judge_model, likelihood_ifd, likelihood_score, reward_score,
            content_hash
        FROM {versions["scored"].table} WHERE row_id = ?::UUID
        """,
        [row_id],
    )
    assert marks is not None
    verdict, reasons, rules, judged, judge, ifd, likelihood, reward, content = marks
    evidence = {
        "why": ", ".join(reasons),
        "signals": ", ".join(rule for rule in rules if rule not in reasons),
        **{f"judge, {rubric}": value for rubric, value in (judged or {}).items()},
        "judge": judge,
        "instruction-following difficulty": ifd,
        "likelihood": likelihood,
        "reward": reward,
    }
    if judged and "judgements" in versions:
        said = f"SELECT rubric, reason FROM {versions['judgements'].table} WHERE content_hash = ?::UUID AND reason IS NOT NULL"
        evidence |= {
            f"judge, {rubric}": f"{judged[rubric]:g}  {reason}"
            for rubric, reason in con.execute(said, [content]).fetchall()
            if rubric in judged
        }
    return "marked for review" if verdict == "review" else "", {k: v for k, v in evidence.items() if v not in (None, "")}


def _accepted(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> tuple[str, dict[str, Any]]:
    """What the gates said of a generated row that is there; nothing of another."""
    found = _one(
        con,
        f"""
        SELECT a.generated_review, c.likelihood_ifd, c.judge_scores, c.reward, o.topic_name, a.generated_method,
            a.content_hash = g.content_hash
        FROM {versions["augmented"].table} AS a
        LEFT JOIN {versions["generations"].table} AS g USING (row_id)
        LEFT JOIN {versions["generation_scores"].table} AS o USING (row_id)
        LEFT JOIN {versions["generation_scores"].table} AS c ON c.row_id = a.row_id AND c.content_hash = a.content_hash
        WHERE a.row_id = ?::UUID AND a.generated_method IS NOT NULL
        """,
        [row_id],
    )
    if found is None:
        return "", {}
    review, ifd, judged, reward, topic, method, as_made = found
    passed = "passed every gate" if as_made else "passed the gates that ask no model, with the text that people gave it"
    passed = "there by the word of people" if method == PEOPLE else passed
    evidence = {
        "why": ", ".join(review or []),
        "instruction-following difficulty": ifd,
        **{f"judge, {rubric}": score for rubric, score in (judged or {}).items()},
        "reward": reward,
        "topic": topic and f"{topic} (placed there)",
    }
    return "marked for review" if review else passed, {k: v for k, v in evidence.items() if v not in (None, "")}


def _topic(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> dict[str, Any]:
    """What a row is about; nothing where it has no topic."""
    sql = f"SELECT topic_name, topic_group_name, topic_status FROM {versions['clustered'].table} WHERE row_id = ?::UUID"
    name, group, status = _one(con, sql, [row_id]) or (None, None, None)
    if name is None:
        return {}
    return {"topic": name if status == "member" else f"{name} (placed there; {status})", "group": group}


def _candidate(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> tuple[str, dict[str, Any]]:
    """The test item that a kept row may be in other words, with both texts; nothing for most rows."""
    marked = _one(con, f"SELECT paraphrase_of FROM {versions['decontaminated'].table} WHERE row_id = ?::UUID", [row_id])
    if not marked or marked[0] is None:
        return "", {}
    cursor = con.execute(
        f"""
        SELECT c.benchmark, c.item_id, if(c.rejected, 'rejected', c.turn::VARCHAR) AS turn, c.role,
            round(c.score::DOUBLE, 3) AS score, round(c.margin::DOUBLE, 3) AS margin,
            round(c.numbers::DOUBLE, 3) AS numbers, round(c.embedding::DOUBLE, 3) AS embedding, min(b.text) AS item
        FROM {versions["contamination_candidates"].table} AS c
        LEFT JOIN benchmarks AS b ON (b.benchmark, b.item_id, b.field) = (c.benchmark, c.item_id, 'question')
        WHERE c.row_id = ?::UUID AND rank = 1 GROUP BY ALL
        """,
        [row_id],
    )
    names = [column[0] for column in cursor.description]
    found = {name: value for row in cursor.fetchall() for name, value in zip(names, row, strict=True) if value is not None}
    return "may be a test item in other words", found or {"item": marked[0]}


def _messages(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> list[Message] | None:
    if "combined" not in versions:
        return None
    found = _one(con, "SELECT messages FROM combined WHERE row_id = ?::UUID", [row_id])
    if not found and (made := _as_made(con, row_id, versions)):
        return made
    if not found and "generations" in versions:
        found = _one(con, "SELECT messages FROM generations WHERE row_id = ?::UUID", [row_id])
    return messages_of(found[0]) if found else None


def _as_made(con: duckdb.DuckDBPyConnection, row_id: str, versions: dict[str, Version]) -> list[Message] | None:
    """What a row that was made says, as it is there: people may have given it another text."""
    if "augmented" not in versions:
        return None
    own = f"SELECT content_hash FROM {versions['augmented'].table} WHERE row_id = ?::UUID"
    found = _one(con, f"SELECT messages FROM ({own}) JOIN store.contents USING (content_hash)", [row_id])
    return messages_of(found[0]) if found else None
