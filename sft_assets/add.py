"""`sft add`: look at new data before it becomes a source, then copy it and write its recipe entry.

chats.csv   sharegpt (198 of 200 records: 99 %)   2 would be quarantined: empty_answer
  {"conversations": "[{\\"from\\": \\"human\\", ...}]"}   ->   user "Hi"   assistant "Hello! What can I do for you?"
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from sft_assets import strict_yaml
from sft_assets.combined.rows import Outcome, Row, Rules, grouped, rows_of, rows_of_group
from sft_assets.errors import SftError
from sft_assets.folder import Folder, write_whole
from sft_assets.raw.batches import excerpt
from sft_assets.raw.containers import Limits, Refused
from sft_assets.raw.detection import Detector
from sft_assets.raw.parts import Part
from sft_assets.raw.reading import opened
from sft_assets.raw.sources import SourceFile, source_file
from sft_assets.recipe import Recipe, Source
from sft_assets.record import BadRecord

SAMPLE = 500  # records looked at of each file
FILES = 5  # files looked at
SHOWN = 3  # records shown before and after


@dataclass
class Glimpse:
    """What the beginning of a file holds. `seen` counts records by format, `bad` by reason, with the first sentence of each."""

    name: str
    records: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)  # records by format that gave rows
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    examples: list[tuple[str, list[Row]]] = field(default_factory=list)  # records as they stand, and their rows
    refused: str = ""

    @property
    def format(self) -> str | None:
        return self.seen.most_common(1)[0][0] if self.seen else None

    @property
    def confidence(self) -> float:
        """Share of the records seen that its commonest format makes rows of."""
        return self.read[self.format] / self.records if self.format else 0.0

    def complain(self, reason: str, detail: str) -> None:
        self.bad[reason] += 1
        self.sentences.setdefault(reason, detail)


@dataclass
class Plan:
    """What `add` is about to do: the entry, the files behind it, and what must be copied to where (or nothing)."""

    entry: Source
    said: dict[str, Any]  # the entry as it will be written
    files: list[SourceFile]
    copy: tuple[Path, Path] | None = None
    notes: list[str] = field(default_factory=list)


def plan(folder: Folder, recipe: Recipe, what: str, options: Mapping[str, Any]) -> Plan:
    """Find what `what` means: a file or folder, hub:OWNER/NAME[@REVISION], or a URL. `options`: fields of the entry.

    Raises:
        SftError: it is not there, is there already, or its options cannot be.
    """
    said = {name: value for name, value in options.items() if value not in (None, {}, [])}
    copy, notes = None, []
    if what.startswith("hub:"):
        name, _, revision = what.removeprefix("hub:").partition("@")
        said = {"hub": name, **({"revision": revision} if revision else {}), **said}
    elif "://" in what:
        said = {"url": what, **said}
    else:
        path = Path(what).expanduser()
        if not path.exists():
            inside = folder.sources / what
            if not inside.exists():
                raise SftError(f"{what}: there is no such file, here or in {folder.sources}")
            path = inside
        path = path.resolve()
        if path.is_relative_to(folder.sources):
            name = path.relative_to(folder.sources).as_posix()
        else:
            name, target = path.name, folder.sources / path.name
            if target.exists() and not _same(path, target):
                raise SftError(f"{target} is there already, with other content; rename the new one, or take the old one away")
            copy = None if target.exists() else (path, target)
        said = {"path": name, **said}
    entry = _entry(said)
    for other in recipe.sources:
        for place in ("path", "hub", "url"):
            if getattr(entry, place) and getattr(entry, place) == getattr(other, place):
                raise SftError(f"{folder.recipe} has an entry for {getattr(entry, place)} already; edit that one")
    if entry.path:
        at = copy[0] if copy else folder.sources / entry.path
        files = list(_files(at, entry))
    else:
        from sft_assets.raw import remote

        there = remote.resolve(folder, entry)
        notes += [there.offline] if there.offline else []
        files = [source_file(path, name, entry) for path, name in remote.fetch(folder, there, notes.append)]
    return Plan(entry, said, files, copy, notes)


def _entry(said: dict[str, Any]) -> Source:
    try:
        return Source.model_validate(said)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise SftError(f"{place or 'the entry'}: {wrong['msg'].removeprefix('Value error, ')}") from None


def _files(at: Path, entry: Source) -> Iterator[SourceFile]:
    if at.is_file():
        yield source_file(at, entry.path, entry)
        return
    for path in Folder.files(at):
        yield source_file(path, f"{entry.path}/{path.relative_to(at).as_posix()}", entry)


def _same(first: Path, second: Path) -> bool:
    return first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes()


# ----------------------------------------------------------------------------------------------------------- the look


def glimpses(files: Sequence[SourceFile], recipe: Recipe, entry: Source) -> Iterator[Glimpse]:
    """What the first records of the first files are, and what becomes of them. Nothing is written."""
    limits = Limits(recipe.raw.max_record_bytes, recipe.raw.max_unpacked_ratio, recipe.raw.max_unpacked_bytes)
    rules = Rules.of(recipe, entry)
    for file in files[:FILES]:
        try:
            for part in islice(opened(file, limits), FILES):
                yield _glimpse(file, part, rules)
        except Refused as refusal:
            yield Glimpse(file.name, refused=refusal.detail)


def _glimpse(file: SourceFile, part: Part, rules: Rules) -> Glimpse:
    result = Glimpse(part.name)
    format_of = Detector(file.format, file.hints, file.stated_by)
    records: list[tuple[bytes, dict[str, Any], str]] = []
    try:
        for batch in part.batches:
            looked = batch.texts[:SAMPLE]
            result.records += len(batch.bad) + len(looked)
            for bad in batch.bad:
                result.complain(bad.reason, f"position {bad.position}: {bad.detail}")
            for text, value in zip(looked, batch.values, strict=False):
                found = format_of(value)
                if isinstance(found, BadRecord):
                    result.complain(found.reason, f"{found.detail}: {excerpt(text)}")
                else:
                    records.append((text, value, found))
                    result.seen[found] += 1
            if result.records >= SAMPLE:
                break
    except Refused as refusal:
        result.refused = refusal.detail
        return result
    for text, name, outcome in _outcomes(records, file, rules):
        if isinstance(outcome, BadRecord):
            result.complain(outcome.reason, outcome.detail)
            continue
        result.read[name] += 1
        if isinstance(outcome, list):
            result.rows += len(outcome)
            result.kinds.update(row.conversation.kind for row in outcome)
            if len(result.examples) < SHOWN:
                result.examples.append((excerpt(text), outcome))
    if not result.records:
        result.refused = "holds no record"
    return result


def _outcomes(
    records: list[tuple[bytes, dict[str, Any], str]], file: SourceFile, rules: Rules
) -> Iterator[tuple[bytes, str, Outcome]]:
    keys = grouped({name for *_, name in records})
    together: dict[tuple[str, Any], list[tuple[bytes, dict[str, Any]]]] = {}
    for text, value, name in records:
        if name in keys:
            together.setdefault((name, str(value.get(keys[name]))), []).append((text, value))
        else:
            yield text, name, rows_of(value, name, file.hints, rules)
    for (name, _), members in together.items():
        outcomes = rows_of_group([value for _, value in members], name, file.hints, rules)
        yield from ((text, name, outcome) for (text, _), outcome in zip(members, outcomes, strict=True))


# --------------------------------------------------------------------------------------------------------- the writing


def add(folder: Folder, planned: Plan) -> None:
    """Copy the data into D/sources where it is elsewhere, and write the entry.

    Raises:
        SftError: the recipe cannot be extended; nothing was changed.
    """
    text = folder.recipe.read_text("utf-8") if folder.recipe.exists() else ""
    extended = with_entry(text, planned.said, folder.recipe)
    if planned.copy:
        source, target = planned.copy
        temporary = target.with_name(f".{target.name}.adding")
        if source.is_dir():
            shutil.copytree(source, temporary, dirs_exist_ok=True)
        else:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    write_whole(folder.recipe, extended.encode())


def with_entry(text: str, entry: dict[str, Any], path: Path) -> str:
    """The recipe's text with one more entry under `sources`; comments and everything else stay as they are.

    Raises:
        SftError: `sources` is written in a way that cannot be extended.
    """
    before = strict_yaml.read(text, path)
    block = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, default_flow_style=None, width=4096).splitlines()
    extended = _inserted(text, before.node, block, orjson.dumps(entry).decode())
    after = strict_yaml.read(extended, path).value
    expected = {**(before.value or {}), "sources": [*((before.value or {}).get("sources") or []), entry]}
    if after != expected:
        lines = "\n".join(f"  {line}" for line in block)
        raise SftError(f"{path}: the entry does not fit into `sources:` as it is written; add it by hand:\n{lines}")
    return extended


def _inserted(text: str, node: yaml.Node | None, block: list[str], inline: str) -> str:
    lines = text.splitlines()
    found = next(((k, v) for k, v in getattr(node, "value", []) if k.value == "sources"), None)
    if found is None:
        head = [*lines, ""] if lines and lines[-1].strip() else lines
        return "\n".join([*head, "sources:", *(f"  {line}" for line in block)]) + "\n"
    key, value = found
    if isinstance(value, yaml.SequenceNode) and value.flow_style:
        end = value.end_mark.index - 1
        return f"{text[:end].rstrip()}{', ' if value.value else ''}{inline}{text[end:]}"
    if isinstance(value, yaml.SequenceNode):
        at, indent = _last_line(value) + 1, value.start_mark.column
    else:
        at, indent = key.start_mark.line + 1, 2
    return "\n".join([*lines[:at], *(" " * indent + line for line in block), *lines[at:]]) + "\n"


def _last_line(node: yaml.Node) -> int:
    """The line (from 0) on which a block's last value ends; what follows it are comments."""
    while isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    empty = isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index
    ends_before = node.end_mark.column == 0 and not empty  # a block text ends at the beginning of the next line
    return int(node.end_mark.line) - int(ends_before)
