"""Intervals; pure functions on numpy arrays. SciPy's special functions are imported when a number is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEWEST_GROUPS",
    "Interval",
    "Z",
    "binomial_tail",
    "gathered",
    "group_interval",
    "holm",
    "jackknife_stderr",
    "mean_interval",
    "ratio_interval",
    "replicates_interval",
    "t_quantile",
    "t_tail",
]


Z = 1.959963984540054
"""Half width of a 95 % interval in standard errors."""


class Interval(NamedTuple):
    """An estimate and its two-sided confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's length, for "± x"; of an interval that holds the estimate the longer half."""
        return max(self.high - self.mean, self.mean - self.low)


def mean_interval(values: NDArray[np.floating], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values (n,), n >= 2."""
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        raise ValueError("an interval needs two values")
    mean = float(values.mean())
    half = (
        t_quantile(0.5 + confidence / 2, values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    )
    return Interval(mean, mean - half, mean + half)


def ratio_interval(
    numerator: NDArray[np.floating], denominator: NDArray[np.floating], confidence: float = 0.95
) -> Interval:
    """Interval of mean(numerator) / mean(denominator) over the same samples, by linearisation.

    The ratio's first-order deviation is the mean of (x_i - R y_i) / mean(y) (Cochran, Sampling Techniques,
    section 6.4), whose t interval is taken.
    """
    x, y = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    bottom = float(y.mean())
    if bottom == 0:
        raise ZeroDivisionError("the denominator's mean is 0")
    ratio = float(x.mean()) / bottom
    half = mean_interval((x - ratio * y) / bottom, confidence).half_width
    return Interval(ratio, ratio - half, ratio + half)


def replicates_interval(value: float, replicates: NDArray[np.floating], *, jackknife: bool) -> Interval:
    """95 % interval of a number with replicates (R,), R >= 2: by the standard error that they tell.

    A delete-a-group jackknife of G groups has Student's t with G - 1 degrees (Shao and Tu, The Jackknife and
    Bootstrap, section 2.2); weights of a bootstrap the normal's quantiles.
    """
    count = replicates.size
    half = (
        t_quantile(0.975, count - 1) * jackknife_stderr(replicates)
        if jackknife
        else Z * float(replicates.std(ddof=1))
    )
    return Interval(value, value - half, value + half)


def gathered(
    values: NDArray[np.floating], runs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float, float]:
    """The sums of values (..., n) over each run (n,), as parts of the mean length of a run: (..., R).

    Their mean is the values' own. With them the lengths of the shortest and of the longest run, as such parts: what one
    value lies between times these is between what one of a run lies.
    """
    _, which, lengths = np.unique(runs, return_inverse=True, return_counts=True)
    order = np.argsort(which, kind="stable")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    sums = np.add.reduceat(np.asarray(values, dtype=np.float64)[..., order], starts, axis=-1)
    part = lengths.mean()
    return sums / part, float(lengths.min() / part), float(lengths.max() / part)


FEWEST_GROUPS = 5
"""Of fewer groups there is no interval: a standard error of four numbers is hardly known itself."""


def group_interval(value: float, left: NDArray[np.floating], ends: tuple[float, float]) -> Interval:
    """95 % interval of a number over groups, of its values without each (G,): value +- t(G - 1) times the error.

    Of the delete-one-group jackknife (Shao and Tu, section 2.2), cut to the number's range `ends`; nan wide where there
    are fewer than five groups, or where it has no value without one of them.
    """
    if left.size < FEWEST_GROUPS or not np.isfinite(left).all():
        return Interval(value, math.nan, math.nan)
    half = t_quantile(0.975, left.size - 1) * jackknife_stderr(left)
    return Interval(value, max(value - half, ends[0]), min(value + half, ends[1]))


def jackknife_stderr(replicates: NDArray[np.floating]) -> float:
    """Of a delete-a-group jackknife's values (G,): sqrt((G - 1) / G sum (v - mean)^2)."""
    values = np.asarray(replicates, dtype=np.float64)
    return float(np.sqrt((values.size - 1) / values.size * np.square(values - values.mean()).sum()))


@lru_cache(maxsize=256)  # a gate asks for a handful, again and again
def t_quantile(p: float, degrees: float) -> float:
    """The p quantile (0 < p < 1) of Student's t with that many degrees of freedom."""
    from scipy.special import stdtrit

    if not 0 < p < 1 or degrees < 1:
        raise ValueError(f"no quantile {p} of t with {degrees} degrees of freedom")
    return float(stdtrit(degrees, p))


def t_tail(t: float, degrees: float) -> float:
    """P(T >= t) of Student's t, exact in both tail and middle, by the incomplete beta function (A&S 26.7.1).

    Of the share of t^2 in degrees + t^2, or of the rest, whichever is the smaller, and so keeps its digits.
    """
    from scipy.special import betainc, betaincc

    if t < 0:
        return 1 - t_tail(-t, degrees)
    square, whole = t * t, degrees + t * t
    tail = (
        betaincc(0.5, degrees / 2, square / whole)
        if square < degrees
        else betainc(degrees / 2, 0.5, degrees / whole)
    )
    return float(tail) / 2


def binomial_tail(successes: int, n: int, p: float) -> float:
    """P(X >= successes) of n draws with probability p (0..1)."""
    from scipy.special import betainc

    if not 0 < successes <= n:
        return float(successes <= 0)
    return float(betainc(successes, n - successes + 1, p))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those at most alpha are the rejections, at most one of them false with probability alpha.

    Valid under any dependence (Holm, Scandinavian Journal of Statistics 1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
