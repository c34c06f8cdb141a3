"""`sft serve`: whom it answers, one instance on a folder, viewers beside it, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from dagster._utils.error import SerializableErrorInfo
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sft_assets import verbs
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe
from sft_assets.serve.guard import Guard, Rules
from sft_assets.serve.server import Caretaker, Children, new_token
from sft_assets.serve.ui import Location
from sft_assets.verbs import Workspace
from tests.conftest import NO_MODELS
from tests.served import LAUNCH, PATIENCE, Served, serve, served, sources, wait_for

pytestmark = [pytest.mark.xdist_group("live"), pytest.mark.timeout(1800)]
TOKEN = "a-token-of-sixteen-or-more"
MUTATION = "mutation { reloadWorkspace { __typename } }"
HOST = "127.0.0.1:3000"


# ------------------------------------------------------------------------------------------------------------ the guard


class Behind:
    """An application that remembers what reached it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"feature-policy", b"camera 'none'")]})
        await send({"type": "http.response.body", "body": b"{}"})


def ask(
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    rules: Rules = Rules(3000),
    websocket: bool = False,
    parts: int = 1,
    **headers: str | None,
) -> tuple[int, dict[str, str], list[bytes]]:
    """Status, headers, and the bodies that came through. A header that is None is left out; Content_Type is Content-Type."""
    behind, sent = Behind(), list[dict[str, Any]]()
    given = {"Host": HOST, **({"Content_Type": "application/json"} if body is not None else {}), **headers}
    raw, _, query = path.partition("?")
    scope = {
        "type": "websocket" if websocket else "http",
        "method": method if body is None else "POST",
        "path": raw,
        "query_string": query.encode(),
        "headers": [(k.replace("_", "-").lower().encode(), v.encode()) for k, v in given.items() if v is not None],
        "extensions": {"websocket.http.response": {}},
        "subprotocols": [],
    }
    size = max(1, -(-len(body or b"") // parts))
    chunks = [(body or b"")[i : i + size] for i in range(0, len(body or b""), size)] or [b""]
    waiting = [{"type": "http.request", "body": c, "more_body": i + 1 < len(chunks)} for i, c in enumerate(chunks)]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Guard(behind, rules)(scope, receive, send))  # type: ignore[arg-type]
    if sent[0]["type"] == "websocket.accept":
        return 101, {}, behind.bodies
    said = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], said, behind.bodies


def status(path: str, *args: Any, **values: Any) -> int:
    answer = ask(path, *args, **values)
    assert bool(answer[2]) == (answer[0] in (200, 101)), "what is refused does not come through"
    return answer[0]


def query(text: str) -> bytes:
    return json.dumps({"query": text}).encode()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1", "127.0.0.1:3001", "127.0.0.1:3000.evil.example", "", None]
)
def test_a_name_that_was_made_to_point_here_is_not_answered(host: str | None) -> None:
    assert status("/", Host=host) == 400
    assert status("/graphql", websocket=True, Host=host) == 400


@pytest.mark.parametrize("host", [HOST, "localhost:3000", "LocalHost:3000", "[::1]:3000"])
def test_the_names_of_this_machine_are_answered(host: str) -> None:
    assert status("/", Host=host) == 200
    assert status("/graphql", body=query("{ version }"), Host=host, Origin=f"http://{host.lower()}") == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8888", "http://localhost:3000", "https://127.0.0.1:3000", ""]
)
def test_another_origin_is_refused_by_http_and_by_websocket(origin: str) -> None:
    assert status("/", Origin=origin) == 403
    assert status("/graphql", body=query("{ version }"), Origin=origin) == 403
    assert status("/graphql", websocket=True, Origin=origin) == 403
    assert status("/graphql", websocket=True, Origin=f"http://{HOST}") == 101


