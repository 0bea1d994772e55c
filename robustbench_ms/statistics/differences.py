"""Differences between two models on the same samples, and how sure they are; pure functions on numpy arrays.

A difference is read as a loss: above 0 means that the second model is worse. Its bounds are one-sided, because a
gate asks one-sided questions: is the loss above what is tolerated, is it below?
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.intervals import (
    jackknife_stderr,
    t_quantile,
    t_tail,
)

__all__ = [
    "POWER",
    "Difference",
    "Drawn",
    "Resampled",
    "Student",
    "of_drops",
    "of_replicates",
    "welch",
]

Floats = NDArray[np.floating]

POWER = 0.8
"""The chance of being noticed that a detectable difference has."""


@dataclass(frozen=True)
class Difference(ABC):
    """A mean loss over n samples."""

    mean: float
    stderr: float
    n: int
    each: str = field(default="image", kw_only=True)
    """What n counts: "image", or "run" or "group" of samples that are alike."""

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

    def detectable(self, alpha: float, tolerance: float = 0.0) -> float | None:
        """How far above a tolerance the true loss must lie to be noticed with a chance of 80 %; None where none is."""
        del tolerance
        return self._quantiles(alpha) * self.stderr

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


@dataclass(frozen=True)
class Drawn(Difference):
    """A difference of two ratios under random weights of the samples and of one more, the worst that there could be.

    As in Gaffke's bound of a mean the weights are exponential, and the sample that was not seen loses all that one can
    (for what the loss is at most) or wins it (at least).
    """

    most: NDArray[np.float64]
    """(R,): the loss where the unseen sample loses."""
    least: NDArray[np.float64]
    """(R,): where it wins."""

    @property
    def method(self) -> str:
        return f"{self.most.size:,} draws of exponential weights and one worst {self.each}"

    def lower(self, alpha: float) -> float:
        return float(np.quantile(self.least, alpha))

    def upper(self, alpha: float) -> float:
        return float(np.quantile(self.most, 1 - alpha))

    def p_above(self, tolerance: float) -> float:
        return float((1 + np.sum(self.least <= tolerance)) / (1 + self.least.size))

    def p_below(self, tolerance: float) -> float:
        return float((1 + np.sum(self.most >= tolerance)) / (1 + self.most.size))


def of_drops(
    candidate: Floats,
    reference: Floats,
    mean: float,
    ends: tuple[float, float],
    draws: int = 20_000,
    *,
    each: str = "image",
) -> Drawn:
    """The loss in (clean - corrupted) / clean of the same n samples, whose corrupted and clean values are (2, n) each.

    `ends` are the least and the largest value of a sample, `mean` is the loss itself. The draws are the same each time.
    """
    random = np.random.default_rng(0)
    rows = np.concatenate([reference, candidate]).T.astype(np.float32)
    low, high = ends
    worst = np.array([high, low, low, high])  # corrupted and clean of the reference, then of the candidate
    found: tuple[list[Floats], list[Floats]] = ([], [])
    for _ in range(0, draws, 1000):
        sums = random.standard_exponential((1000, len(rows)), dtype=np.float32) @ rows
        unseen = random.standard_exponential((1000, 1))
        for losses, one in zip(found, (worst, high + low - worst), strict=True):
            total = np.maximum(sums + unseen * one, 1e-12)
            losses.append(total[:, 0] / total[:, 1] - total[:, 2] / total[:, 3])
    most, least = (np.concatenate(losses, dtype=np.float64) for losses in found)
    return Drawn(mean, float(most.std(ddof=1)), len(rows), most, least, each=each)


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
