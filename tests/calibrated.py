"""How often the interval of a calibration error covers the true one, where that is known.

Prints a table; of calibrated models with the share of samples whose interval ends below their number.

python -m tests.calibrated
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np

from robustbench_ms.reports.markdown import grid
from robustbench_ms.tasks.calibration import bin_sums, ece_interval

EDGES = np.arange(1, 15) / 15
SHAPES = {
    "spread": lambda random, n: 0.1 + 0.9 * random.beta(3, 1, n),
    "sure": lambda random, n: 1 - 0.9 * random.beta(0.3, 3, n),
    "at .999": lambda random, n: np.full(n, 0.999),
}
"""How the confidences of a made model lie: a fifth of the second's above .999, nine tenths above .75."""
LEANS = {
    "over": lambda sure, by: sure * (1 - by),
    "both ways": lambda sure, by: (
        sure * (1 - by * (sure * 15 % 2 > 1)) + by * (1 - sure) * (sure * 15 % 2 < 1)
    ),
}
"""How much of its answers is right, by confidence and a strength of 0..1: too few, or too many in every second bin."""


@dataclass(frozen=True)
class Made:
    """A model whose true calibration error is known."""

    shape: str
    lean: str
    error: float
    """The wanted one, a fraction."""

    def strength(self):
        """How strongly it leans: in proportion to its error, that of a million confidences with bins told by edges."""
        return self.error / whole(self.shape, self.lean)


@cache
def whole(shape, lean):
    """The error at a strength of 1."""
    sure = SHAPES[shape](np.random.default_rng(1), 1_000_000)
    apart = LEANS[lean](sure, 1.0) - sure
    return np.abs(np.bincount(np.digitize(sure, EDGES, right=True), weights=apart)).sum() / sure.size


def covered(made, n, times, seed=0, cells=1):
    """The share of `times` samples of n images whose interval holds the true error, and of those that end below ECE.

    Over several cells the same images are asked, with other confidences that move with theirs.
    """
    random, by = np.random.default_rng(seed), made.strength()
    held = below = 0
    for _ in range(times):
        sure = SHAPES[made.shape](random, n)
        luck = random.random(n)
        sums = []
        for _ in range(cells):
            sums.append(bin_sums(sure, luck < LEANS[made.lean](sure, by)))
            again = random.random(n) < 0.3
            sure = np.where(again, SHAPES[made.shape](random, n), sure)
            luck = np.where(again, random.random(n), luck)
        low, high = ece_interval(np.stack(sums))
        held += low <= made.error <= high
        seen = np.mean([np.abs(one[2] - one[1]).sum() / n for one in sums])
        below += bool(high < seen)
    return held / times, below / times


SIZES = (597, 2000, 10_000)
ERRORS = (0.0, 0.01, 0.02, 0.04, 0.08, 0.11)


MADE = [
    Made(shape, lean, error)
    for shape in ("spread", "sure")
    for lean in LEANS
    for error in (ERRORS if lean == "over" else ERRORS[1:])
]
RARE = [Made("at .999", "over", error) for error in (0.0, 0.002, 0.005)]
"""Hardly an answer is wrong, and what few there are is no normal's."""


def main(times=800):
    rows = [["confidence", "leans", "true ECE, %", *(f"{n:,}" for n in SIZES)]]
    for made in (*MADE, *RARE):
        told = [covered(made, n, times) for n in SIZES]
        shown = [f"{held:.3f}" + ("" if made.error else f" ({below:.2f})") for held, below in told]
        rows.append([made.shape, made.lean if made.error else "", f"{100 * made.error:g}", *shown])
    sys.stdout.write("\n".join(grid(rows, left={0, 1})) + "\n")


if __name__ == "__main__":
    main()
