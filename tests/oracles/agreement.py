"""How far bytes lie from an oracle's answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.oracles.reference import truncate

__all__ = ["Agreement", "compare"]

TOSS = 1e-6
"""So near an integer, truncation in the source is decided by the last bit of its own rounding."""


@dataclass
class Agreement:
    """Counts over the images compared so far: add two with `+`."""

    values: int = 0
    differing: int = 0
    tossed: int = 0
    """Values one level off, excused because the exact value lies within 1e-6 of an integer."""
    worst: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.values + other.values,
            self.differing + other.differing,
            self.tossed + other.tossed,
            max(self.worst, other.worst),
        )

    @property
    def share(self) -> float:
        """The share of values that differ, excused ones apart."""
        return self.differing / self.values

    @property
    def fits(self) -> bool:
        """The project's bar: at most one grey level off, in at most 1 % of the values."""
        return self.worst <= 1 and self.share <= 0.01

    def __str__(self) -> str:
        return f"worst {self.worst}, {self.share:.4%} differ, {self.tossed / self.values:.4%} excused"


def compare(ours: np.ndarray, exact: np.ndarray) -> Agreement:
    """uint8 against an oracle's float64 values (or bytes) of the same shape."""
    if ours.shape != exact.shape:
        raise ValueError(f"shapes {ours.shape} and {exact.shape} differ")
    reference = truncate(exact).astype(int)
    distance = np.abs(ours.astype(int) - reference)
    excused = np.zeros(distance.shape, dtype=bool)
    if exact.dtype != np.uint8:
        nearest = np.rint(exact)
        toss = np.abs(exact - nearest) <= TOSS
        excused = (distance > 0) & toss & ((ours == nearest) | (ours == nearest - 1))
    counted = np.where(excused, 0, distance)
    return Agreement(counted.size, int((counted > 0).sum()), int(excused.sum()), int(counted.max(initial=0)))