def test_another_site_may_link_to_a_page_and_nothing_else() -> None:
    visit = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    for site in ("cross-site", "same-site"):
        assert status("/report", Sec_Fetch_Site=site, **visit) == 200
        assert status("/report", Sec_Fetch_Site=site) == 403
        assert status("/report", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe") == 403
        assert status("/graphql", body=query("{ version }"), Sec_Fetch_Site=site, **visit) == 403
    assert status("/report", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors") == 200


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([MUTATION], 405),
        (["# { version }\n" + MUTATION], 405),
        (["query A { version } mutation B { reloadWorkspace { __typename } }"], 405),
        (["subscription { x }"], 405),
        (["{ version }", MUTATION], 405),
        ([MUTATION, "{ version }"], 405),
        (["{ version"], 400),
        (["{ a " * 5000], 400),
        (["{ version }"], 200),
        ([], 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_asks_and_changes_nothing(asked: list[str], expected: int, method: str) -> None:
    assert status("/graphql?" + "&".join(f"query={quote(text)}" for text in asked), method) == expected


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain; x=application/json", "application/x-www-form-urlencoded", "multipart/form-data", "", None],
)
@pytest.mark.parametrize("path", ["/graphql", f"/graphql?query={quote(MUTATION)}", "/report_asset_materialization/combined"])
def test_what_a_form_can_send_is_not_taken(kind: str | None, path: str) -> None:
    assert status(path, body=query(MUTATION), Content_Type=kind) == 415


def test_a_form_of_ours_is_taken_from_our_own_pages_only() -> None:
    rules = Rules(3000, forms=frozenset({"/ours"}))
    assert status("/ours", body=b"", rules=rules, Content_Type=None, Origin=f"http://{HOST}") == 200
    assert status("/ours", body=b"", rules=rules, Content_Type=None) == 403
    assert status("/ours", body=b"", rules=rules, Content_Type=None, Origin="http://evil.example") == 403


def test_other_methods_are_not_answered() -> None:
    assert {status("/", method) for method in ("PUT", "DELETE", "PATCH", "TRACE")} == {405}


def test_without_the_token_nothing_is_told() -> None:
    rules = Rules(3000, TOKEN)
    for path in ("/", "/graphql", "/report", "/_next/x.js", "/?token=wrong", "/?token="):
        assert status(path, rules=rules) == 401
    assert status("/graphql", body=query("{ version }"), rules=rules) == 401
    assert status(f"/graphql?token={TOKEN}", body=query("{ version }"), rules=rules) == 401
    assert status(f"/graphql?token={TOKEN}", rules=rules, websocket=True) == 401
    assert status("/", rules=rules, Authorization=f"Bearer {TOKEN}x") == 401
    assert status("/", rules=rules, Authorization=f"Basic {TOKEN}") == 401
    assert status("/", rules=rules, Cookie=f"sft_token_3001={TOKEN}") == 401


def test_the_token_is_taken_once_from_the_address_and_then_from_the_cookie() -> None:
    rules = Rules(3000, TOKEN)
    code, headers, _ = ask(f"/assets?a=1&token={TOKEN}&b=%26", rules=rules)
    assert (code, headers["location"]) == (303, "/assets?a=1&b=%26")
    cookie = headers["set-cookie"]
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert status("/assets", rules=rules, Cookie=cookie.split(";")[0]) == 200
    assert status("/graphql", rules=rules, websocket=True, Cookie=cookie.split(";")[0]) == 101
    assert status("/graphql", rules=rules, body=query(MUTATION), Authorization=f"Bearer {TOKEN}") == 200
    assert ask(f"//evil.example/?token={TOKEN}", rules=rules)[1]["location"] == "/evil.example/"


def test_a_token_of_ones_own_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFT_TOKEN", TOKEN)
    assert new_token() == TOKEN
    assert "SFT_TOKEN" not in os.environ
    assert new_token() != new_token()
    for bad in ("", "short", "sixteen letters and a space"):
        monkeypatch.setenv("SFT_TOKEN", bad)
        with pytest.raises(verbs.SftError, match="SFT_TOKEN"):
            new_token()


def test_a_viewer_takes_no_mutation_however_it_is_sent() -> None:
    rules = Rules(3000, read_only=True)
    for text in (MUTATION, "query A { version } " + MUTATION):
        assert status("/graphql", body=query(text), rules=rules) == 403
        assert status("/graphql", body=query(text), rules=rules, parts=7) == 403
        assert status("/graphql", body=text.encode(), rules=rules, Content_Type="application/graphql") == 403
    assert status("/graphql", body=f'{{"query": "{{ version }}", "query": "{MUTATION}"}}'.encode(), rules=rules) == 403
    assert status("/graphql", body=query(MUTATION).decode().encode("utf-16"), rules=rules) == 403
    assert status("/report_asset_materialization/combined", body=b"{}", rules=rules) == 403
    for body in (b"[]", b"{}", b"{", b'{"query": 1}', json.dumps([{"query": MUTATION}]).encode()):
        assert status("/graphql", body=body, rules=rules) == 400


def test_a_mutation_in_the_address_is_not_taken_beside_a_question_in_the_body() -> None:
    path = f"/graphql?query={quote(MUTATION)}"
    assert status(path, body=query("{ version }"), rules=Rules(3000, read_only=True), Content_Type="Application/JSON") == 403


def test_a_request_that_would_keep_a_viewer_busy_is_refused() -> None:
    viewer = Rules(3000, read_only=True)
    assert status("/graphql", body=query("{ a }" + " { b }" * 30_000), rules=viewer) in (400, 413)
    assert status("/graphql", body=b"[" * 100_000, rules=viewer) == 400


def test_a_viewer_asks_and_the_question_arrives_whole() -> None:
    body = query("query Q { version } # " + "x" * 5000)
    code, _, bodies = ask("/graphql", body=body, rules=Rules(3000, read_only=True), parts=5)
    assert (code, bodies) == (200, [body])


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/graphql?query=mutation{a}"])
def test_every_answer_says_what_the_browser_may_do_with_it(path: str) -> None:
    for rules in (Rules(3000), Rules(3000, TOKEN)):
        _, headers, _ = ask(path, rules=rules)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "feature-policy" not in headers


# -------------------------------------------------------------------------------------------------------- the caretaker


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        (None, None, []),
        (-9, None, ["the code server ended (SIGKILL); it is started again", "it is back"]),
        (
            1,
            "recipe.yaml: no",
            [
                "the code server ended (exit code 1); it is started again",
                "the code server cannot load the graph: recipe.yaml: no",
            ],
        ),
        (0, "recipe.yaml: no", []),  # nobody asks one without a graph, so it ends by itself
    ],
)
@pytest.mark.parametrize("ends", [False, True])
def test_what_is_told_of_a_code_server_that_ended(code: int | None, error: str | None, told: list[str], ends: bool) -> None:
    started, said = list[str](), list[str]()
    location = SimpleNamespace(
        ended=lambda: code,
        error=lambda: error,
        is_broken=error is not None,
        reload_workspace=lambda: started.append("again"),
        edited=lambda: None,
    )
    caretaker = Caretaker(location, None, None, Children(), said.append)  # type: ignore[arg-type]
    if ends:
        caretaker.stopped.set()
    caretaker.look()
    assert said == ([] if ends else told)
    assert bool(started) == bool(said)


