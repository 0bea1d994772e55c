"""Means of values that lie between two known ends: Gaffke's bound, whatever the values' distribution.

Of n values x_i in [a, b] and n + 1 standard exponentials G (Gaffke, "Three test statistics for a nonparametric
one-sided hypothesis on the mean of a nonnegative variable", Mathematical Methods of Statistics 14, 2005; as a bound:
Learned-Miller and Thomas, arXiv 1905.06208):

    p_below(m) = P(sum of G_i (x_i - m) + G_0 (b - m) >= 0)     the upper bound is where it is alpha
    p_above(m) = P(sum of G_i (x_i - m) + G_0 (a - m) <= 0)     the lower bound likewise

A mean that sits on few samples is no normal variable: one image of 600 that loses all its cells is missed by a third
of the draws, which Student's t does not know and this bound does. Of yes and no it is Clopper and Pearson's. Of a
paired loss of answers it is McNemar's exact test at a tolerance of 0, and exact for the upper bound where nothing
turned right; elsewhere that it holds is conjectured, proven for no n above 2 and contradicted by no simulation
(results/gate-simulation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.differences import POWER, Difference
from robustbench_ms.statistics.exponentials import positive_sum
from robustbench_ms.statistics.intervals import Interval, binomial_tail

__all__ = ["CORRELATION", "Bounded", "bounded", "mean_between", "of_counts"]

Floats = NDArray[np.float64]

CORRELATION = 0.2
"""Of the changed answers of one image under two conditions, where it is not known: pairs of models that were measured
have 0.02 to 0.18 (networks of two seeds, of two depths, pruned, in bf16; digits and CIFAR-10-C)."""
_MOST = 4096
"""More values than so many are rounded to as many parts of the upper end."""
_UNLUCKY = NormalDist().inv_cdf(POWER)


@dataclass(frozen=True, eq=False)
class Bounded(Difference):
    """The mean of n values between `low` and `high`, of which few are unlike."""

    values: Floats
    """(J,): each value once."""
    counts: Floats
    """(J,): how many samples have it; not whole where a larger n is imagined."""
    low: float
    high: float
    step: float = 0.0
    """How much a sample that changes loses; 0 where a loss does not come in steps."""
    supposed: bool = False
    """The ends are no facts but twice the largest value that was seen."""

    @property
    def method(self) -> str:
        return "Gaffke's bound" if self.each == "image" else f"Gaffke's bound over {self.each}s"

    def lower(self, alpha: float) -> float:
        return -self._mirrored().upper(alpha)

    def upper(self, alpha: float) -> float:
        if self.supposed and self.high == self.low:
            return math.inf  # nothing was seen, of which to suppose an end
        if self.values.min() >= self.high:
            return self.high
        middle = float(self.values @ self.counts) / self.n
        if self.p_below(middle) <= alpha:  # of a mean that sits on very few, at a large alpha
            middle = float(self.values.min())
        reach = max(self.stderr, (self.high - self.low) / self.n)
        return _crossing(self.p_below, alpha, middle, reach, self.high)

    def p_above(self, tolerance: float) -> float:
        return self._mirrored().p_below(-tolerance)

    def p_below(self, tolerance: float) -> float:
        if self.supposed and self.high == self.low:
            return 1.0
        if tolerance == 0 and (counts := self._answers()) is not None:
            worse, better = counts
            return 1 - binomial_tail(worse + 1, worse + better, 0.5)
        return positive_sum(
            np.append(self.values - tolerance, self.high - tolerance), np.append(self.counts, 1.0)
        )

    def detectable(self, alpha: float, tolerance: float = 0.0) -> float | None:
        """The least true loss beyond a tolerance that is noticed in a draw as unlucky as one in five.

        As many unchanged samples as it takes are thought to lose a step; scores, of which none is unchanged, to lose
        alike. None where samples so few would notice none.
        """

        def p(beyond: float) -> float:
            found = self._moved_to(tolerance + beyond)
            return found.p_above(tolerance + _UNLUCKY * found.stderr)

        most = self.high - tolerance
        if most <= 0 or p(most) > alpha:
            return None
        return _crossing(p, alpha, 0.0, max(self.stderr, self.step / self.n, most / 1e4), most)

    def needed(self, tolerance: float, alpha: float) -> int | None:
        """The least n, if more than these, that settles in a draw as unlucky as one in five where the loss lies.

        Taking the shares of the values for what they seem now; None where the loss sits on the tolerance.
        """
        spread = self.stderr * math.sqrt(self.n)

        def settles(n: int) -> bool:
            found = replace(self, counts=self.counts * (n / self.n), n=n)
            unlucky = _UNLUCKY * spread / math.sqrt(n)
            if self.mean < tolerance:
                return found.p_below(tolerance - unlucky) <= alpha
            return found.p_above(tolerance + unlucky) <= alpha

        high = self.n
        while not settles(high):
            high *= 2
            if high > 1e9:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if settles(middle) else (middle, high)
        return high

    def _answers(self) -> tuple[int, int] | None:
        """How many lost and won the whole range, where nothing else changed: those of the answers of one cell."""
        worse = better = 0.0
        for value, count in zip(self.values, self.counts, strict=True):
            if value == self.high:
                worse = count
            elif value == self.low:
                better = count
            elif value != 0:
                return None
        whole = self.low == -self.high and worse == int(worse) and better == int(better)
        return (int(worse), int(better)) if whole else None

    def _mirrored(self) -> Bounded:
        return replace(self, mean=-self.mean, values=-self.values, low=-self.high, high=-self.low)

    def _moved_to(self, mean: float) -> Bounded:
        """As many samples with another mean."""
        add = mean * self.n - float(self.values @ self.counts)
        unchanged = float(self.counts[self.values == 0].sum())
        lost = self.values > 0
        if self.step and add >= 0 and unchanged:
            turned = min(unchanged, add / self.step)
            values = np.append(self.values, add / turned if turned else self.step)
            counts = np.append(np.where(self.values == 0, self.counts - turned, self.counts), turned)
        elif self.step and add < 0 and (whole := float(self.values[lost] @ self.counts[lost])) >= -add:
            kept = np.where(lost, self.counts * (1 + add / whole), self.counts)
            values, counts = np.append(self.values, 0.0), np.append(kept, self.counts.sum() - kept.sum())
        else:
            values, counts = self.values + add / self.n, self.counts
        kept = counts > 0
        values, counts = values[kept], counts[kept]
        return replace(self, mean=mean, stderr=_stderr(values, counts, self.n), values=values, counts=counts)


def bounded(
    values: NDArray[np.floating],
    low: float,
    high: float,
    *,
    step: float = 0.0,
    supposed: bool = False,
    each: str = "image",
) -> Bounded:
    """The mean of values (n,), n >= 2, each in low..high and of `each` image or run of samples (`gathered`).

    `step` is how much a sample loses where none has changed.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        raise ValueError("a difference needs two samples")
    if values.min() < low - 1e-9 or values.max() > high + 1e-9:
        raise ValueError(f"values of {values.min():g} to {values.max():g} are not in {low:g}..{high:g}")
    size = np.abs(values).sum()
    seen = float((values**2).sum() / size) if step and size else step
    found, counts = np.unique(np.round(values, 12), return_counts=True)
    if found.size > _MOST:
        part = max(abs(low), abs(high)) / _MOST
        found, counts = np.unique(np.round(values / part) * part, return_counts=True)
    whole = _of(
        float(values.mean()), np.clip(found, low, high), counts.astype(np.float64), low, high, seen, supposed
    )
    return replace(whole, each=each)


