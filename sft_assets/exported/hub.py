"""Uploading a finished export to a hub as one dataset, in one commit: whoever looks sees the export before or this one.

    plan(export, "acme/chats")  ->  Upload(repo="acme/chats", head="3fa9c1...", changed=("README.md", ...), gone=("data/...",))
    upload(that)                ->  Uploaded("https://.../datasets/acme/chats", commit="77ab02...")

Files of an earlier export that this one does not have go in the same commit; files that somebody else put there stay. The
address of the hub and the token are the environment's (HF_ENDPOINT, HF_TOKEN), never the recipe's.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import orjson
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token, hf_hub_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._validators import validate_repo_id
from huggingface_hub.utils.sha import git_hash
from huggingface_hub.utils.tqdm import disable_progress_bars

from sft_assets.errors import SftError
from sft_assets.exported.finished import HUB, Finished, files_of
from sft_assets.exported.manifest import NAME

TYPE = "dataset"


@dataclass(frozen=True)
class Upload:
    """What an upload would do.

    head: the commit that it comes after; None where the dataset, or the branch, is yet to be made. there: whether the dataset
    is there. changed: files that the hub does not have as they are. gone: files of an earlier export. stay: somebody else's.
    """

    export: Finished
    repo: str
    revision: str
    private: bool
    there: bool
    head: str | None
    changed: tuple[str, ...]
    gone: tuple[str, ...] = ()
    stay: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return httpx2.URL(constants.ENDPOINT).host

    @property
    def needed(self) -> bool:
        """Whether the hub has anything else than the export, or less."""
        return self.head is None or bool(self.changed or self.gone)

    @cached_property
    def size(self) -> int:
        """Bytes of the files that the hub does not have."""
        return sum(self.export.files[name].size for name in self.changed)


class Uploaded(NamedTuple):
    address: str
    commit: str


def check_target(target: str, name: str) -> str:
    """OWNER/NAME, or `name` alone where the owner is whoever the token belongs to. Asks nobody.

    Raises:
        SftError: it can be no dataset's name, or there is no token.
    """
    given = target.removeprefix(HUB).removeprefix(":")
    owner, slash, _ = given.partition("/")
    try:
        validate_repo_id(given or name)
        if target != HUB and not (owner and slash):
            raise hub_errors.HFValidationError
    except hub_errors.HFValidationError:
        if target != HUB:
            raise SftError(
                f"{target!r} names no dataset of a hub: it is hub:OWNER/NAME, of letters, digits, - _ and . (no -- and no ..)"
            ) from None
        raise SftError(
            f"the hub takes no dataset called {name!r} (`exported.name` in the recipe): say --to hub:OWNER/NAME, of letters, "
            "digits, - _ and ."
        ) from None
    if not _token():
        raise SftError(
            "to upload, the hub wants a token: set HF_TOKEN to one that may write, or log in with the hub's own `hf auth login`"
        )
    return given or name


def plan(export: Finished, target: str, private: bool = False, revision: str | None = None) -> Upload:
    """Look at the hub and at every file of the export, and say what an upload would do. Changes nothing.

    target: hub:OWNER/NAME, or hub: the export's own name, of whoever the token belongs to.

    Raises:
        SftError: a file of the export was changed; there is no token, or it is refused; the hub does not answer; the name is
            none; the dataset there is public and `private` was asked for; it has data that no export put there.
    """
    repo = check_target(target, export.name)
    export.check()
    revision = revision or constants.DEFAULT_REVISION
    with _explained(repo):
        api = HfApi()
        if "/" not in repo:
            repo = check_target(f"{HUB}:{api.whoami()['name']}/{repo}", export.name)
        is_public = _is_public(api, repo)
        if is_public is None:
            return Upload(export, repo, revision, private, False, None, tuple(export.files))
        if private and is_public:
            raise SftError(
                f"hub: {repo} is there and public; --private is for datasets that are yet to be made: make it private in its "
                "settings on the hub, or name another"
            )
        head = _head(api, repo, revision)
        start = head or _head(api, repo, constants.DEFAULT_REVISION)  # a branch begins where main stands
        there = _files(api, repo, start) if start else {}
        before = _export_there(repo, start) if start and NAME in there else set[str]()
    others = {name for name in there if name not in export.files and name not in before}
    folders = {name.partition("/")[0] for name in export.files if "/" in name}
    if mixed := sorted(name for name in others if name.partition("/")[0] in folders):
        raise SftError(
            f"hub: {repo} has files beside which the export would be read as one dataset, and which no export put there: "
            f"{', '.join(mixed[:3])}{' ...' if len(mixed) > 3 else ''}. Delete them there, or name another dataset"
        )
    changed = tuple(name for name in export.files if name not in there or not _is_same(export, name, there[name]))
    gone = tuple(sorted(name for name in before if name in there and name not in export.files))
    return Upload(export, repo, revision, private, True, head, changed, gone, tuple(sorted(others)))


def upload(what: Upload, message: str | None = None) -> Uploaded:
    """Do it: make the dataset if need be, send the files, and commit them at once; then compare what the hub says it has.

    Raises:
        SftError: a file of the export was changed since it was planned; the hub refused, or did not answer (it is as it was
            before); or somebody else committed meanwhile.
    """
    export, repo, revision = what.export, what.repo, what.revision
    export.check()  # a question may have stood long
    if not sys.stderr.isatty():
        disable_progress_bars()
    with _explained(repo):
        api = HfApi()
        if not what.there:
            api.create_repo(repo, repo_type=TYPE, private=what.private or None, exist_ok=True)
        head = what.head
        if head is None:
            if revision != constants.DEFAULT_REVISION:
                api.create_branch(repo, repo_type=TYPE, branch=revision, exist_ok=True)
            head = _head(api, repo, revision)
        adds = [CommitOperationAdd(name, str(export.root / name)) for name in export.files]
        for add in adds:  # else each file would be read a second time, and could be another by now
            add.upload_info.sha256 = bytes.fromhex(export.files[add.path_in_repo].sha256)
        deletes = [CommitOperationDelete(name, is_folder=False) for name in what.gone]
        title = message or _message(export)
        commit = api.create_commit(
            repo, [*adds, *deletes], commit_message=title, repo_type=TYPE, revision=revision, parent_commit=head
        )
        there = _files(api, repo, commit.oid)
    other = [name for name in export.files if name not in there or not _is_same(export, name, there[name])]
    if other:
        raise SftError(
            f"hub: {repo}: {what.host} holds {', '.join(other[:3])} otherwise than it was sent, in commit {commit.oid[:12]}; a "
            ".gitignore there may leave it out, or the export was changed meanwhile. Mend it, and export again"
        )
    return Uploaded(f"{constants.ENDPOINT}/datasets/{repo}", str(commit.oid))


def _message(export: Finished) -> str:
    rows = ", ".join(f"{n:,} {split}" for split, n in export.rows.items())
    return f"{export.name or 'export'}: {rows or 'no'} rows ({export.root.name})"


# ---------------------------------------------------------------------------------------------------- what is there


def _is_public(api: HfApi, repo: str) -> bool | None:
    """None: there is no such dataset, or none that the token may see."""
    try:
        return not api.repo_info(repo, repo_type=TYPE).private
    except hub_errors.RepositoryNotFoundError as error:
        if error.response.status_code == 404:
            return None
        raise


def _head(api: HfApi, repo: str, revision: str) -> str | None:
    """The newest commit of a branch; None where there is none."""
    try:
        return api.repo_info(repo, repo_type=TYPE, revision=revision).sha
    except hub_errors.RevisionNotFoundError:
        return None


def _files(api: HfApi, repo: str, commit: str) -> dict[str, RepoFile]:
    tree = api.list_repo_tree(repo, recursive=True, repo_type=TYPE, revision=commit)
    return {file.path: file for file in tree if isinstance(file, RepoFile)}


def _export_there(repo: str, commit: str) -> set[str]:
    """The files of the export that the hub has; none where its MANIFEST is not ours."""
    with tempfile.TemporaryDirectory() as temporary:
        path = hf_hub_download(repo, NAME, repo_type=TYPE, revision=commit, cache_dir=temporary)
        try:
            return {*files_of(orjson.loads(Path(path).read_bytes())), NAME}
        except (ValueError, TypeError, KeyError, AttributeError):
            return {NAME}


def _is_same(export: Finished, name: str, there: RepoFile) -> bool:
    """Whether the hub's file has the bytes of ours: large files have their sha256 there, small ones that of git."""
    file = export.files[name]
    if there.size != file.size:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == file.sha256)
    return bool(there.blob_id == git_hash((export.root / name).read_bytes()))


