"""The door itself: replies that are known from disk, the others asked by an event loop in a thread of its own.

    calls -> cache? -> throttle (caps, concurrency, pauses) -> request, attempts, repair -> commit -> caller

The caller's iterator is consumed in the caller's thread, and only as far ahead as needed to keep all requests in flight.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from sft_assets.engine import Engine, Workers
from sft_assets.engine.local import LOCAL, Local
from sft_assets.engine.worker import LoopThread
from sft_assets.errors import SftError
from sft_assets.models.door.call import Call, Reply
from sft_assets.models.door.calls import Calls, Entry, Writer
from sft_assets.models.door.caps import Caps, Spent
from sft_assets.models.door.endpoint import Endpoint
from sft_assets.models.door.post import Body, posting
from sft_assets.models.door.retry import Patience, Problem
from sft_assets.models.door.session import Session
from sft_assets.models.door.throttle import Over, Throttle
from sft_assets.recipe import EMBEDDED, Budget, ModelSettings

CHUNK = 256  # calls that are looked up at once
Unasked = tuple[bytes, None]


class Door:
    """Asks one model for one asset in one run. A context manager; `ask` may be used more than once, one after another.

    path: of the cache, D/calls.sqlite. asset: whose ledger it is, and whose name messages say. caps: of this run; its `rows`
    are the caller's concern. endpoint: where the model answers; default: the embedded server for `embedded`, started with the
    first call that is not known, else what the environment says. again: the command that goes on, for messages.
    engine: sends the requests.

    Raises:
        SftError: the cache is damaged; there is no address or key; the endpoint does not answer, or turns every request down.
    """

    def __init__(
        self,
        path: Path,
        asset: str,
        model: str,
        settings: ModelSettings | None = None,
        caps: Budget | None = None,
        run: str = "",
        say: Callable[[str], None] = lambda text: None,
        endpoint: Endpoint | None = None,
        patience: Patience | None = None,
        again: str = "",
        beside: Sequence[Spent] = (),
        engine: Engine = LOCAL,
    ):
        self.engine = engine
        self.calls, self.asset, self.model, self.say, self.endpoint = Calls(path), asset, model, say, endpoint
        self.settings, self.caps, self.patience = settings or ModelSettings(), caps or Budget(), patience or Patience()
        self.run, self.again = run or uuid.uuid4().hex, again or f"sft run --again {asset}"
        self.spent, self.beside = Spent(), beside
        self._began = time.monotonic()
        self._id, self._started = uuid.uuid4().hex, time.time()
        self._waiting: dict[bytes, list[Call]] = {}
        self._failed: dict[bytes, Reply] = {}
        self._results: SimpleQueue[Entry | Unasked | Exception] = SimpleQueue()
        self._stack = ExitStack()
        self._asker: _Asker | None = None

    @property
    def stopped(self) -> str | None:
        """Why not all was asked; None: it was, as far as this run came."""
        cap = self._asker.throttle.cap if self._asker else ""
        if not cap:
            return None
        most = getattr(self.caps, cap)
        return f"{self.asset} stopped at its cap of {cap} ({most:,}); `{self.again}` goes on"

    def __enter__(self) -> Door:
        self._writer = Writer(self.calls, self.run, self.model, self._ledger, self._results.put)
        self._stack.callback(self._writer.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def _ledger(self) -> list[Any]:
        spent = self.spent
        spent.seconds = time.monotonic() - self._began
        return [
            self._id, self.run, self.asset, self.model, self._started, spent.seconds,
            spent.calls, spent.cached, spent.failed, spent.prompt_tokens, spent.completion_tokens, spent.cost,
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ asking

    def ask(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Reply]]:
        """The replies, as they come and not in the order of the calls. Each is on disk before it is given.

        A cap ends the asking, not the iteration: known replies are still given, calls that were not asked are left out, and
        `stopped` says so. What is in flight then is waited for.
        """
        source, more = iter(calls), True
        try:
            while more or self._waiting:
                while more and len(self._waiting) < CHUNK // 2 + self.settings.concurrency:
                    chunk = list(islice(source, CHUNK))
                    more = bool(chunk) and not self._trouble
                    yield from self._look_up(chunk)
                if self._waiting:
                    yield from self._take()
                more = more and not self._trouble
        finally:
            self._waiting.clear()
            self.spent.seconds = time.monotonic() - self._began
        self._raise_trouble()

    def _look_up(self, chunk: list[Call]) -> Iterator[tuple[Call, Reply]]:
        """Hand the calls that are not known to the asker; then give the replies that are."""
        keys = [call.key(self.model) for call in chunk]
        known = self.calls.find(keys) if keys else {}
        hits: list[tuple[Call, Reply]] = []
        new: list[tuple[bytes, Call]] = []
        for key, call in zip(keys, chunk, strict=True):
            if key in known:
                subject, reply = known[key]
                hits.append((call, reply))
                self._also_for(key, call, subject, reply)
            elif key in self._failed:
                hits.append((call, self._failed[key]))
            elif key in self._waiting:
                self._waiting[key].append(call)
            elif not self.stopped:
                self._waiting[key] = [call]
                new.append((key, call))
        self.spent.cached += sum(reply.cached for _, reply in hits)
        if new:
            self._start().submit(new)
        yield from hits

    def _also_for(self, key: bytes, call: Call, subject: bytes, reply: Reply) -> None:
        """Note that another content has this reply too."""
        if call.subject != subject:
            self._writer.put(Entry(key, call, replace(reply, cached=True)))

    def _take(self) -> Iterator[tuple[Call, Reply]]:
        """The next result: a reply for all who wait for it, or nothing where it was not asked."""
        result = self._results.get()
        if isinstance(result, Exception):
            raise result
        calls = self._waiting.pop(result[0], [])
        if not isinstance(result, Entry) or not calls:
            return
        reply = result.reply
        if reply.status == "failed":
            self._failed[result.key] = reply
            self.spent.failed += 1
        yield calls[0], reply
        for call in calls[1:]:
            again = replace(reply, cached=True)
            self.spent.cached += 1
            self._also_for(result.key, call, calls[0].subject, again)
            yield call, again

    # ------------------------------------------------------------------------------------------------------ the asker

    def _start(self) -> _Asker:
        """The asker, with its endpoint, when it is needed for the first time."""
        if self._asker is None:
            endpoint = self.endpoint or self._find_endpoint()
            self._stack.enter_context(endpoint.clean_logs())
            asked = None if self._served_by_workers else endpoint
            workers = self._stack.enter_context(self.engine.workers(posting(asked, self.settings)))
            self._asker = _Asker(self, endpoint, workers, self._finished)
            self._stack.callback(self._asker.close)
        return self._asker

    @property
    def _served_by_workers(self) -> bool:
        """Whether each worker has a server of the embedded model for itself."""
        return self.endpoint is None and self.model == EMBEDDED and not isinstance(self.engine, Local)

    def _find_endpoint(self) -> Endpoint:
        if self.model != EMBEDDED:
            return Endpoint.of_environment(self.model)
        if self._served_by_workers:
            return Endpoint.at("http://embedded/v1", secrets.token_urlsafe(32), EMBEDDED)
        from sft_assets.models.embedded_server import embedded_server

        server = self._stack.enter_context(embedded_server(self.say))
        self.settings = self.settings.model_copy(update={"concurrency": min(self.settings.concurrency, server.slots)})
        return Endpoint.at(server.base_url, server.api_key, server.model)

    def _finished(self, key: bytes, call: Call, result: Reply | Exception | None) -> None:
        """From the asker's thread: replies go over the disk to the caller, the rest straight."""
        if isinstance(result, Reply):
            self._writer.put(Entry(key, call, result))
        else:
            self._results.put(result or (key, None))

    @property
    def _trouble(self) -> str:
        return self._asker.throttle.trouble if self._asker else ""

    def _raise_trouble(self) -> None:
        asker = self._asker
        if asker is None:
            return
        trouble = asker.throttle.trouble or asker.session.silence(self.spent.failed)
        if trouble:
            raise SftError(
                f"{self.asset}: {self.model!r} at {asker.session.endpoint.base_url} cannot be asked: {trouble}. "
                f"{self._writer.written:,} replies of this run are kept in {self.calls.path}; when it is mended, "
                f"`{self.again}` asks only for the rest"
            )


