"""Records to rows: read by their format, repaired, checked, masked.

{"instruction": "Mail ann@corp.com", "output": "Done."}
->  user "Mail <EMAIL>"  assistant "Done."              edits: masked_email {"place": "turn 1", ...}
->  user "Mail <EMAIL>"  assistant "I cannot mail."     edits: reviewed_edit {"reviewer": "ann", "was": "Done.", ...}

{"prompt": "A prime?", "chosen": "9", "rejected": "7"}
->  user "A prime?"  assistant "7"  rejected "9"        edits: reviewed_swap {"reviewer": "ann", ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sft_assets import formats
from sft_assets.combined.masking import mask_json, mask_text, mask_turns
from sft_assets.combined.repairs import Edit, repair
from sft_assets.combined.text_repairs import repair_turns
from sft_assets.combined.validation import validate
from sft_assets.formats import Hints, preference
from sft_assets.formats.turns import media
from sft_assets.recipe import MaskKind, Recipe, Repair, Source
from sft_assets.record import BadRecord, Conversation, Message, content_hash
from sft_assets.reviews import Decision


@dataclass(frozen=True)
class Rules:
    """What a source's rows go through, as the recipe has it."""

    system: str | None
    license: str | None
    language: str | None
    masks: tuple[MaskKind, ...]
    repairs: tuple[Repair, ...]

    @classmethod
    def of(cls, recipe: Recipe, source: Source) -> Rules:
        repairs = recipe.combined.repairs if source.repairs is None else source.repairs
        return cls(source.system, source.license, source.language, tuple(recipe.combined.masks), tuple(repairs))


@dataclass
class Row:
    """A row as combined keeps it: the conversation, its meta as JSON, and what was changed in it."""

    conversation: Conversation
    meta: str | None
    edits: list[Edit]


Outcome = list[Row] | BadRecord | str  # of a record: its rows, why it has none, or of what it is a part


def rows_of(record: dict[str, Any], format_name: str, hints: Hints, rules: Rules) -> Outcome:
    """The rows of one record, or why there are none. Where one of several cannot be a row, none is made."""
    try:
        return [finished(row, rules) for row in formats.read(format_name, record, hints)]
    except BadRecord as bad:
        return bad


def rows_of_group(records: list[dict[str, Any]], format_name: str, hints: Hints, rules: Rules) -> list[Outcome]:
    """The same for records that only make sense together (the messages of a tree): an outcome for each."""

    def outcome(made: list[Conversation] | BadRecord | str) -> Outcome:
        try:
            return [finished(row, rules) for row in made] if isinstance(made, list) else made
        except BadRecord as bad:
            return bad

    return [outcome(made) for made in formats.FORMATS[format_name].assemble(records, hints)]


def finished(row: Conversation, rules: Rules) -> Row:
    """A conversation repaired, checked and masked.

    Raises:
        BadRecord: it cannot train a model.
    """
    edits: list[Edit] = []
    if rules.repairs:
        said = row.messages
        row.messages = repair_turns(said, rules.repairs, "turn", edits)
        if row.rejected is not None:
            row.rejected = repair_turns(row.rejected, rules.repairs, "rejected turn", edits, context=said)
    row.messages, more = repair(row.messages)
    edits += more
    if row.rejected is not None:
        row.rejected, more = repair(row.rejected, "rejected turn")
        edits += more
    if rules.system and row.messages and row.messages[0].role != "system":
        row.messages.insert(0, Message("system", rules.system))
    row.license = row.license or rules.license
    row.language = row.language or rules.language
    validate(row)
    if found := media(row):
        edits.append(Edit("media_in_meta", ", ".join(found), "images and other parts that are no text"))
    kinds = rules.masks
    row.messages = mask_turns(row.messages, kinds, "turn", edits)
    if row.rejected is not None:
        row.rejected = mask_turns(row.rejected, kinds, "rejected turn", edits)
    row.tools = row.tools and mask_json(row.tools, kinds, "tools", edits)
    row.license = row.license and mask_text(row.license, kinds, "license", edits)
    row.language = row.language and mask_text(row.language, kinds, "language", edits)
    return Row(row, _meta(row.meta, kinds, edits), edits)


def with_answers(row: Row, decisions: Iterable[Decision], kinds: Sequence[MaskKind]) -> list[Decision]:
    """Put into the row what people decided about the content that it has: answers that they wrote, each masked, and pairs whose
    two answers they swapped; which of the decisions these were.

    A decision may have been made on what another one before it made of the row.

    Raises:
        BadRecord: what comes of it cannot train a model (an edited answer may be the losing one, word for word).
    """
    applied = put_answers(row, decisions, kinds)
    if applied:
        validate(row.conversation)
    return applied


def put_answers(row: Row, decisions: Iterable[Decision], kinds: Sequence[MaskKind]) -> list[Decision]:
    """The same, unchecked."""
    made, applied = row.conversation, []
    for one in decisions:
        if content_hash(made.messages, made.rejected, made.tools) == one.content_hash.bytes:
            change = _edit if one.decision == "edit" else _swap
            if change(row, one, kinds):
                applied.append(one)
    return applied


def _edit(row: Row, one: Decision, kinds: Sequence[MaskKind]) -> bool:
    """Put an answer in the place of the last one, if the last turn is one."""
    made = row.conversation
    last = made.messages[-1]
    if last.role != "assistant":
        return False
    place = f"turn {len(made.messages)}"
    row.edits.append(Edit("reviewed_edit", _told(one, place, was=last.content), ""))
    made.messages = [*made.messages[:-1], last._replace(content=mask_text(one.answer or "", kinds, place, row.edits))]
    return True


def _swap(row: Row, one: Decision, kinds: Sequence[MaskKind]) -> bool:
    """Make the losing answer of a pair the chosen one. A pair of which nobody could tell afterwards where its answers begin
    stays as it is."""
    made = row.conversation
    if made.kind != "preference" or not made.rejected:
        return False
    parts = preference.write(made)
    prompt, chosen = parts["prompt"], parts["chosen"]
    swapped = replace(made, messages=[*prompt, *made.rejected], rejected=chosen)
    if preference.write(swapped)["prompt"] != prompt:
        return False
    row.edits.append(Edit("reviewed_swap", _told(one, f"turn {len(prompt) + 1}, rejected turn 1"), ""))
    made.messages, made.rejected = swapped.messages, swapped.rejected
    return True


def _told(one: Decision, place: str, **more: str) -> str:
    said = {"place": place, "reviewer": one.reviewer, "why": one.why, "time": one.at, **more}
    return orjson.dumps(said).decode()


def _meta(meta: dict[str, Any], kinds: tuple[MaskKind, ...], edits: list[Edit]) -> str | None:
    if not meta:
        return None
    try:
        text = orjson.dumps(meta, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        raise BadRecord("too_deep", "too many objects and lists within each other") from None
    return mask_json(text, kinds, "meta", edits)


def grouped(formats_there: Iterable[str]) -> dict[str, str]:
    """The formats among these whose records belong together, and the field that says which."""
    return {name: formats.FORMATS[name].GROUP for name in formats_there if hasattr(formats.FORMATS[name], "GROUP")}
