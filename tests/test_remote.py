"""Sources that are elsewhere: which files of a hub dataset are read, what is downloaded, and what stands in if nobody answers.

The hub and the web are a server of this process on a loopback port.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from conftest import build, rows, say
from datasets.data_files import DataFilesDict, get_data_patterns
from huggingface_hub import constants
from huggingface_hub.utils import _http as hub_http

from sft_assets.add import add, glimpses, plan
from sft_assets.combined.asset import combined
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw import remote as remote_module
from sft_assets.raw import urls
from sft_assets.raw.asset import raw
from sft_assets.raw.hub_files import choose
from sft_assets.raw.remote import Remote, fetch, last_version, resolve
from sft_assets.recipe import Recipe, Source
from sft_assets.runs import input_version

REPO = "acme/chats"
RECORD = b'{"instruction": "Say hi", "output": "Hi!"}\n'


@dataclass
class Page:
    """What the web server answers at a path; `headers` are sent as they are."""

    body: bytes = RECORD
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    head_allowed: bool = True
    cut: int | None = None  # bytes after which the connection breaks


@dataclass
class Server:
    """A hub with one dataset, and a web of pages, on one port."""

    address: str = ""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 200  # of every answer of the hub
    token: str = ""  # the one that the hub wants to see

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[sha], self.refs[ref] = {".gitattributes": b"*.parquet filter=lfs\n", **files}, sha
        return sha

    def downloads(self) -> list[str]:
        """The dataset's files that were downloaded since the last look."""
        found = sorted(line.rpartition("/")[2] for line in self.asked if line.startswith("GET /datasets/"))
        self.asked.clear()
        return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: Server

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            if "Transfer-Encoding" in headers:
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and self.command == "GET":
            self.close_connection = True

    def answer(self) -> None:
        self.server_.asked.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        if path.startswith(("/api/datasets/", "/datasets/")):
            self.hub(path)
            return
        page = self.server_.pages.get(path)
        if page is None:
            self.send(404, {}, b"")
        elif self.command == "HEAD" and not page.head_allowed:
            self.send(405, {}, b"")
        else:
            self.send(page.status, page.headers, page.body, page.cut)

    def hub(self, path: str) -> None:
        hub = self.server_
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.send(401, {"X-Error-Message": "Invalid username or password."}, b"")
            return
        if hub.status != 200:
            code = {403: "GatedRepo", 404: "RepoNotFound"}.get(hub.status)
            self.send(hub.status, {"X-Error-Code": code} if code else {}, b"")
            return
        if path.startswith(f"/api/datasets/{REPO}"):
            what, _, rest = path.removeprefix(f"/api/datasets/{REPO}").lstrip("/").partition("/")
            sha = hub.refs.get(rest or "main", rest)
            if sha not in hub.commits:
                self.send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
            elif what == "tree":
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in hub.commits[sha].items()
                ]
                self.send(200, {"Content-Type": "application/json"}, json.dumps(tree).encode())
            else:
                info = {"_id": "1", "id": REPO, "sha": sha}
                self.send(200, {"Content-Type": "application/json"}, json.dumps(info).encode())
            return
        sha, _, name = path.removeprefix(f"/datasets/{REPO}/resolve/").partition("/")
        data = hub.commits[sha][name]
        self.send(200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": sha}, data)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, and the hub's client told to ask it and to keep its cache in tmp_path."""
    state = Server()
    handler = type("Bound", (Handler,), {"server_": state})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", state.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{state.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_URL_HOSTS", frozenset({"127.0.0.1"}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(hub_http.time, "sleep", lambda _: None)
    monkeypatch.setattr(urls, "WAITS", (0.0, 0.0))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where the hub was."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}")


def hub(**said: Any) -> Source:
    return Source(hub=REPO, **said)


def got(folder: Folder, source: Source, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """The names of the files that the source comes to."""
    return [name.removeprefix(f"hub:{REPO}/") for _, name in fetch(folder, resolve(folder, source), say)]


# ------------------------------------------------------------------------------------------------- which files are data


def readme(*configs: dict[str, Any]) -> dict[str, str]:
    return {"README.md": f"---\nconfigs: {json.dumps(configs)}\n---\n# Chats\n"}


TREES = {
    "sharded": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet",
                "data/extra_gen-00000-of-00001.parquet", "other.parquet"],
    "names of files": ["chats_train.jsonl", "chats-dev.jsonl", "eval.jsonl", "sub/training 1.jsonl", "nothing.jsonl"],
    "names of folders": ["train/a.jsonl", "train_sft/b.jsonl", "my-test/c.jsonl", "x/valid/d.jsonl", "train.jsonl"],
    "no names": ["a.jsonl", "sub/b.jsonl", "trainer.jsonl", "latest.jsonl"],
    "hidden and special": ["a.jsonl", ".cache/b.jsonl", "sub/.c.jsonl", "__pycache__/d.jsonl", "__e.jsonl"],
    "not data": ["README.md", "dataset_infos.json", "config.json", "train.jsonl", "sub/README.md"],
}  # fmt: skip


@pytest.mark.parametrize("names", TREES.values(), ids=TREES)
def test_the_files_of_each_split_are_those_that_datasets_finds(names: list[str], tmp_path: Path) -> None:
    base = tmp_path / "repository"
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(RECORD)
    found = DataFilesDict.from_patterns(get_data_patterns(str(base)), str(base))
    theirs = {str(split): sorted(Path(p).relative_to(base).as_posix() for p in paths) for split, paths in found.items()}
    assert {split: sorted(choose(names, split=split).files) for split in theirs} == theirs


def test_test_splits_stay_out_unless_they_are_named() -> None:
    names = [f"data/{split}-00000-of-00001.parquet" for split in ("train_sft", "test_sft", "train", "validation", "latest")]
    chosen = choose(names)
    assert [name.split("-")[0] for name in chosen.files] == ["data/latest", "data/train", "data/train_sft"]
    assert chosen.left_out == "split test_sft (1 files), split validation (1 files)"
    assert choose(names, split="train+validation").files == (names[2], names[3])
    assert len(choose(names, split="all").files) == 5


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("trian", "has no split 'trian'; did you mean 'train'?"),
        ("train[:10%]", "split 'train[:10%]': slices are not read; name the split, and say `cap:` or `weight:`"),
    ],
)
def test_a_split_that_is_not_there_is_said_with_what_is(split: str, says: str) -> None:
    with pytest.raises(SftError) as error:
        choose(["train.jsonl", "test.jsonl"], split=split)
    assert str(error.value) == says


