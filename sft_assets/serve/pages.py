"""The pages beside the Dagster UI: where to begin, the report, the map and the card of the newest export.

    /start    links to everything, and what is to be said of the recipe, with a button that loads it
    /report   D/report.html as it is; where it is not there yet, a page that says how to make it
    /map      D/map.html
    /review   one row at a time, for people to decide about (review/)

Report and map run scripts of their own, over text of the data: they are served in a sandbox, where they have no access to this
server. What they may do besides is said in the files themselves, and repeated as a header.
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from sft_assets.folder import Folder
from sft_assets.reviews.queue import names
from sft_assets.serve import review
from sft_assets.serve.guard import Rules
from sft_assets.serve.ui import Location, read_recipe

RELOAD = "/start/reload"
FORMS = frozenset({RELOAD})
SANDBOX = "frame-ancestors 'none'; sandbox allow-scripts allow-downloads allow-popups"
OURS = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
META = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"]+)"')
PAGE = Template((Path(__file__).parent / "page.html").read_text("utf-8"))

# path, file, what it is called, what is in it, how it is made
FILES = (
    ("/report", "report.html", "The report", "what became of every source, why rows went, with examples", "sft run report"),
    ("/map", "map.html", "The map", "every row, dropped ones too, by meaning", "sft run map"),
    ("/map.png", "map.png", "The map as a picture", "for a slide or a message", "sft run map"),
    ("/card", "exports/latest/README.md", "The dataset card", "of the newest export", "sft run exported"),
)


def with_pages(app: ASGIApp, location: Location, rules: Rules) -> ASGIApp:
    """Dagster's application, with these pages before it."""
    folder = location.folder

    async def start(request: Request) -> Response:
        return await run_in_threadpool(lambda: _page(_title(folder), _start(location, rules)))

    async def reload(request: Request) -> Response:
        if rules.read_only:
            return _page("This server is read-only", "<p>It loads what is there when it is started.</p>", 403)
        if not isinstance(read_recipe(folder), str):  # one that cannot be used would leave nothing to look at
            await run_in_threadpool(location.reload)
        return RedirectResponse("/start", 303)

    routes = [Route("/start", start), Route(RELOAD, reload, methods=["POST"]), *review.routes(folder, rules)]
    for path, file, *_ in FILES:
        routes += [
            Route(p, _shown(folder, path, file)) for p in dict.fromkeys((path, path.removesuffix(".png") + Path(file).suffix))
        ]
    return Starlette(routes=[*routes, Mount("/", app)])


# -------------------------------------------------------------------------------------------------------------- files


def _shown(folder: Folder, path: str, file: str) -> Callable[[Request], Awaitable[Response]]:
    async def shown(request: Request) -> Response:
        return await run_in_threadpool(_file, folder, path, file)

    return shown


def _file(folder: Folder, path: str, file: str) -> Response:
    try:
        content = (folder.root / file).read_bytes()
    except OSError:
        _, _, name, what, command = next(entry for entry in FILES if entry[0] == path)
        body = f"<p>There is none yet: {html.escape(what)}.</p><p>It is made by</p><pre>{_command(folder, command)}</pre>"
        return _page(f"{name} is not there yet", f'{body}<p><a href="/start">Back to the start</a></p>', 404)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": SANDBOX}
    if file.endswith(".html"):
        found = META.search(content, 0, 8192)
        policy = html.unescape(found[1].decode()) if found else "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        headers["Content-Security-Policy"] = f"{' '.join(policy.split()).rstrip(';')}; {SANDBOX}"
    kind = {".html": "text/html", ".png": "image/png"}.get(Path(file).suffix, "text/plain")
    return Response(content, 200, headers, kind)


# -------------------------------------------------------------------------------------------------------- where to begin


def _title(folder: Folder) -> str:
    return f"The dataset in {folder.root.name}"


def _start(location: Location, rules: Rules) -> str:
    folder = location.folder
    items = [
        _item("/", "The Dagster UI", "the states with their numbers, checks and runs"),
        _item("/asset-groups", "The lineage", "the graph of the states, and what of it is stale"),
    ]
    if queues := len(names(folder)):
        items.append(_item("/review", "Review rows", f"one at a time, from {queues:,} queue{'s' if queues > 1 else ''}"))
    else:
        items.append(_missing("Review rows", "has no queue yet", _command(folder, "sft review export")))
    for path, file, name, what, command in FILES:
        try:
            made = (folder.root / file).stat().st_mtime
            items.append(_item(path, name, f"{what} ({time.strftime('%Y-%m-%d %H:%M', time.localtime(made))})"))
        except OSError:
            items.append(_missing(name, "is not there yet", _command(folder, command)))
    export = folder.exports / "latest"
    where = f"<p>The newest export is in <code>{html.escape(str(export.resolve()))}</code></p>" if export.exists() else ""
    return f"<ul>{''.join(items)}</ul>{_recipe(location, rules)}{where}{VIEWER if rules.read_only else ''}"


VIEWER = "<p>This server is read-only: it starts no run, no sensor and no schedule.</p>"


def _item(path: str, name: str, what: str) -> str:
    return f'<li><a href="{path}">{name}</a><br><small>{html.escape(what)}</small></li>'


def _missing(name: str, how: str, command: str) -> str:
    return f"<li><b>{name}</b> {how}<br><small><code>{command}</code></small></li>"


def _recipe(location: Location, rules: Rules) -> str:
    """What is to be said of the recipe on disk and the one that Dagster loaded."""
    on_disk = read_recipe(location.folder)
    if isinstance(on_disk, str):
        return f'<p class="note">The recipe cannot be used as it is: {html.escape(on_disk)}</p>'
    if location.is_broken:
        return '<p class="note">The graph could not be loaded with this recipe; the Dagster UI says why, under Deployment.</p>'
    if on_disk == location.recipe:
        return "<p>Dagster has loaded the recipe as it is on disk.</p>"
    said = "The recipe was edited; it is loaded in a moment, and till then the UI shows what was stale before."
    if rules.read_only:
        return f'<p class="note">{said}</p>'
    button = f'<form method="post" action="{RELOAD}"><button>Reload definitions</button></form>'
    return f'<div class="note"><p>{said}</p>{button}</div>'


def _command(folder: Folder, command: str) -> str:
    return html.escape(f"{command} --data {folder}")


def _page(title: str, body: str, status: int = 200) -> Response:
    text = PAGE.substitute(title=html.escape(title), body=body)
    return HTMLResponse(text, status, {"Cache-Control": "no-store", "Content-Security-Policy": OURS})
