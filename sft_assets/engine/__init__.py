"""Heavy maps and what they run on: this machine's threads and processes, or a Ray cluster (`engine.ray` in the recipe).

    job = Job("rules", partial(searching, rules), local="processes")
    with engine_of(recipe.engine, build.say).workers(job) as workers:
        for batch, found in workers.map(batches):     # in the order of the batches, of which a bounded number is in flight
            build.insert(found)

A job is loaded once in each worker (a model, an index, compiled rules) and then called with batch after batch. What a batch
gives depends on the batch alone, so that the same rows come out on either engine. Dagster, decisions and everything that is
written stay in the process that calls. A worker that dies is replaced, and the batches that it had are worked on again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from sft_assets import recipe

MOST_BYTES = 256 << 20  # of batches that are in flight, however many workers there are
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Job(Generic[In, Out]):
    """What is done with batches.

    name: as `engine.ray` of the recipe has it. load: called once in each worker; gives the function of a batch, which several
    threads may call. It is pickled for other processes. local: `threads` where the function leaves the GIL, `processes` where
    it does not, `here` where it uses every core by itself, `loop` where it is a coroutine, which waits for others. at_once:
    batches that one worker takes at a time. rows: that there will be, where it is known: for few no process is started.
    """

    name: str
    load: Callable[[], Callable[[In], Out | Awaitable[Out]]]
    local: Literal["threads", "processes", "here", "loop"] = "threads"
    at_once: int = 1
    rows: int | None = None


class Workers(ABC, Generic[In, Out]):
    """The workers of one job."""

    @property
    @abstractmethod
    def ahead(self) -> int:
        """Batches that may be in flight: enough that no worker waits."""

    @abstractmethod
    def submit(self, batch: In) -> Future[Out]:
        """Have a batch worked on."""

    def map(self, batches: Iterable[In]) -> Iterator[tuple[In, Out]]:
        """Each batch and what became of it, in their order. No more than `ahead` of them, and no more than MOST_BYTES of
        Arrow, are read before they are asked for.

        Raises:
            SftError: the worker of a batch died, and so did those that were tried in its place; or the cluster is lost.
            What the job's function raises.
        """
        waiting: deque[tuple[In, Future[Out]]] = deque()
        held = 0
        for batch in batches:
            waiting.append((batch, self.submit(batch)))
            held += getattr(batch, "nbytes", 0)
            while len(waiting) > self.ahead or held > MOST_BYTES:
                first, result = waiting.popleft()
                held -= getattr(first, "nbytes", 0)
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()

    def map_of(self, batches: Iterable[tuple[Any, In]]) -> Iterator[tuple[Any, Out]]:
        """The same for pairs of something that stays here and a batch."""
        kept: deque[Any] = deque()

        def sent() -> Iterator[In]:
            for own, batch in batches:
                kept.append(own)
                yield batch

        for _, result in self.map(sent()):
            yield kept.popleft(), result


class Engine(ABC):
    """What maps run on."""

    @abstractmethod
    def workers(self, job: Job[In, Out]) -> AbstractContextManager[Workers[In, Out]]:
        """Workers for as long as the block lasts; what is in flight when it ends is given up."""


def engine_of(settings: recipe.Engine, say: Callable[[str], None] = lambda text: None) -> Engine:
    """The engine that the recipe's section asks for. say: hears what happens to workers.

    Raises:
        SftError: it is a Ray cluster, and Ray is not installed.
    """
    if settings.ray is None:
        from sft_assets.engine.local import Local

        return Local(settings.threads)
    from sft_assets.engine.cluster import Cluster

    return Cluster(settings.ray, say)
