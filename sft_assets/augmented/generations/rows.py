"""Candidates to rows: repaired, checked and masked as source rows are, with an id, an origin and a licence.

    row_id  method         parents    license             reason
    7c20... evol_instruct  [9f3c...]  cc-by-4.0           NULL
    b1d4... documents      []         mit AND apache-2.0  NULL          spans [{handbook.md, 310, 362, "The kettle holds ..."}]
    e09a... self_instruct  [9f3c...]  cc-by-4.0           too_short     {"words": 2}

What fell is a row as well: it was paid for, and somebody may ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from sft_assets.arrow import messages_array, uuids
from sft_assets.augmented.candidate import Candidate, Fall, Parent, Seed
from sft_assets.augmented.generations.driver import Tried
from sft_assets.augmented.methods.kit import REPLY_ENDS
from sft_assets.combined.repairs import Edit
from sft_assets.combined.rows import Rules, finished
from sft_assets.masks import mask
from sft_assets.models.asking import label
from sft_assets.recipe import Recipe
from sft_assets.record import BadRecord, Conversation, Message, content_hash, digest

COLUMNS = {
    "row_id": "UUID",
    "content_hash": "UUID",
    "method": "VARCHAR",
    "source": "VARCHAR",
    "kind": "VARCHAR",
    "license": "VARCHAR",
    "language": "VARCHAR",
    "topic_id": "INTEGER",
    "topic_name": "VARCHAR",
    "wanted": "JSON",
    "parents": "UUID[]",
    "parent_contents": "UUID[]",
    "chunk_id": "UUID",
    "document": "VARCHAR",
    "spans": 'STRUCT(document VARCHAR, "start" INTEGER, "stop" INTEGER, quote VARCHAR)[]',
    "prompts": "JSON",
    "model": "VARCHAR",
    "parameters": "JSON",
    "choices": "JSON",
    "seed": "BIGINT",
    "attempt": "INTEGER",
    "stage": "VARCHAR",
    "reason": "VARCHAR",
    "detail": "JSON",
    "draft": "JSON",
    "edits": "JSON",
    "requests": "DOUBLE",
    "tokens": "DOUBLE",
    "cost": "DOUBLE",
}
SHOWN = 600  # characters of a text in the evidence
UNKNOWN = "unknown"  # a licence that nobody has told
SPAN = pa.struct([("document", pa.string()), ("start", pa.int32()), ("stop", pa.int32()), ("quote", pa.string())])


@dataclass
class Made:
    """A candidate as a row. content_hash: of a whole row, whether it fell or not; draft: the turns of one that is none. stage:
    where it fell, 'method' or 'validation'. share: of its seed's cost."""

    method: str
    tried: Tried
    candidate: Candidate
    row_id: bytes
    license: str | None
    language: str | None
    content_hash: bytes | None = None
    draft: list[list[str]] = field(default_factory=list)
    stage: str | None = None
    fell: Fall | None = None
    edits: list[Edit] = field(default_factory=list)
    share: float = 1.0

    @property
    def parents(self) -> Sequence[Parent]:
        own = self.candidate.parents
        return self.tried.seed.parents if own is None else own


def made_of(method: str, tried: Tried, recipe: Recipe, version: Sequence[str]) -> Iterator[Made]:
    """The rows of a seed that was tried. version: the prompts and models of the method, which the ids are made of too."""
    for place, candidate in enumerate(tried.candidates or []):
        parents = tried.seed.parents if candidate.parents is None else candidate.parents
        chunk = tried.seed.chunk
        row_id = _row_id(method, version, tried.seed, candidate, parents, (recipe.generations.seed, place))
        made = Made(
            method, tried, candidate, row_id,
            obligations([*(p.license for p in parents), *([chunk.license] if chunk else [])]),
            _language(parents, chunk.language if chunk else None),
            share=1 / len(tried.candidates or [1]),
        )  # fmt: skip
        _finish(made, recipe)
        yield made


def obligations(licenses: Sequence[str | None]) -> str | None:
    """The licence of what is made of texts with these: all of them hold, and what nobody has told is said to be unknown.

    ["mit", "cc-by-4.0", "mit"]  ->  "cc-by-4.0 AND mit"      [None, "mit"]  ->  "mit AND unknown"      [None]  ->  None
    """
    known = sorted({part for license in licenses if license for part in license.split(" AND ") if part != UNKNOWN})
    told = all(license and UNKNOWN not in license.split(" AND ") for license in licenses)
    return " AND ".join([*known, *([] if told else [UNKNOWN])]) if known else None


def _row_id(
    method: str,
    version: Sequence[str],
    seed: Seed,
    candidate: Candidate,
    parents: Sequence[Parent],
    numbers: tuple[int, int],
) -> bytes:
    """A hash over the method, its prompts and models, what the row is made from, its parameters, the recipe's seed and which of
    several it is. What became of the others plays no part."""
    chunk = seed.chunk.chunk_id.hex() if seed.chunk else ""
    made_from = [[parent.content_hash.hex() for parent in parents], chunk]
    parts = [method, list(version), made_from, candidate.choices.get("operator"), candidate.choices.get("persona"), seed.index]
    return digest(orjson.dumps([*parts, *numbers, list(seed.cell)[2:]]))


def _language(parents: Sequence[Parent], of_chunk: str | None) -> str | None:
    named = {language for language in (of_chunk, *(parent.language for parent in parents)) if language}
    return named.pop() if len(named) == 1 else None


