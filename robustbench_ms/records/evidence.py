"""By what one number of a record is told from another's: the little of its arrays that a test of ranks takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.comparison import Comparison, Side
from robustbench_ms.records.summary import Goodness, jackknifed

__all__ = ["Evidence", "judged_by"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of one number."""

    value: float
    """The number, turned so that more is better."""
    goodness: Goodness | None
    """What it is the mean of, sample by sample; None where it is no mean."""
    replicates: NDArray[np.float64] | None
    """Itself under each weighting of the samples (R,), turned as it is not; None where they are not kept."""
    n: int
    """Samples a cell."""
    sign: int
    jackknife: bool

    @classmethod
    def of(cls, side: Side, metric: str) -> Evidence:
        """Of a number whose cells the record has."""
        quantity = side.terms.quantity(metric)
        good = side.goodness(quantity)
        return cls(
            quantity.row.sign * side.value(quantity),
            good,
            None if good is not None else side.replicates(quantity),
            side.cells[quantity.cells[0]].n,
            quantity.row.sign,
            jackknifed(quantity, side.terms.scorers[quantity.of]),
        )


def judged_by(side: Side, metric: str) -> Literal["images", "seeds", ""]:
    """What can tell a number of a record from another's: its images, its seeds alone, or nothing.

    Nothing where a cell has one image, or where a test takes samples that are not kept.
    """
    quantity = side.terms.quantity(metric)
    if any(side.cells[key].n < 2 for key in quantity.cells):
        return ""
    if quantity.of in side.terms.untested:
        return "seeds"
    return "" if Comparison(side, side).unkept(quantity) else "images"