def test_a_dataset_of_test_splits_alone_is_not_taken_unasked() -> None:
    with pytest.raises(SftError, match="has only splits that are kept for tests \\(test\\); name one in `split:` to take it"):
        choose(["test.jsonl"])
    assert choose(["test.jsonl"], split="test").files == ("test.jsonl",)


@pytest.mark.parametrize(
    ("data_files", "train"),
    [
        ("en/*.jsonl", ["en/a.jsonl", "en/b.jsonl"]),
        (["en/a.jsonl", "de/**"], ["en/a.jsonl", "de/c.jsonl", "de/deep/d.jsonl"]),
        ([{"split": "train", "path": ["en/b.jsonl"]}, {"split": "test", "path": "en/a.jsonl"}], ["en/b.jsonl"]),
    ],
)
def test_a_readme_says_which_files_are_data(data_files: Any, train: list[str]) -> None:
    names = ["README.md", "en/a.jsonl", "en/b.jsonl", "de/c.jsonl", "de/deep/d.jsonl"]
    cards = readme({"config_name": "some", "data_files": data_files})
    assert list(choose(names, cards).files) == train


def test_data_files_are_looked_for_in_the_data_dir() -> None:
    names = ["de/train.jsonl", "en/train.jsonl", "train.jsonl"]
    assert choose(names, readme({"config_name": "x", "data_dir": "de"})).files == ("de/train.jsonl",)
    assert choose(names, readme({"config_name": "x", "data_dir": "en", "data_files": "*.jsonl"})).files == ("en/train.jsonl",)


def test_of_several_configurations_the_default_is_taken_or_one_must_be_named() -> None:
    names = ["de.jsonl", "en.jsonl"]
    two = [{"config_name": c, "data_files": f"{c}.jsonl"} for c in ("de", "en")]
    with pytest.raises(SftError, match="has the configurations de, en; name one in `config:`"):
        choose(names, readme(*two))
    with pytest.raises(SftError, match="has no configuration 'fr'; it has: de, en"):
        choose(names, readme(*two), config="fr")
    assert choose(names, readme(*two), config="en").files == ("en.jsonl",)
    assert choose(names, readme(two[0], {**two[1], "default": True})).files == ("en.jsonl",)
    assert choose(names, readme(two[0], {**two[1], "config_name": "default"})).files == ("en.jsonl",)


def test_a_folder_is_a_configuration_where_the_readme_names_none() -> None:
    assert choose(["en/train.jsonl", "de/train.jsonl"], config="de").files == ("de/train.jsonl",)


