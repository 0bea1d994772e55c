"""Differences between models that were trained several times: the seeds have their say, and the images theirs.

Over seeds alone, two seeds that happen to have equal counts of right answers seem to have no spread, and any
difference seems sure; over images alone, the luck of one training counts as the model's. So both are asked, and the
less sure of them answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robustbench_ms.statistics.differences import Difference, Floats, Student, welch
from robustbench_ms.statistics.intervals import t_quantile

__all__ = ["SeedsAndImages", "over_seeds", "t_needed"]


@dataclass(frozen=True)
class SeedsAndImages(Difference):
    """A difference as the seeds tell it and as the images do: the larger p, the wider end, the seeds' mean."""

    seeds: Difference
    images: Difference

    @classmethod
    def of(cls, seeds: Difference, images: Difference) -> SeedsAndImages:
        """Both, of the same loss; n is the images'."""
        return cls(seeds.mean, max(seeds.stderr, images.stderr), images.n, seeds, images)

    @property
    def method(self) -> str:
        return f"{self.seeds.method}; {self.images.method}; the larger p"

    def lower(self, alpha: float) -> float:
        return min(self.seeds.lower(alpha), self.images.lower(alpha))

    def upper(self, alpha: float) -> float:
        return max(self.seeds.upper(alpha), self.images.upper(alpha))

    def p_above(self, tolerance: float) -> float:
        return max(self.seeds.p_above(tolerance), self.images.p_above(tolerance))

    def p_below(self, tolerance: float) -> float:
        return max(self.seeds.p_below(tolerance), self.images.p_below(tolerance))

    def detectable(self, alpha: float, tolerance: float = 0.0) -> float | None:
        both = (self.seeds.detectable(alpha, tolerance), self.images.detectable(alpha, tolerance))
        return None if None in both else max(both)  # type: ignore[type-var]

    def needed(self, tolerance: float, alpha: float) -> int | None:
        """As for other differences; None where the seeds leave it open, which no number of images settles."""
        unsure = self.seeds.lower(alpha) <= tolerance <= self.seeds.upper(alpha)
        return None if unsure else self.images.needed(tolerance, alpha)


def over_seeds(one: Floats, other: Floats) -> Student:
    """The mean of `one` (n,) less that of `other` (m,), a value a seed, n + m >= 3.

    Several on both sides: Welch's t. Several, k, against one: that one is taken to spread as the several do, so that
    the standard error is s sqrt(1 + 1/k) with k - 1 degrees (Student's t of two samples, one of them a single value).
    """
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if min(one.size, other.size) > 1:
        return welch(one, other)
    several = max(one, other, key=len)
    if min(one.size, other.size) < 1 or several.size < 2:
        raise ValueError("a test over seeds needs two values on one side and one on the other")
    return Student(
        float(one.mean() - other.mean()),
        float(several.std(ddof=1)) * math.sqrt(1 + 1 / several.size),
        several.size,
        several.size - 1,
        "Student's t over seeds, the one taken to spread as the several do",
    )


def t_needed(pairs: int, seeds: int, alpha: float = 0.05) -> float:
    """The |t| above which the first of so many pairs is told apart by Holm's procedure, two-sided.

    With seeds - 1 degrees of freedom: those of several against one, and the least that Welch's test can have.
    """
    return t_quantile(1 - alpha / (2 * pairs), seeds - 1)
