"""Intervals; pure functions on numpy arrays, held to scipy's and statsmodels' answers by the tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "Z",
    "binomial_tail",
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


def jackknife_stderr(replicates: NDArray[np.floating]) -> float:
    """Of a delete-a-group jackknife's values (G,): sqrt((G - 1) / G sum (v - mean)^2)."""
    values = np.asarray(replicates, dtype=np.float64)
    return float(np.sqrt((values.size - 1) / values.size * np.square(values - values.mean()).sum()))


@lru_cache(maxsize=256)  # a gate asks for a handful, again and again
def t_quantile(p: float, degrees: float) -> float:
    """The p quantile (0 < p < 1) of Student's t with that many degrees of freedom, by bisection of its tail."""
    if not 0 < p < 1 or degrees < 1:
        raise ValueError(f"no quantile {p} of t with {degrees} degrees of freedom")
    if p < 0.5:
        return -t_quantile(1 - p, degrees)
    low, high = 0.0, 1.0
    while t_tail(high, degrees) > 1 - p:
        low, high = high, 2 * high
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if t_tail(middle, degrees) > 1 - p else (low, middle)
    return (low + high) / 2


def t_tail(t: float, degrees: float) -> float:
    """P(T >= t) of Student's t, exact in the far tail, through the regularised incomplete beta function."""
    if t < 0:
        return 1 - t_tail(-t, degrees)
    return _betainc(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def binomial_tail(successes: int, n: int, p: float) -> float:
    """P(X >= successes) of n draws with probability p (0..1)."""
    if not 0 < successes <= n:
        return float(successes <= 0)
    return _betainc(successes, n - successes + 1, p)


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


def _betainc(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _betainc(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a
