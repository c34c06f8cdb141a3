"""Hub datasets: the commit that a revision stands for, and its data files in the cache that all hub tools share.

    hub: acme/chats, revision: main  ->  hub:acme/chats@3fa9c1…  ->  $HF_HOME/hub/datasets--acme--chats/snapshots/3fa9c1…/

HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to every hub tool. No code of a dataset is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_cached_repo_tree, snapshot_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.file_download import REGEX_COMMIT_HASH, repo_folder_name
from tqdm import tqdm

from sft_assets.errors import SftError
from sft_assets.folder import write_whole
from sft_assets.raw.hub_files import CARDS, PARQUET, Chosen, choose
from sft_assets.raw.remote import Progress, Remote, Say, Unreachable, in_megabytes
from sft_assets.recipe import Source

TIMEOUT = 5.0  # seconds to ask for the newest commit
FIRST = (*CARDS, ".gitattributes")  # every repository has the last: the client warns where nothing fits


def resolve(source: Source) -> Remote:
    """The newest commit of the dataset's revision. A full commit whose files are in the cache is not asked for.

    Raises:
        SftError: there is no such dataset or revision, it may not be read, or it cannot be reached and is not in the cache.
    """
    revision = source.revision or constants.DEFAULT_REVISION
    pinned = revision if REGEX_COMMIT_HASH.fullmatch(revision) else None
    if pinned and _is_cached(source, pinned):
        return Remote(source, _version(source, pinned))
    try:
        with _explained(source):
            commit = HfApi().dataset_info(source.hub, revision=source.revision, timeout=TIMEOUT, expand=["sha"]).sha
            if commit is None:
                raise Unreachable("its answer names no commit")
            return Remote(source, _version(source, commit))
    except Unreachable as reason:
        cached = pinned or _ref(source)
        if cached is None or not _is_cached(source, cached):
            raise SftError(
                f"hub: {source.hub}: not reachable ({reason}), and nothing complete of revision {revision} is in the cache; "
                "run it once with a connection, or copy the files into the data folder"
            ) from None
        sentence = f"not reachable ({reason}); the snapshot of commit {cached[:12]} in the cache is used"
        return Remote(source, _version(source, cached), f"hub: {source.hub}: {sentence}")


def fetch(remote: Remote, say: Say) -> list[tuple[Path, str]]:
    """The data files of the commit that `resolve` found; what is not in the cache is downloaded.

    Raises:
        SftError: the download failed, or there is no such configuration, split or data.
    """
    source, commit = remote.source, remote.version.partition("@")[2].partition(" ")[0]
    try:
        with _explained(source):
            root = _snapshot(source, commit, FIRST, bool(remote.offline))
            chosen, sizes = _choose(source, commit, root)
            missing = [sizes[name] for name in chosen.files if not (root / name).exists()]
            if missing:
                say(f"hub: {source.hub}: downloading {len(missing)} files, {in_megabytes(sum(missing))}")
            bar = _bar(Progress(say, f"hub: {source.hub}", sum(missing)))
            root = _snapshot(source, commit, [escape(name) for name in chosen.files], bool(remote.offline), bar)
    except Unreachable as reason:
        raise SftError(f"hub: {source.hub}: the download broke off ({reason}); what is complete stays, run it again") from None
    if not remote.offline:
        _note_ref(source, commit)
    if chosen.left_out:
        say(f"hub: {source.hub}: left out: {chosen.left_out}; `split:` in its recipe entry names what to take")
    return [(root / name, f"hub:{source.hub}/{name}") for name in chosen.files]


def _version(source: Source, commit: str) -> str:
    said = [f"{name}={value}" for name in ("config", "split") if (value := getattr(source, name))]
    return " ".join([f"hub:{source.hub}@{commit}", *said])


# ----------------------------------------------------------------------------------------------------------- the cache


def _snapshot(source: Source, commit: str, patterns: Sequence[str], offline: bool, bar: type[Any] | None = None) -> Path:
    options: dict[str, Any] = {"repo_type": "dataset", "revision": commit, "allow_patterns": list(patterns)}
    return Path(snapshot_download(source.hub, **options, local_files_only=offline, tqdm_class=bar or _bar(None)))


def _choose(source: Source, commit: str, root: Path) -> tuple[Chosen, dict[str, int]]:
    """The data files, and the size of every file."""
    sizes = {f.path: f.size for f in get_cached_repo_tree(source.hub, repo_type="dataset", revision=commit)}
    cards = {name: (root / name).read_text("utf-8", "replace") for name in CARDS if name in sizes}
    try:
        return choose(list(sizes), cards, source.config, source.split, source.revision or ""), sizes
    except SftError as error:
        script = f"{source.hub.rpartition('/')[2]}.py"
        if script in sizes and str(error).startswith("holds no data files"):
            raise SftError(
                f"hub: {source.hub}: has only a loading script ({script}), which is never run; use its parquet conversion: "
                f"revision: {PARQUET}"
            ) from None
        raise SftError(f"hub: {source.hub}: {error}") from None


def _is_cached(source: Source, commit: str) -> bool:
    """Whether every chosen file of the commit is there: the cache may hold a part that another tool wanted."""
    try:
        root = _snapshot(source, commit, CARDS, offline=True)
        chosen, _ = _choose(source, commit, root)
    except (hub_errors.LocalEntryNotFoundError, hub_errors.CachedRepoTreeNotFoundError):
        return False
    return all((root / name).is_file() for name in chosen.files)


def _ref_path(source: Source) -> Path:
    folder = repo_folder_name(repo_id=source.hub, repo_type="dataset")
    return Path(constants.HF_HUB_CACHE) / folder / "refs" / (source.revision or constants.DEFAULT_REVISION)


def _ref(source: Source) -> str | None:
    """The commit that a branch or tag stood for when it was downloaded last."""
    path = _ref_path(source)
    return path.read_text("utf-8").strip() if path.is_file() else None


def _note_ref(source: Source, commit: str) -> None:
    """Only after a whole download: a ref to a commit that is not there would hide the one that is."""
    if commit not in (source.revision, _ref(source)):
        write_whole(_ref_path(source), commit.encode())


def _bar(progress: Progress | None) -> type[Any]:
    """The progress bar that the hub's client is to use: it draws nothing, and counts the bytes that are written."""

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any):
            self.counts = progress is not None and str(options.get("desc", "")).startswith("Reconstructing")
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if self.counts and progress is not None:
                progress.add(int(n or 0))

    return Bar


