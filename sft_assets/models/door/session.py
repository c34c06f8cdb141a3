"""One call from its first request to its reply: attempts, the form of the reply, what is too short, what has to be repaired.

    request    {"model": ..., "messages": [...], "max_tokens": 300, "response_format": {"type": "json_schema", ...}}
    reply      'Sure! {"reason": "terse", "score": 7}'                  no JSON by the schema, so it is asked to repair it
    request    [..., {"role": "assistant", ...}, {"role": "user", "content": "That reply cannot be used: score is 7 ..."}]
    reply      '{"reason": "terse", "score": 3}'                        -> Reply("ok", {"reason": "terse", "score": 3}, ...)

What an endpoint turns out not to have (a strict schema, the parameter max_tokens) is remembered for the session.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from sft_assets.models.door import structured
from sft_assets.models.door.call import Call, Reply
from sft_assets.models.door.caps import LONGER, Cost, request_bound
from sft_assets.models.door.endpoint import Endpoint
from sft_assets.models.door.retry import RETRIED, Patience, Problem, problem_of
from sft_assets.models.door.structured import MODES, Mode, Unparsed
from sft_assets.models.door.throttle import Over, Throttle
from sft_assets.recipe import ModelSettings

RENAMED = "max_completion_tokens"
DISPENSABLE = ("temperature", "seed", "logprobs", "top_logprobs")  # a request says as much without them
Messages = Sequence[Mapping[str, str]]


class Form(NamedTuple):
    """How requests are worded for an endpoint: how JSON is asked for, what it calls the limit of the reply, and which
    parameters it does not take."""

    mode: Mode = MODES[0]
    limit: str = "max_tokens"
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Completion:
    """What one request brought."""

    text: str
    finish: str
    refusal: str
    logprobs: list[dict[str, Any]] | None
    cost: Cost


class Session:
    """A model at an endpoint, and what was learnt of it. Used by the tasks of one event loop.

    post: sends the body of a request; gives the answer's, or the problem that there was.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: ModelSettings,
        throttle: Throttle,
        patience: Patience,
        post: Callable[[Mapping[str, Any]], Awaitable[bytes | Problem]],
    ):
        self.endpoint, self.settings, self.throttle, self.patience, self.post = endpoint, settings, throttle, patience, post
        self.form = Form()
        self.proved = False  # whether a reply in this form was good
        self.last: Problem | None = None

    async def reply(self, call: Call, key: bytes) -> Reply:
        """The reply to a call.

        Raises:
            Over: the run is over, and there is none.
        """
        return await _Exchange(self, call, key).reply()

    def silence(self, failed: int) -> str:
        """Why the endpoint as a whole is at fault where `failed` calls had no reply; empty: it may be the call's own fault."""
        if (
            self.throttle.answered
            or not failed
            or self.last is None
            or (failed == 1 and self.last.kind in ("answer", "request"))
        ):
            return ""
        return f"no request had a reply; the last: {self.last.says}"

    def adapts(self, problem: Problem, call: Call, form: Form) -> bool:
        """Whether a request that was turned down in this form may be sent in another: the session learns which.

        What other requests in flight have taught it meanwhile counts too.
        """
        if form.limit in problem.says and RENAMED in problem.says and form.limit != RENAMED:
            self.form = self.form._replace(limit=RENAMED)
            return True
        if problem.kind == "request" and (unknown := _not_taken(problem, call) - form.without):
            self.form = self.form._replace(without=self.form.without | unknown)
            return True
        if problem.kind != "request" or call.schema is None or form.mode == MODES[-1]:
            return False
        if self.form.mode == form.mode:
            if self.proved and not structured.ABOUT_FORMAT.search(problem.says):
                return False
            self.form, self.proved = self.form._replace(mode=MODES[MODES.index(form.mode) + 1]), False
        return True

    async def send(self, body: Mapping[str, Any], bound: Cost) -> Completion:
        """One request.

        Raises:
            Problem: it has no reply.
        """
        answer = await self.post(body)
        if not isinstance(answer, Problem):
            try:
                return _completion(answer, self.endpoint, self.settings, bound)
            except ValueError as error:
                answer = problem_of(error, self.endpoint.model)
        answer.says = self.endpoint.clean_words(answer.says)
        raise answer


