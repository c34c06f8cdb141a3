"""What every source file turned out to hold, once its records are rows.

    {"file": "questions.json", "source": "questions", "format": "alpaca", "records": 105, "rows": 103,
     "quarantined": {"wrong_type": 1, "empty_answer": 1}, "dropped": {}, "kinds": {"sft": 103},
     "languages": {"en": 0.81, "unknown": 0.11, "de": 0.08}, "roles": {"user": 103, "assistant": 103},
     "turns": {"min": 2, "median": 2, "max": 2}, "prompt": {"p5": 21, "median": 61, "p95": 240, "max": 812},
     "answer": {"p5": 14, "median": 120, "p95": 702, "max": 1904}, "tools": 0, "system": 0}

Counted by DuckDB, in two passes over the texts; only the languages are guessed in Python, from a few rows of each file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sft_assets.languages import language_of
from sft_assets.text.parts import without
from sft_assets.warehouse.build import Build

MOST_FILES = 200  # of a folder of thousands the others are summed
SAMPLE = 200  # rows of a file whose language is detected, the first by row_id
SAMPLE_CHARS = 300  # of the prompt, and as many of the answer
ROLES = ("system", "user", "assistant", "tool")


def summarize(build: Build) -> list[dict[str, Any]]:
    """An entry for each source file, the largest first; of more than 200 files the others are one, "(n more files)".

    Counted are the rows of the temporary table `candidates`, and what `raw` and this build have set aside. `records`: all that
    the file holds. `prompt`, `answer`: characters of the user's and the assistant's turns of a row.
    """
    _name_files(build)
    files: dict[str, dict[str, Any]] = {}
    sql = """
        SELECT listed_as, any_value(source), sum(records) FROM files GROUP BY listed_as
        ORDER BY bool_or(is_rest), 3 DESC, listed_as
    """
    for label, source, n in _rows(build, sql):
        files[label] = {"file": label, "source": source, "format": "", "records": int(n), "rows": 0}
        files[label] |= {"quarantined": {}, "dropped": {}, "kinds": {}, "languages": {}, "roles": {}}
        files[label] |= {"turns": {}, "prompt": {}, "answer": {}, "tools": 0, "system": 0}
    _count_records(build, files)
    _count_rows(build, files)
    for label, shares in _languages(build).items():
        files[label]["languages"] = shares
    build.con.execute("DROP TABLE files; DROP TABLE shapes")
    return list(files.values())


def lines(files: list[dict[str, Any]], brief: bool = False) -> list[tuple[str, ...]]:
    """The summary as a table of texts for a terminal; its header is the first line. `brief`: without reasons and ranges."""
    header = ("file", "format", "records", "rows", "quarantined", "languages", "turns", "characters")
    return [header, *(_line(entry, brief) for entry in files)]


def _line(entry: Mapping[str, Any], brief: bool) -> tuple[str, ...]:
    turns, prompt, answer = entry["turns"], entry["prompt"], entry["answer"]
    return (
        entry["file"],
        entry["format"],
        f"{entry['records']:,}",
        f"{entry['rows']:,}",
        f"{sum(entry['quarantined'].values()):,}" if brief else _reasons(entry["quarantined"]),
        _percent(dict(list(entry["languages"].items())[: 1 if brief else 3])),
        (f"{turns['median']:g}" + ("" if brief else f" ({turns['min']} to {turns['max']})")) if turns else "",
        f"{prompt['median']:,} + {answer['median']:,}" if turns else "",
    )


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.items())


def _percent(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())


def _rows(build: Build, sql: str) -> Iterator[tuple[Any, ...]]:
    cursor = build.con.execute(sql)
    while batch := cursor.fetchmany(1000):
        yield from batch


# ------------------------------------------------------------------------------------------------------------- the files


def _unread(build: Build) -> str:
    """What raw could not read of files that it did read, as a query."""
    version = build.parents["raw"].number
    return f"""
        SELECT source, source_file, reason FROM store.quarantine
        WHERE asset = 'raw' AND version = {version} AND position IS NOT NULL
    """


def _name_files(build: Build) -> None:
    """The temporary table `files`: of each file its records, and the name under which it is counted."""
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE files AS
        WITH counted AS (
            SELECT source_file, any_value(source) AS source, count(*) AS records
            FROM (
                SELECT source, source_file FROM {build.of("raw")}
                UNION ALL
                SELECT source, source_file FROM ({_unread(build)})
            )
            GROUP BY source_file
        ),
        ranked AS (
            SELECT *, count(*) OVER () - {MOST_FILES} AS more,
                row_number() OVER (ORDER BY records DESC, source_file) > {MOST_FILES} AS is_rest
            FROM counted
        )
        SELECT source_file, records, is_rest,
            CASE WHEN is_rest THEN '' ELSE source END AS source,
            CASE WHEN is_rest THEN format('({{:,}} more files)', more) ELSE source_file END AS listed_as
        FROM ranked
    """)


