"""`sft export --to s3://...`: an export in object storage is whole, or has no MANIFEST; one that is there is never overwritten.

Most of them use fsspec's memory filesystem; those about S3 a real server of it in this process (moto's), by real requests.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from conftest import NO_MODELS, say
from fsspec.registry import _registry

from sft_assets.errors import SftError
from sft_assets.exported import objects
from sft_assets.exported.finished import Finished
from sft_assets.exported.objects import Copied, copy, place_of
from sft_assets.folder import Folder
from sft_assets.raw.remote import resolve
from sft_assets.recipe import Source
from tests.test_export_hub import bytes_of, made

pytestmark = pytest.mark.xdist_group("export_places")  # one server
TO = "memory://bucket/chats"
Sft = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(tmp_path: Path) -> Finished:
    return made(tmp_path / "20260102T030405Z-1f0c22ab", shards=3)


def there(system: Any, root: str) -> dict[str, bytes]:
    """Every object of a folder."""
    return {name.removeprefix(root).lstrip("/"): system.cat_file(name) for name in system.find(root)}


def test_an_export_is_copied_as_it_is_and_the_manifest_comes_last(memory: Any, export: Finished) -> None:
    (export.root / "notes.txt").write_text("not for everybody")
    assert copy(export, place_of(TO)) == Copied(TO, len(export.files))
    assert there(memory, "/bucket/chats") == bytes_of(export)
    assert list(memory.store)[-1] == "/bucket/chats/MANIFEST.json"


def test_a_place_that_ends_in_a_slash_has_each_export_under_its_name(memory: Any, export: Finished, tmp_path: Path) -> None:
    other = made(tmp_path / "20260103T030405Z-2f0c22ab", rows=5)
    for one in (export, other):
        assert copy(one, place_of(f"{TO}/")).address == f"{TO}/{one.root.name}"
        assert there(memory, f"/bucket/chats/{one.root.name}") == bytes_of(one)


def test_an_export_that_is_there_already_is_read_and_not_sent_again(
    memory: Any, export: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(export, place_of(TO))
    monkeypatch.setattr(memory, "put_file", None)
    assert copy(export, place_of(TO)) == Copied(TO, 0)
    memory.pipe_file("/bucket/chats/README.md", b"mine")
    with pytest.raises(SftError, match=r"holds this export, but not README\.md as it was written"):
        copy(export, place_of(TO))
    assert memory.cat_file("/bucket/chats/README.md") == b"mine"


def test_another_export_and_other_files_are_never_overwritten(memory: Any, export: Finished, tmp_path: Path) -> None:
    other = made(tmp_path / "other", rows=7)
    copy(export, place_of(TO))
    with pytest.raises(SftError, match="holds another export, and stays as it is"):
        copy(other, place_of(TO))
    assert there(memory, "/bucket/chats") == bytes_of(export)
    memory.pipe_file("/bucket/notes/mine.txt", b"mine")
    with pytest.raises(SftError, match=r"holds what is no part of the export \(mine\.txt\), and stays as it is"):
        copy(export, place_of("memory://bucket/notes"))
    memory.pipe_file("/bucket/file", b"mine")
    with pytest.raises(SftError, match="an object of that name"):
        copy(export, place_of("memory://bucket/file"))
    assert there(memory, "/bucket/notes") == {"mine.txt": b"mine"}


def test_a_changed_file_of_the_export_is_sent_nowhere(memory: Any, export: Finished) -> None:
    (export.root / "README.md").write_text("changed")
    with pytest.raises(SftError, match=r"README\.md: not what was written"):
        copy(export, place_of(TO))
    assert not memory.store


@pytest.mark.parametrize("fails", range(1, 5))
def test_a_copy_that_fails_takes_back_what_it_sent(
    memory: Any, export: Finished, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    put_file, sent = memory.put_file, []

    def broken(local: str, remote: str, **options: Any) -> None:
        sent.append(remote)
        if len(sent) == fails:
            raise ConnectionResetError(104, "Connection reset by peer")
        put_file(local, remote, **options)

    monkeypatch.setattr(memory, "put_file", broken)
    with pytest.raises(SftError, match=r"not reachable, or it refused \(Connection reset by peer\)"):
        copy(export, place_of(TO))
    assert len(sent) == fails
    assert not memory.find("/bucket")


def test_what_a_killed_copy_left_is_no_export_and_the_next_copy_makes_it_one(memory: Any, export: Finished) -> None:
    memory.pipe_file("/bucket/chats/data/train-00000-of-00003.parquet", b"half of")
    assert copy(export, place_of(TO)).sent == len(export.files)
    assert there(memory, "/bucket/chats") == bytes_of(export)


def test_an_object_that_is_not_what_was_sent_gets_no_manifest(
    memory: Any, export: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = memory.put_file

    def lossy(local: str, remote: str, **options: Any) -> None:
        put_file(local, remote, **options)
        if remote.endswith("README.md"):
            memory.pipe_file(remote, memory.cat_file(remote)[:-1])

    monkeypatch.setattr(memory, "put_file", lossy)
    with pytest.raises(SftError, match=r"README\.md: not what was sent, so that no MANIFEST\.json was written"):
        copy(export, place_of(TO))
    assert not memory.find("/bucket")


def test_who_finishes_first_keeps_the_place(
    memory: Any, export: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made(tmp_path / "other", shards=3, rows=7)
    finish = objects._finish

    def late(export: Finished, to: objects.Place) -> None:
        for name, data in bytes_of(other).items():
            memory.pipe_file(to.at(name), data)
        finish(export, to)

    monkeypatch.setattr(objects, "_finish", late)
    with pytest.raises(SftError, match="somebody else put an export there meanwhile"):
        copy(export, place_of(TO))
    assert there(memory, "/bucket/chats") == bytes_of(other)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (
            "https://h/a",
            "https://h/a: nothing can be written there; s3://BUCKET/PATH, gs://BUCKET/PATH and a folder are places",
        ),
        ("zip://a::s3://h/b.zip", "nothing can be written there"),
        ("file:///tmp/x", "file:///tmp/x is a folder of this machine: name it without file://"),
        ("nope://b/c", "nope://b/c: no protocol is called nope://; s3 and gs are known"),
    ],
)
def test_a_place_that_is_none_says_what_to_do(target: str, says: str) -> None:
    with pytest.raises(SftError) as error:
        place_of(target)
    assert says in str(error.value)


def test_the_command_says_a_wrong_place_before_it_runs_anything(sft: Sft, folder: Folder) -> None:
    say(folder)
    code, _, said = sft("export", "--data", str(folder.root), "--to", "nope://bucket/chats")
    assert (code, "no protocol is called nope://" in said) == (1, True)
    assert not folder.database.exists()


# ------------------------------------------------------------------------------------------------------------- real S3

KEYS = {"AWS_ACCESS_KEY_ID": "lantern", "AWS_SECRET_ACCESS_KEY": "keeper-of-the-lantern", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A filesystem over a server with the bucket `pile`; everybody who looks for S3 finds that one."""
    moto = pytest.importorskip("moto.server", reason="moto's server is not installed, so there is no S3 to ask")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed (extra `remote`)")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        system = fsspec.filesystem("s3")
        system.mkdir("pile")
        yield system
        system.rm("pile", recursive=True)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        _registry.pop("s3", None)  # tests of a missing s3fs would find it there
        server.stop()


