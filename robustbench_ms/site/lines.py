"""The line of corrupted over clean accuracy, and each model's distance from it: effective robustness.

Taori et al. (NeurIPS 2020), on probit axes as Miller et al. (ICML 2021): probit(y) = a + b probit(x), least squares.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "line_through"]

FEWEST = 10
"""Models of one protocol that a line takes."""
_DRAWS = 1000
_Z = 1.959963984540054

Floats = NDArray[np.float64]


def _probit(values: Floats, n: int) -> Floats:
    edge = 1 / (2 * n)
    normal = NormalDist()
    return np.array([normal.inv_cdf(float(v)) for v in np.clip(values, edge, 1 - edge)])


def _fit(x: Floats, y: Floats) -> tuple[float, float]:
    apart = x - x.mean()
    squares = float(apart @ apart)
    slope = float(apart @ (y - y.mean())) / squares if squares > 0 else float("nan")
    return slope, float(y.mean() - slope * x.mean())


def line_through(x: Floats, y: Floats, half_x: Floats, half_y: Floats, n: int) -> dict[str, Any] | None:
    """Slope with its 95 % interval, R2, and rho = y - line(x) of each model, of accuracies (models,) on n images.

    Accuracies are cut to [1/2n, 1 - 1/2n] first. The interval is of 1,000 draws that take models with replacement and
    give each accuracy a normal error of its own interval (`half_x`, `half_y`: half widths). None where all are alike.
    """
    if x.size < FEWEST:
        raise ValueError(f"a line takes {FEWEST} models, and there are {x.size}")
    px, py = _probit(x, n), _probit(y, n)
    slope, start = _fit(px, py)
    if not np.isfinite(slope) or np.ptp(py) == 0:
        return None
    normal = NormalDist()
    line = [normal.cdf(start + slope * float(one)) for one in px]
    rest = py - start - slope * px
    draws, slopes = np.random.default_rng(0), []
    for _ in range(_DRAWS):
        taken = draws.integers(0, x.size, x.size)
        noisy = [
            _probit(mean[taken] + draws.normal(size=x.size) * half[taken] / _Z, n)
            for mean, half in ((x, half_x), (y, half_y))
        ]
        slopes.append(_fit(noisy[0], noisy[1])[0])
    low, high = np.nanquantile(slopes, [0.025, 0.975])
    grid = np.linspace(float(x.min()), float(x.max()), 50)
    return {
        "slope": slope,
        "low": float(low),
        "high": float(high),
        "r2": 1 - float(rest @ rest) / float(((py - py.mean()) ** 2).sum()),
        "n": int(x.size),
        "rho": [float(one - at) for one, at in zip(y, line, strict=True)],
        "x": grid.tolist(),
        "y": [normal.cdf(start + slope * float(one)) for one in _probit(grid, n)],
    }