def test_the_conversion_to_parquet_has_configurations_and_splits_as_folders() -> None:
    names = ["a/train_sft/0000.parquet", "a/test/0000.parquet", "b/partial-train/0000.parquet"]
    with pytest.raises(SftError, match="has the configurations a, b; name one in `config:`"):
        choose(names, revision="refs/convert/parquet")
    assert choose(names, config="a", revision="refs/convert/parquet").files == (names[0],)
    assert choose(names, config="b", split="train", revision="refs/convert/parquet").files == (names[2],)


def test_files_of_another_kind_than_most_are_left_out_and_named() -> None:
    chosen = choose(["a.jsonl.gz", "b.jsonl", "c.csv", "LICENSE.txt", "NOTES.md", "images.zip"])
    assert chosen.files == ("a.jsonl.gz", "b.jsonl")
    assert chosen.left_out == "4 files that are not json (LICENSE.txt, NOTES.md, c.csv, ...)"


@pytest.mark.parametrize(
    ("data_files", "says"),
    [
        ("fr/*.jsonl", "names fr/*.jsonl as data of split train in its README.md, and has no such file"),
        ("x://h/a.jsonl?token=s", "names data outside of it (x://h/a.jsonl); make that a source of its own, by `url:`"),
        ("**.jsonl", "names data by the pattern '**.jsonl', which is none: ** stands for whole folders only"),
        (7, "has a README.md whose `data_files` cannot be read: 7"),
    ],
)
def test_a_readme_that_names_no_file_is_said(data_files: Any, says: str) -> None:
    with pytest.raises(SftError) as error:
        choose(["en.jsonl"], readme({"config_name": "x", "data_files": data_files}))
    assert str(error.value) == says


def test_a_readme_without_configurations_or_front_matter_says_nothing() -> None:
    for text in ("# Chats: [not yaml", "---\nlicense: mit\n---\n", ""):
        assert choose(["a.jsonl"], {"README.md": text}).files == ("a.jsonl",)
    with pytest.raises(SftError, match=r"has a README\.md that is no YAML"):
        choose(["a.jsonl"], {"README.md": "---\nconfigs: [\n---\n"})


# ------------------------------------------------------------------------------------------------------------- the hub


def test_a_new_commit_is_a_new_version_and_only_new_files_are_fetched(server: Server, folder: Folder) -> None:
    first = server.commit({"train.jsonl": RECORD, "README.md": b"# Chats"})
    before = resolve(folder, hub())
    assert before.version == f"hub:{REPO}@{first}" and before.offline == ""
    files = fetch(folder, before, lambda _: None)
    assert [(path.read_bytes(), name) for path, name in files] == [(RECORD, f"hub:{REPO}/train.jsonl")]
    assert server.downloads() == [".gitattributes", "README.md", "train.jsonl"]

    second = server.commit({"train.jsonl": RECORD, "README.md": b"# Chats", "train_more.jsonl": RECORD * 2})
    after = resolve(folder, hub())
    assert after.version == f"hub:{REPO}@{second}"
    assert [name for _, name in fetch(folder, after, lambda _: None)] == [
        f"hub:{REPO}/train.jsonl",
        f"hub:{REPO}/train_more.jsonl",
    ]
    assert server.downloads() == ["train_more.jsonl"]


def test_to_ask_for_the_newest_is_one_request(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD})
    got(folder, hub())
    server.asked.clear()
    resolve(folder, hub())
    assert [line.split("?")[0] for line in server.asked] == [f"GET /api/datasets/{REPO}"]


def test_a_full_commit_in_the_cache_is_asked_for_nowhere(server: Server, folder: Folder) -> None:
    commit = server.commit({"train.jsonl": RECORD})
    server.commit({"train.jsonl": RECORD * 2})
    source = hub(revision=commit)
    assert got(folder, source) == ["train.jsonl"]
    server.asked.clear()
    again = resolve(folder, source)
    assert again.version == f"hub:{REPO}@{commit}" and again.offline == ""
    assert fetch(folder, again, lambda _: None)[0][0].read_bytes() == RECORD
    assert server.asked == []


def test_branches_and_tags_have_versions_of_their_own(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD})
    tagged = server.commit({"train.jsonl": RECORD * 3}, ref="refs/convert/old")
    found = resolve(folder, hub(revision="refs/convert/old"))
    assert found.version == f"hub:{REPO}@{tagged}"
    assert fetch(folder, found, lambda _: None)[0][0].read_bytes() == RECORD * 3


