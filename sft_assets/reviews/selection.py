"""`sft select FILE --drop|--keep|--review --why TEXT`: decisions about chosen rows, checked, then written to D/reviews.jsonl.

    9f3c6a10-51ab-03d2-...      row ids, one a line, as the map downloads them; 4 characters are enough where they tell
    41d0
    {"row_id": "7b22..."}       or JSON lines, or CSV with a column row_id

A drop and a mark for review are applied in `scored`. To keep a row overrides the state that dropped it; a row that no state
dropped is settled in `scored`: it loses its marks, and no rule or threshold of `scored` drops it later. (A limit of `clustered`
may: it is kept there then.) All decisions about generated rows are applied in `augmented`.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import duckdb
import orjson
import pyarrow as pa

from sft_assets import reviews
from sft_assets.arrow import uuids
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.reviews import Decision, State
from sft_assets.reviews.people import as_first_written
from sft_assets.warehouse import Version, Warehouse
from sft_assets.warehouse.versions import read_versions

Wanted = Literal["drop", "keep", "review"]
SHOWN = 10  # wrong lines that are named
REMEDIES = {  # of rows that no decision brings back, by reason
    "license": "allow its licence in combined.allowed_licenses",
    "not_sampled": "raise the weight of its source in the recipe",
    "over_cap": "raise the cap of its source in the recipe",
    "prompt_only": "only an answer in its source makes it more than a prompt",
}
LEAST = 4  # characters of an id


@dataclass(frozen=True)
class Selected:
    """What a selection came to. rows: how many it named, each once. recorded: what was written. standing: decisions that stood
    already. warning: what was wrong with the file of decisions as it was found."""

    rows: int
    recorded: tuple[Decision, ...]
    standing: int
    warning: str = ""

    @property
    def by_state(self) -> dict[str, int]:
        return dict(Counter(decision.state for decision in self.recorded))


@dataclass(frozen=True)
class Stand:
    """Where a row is now: its content in `combined`, or in `generations` (None where it is in neither), and what dropped it
    first, if anything."""

    content_hash: UUID | None
    state: str = ""
    reason: str = ""
    generated: bool = False


def select(
    house: Warehouse,
    folder: Folder,
    states: Sequence[str],
    name: str,
    text: str,
    decision: Wanted,
    why: str,
    reviewer: str,
) -> Selected:
    """Record one decision about every row that `text` names; nothing is written unless all of it can be.

    name: what errors call the text. states: all states of the dataset, in their order.

    Raises:
        SftError: the reason is missing, lines name no row or several, or a row cannot be decided on; each with its line.
    """
    if not why.strip():
        raise SftError("say why (--why TEXT): whoever asks in a year what became of the row is told so")
    named, wrong = list(ids_in(text, name)), []
    standing = reviews.read(folder)
    with house.reading() as con:
        versions = {v.asset: v for v in read_versions(con)}
        if "combined" not in versions:
            raise SftError(f"{house.path}: there are no rows to decide on yet; `sft run` builds them")
        found = _found(con, [prefix for _, prefix in named], versions)
        rows: dict[UUID, int] = {}  # where each was named first
        for (line, given), ids in zip(named, found, strict=True):
            if len(ids) == 1:
                rows.setdefault(ids[0], line)
            elif ids:
                wrong.append((line, f"{given!r:.60} begins the ids of {len(ids):,} rows or more; give more characters"))
            else:
                short = f"; give {LEAST} characters of an id or more" if len(given) < LEAST else ""
                wrong.append((line, f"there is no row {given!r:.60}{short}"))
        stands = stands_of(con, list(rows), states, versions)
    decisions = []
    for row_id, line in rows.items():
        try:
            place = where(stands[row_id], decision)
        except SftError as refused:
            wrong.append((line, f"{str(row_id)[:8]} {refused}"))
            continue
        content = stands[row_id].content_hash
        assert content is not None
        decisions.append(reviews.decided(row_id, content, place, decision, why, reviewer))
    if wrong:
        raise SftError(_refusal(name, wrong, len(named)))
    last = {d.key: d for d in standing.decisions}
    new = as_first_written([d for d in decisions if not d.is_as(last.get(d.key))], standing.log)
    reviews.append(folder, new)
    return Selected(len(rows), tuple(new), len(decisions) - len(new), standing.warning)


def _refusal(name: str, wrong: list[tuple[int, str]], lines: int) -> str:
    wrong.sort()
    shown = [f"{name}:{line}: {why}" for line, why in wrong[:SHOWN]]
    more = [f"... and {len(wrong) - SHOWN:,} lines more"] if len(wrong) > SHOWN else []
    return "\n".join(
        [*shown, *more, f"Nothing was recorded; take the lines out ({len(wrong):,} of {lines:,}) and select again."]
    )


def where(stand: Stand, decision: Wanted) -> State:
    """The state that is to apply a decision about a row that stands so.

    Raises:
        SftError: no state could; it says why, and what could be done instead.
    """
    state, reason = stand.state, stand.reason
    if stand.generated:
        if stand.content_hash is None:
            raise SftError(f"was left out by {state} ({reason}): what the model gave is no whole row")
        return "augmented"
    if stand.content_hash is None and not state:
        raise SftError("is a record that gives other rows: name those")
    if stand.content_hash is None:
        raise SftError(f"was left out by {state} ({reason}): {REMEDIES.get(reason, 'mend its record in the source')}")
    if decision == "drop" or state in ("", "scored") or (state, reason) == ("exported", "review"):
        return "scored"  # a row that is marked and therefore not exported is exported once it is settled
    for overruled in reviews.APPLYING["keep"]:
        if state == overruled and decision == "keep":
            return overruled
        if state == overruled:
            raise SftError(f"was dropped by {state} ({reason}): keep it first (--keep), then `sft run`")
    raise SftError(f"was dropped by {state} ({reason}): {REMEDIES.get(reason, 'no decision brings it back')}")


# ------------------------------------------------------------------------------------------------------------- the list


def ids_in(text: str, name: str) -> Iterator[tuple[int, str]]:
    """(line, id) of each row that a list names.

    Raises:
        SftError: it names none, or a line has no row_id.
    """
    text = text.removeprefix("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise SftError(f"{name} names no row: it has row ids, one a line")
    if first.lstrip().startswith("["):
        raise SftError(f"{name} is a JSON array; put its objects on lines of their own, or row ids, one a line")
    if first.lstrip().startswith("{"):
        yield from _of_json(text, name)
    elif delimiter := next((d for d in ",\t;" if "row_id" in _fields(first, d)), None):
        yield from _of_csv(text, name, delimiter)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if given := _tidy(line):
                yield number, given


def _fields(header: str, delimiter: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([header], delimiter=delimiter))]
    except csv.Error:  # longer than any header
        return []


def _of_json(text: str, name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, _tidy(orjson.loads(line)["row_id"])
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                raise SftError(f'{name}:{number}: a line is a JSON object with a row_id: {{"row_id": "9f3c..."}}') from None


def _of_csv(text: str, name: str, delimiter: str) -> Iterator[tuple[int, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    column = -1
    try:
        for fields in reader:
            if not any(fields):
                continue
            if column < 0:
                column = [field.strip() for field in fields].index("row_id")
            elif column < len(fields) and fields[column].strip():
                yield reader.line_num, _tidy(fields[column])
            else:
                raise SftError(f"{name}:{reader.line_num}: the column row_id is empty here")
    except csv.Error as error:
        raise SftError(f"{name}:{reader.line_num}: {error}") from None


def _tidy(given: str) -> str:
    """An id as reports show it ("9f3c6a10...") as it begins in full."""
    given = given.strip().strip("\"'").lower().rstrip("….")
    plain = given.replace("-", "")
    return str(UUID(plain)) if len(plain) == 32 and not set(plain) - set("0123456789abcdef") else given


# --------------------------------------------------------------------------------------------------------- the database


def _found(con: duckdb.DuckDBPyConnection, given: Sequence[str], versions: Mapping[str, Version]) -> list[list[UUID]]:
    """The ids that begin with each of these: at most two, and none where fewer than LEAST characters are given."""
    con.register("given", pa.table({"place": range(len(given)), "prefix": pa.array(given, pa.string())}))
    tables = [versions[name].table for name in ("raw", "combined", "generations", "augmented") if name in versions]
    known = " UNION ".join(f"SELECT row_id FROM {table}" for table in tables) + " UNION SELECT row_id FROM dropped"
    rows = con.execute(f"""
        SELECT place, list(row_id ORDER BY row_id)[:2]
        FROM (SELECT row_id, row_id::VARCHAR AS name FROM ({known})) AS k
        JOIN (FROM given WHERE strlen(prefix) >= {LEAST}) AS g
            ON left(k.name, {LEAST}) = left(g.prefix, {LEAST}) AND starts_with(k.name, g.prefix)
        GROUP BY place
    """).fetchall()
    con.unregister("given")
    by_place: dict[int, list[UUID]] = dict(rows)
    return [by_place.get(place, []) for place in range(len(given))]


def stands_of(
    con: duckdb.DuckDBPyConnection, rows: Sequence[UUID], states: Sequence[str], versions: Mapping[str, Version]
) -> dict[UUID, Stand]:
    """Where each of these rows is now."""
    con.register("chosen", pa.table({"row_id": uuids([row_id.bytes for row_id in rows])}))
    sql = f"SELECT row_id, content_hash FROM {versions['combined'].table} SEMI JOIN chosen USING (row_id)"
    content = dict(con.execute(sql).fetchall())
    made: dict[UUID, UUID | None] = {}
    if "generations" in versions:
        sql = f"SELECT row_id, content_hash FROM {versions['generations'].table} SEMI JOIN chosen USING (row_id)"
        made = dict(con.execute(sql).fetchall())
    if "augmented" in versions:  # with the text that people gave a generated row, and pairs that they made
        sql = f"SELECT row_id, content_hash FROM {versions['augmented'].table} SEMI JOIN chosen USING (row_id)"
        made |= dict(con.execute(f"{sql} WHERE generated_method IS NOT NULL").fetchall())
    gone: dict[UUID, tuple[str, str]] = {}
    order: dict[Any, int] = {state: place for place, state in enumerate(states)}
    dropped = con.execute("SELECT row_id, state, reason FROM dropped SEMI JOIN chosen USING (row_id)").fetchall()
    dropped += con.execute("""
        SELECT record_id, state, reason FROM quarantine SEMI JOIN chosen ON chosen.row_id = quarantine.record_id
    """).fetchall()
    for row_id, state, reason in sorted(dropped, key=lambda entry: order.get(entry[1], len(order)), reverse=True):
        gone[row_id] = state, reason
    con.unregister("chosen")
    return {
        row_id: Stand(content.get(row_id) or made.get(row_id), *gone.get(row_id, ("", "")), generated=row_id in made)
        for row_id in rows
    }
