"""What a trainer would make of a row: its text in a tokenizer's chat template, and which of the tokens would be trained.

    <|im_start|>user            not trained
    What is 6 x 7?<|im_end|>    not trained
    <|im_start|>assistant       not trained
    42<|im_end|>                trained

Which tokens are an answer's the template says, where it marks them with {% generation %}; else they are what the answer adds to
its prompt (the prefix method). Nothing is trained here, and no trainer is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sft_assets.errors import SftError
from sft_assets.exported.tokens import FAULTS, NotRendered, Turns, conversations, rendered
from sft_assets.models.chat import PLAIN, Chat
from sft_assets.warehouse import Warehouse
from sft_assets.warehouse.versions import read_versions

MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
LEAST = 4  # characters of a row id

MARKED = (
    "trained is what the template marks with {% generation %}, as TRL's assistant_only_loss has it; without that option TRL "
    "trains on every token of a row of messages"
)
PREFIX = (
    "trained is what each answer adds to its prompt, for the template has no {% generation %}: TRL's assistant_only_loss needs "
    "it (for some families of models it brings a template that has it), and without that option TRL trains on every token of a "
    "row of messages"
)
AFTER_PROMPT = "trained is what the answer adds to its prompt, as TRL's DPOTrainer and KTOTrainer have it"
NO_TEMPLATE = "the tokenizer has no chat template, without which trainers refuse messages; shown plainly, by role"


class Piece(NamedTuple):
    """A run of tokens. cut: beyond the longest sequence that the trainer takes."""

    text: str
    tokens: int
    trained: bool
    cut: bool


@dataclass(frozen=True)
class Preview:
    """A conversation as it would be trained on. `answer`: which one of a row that has two, else empty.

    how: where the marks come from. warnings: what would not be learned, or not as it stands in the row.
    """

    row_id: str
    split: str
    kind: str
    answer: str
    how: str
    pieces: Sequence[Piece]
    warnings: Sequence[str]

    def count(self, trained: bool | None = None, cut: bool | None = None) -> int:
        """Tokens: all, or those that are (not) trained, (not) cut."""
        return sum(p.tokens for p in self.pieces if trained in (None, p.trained) and cut in (None, p.cut))


def previews(
    house: Warehouse,
    tokenizer: Any,
    ids: Sequence[str] = (),
    rows: int = 3,
    split: str | None = None,
    max_length: int | None = None,
) -> list[Preview]:
    """Rows of the newest export: those named (by an id or its first characters), else the first few of each kind.

    Raises:
        SftError: there is no export yet, or no such row in it.
    """
    return [one for row in rows_of(house, ids, rows, split) for one in preview(tokenizer, row, max_length)]


def rows_of(house: Warehouse, ids: Sequence[str], rows: int, split: str | None) -> list[dict[str, Any]]:
    """Exported rows: row_id, split, kind, messages, rejected, tools."""
    with house.reading() as con:
        version = {v.asset: v for v in read_versions(con)}.get("exported")
        if version is None:
            raise SftError("nothing is exported yet: `sft export`")
        whole = f"SELECT row_id::VARCHAR AS row_id, split, kind, messages, rejected, tools FROM {version.rows}"

        def found(sql: str, *values: Any) -> list[dict[str, Any]]:
            table: Any = con.sql(f"{whole} {sql}", params=values).to_arrow_table()
            return list(table.to_pylist())

        if ids:
            return [_only(name, found) for name in ids]
        splits = [name for (name,) in con.execute(f"SELECT DISTINCT split FROM {version.table} ORDER BY 1").fetchall()]
        if split and split not in splits:
            raise SftError(f"the export has no split {split!r}: {', '.join(splits) or 'it has no rows'}")
        first = split or ("train" if "train" in splits else None)
        chosen = f"""
            SELECT row_id FROM {version.rows}
            WHERE split = coalesce(?, split)
            ORDER BY row_number() OVER (PARTITION BY kind ORDER BY row_id), kind
            LIMIT ?
        """
        return found(f"WHERE row_id IN ({chosen}) ORDER BY kind, row_id", first, rows)


def _only(name: str, found: Callable[..., list[dict[str, Any]]]) -> dict[str, Any]:
    """The one row whose id begins so."""
    prefix = name.strip().lower().rstrip("….")
    if len(prefix) < LEAST or set(prefix) - set("0123456789abcdef-"):
        raise SftError(f"{name!r} is no row id; give {LEAST} characters of it or more, as `sft explain` shows them")
    some = found("WHERE starts_with(row_id::VARCHAR, ?) LIMIT 2", prefix)
    if not some:
        raise SftError(f"no row of the export begins with {name!r}: `sft explain {name}` says where it is")
    if len(some) > 1:
        raise SftError(f"more than one row of the export begins with {name!r}; give more of it")
    return some[0]


def preview(tokenizer: Any, row: Mapping[str, Any], max_length: int | None = None) -> list[Preview]:
    """A row (row_id, split, kind, messages, rejected, tools) as it would be trained on: each of its conversations.

    tokenizer: of transformers, a fast one. max_length: tokens of the longest sequence; what is beyond it is cut.
    """
    names = ("chosen", "rejected") if row["rejected"] is not None else ("",)
    both = zip(names, conversations(row), strict=True)
    return [_preview(tokenizer, row, name, turns, start, max_length) for name, (turns, start) in both]


def _preview(tokenizer: Any, row: Mapping[str, Any], answer: str, turns: Turns, start: int, max_length: int | None) -> Preview:
    shown = {**{key: row[key] for key in ("row_id", "split", "kind")}, "answer": answer}
    options = {} if tokenizer.chat_template else {"chat_template": PLAIN}
    tools = row["tools"]
    try:
        text: str = rendered(tokenizer, turns, tools, **options)
    except NotRendered as error:
        how = f"the template refuses the conversation ({error}), and so would a trainer"
        return Preview(**shown, how=how, pieces=[], warnings=[how])
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    trained, warnings = [False] * len(ids), list[str]()
    spans = _Spans(tokenizer, turns, tools, options, ids, warnings)
    if start or row["kind"] == "unpaired":
        first = spans.length(start or len(turns) - 1, add_generation_prompt=True)
        trained[first:] = [True] * (len(ids) - first)
        how = AFTER_PROMPT
    else:
        how, trained = _by_turns(tokenizer, turns, [turn["weight"] for turn in row["messages"]], spans)
    cut = [max_length is not None and place >= max_length for place in range(len(ids))]
    warnings += _of_the_end(tokenizer, ids, trained, cut)
    warnings += _of_the_text(tokenizer, text, turns, tools, options)
    how = how if tokenizer.chat_template else NO_TEMPLATE
    return Preview(**shown, how=how, pieces=_pieces(text, offsets, trained, cut), warnings=warnings)


def _by_turns(tokenizer: Any, turns: Turns, weights: Sequence[float | None], spans: _Spans) -> tuple[str, list[bool]]:
    """Where the marks come from, and whether each token is trained: those of every answer whose weight is not 0."""
    marked = bool(tokenizer.chat_template and MARKS.search(tokenizer.get_chat_template(tools=spans.tools)))
    trained = [False] * len(spans.ids)
    if marked:
        out = rendered(tokenizer, turns, spans.tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        trained = [bool(flag) for flag in out["assistant_masks"]]
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    for place in answers:
        if not marked or weights[place] == 0:
            start, stop = spans.of(place)
            trained[start:stop] = [weights[place] != 0] * (stop - start)
    if any(weights[place] == 0 for place in answers):
        spans.warnings.append("a turn of weight 0 is not trained, here and in OpenAI's fine-tuning; TRL looks at no weights")
    return MARKED if marked else PREFIX, trained


@dataclass(frozen=True)
class _Spans:
    """The prefix method: an answer has the tokens that the conversation up to it has, and its prompt has not."""

    tokenizer: Any
    turns: Turns
    tools: str | None
    options: Mapping[str, Any]
    ids: Sequence[int]
    warnings: list[str]

    def of(self, place: int) -> tuple[int, int]:
        """The tokens of the answer at this place: first, and after the last."""
        start = self.length(place, add_generation_prompt=True) if place else 0
        stop = len(self.ids) if place == len(self.turns) - 1 else self.length(place + 1)
        return start, max(start, stop)

    def length(self, turns: int, **options: bool) -> int:
        """The tokens of the first so many turns, as far as the whole conversation begins with them."""
        what = f"the first {turns} turns{' with the header of an answer' if options else ''}"
        try:
            text = rendered(self.tokenizer, self.turns[:turns], self.tools, **self.options, **options)
        except NotRendered as error:
            self.warnings.append(f"where an answer begins is not known: the template refuses {what} alone ({error})")
            return 0
        prefix = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        pairs = enumerate(zip(prefix, self.ids, strict=False))
        same = next((n for n, (a, b) in pairs if a != b), min(len(prefix), len(self.ids)))
        if same < len(prefix):
            self.warnings.append(
                f"the prefix property fails: {what} part from the whole conversation at token {same} of {len(prefix)}, and a "
                "trainer's mask is off there (templates that leave out earlier reasoning do this)"
            )
        return same


def _of_the_end(tokenizer: Any, ids: Sequence[int], trained: Sequence[bool], cut: Sequence[bool]) -> list[str]:
    """What is amiss with the end of the last answer."""
    places = [place for place, flag in enumerate(trained) if flag]
    if not places:
        return ["no token of it is trained"]
    found = []
    end = _end(tokenizer)
    ends = {one for one in (end, tokenizer.eos_token_id) if one is not None}
    tail = range(max(places[-1] - 2, places[0]), places[-1] + 1)  # some templates write a line break after the end
    after = [ids[place] for place in range(places[-1] + 1, min(places[-1] + 3, len(ids)))]
    name = tokenizer.convert_ids_to_tokens(end) if end is not None else "an end token"
    at = next((place for place in reversed(tail) if ids[place] in ends), None)
    if at is None and ends & set(after):
        found.append(f"the token that ends an answer ({name}) is there and is not trained: the model would not learn to stop")
    elif at is None:
        found.append(f"no token that ends an answer ({name}) follows the last one: the model would not learn to stop")
    elif end != tokenizer.eos_token_id and ids[at] == end:
        found.append(
            f"answers end with {name}, and the tokenizer's eos_token is {tokenizer.eos_token}: who generates must stop at both"
        )
    lost = sum(flag and gone for flag, gone in zip(trained, cut, strict=True))
    if lost == len(places):
        found.append("every token that would be trained is beyond the longest sequence")
    elif lost:
        found.append(
            f"{lost:,} of {len(places):,} trained tokens are beyond the longest sequence, and the end of the answer with them"
        )
    return found


def _end(tokenizer: Any) -> int | None:
    """The token with which answers end; None where there is none, or the template refuses the question that would tell."""
    try:
        return Chat(tokenizer).end
    except FAULTS:
        return None


def _of_the_text(tokenizer: Any, text: str, turns: Turns, tools: str | None, options: Mapping[str, Any]) -> list[str]:
    """What of the row the template leaves out, and what of its text is taken for more than text."""
    found = []
    for place, turn in enumerate(turns):
        name = f"turn {place + 1} ({turn['role']})"
        if turn["content"].strip() not in text:
            found.append(f"the template drops the content of {name}, or changes it")
        if (turn.get("reasoning") or "").strip() not in text:
            found.append(f"the template drops the reasoning of {name}")
        calls = [call.get("function", call) for call in turn.get("tool_calls", []) if isinstance(call, dict)]
        if any(str(call.get("name") or "") not in text for call in calls):
            found.append(f"the template drops the tool calls of {name}")
        if special := sorted(token for token in tokenizer.all_special_tokens if token in turn["content"]):
            found.append(f"{name} has {', '.join(special)} in its text, which trainers take for the control token")
    if tools and _without_tools(tokenizer, turns, options) == text:
        found.append("the template drops the tools")
    return found


def _without_tools(tokenizer: Any, turns: Turns, options: Mapping[str, Any]) -> str | None:
    """None: the template takes the conversation with its tools alone."""
    try:
        return str(rendered(tokenizer, turns, None, **options))
    except NotRendered:
        return None


def _pieces(text: str, offsets: Sequence[tuple[int, int]], trained: Sequence[bool], cut: Sequence[bool]) -> list[Piece]:
    """Runs of tokens that fare alike. What stands between two tokens belongs to the one before."""
    if not offsets:
        return []
    runs = []
    for (is_trained, is_cut), places in groupby(range(len(offsets)), lambda place: (trained[place], cut[place])):
        some = list(places)
        runs.append((offsets[some[0]][0], len(some), is_trained, is_cut))
    stops = [start for start, *_ in runs[1:]] + [len(text)]
    return [Piece(text[start:stop], n, t, c) for (start, n, t, c), stop in zip(runs, stops, strict=True)]
