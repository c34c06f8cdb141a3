"""A hub of this process on a loopback port, as far as the installed client and `datasets` ask one: it takes uploads and gives
them back.

    with serve() as hub:
        hub.address                             http://127.0.0.1:40213
        hub.repos["acme/chats"].files()         {"README.md": b"...", "data/train-00000-of-00001.parquet": b"..."}

What it is told to (`fail`) it refuses: {"PUT /lfs/": [500, 500]} answers the next two such requests with 500.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_the_token_of_these_tests"
OWNER = "acme"
INITIAL = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass
class Repo:
    """One dataset. `commits`: id -> path -> bytes; `refs`: branch -> id."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], ref: str = "main", title: str = "initial commit") -> str:
        sha = hashlib.sha1(repr((sorted(files.items()), self.refs.get(ref), title)).encode()).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        self.titles.append(title)
        return sha

    def files(self, ref: str = "main") -> dict[str, bytes]:
        """Without what a new dataset has."""
        return {name: data for name, data in self.commits[self.refs[ref]].items() if name not in INITIAL}


@dataclass
class Hub:
    """address: where it listens. fail: "METHOD /start of the path" -> the statuses that such requests get, one by one."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)  # sha256 -> bytes
    asked: list[str] = field(default_factory=list)
    fail: dict[str, list[int]] = field(default_factory=dict)
    writers: set[str] = field(default_factory=lambda: {OWNER})  # whose datasets the token may write to

    def repo(self, name: str, **files: bytes) -> Repo:
        """A dataset that is there already, with these files."""
        made = self.repos[name] = Repo()
        made.commit({**INITIAL, **files})
        return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None: ...

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: Any, status: int = 200) -> None:
        self.answer(json.dumps(value).encode(), status, Content_Type="application/json")

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        line = f"{self.command} {path}"
        self.hub.asked.append(line)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        for start, statuses in self.hub.fail.items():
            if line.startswith(start) and statuses:
                self.answer(b"{}", statuses.pop(0))
                return
        if path.startswith("/lfs/"):
            self.lfs(path, body)
        elif self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            self.answer(b"{}", 401, X_Error_Message="Invalid credentials in Authorization header")
        elif path == "/api/whoami-v2":
            self.json({"type": "user", "name": OWNER, "auth": {"accessToken": {"role": "write"}}})
        elif path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path.startswith("/api/datasets/"):
            self.api(path.removeprefix("/api/datasets/").split("/"), body)
        elif path.startswith("/datasets/") and path.endswith("/info/lfs/objects/batch"):
            self.batch(json.loads(body))
        elif path.startswith("/datasets/") and "/resolve/" in path:
            self.resolve(path.removeprefix("/datasets/"))
        else:
            self.answer(b"{}", 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data

    def may_write(self, owner: str) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}" and owner in self.hub.writers:
            return True
        self.answer(b"{}", 403, X_Error_Message="You don't have the rights to create a dataset under this namespace")
        return False

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization'] or OWNER}/{asked['name']}"
        if not self.may_write(name.partition("/")[0]):
            return
        assert asked["type"] == "dataset"
        there = name in self.hub.repos
        if not there:
            self.hub.repo(name).private = asked.get("visibility") == "private"
        self.json({"url": f"{self.hub.address}/datasets/{name}", "id": name}, 409 if there else 200)

    def api(self, parts: list[str], body: bytes) -> None:
        name, what, rest = "/".join(parts[:2]), (parts[2:] or ["revision"])[0], parts[3:]
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and "Authorization" not in self.headers):
            self.answer(b"{}", 404, X_Error_Code="RepoNotFound")
            return
        ref = (rest or ["main"])[0]
        sha = repo.refs.get(ref, ref)
        if what == "branch":
            if self.may_write(parts[0]):
                repo.refs.setdefault(ref, repo.refs["main"])
                self.json({})
        elif sha not in repo.commits:
            self.answer(b"{}", 404, X_Error_Code="RevisionNotFound")
        elif what == "revision":
            files = [{"rfilename": path} for path in repo.commits[sha]]
            self.json({"_id": "1", "id": name, "sha": sha, "private": repo.private, "siblings": files, "tags": []})
        elif what == "tree":
            deep = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
            self.json(listing(repo.commits[sha], "".join(f"{part}/" for part in rest[1:]), deep))
        elif what == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else []
            some = listing(repo.commits[sha], "", deep=True)
            self.json([one for one in some if one["path"] in wanted])
        elif what == "preupload":
            self.json({"files": [self.mode(file, repo.commits[sha]) for file in json.loads(body)["files"]]})
        elif what == "commit" and self.may_write(parts[0]):
            self.commit(name, ref, [json.loads(line) for line in body.splitlines()])
        else:
            self.answer(b"{}", 404)

    def mode(self, file: dict[str, Any], there: dict[str, bytes]) -> dict[str, Any]:
        path = file["path"]
        oid = entry(path, there[path]).get("lfs", entry(path, there[path]))["oid"] if path in there else None
        return {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False, "oid": oid}

    def batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            wanted: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.large:
                href = f"{self.hub.address}/lfs/{one['oid']}"
                wanted["actions"] = {"upload": {"href": href}, "verify": {"href": f"{self.hub.address}/lfs/verify"}}
            objects.append(wanted)
        self.json({"transfer": "basic", "objects": objects})

    def lfs(self, path: str, body: bytes) -> None:
        oid = path.removeprefix("/lfs/")
        if oid == "verify":
            self.answer(b"{}", 200 if json.loads(body)["oid"] in self.hub.large else 404)
        elif hashlib.sha256(body).hexdigest() != oid:
            self.answer(b"{}", 400)
        else:
            self.hub.large[oid] = body
            self.answer()

    def commit(self, name: str, ref: str, lines: list[dict[str, Any]]) -> None:
        repo = self.hub.repos[name]
        files = dict(repo.commits[repo.refs[ref]])
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repo.refs[ref]):
            self.answer(b"{}", 412, X_Error_Message="A commit has happened since. Please refresh and try again.")
            return
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        sha = repo.commit(files, ref, header["summary"])
        self.json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.address}/datasets/{name}/commit/{sha}"})

    def resolve(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        ref, _, file = rest.partition("/")
        repo = self.hub.repos[name]
        sha = repo.refs.get(ref, ref)
        if (data := repo.commits.get(sha, {}).get(file)) is None:
            code = "EntryNotFound" if sha in repo.commits else "RevisionNotFound"
            self.answer(b"", 404, X_Error_Code=code, X_Repo_Commit=sha)
            return
        about = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": sha, "Accept_Ranges": "bytes"}
        if asked := self.headers.get("Range", "").removeprefix("bytes="):
            start, _, stop = asked.partition("-")
            part = data[int(start) : int(stop) + 1 if stop else len(data)]
            about["Content_Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
            self.answer(part, 206, **about)
        else:
            self.answer(data, **about)


def is_large(path: str) -> bool:
    return path.endswith(".parquet")


def listing(files: dict[str, bytes], inside: str, deep: bool) -> list[dict[str, Any]]:
    """What lies in a folder (its name ends in /; the whole dataset: ""), with what lies in its folders if `deep`."""
    found = [entry(path, data) for path, data in files.items() if path.startswith(inside)]
    folders = {path[: n + 1] for path in files for n, c in enumerate(path) if c == "/" and path.startswith(inside)}
    found += [{"type": "directory", "path": folder[:-1], "oid": "0" * 40, "size": 0} for folder in sorted(folders - {inside})]
    return [one for one in found if deep or "/" not in one["path"].removeprefix(inside)]


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file in the listing of a dataset."""
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    found["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if is_large(path):
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return found


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{httpd.server_port}"
    yield hub
    httpd.shutdown()
    httpd.server_close()
    thread.join()
