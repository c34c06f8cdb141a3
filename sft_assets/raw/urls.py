"""Files at URLs, over every protocol of fsspec: https://, s3://, gs://, memory:// ...

    url: https://example.org/qa.jsonl      one file
    url: s3://bucket/chats/                every data file under it;  s3://bucket/chats/*.jsonl: those that fit

    D/.remote/<16 hex of the url>/<16 hex of a file and its state>/qa.jsonl     the copy that is read
    D/.remote/<16 hex of the url>/fetched.json                                  which copies are the last complete set

What a URL says of who may read it (user:password@, ?token=) shows in no name, message or version. Other credentials, and
settings such as FSSPEC_S3_ANON=true for public buckets, are fsspec's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec.core
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem

from sft_assets.errors import SftError
from sft_assets.folder import write_whole
from sft_assets.raw.remote import Progress, Remote, Say, Unreachable, in_megabytes, short_hash
from sft_assets.recipe import ENDINGS, Source, shown_url

CONNECT, READ = 5.0, 20.0  # seconds
WAITS = (1.0, 4.0)  # seconds before a download is tried again
CHANGED = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created")


def resolve(at: Path, source: Source) -> Remote:
    """What stands at the URL now. `at`: the folder of its copies.

    Raises:
        SftError: nothing is there, it may not be read, or it cannot be reached and was never fetched.
    """
    shown = shown_url(source.url)
    try:
        with _explained(shown):
            system, path = _open(source.url)
            files = tuple((name, _state(info) or _look(at, system, name)) for name, info in _listing(system, path, shown))
    except Unreachable as reason:
        last = _last(at)
        if last is None:
            raise SftError(
                f"url: {shown}: not reachable ({reason}), and no copy of it is here; run it once with a connection, or copy "
                "the file into the sources folder"
            ) from None
        sentence = f"not reachable ({reason}); the copy of {last['fetched']} is used"
        return Remote(source, last["version"], f"url: {shown}: {sentence}")
    states = "\n".join(f"{short_hash(name)} {state}" for name, state in files)
    state = files[0][1] if len(files) == 1 else f"{len(files)} files {short_hash(states)}"
    return Remote(source, f"url:{shown}#{state}", files=files)


def fetch(at: Path, remote: Remote, say: Say) -> list[tuple[Path, str]]:
    """Local copies of the files that `resolve` found; what is not here is downloaded, what is outdated goes.

    Raises:
        SftError: a download failed three times, or the file changed meanwhile. The copies before stay.
    """
    shown = shown_url(remote.source.url)
    if remote.offline:
        last = _last(at)
        if last is None:
            raise SftError(f"url: {shown}: its copy in {at} has gone; run it again with a connection")
        return [(at / copy, name) for copy, name in last["files"]]
    system, _ = _open(remote.source.url)
    files = []
    for name, state in remote.files:
        copy = _copy(at, name, state)
        called = _called(remote, system, name)
        if not copy.exists():
            _retried(called, partial(_download, at, system, name, state, called, say))
        files.append((copy, called))
    kept = {
        "version": remote.version,
        "fetched": time.strftime("%Y-%m-%d %H:%M"),
        "files": [(copy.relative_to(at).as_posix(), name) for copy, name in files],
    }
    write_whole(at / "fetched.json", json.dumps(kept).encode())
    current = {copy.parent for copy, _ in files}
    for old in at.iterdir():
        if old.is_dir() and old not in current:
            shutil.rmtree(old, ignore_errors=True)
    return files


def _called(remote: Remote, system: Any, name: str) -> str:
    """A file's name in reports. Two URLs that differ in their query alone are two files: its hash tells them apart."""
    url = name if "://" in name else f"{urlsplit(remote.source.url).scheme}://{name.lstrip('/')}"
    query = urlsplit(url).query
    return shown_url(url) + (f"?{short_hash(query)[:8]}" if query else "")


# ------------------------------------------------------------------------------------------------------- what is there


