"""Sources that are elsewhere go through raw and combined like files of the folder, and what changes there is stale here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import orjson
import pytest
from conftest import build, put, rows, say

from sft_assets.combined.asset import combined
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.raw.asset import raw
from sft_assets.runs import input_version

URL = "memory://bucket/chats.jsonl"


def upload(*records: dict[str, Any]) -> None:
    with fsspec.open(URL, "wb") as file:
        file.write(b"".join(orjson.dumps(record) + b"\n" for record in records))


@pytest.fixture
def bucket() -> Iterator[None]:
    system = fsspec.filesystem("memory")
    upload({"instruction": "Name a river.", "output": "The Rhine."}, {"instruction": "Cut", "output": 5})
    yield
    system.store.clear()


@pytest.mark.usefixtures("bucket")
def test_a_url_is_read_like_a_file(folder: Folder) -> None:
    say(folder, sources=[{"url": URL, "license": "mit"}], raw={"max_quarantined": 60})
    put(folder, "here.json", [{"instruction": "Name a lake.", "output": "Lake Constance."}])
    build(folder, raw, combined)
    found = rows(folder, "SELECT source, source_file, license FROM combined ORDER BY source")
    assert found == [("bucket/chats", URL, "mit"), ("here", "here.json", None)]
    assert rows(folder, "SELECT source_file, position, reason FROM quarantine") == [(URL, 2, "wrong_type")]


@pytest.mark.usefixtures("bucket")
def test_what_changes_there_makes_the_sources_stale(folder: Folder) -> None:
    say(folder, sources=[{"url": URL}])
    before = input_version(folder, "source_files")
    assert input_version(folder, "source_files") == before
    upload({"instruction": "Name a sea.", "output": "The North Sea."})
    assert input_version(folder, "source_files", ask=False) == before
    after = input_version(folder, "source_files")
    assert after != before
    assert input_version(folder, "source_files", ask=False) == after


@pytest.mark.usefixtures("bucket")
def test_two_sources_may_hold_files_of_one_name(folder: Folder) -> None:
    put(folder, "a/x.json", [{"instruction": "One?", "output": "1"}])
    put(folder, "b/x.json", [{"instruction": "Two?", "output": "2"}])
    build(folder, raw)
    assert rows(folder, "SELECT source, source_file FROM raw ORDER BY 1") == [("a", "a/x.json"), ("b", "b/x.json")]


def test_a_url_that_is_not_there_is_a_sentence(folder: Folder) -> None:
    say(folder, sources=[{"url": "memory://bucket/nowhere.jsonl"}])
    with pytest.raises(SftError, match="nowhere"):
        build(folder, raw)


@pytest.mark.usefixtures("bucket")
def test_a_copy_that_stands_in_while_offline_is_said(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    say(folder, sources=[{"url": URL}], raw={"max_quarantined": 60})
    build(folder, raw)
    version = input_version(folder, "source_files")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(fsspec.filesystem("memory"), "info", unreachable)
    assert input_version(folder, "source_files") == version
    assert "memory://bucket/chats.jsonl" in caplog.text
    build(folder, raw, again=True)
    assert rows(folder, "SELECT count(*) FROM raw") == [(2,)]
