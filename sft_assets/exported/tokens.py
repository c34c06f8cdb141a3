"""How many tokens each row has for a tokenizer: what decides about sequence lengths, batches and cost.

    counter = Counter.of("embedded")
    counter.count(batch)    [31, 412, 95]: a number for each row
    counter.how             "in its chat template", or "the contents joined" where it has none

A row of two answers counts as the longer of its two conversations. What the template adds of its own, such as a system prompt,
counts too: a trainer reads it. The library `tokenizers` counts a batch on all cores without the interpreter's lock. That is
nine tenths of the work: 200,000 rows of 226 tokens took 145 seconds of processor time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from sft_assets.errors import SftError
from sft_assets.formats import preference
from sft_assets.formats.messages import calls_json
from sft_assets.models import smollm2, weights
from sft_assets.recipe import EMBEDDED
from sft_assets.record import Conversation, messages_of

Counts = npt.NDArray[np.int32]
Turns = list[dict[str, Any]]
# what a tokenizer is made of; weights are not fetched
FILES = [
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "config.json",
]
TOGETHER = 1024  # rows whose texts are in memory at once
# beside Jinja's own errors, what a template raises that is wrong: it is a program of somebody else's
FAULTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


def tokenizer_of(name: str, fetch: bool = True, root: Path | None = None) -> Any:
    """A tokenizer of transformers: `embedded` (SmolLM2's), or by a folder, a tokenizer.json, or a name on the hub.

    Code that comes with a tokenizer is never run. fetch: from the hub, if it is not on this machine. root: what relative paths
    start from; default: the current folder.

    Raises:
        SftError: there is none of that name, or it cannot be used.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if name == EMBEDDED:
        tokenizer = weights.load(AutoTokenizer, name, smollm2.unpacked())
    elif (path := _path(name, root)).is_file():
        try:
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))  # type: ignore[no-untyped-call]
        except Exception as error:  # tokenizers raises Exception itself
            raise SftError(
                f"{path} is no tokenizer.json of the library tokenizers ({error}); name one, or its folder"
            ) from None
    else:
        tokenizer = weights.load(AutoTokenizer, name, path if path.is_dir() else _fetched(name, fetch))
    if not getattr(tokenizer, "is_fast", False):
        raise SftError(
            f"the tokenizer {name!r} is none of the library tokenizers (it has no tokenizer.json): convert it, or name another"
        )
    return tokenizer


def digest_of(name: str, root: Path) -> str:
    """Ten hex digits over the files of a tokenizer that is named by its path; empty for any other, whose name says it all."""
    path = _path(name, root)
    if name == EMBEDDED or not os.path.exists(path):
        return ""
    total = hashlib.sha256()
    found = {file for pattern in (*FILES, "*/*.jinja") for file in path.glob(pattern)} if path.is_dir() else {path}
    for file in sorted(file for file in found if file.is_file()):
        try:
            total.update(f"{file.name} {weights.sha256(file)}\n".encode())
        except OSError:  # said where it is loaded
            total.update(f"{file.name} cannot be read\n".encode())
    return total.hexdigest()[:10]


def _path(name: str, root: Path | None) -> Path:
    return (root or Path()) / Path(name).expanduser()


def _fetched(name: str, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not fetch))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise SftError(
            f"there is no tokenizer {name!r}: it is no folder or file here, and the hub did not give it "
            f"({str(error).splitlines()[0]}). Name `embedded`, a folder, a tokenizer.json, or a model of the hub "
            "(exported.tokenizer, --tokenizer)"
        ) from None


# --------------------------------------------------------------------------------------------------------- counting


@dataclass
class Counter:
    """Counts tokens with one tokenizer. `refused`: rows so far that its template does not take, counted by their contents."""

    name: str
    tokenizer: Any = field(repr=False)
    refused: int = 0

    @classmethod
    def of(cls, name: str, fetch: bool = True, root: Path | None = None) -> Counter:
        """As `tokenizer_of`."""
        return cls(name, tokenizer_of(name, fetch, root))

    @property
    def how(self) -> str:
        return "in its chat template" if self.tokenizer.chat_template else "the contents joined"

    def count(self, rows: pa.RecordBatch) -> pa.Int32Array:
        """The tokens of each row. rows: columns messages, rejected (or null) and tools."""
        found = np.zeros(rows.num_rows, np.int32)
        for start in range(0, rows.num_rows, TOGETHER):
            part = rows.slice(start, TOGETHER)
            places, texts = list[int](), list[str]()
            for place, row in enumerate(part.select(["messages", "rejected", "tools"]).to_pylist()):
                some = [self._text(turns, row["tools"]) for turns, _ in conversations(row)]
                self.refused += not all(taken for _, taken in some)
                places += [start + place] * len(some)
                texts += [text for text, _ in some]
            np.maximum.at(found, places, self._lengths(texts))
        return pa.array(found, pa.int32())

    def about(self) -> dict[str, Any]:
        """What the numbers are, for the manifest and the card."""
        return {"tokenizer": self.name, "counted": self.how, "not_in_template": self.refused}

    def _text(self, turns: Turns, tools: str | None) -> tuple[str, bool]:
        """The text whose tokens count, and whether the template, if there is one, took the conversation."""
        taken = True
        if self.tokenizer.chat_template:
            try:
                return str(rendered(self.tokenizer, turns, tools)), True
            except NotRendered:
                taken = False
        return "\n\n".join(turn["content"] for turn in turns), taken

    def _lengths(self, texts: Sequence[str]) -> Counts:
        encode = self.tokenizer.backend_tokenizer.encode_batch_fast  # without offsets, which nobody looks at
        return np.array([len(one) for one in encode(texts, add_special_tokens=False)], np.int32)


def conversations(row: Mapping[str, Any]) -> list[tuple[Turns, int]]:
    """The conversations of a row (messages, rejected) as templates take them, each with the turns that stand before its answer:
    one of which every answer counts (0), or the chosen and the rejected one."""
    if row["rejected"] is None:
        return [(turns_of(row["messages"]), 0)]
    parts = preference.write(Conversation(messages_of(row["messages"]) or [], "preference", messages_of(row["rejected"])))
    prompt = parts["prompt"]
    return [(turns_of(turn._asdict() for turn in (*prompt, *parts[side])), len(prompt)) for side in ("chosen", "rejected")]


def turns_of(turns: Iterable[Mapping[str, Any]]) -> Turns:
    """Turns as chat templates take them: without what a turn does not have, tool calls and their arguments as objects."""
    written = []
    for turn in turns:
        one = {name: value for name, value in turn.items() if value is not None and name != "weight"}
        if "tool_calls" in one:
            one["tool_calls"] = [_call(call) for call in orjson.loads(calls_json(one["tool_calls"]))]
        written.append(one)
    return written


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        try:
            return {**call, "function": {**function, "arguments": orjson.loads(function["arguments"])}}
        except ValueError:
            return call
    return call


class NotRendered(ValueError):
    """The tokenizer's template does not take the conversation (a role, an order of turns). The text is its reason."""


def rendered(tokenizer: Any, turns: Turns, tools: str | None, **options: Any) -> Any:
    """The conversation in the tokenizer's chat template, as a text (or as `options` of `apply_chat_template` say).

    Raises:
        NotRendered: the template does not take it.
    """
    from jinja2.exceptions import TemplateError

    try:
        listed = orjson.loads(tools) if tools else None
        return tokenizer.apply_chat_template(turns, listed, **{"tokenize": False, **options})
    except (TemplateError, *FAULTS) as error:
        raise NotRendered(str(error).partition("\n")[0] or type(error).__name__) from error
