"""Finding a model by name or path: a folder with config.json and safetensors. Pickles are never opened, a model's own code is
never run.

    find("org/model")       ->  where the hub's client keeps it (fetched there if it is not on this machine yet)
    find("~/models/mine")   ->  that folder
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sft_assets.errors import SftError

FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]  # of a model on the hub, the ones that are fetched
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def find(model: str, kind: str, fetch: bool = True) -> Path:
    """A model's folder. `kind`: what the recipe wants it for ("embedding model"), for the message. `fetch`: from the hub, if it
    is not on this machine.

    Raises:
        SftError: there is no such model, or it has no safetensors.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            path = Path(snapshot_download(model, allow_patterns=FILES, local_files_only=not fetch))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            raise SftError(
                f"there is no {kind} {model!r}: it is no folder here, and the hub did not give it "
                f"({str(error).splitlines()[0]}). Name a folder or a model of the hub"
            ) from None
    if not any(path.rglob("*.safetensors")):
        pickled = sorted(p.name for p in path.rglob("*") if p.suffix in PICKLES)
        why = f"; {pickled[0]} is a pickle, which can run code: convert it to safetensors" if pickled else ""
        raise SftError(f"{path}: a model is read from safetensors only, and there is none{why}")
    return path


def digest(path: Path) -> str:
    """32 hex digits over a model's weights and its other files (config, tokenizer, template)."""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.suffix in (".safetensors", ".json", ".txt", ".model", ".jinja")):
        total.update(file.relative_to(path).as_posix().encode())
        total.update(bytes.fromhex(sha256(file)))
    return total.hexdigest()[:32]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bf16() -> bool:
    """Whether this processor computes in bfloat16 itself; elsewhere float32 is many times faster.

    Found out without torch: keys of caches have it in them, and torch takes seconds to import.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags


def check_same(what: str, here: str, wanted: str) -> None:
    """That a model on this machine is the one that is wanted. here, wanted: what their results depend on, as caches have it.

    Raises:
        SftError: it is another one.
    """
    if here != wanted:
        raise SftError(
            f"the {what} is not the same here ({here}) as where the run was started ({wanted}): put the same files there, "
            "under the same name. A processor that computes in bfloat16 itself and one that does not differ too"
        )


def load(kind: Any, name: str, path: Path, **options: Any) -> Any:
    """`kind.from_pretrained` of a folder: an AutoTokenizer, or an AutoModel..., from what lies there and without its own code.

    Raises:
        SftError: it cannot be loaded, or not without code of its own.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return kind.from_pretrained(str(path), local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise SftError(
                f"the model {name!r} needs Python code that comes with it ({path}), which is not run: name a model whose "
                "architecture transformers has itself"
            ) from None
        raise SftError(f"the model {name!r} cannot be loaded from {path}: {error}") from error


def model_options() -> dict[str, Any]:
    """How models are loaded: safetensors only, in the precision that this processor is good at."""
    import torch

    return {"use_safetensors": True, "dtype": torch.bfloat16 if bf16() else torch.float32}