def _finish(made: Made, recipe: Recipe) -> None:
    """Repair, check and mask the row as combined does it; the candidate holds the result."""
    candidate = made.candidate
    made.fell, made.stage = candidate.fell, "method" if candidate.fell else None
    row = Conversation(list(candidate.messages), candidate.kind, _copy(candidate.rejected), candidate.tools)
    rules = Rules(None, made.license, made.language, tuple(recipe.combined.masks), tuple(recipe.combined.repairs))
    try:
        done = finished(row, rules)
    except BadRecord as bad:
        if made.fell is None:
            made.fell, made.stage = Fall(bad.reason, {"detail": bad.detail}), "validation"
        candidate.messages = [_masked(turn, recipe) for turn in candidate.messages]
        candidate.rejected = candidate.rejected and [_masked(turn, recipe) for turn in candidate.rejected]
        made.draft = [[turn.role, turn.content] for turn in (*candidate.messages, *(candidate.rejected or []))]
    else:
        candidate.messages, candidate.rejected = done.conversation.messages, done.conversation.rejected
        candidate.tools, made.edits = done.conversation.tools, done.edits
        made.content_hash = content_hash(candidate.messages, candidate.rejected, candidate.tools)


def _copy(turns: Sequence[Message] | None) -> list[Message] | None:
    return None if turns is None else list(turns)


def _masked(turn: Message, recipe: Recipe) -> Message:
    return turn._replace(content=mask(turn.content, recipe.combined.masks)[0])


# ------------------------------------------------------------------------------------------------------------- Arrow


def table_of(made: Sequence[Made], names: Mapping[str, str], seed: int, masks: Sequence[str]) -> pa.Table:
    """Rows of the asset's table. names: of prompts, by their hash. seed: the recipe's. masks: for what the evidence shows."""

    def texts(values: Sequence[Any]) -> pa.Array:
        return pa.array(values, pa.string())

    def numbers(values: Sequence[float]) -> pa.Array:
        return pa.array(values, pa.float64())

    columns = {
        "row_id": uuids([m.row_id for m in made]),
        "content_hash": uuids([m.content_hash for m in made]),
        "method": texts([m.method for m in made]),
        "source": texts([f"generated:{m.method}" for m in made]),
        "kind": texts([m.candidate.kind for m in made]),
        "license": texts([m.license for m in made]),
        "language": texts([m.language for m in made]),
        "topic_id": pa.array([m.tried.seed.cell.topic for m in made], pa.int32()),
        "topic_name": texts([m.tried.seed.cell.topic_name for m in made]),
        "wanted": texts([_json(_cell(m)) for m in made]),
        "parents": _uuid_lists([[p.row_id for p in m.parents] for m in made]),
        "parent_contents": _uuid_lists([[p.content_hash for p in m.parents] for m in made]),
        "chunk_id": uuids([m.tried.seed.chunk.chunk_id if m.tried.seed.chunk else None for m in made]),
        "document": texts([m.tried.seed.chunk.document if m.tried.seed.chunk else None for m in made]),
        "spans": pa.array([[span._asdict() for span in m.candidate.spans] for m in made], pa.list_(SPAN)),
        "prompts": texts([_json({names.get(sha, sha): sha for sha in sorted(m.tried.prompts)}) for m in made]),
        "model": texts([_models(m.tried) for m in made]),
        "parameters": texts([_json({names.get(sha, sha): p for sha, p in sorted(m.tried.prompts.items())}) for m in made]),
        "choices": texts([_json(_shown(m.candidate.choices, masks)) for m in made]),
        "seed": pa.array([seed] * len(made), pa.int64()),
        "attempt": pa.array([m.tried.seed.index for m in made], pa.int32()),
        "stage": texts([m.stage for m in made]),
        "reason": texts([m.fell.reason if m.fell else None for m in made]),
        "detail": texts([_json(_shown(dict(m.fell.evidence), masks)) if m.fell else None for m in made]),
        "draft": texts([_json(m.draft) if m.draft else None for m in made]),
        "edits": texts([_json([list(edit) for edit in m.edits]) if m.edits else None for m in made]),
        "requests": numbers([m.tried.requests * m.share for m in made]),
        "tokens": numbers([m.tried.tokens * m.share for m in made]),
        "cost": numbers([m.tried.cost * m.share for m in made]),
    }
    assert list(columns) == list(COLUMNS)
    return pa.table(columns)


def contents_of(made: Sequence[Made]) -> pa.Table:
    """The texts of rows that have any, for the content store."""
    some = [m for m in made if m.content_hash is not None]
    return pa.table(
        {
            "content_hash": uuids([m.content_hash for m in some]),
            "messages": messages_array([m.candidate.messages for m in some]),
            "rejected": messages_array([m.candidate.rejected for m in some]),
            "tools": pa.array([m.candidate.tools for m in some], pa.string()),
        }
    )


def _models(tried: Tried) -> str | None:
    """Every model that was asked; None: none was, as where a reward model rated what was there."""
    return ", ".join(sorted({label(model) for named in tried.asked.values() for model in named["model"]})) or None


def _cell(made: Made) -> dict[str, Any]:
    cell = made.tried.seed.cell._asdict()
    return {name: value for name, value in cell.items() if name not in ("topic", "topic_name") and value is not None}


def _shown(value: Any, masks: Sequence[str]) -> Any:
    """Evidence with every text in it masked, then cut: it may quote what the model wrote."""
    if isinstance(value, str):
        return mask(value, masks)[0][:SHOWN]
    if isinstance(value, Mapping):
        return {
            n: mask(v, masks)[0][-SHOWN:] if n == REPLY_ENDS and isinstance(v, str) else _shown(v, masks)
            for n, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_shown(inner, masks) for inner in value]
    return value


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str).decode()


def _uuid_lists(lists: Sequence[Sequence[bytes]]) -> pa.Array:
    offsets = [0]
    for values in lists:
        offsets.append(offsets[-1] + len(values))
    flat = uuids([value for values in lists for value in values])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
