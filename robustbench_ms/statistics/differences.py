"""Differences between two models on the same samples, and how sure they are; pure functions on numpy arrays.

A difference is read as a loss: above 0 means that the second model is worse. Its bounds are one-sided, because a
gate asks one-sided questions: is the loss above what is tolerated, is it below?
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.intervals import (
    binomial_bound,
    binomial_tail,
    holm,
    jackknife_stderr,
    t_quantile,
    t_tail,
)

__all__ = [
    "CORRELATION",
    "FEW",
    "POWER",
    "Difference",
    "Exact",
    "Resampled",
    "Student",
    "of_counts",
    "of_replicates",
    "paired",
    "planned_detectable",
    "rank_ranges",
    "welch",
]

Floats = NDArray[np.floating]

FEW = 20
"""With fewer samples than this that changed, a mean of differences is too skewed for Student's t."""
CORRELATION = 0.2
"""Of the changed answers of one image under two conditions, where it is not known: pairs of models that were measured
have 0.02 to 0.18 (networks of two seeds, of two depths, pruned, in bf16; digits and CIFAR-10-C)."""
POWER = 0.8
"""The chance of being noticed that a detectable difference has."""


@dataclass(frozen=True)
class Difference(ABC):
    """A mean loss over n samples."""

    mean: float
    stderr: float
    n: int
    step: float = field(default=0.0, kw_only=True)
    """How much a sample that changes weighs: 1 for the answers of one cell, 0 where a loss does not come in steps."""

    @property
    @abstractmethod
    def method(self) -> str:
        """The test's name, for people."""

    @abstractmethod
    def lower(self, alpha: float) -> float:
        """What the loss is at least, with confidence 1 - alpha."""

    @abstractmethod
    def upper(self, alpha: float) -> float:
        """What the loss is at most, with confidence 1 - alpha."""

    @abstractmethod
    def p_above(self, tolerance: float) -> float:
        """One-sided p-value against "the loss is at most `tolerance`": small where it is above."""

    @abstractmethod
    def p_below(self, tolerance: float) -> float:
        """One-sided p-value against "the loss is at least `tolerance`": small where it is below."""

    @property
    def p_differs(self) -> float:
        """Two-sided p-value against "there is no difference"."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def detectable(self, alpha: float, tolerance: float = 0.0) -> float:
        """How far above a tolerance the true loss must lie to be noticed with a chance of 80 %.

        A loss of answers is made of answers that change: at a mean loss L their variance is at least step L - L^2, even
        where so few have changed here that they seem not to vary.
        """
        factor, found = self._quantiles(alpha), 0.0
        for _ in range(50):
            loss = tolerance + found
            variance = max(self.stderr**2, (self.step * loss - loss * loss) / self.n)
            found = factor * math.sqrt(variance)
        return found

    def needed(self, tolerance: float, alpha: float) -> int | None:
        """How many samples would settle, with a chance of 80 %, on which side of `tolerance` the loss lies.

        Taking the loss and the spread for what they seem now; None where the loss sits on the tolerance.
        """
        distance = abs(self.mean - tolerance)
        if distance == 0:
            return None
        factor = (self._quantiles(alpha) * self.stderr / distance) ** 2
        return max(2, math.ceil(self.n * factor)) if factor < 1e9 else None

    def _quantiles(self, alpha: float) -> float:
        return NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(POWER)


@dataclass(frozen=True)
class Student(Difference):
    """A mean whose estimate over its standard error follows Student's t."""

    degrees: float
    how: str = "Student's t on paired differences"

    @property
    def method(self) -> str:
        return self.how

    def lower(self, alpha: float) -> float:
        return self.mean - self._half(alpha)

    def upper(self, alpha: float) -> float:
        return self.mean + self._half(alpha)

    def p_above(self, tolerance: float) -> float:
        return self._tail(self.mean - tolerance)

    def p_below(self, tolerance: float) -> float:
        return self._tail(tolerance - self.mean)

    @property
    def p_differs(self) -> float:
        return min(1.0, 2 * self._tail(abs(self.mean)))

    def _half(self, alpha: float) -> float:
        return t_quantile(1 - alpha, self.degrees) * self.stderr if self.stderr else 0.0

    def _tail(self, distance: float) -> float:
        if self.stderr == 0:  # every sample differs by the same: the difference is known
            return 0.0 if distance > 0 else 1.0
        return t_tail(distance / self.stderr, self.degrees)

    def _quantiles(self, alpha: float) -> float:
        return t_quantile(1 - alpha, self.degrees) + t_quantile(POWER, self.degrees)