def _count_records(build: Build, files: dict[str, dict[str, Any]]) -> None:
    """What became of the records: their formats, and how many were quarantined or dropped, and why."""
    by_format: dict[str, Counter[str]] = defaultdict(Counter)
    sql = f"SELECT listed_as, format, count(*) FROM {build.of('raw')} JOIN files USING (source_file) GROUP BY ALL"
    for label, name, n in _rows(build, sql):
        by_format[label][name] = n
    for label, counts in by_format.items():
        names = sorted(counts, key=lambda name: (-counts[name], name))
        shares = {name: counts[name] / counts.total() for name in names[:2]}
        files[label]["format"] = names[0] if len(names) == 1 else _percent(shares)
    quarantined = f"""
        SELECT listed_as, reason, count(*)
        FROM (
            SELECT source_file, reason FROM {build.ledger("quarantine")} WHERE position IS NOT NULL
            UNION ALL
            SELECT source_file, reason FROM ({_unread(build)})
        )
        JOIN files USING (source_file)
    """
    # what is dropped is a row, or a record that gave none
    dropped = f"""
        SELECT listed_as, d.reason, count(*)
        FROM {build.ledger("dropped")} AS d
        LEFT JOIN candidates AS c ON c.row_id = d.row_id
        JOIN {build.of("raw")} AS r ON r.row_id = coalesce(c.record_id, d.row_id)
        JOIN files USING (source_file)
    """
    for outcome, sql in (("quarantined", quarantined), ("dropped", dropped)):
        for label, reason, n in _rows(build, f"{sql} GROUP BY ALL ORDER BY 3 DESC, 2"):
            files[label][outcome][reason] = n


# -------------------------------------------------------------------------------------------------------------- the rows


def _count_rows(build: Build, files: dict[str, dict[str, Any]]) -> None:
    """What the rows hold: kinds, roles, turns, characters."""
    roles = ", ".join(f"len(list_filter(messages, lambda m: m.role = '{role}')) AS {role}" for role in ROLES)
    chars = ", ".join(
        f"list_sum(list_transform(messages, lambda m: CASE WHEN m.role = '{role}' THEN length(m.content) ELSE 0 END)) AS {name}"
        for role, name in (("user", "prompt_chars"), ("assistant", "answer_chars"))
    )
    build.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE shapes AS
        SELECT listed_as, c.row_id, c.content_hash, kind, len(messages) AS turns, tools IS NOT NULL AS has_tools,
            {roles}, {chars}
        FROM candidates AS c
        JOIN {build.of("raw")} AS r ON r.row_id = c.record_id
        JOIN files USING (source_file)
        JOIN store.contents USING (content_hash)
    """)
    for label, kind, n in _rows(build, "SELECT listed_as, kind, count(*) FROM shapes GROUP BY ALL ORDER BY 3 DESC, 2"):
        files[label]["kinds"][kind] = n
    sums = ", ".join(f"sum({role})::BIGINT" for role in ROLES)
    sql = f"""
        SELECT listed_as, count(*), count(*) FILTER (has_tools), count(*) FILTER (system > 0),
            [min(turns), median(turns), max(turns)],
            quantile_disc(prompt_chars, [0.05, 0.5, 0.95, 1])::BIGINT[],
            quantile_disc(answer_chars, [0.05, 0.5, 0.95, 1])::BIGINT[],
            [{sums}]
        FROM shapes
        GROUP BY listed_as
    """
    for label, n, tools, system, turns, prompt, answer, counts in _rows(build, sql):
        files[label] |= {"rows": n, "tools": tools, "system": system}
        low, median, high = turns
        files[label]["turns"] = {"min": int(low), "median": int(median) if median == int(median) else median, "max": int(high)}
        for side, values in (("prompt", prompt), ("answer", answer)):
            files[label][side] = dict(zip(("p5", "median", "p95", "max"), values, strict=True))
        files[label]["roles"] = {role: count for role, count in zip(ROLES, counts, strict=True) if count}


def _languages(build: Build) -> dict[str, dict[str, float]]:
    """Of each file the share of every language, the commonest first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    sql = f"""
        WITH chosen AS (
            SELECT listed_as, content_hash FROM shapes
            QUALIFY row_number() OVER (PARTITION BY listed_as ORDER BY row_id) <= {SAMPLE}
        )
        SELECT listed_as, list_transform(
            list_filter(messages, lambda m: m.role IN ('user', 'assistant'))[:2], lambda m: left(m.content, {8 * SAMPLE_CHARS})
        )
        FROM chosen JOIN store.contents USING (content_hash)
    """
    for label, texts in _rows(build, sql):
        prose = " ".join(" ".join(without(text, ["code"]).split())[:SAMPLE_CHARS] for text in texts)
        found[label][language_of(prose) or "unknown"] += 1
    return {
        label: {
            name: round(counts[name] / counts.total(), 2) for name in sorted(counts, key=lambda name: (-counts[name], name))
        }
        for label, counts in found.items()
    }
