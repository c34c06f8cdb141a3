"""What the review page asks this server for.

    GET  /review, /review/app.js ...            the page itself
    GET  /review/state?queue=...&reviewer=ann   {"items": [{"number": 17, "asked": "audit", "decision": "keep"}, ...], ...}
    GET  /review/item?queue=...&number=17       an item as it is shown (see shown.py)
    GET  /review/next                           what is to be made anew: {"stale": ["scored"], "command": "sft run"}
    POST /review/decide                         {"queue": ..., "number": 17, "reviewer": "ann", "decision": "keep", "why": ""}
    POST /review/undo                           {"queue": ..., "number": 17, "reviewer": "ann"}

An error is {"error": "a sentence"}. What is answered with 200 is on the disk; what was recorded before is not recorded again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sft_assets.errors import Busy, SftError
from sft_assets.folder import Folder
from sft_assets.reviews import people
from sft_assets.reviews.answers import importing
from sft_assets.reviews.answers.checking import item_of, queue_named
from sft_assets.reviews.answers.readers import DIGITS
from sft_assets.reviews.decisions import Decision, Verdict, read
from sft_assets.reviews.people import person, written
from sft_assets.reviews.queue import ASKED, names
from sft_assets.reviews.queue.item import FACTS
from sft_assets.serve.guard import Rules
from sft_assets.serve.review.shown import shown

FILES = {
    "/review": ("page.html", "text/html"),
    "/review/app.css": ("app.css", "text/css"),
    **{
        f"/review/{name}.js": (f"{name}.js", "text/javascript") for name in ("app", "page", "server", "editing", "kept", "view")
    },
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY}
MOST_BODY = 1 << 24  # bytes: an answer that was edited may be long


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    queue: str
    number: int
    reviewer: str


class _Decided(_Asked):
    decision: Verdict
    why: str = ""
    answer: str | None = None


_Kind = TypeVar("_Kind", bound=_Asked)


def routes(folder: Folder, rules: Rules) -> list[Route]:
    """The routes of the page over a folder. Nothing else has to run for them to answer."""
    gets: dict[str, Callable[[Request], Any]] = {
        "/review/state": lambda r: state(folder, r.query_params.get("queue", ""), r.query_params.get("reviewer", ""), rules),
        "/review/item": lambda r: _item(folder, r.query_params.get("queue", ""), r.query_params.get("number", "")),
        "/review/next": lambda r: next_step(folder),
    }
    posts: dict[str, Callable[[bytes], Any]] = {
        "/review/decide": lambda body: _decide(folder, _parsed(_Decided, body)),
        "/review/undo": lambda body: _undo(folder, _parsed(_Asked, body)),
    }
    return [
        *(Route(path, _file(*entry)) for path, entry in FILES.items()),
        *(Route(path, _asked(work)) for path, work in gets.items()),
        *(Route(path, _told(work, rules), methods=["POST"]) for path, work in posts.items()),
    ]


# -------------------------------------------------------------------------------------------------------------- looking


def state(folder: Folder, name: str, reviewer: str, rules: Rules) -> dict[str, Any]:
    """The queues that there are, and of one of them (default: the newest) the items that are this reviewer's, with what was
    said of each. `order`: numbers of items that were decided, the last decided last."""
    there = names(folder)
    found: dict[str, Any] = {
        "folder": folder.root.name,
        "read_only": rules.read_only,
        "queues": [_facts(folder, one) for one in reversed(there)],
        "queue": name or next(reversed(there), None),
        "reviewer": written(reviewer),
        "reviewers": [],
        "items": [],
        "order": [],
        "asked": ASKED,
        "commands": {"export": f"sft review export --data {folder}", "results": f"sft review results --data {folder}"},
    }
    if found["queue"] is None:
        return found
    queue, log = queue_named(folder, found["queue"]), read(folder).log
    numbers = {item.key: item.number for item in queue.items}
    who, known = person(reviewer), people.names(log)
    for name in (name for item in queue.items for name in item.reviewers):
        known.setdefault(person(name), name)
    said: dict[int, Decision] = {}  # their last word, the last at the end
    for one in log:
        if one.queue == queue.name and one.person == who and (number := numbers.get(one.item)) is not None:
            said.pop(number, None)
            said[number] = one
    return found | {
        "reviewer": known.get(who, written(reviewer)),  # as it was written first
        "reviewers": sorted(known.values()),
        "items": [
            {"number": item.number, "asked": item.asked, **_said(said.get(item.number))}
            for item in queue.items
            if not item.reviewers or who in map(person, item.reviewers)
        ],
        "order": [number for number, one in said.items() if one.decision != "undo"],
    }


def next_step(folder: Folder) -> dict[str, Any]:
    """Which states have decisions to apply that they have not applied yet, and the command that does it. `stale` is None where
    it cannot be looked at now."""
    from sft_assets.runs import REVIEWS, input_version
    from sft_assets.warehouse.opening import to_look
    from sft_assets.warehouse.versions import read_versions

    stale: list[str] | None = None
    with suppress(SftError):
        if folder.database.exists():
            with replace(to_look(folder), wait=1.0).reading() as con:
                versions = {version.asset: version for version in read_versions(con)}
            stale = [
                asset
                for name, asset in REVIEWS.items()
                if asset in versions and versions[asset].inputs.get(name) != input_version(folder, name)
            ]
    return {"stale": stale, "command": f"sft run --data {folder}"}


def _facts(folder: Folder, name: str) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError, LookupError):
        facts = orjson.loads((folder.queues / name / FACTS).read_bytes())
        return {"name": name, "time": str(facts["time"]), "items": int(facts["items"])}
    return {"name": name, "time": "", "items": 0}


def _said(one: Decision | None) -> dict[str, str | None]:
    if one is None:
        return {"decision": None}
    return {"decision": None if one.decision == "undo" else one.decision, "time": one.at}


def _item(folder: Folder, name: str, number: str) -> dict[str, Any]:
    if not number.isdecimal() or len(number) >= DIGITS:
        raise SftError(f"{number[:60]!r} is no number of an item of {name}")
    return shown(item_of(folder, name, int(number)))


# ------------------------------------------------------------------------------------------------------------- deciding


def _decide(folder: Folder, asked: _Decided) -> dict[str, Any]:
    made = importing.answer(folder, asked.queue, asked.number, asked.decision, asked.reviewer, asked.why, asked.answer)
    return {"decision": asked.decision, "recorded": made is not None}


def _undo(folder: Folder, asked: _Asked) -> dict[str, Any]:
    made = importing.undo(folder, asked.queue, asked.number, asked.reviewer)
    return {"decision": None, "recorded": made is not None}


def _parsed(kind: type[_Kind], body: bytes) -> _Kind:
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise SftError(f"{'.'.join(map(str, wrong['loc'])) or 'the request'}: {wrong['msg']}") from None


# ------------------------------------------------------------------------------------------------------------- answering


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, HEADERS, "application/json")


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    path = Path(__file__).parent / name

    async def file(request: Request) -> Response:
        return Response(await run_in_threadpool(path.read_bytes), 200, HEADERS, kind)

    return file


def _asked(work: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def asked(request: Request) -> Response:
        return await run_in_threadpool(_tried, lambda: work(request))

    return asked


def _told(work: Callable[[bytes], Any], rules: Rules) -> Callable[[Request], Any]:
    async def told(request: Request) -> Response:
        if rules.read_only:
            return _json({"error": "this server is read-only: it shows what is asked, and takes no decision"}, 403)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return _json({"error": f"the request is longer than {MOST_BODY:,} bytes"}, 413)
        return await run_in_threadpool(_tried, lambda: work(bytes(body)))

    return told


def _tried(work: Callable[[], Any]) -> Response:
    try:
        return _json(work())
    except Busy as error:
        return _json({"error": str(error)}, 503)
    except SftError as error:
        return _json({"error": str(error)}, 400)
    except OSError as error:
        return _json({"error": f"{error.filename or 'a file'}: {error.strerror or error}"}, 503)