@dataclass(frozen=True)
class Exact(Difference):
    """Few samples changed: how many for the worse and how many for the better are binomial counts of n.

    The loss is step x (share worse) - step x (share better). Each share has its exact Clopper-Pearson bound at
    alpha / 2, so that together they miss with probability alpha at most. Against no loss at all, where changes of one
    size go either way like a coin, the exact sign test of McNemar (Psychometrika 1947) is used, which is sharper.
    """

    worse: int
    better: int
    steps: tuple[float, float] = (1.0, 1.0)
    """The smallest and the largest change of one sample: 1 and 1 for the answers of a single cell."""

    @property
    def method(self) -> str:
        return "exact binomial on the changed answers"

    def lower(self, alpha: float) -> float:
        least = self.steps[0] * binomial_bound(self.worse, self.n, alpha / 2, upper=False)
        bound = least - self.steps[1] * binomial_bound(self.better, self.n, alpha / 2, upper=True)
        return max(bound, 0.0) if self._sign_test() <= alpha else bound

    def upper(self, alpha: float) -> float:
        return -self._mirrored().lower(alpha)

    def p_above(self, tolerance: float) -> float:
        """Twice the tail at which the two binomial bounds meet on the tolerance."""
        small, large = self.steps
        low, high = 0.0, 1.0
        while high - low > 1e-12:
            share = (low + high) / 2
            if self._worse_tail((tolerance + large * share) / small) <= self._better_tail(share):
                low = share
            else:
                high = share
        p = min(1.0, 2 * self._better_tail(low))
        return min(p, self._sign_test()) if tolerance <= 0 else p

    def p_below(self, tolerance: float) -> float:
        return self._mirrored().p_above(-tolerance)

    def needed(self, tolerance: float, alpha: float) -> int | None:
        """As for other differences, by the bounds themselves: the spread of a few changes says too little.

        They are to settle it in a draw that is as unlucky as one in five.
        """
        unlucky = NormalDist().inv_cdf(POWER) * (1 if self.mean < tolerance else -1)

        def settles(n: int) -> bool:
            worse, better = (count * n / self.n for count in (self.worse, self.better))
            worse = max(0.0, worse + unlucky * math.sqrt(worse + better))
            grown = replace(self, n=n, worse=round(worse), better=round(better))
            return grown.upper(alpha) < tolerance or grown.lower(alpha) > tolerance

        high = self.n
        while not settles(high):
            high *= 2
            if high > 1e9:
                return None
        low = high // 2
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            low, high = (low, middle) if settles(middle) else (middle, high)
        return max(high, self.n + 1)

    def _worse_tail(self, share: float) -> float:
        """P(at least as many worse), were that their true share."""
        return 0.0 if share < 0 else binomial_tail(self.worse, self.n, min(share, 1.0))

    def _better_tail(self, share: float) -> float:
        """P(at most as many better), were that their true share."""
        return binomial_tail(self.n - self.better, self.n, 1 - share)

    def _sign_test(self) -> float:
        """P(at least as many worse of those that changed), were there no loss."""
        if self.steps[0] != self.steps[1]:
            return 1.0  # of changes of unequal size, the signs say too little about the mean
        return binomial_tail(self.worse, self.worse + self.better, 0.5)

    def _mirrored(self) -> Exact:
        return Exact(-self.mean, self.stderr, self.n, self.better, self.worse, self.steps, step=self.step)


@dataclass(frozen=True)
class Resampled(Difference):
    """A difference that is no mean of per-sample values, a ratio: percentiles of its bootstrap draws."""

    draws: NDArray[np.float64]

    @property
    def method(self) -> str:
        return "bootstrap over images"

    def lower(self, alpha: float) -> float:
        return float(np.quantile(self.draws, alpha))

    def upper(self, alpha: float) -> float:
        return float(np.quantile(self.draws, 1 - alpha))

    def p_above(self, tolerance: float) -> float:
        return float((1 + np.sum(self.draws <= tolerance)) / (1 + self.draws.size))

    def p_below(self, tolerance: float) -> float:
        return float((1 + np.sum(self.draws >= tolerance)) / (1 + self.draws.size))