# ----------------------------------------------------------------------------------------------------------- errors


def _token() -> str | None:
    try:
        return get_token()
    except Exception as error:  # of the client's other ways to a token
        raise SftError(f"the hub's client gives no token: {_told(error)}. Set HF_TOKEN to one that may write") from None


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """The client's errors as sentences. None of them shows the token.

    Raises:
        SftError: always, for any of them.
    """
    host = httpx2.URL(constants.ENDPOINT).host
    try:
        yield
    except (SftError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise SftError(f"hub: {repo}: {_sentence(error, host)}") from None


def _sentence(error: BaseException, host: str) -> str:
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is uploaded; unset it"
    if isinstance(error, hub_errors.HfHubHTTPError):
        return _refusal(error, host)
    if "xet" in str(error) or type(error).__module__.startswith("hf_xet"):
        return (
            f"the files could not be sent ({_told(error)}), so the dataset there is as it was; export again, and set "
            f"HF_HUB_DISABLE_XET=1 where {host} knows no xet"
        )
    if isinstance(error, (httpx2.TransportError, ConnectionError, TimeoutError)):
        return (
            f"{host} cannot be reached ({_told(error)}), so the dataset there is as it was; mind HF_ENDPOINT and the network, "
            "and export again"
        )
    if isinstance(error, OSError) and error.filename:  # a file of the export
        return f"{error.filename} cannot be read ({error.strerror}), so the dataset there is as it was; export again"
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # the client's, around what befell a large file
        return _sentence(error.__cause__, host)
    return f"{host} gives an answer that is not the hub's ({_told(error)}); the dataset there is as it was. Mind HF_ENDPOINT"


def _refusal(error: hub_errors.HfHubHTTPError, host: str) -> str:
    status = error.response.status_code
    said = f": {_plain(error.server_message)}" if error.server_message else ""
    if status == 401:
        return f"{host} does not take the token (401{said}); set HF_TOKEN to one that is valid and may write"
    if status in (402, 403):
        return f"{host} refuses it ({status}{said}): the token may not write there; take one that may, or another OWNER"
    if status in (409, 412):
        return f"the dataset was changed by somebody else meanwhile ({status}{said}), and is as they left it; export again"
    if status == 404:
        return f"{host} has no such dataset or branch, or does not show it to this token (404{said})"
    if status >= 500 or status in (408, 429):
        return f"{host} answers {status}{said}, so the dataset there is as it was; export again later"
    return f"{host} answers {status}{said or ': no reason given'}"


def _told(error: BaseException) -> str:
    return _plain(str(error).partition("\n")[0]) or type(error).__name__


def _plain(text: str) -> str:
    """A message of the client or the hub on one line, without the token, whatever it repeats."""
    text = re.sub(r"\bhf_\w+", "hf_…", " ".join(text.split()))
    token = _known_token()
    return text.replace(token, "…") if token else text


def _known_token() -> Any:
    try:
        return get_token()
    except Exception:
        return None