def test_the_reason_for_which_the_graph_was_not_loaded_is_told_in_a_line() -> None:
    reason = SerializableErrorInfo("SftError: recipe.yaml:1: deduped.threshold:\n  not a number\n", [], "SftError")
    found = SerializableErrorInfo("DagsterUserCodeLoadError: in\nmodule_name=x", [], "DagsterUserCodeLoadError", cause=reason)

    def error(info: SerializableErrorInfo | None) -> str | None:
        context = SimpleNamespace(get_code_location_error=lambda name: info)
        return Location.error(SimpleNamespace(create_request_context=lambda: context))  # type: ignore[arg-type]

    assert error(found) == "SftError: recipe.yaml:1: deduped.threshold: not a number"
    assert error(None) is None


# ----------------------------------------------------------------------------------------------------- a real server


def test_the_real_server_is_behind_the_guard(live: tuple[Folder, Served]) -> None:
    _, server = live
    assert server.status("/graphql", Host="evil.example") == 400
    assert server.status(f"/graphql?query={quote(MUTATION)}") == 405
    assert server.status("/graphql", {"query": MUTATION}, Origin="http://evil.example") == 403
    assert server.status("/graphql", {"query": MUTATION}, Content_Type="text/plain") == 415
    assert server.status("/", Origin=server.address) == 200
    assert "nosniff" in server.ask("/_next/nothing.js").headers["X-Content-Type-Options"]


