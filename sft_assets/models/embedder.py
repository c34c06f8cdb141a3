"""Sentence embeddings: any sentence-transformers model by name or path; `embedded` is all-MiniLM-L6-v2 from its package,
`static` a table of word vectors, whose mean is a text's vector (English, many times as fast).

    >>> Embedder("embedded").embed(["How do I boil an egg?"]).shape
    (1, 384)

Vectors have length 1. A text longer than the model reads is read in windows, and its vector is their mean, weighted by length:
nothing is cut off unless `windows` says how many are enough. What was computed once is in the cache, by the hash of the weights
and of the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sft_assets.cores import cores, device
from sft_assets.engine import Engine, Job
from sft_assets.engine.batches import slices
from sft_assets.engine.local import LOCAL
from sft_assets.errors import SftError
from sft_assets.models import packaged, weights
from sft_assets.models.packaged import PACKAGES, STATIC
from sft_assets.models.vectors import Vectors
from sft_assets.recipe import EMBEDDED

BATCH = 8  # texts of one forward pass: more are padded more, and do not fit into the caches
GROUP = 16 * BATCH  # texts that are computed before somebody hears of them
LOOKED_UP = 2048  # texts at a time, where the model is a table
NO_LIMIT = 1 << 20  # a model that says it reads more says nothing
TOGETHER = 128 << 10  # characters of texts of one group, unless it is a single text
MEASURED = 1024  # texts whose tokens are counted together
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """The vectors of some texts, by index; cut: of which more was there than was read."""

    indexes: Ints
    vectors: Floats
    cut: npt.NDArray[np.bool_]


class Embedder:
    """A model and the cache of its vectors.

    windows: how many of a text longer than the model reads are read; None: all of them. fetch: a model of the hub, if it is not
    on this machine.

    Raises:
        SftError: there is no such model here, it has no safetensors, or a packaged one is not what it should be.
    """

    def __init__(self, model: str = EMBEDDED, cache: Path | None = None, windows: int | None = None, fetch: bool = True):
        self.name, self.windows = model, windows
        self.path = packaged.find(model) if model in PACKAGES else weights.find(model, "embedding model", fetch)
        self.cache = Vectors(cache) if cache else None

    @cached_property
    def key(self) -> str:
        """What the vectors depend on: the weights, the other files of the model, the precision, how much is read."""
        if self.name == STATIC:  # always in float32, and it reads all of any text
            return "-".join([STATIC, *(sha256[:16] for sha256 in PACKAGES[STATIC].files.values())])
        read = "" if self.windows is None else f" windows-{self.windows}"
        return weights.digest(self.path) + ("-bf16" if weights.bf16() else "") + read

    @cached_property
    def model(self) -> Any:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(cores())
        if self.name == STATIC:
            return _static(self.path)
        dtype = {"dtype": torch.bfloat16} if weights.bf16() else {}
        try:
            return SentenceTransformer(str(self.path), device=device(), local_files_only=True, model_kwargs=dtype)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise SftError(f"the model {self.name!r} cannot be loaded from {self.path}: {error}") from error

    @cached_property
    def most(self) -> int | None:
        """Tokens that the model reads, its own marks among them; None: any number."""
        most = getattr(self.model, "max_seq_length", None)
        return int(most) if most and most < NO_LIMIT else None

    def load(self) -> None:
        """Read the model into memory now."""
        _ = self.model

    @property
    def dimensions(self) -> int:
        return int(self.model.get_embedding_dimension())

    def embed(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None, engine: Engine = LOCAL
    ) -> Floats:
        """The vectors of texts (texts x dimensions, float32, of length 1). Each distinct text is computed once.

        The cache is written as they come, so what was paid for stays.
        """
        keys = [_key(text) for text in texts]
        known = self.cache.get(self.key, keys) if self.cache else {}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        done = len(texts) - len(missing)
        progress(done)
        for some, vectors in self._computed([missing], engine) if missing else ():
            known |= zip(some, vectors, strict=True)
            done += len(some)
            progress(done)
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        return np.stack([known[key] for key in keys])

    def remember(self, texts: Iterable[Sequence[str]], engine: Engine = LOCAL) -> None:
        """Have the vectors of texts in the cache, some after the others: of more texts than memory holds."""
        assert self.cache is not None
        cache = self.cache

        def missing() -> Iterator[dict[bytes, str]]:
            for some in texts:
                by_key = {_key(text): text for text in some}
                known = cache.get(self.key, list(by_key))
                yield {key: text for key, text in by_key.items() if key not in known}

        for _ in self._computed(missing(), engine):
            pass

    def _computed(self, missing: Iterable[Mapping[bytes, str]], engine: Engine) -> Iterator[tuple[list[bytes], Floats]]:
        """The vectors of texts by their keys, as they come; they are in the cache by then, if there is one."""

        def groups() -> Iterator[tuple[list[bytes], list[str]]]:
            for some in missing:
                wanted = sorted(some, key=lambda key: (-len(some[key]), key))
                for first, stop in self.groups([some[key] for key in wanted]):
                    yield wanted[first:stop], [some[key] for key in wanted[first:stop]]

        with engine.workers(self.job) as workers:
            for some, made in workers.map_of(groups()):
                if self.cache:
                    self.cache.put(self.key, some, made.vectors)
                yield some, made.vectors

    @property
    def job(self) -> Job[Sequence[str], Batch]:
        """The vectors of a group of texts, in their order."""
        return Job("embeddings", partial(_loaded, self), local="here")  # torch uses every core by itself

    def groups(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """(first, stop) of the texts that are one batch of the job. They stand in the order of their lengths, as those of like
        length are padded less together."""
        yield from slices(
            [len(text) for text in texts], LOOKED_UP if self.is_table else GROUP, None if self.is_table else TOGETHER
        )

    @cached_property
    def is_table(self) -> bool:
        """Whether the model looks its vectors up: thousands of texts then take no longer than one does elsewhere."""
        if self.name == STATIC:
            return True
        try:
            modules = json.loads((self.path / "modules.json").read_text("utf-8"))
            return any(module["type"].endswith("StaticEmbedding") for module in modules)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.name, self.windows, self.key)

    def whole(self, texts: Sequence[str]) -> Batch:
        """The vectors of texts, in their order."""
        batches = list(self.compute(texts))
        if not batches:
            return Batch(np.zeros(0, np.int64), np.zeros((0, self.dimensions), np.float32), np.zeros(0, np.bool_))
        indexes = np.concatenate([batch.indexes for batch in batches])
        back = np.argsort(indexes)
        vectors, cut = (np.concatenate([batch[i] for batch in batches])[back] for i in (1, 2))
        return Batch(indexes[back], vectors, cut)

    def compute(self, texts: Sequence[str]) -> Iterator[Batch]:
        """The vectors of texts as they come, those of many tokens first; zeros for a text of none. The cache has no part in it.

        Raises:
            SftError: the model gives something that is no number.
        """
        sizes = self._sizes(texts)
        read = sizes if self.windows is None or self.most is None else np.minimum(sizes, self.windows * self.most)
        order = np.argsort(-read, kind="stable")
        if nothing := int((sizes == 0).sum()):  # no token: models fail on it
            order, empty = order[:-nothing], order[-nothing:]
            yield Batch(empty, np.zeros((nothing, self.dimensions), np.float32), np.zeros(nothing, np.bool_))
        group = GROUP if self.most else LOOKED_UP
        for first in range(0, len(order), group):
            indexes = order[first : first + group]
            vectors, cut = self._vectors([texts[index] for index in indexes], sizes[indexes])
            if not np.isfinite(vectors).all():
                raise SftError(f"the model {self.name!r} gives vectors that are not all numbers: name another one")
            yield Batch(indexes, vectors, cut)

    def _vectors(self, texts: Sequence[str], sizes: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Of texts of like size, and which of them were not read to their end."""
        most = self.most
        if most is None or self.windows == 1:
            return self._encode(texts), sizes > (most or np.inf)
        spans = [self._windows(text) if size > most else [text] for text, size in zip(texts, sizes, strict=True)]
        kept = [list(islice(some, self.windows)) for some in spans]
        cut = np.array([len(a) > len(b) for a, b in zip(spans, kept, strict=True)], np.bool_)
        owners = np.repeat(np.arange(len(texts)), [len(some) for some in kept])
        pieces = [piece for some in kept for piece in some]
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        lengths = np.array([max(len(piece), 1) for piece in pieces], np.float32)
        np.add.at(sums, owners, self._encode(pieces) * lengths[:, None])
        return _unit(sums), cut

    def _encode(self, texts: Sequence[str]) -> Floats:
        """As the model reads them, from first to last, a batch at a time: who calls has put texts of like size together."""
        batch = BATCH if self.most else LOOKED_UP
        made = [
            self.model.encode(list(texts[first : first + batch]), batch_size=batch, show_progress_bar=False)
            for first in range(0, len(texts), batch)
        ]
        return _unit(np.concatenate(made).astype(np.float32, copy=False))

    def _sizes(self, texts: Sequence[str]) -> Ints:
        """Tokens of each text, the model's own marks among them; of a model that reads any number, characters."""
        if self.most is None:
            return np.fromiter(map(len, texts), np.int64, len(texts))
        sizes = [
            len(tokens)
            for first in range(0, len(texts), MEASURED)
            for tokens in self._tokens(list(texts[first : first + MEASURED]))["input_ids"]
        ]
        return np.array(sizes, np.int64)

    def _windows(self, text: str) -> list[str]:
        """A long text in pieces of as many tokens as the model reads."""
        assert self.most is not None
        spans = self._tokens(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts = range(0, len(spans), max(self.most - self.model.tokenizer.num_special_tokens_to_add(), 1))
        ends = [*starts[1:], len(spans)]
        return [text[spans[start][0] : spans[stop - 1][1]] for start, stop in zip(starts, ends, strict=True)] or [text]

    def _tokens(self, texts: str | list[str], **options: Any) -> Any:
        asked = {"truncation": False, "return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
        return self.model.tokenizer(texts, **asked, **options)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _loaded(embedder: Embedder) -> Callable[[Sequence[str]], Batch]:
    embedder.load()
    return embedder.whole


def _elsewhere(name: str, windows: int | None, key: str) -> Embedder:
    """The same model in another process, perhaps on another machine.

    Raises:
        SftError: it is another one there.
    """
    embedder = Embedder(name, windows=windows)
    weights.check_same(f"embedding model {name!r}", embedder.key, key)
    return embedder


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return unit


def _static(folder: Path) -> Any:
    """The table of wordllama as sentence-transformers reads it: the mean of the vectors of a text's tokens."""
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    table = load_file(folder / packaged.TABLE)["embedding.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / packaged.TOKENIZER))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=table)], device="cpu")