@dataclass
class _Exchange:
    """The requests of one call, and what they cost together."""

    session: Session
    call: Call
    key: bytes
    cost: Cost = field(default_factory=Cost)

    async def reply(self) -> Reply:
        try:
            reply = await (self._text() if self.call.schema is None else self._json(self.call.schema))
        except Problem as problem:
            if problem.kind != "refused":
                self.session.throttle.gave_up(problem)
            reply = Reply("refused" if problem.kind == "refused" else "failed", error=problem.says)
        cost = self.cost
        return replace(reply, prompt_tokens=cost.prompt_tokens, completion_tokens=cost.completion_tokens, cost=cost.money)

    async def _text(self) -> Reply:
        came = await self._ask(self.call.messages)
        return _unusable(came) or Reply("ok", came.text, came.text, came.finish, came.logprobs)

    async def _json(self, schema: Mapping[str, Any]) -> Reply:
        """Asked at most three times: once more with more tokens where the reply was cut off, once more to repair it."""
        messages, tokens = self.call.messages, int(self.call.params["max_tokens"])
        longer = repaired = False
        reply = Reply("unparsed")
        while True:
            try:
                came = await self._ask(messages, tokens)
            except Over:
                if reply.raw and self.session.throttle.cap:  # what was paid for is kept
                    return replace(reply, error=f"{reply.error}; the repair did not fit under the cap of the run")
                raise
            if unusable := _unusable(came):
                return unusable
            try:
                value = structured.read(came.text, schema)
            except Unparsed as problem:
                reply = Reply("unparsed", None, came.text, came.finish, came.logprobs, error=str(problem))
                self._learn(came.text)
                if came.finish == "length" and not longer:
                    longer, tokens = True, tokens * LONGER
                elif came.finish != "length" and not repaired:
                    repaired, messages = True, structured.repair(self.call.messages, schema, came.text, problem)
                else:
                    return reply
            else:
                self.session.proved = True
                return Reply("ok", value, came.text, came.finish, came.logprobs)

    def _learn(self, text: str) -> None:
        """An endpoint that takes a schema and heeds it in no reply has to be told in words."""
        if text and not self.session.proved and "{" not in text:
            self.session.form = self.session.form._replace(mode=MODES[-1])

    # ------------------------------------------------------------------------------------------------------ requests

    async def _ask(self, messages: Messages, tokens: int | None = None) -> Completion:
        """The endpoint's reply, asked for in the form that it takes."""
        call, session = self.call, self.session
        limit = tokens or int(call.params["max_tokens"])
        while True:
            form = session.form
            params = {name: value for name, value in call.params.items() if name not in {"max_tokens", *form.without}}
            body = {"model": session.endpoint.model, "messages": messages, **params, form.limit: limit}
            if call.schema is not None:
                body |= structured.response_format(call.schema, form.mode)
                if form.mode != MODES[0] and messages is call.messages:
                    body["messages"] = structured.instructed(messages, call.schema)
            try:
                return await self._attempts(body, limit)
            except Problem as problem:
                if not session.adapts(problem, call, form):
                    raise

    async def _attempts(self, body: Mapping[str, Any], tokens: int) -> Completion:
        """One request, sent again while there is hope."""
        session, throttle = self.session, self.session.throttle
        bound = request_bound(body["messages"], tokens, self.call.schema, session.settings.price)
        attempts = 0
        while True:
            sent = await throttle.enter(bound)
            actual = bound  # also where the run is broken off here: the request may be charged
            try:
                came = await session.send(body, bound)
                actual = came.cost
                throttle.succeeded()
                return came
            except Problem as problem:
                actual = bound if problem.sent else Cost()
                attempts += problem.kind != "busy"
                self._failed(problem, sent, attempts)
            finally:
                self.cost += actual
                throttle.leave(bound, actual)
            await throttle.sleep(session.patience.backoff(attempts) if attempts else 0.0)

    def _failed(self, problem: Problem, sent: float, attempts: int) -> None:
        """Tell what failed to all who need to know.

        Raises:
            Over: the whole run has to end.
            Problem: this call has to end.
        """
        throttle = self.session.throttle
        if problem.kind == "fatal":
            throttle.stop(trouble=problem.says)
            raise Over
        if problem.kind == "refused":
            throttle.succeeded()
            raise problem
        throttle.failed(problem, self.key, sent)
        self.session.last = problem
        if problem.kind not in RETRIED or attempts >= self.session.settings.attempts:
            raise problem


def _not_taken(problem: Problem, call: Call) -> frozenset[str]:
    """The parameters of a call that the endpoint turns down, of those that it can be asked without: some models take no
    temperature, others give no log-probabilities."""
    named = {
        name for name in DISPENSABLE if name in call.params and re.search(rf"\b{name}\b", f"{problem.param} {problem.says}")
    }
    return frozenset(named | {"logprobs", "top_logprobs"} if named & {"logprobs", "top_logprobs"} else named)


def _unusable(came: Completion) -> Reply | None:
    """The reply where the endpoint or the model declined to give one."""
    if came.finish == "content_filter":
        return Reply("refused", raw=came.text, finish=came.finish, error="the endpoint's content filter stopped it")
    if came.refusal and not came.text:
        return Reply("unparsed", raw=came.refusal, finish=came.finish, error="the model declined to answer")
    return None


def _completion(content: bytes, endpoint: Endpoint, settings: ModelSettings, bound: Cost) -> Completion:
    """A chat completion as it came over the wire.

    Raises:
        ValueError: it is none.
    """
    try:
        body = orjson.loads(content)
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        if isinstance(text, list):  # parts, of which only texts can be a reply here
            text = "".join(part.get("text") or "" for part in text)
        tokens = (choice.get("logprobs") or {}).get("content")
        logprobs = [_logprob(token, endpoint) for token in tokens] if tokens else None
        text, refusal = endpoint.clean_reply(text), endpoint.clean_reply(refusal)
        return Completion(text, str(choice.get("finish_reason") or ""), refusal, logprobs, _cost(body, settings, bound))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no chat completion: {type(error).__name__}: {error}") from None


def _logprob(token: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    top = [[endpoint.clean_reply(other["token"]), float(other["logprob"])] for other in token.get("top_logprobs") or []]
    return {"token": endpoint.clean_reply(token["token"]), "logprob": float(token["logprob"]), "top": top}


def _cost(body: Mapping[str, Any], settings: ModelSettings, bound: Cost) -> Cost:
    """What the endpoint says it used; the bound, where it does not say."""
    usage = body.get("usage") or {}
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    prompt, completion = (
        said if isinstance(said, int) and 0 <= said < 2**31 else most
        for said, most in zip(counts, (bound.prompt_tokens, bound.completion_tokens), strict=True)
    )
    return Cost.of(prompt, completion, settings.price)