def test_a_websocket_opens_for_the_ui_and_for_no_other_page(live: tuple[Folder, Served]) -> None:
    _, server = live
    address = server.address.replace("http", "ws") + "/graphql"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin="http://evil.example", subprotocols=["graphql-ws"])  # type: ignore[arg-type,list-item]
    assert refused.value.response.status_code == 403
    with connect(address, origin=server.address, subprotocols=["graphql-ws"]) as opened:  # type: ignore[arg-type,list-item]
        opened.send(json.dumps({"type": "connection_init"}))
        assert json.loads(opened.recv(30)) == {"type": "connection_ack"}
        opened.send(json.dumps({"type": "start", "id": "1", "payload": {"query": MUTATION}}))
        assert json.loads(opened.recv(30))["type"] == "error"  # a socket is for subscriptions


def test_a_second_server_on_the_folder_is_told_where_the_first_one_is(live: tuple[Folder, Served]) -> None:
    folder, server = live
    done = serve(folder)
    assert done.returncode == 1
    assert server.address in done.stderr


def test_a_port_that_is_taken_is_refused(live: tuple[Folder, Served], tmp_path: Path) -> None:
    _, server = live
    done = serve(verbs.init(tmp_path / "other"), "--port", str(server.port))
    assert done.returncode == 1
    assert f"port {server.port} is taken" in done.stderr


def test_report_map_and_card_are_served_as_they_are_and_have_no_access_to_the_server(live: tuple[Folder, Served]) -> None:
    folder, server = live
    for path, file in (("/map", "map.html"), ("/map.png", "map.png"), ("/card", "exports/latest/README.md")):
        answer = server.ask(path)
        assert (answer.status, answer.body) == (200, (folder.root / file).read_bytes())
        policy = answer.headers.get_all("Content-Security-Policy", [])
        assert "sandbox" in policy[0] and "allow-same-origin" not in policy[0]
        assert "frame-ancestors 'none'" in policy[0]
        assert answer.headers["Cache-Control"] == "no-store"
    assert "script-src 'sha256-" in server.ask("/map").headers.get_all("Content-Security-Policy", [])[0]


def test_a_page_that_is_not_there_yet_says_how_it_is_made(live: tuple[Folder, Served]) -> None:
    folder, server = live
    there, away = folder.map, folder.root / "map.away"
    there.rename(away)
    try:
        answer = server.ask("/map")
        assert answer.status == 404
        assert b"sft run map" in answer.body
        assert b"sft run map" in server.ask("/start").body
    finally:
        away.rename(there)