def test_configuration_and_split_choose_the_files_and_are_in_the_version(server: Server, folder: Folder) -> None:
    card = readme(
        *({"config_name": c, "data_files": [{"split": s, "path": f"{c}/{s}.jsonl"} for s in ("train", "test")]} for c in "ab")
    )["README.md"]
    names = ["a/train.jsonl", "a/test.jsonl", "b/train.jsonl", "b/test.jsonl"]
    commit = server.commit({"README.md": card.encode(), **{n: n.encode() for n in names}})
    source = hub(config="b", split="test")
    assert resolve(folder, source).version == f"hub:{REPO}@{commit} config=b split=test"
    assert got(folder, source) == ["b/test.jsonl"]
    assert server.downloads() == [".gitattributes", "README.md", "test.jsonl"]
    with pytest.raises(SftError, match=f"hub: {REPO}: has the configurations a, b; name one in `config:`"):
        got(folder, hub())


def test_what_is_left_out_is_said(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD, "test.jsonl": RECORD * 2})
    told: list[str] = []
    assert got(folder, hub(), told.append) == ["train.jsonl"]
    assert told == [
        f"hub: {REPO}: downloading 1 files, 0.0 MB",
        f"hub: {REPO}: left out: split test (1 files); `split:` in its recipe entry names what to take",
    ]


def test_names_with_pattern_characters_are_names(server: Server, folder: Folder) -> None:
    server.commit({"a[1].jsonl": RECORD, "a1.csv": RECORD * 2})
    assert got(folder, hub()) == ["a[1].jsonl"]
    assert server.downloads() == [".gitattributes", "a%5B1%5D.jsonl"]


def test_a_large_download_is_told_of(server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "TOLD_FROM", 1)
    server.commit({"train.jsonl": RECORD * 100_000})
    told: list[str] = []
    got(folder, hub(), told.append)
    assert told == [f"hub: {REPO}: downloading 1 files, 4.3 MB", f"hub: {REPO}: 100% of 4.3 MB"]


def test_without_a_connection_the_snapshot_in_the_cache_is_used(
    server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = server.commit({"train.jsonl": RECORD})
    online = resolve(folder, hub())
    fetch(folder, online, lambda _: None)
    server.commit({"train.jsonl": RECORD * 2})
    away(monkeypatch)
    found = resolve(folder, hub())
    assert found.version == online.version
    assert found.offline.startswith(f"hub: {REPO}: not reachable (127.0.0.1: ")
    assert found.offline.endswith(f"); the snapshot of commit {commit[:12]} in the cache is used")
    assert fetch(folder, found, lambda _: None)[0][0].read_bytes() == RECORD


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_that_is_down_is_a_hub_without_connection(server: Server, folder: Folder, status: int) -> None:
    commit = server.commit({"train.jsonl": RECORD})
    got(folder, hub())
    server.status = status
    says = f"hub: {REPO}: not reachable (127.0.0.1 answers {status}); the snapshot of commit {commit[:12]} in the cache is used"
    assert resolve(folder, hub()).offline == says


def test_offline_mode_asks_nobody(server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit({"train.jsonl": RECORD})
    got(folder, hub())
    server.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_http.close_session()
    try:
        found = resolve(folder, hub())
        assert found.offline.startswith(f"hub: {REPO}: not reachable (HF_HUB_OFFLINE is set); the snapshot of")
        assert fetch(folder, found, lambda _: None)[0][0].read_bytes() == RECORD
        assert server.asked == []
    finally:
        hub_http.close_session()


def test_without_a_connection_and_a_whole_snapshot_it_is_said(
    server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.commit({"train.jsonl": RECORD, "test.jsonl": RECORD * 2})
    got(folder, hub(split="test"))  # the cache holds the commit, but not its train split
    away(monkeypatch)
    for source in (hub(), hub(revision="other")):
        with pytest.raises(SftError) as error:
            resolve(folder, source)
        assert str(error.value).startswith(f"hub: {REPO}: not reachable (127.0.0.1: ")
        assert str(error.value).endswith(
            f"), and nothing complete of revision {source.revision or 'main'} is in the cache; run it once with a connection, "
            "or copy the files into the data folder"
        )


def test_what_is_private_wants_a_token(server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit({"train.jsonl": RECORD})
    server.token = "hf_secret"
    with pytest.raises(SftError, match=r"does not show it \(401\).* set HF_TOKEN to a token that may read it"):
        resolve(folder, hub())
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert got(folder, hub()) == ["train.jsonl"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, r"does not show it \(403\): it is private, gated, or misspelt. Accept its terms"),
        (404, r"has no such dataset \(404\); check its spelling, owner/name"),
    ],
)
def test_a_refusal_is_said_even_where_a_snapshot_is_there(server: Server, folder: Folder, status: int, says: str) -> None:
    server.commit({"train.jsonl": RECORD})
    got(folder, hub())
    server.status = status
    with pytest.raises(SftError, match=f"hub: {REPO}: 127.0.0.1 {says}"):
        resolve(folder, hub())


def test_a_revision_that_is_not_there_is_said(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD})
    with pytest.raises(SftError, match=f"hub: {REPO}: has no revision 'v9'; correct `revision:`, or leave it out"):
        resolve(folder, hub(revision="v9"))


def test_a_dataset_with_only_a_script_is_never_run(server: Server, folder: Folder) -> None:
    server.commit({"chats.py": b"raise SystemExit('run')", "README.md": b"# Chats"})
    with pytest.raises(SftError) as error:
        got(folder, hub())
    assert str(error.value) == (
        f"hub: {REPO}: has only a loading script (chats.py), which is never run; use its parquet conversion: "
        "revision: refs/convert/parquet"
    )


def test_a_dataset_without_data_is_said(server: Server, folder: Folder) -> None:
    server.commit({"picture.png": b"png"})
    with pytest.raises(SftError, match=f"hub: {REPO}: holds no data files"):
        got(folder, hub())


def test_a_hub_that_goes_down_meanwhile_leaves_the_snapshot_before(server: Server, folder: Folder) -> None:
    first = server.commit({"train.jsonl": RECORD})
    got(folder, hub())
    server.commit({"train.jsonl": RECORD * 2})
    newer = resolve(folder, hub())
    server.status = 503
    with pytest.raises(
        SftError, match=r"the download broke off \(127.0.0.1 answers 503\); what is complete stays, run it again"
    ):
        fetch(folder, newer, lambda _: None)
    assert resolve(folder, hub()).version == f"hub:{REPO}@{first}"


SCRIPT = """
import sys
from sft_assets.folder import Folder
from sft_assets.raw.remote import fetch, resolve
from sft_assets.recipe import Source
folder = Folder.at(sys.argv[1])
for path, name in fetch(folder, resolve(folder, Source(hub="acme/chats")), print):
    print(name, path.read_text(), path)
"""


def test_the_hub_of_the_environment_is_the_one_that_is_asked(server: Server, folder: Folder, tmp_path: Path) -> None:
    server.commit({"train.jsonl": RECORD})
    server.token = "hf_secret"
    home = tmp_path / "home"
    told = {"HF_ENDPOINT": server.address, "HF_HOME": str(home), "HF_TOKEN": "hf_secret"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder.root)],
        env={k: v for k, v in os.environ.items() if not k.startswith("HF_")} | told,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"hub:{REPO}/train.jsonl {RECORD.decode().strip()}"
    assert done.stdout.splitlines()[2].strip().startswith(str(home / "hub" / "datasets--acme--chats" / "snapshots"))
    assert done.stderr == ""


