"""What a recipe entry, or a dataset_info.json beside the file, says of how records are to be read.

    columns: {messages: dialogue}                        our name of a column (LLaMA-Factory's): theirs
    tags: {role_tag: speaker, content_tag: line, user_tag: Q, assistant_tag: A}

Columns and tags are put right before a format sees the record, so that no format needs to know of them; what else there is, is
asked for by the formats that it concerns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import orjson

ROLE_TAGS: Mapping[str, str] = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
TURN_COLUMNS = ("messages", "conversations", "chosen", "rejected")


@dataclass(frozen=True)
class Hints:
    """How to read the records of a source; everything may be left to the format."""

    columns: Mapping[str, str] = field(default_factory=dict)  # our name of a column: theirs
    tags: Mapping[str, str] = field(default_factory=dict)  # LLaMA-Factory's role_tag, content_tag, user_tag ...: theirs
    roles: Mapping[str, str] = field(default_factory=dict)  # theirs: ours, where tags are too few (Axolotl's roles)
    template: str | None = None  # of the format `text`: where {system}, {prompt} and {response} stand in it
    continuation: bool = False  # of the format `text`: a text with no turns is prompt (its beginning) and answer (the rest)
    paths: Literal["best", "all"] = "best"  # of the message trees: the best-ranked path, or every one

    @property
    def text(self) -> str | None:
        """As JSON; None where nothing is said. `of` reads it."""
        said = {name: value for name, value in vars(self).items() if value != getattr(NONE, name)}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode() if said else None

    @classmethod
    @cache
    def of(cls, text: str | None) -> Hints:
        return cls(**orjson.loads(text)) if text else cls()

    def renamed(self, record: dict[str, Any], own: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The record under the names that the format knows (`own`: our name of a column -> the format's), and what of it had
        such a name without being meant by it."""
        renames = {theirs: own.get(ours, ours) for ours, theirs in self.columns.items()}
        taken = set(renames.values())
        hidden = {k: v for k, v in record.items() if k not in renames and k in taken}
        record = {renames.get(k, k): v for k, v in record.items() if k not in hidden}
        if self.tags or self.roles:
            for name in TURN_COLUMNS:
                if isinstance(value := record.get(name), dict):
                    record[name] = self._turn(value)
                elif isinstance(value, list):
                    record[name] = [self._turn(turn) if isinstance(turn, dict) else turn for turn in value]
        return record, hidden

    def _turn(self, turn: dict[str, Any]) -> dict[str, Any]:
        names = {self.tags[tag]: ours for tag, ours in (("role_tag", "role"), ("content_tag", "content")) if tag in self.tags}
        roles = {self.tags[tag]: ours for tag, ours in ROLE_TAGS.items() if tag in self.tags} | dict(self.roles)
        turn = {names.get(k, k): v for k, v in turn.items() if k in names or k not in names.values()}
        key = "role" if "role" in turn else "from"
        if isinstance(said := turn.get(key), str) and said in roles:
            turn[key] = roles[said]
        return turn


NONE = Hints()