# -------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """The client's errors as ours.

    Raises:
        Unreachable: no answer, or one that a copy in the cache may stand in for.
        SftError: a refusal.
    """
    name, host = source.hub, httpx2.URL(constants.ENDPOINT).host
    try:
        yield
    except hub_errors.OfflineModeIsEnabled:
        raise Unreachable("HF_HUB_OFFLINE is set") from None
    except hub_errors.RevisionNotFoundError:
        raise SftError(f"hub: {name}: has no revision {source.revision!r}; correct `revision:`, or leave it out") from None
    except hub_errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500 or status in (408, 429):
            raise Unreachable(f"{host} answers {status}") from None
        if status == 404:
            raise SftError(f"hub: {name}: {host} has no such dataset (404); check its spelling, owner/name") from None
        if status in (401, 403):
            raise SftError(
                f"hub: {name}: {host} does not show it ({status}): it is private, gated, or misspelt. Accept its terms on its "
                "page if it has any, and set HF_TOKEN to a token that may read it"
            ) from None
        raise SftError(f"hub: {name}: {host} answers {status}: {error.server_message or 'no reason given'}") from None
    except httpx2.TransportError as error:
        raise Unreachable(f"{host}: {str(error) or type(error).__name__}") from None
    except hub_errors.LocalEntryNotFoundError as error:  # what the client makes of an error above, where it has no copy
        cause = error.__cause__
        if isinstance(cause, (hub_errors.OfflineModeIsEnabled, hub_errors.HfHubHTTPError, httpx2.TransportError)):
            with _explained(source):
                raise cause from None
        raise Unreachable(f"{host} gives no file") from None
    except hub_errors.HFValidationError:
        raise SftError(f"hub: {name!r} is no name of a dataset; it is owner/name") from None
    except ValueError as error:
        raise Unreachable(f"{host} gives an answer that is not the hub's: {error}") from None
    except OSError as error:
        raise Unreachable(str(error).partition("\n")[0]) from None