# ---------------------------------------------------------------------------------------------------------------- URLs


def page(server: Server, path: str = "/qa.jsonl", **what: Any) -> Source:
    server.pages[path] = Page(**what)
    return Source(url=server.address + path)


def copies(folder: Folder) -> list[str]:
    """Every copy that is kept of URLs, by its last two steps."""
    return sorted(p.name for p in folder.root.glob(".remote/*/*/*"))


def read(folder: Folder, source: Source) -> list[tuple[bytes, str]]:
    return [(path.read_bytes(), name) for path, name in fetch(folder, resolve(folder, source), lambda _: None)]


def test_a_url_is_downloaded_once_for_each_etag(server: Server, folder: Folder) -> None:
    source = page(server, headers={"ETag": '"one"'})
    assert resolve(folder, source).version == f'url:{source.url}#ETag "one"'
    assert read(folder, source) == [(RECORD, source.url)]
    server.asked.clear()
    assert read(folder, source) == [(RECORD, source.url)]
    assert server.asked == ["HEAD /qa.jsonl"]
    page(server, body=RECORD * 2, headers={"ETag": '"two"'})
    assert resolve(folder, source).version == f'url:{source.url}#ETag "two"'
    assert read(folder, source) == [(RECORD * 2, source.url)]
    assert copies(folder) == ["qa.jsonl"]  # the one before has gone


def test_without_an_etag_the_time_of_change_and_the_size_tell(server: Server, folder: Folder) -> None:
    changed = "Mon, 02 Mar 2026 10:00:00 GMT"
    source = page(server, headers={"Last-Modified": changed})
    assert resolve(folder, source).version == f"url:{source.url}#{len(RECORD)} bytes of {changed}"
    page(server, body=RECORD * 2, headers={"Last-Modified": changed})
    assert resolve(folder, source).version == f"url:{source.url}#{2 * len(RECORD)} bytes of {changed}"
    assert read(folder, source) == [(RECORD * 2, source.url)]


