"""The line of corrupted over clean accuracy, and each model's distance from it: effective robustness.

Taori et al. (NeurIPS 2020), on probit axes as Miller et al. (ICML 2021): probit(y) = a + b probit(x), least squares.
A model's distance is from the line through the others: its own point would draw the line towards itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "line_through"]

FEWEST = 10
"""Models of one protocol that a line takes."""
_DRAWS = 1000
_ENDS = (0.025, 0.975)

Floats = NDArray[np.float64]


def line_through(x: Floats, y: Floats, covariance: Floats, n: int) -> dict[str, Any] | None:
    """Slope with its 95 % interval and R2 of the line through all, and of each model rho with its interval.

    `x` and `y` (models,) are accuracies on n images, cut to [1/2n, 1 - 1/2n] first; `covariance` (2 models, 2 models)
    is of the errors of x and y after one another. rho = y - line(x), of the line through the other models. Intervals
    are of 1,000 draws that give the accuracies errors of that covariance and take models with replacement. None where
    all are alike; ValueError of fewer than `FEWEST` models.
    """
    from scipy.special import ndtr, ndtri

    if x.size < FEWEST:
        raise ValueError(f"a line takes {FEWEST} models, and there are {x.size}")
    edge = 1 / (2 * n)
    both = np.concatenate([x, y])
    random = np.random.default_rng(0)
    # The first one is what was measured, with each model once.
    drawn = random.multivariate_normal(both, covariance, size=_DRAWS, check_valid="ignore", method="eigh")
    shares = np.clip(np.concatenate([both[None], drawn]), edge, 1 - edge)
    counts = random.multinomial(x.size, np.full(x.size, 1 / x.size), size=_DRAWS)
    counts = np.concatenate([np.ones((1, x.size)), counts])
    clean, shifted = np.split(ndtri(shares), 2, axis=1)
    middle = clean[0].mean()
    clean = clean - middle
    sums = np.stack([np.ones_like(clean), clean, clean**2, shifted, clean * shifted]) * counts
    whole = sums.sum(axis=2)
    slopes, starts = _fitted(whole)
    if not np.isfinite(slopes[0]) or np.ptp(shifted[0]) == 0:
        return None
    own_slopes, own_starts = _fitted(whole[..., None] - sums)
    distances = shares[:, x.size :] - ndtr(own_starts + own_slopes * clean)
    rest = shifted[0] - starts[0] - slopes[0] * clean[0]
    grid = np.linspace(shares[0, : x.size].min(), shares[0, : x.size].max(), 50)
    low, high = np.nanquantile(slopes[1:], _ENDS)
    ends = np.nanquantile(distances[1:], _ENDS, axis=0)
    return {
        "slope": float(slopes[0]),
        "low": float(low),
        "high": float(high),
        "r2": 1 - float(rest @ rest) / float(((shifted[0] - shifted[0].mean()) ** 2).sum()),
        "n": int(x.size),
        "rho": distances[0].tolist(),
        "rho_low": ends[0].tolist(),
        "rho_high": ends[1].tolist(),
        "x": grid.tolist(),
        "y": ndtr(starts[0] + slopes[0] * (ndtri(grid) - middle)).tolist(),
    }


def _fitted(sums: Floats) -> tuple[Floats, Floats]:
    """Slopes and starts of lines, of sums (5, ...) of 1, x, x^2, y and xy; nan where all x are one."""
    count, x, squares, y, products = sums
    apart = count * squares - x**2
    slope = (count * products - x * y) / np.where(apart > 1e-12, apart, np.nan)
    return slope, (y - slope * x) / np.where(count > 0, count, np.nan)