class _Asker:
    """An event loop in a thread of its own, with as many workers as there may be requests in flight."""

    def __init__(
        self,
        door: Door,
        endpoint: Endpoint,
        workers: Workers[Body, bytes | Problem],
        finished: Callable[[bytes, Call, Reply | Exception | None], None],
    ):
        self.finished, self.concurrency = finished, door.settings.concurrency
        self.workers: list[asyncio.Task[None]] = []
        self.todo: asyncio.Queue[tuple[bytes, Call]] = asyncio.Queue()
        deadline = time.monotonic() + 60 * door.caps.minutes if door.caps.minutes is not None else None
        caps = Caps(door.caps, door.spent, door.beside)
        self.throttle = Throttle(caps, self.concurrency, door.settings.attempts, door.patience, deadline, door.say)

        async def post(body: Body) -> bytes | Problem:
            return await asyncio.wrap_future(workers.submit(body))

        self.session = Session(endpoint, door.settings, self.throttle, door.patience, post)
        self.thread = LoopThread()

    def submit(self, calls: list[tuple[bytes, Call]]) -> None:
        self.thread.loop.call_soon_threadsafe(self._submit, calls)

    def _submit(self, calls: list[tuple[bytes, Call]]) -> None:
        for entry in calls:
            self.todo.put_nowait(entry)
        while len(self.workers) < self.concurrency:
            self.workers.append(self.thread.loop.create_task(self._work()))

    async def _work(self) -> None:
        while True:
            key, call = await self.todo.get()
            try:
                self.finished(key, call, await self.session.reply(call, key))
            except Over:
                self.finished(key, call, None)
            except Exception as error:  # the caller waits for a result, whatever happens here
                self.finished(key, call, error)

    def close(self) -> None:
        """Break off what is in flight, and end the thread."""
        self.thread.close()
