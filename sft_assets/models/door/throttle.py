"""How many requests are in flight, when all of them wait, and when a run is over: caps, the deadline, and the circuit breaker.

    64 at a time; a 429 with Retry-After: 7    ->  nobody for 7 seconds, then 32 at a time
    no connection, again and again             ->  32, 16, ... 1 at a time; `attempts` more failures, and the run is over
    the first reply                            ->  2 at a time, 3, ... 32, then more slowly: as TCP does

Requests are let through in the order in which they come, so that a dear one is not passed by cheaper ones for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sft_assets.models.door.caps import Caps, Cost
from sft_assets.models.door.retry import Patience, Problem

GIVEN_UP = 10  # calls in a row that used up their attempts, with no reply in between, end the run
BUSY = 2  # times as many probes are sent before the run ends where the endpoint says that it is only busy
SOON = 60.0  # seconds of a pause from which on it is told


class Over(Exception):
    """No more requests are sent in this run."""


class Throttle:
    """Used by the tasks of one event loop.

    cap: the cap that the run met, "calls", "tokens", "money" or "minutes". trouble: why the endpoint was given up. Both are
    empty while the run goes on.
    """

    def __init__(
        self,
        caps: Caps,
        concurrency: int,
        attempts: int,
        patience: Patience,
        deadline: float | None,
        say: Callable[[str], None],
    ):
        self.caps, self.most, self.attempts = caps, concurrency, attempts
        self.patience, self.deadline, self.say = patience, deadline, say
        self.cap = self.trouble = ""
        self.in_flight = 0
        self.answered = False
        self._width = self._threshold = float(concurrency)
        self._narrowed = self._paused = 0.0
        self._failures = 0  # since the last reply
        self._given_up = 0
        self._probes = 0  # failures since the last reply while one request was let through at a time
        self._probed: set[bytes] = set()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        return bool(self.cap or self.trouble)

    # ------------------------------------------------------------------------------------------------------ a request

    async def enter(self, bound: Cost) -> float:
        """Wait until a request of at most this cost may be sent, and reserve it. The time at which it is let through.

        Raises:
            Over: it may not.
        """
        async with self._turn:
            while True:
                now = time.monotonic()
                if not self.over and self.deadline is not None and now >= self.deadline:
                    self.stop(cap="minutes")
                if self.over:
                    raise Over
                if now >= self._paused and self.in_flight < int(self._width):
                    lacking = self.caps.lacking(bound)
                    if lacking is None:
                        self.caps.reserve(bound)
                        self.in_flight += 1
                        return now
                    if not self.in_flight:  # nothing that could still cost less than was reserved for it
                        self.stop(cap=lacking)
                        raise Over
                await self._change(self._paused if now < self._paused else None)

    def leave(self, bound: Cost, actual: Cost) -> None:
        """The request is over, and cost this."""
        self.in_flight -= 1
        self.caps.settle(bound, actual)
        self._changed.set()

    async def sleep(self, seconds: float) -> None:
        """Wait before a request is sent again; not beyond the end of the run."""
        until = time.monotonic() + seconds
        while not self.over and (left := min(until, self.deadline or until) - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1.0))

    async def _change(self, until: float | None) -> None:
        """Wait until something changes, or the clock says `until`, or the run ends."""
        times = [moment for moment in (until, self.deadline) if moment is not None]
        self._changed.clear()
        try:
            async with asyncio.timeout(max(min(times) - time.monotonic(), 0.0) if times else None):
                await self._changed.wait()
        except TimeoutError:
            pass

    # ------------------------------------------------------------------------------------------------------ what came of it

    def succeeded(self) -> None:
        """The endpoint gave a reply."""
        self.answered = True
        self._failures = self._given_up = self._probes = 0
        self._probed.clear()
        growth = 1.0 if self._width < self._threshold else 1.0 / self._width
        self._width = min(self._width + growth, float(self.most))

    def failed(self, problem: Problem, key: bytes, sent: float) -> None:
        """A request that was let through at `sent` failed."""
        self._failures += 1
        if problem.kind in ("busy", "endpoint"):
            self._probe(problem, key)
            self._narrow(sent)
        if problem.kind == "busy" or problem.pause:
            self._pause(problem.pause or self.patience.backoff(self._failures), problem)

    def _probe(self, problem: Problem, key: bytes) -> None:
        """Count failures that no crowd can have caused."""
        if int(self._width) > 1:
            return
        self._probes += 1
        self._probed.add(key)
        busy = problem.kind == "busy"
        # one call alone may be what the endpoint fails at; how often a call is tried has a limit of its own
        if self._probes >= self.attempts * (BUSY if busy else 1) and (busy or len(self._probed) > 1):
            self.stop(trouble=f"{self._failures} requests in a row failed; the last: {problem.says}")

    def _narrow(self, sent: float) -> None:
        """Half as many at a time; requests that were in flight together count once."""
        if sent >= self._narrowed:
            self._narrowed = time.monotonic()
            self._width = max(self._width / 2, 1.0)
            if self._failures == 1:
                self._threshold = self._width

    def _pause(self, seconds: float, problem: Problem) -> None:
        if seconds > self.patience.longest_pause:
            self.stop(trouble=f"it asks for a pause of {seconds:,.0f} seconds: {problem.says}")
        elif seconds >= SOON and time.monotonic() >= self._paused:
            self.say(f"waiting {seconds:,.0f} seconds: {problem.says}")
        self._paused = max(self._paused, time.monotonic() + seconds)

    def gave_up(self, problem: Problem) -> None:
        """A call used up its attempts."""
        self._given_up += 1
        if self._given_up >= GIVEN_UP:
            self.stop(trouble=f"{self._given_up} calls in a row had no reply after all attempts; the last: {problem.says}")

    def stop(self, cap: str = "", trouble: str = "") -> None:
        """Send nothing more. What is in flight is waited for: it is paid for."""
        if not self.over:
            self.cap, self.trouble = cap, trouble
        self._changed.set()
