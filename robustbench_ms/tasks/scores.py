"""Scores of a cell: pure functions on numpy arrays.

Facts of calibration follow torchmetrics and robustness_metrics: 15 equal-width bins of top-label confidence, l1 norm.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

__all__ = ["ece", "ece_with_stderr", "mean_with_stderr", "poisson_counts"]


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


ECE_BINS = 15


def _bins(confidence: Floats) -> NDArray[np.intp]:
    # Bins are (low, high] as in torchmetrics; a confidence of 0 falls into the first.
    edges = np.linspace(0.0, 1.0, ECE_BINS + 1)
    found = np.searchsorted(edges, np.asarray(confidence, dtype=np.float64), side="left") - 1
    return np.clip(found, 0, ECE_BINS - 1)


def _gaps(confidence: Floats, correct: NDArray[np.bool_]) -> Floats:
    if len(confidence) == 0:
        raise ValueError("the calibration error of no values")
    return np.asarray(correct, dtype=np.float64) - np.asarray(confidence, dtype=np.float64)


def ece(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: sum over bins of (n_b / n) |accuracy_b - confidence_b|, a fraction.

    `confidence` (n,) in 0..1 of the top label, `correct` (n,). Guo et al., ICML 2017, equation 3.
    """
    gaps = _gaps(confidence, correct)
    return float(np.abs(np.bincount(_bins(confidence), weights=gaps, minlength=ECE_BINS)).sum() / gaps.size)


def ece_with_stderr(
    confidence: Floats, correct: NDArray[np.bool_], resamples: int = 200
) -> tuple[float, float]:
    """ECE and its bootstrap standard error over samples (fixed seed: the same input gives the same number).

    Poisson weights stand for the multinomial (Hanley and MacGibbon, 2006); they come from a table by 16-bit words,
    which makes a resample of 10,000 samples some 40 microseconds.
    """
    bins, gaps = _bins(confidence), _gaps(confidence, correct)
    # Samples of one bin stand together, so that a resample's sum over a bin is one piece of one pass.
    counts = np.bincount(bins, minlength=ECE_BINS)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])[counts > 0]
    gaps = gaps[np.argsort(bins, kind="stable")]
    random, poisson = np.random.default_rng(0), poisson_counts()
    draws = np.empty(resamples)
    for i in range(resamples):
        weights = poisson[random.integers(0, 1 << 16, gaps.size, dtype=np.uint16)]
        draws[i] = np.abs(np.add.reduceat(weights * gaps, starts)).sum() / max(1.0, weights.sum())
    return ece(confidence, correct), float(draws.std(ddof=1))


@cache
def poisson_counts() -> Floats:
    """Poisson(1) counts by a 16-bit word, by inversion: float64 (65536,)."""
    shares = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)])
    return np.searchsorted(shares, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)
