"""A conversation as a model reads it: in the chat template of its tokenizer, or plainly where it has none.

prompt   "<|im_start|>user\\nWhat is 6 x 7?<|im_end|>\\n<|im_start|>assistant\\n"
header   "<|im_start|>assistant\\n"
answer   "42"
end      "<|im_end|>"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from sft_assets.record import Message

PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}{{ eos_token }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
MARK = "sft answer stands here"  # an answer to find in a template
Tokens = list[int]


class NotInTemplate(ValueError):
    """The model's template refuses the conversation (a role, an order of turns)."""


@dataclass(frozen=True)
class Chat:
    """A tokenizer of transformers, and its template."""

    tokenizer: Any

    def whole(self, messages: Sequence[Message], tools: str | None = None) -> Tokens:
        """A finished conversation.

        Raises:
            NotInTemplate: the template does not take it.
        """
        return self._tokens(messages, tools)

    def prompt(self, messages: Sequence[Message], tools: str | None = None) -> Tokens:
        """What stands before an answer to `messages`.

        Raises:
            NotInTemplate: the template does not take them.
        """
        return self._tokens(messages, tools, add_generation_prompt=True)

    def answer(self, text: str) -> Tokens:
        """An answer alone. What looks like a special token in it is text."""
        found: Tokens = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return found

    @cached_property
    def header(self) -> Tokens:
        """What stands before any answer, whatever was asked: the beginning of an assistant turn, else of a text."""
        asked = [Message("user", MARK)]
        before, after = self._tokens(asked), self._tokens(asked, add_generation_prompt=True)
        header = after[len(before) :] if after[: len(before)] == before else []
        start = self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
        if start is None or header[:1] == [start]:
            return header
        return [start, *header] if before[:1] == [start] or not header else header

    @cached_property
    def end(self) -> int | None:
        """The token that ends an answer; None where the model has none."""
        written: str = self._apply([Message("user", "?"), Message("assistant", MARK)], tokenize=False)
        after = self.tokenizer(written.rpartition(MARK)[2], add_special_tokens=False)["input_ids"]
        token: int | None = after[0] if after and after[0] in self.tokenizer.all_special_ids else self.tokenizer.eos_token_id
        return token

    def _tokens(self, messages: Sequence[Message], tools: str | None = None, **options: bool) -> Tokens:
        found: Tokens = self._apply(messages, tools, return_dict=False, sanitize_control_tokens=True, **options)
        return found

    def _apply(self, messages: Sequence[Message], tools: str | None = None, **options: Any) -> Any:
        from jinja2.exceptions import TemplateError

        if not self.tokenizer.chat_template:
            options["chat_template"] = PLAIN
        try:
            listed = orjson.loads(tools) if tools else None
            return self.tokenizer.apply_chat_template([_as_dict(m) for m in messages], listed, **options)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise NotInTemplate(str(error)) from error


def _as_dict(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = orjson.loads(message.tool_calls)
    return turn