def test_from_a_bucket_to_a_bucket_and_into_datasets(s3: Any, sft: Sft, folder: Folder) -> None:
    records = [{"instruction": f"What does the {i}th lantern show?", "output": f"It shows {i * 3} panes."} for i in range(20)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    s3.pipe_file("pile/in/a.jsonl", lines.encode())
    say(folder, **NO_MODELS, sources=[{"url": "s3://pile/in/", "name": "pile"}])
    code, out, error = sft("export", "--data", str(folder.root), "--to", "s3://pile/out/")
    assert code == 0, error
    export = Finished.read((folder.exports / "latest").resolve())
    address = f"s3://pile/out/{export.root.name}"
    assert f"copied to {address}\n" in out
    s3.invalidate_cache()
    assert there(s3, address.removeprefix("s3://")) == bytes_of(export)
    import datasets

    files = {split: f"{address}/data/{split}-*.parquet" for split in export.rows}
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder.root / "cache"))
    assert {split: len(found[split]) for split in found} == export.rows
    assert sum(export.rows.values()) == 20
    code, out, _ = sft("export", "--data", str(folder.root), "--to", "s3://pile/out/")
    assert (code, f"it is there already: {address}\n" in out) == (0, True)
    s3.pipe_file("pile/in/b.jsonl", lines.replace("lantern", "anchor").encode())
    s3.invalidate_cache()
    code, out, _ = sft("export", "--data", str(folder.root), "--to", "s3://pile/out/")
    assert (code, "copied to s3://pile/out/" in out) == (0, True)
    assert len(s3.ls("pile/out", refresh=True)) == 2


