"""`sft export`: a finished export goes to a folder or a hub as it was written, whole, or not at all.

The hub is a server of this process on a loopback port (hub_server).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NO_MODELS, fresh, put, say
from huggingface_hub import constants
from huggingface_hub.utils import _http as hub_http

from sft_assets.errors import SftError
from sft_assets.exported import hub as uploads
from sft_assets.exported.finished import Finished
from sft_assets.folder import Folder
from tests.hub_server import INITIAL, OWNER, TOKEN, Hub, serve

pytestmark = pytest.mark.xdist_group("export_hub")  # one run is what many of them start from
REPO = "acme/chats"
TO = f"hub:{REPO}"
Sft = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub, and its client told to ask it, by plain requests: xet needs servers of its own."""
    with serve() as server:
        at(server.address, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(hub_http.time, "sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


def at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_URL_HOSTS", frozenset({"127.0.0.1"}))


def made(root: Path, rows: int = 3, shards: int = 1, name: str = "chats") -> Finished:
    """An export of questions and answers."""
    (root / "data").mkdir(parents=True)
    files: dict[str, Any] = {}
    for shard in range(shards):
        path = f"data/train-{shard:05d}-of-{shards:05d}.parquet"
        turns = [[{"role": "user", "content": f"{shard} {i}?"}, {"role": "assistant", "content": "Yes."}] for i in range(rows)]
        pq.write_table(pa.table({"messages": turns}), root / path)
        files[path] = {"rows": rows}
    (root / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/train-*\n---\n# Chats\n")
    files["README.md"] = {}
    for path, about in files.items():
        data = (root / path).read_bytes()
        about |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (root / "MANIFEST.json").write_text(json.dumps({"name": name, "rows": {"sft": {"train": rows * shards}}, "files": files}))
    return Finished.read(root)


def bytes_of(export: Finished) -> dict[str, bytes]:
    return {name: (export.root / name).read_bytes() for name in export.files}


def send(export: Finished, target: str = TO, **options: Any) -> uploads.Uploaded:
    return uploads.upload(uploads.plan(export, target, **options))


# ------------------------------------------------------------------------------------------------------------ the hub


def test_an_export_is_one_commit_of_a_new_dataset(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export", shards=3)
    planned = uploads.plan(export, TO)
    assert not hub.repos
    assert (planned.there, planned.size, set(planned.changed)) == (False, export.size, set(export.files))
    done = uploads.upload(planned, "the first")
    assert hub.repos[REPO].files() == bytes_of(export)
    assert hub.repos[REPO].titles == ["initial commit", "the first"]
    assert done == (f"{hub.address}/datasets/{REPO}", hub.repos[REPO].refs["main"])
    assert not hub.repos[REPO].private


def test_the_next_export_takes_the_files_of_the_one_before_away_in_the_same_commit(hub: Hub, tmp_path: Path) -> None:
    send(made(tmp_path / "old", shards=3))
    repo = hub.repos[REPO]
    repo.commit({**repo.commits[repo.refs["main"]], "LICENSE": b"mine", "pictures/map.png": b"\x89"}, title="by hand")
    export = made(tmp_path / "new", shards=1)
    planned = uploads.plan(export, TO)
    assert planned.gone == tuple(f"data/train-0000{n}-of-00003.parquet" for n in range(3))
    assert set(planned.stay) == {".gitattributes", "LICENSE", "pictures/map.png"}
    assert "README.md" not in planned.changed
    uploads.upload(planned)
    assert repo.files() == {**bytes_of(export), "LICENSE": b"mine", "pictures/map.png": b"\x89"}
    assert len(repo.titles) == 4


def test_what_the_hub_has_is_not_sent_again(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export")
    commit = send(export).commit
    hub.asked.clear()
    planned = uploads.plan(export, TO)
    assert (planned.changed, planned.size, planned.needed) == ((), 0, False)
    assert uploads.upload(planned).commit == commit
    assert not [line for line in hub.asked if line.startswith("PUT") or "/commit/" in line]


def test_only_what_the_manifest_names_is_uploaded(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export")
    (export.root / "notes.txt").write_text("not for everybody")
    send(export)
    assert "notes.txt" not in hub.repos[REPO].files()
    assert export.unnamed() == ["notes.txt"]


def test_a_branch_begins_where_main_stands(hub: Hub, tmp_path: Path) -> None:
    first, second = made(tmp_path / "first", shards=2), made(tmp_path / "second", rows=5)
    send(first)
    planned = uploads.plan(second, TO, revision="next")
    assert planned.head is None and planned.gone
    uploads.upload(planned)
    assert hub.repos[REPO].files("next") == bytes_of(second)
    assert hub.repos[REPO].files() == bytes_of(first)


def test_a_dataset_is_made_private_where_that_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export")
    send(export, private=True)
    assert hub.repos[REPO].private
    send(export, private=True)
    hub.repos[REPO].private = False
    with pytest.raises(SftError, match="is there and public"):
        uploads.plan(export, TO, private=True)


def test_the_name_of_the_export_under_the_owner_of_the_token(hub: Hub, tmp_path: Path) -> None:
    send(made(tmp_path / "export", name="made-here"), "hub")
    assert list(hub.repos) == [f"{OWNER}/made-here"]


def test_data_that_no_export_put_there_is_not_mixed_with_it(hub: Hub, tmp_path: Path) -> None:
    repo = hub.repo(REPO, **{"data/train-00000-of-00002.parquet": b"of somebody else"})
    with pytest.raises(SftError, match=r"no export put there: data/train-00000-of-00002\.parquet"):
        uploads.plan(made(tmp_path / "export"), TO)
    assert len(repo.titles) == 1


# ----------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("harm", ["changed", "same length", "gone", "a link out of it", "a path out of it"])
def test_an_export_that_was_changed_by_hand_goes_nowhere(hub: Hub, tmp_path: Path, harm: str) -> None:
    export = made(tmp_path / "exports" / "new")
    path = export.root / "README.md"
    if harm == "changed":
        path.write_bytes(path.read_bytes() + b"!")
    elif harm == "same length":
        path.write_bytes(path.read_bytes()[::-1])
    elif harm == "gone":
        path.unlink()
    elif harm == "a link out of it":
        path.symlink_to(path.rename(tmp_path / "README.md"))
    else:
        manifest = json.loads((export.root / "MANIFEST.json").read_bytes())
        manifest["files"]["../README.md"] = manifest["files"].pop("README.md")
        (export.root / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(SftError, match=r"README\.md|MANIFEST\.json is not as it was written"):
        send(Finished.read(export.root))
    with pytest.raises(SftError, match=r"README\.md|MANIFEST\.json is not as it was written"):
        Finished.read(export.root).copy_to(tmp_path / "copy")
    assert not hub.asked
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".md"] == ["exports"]


@pytest.mark.parametrize("target", ["hub:", "hub:chats", "hub:acme/", "hub:acme/a/b", "hub:acme/a--b", "hub:acme/a b"])
def test_a_name_that_is_none_is_said_before_anything_is_asked(hub: Hub, tmp_path: Path, target: str) -> None:
    with pytest.raises(SftError, match="it is hub:OWNER/NAME"):
        uploads.plan(made(tmp_path / "export"), target)
    assert not hub.asked


def test_without_a_token_nothing_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SftError, match="set HF_TOKEN"):
        uploads.plan(made(tmp_path / "export"), TO)
    assert not hub.asked


@pytest.mark.parametrize("token", ["hf_wrongwrongwrong", "no-prefix-at-all-1234"])
def test_a_token_that_is_refused_is_said_and_not_shown(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SftError, match="does not take the token") as error:
        send(made(tmp_path / "export"))
    assert token not in str(error.value)


def test_another_owners_dataset_is_refused(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export")
    with pytest.raises(SftError, match="the token may not write there"):
        send(export, "hub:others/chats")
    repo = hub.repo("others/chats")
    with pytest.raises(SftError, match="the token may not write there"):
        send(export, "hub:others/chats")
    assert repo.titles == ["initial commit"]


def test_a_hub_that_fails_in_the_middle_of_a_file_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export", shards=3)
    hub.fail["PUT /lfs/"] = [500, 503]
    send(export)
    assert hub.repos[REPO].files() == bytes_of(export)
    assert len([line for line in hub.asked if line.startswith("PUT /lfs/")]) == 3 + 2


@pytest.mark.parametrize("at_step", ["PUT /lfs/", "POST /datasets/", f"POST /api/datasets/{REPO}/commit"])
def test_a_hub_that_stays_broken_shows_the_export_before(hub: Hub, tmp_path: Path, at_step: str) -> None:
    old, new = made(tmp_path / "old", shards=3), made(tmp_path / "new", rows=4, shards=2)
    send(old)
    hub.fail[at_step] = [500] * 100
    with pytest.raises(SftError, match="answers 500"):
        send(new)
    assert hub.repos[REPO].files() == bytes_of(old)
    hub.fail.clear()
    send(new)
    assert hub.repos[REPO].files() == bytes_of(new)


def test_a_commit_of_somebody_else_meanwhile_is_not_written_over(hub: Hub, tmp_path: Path) -> None:
    send(made(tmp_path / "old"))
    planned = uploads.plan(made(tmp_path / "new", rows=4), TO)
    repo = hub.repos[REPO]
    repo.commit({**INITIAL, "README.md": b"theirs"}, title="theirs")
    with pytest.raises(SftError, match="somebody else meanwhile"):
        uploads.upload(planned)
    assert repo.files() == {"README.md": b"theirs"}


def test_a_file_that_was_changed_while_the_question_stood_is_not_sent(hub: Hub, tmp_path: Path) -> None:
    export = made(tmp_path / "export")
    planned = uploads.plan(export, TO)
    (export.root / "README.md").write_text("# changed\n")
    with pytest.raises(SftError, match=r"README\.md: not what was written"):
        uploads.upload(planned)
    assert not hub.repos


def test_a_file_that_goes_while_it_is_sent_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = made(tmp_path / "export")
    planned = uploads.plan(export, TO)
    monkeypatch.setattr(Finished, "check", lambda *_: None)
    monkeypatch.setattr(uploads, "CommitOperationAdd", lambda name, path: Path(path).with_name("gone").read_bytes())
    with pytest.raises(SftError, match=r"gone cannot be read \(No such file or directory\)"):
        uploads.upload(planned)


def test_what_the_hub_makes_of_the_files_is_compared_with_the_export(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = made(tmp_path / "export")
    planned = uploads.plan(export, TO)
    monkeypatch.setattr(Finished, "check", lambda *_: None)
    (export.root / "README.md").write_text("# changed between the check and the upload\n")
    with pytest.raises(SftError, match=r"holds README\.md otherwise"):
        uploads.upload(planned)


def test_a_hub_where_nobody_listens_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(SftError, match=r"127\.0\.0\.1 cannot be reached"):
        send(made(tmp_path / "export"))


def test_a_hub_without_xet_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(SftError, match="set HF_HUB_DISABLE_XET=1") as error:
        send(made(tmp_path / "export"))
    assert TOKEN not in str(error.value)
    assert not hub.repos[REPO].files()


def test_offline_mode_uploads_nothing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SftError, match="HF_HUB_OFFLINE is set"):
        send(made(tmp_path / "export"))
    assert not hub.asked


# ------------------------------------------------------------------------------------------------------------- folders


def test_a_copy_holds_what_the_manifest_names_and_replaces_an_export_only(tmp_path: Path) -> None:
    old, new = made(tmp_path / "exports/old", shards=2), made(tmp_path / "exports/new", rows=7)
    (new.root / "notes.txt").write_text("mine")
    target = tmp_path / "team" / "chats"
    old.copy_to(target)
    assert bytes_of(Finished.read(target)) == bytes_of(old)
    with pytest.raises(SftError, match="--yes replaces it"):
        new.copy_to(target)
    new.copy_to(target, replace=True)
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == set(new.files)
    assert bytes_of(Finished.read(target)) == bytes_of(new)
    assert [path.name for path in target.parent.iterdir()] == ["chats"]
    (target / "MANIFEST.json").unlink()
    with pytest.raises(SftError, match="is no export"):
        new.copy_to(target, replace=True)
    assert (target / "README.md").is_file()


@pytest.mark.parametrize("others", [["notes.txt"], [".git/HEAD"], ["data/.a", "data/b", "c", "d"]])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path: Path, others: list[str]) -> None:
    export, target = made(tmp_path / "exports/new"), tmp_path / "team" / "chats"
    export.copy_to(target)
    for name in others:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine")
    with pytest.raises(SftError, match=r"holds files that are no export's .*: name another folder") as error:
        export.copy_to(target, replace=True)
    assert sorted(others)[0] in str(error.value)
    assert all((target / name).read_text() == "mine" for name in others)


@pytest.mark.parametrize("manifest", ["", "{}", '{"name": "an extension", "files": ["a"]}', '{"files": {}}'])
def test_a_manifest_of_something_else_makes_no_export(tmp_path: Path, manifest: str) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "MANIFEST.json").write_text(manifest)
    (target / "code.py").write_text("mine")
    with pytest.raises(SftError, match="no export's"):
        made(tmp_path / "exports/new").copy_to(target, replace=True)
    assert (target / "code.py").read_text() == "mine"


def test_a_copy_mends_what_a_killed_one_left(tmp_path: Path) -> None:
    old, new = made(tmp_path / "exports/old"), made(tmp_path / "exports/new", rows=7)
    target = tmp_path / "team" / "chats"
    old.copy_to(target)
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead, other = target.parent / f".chats.partial-{child.stdout.strip()}", target.parent / ".films.partial-1"
    dead.mkdir()
    other.mkdir()
    target.rename(target.parent / ".chats.partial-before")  # killed between the two renames
    with pytest.raises(SftError, match="README"):
        (new.root / "README.md").unlink()
        new.copy_to(target, replace=True)
    assert bytes_of(Finished.read(target)) == bytes_of(old)
    assert sorted(path.name for path in target.parent.iterdir()) == [".films.partial-1", "chats"]


@pytest.mark.parametrize("where", ["exports", "exports/new", "exports/new/data", "exports/other", "."])
def test_a_copy_does_not_go_among_the_exports_or_around_them(tmp_path: Path, where: str) -> None:
    export = made(tmp_path / "exports/new")
    with pytest.raises(SftError, match="are not apart"):
        export.copy_to(tmp_path / where, replace=True)


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A data folder of which everything is up to date."""
    folder = fresh(tmp_path_factory.mktemp("built") / "data")
    put(folder, "sums.jsonl", [{"instruction": f"What is {i} + {i * i}?", "output": f"It is {i + i * i}."} for i in range(40)])
    say(folder, exported={"name": "sums", "test_share": 0.2}, **NO_MODELS)
    command(folder, "export")
    return folder


def command(folder: Folder, *args: str, fails: bool = False, **environment: str) -> str:
    """`sft ARGS` as a process of its own, with nobody to ask; what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-m", "sft_assets", *args, "--data", str(folder.root)],
        env={**clean, "HF_HUB_DISABLE_XET": "1", **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_an_uploaded_export_is_what_load_dataset_gives(built: Folder, tmp_path: Path) -> None:
    with serve() as hub:
        environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
        said = command(built, "export", "--to", TO, fails=True, **environment)
        assert "--yes does it without asking" in said and not hub.repos
        said = command(built, "export", "--to", TO, "--yes", **environment)
        export = Finished.read((built.exports / "latest").resolve())
        assert hub.repos[REPO].files() == bytes_of(export)
        assert f"{hub.address}/datasets/{REPO}" in said and TOKEN not in said
        assert "the hub has it already" in command(built, "export", "--to", TO, **environment)
        code = (
            "import json, datasets\n"
            f"found = datasets.load_dataset({REPO!r})\n"
            "print(json.dumps({split: [row['messages'] for row in rows] for split, rows in found.items()}))"
        )
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**clean, **environment, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {split: len(rows) for split, rows in found.items()} == export.rows
    assert sorted(turns[0]["content"] for rows in found.values() for turns in rows) == sorted(
        f"What is {i} + {i * i}?" for i in range(40)
    )


def test_the_export_is_copied_to_a_folder(built: Folder, tmp_path: Path, sft: Sft) -> None:
    target = tmp_path / "copy"
    code, out, err = sft("export", "--data", str(built.root), "--to", str(target))
    assert code == 0, err
    assert f"copied to {target}" in out
    assert bytes_of(Finished.read(target)) == bytes_of(Finished.read((built.exports / "latest").resolve()))


@pytest.mark.parametrize("option", [["--private"], ["--revision", "next"], ["--message", "the first"]])
def test_options_of_an_upload_are_refused_without_one(folder: Folder, sft: Sft, tmp_path: Path, option: list[str]) -> None:
    for to in ([], ["--to", str(tmp_path / "copy")]):
        code, _, err = sft("export", "--data", str(folder.root), *to, *option)
        assert code == 1 and "are of an upload" in " ".join(err.split())
    assert not folder.database.exists()


def test_a_missing_token_is_said_before_the_run(folder: Folder, sft: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder.root / "token"))
    say(folder)
    code, _, err = sft("export", "--data", str(folder.root), "--to", TO, "--yes")
    assert code == 1 and "set HF_TOKEN" in " ".join(err.split())
    assert not folder.database.exists()