def of_counts(worse: int, better: int, n: int) -> Bounded:
    """The loss of one cell, of whose n answers so many turned wrong and so many turned right."""
    values, counts = np.array([1.0, -1.0, 0.0]), np.array([worse, better, n - worse - better], dtype=float)
    seen = counts > 0
    return _of((worse - better) / n, values[seen], counts[seen], -1.0, 1.0, 1.0)


def mean_between(values: NDArray[np.floating], low: float, high: float, confidence: float = 0.95) -> Interval:
    """The interval of the mean of values (n,), n >= 2, each in low..high."""
    found = bounded(values, low, high)
    alpha = (1 - confidence) / 2
    return Interval(found.mean, found.lower(alpha), found.upper(alpha))


def _of(
    mean: float, values: Floats, counts: Floats, low: float, high: float, step: float, supposed: bool = False
) -> Bounded:
    n = int(counts.sum())
    return Bounded(mean, _stderr(values, counts, n), n, values, counts, low, high, step, supposed)


def _stderr(values: Floats, counts: Floats, n: float) -> float:
    apart = values - values @ counts / n
    return math.sqrt(max(0.0, float(counts @ apart**2)) / max(1, n - 1) / n)


def _crossing(p: Callable[[float], float], alpha: float, inside: float, reach: float, end: float) -> float:
    """Where a p-value, above alpha at `inside` and falling to `end`, is alpha; by regula falsi on its logarithm.

    Begins with a step of `reach`, which is doubled until it is beyond.
    """

    def above(at: float) -> float:
        return math.log(max(p(at), 1e-300)) - math.log(alpha)

    low, at_low = inside, above(inside)
    if at_low <= 0:
        return low
    high = min(inside + reach, end)
    at_high = above(high)
    while at_high > 0 and high < end:
        low, at_low, reach = high, at_high, 2 * reach
        high = min(inside + reach, end)
        at_high = above(high)
    stayed = 0
    while high - low > 1e-10 * max(abs(high), abs(end)):
        middle = high - at_high * (high - low) / (at_high - at_low)
        if not low < middle < high:
            middle = (low + high) / 2
            if not low < middle < high:
                break
        value = above(middle)
        # Illinois: an end that stays twice is taken for half as far, so that the other end moves too.
        if value > 0:
            low, at_low = middle, value
            at_high, stayed = (at_high / 2, 1) if stayed == 1 else (at_high, 1)
        else:
            high, at_high = middle, value
            at_low, stayed = (at_low / 2, -1) if stayed == -1 else (at_low, -1)
    return high