def test_a_file_that_is_sent_in_parts_arrives_whole(s3: Any, tmp_path: Path) -> None:
    export = made(tmp_path / "export", rows=20)
    big = bytes(range(256)) * 4 * 122_880  # 120 MiB: beyond what s3fs sends at once
    (export.root / "data/train-00000-of-00001.parquet").write_bytes(big)
    manifest = json.loads((export.root / "MANIFEST.json").read_bytes())
    manifest["files"]["data/train-00000-of-00001.parquet"] = {"sha256": hashlib.sha256(big).hexdigest(), "bytes": len(big)}
    (export.root / "MANIFEST.json").write_text(json.dumps(manifest))
    export = Finished.read(export.root)
    copy(export, place_of("s3://pile/chats"))
    assert s3.info("pile/chats/data/train-00000-of-00001.parquet")["ETag"].strip('"').partition("-")[2]  # it was in parts
    assert there(s3, "pile/chats") == bytes_of(export)


def test_two_who_finish_at_the_same_time_make_no_mixture(
    s3: Any, export: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made(tmp_path / "other", shards=3, rows=7)
    finish = objects._finish

    def late(export: Finished, to: objects.Place) -> None:
        for name, data in bytes_of(other).items():
            s3.pipe_file(to.at(name), data)
        finish(export, to)

    monkeypatch.setattr(objects, "_finish", late)
    with pytest.raises(SftError, match="somebody else put an export there meanwhile"):
        copy(export, place_of("s3://pile/chats"))
    assert there(s3, "pile/chats") == bytes_of(other)


def test_a_bucket_that_is_not_there_is_said_and_not_made(s3: Any) -> None:
    with pytest.raises(SftError, match=r"s3://piel/chats: there is no such bucket or folder; make it, or correct the URL"):
        place_of("s3://piel/chats")
    assert s3.ls("", refresh=True) == ["pile"]


def test_missing_credentials_are_said_for_exports_and_for_sources(
    s3: Any, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    s3.clear_instance_cache()
    with pytest.raises(SftError, match=r"s3://pile/chats: no credentials were found: set what fsspec looks for"):
        place_of("s3://pile/chats")
    with pytest.raises(
        SftError, match=r"url: s3://pile/a\.jsonl: it may not be read; set the credentials that fsspec looks for"
    ):
        resolve(folder, Source(url="s3://pile/a.jsonl"))


def test_a_right_that_is_missing_is_said(s3: Any, export: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of("s3://pile/chats")

    def denied(*args: Any, **options: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(place.system, "put_file", denied)
    with pytest.raises(SftError, match="it may not be written or looked into"):
        copy(export, place)
    assert not s3.find("pile")


def test_a_server_that_does_not_answer_is_said_without_the_keys(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.clear_instance_cache()
    with pytest.raises(SftError) as error:
        place_of("s3://anna:pa55@pile/chats")
    assert str(error.value).startswith("s3://pile/chats: not reachable, or it refused (")
    assert "pa55" not in str(error.value) and "keeper" not in str(error.value)


def test_a_missing_package_is_named_by_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SftError, match=r"needs a package that is not here: pip install 'sft-assets\[remote\]'"):
        place_of("s3://pile/chats")
