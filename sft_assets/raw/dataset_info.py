"""LLaMA-Factory's dataset_info.json: a description of the files beside it, and of hub datasets.

    {"chats": {"file_name": "chats.json", "formatting": "sharegpt", "columns": {"messages": "dialogue"},
               "tags": {"role_tag": "who", "user_tag": "customer", "assistant_tag": "agent"}},
     "orca":  {"hf_hub_url": "owner/orca", "subset": "en"}}

A described file is read as its entry says, unless the recipe says how. Entries for hub datasets count where the recipe names
the dataset; all others, and scripts, are left alone. https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from sft_assets.formats import Hints, alpaca, preference, sharegpt
from sft_assets.formats.hints import ROLE_TAGS
from sft_assets.raw.containers import Refused
from sft_assets.recipe import COLUMN_NAMES

NAME = "dataset_info.json"  # or its end
PLACES = frozenset(("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"))
LARGEST = 16 << 20


@dataclass(frozen=True)
class Description:
    """How the records of one file or hub dataset are to be read."""

    name: str
    format: str | None
    hints: Hints
    config: str | None = None
    split: str | None = None


@dataclass
class Descriptions:
    """What the descriptions in a folder say: by path relative to it, and by hub dataset. `left`: entries for elsewhere."""

    files: dict[str, Description] = field(default_factory=dict)
    hub: dict[str, Description] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)  # the description files, with a sentence about each
    refused: dict[str, Refused] = field(default_factory=dict)

    def of(self, path: str) -> Description | None:
        """The description of a file: its own, or that of a folder that it lies in."""
        places = [path, *map(str, PurePosixPath(path).parents)]
        return next((self.files[place] for place in places if place in self.files), None)


def descriptions(base: Path, files: Iterable[Path]) -> Descriptions:
    """What the files of that name among `files` say. One of another shape (the hub's own, say) describes nothing."""
    found = Descriptions()
    for path in files:
        if not path.name.endswith(NAME) or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        try:
            value = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # the reader says what is wrong with it
        if not _is_description(value):
            continue
        name = path.relative_to(base).as_posix()
        try:
            _add(found, PurePosixPath(name).parent, value)
        except Refused as refusal:
            found.refused[name] = refusal
            continue
        here = [e["file_name"] for e in value.values() if "file_name" in e]
        there = sum((path.parent / n).exists() for n in here)
        found.read[name] = (
            f"describes {len(value)} datasets: {there} of its {len(here)} files are here, "
            f"{len(value) - len(here)} are elsewhere and count where the recipe names them"
        )
    return found


def _is_description(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(entry, dict) and not PLACES.isdisjoint(entry) for entry in value.values())
    )


def _add(found: Descriptions, at: PurePosixPath, value: dict[str, dict[str, Any]]) -> None:
    for name, entry in value.items():
        described = _description(name, entry)
        if isinstance(file := entry.get("file_name"), str):
            path = PurePosixPath(file)
            if path.is_absolute() or ".." in path.parts:
                raise Refused("outside", f"entry {name!r}: file_name {file!r} leads out of its folder; name a file beside it")
            found.files.setdefault((at / path).as_posix(), described)
        elif isinstance(hub := entry.get("hf_hub_url"), str):
            found.hub.setdefault(hub, described)


def _description(name: str, entry: dict[str, Any]) -> Description:
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt"):
        raise Refused("dataset_info", f"entry {name!r}: formatting {formatting!r} is not known; alpaca and sharegpt are")
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    for kind, given in (("columns", columns), ("tags", tags)):
        if not (isinstance(given, dict) and all(isinstance(v, str) for v in given.values())):
            raise Refused("dataset_info", f"entry {name!r}: {kind} must map names to names")
    columns = {ours: theirs for ours, theirs in columns.items() if ours in COLUMN_NAMES}
    tags = {ours: theirs for ours, theirs in tags.items() if ours in {"role_tag", "content_tag", *ROLE_TAGS}}
    if columns.keys() == {"prompt"} and formatting == "alpaca":  # a text to pre-train on: what it is shows in the records
        return Description(name, None, Hints(), entry.get("subset"), entry.get("split"))
    form = None
    if entry.get("ranking"):
        form = preference.NAME
    elif formatting == "sharegpt":
        form = sharegpt.NAME
    elif columns:
        form = alpaca.NAME
    return Description(name, form, Hints(columns=columns, tags=tags), entry.get("subset"), entry.get("split"))
