"""The job that sends requests: a client in this process, or one in each worker of a cluster; the embedded model then answers
beside each of them.

    {"model": "gpt-5-mini", "messages": [...], ...}   ->   the body of the answer, or a Problem
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx2
import openai

from sft_assets.engine import Job
from sft_assets.models.door.endpoint import Endpoint
from sft_assets.models.door.retry import Problem, problem_of
from sft_assets.recipe import ModelSettings

AT_ONCE = 16  # requests of one worker of a cluster; with more in flight there are more workers
Body = Mapping[str, Any]


def posting(endpoint: Endpoint | None, settings: ModelSettings) -> Job[Body, bytes | Problem]:
    """The job of sending requests to an endpoint; None: to the embedded model, a server of its own in each worker."""
    at_once = min(settings.concurrency, AT_ONCE)
    if endpoint is None:
        from sft_assets.models.embedded_server import SLOTS

        at_once = SLOTS
    return Job("calls", partial(_opened, endpoint, settings), local="loop", at_once=at_once)


def _opened(endpoint: Endpoint | None, settings: ModelSettings) -> _Client:
    kept = ExitStack()  # ends with the client; in a worker of a cluster, with its process
    if endpoint is None:
        from sft_assets.models.embedded_server import embedded_server

        server = kept.enter_context(embedded_server())
        endpoint = Endpoint.at(server.base_url, server.api_key, server.model)
    kept.enter_context(endpoint.clean_logs())
    return _Client(endpoint, settings, kept)


class _Client:
    """Sends a request, and gives the answer's body or the problem that there was."""

    def __init__(self, endpoint: Endpoint, settings: ModelSettings, kept: ExitStack):
        self.model, self.timeout, self.kept = endpoint.model, settings.timeout, kept
        self.client = endpoint.client(settings.timeout, settings.concurrency)

    async def __call__(self, body: Body) -> bytes | Problem:
        try:
            async with asyncio.timeout(self.timeout):  # the client's own is for each read
                response = await self.client.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return response.content
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError, ValueError) as error:
            return problem_of(error, self.model)

    async def close(self) -> None:
        await self.client.close()
        self.kept.close()
