"""What a check is given: a turn's text, and the conversation around it.

Turn(text="4", number=2, messages=[user: "What is 2 + 2?", assistant: "4"], tools=None).question   ->   "What is 2 + 2?"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sft_assets.record import Message

Span = tuple[int, int]

CODE_MARKS = re.compile(r"[{}<>=;|`\\]|\(\)")


class Turn(NamedTuple):
    """The text that a rule looks at (a turn's content, or its tool calls as JSON) and the conversation around it."""

    text: str
    number: int  # from 1
    messages: Sequence[Message]
    tools: str | None

    @property
    def message(self) -> Message:
        """The turn as it stands, whatever part of its text is looked at."""
        return self.messages[self.number - 1]

    @property
    def question(self) -> str:
        """The last user turn before this one."""
        return next((m.content for m in reversed(self.messages[: self.number - 1]) if m.role == "user"), "")

    @property
    def asked(self) -> str:
        """All that system and user have said up to this turn."""
        return "\n".join(m.content for m in self.messages[: self.number] if m.role in ("system", "user"))

    @property
    def has_tools(self) -> bool:
        return self.tools is not None or any(m.role == "tool" or m.tool_calls for m in self.messages)