def paired(losses: Floats, *, answers: bool, step: float = 1.0) -> Difference:
    """The mean of per-sample losses (n,), n >= 2.

    `answers` says that they are shares of answers that turned wrong less those that turned right (-1..1), which is
    what the exact method for few changes is about; `step` is how much of a sample changes where one does, as long as
    too few have changed to tell.
    """
    losses = np.asarray(losses, dtype=np.float64)
    n = losses.size
    if n < 2:
        raise ValueError("a difference needs two samples")
    mean, spread = float(losses.mean()), float(losses.std(ddof=1)) / math.sqrt(n)
    size = np.abs(losses)
    moved = size > 1e-12
    if not answers:
        return Student(mean, spread, n, n - 1)
    seen = float((size**2).sum() / size.sum()) if moved.any() else 0.0
    if moved.sum() >= FEW:
        return Student(mean, spread, n, n - 1, step=seen)
    steps = (float(size[moved].min()), float(size[moved].max())) if moved.any() else (step, step)
    spread = max(spread, steps[1] / n)  # of one changed sample, the least that a spread can be judged by
    worse = int((moved & (losses > 0)).sum())
    return Exact(mean, spread, n, worse, int(moved.sum()) - worse, steps, step=max(seen, step))


def of_counts(worse: int, better: int, n: int) -> Difference:
    """The same for one cell, of whose n answers so many turned wrong and so many turned right."""
    mean = (worse - better) / n
    if worse + better < FEW:
        return Exact(mean, math.sqrt(max(1, worse + better)) / n, n, worse, better, step=1.0)
    variance = (worse + better - n * mean * mean) / (n - 1)
    return Student(mean, math.sqrt(max(0.0, variance) / n), n, n - 1, step=1.0)


def of_replicates(loss: float, losses: NDArray[np.float64], n: int, *, jackknife: bool) -> Difference:
    """A loss in a number of all n samples, given the losses under R >= 2 weightings of them (R,).

    Those of a delete-a-group jackknife of G groups have Student's t with G - 1 degrees; those of a bootstrap are
    draws, whose percentiles count.
    """
    losses = np.asarray(losses, dtype=np.float64)
    if losses.size < 2:
        raise ValueError("a difference needs two replicates")
    if not jackknife:
        return Resampled(loss, float(losses.std(ddof=1)), n, losses)
    return Student(loss, jackknife_stderr(losses), n, losses.size - 1, "Student's t on a jackknife of groups")


def welch(one: Floats, other: Floats) -> Student:
    """The mean of `one` (n,) less that of `other` (m,), n, m >= 2, of unequal spread (Welch, Biometrika 1947)."""
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if min(one.size, other.size) < 2:
        raise ValueError("Welch's test needs two values on each side")
    first, second = one.var(ddof=1) / one.size, other.var(ddof=1) / other.size
    total = float(first + second)
    below = float(first**2 / (one.size - 1) + second**2 / (other.size - 1))
    return Student(
        float(one.mean() - other.mean()),
        math.sqrt(total),
        min(one.size, other.size),
        total * total / below if below else float(one.size + other.size - 2),
        "Welch's t over seeds",
    )


def planned_detectable(
    n: int, *, changed: float, cells: int = 1, correlation: float = 1.0, alpha: float = 0.05
) -> float:
    """The difference that n samples show with a chance of 80 %, before anything is measured.

    `changed` is the share of answers that differ between two models of equal accuracy, so that an answer's loss has
    that variance. `correlation` is that of the losses of one sample under two of its `cells` conditions: with 1,
    more conditions teach nothing.
    """
    variance = changed * (correlation + (1 - correlation) / cells)
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * math.sqrt(variance / n)


def rank_ranges(
    gains: Mapping[tuple[int, int], Difference], models: int, alpha: float = 0.05
) -> list[tuple[int, int]]:
    """Which ranks each of `models` can have: [1 + number significantly better, M - number significantly worse].

    `gains[i, j]`, one a pair, is by how much i is better than j; the two-sided tests are Holm-adjusted over all pairs.
    """
    pairs = list(gains)
    better, worse = [0] * models, [0] * models
    for (i, j), p in zip(pairs, holm([gains[pair].p_differs for pair in pairs]), strict=True):
        if p <= alpha:
            winner, loser = (i, j) if gains[i, j].mean > 0 else (j, i)
            better[loser] += 1
            worse[winner] += 1
    return [(1 + better[i], models - worse[i]) for i in range(models)]
