"""A scripted language model endpoint on loopback, for tests: it says what the script says, and keeps count.

    def script(request: Request) -> Answer:
        return error(429, "slow down", {"Retry-After": "1"}) if request.number < 10 else chat('{"score": 3}')

    with ModelServer(script) as server:
        ...                 # server.url, server.seen, server.most_at_once

`python -m tests.model_server SECONDS` is one that always says the same after so many seconds, in a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from aiohttp import web

REPLY = '{"reason": "Correct, but terse.", "score": 3}'


@dataclass
class Request:
    """One that came. number: how many came before it. answered: when its reply left, None where none did."""

    number: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    answered: float | None = None

    @property
    def last(self) -> str:
        """What the last message says."""
        return str(self.body["messages"][-1]["content"])

    @property
    def first(self) -> str:
        return str(self.body["messages"][0]["content"])


@dataclass(frozen=True)
class Answer:
    """What is said to a request, after `delay` seconds. hang: nothing, ever. drop: the connection is closed instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hang: bool = False
    drop: bool = False

    def after(self, seconds: float) -> Answer:
        return replace(self, delay=seconds)


HANG, DROP = Answer(hang=True), Answer(drop=True)
Script = Callable[[Request], Answer]


def chat(text: str | None = REPLY, finish: str = "stop", usage: tuple[int, int] | None = (100, 20), **message: Any) -> Answer:
    """A chat completion; `message`: more of its message, or `logprobs` of its choice."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **{k: v for k, v in message.items() if k != "logprobs"}},
        "finish_reason": finish,
        "logprobs": message.get("logprobs"),
    }
    body: dict[str, Any] = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(body=orjson.dumps(body))


def error(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """An error as OpenAI words it; `more`: code, type, param."""
    return Answer(status, orjson.dumps({"error": {"message": message, **more}}), headers or {})


class ModelServer:
    """The server, in a thread of its own."""

    def __init__(self, script: Script = lambda request: chat()):
        self.script = script
        self.seen: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._dead = False

    def __enter__(self) -> ModelServer:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def die(self) -> None:
        """Close every connection from now on, before it says anything."""
        self._dead = True

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        body = orjson.loads(await http.read())
        request = Request(len(self.seen), body, dict(http.headers))
        self.seen.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = DROP if self._dead else self.script(request)
            if answer.hang:
                await self._closing.wait()
            await asyncio.sleep(answer.delay)
            if answer.drop and http.transport is not None:
                http.transport.close()
            request.answered = time.monotonic()
            return web.Response(
                status=answer.status, body=answer.body, headers={"Content-Type": "application/json", **answer.headers}
            )
        finally:
            self.at_once -= 1


if __name__ == "__main__":
    with ModelServer(lambda request: chat().after(float(sys.argv[1]))) as alone:
        print(alone.url, flush=True)
        sys.stdin.read()