def test_where_the_server_tells_nothing_the_content_does(server: Server, folder: Folder) -> None:
    source = page(server, headers={"Transfer-Encoding": "chunked"})
    assert resolve(folder, source).version == f"url:{source.url}#sha256 {hashlib.sha256(RECORD).hexdigest()}"
    assert read(folder, source) == [(RECORD, source.url)]
    page(server, body=RECORD * 2)
    assert read(folder, source) == [(RECORD * 2, source.url)]
    assert copies(folder) == ["qa.jsonl"]


def test_a_server_without_head_is_asked_by_get(server: Server, folder: Folder) -> None:
    source = page(server, headers={"ETag": '"one"'}, head_allowed=False)
    assert resolve(folder, source).version == f'url:{source.url}#ETag "one"'
    assert read(folder, source) == [(RECORD, source.url)]


def test_a_redirect_is_followed_and_the_name_stays(server: Server, folder: Folder) -> None:
    page(server, "/real/qa.jsonl", headers={"ETag": '"one"'})
    source = page(server, "/latest", body=b"", status=302, headers={"Location": "/real/qa.jsonl"})
    assert read(folder, source) == [(RECORD, source.url)]
    assert resolve(folder, source).version == f'url:{source.url}#ETag "one"'


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_url_that_does_not_answer_is_read_from_its_last_copy(server: Server, folder: Folder, status: int) -> None:
    source = page(server, headers={"ETag": '"one"'})
    online = resolve(folder, source)
    fetch(folder, online, lambda _: None)
    page(server, status=status, body=b"")
    found = resolve(folder, source)
    assert found.version == online.version
    assert found.offline.startswith(f"url: {source.url}: not reachable (it answers {status}); the copy of 20")
    assert fetch(folder, found, lambda _: None) == fetch(folder, online, lambda _: None)


def test_a_url_where_nobody_listens_and_without_a_copy_is_said(server: Server, folder: Folder) -> None:
    with pytest.raises(SftError) as error:
        resolve(folder, Source(url="http://127.0.0.1:1/qa.jsonl"))
    assert str(error.value) == (
        "url: http://127.0.0.1:1/qa.jsonl: not reachable (Connect call failed ('127.0.0.1', 1)), and no copy of it is here; "
        "run it once with a connection, or copy the file into the sources folder"
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (404, "there is no such file (404); correct the URL"),
        (410, "there is no such file (410); correct the URL"),
        (401, "it may not be read (401); set the credentials that fsspec looks for"),
        (403, "it may not be read (403); set the credentials that fsspec looks for"),
    ],
)
def test_a_refused_url_is_said_even_where_a_copy_is_there(server: Server, folder: Folder, status: int, says: str) -> None:
    source = page(server, headers={"ETag": '"one"'})
    read(folder, source)
    page(server, status=status, body=b"")
    with pytest.raises(SftError) as error:
        resolve(folder, source)
    assert str(error.value) == f"url: {source.url}: {says}"


def test_credentials_of_a_url_show_nowhere(server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = page(server, headers={"ETag": '"one"'}).url
    secret = Source(url=plain.replace("http://", "http://anna:pa55@") + "?token=t0ken", name="qa")
    told: list[str] = []
    found = resolve(folder, secret)
    told += [found.version, repr(replace(found, source=Source(path="-"))), *(n for _, n in fetch(folder, found, told.append))]
    assert found.version == f'url:{plain}#ETag "one"'
    assert told[-1] == f"{plain}?{hashlib.sha256(b'token=t0ken').hexdigest()[:8]}"
    told += [p.read_text() for p in folder.root.glob(".remote/*/*") if p.is_file()]
    told += [str(p) for p in folder.root.rglob("*")]
    for status in (503, 403):
        page(server, status=status, body=b"")
        try:
            told.append(resolve(folder, secret).offline)
        except SftError as error:
            told.append(str(error))
    assert len(told) > 8
    assert not [text for text in told if "pa55" in text or "t0ken" in text or "anna" in text]


def test_two_urls_that_differ_in_their_query_are_two_files(server: Server, folder: Folder) -> None:
    source = page(server, "/get", headers={"ETag": '"one"'})
    names = {read(folder, Source(url=f"{source.url}?file={n}", name=n))[0][1] for n in ("a", "b")}
    assert len(names) == 2 and all(name.startswith(f"{source.url}?") for name in names)


def test_a_download_that_breaks_off_is_tried_three_times_and_leaves_the_copy_before(server: Server, folder: Folder) -> None:
    source = page(server, headers={"ETag": '"one"'})
    read(folder, source)
    page(server, body=RECORD * 100, headers={"ETag": '"two"'}, cut=50)
    server.asked.clear()
    found = resolve(folder, source)
    with pytest.raises(SftError, match=r"the download broke off \(\w+Error\); run it again"):
        fetch(folder, found, lambda _: None)
    assert server.asked.count("GET /qa.jsonl") == 3
    assert copies(folder) == ["qa.jsonl", "qa.jsonl.part"]
    page(server, body=RECORD * 100, headers={"ETag": '"two"'})
    assert read(folder, source) == [(RECORD * 100, source.url)]
    assert copies(folder) == ["qa.jsonl"]


def test_a_file_that_changes_while_it_is_downloaded_is_not_kept_as_what_it_was(
    server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = page(server, headers={"ETag": '"one"'})
    found = resolve(folder, source)
    page(server, body=RECORD * 2, headers={"ETag": '"two"'})
    with pytest.raises(SftError, match="it changed while it was downloaded; run it again"):
        fetch(folder, found, lambda _: None)
    assert copies(folder) == []


KILLED = """
import os, sys
from sft_assets.folder import Folder
from sft_assets.raw import urls
from sft_assets.raw.remote import fetch, resolve
from sft_assets.recipe import Source
folder, source = Folder.at(sys.argv[1]), Source(url=sys.argv[2])
urls._keep = lambda part, copy: os._exit(9)  # everything is downloaded, and nothing is kept yet
fetch(folder, resolve(folder, source), print)
"""


def test_a_killed_download_leaves_nothing_that_is_taken_for_a_file(server: Server, folder: Folder) -> None:
    source = page(server, headers={"ETag": '"one"'})
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder.root), source.url], capture_output=True)
    assert done.returncode == 9
    assert copies(folder) == ["qa.jsonl.part"]
    assert read(folder, source) == [(RECORD, source.url)]
    assert copies(folder) == ["qa.jsonl"]


