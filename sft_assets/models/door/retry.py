"""The one retry layer (the client's own is off): what a failed request means, and how long to wait before the next.

429, Retry-After: 7       ->  Problem("busy", "the endpoint says 429 ...", pause=7.0): everybody waits
connection refused        ->  Problem("endpoint", "no connection ...", sent=False): fewer at a time, after a backoff
500                       ->  Problem("answer", "the endpoint says 500 ..."): this call again, after a backoff
400 response_format ...   ->  Problem("request", ...): never again in this form
401, 403, 404, no quota   ->  Problem("fatal", ...): the run ends
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2
import openai

Kind = Literal["busy", "endpoint", "answer", "request", "refused", "fatal"]
RETRIED: frozenset[Kind] = frozenset({"busy", "endpoint", "answer"})
FATAL = {401: "the key is not accepted", 402: "payment is required", 403: "the key may not do this", 404: "nothing is there"}
REQUEST = {400, 413, 422}  # the request itself is at fault
ANSWER = {409, 425, 500}  # may have to do with this one request; the others of RETRY speak of the endpoint
BUSY = {503, 529}  # where the endpoint says for how long
RETRY = {408, 502, 503, 504, 520, 522, 524, 529}
NEVER = re.compile(  # the words with which endpoints say that a request is too long or forbidden, whoever asks and whenever
    r"context.{0,20}(length|size|window)|too long|too many tokens|exceeds? .{0,40}(context|tokens|length)|maximum .{0,40}tokens"
    r"|content.?(filter|policy|management)|safety|moderation",
    re.IGNORECASE | re.DOTALL,
)
NO_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing", re.IGNORECASE)
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
SAID = 300  # characters of an endpoint's words that a message repeats


@dataclass(eq=False)
class Problem(Exception):
    """Why a request has no reply. sent: whether it may have been worked on, and so be paid for.

    pause: the seconds that the endpoint asks to wait. param: the parameter that it objects to.
    """

    kind: Kind
    says: str
    sent: bool = False
    pause: float | None = None
    status: int | None = None
    param: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return Problem, (self.kind, self.says, self.sent, self.pause, self.status, self.param)


@dataclass(frozen=True)
class Patience:
    """How long to wait. base: seconds, doubled with each failure. most: of one wait. longest_pause: that an endpoint may ask
    for; one that asks for more ends the run."""

    base: float = 1.0
    most: float = 60.0
    longest_pause: float = 300.0

    def backoff(self, failures: int) -> float:
        """Seconds after so many failures: full jitter, that calls which failed together do not come back together.

        Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        return random.uniform(0, min(self.most, self.base * 2.0 ** min(failures - 1, 30)))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a response asks to wait: `retry-after-ms`, else Retry-After in seconds or as a date; None: none."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d*)?", said):
            return float(said) / scale
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - (now or datetime.now(UTC))).total_seconds(), 0.0)


def problem_of(error: Exception, model: str) -> Problem:
    """What a failed request means. Its words are the endpoint's own: the caller takes secrets out of them."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, model)
    cause = error.__cause__ or error
    if isinstance(error, openai.APITimeoutError | asyncio.TimeoutError | TimeoutError):
        return Problem("endpoint", "the endpoint did not answer in time", sent=not isinstance(cause, NOT_SENT))
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        words = str(cause) or type(cause).__name__
        return Problem("endpoint", f"there is no connection to the endpoint ({words})", sent=not isinstance(cause, NOT_SENT))
    return Problem("answer", f"the reply could not be read ({error})", sent=True)


def _of_status(error: openai.APIStatusError, model: str) -> Problem:
    status, headers = error.status_code, error.response.headers
    words, body = _words(error)
    says = f"the endpoint says {status}" + (f": {words}" if words else "")
    pause = retry_after(headers)
    if status in FATAL or (status == 429 and NO_QUOTA.search(words)):
        why = FATAL.get(status, "there is no quota left")
        remedy = f" (is {model!r} a model there, and OPENAI_BASE_URL right, usually ending in /v1?)" if status == 404 else ""
        return Problem("fatal", f"{why}{remedy}: {says}", status=status)
    if status == 429 or (status in BUSY and pause is not None):
        return Problem("busy", says, pause=pause, status=status)
    if status in REQUEST:
        never = status == 413 or (NEVER.search(words) and body.get("param") != "response_format")
        return Problem("refused" if never else "request", says, status=status, param=str(body.get("param") or ""))
    if status in RETRY or status in ANSWER or status >= 500:
        kind: Kind = "answer" if status in ANSWER else "endpoint"
        return Problem(kind, says, sent=status in (408, 504, 524), pause=pause, status=status)
    return Problem("fatal", f"{says}. Is OPENAI_BASE_URL right, usually ending in /v1?", status=status)


def _words(error: openai.APIStatusError) -> tuple[str, Mapping[str, Any]]:
    """What the endpoint says, on one line, with its code; and the body of the error."""
    body: Mapping[str, Any] = error.body if isinstance(error.body, Mapping) else {}
    if isinstance(inner := body.get("error"), Mapping):
        body = inner
    said = [body.get("code"), body.get("type"), body.get("message") or (error.body if isinstance(error.body, str) else None)]
    words = " ".join(" ".join(str(word) for word in said if isinstance(word, str)).split())
    return words[:SAID], body
