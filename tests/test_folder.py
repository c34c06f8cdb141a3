"""The data folder: which files it holds, what they are known by, and who may write."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import put

from sft_assets.errors import Busy, SftError
from sft_assets.folder import Folder, write_whole

# ------------------------------------------------------------------------------------------------- where


def test_the_folder_is_named_by_the_environment_or_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SFT_DATA", raising=False)
    assert Folder.current().root == tmp_path / "data"
    monkeypatch.setenv("SFT_DATA", "")
    assert Folder.current().root == tmp_path / "data"
    monkeypatch.setenv("SFT_DATA", "~/x/../mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Folder.current().root == tmp_path / "mine"


def test_the_folder_is_shown_as_short_as_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(Folder.at("data")) == "data"
    monkeypatch.chdir("/")
    assert str(Folder.at(tmp_path / "data")).endswith("data")


# ------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/passwd", "without a leading /"),
        ("..", "without .."),
        ("a/../../b", "without .."),
        ("a\0b", "name a file or folder inside"),
        ("*.json", "patterns are not read"),
        ("a/?.json", "patterns are not read"),
        ("[ab].json", "patterns are not read"),
        ("out", "leads out of"),
        ("out/file.json", "leads out of"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(folder: Folder, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder.sources / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SftError) as refused:
        folder.inside(folder.sources, name)
    assert says in str(refused.value)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("name", ["a.json", "a/b.json", "./a.json", "a..b.json", "not/there/yet.json", "[1]*.json", "x" * 300])
def test_a_name_inside_is_a_path_inside(folder: Folder, name: str) -> None:
    put(folder, "[1]*.json", b"")
    assert Folder.contains(folder.inside(folder.sources, name), folder.sources)


def test_a_link_within_the_folder_is_inside_and_a_loop_is_no_crash(folder: Folder) -> None:
    put(folder, "real.json", b"")
    (folder.sources / "link.json").symlink_to("real.json")
    (folder.sources / "loop").symlink_to("loop")
    assert folder.inside(folder.sources, "link.json").exists()
    assert Folder.contains(folder.sources / "loop", folder.sources)


def test_files_are_in_the_order_of_their_paths_without_hidden_ones(folder: Folder) -> None:
    for name in ("b.json", "a/z.json", "a/b/c.json", "a.json", ".hidden", ".git/config", "a/.x.swp"):
        put(folder, name, b"")
    names = [p.relative_to(folder.sources).as_posix() for p in Folder.files(folder.sources)]
    assert names == ["a.json", "a/b/c.json", "a/z.json", "b.json"]
    assert Folder.files(folder.root / "nowhere") == []


def test_a_link_to_a_folder_is_in_the_list_itself_and_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.json").write_bytes(b"")
    (folder.sources / "link").symlink_to(tmp_path / "elsewhere")
    (folder.sources / "around").symlink_to(folder.sources)
    assert [p.name for p in Folder.files(folder.sources)] == ["around", "link"]


# ------------------------------------------------------------------------------------------------- fingerprints


def aged(path: Path, seconds: float = 60) -> Path:
    """A file that was written a while ago."""
    then = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed from here on."""
    names: list[str] = []
    real = hashlib.file_digest

    def spy(file, kind):  # type: ignore[no-untyped-def]
        names.append(Path(file.name).name)
        return real(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", spy)
    return names


def test_a_file_is_known_by_the_hash_of_its_bytes(folder: Folder) -> None:
    put(folder, "a/q.json", b"hello")
    assert folder.fingerprints(folder.sources) == {"a/q.json": hashlib.sha256(b"hello").hexdigest()}


def test_a_file_is_hashed_again_only_when_size_mtime_or_inode_changed(folder: Folder, hashed: list[str]) -> None:
    path = aged(put(folder, "q.json", b"one"))
    first = folder.version(folder.sources)
    assert folder.version(folder.sources) == first
    assert hashed == ["q.json"]
    aged(path, 30)  # touched
    assert folder.version(folder.sources) == first
    assert len(hashed) == 2
    aged(put(folder, "q.json", b"two"), 30)
    assert folder.version(folder.sources) != first
    stamp = path.stat()
    new = put(folder, ".new", b"six")
    os.utime(new, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
    new.replace(path)  # size and time as before
    assert folder.fingerprints(folder.sources)["q.json"] == hashlib.sha256(b"six").hexdigest()


def test_a_file_written_just_now_is_not_trusted_to_stay(folder: Folder, hashed: list[str]) -> None:
    path = put(folder, "q.json", b"one")
    folder.version(folder.sources)
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"two")  # within the clock's grain: same size, same inode, same time
    os.utime(path, ns=(stamp, stamp))
    assert folder.fingerprints(folder.sources)["q.json"] == hashlib.sha256(b"two").hexdigest()
    assert hashed == ["q.json", "q.json"]


def test_the_version_changes_with_bytes_and_names_and_with_nothing_else(folder: Folder) -> None:
    path = put(folder, "a.json", b"one")
    put(folder, "b.json", b"two")
    versions = [folder.version(folder.sources)]
    aged(path)
    put(folder, ".hidden", b"x")
    versions.append(folder.version(folder.sources))
    assert versions[0] == versions[1]
    path.rename(folder.sources / "c.json")
    versions.append(folder.version(folder.sources))
    put(folder, "c.json", b"three")
    versions.append(folder.version(folder.sources))
    (folder.sources / "c.json").unlink()
    versions.append(folder.version(folder.sources))
    assert len(set(versions)) == 4


def test_the_fingerprints_of_one_folder_do_not_forget_those_of_another(folder: Folder, hashed: list[str]) -> None:
    aged(put(folder, "q.json", b"one"))
    (folder.benchmarks / "b.json").write_bytes(b"two")
    aged(folder.benchmarks / "b.json")
    for _ in range(2):
        folder.version(folder.sources)
        folder.version(folder.benchmarks)
    assert sorted(hashed) == ["b.json", "q.json"]


@pytest.mark.parametrize("torn", [b"", b"{", b"\xff\xfe"])
def test_a_torn_store_of_fingerprints_costs_only_the_time_to_hash(folder: Folder, torn: bytes) -> None:
    aged(put(folder, "q.json", b"one"))
    before = folder.version(folder.sources)
    (folder.root / ".fingerprints.json").write_bytes(torn)
    assert folder.version(folder.sources) == before


def test_what_lies_outside_is_not_read_for_a_fingerprint(folder: Folder, tmp_path: Path, hashed: list[str]) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (folder.sources / "out.json").symlink_to(tmp_path / "secret")
    (folder.sources / "folder").symlink_to(tmp_path)
    (folder.sources / "broken").symlink_to("nowhere")
    os.mkfifo(folder.sources / "pipe")
    assert set(folder.fingerprints(folder.sources).values()) == {"refused"}
    assert hashed == []


def test_names_that_are_not_utf8_have_fingerprints(folder: Folder) -> None:
    before = folder.version(folder.sources)
    with open(os.fsencode(folder.sources) + b"/caf\xe9.json", "wb") as file:
        file.write(b"x")
    assert folder.version(folder.sources) == folder.version(folder.sources) != before


# ------------------------------------------------------------------------------------------------- lock

HOLD = """
import sys, time
from sft_assets.folder import Folder
with Folder.at(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Folder) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder until its input is closed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder.root)], stdin=-1, stdout=-1, text=True)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_who_has_the_lock_has_it_again_in_the_same_process(folder: Folder) -> None:
    with folder.lock(wait=0) as first, Folder.at(folder.root).lock(wait=0) as second:
        assert (first, second) == (True, False)
        seen: list[bool] = []

        def in_a_thread() -> None:
            with folder.lock(wait=0) as third:
                seen.append(third)

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        assert seen == [False]
    with folder.lock(wait=0) as again:
        assert again


def test_another_process_is_refused_with_the_pid_and_what_to_do(folder: Folder) -> None:
    with another_process(folder) as process:
        with pytest.raises(Busy) as busy, folder.lock(wait=0):
            pass
        assert f"PID {process.pid}" in str(busy.value)
        assert "Try again when it has finished" in str(busy.value)
    with folder.lock(wait=0) as first:
        assert first


def test_who_waits_is_told_once_for_whom_and_gets_the_lock_when_it_is_free(folder: Folder) -> None:
    told: list[str] = []
    with another_process(folder) as process:
        assert process.stdin
        threading.Timer(0.5, process.stdin.close).start()
        with folder.lock(wait=20, say=told.append) as first:
            assert first
    assert len(told) == 1
    assert f"PID {process.pid}" in told[0]


def test_a_process_that_was_killed_holds_nothing(folder: Folder) -> None:
    with another_process(folder) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with folder.lock(wait=0) as first:
            assert first


def test_the_lock_is_let_go_when_the_work_fails(folder: Folder) -> None:
    with pytest.raises(ZeroDivisionError), folder.lock():
        raise ZeroDivisionError
    with folder.lock(wait=0) as first:
        assert first


def test_a_folder_that_is_not_there_is_named_with_the_way_to_make_it(tmp_path: Path) -> None:
    missing = Folder.at(tmp_path / "nowhere")
    with pytest.raises(SftError, match="sft init"), missing.lock():
        pass
    assert not missing.root.exists()


# ------------------------------------------------------------------------------------------------- whole files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