def test_a_folder_of_pages_is_every_data_file_that_it_links(server: Server, folder: Folder) -> None:
    links = b'<a href="../">up</a> <a href="b.jsonl">b</a> <a href="a.jsonl">a</a> <a href="a.html">x</a> <a href="?C=N">n</a>'
    source = page(server, "/dir/", body=links, headers={"Content-Type": "text/html"})
    a = page(server, "/dir/a.jsonl", headers={"ETag": '"a"'}).url
    b = page(server, "/dir/b.jsonl", body=RECORD * 2, headers={"ETag": '"b"'}).url
    assert read(folder, source) == [(RECORD, a), (RECORD * 2, b)]
    assert read(folder, Source(url=f"{server.address}/dir/b*.jsonl")) == [(RECORD * 2, b)]
    with pytest.raises(SftError, match="no data file is there; correct the URL"):
        resolve(folder, Source(url=f"{server.address}/dir/*.csv"))
    page(server, "/dir/", status=503, body=b"")
    assert resolve(folder, source).offline.startswith(f"url: {source.url}: not reachable (it answers 503); the copy of ")


def test_any_filesystem_of_fsspec_is_read(memory: Any, folder: Folder) -> None:
    memory.pipe({"/pile/b.jsonl": RECORD, "/pile/deep/a.jsonl": RECORD * 2, "/pile/notes.pdf": b"%PDF"})
    assert read(folder, Source(url="memory://pile/b.jsonl")) == [(RECORD, "memory://pile/b.jsonl")]
    both = [(RECORD, "memory://pile/b.jsonl"), (RECORD * 2, "memory://pile/deep/a.jsonl")]
    assert read(folder, Source(url="memory://pile/")) == both
    assert read(folder, Source(url="memory://pile/*.jsonl")) == both[:1]
    with pytest.raises(SftError, match=r"url: memory://pile/c\.jsonl: there is no such file; correct the URL"):
        resolve(folder, Source(url="memory://pile/c.jsonl"))


def test_of_a_folder_only_what_changed_is_downloaded_and_what_has_gone_goes(memory: Any, folder: Folder) -> None:
    source = Source(url="memory://pile/")
    memory.pipe({"/pile/a.jsonl": RECORD, "/pile/b.jsonl": RECORD, "/pile/c.jsonl": RECORD})
    first = resolve(folder, source)
    kept = {name: path.stat().st_ino for path, name in fetch(folder, first, lambda _: None)}
    time.sleep(0.01)
    memory.pipe("/pile/b.jsonl", RECORD * 2)
    memory.rm("/pile/c.jsonl")
    told: list[str] = []
    second = resolve(folder, source)
    files = fetch(folder, second, told.append)
    assert first.version != second.version and second.version.startswith("url:memory://pile/#2 files ")
    assert told == ["url: memory://pile/b.jsonl: downloading 0.0 MB"]
    assert [path.read_bytes() for path, _ in files] == [RECORD, RECORD * 2]
    assert files[0][0].stat().st_ino == kept["memory://pile/a.jsonl"]
    assert copies(folder) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/hosts", "url: file:///etc/hosts: is a file of this machine; copy it into the sources folder"),
        ("nope://h/a.jsonl", "url: nope://h/a.jsonl: no protocol is called nope://; https, s3 and gs are known"),
        (
            "zip://a.jsonl::https://h/b.zip",
            "url: zip://a.jsonl::https://h/b.zip: chained URLs are not read; name the archive itself, its members are read",
        ),
    ],
)
def test_a_url_that_is_not_read_says_what_to_do(folder: Folder, url: str, says: str) -> None:
    with pytest.raises(SftError) as error:
        resolve(folder, Source(url=url))
    assert str(error.value) == says


