"""A target mix in whole rows: shares of what stays, by part.

    half of part 0, a fifth of part 1, of 7 rows  ->  {0: 4, 1: 1, REST: 2}

The shares add up to 1 at most; what they leave belongs to all parts that they do not name, together.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

REST = -1  # the part of all rows that the mix does not name


def quotas_of(shares: Mapping[int, float], total: int, least: Mapping[int, int] | None = None) -> dict[int, int]:
    """Whole rows for each part of a mix, REST among them: shares of `total` by largest remainder.

    least: rows that a part has in any case. A part with more than its share keeps them, the others divide what is left. The
    quotas add up to `total`, or to what there is in any case if that is more. Of equal remainders the larger share goes first,
    then the smaller code, the rest last.
    """
    weights, least = _weights(shares), least or {}
    fixed: dict[int, int] = {}
    while True:
        weighed = {p: w for p, w in weights.items() if p not in fixed}
        quotas = _largest_remainder(weighed, max(total - sum(fixed.values()), 0))
        over = [p for p, n in quotas.items() if least.get(p, 0) > n]
        if not over:
            return {p: fixed[p] if p in fixed else quotas[p] for p in weights}
        fixed |= {p: least[p] for p in over}


def _weights(shares: Mapping[int, float]) -> dict[int, Fraction]:
    """The shares as they are written (0.1 is a tenth), and what they leave."""
    weights = {p: Fraction(str(float(shares[p]))) for p in sorted(shares)}
    return weights | {REST: max(Fraction(1) - sum(weights.values()), Fraction(0))}


def _largest_remainder(weights: Mapping[int, Fraction], total: int) -> dict[int, int]:
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(weights, 0)
    exact = {p: w * total / whole for p, w in weights.items()}
    quotas = {p: int(n) for p, n in exact.items()}
    by_remainder = sorted(weights, key=lambda p: (quotas[p] - exact[p], -weights[p], p == REST, p))
    for p in by_remainder[: total - sum(quotas.values())]:
        quotas[p] += 1
    return quotas


def largest_total(shares: Mapping[int, float], there: Mapping[int, int]) -> int:
    """The largest total of which no share is more rows than there are; parts of which there is none do not count."""
    return min((int(there[p] / w) for p, w in _weights(shares).items() if w and there[p]), default=0)
