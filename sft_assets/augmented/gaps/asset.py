"""gaps: where rows are missing: topic by difficulty, length, language and turns, against the target mix and weak tasks.

    topic_name          difficulty  length  language  turns   rows  target  missing  tasks
    fractions, percent  hard        short   en        single  3     11.2    8        [gsm8k]
    total, cost         easy        medium  en        single  41    41.0    0        []

Only cells that have rows, or lack some. How much is generated, and of what, is what stands in `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sft_assets.asset import evidence
from sft_assets.augmented.gaps.asked import Asked, Topic, asked_of
from sft_assets.augmented.gaps.targets import Floats, Targets, shares_of, targets_of
from sft_assets.errors import SftError, did_you_mean
from sft_assets.folder import Folder
from sft_assets.recipe import Dimension, Gaps, Recipe
from sft_assets.warehouse.build import Build, Law, Table
from sft_assets.warehouse.versions import read_versions

TABLE = Table(
    "gaps",
    columns={
        "topic_id": "INTEGER",
        "topic_name": "VARCHAR",
        "difficulty": "VARCHAR",
        "length": "VARCHAR",
        "language": "VARCHAR",
        "turns": "VARCHAR",
        "rows": "INTEGER",
        "target": "DOUBLE",
        "missing": "INTEGER",
        "tasks": "VARCHAR[]",
    },
    is_state=False,
    laws=(
        Law(
            "one_row_a_cell",
            "a cell stands once, and only where it has rows or lacks some",
            """
            SELECT (SELECT count(*) - count(DISTINCT (topic_id, difficulty, length, language, turns)) FROM {table})
                 + (SELECT count(*) FROM {table} WHERE missing < 0 OR rows < 0 OR rows + missing = 0)
            """,
        ),
        Law(
            "every_row_is_in_a_cell",
            "the rows of the cells are the clustered rows of kind sft",
            "SELECT abs(coalesce(sum(rows), 0) - (SELECT count(*) FROM clustered WHERE kind = 'sft')) FROM {table}",
        ),
    ),
)
CLOSED: Mapping[Dimension, tuple[str, ...]] = {  # all values that there can be
    "difficulty": ("easy", "medium", "hard"),
    "length": ("short", "medium", "long"),
    "turns": ("single", "multi"),
}
AXES: tuple[Dimension, ...] = ("difficulty", "length", "language", "turns")  # 1 to 4 of the counts; 0 is the topic
OTHERS = tuple(tuple(other for other in range(5) if other != axis) for axis in range(5))  # what is summed over for an axis
ONE_USER_TURN = 3  # user and assistant turns, of which only one can be the user's where the assistant has the last


@evidence(TABLE, deps=("clustered", "evaluation_files"), code=1)
def gaps(build: Build, folder: Folder, recipe: Recipe) -> None:
    """Which rows are missing: by topic, difficulty, length, language and turns, against the target mix and weak tasks."""
    section = recipe.gaps
    _check_values(section, folder)
    there = _there(build, section)
    asked = asked_of(folder, section, there.named, there.counts.sum(axis=OTHERS[0]), build.say)
    found = _targets(there, section, asked)
    build.insert(_table(there, found, asked))
    build.notes |= _notes(there, found, asked, section)


def _check_values(section: Gaps, folder: Folder) -> None:
    """Whether the targets name difficulties, lengths and turns that there can be."""
    for name, values in CLOSED.items():
        for value in section.targets.get(name, {}):
            if value not in values:
                raise SftError(f"{folder.recipe}: gaps.targets.{name}: there is no {value!r}; {did_you_mean(value, values)}")


# ------------------------------------------------------------------------------------------------------------ what there is


@dataclass(frozen=True)
class There:
    """The sft rows by cell. counts: by topic, difficulty, length, language and turns. topics: in the order of their ids, those
    without a topic last (id None). values: of each other axis."""

    counts: Floats
    ids: list[int | None]
    topics: list[Topic]
    values: list[list[str | None]]

    @property
    def real(self) -> int:
        """How many of the topics rows can be made for: all that have an id; without any, the one that stands for all rows."""
        return len(self.ids) - 1 if len(self.ids) > 1 and self.ids[-1] is None else len(self.ids)

    @property
    def named(self) -> list[Topic]:
        """The topics that have an id."""
        return [topic for topic, id in zip(self.topics, self.ids, strict=True) if id is not None]


def _there(build: Build, section: Gaps) -> There:
    rows = build.con.execute(f"""
        WITH sft AS (
            SELECT content_hash, topic_id, topic_name, topic_group_name, style_difficulty, style_length, style_language,
                style_turns
            FROM {build.parents["clustered"].rows} WHERE kind = 'sft'
        ),
        several AS (  -- texts are read of those rows only that may have more than one user turn
            SELECT content_hash FROM store.contents
            SEMI JOIN (SELECT content_hash FROM sft WHERE style_turns > {ONE_USER_TURN}) USING (content_hash)
            WHERE len(list_filter(messages, lambda m: m.role = 'user')) > 1
        )
        SELECT topic_id, any_value(topic_name), any_value(topic_group_name), style_difficulty, style_length, style_language,
            if(several.content_hash IS NULL, 'single', 'multi') AS turns, count(*)
        FROM sft LEFT JOIN several USING (content_hash)
        GROUP BY ALL
    """).fetchall()
    keywords = _keywords(build)
    ids: list[int | None] = sorted({row[0] for row in rows}, key=lambda id: (id is None, id))
    named = {row[0]: (row[1], row[2]) for row in rows}
    topics = [Topic("(none)") if id is None else Topic(named[id][0] or "", named[id][1], keywords.get(id, ())) for id in ids]
    values = [_values(axis, [*(row[3 + i] for row in rows), *section.targets.get(axis, ())]) for i, axis in enumerate(AXES)]
    counts = np.zeros((len(ids), *map(len, values)))
    axes: list[list[Any]] = [ids, *values]
    places = [{value: place for place, value in enumerate(of)} for of in axes]
    for id, _, _, *cell, n in rows:
        counts[tuple(place[value] for place, value in zip(places, (id, *cell), strict=True))] = n
    return There(counts, ids, topics, values)


def _values(axis: Dimension, seen: Sequence[str | None]) -> list[str | None]:
    """The values of an axis, those that nobody has included where all that there can be are known; None last."""
    known: list[str | None] = list(CLOSED.get(axis, ()))
    others = sorted({value for value in seen if value is not None and value not in known})
    return [*known, *others, *([None] if None in seen else [])]


def _keywords(build: Build) -> dict[int, tuple[str, ...]]:
    """The keywords of each topic, of the version of `topics` that the clustered rows have theirs from."""
    number = build.parents["clustered"].built_on.get("topics")
    versions = read_versions(build.con, current=False) if number is not None else []
    report: Any = next((v.report for v in versions if (v.asset, v.number) == ("topics", number)), {})
    return {one["topic"]: tuple(filter(None, one["keywords"].split(", "))) for one in report.get("names", ())}


def _targets(there: There, section: Gaps, asked: Asked) -> Targets:
    """Targets of all cells. Rows without a topic, where others have one, stay as they are: no new row could be placed there."""
    counts, real = there.counts, there.real
    if not counts.sum():
        return Targets(counts, counts.astype(np.int64), 0.0)
    some, marginals = counts[:real], dict[int, Floats]()
    for axis, name in enumerate(AXES, 1):
        if wanted := section.targets.get(name):
            values = there.values[axis - 1]
            shares: dict[int, float] = {values.index(value): share for value, share in wanted.items()}
            marginals[axis] = shares_of(shares, some.sum(axis=OTHERS[axis]))
    found = targets_of(some, section.tail, section.share, asked.topic_shares, asked.factors(real, section), marginals)
    rest = counts[real:]
    missing = np.concatenate([found.missing, rest.astype(np.int64) * 0])
    return Targets(np.concatenate([found.target, rest]), missing, found.lack)


# ------------------------------------------------------------------------------------------------------------------ results


def _table(there: There, found: Targets, asked: Asked) -> pa.Table:
    """The cells that have rows, or lack some."""
    places = np.nonzero((there.counts > 0) | (found.missing > 0))
    topic = places[0].tolist()
    tasks = [asked.tasks_of(place) for place in range(len(there.ids))]
    names = [*(one.name for one in there.named), *[None] * (len(there.ids) - len(there.named))]
    columns = {
        "topic_id": pa.array([there.ids[place] for place in topic], pa.int32()),
        "topic_name": pa.array([names[place] for place in topic], pa.string()),
    }
    for axis, values, some in zip(AXES, there.values, places[1:], strict=True):
        columns[axis] = pa.array([values[place] for place in some.tolist()], pa.string())
    columns |= {
        "rows": pa.array(there.counts[places].astype(np.int32)),
        "target": pa.array(found.target[places].round(2)),
        "missing": pa.array(found.missing[places].astype(np.int32)),
        "tasks": pa.array([tasks[place] for place in topic], pa.list_(pa.string())),
    }
    return pa.table(columns)


def _notes(there: There, found: Targets, asked: Asked, section: Gaps) -> dict[str, Any]:
    """What is missing, by topic and by each value; which tasks are weak, and which of them are about nothing that is known.

    lack: rows short of the targets, of which `gaps.share` lets no more than `missing` be made. tail_rows: those that each topic
    is raised to.
    """
    sides = {"before": there.counts, "target": found.target, "missing": found.missing}

    def by(axis: int) -> list[dict[str, float]]:
        sums = {name: side.sum(axis=OTHERS[axis]) for name, side in sides.items()}
        return [
            {"before": int(b), "target": round(float(t), 1), "missing": int(m)} for b, t, m in zip(*sums.values(), strict=True)
        ]

    sizes = there.counts.sum(axis=OTHERS[0])[: there.real]
    by_topic = [
        {"topic": topic.name, "group": topic.group, **numbers, "tasks": asked.tasks_of(place)}
        for place, (topic, numbers) in enumerate(zip(there.topics, by(0), strict=True))
    ]
    return {
        "rows": int(there.counts.sum()),
        "target": round(float(found.target.sum()), 1),
        "lack": round(found.lack, 1),
        "missing": int(found.missing.sum()),
        "tail_rows": round(float(np.quantile(sizes, section.tail)), 1) if len(sizes) else 0,
        "targets": sorted(section.targets),
        "by_topic": sorted(by_topic, key=lambda one: (-int(one["missing"]), one["topic"])),
        **{
            f"by_{axis}": {value or "none": numbers for value, numbers in zip(there.values[i], by(i + 1), strict=True)}
            for i, axis in enumerate(AXES)
        },
        "tasks": asked.tasks,
        "weak_tasks": [
            {
                "task": one.task, "score": one.score, "metric": one.metric, "file": one.place,
                "topics": [there.topics[place].name for place in one.places], "topics_by": one.by,
            }
            for one in asked.weak
        ],
        "tasks_without_topic": [one.task for one in asked.without_topic],
        **({"absent_topics": asked.absent} if asked.absent else {}),
    }  # fmt: skip
