"""Which ranks models can have: Holm's procedure over all pairs, of p-values that need not all be known.

Of 500 models there are 124,750 pairs. Most are so far apart, or so near, that bounds on their p decide; only those that
the bounds leave open are worked out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "apart", "gaffke_bounds", "rank_ranges"]

Floats = NDArray[np.float64]

_SAFE = 10.0
"""The normal p over which no p by Gaffke's bound has been seen to fall (tests/test_ranks.py)."""
_SPARSE = 1e-6
"""Below it the normal p says nothing from below: where few answers changed, all one way, it grows too large."""
_ROUNDED = 1e-6
"""Relative: what sums of squares lose to rounding is far less."""


class Bounds(NamedTuple):
    """Of each pair the one-sided p of the side that it leans to is in `low`..`high`; (M, M) each."""

    gain: Floats
    """By how much the mean of the row's model exceeds that of the column's."""
    low: Floats
    high: Floats


def gaffke_bounds(values: Floats, span: float) -> Bounds:
    """Of `Bounded.p_above(0)` between each two of M models with values (M, n), n >= 2, in an interval of `span`.

    From above it is Chernoff's bound with -log(1 - u) <= u + u^2 g(m) for all u <= m, g(m) = (-log(1 - m) - m) / m^2,
    which is least in closed form: of A and B, the sum and the sum of squares of all coefficients over the largest (the
    worst image's), p <= exp(-A + B log(1 + A / B)). So the sums of products of all models with all are enough.
    From below it is a tenth of the normal p.
    """
    models, n = values.shape
    means = values.mean(axis=1)
    products = values @ values.T
    own = np.diag(products)
    squares = np.maximum(own[:, None] + own[None, :] - 2 * products, 0.0)
    gain = means[:, None] - means[None, :]
    toward = np.maximum((n * np.abs(gain) - span) / span, 0.0)
    spread = squares / span**2 + 1
    high = np.exp(-toward + spread * np.log1p(toward / spread)) * (1 + _ROUNDED)
    stderr = np.sqrt(np.maximum(squares - n * gain**2, 0.0) / (n - 1) / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(gain == 0, 0.0, np.abs(gain) / stderr)
    normal = np.array([math.erfc(z) / 2 for z in (distance / math.sqrt(2)).ravel()]).reshape(models, models)
    low = np.where(normal > _SPARSE, normal / _SAFE, 0.0)
    return Bounds(gain, low, np.clip(high, low, 1.0))


def apart(
    low: Floats, high: Floats, exact: Callable[[NDArray[np.intp]], Floats], alpha: float = 0.05
) -> NDArray[np.bool_]:
    """Which hypotheses Holm's procedure rejects, of p-values (P,) between bounds; both become p where it was asked for.

    What the smaller p-values reject holds what the true ones do, and that what the larger do; where the two differ
    `exact` is asked, of places in the arrays, until they agree.
    """
    while True:
        surely, maybe = _rejected(high, alpha), _rejected(low, alpha)
        between, unknown = maybe & ~surely, low < high
        if not between.any():
            return surely
        asked = between & unknown
        if not asked.any():  # known themselves, but not how many lie before them
            asked = unknown & (low <= high[between].max()) & (high >= low[between].min())
        where = np.flatnonzero(asked)
        low[where] = high[where] = exact(where)


def _rejected(p: Floats, alpha: float) -> NDArray[np.bool_]:
    """What Holm's procedure (`statistics.intervals.holm`) rejects at `alpha`."""
    order = np.argsort(p, kind="stable")
    small = np.arange(len(p), 0, -1) * p[order] <= alpha
    rejected = np.zeros(len(p), dtype=np.bool_)
    rejected[order[: len(p) if small.all() else int(np.argmin(small))]] = True
    return rejected


def rank_ranges(
    winners: Sequence[int] | NDArray[np.intp], losers: Sequence[int] | NDArray[np.intp], models: int
) -> list[tuple[int, int]]:
    """Which ranks each can have, given all pairs that are apart: [1 + number better, models - number worse]."""
    better = np.bincount(np.asarray(losers, dtype=np.intp), minlength=models)
    worse = np.bincount(np.asarray(winners, dtype=np.intp), minlength=models)
    return [(1 + int(b), models - int(w)) for b, w in zip(better, worse, strict=True)]
