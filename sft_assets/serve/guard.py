"""What stands before the Dagster UI, which takes anybody's word: without it, a web page that one visits could start runs.

    Host: evil.example                          400    a name that was made to point at 127.0.0.1
    Origin: http://evil.example                 403    another site's page, by HTTP or by websocket
    GET /graphql?query=mutation{launchRun...}   405    a link or a picture is enough for a GET
    POST /graphql, Content-Type: text/plain     415    what a form can send without asking first
    no token, where one is wanted               401
    a mutation, where everything is read-only   403

A plain ASGI application around another one. It adds headers to every answer, of which the content security policy keeps the
UI's own pages from asking for anything beyond this server (a picture that a row names, for one).
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

GRAPHQL = "/graphql"
JSON_TYPES = ("application/json", "application/graphql")  # neither can be sent across origins without a preflight
SAFE = ("GET", "HEAD", "OPTIONS")
MOST_BODY = 1 << 18  # bytes of a GraphQL request that is looked into
MOST_TOKENS = 20_000  # of its query
FENCE = (
    "base-uri 'none'; connect-src 'self'; font-src 'self' data:; form-action 'self'; frame-ancestors 'none'; frame-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' data:; object-src 'none'; worker-src 'self' blob:"
)
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Rules:
    """Who may ask for what. forms: paths of ours to which a form may be posted."""

    port: int
    token: str | None = None
    read_only: bool = False
    forms: frozenset[str] = frozenset()

    @property
    def hosts(self) -> frozenset[str]:
        names = ("127.0.0.1", "localhost", "[::1]")
        return frozenset(f"{name}:{self.port}" for name in names) | (frozenset(names) if self.port == 80 else frozenset())

    @property
    def cookie(self) -> str:
        """A browser keeps cookies by host, not by port."""
        return f"sft_token_{self.port}"

    def knows(self, token: str | None) -> bool:
        return self.token is None or (token is not None and hmac.compare_digest(token.encode(), self.token.encode()))


class Refused(Exception):
    """The answer to a request that goes no further."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self, html: bool) -> Response:
        headers = {**self.headers, "Cache-Control": "no-store"}
        if not html:
            return PlainTextResponse(f"{self.sentence}\n", self.status, headers)
        title = f"{self.status} {HTTPStatus(self.status).phrase}"
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}"
            f"</style><h1>{title}</h1><p>{escape(self.sentence)}</p></html>",
            self.status,
            headers,
        )


class Guard:
    """Lets through to `app` what the rules allow."""

    def __init__(self, app: ASGIApp, rules: Rules):
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        connection = HTTPConnection(scope)
        try:
            _check_host(connection.headers, self.rules)
            _check_origin(scope, connection.headers)
            if (login := _logged_in(scope, connection, self.rules)) is not None:
                await login(scope, receive, send)
                return
            if scope["type"] == "http":
                receive = await self._checked(scope, connection, receive)
        except Refused as refused:
            response = refused.response("text/html" in connection.headers.get("accept", ""))
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _checked(self, scope: Scope, connection: HTTPConnection, receive: Receive) -> Receive:
        """The same request, if its method and body may be."""
        method, path = scope["method"], scope["path"]
        if method not in (*SAFE, "POST"):
            raise Refused(405, f"{method} is not answered here", Allow="GET, HEAD, POST")
        if method in SAFE:
            if path == GRAPHQL and not _only_asks(connection.query_params.getlist("query")):
                raise Refused(405, "a mutation is taken by POST only", Allow="POST")
            return receive
        if path in self.rules.forms:
            if "origin" not in connection.headers:
                raise Refused(403, "a form is taken from a page of this server only")
            return receive
        if (kind := _media_type(connection.headers)) not in JSON_TYPES:
            raise Refused(415, f"a request with a body says Content-Type: {JSON_TYPES[0]}; this one says {kind or 'nothing'}")
        if not self.rules.read_only:
            return receive
        if path != GRAPHQL:
            raise Refused(403, "this server is read-only")
        body = await _body(receive)
        if not _only_asks([_query(body, kind), *connection.query_params.getlist("query")]):
            raise Refused(403, "this server is read-only: it takes no mutation")
        return _again(body, receive)


# -------------------------------------------------------------------------------------------------------- who asks


def _check_host(headers: Headers, rules: Rules) -> None:
    hosts = headers.getlist("host")
    if len(hosts) != 1 or hosts[0].lower() not in rules.hosts:
        raise Refused(400, f"this server is http://127.0.0.1:{rules.port} and goes by no other name")


def _check_origin(scope: Scope, headers: Headers) -> None:
    origins = headers.getlist("origin")
    if origins and origins != [f"http://{headers['host'].lower()}"]:
        raise Refused(403, "requests of other sites' pages are not answered")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_visit(scope, headers):
        raise Refused(403, "requests of other sites' pages are not answered")


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Whether somebody follows a link to here: the page that has the link sees nothing of what comes."""
    wanted = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return scope["type"] == "http" and scope["method"] in SAFE and wanted == ("navigate", "document")


def _logged_in(scope: Scope, connection: HTTPConnection, rules: Rules) -> Response | None:
    """None where the token is known; to a visit with ?token=... the answer that keeps it as a cookie and shows a clean address.

    Raises:
        Refused: without the token.
    """
    if rules.token is None:
        return None
    kind, _, bearer = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and rules.knows(bearer.strip()):
        return None
    given = connection.query_params.getlist("token")
    if given and scope["type"] == "http" and scope["method"] in SAFE and rules.knows(given[-1]):
        rest = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True) if k != "token"]
        path = "/" + scope["path"].lstrip("/\\")  # two slashes in front would be the name of another host
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303, {"Cache-Control": "no-store"})
        response.set_cookie(rules.cookie, given[-1], httponly=True, samesite="strict")
        return response
    if rules.knows(connection.cookies.get(rules.cookie)):
        return None
    raise Refused(
        401,
        "open the address with ?token=... that `sft serve` printed; if you have done so in this browser, load this page again",
        WWW_Authenticate="Bearer",
    )


# ------------------------------------------------------------------------------------------------------ what is asked


def _media_type(headers: Headers) -> str:
    types = headers.getlist("content-type")
    return types[0].partition(";")[0].strip().lower() if len(types) == 1 else ""


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request broke off")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            raise Refused(413, f"the request is longer than {MOST_BODY:,} bytes")
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive`, with the body that was taken from it put back."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _query(body: bytes, kind: str) -> str:
    try:
        if kind == "application/graphql":
            return body.decode()
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the request is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("query"), str):
        raise Refused(400, "the request has no query")
    return str(found["query"])


def _only_asks(queries: list[str]) -> bool:
    """Whether every operation in these GraphQL documents is a query."""
    try:
        documents = [parse(query, no_location=True, max_tokens=MOST_TOKENS) for query in queries]
    except (GraphQLError, RecursionError):
        raise Refused(400, "the query is no GraphQL") from None
    operations = [d for document in documents for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    return all(operation.operation is OperationType.QUERY for operation in operations)


# ------------------------------------------------------------------------------------------------------- what is said


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            del headers["Feature-Policy"]  # of Dagster's: what Permissions-Policy was called
            headers.append("Content-Security-Policy", FENCE)  # what the page has of its own holds beside it
        await send(message)

    return sending
