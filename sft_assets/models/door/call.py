"""A call to a language model, and the reply to it.

Call(subject=<content_hash>, prompt="9f3c...", messages=[{"role": "user", "content": "Grade this answer ..."}],
     params={"temperature": 0.0, "max_tokens": 300}, schema={"type": "object", ...})
Reply("ok", value={"reason": "Correct, but terse.", "score": 3}, raw='{"reason": "Correct, ...", "score": 3}', ...)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from sft_assets.models.door.structured import check_schema
from sft_assets.recipe import EMBEDDED

Status = Literal["ok", "unparsed", "refused", "failed"]
KEPT: frozenset[Status] = frozenset({"ok", "unparsed", "refused"})  # in the cache; what failed is asked again by the next run
KEY_BYTES = 16


@dataclass(frozen=True)
class Call:
    """What is asked. subject: the 16-byte hash of the content that it is about. prompt: sha256 of the prompt file.

    params: what goes with the request, as the endpoint calls it; `max_tokens` must be there, or no cap could be kept.
    schema: the JSON schema of the reply; None: the reply is text.

    Raises:
        SftError: the schema says what is not checked.
    """

    subject: bytes
    prompt: str
    messages: Sequence[Mapping[str, str]]
    params: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.params.get("max_tokens"), int):
            raise ValueError("a call needs max_tokens: the caps of a run are kept by it")
        if self.schema is not None:
            check_schema(self.schema)

    def key(self, model: str) -> bytes:
        """Where the reply of `model` stands in the cache: the same for equal prompt, model, params, schema and messages."""
        parts = [self.prompt, identity(model), self.params, self.schema, self.messages]
        return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=KEY_BYTES).digest()


@dataclass(frozen=True)
class Reply:
    """What came of a call.

    status: ok; unparsed (no JSON by the schema, even after the model was asked to repair it: see `raw`); refused (the endpoint
    will never answer this: it is too long, or its filter forbids it); failed (no attempt had a reply: the next run asks again).
    value: the parsed JSON, or the text where there is no schema. raw: the text as it came. finish: its finish_reason.
    logprobs: {"token": ..., "logprob": ..., "top": [[token, logprob], ...]} of each token, where they were asked for.
    tokens and cost: of all requests that the call took, also those without a reply. error: why it is not ok.
    """

    status: Status
    value: Any = None
    raw: str = ""
    finish: str = ""
    logprobs: list[dict[str, Any]] | None = field(default=None, repr=False)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    error: str = ""
    cached: bool = False


def identity(model: str) -> str:
    """What stands for a model in the cache: its name; with the hash of its weights where they come with the package."""
    if model != EMBEDDED:
        return model
    from sft_assets.models.smollm2 import SHA256

    return f"{model}@{SHA256[:12]}"
