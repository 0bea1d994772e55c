"""Means of a cell, and the counts of a bootstrap: pure functions on numpy arrays."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

__all__ = ["mean_with_stderr", "poisson_counts"]


def mean_with_stderr(values: Floats, groups: NDArray[np.int64] | None = None) -> tuple[float, float]:
    """Mean and standard error of a sample's values (n,), n >= 1; the error of one value is nan.

    `groups` (n,) says which samples stand or fall together: the error is then that of a mean of clusters, by
    linearisation (Cochran, Sampling Techniques, section 9A.4), and of one group nan.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("the mean of no values")
    if groups is not None:
        _, which = np.unique(groups, return_inverse=True)
        apart = np.bincount(which, weights=values - values.mean())
        count = apart.size
        if count < 2:
            return float(values.mean()), math.nan
        return float(values.mean()), float(np.sqrt(count / (count - 1) * (apart**2).sum()) / values.size)
    spread = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return float(values.mean()), float(spread)


@cache
def poisson_counts() -> Floats:
    """Poisson(1) counts by a 16-bit word, by inversion: float64 (65536,)."""
    shares = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)])
    return np.searchsorted(shares, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)
