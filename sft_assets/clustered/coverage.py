"""How much of what there is a set of rows covers: figures to compare rows that stay with rows that go.

    rows 2100  topics 12  effective topics 9.7  Vendi score 88.2  distinct-1 0.11  distinct-2 0.52

Topic entropy says how evenly rows lie on topics; the Vendi score how many wholly different texts would be as diverse as these;
distinct-n how little they repeat their wording. Each is None where there is nothing to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from sft_assets.text.kernel import composed, tokenized

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

TOKENS = 200_000  # of each set, on which distinct-n is measured
SLICE = 256  # texts that are read at the same time
BLOCK = 8192  # vectors that are widened at the same time
DIGITS = 4  # of figures in reports


class Evenness(NamedTuple):
    """The entropy of topics in nats, as a share of the most there could be, and as a number of topics of equal size."""

    nats: float
    share: float
    effective: float


class Words(NamedTuple):
    """The tokens of some texts as numbers: text i has values[bounds[i]:bounds[i + 1]]."""

    values: Ints
    bounds: Ints


@dataclass(frozen=True)
class Coverage:
    """The figures of a set of rows. Sets whose `tokens` differ much should not be compared by distinct-n."""

    rows: int
    topics: int  # that have a row
    topic_entropy: float | None  # nats
    topic_evenness: float | None  # share of the most that is possible over all topics
    effective_topics: float | None
    vendi: float | None
    tokens: int  # that distinct-n was measured on
    distinct_1: float | None
    distinct_2: float | None

    @classmethod
    def of(
        cls, topic: Ints, topics: int, vectors: Floats | None, texts: Sequence[str], tokens: int = TOKENS, seed: int = 0
    ) -> Coverage:
        """Measure a set of rows.

        topic: of each row, 0 to topics - 1; of -1 (none) only its text and vector count. vectors: rows x dimensions, of unit
        length or zeros; None where the rows have none. tokens: as many as the smallest of the sets to compare has, or fewer.
        """
        counts = np.bincount(topic[topic >= 0], minlength=topics)
        even, words = topic_entropy(counts), sample(texts, tokens, seed)
        return cls(
            rows=len(topic),
            topics=int((counts > 0).sum()),
            topic_entropy=even and even.nats,
            topic_evenness=even and even.share,
            effective_topics=even and even.effective,
            vendi=None if vectors is None else vendi_score(vectors),
            tokens=len(words.values),
            distinct_1=distinct_n(words, 1),
            distinct_2=distinct_n(words, 2),
        )

    def to_dict(self) -> dict[str, Any]:
        """For reports: fractions rounded."""
        return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in asdict(self).items()}


def topic_entropy(counts: npt.ArrayLike) -> Evenness | None:
    """How evenly rows lie on topics; counts: rows of each topic, those with none too.

    The effective number of topics is exp(entropy): Hill's number of order 1. The share of a single topic is 1.
    """
    sizes = np.asarray(counts, np.float64)
    if not sizes.sum():
        return None
    shares = sizes[sizes > 0] / sizes.sum()
    nats = abs(float((shares * np.log(shares)).sum()))
    return Evenness(nats, min(nats / float(np.log(len(sizes))), 1.0) if len(sizes) > 1 else 1.0, float(np.exp(nats)))


def vendi_score(vectors: Floats) -> float | None:
    """The effective number of different texts: 1 if all are alike, n if no two have anything in common.

    The exponential of the entropy of the eigenvalues of K / n, K the n x n matrix of cosines (Friedman and Dieng 2023,
    https://arxiv.org/abs/2210.02410). K / n and the dimensions x dimensions matrix of the same vectors have the same
    eigenvalues but for zeros, so all rows count and the cost grows linearly with them. It is at most the number of dimensions.
    Zero vectors (no text) are left out.

    vectors: rows x dimensions, of unit length or zeros.
    """
    said = vectors[np.any(vectors, axis=1)]
    count, width = said.shape
    if not count:
        return None
    if count <= width:
        wide = said.astype(np.float64)
        matrix = wide @ wide.T
    else:
        matrix = np.zeros((width, width))
        for at in range(0, count, BLOCK):
            wide = said[at : at + BLOCK].astype(np.float64)
            matrix += wide.T @ wide
    values = np.linalg.eigvalsh(matrix)
    values = values[values > values[-1] * 1e-12]  # rounding errors of zeros may be negative
    values /= values.sum()
    return float(np.exp(max(-(values * np.log(values)).sum(), 0.0)))


def sample(texts: Sequence[str], tokens: int = TOKENS, seed: int = 0) -> Words:
    """Texts in the order of a seeded hash, until there are so many tokens; the last one is cut there.

    So the sample does not depend on the order of the texts, and changes little when a few are added.
    """
    numbers: list[npt.NDArray[np.uint64]] = []
    sizes, left = [np.zeros(1, np.int64)], tokens
    order = sorted(texts, key=lambda text: (xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed), text))
    for at in range(0, len(order), SLICE):
        if left <= 0:
            break
        hashes, _, _, bounds = tokenized(composed(pa.array(order[at : at + SLICE], pa.string())))
        bounds = np.minimum(bounds, left)
        numbers.append(hashes[: bounds[-1]])
        sizes.append(np.diff(bounds))
        left -= int(bounds[-1])
    if not numbers:
        return Words(np.zeros(0, np.int64), np.zeros(1, np.int64))
    _, values = np.unique(np.concatenate(numbers), return_inverse=True)
    return Words(values.astype(np.int64), np.cumsum(np.concatenate(sizes)))


def distinct_n(words: Words, n: int) -> float | None:
    """The share of n-grams that are different ones (Li et al. 2016, https://arxiv.org/abs/1510.03055); none spans two texts.

    It falls the more text there is, so sets are compared on the same number of tokens (`sample`).
    """
    values, bounds = words
    if len(values) < n:
        return None
    left = np.repeat(bounds[1:], np.diff(bounds)) - np.arange(len(values))  # tokens from each one to the end of its text
    grams = values
    for k in range(1, n):  # a k-gram gets a number, and with the next token's that of a longer one
        _, grams = np.unique(grams, return_inverse=True)
        grams = grams[:-1].astype(np.int64) * (int(values.max()) + 1) + values[k:]
    grams = grams[left[: len(grams)] >= n]
    return len(np.unique(grams)) / len(grams) if len(grams) else None