def test_an_edited_recipe_is_loaded_by_itself_or_by_a_button_unless_it_cannot_be_used(live: tuple[Folder, Served]) -> None:
    folder, server = live
    text = folder.recipe.read_text()

    def says(word: bytes) -> bool:
        return word in server.ask("/start").body

    def code() -> str:
        nodes = server.graphql("{ assetNodes { assetKey { path } codeVersion: opVersion } }")["assetNodes"]
        return next(n["codeVersion"] for n in nodes if n["assetKey"]["path"] == ["exported"])  # type: ignore[no-any-return]

    def reload() -> int:
        return server.status("/start/reload", b"", Origin=server.address)

    wait_for(lambda: not says(b"Reload definitions"), PATIENCE, "the recipe as it is to be loaded")
    before = code()
    try:
        folder.recipe.write_text(text + "\n# a remark changes nothing\n")
        assert not says(b"Reload definitions")
        folder.recipe.write_text("deduped: {threshold: many}")
        assert says(b"cannot be used")
        assert reload() == 303
        assert code() == before  # what is loaded stays, for what is on disk could not be
        folder.recipe.write_text(json.dumps({**NO_MODELS, "exported": {"test_share": 0.2}}))
        wait_for(lambda: code() != before, PATIENCE, "the edited recipe to be loaded")
        wait_for(lambda: not says(b"Reload definitions"), PATIENCE, "the start page to know")
    finally:
        folder.recipe.write_text(text)
        assert reload() == 303
    assert code() == before


# ------------------------------------------------------------------------------------------------------------ a viewer


def test_a_viewer_runs_beside_the_server_and_can_start_nothing(live: tuple[Folder, Served]) -> None:
    folder, server = live
    with served(folder, "--read-only", "--token", token=TOKEN) as viewer:
        assert viewer.status("/", Authorization="") == 401
        assert viewer.status("/") == 200
        selector = {**viewer.repository(), "jobName": "dataset"}
        variables = {"p": {"selector": selector, "runConfigData": {}, "mode": "default"}}
        assert viewer.status("/graphql", {"query": LAUNCH, "variables": variables}) == 403
        permissions = viewer.graphql("{ permissions { permission value } }")["permissions"]  # Dagster knows as well
        assert not any(p["value"] for p in permissions)
        assert viewer.status("/start/reload", b"", Origin=viewer.address) in (403, 415)
        assert server.graphql("{ version }")
        code, left = viewer.end(signal.SIGTERM)
        assert (code, left) == (0, [])
        assert viewer.log.read_text().count(TOKEN) == 1  # the address to open
        assert viewer.log.read_text().count("Traceback") == 0
    assert server.graphql("{ version }")


# ------------------------------------------------------------------------------------------------------------- the end


def test_a_code_server_that_died_is_replaced_and_a_run_in_progress_ends_with_the_server(tmp_path: Path) -> None:
    folder = verbs.init(tmp_path / "data")
    folder.recipe.write_text(json.dumps(NO_MODELS))
    sources(folder, "first.jsonl", 20)
    with served(folder) as server:
        first = next(p for p in server.descendants() if "grpc" in p.cmdline())
        first.kill()
        wait_for(lambda: "SIGKILL" in server.log.read_text(), PATIENCE, "the server to say so")
        wait_for(lambda: "it is back" in server.log.read_text(), PATIENCE, "another code server")
        run_id = server.launch()
        instance = Workspace.open(folder.root).instance

        def stands() -> str:
            run = instance.get_run_by_id(run_id)
            return run.status.value if run else ""

        wait_for(lambda: stands() == "STARTED", PATIENCE, "the run to begin")
        wait_for(lambda: run_id in (folder.dagster / "serve.log").read_text(), PATIENCE, "the run to print something")
        code, left = server.end(signal.SIGINT)
        assert (code, left) == (0, [])
        assert stands() in ("CANCELED", "FAILURE")
        said = server.log.read_text()
        assert f"run {run_id[:8]} is canceled" in said
        assert "Traceback" not in said and run_id not in said, said
    with folder.lock(wait=0):
        pass
    with socket.socket() as again:
        again.bind(("127.0.0.1", server.port))
    assert Recipe.load(folder.recipe)
    assert os.path.getsize(folder.dagster / "ui.lock") == 0
