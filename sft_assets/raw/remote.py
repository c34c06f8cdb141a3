"""Sources that are elsewhere, hub datasets and URLs: what is there now, and local files of it.

    resolve: Remote(version="hub:acme/chats@3fa9c1… config=en split=train", offline="")
             Remote(version='url:https://example.org/qa.jsonl#ETag "5e1f"', offline="url: … is used")
    fetch:   [(Path(".../snapshots/3fa9c1…/data/train.jsonl"), "hub:acme/chats/data/train.jsonl")]

What is known of a place is kept in D/.remote/<16 hex of it>. Where a place cannot be reached, what was fetched last stands in
for it, and `offline` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sft_assets.folder import Folder, write_whole
from sft_assets.recipe import Source

Say = Callable[[str], None]
TOLD_FROM = 32 << 20  # bytes: smaller downloads are over before anybody asks how far they are


@dataclass(frozen=True)
class Remote:
    """What a source was when it was asked for. `offline`: the sentence to show where it could not be asked."""

    source: Source
    version: str
    offline: str = ""
    files: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # of a URL: each file, as it is asked for, and its state


class Unreachable(Exception):
    """No answer, or none that says anything of the place: a copy may stand in for it. The text is the reason."""


def resolve(folder: Folder, source: Source) -> Remote:
    """Ask what the newest of a hub dataset or URL is: one or two requests, a few more where a URL names many files.

    A URL whose server tells neither ETag nor time of change is downloaded to see.

    Raises:
        SftError: it is not there, may not be read, or cannot be reached and was never fetched.
    """
    if source.hub:
        from sft_assets.raw import hub

        remote = hub.resolve(source)
    else:
        from sft_assets.raw import urls

        remote = urls.resolve(_place(folder, source), source)
    if last_version(folder, source) != remote.version:
        write_whole(_place(folder, source) / "version", remote.version.encode())
    return remote


def last_version(folder: Folder, source: Source) -> str | None:
    """The version that `resolve` gave last; None: it never did."""
    try:
        return (_place(folder, source) / "version").read_text("utf-8")
    except FileNotFoundError:
        return None


def fetch(folder: Folder, remote: Remote, say: Say) -> list[tuple[Path, str]]:
    """Local files of the remote with the names that they are shown under; what is not there yet is downloaded.

    Raises:
        SftError: the download failed, or the dataset has no such configuration, split or data. What is complete stays.
    """
    if remote.source.hub:
        from sft_assets.raw import hub

        return hub.fetch(remote, say)
    from sft_assets.raw import urls

    return urls.fetch(_place(folder, remote.source), remote, say)


def _place(folder: Folder, source: Source) -> Path:
    if source.url:
        return folder.root / ".remote" / short_hash(source.url)
    named = ("hub", source.hub, source.revision, source.config, source.split)
    return folder.root / ".remote" / short_hash("\0".join(map(str, named)))


def short_hash(text: str) -> str:
    """16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Progress:
    """Tells of a large download at every tenth of it."""

    def __init__(self, say: Say, what: str, total: int | None):
        self.say, self.what, self.total = say, what, total or 0
        self.done = self.tenths = 0

    def add(self, n: int) -> None:
        self.done += n
        tenths = 10 * self.done // self.total if self.total >= TOLD_FROM else 0
        if tenths > self.tenths:
            self.tenths = tenths
            self.say(f"{self.what}: {10 * tenths}% of {in_megabytes(self.total)}")


def in_megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
