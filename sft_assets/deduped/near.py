"""Near duplicates: datasketch's MinHash LSH proposes, the exact Jaccard similarity decides.

    "Name the capital of France, please, and say why."  0.86  "Name the capital of France, please, and explain why."

Rows come in the order of keeping, best first, and are compared with rows that stay; so whoever goes is within the threshold of
a row that stays, and the result does not depend on the order of the input. (Broder 1997; Leskovec, Rajaraman, Ullman, ch. 3.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xxhash
from datasketch import MinHash, MinHashLSH

from sft_assets.deduped.compared import Compared
from sft_assets.text import numbers, shingles, tokens

MIN_TOKENS = 5  # shorter texts are duplicates only when they are equal


class Near(NamedTuple):
    """A row that goes, the row that stays, and their similarity; or, `guarded`, a pair that a guard keeps apart."""

    row_id: bytes
    kept: bytes
    jaccard: float
    guarded: bool


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows a band with candidates well below the threshold, so that hardly a pair above it is missed."""
    rows = 5 if threshold >= 0.75 else 4 if threshold >= 0.6 else 3 if threshold >= 0.4 else 2
    return permutations // rows, rows


def shingle_hashes(texts: Iterable[str]) -> tuple[int, np.ndarray[Any, np.dtype[np.uint64]]]:
    """(number of tokens, sorted 64-bit hashes of the distinct shingles) of a row's texts."""
    text = "\n".join(texts)
    words = tokens(text)
    hashes = {xxhash.xxh3_64_intdigest(s.encode()) for s in shingles(text, words)}
    return len(words), np.array(sorted(hashes), dtype=np.uint64)


def jaccard(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Jaccard similarity of two sorted arrays of distinct values."""
    both = len(a) + len(b) - len(np.union1d(a, b))
    return both / (len(a) + len(b) - both)


def near_duplicates(
    rows: Iterable[Compared],
    threshold: float,
    permutations: int = 128,
    keep_if_numbers_differ: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Near]:
    """Every row that goes, and every guarded pair of rows that stay. `rows` in the order of keeping."""
    blank = MinHash(num_perm=permutations, hashfunc=lambda h: h, scheme="affine32")
    index = MinHashLSH(num_perm=permutations, params=bands(threshold, permutations))
    kept: list[tuple[bytes, bytes, np.ndarray[Any, Any], tuple[str, ...]]] = []
    for done, row in enumerate(rows):
        progress(done)
        length, hashes = shingle_hashes(row.texts)
        if length < MIN_TOKENS:
            continue
        signature = blank.copy()
        signature.update_batch((hashes & np.uint64(0xFFFFFFFF)).tolist())
        figures = tuple(n for text in row.texts for n in numbers(text)) if keep_if_numbers_differ else ()
        same: list[Near] = []
        guarded: list[Near] = []
        for candidate in sorted(index.query(signature)):
            other_id, scope, other, other_figures = kept[candidate]
            if scope != row.scope:
                continue
            smaller, larger = sorted((len(hashes), len(other)))
            if smaller < threshold * larger:
                continue
            similarity = jaccard(hashes, other)
            if similarity >= threshold:
                apart = figures != other_figures
                (guarded if apart else same).append(Near(row.row_id, other_id, similarity, apart))
        if same:
            yield max(same, key=lambda n: n.jaccard)
            continue
        yield from guarded
        index.insert(len(kept), signature)
        kept.append((row.row_id, row.scope, hashes, figures))
