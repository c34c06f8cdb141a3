"""What of a row is compared with other rows, and which of two rows is the better one to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sft_assets.record import Message
from sft_assets.text import text_hash

SURPLUS = re.compile(r"(?<=\S)[ \t]{2,}|\n{3,}|\A\s+|\s+\Z")
ENDINGS = tuple(".!?…。！？।؟\"'”’)]}`*|>:;")


class Compared(NamedTuple):
    """A row as duplicates are judged. `scope` must be equal for two rows to be duplicates at all."""

    row_id: bytes
    order: tuple[int, int, int, int, int, int, str, bytes]
    scope: bytes
    prompt: bytes
    texts: list[str]

    @property
    def equal(self) -> bytes:
        """The same for exact duplicates: equal up to case, whitespace and Unicode form."""
        return self.scope + text_hash(self.texts)


def compared(
    row_id: bytes,
    kind: str,
    messages: list[Message],
    rejected: list[Message] | None,
    tools: str | None,
    label: bool | None,
    source: str,
    occurrence: int,
    priority: int,
    compare: str,
) -> Compared:
    """A row's texts and its place in the order of keeping (smaller stays).

    User and assistant turns are compared (or one side, by `compare`; a preference row adds its losing answer). Kind, label,
    system prompt, tools and tool turns count for equality only.
    """
    roles = {"all": ("user", "assistant"), "prompt": ("user",), "answer": ("assistant",)}[compare]
    turns = [*messages, *(rejected or [])]
    texts = [m.content for m in turns if m.role in roles]
    aside = [m.content for m in turns if m.role == "system" or (m.role == "tool" and compare == "all")]
    calls = [m.tool_calls for m in turns if m.tool_calls and compare != "prompt"]
    scope = text_hash([kind, str(label), tools or "", *aside, "\1", *calls])
    answer = messages[-1].content if messages and messages[-1].role == "assistant" else ""
    said = len(" ".join(answer.split()))
    ends_well = answer.rstrip().endswith(ENDINGS)
    surplus = sum(len(SURPLUS.findall(text)) for text in texts)
    order = (-priority, -int(ends_well), -said, surplus, -len(answer), occurrence, source, row_id)
    return Compared(row_id, order, scope, text_hash(_prompt(kind, messages)), texts)


def _prompt(kind: str, messages: list[Message]) -> Iterable[str]:
    before = messages[:-1] if messages and messages[-1].role == "assistant" else messages
    return [kind, *(f"{m.role}\0{m.content}\0{m.tool_calls or ''}" for m in before)]