@pytest.mark.parametrize(("url", "package"), [("s3://pile/a.jsonl", "s3fs"), ("https://h/a.jsonl", "aiohttp")])
def test_a_missing_package_is_named_by_the_extra_that_brings_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, url: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SftError, match=r"needs a package that is not here: pip install 'sft-assets\[remote\]'"):
        resolve(folder, Source(url=url))


def test_the_version_last_heard_is_known_without_asking(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD})
    places = [hub(), page(server, headers={"ETag": '"one"'})]
    assert [last_version(folder, place) for place in places] == [None, None]
    heard = [resolve(folder, place).version for place in places]
    server.asked.clear()
    assert [last_version(folder, place) for place in places] == heard
    assert last_version(folder, hub(split="train")) is None
    assert server.asked == []


def test_records_from_elsewhere_are_raw_rows_and_a_new_version_makes_raw_stale(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": RECORD})
    url = page(server, headers={"ETag": '"one"'}).url
    say(folder, sources=[{"hub": REPO}, {"url": url, "name": "qa"}])
    build(folder, raw)
    found = "SELECT source, source_file, source_row FROM raw ORDER BY ALL"
    assert rows(folder, found) == [(REPO, f"hub:{REPO}/train.jsonl", 1), ("qa", url, 1)]
    page(server, body=RECORD + RECORD.replace(b"hi", b"bye"), headers={"ETag": '"two"'})
    build(folder, raw)
    assert rows(folder, found) == [(REPO, f"hub:{REPO}/train.jsonl", 1), ("qa", url, 1), ("qa", url, 2)]


def test_a_remote_shows_no_url_that_may_hold_a_secret() -> None:
    shown = repr(Remote(Source(path="-"), "v", files=(("https://h/a?token=t0ken", "s"),)))
    assert "t0ken" not in shown


# ------------------------------------------------------------------------------------------------------ in the pipeline


def alpaca_lines(*answers: str) -> bytes:
    return b"".join(json.dumps({"instruction": f"What is {a}?", "output": a}).encode() + b"\n" for a in answers)


def test_a_hub_dataset_goes_through_the_pipeline_and_a_new_commit_makes_it_stale(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": alpaca_lines("one", "two"), "test.jsonl": alpaca_lines("three")})
    say(folder, sources=[{"hub": REPO, "license": "mit"}])
    build(folder, raw, combined)
    found = rows(folder, "SELECT source, source_file, source_row, license FROM combined ORDER BY source_row")
    assert found == [(REPO, f"hub:{REPO}/train.jsonl", 1, "mit"), (REPO, f"hub:{REPO}/train.jsonl", 2, "mit")]
    before = input_version(folder, "source_files")
    server.commit({"train.jsonl": alpaca_lines("one", "two", "four")})
    assert input_version(folder, "source_files") != before
    build(folder, raw, combined)
    assert rows(folder, "SELECT count(*) FROM combined") == [(3,)]


def test_the_cached_snapshot_is_built_from_while_the_hub_cannot_be_reached(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": alpaca_lines("one", "two")})
    say(folder, sources=[{"hub": REPO}])
    build(folder, raw)
    version = input_version(folder, "source_files")
    server.status = 503
    assert input_version(folder, "source_files") == version
    (made,) = build(folder, raw, again=True)
    assert made.report["kept"] == 2
    (note,) = [entry["note"] for entry in made.report["read"] if "note" in entry]
    assert "snapshot" in note


def test_add_looks_at_a_hub_dataset_and_writes_its_entry(server: Server, folder: Folder) -> None:
    server.commit({"train.jsonl": alpaca_lines("one", "two")})
    planned = plan(folder, Recipe(), f"hub:{REPO}@main", {"license": "mit"})
    (look,) = glimpses(planned.files, Recipe(), planned.entry)
    assert (look.name, look.format, look.confidence) == (f"hub:{REPO}/train.jsonl", "alpaca", 1.0)
    add(folder, planned)
    (entry,) = Recipe.load(folder.recipe).sources
    assert (entry.hub, entry.revision, entry.license) == (REPO, "main", "mit")
