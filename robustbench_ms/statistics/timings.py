"""What times of calls say: quantiles with intervals that suppose no distribution, and ratios by blocks.

Times come in blocks, a turn of calls each, of which several models have one in every round. Calls are taken as
independent; what slows a whole round down slows both sides of a ratio down, and is gone from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.differences import Student, welch
from robustbench_ms.statistics.intervals import Interval, binomial_tail, mean_interval

__all__ = ["BLOCKS", "Blocks", "fewest", "log_ratios", "quantile", "ratio", "slower", "variation"]

Blocks = Sequence[Sequence[float]]
"""Times of calls, a sequence a block."""
BLOCKS = 10
"""Fewer blocks say nothing certain: all calls of one moment share what happened in it."""


def fewest(q: float, confidence: float = 0.95) -> int:
    """The least number of values whose extremes bound the q quantile (0 < q < 1) from both sides: 6, 36 and 368."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def quantile(values: NDArray[np.floating], q: float, confidence: float = 0.95) -> Interval | None:
    """The q quantile of independent values (n,) with two of them as ends; None where n < `fewest`.

    The ends are the order statistics that the quantile lies outside of with a chance of (1 - confidence) / 2 at most on
    either side, whatever the distribution: how many values lie below it is binomial (David and Nagaraja, Order
    Statistics, section 7.1). The estimate is numpy's, linear between two values.
    """
    values = np.sort(np.asarray(values, dtype=np.float64))
    n, tail = values.size, (1 - confidence) / 2
    if n < fewest(q, confidence):
        return None
    # P(X_(r) > quantile) = P(fewer than r below) <= tail, and of the mirrored values for the other end.
    low = _rank(n, 1 - q, tail)
    high = n + 1 - _rank(n, q, tail)
    return Interval(float(np.quantile(values, q)), float(values[low - 1]), float(values[high - 1]))


def _rank(n: int, above: float, tail: float) -> int:
    """The largest r for which fewer than r of n values lie on one side of a quantile with a chance <= tail.

    `above` is the chance of a value to lie on the other side, so that the number there is n - r + 1 or more.
    """
    low, high = 1, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if binomial_tail(n - middle + 1, n, above) <= tail else (low, middle - 1)
    return low


def variation(values: NDArray[np.floating]) -> float:
    """The coefficient of variation of values (n,) above 0, n >= 2: their standard deviation over their mean."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=1) / values.mean())


def log_ratios(one: Blocks, other: Blocks) -> NDArray[np.float64]:
    """Of each block the logarithm of the mean time of `one` over that of `other`, (blocks,)."""
    means = [np.array([np.mean(block) for block in side], dtype=np.float64) for side in (one, other)]
    found: NDArray[np.float64] = np.log(means[0]) - np.log(means[1])
    return found


def ratio(one: Blocks, other: Blocks) -> Interval | None:
    """The time of `one` over that of `other`, by Student's t over the blocks' log ratios; None of less than BLOCKS."""
    if len(one) < BLOCKS:
        return None
    mean, low, high = map(math.exp, mean_interval(log_ratios(one, other)))
    return Interval(mean, low, high)


def slower(candidate: NDArray[np.floating], reference: NDArray[np.floating], *, paired: bool) -> Student:
    """By how much the first log ratios (n,) exceed the second (m,): log of how many times as slow it is.

    `paired` where both are of the same blocks; else Welch's t.
    """
    if not paired:
        found = welch(candidate, reference)
        return Student(
            found.mean, found.stderr, found.n, found.degrees, "Welch's t over the blocks' log ratios"
        )
    apart = np.asarray(candidate, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return Student(
        float(apart.mean()),
        float(apart.std(ddof=1)) / math.sqrt(apart.size),
        apart.size,
        apart.size - 1,
        "Student's t over the blocks' log ratios",
    )