def _open(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it.

    Raises:
        SftError: it is none that is read from afar, or a package for it is missing.
    """
    protocol, shown, options = urlsplit(url).scheme, shown_url(url), {}
    if "::" in url:
        raise SftError(f"url: {shown}: chained URLs are not read; name the archive itself, its members are read")
    try:
        if protocol in ("http", "https"):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ)
            options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}  # trust_env: proxies, .netrc
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError:
        raise SftError(
            f"url: {shown}: {protocol}:// needs a package that is not here: pip install 'sft-assets[remote]'"
        ) from None
    except ValueError:
        raise SftError(f"url: {shown}: no protocol is called {protocol}://; https, s3 and gs are known") from None
    if isinstance(system, LocalFileSystem):
        raise SftError(f"url: {shown}: is a file of this machine; copy it into the sources folder")
    system.invalidate_cache()
    return system, path


def _listing(system: Any, path: str, shown: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The files that a URL means, sorted, with what is known of each."""
    pattern = "*" in shown
    if not pattern and not shown.endswith("/"):
        return [(path, system.info(path))]
    root = path.partition("*")[0].rpartition("/")[0] if pattern else path.rstrip("/")
    system.ls(f"{root}/", detail=False)  # find and glob take a server that does not answer for an empty folder
    if pattern:
        found = system.glob(path, detail=True)
    else:
        found = {n: i for n, i in system.find(path, detail=True).items() if PurePosixPath(n).suffix.lower() in ENDINGS}
    files = [(name, found[name]) for name in sorted(found) if found[name].get("type") == "file"]
    if not files:
        raise SftError(f"url: {shown}: no data file is there; correct the URL")
    # a list may tell the time of change in another way than the file itself: an ETag is the same in both
    return [(name, info if _state(info).startswith("ETag") else system.info(name)) for name, info in files]


def _state(info: Mapping[str, Any]) -> str:
    """What tells one state of a file from the next; empty where the server tells nothing that does."""
    for key in ("ETag", "etag", "e_tag", "md5Hash", "content_md5", "Content-MD5"):
        if info.get(key):
            return f"ETag {info[key]}"
    changed = next((info[key] for key in CHANGED if info.get(key)), None)
    return f"{info.get('size')} bytes of {changed}" if changed else ""


def _look(at: Path, system: Any, name: str) -> str:
    """The state of a file that only its content tells: it is downloaded, and kept as the copy of that state."""
    part = at / f"looking.{os.getpid()}.part"
    try:
        _get(system, name, part, Callback())
        state = _content(part)
        _keep(part, _copy(at, name, state))
    finally:
        part.unlink(missing_ok=True)
    return state


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


# ---------------------------------------------------------------------------------------------------------- the copies


def _copy(at: Path, name: str, state: str) -> Path:
    base = PurePosixPath(urlsplit(name).path).name or "data"
    return at / short_hash(f"{name}\n{state}") / base[-150:]


def _last(at: Path) -> dict[str, Any] | None:
    """The last complete set of copies, if all of it is still there."""
    try:
        last: dict[str, Any] = json.loads((at / "fetched.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return last if all((at / copy).is_file() for copy, _ in last["files"]) else None


def _download(at: Path, system: Any, name: str, state: str, called: str, say: Say) -> None:
    copy = _copy(at, name, state)
    part = copy.with_name(f"{copy.name}.part")
    info = system.info(name)
    say(f"url: {called}: downloading" + (f" {in_megabytes(info['size'])}" if info.get("size") else ""))
    _get(system, name, part, _Told(Progress(say, f"url: {called}", info.get("size"))))
    system.invalidate_cache()
    if (_state(system.info(name)) or _content(part)) != state:
        part.unlink()
        raise SftError(f"url: {called}: it changed while it was downloaded; run it again")
    _keep(part, copy)


def _get(system: Any, name: str, part: Path, callback: Callback) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    system.get_file(name, str(part), callback=callback)


def _keep(part: Path, copy: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    copy.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, copy)


class _Told(Callback):  # type: ignore[misc]
    """fsspec's callback that passes bytes on."""

    def __init__(self, progress: Progress):
        super().__init__()
        self.progress = progress

    def relative_update(self, inc: int = 1) -> None:
        self.progress.add(inc)


# -------------------------------------------------------------------------------------------------------------- errors


def _retried(called: str, download: Callable[[], None]) -> None:
    for wait in (*WAITS, None):
        try:
            with _explained(called):
                download()
            return
        except Unreachable as reason:
            if wait is None:
                raise SftError(f"url: {called}: the download broke off ({reason}); run it again") from None
            time.sleep(wait)


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    """What filesystems raise as ours, without their texts: these hold the whole URL.

    Raises:
        Unreachable: no answer, or one that a copy may stand in for.
        SftError: a refusal.
    """
    try:
        yield
    except SftError:
        raise
    except Exception as error:  # each filesystem has classes of its own
        status = status_of(error)
        if status in (404, 410) or (isinstance(error, FileNotFoundError) and not _unanswered(error)):
            raise SftError(f"url: {shown}: there is no such file{f' ({status})' if status else ''}; correct the URL") from None
        if status in (401, 403) or isinstance(error, PermissionError) or lacks_credentials(error):
            raise SftError(
                f"url: {shown}: it may not be read{f' ({status})' if status else ''}; set the credentials that fsspec looks for"
            ) from None
        raise Unreachable(f"it answers {status}" if status else reason_of(error)) from None


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status, of the error or of what it was raised from."""
    while error is not None:
        status = getattr(error, "code" if type(error).__module__.startswith("gcsfs") else "status", None)
        if isinstance(status, int) and status >= 400:
            return status
        error = error.__cause__
    return None


def lacks_credentials(error: BaseException) -> bool:
    """Whether a client of a cloud found nothing to sign with: each has a class of its own (NoCredentialsError ...)."""
    return "Credential" in type(error).__name__


def _unanswered(error: BaseException) -> bool:
    """Whether it is fsspec's FileNotFoundError for any failure over HTTP."""
    cause = error.__cause__
    return isinstance(cause, TimeoutError) or type(cause).__module__.startswith("aiohttp")


def reason_of(error: BaseException) -> str:
    """Why there is no answer, in words that hold no URL."""
    cause = error.__cause__ or error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return getattr(cause, "strerror", None) or type(cause).__name__
